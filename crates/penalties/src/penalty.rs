use backcast_core::{Prediction, Real};

/// u(s, a) ≥ 0 per row, from what an ensemble predicts there. Imagination stores r̂ − λ·u.
///
/// The numbers of two penalties are not comparable: λ must be tuned for each.
pub trait Penalty: Send {
    /// Writes u, `[rows]`, for every row of `p`, `[members, rows, cols]`, reward in column 0.
    ///
    /// # Panics
    /// If `out` is not as long as `p` has rows.
    fn penalty(&self, p: Prediction<'_>, out: &mut [Real]);

    /// Whether [`penalty`](Penalty::penalty) needs to be asked. If not, imagination evaluates only the member it draws for each
    /// row, which is several times faster.
    fn is_zero(&self) -> bool {
        false
    }
}

/// u = 0, for learners that are pessimistic by themselves, such as COMBO and ROMI.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct NoPenalty;

impl Penalty for NoPenalty {
    fn penalty(&self, p: Prediction<'_>, out: &mut [Real]) {
        check("NoPenalty", p, out);
        out.fill(0.0);
    }

    fn is_zero(&self) -> bool {
        true
    }
}

/// A boxed penalty is a penalty.
impl<P: Penalty + ?Sized> Penalty for Box<P> {
    fn penalty(&self, p: Prediction<'_>, out: &mut [Real]) {
        (**self).penalty(p, out);
    }

    fn is_zero(&self) -> bool {
        (**self).is_zero()
    }
}

/// The larger of both, or NaN if either is: a penalty must not hide a model that has gone astray.
pub(crate) fn larger(a: Real, b: Real) -> Real {
    if a.is_nan() || a > b { a } else { b }
}

pub(crate) fn check(name: &str, p: Prediction<'_>, out: &[Real]) {
    assert!(
        p.mean.dim() == p.std.dim() && out.len() == p.mean.dim().1,
        "{name}: {} numbers for a prediction of mean {:?} and std {:?}",
        out.len(),
        p.mean.dim(),
        p.std.dim()
    );
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_penalty_is_zero_and_says_so() {
        let x = ndarray::Array3::from_elem((2, 3, 1), 9.0);
        let mut out = [1.0; 3];
        NoPenalty.penalty(Prediction { mean: x.view(), std: x.view() }, &mut out);
        assert_eq!(out, [0.0; 3]);
        assert!(NoPenalty.is_zero() && Box::<dyn Penalty>::from(Box::new(NoPenalty)).is_zero());
    }

    #[test]
    fn the_larger_does_not_hide_nan() {
        assert_eq!((larger(1.0, 2.0), larger(2.0, 1.0)), (2.0, 2.0));
        assert!(larger(Real::NAN, 1.0).is_nan() && larger(1.0, Real::NAN).is_nan());
    }

    #[test]
    #[should_panic(expected = "NoPenalty: 2 numbers for a prediction of mean (2, 3, 1)")]
    fn a_wrong_length_is_named() {
        let x = ndarray::Array3::zeros((2, 3, 1));
        NoPenalty.penalty(Prediction { mean: x.view(), std: x.view() }, &mut [0.0; 2]);
    }
}
