//! Pushes: an episode's state is moved by hand in the middle of it, and the policy has to come back.
//!
//! Policies that are good on the roads of a dataset may be helpless beside them. The test of that, as state deviation correction
//! (Zhang et al., AAAI 2022) and OSR (Jiang et al., NeurIPS 2023) are examined: push the state of the environment itself, not what
//! is observed of it, at four levels. The levels are in physical units, chosen by what the environment's physics makes of them:
//!
//! | environment | slight | moderate | large |
//! |---|---|---|---|
//! | [`pendulum`](crate::pendulum) | 0.2 rad, 0.5 rad/s: from upright at rest, 2 N·m can hold it | 0.5 rad, 2.5 rad/s: 2 N·m cannot, it falls and has to be swung up again | 1 rad, 6 rad/s: it is thrown over, mostly with more energy than a swing-up has, and must be braked first |
//! | [`dmsd`](crate::dmsd) | 0.1 m, 0.1 m/s: the speed of a start | 0.5 m, 0.5 m/s: a good part of the way to a target | 1.5 m, 1.5 m/s: from target to target, and faster than the published dataset ever is |
//! | [`maze2d`](crate::maze2d) | 0.1 m, 0.5 m/s: the jitter of a start | 0.3 m, 2 m/s: from the middle of a corridor to its side | 0.8 m, 5 m/s: as far as a corridor is wide, at the greatest speed |
//!
//! The first number moves the place (an angle, or a vector of both coordinates or of both masses), the second the speed the same
//! way, as a shove does: to either side, or in any direction. A draw is at least half of its size, so that no two levels
//! overlap: sizes at least double from one to the next.
//!
//! **A perturbed state is one the environment could be in.** The pendulum's speed stays within its ±8 rad/s. The particle is shoved along
//! a straight line until a wall stops it, and its speed stays within ±5 m/s; the masses have room on all sides. Nothing else
//! moves: no target, no goal, no count of steps.
//!
//! ```
//! use backcast_core::Key;
//! use backcast_envs::{make_pushable, push::Level};
//!
//! let mut env = make_pushable("pendulum-v1")?;
//! let (mut obs, mut perturbed) = ([0.0; 3], [0.0; 3]);
//! env.reset(Key::new(1), &mut obs);
//! env.push(Level::None, Key::new(2), &mut perturbed);
//! assert_eq!(obs, perturbed);
//! env.push(Level::Large, Key::new(2), &mut perturbed);
//! assert!((obs[2] - perturbed[2]).abs() > 2.9);
//! # Ok::<(), backcast_envs::EnvError>(())
//! ```

use crate::dmsd::{Dmsd, DmsdState};
use crate::maze2d::Maze2d;
use crate::maze2d::physics::{MAX_SPEED as MAZE_SPEED, PointState};
use crate::pendulum::{MAX_SPEED as PENDULUM_SPEED, Pendulum, PendulumState};
use backcast_core::{Env, Key, Kind, Real, Value};
use serde::{Deserialize, Serialize};
use std::f64::consts::TAU;

/// How hard a state is perturbed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Level {
    /// Not at all.
    None,
    /// Within what a careful policy meets anyway.
    Slight,
    /// Off the road.
    Moderate,
    /// Where few datasets have been.
    Large,
}

impl Value for Level {
    fn kind() -> Kind {
        Kind::Choice(vec![
            ("none".to_owned(), "Not at all."),
            ("slight".to_owned(), "Within what a careful policy meets anyway."),
            ("moderate".to_owned(), "Off the road."),
            ("large".to_owned(), "Where few datasets have been."),
        ])
    }
}

impl Level {
    /// Every level, from none upwards.
    pub const ALL: [Self; 4] = [Self::None, Self::Slight, Self::Moderate, Self::Large];

    /// The name it has in files.
    pub fn name(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Slight => "slight",
            Self::Moderate => "moderate",
            Self::Large => "large",
        }
    }

    /// Its own among the sizes of slight, moderate and large pushes.
    fn of<T: Copy>(self, sizes: [T; 3]) -> Option<T> {
        (self as usize).checked_sub(1).map(|at| sizes[at])
    }
}

/// An environment whose state can be perturbed. What cannot be perturbed is just an [`Env`].
pub trait Pushable: Env {
    /// Moves the state by what `key` draws at `level`, keeps it among the states the environment can be in, and writes its
    /// observation, `[obs]`. What is drawn depends on the key and the level alone, never on the state; [`Level::None`]
    /// changes no bit. The episode goes on: its count of steps stays as it is.
    fn push(&mut self, level: Level, key: Key, obs: &mut [Real]);
}

/// Sizes of a push: of the place and of the speed, in the environment's units.
type Size = (f64, f64);

/// Radians and rad/s.
const PENDULUM: [Size; 3] = [(0.2, 0.5), (0.5, 2.5), (1.0, 6.0)];
/// Metres and m/s.
const DMSD: [Size; 3] = [(0.1, 0.1), (0.5, 0.5), (1.5, 1.5)];
/// Metres and m/s.
const MAZE: [Size; 3] = [(0.1, 0.5), (0.3, 2.0), (0.8, 5.0)];

