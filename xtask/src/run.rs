//! `cargo xtask run`: an experiment from its file to its report.

use crate::{progress::Bars, report, results, robustness, table};
use anyhow::{Context, bail};
use backcast::{
    AlgorithmConfig, Error, Experiment,
    run::{self, Summary},
};
use std::{
    path::{Path, PathBuf},
    process::ExitCode,
    time::Instant,
};

/// Which experiment, and where its results go.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// The experiment's file; without one, a first look at imagining backwards that takes a few minutes
    experiment: Option<PathBuf>,
    /// Learn from this dataset (D4RL, npz, NeoRL, Minari …) instead of a generated log
    #[arg(long, value_name = "FILE")]
    data: Option<PathBuf>,
    /// Repetitions, such as 0..5
    #[arg(long, value_name = "A..B")]
    seeds: Option<String>,
    /// Only these arms, such as "reverse, data alone"; the others can follow in the same folder
    #[arg(long, value_name = "NAMES", value_delimiter = ',')]
    arms: Vec<String>,
    /// Change a value of the experiment, such as training.updates=5000
    #[arg(long, value_name = "KEY=VALUE")]
    set: Vec<String>,
    /// The folder for the results; runs/NAME by default
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// A run of a minute or so that exercises every stage; its scores mean nothing
    #[arg(long)]
    quick: bool,
    /// Go on with an interrupted run in the folder
    #[arg(long)]
    resume: bool,
    /// Jobs at a time; as many as there are cores by default
    #[arg(long, value_name = "N")]
    jobs: Option<usize>,
}

/// What `--quick` changes.
const QUICK: [&str; 11] = [
    "seeds=0..2",
    "data.rows=20000",
    "model.max_epochs=2",
    "model.epoch_rows=8192",
    "model.hidden=[32, 32, 32, 32]",
    "imagination.rows=10000",
    "training.updates=600",
    "training.eval_every=200",
    "training.eval_episodes=2",
    "training.final_episodes=4",
    "algorithm.act_samples=10",
];

/// The exit code of an interrupted run, as shells have it for Ctrl-C.
pub(crate) const INTERRUPTED: u8 = 130;

pub(crate) fn main(args: Args) -> anyhow::Result<ExitCode> {
    let start = Instant::now();
    let file = args.experiment.clone().unwrap_or_else(|| crate::root().join("experiments/first-look.toml"));
    let (experiment, out) = prepare(&args, &file)?;
    let (bars, commit) = (Bars::new()?, commit());
    let threads = args.jobs.unwrap_or_else(|| std::thread::available_parallelism().map_or(1, usize::from));
    println!(
        "{} · {} · seeds {} · {}",
        experiment.name,
        experiment.task,
        String::from(experiment.seeds.clone()),
        out.display()
    );
    let outcome = match run::carry_out(&experiment, &out, threads, &bars) {
        Ok(outcome) => outcome,
        Err(Error::Interrupted) => {
            bars.clear();
            println!("Interrupted. Everything so far is saved; to go on:\n  {} --resume", repeat(&args, &out));
            return Ok(ExitCode::from(INTERRUPTED));
        }
        Err(error) => return Err(error.into()),
    };
    bars.clear();

    let summary = Summary::of(&experiment, &outcome, &commit);
    run::write_summary(&summary, &out)?;
    run::write_metrics(&experiment, &outcome, &out)?;
    let seconds = start.elapsed().as_secs_f64();
    let made = results::report(&experiment, &outcome, &summary, repeat(&args, &out), seconds)?;
    let write = |name: &str, text: String| {
        let path = out.join(name);
        std::fs::write(&path, text).with_context(|| path.display().to_string())
    };
    write("report.json", serde_json::to_string(&made)?)?;
    write("report.html", report::html(&made))?;
    println!("{}", table::table(&made));
    robustness::table(&made).into_iter().for_each(|table| println!("{table}"));
    println!("report: {}", out.join("report.html").display());
    Ok(ExitCode::SUCCESS)
}

