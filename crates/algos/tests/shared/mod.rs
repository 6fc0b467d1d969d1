//! Every algorithm of the crate in a small size, as tables that a test can change before it builds.
#![allow(dead_code, reason = "each test takes what it needs")]

use backcast_algos::{
    awac, bc, bcq, bear, combo, cql, edac, iql, mcq, mobile, mopo, morel, npg, osr, rambo, rebrac,
    sac, scas, sdc, sdm_gan, td3, td3_bc,
};
use backcast_core::{
    Algorithm, Column, ConfigError, DatasetStats, Direction, Key, Learner, Problem, Source, Spec,
    Transitions, WorldModel, never,
};
use backcast_dynamics::{Ensemble, EnsembleConfig};
use toml::{Table, Value};

pub(crate) const SPEC: Spec = Spec::new(3, 2);

type Built = Result<Box<dyn Learner>, String>;

/// An algorithm's configuration as a table.
#[derive(Clone)]
pub(crate) struct Case {
    pub(crate) name: &'static str,
    pub(crate) config: Table,
    pub(crate) uses_model: bool,
    build: fn(&Table, Key) -> Built,
    check: fn(&Table) -> Result<Result<(), ConfigError>, String>,
}

impl Case {
    /// The algorithm `A` with `settings` in the place of its defaults; where it needs a model, a small one, which knows nothing.
    fn new<A: Algorithm>(settings: &str) -> Self
    where
        A::Learner: 'static,
    {
        let case = Self {
            name: A::NAME,
            config: settled::<A>(settings),
            uses_model: A::USES_MODEL,
            build: |config, key| match parse::<A>(config)?.build(problem(A::USES_MODEL), key) {
                Ok(learner) => Ok(Box::new(learner)),
                Err(error) => Err(error.to_string()),
            },
            check: |config| Ok(parse::<A>(config)?.check()),
        };
        assert_eq!(case.check(), Ok(Ok(())), "{}", case.name);
        case
    }

    /// Every key that is no table itself, with its value; keys of tables within as `table.key`.
    pub(crate) fn fields(&self) -> Vec<(String, Value)> {
        fn walk(table: &Table, prefix: &str, out: &mut Vec<(String, Value)>) {
            for (key, value) in table {
                match value {
                    Value::Table(inner) => walk(inner, &format!("{prefix}{key}."), out),
                    value => out.push((format!("{prefix}{key}"), value.clone())),
                }
            }
        }
        let mut out = vec![];
        walk(&self.config, "", &mut out);
        out
    }

    /// The value of `field`, a key or `table.key`.
    pub(crate) fn value(&self, field: &str) -> Option<Value> {
        self.fields().into_iter().find(|(key, _)| key == field).map(|(_, value)| value)
    }

    /// The same algorithm, one key of its configuration changed: `key`, or `table.key` and so on.
    pub(crate) fn with(&self, key: &str, value: impl Into<Value>) -> Self {
        let mut case = self.clone();
        let mut path: Vec<&str> = key.split('.').collect();
        let key = path.pop().expect("a name has a part");
        let table = path
            .iter()
            .fold(&mut case.config, |at, table| at[*table].as_table_mut().expect("a table"));
        table.insert(key.into(), value.into());
        case
    }

    /// The same algorithm, keys that it has and that `applies` names changed, those of tables within too.
    pub(crate) fn with_each(
        &self,
        applies: impl Fn(&str) -> bool,
        value: impl Into<Value> + Clone,
    ) -> Self {
        let chosen = self.fields().into_iter().filter(|(key, _)| applies(leaf(key)));
        chosen.fold(self.clone(), |case, (key, _)| case.with(&key, value.clone()))
    }

    pub(crate) fn build(&self, key: Key) -> Box<dyn Learner> {
        (self.build)(&self.config, key).expect("a sound configuration")
    }

    /// The outer error is of the file's form, the inner one of a value.
    pub(crate) fn check(&self) -> Result<Result<(), ConfigError>, String> {
        (self.check)(&self.config)
    }
}

