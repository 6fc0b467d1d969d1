//! AWAC, advantage-weighted actor–critic (Nair, Gupta, Dalal & Levine, *AWAC: accelerating online reinforcement
//! learning with offline datasets*, 2020, arXiv:2006.09359).
//!
//! | equation | code |
//! |---|---|
//! | (1) y = r + γ(1−d) min_j Q′_j(s′,a′), a′ ~ π(·∣s′) | [`Awac::critic_step`] |
//! | (2) L_Q(θ) = Σ_j E[ (Q_j(s,a) − y)² ] | [`Awac::critic_step`] |
//! | (3) A(s,a) = min_j Q_j(s,a) − min_j Q_j(s,ã), ã ~ π(·∣s) | [`Awac::actor_step`] |
//! | (4) L_π(φ) = −E[ min(exp(A(s,a)/λ), 100)·ln π(a∣s) ] | [`Awac::actor_step`] |
//!
//! Update order: (1), (2), then (3), (4) with the new critics, then the target critics by Polyak, as in CORL.
//!
//! The best policy that stays within a given divergence of the behaviour policy is that policy weighted by exp(A/λ);
//! (4) clones it. Like [`iql`](crate::iql) it is weighted cloning, and its policy is the same: a Gaussian with a
//! state-independent ln σ. Unlike it, it asks the critics about actions of its own, in (1) and for the baseline in (3);
//! one sample each.
//!
//! Beyond CORL, whose mean is not bounded: the mean passes through tanh and ln σ is held in [−5, 2], as in IQL here.
//! Samples are clipped to the box. CORL standardises observations.

use crate::blocks::{
    actor::GaussianActor,
    transition::{Transition, sizes},
    value::bellman_error,
};
use backcast_core::{
    Algorithm, Batch, ConfigError, FRACTION, Key, Learner, Metrics, POSITIVE, Policy, Problem,
    Real, SHARE, Spec, hyperparameters,
};
use backcast_nn::{Activation, Adam, HIDDEN, Init, Mlp, Precision, Store, polyak, state};
use ndarray::{ArrayView2, ArrayViewMut2};

hyperparameters! {
    /// One field per symbol; defaults of CORL for locomotion.
    pub struct Config {
        /// Discount γ.
        gamma: Real = 0.99, SHARE;
        /// Temperature λ of the weights: 1/3 for locomotion, 0.1 elsewhere.
        lambda: Real = 1.0 / 3.0, POSITIVE;
        /// Bound of the weights.
        weight_bound: Real = 100.0, POSITIVE;
        /// Polyak rate of the target critics.
        tau: Real = 0.005, FRACTION;
        /// Learning rate of π.
        actor_lr: Real = 3e-4, POSITIVE;
        /// Learning rate of Q.
        critic_lr: Real = 3e-4, POSITIVE;
        /// Units of the hidden layers.
        hidden: Vec<usize> = vec![256, 256, 256], HIDDEN;
        /// How large products are computed. Everything is `F32` unless asked; see [`Precision`].
        precision: Precision = Precision::F32;
    }
}

impl Algorithm for Config {
    const NAME: &str = "awac";
    const PAPER: &str = "Nair, Gupta, Dalal & Levine, AWAC: accelerating online reinforcement learning with offline \
                                 datasets, arXiv:2006.09359";
    const SOURCE: &str = include_str!("awac.rs");
    type Learner = Awac;

    fn build(&self, problem: impl Into<Problem>, key: Key) -> Result<Awac, ConfigError> {
        self.check()?;
        let spec = problem.into().spec;
        let mut store = Store::in_precision(self.precision);
        let actor = GaussianActor::new(&mut store, spec, &self.hidden, Init::FanIn, key);
        let dims = sizes(spec.obs + spec.act, &self.hidden, 1);
        let critic = Mlp::new(&mut store, "critic", &dims, 2, Activation::Relu, Init::FanIn, key);
        let critic_target = critic.duplicate(&mut store, "critic_target");
        let actor_adam = Adam::new(actor.range(), self.actor_lr);
        let critic_adam = Adam::new(critic.range(), self.critic_lr);
        let nets = Nets { actor, critic, critic_target };
        Ok(Awac { spec, config: self.clone(), store, nets, actor_adam, critic_adam })
    }
}

/// Handles of every net.
#[derive(Clone, Copy)]
struct Nets {
    actor: GaussianActor,
    critic: Mlp,
    critic_target: Mlp,
}

/// Cloning weighed by how much better than the policy's own each recorded action is.
pub struct Awac {
    spec: Spec,
    config: Config,
    store: Store,
    nets: Nets,
    actor_adam: Adam,
    critic_adam: Adam,
}

impl Awac {
    // ANCHOR: critic_step
    /// (1)  y = r + γ(1−d) min_j Q′_j(s′,a′),   a′ ~ π(·∣s′)
    /// (2)  L_Q(θ) = Σ_j E[ (Q_j(s,a) − y)² ]
    fn critic_step(&mut self, batch: Batch<'_>, key: Key) -> (Real, Real) {
        let (nets, gamma, limit) = (self.nets, self.config.gamma, self.spec.act_limit);
        self.critic_adam.minimise_with(&mut self.store, |tape| {
            let y = tape.no_grad(|tape| {
                let Transition { r, s2, alive, .. } = Transition::on(tape, batch);
                let a2 = nets.actor.at(s2).sample(key).clamp(-limit, limit);
                r + alive * nets.critic_target.forward(s2.cat(a2)).min_members() * gamma
            });
            let Transition { s, a, .. } = Transition::on(tape, batch);
            bellman_error(nets.critic, s, a, y)
        })
    }
    // ANCHOR_END: critic_step

