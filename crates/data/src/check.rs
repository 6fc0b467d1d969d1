//! What is in a file, and what is wrong with it.
//!
//! [`show`] describes a file of any [`Format`]: its arrays and, where they make a dataset, its episodes. [`check()`] adds
//! judgement: a list of [`Finding`]s. Both serialise for machines and print for people.

use crate::arrays::Entry;
use crate::{DataError, Dataset, End, Format, ReadOptions, Truncations, Unread};
use backcast_core::{Fingerprint, Fingerprinter, Real};
use serde::Serialize;
use std::fmt;
use std::path::{Path, PathBuf};

/// Mean, population deviation and range.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Stats {
    /// The mean.
    pub mean: f64,
    /// The deviation, divided by *n*.
    pub std: f64,
    /// The smallest.
    pub min: f64,
    /// The largest.
    pub max: f64,
}

impl Stats {
    fn of(values: impl Iterator<Item = f64> + Clone) -> Self {
        let n = values.clone().count() as f64;
        let mean = values.clone().sum::<f64>() / n;
        let std = (values.clone().map(|x| (x - mean) * (x - mean)).sum::<f64>() / n).sqrt();
        let (min, max) = values.fold((f64::INFINITY, f64::NEG_INFINITY), |(a, b), x| (a.min(x), b.max(x)));
        Self { mean, std, min, max }
    }
}

impl fmt::Display for Stats {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "mean {:.3} ± {:.3}, from {:.3} to {:.3}", self.mean, self.std, self.min, self.max)
    }
}

/// One dataset of a file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(untagged)]
pub enum Listing {
    /// Its shape and type.
    Readable(Entry),
    /// Why it has none.
    Unreadable {
        /// Its path.
        name: String,
        /// What the reader said.
        why: String,
    },
}

/// Values that are NaN or infinite in one dataset.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct NonFinite {
    /// The dataset.
    pub dataset: &'static str,
    /// How many there are.
    pub count: usize,
    /// The row of the first.
    pub row: usize,
    /// The column of the first.
    pub column: usize,
}

/// The numbers that describe a dataset.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Summary {
    /// Rows.
    pub rows: usize,
    /// Width of an observation.
    pub obs: usize,
    /// Width of an action.
    pub act: usize,
    /// Whether next observations are stored.
    pub next_observations: bool,
    /// The names below `infos/`, with their widths.
    pub infos: Vec<(String, usize)>,
    /// Episodes, an unfinished one included.
    pub episodes: usize,
    /// Rows per episode.
    pub lengths: Stats,
    /// Undiscounted returns.
    pub returns: Stats,
    /// Rewards.
    pub rewards: Stats,
    /// Action values.
    pub actions: Stats,
    /// The share of action values beyond ±1.
    pub beyond_one: f64,
    /// Rows marked terminal.
    pub terminals: usize,
    /// Rows marked as cut.
    pub truncated: usize,
    /// Rows marked as both.
    pub both: usize,
    /// Whether the dataset stops inside an episode.
    pub unfinished: bool,
    /// Cut rows whose stored next observation is the next episode's first state.
    pub leaking_truncated: usize,
    /// Terminal rows of which the same is true.
    pub leaking_terminals: usize,
    /// Rows inside an episode whose stored next observation is not the next row's observation.
    pub disagreements: usize,
    /// The first of those rows.
    pub first_disagreement: Option<usize>,
    /// The largest difference in one of those rows.
    pub worst_disagreement: f64,
    /// Rows that repeat the observation before a truncation.
    pub stale: usize,
    /// Rows that are bit for bit an earlier row.
    pub duplicates: usize,
    /// Observation columns that never vary.
    pub constant_columns: Vec<usize>,
    /// Datasets with values that are NaN or infinite.
    pub non_finite: Vec<NonFinite>,
}

