//! Ant: four legs under a ball (OpenAI Gym), and the same body in a maze (D4RL's antmaze).
//!
//! Observed by the free ant, `[27]`: `qpos[2..]` and `qvel`; action `[8]`; 5 × 0.01 s a step. Reward: the torso's mean speed along x
//! − 0.5‖a‖² + 1; it ends unless every number is finite and 0.2 ≤ z ≤ 1. The torso's place is MuJoCo's, which lags behind the
//! state (see [`Simulation::place`]), as in Gym. Versions 2 and 3 observe 84 contact forces more, which have been zero
//! since MuJoCo 2, and so has their cost; as zeros they stand in D4RL's files (*from memory, unverified*) and here. Version 4
//! observes and pays for none. Version 5, `[105]`, observes 78: torque and force on each of thirteen bodies, clipped to ±1; it pays
//! 5e-4 of the sum of their squares, and 1 for being alive only who is. After a reset they are zero, whatever touches.
//!
//! # Antmaze
//!
//! Observed, `[29]`: `qpos[..15]`, `qvel[..14]`; the goal is not. 5 × 0.02 s a step, motors of ±30 N·m for actions of ±1, softer contacts:
//! D4RL's ant, made from Gym's by changing those. A cell is 4 m wide; row is y and column is x; the ant starts at the origin, in the
//! cell marked `r`. The reward is 1 where the torso's (x, y) comes within 0.5 m of the goal, and the episode ends there; falling ends
//! nothing.
//!
//! The goal lies 0 to 1.5 m beyond the middle of the cell marked `g`, along x and along y: 1 m·U + 0.5 m·U. Version 2 draws it at
//! every reset. Versions 0 and 1 draw it once, when the environment is made; here that draw is that of [`AntMaze::fix_goal`], and without
//! it they behave as version 2.

use super::locomotion::{State, jitter, jog, write};
use super::{Body, Install, Simulation, Version};
use crate::EnvError;
use backcast_core::{Env, Key, Real, Spec, Step};
use std::fmt::Write;

/// Steps until an episode of the free ant is cut off.
pub const HORIZON: usize = 1000;
/// Forces in the observation of versions 2 and 3, those on the ground among them.
const ZEROS: usize = 84;
/// The shapes of the free ant, one to a body, in the order of the bodies.
const SHAPES: [&str; 13] = [
    "torso_geom",
    "aux_1_geom",
    "left_leg_geom",
    "left_ankle_geom",
    "aux_2_geom",
    "right_leg_geom",
    "right_ankle_geom",
    "aux_3_geom",
    "back_leg_geom",
    "third_ankle_geom",
    "aux_4_geom",
    "rightback_leg_geom",
    "fourth_ankle_geom",
];

/// Draws the start of an ant: positions ±0.1, speeds of deviation 0.1.
fn start(key: Key, state: &mut State) {
    jitter(key.name("positions"), 0.1, &mut state.positions);
    jog(key.name("velocities"), 0.1, &mut state.velocities);
}

/// Compiles an ant, which may feel what it touches, and finds its torso.
fn compile(install: &Install, name: &str, text: &str, feels: bool) -> Result<(Simulation, Body), EnvError> {
    let library = install.library();
    let mut simulation = match feels {
        true => library.compile_sensing(name, text, &SHAPES, "torso")?,
        false => library.compile(name, text)?,
    };
    let sizes = simulation.sizes();
    match simulation.body(c"torso") {
        Some(torso) if (sizes.positions, sizes.velocities, sizes.controls) == (15, 14, 8) => Ok((simulation, torso)),
        _ => Err(EnvError::Mujoco { why: format!("the model {name} is not Gymnasium's ant: it has {sizes:?}") }),
    }
}

fn controls(act: &[Real], scale: f64, who: &str) -> [f64; 8] {
    assert_eq!(act.len(), 8, "{who}::step: the action is [8], got [{}]", act.len());
    let mut controls = [0.0; 8];
    controls.iter_mut().zip(act).for_each(|(control, &a)| *control = scale * a.clamp(-1.0, 1.0) as f64);
    controls
}