fn parse<A: serde::de::DeserializeOwned>(config: &Table) -> Result<A, String> {
    config.clone().try_into().map_err(|e: toml::de::Error| e.to_string())
}

/// Lays `over` on `under`, key by key, tables within tables too.
fn lay(under: &mut Table, over: Table) {
    for (key, value) in over {
        match (under.get_mut(&key).and_then(Value::as_table_mut), value) {
            (Some(under), Value::Table(over)) => lay(under, over),
            (_, value) => drop(under.insert(key, value)),
        }
    }
}

/// The defaults of `A` under `settings`.
fn settled<A: Default + serde::Serialize>(settings: &str) -> Table {
    let mut config = Table::try_from(A::default()).expect("a table of plain values");
    lay(&mut config, settings.parse().expect("settings of a test"));
    config
}

/// The last part of a field's name.
pub(crate) fn leaf(field: &str) -> &str {
    field.rsplit('.').next().expect("a name has a part")
}

/// A model of what happens next, which nobody has fitted.
pub(crate) fn model() -> Ensemble {
    let config = EnsembleConfig {
        members: 3,
        elites: 2,
        hidden: vec![8],
        weight_decay: vec![0.0; 2],
        ..Default::default()
    };
    Ensemble::new(config, SPEC, Direction::Forward, Key::new(60)).expect("a sound configuration")
}

/// A world model on this model, with everything of the dataset that an algorithm may ask for.
/// What an agent may know before it begins.
fn problem(with_model: bool) -> Problem {
    let problem = Problem::new(SPEC).with_stats(DatasetStats {
        holdout: Some(dataset(50)),
        initial: Some(dataset(20)),
        least_reward: Some(-1.0),
        greatest_reward: Some(2.0),
        reward_std: Some(10.0),
    });
    if with_model { problem.with_model(WorldModel::new(model(), never)) } else { problem }
}

