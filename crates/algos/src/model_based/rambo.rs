//! RAMBO, robust adversarial model-based offline RL (Rigter, Lacerda & Hawes, *RAMBO-RL: Robust adversarial model-based
//! offline reinforcement learning*, NeurIPS 2022, arXiv:2204.12581): [`sac`] on transitions imagined by its own policy,
//! in a model that is trained against it. No uncertainty is estimated and no penalty paid: where the data do not
//! determine the model, it learns to be pessimistic.
//!
//! | equation | code |
//! |---|---|
//! | (1) L_BC(φ) = −E[ ln π(a∣s) ] over the dataset, before all else | [`Rambo::clone_dataset`] |
//! | (2) A = r + γ(1−d) min_j Q_j(s′,π̄(s′)) − min_j Q_j(s,a), less its mean and over its deviation in the batch | [`Rambo::advantages`], in `adversary` |
//! | (3) L(θ) = λ·E[ A · ln p_θ(s′,r∣s,a) ] + L_MLE(θ; data), p_θ the mean of the elites' Gaussians | [`Rambo::oppose`], in `adversary` |
//! | (4) D_model ← rollouts of π, h steps long, from states of the dataset | [`Rambo::imagine`](Learner::imagine) |
//! | (5) B = a share f of rows of the dataset, the others of D_model; one step of SAC on B | [`Rambo::update`](Learner::update) |
//!
//! Order: (1) and (4) before the first update; then [`Rollouts::every`] updates (5), [`Config::model_steps`] steps (3)
//! and (4) again. A step of (3) sees what the policy, by sampled actions, met in one step of the model as it is then;
//! the next step goes on from there, terminal or not, and after h steps from other states of the dataset, as in the
//! authors' code.
//!
//! As in the authors' code too: π̄ is the deterministic action limit·tanh μ, Q the critics themselves, not their
//! targets; no entropy in (2); the deviation in (2) is the population's; with λ = 0 the model rests. Not from it: their
//! loss adds λ·A·ln p, row by row, to L_MLE in every row of a vector, which is (3) times the rows and the same to Adam;
//! 10⁻⁶ beside the deviation keeps a batch of equals finite; rows of the dataset come from all of it, those held out
//! from the fit among them; the cloning skips no batch that touches the edge of the box, but holds its actions 10⁻⁶
//! inside; SAC's steps come one after the other, where theirs are computed together; the model is of the dataset's own
//! units, which moves ln p by a constant that the mean of A, zero, removes; SAC steps the temperature before the
//! policy, theirs after; the bounds of the model's log-variance have the weight that the model was fitted with, 0.01,
//! where theirs is 0.001 (`model.bound_coefficient`). The gradient of (3) is derived at [`Adversary`].

use crate::{
    blocks::actor::NARROW_LOG_STD_BOUNDS,
    model_based::imagination::{Imagination, ensemble},
    sac,
};
use adversary::Work;
use backcast_core::{
    Algorithm, Batch, COUNT, Column, ConfigError, Key, Learner, Metrics, NON_NEGATIVE, POSITIVE,
    Policy, Problem, Real, RolloutSummary, Rollouts, Sink, Slot, Source, State, acts_as,
    hyperparameters, under,
};
use backcast_dynamics::Adversary;
use backcast_imagination::{ImagineConfig, Imaginer, StopRule, Uniform};
use backcast_nn::{Parameterised, Store};
use backcast_penalties::NoPenalty;
use serde::Deserializer;

mod adversary;

hyperparameters! {
    /// One field per symbol; defaults of the authors' configuration for locomotion. What the model is fitted with is its own.
    pub struct Config {
        /// Weight λ of the adversary beside the likelihood of the dataset: 3·10⁻⁴ or 0 in the authors' code.
        lambda: Real = 3e-4, NON_NEGATIVE;
        /// Learning rate of the model as an adversary.
        model_lr: Real = 3e-4, POSITIVE;
        /// Steps of the adversary between rollouts.
        model_steps: u64 = 1000, COUNT;
        /// Rows of a step of the adversary: of the rollout, and for each member of the dataset.
        model_batch: usize = 256, COUNT;
        /// Passes over the dataset, in batches of [`model_batch`](Config::model_batch), in which the policy clones it before all else;
        /// the authors have none on antmaze.
        cloning_epochs: usize = 50;
        /// Whether rollouts (4) are by uniform actions instead of the policy's, as the authors have it on most of antmaze.
        uniform: bool = false;
        /// How the policy is rolled out, and the share f of real rows.
        #[serde(deserialize_with = "rollouts")]
        rollouts: Rollouts = Rollouts { real: 0.5, ..Default::default() };
        /// SAC. Its own defaults; the authors' policy and temperature learn at 10⁻⁴.
        sac: sac::Config = sac::Config::default();
    }
}

