//! Physics against transitions recorded by others. Skips, loudly, where the files are not there.
#![allow(clippy::print_stderr, reason = "a skipped test and the measured deviations are to be seen")]

use backcast_envs::maze2d::physics::{PointState, advance, contacts};
use backcast_envs::maze2d::{Layout, Reward};
use backcast_envs::{dmsd, pendulum};
use rust_hdf5::H5File;
use std::path::Path;

/// The file `name` beside the workspace, or a loud complaint.
fn open(test: &str, name: &str) -> Option<H5File> {
    let workspace = Path::new(env!("CARGO_MANIFEST_DIR")).ancestors().nth(2).expect("crates/envs of a workspace");
    let path = workspace.with_file_name("shared").join("data").join(name);
    if !path.exists() {
        eprintln!("SKIPPED: {test}: {} is not here", path.display());
        return None;
    }
    Some(H5File::open(&path).expect("a readable HDF5 file"))
}

/// A column `[rows, W]` in double precision.
fn column<const W: usize>(file: &H5File, name: &str) -> Vec<[f64; W]> {
    let values = file.dataset(name).and_then(|d| d.read_raw::<f32>()).expect(name);
    assert_eq!(values.len() % W, 0, "{name}");
    values.chunks_exact(W).map(|row| std::array::from_fn(|i| f64::from(row[i]))).collect()
}

fn flags(file: &H5File, name: &str) -> Vec<bool> {
    let values = file.dataset(name).and_then(|d| d.read_raw::<u8>()).expect(name);
    values.into_iter().map(|flag| flag != 0).collect()
}

fn deviation<const W: usize>(ours: [f64; W], theirs: [f64; W]) -> f64 {
    (0..W).map(|i| (ours[i] - theirs[i]).abs()).fold(0.0, f64::max)
}

/// The p-th percentile, by nearest rank.
fn percentile(values: &mut [f64], p: f64) -> f64 {
    values.sort_by(f64::total_cmp);
    values[((values.len() as f64 * p / 100.0).ceil() as usize).clamp(1, values.len()) - 1]
}

fn maze(test: &str, name: &str, expected_stale: usize) {
    let Some(file) = open(test, &format!("maze2d/maze2d-{name}-sparse-v1-noisy-regen200k.hdf5")) else { return };
    let layout = Layout::named(name).unwrap();
    let (obs, act) = (column::<4>(&file, "observations"), column::<2>(&file, "actions"));
    let (reward, truncated) = (column::<1>(&file, "rewards"), flags(&file, "timeouts"));
    assert_eq!((obs.len(), truncated.len()), (200_000, 200_000));
    let state = |[x, y, vx, vy]: [f64; 4]| PointState { position: [x, y], velocity: [vx, vy] };
    let flat = |s: PointState| [s.position[0], s.position[1], s.velocity[0], s.velocity[1]];

    let (mut free, mut touching, mut across, mut stale) = (vec![], vec![], vec![], 0);
    let mut unseen = None;
    for t in 0..obs.len() - 1 {
        let from = unseen.take().unwrap_or((state(obs[t]), 0));
        let next = advance(&layout, from.0, act[t]);
        if truncated[t] {
            // The row after the end of a segment repeats its observation; the simulator has moved on unseen.
            assert_eq!(obs[t], obs[t + 1], "row {t}");
            unseen = Some((next, from.1 + 1));
            stale += 1;
            continue;
        }
        let errors = match from {
            (_, 1..) => &mut across,
            (from, 0) if contacts(&layout, from.position).is_empty() => &mut free,
            _ => &mut touching,
        };
        errors.push(deviation(flat(next), obs[t + 1]));
    }
    let mut all: Vec<f64> = free.iter().chain(&touching).copied().collect();
    for (which, errors) in [("free", &mut free), ("contact", &mut touching), ("all", &mut all), ("across", &mut across)]
    {
        let [median, high, extreme, most] = [50.0, 99.0, 99.9, 100.0].map(|p| percentile(errors, p));
        eprintln!(
            "{test}: {which}: {} rows, median {median:.1e}, 99 % {high:.1e}, 99.9 % {extreme:.1e}, max {most:.1e}",
            errors.len()
        );
    }
    assert_eq!(stale, expected_stale);
    // The files hold single precision: rounding a position by 2.4e-7 moves a stiff contact's impulse by up to 3e-5.
    // MuJoCo itself, restarted from the rounded rows, deviates as much.
    assert!(percentile(&mut free, 100.0) <= 1e-6);
    assert!(percentile(&mut touching, 100.0) <= 5e-5 && touching.len() > 250);
    assert!(percentile(&mut all, 50.0) <= 1e-6 && percentile(&mut all, 99.9) <= 1e-5);
    assert!(percentile(&mut across, 100.0) <= 5e-5);

    // Rewards are for the row's own observation.
    let goal = [layout.goal().0 as f64, layout.goal().1 as f64];
    for (t, (row, paid)) in obs.iter().zip(&reward).enumerate() {
        assert_eq!(Reward::Sparse.at([row[0], row[1]], goal), paid[0], "row {t}");
    }
}

#[test]
fn umaze_rows_follow_one_another() {
    maze("umaze_rows_follow_one_another", "umaze", 2500);
}

