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
//! | (5) L_α′ = −½ α′ Σ_j (w·gap_j − τ_L); without a threshold α′ = 1, τ_L = 0 | [`Cql::critic_step`] |
//!
//! Update order: the temperature as in SAC, (1) with it, (2)–(4) with the new π and the old α′, (5), then the targets by
//! Polyak. The authors' code takes the gradients of actor and critics at the same parameters, then steps both; ROMI's copy of
//! it steps the actor first, as here.
//!
//! (3) is the paper's CQL(H), eq. 4, its integral over actions by importance sampling (appendix F); as in the authors' code
//! it is a sum, not a mean, so that a gap holds a constant ln 3n, and densities are of a/limit. In that code a candidate
//! a_k ~ π(·∣s′) is weighed by its density at s′ and valued at s, as here. Neither candidates nor densities carry a gradient.
//!
//! Not from the authors' code: initial weights (theirs are smaller in the last layer).
//!
//! [`combo`](crate::combo) is this learner on imagined rows too: its `Lowered` says over which rows either mean of a gap is.

use crate::{
    combo::{Lowered, uniform},
    sac::{Actor, Multiplier, check_temperature, target_entropy},
    transition::{Transition, check_hidden, check_shared, check_weight, sizes},
};
use backcast_core::*;
use backcast_nn::{Act, Adam, Init, Mlp, Precision, Shape, Store, TanhGaussian, Var, polyak};
use ndarray::{ArrayView2, ArrayViewMut2, Axis, Slice};
use serde::{Deserialize, Serialize};
use std::ops::Range;

/// One field per symbol; defaults of the authors' code for locomotion.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// Discount γ.
    pub gamma: Real,
    /// Weight w of the gap. The authors give 5 or 10 for locomotion and 5 for antmaze; CORL has 1 for Adroit.
    pub weight: Real,
    /// Candidates n from each of the three distributions.
    pub samples: usize,
    /// Takes the logarithm in (3) over three candidates at a time, one of each kind, and averages over the n triples: what
    /// OfflineRL-Kit does. The gap is then about ln n smaller and noisier.
    pub three_way: bool,
    /// Threshold τ_L of w·gap that α′ is learnt to hold; none is α′ = 1. The authors have 5 for antmaze. Where code holds
    /// α′·w·(gap − τ) instead (CORL), its τ is ours divided by w.
    pub lagrange: Option<Real>,
    /// Takes the best of n actions at s′ by each target critic, then the smaller of those, as the value in (2): an option of
    /// the authors' code, which CORL has on for antmaze.
    pub max_backup: bool,
    /// Counts the entropy of π(·∣s′) in (2) as SAC does. Off in the authors' code.
    pub entropy_backup: bool,
    /// Updates in which the actor only clones; none is 40 000, as in the authors' code, or 0 in [`combo`](crate::combo), as in
    /// OfflineRL-Kit. 0 in CORL.
    pub warm_start: Option<u64>,
    /// Temperature α at the start: the price of a nat of entropy, in units of the value.
    pub alpha: Real,
    /// Learning rate of ln α; 0 keeps α as it is.
    pub alpha_rate: Real,
    /// Entropy that α is steered to, in nats, of actions in units of their limit; none is −\|A\|.
    pub target_entropy: Option<Real>,
    /// Polyak rate of the target critics.
    pub polyak: Real,
    /// Learning rate of π.
    pub actor_rate: Real,
    /// Learning rate of Q and of ln α′.
    pub critic_rate: Real,
    /// Whether critics have layer normalisation between sums and activations; ours, off in the paper.
    pub layer_norm: bool,
    /// Units of the hidden layers.
    pub hidden: Vec<usize>,
    /// How large products are computed. Everything is `F32` unless asked; see [`Precision`].
    pub precision: Precision,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            gamma: 0.99,
            weight: 5.0,
            samples: 10,
            three_way: false,
            lagrange: None,
            max_backup: false,
            entropy_backup: false,
            warm_start: None,
            alpha: 1.0,
            alpha_rate: 1e-4,
            target_entropy: None,
            polyak: 0.005,
            actor_rate: 1e-4,
            critic_rate: 3e-4,
            layer_norm: false,
            hidden: vec![256, 256, 256],
            precision: Precision::F32,
        }
    }
}

