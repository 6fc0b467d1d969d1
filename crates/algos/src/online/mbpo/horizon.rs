//! The schedule of MBPO's rollout length.

use backcast_core::{Kind, Value};
use serde::{Deserialize, Serialize};

/// The rollout length as the model sees more data: `from` steps until step `begin` of the environment, `to` from step
/// `end` on, and linear in between, rounded down.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Horizon {
    /// x, the length at first.
    pub from: usize,
    /// y, the length at last.
    pub to: usize,
    /// a, the step of the environment where it begins to change.
    pub begin: usize,
    /// b, the step of the environment where it has changed.
    pub end: usize,
}

impl Value for Horizon {
    fn kind() -> Kind {
        Kind::Other
    }
}

impl Horizon {
    /// The same length always.
    pub const fn constant(steps: usize) -> Self {
        Self { from: steps, to: steps, begin: 0, end: 1 }
    }

    /// k(t) = min(max(x + (t − a)/(b − a)·(y − x), x), y), rounded down.
    ///
    /// ```
    /// use backcast_algos::mbpo::Horizon;
    /// let horizon = Horizon { from: 1, to: 5, begin: 100, end: 200 };
    /// assert_eq!([0, 100, 124, 125, 199, 900].map(|t| horizon.at(t)), [1, 1, 1, 2, 4, 5]);
    /// ```
    pub fn at(&self, step: usize) -> usize {
        let passed = step.clamp(self.begin, self.end) - self.begin;
        let part = passed as f64 / (self.end - self.begin) as f64;
        (self.from as f64 + part * (self.to as f64 - self.from as f64)) as usize
    }
}
