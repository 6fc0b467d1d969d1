//! What MBPO reports while it learns, what it returns, and why it may stop.

use crate::sac;
use backcast_core::{ConfigError, Dynamics, Real, Transitions};
use backcast_dynamics::FitError;

/// Why nothing more is learnt.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum MbpoError {
    /// A value that makes no sense.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// What happened in the environment cannot be learnt from: a number that is none.
    #[error(transparent)]
    Fit(#[from] FitError),
    /// A model that predicts no number.
    #[error("at step {step} the model imagined nothing: {not_finite} predictions were not finite")]
    NothingImagined {
        /// The step of the environment.
        step: usize,
        /// Predictions that were no numbers.
        not_finite: usize,
    },
}

/// Progress at the end of an episode.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Progress {
    /// Steps of the environment taken.
    pub steps: usize,
    /// Episodes that were terminated or truncated.
    pub episodes: usize,
    /// The undiscounted return of the last, by the policy as it explores.
    pub last_return: f64,
    /// k now.
    pub horizon: usize,
    /// The smallest error of a member on the rows held out at the last fit, if there was one.
    pub holdout_mse: Option<Real>,
}

/// What has been learnt.
///
/// ```
pub struct Learnt {
    /// The policy.
    pub policy: sac::Sac,
    /// The model.
    pub dynamics: Box<dyn Dynamics>,
    /// Everything that happened, in order: a dataset for offline algorithms.
    pub dataset: Transitions,
}
