//! `cargo xtask select`: trained policies in the order that a dataset alone puts them in, beside the order they deserve.

use crate::{exit::INTERRUPTED, progress::Bars};
use anyhow::Context;
use backcast::{
    Error,
    run::{self, OpeEstimate, Rule, Selection, SelectionConfig},
};
use comfy_table::presets::{ASCII_MARKDOWN, UTF8_FULL_CONDENSED};
use comfy_table::{CellAlignment, Table, TableStyle};
use std::{path::PathBuf, process::ExitCode};

/// Whose policies, and how they are judged.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Folders of runs, all of one task; what is finished there is judged
    #[arg(required = true, value_name = "RUN")]
    runs: Vec<PathBuf>,
    /// Judge by this dataset (D4RL, npz, NeoRL, Minari …) instead of the first run's dataset
    #[arg(long, value_name = "FILE")]
    data: Option<PathBuf>,
    /// Updates of each fit
    #[arg(long, value_name = "N")]
    updates: Option<u64>,
    /// Discount of the estimate
    #[arg(long, value_name = "GAMMA")]
    gamma: Option<f32>,
    /// Seed of the fits
    #[arg(long, value_name = "SEED", default_value_t = 0)]
    seed: u64,
    /// The folder for selection.json and selection.md; the first run's by default
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// Fits of a moment, to see that everything works; their order means nothing
    #[arg(long)]
    quick: bool,
    /// Fits at a time; as many as there are cores by default
    #[arg(long, value_name = "N")]
    jobs: Option<usize>,
}

impl Args {
    fn config(&self) -> SelectionConfig {
        let mut config = SelectionConfig { seed: self.seed, ..SelectionConfig::default() };
        if self.quick {
            config.updates = 100;
            config.fqe.hidden = vec![16, 16];
        }
        config.updates = self.updates.unwrap_or(config.updates);
        config.fqe.gamma = self.gamma.map_or(config.fqe.gamma, |gamma| gamma as _);
        config
    }
}

pub(crate) fn main(args: Args) -> anyhow::Result<ExitCode> {
    let bars = Bars::new()?;
    let threads = args.jobs.unwrap_or_else(|| std::thread::available_parallelism().map_or(1, usize::from));
    let data = args.data.as_ref().map(std::path::absolute).transpose()?;
    let selection = match run::select(&args.runs, data.as_deref(), &args.config(), threads, &bars) {
        Ok(selection) => selection,
        Err(Error::Interrupted) => {
            bars.clear();
            println!("Interrupted. What is judged is saved; give the same command to go on.");
            return Ok(ExitCode::from(INTERRUPTED));
        }
        Err(error) => return Err(error.into()),
    };
    bars.clear();

    let out = args.out.clone().unwrap_or_else(|| args.runs[0].clone());
    std::fs::create_dir_all(&out).with_context(|| out.display().to_string())?;
    let write = |name: &str, text: String| {
        let path = out.join(name);
        std::fs::write(&path, text).with_context(|| path.display().to_string())
    };
    write("selection.json", backcast::json::to_string_pretty(&selection)?)?;
    write("selection.md", tables(&selection, ASCII_MARKDOWN))?;
    print!("{}", tables(&selection, UTF8_FULL_CONDENSED));
    println!("tables: {}", out.join("selection.md").display());
    Ok(ExitCode::SUCCESS)
}

/// Every policy, best estimate first, then how well each rule orders all of them and those of each length of training.
fn tables(selection: &Selection, style: TableStyle) -> String {
    let mut policies = Table::new();
    policies.load_style(style);
    policies.set_header([
        "",
        "method",
        "seed",
        "updates",
        "score",
        "estimate",
        "critics differ by",
        "own value",
        "distance",
    ]);
    for (i, p) in selection.policies.iter().enumerate() {
        let own = p.own_value.map_or("–".to_owned(), |q| format!("{q:.2}"));
        policies.add_row([
            (i + 1).to_string(),
            p.method.clone(),
            p.seed.to_string(),
            p.trained.to_string(),
            format!("{:.1}", p.score),
            format!("{:.2}", p.estimate),
            format!("{:.2}", p.spread),
            own,
            format!("{:.3}", p.distance),
        ]);
    }
    right(&mut policies, &[0, 2, 3, 4, 5, 6, 7, 8]);

    let mut rules = Table::new();
    rules.load_style(style);
    rules.set_header(["policies", "", "ordered by", "Spearman", "Kendall", "regret@1", "@3", "@5", "the first scores"]);
    let mut lengths: Vec<u64> = selection.policies.iter().map(|p| p.trained).collect();
    lengths.sort_unstable();
    lengths.dedup();
    add(&mut rules, "all", selection.rules(|_| true));
    if lengths.len() > 1 {
        for length in lengths {
            let of = |p: &OpeEstimate| p.trained == length;
            add(&mut rules, &format!("{length} updates"), selection.rules(of));
        }
    }
    right(&mut rules, &[1, 3, 4, 5, 6, 7, 8]);

    let head = format!(
        "{}: {} policies judged by {} transitions, {} updates each, γ = {}",
        selection.task,
        selection.policies.len(),
        selection.data.transitions,
        selection.config.updates,
        selection.config.fqe.gamma
    );
    format!("{head}\n\n{policies}\n\n{rules}\n")
}

