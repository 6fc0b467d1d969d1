//! Trained policies from perturbed states: how well they do, and how soon they are back where the dataset has been.

use super::{Context, files, learn, pool};
use crate::{Error, Experiment, Pushes, Wait, evaluate_perturbed};
use backcast_core::{ConfigError, Key};
use backcast_data::Support;
use backcast_envs::{make_pushable, push::Level};
use backcast_stats::{Spread, Survival, Waited};
use serde::{Deserialize, Serialize};
use std::sync::OnceLock;

/// What one policy does when it is perturbed.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RobustnessResult {
    /// The method.
    pub method: String,
    /// The seed.
    pub seed: u64,
    /// How far from a recorded observation still counts as within the support, in standardised units.
    pub radius: f64,
    /// One for each level.
    pub levels: Vec<LevelResult>,
}

/// What one policy does at one level.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct LevelResult {
    /// The level.
    pub level: Level,
    /// The mean normalised score over episodes (the mean return where the task has no score).
    pub score: f64,
    /// The standard deviation of that score over episodes.
    pub score_std: f64,
    /// The share of all visited states that lie outside the support.
    pub outside: f64,
    /// What was felt of every push, episode by episode.
    pub waits: Vec<Wait>,
}

/// What all seeds of a method do at one level.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct LevelSummary {
    /// The level.
    pub level: Level,
    /// The score of each seed.
    pub scores: Vec<f64>,
    /// Their interquartile mean.
    pub iqm: f64,
    /// Its 95 % bootstrap interval, or the range of fewer than five.
    pub spread: Spread,
    /// The share of all visited states that lie outside the support.
    pub outside: f64,
    /// Pushes of all seeds.
    pub pushes: usize,
    /// Those that put the state outside the support.
    pub out: usize,
    /// Those after which it was seen to come back.
    pub back: usize,
    /// Of those that put it outside, the median of the steps until it is back (Kaplan–Meier); none if more than half are not
    /// back for as long as they are watched, or nothing was put outside.
    pub median: Option<f64>,
    /// The steps for which every push is watched.
    pub window: usize,
    /// Of all pushes of each seed, the mean steps outside, at most `window`.
    pub away: Vec<f64>,
    /// The interquartile mean of these; 0 where there is no push.
    pub away_iqm: f64,
    /// Its 95 % bootstrap interval, or the range of fewer than five.
    pub away_spread: Spread,
}

/// The name of a policy's file beside its checkpoint.
const KEPT: &str = "robustness.json";

/// Measures the policies of all `jobs`, which have come to their end, as the experiment asks for it. What is already there is
/// taken as it is.
pub(crate) fn measure(
    context: &Context<'_>,
    jobs: &[(usize, u64)],
    threads: usize,
) -> Result<Vec<RobustnessResult>, Error> {
    let Some(config) = &context.experiment.robustness else { return Ok(vec![]) };
    context.observer.stage("robustness", jobs.len());
    // One for each dataset, made when the first policy asks for it.
    let supports: Vec<OnceLock<Result<Support, ConfigError>>> = vec![OnceLock::new(); context.datasets()];
    pool::each(jobs, threads, |&(method, seed)| {
        let name = &context.experiment.methods[method].name;
        let job = format!("{name}, seed {seed}, pushed");
        let path = learn::folder(context, method, seed).join(KEPT);
        if let Some(result) = files::read(context.disk, &path)? {
            context.observer.finished(&job, "kept");
            return Ok(result);
        }
        let support = supports[context.place_of(method)].get_or_init(|| {
            let obs = context.dataset_of(method).rows().batch().obs;
            Support::of(obs, config.support.clone(), Key::new(0).name("support"))
        });
        let unsound = |source: &ConfigError| Error::Config { section: "robustness.support", source: source.clone() };
        let support = support.as_ref().map_err(unsound)?;
        let mut agent = learn::trained(context, method, seed)?;
        let mut levels = Vec::new();
        for &level in &config.levels {
            if context.observer.stop() {
                return Err(Error::Interrupted);
            }
            let pushes = Pushes { level, at: &config.at, support };
            // The starts of the last evaluation, so that at no level it is that evaluation again.
            let key = context.key(seed).name("final");
            let env = || make_pushable(&context.experiment.task);
            let perturbed = evaluate_perturbed(&mut agent.as_evaluated(), env, config.episodes, pushes, key)?;
            let (score, score_std) = learn::mean_and_deviation(&context.experiment.task, &perturbed.returns).map_err(
                |(tensor, index)| {
                    let hint =
                        format!("pushed ({}), its policy leaves what it can be asked; try lower levels", level.name());
                    Error::NotFinite {
                        job: job.clone(),
                        tensor,
                        index,
                        update: context.experiment.training.updates,
                        hint,
                    }
                },
            )?;
            levels.push(LevelResult { level, score, score_std, outside: perturbed.outside, waits: perturbed.waits });
        }
        let note: Vec<String> = levels.iter().map(|l| format!("{} {:.1}", l.level.name(), l.score)).collect();
        let result = RobustnessResult { method: name.clone(), seed, radius: support.radius() as f64, levels };
        files::write(context.disk, &path, &crate::json::to_string(&result).expect("plain values"))?;
        context.observer.finished(&job, &note.join(", "));
        Ok(result)
    })
}