#[test]
fn medium_rows_follow_one_another() {
    maze("medium_rows_follow_one_another", "medium", 1208);
}

#[test]
fn pendulum_rows_follow_one_another() {
    for name in ["medium", "expert", "sac-late"] {
        let test = "pendulum_rows_follow_one_another";
        let Some(file) = open(test, &format!("pendulum/pendulum-{name}.hdf5")) else { continue };
        let (obs, act) = (column::<3>(&file, "observations"), column::<1>(&file, "actions"));
        let (next, reward) = (column::<3>(&file, "next_observations"), column::<1>(&file, "rewards"));
        let (mut worst, mut worst_reward) = (0.0_f64, 0.0_f64);
        for t in 0..obs.len() {
            let (state, paid) = pendulum::advance(pendulum::PendulumState::from_obs(obs[t]), act[t][0]);
            worst = worst.max(deviation(state.obs(), next[t]));
            worst_reward = worst_reward.max((paid - reward[t][0]).abs());
        }
        eprintln!("{test}: {name}: {} rows, worst state {worst:.1e}, worst reward {worst_reward:.1e}", obs.len());
        assert!(obs.len() >= 10_000 && worst <= 1e-6 && worst_reward <= 2e-6);
    }
}

#[test]
fn dmsd_rows_follow_one_another() {
    let (test, mut rows) = ("dmsd_rows_follow_one_another", 0);
    for split in ["train", "val"] {
        let Some(file) = open(test, &format!("neorl2/DMSD-{split}.hdf5")) else { return };
        let (obs, act) = (column::<6>(&file, "observations"), column::<2>(&file, "actions"));
        let (next, reward) = (column::<6>(&file, "next_observations"), column::<1>(&file, "rewards"));
        let (mut worst, mut worst_reward, mut switched) = (0.0_f64, 0.0_f64, 0);
        for t in 0..obs.len() {
            let [x1, x2, v1, v2, t1, t2] = obs[t];
            let state = dmsd::advance(dmsd::DmsdState { position: [x1, x2], velocity: [v1, v2] }, act[t]);
            let [p, q] = state.position;
            let [u, v] = state.velocity;
            let [n1, n2, .., s1, s2] = next[t];
            worst = worst.max(deviation([p, q, u, v], [n1, n2, next[t][2], next[t][3]]));
            // From the recorded next position: near the target the logarithm magnifies its rounding a hundredfold.
            worst_reward = worst_reward.max((dmsd::reward([n1, n2], [s1, s2]) - reward[t][0]).abs());
            if [t1, t2] != [s1, s2] {
                assert_eq!(t % dmsd::HORIZON + 1, dmsd::SWITCH, "row {t}");
                switched += 1;
            }
        }
        eprintln!("{test}: {split}: {} rows, worst state {worst:.1e}, worst reward {worst_reward:.1e}", obs.len());
        assert!(worst <= 1e-6 && worst_reward <= 2e-6 && switched > 100);
        rows += obs.len();
    }
    assert_eq!(rows, 120_000);
}

/// What a file calls terminal, and nothing else, is what the task's rule ends. Where the next state of a row is not recorded it
/// is the next row's state, inside an episode.
#[test]
fn terminations_are_those_of_the_recordings() {
    for (name, task) in [
        ("gym_expert/Hopper-v4-expert.hdf5", "hopper-expert-v4"),
        ("gym_expert/Walker2d-v4-expert.hdf5", "walker2d-expert-v4"),
        ("gym_expert/HalfCheetah-v4-expert.hdf5", "halfcheetah-expert-v4"),
        ("neorl2/SafetyHalfCheetah-train.hdf5", "safetyhalfcheetah"),
        ("neorl2/DMSD-train.hdf5", "dmsd"),
        ("pendulum/pendulum-replay.hdf5", "pendulum"),
        ("reacher/reacher-v2-return-4.35.hdf5", "reacher-v2"),
        ("door/door-human-dapg.hdf5", "door-human-v0"),
    ] {
        let Some(file) = open("terminations_are_those_of_the_recordings", name) else { continue };
        let ends = backcast_envs::registry::termination(task).expect(task);
        let (terminal, truncated) = (flags(&file, "terminals"), flags(&file, "timeouts"));
        let width = file.dataset("observations").unwrap().shape()[1];
        let numbers = |name: &str| file.dataset(name).and_then(|d| d.read_raw::<f32>());
        let (obs, next) = (numbers("observations").expect(name), numbers("next_observations").ok());
        let (mut checked, mut ended) = (0, 0);
        for t in 0..terminal.len() {
            let s2 = match &next {
                Some(next) => &next[t * width..][..width],
                None if !truncated[t] && !terminal[t] && t + 1 < terminal.len() => &obs[(t + 1) * width..][..width],
                None => continue,
            };
            assert_eq!(ends(&obs[t * width..][..width], &[], s2), terminal[t], "{name}: row {t}: {s2:?}");
            (checked, ended) = (checked + 1, ended + usize::from(terminal[t]));
        }
        eprintln!("{name}: {checked} rows, {ended} of them terminal");
        assert!(checked > 1000, "{name}: {checked} rows");
    }
}
