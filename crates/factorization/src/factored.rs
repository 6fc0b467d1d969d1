//! One agent whose action has many parts: Q-values that are sums over the parts, from a dataset.
//!
//! A continuous action cut into three bins for each of *D* joints is one of 3ᴰ. The linear decomposition (Tang et al., NeurIPS 2022,
//! arXiv:2305.01738; DecQN, Seyde et al., ICLR 2023, arXiv:2210.12566) gives each part's actions a value and adds them up, or takes their mean: one net
//! with *D*·|A| outputs, whose best joint action is each part's best. Where rewards and transitions do not add up it is biased; where they
//! do it knows combinations that nobody ever tried.
//!
//! | equation | code |
//! |---|---|
//! | (1) Q(s,a) = (1/D)·Σ_d U_d(s,a_d), the mean of two nets | [`Nets::value`] |
//! | (2) y = r + γ(1−d)·(1/D)·Σ_d max_b Ū_d(s′,b) | [`Factored::target`] |
//! | (3) L = Σ_j E[ Huber( Q_j(s,a) − y ) ] | [`Factored::update`] |
//! | CQL: L += α·E[ (1/D)·Σ_d ( ln Σ_b exp U_d(s,b) − U_d(s,a_d) ) ] | [`pressed`] |
//! | BCQ: b only where β_d(b∣s) ≥ τ·max β_d; β cloned | [`Constraint::Bcq`] |
//! | one step: y = r + γ(1−d)·Q̄(s′,a′), a′ recorded; then the best b as BCQ's | [`Constraint::OneStep`] |
//! | IQL: y = r + γ(1−d)·V(s′), L_V = E[ \|κ − 1(Q̄ < V)\|·(Q̄ − V)² ], π_d by E[ exp(ω·A)·ln π_d(a_d∣s) ] | [`Constraint::Iql`] |
//!
//! Variants after Beeson & Montana (*An investigation of offline reinforcement learning in factorisable action spaces*, arXiv:2411.11088), whose
//! settings are the defaults; of the IQL variant the notes say only that the expectile is of the decomposed value: that its policy is
//! extracted part by part is ours.

use crate::parts::one_hot;
use backcast_core::{ConfigError, Key, Metrics, Slot, State, under};
use backcast_nn::{Activation, Adam, Init, Mlp, Parameterised, Real, Shape, Store, Tape, Var, expectile_loss};
use ndarray::{Array2, Array3, ArrayView1, ArrayView2};
use serde::{Deserialize, Serialize};

/// Transitions of an agent whose action has parts, borrowed.
#[derive(Clone, Copy, Debug)]
pub struct FactoredBatch<'a> {
    /// *s*, `[rows, obs]`.
    pub obs: ArrayView2<'a, Real>,
    /// *a*, `[rows, parts]`.
    pub act: ArrayView2<'a, usize>,
    /// *r*, `[rows]`.
    pub reward: ArrayView1<'a, Real>,
    /// *s′*, `[rows, obs]`.
    pub next_obs: ArrayView2<'a, Real>,
    /// *a′*, `[rows, parts]`, which the one-step variant asks for.
    pub next_act: Option<ArrayView2<'a, usize>>,
    /// 1 where the episode ended, `[rows]`.
    pub terminal: ArrayView1<'a, Real>,
}

/// What keeps the values, or the actions, to the dataset.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "name", deny_unknown_fields)]
pub enum Constraint {
    /// Nothing: DecQN.
    #[default]
    None,
    /// Conservative: every part's other actions are pressed down.
    Cql {
        /// α.
        weight: Real,
    },
    /// Batch-constrained: only what is likely enough in the dataset, part by part.
    Bcq {
        /// τ, relative to the likeliest; 0.5.
        threshold: Real,
    },
    /// The value of what was done, then one step of improvement among what is likely enough.
    OneStep {
        /// τ.
        threshold: Real,
    },
    /// Implicit.
    Iql {
        /// κ, the expectile.
        expectile: Real,
        /// ω, the weight of the advantage in the exponent.
        inverse_temperature: Real,
    },
}

/// One field per symbol.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct FactoredConfig {
    /// What keeps it to the dataset.
    pub constraint: Constraint,
    /// Whether values are the mean over the parts (DecQN) or their sum.
    pub mean: bool,
    /// Discount γ.
    pub gamma: Real,
    /// Learning rate.
    pub lr: Real,
    /// Polyak rate of the targets.
    pub tau: Real,
    /// Units of the hidden layers; none makes values linear in the observation.
    pub hidden: Vec<usize>,
}

