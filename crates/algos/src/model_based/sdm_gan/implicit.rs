//! The policy: a net of the state and of noise.

use super::{Nets, SdmGan};
use crate::blocks::candidates::{act_by_best, normal};
use backcast_core::{Key, Policy, Real, Spec};
use backcast_nn::{Mlp, Shape, Store, Var, clipped_normal};
use ndarray::{ArrayView2, ArrayViewMut2};

/// Bound of ε.
pub(super) const NOISE_BOUND: Real = 3.0;

// ANCHOR: implicit
/// (1)  a = limit·tanh u,   u = f(s, ε): a policy that can be anything but has no density.
#[derive(Clone, Copy)]
pub(super) struct Implicit {
    pub(super) net: Mlp,
    /// Columns of ε.
    pub(super) noise: usize,
    pub(super) limit: Real,
}

impl Implicit {
    /// u, from as many rows of ε, `[1, rows·n, noise]`, as is wanted for each row of `s`, `[1, rows, obs]`.
    pub(super) fn before_tanh<'t>(&self, s: Var<'t>, epsilon: Var<'t>) -> Var<'t> {
        self.net.forward_pairs(s, epsilon)
    }

    pub(super) fn bounded<'t>(&self, u: Var<'t>) -> Var<'t> {
        u.tanh() * self.limit
    }

    /// One ε for each row of `s`.
    pub(super) fn epsilon<'t>(&self, s: Var<'t>, key: Key) -> Var<'t> {
        clipped_normal(s.tape(), Shape { cols: self.noise, ..s.shape() }, key, NOISE_BOUND)
    }

    /// One action for each row of `s`.
    pub(super) fn sample<'t>(&self, s: Var<'t>, key: Key) -> Var<'t> {
        self.bounded(self.before_tanh(s, self.epsilon(s, key)))
    }
}
// ANCHOR_END: implicit

/// The policy alone, as it is rolled out: one action for a state, not the best of some.
pub(super) struct Acting<'a> {
    pub(super) spec: Spec,
    pub(super) store: &'a mut Store,
    pub(super) actor: Implicit,
}

impl Policy for Acting<'_> {
    fn spec(&self) -> Spec {
        self.spec
    }

    fn act(&mut self, obs: ArrayView2<'_, Real>, key: Option<Key>, act: ArrayViewMut2<'_, Real>) {
        let (actor, tape) = (self.actor, self.store.tape_without_history());
        let epsilon =
            normal(tape, obs.nrows(), 1, actor.noise, key).clamp(-NOISE_BOUND, NOISE_BOUND);
        actor.bounded(actor.before_tanh(tape.input(obs), epsilon)).write_to(act);
    }
}

/// Acts with the best by Q₁ of some draws.
impl Policy for SdmGan {
    fn spec(&self) -> Spec {
        self.imagination.dynamics.spec()
    }

    fn act(&mut self, obs: ArrayView2<'_, Real>, key: Option<Key>, act: ArrayViewMut2<'_, Real>) {
        let Nets { actor, critic, .. } = self.nets;
        let n = self.config.act_samples;
        act_by_best(&mut self.store, n, obs, key, act, |tape, obs, key| {
            let s = tape.input(obs);
            let epsilon = normal(tape, obs.nrows(), n, actor.noise, key);
            let a = actor.bounded(actor.before_tanh(s, epsilon.clamp(-NOISE_BOUND, NOISE_BOUND)));
            [a, critic.forward_member(s.repeat_rows(n).cat(a), 0)]
        });
    }
}
