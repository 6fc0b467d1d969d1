//! TD3+BC (Fujimoto & Gu, *A minimalist approach to offline reinforcement learning*, NeurIPS 2021, arXiv:2106.06860),
//! on TD3 (Fujimoto, van Hoof & Meger, arXiv:1802.09477).
//!
//! | equation | code |
//! |---|---|
//! | (1) y = r + γ(1−d) min_j Q′_j(s′, clip(π′(s′) + clip(ε, ±c))) | [`Td3Bc::critic_step`] |
//! | (2) L_Q(θ) = Σ_j E[ (Q_j(s,a) − y)² ] | [`Td3Bc::critic_step`] |
//! | (3) L_π(φ) = −λ E[ Q₁(s, π(s)) ] + E[ ‖π(s) − a‖² ], λ = α / E[ |Q₁(s, π(s))| ] | [`Td3Bc::actor_step`] |
//!
//! Update order: (1), (2); every second update (3), then both targets by Polyak, as in the authors' code. The authors
//! standardise observations (mean, deviation + 1e-3); here the normaliser outside does.

use crate::blocks::{
    deterministic::cloning,
    deterministic_actor_critic::{DeterministicActorCritic, Setup},
    transition::Transition,
    value::bellman_error,
};
use backcast_core::{
    Algorithm, Batch, COUNT, ConfigError, FRACTION, Key, Learner, Metrics, NON_NEGATIVE, POSITIVE,
    Problem, Real, SHARE, acts_as, hyperparameters,
};
use backcast_nn::{HIDDEN, Precision, state};
use ndarray::ArrayView2;

hyperparameters! {
    /// One field per symbol; defaults of the authors' code.
    pub struct Config {
        /// Discount γ.
        gamma: Real = 0.99, SHARE;
        /// Weight α of the value against cloning.
        alpha: Real = 2.5, NON_NEGATIVE;
        /// Clones real rows alone where a batch has imagined ones too; else both, as ROMI's agents do.
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
        let rates = [self.actor_lr, self.critic_lr];
        let setup = Setup::new(&self.hidden, rates, self.precision);
        let spec = problem.into().spec;
        let core = DeterministicActorCritic::new(spec, setup, key, |_, _, _| {});
        Ok(Td3Bc { config: self.clone(), core })
    }
}

/// TD3 with a cloning term.
pub struct Td3Bc {
    config: Config,
    core: DeterministicActorCritic,
}

impl Td3Bc {
    // ANCHOR: critic_step
    /// (1)  y = r + γ(1−d) min_j Q′_j(s′, clip(π′(s′) + clip(ε, ±c)))
    /// (2)  L_Q(θ) = Σ_j E[ (Q_j(s,a) − y)² ]
    fn critic_step(&mut self, batch: Batch<'_>, key: Key) -> (Real, Real) {
        let &Config { gamma, policy_noise, noise_clip, .. } = &self.config;
        let DeterministicActorCritic { store, nets, critic_adam, .. } = &mut self.core;
        critic_adam.minimise_with(store, |tape| {
            let y = tape.no_grad(|tape| {
                let Transition { r, s2, alive, .. } = Transition::on(tape, batch);
                let a2 = nets.smoothed_target(s2, policy_noise, noise_clip, key);
                r + alive * nets.critic_target.forward(s2.cat(a2)).min_members() * gamma
            });
            let Transition { s, a, .. } = Transition::on(tape, batch);
            bellman_error(nets.critic, s, a, y)
        })
    }
    // ANCHOR_END: critic_step

    // ANCHOR: actor_step
    /// (3)  L_π(φ) = −λ E[ Q₁(s, π(s)) ] + E[ ‖π(s) − a‖² ],   λ = α / E[ |Q₁(s, π(s))| ] without gradient
    fn actor_step(&mut self, batch: Batch<'_>) -> Real {
        let alpha = self.config.alpha;
        let cloned = if self.config.clone_real { batch.real } else { batch.len() };
        let DeterministicActorCritic { store, nets, actor_adam, .. } = &mut self.core;
        actor_adam.minimise(store, |tape| {
            let Transition { s, a, .. } = Transition::on(tape, batch);
            let action = nets.act(s);
            let q1 = nets.critic.forward_member(s.cat(action), 0);
            let lambda = q1.detach().abs().mean().recip() * alpha;
            cloning(action, a, cloned) - lambda * q1.mean()
        })
    }
    // ANCHOR_END: actor_step

    /// V(s) = min_j Q′_j(s, π(s)) of every row of `obs`, `[rows, obs]`, into `out`, `[rows]`: what the target critics
    /// say of the policy's own actions.
    ///
    /// # Panics
    /// If the numbers of rows differ.
    pub fn values(&mut self, obs: ArrayView2<'_, Real>, out: &mut [Real]) {
        let DeterministicActorCritic { store, nets, .. } = &mut self.core;
        let s = store.tape().input(obs);
        let q = nets.critic_target.forward(s.cat(nets.act(s))).min_members();
        q.read(|q| out.copy_from_slice(q));
    }
}

impl Learner for Td3Bc {
    fn update(&mut self, batch: Batch<'_>, key: Key) -> Metrics {
        let (critic_loss, q) = self.critic_step(batch, key.name("target noise"));
        let mut metrics = Metrics::from([("critic_loss", critic_loss), ("q", q)]);
        if self.core.actor_is_due(self.config.policy_period) {
            metrics.put("actor_loss", self.actor_step(batch));
            self.core.update_targets(self.config.tau);
        }
        metrics
    }
}

acts_as!(Td3Bc: core);
state!(Td3Bc: core);

#[cfg(test)]
mod tests {
    use super::*;
    use backcast_core::{Policy, Slot, Spec, State, Transitions};
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
        let target = learner.core.nets.critic_target;
        let tape = learner.core.store.tape();
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
