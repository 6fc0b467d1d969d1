use super::{Context, files};
use crate::Error;
use backcast_algos::model_based::generator::uniform;
use backcast_algos::romi::ReversePolicy;
use backcast_core::{
    Column, DatasetStats, Direction, Dynamics, Key, Policy, Problem, Real, State, Transitions, WorldModel,
};
use backcast_dynamics::{ActionVae, ActionVaeConfig, Condition, Ensemble, Fit, GaussianBc, GaussianBcConfig};
use backcast_imagination::{HorizonConfig, Trace, model_error};
use backcast_storage::{load_from, save_on};
use serde::{Deserialize, Serialize};
use std::{collections::BTreeMap, path::PathBuf, time::Instant};

/// How one model came out.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ModelResult {
    /// The seed.
    pub seed: u64,
    /// What it predicts.
    pub direction: Direction,
    /// Epochs fitted.
    pub epochs: usize,
    /// Mean squared error of the means on held-out rows, per member.
    pub holdout_mse: Vec<Real>,
    /// The members imagination draws from.
    pub elites: Vec<usize>,
    /// For each output, the fractions of held-out residuals within one and two predicted deviations.
    pub calibration: Vec<[Real; 2]>,
    /// Seconds spent fitting.
    pub seconds: f64,
    /// Root mean squared error of one predicted state, per dimension, on the held-out rows: mean of the best elite.
    pub one_step_rmse: f64,
    /// The same for predicting that nothing changes.
    pub copy_rmse: f64,
    /// The share of the reward's variance on the held-out rows that the mean of the best elite leaves; none where all rewards are
    /// alike, and in results of earlier builds.
    #[serde(default)]
    pub reward_unexplained: Option<f64>,
    /// Error by length of imagination.
    pub horizon: Vec<HorizonPoint>,
}

/// Quartiles of ‖ŝ − s‖ after some imagined steps, and the median for copying the first state.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct HorizonPoint {
    /// Steps.
    pub steps: usize,
    /// First quartile.
    pub q25: f64,
    /// Median.
    pub median: f64,
    /// Third quartile.
    pub q75: f64,
    /// Median error of copying.
    pub copy: f64,
}

fn path(context: &Context<'_>, seed: u64, direction: Direction, ending: &str) -> PathBuf {
    context.out.join("models").join(format!("seed-{seed}-{}.{ending}", direction.name()))
}

fn blank(context: &Context<'_>, seed: u64, direction: Direction) -> Result<Ensemble, Error> {
    let key = context.key(seed).name("model").name(direction.name());
    Ensemble::new(context.experiment.model.clone(), context.dataset.model_data.spec(), direction, key.name("init"))
        .map_err(|source| Error::Config { section: "model", source })
}

/// A fitted model from its file.
pub(crate) fn load(context: &Context<'_>, seed: u64, direction: Direction) -> Result<Ensemble, Error> {
    let mut model = blank(context, seed, direction)?;
    load_from(context.disk, &mut model, &path(context, seed, direction, "safetensors"))?;
    Ok(model)
}

/// The model with what a method that learns in it may ask of the dataset.
pub(crate) fn problem(context: &Context<'_>, seed: u64) -> Result<Problem, Error> {
    let (dataset, direction) = (context.dataset, Direction::Forward);
    let model = load(context, seed, direction)?;
    let key = context.key(seed).name("model").name(direction.name()).name("fit");
    let mut initial = Transitions::new(model.spec());
    let (obs, act) = (vec![0.0; model.spec().obs], vec![0.0; model.spec().act]);
    for first in dataset.episodic.initial().rows() {
        initial.push(first.as_slice().expect("dense"), &act, 0.0, &obs, false);
    }
    let rewards = dataset.model_data.values(Column::Reward);
    let n = rewards.len().max(1) as f64;
    let mean = rewards.iter().map(|&r| r as f64).sum::<f64>() / n;
    let var = rewards.iter().map(|&r| (r as f64 - mean).powi(2)).sum::<f64>() / n;
    let dataset_stats = DatasetStats {
        holdout: Some(model.holdout(&dataset.model_data, key)),
        initial: Some(initial),
        least_reward: rewards.iter().copied().reduce(Real::min),
        greatest_reward: rewards.iter().copied().reduce(Real::max),
        reward_std: Some(var.sqrt() as Real),
    };
    let problem = Problem::new(model.spec()).with_stats(dataset_stats);
    Ok(problem.with_model(WorldModel::new(model, context.termination)))
}

