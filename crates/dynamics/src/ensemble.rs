use crate::EnsembleConfig;
use backcast_core::{
    Column, ConfigError, Direction, Dynamics, Key, Prediction, Real, Slot, Spec, State, Transitions, under,
};
use backcast_nn::{Activation, Arena, Init, Mlp, Precision, Shape, Store, Tape, Var, soft_clamp};
use ndarray::{ArrayView2, ArrayView3, ArrayViewMut2};
use rayon::prelude::*;
use std::{
    cell::RefCell,
    ops::Range,
    sync::{Mutex, PoisonError},
};

/// Rows per forward pass of inference. Fixed, so that the work is cut the same way for any number of threads.
const TILE: usize = 512;

/// Diagonal Gaussians p(predicted ∣ given) of one [`Direction`], from several nets trained on different resamplings of a dataset.
///
/// One linear layer gives mean and log-variance side by side, as in OfflineRL-Kit; MOPO's code has two layers, which differ
/// from one only in that the variance's may have a decay of its own. Outputs stand in the order of
/// [`Split::predicted`](backcast_core::Split::predicted): **reward first**, then the state as a change from the anchor.
#[derive(Debug)]
pub struct Ensemble {
    pub(crate) config: EnsembleConfig,
    spec: Spec,
    direction: Direction,
    /// Member after member, each with bounds of the log-variance of its own, which are kept equal.
    pub(crate) store: Store,
    pub(crate) head: Head,
    /// Every member's net, for tapes over the whole store.
    pub(crate) nets: Vec<Mlp>,
    pub(crate) elites: Vec<usize>,
    pub(crate) holdout_mse: Vec<Real>,
    parallel: bool,
    pub(crate) work: Work,
}

/// Where one member's parameters are among its own, the shape of the problem and the scale of its inputs.
#[derive(Clone, Debug)]
pub(crate) struct Head {
    pub(crate) net: Mlp,
    /// The number of one member's parameters.
    pub(crate) len: usize,
    /// Offsets of the bounds of the log-variance, `[1, 1, cols]` each, one after the other behind the net.
    low: usize,
    high: usize,
    given: [Column; 2],
    predicted: &'static [Column],
    anchor: Option<Column>,
    pub(crate) widths: [usize; 2],
    pub(crate) spec: Spec,
    pub(crate) cols: usize,
    pub(crate) input_mean: Vec<Real>,
    pub(crate) input_std: Vec<Real>,
}

/// Memory that predictions are made in.
#[derive(Debug, Default)]
pub(crate) struct Work {
    arenas: Vec<Mutex<RefCell<Arena>>>,
    mean: Vec<Real>,
    std: Vec<Real>,
    /// Rows sorted by member, each member's padded to whole tiles.
    order: Vec<usize>,
    /// (member, rows in use) of each tile of `order`.
    tiles: Vec<(usize, usize)>,
    counts: Vec<usize>,
}

impl Ensemble {
    /// An ensemble that knows nothing yet, its parameters drawn by `key`.
    ///
    /// # Errors
    /// If the configuration makes no sense.
    pub fn new(config: EnsembleConfig, spec: Spec, direction: Direction, key: Key) -> Result<Self, ConfigError> {
        config.check()?;
        let split = direction.split();
        let widths = split.given.map(|c| spec.width(c));
        let cols = split.predicted.iter().map(|&c| spec.width(c)).sum();
        let inputs = widths[0] + widths[1];
        let dims = [&[inputs], config.hidden.as_slice(), &[2 * cols]].concat();
        let mut drawn = Store::default();
        let stack = Mlp::new(&mut drawn, "net", &dims, config.members, Activation::Swish, Init::TruncatedNormal, key);
        let (mut store, mut values) = (Store::default(), Vec::new());
        let members = (0..config.members).map(|member| {
            let name = |part: &str| format!("member.{member}.{part}");
            let net = Mlp::new(&mut store, &name("net"), &dims, 1, Activation::Swish, Init::TruncatedNormal, key);
            stack.save_member(&mut drawn, member, &mut values);
            store.params_mut()[net.range()].copy_from_slice(&values);
            let vector = Shape::new(1, 1, cols);
            let low = store.tensor(&name("min_log_var"), vector, |x| x.fill(config.min_log_var));
            let high = store.tensor(&name("max_log_var"), vector, |x| x.fill(config.max_log_var));
            (net, low, high)
        });
        let members: Vec<_> = members.collect();
        // Offsets of the first member are offsets from the beginning of any.
        let (net, low, high) = members[0];
        let nets = members.into_iter().map(|(net, ..)| net).collect();
        let head = Head {
            net,
            len: high + cols,
            low,
            high,
            given: split.given,
            predicted: split.predicted,
            anchor: split.anchor,
            widths,
            spec,
            cols,
            input_mean: vec![0.0; inputs],
            input_std: vec![1.0; inputs],
        };
        let elites = (0..config.elites).collect();
        let holdout_mse = vec![0.0; config.members];
        let (parallel, work) = (false, Work::default());
        Ok(Self { config, spec, direction, store, head, nets, elites, holdout_mse, parallel, work })
    }

