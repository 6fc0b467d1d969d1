//! Who carries the runs out: processes of this machine, or a queue of many machines. A run is the same command everywhere,
//! `cargo xtask run --manifest … --index N`; whatever schedules them is not ours.

use crate::exit;
use anyhow::{Context, bail};
use std::{
    collections::{BTreeSet, VecDeque},
    fs::File,
    io::Write,
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Stdio},
    sync::{
        Mutex,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

/// Where runs are carried out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Engine {
    /// Processes of this machine, as many as it has cores
    Local,
    /// An array of jobs of Slurm, by `sbatch`
    Slurm,
    /// An array of tasks of HyperQueue, by `hq submit`
    Hq,
}

/// Runs to be carried out.
pub(crate) struct Order<'a> {
    /// The sweep's name.
    pub(crate) name: &'a str,
    /// Its folder, absolute: other machines see it under the same path.
    pub(crate) folder: &'a Path,
    /// The manifest, absolute.
    pub(crate) manifest: &'a Path,
    /// Indices of runs, rising.
    pub(crate) runs: &'a [usize],
    /// This program.
    pub(crate) program: &'a Path,
    /// Processes at a time (on this machine).
    pub(crate) jobs: usize,
    /// Threads of a run.
    pub(crate) threads: usize,
    /// Handed to the queue's own command.
    pub(crate) extra: &'a [String],
    /// Whether to wait for the queue.
    pub(crate) wait: bool,
}

/// The most tasks of an array: one less than Slurm allows unless it is told otherwise.
const ARRAY: usize = 1000;

