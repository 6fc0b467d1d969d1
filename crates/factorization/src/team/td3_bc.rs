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
use super::{Method, Nets, Scope, Shared, Team};
use backcast_core::{Algorithm, Batch, ConfigError, Key, NON_NEGATIVE, Problem, Real, hyperparameters};
use backcast_nn::{Shape, Var};

hyperparameters! {
    /// One field per symbol.
    pub struct Config {
        /// What all teams have.
        shared: Shared = Shared { action_cost: 0.0, ..Shared::default() };
        /// Weight α of the value against cloning; 2.5.
        alpha: Real = 2.5, NON_NEGATIVE;
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
    const NAME: &str = "ma_td3_bc";
    const PAPER: &str = "Fujimoto & Gu, A minimalist approach to offline reinforcement learning, arXiv:2106.06860";
    const SOURCE: &str = include_str!("td3_bc.rs");
    type Learner = Team<Self>;

    fn build(&self, problem: impl Into<Problem>, key: Key) -> Result<Team<Self>, ConfigError> {
        self.check()?;
        Team::new(self, problem.into().spec, key)
    }
}
