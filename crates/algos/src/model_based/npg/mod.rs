//! NPG, the natural policy gradient (Kakade, NIPS 2001) as in Rajeswaran, Lowrey, Todorov & Kakade (NeurIPS 2017,
//! arXiv:1703.02660), on whole trajectories in the pessimistic MDP of [`morel`](crate::morel): what the authors of
//! MOReL (Kidambi et al., NeurIPS 2020, arXiv:2005.05951) optimise with.
//!
//! | equation | code |
//! |---|---|
//! | (0) L(φ) = E[ ‖μ_φ(s) − a‖² ] on rows of the dataset, at first | [`Npg::cloning_step`] |
//! | (1) paths of π_φ: a = limit·clip(u), u ~ N(μ_φ(s), σ²), in the p-MDP of every member, from first states of the dataset | [`Npg::imagine`](Learner::imagine), `pmdp` |
//! | (2) A by GAE(λ) from the value V; A ← (A − mean)/deviation | `Paths::estimate`, `Paths::normalise` |
//! | (3) g = ∇_φ E[ A·ln π_φ(u∣s) ] | [`Npg::policy_gradient`], in `natural` |
//! | (4) F·v = E[ Jᵀ·σ⁻²·(J·v) ] + damping·v for μ, J = ∂μ/∂φ, and (2 + damping)·v for ln σ | [`Npg::fisher_product`], `Actor::tangent` |
//! | (5) F·x = g by [`ConjugateGradients`]; φ ← φ + α·x, α = √(δ/gᵀx); ln σ ← max(ln σ, least) | [`Npg::natural_step`], in `natural` |
//! | (6) L(ψ) = E[ (V_ψ(s) − (A + V(s)))² ] | [`Npg::value_step`], in `value` |
//!
//! **How it fits algorithms that learn from batches.** It is on-policy: one *iteration* is (1) to (6).
//! [`Learner::imagine`] is (1), and the next [`Learner::update`] is (2) to (6) on those paths; it uses no row of its
//! batch. The first [`Config::warm_start`] updates are (0) on the batch's real rows. So whoever trains it need not know
//! of this, and a run of `warm_start` + 500 updates is the authors' 500 iterations. An update after the warm start for
//! which nothing was imagined does nothing.
//!
//! F is the Gauss–Newton form of the second derivative of KL(π_old ∥ π), and equal to it at π_old: for a Gaussian whose
//! σ does not depend on the state there is no other term. J·v goes forwards through the net beside μ, Jᵀ backwards
//! once: two thirds of the work of differentiating KL twice, with no cancellation, and never indefinite.
//!
//! Defaults are those of most of the authors' configurations; theirs for hopper-medium has 20 iterations of conjugate
//! gradients, not 25. As in their code (`mjrl`): tanh policy, σ apart from the state, last layer near zero at first,
//! step normalised by δ, whole paths for each member. Not from it: V sees the state alone, not the time, so its targets
//! are λ-returns that bootstrap where a path is truncated (theirs stop there, and the value after the last step is that
//! of the last state); the net says (1 − γ)·V, which has the size of a reward; members are probabilistic, and their
//! means are taken ([`Config::sampling`]); HALT is absorbing ([`Config::absorbing`]); nothing picks a policy by its
//! return in the environment. Actions are in units of their limit.

use crate::{blocks::conjugate_gradients::ConjugateGradients, model_based::morel::visit_halt};
use actor::Actor;
use backcast_core::{
    Batch, Column, Key, Learner, Metrics, Real, RolloutSummary, Rollouts, Sink, Slot, Source,
    State, under,
};
use backcast_imagination::Halt;
use backcast_nn::{Adam, Mlp, Parameterised, Store};
use ndarray::{Axis, Slice};
use paths::Paths;
use pmdp::RolloutState;

mod actor;
mod config;
mod natural;
mod paths;
mod pmdp;
mod value;

pub use config::{Config, Members};

/// A policy that climbs its return in the pessimistic MDP.
pub struct Npg {
    config: Config,
    store: Store,
    actor: Actor,
    value: Mlp,
    actor_adam: Adam,
    value_adam: Adam,
    /// Updates of cloning done.
    cloned: u64,
    /// While it clones, and after.
    rollouts: [Rollouts; 2],
    rollout_state: RolloutState,
    paths: Paths,
    scratch: Scratch,
}

