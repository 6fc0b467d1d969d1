//! What model-based algorithms have in common: a model, and rollouts of their own policy in it, refreshed as the policy
//! changes (MBPO's algorithm 2: Janner, Fu, Zhang & Levine, *When to trust your model*, NeurIPS 2019, arXiv:1906.08253).
//!
//! An agent of this kind is built on a fitted model. From then on two things alternate, and whoever trains it keeps the rows:
//!
//! 1. every [`Rollouts::every`] updates, [`Learner::imagine`](backcast_core::Learner::imagine): the policy is rolled for a few steps
//!    from states of the dataset, and the transitions go to a model buffer that forgets those of old policies;
//! 2. [`Learner::update`](backcast_core::Learner::update) on a batch of which the share
//!    [`real_share`](backcast_core::Learner::real_share) comes from the dataset and the rest from the buffer.
//!
//! Some agents only ask the model in their updates, such as [`scas`](super::scas): they have no rollouts.
//!
//! ```
//! use backcast_algos::mopo;
//! use backcast_core::{Algorithm, Direction, Key, Learner, Problem, Source, Spec, Transitions, WorldModel, never};
//! use backcast_dynamics::{Ensemble, EnsembleConfig};
//!
//! let mut dataset = Transitions::new(Spec::new(1, 1));
//! let mut x = vec![0.0; 400];
//! Key::new(0).uniform(-1.0, 1.0, &mut x);
//! x.chunks(2).for_each(|x| dataset.push(&x[..1], &x[1..], -x[0].abs(), &[0.9 * x[0] + 0.1 * x[1]], false));
//! let small = EnsembleConfig { hidden: vec![8], weight_decay: vec![0.0; 2], max_epochs: Some(2), ..Default::default() };
//! let mut model = Ensemble::new(small, dataset.spec(), Direction::Forward, Key::new(1))?;
//! model.fit(&dataset, Key::new(2), &mut |_| true)?;
//!
//! let mut config = mopo::Config::default();
//! config.sac.hidden = vec![16];
//! (config.rollouts.starts, config.rollouts.horizon) = (20, 3);
//! let problem = Problem::new(dataset.spec()).with_model(WorldModel::new(model, never));
//! let mut mopo = config.build(problem, Key::new(3))?;
//! let mut imagined = Transitions::new(dataset.spec());
//! mopo.imagine(&dataset, Key::new(4), &mut imagined);
//! assert_eq!(imagined.len(), 60);
//!
//! let mut batch = Transitions::new(dataset.spec());
//! dataset.sample_into(Key::new(5), 2, &mut batch);
//! batch.begin_imagined();
//! imagined.sample_into(Key::new(6), 30, &mut batch);
//! mopo.update(batch.batch(), Key::new(7));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! Agents see standardised observations where whoever trains them standardises; models are of the dataset's own units. Between
//! the two stands an [`ObsScaler`].

use backcast_core::{
    ConfigError, Dynamics, Key, ObsScaler, Policy, Real, RolloutSummary, Rollouts, Sink, Source,
    WorldModel,
};
use backcast_dynamics::Ensemble;
use backcast_imagination::{ImagineConfig, Imaginer, ScaledPolicy};
use backcast_nn::{Shape, Var};
use backcast_penalties::{NoPenalty, Penalty};

/// A model and the loop that rolls a policy through it.
pub struct Imagination {
    /// The model.
    pub dynamics: Box<dyn Dynamics>,
    /// Between the agent's observations and the model's.
    pub scaler: ObsScaler,
    imaginer: Imaginer<Box<dyn Penalty>>,
    seen: Vec<Real>,
}

impl Imagination {
    /// `config` says all but where and how far.
    ///
    /// # Errors
    /// If the configuration makes no sense.
    pub fn new(
        model: WorldModel,
        rollouts: &Rollouts,
        config: ImagineConfig,
        penalty: Box<dyn Penalty>,
    ) -> Result<Self, ConfigError> {
        let &Rollouts { horizon, starts: starts_per_call, sampling, .. } = rollouts;
        let config = ImagineConfig { horizon, starts_per_call, sampling, ..config };
        let WorldModel { dynamics, termination, scaler } = model;
        let imaginer = Imaginer::new(config, termination, penalty)?;
        Ok(Self { dynamics, scaler, imaginer, seen: Vec::new() })
    }

    /// Rollouts that are rewarded as the model says: nothing is penalised, and nothing halts them.
    ///
    /// # Errors
    /// If the configuration makes no sense.
    pub fn without_penalty(model: WorldModel, rollouts: &Rollouts) -> Result<Self, ConfigError> {
        Self::new(model, rollouts, ImagineConfig::default(), Box::new(NoPenalty))
    }

    /// How chains are rolled out.
    pub fn config_mut(&mut self) -> &mut ImagineConfig {
        &mut self.imaginer.config
    }

    /// Rolls `policy` from states of `dataset`.
    pub fn roll(
        &mut self,
        policy: &mut dyn Policy,
        dataset: &dyn Source,
        key: Key,
        sink: &mut dyn Sink,
    ) -> RolloutSummary {
        let mut policy = ScaledPolicy { scaler: &self.scaler, policy, seen: &mut self.seen };
        self.imaginer.imagine(&mut *self.dynamics, dataset, &mut policy, key, sink)
    }

    /// As [`roll`](Imagination::roll), by another loop through the same model.
    pub fn roll_by<P: Penalty>(
        &mut self,
        imaginer: &mut Imaginer<P>,
        policy: &mut dyn Policy,
        starts: &dyn Source,
        key: Key,
        sink: &mut dyn Sink,
    ) -> RolloutSummary {
        let mut policy = ScaledPolicy { scaler: &self.scaler, policy, seen: &mut self.seen };
        imaginer.imagine(&mut *self.dynamics, starts, &mut policy, key, sink)
    }
}

/// A probabilistic ensemble, for an algorithm that needs more of its model than [`Dynamics`] says.
///
/// # Errors
/// If the dynamics are something else.
pub fn ensemble(dynamics: &mut dyn Dynamics) -> Result<&mut Ensemble, ConfigError> {
    dynamics.as_any_mut().and_then(|any| any.downcast_mut()).ok_or_else(|| ConfigError {
        field: "name",
        why: "asks for a model that is a probabilistic ensemble".into(),
    })
}

/// Which of `n` elites a uniform number in [0, 1) chooses.
pub fn drawn(chance: Real, n: usize) -> usize {
    ((chance * n as Real) as usize).min(n - 1)
}

/// What the agent sees of the model's `x`, `[members, rows, obs]`.
pub fn seen_by_learner<'t>(scaler: &ObsScaler, x: Var<'t>) -> Var<'t> {
    let [mean, std] = parts(scaler, x);
    (x - mean) / std
}

/// What the model sees of the agent's `x`, `[members, rows, obs]`.
pub fn seen_by_model<'t>(scaler: &ObsScaler, x: Var<'t>) -> Var<'t> {
    let [mean, std] = parts(scaler, x);
    x * std + mean
}

fn parts<'t>(scaler: &ObsScaler, x: Var<'t>) -> [Var<'t>; 2] {
    let row =
        |row: &[Real]| x.tape().fill(Shape::new(1, 1, row.len()), |out| out.copy_from_slice(row));
    scaler.parts().map(row)
}
