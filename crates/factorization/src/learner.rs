//! Learning joint values from joint transitions, online or from a dataset: VDN, QMIX, QPLEX, Weighted QMIX, QTRAN; and what keeps them to a
//! dataset, MA-CQL and CFCQL.
//!
//! | equation | code |
//! |---|---|
//! | (1) y = r + γ(1−d)·Q̄_tot(s′, ū′), ū′ᵢ = argmax Qᵢ(τ′ᵢ, ·) | [`Joint::target`] |
//! | (2) L = E[ (Q_tot(s,u) − y)² ] | [`Joint::update`] |
//! | (2w) L = E[ w(s,u)·(Q_tot − y)² ] + E[ (Q* − y)² ], y with Q̄* | [`Joint::update`], [`weights`] |
//! | (2q) L = E[ (Q_jt − y)² ] + L_opt + 0.1·L_nopt | [`Joint::update`], [`constraints`] |
//! | (3) L += α·E[ ln mean_k exp Q_tot(s, u⁽ᵏ⁾)·\|U\| − Q_tot(s,u) ], u⁽ᵏ⁾ uniform | [`conservative::joint`] |
//! | (3′) L += α·E[ Σᵢ λᵢ ln Σ_a exp Q_tot(s,(u₋ᵢ,a)) − Q_tot(s,u) ] | [`conservative::counterfactual`] |
//!
//! Greedy actions are the online nets', their value the targets' (double Q). Targets are copied every [`Config::copy_every`] updates.
//! The published code is recurrent and draws episodes; here a part sees an observation and rows are drawn (see [`Utilities`]).

use crate::conservative::{self, Conservatism};
use crate::mixer::{Mixer, MixerConfig, Unrestricted};
use crate::parts::{Parts, Utilities, Widths, greedy, one_hot};
use backcast_core::{ConfigError, Key, Metrics, Real, Slot, State, under};
use backcast_nn::{Activation, Adam, Init, Mlp, Parameterised, Shape, Store, Tape, Var};
use ndarray::{Array2, ArrayView1, ArrayView2, ArrayView3};
use serde::{Deserialize, Serialize};
use std::ops::Range;

/// Joint transitions, borrowed.
#[derive(Clone, Copy, Debug)]
pub struct JointBatch<'a> {
    /// *s*, `[rows, state]`.
    pub state: ArrayView2<'a, Real>,
    /// *τ*, `[parts, rows, obs]`.
    pub obs: ArrayView3<'a, Real>,
    /// *u*, `[rows, parts]`.
    pub act: ArrayView2<'a, usize>,
    /// *r*, `[rows]`.
    pub reward: ArrayView1<'a, Real>,
    /// *s′*, `[rows, state]`.
    pub next_state: ArrayView2<'a, Real>,
    /// *τ′*, `[parts, rows, obs]`.
    pub next_obs: ArrayView3<'a, Real>,
    /// 1 where the episode ended, `[rows]`.
    pub terminal: ArrayView1<'a, Real>,
}

/// Which errors of Weighted QMIX count in full (Rashid et al., arXiv:2006.10800); the others count α.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Weighting {
    /// CW: of the greedy action, and of whatever promises more than it.
    Central,
    /// OW: where Q_tot is too low.
    Optimistic,
}

/// How a joint value is made of parts.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "kind", deny_unknown_fields)]
pub enum Method {
    /// A mixer that keeps the parts' best actions the joint best.
    Mixed {
        /// Which.
        mixer: MixerConfig,
    },
    /// A monotone mixer, drawn to where it matters by a value without restrictions.
    WeightedQmix {
        /// Which errors count in full.
        weighting: Weighting,
        /// What the others count.
        alpha: Real,
        /// Units of each hidden layer of the value without restrictions; 256 in the authors' code.
        star: usize,
    },
    /// A joint value without restrictions, and utilities that are held to it by two constraints (Son et al., arXiv:1905.05408).
    Qtran {
        /// The weight of the constraint on actions that are not greedy; 0.1 in the code, where the other's is 1.
        other: Real,
    },
}

/// One field per symbol.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// How parts make a whole.
    pub method: Method,
    /// What keeps values to the dataset.
    pub conservatism: Conservatism,
    /// Discount γ.
    pub gamma: Real,
    /// Learning rate.
    pub lr: Real,
    /// Updates between copies of the targets.
    pub copy_every: u64,
    /// Units of the hidden layers of each part's net; none makes it a table of a constant observation.
    pub hidden: Vec<usize>,
    /// Units of Weighted QMIX's mixing layer.
    pub embed: usize,
    /// Hidden units of the nets that make its weights, and of QTRAN's joint value.
    pub hyper: usize,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            method: Method::Mixed { mixer: MixerConfig::QMIX },
            conservatism: Conservatism::None,
            gamma: 0.99,
            lr: 5e-4,
            copy_every: 200,
            hidden: vec![64, 64],
            embed: 32,
            hyper: 64,
        }
    }
}

