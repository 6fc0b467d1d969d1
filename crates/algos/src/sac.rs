//! SAC, soft actor–critic (Haarnoja, Zhou, Abbeel & Levine, *Soft actor-critic*, ICML 2018, arXiv:1801.01290), with the
//! temperature learnt (Haarnoja et al., *Soft actor-critic algorithms and applications*, arXiv:1812.05905), on batches from
//! a log. What conservative and ensemble learners are built on; alone, it has nothing that keeps it to the log.
//!
//! | equation | code |
//! |---|---|
//! | (1) π(a∣s): a = limit·tanh(u), u ~ N(μ(s), σ(s)²) | [`Actor::at`] |
//! | (2) L_α = −E[ ln α·(ln π(ã∣s) + H̄) ], ã ~ π(·∣s) | [`Sac::actor_step`] |
//! | (3) L_π(φ) = E[ α ln π(ã∣s) − min_j Q_j(s,ã) ] | [`Sac::actor_step`] |
//! | (3′) L_π(φ) = E[ α ln π(ã∣s) − λ min_j Q_j(s,ã) ] + E[ ‖limit·tanh μ(s) − a‖² ], λ = w / E[ \|min_j Q_j(s,ã)\| ] | [`Sac::actor_step`] |
//! | (4) y = r + γ(1−d)(min_j Q′_j(s′,a′) − α ln π(a′∣s′)), a′ ~ π(·∣s′) | [`Sac::critic_step`] |
//! | (5) L_Q(θ) = Σ_j E[ (Q_j(s,a) − y)² ] | [`Sac::critic_step`] |
//!
//! Update order: (2), (3) with the new α, (4) and (5) with the new π, then the targets by Polyak; the order of
//! CQL in ROMI's code and of EDAC in CORL's. Others step the critics first.
//!
//! ln σ is held in bounds, as in every implementation; which ones differs from code to code, and [`LOG_STD_BOUNDS`] and
//! [`NARROW_LOG_STD_BOUNDS`] say whose are whose.
//!
//! Densities are of a/limit, an action in units of its limit, so that H̄ means the same in any box. ln α is the multiplier
//! in (2), as in rlkit, where the paper has α: the sign of the slope is the same. (3′) is SAC+BC, which has no canonical
//! source: λ is TD3+BC's, and the square is averaged over action dimensions, as there.

use crate::td3_bc::cloning;
use crate::transition::{Transition, check_hidden, check_shared, check_weight, sizes};
use backcast_core::*;
use backcast_nn::{Activation, Adam, Gaussian, Init, Mlp, Precision, Shape, Store, TanhGaussian, Var, polyak};
use ndarray::{ArrayView2, ArrayViewMut2, Axis, Slice};
use serde::{Deserialize, Serialize};

hyperparameters! {
    /// One field per symbol; defaults of arXiv:1812.05905, table 1, where it says nothing else.
    pub struct Config {
        /// Discount γ.
        gamma: Real = 0.99, SHARE;
        /// Temperature α at the start: the price of a nat of entropy, in units of the value. 1 in rlkit.
        alpha: Real = 1.0, POSITIVE;
        /// Learning rate of ln α; 0 keeps α as it is.
        alpha_lr: Real = 3e-4, NON_NEGATIVE;
        /// Entropy H̄ that α is steered to, in nats, of actions in units of their limit; none is −\|A\|.
        target_entropy: Option<Real> = None;
        /// Bounds of ln σ, low and high; none is those of the algorithm: [`LOG_STD_BOUNDS`] in SAC, MOPO, MOReL and MBPO,
        /// [`NARROW_LOG_STD_BOUNDS`] in RAMBO.
        log_std_bounds: Option<[Real; 2]> = None;
        /// Weight w of the value against cloning in SAC+BC, 2.5 in TD3+BC; none is SAC, without cloning.
        cloning: Option<Real> = None, NON_NEGATIVE;
        /// Clones real rows alone where a batch has imagined ones too; else both.
        clone_real: bool = false;
        /// Polyak rate of the target critics.
        tau: Real = 0.005, FRACTION;
        /// Learning rate of π.
        actor_lr: Real = 3e-4, POSITIVE;
        /// Learning rate of Q.
        critic_lr: Real = 3e-4, POSITIVE;
        /// Updates over which the rates of π and Q fall to zero on a half cosine; 0, as in the paper, keeps them constant.
        decay: u64 = 0;
        /// Whether critics have layer normalisation between sums and activations; ours, off in the paper.
        layer_norm: bool = false;
        /// Units of the hidden layers.
        hidden: Vec<usize> = vec![256, 256], HIDDEN;
        /// How large products are computed. Everything is `F32` unless asked; see [`Precision`].
        precision: Precision = Precision::F32;
    }
}

