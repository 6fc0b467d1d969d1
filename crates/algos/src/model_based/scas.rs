//! SCAS (Mao, Wang, Chen, Qu & Ji, *Offline reinforcement learning with OOD state correction and OOD action
//! suppression*, NeurIPS 2024, arXiv:2410.19400): [`td3_bc`](crate::td3_bc) without cloning, regularised by a model
//! instead: from a slightly perturbed state the policy's action should lead to the dataset's next state, and more so
//! where that is worth more.
//!
//! | equation | code |
//! |---|---|
//! | (1) y = r + γ(1−d) min_j Q′_j(s′, clip(π′(s′) + clip(ε, ±c))), or mean_j | [`Scas::critic_step`] |
//! | (2) L_Q(θ) = Σ_j E[ (Q_j(s,a) − y)² ] | [`Scas::critic_step`] |
//! | (3) ŝ = s + β·ε, ε ~ N(0, 1) | `perturbed` |
//! | (4) w(s,s′) = min(exp(T(V̄(s′) − V̄(s))), 50), V̄(x) = mean_j Q_j(x, π(x)) without gradient | [`Scas::correction`], in `correction` |
//! | (5) R(φ) = E[ w(s,s′)·mean_d (M(ŝ, π(s)) − s′)² ], M the mean of the model | [`Scas::correction`], in `correction` |
//! | (6) L_π(φ) = −(1−λ) E[ min_j Q_j(s, π(s)) ] / E[ \|min_j Q_j(s, π(s))\| ] + λ R(φ) | [`Scas::actor_step`] |
//!
//! Update order: (1), (2); every second update (3)–(6), then both targets by Polyak.
//!
//! As in the authors' code: π acts on the clean s and M on the perturbed ŝ; the square is a mean over dimensions;
//! targets move when the actor does; the actor's rate falls to zero on a half cosine, counted in steps of the actor.
//! The normaliser in (6) has no gradient. Not from it: M is the forward ensemble that algorithms with a model share,
//! fitted by likelihood, where the authors fit a deterministic net by least squares; its mean, that of the best elite
//! or of several, is M.
//!
//! Observations are those that the policy sees: with `standardise` on, β and the square are in deviations of the
//! dataset, as the authors have it everywhere but on antmaze-large.
//!
//! **Through the model.** M's parameters are in a store of their own, frozen, and no gradient crosses a store. So (5)
//! is evaluated on the model's tape, where the action is an input; its slope ∂R/∂a, numbers, comes back, and
//! [`with_slope`] puts it under the policy's action on the actor's tape. The other way, a copy of M in the agent's
//! store that no optimiser owns, would copy a million numbers into every checkpoint.

use crate::{
    blocks::{
        deterministic_actor_critic::{DeterministicActorCritic, Setup},
        perturbed::with_slope,
        transition::Transition,
        value::bellman_error,
    },
    model_based::frozen_model::FrozenModel,
};
use backcast_core::{
    Algorithm, Batch, COUNT, ConfigError, FRACTION, Key, Learner, Metrics, NON_NEGATIVE, POSITIVE,
    Problem, Real, SHARE, acts_as, hyperparameters,
};
use backcast_nn::{HIDDEN, Precision, state};
use correction::Work;

mod correction;

hyperparameters! {
    /// One field per symbol; defaults of the authors' code.
    pub struct Config {
        /// Discount γ.
        gamma: Real = 0.99, SHARE;
        /// Weight λ of the correction against the value, in [0, 1].
        lambda: Real = 0.25, SHARE;
        /// Deviation β of the perturbation, in units of what the policy sees.
        beta: Real = 3e-3, NON_NEGATIVE;
        /// Inverse temperature T of the weights.
        sharpness: Real = 5.0, NON_NEGATIVE;
        /// Bound of the weights.
        weight_bound: Real = 50.0, POSITIVE;
        /// Elites whose means M is the mean of, the best first; the authors have one model.
        elites: usize = 1, COUNT;
        /// Critics.
        critics: usize = 4, COUNT;
        /// Takes the mean of the target critics in (1) instead of the smallest; on for antmaze.
        mean_target: bool = false;
        /// Deviation of the noise on target actions, in units of the action limit.
        policy_noise: Real = 0.2, NON_NEGATIVE;
        /// Bound c of that noise, in units of the action limit.
        noise_clip: Real = 0.5, NON_NEGATIVE;
        /// Critic updates per actor update.
        policy_period: u64 = 2, COUNT;
        /// Polyak rate of the targets.
        tau: Real = 0.005, FRACTION;
        /// Learning rate of π at the start.
        actor_lr: Real = 2e-4, POSITIVE;
        /// Steps of the actor over which its rate falls to zero on a half cosine; 0 keeps it constant.
        actor_lr_decay_steps: u64 = 500_000;
        /// Learning rate of Q.
        critic_lr: Real = 3e-4, POSITIVE;
        /// Units of the hidden layers.
        hidden: Vec<usize> = vec![256, 256], HIDDEN;
        /// How large products are computed. Everything is `F32` unless asked; see [`Precision`]. The model has its own.
        precision: Precision = Precision::F32;
    }
}

