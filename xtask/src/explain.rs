//! `cargo xtask explain`: what an algorithm does and how it is set, from the head of its own source.

use anyhow::{Context, bail};
use backcast::AlgorithmConfig;
use std::io::Write;

/// Which algorithm.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Its name, as experiments have it; without one, all names
    algorithm: Option<String>,
}

macro_rules! sources {
    ($($name:literal $file:literal)*) => {
        &[$(($name, include_str!(concat!("../../crates/algos/src/", $file)))),*]
    };
}

/// The file of each algorithm: the head says what it does, its `Config` how it is set.
const SOURCES: &[(&str, &str)] = sources! {
    "bc" "bc.rs"  "td3_bc" "td3_bc.rs"  "bcq" "bcq.rs"  "bear" "bear.rs"  "rebrac" "rebrac.rs"  "awac" "awac.rs"
    "iql" "iql.rs"  "sac" "sac.rs"  "cql" "cql.rs"  "edac" "edac.rs"  "mcq" "mcq.rs"  "osr" "osr.rs"  "mopo" "mopo.rs"
    "rambo" "rambo.rs"  "morel" "morel.rs"  "npg" "npg/mod.rs"  "combo" "combo.rs"  "mobile" "mobile.rs"
    "sdm_gan" "sdm_gan/mod.rs"  "sdc" "sdc.rs"  "scas" "scas.rs"
};

/// Where a `Config` has a file of its own.
const CONFIGS: &[(&str, &str)] = sources! { "sdm_gan" "sdm_gan/config.rs" };

pub(crate) fn main(args: Args) -> anyhow::Result<()> {
    let mut out = std::io::stdout().lock();
    match args.algorithm {
        Some(name) => writeln!(out, "{}", explain(&name)?)?,
        None => {
            for (name, source) in SOURCES {
                writeln!(out, "{name:>8}  {}", head(source).split(['.', '\n']).next().unwrap_or_default())?;
            }
            writeln!(out, "\n`cargo xtask explain NAME` for one of them")?;
        }
    }
    Ok(())
}

/// The head of an algorithm's source, then every hyperparameter with its default.
fn explain(name: &str) -> anyhow::Result<String> {
    let names = || SOURCES.iter().map(|(name, _)| *name).collect::<Vec<_>>().join(", ");
    let Some((name, source)) = SOURCES.iter().find(|(own, _)| *own == name) else {
        bail!("there is no algorithm `{name}`; there are: {}", names())
    };
    let config = CONFIGS.iter().find(|(own, _)| own == name).map_or(*source, |(_, config)| *config);
    let defaults: AlgorithmConfig = toml::from_str(&format!("name = {name:?}")).context("defaults")?;
    let defaults = toml::Table::try_from(defaults).context("defaults")?;
    let mut text = head(source);
    text.push_str("\n\nSettings, in an experiment under [algorithm]:\n");
    for Hyperparameter { name, about } in hyperparameters(config) {
        let default = match defaults.get(&name) {
            Some(value) => written(value),
            None => "nothing".into(),
        };
        text.push_str(&format!("\n  {name} = {default}\n      {about}\n"));
    }
    Ok(text)
}

/// A default as one would write it.
fn written(value: &toml::Value) -> String {
    match value {
        // Numbers are in single precision, and 0.005 is not 0.004999999888241291.
        toml::Value::Float(x) => format!("{:?}", *x as f32),
        toml::Value::Array(all) => format!("[{}]", all.iter().map(written).collect::<Vec<_>>().join(", ")),
        toml::Value::Table(all) => {
            let all: Vec<String> = all.iter().map(|(key, value)| format!("{key} = {}", written(value))).collect();
            format!("{{ {} }}", all.join(", "))
        }
        other => other.to_string(),
    }
}

/// The essay at the beginning of a source file.
fn head(source: &str) -> String {
    let lines = source.lines().map_while(|line| line.strip_prefix("//!"));
    lines.map(|line| line.strip_prefix(' ').unwrap_or(line)).collect::<Vec<_>>().join("\n")
}

struct Hyperparameter {
    name: String,
    about: String,
}

/// The fields of `pub struct Config` and what is said of them.
fn hyperparameters(source: &str) -> Vec<Hyperparameter> {
    let Some((_, body)) = source.split_once("pub struct Config {") else { return vec![] };
    let (mut hyperparameters, mut about) = (Vec::new(), Vec::new());
    for line in body.lines().take_while(|line| *line != "}").map(str::trim) {
        if let Some(text) = line.strip_prefix("///") {
            about.push(text.trim().to_owned());
        } else if let Some((name, _)) = line.strip_prefix("pub ").and_then(|field| field.split_once(':')) {
            hyperparameters.push(Hyperparameter { name: name.to_owned(), about: std::mem::take(&mut about).join(" ") });
        }
    }
    hyperparameters
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_hyperparameter_of_every_algorithm_is_explained() {
        for (name, _) in SOURCES {
            let text = explain(name).unwrap_or_else(|e| panic!("{name}: {e}"));
            assert!(text.lines().next().is_some_and(|line| line.len() > 20), "{name} has no head");
            let defaults: AlgorithmConfig = toml::from_str(&format!("name = {name:?}")).unwrap();
            assert_eq!(defaults.name(), *name);
            // Flattened fields aside, what a configuration writes out is what is explained.
            for (key, _) in toml::Table::try_from(defaults).unwrap().iter().filter(|(key, _)| *key != "name") {
                assert!(text.contains(&format!("\n  {key} = ")), "{name}: {key}");
            }
        }
        assert!(explain("td3bc").unwrap_err().to_string().contains("td3_bc"));
        assert!(explain("iql").unwrap().contains("\n  polyak = 0.005\n"));
    }
}