    // ANCHOR: actor_step
    /// (3)  A(s,a) = min_j Q_j(s,a) − min_j Q_j(s,ã),   ã ~ π(·∣s)
    /// (4)  L_π(φ) = −E[ min(exp(A(s,a)/λ), 100)·ln π(a∣s) ]
    fn actor_step(&mut self, batch: Batch<'_>, key: Key) -> (Real, Real) {
        let (nets, limit) = (self.nets, self.spec.act_limit);
        let &Config { lambda, weight_bound, .. } = &self.config;
        self.actor_adam.minimise_with(&mut self.store, |tape| {
            let Transition { s, a, .. } = Transition::on(tape, batch);
            let pi = nets.actor.at(s);
            let sampled = pi.sample(key).clamp(-limit, limit);
            let [recorded, own] = [a, sampled].map(|a| nets.critic.forward(s.cat(a)).min_members());
            // Bounded before the exponential, which would otherwise overflow.
            let exponent = ((recorded - own) * (1.0 / lambda)).clamp(Real::MIN, weight_bound.ln());
            let weight = exponent.exp().detach();
            (-(weight * pi.log_prob(a)).mean(), weight.mean().item())
        })
    }
    // ANCHOR_END: actor_step
}

impl Learner for Awac {
    // ANCHOR: update
    fn update(&mut self, batch: Batch<'_>, key: Key) -> Metrics {
        let (critic_loss, q) = self.critic_step(batch, key.name("target"));
        let (actor_loss, weight) = self.actor_step(batch, key.name("actor"));
        polyak(&mut self.store, &self.nets.critic_target, &self.nets.critic, self.config.tau);
        [("critic_loss", critic_loss), ("actor_loss", actor_loss), ("q", q), ("weight", weight)]
            .into()
    }
    // ANCHOR_END: update
}

/// Acts with the mean.
impl Policy for Awac {
    fn spec(&self) -> Spec {
        self.spec
    }

    fn act(&mut self, obs: ArrayView2<'_, Real>, _: Option<Key>, act: ArrayViewMut2<'_, Real>) {
        let actor = self.nets.actor;
        actor.at(self.store.tape().input(obs)).mean.write_to(act);
    }
}

state!(Awac: store, actor_adam, critic_adam);

#[cfg(test)]
mod tests {
    use super::*;
    use backcast_core::Transitions;
    use ndarray::Array2;

    /// Two habits in one state: −0.8 pays 0, +0.8 pays 1. The mean of the policy that weighs them by e⁰ and e^(1/λ).
    #[test]
    fn habits_are_weighed_by_the_exponential_of_their_advantage() {
        let mut rows = Transitions::new(Spec::new(1, 1));
        (0..64).for_each(|i| {
            rows.push(&[0.0], &[if i % 2 == 0 { -0.8 } else { 0.8 }], (i % 2) as Real, &[0.0], true)
        });
        let acts = |lambda| {
            let rates = Config { actor_lr: 3e-3, critic_lr: 3e-3, ..Default::default() };
            let config = Config { lambda, hidden: vec![16, 16], ..rates };
            let mut awac = config.build(rows.spec(), Key::new(1)).expect("a sound configuration");
            for step in 0..1500 {
                awac.update(rows.batch(), Key::new(2).fold(step));
            }
            let mut act = Array2::zeros((1, 1));
            awac.act(Array2::zeros((1, 1)).view(), None, act.view_mut());
            act[[0, 0]]
        };
        for lambda in [0.5, 2.0] {
            // Whatever the baseline is, it weighs both habits alike.
            let ratio = (1.0 / lambda as Real).exp();
            let want = 0.8 * (ratio - 1.0) / (ratio + 1.0);
            let got = acts(lambda);
            assert!((got - want).abs() < 0.08, "λ = {lambda}: {got} is not {want}");
        }
    }

    #[test]
    fn weights_are_bounded() {
        let mut rows = Transitions::new(Spec::new(1, 1));
        (0..64).for_each(|i| {
            rows.push(&[0.0], &[0.1 * (i % 7) as Real], 50.0 * (i % 7) as Real, &[0.0], true)
        });
        let config = Config {
            lambda: 1e-3,
            hidden: vec![16],
            critic_lr: 1e-2,
            weight_bound: 5.0,
            ..Default::default()
        };
        let mut awac = config.build(rows.spec(), Key::new(3)).expect("a sound configuration");
        let weight = (0..200)
            .filter_map(|step| awac.update(rows.batch(), Key::new(4).fold(step)).get("weight"));
        let (least, most) = weight.fold((Real::MAX, Real::MIN), |(a, b), w| (a.min(w), b.max(w)));
        assert!(most > 0.5 && most <= 5.0001 && least >= 0.0, "{least} to {most}");
    }
}