/// The experiment with every setting applied, and its folder with `config.toml` in it.
fn prepare(args: &Args, file: &Path) -> anyhow::Result<(Experiment, PathBuf)> {
    let text = std::fs::read_to_string(file).with_context(|| file.display().to_string())?;
    let mut settings: Vec<String> = if args.quick { QUICK.map(String::from).into() } else { vec![] };
    // An algorithm without candidates has no such key.
    if !matches!(Experiment::parse(&text).map(|e| e.algorithm), Ok(AlgorithmConfig::Bcq(_))) {
        settings.retain(|s| !s.starts_with("algorithm.act_samples"));
    }
    if let Some(data) = &args.data {
        let absolute = std::path::absolute(data)?;
        settings.push(format!("data.file={:?}", absolute.display().to_string()));
    }
    settings.extend(args.seeds.iter().map(|s| format!("seeds={s:?}")));
    settings.extend(args.set.iter().cloned());
    let mut experiment = Experiment::parse_with(&text, &settings).with_context(|| file.display().to_string())?;
    // What a file names beside it is beside it wherever the command is given from.
    let given = args.data.is_some() || args.set.iter().any(|s| s.trim_start().starts_with("data.file"));
    if let (false, Some(log)) = (given, &mut experiment.data.file) {
        *log = std::path::absolute(file.with_file_name("").join(&log))?;
    }
    let resolved = experiment.to_toml();
    let all = experiment.arms.iter().map(|arm| arm.name.as_str()).collect::<Vec<_>>().join(", ");
    let wanted: Vec<&str> = args.arms.iter().map(|name| name.trim()).collect();
    if let Some(stranger) = wanted.iter().find(|name| experiment.arms.iter().all(|arm| arm.name != **name)) {
        bail!("--arms: there is no arm `{stranger}`; there are: {all}");
    }

    let name: String = experiment.name.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '-' }).collect();
    let out = args.out.clone().unwrap_or_else(|| PathBuf::from("runs").join(name));
    let config = out.join("config.toml");
    match std::fs::read_to_string(&config) {
        Ok(old) if old == resolved => {
            if !args.resume && !out.join("summary.json").exists() {
                println!("an unfinished run of this experiment is here; going on with it");
            }
        }
        Ok(_) => bail!(
            "{} is of another experiment or other settings; give --out another folder, or delete this one",
            config.display()
        ),
        Err(_) if args.resume => bail!("{} is not there; there is no run to go on with", config.display()),
        Err(_) => {
            std::fs::create_dir_all(&out).with_context(|| out.display().to_string())?;
            std::fs::write(&config, resolved).with_context(|| config.display().to_string())?;
        }
    }
    if !wanted.is_empty() {
        experiment.arms.retain(|arm| wanted.contains(&arm.name.as_str()));
    }
    Ok((experiment, out))
}

/// The command that does the same again.
fn repeat(args: &Args, out: &Path) -> String {
    let mut words = vec!["cargo xtask run".to_owned()];
    words.extend(args.experiment.iter().map(|p| p.display().to_string()));
    words.extend(args.data.iter().map(|p| format!("--data {}", p.display())));
    words.extend(args.seeds.iter().map(|s| format!("--seeds {s}")));
    words.extend((!args.arms.is_empty()).then(|| format!("--arms '{}'", args.arms.join(","))));
    words.extend(args.set.iter().map(|s| format!("--set '{s}'")));
    words.extend(args.quick.then(|| "--quick".to_owned()));
    words.extend(args.out.iter().map(|_| format!("--out {}", out.display())));
    words.join(" ")
}

/// The commit of the source, marked if files differ from it.
fn commit() -> String {
    let git = |args: &[&str]| {
        let output = std::process::Command::new("git").args(args).current_dir(crate::root()).output().ok()?;
        output.status.success().then(|| String::from_utf8_lossy(&output.stdout).trim().to_owned())
    };
    let Some(commit) = git(&["rev-parse", "--short=12", "HEAD"]) else { return "unknown".into() };
    let dirty = git(&["status", "--porcelain", "--untracked-files=no"]).is_some_and(|s| !s.is_empty());
    if dirty { format!("{commit} with changes") } else { commit }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn some_arms_are_chosen_by_name_and_a_stranger_leaves_nothing_behind() {
        let folder = std::env::temp_dir().join(format!("backcast-arms-{}", std::process::id()));
        let file = crate::root().join("experiments/maze2d-medium-romi.toml");
        let chosen = |arms: &[&str], out: &str| {
            let args = Args {
                experiment: None,
                data: None,
                seeds: None,
                arms: arms.iter().map(|&arm| arm.into()).collect(),
                set: vec![],
                out: Some(folder.join(out)),
                quick: false,
                resume: false,
                jobs: None,
            };
            let names = |e: Experiment| e.arms.into_iter().map(|arm| arm.name).collect::<Vec<_>>();
            prepare(&args, &file).map(|(experiment, _)| names(experiment))
        };
        assert_eq!(chosen(&[], "run").unwrap(), ["reverse", "forward", "data alone"]);
        // The same folder: what is chosen is no part of the configuration.
        assert_eq!(chosen(&["data alone", " reverse"], "run").unwrap(), ["reverse", "data alone"]);
        let error = chosen(&["backwards"], "other").unwrap_err().to_string();
        assert!(error.contains("`backwards`") && error.contains("reverse, forward, data alone"), "{error}");
        assert!(!folder.join("other").exists());
        std::fs::remove_dir_all(&folder).unwrap();
    }
}
