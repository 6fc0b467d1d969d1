//! Whether an algorithm computes what other code computes, number for number.
//!
//! Equations leave much open: the order of updates, what is a mean and what a sum, on which side of a step a value is taken.
//! A [`Fixture`] holds what other code did in a few updates: its first parameters, its batches, each random number it drew,
//! and what came of it. [`replay`] puts the parameters into a [`Subject`] of ours, has it updated with the batches and the numbers, and
//! compares losses, first gradients and last parameters. Which algorithms there are, and what their batches look like, is the business of
//! the crates that have them. The format is described in `crates/parity/tests/golden/README.md`; how much may differ, at [`Kind::bound`].

mod compare;
mod error;
mod fixture;
mod keys;
mod names;
mod subject;

pub use compare::{Compared, Kind, difference, relative};
pub use error::ParityError;
pub use fixture::{Fixture, Tensor};
pub use keys::read_note;
pub use subject::{BETA1, Subject, replay, replaying, start};