/// How far the place is moved and by how much the speed changes: each between half of its size and all of it.
fn lengths(key: Key, (place, speed): Size) -> [f64; 2] {
    let length = |name: &str, size: f64| size * (0.5 + 0.5 * key.name(name).unit() as f64);
    [length("place", place), length("speed", speed)]
}

/// To either side: of the place, of the speed.
fn along_a_line(key: Key, size: Size) -> [f64; 2] {
    let side = if key.name("side").below(2, 0) == 0 { 1.0 } else { -1.0 };
    lengths(key, size).map(|length| side * length)
}

/// In any direction of the plane: of the place, of the speed.
fn in_the_plane(key: Key, size: Size) -> [[f64; 2]; 2] {
    let (sin, cos) = (TAU * key.name("direction").unit() as f64).sin_cos();
    lengths(key, size).map(|length| [cos, sin].map(|x| x * length))
}

impl Pushable for Pendulum {
    fn push(&mut self, level: Level, key: Key, obs: &mut [Real]) {
        if let Some(size) = level.of(PENDULUM) {
            let (PendulumState { angle, speed }, [turn, kick]) = (self.state(), along_a_line(key, size));
            let speed = (speed + kick).clamp(-PENDULUM_SPEED, PENDULUM_SPEED);
            self.set_state(PendulumState { angle: angle + turn, speed });
        }
        self.observe(obs);
    }
}

impl Pushable for Dmsd {
    /// Both masses at once: the pair of displacements is a vector, and so is that of velocities.
    fn push(&mut self, level: Level, key: Key, obs: &mut [Real]) {
        if let Some(size) = level.of(DMSD) {
            let (DmsdState { position, velocity }, [dx, dv]) = (self.state(), in_the_plane(key, size));
            let perturbed = DmsdState {
                position: [0, 1].map(|i| position[i] + dx[i]),
                velocity: [0, 1].map(|i| velocity[i] + dv[i]),
            };
            self.set_state(perturbed, self.targets());
        }
        self.observe(obs);
    }
}

