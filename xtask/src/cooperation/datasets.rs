//! The four datasets of a team that learns online, and what it takes to read them: who is 0 and who is 100.

use anyhow::Context;
use backcast::core::{Algorithm, Column, Env, Key, Learner, Policy, Real, restore, snapshot};
use backcast::data::{self, Dataset, Options, Row};
use backcast::envs::registry;
use backcast::evaluate;
use backcast::factorization::team::online::{self, Replay};
use backcast::factorization::team::preset::Quality;
use backcast::factorization::team::{Scope, Shared, matd3};
use serde::{Deserialize, Serialize};
use std::path::{Path, PathBuf};

/// How datasets are made. Whatever else there is in a folder was made by another recipe, and is made again.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Recipe {
    pub(crate) environment: String,
    /// Environments side by side.
    pub(crate) environments: usize,
    pub(crate) online: online::Config,
    pub(crate) learner: matd3::Config,
    /// Rounds between two looks at how good it is.
    pub(crate) eval_every: usize,
    /// Episodes of each look; of the returns that are 0 and 100, ten times as many.
    pub(crate) episodes: usize,
    /// Episodes of each dataset but the replay.
    pub(crate) dataset_episodes: usize,
    /// Deviation of the noise on the actions of medium and expert.
    pub(crate) noise: Real,
}

impl Recipe {
    pub(crate) fn new(environment: &str, quick: bool) -> Self {
        let online = online::Config { rounds: if quick { 40 } else { 800 }, ..Default::default() };
        Self {
            environment: environment.to_owned(),
            environments: if quick { 10 } else { 25 },
            online,
            learner: matd3::Config { shared: Shared { lr: 3e-3, ..Shared::default() }, scope: Scope::Own },
            eval_every: 4,
            episodes: if quick { 10 } else { 100 },
            dataset_episodes: if quick { 40 } else { 4000 },
            noise: 0.1,
        }
    }
}

/// What is known of a set of datasets.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Made {
    pub(crate) recipe: Recipe,
    /// Mean returns of uniform actions and of the trained team: 0 and 100.
    pub(crate) random: f64,
    pub(crate) expert: f64,
    /// The first look at which it was half-way, in rounds, and the return of that team.
    pub(crate) medium_round: usize,
    pub(crate) medium: f64,
    /// Rounds and mean return of each look.
    pub(crate) curve: Vec<(usize, f64)>,
    /// Mean return of each dataset and its rows, in the order of [`Quality::ALL`].
    pub(crate) datasets: Vec<(f64, usize)>,
}

impl Made {
    pub(crate) fn score(&self, value: f64) -> f64 {
        100.0 * (value - self.random) / (self.expert - self.random)
    }
}

pub(crate) fn path(folder: &Path, quality: &str) -> PathBuf {
    folder.join(format!("{quality}.npz"))
}

/// Uniform actions.
struct Anything(backcast::core::Spec);

impl Policy for Anything {
    fn spec(&self) -> backcast::core::Spec {
        self.0
    }

    fn act(&mut self, _: ndarray::ArrayView2<'_, Real>, key: Option<Key>, mut act: ndarray::ArrayViewMut2<'_, Real>) {
        let limit = self.0.act_limit;
        key.expect("a key").uniform(-limit, limit, act.as_slice_mut().expect("dense"));
    }
}

pub(crate) fn mean(values: &[f64]) -> f64 {
    values.iter().sum::<f64>() / values.len() as f64
}

fn returns(policy: &mut dyn Policy, environment: &str, episodes: usize, key: Key) -> anyhow::Result<f64> {
    Ok(mean(&evaluate(policy, || registry::make(environment), episodes, key)?))
}

