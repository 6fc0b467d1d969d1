//! An ensemble as it is fitted: steps of maximum likelihood on recorded rows of each member.

use super::transitions::{RecordedColumns, columns_of};
use super::{Fixture, ParityError, Subject};
use backcast_core::*;
use backcast_dynamics::{Ensemble, EnsembleConfig, Trainer};
use serde::Deserialize;

/// What a fixture calls it.
pub(super) const NAME: &str = "ensemble";

/// The note `config`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Config {
    direction: Direction,
    model: EnsembleConfig,
}

struct Fitted {
    model: Ensemble,
    trainer: Trainer,
    batches: Vec<Transitions>,
    /// 0, 1, 2 … to the last row of a batch.
    rows: Vec<usize>,
}

pub(super) fn build(fixture: &Fixture) -> Result<Box<dyn Subject>, ParityError> {
    let complain = |why: String| fixture.note("config", why);
    let Config { direction, model } = super::read_config(fixture)?;
    let model = Ensemble::new(model, fixture.spec, direction, Key::new(0)).map_err(|e| complain(e.to_string()))?;
    let trainer = Trainer::new(&model, model.config().lr);
    let batches = fixture.columns("batch", false)?;
    let rows = shared_out(fixture, &batches, model.members())?;
    Ok(Box::new(Fitted { model, trainer, batches, rows }))
}

/// The numbers of the rows of a batch, of which each member takes as many as the others, one member after the other.
pub(super) fn shared_out(
    fixture: &Fixture,
    batches: &[Transitions],
    members: usize,
) -> Result<Vec<usize>, ParityError> {
    let rows = batches.first().map_or(0, Transitions::len);
    match rows.is_multiple_of(members) {
        true => Ok((0..rows).collect()),
        false => Err(fixture.note("batch/obs", format!("{rows} rows cannot be shared out to {members} members"))),
    }
}

impl Subject for Fitted {
    fn state(&mut self) -> &mut dyn State {
        self
    }

    fn updates(&self) -> usize {
        self.batches.len()
    }

    fn inputs(&self) -> Vec<String> {
        columns_of("batch", false)
    }

    fn update(&mut self, _: &Fixture, update: usize) -> Result<Metrics, ParityError> {
        let Self { model, trainer, batches, rows } = self;
        let share = rows.len() / model.members();
        let loss = trainer.step(model, &batches[update], |member| &rows[member * share..][..share]);
        Ok([("loss", loss)].into())
    }
}

impl State for Fitted {
    fn visit(&mut self, f: &mut dyn FnMut(&str, Slot<'_>)) {
        self.model.visit(f);
        self.trainer.visit(f);
    }
}
