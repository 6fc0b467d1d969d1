//! An experiment carried out: dataset → models → imagination → algorithms → scores, in jobs that fill the cores.
//!
//! Everything random is a function of the experiment and of a job's own seed, never of which thread took the job or when,
//! so a run has the same bits for any number of threads. Each job saves what it has after every epoch or evaluation; a run
//! that was interrupted, however rudely, is continued by asking for it again.

mod bands;
mod data;
mod dataset;
mod divergence;
mod far_outside;
mod files;
mod free_space;
mod learn;
mod lock;
mod mix;
mod models;
mod place;
pub(crate) mod pool;
mod robustness;
mod selection;
mod trained;

pub use bands::{Band, BandCheck, Bands, Kept};
pub use data::{DataSummary, Loaded, generate, load};
pub use dataset::{fingerprint_of, is_of_run};
pub use files::{MethodSummary, Summary, write_metrics, write_summary};
pub use free_space::FreeSpace;
pub use learn::{LearnResult, Point};
pub use lock::{Holder, Lock};
pub use models::{HorizonPoint, ModelResult};
pub use place::{apart, not_inside_a_run};
pub use robustness::{LevelResult, LevelSummary, RobustnessResult};
pub use selection::{Distance, OpeEstimate, Rule, Selection, SelectionConfig, distances, select, select_by};
#[cfg(test)]
pub(crate) use trained::nowhere;
pub use trained::{Progress, experiment_of, learner_folder, progress_of, trained};

use crate::{DataConfig, Error, Experiment, Imagine};
use backcast_algos::model_based::generator::Generator;
use backcast_algos::romi::Starts;
use backcast_core::{Column, Direction, Dynamics, Key, Real, Source, Spec, Termination, Transitions};
use backcast_data::Priorities;
use backcast_dynamics::Ensemble;
use backcast_imagination::RowsWhere;
use backcast_storage::{Disk, Local};
use serde::{Deserialize, Serialize};
use std::{path::Path, time::Instant};

/// Watches a run from outside: draws progress, and says when to stop.
pub trait Observer: Sync {
    /// A stage begins; it has so many jobs.
    fn stage(&self, name: &str, jobs: usize);
    /// A job has done so much of its work.
    fn progress(&self, job: &str, done: u64, total: u64, note: &str);
    /// A job is finished.
    fn finished(&self, job: &str, note: &str);
    /// An algorithm has been evaluated; the last point of its curve is new.
    fn evaluated(&self, _job: &str, _method: &str, _curve: &[Point]) {}
    /// Something is to be looked at, and no reason to stop.
    fn warning(&self, _job: &str, _what: &str) {}
    /// Whether to save everything and stop.
    fn stop(&self) -> bool;
}

/// Watches nothing.
pub struct Silent;

impl Observer for Silent {
    fn stage(&self, _: &str, _: usize) {}
    fn progress(&self, _: &str, _: u64, _: u64, _: &str) {}
    fn finished(&self, _: &str, _: &str) {}
    fn stop(&self) -> bool {
        false
    }
}

/// Everything a run found out.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Outcome {
    /// The dataset.
    pub data: DataSummary,
    /// One per seed and direction.
    pub models: Vec<ModelResult>,
    /// One per seed and method, method by method.
    pub learners: Vec<LearnResult>,
    /// Where the experiment asks for it, one per seed and method, method by method: how it goes from perturbed states.
    #[serde(default)]
    pub robustness: Vec<RobustnessResult>,
    /// A few imagined chains of the first seed, for drawing.
    pub chains: Chains,
    /// In mazes, one per seed and direction: how much of what is imagined lies in free space.
    #[serde(default)]
    pub free_space: Vec<FreeSpace>,
    /// Seconds of each stage (of this invocation, if continued).
    pub stages: Vec<(String, f64)>,
}

/// Imagined paths as lists of observations in forward time.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Chains {
    /// Of a forward model: the first state is real.
    pub forward: Vec<Vec<Vec<Real>>>,
    /// Of a reverse model: the last state is real.
    pub reverse: Vec<Vec<Vec<Real>>>,
}

/// What every job of a run sees.
pub(crate) struct Context<'a> {
    pub(crate) experiment: &'a Experiment,
    pub(crate) out: &'a Path,
    pub(crate) disk: &'a dyn Disk,
    pub(crate) observer: &'a dyn Observer,
    /// The experiment's dataset.
    pub(crate) dataset: &'a Loaded,
    /// Those of methods whose dataset is another.
    pub(crate) own: &'a OwnDatasets,
    pub(crate) termination: Termination,
}

/// The datasets of methods that do not learn from the experiment's: other keys of `data`, or an algorithm that asks for next actions.
pub(crate) struct OwnDatasets {
    /// For each method, its place among the datasets.
    of_method: Vec<Option<usize>>,
    datasets: Vec<(DataConfig, Loaded)>,
}

