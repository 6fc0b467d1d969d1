//! CQL, conservative Q-learning (Kumar, Zhou, Tucker & Levine, *Conservative Q-learning for offline reinforcement learning*,
//! NeurIPS 2020, arXiv:2006.04779): [`sac`](crate::sac) whose critics are lowered where the log has no actions. Read that
//! file first; here is what differs.
//!
//! | equation | code |
//! |---|---|
//! | (1) L_π(φ) = E[ α ln π(ã∣s) − min_j Q_j(s,ã) ], at first E[ α ln π(ã∣s) − ln π(a∣s) ] | [`Cql::actor_step`] |
//! | (2) y = r + γ(1−d) min_j Q′_j(s′,a′), a′ ~ π(·∣s′) | [`Cql::critic_step`], [`next_value`] |
//! | (3) LSE_j(s) = ln Σ_k [ exp(Q_j(s,a_k) − ln p(a_k)) ], k = 1 … 3n, a third each from p = uniform, π(·∣s), π(·∣s′) | [`candidates`], [`soft_maximum`] |
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
//! [`combo`](crate::combo) is this learner on imagined rows too: its `Lowered` says over which rows either mean of a gap is.
//! [`osr`](crate::osr) holds its policy, or its critics, to something more: see [`Cql::actor_step_with`] and [`Pressed`].

use crate::{
    combo::{Lowered, uniform},
    sac::{Actor, Multiplier, NARROW_LOG_STD_BOUNDS, check_log_std_bounds, check_temperature, target_entropy},
    transition::{Transition, check_hidden, check_shared, check_weight, sizes},
};
use backcast_core::*;
use backcast_nn::{Activation, Adam, Init, Mlp, Precision, Shape, Store, TanhGaussian, Tape, Var, polyak};
use ndarray::{ArrayView2, ArrayViewMut2, Axis, Slice};
use serde::{Deserialize, Serialize};
use std::ops::Range;

hyperparameters! {
    /// One field per symbol; defaults of the authors' code for locomotion.
    pub struct Config {
        /// Discount γ.
        gamma: Real = 0.99, SHARE;
        /// Weight w of the gap. The authors give 5 or 10 for locomotion and 5 for antmaze; CORL has 1 for Adroit.
        weight: Real = 5.0, NON_NEGATIVE;
        /// Candidates n from each of the three distributions. With a `weight` of 0 there may be none: the critics are then SAC's.
        samples: usize = 10, COUNT;
        /// Critics N; two in the paper.
        critics: usize = 2, COUNT;
        /// Takes the logarithm in (3) over three candidates at a time, one of each kind, and averages over the n triples: what
        /// OfflineRL-Kit does. The gap is then about ln n smaller and noisier.
        three_way: bool = false;
        /// Threshold τ_L of w·gap that α′ is learnt to hold; none is α′ = 1. The authors have 5 for antmaze. Where code holds
        /// α′·w·(gap − τ) instead (CORL), its τ is ours divided by w.
        lagrange: Option<Real> = None;
        /// Takes the best of n actions at s′ by each target critic, then the smaller of those, as the value in (2): an option of
        /// the authors' code, which CORL has on for antmaze.
        max_backup: bool = false;
        /// Counts the entropy of π(·∣s′) in (2) as SAC does. Off in the authors' code.
        entropy_backup: bool = false;
        /// Updates in which the actor only clones; none is 40 000, as in the authors' code, or 0 in [`combo`](crate::combo), as in
        /// OfflineRL-Kit. 0 in CORL.
        warm_start: Option<u64> = None;
        /// Temperature α at the start: the price of a nat of entropy, in units of the value.
        alpha: Real = 1.0, POSITIVE;
        /// Learning rate of ln α; 0 keeps α as it is.
        alpha_lr: Real = 1e-4, NON_NEGATIVE;
        /// Entropy that α is steered to, in nats, of actions in units of their limit; none is −\|A\|.
        target_entropy: Option<Real> = None;
        /// Bounds of ln σ, low and high; none is those of the algorithm: [`NARROW_LOG_STD_BOUNDS`] in CQL, COMBO and SDC,
        /// [`LOG_STD_BOUNDS`](crate::sac::LOG_STD_BOUNDS) in OSR.
        log_std_bounds: Option<[Real; 2]> = None;
        /// Polyak rate of the target critics.
        tau: Real = 0.005, FRACTION;
        /// Learning rate of π.
        actor_lr: Real = 1e-4, POSITIVE;
        /// Learning rate of Q and of ln α′.
        critic_lr: Real = 3e-4, POSITIVE;
        /// Updates over which the rates of π and Q fall to zero on a half cosine; 0, as in the paper, keeps them constant.
        decay: u64 = 0;
        /// Whether critics have layer normalisation between sums and activations; ours, off in the paper.
        layer_norm: bool = false;
        /// Units of the hidden layers.
        hidden: Vec<usize> = vec![256, 256, 256], HIDDEN;
        /// How large products are computed. Everything is `F32` unless asked; see [`Precision`].
        precision: Precision = Precision::F32;
    }
}

