//! Building the peers' environments and running their scripts.

use super::catalogue::{ENVIRONMENTS, Environment, Peer, Run};
use super::results::PeerRun;
use crate::bench::facts;
use anyhow::{Context, bail};
use serde::Deserialize;
use std::collections::BTreeMap;
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

const PROBE: &str = include_str!("probe.py");

/// The longest that one run of a script may take: imports, compilation and windows.
const PATIENCE: Duration = Duration::from_secs(400);

/// A Python to build environments with: the one that was named, or the first that answers.
pub(super) fn find_python(named: Option<&Path>) -> Option<PathBuf> {
    let candidates = match named {
        Some(path) => vec![path.to_owned()],
        None => vec!["python3".into(), "python".into()],
    };
    let answers = |python: &PathBuf| {
        let quiet = Command::new(python).arg("--version").stdout(Stdio::null()).stderr(Stdio::null()).status();
        quiet.is_ok_and(|status| status.success())
    };
    candidates.into_iter().find(answers)
}

/// The environments that could be built, by name, and why the others could not.
pub(super) struct Environments {
    pub(super) ready: BTreeMap<&'static str, PathBuf>,
    pub(super) lost: BTreeMap<&'static str, String>,
}

impl Environments {
    /// Builds what is missing of `wanted` under `folder`.
    pub(super) fn build(python: &Path, folder: &Path, wanted: &dyn Fn(&str) -> bool) -> Self {
        let mut all = Self { ready: BTreeMap::new(), lost: BTreeMap::new() };
        for environment in ENVIRONMENTS.iter().filter(|e| wanted(e.name)) {
            match build(python, &folder.join(environment.name), environment) {
                Ok(python) => drop(all.ready.insert(environment.name, python)),
                Err(error) => {
                    println!("{}: {error:#}", environment.name);
                    all.lost.insert(environment.name, format!("{error:#}"));
                }
            }
        }
        all
    }
}

/// The environment's own Python, everything installed.
fn build(python: &Path, folder: &Path, environment: &Environment) -> anyhow::Result<PathBuf> {
    let own = folder.join(if cfg!(windows) { "Scripts/python.exe" } else { "bin/python" });
    // Written last, so that an installation that was cut off is done again.
    let done = folder.join("complete");
    let wanted = environment.packages.join(" ");
    if std::fs::read_to_string(&done).is_ok_and(|what| what.trim() == wanted) {
        return Ok(own);
    }
    println!("{}: pip installs {wanted} into {}", environment.name, folder.display());
    let venv = Command::new(python).args(["-m", "venv"]).arg(folder).output().context("python -m venv")?;
    check("python -m venv", &venv)?;
    let mut pip = Command::new(&own);
    pip.args(["-m", "pip", "install", "--quiet", "--disable-pip-version-check"]).args(environment.packages);
    check("pip install", &pip.output().context("pip install")?)?;
    std::fs::write(&done, wanted).with_context(|| done.display().to_string())?;
    Ok(own)
}

fn check(what: &str, output: &Output) -> anyhow::Result<()> {
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr);
        bail!("{what} ended with {}: {}", output.status, said.lines().last().unwrap_or("no word").trim());
    }
    Ok(())
}

/// Bytes of an environment, and how many of them are libraries for graphics processors that these measurements never use.
pub(super) fn size(python: &Path) -> (u64, u64) {
    let Some(folder) = python.parent().and_then(Path::parent) else { return (0, 0) };
    let graphics = |path: &Path| {
        path.iter().any(|part| ["nvidia", "triton"].contains(&part.to_string_lossy().as_ref()))
            || path.file_name().is_some_and(|name| name.to_string_lossy().contains("torch_cuda"))
    };
    (facts::size_of(folder, &|_| true), facts::size_of(folder, &graphics))
}

/// How the scripts are to measure.
pub(super) struct Script<'a> {
    pub(super) scripts: &'a Path,
    pub(super) sources: Option<&'a Path>,
    /// Where raw results go.
    pub(super) folder: &'a Path,
    pub(super) seconds: f64,
    pub(super) windows: usize,
    pub(super) rows: usize,
}

/// The JSON line that a script appends to its `--out` file.
#[derive(Deserialize)]
struct Record {
    unit: String,
    /// Rate, whether undisturbed, cores had, cores that others had, the rate of a calibration probe.
    windows: Vec<(f64, bool, f64, f64, Option<f64>)>,
    rss_mb: f64,
    first_update_s: Option<f64>,
    batch: usize,
    #[serde(default)]
    hidden: Option<Vec<usize>>,
}

