//! Choosing among trained policies by the dataset alone: fitted Q evaluation of every algorithm that runs have left behind, beside
//! what each really earned.
//!
//! A policy is asked once for its action in every recorded state that was entered; the evaluator then learns from those
//! answers alone, so that all policies of a task are judged by the same net, the same rows in the same order, and the same
//! number of steps. Each judgement is kept in its algorithm's folder and taken again as long as the policy, the dataset and the
//! settings are what they were.

use super::trained::{experiment_of, learner_folder, trained};
use super::{DataSummary, LearnResult, Loaded, Observer, data, dataset, files, pool};
use crate::{Agent, DataConfig, Error, Experiment};
use backcast_algos::fqe;
use backcast_core::{COUNT, Fingerprint, Key, Policy, Real, Source, Spec, Transitions, fingerprint, hyperparameters};
use backcast_data::{Normaliser, Scale};
use backcast_stats::{kendall, regret_at, spearman};
use backcast_storage::Local;
use ndarray::{Array2, ArrayView2, ArrayViewMut2, Axis, Slice};
use serde::{Deserialize, Serialize};
use std::{
    path::{Path, PathBuf},
    time::Instant,
};

hyperparameters! {
    /// How policies are judged. The defaults are a short fit: a target that moves by 2 % passes a reward on some sixty times in 3000 updates: as far as γ = 0.97 sees.
    pub struct SelectionConfig {
        /// The evaluator. Whether it samples is not asked: each policy is judged as it is evaluated.
        fqe: fqe::Config = fqe::Config { gamma: 0.97, tau: 0.02, critic_lr: 1e-3, hidden: vec![64, 64], ..fqe::Config::default() };
        /// Its updates.
        updates: u64 = 3_000, COUNT.unit("updates");
        /// Rows of a batch.
        batch: usize = 256, COUNT.unit("rows");
        /// The root of everything random.
        seed: u64 = 0;
    }
}

/// One policy: what is believed of it, and what it earned.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct OpeEstimate {
    /// The run's folder, as it was given.
    pub run: PathBuf,
    /// The method.
    pub method: String,
    /// The seed.
    pub seed: u64,
    /// The updates it was trained for.
    pub trained: u64,
    /// The score of its last policy, by trying it.
    pub score: f64,
    /// V̂: the mean over critics of the discounted return expected from the dataset's first states, in the rewards learnt from.
    pub estimate: f64,
    /// The standard deviation over critics.
    pub spread: f64,
    /// The mean squared difference, per action dimension, of its actions from the dataset's in the states of the dataset.
    pub distance: f64,
    /// What the algorithm's own critics said of its batches at the end, if it has critics.
    pub own_value: Option<f64>,
    /// Seconds of the fit.
    pub seconds: f64,
}

/// How well one rule orders policies.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Rule {
    /// What is ordered by.
    pub name: String,
    /// Policies that it has an opinion on.
    pub policies: usize,
    /// Spearman's rank correlation with the score.
    pub spearman: Option<f64>,
    /// Kendall's τ-b with the score.
    pub kendall: Option<f64>,
    /// What choosing by it costs, in points of the score: (k, regret@k).
    pub regret: Vec<(usize, f64)>,
    /// The score of what it puts first.
    pub chosen: f64,
}

/// Every judgement of some runs.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Selection {
    /// The task.
    pub task: String,
    /// The dataset that policies were judged by.
    pub data: DataSummary,
    /// How.
    pub config: SelectionConfig,
    /// One per policy, best estimate first.
    pub policies: Vec<OpeEstimate>,
}

/// The k of regret@k.
const BEST: [usize; 3] = [1, 3, 5];

impl Selection {
    /// How well the estimate, and rules that cost nothing, order those policies that `of` picks.
    ///
    /// Where some policies have no critics, the estimate has a second line for those that have: what it is to be compared
    /// with the algorithms' own values by.
    pub fn rules(&self, of: impl Fn(&OpeEstimate) -> bool) -> Vec<Rule> {
        let all: Vec<&OpeEstimate> = self.policies.iter().filter(|p| of(p)).collect();
        let with_critics: Vec<&OpeEstimate> = all.iter().copied().filter(|p| p.own_value.is_some()).collect();
        let mut rules = vec![rule("FQE", &all, |p| p.estimate), rule("nearness to the dataset", &all, |p| -p.distance)];
        if !with_critics.is_empty() {
            if with_critics.len() < all.len() {
                rules.push(rule("FQE, where there are critics", &with_critics, |p| p.estimate));
            }
            rules.push(rule("the algorithm's own value", &with_critics, |p| p.own_value.unwrap_or(f64::NAN)));
        }
        rules
    }
}

