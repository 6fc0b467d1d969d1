//! TD3+BC (Fujimoto & Gu, *A minimalist approach to offline reinforcement learning*, NeurIPS 2021, arXiv:2106.06860),
//! on TD3 (Fujimoto, van Hoof & Meger, arXiv:1802.09477).
//!
//! | equation | code |
//! |---|---|
//! | (1) y = r + γ(1−d) min_j Q′_j(s′, clip(π′(s′) + clip(ε, ±c))) | [`Td3Bc::critic_step`] |
//! | (2) L_Q(θ) = Σ_j E[ (Q_j(s,a) − y)² ] | [`Td3Bc::critic_step`] |
//! | (3) L_π(φ) = −λ E[ Q₁(s, π(s)) ] + E[ ‖π(s) − a‖² ], λ = α / E[ |Q₁(s, π(s))| ] | [`Td3Bc::actor_step`] |
//!
//! Update order: (1), (2); every second update (3), then both targets by Polyak, as in the authors' code.
//! The authors standardise observations (mean, deviation + 1e-3); here the normaliser outside does.

use crate::blocks::{
    deterministic::{cloning, policy, smoothed},
    transition::{Transition, sizes},
};
use backcast_core::{
    Algorithm, Batch, COUNT, ConfigError, FRACTION, Key, Learner, Metrics, NON_NEGATIVE, POSITIVE,
    Policy, Problem, Real, SHARE, Spec, hyperparameters,
};
use backcast_nn::{Activation, Adam, HIDDEN, Init, Mlp, Precision, Store, polyak, state};
use ndarray::{ArrayView2, ArrayViewMut2};

hyperparameters! {
    /// One field per symbol; defaults of the authors' code.
    pub struct Config {
        /// Discount γ.
        gamma: Real = 0.99, SHARE;
        /// Weight α of the value against cloning.
        alpha: Real = 2.5, NON_NEGATIVE;
        /// Clones real rows alone where a batch has imagined ones too; else both, as ROMI's learners do.
        clone_real: bool = false;
        /// Deviation of the noise on target actions, in units of the action limit.
        policy_noise: Real = 0.2, NON_NEGATIVE;
        /// Bound c of that noise, in units of the action limit.
        noise_clip: Real = 0.5, NON_NEGATIVE;
        /// Critic updates per actor update.
        policy_period: u64 = 2, COUNT;
        /// Polyak rate of the targets.
        tau: Real = 0.005, FRACTION;
        /// Learning rate of π.
        actor_lr: Real = 3e-4, POSITIVE;
        /// Learning rate of Q.
        critic_lr: Real = 3e-4, POSITIVE;
        /// Units of the hidden layers.
        hidden: Vec<usize> = vec![256, 256], HIDDEN;
        /// How large products are computed. Everything is `F32` unless asked; see [`Precision`].
        precision: Precision = Precision::F32;
    }
}

impl Algorithm for Config {
    const NAME: &str = "td3_bc";
    const PAPER: &str =
        "Fujimoto & Gu, A minimalist approach to offline reinforcement learning, arXiv:2106.06860";
    const SOURCE: &str = include_str!("td3_bc.rs");
    type Learner = Td3Bc;

    fn build(&self, problem: impl Into<Problem>, key: Key) -> Result<Td3Bc, ConfigError> {
        self.check()?;
        let spec = problem.into().spec;
        let mut store = Store::in_precision(self.precision);
        let actor_dims = sizes(spec.obs, &self.hidden, spec.act);
        let critic_dims = sizes(spec.obs + spec.act, &self.hidden, 1);
        let actor =
            Mlp::new(&mut store, "actor", &actor_dims, 1, Activation::Relu, Init::FanIn, key)
                .with_output(Activation::Tanh);
        let critic =
            Mlp::new(&mut store, "critic", &critic_dims, 2, Activation::Relu, Init::FanIn, key);
        let actor_target = actor.duplicate(&mut store, "actor_target");
        let critic_target = critic.duplicate(&mut store, "critic_target");
        let actor_adam = Adam::new(actor.range(), self.actor_lr);
        let critic_adam = Adam::new(critic.range(), self.critic_lr);
        let config = self.clone();
        Ok(Td3Bc {
            spec,
            config,
            store,
            actor,
            critic,
            actor_target,
            critic_target,
            actor_adam,
            critic_adam,
            updates: 0,
        })
    }
}

