//! The hyperparameters of MBPO.

use super::Horizon;
use crate::sac;
use backcast_core::{COUNT, ConfigError, Domain, Real, Rollouts, SHARE, hyperparameters};
use backcast_dynamics::EnsembleConfig;

hyperparameters! {
    /// One field per symbol.
    pub struct Config {
        /// Steps of the environment in all.
        steps: usize = 125_000, COUNT;
        /// Of these, how many by uniform actions before anything is learnt.
        explore: usize = 5000, Domain::within(2.0, f64::INFINITY);
        /// Steps of the environment between two fits of the model, and between two rollouts.
        every: usize = 250, COUNT;
        /// Real states that a rollout branches off.
        starts: usize = 100_000, COUNT;
        /// k, steps of a rollout.
        horizon: Horizon = Horizon { from: 1, to: 15, begin: 20_000, end: 100_000 };
        /// Rollouts that are kept.
        keep: usize = 4, COUNT;
        /// G, updates of SAC for a step of the environment.
        updates: usize = 20, COUNT;
        /// Rows of a batch.
        batch: usize = 256, COUNT;
        /// The share of them that is real.
        real: Real = 0.05, SHARE;
        /// The model.
        model: EnsembleConfig = EnsembleConfig::default();
        /// SAC.
        sac: sac::Config = sac::Config::default();
    }
    together(config) {
        let Horizon { from, to, begin, end } = config.horizon;
        let grows = from > 0 && to > 0 && begin < end;
        let why = "must go from at least 1 to at least 1, and `begin` before it ends";
        ConfigError::unless(grows, "horizon", why)
    }
}

impl Config {
    /// How often, from how many states and how far the policy is rolled out at first.
    pub(super) fn rollouts(&self) -> Rollouts {
        let every = self.every as u64;
        let horizon = self.horizon.from;
        let &Self { starts, keep, real, .. } = self;
        Rollouts { every, starts, horizon, keep, real, ..Rollouts::default() }
    }
}
