use crate::{
    Penalty,
    penalty::{check, moments},
};
use backcast_core::{Prediction, Real};
use ndarray::ArrayView2;

/// u(s, a) = Varᵢ[ln pᵢ(r, s′ ∣ s, a)] of the drawn outcome: how differently likely the members find what was imagined.
///
/// "Revisiting Design Choices in Offline Model-Based Reinforcement Learning" (Lu et al., ICLR 2022); from memory, not verified.
/// All members, all output columns, the variance of a population. It depends on the draw: two samples at one state and action
/// have different penalties. Narrow Gaussians make it very large; compare ranks or tune λ over decades.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LogLikelihoodVariance;

impl Penalty for LogLikelihoodVariance {
    // ANCHOR: log_likelihood_variance
    fn penalty(&mut self, p: Prediction<'_>, outcome: ArrayView2<'_, Real>, out: &mut [Real]) {
        check("LogLikelihoodVariance", p, outcome, out);
        let (members, _, cols) = p.mean.dim();
        for (row, u) in out.iter_mut().enumerate() {
            // Without −½ ln 2π per column, which all members share.
            let log_likelihood = |i| {
                let column = |c| {
                    let std = p.std[[i, row, c]] as f64;
                    let z = (outcome[[row, c]] as f64 - p.mean[[i, row, c]] as f64) / std;
                    -0.5 * z * z - std.ln()
                };
                (0..cols).map(column).sum::<f64>()
            };
            *u = moments((0..members).map(log_likelihood))[1] as Real;
        }
    }
    // ANCHOR_END: log_likelihood_variance
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::penalty::tests::ask;
    use approx::assert_abs_diff_eq;
    use ndarray::array;

    #[test]
    fn it_is_the_variance_of_the_log_likelihoods_of_the_outcome() {
        let (mean, std) = (array![[[0.0, 0.0]], [[2.0, 0.0]]], array![[[1.0, 1.0]], [[1.0, 1.0]]]);
        // The outcome is member 0's mean: log-likelihoods 0 and −2 (beside constants), variance 1.
        assert_eq!(ask(&mut LogLikelihoodVariance, &mean, &std), [1.0]);
        // Half-way between the two, both find it equally likely.
        let (mut u, half) = ([9.0], array![[1.0, 0.0]]);
        LogLikelihoodVariance.penalty(Prediction { mean: mean.view(), std: std.view() }, half.view(), &mut u);
        assert_eq!(u, [0.0]);
        // Equal means, deviations 1 and e: the constants of the densities differ by 1, the variance is ¼.
        let (mean, std) = (array![[[0.0]], [[0.0]]], array![[[1.0]], [[std::f32::consts::E as Real]]]);
        let u = ask(&mut LogLikelihoodVariance, &mean, &std);
        assert_abs_diff_eq!(u[0], 0.25, epsilon = 1e-6);
    }
}
