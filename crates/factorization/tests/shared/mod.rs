//! Every algorithm of the crate in a small size, and rows for all of them.

use backcast_core::{Batch, Key, Learner, Metrics, Normal, Policy, Real, Spec, State};
use backcast_factorization::{
    CloneConfig, Cloned, Coma, ComaConfig, Config, Conservatism, Constraint, Factored, FactoredBatch, FactoredConfig,
    FqeBatch, FqeConfig, Group, Groups, GroupsConfig, Joint, JointBatch, JointFqe, Method, MixerConfig, Spread,
    Weighting, Widths, coma,
};
use ndarray::{Array1, Array2, Array3, Axis};

/// Updates between copies of targets that are copied.
pub(crate) const COPY_EVERY: u64 = 4;

/// Joint transitions.
#[derive(Clone)]
pub(crate) struct Rows {
    pub(crate) state: Array2<Real>,
    pub(crate) obs: Array3<Real>,
    pub(crate) act: Array2<usize>,
    pub(crate) reward: Array1<Real>,
    pub(crate) next_state: Array2<Real>,
    pub(crate) next_obs: Array3<Real>,
    pub(crate) next_act: Array2<usize>,
    pub(crate) terminal: Array1<Real>,
}

impl Rows {
    pub(crate) fn drawn(widths: Widths, rows: usize, key: Key) -> Self {
        let Widths { parts, actions, obs, state } = widths;
        let states = |name| key.name(name).array((rows, state), Normal::default());
        let seen = |name| key.name(name).array((parts, rows, obs), Normal::default());
        let taken = |name: &str| {
            Array2::from_shape_fn((rows, parts), |(row, part)| key.name(name).below(actions, row * parts + part))
        };
        Self {
            state: states("state"),
            obs: seen("obs"),
            act: taken("act"),
            reward: key.name("reward").array(rows, Normal::default()) * 2.0,
            next_state: states("next state"),
            next_obs: seen("next obs"),
            next_act: taken("next act"),
            terminal: (0..rows).map(|row| Real::from(u8::from(key.name("end").below(4, row) == 0))).collect(),
        }
    }

    /// These rows in this order.
    pub(crate) fn select(&self, rows: &[usize]) -> Self {
        Self {
            state: self.state.select(Axis(0), rows),
            obs: self.obs.select(Axis(1), rows),
            act: self.act.select(Axis(0), rows),
            reward: self.reward.select(Axis(0), rows),
            next_state: self.next_state.select(Axis(0), rows),
            next_obs: self.next_obs.select(Axis(1), rows),
            next_act: self.next_act.select(Axis(0), rows),
            terminal: self.terminal.select(Axis(0), rows),
        }
    }
}

/// An algorithm of any kind.
pub(crate) trait Learns: State + Send {
    fn learn(&mut self, rows: &Rows, key: Key) -> Metrics;
}

impl Learns for Joint {
    fn learn(&mut self, rows: &Rows, key: Key) -> Metrics {
        let batch = JointBatch {
            state: rows.state.view(),
            obs: rows.obs.view(),
            act: rows.act.view(),
            reward: rows.reward.view(),
            next_state: rows.next_state.view(),
            next_obs: rows.next_obs.view(),
            terminal: rows.terminal.view(),
        };
        self.update(batch, key)
    }
}

impl Learns for Factored {
    fn learn(&mut self, rows: &Rows, _: Key) -> Metrics {
        self.update(FactoredBatch {
            obs: rows.state.view(),
            act: rows.act.view(),
            reward: rows.reward.view(),
            next_obs: rows.next_state.view(),
            next_act: Some(rows.next_act.view()),
            terminal: rows.terminal.view(),
        })
    }
}

