//! What may differ from CQL in what its critics push down.

use crate::blocks::conservative::{candidates, soft_maximum};
use backcast_core::{Batch, Key};
use backcast_nn::{Descent, Mlp, TanhGaussian, Var};
use std::ops::Range;

// ANCHOR: objective
/// What is pushed down, and where: CQL's answers are the defaults, those who build on CQL give others.
pub(crate) trait Objective: Sync {
    /// ρ, the rows in whose states values are pushed down: all of them, unless there is none that is pushed up.
    fn rho(&self, batch: Batch<'_>) -> Range<usize> {
        if batch.real == 0 { 0..0 } else { 0..batch.len() }
    }

    /// (3)  the actions a_k tried in a state, `[1, rows, k·act]`, and ln p of each, `[1, rows, k]`
    fn actions<'t>(&self, pi: [TanhGaussian<'t>; 2], n: usize, key: Key) -> (Var<'t>, Var<'t>) {
        candidates(pi[0], pi[1], n, key)
    }

    /// (3)  what is pushed down: LSE_j(s) of all their values, or of every three
    fn lowered<'t>(&self, q: Var<'t>, log_density: Var<'t>, three_way: bool) -> Var<'t> {
        soft_maximum(q, log_density, if three_way { 3 } else { q.shape().cols })
    }

    /// What the critics' loss has beside (4).
    fn more(&mut self, _down: &mut Descent<'_>, _critic: Mlp) {}
}

/// CQL itself.
pub(crate) struct Plain;

impl Objective for Plain {}
// ANCHOR_END: objective