    /// The configuration it was made with.
    pub fn config(&self) -> &EnsembleConfig {
        &self.config
    }

    /// The number of members.
    pub fn members(&self) -> usize {
        self.config.members
    }

    /// Each member's mean squared error on the held-out rows of its best epoch; zeros before the first fit.
    pub fn holdout_mse(&self) -> &[Real] {
        &self.holdout_mse
    }

    /// The learnt bounds of the log-variances, lower and upper, `[cols]` each.
    pub fn log_var_bounds(&self) -> [&[Real]; 2] {
        let p = self.store.params();
        [self.head.low, self.head.high].map(|at| &p[at..at + self.head.cols])
    }

    /// Whether fitting and prediction may use the threads of the current rayon pool. The bits do not depend on it.
    pub fn set_parallel(&mut self, parallel: bool) {
        self.parallel = parallel;
    }

    pub(crate) fn is_parallel(&self) -> bool {
        self.parallel
    }

    /// As [`predict`](Dynamics::predict) for the elites alone, in the order of [`elites`](Dynamics::elites): `[elites, rows, cols]`.
    /// The others are not evaluated.
    ///
    /// # Panics
    /// As `predict`.
    pub fn predict_elites(&mut self, given: [ArrayView2<'_, Real>; 2]) -> Prediction<'_> {
        self.predict_some(given, true)
    }

    /// Every member's Gaussians, or those of the elites.
    fn predict_some(&mut self, given: [ArrayView2<'_, Real>; 2], only_elites: bool) -> Prediction<'_> {
        let rows = self.rows_of(&given);
        let members = if only_elites { self.elites.len() } else { self.config.members };
        let cols = self.head.cols;
        self.work.reserve(members * rows * cols, self.parallel, self.config.precision);
        let Work { arenas, mean, std, .. } = &mut self.work;
        let (mean, std) = (&mut mean[..members * rows * cols], &mut std[..members * rows * cols]);
        let (head, params, arenas, elites) = (&self.head, self.store.params(), &*arenas, &self.elites);
        let tile = |place: usize, tile: usize, mean: &mut [Real], std: &mut [Real]| {
            let member = if only_elites { elites[place] } else { place };
            let (first, count) = (tile * TILE, mean.len() / cols);
            let params = &params[member * head.len..][..head.len];
            with_arena(arenas, |arena| head.run(params, arena, &given, count, |i| first + i, mean, std));
        };
        if rows > 0 {
            let (plane, chunk) = (rows * cols, TILE * cols);
            if self.parallel {
                mean.par_chunks_mut(plane).zip(std.par_chunks_mut(plane)).enumerate().for_each(|(e, (m, s))| {
                    m.par_chunks_mut(chunk)
                        .zip(s.par_chunks_mut(chunk))
                        .enumerate()
                        .for_each(|(t, (m, s))| tile(e, t, m, s));
                });
            } else {
                for (e, (m, s)) in mean.chunks_mut(plane).zip(std.chunks_mut(plane)).enumerate() {
                    m.chunks_mut(chunk).zip(s.chunks_mut(chunk)).enumerate().for_each(|(t, (m, s))| tile(e, t, m, s));
                }
            }
        }
        let view = |x| ArrayView3::from_shape((members, rows, cols), x).expect("dense");
        Prediction { mean: view(mean), std: view(std) }
    }

    fn rows_of(&self, given: &[ArrayView2<'_, Real>; 2]) -> usize {
        let (rows, widths) = (given[0].nrows(), self.head.widths);
        assert!(
            given[1].nrows() == rows && given[0].ncols() == widths[0] && given[1].ncols() == widths[1],
            "Ensemble::predict: given {:?} and {:?}, expected [rows, {}] and [rows, {}]",
            given[0].dim(),
            given[1].dim(),
            widths[0],
            widths[1]
        );
        rows
    }
}

impl Head {
    /// The two bounds as values on `tape`.
    pub(crate) fn bounds<'t>(&self, tape: Tape<'t>) -> [Var<'t>; 2] {
        self.bounds_of(0, tape)
    }

    /// Those of `member` on a tape over the parameters of all.
    fn bounds_of<'t>(&self, member: usize, tape: Tape<'t>) -> [Var<'t>; 2] {
        [self.low, self.high].map(|at| tape.parameter(member * self.len + at, Shape::new(1, 1, self.cols)))
    }

    /// Where both are among a member's parameters.
    pub(crate) fn bounds_range(&self) -> Range<usize> {
        self.low..self.high + self.cols
    }

    /// Mean and log-variance from the output of the net, `[…, rows, 2·cols]`.
    pub(crate) fn split<'t>(&self, y: Var<'t>) -> [Var<'t>; 2] {
        self.split_of(0, y)
    }

    /// As [`split`](Head::split), of `member` on a tape over the parameters of all.
    pub(crate) fn split_of<'t>(&self, member: usize, y: Var<'t>) -> [Var<'t>; 2] {
        let [low, high] = self.bounds_of(member, y.tape());
        [y.cols(0, self.cols), soft_clamp(y.cols(self.cols, self.cols), low, high)]
    }

    /// Which of the given columns the predicted state is a change from.
    pub(crate) fn anchor(&self) -> Option<usize> {
        self.anchor.and_then(|a| self.given.iter().position(|&g| g == a))
    }

    pub(crate) fn inputs(&self) -> usize {
        self.input_mean.len()
    }

    /// What the net sees of one of the columns that are given, the inputs from `first` on.
    fn standardise<'x>(&self, first: usize, given: impl IntoIterator<Item = &'x Real>, out: &mut [Real]) {
        let scale = self.input_mean[first..].iter().zip(&self.input_std[first..]);
        for ((out, x), (mean, std)) in out[first..].iter_mut().zip(given).zip(scale) {
            *out = (x - mean) / std;
        }
    }

