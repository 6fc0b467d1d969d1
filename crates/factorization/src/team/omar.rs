//! OMAR (Pan, Huang, Ma & Xu, *Plan better amid conservatism: offline multi-agent reinforcement learning with actor rectification*, ICML
//! 2022, arXiv:2111.11188).
//!
//! A conservative value has many small tops, and a policy that climbs its slope stays on the first. So each agent also looks around: actions
//! are drawn, drawn again around those of high value, and the policy is drawn towards the best that was seen.
//!
//! | equation | code |
//! |---|---|
//! | (1), (2), (2+) as [`ma_cql`] | [`ma_cql::Config`] |
//! | (3a) aᵏ ~ clip(N(μ, σ²)); μ ← Σ_k softmax_k(Q)·aᵏ; σ² ← mean_k (aᵏ − μ)²; from μ = 0, σ = 2 | [`Search::best`] |
//! | (3b) u*ᵢ = argmax of Q₁ over πᵢ(oᵢ) and the last draws | [`Config::rectified`] |
//! | (3) L_π = Σᵢ ( c·E[ ‖πᵢ(oᵢ) − u*ᵢ‖² ] − (1−c)·E[ Q₁(oᵢ, πᵢ(oᵢ)) ] ) | [`Config::policy_loss`](Method::policy_loss) |
//!
//! The form of the code for particles; for MuJoCo it keeps elites instead of weighing. μ and σ begin anew at every update.

use super::bc::cloning;
use super::rows::{Rows, Seen};
use super::{Method, Nets, Scope, Shared, Team, ma_cql};
use backcast_core::{Algorithm, Batch, COUNT, ConfigError, Key, NON_NEGATIVE, Problem, Real, SHARE, hyperparameters};
use backcast_nn::{Shape, Tape, Var};

hyperparameters! {
    /// One field per symbol.
    pub struct Config {
        /// What keeps values to the dataset, and all that teams have.
        cql: ma_cql::Config = ma_cql::Config::default();
        /// c, the weight of the search against the slope; see the [presets](super::preset).
        coefficient: Real = 1.0, SHARE;
        /// The search.
        search: Search = Search::default();
    }
}

hyperparameters! {
    /// A search for the top of a function that does not ask for its slope.
    pub struct Search {
        /// How often is drawn.
        iterations: usize = 3, COUNT;
        /// How many actions each time, for each row.
        samples: usize = 10, COUNT;
        /// μ at first.
        mean: Real = 0.0;
        /// σ at first.
        std: Real = 2.0, NON_NEGATIVE;
    }
}

// ANCHOR: search
impl Search {
    /// (3a)  The best of the last draws, `[agents, rows, act]` as `shape`, and its value, `[agents, rows, 1]`. `value` is of
    /// `[agents, rows·samples, act]`; actions are held in ±`limit`.
    ///
    /// aᵏ ~ clip(N(μ, σ²)),   μ ← Σ_k softmax_k(Q)·aᵏ,   σ² ← mean_k (aᵏ − μ)²
    pub fn best<'t>(
        &self,
        tape: Tape<'t>,
        shape: Shape,
        limit: Real,
        key: Key,
        value: impl Fn(Var<'t>) -> Var<'t>,
    ) -> (Var<'t>, Var<'t>) {
        let k = self.samples;
        let (many, each) = (Shape { rows: shape.rows * k, ..shape }, Shape { cols: k, ..shape });
        let constant = |x: Real| tape.fill(shape, |out| out.fill(x));
        let (mut mean, mut std) = (constant(self.mean), constant(self.std));
        let mut found = (mean, mean);
        for iteration in 0..self.iterations {
            let noise = tape.normal(many, key.fold(iteration as u64));
            let drawn = (mean.repeat_rows(k) + std.repeat_rows(k) * noise).clamp(-limit, limit);
            let q = value(drawn).reshape(each);
            let softmax = (q - q.log_sum_exp_cols()).exp().reshape(Shape { cols: 1, ..many });
            mean = (drawn * softmax).sum_groups(k);
            std = ((drawn - mean.repeat_rows(k)).square().sum_groups(k) * (k as Real).recip()).sqrt();
            let top = q.arg_max_cols().reshape(Shape { cols: 1, ..many });
            found = ((drawn * top).sum_groups(k), q.max_cols());
        }
        found
    }
}
// ANCHOR_END: search

impl Config {
    // ANCHOR: rectified
    /// (3b)  u*ᵢ = argmax of Q₁ over πᵢ(oᵢ) and the last draws
    fn rectified<'t>(&self, nets: Nets, tape: Tape<'t>, batch: Batch<'_>, key: Key) -> Var<'t> {
        let s = Seen::on(tape, batch.obs, self.cql.shared.agents);
        let own = nets.act(s);
        let (found, best) = self.search.best(tape, own.shape(), nets.limit(), key, |u| nets.q_of_many(0, s, u));
        own + (best - nets.q(0, s, own)).step() * (found - own)
    }
    // ANCHOR_END: rectified
}

impl Method for Config {
    fn shared(&self) -> &Shared {
        &self.cql.shared
    }

    fn values(&self) -> Option<Scope> {
        self.cql.values()
    }

    fn penalty<'t>(&self, nets: Nets, rows: Rows<'t>, q: [Var<'t>; 2], key: Key) -> Option<(Real, Var<'t>)> {
        self.cql.penalty(nets, rows, q, key)
    }

    /// (3)  L_π = Σᵢ ( c·E[ ‖πᵢ(oᵢ) − u*ᵢ‖² ] − (1−c)·E[ Q₁(oᵢ, πᵢ(oᵢ)) ] )
    fn policy_loss<'t>(&self, nets: Nets, rows: Rows<'t>, batch: Batch<'_>, key: Key) -> Var<'t> {
        let c = self.coefficient;
        let target = rows.u.tape().no_grad(|tape| self.rectified(nets, tape, batch, key));
        let drawn = cloning(nets.act(rows.s), target) * c;
        if c == 1.0 { drawn } else { drawn + self.cql.policy_loss(nets, rows, batch, key) * (1.0 - c) }
    }
}

impl Algorithm for Config {
    const NAME: &str = "omar";
    const PAPER: &str = "Pan et al., Plan better amid conservatism, ICML 2022, arXiv:2111.11188";
    const SOURCE: &str = include_str!("omar.rs");
    type Learner = Team<Self>;

    fn build(&self, problem: impl Into<Problem>, key: Key) -> Result<Team<Self>, ConfigError> {
        self.check()?;
        Team::new(self, problem.into().spec, key)
    }
}