impl Algorithm for Config {
    const NAME: &str = "scas";
    const PAPER: &str = "Mao et al., Offline reinforcement learning with OOD state correction and OOD action suppression, arXiv:2410.19400";
    const SOURCE: &str = include_str!("scas.rs");
    const USES_MODEL: bool = true;
    type Learner = Scas;

    fn build(&self, problem: impl Into<Problem>, key: Key) -> Result<Scas, ConfigError> {
        self.check()?;
        let mut problem = problem.into();
        let mut model = FrozenModel::new(problem.take_model()?)?;
        let there = model.elites().len();
        let why = format!("is {}, and the model has {there}", self.elites);
        ConfigError::unless(self.elites <= there, "elites", why)?;
        let rates = [self.actor_lr, self.critic_lr];
        let setup = Setup::new(&self.hidden, rates, self.precision);
        let setup = Setup { critics: self.critics, ..setup };
        let core = DeterministicActorCritic::new(problem.spec, setup, key, |_, _, _| {});
        Ok(Scas { config: self.clone(), core, model, work: Work::default() })
    }
}

/// TD3 whose policy leads back to the dataset.
pub struct Scas {
    config: Config,
    core: DeterministicActorCritic,
    model: FrozenModel,
    work: Work,
}

impl Scas {
    // ANCHOR: critic_step
    /// (1)  y = r + γ(1−d) min_j Q′_j(s′, clip(π′(s′) + clip(ε, ±c))), or mean_j
    /// (2)  L_Q(θ) = Σ_j E[ (Q_j(s,a) − y)² ]
    fn critic_step(&mut self, batch: Batch<'_>, key: Key) -> (Real, Real) {
        let &Config { gamma, policy_noise, noise_clip, mean_target, .. } = &self.config;
        let DeterministicActorCritic { store, nets, critic_adam, .. } = &mut self.core;
        critic_adam.minimise_with(store, |tape| {
            let y = tape.no_grad(|tape| {
                let Transition { r, s2, alive, .. } = Transition::on(tape, batch);
                let a2 = nets.smoothed_target(s2, policy_noise, noise_clip, key);
                let q = nets.critic_target.forward(s2.cat(a2));
                r + alive * if mean_target { q.mean_members() } else { q.min_members() } * gamma
            });
            let Transition { s, a, .. } = Transition::on(tape, batch);
            bellman_error(nets.critic, s, a, y)
        })
    }
    // ANCHOR_END: critic_step

    // ANCHOR: actor_step
    /// (6)  L_π(φ) = −(1−λ) E[ min_j Q_j(s, π(s)) ] / E[ |min_j Q_j(s, π(s))| ] + λ R(φ)
    fn actor_step(&mut self, batch: Batch<'_>, key: Key) -> (Real, Real) {
        let correction = self.correction(batch, key);
        let lambda = self.config.lambda;
        let slope = &self.model.slope;
        let DeterministicActorCritic { store, nets, actor_adam, .. } = &mut self.core;
        let loss = actor_adam.minimise(store, |tape| {
            let s = tape.input(batch.obs);
            let a = nets.act(s);
            let q = nets.critic.forward(s.cat(a)).min_members();
            let gain = q.mean() / q.detach().abs().mean();
            with_slope(a, slope, correction) * lambda - gain * (1.0 - lambda)
        });
        (loss, correction)
    }
    // ANCHOR_END: actor_step
}

impl Learner for Scas {
    // ANCHOR: update
    fn update(&mut self, batch: Batch<'_>, key: Key) -> Metrics {
        let (critic_loss, q) = self.critic_step(batch, key.name("target noise"));
        let mut metrics = Metrics::from([("critic_loss", critic_loss), ("q", q)]);
        let &Config { policy_period, actor_lr, actor_lr_decay_steps, tau, .. } = &self.config;
        if self.core.actor_is_due(policy_period) {
            self.core.actor_adam.anneal(actor_lr, actor_lr_decay_steps);
            let (actor_loss, correction) = self.actor_step(batch, key.name("actor"));
            metrics.put("actor_loss", actor_loss).put("correction", correction);
            self.core.update_targets(tau);
        }
        metrics
    }
    // ANCHOR_END: update
}

