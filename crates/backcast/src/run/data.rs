use super::mix;
use crate::{DataConfig, Error, Experiment, MixOf};
use backcast_core::{ConfigError, Key, Real, Spec, Transitions};
use backcast_data::check::{Finding, Severity};
use backcast_data::{Dataset, EpisodicTransitions, Options, Row, TerminalRows, scale_rewards};
use backcast_envs::maze2d::{Maze2d, generate as maze};
use backcast_envs::{pendulum::generate as pendulum, registry};
use serde::{Deserialize, Serialize};

/// A dataset, ready to learn from.
pub struct Loaded {
    /// For algorithms: terminal rows kept.
    pub episodic: EpisodicTransitions,
    /// What algorithms see of it, where that is not all.
    pub best: Option<Transitions>,
    /// For models: terminal rows with an unknown next state dropped.
    pub model_data: Transitions,
    /// What it is.
    pub summary: DataSummary,
}

/// What a dataset is, for a report.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct DataSummary {
    /// File, or how it was generated.
    pub source: String,
    /// Rows recorded.
    pub rows: usize,
    /// Transitions kept.
    pub transitions: usize,
    /// Episodes (maze2d: segments between goals).
    pub episodes: usize,
    /// Their mean undiscounted return.
    pub mean_return: f64,
    /// The [fingerprint](Dataset::fingerprint) of the rows as they were read or generated.
    #[serde(default)]
    pub fingerprint: String,
    /// What `data check` warns of, and what of its errors was accepted.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub warnings: Vec<String>,
}

impl Loaded {
    /// The transitions algorithms see.
    pub fn rows(&self) -> &Transitions {
        self.best.as_ref().unwrap_or(self.episodic.transitions())
    }
}

/// Generates the dataset of a task that has a generator, a maze or the pendulum, as `config` says.
pub fn generate(task: &str, config: &DataConfig) -> Result<Dataset, Error> {
    match registry::canonical(task) {
        Some("pendulum-v1") => Ok(generate_pendulum(config)),
        Some("dmsd") => {
            Err(Error::Mismatch("`dmsd` has no generator of datasets; set data.file, or give --data".into()))
        }
        _ => generate_maze(task, config),
    }
}

fn generate_pendulum(config: &DataConfig) -> Dataset {
    let how = pendulum::GeneratorConfig { rows: config.rows, quality: config.quality, noise: config.noise };
    let made = pendulum::generate(&how, Key::new(config.seed).name("log"));
    let mut dataset = Dataset::new(3, 1, true).from_origin("generated pendulum-v1");
    for t in 0..made.reward.len() {
        dataset.push(Row {
            obs: &made.obs[3 * t..][..3],
            act: &made.act[t..][..1],
            reward: made.reward[t],
            terminal: false,
            truncated: made.truncated[t],
            next_obs: Some(&made.next_obs[3 * t..][..3]),
        });
    }
    dataset
}

fn generate_maze(task: &str, config: &DataConfig) -> Result<Dataset, Error> {
    let env = Maze2d::named(task)?;
    let how = maze::GeneratorConfig {
        rows: config.rows,
        noise: config.noise,
        patience: backcast_core::Env::horizon(&env),
        reward: env.reward(),
        quirks: config.quirks,
    };
    let made = maze::generate(env.layout(), &how, Key::new(config.seed).name("log"));
    let mut dataset = Dataset::new(4, 2, false).from_origin(format!("generated {task}"));
    for t in 0..made.len() {
        dataset.push(Row {
            obs: &made.obs[4 * t..][..4],
            act: &made.act[2 * t..][..2],
            reward: made.reward[t],
            terminal: made.terminal[t],
            truncated: made.truncated[t],
            next_obs: None,
        });
    }
    for (name, values) in [("qpos", made.qpos), ("qvel", made.qvel), ("goal", made.goal)] {
        dataset.push_info(name, 2, values);
    }
    Ok(dataset)
}

/// The share of values beyond the limit from which on actions are in other units than the environment's.
const MOST: f64 = 0.5;

