//! Datasets made as D4RL's were: an algorithm learns online, and what it did on the way, or what it does at some point of it, is the dataset.
//!
//! D4RL (Fu et al., arXiv:2004.07219, §4 and appendix) recorded for each MuJoCo task:
//!
//! | dataset | rows |
//! |---|---|
//! | `random` | a policy at its initialisation |
//! | `medium-replay` | everything that happened until the policy was *medium* |
//! | `medium` | the medium policy, drawing its actions |
//! | `medium-expert` | half from the medium policy, half from the expert |
//! | `expert` | the policy at the end |
//! | `full-replay` | everything that happened |
//!
//! *Medium* is about a third of the expert's performance: here, the first evaluation (every 5,000 steps, 10 episodes by the deterministic
//! action) whose mean return is at least a third of the way between the task's reference returns. The algorithm is SAC, two layers of
//! 256, one update a step, batches of 256.
//!
//! Where one run until medium is shorter than what is asked for, the replays of further runs with other seeds follow, each whole, until there
//! are rows enough: a longer run would be a better policy's. D4RL's own has one run (for hopper, of 402,000 rows); runs of this algorithm reach
//! medium sooner.
//!
//! Runs are kept in a folder, so that an interrupted one goes on to the same bits.

use crate::run::{Observer, pool};
use crate::{Error, evaluate};
use backcast_algos::online::{self, Replay};
use backcast_algos::sac;
use backcast_core::{Algorithm, Column, Env, Key, Learner, Policy, Real, Spec, Transitions};
use backcast_data::{Dataset, Row, d4rl};
use backcast_storage::{Local, load, replace, save};
use ndarray::{Array2, ArrayView2, ArrayViewMut2};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// Whose doings a dataset holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Quality {
    /// A policy at its initialisation.
    Random,
    /// The medium policy.
    Medium,
    /// Everything until the policy was medium.
    MediumReplay,
    /// Half medium, half expert.
    MediumExpert,
    /// The policy at the end.
    Expert,
    /// Everything.
    FullReplay,
}

impl Quality {
    /// Every quality, with D4RL's word for it.
    pub const ALL: [(&'static str, Self); 6] = [
        ("random", Self::Random),
        ("medium-replay", Self::MediumReplay),
        ("medium-expert", Self::MediumExpert),
        ("full-replay", Self::FullReplay),
        ("medium", Self::Medium),
        ("expert", Self::Expert),
    ];
}

/// What is to be generated, and how.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Recipe {
    /// The environment, such as `hopper-v4`.
    pub environment: String,
    /// The return at which a policy is medium.
    pub medium: f64,
    /// Steps after which a run ends, and its policy is the expert.
    pub steps: usize,
    /// The first run's seed; further ones follow.
    pub seed: u64,
    /// Steps between evaluations.
    pub eval_every: usize,
    /// Episodes of an evaluation.
    pub eval_episodes: usize,
    /// The loop.
    pub online: online::Config,
    /// The algorithm.
    pub sac: sac::Config,
}

impl Default for Recipe {
    fn default() -> Self {
        Self {
            environment: String::new(),
            medium: f64::INFINITY,
            steps: 1_000_000,
            seed: 0,
            eval_every: 5000,
            eval_episodes: 10,
            online: online::Config::default(),
            sac: sac::Config::default(),
        }
    }
}

impl Recipe {
    /// The recipe and the quality that a dataset's name asks for, such as `hopper-medium-replay` or `walker2d-expert-v2`; none if the
    /// name is no dataset's, or no return is known to measure medium by.
    ///
    /// ```
    /// use backcast::online::{Quality, Recipe};
    /// let (recipe, quality) = Recipe::named("hopper-medium-replay-v2").unwrap();
    /// assert_eq!((recipe.environment.as_str(), quality), ("hopper-v2", Quality::MediumReplay));
    /// assert!((recipe.medium - 1064.6).abs() < 0.1);
    /// ```
    pub fn named(name: &str) -> Option<(Self, Quality)> {
        let lower = name.to_ascii_lowercase();
        let (_, quality) = Quality::ALL.into_iter().find(|(word, _)| lower.contains(&format!("-{word}")))?;
        let environment =
            backcast_envs::mujoco::canonical(name).or_else(|| backcast_envs::registry::canonical(name))?;
        let reference = backcast_envs::reference_scores(environment)?;
        let medium = reference.undiscounted_return(100.0 / 3.0);
        Some((Self { environment: environment.to_owned(), medium, ..Self::default() }, quality))
    }

    fn key(&self, seed: u64) -> Key {
        Key::new(seed).name("online").name(&self.environment)
    }

