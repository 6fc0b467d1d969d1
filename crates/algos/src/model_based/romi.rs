//! ROMI: any conservative agent on real and reverse-imagined transitions (Wang, Li, Jiang, Zhu, Li & Zhang, *Offline
//! reinforcement learning with reverse model-based imagination*, NeurIPS 2021, arXiv:2110.00188).
//!
//! | equation | code |
//! |---|---|
//! | (1) p̂(s, r ∣ s′, a): a probabilistic ensemble of the predecessor | `backcast-dynamics`, `Direction::Reverse` |
//! | (2) π̂(a ∣ s′): uniform, a conditional VAE, or a tanh-Gaussian | [`ReversePolicy`] |
//! | (3) a_t ~ π̂(· ∣ s_{t+1}), (s_t, r_t) ~ p̂(· ∣ s_{t+1}, a_t), from a state of the dataset | [`Config::imagine`] |
//! | (4) B = ⌊B(1−η) + 0.1⌋ real rows and ⌊Bη + 0.1⌋ imagined ones | `backcast-data`, `Mixture` |
//! | (5) one update of the agent on B, unchanged | [`Romi::update`](Learner::update) |
//!
//! Order: the model is fitted, the policy π̂ is fitted, the buffer is filled **once** by (3), then (4) and (5). Every imagined
//! path *ends* in a state of the dataset, so it can only add ways into what is known: the agent's own conservatism is enough,
//! and there is no penalty in the reward.
//!
//! As in the authors' code: chains start from the *s* of a drawn transition; the termination is asked about *(ŝ, a, s)* in
//! forward time; rows that enter a terminal state are stored and end their chain. Beyond the authors' code: the same
//! generator with a forward model is the control (same starts, same budget, same policy class); and, all off unless asked
//! for, a buffer that is imagined anew from time to time ([`Config::refresh_every`]), a check by a model of the other direction
//! ([`Config::agreement`]) and chains that end where the model is too uncertain ([`Config::uncertainty_budget`]).
//!
//! The agent matters. It must fit its notion of the known to the *mixed* batch and choose among its actions, as BCQ does
//! with its VAE; an agent that clones the mixture (TD3+BC) is pulled towards the uniform reverse policy.

use crate::model_based::generator::Generator;
use backcast_core::{
    Batch, COUNT, ConfigError, Dynamics, Imagined, Key, Learner, Metrics, POSITIVE, Policy, Real,
    RolloutSummary, Rollouts, SHARE, Sink, Slot, Source, Spec, State, Transitions, WorldModel,
    choices, hyperparameters,
};
use backcast_penalties::PenaltyConfig;
use ndarray::{ArrayView2, ArrayViewMut2};

choices! {
    /// π̂, the policy that chooses the actions of imagined chains.
    pub enum ReversePolicy {
        /// Uniform in the action box: maze2d and hopper.
        #[default]
        Uniform,
        /// A conditional VAE fitted to the dataset: antmaze, halfcheetah and walker2d.
        Vae,
        /// A tanh-Gaussian fitted to the dataset: in the authors' code, used by none of their scripts.
        Gaussian,
    }
}

choices! {
    /// Where chains start.
    pub enum Starts {
        /// Any transition of the dataset: maze2d.
        #[default]
        Uniform,
        /// In proportion to the return of the trajectory. The real rows of every batch are drawn so too, by every method of an
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
        /// The uncertainty that ends a chain, in units of its median over recorded transitions: an uncertainty-weighted horizon.
        uncertainty_budget: Option<Real> = None, POSITIVE;
        /// How uncertainty is measured where there is a budget.
        uncertainty: PenaltyConfig = PenaltyConfig::EnsembleStd;
    }
    together(config) {
        let measured = config.uncertainty != PenaltyConfig::None;
        let why = "is none; a budget of uncertainty needs a measure of it";
        ConfigError::unless(config.uncertainty_budget.is_none() || measured, "uncertainty", why)
    }
}

impl Config {
    // ANCHOR: imagine
    /// (3)  a_t ~ π̂(· ∣ s_{t+1}),  (s_t, r_t) ~ p̂(· ∣ s_{t+1}, a_t),  from states of the dataset until the buffer is full
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
        let room = self.rows + self.starts_per_call * self.horizon;
        let mut buffer = Transitions::with_capacity(model.spec(), room);
        let (mut call, mut barren) = (0, 0);
        while buffer.len() < self.rows && barren < BARREN_CALLS && watch(buffer.len()) {
            let summary = imaginer.imagine(model, starts, policy, key.fold(call), &mut buffer);
            (call, barren) = (call + 1, if summary.stored == 0 { barren + 1 } else { 0 });
        }
        buffer.truncate(self.rows);
        buffer
    }
    // ANCHOR_END: imagine
}

/// Calls in a row that nothing came of after which the buffer is left as it is.
const BARREN_CALLS: u32 = 20;

/// Any agent, and the model whose imagined ways into the dataset it learns from too.
pub struct Romi<L> {
    config: Config,
    rollouts: Rollouts,
    learner: L,
    dynamics: Box<dyn Dynamics>,
    generator: Generator,
    policy: Box<dyn Policy + Send>,
}

impl<L: Learner> Romi<L> {
    /// `learner` with what `policy`, π̂, does in `model`: a reverse one for ROMI, a forward one for its control. Both are of the
    /// dataset's own units.
    ///
    /// # Errors
    /// If a hyperparameter makes no sense, or asks for a model of the other direction.
    pub fn new(
        config: Config,
        learner: L,
        model: WorldModel,
        policy: Box<dyn Policy + Send>,
        dataset: &Transitions,
    ) -> Result<Self, ConfigError> {
        let WorldModel { mut dynamics, termination, .. } = model;
        let generator = config.imaginer(&mut *dynamics, dataset, None, termination)?;
        let every = config.refresh_every.unwrap_or(u64::MAX);
        let (starts, real) = (config.rows, 1.0 - config.ratio);
        let rollouts = Rollouts { every, starts, horizon: 1, keep: 1, real, ..Default::default() };
        Ok(Self { config, rollouts, learner, dynamics, generator, policy })
    }
}

impl<L: Learner> Learner for Romi<L> {
    /// (5)
    fn update(&mut self, batch: Batch<'_>, key: Key) -> Metrics {
        self.learner.update(batch, key)
    }

    fn rollouts(&self) -> Option<&Rollouts> {
        Some(&self.rollouts)
    }

    /// (3)
    fn imagine(&mut self, dataset: &dyn Source, key: Key, sink: &mut dyn Sink) -> RolloutSummary {
        let Self { config, generator, dynamics, policy, .. } = self;
        let mut go_on = |_| true;
        let rows =
            config.imagine(generator, &mut **dynamics, dataset, &mut **policy, key, &mut go_on);
        (0..rows.len()).for_each(|i| sink.take(Imagined::recorded(&rows, i)));
        RolloutSummary { stored: rows.len(), ..RolloutSummary::default() }
    }
}

impl<L: Learner> Policy for Romi<L> {
    fn spec(&self) -> Spec {
        self.learner.spec()
    }

    fn act(&mut self, obs: ArrayView2<'_, Real>, key: Option<Key>, act: ArrayViewMut2<'_, Real>) {
        self.learner.act(obs, key, act);
    }
}

/// The model is not part of it: it never changes.
impl<L: Learner> State for Romi<L> {
    fn visit(&mut self, f: &mut dyn FnMut(&str, Slot<'_>)) {
        self.learner.visit(f);
    }
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
