//! One probabilistic ensemble, three directions: forward, reverse, inverse; and the CVAE of actions.
#![forbid(unsafe_code)]

mod config;
mod ensemble;
mod fit;

pub use config::EnsembleConfig;
pub use ensemble::Ensemble;
pub use fit::{Fit, FitError, FitProgress, FitReport, StoppedBy};