impl Algorithm for Config {
    const NAME: &'static str = "cql";
    const PAPER: &'static str =
        "Kumar, Zhou, Tucker & Levine, Conservative Q-learning for offline reinforcement learning, arXiv:2006.04779";
    type Learner = Cql;

    fn check(&self) -> Result<(), ConfigError> {
        check_shared(self.gamma, self.tau, &[("actor_lr", self.actor_lr), ("critic_lr", self.critic_lr)])?;
        check_temperature(self.alpha, self.alpha_lr, self.target_entropy)?;
        check_log_std_bounds(self.log_std_bounds(NARROW_LOG_STD_BOUNDS))?;
        check_weight("weight", self.weight)?;
        let needless = self.weight == 0.0 && self.lagrange.is_none() && !self.max_backup;
        ConfigError::unless(self.samples > 0 || needless, "samples", "is 0; the sum over actions needs some")?;
        ConfigError::unless(self.critics > 0, "critics", "is 0; a minimum needs one")?;
        let threshold = self.lagrange.unwrap_or(0.0);
        ConfigError::unless(threshold.is_finite(), "lagrange", format!("is {threshold}; give a threshold or none"))?;
        let both = self.max_backup && self.entropy_backup;
        ConfigError::unless(
            !both,
            "entropy_backup",
            "does not go with `max_backup`, whose best action has no density",
        )?;
        check_hidden("hidden", &self.hidden)
    }

    fn build(&self, spec: Spec, key: Key) -> Result<Cql, ConfigError> {
        let config = Self { warm_start: self.warm_start.or(Some(WARM_START)), ..self.clone() };
        config.lowering(Lowered::default(), spec, key)
    }
}

/// The authors' number of updates in which the actor only clones.
pub const WARM_START: u64 = 40_000;

impl Config {
    /// Bounds of ln σ, `default` where none are asked for.
    pub fn log_std_bounds(&self, default: [Real; 2]) -> [Real; 2] {
        self.log_std_bounds.unwrap_or(default)
    }

    fn backup(&self, ln_alpha: Real) -> Backup {
        Backup { best_of: self.max_backup.then_some(self.samples), ln_alpha: self.entropy_backup.then_some(ln_alpha) }
    }

    /// The same learner, whose critics' values are lowered where `lowered` says; without a warm start, unless one is asked for.
    pub(crate) fn lowering(&self, lowered: Lowered, spec: Spec, key: Key) -> Result<Cql, ConfigError> {
        self.check()?;
        let mut store = Store::in_precision(self.precision);
        let actor = Actor::new(&mut store, spec, &self.hidden, self.log_std_bounds(NARROW_LOG_STD_BOUNDS), key);
        let dims = sizes(spec.obs + spec.act, &self.hidden, 1);
        let critic = Mlp::new(&mut store, "critic", &dims, self.critics, Activation::Relu, Init::FanIn, key);
        let critic = critic.with_layer_norm(self.layer_norm);
        let critic_target = critic.duplicate(&mut store, "critic_target");
        let temperature = Multiplier::new("ln_alpha", self.alpha, self.alpha_lr);
        let multiplier = self.lagrange.map(|_| Multiplier::new("ln_alpha", 1.0, self.critic_lr));
        let actor_adam = Adam::new(actor.net.range(), self.actor_lr);
        let critic_adam = Adam::new(critic.range(), self.critic_lr);
        let nets = Nets { actor, critic, critic_target };
        let config = self.clone();
        Ok(Cql {
            spec,
            config,
            lowered,
            store,
            nets,
            temperature,
            multiplier,
            actor_adam,
            critic_adam,
            updates: 0,
            tried: Tried::default(),
        })
    }
}

