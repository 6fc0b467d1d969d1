use super::{BETA1, Divergence, Guard, Implicit, Nets, SdmGan, Work};
use crate::{
    bear::Kernel,
    imagines::{Imagination, ModelBased, Rollouts, WorldModel},
    transition::{check_hidden, check_rate, check_shared, check_weight, sizes},
};
use backcast_core::*;
use backcast_imagination::ImagineConfig;
use backcast_nn::{Activation, Adam, Init, Mlp, Precision, Store};
use backcast_penalties::NoPenalty;
use serde::{Deserialize, Deserializer, Serialize};

hyperparameters! {
    /// One field per symbol; defaults of the authors' code, those of the MMD ours.
    pub struct Config {
        /// Discount γ.
        gamma: Real = 0.99, SHARE;
        /// Weight α of the value, in units of its own size, against resemblance. The authors' flag is called `log_lagrange`, and is α.
        alpha: Real = 10.0;
        /// What F and the log are compared by.
        divergence: Divergence = Divergence::JensenShannon;
        /// The lowest label of rows of the log, for Jensen–Shannon.
        label: Real = 0.8;
        /// Weight of the gradient penalty, for Wasserstein.
        gradient_penalty: Real = 10.0;
        /// k, for the MMD.
        kernel: Kernel = Kernel::Gaussian;
        /// Width of k, of the size of a squared (Gaussian) or plain (Laplacian) distance of two pairs *(s, u)*.
        sigma: Real = 20.0;
        /// Pairs that are compared with one another: an MMD is taken of so many of each, and is averaged over the groups of a batch.
        mmd_samples: usize = 32, COUNT;
        /// Columns of ε; none is min(10, ⌊obs/2⌋), at least 1. The authors have 50 for about half of the datasets.
        noise_dim: Option<usize> = None;
        /// Deviation of the noise ξ of states.
        state_noise: Real = 3e-4;
        /// Bound of ξ.
        noise_clip: Real = 0.05;
        /// Actions K at s′ in (2), each at its own s′ + ξ.
        target_samples: usize = 50, COUNT;
        /// Weight λ of the smaller target critic against the larger.
        lambda: Real = 0.75, SHARE;
        /// Rewards are held so many deviations beyond the log's smallest and greatest; they stay as they are where nobody gave
        /// these as [`DatasetStats`](crate::imagines::DatasetStats).
        reward_margin: Real = 3.0;
        /// The size from which on a next value counts as 0.
        value_bound: Real = 2000.0;
        /// The error from which on (3) grows no more than linearly.
        huber: Real = 500.0;
        /// ϑ at first.
        threshold: Real = 1000.0;
        /// Updates of an epoch.
        epoch: u64 = 1000, COUNT;
        /// Epochs w in which the critics rest and the policy only comes to resemble.
        warm_start: u64 = 40;
        /// By how much the share of real rows falls at a time, from 1 to [`Rollouts::real`].
        real_step: Real = 0.1;
        /// Epochs after which it falls.
        real_epochs: u64 = 5, COUNT;
        /// Updates of the discriminator per update of the policy.
        policy_period: u64 = 2, COUNT;
        /// Actions to choose from when acting.
        act_samples: usize = 10, COUNT;
        /// Polyak rate τ of the targets, and of Q̂.
        tau: Real = 0.005, FRACTION;
        /// Learning rate of π.
        actor_lr: Real = 2e-4, POSITIVE;
        /// Learning rate of D.
        discriminator_lr: Real = 2e-4, POSITIVE;
        /// Learning rate of Q.
        critic_lr: Real = 3e-4, POSITIVE;
        /// Units of the hidden layers.
        hidden: Vec<usize> = vec![400, 300], HIDDEN;
        /// How large products are computed. Everything is `F32` unless asked; see [`Precision`]. The model has its own.
        precision: Precision = Precision::F32;
        /// How the policy is rolled out, and the share of real rows in a mixed batch at last. The authors start 32 000/h chains.
        #[serde(deserialize_with = "rollouts")]
        rollouts: Rollouts = Rollouts { every: 250, starts: 32_000, horizon: 1, keep: 20, real: 0.5, ..Default::default() };
    }
}

/// What is not given is this algorithm's default, not that of all.
fn rollouts<'de, D: Deserializer<'de>>(from: D) -> Result<Rollouts, D::Error> {
    Rollouts::read_over(Config::default().rollouts, from)
}

impl Config {
    // ANCHOR: real_share
    /// (10)  p(e) = min(1, max(1 − 0.1·⌊(e − w − 1)/5⌋, ½)), e the epoch of the update after `updates` others, from 1
    pub fn real_share(&self, updates: u64) -> Real {
        let after_warm_start = (updates / self.epoch).saturating_sub(self.warm_start);
        let steps = (after_warm_start / self.real_epochs) as Real;
        (1.0 - self.real_step * steps).max(self.rollouts.real)
    }
    // ANCHOR_END: real_share
}

