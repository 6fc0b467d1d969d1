//! Algorithms that are built on a learned model: they imagine in it, or ask it in their updates.

pub mod combo;
pub mod frozen_model;
pub mod generator;
pub mod imagination;
pub mod mobile;
pub mod mopo;
pub mod morel;
pub mod npg;
pub mod osr;
pub mod rambo;
pub mod romi;
pub mod scas;
pub mod sdc;
pub mod sdm_gan;