/// TD3 with a cloning term.
pub struct Td3Bc {
    spec: Spec,
    config: Config,
    store: Store,
    actor: Mlp,
    critic: Mlp,
    actor_target: Mlp,
    critic_target: Mlp,
    actor_adam: Adam,
    critic_adam: Adam,
    updates: u64,
}

impl Td3Bc {
    // ANCHOR: critic_step
    /// (1)  y = r + γ(1−d) min_j Q′_j(s′, clip(π′(s′) + clip(ε, ±c)))
    /// (2)  L_Q(θ) = Σ_j E[ (Q_j(s,a) − y)² ]
    fn critic_step(&mut self, batch: Batch<'_>, key: Key) -> (Real, Real) {
        let (&Config { gamma, policy_noise, noise_clip, .. }, limit) =
            (&self.config, self.spec.act_limit);
        let (critic, actor_target, critic_target) =
            (self.critic, self.actor_target, self.critic_target);
        self.critic_adam.minimise_with(&mut self.store, |tape| {
            let y = tape.no_grad(|tape| {
                let Transition { r, s2, alive, .. } = Transition::on(tape, batch);
                let a2 =
                    smoothed(policy(actor_target, limit, s2), policy_noise, noise_clip, limit, key);
                r + alive * critic_target.forward(s2.cat(a2)).min_members() * gamma
            });
            let Transition { s, a, .. } = Transition::on(tape, batch);
            let q = critic.forward(s.cat(a));
            ((q - y).square().mean() * 2.0, q.mean().item())
        })
    }
    // ANCHOR_END: critic_step

    // ANCHOR: actor_step
    /// (3)  L_π(φ) = −λ E[ Q₁(s, π(s)) ] + E[ ‖π(s) − a‖² ],   λ = α / E[ |Q₁(s, π(s))| ] without gradient
    fn actor_step(&mut self, batch: Batch<'_>) -> Real {
        let (actor, critic, alpha, limit) =
            (self.actor, self.critic, self.config.alpha, self.spec.act_limit);
        let cloned = if self.config.clone_real { batch.real } else { batch.len() };
        self.actor_adam.minimise(&mut self.store, |tape| {
            let Transition { s, a, .. } = Transition::on(tape, batch);
            let action = policy(actor, limit, s);
            let q1 = critic.forward_member(s.cat(action), 0);
            let lambda = q1.detach().abs().mean().recip() * alpha;
            cloning(action, a, cloned) - lambda * q1.mean()
        })
    }
    // ANCHOR_END: actor_step

    /// V(s) = min_j Q′_j(s, π(s)) of every row of `obs`, `[rows, obs]`, into `out`, `[rows]`: what the target critics say of the
    /// policy's own actions.
    ///
    /// # Panics
    /// If the numbers of rows differ.
    pub fn values(&mut self, obs: ArrayView2<'_, Real>, out: &mut [Real]) {
        let (actor, critic, limit) = (self.actor, self.critic_target, self.spec.act_limit);
        let s = self.store.tape().input(obs);
        critic
            .forward(s.cat(policy(actor, limit, s)))
            .min_members()
            .read(|q| out.copy_from_slice(q));
    }
}