impl Config {
    /// Whether every field makes sense.
    ///
    /// # Errors
    /// The first field that does not, and what it must be instead.
    pub fn check(&self) -> Result<(), ConfigError> {
        let unit = |x: Real| (0.0..=1.0).contains(&x);
        ConfigError::unless(unit(self.gamma), "gamma", format!("is {}; a discount lies in 0 ..= 1", self.gamma))?;
        let sound = self.lr > 0.0 && self.lr.is_finite();
        ConfigError::unless(sound, "lr", format!("is {}; a learning rate is positive", self.lr))?;
        ConfigError::unless(self.copy_every > 0, "copy_every", "is 0; targets would never move")?;
        ConfigError::unless(!self.hidden.contains(&0), "hidden", "has a layer without units")?;
        ConfigError::unless(self.embed > 0, "embed", "is 0; a layer has units")?;
        ConfigError::unless(self.hyper > 0, "hyper", "is 0; a layer has units")?;
        let positive = |x: usize| x > 0;
        let method = match self.method {
            Method::Mixed { mixer: MixerConfig::Vdn } => true,
            Method::Mixed { mixer: MixerConfig::Qmix { embed, hyper } } => positive(embed) && positive(hyper),
            Method::Mixed { mixer: MixerConfig::Qplex { heads, hyper, .. } } => positive(heads) && positive(hyper),
            Method::WeightedQmix { alpha, star, .. } => unit(alpha) && positive(star),
            Method::Qtran { other } => other >= 0.0 && other.is_finite(),
        };
        ConfigError::unless(method, "method", "has a layer without units, or a weight out of its range")?;
        self.conservatism.check()
    }

    /// An algorithm, its parameters drawn by `key`.
    ///
    /// # Errors
    /// As [`check`](Self::check).
    pub fn build(&self, widths: Widths, key: Key) -> Result<Joint, ConfigError> {
        self.check()?;
        let mut store = Store::default();
        let online = Nets::new(&mut store, "online", self, widths, key);
        let trained = 0..store.len();
        let target = Nets::new(&mut store, "target", self, widths, key);
        let targets = trained.end..store.len();
        store.polyak(targets.clone(), trained.clone(), 1.0);
        let behaviour = Utilities::new(&mut store, "behaviour", widths, &self.hidden, key.name("behaviour"));
        let adam = Adam::new(trained.clone(), self.lr);
        let cloning = Adam::new(behaviour.range(), self.lr);
        let nets = Both { online, target, behaviour };
        Ok(Joint { widths, config: self.clone(), store, nets, trained, targets, adam, cloning, updates: 0 })
    }
}

/// The nets of one value.
#[derive(Clone, Copy)]
pub(crate) struct Nets {
    pub(crate) utilities: Utilities,
    kind: Kind,
}

#[derive(Clone, Copy)]
#[allow(clippy::large_enum_variant, reason = "handles, copied a few times an update; boxes could not be copied")]
enum Kind {
    Mixed(Mixer),
    Weighted { mixer: Mixer, central: Utilities, star: Unrestricted },
    Qtran { joint: Mlp, value: Mlp },
}

impl Nets {
    fn new(store: &mut Store, name: &str, config: &Config, widths: Widths, key: Key) -> Self {
        let hidden = &config.hidden;
        let utilities = Utilities::new(store, &format!("{name}.utilities"), widths, hidden, key.name("utilities"));
        let net = |store: &mut Store, what: &str, inputs: usize| {
            let dims = [inputs, config.hyper, config.hyper, 1];
            Mlp::new(store, &format!("{name}.{what}"), &dims, 1, Activation::Relu, Init::FanIn, key)
        };
        let kind = match config.method {
            Method::Mixed { mixer } => Kind::Mixed(mixer.build(store, &format!("{name}.mixer"), widths, key)),
            Method::WeightedQmix { star, .. } => Kind::Weighted {
                mixer: MixerConfig::Qmix { embed: config.embed, hyper: config.hyper }.build(
                    store,
                    &format!("{name}.mixer"),
                    widths,
                    key,
                ),
                central: Utilities::new(store, &format!("{name}.central"), widths, hidden, key.name("central")),
                star: Unrestricted::new(store, &format!("{name}.star"), widths, star, key),
            },
            Method::Qtran { .. } => Kind::Qtran {
                joint: net(store, "joint", widths.state + widths.parts * widths.actions),
                value: net(store, "value", widths.state),
            },
        };
        Self { utilities, kind }
    }

