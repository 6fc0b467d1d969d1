//! The maze2d environments of D4RL (arXiv:2004.07219, §5): a sphere pushed through a maze towards a goal.
//!
//! | | |
//! |---|---|
//! | observation | (x, y, ẋ, ẏ): metres and metres per second; x = row of the drawing |
//! | action | force along x and y, ±1 = ±100 N |
//! | step | 0.01 s |
//! | reward, after the step | sparse: 1 within 0.5 m of the goal, else 0; dense: exp(−distance) |
//! | end | never terminates; cut off after 300 / 600 / 800 steps (v1: umaze / medium / large) |
//! | start | a uniformly drawn free or goal cell ± 0.1 m, velocity N(0, 0.1²) |
//!
//! The state is kept in double precision; observations are rounded on the way out. See [`physics`] for the contacts,
//! [`controller`] for the planner that collected the published datasets, [`generate`] for such datasets.

pub mod controller;
pub mod generate;
mod layout;
pub mod physics;
mod planner;

pub use layout::{Cell, Layout, WallBox};
pub use planner::Planner;

use crate::EnvError;
use backcast_core::{Env, Key, Real, Spec, Step};
use physics::{PointState, advance};
use serde::{Deserialize, Serialize};

/// Within this distance of the goal the sparse reward is 1, metres.
pub const GOAL_RADIUS: f64 = 0.5;
/// Starts and requested targets lie within this distance of a cell's integer coordinates on each axis, metres.
pub const JITTER: f64 = 0.1;
/// Standard deviation of each component of the start's velocity, m/s.
const START_SPEED: f64 = 0.1;

/// What a maze pays after each step.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Reward {
    /// 1 within [`GOAL_RADIUS`] of the goal, else 0.
    Sparse,
    /// exp(−distance to the goal in metres).
    Dense,
}

impl Reward {
    /// The reward of being at `position` when the goal is at `goal` (observation coordinates, metres).
    pub fn at(self, position: [f64; 2], goal: [f64; 2]) -> f64 {
        let distance = (position[0] - goal[0]).hypot(position[1] - goal[1]);
        match self {
            Self::Sparse => f64::from(distance <= GOAL_RADIUS),
            Self::Dense => (-distance).exp(),
        }
    }
}

/// A particle in a maze.
///
/// ```
/// use backcast_core::{Env, Key};
/// use backcast_envs::maze2d::Maze2d;
///
/// let mut maze = Maze2d::named("maze2d-umaze-v1")?;
/// let mut obs = [0.0; 4];
/// maze.reset(Key::new(1), &mut obs);
/// let step = maze.step(&[1.0, 0.0], &mut obs);
/// assert!(!step.terminated && !step.truncated);
/// assert_eq!(maze.target(), [1.0, 1.0]);
/// # Ok::<(), backcast_envs::EnvError>(())
/// ```
#[derive(Clone, Debug)]
pub struct Maze2d {
    layout: Layout,
    reward: Reward,
    horizon: usize,
    target: [f64; 2],
    state: PointState,
    steps: usize,
}

impl Maze2d {
    /// A maze whose target is the layout's goal, cut off after `horizon` steps. The particle rests at the first open cell
    /// until the first reset.
    pub fn new(layout: Layout, reward: Reward, horizon: usize) -> Self {
        let (row, column) = layout.goal();
        let start = layout.open_cells()[0];
        Self {
            target: [row as f64, column as f64],
            state: PointState { position: [start.0 as f64, start.1 as f64], velocity: [0.0; 2] },
            layout,
            reward,
            horizon,
            steps: 0,
        }
    }

    /// A registered maze: `maze2d-[eval-]{open,umaze,medium,large}[-sparse|-dense][-v0|-v1]`; sparse and v1 (`open`: v0) where
    /// the name does not say. The versions differ in their horizon only.
    ///
    /// # Errors
    /// [`EnvError::Unknown`] with the nearest names.
    pub fn named(name: &str) -> Result<Self, EnvError> {
        crate::registry::maze2d(name)
    }

    /// The walls.
    pub fn layout(&self) -> &Layout {
        &self.layout
    }

    /// What is paid.
    pub fn reward(&self) -> Reward {
        self.reward
    }

    /// Where the goal is, observation coordinates, metres.
    pub fn target(&self) -> [f64; 2] {
        self.target
    }

    /// Moves the goal; a reset does not move it back.
    pub fn set_target(&mut self, target: [f64; 2]) {
        self.target = target;
    }

    /// The state in double precision.
    pub fn state(&self) -> PointState {
        self.state
    }

    /// Puts the particle somewhere. The step counter of the episode goes on.
    pub fn set_state(&mut self, state: PointState) {
        self.state = state;
    }

