//! One agent whose action has continuous parts: upper and lower body, a skill and its setting. Values that are sums over *groups* of columns, and
//! for each group an actor of its own.
//!
//! | equation | code |
//! |---|---|
//! | (1) Q(s,a) = Σ_d q_d(s,a_d), two of each | [`Nets::value`] |
//! | (2) y = r + γ(1−d)·min_j Q̄_j(s′,μ(s′)) | [`Groups::update`] |
//! | (3) L_Q = Σ_j E[ (Q_j(s,a) − y)² ] | [`Groups::update`] |
//! | (4) L_μ = −E[ Σ_d q_d(s,μ_d(s)) ] / E\|Q(s,a)\| + Σ_d α_d·E‖μ_d(s) − a_d‖² | [`Groups::update`] |
//!
//! (1) is the linear decomposition of Tang et al. (NeurIPS 2022, arXiv:2305.01738) for parts that are continuous; (4) is TD3+BC's loss (Fujimoto
//! & Gu, arXiv:2106.06860), which falls apart into one for each group: what keeps a group to the dataset may be strict where another's is
//! loose. The combination is ours. The square is a mean over a group's columns, of actions in units of their limit; value and size are
//! the first critics'. No noise on the next action and no actor that waits: critics, actors with the new critics, targets.
//!
//! Groups know of each other by the state alone: each does its best whatever the others do. Where rewards are products, say, that is wrong,
//! and no number of rows helps. One group of all columns is the algorithm without any decomposition.

use backcast_core::{Batch, ConfigError, Key, Learner, Metrics, Policy, Real, Slot, Spec, State, under};
use backcast_nn::{Activation, Adam, Init, Mlp, Parameterised, Shape, Store, Tape, Var, polyak};
use ndarray::{ArrayView2, ArrayViewMut2};
use serde::{Deserialize, Serialize};

/// A group of columns of the action.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Group {
    /// Its columns, which follow on those of the group before.
    pub columns: usize,
    /// α, the weight of what keeps it to the dataset.
    pub cloning: Real,
}

/// One field per symbol.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct GroupsConfig {
    /// The groups, in the order of the columns; none is one of all columns, with a weight of 0.4 (TD3+BC's 1/2.5).
    pub groups: Vec<Group>,
    /// Discount γ.
    pub gamma: Real,
    /// Learning rate of the critics.
    pub critic_lr: Real,
    /// Learning rate of the actors.
    pub actor_lr: Real,
    /// Polyak rate of the targets.
    pub tau: Real,
    /// Units of the hidden layers of every net.
    pub hidden: Vec<usize>,
}

impl Default for GroupsConfig {
    fn default() -> Self {
        Self { groups: Vec::new(), gamma: 0.99, critic_lr: 3e-4, actor_lr: 3e-4, tau: 0.005, hidden: vec![256, 256] }
    }
}

impl GroupsConfig {
    /// Whether every field makes sense.
    ///
    /// # Errors
    /// The first field that does not, and what it must be instead.
    pub fn check(&self) -> Result<(), ConfigError> {
        let unit = |x: Real| (0.0..=1.0).contains(&x);
        ConfigError::unless(unit(self.gamma), "gamma", format!("is {}; a discount lies in 0 ..= 1", self.gamma))?;
        for (field, lr) in [("critic_lr", self.critic_lr), ("actor_lr", self.actor_lr)] {
            let sound = lr > 0.0 && lr.is_finite();
            ConfigError::unless(sound, field, format!("is {lr}; a learning rate is positive"))?;
        }
        let moves = self.tau > 0.0 && self.tau <= 1.0;
        ConfigError::unless(moves, "tau", format!("is {}; targets move by 0 < τ ≤ 1", self.tau))?;
        ConfigError::unless(!self.hidden.contains(&0), "hidden", "has a layer without units")?;
        let sound = |g: &Group| g.columns > 0 && g.cloning >= 0.0 && g.cloning.is_finite();
        ConfigError::unless(self.groups.iter().all(sound), "groups", "have columns, and a weight of at least 0 each")
    }

    /// An algorithm for `spec`, its parameters drawn by `key`.
    ///
    /// # Errors
    /// As [`check`](Self::check), and where the groups' columns are not those of an action.
    pub fn build(&self, spec: Spec, key: Key) -> Result<Groups, ConfigError> {
        self.check()?;
        let one = || vec![Group { columns: spec.act, cloning: 0.4 }];
        let groups = if self.groups.is_empty() { one() } else { self.groups.clone() };
        let columns: usize = groups.iter().map(|g| g.columns).sum();
        let why = || format!("have {columns} columns, and an action has {}", spec.act);
        ConfigError::unless(columns == spec.act, "groups", why())?;
        let mut store = Store::default();
        let mut net = |name: String, inputs: usize, outputs: usize, members: usize| {
            let dims: Vec<usize> = [inputs].into_iter().chain(self.hidden.iter().copied()).chain([outputs]).collect();
            Mlp::new(&mut store, &name, &dims, members, Activation::Relu, Init::FanIn, key.name(&name))
        };
        let each = || groups.iter().enumerate();
        let critics: Vec<Mlp> = each().map(|(d, g)| net(format!("critic.{d}"), spec.obs + g.columns, 1, 2)).collect();
        let actors: Vec<Mlp> = each().map(|(d, g)| net(format!("actor.{d}"), spec.obs, g.columns, 1)).collect();
        let duplicate = |(d, critic): (usize, &Mlp)| critic.duplicate(&mut store, &format!("critic_target.{d}"));
        let targets: Vec<Mlp> = critics.iter().enumerate().map(duplicate).collect();
        // Nets of a kind stand one after the other.
        let span = |nets: &[Mlp]| nets[0].range().start..nets[nets.len() - 1].range().end;
        let critic_adam = Adam::new(span(&critics), self.critic_lr);
        let actor_adam = Adam::new(span(&actors), self.actor_lr);
        let nets = Nets { groups, critics, targets, actors };
        Ok(Groups { spec, config: self.clone(), store, nets, critic_adam, actor_adam })
    }
}