/// Adds a line for each rule.
fn add(table: &mut Table, which: &str, rules: Vec<Rule>) {
    let known = |x: Option<f64>| x.map_or("–".to_owned(), |x| format!("{x:.2}"));
    for rule in rules {
        let regret = |k: usize| known(rule.regret.iter().find(|(at, _)| *at == k).map(|(_, r)| *r));
        table.add_row([
            which.to_owned(),
            rule.policies.to_string(),
            rule.name.clone(),
            known(rule.spearman),
            known(rule.kendall),
            regret(1),
            regret(3),
            regret(5),
            format!("{:.1}", rule.chosen),
        ]);
    }
}

/// Numbers stand to the right.
fn right(table: &mut Table, columns: &[usize]) {
    for &i in columns {
        if let Some(column) = table.column_mut(i) {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use backcast::run::DataSummary;

    fn made_up() -> Selection {
        let policy = |method: &str, trained, score, estimate, own_value| OpeEstimate {
            run: "runs/x".into(),
            method: method.into(),
            seed: 0,
            trained,
            score,
            estimate,
            spread: 0.25,
            distance: 0.1,
            own_value,
            seconds: 1.0,
        };
        let policies = vec![
            policy("ReBRAC", 900, 79.0, 3.5, Some(4.0)),
            policy("BC", 900, 65.0, 2.0, None),
            policy("IQL", 900, 73.0, 1.0, Some(9.0)),
            policy("TD3+BC", 50, -20.0, -7.0, Some(0.5)),
        ];
        let data = DataSummary {
            source: "made up".into(),
            rows: 10,
            transitions: 9,
            episodes: 1,
            mean_return: 0.0,
            fingerprint: "0123456789abcdef".into(),
            warnings: vec![],
        };
        Selection { task: "dmsd".into(), data, config: SelectionConfig::default(), policies }
    }

    #[test]
    fn every_policy_and_rule_has_a_line() {
        let shown = tables(&made_up(), ASCII_MARKDOWN);
        let line = |parts: &[&str]| {
            let found = shown.lines().find(|line| parts.iter().all(|part| line.contains(part)));
            found.unwrap_or_else(|| panic!("no line has {parts:?}:\n{shown}"))
        };
        line(&["ReBRAC", "79.0", "3.50", "4.00"]);
        line(&["BC", "65.0", "–"]);
        // Ranks of the estimate 3 2 1 0 beside the score's 3 1 2 0: 1 − 6·2/(4·15) = 0.8.
        assert!(line(&["all", " 4 ", "FQE "]).contains("0.80"));
        // By their own values IQL comes first, six points short of the best.
        line(&["all", " 3 ", "own value", "6.00", "73.0"]);
        line(&["900 updates", " 3 ", "FQE ", "0.50"]);
        line(&["50 updates", " 1 ", "FQE "]);
    }

    #[test]
    fn quick_is_short_unless_told_otherwise() {
        let args = |quick, updates| Args {
            runs: vec![],
            data: None,
            updates,
            gamma: Some(0.9),
            seed: 7,
            out: None,
            quick,
            jobs: None,
        };
        assert_eq!(args(false, None).config().updates, SelectionConfig::default().updates);
        assert_eq!(args(true, None).config().updates, 100);
        let told = args(true, Some(5)).config();
        assert_eq!((told.updates, told.seed), (5, 7));
        assert!((told.fqe.gamma - 0.9).abs() < 1e-6);
        assert!(told.check().is_ok());
    }
}
