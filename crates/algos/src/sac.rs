//! SAC, soft actor–critic (Haarnoja, Zhou, Abbeel & Levine, *Soft actor-critic*, ICML 2018, arXiv:1801.01290), with the
//! temperature learnt (Haarnoja et al., *Soft actor-critic algorithms and applications*, arXiv:1812.05905), on batches from
//! a dataset. What conservative and ensemble agents are built on; alone, it has nothing that keeps it to the dataset.
//!
//! | equation | code |
//! |---|---|
//! | (1) π(a∣s): a = limit·tanh(u), u ~ N(μ(s), σ(s)²) | [`Actor::at`](crate::blocks::actor::Actor::at) |
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
//! [`NARROW_LOG_STD_BOUNDS`](crate::blocks::actor::NARROW_LOG_STD_BOUNDS) say whose are whose.
//!
//! Densities are of a/limit, an action in units of its limit, so that H̄ means the same in any box. ln α is the multiplier
//! in (2), as in rlkit, where the paper has α: the sign of the slope is the same. (3′) is SAC+BC, which has no canonical
//! source: λ is TD3+BC's, and the square is averaged over action dimensions, as there.

use crate::blocks::{
    actor::{LOG_STD_BOUNDS, check_log_std_bounds, target_entropy},
    actor_critic::{ActorCritic, Nets, Sizes},
    deterministic::cloning,
    transition::Transition,
    value::soft_value,
};
use backcast_core::{
    ANY, Algorithm, Batch, ConfigError, FRACTION, Key, Learner, Metrics, NON_NEGATIVE, POSITIVE,
    Problem, Real, SHARE, Spec, acts_as, hyperparameters,
};
use backcast_nn::{HIDDEN, Precision, state};

hyperparameters! {
    /// One field per symbol; defaults of arXiv:1812.05905, table 1, where it says nothing else.
    pub struct Config {
        /// Discount γ.
        gamma: Real = 0.99, SHARE;
        /// Temperature α at the start: the penalty of a nat of entropy, in units of the value. 1 in rlkit.
        alpha: Real = 1.0, POSITIVE;
        /// Learning rate of ln α; 0 keeps α as it is.
        alpha_lr: Real = 3e-4, NON_NEGATIVE;
        /// Entropy H̄ that α is steered to, in nats, of actions in units of their limit; none is −\|A\|.
        target_entropy: Option<Real> = None, ANY.unit("nats");
        /// Bounds of ln σ, low and high; none is those of the algorithm: [`LOG_STD_BOUNDS`] in SAC, MOPO, MOReL and MBPO,
        /// [`NARROW_LOG_STD_BOUNDS`](crate::blocks::actor::NARROW_LOG_STD_BOUNDS) in RAMBO.
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
        lr_decay_steps: u64 = 0;
        /// Whether critics have layer normalisation between sums and activations; ours, off in the paper.
        layer_norm: bool = false;
        /// Units of the hidden layers.
        hidden: Vec<usize> = vec![256, 256], HIDDEN;
        /// How large products are computed. Everything is `F32` unless asked; see [`Precision`].
        precision: Precision = Precision::F32;
    }
    together(config) {
        check_log_std_bounds(config.log_std_bounds)
    }
}

impl Algorithm for Config {
    const NAME: &str = "sac";
    const PAPER: &str =
        "Haarnoja et al., Soft actor-critic algorithms and applications, arXiv:1812.05905";
    const SOURCE: &str = include_str!("sac.rs");
    type Learner = Sac;

    fn build(&self, problem: impl Into<Problem>, key: Key) -> Result<Sac, ConfigError> {
        self.build_within(LOG_STD_BOUNDS, problem.into().spec, key)
    }
}

impl Config {
    /// The agent, with bounds of ln σ for those who have others than SAC.
    pub(crate) fn build_within(
        &self,
        bounds: [Real; 2],
        spec: Spec,
        key: Key,
    ) -> Result<Sac, ConfigError> {
        self.check()?;
        let sizes = Sizes {
            hidden: &self.hidden,
            critics: 2,
            layer_norm: self.layer_norm,
            log_std_bounds: self.log_std_bounds.unwrap_or(bounds),
            precision: self.precision,
        };
        let core = ActorCritic::new(spec, sizes, key, |_, _, _| {});
        let mut core = core.with_temperature(self.alpha, self.alpha_lr);
        core.set_rates(self.actor_lr, self.critic_lr, 0);
        Ok(Sac { config: self.clone(), core })
    }
}

/// A stochastic policy and two critics that count its entropy as reward.
pub struct Sac {
    config: Config,
    core: ActorCritic,
}

