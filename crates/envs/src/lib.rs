//! Environments in pure Rust, their terminations and reference scores.
//!
//! Offline reinforcement learning trains on datasets, but somebody has to say how good the trained policy is, and has to make
//! the datasets. This crate does both without a simulator to install: four environments whose physics fits in a page each, the
//! generator of the maze datasets, and the tables that turn a return into the score papers print.
//!
//! | environment | observation / action | physics checked against |
//! |---|---|---|
//! | [`maze2d`]: a sphere in a maze (D4RL), 20 registered tasks | 4 / 2 | MuJoCo 4.0.0, contacts included |
//! | [`pendulum`]: swing-up (Gym) | 3 / 1 | recorded datasets |
//! | [`dmsd`]: two masses, three springs (NeoRL-2) | 6 / 2 | recorded datasets |
//! | [`spread`]: three particles share out three landmarks (MPE) | 3·18 / 3·2 | steps computed by hand |
//!
//! Where MuJoCo is installed, [`mujoco`] adds hopper, half-cheetah, walker2d, reacher, ant and antmaze; it is loaded at run time, and
//! nothing here needs it.
//!
//! An environment is an [`Env`](backcast_core::Env): its next state is a pure function of the key of the reset and the actions since.
//!
//! ```
//! use backcast_core::Key;
//! use backcast_envs::registry;
//!
//! let mut env = registry::make("maze2d-umaze-v1")?;
//! let (mut obs, mut total) = (vec![0.0; env.spec().obs], 0.0);
//! env.reset(Key::new(7).name("evaluation").fold(0), &mut obs);
//! for t in 0..env.horizon() {
//!     let mut act = [0.0; 2];
//!     Key::new(7).name("random policy").fold(t as u64).uniform(-1.0, 1.0, &mut act);
//!     total += f64::from(env.step(&act, &mut obs).reward);
//! }
//! // 0 is the random policy's mean return, 100 that of a controller with a stale plan.
//! let score = registry::reference_scores("maze2d-umaze-v1").unwrap().mean(total);
//! assert!(score > -20.0 && score < 200.0);
//! # Ok::<(), backcast_envs::EnvError>(())
//! ```
//!
//! [`exact`] takes one exact step from an observation, whoever imagined it: the truth that a learnt model is compared with.
//!
//! The first three can also be [pushed](push::Pushable) in the middle of an episode, to see whether a policy comes back.
//!
//! What is deliberately absent: files written (a dataset leaves [`maze2d::generate`] as plain columns), rendering, and hidden state. An
//! environment of your own is tried with [`checker::check`].
//!
//! Physics is computed in `f64`; [`Real`](backcast_core::Real) is what goes in and out.
#![deny(unsafe_code)]

pub mod checker;
pub mod dmsd;
mod error;
pub mod exact;
pub mod maze2d;
pub mod mujoco;
pub mod pendulum;
pub mod push;
pub mod registry;
pub mod spread;
pub mod termination;

/// The README's example, compiled and run.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;

pub use backcast_core::ReferenceScores;
pub use error::EnvError;
pub use registry::{make, make_pushable, reference_scores};