acts_as!(Scas: core);
// The model is not part of it: it never changes.
state!(Scas: core);

#[cfg(test)]
mod tests {
    use super::*;
    use backcast_core::{
        Column, Direction, ObsScaler, Policy, Slot, Source, Spec, State, Transitions, WorldModel,
        never,
    };
    use backcast_dynamics::{Ensemble, EnsembleConfig};
    use ndarray::array;

    /// On a line, where an action is a step; in every state the dataset has steps uniform in ±0.8.
    fn world_model() -> (Transitions, WorldModel) {
        let mut dataset = Transitions::new(Spec::new(1, 1));
        for i in 0..800 {
            let mut x = [0.0; 2];
            Key::new(1).fold(i).uniform(-0.8, 0.8, &mut x);
            dataset.push(&x[..1], &x[1..], 0.0, &[x[0] + x[1]], false);
        }
        let config = EnsembleConfig {
            members: 3,
            elites: 2,
            hidden: vec![16],
            weight_decay: vec![0.0; 2],
            lr: 1e-2,
            max_epochs: Some(30),
            ..Default::default()
        };
        let mut model =
            Ensemble::new(config, dataset.spec(), Direction::Forward, Key::new(2)).expect("sound");
        model.fit(&dataset, Key::new(3), &mut |_| true).expect("a fit");
        (dataset, WorldModel::new(model, never))
    }

    /// Where the policy has come to lead from 0, with critics whose values grow by `worth` for each unit of the state.
    fn leads_to(sharpness: Real, worth: Real, obs_scaler: ObsScaler) -> Real {
        let (mut dataset, mut world_model) = world_model();
        world_model.scaler = obs_scaler;
        for states in [Column::Obs, Column::NextObs] {
            world_model.scaler.to_learner(dataset.values_mut(states));
        }
        let config = Config {
            lambda: 1.0,
            sharpness,
            hidden: vec![16],
            critics: 2,
            actor_lr: 1e-2,
            critic_lr: 1e-30,
            policy_period: 1,
            tau: 1e-30,
            ..Config::default()
        };
        let mut scas = config.build(world_model, Key::new(4)).expect("a sound configuration");
        // A net of which nothing is left but worth·relu(s + 8), and so for both critics.
        scas.visit(&mut |name, slot| {
            let Slot::Tensor(_, values) = slot else { return };
            if name.starts_with("critic.") {
                values.fill(0.0);
                let each = values.len() / 2;
                for member in values.chunks_mut(each) {
                    match name {
                        "critic.0.weight" => member[0] = 1.0,
                        "critic.0.bias" => member[0] = 8.0,
                        "critic.1.weight" => member[0] = worth,
                        _ => {}
                    }
                }
            }
        });
        let mut staging = Transitions::new(dataset.spec());
        for step in 0..400 {
            let key = Key::new(5).fold(step);
            scas.update(dataset.sample(key.name("batch"), 128, &mut staging), key);
        }
        let mut act = array![[0.0]];
        let mut start = [0.0];
        scas.model.scaler.to_learner(&mut start);
        scas.act(array![start].view(), None, act.view_mut());
        act[[0, 0]]
    }

    /// Unweighted the way back is to the middle of where the dataset goes, which from 0 is 0; weighted by e^(k·s′) it
    /// is to the better side, 0.8·coth(0.8·k) − 1/k, whatever the policy's units.
    #[test]
    fn the_policy_leads_to_where_the_dataset_goes_on_and_rather_where_that_is_worth_more() {
        let plain = || ObsScaler::identity(1);
        let middle = leads_to(0.0, 1.0, plain());
        assert!(
            middle.abs() < 0.1,
            "unweighted the policy leads to {middle}, the dataset to 0 on average"
        );
        for obs_scaler in [plain(), ObsScaler::new(&[0.1], &[0.4])] {
            let mut apart = [0.0, 1.0];
            obs_scaler.to_learner(&mut apart);
            let k: Real = 2.0;
            let sharpness = k / (apart[1] - apart[0]);
            for worth in [1.0, -1.0] {
                let want = worth * (0.8 / (0.8 * k).tanh() - 1.0 / k);
                let got = leads_to(sharpness, worth, obs_scaler.clone());
                assert!(
                    (got - want).abs() < 0.08,
                    "{obs_scaler:?}: worth {worth} leads to {got}, not {want}"
                );
            }
        }
    }

    #[test]
    fn more_elites_than_there_are_are_refused() {
        let error = Config { elites: 3, ..Config::default() }
            .build(world_model().1, Key::new(1))
            .err()
            .expect("refused");
        assert!(
            error.field == "elites" && error.to_string().contains("the model has 2"),
            "{error}"
        );
    }
}
