//! SDC, state deviation correction (Zhang et al., *State deviation correction for offline reinforcement learning*, AAAI 2022): [`cql`]
//! whose policy, in a state a little beside the log, must lead to where the log goes on. Read that file first; here is what differs.
//!
//! | equation | code |
//! |---|---|
//! | (1) U(s′∣s), a VAE of transitions: E[ MSE(Δ̂, Δ) ] + ½ KL, before all else | [`TransitionVae`] |
//! | (2) ŝ = s + β·ε, ε ~ N(0, 1) | `perturbed` |
//! | (3) x_k = μ_e(ŝ,a_k) + σ_e(ŝ,a_k)·ε_k, a_k ~ π(·∣ŝ), e an elite of the model, k = 1 … m; v_k ~ U(·∣s) | [`Sdc::deviation`] |
//! | (4) d(s) = MMD(x, v) | [`mmd`](crate::bear) |
//! | (5) L_π(φ) = E[ α_H ln π(ã∣s) − min_j Q_j(s,ã) ] + α E[ d(s) ] | [`Sdc::actor_step`] |
//! | (6) ln α ↑ α (E[ d(s) ] − η), held in [−5, 10] | [`Sdc::actor_step`] |
//! | (7) η = a quantile of d(s) where the log's own action a is in the place of a_k | [`Sdc::calibrate`] |
//!
//! Update order: in the first [`Config::warm_up`] updates a step of (1), and then one of CQL as it is. From then on U rests: (2)–(4),
//! (7) for a while, the temperature α_H, (5), (6) with the distance that (5) saw, CQL's critics, the targets.
//!
//! **What is from the paper and what is not.** No code is public. From descriptions of the paper: two models fitted once, a dynamics
//! model that is never rolled out and a CVAE of transitions; the distance of *distributions* of next states as a constraint; its
//! multiplier by dual ascent; CQL as the critic. Ours, for want of a source, and unverified: every number, and with it β, m, the
//! kernel and its width, the multiplier's logarithm, bounds and rate (BEAR's), the loss and sizes of U, and (7).
//!
//! (4) is BEAR's: biased, 10⁻⁶ under the root. The width is the median of the log's own: σ is the median of ‖s′_i − s′_j‖² (or
//! of ‖·‖₁) over pairs of rows held out from the model's fit, so that a median pair has k = e^(−½). Where nobody looked at any row, states
//! count as standardised. Next states of one state are far closer than that; the kernel is then nearly quadratic and (4) compares means first
//! and spreads after. That is why η cannot be a number for all tasks: (7) asks what distance the log itself has, by the same
//! models, and averages the batches' quantiles over [`Config::calibration`] updates.
//!
//! The k-th sample of every state in a batch comes from one elite, drawn anew in each update: one pass through one member for each
//! k. Gradients go through x alone, by its mean and its deviation.
//!
//! **Through the model**: as in [`scas`](crate::scas). The model's parameters are in a store of their own, frozen. (3) and (4) are evaluated on the
//! model's tape, where actions are inputs; the slope of the mean of d in them comes back as numbers, and [`with_slope`] puts it under the
//! same actions on the actor's tape.

use crate::{
    blocks::{
        mmd::{Kernel, mmd},
        perturbed::{perturbed, rows_of, with_slope},
        temperature::Multiplier,
    },
    cql,
    cql::{Cql, Plain},
    model_based::imagination::{ensemble, seen_by_learner, seen_by_model},
};
use backcast_core::{
    Algorithm, Batch, COUNT, Column, ConfigError, Dynamics, Key, Learner, Metrics, NON_NEGATIVE,
    ObsScaler, POSITIVE, Problem, Real, SHARE, Slot, Spec, State, Transitions, WorldModel, acts_as,
    hyperparameters, under,
};
use backcast_dynamics::{TransitionVae, TransitionVaeConfig};
use backcast_nn::{Parameterised, Shape, Store, TanhGaussian, Var};

hyperparameters! {
    /// One field per symbol. Every number is a proposal of ours.
    pub struct Config {
        /// Deviation β of the perturbation, in units of what the learner sees: with `standardise` on, in deviations of the log.
        beta: Real = 1e-2, NON_NEGATIVE;
        /// k.
        kernel: Kernel = Kernel::Gaussian;
        /// Width σ of the kernel; none is the median of the log's.
        width: Option<Real> = None, POSITIVE;
        /// Next states m of each distribution that are compared in a state.
        mmd_samples: usize = 5, COUNT;
        /// Threshold η of the distance; none calibrates itself, by (7).
        threshold: Option<Real> = None, NON_NEGATIVE;
        /// The quantile in (7): the share of states in which the log's own action would do.
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
        /// The learner. Its own defaults, but that there is no warm start unless it asks for one.
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
        let (spec, WorldModel { mut dynamics, scaler, .. }) = (problem.spec, problem.take_model()?);
        ensemble(&mut *dynamics)?;
        let mut seen = problem.dataset.holdout.unwrap_or_else(|| Transitions::new(spec));
        for states in [Column::Obs, Column::NextObs] {
            scaler.to_learner(seen.values_mut(states));
        }
        let config = self.transition.clone();
        let mut transition = TransitionVae::new(config, spec, key.name("transition"))?;
        transition.set_scale(&seen);
        Ok(Sdc {
            config: self.clone(),
            spec,
            cql: self.cql.build_base(spec, key)?,
            transition,
            correction: Multiplier::new("ln_alpha", self.alpha, self.alpha_lr),
            dynamics,
            scaler,
            width: self.width.unwrap_or_else(|| median_width(&seen, self.kernel)),
            eta: self.threshold.unwrap_or(0.0),
            work: Work::default(),
        })
    }
}

