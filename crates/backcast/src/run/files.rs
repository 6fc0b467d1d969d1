use super::robustness::{self, LevelSummary};
use super::{LearnResult, Outcome};
use crate::{Error, Experiment};
use backcast_core::{Key, State};
use backcast_stats::{Metric, Scores, Spread, interquartile_mean};
use backcast_storage::{CheckpointError, Disk, Local, load_from, replace};
use serde::{Deserialize, Serialize};
use std::{collections::BTreeMap, io, path::Path};

/// `summary.json`: the scores of a run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Summary {
    /// The experiment's name.
    pub experiment: String,
    /// The commit of the source.
    pub commit: String,
    /// One per method.
    pub methods: Vec<MethodSummary>,
}

/// One method's scores.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct MethodSummary {
    /// The method.
    pub name: String,
    /// The task.
    pub task: String,
    /// The seeds.
    pub seeds: Vec<u64>,
    /// The final normalised score of each.
    pub scores: Vec<f64>,
    /// Their interquartile mean.
    pub iqm: f64,
    /// Its 95 % bootstrap interval, or the range of fewer than five scores.
    pub spread: Spread,
    /// From pushed states, level by level, where the experiment asks for it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub robustness: Vec<LevelSummary>,
}

/// The interquartile mean of one number per seed, and how far they lie apart.
pub(crate) fn iqm(values: &[f64]) -> (f64, Spread) {
    let table = Scores::one_task(values).expect("every method has a finite number for each seed");
    (interquartile_mean(values), Spread::of(&table, Metric::Iqm, Key::new(0).name("summary")))
}

impl Summary {
    /// The summary of an outcome.
    pub fn of(experiment: &Experiment, outcome: &Outcome, commit: &str) -> Self {
        let methods = experiment.methods.iter().map(|method| {
            let runs: Vec<&LearnResult> = outcome.learners.iter().filter(|l| l.method == method.name).collect();
            let scores: Vec<f64> = runs.iter().map(|l| l.score).collect();
            let (iqm, spread) = iqm(&scores);
            MethodSummary {
                name: method.name.clone(),
                task: experiment.task.clone(),
                seeds: runs.iter().map(|l| l.seed).collect(),
                iqm,
                scores,
                spread,
                robustness: robustness::summary(experiment, &method.name, &outcome.robustness),
            }
        });
        Self { experiment: experiment.name.clone(), commit: commit.to_owned(), methods: methods.collect() }
    }
}

/// Writes `summary.json` into `out`.
pub fn write_summary(summary: &Summary, out: &Path) -> Result<(), Error> {
    let text = crate::json::to_string_pretty(summary).expect("a summary is plain values");
    write(&Local, &out.join("summary.json"), &text)
}

/// Writes `metrics.csv` into `out`: `method,seed,update,metric,value`, one line per number. What was measured
/// from pushed states is there as `slight_score` and so on, at the last update.
pub fn write_metrics(experiment: &Experiment, outcome: &Outcome, out: &Path) -> Result<(), Error> {
    let mut table = csv::Writer::from_writer(Vec::new());
    let mut line = |method: &str, seed: &str, update: &str, metric: &str, value: &str| {
        table.write_record([method, seed, update, metric, value]).expect("memory takes every line");
    };
    line("method", "seed", "update", "metric", "value");
    for l in &outcome.learners {
        for point in &l.curve {
            let score = [("score".to_owned(), point.score)];
            for (metric, value) in score.iter().chain(&point.metrics) {
                line(&l.method, &l.seed.to_string(), &point.update.to_string(), metric, &value.to_string());
            }
        }
    }
    let updates = experiment.training.updates.to_string();
    for r in &outcome.robustness {
        for (metric, value) in robustness::metrics(experiment, r) {
            line(&r.method, &r.seed.to_string(), &updates, &metric, &value.to_string());
        }
    }
    let text = String::from_utf8(table.into_inner().expect("memory")).expect("text");
    write(&Local, &out.join("metrics.csv"), &text)
}

pub(crate) fn write(disk: &dyn Disk, path: &Path, text: &str) -> Result<(), Error> {
    replace(disk, path, text.as_bytes()).map_err(|source| Error::Io { path: path.into(), source })
}

/// Reads a file of results, if it is there.
pub(crate) fn read<T: serde::de::DeserializeOwned>(disk: &dyn Disk, path: &Path) -> Result<Option<T>, Error> {
    match disk.read(path) {
        Ok(text) => match crate::json::from_slice(&text) {
            Ok(value) => Ok(Some(value)),
            Err(e) => Err(Error::Format { path: path.into(), why: format!("{e}; delete it to do this job again") }),
        },
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(source) => Err(Error::Io { path: path.into(), source }),
    }
}

/// Restores `state` from a checkpoint, if it is there, and returns its notes.
pub(crate) fn restore(
    disk: &dyn Disk,
    state: &mut dyn State,
    path: &Path,
) -> Result<Option<BTreeMap<String, String>>, Error> {
    match load_from(disk, state, path) {
        Ok(notes) => Ok(Some(notes)),
        Err(CheckpointError::Io { source, .. }) if source.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error.into()),
    }
}

/// Makes a folder, if it is not there.
pub(crate) fn create_folder(disk: &dyn Disk, folder: &Path) -> Result<(), Error> {
    disk.create_folder(folder).map_err(|source| Error::Io { path: folder.into(), source })
}