impl OwnDatasets {
    fn load(experiment: &Experiment, spec: Spec) -> Result<Self, Error> {
        let unsound = |e: crate::ExperimentError| Error::Mismatch(e.to_string());
        let (mut of_method, mut datasets, mut known) = (Vec::new(), Vec::new(), Vec::new());
        for method in &experiment.methods {
            let next_actions = experiment.algorithm_of(method).map_err(unsound)?.needs_next_actions();
            let wanted = (experiment.data_of(method).map_err(unsound)?, next_actions);
            if wanted == (experiment.data.clone(), false) {
                of_method.push(None);
                continue;
            }
            // Methods that want the same dataset share it.
            let place = match known.iter().position(|k| *k == wanted) {
                Some(place) => place,
                None => {
                    let dataset = data::load_as(&wanted.0, &experiment.task, spec, next_actions)?;
                    datasets.push((wanted.0.clone(), dataset));
                    known.push(wanted);
                    datasets.len() - 1
                }
            };
            of_method.push(Some(place));
        }
        Ok(Self { of_method, datasets })
    }
}

impl Context<'_> {
    /// The dataset that a method learns from.
    pub(crate) fn dataset_of(&self, method: usize) -> &Loaded {
        self.own.of_method[method].map_or(self.dataset, |place| &self.own.datasets[place].1)
    }

    /// Which of all datasets that is: 0 is the experiment's, and [`datasets`](Context::datasets) their number.
    pub(crate) fn place_of(&self, method: usize) -> usize {
        self.own.of_method[method].map_or(0, |place| place + 1)
    }

    /// The number of different datasets.
    pub(crate) fn datasets(&self) -> usize {
        self.own.datasets.len() + 1
    }

    /// The root of all streams of one seed. The methods of a seed share models and imagination.
    pub(crate) fn key(&self, seed: u64) -> Key {
        Key::new(seed).name("experiment")
    }
}

/// Carries `experiment` out in the folder `out` on `threads` threads, or goes on where an earlier call was interrupted.
///
/// The caller has written `config.toml` there; results of jobs that are already in the folder are taken as they are.
///
/// # Errors
/// Whatever hinders it; everything up to then is saved, and the same call goes on. [`Error::Busy`] if somebody else is at
/// work in the folder, [`Error::Place`] if it is not one of its own.
pub fn carry_out(
    experiment: &Experiment,
    out: &Path,
    threads: usize,
    observer: &dyn Observer,
) -> Result<Outcome, Error> {
    apart(out)?;
    let lock = Lock::take(out)?;
    lock.sweep_up()?;
    carry_out_on(&Local, experiment, out, threads, observer)
}

/// As [`carry_out`], on a disk of one's own, and without a lock: nobody else may be at work there.
pub fn carry_out_on(
    disk: &dyn Disk,
    experiment: &Experiment,
    out: &Path,
    threads: usize,
    observer: &dyn Observer,
) -> Result<Outcome, Error> {
    let mut stages = Vec::new();
    let mut clock = Instant::now();
    let mut lap = |name: &str| {
        stages.push((name.to_owned(), clock.elapsed().as_secs_f64()));
        clock = Instant::now();
    };

    observer.stage("log", 1);
    let env = backcast_envs::make(&experiment.task)?;
    let termination = backcast_envs::registry::termination(&experiment.task)
        .ok_or_else(|| Error::Mismatch(format!("`{}` has no known termination", experiment.task)))?;
    let dataset = load(experiment, env.spec())?;
    let own = OwnDatasets::load(experiment, env.spec())?;
    let all = || {
        std::iter::once((&experiment.data, &dataset)).chain(own.datasets.iter().map(|(data, dataset)| (data, dataset)))
    };
    let mut warnings: Vec<&String> = all().flat_map(|(_, dataset)| &dataset.summary.warnings).collect();
    warnings.dedup();
    warnings.into_iter().for_each(|what| observer.warning("data", what));
    dataset::keep(disk, out, all())?;
    observer.finished("log", &format!("{} transitions", dataset.rows().len()));
    lap("log");

    let context = Context { experiment, out, disk, observer, dataset: &dataset, own: &own, termination };
    let seeds: Vec<u64> = experiment.seeds.0.clone().collect();
    let mut directions: Vec<Direction> = Vec::new();
    for method in &experiment.methods {
        let algorithm = experiment.algorithm_of(method).map_err(|e| Error::Mismatch(e.to_string()))?;
        let own = algorithm.needs_model().then_some(Direction::Forward);
        let imagined = method.imagine.direction();
        let checked = imagined.filter(|_| experiment.imagination.agreement.is_some()).map(opposite);
        for direction in [imagined.or(own), checked].into_iter().flatten() {
            if !directions.contains(&direction) {
                directions.push(direction);
            }
        }
    }
    let fits: Vec<(u64, Direction)> = seeds.iter().flat_map(|&s| directions.iter().map(move |&d| (s, d))).collect();
    observer.stage("models", fits.len());
    let models = pool::each(&fits, threads, |&(seed, direction)| models::fit(&context, seed, direction))?;
    lap("models");

    let jobs: Vec<(usize, u64)> =
        (0..experiment.methods.len()).flat_map(|method| seeds.iter().map(move |&seed| (method, seed))).collect();
    // Seed by seed, so that an interrupted run has whole comparisons.
    let mut order = jobs.clone();
    order.sort_by_key(|&(method, seed)| (seed, method));
    observer.stage("learners", jobs.len());
    let mut learners = pool::each(&order, threads, |&(method, seed)| learn::learn(&context, method, seed))?;
    learners.sort_by_key(|l| {
        jobs.iter().position(|&(method, seed)| (experiment.methods[method].name.as_str(), seed) == (&l.method, l.seed))
    });
    lap("learners");

    let robustness = robustness::measure(&context, &jobs, threads)?;
    if experiment.robustness.is_some() {
        lap("robustness");
    }

    let measured = pool::each(&fits, threads, |&(seed, direction)| free_space::measure(&context, seed, direction))?;
    let mut chains = Chains::default();
    for &direction in &directions {
        let paths = models::paths(&context, seeds[0], direction)?;
        match direction {
            Direction::Reverse => chains.reverse = paths,
            _ => chains.forward = paths,
        }
    }
    lap("figures");
    let free_space = measured.into_iter().flatten().collect();
    Ok(Outcome { data: dataset.summary, models, learners, robustness, chains, free_space, stages })
}

