//! TD3, twin delayed deep deterministic policy gradient (Fujimoto, van Hoof & Meger, *Addressing function approximation error in
//! actor-critic methods*, ICML 2018, arXiv:1802.09477): what [`td3_bc`](crate::td3_bc) is without its cloning term. For learning
//! [`online`](crate::online), where nothing has to keep a policy to a log.
//!
//! | equation | code |
//! |---|---|
//! | (1) y = r + γ(1−d) min_j Q′_j(s′, clip(π′(s′) + clip(ε, ±c))) | [`Td3::critic_step`] |
//! | (2) L_Q(θ) = Σ_j E[ (Q_j(s,a) − y)² ] | [`Td3::critic_step`] |
//! | (3) L_π(φ) = −E[ Q₁(s, π(s)) ] | [`Td3::actor_step`] |
//!
//! Update order: (1), (2); every second update (3), then both targets by Polyak, as in the authors' code. It draws no action of its
//! own: noise is added by whoever acts.

use crate::blocks::{
    deterministic::{policy, smoothed},
    transition::{Transition, sizes},
};
use backcast_core::{
    Algorithm, Batch, COUNT, ConfigError, FRACTION, Key, Learner, Metrics, NON_NEGATIVE, POSITIVE,
    Policy, Problem, Real, SHARE, Spec, hyperparameters,
};
use backcast_nn::{Activation, Adam, HIDDEN, Init, Mlp, Precision, Store, polyak, state};
use ndarray::{ArrayView2, ArrayViewMut2};

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
        let spec = problem.into().spec;
        let mut store = Store::in_precision(self.precision);
        let actor_dims = sizes(spec.obs, &self.hidden, spec.act);
        let critic_dims = sizes(spec.obs + spec.act, &self.hidden, 1);
        let actor =
            Mlp::new(&mut store, "actor", &actor_dims, 1, Activation::Relu, Init::FanIn, key)
                .with_output(Activation::Tanh);
        let critic =
            Mlp::new(&mut store, "critic", &critic_dims, 2, Activation::Relu, Init::FanIn, key);
        let actor_target = actor.duplicate(&mut store, "actor_target");
        let critic_target = critic.duplicate(&mut store, "critic_target");
        let actor_adam = Adam::new(actor.range(), self.actor_lr);
        let critic_adam = Adam::new(critic.range(), self.critic_lr);
        let nets = Nets { actor, critic, actor_target, critic_target };
        Ok(Td3 { spec, config: self.clone(), store, nets, actor_adam, critic_adam, updates: 0 })
    }
}

#[derive(Clone, Copy)]
struct Nets {
    actor: Mlp,
    critic: Mlp,
    actor_target: Mlp,
    critic_target: Mlp,
}

/// Twin critics that are the smaller of two, and a policy that moves at every second update.
pub struct Td3 {
    spec: Spec,
    config: Config,
    store: Store,
    nets: Nets,
    actor_adam: Adam,
    critic_adam: Adam,
    updates: u64,
}

impl Td3 {
    // ANCHOR: critic_step
    /// (1)  y = r + γ(1−d) min_j Q′_j(s′, clip(π′(s′) + clip(ε, ±c)))
    /// (2)  L_Q(θ) = Σ_j E[ (Q_j(s,a) − y)² ]
    fn critic_step(&mut self, batch: Batch<'_>, key: Key) -> (Real, Real) {
        let (&Config { gamma, policy_noise, noise_clip, .. }, limit) =
            (&self.config, self.spec.act_limit);
        let Nets { critic, actor_target, critic_target, .. } = self.nets;
        self.critic_adam.minimise_with(&mut self.store, |tape| {
            let y = tape.no_grad(|tape| {
                let Transition { r, s2, alive, .. } = Transition::on(tape, batch);
                let a2 =
                    smoothed(policy(actor_target, limit, s2), policy_noise, noise_clip, limit, key);
                r + alive * critic_target.forward(s2.cat(a2)).min_members() * gamma
            });
            let Transition { s, a, .. } = Transition::on(tape, batch);
            let q = critic.forward(s.cat(a));
            ((q - y).square().mean() * 2.0, q.mean().item())
        })
    }
    // ANCHOR_END: critic_step

    // ANCHOR: actor_step
    /// (3)  L_π(φ) = −E[ Q₁(s, π(s)) ]
    fn actor_step(&mut self, batch: Batch<'_>) -> Real {
        let (Nets { actor, critic, .. }, limit) = (self.nets, self.spec.act_limit);
        self.actor_adam.minimise(&mut self.store, |tape| {
            let Transition { s, .. } = Transition::on(tape, batch);
            -critic.forward_member(s.cat(policy(actor, limit, s)), 0).mean()
        })
    }
    // ANCHOR_END: actor_step
}

impl Learner for Td3 {
    fn update(&mut self, batch: Batch<'_>, key: Key) -> Metrics {
        let (critic_loss, q) = self.critic_step(batch, key.name("target noise"));
        let mut metrics = Metrics::from([("critic_loss", critic_loss), ("q", q)]);
        self.updates += 1;
        if self.updates.is_multiple_of(self.config.policy_period) {
            metrics.put("actor_loss", self.actor_step(batch));
            let Nets { actor, critic, actor_target, critic_target } = self.nets;
            polyak(&mut self.store, &critic_target, &critic, self.config.tau);
            polyak(&mut self.store, &actor_target, &actor, self.config.tau);
        }
        metrics
    }
}

impl Policy for Td3 {
    fn spec(&self) -> Spec {
        self.spec
    }

    fn act(&mut self, obs: ArrayView2<'_, Real>, _: Option<Key>, act: ArrayViewMut2<'_, Real>) {
        let (actor, limit) = (self.nets.actor, self.spec.act_limit);
        policy(actor, limit, self.store.tape().input(obs)).write_to(act);
    }
}

state!(Td3: store, actor_adam, critic_adam, updates);
