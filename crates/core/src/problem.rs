//! What an agent is built for, and what it imagines: plain values, so that whoever trains an agent need not know which it is.

use crate::{COUNT, Column, SHARE};
use crate::{ConfigError, Dynamics, Real, Spec, Termination, Transitions, choices, hyperparameters};

/// What an agent may know before it begins.
#[derive(Debug)]
pub struct Problem {
    /// Widths of transitions, and the action box.
    pub spec: Spec,
    /// A learned model, for algorithms that use one.
    pub model: Option<WorldModel>,
    /// What is known of the dataset.
    pub dataset: DatasetStats,
}

/// A learned model of the environment.
pub struct WorldModel {
    /// A fitted model of what happens next, in the dataset's units.
    pub dynamics: Box<dyn Dynamics>,
    /// Is *(s, a, s′)* the end of an episode? In the dataset's units.
    pub termination: Termination,
    /// Between the agent's observations and the dataset's.
    pub scaler: ObsScaler,
}

impl std::fmt::Debug for WorldModel {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("WorldModel").field("spec", &self.dynamics.spec()).field("scaler", &self.scaler).finish()
    }
}

impl WorldModel {
    /// A model whose agent sees observations in the dataset's units.
    pub fn new(dynamics: impl Dynamics + 'static, termination: Termination) -> Self {
        let scaler = ObsScaler::identity(dynamics.spec().obs);
        Self { dynamics: Box::new(dynamics), termination, scaler }
    }

    /// The same, whose agent sees what `scaler` makes of observations.
    pub fn with_scaler(self, scaler: ObsScaler) -> Self {
        Self { scaler, ..self }
    }
}

/// What some algorithms ask of the dataset before they begin, in its own units. Empty where nobody looked.
#[derive(Clone, Debug, Default)]
pub struct DatasetStats {
    /// Rows the model was not fitted to: how uncertain it is of these tells what uncertainty is usual.
    pub holdout: Option<Transitions>,
    /// Rows whose *s* are first observations of episodes.
    pub initial: Option<Transitions>,
    /// The smallest reward.
    pub least_reward: Option<Real>,
    /// The greatest reward.
    pub greatest_reward: Option<Real>,
    /// The standard deviation of rewards.
    pub reward_std: Option<Real>,
}

impl Problem {
    /// Transitions of `spec`, without a model.
    pub fn new(spec: Spec) -> Self {
        Self { spec, model: None, dataset: DatasetStats::default() }
    }

    /// The same with a model.
    pub fn with_model(self, model: WorldModel) -> Self {
        Self { model: Some(model), ..self }
    }

    /// The same with what is known of the dataset.
    pub fn with_stats(self, dataset: DatasetStats) -> Self {
        Self { dataset, ..self }
    }

    /// The model, for an algorithm that cannot do without.
    ///
    /// # Errors
    /// If there is none.
    pub fn take_model(&mut self) -> Result<WorldModel, ConfigError> {
        self.model
            .take()
            .ok_or_else(|| ConfigError { field: "name", why: "asks for a model, and there is none".into() })
    }
}

/// Transitions as the model has them.
impl From<WorldModel> for Problem {
    fn from(model: WorldModel) -> Self {
        Self::new(model.dynamics.spec()).with_model(model)
    }
}

impl From<Spec> for Problem {
    fn from(spec: Spec) -> Self {
        Self::new(spec)
    }
}

choices! {
    /// What is taken from a predicted Gaussian.
    pub enum Sampling {
        /// A sample.
        #[default]
        Gaussian,
        /// The mean.
        Mean,
    }
}

hyperparameters! {
    /// How often, from how many states and how far a policy is rolled out, and what share of a batch that is. The defaults are
    /// those of MOPO's code.
    pub struct Rollouts {
        /// Updates between rollouts.
        every: u64 = 1000, COUNT.unit("updates");
        /// States of the dataset that chains start from.
        starts: usize = 50_000, COUNT;
        /// Steps h of a chain.
        horizon: usize = 5, COUNT.unit("steps");
        /// Rollouts that are kept: older ones are forgotten.
        keep: usize = 5, COUNT;
        /// Share of a batch that comes from the dataset.
        real: Real = 0.05, SHARE;
        /// What is taken from a predicted Gaussian: a sample everywhere in the literature; the mean keeps noise that the model sees
        /// in rare events, such as a target that moves once, from entering every step.
        sampling: Sampling = Sampling::Gaussian;
    }
}

impl Rollouts {
    /// The most transitions that are kept.
    pub fn capacity(&self) -> usize {
        self.keep * self.starts * self.horizon
    }

    /// Reads what is given, the rest from `defaults`: for an algorithm whose defaults are not [`Rollouts::default`].
    ///
    /// # Errors
    /// If what is given is of another form.
    pub fn read_over<'de, D: serde::Deserializer<'de>>(defaults: Self, from: D) -> Result<Self, D::Error> {
        #[derive(serde::Deserialize)]
        #[serde(rename = "Rollouts", deny_unknown_fields)]
        struct Given {
            every: Option<u64>,
            starts: Option<usize>,
            horizon: Option<usize>,
            keep: Option<usize>,
            real: Option<Real>,
            sampling: Option<Sampling>,
        }
        let given: Given = serde::Deserialize::deserialize(from)?;
        Ok(Self {
            every: given.every.unwrap_or(defaults.every),
            starts: given.starts.unwrap_or(defaults.starts),
            horizon: given.horizon.unwrap_or(defaults.horizon),
            keep: given.keep.unwrap_or(defaults.keep),
            real: given.real.unwrap_or(defaults.real),
            sampling: given.sampling.unwrap_or(defaults.sampling),
        })
    }
}

