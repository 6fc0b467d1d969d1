//! `cargo xtask bench peers`: the same work in other people's software, measured in turns with ours.

mod catalogue;
mod environment;
mod page;
mod results;

use super::{facts, fresh};
use anyhow::{Context, bail};
use catalogue::{PEERS, Peer, Run};
use environment::{Environments, Script};
use results::{Machine, Ours, Results, Size, Workload};
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

/// Whom to compare with, and how long.
#[derive(clap::Args)]
pub(super) struct Args {
    /// The Python that builds the environments [default: python3]
    #[arg(long)]
    python: Option<PathBuf>,
    /// The folder of the environments [default: target/peers]
    #[arg(long)]
    venv: Option<PathBuf>,
    /// Only this workload; may be given several times. Other workloads keep what an earlier comparison found
    #[arg(long)]
    only: Vec<String>,
    /// Only peers whose name contains this, large and small letters alike: a look, which leaves the page and the raw results as they are
    #[arg(long)]
    peer: Option<String>,
    /// Rounds in which ours and each peer are measured once, in turns
    #[arg(long, default_value_t = 3)]
    passes: usize,
    /// The folder of the peers' scripts
    #[arg(long)]
    scripts: Option<PathBuf>,
    /// A folder with the sources of peers that pip does not have: corl, okit, unifloral, jaxcorl
    #[arg(long)]
    peers_src: Option<PathBuf>,
    /// Write the page again from the raw results of an earlier comparison, and measure nothing
    #[arg(long)]
    page_only: bool,
    #[command(flatten)]
    windows: fresh::Windows,
}

/// The page, from the root of the workspace.
const PAGE: &str = "docs/src/results/speed.md";

pub(super) fn main(args: &Args) -> anyhow::Result<()> {
    args.windows.check()?;
    let folder = crate::root().join("target/peers");
    std::fs::create_dir_all(&folder).with_context(|| folder.display().to_string())?;
    let raw = folder.join("results.json");
    if args.page_only {
        return page::write(&crate::root().join(PAGE), &Results::read(&raw)?);
    }
    let workloads = super::chosen(&args.only)?;
    let wanted = wanted(args.peer.as_deref())?;
    let scripts = args.scripts.clone().unwrap_or_else(|| crate::root().join("../shared/peers"));
    let python = environment::find_python(args.python.as_deref());
    let Some(python) = python.filter(|_| scripts.is_dir()) else {
        return alone(args, &workloads, &scripts);
    };

    let machine = Machine::here();
    let mut results = Results { machine: machine.clone(), ..Results::earlier(&raw, &machine) };
    results.not_run.clear();
    let needed = |name: &str| wanted.iter().any(|p| p.environment == name && missing(p, args).is_none());
    let venv = args.venv.clone().unwrap_or_else(|| folder.clone());
    let environments = Environments::build(&python, &venv, &needed);
    for peer in &wanted {
        let lost = || environments.lost.get(peer.environment).cloned();
        if let Some(why) = missing(peer, args).or_else(lost) {
            println!("not run: {}: {why}", peer.name);
            results.not_run.insert(peer.name.into(), why);
        }
    }
    let script = Script {
        scripts: &scripts,
        sources: args.peers_src.as_deref(),
        folder: &folder,
        seconds: args.windows.seconds,
        windows: args.windows.windows,
        rows: args.windows.rows,
    };
    for workload in workloads {
        let runs: Vec<(&Peer, &Run, &Path)> = wanted
            .iter()
            .copied()
            .filter(|peer| !results.not_run.contains_key(peer.name))
            .filter_map(|peer| Some((peer, environments.ready.get(peer.environment)?)))
            .flat_map(|(peer, python)| peer.runs.iter().map(move |run| (peer, run, python.as_path())))
            .filter(|(_, run, _)| run.workload == workload)
            .collect();
        let measured = compare(workload, &runs, &script, args)?;
        for run in &measured.peers {
            results.versions.extend(run.versions.clone());
        }
        results.workloads.insert(workload.to_owned(), measured);
        // After each workload, so that what is measured is kept if the next is interrupted.
        if args.peer.is_none() {
            results.write(&raw)?;
        }
    }
    if args.peer.is_some() {
        return Ok(());
    }
    results.sizes = sizes(&environments);
    results.write(&raw)?;
    println!("raw results: {}", raw.display());
    let compared: BTreeSet<&str> = PEERS.iter().flat_map(|peer| peer.runs).map(|run| run.workload).collect();
    let never: Vec<&str> = compared.into_iter().filter(|&name| !results.workloads.contains_key(name)).collect();
    if !never.is_empty() {
        println!("the page is left as it is, since it would lose what nobody measured here: {}", never.join(", "));
        return Ok(());
    }
    page::write(&crate::root().join(PAGE), &results)
}