/// Small versions of every algorithm, and of every branch that one has.
pub(crate) fn every() -> Vec<Case> {
    let nets = |settings: &str| format!("hidden = [16, 16]\n{settings}");
    let with_vae = |settings: &str| format!("hidden = [16, 16]\nvae_hidden = [16, 16]\n{settings}");
    vec![
        Case::new::<bc::Config>(&nets("")),
        Case::new::<td3::Config>(&nets("")),
        Case::new::<td3_bc::Config>(&nets("")),
        Case::new::<td3_bc::Config>(&nets("clone_real = true")),
        Case::new::<bcq::Config>(&with_vae("act_samples = 5")),
        Case::new::<bcq::Config>(&with_vae("act_samples = 5\nlayer_norm = true")),
        Case::new::<bear::Config>(&with_vae("act_samples = 5\nwarm_start = 3\nalpha_lr = 1e-2")),
        Case::new::<bear::Config>(&with_vae(
            "act_samples = 5\nwarm_start = 0\ntarget_actor = false\nkernel = 'gaussian'\nsigma = 20.0\ncritics = 3\nalpha = 1.0",
        )),
        Case::new::<iql::Config>(&nets("layer_norm = true")),
        Case::new::<iql::Config>(&nets("")),
        Case::new::<iql::Config>(&nets("deterministic = true\ndropout = 0.1")),
        Case::new::<sac::Config>(&nets("")),
        Case::new::<sac::Config>(&nets("layer_norm = true\ncloning = 2.5\nclone_real = true")),
        Case::new::<cql::Config>(&nets("warm_start = 3\nactor_lr = 3e-4")),
        Case::new::<cql::Config>(&nets(
            "warm_start = 0\nn_action_samples = 4\nthree_way = true\nentropy_backup = true\nlayer_norm = true\nactor_lr = 3e-4",
        )),
        Case::new::<cql::Config>(&nets(
            "warm_start = 0\nn_action_samples = 4\nmax_backup = true\ntarget_action_gap = 10.0\nactor_lr = 3e-4",
        )),
        Case::new::<edac::Config>(&nets("critics = 4\neta = 0.0\nlayer_norm = true")),
        Case::new::<edac::Config>(&nets("critics = 3\neta = 1.0")),
        Case::new::<edac::Config>(&nets(
            "critics = 2\neta = 0.5\nentropy_backup = false\nalpha = 0.1",
        )),
        Case::new::<rebrac::Config>(&nets("")),
        Case::new::<awac::Config>(&nets("")),
        Case::new::<mcq::Config>(&with_vae("n_action_samples = 4\npolicy_samples = 3")),
        Case::new::<mcq::Config>(&with_vae(
            "n_action_samples = 4\npolicy_samples = 1\ntarget_pseudo = true\nfloor = 0.0\none_sided = true",
        )),
        Case::new::<osr::Config>(&osr_with("warm_up = 3")),
        Case::new::<osr::Config>(&osr_with(
            "warm_up = 0\ndivergence = 'policy_to_inverse'\nat_perturbed = false\nbeta = 0.1\nlambda = 0.01\n\
             [inverse]\nencode_action = false\nlog_std_of_mean = true\n[cql]\ncritics = 4\ncql_alpha = 0.0\nn_action_samples = 0\nentropy_backup = true",
        )),
        Case::new::<osr::Config>(&osr_with(
            "warm_up = 2\nvariant = 'osr_v'\nn_action_samples = 3\nlambda = 0.2\nbeta = 0.1",
        )),
        Case::new::<mopo::Config>("[sac]\nhidden = [16, 16]\n[rollouts]\nstarts = 20\nhorizon = 3"),
        Case::new::<rambo::Config>(
            "model_steps = 5\nmodel_batch = 16\ncloning_epochs = 2\n[sac]\nhidden = [16, 16]\n[rollouts]\nstarts = 20\nhorizon = 3",
        ),
        Case::new::<rambo::Config>(
            "lambda = 0.3\nuniform = true\nmodel_steps = 4\nmodel_batch = 16\ncloning_epochs = 0\n[sac]\nhidden = [16, 16]\n[rollouts]\nstarts = 20\nhorizon = 3",
        ),
        Case::new::<morel::Config>(
            "[sac]\nhidden = [16, 16]\n[rollouts]\nstarts = 20\nhorizon = 5",
        ),
        Case::new::<npg::Config>(&nets("warm_start = 1000000\npaths = 4\nvalue_hidden = [8]")),
        Case::new::<mobile::Config>(
            "hidden = [16, 16]\nnon_negative = false\nsamples = 4\n[rollouts]\nstarts = 20\nhorizon = 3",
        ),
        Case::new::<mobile::Config>(
            "hidden = [16, 16]\nnon_negative = false\nsamples = 4\ncritics = 4\nmax_backup = true\nentropy_backup = false\n\
             layer_norm = true\nalpha = 0.2\nalpha_lr = 0.0\n[rollouts]\nstarts = 20\nhorizon = 3",
        ),
        Case::new::<sdm_gan::Config>(
            "hidden = [16, 16]\ntarget_samples = 5\nact_samples = 5\nepoch = 10\nwarm_start = 0\n[rollouts]\nstarts = 20\nhorizon = 3",
        ),
        Case::new::<sdm_gan::Config>(
            "hidden = [16, 16]\ndivergence = 'wasserstein'\ntarget_samples = 1\nact_samples = 5\nepoch = 10\nwarm_start = 0\n\
             policy_period = 1\nnoise_dim = 4\n[rollouts]\nstarts = 20\nhorizon = 3",
        ),
        Case::new::<sdm_gan::Config>(
            "hidden = [16, 16]\ndivergence = 'mmd'\nmmd_samples = 4\ntarget_samples = 40\nact_samples = 5\nepoch = 20\n\
             warm_start = 2\n[rollouts]\nstarts = 20\nhorizon = 3",
        ),
        Case::new::<sdc::Config>(
            "warm_up = 2\nmmd_samples = 3\ntransition = { hidden = [8] }\n[cql]\nhidden = [16, 16]\nn_action_samples = 4\nactor_lr = 3e-4",
        ),
        Case::new::<sdc::Config>(
            "warm_up = 0\nmmd_samples = 2\nkernel = 'laplacian'\nwidth = 2.0\nthreshold = 0.1\nbeta = 0.1\nalpha = 0.1\n\
             transition = { hidden = [8], latent = 2 }\n[cql]\nhidden = [16, 16]\nn_action_samples = 2\nactor_lr = 3e-4\ncritics = 3",
        ),
        Case::new::<scas::Config>(&nets("")),
        Case::new::<scas::Config>(&nets(
            "mean_target = true\ncritics = 3\nelites = 2\nbeta = 0.1\nactor_lr_decay_steps = 0",
        )),
        Case::new::<combo::Config>(
            "[cql]\nhidden = [16, 16]\nactor_lr = 3e-4\n[rollouts]\nstarts = 20\nhorizon = 3",
        ),
        Case::new::<combo::Config>(
            "rho = 'model'\nuniform_rollout = true\n[cql]\nhidden = [16, 16]\nn_action_samples = 4\ntarget_action_gap = 10.0\nthree_way = true\n\
             entropy_backup = true\nlayer_norm = true\nactor_lr = 3e-4\n[rollouts]\nstarts = 20\nhorizon = 3",
        ),
        Case::new::<combo::Config>(
            "rho = 'model'\nmu = 'policy'\n[cql]\nhidden = [16, 16]\nn_action_samples = 4\nactor_lr = 3e-4\ncql_alpha = 1.0\nwarm_start = 3\n\
             [rollouts]\nstarts = 20\nhorizon = 3",
        ),
        Case::new::<combo::Config>(
            "mu = 'uniform'\n[cql]\nhidden = [16, 16]\nn_action_samples = 4\nmax_backup = true\nactor_lr = 3e-4\ncql_alpha = 1.0\n\
             [rollouts]\nstarts = 20\nhorizon = 3",
        ),
    ]
}

