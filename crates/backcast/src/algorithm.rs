use backcast_algos::imagines::{Imagines, ModelBased, WorldModel};
use backcast_algos::{
    awac, bc, bcq, bear, combo, cql, edac, iql, mcq, mobile, mopo, morel, npg, osr, rambo, rebrac, sac, scas, sdc,
    sdm_gan, td3_bc,
};
use backcast_core::{Algorithm, ConfigError, Key, Learner, Spec};
use serde::{Deserialize, Serialize};

/// The algorithm of an experiment: `name` chooses the algorithm, the other keys are its configuration.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "name", rename_all = "snake_case")]
pub enum AlgorithmConfig {
    /// Behaviour cloning.
    Bc(bc::Config),
    /// TD3+BC.
    Td3Bc(td3_bc::Config),
    /// Batch-constrained Q-learning.
    Bcq(bcq::Config),
    /// BEAR.
    Bear(bear::Config),
    /// ReBRAC.
    Rebrac(rebrac::Config),
    /// Advantage-weighted actor–critic.
    Awac(awac::Config),
    /// Implicit Q-learning.
    Iql(iql::Config),
    /// Soft actor–critic.
    Sac(sac::Config),
    /// Conservative Q-learning.
    Cql(cql::Config),
    /// SAC-N and EDAC.
    Edac(edac::Config),
    /// Mildly conservative Q-learning.
    Mcq(mcq::Config),
    /// OSR and OSR-v.
    Osr(osr::Config),
    /// MOPO.
    Mopo(mopo::Config),
    /// RAMBO.
    Rambo(rambo::Config),
    /// MOReL, with SAC.
    Morel(morel::Config),
    /// The natural policy gradient, in MOReL's pessimistic MDP.
    Npg(npg::Config),
    /// COMBO.
    Combo(combo::Config),
    /// MOBILE.
    Mobile(mobile::Config),
    /// SDM-GAN.
    SdmGan(sdm_gan::Config),
    /// SDC.
    Sdc(sdc::Config),
    /// SCAS.
    Scas(scas::Config),
}

/// Calls a method of whichever configuration it is: the first value for algorithms from batches, the second for those that
/// have a model.
macro_rules! each {
    ($of:expr, $config:pat => $value:expr, $on_model:pat => $model_based:expr) => {
        match $of {
            AlgorithmConfig::Bc($config) => $value,
            AlgorithmConfig::Td3Bc($config) => $value,
            AlgorithmConfig::Bcq($config) => $value,
            AlgorithmConfig::Bear($config) => $value,
            AlgorithmConfig::Rebrac($config) => $value,
            AlgorithmConfig::Awac($config) => $value,
            AlgorithmConfig::Iql($config) => $value,
            AlgorithmConfig::Sac($config) => $value,
            AlgorithmConfig::Cql($config) => $value,
            AlgorithmConfig::Edac($config) => $value,
            AlgorithmConfig::Mcq($config) => $value,
            AlgorithmConfig::Osr($config) => $value,
            AlgorithmConfig::Mopo($on_model) => $model_based,
            AlgorithmConfig::Rambo($on_model) => $model_based,
            AlgorithmConfig::Morel($on_model) => $model_based,
            AlgorithmConfig::Npg($on_model) => $model_based,
            AlgorithmConfig::Combo($on_model) => $model_based,
            AlgorithmConfig::Mobile($on_model) => $model_based,
            AlgorithmConfig::SdmGan($on_model) => $model_based,
            AlgorithmConfig::Sdc($on_model) => $model_based,
            AlgorithmConfig::Scas($on_model) => $model_based,
        }
    };
}

impl AlgorithmConfig {
    /// Whether every field makes sense.
    pub fn check(&self) -> Result<(), ConfigError> {
        each!(self, config => config.check(), config => config.check())
    }

    /// Whether it learns with a model of what happens next, and imagines there itself or asks it in its updates.
    pub fn needs_model(&self) -> bool {
        each!(self, _ => false, _ => true)
    }

    /// An algorithm for `spec`, its parameters drawn by `key`; none where it is to be built on a model.
    pub fn build(&self, spec: Spec, key: Key) -> Result<Option<Box<dyn Learner>>, ConfigError> {
        each!(self, config => Ok(Some(Box::new(config.build(spec, key)?))), _ => Ok(None))
    }

    /// An algorithm in `world_model`, its parameters drawn by `key`; none where it learns from batches alone.
    pub fn build_on(&self, world_model: WorldModel, key: Key) -> Result<Option<Box<dyn Imagines>>, ConfigError> {
        each!(self, _ => Ok(None), config => Ok(Some(Box::new(config.build_on(world_model, key)?))))
    }

    /// Whether its batches must bring the action recorded at the next state: the dataset then loses the rows that have none.
    pub fn needs_next_actions(&self) -> bool {
        matches!(self, Self::Rebrac(config) if config.beta2 > 0.0)
    }

    /// Whether its policy is to choose among fresh candidates at every step, as BCQ, BEAR and SDM-GAN do when they are evaluated. All others
    /// are evaluated by their deterministic action.
    pub fn acts_by_candidates(&self) -> bool {
        matches!(self, Self::Bcq(_) | Self::Bear(_) | Self::SdmGan(_))
    }

    /// Its discount γ, if it has one.
    pub fn discount(&self) -> Option<f64> {
        let table = toml::Table::try_from(self).ok()?;
        let gamma = |table: &toml::Table| table.get("gamma").and_then(toml::Value::as_float);
        let within = |name: &str| table.get(name).and_then(toml::Value::as_table).and_then(gamma);
        gamma(&table).or_else(|| within("sac")).or_else(|| within("cql"))
    }

    /// The algorithm's short name.
    pub fn name(&self) -> &'static str {
        fn name<A: Algorithm>(_: &A) -> &'static str {
            A::NAME
        }
        fn model_based<A: ModelBased>(_: &A) -> &'static str {
            A::NAME
        }
        each!(self, config => name(config), config => model_based(config))
    }
}

impl Default for AlgorithmConfig {
    fn default() -> Self {
        Self::Bcq(bcq::Config::default())
    }
}
