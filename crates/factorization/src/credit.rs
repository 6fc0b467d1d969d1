//! Whose doing was it? Two answers, and why they are one where values add up.
//!
//! *Counterfactual* (COMA; Foerster et al., AAAI 2018, arXiv:1705.08926): what the whole is worth, less what it would have been worth
//! had part *i* drawn its action again and nobody else changed theirs,
//!
//! ```text
//! Aᵢ(s,u) = Q_tot(s,u) − Σ_a πᵢ(a)·Q_tot(s,(u₋ᵢ,a)).
//! ```
//!
//! *Implicit*: what a mixer tells part *i* when it learns. A step of the whole's error reaches it times ∂Q_tot/∂Qᵢ, so that its own
//! advantage over what it might have done counts as much as the mixer lets it through:
//!
//! ```text
//! Cᵢ(s,u) = ∂Q_tot/∂Qᵢ · ( Qᵢ(uᵢ) − Σ_a πᵢ(a)·Qᵢ(a) ).
//! ```
//!
//! For a sum the slope is one and the others cancel: Cᵢ = Aᵢ. For a curved mixer C is A's first-order term: what is left of the
//! difference is how much the parts' contributions depend on each other.

use crate::learner::Joint;
use crate::parts::{Parts, one_hot, side_by_side};
use backcast_core::Real;
use backcast_nn::Shape;
use ndarray::{Array2, ArrayView2, ArrayView3};

/// Credit of every part for a batch of joint actions; all `[rows, parts]`.
#[derive(Clone, Debug, PartialEq)]
pub struct Credit {
    /// Cᵢ, through the mixer.
    pub implicit: Array2<Real>,
    /// Aᵢ, by asking what else would have been.
    pub counterfactual: Array2<Real>,
    /// ∂Q_tot/∂Qᵢ.
    pub slope: Array2<Real>,
}

impl Joint {
    /// Who made the joint actions `act`, `[rows, parts]`, worth what they are, in `state`, `[rows, state]`, and `obs`, `[parts, rows, obs]`, if
    /// each part had otherwise drawn from `policy`, `[parts, rows, actions]`.
    ///
    /// # Panics
    /// If a shape differs from the algorithm's.
    pub fn credit(
        &mut self,
        state: ArrayView2<'_, Real>,
        obs: ArrayView3<'_, Real>,
        act: ArrayView2<'_, usize>,
        policy: ArrayView3<'_, Real>,
    ) -> Credit {
        let (parts, actions) = (self.widths().parts, self.widths().actions);
        self.with_values(obs, |all, nets| {
            let tape = all.tape();
            let (state, policy) = (tape.input(state), tape.input3(policy));
            let (taken, rows) = (one_hot(tape, act, actions), all.shape().rows);
            let table = |x: backcast_nn::Var<'_>| {
                x.read(|values| Array2::from_shape_fn((rows, parts), |(row, part)| values[row * parts + part]))
            };
            // ANCHOR: credit
            let whole = Parts::of(all, taken, state);
            let chosen = whole.chosen.watch();
            let total = nets.total(Parts { chosen, ..whole });
            let slope = tape.grad(total.sum(), chosen);
            let expected = side_by_side((all * policy).sum_cols());
            let implicit = slope * (chosen - expected);

            let otherwise = |part: usize| {
                let each = nets.total(Parts::deviations(all, taken, state, part));
                (each.reshape(Shape::new(1, rows, actions)) * policy.member(part)).sum_cols()
            };
            let otherwise = (1..parts).fold(otherwise(0), |left, part| left.cat(otherwise(part)));
            let counterfactual = total - otherwise;
            // ANCHOR_END: credit
            Credit { implicit: table(implicit), counterfactual: table(counterfactual), slope: table(slope) }
        })
    }
}

/// COMA's advantage, `[rows]`, of actions `act`, `[rows]`, from the joint values of all of one part's actions, the others staying with theirs,
/// `[rows, actions]`, and its policy, the same shape.
///
/// # Panics
/// If shapes differ, or an action is not one of them.
pub fn counterfactual_advantage(
    values: ArrayView2<'_, Real>,
    policy: ArrayView2<'_, Real>,
    act: &[usize],
) -> Vec<Real> {
    assert_eq!(values.dim(), policy.dim(), "counterfactual_advantage: values and policy");
    assert_eq!(values.nrows(), act.len(), "counterfactual_advantage: rows and actions");
    let rows = values.rows().into_iter().zip(policy.rows()).zip(act);
    rows.map(|((q, pi), &a)| q[a] - q.iter().zip(pi).map(|(q, p)| q * p).sum::<Real>()).collect()
}