/// The weights of the dataset's trajectories, where real rows and starts are drawn by them.
pub(crate) fn priorities(context: &Context<'_>, dataset: &Loaded) -> Result<Option<Priorities>, Error> {
    let weighted = context.experiment.imagination.starts == Starts::ReturnPrioritised;
    let priorities = weighted.then(|| dataset.episodic.priorities(1.0, false)).transpose();
    priorities.map_err(|source| Error::Config { section: "imagination", source })
}

/// The rollout loop as `config` has it, with the model of the other direction if that is to be asked.
fn generator(
    context: &Context<'_>,
    seed: u64,
    config: &backcast_algos::romi::Config,
    model: &mut Ensemble,
) -> Result<Generator, Error> {
    let other = match config.agreement {
        Some(_) => Some(Box::new(models::load(context, seed, opposite(model.direction()))?) as _),
        None => None,
    };
    config
        .imaginer(model, &context.dataset.model_data, other, context.termination)
        .map_err(|source| Error::Config { section: "imagination", source })
}

/// The direction of a model that can check one of `direction`.
fn opposite(direction: Direction) -> Direction {
    if direction == Direction::Forward { Direction::Reverse } else { Direction::Forward }
}

/// What a method imagines from the dataset, for the `generation`-th time, from 0.
pub(crate) fn imagined(
    context: &Context<'_>,
    seed: u64,
    imagine: Imagine,
    generation: u64,
    job: &str,
) -> Result<Option<Transitions>, Error> {
    let Some(direction) = imagine.direction() else { return Ok(None) };
    let config = &context.experiment.imagination;
    let mut model = models::load(context, seed, direction)?;
    let spec = context.dataset.episodic.transitions().spec();
    let mut key = context.key(seed).name("imagination").name(direction.name());
    if generation > 0 {
        key = key.name("generation").fold(generation);
    }
    let mut policy = models::rollout_policy(context, seed, direction)?;
    let dataset = context.dataset.episodic.transitions();
    let priorities = priorities(context, context.dataset)?;
    let prioritised = priorities.as_ref().map(|p| p.over(dataset));
    let goals = (config.starts == Starts::Goal)
        .then(|| RowsWhere::new(dataset, |dataset, row| dataset.row(Column::Reward, row)[0] > config.goal_reward));
    let starts: &dyn Source = match (&prioritised, &goals) {
        (Some(starts), _) => starts,
        (_, Some(goals)) if goals.is_empty() => {
            let why = format!("is {}; no transition of the dataset has a reward above it", config.goal_reward);
            let source = backcast_core::ConfigError { field: "goal_reward", why };
            return Err(Error::Config { section: "imagination", source });
        }
        (_, Some(goals)) => goals,
        _ => dataset,
    };
    let mut watch = |rows: usize| {
        context.observer.progress(job, rows as u64, config.rows as u64, "imagining");
        !context.observer.stop()
    };
    let mut imaginer = generator(context, seed, config, &mut model)?;
    let buffer = config.imagine(&mut imaginer, &mut model, starts, policy.as_mut(), key, &mut watch);
    if context.observer.stop() {
        return Err(Error::Interrupted);
    }
    if buffer.is_empty() {
        let outlier = far_outside::in_dataset(&context.experiment.data).unwrap_or_default();
        return Err(Error::Mismatch(format!("{job}: the model imagined nothing; look at its fit{outlier}")));
    }
    debug_assert_eq!(buffer.spec(), spec);
    debug_assert!(buffer.values(Column::Reward).iter().all(|r| r.is_finite()));
    Ok(Some(buffer))
}
