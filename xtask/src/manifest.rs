//! `runs.jsonl`: the runs of a sweep, one to a line. Whoever has this file and the folder it is in can do any of them.

use anyhow::{Context, bail};
use serde::{Deserialize, Serialize};
use std::path::{Component, Path, PathBuf};

/// One run. Paths are relative to the manifest's folder.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Entry {
    /// Its place in the manifest, from 0.
    pub(crate) index: usize,
    /// The experiment's file.
    pub(crate) experiment: PathBuf,
    /// What is changed in it, as `--set` has it.
    pub(crate) set: Vec<String>,
    /// The seed.
    pub(crate) seed: u64,
    /// The folder for its results.
    pub(crate) out: PathBuf,
    /// The point of the sweep that it belongs to.
    pub(crate) point: usize,
    /// The rung of successive halving, 0 without it.
    pub(crate) rung: usize,
    /// The folder of the same point's run one rung below, which this one goes on from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) from: Option<PathBuf>,
}

impl Entry {
    /// Itself, if its folders are below the manifest's.
    fn checked(self) -> anyhow::Result<Self> {
        let below = |path: &Path| {
            path.file_name().is_some() && path.components().all(|part| matches!(part, Component::Normal(_)))
        };
        for (key, path) in [("out", Some(&self.out)), ("from", self.from.as_ref())] {
            if let Some(path) = path.filter(|path| !below(path)) {
                bail!("`{key}` is {path:?}; give a folder below the manifest's");
            }
        }
        Ok(self)
    }
}

/// The text of a manifest.
pub(crate) fn text(entries: &[Entry]) -> String {
    entries.iter().map(|entry| backcast::json::to_string(entry).expect("plain values") + "\n").collect()
}

/// Reads the run of a manifest that has this index.
pub(crate) fn entry(file: &Path, index: usize) -> anyhow::Result<Entry> {
    let all = read(file)?;
    let count = all.len();
    match all.into_iter().nth(index) {
        Some(entry) if entry.index == index => Ok(entry),
        Some(entry) => bail!("{}: line {} has the index {}", file.display(), index + 1, entry.index),
        None => bail!("{}: there is no run {index}; it has {count}, from 0", file.display()),
    }
}

/// Reads a manifest.
pub(crate) fn read(file: &Path) -> anyhow::Result<Vec<Entry>> {
    let text = std::fs::read_to_string(file).with_context(|| file.display().to_string())?;
    let line = |(i, line): (usize, &str)| {
        let entry = backcast::json::from_str::<Entry>(line).map_err(anyhow::Error::from);
        entry.and_then(Entry::checked).with_context(|| format!("{}: line {}", file.display(), i + 1))
    };
    text.lines().enumerate().map(line).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_run_is_found_by_its_index_and_a_stranger_is_named() {
        let folder = std::env::temp_dir().join(format!("backcast-manifest-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        let entry_of = |index: usize| Entry {
            index,
            experiment: "experiment.toml".into(),
            set: vec!["algorithm.alpha=0.5".into()],
            seed: index as u64,
            out: format!("p{index}").into(),
            point: index,
            rung: 0,
            from: (index > 0).then(|| "p0".into()),
        };
        let entries = [entry_of(0), entry_of(1)];
        let file = folder.join("runs.jsonl");
        std::fs::write(&file, text(&entries)).unwrap();
        assert_eq!(read(&file).unwrap(), entries);
        assert_eq!(entry(&file, 1).unwrap(), entries[1]);
        let error = entry(&file, 2).unwrap_err().to_string();
        assert!(error.contains("no run 2") && error.contains("it has 2"), "{error}");
        std::fs::write(&file, text(&entries[1..])).unwrap();
        assert!(entry(&file, 0).unwrap_err().to_string().contains("has the index 1"));
        std::fs::write(&file, "{}\n").unwrap();
        assert!(format!("{:#}", read(&file).unwrap_err()).contains("line 1"));
        std::fs::remove_dir_all(&folder).unwrap();
    }
}
