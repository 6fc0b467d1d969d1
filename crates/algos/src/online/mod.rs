//! Learning online: the loop in which SAC and TD3 learn in an environment, and from which D4RL's datasets come.
//!
//! | step *t* of the environment | code |
//! |---|---|
//! | *a* ~ U(box) while *t* < [`Config::explore`], then *a* = clip(π(s) + ε), ε ~ N(0, σ²) | [`choose`] |
//! | add *(s, a, r, s′, d)* to the replay | [`learn`] |
//! | G updates, each on a batch drawn uniformly from the replay | [`learn`] |
//!
//! π draws its own action where it is stochastic, as SAC's is; σ = 0 then. Nothing is learnt while exploring, and
//! nothing is ever forgotten: the replay buffer is the dataset (rlkit's loop, with which D4RL made its files, keeps the last
//! million; runs here are shorter).
//!
//! Every draw is a function of the key and of *t*, and *t* is the length of the replay. So a loop that is given the
//! replay and the agent that another left at the end of an episode goes on to the same bits.
//!
//! ```
//! use backcast_algos::{online, sac};
//! use backcast_core::{Algorithm, Env, Key, Source, Spec, Step};
//!
//! /// A point that is to stay at 0.
//! struct Point(f32);
//! impl Env for Point {
//!     fn spec(&self) -> Spec { Spec::new(1, 1) }
//!     fn horizon(&self) -> usize { 10 }
//!     fn reset(&mut self, key: Key, obs: &mut [f32]) {
//!         self.0 = key.unit();
//!         obs[0] = self.0;
//!     }
//!     fn step(&mut self, act: &[f32], obs: &mut [f32]) -> Step {
//!         self.0 += 0.1 * act[0];
//!         obs[0] = self.0;
//!         Step { reward: -self.0.abs(), terminated: false, truncated: false }
//!     }
//! }
//!
//! let config = online::Config { steps: 60, explore: 30, batch: 8, ..Default::default() };
//! let mut learner = sac::Config { hidden: vec![8], ..Default::default() }.build(Spec::new(1, 1), Key::new(0))?;
//! let mut replay = online::Replay::new(Spec::new(1, 1));
//! online::learn(&config, &mut learner, &mut Point(0.0), &mut replay, Key::new(1), &mut |_, _| true)?;
//! assert_eq!((replay.rows().len(), replay.episodes()), (60, 6));
//! # Ok::<(), backcast_core::ConfigError>(())
//! ```

use backcast_core::{
    COUNT, ConfigError, Env, Key, Learner, NON_NEGATIVE, Real, Source, Spec, Transitions,
    hyperparameters,
};
use ndarray::{ArrayView2, ArrayViewMut2};

#[cfg(feature = "model-based")]
pub mod mbpo;
pub mod td3;

hyperparameters! {
    /// One field per symbol.
    pub struct Config {
        /// Steps of the environment in all, those of a replay that is given included.
        steps: usize = 1_000_000, COUNT;
        /// Of these, how many by uniform actions before anything is learnt.
        explore: usize = 5000, COUNT;
        /// G, updates for a step of the environment.
        updates: usize = 1, COUNT;
        /// Rows of a batch.
        batch: usize = 256, COUNT;
        /// σ, in units of the action limit: 0 for a policy that draws its own actions, 0.1 for TD3.
        noise: Real = 0.0, NON_NEGATIVE;
    }
}

/// Everything that happened, in order.
#[derive(Clone, Debug)]
pub struct Replay {
    rows: Transitions,
    /// The row after the last of each episode.
    ends: Vec<usize>,
}

impl Replay {
    /// Nothing has happened yet.
    pub fn new(spec: Spec) -> Self {
        Self { rows: Transitions::new(spec), ends: Vec::new() }
    }

    /// What happened before: `rows`, and the row after the last of each episode, in order, the last being all of them.
    ///
    /// # Errors
    /// If the ends are not in order, or do not end where the rows do.
    pub fn from_parts(rows: Transitions, ends: Vec<usize>) -> Result<Self, ConfigError> {
        let ordered = ends.is_sorted_by(|a, b| a < b) && ends.first() != Some(&0);
        let whole = ends.last().copied().unwrap_or(0) == rows.len();
        ConfigError::unless(
            ordered && whole,
            "ends",
            format!("do not divide {} rows into episodes", rows.len()),
        )?;
        Ok(Self { rows, ends })
    }

    /// The transitions.
    pub fn rows(&self) -> &Transitions {
        &self.rows
    }

