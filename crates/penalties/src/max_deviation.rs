use crate::{
    Penalty,
    penalty::{STATES, check},
};
use backcast_core::{Prediction, Real};
use ndarray::ArrayView2;

/// u(s, a) = maxᵢ ‖μᵢˢ(s, a) − μ̄ˢ(s, a)‖₂, μ̄ the mean of the members, over the state columns alone.
///
/// MOPO's code has it for models without learnt variances; OfflineRL-Kit calls it `pairwise-diff`, although no two members are
/// compared: it lies between half of [`MaxPairwise`](crate::MaxPairwise) over states and that. All members count, elite or not.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct MaxDeviation;

impl Penalty for MaxDeviation {
    // ANCHOR: max_deviation
    fn penalty(&mut self, p: Prediction<'_>, outcome: ArrayView2<'_, Real>, out: &mut [Real]) {
        check("MaxDeviation", p, outcome, out);
        let (members, _, cols) = p.mean.dim();
        for (row, u) in out.iter_mut().enumerate() {
            let mu = |i: usize, c: usize| p.mean[[i, row, c]] as f64;
            let mean = |c| (0..members).map(|i| mu(i, c)).sum::<f64>() / members as f64;
            let distance = |i| (STATES..cols).map(|c| (mu(i, c) - mean(c)).powi(2)).sum::<f64>();
            let largest = (0..members).map(distance).fold(0.0f64, |a, b| if a.is_nan() || a > b { a } else { b });
            *u = largest.sqrt() as Real;
        }
    }
    // ANCHOR_END: max_deviation
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::penalty::tests::ask;
    use approx::abs_diff_eq;
    use ndarray::array;

    #[test]
    fn it_is_the_largest_distance_from_the_mean_state() {
        // Row 1: all agree on the state, not on the reward.
        let mean = array![
            [[5.0, 0.0, 0.0], [0.0, 2.0, 2.0]],
            [[0.0, 0.0, 4.0], [9.0, 2.0, 2.0]],
            [[0.0, 3.0, -4.0], [4.0, 2.0, 2.0]]
        ];
        let u = ask(&mut MaxDeviation, &mean, &mean);
        // (0, 0), (0, 4), (3, −4) have mean (1, 0): distances 1, √17, √20.
        assert!(abs_diff_eq!(u[0], 20f32.sqrt() as Real, epsilon = 1e-6) && u[1] == 0.0, "{u:?}");
    }
}