impl Sac {
    // ANCHOR: actor_step
    /// (2)  L_α = −E[ ln α·(ln π(ã∣s) + H̄) ],   ã ~ π(·∣s)
    /// (3)  L_π(φ) = E[ α ln π(ã∣s) − min_j Q_j(s,ã) ]
    /// (3′) L_π(φ) = E[ α ln π(ã∣s) − λ min_j Q_j(s,ã) ] + E[ ‖limit·tanh μ(s) − a‖² ],   λ = w / E[ |min_j Q_j(s,ã)| ]
    fn actor_step(&mut self, batch: Batch<'_>, key: Key) -> (Real, Real) {
        let ActorCritic { spec, store, nets, temperature, actor_adam, .. } = &mut self.core;
        let entropy = target_entropy(self.config.target_entropy, *spec);
        let cloned = if self.config.clone_real { batch.real } else { batch.len() };
        actor_adam.minimise_with(store, |tape| {
            let Transition { s, a, .. } = Transition::on(tape, batch);
            let pi = nets.actor.at(s);
            let (sampled, log_pi) = pi.sample(key);
            let (alpha, entropy) = temperature.update_temperature(log_pi, entropy);
            let q = nets.critic.forward(s.cat(sampled * spec.act_limit)).min_members();
            let loss = match self.config.cloning {
                None => (alpha * log_pi - q).mean(),
                Some(weight) => {
                    let lambda = q.detach().abs().mean().recip() * weight;
                    let gain = (alpha * log_pi - lambda * q).mean();
                    gain + cloning(pi.mode() * spec.act_limit, a, cloned)
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
        let ActorCritic { store, nets, temperature, critic_adam, .. } = &mut self.core;
        critic_adam.minimise_with(store, |tape| {
            let Transition { s, a, r, s2, alive } = Transition::on(tape, batch);
            let value = soft_value(nets.actor, nets.critic_target, s2, temperature.log(), key);
            let y = r + alive * value * self.config.gamma;
            let q = nets.critic.forward(s.cat(a));
            ((q - y).square().mean() * 2.0, q.mean().item())
        })
    }
    // ANCHOR_END: critic_step

    // ANCHOR: advantage
    /// r + γ(1−d) min_j Q_j(s′,π̄(s′)) − min_j Q_j(s,a) of each row, π̄ the deterministic action, for those who build on SAC.
    #[cfg_attr(not(feature = "model-based"), expect(dead_code, reason = "its users learn models"))]
    pub(crate) fn advantage(&mut self, batch: Batch<'_>, out: &mut Vec<Real>) {
        let ActorCritic { spec, store, nets: Nets { actor, critic, .. }, .. } = &mut self.core;
        let Transition { s, a, r, s2, alive } = Transition::on(store.tape(), batch);
        let now = critic.forward(s.cat(a)).min_members();
        let after = critic.forward(s2.cat(actor.at(s2).mode() * spec.act_limit)).min_members();
        (r + alive * after * self.config.gamma - now).copy_into(out);
    }
    // ANCHOR_END: advantage

    /// One step of the actor down −E[ ln π(a∣s) ], for those who begin as a clone. Returns the loss.
    #[cfg_attr(not(feature = "model-based"), expect(dead_code, reason = "its users learn models"))]
    pub(crate) fn cloning_step(&mut self, batch: Batch<'_>) -> Real {
        let ActorCritic { spec, store, nets, actor_adam, .. } = &mut self.core;
        actor_adam.minimise(store, |tape| {
            let Transition { s, a, .. } = Transition::on(tape, batch);
            -nets.actor.at(s).log_prob(a * spec.act_limit.recip()).mean()
        })
    }
}

impl Learner for Sac {
    // ANCHOR: update
    fn update(&mut self, batch: Batch<'_>, key: Key) -> Metrics {
        let &Config { actor_lr, critic_lr, lr_decay_steps, tau, .. } = &self.config;
        self.core.set_rates(actor_lr, critic_lr, lr_decay_steps);
        let (actor_loss, entropy) = self.actor_step(batch, key.name("actor"));
        let (critic_loss, q) = self.critic_step(batch, key.name("target"));
        self.core.update_targets(tau);
        let ln_alpha = self.core.temperature.log();
        let losses = [("actor_loss", actor_loss), ("critic_loss", critic_loss), ("q", q)];
        *Metrics::from(losses).put("entropy", entropy).put("ln_alpha", ln_alpha)
    }
    // ANCHOR_END: update
}

acts_as!(Sac: core);
state!(Sac: core);

#[cfg(test)]
mod tests {
    use super::*;
    use backcast_core::{Policy, Source, Transitions};
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
            (0..updates)
                .map(|step| sac.update(rows.batch(), Key::new(3).fold(step)))
                .last()
                .expect("an update")
        };
        let early = run(1, &mut sac).get("ln_alpha").expect("a metric");
        (early, run(30, &mut sac).get("ln_alpha").expect("a metric"))
    }

    /// Entropy above its target makes it cheap, entropy below makes it dear; a rate of zero leaves the penalty alone.
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
        assert!(
            (mean - 0.6).abs() < 0.1 && (std - 0.2).abs() < 0.05,
            "mean {mean}, deviation {std}"
        );
        let mut mode = Array2::zeros((1, 1));
        sac.act(Array2::zeros((1, 1)).view(), None, mode.view_mut());
        assert!((mode[[0, 0]] - 0.6).abs() < 0.1, "{}", mode[[0, 0]]);
    }

    /// Where the value does not care, SAC+BC does what the dataset did.
    #[test]
    fn cloning_holds_to_the_dataset() {
        let mut rows = Transitions::new(Spec::new(1, 1));
        (0..64).for_each(|_| rows.push(&[0.0], &[-0.7], 0.0, &[0.0], true));
        let config = Config {
            hidden: vec![16],
            alpha: 1e-3,
            cloning: Some(0.01),
            actor_lr: 3e-3,
            ..Default::default()
        };
        let mut sac = config.build(rows.spec(), Key::new(8)).expect("a sound configuration");
        for step in 0..600 {
            sac.update(rows.batch(), Key::new(9).fold(step));
        }
        let mut act = Array2::zeros((1, 1));
        sac.act(Array2::zeros((1, 1)).view(), None, act.view_mut());
        assert!((act[[0, 0]] + 0.7).abs() < 0.1, "{}", act[[0, 0]]);
    }
}
