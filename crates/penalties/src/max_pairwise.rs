use crate::{
    Penalty,
    penalty::{check, larger},
};
use backcast_core::{Prediction, Real};
use serde::{Deserialize, Serialize};

/// u(s, a) = max over i < j of ‖μᵢ(s, a) − μⱼ(s, a)‖₂: how much the members contradict each other.
///
/// The discrepancy of MOReL (Kidambi et al., arXiv:2005.05951, definition 3). It runs over all output columns; MOReL itself
/// knows the reward and so compares states alone: [`states_only`](MaxPairwise::states_only) leaves column 0 out.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct MaxPairwise {
    /// Leave the reward, column 0, out of the norm.
    pub states_only: bool,
}

impl Penalty for MaxPairwise {
    fn penalty(&self, p: Prediction<'_>, out: &mut [Real]) {
        check("MaxPairwise", p, out);
        let (members, rows, cols) = p.mean.dim();
        let first = self.states_only as usize;
        for (row, u) in out.iter_mut().enumerate().take(rows) {
            let mut largest: Real = 0.0;
            for i in 0..members {
                for j in 0..i {
                    let square = |c| (p.mean[[i, row, c]] - p.mean[[j, row, c]]).powi(2);
                    largest = larger(largest, (first..cols).map(square).sum());
                }
            }
            *u = largest.sqrt();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ndarray::array;

    #[test]
    fn it_is_the_largest_distance_between_two_means() {
        // Row 0: the distances are 5 (members 0 and 1), 1 (0 and 2) and √(9 + 9) (1 and 2). Row 1: all agree.
        let mean = array![[[0.0, 0.0], [7.0, 7.0]], [[3.0, 4.0], [7.0, 7.0]], [[0.0, 1.0], [7.0, 7.0]]];
        let p = Prediction { mean: mean.view(), std: mean.view() };
        let mut u = [9.0; 2];
        MaxPairwise::default().penalty(p, &mut u);
        assert_eq!(u, [5.0, 0.0]);
        MaxPairwise { states_only: true }.penalty(p, &mut u);
        assert_eq!(u, [4.0, 0.0]);
    }

    #[test]
    fn one_member_never_contradicts_itself() {
        let mean = array![[[1.0, 2.0]]];
        let mut u = [9.0];
        MaxPairwise::default().penalty(Prediction { mean: mean.view(), std: mean.view() }, &mut u);
        assert_eq!(u, [0.0]);
    }
}