impl Default for FactoredConfig {
    fn default() -> Self {
        Self { constraint: Constraint::None, mean: true, gamma: 0.99, lr: 3e-4, tau: 0.005, hidden: vec![512, 512] }
    }
}

impl FactoredConfig {
    /// Whether every field makes sense.
    ///
    /// # Errors
    /// The first field that does not, and what it must be instead.
    pub fn check(&self) -> Result<(), ConfigError> {
        let unit = |x: Real| (0.0..=1.0).contains(&x);
        ConfigError::unless(unit(self.gamma), "gamma", format!("is {}; a discount lies in 0 ..= 1", self.gamma))?;
        let sound = self.lr > 0.0 && self.lr.is_finite();
        ConfigError::unless(sound, "lr", format!("is {}; a learning rate is positive", self.lr))?;
        let moves = self.tau > 0.0 && self.tau <= 1.0;
        ConfigError::unless(moves, "tau", format!("is {}; targets move by 0 < τ ≤ 1", self.tau))?;
        ConfigError::unless(!self.hidden.contains(&0), "hidden", "has a layer without units")?;
        let constraint = match self.constraint {
            Constraint::None => true,
            Constraint::Cql { weight } => weight >= 0.0 && weight.is_finite(),
            Constraint::Bcq { threshold } | Constraint::OneStep { threshold } => unit(threshold),
            Constraint::Iql { expectile, inverse_temperature } => {
                expectile > 0.0 && expectile < 1.0 && inverse_temperature >= 0.0 && inverse_temperature.is_finite()
            }
        };
        ConfigError::unless(constraint, "constraint", "has a weight, threshold or expectile out of its range")
    }

    /// An algorithm for `parts` parts of `actions` actions each, seeing `obs` numbers; its parameters drawn by `key`.
    ///
    /// # Errors
    /// As [`check`](Self::check).
    pub fn build(&self, obs: usize, parts: usize, actions: usize, key: Key) -> Result<Factored, ConfigError> {
        self.check()?;
        let mut store = Store::default();
        let net = |store: &mut Store, name: &str, outputs: usize, members: usize| {
            let dims: Vec<usize> = std::iter::once(obs).chain(self.hidden.iter().copied()).chain([outputs]).collect();
            Mlp::new(store, name, &dims, members, Activation::Relu, Init::FanIn, key)
        };
        let critic = net(&mut store, "critic", parts * actions, 2);
        let target = critic.duplicate(&mut store, "critic_target");
        let value = net(&mut store, "value", 1, 1);
        let policy = net(&mut store, "policy", parts * actions, 1);
        let nets = Nets { critic, target, value, policy, parts, actions, mean: self.mean };
        let adam = |net: Mlp| Adam::new(net.range(), self.lr);
        let adams = [adam(critic), adam(value), adam(policy)];
        Ok(Factored { config: self.clone(), store, nets, adams })
    }
}

#[derive(Clone, Copy)]
struct Nets {
    critic: Mlp,
    target: Mlp,
    /// V, of the IQL variant.
    value: Mlp,
    /// β, or the IQL variant's π: logits.
    policy: Mlp,
    parts: usize,
    actions: usize,
    mean: bool,
}

impl Nets {
    // ANCHOR: value
    /// (1)  Σ_d of what `of` makes of U_d, `[members, rows, actions]`; divided by D where values are means.
    fn value<'t>(&self, all: Var<'t>, of: impl Fn(Var<'t>, usize) -> Var<'t>) -> Var<'t> {
        let part = |d: usize| of(all.cols(d * self.actions, self.actions), d);
        let sum = (1..self.parts).fold(part(0), |sum, d| sum + part(d));
        if self.mean { sum * (self.parts as Real).recip() } else { sum }
    }
    // ANCHOR_END: value

    /// 0 where an action is likely enough, −10⁹ elsewhere, `[1, rows, parts·actions]`.
    fn unlikely<'t>(&self, obs: Var<'t>, threshold: Real) -> Var<'t> {
        let logits = self.policy.forward(obs);
        let part = |d: usize| {
            let of = logits.cols(d * self.actions, self.actions);
            // ln β − ln max β, against ln τ.
            below(of - of.max_cols(), threshold) * -1e9
        };
        (1..self.parts).fold(part(0), |left, d| left.cat(part(d)))
    }
}

