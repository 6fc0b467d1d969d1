//! What a run has left behind: its experiment, and its policies, without the dataset they learnt from.

use super::learn::{CHECKPOINT, Learning, Point, SavedProgress};
use crate::{Agent, Error, Experiment, Method};
use backcast_core::{DatasetStats, Direction, Key, Problem, Spec, Termination, Transitions, WorldModel};
use backcast_data::Normaliser;
use backcast_dynamics::{Ensemble, EnsembleConfig};
use backcast_storage::load;
use std::{
    fs::File,
    io::{self, Read},
    path::{Path, PathBuf},
};

/// The experiment whose run `run` is, from its `config.toml`.
///
/// # Errors
/// If the file cannot be read, or is not an experiment.
pub fn experiment_of(run: &Path) -> Result<Experiment, Error> {
    let path = run.join("config.toml");
    let text = std::fs::read_to_string(&path).map_err(|source| Error::Io { path: path.clone(), source })?;
    Experiment::parse(&text).map_err(|e| Error::Format { path, why: e.to_string() })
}

/// Where a run keeps the files of an algorithm: `checkpoint.safetensors`, and `result.json` when it has come to its end.
pub fn learner_folder(run: &Path, method: &Method, seed: u64) -> PathBuf {
    run.join("learners").join(format!("{}-seed-{seed}", method.slug()))
}

/// The policy that a run has left in its folder, as its last checkpoint has it.
///
/// # Errors
/// If there is none, or it is of another experiment.
pub fn trained(run: &Path, experiment: &Experiment, method: &Method, seed: u64) -> Result<Agent, Error> {
    let spec = backcast_envs::make(&experiment.task)?.spec();
    let algorithm = experiment.algorithm_of(method)?;
    // Normaliser and parameters both come from the checkpoint; what they are before that is overwritten.
    let normaliser = experiment.standardise.then(|| Normaliser::identity(spec.obs));
    let termination = backcast_envs::registry::termination(&experiment.task).unwrap_or(backcast_core::never);
    let problem = match algorithm.needs_model() {
        true => nowhere(experiment.model.clone(), termination, spec)?,
        false => Problem::new(spec),
    };
    let mut learning = Learning::new(&algorithm, normaliser, problem, Key::new(0))?;
    load(&mut learning, &learner_folder(run, method, seed).join(CHECKPOINT))?;
    Ok(learning.agent)
}

/// How far an algorithm has come, from the head of its last checkpoint; nothing before the first.
///
/// # Errors
/// If the file cannot be read.
pub fn progress_of(run: &Path, method: &Method, seed: u64) -> Result<Option<Progress>, Error> {
    let path = learner_folder(run, method, seed).join(CHECKPOINT);
    let read = |path: &Path| -> io::Result<Vec<u8>> {
        let mut file = File::open(path)?;
        let mut size = [0; 8];
        file.read_exact(&mut size)?;
        let mut header = Vec::new();
        file.take(u64::from_le_bytes(size)).read_to_end(&mut header)?;
        Ok(header)
    };
    let header = match read(&path) {
        Ok(header) => header,
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(source) => return Err(Error::Io { path, source }),
    };
    let header: serde_json::Value = serde_json::from_slice(&header).unwrap_or_default();
    let progress = header["__metadata__"]["progress"].as_str().and_then(|text| crate::json::from_str(text).ok());
    Ok(progress.map(|SavedProgress { update, curve, seconds, warnings, .. }| Progress {
        update,
        curve,
        seconds,
        warnings,
    }))
}

/// How far an algorithm has come.
#[derive(Clone, Debug, PartialEq)]
pub struct Progress {
    /// Updates done.
    pub update: u64,
    /// Its evaluations.
    pub curve: Vec<Point>,
    /// Seconds spent on updates.
    pub seconds: f64,
    /// What was noticed.
    pub warnings: Vec<String>,
}

/// A model that was never fitted, of a dataset that was never recorded: enough to give an algorithm its shape.
pub(crate) fn nowhere(config: EnsembleConfig, termination: Termination, spec: Spec) -> Result<Problem, Error> {
    let key = Key::new(0).name("nowhere");
    let model = Ensemble::new(config, spec, Direction::Forward, key)
        .map_err(|source| Error::Config { section: "model", source })?;
    let mut rows = Transitions::new(spec);
    let (mut obs, mut act) = (vec![0.0; spec.obs], vec![0.0; spec.act]);
    for i in 0..8 {
        key.name("obs").fold(i).normal(&mut obs);
        key.name("act").fold(i).uniform(-1.0, 1.0, &mut act);
        rows.push(&obs, &act, 0.0, &obs, false);
    }
    let dataset_stats = DatasetStats {
        holdout: Some(rows.clone()),
        initial: Some(rows),
        least_reward: Some(0.0),
        greatest_reward: Some(0.0),
        reward_std: Some(0.0),
    };
    Ok(Problem::new(spec).with_model(WorldModel::new(model, termination)).with_stats(dataset_stats))
}
