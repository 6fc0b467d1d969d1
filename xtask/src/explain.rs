//! `cargo xtask explain`: what an algorithm does and how it is set, from the head of its own source.

use anyhow::{Context, bail};
use backcast::AlgorithmConfig;
use backcast::algos::{blocks::metrics::METRICS, fqe, mbpo, romi, td3};
use backcast::core::{Algorithm, Domain, Hyperparameter, Hyperparameters};
use std::io::Write;

/// Which algorithm.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Its name, as experiments have it; without one, all names
    algorithm: Option<String>,
    /// Make the book's page of hyperparameters anew
    #[arg(long, conflicts_with = "algorithm")]
    book: bool,
}

/// Something that can be explained.
struct Subject {
    name: &'static str,
    /// The text of its file, whose head says what it computes.
    source: &'static str,
    declared: &'static [Hyperparameter],
    /// Where its hyperparameters stand in an experiment; nothing where experiments do not have it.
    section: &'static str,
    defaults: toml::Table,
}

/// Every algorithm, and what else has an essay at its head.
fn subjects() -> anyhow::Result<Vec<Subject>> {
    let mut subjects = Vec::new();
    for about in AlgorithmConfig::ALL {
        let defaults: AlgorithmConfig = toml::from_str(&format!("name = {:?}", about.name)).context("defaults")?;
        subjects.push(Subject {
            name: about.name,
            source: about.source,
            declared: about.declared,
            section: "algorithm",
            defaults: toml::Table::try_from(defaults).context("defaults")?,
        });
    }
    let others = [
        ("romi", romi::SOURCE, romi::Config::DECLARED, "imagination", table(romi::Config::default())?),
        ("fqe", fqe::SOURCE, fqe::Config::DECLARED, "selection.fqe", table(fqe::Config::default())?),
        ("td3", td3::Config::SOURCE, td3::Config::DECLARED, "", table(td3::Config::default())?),
        ("mbpo", mbpo::SOURCE, mbpo::Config::DECLARED, "", table(mbpo::Config::default())?),
    ];
    subjects.extend(others.map(|(name, source, declared, section, defaults)| Subject {
        name,
        source,
        declared,
        section,
        defaults,
    }));
    Ok(subjects)
}

fn table(config: impl serde::Serialize) -> anyhow::Result<toml::Table> {
    toml::Table::try_from(config).context("defaults")
}

pub(crate) fn main(args: Args) -> anyhow::Result<()> {
    if args.book {
        return std::fs::write(crate::root().join(PAGE_PATH), page()?).context(PAGE_PATH);
    }
    let mut out = std::io::stdout().lock();
    match args.algorithm {
        Some(name) => writeln!(out, "{}", explain(&name)?)?,
        None => {
            for Subject { name, source, .. } in subjects()? {
                writeln!(out, "{name:>8}  {}", head(source).split(['.', '\n']).next().unwrap_or_default())?;
            }
            writeln!(out, "\n`cargo xtask explain NAME` for one of them")?;
        }
    }
    Ok(())
}

/// Prints the JSON schema of experiment files.
pub(crate) fn schema() -> anyhow::Result<()> {
    let text = serde_json::to_string_pretty(&backcast::schema()).context("plain values")?;
    Ok(writeln!(std::io::stdout().lock(), "{text}")?)
}