/// Fits a model, from its last saved epoch on; a model that is already there is taken as it is.
pub(crate) fn fit(context: &Context<'_>, seed: u64, direction: Direction) -> Result<ModelResult, Error> {
    let job = format!("{} model, seed {seed}", direction.name());
    let folder = context.out.join("models");
    files::create_folder(context.disk, &folder)?;
    fit_policy(context, seed, direction)?;
    let result_path = path(context, seed, direction, "json");
    if let Some(result) = files::read(context.disk, &result_path)? {
        context.observer.finished(&job, "kept");
        return Ok(result);
    }
    let partial = path(context, seed, direction, "partial");
    let key = context.key(seed).name("model").name(direction.name());
    let mut model = blank(context, seed, direction)?;
    let mut fit = Fit::new(&mut model, &context.dataset.model_data, key.name("fit"))?;
    let mut before = 0.0;
    if let Some(notes) = files::restore(context.disk, &mut fit, &partial)? {
        before = notes.get("seconds").and_then(|s| s.parse().ok()).unwrap_or(0.0);
    }
    let clock = Instant::now();
    let seconds = || before + clock.elapsed().as_secs_f64();
    let cap = context.experiment.model.max_epochs.unwrap_or(100) as u64;
    while fit.done().is_none() {
        if context.observer.stop() {
            return Err(Error::Interrupted);
        }
        let progress = fit.epoch();
        let best = progress.holdout_mse.iter().copied().fold(Real::INFINITY, Real::min);
        context.observer.progress(&job, progress.epoch as u64, cap, &format!("held-out MSE {best:.2e}"));
        save_on(context.disk, &mut fit, &BTreeMap::from([("seconds".into(), seconds().to_string())]), &partial)?;
    }
    let holdout = fit.holdout().clone();
    let report = fit.finish();
    let seconds = seconds();
    save_on(context.disk, &mut model, &BTreeMap::new(), &path(context, seed, direction, "safetensors"))?;
    let (one_step_rmse, copy_rmse) = one_step(&holdout, &mut model);
    let reward_unexplained = reward_unexplained(&holdout, &mut model);
    if let Some(share) = reward_unexplained.filter(|&share| share > REWARD_UNLEARNT) {
        let percent = 100.0 * share;
        let what = format!("it leaves {percent:.0} % of the reward's variance unexplained; see `model.beta_nll`");
        context.observer.warning(&job, &what);
    }
    let horizon = error_by_horizon(context, &mut model, seed);
    let result = ModelResult {
        seed,
        direction,
        epochs: report.epochs,
        holdout_mse: report.holdout_mse,
        elites: report.elites,
        calibration: report.calibration,
        seconds,
        one_step_rmse,
        copy_rmse,
        reward_unexplained,
        horizon,
    };
    files::write(context.disk, &result_path, &crate::json::to_string_pretty(&result).expect("plain values"))?;
    // The model is safe in its own file now.
    let _ = context.disk.remove(&partial);
    context.observer.finished(&job, &format!("{} epochs", result.epochs));
    Ok(result)
}

