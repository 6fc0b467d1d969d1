//! `cargo xtask run`: an experiment from its file to its report.

use crate::{
    bands, exit::INTERRUPTED, manifest, methods, progress::Bars, report, results, robustness, sensitivity, shell,
    table, tensorboard,
};
use anyhow::{Context, bail};
use backcast::{
    AlgorithmConfig, Error, Experiment, Inert,
    data::DataError,
    run::{self, Lock, Observer, Summary},
    storage::{Disk, Local, replace},
};
use std::{
    io::Write,
    path::{Path, PathBuf},
    process::ExitCode,
    time::Instant,
};

/// Which experiment, and where its results go.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// The experiment's file; without one, a first look at imagining backwards that takes a few minutes
    experiment: Option<PathBuf>,
    /// Learn from this dataset (D4RL, npz, NeoRL, Minari …) instead of a generated dataset
    #[arg(long, value_name = "FILE")]
    data: Option<PathBuf>,
    /// Seeds, such as 0..5
    #[arg(long, value_name = "A..B")]
    seeds: Option<String>,
    /// Only these methods, such as "reverse, data alone"; may be given again, and the others can follow in the same folder
    #[arg(long, value_name = "NAMES")]
    methods: Vec<String>,
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
    pub(crate) jobs: Option<usize>,
    /// Do one run of a manifest (see `sweep`): once it is finished, nothing; if it was interrupted, the rest of it
    #[arg(long, value_name = "FILE", requires = "index", conflicts_with_all = ["experiment", "data", "seeds", "methods", "set", "out", "quick", "resume"])]
    manifest: Option<PathBuf>,
    /// Which run of the manifest
    #[arg(long, value_name = "N", requires = "manifest")]
    index: Option<usize>,
    /// The folder of a shorter run of the same settings to go on from
    #[arg(skip)]
    from: Option<PathBuf>,
}

