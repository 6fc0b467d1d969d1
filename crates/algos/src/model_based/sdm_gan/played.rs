//! The pairs of the policy that are to resemble those of the dataset, and the order in which they are read.

use super::{Config, Divergence, SdmGan, rows::Rows};
use crate::{
    blocks::perturbed::rows_of,
    model_based::imagination::{Imagination, drawn, ensemble},
};
use backcast_core::{Batch, Key, Real, Spec};
use backcast_nn::{Shape, Tape, Var};
use ndarray::Axis;

/// F, `[2·rows, …]`: the s̃ first, then the s̃′ in the same order.
#[derive(Default)]
pub(super) struct Played {
    pub(super) states: Vec<Real>,
    pub(super) epsilon: Vec<Real>,
    /// u.
    pub(super) actions: Vec<Real>,
    /// Weights of the rows in a mean, which add up to 1: those that end have none.
    pub(super) weights: Vec<Real>,
    /// s̃, ã in the model's units, the elite asked and the normal numbers behind what it says.
    pub(super) asked: Vec<Real>,
    pub(super) taken: Vec<Real>,
    pub(super) elite: Vec<Real>,
    pub(super) z: Vec<Real>,
}

/// Rows of F in some order: place `i` has row (i mod g)·stride + ⌊i/g⌋. With g = 1 it is theirs; else g consecutive
/// places are rows from all over F.
#[derive(Clone, Copy)]
pub(super) struct Order {
    pub(super) rows: usize,
    pub(super) group: usize,
    pub(super) stride: usize,
}

impl Played {
    /// Whether there is anything in F, and anything to compare it with.
    pub(super) fn is_comparable(&self, truth: &Rows) -> bool {
        truth.len() > 0 && self.weights.iter().any(|&w| w > 0.0)
    }

    /// In which order rows of F are read, to be compared with those of `truth`.
    pub(super) fn order(&self, config: &Config, truth: &Rows) -> Order {
        let grouped = config.divergence == Divergence::Mmd;
        Order::of(self.weights.len(), truth.len(), grouped.then_some(config.mmd_samples))
    }
}

impl Order {
    /// For `rows` of `all` rows of F to be compared with as many of `truth`, in groups of `group` or alone.
    pub(super) fn of(all: usize, truth: usize, group: Option<usize>) -> Self {
        let Some(group) = group else { return Self { rows: all, group: 1, stride: all } };
        let both = all.min(truth);
        let group = group.min(both).max(1);
        Self { rows: both / group * group, group, stride: all / group }
    }

    /// Numbers of rows of F, `width` to a row, in this order.
    pub(super) fn read<'t>(self, tape: Tape<'t>, numbers: &[Real], width: usize) -> Var<'t> {
        tape.fill(Shape::new(1, self.rows, width), |out| {
            for (place, out) in out.chunks_exact_mut(width).enumerate() {
                let row = place % self.group * self.stride + place / self.group;
                out.copy_from_slice(&numbers[row * width..][..width]);
            }
        })
    }
}

impl SdmGan {
    // ANCHOR: play
    /// (4)  F = {(s̃, ũ)} ∪ {(s̃′, ũ′)},   s̃ = s + ξ, ũ = f(s̃, ε), s̃′ one step of the model from (s̃, ã), ũ′ = f(s̃′, ε′)
    pub(super) fn play(&mut self, batch: &Batch<'_>, rows: &Rows, key: Key) {
        let Spec { obs, act, .. } = batch.spec;
        let &Config { state_noise, noise_clip, .. } = &self.config;
        let actor = self.nets.actor;
        let n = rows.len();
        let Played { states, epsilon, actions, weights, asked, taken, elite, z } =
            &mut self.work.played;
        let tape = self.store.tape_without_history();
        let s = rows.of(tape, batch.obs);
        let xi = tape.normal(s.shape(), key.name("shift")) * state_noise;
        let s = s + xi.clamp(-noise_clip, noise_clip);
        let noise = actor.epsilon(s, key.name("action"));
        let u = actor.before_tanh(s, noise);
        s.copy_into(states);
        noise.copy_into(epsilon);
        u.copy_into(actions);
        actor.bounded(u).copy_into(taken);
        tape.uniform(Shape::new(1, n, 1), 0.0, 1.0, key.name("elite")).copy_into(elite);
        tape.normal(Shape::new(1, n, obs), key.name("state")).copy_into(z);
        weights.clear();
        weights.extend(rows.iter().map(|row| 1.0 - batch.terminal[[row, 0]]));

        let Imagination { dynamics, scaler, .. } = &mut self.imagination;
        let model = ensemble(&mut **dynamics).expect("checked when it was built");
        asked.clear();
        asked.extend_from_slice(states);
        scaler.to_model(asked);
        let said = model.predict_elites([rows_of(asked, obs), rows_of(taken, act)]);
        // The reward first, the state last.
        let first = said.mean.len_of(Axis(2)) - obs;
        for row in 0..n {
            let member = drawn(elite[row], said.mean.len_of(Axis(0)));
            let s = &asked[row * obs..][..obs];
            let a = &taken[row * act..][..act];
            for (col, &s) in s.iter().enumerate() {
                let at = [member, row, first + col];
                let s2 = said.mean[at] + said.std[at] * z[row * obs + col];
                states.push(if s2.is_finite() { s2 } else { s });
            }
            let s2 = &states[(n + row) * obs..];
            let ends = (self.termination)(s, a, s2);
            weights.push(if ends { 0.0 } else { weights[row] });
        }
        scaler.to_learner(&mut states[n * obs..]);
        let total = weights.iter().sum::<Real>();
        weights.iter_mut().filter(|w| **w > 0.0).for_each(|w| *w /= total);

        let tape = self.store.tape_without_history();
        let s2 = tape.fill(Shape::new(1, n, obs), |out| out.copy_from_slice(&states[n * obs..]));
        let noise = actor.epsilon(s2, key.name("next action"));
        noise.read(|x| epsilon.extend_from_slice(x));
        actor.before_tanh(s2, noise).read(|x| actions.extend_from_slice(x));
    }
    // ANCHOR_END: play
}
