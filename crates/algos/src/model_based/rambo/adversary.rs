//! The adversary: advantages, a step of the model against the policy, and the policy's steps that these learn from.

use super::{Config, Rambo};
use crate::{blocks::standardise::standardise, model_based::imagination::ensemble};
use backcast_core::{Column, Key, Real, Source, Spec, Transitions};
use backcast_imagination::Imaginer;
use backcast_penalties::NoPenalty;

/// Memory of the adversary's steps.
pub(super) struct Work {
    /// One step of the policy from given states.
    pub(super) step: Imaginer<NoPenalty>,
    /// The states a rollout has come to, as *s* of transitions of which nothing else is asked.
    pub(super) at: Transitions,
    /// What the policy met there, in the model's units and in the agent's.
    pub(super) played: Transitions,
    pub(super) seen: Transitions,
    /// Rows of the dataset, those of each member after those of the one before.
    pub(super) dataset: Transitions,
    /// 0, 1, 2 …
    pub(super) rows: Vec<usize>,
    pub(super) advantage: Vec<Real>,
}

impl Work {
    pub(super) fn new(spec: Spec, step: Imaginer<NoPenalty>) -> Self {
        let [at, played, seen, dataset] = std::array::from_fn(|_| Transitions::new(spec));
        Self { step, at, played, seen, dataset, rows: Vec::new(), advantage: Vec::new() }
    }
}

/// States to go on from: the *s′* of `played` as *s*.
fn go_on(played: &Transitions, at: &mut Transitions) {
    at.clear();
    for row in 0..played.len() {
        let state = played.row(Column::NextObs, row);
        at.push(state, played.row(Column::Act, row), 0.0, state, false);
    }
}

/// Every row once, whatever the key: as many as are asked for, or as there are.
struct InOrder<'a>(&'a Transitions);

impl Source for InOrder<'_> {
    fn spec(&self) -> Spec {
        self.0.spec()
    }

    fn len(&self) -> usize {
        self.0.len()
    }

    fn sample_into(&self, _: Key, rows: usize, out: &mut Transitions) {
        (0..rows.min(self.0.len())).for_each(|row| out.push_row(self.0, row));
    }
}

impl Rambo {
    // ANCHOR: advantages
    /// (2)  A = r + γ(1−d) min_j Q_j(s′,π̄(s′)) − min_j Q_j(s,a), standardised over the rows of `played`
    pub(super) fn advantages(&mut self, played: &Transitions) {
        let Self { sac, imagination, work: Work { seen, advantage, .. }, .. } = self;
        seen.clear();
        (0..played.len()).for_each(|row| seen.push_row(played, row));
        for states in [Column::Obs, Column::NextObs] {
            imagination.scaler.to_learner(seen.values_mut(states));
        }
        sac.advantage(seen.batch(), advantage);
        standardise(advantage);
    }
    // ANCHOR_END: advantages

    // ANCHOR: oppose
    /// (3)  L(θ) = λ·E[ A · ln p_θ(s′,r∣s,a) ] + L_MLE(θ; data): one step of the model. `dataset` has the rows of each
    /// member after those of the one before; both are in the model's units.
    pub fn oppose(&mut self, dataset: &Transitions, played: &Transitions) {
        self.advantages(played);
        let Self { config, imagination, adversary, work, .. } = self;
        let model = ensemble(&mut *imagination.dynamics).expect("checked when it was built");
        let share = dataset.len() / model.members();
        work.rows.clear();
        work.rows.extend(0..dataset.len());
        let rows = |member: usize| &work.rows[member * share..][..share];
        let said = adversary.step(model, dataset, rows, played, &work.advantage, config.lambda);
        self.said = [said.fit_loss, said.adversarial_loss, said.log_prob];
    }
    // ANCHOR_END: oppose

    // ANCHOR: turn_model
    /// An epoch of (3), along rollouts of the policy in the model as it changes.
    pub(super) fn turn_model(&mut self, dataset: &dyn Source, key: Key) {
        let Config { model_steps, model_batch, .. } = self.config;
        let horizon = self.config.rollouts.horizon as u64;
        let model = ensemble(&mut *self.imagination.dynamics).expect("checked");
        let members = model.members();
        // Taken out for as long as `oppose` borrows everything else.
        let Work { at, played, dataset: rows, .. } = &mut self.work;
        let taken = [at, played, rows]
            .map(|columns| std::mem::replace(columns, Transitions::new(columns.spec())));
        let [mut at, mut played, mut rows] = taken;
        let mut sums = [0.0f64; 3];
        for step in 0..model_steps {
            let key = key.fold(step);
            if step % horizon == 0 || played.is_empty() {
                at.clear();
                dataset.sample_into(key.name("starts"), model_batch, &mut at);
            } else {
                go_on(&played, &mut at);
            }
            played.clear();
            let Self { sac, imagination, work, .. } = self;
            imagination.roll_by(&mut work.step, sac, &InOrder(&at), key.name("play"), &mut played);
            rows.clear();
            dataset.sample_into(key.name("log"), members * model_batch, &mut rows);
            self.oppose(&rows, &played);
            sums.iter_mut().zip(self.said).for_each(|(sum, said)| *sum += said as f64);
        }
        self.said = sums.map(|sum| (sum / model_steps as f64) as Real);
        let Work { at: at_again, played: played_again, dataset: rows_again, .. } = &mut self.work;
        *at_again = at;
        *played_again = played;
        *rows_again = rows;
    }
    // ANCHOR_END: turn_model
}
