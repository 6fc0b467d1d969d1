//! What model-based algorithms have in common: a model, and roll-outs of their own policy in it, refreshed as the policy
//! changes (MBPO's algorithm 2: Janner, Fu, Zhang & Levine, *When to trust your model*, NeurIPS 2019, arXiv:1906.08253).
//!
//! A learner of this kind is built on a fitted model, [`ModelBased::build_on`]. From then on two things alternate, and whoever
//! trains it keeps the rows:
//!
//! 1. every [`Rollouts::every`] updates, [`Imagines::imagine`]: the policy is rolled for a few steps from states of the log, and the
//!    transitions go to a ring that forgets those of old policies;
//! 2. [`Learner::update`] on a batch of which the share [`Imagines::real_share`] comes from the log and the rest from the ring.
//!
//! Some learners only ask the model in their updates, such as [`scas`](crate::scas): they have no roll-outs and learn from the log.
//!
//! ```
//! use backcast_algos::{imagines::{Imagines, ModelBased, WorldModel}, mopo};
//! use backcast_core::{Transitions, Direction, Key, Learner, Source, Spec, never};
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
//! let mut mopo = config.build_on(WorldModel::new(model, never), Key::new(3))?;
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
//! Learners see standardised observations where whoever trains them standardises; models are of the log's own units. Between
//! the two stand [`ObsScaler`].

use backcast_core::*;
use backcast_dynamics::Ensemble;
use backcast_imagination::{ImagineConfig, Imaginer, Sampling, Sink, Summary};
use backcast_nn::{Shape, Tape, Var};
use backcast_penalties::Penalty;
use ndarray::{ArrayView2, ArrayViewMut2};
use serde::{Deserialize, Deserializer, Serialize, de::DeserializeOwned};

/// How often, from how many states and how far a policy is rolled out, and what share of a batch that is. The defaults are
/// those of MOPO's code.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Rollouts {
    /// Updates between roll-outs.
    pub every: u64,
    /// States of the log that chains start from.
    pub starts: usize,
    /// Steps h of a chain.
    pub horizon: usize,
    /// Roll-outs that are kept: older ones are forgotten.
    pub keep: usize,
    /// Share of a batch that comes from the log.
    pub real: Real,
    /// What is taken from a predicted Gaussian: a sample everywhere in the literature; the mean keeps noise that the model sees
    /// in rare events, such as a target that moves once, from entering every step.
    pub sampling: Sampling,
}

impl Default for Rollouts {
    fn default() -> Self {
        Self { every: 1000, starts: 50_000, horizon: 5, keep: 5, real: 0.05, sampling: Sampling::Gaussian }
    }
}

impl Rollouts {
    /// Whether every field makes sense.
    ///
    /// # Errors
    /// The first field that does not, and what it must be instead.
    pub fn check(&self) -> Result<(), ConfigError> {
        ConfigError::unless(self.every > 0, "every", "is 0; give a number of updates")?;
        ConfigError::unless(self.starts > 0, "starts", "is 0; a chain starts somewhere")?;
        ConfigError::unless(self.horizon > 0, "horizon", "is 0; a chain has a step")?;
        ConfigError::unless(self.keep > 0, "keep", "is 0; batches are drawn from what is kept")?;
        let real = self.real;
        ConfigError::unless((0.0..=1.0).contains(&real), "real", format!("is {real}; a share lies in [0, 1]"))
    }

    /// Reads what is given, the rest from `defaults`: for an algorithm whose defaults are not [`Rollouts::default`].
    pub(crate) fn read_over<'de, D: Deserializer<'de>>(defaults: Self, from: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(rename = "Rollouts", deny_unknown_fields)]
        struct Given {
            every: Option<u64>,
            starts: Option<usize>,
            horizon: Option<usize>,
            keep: Option<usize>,
            real: Option<Real>,
            sampling: Option<Sampling>,
        }
        let given = Given::deserialize(from)?;
        Ok(Self {
            every: given.every.unwrap_or(defaults.every),
            starts: given.starts.unwrap_or(defaults.starts),
            horizon: given.horizon.unwrap_or(defaults.horizon),
            keep: given.keep.unwrap_or(defaults.keep),
            real: given.real.unwrap_or(defaults.real),
            sampling: given.sampling.unwrap_or(defaults.sampling),
        })
    }

    /// The most transitions that are kept.
    pub fn capacity(&self) -> usize {
        self.keep * self.starts * self.horizon
    }
}

/// Between a learner's observations and a model's: *x = (o − mean)/std*, column by column.
#[derive(Clone, Debug, PartialEq)]
pub struct ObsScaler {
    mean: Vec<Real>,
    std: Vec<Real>,
}

impl ObsScaler {
    /// A learner that sees *(o − mean)/std*.
    ///
    /// # Panics
    /// If there are not as many means as deviations.
    pub fn new(mean: &[Real], std: &[Real]) -> Self {
        assert_eq!(mean.len(), std.len(), "Units::new: means and deviations of different widths");
        Self { mean: mean.into(), std: std.into() }
    }

