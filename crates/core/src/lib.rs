//! The nouns of offline RL: `Spec`, `Key`, `Transitions`, `Batch`, and the traits at the seams.
//!
//! Everything else in the workspace is written against this crate, and this crate is written against nothing but
//! [`ndarray`]: an algorithm takes a [`Batch`] and a [`Key`], a dataset is a [`Source`] of batches, an environment is an [`Env`].
//!
//! ```
//! use backcast_core::{Transitions, Key, Source, Spec};
//!
//! let spec = Spec::new(2, 1);
//! let mut log = Transitions::new(spec);
//! log.push(&[0.0, 0.0], &[1.0], 0.5, &[0.1, 1.0], false);
//! log.push(&[0.1, 1.0], &[-1.0], 1.0, &[0.2, 0.0], true);
//!
//! // Randomness is an argument. The same key draws the same rows, on any machine, for any number of threads.
//! let mut staging = Transitions::new(spec);
//! let batch = log.sample(Key::new(7).name("minibatch"), 32, &mut staging);
//! assert_eq!(batch.obs.dim(), (32, 2));
//! assert_eq!(batch.reward.dim(), (32, 1));
//! ```
#![forbid(unsafe_code)]

mod env;
mod fingerprint;
mod hyperparameter;
mod key;
mod learner;
mod model;
mod problem;
mod quantile;
mod reference_scores;
mod spec;
mod state;
mod transitions;

pub use env::{Env, Step, Termination, never};
pub use fingerprint::{Fingerprint, Fingerprinter};
pub use hyperparameter::{
    ANY, COUNT, Domain, FRACTION, Hyperparameter, Hyperparameters, Kind, NON_NEGATIVE, POSITIVE, SHARE, Value,
    snake_case,
};
pub use key::{Draws, Key, Normal, Uniform};
pub use learner::{Algorithm, ConfigError, Learner, Metrics, Policy};
pub use model::{Direction, Dynamics, Prediction, Split};
pub use problem::{DatasetStats, Imagined, ObsScaler, Problem, RolloutSummary, Rollouts, Sampling, Sink, WorldModel};
pub use quantile::quantile;
pub use reference_scores::ReferenceScores;
pub use spec::Spec;
pub use state::{Slot, State, StateError, Stored, fingerprint, first_non_finite, restore, snapshot, under};
pub use transitions::{Batch, Column, Source, Transitions};

/// The number every tensor is made of: `f32`, or `f64` with the feature `f64` (for gradient checks).
#[cfg(not(feature = "f64"))]
pub type Real = f32;
/// The number every tensor is made of: `f32`, or `f64` with the feature `f64` (for gradient checks).
#[cfg(feature = "f64")]
pub type Real = f64;

/// The README's example, compiled and run with the documentation tests.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
