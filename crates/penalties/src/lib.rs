//! How much not to trust an imagined step: one file per published penalty.
//!
//! A model fitted to a dataset can be wrong where the dataset is thin, and a policy that trains on its predictions will find those
//! places. The remedy of MOPO and its successors: from each imagined reward take λ·u, where u measures the ensemble's own uncertainty.
//! MOReL's is to end an imagined episode, badly, where u passes a threshold.
//!
//! ```
//! use approx::assert_abs_diff_eq;
//! use backcast_core::Prediction;
//! use backcast_penalties::{MaxAleatoric, MaxPairwise, Penalty};
//! use ndarray::{Axis, array};
//!
//! // Two members, two rows, columns (reward, state). Both are sure of row 0; in row 1 they contradict each other.
//! let mean = array![[[1.0, 0.0], [1.0, 0.0]], [[1.0, 0.0], [1.0, 3.0]]];
//! let std = array![[[0.1, 0.0], [0.6, 0.8]], [[0.1, 0.0], [0.1, 0.1]]];
//! let p = Prediction { mean: mean.view(), std: std.view() };
//! let outcome = mean.index_axis(Axis(0), 0); // what was drawn
//!
//! let mut u = [0.0; 2];
//! MaxPairwise::default().penalty(p, outcome, &mut u);
//! assert_eq!(u, [0.0, 3.0]);
//! MaxAleatoric.penalty(p, outcome, &mut u);
//! assert_abs_diff_eq!(u[..], [0.1, 1.0][..], epsilon = 1e-6);
//! ```
//!
//! | penalty, [name](PenaltyConfig) | u | columns | source |
//! |---|---|---|---|
//! | [`NoPenalty`], `none` | 0 | – | COMBO, ROMI: the algorithm is the pessimist |
//! | [`MaxAleatoric`], `max_aleatoric` | maxᵢ ‖σᵢ‖₂ | all | MOPO |
//! | [`MaxPairwise`], `max_pairwise`, `max_pairwise_states` | max over i < j of ‖μᵢ − μⱼ‖₂ | all, or states | MOReL |
//! | [`MaxDeviation`], `max_deviation` | maxᵢ ‖μᵢ − μ̄‖₂ | states | MOPO's code; OfflineRL-Kit's `pairwise-diff` |
//! | [`EnsembleStd`], `ensemble_std` | √(mean over columns of Varᵢ μᵢ) | states | OfflineRL-Kit |
//! | [`Mixture`], `mixture_std`, `mixture_variance` | ‖√v‖₂ or ‖v‖₂, v the mixture's variance | all | Lu et al. 2022 † |
//! | [`DimensionWise`], `dimension_wise` | ‖maxᵢ μᵢ − minᵢ μᵢ‖₂ | all | ours |
//! | [`LogLikelihoodVariance`], `log_likelihood_variance` | Varᵢ ln pᵢ(outcome) | all | Lu et al. 2022 † |
//! | [`LeaveOneOutKl`], `leave_one_out_kl` | mean over i of KL(pᵢ ‖ the others) | all | Lu et al. 2022 † |
//! | [`ValueInconsistency`] | stdᵢ of the mean value of i's samples | states | MOBILE |
//!
//! † what the paper says is from memory; each file says what was decided. i runs over all members, but for MOBILE over elites.
//!
//! The last is no [`Penalty`]: it needs draws and a value function, and belongs inside an algorithm's update.
//!
//! **The scale is part of the choice.** Two measures differ by orders of magnitude and some grow with the number of columns: a λ
//! tuned for one means nothing for another. A threshold is found from data: [`measure`] gives u of recorded rows, a
//! [`ThresholdRule`] the number, and [`halting_rate`] what it would halt.
//!
//! A prediction that is NaN gives a penalty that is NaN, never a small one. Every row is computed by itself, in a fixed order:
//! the same bits whoever asks. No measure allocates but the last, which does so once for each size.
#![forbid(unsafe_code)]

mod config;
mod dimension_wise;
mod ensemble_std;
mod leave_one_out_kl;
mod log_likelihood_variance;
mod max_aleatoric;
mod max_deviation;
mod max_pairwise;
mod mixture;
mod penalty;
mod threshold;
mod value_inconsistency;

pub use config::PenaltyConfig;
pub use dimension_wise::DimensionWise;
pub use ensemble_std::EnsembleStd;
pub use leave_one_out_kl::LeaveOneOutKl;
pub use log_likelihood_variance::LogLikelihoodVariance;
pub use max_aleatoric::MaxAleatoric;
pub use max_deviation::MaxDeviation;
pub use max_pairwise::MaxPairwise;
pub use mixture::Mixture;
pub use penalty::{NoPenalty, Penalty};
pub use threshold::{ThresholdError, ThresholdRule, halting_rate, is_unknown, measure, measure_policy};
pub use value_inconsistency::ValueInconsistency;

#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