impl Pushable for Maze2d {
    fn push(&mut self, level: Level, key: Key, obs: &mut [Real]) {
        if let Some(size) = level.of(MAZE) {
            let (PointState { position, velocity }, [dx, dv]) = (self.state(), in_the_plane(key, size));
            let to = [0, 1].map(|i| position[i] + dx[i]);
            self.set_state(PointState {
                position: self.layout().as_far_as(position, to),
                velocity: [0, 1].map(|i| (velocity[i] + dv[i]).clamp(-MAZE_SPEED, MAZE_SPEED)),
            });
        }
        self.observe(obs);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::maze2d::Layout;
    use crate::pendulum::generate::controller;
    use crate::registry::{NAMES, make_pushable};
    use approx::assert_abs_diff_eq;

    const PERTURBED: [Level; 3] = [Level::Slight, Level::Moderate, Level::Large];

    #[test]
    fn levels_do_not_overlap() {
        for sizes in [PENDULUM, DMSD, MAZE] {
            for pair in sizes.windows(2) {
                assert!(pair[1].0 >= 2.0 * pair[0].0 && pair[1].1 >= 2.0 * pair[0].1, "{pair:?}");
            }
        }
        let drawn: Vec<[f64; 2]> = (0..1000).map(|i| along_a_line(Key::new(3).fold(i), (2.0, 10.0))).collect();
        assert!(drawn.iter().all(|[x, v]| (1.0..=2.0).contains(&x.abs()) && (5.0..=10.0).contains(&v.abs())));
        assert!(drawn.iter().all(|[x, v]| x * v > 0.0));
        assert!(drawn.iter().filter(|[x, _]| *x < 0.0).count().abs_diff(500) < 80);
        for i in 0..100 {
            let [x, v] = in_the_plane(Key::new(4).fold(i), (2.0, 10.0));
            let length = |x: [f64; 2]| x[0].hypot(x[1]);
            assert!((1.0..=2.0 + 1e-9).contains(&length(x)) && (5.0..=10.0 + 1e-9).contains(&length(v)));
            assert_abs_diff_eq!(x[0] * v[1], x[1] * v[0], epsilon = 1e-9);
            assert!(x[0] * v[0] + x[1] * v[1] > 0.0);
        }
        assert_eq!(Level::ALL.map(|l| l.of([1, 2, 3])), [None, Some(1), Some(2), Some(3)]);
    }

    /// In every environment: none changes no bit, the same key pushes the same, another otherwise, and the episode goes on.
    #[test]
    fn a_push_is_a_function_of_its_key_and_level() {
        for name in NAMES {
            let at = |level: Level, seed: u64| {
                let mut env = make_pushable(name).unwrap();
                let (wide, act) = (env.spec().obs, vec![0.3; env.spec().act]);
                let (mut obs, mut perturbed) = (vec![0.0; wide], vec![0.0; wide]);
                env.reset(Key::new(5), &mut obs);
                for _ in 0..7 {
                    env.step(&act, &mut obs);
                }
                env.push(level, Key::new(seed), &mut perturbed);
                let mut left = 0;
                while !env.step(&act, &mut vec![0.0; wide]).truncated {
                    left += 1;
                }
                assert_eq!(left + 8, env.horizon(), "{name}");
                (obs, perturbed)
            };
            let (obs, same) = at(Level::None, 1);
            assert_eq!(obs, same, "{name}");
            for level in PERTURBED {
                let (before, after) = at(level, 1);
                assert_eq!(obs, before);
                assert_ne!(obs, after, "{name}, {level:?}");
                assert_eq!(after, at(level, 1).1, "{name}, {level:?}");
                assert_ne!(after, at(level, 2).1, "{name}, {level:?}");
            }
        }
    }

    /// From a thousand states that a random walk meets in a maze, no push ends in a wall, behind one, or too fast.
    #[test]
    fn a_particle_is_shoved_through_free_space_only() {
        let seed = 11;
        for name in ["umaze", "medium"] {
            let mut maze = Maze2d::named(&format!("maze2d-{name}-v1")).unwrap();
            let (mut obs, mut stopped) = ([0.0; 4], 0);
            for i in 0..1000 {
                let key = Key::new(seed).fold(i);
                maze.reset(key, &mut obs);
                let mut act = [0.0; 2];
                key.name("act").uniform(-1.0, 1.0, &mut act);
                for _ in 0..key.below(60, 0) {
                    maze.step(&act, &mut obs);
                }
                let from = maze.state();
                for level in PERTURBED {
                    maze.set_state(from);
                    maze.push(level, key, &mut obs);
                    let PointState { position, velocity } = maze.state();
                    let why = || format!("seed {seed}, {name}, state {i}, {level:?}: {from:?} to {position:?}");
                    let deepest = maze.layout().clearance(from.position).min(0.0);
                    assert!(maze.layout().clearance(position) >= deepest, "{}", why());
                    assert!(velocity.iter().all(|v| v.abs() <= MAZE_SPEED), "{}", why());
                    // A corridor is 0.8 m wide for the centre and a wall 1.2 m: all of the way is free, so none was crossed.
                    let way = |t: f64| [0, 1].map(|k| from.position[k] + t * (position[k] - from.position[k]));
                    let free = |t: f64| maze.layout().clearance(way(t)) >= deepest - 0.01;
                    assert!((0..=50).all(|t| free(t as f64 / 50.0)), "{}", why());
                    let moved = (position[0] - from.position[0]).hypot(position[1] - from.position[1]);
                    let size = level.of(MAZE).unwrap().0;
                    assert!(moved <= size + 1e-9, "{}", why());
                    stopped += (moved < 0.5 * size - 1e-9) as usize;
                }
            }
            assert!((100..2500).contains(&stopped), "seed {seed}, {name}: walls stopped {stopped} of 3000");
        }
    }

    #[test]
    fn a_wall_stops_a_shove_and_an_open_way_does_not() {
        let umaze = Layout::umaze();
        let end = umaze.as_far_as([1.0, 1.0], [-0.5, 1.0]);
        assert!((0.4..0.42).contains(&end[0]) && end[1] == 1.0, "{end:?}");
        assert_eq!(umaze.as_far_as([1.0, 1.0], [1.0, 2.9]), [1.0, 2.9]);
        // Through the wall lies a corridor, which is not reached.
        let end = umaze.as_far_as([1.0, 1.0], [3.0, 1.0]);
        assert!(end[0] < 1.21, "{end:?}");
        // Already a little inside a wall: no deeper.
        assert_eq!(umaze.as_far_as([0.397, 1.0], [0.2, 1.0]), [0.397, 1.0]);
    }

    /// What the table says of the pendulum: upright at rest, slight pushes are held and the others are not; the controller comes
    /// back from all of them.
    #[test]
    fn the_pendulums_levels_are_what_its_torque_makes_of_them() {
        let falls = PERTURBED.map(|level| {
            let fell = (0..200).filter(|&i| {
                let (mut env, mut obs) = (Pendulum::default(), [0.0; 3]);
                env.push(level, Key::new(7).fold(i), &mut obs);
                let mut lowest: Real = 1.0;
                for _ in 0..crate::pendulum::HORIZON {
                    env.step(&[controller(env.state()) as Real], &mut obs);
                    lowest = lowest.min(obs[0]);
                }
                assert!(obs[0] > 0.99, "{level:?} {i}: it ends at {obs:?}");
                lowest < 0.0
            });
            fell.count()
        });
        assert_eq!(falls, [0, 200, 200]);
        let energy = |i: u64| {
            let (mut env, mut obs) = (Pendulum::default(), [0.0; 3]);
            env.push(Level::Large, Key::new(7).fold(i), &mut obs);
            15.0 * env.state().angle.cos() + 0.5 * env.state().speed.powi(2)
        };
        assert!((0..200).filter(|&i| energy(i) > 15.0).count() > 150);
    }
}
