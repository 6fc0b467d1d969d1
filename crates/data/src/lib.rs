//! Datasets in memory and on disk: D4RL, Minari, npz, replay buffers, mixtures, normalisers, checks.
//!
//! Offline reinforcement learning learns from a dataset of somebody else's behaviour. Between that dataset and a minibatch lie a
//! handful of decisions that are easy to get silently wrong: which state follows which, where an episode ends, whether it
//! ended or was merely cut off, which rows belong to a good trajectory. This crate makes each of them once, in the open,
//! and counts what it did.
//!
//! ```
//! use backcast_core::{Transitions, Key, Source};
//! use backcast_data::{Format, Dataset, Mixture, Options, ReadOptions, ReplayBuffer, Row, WriteOptions, read, write};
//!
//! // A dataset of two short episodes: the first was cut off, the second truly ended.
//! let mut dataset = Dataset::new(1, 1, false);
//! for (s, reward, terminal, truncated) in
//!     [(0.0, 0.0, false, false), (1.0, 1.0, false, true), (5.0, 2.0, false, false), (6.0, 3.0, true, false)]
//! {
//!     dataset.push(Row { obs: &[s], act: &[0.5], reward, terminal, truncated, next_obs: None });
//! }
//!
//! // On disk it can be D4RL's HDF5, an npz, a Minari dataset …; what a path holds is found out from its content.
//! # let directory = tempfile::tempdir().unwrap();
//! # let path = directory.path().join("log.hdf5");
//! write(&path, Format::D4rl, &dataset, &WriteOptions::default())?;
//! let dataset = read(&path, &ReadOptions::default())?;
//!
//! // The state after the cut was never recorded, so that row makes no transition, and the report says so.
//! let (data, report) = dataset.transitions(&Options::default())?;
//! assert_eq!((report.rows, report.kept, report.dropped_truncated), (4, 3, 1));
//! // Returns were summed before anything was dropped; each transition carries the weight of its trajectory.
//! assert_eq!(data.episodes()[0].total, 1.0);
//! assert_eq!(data.weights(), [0.0, 1.0, 1.0]);
//!
//! // A batch of 30 real rows, drawn by weight, and 70 imagined ones.
//! let priorities = data.priorities(1.0, false).unwrap();
//! let real = priorities.over(data.transitions());
//! let mut imagined = ReplayBuffer::new(data.spec(), 1000);
//! imagined.push(&[4.0], &[-0.5], 0.0, &[5.0], false);
//! let mut staging = Transitions::new(data.spec());
//! let batch = Mixture::new(&real, &imagined, 0.7).sample(Key::new(0).name("batch"), 100, &mut staging);
//! assert_eq!(batch.len(), 100);
//! # Ok::<(), backcast_data::DataError>(())
//! ```
//!
//! # From file to minibatch
//!
//! | step | type | what it decides |
//! |---|---|---|
//! | path → format | [`Format`], [`read()`], [`write()`] | what is there, by its content |
//! | bytes → arrays | [`arrays`]: [`h5`], [`npz`], [`store`] | whether a file can be believed: declared sizes against its length, types, checksums |
//! | arrays → rows | [`d4rl`], [`minari`], [`neorl`], [`trajectories`], [`Dataset`] | whether shapes agree; nothing is dropped or shifted |
//! | rows → other files | [`write()`], [`Split`], [`card`] | what a format can hold; the rest is an error that names the field |
//! | rows → transitions | [`Dataset::transitions`], [`Options`] | which state follows which, and which rows have no successor |
//! | transitions → draws | [`EpisodicTransitions`], [`Priorities`], [`ReplayBuffer`], [`Mixture`], [`Stored`](store::Stored) | who is drawn how often |
//! | games of several agents | [`JointDataset`] | who saw and did what; actions that there are |
//! | scales | [`Normaliser`] | the statistics that a policy carries with it |
//! | judgement | [`check()`], [`show`] | what a person should know before believing a result |
//!
//! # What is deliberately absent
//!
//! - **No terminal is ever made from a truncation.** A horizon says nothing about the environment; a bootstrap goes through it.
//! - **No transition crosses an episode.** Some published files store the *next* episode's first state as the next
//!   observation of a truncated row. Each truncated row is compared with the row after it, and dropped where they are equal.
//! - **No ambient randomness.** Draws take a [`Key`](backcast_core::Key); the same key draws the same rows.
//! - **No allocation while drawing**, once the staging area has its size.
//! - **No trust in files.** Whatever bytes are in it, a file yields a dataset or a [`DataError`] that names it.
#![deny(unsafe_code)]
// `Real` is `f64` in some builds, and the casts that others need are then idle.
#![allow(clippy::unnecessary_cast)]

/// The README's example, compiled and run.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
pub struct Readme;

pub mod arrays;
mod atomic;
pub mod card;
pub mod check;
pub mod d4rl;
mod dataset;
mod episodic;
mod error;
mod format;
pub mod h5;
pub mod joint;
pub mod minari;
mod mixture;
pub mod neorl;
mod normaliser;
pub mod npz;
mod prioritised;
mod replay_buffer;
mod rewards;
mod select;
pub mod store;
mod sum_tree;
mod support;
pub mod trajectories;
mod truncations;
mod unread;

pub use check::{Check, Finding, Severity, Show, Summary, check, show};
pub use dataset::{BuildReport, Dataset, End, Episode, Info, Options, Row, TerminalRows, trajectory_weights};
pub use episodic::EpisodicTransitions;
pub use error::DataError;
pub use format::{Format, ReadOptions, WriteOptions, read, write};
pub use joint::{JointDataset, JointTransitions};
pub use mixture::Mixture;
pub use normaliser::{Normaliser, Scale};
pub use prioritised::{Priorities, Prioritised};
pub use replay_buffer::ReplayBuffer;
pub use rewards::{Rewards, scale_rewards};
pub use select::Split;
pub use sum_tree::SumTree;
pub use support::{Support, SupportConfig};
pub use truncations::Truncations;
pub use unread::Unread;