    /// How many episodes there were.
    pub fn episodes(&self) -> usize {
        self.ends.len()
    }

    /// The row after the last of each episode. An episode whose last row is not terminal was truncated.
    pub fn ends(&self) -> &[usize] {
        &self.ends
    }
}

// ANCHOR: choose
/// *a* ~ U(box) before anything is learnt, then *a* = clip(π(s) + ε), ε ~ N(0, σ²); into `act`, `[act]`.
fn choose<L: Learner + ?Sized>(
    config: &Config,
    learner: &mut L,
    step: usize,
    obs: &[Real],
    act: &mut [Real],
    key: Key,
) {
    let limit = learner.spec().act_limit;
    if step < config.explore {
        return key.uniform(-limit, limit, act);
    }
    let s = ArrayView2::from_shape((1, obs.len()), obs).expect("one row");
    let width = act.len();
    learner.act(
        s,
        Some(key.name("policy")),
        ArrayViewMut2::from_shape((1, width), act).expect("one row"),
    );
    if config.noise > 0.0 {
        let mut noise = vec![0.0; width];
        key.name("noise").normal(&mut noise);
        act.iter_mut()
            .zip(noise)
            .for_each(|(a, z)| *a = (*a + config.noise * limit * z).clamp(-limit, limit));
    }
}
// ANCHOR_END: choose

