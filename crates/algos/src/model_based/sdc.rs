//! SDC, state deviation correction (Zhang et al., *State deviation correction for offline reinforcement learning*, AAAI
//! 2022): [`cql`] whose policy, in a slightly perturbed state, must lead to the dataset's next states. Read that file
//! first; here is what differs.
//!
//! | equation | code |
//! |---|---|
//! | (1) U(s′∣s), a VAE of transitions: E[ MSE(Δ̂, Δ) ] + ½ KL, before all else | [`TransitionVae`] |
//! | (2) ŝ = s + β·ε, ε ~ N(0, 1) | `perturbed` |
//! | (3) x_k = μ_e(ŝ,a_k) + σ_e(ŝ,a_k)·ε_k, a_k ~ π(·∣ŝ), e an elite of the model, k = 1 … m; v_k ~ U(·∣s) | [`Sdc::deviation`], in `deviation` |
//! | (4) d(s) = MMD(x, v) | [`mmd`](crate::blocks::mmd) |
//! | (5) L_π(φ) = E[ α_H ln π(ã∣s) − min_j Q_j(s,ã) ] + α E[ d(s) ] | [`Sdc::actor_step`] |
//! | (6) ln α ↑ α (E[ d(s) ] − η), held in [−5, 10] | [`Sdc::actor_step`] |
//! | (7) η = a quantile of d(s) where the dataset's own action a is in the place of a_k | [`Sdc::calibrate`], in `deviation` |
//!
//! Update order: in the first [`Config::warm_up`] updates a step of (1), and then one of CQL as it is. From then on U
//! rests: (2)–(4), (7) for a while, the temperature α_H, (5), (6) with the distance that (5) saw, CQL's critics, the
//! targets.
//!
//! **What is from the paper and what is not.** No code is public. From descriptions of the paper: two models fitted
//! once, a dynamics model that is never rolled out and a CVAE of transitions; the distance of *distributions* of next
//! states as a constraint; its multiplier by dual ascent; CQL as the critic. Ours, for want of a source, and
//! unverified: every number, and with it β, m, the kernel and its width, the multiplier's logarithm, bounds and rate
//! (BEAR's), the loss and sizes of U, and (7).
//!
//! (4) is BEAR's: biased, 10⁻⁶ under the root. The width is the median of the dataset's own: σ is the median of ‖s′_i −
//! s′_j‖² (or of ‖·‖₁) over pairs of rows held out from the model's fit, so that a median pair has k = e^(−½). Where
//! nobody looked at any row, states count as standardised. Next states of one state are far closer than that; the
//! kernel is then nearly quadratic and (4) compares means first and spreads after. That is why η cannot be a number for
//! all tasks: (7) asks what distance the dataset itself has, by the same models, and averages the batches' quantiles
//! over [`Config::calibration`] updates.
//!
//! The k-th sample of every state in a batch comes from one elite, drawn anew in each update: one pass through one
//! member for each k. Gradients go through x alone, by its mean and its deviation.
//!
//! **Through the model**: as in [`scas`](crate::scas). The model's parameters are in a store of their own, frozen. (3)
//! and (4) are evaluated on the model's tape, where actions are inputs; the slope of the mean of d in them comes back
//! as numbers, and [`with_slope`] puts it under the same actions on the actor's tape.

use crate::{
    blocks::{
        mmd::{Kernel, median_width},
        perturbed::{rows_of, with_slope},
        temperature::{LN_MULTIPLIER_BOUNDS, Multiplier},
    },
    cql,
    cql::{Cql, Plain},
    model_based::frozen_model::FrozenModel,
};
use backcast_core::{
    Algorithm, Batch, COUNT, Column, ConfigError, Key, Learner, Metrics, NON_NEGATIVE, POSITIVE,
    Problem, Real, SHARE, Slot, Spec, State, Transitions, acts_as, hyperparameters, under,
};
use backcast_dynamics::{TransitionVae, TransitionVaeConfig};
use backcast_nn::{Parameterised, Store};
use deviation::Work;

mod deviation;

hyperparameters! {
    /// One field per symbol. Every number is a proposal of ours.
    pub struct Config {
        /// Deviation β of the perturbation, in units of what the policy sees: with `standardise` on, in deviations of the dataset.
        beta: Real = 1e-2, NON_NEGATIVE;
        /// k.
        kernel: Kernel = Kernel::Gaussian;
        /// Width σ of the kernel; none is the median of the dataset's.
        width: Option<Real> = None, POSITIVE;
        /// Next states m of each distribution that are compared in a state.
        mmd_samples: usize = 5, COUNT;
        /// Threshold η of the distance; none calibrates itself, by (7).
        threshold: Option<Real> = None, NON_NEGATIVE;
        /// The quantile in (7): the share of states in which the dataset's own action would do.
        quantile: Real = 0.7, SHARE;
        /// Updates after the warm-up over which (7) is averaged.
        calibration: u64 = 1000, COUNT;
        /// Multiplier α at the start.
        alpha: Real = 1.0, POSITIVE;
        /// Learning rate of ln α.
        alpha_lr: Real = 1e-3, NON_NEGATIVE;
        /// Updates in which U is fitted, on the batches of CQL.
        warm_up: u64 = 20_000;
        /// U.
        transition: TransitionVaeConfig = TransitionVaeConfig::default();
        /// CQL. Its own defaults, but that there is no warm start unless it asks for one.
        cql: cql::Config = cql::Config::default();
    }
}

