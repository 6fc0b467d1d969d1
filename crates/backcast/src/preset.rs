//! The settings that papers and their authors' code give for a dataset: `preset = "hopper-medium-v2"` beside `name` in an
//! experiment's `algorithm` stands for them, under whatever other keys stand there.
//!
//! One file for each algorithm in the folder `presets` of this crate. A table is named after a dataset without its version, or,
//! ending in `*`, after all that begin so; the longest name that fits is taken. Only keys of the algorithm are in them: what
//! else belongs to a setting (size of the batch, scale of the rewards, whether observations are standardised) is said in the
//! comments, and has its own keys in an experiment.

use crate::AlgorithmConfig;
use std::collections::BTreeMap;

/// The files, by algorithm.
const FILES: &[(&str, &str)] = &[
    ("awac", include_str!("../presets/awac.toml")),
    ("bcq", include_str!("../presets/bcq.toml")),
    ("bear", include_str!("../presets/bear.toml")),
    ("combo", include_str!("../presets/combo.toml")),
    ("cql", include_str!("../presets/cql.toml")),
    ("edac", include_str!("../presets/edac.toml")),
    ("iql", include_str!("../presets/iql.toml")),
    ("mcq", include_str!("../presets/mcq.toml")),
    ("mobile", include_str!("../presets/mobile.toml")),
    ("mopo", include_str!("../presets/mopo.toml")),
    ("npg", include_str!("../presets/npg.toml")),
    ("osr", include_str!("../presets/osr.toml")),
    ("rambo", include_str!("../presets/rambo.toml")),
    ("rebrac", include_str!("../presets/rebrac.toml")),
    ("sac_n", include_str!("../presets/sac_n.toml")),
    ("scas", include_str!("../presets/scas.toml")),
    ("sdm_gan", include_str!("../presets/sdm_gan.toml")),
];

/// The algorithms that have presets.
pub fn algorithms() -> Vec<&'static str> {
    FILES.iter().map(|(name, _)| *name).collect()
}

/// A preset that does not exist.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PresetError {
    /// Nobody gives settings by dataset for this algorithm.
    #[error("`{algorithm}` has no presets; those who have: {}", algorithms().join(", "))]
    Algorithm {
        /// The algorithm.
        algorithm: String,
    },
    /// None for this dataset.
    #[error("`{algorithm}` has no preset for `{dataset}`; did you mean `{near}`?")]
    Dataset {
        /// The algorithm.
        algorithm: String,
        /// The dataset asked for.
        dataset: String,
        /// The nearest name that it has.
        near: String,
    },
    /// `preset` is not a string.
    #[error("`preset` is {0}; give the name of a dataset")]
    NotAName(String),
}

/// Every preset of `algorithm`: the datasets it is for, and its settings. Empty if there are none.
pub fn all(algorithm: &str) -> BTreeMap<String, toml::Table> {
    let text = FILES.iter().find(|(name, _)| *name == algorithm).map_or("", |(_, text)| text);
    let tables: toml::Table = text.parse().expect("a preset file is TOML: a test reads each");
    tables.into_iter().filter_map(|(dataset, settings)| Some((dataset, settings.as_table()?.clone()))).collect()
}

/// The settings of `algorithm` for `dataset`, keys of its configuration.
///
/// `sac_n` is the name under which the sizes of SAC-N's ensembles are found; its algorithm is `edac`.
///
/// ```
/// use backcast::preset::settings;
/// assert_eq!(settings("edac", "hopper-medium-v2")?["critics"].as_integer(), Some(50));
/// assert_eq!(settings("cql", "antmaze-umaze-v2")?["target_action_gap"].as_float(), Some(5.0));
/// # Ok::<(), backcast::preset::PresetError>(())
/// ```
pub fn settings(algorithm: &str, dataset: &str) -> Result<toml::Table, PresetError> {
    let mut presets = all(algorithm);
    if presets.is_empty() {
        return Err(PresetError::Algorithm { algorithm: algorithm.into() });
    }
    let plain = match dataset.rsplit_once("-v") {
        Some((plain, version)) if version.bytes().all(|b| b.is_ascii_digit()) => plain,
        _ => dataset,
    };
    let fits = |name: &String| name.strip_suffix('*').map_or(plain == *name, |family| plain.starts_with(family));
    // A family's star is shorter than any whole name that fits.
    if let Some(name) = presets.keys().filter(|name| fits(name)).max_by_key(|name| name.len()).cloned() {
        return Ok(presets.remove(&name).expect("it is there"));
    }
    let near = presets.into_keys().min_by_key(|name| strsim::levenshtein(plain, name)).expect("there are some");
    Err(PresetError::Dataset { algorithm: algorithm.into(), dataset: dataset.into(), near })
}