impl Summary {
    /// The numbers that describe `log`.
    ///
    /// # Panics
    /// If the dataset is empty.
    pub fn of(dataset: &Dataset) -> Self {
        assert!(!dataset.is_empty(), "Summary::of: an empty dataset");
        let rows = dataset.len();
        let [obs, act] = dataset.widths();
        let episodes = dataset.episodes();
        let [terminal, truncated] = dataset.ends();
        let [(_, _, states), (_, _, actions), (_, _, rewards), _] = dataset.floats();
        let leaking: Vec<usize> = (0..rows).filter(|&t| dataset.leaks(t) == Some(true)).collect();
        let disagreeing: Vec<usize> = (0..rows).filter(|&t| dataset.disagrees(t)).collect();
        let worst = disagreeing.iter().map(|&t| {
            let (next, after) = (dataset.row(t).next_obs.unwrap_or_default(), dataset.row(t + 1).obs);
            next.iter().zip(after).map(|(a, b)| (a - b).abs() as f64).fold(0.0, f64::max)
        });
        Self {
            rows,
            obs,
            act,
            next_observations: dataset.has_next_obs(),
            infos: dataset.infos().iter().map(|info| (info.name.clone(), info.width)).collect(),
            lengths: Stats::of(episodes.iter().map(|e| e.rows as f64)),
            returns: Stats::of(episodes.iter().map(|e| e.total)),
            rewards: Stats::of(rewards.iter().map(|&r| r as f64)),
            actions: Stats::of(actions.iter().map(|&a| a as f64)),
            beyond_one: actions.iter().filter(|a| a.abs() > 1.0).count() as f64 / actions.len() as f64,
            terminals: terminal.iter().filter(|&&t| t).count(),
            truncated: truncated.iter().filter(|&&t| t).count(),
            both: terminal.iter().zip(truncated).filter(|&(&a, &b)| a && b).count(),
            unfinished: episodes.last().is_some_and(|e| e.end == End::Unfinished),
            episodes: episodes.len(),
            leaking_truncated: leaking.iter().filter(|&&t| !terminal[t]).count(),
            leaking_terminals: leaking.iter().filter(|&&t| terminal[t]).count(),
            disagreements: disagreeing.len(),
            first_disagreement: disagreeing.first().copied(),
            worst_disagreement: worst.fold(0.0, f64::max),
            stale: (0..rows).filter(|&t| dataset.is_stale(t)).count(),
            duplicates: duplicates(dataset),
            constant_columns: (0..obs)
                .filter(|&j| rows > 1 && states.iter().skip(j).step_by(obs).all(|x| *x == states[j]))
                .collect(),
            non_finite: dataset
                .floats()
                .iter()
                .filter_map(|&(name, width, values)| non_finite(name, width, values))
                .collect(),
        }
    }
}

fn non_finite(dataset: &'static str, width: usize, values: &[Real]) -> Option<NonFinite> {
    let first = values.iter().position(|x| !x.is_finite())?;
    let count = values.iter().filter(|x| !x.is_finite()).count();
    Some(NonFinite { dataset, count, row: first / width, column: first % width })
}

/// Rows that are bit for bit an earlier row: observation, action, reward, flags and, where stored, next observation.
fn duplicates(dataset: &Dataset) -> usize {
    let numbers = |t: usize| {
        let row = dataset.row(t);
        let flags = row.terminal as u64 | (row.truncated as u64) << 1;
        let values =
            row.obs.iter().chain(row.act).chain([&dataset.floats()[2].2[t]]).chain(row.next_obs.unwrap_or_default());
        values.map(|x| x.to_bits() as u64).chain([flags])
    };
    let hash = |t: usize| {
        // Rows of one hash are compared in full.
        let mut row = Fingerprinter::default();
        numbers(t).for_each(|word| row.word(word));
        row.finish()
    };
    let mut hashes: Vec<(Fingerprint, usize)> = (0..dataset.len()).map(|t| (hash(t), t)).collect();
    hashes.sort_unstable();
    let run = |run: &[(Fingerprint, usize)]| run[1..].iter().filter(|(_, t)| numbers(*t).eq(numbers(run[0].1))).count();
    hashes.chunk_by(|a, b| a.0 == b.0).map(run).sum()
}

/// What [`show`] found.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Show {
    /// The file.
    pub file: PathBuf,
    /// What it is.
    pub format: Format,
    /// Its length; of a folder, that of all files in it.
    pub bytes: u64,
    /// Every array in it; of a Minari dataset, those of the first episode.
    pub datasets: Vec<Listing>,
    /// Its rows, where they make a dataset.
    pub summary: Option<Summary>,
    /// Why there is no summary.
    pub unreadable: Option<String>,
    /// What it holds and its dataset does not.
    pub unread: Vec<Unread>,
}

