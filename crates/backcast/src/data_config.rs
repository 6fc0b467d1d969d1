use backcast_core::{ConfigError, Real};
use backcast_data::{ReadOptions, Rewards, Truncations};
use backcast_envs::{maze2d::generate::Quirks, pendulum::generate::Quality};
use serde::{Deserialize, Serialize};
use std::path::PathBuf;

/// A dataset: read from a file if there is one, else made by the task's own generator.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct DataConfig {
    /// A dataset of any format: a file, or the folder of a Minari dataset.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub file: Option<PathBuf>,
    /// Where the file was cut into episodes: `"recorded"`, `"jumps"` (antmaze: where the position jumps), or `{ horizon = 1000 }`.
    #[serde(skip_serializing_if = "is_recorded")]
    pub truncations: Truncations,
    /// Pulls the file's actions back into `[−limit, limit]`, as D4RL does with adroit's demonstrations.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub clip_actions: Option<Real>,
    /// Rows to generate.
    pub rows: usize,
    /// Seed of the generator.
    pub seed: u64,
    /// Standard deviation of the noise on the controller's actions.
    pub noise: f64,
    /// Whether to generate with the oddities of the published files (mazes).
    pub quirks: Quirks,
    /// Whose dataset to generate (pendulum).
    pub quality: Quality,
    /// The share of episodes, those with the highest returns, that algorithms see; none is all. 0.1 is that of 10 % BC.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub best_episodes: Option<Real>,
    /// Faults of the file that are known and accepted, by the names that `data check` gives them, such as `"disagreements"`. Any
    /// other error that it finds ends the run before it begins.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub accept: Vec<String>,
    /// What rewards are turned into before models and algorithms see them. Thresholds elsewhere in an experiment, such as
    /// `goal_reward`, are of the rewards after this.
    pub rewards: Rewards,
    /// Whether to leave out rows that repeat the observation before them across a truncation. In maze2d datasets such a row spans two
    /// steps of physics: one row in eighty, and enough to hide a model's real accuracy from itself.
    pub drop_stale: bool,
    /// Rows of a policy that acts at random, among the others or in their place.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mix: Option<Mix>,
}

impl Default for DataConfig {
    fn default() -> Self {
        Self {
            file: None,
            truncations: Truncations::Recorded,
            clip_actions: None,
            rows: 1_000_000,
            seed: 0,
            noise: 0.5,
            quirks: Quirks::Published,
            quality: Quality::Expert,
            best_episodes: None,
            accept: vec![],
            rewards: Rewards::Recorded,
            drop_stale: true,
            mix: None,
        }
    }
}

fn is_recorded(truncations: &Truncations) -> bool {
    *truncations == Truncations::Recorded
}

impl DataConfig {
    /// How the file is to be read.
    pub(crate) fn reading(&self) -> ReadOptions {
        ReadOptions { format: None, truncations: self.truncations, clip_actions: self.clip_actions }
    }

    pub(crate) fn check(&self) -> Result<(), ConfigError> {
        let of_file = |given: bool, name: &'static str| {
            ConfigError::unless(self.file.is_some() || !given, name, "is about a file, and there is none")
        };
        of_file(!is_recorded(&self.truncations), "truncations")?;
        of_file(self.clip_actions.is_some(), "clip_actions")?;
        of_file(!self.accept.is_empty(), "accept")?;
        ConfigError::unless(
            self.truncations != Truncations::Horizon(0),
            "truncations",
            "is after every 0 rows; an episode has one at least",
        )?;
        let limit = self.clip_actions.unwrap_or(1.0);
        let why = format!("is {limit}; a limit is a positive number");
        ConfigError::unless(limit > 0.0 && limit.is_finite(), "clip_actions", why)?;
        let rows = self.rows;
        ConfigError::unless(self.file.is_some() || rows >= 1000, "rows", format!("is {rows}; generate at least 1000"))?;
        let noise = self.noise;
        let sound = noise >= 0.0 && noise.is_finite();
        ConfigError::unless(sound, "noise", format!("is {noise}; a deviation is not negative"))?;
        let share = self.best_episodes.unwrap_or(1.0);
        let why = format!("is {share}; a share lies in (0, 1]");
        ConfigError::unless(share > 0.0 && share <= 1.0, "best_episodes", why)?;
        if let Some(Mix { random, of, .. }) = self.mix {
            let why = format!("has a share of {random}; one lies in (0, 1)");
            ConfigError::unless(random > 0.0 && random < 1.0, "mix", why)?;
            let why = "does not go with a mix of rows: one that was replaced has no episode";
            ConfigError::unless(of == MixOf::Episodes || self.best_episodes.is_none(), "best_episodes", why)?;
        }
        self.rewards.check()
    }
}

/// Little that is valuable among much that is not: part of a dataset is of a policy that draws its actions uniformly from the box, in
/// the task's own environment. It is the data of the robustness tests of SDC and OSR.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Mix {
    /// The share of random rows, in (0, 1). OSR's code has 0.6 (`limited_rate`).
    pub random: f64,
    /// What is mixed.
    pub of: MixOf,
    /// Seed of the random policy.
    pub seed: u64,
}

impl Default for Mix {
    fn default() -> Self {
        Self { random: 0.6, of: MixOf::Episodes, seed: 0 }
    }
}

/// What a [`Mix`] is of. Either way there are as many rows as without it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum MixOf {
    /// Whole episodes: the first of the dataset, then random ones.
    #[default]
    Episodes,
    /// Single transitions: each is replaced by a random one with the probability of the share, as OSR's code (`limited_valuable`)
    /// does with the rows of each batch. Returns that are told of the dataset are of its episodes as they were.
    Rows,
}
