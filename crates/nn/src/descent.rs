//! A step down a loss that is a sum over rows: the algorithm says what the loss of *some* rows is, this file cuts rows into blocks.

use crate::{Adam, Arena, Mlp, Real, Shape, Store, Tape, Var, arena::History};
use ndarray::{ArrayView2, Axis, Slice};
use std::{cell::RefCell, marker::PhantomData, ops::Range};

/// Rows of a net evaluated together: their activations are what the inner caches hold. A constant, never measured: a resumed run
/// has to cut where the first one did.
pub const BLOCK_ROWS: usize = 384;

/// A step of an optimiser that has begun: see [`Adam::descend`].
#[derive(Debug)]
pub struct Descent<'a> {
    params: &'a [Real],
    arena: &'a RefCell<Arena>,
    range: Range<usize>,
    loss: Real,
    only: PhantomData<Only<'a>>,
}

/// Invariant in its lifetime: what one descent keeps is nobody else's.
type Only<'a> = fn(&'a ()) -> &'a ();

/// Numbers without a gradient that a descent keeps for its blocks, `[rows, cols]`.
#[derive(Clone, Copy, Debug)]
pub struct Kept<'a> {
    at: usize,
    rows: usize,
    cols: usize,
    only: PhantomData<Only<'a>>,
}

impl Kept<'_> {
    /// Rows.
    pub fn rows(self) -> usize {
        self.rows
    }

    /// Columns.
    pub fn cols(self) -> usize {
        self.cols
    }
}

impl Adam {
    /// θ ← Adam(θ, ∂loss/∂θ) for a loss that is a sum over rows: `build` says what it is of *some* rows, once or more, by
    /// [`Descent::over`], and the step follows when it is done. Passes on what `build` found.
    ///
    /// ```
    /// use backcast_core::Key;
    /// use backcast_nn::{Activation, Adam, Init, Mlp, Store};
    /// use ndarray::Array2;
    ///
    /// let (x, y) = (Array2::ones((1000, 3)), Array2::ones((1000, 1)));
    /// let mut store = Store::default();
    /// let net = Mlp::new(&mut store, "net", &[3, 16, 1], 1, Activation::Relu, Init::FanIn, Key::new(0));
    /// let mut adam = Adam::new(net.range(), 1e-3);
    /// let all = 0..1000;
    /// let [loss] = adam.descend(&mut store, |down| {
    ///     down.over([(&all, 1)], |rows| {
    ///         [rows.mean(&all, (net.forward(rows.of(x.view())) - rows.of(y.view())).square())]
    ///     })
    /// });
    /// assert!(loss > 0.0);
    /// ```
    pub fn descend<R>(&mut self, store: &mut Store, build: impl for<'a> FnOnce(&mut Descent<'a>) -> R) -> R {
        let range = self.with_beyond();
        let (params, arena) = store.parts();
        arena.borrow_mut().begin_descent(range.len());
        let found = build(&mut Descent { params, arena, range, loss: 0.0, only: PhantomData });
        self.step(params, arena.borrow().gradient());
        found
    }
}

impl<'a> Descent<'a> {
    /// Computes what no derivative passes through, values of `[1, rows, cols]`, and keeps it for the blocks.
    pub fn keep<const N: usize>(&mut self, of: impl for<'t> FnOnce(Tape<'t>) -> [Var<'t>; N]) -> [Kept<'a>; N] {
        of(Tape::without_history(self.params, self.arena)).map(|x| {
            let Shape { members, rows, cols } = x.shape();
            assert_eq!(members, 1, "Descent::keep: {members} members; keep values of one");
            Kept { at: x.keep(), rows, cols, only: PhantomData }
        })
    }

