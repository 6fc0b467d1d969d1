use crate::{End, Episode, Priorities};
use backcast_core::{ConfigError, Key, Real, Source, Spec, Transitions};
use ndarray::ArrayView2;

/// Transitions with what is known of the trajectories they came from. Made by [`Dataset::transitions`](crate::Dataset::transitions).
///
/// As a [`Source`] it draws rows uniformly; [`EpisodicTransitions::priorities`] draws them by the weight of their trajectory.
#[derive(Clone, Debug)]
pub struct EpisodicTransitions {
    columns: Transitions,
    episode: Vec<u32>,
    weight: Vec<Real>,
    episodes: Vec<Episode>,
    starts: Vec<usize>,
    initial: Vec<Real>,
}

impl EpisodicTransitions {
    pub(crate) fn new(
        columns: Transitions,
        episode: Vec<u32>,
        weight: Vec<Real>,
        episodes: Vec<Episode>,
        starts: Vec<usize>,
        initial: Vec<Real>,
    ) -> Self {
        Self { columns, episode, weight, episodes, starts, initial }
    }

    /// The transitions, in the order of the dataset.
    pub fn transitions(&self) -> &Transitions {
        &self.columns
    }

    /// The transitions alone, giving up the rest.
    pub fn into_transitions(self) -> Transitions {
        self.columns
    }

    /// The transitions, for transforms in place such as a scaling of the rewards.
    pub fn transitions_mut(&mut self) -> &mut Transitions {
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

    /// The episodes of the dataset, dropped rows included in their lengths and returns.
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

    /// The transitions of the best episodes: the share `fraction` of them with the highest undiscounted returns, rounded down
    /// but at least one, in the order of the dataset. What "10 % BC" clones.
    ///
    /// Episodes are the dataset's own, split where the environment ended **or** the recording was truncated, and their returns count
    /// every recorded row. One that the dataset stops in the middle of is no candidate (its return is not known) unless there is
    /// nothing else. Of equal returns the earlier goes first.
    ///
    /// # Errors
    /// If `fraction` is not in (0, 1], or nothing is left because none of those episodes made a transition.
    pub fn best_episodes(&self, fraction: Real) -> Result<Transitions, ConfigError> {
        let field = "best_episodes";
        ConfigError::unless(
            fraction > 0.0 && fraction <= 1.0,
            field,
            format!("is {fraction}; a share lies in (0, 1]"),
        )?;
        let mut order: Vec<usize> = (0..self.episodes.len()).collect();
        order.retain(|&e| self.episodes[e].end != End::Unfinished || self.episodes.len() == 1);
        let count = ((order.len() as f64 * fraction as f64 + 1e-6) as usize).max(1);
        order.sort_by(|&a, &b| self.episodes[b].total.total_cmp(&self.episodes[a].total));
        order.truncate(count);
        order.sort_unstable();
        let mut best = Transitions::new(self.columns.spec()).with_next_actions(self.columns.next_actions().is_some());
        order.iter().flat_map(|&e| self.rows_of(e)).for_each(|row| best.push_row(&self.columns, row));
        ConfigError::unless(!best.is_empty(), field, format!("is {fraction}; the best episodes have no transition"))?;
        Ok(best)
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

impl Source for EpisodicTransitions {
    fn spec(&self) -> Spec {
        self.columns.spec()
    }

    fn len(&self) -> usize {
        self.columns.len()
    }

    fn sample_into(&self, key: Key, rows: usize, out: &mut Transitions) {
        self.columns.sample_into(key, rows, out);
    }
}