/// The free ant.
pub struct Ant {
    version: Version,
    /// What presses each body, clipped, for those who observe it.
    forces: [[f64; 6]; 13],
    simulation: Simulation,
    torso: Body,
    start: State,
    state: State,
    steps: usize,
}

impl Ant {
    /// Makes it: 111 numbers observed in versions 2 and 3, 27 in version 4, 105 in version 5.
    ///
    /// # Errors
    /// [`EnvError::Mujoco`] if its model is not there or not understood; for version 5 also where MuJoCo is too old to tell forces.
    pub fn new(install: &Install, version: Version) -> Result<Self, EnvError> {
        let text = install.model("ant.xml")?;
        let (simulation, torso) = compile(install, "ant.xml", &text, version >= Version::V5)?;
        let start = State::of(&simulation);
        let forces = [[0.0; 6]; 13];
        Ok(Self { version, forces, simulation, torso, state: start.clone(), start, steps: 0 })
    }

    /// Coordinates, `[15]`, and velocities, `[14]`, in double precision.
    pub fn state(&self) -> (&[f64], &[f64]) {
        (&self.state.positions, &self.state.velocities)
    }

    /// Puts the ant somewhere, in an episode that goes on.
    ///
    /// # Panics
    /// If a slice has another length than the ant's.
    pub fn set_state(&mut self, positions: &[f64], velocities: &[f64]) {
        self.simulation.set_state(positions, velocities);
        self.state.read(&self.simulation);
        self.forces = Default::default();
    }

    fn observe(&self, obs: &mut [Real]) {
        let width = self.spec().obs;
        assert_eq!(obs.len(), width, "Ant: the observation is [{width}], the buffer [{}]", obs.len());
        let obs = write(obs, &self.state.positions[2..], f64::INFINITY);
        let obs = write(obs, &self.state.velocities, f64::INFINITY);
        match self.version {
            Version::V5 => write(obs, self.forces.as_flattened(), 1.0),
            _ => obs,
        }
        .fill(0.0);
    }
}

impl Env for Ant {
    fn spec(&self) -> Spec {
        let forces = match self.version {
            Version::V2 | Version::V3 => ZEROS,
            Version::V4 => 0,
            Version::V5 => self.forces.as_flattened().len(),
        };
        Spec::new(27 + forces, 8)
    }

    fn horizon(&self) -> usize {
        HORIZON
    }

    fn reset(&mut self, key: Key, obs: &mut [Real]) {
        self.simulation.reset();
        self.state.clone_from(&self.start);
        start(key, &mut self.state);
        self.simulation.set_state(&self.state.positions, &self.state.velocities);
        self.forces = Default::default();
        self.steps = 0;
        self.observe(obs);
    }

    fn step(&mut self, act: &[Real], obs: &mut [Real]) -> Step {
        let controls = controls(act, 1.0, "Ant");
        let before = self.simulation.place(self.torso)[0];
        self.simulation.control(&controls);
        let sound = self.simulation.step(5);
        self.steps += 1;
        let truncated = self.steps >= HORIZON;
        if !sound {
            self.observe(obs);
            return Step { reward: 0.0, terminated: true, truncated };
        }
        self.state.read(&self.simulation);
        if self.version >= Version::V5 {
            self.simulation.contact_forces(&mut self.forces);
            self.forces.as_flattened_mut().iter_mut().for_each(|force| *force = force.clamp(-1.0, 1.0));
        }
        self.observe(obs);
        let speed = (self.simulation.place(self.torso)[0] - before) / 0.05;
        let effort: f64 = controls.iter().map(|a| a * a).sum();
        let pressed: f64 = self.forces.as_flattened().iter().map(|force| force * force).sum();
        let height = self.state.positions[2];
        let healthy = self.state.all().all(f64::is_finite) && (0.2..=1.0).contains(&height);
        let alive = if healthy || self.version < Version::V5 { 1.0 } else { 0.0 };
        let reward = speed + alive - 0.5 * effort - 5e-4 * pressed;
        Step { reward: reward as Real, terminated: !healthy, truncated }
    }
}

