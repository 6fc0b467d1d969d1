//! Datasets of the pendulum at three levels of skill, from a controller that is written down, and mistakes that are counted.

use super::{HORIZON, MAX_TORQUE, Pendulum, PendulumState};
use backcast_core::{Env, Key, Real, choices};
use serde::{Deserialize, Serialize};
use std::f64::consts::PI;

choices! {
    /// Who acts. Mean returns with a noise of 0.1: −750, −565, −250; of the bare controller about −150.
    pub enum Quality {
        /// What an algorithm leaves behind on its way: the share of random stretches falls from all of the first episode to none of
        /// the last.
        Replay,
        /// Somebody half-way there: random three tenths of the time.
        Medium,
        /// The controller, random a twentieth of the time.
        #[default]
        Expert,
    }
}

impl Quality {
    /// The share of random stretches in episode `episode` of `episodes`.
    fn random(self, episode: usize, episodes: usize) -> f64 {
        match self {
            Self::Replay => 1.0 - episode as f64 / (episodes.max(2) - 1) as f64,
            Self::Medium => 0.3,
            Self::Expert => 0.05,
        }
    }
}

/// What to generate.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct GeneratorConfig {
    /// Rows, rounded up to whole episodes of 200.
    pub rows: usize,
    /// Who acts.
    pub quality: Quality,
    /// Standard deviation of the normal noise added to the controller's torque before clipping, N·m.
    pub noise: f64,
}

/// The columns of a dataset, row after row. Every 200th row is the last of an episode that was cut off, not ended.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct PendulumDataset {
    /// `[rows, 3]`.
    pub obs: Vec<Real>,
    /// `[rows, 1]`: the clipped torque, exactly as applied.
    pub act: Vec<Real>,
    /// `[rows]`.
    pub reward: Vec<Real>,
    /// `[rows, 3]`: the state the row led to, the last of an episode included.
    pub next_obs: Vec<Real>,
    /// `[rows]`: the recording was truncated here.
    pub truncated: Vec<bool>,
}

/// Steps of a random stretch: one torque held, as a single step of noise would do nothing.
const STRETCH: usize = 10;

/// The torque that swings up and holds: far from upright it pumps energy, near it it balances.
///
/// With θ̈ = 15 sin θ + 3u the energy E = ½θ̇² + 15 cos θ changes by 3uθ̇, and is 15 at rest upright: u = ½θ̇(15 − E) raises or lowers it
/// towards that (Åström & Furuta 2000). Within 0.5 rad of upright, where 2 N·m hold the weight, u = −10θ − 3θ̇.
pub fn controller(state: PendulumState) -> f64 {
    let PendulumState { angle, speed } = state;
    let angle = (angle + PI).rem_euclid(2.0 * PI) - PI;
    if angle.abs() < 0.5 && speed.abs() < 3.0 {
        return (-10.0 * angle - 3.0 * speed).clamp(-MAX_TORQUE, MAX_TORQUE);
    }
    let missing = 15.0 - (0.5 * speed * speed + 15.0 * angle.cos());
    // At rest there is no direction to push in: any will do.
    let pushed = if speed.abs() < 1e-3 { 1.0 } else { speed };
    (0.5 * pushed * missing).clamp(-MAX_TORQUE, MAX_TORQUE)
}

