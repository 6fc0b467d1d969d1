use crate::{DataConfig, Error, Experiment};
use backcast_core::{Columns, Key, Spec};
use backcast_data::{Dataset, Log, Options, Row, TerminalRows, d4rl};
use backcast_envs::maze2d::{Maze2d, generate as maze};
use serde::{Deserialize, Serialize};

/// The log of an experiment, ready to learn from.
pub struct Loaded {
    /// For learners: terminal rows kept.
    pub dataset: Dataset,
    /// For models: terminal rows with an unknown next state dropped.
    pub model_data: Columns,
    /// What it is.
    pub summary: DataSummary,
}

/// What a log is, for a report.
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
}

/// Generates the log of a maze2d task as `config` says.
pub fn generate(task: &str, config: &DataConfig) -> Result<Log, Error> {
    let world = Maze2d::named(task)?;
    let how = maze::LogConfig {
        rows: config.rows,
        noise: config.noise,
        patience: backcast_core::Env::horizon(&world),
        reward: world.reward(),
        quirks: config.quirks,
    };
    let made = maze::generate(world.layout(), &how, Key::new(config.seed).name("log"));
    let mut log = Log::new(4, 2, false).from_origin(format!("generated {task}"));
    for t in 0..made.len() {
        log.push(Row {
            obs: &made.obs[4 * t..][..4],
            act: &made.act[2 * t..][..2],
            reward: made.reward[t],
            terminal: made.terminal[t],
            timeout: made.timeout[t],
            next_obs: None,
        });
    }
    for (name, values) in [("qpos", made.qpos), ("qvel", made.qvel), ("goal", made.goal)] {
        log.push_info(name, 2, values);
    }
    Ok(log)
}

/// Reads or generates the log of `experiment` and pairs its rows, for a world of the given widths.
pub fn load(experiment: &Experiment, spec: Spec) -> Result<Loaded, Error> {
    let config = &experiment.data;
    let (log, source) = match &config.file {
        Some(file) => (d4rl::read(file)?, file.display().to_string()),
        None => {
            let how = format!("generated: {} rows, seed {}, noise {}", config.rows, config.seed, config.noise);
            (generate(&experiment.task, config)?, how)
        }
    };
    let [obs, act] = log.widths();
    if (obs, act) != (spec.obs, spec.act) {
        return Err(Error::Mismatch(format!(
            "{source}: observations and actions are {obs} and {act} wide, but `{}` has {} and {}; \
             set `task` to the world the log was recorded in",
            experiment.task, spec.obs, spec.act
        )));
    }
    log.finite()?;
    let options =
        Options { act_limit: spec.act_limit, clip_actions: true, drop_stale: config.drop_stale, ..Options::default() };
    let (dataset, report) = log.transitions(&options)?;
    let (model_data, _) = log.transitions(&Options { terminals: TerminalRows::KeepKnown, ..options })?;
    let summary = DataSummary {
        source,
        rows: report.rows,
        transitions: report.kept,
        episodes: report.episodes,
        mean_return: dataset.mean_return(),
    };
    Ok(Loaded { dataset, model_data: model_data.into_columns(), summary })
}
