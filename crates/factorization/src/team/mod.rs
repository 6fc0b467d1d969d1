//! Agents that act together, each with a continuous action of its own, from a dataset: decentralised policies, values of an agent's own
//! or of all together.
//!
//! What is recorded is joint: an observation is the agents' own, one after the other, an action too, and the reward is one number
//! for all. So a team is a [`Learner`] like any other, on a [`Batch`] like any other; it differs from a single agent in what its nets
//! are shown. Agent *i* acts by what *it* sees, *uᵢ = πᵢ(oᵢ)*; a value may look at the same, *Qᵢ(oᵢ, uᵢ)*, or at everything, *Q(s, u)*.
//!
//! | algorithm | values | policies | what keeps them to the dataset |
//! |---|---|---|---|
//! | [`bc`] | none | clone | – |
//! | [`matd3`] | own or central | −Q | nothing: it learns [`online`] |
//! | [`td3_bc`] | own | −λQ + cloning | cloning |
//! | [`ma_cql`] | own | −Q | CQL, agent by agent |
//! | [`omar`] | as `ma_cql` | towards the best of a search, and −Q | as `ma_cql`, and the search does not follow slopes |
//! | [`macql`] | central | −Q | CQL over joint actions, drawn |
//! | [`cfcql`] | central | −Q, one agent at a time | CQL over what one agent might have done |
//! | [`icq`] | own, mixed | weighted cloning | actions of the dataset alone |
//!
//! All but [`icq`] are the one loop below, in which a [`Method`] says what is added to the values' loss and what the policies' loss is:
//!
//! | equation | code |
//! |---|---|
//! | (1) y = r + γ(1−d) min_j Q̄_j(s′, ū′), ū′ᵢ = clip(π̄ᵢ(o′ᵢ) + ε) | [`Nets::target`] |
//! | (2) L_Q = Σ_j E[ (Q_j(s,u) − y)² ] + α·penalty, summed over the agents where values are their own | [`Team::critic_step`] |
//! | (3) L_π = the method's + 10⁻³·Σᵢ E[ ‖πᵢ‖² ] | [`Team::actor_step`] |
//!
//! Update order: (1), (2); every [`Shared::period`]-th update (3), then all targets by Polyak. Two values always (MATD3). Gradients are
//! held to a norm of ½ for each agent's values and each agent's policy, as if each had an optimiser of its own; agents are members of one
//! batched product.
//!
//! Defaults are those of OMAR's code for particles (Pan et al., *Plan better amid conservatism*, ICML 2022, arXiv:2111.11188), which all these
//! algorithms are run with in the literature. Two things are otherwise here: their nets begin with batch normalisation, ours see what they
//! are given (standardise outside, as everywhere in this workspace); and all agents learn from one batch an update, where their code
//! draws one for each agent with values of its own.

pub mod bc;
pub mod cfcql;
mod clipped;
pub mod icq;
pub mod ma_cql;
pub mod macql;
pub mod matd3;
pub mod omar;
pub mod online;
pub mod preset;
pub mod rows;
pub mod td3_bc;

use backcast_core::{
    Batch, COUNT, ConfigError, FRACTION, Key, Learner, Metrics, NON_NEGATIVE, POSITIVE, Policy, SHARE, Slot, Spec,
    State, choices, hyperparameters, under,
};
use backcast_nn::{Activation, Gaussian, HIDDEN, Init, Mlp, Parameterised, Real, Shape, Store, Var};
use clipped::Clipped;
use ndarray::{ArrayView2, ArrayViewMut2};
use rows::{Rows, Seen, split, together};

hyperparameters! {
    /// What algorithms of teams have in common: one field per symbol.
    pub struct Shared {
        /// How many agents share an observation and an action out among them, in equal parts.
        agents: usize = 3, COUNT;
        /// Discount γ.
        gamma: Real = 0.95, SHARE;
        /// Learning rate of values and policies.
        lr: Real = 0.01, POSITIVE;
        /// Polyak rate of the targets.
        tau: Real = 0.01, FRACTION;
        /// Units of the hidden layers.
        hidden: Vec<usize> = vec![64, 64], HIDDEN;
        /// The norm that gradients are held to.
        clip: Real = 0.5, POSITIVE;
        /// Weight of E‖πᵢ‖² in the policies' loss.
        action_cost: Real = 1e-3, NON_NEGATIVE;
        /// Deviation of the noise on target actions, in units of the action limit.
        noise: Real = 0.0, NON_NEGATIVE;
        /// Updates of the values for one of policies and targets.
        period: u64 = 1, COUNT.unit("updates");
    }
}