/// Where imagined transitions go, one by one.
pub trait Sink {
    /// Takes one transition.
    fn take(&mut self, transition: Imagined<'_>);
}

/// Appends the transitions and forgets which chain they belong to.
impl Sink for Transitions {
    fn take(&mut self, t: Imagined<'_>) {
        self.push(t.obs, t.act, t.reward, t.next_obs, t.terminal);
    }
}

/// Any closure, such as one that overwrites the oldest row of a model buffer.
impl<F: FnMut(Imagined<'_>)> Sink for F {
    fn take(&mut self, transition: Imagined<'_>) {
        self(transition);
    }
}

/// One imagined transition, in forward time whatever the direction of the model.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Imagined<'a> {
    /// *s*, `[obs]`.
    pub obs: &'a [Real],
    /// *a*, `[act]`.
    pub act: &'a [Real],
    /// r̂ − λ·u, or −κ where the chain halts.
    pub reward: Real,
    /// *s′*, `[obs]`.
    pub next_obs: &'a [Real],
    /// Whether the episode ends here: because the termination says so, or the chain halts.
    pub terminal: bool,
    /// u, before the weight. 0 where nobody asked for it.
    pub penalty: Real,
    /// The number of the start within the call.
    pub chain: usize,
    /// Steps from the start, from 0.
    pub step: usize,
    /// The member of the ensemble that was drawn.
    pub member: usize,
}

impl<'a> Imagined<'a> {
    /// Row `row` of transitions that were imagined before and have forgotten how.
    pub fn recorded(of: &'a Transitions, row: usize) -> Self {
        Self {
            obs: of.row(Column::Obs, row),
            act: of.row(Column::Act, row),
            reward: of.row(Column::Reward, row)[0],
            next_obs: of.row(Column::NextObs, row),
            terminal: of.row(Column::Terminal, row)[0] != 0.0,
            penalty: 0.0,
            chain: row,
            step: 0,
            member: 0,
        }
    }
}

/// What one call of imagination made.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RolloutSummary {
    /// Chains started.
    pub started: usize,
    /// Transitions handed to the sink.
    pub stored: usize,
    /// Of these, how many are terminal, those that halted included.
    pub terminal: usize,
    /// Of these, how many came into the unknown and halted.
    pub halted: usize,
    /// Transitions that are not stored because a model of the other direction does not agree. Their chains end.
    pub disagreed: usize,
    /// Transitions that are not stored because their chain had gathered too much uncertainty. It ends.
    pub uncertain: usize,
    /// Predictions that were NaN or infinite. They are not stored, and their chains end.
    pub not_finite: usize,
}

/// Between an agent's observations and a model's: *x = (o − mean)/std*, column by column.
#[derive(Clone, Debug, PartialEq)]
pub struct ObsScaler {
    mean: Vec<Real>,
    std: Vec<Real>,
}

impl ObsScaler {
    /// An agent that sees *(o − mean)/std*.
    ///
    /// # Panics
    /// If there are not as many means as deviations.
    pub fn new(mean: &[Real], std: &[Real]) -> Self {
        assert_eq!(mean.len(), std.len(), "ObsScaler::new: means and deviations of different widths");
        Self { mean: mean.into(), std: std.into() }
    }

    /// An agent that sees what the model sees, `width` columns.
    pub fn identity(width: usize) -> Self {
        Self { mean: vec![0.0; width], std: vec![1.0; width] }
    }

    /// The means and the deviations, `[obs]` each.
    pub fn parts(&self) -> [&[Real]; 2] {
        [&self.mean, &self.std]
    }

    /// What the agent sees of the model's `rows`, row after row, in place.
    pub fn to_learner(&self, rows: &mut [Real]) {
        for row in rows.chunks_exact_mut(self.mean.len()) {
            row.iter_mut().zip(&self.mean).zip(&self.std).for_each(|((x, m), s)| *x = (*x - m) / s);
        }
    }

    /// What the model sees of the agent's `rows`, row after row, in place.
    pub fn to_model(&self, rows: &mut [Real]) {
        for row in rows.chunks_exact_mut(self.mean.len()) {
            row.iter_mut().zip(&self.mean).zip(&self.std).for_each(|((x, m), s)| *x = *x * s + m);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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

    #[test]
    fn a_scaler_undoes_itself() {
        let scaler = ObsScaler::new(&[1.0, -2.0], &[2.0, 0.5]);
        let mut rows = [3.0, -1.0, 1.0, -2.0];
        scaler.to_learner(&mut rows);
        assert_eq!(rows, [1.0, 2.0, 0.0, 0.0]);
        scaler.to_model(&mut rows);
        assert_eq!(rows, [3.0, -1.0, 1.0, -2.0]);
    }
}
