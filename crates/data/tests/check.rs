//! What `check` and `show` say of files with known faults, and of the recorded files.
#![allow(clippy::unnecessary_cast)] // `Real` is `f64` in some builds.

mod shared;

use backcast_core::Real;
use backcast_data::check::{Check, Finding, Listing, Severity, Show, check, show};
use backcast_data::{Dataset, Row, d4rl};
use shared::{Next, counters, recorded};
use std::path::Path;

fn checked(dataset: &Dataset) -> Check {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("log.hdf5");
    d4rl::write(&path, dataset).unwrap();
    check(&path).unwrap()
}

fn named<'a>(check: &'a Check, name: &str) -> Option<&'a Finding> {
    check.findings.iter().find(|finding| finding.name == name)
}

/// A dataset of stored next observations whose row 5 does not lead where row 6 is.
fn broken() -> Dataset {
    let mut dataset = Dataset::new(2, 1, true);
    for t in 0..10 {
        let x = t as Real;
        let next = if t == 5 { 50.0 } else { x + 1.0 };
        let act = if t == 3 { Real::NAN } else { 1.5 };
        dataset.push(Row {
            obs: &[x, 4.0],
            act: &[act],
            reward: 1.0,
            terminal: false,
            truncated: t == 9,
            next_obs: Some(&[next, 4.0]),
        });
    }
    dataset
}

#[test]
fn a_clean_file_passes() {
    let check = checked(&counters(&[5, 4], &[true, false], Next::True));
    assert!(check.passed() && check.findings.iter().all(|f| f.severity == Severity::Info), "{check}");
    let summary = check.summary.unwrap();
    assert_eq!((summary.rows, summary.episodes, summary.terminals, summary.truncated), (9, 2, 1, 1));
    assert_eq!((summary.returns.mean, summary.returns.min, summary.returns.max), (8.0, 6.0, 10.0));
    assert_eq!((summary.lengths.mean, summary.rewards.max, summary.beyond_one), (4.5, 4.0, 0.0));
}

#[test]
fn every_fault_is_found_with_its_row_and_the_worst_comes_first() {
    let check = checked(&broken());
    assert!(!check.passed());
    let bad = named(&check, "non_finite").unwrap();
    assert_eq!((bad.severity, bad.dataset.as_deref(), bad.row), (Severity::Error, Some("actions"), Some(3)));
    let bad = named(&check, "disagreements").unwrap();
    assert_eq!((bad.severity, bad.row), (Severity::Error, Some(5)));
    assert_eq!(check.summary.as_ref().unwrap().worst_disagreement, 44.0);
    for name in ["beyond_one", "constant_reward"] {
        assert_eq!(named(&check, name).unwrap().severity, Severity::Warn, "{name}");
    }
    assert_eq!(check.summary.as_ref().unwrap().constant_columns, [1]);
    assert!(check.findings.is_sorted_by(|a, b| a.severity >= b.severity));
    let text = check.to_string();
    assert!(
        text.contains("error  non_finite: `actions`, row 3: 1 values are NaN") && text.ends_with("failed\n"),
        "{text}"
    );
    let json = serde_json::to_value(&check).unwrap();
    assert_eq!(json["summary"]["first_disagreement"], 5);
    assert_eq!(json["findings"][0]["severity"], "error");
}

#[test]
fn rounding_between_two_copies_of_a_state_is_no_error() {
    let mut dataset = Dataset::new(1, 1, true);
    for t in 0..4 {
        let next = t as Real + 1.0 + if t == 1 { 1e-6 } else { 0.0 };
        let (act, reward) = ([0.1 * t as Real], t as Real);
        dataset.push(Row {
            obs: &[t as Real],
            act: &act,
            reward,
            terminal: t == 3,
            truncated: false,
            next_obs: Some(&[next]),
        });
    }
    let check = checked(&dataset);
    assert_eq!(named(&check, "disagreements").unwrap().severity, Severity::Info);
    assert!(check.passed());
}

#[test]
fn leaks_repetitions_and_duplicates_are_counted() {
    let leaking = checked(&counters(&[3, 3, 3], &[false, true, false], Next::Leaking));
    let summary = leaking.summary.as_ref().unwrap();
    assert_eq!((summary.leaking_truncated, summary.leaking_terminals), (1, 1));
    assert!(named(&leaking, "leaking_timeouts").is_some() && named(&leaking, "leaking_terminals").is_some());
    let mut dataset = Dataset::new(1, 1, false);
    for (s, truncated) in [(0.0, false), (1.0, true), (1.0, false), (0.0, false), (0.0, false), (2.0, false)] {
        dataset.push(Row { obs: &[s], act: &[0.0], reward: s, terminal: false, truncated, next_obs: None });
    }
    let check = checked(&dataset);
    // Rows 3 and 4 equal row 0; row 2 differs from row 1 in its flag.
    assert_eq!(check.summary.as_ref().unwrap().duplicates, 2);
    assert_eq!(check.summary.as_ref().unwrap().stale, 1);
    assert!(named(&check, "unfinished").is_some());
}

#[test]
fn a_file_of_another_layout_is_shown_and_does_not_pass() {
    let Some(path) = recorded("another layout", "overcooked/cramped_room.hdf5") else { return };
    let Show { datasets, summary, unreadable, .. } = show(&path).unwrap();
    assert!(summary.is_none() && unreadable.unwrap().contains("[19190, 2, 28]"));
    assert!(datasets.iter().any(|listing| matches!(listing, Listing::Readable(e)
        if e.name == "actions" && e.kind.to_string() == "int8" && e.storage == "chunked, shuffle, deflate")));
    let check = check(&path).unwrap();
    assert_eq!((check.passed(), check.findings[0].name), (false, "unreadable"));
    assert!(check_opens_only_files());
}

fn check_opens_only_files() -> bool {
    check(Path::new("/nowhere/at/all.hdf5")).is_err() && show(Path::new("/nowhere/at/all.hdf5")).is_err()
}

#[test]
fn the_traps_of_the_recorded_files_are_found() {
    for (name, finding, count) in [
        ("pendulum/pendulum-replay.hdf5", "leaking_timeouts", "499 of 500"),
        ("reacher/reacher-v2-return-9.6.hdf5", "leaking_timeouts", "99 of 100"),
        ("maze2d/maze2d-umaze-sparse-v1-noisy-regen200k.hdf5", "stale", "2500 rows"),
        ("door/door-human-dapg.hdf5", "beyond_one", "5.62 %"),
        ("door/door-human-dapg.hdf5", "no_next_observations", ""),
    ] {
        let Some(path) = recorded("findings", name) else { continue };
        let check = check(&path).unwrap();
        let found = named(&check, finding).unwrap_or_else(|| panic!("{name}: no {finding} in\n{check}"));
        assert!(found.message.starts_with(count), "{name}: {found}");
        assert!(check.passed(), "{check}");
        assert!(show(&path).unwrap().to_string().contains("observations             float32"));
    }
}