impl Algorithm for Config {
    const NAME: &str = "sdc";
    const PAPER: &str =
        "Zhang et al., State deviation correction for offline reinforcement learning, AAAI 2022";
    const SOURCE: &str = include_str!("sdc.rs");
    const USES_MODEL: bool = true;
    type Learner = Sdc;

    fn build(&self, problem: impl Into<Problem>, key: Key) -> Result<Sdc, ConfigError> {
        self.check()?;
        let mut problem = problem.into();
        let spec = problem.spec;
        let model = FrozenModel::new(problem.take_model()?)?;
        let mut seen = problem.dataset.holdout.unwrap_or_else(|| Transitions::new(spec));
        for states in [Column::Obs, Column::NextObs] {
            model.scaler.to_learner(seen.values_mut(states));
        }
        let config = self.transition.clone();
        let mut transition = TransitionVae::new(config, spec, key.name("transition"))?;
        transition.set_scale(&seen);
        Ok(Sdc {
            config: self.clone(),
            cql: self.cql.build_base(spec, key)?,
            transition,
            correction: Multiplier::new("ln_alpha", self.alpha, self.alpha_lr),
            model,
            width: self.width.unwrap_or_else(|| median_width(&seen, self.kernel)),
            eta: self.threshold.unwrap_or(0.0),
            work: Work::default(),
        })
    }
}

/// CQL whose policy leads back to the dataset.
pub struct Sdc {
    config: Config,
    cql: Cql,
    transition: TransitionVae,
    /// α.
    correction: Multiplier,
    model: FrozenModel,
    /// σ.
    width: Real,
    /// η.
    eta: Real,
    work: Work,
}

impl Sdc {
    // ANCHOR: actor_step
    /// (5)  L_π(φ) = E[ α_H ln π(ã∣s) − min_j Q_j(s,ã) ] + α E[ d(s) ]
    /// (6)  ln α ↑ α (E[ d(s) ] − η)
    fn actor_step(&mut self, batch: Batch<'_>, key: Key) -> ((Real, Real), Real) {
        let actions = std::mem::take(&mut self.work.actions);
        let deviation = self.deviation(&actions);
        self.work.actions = actions;
        let alpha = self.correction.log().exp();
        let Spec { obs, act, .. } = batch.spec;
        let Work { perturbed_states, epsilon, .. } = &self.work;
        let slope = &self.model.slope;
        let stepped = self.cql.actor_step(batch, None, key, |actor, pi| {
            let tape = pi.base.mean.tape();
            let s = tape.input(rows_of(perturbed_states, obs));
            let a = actor.by_noise(s, tape.input(rows_of(epsilon, act)));
            Some(with_slope(a, slope, deviation) * alpha)
        });
        self.correction.ascend(deviation - self.eta, LN_MULTIPLIER_BOUNDS);
        (stepped, deviation)
    }
    // ANCHOR_END: actor_step
}

impl Learner for Sdc {
    // ANCHOR: update
    fn update(&mut self, batch: Batch<'_>, key: Key) -> Metrics {
        if self.cql.updates < self.config.warm_up {
            let transition_loss = self.transition_step(batch, key.name("transition"));
            return *self.cql.update(batch, key).put("transition_loss", transition_loss);
        }
        if self.cql.is_cloning() {
            return self.cql.update(batch, key);
        }
        self.cql.set_rates();
        self.draw(batch, key.name("deviation"));
        self.calibrate(batch);
        let (actor, deviation) = self.actor_step(batch, key.name("actor"));
        let critics = self.cql.critic_step(batch, key.name("critic"), &mut Plain);
        let mut metrics = self.cql.finish_update(actor, critics);
        metrics.put("mmd", deviation).put("ln_correction", self.correction.log());
        *metrics.put("threshold", self.eta)
    }
    // ANCHOR_END: update
}

acts_as!(Sdc: cql);

/// The model is not part of it: it never changes.
impl State for Sdc {
    fn visit(&mut self, f: &mut dyn FnMut(&str, Slot<'_>)) {
        self.cql.visit(f);
        under("transition", &mut self.transition, f);
        under("correction", &mut self.correction, f);
        f("threshold", Slot::Tensor(&[1, 1, 1], std::slice::from_mut(&mut self.eta)));
    }
}

impl Parameterised for Sdc {
    fn store_mut(&mut self) -> &mut Store {
        self.cql.store_mut()
    }
}

#[cfg(test)]
mod tests;
