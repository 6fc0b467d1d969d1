//! Policies that choose the best of several candidate actions.

use backcast_core::{Key, Real};
use backcast_nn::{Shape, Store, Tape, Var};
use ndarray::{ArrayView2, ArrayViewMut2, Axis};

/// Rows acted on at a time where each has many candidates: the arena need not hold them all.
pub const ROWS_AT_ONCE: usize = 32;

/// Normal numbers for `n` candidates in each of `rows` states, `[1, rows·n, width]`: drawn by `key`, or, without one,
/// the same fixed draw for every state, so that an action is a function of the observation alone.
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

/// Writes, for each of `obs`, the best of `n` candidate actions. `candidates` gives them and their values in some
/// states, as [`best`] takes them; what it draws, it draws by the key it is given.
pub fn act_by_best(
    store: &mut Store,
    n: usize,
    obs: ArrayView2<'_, Real>,
    key: Option<Key>,
    mut act: ArrayViewMut2<'_, Real>,
    candidates: impl for<'t> Fn(Tape<'t>, ArrayView2<'_, Real>, Option<Key>) -> [Var<'t>; 2],
) {
    let states = obs.axis_chunks_iter(Axis(0), ROWS_AT_ONCE);
    let blocks = states.zip(act.axis_chunks_iter_mut(Axis(0), ROWS_AT_ONCE));
    for (block, (obs, act)) in blocks.enumerate() {
        let key = key.map(|key| key.fold(block as u64));
        let [actions, value] = candidates(store.tape_without_history(), obs, key);
        best(actions, value, n, act);
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

#[cfg(test)]
mod tests {
    use super::*;
    use ndarray::Array2;

    /// The value of an action is how near it is to the state: the best of five is the nearest, and without a key the
    /// same five are offered in every state.
    #[test]
    fn the_best_candidate_is_chosen_in_every_state() {
        let mut store = Store::default();
        let obs = Array2::from_shape_fn((70, 1), |(row, _)| row as Real / 35.0 - 1.0);
        let mut act = Array2::zeros((70, 1));
        act_by_best(&mut store, 5, obs.view(), None, act.view_mut(), |tape, obs, key| {
            let a = normal(tape, obs.nrows(), 5, 1, key);
            [a, -(a - tape.input(obs).repeat_rows(5)).square()]
        });
        let offered = normal(store.tape(), 1, 5, 1, None).read(<[Real]>::to_vec);
        for (s, a) in obs.iter().zip(&act) {
            let apart = |a: &Real| (a - s).abs();
            assert!(offered.contains(a) && offered.iter().all(|b| apart(a) <= apart(b)), "{s} {a}");
        }
    }
}
