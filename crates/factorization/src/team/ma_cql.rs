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
use super::{Method, Nets, Scope, Shared, Team, pressed};
use backcast_core::{Algorithm, Batch, COUNT, ConfigError, Key, NON_NEGATIVE, Problem, Real, hyperparameters};
use backcast_nn::{Shape, Var};

hyperparameters! {
    /// One field per symbol.
    pub struct Config {
        /// What all teams have.
        shared: Shared = Shared::default();
        /// α; see the [presets](super::preset).
        alpha: Real = 1.0, NON_NEGATIVE;
        /// K, actions drawn for each row and agent.
        n_action_samples: usize = 10, COUNT;
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
    const NAME: &str = "ma_cql";
    const PAPER: &str = "Kumar et al., Conservative Q-learning for offline reinforcement learning, arXiv:2006.04779, for each agent by itself";
    const SOURCE: &str = include_str!("ma_cql.rs");
    type Learner = Team<Self>;

    fn build(&self, problem: impl Into<Problem>, key: Key) -> Result<Team<Self>, ConfigError> {
        self.check()?;
        Team::new(self, problem.into().spec, key)
    }
}
