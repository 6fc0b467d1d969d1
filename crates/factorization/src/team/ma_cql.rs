//! MA-CQL, decentralised: CQL (Kumar et al., NeurIPS 2020, arXiv:2006.04779) for each agent by itself, on MATD3. What OMAR stands on, after
//! its authors' code (Pan et al., ICML 2022, arXiv:2111.11188).
//!
//! | equation | code |
//! |---|---|
//! | (1), (2) as all teams, values an agent's own | [`Team`] |
//! | (2+) α·Σᵢ Σ_j E[ ln Σ_k exp( Q_j(oᵢ, aᵏ) − ln p(aᵏ) ) − Q_j(oᵢ, uᵢ) ], aᵏ uniform, K of them, p their density | [`Config::press`] |
//! | (3) L_π = −Σᵢ E[ Q₁(oᵢ, πᵢ(oᵢ)) ] | [`Config::policy_loss`](Method::policy_loss) |
//!
//! Uniform actions alone, as the code has it for particles; for MuJoCo it adds the policy's own at both states.

use super::rows::Rows;
use super::{Method, Nets, Scope, Shared, Team, check_weight, pressed};
use backcast_core::*;
use backcast_nn::{Shape, Var};
use serde::{Deserialize, Serialize};

/// One field per symbol.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// What all teams have.
    pub shared: Shared,
    /// α; see the [presets](super::preset).
    pub alpha: Real,
    /// K, actions drawn for each row and agent.
    pub n_action_samples: usize,
}

impl Default for Config {
    fn default() -> Self {
        Self { shared: Shared::default(), alpha: 1.0, n_action_samples: 10 }
    }
}

impl Config {
    // ANCHOR: press
    /// (2+)  Σᵢ Σ_j E[ ln Σ_k exp( Q_j(oᵢ, aᵏ) − ln p(aᵏ) ) − Q_j(oᵢ, uᵢ) ]
    pub(crate) fn press<'t>(&self, nets: Nets, rows: Rows<'t>, q: [Var<'t>; 2], key: Key) -> Var<'t> {
        let Shape { members: agents, rows: count, cols: width } = rows.u.shape();
        let shape = Shape::new(agents, count * self.n_action_samples, width);
        let drawn = rows.u.tape().uniform(shape, -1.0, 1.0, key) * nets.limit();
        let gap = |j: usize| {
            let pressed = pressed(nets.q_of_many(j, rows.s, drawn), self.n_action_samples, width, nets.limit());
            (pressed - q[j]).mean() * agents as Real
        };
        gap(0) + gap(1)
    }
    // ANCHOR_END: press

    pub(crate) fn check_own(&self) -> Result<(), ConfigError> {
        self.shared.check()?;
        check_weight("alpha", self.alpha)?;
        ConfigError::unless(self.n_action_samples > 0, "n_action_samples", "is 0; nothing would be pressed down")
    }
}

impl Method for Config {
    fn shared(&self) -> &Shared {
        &self.shared
    }

    fn values(&self) -> Option<Scope> {
        Some(Scope::Own)
    }

    fn penalty<'t>(&self, nets: Nets, rows: Rows<'t>, q: [Var<'t>; 2], key: Key) -> Option<(Real, Var<'t>)> {
        Some((self.alpha, self.press(nets, rows, q, key)))
    }

    /// (3)  L_π = −Σᵢ E[ Q₁(oᵢ, πᵢ(oᵢ)) ]
    fn policy_loss<'t>(&self, nets: Nets, rows: Rows<'t>, _: Batch<'_>, _: Key) -> Var<'t> {
        let q = nets.q(0, rows.s, nets.act(rows.s));
        -q.mean() * q.shape().members as Real
    }
}

impl Algorithm for Config {
    const NAME: &'static str = "ma_cql";
    const PAPER: &'static str = "Kumar et al., Conservative Q-learning for offline reinforcement learning, arXiv:2006.04779, for each agent by itself";
    type Learner = Team<Self>;

    fn check(&self) -> Result<(), ConfigError> {
        self.check_own()
    }

    fn build(&self, spec: Spec, key: Key) -> Result<Team<Self>, ConfigError> {
        self.check()?;
        Team::new(self, spec, key)
    }
}