/// Generates a dataset. The same key gives the same bits.
///
/// Time goes by in stretches of ten steps. In a random one a uniform torque is held; in the others the controller acts, with
/// noise.
///
/// ```
/// use backcast_core::Key;
/// use backcast_envs::pendulum::generate::{GeneratorConfig, Quality, generate};
///
/// let dataset = generate(&GeneratorConfig { rows: 2000, quality: Quality::Expert, noise: 0.1 }, Key::new(1));
/// let mean = dataset.reward.iter().sum::<backcast_core::Real>() / 10.0;
/// assert!((-500.0..-50.0).contains(&mean), "{mean}");
/// ```
pub fn generate(config: &GeneratorConfig, key: Key) -> PendulumDataset {
    let episodes = config.rows.div_ceil(HORIZON);
    let mut dataset = PendulumDataset::default();
    let (mut env, mut obs) = (Pendulum::default(), [0.0; 3]);
    for episode in 0..episodes {
        let key = key.fold(episode as u64);
        let random = config.quality.random(episode, episodes);
        env.reset(key.name("start"), &mut obs);
        for t in 0..HORIZON {
            let stretch = key.name("stretch").fold((t / STRETCH) as u64);
            let torque = if (stretch.name("random").unit() as f64) < random {
                (2.0 * stretch.name("torque").unit() as f64 - 1.0) * MAX_TORQUE
            } else {
                let mut noise = [0.0];
                key.name("noise").fold(t as u64).normal(&mut noise);
                controller(env.state()) + config.noise * noise[0] as f64
            };
            let act = [torque.clamp(-MAX_TORQUE, MAX_TORQUE) as Real];
            dataset.obs.extend(obs);
            let step = env.step(&act, &mut obs);
            dataset.act.push(act[0]);
            dataset.reward.push(step.reward);
            dataset.next_obs.extend(obs);
            dataset.truncated.push(step.truncated);
        }
    }
    dataset
}

#[cfg(test)]
mod tests {
    use super::*;

    fn returns(quality: Quality, noise: f64) -> Vec<f64> {
        let dataset = generate(&GeneratorConfig { rows: 20_000, quality, noise }, Key::new(2));
        dataset.reward.chunks(HORIZON).map(|r| r.iter().map(|&r| r as f64).sum()).collect()
    }

    fn mean(x: &[f64]) -> f64 {
        x.iter().sum::<f64>() / x.len() as f64
    }

    /// The bare controller ends upright from wherever it starts, and each level is worse than the one above it.
    #[test]
    fn the_levels_are_a_ladder() {
        for start in 0..200 {
            let (mut env, mut obs) = (Pendulum::default(), [0.0; 3]);
            env.reset(Key::new(3).fold(start), &mut obs);
            for _ in 0..HORIZON {
                env.step(&[controller(env.state()) as Real], &mut obs);
            }
            assert!(obs[0] > 0.99 && obs[2].abs() < 0.1, "start {start} ends at {obs:?}");
        }
        let [replay, medium, expert] =
            [Quality::Replay, Quality::Medium, Quality::Expert].map(|quality| returns(quality, 0.1));
        assert_eq!(replay.len(), 100);
        let ladder = [mean(&replay), mean(&medium), mean(&expert)];
        assert!(ladder[0] < -600.0 && ladder[2] > -350.0, "{ladder:?}");
        assert!(ladder[0] < ladder[1] - 100.0 && ladder[1] < ladder[2] - 100.0, "{ladder:?}");
        // Of the replay the end is as good as an expert and the beginning is not.
        assert!(mean(&replay[90..]) > mean(&replay[..10]) + 400.0, "{ladder:?}");
    }

    #[test]
    fn rows_follow_each_other_and_episodes_are_truncated() {
        let dataset = generate(&GeneratorConfig { rows: 401, quality: Quality::Medium, noise: 0.3 }, Key::new(4));
        assert_eq!((dataset.reward.len(), dataset.truncated.iter().filter(|&&t| t).count()), (600, 3));
        for t in (0..599).filter(|t| !dataset.truncated[*t]) {
            assert_eq!(dataset.next_obs[3 * t..][..3], dataset.obs[3 * (t + 1)..][..3], "row {t}");
        }
        assert!(dataset.act.iter().all(|a| a.abs() <= 2.0));
        assert_eq!(
            dataset,
            generate(&GeneratorConfig { rows: 401, quality: Quality::Medium, noise: 0.3 }, Key::new(4))
        );
    }
}