fn rule(name: &str, policies: &[&OpeEstimate], by: impl Fn(&OpeEstimate) -> f64) -> Rule {
    let truth: Vec<f64> = policies.iter().map(|p| p.score).collect();
    let opinion: Vec<f64> = policies.iter().map(|p| by(p)).collect();
    let best = truth.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let regret = |k| regret_at(k, &opinion, &truth);
    Rule {
        name: name.to_owned(),
        policies: policies.len(),
        spearman: spearman(&opinion, &truth),
        kendall: kendall(&opinion, &truth),
        regret: BEST.iter().filter(|&&k| k <= policies.len()).map(|&k| (k, regret(k))).collect(),
        chosen: if policies.is_empty() { f64::NAN } else { best - regret(1) },
    }
}

/// An algorithm that a run has left behind.
struct Candidate {
    run: PathBuf,
    folder: PathBuf,
    experiment: usize,
    method: usize,
    result: LearnResult,
}

/// What is written into an algorithm's folder, one for each way it was judged: the judgement and all it depends on.
#[derive(Serialize, Deserialize)]
struct Kept {
    /// Of the policy's checkpoint.
    fingerprint: Fingerprint,
    data: DataConfig,
    /// Of the dataset.
    #[serde(default)]
    dataset: String,
    config: SelectionConfig,
    ope: OpeEstimate,
}

/// The name of that file.
const KEPT: &str = "fqe.json";

/// Judges every algorithm that is finished in `runs`, folders of [`carry_out`](super::carry_out), by one dataset: `dataset` if given, else
/// that of the first run. At most `threads` fits at a time; interrupted, it is continued by asking again.
///
/// # Errors
/// If a folder is not of a run, runs are of different tasks, none has a finished algorithm, or a file cannot be read.
pub fn select(
    runs: &[PathBuf],
    dataset: Option<&Path>,
    config: &SelectionConfig,
    threads: usize,
    observer: &dyn Observer,
) -> Result<Selection, Error> {
    let file = |path: &Path| ("file".to_owned(), path.display().to_string().into());
    select_by(runs, &dataset.map(file).into_iter().collect(), config, threads, observer)
}

/// As [`select`], by the dataset of the first run where `data` has no other keys.
pub fn select_by(
    runs: &[PathBuf],
    data: &toml::Table,
    config: &SelectionConfig,
    threads: usize,
    observer: &dyn Observer,
) -> Result<Selection, Error> {
    config.check().map_err(|source| Error::Config { section: "selection", source })?;
    let field = Field::of(runs, data, observer)?;
    let Field { candidates, experiments, loaded, source } = &field;
    observer.stage("policies", candidates.len());
    let judge =
        |candidate: &Candidate| judge(candidate, &experiments[candidate.experiment], loaded, source, config, observer);
    let mut policies = pool::each(candidates, threads, judge)?;
    policies.sort_by(|a, b| b.estimate.total_cmp(&a.estimate));
    let (task, data) = (experiments[0].task.clone(), loaded.summary.clone());
    Ok(Selection { task, data, config: config.clone(), policies })
}

/// How far a policy's actions are from those of a dataset.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Distance {
    /// The run's folder, as it was given.
    pub run: PathBuf,
    /// The method.
    pub method: String,
    /// The seed.
    pub seed: u64,
    /// The mean squared difference of actions, per dimension, over all transitions of the dataset.
    pub distance: f64,
}

/// The distances of every policy that is finished in `runs` from a dataset: that of the first run where `data` has no other keys. On
/// rows that none of them learnt from, it is the loss of cloning.
pub fn distances(
    runs: &[PathBuf],
    data: &toml::Table,
    threads: usize,
    observer: &dyn Observer,
) -> Result<Vec<Distance>, Error> {
    let field = Field::of(runs, data, observer)?;
    observer.stage("policies", field.candidates.len());
    pool::each(&field.candidates, threads, |candidate| {
        let experiment = &field.experiments[candidate.experiment];
        let method = &experiment.methods[candidate.method];
        let mut agent = trained(&candidate.run, experiment, method, candidate.result.seed)?;
        let batch = field.loaded.episodic.transitions().batch();
        let here = ask(&mut agent.as_evaluated(), batch.obs, Key::new(0).name("distance"));
        let square = here.iter().zip(batch.act).map(|(a, b)| (a - b).powi(2) as f64).sum::<f64>();
        let distance = square / here.len().max(1) as f64;
        Ok(Distance { run: candidate.run.clone(), method: method.name.clone(), seed: candidate.result.seed, distance })
    })
}