    fn blank(&self, spec: Spec, seed: u64) -> Result<sac::Sac, Error> {
        let built = self.sac.build(spec, self.key(seed).name("learner"));
        built.map_err(|source| Error::Config { section: "sac", source })
    }
}

/// A trained policy with its way of being evaluated, by the deterministic action.
pub struct Saved(sac::Sac);

const RECIPE: &str = "recipe.toml";
const LEARNER: &str = "learner.safetensors";

impl Saved {
    /// The policy that was saved in `folder`.
    ///
    /// # Errors
    /// If a file is missing, damaged or of another algorithm.
    pub fn load(folder: &Path) -> Result<Self, Error> {
        let path = folder.join(RECIPE);
        let text = std::fs::read_to_string(&path).map_err(|source| Error::Io { path: path.clone(), source })?;
        let recipe: Recipe = toml::from_str(&text).map_err(|e| Error::Format { path, why: e.to_string() })?;
        let mut learner = recipe.blank(backcast_envs::make(&recipe.environment)?.spec(), recipe.seed)?;
        load(&mut learner, &folder.join(LEARNER))?;
        Ok(Self(learner))
    }

    fn save(recipe: &Recipe, learner: &mut sac::Sac, folder: &Path) -> Result<(), Error> {
        let io = |path: PathBuf| move |source| Error::Io { path, source };
        std::fs::create_dir_all(folder).map_err(io(folder.into()))?;
        save(learner, &BTreeMap::new(), &folder.join(LEARNER))?;
        let text = toml::to_string(recipe).expect("plain values");
        replace(&Local, &folder.join(RECIPE), text.as_bytes()).map_err(io(folder.join(RECIPE)))
    }
}

impl Policy for Saved {
    fn spec(&self) -> Spec {
        self.0.spec()
    }

    fn act(&mut self, obs: ArrayView2<'_, Real>, _: Option<Key>, act: ArrayViewMut2<'_, Real>) {
        self.0.act(obs, None, act);
    }
}

/// How far one run came.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
struct Progress {
    /// The row after the last of each episode.
    ends: Vec<usize>,
    /// Steps and mean return of each evaluation.
    curve: Vec<(usize, f64)>,
    /// Rows when it was medium.
    medium: Option<usize>,
    /// Whether there is nothing left to do.
    done: bool,
}

/// One run's files and what is in them.
struct Run<'a> {
    recipe: &'a Recipe,
    folder: PathBuf,
    seed: u64,
    learner: sac::Sac,
    replay: Replay,
    progress: Progress,
}

impl<'a> Run<'a> {
    /// The run of `seed` as far as it has come.
    fn open(recipe: &'a Recipe, work: &Path, seed: u64, spec: Spec) -> Result<Self, Error> {
        let folder = work.join(format!("run-{seed}"));
        std::fs::create_dir_all(&folder).map_err(|source| Error::Io { path: folder.clone(), source })?;
        let mut run = Self {
            recipe,
            seed,
            learner: recipe.blank(spec, seed)?,
            replay: Replay::new(spec),
            progress: Progress::default(),
            folder,
        };
        let path = run.folder.join(LEARNER);
        if path.exists() {
            let notes = load(&mut run.learner, &path)?;
            let text = notes.get("way").map_or("", String::as_str);
            run.progress =
                crate::json::from_str(text).map_err(|e| Error::Format { path: path.clone(), why: e.to_string() })?;
            // The dataset is written first: it may be ahead of the algorithm, never behind.
            let steps = run.progress.ends.last().copied().unwrap_or(0);
            let dataset = d4rl::read(&run.folder.join("replay.hdf5"))?;
            let behind = || Error::Format {
                path: path.clone(),
                why: format!("knows {steps} steps, the dataset {}", dataset.len()),
            };
            if dataset.len() < steps || dataset.widths() != [spec.obs, spec.act] || !dataset.has_next_obs() {
                return Err(behind());
            }
            let mut rows = Transitions::new(spec);
            for t in 0..steps {
                let Row { obs, act, reward, terminal, next_obs, .. } = dataset.row(t);
                rows.push(obs, act, reward, next_obs.unwrap_or(obs), terminal);
            }
            run.replay = Replay::from_parts(rows, run.progress.ends.clone()).map_err(|_| behind())?;
        }
        Ok(run)
    }

    fn checkpoint(
        learner: &mut sac::Sac,
        replay: &Replay,
        progress: &mut Progress,
        folder: &Path,
    ) -> Result<(), Error> {
        progress.ends = replay.ends().to_vec();
        d4rl::write(&folder.join("replay.hdf5"), &dataset_of(replay, replay.rows().len(), folder))?;
        let notes = BTreeMap::from([("way".to_owned(), crate::json::to_string(progress).expect("plain values"))]);
        Ok(save(learner, &notes, &folder.join(LEARNER))?)
    }

