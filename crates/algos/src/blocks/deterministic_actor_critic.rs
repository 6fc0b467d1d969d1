//! What TD3 is made of (arXiv:1802.09477), and every algorithm that changes TD3's losses: a deterministic actor,
//! critics, the targets of both, and the order in which they move.

use crate::blocks::{
    deterministic::{policy, smoothed},
    transition::sizes,
};
use backcast_core::{Key, Policy, Real, Spec};
use backcast_nn::{Activation, Adam, Init, Mlp, Precision, Store, Var, polyak, state};
use ndarray::{ArrayView2, ArrayViewMut2};

/// Handles of the nets.
#[derive(Clone, Copy, Debug)]
pub struct Nets {
    /// π, from states to actions in units of their limit.
    pub actor: Mlp,
    /// Q_j, from *(s, a)* to a value for each critic j.
    pub critic: Mlp,
    /// π′.
    pub actor_target: Mlp,
    /// Q′_j.
    pub critic_target: Mlp,
    /// Bound of actions.
    pub limit: Real,
}

impl Nets {
    /// π(s), `[1, rows, act]`, in the states `s`, `[1, rows, obs]`.
    pub fn act<'t>(&self, s: Var<'t>) -> Var<'t> {
        policy(self.actor, self.limit, s)
    }

    /// clip(π′(s′) + clip(ε, ±c)), ε ~ N(0, noise²): target policy smoothing, noise and c in units of the limit
    pub fn smoothed_target<'t>(&self, s2: Var<'t>, noise: Real, clip: Real, key: Key) -> Var<'t> {
        smoothed(policy(self.actor_target, self.limit, s2), noise, clip, self.limit, key)
    }
}

/// The nets with what moves them.
pub struct DeterministicActorCritic {
    /// Widths and the action box.
    pub spec: Spec,
    /// Every parameter.
    pub store: Store,
    /// Where they are.
    pub nets: Nets,
    /// Moves π.
    pub actor_adam: Adam,
    /// Moves Q.
    pub critic_adam: Adam,
    /// Updates done.
    pub updates: u64,
}

/// What the nets are to be, and how fast they learn.
#[derive(Clone, Copy, Debug)]
pub struct Setup<'a> {
    /// Units of the hidden layers.
    pub hidden: &'a [usize],
    /// Critics.
    pub critics: usize,
    /// Whether critics have layer normalisation.
    pub layer_norm: bool,
    /// Learning rate of π.
    pub actor_lr: Real,
    /// Learning rate of Q.
    pub critic_lr: Real,
    /// How large products are computed.
    pub precision: Precision,
}

impl<'a> Setup<'a> {
    /// Two critics without layer normalisation; learning rates are those of π and Q.
    pub fn new(
        hidden: &'a [usize],
        [actor_lr, critic_lr]: [Real; 2],
        precision: Precision,
    ) -> Self {
        Self { hidden, critics: 2, layer_norm: false, actor_lr, critic_lr, precision }
    }
}

impl DeterministicActorCritic {
    /// Fresh nets; `begin` may change how actor and critics begin, before targets are copied from them.
    pub fn new(
        spec: Spec,
        setup: Setup<'_>,
        key: Key,
        begin: impl FnOnce(&mut Store, Mlp, Mlp),
    ) -> Self {
        let Setup { hidden, critics, layer_norm, actor_lr, critic_lr, precision } = setup;
        let mut store = Store::in_precision(precision);
        let state = sizes(spec.obs, hidden, spec.act);
        let pair = sizes(spec.obs + spec.act, hidden, 1);
        let (relu, init) = (Activation::Relu, Init::FanIn);
        let actor = Mlp::new(&mut store, "actor", &state, 1, relu, init, key);
        let actor = actor.with_output(Activation::Tanh);
        let critic = Mlp::new(&mut store, "critic", &pair, critics, relu, init, key);
        let critic = critic.with_layer_norm(layer_norm);
        begin(&mut store, actor, critic);
        let actor_target = actor.duplicate(&mut store, "actor_target");
        let critic_target = critic.duplicate(&mut store, "critic_target");
        Self {
            spec,
            actor_adam: Adam::new(actor.range(), actor_lr),
            critic_adam: Adam::new(critic.range(), critic_lr),
            nets: Nets { actor, critic, actor_target, critic_target, limit: spec.act_limit },
            store,
            updates: 0,
        }
    }

    /// Counts an update, and says whether it is one in which the actor moves: every `period`-th.
    pub fn actor_is_due(&mut self, period: u64) -> bool {
        self.updates += 1;
        self.updates.is_multiple_of(period)
    }

    /// Q′ ← (1 − τ)Q′ + τQ, π′ ← (1 − τ)π′ + τπ.
    pub fn update_targets(&mut self, tau: Real) {
        let Nets { actor, critic, actor_target, critic_target, .. } = self.nets;
        polyak(&mut self.store, &critic_target, &critic, tau);
        polyak(&mut self.store, &actor_target, &actor, tau);
    }
}

/// Acts with π(s), whatever the key.
impl Policy for DeterministicActorCritic {
    fn spec(&self) -> Spec {
        self.spec
    }

    fn act(&mut self, obs: ArrayView2<'_, Real>, _: Option<Key>, act: ArrayViewMut2<'_, Real>) {
        let nets = self.nets;
        nets.act(self.store.tape().input(obs)).write_to(act);
    }
}

state!(DeterministicActorCritic: store, actor_adam, critic_adam, updates);

#[cfg(test)]
mod tests {
    use super::*;
    use ndarray::array;

    fn fresh() -> DeterministicActorCritic {
        let setup = Setup { critics: 3, ..Setup::new(&[8], [1e-3, 1e-3], Precision::F32) };
        let spec = Spec::new(2, 1).with_act_limit(3.0);
        DeterministicActorCritic::new(spec, setup, Key::new(1), |store, actor, _| {
            store.params_mut()[actor.range()].iter_mut().for_each(|x| *x *= 10.0);
        })
    }

    #[test]
    fn targets_begin_as_copies_and_follow() {
        let mut core = fresh();
        let Nets { actor, actor_target, critic, critic_target, .. } = core.nets;
        let of =
            |core: &DeterministicActorCritic, net: Mlp| core.store.params()[net.range()].to_vec();
        assert_eq!(of(&core, actor), of(&core, actor_target));
        assert_eq!(of(&core, critic), of(&core, critic_target));
        core.store.params_mut()[critic.range()].fill(1.0);
        let before = of(&core, critic_target)[0];
        core.update_targets(0.25);
        assert!((of(&core, critic_target)[0] - (0.75 * before + 0.25)).abs() < 1e-6);
    }

    #[test]
    fn the_actor_moves_at_every_second_update_and_acts_within_the_box() {
        let mut core = fresh();
        assert_eq!([(); 4].map(|()| core.actor_is_due(2)), [false, true, false, true]);
        let mut act = array![[0.0], [0.0]];
        core.act(array![[9.0, -9.0], [-9.0, 9.0]].view(), None, act.view_mut());
        assert!(act.iter().all(|a| a.abs() <= 3.0 && *a != 0.0), "{act}");
    }
}
