//! The settings of OMAR and of what it stands on, by task and dataset, as two repositories have them.
//!
//! They disagree: CFCQL's authors tuned their copy of OMAR's code anew. Values central to all agents are theirs alone, and take α from
//! their table.

use super::{cfcql, ma_cql, macql, omar};
use backcast_core::Real;

/// A task of OMAR's datasets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Task {
    /// simple_spread, three agents: cooperative navigation.
    Spread,
    /// simple_tag, three predators.
    Tag,
    /// simple_world, four predators.
    World,
    /// HalfCheetah-v2, two agents of three joints each.
    HalfCheetah,
}

/// Whose doings a dataset holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Quality {
    /// Nobody's in particular.
    Random,
    /// An algorithm's until it was medium.
    MediumReplay,
    /// An algorithm's that was stopped half-way.
    Medium,
    /// An algorithm's at its end.
    Expert,
}

impl Quality {
    /// Every quality with its name in files.
    pub const ALL: [(&'static str, Self); 4] = [
        ("random", Self::Random),
        ("medium-replay", Self::MediumReplay),
        ("medium", Self::Medium),
        ("expert", Self::Expert),
    ];
}

/// Whose settings.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Repository {
    /// OMAR's authors': `ling-pan/OMAR`, `algorithms/maddpg.py`.
    Omar,
    /// CFCQL's authors': `thu-rllab/CFCQL`, `continuous/algorithms/maddpg_cc.py`.
    Cfcql,
}

/// (c, α) by task, then by quality.
const OMAR: [[(Real, Real); 4]; 4] = [
    [(1.0, 0.5), (1.0, 1.0), (1.0, 5.0), (1.0, 5.0)],
    [(0.9, 0.5), (0.9, 0.5), (0.7, 5.0), (0.9, 5.0)],
    [(1.0, 0.5), (0.7, 1.0), (0.1, 0.5), (0.9, 5.0)],
    [(1.0, 1.0), (0.9, 5.0), (0.7, 1.0), (0.5, 5.0)],
];
const CFCQL: [[(Real, Real); 4]; 4] = [
    [(1.0, 0.5), (1.0, 1.0), (1.0, 5.0), (1.0, 2.5)],
    [(0.9, 0.5), (0.9, 0.5), (0.7, 0.6), (0.9, 2.0)],
    [(1.0, 0.5), (0.7, 0.5), (0.4, 0.32), (0.8, 0.3)],
    [(1.0, 0.1), (0.9, 0.4), (0.7, 1.0), (0.5, 1.7)],
];

/// OMAR's coefficient c and CQL's α.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Preset {
    /// c.
    pub coefficient: Real,
    /// α.
    pub alpha: Real,
}

impl Preset {
    /// Those of a task and a dataset.
    ///
    /// ```
    /// use backcast_factorization::team::preset::{Preset, Quality, Repository, Task};
    /// let alpha = |of| Preset::of(of, Task::Spread, Quality::Expert).alpha;
    /// assert_eq!((alpha(Repository::Omar), alpha(Repository::Cfcql)), (5.0, 2.5));
    /// ```
    pub fn of(repository: Repository, task: Task, quality: Quality) -> Self {
        let table = match repository {
            Repository::Omar => &OMAR,
            Repository::Cfcql => &CFCQL,
        };
        let (coefficient, alpha) = table[task as usize][quality as usize];
        Self { coefficient, alpha }
    }

    /// Decentralised MA-CQL with these settings.
    pub fn ma_cql(self) -> ma_cql::Config {
        ma_cql::Config { alpha: self.alpha, ..Default::default() }
    }

    /// OMAR with these settings.
    pub fn omar(self) -> omar::Config {
        omar::Config { cql: self.ma_cql(), coefficient: self.coefficient, ..Default::default() }
    }

    /// MACQL, central, with these settings.
    pub fn macql(self) -> macql::Config {
        macql::Config { alpha: self.alpha, ..Default::default() }
    }

    /// CFCQL with these settings.
    pub fn cfcql(self, lambda: cfcql::Lambda) -> cfcql::Config {
        cfcql::Config { alpha: self.alpha, lambda, ..Default::default() }
    }
}