/// What is not given is this algorithm's default, not that of all.
fn rollouts<'de, D: Deserializer<'de>>(from: D) -> Result<Rollouts, D::Error> {
    Rollouts::read_over(Config::default().rollouts, from)
}

impl Algorithm for Config {
    const NAME: &str = "rambo";
    const PAPER: &str =
        "Rigter et al., RAMBO-RL: robust adversarial model-based offline RL, arXiv:2204.12581";
    const SOURCE: &str = include_str!("rambo.rs");
    const USES_MODEL: bool = true;
    type Learner = Rambo;

    fn build(&self, problem: impl Into<Problem>, key: Key) -> Result<Rambo, ConfigError> {
        self.check()?;
        let mut problem = problem.into();
        let (spec, mut model) = (problem.spec, problem.take_model()?);
        let sac = self.sac.build_within(NARROW_LOG_STD_BOUNDS, spec, key)?;
        let adversary = Adversary::new(ensemble(&mut *model.dynamics)?, self.model_lr);
        let one = ImagineConfig {
            horizon: 1,
            starts_per_call: self.model_batch,
            // The next step goes on from what is terminal too.
            stop: StopRule::Never,
            ..Default::default()
        };
        let step = Imaginer::new(one, model.termination, NoPenalty)?;
        let imagination = Imagination::without_penalty(model, &self.rollouts)?;
        Ok(Rambo {
            config: self.clone(),
            sac,
            imagination,
            adversary,
            epochs: 0,
            said: [0.0; 3],
            work: Work::new(spec, step),
        })
    }
}

/// SAC, and the model it plays against.
pub struct Rambo {
    config: Config,
    sac: sac::Sac,
    imagination: Imagination,
    adversary: Adversary,
    /// Rollouts made.
    epochs: u64,
    /// What the adversary found in its last epoch, on average over its steps: L_MLE, E[A ln p], E[ln p].
    said: [Real; 3],
    work: Work,
}

impl Rambo {
    // ANCHOR: clone_log
    /// (1)  L_BC(φ) = −E[ ln π(a∣s) ]
    fn clone_dataset(&mut self, dataset: &dyn Source, key: Key) {
        let Self { config, sac, imagination, work, .. } = self;
        let updates = config.cloning_epochs * dataset.len().div_ceil(config.model_batch);
        for update in 0..updates as u64 {
            work.seen.clear();
            dataset.sample_into(key.fold(update), config.model_batch, &mut work.seen);
            imagination.scaler.to_learner(work.seen.values_mut(Column::Obs));
            sac.cloning_step(work.seen.batch());
        }
    }
    // ANCHOR_END: clone_log
}

impl Learner for Rambo {
    fn rollouts(&self) -> Option<&Rollouts> {
        Some(&self.config.rollouts)
    }

    // ANCHOR: imagine
    /// (1) at first, an epoch of (3) from then on, and (4): h steps of π, or of uniform actions, from states of the
    /// dataset
    fn imagine(&mut self, dataset: &dyn Source, key: Key, sink: &mut dyn Sink) -> RolloutSummary {
        if dataset.is_empty() {
            return RolloutSummary::default();
        }
        if self.epochs == 0 {
            self.clone_dataset(dataset, key.name("clone"));
        } else if self.config.lambda > 0.0 {
            self.turn_model(dataset, key.name("turn"));
        }
        self.epochs += 1;
        let key = key.name("roll");
        match self.config.uniform {
            true => self.imagination.roll(&mut Uniform(self.sac.spec()), dataset, key, sink),
            false => self.imagination.roll(&mut self.sac, dataset, key, sink),
        }
    }
    // ANCHOR_END: imagine