/// Root mean squared errors on `rows`, per dimension of the state, of the best elite's mean and of copying the anchor.
fn one_step(rows: &Transitions, model: &mut Ensemble) -> (f64, f64) {
    let split = model.direction().split();
    let best = model.elites()[0];
    let batch = rows.batch();
    let (Some(anchor), Some(&state)) = (split.anchor, split.predicted.get(1)) else { return (f64::NAN, f64::NAN) };
    let (anchor, truth) = (batch.column(anchor), batch.column(state));
    let prediction = model.predict(split.given.map(|c| batch.column(c)));
    let (mut error, mut copy) = (0.0, 0.0);
    for ((row, col), &y) in truth.indexed_iter() {
        error += ((prediction.mean[[best, row, 1 + col]] - y) as f64).powi(2);
        copy += ((anchor[[row, col]] - y) as f64).powi(2);
    }
    let n = truth.len() as f64;
    ((error / n).sqrt(), (copy / n).sqrt())
}

/// A model that leaves more than this share of the reward's variance unexplained has not learnt what is paid.
const REWARD_UNLEARNT: f64 = 0.5;

/// The share of the reward's variance in `rows` that the best elite's mean leaves.
fn reward_unexplained(rows: &Transitions, model: &mut Ensemble) -> Option<f64> {
    let split = model.direction().split();
    let (best, batch) = (model.elites()[0], rows.batch());
    let rewards = batch.column(Column::Reward);
    let n = rewards.len() as f64;
    let mean = rewards.iter().map(|&r| r as f64).sum::<f64>() / n;
    let variance = rewards.iter().map(|&r| (r as f64 - mean).powi(2)).sum::<f64>() / n;
    let p = model.predict(split.given.map(|c| batch.column(c)));
    let residuals = rewards.iter().enumerate().map(|(row, &r)| (p.mean[[best, row, 0]] - r) as f64);
    let error = residuals.map(|e| e.powi(2)).sum::<f64>() / n;
    (variance > 0.0 && split.predicted[0] == Column::Reward).then_some(error / variance)
}

/// Rolls the model along recorded stretches of the dataset.
fn error_by_horizon(context: &Context<'_>, model: &mut Ensemble, seed: u64) -> Vec<HorizonPoint> {
    let (data, horizon) = (&context.dataset.model_data, 25);
    // A stretch goes on as long as one row's next observation is the next row's observation.
    let mut runs: Vec<Vec<usize>> = vec![vec![]];
    for row in 0..data.len() {
        let follows = row > 0 && data.row(Column::NextObs, row - 1) == data.row(Column::Obs, row);
        if !follows || runs.last().is_some_and(|r| r.len() >= 4 * horizon) {
            runs.push(vec![]);
        }
        runs.last_mut().expect("there is a run").push(row);
    }
    let config = HorizonConfig { horizon, ..HorizonConfig::default() };
    model_error(model, data, &runs, config, context.key(seed).name("horizon"))
        .into_iter()
        .map(|p| HorizonPoint {
            steps: p.horizon,
            q25: p.q25 as f64,
            median: p.median as f64,
            q75: p.q75 as f64,
            copy: p.copy_median as f64,
        })
        .collect()
}

/// A policy of imagined chains that is fitted to the dataset.
trait Fitted: Policy + State {
    /// Goes on with the fit; `watch` sees the steps done and says whether to go on.
    fn go_on(&mut self, data: &Transitions, key: Key, watch: &mut dyn FnMut(usize) -> bool);
    /// Steps done, and steps in all.
    fn steps(&self) -> (usize, usize);
}

macro_rules! fitted {
    ($($policy:ty)*) => {$(
        impl Fitted for $policy {
            fn go_on(&mut self, data: &Transitions, key: Key, watch: &mut dyn FnMut(usize) -> bool) {
                self.fit(data, key, &mut |steps, _| watch(steps));
            }

            fn steps(&self) -> (usize, usize) {
                (self.steps(), self.config().steps)
            }
        }
    )*};
}
fitted! { ActionVae GaussianBc }

/// The policy that chooses the actions of imagined chains: π̂(a ∣ s′) backwards, π̂(a ∣ s) forwards.
pub(crate) fn rollout_policy(context: &Context<'_>, seed: u64, direction: Direction) -> Result<Box<dyn Policy>, Error> {
    match blank_policy(context, seed, direction)? {
        None => Ok(Box::new(uniform(context.dataset.episodic.transitions().spec()))),
        Some(mut policy) => {
            load_from(context.disk, policy.as_mut(), &path(context, seed, direction, "policy.safetensors"))?;
            Ok(policy)
        }
    }
}