/// Walls `1`, free cells `0`, the start `r` and the goal `g`; rows from y = 0 on, as D4RL draws its mazes for evaluation.
const MAZES: [(&str, usize, &[&str]); 3] = [
    ("umaze", 700, &["11111", "1r001", "11101", "1g001", "11111"]),
    ("medium", 1000, &["11111111", "1r011001", "10010001", "11000111", "10010001", "10100101", "100010g1", "11111111"]),
    (
        "large",
        1000,
        &[
            "111111111111",
            "1r0001000001",
            "101101010101",
            "100000010001",
            "101111011101",
            "100101000001",
            "110101010111",
            "100100010g01",
            "111111111111",
        ],
    ),
];

/// The names [`AntMaze::new`] knows.
pub const MAZE_NAMES: [&str; 3] = ["umaze", "medium", "large"];

/// Metres that a cell is wide.
const CELL: f64 = 4.0;
/// Metres from the goal at which it is reached.
const REACH: f64 = 0.5;

/// The ant in a maze.
pub struct AntMaze {
    simulation: Simulation,
    start: State,
    state: State,
    /// The middle of the goal's cell, metres.
    goal_cell: [f64; 2],
    goal: [f64; 2],
    fixed: bool,
    horizon: usize,
    steps: usize,
}

impl AntMaze {
    /// Makes the maze called `name`, one of [`MAZE_NAMES`].
    ///
    /// # Errors
    /// [`EnvError::Unknown`] for another name, [`EnvError::Mujoco`] if the ant's model is not there or not understood.
    pub fn new(install: &Install, name: &str) -> Result<Self, EnvError> {
        let unknown = || EnvError::Unknown {
            name: format!("antmaze-{name}"),
            near: MAZE_NAMES.map(|maze| format!("antmaze-{maze}-v2")).to_vec(),
        };
        let &(_, horizon, rows) = MAZES.iter().find(|(known, ..)| *known == name).ok_or_else(unknown)?;
        let (walls, goal_cell) = walls(rows);
        let text = d4rl_ant(&install.model("ant.xml")?, &walls)
            .ok_or_else(|| EnvError::Mujoco { why: "the model ant.xml is not Gymnasium's".into() })?;
        let (simulation, _) = compile(install, &format!("antmaze-{name}"), &text, false)?;
        let start = State::of(&simulation);
        let (fixed, steps) = (false, 0);
        Ok(Self { simulation, state: start.clone(), start, goal_cell, goal: goal_cell, fixed, horizon, steps })
    }

    /// Where the goal is, (x, y), metres.
    pub fn goal(&self) -> [f64; 2] {
        self.goal
    }

    /// Draws a goal that stays, as in versions 0 and 1.
    pub fn fix_goal(&mut self, key: Key) {
        self.draw_goal(key);
        self.fixed = true;
    }

    /// Coordinates, `[15]`, and velocities, `[14]`, in double precision.
    pub fn state(&self) -> (&[f64], &[f64]) {
        (&self.state.positions, &self.state.velocities)
    }

    /// Puts the ant somewhere, in an episode that goes on.
    ///
    /// # Panics
    /// If a slice has another length than the ant's.
    pub fn set_state(&mut self, positions: &[f64], velocities: &[f64]) {
        self.simulation.set_state(positions, velocities);
        self.state.read(&self.simulation);
    }

    fn draw_goal(&mut self, key: Key) {
        let mut draws = [0.0; 4];
        key.uniform(0.0, 1.0, &mut draws);
        let draws = draws.map(|u| u as f64);
        self.goal = [0, 1].map(|axis| (self.goal_cell[axis] + draws[axis] + 0.5 * draws[2 + axis]).max(0.0));
    }

    fn observe(&self, obs: &mut [Real]) {
        assert_eq!(obs.len(), 29, "AntMaze: the observation is [29], the buffer [{}]", obs.len());
        let obs = write(obs, &self.state.positions, f64::INFINITY);
        write(obs, &self.state.velocities, f64::INFINITY);
    }
}