    /// *Q_tot*, `[1, rows, 1]`: what the parts' values are mixed to. QTRAN's is their sum.
    pub(crate) fn total<'t>(&self, parts: Parts<'t>) -> Var<'t> {
        match self.kind {
            Kind::Mixed(mixer) | Kind::Weighted { mixer, .. } => mixer.mix(parts),
            Kind::Qtran { .. } => parts.chosen.sum_cols(),
        }
    }

    /// The value that is bootstrapped from, `[1, rows, 1]`: Q_tot, Weighted QMIX's Q*, QTRAN's Q_jt.
    fn bootstrap<'t>(&self, parts: Parts<'t>, obs: Var<'t>, taken: Var<'t>) -> Var<'t> {
        match self.kind {
            Kind::Mixed(mixer) => mixer.mix(parts),
            Kind::Weighted { central, star, .. } => star.mix(Parts::of(central.all(obs), taken, parts.state)),
            Kind::Qtran { joint, .. } => joint.forward(parts.state.cat(parts.joint)),
        }
    }
}

#[derive(Clone, Copy)]
struct Both {
    online: Nets,
    target: Nets,
    behaviour: Utilities,
}

/// A joint value that learns.
pub struct Joint {
    widths: Widths,
    config: Config,
    store: Store,
    nets: Both,
    trained: Range<usize>,
    targets: Range<usize>,
    adam: Adam,
    cloning: Adam,
    updates: u64,
}

impl Joint {
    // ANCHOR: target
    /// (1)  y = r + γ(1−d)·Q̄(s′, ū′),  ū′ᵢ = argmax Qᵢ(τ′ᵢ, ·)
    fn target<'t>(tape: Tape<'t>, nets: Both, gamma: Real, batch: JointBatch<'_>) -> Var<'t> {
        let (state, obs) = (tape.input(batch.next_state), tape.input3(batch.next_obs));
        let greedy = nets.online.utilities.all(obs).arg_max_cols();
        let parts = Parts::of(nets.target.utilities.all(obs), greedy, state);
        let alive = -column(tape, batch.terminal) + 1.0;
        column(tape, batch.reward) + alive * nets.target.bootstrap(parts, obs, greedy) * gamma
    }
    // ANCHOR_END: target

    /// One update on one batch.
    ///
    /// # Panics
    /// If a width differs from the algorithm's.
    pub fn update(&mut self, batch: JointBatch<'_>, key: Key) -> Metrics {
        let Self { nets, widths, .. } = *self;
        let Config { method, conservatism, gamma, .. } = self.config;
        if conservatism.needs_behaviour() {
            self.cloning.minimise(&mut self.store, |tape| {
                let all = nets.behaviour.all(tape.input3(batch.obs));
                conservative::cloning(all, one_hot(tape, batch.act, widths.actions))
            });
        }
        // ANCHOR: update
        let (loss, (value, pressed)) = self.adam.minimise_with(&mut self.store, |tape| {
            let y = tape.no_grad(|tape| Self::target(tape, nets, gamma, batch));
            let (state, obs) = (tape.input(batch.state), tape.input3(batch.obs));
            let taken = one_hot(tape, batch.act, widths.actions);
            let all = nets.online.utilities.all(obs);
            let parts = Parts::of(all, taken, state);
            let total = nets.online.total(parts);
            let error = total - y;
            let loss = match (method, nets.online.kind) {
                (Method::WeightedQmix { weighting, alpha, .. }, Kind::Weighted { .. }) => {
                    let star = nets.online.bootstrap(parts, obs, taken);
                    let w = weights(weighting, alpha, nets, [state, obs, taken], total, y);
                    (w * error.square()).mean() + (star - y).square().mean()
                }
                (Method::Qtran { other }, Kind::Qtran { joint, value }) => {
                    let q = joint.forward(state.cat(parts.joint));
                    let [best, others] = constraints(joint, value, all, parts, q);
                    (q - y).square().mean() + best + others * other
                }
                _ => error.square().mean(),
            };
            let pressed = match conservatism {
                Conservatism::None => tape.scalar(0.0),
                Conservatism::Joint { n_action_samples, .. } => {
                    conservative::joint(nets.online, all, state, n_action_samples, key) - total.mean()
                }
                Conservatism::Counterfactual { spread, .. } => {
                    let policy = conservatism.needs_behaviour().then(|| nets.behaviour.all(obs).detach());
                    conservative::counterfactual(nets.online, all, taken, state, policy, spread) - total.mean()
                }
            };
            (loss + pressed * conservatism.weight(), (total.mean().item(), pressed.item()))
        });
        // ANCHOR_END: update
        self.updates += 1;
        if self.updates.is_multiple_of(self.config.copy_every) {
            self.store.polyak(self.targets.clone(), self.trained.clone(), 1.0);
        }
        Metrics::from([("loss", loss), ("q", value), ("penalty", pressed)])
    }