impl Args {
    /// What the command line says; of a run of a manifest, what stands there.
    fn resolve(mut self) -> anyhow::Result<Self> {
        let (Some(file), Some(index)) = (&self.manifest, self.index) else { return Ok(self) };
        let entry = manifest::entry(file, index)?;
        let folder = file.parent().unwrap_or(Path::new(""));
        self.experiment = Some(folder.join(entry.experiment));
        self.set = entry.set;
        self.seeds = Some(format!("{}..{}", entry.seed, entry.seed + 1));
        self.out = Some(folder.join(entry.out));
        self.from = entry.from.map(|from| folder.join(from));
        Ok(self)
    }
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

pub(crate) fn main(args: Args) -> anyhow::Result<ExitCode> {
    let start = Instant::now();
    let args = args.resolve()?;
    let file = args.experiment.clone().unwrap_or_else(|| crate::root().join("experiments/first-look.toml"));
    let (mut experiment, out) = prepare(&args, &file)?;
    let chosen = methods::chosen(&args.methods, &experiment.methods)?;
    let inert = inert(&args, &Experiment { methods: chosen.clone(), ..experiment.clone() })?;
    run::apart(&out)?;
    let lock = Lock::take(&out)?;
    if let Some(dead) = lock.left_by() {
        say(&format!("{dead} left this run unfinished; going on with it"));
    }
    lock.sweep_up()?;
    settle(&args, &experiment, &out)?;
    if args.manifest.is_some() && out.join("summary.json").exists() {
        say(&format!("{} is finished", out.display()));
        return Ok(ExitCode::SUCCESS);
    }
    if let Some(from) = &args.from {
        go_on_from(from, &out)?;
    }
    // What is chosen is no part of the configuration: the others can follow in the same folder.
    experiment.methods = chosen;
    let bars = Bars::new()?;
    let threads = args.jobs.unwrap_or_else(|| std::thread::available_parallelism().map_or(1, usize::from));
    let seeds = String::from(experiment.seeds.clone());
    say(&format!("{} · {} · seeds {seeds} · {}", experiment.name, experiment.task, out.display()));
    let (bands, word) = bands::beside(&file, &experiment)?;
    // A quick run is of other settings by its nature.
    word.filter(|_| !args.quick).into_iter().for_each(|word| say(&word));
    let watching = bands::Watching { bands: bands.as_ref(), to: &bars };
    inert.iter().for_each(|part| watching.warning("settings", &part.to_string()));
    let outcome = match run::carry_out_on(&Local, &experiment, &out, threads, &watching) {
        Ok(outcome) => outcome,
        Err(Error::Interrupted) => {
            bars.clear();
            say(&format!("Interrupted. Everything so far is saved; to go on:\n  {}", resume(&args, &out)));
            return Ok(ExitCode::from(INTERRUPTED));
        }
        Err(error) => return Err(advised(error, &experiment)),
    };
    bars.clear();

    let summary = Summary::of(&experiment, &outcome, env!("BACKCAST_COMMIT"));
    run::write_metrics(&experiment, &outcome, &out)?;
    let seconds = start.elapsed().as_secs_f64();
    let made = results::report(&experiment, &outcome, &summary, bands.as_ref(), repeat(&args, &out), seconds)?;
    let write = |name: &str, text: String| {
        let path = out.join(name);
        replace(&Local, &path, text.as_bytes()).with_context(|| path.display().to_string())
    };
    write("report.json", backcast::json::to_string(&made)?)?;
    write("report.html", report::html(&made))?;
    for learner in &outcome.learners {
        let method = experiment
            .methods
            .iter()
            .find(|method| method.name == learner.method)
            .context("an algorithm of no method")?;
        let folder = out.join("tensorboard").join(format!("{}-seed-{}", method.slug(), learner.seed));
        Local.create_folder(&folder).with_context(|| folder.display().to_string())?;
        let path = folder.join(tensorboard::FILE);
        replace(&Local, &path, &tensorboard::events(&learner.curve)).with_context(|| path.display().to_string())?;
    }
    // Last, since it says that all is there.
    run::write_summary(&summary, &out)?;
    say(&table::table(&made));
    let shown = robustness::table(&made).into_iter().chain(sensitivity::lines(&made));
    shown.for_each(|text| say(&text));
    say(&format!("report: {}", out.join("report.html").display()));
    Ok(ExitCode::SUCCESS)
}

/// The parts of its methods that have no effect for half of the updates; an error if one of them is a method of which nothing
/// is left. A quick run is too short for most warm starts, and nobody reads its scores.
fn inert(args: &Args, experiment: &Experiment) -> anyhow::Result<Vec<Inert>> {
    let inert = if args.quick { vec![] } else { experiment.inert()? };
    match inert.iter().find(|part| part.nothing_left()) {
        Some(part) => bail!("nothing of the method is left. {part}"),
        None => Ok(inert),
    }
}

/// Tells the terminal, or the file it is sent to, which may have no room for it.
fn say(line: &str) {
    let _ = writeln!(std::io::stdout(), "{line}");
}

/// The experiment with every setting applied, and its folder.
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
    if let (false, Some(dataset)) = (given, &mut experiment.data.file) {
        *dataset = std::path::absolute(file.with_file_name("").join(&dataset))?;
    }

    let name: String = experiment.name.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '-' }).collect();
    let out = args.out.clone().unwrap_or_else(|| PathBuf::from("runs").join(name));
    let config = out.join("config.toml");
    if args.resume && !config.exists() {
        bail!("{} is not there; there is no run to go on with", config.display());
    }
    Ok((experiment, out))
}