/// The walls of a drawing as MJCF, so placed that the cell `r` is at the origin, and the middle of the cell `g`.
fn walls(rows: &[&str]) -> (String, [f64; 2]) {
    let cells =
        || rows.iter().enumerate().flat_map(|(i, row)| row.bytes().enumerate().map(move |(j, cell)| (i, j, cell)));
    let find = |wanted| cells().find(|&(.., cell)| cell == wanted).map_or([0.0; 2], |(i, j, _)| [j as f64, i as f64]);
    let (origin, goal) = (find(b'r'), find(b'g'));
    let place = |[x, y]: [f64; 2]| [CELL * (x - origin[0]), CELL * (y - origin[1])];
    let mut text = String::new();
    for (i, j, _) in cells().filter(|&(.., cell)| cell == b'1') {
        let [x, y] = place([j as f64, i as f64]);
        let (half, high) = (0.5 * CELL, 0.25 * CELL);
        let _ = writeln!(
            text,
            "<geom name='wall {i} {j}' type='box' pos='{x} {y} {high}' size='{half} {half} {high}' contype='1' conaffinity='1'/>"
        );
    }
    (text, place(goal))
}

/// Gymnasium's ant with the changes of the module's header and `walls`; `None` if the text is not what is known.
fn d4rl_ant(text: &str, walls: &str) -> Option<String> {
    let swap = |text: String, from: &str, to: &str| text.contains(from).then(|| text.replace(from, to));
    let text = swap(text.to_owned(), "timestep=\"0.01\"", "timestep=\"0.02\"")?;
    let text = swap(text, "margin=\"0.01\" rgba", "margin=\"0.01\" solref=\".02 1\" solimp=\".8 .8 .01\" rgba")?;
    let text = swap(text, "ctrlrange=\"-1.0 1.0\"", "ctrlrange=\"-30.0 30.0\"")?;
    let text = swap(text, "gear=\"150\"", "gear=\"1\"")?;
    swap(text, "</worldbody>", &format!("{walls}</worldbody>"))
}

impl Env for AntMaze {
    fn spec(&self) -> Spec {
        Spec::new(29, 8)
    }

    fn horizon(&self) -> usize {
        self.horizon
    }

    fn reset(&mut self, key: Key, obs: &mut [Real]) {
        self.simulation.reset();
        self.state.clone_from(&self.start);
        start(key, &mut self.state);
        self.simulation.set_state(&self.state.positions, &self.state.velocities);
        if !self.fixed {
            self.draw_goal(key.name("goal"));
        }
        self.steps = 0;
        self.observe(obs);
    }

    fn step(&mut self, act: &[Real], obs: &mut [Real]) -> Step {
        self.simulation.control(&controls(act, 30.0, "AntMaze"));
        let sound = self.simulation.step(5);
        self.steps += 1;
        let truncated = self.steps >= self.horizon;
        if !sound {
            self.observe(obs);
            return Step { reward: 0.0, terminated: true, truncated };
        }
        self.state.read(&self.simulation);
        self.observe(obs);
        let off = [0, 1].map(|axis| self.state.positions[axis] - self.goal[axis]);
        let reached = off[0].hypot(off[1]) <= REACH;
        Step { reward: Real::from(u8::from(reached)), terminated: reached, truncated }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mazes_are_closed_and_goals_are_where_d4rl_has_them() {
        let goals = [("umaze", [0.0, 8.0]), ("medium", [20.0, 20.0]), ("large", [32.0, 24.0])];
        for ((name, horizon, rows), (expected, goal)) in MAZES.iter().zip(goals) {
            assert_eq!((*name, *horizon), (expected, if *name == "umaze" { 700 } else { 1000 }));
            let width = rows[0].len();
            assert!(rows.iter().all(|row| row.len() == width && row.starts_with('1') && row.ends_with('1')), "{name}");
            assert!([rows[0], rows[rows.len() - 1]].iter().all(|row| row.bytes().all(|c| c == b'1')), "{name}");
            let (text, at) = walls(rows);
            assert_eq!(at, goal, "{name}");
            assert_eq!(text.lines().count(), rows.concat().matches('1').count(), "{name}");
        }
    }

    #[test]
    fn a_model_that_is_not_the_ant_is_refused() {
        assert!(d4rl_ant("<mujoco/>", "").is_none());
    }
}
