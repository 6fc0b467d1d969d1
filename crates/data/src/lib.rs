//! Datasets in memory and on disk: D4RL files, rings, mixtures, normalisers, checks.
#![forbid(unsafe_code)]

pub mod d4rl;
mod dataset;
mod error;
pub mod h5;
mod log;
mod mixture;
mod normaliser;
mod prioritised;
mod ring;
mod sum_tree;

pub use dataset::Dataset;
pub use error::DataError;
pub use log::{BuildReport, End, Episode, Info, Log, Options, Row, TerminalRows, trajectory_weights};
pub use mixture::Mixture;
pub use normaliser::{Normaliser, Scale};
pub use prioritised::{Priorities, Prioritised};
pub use ring::Ring;
pub use sum_tree::SumTree;