/// How bad a [`Finding`] is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Severity {
    /// Good to know.
    Info,
    /// The loader or an option deals with it, and whoever reads results should know.
    Warn,
    /// Learning from this file would be learning from something false.
    Error,
}

/// Something about a file that deserves a sentence.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// How bad it is.
    pub severity: Severity,
    /// A short name that does not change: `non_finite`, `leaking_truncated` …
    pub name: &'static str,
    /// The dataset.
    pub dataset: Option<String>,
    /// The first row, from 0.
    pub row: Option<usize>,
    /// The sentence.
    pub message: String,
}

impl Finding {
    /// Its name, where it is and what it says, without how bad it is: ``disagreements: `next_observations`, row 4: …``.
    pub fn sentence(&self) -> String {
        let row = self.row.map_or(String::new(), |row| format!(", row {row}"));
        let place = self.dataset.as_ref().map_or(String::new(), |dataset| format!("`{dataset}`{row}: "));
        format!("{}: {place}{}", self.name, self.message)
    }
}

/// What [`check()`] found.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Check {
    /// The file.
    pub file: PathBuf,
    /// What it is.
    pub format: Format,
    /// The [fingerprint](Dataset::fingerprint) of the dataset: the same for every file of one dataset.
    pub fingerprint: Option<Fingerprint>,
    /// Its rows, where they could be read.
    pub summary: Option<Summary>,
    /// The worst first.
    pub findings: Vec<Finding>,
}

impl Check {
    /// Whether no finding is an error.
    pub fn passed(&self) -> bool {
        self.findings.iter().all(|finding| finding.severity < Severity::Error)
    }
}

/// Describes a file.
///
/// # Errors
/// If it cannot be opened, or is nothing that is known. Arrays that cannot be read, or that make no dataset, are part of the
/// answer.
pub fn show(path: &Path) -> Result<Show, DataError> {
    let format = Format::detect(path)?;
    let mut datasets = Vec::new();
    if format != Format::MinariArrow {
        let file = crate::format::open(path, format)?;
        let listing = |name: &String| match file.entry(name) {
            Ok(entry) => Listing::Readable(entry),
            Err(error) => Listing::Unreadable { name: name.clone(), why: error.to_string() },
        };
        let shown = |name: &&String| format != Format::Minari || name.starts_with("episode_0/");
        datasets = file.names().iter().filter(shown).map(listing).collect();
    }
    let (summary, unreadable, unread) = match read(path, format) {
        Ok(dataset) => (Some(Summary::of(&dataset)), None, dataset.unread),
        Err(error) => (None, Some(error.to_string()), Vec::new()),
    };
    let bytes = length(path).map_err(|source| DataError::io(path, source))?;
    Ok(Show { file: path.into(), format, bytes, datasets, summary, unreadable, unread })
}

fn read(path: &Path, format: Format) -> Result<Dataset, DataError> {
    crate::read(path, &ReadOptions { format: Some(format), ..ReadOptions::default() })
}

/// Bytes of a file, or of all files in a folder.
fn length(path: &Path) -> std::io::Result<u64> {
    let metadata = std::fs::metadata(path)?;
    if !metadata.is_dir() {
        return Ok(metadata.len());
    }
    std::fs::read_dir(path)?.map(|entry| length(&entry?.path())).sum()
}

/// Describes a file and judges it.
///
/// # Errors
/// If it cannot be opened, or is nothing that is known. Everything else that is wrong is a finding.
pub fn check(path: &Path) -> Result<Check, DataError> {
    let format = Format::detect(path)?;
    let marked = marks_truncations(path, format)?;
    let mut findings = Vec::new();
    let (mut fingerprint, mut summary) = (None, None);
    match read(path, format) {
        Ok(dataset) => {
            findings = self::findings(&dataset, marked);
            fingerprint = Some(dataset.fingerprint());
            summary = Some(Summary::of(&dataset));
        }
        Err(error) => findings.push(Finding {
            severity: Severity::Error,
            name: "unreadable",
            dataset: None,
            row: None,
            message: error.to_string(),
        }),
    }
    Ok(Check { file: path.into(), format, fingerprint, summary, findings })
}

