//! ICQ-MA for continuous actions (Yang et al., *Believe what you see: implicit constraint approach for offline multi-agent reinforcement
//! learning*, NeurIPS 2021, arXiv:2106.03400): values and policies that ask only for actions of the dataset.
//!
//! | equation | code |
//! |---|---|
//! | (1) Q_tot(s,u) = Σᵢ cᵢ(s)·Qᵢ(oᵢ,uᵢ) + b(s), cᵢ = \|wᵢ(s)\| | [`Nets::total`] |
//! | (2) y = r + γ(1−d)·B·softmax_B( Q̄_tot(s′,u′)/β_Q )·Q̄_tot(s′,u′), u′ recorded | [`Icq::critic_step`] |
//! | (3) L_Q = E[ (Q_tot(s,u) − y)² ] | [`Icq::critic_step`] |
//! | (4) Aᵢ = Qᵢ(oᵢ,uᵢ) − mean_k Qᵢ(oᵢ,aᵏ), aᵏ ~ πᵢ | [`Icq::actor_step`] |
//! | (5) L_π = −Σᵢ E[ cᵢ(s)·B·softmax_B( Aᵢ/β_π )·ln πᵢ(uᵢ∣oᵢ) ] | [`Icq::actor_step`] |
//!
//! B is the number of rows of a batch, so that weights are one on average: [`weights`].
//!
//! The authors publish ICQ-MA for discrete actions (their code draws episodes, the softmax runs over these at each time, and targets are
//! TD(λ)) and ICQ for one agent's continuous ones (rows are drawn, targets are of one step). This is the second with the first's mixer,
//! credits and baseline, which a sum over actions no longer gives: the mean over K actions of the policy stands in for it. From the
//! second too: πᵢ is normal around a tanh, with a deviation of each dimension's own in e⁻⁶ … 1. No gradient of (5) reaches the mixer
//! (in the authors' code it does). Rates, Polyak averaging and gradients' norms are those of the other teams here. β_π is 0.1 in
//! ICQ-MA, where rewards are scaled to a return of 20.
//!
//! It acts by the mean of its policies, with a key or without.

use super::Shared;
use super::clipped::Clipped;
use super::rows::{Rows, Seen, split, together};
use backcast_core::{
    Algorithm, Batch, COUNT, ConfigError, Key, Learner, Metrics, POSITIVE, Policy, Problem, Spec, hyperparameters,
};
use backcast_nn::{Gaussian, Mlp, Real, Shape, Store, Var, state};
use ndarray::{ArrayView2, ArrayViewMut2};

hyperparameters! {
    /// One field per symbol.
    pub struct Config {
        /// What all teams have; actions cost nothing.
        shared: Shared = Shared { action_cost: 0.0, ..Shared::default() };
        /// β_π.
        policy_temperature: Real = 0.1, POSITIVE;
        /// β_Q; 1000 in ICQ-MA.
        value_temperature: Real = 1000.0, POSITIVE;
        /// K, actions drawn for the baseline.
        n_action_samples: usize = 10, COUNT;
    }
}

impl Algorithm for Config {
    const NAME: &str = "icq";
    const PAPER: &str = "Yang et al., Believe what you see, NeurIPS 2021, arXiv:2106.03400";
    const SOURCE: &str = include_str!("icq.rs");
    type Learner = Icq;

    fn build(&self, problem: impl Into<Problem>, key: Key) -> Result<Icq, ConfigError> {
        self.check()?;
        let spec = problem.into().spec;
        let shared = &self.shared;
        shared.check_spec(spec)?;
        let (n, lr, clip) = (shared.agents, shared.lr, shared.clip);
        let (obs, act) = (spec.obs / n, spec.act / n);
        let mut store = Store::default();
        let actor = shared.actor(&mut store, spec, key);
        let log_std = store.tensor("actor.log_std", Shape::new(n, 1, act), |x| x.fill(0.0));
        let critic = shared.net(&mut store, "critic", obs + act, 1, n, key);
        let credit = shared.net(&mut store, "credit", spec.obs, n, 1, key);
        let bias = shared.net(&mut store, "bias", spec.obs, 1, 1, key);
        let mixed = Mixed { critic, credit, bias };
        let target = Mixed {
            critic: critic.duplicate(&mut store, "critic_target"),
            credit: credit.duplicate(&mut store, "credit_target"),
            bias: bias.duplicate(&mut store, "bias_target"),
        };
        let nets = Nets { actor, log_std, mixed, target, limit: spec.act_limit };
        let actor_adam = Clipped::new(&[actor], Some(log_std..log_std + n * act), lr, clip);
        let critic_adam = Clipped::joint(&[critic, credit, bias], lr, clip);
        Ok(Icq { config: self.clone(), spec, store, nets, actor_adam, critic_adam })
    }
}

/// A mixed value.
#[derive(Clone, Copy)]
struct Mixed {
    critic: Mlp,
    credit: Mlp,
    bias: Mlp,
}

#[derive(Clone, Copy)]
struct Nets {
    actor: Mlp,
    log_std: usize,
    mixed: Mixed,
    target: Mixed,
    limit: Real,
}

impl Nets {
    // ANCHOR: total
    /// (1)  Q_tot(s,u) = Σᵢ cᵢ(s)·Qᵢ(oᵢ,uᵢ) + b(s),   cᵢ = |wᵢ(s)|
    fn total<'t>(of: Mixed, s: Seen<'t>, u: Var<'t>) -> Var<'t> {
        let own = together(of.critic.forward(s.own.cat(u)));
        (of.credit.forward(s.joint).abs() * own).sum_cols() + of.bias.forward(s.joint)
    }
    // ANCHOR_END: total

