//! FQE (Le, Voloshin & Yue, ICML 2019, arXiv:1903.08738) of joint policies: what would parts that act by themselves earn, by a dataset of
//! others?
//!
//! | equation | code |
//! |---|---|
//! | (1) y_j = r + γ(1−d)·Σ_u Πᵢ πᵢ(uᵢ∣τ′ᵢ)·Q̄_j(s′,u) | [`JointFqe::update`] |
//! | (2) L = Σ_j E[ (Q_j(s,u) − y_j)² ] | [`JointFqe::update`] |
//! | (3) V̂_j = E[ Σ_u Πᵢ πᵢ(uᵢ∣τᵢ)·Q_j(s,u) ] over initial states | [`JointFqe::values`] |
//!
//! Actions being few, the expectation over joint actions is a sum and nothing is drawn. The value is of the whole, by a net with an output for
//! each of the |A|ⁿ joint actions: whoever judges should not share the assumptions of whom it judges. That is for few parts.
//!
//! The policy is handed over as probabilities: it stays as it is, so that they need be asked for once. A policy that leaves the dataset is
//! judged by extrapolation: trust the order more than the size, and neither where most of what the policy does was never seen.

use crate::parts::Widths;
use backcast_core::{ConfigError, Key, Metrics, Real, Slot, State, under};
use backcast_nn::{Activation, Adam, Init, Mlp, Parameterised, Shape, Store, Tape, Var, polyak};
use ndarray::{ArrayView1, ArrayView2, ArrayView3};
use serde::{Deserialize, Serialize};

/// The most joint actions there may be.
pub const MOST_ACTIONS: usize = 4096;

/// Joint transitions and what the policy would do next, borrowed.
#[derive(Clone, Copy, Debug)]
pub struct FqeBatch<'a> {
    /// *s*, `[rows, state]`.
    pub state: ArrayView2<'a, Real>,
    /// *u*, `[rows, parts]`.
    pub act: ArrayView2<'a, usize>,
    /// *r*, `[rows]`.
    pub reward: ArrayView1<'a, Real>,
    /// *s′*, `[rows, state]`.
    pub next_state: ArrayView2<'a, Real>,
    /// πᵢ(·∣τ′ᵢ), `[parts, rows, actions]`.
    pub next_policy: ArrayView3<'a, Real>,
    /// 1 where the episode ended, `[rows]`.
    pub terminal: ArrayView1<'a, Real>,
}

/// One field per symbol.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct FqeConfig {
    /// Discount γ. The estimate is of the return discounted by it.
    pub gamma: Real,
    /// Independent critics.
    pub critics: usize,
    /// Learning rate.
    pub lr: Real,
    /// Polyak rate of the targets. What is not yet known of the future fades like exp(−polyak·(1−γ)·updates).
    pub tau: Real,
    /// Whether critics have layer normalisation, which keeps extrapolation in bounds.
    pub layer_norm: bool,
    /// Units of the hidden layers.
    pub hidden: Vec<usize>,
}

impl Default for FqeConfig {
    fn default() -> Self {
        Self { gamma: 0.99, critics: 2, lr: 3e-4, tau: 0.005, layer_norm: true, hidden: vec![256, 256] }
    }
}

impl FqeConfig {
    /// Whether every field makes sense.
    ///
    /// # Errors
    /// The first field that does not, and what it must be instead.
    pub fn check(&self) -> Result<(), ConfigError> {
        let unit = |x: Real| (0.0..=1.0).contains(&x);
        ConfigError::unless(unit(self.gamma), "gamma", format!("is {}; a discount lies in 0 ..= 1", self.gamma))?;
        ConfigError::unless(self.critics > 0, "critics", "is 0; an estimate needs a critic")?;
        let sound = self.lr > 0.0 && self.lr.is_finite();
        ConfigError::unless(sound, "lr", format!("is {}; a learning rate is positive", self.lr))?;
        let moves = self.tau > 0.0 && self.tau <= 1.0;
        ConfigError::unless(moves, "tau", format!("is {}; targets move by 0 < τ ≤ 1", self.tau))?;
        ConfigError::unless(!self.hidden.contains(&0), "hidden", "has a layer without units")
    }

    /// A judge of policies for parts of these widths (what each sees is the policy's business), its parameters drawn by `key`.
    ///
    /// # Errors
    /// As [`check`](Self::check), and where there are more than [`MOST_ACTIONS`] joint actions.
    pub fn build(&self, widths: Widths, key: Key) -> Result<JointFqe, ConfigError> {
        self.check()?;
        let Widths { parts, actions, state, .. } = widths;
        let joint = actions.checked_pow(parts as u32).filter(|&n| n <= MOST_ACTIONS);
        let why = || format!("of {parts} parts and {actions} actions are too many joint actions for a sum");
        let joint = joint.ok_or_else(|| ConfigError { field: "widths", why: why() })?;
        let mut store = Store::default();
        let dims: Vec<usize> = [state].into_iter().chain(self.hidden.iter().copied()).chain([joint]).collect();
        let critic = Mlp::new(&mut store, "critic", &dims, self.critics, Activation::Relu, Init::FanIn, key);
        let critic = critic.with_layer_norm(self.layer_norm);
        let target = critic.duplicate(&mut store, "critic_target");
        let adam = Adam::new(critic.range(), self.lr);
        Ok(JointFqe { config: self.clone(), widths, store, critic, target, adam })
    }
}

