//! ReBRAC (Tarasov, Kurenkov, Nikulin & Kolesnikov, *Revisiting the minimalist approach to offline reinforcement
//! learning*, NeurIPS 2023, arXiv:2305.09836): [`td3_bc`](crate::td3_bc) whose penalties on actor and critic have
//! weights of their own, with deeper nets and critics that are normalised layer by layer. Read that file first; here is
//! what differs.
//!
//! | equation | code |
//! |---|---|
//! | (1) y = r + γ(1−d)( min_j Q′_j(s′,a′_π) − β₂‖a′_π − a′‖² ), a′_π = clip(π′(s′) + clip(ε, ±c)) | [`ReBrac::critic_step`] |
//! | (2) L_Q(θ) = Σ_j E[ (Q_j(s,a) − y)² ] | [`ReBrac::critic_step`] |
//! | (3) L_π(φ) = β₁ E[ ‖π(s) − a‖² ] − λ E[ min_j Q_j(s, π(s)) ], λ = 1 / E[ \|min_j Q_j(s, π(s))\| ] | [`ReBrac::actor_step`] |
//!
//! Update order: (1), (2); every second update (3), then both targets by Polyak, as in TD3. In the authors' code it is
//! the first of every two updates, and the actor's target moves towards the actor from before its step.
//!
//! a′ is the action the dataset has at s′: a batch must bring it along (`Transitions::with_next_actions`), and only
//! rows with a successor can. Squared norms are **sums** over action dimensions, where TD3+BC has means. λ is without
//! gradient.
//!
//! β₁ and β₂ differ by task over three orders of magnitude (the presets have them all), and the other settings go with
//! the batch: the defaults are those of locomotion, batches of **1024** at rates of 10⁻³. Observations are not
//! standardised.
//!
//! As in the authors' code: hidden biases start at 0.1, last layers within ±10⁻³ (actor) and ±3·10⁻³ (critics). Not
//! from it: layer normalisation stands before the activation, not behind it, and has no learnt scale or shift.

use crate::blocks::{
    begin_small::begin_small,
    deterministic_actor_critic::{DeterministicActorCritic, Setup},
    transition::Transition,
    value::bellman_error,
};
use backcast_core::{
    Algorithm, Batch, COUNT, ConfigError, FRACTION, Key, Learner, Metrics, NON_NEGATIVE, POSITIVE,
    Problem, Real, SHARE, acts_as, hyperparameters,
};
use backcast_nn::{HIDDEN, Precision, state};

hyperparameters! {
    /// One field per symbol; defaults of the authors' code for locomotion, β₁ and β₂ those of hopper-medium.
    pub struct Config {
        /// Discount γ; 0.999 for antmaze.
        gamma: Real = 0.99, SHARE;
        /// Weight β₁ of the actor's distance to the dataset.
        beta1: Real = 0.01, NON_NEGATIVE;
        /// Weight β₂ of the next action's distance to the dataset, in units of the value. At 0 a batch needs no next actions.
        beta2: Real = 0.01, NON_NEGATIVE;
        /// Deviation of the noise on target actions, in units of the action limit.
        policy_noise: Real = 0.2, NON_NEGATIVE;
        /// Bound c of that noise, in units of the action limit.
        noise_clip: Real = 0.5, NON_NEGATIVE;
        /// Critic updates per actor update.
        policy_period: u64 = 2, COUNT;
        /// Polyak rate of the targets.
        tau: Real = 0.005, FRACTION;
        /// Learning rate of π.
        actor_lr: Real = 1e-3, POSITIVE;
        /// Learning rate of Q.
        critic_lr: Real = 1e-3, POSITIVE;
        /// Whether critics have layer normalisation between sums and activations.
        layer_norm: bool = true;
        /// Units of the hidden layers.
        hidden: Vec<usize> = vec![256, 256, 256], HIDDEN;
        /// How large products are computed. Everything is `F32` unless asked; see [`Precision`].
        precision: Precision = Precision::F32;
    }
}

