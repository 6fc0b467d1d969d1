//! MBPO, model-based policy optimisation (Janner, Fu, Zhang & Levine, *When to trust your model*, NeurIPS 2019,
//! arXiv:1906.08253), algorithm 2: the online loop that offline imagination comes from. A policy acts in an
//! environment, a model is fitted to all that happened, and [`sac`] learns from short rollouts branched off real
//! states.
//!
//! | line of algorithm 2 | code |
//! |---|---|
//! | train the model p_θ on D_env | [`Mbpo::refit`] |
//! | take an action in the environment by π; add to D_env | [`Mbpo::act`] |
//! | k-step rollouts of p_θ by π from states of D_env; add to D_model | [`Mbpo::branch`] |
//! | G times: update π on D_model | [`Mbpo::improve`] |
//! | k(t) = min(max(x + (t − a)/(b − a)·(y − x), x), y), rounded down | [`Horizon::at`] |
//!
//! Order at a step t of the environment: every [`Config::every`] steps the model is refitted, from where it was, and
//! rolled out; then the action; then G updates, of batches of which a share is real. Nothing is learnt in the first
//! [`Config::explore`] steps, whose actions are uniform.
//!
//! As in the authors' code: the model is refitted and rolled out at the same steps, batches have 5 % real rows, and
//! rollouts that are too old are forgotten. Not from it: the age is counted in rollouts, and the rest of what [`sac`]
//! and [`mopo`](crate::mopo) say of themselves. Defaults are those for Hopper, from memory, not verified.

use crate::{
    blocks::{perturbed::rows_of, recent::Recent},
    model_based::imagination::{Imagination, ensemble},
    sac,
};
use backcast_core::{
    Algorithm, Direction, Env, Key, Learner, Policy, Real, RolloutSummary, Source, Spec, Step,
    Termination, Transitions, WorldModel,
};
use backcast_dynamics::Ensemble;
use ndarray::ArrayViewMut2;

mod config;
mod horizon;
mod outcome;

pub use config::Config;
pub use horizon::Horizon;
pub use outcome::{Learnt, MbpoError, Progress};

/// The text of this file, whose head says what it computes.
pub const SOURCE: &str = include_str!("mbpo.rs");

/// Steps `env` and learns; `watch` sees every end of an episode, and says whether to go on.
///
/// # Errors
/// If the configuration makes no sense, or the environment or the model gives numbers that are none.
pub fn learn(
    config: &Config,
    env: &mut dyn Env,
    termination: Termination,
    key: Key,
    watch: &mut dyn FnMut(&Progress) -> bool,
) -> Result<Learnt, MbpoError> {
    let mut mbpo = Mbpo::new(config, env.spec(), termination, key)?;
    let mut obs = vec![0.0; env.spec().obs];
    // The step of the episode; none where a new one begins.
    let mut age = None;
    let mut total = 0.0;
    let mut episodes = 0;
    // ANCHOR: learn
    for step in 0..config.steps {
        let key = key.name("step").fold(step as u64);
        if age.is_none() {
            env.reset(key.name("reset"), &mut obs);
            age = Some(0);
            total = 0.0;
        }
        let learning = step >= config.explore;
        if learning && (step - config.explore).is_multiple_of(config.every) {
            mbpo.refit(key.name("fit"))?;
            mbpo.branch(step, key.name("branch"))?;
        }
        let outcome = mbpo.act(env, &mut obs, learning, key.name("act"));
        if learning {
            mbpo.improve(key.name("improve"));
        }
        // ANCHOR_END: learn
        total += outcome.reward as f64;
        let ends = |age| outcome.terminated || outcome.truncated || age >= env.horizon();
        age = age.map(|age| age + 1).filter(|&age| !ends(age));
        if age.is_none() {
            episodes += 1;
            let horizon = config.horizon.at(step);
            let holdout_mse = mbpo.holdout_mse;
            let steps = step + 1;
            if !watch(&Progress { steps, episodes, last_return: total, horizon, holdout_mse }) {
                break;
            }
        }
    }
    Ok(Learnt { policy: mbpo.sac, dynamics: mbpo.imagination.dynamics, dataset: mbpo.real })
}

/// What the loop works with.
struct Mbpo<'a> {
    config: &'a Config,
    sac: sac::Sac,
    imagination: Imagination,
    /// D_env.
    real: Transitions,
    /// D_model.
    imagined: Recent,
    staging: Transitions,
    holdout_mse: Option<Real>,
}

