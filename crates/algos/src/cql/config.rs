//! The hyperparameters of CQL.

use crate::blocks::actor::check_log_std_bounds;
use backcast_core::{
    ANY, COUNT, ConfigError, FRACTION, NON_NEGATIVE, POSITIVE, Real, SHARE, hyperparameters,
};
use backcast_nn::{HIDDEN, Precision};

hyperparameters! {
    /// One field per symbol; defaults of the authors' code for locomotion.
    pub struct Config {
        /// Discount γ.
        gamma: Real = 0.99, SHARE;
        /// Weight w of the gap. The authors give 5 or 10 for locomotion and 5 for antmaze; CORL has 1 for Adroit.
        cql_alpha: Real = 5.0, NON_NEGATIVE;
        /// Candidates n from each of the three distributions. With a `cql_alpha` of 0 there may be none: the critics are then SAC's.
        n_action_samples: usize = 10;
        /// Critics N; two in the paper.
        critics: usize = 2, COUNT;
        /// Takes the logarithm in (3) over three candidates at a time, one of each kind, and averages over the n triples: what
        /// OfflineRL-Kit does. The gap is then about ln n smaller and noisier.
        three_way: bool = false;
        /// Threshold τ_L of w·gap that α′ is learnt to hold; none is α′ = 1. The authors have 5 for antmaze. Where code holds
        /// α′·w·(gap − τ) instead (CORL), its τ is ours divided by w.
        target_action_gap: Option<Real> = None;
        /// Takes the best of n actions at s′ by each target critic, then the smaller of those, as the value in (2): an option of
        /// the authors' code, which CORL has on for antmaze.
        max_backup: bool = false;
        /// Counts the entropy of π(·∣s′) in (2) as SAC does. Off in the authors' code.
        entropy_backup: bool = false;
        /// Updates in which the actor only clones; none is 40 000, as in the authors' code, or 0 in [`combo`](crate::combo), as in
        /// OfflineRL-Kit. 0 in CORL.
        warm_start: Option<u64> = None;
        /// Temperature α at the start: the penalty of a nat of entropy, in units of the value.
        alpha: Real = 1.0, POSITIVE;
        /// Learning rate of ln α; 0 keeps α as it is.
        alpha_lr: Real = 1e-4, NON_NEGATIVE;
        /// Entropy that α is steered to, in nats, of actions in units of their limit; none is −\|A\|.
        target_entropy: Option<Real> = None, ANY.unit("nats");
        /// Bounds of ln σ, low and high; none is those of the algorithm: [`NARROW_LOG_STD_BOUNDS`] in CQL, COMBO and SDC,
        /// [`LOG_STD_BOUNDS`](crate::sac::LOG_STD_BOUNDS) in OSR.
        log_std_bounds: Option<[Real; 2]> = None;
        /// Polyak rate of the target critics.
        tau: Real = 0.005, FRACTION;
        /// Learning rate of π.
        actor_lr: Real = 1e-4, POSITIVE;
        /// Learning rate of Q and of ln α′.
        critic_lr: Real = 3e-4, POSITIVE;
        /// Updates over which the rates of π and Q fall to zero on a half cosine; 0, as in the paper, keeps them constant.
        lr_decay_steps: u64 = 0;
        /// Whether critics have layer normalisation between sums and activations; ours, off in the paper.
        layer_norm: bool = false;
        /// Units of the hidden layers.
        hidden: Vec<usize> = vec![256, 256, 256], HIDDEN;
        /// How large products are computed. Everything is `F32` unless asked; see [`Precision`].
        precision: Precision = Precision::F32;
    }
    together(config) {
        check_log_std_bounds(config.log_std_bounds)?;
        let plain = config.cql_alpha == 0.0 && config.target_action_gap.is_none();
        let needless = plain && !config.max_backup;
        let why = "is 0; the sum over actions needs some";
        ConfigError::unless(config.n_action_samples > 0 || needless, "n_action_samples", why)?;
        let both = config.max_backup && config.entropy_backup;
        let why = "does not go with `max_backup`, whose best action has no density";
        ConfigError::unless(!both, "entropy_backup", why)
    }
}
