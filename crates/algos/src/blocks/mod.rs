//! The pieces that algorithms are made of: each a term of the papers, each with tests of its own.

pub mod actor;
pub mod actor_critic;
pub mod begin_small;
pub mod behaviour;
pub mod behaviour_actor_critic;
pub mod candidates;
pub mod conjugate_gradients;
pub mod conservative;
pub mod deterministic;
pub mod deterministic_actor_critic;
pub mod metrics;
pub mod mmd;
pub mod perturbed;
pub mod recent;
pub mod standardise;
pub mod temperature;
pub mod transition;
pub mod value;