impl Shared {
    /// Those of the central algorithms in CFCQL's code: noise of 0.05 on target actions, and five updates of the values for one of the
    /// policies.
    pub fn central() -> Self {
        Self { noise: 0.05, period: 5, ..Self::default() }
    }

    /// Whether observations and actions can be shared out among the agents.
    pub(crate) fn check_spec(&self, spec: Spec) -> Result<(), ConfigError> {
        self.check()?;
        let n = self.agents;
        let fits = spec.obs.is_multiple_of(n) && spec.act.is_multiple_of(n) && spec.act > 0;
        ConfigError::unless(fits, "agents", format!("is {n}; {} and {} columns are not shared out", spec.obs, spec.act))
    }

    /// `inputs → hidden → outputs`, `members` side by side.
    fn net(&self, store: &mut Store, name: &str, inputs: usize, outputs: usize, members: usize, key: Key) -> Mlp {
        let dims = [&[inputs], self.hidden.as_slice(), &[outputs]].concat();
        Mlp::new(store, name, &dims, members, Activation::Relu, Init::FanIn, key)
    }

    /// πᵢ: one net for each agent, whose first actions are near 0 (last weights in ±0.003, as in the code).
    fn actor(&self, store: &mut Store, spec: Spec, key: Key) -> Mlp {
        let actor = self.net(store, "actor", spec.obs / self.agents, spec.act / self.agents, self.agents, key);
        let last = actor.layers().last().expect("a net has a layer").weight_range();
        key.name("actor").name("last").uniform(-3e-3, 3e-3, &mut store.params_mut()[last]);
        actor.with_output(Activation::Tanh)
    }
}

choices! {
    /// What a value looks at.
    pub enum Scope {
        /// *Qᵢ(oᵢ, uᵢ)*, one for each agent.
        #[default]
        Own,
        /// *Q(s, u)*, one for all.
        Central,
    }
}

/// The nets of a team.
#[derive(Clone, Copy)]
pub struct Nets {
    scope: Scope,
    limit: Real,
    actor: Mlp,
    actor_target: Mlp,
    critics: Option<[[Mlp; 2]; 2]>,
    behaviour: Option<Mlp>,
}

impl Nets {
    /// *πᵢ(oᵢ)*, `[agents, rows, act]`.
    pub fn act<'t>(&self, s: Seen<'t>) -> Var<'t> {
        self.actor.forward(s.own) * self.limit
    }

    /// The largest action.
    pub fn limit(&self) -> Real {
        self.limit
    }

    /// *Q_j*, `[agents or 1, rows, 1]`, of actions `u`, `[agents, rows, act]`.
    ///
    /// # Panics
    /// If the team has no values.
    pub fn q<'t>(&self, j: usize, s: Seen<'t>, u: Var<'t>) -> Var<'t> {
        self.value(self.critics.expect("Nets::q: a team without values")[0][j], s, u)
    }

    /// *Q_j* of *k* actions for each row: `[agents or 1, rows·k, 1]`, of `u`, `[agents, rows·k, act]`, or, joint, `[1, rows·k, agents·act]`.
    ///
    /// # Panics
    /// If the team has no values.
    pub fn q_of_many<'t>(&self, j: usize, s: Seen<'t>, u: Var<'t>) -> Var<'t> {
        let net = self.critics.expect("Nets::q_of_many: a team without values")[0][j];
        net.forward_pairs(if self.scope == Scope::Own { s.own } else { s.joint }, u)
    }

    fn value<'t>(&self, net: Mlp, s: Seen<'t>, u: Var<'t>) -> Var<'t> {
        match self.scope {
            Scope::Own => net.forward(s.own.cat(u)),
            Scope::Central => net.forward(s.joint.cat(together(u))),
        }
    }

    // ANCHOR: target
    /// (1)  y = r + γ(1−d) min_j Q̄_j(s′, ū′),   ū′ᵢ = clip(π̄ᵢ(o′ᵢ) + ε)
    fn target<'t>(&self, rows: Rows<'t>, gamma: Real, noise: Real, key: Key) -> Var<'t> {
        let targets = self.critics.expect("a team with values")[1];
        let mut u2 = self.actor_target.forward(rows.s2.own) * self.limit;
        if noise > 0.0 {
            let drawn = u2.tape().normal(u2.shape(), key) * (noise * self.limit);
            u2 = (u2 + drawn).clamp(-self.limit, self.limit);
        }
        let [one, two] = targets.map(|net| self.value(net, rows.s2, u2));
        rows.r + rows.alive * one.min(two) * gamma
    }
    // ANCHOR_END: target

    /// ln βᵢ(uᵢ∣oᵢ) of the cloned policies, `[agents, rows, 1]`, normal around a mean of the net's with a deviation in e⁻³ … e, in units of
    /// the limit.
    ///
    /// # Panics
    /// If the team clones nobody.
    pub fn ln_behaviour<'t>(&self, s: Seen<'t>, u: Var<'t>) -> Var<'t> {
        let net = self.behaviour.expect("Nets::ln_behaviour: a team that clones nobody");
        Gaussian::from_columns(net.forward(s.own), -3.0, 1.0).log_prob(u * self.limit.recip())
    }
}

