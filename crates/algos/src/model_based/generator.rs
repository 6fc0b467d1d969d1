//! The loop that ROMI fills its buffer by, with its optional checks: uncertainty, and agreement of the two directions.

use super::romi::{Config, ReversePolicy, Starts};
use backcast_core::{ConfigError, Dynamics, Key, Real, Spec, Termination, Transitions};
use backcast_imagination::{CycleCheck, ImagineConfig, Imaginer, Uniform};
use backcast_penalties::{Penalty, PenaltyConfig, measure};

/// The rollout loop of ROMI, whatever it measures.
pub type Generator = Imaginer<Box<dyn Penalty>>;

impl Config {
    /// The settings the authors' code chooses by the name of a task, where it has any.
    pub fn preset(task: &str) -> Option<Self> {
        use {ReversePolicy as P, Starts as S};
        let table: [(&str, usize, Real, P, S); 7] = [
            ("maze2d-umaze", 5, 0.7, P::Uniform, S::Uniform),
            ("maze2d-medium", 5, 0.5, P::Uniform, S::Uniform),
            ("maze2d-large", 5, 0.3, P::Uniform, S::Uniform),
            ("antmaze", 5, 0.1, P::Vae, S::ReturnPrioritised),
            ("hopper", 5, 0.1, P::Uniform, S::ReturnPrioritised),
            ("halfcheetah", 1, 0.1, P::Vae, S::ReturnPrioritised),
            ("walker2d", 1, 0.1, P::Vae, S::ReturnPrioritised),
        ];
        let (_, horizon, ratio, policy, starts) =
            table.into_iter().find(|row| task.starts_with(row.0))?;
        Some(Self { horizon, ratio, policy, starts, ..Self::default() })
    }

    /// The loop for `model`, with all that is asked for: a check by `other`, a model of the other direction, if there is to be
    /// agreement, and a budget of uncertainty, in units of its median over the rows of `dataset`.
    ///
    /// # Errors
    /// If a value makes no sense, or agreement is asked for and there is nobody to ask.
    pub fn imaginer(
        &self,
        model: &mut dyn Dynamics,
        dataset: &Transitions,
        other: Option<Box<dyn Dynamics + Send>>,
        termination: Termination,
    ) -> Result<Generator, ConfigError> {
        self.check()?;
        let (mut penalty, mut uncertainty_budget) = (PenaltyConfig::None.build(), None);
        if let Some(budget) = self.uncertainty_budget {
            penalty = self.uncertainty.build();
            let mut u = measure(
                model,
                penalty.as_mut(),
                &every_few(dataset, MEASURED),
                Key::new(0).name("typical doubt"),
            );
            u.sort_unstable_by(Real::total_cmp);
            uncertainty_budget = Some(budget * u[u.len() / 2]);
        }
        let (horizon, starts_per_call) = (self.horizon, self.starts_per_call);
        let config =
            ImagineConfig { horizon, starts_per_call, uncertainty_budget, ..Default::default() };
        let imaginer = Imaginer::new(config, termination, penalty)?;
        let Some(share) = self.agreement else { return Ok(imaginer) };
        let other = other.ok_or_else(|| ConfigError {
            field: "agreement",
            why: "needs a model of the other direction to agree with".into(),
        })?;
        Ok(imaginer.with_cycle_check(CycleCheck::new(other, &every_few(dataset, MEASURED), share)))
    }
}

/// Recorded transitions that uncertainty and agreement are measured on.
const MEASURED: usize = 20_000;

/// At most about `most` rows, spread over the whole dataset.
fn every_few(dataset: &Transitions, most: usize) -> Transitions {
    let mut few = Transitions::with_capacity(dataset.spec(), most);
    (0..dataset.len())
        .step_by(dataset.len().div_ceil(most).max(1))
        .for_each(|row| few.push_row(dataset, row));
    few
}

/// The uniform π̂ for transitions of `spec`.
pub fn uniform(spec: Spec) -> Uniform {
    Uniform(spec)
}
