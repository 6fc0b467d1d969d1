//! `cargo xtask run`: an experiment from its file to its report.

use std::path::PathBuf;

/// Which experiment, and where its results go.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// The experiment's file; without one, the workspace's main experiment
    experiment: Option<PathBuf>,
    /// A run of a minute or two that exercises every stage; its scores mean nothing
    #[arg(long)]
    quick: bool,
    /// The folder for the results
    #[arg(long)]
    out: Option<PathBuf>,
}

pub(crate) fn main(args: Args) -> anyhow::Result<()> {
    let Args { experiment: _, quick: _, out: _ } = args;
    anyhow::bail!("not built yet")
}
