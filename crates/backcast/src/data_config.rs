use backcast_core::{ConfigError, FRACTION, NON_NEGATIVE, POSITIVE, Real, choices, hyperparameters};
use backcast_data::{ReadOptions, Rewards, Truncations};
use backcast_envs::{maze2d::generate::Quirks, pendulum::generate::Quality};
use std::path::PathBuf;

hyperparameters! {
    /// A dataset: read from a file if there is one, else made by the task's own generator.
    pub struct DataConfig {
        /// A dataset of any format: a file, or the folder of a Minari dataset.
        #[serde(skip_serializing_if = "Option::is_none")]
        file: Option<PathBuf> = None;
        /// Where the file was cut into episodes: `"recorded"`, `"jumps"` (antmaze: where the position jumps), or `{ horizon = 1000 }`.
        #[serde(skip_serializing_if = "is_recorded")]
        truncations: Truncations = Truncations::Recorded;
        /// Pulls the file's actions back into `[−limit, limit]`, as D4RL does with adroit's demonstrations.
        #[serde(skip_serializing_if = "Option::is_none")]
        clip_actions: Option<Real> = None, POSITIVE;
        /// Rows to generate.
        rows: usize = 1_000_000;
        /// Seed of the generator.
        seed: u64 = 0;
        /// Standard deviation of the noise on the controller's actions.
        noise: f64 = 0.5, NON_NEGATIVE;
        /// Whether to generate with the oddities of the published files (mazes).
        quirks: Quirks = Quirks::Published;
        /// Whose dataset to generate (pendulum).
        quality: Quality = Quality::Expert;
        /// The share of episodes, those with the highest returns, that algorithms see; none is all. 0.1 is that of 10 % BC.
        #[serde(skip_serializing_if = "Option::is_none")]
        best_episodes: Option<Real> = None, FRACTION;
        /// Faults of the file that are known and accepted, by the names that `data check` gives them, such as `"disagreements"`. Any
        /// other error that it finds ends the run before it begins.
        #[serde(skip_serializing_if = "Vec::is_empty")]
        accept: Vec<String> = vec![];
        /// What rewards are turned into before models and algorithms see them. Thresholds elsewhere in an experiment, such as
        /// `goal_reward`, are of the rewards after this.
        rewards: Rewards = Rewards::Recorded;
        /// Whether to leave out rows that repeat the observation before them across a truncation. In maze2d datasets such a row spans two
        /// steps of physics: one row in eighty, and enough to hide a model's real accuracy from itself.
        drop_stale: bool = true;
        /// Rows of a policy that acts at random, among the others or in their place.
        #[serde(skip_serializing_if = "Option::is_none")]
        mix: Option<Mix> = None;
    }
    together(config) {
        let of_file = |given: bool, name: &'static str| {
            ConfigError::unless(config.file.is_some() || !given, name, "is about a file, and there is none")
        };
        of_file(!is_recorded(&config.truncations), "truncations")?;
        of_file(config.clip_actions.is_some(), "clip_actions")?;
        of_file(!config.accept.is_empty(), "accept")?;
        let some = config.truncations != Truncations::Horizon(0);
        ConfigError::unless(some, "truncations", "is after every 0 rows; an episode has one at least")?;
        let rows = config.rows;
        let enough = config.file.is_some() || rows >= 1000;
        ConfigError::unless(enough, "rows", format!("is {rows}; generate at least 1000"))?;
        if let Some(Mix { random, of, .. }) = config.mix {
            let why = format!("has a share of {random}; one lies in (0, 1)");
            ConfigError::unless(random > 0.0 && random < 1.0, "mix", why)?;
            let why = "does not go with a mix of rows: one that was replaced has no episode";
            ConfigError::unless(of == MixOf::Episodes || config.best_episodes.is_none(), "best_episodes", why)?;
        }
        config.rewards.check()
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
}

hyperparameters! {
    /// Little that is valuable among much that is not: part of a dataset is of a policy that draws its actions uniformly from the box, in
    /// the task's own environment. It is the data of the robustness tests of SDC and OSR.
    pub struct Mix {
        /// The share of random rows, in (0, 1). OSR's code has 0.6 (`limited_rate`).
        random: f64 = 0.6;
        /// What is mixed.
        of: MixOf = MixOf::Episodes;
        /// Seed of the random policy.
        seed: u64 = 0;
    }
}

choices! {
    /// What a [`Mix`] is of. Either way there are as many rows as without it.
    pub enum MixOf {
        /// Whole episodes: the first of the dataset, then random ones.
        #[default]
        Episodes,
        /// Single transitions: each is replaced by a random one with the probability of the share, as OSR's code (`limited_valuable`)
        /// does with the rows of each batch. Returns that are told of the dataset are of its episodes as they were.
        Rows,
    }
}