/// The peers whose name contains `part`, whatever its letters' size; all if it is none.
fn wanted(part: Option<&str>) -> anyhow::Result<Vec<&'static Peer>> {
    let part = part.unwrap_or_default().to_lowercase();
    let wanted: Vec<&Peer> = PEERS.iter().filter(|peer| peer.name.to_lowercase().contains(&part)).collect();
    if wanted.is_empty() {
        let names: Vec<&str> = PEERS.iter().map(|peer| peer.name).collect();
        bail!("--peer: no peer is called like `{part}`; there are: {}", names.join(", "));
    }
    Ok(wanted)
}

/// Our rows against the ceiling, where there is nobody to compare with.
fn alone(args: &Args, workloads: &[&str], scripts: &Path) -> anyhow::Result<()> {
    if scripts.is_dir() {
        println!("there is no Python here: no peer can be run, and the page is left as it is");
    } else {
        println!(
            "the peers' scripts are not in {}: no peer can be run, and the page is left as it is",
            scripts.display()
        );
    }
    for workload in workloads {
        for threads in super::threads() {
            println!("{}", fresh::measure(workload, threads, args.windows)?);
        }
    }
    Ok(())
}

/// Why a peer cannot be run whatever environments there are.
fn missing(peer: &Peer, args: &Args) -> Option<String> {
    let folder = peer.source?;
    match &args.peers_src {
        None => Some("its sources are needed, and no `--peers-src` was given".into()),
        Some(sources) if !sources.join(folder).is_dir() => {
            Some(format!("there is no folder `{folder}` in `--peers-src`"))
        }
        Some(_) => None,
    }
}

/// Rounds of ours and each peer in turns, first on one thread, then on two.
fn compare(
    workload: &str,
    runs: &[(&Peer, &Run, &Path)],
    script: &Script<'_>,
    args: &Args,
) -> anyhow::Result<Workload> {
    let mut measured = Workload {
        date: facts::today(),
        passes: args.passes.max(1),
        windows: args.windows,
        load: facts::load(),
        ours: Vec::new(),
        peers: Vec::new(),
        failed: BTreeMap::new(),
    };
    for pass in 0..measured.passes {
        for threads in super::threads() {
            let fresh = fresh::measure(workload, threads, args.windows)?;
            println!("{fresh}");
            measured.ours.push(Ours { pass, fresh });
            for (peer, run, python) in runs {
                match script.run(python, peer, run, threads) {
                    Ok(run) => {
                        let (rate, unit) = (run.rate, &run.unit);
                        print!(
                            "{} {workload} {threads} {:.1} ",
                            peer.name.replace(", ", "-").replace(' ', "-"),
                            rate.median
                        );
                        println!("[{:.1}-{:.1}] {unit}", rate.min, rate.max);
                        measured.peers.push(results::PeerRun { pass, ..run });
                    }
                    Err(error) => {
                        println!("{} {workload} {threads}: {error:#}", peer.name);
                        measured.failed.insert(peer.name.into(), format!("{error:#}"));
                    }
                }
            }
        }
    }
    Ok(measured)
}

fn sizes(environments: &Environments) -> Vec<Size> {
    let own = Size { what: "the runner, with everything in it".into(), bytes: facts::own_size(), graphics: 0 };
    let theirs = environments.ready.iter().map(|(name, python)| {
        let (bytes, graphics) = environment::size(python);
        Size { what: format!("the environment `{name}`"), bytes, graphics }
    });
    std::iter::once(own).chain(theirs).collect()
}

impl Machine {
    fn here() -> Self {
        Self {
            processor: facts::processor(),
            cores: facts::cores(),
            system: format!("{} {}", std::env::consts::OS, std::env::consts::ARCH),
            instructions: format!("{:?}", backcast::nn::isa()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn peers_are_found_by_a_part_of_their_name() {
        assert_eq!(wanted(None).unwrap().len(), PEERS.len());
        let names: Vec<&str> = wanted(Some("jax, SCAN")).unwrap().iter().map(|peer| peer.name).collect();
        assert_eq!(names, ["JAX, scan"]);
        let Err(error) = wanted(Some("nobody")) else { panic!("a peer called nobody") };
        assert!(error.to_string().contains("`nobody`") && error.to_string().contains("OfflineRL-Kit"), "{error}");
    }
}
