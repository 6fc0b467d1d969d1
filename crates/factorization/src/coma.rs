//! COMA, counterfactual multi-agent policy gradients (Foerster, Farquhar, Afouras, Nardelli & Whiteson, AAAI 2018, arXiv:1705.08926): parts
//! that act by policies of their own, and a critic of the whole that tells each what it alone made better.
//!
//! | equation | code |
//! |---|---|
//! | (1) Qᵢ(s,(u₋ᵢ,·)), one net for each part, of s, τᵢ and what the others do | [`seen_by_critics`] |
//! | (2) Gᵢ = r + γ(1−d)·[ (1−λ)·Q̄ᵢ(s′,u′) + λ·G′ᵢ ] | [`returns`] |
//! | (3) L_Q = E[ (Qᵢ(s,u) − Gᵢ)² ] | [`Coma::update`] |
//! | (4) Aᵢ = Qᵢ(s,u) − Σ_a πᵢ(a∣τᵢ)·Qᵢ(s,(u₋ᵢ,a)) | [`advantage`] |
//! | (5) L_π = −E[ Aᵢ·ln πᵢ(uᵢ∣τᵢ) ], π = (1−ε)·softmax + ε/\|A\| | [`Coma::update`] |
//!
//! Means are over rows and parts. The order: critics; policies, with the new critics; every few updates the targets, copied. It learns
//! *online*: rows must have been played by the policy as it is, and an update forgets them. Beside the published code: a net for each part
//! instead of one that is told whom it is for; no recurrence, and no last actions among what the critics see; Adam.

use crate::games::MatrixGame;
use crate::parts::{Utilities, Widths, greedy, one_hot};
use backcast_core::{ConfigError, Key, Metrics, Real, Slot, State, under};
use backcast_nn::{Activation, Adam, Init, Mlp, Parameterised, Shape, Store, Tape, Var};
use ndarray::{Array1, Array2, Array3, ArrayView1, ArrayView2, ArrayView3};
use serde::{Deserialize, Serialize};

/// Rows of paths, one path after the other, borrowed.
#[derive(Clone, Copy, Debug)]
pub struct Paths<'a> {
    /// *s*, `[rows, state]`.
    pub state: ArrayView2<'a, Real>,
    /// *τ*, `[parts, rows, obs]`.
    pub obs: ArrayView3<'a, Real>,
    /// *u*, `[rows, parts]`.
    pub act: ArrayView2<'a, usize>,
    /// *r*, `[rows]`.
    pub reward: ArrayView1<'a, Real>,
    /// 1 where the episode ended, `[rows]`: no path goes on after it.
    pub terminal: ArrayView1<'a, Real>,
    /// 1 where a path is truncated, `[rows]`, and at the last row unless that is terminal. Such a row teaches nothing itself: what it is
    /// worth is what its critic says.
    pub truncated: ArrayView1<'a, Real>,
}

/// One field per symbol.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ComaConfig {
    /// Discount γ.
    pub gamma: Real,
    /// λ of the returns.
    pub lambda: Real,
    /// Learning rate of the critics.
    pub critic_lr: Real,
    /// Learning rate of the policies.
    pub policy_lr: Real,
    /// Updates between copies of the targets.
    pub copy_every: u64,
    /// ε, the share of actions drawn uniformly, at first and at last.
    pub epsilon: [Real; 2],
    /// Updates in which ε goes from the one to the other.
    pub anneal: u64,
    /// Units of the hidden layers of each part's policy.
    pub hidden: Vec<usize>,
    /// Units of the hidden layers of each part's critic.
    pub critic_hidden: Vec<usize>,
}

impl Default for ComaConfig {
    fn default() -> Self {
        Self {
            gamma: 0.99,
            lambda: 0.8,
            critic_lr: 5e-4,
            policy_lr: 5e-4,
            copy_every: 200,
            epsilon: [0.5, 0.02],
            anneal: 2000,
            hidden: vec![64, 64],
            critic_hidden: vec![128, 128],
        }
    }
}

