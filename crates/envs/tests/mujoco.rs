//! MuJoCo's environments against Gymnasium's, and against rows that others recorded. Without MuJoCo every test says so and is skipped.
#![allow(clippy::print_stderr, reason = "a test that is skipped says so, and figures are to be seen")]

use approx::abs_diff_eq;
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

/// An environment that can be put into a state.
trait Settable: Env {
    fn put(&mut self, positions: &[f64], velocities: &[f64]);
}
macro_rules! settable {
    ($($env:ty),*) => {$(
        impl Settable for $env {
            fn put(&mut self, positions: &[f64], velocities: &[f64]) {
                self.set_state(positions, velocities);
            }
        }
    )*};
}
settable!(Locomotion, Reacher, Ant);

fn settable(install: &Install, name: &str) -> Box<dyn Settable> {
    let (env, version) = name.rsplit_once('-').expect("a version");
    let version = if version == "v5" { Version::V5 } else { Version::V4 };
    let runner = |runner| Box::new(Locomotion::new(install, runner, version).unwrap());
    match env {
        "hopper" => runner(Runner::Hopper),
        "halfcheetah" => runner(Runner::HalfCheetah),
        "walker2d" => runner(Runner::Walker2d),
        "reacher" => Box::new(Reacher::new(install, version).unwrap()),
        "ant" => Box::new(Ant::new(install, version).unwrap()),
        _ => panic!("{name}"),
    }
}

#[test]
fn steps_are_those_of_gymnasium() {
    let Some(install) = install("steps_are_those_of_gymnasium") else { return };
    let fixture = include_str!("fixtures/gymnasium.csv");
    let recorded = fixture.split_whitespace().nth(2).unwrap().trim_end_matches(',');
    if install.library().version() != recorded {
        eprintln!(
            "SKIPPED: steps_are_those_of_gymnasium: recorded with MuJoCo {recorded}, here is {}",
            install.library().version()
        );
        return;
    }
    let (mut env, mut name, mut envs, mut ends, mut pressed) = (None, "", 0, 0, 0);
    for line in fixture.lines().skip(2) {
        let fields: Vec<&str> = line.split(',').collect();
        if fields[1] == "start" {
            (name, envs) = (fields[0], envs + 1);
            let made = env.insert(settable(&install, name));
            made.put(&numbers(fields[2]), &numbers(fields[3]));
            continue;
        }
        let env = env.as_mut().expect("a start before the first step");
        let act: Vec<Real> = numbers(fields[2]).iter().map(|&a| a as Real).collect();
        let expected: Vec<Real> = numbers(fields[3]).iter().map(|&x| x as Real).collect();
        let mut obs = vec![0.0; env.spec().obs];
        let step = env.step(&act, &mut obs);
        // The forces on an ant are gathered here in another order than in MuJoCo.
        let exact = if name == "ant-v5" { 27 } else { obs.len() };
        assert_eq!(obs[..exact], expected[..exact], "{name}: {line}");
        for (found, expected) in obs[exact..].iter().zip(&expected[exact..]) {
            assert!(abs_diff_eq!(found, expected, epsilon = 1e-6), "{name}: {found}, {expected}: {line}");
        }
        pressed += usize::from(expected[exact..].iter().any(|&force| force != 0.0));
        let reward: f64 = fields[4].parse().unwrap();
        // Gymnasium sums an action's squares in single precision.
        assert!(
            abs_diff_eq!(f64::from(step.reward), reward, epsilon = 2e-6 * reward.abs().max(1.0)),
            "{name}: {step:?}, {reward}"
        );
        assert_eq!(step.terminated, fields[5] == "1", "{name}");
        ends += usize::from(step.terminated);
    }
    assert_eq!(envs, 9);
    assert!(pressed > 3, "nothing touched the ant, which compares nothing of forces");
    assert!(ends > 0, "no environment ended, which compares nothing of endings");
}

/// One file's columns, `[rows, width]` each, and its flags.
struct Rows {
    obs: Vec<Vec<f64>>,
    act: Vec<Vec<Real>>,
    next: Vec<Vec<f64>>,
    reward: Vec<f64>,
    ended: Vec<bool>,
    truncated: Vec<bool>,
}