/// `settings` over OSR with small nets.
fn osr_with(settings: &str) -> String {
    let mut small: Table = "[inverse]\nencoder_hidden = [8]\ndecoder_hidden = [8, 8]\nlatent = 3\n[cql]\nhidden = [16, 16]\nn_action_samples = 4\nactor_lr = 3e-4"
        .parse()
        .expect("a table");
    lay(&mut small, settings.parse().expect("a table"));
    small.to_string()
}

/// Random transitions; one in ten is terminal.
pub(crate) fn dataset(rows: u64) -> Transitions {
    let mut dataset = columns();
    for i in 0..rows {
        let key = Key::new(70).fold(i);
        let (mut s, mut a, mut s2, mut a2) = ([0.0; 3], [0.0; 2], [0.0; 3], [0.0; 2]);
        key.name("s").normal(&mut s);
        key.name("a").uniform(-1.0, 1.0, &mut a);
        key.name("s2").normal(&mut s2);
        key.name("a2").uniform(-1.0, 1.0, &mut a2);
        let terminal = key.below(10, 0) == 0;
        dataset.push_followed(
            &s,
            &a,
            s[0] + a[1],
            &s2,
            terminal,
            if terminal { &[0.0; 2] } else { &a2 },
        );
    }
    dataset
}

/// The same, of which none is terminal.
pub(crate) fn going_on(rows: u64) -> Transitions {
    let mut dataset = dataset(rows);
    dataset.values_mut(Column::Terminal).fill(0.0);
    dataset
}

/// Columns with everything that any algorithm asks for.
pub(crate) fn columns() -> Transitions {
    Transitions::new(SPEC).with_next_actions(true)
}

/// Updates `from..to`, on batches of which a part is said to be imagined.
pub(crate) fn train(learner: &mut dyn Learner, from: u64, to: u64) {
    let dataset = dataset(300);
    let mut staging = columns();
    for step in from..to {
        let key = Key::new(71).fold(step);
        staging.clear();
        dataset.sample_into(key.name("batch"), 20, &mut staging);
        staging.begin_imagined();
        dataset.sample_into(key.name("imagined"), 12, &mut staging);
        let metrics = learner.update(staging.batch(), key);
        assert!(metrics.iter().all(|(_, x)| x.is_finite()), "{metrics:?}");
    }
}
