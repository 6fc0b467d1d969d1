use crate::imaginer::view;
use backcast_core::{Direction, Dynamics, Key, Prediction, Real};
use backcast_penalties::Penalty;
use backcast_stats::spearman;
use ndarray::{ArrayView2, Axis, Slice};

/// Rows predicted at once, so that memory does not grow with the questions. Fixed: draws are numbered tile by tile.
const TILE: usize = 2048;

/// What a measure of uncertainty is told about some rows.
#[derive(Clone, Copy, Debug)]
pub struct Asked<'a> {
    /// Every member's Gaussians, `[members, rows, cols]`.
    pub prediction: Prediction<'a>,
    /// What was drawn, `[rows, cols]`.
    pub outcome: ArrayView2<'a, Real>,
    /// The members imagination draws from.
    pub elites: &'a [usize],
    /// For measures that draw.
    pub key: Key,
}

/// A measure of uncertainty: writes u, `[rows]`.
pub type Measure<'a> = Box<dyn FnMut(Asked<'_>, &mut [Real]) + 'a>;

/// Writes what really follows from *s* and *a*, `[obs]`, and returns whether it is known.
pub type Truth<'a> = dyn FnMut(&[Real], &[Real], &mut [Real]) -> bool + 'a;

/// A penalty as a measure.
pub fn by_penalty<'a>(mut penalty: Box<dyn Penalty + 'a>) -> Measure<'a> {
    Box::new(move |asked, out| penalty.penalty(asked.prediction, asked.outcome, out))
}

/// Uncertainty beside truth, for each row whose truth is known.
#[derive(Clone, Debug, PartialEq)]
pub struct Calibration {
    /// ‖μₘ − s′‖₂ over state columns, in the units of the model; m is the elite that was drawn.
    pub error: Vec<Real>,
    /// u of each measure, in the order given.
    pub u: Vec<Vec<Real>>,
    /// Rows whose truth is not known.
    pub left_out: usize,
}

impl Calibration {
    /// Spearman's rank correlation of each measure's u with the error: 1 where uncertainty orders the rows as their errors do, 0 where
    /// it says nothing. `None` where there is no order (see [`spearman`]); a u that is NaN gives none.
    pub fn correlations(&self) -> Vec<Option<f64>> {
        let wide = |x: &[Real]| x.iter().map(|&x| x as f64).collect::<Vec<_>>();
        let error = wide(&self.error);
        self.u.iter().map(|u| spearman(&wide(u), &error)).collect()
    }
}

