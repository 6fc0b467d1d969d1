//! What agents report, each name explained once. A name that is logged and not explained fails a test.

/// Names of [`Metrics`](backcast_core::Metrics) with what they are; means are over the rows of a batch.
pub const METRICS: &[(&str, &str)] = &[
    ("actor_loss", "the loss of the policy, L_π"),
    ("adversarial_loss", "RAMBO: the adversarial part of the model's loss, E[ A ln p ]"),
    ("cloning_loss", "NPG: the squared error of the policy while it clones"),
    (
        "correction",
        "SCAS: R(φ), how far the policy's action in a perturbed state leads from the recorded next state",
    ),
    ("critic_loss", "the loss of the critics, L_Q, summed over them where the equation is"),
    ("discriminator_loss", "SDM-GAN: the loss of the discriminator"),
    ("entropy", "the policy's entropy, in nats, of actions in units of their limit"),
    (
        "gap",
        "CQL: how much more the critics think of the actions they try than of recorded ones, mean over critics",
    ),
    ("gap_beside", "OSR-v: the same gap in perturbed states"),
    ("gradient_penalty", "SDM-GAN: the penalty on the discriminator's slope"),
    ("inverse_loss", "OSR: the loss of the inverse model, while it is fitted"),
    ("kl", "the KL divergence that the method bounds or penalises"),
    ("ln_alpha", "the logarithm of the temperature, or of BEAR's multiplier"),
    ("ln_correction", "SDC: the logarithm of the multiplier of the deviation"),
    (
        "ln_multiplier",
        "CQL: the logarithm of the multiplier α′ of the conservative penalty, where it is learnt",
    ),
    ("log_std", "NPG: ln σ of the policy, mean over dimensions of the action"),
    ("mmd", "the maximum mean discrepancy that the policy is held to"),
    ("model_log_prob", "RAMBO: the model's log-likelihood of what the policy met"),
    ("model_loss", "RAMBO: the likelihood part of the model's loss"),
    ("path_length", "NPG: steps of an imagined path, mean"),
    ("path_return", "NPG: return of an imagined path, mean"),
    ("paths_halted", "NPG: share of paths that came into the unknown"),
    ("penalty", "MOBILE: 𝒰, the disagreement about the next value, mean over imagined rows"),
    ("q", "the critics' value of the batch's actions"),
    ("q_size", "SDM-GAN: the running size of values that the policy's loss is divided by"),
    ("similarity", "EDAC: the mean cosine of two critics' slopes in the action"),
    ("step", "NPG: the length of the natural step"),
    ("target", "the mean of the critics' targets"),
    ("threshold", "the threshold in use: SDC's η, SDM-GAN's bound of the critics' loss"),
    ("transition_loss", "SDC: the loss of the model of recorded transitions, while it is fitted"),
    ("v", "the value V of the batch's states"),
    ("vae_loss", "the loss of the VAE of recorded actions"),
    ("value_loss", "the loss of the value V"),
    ("weight", "AWAC: the weight of a recorded action, mean"),
];

/// What the metric called `name` is; nothing for a name that is not in [`METRICS`].
pub fn about(name: &str) -> Option<&'static str> {
    METRICS.iter().find(|(known, _)| *known == name).map(|(_, about)| *about)
}
