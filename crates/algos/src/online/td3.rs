//! TD3, twin delayed deep deterministic policy gradient (Fujimoto, van Hoof & Meger, *Addressing function approximation
//! error in actor-critic methods*, ICML 2018, arXiv:1802.09477): what [`td3_bc`](crate::td3_bc) is without its cloning
//! term. For learning [`online`](crate::online), where nothing has to keep a policy to a dataset.
//!
//! | equation | code |
//! |---|---|
//! | (1) y = r + γ(1−d) min_j Q′_j(s′, clip(π′(s′) + clip(ε, ±c))) | [`Td3::critic_step`] |
//! | (2) L_Q(θ) = Σ_j E[ (Q_j(s,a) − y)² ] | [`Td3::critic_step`] |
//! | (3) L_π(φ) = −E[ Q₁(s, π(s)) ] | [`Td3::actor_step`] |
//!
//! Update order: (1), (2); every second update (3), then both targets by Polyak, as in the authors' code. It draws no
//! action of its own: noise is added by whoever acts.

use crate::blocks::{
    deterministic_actor_critic::{DeterministicActorCritic, Setup},
    transition::Transition,
    value::bellman_error,
};
use backcast_core::{
    Algorithm, Batch, COUNT, ConfigError, FRACTION, Key, Learner, Metrics, NON_NEGATIVE, POSITIVE,
    Problem, Real, SHARE, acts_as, hyperparameters,
};
use backcast_nn::{HIDDEN, Precision, state};

hyperparameters! {
    /// One field per symbol; defaults of the authors' code.
    pub struct Config {
        /// Discount γ.
        gamma: Real = 0.99, SHARE;
        /// Deviation of the noise on target actions, in units of the action limit.
        policy_noise: Real = 0.2, NON_NEGATIVE;
        /// Bound c of that noise, in units of the action limit.
        noise_clip: Real = 0.5, NON_NEGATIVE;
        /// Critic updates per actor update.
        policy_period: u64 = 2, COUNT;
        /// Polyak rate of the targets.
        tau: Real = 0.005, FRACTION;
        /// Learning rate of π.
        actor_lr: Real = 3e-4, POSITIVE;
        /// Learning rate of Q.
        critic_lr: Real = 3e-4, POSITIVE;
        /// Units of the hidden layers.
        hidden: Vec<usize> = vec![256, 256], HIDDEN;
        /// How large products are computed. Everything is `F32` unless asked; see [`Precision`].
        precision: Precision = Precision::F32;
    }
}

impl Algorithm for Config {
    const NAME: &str = "td3";
    const PAPER: &str = "Fujimoto, van Hoof & Meger, Addressing function approximation error in actor-critic methods, arXiv:1802.09477";
    const SOURCE: &str = include_str!("td3.rs");
    type Learner = Td3;

    fn build(&self, problem: impl Into<Problem>, key: Key) -> Result<Td3, ConfigError> {
        self.check()?;
        let rates = [self.actor_lr, self.critic_lr];
        let setup = Setup::new(&self.hidden, rates, self.precision);
        let spec = problem.into().spec;
        let core = DeterministicActorCritic::new(spec, setup, key, |_, _, _| {});
        Ok(Td3 { config: self.clone(), core })
    }
}

/// Clipped double Q-learning with a deterministic policy that moves at every second update.
pub struct Td3 {
    config: Config,
    core: DeterministicActorCritic,
}

impl Td3 {
    // ANCHOR: critic_step
    /// (1)  y = r + γ(1−d) min_j Q′_j(s′, clip(π′(s′) + clip(ε, ±c)))
    /// (2)  L_Q(θ) = Σ_j E[ (Q_j(s,a) − y)² ]
    fn critic_step(&mut self, batch: Batch<'_>, key: Key) -> (Real, Real) {
        let &Config { gamma, policy_noise, noise_clip, .. } = &self.config;
        let DeterministicActorCritic { store, nets, critic_adam, .. } = &mut self.core;
        critic_adam.minimise_with(store, |tape| {
            let y = tape.no_grad(|tape| {
                let Transition { r, s2, alive, .. } = Transition::on(tape, batch);
                let a2 = nets.smoothed_target(s2, policy_noise, noise_clip, key);
                r + alive * nets.critic_target.forward(s2.cat(a2)).min_members() * gamma
            });
            let Transition { s, a, .. } = Transition::on(tape, batch);
            bellman_error(nets.critic, s, a, y)
        })
    }
    // ANCHOR_END: critic_step

    // ANCHOR: actor_step
    /// (3)  L_π(φ) = −E[ Q₁(s, π(s)) ]
    fn actor_step(&mut self, batch: Batch<'_>) -> Real {
        let DeterministicActorCritic { store, nets, actor_adam, .. } = &mut self.core;
        actor_adam.minimise(store, |tape| {
            let Transition { s, .. } = Transition::on(tape, batch);
            -nets.critic.forward_member(s.cat(nets.act(s)), 0).mean()
        })
    }
    // ANCHOR_END: actor_step
}

impl Learner for Td3 {
    fn update(&mut self, batch: Batch<'_>, key: Key) -> Metrics {
        let (critic_loss, q) = self.critic_step(batch, key.name("target noise"));
        let mut metrics = Metrics::from([("critic_loss", critic_loss), ("q", q)]);
        if self.core.actor_is_due(self.config.policy_period) {
            metrics.put("actor_loss", self.actor_step(batch));
            self.core.update_targets(self.config.tau);
        }
        metrics
    }
}

acts_as!(Td3: core);
state!(Td3: core);