/// 1 where exp(x) < `threshold`, else 0.
fn below(x: Var<'_>, threshold: Real) -> Var<'_> {
    x.tape().scalar(threshold.ln().max(-1e9)).less(x)
}

/// A value that is a sum of parts, and learns from a dataset.
pub struct Factored {
    config: FactoredConfig,
    store: Store,
    nets: Nets,
    /// Of the critics, V and the policy.
    adams: [Adam; 3],
}

fn column<'t>(tape: Tape<'t>, values: ArrayView1<'_, Real>) -> Var<'t> {
    tape.fill(Shape::new(1, values.len(), 1), |out| out.iter_mut().zip(values).for_each(|(o, &x)| *o = x))
}

/// x²/2 within ±1, |x| − ½ beyond.
fn huber(x: Var<'_>) -> Var<'_> {
    let within = x.clamp(-1.0, 1.0);
    // ½c² + (|x| − |c|), c being x held in ±1: outside, c is constant and the rest has slope ±1.
    within.square() * 0.5 + (x.abs() - within.abs())
}

impl Factored {
    // ANCHOR: target
    /// (2)  y = r + γ(1−d)·(1/D)·Σ_d max_b Ū_d(s′,b), or what the constraint puts in its place.
    fn target<'t>(tape: Tape<'t>, nets: Nets, config: &FactoredConfig, batch: FactoredBatch<'_>) -> Var<'t> {
        let obs = tape.input(batch.next_obs);
        let next = match (config.constraint, batch.next_act) {
            (Constraint::Iql { .. }, _) => nets.value.forward(obs),
            (Constraint::OneStep { .. }, Some(act)) => {
                let taken = one_hot(tape, act, nets.actions);
                let all = nets.target.forward(obs).mean_members();
                nets.value(all, |u, d| (u * taken.member(d)).sum_cols())
            }
            (Constraint::OneStep { .. }, None) => panic!("Factored: the one-step variant needs the next action"),
            (Constraint::Bcq { threshold }, _) => {
                let all = nets.target.forward(obs).mean_members();
                nets.value(all + nets.unlikely(obs, threshold), |u, _| u.max_cols())
            }
            _ => nets.value(nets.target.forward(obs).mean_members(), |u, _| u.max_cols()),
        };
        column(tape, batch.reward) + (-column(tape, batch.terminal) + 1.0) * next * config.gamma
    }
    // ANCHOR_END: target

    /// One update on one batch. Draws nothing.
    ///
    /// # Panics
    /// If a width differs from the algorithm's, or the one-step variant is given no next action.
    pub fn update(&mut self, batch: FactoredBatch<'_>) -> Metrics {
        let Self { config, store, nets, adams: [critic, value, policy] } = self;
        let (nets, mut metrics) = (*nets, Metrics::default());
        if let Constraint::Iql { expectile, inverse_temperature } = config.constraint {
            let loss = value.minimise(store, |tape| {
                let q = tape.no_grad(|tape| Self::recorded(tape, nets, batch));
                expectile_loss(q - nets.value.forward(tape.input(batch.obs)), expectile).mean()
            });
            metrics.put("value_loss", loss);
            policy.minimise(store, |tape| {
                let weight = tape.no_grad(|tape| {
                    let advantage = Self::recorded(tape, nets, batch) - nets.value.forward(tape.input(batch.obs));
                    (advantage * inverse_temperature).clamp(-50.0, (100.0 as Real).ln()).exp()
                });
                -(weight * Self::log_probability(tape, nets, batch)).mean()
            });
        } else if matches!(config.constraint, Constraint::Bcq { .. } | Constraint::OneStep { .. }) {
            policy.minimise(store, |tape| -Self::log_probability(tape, nets, batch).mean());
        }
        // ANCHOR: update
        let (loss, q) = critic.minimise_with(store, |tape| {
            let y = tape.no_grad(|tape| Self::target(tape, nets, config, batch));
            let taken = one_hot(tape, batch.act, nets.actions);
            let all = nets.critic.forward(tape.input(batch.obs));
            let q = nets.value(all, |u, d| (u * taken.member(d)).sum_cols());
            let loss = huber(q - y).mean() * 2.0;
            let loss = match config.constraint {
                Constraint::Cql { weight } => loss + pressed(nets, all, taken) * weight,
                _ => loss,
            };
            (loss, q.mean().item())
        });
        // ANCHOR_END: update
        backcast_nn::polyak(store, &nets.target, &nets.critic, config.tau);
        metrics.put("critic_loss", loss).put("q", q);
        metrics
    }

    /// Q̄(s,a) of what was done, `[1, rows, 1]`.
    fn recorded<'t>(tape: Tape<'t>, nets: Nets, batch: FactoredBatch<'_>) -> Var<'t> {
        let taken = one_hot(tape, batch.act, nets.actions);
        let all = nets.target.forward(tape.input(batch.obs)).mean_members();
        nets.value(all, |u, d| (u * taken.member(d)).sum_cols())
    }

    /// Σ_d ln π_d(a_d∣s), `[1, rows, 1]`.
    fn log_probability<'t>(tape: Tape<'t>, nets: Nets, batch: FactoredBatch<'_>) -> Var<'t> {
        let taken = one_hot(tape, batch.act, nets.actions);
        let logits = nets.policy.forward(tape.input(batch.obs));
        let part = |d: usize| {
            let of = logits.cols(d * nets.actions, nets.actions);
            ((of - of.log_sum_exp_cols()) * taken.member(d)).sum_cols()
        };
        (1..nets.parts).fold(part(0), |sum, d| sum + part(d))
    }

    /// The best joint action of each row, `[rows, parts]`, among those the constraint allows.
    pub fn act(&mut self, obs: ArrayView2<'_, Real>) -> Array2<usize> {
        let (nets, constraint) = (self.nets, self.config.constraint);
        let tape = self.store.tape_without_history();
        let s = tape.input(obs);
        let all = match constraint {
            Constraint::Iql { .. } => nets.policy.forward(s),
            Constraint::Bcq { threshold } | Constraint::OneStep { threshold } => {
                nets.critic.forward(s).mean_members() + nets.unlikely(s, threshold)
            }
            Constraint::None | Constraint::Cql { .. } => nets.critic.forward(s).mean_members(),
        };
        let Nets { parts, actions, .. } = nets;
        let best = |of: &[Real]| (1..actions).fold(0, |best, b| if of[b] > of[best] { b } else { best });
        all.read(|values| {
            Array2::from_shape_fn((obs.nrows(), parts), |(row, d)| {
                best(&values[(row * parts + d) * actions..][..actions])
            })
        })
    }

    /// π_d(·∣s) of the IQL variant, or the cloned β_d(·∣s) of BCQ's and the one-step variant, `[parts, rows, actions]`. The others
    /// have no policy beside their values, and these are of a net that nobody trained.
    pub fn probabilities(&mut self, obs: ArrayView2<'_, Real>) -> Array3<Real> {
        let (nets, rows) = (self.nets, obs.nrows());
        let tape = self.store.tape_without_history();
        let logits = nets.policy.forward(tape.input(obs));
        let mut all = Array3::zeros((nets.parts, rows, nets.actions));
        for (d, mut of) in all.outer_iter_mut().enumerate() {
            let own = logits.cols(d * nets.actions, nets.actions);
            (own - own.log_sum_exp_cols()).exp().write_to(of.view_mut());
        }
        all
    }

    /// Q(s,a), `[rows]`, the mean of both nets.
    pub fn values(&mut self, obs: ArrayView2<'_, Real>, act: ArrayView2<'_, usize>) -> Vec<Real> {
        let nets = self.nets;
        let tape = self.store.tape_without_history();
        let taken = one_hot(tape, act, nets.actions);
        let all = nets.critic.forward(tape.input(obs)).mean_members();
        nets.value(all, |u, d| (u * taken.member(d)).sum_cols()).read(<[Real]>::to_vec)
    }
}

// ANCHOR: pressed
/// CQL, part by part:  E[ (1/D)·Σ_d ( ln Σ_b exp U_d(s,b) − U_d(s,a_d) ) ], the sum of both nets'.
fn pressed<'t>(nets: Nets, all: Var<'t>, taken: Var<'t>) -> Var<'t> {
    nets.value(all, |u, d| u.log_sum_exp_cols() - (u * taken.member(d)).sum_cols()).mean() * 2.0
}
// ANCHOR_END: pressed

impl State for Factored {
    fn visit(&mut self, f: &mut dyn FnMut(&str, Slot<'_>)) {
        self.store.visit(f);
        for (name, adam) in ["critic_adam", "value_adam", "policy_adam"].into_iter().zip(&mut self.adams) {
            under(name, adam, f);
        }
    }
}

impl Parameterised for Factored {
    fn store_mut(&mut self) -> &mut Store {
        &mut self.store
    }
}
