//! Hopper, half-cheetah and walker2d (OpenAI Gym, Gymnasium), and NeoRL-2's half-cheetah with a speed limit.
//!
//! | | hopper | half-cheetah | walker2d |
//! |---|---|---|---|
//! | observation / action | 11 / 3 | 17 / 6 | 17 / 6 |
//! | observed | `qpos[1..]`, `qvel` within ±10 | `qpos[1..]`, `qvel` | `qpos[1..]`, `qvel` within ±10 |
//! | seconds a step | 4 × 0.002 | 5 × 0.01 | 4 × 0.002 |
//! | reward | ẋ + 1 − 10⁻³‖a‖² | ẋ − 0.1‖a‖² | ẋ + 1 − 10⁻³‖a‖² |
//! | ends unless | finite, \|all but x and z\| < 100, z > 0.7, \|θ\| < 0.2 | never | 0.8 < z < 2, \|θ\| < 1 |
//! | start | `U(±0.005)` on both | `qpos` `U(±0.1)`, `qvel` 0.1·`N(0, 1)` | `U(±0.005)` on both |
//!
//! ẋ is the mean speed over the step. Versions 2 to 4 pay the 1 for being alive in the step that ends an episode as well,
//! version 5 does not; version 5 of walker2d has equal friction on both feet. Nothing else that an agent sees differs.
//!
//! SafetyHalfCheetah observes x too (18 numbers) and loses 100 in every step faster than 3.2096 m/s (NeoRL-2,
//! arXiv:2503.19267; equations compared with its published rows).
//!
//! An action is first brought into its box, ±1. (Gym leaves that to the motors, and its cost is on what was asked for.)

use super::{Install, Simulation};
use crate::EnvError;
use backcast_core::{Env, Key, Real, Spec, Step};

/// Whose body it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Runner {
    /// One leg that hops.
    Hopper,
    /// Two legs that run, and a back that cannot fall.
    HalfCheetah,
    /// [`HalfCheetah`](Self::HalfCheetah) with a speed limit (NeoRL-2).
    SafetyHalfCheetah,
    /// Two legs that walk.
    Walker2d,
}

/// The version of Gym's rules, by its number in the name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Version {
    /// The rules under which D4RL's files were recorded.
    V2 = 2,
    /// As version 2, here.
    V3 = 3,
    /// As version 2, here.
    V4 = 4,
    /// Alive only while healthy; walker2d with equal feet.
    V5 = 5,
}

/// Steps until an episode is cut off.
pub const HORIZON: usize = 1000;
/// Metres per second, above which SafetyHalfCheetah is fined.
pub const SPEED_LIMIT: f64 = 3.2096;
/// What it is fined, each step.
pub const FINE: f64 = 100.0;

/// A planar body that runs along x.
pub struct Locomotion {
    runner: Runner,
    version: Version,
    simulation: Simulation,
    start: State,
    state: State,
    steps: usize,
}

/// Coordinates, `[nq]`, and velocities, `[nv]`.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct State {
    pub(super) positions: Vec<f64>,
    pub(super) velocities: Vec<f64>,
}

impl State {
    /// That of a simulation.
    pub(super) fn of(simulation: &Simulation) -> Self {
        let sizes = simulation.sizes();
        let mut state = Self { positions: vec![0.0; sizes.positions], velocities: vec![0.0; sizes.velocities] };
        state.read(simulation);
        state
    }

    pub(super) fn read(&mut self, simulation: &Simulation) {
        simulation.state(&mut self.positions, &mut self.velocities);
    }

    /// Every number of it.
    pub(super) fn all(&self) -> impl Iterator<Item = f64> + '_ {
        self.positions.iter().chain(&self.velocities).copied()
    }
}

/// Adds to each of `values` a draw between ±`size`.
pub(super) fn jitter(key: Key, size: f64, values: &mut [f64]) {
    let mut draws = vec![0.0; values.len()];
    key.uniform(-1.0, 1.0, &mut draws);
    values.iter_mut().zip(draws).for_each(|(value, draw)| *value += size * draw as f64);
}

/// Adds to each of `values` a normal draw of deviation `size`.
pub(super) fn jog(key: Key, size: f64, values: &mut [f64]) {
    let mut draws = vec![0.0; values.len()];
    key.normal(&mut draws);
    values.iter_mut().zip(draws).for_each(|(value, draw)| *value += size * draw as f64);
}

/// Writes `values` where an observation begins, each kept within ±`bound`, and returns the rest of the observation.
pub(super) fn write<'a>(obs: &'a mut [Real], values: &[f64], bound: f64) -> &'a mut [Real] {
    let (here, rest) = obs.split_at_mut(values.len());
    here.iter_mut().zip(values).for_each(|(o, x)| *o = x.clamp(-bound, bound) as Real);
    rest
}

