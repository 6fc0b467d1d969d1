//! The same traps as in the recorded files, in small datasets that are always here.
#![allow(clippy::unnecessary_cast)] // `Real` is `f64` in some builds.

mod shared;

use backcast_core::{Column, Key, Real, Source, Transitions};
use backcast_data::{DataError, Dataset, End, Options, Row, TerminalRows, d4rl, trajectory_weights};
use shared::{Next, counters};

fn pairs(dataset: &Dataset, options: &Options) -> Vec<(Real, Real, bool)> {
    let (data, _) = dataset.transitions(options).unwrap();
    let c = data.transitions();
    (0..c.len())
        .map(|i| (c.row(Column::Obs, i)[0], c.row(Column::NextObs, i)[0], c.row(Column::Terminal, i)[0] == 1.0))
        .collect()
}

#[test]
fn without_stored_next_observations_truncated_rows_and_the_last_row_are_dropped() {
    let mut dataset = counters(&[3, 2], &[false, false], Next::None);
    dataset.push(Row { obs: &[9.0], act: &[0.0], reward: 0.0, terminal: false, truncated: false, next_obs: None });
    dataset.push(Row { obs: &[10.0], act: &[0.0], reward: 0.0, terminal: false, truncated: false, next_obs: None });
    let (data, report) = dataset.transitions(&Options::default()).unwrap();
    assert_eq!((report.dropped_truncated, report.dropped_last, report.kept, report.rows), (2, 1, 4, 7));
    let expected = [(1000.0, 1001.0, false), (1001.0, 1002.0, false), (2000.0, 2001.0, false), (9.0, 10.0, false)];
    assert_eq!(pairs(&dataset, &Options::default()), expected);
    assert_eq!(data.episode_of(), [0, 0, 1, 2]);
    assert_eq!(data.rows_of(1), 2..3);
    assert_eq!(data.initial().iter().copied().collect::<Vec<_>>(), [1000.0, 2000.0, 9.0]);
    let ends: Vec<End> = data.episodes().iter().map(|e| e.end).collect();
    assert_eq!(ends, [End::Truncated, End::Truncated, End::Unfinished]);
}

#[test]
fn a_stored_next_observation_is_kept_on_truncated_rows_unless_it_is_the_next_episodes() {
    let dataset = counters(&[2, 2], &[false, false], Next::True);
    let all = [(1000.0, 1001.0, false), (1001.0, 1002.0, false), (2000.0, 2001.0, false), (2001.0, 2002.0, false)];
    assert_eq!(pairs(&dataset, &Options::default()), all);

    let dataset = counters(&[2, 2], &[false, false], Next::Leaking);
    let (_, report) = dataset.transitions(&Options::default()).unwrap();
    // The last row stores 7, and nothing follows it to compare with: it is dropped because the other one leaks.
    assert_eq!((report.dropped_leaks, report.kept), (2, 2));
    assert_eq!(pairs(&dataset, &Options::default()), [all[0], all[2]]);
}

#[test]
fn terminal_rows_serve_policies_and_not_models() {
    let with = |terminals| Options { terminals, ..Options::default() };
    for (next, known) in [(Next::None, false), (Next::True, true), (Next::Leaking, false)] {
        let dataset = counters(&[2, 2], &[true, true], next);
        let kept = pairs(&dataset, &with(TerminalRows::Keep));
        let after = |s: Real| if known { s + 1.0 } else { s };
        assert_eq!(kept[1], (1001.0, after(1001.0), true));
        assert_eq!(kept[3], (2001.0, after(2001.0), true));
        assert_eq!(kept.len(), 4);
        assert_eq!(pairs(&dataset, &with(TerminalRows::Drop)), [(1000.0, 1001.0, false), (2000.0, 2001.0, false)]);
        assert_eq!(pairs(&dataset, &with(TerminalRows::KeepKnown)).len(), if known { 4 } else { 2 });
        let (_, report) = dataset.transitions(&with(TerminalRows::Keep)).unwrap();
        assert_eq!(report.masked_terminals, if known { 0 } else { 2 });
    }
}

