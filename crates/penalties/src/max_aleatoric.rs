use crate::{
    Penalty,
    penalty::{check, larger},
};
use backcast_core::{Prediction, Real};
use ndarray::ArrayView2;

/// u(s, a) = maxᵢ ‖σᵢ(s, a)‖₂: the loudest member's own estimate of the noise.
///
/// MOPO (Yu et al., arXiv:2005.13239, §4.3). As in the authors' code the norm runs over **all** output columns, the reward
/// included, and the maximum over **all** members, elite or not; so u grows with √cols, and λ belongs to one layout.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct MaxAleatoric;

impl Penalty for MaxAleatoric {
    // ANCHOR: max_aleatoric
    fn penalty(&mut self, p: Prediction<'_>, outcome: ArrayView2<'_, Real>, out: &mut [Real]) {
        check("MaxAleatoric", p, outcome, out);
        out.fill(0.0);
        for member in p.std.outer_iter() {
            for (u, row) in out.iter_mut().zip(member.rows()) {
                *u = larger(*u, row.iter().map(|s| s * s).sum());
            }
        }
        // The root is monotone: one per row instead of one per member.
        out.iter_mut().for_each(|u| *u = u.sqrt());
    }
    // ANCHOR_END: max_aleatoric
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::penalty::tests::ask;
    use approx::abs_diff_eq;
    use ndarray::array;

    #[test]
    fn it_is_the_largest_norm_over_members_and_all_columns() {
        let mean = ndarray::Array3::zeros((2, 2, 2));
        let std = array![[[3.0, 4.0], [1.0, 0.0]], [[1.0, 1.0], [0.6, 0.8]]];
        let u = ask(&mut MaxAleatoric, &mean, &std);
        assert_eq!(u[0], 5.0);
        assert!(abs_diff_eq!(u[1], 1.0, epsilon = 1e-6), "{u:?}");
        // The reward's deviation, column 0, counts: without it row 1 would be 0.8.
        let std = array![[[0.0, 4.0], [0.0, 0.8]]];
        let u = ask(&mut MaxAleatoric, &std, &std);
        assert!(abs_diff_eq!(u[0], 4.0, epsilon = 1e-6) && abs_diff_eq!(u[1], 0.8, epsilon = 1e-6), "{u:?}");
    }
}
