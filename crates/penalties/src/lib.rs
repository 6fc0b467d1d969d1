//! How much not to trust an imagined step: one file per published penalty.
//!
//! A model fitted to a log can be wrong where the log is thin, and a policy that trains on its predictions will find those
//! places. The remedy of MOPO and its successors: from each imagined reward take λ·u, where u measures the ensemble's own doubt.
//!
//! ```
//! use backcast_core::Prediction;
//! use backcast_penalties::{MaxAleatoric, MaxPairwise, Penalty};
//! use ndarray::array;
//!
//! // Two members, two rows, columns (reward, state). Both are sure of row 0; in row 1 they contradict each other.
//! let mean = array![[[1.0, 0.0], [1.0, 0.0]], [[1.0, 0.0], [1.0, 3.0]]];
//! let std = array![[[0.1, 0.0], [0.6, 0.8]], [[0.1, 0.0], [0.1, 0.1]]];
//! let p = Prediction { mean: mean.view(), std: std.view() };
//!
//! let mut u = [0.0; 2];
//! MaxPairwise::default().penalty(p, &mut u);
//! assert_eq!(u, [0.0, 3.0]);
//! MaxAleatoric.penalty(p, &mut u);
//! assert!((u[0] - 0.1).abs() < 1e-6 && (u[1] - 1.0).abs() < 1e-6);
//! ```
//!
//! | penalty | u | paper |
//! |---|---|---|
//! | [`NoPenalty`] | 0 | COMBO, ROMI: the learner is the pessimist |
//! | [`MaxAleatoric`] | maxᵢ ‖σᵢ‖₂ | MOPO |
//! | [`MaxPairwise`] | max over i < j of ‖μᵢ − μⱼ‖₂ | MOReL |
//!
//! **The scale is part of the choice.** Two measures differ by orders of magnitude and some grow with the number of columns: a λ
//! tuned for one means nothing for another.
//!
//! A prediction that is NaN gives a penalty that is NaN, never a small one.
#![forbid(unsafe_code)]

mod max_aleatoric;
mod max_pairwise;
mod penalty;

pub use max_aleatoric::MaxAleatoric;
pub use max_pairwise::MaxPairwise;
pub use penalty::{NoPenalty, Penalty};

#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