impl Learns for Coma {
    /// The rows one after the other, in the hope that one ends.
    fn learn(&mut self, rows: &Rows, _: Key) -> Metrics {
        let n = rows.reward.len();
        let truncated = Array1::from_shape_fn(n, |row| if row + 1 == n { 1.0 - rows.terminal[row] } else { 0.0 });
        self.update(coma::Paths {
            state: rows.state.view(),
            obs: rows.obs.view(),
            act: rows.act.view(),
            reward: rows.reward.view(),
            terminal: rows.terminal.view(),
            truncated: truncated.view(),
        })
    }
}

impl Learns for Cloned {
    fn learn(&mut self, rows: &Rows, _: Key) -> Metrics {
        self.update(rows.obs.view(), rows.act.view())
    }
}

impl Learns for JointFqe {
    fn learn(&mut self, rows: &Rows, _: Key) -> Metrics {
        // A policy that depends on what is seen: of two actions the one or the other, the third never.
        let first = |part: usize, row: usize| (rows.next_obs[[part, row, 0]] > 0.0) as u8 as Real;
        let policy =
            Array3::from_shape_fn((WIDTHS.parts, rows.reward.len(), WIDTHS.actions), |(part, row, a)| match a {
                0 => first(part, row),
                1 => 1.0 - first(part, row),
                _ => 0.0,
            });
        self.update(FqeBatch {
            state: rows.state.view(),
            act: rows.act.view(),
            reward: rows.reward.view(),
            next_state: rows.next_state.view(),
            next_policy: policy.view(),
            terminal: rows.terminal.view(),
        })
    }
}

impl Learns for Groups {
    /// Actions in the middle of their bins.
    fn learn(&mut self, rows: &Rows, key: Key) -> Metrics {
        let act = rows.act.map(|&a| (a as Real - 1.0) * 0.7);
        let column = |x: &Array1<Real>| x.clone().insert_axis(Axis(1));
        let (reward, terminal) = (column(&rows.reward), column(&rows.terminal));
        let batch = Batch {
            spec: self.spec(),
            obs: rows.state.view(),
            act: act.view(),
            reward: reward.view(),
            next_obs: rows.next_state.view(),
            terminal: terminal.view(),
            next_act: None,
            real: rows.reward.len(),
        };
        self.update(batch, key)
    }
}

/// What an algorithm makes of rows.
#[derive(Clone, Copy, PartialEq)]
pub(crate) enum Looks {
    /// Transitions: what comes next stands beside.
    Beside,
    /// Paths: what comes next is the row after.
    After,
    /// At the row alone; it has no targets.
    Nowhere,
}

/// An algorithm's name and how it is made.
pub(crate) struct Case {
    pub(crate) name: &'static str,
    pub(crate) widths: Widths,
    /// Where it looks for what comes next.
    pub(crate) looks: Looks,
    /// Whether an update draws.
    pub(crate) draws: bool,
    /// How its targets follow; none is copies.
    pub(crate) tau: Option<Real>,
    build: Box<dyn Fn(Key) -> Box<dyn Learns> + Send + Sync>,
}

impl Case {
    pub(crate) fn build(&self, key: Key) -> Box<dyn Learns> {
        (self.build)(key)
    }
}

/// The net that a tensor of a target follows, of the same layer.
pub(crate) fn online_of(tensor: &str) -> Option<String> {
    let copied = tensor.strip_prefix("target.").map(|rest| format!("online.{rest}"));
    copied.or_else(|| tensor.contains("_target.").then(|| tensor.replacen("_target.", ".", 1)))
}

const WIDTHS: Widths = Widths { parts: 3, actions: 3, obs: 2, state: 4 };

fn joint(name: &'static str, method: Method, conservatism: Conservatism) -> Case {
    let config = Config {
        method,
        conservatism,
        lr: 3e-3,
        copy_every: COPY_EVERY,
        hidden: vec![16],
        embed: 8,
        hyper: 8,
        ..Config::default()
    };
    let build = move |key| Box::new(config.build(WIDTHS, key).expect("sound")) as Box<dyn Learns>;
    let draws = matches!(conservatism, Conservatism::Joint { .. });
    Case { name, widths: WIDTHS, looks: Looks::Beside, draws, tau: None, build: Box::new(build) }
}

