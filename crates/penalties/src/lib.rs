//! How much not to trust an imagined step: one file per published penalty.
#![forbid(unsafe_code)]

mod max_aleatoric;
mod max_pairwise;
mod penalty;

pub use max_aleatoric::MaxAleatoric;
pub use max_pairwise::MaxPairwise;
pub use penalty::{NoPenalty, Penalty};