fn rows(path: &Path) -> Rows {
    let file = rust_hdf5::H5File::open(path).unwrap();
    let table = |name: &str| -> Vec<Vec<f64>> {
        let data = file.dataset(name).unwrap();
        let width = data.shape()[1];
        data.read_raw::<f32>().unwrap().chunks(width).map(|row| row.iter().map(|&x| f64::from(x)).collect()).collect()
    };
    let flags = |name: &str| file.dataset(name).unwrap().read_raw::<u8>().unwrap().iter().map(|&x| x != 0).collect();
    let obs = table("observations");
    let next = match file.dataset("next_observations") {
        Ok(_) => table("next_observations"),
        Err(_) => obs.iter().skip(1).chain(obs.last()).cloned().collect(),
    };
    let reward = file.dataset("rewards").unwrap().read_raw::<f32>().unwrap().iter().map(|&x| f64::from(x)).collect();
    let act = table("actions").iter().map(|row| row.iter().map(|&x| x as Real).collect()).collect();
    Rows { obs, act, next, reward, ended: flags("terminals"), truncated: flags("timeouts") }
}

/// The value below which a share of `values` lies.
fn quantile(values: &mut [f64], share: f64) -> f64 {
    values.sort_by(f64::total_cmp);
    values[((values.len() - 1) as f64 * share) as usize]
}

/// Says how far states and rewards are off, and holds the median and the 99th percentile of states and that of rewards to bounds.
fn judge(name: &str, off: &mut [f64], paid: &mut [f64], bounds: [f64; 3]) {
    for share in [0.5, 0.9, 0.99, 1.0] {
        let (state, reward) = (quantile(off, share), quantile(paid, share));
        eprintln!("{name}, {} rows, share {share}: states within {state:.1e}, rewards within {reward:.1e}", off.len());
    }
    let found = [quantile(off, 0.5), quantile(off, 0.99), quantile(paid, 0.99)];
    assert!(found.iter().zip(bounds).all(|(found, bound)| *found < bound), "{name}: {found:?}, bounds {bounds:?}");
}

fn largest(a: &[Real], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(&x, y)| (f64::from(x) - y).abs() / y.abs().max(1.0)).fold(0.0, f64::max)
}

#[test]
fn recorded_half_cheetahs_run_the_same_here() {
    let test = "recorded_half_cheetahs_run_the_same_here";
    let (Some(install), Some(path)) = (install(test), shared(test, "neorl2/SafetyHalfCheetah-train.hdf5")) else {
        return;
    };
    let (rows, mut env) = (rows(&path), Locomotion::new(&install, Runner::SafetyHalfCheetah, Version::V4).unwrap());
    let (mut off, mut paid) = (Vec::new(), Vec::new());
    for i in (0..rows.obs.len()).step_by(7) {
        let mut obs = [0.0; 18];
        env.set_state(&rows.obs[i][..9], &rows.obs[i][9..]);
        let step = env.step(&rows.act[i], &mut obs);
        off.push(largest(&obs, &rows.next[i]));
        paid.push((f64::from(step.reward) - rows.reward[i]).abs());
        assert!(!step.terminated && !rows.ended[i]);
    }
    judge("safetyhalfcheetah", &mut off, &mut paid, [1e-6, 1e-4, 1e-5]);
}