/// Bounds of ln α, those of BEAR.
const LN_ALPHA: (Real, Real) = (-5.0, 10.0);

/// Rows at most that the median is taken of.
const PAIRED: usize = 2000;

// ANCHOR: width
/// The median of ‖s′_i − s′_j‖², or of ‖s′_i − s′_j‖₁, over pairs of `rows` half of them apart; of standardised states, where there are none.
fn median_width(rows: &Transitions, kernel: Kernel) -> Real {
    let (n, dims) = (rows.len().min(PAIRED), rows.spec().obs as Real);
    let apart = |i: usize| {
        let (x, y) = (rows.row(Column::NextObs, i), rows.row(Column::NextObs, (i + n / 2) % n));
        let difference = x.iter().zip(y).map(|(x, y)| x - y);
        match kernel {
            Kernel::Laplacian => difference.map(Real::abs).sum::<Real>(),
            Kernel::Gaussian => difference.map(|d| d * d).sum(),
        }
    };
    let mut all: Vec<Real> = (0..n).map(apart).filter(|&d| d > 0.0 && d.is_finite()).collect();
    all.sort_unstable_by(Real::total_cmp);
    all.get(all.len() / 2).copied().unwrap_or(match kernel {
        Kernel::Laplacian => dims * std::f64::consts::FRAC_2_SQRT_PI as Real,
        Kernel::Gaussian => dims * 2.0,
    })
}
// ANCHOR_END: width

/// CQL whose policy leads back to the dataset.
pub struct Sdc {
    config: Config,
    spec: Spec,
    cql: Cql,
    transition: TransitionVae,
    /// α.
    correction: Multiplier,
    dynamics: Box<dyn Dynamics>,
    scaler: ObsScaler,
    /// σ.
    width: Real,
    /// η.
    eta: Real,
    work: Work,
}

/// What goes to the model's tape and what comes from it. It grows once.
#[derive(Default)]
struct Work {
    /// ŝ, `[rows, obs]`.
    beside: Vec<Real>,
    /// Normal numbers behind a_k, `[rows, m, act]`, x_k, `[rows, m, obs]`, and v_k, `[rows, m, latent]`.
    epsilon: Vec<Real>,
    noise: Vec<Real>,
    latent: Vec<Real>,
    /// Numbers in [0, 1), `[m]`: which elite.
    chance: Vec<Real>,
    /// a_k, `[rows, m, act]`.
    actions: Vec<Real>,
    /// The dataset's own action m times, `[rows, m, act]`.
    recorded: Vec<Real>,
    /// v_k, `[rows, m, obs]`.
    next: Vec<Real>,
    /// ∂E[d]/∂a_k, `[rows, m, act]`.
    slope: Vec<Real>,
    /// d(s), `[rows]`.
    distances: Vec<Real>,
}

/// tanh(μ + σ·ε)·limit for `m` rows of `epsilon` for each row of π, `[1, rows·m, act]`.
fn acted<'t>(pi: TanhGaussian<'t>, epsilon: &[Real], m: usize, limit: Real) -> Var<'t> {
    let base = pi.base.repeat_rows(m);
    let epsilon = base.mean.tape().input(rows_of(epsilon, base.mean.shape().cols));
    (base.mean + base.log_std.exp() * epsilon).tanh() * limit
}

impl Sdc {
    // ANCHOR: transition_step
    /// (1)  E[ MSE(Δ̂, Δ) ] + ½ KL
    fn transition_step(&mut self, batch: Batch<'_>, key: Key) -> Real {
        let latent = &mut self.work.latent;
        let shape = Shape::new(1, batch.len(), self.transition.latent());
        self.cql.core.store.tape_without_history().normal(shape, key).copy_into(latent);
        self.transition.update_with(batch, latent)
    }
    // ANCHOR_END: transition_step

