//! What BCQ and BEAR are made of: a model of the behaviour policy, an actor that is held to it, critics, and targets of
//! both.

use crate::blocks::{
    actor::Actor,
    behaviour::behaviour_vae,
    transition::{Transition, sizes},
};
use backcast_core::{Batch, Key, Real, Slot, Spec, State, under};
use backcast_nn::{Activation, Adam, Init, Mlp, Parameterised, Precision, Store, Vae, polyak};

/// What an actor may be: a net, or something that has one.
pub trait HasNet: Copy {
    /// The net.
    fn net(self) -> Mlp;

    /// The same actor with another net of the same size.
    fn with_net(self, net: Mlp) -> Self;
}

impl HasNet for Mlp {
    fn net(self) -> Mlp {
        self
    }

    fn with_net(self, net: Mlp) -> Self {
        net
    }
}

impl HasNet for Actor {
    fn net(self) -> Mlp {
        self.net
    }

    fn with_net(self, net: Mlp) -> Self {
        Self { net, ..self }
    }
}

/// Handles of the nets.
#[derive(Clone, Copy, Debug)]
pub struct Nets<A> {
    /// ω, the model of the behaviour policy.
    pub vae: Vae,
    /// The actor.
    pub actor: A,
    /// Q_j, from *(s, a)* to a value for each critic j.
    pub critic: Mlp,
    /// The actor's target.
    pub actor_target: A,
    /// Q′_j.
    pub critic_target: Mlp,
}

/// What the nets are to be.
#[derive(Clone, Copy, Debug)]
pub struct Sizes<'a> {
    /// Units of the hidden layers of the VAE's two halves.
    pub vae: &'a [usize],
    /// Units of the critics' hidden layers.
    pub hidden: &'a [usize],
    /// Critics.
    pub critics: usize,
    /// Whether critics have layer normalisation.
    pub layer_norm: bool,
    /// How large products are computed.
    pub precision: Precision,
}

impl<'a> Sizes<'a> {
    /// Two critics without layer normalisation.
    pub fn new(vae: &'a [usize], hidden: &'a [usize], precision: Precision) -> Self {
        Self { vae, hidden, critics: 2, layer_norm: false, precision }
    }
}

/// The nets with what moves them.
pub struct BehaviourActorCritic<A> {
    /// Widths and the action box.
    pub spec: Spec,
    /// Every parameter.
    pub store: Store,
    /// Where they are.
    pub nets: Nets<A>,
    /// Moves ω.
    pub vae_adam: Adam,
    /// Moves the actor.
    pub actor_adam: Adam,
    /// Moves Q.
    pub critic_adam: Adam,
}

impl<A: HasNet> BehaviourActorCritic<A> {
    /// Fresh nets; `actor` makes the actor's, called `actor`.
    pub fn new(
        spec: Spec,
        sizes_of: Sizes<'_>,
        key: Key,
        actor: impl FnOnce(&mut Store) -> A,
    ) -> Self {
        let mut store = Store::in_precision(sizes_of.precision);
        let vae = behaviour_vae(&mut store, spec, sizes_of.vae, key);
        let actor = actor(&mut store);
        let dims = sizes(spec.obs + spec.act, sizes_of.hidden, 1);
        let (relu, init) = (Activation::Relu, Init::FanIn);
        let critic = Mlp::new(&mut store, "critic", &dims, sizes_of.critics, relu, init, key);
        let critic = critic.with_layer_norm(sizes_of.layer_norm);
        let actor_target = actor.with_net(actor.net().duplicate(&mut store, "actor_target"));
        let critic_target = critic.duplicate(&mut store, "critic_target");
        Self {
            spec,
            vae_adam: Adam::new(vae.range(), 0.0),
            actor_adam: Adam::new(actor.net().range(), 0.0),
            critic_adam: Adam::new(critic.range(), 0.0),
            nets: Nets { vae, actor, critic, actor_target, critic_target },
            store,
        }
    }

    /// Sets the learning rates of ω, of the actor and of Q: they fall to zero over `decay_steps` on a half cosine, if
    /// that is not 0.
    pub fn set_rates(&mut self, vae: Real, actor: Real, critic: Real, decay_steps: u64) {
        self.vae_adam.anneal(vae, decay_steps);
        self.actor_adam.anneal(actor, decay_steps);
        self.critic_adam.anneal(critic, decay_steps);
    }

    // ANCHOR: vae_step
    /// L(ω) = E[ MSE(D(s, z), a) ] + w KL(E(s, a) ∥ N(0, 1)),   z ~ E(s, a), w = `kl_weight`
    pub fn vae_step(&mut self, batch: Batch<'_>, kl_weight: Real, key: Key) -> Real {
        let vae = self.nets.vae;
        self.vae_adam.minimise(&mut self.store, |tape| {
            let Transition { s, a, .. } = Transition::on(tape, batch);
            vae.loss(s, a, kl_weight, key)
        })
    }
    // ANCHOR_END: vae_step

    /// The targets of critics and actor, by Polyak.
    pub fn update_targets(&mut self, tau: Real) {
        let Nets { actor, actor_target, critic, critic_target, .. } = self.nets;
        polyak(&mut self.store, &critic_target, &critic, tau);
        polyak(&mut self.store, &actor_target.net(), &actor.net(), tau);
    }
}

impl<A> State for BehaviourActorCritic<A> {
    fn visit(&mut self, f: &mut dyn FnMut(&str, Slot<'_>)) {
        self.store.visit(f);
        under("vae_adam", &mut self.vae_adam, f);
        under("actor_adam", &mut self.actor_adam, f);
        under("critic_adam", &mut self.critic_adam, f);
    }
}

impl<A> Parameterised for BehaviourActorCritic<A> {
    fn store_mut(&mut self) -> &mut Store {
        &mut self.store
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use backcast_core::Transitions;

    /// Fitted to actions at 0.3, the behaviour policy comes to propose 0.3; targets follow their nets.
    #[test]
    fn the_behaviour_policy_is_fitted_and_targets_follow() {
        let spec = Spec::new(1, 1);
        let sizes_of = Sizes::new(&[16], &[8], Precision::F32);
        let dims = sizes(1, &[8], 1);
        let (relu, init) = (Activation::Relu, Init::FanIn);
        let net = |store: &mut Store| Mlp::new(store, "actor", &dims, 1, relu, init, Key::new(1));
        let mut core = BehaviourActorCritic::new(spec, sizes_of, Key::new(1), net);
        core.set_rates(1e-2, 1e-3, 1e-3, 0);
        let mut rows = Transitions::new(spec);
        (0..32).for_each(|i| rows.push(&[i as Real / 32.0], &[0.3], 0.0, &[0.0], false));
        for step in 0..300 {
            core.vae_step(rows.batch(), 0.5, Key::new(2).fold(step));
        }
        let tape = core.store.tape();
        let a = core.nets.vae.sample(tape.column(&[0.1, 0.5, 0.9]), Key::new(3));
        a.read(|a| assert!(a.iter().all(|a| (a - 0.3).abs() < 0.1), "{a:?}"));
        core.store.params_mut()[core.nets.actor.range()].fill(2.0);
        core.update_targets(1.0);
        let target = &core.store.params()[core.nets.actor_target.range()];
        assert!(target.iter().all(|&x| x == 2.0));
    }
}