/// Handles of every net.
#[derive(Clone, Copy)]
pub(crate) struct Nets {
    pub(crate) actor: Actor,
    critic: Mlp,
    critic_target: Mlp,
}

/// SAC with a price on the value of actions that the log does not have.
pub struct Cql {
    spec: Spec,
    config: Config,
    lowered: Lowered,
    pub(crate) store: Store,
    pub(crate) nets: Nets,
    temperature: Multiplier,
    multiplier: Option<Multiplier>,
    actor_adam: Adam,
    critic_adam: Adam,
    updates: u64,
    tried: Tried,
}

// ANCHOR: candidates
/// `n` actions each from the uniform distribution, π(·∣s) and π(·∣s′), for every row, in units of their limit, and the logarithms
/// of their densities: `[1, rows, 3n·act]` and `[1, rows, 3n]`, the three kinds in turn.
pub(crate) fn candidates<'t>(pi: TanhGaussian<'t>, pi2: TanhGaussian<'t>, n: usize, key: Key) -> (Var<'t>, Var<'t>) {
    let Shape { rows, cols: act, .. } = pi.base.mean.shape();
    let (uniform, log_uniform) = uniform(pi.base.mean, n, key);
    let (here, log_here) = pi.repeat_rows(n).sample(key.name("here"));
    let (next, log_next) = pi2.repeat_rows(n).sample(key.name("next"));
    let actions = uniform.cat(here).cat(next).reshape(Shape::new(1, rows, 3 * n * act));
    (actions, log_uniform.cat(log_here).cat(log_next).reshape(Shape::new(1, rows, 3 * n)))
}

/// (3)  LSE_j(s) = ln Σ_k [ exp(Q_j(s,a_k) − ln p(a_k)) ] of every `width` consecutive candidates
pub(crate) fn soft_maximum<'t>(q: Var<'t>, log_density: Var<'t>, width: usize) -> Var<'t> {
    let weighed = q - log_density;
    let Shape { members, rows, cols } = weighed.shape();
    weighed.reshape(Shape::new(members, rows * cols / width, width)).log_sum_exp_cols()
}
// ANCHOR_END: candidates

impl Cql {
    // ANCHOR: actor_step
    /// (1)  L_π(φ) = E[ α ln π(ã∣s) − min_j Q_j(s,ã) ], at first E[ α ln π(ã∣s) − ln π(a∣s) ];   the temperature as in SAC (2)
    pub(crate) fn actor_step(&mut self, batch: Batch<'_>, key: Key) -> (Real, Real) {
        self.actor_step_with(batch, batch.obs, key, |_, _| None)
    }