    // ANCHOR: draw
    /// (2) and what is random in (3): ŝ, a_k, the noise of x_k and its elites, and v_k
    fn draw(&mut self, batch: Batch<'_>, key: Key) {
        let (actor, m, Spec { obs, act, act_limit: limit }) =
            (self.cql.core.nets.actor, self.config.mmd_samples, self.spec);
        let Work { beside, epsilon, noise, latent, chance, actions, next, .. } = &mut self.work;
        let tape = self.cql.core.store.tape_without_history();
        let normal = |cols, key| tape.normal(Shape::new(1, batch.len() * m, cols), key);
        let s = perturbed(tape.input(batch.obs), self.config.beta, key.name("perturbation"));
        s.copy_into(beside);
        normal(act, key.name("actions")).copy_into(epsilon);
        normal(obs, key.name("states")).copy_into(noise);
        tape.uniform(Shape::new(1, 1, m), 0.0, 1.0, key.name("elites")).copy_into(chance);
        normal(self.transition.latent(), key.name("latent")).copy_into(latent);
        acted(actor.at(s), epsilon, m, limit).copy_into(actions);
        self.transition.sample_with(batch.obs, m, latent, next);
    }
    // ANCHOR_END: draw

    // ANCHOR: deviation
    /// (3)  x_k = μ_e(ŝ,a_k) + σ_e(ŝ,a_k)·ε_k against v_k ~ U(·∣s)
    /// (4)  d(s) = MMD(x, v), left in `work`, and its mean, whose slope in a_k is left there too
    fn deviation(&mut self, actions: &[Real]) -> Real {
        let (scaler, m, kernel, width) =
            (&self.scaler, self.config.mmd_samples, self.config.kernel, self.width);
        let Spec { obs, act, .. } = self.spec;
        let Work { beside, noise, chance, next, slope, distances, .. } = &mut self.work;
        ensemble(&mut *self.dynamics).expect("checked when it was built").frozen(|model| {
            let tape = model.tape();
            let s = seen_by_model(scaler, tape.input(rows_of(beside, obs)));
            // The m of a state side by side, each through an elite of its own.
            let all = tape.input(rows_of(actions, m * act)).watch();
            let noise = tape.input(rows_of(noise, m * obs));
            let sampled = chance.iter().enumerate().map(|(k, &chance)| {
                let elites = model.elites();
                let elite =
                    elites[((chance * elites.len() as Real) as usize).min(elites.len() - 1)];
                let p = model.next_state(elite, s, all.cols(k * act, act));
                seen_by_learner(scaler, p.mean + p.log_std.exp() * noise.cols(k * obs, obs))
            });
            let x = sampled.reduce(|x, y| x.cat(y)).expect("at least one sample");
            let x = x.reshape(Shape::new(1, x.shape().rows * m, obs));
            let d = mmd(x, tape.input(rows_of(next, obs)), m, kernel, width);
            d.copy_into(distances);
            let deviation = d.mean();
            tape.grad(deviation, all).copy_into(slope);
            deviation.item()
        })
    }
    // ANCHOR_END: deviation

    // ANCHOR: calibrate
    /// (7)  η ← the mean so far of the batches' quantiles of d(s), the dataset's own action in the place of a_k
    fn calibrate(&mut self, batch: Batch<'_>) {
        // Its own warm start comes first.
        let begin = self.config.warm_up.max(self.config.cql.warm_start.unwrap_or(0));
        let before = self.cql.updates - begin;
        if self.config.threshold.is_some() || before >= self.config.calibration {
            return;
        }
        let m = self.config.mmd_samples;
        let mut recorded = std::mem::take(&mut self.work.recorded);
        recorded.clear();
        for a in batch.act.rows() {
            (0..m).for_each(|_| recorded.extend(a.iter()));
        }
        self.deviation(&recorded);
        self.work.recorded = recorded;
        let distances = &mut self.work.distances;
        distances.sort_unstable_by(Real::total_cmp);
        let place = self.config.quantile * (distances.len() - 1) as Real;
        self.eta += (distances[place.round() as usize] - self.eta) / (before + 1) as Real;
    }
    // ANCHOR_END: calibrate

    // ANCHOR: actor_step
    /// (5)  L_π(φ) = E[ α_H ln π(ã∣s) − min_j Q_j(s,ã) ] + α E[ d(s) ]
    /// (6)  ln α ↑ α (E[ d(s) ] − η)
    fn actor_step(&mut self, batch: Batch<'_>, key: Key) -> ((Real, Real), Real) {
        let actions = std::mem::take(&mut self.work.actions);
        let deviation = self.deviation(&actions);
        self.work.actions = actions;
        let (m, limit, alpha) =
            (self.config.mmd_samples, self.spec.act_limit, self.correction.log().exp());
        let Work { beside, epsilon, slope, .. } = &self.work;
        let beside = rows_of(beside, self.spec.obs);
        let stepped = self.cql.actor_step(batch, None, key, |actor, pi| {
            let s = pi.base.mean.tape().input(beside);
            Some(with_slope(acted(actor.at(s), epsilon, m, limit), slope, deviation) * alpha)
        });
        let excess = deviation - self.eta;
        self.correction.minimise(|ln_alpha| ln_alpha.exp() * -excess);
        self.correction.clamp(LN_ALPHA.0, LN_ALPHA.1);
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
