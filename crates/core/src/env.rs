use crate::{Key, Real, Spec};

// ANCHOR: step
/// What one step of an environment gives back beside the next observation.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Step {
    /// The reward of the step.
    pub reward: Real,
    /// The episode truly ended: no value beyond this state.
    pub terminated: bool,
    /// The episode was cut off by its horizon: the state has a value like any other.
    pub truncated: bool,
}
// ANCHOR_END: step

/// An environment that can be reset and stepped. The next state is a pure function of the key of the reset and the actions since.
pub trait Env {
    /// Widths and the action box.
    fn spec(&self) -> Spec;

    /// The number of steps after which an episode is cut off.
    fn horizon(&self) -> usize;

    /// Starts an episode drawn by `key` and writes its first observation, `[obs]`.
    fn reset(&mut self, key: Key, obs: &mut [Real]);

    /// Applies `act`, `[act]`, and writes the next observation, `[obs]`.
    fn step(&mut self, act: &[Real], obs: &mut [Real]) -> Step;
}

/// Is *(s, a, s′)* the last transition of an episode? Pure, and always given forward time, whatever the model's direction.
pub type Termination = fn(s: &[Real], a: &[Real], s2: &[Real]) -> bool;

/// The termination of environments that never end, such as maze2d.
pub fn never(_: &[Real], _: &[Real], _: &[Real]) -> bool {
    false
}
