//! Cooperative navigation: particles on a plane that are to cover as many landmarks between them, and not to touch.
//!
//! The environment known as *simple_spread* (Lowe et al., *Multi-agent actor-critic for mixed cooperative-competitive environments*, NeurIPS 2017,
//! arXiv:1706.02275; the multi-agent particle environments, PettingZoo's MPE). Several agents act at once and are paid one reward, so it
//! is an [`Env`] whose observation and action are the agents' own, one after the other:
//!
//! | | width | agent *i*'s own |
//! |---|---|---|
//! | observation | *n*·[`own_obs`](Spread::own_obs), 54 for three | its velocity, its place, the landmarks and the other agents as it sees them (relative to itself), what the others say (2 each, always 0) |
//! | action | *n*·2 | a force in ±1 along each axis |
//!
//! What pays, the mean over agents of what each is paid, *d_l* being the distance of landmark *l* from the agent nearest to it:
//!
//! | name | reward of a step | where from |
//! |---|---|---|
//! | `spread-v0` | −Σ_l *d_l* − what touching costs, 1 to each of two agents that do | the published environment, whose shared reward is the sum over agents: *n* times ours |
//! | `spread-inverse-v0` | Σ_l min(1/*d_l*, 10) − 5 to each of two agents that touch | the environment OMAR's datasets were made in (Pan et al., ICML 2022, arXiv:2111.11188, the authors' code) |
//!
//! The first release also charged every agent 1 a step for touching itself; here nobody touches himself.

use backcast_core::{Env, Key, Real, Spec, Step};

/// Length of one step, seconds.
pub const TIME_STEP: f64 = 0.1;
/// The share of its velocity that a particle loses in a step.
pub const DAMPING: f64 = 0.25;
/// Force of an action of 1 on a particle of mass 1.
pub const FORCE: f64 = 5.0;
/// Radius of a particle: two touch where their centres are nearer than twice this.
pub const RADIUS: f64 = 0.15;
/// Force for each unit of length that two particles overlap.
pub const CONTACT_FORCE: f64 = 100.0;
/// How softly contact begins, in units of length.
pub const CONTACT_MARGIN: f64 = 1e-3;
/// Steps of one episode.
pub const HORIZON: usize = 25;

/// The names that [`Spread::named`] knows, of environments with three agents.
pub const NAMES: [&str; 2] = ["spread-v0", "spread-inverse-v0"];

/// A particle: where it is and how fast it goes.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Particle {
    /// (x, y).
    pub position: [f64; 2],
    /// (ẋ, ẏ).
    pub velocity: [f64; 2],
}

/// What pays.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Reward {
    /// −Σ_l d_l, and −1 to each of two agents that touch.
    #[default]
    Distance,
    /// Σ_l min(1/d_l, 10), and −5 to each of two agents that touch.
    Inverse,
}

fn apart(a: [f64; 2], b: [f64; 2]) -> [f64; 2] {
    [a[0] - b[0], a[1] - b[1]]
}

fn length([x, y]: [f64; 2]) -> f64 {
    x.hypot(y)
}

// ANCHOR: contact
/// The force on a particle at `a` from one at `b`:  100·k·ln(1 + exp(−(d − 2r)/k)) along a − b, d = ‖a − b‖.
///
/// Two particles in one place, which the published environment divides by zero for, are pushed apart along the first axis.
pub fn contact(a: [f64; 2], b: [f64; 2]) -> [f64; 2] {
    let between = apart(a, b);
    let distance = length(between);
    let overlap = -(distance - 2.0 * RADIUS) / CONTACT_MARGIN;
    let softly = overlap.max(0.0) + (-overlap.abs()).exp().ln_1p();
    let force = CONTACT_FORCE * CONTACT_MARGIN * softly;
    if distance == 0.0 { [force, 0.0] } else { between.map(|x| force * x / distance) }
}
// ANCHOR_END: contact

// ANCHOR: advance
/// One step of all particles under `action`, two numbers each, clipped to ±1:
///
/// v′ = (1 − 0.25)·v + Δt·(5·u + contacts),   x′ = x + Δt·v′
pub fn advance(particles: &mut [Particle], action: &[f64]) {
    assert_eq!(action.len(), 2 * particles.len(), "advance: {} numbers, {} particles", action.len(), particles.len());
    for i in 0..particles.len() {
        let mut force = [0, 1].map(|k| FORCE * action[2 * i + k].clamp(-1.0, 1.0));
        for j in (0..particles.len()).filter(|&j| j != i) {
            // Of two in one place the second is pushed the other way.
            let push = match i < j {
                true => contact(particles[i].position, particles[j].position),
                false => contact(particles[j].position, particles[i].position).map(|x| -x),
            };
            force = [0, 1].map(|k| force[k] + push[k]);
        }
        particles[i].velocity = [0, 1].map(|k| (1.0 - DAMPING) * particles[i].velocity[k] + TIME_STEP * force[k]);
    }
    for Particle { position, velocity } in particles {
        *position = [0, 1].map(|k| position[k] + TIME_STEP * velocity[k]);
    }
}
// ANCHOR_END: advance