    /// The observation of the present state, `[4]`.
    ///
    /// # Panics
    /// If `obs` is not four wide.
    pub fn observe(&self, obs: &mut [Real]) {
        assert_eq!(obs.len(), 4, "Maze2d::observe: the observation is [4], the buffer [{}]", obs.len());
        let PointState { position: [x, y], velocity: [vx, vy] } = self.state;
        obs.copy_from_slice(&[x as Real, y as Real, vx as Real, vy as Real]);
    }

    /// Ends a step at `state`, whoever computed it: counts it, writes its observation, `[4]`, and pays.
    pub(crate) fn arrive(&mut self, state: PointState, obs: &mut [Real]) -> Step {
        self.state = state;
        self.steps += 1;
        self.observe(obs);
        Step {
            reward: self.reward.at(state.position, self.target) as Real,
            terminated: false,
            truncated: self.steps >= self.horizon,
        }
    }
}

/// A point near the integer coordinates of a uniformly drawn open cell: where episodes start and targets are requested.
fn draw_place(layout: &Layout, key: Key) -> [f64; 2] {
    let open = layout.open_cells();
    let (row, column) = open[key.name("cell").below(open.len(), 0)];
    let mut jitter = [0.0; 2];
    key.name("jitter").uniform(-(JITTER as Real), JITTER as Real, &mut jitter);
    [row as f64 + jitter[0] as f64, column as f64 + jitter[1] as f64]
}

impl Env for Maze2d {
    fn spec(&self) -> Spec {
        Spec::new(4, 2)
    }

    fn horizon(&self) -> usize {
        self.horizon
    }

    fn reset(&mut self, key: Key, obs: &mut [Real]) {
        let mut velocity = [0.0; 2];
        key.name("velocity").normal(&mut velocity);
        self.state = PointState {
            position: draw_place(&self.layout, key.name("start")),
            velocity: velocity.map(|z| START_SPEED * z as f64),
        };
        self.steps = 0;
        self.observe(obs);
    }

    fn step(&mut self, act: &[Real], obs: &mut [Real]) -> Step {
        assert_eq!(act.len(), 2, "Maze2d::step: the action is [2], got [{}]", act.len());
        self.arrive(advance(&self.layout, self.state, [act[0] as f64, act[1] as f64]), obs)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use approx::assert_abs_diff_eq;

    #[test]
    fn starts_cover_every_open_cell_and_have_small_velocities() {
        let mut maze = Maze2d::named("maze2d-medium-v1").unwrap();
        let (mut seen, mut obs, mut squares) = (std::collections::BTreeSet::new(), [0.0; 4], 0.0);
        for i in 0..2000 {
            maze.reset(Key::new(4).fold(i), &mut obs);
            let PointState { position, velocity } = maze.state();
            let cell = position.map(f64::round);
            assert_abs_diff_eq!(position[..], cell[..], epsilon = 0.1 + 1e-6);
            seen.insert((cell[0] as usize, cell[1] as usize));
            squares += velocity[0] * velocity[0] + velocity[1] * velocity[1];
        }
        assert_eq!(seen, maze.layout().open_cells().iter().copied().collect());
        // 4000 squares of N(0, 0.1²): their mean has relative standard error √(2/4000).
        assert_abs_diff_eq!(squares / 4000.0 / 0.01, 1.0, epsilon = 5.0 * (2.0f64 / 4000.0).sqrt());
    }

    #[test]
    fn rewards_follow_the_distance_after_the_step() {
        let mut maze = Maze2d::named("maze2d-umaze-dense-v1").unwrap();
        maze.set_state(PointState { position: [1.0, 1.4], velocity: [0.0, 0.0] });
        let mut obs = [0.0; 4];
        let step = maze.step(&[0.0, 1.0], &mut obs);
        assert_abs_diff_eq!(step.reward as f64, (-(obs[1] as f64 - 1.0)).exp(), epsilon = 1e-6);
        assert_eq!(Reward::Sparse.at([1.5, 1.0], [1.0, 1.0]), 1.0);
        assert_eq!(Reward::Sparse.at([1.5000001, 1.0], [1.0, 1.0]), 0.0);
    }

    #[test]
    fn episodes_are_truncated_and_never_terminate() {
        let mut maze = Maze2d::named("maze2d-umaze").unwrap();
        let mut obs = [0.0; 4];
        maze.reset(Key::new(0), &mut obs);
        for t in 1..=300 {
            let step = maze.step(&[0.1, -0.1], &mut obs);
            assert_eq!((step.terminated, step.truncated), (false, t == 300));
        }
        maze.reset(Key::new(0), &mut obs);
        assert!(!maze.step(&[0.0, 0.0], &mut obs).truncated);
    }
}
