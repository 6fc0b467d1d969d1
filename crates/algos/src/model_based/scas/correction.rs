//! State correction: how far from the dataset's next state the policy's action leads from a perturbed state.

use super::{Config, Scas};
use crate::blocks::{
    deterministic_actor_critic::DeterministicActorCritic,
    perturbed::{perturbed, rows_of},
    transition::Transition,
};
use backcast_core::{Batch, Key, Real};

/// What goes to the model's tape and what comes from it. It grows once.
#[derive(Default)]
pub(super) struct Work {
    /// ŝ, `[rows, obs]`, in the agent's units.
    pub(super) perturbed_states: Vec<Real>,
    /// π(s), `[rows, act]`.
    pub(super) actions: Vec<Real>,
    /// w(s,s′), `[rows]`.
    pub(super) weight: Vec<Real>,
}

impl Scas {
    // ANCHOR: correction
    /// (3)  ŝ = s + β·ε
    /// (4)  w(s,s′) = min(exp(T(V̄(s′) − V̄(s))), 50),   V̄(x) = mean_j Q_j(x, π(x))
    /// (5)  R(φ) = E[ w(s,s′)·mean_d (M(ŝ, π(s)) − s′)² ]: the number; its slope in π(s) is left in `model`
    pub(super) fn correction(&mut self, batch: Batch<'_>, key: Key) -> Real {
        let &Config { beta, sharpness, weight_bound, elites, .. } = &self.config;
        let DeterministicActorCritic { spec, store, nets, .. } = &mut self.core;
        let Work { perturbed_states, actions, weight } = &mut self.work;
        let tape = store.tape_without_history();
        let Transition { s, s2, .. } = Transition::on(tape, batch);
        let [a, a2] = [s, s2].map(|x| nets.act(x));
        let [value, value2] =
            [(s, a), (s2, a2)].map(|(x, a)| nets.critic.forward(x.cat(a)).mean_members());
        perturbed(s, beta, key).copy_into(perturbed_states);
        a.copy_into(actions);
        // Bounded before the exponential, which would otherwise overflow.
        ((value2 - value) * sharpness).clamp(Real::MIN, weight_bound.ln()).exp().copy_into(weight);

        self.model.ask(rows_of(actions, spec.act), |model, a| {
            let s = model.states(a.tape().input(rows_of(perturbed_states, spec.obs)));
            let next = model.mean_next(&model.elites()[..elites], s, a);
            let off = (next - a.tape().input(batch.next_obs)).square().mean_cols();
            (off * a.tape().column(weight)).mean()
        })
    }
    // ANCHOR_END: correction
}
