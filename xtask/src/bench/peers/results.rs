//! What a comparison found, as it is kept under `target/peers`.

use crate::bench::fresh::{Fresh, Windows};
use anyhow::Context;
use backcast_benches::Spread;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::path::Path;

/// Everything that was measured.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(super) struct Results {
    pub(super) machine: Machine,
    pub(super) workloads: BTreeMap<String, Workload>,
    /// The sizes of our program and of each environment.
    pub(super) sizes: Vec<Size>,
    pub(super) versions: BTreeMap<String, String>,
    /// Peers that were not run at all, and why.
    pub(super) not_run: BTreeMap<String, String>,
}

/// Where it was measured.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct Machine {
    pub(super) processor: String,
    pub(super) cores: usize,
    pub(super) system: String,
    pub(super) instructions: String,
}

/// One workload, measured in one go.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Workload {
    pub(super) date: String,
    pub(super) passes: usize,
    pub(super) windows: Windows,
    /// Processes waiting for a core before the first pass, ourselves not among them.
    pub(super) load: Option<f64>,
    pub(super) ours: Vec<Ours>,
    pub(super) peers: Vec<PeerRun>,
    /// Peers that gave no result here, and why.
    pub(super) failed: BTreeMap<String, String>,
}

/// One of our measurements.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Ours {
    pub(super) pass: usize,
    #[serde(flatten)]
    pub(super) fresh: Fresh,
}

/// One of a peer's measurements.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct PeerRun {
    pub(super) peer: String,
    pub(super) workload: String,
    pub(super) threads: usize,
    pub(super) pass: usize,
    pub(super) rate: Spread,
    pub(super) unit: String,
    /// Cores that the process had, on average over the windows.
    pub(super) cores: Spread,
    /// Seconds of imports, setup and first call, the making of synthetic rows left out.
    pub(super) first: Option<f64>,
    /// MB.
    pub(super) peak_memory: f64,
    pub(super) batch: usize,
    pub(super) hidden: Option<Vec<usize>>,
    /// The numbers that its optimisers train.
    pub(super) parameters: Option<usize>,
    /// Operations of the matrix products of one unit.
    pub(super) flops: Option<f64>,
    pub(super) versions: BTreeMap<String, String>,
}

/// The size of something on disk.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Size {
    pub(super) what: String,
    pub(super) bytes: u64,
    /// Of these, libraries for graphics processors.
    pub(super) graphics: u64,
}

impl Results {
    /// What an earlier comparison on the same machine left, or nothing.
    pub(super) fn earlier(path: &Path, machine: &Machine) -> Self {
        let earlier: Option<Self> = std::fs::read(path).ok().and_then(|bytes| backcast::json::from_slice(&bytes).ok());
        earlier.filter(|e| e.machine == *machine).unwrap_or_default()
    }

    pub(super) fn read(path: &Path) -> anyhow::Result<Self> {
        let bytes = std::fs::read(path).with_context(|| path.display().to_string())?;
        backcast::json::from_slice(&bytes).with_context(|| path.display().to_string())
    }

    pub(super) fn write(&self, path: &Path) -> anyhow::Result<()> {
        let json = backcast::json::to_string_pretty(self)?;
        std::fs::write(path, json).with_context(|| path.display().to_string())
    }
}

impl Workload {
    /// Our measurements on so many threads, in the order of the passes.
    pub(super) fn ours(&self, threads: usize) -> impl Iterator<Item = &Ours> {
        self.ours.iter().filter(move |ours| ours.fresh.threads == threads)
    }

    /// A peer's measurements on so many threads, in the order of the passes.
    pub(super) fn theirs<'a>(&'a self, peer: &'a str, threads: usize) -> impl Iterator<Item = &'a PeerRun> {
        self.peers.iter().filter(move |run| run.peer == peer && run.threads == threads)
    }

    /// Our rate over a peer's, pass by pass.
    pub(super) fn ratio(&self, peer: &str, threads: usize) -> Option<Spread> {
        let of_pass = |run: &PeerRun| {
            let ours = self.ours(threads).find(|ours| ours.pass == run.pass)?;
            Some(ours.fresh.measurement.rate.median / run.rate.median)
        };
        spread(self.theirs(peer, threads).filter_map(of_pass))
    }

    /// A peer's operations per second over the ceiling that ours measured in the same pass.
    pub(super) fn fraction(&self, peer: &str, threads: usize, flops: f64) -> Option<Spread> {
        let of_pass = |run: &PeerRun| {
            let ours = self.ours(threads).find(|ours| ours.pass == run.pass)?;
            Some(run.rate.median * flops / 1e9 / ours.fresh.measurement.ceiling.median)
        };
        spread(self.theirs(peer, threads).filter_map(of_pass))
    }

    /// The names of the peers that gave a result, the fastest first.
    pub(super) fn ranking(&self) -> Vec<&str> {
        let mut names: Vec<&str> = Vec::new();
        for run in &self.peers {
            if !names.contains(&run.peer.as_str()) {
                names.push(&run.peer);
            }
        }
        let best = |name: &str| self.peers.iter().filter(|r| r.peer == name).map(|r| r.rate.median).fold(0.0, f64::max);
        names.sort_by(|a, b| best(b).total_cmp(&best(a)));
        names
    }
}

/// Of some values, or `None` of none.
pub(super) fn spread(values: impl Iterator<Item = f64>) -> Option<Spread> {
    let values: Vec<f64> = values.collect();
    (!values.is_empty()).then(|| Spread::of(values))
}
