//! D4RL's point maze, simulated by MuJoCo: the twin that [`maze2d`](crate::maze2d) is compared with.
//!
//! The model is written from its published numbers (see [`physics`](crate::maze2d::physics)): a sphere of radius 0.1 m on two slides
//! with a damping of 1, motors of gear 100, boxes of 1 m for walls, no gravity, Euler steps of 0.01 s. Rules of episodes, rewards and starts
//! are those of [`Maze2d`], drawn by the same keys: the two environments differ in who integrates.

use super::locomotion::State;
use super::{Install, Simulation};
use crate::EnvError;
use crate::maze2d::physics::{MAX_SPEED, PointState};
use crate::maze2d::{Cell, Layout, Maze2d};
use backcast_core::{Env, Key, Real, Spec, Step};
use std::fmt::Write;

/// The point maze in MuJoCo.
pub struct PointMaze {
    /// Knows the rules, and integrates nothing.
    rules: Maze2d,
    simulation: Simulation,
    state: State,
}

impl PointMaze {
    /// Simulates `rules`.
    ///
    /// # Errors
    /// [`EnvError::Mujoco`] if MuJoCo refuses the model.
    pub fn new(install: &Install, rules: Maze2d) -> Result<Self, EnvError> {
        let simulation = install.library().compile("the point maze", &model(rules.layout()))?;
        Ok(Self { state: State::of(&simulation), rules, simulation })
    }

    /// The state in double precision.
    pub fn state(&self) -> PointState {
        self.rules.state()
    }

    /// Puts the particle somewhere. The step counter of the episode goes on.
    pub fn set_state(&mut self, state: PointState) {
        self.rules.set_state(state);
    }
}

/// The maze as MJCF. The environment's origin is [`WORLD_OFFSET`](crate::maze2d::physics::WORLD_OFFSET) before that of the observation.
fn model(layout: &Layout) -> String {
    let mut walls = String::new();
    for (w, h) in (0..layout.rows()).flat_map(|w| (0..layout.cols()).map(move |h| (w, h))) {
        if layout.cell(w, h) == Some(Cell::Wall) {
            let _ = writeln!(walls, "<geom type='box' pos='{} {} 0' size='.5 .5 .2'/>", w + 1, h + 1);
        }
    }
    format!(
        "<mujoco><compiler inertiafromgeom='true'/><option timestep='0.01' gravity='0 0 0' iterations='20' integrator='Euler'/>\
         <default><joint damping='1' limited='false'/><geom friction='.5 .1 .1' density='1000' margin='0.002' condim='1'/></default>\
         <worldbody><body name='particle' pos='1.2 1.2 0'><geom type='sphere' size='0.1'/>\
         <joint name='x' type='slide' axis='1 0 0'/><joint name='y' type='slide' axis='0 1 0'/></body>\n{walls}</worldbody>\
         <actuator><motor joint='x' ctrlrange='-1 1' ctrllimited='true' gear='100'/>\
         <motor joint='y' ctrlrange='-1 1' ctrllimited='true' gear='100'/></actuator></mujoco>"
    )
}

impl Env for PointMaze {
    fn spec(&self) -> Spec {
        self.rules.spec()
    }

    fn horizon(&self) -> usize {
        self.rules.horizon()
    }

    fn reset(&mut self, key: Key, obs: &mut [Real]) {
        self.rules.reset(key, obs);
        self.simulation.reset();
    }

    fn step(&mut self, act: &[Real], obs: &mut [Real]) -> Step {
        assert_eq!(act.len(), 2, "PointMaze::step: the action is [2], got [{}]", act.len());
        let PointState { position, velocity } = self.rules.state();
        self.simulation.set_state(&position, &velocity.map(|v| v.clamp(-MAX_SPEED, MAX_SPEED)));
        self.simulation.control(&[act[0] as f64, act[1] as f64]);
        let sound = self.simulation.step(1);
        self.state.read(&self.simulation);
        let after = PointState {
            position: [self.state.positions[0], self.state.positions[1]],
            velocity: [self.state.velocities[0], self.state.velocities[1]],
        };
        // A particle in a box cannot go astray; if it did, it would stay where it was.
        self.rules.arrive(if sound { after } else { self.rules.state() }, obs)
    }
}