    /// The same at other `states` than those of the batch, `[rows, obs]`, and with whatever else is added to (1): `more` is given
    /// the actor, and the policy in those states.
    pub(crate) fn actor_step_with(
        &mut self,
        batch: Batch<'_>,
        states: ArrayView2<'_, Real>,
        key: Key,
        more: impl for<'t> FnOnce(Actor, TanhGaussian<'t>) -> Option<Var<'t>>,
    ) -> (Real, Real) {
        let cloning = self.is_cloning();
        let (nets, temperature, limit) = (self.nets, &mut self.temperature, self.spec.act_limit);
        let target_entropy = target_entropy(self.config.target_entropy, self.spec);
        self.actor_adam.anneal(self.config.actor_lr, self.config.decay);
        self.actor_adam.minimise_with(&mut self.store, |tape| {
            let (s, a) = (tape.input(states), tape.input(batch.act));
            let pi = nets.actor.at(s);
            let (sampled, log_pi) = pi.sample(key);
            let (alpha, entropy) = temperature.update_temperature(log_pi, target_entropy);
            let gain = match cloning {
                true => pi.log_prob(a * (1.0 / limit)),
                false => nets.critic.forward(s.cat(sampled * limit)).min_members(),
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

    /// Updates so far.
    pub(crate) fn updates(&self) -> u64 {
        self.updates
    }

    // ANCHOR: critic_step
    /// (2)  y = r + γ(1−d) min_j Q′_j(s′,a′),   a′ ~ π(·∣s′)
    /// (4)  L_Q(θ) = Σ_j E[ (Q_j(s,a) − y)² ] + α′(w·gap_j − τ_L),   gap_j = E[ LSE_j(s) ] − E[ Q_j(s,a) ]
    /// (5)  L_α′ = −(1/N) α′ Σ_j (w·gap_j − τ_L)
    pub(crate) fn critic_step(&mut self, batch: Batch<'_>, key: Key, pressed: Option<Pressed<'_>>) -> Stepped {
        let (nets, Spec { obs, act, act_limit: limit }) = (self.nets, self.spec);
        let rows = batch.len();
        let (real, first_lowered) = match self.config.samples {
            0 => (0, rows),
            _ => (batch.real, self.lowered.first(batch)),
        };
        let critics = self.config.critics;
        let (config, lowered, backup) = (&self.config, self.lowered, self.config.backup(self.temperature.log()));
        let (n, count) = (config.samples, self.lowered.actions(config.samples));
        let tried = 1 + count;

        // What no derivative passes through: targets, and the actions tried in each state, that of the log first.
        let Tried { y, actions, log_density } = &mut self.tried;
        let tape = self.store.tape();
        let Transition { s, a, r, s2, alive } = Transition::on(tape, batch);
        let (pi, pi2) = (nets.actor.at(s), nets.actor.at(s2));
        let value = next_value(backup, nets.critic_target, s2, pi2, limit, key.name("target"));
        keep(r + alive * value * config.gamma, y);
        if first_lowered < rows {
            let (candidate, log_p) = lowered.draw([pi, pi2], first_lowered, n, key.name("candidates"));
            keep(a.rows(first_lowered, rows - first_lowered).cat(candidate * limit), actions);
            keep(log_p, log_density);
        }

        // A few states at a time: with all their actions they are as many rows as the inner caches hold.
        let [dataset, imagined] = [0..real, real..rows].map(|rows| {
            let tried = if rows.start < first_lowered { 1 } else { tried };
            Parts { states: (ROWS_AT_ONCE / tried).max(1), rows }
        });
        let beside = pressed.map_or(0, |p| p.parts(rows));
        let (parts, multiplier) = (dataset.count() + imagined.count(), &mut self.multiplier);
        let price = multiplier.as_ref().map_or(1.0, |m| m.log().exp().min(MOST_PRICE));
        let (mut gaps, mut q_sum, mut pressed_gaps) = (0.0, 0.0, 0.0);
        self.critic_adam.anneal(config.critic_lr, config.decay);
        let mut loss = self.critic_adam.minimise_parts(&mut self.store, parts + beside, |tape, part| {
            if let (Some(pressed), Some(part)) = (pressed, part.checked_sub(parts)) {
                let gap = pressed.gap(tape, nets.critic, [rows, obs, act], part);
                pressed_gaps += gap.item();
                return gap * pressed.weight;
            }
            let (lifted, part) = match part.checked_sub(dataset.count()) {
                None => (true, dataset.part(part)),
                Some(part) => (false, imagined.part(part)),
            };
            let (first, len) = (part.start, part.len());
            let of_part = |of: ArrayView2<'_, Real>| tape.input(of.slice_axis(Axis(0), Slice::from(part.clone())));
            let (s, y) = (of_part(batch.obs), tape.column(&y[part.clone()]));
            // Their share of a mean over so many rows, of all critics.
            let share = |of: usize| (critics * len) as Real / of as Real;
            let (q, high) = if first < first_lowered {
                (nets.critic.forward(s.cat(of_part(batch.act))), None)
            } else {
                let pick = |values: &[Real], width: usize, shape| {
                    let from = (first - first_lowered) * width;
                    tape.fill(shape, |out| out.copy_from_slice(&values[from..from + len * width]))
                };
                let all = pick(actions, tried * act, Shape::new(1, len * tried, act));
                let q = nets.critic.forward_pairs(s, all).reshape(Shape::new(critics, len, tried));
                let log_density = || pick(log_density, count, Shape::new(1, len, count));
                let high = lowered.value(q.cols(1, count), log_density, if config.three_way { 3 } else { count });
                (q.cols(0, 1), Some(high.mean() * share(rows - first_lowered)))
            };
            let low = lifted.then(|| q.mean() * share(real));
            let gap = match (high, low) {
                (Some(high), Some(low)) => Some(high - low),
                (high, None) => high,
                (None, Some(low)) => Some(-low),
            };
            q_sum += q.mean().item() * share(rows) / critics as Real;
            let error = (q - y).square().mean() * share(rows);
            gap.map_or(error, |gap| {
                gaps += gap.item();
                error + gap * (config.weight * price)
            })
        });
        if first_lowered < rows {
            let threshold = critics as Real * config.lagrange.unwrap_or(0.0);
            let excess = gaps * config.weight - threshold;
            loss -= price * threshold;
            if let Some(multiplier) = multiplier {
                multiplier.minimise(|ln| ln.exp().clamp(0.0, MOST_PRICE) * (-excess / critics as Real));
            }
        }
        let (y, of_each) = (&self.tried.y, (critics as Real).recip());
        let target = y.iter().sum::<Real>() / y.len() as Real;
        Stepped { loss, q: q_sum, gap: gaps * of_each, target, pressed: pressed_gaps * of_each }
    }
    // ANCHOR_END: critic_step

    // ANCHOR: settle
    /// The end of an update: the targets by Polyak, and what there is to report.
    pub(crate) fn finish_update(&mut self, (actor_loss, entropy): (Real, Real), critics: Stepped) -> Metrics {
        polyak(&mut self.store, &self.nets.critic_target, &self.nets.critic, self.config.tau);
        self.updates += 1;
        let Stepped { loss, q, gap, target, .. } = critics;
        let mut metrics = Metrics::from([("actor_loss", actor_loss), ("critic_loss", loss), ("q", q)]);
        metrics.put("gap", gap).put("target", target).put("entropy", entropy).put("ln_alpha", self.temperature.log());
        if let Some(multiplier) = &self.multiplier {
            metrics.put("ln_multiplier", multiplier.log());
        }
        metrics
    }
    // ANCHOR_END: settle
}

/// What the critics' step found, on average over critics.
#[derive(Clone, Copy)]
pub(crate) struct Stepped {
    /// (4), summed over critics.
    pub(crate) loss: Real,
    /// The value of the batch's actions.
    q: Real,
    /// gap_j.
    gap: Real,
    /// y.
    target: Real,
    /// The gap in other states.
    pub(crate) pressed: Real,
}

// ANCHOR: pressed
/// States that are not of the batch, and what is to be thought of actions there: beside (4) the critics go down
/// w·Σ_j E[ ln Σ_{k≥1} exp Q_j(ŝ,a_k) − Q_j(ŝ,a_0) ].
#[derive(Clone, Copy)]
pub(crate) struct Pressed<'a> {
    /// ŝ, `[rows, obs]`.
    pub(crate) states: &'a [Real],
    /// The one that is lifted first, then those that are lowered, `[rows, tried, act]`.
    pub(crate) actions: &'a [Real],
    /// Actions of each state.
    pub(crate) tried: usize,
    /// w.
    pub(crate) weight: Real,
}

impl Pressed<'_> {
    fn states_at_once(self) -> usize {
        (ROWS_AT_ONCE / self.tried).max(1)
    }

    fn parts(self, rows: usize) -> usize {
        rows.div_ceil(self.states_at_once())
    }

    /// The part's share of Σ_j E[ … ].
    fn gap<'t>(self, tape: Tape<'t>, critic: Mlp, [rows, obs, act]: [usize; 3], part: usize) -> Var<'t> {
        let part = Parts { rows: 0..rows, states: self.states_at_once() }.part(part);
        let (len, tried, critics) = (part.len(), self.tried, critic.members());
        let pick = |from: &[Real], width: usize, shape| {
            tape.fill(shape, |out| out.copy_from_slice(&from[part.start * width..part.end * width]))
        };
        let s = pick(self.states, obs, Shape::new(1, len, obs));
        let a = pick(self.actions, tried * act, Shape::new(1, len * tried, act));
        let q = critic.forward_pairs(s, a).reshape(Shape::new(critics, len, tried));
        (q.cols(1, tried - 1).log_sum_exp_cols() - q.cols(0, 1)).mean() * ((critics * len) as Real / rows as Real)
    }
}
// ANCHOR_END: pressed

