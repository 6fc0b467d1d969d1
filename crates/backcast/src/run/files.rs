use super::{LearnResult, Outcome};
use crate::{Error, Experiment};
use backcast_core::Key;
use backcast_nn::replace;
use backcast_stats::{Bootstrap, Metric, Scores, interquartile_mean, interval};
use serde::{Deserialize, Serialize};
use std::{fmt::Write, path::Path};

/// `summary.json`: the scores of a run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Summary {
    /// The experiment's name.
    pub experiment: String,
    /// The commit of the source.
    pub commit: String,
    /// One per arm.
    pub arms: Vec<ArmSummary>,
}

/// One method's scores.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ArmSummary {
    /// The arm.
    pub name: String,
    /// The task.
    pub task: String,
    /// The repetitions.
    pub seeds: Vec<u64>,
    /// The final normalised score of each.
    pub scores: Vec<f64>,
    /// Their interquartile mean.
    pub iqm: f64,
    /// Its 95 % stratified bootstrap interval.
    pub ci95: [f64; 2],
}

impl Summary {
    /// The summary of an outcome.
    pub fn of(experiment: &Experiment, outcome: &Outcome, commit: &str) -> Self {
        let arms = experiment.arms.iter().map(|arm| {
            let runs: Vec<&LearnResult> = outcome.learners.iter().filter(|l| l.arm == arm.name).collect();
            let scores: Vec<f64> = runs.iter().map(|l| l.score).collect();
            let table = Scores::one_task(&scores).expect("every arm has a finite score for each seed");
            let ci = interval(&table, Metric::Iqm, Bootstrap::default(), Key::new(0).name("summary"));
            ArmSummary {
                name: arm.name.clone(),
                task: experiment.task.clone(),
                seeds: runs.iter().map(|l| l.seed).collect(),
                iqm: interquartile_mean(&scores),
                scores,
                ci95: [ci.low, ci.high],
            }
        });
        Self { experiment: experiment.name.clone(), commit: commit.to_owned(), arms: arms.collect() }
    }
}

/// Writes `summary.json` into `out`.
pub fn write_summary(summary: &Summary, out: &Path) -> Result<(), Error> {
    let text = serde_json::to_string_pretty(summary).expect("a summary is plain values");
    write(&out.join("summary.json"), &text)
}

/// Writes `metrics.csv` into `out`: `arm,seed,update,metric,value`, one line per number.
pub fn write_metrics(learners: &[LearnResult], out: &Path) -> Result<(), Error> {
    let mut text = String::from("arm,seed,update,metric,value\n");
    for l in learners {
        for point in &l.curve {
            let score = [("score".to_owned(), point.score)];
            for (metric, value) in score.iter().chain(&point.metrics) {
                let _ = writeln!(text, "{},{},{},{metric},{value}", l.arm, l.seed, point.update);
            }
        }
    }
    write(&out.join("metrics.csv"), &text)
}

pub(crate) fn write(path: &Path, text: &str) -> Result<(), Error> {
    replace(path, text.as_bytes()).map_err(|source| Error::Io { path: path.into(), source })
}

/// Reads a file of results, if it is there.
pub(crate) fn read<T: serde::de::DeserializeOwned>(path: &Path) -> Result<Option<T>, Error> {
    match std::fs::read_to_string(path) {
        Ok(text) => match serde_json::from_str(&text) {
            Ok(value) => Ok(Some(value)),
            Err(e) => Err(Error::Format { path: path.into(), why: format!("{e}; delete it to do this job again") }),
        },
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(source) => Err(Error::Io { path: path.into(), source }),
    }
}