impl<'a> Mbpo<'a> {
    fn new(
        config: &'a Config,
        spec: Spec,
        termination: Termination,
        key: Key,
    ) -> Result<Self, MbpoError> {
        config.check()?;
        let model =
            Ensemble::new(config.model.clone(), spec, Direction::Forward, key.name("model"))?;
        let model = WorldModel::new(model, termination);
        let imagination = Imagination::without_penalty(model, &config.rollouts())?;
        Ok(Self {
            config,
            sac: config.sac.build(spec, key.name("learner"))?,
            imagination,
            real: Transitions::with_capacity(spec, config.steps),
            imagined: Recent::new(spec, config.keep),
            staging: Transitions::with_capacity(spec, config.batch),
            holdout_mse: None,
        })
    }

    // ANCHOR: refit
    /// Train p_θ on D_env, from where it was.
    fn refit(&mut self, key: Key) -> Result<(), MbpoError> {
        let report =
            ensemble(&mut *self.imagination.dynamics)?.fit(&self.real, key, &mut |_| true)?;
        self.holdout_mse = report.holdout_mse.into_iter().reduce(Real::min);
        Ok(())
    }
    // ANCHOR_END: refit

    // ANCHOR: branch
    /// Rollouts of k(t) steps by π from states of D_env; what is oldest is forgotten.
    fn branch(&mut self, step: usize, key: Key) -> Result<(), MbpoError> {
        self.imagination.config_mut().horizon = self.config.horizon.at(step);
        let into = self.imagined.begin();
        let RolloutSummary { not_finite, .. } =
            self.imagination.roll(&mut self.sac, &self.real, key, into);
        match self.imagined.is_empty() {
            true => Err(MbpoError::NothingImagined { step, not_finite }),
            false => Ok(()),
        }
    }
    // ANCHOR_END: branch

    // ANCHOR: act
    /// One step in the environment, by π or at random; added to D_env.
    fn act(&mut self, env: &mut dyn Env, obs: &mut [Real], by_policy: bool, key: Key) -> Step {
        let Spec { act, act_limit, .. } = env.spec();
        let from = obs.to_vec();
        let mut a = vec![0.0; act];
        match by_policy {
            false => key.uniform(-act_limit, act_limit, &mut a),
            true => {
                let into = ArrayViewMut2::from_shape((1, act), &mut a).expect("one row");
                self.sac.act(rows_of(&from, from.len()), Some(key), into);
            }
        }
        let outcome = env.step(&a, obs);
        self.real.push(&from, &a, outcome.reward, obs, outcome.terminated);
        outcome
    }
    // ANCHOR_END: act

    // ANCHOR: improve
    /// G updates of π on batches of D_model, a share of them of D_env.
    fn improve(&mut self, key: Key) {
        let Config { updates, batch, real, .. } = *self.config;
        let real = (batch as f64 * real as f64).round() as usize;
        for i in 0..updates {
            let key = key.fold(i as u64);
            self.staging.clear();
            self.real.sample_into(key.name("real"), real, &mut self.staging);
            self.staging.begin_imagined();
            self.imagined.sample_into(key.name("imagined"), batch - real, &mut self.staging);
            self.sac.update(self.staging.batch(), key.name("update"));
        }
    }
    // ANCHOR_END: improve
}

#[cfg(test)]
mod tests {
    use super::*;
    use backcast_core::{Column, fingerprint};
    use backcast_dynamics::EnsembleConfig;

    /// A point that moves on a line, rewarded for being near 0; it falls off at ±2.
    struct Point {
        x: Real,
        steps: usize,
    }