    /// πᵢ(·∣oᵢ), of actions in units of their limit: ln σ = −6 + 6·sigmoid(parameter).
    fn policy<'t>(&self, s: Seen<'t>) -> Gaussian<'t> {
        let mean = self.actor.forward(s.own);
        let shape = Shape { rows: 1, ..mean.shape() };
        Gaussian { mean, log_std: mean.tape().parameter(self.log_std, shape).sigmoid() * 6.0 - 6.0 }
    }
}

// ANCHOR: weights
/// B·softmax over the B rows of `x`/β, `[members, rows, 1]`: one on average.
pub fn weights(x: Var<'_>, temperature: Real) -> Var<'_> {
    let Shape { members, rows, .. } = x.shape();
    let x = x.reshape(Shape::new(members, 1, rows)) * temperature.recip();
    ((x - x.log_sum_exp_cols()).exp() * rows as Real).reshape(Shape::new(members, rows, 1))
}
// ANCHOR_END: weights

/// A team that clones what was better than it would do.
pub struct Icq {
    config: Config,
    spec: Spec,
    store: Store,
    nets: Nets,
    actor_adam: Clipped,
    critic_adam: Clipped,
}

impl Icq {
    // ANCHOR: critic_step
    /// (2)  y = r + γ(1−d)·B·softmax_B( Q̄_tot(s′,u′)/β_Q )·Q̄_tot(s′,u′)
    /// (3)  L_Q = E[ (Q_tot(s,u) − y)² ]
    fn critic_step(&mut self, batch: Batch<'_>) -> (Real, Real) {
        let (&Config { value_temperature, .. }, nets) = (&self.config, self.nets);
        let &Shared { agents, gamma, .. } = &self.config.shared;
        let next = batch.next_act.expect("Icq: a batch without the actions recorded at the next states");
        self.critic_adam.minimise_with(&mut self.store, |tape| {
            let y = tape.no_grad(|tape| {
                let Rows { r, s2, alive, .. } = Rows::on(tape, batch, agents);
                let q2 = Nets::total(nets.target, s2, split(tape, next, agents));
                r + alive * weights(q2, value_temperature) * q2 * gamma
            });
            let rows = Rows::on(tape, batch, agents);
            let q = Nets::total(nets.mixed, rows.s, rows.u);
            ((q - y).square().mean(), q.mean().item())
        })
    }
    // ANCHOR_END: critic_step

    // ANCHOR: actor_step
    /// (4)  Aᵢ = Qᵢ(oᵢ,uᵢ) − mean_k Qᵢ(oᵢ,aᵏ),   aᵏ ~ πᵢ
    /// (5)  L_π = −Σᵢ E[ cᵢ(s)·B·softmax_B( Aᵢ/β_π )·ln πᵢ(uᵢ∣oᵢ) ]
    fn actor_step(&mut self, batch: Batch<'_>, key: Key) -> Real {
        let (&Config { policy_temperature, n_action_samples: k, .. }, nets) = (&self.config, self.nets);
        let agents = self.config.shared.agents;
        let step = self.actor_adam.minimise_with(&mut self.store, |tape| {
            let weight = tape.no_grad(|tape| {
                let Rows { s, u, .. } = Rows::on(tape, batch, agents);
                let Gaussian { mean, log_std } = nets.policy(s);
                let drawn = Gaussian { mean: mean.repeat_rows(k), log_std }.sample(key);
                let drawn = drawn.clamp(-1.0, 1.0) * nets.limit;
                let baseline = nets.mixed.critic.forward_pairs(s.own, drawn).sum_groups(k) * (k as Real).recip();
                let advantage = nets.mixed.critic.forward(s.own.cat(u)) - baseline;
                let credit = nets.mixed.credit.forward(s.joint).abs();
                together(weights(advantage, policy_temperature)) * credit
            });
            let Rows { s, u, .. } = Rows::on(tape, batch, agents);
            let ln_pi = together(nets.policy(s).log_prob(u * nets.limit.recip()));
            (-(weight * ln_pi).sum_cols().mean(), ())
        });
        step.0
    }
    // ANCHOR_END: actor_step
}

impl Learner for Icq {
    fn update(&mut self, batch: Batch<'_>, key: Key) -> Metrics {
        let (critic_loss, q) = self.critic_step(batch);
        let actor_loss = self.actor_step(batch, key.name("baseline"));
        let Nets { mixed, target, .. } = self.nets;
        for (to, from) in [(target.critic, mixed.critic), (target.credit, mixed.credit), (target.bias, mixed.bias)] {
            backcast_nn::polyak(&mut self.store, &to, &from, self.config.shared.tau);
        }
        Metrics::from([("critic_loss", critic_loss), ("q", q), ("actor_loss", actor_loss)])
    }
}

impl Policy for Icq {
    fn spec(&self) -> Spec {
        self.spec
    }

    fn act(&mut self, obs: ArrayView2<'_, Real>, _: Option<Key>, act: ArrayViewMut2<'_, Real>) {
        let (nets, agents) = (self.nets, self.config.shared.agents);
        let tape = self.store.tape_without_history();
        together(nets.actor.forward(split(tape, obs, agents)) * nets.limit).write_to(act);
    }
}

state!(Icq: store, actor_adam, critic_adam);