#[test]
fn a_truncated_row_is_not_terminal_and_a_row_with_both_flags_is_terminal() {
    let cut = counters(&[2, 2], &[false, false], Next::True);
    assert!(pairs(&cut, &Options::default()).iter().all(|(_, _, terminal)| !terminal));
    let mut both = Dataset::new(1, 1, false);
    both.push(Row { obs: &[0.0], act: &[0.0], reward: 0.0, terminal: true, truncated: true, next_obs: None });
    assert_eq!(both.episodes()[0].end, End::Terminal);
    assert_eq!(pairs(&both, &Options::default()), [(0.0, 0.0, true)]);
}

#[test]
fn returns_are_summed_before_rows_are_dropped() {
    let dataset = counters(&[4, 3], &[false, true], Next::None);
    let totals: Vec<f64> = dataset.episodes().iter().map(|e| e.total).collect();
    // The dropped cut row carries the largest reward of its episode.
    assert_eq!(totals, [6.0, 3.0]);
    let (data, _) = dataset.transitions(&Options::default()).unwrap();
    assert_eq!(data.mean_return(), 4.5);
}

#[test]
fn every_transition_carries_the_weight_of_its_trajectory() {
    let dataset = counters(&[4, 3, 2], &[true; 3], Next::None);
    let weights = |k| trajectory_weights(&dataset.episodes(), k);
    assert_eq!(weights(0.0), [1.0, 0.4, 0.0]);
    assert_eq!(weights(1.0), [1.0, 0.7, 0.5]);
    let (data, _) = dataset.transitions(&Options::default()).unwrap();
    assert_eq!(data.weights(), [1.0, 1.0, 1.0, 1.0, 0.4, 0.4, 0.4, 0.0, 0.0]);
    // Returns that differ by less than one are not blown up: the divisor is at least 1.
    let close = counters(&[1, 1], &[true; 2], Next::None);
    assert_eq!(trajectory_weights(&close.episodes(), 0.0), [0.0, 0.0]);
    let (data, _) = close.transitions(&Options::default()).unwrap();
    assert_eq!(data.priorities(1.0, false).unwrap_err().field, "weights");
}

#[test]
fn a_repeated_observation_after_a_truncation_is_counted_and_can_be_dropped() {
    let mut dataset = Dataset::new(1, 1, false);
    for (s, truncated) in [(0.0, false), (1.0, true), (1.0, false), (3.0, false), (3.0, false), (4.0, false)] {
        dataset.push(Row { obs: &[s], act: &[0.0], reward: 0.0, terminal: false, truncated, next_obs: None });
    }
    let (_, report) = dataset.transitions(&Options::default()).unwrap();
    // The second 3 repeats inside an episode: a particle may stand still.
    assert_eq!((report.stale, report.dropped_stale, report.kept), (1, 0, 4));
    let fresh = Options { drop_stale: true, ..Options::default() };
    assert_eq!(pairs(&dataset, &fresh), [(0.0, 1.0, false), (3.0, 3.0, false), (3.0, 4.0, false)]);
}

#[test]
fn a_dataset_without_truncations_can_be_truncated_at_its_horizon() {
    let mut dataset = Dataset::new(1, 1, false);
    for t in 0..7 {
        let terminal = t == 1;
        dataset.push(Row { obs: &[t as Real], act: &[0.0], reward: 0.0, terminal, truncated: false, next_obs: None });
    }
    dataset.truncate_at_horizon(3);
    let shape: Vec<_> = dataset.episodes().iter().map(|e| (e.first, e.rows, e.end)).collect();
    assert_eq!(shape, [(0, 2, End::Terminal), (2, 3, End::Truncated), (5, 2, End::Unfinished)]);
}

#[test]
fn a_value_that_is_not_finite_is_named() {
    let mut dataset = counters(&[3], &[true], Next::None).from_origin("somewhere");
    dataset.push(Row { obs: &[Real::NAN], act: &[0.0], reward: 0.0, terminal: true, truncated: false, next_obs: None });
    match dataset.transitions(&Options::default()).unwrap_err() {
        DataError::Value { dataset, row: 3, column: 0, .. } => assert_eq!(dataset, "observations"),
        other => panic!("{other}"),
    }
    let empty = Dataset::new(1, 1, false).transitions(&Options::default()).unwrap_err();
    assert!(matches!(empty, DataError::Empty { .. }), "{empty}");
}

