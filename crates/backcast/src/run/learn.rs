use super::divergence::ReturnBounds;
use super::trained::learner_folder;
use super::{Context, far_outside, files, imagined, models, priorities};
use crate::{Agent, AlgorithmConfig, Error, evaluate};
use backcast_core::{
    Imagined, Key, Problem, RolloutSummary, Slot, Source, State, Transitions, first_non_finite, under,
};
use backcast_data::{Mixture, Normaliser, ReplayBuffer, Scale};
use backcast_storage::{Disk, load_from, save_on};
use serde::{Deserialize, Serialize};
use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    time::Instant,
};

/// One algorithm's way and its end.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct LearnResult {
    /// The method.
    pub method: String,
    /// The seed.
    pub seed: u64,
    /// The mean normalised score of the last policy over the final episodes (the mean return where the task has no score).
    pub score: f64,
    /// The standard deviation of that score over episodes.
    pub score_std: f64,
    /// The way there.
    pub curve: Vec<Point>,
    /// Seconds spent on updates.
    pub seconds: f64,
    /// What was noticed on the way, such as values that no policy can have.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub warnings: Vec<String>,
}

/// One evaluation on the way.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Point {
    /// Updates done.
    pub update: u64,
    /// Mean normalised score.
    pub score: f64,
    /// The algorithm's metrics, averaged since the last evaluation.
    pub metrics: Vec<(String, f64)>,
}

/// What a checkpoint knows beside the agent's state.
#[derive(Default, Serialize, Deserialize)]
pub(super) struct SavedProgress {
    pub(super) update: u64,
    pub(super) curve: Vec<Point>,
    /// Sum and count of each metric since the last evaluation.
    sums: BTreeMap<String, (f64, u64)>,
    pub(super) seconds: f64,
    #[serde(default)]
    pub(super) warnings: Vec<String>,
}

impl SavedProgress {
    fn add(&mut self, name: &str, value: f64) {
        match self.sums.get_mut(name) {
            Some((sum, count)) => (*sum, *count) = (*sum + value, *count + 1),
            None => drop(self.sums.insert(name.to_owned(), (value, 1))),
        }
    }
}

/// An agent and, if it imagines as it learns, what it has imagined.
pub(super) struct Learning {
    pub(super) agent: Agent,
    own: Option<ReplayBuffer>,
}

impl Learning {
    /// The agent of `algorithm` before its first update.
    pub(super) fn new(
        algorithm: &AlgorithmConfig,
        normaliser: Option<Normaliser>,
        problem: Problem,
        init: Key,
    ) -> Result<Self, Error> {
        let spec = problem.spec;
        let agent = Agent::new(algorithm, normaliser, problem, init)
            .map_err(|source| Error::Config { section: "algorithm", source })?;
        let own = agent.rollouts().map(|rollouts| ReplayBuffer::new(spec, rollouts.capacity()));
        Ok(Self { agent, own })
    }

    /// Before the update after `update` others: rolls the policy out, if that is due.
    fn imagine(
        &mut self,
        dataset: &dyn Source,
        update: u64,
        key: Key,
        progress: &mut SavedProgress,
        job: &str,
    ) -> Result<(), Error> {
        let Some(buffer) = &mut self.own else { return Ok(()) };
        if !self.agent.rollouts().is_some_and(|how| update.is_multiple_of(how.every)) {
            return Ok(());
        }
        let (mut reward, mut penalty) = (0.0, 0.0);
        let mut store = |t: Imagined<'_>| {
            (reward, penalty) = (reward + t.reward as f64, penalty + t.penalty as f64);
            buffer.push(t.obs, t.act, t.reward, t.next_obs, t.terminal);
        };
        let RolloutSummary { started, stored, terminal, halted, not_finite, .. } =
            self.agent.imagine(dataset, key, &mut store);
        if buffer.is_empty() {
            return Err(Error::Mismatch(format!(
                "{job}: of {started} chains the model imagined nothing, and {not_finite} numbers were not finite; look at its fit"
            )));
        }
        let rows = stored.max(1) as f64;
        let of_rows =
            [("reward", reward), ("penalty", penalty), ("terminal", terminal as f64), ("halted", halted as f64)];
        for (name, value) in of_rows {
            progress.add(&format!("imagined_{name}"), value / rows);
        }
        Ok(())
    }
}

