//! `cargo xtask data`: look into datasets, and make them.

use anyhow::Context;
use backcast::{DataConfig, data, online, run};
use clap::Subcommand;
use std::{io::Write, path::PathBuf, process::ExitCode};

/// What to do with a dataset.
#[derive(clap::Args)]
pub(crate) struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// What is in a file: rows, shapes, episodes, returns, ranges
    Show {
        /// A D4RL-format HDF5 file
        file: PathBuf,
        /// As JSON
        #[arg(long)]
        json: bool,
    },
    /// What is wrong with a file; fails if anything would spoil learning from it
    Check {
        /// A D4RL-format HDF5 file
        file: PathBuf,
        /// As JSON
        #[arg(long)]
        json: bool,
    },
    /// Make a log: of a maze with the noisy way-point controller, or of a learner that learns online
    Generate {
        /// The task, such as maze2d-umaze or hopper-medium-replay
        task: String,
        /// Rows to record
        #[arg(long, default_value_t = 1_000_000)]
        rows: usize,
        /// Seed of the generator
        #[arg(long, default_value_t = 0)]
        seed: u64,
        /// Standard deviation of the noise on the controller's actions
        #[arg(long, default_value_t = 0.5)]
        noise: f64,
        /// Steps after which an online learner's run ends
        #[arg(long)]
        steps: Option<usize>,
        /// Without the oddities of the published files: every observation fresh, every reward for the state it leads to
        #[arg(long)]
        clean: bool,
        /// The file to write
        #[arg(long, value_name = "FILE")]
        out: PathBuf,
    },
}

pub(crate) fn main(args: Args) -> anyhow::Result<ExitCode> {
    match args.command {
        Command::Show { file, json } => {
            let shown = data::show(&file)?;
            print(&shown, json)?;
        }
        Command::Check { file, json } => {
            let checked = data::check(&file)?;
            print(&checked, json)?;
            if !checked.passed() {
                return Ok(ExitCode::FAILURE);
            }
        }
        Command::Generate { task, rows, seed, noise, steps, clean, out } => {
            use backcast::envs::maze2d::generate::Quirks;
            let quirks = if clean { Quirks::Clean } else { Quirks::Published };
            let config = DataConfig { rows, seed, noise, quirks, ..DataConfig::default() };
            let log = match online::Recipe::named(&task) {
                Some((recipe, quality)) => {
                    let recipe = online::Recipe { seed, steps: steps.unwrap_or(recipe.steps), ..recipe };
                    match crate::online::generate(&recipe, quality, rows, &out)? {
                        Some(log) => log,
                        None => {
                            println!("Interrupted. The runs are saved; give the same command to go on.");
                            return Ok(ExitCode::from(crate::run::INTERRUPTED));
                        }
                    }
                }
                None => run::generate(&task, &config)?,
            };
            if let Some(folder) = out.parent().filter(|p| !p.as_os_str().is_empty()) {
                std::fs::create_dir_all(folder).with_context(|| folder.display().to_string())?;
            }
            data::d4rl::write(&out, &log)?;
            println!("{}: {} rows, {} segments", out.display(), log.len(), log.episodes().len());
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn print<T: serde::Serialize + std::fmt::Display>(value: &T, json: bool) -> anyhow::Result<()> {
    let mut out = std::io::stdout().lock();
    if json {
        writeln!(out, "{}", serde_json::to_string_pretty(value)?)?;
    } else {
        writeln!(out, "{value}")?;
    }
    Ok(())
}
