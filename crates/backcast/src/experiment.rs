use crate::checks::{check_name, finite};
use crate::data_config::MixOf;
use crate::hint::hint;
use crate::{AlgorithmConfig, DataConfig, RobustnessConfig, Sensitivity, preset};
use backcast_algos::romi::Starts;
use backcast_core::{COUNT, ConfigError, Direction, choices, hyperparameters};
use backcast_dynamics::{ActionVaeConfig, EnsembleConfig, GaussianBcConfig};
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use std::{fmt, ops::Range};

/// One reproducible experiment: a task, a dataset, models of it, and the same algorithm with and without imagination.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Experiment {
    /// A short name; the run's folder is called after it.
    pub name: String,
    /// What it shows, in a sentence or two.
    #[serde(default)]
    pub about: String,
    /// The environment it is evaluated in.
    pub task: String,
    /// Seeds.
    #[serde(default)]
    pub seeds: Seeds,
    /// Where the transitions come from.
    #[serde(default)]
    pub data: DataConfig,
    /// Whether observations are standardised for the algorithm.
    #[serde(default)]
    pub standardise: bool,
    /// The algorithm.
    #[serde(default)]
    pub algorithm: AlgorithmConfig,
    /// The models of the dynamics.
    #[serde(default)]
    pub model: EnsembleConfig,
    /// How transitions are imagined with them.
    #[serde(default)]
    pub imagination: backcast_algos::romi::Config,
    /// The policy of imagined chains where it is a VAE; `condition` follows the direction.
    #[serde(default)]
    pub rollout_vae: ActionVaeConfig,
    /// The policy of imagined chains where it is a Gaussian; `condition` follows the direction.
    #[serde(default)]
    pub rollout_gaussian: GaussianBcConfig,
    /// Updates and evaluations.
    #[serde(default)]
    pub training: Training,
    /// Whether, when all is learnt, the policies are tried from perturbed states too.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub robustness: Option<RobustnessConfig>,
    /// What is compared.
    #[serde(default = "Method::three")]
    pub methods: Vec<Method>,
    /// Hyperparameters that methods differ in, each drawn as a curve.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub sensitivity: Vec<Sensitivity>,
    /// Scores to stand beside.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub published: Vec<Published>,
}

/// `"0..5"`: one seed per number.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Seeds(pub Range<u64>);

impl Default for Seeds {
    fn default() -> Self {
        Self(0..5)
    }
}

impl TryFrom<String> for Seeds {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        let whole = || format!("seeds `{text}` are not of the form `0..5`");
        let (from, to) = text.split_once("..").ok_or_else(whole)?;
        let number = |s: &str| s.trim().parse::<u64>().map_err(|_| whole());
        let range = number(from)?..number(to)?;
        if range.is_empty() { Err(format!("seeds `{text}` are none")) } else { Ok(Self(range)) }
    }
}

impl From<Seeds> for String {
    fn from(seeds: Seeds) -> Self {
        format!("{}..{}", seeds.0.start, seeds.0.end)
    }
}

hyperparameters! {
    /// How long to learn, and how often to look.
    pub struct Training {
        /// Updates of the algorithm.
        updates: u64 = 100_000, COUNT.unit("updates");
        /// Rows of a batch.
        batch: usize = 100, COUNT.unit("rows");
        /// Updates between evaluations (and checkpoints).
        eval_every: u64 = 5_000, COUNT.unit("updates");
        /// Episodes of an evaluation on the way.
        eval_episodes: usize = 20, COUNT.unit("episodes");
        /// Episodes of the last evaluation, whose mean is the score.
        final_episodes: usize = 100, COUNT.unit("episodes");
    }
}

/// One method of the comparison.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Method {
    /// Its name in tables and figures.
    pub name: String,
    /// What it learns from beside the dataset.
    #[serde(default)]
    pub imagine: Imagine,
    /// Where its dataset differs from the experiment's: keys of `data` and their values here.
    #[serde(default, skip_serializing_if = "toml::Table::is_empty")]
    pub data: toml::Table,
    /// Where its algorithm differs from the experiment's: keys of `algorithm` and their values here. Another `name` starts from
    /// that algorithm's defaults.
    #[serde(default, skip_serializing_if = "toml::Table::is_empty")]
    pub algorithm: toml::Table,
}