/// Policies to be judged, and the dataset that judges them.
struct Field {
    candidates: Vec<Candidate>,
    experiments: Vec<Experiment>,
    loaded: Loaded,
    source: DataConfig,
}

impl Field {
    fn of(runs: &[PathBuf], data: &toml::Table, observer: &dyn Observer) -> Result<Self, Error> {
        let experiments = runs.iter().map(|run| experiment_of(run)).collect::<Result<Vec<_>, _>>()?;
        let Some(first) = experiments.first() else { return Err(Error::Mismatch("no run is given".into())) };
        if let Some(i) = experiments.iter().position(|e| e.task != first.task) {
            let why = format!("{}: its task is `{}`, not `{}`", runs[i].display(), experiments[i].task, first.task);
            return Err(Error::Mismatch(why));
        }
        let mut candidates = Vec::new();
        for (i, (run, experiment)) in runs.iter().zip(&experiments).enumerate() {
            candidates.extend(candidates_of(run, experiment, i)?);
        }
        if candidates.is_empty() {
            return Err(Error::Mismatch(format!("{}: no algorithm has come to its end yet", runs[0].display())));
        }

        observer.stage("log", 1);
        let spec = backcast_envs::make(&first.task)?.spec();
        let mut source = first.data.clone();
        // Policies are judged by the whole dataset, whatever part of it they saw.
        source.best_episodes = None;
        if !data.is_empty() {
            let mut table = toml::Table::try_from(&source).expect("plain values");
            table.extend(data.clone());
            source =
                table.try_into().map_err(|e: toml::de::Error| Error::Mismatch(format!("data: {}", e.message())))?;
        }
        let loaded = data::load_as(&source, &first.task, spec, false)?;
        for run in runs {
            dataset::is_of_run(run, &source, &loaded)?;
        }
        observer.finished("log", &format!("{} transitions", loaded.episodic.transitions().len()));

        Ok(Self { candidates, experiments, loaded, source })
    }
}

/// The algorithms of `run` that have come to their end.
fn candidates_of(run: &Path, experiment: &Experiment, place: usize) -> Result<Vec<Candidate>, Error> {
    let mut found = Vec::new();
    for (i, method) in experiment.methods.iter().enumerate() {
        for seed in experiment.seeds.0.clone() {
            let folder = learner_folder(run, method, seed);
            if let Some(result) = files::read::<LearnResult>(&Local, &folder.join("result.json"))? {
                found.push(Candidate { run: run.into(), folder, experiment: place, method: i, result });
            }
        }
    }
    Ok(found)
}

fn judge(
    candidate: &Candidate,
    experiment: &Experiment,
    dataset: &Loaded,
    source: &DataConfig,
    config: &SelectionConfig,
    observer: &dyn Observer,
) -> Result<OpeEstimate, Error> {
    let (method, result) = (&experiment.methods[candidate.method], &candidate.result);
    let updates = experiment.training.updates;
    let job = format!("{}, seed {}, {updates} updates", method.name, result.seed);
    let mut agent = trained(&candidate.run, experiment, method, result.seed)?;
    let own = fingerprint(&mut agent);

    let path = candidate.folder.join(KEPT);
    let mut kept = files::read::<Vec<Kept>>(&Local, &path)?.unwrap_or_default();
    kept.retain(|k| k.fingerprint == own);
    if let Some(old) =
        kept.iter().find(|k| (&k.data, &k.dataset, &k.config) == (source, &dataset.summary.fingerprint, config))
    {
        observer.finished(&job, "kept");
        return Ok(OpeEstimate { run: candidate.run.clone(), ..old.ope.clone() });
    }

    let clock = Instant::now();
    let key = Key::new(config.seed).name("selection");
    let answers = Answers::of(&mut agent, dataset, key.name("answers"));
    let (estimate, spread) = evaluate(&answers, config, key, &job, observer)?;
    let last = result.curve.last();
    let own_value = last.and_then(|point| point.metrics.iter().find(|(name, _)| name == "q")).map(|(_, q)| *q);
    let ope = OpeEstimate {
        run: candidate.run.clone(),
        method: method.name.clone(),
        seed: result.seed,
        trained: updates,
        score: result.score,
        estimate,
        spread,
        distance: answers.distance,
        own_value,
        seconds: clock.elapsed().as_secs_f64(),
    };
    let of_dataset = dataset.summary.fingerprint.clone();
    kept.push(Kept {
        fingerprint: own,
        data: source.clone(),
        dataset: of_dataset,
        config: config.clone(),
        ope: ope.clone(),
    });
    files::write(&Local, &path, &crate::json::to_string_pretty(&kept).expect("plain values"))?;
    observer.finished(&job, &format!("{estimate:.3} ± {spread:.3}"));
    Ok(ope)
}

