//! MACQL, central: CQL over joint actions, as CFCQL's authors have it for comparison (Shao et al., *Counterfactual conservative Q learning
//! for offline multi-agent reinforcement learning*, NeurIPS 2023, arXiv:2309.12696).
//!
//! | equation | code |
//! |---|---|
//! | (1), (2) as all teams, one value for all | [`Team`] |
//! | (2+) α·Σ_j E[ ln Σ_k exp( Q_j(s, aᵏ) − ln p(aᵏ) ) − Q_j(s, u) ], aᵏ joint actions, uniform, K of them | [`Config::press`] |
//! | (3) L_π = −meanᵢ E[ Q₁(s, (πᵢ(oᵢ), u₋ᵢ)) ], or −E[ Q₁(s, π(s)) ] | [`improved`] |
//!
//! The penalty is on the whole of a box of *n*·|A| dimensions: a joint action of the dataset is compared with joint actions all of whose parts
//! were never seen together, and the more agents, the further off these are.

use super::rows::{Rows, deviating};
use super::{Method, Nets, Scope, Shared, Team, pressed};
use backcast_core::{Algorithm, Batch, COUNT, ConfigError, Key, NON_NEGATIVE, Problem, Real, hyperparameters};
use backcast_nn::{Shape, Var};

hyperparameters! {
    /// One field per symbol.
    pub struct Config {
        /// What all teams have.
        shared: Shared = Shared::central();
        /// α; see the [presets](super::preset).
        alpha: Real = 1.0, NON_NEGATIVE;
        /// K, joint actions drawn for each row.
        n_action_samples: usize = 10, COUNT;
        /// Whether a policy is improved while the others do what they did in the dataset, as the code has it for both; else all at once.
        alone: bool = true;
    }
}

impl Config {
    // ANCHOR: press
    /// (2+)  Σ_j E[ ln Σ_k exp( Q_j(s, aᵏ) − ln p(aᵏ) ) − Q_j(s, u) ]
    fn press<'t>(&self, nets: Nets, rows: Rows<'t>, q: [Var<'t>; 2], key: Key) -> Var<'t> {
        let Shape { members: agents, rows: count, cols } = rows.u.shape();
        let (k, width) = (self.n_action_samples, agents * cols);
        let drawn = rows.u.tape().uniform(Shape::new(1, count * k, width), -1.0, 1.0, key) * nets.limit();
        let gap = |j: usize| (pressed(nets.q_of_many(j, rows.s, drawn), k, width, nets.limit()) - q[j]).mean();
        gap(0) + gap(1)
    }
    // ANCHOR_END: press
}

// ANCHOR: improved
/// (3)  −meanᵢ E[ Q₁(s, (πᵢ(oᵢ), u₋ᵢ)) ] where each is improved `alone`, else −E[ Q₁(s, π(s)) ]
pub(crate) fn improved<'t>(nets: Nets, rows: Rows<'t>, alone: bool) -> Var<'t> {
    let action = nets.act(rows.s);
    if !alone {
        return -nets.q(0, rows.s, action).mean();
    }
    let agents = action.shape().members;
    let own = |i: usize| nets.q_of_many(0, rows.s, deviating(rows.u, i, action.member(i))).mean();
    -(1..agents).fold(own(0), |sum, i| sum + own(i)) * (agents as Real).recip()
}
// ANCHOR_END: improved

impl Method for Config {
    fn shared(&self) -> &Shared {
        &self.shared
    }

    fn values(&self) -> Option<Scope> {
        Some(Scope::Central)
    }

    fn penalty<'t>(&self, nets: Nets, rows: Rows<'t>, q: [Var<'t>; 2], key: Key) -> Option<(Real, Var<'t>)> {
        Some((self.alpha, self.press(nets, rows, q, key)))
    }

    fn policy_loss<'t>(&self, nets: Nets, rows: Rows<'t>, _: Batch<'_>, _: Key) -> Var<'t> {
        improved(nets, rows, self.alone)
    }
}

impl Algorithm for Config {
    const NAME: &str = "macql";
    const PAPER: &str =
        "Shao et al., Counterfactual conservative Q learning, NeurIPS 2023, arXiv:2309.12696: what it is compared with";
    const SOURCE: &str = include_str!("macql.rs");
    type Learner = Team<Self>;

    fn build(&self, problem: impl Into<Problem>, key: Key) -> Result<Team<Self>, ConfigError> {
        self.check()?;
        Team::new(self, problem.into().spec, key)
    }
}
