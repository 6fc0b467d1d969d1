//! MATD3 (Ackermann et al., *Reducing overestimation bias in multi-agent domains using double centralized critics*, arXiv:1910.01465) on
//! MADDPG (Lowe et al., NeurIPS 2017, arXiv:1706.02275): policies of agents that see each their own, values that are the smaller of two.
//! For learning [`online`](super::online); OMAR's datasets were made by it.
//!
//! | equation | code |
//! |---|---|
//! | (1), (2) as all teams | [`Team`] |
//! | (3) L_π = −Σᵢ E[ Q₁(oᵢ, πᵢ(oᵢ)) ], or −E[ Q₁(s, π(s)) ] where the value is of all together | [`Config::policy_loss`](Method::policy_loss) |
//!
//! Values are an agent's own unless asked (as OMAR's code has them; the papers' are central, one for each agent: with one reward for all
//! they would learn the same, and one serves here).

use super::rows::Rows;
use super::{Method, Nets, Scope, Shared, Team};
use backcast_core::{Algorithm, Batch, ConfigError, Key, Problem, Real, hyperparameters};
use backcast_nn::Var;

hyperparameters! {
    /// One field per symbol.
    pub struct Config {
        /// What all teams have.
        shared: Shared = Shared::default();
        /// What values look at.
        scope: Scope = Scope::default();
    }
}

impl Method for Config {
    fn shared(&self) -> &Shared {
        &self.shared
    }

    fn values(&self) -> Option<Scope> {
        Some(self.scope)
    }

    /// (3)  L_π = −Σᵢ E[ Q₁(oᵢ, πᵢ(oᵢ)) ]
    fn policy_loss<'t>(&self, nets: Nets, rows: Rows<'t>, _: Batch<'_>, _: Key) -> Var<'t> {
        let q = nets.q(0, rows.s, nets.act(rows.s));
        -q.mean() * q.shape().members as Real
    }
}

impl Algorithm for Config {
    const NAME: &str = "matd3";
    const PAPER: &str = "Ackermann et al., Reducing overestimation bias in multi-agent domains, arXiv:1910.01465";
    const SOURCE: &str = include_str!("matd3.rs");
    type Learner = Team<Self>;

    fn build(&self, problem: impl Into<Problem>, key: Key) -> Result<Team<Self>, ConfigError> {
        self.check()?;
        Team::new(self, problem.into().spec, key)
    }
}