/// What a policy answers to a dataset, and the dataset as the evaluator sees it.
struct Answers {
    /// Observations standardised; next actions are the policy's, not the dataset's.
    rows: Transitions,
    /// First states, standardised, `[episodes, obs]`.
    initial: Array2<Real>,
    /// The policy's actions there, `[episodes, act]`.
    at_initial: Array2<Real>,
    distance: f64,
}

impl Answers {
    fn of(agent: &mut Agent, dataset: &Loaded, key: Key) -> Self {
        let (batch, raw) = (dataset.episodic.transitions().batch(), dataset.episodic.initial());
        let spec = batch.spec;
        let mut policy = agent.as_evaluated();
        let here = ask(&mut policy, batch.obs, key.name("here"));
        let next = ask(&mut policy, batch.next_obs, key.name("next"));
        let at_initial = ask(&mut policy, raw, key.name("initial"));
        let square = here.iter().zip(batch.act).map(|(a, b)| (a - b).powi(2) as f64).sum::<f64>();

        let mut rows = Transitions::new(spec).with_next_actions(true);
        rows.reserve(batch.len());
        for i in 0..batch.len() {
            let [obs, act, next_obs] = [batch.obs, batch.act, batch.next_obs].map(|of| dense(of, i));
            let (reward, terminal) = (batch.reward[[i, 0]], batch.terminal[[i, 0]] > 0.0);
            rows.push_followed(obs, act, reward, next_obs, terminal, dense(next.view(), i));
        }
        let normaliser = Normaliser::fit(batch.obs, Scale::Plus(1e-3));
        normaliser.apply_to_transitions(&mut rows);
        let mut initial = raw.to_owned();
        normaliser.apply(initial.view_mut());
        Self { rows, initial, at_initial, distance: square / here.len().max(1) as f64 }
    }
}

/// Row `i` of what lies row after row.
fn dense(of: ArrayView2<'_, Real>, i: usize) -> &[Real] {
    of.index_axis_move(Axis(0), i).to_slice().expect("rows are dense")
}

/// Rows that a policy is asked at a time.
const ROWS_AT_ONCE: usize = 1024;

/// The actions of `policy` in every row of `obs`, `[rows, obs]`.
fn ask(policy: &mut dyn Policy, obs: ArrayView2<'_, Real>, key: Key) -> Array2<Real> {
    let mut act = Array2::zeros((obs.nrows(), policy.spec().act));
    for (i, mut act) in act.axis_chunks_iter_mut(Axis(0), ROWS_AT_ONCE).enumerate() {
        let first = i * ROWS_AT_ONCE;
        let obs = obs.slice_axis(Axis(0), Slice::from(first..first + act.nrows()));
        policy.act(obs, Some(key.fold(i as u64)), act.view_mut());
    }
    act
}

/// V̂ and its deviation over critics.
fn evaluate(
    answers: &Answers,
    config: &SelectionConfig,
    key: Key,
    job: &str,
    observer: &dyn Observer,
) -> Result<(f64, f64), Error> {
    let spec = answers.rows.spec();
    let unsound = |source| Error::Config { section: "fqe", source };
    let mut fqe = config.fqe.build(spec, key.name("init")).map_err(unsound)?;
    let mut staging = Transitions::new(spec).with_next_actions(true);
    staging.reserve(config.batch);
    for update in 0..config.updates {
        if update.is_multiple_of(64) && observer.stop() {
            return Err(Error::Interrupted);
        }
        let step = key.name("update").fold(update);
        answers.rows.sample(step.name("rows"), config.batch, &mut staging);
        let batch = staging.batch();
        let answered = batch.next_act.expect("these rows keep next actions");
        fqe.update(batch, &mut Answered(spec, answered), step);
        if update.is_multiple_of(256) {
            observer.progress(job, update, config.updates, "");
        }
    }
    let values = fqe.values(answers.initial.view(), &mut Answered(spec, answers.at_initial.view()), key);
    let n = values.len() as f64;
    let mean = values.iter().sum::<f64>() / n;
    let spread = (values.iter().map(|v| (v - mean).powi(2)).sum::<f64>() / n).sqrt();
    if !mean.is_finite() {
        let hint = "lower the evaluator's learning rate, or look at the dataset's rewards".to_owned();
        let (job, tensor) = (job.to_owned(), "estimate".to_owned());
        return Err(Error::NotFinite { job, tensor, index: 0, update: config.updates, hint });
    }
    Ok((mean, spread))
}