/// Bounds of ln σ in the code of SAC's authors, of MOPO, of OSR and of CORL's CQL: −20 is no bound in practice.
pub const LOG_STD_BOUNDS: [Real; 2] = [-20.0, 2.0];

/// Bounds of ln σ in the code of CQL (and so of ROMI), of EDAC and SAC-N, and in OfflineRL-Kit, for COMBO, MOBILE, RAMBO and MCQ:
/// no action is ever surer than σ = e⁻⁵.
pub const NARROW_LOG_STD_BOUNDS: [Real; 2] = [-5.0, 2.0];

/// The check of bounds of ln σ.
pub(crate) fn check_log_std_bounds([low, high]: [Real; 2]) -> Result<(), ConfigError> {
    let sound = low <= high && low.is_finite() && high.is_finite();
    ConfigError::unless(sound, "log_std_bounds", format!("are {low} and {high}; give two numbers, the lower first"))
}

/// The checks of what SAC and those who extend it learn the temperature with.
pub(crate) fn check_temperature(alpha: Real, rate: Real, target_entropy: Option<Real>) -> Result<(), ConfigError> {
    let sound = alpha > 0.0 && alpha.is_finite();
    ConfigError::unless(sound, "alpha", format!("is {alpha}; a temperature is positive"))?;
    check_weight("alpha_lr", rate)?;
    let entropy = target_entropy.unwrap_or(0.0);
    ConfigError::unless(entropy.is_finite(), "target_entropy", format!("is {entropy}; give a number of nats"))
}

impl Algorithm for Config {
    const NAME: &'static str = "sac";
    const PAPER: &'static str = "Haarnoja et al., Soft actor-critic algorithms and applications, arXiv:1812.05905";
    type Learner = Sac;

    fn check(&self) -> Result<(), ConfigError> {
        check_shared(self.gamma, self.tau, &[("actor_lr", self.actor_lr), ("critic_lr", self.critic_lr)])?;
        check_temperature(self.alpha, self.alpha_lr, self.target_entropy)?;
        check_log_std_bounds(self.log_std_bounds(LOG_STD_BOUNDS))?;
        check_weight("cloning", self.cloning.unwrap_or(0.0))?;
        check_hidden("hidden", &self.hidden)
    }

    fn build(&self, spec: Spec, key: Key) -> Result<Sac, ConfigError> {
        self.build_within(LOG_STD_BOUNDS, spec, key)
    }
}

impl Config {
    /// Bounds of ln σ, `default` where none are asked for.
    pub fn log_std_bounds(&self, default: [Real; 2]) -> [Real; 2] {
        self.log_std_bounds.unwrap_or(default)
    }