    /// Learns until the policy is medium, or to the end.
    fn learn(mut self, to_medium: bool, observer: &dyn Observer) -> Result<Self, Error> {
        let (recipe, job) = (self.recipe, format!("{}, run {}", self.recipe.environment, self.seed));
        let medium = |progress: &Progress| to_medium && progress.medium.is_some();
        if self.progress.done || medium(&self.progress) {
            observer.finished(&job, "kept");
            return Ok(self);
        }
        let key = recipe.key(self.seed);
        let mut environment = backcast_envs::make(&recipe.environment)?;
        let config = online::Config { steps: recipe.steps, ..recipe.online.clone() };
        let mut last_saved = self.replay.rows().len();
        let mut failed = None;
        let Self { learner, replay, progress, folder, .. } = &mut self;
        let mut watch = |learner: &mut sac::Sac, replay: &Replay| -> Result<bool, Error> {
            let steps = replay.rows().len();
            let due = steps / recipe.eval_every;
            if due > progress.curve.len() || steps == recipe.steps {
                let key = key.name("evaluation").fold(due as u64);
                let mut policy = Mode(learner);
                let returns =
                    evaluate(&mut policy, || backcast_envs::make(&recipe.environment), recipe.eval_episodes, key)?;
                let mean = returns.iter().sum::<f64>() / returns.len() as f64;
                // An episode that passes several due evaluations is evaluated once.
                progress.curve.resize(due.max(progress.curve.len() + 1) - 1, (steps, mean));
                progress.curve.push((steps, mean));
                if mean >= recipe.medium && progress.medium.is_none() {
                    progress.medium = Some(steps);
                    Saved::save(recipe, learner, &folder.join("medium"))?;
                }
            }
            progress.done = steps >= recipe.steps;
            let note = progress.curve.last().map_or_else(String::new, |(_, mean)| format!("return {mean:.0}"));
            observer.progress(&job, steps as u64, recipe.steps as u64, &note);
            let stop = observer.stop();
            if stop || progress.done || medium(progress) || steps - last_saved >= 25_000 {
                last_saved = steps;
                Self::checkpoint(learner, replay, progress, folder)?;
            }
            match stop {
                true => Err(Error::Interrupted),
                false => Ok(!medium(progress)),
            }
        };
        let learnt = online::learn(&config, learner, &mut *environment, replay, key, &mut |learner, replay| {
            watch(learner, replay).unwrap_or_else(|error| {
                failed = Some(error);
                false
            })
        });
        learnt.map_err(|source| Error::Config { section: "online", source })?;
        if let Some(error) = failed {
            return Err(error);
        }
        if self.progress.done {
            Saved::save(recipe, &mut self.learner, &self.folder.join("expert"))?;
        }
        let note = self
            .progress
            .curve
            .last()
            .map_or_else(String::new, |(steps, mean)| format!("return {mean:.0} after {steps} steps"));
        observer.finished(&job, &note);
        Ok(self)
    }

    /// The first `rows` of the replay as a dataset.
    fn replay_dataset(&self, rows: usize) -> Dataset {
        dataset_of(&self.replay, rows, &self.folder)
    }
}

/// An algorithm by its deterministic action.
struct Mode<'a>(&'a mut dyn Learner);

impl Policy for Mode<'_> {
    fn spec(&self) -> Spec {
        self.0.spec()
    }

    fn act(&mut self, obs: ArrayView2<'_, Real>, _: Option<Key>, act: ArrayViewMut2<'_, Real>) {
        self.0.act(obs, None, act);
    }
}

/// The first `rows` of `replay` as a dataset; the last of them is cut off if it ends no episode.
fn dataset_of(replay: &Replay, rows: usize, origin: &Path) -> Dataset {
    let (columns, spec) = (replay.rows(), replay.rows().spec());
    let mut dataset = Dataset::new(spec.obs, spec.act, true).from_origin(origin);
    let mut ends = replay.ends().iter().copied().peekable();
    for t in 0..rows {
        let last = ends.next_if_eq(&(t + 1)).is_some() || t + 1 == rows;
        let terminal = columns.row(Column::Terminal, t)[0] == 1.0;
        dataset.push(Row {
            obs: columns.row(Column::Obs, t),
            act: columns.row(Column::Act, t),
            reward: columns.row(Column::Reward, t)[0],
            terminal,
            truncated: last && !terminal,
            next_obs: Some(columns.row(Column::NextObs, t)),
        });
    }
    dataset
}