/// Numbers that an iteration works with; they grow to the size of the largest.
#[derive(Default)]
struct Scratch {
    /// V(s) and V(s′) of each row.
    value: Vec<Real>,
    next_value: Vec<Real>,
    /// μ of each row before the step.
    mean: Vec<Real>,
    /// The rows in the order in which V learns from them.
    order: Vec<usize>,
    /// g.
    gradient: Vec<Real>,
    /// F·x = g.
    solver: ConjugateGradients,
    /// φ before the step.
    old: Vec<Real>,
}

impl Npg {
    /// τ, and what HALT is worth.
    pub fn halt(&self) -> Halt {
        self.rollout_state.halt
    }

    /// Whether cloning is over.
    fn is_warm(&self) -> bool {
        self.cloned >= self.config.warm_start
    }

    // ANCHOR: cloning_step
    /// (0)  L(φ) = E[ ‖μ_φ(s) − a‖² ]
    fn cloning_step(&mut self, batch: Batch<'_>) -> Real {
        let Actor { net, limit, .. } = self.actor;
        let real = Slice::from(..batch.real);
        self.actor_adam.minimise(&mut self.store, |tape| {
            let s = tape.input(batch.obs.slice_axis(Axis(0), real));
            let a = tape.input(batch.act.slice_axis(Axis(0), real));
            (net.forward(s) - a * limit.recip()).square().mean()
        })
    }
    // ANCHOR_END: cloning_step

    // ANCHOR: iteration
    /// (2) to (6) on the paths imagined last.
    fn iteration(&mut self, key: Key) -> Metrics {
        self.evaluate();
        let Self { paths, scratch: Scratch { value, next_value, .. }, config, .. } = self;
        paths.estimate(value, next_value, config.gamma, config.lambda);
        paths.normalise();
        self.policy_gradient();
        let [step, kl] = self.natural_step();
        let value_loss = self.value_step(key);
        // ANCHOR_END: iteration
        let chains = self.paths.chains() as Real;
        let total: f64 = self.paths.rows.values(Column::Reward).iter().map(|&r| r as f64).sum();
        let log_std = &self.store.params()[self.actor.log_std..self.actor.range().end];
        [
            ("path_return", total as Real / chains),
            ("path_length", self.paths.chain.len() as Real / chains),
            ("paths_halted", self.paths.truncations() as Real / chains),
            ("kl", kl),
            ("step", step),
            ("value_loss", value_loss),
            ("log_std", log_std.iter().sum::<Real>() / log_std.len() as Real),
        ]
        .into()
    }
}

impl Learner for Npg {
    fn rollouts(&self) -> Option<&Rollouts> {
        Some(&self.rollouts[self.is_warm() as usize])
    }

    // ANCHOR: imagine
    /// (1)  Paths of π in the p-MDP of every member. While it clones, one step of each.
    fn imagine(&mut self, dataset: &dyn Source, key: Key, sink: &mut dyn Sink) -> RolloutSummary {
        let horizon = self.rollouts[self.is_warm() as usize].horizon;
        let Self { store, actor, rollout_state, paths, .. } = self;
        rollout_state.imaginer.config.horizon = horizon;
        rollout_state.imagine(actor, store, dataset, paths, key, sink)
    }
    // ANCHOR_END: imagine

    fn update(&mut self, batch: Batch<'_>, key: Key) -> Metrics {
        let mut metrics = Metrics::default();
        if !self.is_warm() {
            self.cloned += 1;
            if batch.real > 0 {
                metrics.put("cloning_loss", self.cloning_step(batch));
            }
        } else if !self.paths.chain.is_empty() {
            metrics = self.iteration(key.name("value"));
        }
        self.paths.clear();
        metrics
    }
}

/// The model is not part of it, which never changes; nor are paths, which the update after them forgets.
impl State for Npg {
    fn visit(&mut self, f: &mut dyn FnMut(&str, Slot<'_>)) {
        self.store.visit(f);
        under("actor_adam", &mut self.actor_adam, f);
        under("value_adam", &mut self.value_adam, f);
        f("cloned", Slot::Count(&mut self.cloned));
        let RolloutState { imaginer, halt, .. } = &mut self.rollout_state;
        visit_halt(halt, f);
        if let (true, Some(halting)) = (self.config.absorbing, &mut imaginer.config.halt) {
            *halting = *halt;
        }
    }
}

impl Parameterised for Npg {
    fn store_mut(&mut self) -> &mut Store {
        &mut self.store
    }
}

#[cfg(test)]
mod tests;
