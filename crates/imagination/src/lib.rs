//! Rolling a policy through a model, forwards or backwards, into a model buffer of transitions.
//!
//! Forward imagination (MBPO, MOPO) starts at a recorded state and asks a model what would follow; it may leave what is known.
//! Reverse imagination (ROMI, arXiv:2110.00188) starts at a recorded state and asks what may have *led* there: every imagined
//! path ends inside the data, so it adds routes into the known region and none out of it. Here both are one loop,
//! [`Imaginer`]; the direction is a property of the model.
//!
//! ```
//! use backcast_core::{Column, Transitions, Direction, Key, Spec, never};
//! use backcast_dynamics::{Ensemble, EnsembleConfig};
//! use backcast_imagination::{ImagineConfig, Imaginer, RowsWhere, Trace, Uniform};
//! use backcast_penalties::NoPenalty;
//!
//! // A walk on the plane; being near the origin is rewarded.
//! let spec = Spec::new(2, 2);
//! let mut dataset = Transitions::new(spec);
//! let mut x = vec![0.0; 4 * 1000];
//! Key::new(1).uniform(-1.0, 1.0, &mut x);
//! for x in x.chunks_exact(4) {
//!     let near = (x[0].abs() + x[1].abs() < 0.3) as u8 as backcast_core::Real;
//!     dataset.push(&x[..2], &x[2..], near, &[x[0] + 0.1 * x[2], x[1] + 0.1 * x[3]], false);
//! }
//! let config = EnsembleConfig {
//!     members: 2, elites: 2, hidden: vec![16], weight_decay: vec![0.0; 2], max_epochs: Some(3), ..EnsembleConfig::default()
//! };
//! let mut model = Ensemble::new(config, spec, Direction::Reverse, Key::new(2))?;
//! model.fit(&dataset, Key::new(3), &mut |_| true)?;
//!
//! // Backwards from rewarded states: how could one have come here?
//! let goals = RowsWhere::new(&dataset, |dataset, row| dataset.row(Column::Reward, row)[0] > 0.0);
//! let config = ImagineConfig { horizon: 4, starts_per_call: 10, ..ImagineConfig::default() };
//! let mut imaginer = Imaginer::new(config, never, NoPenalty)?;
//! let mut trace = Trace::new(spec);
//! let summary = imaginer.imagine(&mut model, &goals, &mut Uniform(spec), Key::new(4), &mut trace);
//! assert_eq!((summary.started, summary.stored), (10, 40));
//!
//! // Stored in forward time: the first step of a chain ends in the recorded state, the second ends where the first begins.
//! let chain = &trace.chains()[0];
//! assert_eq!(trace.transitions.row(Column::NextObs, chain[1]), trace.transitions.row(Column::Obs, chain[0]));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # What is fixed and what can be chosen
//! | question | answer |
//! |---|---|
//! | where do chains start? | any [`Source`](backcast_core::Source): uniform [`Transitions`](backcast_core::Transitions), a prioritised one, [`RowsWhere`]; at *s* or *s′* of the row ([`Anchor`]) |
//! | who acts? | any [`Policy`](backcast_core::Policy), asked at the state the chain has come to: [`Uniform`], a CVAE, a clone, an algorithm |
//! | which member predicts? | an elite drawn for each row and step |
//! | when does a chain end? | at the horizon, at a terminal transition ([`StopRule`]), or where it comes into the unknown ([`Halt`]) |
//! | what is left out? | what a model of the other direction does not agree with ([`CycleCheck`]); the steps of a chain that has gathered too much uncertainty ([`ImagineConfig::uncertainty_budget`]) |
//! | where do transitions go? | a [`Sink`](backcast_core::Sink): columns, a [`Trace`], or a closure that overwrites the oldest row of a buffer |
//!
//! **Invariants.** A stored transition is *(s, a, r, s′, d)* in forward time whatever the model's direction, and the termination
//! is given it that way. A row with a number that is not finite is never stored; the [`RolloutSummary`](backcast_core::RolloutSummary) counts it. The horizon ends a
//! chain without marking it terminal.
//!
//! How far a model can be trusted is measured by [`model_error`]: its error against recorded trajectories, step by step. Whether
//! it knows where it is wrong is measured by [`calibrate`]: its uncertainty against its error, where the truth can be had.
#![forbid(unsafe_code)]

mod calibration;
mod cycle;
mod error;
mod imaginer;
mod policies;
mod sink;
mod starts;

pub use calibration::{Asked, Calibration, Measure, Truth, by_penalty, calibrate};
pub use cycle::CycleCheck;
pub use error::{Drive, HorizonConfig, HorizonError, model_error};
pub use imaginer::{Anchor, Halt, ImagineConfig, Imaginer, StepDraws, StopRule};
pub use policies::{ScaledPolicy, Uniform};
pub use sink::Trace;
pub use starts::RowsWhere;

#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
