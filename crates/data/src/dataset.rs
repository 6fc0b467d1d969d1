use crate::{Episode, Priorities};
use backcast_core::{Columns, ConfigError, Key, Real, Source, Spec};
use ndarray::ArrayView2;

/// Transitions with what is known of the trajectories they came from. Made by [`Log::transitions`](crate::Log::transitions).
///
/// As a [`Source`] it draws rows uniformly; [`Dataset::priorities`] draws them by the weight of their trajectory.
#[derive(Clone, Debug)]
pub struct Dataset {
    columns: Columns,
    episode: Vec<u32>,
    weight: Vec<Real>,
    episodes: Vec<Episode>,
    starts: Vec<usize>,
    initial: Vec<Real>,
}

impl Dataset {
    pub(crate) fn new(
        columns: Columns,
        episode: Vec<u32>,
        weight: Vec<Real>,
        episodes: Vec<Episode>,
        starts: Vec<usize>,
        initial: Vec<Real>,
    ) -> Self {
        Self { columns, episode, weight, episodes, starts, initial }
    }

    /// The transitions, in the order of the log.
    pub fn columns(&self) -> &Columns {
        &self.columns
    }

    /// The transitions alone, giving up the rest.
    pub fn into_columns(self) -> Columns {
        self.columns
    }

    /// The transitions, for transforms in place such as a scaling of the rewards.
    pub fn columns_mut(&mut self) -> &mut Columns {
        &mut self.columns
    }

    /// Which episode each transition belongs to, `[rows]`.
    pub fn episode_of(&self) -> &[u32] {
        &self.episode
    }

    /// The weight of each transition's trajectory, `[rows]`.
    pub fn weights(&self) -> &[Real] {
        &self.weight
    }

    /// The episodes of the log, dropped rows included in their lengths and returns.
    pub fn episodes(&self) -> &[Episode] {
        &self.episodes
    }

    /// The rows of `columns` that belong to `episode`; empty if none of its rows made a transition.
    ///
    /// # Panics
    /// If there is no such episode.
    pub fn rows_of(&self, episode: usize) -> std::ops::Range<usize> {
        self.starts[episode]..self.starts[episode + 1]
    }

    /// The first observation of every episode, `[episodes, obs]`.
    pub fn initial(&self) -> ArrayView2<'_, Real> {
        let shape = (self.episodes.len(), self.columns.spec().obs);
        ArrayView2::from_shape(shape, &self.initial).expect("one observation for each episode")
    }

    /// The mean undiscounted return of the episodes.
    pub fn mean_return(&self) -> f64 {
        self.episodes.iter().map(|e| e.total).sum::<f64>() / self.episodes.len() as f64
    }

    /// Priorities for drawing transitions in proportion to the weight of their trajectory (ROMI: exponent 1, without
    /// replacement inside a batch).
    ///
    /// # Errors
    /// If every weight is zero, as when all returns are equal and *k* = 0.
    pub fn priorities(&self, exponent: Real, replacement: bool) -> Result<Priorities, ConfigError> {
        Priorities::new(&self.weight, exponent, replacement)
    }
}

impl Source for Dataset {
    fn spec(&self) -> Spec {
        self.columns.spec()
    }

    fn len(&self) -> usize {
        self.columns.len()
    }

    fn sample_into(&self, key: Key, rows: usize, out: &mut Columns) {
        self.columns.sample_into(key, rows, out);
    }
}
