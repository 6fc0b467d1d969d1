//! Utilities of parts, and what a mixer is given to make one value of them.

use backcast_core::Key;
use backcast_nn::{Activation, Init, Mlp, Real, Shape, Store, Tape, Var};
use ndarray::{Array2, ArrayView2};
use std::ops::Range;

/// How wide things are: `parts` agents (or sub-actions), each with the same number of `actions`, observing `obs` numbers each, in a
/// state of `state` numbers. Agents with fewer actions than others never take the rest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Widths {
    /// Agents, or sub-actions of one agent.
    pub parts: usize,
    /// Actions of a part.
    pub actions: usize,
    /// Numbers a part observes.
    pub obs: usize,
    /// Numbers of the state.
    pub state: usize,
}

/// *Q_i(τ_i, ·)*: one net for each part, side by side.
///
/// The published algorithms read a history with a recurrent layer and share parameters between agents, told apart by a number in the
/// input. Here parts see an observation, which is all there is in a fully observed dataset, and share nothing.
#[derive(Clone, Copy, Debug)]
pub struct Utilities(Mlp);

impl Utilities {
    /// Nets `obs → hidden → actions`, named `name` in the store.
    pub fn new(store: &mut Store, name: &str, widths: Widths, hidden: &[usize], key: Key) -> Self {
        let dims: Vec<usize> =
            std::iter::once(widths.obs).chain(hidden.iter().copied()).chain([widths.actions]).collect();
        Self(Mlp::new(store, name, &dims, widths.parts, Activation::Relu, Init::FanIn, key))
    }

    /// Values of all actions, `[parts, rows, actions]`, for `obs`, `[parts, rows, obs]` (or one for all parts).
    pub fn all<'t>(&self, obs: Var<'t>) -> Var<'t> {
        self.0.forward(obs)
    }

    /// Where the parameters are.
    pub fn range(&self) -> Range<usize> {
        self.0.range()
    }
}

/// `[parts, rows, cols]` as columns, `[1, rows, parts·cols]`.
///
/// # Panics
/// If there is no part.
pub fn side_by_side(x: Var<'_>) -> Var<'_> {
    (1..x.shape().members).fold(x.member(0), |left, part| left.cat(x.member(part)))
}

/// 1 where the action is taken, `[parts, rows, actions]`, for `act`, `[rows, parts]`.
///
/// # Panics
/// If an action is not below `actions`.
pub fn one_hot<'t>(tape: Tape<'t>, act: ArrayView2<'_, usize>, actions: usize) -> Var<'t> {
    let (rows, parts) = act.dim();
    tape.fill(Shape::new(parts, rows, actions), |out| {
        out.fill(0.0);
        for ((row, part), &action) in act.indexed_iter() {
            assert!(action < actions, "one_hot: row {row}, part {part}: action {action} of {actions}");
            out[(part * rows + row) * actions + action] = 1.0;
        }
    })
}

/// Joint actions drawn uniformly, 1 where taken, `[parts, rows, actions]`.
pub fn drawn<'t>(tape: Tape<'t>, shape: Shape, key: Key) -> Var<'t> {
    tape.draw(shape, |out| {
        out.fill(0.0);
        for (i, row) in out.chunks_mut(shape.cols).enumerate() {
            row[key.below(shape.cols, i)] = 1.0;
        }
    })
}

/// What a mixer sees of a batch.
#[derive(Clone, Copy)]
pub struct Parts<'t> {
    /// *Q_i(τ_i, u_i)* of the actions taken, `[1, rows, parts]`.
    pub chosen: Var<'t>,
    /// max *Q_i(τ_i, ·)*, `[1, rows, parts]`.
    pub best: Var<'t>,
    /// *s*, `[1, rows, state]`.
    pub state: Var<'t>,
    /// *u*, 1 where taken, `[1, rows, parts·actions]`.
    pub joint: Var<'t>,
}

impl<'t> Parts<'t> {
    /// The parts of joint actions, from the values of all actions, `[parts, rows, actions]`, and 1 where an action is `taken`, the
    /// same shape; `state` is `[1, rows, state]`.
    pub fn of(all: Var<'t>, taken: Var<'t>, state: Var<'t>) -> Self {
        let chosen = side_by_side((all * taken).sum_cols());
        Self { chosen, best: side_by_side(all.max_cols()), state, joint: side_by_side(taken) }
    }

    // ANCHOR: deviations
    /// As [`of`](Self::of), where one part takes each of its actions in turn and the others stay with theirs:
    /// *(u₋ᵢ, a)* for every *a*, `actions` rows in place of each.
    pub fn deviations(all: Var<'t>, taken: Var<'t>, state: Var<'t>, part: usize) -> Self {
        let Shape { rows, cols: actions, .. } = all.shape();
        let mine = |others: Var<'t>, own: Var<'t>, width: usize| {
            let (parts, repeated) = (others.shape().cols / width, others.repeat_rows(actions));
            let piece = |p: usize| if p == part { own } else { repeated.cols(p * width, width) };
            (1..parts).fold(piece(0), |left, p| left.cat(piece(p)))
        };
        let whole = Self::of(all, taken, state);
        let each = all.tape().fill(Shape::new(1, rows * actions, actions), |out| {
            out.fill(0.0);
            (0..rows * actions).for_each(|row| out[row * actions + row % actions] = 1.0);
        });
        Self {
            chosen: mine(whole.chosen, all.member(part).reshape(Shape::new(1, rows * actions, 1)), 1),
            best: whole.best.repeat_rows(actions),
            state: state.repeat_rows(actions),
            joint: mine(whole.joint, each, actions),
        }
    }
    // ANCHOR_END: deviations
}

/// The best action of each part by itself, `[rows, parts]`: by IGM the best joint action. The first where several are best.
pub fn greedy(all: Var<'_>) -> Array2<usize> {
    let Shape { members: parts, rows, cols: actions } = all.shape();
    let best = |of: &[Real]| (1..actions).fold(0, |best, action| if of[action] > of[best] { action } else { best });
    all.read(|values| {
        Array2::from_shape_fn((rows, parts), |(row, part)| best(&values[(part * rows + row) * actions..][..actions]))
    })
}