choices! {
    /// What an algorithm is given beside the dataset.
    pub enum Imagine {
        /// Nothing.
        #[default]
        Nothing,
        /// Transitions imagined forwards.
        Forward,
        /// Transitions imagined backwards (ROMI).
        Reverse,
    }
}

impl Imagine {
    /// The direction of the model it needs.
    pub fn direction(self) -> Option<Direction> {
        match self {
            Self::Nothing => None,
            Self::Forward => Some(Direction::Forward),
            Self::Reverse => Some(Direction::Reverse),
        }
    }
}

impl Method {
    /// Backwards, forwards, data alone.
    pub fn three() -> Vec<Self> {
        [("reverse", Imagine::Reverse), ("forward", Imagine::Forward), ("data alone", Imagine::Nothing)]
            .map(|(name, imagine)| Self {
                name: name.into(),
                imagine,
                data: toml::Table::new(),
                algorithm: toml::Table::new(),
            })
            .into()
    }

    /// The name as part of a file's.
    pub fn slug(&self) -> String {
        slug(&self.name)
    }
}

/// `name` as part of a file's: letters and digits, small, and a dash for anything else.
pub fn slug(name: &str) -> String {
    name.chars().map(|c| if c.is_ascii_alphanumeric() { c.to_ascii_lowercase() } else { '-' }).collect()
}

/// A score somebody else reported.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Published {
    /// The method.
    pub label: String,
    /// Its normalised score.
    pub score: f64,
    /// Where it comes from.
    #[serde(default)]
    pub note: String,
}

/// What is wrong with an experiment file, with the nearest right key where one is close.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ExperimentError(String);

impl ExperimentError {
    pub(crate) fn new(why: String) -> Self {
        Self(why)
    }
}

impl fmt::Display for ExperimentError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for ExperimentError {}

impl Experiment {
    /// Reads and checks the text of an experiment file.
    pub fn parse(text: &str) -> Result<Self, ExperimentError> {
        Self::parse_with(text, &[])
    }

    /// As [`parse`](Experiment::parse), after applying `key.path=value` settings to it.
    pub fn parse_with(text: &str, settings: &[String]) -> Result<Self, ExperimentError> {
        // Without settings, parse the text itself: its errors then point at lines.
        let experiment: Self = if settings.is_empty() && !text.contains("preset") {
            toml::from_str(text).map_err(|e| complaint::<Self>(&e, text.parse().ok().as_ref()))?
        } else {
            let mut table: toml::Table = text.parse().map_err(|e| complaint::<Self>(&e, None))?;
            settings.iter().try_for_each(|s| set(&mut table, s))?;
            expand_presets(&mut table)?;
            read(table)?
        };
        experiment.check()?;
        Ok(experiment)
    }

    /// Whether every value makes sense.
    pub fn check(&self) -> Result<(), ExperimentError> {
        check_name("name", &self.name)?;
        finite(self, "")?;
        let section = |name: &'static str| move |e: ConfigError| ExperimentError(format!("{name}.{e}"));
        self.algorithm.check().map_err(section("algorithm"))?;
        self.model.check().map_err(section("model"))?;
        self.imagination.check().map_err(section("imagination"))?;
        self.rollout_vae.check().map_err(section("rollout_vae"))?;
        self.rollout_gaussian.check().map_err(section("rollout_gaussian"))?;
        self.training.check().map_err(section("training"))?;
        self.data.check().map_err(section("data"))?;
        if let Some(robustness) = &self.robustness {
            robustness.support.check().map_err(section("robustness.support"))?;
            robustness.check_for(&self.task).map_err(section("robustness"))?;
        }
        let bad = |why: String| Err(ExperimentError(why));
        if self.methods.is_empty() {
            return bad("`methods` is empty; there is nothing to learn".into());
        }
        for (i, method) in self.methods.iter().enumerate() {
            if self.methods[..i].iter().any(|other| other.slug() == method.slug()) {
                return bad(format!("`methods`: two are called `{}`", method.name));
            }
            check_name(&format!("methods[{i}].name"), &method.name)?;
            finite(&self.algorithm_of(method)?, &format!("methods[{i}].algorithm"))?;
            self.check_imagining(method)?;
        }
        for (i, curve) in self.sensitivity.iter().enumerate() {
            if self.sensitivity[..i].iter().any(|other| slug(&other.label) == slug(&curve.label)) {
                return bad(format!("`sensitivity`: two are called `{}`", curve.label));
            }
            curve.check(self)?;
        }
        Ok(())
    }