    /// The standardised input of row `row` of `data`, `[inputs]`.
    pub(crate) fn input_row(&self, data: &Transitions, row: usize, out: &mut [Real]) {
        for (column, first) in self.given.into_iter().zip([0, self.widths[0]]) {
            self.standardise(first, data.row(column, row), out);
        }
    }

    /// What the net should say of row `row` of `data`, `[cols]`: states as changes from the anchor.
    pub(crate) fn target_row(&self, data: &Transitions, row: usize, out: &mut [Real]) {
        let mut at = 0;
        for &column in self.predicted {
            let values = data.row(column, row);
            let out = &mut out[at..at + values.len()];
            out.copy_from_slice(values);
            if let (Some(anchor), Column::Obs | Column::NextObs) = (self.anchor, column) {
                out.iter_mut().zip(data.row(anchor, row)).for_each(|(x, a)| *x -= a);
            }
            at += values.len();
        }
    }

    /// The values of the predicted columns in row `row` of `data`, `[cols]`.
    pub(crate) fn truth_row(&self, data: &Transitions, row: usize, out: &mut Vec<Real>) {
        out.clear();
        self.predicted.iter().for_each(|&c| out.extend_from_slice(data.row(c, row)));
    }

    /// Mean and deviation of each input over `rows` of `data`; a deviation below 1e-12 counts as 1.
    pub(crate) fn set_scale(&mut self, data: &Transitions, rows: &[usize]) {
        let n = rows.len().max(1) as f64;
        let mut at = 0;
        for column in self.given {
            for i in 0..self.spec.width(column) {
                let value = |&row: &usize| data.row(column, row)[i] as f64;
                let mean = rows.iter().map(value).sum::<f64>() / n;
                let var = rows.iter().map(|row| (value(row) - mean).powi(2)).sum::<f64>() / n;
                self.input_mean[at] = mean as Real;
                self.input_std[at] = if var.sqrt() < 1e-12 { 1.0 } else { var.sqrt() as Real };
                at += 1;
            }
        }
    }

