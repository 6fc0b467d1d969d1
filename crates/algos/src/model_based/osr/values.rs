//! OSR-v: the values that are pushed down and up in perturbed states.

use super::{Osr, Work};
use crate::{
    blocks::{
        actor_critic::ActorCritic,
        conservative::{gap, side_by_side},
        perturbed::rows_of,
    },
    cql::Objective,
};
use backcast_core::{Key, Policy, Real, Spec};
use backcast_nn::{Descent, Gaussian, Mlp, Shape};
use ndarray::ArrayView2;

// ANCHOR: pressed
/// (4)  λ Σ_j E[ ln Σ_k exp Q_j(ŝ,a_k) − Q_j(ŝ,ã) ], added to CQL's own loss
pub(super) struct Perturbed<'a> {
    /// ŝ, `[rows, obs]`.
    pub(super) states: ArrayView2<'a, Real>,
    /// ã, then a_k, `[rows, (1 + 2n)·act]`.
    pub(super) actions: ArrayView2<'a, Real>,
    pub(super) lambda: Real,
    /// The mean of the gap, summed over critics.
    pub(super) gap: Real,
}

impl Objective for Perturbed<'_> {
    fn more(&mut self, down: &mut Descent<'_>, critic: Mlp) {
        let (states, actions, lambda) = (self.states, self.actions, self.lambda);
        let (all, act) = (0..states.nrows(), critic.inputs() - states.ncols());
        let [_, gap] = down.over([(&all, actions.ncols() / act)], |rows| {
            let gap = rows.mean(&all, gap(critic.values(rows.of(states), rows.of(actions))));
            [gap * lambda, gap]
        });
        self.gap = gap;
    }
}
// ANCHOR_END: pressed

impl Osr {
    // ANCHOR: press
    /// (4)  ã ~ I(·∣ŝ,s′), then a_k, n uniform and n of π(·∣ŝ), for every row
    pub(super) fn draw_actions(&mut self, key: Key) {
        let n = self.config.n_action_samples;
        let Spec { obs, act, act_limit: limit } = self.cql.spec();
        let Work { perturbed_states, mean, log_std, actions, .. } = &mut self.work;
        let ActorCritic { store, nets, .. } = &mut self.cql.core;
        let tape = store.tape_without_history();
        let s = tape.input(rows_of(perturbed_states, obs));
        let [mean, log_std] = [mean, log_std].map(|x| tape.input(rows_of(x, act)));
        let recovered = Gaussian { mean, log_std }.sample(key.name("recovered")).tanh();
        let rows = s.shape().rows;
        let shape = Shape::new(1, rows * n, act);
        let uniform = tape.uniform(shape, -1.0, 1.0, key.name("uniform"));
        let (own, _) = nets.actor.at(s).repeat_rows(n).sample(key.name("own"));
        let [uniform, own] = [uniform, own].map(|a| side_by_side(a, rows));
        (recovered.cat(uniform).cat(own) * limit).copy_into(actions);
    }
    // ANCHOR_END: press
}
