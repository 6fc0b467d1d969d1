//! `cargo xtask sweep`: many runs of one experiment, varied, wherever they are carried out.
//!
//! The folder of a sweep is its only state. Giving the same command again finds what is not finished, because a process was
//! killed, a machine went away or a disk was full, and has it finished.

mod engine;
mod halving;
mod page;
mod plan;
mod summary;

use crate::manifest::{self, Entry};
use crate::{exit, progress::Bars};
use anyhow::{Context, bail};
use backcast::run::{self, Lock};
use backcast::storage::{Local, replace};
use engine::{Engine, Order};
use plan::{EXPERIMENT, Sweep};
use std::{
    path::{Path, PathBuf},
    process::ExitCode,
    sync::atomic::Ordering,
};

/// Which sweep, and who carries it out.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// The sweep's file
    sweep: PathBuf,
    /// Who carries the runs out
    #[arg(long, value_enum, default_value = "local")]
    engine: Engine,
    /// The folder for everything; runs/NAME by default
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// Runs at a time on this machine; as many as there are cores by default
    #[arg(long, value_name = "N")]
    jobs: Option<usize>,
    /// Threads of each run, which a queue is asked for as cores
    #[arg(long, value_name = "N", default_value_t = 1)]
    threads: usize,
    /// Hand this to `sbatch` or `hq submit`, such as --queue-arg=--partition=short; may be given again
    #[arg(long, value_name = "ARG", allow_hyphen_values = true)]
    queue_arg: Vec<String>,
    /// Queue the runs and leave; the same command later sees how far they are and goes on
    #[arg(long)]
    no_wait: bool,
    /// Write the manifest and carry nothing out
    #[arg(long)]
    plan: bool,
}

pub(crate) fn main(args: Args) -> anyhow::Result<ExitCode> {
    let (sweep, text) = Sweep::read(&args.sweep)?;
    let base = sweep.experiment_file(&args.sweep);
    let experiment = std::fs::read_to_string(&base).with_context(|| base.display().to_string())?;
    let points = sweep.points()?;
    let own_settings = sweep.own_settings(&base, &experiment)?;
    let all: Vec<usize> = (0..points.len()).collect();
    let mut entries = sweep.entries(&points, &all, 0, 0, &own_settings);
    sweep.check_runs(&experiment, &entries)?;

    let name: String = sweep.name.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '-' }).collect();
    let folder = std::path::absolute(args.out.clone().unwrap_or_else(|| PathBuf::from("runs").join(name)))?;
    run::not_inside_a_run(&folder)?;
    let _lock = Lock::take(&folder)?;
    settle(&folder, "sweep.toml", &text)?;
    settle(&folder, EXPERIMENT, &experiment)?;
    let manifest = folder.join("runs.jsonl");
    println!("{}: {} points, {} runs · {}", sweep.name, points.len(), entries.len(), folder.display());
    let bars = Bars::new()?;

    let (mut begin, mut left, mut judged) = (0, all, Vec::new());
    for rung in 0..sweep.rungs().len() {
        write(&manifest, &manifest::text(&entries))?;
        if args.plan {
            println!("manifest: {}", manifest.display());
            return Ok(ExitCode::SUCCESS);
        }
        if let Some(code) = carry_out(&args, &sweep, &folder, &manifest, &entries[begin..], bars.stopper())? {
            return Ok(code);
        }
        if rung + 1 < sweep.rungs().len() {
            let verdict = halving::judge(&sweep, &folder, &entries[begin..], cores(args.jobs), &bars)?;
            bars.clear();
            left = halving::best(&verdict, sweep.survivors(left.len()));
            println!("rung {rung}: points {left:?} of {} go on", verdict.len());
            judged.push(verdict);
            begin = entries.len();
            entries.extend(sweep.entries(&points, &left, rung + 1, begin, &own_settings));
        }
    }
    let made = summary::Summary::of(&sweep, &points, &folder, &entries, &judged)?;
    write(&folder.join("summary.json"), &(backcast::json::to_string_pretty(&made)? + "\n"))?;
    let table = made.table();
    write(&folder.join("summary.txt"), &table)?;
    write(&folder.join("summary.html"), &page::html(&made))?;
    println!("{table}");
    println!("summary: {}", folder.join("summary.json").display());
    Ok(ExitCode::SUCCESS)
}

fn cores(jobs: Option<usize>) -> usize {
    jobs.unwrap_or_else(|| std::thread::available_parallelism().map_or(1, usize::from))
}

/// Has the runs of a rung carried out that are not finished. The exit code, if the sweep ends here for now.
fn carry_out(
    args: &Args,
    sweep: &Sweep,
    folder: &Path,
    manifest: &Path,
    entries: &[Entry],
    stop: &std::sync::atomic::AtomicBool,
) -> anyhow::Result<Option<ExitCode>> {
    let unfinished = || -> Vec<&Entry> { entries.iter().filter(|entry| !is_finished(folder, entry)).collect() };
    let pending = unfinished();
    if pending.is_empty() {
        return Ok(None);
    }
    if pending.len() < entries.len() {
        println!("{} of {} runs are finished already", entries.len() - pending.len(), entries.len());
    }
    let runs: Vec<usize> = pending.iter().map(|entry| entry.index).collect();
    let program = std::env::current_exe().context("where this program is")?;
    let order = Order {
        name: &sweep.name,
        folder,
        manifest,
        runs: &runs,
        program: &program,
        jobs: cores(args.jobs),
        threads: args.threads.max(1),
        extra: &args.queue_arg,
        wait: !args.no_wait,
    };
    order.carry_out(args.engine, stop)?;
    if stop.load(Ordering::Relaxed) {
        println!("Interrupted. Everything so far is saved; give the same command to go on.");
        return Ok(Some(ExitCode::from(exit::INTERRUPTED)));
    }
    let pending = unfinished();
    if pending.is_empty() {
        return Ok(None);
    }
    if args.engine != Engine::Local && args.no_wait {
        println!("{} runs are queued; give the same command later to see how far they are", pending.len());
        return Ok(Some(ExitCode::SUCCESS));
    }
    println!("{} of {} runs are not finished:", pending.len(), entries.len());
    for entry in pending {
        let busy = if Lock::is_taken(&folder.join(&entry.out)) { ", somebody is at work on it" } else { "" };
        println!("  run {}: {}{busy}", entry.index, entry.out.display());
    }
    println!(
        "log files: {}; the same command does these again and leaves the others alone",
        folder.join("logs").display()
    );
    Ok(Some(ExitCode::from(exit::FAILED)))
}

/// A run writes its summary last.
fn is_finished(folder: &Path, entry: &Entry) -> bool {
    folder.join(&entry.out).join("summary.json").exists()
}

/// Holds a file of the sweep's folder against what it should be, or writes it.
fn settle(folder: &Path, name: &str, text: &str) -> anyhow::Result<()> {
    let path = folder.join(name);
    match std::fs::read_to_string(&path) {
        Ok(old) if old == text => Ok(()),
        Ok(_) => bail!("{} is of another sweep; give --out another folder, or delete this one", path.display()),
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => write(&path, text),
        Err(e) => Err(e).with_context(|| path.display().to_string()),
    }
}

fn write(path: &Path, text: &str) -> anyhow::Result<()> {
    replace(&Local, path, text.as_bytes()).with_context(|| path.display().to_string())
}