/// Asks `model` about states `obs`, `[rows, obs]`, and actions `act`, `[rows, act]`, and every measure how uncertain it is of the
/// answers.
///
/// Each row draws an elite and an outcome as imagination does. Errors are those of means: the noise of the draw is none of
/// the model's fault.
///
/// # Panics
/// If the model is not a forward one, or widths or numbers of rows differ.
pub fn calibrate(
    model: &mut dyn Dynamics,
    obs: ArrayView2<'_, Real>,
    act: ArrayView2<'_, Real>,
    truth: &mut Truth<'_>,
    measures: &mut [Measure<'_>],
    key: Key,
) -> Calibration {
    let spec = model.spec();
    assert_eq!(model.direction(), Direction::Forward, "calibrate: the truth is known forwards");
    assert!(
        obs.nrows() == act.nrows() && obs.ncols() == spec.obs && act.ncols() == spec.act,
        "calibrate: states {:?} and actions {:?} for a model of {spec:?}",
        obs.dim(),
        act.dim()
    );
    let elites = model.elites().to_vec();
    let mut all = Calibration { error: Vec::new(), u: vec![Vec::new(); measures.len()], left_out: 0 };
    let (mut s, mut a, mut s2) = (vec![0.0; spec.obs], vec![0.0; spec.act], vec![0.0; spec.obs]);
    let (mut outcome, mut u, mut known) = (Vec::new(), Vec::new(), Vec::new());
    for tile in 0..obs.nrows().div_ceil(TILE) {
        let (first, key) = (tile * TILE, key.fold(tile as u64));
        let rows = TILE.min(obs.nrows() - first);
        let part = Slice::from(first..first + rows);
        let p = model.predict([obs.slice_axis(Axis(0), part), act.slice_axis(Axis(0), part)]);
        let cols = p.mean.dim().2;
        let member = |row: usize| elites[key.name("member").below(elites.len(), row)];
        outcome.resize(rows * cols, 0.0);
        key.name("noise").normal(&mut outcome);
        known.clear();
        for row in 0..rows {
            let m = member(row);
            for (c, x) in outcome[row * cols..][..cols].iter_mut().enumerate() {
                *x = p.mean[[m, row, c]] + p.std[[m, row, c]] * *x;
            }
            s.iter_mut().zip(obs.row(first + row)).for_each(|(s, &x)| *s = x);
            a.iter_mut().zip(act.row(first + row)).for_each(|(a, &x)| *a = x);
            if truth(&s, &a, &mut s2) {
                // The reward stands first.
                let square = |(c, x): (usize, &Real)| (p.mean[[m, row, 1 + c]] - x).powi(2);
                all.error.push(s2.iter().enumerate().map(square).sum::<Real>().sqrt());
                known.push(row);
            }
        }
        all.left_out += rows - known.len();
        u.resize(rows, 0.0);
        for (i, (measure, all)) in measures.iter_mut().zip(&mut all.u).enumerate() {
            let outcome = view(&outcome, rows, cols);
            let key = key.name("measure").fold(i as u64);
            measure(Asked { prediction: p, outcome, elites: &elites, key }, &mut u);
            all.extend(known.iter().map(|&row| u[row]));
        }
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;
    use approx::abs_diff_eq;
    use backcast_core::{Slot, Spec, State};
    use backcast_penalties::{EnsembleStd, NoPenalty};
    use ndarray::{Array2, Array3};

    /// Members 0 and 1 say s ± a; the truth is s. Member 1 is no elite.
    struct Split {
        mean: Array3<Real>,
        std: Array3<Real>,
        largest: usize,
    }

    impl State for Split {
        fn visit(&mut self, _: &mut dyn FnMut(&str, Slot<'_>)) {}
    }

    impl Dynamics for Split {
        fn spec(&self) -> Spec {
            Spec::new(2, 1)
        }
        fn direction(&self) -> Direction {
            Direction::Forward
        }
        fn elites(&self) -> &[usize] {
            &[0]
        }
        fn predict(&mut self, [s, a]: [ArrayView2<'_, Real>; 2]) -> Prediction<'_> {
            let rows = s.nrows();
            self.largest = self.largest.max(rows);
            let at = |(i, row, c): (usize, usize, usize)| match c {
                0 => 1000.0,
                _ => s[[row, c - 1]] + [1.0, -2.0][i] * a[[row, 0]],
            };
            self.mean = Array3::from_shape_fn((2, rows, 3), at);
            self.std = Array3::from_elem((2, rows, 3), 0.5);
            Prediction { mean: self.mean.view(), std: self.std.view() }
        }
    }

    #[test]
    fn uncertainty_that_orders_rows_as_their_errors_do_has_correlation_one() {
        let rows = 2 * TILE + 5;
        let obs = Array2::from_shape_fn((rows, 2), |(i, _)| (i % 7) as Real);
        let act = Array2::from_shape_fn((rows, 1), |(i, _)| ((i * 37) % 101) as Real / 101.0);
        let mut model = Split { mean: Array3::zeros((0, 0, 0)), std: Array3::zeros((0, 0, 0)), largest: 0 };
        let mut measures: Vec<Measure<'_>> = vec![
            by_penalty(Box::new(EnsembleStd)),
            Box::new(|asked, out| {
                assert_eq!((asked.elites, asked.outcome.dim()), (&[0][..], (out.len(), 3)));
                for (row, u) in out.iter_mut().enumerate() {
                    *u = -(asked.prediction.mean[[0, row, 1]] - asked.prediction.mean[[1, row, 1]]).abs();
                }
            }),
            by_penalty(Box::new(NoPenalty)),
        ];
        // In states 3 nothing is known.
        let mut truth = |s: &[Real], _: &[Real], s2: &mut [Real]| {
            s2.copy_from_slice(s);
            s[0] != 3.0
        };
        let key = Key::new(1);
        let made = calibrate(&mut model, obs.view(), act.view(), &mut truth, &mut measures, key);
        let unknown = (0..rows).filter(|i| i % 7 == 3).count();
        assert_eq!((made.left_out, made.error.len(), model.largest), (unknown, rows - unknown, TILE));
        let known: Vec<usize> = (0..rows).filter(|i| i % 7 != 3).collect();
        for (at, &row) in known.iter().enumerate() {
            assert!(abs_diff_eq!(made.error[at], act[[row, 0]] * 2f32.sqrt() as Real, epsilon = 1e-5), "row {row}");
            assert!(abs_diff_eq!(made.u[0][at], 1.5 * act[[row, 0]], epsilon = 1e-5), "row {row}");
        }
        let [same, opposite, none] = made.correlations()[..] else { panic!("three measures") };
        assert!(
            same.unwrap() > 0.999 && opposite.unwrap() < -0.999 && none.is_none(),
            "{same:?} {opposite:?} {none:?}"
        );
    }
}
