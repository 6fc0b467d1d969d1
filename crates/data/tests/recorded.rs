//! Every trap of the recorded files, on the files themselves; skipped loudly where they are not.
#![allow(clippy::unnecessary_cast)] // `Real` is `f64` in some builds.

mod shared;

use approx::{abs_diff_eq, assert_abs_diff_eq};
use backcast_core::{Column, Real};
use backcast_data::{Dataset, End, Options, TerminalRows, d4rl};
use shared::recorded;

fn read(test: &str, name: &str) -> Option<Dataset> {
    let path = recorded(test, name)?;
    Some(d4rl::read(&path).unwrap_or_else(|error| panic!("{error}")))
}

/// No transition may join two episodes: each next observation must be the next row's, where that row is in the episode.
fn assert_no_leak(dataset: &Dataset, options: &Options) -> usize {
    let (data, report) = dataset.transitions(options).unwrap();
    let dropped = report.dropped_truncated
        + report.dropped_leaks
        + report.dropped_terminals
        + report.dropped_last
        + report.dropped_stale
        + report.dropped_actionless;
    assert_eq!(report.kept + dropped, report.rows, "{report:?}");
    assert_eq!(
        data.transitions().values(Column::Terminal).iter().filter(|&&d| d != 0.0).count(),
        0,
        "no file has terminals"
    );
    for (e, episode) in data.episodes().iter().enumerate() {
        let first = if e + 1 < data.episodes().len() { Some(dataset.row(episode.after()).obs) } else { None };
        for row in data.rows_of(e) {
            assert_eq!(data.episode_of()[row] as usize, e);
            assert_ne!(
                Some(data.transitions().row(Column::NextObs, row)),
                first,
                "row {row} leaks into episode {}",
                e + 1
            );
        }
    }
    report.kept
}

#[test]
fn every_file_has_the_rows_shapes_and_returns_of_the_manifest() {
    let Some(manifest) = recorded("manifest", "MANIFEST.json") else { return };
    let files: serde_json::Value = serde_json::from_str(&std::fs::read_to_string(&manifest).unwrap()).unwrap();
    let mut compared = 0;
    for file in files.as_array().unwrap() {
        let name = file["path"].as_str().unwrap();
        let path = manifest.with_file_name(name);
        if file["obs"].as_array().unwrap().len() > 1 {
            // Two agents' observations are not the layout of one agent, and the error says so.
            let error = d4rl::read(&path).unwrap_err().to_string();
            assert!(error.contains("`observations` has shape") && error.contains(name), "{error}");
            continue;
        }
        let dataset = d4rl::read(&path).unwrap_or_else(|error| panic!("{error}"));
        let episodes = dataset.episodes();
        let returns: Vec<f64> = episodes.iter().map(|e| e.total).collect();
        let mean = returns.iter().sum::<f64>() / returns.len() as f64;
        let std = (returns.iter().map(|r| (r - mean).powi(2)).sum::<f64>() / returns.len() as f64).sqrt();
        let low = returns.iter().copied().fold(f64::INFINITY, f64::min);
        let high = returns.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        let whole = |field: &str| file[field].as_u64().unwrap() as usize;
        assert_eq!(dataset.len(), whole("rows"), "{name}");
        assert_eq!(episodes.len(), whole("episodes"), "{name}");
        assert_eq!(dataset.widths(), ["obs", "act"].map(|w| file[w][0].as_u64().unwrap() as usize), "{name}");
        assert_eq!(episodes.iter().filter(|e| e.end == End::Terminal).count(), whole("terminals"), "{name}");
        assert_eq!(dataset.has_next_obs(), file["keys"].get("next_observations").is_some(), "{name}");
        for (field, value) in [("mean_return", mean), ("std_return", std), ("min_return", low), ("max_return", high)] {
            // The manifest prints three decimals.
            let printed = file[field].as_f64().unwrap();
            assert!(
                abs_diff_eq!(value, printed, epsilon = 6e-4),
                "{name}: {field} is {value}, and {printed} in the manifest"
            );
        }
        compared += 1;
    }
    assert!(compared >= 10, "only {compared} files were compared");
}

#[test]
fn pendulum_replay_and_reacher_store_the_next_episode_on_truncated_rows_and_those_are_dropped() {
    for (name, episodes) in [
        ("pendulum/pendulum-replay.hdf5", 500),
        ("reacher/reacher-v2-return-4.35.hdf5", 100),
        ("reacher/reacher-v2-return-9.6.hdf5", 100),
        ("reacher/reacher-v2-return-43.28.hdf5", 100),
    ] {
        let Some(dataset) = read("leaking next observations", name) else { continue };
        let (_, report) = dataset.transitions(&Options::default()).unwrap();
        // All of them: the last row cannot be compared with anything, and shares the fate of the others.
        assert_eq!(report.dropped_leaks, episodes, "{name}: {report:?}");
        assert_eq!(assert_no_leak(&dataset, &Options::default()), dataset.len() - episodes, "{name}");
    }
}

#[test]
fn files_with_true_next_observations_lose_no_row() {
    for name in [
        "pendulum/pendulum-expert.hdf5",
        "pendulum/pendulum-medium.hdf5",
        "pendulum/pendulum-sac-late.hdf5",
        "neorl2/DMSD-val.hdf5",
        "neorl2/SafetyHalfCheetah-val.hdf5",
        "gym_expert/Hopper-v4-expert.hdf5",
    ] {
        let Some(dataset) = read("true next observations", name) else { continue };
        let (_, report) = dataset.transitions(&Options::default()).unwrap();
        assert_eq!((report.kept, report.disagreements), (dataset.len(), 0), "{name}: {report:?}");
        assert_no_leak(&dataset, &Options::default());
    }
}

