use crate::{
    Penalty,
    penalty::{STATES, check, larger},
};
use backcast_core::{Prediction, Real};
use ndarray::ArrayView2;

/// u(s, a) = max over i < j of ‖μᵢ(s, a) − μⱼ(s, a)‖₂: how much the members contradict each other.
///
/// The discrepancy of MOReL (Kidambi et al., arXiv:2005.05951, definition 3). It runs over all output columns; MOReL itself
/// knows the reward and so compares states alone: [`states_only`](MaxPairwise::states_only) leaves column 0 out.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct MaxPairwise {
    /// Leave the reward, column 0, out of the norm.
    pub states_only: bool,
}

impl Penalty for MaxPairwise {
    // ANCHOR: max_pairwise
    fn penalty(&mut self, p: Prediction<'_>, outcome: ArrayView2<'_, Real>, out: &mut [Real]) {
        check("MaxPairwise", p, outcome, out);
        let (members, _, cols) = p.mean.dim();
        let first = if self.states_only { STATES } else { 0 };
        for (row, u) in out.iter_mut().enumerate() {
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
    // ANCHOR_END: max_pairwise
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::penalty::tests::ask;
    use ndarray::array;

    #[test]
    fn it_is_the_largest_distance_between_two_means() {
        // Row 0: the distances are 5 (members 0 and 1), 1 (0 and 2) and √(9 + 9) (1 and 2). Row 1: all agree.
        let mean = array![[[0.0, 0.0], [7.0, 7.0]], [[3.0, 4.0], [7.0, 7.0]], [[0.0, 1.0], [7.0, 7.0]]];
        assert_eq!(ask(&mut MaxPairwise::default(), &mean, &mean), [5.0, 0.0]);
        assert_eq!(ask(&mut MaxPairwise { states_only: true }, &mean, &mean), [4.0, 0.0]);
    }

    #[test]
    fn one_member_never_contradicts_itself() {
        let mean = array![[[1.0, 2.0]]];
        assert_eq!(ask(&mut MaxPairwise::default(), &mean, &mean), [0.0]);
    }
}
