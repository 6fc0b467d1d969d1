//! How much the model's elites disagree about the value of what comes next.

use super::Mobile;
use crate::{
    blocks::{
        actor_critic::{ActorCritic, Nets},
        perturbed::rows_of,
    },
    model_based::imagination::{Imagination, ensemble},
};
use backcast_core::{Batch, Key, Real, Spec};
use backcast_nn::{BLOCK_ROWS, Shape, Var};
use ndarray::{ArrayView2, ArrayView3, Axis, Slice};

/// What the critics' step computes before its tape. It grows once.
#[derive(Default)]
pub(super) struct Work {
    /// Targets, `[rows]`.
    pub(super) y: Vec<Real>,
    /// 𝒰 of the imagined rows.
    pub(super) u: Vec<Real>,
    /// States of the imagined rows in the model's units, `[imagined, obs]`.
    pub(super) states: Vec<Real>,
    /// Normal numbers behind s′, `[elites, imagined·K, obs]`.
    pub(super) z: Vec<Real>,
    /// Normal numbers behind a′, `[elites, imagined·K, act]`.
    pub(super) epsilon: Vec<Real>,
    /// The elites' places among themselves: the others are not predicted.
    pub(super) elites: Vec<usize>,
}

// ANCHOR: value_of
/// (2)  min_j Q′_j(s′, a′) of every row of `s2`, a′ = limit·tanh(μ(s′) + σ(s′)·ε)
fn value_of<'t>(nets: Nets, s2: Var<'t>, epsilon: Var<'t>) -> Var<'t> {
    let a2 = nets.actor.by_noise(s2, epsilon);
    nets.critic_target.forward(s2.cat(a2)).min_members()
}
// ANCHOR_END: value_of

impl Mobile {
    // ANCHOR: uncertainty
    /// (2)  V_i(s,a) = (1/K) Σ_k min_j Q′_j(s′_ik, a′_ik),   s′_ik ~ p_i(·∣s,a), a′_ik ~ π(·∣s′_ik)
    /// (3)  𝒰(s,a) = std_{i∈elites} V_i(s,a) of the imagined rows; returns its mean over them
    pub(super) fn uncertainty(&mut self, batch: Batch<'_>, key: Key) -> Real {
        let Spec { obs, act, .. } = batch.spec;
        let rows = batch.len() - batch.real;
        let ActorCritic { store, nets, .. } = &mut self.core;
        let Work { u, states, z, epsilon, elites, .. } = &mut self.work;
        u.clear();
        u.resize(rows, 0.0);
        if rows == 0 || self.config.penalty_coef == 0.0 {
            return 0.0;
        }
        let many = rows * self.config.samples;
        let tape = store.tape_without_history();
        let normal = |cols, key| tape.normal(Shape::new(elites.len(), many, cols), key);
        normal(obs, key.name("states")).copy_into(z);
        normal(act, key.name("actions")).copy_into(epsilon);

        let imagined = Slice::from(batch.real..);
        let [s, a] = [batch.obs, batch.act].map(|x| x.slice_axis_move(Axis(0), imagined));
        states.clear();
        states.extend(s.iter());
        let Imagination { dynamics, scaler, .. } = &mut self.imagination;
        scaler.to_model(states);
        let model = ensemble(&mut **dynamics).expect("checked when it was built");
        let p = model.predict_elites([rows_of(states, obs), a]);

        let mut epsilon = epsilon.chunks_exact(many * act);
        let mut value = |s2: ArrayView2<'_, Real>, out: &mut [Real]| {
            let s2 = s2.to_slice().expect("dense").chunks(BLOCK_ROWS * obs);
            let epsilon = epsilon.next().expect("one for each elite").chunks(BLOCK_ROWS * act);
            for ((s2, epsilon), out) in s2.zip(epsilon).zip(out.chunks_mut(BLOCK_ROWS)) {
                let tape = store.tape_without_history();
                let s2 = tape.fill(Shape::new(1, out.len(), obs), |x| {
                    x.copy_from_slice(s2);
                    scaler.to_learner(x);
                });
                let v = value_of(*nets, s2, tape.input(rows_of(epsilon, act)));
                v.read(|v| out.copy_from_slice(v));
            }
        };
        let z = ArrayView3::from_shape((elites.len(), many, obs), z).expect("dense");
        self.inconsistency.penalty_with(p, elites, z, &mut value, u);
        u.iter().sum::<Real>() / rows as Real
    }
    // ANCHOR_END: uncertainty
}