impl Algorithm for Config {
    const NAME: &str = "rebrac";
    const PAPER: &str = "Tarasov et al., Revisiting the minimalist approach to offline reinforcement learning, arXiv:2305.09836";
    const SOURCE: &str = include_str!("rebrac.rs");
    type Learner = ReBrac;

    fn build(&self, problem: impl Into<Problem>, key: Key) -> Result<ReBrac, ConfigError> {
        self.check()?;
        let rates = [self.actor_lr, self.critic_lr];
        let setup = Setup::new(&self.hidden, rates, self.precision);
        let setup = Setup { layer_norm: self.layer_norm, ..setup };
        let spec = problem.into().spec;
        let core = DeterministicActorCritic::new(spec, setup, key, |store, actor, critic| {
            begin_small(store, &actor, 1e-3, key.name("actor").name("begin small"));
            begin_small(store, &critic, 3e-3, key.name("critic").name("begin small"));
        });
        Ok(ReBrac { config: self.clone(), core })
    }

    fn needs_next_actions(&self) -> bool {
        self.beta2 > 0.0
    }
}

/// TD3 penalised for leaving the dataset's actions, in what it does and in what it expects to do.
pub struct ReBrac {
    config: Config,
    core: DeterministicActorCritic,
}

impl ReBrac {
    // ANCHOR: critic_step
    /// (1)  y = r + γ(1−d)( min_j Q′_j(s′,a′_π) − β₂‖a′_π − a′‖² ),   a′_π = clip(π′(s′) + clip(ε, ±c))
    /// (2)  L_Q(θ) = Σ_j E[ (Q_j(s,a) − y)² ]
    fn critic_step(&mut self, batch: Batch<'_>, key: Key) -> (Real, Real) {
        let &Config { gamma, beta2, policy_noise, noise_clip, .. } = &self.config;
        let DeterministicActorCritic { store, nets, critic_adam, .. } = &mut self.core;
        critic_adam.minimise_with(store, |tape| {
            let y = tape.no_grad(|tape| {
                let Transition { r, s2, alive, .. } = Transition::on(tape, batch);
                let a2 = nets.smoothed_target(s2, policy_noise, noise_clip, key);
                let mut value = nets.critic_target.forward(s2.cat(a2)).min_members();
                if beta2 > 0.0 {
                    let recorded = batch.next_act;
                    let why = "ReBrac: beta2 is not 0, and the batch has no next actions";
                    let recorded = tape.input(recorded.expect(why));
                    value = value - (a2 - recorded).square().sum_cols() * beta2;
                }
                r + alive * value * gamma
            });
            let Transition { s, a, .. } = Transition::on(tape, batch);
            bellman_error(nets.critic, s, a, y)
        })
    }
    // ANCHOR_END: critic_step

    // ANCHOR: actor_step
    /// (3)  L_π(φ) = β₁ E[ ‖π(s) − a‖² ] − λ E[ min_j Q_j(s, π(s)) ],   λ = 1 / E[ |min_j Q_j(s, π(s))| ] without gradient
    fn actor_step(&mut self, batch: Batch<'_>) -> Real {
        let beta1 = self.config.beta1;
        let DeterministicActorCritic { store, nets, actor_adam, .. } = &mut self.core;
        actor_adam.minimise(store, |tape| {
            let Transition { s, a, .. } = Transition::on(tape, batch);
            let action = nets.act(s);
            let q = nets.critic.forward(s.cat(action)).min_members();
            let lambda = q.detach().abs().mean().recip();
            (action - a).square().sum_cols().mean() * beta1 - lambda * q.mean()
        })
    }
    // ANCHOR_END: actor_step
}

