//! `cargo xtask bench`: how fast whole updates are, against the machine, against last time, against others.

mod contention;
mod facts;
mod fresh;
mod peers;

use anyhow::{Context, bail};
use fresh::Windows;
use std::process::Command;

/// What to time.
#[derive(clap::Args)]
pub(crate) struct Args {
    #[command(subcommand)]
    group: Option<Group>,
}

#[derive(clap::Subcommand)]
enum Group {
    /// The criterion benches, which compare with the last run (the default)
    Regressions {
        /// Passed on to criterion, such as part of a bench's name
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        arguments: Vec<String>,
    },
    /// Whole workloads against the arithmetic ceiling of the machine, each in a fresh process
    Nn(Nn),
    /// The same workloads in other people's software, and the page that compares them
    Peers(peers::Args),
    /// How much of its speed a workload keeps beside two busy loops
    Contention(contention::Args),
    /// One workload in this process, for the other groups: a line of JSON
    #[command(hide = true)]
    Measure(fresh::Order),
    /// A busy loop, for `contention`
    #[command(hide = true)]
    Spin {
        /// How long
        seconds: f64,
    },
}

/// Whole workloads against the ceiling.
#[derive(clap::Args)]
struct Nn {
    /// Workloads by name; all where none is given
    workloads: Vec<String>,
    /// Numbers of threads to measure with, such as 1,2,4,8,16 [default: 1,2, as far as there are cores]
    #[arg(long, value_delimiter = ',')]
    threads: Vec<usize>,
    #[command(flatten)]
    windows: Windows,
}

pub(crate) fn main(args: Args) -> anyhow::Result<()> {
    match args.group {
        None => regressions(&[]),
        Some(Group::Regressions { arguments }) => regressions(&arguments),
        Some(Group::Nn(nn)) => whole(&nn),
        Some(Group::Peers(args)) => peers::main(&args),
        Some(Group::Contention(args)) => contention::main(&args),
        Some(Group::Measure(order)) => order.carry_out(),
        Some(Group::Spin { seconds }) => {
            contention::spin(seconds);
            Ok(())
        }
    }
}

fn regressions(arguments: &[String]) -> anyhow::Result<()> {
    let cargo = std::env::var("CARGO").unwrap_or_else(|_| "cargo".into());
    let mut command = Command::new(cargo);
    command.current_dir(crate::root()).args(["bench", "--package", "backcast-benches", "--bench", "updates", "--"]);
    let status = command.args(arguments).status().context("starting cargo bench")?;
    if !status.success() {
        bail!("cargo bench ended with {status}");
    }
    Ok(())
}

fn whole(nn: &Nn) -> anyhow::Result<()> {
    nn.windows.check()?;
    if nn.threads.contains(&0) {
        bail!("a measurement needs a thread");
    }
    let counts = if nn.threads.is_empty() { threads().collect() } else { nn.threads.clone() };
    for workload in chosen(&nn.workloads)? {
        for &threads in &counts {
            println!("{}", fresh::measure(workload, threads, nn.windows)?);
        }
    }
    println!("size on disk: {} (this program)", facts::size(facts::own_size()));
    Ok(())
}

/// The workloads of these names; all, in f32, for no name.
fn chosen(names: &[String]) -> anyhow::Result<Vec<&str>> {
    let known = backcast_benches::WORKLOADS;
    let fits = |name: &str| backcast_benches::parse(name).is_some_and(|(name, _)| known.contains(&name));
    if let Some(name) = names.iter().find(|name| !fits(name)) {
        bail!(
            "there is no workload `{name}`; there are {}, and with `:split` or `:bf16` behind them",
            known.join(", ")
        );
    }
    Ok(if names.is_empty() { known.to_vec() } else { names.iter().map(String::as_str).collect() })
}

/// One thread and, where there are as many cores, two.
fn threads() -> impl Iterator<Item = usize> {
    [1, 2].into_iter().filter(|&threads| threads <= facts::cores())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_workload_that_does_not_exist_is_refused_by_name() {
        let error = chosen(&["td4bc".into()]).unwrap_err().to_string();
        assert!(error.contains("`td4bc`") && error.contains("td3bc"), "{error}");
        assert_eq!(chosen(&["iql".into(), "bc:split".into()]).unwrap(), ["iql", "bc:split"]);
        assert!(chosen(&["bc:f16".into()]).is_err());
        assert_eq!(chosen(&[]).unwrap(), backcast_benches::WORKLOADS);
    }
}