/// What makes one algorithm of teams another.
pub trait Method: Clone + Send {
    /// What it has in common with the others.
    fn shared(&self) -> &Shared;

    /// What its values look at; none if it has no values.
    fn values(&self) -> Option<Scope>;

    /// Whether it clones who made the dataset, beside.
    fn clones(&self) -> bool {
        false
    }

    /// What is added to the values' loss, and its weight α; `q` are both values of what was done, `[agents or 1, rows, 1]`.
    fn penalty<'t>(&self, _: Nets, _: Rows<'t>, _q: [Var<'t>; 2], _: Key) -> Option<(Real, Var<'t>)> {
        None
    }

    /// The policies' loss, the cost of actions left out. `batch` is there for what needs no history: a scope of [`no_grad`](backcast_nn::Tape::no_grad) makes
    /// its own rows.
    fn policy_loss<'t>(&self, nets: Nets, rows: Rows<'t>, batch: Batch<'_>, key: Key) -> Var<'t>;
}

/// A team that learns by `M`.
pub struct Team<M> {
    method: M,
    spec: Spec,
    store: Store,
    nets: Nets,
    actor: Clipped,
    critics: Option<Clipped>,
    behaviour: Option<Clipped>,
    updates: u64,
}

impl<M: Method> Team<M> {
    /// A team for `spec`, its parameters drawn by `key`.
    pub(crate) fn new(method: &M, spec: Spec, key: Key) -> Result<Self, ConfigError> {
        let shared = method.shared();
        shared.check_spec(spec)?;
        let (n, lr, clip) = (shared.agents, shared.lr, shared.clip);
        let mut store = Store::default();
        let actor = shared.actor(&mut store, spec, key);
        let pair = |store: &mut Store, scope: Scope| {
            let shares = if scope == Scope::Own { n } else { 1 };
            let inputs = (spec.obs + spec.act) / shares;
            ["critic_1", "critic_2"].map(|name| shared.net(store, name, inputs, 1, shares, key))
        };
        let online = method.values().map(|scope| pair(&mut store, scope));
        let behaviour = method
            .clones()
            .then(|| shared.net(&mut store, "behaviour", spec.obs / n, 2 * (spec.act / n), n, key.name("behaviour")));
        let actor_target = actor.duplicate(&mut store, "actor_target");
        let critics = online.map(|[a, b]| {
            [[a, b], [a.duplicate(&mut store, "critic_1_target"), b.duplicate(&mut store, "critic_2_target")]]
        });
        let scope = method.values().unwrap_or_default();
        let nets = Nets { scope, limit: spec.act_limit, actor, actor_target, critics, behaviour };
        let clipped = |nets: &[Mlp]| Clipped::new(nets, None, lr, clip);
        let (critics, behaviour) = (online.map(|nets| clipped(&nets)), behaviour.map(|net| clipped(&[net])));
        Ok(Self { method: method.clone(), spec, store, nets, actor: clipped(&[actor]), critics, behaviour, updates: 0 })
    }

    // ANCHOR: critic_step
    /// (2)  L_Q = Σ_j E[ (Q_j(s,u) − y)² ] + α·penalty
    fn critic_step(&mut self, batch: Batch<'_>, key: Key, metrics: &mut Metrics) {
        let (method, nets) = (&self.method, self.nets);
        let &Shared { agents, gamma, noise, .. } = method.shared();
        let Some(critics) = &mut self.critics else { return };
        let (loss, (q, penalty)) = critics.minimise_with(&mut self.store, |tape| {
            let y = tape.no_grad(|tape| nets.target(Rows::on(tape, batch, agents), gamma, noise, key.name("noise")));
            let rows = Rows::on(tape, batch, agents);
            let q = [0, 1].map(|j| nets.q(j, rows.s, rows.u));
            let values = q[0].shape().members as Real;
            let loss = q.map(|q| (q - y).square().mean() * values);
            let loss = loss[0] + loss[1];
            let mean = q[0].mean().item();
            match method.penalty(nets, rows, q, key.name("penalty")) {
                None => (loss, (mean, None)),
                Some((alpha, penalty)) => (loss + penalty * alpha, (mean, Some(penalty.item()))),
            }
        });
        metrics.put("critic_loss", loss).put("q", q);
        penalty.map(|penalty| metrics.put("penalty", penalty));
    }
    // ANCHOR_END: critic_step