/// The value of one joint policy, learnt from a dataset of others.
pub struct JointFqe {
    config: FqeConfig,
    widths: Widths,
    store: Store,
    critic: Mlp,
    target: Mlp,
    adam: Adam,
}

/// Number of a joint action in the order of [`every`](crate::games::every).
fn number(widths: Widths, act: impl Iterator<Item = usize>) -> usize {
    act.fold(0, |number, a| number * widths.actions + a)
}

// ANCHOR: product
/// Πᵢ πᵢ(uᵢ) of every joint action, `[1, rows, |A|ⁿ]`.
fn product<'t>(tape: Tape<'t>, widths: Widths, policy: ArrayView3<'_, Real>) -> Var<'t> {
    let (parts, rows, actions) = policy.dim();
    assert_eq!((parts, actions), (widths.parts, widths.actions), "JointFqe: probabilities of other parts");
    let joint = actions.pow(parts as u32);
    tape.fill(Shape::new(1, rows, joint), |out| {
        for (row, out) in out.chunks_exact_mut(joint).enumerate() {
            out[0] = 1.0;
            // From the last to the first: what is there, once for each action of one part more.
            let mut known = 1;
            for part in 0..parts {
                for at in (0..known).rev() {
                    let so_far = out[at];
                    (0..actions).rev().for_each(|a| out[at * actions + a] = so_far * policy[[part, row, a]]);
                }
                known *= actions;
            }
        }
    })
}
// ANCHOR_END: product

impl JointFqe {
    // ANCHOR: update
    /// (1)  y_j = r + γ(1−d)·Σ_u Πᵢ πᵢ(uᵢ∣τ′ᵢ)·Q̄_j(s′,u)
    /// (2)  L = Σ_j E[ (Q_j(s,u) − y_j)² ]
    ///
    /// # Panics
    /// If a width differs, or an action is none.
    pub fn update(&mut self, batch: FqeBatch<'_>) -> Metrics {
        let (critic, target, widths) = (self.critic, self.target, self.widths);
        let &FqeConfig { gamma, critics, .. } = &self.config;
        let (loss, q) = self.adam.minimise_with(&mut self.store, |tape| {
            let column = |x: ArrayView1<'_, Real>| {
                tape.fill(Shape::new(1, x.len(), 1), |out| out.iter_mut().zip(x).for_each(|(o, &x)| *o = x))
            };
            let y = {
                let next = tape.no_grad(|tape| {
                    let pi = product(tape, widths, batch.next_policy);
                    (target.forward(tape.input(batch.next_state)) * pi).sum_cols()
                });
                column(batch.reward) + (-column(batch.terminal) + 1.0) * next * gamma
            };
            let all = critic.forward(tape.input(batch.state));
            let joint = all.shape().cols;
            let taken = tape.fill(Shape::new(1, batch.act.nrows(), joint), |out| {
                out.fill(0.0);
                for (out, act) in out.chunks_exact_mut(joint).zip(batch.act.rows()) {
                    out[number(widths, act.iter().copied())] = 1.0;
                }
            });
            let q = (all * taken).sum_cols();
            ((q - y).square().mean() * critics as Real, q.mean().item())
        });
        polyak(&mut self.store, &self.target, &self.critic, self.config.tau);
        [("critic_loss", loss), ("q", q)].into()
    }
    // ANCHOR_END: update

    /// (3)  V̂_j = E[ Σ_u Πᵢ πᵢ(uᵢ∣τᵢ)·Q_j(s,u) ] over the rows of `initial`, `[rows, state]`, for the probabilities of `policy` there,
    /// `[parts, rows, actions]`: one estimate for each critic.
    pub fn values(&mut self, initial: ArrayView2<'_, Real>, policy: ArrayView3<'_, Real>) -> Vec<f64> {
        let (critic, widths, rows) = (self.critic, self.widths, initial.nrows());
        let tape = self.store.tape_without_history();
        let v = (critic.forward(tape.input(initial)) * product(tape, widths, policy)).sum_cols();
        v.read(|v| v.chunks_exact(rows).map(|v| v.iter().map(|&v| v as f64).sum::<f64>() / rows as f64).collect())
    }
}

