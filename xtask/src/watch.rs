//! `cargo xtask watch`: looking on while runs are at work. It only reads, from wherever the folder can be seen.

use crate::manifest;
use anyhow::Context;
use backcast::run::{self, LearnResult, Lock};
use backcast::{Experiment, Method};
use comfy_table::presets::UTF8_FULL_CONDENSED;
use comfy_table::{CellAlignment, Table};
use std::{
    io::{IsTerminal, Write},
    path::{Path, PathBuf},
    time::Duration,
};

/// What to look at.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// The folder of a run or of a sweep
    folder: PathBuf,
    /// Seconds between looks
    #[arg(long, value_name = "SECONDS", default_value_t = 2.0)]
    every: f64,
    /// Look once
    #[arg(long)]
    once: bool,
}

pub(crate) fn main(args: Args) -> anyhow::Result<()> {
    let mut to = std::io::stdout();
    let redraw = to.is_terminal() && !args.once;
    loop {
        let (text, done) = show(&args.folder)?;
        // To the top, and nothing below what is written now.
        let (before, after) = if redraw { ("\x1b[H", "\x1b[J") } else { ("", "") };
        let text = if redraw { text.replace('\n', "\x1b[K\n") } else { text };
        writeln!(to, "{before}{text}{after}").and_then(|()| to.flush())?;
        if args.once || done {
            return Ok(());
        }
        std::thread::sleep(Duration::from_secs_f64(args.every.clamp(0.1, 3600.0)));
    }
}

/// What there is to see, and whether nothing more will come.
fn show(folder: &Path) -> anyhow::Result<(String, bool)> {
    let manifest = folder.join("runs.jsonl");
    if manifest.exists() { show_sweep(folder, &manifest) } else { show_run(folder) }
}

/// How many of a sweep's runs are in which state, and those at work.
fn show_sweep(folder: &Path, manifest: &Path) -> anyhow::Result<(String, bool)> {
    let entries = manifest::read(manifest)?;
    let (mut finished, mut begun) = (0, 0);
    let mut table = table(["run", "method", "seed", "updates", "", "score", "updates/s"]);
    for entry in &entries {
        let out = folder.join(&entry.out);
        if out.join("summary.json").exists() {
            finished += 1;
        } else if Lock::is_taken(&out) {
            for row in rows(&out)?.1 {
                table.add_row([&[entry.index.to_string()][..], &row.cells[..]].concat());
            }
        } else if out.exists() {
            begun += 1;
        }
    }
    let at_work = table.row_count();
    let waiting = entries.len() - finished - begun;
    let mut text = format!("{}: {finished} of {} runs finished", folder.display(), entries.len());
    if begun > 0 {
        text += &format!(", {begun} left unfinished (the sweep's command goes on with them)");
    }
    if at_work > 0 {
        text += &format!("\n{table}");
    }
    Ok((text, waiting == 0 && begun == 0 && folder.join("summary.json").exists()))
}

fn show_run(folder: &Path) -> anyhow::Result<(String, bool)> {
    let (experiment, rows) = rows(folder)?;
    let mut table = table(["method", "seed", "updates", "", "score", "updates/s"]);
    for row in &rows {
        table.add_row(row.cells.clone());
    }
    let state = if folder.join("summary.json").exists() {
        "finished"
    } else if Lock::is_taken(folder) {
        "at work"
    } else {
        "nobody is at work here"
    };
    let mut text = format!("{} · {} · {state}\n{table}", experiment.name, experiment.task);
    for warning in rows.iter().flat_map(|row| &row.warnings) {
        text += &format!("\nWARNING: {warning}");
    }
    Ok((text, state != "at work"))
}

fn table<const N: usize>(head: [&str; N]) -> Table {
    let mut table = Table::new();
    table.load_style(UTF8_FULL_CONDENSED);
    table.set_header(head);
    for column in ["run", "seed", "updates", "score", "updates/s"] {
        if let Some(place) = head.iter().position(|name| *name == column) {
            table.column_mut(place).expect("it has a head").set_cell_alignment(CellAlignment::Right);
        }
    }
    table
}

/// One algorithm.
struct Line {
    cells: Vec<String>,
    warnings: Vec<String>,
}

fn rows(folder: &Path) -> anyhow::Result<(Experiment, Vec<Line>)> {
    let experiment = run::experiment_of(folder)?;
    let mut rows = Vec::new();
    for method in &experiment.methods {
        for seed in experiment.seeds.0.clone() {
            rows.push(row(folder, &experiment, method, seed)?);
        }
    }
    Ok((experiment, rows))
}

fn row(folder: &Path, experiment: &Experiment, method: &Method, seed: u64) -> anyhow::Result<Line> {
    let all = experiment.training.updates;
    let path = run::learner_folder(folder, method, seed).join("result.json");
    let result = match std::fs::read_to_string(&path) {
        Ok(text) => Some(backcast::json::from_str::<LearnResult>(&text).with_context(|| path.display().to_string())?),
        Err(_) => None,
    };
    let (update, score, seconds, warnings) = match result {
        Some(result) => (all, Some(result.score), result.seconds, result.warnings),
        None => match run::progress_of(folder, method, seed)? {
            Some(progress) => {
                (progress.update, progress.curve.last().map(|point| point.score), progress.seconds, progress.warnings)
            }
            None => (0, None, 0.0, vec![]),
        },
    };
    let tenths = (10 * update / all.max(1)) as usize;
    let bar: String = (0..10).map(|i| if i < tenths { '━' } else { '·' }).collect();
    let cells = vec![
        method.name.clone(),
        seed.to_string(),
        format!("{update}/{all}"),
        bar,
        score.map_or(String::new(), |score| format!("{score:.1}")),
        if seconds > 0.0 { format!("{:.0}", update as f64 / seconds) } else { String::new() },
    ];
    Ok(Line { cells, warnings })
}
