//! Who learns from the datasets, with what settings, and how one of them is tried.

use super::datasets::mean;
use backcast::core::{Algorithm, ConfigError, Key, Learner, Policy, Real, Source, Spec, Transitions};
use backcast::data::{Normaliser, Scale};
use backcast::envs::registry;
use backcast::evaluate;
use backcast::factorization::team::cfcql::Lambda;
use backcast::factorization::team::preset::{Preset, Quality, Repository, Task};
use backcast::factorization::team::{Shared, bc, cfcql, icq, ma_cql, macql, td3_bc};
use ndarray::{Array2, ArrayView2, ArrayViewMut2};
use serde::{Deserialize, Serialize};

/// Whose settings, and what is otherwise.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Settings {
    pub(crate) repository: Repository,
    pub(crate) lr: Option<Real>,
    pub(crate) alpha: Option<Real>,
}

/// Who learns.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Kind {
    Bc,
    Td3Bc,
    Icq,
    MaCql,
    Omar,
    Macql,
    Cfcql,
    CfcqlNear,
}

impl Kind {
    pub(crate) const ALL: [(Self, &'static str); 8] = [
        (Self::Bc, "BC"),
        (Self::Td3Bc, "MA-TD3+BC"),
        (Self::Icq, "ICQ-MA"),
        (Self::MaCql, "MA-CQL, own values"),
        (Self::Omar, "OMAR"),
        (Self::Macql, "MACQL, central"),
        (Self::Cfcql, "CFCQL, even"),
        (Self::CfcqlNear, "CFCQL, softmax"),
    ];

    pub(crate) fn next_actions(self) -> bool {
        self == Self::Icq
    }

    /// The name it has on the command line.
    pub(crate) fn word(self) -> &'static str {
        match self {
            Self::Bc => "bc",
            Self::Td3Bc => "td3_bc",
            Self::Icq => "icq",
            Self::MaCql => "ma_cql",
            Self::Omar => "omar",
            Self::Macql => "macql",
            Self::Cfcql => "cfcql",
            Self::CfcqlNear => "cfcql_near",
        }
    }

    /// The algorithm for a dataset, and its settings in words, by which results are told apart.
    pub(crate) fn build(
        self,
        settings: Settings,
        quality: Quality,
        spec: Spec,
        key: Key,
    ) -> Result<(Box<dyn Learner>, String), ConfigError> {
        let mut preset = Preset::of(settings.repository, Task::Spread, quality);
        preset.alpha = settings.alpha.unwrap_or(preset.alpha);
        let own = |shared: Shared| Shared { lr: settings.lr.unwrap_or(shared.lr), ..shared };
        match self {
            Self::Bc => made(bc::Config { shared: own(bc::Config::default().shared) }, spec, key),
            Self::Td3Bc => {
                let config = td3_bc::Config::default();
                made(td3_bc::Config { shared: own(config.shared), ..config }, spec, key)
            }
            Self::Icq => {
                let config = icq::Config { policy_temperature: 1.0, ..Default::default() };
                made(icq::Config { shared: own(config.shared), ..config }, spec, key)
            }
            Self::MaCql => {
                let config = preset.ma_cql();
                made(ma_cql::Config { shared: own(config.shared), ..config }, spec, key)
            }
            Self::Omar => {
                let mut config = preset.omar();
                config.cql.shared = own(config.cql.shared);
                made(config, spec, key)
            }
            Self::Macql => {
                let config = preset.macql();
                made(macql::Config { shared: own(config.shared), ..config }, spec, key)
            }
            Self::Cfcql | Self::CfcqlNear => {
                let config = preset.cfcql(if self == Self::Cfcql { Lambda::Even } else { Lambda::Near(1.0) });
                made(cfcql::Config { shared: own(config.shared), ..config }, spec, key)
            }
        }
    }
}

fn made<A>(config: A, spec: Spec, key: Key) -> Result<(Box<dyn Learner>, String), ConfigError>
where
    A: Algorithm,
    A::Learner: 'static,
{
    let text = backcast::json::to_string(&config).expect("a configuration is plain data");
    Ok((Box::new(config.build(spec, key)?), text))
}

/// An algorithm that sees standardised observations, in an environment that shows them as they are.
struct Standardised<'a> {
    learner: &'a mut dyn Learner,
    normaliser: &'a Normaliser,
    seen: Array2<Real>,
}

impl Policy for Standardised<'_> {
    fn spec(&self) -> Spec {
        self.learner.spec()
    }

    fn act(&mut self, obs: ArrayView2<'_, Real>, key: Option<Key>, act: ArrayViewMut2<'_, Real>) {
        self.seen = obs.to_owned();
        self.normaliser.apply(self.seen.view_mut());
        self.learner.act(self.seen.view(), key, act);
    }
}

/// How long, how much at a time, and how it is tried.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Training {
    pub(crate) updates: u64,
    pub(crate) batch: usize,
    /// Trials on the way, the last one included.
    pub(crate) evaluations: u64,
    /// Episodes of a trial.
    pub(crate) episodes: usize,
}

/// Updates and mean returns on the way.
pub(crate) fn train(
    learner: &mut dyn Learner,
    dataset: &Transitions,
    environment: &str,
    how: Training,
    key: Key,
) -> anyhow::Result<Vec<(u64, f64)>> {
    let normaliser = Normaliser::fit(dataset.batch().obs, Scale::Plus(1e-3));
    let mut dataset = dataset.clone();
    normaliser.apply_to_transitions(&mut dataset);
    let mut staging = Transitions::new(dataset.spec()).with_next_actions(dataset.next_actions().is_some());
    let every = (how.updates / how.evaluations).max(1);
    let mut curve = Vec::new();
    for update in 1..=how.updates {
        let key = key.name("update").fold(update);
        learner.update(dataset.sample(key.name("rows"), how.batch, &mut staging), key);
        if update % every == 0 || update == how.updates {
            let seen = Array2::zeros((0, 0));
            let mut policy = Standardised { learner, normaliser: &normaliser, seen };
            // The same starts for everybody.
            let tried = Key::new(0).name("cooperation").name("trial");
            curve.push((update, mean(&evaluate(&mut policy, || registry::make(environment), how.episodes, tried)?)));
        }
    }
    Ok(curve)
}
