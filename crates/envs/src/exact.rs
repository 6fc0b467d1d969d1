//! One exact step from an observation, whoever imagined it: what a learnt model should have said.
//!
//! A learnt model is asked about states no environment was ever in. How wrong it is there can be measured where the observation
//! determines the state:
//!
//! | environment | the state from its observation | what is lost |
//! |---|---|---|
//! | maze2d | all of it: position and velocity | nothing; a position inside a wall is no state |
//! | pendulum | θ = atan2(sin, cos), θ̇ | a pair (cos, sin) off the unit circle is moved onto it |
//! | dmsd | positions, velocities, targets shown | whether and where a target will jump: here it stays |
//!
//! Rounding apart (observations are single precision, environments double), that is the step the environment takes.

use crate::maze2d::{Maze2d, WallBox, physics};
use crate::{EnvError, dmsd, pendulum, registry};
use backcast_core::{Real, Spec};

/// The physics of an environment as a function of observation and action.
///
/// ```
/// use approx::assert_abs_diff_eq;
/// use backcast_core::{Env, Key};
/// use backcast_envs::{exact::Exact, registry};
///
/// let (mut env, exact) = (registry::make("pendulum-v1")?, Exact::named("pendulum-v1")?);
/// let (mut obs, mut next, mut want) = ([0.0; 3], [0.0; 3], [0.0; 3]);
/// env.reset(Key::new(1), &mut obs);
/// let reward = exact.step(&obs, &[0.5], &mut next).expect("a state");
/// let step = env.step(&[0.5], &mut want);
/// assert_abs_diff_eq!(reward, step.reward, epsilon = 1e-5);
/// assert_abs_diff_eq!(next[..], want[..], epsilon = 1e-6);
/// # Ok::<(), backcast_envs::EnvError>(())
/// ```
#[derive(Clone, Debug)]
pub struct Exact {
    env: Simulator,
    spec: Spec,
}

#[derive(Clone, Debug)]
enum Simulator {
    Maze(Box<Maze2d>, Vec<WallBox>),
    Pendulum,
    Dmsd,
}

impl Exact {
    /// The physics of the environment called `name`.
    ///
    /// # Errors
    /// [`EnvError::Unknown`] with the nearest names.
    pub fn named(name: &str) -> Result<Self, EnvError> {
        let spec = registry::make(name)?.spec();
        let env = match registry::canonical(name) {
            Some("pendulum-v1") => Simulator::Pendulum,
            Some("dmsd") => Simulator::Dmsd,
            _ => {
                let maze = Maze2d::named(name)?;
                let walls = maze.layout().wall_boxes();
                Simulator::Maze(Box::new(maze), walls)
            }
        };
        Ok(Self { env, spec })
    }

    /// Widths of observation and action.
    pub fn spec(&self) -> Spec {
        self.spec
    }

