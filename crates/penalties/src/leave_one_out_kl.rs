use crate::{Penalty, penalty::check};
use backcast_core::{Prediction, Real};
use ndarray::ArrayView2;

/// u(s, a) = (1/N) Σᵢ KL(pᵢ ‖ p₋ᵢ), p₋ᵢ the Gaussian with the mean and variance of the mixture of all members but i.
///
/// "Revisiting Design Choices in Offline Model-Based Reinforcement Learning" (Lu et al., ICLR 2022), which names a measure of
/// this kind; from memory, not verified. There one member is left out, drawn at random; the mean over all is what that draw
/// has on average, without its noise. All output columns. 0 with one member: there is nobody to differ from.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LeaveOneOutKl;

impl Penalty for LeaveOneOutKl {
    // ANCHOR: leave_one_out_kl
    fn penalty(&mut self, p: Prediction<'_>, outcome: ArrayView2<'_, Real>, out: &mut [Real]) {
        check("LeaveOneOutKl", p, outcome, out);
        let (members, _, cols) = p.mean.dim();
        if members < 2 {
            return out.fill(0.0);
        }
        let others = (members - 1) as f64;
        for (row, u) in out.iter_mut().enumerate() {
            let (mut sum, at) = (0.0, |i: usize, c: usize| [p.mean[[i, row, c]] as f64, p.std[[i, row, c]] as f64]);
            for i in 0..members {
                for c in 0..cols {
                    let [mu, std] = at(i, c);
                    let (mut first, mut second) = (0.0, 0.0);
                    for [m, s] in (0..members).filter(|&j| j != i).map(|j| at(j, c)) {
                        // Means measured from member i's: the moments do not cancel.
                        first += (m - mu) / others;
                        second += (s * s + (m - mu) * (m - mu)) / others;
                    }
                    let variance = second - first * first;
                    sum += 0.5 * (variance.ln() + (std * std + first * first) / variance - 1.0) - std.ln();
                }
            }
            *u = (sum / members as f64) as Real;
        }
    }
    // ANCHOR_END: leave_one_out_kl
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::penalty::tests::ask;
    use approx::assert_abs_diff_eq;
    use ndarray::array;

    #[test]
    fn it_is_the_mean_divergence_from_the_others() {
        // Two members, one column: each other's KL. KL(N(0, 1) ‖ N(2, 1)) = 2 both ways.
        let (mean, std) = (array![[[0.0]], [[2.0]]], array![[[1.0]], [[1.0]]]);
        assert_eq!(ask(&mut LeaveOneOutKl, &mean, &std), [2.0]);
        // Variances 1 and 4, equal means: ½(ln 4 + ¼ − 1) and ½(−ln 4 + 4 − 1), half their sum is 9/16.
        let (mean, std) = (array![[[0.0]], [[0.0]]], array![[[1.0]], [[2.0]]]);
        let u = ask(&mut LeaveOneOutKl, &mean, &std);
        assert_abs_diff_eq!(u[0], 0.5625, epsilon = 1e-6);
        // Three: without 0 the others have mean 2 and variance 1 + 1; without 1, mean ½·3 and 1 + 9/4; without 2, ½ and 5/4.
        let (mean, std) = (array![[[0.0]], [[1.0]], [[3.0]]], array![[[1.0]], [[1.0]], [[1.0]]]);
        let kl = |m: f64, v: f64| 0.5 * (v.ln() + (1.0 + m * m) / v - 1.0);
        let want = (kl(2.0, 2.0) + kl(0.5, 3.25) + kl(2.5, 1.25)) / 3.0;
        let u = ask(&mut LeaveOneOutKl, &mean, &std);
        assert_abs_diff_eq!(u[0] as f64, want, epsilon = 1e-6);
    }

    #[test]
    fn a_member_alone_has_nobody_to_differ_from() {
        let x = array![[[1.0, 2.0]]];
        assert_eq!(ask(&mut LeaveOneOutKl, &x, &x), [0.0]);
    }
}
