//! IQL, implicit Q-learning (Kostrikov, Nair & Levine, *Offline reinforcement learning with implicit Q-learning*,
//! ICLR 2022, arXiv:2110.06169).
//!
//! | equation | code |
//! |---|---|
//! | (5) L_V(ψ) = E[ \|κ − 1(u < 0)\| u² ], u = min_j Q̂_j(s,a) − V_ψ(s) | [`Iql::value_step`] |
//! | (7) L_π(φ) = −E[ min(exp(β(min_j Q̂_j(s,a) − V_ψ(s))), 100)·log π_φ(a∣s) ] | [`Iql::actor_step`] |
//! | (6) L_Q(θ) = Σ_j E[ (r + γ(1−d) V_ψ(s′) − Q_θj(s,a))² ] | [`Iql::critic_step`] |
//!
//! Update order: (5), (7) with the new V, (6) with the new V, then θ̂ ← (1−τ)θ̂ + τθ, as in the authors' code.
//!
//! No action is ever asked for that is not in the batch: V is an upper expectile over the batch's own actions, and the
//! policy is weighted cloning of them. That makes the mixture of real and imagined rows well defined for it.
//!
//! The policy is a Gaussian with a state-independent ln σ held in [−5, 2] whose *mean* passes through tanh; the distribution
//! itself is not squashed. As in the authors' code: orthogonal initial weights of gain √2, the actor's rate decayed to zero
//! on a half cosine, and for kitchen and adroit dropout after the policy's hidden layers while it learns. From CORL, for
//! two of its tasks: a deterministic policy, for which −ln π_φ(a∣s) in (7) becomes ‖π_φ(s) − a‖², summed over dimensions.

use crate::blocks::{
    actor::GaussianActor,
    transition::{Transition, sizes},
};
use backcast_core::{
    Algorithm, Batch, ConfigError, FRACTION, Key, Learner, Metrics, NON_NEGATIVE, POSITIVE, Policy,
    Problem, Real, SHARE, Spec, hyperparameters,
};
use backcast_nn::{
    Activation, Adam, HIDDEN, Init, Mlp, Precision, Store, expectile_loss, polyak, state,
};
use ndarray::{ArrayView2, ArrayViewMut2};

hyperparameters! {
    /// One field per symbol; defaults of the authors' code for locomotion.
    pub struct Config {
        /// Discount γ.
        gamma: Real = 0.99, SHARE;
        /// Expectile κ of V over the actions of the batch (τ in the paper): ½ is the mean, towards 1 the maximum.
        expectile: Real = 0.7, SHARE;
        /// Inverse temperature β of the weights.
        beta: Real = 3.0, NON_NEGATIVE;
        /// Bound of the weights.
        weight_bound: Real = 100.0, POSITIVE;
        /// Polyak rate of the target critics.
        tau: Real = 0.005, FRACTION;
        /// Learning rate of V.
        value_lr: Real = 3e-4, POSITIVE;
        /// Learning rate of Q.
        critic_lr: Real = 3e-4, POSITIVE;
        /// Learning rate of π at the start.
        actor_lr: Real = 3e-4, POSITIVE;
        /// Updates over which the actor's rate falls to zero on a half cosine; 0 keeps it constant.
        actor_lr_decay_steps: u64 = 1_000_000;
        /// Share of the policy's hidden units that are dropped while it learns; 0.1 in the paper for kitchen and adroit.
        dropout: Real = 0.0, SHARE;
        /// Whether the policy is deterministic and clones by least squares; CORL has it on for hopper-medium and
        /// hopper-medium-replay. Its ln σ then stays where it is.
        deterministic: bool = false;
        /// Whether V and Q have layer normalisation between sums and activations; ours, off in the paper.
        layer_norm: bool = false;
        /// Units of the hidden layers.
        hidden: Vec<usize> = vec![256, 256], HIDDEN;
        /// How large products are computed. Everything is `F32` unless asked; see [`Precision`].
        precision: Precision = Precision::F32;
    }
    together(c) {
        ConfigError::unless(c.expectile > 0.0 && c.expectile < 1.0, "expectile", "must lie in (0, 1)")?;
        ConfigError::unless(c.dropout < 1.0, "dropout", "must leave something: give a share below 1")
    }
}

impl Algorithm for Config {
    const NAME: &str = "iql";
    const PAPER: &str = "Kostrikov, Nair & Levine, Offline reinforcement learning with implicit Q-learning, arXiv:2110.06169";
    const SOURCE: &str = include_str!("iql.rs");
    type Learner = Iql;

    fn build(&self, problem: impl Into<Problem>, key: Key) -> Result<Iql, ConfigError> {
        self.check()?;
        let spec = problem.into().spec;
        let mut store = Store::in_precision(self.precision);
        let init = Init::Orthogonal(Real::sqrt(2.0));
        let (state, pair) =
            (sizes(spec.obs, &self.hidden, 1), sizes(spec.obs + spec.act, &self.hidden, 1));
        let critic = Mlp::new(&mut store, "critic", &pair, 2, Activation::Relu, init, key)
            .with_layer_norm(self.layer_norm);
        let critic_target = critic.duplicate(&mut store, "critic_target");
        let value = Mlp::new(&mut store, "value", &state, 1, Activation::Relu, init, key)
            .with_layer_norm(self.layer_norm);
        let actor = GaussianActor::new(&mut store, spec, &self.hidden, init, key);
        let critic_adam = Adam::new(critic.range(), self.critic_lr);
        let value_adam = Adam::new(value.range(), self.value_lr);
        let actor_adam = Adam::new(actor.range(), self.actor_lr);
        let nets = Nets { critic, critic_target, value, actor };
        Ok(Iql {
            spec,
            config: self.clone(),
            store,
            nets,
            critic_adam,
            value_adam,
            actor_adam,
            q_target: Vec::new(),
        })
    }
}