/// Holds the folder's `config.toml` against the experiment, or writes it.
fn settle(args: &Args, experiment: &Experiment, out: &Path) -> anyhow::Result<()> {
    let (config, resolved) = (out.join("config.toml"), experiment.to_toml());
    let write = || replace(&Local, &config, resolved.as_bytes()).with_context(|| config.display().to_string());
    match std::fs::read_to_string(&config) {
        Ok(old) if old == resolved => {
            if !args.resume && !out.join("summary.json").exists() {
                say("an unfinished run of this experiment is here; going on with it");
            }
            Ok(())
        }
        // A run that did not come as far as its dataset, say, leaves nothing that could be lost.
        Ok(_) if !["models", "learners", "summary.json"].iter().any(|part| out.join(part).exists()) => write(),
        Ok(_) => bail!(
            "{} is of another experiment or other settings; give --out another folder, or delete this one",
            config.display()
        ),
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => write(),
        Err(e) => Err(e).with_context(|| config.display().to_string()),
    }
}

/// The error, with where to get it if it is the dataset that is not there.
fn advised(error: Error, experiment: &Experiment) -> anyhow::Error {
    let dataset = experiment.data.file.as_deref().filter(|file| !file.exists());
    let missing = matches!((&error, dataset), (Error::Data(DataError::Io { file, .. }), Some(dataset)) if file.as_path() == dataset);
    let error = anyhow::Error::new(error);
    match missing {
        true => error.context(
            "the dataset is not there: --data names it elsewhere, and the experiment's `about` says where it comes from",
        ),
        false => error,
    }
}

/// Takes over the models and checkpoints of a finished run of the same settings and fewer updates.
fn go_on_from(from: &Path, out: &Path) -> anyhow::Result<()> {
    let copy = |part: PathBuf| -> anyhow::Result<()> {
        let (source, to) = (from.join(&part), out.join(&part));
        if to.exists() {
            return Ok(());
        }
        let bytes = Local.read(&source).with_context(|| source.display().to_string())?;
        Local.create_folder(to.parent().expect("a part of a folder")).with_context(|| to.display().to_string())?;
        replace(&Local, &to, &bytes).with_context(|| to.display().to_string())
    };
    let names = |folder: &str| -> Vec<PathBuf> {
        let entries = std::fs::read_dir(from.join(folder)).into_iter().flatten().flatten();
        let mut names: Vec<PathBuf> = entries.map(|entry| Path::new(folder).join(entry.file_name())).collect();
        names.sort();
        names
    };
    // With the fingerprint of what they have learnt from.
    if from.join("data.json").exists() {
        copy("data.json".into())?;
    }
    names("models").into_iter().try_for_each(copy)?;
    let learners = names("learners");
    anyhow::ensure!(!learners.is_empty(), "{} has no algorithms to go on from", from.display());
    learners.into_iter().map(|learner| learner.join("checkpoint.safetensors")).try_for_each(copy)
}

/// The command that goes on.
fn resume(args: &Args, out: &Path) -> String {
    match (&args.manifest, args.index) {
        (Some(_), Some(_)) => repeat(args, out),
        _ => format!("{} --resume", repeat(args, out)),
    }
}

