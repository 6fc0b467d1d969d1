//! Reacher: a robot arm of two links in the plane, whose fingertip is to be brought to a target and held there (OpenAI Gym).
//!
//! Observed, `[11]`: cosines and sines of both angles, the target's place, the angles' speeds, fingertip − target (three numbers,
//! the last of them 0); version 5 leaves out the last. An episode is cut off after 50 steps of 2 × 0.01 s and never ends.
//!
//! The reward is −(distance) − ‖a‖². Versions 2 to 4 measure the distance *before* the step, version 5 after it. The fingertip's
//! place is MuJoCo's, which is computed at the beginning of a simulation step: it lags behind the angles by 0.01 s, in what
//! is observed and in what is paid, here as in Gym.

use super::locomotion::{State, Version, jitter, write};
use super::{Body, Install, Simulation};
use crate::EnvError;
use backcast_core::{Env, Key, Real, Spec, Step};

/// Steps until an episode is cut off.
pub const HORIZON: usize = 50;

/// The arm and its target.
pub struct Reacher {
    version: Version,
    simulation: Simulation,
    /// Fingertip and target.
    bodies: [Body; 2],
    start: State,
    state: State,
    /// Fingertip − target, metres.
    off: [f64; 3],
    steps: usize,
}

impl Reacher {
    /// Makes it under the rules of `version`.
    ///
    /// # Errors
    /// [`EnvError::Mujoco`] if its model is not there or not understood.
    pub fn new(install: &Install, version: Version) -> Result<Self, EnvError> {
        let mut simulation = install.library().compile("reacher.xml", &install.model("reacher.xml")?)?;
        let (tip, target) = (simulation.body(c"fingertip"), simulation.body(c"target"));
        let (Some(tip), Some(target), 4, 2) = (tip, target, simulation.sizes().positions, simulation.sizes().controls)
        else {
            return Err(EnvError::Mujoco { why: "the model reacher.xml is not Gymnasium's".into() });
        };
        let start = State::of(&simulation);
        Ok(Self { version, simulation, bodies: [tip, target], state: start.clone(), start, off: [0.0; 3], steps: 0 })
    }

    /// Angles and the target's place, `[4]`, and their speeds, `[4]`, in double precision.
    pub fn state(&self) -> (&[f64], &[f64]) {
        (&self.state.positions, &self.state.velocities)
    }

    /// Puts the arm and the target somewhere, in an episode that goes on. The fingertip's place follows at once.
    ///
    /// # Panics
    /// If a slice has another length than 4.
    pub fn set_state(&mut self, positions: &[f64], velocities: &[f64]) {
        self.simulation.set_state(positions, velocities);
        self.read();
    }

    fn read(&mut self) {
        self.state.read(&self.simulation);
        let [tip, target] = self.bodies.map(|body| self.simulation.place(body));
        self.off = [0, 1, 2].map(|i| tip[i] - target[i]);
    }

    fn observe(&self, obs: &mut [Real]) {
        let width = self.spec().obs;
        assert_eq!(obs.len(), width, "Reacher: the observation is [{width}], the buffer [{}]", obs.len());
        let (angles, target) = self.state.positions.split_at(2);
        let free = f64::INFINITY;
        let obs = write(obs, &[angles[0].cos(), angles[1].cos(), angles[0].sin(), angles[1].sin()], free);
        let obs = write(write(obs, target, free), &self.state.velocities[..2], free);
        let seen = obs.len();
        write(obs, &self.off[..seen], free);
    }
}

impl Env for Reacher {
    fn spec(&self) -> Spec {
        Spec::new(if self.version < Version::V5 { 11 } else { 10 }, 2)
    }

    fn horizon(&self) -> usize {
        HORIZON
    }

    fn reset(&mut self, key: Key, obs: &mut [Real]) {
        self.simulation.reset();
        self.state.clone_from(&self.start);
        jitter(key.name("angles"), 0.1, &mut self.state.positions[..2]);
        jitter(key.name("speeds"), 5e-3, &mut self.state.velocities[..2]);
        // Uniform in a disc of 0.2 m, by refusing what lies outside.
        let target = (0..).map(|attempt| {
            let mut place = [0.0; 2];
            jitter(key.name("target").fold(attempt), 0.2, &mut place);
            place
        });
        let inside = target.take(10_000).find(|[x, y]| x.hypot(*y) < 0.2);
        self.state.positions[2..].copy_from_slice(&inside.unwrap_or_default());
        self.simulation.set_state(&self.state.positions, &self.state.velocities);
        self.steps = 0;
        self.read();
        self.observe(obs);
    }

    fn step(&mut self, act: &[Real], obs: &mut [Real]) -> Step {
        assert_eq!(act.len(), 2, "Reacher::step: the action is [2], got [{}]", act.len());
        let controls = [act[0], act[1]].map(|a| a.clamp(-1.0, 1.0) as f64);
        let distance = |off: [f64; 3]| off.iter().map(|x| x * x).sum::<f64>().sqrt();
        let before = distance(self.off);
        self.simulation.control(&controls);
        let sound = self.simulation.step(2);
        self.steps += 1;
        let truncated = self.steps >= HORIZON;
        if !sound {
            self.observe(obs);
            return Step { reward: 0.0, terminated: true, truncated };
        }
        self.read();
        self.observe(obs);
        let paid = if self.version < Version::V5 { before } else { distance(self.off) };
        let reward = -paid - controls.iter().map(|a| a * a).sum::<f64>();
        Step { reward: reward as Real, terminated: false, truncated }
    }
}
