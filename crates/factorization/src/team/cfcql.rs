//! CFCQL for continuous actions (Shao, Qu, Chen, Zhang & Ji, *Counterfactual conservative Q learning for offline multi-agent reinforcement
//! learning*, NeurIPS 2023, arXiv:2309.12696); that for discrete ones is [`conservative`](crate::conservative).
//!
//! One agent at a time deviates from what was done, while the others did what they did:
//!
//! | equation | code |
//! |---|---|
//! | (1), (2) as all teams, one value for all | [`Team`] |
//! | (2+) α·Σ_j E[ Σᵢ λᵢ(s)·ln Σ_k exp( Q_j(s, (aᵏ, u₋ᵢ)) − ln p(aᵏ) ) − Q_j(s, u) ], aᵏ uniform in agent *i*'s box | [`Config::press`] |
//! | (2λ) λ = 1/n, or softmaxᵢ of −τ·ln( πᵢ/βᵢ ) at πᵢ(oᵢ): more where a policy is nearer to the dataset | [`Config::lambda`] |
//! | (3) L_π = −meanᵢ E[ Q₁(s, (πᵢ(oᵢ), u₋ᵢ)) ] | [`macql::improved`](super::macql) |
//!
//! In the code βᵢ is what a conditional variational autoencoder of the joint action says by importance sampling, trained beforehand; here a
//! normal policy of each agent's own, cloned beside. πᵢ is a normal distribution of constant width around a deterministic policy, so that its
//! density there is the same for all and drops out of the softmax.
//!
//! For one agent λ is one, and this is CQL.

use super::macql::improved;
use super::rows::{Rows, deviating};
use super::{Method, Nets, Scope, Shared, Team, pressed};
use backcast_core::{
    Algorithm, Batch, COUNT, ConfigError, Domain, Key, Kind, NON_NEGATIVE, Problem, Real, Value, hyperparameters,
};
use backcast_nn::{Shape, Var};
use serde::{Deserialize, Serialize};

hyperparameters! {
    /// One field per symbol.
    pub struct Config {
        /// What all teams have.
        shared: Shared = Shared::central();
        /// α; see the [presets](super::preset).
        alpha: Real = 1.0, NON_NEGATIVE;
        /// K, actions drawn for each row and agent.
        n_action_samples: usize = 10, COUNT;
        /// λ.
        lambda: Lambda = Lambda::Even;
    }
}

/// How the penalty is spread over the agents.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Lambda {
    /// 1/n.
    #[default]
    Even,
    /// softmaxᵢ of τ·ln βᵢ(πᵢ(oᵢ)), with this τ.
    Near(Real),
}

impl Config {
    // ANCHOR: press
    /// (2+)  Σ_j E[ Σᵢ λᵢ(s)·ln Σ_k exp( Q_j(s, (aᵏ, u₋ᵢ)) − ln p(aᵏ) ) − Q_j(s, u) ]
    fn press<'t>(&self, nets: Nets, rows: Rows<'t>, q: [Var<'t>; 2], key: Key) -> Var<'t> {
        let Shape { members: agents, rows: count, cols: width } = rows.u.shape();
        let shape = Shape::new(agents, count * self.n_action_samples, width);
        let drawn = rows.u.tape().uniform(shape, -1.0, 1.0, key) * nets.limit();
        let lambda = self.lambda(nets, rows);
        let gap = |j: usize| {
            let own = |i: usize| {
                let q = nets.q_of_many(j, rows.s, deviating(rows.u, i, drawn.member(i)));
                pressed(q, self.n_action_samples, width, nets.limit()) * lambda.cols(i, 1)
            };
            ((1..agents).fold(own(0), |sum, i| sum + own(i)) - q[j]).mean()
        };
        gap(0) + gap(1)
    }
    // ANCHOR_END: press

    // ANCHOR: lambda
    /// (2λ)  λ = 1/n, or softmaxᵢ of τ·ln βᵢ(πᵢ(oᵢ)), `[1, rows, agents]`; it gets no gradient
    fn lambda<'t>(&self, nets: Nets, rows: Rows<'t>) -> Var<'t> {
        let Shape { members: agents, rows: count, .. } = rows.u.shape();
        match self.lambda {
            Lambda::Even => rows.u.tape().fill(Shape::new(1, count, agents), |out| out.fill((agents as Real).recip())),
            Lambda::Near(tau) => {
                let near = nets.ln_behaviour(rows.s, nets.act(rows.s)).detach() * tau;
                let near = super::together(near);
                (near - near.log_sum_exp_cols()).exp()
            }
        }
    }
    // ANCHOR_END: lambda
}

impl Method for Config {
    fn shared(&self) -> &Shared {
        &self.shared
    }

    fn values(&self) -> Option<Scope> {
        Some(Scope::Central)
    }

    fn clones(&self) -> bool {
        self.lambda != Lambda::Even
    }

    fn penalty<'t>(&self, nets: Nets, rows: Rows<'t>, q: [Var<'t>; 2], key: Key) -> Option<(Real, Var<'t>)> {
        Some((self.alpha, self.press(nets, rows, q, key)))
    }

    fn policy_loss<'t>(&self, nets: Nets, rows: Rows<'t>, _: Batch<'_>, _: Key) -> Var<'t> {
        improved(nets, rows, true)
    }
}

impl Value for Lambda {
    fn kind() -> Kind {
        Kind::Other
    }

    fn check_in(&self, _: Domain, field: &'static str) -> Result<(), ConfigError> {
        let sound = !matches!(self, Self::Near(tau) if !tau.is_finite());
        ConfigError::unless(sound, field, "needs a finite temperature")
    }
}

impl Algorithm for Config {
    const NAME: &str = "cfcql";
    const PAPER: &str = "Shao et al., Counterfactual conservative Q learning, NeurIPS 2023, arXiv:2309.12696";
    const SOURCE: &str = include_str!("cfcql.rs");
    type Learner = Team<Self>;

    fn build(&self, problem: impl Into<Problem>, key: Key) -> Result<Team<Self>, ConfigError> {
        self.check()?;
        Team::new(self, problem.into().spec, key)
    }
}