    /// The learner, with bounds of ln σ for those who have others than SAC.
    pub(crate) fn build_within(&self, bounds: [Real; 2], spec: Spec, key: Key) -> Result<Sac, ConfigError> {
        self.check()?;
        let mut store = Store::in_precision(self.precision);
        let actor = Actor::new(&mut store, spec, &self.hidden, self.log_std_bounds(bounds), key);
        let dims = sizes(spec.obs + spec.act, &self.hidden, 1);
        let critic = Mlp::new(&mut store, "critic", &dims, 2, Activation::Relu, Init::FanIn, key);
        let critic = critic.with_layer_norm(self.layer_norm);
        let critic_target = critic.duplicate(&mut store, "critic_target");
        let temperature = Multiplier::new("ln_alpha", self.alpha, self.alpha_lr);
        let actor_adam = Adam::new(actor.net.range(), self.actor_lr);
        let critic_adam = Adam::new(critic.range(), self.critic_lr);
        let nets = Nets { actor, critic, critic_target };
        Ok(Sac { spec, config: self.clone(), store, nets, temperature, actor_adam, critic_adam })
    }
}

// ANCHOR: actor
/// (1)  π(a∣s): a = limit·tanh(u),   u ~ N(μ(s), σ(s)²): one net for μ and ln σ
#[derive(Clone, Copy)]
pub(crate) struct Actor {
    pub(crate) net: Mlp,
    pub(crate) limit: Real,
    /// Bounds of ln σ, low and high.
    pub(crate) log_std_bounds: [Real; 2],
}

impl Actor {
    pub(crate) fn new(store: &mut Store, spec: Spec, hidden: &[usize], log_std_bounds: [Real; 2], key: Key) -> Self {
        let dims = sizes(spec.obs, hidden, 2 * spec.act);
        let net = Mlp::new(store, "actor", &dims, 1, Activation::Relu, Init::FanIn, key);
        Self { net, limit: spec.act_limit, log_std_bounds }
    }

    /// The distribution of a/limit.
    pub(crate) fn at<'t>(&self, s: Var<'t>) -> TanhGaussian<'t> {
        let [low, high] = self.log_std_bounds;
        TanhGaussian { base: Gaussian::from_columns(self.net.forward(s), low, high) }
    }

    /// Writes tanh μ for each of `obs`, or a sample if there is a key.
    pub(crate) fn act(
        &self,
        store: &mut Store,
        obs: ArrayView2<'_, Real>,
        key: Option<Key>,
        act: ArrayViewMut2<'_, Real>,
    ) {
        store.in_tiles(act, |tape, tile| {
            let pi = self.at(tape.input(obs.slice_axis(Axis(0), Slice::from(tile.clone()))));
            let a = key.map_or_else(|| pi.mode(), |key| pi.base.sample_from(key, tile.start).tanh());
            a * self.limit
        });
    }
}
// ANCHOR_END: actor

// ANCHOR: soft_value
/// (4)  min_j Q′_j(s′,a′) − α ln π(a′∣s′),   a′ ~ π(·∣s′)
pub(crate) fn soft_value<'t>(actor: Actor, target: Mlp, s2: Var<'t>, ln_alpha: Real, key: Key) -> Var<'t> {
    let (a2, log_pi) = actor.at(s2).sample(key);
    let value = target.forward(s2.cat(a2 * actor.limit)).min_members();
    value - s2.tape().scalar(ln_alpha).exp() * log_pi
}
// ANCHOR_END: soft_value

/// H̄, −|A| where nothing else is asked for.
pub(crate) fn target_entropy(asked: Option<Real>, spec: Spec) -> Real {
    asked.unwrap_or(-(spec.act as Real))
}

/// A positive number learnt through its logarithm, in a store of its own: gradients of the nets never reach it.
pub(crate) struct Multiplier {
    store: Store,
    adam: Adam,
}

impl Multiplier {
    pub(crate) fn new(name: &str, start: Real, rate: Real) -> Self {
        let mut store = Store::default();
        let at = store.tensor(name, Shape::SCALAR, |x| x[0] = start.ln());
        Self { store, adam: Adam::new(at..at + 1, rate) }
    }

    /// ln α.
    pub(crate) fn log(&self) -> Real {
        self.store.params()[0]
    }

