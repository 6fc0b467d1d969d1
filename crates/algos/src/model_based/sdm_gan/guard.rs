//! What keeps the critics from following a loss that explodes.

use backcast_core::{Real, Slot, State};

/// How large a loss of the critics may be: a threshold ϑ that follows what losses were, epoch by epoch.
#[derive(Clone, Debug)]
pub(super) struct Guard {
    /// ϑ.
    pub(super) threshold: Real,
    /// Of this epoch the number of losses, their mean, and the sum of their squared deviations.
    pub(super) losses: [Real; 3],
}

impl Guard {
    pub(super) fn new(threshold: Real) -> Self {
        Self { threshold, losses: [0.0; 3] }
    }

    /// Counts a loss, whether it was followed or not.
    pub(super) fn note(&mut self, loss: Real) {
        let [count, mean, squares] = &mut self.losses;
        *count += 1.0;
        let off = loss - *mean;
        *mean += off / *count;
        *squares += off * (loss - *mean);
    }

    // ANCHOR: end_epoch
    /// (8)  ϑ ← 0.95·ϑ + 0.05·(mean + 3·std) of the losses of an epoch
    pub(super) fn end_epoch(&mut self) {
        let [count, mean, squares] = self.losses;
        let std = (squares / count.max(1.0)).sqrt();
        self.threshold = 0.95 * self.threshold + 0.05 * (mean + 3.0 * std);
        self.losses = [0.0; 3];
    }
    // ANCHOR_END: end_epoch
}

impl State for Guard {
    fn visit(&mut self, f: &mut dyn FnMut(&str, Slot<'_>)) {
        f("threshold", Slot::Tensor(&[1], std::slice::from_mut(&mut self.threshold)));
        f("epoch_losses", Slot::Tensor(&[3], &mut self.losses));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_threshold_follows_mean_and_deviation() {
        let mut guard = Guard::new(1000.0);
        [1.0, 3.0, 5.0, 7.0].into_iter().for_each(|loss| guard.note(loss));
        assert_eq!(guard.threshold, 1000.0);
        guard.end_epoch();
        let want = 950.0 + 0.05 * (4.0 + 3.0 * (5.0 as Real).sqrt());
        assert!((guard.threshold - want).abs() < 1e-3, "{} is not {want}", guard.threshold);
        guard.note(10.0);
        guard.end_epoch();
        assert!((guard.threshold - (0.95 * want + 0.5)).abs() < 1e-3, "an epoch begins anew");
    }
}