    /// The dataset of `method`: the experiment's, with the method's own keys in place.
    pub fn data_of(&self, method: &Method) -> Result<DataConfig, ExperimentError> {
        let named = |e: &dyn fmt::Display| ExperimentError(format!("method `{}`: data: {e}", method.name));
        let mut table = toml::Table::try_from(&self.data).map_err(|e| named(&e))?;
        table.extend(method.data.clone());
        let data: DataConfig = read(table).map_err(|e| named(&e))?;
        data.check().map_err(|e| named(&e))?;
        Ok(data)
    }

    /// What a method that imagines cannot have: models are of the experiment's whole dataset, and imagined rows end there.
    fn check_imagining(&self, method: &Method) -> Result<(), ExperimentError> {
        let bad = |why: &str| Err(ExperimentError(format!("method `{}`: {why}", method.name)));
        let data = self.data_of(method)?;
        let weighted = self.imagination.starts == Starts::ReturnPrioritised;
        if weighted && data.best_episodes.is_some() {
            return bad("data: `best_episodes` does not go with starts by return, which weigh every episode");
        }
        if weighted && data.mix.as_ref().is_some_and(|mix| mix.of == MixOf::Rows) {
            return bad(
                "data: `mix` of rows does not go with starts by return: a row that was replaced has no episode",
            );
        }
        let algorithm = self.algorithm_of(method)?;
        match (method.imagine == Imagine::Nothing, algorithm.needs_model()) {
            (true, false) => return Ok(()),
            (false, true) => return bad("imagine: its algorithm imagines by itself; leave this out"),
            _ => {}
        }
        if data != self.data || data.best_episodes.is_some() {
            return bad("data: what imagines learns from the experiment's whole dataset, as its models do");
        }
        match algorithm.needs_next_actions() {
            true => bad("algorithm: it asks for the action recorded at each next state, which imagined rows have not"),
            false => Ok(()),
        }
    }

    /// The algorithm of `method`: the experiment's, with the method's own keys in place.
    pub fn algorithm_of(&self, method: &Method) -> Result<AlgorithmConfig, ExperimentError> {
        let named = |e: &dyn fmt::Display| ExperimentError(format!("method `{}`: algorithm: {e}", method.name));
        let mut table = toml::Table::try_from(&self.algorithm).map_err(|e| named(&e))?;
        if method.algorithm.get("name").is_some_and(|name| Some(name) != table.get("name")) {
            table.clear();
        }
        preset::lay(&mut table, method.algorithm.clone());
        let algorithm: AlgorithmConfig = read(table).map_err(|e| named(&e))?;
        algorithm.check().map_err(|e| named(&e))?;
        Ok(algorithm)
    }

    /// The whole configuration, every default written out.
    pub fn to_toml(&self) -> String {
        toml::to_string_pretty(self).expect("an experiment is a table of plain values")
    }
}

/// Puts ROMI's settings for a task in the place of `preset`.
fn expand_imagination(table: &mut toml::Table) -> Result<(), ExperimentError> {
    let Some(preset) = table.remove("preset") else { return Ok(()) };
    let unknown = || ExperimentError(format!("imagination: no settings were published for the preset {preset}"));
    let settings = preset.as_str().and_then(backcast_algos::romi::Config::preset).ok_or_else(unknown)?;
    let over = std::mem::replace(table, toml::Table::try_from(settings).expect("plain values"));
    preset::lay(table, over);
    Ok(())
}

/// Puts the settings of every `preset` in its place: that of the experiment's algorithm, and those of its methods.
fn expand_presets(table: &mut toml::Table) -> Result<(), ExperimentError> {
    let named = |e: preset::PresetError| ExperimentError(e.to_string());
    let name = |algorithm: &toml::Table| algorithm.get("name").and_then(|name| name.as_str()).map(str::to_owned);
    if let Some(imagination) = table.get_mut("imagination").and_then(|i| i.as_table_mut()) {
        expand_imagination(imagination)?;
    }
    let mut default = AlgorithmConfig::default().name().to_owned();
    if let Some(algorithm) = table.get_mut("algorithm").and_then(|a| a.as_table_mut()) {
        default = name(algorithm).unwrap_or(default);
        preset::expand(algorithm, &default).map_err(named)?;
    }
    for method in table.get_mut("methods").and_then(|methods| methods.as_array_mut()).into_iter().flatten() {
        if let Some(algorithm) = method.get_mut("algorithm").and_then(|a| a.as_table_mut()) {
            let own = name(algorithm).unwrap_or_else(|| default.clone());
            preset::expand(algorithm, &own).map_err(named)?;
        }
    }
    Ok(())
}

