use backcast_core::{Column, Real, Slot, State, Transitions};
use ndarray::{ArrayView2, ArrayViewMut2};
use serde::{Deserialize, Serialize};

/// Shifts and scales observations to mean 0 and deviation 1, by the statistics of one dataset.
///
/// It belongs to the policy, never to the environment: a policy saved without it is another policy. Hence it is a
/// [`State`] (for checkpoints) and serialises (for exported policies).
///
/// ```
/// use backcast_core::{Transitions, Spec};
/// use backcast_data::{Normaliser, Scale};
/// let mut data = Transitions::new(Spec::new(1, 1));
/// data.push(&[1.0], &[0.0], 0.0, &[3.0], false);
/// data.push(&[3.0], &[0.0], 0.0, &[5.0], false);
/// let normaliser = Normaliser::fit(data.batch().obs, Scale::AtLeast(1e-3));
/// normaliser.apply_to_transitions(&mut data);
/// assert_eq!(data.batch().obs.as_slice().unwrap(), [-1.0, 1.0]);
/// assert_eq!(data.batch().next_obs.as_slice().unwrap(), [1.0, 3.0]);
/// ```
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "Unchecked")]
pub struct Normaliser {
    mean: Vec<Real>,
    std: Vec<Real>,
}

/// How a deviation near zero is kept from blowing a column up.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Scale {
    /// Divide by *max(σ, floor)*.
    AtLeast(Real),
    /// Divide by *σ + ε*, as TD3+BC does with *ε* = 10⁻³ (arXiv:2106.06860).
    Plus(Real),
}

#[derive(Deserialize)]
struct Unchecked {
    mean: Vec<Real>,
    std: Vec<Real>,
}

impl TryFrom<Unchecked> for Normaliser {
    type Error = String;

    fn try_from(from: Unchecked) -> Result<Self, String> {
        if from.mean.len() != from.std.len() {
            return Err(format!("{} means and {} deviations", from.mean.len(), from.std.len()));
        }
        if let Some(i) = from.mean.iter().position(|m| !m.is_finite()) {
            return Err(format!("mean {i} is {}", from.mean[i]));
        }
        if let Some(i) = from.std.iter().position(|s| !(s.is_finite() && *s > 0.0)) {
            return Err(format!("deviation {i} is {}, not a positive number", from.std[i]));
        }
        Ok(Self { mean: from.mean, std: from.std })
    }
}

impl Normaliser {
    /// Leaves observations of `width` columns as they are.
    pub fn identity(width: usize) -> Self {
        Self { mean: vec![0.0; width], std: vec![1.0; width] }
    }

    /// The statistics of `obs`, `[rows, obs]`: the deviation is that of the population (divided by *n*, not *n − 1*).
    ///
    /// # Panics
    /// If there is no row, or the scale is not positive: a column that never varies would be divided by zero.
    pub fn fit(obs: ArrayView2<'_, Real>, scale: Scale) -> Self {
        let (rows, width) = obs.dim();
        assert!(rows > 0, "Normaliser::fit: no rows");
        let (Scale::AtLeast(least) | Scale::Plus(least)) = scale;
        assert!(least > 0.0, "Normaliser::fit: {scale:?} does not keep from dividing by zero");
        // Two passes in double precision, in row order: positions far from zero with small deviations stay exact.
        let (mut mean, mut square) = (vec![0.0f64; width], vec![0.0f64; width]);
        for row in obs.rows() {
            mean.iter_mut().zip(row).for_each(|(m, &x)| *m += x as f64);
        }
        mean.iter_mut().for_each(|m| *m /= rows as f64);
        for row in obs.rows() {
            for ((s, m), &x) in square.iter_mut().zip(&mean).zip(row) {
                *s += (x as f64 - m) * (x as f64 - m);
            }
        }
        let std = square.iter().map(|s| {
            let std = (s / rows as f64).sqrt() as Real;
            match scale {
                Scale::AtLeast(floor) => std.max(floor),
                Scale::Plus(epsilon) => std + epsilon,
            }
        });
        Self { std: std.collect(), mean: mean.into_iter().map(|m| m as Real).collect() }
    }

    /// What is subtracted, `[obs]`.
    pub fn mean(&self) -> &[Real] {
        &self.mean
    }

    /// What is divided by, `[obs]`, positive.
    pub fn std(&self) -> &[Real] {
        &self.std
    }

    /// Normalises `obs`, `[rows, obs]`, in place.
    pub fn apply(&self, mut obs: ArrayViewMut2<'_, Real>) {
        self.assert_width("apply", obs.ncols());
        for mut row in obs.rows_mut() {
            row.iter_mut().zip(&self.mean).zip(&self.std).for_each(|((x, m), s)| *x = (*x - m) / s);
        }
    }

    /// Undoes [`apply`](Normaliser::apply), up to rounding.
    pub fn invert(&self, mut obs: ArrayViewMut2<'_, Real>) {
        self.assert_width("invert", obs.ncols());
        for mut row in obs.rows_mut() {
            row.iter_mut().zip(&self.mean).zip(&self.std).for_each(|((x, m), s)| *x = *x * s + m);
        }
    }

    /// Normalises both observations of every transition in place.
    pub fn apply_to_transitions(&self, columns: &mut Transitions) {
        let shape = (columns.len(), columns.spec().obs);
        for column in [Column::Obs, Column::NextObs] {
            let values = columns.values_mut(column);
            self.apply(ArrayViewMut2::from_shape(shape, values).expect("columns are dense"));
        }
    }

    fn assert_width(&self, what: &str, width: usize) {
        let own = self.mean.len();
        assert_eq!(width, own, "Normaliser::{what}: observations of width {width}, statistics of width {own}");
    }
}

impl State for Normaliser {
    fn visit(&mut self, f: &mut dyn FnMut(&str, Slot<'_>)) {
        let width = self.mean.len();
        f("mean", Slot::Tensor(&[width], &mut self.mean));
        f("std", Slot::Tensor(&[width], &mut self.std));
    }
}
