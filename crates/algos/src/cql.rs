//! CQL, conservative Q-learning (Kumar, Zhou, Tucker & Levine, *Conservative Q-learning for offline reinforcement learning*,
//! NeurIPS 2020, arXiv:2006.04779): [`sac`](crate::sac) whose critics are pushed down where the dataset has no actions. Read that
//! file first; here is what differs.
//!
//! | equation | code |
//! |---|---|
//! | (1) L_π(φ) = E[ α ln π(ã∣s) − min_j Q_j(s,ã) ], at first E[ α ln π(ã∣s) − ln π(a∣s) ] | [`Cql::actor_step`] |
//! | (2) y = r + γ(1−d) min_j Q′_j(s′,a′), a′ ~ π(·∣s′) | [`Cql::critic_step`], [`next_value`] |
//! | (3) LSE_j(s) = ln Σ_k [ exp(Q_j(s,a_k) − ln p(a_k)) ], k = 1 … 3n, a third each from p = uniform, π(·∣s), π(·∣s′) | [`candidates`](crate::blocks::conservative::candidates), [`soft_maximum`](crate::blocks::conservative::soft_maximum) |
//! | (4) L_Q(θ) = Σ_j E[ (Q_j(s,a) − y)² ] + α′(w·gap_j − τ_L), gap_j = E[ LSE_j(s) ] − E[ Q_j(s,a) ] | [`Cql::critic_step`] |
//! | (5) L_α′ = −(1/N) α′ Σ_j (w·gap_j − τ_L), N critics; without a threshold α′ = 1, τ_L = 0 | [`Cql::critic_step`] |
//!
//! Update order: the temperature as in SAC, (1) with it, (2)–(4) with the new π and the old α′, (5), then the targets by
//! Polyak. The authors' code takes the gradients of actor and critics at the same parameters, then steps both; ROMI's copy of
//! it steps the actor first, as here.
//!
//! (3) is the paper's CQL(H), eq. 4, its integral over actions by importance sampling (appendix F); as in the authors' code
//! it is a sum, not a mean, so that a gap holds a constant ln 3n, and densities are of a/limit. In that code a candidate
//! a_k ~ π(·∣s′) is weighed by its density at s′ and valued at s, as here. Neither candidates nor densities carry a gradient.
//!
//! Not from the authors' code: initial weights (theirs are smaller in the last layer); `layer_norm` and `decay`, both off. In its
//! cloning that code holds μ in ±9 and atanh 10⁻⁶ inside the box, which changes no digit, and clones for 39,999 updates where
//! ours does for 40,000. Replayed updates of ROMI's copy of it agree to five digits (`tests/authors.rs`).
//!
//! Those who build on it give another [`Objective`], or add to its actor's loss.

mod config;
mod objective;

pub use config::Config;
pub(crate) use objective::{Objective, Plain};

use crate::blocks::{
    actor::{Actor, NARROW_LOG_STD_BOUNDS, target_entropy},
    actor_critic::{ActorCritic, Sizes},
    temperature::Multiplier,
    transition::Transition,
    value::{Backup, next_value},
};
use backcast_core::{
    Algorithm, Batch, ConfigError, Key, Learner, Metrics, Problem, Real, Spec, acts_as,
};
use backcast_nn::{TanhGaussian, Var, state};
use ndarray::ArrayView2;
use std::ops::Range;

/// The authors' number of updates in which the actor only clones.
pub const WARM_START: u64 = 40_000;

impl Algorithm for Config {
    const NAME: &str = "cql";
    const PAPER: &str = "Kumar, Zhou, Tucker & Levine, Conservative Q-learning for offline reinforcement learning, \
                         arXiv:2006.04779";
    const SOURCE: &str = include_str!("cql.rs");
    type Learner = Cql;

    fn build(&self, problem: impl Into<Problem>, key: Key) -> Result<Cql, ConfigError> {
        let warm_start = self.warm_start.or(Some(WARM_START));
        Self { warm_start, ..self.clone() }.build_base(problem.into().spec, key)
    }
}