/// Applies one `a.b=value`; a value that is not TOML is taken as a string.
fn set(table: &mut toml::Table, setting: &str) -> Result<(), ExperimentError> {
    let form = || ExperimentError(format!("setting `{setting}` is not of the form key.path=value"));
    let (path, value) = setting.split_once('=').ok_or_else(form)?;
    let value = value.trim();
    let value = format!("v = {value}")
        .parse::<toml::Table>()
        .ok()
        .and_then(|mut t| t.remove("v"))
        .unwrap_or_else(|| toml::Value::String(value.to_owned()));
    let mut keys = path.trim().split('.').peekable();
    let mut at = table;
    while let Some(key) = keys.next() {
        if key.is_empty() {
            return Err(form());
        }
        if keys.peek().is_none() {
            at.insert(key.to_owned(), value);
            return Ok(());
        }
        let next = at.entry(key).or_insert_with(|| toml::Value::Table(toml::Table::new()));
        at = next
            .as_table_mut()
            .ok_or_else(|| ExperimentError(format!("setting `{setting}`: `{key}` is not a table")))?;
    }
    Err(form())
}

/// `table` as a `T`; a complaint says where, and what was probably meant.
fn read<T: DeserializeOwned>(table: toml::Table) -> Result<T, ExperimentError> {
    table.clone().try_into().map_err(|e: toml::de::Error| complaint::<T>(&e, Some(&table)))
}

fn complaint<T: DeserializeOwned>(error: &toml::de::Error, table: Option<&toml::Table>) -> ExperimentError {
    let hint = table.and_then(hint::<T>);
    let mut message = error.to_string().trim_end().to_owned();
    if let Some(path) = hint.as_ref().and_then(|hint| hint.path.as_ref()).filter(|_| error.span().is_none()) {
        // Without a line to show, the keys that lead there; a key at the top is in the message already.
        let path = format!("`{path}`");
        let lead = if error.message().contains(&path) { String::new() } else { format!("{path}: ") };
        message = lead + error.message();
    }
    if let Some(nearest) = hint.and_then(|hint| hint.nearest) {
        message += &format!("\ndid you mean `{nearest}`?");
    }
    ExperimentError(message)
}

#[cfg(test)]
mod tests {
    use super::*;

    const LEAST: &str = "name = \"x\"\ntask = \"dmsd\"\nmethods = [{ name = \"alone\" }]\n";

    #[test]
    fn settings_override_and_the_resolved_file_reads_back() {
        let settings = ["training.batch=64", "algorithm.name=bcq", "algorithm.hidden=[8, 8]", "seeds=2..4"];
        let experiment = Experiment::parse_with(LEAST, &settings.map(String::from)).unwrap();
        assert_eq!(experiment.training.batch, 64);
        assert_eq!(experiment.seeds, Seeds(2..4));
        assert_eq!(Experiment::parse(&experiment.to_toml()).unwrap(), experiment);
    }

    #[test]
    fn what_is_said_of_a_file_reads_back() {
        for truncations in ["jumps", "{horizon=1000}", "recorded"] {
            let settings = [
                "data.file=x.npz".to_owned(),
                "data.clip_actions=1.0".into(),
                format!("data.truncations={truncations}"),
            ];
            let experiment = Experiment::parse_with(LEAST, &settings).unwrap();
            let reading = experiment.data.reading();
            assert!(
                (reading.truncations == backcast_data::Truncations::Recorded) == (truncations == "recorded")
                    && reading.clip_actions.is_some()
            );
            assert_eq!(Experiment::parse(&experiment.to_toml()).unwrap(), experiment);
        }
    }