    // ANCHOR: update
    /// (5)
    fn update(&mut self, batch: Batch<'_>, key: Key) -> Metrics {
        let mut metrics = self.sac.update(batch, key);
        let [fit_loss, adversarial_loss, log_prob] = self.said;
        metrics.put("model_loss", fit_loss).put("adversarial_loss", adversarial_loss);
        metrics.put("model_log_prob", log_prob);
        metrics
    }
    // ANCHOR_END: update
}

acts_as!(Rambo: sac);

/// The model is part of it: it changes.
impl State for Rambo {
    fn visit(&mut self, f: &mut dyn FnMut(&str, Slot<'_>)) {
        self.sac.visit(f);
        under("model", &mut *self.imagination.dynamics, f);
        under("adversary", &mut self.adversary, f);
        f("epochs", Slot::Count(&mut self.epochs));
        f("said", Slot::Tensor(&[3], &mut self.said));
    }
}

impl Parameterised for Rambo {
    fn store_mut(&mut self) -> &mut Store {
        self.sac.store_mut()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::blocks::standardise::standardise;
    use backcast_core::{Direction, ObsScaler, Spec, Transitions, WorldModel, fingerprint, never};
    use backcast_dynamics::{Ensemble, EnsembleConfig};

    /// The reward is the action, of which the dataset has the worse half.
    fn dataset() -> Transitions {
        let mut dataset = Transitions::new(Spec::new(1, 1));
        for i in 0..400 {
            let mut x = [0.0; 2];
            Key::new(1).fold(i).uniform(-1.0, 0.0, &mut x);
            dataset.push(&x[..1], &x[1..], x[1], &[0.9 * x[0]], false);
        }
        dataset
    }

    fn model(dataset: &Transitions) -> Ensemble {
        let config = EnsembleConfig {
            members: 3,
            elites: 2,
            hidden: vec![16],
            weight_decay: vec![0.0; 2],
            lr: 3e-3,
            max_epochs: Some(20),
            ..Default::default()
        };
        let mut model =
            Ensemble::new(config, dataset.spec(), Direction::Forward, Key::new(2)).unwrap();
        model.fit(dataset, Key::new(3), &mut |_| true).unwrap();
        model
    }

    fn small() -> Config {
        Config {
            model_steps: 30,
            model_batch: 32,
            cloning_epochs: 0,
            rollouts: Rollouts { starts: 50, horizon: 2, ..Config::default().rollouts },
            sac: sac::Config { hidden: vec![16], ..Config::default().sac },
            ..Default::default()
        }
    }

    fn imagined(rambo: &mut Rambo, dataset: &Transitions, call: u64) -> Transitions {
        let mut rows = Transitions::new(dataset.spec());
        rambo.imagine(dataset, Key::new(5).fold(call), &mut rows);
        rows
    }

    #[test]
    fn the_model_rests_before_the_first_update_and_for_ever_without_a_weight() {
        let dataset = dataset();
        for (lambda, moves) in [(3e-4, true), (0.0, false)] {
            let world_model = WorldModel::new(model(&dataset), never);
            let mut rambo = Config { lambda, ..small() }.build(world_model, Key::new(4)).unwrap();
            let model = |rambo: &mut Rambo| fingerprint(&mut *rambo.imagination.dynamics);
            let first = model(&mut rambo);
            imagined(&mut rambo, &dataset, 0);
            assert_eq!(model(&mut rambo), first, "{lambda}");
            imagined(&mut rambo, &dataset, 1);
            assert_eq!(model(&mut rambo) != first, moves, "{lambda}");
            let metrics = rambo.update(dataset.rows(0, 16), Key::new(6));
            assert_eq!(metrics.get("model_loss") != Some(0.0), moves, "{lambda}");
        }
    }

    /// With standardised observations it judges the same transitions as a policy that sees the model's own units.
    #[test]
    fn advantages_are_of_what_the_learner_sees() {
        let dataset = dataset();
        let (mean, std) = ([-0.4], [0.7]);
        let world_model =
            WorldModel::new(model(&dataset), never).with_scaler(ObsScaler::new(&mean, &std));
        let mut rambo = small().build(world_model, Key::new(4)).unwrap();
        let mut seen = dataset.clone();
        for states in [Column::Obs, Column::NextObs] {
            seen.values_mut(states).iter_mut().for_each(|x| *x = (*x - mean[0]) / std[0]);
        }
        rambo.advantages(&dataset);
        let mut want = Vec::new();
        rambo.sac.advantage(seen.batch(), &mut want);
        standardise(&mut want);
        assert_eq!(rambo.work.advantage, want);
        let n = want.len() as f64;
        let [mean, square] =
            [1, 2].map(|power| want.iter().map(|&x| (x as f64).powi(power)).sum::<f64>() / n);
        assert!(
            mean.abs() < 1e-5 && (square - 1.0).abs() < 1e-3,
            "mean {mean}, mean square {square}"
        );
    }

    #[test]
    fn at_first_the_policy_clones_the_dataset() {
        let mut dataset = Transitions::new(Spec::new(1, 1).with_act_limit(2.0));
        (0..64).for_each(|i| dataset.push(&[i as Real / 64.0], &[-1.4], 0.0, &[0.0], false));
        let config = Config { cloning_epochs: 200, ..small() };
        let config = Config { sac: sac::Config { actor_lr: 3e-3, ..config.sac }, ..config };
        let mut rambo = config.build(WorldModel::new(model(&dataset), never), Key::new(4)).unwrap();
        let rows = imagined(&mut rambo, &dataset, 0);
        let off = rows.values(Column::Act).iter().map(|a| (a + 1.4).abs()).sum::<Real>()
            / rows.len() as Real;
        assert!(off < 0.2, "{off}");
    }

    #[test]
    fn rollouts_can_be_by_uniform_actions() {
        let dataset = dataset();
        let spread = |uniform| {
            // The policy of a clone is narrow.
            let config = Config { uniform, cloning_epochs: 30, ..small() };
            let config = Config { sac: sac::Config { actor_lr: 1e-2, ..config.sac }, ..config };
            let mut narrow = Transitions::new(dataset.spec());
            dataset
                .values(Column::Obs)
                .iter()
                .for_each(|&s| narrow.push(&[s], &[-0.5], 0.0, &[s], false));
            let mut rambo =
                config.build(WorldModel::new(model(&dataset), never), Key::new(4)).unwrap();
            imagined(&mut rambo, &narrow, 0).batch().act.std(0.0)
        };
        let (policy, uniform) = (spread(false), spread(true));
        assert!(
            (uniform - 1.0 / (3.0 as Real).sqrt()).abs() < 0.1 && policy < 0.3,
            "{policy} {uniform}"
        );
    }

    /// The policy goes where the model promises most, outside the dataset; the adversary takes the promise back, not
    /// what the dataset says of its own actions.
    #[test]
    fn the_adversary_breaks_promises_that_the_dataset_does_not_hold_it_to() {
        let dataset = dataset();
        let promised = |lambda: Real| {
            let config = Config { lambda, model_lr: 3e-3, ..small() };
            let sac = sac::Config {
                actor_lr: 3e-3,
                critic_lr: 3e-3,
                alpha: 0.05,
                gamma: 0.5,
                ..config.sac
            };
            let config = Config { sac, ..config };
            let mut rambo =
                config.build(WorldModel::new(model(&dataset), never), Key::new(4)).unwrap();
            let mut staging = Transitions::new(dataset.spec());
            for call in 0..12 {
                let rows = imagined(&mut rambo, &dataset, call);
                for update in 0..30 {
                    let key = Key::new(7).fold(call).fold(update);
                    staging.clear();
                    dataset.sample_into(key.name("real"), 16, &mut staging);
                    staging.begin_imagined();
                    rows.sample_into(key.name("imagined"), 16, &mut staging);
                    rambo.update(staging.batch(), key);
                }
            }
            let mut reward = |act: Real| {
                let (s, a) = (ndarray::arr2(&[[-0.5]]), ndarray::arr2(&[[act]]));
                rambo
                    .imagination
                    .dynamics
                    .predict([s.view(), a.view()])
                    .mean
                    .index_axis(ndarray::Axis(2), 0)
                    .mean()
                    .unwrap()
            };
            [reward(1.0), reward(-0.5)]
        };
        let ([outside, inside], [broken, kept]) = (promised(1e-9), promised(0.3));
        assert!(
            broken < outside - 0.2,
            "outside the dataset it promises {broken} as an adversary, {outside} without"
        );
        assert!((inside + 0.5).abs() < 0.15 && (kept + 0.5).abs() < 0.3, "{inside} {kept} of −0.5");
    }
}
