//! The hyperparameters of NPG, and how it is built.

use super::{Actor, Npg, Paths, RolloutState, Scratch};
use crate::{blocks::transition::sizes, model_based::morel::Pessimism};
use backcast_core::{
    Algorithm, COUNT, ConfigError, Key, NON_NEGATIVE, POSITIVE, Problem, Real, Rollouts, SHARE,
    Sampling, choices, hyperparameters,
};
use backcast_nn::{Activation, Adam, HIDDEN, Init, Mlp, Precision, Store};

choices! {
    /// In which members of the model paths are imagined.
    pub enum Members {
        /// In every one.
        #[default]
        Every,
        /// In the elites.
        Elites,
    }
}

hyperparameters! {
    /// One field per symbol; defaults of the authors' configuration for D4RL's hopper-medium.
    pub struct Config {
        /// The p-MDP.
        pessimism: Pessimism = Pessimism::default();
        /// Whether HALT is absorbing, as in the paper. If not, as in the authors' code: a path is truncated after its first step into
        /// the unknown (but not before its fourth), that step earns what the model says, and V bootstraps behind it.
        absorbing: bool = true;
        /// Paths for each member and iteration.
        paths: usize = 50, COUNT;
        /// Steps of a path.
        horizon: usize = 700, COUNT.unit("steps");
        /// In which members.
        members: Members = Members::Every;
        /// The share of paths that start from random states of the dataset; the others start where its episodes did.
        random_starts: Real = 0.0, SHARE;
        /// What is taken from a member's Gaussian. The authors' members are deterministic.
        sampling: Sampling = Sampling::Mean;
        /// Discount γ, below 1.
        gamma: Real = 0.999, SHARE;
        /// λ of GAE.
        lambda: Real = 0.97, SHARE;
        /// δ, the size of a step: gᵀx·α² = δ, about twice the KL divergence between two policies.
        step: Real = 0.02, POSITIVE;
        /// The most that KL(π_old ∥ π) may be: α is halved until it is no more, as in TRPO (Schulman et al., arXiv:1502.05477). None, as
        /// in the authors' code, takes the step as it is. Where paths are few, one step in ten goes a hundred times too far.
        kl_bound: Option<Real> = None, POSITIVE;
        /// Iterations of conjugate gradients.
        iterations: usize = 25, COUNT;
        /// What is added to the diagonal of F.
        damping: Real = 1e-3, POSITIVE;
        /// ln σ at the start, σ in units of the action limit.
        log_std: Real = -0.25;
        /// The least ln σ; −2 in the configuration for hopper-v3.
        min_log_std: Real = -1.0;
        /// Units of the policy's hidden layers.
        hidden: Vec<usize> = vec![64, 64], HIDDEN;
        /// Updates of behaviour cloning before the first iteration: 5 epochs of a million rows.
        warm_start: u64 = 20_000;
        /// Learning rate of cloning.
        actor_lr: Real = 1e-3, POSITIVE;
        /// Units of the value's hidden layers.
        value_hidden: Vec<usize> = vec![128, 128], HIDDEN;
        /// Learning rate of V.
        value_lr: Real = 1e-3, POSITIVE;
        /// Coefficient of ½‖W‖² in V's loss.
        value_weight: Real = 1e-3, NON_NEGATIVE;
        /// Rows of a step of V.
        value_batch: usize = 256, COUNT;
        /// Passes over the paths for V in an iteration.
        value_epochs: usize = 1, COUNT;
        /// How large products are computed. Everything is `F32` unless asked; see [`Precision`].
        precision: Precision = Precision::F32;
    }
    together(config) {
        ConfigError::unless(config.gamma < 1.0, "gamma", "is 1; a path has no end, and its value no bound")
    }
}

impl Algorithm for Config {
    const NAME: &str = "npg";
    const PAPER: &str =
        "Kidambi et al., MOReL: model-based offline reinforcement learning, arXiv:2005.05951";
    const SOURCE: &str = include_str!("mod.rs");
    const USES_MODEL: bool = true;
    type Learner = Npg;

    fn build(&self, problem: impl Into<Problem>, key: Key) -> Result<Npg, ConfigError> {
        self.check()?;
        let mut problem = problem.into();
        let mut model = problem.take_model()?;
        let initial = problem.dataset.initial.take().filter(|rows| !rows.is_empty());
        let why = "leaves paths that start where episodes do; give `DatasetStats::initial`, or 1 to start anywhere";
        ConfigError::unless(initial.is_some() || self.random_starts == 1.0, "random_starts", why)?;
        let threshold = key.name("threshold");
        let halt =
            self.pessimism.halt(&mut *model.dynamics, &problem.dataset, self.gamma, threshold)?;
        let spec = problem.spec;
        let mut store = Store::in_precision(self.precision);
        let actor = Actor::new(&mut store, spec, self, key);
        let dims = sizes(spec.obs, &self.value_hidden, 1);
        let value = Mlp::new(&mut store, "value", &dims, 1, Activation::Relu, Init::FanIn, key);
        let actor_adam = Adam::new(actor.net.range(), self.actor_lr);
        let value_adam = Adam::new(value.range(), self.value_lr);
        let value_adam =
            value.layers().fold(value_adam, |adam, layer| adam.with_l2(layer, self.value_weight));
        let rollout_state = RolloutState::new(self, model, initial, halt)?;
        let chains = self.paths * rollout_state.members.len();
        let horizon = self.horizon;
        let sampling = self.sampling;
        let after = Rollouts { every: 1, starts: chains, horizon, keep: 1, real: 1.0, sampling };
        let cloning = Rollouts { every: self.warm_start.max(1), horizon: 1, ..after.clone() };
        Ok(Npg {
            config: self.clone(),
            store,
            actor,
            value,
            actor_adam,
            value_adam,
            cloned: 0,
            rollouts: [cloning, after],
            rollout_state,
            paths: Paths::new(spec, chains, horizon),
            scratch: Scratch::default(),
        })
    }
}
