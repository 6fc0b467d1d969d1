//! A team in its environment: how the datasets are made that the others learn from.
//!
//! Many environments go side by side, from one start of an episode to the next, and the team acts in all of them at once; now and then it learns
//! from all it has seen so far.
//!
//! | step *t* of all environments | code |
//! |---|---|
//! | *u* ~ U(box) in the first episodes, then *u* = clip(π(s) + ε), ε ~ N(0, σ²) | [`learn`] |
//! | add *(s, u, r, s′, d)* to the replay, an episode at a time | [`Replay`] |
//! | every so many steps of an environment an update, on a batch drawn uniformly from the replay | [`learn`] |
//!
//! Every draw is a function of the key, the round of episodes and the step, so that the same key makes the same dataset.

use backcast_core::{Column, Env, Key, Learner, Real, Source, Spec, Transitions};
use ndarray::Array2;
use serde::{Deserialize, Serialize};

/// One field per symbol.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// Rounds: in each there is an episode of every environment.
    pub rounds: usize,
    /// Of these, how many by uniform actions before anything is learnt.
    pub explore: usize,
    /// Steps of the environments, all counted, for an update.
    pub every: usize,
    /// Rows of a batch.
    pub batch: usize,
    /// σ, in units of the action limit.
    pub noise: Real,
}

impl Default for Config {
    fn default() -> Self {
        Self { rounds: 400, explore: 4, every: 25, batch: 256, noise: 0.2 }
    }
}

/// What happened, episode after episode.
#[derive(Clone, Debug, PartialEq)]
pub struct Replay {
    /// The rows.
    pub rows: Transitions,
    /// The row after the last of each episode.
    pub ends: Vec<usize>,
}

impl Replay {
    /// Nothing yet.
    pub fn new(spec: Spec) -> Self {
        Self { rows: Transitions::new(spec), ends: Vec::new() }
    }

    /// The undiscounted returns of the episodes.
    pub fn returns(&self) -> Vec<f64> {
        let starts = std::iter::once(0).chain(self.ends.iter().copied());
        let total =
            |(from, to): (usize, usize)| self.rows.values(Column::Reward)[from..to].iter().map(|&r| r as f64).sum();
        starts.zip(self.ends.iter().copied()).map(total).collect()
    }
}

/// One episode of every environment, added to the replay environment after environment. `choose` is told the step and the observations, `[envs, obs]`, and
/// writes the actions, `[envs, act]`.
pub fn round<W: Env + ?Sized>(
    envs: &mut [Box<W>],
    replay: &mut Replay,
    key: Key,
    mut choose: impl FnMut(usize, &Array2<Real>, &mut Array2<Real>),
) {
    let (spec, count) = (replay.rows.spec(), envs.len());
    let (mut obs, mut act) = (Array2::zeros((count, spec.obs)), Array2::zeros((count, spec.act)));
    let mut next = vec![0.0; spec.obs];
    let mut episodes: Vec<Transitions> = envs.iter().map(|_| Transitions::new(spec)).collect();
    for (i, env) in envs.iter_mut().enumerate() {
        env.reset(key.name("start").fold(i as u64), obs.row_mut(i).into_slice().expect("rows are dense"));
    }
    let mut running = vec![true; count];
    for t in 0.. {
        if !running.contains(&true) {
            break;
        }
        choose(t, &obs, &mut act);
        for (i, env) in envs.iter_mut().enumerate() {
            if !running[i] {
                continue;
            }
            let (mut obs, act) = (obs.row_mut(i), act.row(i));
            let (obs, act) = (obs.as_slice_mut().expect("rows are dense"), act.to_slice().expect("rows are dense"));
            let step = env.step(act, &mut next);
            episodes[i].push(obs, act, step.reward, &next, step.terminated);
            obs.copy_from_slice(&next);
            running[i] = !(step.terminated || step.truncated);
        }
    }
    for episode in &episodes {
        (0..episode.len()).for_each(|row| replay.rows.push_row(episode, row));
        replay.ends.push(replay.rows.len());
    }
}

/// Actions drawn uniformly, `[envs, act]`.
pub fn uniform(act: &mut Array2<Real>, limit: Real, key: Key) {
    key.uniform(-limit, limit, act.as_slice_mut().expect("dense"));
}

/// An algorithm in environments that are all alike. After each round of episodes `observe` is shown the algorithm, the replay and the number of rounds
/// so far, and says whether to go on.
///
/// # Panics
/// If the algorithm's widths are not the environments'.
pub fn learn<L: Learner, W: Env + ?Sized>(
    config: &Config,
    learner: &mut L,
    envs: &mut [Box<W>],
    replay: &mut Replay,
    key: Key,
    mut observe: impl FnMut(&mut L, &Replay, usize) -> bool,
) {
    let Spec { act_limit: limit, .. } = learner.spec();
    let mut staging = Transitions::new(replay.rows.spec());
    let mut noise = Array2::zeros((envs.len(), learner.spec().act));
    for number in 0..config.rounds {
        let key = key.fold(number as u64);
        let before = replay.rows.len();
        round(envs, replay, key, |t, obs, act| {
            let key = key.name("act").fold(t as u64);
            if number < config.explore {
                return uniform(act, limit, key);
            }
            learner.act(obs.view(), None, act.view_mut());
            key.normal(noise.as_slice_mut().expect("dense"));
            let sigma = config.noise * limit;
            act.zip_mut_with(&noise, |u, &e| *u = (*u + sigma * e).clamp(-limit, limit));
        });
        if number + 1 >= config.explore {
            for update in before / config.every..replay.rows.len() / config.every {
                let key = key.name("update").fold(update as u64);
                let batch = replay.rows.sample(key.name("rows"), config.batch, &mut staging);
                learner.update(batch, key);
            }
        }
        if !observe(learner, replay, number + 1) {
            return;
        }
    }
}