/// The bound of α′, as in the authors' code.
const MOST_PRICE: Real = 1e6;

/// Rows of critics evaluated together: their activations are what the inner caches hold.
pub(crate) const ROWS_AT_ONCE: usize = 384;

/// Rows of a batch, cut into parts of so many states.
struct Parts {
    rows: Range<usize>,
    states: usize,
}

impl Parts {
    fn count(&self) -> usize {
        self.rows.len().div_ceil(self.states)
    }

    fn part(&self, number: usize) -> Range<usize> {
        let first = self.rows.start + number * self.states;
        first..self.rows.end.min(first + self.states)
    }
}

/// What the critic's step computes once for the whole batch.
#[derive(Default)]
struct Tried {
    /// Targets, `[rows]`.
    y: Vec<Real>,
    /// The actions tried in each state in which values are lowered, that of the log first, `[states, 1 + 3n, act]`.
    actions: Vec<Real>,
    /// ln p of all but the first, `[states, 3n]`.
    log_density: Vec<Real>,
}

/// Copies the numbers of `x` to `out`, which grows once.
pub(crate) fn keep(x: Var<'_>, out: &mut Vec<Real>) {
    out.clear();
    x.read(|x| out.extend_from_slice(x));
}

// ANCHOR: next_value
/// How the value at s′ is taken.
#[derive(Clone, Copy)]
pub(crate) struct Backup {
    /// Of the best of so many actions, if of more than one.
    pub(crate) best_of: Option<usize>,
    /// ln α, if entropy counts.
    pub(crate) ln_alpha: Option<Real>,
}