/// Reads a file as `options` say, and judges it as it was read: what they mend is no finding any more.
///
/// # Errors
/// As [`read`](crate::read).
pub fn read_checked(path: &Path, options: &ReadOptions) -> Result<(Dataset, Vec<Finding>), DataError> {
    let dataset = crate::read(path, options)?;
    if dataset.is_empty() {
        return Ok((dataset, vec![]));
    }
    let format = options.format.map_or_else(|| Format::detect(path), Ok)?;
    let marked = options.truncations != Truncations::Recorded || marks_truncations(path, format)?;
    let findings = findings(&dataset, marked);
    Ok((dataset, findings))
}

/// Whether a file of this format can mark truncations, and this one does.
fn marks_truncations(path: &Path, format: Format) -> Result<bool, DataError> {
    Ok(match format {
        Format::D4rl | Format::Npz | Format::Columns => crate::format::open(path, format)?.has("timeouts"),
        Format::NeoRl => {
            let file = crate::format::open(path, format)?;
            file.has("index") || file.has("truncated")
        }
        _ => true,
    })
}

/// What there is to say of a dataset, the worst first; `marked` is whether its file could mark truncations at all.
pub(crate) fn findings(dataset: &Dataset, marked: bool) -> Vec<Finding> {
    let mut findings = Vec::new();
    judge(&Summary::of(dataset), marked, &mut findings);
    findings.extend(dataset.unread().iter().map(|unread| Finding {
        severity: Severity::Info,
        name: "unread",
        dataset: Some(unread.name.clone()),
        row: None,
        message: format!("{:?} is in the file and in no field of the dataset: {}", unread.shape, unread.why),
    }));
    findings.sort_by_key(|finding| std::cmp::Reverse(finding.severity));
    findings
}

/// Two stored copies of one state may differ by this share through rounding alone.
const ROUNDING: f64 = 1e-4;

fn judge(s: &Summary, marked: bool, findings: &mut Vec<Finding>) {
    use Severity::{Error, Info, Warn};
    let mut find = |holds: bool, severity, name, dataset: Option<&str>, row, message: String| {
        if holds {
            findings.push(Finding { severity, name, dataset: dataset.map(Into::into), row, message });
        }
    };
    for bad in &s.non_finite {
        let message = format!("{} values are NaN or infinite, the first in column {}", bad.count, bad.column);
        find(true, Error, "non_finite", Some(bad.dataset), Some(bad.row), message);
    }
    let next = Some("next_observations");
    let rounding = s.worst_disagreement <= ROUNDING * (1.0 + s.obs as f64);
    find(
        s.disagreements > 0,
        if rounding { Info } else { Error },
        "disagreements",
        next,
        s.first_disagreement,
        format!(
            "{} rows inside episodes store a next observation that is not the next row's, by up to {:.3e}: {}",
            s.disagreements,
            s.worst_disagreement,
            if rounding { "rounding" } else { "the end of an episode is not marked, or rows are out of order" }
        ),
    );
    find(
        s.leaking_truncated > 0,
        Warn,
        "leaking_timeouts",
        next,
        None,
        format!(
            "{} of {} truncated rows store the next episode's first state; such rows are dropped when transitions are made",
            s.leaking_truncated, s.truncated
        ),
    );
    find(
        s.leaking_terminals > 0,
        Warn,
        "leaking_terminals",
        next,
        None,
        format!(
            "{} of {} terminal rows store the next row's observation: harmless to values, which are masked there, and false \
             to models, which must drop them",
            s.leaking_terminals, s.terminals
        ),
    );
    find(
        s.stale > 0,
        Warn,
        "stale",
        Some("observations"),
        None,
        format!(
            "{} rows after a truncation repeat the observation before it: their transitions span two steps (option `drop_stale`)",
            s.stale
        ),
    );
    find(
        s.beyond_one > 0.0,
        Warn,
        "beyond_one",
        Some("actions"),
        None,
        format!(
            "{:.2} % of the values lie beyond ±1, up to {:.3}: clip them (`--clip`, `data.clip_actions`), unless the environment's limit is larger",
            100.0 * s.beyond_one,
            s.actions.max.max(-s.actions.min)
        ),
    );
    find(
        s.rewards.min == s.rewards.max,
        Warn,
        "constant_reward",
        Some("rewards"),
        None,
        format!("every reward is {}", s.rewards.min),
    );
    find(
        !marked,
        Warn,
        "no_timeouts",
        Some("timeouts"),
        None,
        "the dataset is missing: episodes end at terminal rows alone unless they are truncated at a horizon".into(),
    );
    find(
        s.episodes == 1 && s.rows > 1 && s.unfinished,
        Warn,
        "one_episode",
        None,
        None,
        "no row is terminal or cut: the whole file is one episode".into(),
    );
    find(
        s.duplicates > 0,
        if s.duplicates * 100 > s.rows { Warn } else { Info },
        "duplicates",
        None,
        None,
        format!("{} rows are bit for bit an earlier row", s.duplicates),
    );
    find(
        !s.constant_columns.is_empty(),
        Info,
        "constant_columns",
        Some("observations"),
        None,
        format!("columns {:?} never vary", s.constant_columns),
    );
    find(s.both > 0, Info, "both", None, None, format!("{} rows are terminal and cut: they count as terminal", s.both));
    find(
        s.unfinished && s.episodes > 1,
        Info,
        "unfinished",
        None,
        None,
        "the file stops inside an episode, whose return is then too small".into(),
    );
    find(
        !s.next_observations,
        Info,
        "no_next_observations",
        next,
        None,
        "not stored: the next row's observation serves inside episodes, and truncated rows make no transition".into(),
    );
}