/// A policy that has answered before, row for row.
struct Answered<'a>(Spec, ArrayView2<'a, Real>);

impl Policy for Answered<'_> {
    fn spec(&self) -> Spec {
        self.0
    }

    fn act(&mut self, _: ArrayView2<'_, Real>, _: Option<Key>, mut act: ArrayViewMut2<'_, Real>) {
        act.assign(&self.1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::run::Silent;

    /// A reward is the action, states come at random: a policy that always answers a is worth a/(1−γ). The dataset's own actions
    /// are worth nothing on average.
    #[test]
    fn an_answer_is_worth_what_it_earns_and_not_what_the_dataset_did() {
        let spec = Spec::new(1, 1);
        let key = Key::new(1);
        let of = |next: Real, first: Real| {
            let mut rows = Transitions::new(spec).with_next_actions(true);
            let unit = |i: u64| key.fold(i).unit() * 2.0 - 1.0;
            for i in 0..500 {
                rows.push_followed(&[unit(i)], &[unit(i + 500)], unit(i + 500), &[unit(i + 1)], false, &[next]);
            }
            let initial = Array2::from_shape_fn((64, 1), |(i, _)| unit(i as u64));
            let at_initial = Array2::from_elem((64, 1), first);
            let fqe = fqe::Config { gamma: 0.5, hidden: vec![32, 32], ..SelectionConfig::default().fqe };
            let config = SelectionConfig { fqe, updates: 1500, batch: 128, seed: 2 };
            let answers = Answers { rows, initial, at_initial, distance: 0.0 };
            evaluate(&answers, &config, Key::new(2), "chain", &Silent).expect("finite").0
        };
        for (next, first, want) in [(0.8, 0.8, 1.6), (-0.8, -0.8, -1.6), (0.8, -0.8, 0.0), (0.0, 0.0, 0.0)] {
            let got = of(next, first);
            assert!((got - want).abs() < 0.15, "answering {first}, then {next}: {got} is not {want}");
        }
    }

    #[test]
    fn rules_know_their_policies_and_the_regret_of_their_choice() {
        let policy = |score, estimate, distance, own_value| OpeEstimate {
            run: PathBuf::new(),
            method: String::new(),
            seed: 0,
            trained: 1,
            score,
            estimate,
            spread: 0.0,
            distance,
            own_value,
            seconds: 0.0,
        };
        let data = DataSummary {
            source: String::new(),
            rows: 0,
            transitions: 0,
            episodes: 0,
            mean_return: 0.0,
            fingerprint: String::new(),
            warnings: vec![],
        };
        let policies = vec![
            policy(10.0, 3.0, 0.5, Some(9.0)),
            policy(30.0, 2.0, 0.1, None),
            policy(20.0, 1.0, 0.2, Some(1.0)),
            policy(0.0, 0.0, 0.9, Some(20.0)),
        ];
        let mut selection = Selection { task: "dmsd".into(), data, config: SelectionConfig::default(), policies };
        let rules = selection.rules(|_| true);
        let names: Vec<(&str, usize)> = rules.iter().map(|r| (r.name.as_str(), r.policies)).collect();
        let expected = [
            ("FQE", 4),
            ("nearness to the dataset", 4),
            ("FQE, where there are critics", 3),
            ("the algorithm's own value", 3),
        ];
        assert_eq!(names, expected);
        // Ranks 3 2 1 0 beside 1 3 2 0: 1 − 6·6/60.
        assert!((rules[0].spearman.unwrap() - 0.4).abs() < 1e-12, "{:?}", rules[0]);
        assert_eq!((rules[0].chosen, &rules[0].regret), (10.0, &vec![(1, 20.0), (3, 0.0)]));
        assert_eq!(rules[1].spearman, Some(1.0));
        assert_eq!((rules[3].chosen, rules[3].spearman), (0.0, Some(-1.0)));
        // Where all have critics, the estimate stands once.
        selection.policies.retain(|p| p.own_value.is_some());
        assert_eq!(selection.rules(|_| true).len(), 3);
        assert_eq!(selection.rules(|p| p.score > 100.0)[0].spearman, None);
    }
}