#[test]
fn the_transitions_of_the_pendulum_obey_its_physics() {
    for name in ["pendulum/pendulum-replay.hdf5", "pendulum/pendulum-sac-late.hdf5"] {
        let Some(dataset) = read("pendulum physics", name) else { continue };
        let options = Options { act_limit: 2.0, ..Options::default() };
        let (data, _) = dataset.transitions(&options).unwrap();
        let mut worst: Real = 0.0;
        for i in 0..data.transitions().len() {
            let (s, n) = (data.transitions().row(Column::Obs, i), data.transitions().row(Column::NextObs, i));
            let u = data.transitions().row(Column::Act, i)[0];
            let speed = (s[2] + 0.05 * (15.0 * s[1] + 3.0 * u)).clamp(-8.0, 8.0);
            let angle = s[1].atan2(s[0]) + 0.05 * speed;
            // Some of these datasets were recorded with the older order, in which the speed is clipped last.
            let unclipped = s[1].atan2(s[0]) + 0.05 * (s[2] + 0.05 * (15.0 * s[1] + 3.0 * u));
            let error = |angle: Real| (n[0] - angle.cos()).abs().max((n[1] - angle.sin()).abs());
            worst = worst.max((n[2] - speed).abs()).max(error(angle).min(error(unclipped)));
        }
        assert!(worst < 1e-3, "{name}: {worst}");
    }
}

#[test]
fn maze2d_episodes_are_truncated_and_repeat_an_observation_after_each() {
    for (name, cuts) in [
        ("maze2d/maze2d-umaze-sparse-v1-noisy-regen200k.hdf5", 2500),
        ("maze2d/maze2d-medium-sparse-v1-noisy-regen200k.hdf5", 1208),
    ] {
        let Some(dataset) = read("maze2d", name) else { continue };
        assert!(!dataset.has_next_obs());
        let episodes = dataset.episodes();
        assert_eq!(episodes.len(), cuts + 1);
        assert!(episodes[..cuts].iter().all(|e| e.end == End::Truncated) && episodes[cuts].end == End::Unfinished);
        let (_, report) = dataset.transitions(&Options::default()).unwrap();
        assert_eq!((report.dropped_truncated, report.dropped_last, report.stale), (cuts, 1, cuts), "{report:?}");
        assert_eq!(report.kept, 200_000 - cuts - 1);
        let fresh = Options { drop_stale: true, ..Options::default() };
        let (_, report) = dataset.transitions(&fresh).unwrap();
        // Some segments have a single row, which is then both a repeated one and a truncated one: it is counted once.
        assert_eq!(report.dropped_stale, cuts, "{report:?}");
        assert!(report.kept < 200_000 - cuts - 1, "{report:?}");
        // One step of physics moves the particle by less than 5.24 · 0.01 in each axis. The rows after a repeated
        // observation span two steps, and only they are longer.
        let [two_steps, one_step] = [Options::default(), fresh].map(|options| {
            let (data, _) = dataset.transitions(&options).unwrap();
            (0..data.transitions().len())
                .map(|i| (data.transitions().row(Column::Obs, i), data.transitions().row(Column::NextObs, i)))
                .flat_map(|(s, n)| [(n[0] - s[0]).abs(), (n[1] - s[1]).abs()])
                .fold(0.0, Real::max)
        });
        assert!(one_step < 0.0524 && two_steps > 0.0524, "{name}: {one_step} and {two_steps}");
    }
}

#[test]
fn door_has_actions_beyond_the_limit_and_can_be_clipped() {
    let Some(dataset) = read("door", "door/door-human-dapg.hdf5") else { return };
    let beyond = |options: &Options| {
        let (data, report) = dataset.transitions(options).unwrap();
        let actions = data.transitions().values(Column::Act);
        let share = actions.iter().filter(|a| a.abs() > 1.0).count() as f64 / actions.len() as f64;
        (share, report)
    };
    let (share, report) = beyond(&Options::default());
    assert_abs_diff_eq!(share, 0.056, epsilon = 0.001);
    assert_eq!((report.dropped_truncated, report.kept), (25, 6729 - 25), "{report:?}");
    let (share, clipped) = beyond(&Options { clip_actions: true, ..Options::default() });
    assert_eq!((share, clipped.beyond_limit), (0.0, report.beyond_limit));
    assert!(clipped.beyond_limit > 0);
}

#[test]
fn episode_length_is_data() {
    let Some(dataset) = read("episode lengths", "pendulum/pendulum-sac-late.hdf5") else { return };
    let mut odd: Vec<usize> = dataset.episodes().iter().map(|e| e.rows).filter(|&rows| rows != 200).collect();
    odd.sort();
    assert_eq!(odd, [63, 168]);
}

#[test]
fn model_data_and_policy_data_are_the_same_where_nothing_terminates() {
    let Some(dataset) = read("terminals", "neorl2/DMSD-val.hdf5") else { return };
    let policy = dataset.transitions(&Options::default()).unwrap();
    let model = dataset.transitions(&Options { terminals: TerminalRows::Drop, ..Options::default() }).unwrap();
    assert_eq!((policy.0.transitions(), policy.1), (model.0.transitions(), model.1));
}