    /// Adds a loss. Each kind of rows, a range, is cut into blocks of so many that, with the evaluations its rows ask for, they are
    /// [`BLOCK_ROWS`]; `terms` gives what a block adds to each of several sums, the first of which is the loss. Blocks come in order,
    /// and none has rows of two kinds. Returns the sums.
    ///
    /// `terms` changes nothing outside, so that blocks may be given to several threads and added up in order.
    pub fn over<const K: usize, const N: usize>(
        &mut self,
        kinds: [(&Range<usize>, usize); K],
        terms: impl for<'t> Fn(Block<'t>) -> [Var<'t>; N] + Sync,
    ) -> [Real; N] {
        let mut sums = [0.0; N];
        for (rows, evaluations) in kinds {
            for first in rows.clone().step_by((BLOCK_ROWS / evaluations.max(1)).max(1)) {
                let len = (BLOCK_ROWS / evaluations.max(1)).max(1).min(rows.end - first);
                let tape = Tape::new(self.params, self.arena, History::Of(self.range.clone()));
                let terms = terms(Block { tape, first, len });
                terms.iter().zip(&mut sums).for_each(|(term, sum)| *sum += term.item());
                self.loss += terms[0].item();
                tape.add_last_gradient(terms[0], self.range.clone());
            }
        }
        sums
    }

    /// The mean of what was kept.
    pub fn mean(&self, x: Kept<'_>) -> Real {
        let len = x.rows * x.cols;
        self.arena.borrow().kept[x.at..x.at + len].iter().sum::<Real>() / len as Real
    }

    /// The loss so far, of every [`over`](Descent::over).
    pub fn loss(&self) -> Real {
        self.loss
    }
}

/// Some rows of a batch, on a tape of their own.
#[derive(Clone, Copy)]
pub struct Block<'t> {
    tape: Tape<'t>,
    first: usize,
    len: usize,
}

/// What has a row for each row of a batch: columns of it, `[rows, cols]`, or what was [kept](Descent::keep).
pub trait Rows {
    /// Rows `range` of it on `tape`, `[1, rows, cols]`.
    fn rows<'t>(&self, tape: Tape<'t>, range: Range<usize>) -> Var<'t>;
}

impl Rows for ArrayView2<'_, Real> {
    fn rows<'t>(&self, tape: Tape<'t>, range: Range<usize>) -> Var<'t> {
        tape.input(self.slice_axis(Axis(0), Slice::from(range)))
    }
}

impl Rows for Kept<'_> {
    fn rows<'t>(&self, tape: Tape<'t>, range: Range<usize>) -> Var<'t> {
        assert!(range.end <= self.rows, "Block: rows {range:?} of the {} that were kept", self.rows);
        tape.kept(self.at + range.start * self.cols, Shape::new(1, range.len(), self.cols))
    }
}

impl<'t> Block<'t> {
    /// The block's rows of `x`.
    pub fn of(self, x: impl Rows) -> Var<'t> {
        x.rows(self.tape, self.first..self.first + self.len)
    }

    /// The same of an `x` that has the rows in `rows` alone.
    pub fn among(self, rows: &Range<usize>, x: impl Rows) -> Var<'t> {
        let first = self.first - rows.start;
        x.rows(self.tape, first..first + self.len)
    }

    /// `Σ_j E[ x_j ]` over `rows` of the whole, summed over members: what this block adds to it; 0 if it has none of them.
    pub fn mean(self, rows: &Range<usize>, x: Var<'t>) -> Var<'t> {
        match self.is_in(rows) {
            true => x.mean() * ((x.shape().members * self.len) as Real / rows.len() as Real),
            false => self.nothing(),
        }
    }

    /// Whether its rows are in `rows`.
    ///
    /// # Panics
    /// If some are and some are not.
    pub fn is_in(self, rows: &Range<usize>) -> bool {
        let (first, end) = (self.first, self.first + self.len);
        let (inside, outside) = (rows.start <= first && end <= rows.end, end <= rows.start || rows.end <= first);
        assert!(inside || outside, "Block: rows {first}..{end} are partly in {rows:?}; make it a kind of its own");
        inside
    }

    /// 0.
    pub fn nothing(self) -> Var<'t> {
        self.tape.scalar(0.0)
    }
}

impl Mlp {
    /// The values of `k` inputs side by side for each row, such as actions a critic judges in a state: `s` `[1, rows, n]` and `a`
    /// `[1, rows, k·m]`, n + m the inputs, to `[members, rows, k]`. The first layer's sum over `s` is taken once for each row.
    ///
    /// # Panics
    /// If the columns do not fit the inputs.
    pub fn values<'t>(&self, s: Var<'t>, a: Var<'t>) -> Var<'t> {
        let (rows, each) = (s.shape().rows, self.inputs() - s.shape().cols);
        let k = a.shape().cols / each;
        let q = self.forward_pairs(s, a.reshape(Shape::new(1, rows * k, each)));
        q.reshape(Shape::new(self.members(), rows, k))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Activation, Init};
    use backcast_core::Key;
    use ndarray::Array2;

