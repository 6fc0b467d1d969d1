//! `cargo xtask bench`: how fast whole updates are.

use anyhow::bail;
use std::time::Duration;

/// What to time.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// The group of workloads: nn (whole updates of BC, TD3+BC and BCQ)
    #[arg(default_value = "nn")]
    group: String,
    /// Seconds of one window
    #[arg(long, default_value_t = 1.0)]
    seconds: f64,
    /// Windows; the median is printed
    #[arg(long, default_value_t = 5)]
    windows: usize,
    /// Rows of the synthetic log
    #[arg(long, default_value_t = 1_000_000)]
    rows: usize,
}

pub(crate) fn main(args: Args) -> anyhow::Result<()> {
    if args.group != "nn" {
        bail!("there is no group `{}`; there is `nn`", args.group);
    }
    if args.windows == 0 || args.rows == 0 || args.seconds.is_nan() || args.seconds <= 0.0 {
        bail!("a measurement needs a window, a row and some time");
    }
    let data = backcast_benches::rows(args.rows);
    let window = Duration::from_secs_f64(args.seconds);
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    for workload in backcast_benches::WORKLOADS {
        for threads in [1, 2].into_iter().filter(|&t| t <= cores) {
            let rate = backcast_benches::rate(workload, &data, threads, args.windows, window);
            println!("backcast {workload} {threads} {:.1} [{:.1}-{:.1}] updates/s", rate.median, rate.min, rate.max);
        }
    }
    Ok(())
}