    /// What each part does by itself, `[rows, parts]`, for `obs`, `[parts, rows, obs]`.
    pub fn greedy(&mut self, obs: ArrayView3<'_, Real>) -> Array2<usize> {
        let nets = self.nets;
        let tape = self.store.tape_without_history();
        greedy(nets.online.utilities.all(tape.input3(obs)))
    }

    /// *Q_tot*, `[rows]`, of joint actions `act`, `[rows, parts]`.
    pub fn total(
        &mut self,
        state: ArrayView2<'_, Real>,
        obs: ArrayView3<'_, Real>,
        act: ArrayView2<'_, usize>,
    ) -> Vec<Real> {
        let (nets, actions) = (self.nets.online, self.widths.actions);
        let tape = self.store.tape_without_history();
        let all = nets.utilities.all(tape.input3(obs));
        let parts = Parts::of(all, one_hot(tape, act, actions), tape.input(state));
        nets.total(parts).read(<[Real]>::to_vec)
    }

    /// Runs `f` on the values of all actions, `[parts, rows, actions]`, and what makes a whole of them.
    pub(crate) fn with_values<R>(&mut self, obs: ArrayView3<'_, Real>, f: impl FnOnce(Var<'_>, Nets) -> R) -> R {
        let nets = self.nets.online;
        let tape = self.store.tape();
        f(nets.utilities.all(tape.input3(obs)), nets)
    }

    /// How wide things are.
    pub fn widths(&self) -> Widths {
        self.widths
    }
}

fn column<'t>(tape: Tape<'t>, values: ArrayView1<'_, Real>) -> Var<'t> {
    tape.fill(Shape::new(1, values.len(), 1), |out| out.iter_mut().zip(values).for_each(|(o, &x)| *o = x))
}

// ANCHOR: weights
/// (2w)  CW: 1 where u is greedy or y > Q̄*(s, û), else α.   OW: 1 where Q_tot < y, else α.
fn weights<'t>(
    weighting: Weighting,
    alpha: Real,
    nets: Both,
    [state, obs, taken]: [Var<'t>; 3],
    total: Var<'t>,
    y: Var<'t>,
) -> Var<'t> {
    let full = match weighting {
        Weighting::Optimistic => y.less(total),
        Weighting::Central => {
            let greedy = nets.online.utilities.all(obs).arg_max_cols();
            let parts = Parts::of(nets.target.utilities.all(obs), greedy, state);
            let better = nets.target.bootstrap(parts, obs, greedy).detach();
            // As many agreements as parts: the greedy joint action.
            let agree = (greedy * taken).sum_cols().sum_members();
            let is_greedy = agree.less(agree.tape().scalar(taken.shape().members as Real - 0.5));
            is_greedy.max(y.less(better))
        }
    };
    full * (1.0 - alpha) + alpha
}
// ANCHOR_END: weights

// ANCHOR: constraints
/// (2q)  L_opt = E[ (Σ Qᵢ(ūᵢ) − ⊥Q_jt(s,ū) + V(s))² ],   L_nopt = E[ min(Σ Qᵢ(uᵢ) − ⊥Q_jt(s,u) + V(s), 0)² ]
fn constraints<'t>(joint: Mlp, value: Mlp, all: Var<'t>, parts: Parts<'t>, q: Var<'t>) -> [Var<'t>; 2] {
    let best = Parts::of(all, all.detach().arg_max_cols(), parts.state);
    let top = joint.forward(parts.state.cat(best.joint)).detach();
    let v = value.forward(parts.state);
    let greedy = best.chosen.sum_cols() - top + v;
    let others = (parts.chosen.sum_cols() - q.detach() + v).min(q.tape().scalar(0.0));
    [greedy.square().mean(), others.square().mean()]
}
// ANCHOR_END: constraints

impl State for Joint {
    fn visit(&mut self, f: &mut dyn FnMut(&str, Slot<'_>)) {
        self.store.visit(f);
        under("online_adam", &mut self.adam, f);
        under("behaviour_adam", &mut self.cloning, f);
        f("updates", Slot::Count(&mut self.updates));
    }
}

impl Parameterised for Joint {
    fn store_mut(&mut self) -> &mut Store {
        &mut self.store
    }
}