/// The steps for which every push of `experiment` is watched.
fn window(experiment: &Experiment) -> usize {
    let horizon = backcast_envs::make(&experiment.task).map_or(0, |env| env.horizon());
    experiment.robustness.as_ref().map_or(0, |config| config.window(horizon))
}

fn survival<'a>(waits: impl Iterator<Item = &'a Wait>) -> Option<Survival> {
    let waits: Vec<Waited> = waits.map(|w| Waited { time: w.steps as f64, came: w.back }).collect();
    (!waits.is_empty()).then(|| Survival::new(&waits))
}

/// The mean steps outside, at most `window`, over all of `waits`.
fn away(waits: &[Wait], window: usize) -> f64 {
    survival(waits.iter()).map_or(0.0, |s| s.restricted_mean(window as f64))
}

/// Level by level, what the seeds of `method` do; nothing if nothing was measured.
pub(crate) fn summary(experiment: &Experiment, method: &str, all: &[RobustnessResult]) -> Vec<LevelSummary> {
    let runs: Vec<&RobustnessResult> = all.iter().filter(|r| r.method == method).collect();
    let Some(config) = experiment.robustness.as_ref().filter(|_| !runs.is_empty()) else { return vec![] };
    let window = window(experiment);
    let at = |(place, &level): (usize, &Level)| {
        let of: Vec<&LevelResult> = runs.iter().map(|r| &r.levels[place]).collect();
        let scores: Vec<f64> = of.iter().map(|l| l.score).collect();
        let each: Vec<f64> = of.iter().map(|l| away(&l.waits, window)).collect();
        let ((iqm, spread), (away_iqm, away_spread)) = (files::iqm(&scores), files::iqm(&each));
        let waits = || of.iter().flat_map(|l| &l.waits);
        let out = || waits().filter(|w| w.steps > 0);
        LevelSummary {
            level,
            scores,
            iqm,
            spread,
            outside: of.iter().map(|l| l.outside).sum::<f64>() / of.len() as f64,
            pushes: waits().count(),
            out: out().count(),
            back: out().filter(|w| w.back).count(),
            median: survival(out()).and_then(|s| s.median()),
            window,
            away: each,
            away_iqm,
            away_spread,
        }
    };
    config.levels.iter().enumerate().map(at).collect()
}

/// The numbers of one policy by name.
pub(crate) fn metrics(experiment: &Experiment, of: &RobustnessResult) -> Vec<(String, f64)> {
    let window = window(experiment);
    let of_level = |l: &LevelResult| {
        let out = l.waits.iter().filter(|w| w.steps > 0);
        let numbers = [
            ("score", l.score),
            ("outside", l.outside),
            ("pushes", l.waits.len() as f64),
            ("pushed_out", out.clone().count() as f64),
            ("came_back", out.filter(|w| w.back).count() as f64),
            ("steps_away", away(&l.waits, window)),
        ];
        numbers.map(|(name, value)| (format!("{}_{name}", l.level.name()), value))
    };
    of.levels.iter().flat_map(of_level).collect()
}