struct Nets {
    groups: Vec<Group>,
    critics: Vec<Mlp>,
    targets: Vec<Mlp>,
    actors: Vec<Mlp>,
}

impl Nets {
    // ANCHOR: value
    /// (1)  Q(s,a) = Σ_d q_d(s,a_d),  `[2, rows, 1]`, for actions in units of their limit
    fn value<'t>(&self, nets: &[Mlp], s: Var<'t>, a: Var<'t>) -> Var<'t> {
        let mut first = 0;
        let part = |(net, group): (&Mlp, &Group)| {
            let own = a.cols(first, group.columns);
            first += group.columns;
            net.forward(s.cat(own))
        };
        nets.iter().zip(&self.groups).map(part).reduce(|sum, q| sum + q).expect("there is a group")
    }
    // ANCHOR_END: value

    /// μ(s), every group's columns beside the others', in units of the limit.
    fn act<'t>(&self, s: Var<'t>) -> Var<'t> {
        let own = self.actors.iter().map(|actor| actor.forward(s).tanh());
        own.reduce(|left, a| left.cat(a)).expect("there is a group")
    }
}

/// A value that is a sum over groups of columns, and an actor for each.
pub struct Groups {
    spec: Spec,
    config: GroupsConfig,
    store: Store,
    nets: Nets,
    critic_adam: Adam,
    actor_adam: Adam,
}

/// Recorded actions in units of the limit.
fn scaled<'t>(tape: Tape<'t>, act: ArrayView2<'_, Real>, limit: Real) -> Var<'t> {
    tape.input(act) * limit.recip()
}

impl Groups {
    /// Q(s,a), `[rows]`, the first critics'.
    pub fn values(&mut self, obs: ArrayView2<'_, Real>, act: ArrayView2<'_, Real>) -> Vec<Real> {
        let nets = &self.nets;
        let tape = self.store.tape_without_history();
        nets.value(&nets.critics, tape.input(obs), scaled(tape, act, self.spec.act_limit))
            .member(0)
            .read(<[Real]>::to_vec)
    }
}

impl Learner for Groups {
    // ANCHOR: update
    fn update(&mut self, batch: Batch<'_>, _: Key) -> Metrics {
        let Self { spec, config, store, nets, critic_adam, actor_adam } = self;
        let (nets, limit) = (&*nets, spec.act_limit);
        let (critic_loss, (q, size)) = critic_adam.minimise_with(store, |tape| {
            let y = tape.no_grad(|tape| {
                let s2 = tape.input(batch.next_obs);
                let next = nets.value(&nets.targets, s2, nets.act(s2)).min_members();
                let alive = -tape.input(batch.terminal) + 1.0;
                tape.input(batch.reward) + alive * next * config.gamma
            });
            let q = nets.value(&nets.critics, tape.input(batch.obs), scaled(tape, batch.act, limit));
            let size = q.member(0).abs().mean().item();
            ((q - y).square().mean() * 2.0, (q.mean().item(), size))
        });
        let actor_loss = actor_adam.minimise(store, |tape| {
            let (s, a) = (tape.input(batch.obs), scaled(tape, batch.act, limit));
            let mine = nets.act(s);
            let gain = nets.value(&nets.critics, s, mine).member(0).mean() * size.max(1e-6).recip();
            let (mut first, mut apart) = (0, tape.fill(Shape::SCALAR, |out| out.fill(0.0)));
            for group in &nets.groups {
                let off = mine.cols(first, group.columns) - a.cols(first, group.columns);
                apart = apart + off.square().mean() * group.cloning;
                first += group.columns;
            }
            apart - gain
        });
        nets.targets.iter().zip(&nets.critics).for_each(|(target, critic)| polyak(store, target, critic, config.tau));
        Metrics::from([("critic_loss", critic_loss), ("actor_loss", actor_loss), ("q", q)])
    }
    // ANCHOR_END: update
}

impl Policy for Groups {
    fn spec(&self) -> Spec {
        self.spec
    }

    fn act(&mut self, obs: ArrayView2<'_, Real>, _: Option<Key>, act: ArrayViewMut2<'_, Real>) {
        let (nets, limit) = (&self.nets, self.spec.act_limit);
        let tape = self.store.tape_without_history();
        (nets.act(tape.input(obs)) * limit).write_to(act);
    }
}

impl State for Groups {
    fn visit(&mut self, f: &mut dyn FnMut(&str, Slot<'_>)) {
        self.store.visit(f);
        under("critic_adam", &mut self.critic_adam, f);
        under("actor_adam", &mut self.actor_adam, f);
    }
}

impl Parameterised for Groups {
    fn store_mut(&mut self) -> &mut Store {
        &mut self.store
    }
}
