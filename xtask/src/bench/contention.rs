//! How much of its speed a workload keeps when others want the cores too.
//!
//! A program whose threads wait for each other at every step loses far more than its share: the slowest sets the pace. Ours
//! wait for nobody.

use super::{facts, fresh};
use anyhow::Context;
use backcast_benches::Spread;
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

/// What to crowd.
#[derive(clap::Args)]
pub(super) struct Args {
    /// Workloads by name
    #[arg(default_value = "td3bc")]
    workloads: Vec<String>,
    /// Busy loops beside it
    #[arg(long, default_value_t = 2)]
    loops: usize,
    /// Measurements alone and crowded, in turns
    #[arg(long, default_value_t = 3)]
    passes: usize,
    #[command(flatten)]
    windows: fresh::Windows,
}

/// Does nothing as hard as it can.
pub(super) fn spin(seconds: f64) {
    let begin = Instant::now();
    while begin.elapsed().as_secs_f64() < seconds {
        std::hint::spin_loop();
    }
}

/// Busy loops that end with this value.
pub(super) struct Crowd(Vec<Child>);

impl Crowd {
    pub(super) fn new(loops: usize) -> anyhow::Result<Self> {
        let mut crowd = Self(Vec::new());
        for _ in 0..loops {
            let mut command = fresh::session()?;
            // Should this program be killed, they end by themselves.
            command.args(["bench", "spin", "600"]).stdin(Stdio::null());
            crowd.0.push(command.spawn().context("starting a busy loop")?);
        }
        Ok(crowd)
    }
}

impl Drop for Crowd {
    fn drop(&mut self) {
        for child in &mut self.0 {
            // One that has already ended is what we want.
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

pub(super) fn main(args: &Args) -> anyhow::Result<()> {
    args.windows.check()?;
    let cores = facts::cores();
    println!("{} busy loops beside each workload on {cores} cores, everything at the same priority", args.loops);
    for workload in super::chosen(&args.workloads)? {
        for threads in super::threads() {
            let (mut quiet, mut crowded, mut kept) = (Vec::new(), Vec::new(), Vec::new());
            for _ in 0..args.passes.max(1) {
                let measure = || Ok(fresh::measure(workload, threads, args.windows)?.measurement.rate.median);
                let before: anyhow::Result<f64> = measure();
                let crowd = Crowd::new(args.loops)?;
                std::thread::sleep(Duration::from_millis(100));
                let during: anyhow::Result<f64> = measure();
                drop(crowd);
                let (before, during) = (before?, during?);
                quiet.push(before);
                crowded.push(during);
                kept.push(during / before);
            }
            let (quiet, crowded, kept) = (Spread::of(quiet), Spread::of(crowded), Spread::of(kept));
            println!(
                "contention backcast {workload} {threads} alone {:.1} crowded {:.1} {}  kept {:.0} % [{:.0}-{:.0}]",
                quiet.median,
                crowded.median,
                backcast_benches::unit(workload),
                100.0 * kept.median,
                100.0 * kept.min,
                100.0 * kept.max
            );
        }
    }
    Ok(())
}