impl Algorithm for Config {
    const NAME: &'static str = "cql";
    const PAPER: &'static str =
        "Kumar, Zhou, Tucker & Levine, Conservative Q-learning for offline reinforcement learning, arXiv:2006.04779";
    type Learner = Cql;

    fn check(&self) -> Result<(), ConfigError> {
        check_shared(self.gamma, self.polyak, &[("actor_rate", self.actor_rate), ("critic_rate", self.critic_rate)])?;
        check_temperature(self.alpha, self.alpha_rate, self.target_entropy)?;
        check_weight("weight", self.weight)?;
        ConfigError::unless(self.samples > 0, "samples", "is 0; the sum over actions needs some")?;
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
const WARM_START: u64 = 40_000;

impl Config {
    fn backup(&self, ln_alpha: Real) -> Backup {
        Backup { best_of: self.max_backup.then_some(self.samples), ln_alpha: self.entropy_backup.then_some(ln_alpha) }
    }

    /// The same learner, whose critics' values are lowered where `lowered` says; without a warm start, unless one is asked for.
    pub(crate) fn lowering(&self, lowered: Lowered, spec: Spec, key: Key) -> Result<Cql, ConfigError> {
        self.check()?;
        let mut store = Store::in_precision(self.precision);
        let actor = Actor::new(&mut store, spec, &self.hidden, key);
        let dims = sizes(spec.obs + spec.act, &self.hidden, 1);
        let critic = Mlp::new(&mut store, "critic", &dims, 2, Act::Relu, Init::FanIn, key);
        let critic = critic.with_layer_norm(self.layer_norm);
        let critic_target = critic.duplicate(&mut store, "critic_target");
        let temperature = Multiplier::new("ln_alpha", self.alpha, self.alpha_rate);
        let multiplier = self.lagrange.map(|_| Multiplier::new("ln_alpha", 1.0, self.critic_rate));
        let actor_adam = Adam::new(actor.net.range(), self.actor_rate);
        let critic_adam = Adam::new(critic.range(), self.critic_rate);
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
struct Nets {
    actor: Actor,
    critic: Mlp,
    critic_target: Mlp,
}

/// SAC with a price on the value of actions that the log does not have.
pub struct Cql {
    spec: Spec,
    config: Config,
    lowered: Lowered,
    store: Store,
    nets: Nets,
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
    fn actor_step(&mut self, batch: Batch<'_>, key: Key) -> (Real, Real) {
        let (nets, temperature, limit) = (self.nets, &mut self.temperature, self.spec.act_limit);
        let target_entropy = target_entropy(self.config.target_entropy, self.spec);
        let cloning = self.updates < self.config.warm_start.unwrap_or(0);
        self.actor_adam.minimise_with(&mut self.store, |tape| {
            let Transition { s, a, .. } = Transition::on(tape, batch);
            let pi = nets.actor.at(s);
            let (sampled, log_pi) = pi.sample(key);
            let (alpha, entropy) = temperature.steer(log_pi, target_entropy);
            let gain = match cloning {
                true => pi.log_prob(a * (1.0 / limit)),
                false => nets.critic.forward(s.cat(sampled * limit)).min_members(),
            };
            ((alpha * log_pi - gain).mean(), entropy)
        })
    }
    // ANCHOR_END: actor_step

    // ANCHOR: critic_step
    /// (2)  y = r + γ(1−d) min_j Q′_j(s′,a′),   a′ ~ π(·∣s′)
    /// (4)  L_Q(θ) = Σ_j E[ (Q_j(s,a) − y)² ] + α′(w·gap_j − τ_L),   gap_j = E[ LSE_j(s) ] − E[ Q_j(s,a) ]
    /// (5)  L_α′ = −½ α′ Σ_j (w·gap_j − τ_L)
    fn critic_step(&mut self, batch: Batch<'_>, key: Key) -> (Real, [Real; 3]) {
        let (nets, Spec { act, act_limit: limit, .. }) = (self.nets, self.spec);
        let (rows, real, first_lowered) = (batch.len(), batch.real, self.lowered.first(batch));
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
        let [log, imagined] = [0..real, real..rows].map(|rows| {
            let tried = if rows.start < first_lowered { 1 } else { tried };
            Parts { states: (ROWS_AT_ONCE / tried).max(1), rows }
        });
        let (parts, multiplier) = (log.count() + imagined.count(), &mut self.multiplier);
        let price = multiplier.as_ref().map_or(1.0, |m| m.log().exp().min(MOST_PRICE));
        let (mut gaps, mut q_sum) = (0.0, 0.0);
        let mut loss = self.critic_adam.minimise_parts(&mut self.store, parts, |tape, part| {
            let (lifted, part) = match part.checked_sub(log.count()) {
                None => (true, log.part(part)),
                Some(part) => (false, imagined.part(part)),
            };
            let (first, len) = (part.start, part.len());
            let of_part = |of: ArrayView2<'_, Real>| tape.input(of.slice_axis(Axis(0), Slice::from(part.clone())));
            let (s, y) = (of_part(batch.obs), tape.column(&y[part.clone()]));
            // Their share of a mean over so many rows, of both critics.
            let share = |of: usize| 2.0 * len as Real / of as Real;
            let (q, high) = if first < first_lowered {
                (nets.critic.forward(s.cat(of_part(batch.act))), None)
            } else {
                let pick = |values: &[Real], width: usize, shape| {
                    let from = (first - first_lowered) * width;
                    tape.fill(shape, |out| out.copy_from_slice(&values[from..from + len * width]))
                };
                let all = pick(actions, tried * act, Shape::new(1, len * tried, act));
                let q = nets.critic.forward_pairs(s, all).reshape(Shape::new(2, len, tried));
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
            q_sum += q.mean().item() * share(rows) * 0.5;
            let error = (q - y).square().mean() * share(rows);
            gap.map_or(error, |gap| {
                gaps += gap.item();
                error + gap * (config.weight * price)
            })
        });
        if first_lowered < rows {
            let threshold = 2.0 * config.lagrange.unwrap_or(0.0);
            let excess = gaps * config.weight - threshold;
            loss -= price * threshold;
            if let Some(multiplier) = multiplier {
                multiplier.minimise(|ln| ln.exp().clamp(0.0, MOST_PRICE) * (-0.5 * excess));
            }
        }
        let y = &self.tried.y;
        (loss, [q_sum, gaps * 0.5, y.iter().sum::<Real>() / y.len() as Real])
    }
    // ANCHOR_END: critic_step
}

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
        let (actor_loss, entropy) = self.actor_step(batch, key.name("actor"));
        let (critic_loss, [q, gap, target]) = self.critic_step(batch, key.name("critic"));
        polyak(&mut self.store, &self.nets.critic_target, &self.nets.critic, self.config.polyak);
        self.updates += 1;
        let mut metrics = Metrics::from([("actor_loss", actor_loss), ("critic_loss", critic_loss), ("q", q)]);
        metrics.put("gap", gap).put("target", target).put("entropy", entropy).put("ln_alpha", self.temperature.log());
        if let Some(multiplier) = &self.multiplier {
            metrics.put("ln_multiplier", multiplier.log());
        }
        metrics
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
        actor.act(self.store.tape().input(obs), key, act);
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
mod tests {
    use super::*;
    use crate::combo::{Mu, Rho};
    use backcast_nn::Gaussian;
    use ndarray::Array2;

    fn rows(limit: Real) -> Columns {
        let mut rows = Columns::new(Spec::new(2, 2).with_act_limit(limit));
        for i in 0..64 {
            let mut x = [0.0; 6];
            Key::new(1).fold(i).normal(&mut x);
            rows.push(&x[..2], &[x[2].tanh() * limit, x[3].tanh() * limit], x[0], &x[4..], i % 5 == 0);
        }
        rows
    }

    fn small() -> Config {
        Config { hidden: vec![16], warm_start: Some(0), ..Default::default() }
    }

    fn run(config: Config, updates: u64) -> Metrics {
        let rows = rows(2.0);
        let mut cql = config.build(rows.spec(), Key::new(2)).expect("a sound configuration");
        (0..updates).map(|step| cql.update(rows.batch(), Key::new(3).fold(step))).last().expect("an update")
    }

    /// Q(a) = Σ c_d a_d has ∫ exp Q da = Π 2 sinh(c_d)/c_d over the box, and each of 3n samples estimates it, whatever the
    /// two policies are.
    #[test]
    fn the_sum_over_candidates_estimates_the_integral() {
        let n = 40_000;
        for (trial, (c, means)) in
            [([1.5, -0.7], [0.0, 0.3]), ([0.2, 3.0], [-0.2, 0.1]), ([-2.0, 0.5], [0.4, 0.0])].into_iter().enumerate()
        {
            let mut store = Store::default();
            let tape = store.tape();
            let policy = |mean: Real, ln_std: Real| {
                let fill = |x| tape.fill(Shape::new(1, 1, 2), |out| out.fill(x));
                TanhGaussian { base: Gaussian { mean: fill(mean), log_std: fill(ln_std) } }
            };
            let (pi, pi2) = (policy(means[0], 0.1), policy(means[1], 0.0));
            let (actions, log_density) = candidates(pi, pi2, n, Key::new(4).fold(trial as u64));
            let slope = tape.fill(Shape::new(1, 1, 2), |out| out.copy_from_slice(&c));
            let q = (actions.reshape(Shape::new(1, 3 * n, 2)) * slope).sum_cols().reshape(Shape::new(1, 1, 3 * n));
            let exact: f64 = c.iter().map(|&c| 2.0 * (c as f64).sinh() / c as f64).product::<f64>().ln();
            let lse = soft_maximum(q, log_density, 3 * n).item() as f64;
            let error = lse - (3.0 * n as f64).ln() - exact;
            // The terms' own spread tells how far off their sum may be.
            let deviation = (q - log_density).exp().read(|x| {
                let mean = x.iter().map(|&x| x as f64).sum::<f64>() / x.len() as f64;
                (x.iter().map(|&x| (x as f64 / mean - 1.0).powi(2)).sum::<f64>()).sqrt() / x.len() as f64
            });
            assert!(deviation < 0.02, "trial {trial}: weights spread too far to tell: {deviation}");
            assert!(error.abs() < 5.0 * deviation, "trial {trial}: {error} against a deviation of {deviation}");
        }
    }

    /// The loss, the value and the gap of one batch, against the critics evaluated the plain way and, with one candidate of each
    /// kind, against the definition: in a batch that is all of the log, and in mixed ones in which values are lowered everywhere
    /// or in imagined states alone, of all actions or of those of one distribution.
    #[test]
    fn the_stacked_evaluation_is_the_plain_one() {
        use {Mu::*, Rho::*};
        for (real, rho, mu) in [
            (64, Mixture, SoftMaximum),
            (23, Mixture, SoftMaximum),
            (23, Model, SoftMaximum),
            (50, Mixture, Policy),
            (50, Model, Uniform),
            (1, Model, Policy),
        ] {
            let log = rows(2.0);
            let mut rows = Columns::new(log.spec());
            (0..real).for_each(|i| rows.push_row(&log, i));
            rows.begin_imagined();
            (real..64).for_each(|i| rows.push_row(&log, i));
            let (batch, key, lowered) = (rows.batch(), Key::new(6), Lowered { rho, mu });
            let config = Config { samples: 1, ..small() };
            let mut cql = config.lowering(lowered, rows.spec(), Key::new(5)).expect("a sound configuration");
            cql.actor_step(batch, key.name("first"));
            let nets = cql.nets;
            let tape = cql.store.tape();
            let Transition { s, a, r, s2, alive } = Transition::on(tape, batch);
            let first = if rho == Model { real } else { 0 };
            let [pi, pi2] = [s, s2].map(|s| nets.actor.at(s.rows(first, 64 - first)));
            let (actions, log_density) = candidates(pi, pi2, 1, key.name("candidates"));
            let below = s.rows(first, 64 - first);
            let high = match mu {
                SoftMaximum => {
                    let sum = (0..3).map(|k| {
                        let q = nets.critic.forward(below.cat(actions.cols(2 * k, 2) * 2.0));
                        (q - log_density.cols(k, 1)).exp()
                    });
                    sum.reduce(|a, b| a + b).expect("three candidates").ln()
                }
                Uniform => nets.critic.forward(below.cat(actions.cols(0, 2) * 2.0)),
                Policy => nets.critic.forward(below.cat(actions.cols(2, 2) * 2.0)),
            };
            let q = nets.critic.forward(s.cat(a));
            let next =
                next_value(config.backup(0.0), nets.critic_target, s2, nets.actor.at(s2), 2.0, key.name("target"));
            let error = (q - (r + alive * next * 0.99)).square().mean().item() * 2.0;
            let want = [q.mean().item(), (high.mean() - q.rows(0, real).mean()).item()];
            let (loss, [q, gap, _]) = cql.critic_step(batch, key);
            let close = |x: Real, y: Real| (x - y).abs() < 1e-5 * y.abs().max(1.0);
            assert!(close(q, want[0]) && close(gap, want[1]), "{real} {rho:?} {mu:?}: {q} {gap} are not {want:?}");
            assert!(close(loss, error + 10.0 * want[1]), "{real} {rho:?} {mu:?}: {loss}");
        }
    }

    #[test]
    fn the_multiplier_rises_where_the_gap_exceeds_its_threshold() {
        let at = |threshold| {
            let config = Config { lagrange: Some(threshold), critic_rate: 1e-2, ..small() };
            let learnt = run(config, 20).get("ln_multiplier").expect("a metric");
            assert_eq!(run(small(), 1).get("ln_multiplier"), None);
            learnt
        };
        let gap = run(small(), 1).get("gap").expect("a metric") * 5.0;
        let (above, below) = (at(gap - 30.0), at(gap + 30.0));
        assert!(above > 0.15 && below < -0.15, "{above} above the threshold, {below} below");
    }

    /// Where the log has a single action, the critics come to prefer it to all others.
    #[test]
    fn the_penalty_closes_the_gap() {
        let mut rows = Columns::new(Spec::new(1, 1));
        (0..64).for_each(|_| rows.push(&[0.0], &[0.5], 1.0, &[0.0], true));
        let gap = |weight| {
            let config = Config { weight, critic_rate: 3e-3, ..small() };
            let mut cql = config.build(rows.spec(), Key::new(7)).expect("a sound configuration");
            let metrics = (0..300).map(|step| cql.update(rows.batch(), Key::new(10).fold(step))).last();
            metrics.expect("an update").get("gap").expect("a metric")
        };
        let (free, priced) = (gap(0.0), gap(5.0));
        assert!(priced < free - 1.0, "{priced} with the penalty, {free} without");
    }

    /// Over triples the constant in the gap is ln 3, not ln 3n; with one candidate of each kind there is no difference.
    #[test]
    fn three_at_a_time_differ_by_their_number() {
        let gap = |samples, three_way| run(Config { samples, three_way, ..small() }, 1).get("gap").expect("a metric");
        assert_eq!(gap(1, true), gap(1, false));
        let difference = gap(10, false) - gap(10, true);
        // Jensen: a logarithm of few is smaller still.
        assert!((2.3..2.8).contains(&difference), "{difference} where ln 10 = 2.303 is the least");
    }

    #[test]
    fn a_warm_start_clones() {
        let mut rows = Columns::new(Spec::new(1, 1).with_act_limit(2.0));
        (0..64).for_each(|i| rows.push(&[0.0], &[-1.2 + 0.2 * (i % 3) as Real], -9.0, &[0.0], true));
        let config = Config { alpha: 1e-3, warm_start: Some(700), actor_rate: 3e-3, ..small() };
        let mut cql = config.build(rows.spec(), Key::new(8)).expect("a sound configuration");
        let mut critic_loss = vec![];
        for step in 0..700 {
            critic_loss.extend(cql.update(rows.batch(), Key::new(9).fold(step)).get("q"));
        }
        let mut act = Array2::zeros((1, 1));
        cql.act(Array2::zeros((1, 1)).view(), None, act.view_mut());
        assert!((act[[0, 0]] + 1.0).abs() < 0.1, "{}", act[[0, 0]]);
        // The critics learn meanwhile.
        assert!(critic_loss[699] < critic_loss[0] - 0.5, "{} to {}", critic_loss[0], critic_loss[699]);
    }
}
