//! Values that no policy can have: the first sign of an algorithm that believes its own inventions.

use backcast_core::{Column, Transitions};

/// The discounted returns that a dataset's rewards can add up to.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct ReturnBounds {
    low: f64,
    high: f64,
    gamma: f64,
    /// Whether values may be as low as they like: an algorithm that is charged for uncertainty has no least reward.
    charged: bool,
}

impl ReturnBounds {
    /// Of episodes of any length whose every reward is one of the dataset's: *min(r, 0)/(1 − γ)* to *max(r, 0)/(1 − γ)*. None where
    /// that is no bound. Of an algorithm that is `charged` for its uncertainty only the upper bound is one.
    pub(crate) fn of(rows: &Transitions, gamma: Option<f64>, charged: bool) -> Option<Self> {
        let gamma = gamma.filter(|gamma| (0.0..1.0).contains(gamma))?;
        let rewards = rows.values(Column::Reward).iter().map(|&r| r as f64);
        let (least, most) = rewards.fold((0.0_f64, 0.0_f64), |(low, high), r| (low.min(r), high.max(r)));
        let (low, high) = (least / (1.0 - gamma), most / (1.0 - gamma));
        (low < high).then_some(Self { low, high, gamma, charged })
    }

    /// What is to be said of a mean value `q`, if it is further outside than the whole range is wide: rewards of entropy account
    /// for less than that.
    pub(crate) fn complaint(&self, q: f64, update: u64) -> Option<String> {
        let Self { low, high, gamma, charged } = *self;
        let span = high - low;
        let (bound, side) = match q {
            q if q > high + span => (high, "most"),
            q if q < low - span && !charged => (low, "least"),
            _ => return None,
        };
        Some(format!(
            "its critics' mean value is {q:.1} at update {update}; the {side} that this dataset's rewards can add up to is {bound:.1} \
             (γ = {gamma}): they diverge"
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use backcast_core::Spec;

    #[test]
    fn only_what_no_policy_can_earn_is_complained_of() {
        let mut rows = Transitions::new(Spec::new(1, 1));
        for reward in [-1.0, 0.5, 2.0] {
            rows.push(&[0.0], &[0.0], reward, &[0.0], false);
        }
        let bounds = ReturnBounds::of(&rows, Some(0.9), false).expect("a range");
        // From −10 to 20, and as much again on either side.
        for fine in [0.0, 20.0, 49.0, -39.0] {
            assert_eq!(bounds.complaint(fine, 1), None, "{fine}");
        }
        assert!(bounds.complaint(51.0, 7).expect("too much").contains("at update 7; the most"));
        assert!(bounds.complaint(-41.0, 7).expect("too little").contains("the least"));
        let charged = ReturnBounds::of(&rows, Some(0.9), true).expect("a range");
        assert!(charged.complaint(-1e6, 7).is_none() && charged.complaint(51.0, 7).is_some());
        assert_eq!(ReturnBounds::of(&rows, Some(1.0), false), None);
        assert_eq!(ReturnBounds::of(&rows, None, false), None);
        assert_eq!(ReturnBounds::of(&Transitions::new(Spec::new(1, 1)), Some(0.9), false), None);
    }
}