    fn fell(_: &[Real], _: &[Real], s2: &[Real]) -> bool {
        s2[0].abs() > 2.0
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
            Step { reward, terminated: fell(&[], &[], obs), truncated: self.steps >= 20 }
        }
    }

    fn config() -> Config {
        let mut config = Config {
            steps: 700,
            explore: 200,
            every: 100,
            starts: 200,
            horizon: Horizon { from: 1, to: 3, begin: 200, end: 500 },
            keep: 2,
            updates: 2,
            batch: 32,
            ..Config::default()
        };
        config.model = EnsembleConfig {
            members: 3,
            elites: 2,
            hidden: vec![16, 16],
            weight_decay: vec![0.0; 3],
            batch: 32,
            lr: 3e-3,
            max_epochs: Some(15),
            ..EnsembleConfig::default()
        };
        let sac = &mut config.sac;
        (sac.hidden, sac.gamma, sac.alpha) = (vec![16, 16], 0.9, 0.2);
        (sac.actor_lr, sac.critic_lr, sac.alpha_lr) = (3e-3, 3e-3, 3e-3);
        config
    }

    fn run(config: &Config, key: u64, watch: &mut dyn FnMut(&Progress) -> bool) -> Learnt {
        learn(config, &mut Point { x: 0.0, steps: 0 }, fell, Key::new(key), watch)
            .expect("a sound environment")
    }

    #[test]
    fn it_learns_to_stay_where_rewards_are() {
        let mut seen = Vec::new();
        let mut learnt = run(&config(), 1, &mut |progress| {
            seen.push(*progress);
            true
        });
        let mean =
            |of: &[Progress]| of.iter().map(|p| p.last_return).sum::<f64>() / of.len() as f64;
        let random = seen.iter().take_while(|p| p.steps <= 200).count();
        let (early, late) = (mean(&seen[..random]), mean(&seen[seen.len() - 8..]));
        assert!(late > early + 3.0 && late > 12.0, "{early} at random, {late} at last");
        assert!(
            seen.windows(2).all(|p| p[0].horizon <= p[1].horizon)
                && seen.last().is_some_and(|p| p.horizon == 3)
        );
        assert!(
            seen.last().is_some_and(|p| p.holdout_mse.is_some_and(|e| e < 1e-2)),
            "{:?}",
            seen.last()
        );
        let mut act = ndarray::Array2::zeros((2, 1));
        let obs = ndarray::arr2(&[[-1.0], [1.0]]);
        learnt.policy.act(obs.view(), None, act.view_mut());
        assert!(act[[0, 0]] > 0.1 && act[[1, 0]] < -0.1, "{act}");
        assert_eq!(learnt.dataset.len(), 700);
        // What is stored is what happened, and a fall terminates where being truncated does not.
        let rows = learnt.dataset.batch();
        for row in 0..700 {
            let (s, a, s2) = (rows.obs[[row, 0]], rows.act[[row, 0]], rows.next_obs[[row, 0]]);
            assert!((s + 0.6 * a - s2).abs() < 1e-6);
            assert_eq!(rows.terminal[[row, 0]] == 1.0, s2.abs() > 2.0);
        }
    }

    #[test]
    fn the_watcher_stops_it_and_a_key_gives_the_same_bits() {
        let short = Config { steps: 260, ..config() };
        let stopped = run(&short, 2, &mut |progress| progress.episodes < 3);
        assert!(stopped.dataset.len() <= 60);
        let [mut a, mut b, mut c] = [2, 2, 3].map(|key| run(&short, key, &mut |_| true));
        assert_eq!(a.dataset, b.dataset);
        assert_eq!(fingerprint(&mut a.policy), fingerprint(&mut b.policy));
        assert_ne!(fingerprint(&mut a.policy), fingerprint(&mut c.policy));
        let first = stopped.dataset.len();
        assert_eq!(stopped.dataset.values(Column::Obs), &a.dataset.values(Column::Obs)[..first]);
    }

    #[test]
    fn every_bad_value_is_named() {
        let bad = |change: fn(&mut Config)| {
            let mut config = config();
            change(&mut config);
            config.check().expect_err("a bad value").field
        };
        assert_eq!(bad(|c| c.steps = 0), "steps");
        assert_eq!(bad(|c| c.explore = 1), "explore");
        assert_eq!(bad(|c| c.every = 0), "every");
        assert_eq!(bad(|c| c.starts = 0), "starts");
        assert_eq!(bad(|c| c.keep = 0), "keep");
        assert_eq!(bad(|c| c.updates = 0), "updates");
        assert_eq!(bad(|c| c.batch = 0), "batch");
        assert_eq!(bad(|c| c.real = 1.5), "real");
        assert_eq!(bad(|c| c.horizon = Horizon { from: 0, ..Horizon::constant(1) }), "horizon");
        assert_eq!(bad(|c| c.horizon = Horizon { begin: 5, end: 5, from: 1, to: 2 }), "horizon");
        assert_eq!(bad(|c| c.model.members = 0), "members");
        assert_eq!(bad(|c| c.sac.gamma = 2.0), "gamma");
        assert_eq!(Horizon { from: 5, to: 1, begin: 0, end: 4 }.at(2), 3);
    }
}
