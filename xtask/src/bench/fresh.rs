//! One workload in a process of its own, so that its memory and its start are its own.

use super::facts;
use anyhow::{Context, bail};
use backcast_benches::{Measurement, Settings};
use serde::{Deserialize, Serialize};
use std::fmt;
use std::process::{Command, Stdio};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// How long to measure.
#[derive(Clone, Copy, Debug, clap::Args, Serialize, Deserialize)]
pub(super) struct Windows {
    /// Seconds of one window
    #[arg(long, default_value_t = 1.0)]
    pub(super) seconds: f64,
    /// Windows; the median is printed
    #[arg(long, default_value_t = 5)]
    pub(super) windows: usize,
    /// Rows of the synthetic dataset
    #[arg(long, default_value_t = 1_000_000)]
    pub(super) rows: usize,
}

impl Windows {
    pub(super) fn check(self) -> anyhow::Result<()> {
        let time = self.seconds > 0.0 && self.seconds < 3600.0;
        // The ensemble holds rows out, and draws whole batches.
        if self.windows == 0 || self.rows < 2 || !time {
            bail!("a measurement needs a window, two rows and some time");
        }
        Ok(())
    }
}

/// What a fresh process is asked to do.
#[derive(clap::Args)]
pub(super) struct Order {
    workload: String,
    #[arg(long)]
    threads: usize,
    #[command(flatten)]
    windows: Windows,
    /// When the process was started, in nanoseconds of the Unix clock
    #[arg(long)]
    started: u64,
}

/// What a fresh process found.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Fresh {
    pub(super) workload: String,
    pub(super) threads: usize,
    #[serde(flatten)]
    pub(super) measurement: Measurement,
    /// Seconds from the start of the process to the end of the first unit, the making of synthetic rows left out.
    pub(super) first_unit: f64,
    /// MB, the synthetic rows included.
    pub(super) peak_memory: Option<f64>,
}

fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_nanos() as u64)
}

impl Order {
    pub(super) fn carry_out(self) -> anyhow::Result<()> {
        self.windows.check()?;
        super::chosen(std::slice::from_ref(&self.workload))?;
        let before = now().saturating_sub(self.started) as f64 / 1e9;
        let data = backcast_benches::rows(self.windows.rows);
        let settings = Settings {
            threads: self.threads,
            windows: self.windows.windows,
            window: Duration::from_secs_f64(self.windows.seconds),
        };
        let measurement = backcast_benches::measure(&self.workload, &data, settings);
        let first_unit = before + measurement.first;
        let peak_memory = facts::peak_memory();
        let Self { workload, threads, .. } = self;
        println!("{}", backcast::json::to_string(&Fresh { workload, threads, measurement, first_unit, peak_memory })?);
        Ok(())
    }
}

/// A command that starts this program in a session of its own where that is possible. Linux shares the cores out among
/// sessions before it looks at processes, and the peers' scripts open one each: whoever shares theirs gets less.
pub(super) fn session() -> anyhow::Result<Command> {
    let program = std::env::current_exe().context("finding this program")?;
    let found = Command::new("setsid").arg("--version").stdout(Stdio::null()).stderr(Stdio::null()).status();
    // `setsid` forks only when it leads a process group, which a child of ours does not: its process is ours to end.
    Ok(if found.is_ok_and(|status| status.success()) {
        let mut command = Command::new("setsid");
        command.arg(program);
        command
    } else {
        Command::new(program)
    })
}

/// Measures a workload in a fresh process of this program.
pub(super) fn measure(workload: &str, threads: usize, windows: Windows) -> anyhow::Result<Fresh> {
    let mut command = session()?;
    command.args(["bench", "measure", workload, "--threads", &threads.to_string()]);
    for (flag, value) in [("--windows", windows.windows), ("--rows", windows.rows)] {
        command.args([flag, &value.to_string()]);
    }
    command.args(["--seconds", &windows.seconds.to_string(), "--started", &now().to_string()]);
    let output = command.stderr(Stdio::inherit()).output().context("starting a fresh process")?;
    if !output.status.success() {
        bail!("measuring {workload} ended with {}", output.status);
    }
    backcast::json::from_slice(&output.stdout).with_context(|| format!("reading the measurement of {workload}"))
}

impl fmt::Display for Fresh {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { workload, threads, measurement: m, first_unit, peak_memory } = self;
        let (rate, unit) = (m.rate, backcast_benches::unit(workload));
        write!(f, "backcast {workload} {threads} {:.1} [{:.1}-{:.1}] {unit}", rate.median, rate.min, rate.max)?;
        write!(f, "  {:.1} GFLOP/s {:.0} %", m.gflops(workload), 100.0 * m.fraction.median)?;
        write!(f, "  ceiling {:.0} first {first_unit:.3} s", m.ceiling.median)?;
        if let Some(mb) = peak_memory {
            write!(f, " peak {mb:.0} MB")?;
        }
        m.cores.map_or(Ok(()), |cores| write!(f, " cores {cores:.2}"))
    }
}