#[test]
fn recorded_experts_run_the_same_here() {
    let test = "recorded_experts_run_the_same_here";
    for (name, runner) in
        [("Hopper", Runner::Hopper), ("HalfCheetah", Runner::HalfCheetah), ("Walker2d", Runner::Walker2d)]
    {
        let (Some(install), Some(path)) = (install(test), shared(test, &format!("gym_expert/{name}-v4-expert.hdf5")))
        else {
            return;
        };
        let (rows, mut env) = (rows(&path), Locomotion::new(&install, runner, Version::V4).unwrap());
        let coordinates = env.state().0.len();
        let (mut off, mut paid) = (Vec::new(), Vec::new());
        for i in 0..rows.obs.len() {
            let (seen, speeds) = rows.obs[i].split_at(coordinates - 1);
            // Speeds at the bound of what is observed are not known.
            if rows.truncated[i] || (runner != Runner::HalfCheetah && speeds.iter().any(|v| v.abs() >= 10.0)) {
                continue;
            }
            let mut obs = vec![0.0; rows.obs[i].len()];
            env.set_state(&[&[0.0], seen].concat(), speeds);
            let step = env.step(&rows.act[i], &mut obs);
            off.push(largest(&obs, &rows.next[i]));
            // These experts ask for more than ±1, which Gym charges for and an environment of ours does not.
            let price = if runner == Runner::HalfCheetah { 0.1 } else { 1e-3 };
            let beyond: f64 = rows.act[i].iter().map(|&a| f64::from(a * a - a.clamp(-1.0, 1.0).powi(2))).sum();
            paid.push((f64::from(step.reward) - price * beyond - rows.reward[i]).abs());
            assert_eq!(step.terminated, rows.ended[i], "{name}, row {i}");
        }
        // The hopper's one foot is most of the time in contact, which releases of MuJoCo compute differently.
        judge(name, &mut off, &mut paid, if runner == Runner::Hopper { [1e-6, 0.1, 0.02] } else { [1e-6, 1e-5, 1e-6] });
    }
}

#[test]
fn recorded_reachers_reach_the_same_here() {
    let test = "recorded_reachers_reach_the_same_here";
    for name in ["4.35", "9.6", "43.28"] {
        let (Some(install), Some(path)) =
            (install(test), shared(test, &format!("reacher/reacher-v2-return-{name}.hdf5")))
        else {
            return;
        };
        let (rows, mut env) = (rows(&path), Reacher::new(&install, Version::V2).unwrap());
        let (mut off, mut paid) = (Vec::new(), Vec::new());
        for i in 0..rows.obs.len() {
            // The row that begins an episode, but for the first, was recorded with what the one before had left behind: its
            // reward belongs to another state.
            if rows.truncated[i] || (i > 0 && rows.truncated[i - 1]) {
                continue;
            }
            let o = &rows.obs[i];
            // The elbow stops at ±3 rad, softly: beyond ±π its angle is not known from sine and cosine.
            if o[3].atan2(o[1]).abs() > 2.9 {
                continue;
            }
            let mut obs = vec![0.0; 11];
            env.set_state(&[o[2].atan2(o[0]), o[3].atan2(o[1]), o[4], o[5]], &[o[6], o[7], 0.0, 0.0]);
            let step = env.step(&rows.act[i], &mut obs);
            off.push(largest(&obs, &rows.next[i]));
            // The fingertip that was paid for is the lagging one of the row before.
            let distance = o[8].hypot(o[9]).hypot(o[10]);
            let effort: f64 = rows.act[i].iter().map(|&a| f64::from(a) * f64::from(a)).sum();
            paid.push((-distance - effort - rows.reward[i]).abs());
            assert!(!step.terminated && !rows.ended[i]);
        }
        judge(&format!("reacher {name}"), &mut off, &mut paid, [1e-5, 1e-4, 1e-6]);
    }
}

#[test]
fn both_point_mazes_are_one() {
    let Some(install) = install("both_point_mazes_are_one") else { return };
    for task in ["maze2d-umaze-v1", "maze2d-medium-dense-v1", "maze2d-large-v1"] {
        let mut ours = Maze2d::named(task).unwrap();
        let mut theirs = PointMaze::new(&install, ours.clone()).unwrap();
        let (mut worst, mut obs, mut seen) = (0.0f64, [0.0; 4], [0.0; 4]);
        for episode in 0..20 {
            let key = Key::new(3).fold(episode);
            ours.reset(key, &mut obs);
            theirs.reset(key, &mut seen);
            assert_eq!(obs, seen);
            for t in 0..ours.horizon() as u64 {
                let mut act = [0.0; 2];
                // A force that stays for a while presses against walls and into corners.
                key.fold(t / 20).uniform(-1.2, 1.2, &mut act);
                theirs.set_state(ours.state());
                let (a, b) = (ours.step(&act, &mut obs), theirs.step(&act, &mut seen));
                let (p, q) = (ours.state(), theirs.state());
                for i in 0..2 {
                    worst = worst.max((p.position[i] - q.position[i]).abs()).max((p.velocity[i] - q.velocity[i]).abs());
                }
                assert_eq!((a.terminated, a.truncated), (b.terminated, b.truncated));
                assert!(abs_diff_eq!(a.reward, b.reward, epsilon = 1e-5) || a.reward.max(b.reward) == 1.0);
            }
        }
        eprintln!("{task}: worst step off by {worst:.1e}");
        // MuJoCo's solver stops at its usual tolerance, ours at none.
        assert!(worst < 1e-5, "{task}: {worst:e}");
    }
}

