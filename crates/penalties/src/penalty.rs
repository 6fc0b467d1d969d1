use backcast_core::{Prediction, Real};
use ndarray::ArrayView2;

// ANCHOR: penalty
/// u(s, a) ≥ 0 per row, from what an ensemble predicts there. Imagination stores r̂ − λ·u.
///
/// The numbers of two penalties are not comparable: λ must be tuned for each.
pub trait Penalty: Send {
    /// Writes u, `[rows]`, for every row of `p`, `[members, rows, cols]`, reward in column 0.
    ///
    /// `outcome`, `[rows, cols]`, is what was drawn from the prediction and will be stored; only measures that judge one
    /// outcome look at it, such as [`LogLikelihoodVariance`](crate::LogLikelihoodVariance).
    ///
    /// # Panics
    /// If `out` is not as long as `p` has rows, or `outcome` is of another shape than a member's prediction.
    fn penalty(&mut self, p: Prediction<'_>, outcome: ArrayView2<'_, Real>, out: &mut [Real]);

    /// Whether [`penalty`](Penalty::penalty) needs to be asked. If not, imagination evaluates only the member it draws for each
    /// row, which is several times faster.
    fn is_zero(&self) -> bool {
        false
    }
}
// ANCHOR_END: penalty

/// u = 0, for algorithms that are pessimistic by themselves, such as COMBO and ROMI.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct NoPenalty;

impl Penalty for NoPenalty {
    fn penalty(&mut self, p: Prediction<'_>, outcome: ArrayView2<'_, Real>, out: &mut [Real]) {
        check("NoPenalty", p, outcome, out);
        out.fill(0.0);
    }

    fn is_zero(&self) -> bool {
        true
    }
}

/// A boxed penalty is a penalty.
impl<P: Penalty + ?Sized> Penalty for Box<P> {
    fn penalty(&mut self, p: Prediction<'_>, outcome: ArrayView2<'_, Real>, out: &mut [Real]) {
        (**self).penalty(p, outcome, out);
    }

    fn is_zero(&self) -> bool {
        (**self).is_zero()
    }
}

/// The larger of both, or NaN if either is: a penalty must not hide a model that has gone astray.
pub(crate) fn larger(a: Real, b: Real) -> Real {
    if a.is_nan() || a > b { a } else { b }
}

/// Mean and variance, that of a population (divided by *n*), in two passes: what cancels was exact before. NaN stays NaN.
pub(crate) fn moments(values: impl Iterator<Item = f64> + Clone) -> [f64; 2] {
    let n = values.clone().count() as f64;
    let mean = values.clone().sum::<f64>() / n;
    [mean, values.map(|x| (x - mean).powi(2)).sum::<f64>() / n]
}

/// The first column that is a state: the reward stands first.
pub(crate) const STATES: usize = 1;

pub(crate) fn check(name: &str, p: Prediction<'_>, outcome: ArrayView2<'_, Real>, out: &[Real]) {
    let (_, rows, cols) = p.mean.dim();
    assert!(
        p.mean.dim() == p.std.dim() && out.len() == rows && outcome.dim() == (rows, cols),
        "{name}: {} numbers and an outcome of {:?} for a prediction of mean {:?} and std {:?}",
        out.len(),
        outcome.dim(),
        p.mean.dim(),
        p.std.dim()
    );
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use ndarray::{Array3, Axis};

    /// u of a prediction whose outcome is the mean of member 0.
    pub(crate) fn ask(penalty: &mut dyn Penalty, mean: &Array3<Real>, std: &Array3<Real>) -> Vec<Real> {
        let mut out = vec![9.0; mean.dim().1];
        let p = Prediction { mean: mean.view(), std: std.view() };
        penalty.penalty(p, mean.index_axis(Axis(0), 0), &mut out);
        out
    }

    #[test]
    fn no_penalty_is_zero_and_says_so() {
        let x = Array3::from_elem((2, 3, 1), 9.0);
        assert_eq!(ask(&mut NoPenalty, &x, &x), [0.0; 3]);
        assert!(NoPenalty.is_zero() && Box::<dyn Penalty>::from(Box::new(NoPenalty)).is_zero());
    }

    #[test]
    fn the_larger_does_not_hide_nan() {
        assert_eq!((larger(1.0, 2.0), larger(2.0, 1.0)), (2.0, 2.0));
        assert!(larger(Real::NAN, 1.0).is_nan() && larger(1.0, Real::NAN).is_nan());
    }

    #[test]
    fn moments_are_those_of_a_population() {
        assert_eq!(moments([1.0, 3.0].into_iter()), [2.0, 1.0]);
        assert!(moments([1.0, f64::NAN].into_iter())[1].is_nan());
    }

    #[test]
    #[should_panic(expected = "NoPenalty: 2 numbers and an outcome of (3, 1) for a prediction of mean (2, 3, 1)")]
    fn a_wrong_length_is_named() {
        let x = Array3::zeros((2, 3, 1));
        let p = Prediction { mean: x.view(), std: x.view() };
        NoPenalty.penalty(p, x.index_axis(Axis(0), 0), &mut [0.0; 2]);
    }
}
