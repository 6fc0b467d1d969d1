//! Behaviour cloning: supervised learning of the action (Pomerleau 1989; the baseline of every offline paper).
//!
//! | equation | code |
//! |---|---|
//! | (1) L(φ) = E[ ‖π_φ(s) − a‖² ] (mean over dimensions) | [`Bc::actor_step`] |
//!
//! A deterministic tanh policy with 256-256 ReLU units, as in CORL; no deviation from it except that the observation is
//! standardised outside, by the normaliser that is saved with the policy.

use crate::blocks::transition::{Transition, sizes};
use backcast_core::{
    Algorithm, Batch, ConfigError, Key, Learner, Metrics, POSITIVE, Policy, Problem, Real, Spec,
    hyperparameters,
};
use backcast_nn::{Activation, Adam, HIDDEN, Init, Mlp, Precision, Store, Tape, Var, state};
use ndarray::{ArrayView2, ArrayViewMut2};

hyperparameters! {
    /// One field per symbol; defaults of CORL's `any_percent_bc.py`.
    pub struct Config {
        /// Units of the hidden layers.
        hidden: Vec<usize> = vec![256, 256], HIDDEN;
        /// Learning rate of π.
        actor_lr: Real = 3e-4, POSITIVE;
        /// How large products are computed. Everything is `F32` unless asked; see [`Precision`].
        precision: Precision = Precision::F32;
    }
}

impl Algorithm for Config {
    const NAME: &str = "bc";
    const PAPER: &str =
        "Pomerleau, ALVINN: an autonomous land vehicle in a neural network, NIPS 1988";
    const SOURCE: &str = include_str!("bc.rs");
    type Learner = Bc;

    fn build(&self, problem: impl Into<Problem>, key: Key) -> Result<Bc, ConfigError> {
        self.check()?;
        let spec = problem.into().spec;
        let mut store = Store::in_precision(self.precision);
        let dims = sizes(spec.obs, &self.hidden, spec.act);
        let actor = Mlp::new(&mut store, "actor", &dims, 1, Activation::Relu, Init::FanIn, key)
            .with_output(Activation::Tanh);
        Ok(Bc { spec, store, actor, actor_adam: Adam::new(actor.range(), self.actor_lr) })
    }
}

/// A policy that repeats what the dataset did.
pub struct Bc {
    spec: Spec,
    store: Store,
    actor: Mlp,
    actor_adam: Adam,
}

impl Bc {
    // ANCHOR: actor_step
    /// (1)  L(φ) = E[ ‖π_φ(s) − a‖² ]
    fn actor_step(&mut self, batch: Batch<'_>) -> Real {
        let (actor, limit) = (self.actor, self.spec.act_limit);
        self.actor_adam.minimise(&mut self.store, |tape| {
            let Transition { s, a, .. } = Transition::on(tape, batch);
            (policy(actor, limit, s) - a).square().mean()
        })
    }
    // ANCHOR_END: actor_step
}

/// π(s) = limit·tanh(net(s))
fn policy<'t>(actor: Mlp, limit: Real, s: Var<'t>) -> Var<'t> {
    actor.forward(s) * limit
}

impl Learner for Bc {
    fn update(&mut self, batch: Batch<'_>, _: Key) -> Metrics {
        [("actor_loss", self.actor_step(batch))].into()
    }
}

impl Policy for Bc {
    fn spec(&self) -> Spec {
        self.spec
    }

    fn act(&mut self, obs: ArrayView2<'_, Real>, _: Option<Key>, act: ArrayViewMut2<'_, Real>) {
        let tape: Tape<'_> = self.store.tape();
        policy(self.actor, self.spec.act_limit, tape.input(obs)).write_to(act);
    }
}

state!(Bc: store, actor_adam);

#[cfg(test)]
mod tests {
    use super::*;
    use backcast_core::{Source, Transitions};

    #[test]
    fn it_clones_a_smooth_policy() {
        let spec = Spec::new(2, 1).with_act_limit(2.0);
        let mut dataset = Transitions::new(spec);
        for i in 0..500 {
            let mut s = [0.0; 2];
            Key::new(1).fold(i).uniform(-1.0, 1.0, &mut s);
            dataset.push(&s, &[1.5 * s[0] * s[1]], 0.0, &s, false);
        }
        let config = Config { hidden: vec![32, 32], actor_lr: 3e-3, ..Config::default() };
        let mut bc = config.build(spec, Key::new(2)).unwrap();
        let mut staging = Transitions::new(spec);
        let mut loss = 0.0;
        for step in 0..1500 {
            let key = Key::new(3).fold(step);
            loss = bc.update(dataset.sample(key, 64, &mut staging), key).get("actor_loss").unwrap();
        }
        assert!(loss < 2e-3, "{loss}");
    }
}
