use backcast_core::{Column, Direction, Dynamics, Real, Transitions};
use ndarray::{ArrayView2, ArrayViewMut2};
use std::fmt;

/// Rows looked at together while the tolerance is found. Fixed, so that memory does not grow with the dataset.
const TILE: usize = 2048;

/// Is what one direction imagines what the other expects? A second model, of the other direction, is asked about every imagined
/// transition *(ŝ, a, ŝ′)*: a forward one whether *a* leads from *ŝ* to *ŝ′*, a reverse one whether it may have come from *ŝ*.
///
/// The distance is that between the best elite's mean and the imagined state, root mean square over columns, each in units of
/// the deviation of one recorded step. What is further off than the tolerance, a quantile of the same distance over recorded
/// transitions, is not stored, and its chain ends there: what is left of it still ends in a recorded state.
///
/// CABI (Lyu, Li & Lu, NeurIPS 2022) keeps what a forward and a backward model agree on; the tolerance by recorded transitions is
/// ours.
pub struct CycleCheck {
    model: Box<dyn Dynamics + Send>,
    /// 1/deviation of a step, `[obs]`; 0 for a column that never changes.
    per_deviation: Vec<Real>,
    tolerance: Real,
    member: Vec<usize>,
    mean: Vec<Real>,
    std: Vec<Real>,
}

impl fmt::Debug for CycleCheck {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CycleCheck").field("direction", &self.direction()).field("tolerance", &self.tolerance).finish()
    }
}

impl CycleCheck {
    /// Lets pass what is no further off than the fraction `share` of the transitions of `dataset`.
    ///
    /// # Panics
    /// If the model is an inverse one, the widths differ, `share` is not in `[0, 1]` or `log` is empty.
    pub fn new(model: Box<dyn Dynamics + Send>, dataset: &Transitions, share: Real) -> Self {
        assert_ne!(model.direction(), Direction::Inverse, "CycleCheck::new: an inverse model predicts no state");
        let widths = [(model.spec().obs, dataset.spec().obs), (model.spec().act, dataset.spec().act)];
        assert!(widths.iter().all(|(m, l)| m == l), "CycleCheck::new: {:?} and {:?}", model.spec(), dataset.spec());
        assert!(
            (0.0..=1.0).contains(&share) && !dataset.is_empty(),
            "CycleCheck::new: {share} of {} rows",
            dataset.len()
        );
        let (obs, rows) = (dataset.spec().obs, dataset.len());
        let mut square = vec![0.0f64; obs];
        for row in 0..rows {
            let steps = dataset.row(Column::NextObs, row).iter().zip(dataset.row(Column::Obs, row));
            square.iter_mut().zip(steps).for_each(|(q, (s2, s))| *q += ((s2 - s) as f64).powi(2));
        }
        let inverse = |q: &f64| if *q > 0.0 { (rows as f64 / q).sqrt() as Real } else { 0.0 };
        let per_deviation = square.iter().map(inverse).collect();
        let (member, mean, std) = (Vec::new(), Vec::new(), Vec::new());
        let mut check = Self { model, per_deviation, tolerance: 0.0, member, mean, std };
        let mut distances = vec![0.0; rows];
        for (tile, out) in distances.chunks_mut(TILE).enumerate() {
            let batch = dataset.rows(tile * TILE, out.len());
            check.distance(batch.obs, batch.act, batch.next_obs, out);
        }
        distances.sort_unstable_by(Real::total_cmp);
        check.tolerance = distances[((rows - 1) as f64 * share as f64).round() as usize];
        check
    }

    /// The direction of the model that is asked.
    pub fn direction(&self) -> Direction {
        self.model.direction()
    }

    /// The greatest distance that passes.
    pub fn tolerance(&self) -> Real {
        self.tolerance
    }

    /// Writes how far off each transition is, `[rows]`, for *s*, `[rows, obs]`, *a*, `[rows, act]`, and *s′*, `[rows, obs]`, in
    /// forward time.
    pub fn distance(
        &mut self,
        obs: ArrayView2<'_, Real>,
        act: ArrayView2<'_, Real>,
        next_obs: ArrayView2<'_, Real>,
        out: &mut [Real],
    ) {
        let (rows, width) = obs.dim();
        let cols = 1 + width;
        let (from, to) = if self.direction() == Direction::Forward { (obs, next_obs) } else { (next_obs, obs) };
        self.member.clear();
        self.member.resize(rows, self.model.elites()[0]);
        self.mean.resize(rows * cols, 0.0);
        self.std.resize(rows * cols, 0.0);
        let dense = |x| ArrayViewMut2::from_shape((rows, cols), x).expect("dense");
        self.model.predict_elite([from, act], &self.member, dense(&mut self.mean), dense(&mut self.std));
        for ((out, said), seen) in out.iter_mut().zip(self.mean.chunks_exact(cols)).zip(to.rows()) {
            let off = said[1..].iter().zip(seen).zip(&self.per_deviation).map(|((x, y), p)| ((x - y) * p).powi(2));
            *out = (off.sum::<Real>() / width as Real).sqrt();
        }
    }

    /// Whether a distance passes. NaN does not.
    pub(crate) fn passes(&self, distance: Real) -> bool {
        distance <= self.tolerance
    }
}