    /// One member's Gaussians for `rows(i)`, `i` below `count`, in the units of the data.
    #[expect(clippy::too_many_arguments, reason = "what is read and what is written, apart")]
    fn run(
        &self,
        params: &[Real],
        arena: &RefCell<Arena>,
        given: &[ArrayView2<'_, Real>; 2],
        count: usize,
        rows: impl Fn(usize) -> usize,
        mean: &mut [Real],
        std: &mut [Real],
    ) {
        let tape = Tape::without_history(params, arena);
        let x = tape.fill(Shape::new(1, count, self.inputs()), |out| {
            for (i, out) in out.chunks_exact_mut(self.inputs()).enumerate() {
                for (given, first) in given.iter().zip([0, self.widths[0]]) {
                    let row = given.row(rows(i));
                    match row.as_slice() {
                        Some(row) => self.standardise(first, row, out),
                        None => self.standardise(first, row, out),
                    }
                }
            }
        });
        let [m, l] = self.split(self.net.forward(x));
        m.read(|m| mean.copy_from_slice(m));
        (l * 0.5).exp().read(|s| std.copy_from_slice(s));
        let Some(anchor) = self.anchor() else { return };
        for (i, mean) in mean.chunks_exact_mut(self.cols).enumerate() {
            // Reward first, the state last.
            let state = &mut mean[self.cols - self.spec.obs..];
            state.iter_mut().zip(given[anchor].row(rows(i))).for_each(|(x, a)| *x += a);
        }
    }
}

impl Work {
    /// Room for `len` numbers in both outputs, and an arena for every thread that may come.
    pub(crate) fn reserve(&mut self, len: usize, parallel: bool, precision: Precision) {
        if self.mean.len() < len {
            self.mean.resize(len, 0.0);
            self.std.resize(len, 0.0);
        }
        let threads = if parallel { rayon::current_num_threads() } else { 1 };
        if self.arenas.len() < threads {
            self.arenas.resize_with(threads, || {
                let mut arena = Arena::default();
                arena.set_precision(precision);
                Mutex::new(RefCell::new(arena))
            });
        }
    }

    pub(crate) fn arenas(&self) -> &[Mutex<RefCell<Arena>>] {
        &self.arenas
    }

    /// Sorts rows by member into tiles.
    fn sort(&mut self, member_of_row: &[usize], members: usize) {
        self.counts.clear();
        self.counts.resize(members, 0);
        for &m in member_of_row {
            assert!(m < members, "Ensemble::predict_elite: member {m} of {members}");
            self.counts[m] += 1;
        }
        self.tiles.clear();
        for (member, count) in self.counts.iter_mut().enumerate() {
            let first = self.tiles.len() * TILE;
            let mut left = *count;
            while left > 0 {
                self.tiles.push((member, left.min(TILE)));
                left -= left.min(TILE);
            }
            *count = first;
        }
        self.order.resize(self.tiles.len() * TILE, 0);
        for (row, &m) in member_of_row.iter().enumerate() {
            self.order[self.counts[m]] = row;
            self.counts[m] += 1;
        }
    }
}

/// Lends the arena of the current thread to `f`. No task waits while it holds one, so a lock is never contended for long.
pub(crate) fn with_arena<R>(arenas: &[Mutex<RefCell<Arena>>], f: impl FnOnce(&RefCell<Arena>) -> R) -> R {
    let i = rayon::current_thread_index().unwrap_or(0) % arenas.len();
    f(&arenas[i].lock().unwrap_or_else(PoisonError::into_inner))
}

impl Dynamics for Ensemble {
    fn as_any_mut(&mut self) -> Option<&mut dyn std::any::Any> {
        Some(self)
    }

    fn spec(&self) -> Spec {
        self.spec
    }

    fn direction(&self) -> Direction {
        self.direction
    }

    fn elites(&self) -> &[usize] {
        &self.elites
    }

