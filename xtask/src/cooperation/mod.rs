//! `cargo xtask cooperation`: agents that act together, from a dataset: makes the datasets, learns from each with everybody, and prints the table.
//!
//! Whatever is finished is kept in the folder and not done again.

mod datasets;
mod learners;

use crate::svg::{Rungs, ladder, standalone};
use anyhow::{Context, bail};
use backcast::core::Key;
use backcast::factorization::team::preset::{Quality, Repository};
use backcast::stats::interquartile_mean;
use comfy_table::Table;
use comfy_table::presets::ASCII_MARKDOWN;
use datasets::{Made, Recipe, mean};
use learners::{Kind, Settings, Training};
use serde::{Deserialize, Serialize};
use std::collections::HashMap;
use std::io::Write;
use std::path::{Path, PathBuf};

#[derive(clap::Args)]
pub(crate) struct Args {
    /// The folder for datasets, results and figures
    #[arg(long, value_name = "DIR", default_value = "runs/cooperation")]
    out: PathBuf,
    /// The environment, of several agents
    #[arg(long, default_value = "spread-v0")]
    environment: String,
    /// Seeds
    #[arg(long, default_value_t = 5)]
    seeds: u64,
    /// Updates of an algorithm
    #[arg(long, default_value_t = 2000)]
    updates: u64,
    /// Rows of a batch
    #[arg(long, default_value_t = 256)]
    batch: usize,
    /// These datasets alone, such as medium,expert
    #[arg(long, value_name = "LOGS", value_delimiter = ',')]
    from: Vec<String>,
    /// These algorithms alone, such as bc,omar
    #[arg(long, value_name = "LEARNERS", value_delimiter = ',')]
    only: Vec<String>,
    /// Another learning rate than the settings'
    #[arg(long)]
    lr: Option<f32>,
    /// Another weight of the conservative penalty than the settings'
    #[arg(long)]
    alpha: Option<f32>,
    /// Make the datasets and stop
    #[arg(long)]
    datasets: bool,
    /// Settings of CFCQL's authors instead of OMAR's
    #[arg(long)]
    retuned: bool,
    /// A moment's learning, to see that everything works
    #[arg(long)]
    quick: bool,
}

/// One algorithm on one dataset with one seed, finished.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Finished {
    learner: Kind,
    dataset: String,
    seed: u64,
    settings: String,
    training: Training,
    /// Updates and mean returns.
    curve: Vec<(u64, f64)>,
}

impl Finished {
    fn is(&self, learner: Kind, dataset: &str, seed: u64, settings: &str, training: Training) -> bool {
        (self.learner, self.dataset.as_str(), self.seed) == (learner, dataset, seed)
            && self.settings == settings
            && self.training == training
    }
}

/// Refuses a name that is none of those there are.
fn known_names(option: &str, given: &[String], names: &[&str]) -> anyhow::Result<()> {
    match given.iter().find(|name| !names.contains(&name.as_str())) {
        Some(stranger) => bail!("{option}: there is no `{stranger}`; there are: {}", names.join(", ")),
        None => Ok(()),
    }
}

pub(crate) fn main(args: Args) -> anyhow::Result<()> {
    known_names("--from", &args.from, &Quality::ALL.map(|(name, _)| name))?;
    known_names("--only", &args.only, &Kind::ALL.map(|(kind, _)| kind.word()))?;
    datasets::agents(&args.environment)?;
    let folder = args.out.join(&args.environment);
    let made = datasets::make(&Recipe::new(&args.environment, args.quick), &folder)?;
    println!("{}", described(&made));
    if args.datasets {
        return Ok(());
    }
    let training = match args.quick {
        true => Training { updates: 20, batch: 32, evaluations: 2, episodes: 5 },
        false => Training { updates: args.updates, batch: args.batch, evaluations: 8, episodes: 100 },
    };
    let repository = if args.retuned { Repository::Cfcql } else { Repository::Omar };
    let settings = Settings { repository, lr: args.lr, alpha: args.alpha };
    let all = results(&args, &folder, settings, training)?;
    println!("{}", table(&made, &all, last));
    println!(
        "Change over the last quarter of the updates:\n\n{}",
        table(&made, &all, |f| last(f) - earlier(f) + made.random)
    );
    let drawn = folder.join("cooperation.svg");
    std::fs::write(&drawn, standalone(&figure(&made, &all))).with_context(|| drawn.display().to_string())?;
    println!("figure: {}", drawn.display());
    Ok(())
}

/// The return at the end.
fn last(f: &Finished) -> f64 {
    f.curve.last().map_or(f64::NAN, |(_, value)| *value)
}