    // ANCHOR: steer
    /// (2)  one step down −ln α·E[ ln π(ã∣s) + H̄ ]: the new α, on the tape of `log_pi`, and the entropy E[ −ln π(ã∣s) ]
    pub(crate) fn update_temperature<'t>(&mut self, log_pi: Var<'t>, target_entropy: Real) -> (Var<'t>, Real) {
        let entropy = -log_pi.mean().item();
        self.minimise(|ln_alpha| ln_alpha * (entropy - target_entropy));
        (log_pi.tape().scalar(self.log()).exp(), entropy)
    }
    // ANCHOR_END: steer

    /// Holds ln α in `[low, high]`.
    pub(crate) fn clamp(&mut self, low: Real, high: Real) {
        self.store.params_mut()[0] = self.log().clamp(low, high);
    }

    /// One step of Adam down a loss that is a function of ln α.
    pub(crate) fn minimise(&mut self, loss: impl for<'t> FnOnce(Var<'t>) -> Var<'t>) {
        self.adam.minimise(&mut self.store, |tape| loss(tape.parameter(0, Shape::SCALAR)));
    }
}

impl State for Multiplier {
    fn visit(&mut self, f: &mut dyn FnMut(&str, Slot<'_>)) {
        self.store.visit(f);
        under("adam", &mut self.adam, f);
    }
}

/// Handles of every net.
#[derive(Clone, Copy)]
struct Nets {
    actor: Actor,
    critic: Mlp,
    critic_target: Mlp,
}

/// A stochastic policy and two critics that count its entropy as reward.
pub struct Sac {
    spec: Spec,
    config: Config,
    store: Store,
    nets: Nets,
    temperature: Multiplier,
    actor_adam: Adam,
    critic_adam: Adam,
}

impl Sac {
    // ANCHOR: actor_step
    /// (2)  L_α = −E[ ln α·(ln π(ã∣s) + H̄) ],   ã ~ π(·∣s)
    /// (3)  L_π(φ) = E[ α ln π(ã∣s) − min_j Q_j(s,ã) ]
    /// (3′) L_π(φ) = E[ α ln π(ã∣s) − λ min_j Q_j(s,ã) ] + E[ ‖limit·tanh μ(s) − a‖² ],   λ = w / E[ |min_j Q_j(s,ã)| ]
    fn actor_step(&mut self, batch: Batch<'_>, key: Key) -> (Real, Real) {
        let (nets, temperature, limit) = (self.nets, &mut self.temperature, self.spec.act_limit);
        let target_entropy = target_entropy(self.config.target_entropy, self.spec);
        let weight = self.config.cloning;
        let cloned = if self.config.clone_real { batch.real } else { batch.len() };
        self.actor_adam.anneal(self.config.actor_lr, self.config.decay);
        self.actor_adam.minimise_with(&mut self.store, |tape| {
            let Transition { s, a, .. } = Transition::on(tape, batch);
            let pi = nets.actor.at(s);
            let (sampled, log_pi) = pi.sample(key);
            let (alpha, entropy) = temperature.update_temperature(log_pi, target_entropy);
            let q = nets.critic.forward(s.cat(sampled * limit)).min_members();
            let loss = match weight {
                None => (alpha * log_pi - q).mean(),
                Some(weight) => {
                    let lambda = q.detach().abs().mean().recip() * weight;
                    (alpha * log_pi - lambda * q).mean() + cloning(pi.mode() * limit, a, cloned)
                }
            };
            (loss, entropy)
        })
    }
    // ANCHOR_END: actor_step

    // ANCHOR: critic_step
    /// (4)  y = r + γ(1−d)(min_j Q′_j(s′,a′) − α ln π(a′∣s′)),   a′ ~ π(·∣s′)
    /// (5)  L_Q(θ) = Σ_j E[ (Q_j(s,a) − y)² ]
    fn critic_step(&mut self, batch: Batch<'_>, key: Key) -> (Real, Real) {
        let (nets, gamma) = (self.nets, self.config.gamma);
        let ln_alpha = self.temperature.log();
        self.critic_adam.anneal(self.config.critic_lr, self.config.decay);
        self.critic_adam.minimise_with(&mut self.store, |tape| {
            let Transition { s, a, r, s2, alive } = Transition::on(tape, batch);
            let y = r + alive * soft_value(nets.actor, nets.critic_target, s2, ln_alpha, key) * gamma;
            let q = nets.critic.forward(s.cat(a));
            ((q - y).square().mean() * 2.0, q.mean().item())
        })
    }
    // ANCHOR_END: critic_step

