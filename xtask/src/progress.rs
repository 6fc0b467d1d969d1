//! Progress bars: one for the stage, one for each job under way. Where there is no terminal, a line for each finished job.

use anyhow::Context;
use backcast::run::Observer;
use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle};
use std::{
    collections::HashMap,
    io::{IsTerminal, Write},
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
};

/// Draws a run, and stops it on Ctrl-C.
pub(crate) struct Bars {
    all: MultiProgress,
    stage: Mutex<Option<ProgressBar>>,
    jobs: Mutex<HashMap<String, ProgressBar>>,
    stop: Arc<AtomicBool>,
    terminal: bool,
}

impl Bars {
    pub(crate) fn new() -> anyhow::Result<Self> {
        let stop = Arc::new(AtomicBool::new(false));
        let flag = stop.clone();
        ctrlc::set_handler(move || {
            // A second Ctrl-C does not wait: what was saved is safe either way.
            if flag.swap(true, Ordering::Relaxed) {
                std::process::exit(crate::exit::INTERRUPTED.into());
            }
        })
        .context("no handler for Ctrl-C")?;
        let terminal = std::io::stderr().is_terminal();
        let target = if terminal { ProgressDrawTarget::stderr() } else { ProgressDrawTarget::hidden() };
        let all = MultiProgress::with_draw_target(target);
        Ok(Self { all, stage: Mutex::new(None), jobs: Mutex::default(), stop, terminal })
    }

    /// Set when everything is to stop.
    pub(crate) fn stopper(&self) -> &AtomicBool {
        &self.stop
    }

    /// Takes the bars off the screen.
    pub(crate) fn clear(&self) {
        // Nothing depends on whether the terminal obeys.
        let _ = self.all.clear();
    }

    fn say(&self, line: String) {
        if self.terminal {
            let _ = self.all.println(line);
        } else {
            // A full disk must not bring a run down by way of its messages.
            let _ = writeln!(std::io::stderr(), "{line}");
        }
    }
}

fn style(template: &str) -> ProgressStyle {
    ProgressStyle::with_template(template).map_or_else(|_| ProgressStyle::default_bar(), |s| s.progress_chars("━╸─"))
}

impl Observer for Bars {
    fn stage(&self, name: &str, jobs: usize) {
        let bar = self.all.add(ProgressBar::new(jobs as u64));
        bar.set_style(style("{prefix:>12.bold} {bar:30.cyan/dim} {pos}/{len} {elapsed}"));
        bar.set_prefix(name.to_owned());
        bar.tick();
        if let Some(old) = self.stage.lock().unwrap_or_else(|e| e.into_inner()).replace(bar) {
            old.finish_and_clear();
        }
    }

    fn progress(&self, job: &str, done: u64, total: u64, note: &str) {
        let mut jobs = self.jobs.lock().unwrap_or_else(|e| e.into_inner());
        let bar = jobs.entry(job.to_owned()).or_insert_with(|| {
            let bar = self.all.add(ProgressBar::new(total));
            bar.set_style(style("{prefix:>28} {bar:30.green/dim} {percent:>3}% {eta:>4} {msg}"));
            bar.set_prefix(job.to_owned());
            bar
        });
        bar.set_length(total);
        bar.set_position(done);
        bar.set_message(note.to_owned());
    }

    fn finished(&self, job: &str, note: &str) {
        if let Some(bar) = self.jobs.lock().unwrap_or_else(|e| e.into_inner()).remove(job) {
            bar.finish_and_clear();
        }
        self.say(format!("{job:>28}  {note}"));
        if let Some(stage) = &*self.stage.lock().unwrap_or_else(|e| e.into_inner()) {
            stage.inc(1);
        }
    }

    fn warning(&self, job: &str, what: &str) {
        self.say(format!("{job:>28}  WARNING: {what}"));
    }

    fn stop(&self) -> bool {
        self.stop.load(Ordering::Relaxed)
    }
}
