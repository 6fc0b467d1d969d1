//! What SAC is made of, and every algorithm that changes SAC's losses: a stochastic actor, critics with targets, a
//! temperature.

use crate::blocks::{
    actor::{self, Actor},
    temperature::Multiplier,
    transition::sizes,
    value::soft_policy_loss,
};
use backcast_core::{Batch, Key, Policy, Real, Spec};
use backcast_nn::{Activation, Adam, Init, Mlp, Precision, Store, polyak, state};
use ndarray::{ArrayView2, ArrayViewMut2};

/// Handles of the nets.
#[derive(Clone, Copy, Debug)]
pub struct Nets {
    /// π.
    pub actor: Actor,
    /// Q_j, from *(s, a)* to a value for each critic j.
    pub critic: Mlp,
    /// Q′_j.
    pub critic_target: Mlp,
}

/// The nets with what moves them.
pub struct ActorCritic {
    /// Widths and the action box.
    pub spec: Spec,
    /// Every parameter.
    pub store: Store,
    /// Where they are.
    pub nets: Nets,
    /// α.
    pub temperature: Multiplier,
    /// Moves π.
    pub actor_adam: Adam,
    /// Moves Q.
    pub critic_adam: Adam,
}

/// What the nets are to be.
#[derive(Clone, Copy, Debug)]
pub struct Sizes<'a> {
    /// Units of the hidden layers.
    pub hidden: &'a [usize],
    /// Critics N.
    pub critics: usize,
    /// Whether critics have layer normalisation.
    pub layer_norm: bool,
    /// Bounds of ln σ.
    pub log_std_bounds: [Real; 2],
    /// How large products are computed.
    pub precision: Precision,
}

impl<'a> Sizes<'a> {
    /// Two critics without layer normalisation.
    pub fn new(hidden: &'a [usize], log_std_bounds: [Real; 2], precision: Precision) -> Self {
        Self { hidden, critics: 2, layer_norm: false, log_std_bounds, precision }
    }
}

impl ActorCritic {
    /// Fresh nets; `begin` may change how parameters begin, before targets are copied from them.
    pub fn new(
        spec: Spec,
        sizes_of: Sizes<'_>,
        key: Key,
        begin: impl FnOnce(&mut Store, Actor, Mlp),
    ) -> Self {
        Self::within(Store::in_precision(sizes_of.precision), spec, sizes_of, key, begin)
    }

    /// The same in a store that may have nets already.
    pub fn within(
        mut store: Store,
        spec: Spec,
        sizes_of: Sizes<'_>,
        key: Key,
        begin: impl FnOnce(&mut Store, Actor, Mlp),
    ) -> Self {
        let Sizes { hidden, critics, layer_norm, log_std_bounds, .. } = sizes_of;
        let actor = Actor::new(&mut store, spec, hidden, log_std_bounds, key);
        let dims = sizes(spec.obs + spec.act, hidden, 1);
        let critic =
            Mlp::new(&mut store, "critic", &dims, critics, Activation::Relu, Init::FanIn, key);
        let critic = critic.with_layer_norm(layer_norm);
        begin(&mut store, actor, critic);
        let critic_target = critic.duplicate(&mut store, "critic_target");
        Self {
            spec,
            actor_adam: Adam::new(actor.net.range(), 0.0),
            critic_adam: Adam::new(critic.range(), 0.0),
            temperature: Multiplier::new("ln_alpha", 1.0, 0.0),
            nets: Nets { actor, critic, critic_target },
            store,
        }
    }

    /// With a temperature that begins at `alpha` and learns at `lr`.
    pub fn with_temperature(self, alpha: Real, lr: Real) -> Self {
        Self { temperature: Multiplier::new("ln_alpha", alpha, lr), ..self }
    }

    /// Sets the learning rates of π and Q: they fall to zero over `decay_steps` on a half cosine, if that is not 0.
    pub fn set_rates(&mut self, actor: Real, critic: Real, decay_steps: u64) {
        self.actor_adam.anneal(actor, decay_steps);
        self.critic_adam.anneal(critic, decay_steps);
    }

    // ANCHOR: actor_step
    /// One step of π down E[ α ln π(ã∣s) − min_j Q_j(s,ã) ], ã ~ π(·∣s), with α after a step of its own, towards an
    /// entropy of `target_entropy`, or of −|A|. The loss, and the entropy.
    pub fn actor_step(
        &mut self,
        batch: Batch<'_>,
        target_entropy: Option<Real>,
        key: Key,
    ) -> (Real, Real) {
        let Self { spec, store, nets, temperature, actor_adam, .. } = self;
        let entropy = actor::target_entropy(target_entropy, *spec);
        actor_adam.minimise_with(store, |tape| {
            soft_policy_loss(nets.actor, nets.critic, tape.input(batch.obs), key, |log_pi| {
                temperature.update_temperature(log_pi, entropy)
            })
        })
    }
    // ANCHOR_END: actor_step

    /// Q′ ← (1 − τ)Q′ + τQ.
    pub fn update_targets(&mut self, tau: Real) {
        polyak(&mut self.store, &self.nets.critic_target, &self.nets.critic, tau);
    }
}

/// Acts with limit·tanh μ, or, given a key, with a sample.
impl Policy for ActorCritic {
    fn spec(&self) -> Spec {
        self.spec
    }

    fn act(&mut self, obs: ArrayView2<'_, Real>, key: Option<Key>, act: ArrayViewMut2<'_, Real>) {
        let actor = self.nets.actor;
        actor.act(&mut self.store, obs, key, act);
    }
}

state!(ActorCritic: store, temperature, actor_adam, critic_adam);
