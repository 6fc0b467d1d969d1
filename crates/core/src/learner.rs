use crate::{Batch, Hyperparameters, Key, Problem, Real, RolloutSummary, Rollouts, Sink, Source, Spec, State};
use ndarray::{ArrayView2, ArrayViewMut2};
use serde::{Serialize, de::DeserializeOwned};

/// Something that maps observations to actions.
pub trait Policy {
    /// Widths and the action box.
    fn spec(&self) -> Spec;

    /// Writes an action, `[rows, act]`, for every row of `obs`, `[rows, obs]`. Without a key, the deterministic action.
    fn act(&mut self, obs: ArrayView2<'_, Real>, key: Option<Key>, act: ArrayViewMut2<'_, Real>);
}

/// Lets an agent act as a part of itself does: `acts_as!(Combo: cql);`.
#[macro_export]
macro_rules! acts_as {
    ($Learner:ty: $part:ident) => {
        impl $crate::Policy for $Learner {
            fn spec(&self) -> $crate::Spec {
                self.$part.spec()
            }

            fn act(
                &mut self,
                obs: ::ndarray::ArrayView2<'_, $crate::Real>,
                key: Option<$crate::Key>,
                act: ::ndarray::ArrayViewMut2<'_, $crate::Real>,
            ) {
                self.$part.act(obs, key, act);
            }
        }
    };
}

// ANCHOR: learner
/// A policy that improves itself from batches. It does no I/O: progress leaves it as [`Metrics`].
pub trait Learner: State + Policy + Send {
    /// One update on one batch.
    fn update(&mut self, batch: Batch<'_>, key: Key) -> Metrics;

    /// When to roll its policy out in a model, how much to keep, and how to mix; none for an agent that learns from the dataset alone.
    fn rollouts(&self) -> Option<&Rollouts> {
        None
    }

    /// The share of the next batch that is to come from the dataset; none where all of it does.
    fn real_share(&self) -> Option<Real> {
        self.rollouts().map(|how| how.real)
    }

    /// Rolls the policy from states of `dataset`, which is in the model's units; every transition goes to `sink`, in these too.
    /// One without rollouts has none.
    fn imagine(&mut self, _dataset: &dyn Source, _key: Key, _sink: &mut dyn Sink) -> RolloutSummary {
        RolloutSummary::default()
    }
}
// ANCHOR_END: learner

// ANCHOR: algorithm
/// Checked hyperparameters that build an agent.
pub trait Algorithm: Hyperparameters + Clone + Serialize + DeserializeOwned {
    /// The short name used in experiment files, such as `td3_bc`.
    const NAME: &'static str;
    /// Authors, title, identifier.
    const PAPER: &'static str;
    /// The text of its file, whose head says what it computes.
    const SOURCE: &'static str;
    /// Whether it is built on a model of what happens next, in which it imagines or which it asks in its updates.
    const USES_MODEL: bool = false;
    /// Whether its policy is to choose among fresh candidates at every step when it is evaluated, as BCQ's does. All others are
    /// evaluated by their deterministic action.
    const ACTS_BY_CANDIDATES: bool = false;
    /// What [`build`](Algorithm::build) makes.
    type Learner: Learner;

    /// An agent for `problem`, or for a [`Spec`] alone where there is no more to know, its parameters drawn by `key`.
    ///
    /// # Errors
    /// If a hyperparameter makes no sense, or the problem lacks the model that the algorithm needs.
    fn build(&self, problem: impl Into<Problem>, key: Key) -> Result<Self::Learner, ConfigError>;

    /// Its discount γ, if it has one.
    fn discount(&self) -> Option<f64> {
        self.find("gamma")
    }

    /// Whether its batches must bring the action recorded at the next state: rows that have none are then left out.
    fn needs_next_actions(&self) -> bool {
        false
    }
}
// ANCHOR_END: algorithm

/// A configuration value that makes no sense.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{field}` {why}")]
pub struct ConfigError {
    /// The field's name, as in the experiment file.
    pub field: &'static str,
    /// What it must be instead.
    pub why: String,
}

impl ConfigError {
    /// `Ok` if `holds`, else the complaint that `field` `why`.
    pub fn unless(holds: bool, field: &'static str, why: impl Into<String>) -> Result<(), Self> {
        if holds { Ok(()) } else { Err(Self { field, why: why.into() }) }
    }
}

/// A few named numbers of one update: losses, values, norms. Fixed capacity, so that an update allocates nothing.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Metrics {
    len: usize,
    slots: [(&'static str, Real); Metrics::CAPACITY],
}

impl Default for Metrics {
    fn default() -> Self {
        Self { len: 0, slots: [("", 0.0); Self::CAPACITY] }
    }
}

impl Metrics {
    /// The most numbers one update can report.
    pub const CAPACITY: usize = 16;

    /// Adds a number.
    ///
    /// # Panics
    /// Past [`Metrics::CAPACITY`] numbers.
    pub fn put(&mut self, name: &'static str, value: Real) -> &mut Self {
        assert!(self.len < Self::CAPACITY, "Metrics::put: no room for `{name}`");
        self.slots[self.len] = (name, value);
        self.len += 1;
        self
    }

    /// The number called `name`.
    pub fn get(&self, name: &str) -> Option<Real> {
        self.iter().find(|(n, _)| *n == name).map(|(_, v)| v)
    }

    /// Every number in the order it was put.
    pub fn iter(&self) -> impl Iterator<Item = (&'static str, Real)> + '_ {
        self.slots[..self.len].iter().copied()
    }
}

impl<const N: usize> From<[(&'static str, Real); N]> for Metrics {
    fn from(pairs: [(&'static str, Real); N]) -> Self {
        let mut metrics = Self::default();
        for (name, value) in pairs {
            metrics.put(name, value);
        }
        metrics
    }
}