impl Config {
    /// The agent for those who build on it: without a warm start, unless one is asked for.
    pub(crate) fn build_base(&self, spec: Spec, key: Key) -> Result<Cql, ConfigError> {
        self.check()?;
        let sizes = Sizes {
            hidden: &self.hidden,
            critics: self.critics,
            layer_norm: self.layer_norm,
            log_std_bounds: self.log_std_bounds.unwrap_or(NARROW_LOG_STD_BOUNDS),
            precision: self.precision,
        };
        let core = ActorCritic::new(spec, sizes, key, |_, _, _| {});
        let core = core.with_temperature(self.alpha, self.alpha_lr);
        let gap = self.target_action_gap;
        let multiplier = gap.map(|_| Multiplier::new("ln_alpha", 1.0, self.critic_lr));
        Ok(Cql { config: self.clone(), core, multiplier, updates: 0 })
    }
}

/// SAC with a penalty on the values of actions that the dataset does not have.
pub struct Cql {
    config: Config,
    pub(crate) core: ActorCritic,
    multiplier: Option<Multiplier>,
    pub(crate) updates: u64,
}

impl Cql {
    // ANCHOR: actor_step
    /// (1)  L_π(φ) = E[ α ln π(ã∣s) − min_j Q_j(s,ã) ], at first E[ α ln π(ã∣s) − ln π(a∣s) ];   the temperature as in SAC (2)
    ///
    /// At the batch's states or `others`, `[rows, obs]`; `more` adds to (1), given the actor and the policy in those states.
    pub(crate) fn actor_step(
        &mut self,
        batch: Batch<'_>,
        others: Option<ArrayView2<'_, Real>>,
        key: Key,
        more: impl for<'t> FnOnce(Actor, TanhGaussian<'t>) -> Option<Var<'t>>,
    ) -> (Real, Real) {
        let cloning = self.is_cloning();
        let ActorCritic { spec, store, nets, temperature, actor_adam, .. } = &mut self.core;
        let entropy = target_entropy(self.config.target_entropy, *spec);
        actor_adam.minimise_with(store, |tape| {
            let (s, a) = (tape.input(others.unwrap_or(batch.obs)), tape.input(batch.act));
            let pi = nets.actor.at(s);
            let (sampled, log_pi) = pi.sample(key);
            let (alpha, entropy) = temperature.update_temperature(log_pi, entropy);
            let gain = match cloning {
                true => pi.log_prob(a * (1.0 / spec.act_limit)),
                false => nets.critic.forward(s.cat(sampled * spec.act_limit)).min_members(),
            };
            let loss = (alpha * log_pi - gain).mean();
            (more(nets.actor, pi).map_or(loss, |more| loss + more), entropy)
        })
    }
    // ANCHOR_END: actor_step

    /// Whether the actor only clones for now.
    pub(crate) fn is_cloning(&self) -> bool {
        self.updates < self.config.warm_start.unwrap_or(0)
    }

    // ANCHOR: critic_step
    /// (2)  y = r + γ(1−d) min_j Q′_j(s′,a′),   a′ ~ π(·∣s′)
    /// (4)  L_Q(θ) = Σ_j E[ (Q_j(s,a) − y)² ] + α′(w·gap_j − τ_L),   gap_j = E_ρ[ LSE_j(s) ] − E_data[ Q_j(s,a) ]
    pub(crate) fn critic_step(
        &mut self,
        batch: Batch<'_>,
        key: Key,
        objective: &mut impl Objective,
    ) -> Metrics {
        let config = &self.config;
        let ActorCritic { spec, store, nets, temperature, critic_adam, .. } = &mut self.core;
        let ln_alpha = config.entropy_backup.then_some(temperature.log());
        let (n, limit) = (config.n_action_samples.max(1), spec.act_limit);
        let backup = Backup { best_of: config.max_backup.then_some(n), ln_alpha };
        let weight = config.cql_alpha * multiplier(&self.multiplier);
        let rho = if config.n_action_samples == 0 { 0..0 } else { objective.rho(batch) };
        let pushed_up = if config.n_action_samples == 0 { 0 } else { batch.real };
        let (all, data) = (0..batch.len(), 0..pushed_up);
        let [loss, gap, q, target] = critic_adam.descend(store, |down| {
            let [y, tried, log_p] = down.keep(|tape| {
                let Transition { a, s, r, s2, alive } = Transition::on(tape, batch);
                let pi = [s, s2].map(|s| nets.actor.at(s));
                let target = key.name("target");
                let value = next_value(backup, nets.critic_target, s2, pi[1], limit, target);
                let pi = pi.map(|pi| pi.among(&rho));
                let (others, log_p) = objective.actions(pi, n, key.name("candidates"));
                [r + alive * value * config.gamma, a.among(&rho).cat(others * limit), log_p]
            });
            let objective_of = &*objective;
            let tries = |rows: &Range<usize>| match rho.contains(&rows.start) {
                true => 1 + log_p.cols(),
                false => 1,
            };
            let others = data.end..all.end;
            let kinds = [(&data, tries(&data)), (&others, tries(&others))];
            let [_, gap, q] = down.over(kinds, |rows| {
                let (s, y) = (rows.of(batch.obs), rows.of(y));
                let (q, high) = if rows.is_in(&rho) {
                    let q = nets.critic.values(s, rows.among(&rho, tried));
                    let log_p = rows.among(&rho, log_p);
                    let high = objective_of.lowered(q.cols_from(1), log_p, config.three_way);
                    (q.cols(0, 1), rows.mean(&rho, high))
                } else {
                    (nets.critic.forward(s.cat(rows.of(batch.act))), rows.nothing())
                };
                let gap = high - rows.mean(&data, q);
                let error = rows.mean(&all, (q - y).square());
                [error + gap * weight, gap, rows.mean(&all, q)]
            });
            objective.more(down, nets.critic);
            [down.loss(), gap, q, down.mean(y)]
        });
        let owed = if rho.is_empty() { 0.0 } else { self.multiplier_step(gap) };
        let each = (self.config.critics as Real).recip();
        [("critic_loss", loss - owed), ("q", q * each), ("gap", gap * each), ("target", target)]
            .into()
    }

    /// (5)  L_α′ = −(1/N) α′ Σ_j (w·gap_j − τ_L);   returns α′·N·τ_L, what (4) is less by a constant
    fn multiplier_step(&mut self, gap: Real) -> Real {
        let critics = self.config.critics as Real;
        let threshold = critics * self.config.target_action_gap.unwrap_or(0.0);
        let (excess, before) =
            (gap * self.config.cql_alpha - threshold, multiplier(&self.multiplier));
        if let Some(multiplier) = &mut self.multiplier {
            multiplier.minimise(|ln| ln.exp().clamp(0.0, MOST) * (-excess / critics));
        }
        before * threshold
    }
    // ANCHOR_END: critic_step

    /// The learning rates of this update.
    pub(crate) fn set_rates(&mut self) {
        let &Config { actor_lr, critic_lr, lr_decay_steps, .. } = &self.config;
        self.core.set_rates(actor_lr, critic_lr, lr_decay_steps);
    }

    // ANCHOR: finish_update
    /// The end of an update: the targets by Polyak, and what there is to report.
    pub(crate) fn finish_update(&mut self, actor: (Real, Real), critics: Metrics) -> Metrics {
        self.core.update_targets(self.config.tau);
        self.updates += 1;
        let mut metrics = Metrics::from([("actor_loss", actor.0)]);
        critics.iter().for_each(|(name, x)| _ = metrics.put(name, x));
        metrics.put("entropy", actor.1).put("ln_alpha", self.core.temperature.log());
        if let Some(multiplier) = &self.multiplier {
            metrics.put("ln_multiplier", multiplier.log());
        }
        metrics
    }
    // ANCHOR_END: finish_update

    /// One update with another objective of the critics.
    pub(crate) fn update_by(
        &mut self,
        batch: Batch<'_>,
        key: Key,
        objective: &mut impl Objective,
    ) -> Metrics {
        self.set_rates();
        let actor = self.actor_step(batch, None, key.name("actor"), |_, _| None);
        let critics = self.critic_step(batch, key.name("critic"), objective);
        self.finish_update(actor, critics)
    }
}

/// The bound of α′, as in the authors' code.
const MOST: Real = 1e6;

/// α′, 1 where it is not learnt.
fn multiplier(learnt: &Option<Multiplier>) -> Real {
    learnt.as_ref().map_or(1.0, |multiplier| multiplier.log().exp().min(MOST))
}

impl Learner for Cql {
    // ANCHOR: update
    fn update(&mut self, batch: Batch<'_>, key: Key) -> Metrics {
        self.update_by(batch, key, &mut Plain)
    }
    // ANCHOR_END: update
}

acts_as!(Cql: core);
state!(Cql: core, multiplier, updates);

#[cfg(test)]
mod tests;