impl ModelBased for Config {
    const NAME: &'static str = "sdm_gan";
    const PAPER: &'static str = "Yang et al., Regularizing a model-based policy stationary distribution to stabilize offline reinforcement learning, arXiv:2206.07166";
    type Learner = SdmGan;

    fn check(&self) -> Result<(), ConfigError> {
        check_shared(self.gamma, self.tau, &[("actor_lr", self.actor_lr), ("critic_lr", self.critic_lr)])?;
        check_rate("discriminator_lr", self.discriminator_lr)?;
        for (field, weight) in [
            ("alpha", self.alpha),
            ("gradient_penalty", self.gradient_penalty),
            ("state_noise", self.state_noise),
            ("noise_clip", self.noise_clip),
            ("reward_margin", self.reward_margin),
            ("threshold", self.threshold),
            ("real_step", self.real_step),
        ] {
            check_weight(field, weight)?;
        }
        let (label, lambda) = (self.label, self.lambda);
        ConfigError::unless(label > 0.0 && label <= 1.0, "label", format!("is {label}; a label lies in (0, 1]"))?;
        ConfigError::unless((0.0..=1.0).contains(&lambda), "lambda", format!("is {lambda}; it weighs in [0, 1]"))?;
        for (field, x) in [("sigma", self.sigma), ("value_bound", self.value_bound), ("huber", self.huber)] {
            ConfigError::unless(x > 0.0 && x.is_finite(), field, format!("is {x}; give a positive number"))?;
        }
        ConfigError::unless(self.noise_dim != Some(0), "noise_dim", "is 0; without noise there is one action")?;
        ConfigError::unless(self.mmd_samples > 0, "mmd_samples", "is 0; a distance needs samples")?;
        ConfigError::unless(self.target_samples > 0, "target_samples", "is 0; a mean needs some")?;
        ConfigError::unless(self.act_samples > 0, "act_samples", "is 0; acting needs a candidate")?;
        ConfigError::unless(self.epoch > 0, "epoch", "is 0; give a number of updates")?;
        ConfigError::unless(self.real_epochs > 0, "real_epochs", "is 0; give a number of epochs")?;
        ConfigError::unless(self.policy_period > 0, "policy_period", "is 0; the policy would never learn")?;
        self.rollouts.check()?;
        check_hidden("hidden", &self.hidden)
    }

    fn build_on(&self, world_model: WorldModel, key: Key) -> Result<SdmGan, ConfigError> {
        ModelBased::check(self)?;
        let spec = world_model.model.spec();
        let mut store = Store::in_precision(self.precision);
        let noise = self.noise_dim.unwrap_or((spec.obs / 2).clamp(1, 10));
        let mut net = |name: &str, inputs, members, outputs| {
            let dims = sizes(inputs, &self.hidden, outputs);
            Mlp::new(&mut store, name, &dims, members, Activation::LeakyRelu, Init::FanIn, key)
        };
        let actor = Implicit { net: net("actor", spec.obs + noise, 1, spec.act), noise, limit: spec.act_limit };
        let critic = net("critic", spec.obs + spec.act, 2, 1);
        let tells = self.divergence != Divergence::Mmd;
        let discriminator = tells.then(|| net("discriminator", spec.obs + spec.act, 1, 1));
        let actor_target = Implicit { net: actor.net.duplicate(&mut store, "actor_target"), ..actor };
        let critic_target = critic.duplicate(&mut store, "critic_target");
        let slow = |net: Mlp, rate| Adam::new(net.range(), rate).with_betas(BETA1, 0.999);
        let actor_adam = slow(actor.net, self.actor_lr);
        let discriminator_adam = discriminator.map(|net| slow(net, self.discriminator_lr));
        let critic_adam = Adam::new(critic.range(), self.critic_lr);
        let known = &world_model.dataset_stats;
        let rewards = match (known.least_reward, known.greatest_reward, known.reward_std) {
            (Some(least), Some(greatest), Some(std)) => {
                (least - self.reward_margin * std, greatest + self.reward_margin * std)
            }
            _ => (Real::NEG_INFINITY, Real::INFINITY),
        };
        let termination = world_model.termination;
        let imagination = Imagination::new(world_model, &self.rollouts, ImagineConfig::default(), Box::new(NoPenalty))?;
        Ok(SdmGan {
            config: self.clone(),
            store,
            nets: Nets { actor, actor_target, critic, critic_target, discriminator },
            actor_adam,
            critic_adam,
            discriminator_adam,
            imagination,
            termination,
            rewards,
            guard: Guard::new(self.threshold),
            size: 0.0,
            updates: 0,
            work: Work::default(),
        })
    }
}
