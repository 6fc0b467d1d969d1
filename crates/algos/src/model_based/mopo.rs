//! MOPO, model-based offline policy optimisation (Yu, Thomas, Yu, Ermon, Zou, Levine, Finn & Ma, NeurIPS 2020,
//! arXiv:2005.13239): [`sac`] on transitions imagined by its own policy, penalised for the uncertainty of the model.
//!
//! | equation | code |
//! |---|---|
//! | (1) r̃(s,a) = r̂(s,a) − λ·u(s,a), u = maxᵢ ‖σᵢ(s,a)‖₂ over all members and outputs | `backcast-penalties`, [`Config::penalty`] |
//! | (2) D_model ← rollouts of π, h steps long, from states of the dataset, with r̃ | [`Mopo::imagine`](Learner::imagine) |
//! | (3) B = a share f of rows of the dataset, the others of D_model; one step of SAC on B | [`Mopo::update`](Learner::update) |
//!
//! Order: (2) before the first update and every [`Rollouts::every`] after it, then (3). The model buffer keeps the last
//! [`Rollouts::keep`] rollouts; rows of the dataset keep their recorded reward.
//!
//! As in the authors' code: r̂ is a sample of the member that was drawn for the row, like the state, not the mean over
//! members; rollouts by sampled actions, u over members that are no elites too. Not from it: H̄ = −\|A\| unless
//! [`sac::Config::target_entropy`] says otherwise (theirs is −3 for every task); the order of SAC's steps (ours: actor,
//! then critics); no ½ before the squared error of the critics, which under Adam changes nothing but its ε.

use crate::{model_based::imagination::Imagination, sac};
use backcast_core::{
    Algorithm, Batch, ConfigError, Key, Learner, Metrics, NON_NEGATIVE, Problem, Real,
    RolloutSummary, Rollouts, Sink, Source, acts_as, hyperparameters,
};
use backcast_imagination::ImagineConfig;
use backcast_nn::state;
use backcast_penalties::PenaltyConfig;

hyperparameters! {
    /// One field per symbol; defaults of the authors' code, but for H̄, which is SAC's own.
    pub struct Config {
        /// Penalty coefficient λ, of a unit of uncertainty: 0.5 to 5 in the authors' code. It belongs to one penalty and one scale of observations.
        lambda: Real = 1.0, NON_NEGATIVE;
        /// The measure u of uncertainty.
        penalty: PenaltyConfig = PenaltyConfig::MaxAleatoric;
        /// How the policy is rolled out, and the share f of real rows.
        rollouts: Rollouts = Rollouts::default();
        /// SAC.
        sac: sac::Config = sac::Config::default();
    }
}

impl Algorithm for Config {
    const NAME: &str = "mopo";
    const PAPER: &str =
        "Yu et al., MOPO: model-based offline policy optimization, arXiv:2005.13239";
    const SOURCE: &str = include_str!("mopo.rs");
    const USES_MODEL: bool = true;
    type Learner = Mopo;

    fn build(&self, problem: impl Into<Problem>, key: Key) -> Result<Mopo, ConfigError> {
        self.check()?;
        let mut problem = problem.into();
        let penalised = ImagineConfig { penalty_weight: self.lambda, ..Default::default() };
        let (model, penalty) = (problem.take_model()?, self.penalty.build());
        Ok(Mopo {
            sac: self.sac.build(problem, key)?,
            imagination: Imagination::new(model, &self.rollouts, penalised, penalty)?,
            rollouts: self.rollouts.clone(),
        })
    }
}

/// SAC in a model, penalised for the uncertainty of what it imagines.
pub struct Mopo {
    rollouts: Rollouts,
    sac: sac::Sac,
    imagination: Imagination,
}

impl Learner for Mopo {
    fn rollouts(&self) -> Option<&Rollouts> {
        Some(&self.rollouts)
    }

    // ANCHOR: imagine
    /// (2)  h steps of π from states of the dataset, rewarded by r̃ = r̂ − λ·u
    fn imagine(&mut self, dataset: &dyn Source, key: Key, sink: &mut dyn Sink) -> RolloutSummary {
        self.imagination.roll(&mut self.sac, dataset, key, sink)
    }
    // ANCHOR_END: imagine

    // ANCHOR: update
    /// (3)
    fn update(&mut self, batch: Batch<'_>, key: Key) -> Metrics {
        self.sac.update(batch, key)
    }
    // ANCHOR_END: update
}

acts_as!(Mopo: sac);

// The model is not part of it: it never changes.
state!(Mopo: sac);