    /// Writes the observation, `[obs]`, after `act`, `[act]`, in the state that shows as `obs`, and returns the reward of the
    /// step; `None`, and nothing written, if there is no such state: a number that is not finite, or a place inside a wall.
    ///
    /// # Panics
    /// If a length differs from the spec.
    pub fn step(&self, obs: &[Real], act: &[Real], next: &mut [Real]) -> Option<Real> {
        assert!(
            obs.len() == self.spec.obs && act.len() == self.spec.act && next.len() == self.spec.obs,
            "Exact::step: {}, {} and {} numbers for {:?}",
            obs.len(),
            act.len(),
            next.len(),
            self.spec
        );
        if obs.iter().chain(act).any(|x| !x.is_finite()) {
            return None;
        }
        let at = |i: usize| obs[i] as f64;
        let mut write = |values: &[f64]| next.iter_mut().zip(values).for_each(|(n, &x)| *n = x as Real);
        match &self.env {
            Simulator::Maze(maze, walls) => {
                let from = physics::PointState { position: [at(0), at(1)], velocity: [at(2), at(3)] };
                let inside = |wall: &WallBox| (0..2).all(|i| wall.min[i] < at(i) && at(i) < wall.max[i]);
                if walls.iter().any(inside) {
                    return None;
                }
                let physics::PointState { position: [x, y], velocity: [vx, vy] } =
                    physics::advance(maze.layout(), from, [act[0] as f64, act[1] as f64]);
                write(&[x, y, vx, vy]);
                Some(maze.reward().at([x, y], maze.target()) as Real)
            }
            Simulator::Pendulum => {
                let (to, reward) =
                    pendulum::advance(pendulum::PendulumState::from_obs([at(0), at(1), at(2)]), act[0] as f64);
                write(&to.obs());
                Some(reward as Real)
            }
            Simulator::Dmsd => {
                let from = dmsd::DmsdState { position: [at(0), at(1)], velocity: [at(2), at(3)] };
                let (to, target) = (dmsd::advance(from, [act[0] as f64, act[1] as f64]), [at(4), at(5)]);
                let [[x1, x2], [v1, v2]] = [to.position, to.velocity];
                write(&[x1, x2, v1, v2, target[0], target[1]]);
                Some(dmsd::reward(to.position, target) as Real)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use approx::assert_abs_diff_eq;
    use backcast_core::Key;

    #[test]
    fn every_environment_steps_as_it_does_itself() {
        for name in ["maze2d-umaze-v1", "maze2d-large-dense-v1", "pendulum-v1", "dmsd"] {
            let (mut env, exact) = (registry::make(name).unwrap(), Exact::named(name).unwrap());
            let Spec { obs: width, act, act_limit } = env.spec();
            let (mut obs, mut next, mut want) = (vec![0.0; width], vec![0.0; width], vec![0.0; width]);
            let (mut far, mut moved) = (0.0 as Real, 0.0 as Real);
            for episode in 0..5 {
                env.reset(Key::new(7).fold(episode), &mut obs);
                for t in 0..60 {
                    let mut a = vec![0.0; act];
                    Key::new(8).fold(episode).fold(t / 10).uniform(-act_limit, act_limit, &mut a);
                    let reward = exact.step(&obs, &a, &mut next).expect("a state that was reached");
                    let step = env.step(&a, &mut want);
                    // The only thing an observation does not tell: a target that jumps after 50 steps.
                    let jumped = name == "dmsd" && t + 1 == dmsd::SWITCH as u64;
                    let known = if jumped { 4 } else { width };
                    for i in 0..known {
                        far = far.max((next[i] - want[i]).abs());
                        moved = moved.max((want[i] - obs[i]).abs());
                    }
                    if !jumped {
                        far = far.max((reward - step.reward).abs());
                    }
                    obs.copy_from_slice(&want);
                }
            }
            // Contacts magnify single precision; the logarithm in the reward of dmsd too.
            assert!(far < 1e-4 && moved > 0.01, "{name}: {far} of {moved}");
        }
    }

    #[test]
    fn what_is_no_state_is_refused_and_what_nearly_is_moved() {
        let maze = Exact::named("maze2d-umaze-v1").unwrap();
        let mut next = [9.0; 4];
        assert_eq!(maze.step(&[0.0, 0.0, 0.0, 0.0], &[0.0, 0.0], &mut next), None, "the corner is a wall");
        assert_eq!(maze.step(&[1.0, Real::NAN, 0.0, 0.0], &[0.0, 0.0], &mut next), None);
        assert_eq!(next, [9.0; 4]);
        assert_eq!(maze.step(&[1.0, 1.0, 0.0, 0.0], &[0.0, 0.0], &mut next), Some(1.0), "the goal");
        let pendulum = Exact::named("pendulum-v1").unwrap();
        let [mut on, mut off] = [[0.0; 3]; 2];
        pendulum.step(&[0.6, 0.8, 1.0], &[0.3], &mut on);
        pendulum.step(&[0.66, 0.88, 1.0], &[0.3], &mut off);
        assert_abs_diff_eq!(on[..], off[..], epsilon = 1e-6);
        assert!(Exact::named("maze2d-huge").is_err());
    }
}
