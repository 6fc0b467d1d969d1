//! NeoRL-2's double mass–spring–damper: two coupled masses, each to be held at a target that may jump half-way.

use backcast_core::{Env, Key, Real, Spec, Step};

/// Length of one (explicit Euler) step, seconds.
pub const TIME_STEP: f64 = 0.2;
/// Each mass, kilograms.
pub const MASS: f64 = 20.0;
/// Each of the three springs (wall – mass – mass – wall), N/m.
pub const STIFFNESS: f64 = 2.0;
/// Each of the three dampers beside them, N·s/m.
pub const DAMPING: f64 = 4.0;
/// Force of an action of 1, newtons.
pub const FORCE: f64 = 30.0;
/// Steps of one episode.
pub const HORIZON: usize = 100;
/// An axis that has a second target gets it with the observation after this many steps.
pub const SWITCH: usize = 50;

/// Displacements from rest (metres) and velocities (m/s) of the two masses.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct DmsdState {
    /// (x₁, x₂), metres.
    pub position: [f64; 2],
    /// (v₁, v₂), metres per second.
    pub velocity: [f64; 2],
}

/// One step under `action` (clipped to ±1): explicit Euler, everything from the old state.
///
/// x₁′ = x₁ + Δ·v₁, v₁′ = v₁ + Δ/m·(−2k·x₁ + k·x₂ − 2d·v₁ + d·v₂ + F₁), and the same with the indices swapped.
pub fn advance(state: DmsdState, action: [f64; 2]) -> DmsdState {
    let DmsdState { position: x, velocity: v } = state;
    let pushed = |i: usize| {
        let j = 1 - i;
        let springs = STIFFNESS * (x[j] - 2.0 * x[i]);
        let dampers = DAMPING * (v[j] - 2.0 * v[i]);
        v[i] + TIME_STEP / MASS * (springs + dampers + FORCE * action[i].clamp(-1.0, 1.0))
    };
    DmsdState { position: [x[0] + TIME_STEP * v[0], x[1] + TIME_STEP * v[1]], velocity: [pushed(0), pushed(1)] }
}

/// Σ −ln(|x′ − t′| + 0.01): the reward of a step that leads to `position` when the observation after it shows `target`
/// (metres). At most 2·ln 100 ≈ 9.21.
pub fn reward(position: [f64; 2], target: [f64; 2]) -> f64 {
    (0..2).map(|i| -((position[i] - target[i]).abs() + 0.01).ln()).sum()
}

/// The double mass–spring–damper: observation `[x₁, x₂, v₁, v₂, t₁, t₂]`, two actions in ±1, 100 steps, no termination.
///
/// An episode starts at x ∈ U(±0.25), v ∈ U(±0.1). Each axis has a target in U(±1.5) and, with probability ½ and
/// independently of the other, another one from step 50 on (in the published datasets 1192 of 2400 axes have).
///
/// ```
/// use backcast_core::{Env, Key};
/// use backcast_envs::dmsd::Dmsd;
///
/// let mut env = Dmsd::default();
/// let mut obs = [0.0; 6];
/// env.reset(Key::new(2), &mut obs);
/// let step = env.step(&[0.0, 0.0], &mut obs);
/// assert!(step.reward < 9.22 && !step.truncated);
/// ```
#[derive(Clone, Debug, Default)]
pub struct Dmsd {
    state: DmsdState,
    /// Before and after the switch.
    targets: [[f64; 2]; 2],
    steps: usize,
}

impl Dmsd {
    /// The state in double precision.
    pub fn state(&self) -> DmsdState {
        self.state
    }

    /// The targets now shown, metres.
    pub fn target(&self) -> [f64; 2] {
        self.targets[usize::from(self.steps >= SWITCH)]
    }

    /// The targets before and after step [`SWITCH`], metres.
    pub fn targets(&self) -> [[f64; 2]; 2] {
        self.targets
    }

    /// Puts the masses somewhere and fixes the targets before and after step [`SWITCH`]. The step counter goes on.
    pub fn set_state(&mut self, state: DmsdState, targets: [[f64; 2]; 2]) {
        (self.state, self.targets) = (state, targets);
    }

    pub(crate) fn observe(&self, obs: &mut [Real]) {
        assert_eq!(obs.len(), 6, "Dmsd: the observation is [6], the buffer [{}]", obs.len());
        let DmsdState { position, velocity } = self.state;
        for (pair, values) in obs.chunks_mut(2).zip([position, velocity, self.target()]) {
            pair.copy_from_slice(&values.map(|x| x as Real));
        }
    }
}

impl Env for Dmsd {
    fn spec(&self) -> Spec {
        Spec::new(6, 2)
    }

    fn horizon(&self) -> usize {
        HORIZON
    }

    fn reset(&mut self, key: Key, obs: &mut [Real]) {
        let pair = |label: &str, limit: Real| {
            let mut values = [0.0; 2];
            key.name(label).uniform(-limit, limit, &mut values);
            values.map(|x| x as f64)
        };
        self.state = DmsdState { position: pair("position", 0.25), velocity: pair("velocity", 0.1) };
        let (first, second) = (pair("first target", 1.5), pair("second target", 1.5));
        let switches = |i| key.name("switch").below(2, i) == 1;
        self.targets = [first, [0, 1].map(|i| if switches(i) { second[i] } else { first[i] })];
        self.steps = 0;
        self.observe(obs);
    }

    fn step(&mut self, act: &[Real], obs: &mut [Real]) -> Step {
        assert_eq!(act.len(), 2, "Dmsd::step: the action is [2], got [{}]", act.len());
        self.state = advance(self.state, [act[0] as f64, act[1] as f64]);
        self.steps += 1;
        self.observe(obs);
        let reward = reward(self.state.position, self.target()) as Real;
        Step { reward, terminated: false, truncated: self.steps >= HORIZON }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use approx::assert_abs_diff_eq;

    #[test]
    fn targets_jump_at_step_fifty_on_half_of_the_axes() {
        let (mut env, mut obs, mut jumps) = (Dmsd::default(), [0.0; 6], 0);
        for episode in 0..400 {
            env.reset(Key::new(8).fold(episode), &mut obs);
            for t in 1..=HORIZON {
                let before = [obs[4], obs[5]];
                env.step(&[0.0, 0.0], &mut obs);
                let changed = (0..2).filter(|&i| obs[4 + i] != before[i]).count();
                assert!(changed == 0 || t == SWITCH);
                jumps += changed;
            }
        }
        // 800 fair coins.
        assert_abs_diff_eq!(jumps as f64, 400.0, epsilon = 5.0 * 200f64.sqrt());
    }

    #[test]
    fn the_masses_are_interchangeable() {
        let state = DmsdState { position: [0.3, -0.1], velocity: [0.05, 0.2] };
        let swap = |[a, b]: [f64; 2]| [b, a];
        let mirrored = DmsdState { position: swap(state.position), velocity: swap(state.velocity) };
        let (one, two) = (advance(state, [0.5, -2.0]), advance(mirrored, [-1.0, 0.5]));
        assert_eq!((one.position, one.velocity), (swap(two.position), swap(two.velocity)));
    }
}