/// The policy before its fit, or none where actions are uniform.
fn blank_policy(context: &Context<'_>, seed: u64, direction: Direction) -> Result<Option<Box<dyn Fitted>>, Error> {
    let condition = if direction == Direction::Reverse { Condition::NextState } else { Condition::State };
    let key = context.key(seed).name("rollout policy").name(direction.name()).name("init");
    let (experiment, spec) = (context.experiment, context.dataset.episodic.transitions().spec());
    let section = |section| move |source| Error::Config { section, source };
    Ok(match experiment.imagination.policy {
        ReversePolicy::Uniform => None,
        ReversePolicy::Vae => {
            let config = ActionVaeConfig { condition, ..experiment.rollout_vae.clone() };
            Some(Box::new(ActionVae::new(config, spec, key).map_err(section("rollout_vae"))?))
        }
        ReversePolicy::Gaussian => {
            let config = GaussianBcConfig { condition, ..experiment.rollout_gaussian.clone() };
            Some(Box::new(GaussianBc::new(config, spec, key).map_err(section("rollout_gaussian"))?))
        }
    })
}

/// Fits the policy of imagined chains, if it is one that is fitted; what is already there is taken as it is.
fn fit_policy(context: &Context<'_>, seed: u64, direction: Direction) -> Result<(), Error> {
    let (done, partial) =
        (path(context, seed, direction, "policy.safetensors"), path(context, seed, direction, "policy.partial"));
    let Some(mut policy) = blank_policy(context, seed, direction)? else { return Ok(()) };
    if files::restore(context.disk, policy.as_mut(), &done)?.is_some() {
        return Ok(());
    }
    let job = format!("{} policy, seed {seed}", direction.name());
    files::restore(context.disk, policy.as_mut(), &partial)?;
    let key = context.key(seed).name("rollout policy").name(direction.name()).name("fit");
    let (_, total) = policy.steps();
    policy.go_on(context.dataset.episodic.transitions(), key, &mut |steps| {
        if steps % 256 == 0 {
            context.observer.progress(&job, steps as u64, total as u64, "");
        }
        !context.observer.stop()
    });
    let finished = policy.steps().0 >= total;
    save_on(context.disk, policy.as_mut(), &BTreeMap::new(), if finished { &done } else { &partial })?;
    if !finished {
        return Err(Error::Interrupted);
    }
    let _ = context.disk.remove(&partial);
    context.observer.finished(&job, &format!("{total} steps"));
    Ok(())
}

/// A few chains of the rollout loop, long enough to see, as observations in forward time.
pub(crate) fn paths(context: &Context<'_>, seed: u64, direction: Direction) -> Result<Vec<Vec<Vec<Real>>>, Error> {
    let mut model = load(context, seed, direction)?;
    let mut policy = rollout_policy(context, seed, direction)?;
    let config =
        backcast_algos::romi::Config { horizon: 25, starts_per_call: 60, ..context.experiment.imagination.clone() };
    let mut trace = Trace::new(model.spec());
    let key = context.key(seed).name("paths");
    let mut imaginer = super::generator(context, seed, &config, &mut model)?;
    imaginer.imagine(&mut model, context.dataset.episodic.transitions(), policy.as_mut(), key, &mut trace);
    let row = |column, row: usize| trace.transitions.row(column, row).to_vec();
    let chain = |mut rows: Vec<usize>| {
        if direction == Direction::Reverse {
            rows.reverse();
        }
        let last = rows.last().map(|&r| row(Column::NextObs, r));
        rows.iter().map(|&r| row(Column::Obs, r)).chain(last).collect()
    };
    Ok(trace.chains().into_iter().filter(|c| !c.is_empty()).map(chain).collect())
}