    /// A learner that sees what the model sees, `width` columns.
    pub fn identity(width: usize) -> Self {
        Self { mean: vec![0.0; width], std: vec![1.0; width] }
    }

    /// What the learner sees of the model's `x`, `[members, rows, obs]`.
    pub(crate) fn seen_by_learner<'t>(&self, x: Var<'t>) -> Var<'t> {
        let [mean, std] = self.on(x.tape());
        (x - mean) / std
    }

    /// What the model sees of the learner's `x`, `[members, rows, obs]`.
    pub(crate) fn seen_by_model<'t>(&self, x: Var<'t>) -> Var<'t> {
        let [mean, std] = self.on(x.tape());
        x * std + mean
    }

    fn on<'t>(&self, tape: Tape<'t>) -> [Var<'t>; 2] {
        [&self.mean, &self.std].map(|row| tape.fill(Shape::new(1, 1, row.len()), |out| out.copy_from_slice(row)))
    }

    /// What the learner sees of the model's `rows`, row after row, in place.
    pub fn to_learner(&self, rows: &mut [Real]) {
        for row in rows.chunks_exact_mut(self.mean.len()) {
            row.iter_mut().zip(&self.mean).zip(&self.std).for_each(|((x, m), s)| *x = (*x - m) / s);
        }
    }

    /// What the model sees of the learner's `rows`, row after row, in place.
    pub fn to_model(&self, rows: &mut [Real]) {
        for row in rows.chunks_exact_mut(self.mean.len()) {
            row.iter_mut().zip(&self.mean).zip(&self.std).for_each(|((x, m), s)| *x = *x * s + m);
        }
    }
}

/// What a model-based learner is built on.
#[derive(Debug)]
pub struct WorldModel {
    /// A fitted model of what happens next.
    pub model: Ensemble,
    /// Is *(s, a, s′)* the end of an episode? In the model's units.
    pub termination: Termination,
    /// Between the learner's observations and the model's.
    pub obs_scaler: ObsScaler,
    /// What the log says of the model and of its world, for learners that ask for it.
    pub dataset_stats: DatasetStats,
}

/// What some learners must know of the log before they begin, in its own units. Empty where nobody looked.
#[derive(Clone, Debug, Default)]
pub struct DatasetStats {
    /// Rows the model was not fitted to, such as [`Ensemble::holdout`] gives: what it doubts of these it will doubt of others.
    pub holdout: Option<Transitions>,
    /// Rows whose *s* are first observations of episodes.
    pub initial: Option<Transitions>,
    /// The smallest reward of the log.
    pub least_reward: Option<Real>,
    /// The greatest.
    pub greatest_reward: Option<Real>,
    /// The standard deviation of its rewards.
    pub reward_std: Option<Real>,
}

impl WorldModel {
    /// A world whose learner sees what the model sees.
    pub fn new(model: Ensemble, termination: Termination) -> Self {
        let obs_scaler = ObsScaler::identity(model.spec().obs);
        Self { model, termination, obs_scaler, dataset_stats: DatasetStats::default() }
    }

    /// The same world with what is known of the log beside it.
    pub fn with_dataset_stats(self, dataset_stats: DatasetStats) -> Self {
        Self { dataset_stats, ..self }
    }
}

/// A checked configuration that builds a learner on a model.
pub trait ModelBased: Clone + Default + Serialize + DeserializeOwned {
    /// The short name used in experiment files, such as `mopo`.
    const NAME: &'static str;
    /// Authors, title, identifier.
    const PAPER: &'static str;
    /// What [`build_on`](ModelBased::build_on) makes.
    type Learner: Imagines;

    /// Whether every field makes sense.
    ///
    /// # Errors
    /// The first field that does not, and what it must be instead.
    fn check(&self) -> Result<(), ConfigError>;

    /// A learner in `world`, its parameters drawn by `key`.
    ///
    /// # Errors
    /// As of [`check`](ModelBased::check).
    fn build_on(&self, world_model: WorldModel, key: Key) -> Result<Self::Learner, ConfigError>;
}

// ANCHOR: imagines
/// A learner with a model of its own, which, as a rule, rolls its policy out in it and learns from what comes of it.
pub trait Imagines: Learner {
    /// When to imagine, how much to keep, and how to mix; none for a learner that only asks its model in its updates, which learns
    /// from the log alone and imagines nothing.
    fn rollouts(&self) -> Option<&Rollouts> {
        None
    }

    /// The share of the next batch that is to come from the log, where it is not [`Rollouts::real`] always.
    fn real_share(&self) -> Real {
        self.rollouts().map_or(1.0, |how| how.real)
    }

    /// Rolls the policy from states of `log`, which is in the model's units; every transition goes to `sink`, in these too.
    /// One without rollouts has none.
    fn imagine(&mut self, _dataset: &dyn Source, _key: Key, _sink: &mut dyn Sink) -> Summary {
        Summary::default()
    }
}
// ANCHOR_END: imagines