/// What the probe says.
#[derive(Default, Deserialize)]
struct Facts {
    parameters: Option<usize>,
    flops: Option<f64>,
    #[serde(default)]
    versions: BTreeMap<String, String>,
}

impl Script<'_> {
    /// One run of a peer: its windows, and what it computed in them.
    pub(super) fn run(&self, python: &Path, peer: &Peer, run: &Run, threads: usize) -> anyhow::Result<PeerRun> {
        let probe = self.folder.join("probe.py");
        std::fs::write(&probe, PROBE).with_context(|| probe.display().to_string())?;
        let out = self.folder.join("last.jsonl");
        // Left from the run before; it may not be there.
        let _ = std::fs::remove_file(&out);
        let mut command = Command::new(python);
        command.arg(&probe).arg(self.scripts.join(peer.script)).arg("--algo").args(run.arguments);
        command.args(["--threads", &threads.to_string(), "--reps", &self.windows.to_string()]);
        command.args(["--seconds", &self.seconds.to_string(), "--warmup", &self.seconds.to_string()]);
        command.args(["--rows", &self.rows.to_string()]).arg("--out").arg(&out);
        if let Some(sources) = self.sources {
            command.arg("--src").arg(sources);
        }
        // The scripts would raise their own priority while they are timed. Ours does not.
        command.env("BENCH_PRIO", "none").env("PYTHONWARNINGS", "ignore");
        let (stdout, stderr) = patiently(command)?;
        let record = std::fs::read_to_string(&out).unwrap_or_default();
        let Some(line) = record.lines().last() else {
            bail!("no result: {}", stderr.trim().lines().last().unwrap_or("no word").trim());
        };
        // Python writes NaN where there is no calibration probe, which is not JSON.
        let record: Record = serde_json::from_str(&line.replace("NaN", "null")).context("reading its result")?;
        let facts = stdout.lines().rev().find_map(|line| line.strip_prefix("PROBE "));
        let facts: Facts = facts.and_then(|json| serde_json::from_str(json).ok()).unwrap_or_default();
        if record.windows.is_empty() {
            bail!("no window was measured");
        }
        Ok(PeerRun {
            peer: peer.name.to_owned(),
            workload: run.workload.to_owned(),
            threads,
            pass: 0,
            // Every window, as with ours: the script's own median leaves out those in which a neighbour was busy.
            rate: backcast_benches::Spread::of(record.windows.iter().map(|w| w.0).collect()),
            cores: backcast_benches::Spread::of(record.windows.iter().map(|w| w.2).collect()),
            unit: record.unit,
            first: record.first_update_s,
            peak_memory: record.rss_mb * 1.048_576,
            batch: record.batch,
            hidden: record.hidden,
            parameters: facts.parameters.filter(|&n| n > 0),
            flops: facts.flops.filter(|&n| n > 0.0),
            versions: facts.versions,
        })
    }
}

/// Standard output and error of a command that is ended when it takes too long.
fn patiently(mut command: Command) -> anyhow::Result<(String, String)> {
    let mut child =
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().context("starting it")?;
    let (mut out, mut err) = (child.stdout.take().expect("piped"), child.stderr.take().expect("piped"));
    let begin = Instant::now();
    // Read while it runs: a full pipe would stop it.
    std::thread::scope(|scope| {
        let out = scope.spawn(move || {
            let mut text = Vec::new();
            out.read_to_end(&mut text).map(|_| String::from_utf8_lossy(&text).into_owned())
        });
        let err = scope.spawn(move || {
            let mut text = Vec::new();
            err.read_to_end(&mut text).map(|_| String::from_utf8_lossy(&text).into_owned())
        });
        let ended = loop {
            if let Some(status) = child.try_wait()? {
                break Some(status);
            }
            if begin.elapsed() > PATIENCE {
                child.kill()?;
                child.wait()?;
                break None;
            }
            std::thread::sleep(Duration::from_millis(20));
        };
        let text = |thread: std::thread::ScopedJoinHandle<'_, std::io::Result<String>>| {
            thread.join().expect("reading does not panic").unwrap_or_default()
        };
        let texts = (text(out), text(err));
        if ended.is_none() {
            bail!("no result within {} s", PATIENCE.as_secs());
        }
        Ok(texts)
    })
}
