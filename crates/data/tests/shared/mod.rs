//! What the tests of this crate share: the directory of recorded files, and small datasets with known traps.
#![allow(dead_code)]

use backcast_core::Real;
use backcast_data::{Dataset, Row};
use std::path::PathBuf;

/// `relative` below the directory of recorded files, or a loud line and `None`.
#[allow(clippy::print_stderr)]
pub(crate) fn recorded(test: &str, relative: &str) -> Option<PathBuf> {
    let workspace = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../..");
    // A checkout may lie one or two levels below the directory that holds the files.
    let candidates = ["../shared/data", "../../shared/data"].map(|up| workspace.join(up).join(relative));
    let found = candidates.iter().find(|path| path.exists()).cloned();
    if found.is_none() {
        eprintln!("SKIPPED: {test}: {} is not here", candidates[0].display());
    }
    found
}

/// What the row after a truncation, and the stored next observation of a truncated row, look like.
#[derive(Clone, Copy, PartialEq)]
pub(crate) enum Next {
    /// Not stored.
    None,
    /// The true next state, everywhere.
    True,
    /// The true next state inside episodes; across a truncation, the next episode's first state.
    Leaking,
}

/// Episodes of a counter: episode `e` starts at `1000·(e + 1)` and counts up by one a row; the reward is the row's age.
/// `terminal[e]` says whether the environment ended it; otherwise it was truncated.
pub(crate) fn counters(lengths: &[usize], terminal: &[bool], next: Next) -> Dataset {
    let mut dataset = Dataset::new(1, 1, next != Next::None);
    for (e, (&rows, &terminal)) in lengths.iter().zip(terminal).enumerate() {
        for t in 0..rows {
            let s = 1000.0 * (e + 1) as Real + t as Real;
            let last = t + 1 == rows;
            let across = if e + 1 < lengths.len() { 1000.0 * (e + 2) as Real } else { 7.0 };
            let truth = if last && next == Next::Leaking { across } else { s + 1.0 };
            dataset.push(Row {
                obs: &[s],
                act: &[0.5],
                reward: t as Real,
                terminal: last && terminal,
                truncated: last && !terminal,
                next_obs: (next != Next::None).then_some(&[truth]),
            });
        }
    }
    dataset
}
