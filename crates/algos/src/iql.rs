//! IQL, implicit Q-learning (Kostrikov, Nair & Levine, *Offline reinforcement learning with implicit Q-learning*, ICLR
//! 2022, arXiv:2110.06169).
//!
//! | equation | code |
//! |---|---|
//! | (5) L_V(ψ) = E[ \|κ − 1(u < 0)\| u² ], u = min_j Q̂_j(s,a) − V_ψ(s) | [`Iql::value_step`] |
//! | (7) L_π(φ) = −E[ min(exp(β(min_j Q̂_j(s,a) − V_ψ(s))), 100)·dataset π_φ(a∣s) ] | [`Iql::actor_step`] |
//! | (6) L_Q(θ) = Σ_j E[ (r + γ(1−d) V_ψ(s′) − Q_θj(s,a))² ] | [`Iql::critic_step`] |
//!
//! Update order: (5), (7) with the new V, (6) with the new V, then θ̂ ← (1−τ)θ̂ + τθ, as in the authors' code.
//!
//! No action is ever asked for that is not in the batch: V is an upper expectile over the batch's own actions, and the
//! policy is weighted cloning of them. That makes the mixture of real and imagined rows well defined for it.
//!
//! The policy is a Gaussian with a state-independent ln σ held in [−5, 2] whose *mean* passes through tanh; the
//! distribution itself is not squashed. As in the authors' code: orthogonal initial weights of gain √2, the actor's
//! rate decayed to zero on a half cosine, and for kitchen and adroit dropout after the policy's hidden layers while it
//! learns. From CORL, for two of its tasks: a deterministic policy, for which −ln π_φ(a∣s) in (7) becomes ‖π_φ(s) −
//! a‖², summed over dimensions.

use crate::blocks::{
    actor::GaussianActor,
    transition::{Transition, sizes},
    value::bellman_error,
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
        let net = |store: &mut Store, name, inputs, members| {
            let dims = sizes(inputs, &self.hidden, 1);
            let net = Mlp::new(store, name, &dims, members, Activation::Relu, init, key);
            net.with_layer_norm(self.layer_norm)
        };
        let critic = net(&mut store, "critic", spec.obs + spec.act, 2);
        let critic_target = critic.duplicate(&mut store, "critic_target");
        let value = net(&mut store, "value", spec.obs, 1);
        let actor = GaussianActor::new(&mut store, spec, &self.hidden, init, key);
        Ok(Iql {
            spec,
            config: self.clone(),
            store,
            critic,
            critic_target,
            value,
            actor,
            critic_adam: Adam::new(critic.range(), self.critic_lr),
            value_adam: Adam::new(value.range(), self.value_lr),
            actor_adam: Adam::new(actor.range(), self.actor_lr),
            q_target: Vec::new(),
        })
    }
}

/// Value learning by expectile regression, policy by advantage-weighted cloning.
pub struct Iql {
    spec: Spec,
    config: Config,
    store: Store,
    critic: Mlp,
    critic_target: Mlp,
    value: Mlp,
    actor: GaussianActor,
    critic_adam: Adam,
    value_adam: Adam,
    actor_adam: Adam,
    /// min_j Q̂_j(s,a) of the batch, `[rows]`, which (5) and (7) both need.
    q_target: Vec<Real>,
}

impl Iql {
    // ANCHOR: value_step
    /// (5)  L_V(ψ) = E[ |κ − 1(u < 0)| u² ],   u = min_j Q̂_j(s,a) − V_ψ(s)
    fn value_step(&mut self, batch: Batch<'_>) -> (Real, Real) {
        let Self { config, store, critic_target, value, value_adam, q_target, .. } = self;
        let Transition { s, a, .. } = Transition::on(store.tape(), batch);
        critic_target.forward(s.cat(a)).min_members().copy_into(q_target);
        value_adam.minimise_with(store, |tape| {
            let v = value.forward(Transition::on(tape, batch).s);
            let u = tape.column(q_target) - v;
            (expectile_loss(u, config.expectile).mean(), v.mean().item())
        })
    }
    // ANCHOR_END: value_step

    // ANCHOR: actor_step
    /// (7)  L_π(φ) = −E[ min(exp(β(min_j Q̂_j(s,a) − V_ψ(s))), 100)·dataset π_φ(a∣s) ]
    fn actor_step(&mut self, batch: Batch<'_>, key: Key) -> Real {
        let Self { config, store, value, actor, actor_adam, q_target, .. } = self;
        let &mut Config { beta, weight_bound, dropout, deterministic, .. } = config;
        actor_adam.minimise(store, |tape| {
            let Transition { s, a, .. } = Transition::on(tape, batch);
            let advantage = tape.column(q_target) - value.forward(s);
            // Bounded before the exponential, which would otherwise overflow.
            let weight = (advantage * beta).clamp(Real::MIN, weight_bound.ln()).exp();
            let pi = actor.dropping(s, dropout, key);
            let misfit = match deterministic {
                true => (pi.mean - a).square().sum_cols(),
                false => -pi.log_prob(a),
            };
            (weight * misfit).mean()
        })
    }
    // ANCHOR_END: actor_step

    // ANCHOR: critic_step
    /// (6)  L_Q(θ) = Σ_j E[ (r + γ(1−d) V_ψ(s′) − Q_θj(s,a))² ]
    fn critic_step(&mut self, batch: Batch<'_>) -> (Real, Real) {
        let Self { config, store, critic, value, critic_adam, .. } = self;
        critic_adam.minimise_with(store, |tape| {
            let Transition { s, a, r, s2, alive } = Transition::on(tape, batch);
            let y = r + alive * value.forward(s2) * config.gamma;
            bellman_error(*critic, s, a, y)
        })
    }
    // ANCHOR_END: critic_step
}

impl Learner for Iql {
    // ANCHOR: update
    fn update(&mut self, batch: Batch<'_>, key: Key) -> Metrics {
        let (value_loss, v) = self.value_step(batch);
        self.actor_adam.anneal(self.config.actor_lr, self.config.actor_lr_decay_steps);
        let actor_loss = self.actor_step(batch, key.name("dropout"));
        let (critic_loss, q) = self.critic_step(batch);
        polyak(&mut self.store, &self.critic_target, &self.critic, self.config.tau);
        let mut metrics = Metrics::from([("value_loss", value_loss), ("actor_loss", actor_loss)]);
        *metrics.put("critic_loss", critic_loss).put("q", q).put("v", v)
    }
    // ANCHOR_END: update
}

/// Acts with the mean, as the paper evaluates.
impl Policy for Iql {
    fn spec(&self) -> Spec {
        self.spec
    }

    fn act(&mut self, obs: ArrayView2<'_, Real>, _: Option<Key>, act: ArrayViewMut2<'_, Real>) {
        let s = self.store.tape().input(obs);
        self.actor.at(s).mean.write_to(act);
    }
}

state!(Iql: store, critic_adam, value_adam, actor_adam);
