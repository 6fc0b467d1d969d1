//! Normalised scores, interquartile means, bootstrap intervals, probability of improvement.
//!
//! A table of five returns per method is a *sample*, and small samples mislead. This crate turns raw returns into
//! numbers that can be compared, and says how far each of them can be trusted:
//!
//! 1. [`ReferenceScores`] puts returns of different tasks on one scale (0 = a random policy, 100 = the reference policy). Means are
//!    shifted and scaled; deviations are only scaled, so that a spread can never pick up an offset by mistake.
//! 2. [`Scores`] holds one finished number per run, grouped by task, and [`Metric`] summarises them. The default summary is
//!    the interquartile mean: the mean of the middle half, which a single lucky or crashed seed cannot move far.
//! 3. [`interval`] says how much the summary would wander if the experiment were run again (stratified bootstrap).
//! 4. [`spearman`], [`kendall`] and [`regret_at`] say how good an order is that an estimate gives: of policies by their value
//!    without trying them.
//! 5. [`probability_of_improvement`] compares two methods; [`profile`] shows the whole distribution.
//! 6. [`Survival`] says how long something took where some were not watched to the end.
//! 7. [`prediction_interval`] says where one number of the next run will be found if it is like those before,
//!    [`simultaneous_band`] where all of them will.
//!
//! The definitions follow Agarwal, Schwarzer, Castro, Courville & Bellemare, *Deep reinforcement learning at the edge of
//! the statistical precipice* (NeurIPS 2021). Randomness is an argument, a [`Key`](backcast_core::Key): the same key
//! gives the same interval on any machine.
//!
//! ```
//! use backcast_core::Key;
//! use backcast_stats::{Bootstrap, Metric, ReferenceScores, Scores, interval, probability_of_improvement};
//!
//! // Returns of five seeds of two methods on one task, on the task's own ruler.
//! let reference = ReferenceScores::new(23.85, 161.86);
//! let ours = Scores::one_task(&[180.0, 172.5, 191.0, 30.0, 185.0].map(|r| reference.mean(r)))?;
//! let theirs = Scores::one_task(&[60.0, 75.0, 55.0, 66.0, 71.0].map(|r| reference.mean(r)))?;
//!
//! // The crashed seed (30.0) is outside the middle half.
//! let iqm = interval(&ours, Metric::Iqm, Bootstrap::default(), Key::new(0));
//! assert!(iqm.estimate > 110.0 && iqm.low < iqm.estimate && iqm.estimate < iqm.high);
//!
//! let better = probability_of_improvement(&ours, &theirs, Bootstrap::default(), Key::new(1))?;
//! assert_eq!(better.estimate, 0.8);
//! # Ok::<(), backcast_stats::ScoresError>(())
//! ```
//!
//! # How far to trust an interval
//!
//! A percentile bootstrap pretends that the sample is the population. With many runs that is nearly true, and a 95 %
//! interval covers the truth about 95 % of the time. With few runs it is not, and the interval is too narrow. Measured on
//! normal scores of one task (two tests hold these figures):
//!
//! | runs | 3 | 5 | 10 | 20 | 50 |
//! |---|---|---|---|---|---|
//! | a "95 %" interval of the interquartile mean covers | 74 % | 90 % | 94 % | 94 % | 95 % |
//! | a "95 %" interval of the mean covers | 74 % | 83 % | 90 % | 93 % | 94 % |
//!
//! So: five runs is the least that is worth an interval, ten is comfortable, and every run belongs on the page as a dot.
//! [`Spread`] holds to it: of fewer runs it is a range.
#![forbid(unsafe_code)]

mod bootstrap;
mod compare;
mod prediction;
mod profile;
mod ranking;
mod scores;
mod spread;
mod survival;

pub use backcast_core::ReferenceScores;
pub use bootstrap::{Bootstrap, Interval, interval};
pub use compare::{probability_of_improvement, win_rate};
pub use prediction::{prediction_interval, simultaneous_band};
pub use profile::{ProfilePoint, profile};
pub use ranking::{kendall, regret_at, spearman};
pub use scores::{Metric, Scores, ScoresError, interquartile_mean};
pub use spread::{FEWEST_FOR_INTERVAL, Spread};
pub use survival::{Survival, Waited};

/// The README's example, compiled and run with the documentation tests.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