/// What is imagined is saved too: a policy that is gone cannot imagine it again.
impl State for Learning {
    fn visit(&mut self, f: &mut dyn FnMut(&str, Slot<'_>)) {
        self.agent.visit(f);
        if let Some(buffer) = &mut self.own {
            under("imagined", buffer, f);
        }
    }
}

/// Where an algorithm's files are.
pub(crate) fn folder(context: &Context<'_>, method: usize, seed: u64) -> PathBuf {
    learner_folder(context.out, &context.experiment.methods[method], seed)
}

/// The algorithm of a method before its first update.
fn blank(context: &Context<'_>, method: usize, seed: u64) -> Result<Learning, Error> {
    let (experiment, dataset) = (context.experiment, context.dataset_of(method).rows());
    let normaliser = experiment.standardise.then(|| Normaliser::fit(dataset.batch().obs, Scale::Plus(1e-3)));
    let algorithm = experiment.algorithm_of(&experiment.methods[method]).map_err(|e| Error::Mismatch(e.to_string()))?;
    let init = context.key(seed).name("learner").name("init");
    let problem = if algorithm.needs_model() { models::problem(context, seed)? } else { Problem::new(dataset.spec()) };
    Learning::new(&algorithm, normaliser, problem, init)
}

/// The agent of a method as its last checkpoint has it.
pub(crate) fn trained(context: &Context<'_>, method: usize, seed: u64) -> Result<Agent, Error> {
    let mut learning = blank(context, method, seed)?;
    load_from(context.disk, &mut learning, &folder(context, method, seed).join(CHECKPOINT))?;
    Ok(learning.agent)
}

/// The name of an algorithm's checkpoint in its folder.
pub(super) const CHECKPOINT: &str = "checkpoint.safetensors";

/// Trains one method on one seed, from its last checkpoint on.
pub(crate) fn learn(context: &Context<'_>, method: usize, seed: u64) -> Result<LearnResult, Error> {
    let (at, folder) = (method, folder(context, method, seed));
    let (experiment, dataset, method) =
        (context.experiment, context.dataset_of(method), &context.experiment.methods[method]);
    let job = format!("{}, seed {seed}", method.name);
    let result_path = folder.join("result.json");
    if let Some(result) = files::read(context.disk, &result_path)? {
        context.observer.finished(&job, "kept");
        return Ok(result);
    }
    files::create_folder(context.disk, &folder)?;

    let priorities = priorities(context, dataset)?;
    let dataset = dataset.rows();
    let spec = dataset.spec();
    let prioritised = priorities.as_ref().map(|p| p.over(dataset));
    let real: &dyn Source = match &prioritised {
        Some(rows) => rows,
        None => dataset,
    };
    let algorithm = experiment.algorithm_of(method)?;
    let bounds = ReturnBounds::of(dataset, algorithm.discount(), algorithm.needs_model());
    let key = context.key(seed).name("learner");
    let mut learning = blank(context, at, seed)?;

    let checkpoint = folder.join(CHECKPOINT);
    let mut progress = SavedProgress::default();
    // The update of the last checkpoint, if there is one.
    let mut saved = None;
    if let Some(notes) = files::restore(context.disk, &mut learning, &checkpoint)? {
        let text = notes.get("progress").map_or("", String::as_str);
        progress = crate::json::from_str(text)
            .map_err(|e| Error::Format { path: checkpoint.clone(), why: format!("`progress`: {e}") })?;
        saved = Some(progress.update);
    }
    let outlier = || experiment.data_of(method).ok().and_then(|data| far_outside::in_dataset(&data));
    let not_finite = |(tensor, index): (String, usize), update: u64, saved: Option<u64>| {
        let mut hint = match saved {
            Some(saved) => format!("the last good state, of update {saved}, is {}", checkpoint.display()),
            None => "nothing was saved before".to_owned(),
        };
        hint += &outlier().unwrap_or("; lower the learning rates or look at the dataset's rewards".into());
        Error::NotFinite { job: job.clone(), tensor, index, update, hint }
    };

    let (training, imagination) = (&experiment.training, &experiment.imagination);
    let generation = |update: u64| imagination.refresh_every.map_or(0, |every| update / every);
    let mut made = imagined(context, seed, method.imagine, generation(progress.update), &job)?;
    let mut staging = Transitions::new(spec).with_next_actions(dataset.next_actions().is_some());
    staging.reserve(training.batch);
    let mut clock = Instant::now();
    while progress.update < training.updates {
        if progress.update.is_multiple_of(64) && context.observer.stop() {
            progress.seconds += clock.elapsed().as_secs_f64();
            sound(&mut learning.agent).map_err(|what| not_finite(what, progress.update, saved))?;
            write_checkpoint(context.disk, &mut learning, &progress, &checkpoint)?;
            return Err(Error::Interrupted);
        }
        let step = key.name("update").fold(progress.update);
        if made.is_some() && progress.update > 0 && generation(progress.update) != generation(progress.update - 1) {
            made = imagined(context, seed, method.imagine, generation(progress.update), &job)?;
        }
        learning.imagine(real, progress.update, step.name("imagination"), &mut progress, &job).map_err(
            |e| match e {
                Error::Mismatch(why) => Error::Mismatch(why + &outlier().unwrap_or_default()),
                other => other,
            },
        )?;
        let Learning { agent, own } = &mut learning;
        let own = agent.real_share().zip(own.as_ref()).map(|(share, buffer)| Mixture::new(real, buffer, 1.0 - share));
        let mixture = made.as_ref().map(|made| Mixture::new(real, made, imagination.ratio)).or(own);
        let rows: &dyn Source = match &mixture {
            Some(mixture) => mixture,
            None => real,
        };
        rows.sample(step.name("rows"), training.batch, &mut staging);
        agent.normaliser().apply_to_transitions(&mut staging);
        for (name, value) in agent.update(staging.batch(), step).iter() {
            progress.add(name, value as f64);
        }
        progress.update += 1;
        let note = || progress.curve.last().map_or(String::new(), |p| format!("score {:.1}", p.score));
        if progress.update.is_multiple_of(256) {
            context.observer.progress(&job, progress.update, training.updates, &note());
        }
        if progress.update.is_multiple_of(training.eval_every) {
            progress.seconds += clock.elapsed().as_secs_f64();
            sound(&mut learning.agent).map_err(|what| not_finite(what, progress.update, saved))?;
            // Every method and every evaluation of a seed meets the same starts.
            let (score, _) =
                score(context, &mut learning.agent, training.eval_episodes, context.key(seed).name("evaluation"))?
                    .map_err(|what| not_finite(what, progress.update, saved))?;
            let metrics: Vec<(String, f64)> =
                std::mem::take(&mut progress.sums).into_iter().map(|(name, (sum, n))| (name, sum / n as f64)).collect();
            let q = metrics.iter().find(|(name, _)| name == "q").map(|(_, q)| *q);
            let complaint = bounds.zip(q).and_then(|(bounds, q)| bounds.complaint(q, progress.update));
            // Said once: what diverges goes on diverging.
            if let Some(mut complaint) = complaint.filter(|_| progress.warnings.is_empty()) {
                complaint += &outlier().unwrap_or_default();
                context.observer.warning(&job, &complaint);
                progress.warnings.push(complaint);
            }
            progress.curve.push(Point { update: progress.update, score, metrics });
            context.observer.evaluated(&job, &method.name, &progress.curve);
            write_checkpoint(context.disk, &mut learning, &progress, &checkpoint)?;
            saved = Some(progress.update);
            clock = Instant::now();
        }
    }
    // Updates after the last evaluation have been looked at by nobody yet.
    sound(&mut learning.agent).map_err(|what| not_finite(what, progress.update, saved))?;
    let (score, score_std) =
        score(context, &mut learning.agent, training.final_episodes, context.key(seed).name("final"))?
            .map_err(|what| not_finite(what, progress.update, saved))?;
    write_checkpoint(context.disk, &mut learning, &progress, &checkpoint)?;
    let SavedProgress { curve, seconds, warnings, .. } = progress;
    let result = LearnResult { method: method.name.clone(), seed, score, score_std, curve, seconds, warnings };
    files::write(context.disk, &result_path, &crate::json::to_string_pretty(&result).expect("plain values"))?;
    context.observer.finished(&job, &format!("score {score:.1}"));
    Ok(result)
}

fn write_checkpoint(
    disk: &dyn Disk,
    learning: &mut Learning,
    progress: &SavedProgress,
    path: &Path,
) -> Result<(), Error> {
    let progress = crate::json::to_string(progress).expect("plain values");
    Ok(save_on(disk, learning, &BTreeMap::from([("progress".into(), progress)]), path)?)
}

/// What is not finite: a tensor or a number by its name, and which of its elements.
pub(crate) type NotFinite = (String, usize);

/// Whether all numbers of an agent are finite.
fn sound(agent: &mut Agent) -> Result<(), NotFinite> {
    first_non_finite(agent).map_or(Ok(()), Err)
}

/// Mean and standard deviation over episodes, normalised where the task has reference scores.
fn score(
    context: &Context<'_>,
    agent: &mut Agent,
    episodes: usize,
    key: Key,
) -> Result<Result<(f64, f64), NotFinite>, Error> {
    let task = &context.experiment.task;
    let returns = evaluate(&mut agent.as_evaluated(), || backcast_envs::make(task), episodes, key)?;
    Ok(mean_and_deviation(task, &returns))
}

/// Mean and standard deviation of returns, normalised where the task has reference scores. Parameters can be finite and what they come
/// to not.
pub(crate) fn mean_and_deviation(task: &str, returns: &[f64]) -> Result<(f64, f64), NotFinite> {
    if let Some(episode) = returns.iter().position(|r| !r.is_finite()) {
        return Err(("return".into(), episode));
    }
    let n = returns.len() as f64;
    let mean = returns.iter().sum::<f64>() / n;
    let std = (returns.iter().map(|r| (r - mean).powi(2)).sum::<f64>() / n).sqrt();
    Ok(match backcast_envs::reference_scores(task) {
        Some(score) => (score.mean(mean), score.deviation(std)),
        None => (mean, std),
    })
}