/// The head of an algorithm's source, then every hyperparameter with its default, its range and its unit.
fn explain(name: &str) -> anyhow::Result<String> {
    let subjects = subjects()?;
    let names = || subjects.iter().map(|subject| subject.name).collect::<Vec<_>>().join(", ");
    let Some(subject) = subjects.iter().find(|subject| subject.name == name) else {
        bail!("there is no algorithm `{name}`; there are: {}", names())
    };
    let mut text = head(subject.source);
    text.push_str("\n\nHyperparameters");
    if !subject.section.is_empty() {
        text.push_str(&format!(", in an experiment under [{}]", subject.section));
    }
    text.push_str(":\n");
    for Hyperparameter { name, about, domain, .. } in subject.declared {
        let default = subject.defaults.get(*name).map_or_else(|| "nothing".into(), written);
        let about = about.lines().map(str::trim).collect::<Vec<_>>().join(" ");
        text.push_str(&format!("\n  {name} = {default}{}\n      {about}\n", range(*domain)));
    }
    let logged = METRICS.iter().filter(|(name, _)| subject.source.contains(&format!("\"{name}\"")));
    let logged: Vec<String> = logged.map(|(name, about)| format!("\n  {name}\n      {about}\n")).collect();
    if !logged.is_empty() {
        text.push_str(&format!("\nMetrics, beside those of what it builds on:\n{}", logged.concat()));
    }
    Ok(text)
}

/// The table of every algorithm's hyperparameters, for the book.
fn page() -> anyhow::Result<String> {
    let mut text = PAGE.to_owned();
    for Subject { name, declared, defaults, .. } in subjects()? {
        text.push_str(&format!("\n## {name}\n\n| key | default | range, unit | meaning |\n|---|---|---|---|\n"));
        for Hyperparameter { name, about, domain, .. } in declared {
            let default = defaults.get(*name).map_or_else(|| "none".into(), written);
            let about =
                about.lines().map(str::trim).collect::<Vec<_>>().join(" ").replace('|', "\\|").replace("\\\\|", "\\|");
            let range = range(*domain).replace("    # ", "");
            text.push_str(&format!("| `{name}` | `{default}` | {range} | {} |\n", plain(about.trim())));
        }
    }
    Ok(text)
}

/// Documentation without links to items of code, which a page of the book does not have.
fn plain(about: &str) -> String {
    let mut text = String::new();
    let mut rest = about;
    while let Some((before, after)) = rest.split_once('[') {
        text.push_str(before);
        match after.split_once(']') {
            Some((inside, after)) if inside.starts_with('`') => {
                text.push_str(inside);
                rest = match after.strip_prefix('(').and_then(|after| after.split_once(')')) {
                    Some((_, after)) => after,
                    None => after,
                };
            }
            _ => {
                text.push('[');
                rest = after;
            }
        }
    }
    text.push_str(rest);
    text
}

const PAGE: &str = "# Hyperparameters\n\nEvery hyperparameter of every algorithm, made by `cargo xtask explain --book` from the \
                    declarations in the source.\n`cargo xtask schema` prints the same for editors, as a JSON schema of experiment \
                    files.\n";

const PAGE_PATH: &str = "docs/src/algorithms/hyperparameters.md";

/// What a number may be and what it counts, where that is said.
fn range(domain: Domain) -> String {
    let bounds = (domain.bounds() != backcast::core::ANY.bounds()).then(|| domain.to_string());
    let said: Vec<String> =
        [bounds, Some(domain.unit_name().to_owned())].into_iter().flatten().filter(|s| !s.is_empty()).collect();
    if said.is_empty() { String::new() } else { format!("    # {}", said.join(", in ")) }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_hyperparameter_of_every_algorithm_is_explained() {
        for about in AlgorithmConfig::ALL {
            let name = &about.name;
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
        assert!(explain("iql").unwrap().contains("\n  tau = 0.005    # in (0, 1]\n"));
    }

    #[test]
    fn the_book_has_the_hyperparameters_of_the_source() {
        let shown = std::fs::read_to_string(crate::root().join(PAGE_PATH)).expect("a page of the book");
        assert!(shown == page().expect("defaults"), "{PAGE_PATH} is of another source: `cargo xtask explain --book`");
    }

    #[test]
    fn links_to_code_become_plain() {
        assert_eq!(plain("see [`a`](crate::a) and [`b`], in [0, 1]"), "see `a` and `b`, in [0, 1]");
    }
}