/// What is to be said of a file's rows; an error if nobody should learn from them unasked.
fn judge(
    source: &str,
    config: &DataConfig,
    spec: Spec,
    dataset: &Dataset,
    findings: Vec<Finding>,
) -> Result<Vec<String>, Error> {
    if config.file.is_none() {
        return Ok(vec![]);
    }
    // The environment knows the limit that `check` takes to be 1.
    let mut all: Vec<(Severity, String, String)> = findings
        .into_iter()
        .filter(|finding| finding.severity > Severity::Info && finding.name != "beyond_one")
        // What is left out anyway needs no warning.
        .filter(|finding| finding.name != "stale" || !config.drop_stale)
        .map(|finding| (finding.severity, finding.name.to_owned(), finding.sentence()))
        .collect();
    let limit = spec.act_limit * (1.0 + 1e-5);
    let actions = || (0..dataset.len()).flat_map(|t| dataset.row(t).act);
    let beyond = actions().filter(|a| a.abs() > limit).count();
    let share = beyond as f64 / actions().count().max(1) as f64;
    if beyond > 0 {
        let furthest = actions().fold(0.0, |far: Real, a| far.max(a.abs()));
        let (severity, what) = match share > MOST {
            true => {
                (Severity::Error, "they are in other units, or of another task (`data.clip_actions` pulls them back)")
            }
            false => (Severity::Warn, "they are clipped"),
        };
        let text = format!(
            "actions_beyond: `actions`: {:.2} % of the values lie beyond ±{}, up to {furthest}: {what}",
            100.0 * share,
            spec.act_limit
        );
        all.push((severity, "actions_beyond".into(), text));
    }
    let refused = |(severity, name, _): &&(Severity, String, String)| {
        *severity == Severity::Error && !config.accept.iter().any(|accepted| accepted == name)
    };
    let findings: Vec<(String, String)> =
        all.iter().filter(refused).map(|(_, name, text)| (name.clone(), text.clone())).collect();
    if !findings.is_empty() {
        return Err(Error::Unsound { dataset: source.into(), findings });
    }
    Ok(all.into_iter().map(|(.., text)| text).collect())
}

/// Reads or generates the dataset of `experiment` and pairs its rows, for an environment of the given widths.
pub fn load(experiment: &Experiment, spec: Spec) -> Result<Loaded, Error> {
    load_as(&experiment.data, &experiment.task, spec, false)
}

/// As [`load`], for the `data` of a method, and with next actions if its algorithm asks for them.
pub(crate) fn load_as(config: &DataConfig, task: &str, spec: Spec, next_actions: bool) -> Result<Loaded, Error> {
    let (mut dataset, findings, mut source) = match &config.file {
        Some(file) => {
            let (dataset, findings) = backcast_data::check::read_checked(file, &config.reading())?;
            (dataset, findings, file.display().to_string())
        }
        None => {
            let mut how = format!("generated: {} rows, seed {}, noise {}", config.rows, config.seed, config.noise);
            if registry::canonical(task) == Some("pendulum-v1") {
                how += &format!(", {:?}", config.quality).to_lowercase();
            }
            (generate(task, config)?, vec![], how)
        }
    };
    let [obs, act] = dataset.widths();
    if (obs, act) != (spec.obs, spec.act) {
        return Err(Error::Mismatch(format!(
            "{source}: observations and actions are {obs} and {act} wide, but `{task}` has {} and {}; \
             set `task` to the environment the dataset was recorded in",
            spec.obs, spec.act
        )));
    }
    dataset.finite()?;
    let mut warnings = judge(&source, config, spec, &dataset, findings)?;
    let fingerprint = dataset.fingerprint().to_string();
    if let Some(mix) = &config.mix {
        let of = if mix.of == MixOf::Rows { "rows" } else { "episodes" };
        source += &format!("; {:.0} % random {of}, seed {}", 100.0 * mix.random, mix.seed);
        if mix.of == MixOf::Episodes {
            dataset = mix::episodes(&dataset, mix, task)?;
        }
    }
    let options = Options {
        act_limit: spec.act_limit,
        clip_actions: true,
        drop_stale: config.drop_stale,
        next_actions,
        ..Options::default()
    };
    let (mut episodic, report) = dataset.transitions(&options)?;
    let for_models = Options { terminals: TerminalRows::KeepKnown, next_actions: false, ..options };
    let mut model_data = dataset.transitions(&for_models)?.0.into_transitions();
    if let Some(mix) = config.mix.as_ref().filter(|mix| mix.of == MixOf::Rows) {
        mix::rows(episodic.transitions_mut(), mix, task, &options)?;
        mix::rows(&mut model_data, mix, task, &for_models)?;
    }
    let in_data = |source| Error::Config { section: "data", source };
    let scale_and_shift = config.rewards.scale_and_shift(&episodic).map_err(in_data)?;
    scale_rewards(scale_and_shift, episodic.transitions_mut());
    scale_rewards(scale_and_shift, &mut model_data);
    let best = config.best_episodes.map(|share| episodic.best_episodes(share)).transpose();
    let best = best.map_err(in_data)?;
    if let (Some(share @ ..1.0), 1) = (config.best_episodes, report.episodes) {
        let why = format!("is {share}; the dataset is one episode, and the best share of one episode is all of it");
        return Err(in_data(ConfigError { field: "best_episodes", why }));
    }
    warnings.dedup();
    let summary = DataSummary {
        source,
        rows: report.rows,
        transitions: best.as_ref().map_or(report.kept, Transitions::len),
        episodes: report.episodes,
        mean_return: episodic.mean_return(),
        fingerprint,
        warnings,
    };
    Ok(Loaded { episodic, best, model_data, summary })
}