impl Order<'_> {
    /// Has the runs carried out; with a queue and no waiting, has them queued. Whether they succeeded is seen in their folders.
    ///
    /// # Errors
    /// If nothing can be started.
    pub(crate) fn carry_out(&self, engine: Engine, stop: &AtomicBool) -> anyhow::Result<()> {
        std::fs::create_dir_all(self.folder.join("logs")).with_context(|| self.folder.display().to_string())?;
        match engine {
            Engine::Local => self.locally(stop),
            Engine::Slurm => {
                self.queue("slurm.sh", &self.slurm_script(), &|chunk, script| self.sbatch(chunk, script), stop)
            }
            Engine::Hq => self.queue("hq.sh", &self.hq_script(), &|chunk, script| self.hq(chunk, script), stop),
        }
    }

    fn locally(&self, stop: &AtomicBool) -> anyhow::Result<()> {
        let waiting = Mutex::new(self.runs.iter().copied().collect::<VecDeque<usize>>());
        let (done, total, told) = (AtomicUsize::new(0), self.runs.len(), Mutex::new(BTreeSet::new()));
        let slot = || -> anyhow::Result<()> {
            loop {
                let next = waiting.lock().unwrap_or_else(|e| e.into_inner()).pop_front();
                let Some(index) = next.filter(|_| !stop.load(Ordering::Relaxed)) else { return Ok(()) };
                let clock = Instant::now();
                let status = wait(self.run(index)?, stop)?;
                if status.code() == Some(exit::BUSY.into()) && !stop.load(Ordering::Relaxed) {
                    // Left over from a sweep that was killed, or of another engine: its end is waited for.
                    waiting.lock().unwrap_or_else(|e| e.into_inner()).push_back(index);
                    if told.lock().unwrap_or_else(|e| e.into_inner()).insert(index) {
                        let _ = writeln!(std::io::stderr(), "run {index}: somebody else is at work on it; waiting");
                    }
                    std::thread::sleep(BUSY_PAUSE);
                    continue;
                }
                let done = done.fetch_add(1, Ordering::Relaxed) + 1;
                let how = match status.code().and_then(|code| u8::try_from(code).ok()) {
                    Some(exit::DONE) => "finished".to_owned(),
                    Some(exit::INTERRUPTED) => "interrupted".to_owned(),
                    _ => format!("{status}, see {}", self.log(index).display()),
                };
                let seconds = clock.elapsed().as_secs_f64();
                let _ = writeln!(std::io::stderr(), "{done:>5}/{total}  run {index:<5} {how}  {seconds:.1} s");
            }
        };
        std::thread::scope(|scope| {
            let slots: Vec<_> = (0..self.jobs.clamp(1, total.max(1))).map(|_| scope.spawn(slot)).collect();
            slots.into_iter().try_for_each(|slot| slot.join().unwrap_or_else(|e| std::panic::resume_unwind(e)))
        })
    }

    fn log(&self, index: usize) -> PathBuf {
        self.folder.join(format!("logs/{index:04}.log"))
    }

    /// A process that does one run; what it says goes to a log.
    fn run(&self, index: usize) -> anyhow::Result<Child> {
        let path = self.log(index);
        let log = File::options().create(true).append(true).open(&path).with_context(|| path.display().to_string())?;
        let mut command = Command::new(self.program);
        command.args(["run", "--manifest"]).arg(self.manifest).args(["--index", &index.to_string()]);
        command.args(["--jobs", &self.threads.to_string()]);
        command.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log);
        command.spawn().with_context(|| format!("cannot start {}", self.program.display()))
    }

    /// The line that a task of an array comes to, the index of the task being in the variable `task` and the script's argument
    /// added to it.
    fn script(&self, head: &str, task: &str) -> String {
        format!(
            "#!/bin/sh\n{head}exec {} run --manifest {} --index \"$(({task} + $1))\" --jobs {}\n",
            quoted(self.program),
            quoted(self.manifest),
            self.threads
        )
    }

    fn slurm_script(&self) -> String {
        let name: String = self.name.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '-' }).collect();
        let head = format!(
            "#SBATCH --job-name={name}\n#SBATCH --output={}/logs/slurm-%A_%a.log\n#SBATCH --cpus-per-task={}\n",
            self.folder.display(),
            self.threads
        );
        self.script(&head, "SLURM_ARRAY_TASK_ID")
    }

    fn hq_script(&self) -> String {
        self.script("", "HQ_TASK_ID")
    }

    fn sbatch(&self, chunk: &Chunk, script: &Path) -> Command {
        let mut command = Command::new("sbatch");
        command.arg("--parsable").args(self.wait.then_some("--wait")).arg(format!("--array={}", chunk.array()));
        command.args(self.extra).arg(script).arg(chunk.offset.to_string());
        command
    }

    fn hq(&self, chunk: &Chunk, script: &Path) -> Command {
        let log = format!("{}/logs/hq-%{{JOB_ID}}_%{{TASK_ID}}.log", self.folder.display());
        let mut command = Command::new("hq");
        command.args(["submit", "--array", &chunk.array(), "--cpus", &self.threads.to_string(), "--name", self.name]);
        command.args(["--stdout", &log, "--stderr", &log]).args(self.wait.then_some("--wait")).args(self.extra);
        command.arg("--").arg(script).arg(chunk.offset.to_string());
        command
    }

    /// Writes the script and hands it to a queue, chunk by chunk.
    fn queue(
        &self,
        name: &str,
        text: &str,
        submit: &dyn Fn(&Chunk, &Path) -> Command,
        stop: &AtomicBool,
    ) -> anyhow::Result<()> {
        let script = self.folder.join(name);
        std::fs::write(&script, text).with_context(|| script.display().to_string())?;
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt;
            std::fs::set_permissions(&script, std::fs::Permissions::from_mode(0o755))?;
        }
        let mut queued = Vec::new();
        for chunk in chunks(self.runs) {
            let mut command = submit(&chunk, &script);
            command.current_dir(self.folder).stdin(Stdio::null());
            let program = command.get_program().to_string_lossy().into_owned();
            let child = command.spawn().with_context(|| format!("cannot start `{program}`; is it installed here?"))?;
            queued.push((program, child));
        }
        for (program, child) in queued {
            let status = wait(child, stop)?;
            if stop.load(Ordering::Relaxed) {
                let _ = writeln!(std::io::stderr(), "what is queued stays in the queue; cancel it there if need be");
                return Ok(());
            }
            // With waiting, the status is that of the runs, which their folders tell in detail.
            if !status.success() && !self.wait {
                bail!("`{program}` refused the runs: {status}");
            }
        }
        Ok(())
    }
}