impl ComaConfig {
    /// Whether every field makes sense.
    ///
    /// # Errors
    /// The first field that does not, and what it must be instead.
    pub fn check(&self) -> Result<(), ConfigError> {
        let unit = |x: Real| (0.0..=1.0).contains(&x);
        ConfigError::unless(unit(self.gamma), "gamma", format!("is {}; a discount lies in 0 ..= 1", self.gamma))?;
        ConfigError::unless(unit(self.lambda), "lambda", format!("is {}; λ lies in 0 ..= 1", self.lambda))?;
        for (field, lr) in [("critic_lr", self.critic_lr), ("policy_lr", self.policy_lr)] {
            let sound = lr > 0.0 && lr.is_finite();
            ConfigError::unless(sound, field, format!("is {lr}; a learning rate is positive"))?;
        }
        ConfigError::unless(self.copy_every > 0, "copy_every", "is 0; targets would never move")?;
        let shares = self.epsilon.iter().all(|&e| unit(e));
        ConfigError::unless(shares, "epsilon", format!("is {:?}; shares lie in 0 ..= 1", self.epsilon))?;
        ConfigError::unless(!self.hidden.contains(&0), "hidden", "has a layer without units")?;
        ConfigError::unless(!self.critic_hidden.contains(&0), "critic_hidden", "has a layer without units")
    }

    /// An algorithm, its parameters drawn by `key`.
    ///
    /// # Errors
    /// As [`check`](Self::check).
    pub fn build(&self, widths: Widths, key: Key) -> Result<Coma, ConfigError> {
        self.check()?;
        let Widths { parts, actions, obs, state } = widths;
        let mut store = Store::default();
        let inputs = state + obs + (parts - 1) * actions;
        let dims: Vec<usize> =
            [inputs].into_iter().chain(self.critic_hidden.iter().copied()).chain([actions]).collect();
        let critic = Mlp::new(&mut store, "critic", &dims, parts, Activation::Relu, Init::FanIn, key.name("critic"));
        let target = critic.duplicate(&mut store, "critic_target");
        let policy = Utilities::new(&mut store, "policy", widths, &self.hidden, key.name("policy"));
        let adams = [Adam::new(critic.range(), self.critic_lr), Adam::new(policy.range(), self.policy_lr)];
        let [critic_adam, policy_adam] = adams;
        let (config, updates, returns) = (self.clone(), 0, Vec::new());
        Ok(Coma { config, widths, store, critic, target, policy, critic_adam, policy_adam, updates, returns })
    }

    /// An algorithm that has played a game of one move `updates` times, `rows` joint actions each time, and the joint action it then takes.
    ///
    /// # Errors
    /// As [`check`](Self::check).
    pub fn practise(
        &self,
        game: &MatrixGame,
        updates: u64,
        rows: usize,
        key: Key,
    ) -> Result<(Coma, Vec<usize>), ConfigError> {
        let (parts, actions) = (game.parts(), game.actions());
        let mut learner = self.build(Widths { parts, actions, obs: 1, state: 1 }, key)?;
        let (state, obs) = (Array2::ones((rows, 1)), Array3::ones((parts, rows, 1)));
        let (terminal, truncated) = (Array1::ones(rows), Array1::zeros(rows));
        for update in 0..updates {
            let act = learner.act(obs.view(), Some(key.name("act").fold(update)));
            let reward: Array1<Real> = act.rows().into_iter().map(|u| game.pays(&u.to_vec())).collect();
            learner.update(Paths {
                state: state.view(),
                obs: obs.view(),
                act: act.view(),
                reward: reward.view(),
                terminal: terminal.view(),
                truncated: truncated.view(),
            });
        }
        let act = learner.act(Array3::ones((parts, 1, 1)).view(), None);
        Ok((learner, act.row(0).to_vec()))
    }
}

/// Policies that learn, and the critics that tell them how.
pub struct Coma {
    config: ComaConfig,
    widths: Widths,
    store: Store,
    critic: Mlp,
    target: Mlp,
    policy: Utilities,
    critic_adam: Adam,
    policy_adam: Adam,
    updates: u64,
    /// Q̄ᵢ(s,u), and then Gᵢ, `[parts, rows]`.
    returns: Vec<Real>,
}

/// (1)  s, τᵢ and the others' actions, 1 where taken: `[parts, rows, state + obs + (parts−1)·actions]`.
fn seen_by_critics<'t>(tape: Tape<'t>, widths: Widths, batch: Paths<'_>) -> Var<'t> {
    let Widths { parts, actions, obs, state } = widths;
    let (rows, width) = (batch.state.nrows(), state + obs + (parts - 1) * actions);
    tape.fill(Shape::new(parts, rows, width), |out| {
        out.fill(0.0);
        for (at, out) in out.chunks_exact_mut(width).enumerate() {
            let (part, row) = (at / rows, at % rows);
            (0..state).for_each(|i| out[i] = batch.state[[row, i]]);
            (0..obs).for_each(|i| out[state + i] = batch.obs[[part, row, i]]);
            let others = (0..parts).filter(|&other| other != part);
            others.enumerate().for_each(|(i, other)| out[state + obs + i * actions + batch.act[[row, other]]] = 1.0);
        }
    })
}

