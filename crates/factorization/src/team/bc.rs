//! Behaviour cloning, agent by agent: what everything else is measured against.
//!
//! | equation | code |
//! |---|---|
//! | (1) L_π = Σᵢ E[ ‖πᵢ(oᵢ) − uᵢ‖² ], the mean over dimensions | [`Config::policy_loss`](Method::policy_loss) |
//!
//! No values; actions cost nothing ([`Shared::action_cost`] is 0).

use super::rows::Rows;
use super::{Method, Nets, Scope, Shared, Team};
use backcast_core::*;
use backcast_nn::Var;
use serde::{Deserialize, Serialize};

/// One field per symbol.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// What all teams have.
    pub shared: Shared,
}

impl Default for Config {
    fn default() -> Self {
        Self { shared: Shared { action_cost: 0.0, ..Shared::default() } }
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
    const NAME: &'static str = "ma_bc";
    const PAPER: &'static str = "Pomerleau, ALVINN: an autonomous land vehicle in a neural network, NeurIPS 1988";
    type Learner = Team<Self>;

    fn check(&self) -> Result<(), ConfigError> {
        self.shared.check()
    }

    fn build(&self, spec: Spec, key: Key) -> Result<Team<Self>, ConfigError> {
        self.check()?;
        Team::new(self, spec, key)
    }
}