impl Locomotion {
    /// Makes `runner` under the rules of `version`; SafetyHalfCheetah knows one set of rules.
    ///
    /// # Errors
    /// [`EnvError::Mujoco`] if its model is not there or not understood.
    pub fn new(install: &Install, runner: Runner, version: Version) -> Result<Self, EnvError> {
        let file = match (runner, version) {
            (Runner::Hopper, _) => "hopper.xml",
            (Runner::HalfCheetah | Runner::SafetyHalfCheetah, _) => "half_cheetah.xml",
            (Runner::Walker2d, Version::V5) => "walker2d_v5.xml",
            (Runner::Walker2d, _) => "walker2d.xml",
        };
        let simulation = install.library().compile(file, &install.model(file)?)?;
        let start = State::of(&simulation);
        let (positions, controls) = if runner == Runner::Hopper { (6, 3) } else { (9, 6) };
        let sizes = simulation.sizes();
        if (sizes.positions, sizes.velocities, sizes.controls) != (positions, positions, controls) {
            return Err(EnvError::Mujoco { why: format!("the model {file} is not Gymnasium's: it has {sizes:?}") });
        }
        Ok(Self { runner, version, simulation, state: start.clone(), start, steps: 0 })
    }

    /// Coordinates, `[nq]`, and velocities, `[nv]`, in double precision.
    pub fn state(&self) -> (&[f64], &[f64]) {
        (&self.state.positions, &self.state.velocities)
    }

    /// Puts the body somewhere, in an episode that goes on.
    ///
    /// # Panics
    /// If a slice has another length than the body's.
    pub fn set_state(&mut self, positions: &[f64], velocities: &[f64]) {
        self.simulation.set_state(positions, velocities);
        self.state.read(&self.simulation);
    }

    /// Simulation steps in a step, and seconds.
    fn pace(&self) -> (usize, f64) {
        match self.runner {
            Runner::Hopper | Runner::Walker2d => (4, 4.0 * 0.002),
            Runner::HalfCheetah | Runner::SafetyHalfCheetah => (5, 5.0 * 0.01),
        }
    }

    /// Whether it still stands.
    fn healthy(&self) -> bool {
        let (height, angle) = (self.state.positions[1], self.state.positions[2]);
        match self.runner {
            Runner::Hopper => {
                let bounded = self.state.all().skip(2).all(|x| x.abs() < 100.0);
                self.state.all().all(f64::is_finite) && bounded && height > 0.7 && angle.abs() < 0.2
            }
            Runner::Walker2d => height > 0.8 && height < 2.0 && angle.abs() < 1.0,
            Runner::HalfCheetah | Runner::SafetyHalfCheetah => true,
        }
    }

    fn observe(&self, obs: &mut [Real]) {
        let width = self.spec().obs;
        assert_eq!(obs.len(), width, "Locomotion: the observation is [{width}], the buffer [{}]", obs.len());
        let bound = if matches!(self.runner, Runner::Hopper | Runner::Walker2d) { 10.0 } else { f64::INFINITY };
        let first = usize::from(self.runner != Runner::SafetyHalfCheetah);
        let obs = write(obs, &self.state.positions[first..], f64::INFINITY);
        write(obs, &self.state.velocities, bound);
    }
}

impl Env for Locomotion {
    fn spec(&self) -> Spec {
        match self.runner {
            Runner::Hopper => Spec::new(11, 3),
            Runner::HalfCheetah | Runner::Walker2d => Spec::new(17, 6),
            Runner::SafetyHalfCheetah => Spec::new(18, 6),
        }
    }

    fn horizon(&self) -> usize {
        HORIZON
    }

    fn reset(&mut self, key: Key, obs: &mut [Real]) {
        self.simulation.reset();
        self.state.clone_from(&self.start);
        let (positions, velocities) = (key.name("positions"), key.name("velocities"));
        match self.runner {
            Runner::Hopper | Runner::Walker2d => {
                jitter(positions, 5e-3, &mut self.state.positions);
                jitter(velocities, 5e-3, &mut self.state.velocities);
            }
            Runner::HalfCheetah | Runner::SafetyHalfCheetah => {
                jitter(positions, 0.1, &mut self.state.positions);
                jog(velocities, 0.1, &mut self.state.velocities);
            }
        }
        self.simulation.set_state(&self.state.positions, &self.state.velocities);
        self.steps = 0;
        self.observe(obs);
    }

    fn step(&mut self, act: &[Real], obs: &mut [Real]) -> Step {
        let width = self.spec().act;
        assert_eq!(act.len(), width, "Locomotion::step: the action is [{width}], got [{}]", act.len());
        let mut controls = [0.0; 6];
        controls.iter_mut().zip(act).for_each(|(control, &a)| *control = a.clamp(-1.0, 1.0) as f64);
        let (count, seconds) = self.pace();
        let before = self.state.positions[0];
        self.simulation.control(&controls[..width]);
        let sound = self.simulation.step(count);
        self.steps += 1;
        let truncated = self.steps >= HORIZON;
        if !sound {
            // The last sound state is the last of its episode.
            self.observe(obs);
            return Step { reward: 0.0, terminated: true, truncated };
        }
        self.state.read(&self.simulation);
        self.observe(obs);
        let speed = (self.state.positions[0] - before) / seconds;
        let effort: f64 = controls.iter().map(|a| a * a).sum();
        let healthy = self.healthy();
        let alive = f64::from(healthy || self.version < Version::V5);
        let reward = match self.runner {
            Runner::Hopper | Runner::Walker2d => speed + alive - 1e-3 * effort,
            Runner::HalfCheetah => speed - 0.1 * effort,
            Runner::SafetyHalfCheetah => speed - 0.1 * effort - if speed > SPEED_LIMIT { FINE } else { 0.0 },
        };
        Step { reward: reward as Real, terminated: !healthy, truncated }
    }
}