#[test]
fn every_environment_keeps_the_rules() {
    if install("every_world_keeps_the_rules").is_none() {
        return;
    }
    for name in mujoco::NAMES.iter().copied().chain(["mujoco:maze2d-umaze-v1"]) {
        let mut env = backcast_envs::make(name).unwrap();
        let ending = backcast_envs::registry::termination(name);
        let complaints = backcast_envs::checker::check(&mut *env, ending, Key::new(11).name(name));
        assert!(complaints.is_empty(), "{name}: {complaints:?}");
        assert!(backcast_envs::registry::simulator(name).is_some(), "{name}");
        assert!(backcast_envs::make_pushable(name).is_err(), "{name}");
    }
}

#[test]
fn goals_of_antmazes_move_unless_fixed_and_walls_hold() {
    let Some(install) = install("goals_of_antmazes_move_unless_fixed_and_walls_hold") else { return };
    let mut maze = AntMaze::new(&install, "umaze").unwrap();
    let (mut obs, mut seen) = ([0.0; 29], Vec::new());
    for episode in 0..200 {
        maze.reset(Key::new(5).fold(episode), &mut obs);
        let [x, y] = maze.goal();
        assert!((0.0..=1.5).contains(&x) && (8.0..=9.5).contains(&y), "{x}, {y}");
        seen.push((x, y));
    }
    assert!(seen.windows(2).all(|pair| pair[0] != pair[1]));
    maze.fix_goal(Key::new(6));
    let goal = maze.goal();
    maze.reset(Key::new(7), &mut obs);
    assert_eq!(maze.goal(), goal);

    // Thrown at the wall behind the start, 2 m away, it stays in the maze; put on the goal, the episode ends and pays.
    let (positions, mut velocities) = (maze.state().0.to_vec(), maze.state().1.to_vec());
    velocities[0] = -8.0;
    maze.set_state(&positions, &velocities);
    let steps: Vec<_> = (0..40).map(|_| maze.step(&[0.0; 8], &mut obs)).collect();
    assert!(obs[0] > -2.0 && obs[0] < -0.3, "{obs:?}");
    assert!(steps.iter().all(|step| step.reward == 0.0 && !step.terminated));
    maze.set_state(&[&goal[..], &positions[2..]].concat(), &[0.0; 14]);
    let step = maze.step(&[0.0; 8], &mut obs);
    assert!(step.reward == 1.0 && step.terminated, "{step:?}");
}

#[test]
fn what_is_not_there_is_said_with_what_to_do() {
    let folder = std::env::temp_dir().join("backcast-no-mujoco-here");
    let complaint = Install::open(&folder).err().unwrap().to_string();
    assert!(
        complaint.contains("backcast-no-mujoco-here") && complaint.contains("cargo xtask mujoco setup"),
        "{complaint}"
    );
    let Some(install) = install("what_is_not_there_is_said_with_what_to_do") else { return };
    let complaint =
        install.library().compile("a sketch", "<mujoco><worldbody><geom/></worldbody>").err().unwrap().to_string();
    assert!(complaint.contains("a sketch"), "{complaint}");
    let complaint =
        install.library().compile("a point", "<mujoco><worldbody><body><joint/></body></worldbody></mujoco>");
    assert!(complaint.err().unwrap().to_string().contains("a point: "));
    assert!(install.model("unicycle.xml").is_err() && AntMaze::new(&install, "huge").is_err());
}