// ANCHOR: reward
impl Reward {
    /// What a step that leads to these places pays, the mean over agents.
    pub fn at(self, agents: &[Particle], landmarks: &[[f64; 2]]) -> f64 {
        let nearest = |l: &[f64; 2]| agents.iter().map(|a| length(apart(a.position, *l))).fold(f64::INFINITY, f64::min);
        let touching = |i: usize| (0..i).filter(move |&j| touch(agents[i].position, agents[j].position)).count();
        // Each pair is two agents that are charged.
        let charged = 2.0 * (0..agents.len()).map(touching).sum::<usize>() as f64 / agents.len() as f64;
        match self {
            Self::Distance => -landmarks.iter().map(nearest).sum::<f64>() - charged,
            Self::Inverse => landmarks.iter().map(|l| nearest(l).recip().min(10.0)).sum::<f64>() - 5.0 * charged,
        }
    }
}
// ANCHOR_END: reward

fn touch(a: [f64; 2], b: [f64; 2]) -> bool {
    length(apart(a, b)) < 2.0 * RADIUS
}

/// Cooperative navigation. Everybody starts at rest somewhere in ±1, landmarks are anywhere in ±1 (±2 for more than three agents); an
/// episode lasts 25 steps and never ends by itself.
///
/// ```
/// use backcast_core::{Env, Key};
/// use backcast_envs::spread::Spread;
///
/// let mut env = Spread::named("spread-v0").unwrap();
/// assert_eq!((env.agents(), env.own_obs(), env.spec().obs, env.spec().act), (3, 18, 54, 6));
/// let mut obs = [0.0; 54];
/// env.reset(Key::new(1), &mut obs);
/// let step = env.step(&[0.0; 6], &mut obs);
/// assert!(step.reward < 0.0 && !step.truncated);
/// ```
#[derive(Clone, Debug)]
pub struct Spread {
    reward: Reward,
    agents: Vec<Particle>,
    landmarks: Vec<[f64; 2]>,
    steps: usize,
}

impl Spread {
    /// An environment of `agents` agents and as many landmarks.
    ///
    /// # Panics
    /// If there is no agent.
    pub fn new(agents: usize, reward: Reward) -> Self {
        assert!(agents > 0, "Spread::new: no agent");
        Self { reward, agents: vec![Particle::default(); agents], landmarks: vec![[0.0; 2]; agents], steps: 0 }
    }

    /// The environment called `name`, one of [`NAMES`]; case does not matter, nor whether there is a version.
    pub fn named(name: &str) -> Option<Self> {
        let name = name.to_ascii_lowercase();
        match name.trim_end_matches("-v0") {
            "spread" => Some(Self::new(3, Reward::Distance)),
            "spread-inverse" => Some(Self::new(3, Reward::Inverse)),
            _ => None,
        }
    }

    /// How many agents there are: the parts of an observation and of an action.
    pub fn agents(&self) -> usize {
        self.agents.len()
    }

    /// Width of what one agent sees.
    pub fn own_obs(&self) -> usize {
        2 + 2 + 2 * self.landmarks.len() + 4 * (self.agents.len() - 1)
    }

    /// The agents and the places of the landmarks.
    pub fn state(&self) -> (&[Particle], &[[f64; 2]]) {
        (&self.agents, &self.landmarks)
    }

    /// Puts agents and landmarks somewhere. The step counter goes on.
    ///
    /// # Panics
    /// If there are more or fewer than before.
    pub fn set_state(&mut self, agents: &[Particle], landmarks: &[[f64; 2]]) {
        self.agents.copy_from_slice(agents);
        self.landmarks.copy_from_slice(landmarks);
    }