/// Handles of every net.
#[derive(Clone, Copy)]
struct Nets {
    critic: Mlp,
    critic_target: Mlp,
    value: Mlp,
    actor: GaussianActor,
}

/// Value learning by expectile regression, policy by advantage-weighted cloning.
pub struct Iql {
    spec: Spec,
    config: Config,
    store: Store,
    nets: Nets,
    critic_adam: Adam,
    value_adam: Adam,
    actor_adam: Adam,
    /// min_j Q̂_j(s,a) of the batch, `[rows]`, which (5) and (7) both need.
    q_target: Vec<Real>,
}

impl Iql {
    /// min_j Q̂_j(s,a)
    fn target_values(&mut self, batch: Batch<'_>) {
        let Transition { s, a, .. } = Transition::on(self.store.tape(), batch);
        let q = self.nets.critic_target.forward(s.cat(a)).min_members();
        q.copy_into(&mut self.q_target);
    }

    // ANCHOR: value_step
    /// (5)  L_V(ψ) = E[ |κ − 1(u < 0)| u² ],   u = min_j Q̂_j(s,a) − V_ψ(s)
    fn value_step(&mut self, batch: Batch<'_>) -> (Real, Real) {
        let (nets, kappa, q_target) = (self.nets, self.config.expectile, &self.q_target);
        self.value_adam.minimise_with(&mut self.store, |tape| {
            let v = nets.value.forward(Transition::on(tape, batch).s);
            let u = tape.column(q_target) - v;
            (expectile_loss(u, kappa).mean(), v.mean().item())
        })
    }
    // ANCHOR_END: value_step

    // ANCHOR: actor_step
    /// (7)  L_π(φ) = −E[ min(exp(β(min_j Q̂_j(s,a) − V_ψ(s))), 100)·log π_φ(a∣s) ]
    fn actor_step(&mut self, batch: Batch<'_>, key: Key) -> Real {
        let (nets, q_target) = (self.nets, &self.q_target);
        let &Config { beta, weight_bound, dropout, deterministic, .. } = &self.config;
        self.actor_adam.minimise(&mut self.store, |tape| {
            let Transition { s, a, .. } = Transition::on(tape, batch);
            let advantage = tape.column(q_target) - nets.value.forward(s);
            // Bounded before the exponential, which would otherwise overflow.
            let weight = (advantage * beta).clamp(Real::MIN, weight_bound.ln()).exp();
            let pi = nets.actor.dropping(s, dropout, key);
            let misfit =
                if deterministic { (pi.mean - a).square().sum_cols() } else { -pi.log_prob(a) };
            (weight * misfit).mean()
        })
    }
    // ANCHOR_END: actor_step

    // ANCHOR: critic_step
    /// (6)  L_Q(θ) = Σ_j E[ (r + γ(1−d) V_ψ(s′) − Q_θj(s,a))² ]
    fn critic_step(&mut self, batch: Batch<'_>) -> (Real, Real) {
        let (nets, gamma) = (self.nets, self.config.gamma);
        self.critic_adam.minimise_with(&mut self.store, |tape| {
            let Transition { s, a, r, s2, alive } = Transition::on(tape, batch);
            let y = r + alive * nets.value.forward(s2) * gamma;
            let q = nets.critic.forward(s.cat(a));
            ((q - y).square().mean() * 2.0, q.mean().item())
        })
    }
    // ANCHOR_END: critic_step
}

impl Learner for Iql {
    // ANCHOR: update
    fn update(&mut self, batch: Batch<'_>, key: Key) -> Metrics {
        self.target_values(batch);
        let (value_loss, v) = self.value_step(batch);
        self.actor_adam.anneal(self.config.actor_lr, self.config.actor_lr_decay_steps);
        let actor_loss = self.actor_step(batch, key.name("dropout"));
        let (critic_loss, q) = self.critic_step(batch);
        polyak(&mut self.store, &self.nets.critic_target, &self.nets.critic, self.config.tau);
        [
            ("value_loss", value_loss),
            ("actor_loss", actor_loss),
            ("critic_loss", critic_loss),
            ("q", q),
            ("v", v),
        ]
        .into()
    }
    // ANCHOR_END: update
}

/// Acts with the mean, as the paper evaluates.
impl Policy for Iql {
    fn spec(&self) -> Spec {
        self.spec
    }

    fn act(&mut self, obs: ArrayView2<'_, Real>, _: Option<Key>, act: ArrayViewMut2<'_, Real>) {
        let actor = self.nets.actor;
        actor.at(self.store.tape().input(obs)).mean.write_to(act);
    }
}

state!(Iql: store, critic_adam, value_adam, actor_adam);
