use crate::{
    Penalty,
    penalty::{check, moments},
};
use backcast_core::{Prediction, Real};
use ndarray::ArrayView2;
use serde::{Deserialize, Serialize};

/// How wide the whole ensemble is, read as one mixture of Gaussians: by the law of total variance
/// v(s, a) = (1/N) Σᵢ (σᵢ² + μᵢ²) − μ̄² per output column, noise and contradiction together.
///
/// "Revisiting Design Choices in Offline Model-Based Reinforcement Learning" (Lu et al., ICLR 2022); that it is meant over all
/// members and all output columns, the reward included, and then as a norm, is from memory and not verified.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Mixture {
    /// u = ‖√v‖₂ = √(Σ_d v_d).
    #[default]
    Std,
    /// u = ‖v‖₂.
    Variance,
}

impl Penalty for Mixture {
    // ANCHOR: mixture
    fn penalty(&mut self, p: Prediction<'_>, outcome: ArrayView2<'_, Real>, out: &mut [Real]) {
        check("Mixture", p, outcome, out);
        let (members, _, cols) = p.mean.dim();
        for (row, u) in out.iter_mut().enumerate() {
            let total = |c| {
                // (1/N) Σ μᵢ² − μ̄² is the variance of the means, which in this form does not cancel.
                let noise = (0..members).map(|i| (p.std[[i, row, c]] as f64).powi(2)).sum::<f64>() / members as f64;
                noise + moments((0..members).map(|i| p.mean[[i, row, c]] as f64))[1]
            };
            let sum: f64 = match self {
                Self::Std => (0..cols).map(total).sum(),
                Self::Variance => (0..cols).map(|c| total(c).powi(2)).sum(),
            };
            *u = sum.sqrt() as Real;
        }
    }
    // ANCHOR_END: mixture
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::penalty::tests::ask;
    use approx::assert_abs_diff_eq;
    use ndarray::array;

    #[test]
    fn it_adds_noise_and_contradiction() {
        // Column 0: σ² = 1 and 9, mean 5; means 0 and 4, variance 4: v = 9. Column 1: σ² = 4 twice, means equal: v = 4.
        let (mean, std) = (array![[[0.0, 7.0]], [[4.0, 7.0]]], array![[[1.0, 2.0]], [[3.0, 2.0]]]);
        let u = ask(&mut Mixture::Std, &mean, &std);
        assert_abs_diff_eq!(u[0], 13f32.sqrt() as Real, epsilon = 1e-6);
        let u = ask(&mut Mixture::Variance, &mean, &std);
        assert_abs_diff_eq!(u[0], 97f32.sqrt() as Real, epsilon = 1e-5);
    }

    #[test]
    fn means_far_from_zero_do_not_cancel() {
        let (mean, std) = (array![[[30_000.0]], [[30_000.5]]], array![[[0.0]], [[0.0]]]);
        assert_eq!(ask(&mut Mixture::Std, &mean, &std), [0.25]);
    }
}
