use backcast_core::{Algorithm, ConfigError, Key, Learner, Problem};
use serde::{Deserialize, Serialize};

macro_rules! config {
    ($($Variant:ident $module:ident)*) => {
        /// The algorithm of an experiment: `name` chooses it, the other keys are its hyperparameters.
        #[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
        #[serde(tag = "name", rename_all = "snake_case")]
        pub enum AlgorithmConfig {
            $(
                #[doc = concat!("[`", stringify!($module), "`](backcast_algos::", stringify!($module), ").")]
                $Variant(backcast_algos::$module::Config),
            )*
        }

        /// What is known of an algorithm beside its hyperparameters.
        #[derive(Clone, Copy, Debug)]
        pub struct About {
            /// Its short name.
            pub name: &'static str,
            /// Authors, title, identifier.
            pub paper: &'static str,
            /// The text of its file.
            pub source: &'static str,
            /// Its hyperparameters.
            pub declared: &'static [backcast_core::Hyperparameter],
        }

        impl AlgorithmConfig {
            /// Every algorithm that an experiment can name.
            pub const ALL: &'static [About] = &[$({
                use backcast_algos::$module::Config;
                About {
                    name: Config::NAME,
                    paper: Config::PAPER,
                    source: Config::SOURCE,
                    declared: <Config as backcast_core::Hyperparameters>::DECLARED,
                }
            },)*];

            /// Whether every hyperparameter makes sense.
            ///
            /// # Errors
            /// The first that does not, and what it must be instead.
            pub fn check(&self) -> Result<(), ConfigError> {
                match self {
                    $(Self::$Variant(config) => config.check(),)*
                }
            }

            /// An agent for `problem`, its parameters drawn by `key`.
            ///
            /// # Errors
            /// If a hyperparameter makes no sense, or the problem has no model and the algorithm needs one.
            pub fn build(&self, problem: Problem, key: Key) -> Result<Box<dyn Learner>, ConfigError> {
                Ok(match self {
                    $(Self::$Variant(config) => Box::new(config.build(problem, key)?),)*
                })
            }

            /// Whether it learns with a model of what happens next, and imagines there itself or asks it in its updates.
            pub fn needs_model(&self) -> bool {
                match self {
                    $(Self::$Variant(_) => <backcast_algos::$module::Config as Algorithm>::USES_MODEL,)*
                }
            }

            /// Whether its policy is to choose among fresh candidates at every step when it is evaluated. All others are evaluated by their
            /// deterministic action.
            pub fn acts_by_candidates(&self) -> bool {
                match self {
                    $(Self::$Variant(_) => <backcast_algos::$module::Config as Algorithm>::ACTS_BY_CANDIDATES,)*
                }
            }

            /// Whether its batches must bring the action recorded at the next state: the dataset then loses the rows that have none.
            pub fn needs_next_actions(&self) -> bool {
                match self {
                    $(Self::$Variant(config) => config.needs_next_actions(),)*
                }
            }

            /// Its discount γ, if it has one.
            pub fn discount(&self) -> Option<f64> {
                match self {
                    $(Self::$Variant(config) => config.discount(),)*
                }
            }

            /// The algorithm's short name.
            pub fn name(&self) -> &'static str {
                match self {
                    $(Self::$Variant(_) => <backcast_algos::$module::Config as Algorithm>::NAME,)*
                }
            }
        }
    };
}

backcast_algos::algorithms!(config);

impl Default for AlgorithmConfig {
    fn default() -> Self {
        Self::Bcq(backcast_algos::bcq::Config::default())
    }
}
