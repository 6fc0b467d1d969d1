//! MuJoCo's worlds against Gymnasium's, and against rows that others recorded. Without MuJoCo every test says so and is skipped.
#![allow(clippy::print_stderr, reason = "a test that is skipped says so, and figures are to be seen")]

use backcast_core::{Env, Key, Real};
use backcast_envs::maze2d::Maze2d;
use backcast_envs::mujoco::{self, Ant, AntMaze, Install, Locomotion, PointMaze, Reacher, Runner, Version};
use std::path::{Path, PathBuf};

/// The installed MuJoCo, or a loud line.
fn install(test: &str) -> Option<Install> {
    let folder = Install::default_folder();
    if !folder.exists() {
        eprintln!("SKIPPED: {test}: there is no MuJoCo in {} (cargo xtask mujoco setup)", folder.display());
        return None;
    }
    Some(Install::open(&folder).expect("an installed MuJoCo can be used"))
}

fn shared(test: &str, name: &str) -> Option<PathBuf> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/data").join(name);
    if !path.exists() {
        eprintln!("SKIPPED: {test}: {} is not here", path.display());
        return None;
    }
    Some(path)
}

fn numbers(text: &str) -> Vec<f64> {
    text.split_whitespace().map(|x| x.parse().expect("a number")).collect()
}

/// A world that can be put into a state.
trait Settable: Env {
    fn put(&mut self, positions: &[f64], velocities: &[f64]);
}
macro_rules! settable {
    ($($world:ty),*) => {$(
        impl Settable for $world {
            fn put(&mut self, positions: &[f64], velocities: &[f64]) {
                self.set_state(positions, velocities);
            }
        }
    )*};
}
settable!(Locomotion, Reacher, Ant);

fn settable(install: &Install, name: &str) -> Box<dyn Settable> {
    let (world, version) = name.rsplit_once('-').expect("a version");
    let version = if version == "v5" { Version::V5 } else { Version::V4 };
    let runner = |runner| Box::new(Locomotion::new(install, runner, version).unwrap());
    match world {
        "hopper" => runner(Runner::Hopper),
        "halfcheetah" => runner(Runner::HalfCheetah),
        "walker2d" => runner(Runner::Walker2d),
        "reacher" => Box::new(Reacher::new(install, version).unwrap()),
        "ant" => Box::new(Ant::new(install, false).unwrap()),
        _ => panic!("{name}"),
    }
}

#[test]
fn steps_are_those_of_gymnasium() {
    let Some(install) = install("steps_are_those_of_gymnasium") else { return };
    let fixture = include_str!("fixtures/gymnasium.csv");
    let recorded = fixture.split_whitespace().nth(2).unwrap().trim_end_matches(',');
    if install.library().version() != recorded {
        eprintln!("SKIPPED: steps_are_those_of_gymnasium: recorded with MuJoCo {recorded}, here is {}", install.library().version());
        return;
    }
    let (mut world, mut name, mut worlds, mut ends) = (None, "", 0, 0);
    for line in fixture.lines().skip(2) {
        let fields: Vec<&str> = line.split(',').collect();
        if fields[1] == "start" {
            (name, worlds) = (fields[0], worlds + 1);
            let made = world.insert(settable(&install, name));
            made.put(&numbers(fields[2]), &numbers(fields[3]));
            continue;
        }
        let world = world.as_mut().expect("a start before the first step");
        let act: Vec<Real> = numbers(fields[2]).iter().map(|&a| a as Real).collect();
        let expected: Vec<Real> = numbers(fields[3]).iter().map(|&x| x as Real).collect();
        let mut obs = vec![0.0; world.spec().obs];
        let step = world.step(&act, &mut obs);
        assert_eq!(obs, expected, "{name}: {line}");
        let reward: f64 = fields[4].parse().unwrap();
        // Gymnasium sums the squares of an action in single precision.
        assert!((f64::from(step.reward) - reward).abs() < 2e-6 * reward.abs().max(1.0), "{name}: {step:?}, {reward}");
        assert_eq!(step.terminated, fields[5] == "1", "{name}");
        ends += usize::from(step.terminated);
    }
    assert_eq!(worlds, 8);
    assert!(ends > 0, "no world ended, which compares nothing of endings");
}
