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
/// use backcast_algos::mbpo::{Config, learn};
/// use backcast_core::{Algorithm, Env, Key, Learner, Policy, Spec, Step, never};
///
/// /// A point that is to stay at 0.
/// struct Point(f32);
/// impl Env for Point {
///     fn spec(&self) -> Spec { Spec::new(1, 1) }
///     fn horizon(&self) -> usize { 10 }
///     fn reset(&mut self, key: Key, obs: &mut [f32]) {
///         self.0 = key.unit();
///         obs[0] = self.0;
///     }
///     fn step(&mut self, act: &[f32], obs: &mut [f32]) -> Step {
///         self.0 += 0.1 * act[0];
///         obs[0] = self.0;
///         Step { reward: -self.0.abs(), terminated: false, truncated: false }
///     }
/// }
///
/// let mut config = Config { steps: 60, explore: 50, every: 5, starts: 20, updates: 1, batch: 8, ..Config::default() };
/// (config.model.hidden, config.model.weight_decay, config.sac.hidden) = (vec![8], vec![0.0; 2], vec![8]);
/// let mut episodes = 0;
/// let made = learn(&config, &mut Point(0.0), never, Key::new(0), &mut |progress| {
///     episodes = progress.episodes;
///     true
/// })?;
/// assert_eq!((episodes, made.dataset.len()), (6, 60));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct Learnt {
    /// The policy.
    pub policy: sac::Sac,
    /// The model.
    pub dynamics: Box<dyn Dynamics>,
    /// Everything that happened, in order: a dataset for offline algorithms.
    pub dataset: Transitions,
}
