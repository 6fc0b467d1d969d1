//! Behaviour cloning of many parts: each does what it was seen to do, by what it sees.
//!
//! | equation | code |
//! |---|---|
//! | (1) L = −E[ Σᵢ ln πᵢ(uᵢ∣τᵢ) ] | [`Cloned::update`] |
//!
//! The baseline of every algorithm from a dataset, and a policy that [`JointFqe`](crate::JointFqe) can judge.

use crate::conservative::cloning;
use crate::parts::{Utilities, Widths, greedy, one_hot};
use backcast_core::{ConfigError, Key, Metrics, Real, Slot, State, under};
use backcast_nn::{Adam, Parameterised, Store};
use ndarray::{Array2, Array3, ArrayView2, ArrayView3};
use serde::{Deserialize, Serialize};

/// One field per symbol.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct CloneConfig {
    /// Learning rate.
    pub lr: Real,
    /// λ of decoupled weight decay: a dataset of a few games is soon known by heart.
    pub weight_decay: Real,
    /// Units of the hidden layers of each part's net.
    pub hidden: Vec<usize>,
}

impl Default for CloneConfig {
    fn default() -> Self {
        Self { lr: 1e-3, weight_decay: 0.0, hidden: vec![64, 64] }
    }
}

impl CloneConfig {
    /// Whether every field makes sense.
    ///
    /// # Errors
    /// The first field that does not, and what it must be instead.
    pub fn check(&self) -> Result<(), ConfigError> {
        let sound = self.lr > 0.0 && self.lr.is_finite();
        ConfigError::unless(sound, "lr", format!("is {}; a learning rate is positive", self.lr))?;
        let sound = self.weight_decay >= 0.0 && self.weight_decay.is_finite();
        ConfigError::unless(sound, "weight_decay", format!("is {}; a decay is not negative", self.weight_decay))?;
        ConfigError::unless(!self.hidden.contains(&0), "hidden", "has a layer without units")
    }

    /// A clone of parts of these widths (the state is not looked at), its parameters drawn by `key`.
    ///
    /// # Errors
    /// As [`check`](Self::check).
    pub fn build(&self, widths: Widths, key: Key) -> Result<Cloned, ConfigError> {
        self.check()?;
        let mut store = Store::default();
        let policy = Utilities::new(&mut store, "policy", widths, &self.hidden, key);
        let adam = Adam::new(policy.range(), self.lr).with_decoupled_decay(self.weight_decay);
        Ok(Cloned { widths, store, policy, adam })
    }
}

/// πᵢ(uᵢ∣τᵢ), learnt by likelihood.
pub struct Cloned {
    widths: Widths,
    store: Store,
    policy: Utilities,
    adam: Adam,
}

impl Cloned {
    /// (1)  L = −E[ Σᵢ ln πᵢ(uᵢ∣τᵢ) ], for `obs`, `[parts, rows, obs]`, and `act`, `[rows, parts]`. Draws nothing.
    ///
    /// # Panics
    /// If a width differs from the clone's.
    pub fn update(&mut self, obs: ArrayView3<'_, Real>, act: ArrayView2<'_, usize>) -> Metrics {
        let (policy, actions) = (self.policy, self.widths.actions);
        let loss = self
            .adam
            .minimise(&mut self.store, |tape| cloning(policy.all(tape.input3(obs)), one_hot(tape, act, actions)));
        [("loss", loss)].into()
    }

    /// πᵢ(·∣τᵢ), `[parts, rows, actions]`.
    pub fn probabilities(&mut self, obs: ArrayView3<'_, Real>) -> Array3<Real> {
        let (policy, Widths { parts, actions, .. }) = (self.policy, self.widths);
        let tape = self.store.tape_without_history();
        let logits = policy.all(tape.input3(obs));
        let rows = logits.shape().rows;
        (logits - logits.log_sum_exp_cols())
            .exp()
            .read(|p| Array3::from_shape_vec((parts, rows, actions), p.to_vec()).expect("the shape of the logits"))
    }

    /// The likeliest action of each part, `[rows, parts]`.
    pub fn act(&mut self, obs: ArrayView3<'_, Real>) -> Array2<usize> {
        let policy = self.policy;
        let tape = self.store.tape_without_history();
        greedy(policy.all(tape.input3(obs)))
    }
}

impl State for Cloned {
    fn visit(&mut self, f: &mut dyn FnMut(&str, Slot<'_>)) {
        self.store.visit(f);
        under("policy_adam", &mut self.adam, f);
    }
}

impl Parameterised for Cloned {
    fn store_mut(&mut self) -> &mut Store {
        &mut self.store
    }
}
