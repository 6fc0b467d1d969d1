//! The pieces that algorithms are made of: each a term of the papers, each with tests of its own.

pub mod actor;
pub mod actor_critic;
pub mod candidates;
pub mod conservative;
pub mod deterministic;
pub mod metrics;
pub mod mmd;
pub mod perturbed;
pub mod temperature;
pub mod transition;
pub mod value;