// ANCHOR: returns
/// (2)  Gᵢ = r + γ(1−d)·[ (1−λ)·Q̄ᵢ(s′,u′) + λ·G′ᵢ ],  in the place of Q̄ᵢ(s,u), `[parts, rows]`; at a truncation Q̄ stays.
fn returns(values: &mut [Real], gamma: Real, lambda: Real, batch: Paths<'_>) {
    let rows = batch.reward.len();
    for values in values.chunks_exact_mut(rows) {
        let (mut next, mut after) = (0.0, 0.0);
        for row in (0..rows).rev() {
            let q = values[row];
            if batch.truncated[row] == 0.0 {
                let ahead = if batch.terminal[row] == 0.0 { (1.0 - lambda) * next + lambda * after } else { 0.0 };
                values[row] = batch.reward[row] + gamma * ahead;
            }
            (next, after) = (q, values[row]);
        }
    }
}
// ANCHOR_END: returns

// ANCHOR: advantage
/// (4)  Aᵢ = Qᵢ(s,u) − Σ_a πᵢ(a∣τᵢ)·Qᵢ(s,(u₋ᵢ,a)),  `[parts, rows, 1]`
fn advantage<'t>(q: Var<'t>, policy: Var<'t>, taken: Var<'t>) -> Var<'t> {
    (q * taken).sum_cols() - (q * policy).sum_cols()
}
// ANCHOR_END: advantage