fn factored(name: &'static str, constraint: Constraint) -> Case {
    let config = FactoredConfig { constraint, lr: 3e-3, tau: 0.02, hidden: vec![16], ..FactoredConfig::default() };
    let Widths { parts, actions, state, .. } = WIDTHS;
    let build = move |key| Box::new(config.build(state, parts, actions, key).expect("sound")) as Box<dyn Learns>;
    Case { name, widths: WIDTHS, looks: Looks::Beside, draws: false, tau: Some(0.02), build: Box::new(build) }
}

fn other(
    name: &'static str,
    looks: Looks,
    tau: Option<Real>,
    build: impl Fn(Key) -> Box<dyn Learns> + Send + Sync + 'static,
) -> Case {
    Case { name, widths: WIDTHS, looks, draws: false, tau, build: Box::new(build) }
}

/// Every algorithm.
pub(crate) fn every() -> Vec<Case> {
    let mixed = |mixer| Method::Mixed { mixer };
    let qmix = mixed(MixerConfig::Qmix { embed: 8, hyper: 8 });
    let qplex = |scaled| mixed(MixerConfig::Qplex { heads: 3, hyper: 8, scaled });
    let weighted = |weighting| Method::WeightedQmix { weighting, alpha: 0.5, star: 8 };
    let free = Conservatism::None;
    let each = |spread| Conservatism::Counterfactual { weight: 0.5, spread };
    vec![
        joint("vdn", mixed(MixerConfig::Vdn), free),
        joint("qmix", qmix, free),
        joint("qplex", qplex(false), free),
        joint("qplex scaled", qplex(true), free),
        joint("cw-qmix", weighted(Weighting::Central), free),
        joint("ow-qmix", weighted(Weighting::Optimistic), free),
        joint("qtran", Method::Qtran { other: 0.5 }, free),
        joint("ma-cql", qmix, Conservatism::Joint { weight: 0.5, n_action_samples: 20 }),
        joint("cfcql", qmix, each(Spread::Even)),
        joint("cfcql softmax", qplex(false), each(Spread::Softmax(0.5))),
        joint("cfcql largest", mixed(MixerConfig::Vdn), each(Spread::Largest)),
        factored("decqn", Constraint::None),
        factored("decqn cql", Constraint::Cql { weight: 0.5 }),
        factored("decqn bcq", Constraint::Bcq { threshold: 0.5 }),
        factored("decqn one step", Constraint::OneStep { threshold: 0.5 }),
        factored("decqn iql", Constraint::Iql { expectile: 0.8, inverse_temperature: 3.0 }),
        other("coma", Looks::After, None, |key| {
            let (hidden, critic_hidden) = (vec![16], vec![16]);
            let config =
                ComaConfig { critic_lr: 3e-3, copy_every: COPY_EVERY, hidden, critic_hidden, ..ComaConfig::default() };
            Box::new(config.build(WIDTHS, key).expect("sound"))
        }),
        other("clone", Looks::Nowhere, None, |key| {
            let config = CloneConfig { lr: 3e-3, weight_decay: 0.01, hidden: vec![16] };
            Box::new(config.build(WIDTHS, key).expect("sound"))
        }),
        other("groups", Looks::Beside, Some(0.02), |key| {
            let groups = [2, 1].map(|columns| Group { columns, cloning: 0.4 }).to_vec();
            let (critic_lr, hidden) = (3e-3, vec![16]);
            let config = GroupsConfig { groups, critic_lr, tau: 0.02, hidden, ..GroupsConfig::default() };
            Box::new(config.build(Spec::new(WIDTHS.state, WIDTHS.parts), key).expect("sound"))
        }),
        other("joint fqe", Looks::Beside, Some(0.02), |key| {
            let config = FqeConfig { lr: 3e-3, tau: 0.02, hidden: vec![16], ..FqeConfig::default() };
            Box::new(config.build(WIDTHS, key).expect("sound"))
        }),
    ]
}
