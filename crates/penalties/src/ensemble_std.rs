use crate::{
    Penalty,
    penalty::{STATES, check, moments},
};
use backcast_core::{Prediction, Real};
use ndarray::ArrayView2;

/// u(s, a) = √(mean over state columns of Varᵢ[μᵢ(s, a)]): one number for how far the members' means spread.
///
/// OfflineRL-Kit's `ensemble_std`: the variance of a population (divided by the number of members), all members, the reward
/// left out. The mean over columns keeps it from growing with their number. "Revisiting Design Choices in Offline Model-Based
/// Reinforcement Learning" (Lu et al., ICLR 2022) reports that spreads of means follow the true error better than
/// [`MaxAleatoric`](crate::MaxAleatoric); from memory, not verified.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct EnsembleStd;

impl Penalty for EnsembleStd {
    // ANCHOR: ensemble_std
    fn penalty(&mut self, p: Prediction<'_>, outcome: ArrayView2<'_, Real>, out: &mut [Real]) {
        check("EnsembleStd", p, outcome, out);
        let (members, _, cols) = p.mean.dim();
        for (row, u) in out.iter_mut().enumerate() {
            let variance = |c| moments((0..members).map(|i| p.mean[[i, row, c]] as f64))[1];
            let sum: f64 = (STATES..cols).map(variance).sum();
            *u = (sum / (cols - STATES) as f64).sqrt() as Real;
        }
    }
    // ANCHOR_END: ensemble_std
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::penalty::tests::ask;
    use approx::assert_abs_diff_eq;
    use ndarray::array;

    #[test]
    fn it_is_the_root_of_the_mean_variance_of_states() {
        // States: variances 4 and 1 of two members, 2 and 4 apart; the reward, 100 apart, is left out.
        let mean = array![[[0.0, 0.0, 1.0]], [[100.0, 4.0, 3.0]]];
        let u = ask(&mut EnsembleStd, &mean, &mean);
        assert_abs_diff_eq!(u[0], 2.5f32.sqrt() as Real, epsilon = 1e-6);
        let agreed = array![[[0.0, 0.3, 1.0]], [[1.0, 0.3, 1.0]]];
        assert_eq!(ask(&mut EnsembleStd, &agreed, &mean), [0.0]);
    }
}