impl Learner for ReBrac {
    // ANCHOR: update
    fn update(&mut self, batch: Batch<'_>, key: Key) -> Metrics {
        let (critic_loss, q) = self.critic_step(batch, key.name("target noise"));
        let mut metrics = Metrics::from([("critic_loss", critic_loss), ("q", q)]);
        if self.core.actor_is_due(self.config.policy_period) {
            metrics.put("actor_loss", self.actor_step(batch));
            self.core.update_targets(self.config.tau);
        }
        metrics
    }
    // ANCHOR_END: update
}

acts_as!(ReBrac: core);
state!(ReBrac: core);

#[cfg(test)]
mod tests {
    use super::*;
    use backcast_core::{Policy, Spec, Transitions};
    use ndarray::{Array2, array};

    fn small() -> Config {
        Config { hidden: vec![16, 16], ..Default::default() }
    }

    /// With γ = 1 and a next state that is worth nothing, the value is r − β₂‖π′(s′) − a′‖²: that of an action known to
    /// pay 1 and to lead to one the policy does not take.
    #[test]
    fn the_target_pays_for_the_distance_to_the_next_action() {
        let mut rows =
            Transitions::new(Spec::new(1, 2).with_act_limit(2.0)).with_next_actions(true);
        // State 0 leads to state 1, which ends. The policy, cloned from both, acts (1, −1) in either.
        (0..32).for_each(|_| {
            rows.push_followed(&[0.0], &[1.0, -1.0], 1.0, &[1.0], false, &[0.0, -1.5])
        });
        (0..32)
            .for_each(|_| rows.push_followed(&[1.0], &[1.0, -1.0], 0.0, &[1.0], true, &[0.0, 0.0]));
        let config =
            Config { gamma: 1.0, beta1: 1e4, beta2: 0.4, policy_noise: 0.0, tau: 0.05, ..small() };
        let mut learner = config.build(rows.spec(), Key::new(1)).expect("a sound configuration");
        for step in 0..3000 {
            learner.update(rows.batch(), Key::new(2).fold(step));
        }
        let critic = learner.core.nets.critic;
        let q = critic
            .forward(learner.core.store.tape().input(array![[0.0, 1.0, -1.0]].view()))
            .min_members()
            .item();
        // ‖(1, −1) − (0, −1.5)‖² = 1.25.
        assert!((q - (1.0 - 0.4 * 1.25)).abs() < 0.05, "{q} is not 0.5");
    }

    #[test]
    #[should_panic(expected = "the batch has no next actions")]
    fn a_batch_without_next_actions_is_refused() {
        let mut rows = Transitions::new(Spec::new(1, 1));
        rows.push(&[0.0], &[0.0], 0.0, &[0.0], false);
        let mut learner = small().build(rows.spec(), Key::new(3)).expect("a sound configuration");
        learner.update(rows.batch(), Key::new(4));
    }

    /// The loss of an actor whose critics are flat is its distance alone, summed over dimensions, less 1 or plus 1.
    #[test]
    fn the_actors_distance_is_a_sum_over_dimensions() {
        let mut rows = Transitions::new(Spec::new(1, 3));
        rows.push(&[0.0], &[0.5, -0.5, 0.25], 0.0, &[0.0], true);
        let loss = |beta1| {
            let config = Config { beta1, beta2: 0.0, ..small() };
            config
                .build(rows.spec(), Key::new(5))
                .expect("a sound configuration")
                .actor_step(rows.batch())
        };
        let mut act = Array2::zeros((1, 3));
        small().build(rows.spec(), Key::new(5)).expect("sound").act(
            array![[0.0]].view(),
            None,
            act.view_mut(),
        );
        let distance: Real =
            act.iter().zip([0.5, -0.5, 0.25]).map(|(x, a)| (x - a) * (x - a)).sum();
        assert!(
            (loss(2.0) - loss(0.0) - 2.0 * distance).abs() < 1e-5,
            "{} and {}, {distance}",
            loss(2.0),
            loss(0.0)
        );
    }
}