    // ANCHOR: actor_step
    /// (3)  L_π = the method's + 10⁻³·Σᵢ E[ ‖πᵢ‖² ]
    fn actor_step(&mut self, batch: Batch<'_>, key: Key) -> Real {
        let (method, nets) = (&self.method, self.nets);
        let &Shared { agents, action_cost, .. } = method.shared();
        let step = self.actor.minimise_with(&mut self.store, |tape| {
            let rows = Rows::on(tape, batch, agents);
            let loss = method.policy_loss(nets, rows, batch, key);
            let cost = nets.act(rows.s).square().mean() * agents as Real;
            (if action_cost > 0.0 { loss + cost * action_cost } else { loss }, ())
        });
        step.0
    }
    // ANCHOR_END: actor_step

    /// −E[ Σᵢ ln βᵢ(uᵢ∣oᵢ) ]
    fn cloning_step(&mut self, batch: Batch<'_>) {
        let (nets, agents) = (self.nets, self.method.shared().agents);
        let Some(behaviour) = &mut self.behaviour else { return };
        behaviour.minimise_with(&mut self.store, |tape| {
            let rows = Rows::on(tape, batch, agents);
            (-nets.ln_behaviour(rows.s, rows.u).mean() * agents as Real, ())
        });
    }

    /// *Q₁*, `[agents or 1, rows, 1]` in row-major order, of a joint action in a joint observation: `[rows, agents·act]`, `[rows,
    /// agents·obs]`.
    ///
    /// # Panics
    /// If the team has no values.
    pub fn values(&mut self, obs: ArrayView2<'_, Real>, act: ArrayView2<'_, Real>) -> Vec<Real> {
        let (nets, agents) = (self.nets, self.method.shared().agents);
        let tape = self.store.tape_without_history();
        nets.q(0, Seen::on(tape, obs, agents), split(tape, act, agents)).read(<[Real]>::to_vec)
    }
}

impl<M: Method> Learner for Team<M> {
    fn update(&mut self, batch: Batch<'_>, key: Key) -> Metrics {
        let &Shared { tau, period, .. } = self.method.shared();
        let mut metrics = Metrics::default();
        self.cloning_step(batch);
        self.critic_step(batch, key, &mut metrics);
        self.updates += 1;
        if self.updates.is_multiple_of(period) {
            metrics.put("actor_loss", self.actor_step(batch, key.name("policy")));
            backcast_nn::polyak(&mut self.store, &self.nets.actor_target, &self.nets.actor, tau);
            for [online, target] in self.nets.critics.iter().flat_map(|[on, off]| [[on[0], off[0]], [on[1], off[1]]]) {
                backcast_nn::polyak(&mut self.store, &target, &online, tau);
            }
        }
        metrics
    }
}

impl<M: Method> Policy for Team<M> {
    fn spec(&self) -> Spec {
        self.spec
    }

    fn act(&mut self, obs: ArrayView2<'_, Real>, _: Option<Key>, act: ArrayViewMut2<'_, Real>) {
        let (nets, agents) = (self.nets, self.method.shared().agents);
        let tape = self.store.tape_without_history();
        together(nets.act(Seen { own: split(tape, obs, agents), joint: tape.scalar(0.0) })).write_to(act);
    }
}

impl<M: Method> State for Team<M> {
    fn visit(&mut self, f: &mut dyn FnMut(&str, Slot<'_>)) {
        self.store.visit(f);
        under("actor_adam", &mut self.actor, f);
        let others = [("critic_adam", &mut self.critics), ("behaviour_adam", &mut self.behaviour)];
        others.into_iter().for_each(|(name, adam)| adam.iter_mut().for_each(|adam| under(name, adam, f)));
        f("updates", Slot::Count(&mut self.updates));
    }
}

impl<M: Method> Parameterised for Team<M> {
    fn store_mut(&mut self) -> &mut Store {
        &mut self.store
    }
}

/// ln ∫ exp Q over a box, estimated by `k` uniform draws of it for each row, less what is the same for all: ln Σ exp Q + `width`·ln 2L,
/// `[members, rows, 1]`, of `q`, `[members, rows·k, 1]`.
///
/// As in OMAR's and CFCQL's code, which add up over draws instead of taking their mean: that is ln `k` more, and no gradient.
pub fn pressed(q: Var<'_>, k: usize, width: usize, limit: Real) -> Var<'_> {
    let Shape { members, rows, .. } = q.shape();
    q.reshape(Shape::new(members, rows / k, k)).log_sum_exp_cols() + width as Real * (2.0 * limit).ln()
}