    fn predict(&mut self, given: [ArrayView2<'_, Real>; 2]) -> Prediction<'_> {
        self.predict_some(given, false)
    }

    /// Evaluates only the drawn member of each row: rows are sorted by member and put back.
    fn predict_elite(
        &mut self,
        given: [ArrayView2<'_, Real>; 2],
        member_of_row: &[usize],
        mut mean: ArrayViewMut2<'_, Real>,
        mut std: ArrayViewMut2<'_, Real>,
    ) {
        let (rows, cols) = (self.rows_of(&given), self.head.cols);
        assert!(
            member_of_row.len() == rows && mean.dim() == (rows, cols) && std.dim() == (rows, cols),
            "Ensemble::predict_elite: {} members and outputs {:?}, {:?} for [{rows}, {cols}]",
            member_of_row.len(),
            mean.dim(),
            std.dim()
        );
        self.work.sort(member_of_row, self.config.members);
        self.work.reserve(self.work.order.len() * cols, self.parallel, self.config.precision);
        let Work { arenas, mean: m, std: s, order, tiles, .. } = &mut self.work;
        let (m, s) = (&mut m[..order.len() * cols], &mut s[..order.len() * cols]);
        let (head, params, arenas) = (&self.head, self.store.params(), &*arenas);
        let tile = |m: &mut [Real], s: &mut [Real], order: &[usize], (member, count): (usize, usize)| {
            let (m, s) = (&mut m[..count * cols], &mut s[..count * cols]);
            let params = &params[member * head.len..][..head.len];
            with_arena(arenas, |arena| head.run(params, arena, &given, count, |i| order[i], m, s));
        };
        let chunk = TILE * cols;
        if self.parallel {
            m.par_chunks_mut(chunk)
                .zip(s.par_chunks_mut(chunk))
                .zip(order.par_chunks(TILE))
                .zip(&*tiles)
                .for_each(|(((m, s), order), &t)| tile(m, s, order, t));
        } else {
            for (((m, s), order), &t) in
                m.chunks_mut(chunk).zip(s.chunks_mut(chunk)).zip(order.chunks(TILE)).zip(&*tiles)
            {
                tile(m, s, order, t);
            }
        }
        for (t, &(_, count)) in tiles.iter().enumerate() {
            for i in t * TILE..t * TILE + count {
                let row = |x: &[Real], mut out: ArrayViewMut2<'_, Real>| {
                    out.row_mut(order[i]).iter_mut().zip(&x[i * cols..]).for_each(|(o, &x)| *o = x);
                };
                row(m, mean.view_mut());
                row(s, std.view_mut());
            }
        }
    }
}

/// Names every parameter, the scale of the inputs, the elites and the held-out errors.
impl State for Ensemble {
    fn visit(&mut self, f: &mut dyn FnMut(&str, Slot<'_>)) {
        under("store", &mut self.store, f);
        let inputs = self.head.inputs();
        f("input_mean", Slot::Tensor(&[inputs], &mut self.head.input_mean));
        f("input_std", Slot::Tensor(&[inputs], &mut self.head.input_std));
        f("holdout_mse", Slot::Tensor(&[self.config.members], &mut self.holdout_mse));
        for (i, elite) in self.elites.iter_mut().enumerate() {
            let mut number = *elite as u64;
            f(&format!("elite.{i}"), Slot::Count(&mut number));
            // A number read from a file must not become an index out of bounds.
            *elite = (number as usize).min(self.config.members - 1);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use approx::abs_diff_eq;
    use ndarray::{Array2, array};

    fn tiny(direction: Direction) -> Ensemble {
        let config =
            EnsembleConfig { members: 2, elites: 1, hidden: vec![3], weight_decay: vec![0.0; 2], ..Default::default() };
        Ensemble::new(config, Spec::new(2, 1), direction, Key::new(0)).unwrap()
    }

    /// The layout of every direction by hand: reward first, states as *predicted minus anchor*.
    #[test]
    fn inputs_and_targets_stand_where_they_should() {
        let mut dataset = Transitions::new(Spec::new(2, 1));
        dataset.push(&[1.0, 2.0], &[0.5], -7.0, &[4.0, 8.0], false);
        for (direction, input, target) in [
            (Direction::Forward, vec![1.0, 2.0, 0.5], vec![-7.0, 3.0, 6.0]),
            (Direction::Reverse, vec![4.0, 8.0, 0.5], vec![-7.0, -3.0, -6.0]),
            (Direction::Inverse, vec![1.0, 2.0, 4.0, 8.0], vec![0.5]),
        ] {
            let head = tiny(direction).head;
            let (mut x, mut y) = (vec![0.0; head.inputs()], vec![0.0; head.cols]);
            head.input_row(&dataset, 0, &mut x);
            head.target_row(&dataset, 0, &mut y);
            assert_eq!((x, y), (input, target), "{direction:?}");
        }
    }

    /// A net that says zero predicts reward 0 and the anchor itself, or action 0.
    #[test]
    fn predictions_are_in_the_units_of_the_data() {
        let x = Array2::from_shape_fn((4, 2), |(i, j)| (10 * i + j) as Real);
        for direction in [Direction::Forward, Direction::Reverse, Direction::Inverse] {
            let mut model = tiny(direction);
            let (net, len) = (model.head.net.range(), model.head.len);
            model.store.params_mut().chunks_exact_mut(len).for_each(|member| member[net.clone()].fill(0.0));
            let second = Array2::from_elem((4, if direction == Direction::Inverse { 2 } else { 1 }), 0.3);
            let p = model.predict([x.view(), second.view()]);
            for row in 0..4 {
                let want = match direction {
                    Direction::Inverse => vec![0.0],
                    _ => vec![0.0, x[[row, 0]], x[[row, 1]]],
                };
                for member in 0..2 {
                    let got: Vec<Real> = (0..want.len()).map(|c| p.mean[[member, row, c]]).collect();
                    assert_eq!(got, want, "{direction:?}");
                }
            }
            // ℓ = 0 between −10 and 0.5: M − sp(M) = −0.474, raised by a hair at the lower bound; σ = e^(ℓ/2).
            let softplus = |x: f64| x.exp().ln_1p();
            let l = 0.5 - softplus(0.5);
            let l = -10.0 + softplus(l + 10.0);
            assert!(p.std.iter().all(|s| abs_diff_eq!(*s as f64, (l / 2.0).exp(), epsilon = 1e-5)), "{direction:?}");
        }
    }

    #[test]
    fn inputs_are_standardised_and_a_constant_is_left_alone() {
        let mut dataset = Transitions::new(Spec::new(2, 1));
        for i in 0..5 {
            dataset.push(&[3.0, i as Real], &[-(i as Real)], 0.0, &[0.0, 0.0], false);
        }
        let mut head = tiny(Direction::Forward).head;
        head.set_scale(&dataset, &[0, 2, 4]);
        assert_eq!(head.input_mean, [3.0, 2.0, -2.0]);
        let std = (8f64 / 3.0).sqrt() as Real;
        assert_eq!(head.input_std, [1.0, std, std]);
        let mut x = [0.0; 3];
        head.input_row(&dataset, 4, &mut x);
        assert_eq!(x, [0.0, 2.0 / std, -2.0 / std]);
    }

    #[test]
    fn elites_alone_predict_what_they_do_among_all() {
        let config =
            EnsembleConfig { members: 4, elites: 2, hidden: vec![3], weight_decay: vec![0.0; 2], ..Default::default() };
        let mut model = Ensemble::new(config, Spec::new(2, 1), Direction::Forward, Key::new(0)).unwrap();
        model.elites = vec![3, 1];
        let (x, a) = (array![[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]], array![[0.1], [0.2], [0.3]]);
        for parallel in [false, true] {
            model.set_parallel(parallel);
            let all = model.predict([x.view(), a.view()]);
            let (mean, std) = (all.mean.to_owned(), all.std.to_owned());
            let some = model.predict_elites([x.view(), a.view()]);
            assert_eq!(some.mean, mean.select(ndarray::Axis(0), &[3, 1]));
            assert_eq!(some.std, std.select(ndarray::Axis(0), &[3, 1]));
        }
    }

    #[test]
    fn views_that_are_not_contiguous_are_read_right() {
        let mut model = tiny(Direction::Forward);
        let (x, a) = (array![[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]], array![[0.1], [0.2], [0.3]]);
        let plain = model.predict([x.view(), a.view()]).mean.to_owned();
        let transposed = x.t().as_standard_layout().into_owned();
        assert_eq!(plain, model.predict([transposed.t(), a.view()]).mean);
    }

    #[test]
    #[should_panic(expected = "Ensemble::predict: given (3, 2) and (2, 1), expected [rows, 2] and [rows, 1]")]
    fn wrong_shapes_are_named() {
        tiny(Direction::Forward).predict([Array2::zeros((3, 2)).view(), Array2::zeros((2, 1)).view()]);
    }

    #[test]
    fn an_elite_from_a_file_stays_in_bounds() {
        let mut model = tiny(Direction::Forward);
        model.visit(&mut |name, slot| {
            if let ("elite.0", Slot::Count(n)) = (name, slot) {
                *n = u64::MAX;
            }
        });
        assert_eq!(model.elites(), [1]);
    }
}