/// The return when three quarters of the updates were done.
fn earlier(f: &Finished) -> f64 {
    let updates = f.curve.last().map_or(0, |(update, _)| *update);
    f.curve.iter().rev().find(|(update, _)| 4 * update <= 3 * updates).map_or(f64::NAN, |(_, value)| *value)
}

fn described(made: &Made) -> String {
    let mut table = Table::new();
    table.load_style(ASCII_MARKDOWN);
    table.set_header(["log", "rows", "mean return", "score"]);
    for ((name, _), (value, rows)) in Quality::ALL.iter().zip(&made.datasets) {
        table.add_row([
            (*name).to_owned(),
            rows.to_string(),
            format!("{value:.1}"),
            format!("{:.1}", made.score(*value)),
        ]);
    }
    let curve: Vec<String> = made.curve.iter().map(|(round, value)| format!("{round}: {value:.1}")).collect();
    format!(
        "{}: random {:.2}, expert {:.2}; medium after round {} of {}, {:.2}\n\n{table}\n\nonline, round: return: {}\n",
        made.recipe.environment,
        made.random,
        made.expert,
        made.medium_round,
        made.recipe.online.rounds,
        made.medium,
        curve.join(", ")
    )
}

/// The results in a file; a line that was cut off is none.
fn finished(text: &str) -> Vec<Finished> {
    text.lines().filter_map(|line| backcast::json::from_str(line).ok()).collect()
}

/// What was finished before, and what is done now.
fn results(args: &Args, folder: &Path, settings: Settings, training: Training) -> anyhow::Result<Vec<Finished>> {
    let path = folder.join("results.jsonl");
    let before = std::fs::read_to_string(&path).unwrap_or_default();
    let known = finished(&before);
    let mut file = std::fs::OpenOptions::new().create(true).append(true).open(&path);
    let file = file.as_mut().map_err(|e| anyhow::anyhow!("{}: {e}", path.display()))?;
    if !before.is_empty() && !before.ends_with('\n') {
        writeln!(file).with_context(|| path.display().to_string())?;
    }
    let mut read = HashMap::new();
    let mut all = Vec::new();
    for seed in 0..args.seeds {
        for (name, quality) in Quality::ALL {
            for (kind, shown) in Kind::ALL {
                let wanted = |list: &[String], name: &str| list.is_empty() || list.iter().any(|one| one == name);
                if !wanted(&args.from, name) || !wanted(&args.only, kind.word()) {
                    continue;
                }
                let key = Key::new(seed).name("cooperation");
                let rows = match read.entry((name, kind.next_actions())) {
                    std::collections::hash_map::Entry::Occupied(rows) => rows.into_mut(),
                    std::collections::hash_map::Entry::Vacant(empty) => {
                        empty.insert(datasets::read(folder, name, kind.next_actions())?)
                    }
                };
                let (mut learner, text) = kind.build(settings, quality, rows.spec(), key.name("learner"))?;
                if let Some(done) = known.iter().find(|f| f.is(kind, name, seed, &text, training)) {
                    all.push(done.clone());
                    continue;
                }
                let begun = std::time::Instant::now();
                let curve = learners::train(&mut *learner, rows, &args.environment, training, key)?;
                let done = Finished { learner: kind, dataset: name.to_owned(), seed, settings: text, training, curve };
                writeln!(file, "{}", backcast::json::to_string(&done)?).with_context(|| path.display().to_string())?;
                let seconds = begun.elapsed().as_secs_f64();
                println!("seed {seed}, {name}, {shown}: {:.2} in {seconds:.1} s", last(&done));
                all.push(done);
            }
        }
    }
    Ok(all)
}

/// Scores of an algorithm on a dataset, seed by seed.
fn scores(made: &Made, all: &[Finished], kind: Kind, dataset: &str, of: &dyn Fn(&Finished) -> f64) -> Vec<f64> {
    all.iter().filter(|f| f.learner == kind && f.dataset == dataset).map(|f| made.score(of(f))).collect()
}

/// Standard error of the mean.
fn error(values: &[f64]) -> f64 {
    let (n, middle) = (values.len() as f64, mean(values));
    (values.iter().map(|v| (v - middle).powi(2)).sum::<f64>() / (n - 1.0).max(1.0) / n).sqrt()
}

fn table(made: &Made, all: &[Finished], of: impl Fn(&Finished) -> f64) -> Table {
    let mut table = Table::new();
    table.load_style(ASCII_MARKDOWN);
    let names = Quality::ALL.map(|(name, _)| name);
    table.set_header(["learner"].into_iter().chain(names));
    for (kind, shown) in Kind::ALL {
        let cells = names.map(|dataset| {
            let values = scores(made, all, kind, dataset, &of);
            // Where only a part was asked for, the rest has no value.
            if values.is_empty() {
                return "–".to_owned();
            }
            format!("{:.1} ± {:.1} ({:.1})", mean(&values), error(&values), interquartile_mean(&values))
        });
        table.add_row([shown.to_owned()].into_iter().chain(cells));
    }
    table
}

