//! The runner as a process: killed, interrupted, out of room, twice at once, and as many runs of a sweep.
#![allow(clippy::print_stdout, reason = "a randomised test tells its seed")]

#[cfg(unix)]
mod commands;
mod exported;
mod killed;
mod numbers;
mod places;
mod sweeps;

use backcast::run::{LearnResult, experiment_of};
use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    process::{Command, Output, Stdio},
};

/// The runner with these words.
fn xtask(words: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_xtask"));
    command.args(words).stdin(Stdio::null());
    command
}

/// Its exit code and everything it said.
fn said(output: &Output) -> (Option<i32>, String) {
    let text = [&output.stdout[..], &output.stderr[..]].concat();
    (output.status.code(), String::from_utf8_lossy(&text).into_owned())
}

/// Runs to the end and expects success.
fn succeed(command: &mut Command) -> String {
    let (code, text) = said(&command.output().expect("it starts"));
    assert_eq!(code, Some(0), "{text}");
    text
}

/// An experiment of models, imagination and algorithms that is done in a moment and saves all the time.
fn experiment(folder: &Path, updates: u64) -> PathBuf {
    let text = format!(
        r#"
        name = "tiny"
        task = "pendulum-v1"
        seeds = "0..1"
        standardise = true
        [data]
        rows = 1000
        [algorithm]
        name = "td3_bc"
        hidden = [8]
        [model]
        hidden = [4, 4, 4, 4]
        max_epochs = 3
        epoch_rows = 256
        [imagination]
        rows = 60
        starts_per_call = 20
        horizon = 2
        [training]
        updates = {updates}
        batch = 8
        eval_every = 10
        eval_episodes = 1
        final_episodes = 2
        [[methods]]
        name = "reverse"
        imagine = "reverse"
        [[methods]]
        name = "mopo"
        algorithm = {{ name = "mopo", rollouts = {{ every = 10, starts = 5, horizon = 2, keep = 1, real = 0.5 }}, sac = {{ hidden = [4] }} }}
        "#
    );
    let path = folder.join("tiny.toml");
    std::fs::write(&path, text).expect("written");
    path
}

/// Every file below a folder.
fn files(folder: &Path) -> Vec<PathBuf> {
    let mut found = vec![];
    for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
        match entry.path().is_dir() {
            true => found.extend(files(&entry.path())),
            false => found.push(entry.path()),
        }
    }
    found.sort();
    found
}

/// What a finished run must have whatever befell it: the tensors of every checkpoint to the bit (their headers hold seconds),
/// and every score of the way.
fn essence(run: &Path) -> BTreeMap<String, Vec<u8>> {
    let mut all = BTreeMap::new();
    for path in files(run) {
        let name = path.strip_prefix(run).expect("below").display().to_string();
        if name.ends_with(".safetensors") {
            let bytes = std::fs::read(&path).expect("read");
            let header = u64::from_le_bytes(bytes[..8].try_into().expect("eight bytes")) as usize;
            all.insert(name, bytes[8 + header..].to_vec());
        } else if name.ends_with("/result.json") {
            let text = std::fs::read(&path).expect("read");
            let result: LearnResult = backcast::json::from_slice(&text).expect("a result");
            let result = LearnResult { seconds: 0.0, ..result };
            all.insert(name, serde_json::to_vec(&result).expect("plain values"));
        }
    }
    assert!(!all.is_empty(), "{} has no results", run.display());
    all
}

/// Whether every checkpoint of every algorithm that is there is whole; the number of those.
fn whole_checkpoints(run: &Path) -> usize {
    let Ok(experiment) = experiment_of(run) else { return 0 };
    let mut whole = 0;
    for method in &experiment.methods {
        let folder = backcast::run::learner_folder(run, method, 0);
        if folder.join("checkpoint.safetensors").exists() {
            backcast::run::trained(run, &experiment, method, 0).unwrap_or_else(|e| panic!("{e}"));
            whole += 1;
        }
    }
    whole
}
