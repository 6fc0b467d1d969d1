//! How far the policy's next states are from the dataset's, in perturbed states.

use super::{Config, Sdc};
use crate::{
    blocks::{
        actor_critic::ActorCritic,
        mmd::mmd,
        perturbed::{perturbed, rows_of},
    },
    model_based::imagination::drawn,
};
use backcast_core::{Batch, Key, Policy, Real, Spec};
use backcast_nn::Shape;

/// What goes to the model's tape and what comes from it. It grows once.
#[derive(Default)]
pub(super) struct Work {
    /// ŝ, `[rows, obs]`.
    pub(super) perturbed_states: Vec<Real>,
    /// Normal numbers behind a_k, `[rows, m, act]`, x_k, `[rows, m, obs]`, and v_k, `[rows, m, latent]`.
    pub(super) epsilon: Vec<Real>,
    pub(super) noise: Vec<Real>,
    pub(super) latent: Vec<Real>,
    /// Numbers in [0, 1), `[m]`: which elite.
    pub(super) chance: Vec<Real>,
    /// a_k, `[rows, m, act]`.
    pub(super) actions: Vec<Real>,
    /// The dataset's own action m times, `[rows, m, act]`.
    pub(super) recorded: Vec<Real>,
    /// v_k, `[rows, m, obs]`.
    pub(super) next: Vec<Real>,
    /// d(s), `[rows]`.
    pub(super) distances: Vec<Real>,
}

impl Sdc {
    // ANCHOR: transition_step
    /// (1)  E[ MSE(Δ̂, Δ) ] + ½ KL
    pub(super) fn transition_step(&mut self, batch: Batch<'_>, key: Key) -> Real {
        let latent = &mut self.work.latent;
        let shape = Shape::new(1, batch.len(), self.transition.latent());
        self.cql.core.store.tape_without_history().normal(shape, key).copy_into(latent);
        self.transition.update_with(batch, latent)
    }
    // ANCHOR_END: transition_step

    // ANCHOR: draw
    /// (2) and what is random in (3): ŝ, a_k, the noise of x_k and its elites, and v_k
    pub(super) fn draw(&mut self, batch: Batch<'_>, key: Key) {
        let m = self.config.mmd_samples;
        let Spec { obs, act, .. } = batch.spec;
        let Work { perturbed_states, epsilon, noise, latent, chance, actions, next, .. } =
            &mut self.work;
        let ActorCritic { store, nets, .. } = &mut self.cql.core;
        let tape = store.tape_without_history();
        let normal = |cols, key| tape.normal(Shape::new(1, batch.len() * m, cols), key);
        let s = perturbed(tape.input(batch.obs), self.config.beta, key.name("perturbation"));
        s.copy_into(perturbed_states);
        normal(act, key.name("actions")).copy_into(epsilon);
        normal(obs, key.name("states")).copy_into(noise);
        tape.uniform(Shape::new(1, 1, m), 0.0, 1.0, key.name("elites")).copy_into(chance);
        normal(self.transition.latent(), key.name("latent")).copy_into(latent);
        nets.actor.by_noise(s, tape.input(rows_of(epsilon, act))).copy_into(actions);
        self.transition.sample_with(batch.obs, m, latent, next);
    }
    // ANCHOR_END: draw

    // ANCHOR: deviation
    /// (3)  x_k = μ_e(ŝ,a_k) + σ_e(ŝ,a_k)·ε_k against v_k ~ U(·∣s)
    /// (4)  d(s) = MMD(x, v), left in `work`, and its mean, whose slope in a_k is left in `model`
    pub(super) fn deviation(&mut self, actions: &[Real]) -> Real {
        let &Config { mmd_samples: m, kernel, .. } = &self.config;
        let Spec { obs, act, .. } = self.cql.spec();
        let Work { perturbed_states, noise, chance, next, distances, .. } = &mut self.work;
        // The m of a state side by side, each through an elite of its own.
        self.model.ask(rows_of(actions, m * act), |model, all| {
            let tape = all.tape();
            let s = model.states(tape.input(rows_of(perturbed_states, obs)));
            let noise = tape.input(rows_of(noise, m * obs));
            let sampled = chance.iter().enumerate().map(|(k, &chance)| {
                let e = model.elites()[drawn(chance, model.elites().len())];
                model.next(e, s, all.cols(k * act, act), Some(noise.cols(k * obs, obs)))
            });
            let x = sampled.reduce(|x, y| x.cat(y)).expect("at least one sample");
            let x = x.reshape(Shape::new(1, x.shape().rows * m, obs));
            let d = mmd(x, tape.input(rows_of(next, obs)), m, kernel, self.width);
            d.copy_into(distances);
            d.mean()
        })
    }
    // ANCHOR_END: deviation

    // ANCHOR: calibrate
    /// (7)  η ← the mean so far of the batches' quantiles of d(s), the dataset's own action in the place of a_k
    pub(super) fn calibrate(&mut self, batch: Batch<'_>) {
        // Its own warm start comes first.
        let begin = self.config.warm_up.max(self.config.cql.warm_start.unwrap_or(0));
        let before = self.cql.updates - begin;
        if self.config.threshold.is_some() || before >= self.config.calibration {
            return;
        }
        let m = self.config.mmd_samples;
        let mut recorded = std::mem::take(&mut self.work.recorded);
        recorded.clear();
        for a in batch.act.rows() {
            (0..m).for_each(|_| recorded.extend(a.iter()));
        }
        self.deviation(&recorded);
        self.work.recorded = recorded;
        let distances = &mut self.work.distances;
        distances.sort_unstable_by(Real::total_cmp);
        let place = self.config.quantile * (distances.len() - 1) as Real;
        self.eta += (distances[place.round() as usize] - self.eta) / (before + 1) as Real;
    }
    // ANCHOR_END: calibrate
}