impl fmt::Display for Show {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}  ({}, {} bytes)", self.file.display(), self.format, self.bytes)?;
        for listing in &self.datasets {
            match listing {
                Listing::Readable(Entry { name, shape, kind, storage }) => {
                    let kind = kind.to_string();
                    writeln!(f, "  {name:<24} {kind:<8} {:<16} {storage}", format!("{shape:?}"))?;
                }
                Listing::Unreadable { name, why } => writeln!(f, "  {name:<24} cannot be read: {why}")?,
            }
        }
        match (&self.summary, &self.unreadable) {
            (Some(summary), _) => summary.fmt(f),
            (_, Some(why)) => writeln!(f, "  no dataset: {why}"),
            _ => Ok(()),
        }?;
        self.unread.iter().try_for_each(|unread| writeln!(f, "  not read  {unread}"))
    }
}

impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let stored = if self.next_observations { "stored" } else { "not stored" };
        writeln!(
            f,
            "  rows      {} of {} observations and {} actions; next observations {stored}",
            self.rows, self.obs, self.act
        )?;
        let unfinished = if self.unfinished { ", the last unfinished" } else { "" };
        let (terminals, truncated) = (self.terminals, self.truncated);
        writeln!(
            f,
            "  episodes  {} ({terminals} terminal rows, {truncated} truncated rows){unfinished}",
            self.episodes
        )?;
        writeln!(f, "  lengths   {}", self.lengths)?;
        writeln!(f, "  returns   {}", self.returns)?;
        writeln!(f, "  rewards   {}", self.rewards)?;
        writeln!(f, "  actions   {}, {:.2} % beyond ±1", self.actions, 100.0 * self.beyond_one)?;
        let infos: Vec<String> = self.infos.iter().map(|(name, width)| format!("{name} ({width})")).collect();
        if infos.is_empty() { Ok(()) } else { writeln!(f, "  infos     {}", infos.join(", ")) }
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let severity = match self.severity {
            Severity::Info => "info ",
            Severity::Warn => "warn ",
            Severity::Error => "error",
        };
        write!(f, "{severity}  {}", self.sentence())
    }
}

impl fmt::Display for Check {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}  ({})", self.file.display(), self.format)?;
        if let Some(summary) = &self.summary {
            summary.fmt(f)?;
        }
        for finding in &self.findings {
            writeln!(f, "  {finding}")?;
        }
        writeln!(f, "  {}", if self.passed() { "passed" } else { "failed" })
    }
}