/// Replaces the key `preset` of an algorithm's table by the settings it stands for. Keys that are there already stay.
pub(crate) fn expand(algorithm: &mut toml::Table, name: &str) -> Result<(), PresetError> {
    let Some(preset) = algorithm.remove("preset") else { return Ok(()) };
    let dataset = preset.as_str().ok_or_else(|| PresetError::NotAName(preset.to_string()))?;
    // `sac_n:hopper-medium-v2` under the name edac.
    let (name, dataset) = dataset.split_once(':').unwrap_or((name, dataset));
    let over = std::mem::replace(algorithm, settings(name, dataset)?);
    lay(algorithm, over);
    Ok(())
}

/// Lays `over` on `under`, key by key, tables within tables too.
pub(crate) fn lay(under: &mut toml::Table, over: toml::Table) {
    for (key, value) in over {
        match (under.get_mut(&key).and_then(|u| u.as_table_mut()), value) {
            (Some(under), toml::Value::Table(over)) => lay(under, over),
            (_, value) => drop(under.insert(key, value)),
        }
    }
}

/// The algorithm whose configuration the presets of `file` are keys of.
pub fn algorithm_of(file: &str) -> &str {
    if file == "sac_n" { "edac" } else { file }
}

/// The algorithm that `file`'s preset for `dataset` configures.
pub fn configure(file: &str, dataset: &str) -> Result<AlgorithmConfig, PresetError> {
    let mut table = settings(file, dataset)?;
    table.insert("name".into(), algorithm_of(file).into());
    Ok(table.try_into().expect("keys of the algorithm: a test reads each"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use backcast_core::{Key, Spec, never};
    use backcast_dynamics::EnsembleConfig;

    #[test]
    fn every_preset_of_every_file_makes_a_learner() {
        let mut count = 0;
        for &(file, text) in FILES {
            let tables: toml::Table = text.parse().unwrap_or_else(|e| panic!("{file}: {e}"));
            for (dataset, settings) in tables {
                let mut table =
                    settings.as_table().unwrap_or_else(|| panic!("{file}: `{dataset}` is no table")).clone();
                table.insert("name".into(), algorithm_of(file).into());
                let config: AlgorithmConfig =
                    table.clone().try_into().unwrap_or_else(|e| panic!("{file}, {dataset}: {e}"));
                config.check().unwrap_or_else(|e| panic!("{file}, {dataset}: {e}"));
                // Made, to see that it can be, of nets that cost nothing.
                let within = ["mopo", "morel", "rambo"].contains(&file).then_some("sac");
                let nets = match within.or(["combo", "osr"].contains(&file).then_some("cql")) {
                    Some(within) => {
                        let none = || toml::Table::new().into();
                        table.entry(within).or_insert_with(none).as_table_mut().expect("a table")
                    }
                    None => &mut table,
                };
                nets.insert("hidden".into(), vec![4].into());
                if ["bcq", "bear", "mcq"].contains(&file) {
                    table.insert("vae_hidden".into(), vec![4].into());
                }
                let config: AlgorithmConfig = table.try_into().expect("read above");
                let model = EnsembleConfig {
                    members: 2,
                    elites: 1,
                    hidden: vec![4],
                    weight_decay: vec![0.0; 2],
                    ..Default::default()
                };
                let problem = crate::run::nowhere(model, never, Spec::new(3, 2)).expect("a sound model");
                assert!(config.build(problem, Key::new(0)).is_ok(), "{file}, {dataset}");
                count += 1;
            }
        }
        assert!(count > 80, "{count}");
    }

    #[test]
    fn the_longest_name_that_fits_is_taken() {
        let critics = |dataset| settings("edac", dataset).unwrap()["critics"].as_integer();
        assert_eq!(critics("hopper-medium-replay-v2"), Some(50));
        assert_eq!(critics("maze2d-large-v1"), Some(10));
        let eta = |dataset| settings("edac", dataset).unwrap()["eta"].as_float();
        assert_eq!((eta("walker2d-medium-v2"), eta("walker2d-medium-expert-v2")), (Some(1.0), Some(5.0)));
        assert_eq!(configure("sac_n", "hopper-medium-v2").unwrap().name(), "edac");
        assert!(matches!(settings("edac", "kitchen-mixed-v0"), Err(PresetError::Dataset { .. })));
        assert!(matches!(settings("edac", "hopper"), Err(PresetError::Dataset { .. })));
    }
}
