//! MA-TD3+BC: TD3+BC (Fujimoto & Gu, NeurIPS 2021, arXiv:2106.06860) for each agent by itself, the baseline of OMAR's and CFCQL's tables.
//!
//! | equation | code |
//! |---|---|
//! | (1), (2) as all teams, values an agent's own | [`Team`] |
//! | (3) L_π = Σᵢ ( −λᵢ E[ Q₁(oᵢ, πᵢ(oᵢ)) ] + E[ ‖πᵢ(oᵢ) − uᵢ‖² ] ), λᵢ = α / E[ \|Q₁(oᵢ, πᵢ(oᵢ))\| ] without gradient | [`Config::policy_loss`](Method::policy_loss) |
//!
//! Policies move at every update and targets have no noise, as the other teams' here. The cloning term already keeps actions small;
//! they cost nothing more ([`Shared::action_cost`] is 0).

use super::bc::cloning;
use super::rows::Rows;
use super::{Method, Nets, Scope, Shared, Team, check_weight};
use backcast_core::*;
use backcast_nn::{Shape, Var};
use serde::{Deserialize, Serialize};

/// One field per symbol.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// What all teams have.
    pub shared: Shared,
    /// Weight α of the value against cloning; 2.5.
    pub alpha: Real,
}

impl Default for Config {
    fn default() -> Self {
        Self { shared: Shared { action_cost: 0.0, ..Shared::default() }, alpha: 2.5 }
    }
}

impl Method for Config {
    fn shared(&self) -> &Shared {
        &self.shared
    }

    fn values(&self) -> Option<Scope> {
        Some(Scope::Own)
    }

    /// (3)  L_π = Σᵢ ( −λᵢ E[ Q₁(oᵢ, πᵢ(oᵢ)) ] + E[ ‖πᵢ(oᵢ) − uᵢ‖² ] )
    fn policy_loss<'t>(&self, nets: Nets, rows: Rows<'t>, _: Batch<'_>, _: Key) -> Var<'t> {
        let action = nets.act(rows.s);
        let q = nets.q(0, rows.s, action);
        let Shape { members: agents, rows: count, .. } = q.shape();
        let mean = |x: Var<'t>| x.sum_to(Shape::new(agents, 1, 1)) * (count as Real).recip();
        let lambda = mean(q.detach().abs()).recip() * self.alpha;
        cloning(action, rows.u) - (lambda * mean(q)).sum()
    }
}

impl Algorithm for Config {
    const NAME: &'static str = "ma_td3_bc";
    const PAPER: &'static str =
        "Fujimoto & Gu, A minimalist approach to offline reinforcement learning, arXiv:2106.06860";
    type Learner = Team<Self>;

    fn check(&self) -> Result<(), ConfigError> {
        self.shared.check()?;
        check_weight("alpha", self.alpha)
    }

    fn build(&self, spec: Spec, key: Key) -> Result<Team<Self>, ConfigError> {
        self.check()?;
        Team::new(self, spec, key)
    }
}