/// How often a dataset did, in the same state or a like one, is not asked here; how much of a policy is the dataset's own is: the mean probability
/// that `policy`, `[parts, rows, actions]`, gives to the joint actions `act`, `[rows, parts]`.
///
/// # Panics
/// If shapes differ.
pub fn overlap(policy: ArrayView3<'_, Real>, act: ArrayView2<'_, usize>) -> f64 {
    let (parts, rows, _) = policy.dim();
    assert_eq!(act.dim(), (rows, parts), "overlap: a policy and other actions");
    let of = |row: usize| (0..parts).map(|part| policy[[part, row, act[[row, part]]]] as f64).product::<f64>();
    (0..rows).map(of).sum::<f64>() / rows as f64
}

impl State for JointFqe {
    fn visit(&mut self, f: &mut dyn FnMut(&str, Slot<'_>)) {
        self.store.visit(f);
        under("critic_adam", &mut self.adam, f);
    }
}

impl Parameterised for JointFqe {
    fn store_mut(&mut self) -> &mut Store {
        &mut self.store
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::games::every;
    use approx::{abs_diff_eq, assert_abs_diff_eq};
    use ndarray::{Array1, Array2, Array3};

    const WIDTHS: Widths = Widths { parts: 2, actions: 3, obs: 1, state: 2 };

    #[test]
    fn probabilities_of_joint_actions_are_products_in_the_order_of_every() {
        let mut policy = Array3::zeros((3, 4, 2));
        Key::new(1).uniform(0.1, 1.0, policy.as_slice_mut().unwrap());
        let widths = Widths { parts: 3, actions: 2, ..WIDTHS };
        let mut store = Store::default();
        let got = product(store.tape(), widths, policy.view()).read(<[Real]>::to_vec);
        for row in 0..4 {
            for (at, act) in every(3, 2).rows().into_iter().enumerate() {
                let want: Real = act.iter().enumerate().map(|(part, &a)| policy[[part, row, a]]).product();
                assert_abs_diff_eq!(got[row * 8 + at], want, epsilon = 1e-6);
                assert_eq!(number(widths, act.iter().copied()), at);
            }
        }
        assert_eq!(overlap(policy.view(), Array2::zeros((4, 3)).view()), {
            let of = |row: usize| (0..3).map(|part| f64::from(policy[[part, row, 0]])).product::<f64>();
            (0..4).map(of).sum::<f64>() / 4.0
        });
    }

    /// Two states; both parts' third action leads to the second, which pays 1, and all else to the first. Whatever dataset: the
    /// value is that of the policy that is asked about.
    #[test]
    fn values_are_those_of_the_chain() {
        let n = 360;
        let act = Array2::from_shape_fn((n, 2), |(row, part)| Key::new(2).below(3, 2 * row + part));
        let at = |second: bool| if second { [0.0, 1.0] } else { [1.0, 0.0] };
        let state = Array2::from_shape_fn((n, 2), |(row, col)| at(row % 2 == 1)[col]);
        let next = Array2::from_shape_fn((n, 2), |(row, col)| at(act.row(row).iter().all(|&a| a == 2))[col]);
        let reward = Array1::from_shape_fn(n, |row| (row % 2) as Real);
        let gamma = 0.9;
        // The chance that both take the third; the value of the first state solves V₀ = γ((1−p)V₀ + p(1 + V₀)).
        for third in [0.0, 0.5, 1.0] {
            let policy = |rows| {
                Array3::from_shape_fn((2, rows, 3), |(_, _, a)| if a == 2 { third } else { (1.0 - third) / 2.0 })
            };
            let config = FqeConfig { gamma, lr: 1e-2, tau: 0.2, hidden: vec![16], ..FqeConfig::default() };
            let mut fqe = config.build(WIDTHS, Key::new(3)).unwrap();
            let (next_policy, terminal) = (policy(n), Array1::zeros(n));
            for _ in 0..700 {
                fqe.update(FqeBatch {
                    state: state.view(),
                    act: act.view(),
                    reward: reward.view(),
                    next_state: next.view(),
                    next_policy: next_policy.view(),
                    terminal: terminal.view(),
                });
            }
            let p = third * third;
            let want = f64::from(gamma * p / (1.0 - gamma));
            for got in fqe.values(ndarray::array![[1.0, 0.0]].view(), policy(1).view()) {
                assert!(abs_diff_eq!(got, want, epsilon = 0.05 + 0.02 * want), "{third}: {got} and {want}");
            }
        }
    }

    #[test]
    fn nonsense_is_refused_by_field() {
        let sound = FqeConfig::default();
        for (field, config) in [
            ("gamma", FqeConfig { gamma: 1.1, ..sound.clone() }),
            ("critics", FqeConfig { critics: 0, ..sound.clone() }),
            ("lr", FqeConfig { lr: 0.0, ..sound.clone() }),
            ("tau", FqeConfig { tau: Real::NAN, ..sound.clone() }),
            ("hidden", FqeConfig { hidden: vec![0], ..sound.clone() }),
        ] {
            assert_eq!(config.check().unwrap_err().field, field);
        }
        let wide = sound.build(Widths { parts: 9, actions: 9, obs: 1, state: 1 }, Key::new(1)).err().unwrap();
        assert_eq!(wide.field, "widths");
    }
}