/// π = (1−ε)·softmax + ε/|A|.
fn floored(logits: Var<'_>, epsilon: Real) -> Var<'_> {
    let actions = logits.shape().cols as Real;
    (logits - logits.log_sum_exp_cols()).exp() * (1.0 - epsilon) + epsilon / actions
}

impl Coma {
    /// ε of the next update.
    fn epsilon(&self) -> Real {
        let [first, last] = self.config.epsilon;
        let way = (self.updates as f64 / self.config.anneal.max(1) as f64).min(1.0) as Real;
        first + (last - first) * way
    }

    /// One update on paths that the policy as it is has played. Draws nothing.
    ///
    /// # Panics
    /// If a width differs from the algorithm's, or the last row is neither terminal nor cut.
    pub fn update(&mut self, batch: Paths<'_>) -> Metrics {
        let (critic, target, policy, widths, epsilon) =
            (self.critic, self.target, self.policy, self.widths, self.epsilon());
        let (rows, actions) = (batch.reward.len(), widths.actions);
        let over = rows.checked_sub(1).is_none_or(|row| batch.terminal[row] + batch.truncated[row] > 0.0);
        assert!(over, "Coma: the last of {rows} rows is neither terminal nor cut");
        {
            let tape = self.store.tape_without_history();
            let taken = one_hot(tape, batch.act, actions);
            let q = (target.forward(seen_by_critics(tape, widths, batch)) * taken).sum_cols();
            q.read(|q| {
                self.returns.clear();
                self.returns.extend_from_slice(q);
            });
        }
        returns(&mut self.returns, self.config.gamma, self.config.lambda, batch);
        let goals = &self.returns;
        // What teaches: every row but cuts, as a share of all that do.
        let whole = batch.truncated.iter().filter(|&&truncated| truncated == 0.0).count().max(1) as Real;
        let share = (whole * widths.parts as Real).recip();
        // ANCHOR: update
        let critic_loss = self.critic_adam.minimise(&mut self.store, |tape| {
            let g = tape.fill(Shape::new(widths.parts, rows, 1), |out| out.copy_from_slice(goals));
            let taken = one_hot(tape, batch.act, actions);
            let q = (critic.forward(seen_by_critics(tape, widths, batch)) * taken).sum_cols();
            ((q - g).square() * weights(tape, batch, widths, share)).sum()
        });
        let (policy_loss, entropy) = self.policy_adam.minimise_with(&mut self.store, |tape| {
            let taken = one_hot(tape, batch.act, actions);
            let pi = floored(policy.all(tape.input3(batch.obs)), epsilon);
            let q = critic.forward(seen_by_critics(tape, widths, batch)).detach();
            let a = advantage(q, pi.detach(), taken);
            let weights = weights(tape, batch, widths, share);
            let loss = -(a * (pi * taken).sum_cols().ln() * weights).sum();
            (loss, -((pi * (pi + 1e-12).ln()).sum_cols() * weights).sum().item())
        });
        // ANCHOR_END: update
        self.updates += 1;
        if self.updates.is_multiple_of(self.config.copy_every) {
            self.store.polyak(self.target.range(), self.critic.range(), 1.0);
        }
        Metrics::from([("critic_loss", critic_loss), ("policy_loss", policy_loss), ("entropy", entropy)])
    }

    /// What each part does, `[rows, parts]`, for `obs`, `[parts, rows, obs]`: drawn from its policy, with ε, or without a key the likeliest.
    pub fn act(&mut self, obs: ArrayView3<'_, Real>, key: Option<Key>) -> Array2<usize> {
        let (policy, epsilon) = (self.policy, self.epsilon());
        let tape = self.store.tape_without_history();
        let logits = policy.all(tape.input3(obs));
        let Some(key) = key else { return greedy(logits) };
        let Shape { members: parts, rows, cols: actions } = logits.shape();
        floored(logits, epsilon).read(|pi| {
            Array2::from_shape_fn((rows, parts), |(row, part)| {
                let at = part * rows + row;
                let mut left = key.fold(at as u64).unit();
                let pi = &pi[at * actions..][..actions];
                let over = pi.iter().position(|p| {
                    left -= p;
                    left < 0.0
                });
                over.unwrap_or(actions - 1)
            })
        })
    }

    /// πᵢ(·∣τᵢ) with its ε, `[parts, rows, actions]`.
    pub fn probabilities(&mut self, obs: ArrayView3<'_, Real>) -> Array3<Real> {
        let (policy, epsilon) = (self.policy, self.epsilon());
        let tape = self.store.tape_without_history();
        let pi = floored(policy.all(tape.input3(obs)), epsilon);
        let shape = pi.shape();
        pi.read(|pi| Array3::from_shape_vec((shape.members, shape.rows, shape.cols), pi.to_vec()).expect("its shape"))
    }

    /// Qᵢ(s,(u₋ᵢ,·)), `[parts, rows, actions]`.
    pub fn values(&mut self, batch: Paths<'_>) -> Array3<Real> {
        let (critic, widths) = (self.critic, self.widths);
        let tape = self.store.tape_without_history();
        let q = critic.forward(seen_by_critics(tape, widths, batch));
        let shape = q.shape();
        q.read(|q| Array3::from_shape_vec((shape.members, shape.rows, shape.cols), q.to_vec()).expect("its shape"))
    }
}

/// `share` for every row of every part, 0 at cuts, `[parts, rows, 1]`.
fn weights<'t>(tape: Tape<'t>, batch: Paths<'_>, widths: Widths, share: Real) -> Var<'t> {
    let rows = batch.truncated.len();
    tape.fill(Shape::new(widths.parts, rows, 1), |out| {
        out.iter_mut().enumerate().for_each(|(at, w)| *w = if batch.truncated[at % rows] == 0.0 { share } else { 0.0 });
    })
}

impl State for Coma {
    fn visit(&mut self, f: &mut dyn FnMut(&str, Slot<'_>)) {
        self.store.visit(f);
        under("critic_adam", &mut self.critic_adam, f);
        under("policy_adam", &mut self.policy_adam, f);
        f("updates", Slot::Count(&mut self.updates));
    }
}

impl Parameterised for Coma {
    fn store_mut(&mut self) -> &mut Store {
        &mut self.store
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ndarray::array;

    #[test]
    fn returns_are_those_of_the_definition() {
        // A path of three rows that ends, and one of two that is truncated.
        let (reward, terminal, truncated) =
            (array![1.0, 2.0, 3.0, 4.0, 5.0], array![0.0, 0.0, 1.0, 0.0, 0.0], array![0.0, 0.0, 0.0, 0.0, 1.0]);
        let (state, obs, act) = (Array2::zeros((5, 1)), Array3::zeros((1, 5, 1)), Array2::zeros((5, 1)));
        let batch = Paths {
            state: state.view(),
            obs: obs.view(),
            act: act.view(),
            reward: reward.view(),
            terminal: terminal.view(),
            truncated: truncated.view(),
        };
        let q = [10.0, 20.0, 30.0, 40.0, 50.0];
        let (gamma, lambda) = (0.5, 0.25);
        let mut got = q;
        returns(&mut got, gamma, lambda, batch);
        let ahead = |q: Real, g: Real| gamma * ((1.0 - lambda) * q + lambda * g);
        let third = 3.0;
        let second = 2.0 + ahead(q[2], third);
        let first = 1.0 + ahead(q[1], second);
        assert_eq!(got, [first, second, third, 4.0 + ahead(q[4], q[4]), 50.0]);
        // λ = 1 without a truncation: what was earned; λ = 0: one step.
        let mut got = q;
        returns(&mut got, gamma, 1.0, batch);
        assert_eq!(got[0], 1.0 + 0.5 * (2.0 + 0.5 * 3.0));
        let mut got = q;
        returns(&mut got, gamma, 0.0, batch);
        assert_eq!(got[0], 1.0 + 0.5 * 20.0);
    }
}
