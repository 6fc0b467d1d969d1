//! The runner: `run`, `sweep`, `watch`, `report`, `export`, `select`, `explain`, `schema`, `doctor`, `bands`, `data`, `bench`, `calibrate`, `parity`, `mujoco`, `games`, `cooperation`, `test`, `fuzz`, `tidy`, `docs`.
//!
//! `cargo xtask` is an alias (see `.cargo/config.toml`) for running this program. It is the only place in the workspace
//! that prints.
#![forbid(unsafe_code)]
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "a program for the terminal prints")]

mod bands;
mod bench;
mod calibrate;
mod comparison;
mod cooperation;
mod data;
mod docs;
mod doctor;
mod exit;
mod explain;
mod export;
mod fuzz;
mod games;
mod losses;
mod manifest;
mod maze;
mod methods;
mod mujoco;
mod online;
mod overcooked;
mod parity;
mod progress;
mod report;
mod results;
mod reverse;
mod robustness;
mod run;
mod select;
mod sensitivity;
mod shell;
mod stages;
mod svg;
mod sweep;
mod table;
mod tensorboard;
mod test;
mod tidy;
mod watch;

use clap::{Parser, Subcommand};
use std::{io::Write, path::PathBuf, process::ExitCode};

/// Reproduce experiments, test the workspace, build its documents.
#[derive(Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask", version, arg_required_else_help = true)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Run an experiment from its file, or one run of a manifest, and write results and a report
    Run(run::Args),
    /// Vary an experiment: grids, lists, random draws, successive halving; on this machine or by a queue
    Sweep(sweep::Args),
    /// Build the report of a finished run again, or compare several
    Report(report::Args),
    /// Monitor running experiments: a run, or a sweep and all of its runs
    Watch(watch::Args),
    /// Write a trained policy as safetensors or ONNX, with a card that says where it comes from
    Export(export::Args),
    /// Say what an algorithm does: its equations, and its hyperparameters with their defaults
    Explain(explain::Args),
    /// Print the JSON schema of experiment files, for editors
    Schema,
    /// Say what this machine has, and what that means
    Doctor,
    /// Order the trained policies of runs by the dataset alone (FQE), and compare with the order of their scores
    Select(select::Args),
    /// Make the bands that an experiment's curves are compared with, from finished runs of it
    Bands(bands::Args),
    /// Make or inspect datasets
    Data(data::Args),
    /// Measure throughput
    Bench(bench::Args),
    /// Hold every measure of a model's uncertainty against its true error, in environments whose physics is known
    Calibrate(calibrate::Args),
    /// Replay recorded updates of other code and compare losses, gradients and parameters
    Parity(parity::Args),
    /// Fetch MuJoCo, and hold environments on it against Gymnasium's
    Mujoco(mujoco::Args),
    /// Play games whose answer is known with values made of parts, and draw what comes of it
    Games(games::Args),
    /// Agents that act together, from datasets of a team that learnt online: who learns how much from which
    Cooperation(cooperation::Args),
    /// Unit, integration and documentation tests, then the gradient checks in double precision
    Test(test::Args),
    /// Check what the compiler cannot: layers, front pages, names, spelling, documents that match the code
    Tidy(tidy::Args),
    /// Feed readers of files with bytes, guided by coverage, until one breaks a rule
    Fuzz(fuzz::Args),
    /// Build the book in docs/ into docs/book/
    Docs(docs::Args),
}

fn main() -> ExitCode {
    match dispatch() {
        Ok(code) => code,
        // Whoever read our output has seen enough, as in `cargo xtask data show FILE | head`.
        Err(error) if broken_pipe(&error) => ExitCode::SUCCESS,
        Err(error) => {
            let code = exit::code(&error);
            // With the disk full, whoever reads standard error may have no room for this either.
            let mut to = std::io::stderr();
            let _ = writeln!(to, "error: {}", in_full(&error));
            let _ = exit::advice(code).map(|advice| writeln!(to, "{advice}"));
            ExitCode::from(code)
        }
    }
}

/// The error and its causes in one line each, those left out that the line before already says.
fn in_full(error: &anyhow::Error) -> String {
    let mut lines: Vec<String> = Vec::new();
    for cause in error.chain().map(ToString::to_string) {
        if !lines.last().is_some_and(|line| line.contains(&cause)) {
            lines.push(cause);
        }
    }
    lines.join("\n  because: ")
}

fn broken_pipe(error: &anyhow::Error) -> bool {
    let io = error.chain().find_map(|cause| cause.downcast_ref::<std::io::Error>());
    io.is_some_and(|e| e.kind() == std::io::ErrorKind::BrokenPipe)
}

fn dispatch() -> anyhow::Result<ExitCode> {
    match Cli::parse().command {
        Command::Run(args) => return run::main(args),
        Command::Report(args) => report::main(args),
        Command::Select(args) => return select::main(args),
        Command::Sweep(args) => return sweep::main(args),
        Command::Watch(args) => watch::main(args),
        Command::Export(args) => export::main(args),
        Command::Explain(args) => explain::main(args),
        Command::Schema => explain::schema(),
        Command::Doctor => doctor::main(),
        Command::Data(args) => return data::main(args),
        Command::Bands(args) => bands::main(args),
        Command::Bench(args) => bench::main(args),
        Command::Calibrate(args) => calibrate::main(args),
        Command::Parity(args) => parity::main(args),
        Command::Mujoco(args) => mujoco::main(args),
        Command::Games(args) => games::main(args),
        Command::Cooperation(args) => cooperation::main(args),
        Command::Test(args) => test::main(args),
        Command::Tidy(args) => tidy::main(&args),
        Command::Fuzz(args) => fuzz::main(args),
        Command::Docs(args) => docs::main(args),
    }?;
    Ok(ExitCode::SUCCESS)
}

/// The workspace's root folder, wherever the program is started from.
fn root() -> PathBuf {
    let here = PathBuf::from(env!("CARGO_MANIFEST_DIR"));
    here.parent().expect("xtask lies in the workspace").to_path_buf()
}

/// The names of all subcommands, for the rule that documents may only mention real ones.
fn subcommands() -> Vec<String> {
    use clap::CommandFactory;
    Cli::command().get_subcommands().map(|c| c.get_name().to_owned()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_say_everything_once() {
        let io = std::io::Error::other("disk on fire");
        let error = anyhow::Error::new(io).context("a.toml: disk on fire").context("no run");
        assert_eq!(in_full(&error), "no run\n  because: a.toml: disk on fire");
    }

    #[test]
    fn the_command_line_is_well_formed() {
        use clap::CommandFactory;
        Cli::command().debug_assert();
        assert!(subcommands().contains(&"tidy".to_owned()));
    }
}
