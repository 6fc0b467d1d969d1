//! Where uncertainty becomes ignorance: the detector of MOReL's pessimistic MDP, set from data.

use crate::Penalty;
use backcast_core::{
    Column, ConfigError, Direction, Domain, Dynamics, Key, Kind, Policy, Real, Transitions, Value, quantile,
};
use ndarray::{ArrayView2, ArrayViewMut2};
use serde::{Deserialize, Serialize};

/// Rows predicted at once. Fixed: the draws are numbered tile by tile, and memory does not grow with the dataset.
const TILE: usize = 2048;

// ANCHOR: rule
/// How to find the threshold above which a state and action count as unknown, from the u of recorded rows.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ThresholdRule {
    /// The q-quantile, such as 0.99: on **held-out** rows the rule to choose, since it is no outlier and does not grow with
    /// the dataset.
    Quantile(Real),
    /// mean + β·deviation: MOReL's paper (arXiv:2005.05951), β tuned for each task; from memory, not verified.
    Deviations(Real),
    /// max / c: MOReL's released code, c = 3 in its configuration for D4RL's hopper-medium, 0.5 in that of hopper-v3.
    MaxOver(Real),
}
// ANCHOR_END: rule

/// The largest 1 % of held-out rows are unknown.
impl Default for ThresholdRule {
    fn default() -> Self {
        Self::Quantile(0.99)
    }
}

impl Value for ThresholdRule {
    fn kind() -> Kind {
        Kind::Other
    }

    fn check_in(&self, _: Domain, _: &'static str) -> Result<(), ConfigError> {
        self.check()
    }
}

/// Numbers that no threshold can be found from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ThresholdError {
    /// There was no row.
    #[error("a threshold needs at least one row")]
    NoRows,
    /// NaN or an infinity.
    #[error("the penalty of row {row} is not finite")]
    NotFinite {
        /// The row.
        row: usize,
    },
}

impl ThresholdRule {
    /// Whether its number makes sense.
    ///
    /// # Errors
    /// What it must be instead.
    pub fn check(&self) -> Result<(), ConfigError> {
        match *self {
            Self::Quantile(q) => ConfigError::unless((0.0..=1.0).contains(&q), "quantile", "must lie in [0, 1]"),
            Self::Deviations(b) => ConfigError::unless(b.is_finite(), "deviations", "must be finite"),
            Self::MaxOver(c) => ConfigError::unless(c > 0.0 && c.is_finite(), "max_over", "must be positive"),
        }
    }

    /// The threshold by this rule for `u`, one number per row.
    ///
    /// # Errors
    /// If there is no number or one is not finite.
    ///
    /// ```
    /// use backcast_penalties::ThresholdRule::{Deviations, MaxOver, Quantile};
    /// let u = [1.0, 3.0, 1.0, 3.0];
    /// assert_eq!(Quantile(0.5).threshold(&u)?, 2.0);
    /// assert_eq!(Deviations(2.0).threshold(&u)?, 4.0); // mean 2, deviation 1
    /// assert_eq!(MaxOver(3.0).threshold(&u)?, 1.0);
    /// # Ok::<(), backcast_penalties::ThresholdError>(())
    /// ```
    pub fn threshold(&self, u: &[Real]) -> Result<Real, ThresholdError> {
        if u.is_empty() {
            return Err(ThresholdError::NoRows);
        }
        if let Some(row) = u.iter().position(|u| !u.is_finite()) {
            return Err(ThresholdError::NotFinite { row });
        }
        Ok(match *self {
            Self::Quantile(q) => {
                let mut sorted = u.to_vec();
                sorted.sort_unstable_by(Real::total_cmp);
                quantile(&sorted, q.into())
            }
            Self::Deviations(beta) => {
                let [mean, variance] = crate::penalty::moments(u.iter().map(|&u| u as f64));
                (mean + beta as f64 * variance.sqrt()) as Real
            }
            Self::MaxOver(c) => u.iter().fold(Real::NEG_INFINITY, |most, &u| most.max(u)) / c,
        })
    }
}

/// The fraction of `u` that a detector with this threshold calls unknown: u > threshold, or NaN.
///
/// For rows of the dataset it is how much of what happened would have been halted; for the actions of a behaviour clone
/// ([`measure_policy`]), how often the clone would be: a usable threshold halts it in few of its steps. 0 of no rows.
pub fn halting_rate(u: &[Real], threshold: Real) -> f64 {
    let halted = u.iter().filter(|&&u| is_unknown(u, threshold)).count();
    halted as f64 / u.len().max(1) as f64
}