/// The time until a run is tried again that somebody else is at work on.
const BUSY_PAUSE: Duration = Duration::from_millis(300);

/// How long a process that was asked to stop is waited for; being killed does its run no harm.
const PATIENCE: Duration = Duration::from_secs(30);

/// Waits for a process, for a while longer if everything is to stop.
fn wait(mut child: Child, stop: &AtomicBool) -> anyhow::Result<ExitStatus> {
    let mut asked = None;
    loop {
        if let Some(status) = child.try_wait()? {
            return Ok(status);
        }
        // Ctrl-C reaches all processes of a terminal.
        if stop.load(Ordering::Relaxed) && asked.get_or_insert_with(Instant::now).elapsed() > PATIENCE {
            child.kill()?;
        }
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// Tasks of one array: their runs less an offset.
struct Chunk {
    offset: usize,
    tasks: Vec<usize>,
}

impl Chunk {
    /// As queues have it: `0-3,7`.
    fn array(&self) -> String {
        let mut parts: Vec<(usize, usize)> = Vec::new();
        for &task in &self.tasks {
            match parts.last_mut() {
                Some((_, last)) if *last + 1 == task => *last = task,
                _ => parts.push((task, task)),
            }
        }
        let part = |(from, to): (usize, usize)| if from == to { from.to_string() } else { format!("{from}-{to}") };
        parts.into_iter().map(part).collect::<Vec<_>>().join(",")
    }
}

/// Runs by the thousand of their indices.
fn chunks(runs: &[usize]) -> Vec<Chunk> {
    let same = |a: &usize, b: &usize| a / ARRAY == b / ARRAY;
    runs.chunk_by(same)
        .map(|runs| {
            let offset = runs[0] / ARRAY * ARRAY;
            Chunk { offset, tasks: runs.iter().map(|run| run - offset).collect() }
        })
        .collect()
}

/// A path as a word of the shell.
fn quoted(path: &Path) -> String {
    format!("'{}'", path.display().to_string().replace('\'', r"'\''"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arrays_are_short_and_by_the_thousand() {
        let arrays = |runs: &[usize]| -> Vec<(usize, String)> {
            chunks(runs).iter().map(|chunk| (chunk.offset, chunk.array())).collect()
        };
        assert_eq!(arrays(&[0, 1, 2, 5, 7, 8]), [(0, "0-2,5,7-8".to_owned())]);
        assert_eq!(arrays(&[998, 999, 1000, 2001]), [(0, "998-999".into()), (1000, "0".into()), (2000, "1".into())]);
        assert!(arrays(&[]).is_empty());
    }

    #[test]
    fn a_script_starts_the_run_of_its_task() {
        let order = Order {
            name: "my sweep",
            folder: Path::new("/a b"),
            manifest: Path::new("/a b/runs.jsonl"),
            runs: &[3],
            program: Path::new("/it's"),
            jobs: 1,
            threads: 2,
            extra: &["--partition=short".into()],
            wait: true,
        };
        let script = order.slurm_script();
        let line =
            r#"exec '/it'\''s' run --manifest '/a b/runs.jsonl' --index "$((SLURM_ARRAY_TASK_ID + $1))" --jobs 2"#;
        assert!(script.contains(line) && script.contains("--job-name=my-sweep\n"), "{script}");
        let words = |command: Command| -> Vec<String> {
            command.get_args().map(|word| word.to_string_lossy().into_owned()).collect()
        };
        let chunk = &chunks(order.runs)[0];
        let submitted = words(order.sbatch(chunk, Path::new("x.sh")));
        assert_eq!(submitted, ["--parsable", "--wait", "--array=3", "--partition=short", "x.sh", "0"]);
        let submitted = words(order.hq(chunk, Path::new("x.sh")));
        assert_eq!(submitted[..3], ["submit", "--array", "3"]);
        assert_eq!(submitted[submitted.len() - 3..], ["--", "x.sh", "0"]);
    }
}