/// Steps `env` and lets `agent` learn, from the end of `replay` on; `watch` sees the agent and the replay at the
/// end of every episode, and says whether to go on. An episode that is running when the steps are used up counts as
/// truncated.
///
/// # Errors
/// If the configuration makes no sense.
///
/// # Panics
/// If the widths of agent, environment and replay differ.
pub fn learn<L: Learner + ?Sized>(
    config: &Config,
    learner: &mut L,
    env: &mut dyn Env,
    replay: &mut Replay,
    key: Key,
    watch: &mut dyn FnMut(&mut L, &Replay) -> bool,
) -> Result<(), ConfigError> {
    config.check()?;
    let (spec, horizon) = (env.spec(), env.horizon());
    let (mut obs, mut from, mut act) =
        (vec![0.0; spec.obs], vec![0.0; spec.obs], vec![0.0; spec.act]);
    let mut staging = Transitions::with_capacity(spec, config.batch);
    let mut age = 0;
    // ANCHOR: learn
    for step in replay.rows.len()..config.steps {
        let key = key.name("step").fold(step as u64);
        if age == 0 {
            env.reset(key.name("reset"), &mut obs);
        }
        from.copy_from_slice(&obs);
        choose(config, learner, step, &from, &mut act, key.name("act"));
        let outcome = env.step(&act, &mut obs);
        replay.rows.push(&from, &act, outcome.reward, &obs, outcome.terminated);
        age += 1;
        if step >= config.explore {
            for i in 0..config.updates {
                let key = key.name("update").fold(i as u64);
                let batch = replay.rows.sample(key.name("rows"), config.batch, &mut staging);
                learner.update(batch, key);
            }
        }
        // ANCHOR_END: learn
        if outcome.terminated || outcome.truncated || age >= horizon || step + 1 == config.steps {
            age = 0;
            replay.ends.push(replay.rows.len());
            if !watch(learner, replay) {
                break;
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{sac, td3};
    use backcast_core::{Algorithm, Column, Step, snapshot};

    /// A point that moves on a line, rewarded for being near 0; it falls off at ±2.
    struct Point {
        x: Real,
        steps: usize,
    }

    impl Env for Point {
        fn spec(&self) -> Spec {
            Spec::new(1, 1).with_act_limit(0.5)
        }

        fn horizon(&self) -> usize {
            20
        }

        fn reset(&mut self, key: Key, obs: &mut [Real]) {
            (self.x, self.steps) = (3.0 * key.unit() - 1.5, 0);
            obs[0] = self.x;
        }

        fn step(&mut self, act: &[Real], obs: &mut [Real]) -> Step {
            assert!(act[0].abs() <= 0.5);
            let reward = 1.0 - self.x.abs();
            self.x += 0.6 * act[0];
            self.steps += 1;
            obs[0] = self.x;
            Step { reward, terminated: self.x.abs() > 2.0, truncated: self.steps >= 20 }
        }
    }

    fn learner(name: &str) -> Box<dyn Learner> {
        let spec = Point { x: 0.0, steps: 0 }.spec();
        let (hidden, gamma, rate) = (vec![16, 16], 0.9, 3e-3);
        match name {
            "sac" => {
                let rates = sac::Config {
                    actor_lr: rate,
                    critic_lr: rate,
                    alpha_lr: rate,
                    ..Default::default()
                };
                let config = sac::Config { hidden, gamma, alpha: 0.2, tau: 0.05, ..rates };
                Box::new(config.build(spec, Key::new(3)).unwrap())
            }
            _ => {
                let rates = td3::Config { actor_lr: rate, critic_lr: rate, ..Default::default() };
                Box::new(
                    td3::Config { hidden, gamma, tau: 0.05, ..rates }
                        .build(spec, Key::new(3))
                        .unwrap(),
                )
            }
        }
    }

    fn config(name: &str) -> Config {
        let noise = if name == "sac" { 0.0 } else { 0.1 };
        Config { steps: 900, explore: 200, updates: 1, batch: 32, noise }
    }

    fn returns(replay: &Replay) -> Vec<Real> {
        let firsts = std::iter::once(0).chain(replay.ends().iter().copied());
        let reward = replay.rows().values(Column::Reward);
        firsts.zip(replay.ends()).map(|(first, &end)| reward[first..end].iter().sum()).collect()
    }

    #[test]
    fn sac_and_td3_learn_to_stay_where_they_are_paid() {
        for name in ["sac", "td3"] {
            let (mut learner, mut replay) =
                (learner(name), Replay::new(Spec::new(1, 1).with_act_limit(0.5)));
            let mut world_model = Point { x: 0.0, steps: 0 };
            learn::<dyn Learner>(
                &config(name),
                &mut *learner,
                &mut world_model,
                &mut replay,
                Key::new(4),
                &mut |_, _| true,
            )
            .unwrap();
            assert_eq!((replay.rows().len(), replay.ends().last()), (900, Some(&900)));
            let returns = returns(&replay);
            let random = replay.ends().iter().take_while(|&&end| end <= 200).count();
            let mean = |of: &[Real]| of.iter().sum::<Real>() / of.len() as Real;
            let (before, after) =
                (mean(&returns[..random]), mean(&returns[returns.len() - 11..returns.len() - 1]));
            assert!(after > before + 4.0, "{name}: {before} while exploring, {after} at the end");
        }
    }

    #[test]
    fn a_loop_that_goes_on_comes_to_the_same_bits() {
        for name in ["sac", "td3"] {
            let run = |stops: &[usize]| {
                let (mut learner, mut replay) =
                    (learner(name), Replay::new(Spec::new(1, 1).with_act_limit(0.5)));
                for &stop in stops.iter().chain(&[usize::MAX]) {
                    // Another environment, and an agent of which nothing is left but what it saves.
                    let mut fresh = self::learner(name);
                    backcast_core::restore(&mut *fresh, &snapshot(&mut *learner)).unwrap();
                    learner = fresh;
                    replay =
                        Replay::from_parts(replay.rows().clone(), replay.ends().to_vec()).unwrap();
                    let mut watch =
                        |_: &mut (dyn Learner + 'static), replay: &Replay| replay.episodes() < stop;
                    let mut env = Point { x: 9.0, steps: 7 };
                    learn::<dyn Learner>(
                        &config(name),
                        &mut *learner,
                        &mut env,
                        &mut replay,
                        Key::new(4),
                        &mut watch,
                    )
                    .unwrap();
                }
                (snapshot(&mut *learner), replay.rows().values(Column::Obs).to_vec())
            };
            assert!(run(&[]) == run(&[3, 15, 30]), "{name}");
        }
    }

    #[test]
    fn nonsense_is_refused_by_field() {
        let sound = Config::default();
        for (field, config) in [
            ("steps", Config { steps: 0, ..sound.clone() }),
            ("explore", Config { explore: 0, ..sound.clone() }),
            ("updates", Config { updates: 0, ..sound.clone() }),
            ("batch", Config { batch: 0, ..sound.clone() }),
            ("noise", Config { noise: Real::NAN, ..sound.clone() }),
        ] {
            assert_eq!(config.check().unwrap_err().field, field);
        }
        let mut rows = Transitions::new(Spec::new(1, 1));
        rows.push(&[0.0], &[0.0], 0.0, &[0.0], false);
        for ends in [vec![], vec![0, 1], vec![2], vec![1, 1]] {
            assert!(Replay::from_parts(rows.clone(), ends).is_err());
        }
        assert!(Replay::from_parts(rows, vec![1]).is_ok());
    }
}