/// (2)  the value at s′: min_j Q′_j(s′,a′), less α ln π(a′∣s′) if entropy counts; or min_j max_k Q′_j(s′,a′_k)
pub(crate) fn next_value<'t>(
    backup: Backup,
    target: Mlp,
    s2: Var<'t>,
    pi2: TanhGaussian<'t>,
    limit: Real,
    key: Key,
) -> Var<'t> {
    if let Some(n) = backup.best_of {
        let (a2, _) = pi2.repeat_rows(n).sample(key);
        let q = target.forward_pairs(s2, a2 * limit);
        return q.reshape(Shape::new(target.members(), s2.shape().rows, n)).max_cols().min_members();
    }
    let (a2, log_pi) = pi2.sample(key);
    let q = target.forward(s2.cat(a2 * limit)).min_members();
    backup.ln_alpha.map_or(q, |ln_alpha| q - s2.tape().scalar(ln_alpha).exp() * log_pi)
}
// ANCHOR_END: next_value

impl Learner for Cql {
    // ANCHOR: update
    fn update(&mut self, batch: Batch<'_>, key: Key) -> Metrics {
        let actor = self.actor_step(batch, key.name("actor"));
        let critics = self.critic_step(batch, key.name("critic"), None);
        self.finish_update(actor, critics)
    }
    // ANCHOR_END: update
}

/// Acts with tanh μ, or, given a key, with a sample.
impl Policy for Cql {
    fn spec(&self) -> Spec {
        self.spec
    }

    fn act(&mut self, obs: ArrayView2<'_, Real>, key: Option<Key>, act: ArrayViewMut2<'_, Real>) {
        let actor = self.nets.actor;
        actor.act(&mut self.store, obs, key, act);
    }
}

impl State for Cql {
    fn visit(&mut self, f: &mut dyn FnMut(&str, Slot<'_>)) {
        self.store.visit(f);
        under("temperature", &mut self.temperature, f);
        if let Some(multiplier) = &mut self.multiplier {
            under("multiplier", multiplier, f);
        }
        under("actor_adam", &mut self.actor_adam, f);
        under("critic_adam", &mut self.critic_adam, f);
        f("updates", Slot::Count(&mut self.updates));
    }
}

impl crate::parity::Replayed for Cql {
    fn arena(&mut self) -> &mut backcast_nn::Arena {
        self.store.arena_mut()
    }
}

#[cfg(test)]
mod tests;
