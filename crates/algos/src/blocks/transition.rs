//! A batch on a tape.

use backcast_core::Batch;
use backcast_nn::{Tape, Var};

/// A batch on a tape: the symbols of the papers.
#[derive(Clone, Copy)]
pub struct Transition<'t> {
    /// s, `[1, rows, obs]`.
    pub s: Var<'t>,
    /// a, `[1, rows, act]`.
    pub a: Var<'t>,
    /// r, `[1, rows, 1]`.
    pub r: Var<'t>,
    /// s′, `[1, rows, obs]`.
    pub s2: Var<'t>,
    /// 1 − d, `[1, rows, 1]`: 0 where there is no value beyond s′.
    pub alive: Var<'t>,
}

impl<'t> Transition<'t> {
    /// The batch as values without a gradient.
    pub fn on(tape: Tape<'t>, batch: Batch<'_>) -> Self {
        Self {
            s: tape.input(batch.obs),
            a: tape.input(batch.act),
            r: tape.input(batch.reward),
            s2: tape.input(batch.next_obs),
            alive: -tape.input(batch.terminal) + 1.0,
        }
    }
}

/// The sizes `first → hidden … → last` of a net.
pub fn sizes(first: usize, hidden: &[usize], last: usize) -> Vec<usize> {
    [&[first], hidden, &[last]].concat()
}