impl Learner for Td3Bc {
    fn update(&mut self, batch: Batch<'_>, key: Key) -> Metrics {
        let (critic_loss, q) = self.critic_step(batch, key.name("target noise"));
        let mut metrics = Metrics::from([("critic_loss", critic_loss), ("q", q)]);
        self.updates += 1;
        if self.updates.is_multiple_of(self.config.policy_period) {
            metrics.put("actor_loss", self.actor_step(batch));
            polyak(&mut self.store, &self.critic_target, &self.critic, self.config.tau);
            polyak(&mut self.store, &self.actor_target, &self.actor, self.config.tau);
        }
        metrics
    }
}

impl Policy for Td3Bc {
    fn spec(&self) -> Spec {
        self.spec
    }

    fn act(&mut self, obs: ArrayView2<'_, Real>, _: Option<Key>, act: ArrayViewMut2<'_, Real>) {
        let (actor, limit) = (self.actor, self.spec.act_limit);
        policy(actor, limit, self.store.tape().input(obs)).write_to(act);
    }
}

state!(Td3Bc: store, actor_adam, critic_adam, updates);

#[cfg(test)]
mod tests {
    use super::*;
    use backcast_core::{Slot, State, Transitions};
    use ndarray::{Array2, array};

    /// Imagined rows do something else than recorded ones; who clones real rows alone does not follow them.
    #[test]
    fn cloning_real_rows_leaves_imagined_ones_alone() {
        let mut rows = Transitions::new(Spec::new(1, 1));
        (0..8).for_each(|_| rows.push(&[0.0], &[0.5], 0.0, &[0.0], true));
        rows.begin_imagined();
        (0..24).for_each(|_| rows.push(&[0.0], &[-0.5], 0.0, &[0.0], true));
        let learnt = |clone_real| {
            // A value of no weight leaves cloning alone.
            let config = Config {
                clone_real,
                alpha: 0.0,
                hidden: vec![8],
                actor_lr: 1e-2,
                ..Default::default()
            };
            let mut learner =
                config.build(rows.spec(), Key::new(1)).expect("a sound configuration");
            for step in 0..300 {
                learner.update(rows.batch(), Key::new(2).fold(step));
            }
            let mut act = Array2::zeros((1, 1));
            learner.act(Array2::zeros((1, 1)).view(), None, act.view_mut());
            act[[0, 0]]
        };
        let (real, all) = (learnt(true), learnt(false));
        assert!((real - 0.5).abs() < 0.02 && (all + 0.25).abs() < 0.02, "{real} and {all}");
    }

    #[test]
    fn values_are_the_smaller_target_critic_s_of_the_policy_s_action() {
        let config = Config { hidden: vec![8], ..Config::default() };
        let mut learner = config
            .build(Spec::new(2, 1).with_act_limit(2.0), Key::new(1))
            .expect("a sound configuration");
        // Targets unlike the critics, and different from each other.
        learner.visit(&mut |name, slot| {
            if let (true, Slot::Tensor(_, values)) = (name.starts_with("critic_target"), slot) {
                values
                    .iter_mut()
                    .enumerate()
                    .for_each(|(i, x)| *x = 1.5 * *x + 0.1 * (i % 3) as Real);
            }
        });
        let obs = array![[0.3, -1.0], [2.0, 0.5], [-0.7, 0.1]];
        let mut act = array![[0.0], [0.0], [0.0]];
        learner.act(obs.view(), None, act.view_mut());
        let (target, tape) = (learner.critic_target, learner.store.tape());
        let asked = tape.input(obs.view()).cat(tape.input(act.view()));
        let [a, b] =
            [0, 1].map(|member| target.forward_member(asked, member).read(<[Real]>::to_vec));
        let want: Vec<Real> = a.iter().zip(&b).map(|(a, b)| a.min(*b)).collect();
        assert!(want != a || want != b, "a test of both critics");
        let mut values = [9.0; 3];
        learner.values(obs.view(), &mut values);
        assert!(values.iter().zip(&want).all(|(v, w)| (v - w).abs() < 1e-6), "{values:?} {want:?}");
    }
}