/// Whether `u` is beyond `threshold`. A model that says NaN does not know.
pub fn is_unknown(u: Real, threshold: Real) -> bool {
    u.is_nan() || u > threshold
}

/// u of every row of `data`, with the recorded actions, in one pass of fixed tiles.
///
/// To set a threshold give it rows the model was not trained on (`Fit::holdout` in `backcast-dynamics`): uncertainty about training
/// rows is smaller. Each row's outcome is a sample of an elite drawn by `key`, as in imagination.
///
/// # Panics
/// If the model is an inverse one or the widths differ.
pub fn measure(model: &mut dyn Dynamics, penalty: &mut dyn Penalty, data: &Transitions, key: Key) -> Vec<Real> {
    survey(model, penalty, data, None, key)
}

/// u of the actions that `policy` draws at every row's state (the one the model is given: *s* forwards, *s′* backwards).
///
/// # Panics
/// If the model is an inverse one or the widths differ.
pub fn measure_policy(
    model: &mut dyn Dynamics,
    penalty: &mut dyn Penalty,
    data: &Transitions,
    policy: &mut dyn Policy,
    key: Key,
) -> Vec<Real> {
    survey(model, penalty, data, Some(policy), key)
}

fn survey(
    model: &mut dyn Dynamics,
    penalty: &mut dyn Penalty,
    data: &Transitions,
    mut policy: Option<&mut dyn Policy>,
    key: Key,
) -> Vec<Real> {
    let (spec, direction) = (model.spec(), model.direction());
    assert_ne!(direction, Direction::Inverse, "measure: an inverse model predicts no state");
    assert!(
        (data.spec().obs, data.spec().act) == (spec.obs, spec.act),
        "measure: data of {:?} for a model of {spec:?}",
        data.spec()
    );
    let elites = model.elites().to_vec();
    let state = direction.split().given[0];
    let mut u = vec![0.0; data.len()];
    let (mut act, mut outcome) = (Vec::new(), Vec::new());
    for (tile, u) in u.chunks_mut(TILE).enumerate() {
        let (rows, key) = (u.len(), key.fold(tile as u64));
        let batch = data.rows(tile * TILE, rows);
        let states = batch.column(state);
        let p = match &mut policy {
            None => model.predict([states, batch.column(Column::Act)]),
            Some(policy) => {
                act.resize(rows * spec.act, 0.0);
                let shape = (rows, spec.act);
                policy.act(
                    states,
                    Some(key.name("action")),
                    ArrayViewMut2::from_shape(shape, &mut act).expect("dense"),
                );
                model.predict([states, ArrayView2::from_shape(shape, &act).expect("dense")])
            }
        };
        let cols = p.mean.dim().2;
        outcome.resize(rows * cols, 0.0);
        key.name("noise").normal(&mut outcome);
        for (row, outcome) in outcome.chunks_exact_mut(cols).enumerate() {
            let member = elites[key.name("member").below(elites.len(), row)];
            for (c, x) in outcome.iter_mut().enumerate() {
                *x = p.mean[[member, row, c]] + p.std[[member, row, c]] * *x;
            }
        }
        penalty.penalty(p, ArrayView2::from_shape((rows, cols), &outcome).expect("dense"), u);
    }
    u
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{LogLikelihoodVariance, MaxDeviation, MaxPairwise};
    use approx::assert_abs_diff_eq;
    use backcast_core::{Prediction, Slot, Spec, State};
    use ndarray::Array3;

    /// Two members whose states differ by |a| and who are both one step off; remembers the largest tile it was asked for.
    struct Pair {
        spec: Spec,
        mean: Array3<Real>,
        std: Array3<Real>,
        largest: usize,
    }

    impl Pair {
        fn new(spec: Spec) -> Self {
            Self { spec, mean: Array3::zeros((0, 0, 0)), std: Array3::zeros((0, 0, 0)), largest: 0 }
        }
    }

    impl State for Pair {
        fn visit(&mut self, _: &mut dyn FnMut(&str, Slot<'_>)) {}
    }

    impl Dynamics for Pair {
        fn spec(&self) -> Spec {
            self.spec
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
                0 => 0.0,
                _ => s[[row, 0]] + i as Real * a[[row, 0]].abs(),
            };
            self.mean = Array3::from_shape_fn((2, rows, 2), at);
            self.std = Array3::ones((2, rows, 2));
            Prediction { mean: self.mean.view(), std: self.std.view() }
        }
    }

    /// Actions of one size, whatever the state.
    struct Constant(Real);

    impl Policy for Constant {
        fn spec(&self) -> Spec {
            SPEC
        }
        fn act(&mut self, _: ArrayView2<'_, Real>, _: Option<Key>, mut act: ArrayViewMut2<'_, Real>) {
            act.fill(self.0);
        }
    }

    const SPEC: Spec = Spec::new(1, 1);

    fn dataset(rows: usize) -> Transitions {
        let mut dataset = Transitions::new(SPEC);
        (0..rows).for_each(|i| dataset.push(&[0.0], &[i as Real / rows as Real], 0.0, &[0.0], false));
        dataset
    }

    #[test]
    fn a_hundred_thousand_rows_go_through_in_tiles() {
        let (dataset, mut model) = (dataset(100_001), Pair::new(SPEC));
        let u = measure(&mut model, &mut MaxPairwise::default(), &dataset, Key::new(1));
        assert_eq!((u.len(), model.largest), (100_001, TILE));
        assert!((0..u.len()).all(|row| u[row] == dataset.row(Column::Act, row)[0]));
        let threshold = ThresholdRule::Quantile(0.99).threshold(&u).unwrap();
        assert_abs_diff_eq!(threshold, 0.99, epsilon = 1e-4);
        let rate = halting_rate(&u, threshold);
        assert_abs_diff_eq!(rate, 0.01, epsilon = 1e-4);
    }

    #[test]
    fn a_clone_is_measured_by_its_own_actions() {
        let (dataset, mut model) = (dataset(5000), Pair::new(SPEC));
        let mut ask = |size| measure_policy(&mut model, &mut MaxDeviation, &dataset, &mut Constant(size), Key::new(1));
        let (timid, bold) = (ask(0.5), ask(2.0));
        assert!(timid.len() == 5000 && timid.iter().all(|u| *u == 0.25) && bold.iter().all(|u| *u == 1.0));
        assert_eq!([&timid, &bold].map(|u| halting_rate(u, 0.5)), [0.0, 1.0]);
    }

    #[test]
    fn outcomes_are_drawn_by_the_key_alone() {
        let (dataset, mut model) = (dataset(TILE + 10), Pair::new(SPEC));
        let mut ask = |key| measure(&mut model, &mut LogLikelihoodVariance, &dataset, Key::new(key));
        let (a, again, b) = (ask(1), ask(1), ask(2));
        assert_eq!(a, again);
        assert_ne!(a, b);
    }

    #[test]
    fn rules_say_what_they_cannot_do() {
        let rule = ThresholdRule::default();
        assert_eq!(rule.threshold(&[]), Err(ThresholdError::NoRows));
        assert_eq!(rule.threshold(&[1.0, Real::NAN]), Err(ThresholdError::NotFinite { row: 1 }));
        assert_eq!(halting_rate(&[0.0, Real::NAN, 2.0, 1.0], 1.0), 0.5);
        assert_eq!(ThresholdRule::Quantile(1.0).threshold(&[2.0, 5.0, 1.0]), Ok(5.0));
        assert_eq!(ThresholdRule::Quantile(0.25).threshold(&[2.0, 5.0, 1.0]), Ok(1.5));
        for bad in [
            ThresholdRule::Quantile(1.1),
            ThresholdRule::Quantile(Real::NAN),
            ThresholdRule::Deviations(Real::INFINITY),
            ThresholdRule::MaxOver(0.0),
        ] {
            assert!(bad.check().is_err(), "{bad:?}");
        }
    }

    #[test]
    fn a_rule_is_one_word_and_a_number_in_a_file() {
        let rules = [
            (r#"{"quantile":0.5}"#, ThresholdRule::Quantile(0.5)),
            (r#"{"deviations":2.0}"#, ThresholdRule::Deviations(2.0)),
            (r#"{"max_over":3.0}"#, ThresholdRule::MaxOver(3.0)),
        ];
        for (text, rule) in rules {
            assert_eq!(serde_json::from_str::<ThresholdRule>(text).unwrap(), rule);
            assert_eq!(serde_json::to_string(&rule).unwrap(), text);
        }
    }
}