#[test]
fn what_is_written_is_read_back_to_the_bit() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("log.hdf5");
    for next in [Next::None, Next::True] {
        let mut dataset = counters(&[300, 70, 30_000], &[false, true, false], next).from_origin(&path);
        let rows = dataset.len();
        dataset.push_info("goal", 2, (0..2 * rows).map(|i| (i as Real).sin()).collect());
        dataset.push_info("qpos", 1, vec![0.25; rows]);
        d4rl::write(&path, &dataset).unwrap();
        assert_eq!(d4rl::read(&path).unwrap(), dataset);
        // Nothing is left beside the file.
        assert_eq!(std::fs::read_dir(directory.path()).unwrap().count(), 1);
    }
    let nowhere = directory.path().join("absent/log.hdf5");
    let error = d4rl::write(&nowhere, &counters(&[2], &[true], Next::None)).unwrap_err();
    assert!(error.to_string().contains("absent"), "{error}");
    let error = d4rl::write(&path, &Dataset::new(1, 1, false)).unwrap_err();
    assert!(matches!(error, DataError::Empty { .. }), "{error}");
    assert!(d4rl::read(&path).is_ok(), "a refused write leaves the old file");
}

#[test]
fn next_actions_are_the_next_rows_own_and_never_another_episodes() {
    let mut dataset = Dataset::new(1, 1, true);
    // Cut after two rows, ended after three, stopped after one: stored next observations make every row a transition.
    for (i, (terminal, truncated)) in
        [(false, false), (false, true), (false, false), (false, false), (true, false), (false, false)]
            .into_iter()
            .enumerate()
    {
        let next = [i as Real + 0.5];
        dataset.push(Row {
            obs: &[i as Real],
            act: &[2.0 * i as Real],
            reward: 0.0,
            terminal,
            truncated,
            next_obs: Some(&next),
        });
    }
    let options = Options { next_actions: true, clip_actions: true, act_limit: 5.0, ..Options::default() };
    let (data, report) = dataset.transitions(&options).unwrap();
    assert_eq!((report.kept, report.dropped_actionless), (4, 2));
    let columns = data.transitions();
    let states: Vec<Real> = (0..4).map(|row| columns.row(Column::Obs, row)[0]).collect();
    assert_eq!(states, [0.0, 2.0, 3.0, 4.0]);
    // Clipped like the actions themselves, and zero after the end.
    assert_eq!(columns.next_actions().unwrap(), [2.0, 5.0, 5.0, 0.0]);
    let mut staging = Transitions::new(data.spec()).with_next_actions(true);
    let batch = data.sample(Key::new(1), 50, &mut staging);
    for (obs, next) in batch.obs.iter().zip(batch.next_act.unwrap()) {
        assert_eq!(*next, [2.0, 5.0, 5.0, 0.0][states.iter().position(|s| s == obs).unwrap()]);
    }
    // Whoever does not ask is not given any, and loses no row.
    assert!(dataset.transitions(&Options::default()).unwrap().0.transitions().next_actions().is_none());
}

#[test]
fn the_best_episodes_are_whole_ones_and_an_unfinished_one_is_no_candidate() {
    // Returns −2, −1, −4 (its terminal row counts), and −1 of an episode that goes on beyond the dataset.
    let mut dataset = Dataset::new(1, 1, false);
    let ends = [(2, false), (1, false), (4, true), (1, false)];
    for (episode, (rows, terminal)) in ends.into_iter().enumerate() {
        for row in 0..=rows {
            let (last, reward) = (row == rows, if row == 0 { 0.0 } else { -1.0 });
            let stops = last && episode < 3;
            let obs = [episode as Real];
            let (terminal, truncated) = (stops && terminal, stops && !terminal);
            dataset.push(Row { obs: &obs, act: &[row as Real], reward, terminal, truncated, next_obs: None });
        }
    }
    let (data, _) = dataset.transitions(&Options::default()).unwrap();
    let best = |fraction| {
        let best = data.best_episodes(fraction).unwrap();
        (0..best.len()).map(|row| best.row(Column::Obs, row)[0]).collect::<Vec<_>>()
    };
    assert_eq!(best(0.1), [1.0]);
    assert_eq!(best(0.67), [0.0, 0.0, 1.0]);
    assert_eq!(best(1.0), [0.0, 0.0, 1.0, 2.0, 2.0, 2.0, 2.0, 2.0]);
    for bad in [0.0, -0.1, 1.1, Real::NAN] {
        assert_eq!(data.best_episodes(bad).unwrap_err().field, "best_episodes");
    }
}
