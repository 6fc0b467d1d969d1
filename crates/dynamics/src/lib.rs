//! One probabilistic ensemble, three directions: forward, reverse, inverse; and the CVAE of actions.
#![forbid(unsafe_code)]

mod action_vae;
mod config;
mod ensemble;
mod fit;
mod gaussian_bc;

pub use action_vae::{ActionVae, ActionVaeConfig, Condition};
pub use config::EnsembleConfig;
pub use ensemble::Ensemble;
pub use fit::{Fit, FitError, FitProgress, FitReport, StoppedBy};
pub use gaussian_bc::{GaussianBc, GaussianBcConfig};
