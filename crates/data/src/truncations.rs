//! Truncations found again, actions clipped: what a file gets wrong in a way that somebody has written down.

use crate::Dataset;
use backcast_core::{Kind, Real, Value};
use serde::{Deserialize, Serialize};

/// Where a dataset was truncated.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Truncations {
    /// Where the file says.
    #[default]
    Recorded,
    /// Where the file says, and after every so many rows of an episode: for files that store no `timeouts`. Where the file is
    /// NeoRL's, a `done` at that very age is a truncation instead of an end.
    Horizon(usize),
    /// Where the position jumps, whatever the file says: [`Dataset::truncate_at_jumps`] with the first two observation columns and a
    /// factor of 10, ROMI's rule for antmaze.
    Jumps,
}

impl Value for Truncations {
    fn kind() -> Kind {
        Kind::Other
    }
}

/// The factor of ROMI's rule.
pub(crate) const JUMP: f64 = 10.0;

impl Dataset {
    /// Marks a truncation after every `horizon` rows of an episode: for old files that store no `timeouts`.
    ///
    /// # Panics
    /// If `horizon` is zero.
    pub fn truncate_at_horizon(&mut self, horizon: usize) {
        assert!(horizon > 0, "Dataset::truncate_at_horizon: a horizon has at least one row");
        let mut age = 0;
        for t in 0..self.len() {
            age += 1;
            self.truncated[t] |= age == horizon && !self.terminal[t];
            if self.stops(t) {
                age = 0;
            }
        }
    }

    /// Forgets the recorded truncations and truncates wherever the position, the first two columns of the observation, is further from
    /// the next row's than `factor` times the mean distance of neighbouring rows. Returns how many truncations there are.
    ///
    /// ROMI's rule for antmaze (arXiv:2110.00188, the authors' code, with a factor of 10), whose files mark truncations in other
    /// places than those where the ant was put back to its start. A row that is terminal stays so; where its successor
    /// jumps, nothing need be marked. The last row is left as it is recorded, since nothing follows it.
    ///
    /// # Panics
    /// If an observation has fewer than two columns.
    pub fn truncate_at_jumps(&mut self, factor: f64) -> usize {
        let width = self.widths[0];
        assert!(width >= 2, "Dataset::truncate_at_jumps: {width} observation columns hold no position");
        let last = self.len().saturating_sub(1);
        let step = |t: usize| {
            let (a, b) = (self.obs_at(t), self.obs_at(t + 1));
            ((b[0] - a[0]) as f64).hypot((b[1] - a[1]) as f64)
        };
        let steps: Vec<f64> = (0..last).map(step).collect();
        let limit = factor * steps.iter().sum::<f64>() / steps.len().max(1) as f64;
        for (t, step) in steps.into_iter().enumerate() {
            self.truncated[t] = step > limit && !self.terminal[t];
        }
        self.truncated.iter().filter(|cut| **cut).count()
    }

    /// Pulls every action value back into `[−limit, limit]` and returns in how many rows one was beyond: what D4RL does with
    /// the Adroit demonstrations.
    ///
    /// # Panics
    /// Unless `limit` is positive.
    pub fn clip_actions(&mut self, limit: Real) -> usize {
        assert!(limit > 0.0, "Dataset::clip_actions: a limit of {limit}");
        let width = self.widths[1].max(1);
        let mut rows = 0;
        for row in self.act.chunks_mut(width) {
            rows += row.iter().any(|a| a.abs() > limit) as usize;
            row.iter_mut().for_each(|a| *a = a.clamp(-limit, limit));
        }
        rows
    }
}

impl Dataset {
    /// Turns every end at the age of `horizon` rows into a truncation: for NeoRL's files, whose one flag may mean either.
    pub(crate) fn ends_at_horizon_are_truncations(&mut self, horizon: usize) {
        for episode in self.episodes() {
            let last = episode.after() - 1;
            if episode.rows == horizon && self.terminal[last] {
                (self.terminal[last], self.truncated[last]) = (false, true);
            }
        }
    }
}