    #[test]
    fn every_algorithm_has_a_name_and_reads_back() {
        let names = "bc td3_bc bcq bear rebrac awac iql sac cql edac mcq osr mopo morel npg combo rambo mobile scas sdc sdm_gan";
        for name in names.split(' ') {
            for option in ["", "algorithm.cloning=2.5", "algorithm.target_action_gap=5.0"] {
                let settings = [format!("algorithm.name={name}"), option.to_owned()];
                let known = option.is_empty() || name == if option.contains("cloning") { "sac" } else { "cql" };
                let given = &settings[..if option.is_empty() { 1 } else { 2 }];
                let experiment = Experiment::parse_with(LEAST, given);
                assert_eq!(experiment.is_ok(), known, "{settings:?}");
                let Ok(experiment) = experiment else { continue };
                assert_eq!(experiment.algorithm.name(), name);
                assert_eq!(Experiment::parse(&experiment.to_toml()).unwrap(), experiment, "{settings:?}");
                let method = Method { name: "a".into(), ..experiment.methods[0].clone() };
                assert_eq!(experiment.algorithm_of(&method).unwrap(), experiment.algorithm, "{settings:?}");
            }
        }
    }

    #[test]
    fn bad_keys_and_values_are_named() {
        for (text, settings, want) in [
            (LEAST, vec!["trainin.batch=3"], "did you mean `training`?"),
            (LEAST, vec!["algorithm.name=td3bc"], "did you mean `td3_bc`?"),
            (LEAST, vec!["algorithm.name=bcq", "algorithm.lamda=0.5"], "did you mean `lambda`?"),
            (LEAST, vec!["algorithm.name=bcq", "algorithm.lambda=2.0"], "algorithm.`lambda` is 2"),
            (LEAST, vec!["methods=[{name='a', algorithm={lamda=0.5}}]"], "did you mean `lambda`?"),
            (LEAST, vec!["methods=[{name='a', algorithm={lambda=2.0}}]"], "method `a`: algorithm: `lambda` is 2"),
            (LEAST, vec!["methods=[{name='a', data={best_episode=0.1}}]"], "did you mean `best_episodes`?"),
            (LEAST, vec!["methods=[{name='a', data={best_episodes=0.0}}]"], "method `a`: data: `best_episodes` is 0"),
            (LEAST, vec!["data.truncations=jumps"], "data.`truncations` is about a file"),
            (
                LEAST,
                vec!["data.file=x.npz", "data.truncations={horizon=0}"],
                "data.`truncations` is after every 0 rows",
            ),
            (LEAST, vec!["data.file=x.npz", "data.truncations=jump"], "did you mean `jumps`?"),
            (LEAST, vec!["data.file=x.npz", "data.clip_actions=-1.0"], "data.`clip_actions` is -1"),
            (
                LEAST,
                vec!["methods=[{name='a', imagine='reverse', data={rows=5000}}]"],
                "method `a`: data: what imagines",
            ),
            (LEAST, vec!["data.best_episodes=0.1", "methods=[{name='a', imagine='forward'}]"], "whole dataset"),
            (LEAST, vec!["data.best_episodes=0.1", "imagination.starts=return_prioritised"], "weigh every episode"),
            (
                LEAST,
                vec!["algorithm.name=rebrac", "methods=[{name='a', imagine='reverse'}]"],
                "method `a`: algorithm: it asks",
            ),
            (LEAST, vec!["algorithm.name=edac", "algorithm.preset=hoper-medium"], "did you mean `hopper-medium`?"),
            (LEAST, vec!["algorithm.name=bc", "algorithm.preset=hopper-medium"], "`bc` has no presets"),
            (LEAST, vec!["data.mix={random=1.5}"], "data.`mix` has a share of 1.5"),
            (LEAST, vec!["data.mix={randm=0.5}"], "did you mean `random`?"),
            (LEAST, vec!["data.mix={of='rows'}", "data.best_episodes=0.1"], "data.`best_episodes` does not go"),
            (LEAST, vec!["data.mix={of='rows'}", "imagination.starts=return_prioritised"], "has no episode"),
            (LEAST, vec!["robustness.at=[50, 100]"], "robustness.`at` has 100, and an episode of `dmsd` has 100 steps"),
            (LEAST, vec!["robustness.at=[50, 40]"], "robustness.`at`"),
            (LEAST, vec!["robustness.at=[0]"], "robustness.`at`"),
            (LEAST, vec!["robustness.levels=['none', 'huge']"], "unknown variant `huge`"),
            (LEAST, vec!["robustness.levels=['none', 'none']"], "robustness.`levels`"),
            (LEAST, vec!["robustness.episodes=0"], "robustness.`episodes` is 0"),
            (LEAST, vec!["robustness.episode=10"], "did you mean `episodes`?"),
            (LEAST, vec!["robustness.support.quantile=2.0"], "robustness.support.`quantile` is 2"),
            (LEAST, vec!["data.noise=-1.0"], "data.`noise` is -1"),
            (LEAST, vec!["training.batch=0"], "training.`batch` is 0"),
            (LEAST, vec!["seeds=5..5"], "seeds `5..5` are none"),
            (LEAST, vec!["imagination.preset=antmaz"], "no settings were published for the preset \"antmaz\""),
            (LEAST, vec!["imagination.agreement=1.5"], "imagination.`agreement` is 1.5"),
            (LEAST, vec!["published=[{label='a', score=1}, {label='b', score=-inf}]"], "`published[1].score` is -inf"),
            (LEAST, vec!["algorithm.name=td3_bc", "algorithm.actor_lr=1e39"], "`algorithm.actor_lr` is inf"),
            (LEAST, vec!["algorithm.name=td3_bc", "algorithm.alpha=nan"], "`algorithm.alpha` is nan"),
            (
                LEAST,
                vec!["methods=[{name='a', algorithm={name='td3_bc', alpha=nan}}]"],
                "`methods[0].algorithm.alpha` is nan",
            ),
            (LEAST, vec!["data.noise=inf"], "`data.noise` is inf"),
            (LEAST, vec!["nonsense"], "is not of the form"),
            ("name = \"x\"\ntask = 3", vec![], "line 2"),
            ("name = \"x\"", vec![], "missing field `task`"),
        ] {
            let settings: Vec<String> = settings.into_iter().map(String::from).collect();
            let error = Experiment::parse_with(text, &settings).unwrap_err().to_string();
            assert!(error.contains(want), "{settings:?}: {error}");
        }
    }