    // ANCHOR: advantage
    /// r + γ(1−d) min_j Q_j(s′,π̄(s′)) − min_j Q_j(s,a) of each row, π̄ the deterministic action, for those who build on SAC.
    pub(crate) fn advantage(&mut self, batch: Batch<'_>, out: &mut Vec<Real>) {
        let (nets, gamma, limit) = (self.nets, self.config.gamma, self.spec.act_limit);
        let Transition { s, a, r, s2, alive } = Transition::on(self.store.tape(), batch);
        let now = nets.critic.forward(s.cat(a)).min_members();
        let after = nets.critic.forward(s2.cat(nets.actor.at(s2).mode() * limit)).min_members();
        out.clear();
        (r + alive * after * gamma - now).read(|x| out.extend_from_slice(x));
    }
    // ANCHOR_END: advantage

    /// One step of the actor down −E[ ln π(a∣s) ], for those who begin as a clone. Returns the loss.
    pub(crate) fn cloning_step(&mut self, batch: Batch<'_>) -> Real {
        let (actor, limit) = (self.nets.actor, self.spec.act_limit);
        self.actor_adam.minimise(&mut self.store, |tape| {
            let Transition { s, a, .. } = Transition::on(tape, batch);
            -actor.at(s).log_prob(a * limit.recip()).mean()
        })
    }
}

impl Learner for Sac {
    // ANCHOR: update
    fn update(&mut self, batch: Batch<'_>, key: Key) -> Metrics {
        let (actor_loss, entropy) = self.actor_step(batch, key.name("actor"));
        let (critic_loss, q) = self.critic_step(batch, key.name("target"));
        polyak(&mut self.store, &self.nets.critic_target, &self.nets.critic, self.config.tau);
        let ln_alpha = self.temperature.log();
        [
            ("actor_loss", actor_loss),
            ("critic_loss", critic_loss),
            ("q", q),
            ("entropy", entropy),
            ("ln_alpha", ln_alpha),
        ]
        .into()
    }
    // ANCHOR_END: update
}

/// Acts with tanh μ, or, given a key, with a sample.
impl Policy for Sac {
    fn spec(&self) -> Spec {
        self.spec
    }