    const ROWS: usize = 1000;

    fn setting() -> (Store, Mlp, Array2<Real>, Array2<Real>) {
        let mut store = Store::default();
        let net = Mlp::new(&mut store, "net", &[3, 8, 1], 2, Activation::Tanh, Init::FanIn, Key::new(1));
        let draw = |cols, key: u64| {
            let mut x = vec![0.0; ROWS * cols];
            Key::new(key).normal(&mut x);
            Array2::from_shape_vec((ROWS, cols), x).expect("as many")
        };
        (store, net, draw(3, 2), draw(1, 3))
    }

    #[test]
    fn blocks_add_up_to_the_whole() {
        let (mut store, net, x, y) = setting();
        let mut whole = Store::default();
        let same = Mlp::new(&mut whole, "net", &[3, 8, 1], 2, Activation::Tanh, Init::FanIn, Key::new(1));
        let (mut adam, mut other) = (Adam::new(net.range(), 1e-2), Adam::new(same.range(), 1e-2));
        let all = 0..ROWS;
        for _ in 0..5 {
            let [loss, q] = adam.descend(&mut store, |down| {
                let [y] = down.keep(|tape| [tape.input(y.view()) * 2.0]);
                assert_eq!((y.rows(), y.cols()), (ROWS, 1));
                let sums = down.over([(&(0..300), 7), (&(300..ROWS), 1)], |rows| {
                    let q = net.forward(rows.of(x.view()));
                    [rows.mean(&all, (q - rows.of(y)).square()), rows.mean(&all, q)]
                });
                assert_eq!(down.loss(), sums[0]);
                sums
            });
            let (expected, mean) = other.minimise_with(&mut whole, |tape| {
                let q = same.forward(tape.input(x.view()));
                ((q - tape.input(y.view()) * 2.0).square().mean() * 2.0, q.mean().item() * 2.0)
            });
            assert!((loss - expected).abs() < 1e-4 && (q - mean).abs() < 1e-4, "{loss} {expected}, {q} {mean}");
        }
        for (a, b) in store.params().iter().zip(whole.params()) {
            assert!((a - b).abs() < 1e-5, "{a} is not {b}");
        }
    }

    /// A mean over a range is a sum weighted by a column that is 1/n in it and 0 elsewhere.
    #[test]
    fn a_range_is_a_column_of_weights() {
        let (mut store, net, x, _) = setting();
        let some = 200..500;
        let mut adam = Adam::new(net.range(), 0.0);
        let [by_range, by_weight] = adam.descend(&mut store, |down| {
            let [w] = down.keep(|tape| {
                [tape.fill(Shape::new(1, ROWS, 1), |w| {
                    w.iter_mut()
                        .enumerate()
                        .for_each(|(i, w)| *w = some.contains(&i) as u8 as Real / some.len() as Real);
                })]
            });
            down.over([(&(0..200), 1), (&some, 1), (&(500..ROWS), 1)], |rows| {
                let q = net.forward(rows.of(x.view()));
                [rows.mean(&some, q), (q * rows.of(w)).sum()]
            })
        });
        assert!((by_range - by_weight).abs() < 1e-5, "{by_range} is not {by_weight}");
    }

    #[test]
    fn values_are_those_of_each_pair() {
        let (mut store, net, x, _) = setting();
        let tape = store.tape();
        let (s, a) = (tape.input(x.view()).cols(0, 2), tape.input(x.view()));
        let all = net.values(s, a);
        for k in 0..3 {
            let one = net.forward(s.cat(a.cols(k, 1)));
            (all.cols(k, 1) - one).read(|apart| assert!(apart.iter().all(|x| x.abs() < 1e-5), "{apart:?}"));
        }
    }

    #[test]
    #[should_panic(expected = "partly in")]
    fn a_block_does_not_straddle_two_kinds() {
        let (mut store, net, x, _) = setting();
        let half = 0..ROWS / 2;
        Adam::new(net.range(), 0.0).descend(&mut store, |down| {
            down.over([(&(0..ROWS), 1)], |rows| [rows.mean(&half, net.forward(rows.of(x.view())))])
        });
    }
}
