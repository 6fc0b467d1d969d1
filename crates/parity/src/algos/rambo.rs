//! RAMBO: in each update a step of its model on recorded transitions and rows of the dataset, then one of its policy on a batch.

use super::transitions::{RecordedColumns, columns_of};
use super::{Fixture, ParityError, Subject, ensemble::shared_out, learn};
use backcast_algos::rambo::{self, Rambo};
use backcast_core::*;
use backcast_dynamics::{Ensemble, EnsembleConfig};
use serde::Deserialize;

/// What a fixture calls it.
pub(super) const NAME: &str = rambo::Config::NAME;

/// The note `config`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Config {
    model: EnsembleConfig,
    rambo: rambo::Config,
}

struct Players {
    learner: Rambo,
    batches: Vec<Transitions>,
    /// What the policy met in the model.
    played: Vec<Transitions>,
    /// What the model sees of the dataset, those of each member after those of the one before.
    dataset: Vec<Transitions>,
}

pub(super) fn build(fixture: &Fixture) -> Result<Box<dyn Subject>, ParityError> {
    let complain = |why: String| fixture.note("config", why);
    let Config { model, rambo } = super::read_config(fixture)?;
    let members = model.members;
    let model =
        Ensemble::new(model, fixture.spec, Direction::Forward, Key::new(0)).map_err(|e| complain(e.to_string()))?;
    let problem = Problem::new(fixture.spec).with_model(WorldModel::new(model, never));
    let learner = rambo.build(problem, Key::new(0)).map_err(|e| complain(e.to_string()))?;
    let [batches, played, dataset] = ["batch", "played", "log"].map(|folder| fixture.columns(folder, false));
    let (batches, played, dataset) = (batches?, played?, dataset?);
    shared_out(fixture, &dataset, members)?;
    for (folder, columns) in [("played", &played), ("log", &dataset)] {
        if columns.len() != batches.len() {
            let why = format!("{} updates, and {} of `batch`", columns.len(), batches.len());
            return Err(fixture.note(folder, why));
        }
    }
    Ok(Box::new(Players { learner, batches, played, dataset }))
}

impl Subject for Players {
    fn state(&mut self) -> &mut dyn State {
        &mut self.learner
    }

    fn updates(&self) -> usize {
        self.batches.len()
    }

    fn inputs(&self) -> Vec<String> {
        ["batch", "played", "log"].iter().flat_map(|folder| columns_of(folder, false)).collect()
    }

    fn update(&mut self, fixture: &Fixture, update: usize) -> Result<Metrics, ParityError> {
        self.learner.oppose(&self.dataset[update], &self.played[update]);
        learn(fixture, &mut self.learner, &self.batches[update], update)
    }
}