/// Appends `rows` of `policy`, which draws its actions, in whole episodes but for the last, which is cut off.
fn roll(policy: &mut dyn Policy, environment: &mut dyn Env, rows: usize, key: Key, dataset: &mut Dataset) {
    let spec = environment.spec();
    let (mut obs, mut next) = (Array2::zeros((1, spec.obs)), vec![0.0; spec.obs]);
    let mut act = Array2::zeros((1, spec.act));
    let mut begins = true;
    for t in 0..rows {
        let key = key.fold(t as u64);
        if begins {
            environment.reset(key.name("reset"), obs.as_slice_mut().expect("one row"));
        }
        policy.act(obs.view(), Some(key.name("act")), act.view_mut());
        let (s, a) = (obs.as_slice().expect("one row"), act.as_slice().expect("one row"));
        let step = environment.step(a, &mut next);
        begins = step.terminated || step.truncated;
        let truncated = !step.terminated && (step.truncated || t + 1 == rows);
        dataset.push(Row {
            obs: s,
            act: a,
            reward: step.reward,
            terminal: step.terminated,
            truncated,
            next_obs: Some(&next),
        });
        obs.as_slice_mut().expect("one row").copy_from_slice(&next);
    }
}

/// Generates the dataset that `recipe` and `quality` describe, of at least `rows` rows (replays) or of as many. Runs are kept in
/// `work` and go on from there; `threads` of them learn at a time.
///
/// # Errors
/// If the recipe makes no sense, the environment is not there, a run never becomes medium, or the disk refuses;
/// [`Error::Interrupted`] if the observer asks to stop.
pub fn generate(
    recipe: &Recipe,
    quality: Quality,
    rows: usize,
    work: &Path,
    threads: usize,
    observer: &dyn Observer,
) -> Result<Dataset, Error> {
    let mut environment = backcast_envs::make(&recipe.environment)?;
    let spec = environment.spec();
    let key = recipe.key(recipe.seed).name("recorded");
    let origin = format!("generated {}", recipe.environment);
    let mut dataset = Dataset::new(spec.obs, spec.act, true).from_origin(&origin);
    let run = |seed: u64, to_medium: bool| -> Result<Run<'_>, Error> {
        let run = Run::open(recipe, work, seed, spec)?.learn(to_medium, observer)?;
        match run.progress.medium {
            None if to_medium => Err(Error::Mismatch(format!(
                "{}: run {seed} did not come to a return of {:.0} in {} steps; lower `medium` or allow more steps",
                recipe.environment, recipe.medium, recipe.steps
            ))),
            _ => Ok(run),
        }
    };
    let half = rows / 2;
    match quality {
        Quality::Random => roll(&mut recipe.blank(spec, recipe.seed)?, &mut *environment, rows, key, &mut dataset),
        Quality::Medium | Quality::MediumExpert => {
            let mut learner = medium(recipe, &run(recipe.seed, true)?, spec)?;
            let rows = if quality == Quality::Medium { rows } else { half };
            roll(&mut learner, &mut *environment, rows, key.name("medium"), &mut dataset);
            if quality == Quality::MediumExpert {
                roll(&mut run(recipe.seed, false)?.learner, &mut *environment, half, key.name("expert"), &mut dataset);
            }
        }
        Quality::Expert => {
            roll(&mut run(recipe.seed, false)?.learner, &mut *environment, rows, key.name("expert"), &mut dataset)
        }
        Quality::FullReplay => {
            let run = run(recipe.seed, false)?;
            dataset = run.replay_dataset(rows.min(run.replay.rows().len())).from_origin(&origin);
        }
        Quality::MediumReplay => {
            observer.stage("learning until medium", threads);
            let mut next = recipe.seed;
            while dataset.len() < rows {
                let seeds: Vec<u64> = (next..next + threads.max(1) as u64).collect();
                next += seeds.len() as u64;
                let datasets = pool::each(&seeds, threads, |&seed| {
                    let run = run(seed, true)?;
                    Ok(run.replay_dataset(run.progress.medium.unwrap_or(0)))
                })?;
                for whole in datasets {
                    if dataset.len() < rows {
                        (0..whole.len()).for_each(|t| dataset.push(whole.row(t)));
                    }
                }
            }
        }
    }
    Ok(dataset)
}

/// The policy of a run when it was medium.
fn medium(recipe: &Recipe, run: &Run<'_>, spec: Spec) -> Result<sac::Sac, Error> {
    let mut learner = recipe.blank(spec, run.seed)?;
    load(&mut learner, &run.folder.join("medium").join(LEARNER))?;
    Ok(learner)
}
