//! Swing a pendulum up and hold it there (Gym's `Pendulum-v1`).

use backcast_core::{Env, Key, Real, Spec, Step};
use std::f64::consts::PI;

pub mod generate;

/// Length of one step, seconds.
pub const TIME_STEP: f64 = 0.05;
/// Angular velocities are clipped to this, rad/s.
pub const MAX_SPEED: f64 = 8.0;
/// Torques are clipped to this, N·m.
pub const MAX_TORQUE: f64 = 2.0;
/// Steps of one episode.
pub const HORIZON: usize = 200;

/// Angle (0 is upright, radians, not wrapped) and angular velocity (rad/s).
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct PendulumState {
    /// θ, radians.
    pub angle: f64,
    /// θ̇, radians per second.
    pub speed: f64,
}

impl PendulumState {
    /// The state that shows as `[cos θ, sin θ, θ̇]`, θ in (−π, π].
    pub fn from_obs(obs: [f64; 3]) -> Self {
        Self { angle: obs[1].atan2(obs[0]), speed: obs[2] }
    }

    /// `[cos θ, sin θ, θ̇]`.
    pub fn obs(self) -> [f64; 3] {
        [self.angle.cos(), self.angle.sin(), self.speed]
    }
}

/// One step under `torque` (N·m, clipped to ±[`MAX_TORQUE`]): the next state and the reward.
///
/// θ̇′ = clip(θ̇ + 0.05·(15 sin θ + 3u), ±8), θ′ = θ + 0.05·θ̇′, r = −(θ² + 0.1·θ̇² + 0.001·u²) with θ wrapped to ±π. The
/// reward is for the state *before* the step. (Gym's `Pendulum-v0` moved the angle before clipping the speed.)
pub fn advance(state: PendulumState, torque: f64) -> (PendulumState, f64) {
    let PendulumState { angle, speed } = state;
    let u = torque.clamp(-MAX_TORQUE, MAX_TORQUE);
    let wrapped = (angle + PI).rem_euclid(2.0 * PI) - PI;
    let reward = -(wrapped * wrapped + 0.1 * speed * speed + 0.001 * u * u);
    let next = (speed + TIME_STEP * (15.0 * angle.sin() + 3.0 * u)).clamp(-MAX_SPEED, MAX_SPEED);
    (PendulumState { angle: angle + TIME_STEP * next, speed: next }, reward)
}

/// The pendulum: observation `[cos θ, sin θ, θ̇]`, one torque in ±2 N·m, 200 steps, no termination.
///
/// Starts at θ ∈ U(±π), θ̇ ∈ U(±1). There is no published pair of reference returns, so it has no
/// [`ReferenceScores`](crate::ReferenceScores): report raw returns (about −1200 for uniformly random torques, −150 for a good policy).
///
/// ```
/// use backcast_core::{Env, Key};
/// use backcast_envs::pendulum::{Pendulum, PendulumState};
///
/// let mut pendulum = Pendulum::default();
/// pendulum.set_state(PendulumState { angle: 0.0, speed: 0.0 });
/// let mut obs = [0.0; 3];
/// assert_eq!(pendulum.step(&[0.0], &mut obs).reward, 0.0); // balanced
/// ```
#[derive(Clone, Debug, Default)]
pub struct Pendulum {
    state: PendulumState,
    steps: usize,
}

impl Pendulum {
    /// The state in double precision.
    pub fn state(&self) -> PendulumState {
        self.state
    }

    /// Puts the pendulum somewhere. The step counter of the episode goes on.
    pub fn set_state(&mut self, state: PendulumState) {
        self.state = state;
    }

    pub(crate) fn observe(&self, obs: &mut [Real]) {
        assert_eq!(obs.len(), 3, "Pendulum: the observation is [3], the buffer [{}]", obs.len());
        obs.copy_from_slice(&self.state.obs().map(|x| x as Real));
    }
}

impl Env for Pendulum {
    fn spec(&self) -> Spec {
        Spec::new(3, 1).with_act_limit(MAX_TORQUE as Real)
    }

    fn horizon(&self) -> usize {
        HORIZON
    }

    fn reset(&mut self, key: Key, obs: &mut [Real]) {
        let mut unit = [0.0; 2];
        key.name("start").uniform(-1.0, 1.0, &mut unit);
        self.state = PendulumState { angle: PI * unit[0] as f64, speed: unit[1] as f64 };
        self.steps = 0;
        self.observe(obs);
    }

    fn step(&mut self, act: &[Real], obs: &mut [Real]) -> Step {
        assert_eq!(act.len(), 1, "Pendulum::step: the action is [1], got [{}]", act.len());
        let (state, reward) = advance(self.state, act[0] as f64);
        self.state = state;
        self.steps += 1;
        self.observe(obs);
        Step { reward: reward as Real, terminated: false, truncated: self.steps >= HORIZON }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use approx::assert_abs_diff_eq;

    #[test]
    fn the_reward_wraps_the_angle() {
        let at = |angle| advance(PendulumState { angle, speed: 0.0 }, 0.0).1;
        assert_abs_diff_eq!(at(2.0 * PI + 0.1), -0.01, epsilon = 1e-12);
        assert_abs_diff_eq!(at(-7.0 * PI), -(PI * PI), epsilon = 1e-9);
    }

    #[test]
    fn the_speed_is_clipped_before_the_angle_moves() {
        let (next, _) = advance(PendulumState { angle: 1.5, speed: 7.9 }, 2.0);
        assert_eq!(next.speed, 8.0);
        assert_abs_diff_eq!(next.angle, 1.5 + 0.05 * 8.0, epsilon = 1e-12);
    }
}