    // ANCHOR: observe
    /// Writes what the agents see, one after the other.
    fn observe(&self, obs: &mut [Real]) {
        let wide = self.own_obs();
        assert_eq!(obs.len(), wide * self.agents.len(), "Spread: an observation of {} numbers", obs.len());
        for (i, (me, out)) in self.agents.iter().zip(obs.chunks_mut(wide)).enumerate() {
            let others = (0..self.agents.len()).filter(|&j| j != i).map(|j| self.agents[j].position);
            let seen = self.landmarks.iter().copied().chain(others).map(|place| apart(place, me.position));
            // What nobody says comes last.
            let silence = std::iter::repeat([0.0; 2]);
            let all = [me.velocity, me.position].into_iter().chain(seen).chain(silence);
            out.chunks_mut(2).zip(all).for_each(|(pair, x)| pair.copy_from_slice(&x.map(|x| x as Real)));
        }
    }
    // ANCHOR_END: observe
}

impl Env for Spread {
    fn spec(&self) -> Spec {
        Spec::new(self.own_obs() * self.agents.len(), 2 * self.agents.len())
    }

    fn horizon(&self) -> usize {
        HORIZON
    }

    fn reset(&mut self, key: Key, obs: &mut [Real]) {
        let bound = if self.agents.len() <= 3 { 1.0 } else { 2.0 };
        let place = |what: &str, i: usize| {
            let mut at = [0.0; 2];
            key.name(what).fold(i as u64).uniform(-bound, bound, &mut at);
            at.map(|x| x as f64)
        };
        for (i, agent) in self.agents.iter_mut().enumerate() {
            *agent = Particle { position: place("agent", i), velocity: [0.0; 2] };
        }
        self.landmarks.iter_mut().enumerate().for_each(|(i, at)| *at = place("landmark", i));
        self.steps = 0;
        self.observe(obs);
    }

