//! Offline reinforcement learning by imagination: the whole workspace behind one name.
//!
//! Each crate stands on its own; this one re-exports them and adds what needs all of them at once: an [`Experiment`] read
//! from a file, an [`Agent`] that is complete when saved, [`evaluate`] in an environment, and [`run`], which carries an experiment
//! out so that it can be interrupted anywhere and continued to the same bits.
//!
//! ```
//! use backcast::{Experiment, core::Key, envs};
//!
//! let experiment = Experiment::parse(r#"
//!     name = "a first look"
//!     task = "maze2d-umaze-sparse-v1"
//!     [algorithm]
//!     name = "td3_bc"
//!     hidden = [64, 64]
//!     [training]
//!     updates = 1000
//! "#)?;
//! let env = envs::make(&experiment.task)?;
//! let agent = backcast::Agent::new(&experiment.algorithm, None, env.spec(), Key::new(0))?;
//! # let _ = agent;
//!
//! // Every unknown key is refused by name.
//! let error = Experiment::parse("name = \"x\"\ntask = \"dmsd\"\n[training]\nupdate = 5").unwrap_err();
//! assert!(error.to_string().contains("did you mean `updates`?"), "{error}");
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
#![forbid(unsafe_code)]

pub use backcast_algos as algos;
pub use backcast_core as core;
pub use backcast_data as data;
pub use backcast_dynamics as dynamics;
pub use backcast_envs as envs;
pub use backcast_factorization as factorization;
pub use backcast_imagination as imagination;
pub use backcast_nn as nn;
pub use backcast_penalties as penalties;
pub use backcast_stats as stats;
pub use backcast_storage as storage;

mod agent;
mod algorithm;
mod checks;
mod data_config;
mod error;
mod evaluate;
mod experiment;
pub mod export;
mod hint;
mod inert;
pub mod json;
pub mod online;
pub mod preset;
mod robustness;
pub mod run;
mod schema;
mod sensitivity;

pub use agent::Agent;
pub use algorithm::{About, AlgorithmConfig};
pub use checks::check_name;
pub use data_config::{DataConfig, Mix, MixOf};
pub use error::Error;
pub use evaluate::evaluate;
pub use experiment::{Experiment, ExperimentError, Imagine, Method, Published, Seeds, Training, slug};
pub use inert::Inert;
pub use robustness::{Perturbed, Pushes, RobustnessConfig, Wait, evaluate_perturbed};
pub use schema::schema;
pub use sensitivity::Sensitivity;

#[cfg(doctest)]
mod book;

/// The README's example, compiled and run with the documentation tests.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