/// Makes the datasets in `folder`, unless they are there.
pub(crate) fn make(recipe: &Recipe, folder: &Path) -> anyhow::Result<Made> {
    let note = folder.join("logs.json");
    if let Ok(text) = std::fs::read_to_string(&note)
        && let Ok(made) = backcast::json::from_str::<Made>(&text)
        && made.recipe == *recipe
        && Quality::ALL.iter().all(|(name, _)| path(folder, name).is_file())
    {
        return Ok(made);
    }
    std::fs::create_dir_all(folder).with_context(|| folder.display().to_string())?;
    let key = Key::new(0).name("cooperation").name(&recipe.environment);
    let make = || registry::make(&recipe.environment);
    let mut environments = (0..recipe.environments).map(|_| make()).collect::<Result<Vec<_>, _>>()?;
    let spec = environments[0].spec();
    let looked = key.name("look");
    let random = returns(&mut Anything(spec), &recipe.environment, 10 * recipe.episodes, looked)?;

    let mut learner = recipe.learner.build(spec, key.name("learner"))?;
    let mut replay = Replay::new(spec);
    let (mut curve, mut kept, mut failed) = (Vec::new(), Vec::new(), None);
    online::learn(
        &recipe.online,
        &mut learner,
        &mut environments,
        &mut replay,
        key.name("online"),
        |learner, replay, round| {
            if round % recipe.eval_every == 0 || round == recipe.online.rounds {
                match returns(learner, &recipe.environment, recipe.episodes, looked) {
                    Ok(value) => curve.push((round, value)),
                    Err(error) => failed = Some(error),
                }
                kept.push((snapshot(learner), replay.ends.len(), replay.rows.len()));
            }
            failed.is_none()
        },
    );
    failed.map_or(Ok(()), Err)?;
    let expert = returns(&mut learner, &recipe.environment, 10 * recipe.episodes, looked)?;
    let half = 0.5 * (random + expert);
    // Where it never comes half-way, as in a moment's learning, the last look: what it is then worth stands beside.
    let at = curve.iter().position(|(_, value)| *value >= half).unwrap_or(curve.len() - 1);

    let mut datasets = Vec::new();
    let mut write = |name: &str, replay: &Replay| -> anyhow::Result<()> {
        data::npz::write(&path(folder, name), &dataset(replay))?;
        datasets.push((mean(&replay.returns()), replay.rows.len()));
        Ok(())
    };
    let mut played = |learner: Option<&mut dyn Learner>, name: &str| {
        let mut replay = Replay::new(spec);
        let (key, mut learner) = (key.name(name), learner);
        for round in 0..recipe.dataset_episodes.div_ceil(environments.len()) {
            let key = key.fold(round as u64);
            online::round(&mut environments, &mut replay, key, |t, obs, act| {
                let key = key.name("act").fold(t as u64);
                match &mut learner {
                    None => online::uniform(act, spec.act_limit, key),
                    Some(learner) => {
                        learner.act(obs.view(), None, act.view_mut());
                        let mut noise = vec![0.0; act.len()];
                        key.normal(&mut noise);
                        let (limit, sigma) = (spec.act_limit, recipe.noise * spec.act_limit);
                        act.iter_mut().zip(noise).for_each(|(u, e)| *u = (*u + sigma * e).clamp(-limit, limit));
                    }
                }
            });
        }
        replay
    };
    let (state, episodes, rows) = &kept[at];
    let mut until = replay.clone();
    until.rows.truncate(*rows);
    until.ends.truncate(*episodes);
    let expert_dataset = played(Some(&mut learner), "expert");
    restore(&mut learner, state)?;
    let medium = returns(&mut learner, &recipe.environment, 10 * recipe.episodes, looked)?;
    let medium_dataset = played(Some(&mut learner), "medium");
    let random_dataset = played(None, "random");
    for (name, quality) in Quality::ALL {
        let replay = match quality {
            Quality::Random => &random_dataset,
            Quality::MediumReplay => &until,
            Quality::Medium => &medium_dataset,
            Quality::Expert => &expert_dataset,
        };
        write(name, replay)?;
    }
    let made = Made { recipe: recipe.clone(), random, expert, medium_round: curve[at].0, medium, curve, datasets };
    std::fs::write(&note, backcast::json::to_string_pretty(&made)?).with_context(|| note.display().to_string())?;
    Ok(made)
}

/// The dataset as files have it.
fn dataset(replay: &Replay) -> Dataset {
    let (rows, spec) = (&replay.rows, replay.rows.spec());
    let mut dataset = Dataset::new(spec.obs, spec.act, true);
    let mut ends = replay.ends.iter().peekable();
    for t in 0..rows.len() {
        let terminal = rows.row(Column::Terminal, t)[0] > 0.5;
        let last = ends.next_if_eq(&&(t + 1)).is_some();
        dataset.push(Row {
            obs: rows.row(Column::Obs, t),
            act: rows.row(Column::Act, t),
            reward: rows.row(Column::Reward, t)[0],
            terminal,
            truncated: last && !terminal,
            next_obs: Some(rows.row(Column::NextObs, t)),
        });
    }
    dataset
}

/// The transitions of a dataset, with the actions recorded at next states if asked.
pub(crate) fn read(folder: &Path, quality: &str, next_actions: bool) -> anyhow::Result<backcast::core::Transitions> {
    let dataset = data::npz::read(&path(folder, quality))?;
    let (dataset, _) = dataset.transitions(&Options { next_actions, ..Options::default() })?;
    Ok(dataset.into_transitions())
}

/// An environment that is there, with several agents.
pub(crate) fn agents(environment: &str) -> anyhow::Result<usize> {
    let made: Box<dyn Env + Send> = registry::make(environment)?;
    let agents = registry::agents(environment);
    anyhow::ensure!(agents > 1, "in `{environment}` nobody has to cooperate: {agents} agent, {:?}", made.spec());
    Ok(agents)
}
