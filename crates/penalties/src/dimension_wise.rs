use crate::{Penalty, penalty::check};
use backcast_core::{Prediction, Real};
use ndarray::ArrayView2;

/// u(s, a) = √(Σ_d (maxᵢ μᵢ,_d − minᵢ μᵢ,_d)²): the diagonal of the smallest box that holds every member's mean.
///
/// Ours; no published source is known. Never below [`MaxPairwise`](crate::MaxPairwise) over the same columns, which it replaces
/// at a cost that grows with the members instead of their pairs. Over all output columns, the reward included.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct DimensionWise;

impl Penalty for DimensionWise {
    // ANCHOR: dimension_wise
    fn penalty(&mut self, p: Prediction<'_>, outcome: ArrayView2<'_, Real>, out: &mut [Real]) {
        check("DimensionWise", p, outcome, out);
        let (members, _, cols) = p.mean.dim();
        for (row, u) in out.iter_mut().enumerate() {
            let range = |c| {
                let (mut low, mut high) = (p.mean[[0, row, c]], p.mean[[0, row, c]]);
                for i in 1..members {
                    let x = p.mean[[i, row, c]];
                    // Comparisons with NaN are false: once it is there it stays.
                    (low, high) = if x.is_nan() {
                        (x, x)
                    } else {
                        (if x < low { x } else { low }, if x > high { x } else { high })
                    };
                }
                high - low
            };
            *u = (0..cols).map(|c| range(c).powi(2)).sum::<Real>().sqrt();
        }
    }
    // ANCHOR_END: dimension_wise
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{MaxPairwise, penalty::tests::ask};
    use backcast_core::{Key, Normal};
    use ndarray::array;

    #[test]
    fn it_is_the_diagonal_of_the_box_around_the_means() {
        let mean = array![[[0.0, 0.0]], [[3.0, 1.0]], [[1.0, 4.0]]];
        assert_eq!(ask(&mut DimensionWise, &mean, &mean), [5.0]);
    }

    #[test]
    fn it_is_never_below_the_largest_distance() {
        let mean = Key::new(1).array((5, 100, 3), Normal::default());
        let pairs = ask(&mut MaxPairwise::default(), &mean, &mean);
        let boxes = ask(&mut DimensionWise, &mean, &mean);
        assert!(boxes.iter().zip(&pairs).all(|(b, p)| b >= p), "{boxes:?} {pairs:?}");
        assert!(boxes.iter().zip(&pairs).any(|(b, p)| *b > 1.01 * p), "{boxes:?} {pairs:?}");
    }
}
