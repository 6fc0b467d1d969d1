//! What a run has left behind: its experiment, and its policies, without the log they learnt from.

use super::learn::{CHECKPOINT, Learning};
use crate::{Agent, Arm, Error, Experiment};
use backcast_algos::imagines::{Evidence, World};
use backcast_core::{Columns, Direction, Key, Spec};
use backcast_data::Normaliser;
use backcast_dynamics::Ensemble;
use backcast_nn::load;
use std::path::{Path, PathBuf};

/// The experiment whose run `run` is, from its `config.toml`.
///
/// # Errors
/// If the file cannot be read, or is not an experiment.
pub fn experiment_of(run: &Path) -> Result<Experiment, Error> {
    let path = run.join("config.toml");
    let text = std::fs::read_to_string(&path).map_err(|source| Error::Io { path: path.clone(), source })?;
    Experiment::parse(&text).map_err(|e| Error::Format { path, why: e.to_string() })
}

/// Where a run keeps the files of a learner: `checkpoint.safetensors`, and `result.json` when it has come to its end.
pub fn learner_folder(run: &Path, arm: &Arm, seed: u64) -> PathBuf {
    run.join("learners").join(format!("{}-seed-{seed}", arm.slug()))
}

/// The policy that a run has left in its folder, as its last checkpoint has it.
///
/// # Errors
/// If there is none, or it is of another experiment.
pub fn trained(run: &Path, experiment: &Experiment, arm: &Arm, seed: u64) -> Result<Agent, Error> {
    let spec = backcast_envs::make(&experiment.task)?.spec();
    let algorithm = experiment.algorithm_of(arm)?;
    // Normaliser and parameters both come from the checkpoint; what they are before that is overwritten.
    let normaliser = experiment.standardise.then(|| Normaliser::identity(spec.obs));
    let world = algorithm.needs_model().then(|| nowhere(experiment, spec)).transpose()?;
    let mut learning = Learning::new(&algorithm, normaliser, world, spec, Key::new(0))?;
    load(&mut learning, &learner_folder(run, arm, seed).join(CHECKPOINT))?;
    Ok(learning.agent)
}

/// A model that was never fitted, of a log that was never recorded: enough to give a learner its shape.
fn nowhere(experiment: &Experiment, spec: Spec) -> Result<World, Error> {
    let key = Key::new(0).name("nowhere");
    let model = Ensemble::new(experiment.model.clone(), spec, Direction::Forward, key)
        .map_err(|source| Error::Config { section: "model", source })?;
    let mut rows = Columns::new(spec);
    let (mut obs, mut act) = (vec![0.0; spec.obs], vec![0.0; spec.act]);
    for i in 0..8 {
        key.name("obs").fold(i).normal(&mut obs);
        key.name("act").fold(i).uniform(-1.0, 1.0, &mut act);
        rows.push(&obs, &act, 0.0, &obs, false);
    }
    let evidence = Evidence {
        holdout: Some(rows.clone()),
        initial: Some(rows),
        least_reward: Some(0.0),
        greatest_reward: Some(0.0),
        reward_std: Some(0.0),
    };
    let termination = backcast_envs::registry::termination(&experiment.task).unwrap_or(backcast_core::never);
    Ok(World::new(model, termination).with_evidence(evidence))
}
