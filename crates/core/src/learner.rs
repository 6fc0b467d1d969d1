use crate::{Batch, Key, Real, Spec, State};
use ndarray::{ArrayView2, ArrayViewMut2};
use serde::{Serialize, de::DeserializeOwned};

/// Something that maps observations to actions.
pub trait Policy {
    /// Widths and the action box.
    fn spec(&self) -> Spec;

    /// Writes an action, `[rows, act]`, for every row of `obs`, `[rows, obs]`. Without a key, the deterministic action.
    fn act(&mut self, obs: ArrayView2<'_, Real>, key: Option<Key>, act: ArrayViewMut2<'_, Real>);
}

// ANCHOR: learner
/// A policy that improves itself from batches. It does no I/O: progress leaves it as [`Metrics`].
pub trait Learner: State + Policy + Send {
    /// One update on one batch.
    fn update(&mut self, batch: Batch<'_>, key: Key) -> Metrics;
}
// ANCHOR_END: learner

/// A checked configuration that builds an algorithm.
pub trait Algorithm: Clone + Default + Serialize + DeserializeOwned {
    /// The short name used in experiment files, such as `td3_bc`.
    const NAME: &'static str;
    /// Authors, title, identifier.
    const PAPER: &'static str;
    /// What [`build`](Algorithm::build) makes.
    type Learner: Learner;

    /// Whether every field makes sense.
    fn check(&self) -> Result<(), ConfigError>;

    /// An algorithm for `spec`, its parameters drawn by `key`.
    fn build(&self, spec: Spec, key: Key) -> Result<Self::Learner, ConfigError>;
}

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