    fn act(&mut self, obs: ArrayView2<'_, Real>, key: Option<Key>, act: ArrayViewMut2<'_, Real>) {
        let actor = self.nets.actor;
        actor.act(&mut self.store, obs, key, act);
    }
}

impl State for Sac {
    fn visit(&mut self, f: &mut dyn FnMut(&str, Slot<'_>)) {
        self.store.visit(f);
        under("temperature", &mut self.temperature, f);
        under("actor_adam", &mut self.actor_adam, f);
        under("critic_adam", &mut self.critic_adam, f);
    }
}

impl crate::parity::Replayed for Sac {
    fn arena(&mut self) -> &mut backcast_nn::Arena {
        self.store.arena_mut()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ndarray::Array2;

    fn rows() -> Transitions {
        let mut rows = Transitions::new(Spec::new(2, 2).with_act_limit(2.0));
        for i in 0..64 {
            let mut x = [0.0; 6];
            Key::new(1).fold(i).normal(&mut x);
            rows.push(&x[..2], &[x[2].tanh() * 2.0, x[3].tanh() * 2.0], x[0], &x[4..], i % 5 == 0);
        }
        rows
    }

    fn ln_alpha(config: Config) -> (Real, Real) {
        let rows = rows();
        let mut sac = config.build(rows.spec(), Key::new(2)).expect("a sound configuration");
        let run = |updates, sac: &mut Sac| {
            (0..updates).map(|step| sac.update(rows.batch(), Key::new(3).fold(step))).last().expect("an update")
        };
        let early = run(1, &mut sac).get("ln_alpha").expect("a metric");
        (early, run(30, &mut sac).get("ln_alpha").expect("a metric"))
    }

    /// Entropy above its target makes it cheap, entropy below makes it dear; a rate of zero leaves the price alone.
    #[test]
    fn the_temperature_moves_towards_the_target_entropy() {
        let small = Config { hidden: vec![8], alpha: 0.5, alpha_lr: 1e-2, ..Default::default() };
        let start = (0.5 as Real).ln();
        // No action has more entropy than a uniform one, 2 ln 2 = 1.4.
        let (early, late) = ln_alpha(Config { target_entropy: Some(5.0), ..small.clone() });
        assert!(start < early && early < late && late > start + 0.2, "{start} {early} {late}");
        let (early, late) = ln_alpha(Config { target_entropy: Some(-5.0), ..small.clone() });
        assert!(start > early && early > late && late < start - 0.2, "{start} {early} {late}");
        assert_eq!(ln_alpha(Config { alpha_lr: 0.0, ..small }), (start, start));
    }

    /// With one state and a fixed temperature the best policy is exp(Q/α); for Q = −c‖a − m‖² that is a Gaussian of
    /// deviation √(α/2c) about m, wherever the edges of the box are far.
    #[test]
    fn a_fixed_temperature_gives_its_width() {
        let (spec, key) = (Spec::new(1, 1).with_act_limit(2.0), Key::new(4));
        let mut rows = Transitions::new(spec);
        for i in 0..512 {
            let a = key.fold(i).unit() * 4.0 - 2.0;
            rows.push(&[0.0], &[a], -10.0 * (a - 0.6) * (a - 0.6), &[0.0], true);
        }
        let config = Config {
            hidden: vec![32, 32],
            alpha: 0.8,
            alpha_lr: 0.0,
            actor_lr: 3e-3,
            critic_lr: 3e-3,
            ..Default::default()
        };
        let mut sac = config.build(spec, Key::new(5)).expect("a sound configuration");
        let mut staging = Transitions::new(spec);
        for step in 0..2000 {
            let key = Key::new(6).fold(step);
            sac.update(rows.sample(key.name("batch"), 128, &mut staging), key.name("update"));
        }
        let mut act = Array2::zeros((4000, 1));
        sac.act(Array2::zeros((4000, 1)).view(), Some(Key::new(7)), act.view_mut());
        let (mean, std) = (act.mean().expect("samples"), act.std(0.0));
        assert!((mean - 0.6).abs() < 0.1 && (std - 0.2).abs() < 0.05, "mean {mean}, deviation {std}");
        let mut mode = Array2::zeros((1, 1));
        sac.act(Array2::zeros((1, 1)).view(), None, mode.view_mut());
        assert!((mode[[0, 0]] - 0.6).abs() < 0.1, "{}", mode[[0, 0]]);
    }

    /// Where the value does not care, SAC+BC does what the log did.
    #[test]
    fn cloning_holds_to_the_dataset() {
        let mut rows = Transitions::new(Spec::new(1, 1));
        (0..64).for_each(|_| rows.push(&[0.0], &[-0.7], 0.0, &[0.0], true));
        let config =
            Config { hidden: vec![16], alpha: 1e-3, cloning: Some(0.01), actor_lr: 3e-3, ..Default::default() };
        let mut sac = config.build(rows.spec(), Key::new(8)).expect("a sound configuration");
        for step in 0..600 {
            sac.update(rows.batch(), Key::new(9).fold(step));
        }
        let mut act = Array2::zeros((1, 1));
        sac.act(Array2::zeros((1, 1)).view(), None, act.view_mut());
        assert!((act[[0, 0]] + 0.7).abs() < 0.1, "{}", act[[0, 0]]);
    }
}
