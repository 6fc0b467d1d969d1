//! The inverse model I: its fit, and what it says of perturbed states.

use super::Osr;
use crate::blocks::perturbed::{perturbed, rows_of};
use backcast_core::{Batch, Key, Real};
use backcast_nn::Shape;

/// What is computed before a step. It grows once.
#[derive(Default)]
pub(super) struct Work {
    /// ŝ, `[rows, obs]`.
    pub(super) perturbed_states: Vec<Real>,
    /// Normal numbers of the latent and of the action.
    pub(super) latent: Vec<Real>,
    pub(super) noise: Vec<Real>,
    /// m and ln σ of I at (ŝ, s′), `[rows, act]`.
    pub(super) mean: Vec<Real>,
    pub(super) log_std: Vec<Real>,
    /// ã, then the actions that are pushed down, `[rows, 1 + 2n, act]`.
    pub(super) actions: Vec<Real>,
}

impl Osr {
    // ANCHOR: inverse_step
    /// (1)  L(ω) = E[ MSE(D(s,s′,z), a) ] + ½ KL(E(s,s′,a) ∥ N(0, 1))
    pub(super) fn inverse_step(&mut self, batch: Batch<'_>, key: Key) -> Real {
        let Work { latent, noise, .. } = &mut self.work;
        let tape = self.cql.core.store.tape_without_history();
        let normal = |cols, key| tape.normal(Shape::new(1, batch.len(), cols), key);
        normal(self.config.inverse.latent, key.name("latent")).copy_into(latent);
        normal(batch.spec.act, key.name("action")).copy_into(noise);
        self.inverse.update_with(batch, latent, noise)
    }
    // ANCHOR_END: inverse_step

    // ANCHOR: recover
    /// (2)  ŝ = s + β·ε, and what leads from there to s′: m and ln σ of I(·∣ŝ,s′)
    pub(super) fn recover(&mut self, batch: Batch<'_>, key: Key) {
        let Work { perturbed_states, latent, mean, log_std, .. } = &mut self.work;
        let tape = self.cql.core.store.tape_without_history();
        let s = tape.input(batch.obs);
        let states = perturbed(s, self.config.beta, key.name("perturbation"));
        states.copy_into(perturbed_states);
        let z = Shape::new(1, batch.len(), self.config.inverse.latent);
        tape.normal(z, key.name("latent")).copy_into(latent);
        let states = rows_of(perturbed_states, batch.spec.obs);
        self.inverse.predict_with(states, batch.next_obs, latent, mean, log_std);
    }
    // ANCHOR_END: recover
}