    fn step(&mut self, act: &[Real], obs: &mut [Real]) -> Step {
        let action: Vec<f64> = act.iter().map(|&x| x as f64).collect();
        advance(&mut self.agents, &action);
        self.steps += 1;
        self.observe(obs);
        let reward = self.reward.at(&self.agents, &self.landmarks) as Real;
        Step { reward, terminated: false, truncated: self.steps >= HORIZON }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::checker::check;
    use approx::{abs_diff_eq, assert_abs_diff_eq};
    use backcast_core::never;

    fn at(x: f64, y: f64) -> Particle {
        Particle { position: [x, y], velocity: [0.0; 2] }
    }

    #[test]
    fn it_keeps_the_promises_of_an_environment() {
        for name in NAMES {
            let mut env = crate::registry::make(name).unwrap();
            assert_eq!(check(&mut *env, crate::registry::termination(name), Key::new(6)), [], "{name}");
            assert_eq!(crate::registry::agents(name), 3);
        }
        assert_eq!(check(&mut Spread::new(5, Reward::Inverse), Some(never), Key::new(7)), []);
        assert!(Spread::named("spread").is_some() && Spread::named("spread-v1").is_none());
    }

    /// One particle alone: v₁ = 0.1·5 = 0.5, x₁ = 0.05; v₂ = 0.375 − 0.5·0.5 (an action of −½), x₂ = 0.05 + 0.0125.
    #[test]
    fn a_particle_moves_as_computed_by_hand() {
        let mut one = [at(0.0, 0.0)];
        advance(&mut one, &[1.0, 3.0]);
        assert_eq!((one[0].velocity, one[0].position), ([0.5, 0.5], [0.05, 0.05]));
        advance(&mut one, &[-0.5, 0.0]);
        let Particle { position, velocity } = one[0];
        assert_abs_diff_eq!(velocity[..], [0.125, 0.375][..], epsilon = 1e-12);
        assert_abs_diff_eq!(position[..], [0.0625, 0.0875][..], epsilon = 1e-12);
        // Pushed for ever it goes at 5·0.1/0.25 = 2.
        (0..100).for_each(|_| advance(&mut one, &[1.0, 0.0]));
        assert_abs_diff_eq!(one[0].velocity[0], 2.0, epsilon = 1e-9);
    }

    #[test]
    fn contact_is_soft_at_its_edge_and_a_spring_within() {
        // Exactly touching: 100·10⁻³·ln 2. An overlap of 0.1: 100·0.1. Out of reach: nothing.
        let edge = contact([0.3, 0.0], [0.0, 0.0]);
        assert_abs_diff_eq!(edge[0], 0.1 * std::f64::consts::LN_2, epsilon = 1e-12);
        assert_eq!(edge[1], 0.0);
        let inside = contact([0.0, -0.2], [0.0, 0.0]);
        assert_abs_diff_eq!(inside[1], -10.0, epsilon = 1e-9);
        assert_eq!(inside[0], 0.0);
        assert_abs_diff_eq!(contact([1.0, 1.0], [0.0, 0.0])[0], 0.0, epsilon = 1e-12);
        assert!(contact([0.5; 2], [0.5; 2])[0].is_finite());
        // Action and reaction: two that are pushed into each other stay a mirror image, and come apart.
        let mut two = [at(-0.12, 0.4), at(0.12, 0.4)];
        for _ in 0..HORIZON {
            advance(&mut two, &[0.0; 4]);
            assert!(
                abs_diff_eq!(two[0].position[0], -two[1].position[0], epsilon = 1e-12) && two[0].position[1] == 0.4,
                "{two:?}"
            );
        }
        assert!(two[1].position[0] > 0.15, "{two:?}");
    }

    #[test]
    fn what_pays_as_computed_by_hand() {
        let landmarks = [[0.0, 0.0], [1.0, 0.0], [0.0, 2.0]];
        // Distances to the nearest: 0, 0.4, 2; the first two agents touch only in the second case.
        let far = [at(0.0, 0.0), at(0.6, 0.0), at(-3.0, 0.0)];
        assert_abs_diff_eq!(Reward::Distance.at(&far, &landmarks), -2.4, epsilon = 1e-12);
        assert_abs_diff_eq!(Reward::Inverse.at(&far, &landmarks), 10.0 + 2.5 + 0.5, epsilon = 1e-12);
        let near = [at(0.0, 0.0), at(0.2, 0.0), at(-3.0, 0.0)];
        assert_abs_diff_eq!(Reward::Distance.at(&near, &landmarks), -2.8 - 2.0 / 3.0, epsilon = 1e-12);
        assert_abs_diff_eq!(Reward::Inverse.at(&near, &landmarks), 10.0 + 1.25 + 0.5 - 10.0 / 3.0, epsilon = 1e-12);
    }

    /// Agents renamed, the environment moved, mirrored: what pays stays, and what is seen goes along.
    #[test]
    fn nothing_depends_on_names_places_or_sides() {
        let mut env = Spread::named("spread-v0").unwrap();
        let (mut obs, mut other) = ([0.0; 54], [0.0; 54]);
        for seed in 0..20 {
            env.reset(Key::new(seed), &mut obs);
            let (agents, landmarks) = (env.state().0.to_vec(), env.state().1.to_vec());
            let mut act = [0.0; 6];
            Key::new(seed).name("act").uniform(-1.0, 1.0, &mut act);
            let step = env.step(&act, &mut obs);
            // The first agent goes last.
            let turned: Vec<Particle> = [1, 2, 0].map(|i| agents[i]).to_vec();
            env.set_state(&turned, &landmarks);
            let renamed = env.step(&[act[2], act[3], act[4], act[5], act[0], act[1]], &mut other);
            assert!(abs_diff_eq!(step.reward, renamed.reward, epsilon = 1e-5), "seed {seed}");
            assert_eq!(obs[18..28], other[..10], "seed {seed}");
            // x → 3 − x for places, −x for forces.
            let mirror = |[x, y]: [f64; 2]| [3.0 - x, y];
            let mirrored: Vec<Particle> =
                agents.iter().map(|a| Particle { position: mirror(a.position), ..*a }).collect();
            let places: Vec<[f64; 2]> = landmarks.iter().copied().map(mirror).collect();
            env.set_state(&mirrored, &places);
            let reflected = env.step(&[-act[0], act[1], -act[2], act[3], -act[4], act[5]], &mut other);
            assert!(abs_diff_eq!(step.reward, reflected.reward, epsilon = 1e-5), "seed {seed}");
            assert!(
                abs_diff_eq!(obs[4], -other[4], epsilon = 1e-6) && abs_diff_eq!(obs[5], other[5], epsilon = 1e-6),
                "seed {seed}"
            );
        }
    }

    #[test]
    fn each_agent_sees_the_others_and_the_landmarks_from_where_it_is() {
        let mut env = Spread::new(3, Reward::Distance);
        let mut obs = [9.0; 54];
        env.set_state(&[at(0.0, 0.0), at(1.0, 0.5), at(-1.0, -1.0)], &[[0.5, 0.5], [0.0, -1.0], [2.0, 2.0]]);
        env.observe(&mut obs);
        let second = [0.0, 0.0, 1.0, 0.5, -0.5, 0.0, -1.0, -1.5, 1.0, 1.5, -1.0, -0.5, -2.0, -1.5, 0.0, 0.0, 0.0, 0.0];
        assert_eq!(obs[18..36], second);
    }
}
