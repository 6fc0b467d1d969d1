//! Policies that choose the best of several candidate actions.

use backcast_core::{Key, Real};
use backcast_nn::{Shape, Tape, Var};
use ndarray::ArrayViewMut2;

/// Rows acted on at a time where each has many candidates: the arena need not hold them all.
pub const ROWS_AT_ONCE: usize = 32;

/// Normal numbers for `n` candidates in each of `rows` states, `[1, rows·n, width]`: drawn by `key`, or, without one, the same
/// fixed draw for every state, so that an action is a function of the observation alone.
pub fn normal<'t>(
    tape: Tape<'t>,
    rows: usize,
    n: usize,
    width: usize,
    key: Option<Key>,
) -> Var<'t> {
    match key {
        Some(key) => tape.normal(Shape::new(1, rows * n, width), key),
        None => tape.fill(Shape::new(1, rows * n, width), |out| {
            out.chunks_mut(n * width)
                .for_each(|row| Key::new(0).name("one fixed draw").normal(row));
        }),
    }
}

/// Writes, for each state, the one of its `n` consecutive rows of `actions`, `[1, rows·n, act]`, whose `value`,
/// `[1, rows·n, 1]`, is the largest.
pub fn best(actions: Var<'_>, value: Var<'_>, n: usize, mut out: ArrayViewMut2<'_, Real>) {
    let width = actions.shape().cols;
    let chosen = value.reshape(Shape::new(1, out.nrows(), n)).arg_max_cols();
    let mut choose = |actions: &[Real], chosen: &[Real]| {
        for (row, chosen) in chosen.chunks_exact(n).enumerate() {
            let best = chosen.iter().position(|&c| c == 1.0).unwrap_or(0);
            let from = &actions[(row * n + best) * width..][..width];
            out.row_mut(row).iter_mut().zip(from).for_each(|(out, &x)| *out = x);
        }
    };
    actions.read(|actions| chosen.read(|chosen| choose(actions, chosen)));
}
