//! Whether the workspace computes what other code computes: fixtures, their replay, the comparison.
//!
//! [`recording`] is the machinery: what a [`Fixture`](recording::Fixture) holds, how its draws are replayed and how much may differ.
//! [`algos`] replays the algorithms of `backcast-algos`, models and rollouts; [`factorization`] those of `backcast-factorization`.
//! Every committed fixture lies in `tests/golden`.
#![forbid(unsafe_code)]

pub mod algos;
pub mod factorization;
pub mod recording;