/// The command that does the same again, as a shell takes it.
fn repeat(args: &Args, out: &Path) -> String {
    let path = |path: &Path| path.display().to_string();
    let mut words: Vec<String> = ["cargo", "xtask", "run"].map(String::from).into();
    let mut option = |name: &str, value: String| match value.starts_with('-') {
        true => words.push(format!("{name}={value}")),
        false => words.extend([name.to_owned(), value]),
    };
    if let (Some(manifest), Some(index)) = (&args.manifest, args.index) {
        option("--manifest", path(manifest));
        option("--index", index.to_string());
        return shell::line(&words);
    }
    args.data.iter().for_each(|data| option("--data", path(data)));
    args.seeds.iter().for_each(|seeds| option("--seeds", seeds.clone()));
    args.methods.iter().for_each(|method| option("--methods", method.clone()));
    args.set.iter().for_each(|setting| option("--set", setting.clone()));
    args.out.iter().for_each(|_| option("--out", path(out)));
    words.extend(args.quick.then(|| "--quick".to_owned()));
    // Where an experiment's file is given, it comes first.
    args.experiment.iter().for_each(|file| words.insert(3, path(file)));
    shell::line(&words)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A command line without a word.
    fn bare() -> Args {
        Args {
            experiment: None,
            data: None,
            seeds: None,
            methods: vec![],
            set: vec![],
            out: None,
            quick: false,
            resume: false,
            jobs: None,
            manifest: None,
            index: None,
            from: None,
        }
    }

    #[cfg(unix)]
    #[test]
    fn the_commands_that_are_told_are_as_a_shell_takes_them() {
        let odd = "it's \"a\", $HOME; `id` \\ (b) *\n#";
        let words_of = |line: &str| -> Vec<String> {
            let script = format!("cargo() {{ printf '%s\\0' \"$@\"; }}; {line}");
            let said =
                std::process::Command::new("sh").args(["-c", &script]).output().expect("sh is everywhere").stdout;
            let said = String::from_utf8(said).expect("text");
            said.split_terminator('\0').map(str::to_owned).collect()
        };
        let args = Args {
            experiment: Some(odd.into()),
            data: Some("-log".into()),
            methods: vec![odd.into(), "-b, c".into()],
            set: vec![format!("about={odd}")],
            out: Some("runs/x".into()),
            quick: true,
            ..bare()
        };
        let about = format!("about={odd}");
        let expected = [
            &[
                "xtask",
                "run",
                odd,
                "--data=-log",
                "--methods",
                odd,
                "--methods=-b, c",
                "--set",
                &about,
                "--out",
                "runs/x",
            ][..],
            &["--quick", "--resume"],
        ];
        assert_eq!(words_of(&resume(&args, Path::new("runs/x"))), expected.concat());
        let of_manifest = Args { manifest: Some(odd.into()), index: Some(3), ..bare() };
        let expected = ["xtask", "run", "--manifest", odd, "--index", "3"];
        assert_eq!(words_of(&resume(&of_manifest, Path::new("x"))), expected);
    }

    #[test]
    fn methods_are_chosen_by_name_and_a_folder_keeps_its_settings() {
        let folder = std::env::temp_dir().join(format!("backcast-methods-{}", std::process::id()));
        let file = crate::root().join("experiments/maze2d-medium-romi.toml");
        let chosen = |methods: &[&str], out: &str, set: &[&str]| {
            let args = Args {
                methods: methods.iter().map(|&method| method.into()).collect(),
                set: set.iter().map(|&set| set.into()).collect(),
                out: Some(folder.join(out)),
                ..bare()
            };
            let (experiment, out) = prepare(&args, &file)?;
            let chosen = methods::chosen(&args.methods, &experiment.methods)?;
            let _lock = Lock::take(&out)?;
            settle(&args, &experiment, &out)?;
            Ok::<_, anyhow::Error>(chosen.into_iter().map(|method| method.name).collect::<Vec<_>>())
        };
        assert_eq!(chosen(&[], "run", &[]).unwrap(), ["reverse", "forward", "data alone"]);
        // The same folder: what is chosen is no part of the configuration.
        assert_eq!(chosen(&["data alone", " reverse"], "run", &[]).unwrap(), ["reverse", "data alone"]);
        let error = chosen(&["backwards"], "other", &[]).unwrap_err().to_string();
        assert!(error.contains("`backwards`") && error.contains("\n  forward\n  data alone"), "{error}");
        assert!(!folder.join("other").exists());

        // Other settings take the folder over as long as there is nothing in it that was worked for.
        assert!(chosen(&[], "run", &["training.batch=7"]).is_ok());
        std::fs::create_dir(folder.join("run/learners")).unwrap();
        assert!(chosen(&[], "run", &["training.batch=7"]).is_ok());
        let error = chosen(&[], "run", &[]).unwrap_err().to_string();
        assert!(error.contains("other settings"), "{error}");
        std::fs::remove_dir_all(&folder).unwrap();
    }
}