    #[test]
    fn a_method_changes_what_it_names_and_keeps_the_rest() {
        let methods = "methods=[{name='a'}, {name='b', algorithm={lambda=0.5}}, {name='c', algorithm={name='td3_bc'}}]";
        let settings = ["algorithm.name=bcq", "algorithm.hidden=[8, 8]", methods].map(String::from);
        let experiment = Experiment::parse_with(LEAST, &settings).unwrap();
        let [a, b, c] = [0, 1, 2].map(|i| experiment.algorithm_of(&experiment.methods[i]).unwrap());
        assert_eq!(a, experiment.algorithm);
        let AlgorithmConfig::Bcq(b) = b else { panic!("{b:?} is not BCQ") };
        assert_eq!((b.lambda, b.hidden.as_slice()), (0.5, [8, 8].as_slice()));
        assert_eq!(c, AlgorithmConfig::Td3Bc(Default::default()));
        assert_eq!(Experiment::parse(&experiment.to_toml()).unwrap(), experiment);
    }

    #[test]
    fn presets_stand_under_the_keys_beside_them() {
        let methods = "methods=[{name='a'}, {name='b', algorithm={preset='walker2d-medium-v2', eta=2.0}}, \
                    {name='c', algorithm={name='rebrac', preset='antmaze-large-play-v2'}}]";
        let settings = ["algorithm.name=edac", "algorithm.preset=hopper-medium-v2", methods].map(String::from);
        let experiment = Experiment::parse_with(LEAST, &settings).unwrap();
        let [a, b, c] = [0, 1, 2].map(|i| experiment.algorithm_of(&experiment.methods[i]).unwrap());
        let (AlgorithmConfig::Edac(a), AlgorithmConfig::Edac(b), AlgorithmConfig::Rebrac(c)) = (a, b, c) else {
            panic!()
        };
        assert_eq!((a.critics, a.eta, b.critics, b.eta), (50, 1.0, 10, 2.0));
        assert_eq!((c.gamma, c.beta1, c.beta2), (0.999, 0.002, 0.001));
        let romi = Experiment::parse_with(
            LEAST,
            &["imagination.preset=antmaze-umaze-v0", "imagination.horizon=3"].map(String::from),
        );
        let romi = romi.unwrap().imagination;
        assert_eq!((romi.ratio, romi.horizon, romi.starts), (0.1, 3, Starts::ReturnPrioritised));
        // Written out, nothing of the preset's name is left.
        assert_eq!(Experiment::parse(&experiment.to_toml()).unwrap(), experiment);
        assert!(!experiment.to_toml().contains("preset"));
        let in_text = format!("{LEAST}[algorithm]\nname = \"edac\"\npreset = \"hopper-medium-v2\"\n");
        assert_eq!(Experiment::parse(&in_text).unwrap().algorithm, experiment.algorithm);
    }
}
