//! Behaviour cloning, agent by agent: what everything else is measured against.
//!
//! | equation | code |
//! |---|---|
//! | (1) L_π = Σᵢ E[ ‖πᵢ(oᵢ) − uᵢ‖² ], the mean over dimensions | [`Config::policy_loss`](Method::policy_loss) |
//!
//! No values; actions cost nothing ([`Shared::action_cost`] is 0).

use super::rows::Rows;
use super::{Method, Nets, Scope, Shared, Team};
use backcast_core::{Algorithm, Batch, ConfigError, Key, Problem, Real, hyperparameters};
use backcast_nn::Var;

hyperparameters! {
    /// One field per symbol.
    pub struct Config {
        /// What all teams have.
        shared: Shared = Shared { action_cost: 0.0, ..Shared::default() };
    }
}

impl Method for Config {
    fn shared(&self) -> &Shared {
        &self.shared
    }

    fn values(&self) -> Option<Scope> {
        None
    }

    /// (1)  L_π = Σᵢ E[ ‖πᵢ(oᵢ) − uᵢ‖² ]
    fn policy_loss<'t>(&self, nets: Nets, rows: Rows<'t>, _: Batch<'_>, _: Key) -> Var<'t> {
        cloning(nets.act(rows.s), rows.u)
    }
}

/// (1)  Σᵢ E[ ‖aᵢ − uᵢ‖² ], the mean over dimensions, of `[agents, rows, act]`.
pub(crate) fn cloning<'t>(a: Var<'t>, u: Var<'t>) -> Var<'t> {
    (a - u).square().mean() * u.shape().members as Real
}

impl Algorithm for Config {
    const NAME: &str = "ma_bc";
    const PAPER: &str = "Pomerleau, ALVINN: an autonomous land vehicle in a neural network, NeurIPS 1988";
    const SOURCE: &str = include_str!("bc.rs");
    type Learner = Team<Self>;

    fn build(&self, problem: impl Into<Problem>, key: Key) -> Result<Team<Self>, ConfigError> {
        self.check()?;
        Team::new(self, problem.into().spec, key)
    }
}