/// A model and the loop that rolls a policy through it.
pub(crate) struct Imagination {
    pub(crate) model: Ensemble,
    pub(crate) obs_scaler: ObsScaler,
    imaginer: Imaginer<Box<dyn Penalty>>,
    seen: Vec<Real>,
}

impl Imagination {
    /// `config` says all but where and how far.
    pub(crate) fn new(
        world_model: WorldModel,
        rollouts: &Rollouts,
        config: ImagineConfig,
        penalty: Box<dyn Penalty>,
    ) -> Result<Self, ConfigError> {
        rollouts.check()?;
        let &Rollouts { horizon, starts: starts_per_call, sampling, .. } = rollouts;
        let config = ImagineConfig { horizon, starts_per_call, sampling, ..config };
        let imaginer = Imaginer::new(config, world_model.termination, penalty)?;
        Ok(Self { model: world_model.model, obs_scaler: world_model.obs_scaler, imaginer, seen: Vec::new() })
    }

    /// How chains are rolled out.
    pub(crate) fn config_mut(&mut self) -> &mut ImagineConfig {
        &mut self.imaginer.config
    }

    pub(crate) fn roll(
        &mut self,
        policy: &mut dyn Policy,
        dataset: &dyn Source,
        key: Key,
        sink: &mut dyn Sink,
    ) -> Summary {
        let mut policy = ScaledPolicy { obs_scaler: &self.obs_scaler, policy, seen: &mut self.seen };
        self.imaginer.imagine(&mut self.model, dataset, &mut policy, key, sink)
    }

    /// As [`roll`](Imagination::roll), by another loop through the same model.
    pub(crate) fn roll_by<P: Penalty>(
        &mut self,
        imaginer: &mut Imaginer<P>,
        policy: &mut dyn Policy,
        starts: &dyn Source,
        key: Key,
        sink: &mut dyn Sink,
    ) -> Summary {
        let mut policy = ScaledPolicy { obs_scaler: &self.obs_scaler, policy, seen: &mut self.seen };
        imaginer.imagine(&mut self.model, starts, &mut policy, key, sink)
    }
}

/// A learner's policy, asked in the model's units.
struct ScaledPolicy<'a> {
    obs_scaler: &'a ObsScaler,
    policy: &'a mut dyn Policy,
    seen: &'a mut Vec<Real>,
}

impl Policy for ScaledPolicy<'_> {
    fn spec(&self) -> Spec {
        self.policy.spec()
    }

    fn act(&mut self, obs: ArrayView2<'_, Real>, key: Option<Key>, act: ArrayViewMut2<'_, Real>) {
        self.seen.clear();
        self.seen.extend(obs.iter());
        self.obs_scaler.to_learner(self.seen);
        let seen = ArrayView2::from_shape(obs.dim(), self.seen.as_slice()).expect("dense");
        self.policy.act(seen, key, act);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_scaler_undoes_itself_and_the_policy_sees_its_own() {
        let obs_scaler = ObsScaler::new(&[1.0, -2.0], &[2.0, 0.5]);
        let mut rows = [3.0, -1.0, 1.0, -2.0];
        obs_scaler.to_learner(&mut rows);
        assert_eq!(rows, [1.0, 2.0, 0.0, 0.0]);
        obs_scaler.to_model(&mut rows);
        assert_eq!(rows, [3.0, -1.0, 1.0, -2.0]);

        struct First(Spec);
        impl Policy for First {
            fn spec(&self) -> Spec {
                self.0
            }

            fn act(&mut self, obs: ArrayView2<'_, Real>, _: Option<Key>, mut act: ArrayViewMut2<'_, Real>) {
                act.column_mut(0).assign(&obs.column(0));
            }
        }
        let mut act = ndarray::Array2::zeros((2, 1));
        let mut policy = First(Spec::new(2, 1));
        let mut behind = ScaledPolicy { obs_scaler: &obs_scaler, policy: &mut policy, seen: &mut Vec::new() };
        behind.act(ArrayView2::from_shape((2, 2), &rows).unwrap(), None, act.view_mut());
        assert_eq!(act.as_slice().unwrap(), [1.0, 0.0]);
    }

    #[test]
    fn every_bad_value_is_named() {
        let bad = |change: fn(&mut Rollouts)| {
            let mut rollouts = Rollouts::default();
            change(&mut rollouts);
            rollouts.check().expect_err("a bad value").field
        };
        assert_eq!(bad(|r| r.every = 0), "every");
        assert_eq!(bad(|r| r.starts = 0), "starts");
        assert_eq!(bad(|r| r.horizon = 0), "horizon");
        assert_eq!(bad(|r| r.keep = 0), "keep");
        assert_eq!(bad(|r| r.real = 1.5), "real");
        assert_eq!(bad(|r| r.real = Real::NAN), "real");
        assert_eq!(Rollouts::default().capacity(), 1_250_000);
    }
}