fn figure(made: &Made, all: &[Finished]) -> String {
    let names = Quality::ALL.map(|(name, _)| name);
    let shown = [Kind::Bc, Kind::Icq, Kind::MaCql, Kind::Omar, Kind::Macql, Kind::Cfcql];
    let line = |(at, kind): (usize, Kind)| {
        let points = names.map(|dataset| {
            let values = scores(made, all, kind, dataset, &last);
            let (middle, aside) = (mean(&values), error(&values));
            (!values.is_empty()).then_some([middle, middle - aside, middle + aside])
        });
        let name = Kind::ALL.iter().find(|(k, _)| *k == kind).map_or("", |(_, name)| *name);
        Rungs { name, kind: at, points: points.to_vec() }
    };
    let lines: Vec<Rungs<'_>> = shown.into_iter().enumerate().map(line).collect();
    let label =
        "Scores of six algorithms on the four datasets, 0 being random and 100 the team that made the expert dataset";
    ladder(label, "log", "score", &names, &lines)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn some(seed: u64) -> Finished {
        let training = Training { updates: 80, batch: 4, evaluations: 4, episodes: 2 };
        let curve = vec![(20, -4.0), (40, -3.0), (60, -2.0), (80, -1.5)];
        Finished { learner: Kind::Omar, dataset: "medium".into(), seed, settings: "{}".into(), training, curve }
    }

    #[test]
    fn what_is_finished_is_known_again_and_a_line_cut_off_is_not() {
        let line = |seed| backcast::json::to_string(&some(seed)).unwrap();
        let text = format!("{}\n{}\n{}", line(0), line(1), &line(2)[..40]);
        let known = finished(&text);
        assert_eq!(known.len(), 2);
        let [first, second] = &known[..] else { unreachable!() };
        let is = |f: &Finished, seed, settings| f.is(Kind::Omar, "medium", seed, settings, some(0).training);
        assert!(is(first, 0, "{}") && is(second, 1, "{}") && !is(first, 1, "{}") && !is(first, 0, "{\"alpha\":1}"));
        let longer = Training { updates: 81, ..some(0).training };
        assert!(
            !first.is(Kind::Omar, "medium", 0, "{}", longer) && !first.is(Kind::Bc, "medium", 0, "{}", first.training)
        );
    }

    #[test]
    fn a_part_of_the_table_is_a_table_and_a_figure() {
        let made = Made {
            recipe: Recipe::new("spread-v0", true),
            random: -5.0,
            expert: -1.0,
            medium_round: 1,
            medium: -3.0,
            curve: vec![],
            datasets: vec![],
        };
        let part = [some(0), some(1)];
        let text = table(&made, &part, last).to_string();
        assert!(text.contains("87.5 ± 0.0 (87.5)") && text.matches("| –").count() == 31, "{text}");
        let drawn = figure(&made, &part);
        assert!(drawn.contains("OMAR") && !drawn.contains("NaN"), "{drawn}");
    }

    #[test]
    fn a_name_that_is_none_is_refused_with_those_there_are() {
        let names = |given: &str| known_names("--only", &[given.to_owned()], &["bc", "omar"]);
        assert!(names("omar").is_ok());
        let error = names("oamr").unwrap_err().to_string();
        assert!(error.contains("--only") && error.contains("`oamr`") && error.contains("bc, omar"), "{error}");
    }

    #[test]
    fn change_is_of_the_last_quarter_and_errors_are_of_the_mean() {
        assert_eq!((last(&some(0)), earlier(&some(0))), (-1.5, -2.0));
        assert!((error(&[1.0, 2.0, 3.0]) - (1.0f64 / 3.0).sqrt()).abs() < 1e-12 && error(&[4.0]) == 0.0);
    }

    #[test]
    fn every_learner_has_a_word_and_is_built_from_every_preset() {
        let settings = Settings { repository: Repository::Omar, lr: Some(0.002), alpha: None };
        for (kind, _) in Kind::ALL {
            for (_, quality) in Quality::ALL {
                let (learner, text) =
                    kind.build(settings, quality, backcast::core::Spec::new(54, 6), Key::new(1)).unwrap();
                assert!(learner.spec().act == 6 && text.contains("0.002"), "{}: {text}", kind.word());
            }
        }
    }
}
