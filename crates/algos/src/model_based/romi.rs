//! ROMI: any conservative learner on real and reverse-imagined transitions (Wang, Li, Jiang, Zhu, Li & Zhang, *Offline
//! reinforcement learning with reverse model-based imagination*, NeurIPS 2021, arXiv:2110.00188).
//!
//! | equation | code |
//! |---|---|
//! | (1) p̂(s, r ∣ s′, a): a probabilistic ensemble of the predecessor | `backcast-dynamics`, `Direction::Reverse` |
//! | (2) π̂(a ∣ s′): uniform, a conditional VAE, or a tanh-Gaussian | [`ReversePolicy`] |
//! | (3) a_t ~ π̂(· ∣ s_{t+1}), (s_t, r_t) ~ p̂(· ∣ s_{t+1}, a_t), from a state of the log | [`Config::imagine`] |
//! | (4) B = ⌊B(1−η) + 0.1⌋ real rows and ⌊Bη + 0.1⌋ imagined ones | `backcast-data`, `Mixture` |
//!
//! Order: the model is fitted, the policy is fitted, the buffer is filled **once**, and then any learner of this crate is
//! trained on batches mixed by (4), unchanged. Every imagined path *ends* in a state of the log, so it can only add ways
//! into what is known: the learner's own conservatism is enough and no penalty is taken off the reward.
//!
//! As in the authors' code: chains start from the *s* of a drawn transition; the termination is asked about *(ŝ, a, s)* in
//! forward time; rows that enter a terminal state are stored and end their chain. Beyond the authors' code: the same
//! generator with a forward model is the control arm (same starts, same budget, same policy class); and, all off unless asked
//! for, a buffer that is imagined anew from time to time ([`Config::refresh_every`]), a check by a model of the other direction
//! ([`Config::agreement`]) and chains that end where the model has become unsure ([`Config::doubt_budget`]).
//!
//! The learner matters. It must fit its notion of the known to the *mixed* batch and choose among its actions, as BCQ does
//! with its VAE; a learner that clones the mixture (TD3+BC) is pulled towards the uniform reverse policy.

use backcast_core::{
    COUNT, ConfigError, Dynamics, Key, POSITIVE, Policy, Real, RolloutSummary, SHARE, Source, Spec,
    Termination, Transitions, choices, hyperparameters,
};
use backcast_imagination::{CycleCheck, ImagineConfig, Imaginer, Uniform};
use backcast_penalties::{Penalty, PenaltyConfig, measure};

choices! {
    /// π̂, the policy that chooses the actions of imagined chains.
    pub enum ReversePolicy {
        /// Uniform in the action box: maze2d and hopper.
        #[default]
        Uniform,
        /// A conditional VAE fitted to the log: antmaze, halfcheetah and walker2d.
        Vae,
        /// A tanh-Gaussian fitted to the log: in the authors' code, used by none of their scripts.
        Gaussian,
    }
}

choices! {
    /// Where chains start.
    pub enum Starts {
        /// Any transition of the log: maze2d.
        #[default]
        Uniform,
        /// In proportion to the return of the trajectory. The real rows of every batch are drawn so too, in every arm of an
        /// experiment, as in the authors' code: the comparison is then of imagination and not of the weighting.
        ReturnPrioritised,
        /// Transitions whose reward is above [`Config::goal_reward`]: chains that all end in a good state. Not in the paper.
        Goal,
    }
}

/// The text of this file, whose head says what it computes.
pub const SOURCE: &str = include_str!("romi.rs");

hyperparameters! {
    /// One field per symbol; the defaults are those of maze2d-umaze in the authors' code.
    pub struct Config {
        /// Length L of a chain.
        horizon: usize = 5, COUNT.unit("steps");
        /// Share η of imagined rows in a batch.
        ratio: Real = 0.7, SHARE;
        /// Imagined transitions in the buffer (4,000,000 in the authors' code).
        rows: usize = 1_000_000, COUNT;
        /// Chains started at a time.
        starts_per_call: usize = 1000, COUNT;
        /// π̂.
        policy: ReversePolicy = ReversePolicy::Uniform;
        /// Where chains start.
        starts: Starts = Starts::Uniform;
        /// What [`Starts::Goal`] takes for a good state: a reward above this.
        goal_reward: Real = 0.0;
        /// Updates after which the whole buffer is imagined anew; none is the authors' frozen one.
        refresh_every: Option<u64> = None, COUNT.unit("updates");
        /// Asks a model of the other direction about every imagined transition, and keeps those it finds no stranger than this
        /// share of the recorded ones.
        agreement: Option<Real> = None, SHARE;
        /// The doubt that ends a chain, in units of its median over recorded transitions: an uncertainty-weighted horizon.
        uncertainty_budget: Option<Real> = None, POSITIVE;
        /// What is doubted where there is a budget.
        uncertainty: PenaltyConfig = PenaltyConfig::EnsembleStd;
    }
    together(config) {
        let measured = config.uncertainty != PenaltyConfig::None;
        let why = "is none; a budget of uncertainty needs a measure of it";
        ConfigError::unless(config.uncertainty_budget.is_none() || measured, "uncertainty", why)
    }
}

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
    /// agreement, and a budget of doubt, in units of what `log`'s rows are doubted.
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

    // ANCHOR: imagine
    /// (3)  a_t ~ π̂(· ∣ s_{t+1}),  (s_t, r_t) ~ p̂(· ∣ s_{t+1}, a_t),  from states of the log until the buffer is full
    ///
    /// The direction is the model's: the same loop forwards is the control. `watch` sees the rows so far and says whether to
    /// go on. The result depends on `key` alone.
    pub fn imagine(
        &self,
        imaginer: &mut Generator,
        model: &mut dyn Dynamics,
        starts: &dyn Source,
        policy: &mut dyn Policy,
        key: Key,
        watch: &mut dyn FnMut(usize) -> bool,
    ) -> Transitions {
        let mut buffer = Transitions::with_capacity(
            model.spec(),
            self.rows + self.starts_per_call * self.horizon,
        );
        let (mut call, mut barren) = (0, 0);
        while buffer.len() < self.rows && barren < BARREN_CALLS && watch(buffer.len()) {
            let RolloutSummary { stored, .. } =
                imaginer.imagine(model, starts, policy, key.fold(call), &mut buffer);
            (call, barren) = (call + 1, if stored == 0 { barren + 1 } else { 0 });
        }
        buffer.truncate(self.rows);
        buffer
    }
    // ANCHOR_END: imagine
}

/// The roll-out loop of ROMI, with whatever doubts it is to have.
pub type Generator = Imaginer<Box<dyn Penalty>>;

/// Calls in a row that nothing came of after which the buffer is left as it is.
const BARREN_CALLS: u32 = 20;

/// Recorded transitions that doubt and agreement are measured on.
const MEASURED: usize = 20_000;

/// At most about `most` rows, spread over the whole log.
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn presets_follow_the_task() {
        assert_eq!(Config::preset("maze2d-large-sparse-v1").unwrap().ratio, 0.3);
        assert_eq!(Config::preset("walker2d-medium-v2").unwrap().policy, ReversePolicy::Vae);
        assert!(Config::preset("dmsd").is_none());
    }
}
