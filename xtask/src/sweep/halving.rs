//! Which points go on: by the log alone.

use super::plan::{Criterion, Sweep};
use crate::manifest::Entry;
use anyhow::Context;
use backcast::run::{self, Observer, SelectionConfig};
use serde::{Deserialize, Serialize};
use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

/// What is thought of a point: more is better.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Verdict {
    /// The point.
    pub(crate) point: usize,
    /// The mean over its seeds and methods; nothing if it is no number.
    pub(crate) value: Option<f64>,
}

/// What the criterion says of the points of a rung, all of whose runs are finished.
pub(crate) fn judge(
    sweep: &Sweep,
    folder: &Path,
    entries: &[Entry],
    threads: usize,
    observer: &dyn Observer,
) -> anyhow::Result<Vec<Verdict>> {
    let halving = sweep.halving.as_ref().context("a sweep of one rung judges nothing")?;
    let runs: Vec<PathBuf> = entries.iter().map(|entry| folder.join(&entry.out)).collect();
    let opinions: Vec<(PathBuf, f64)> = match halving.criterion {
        Criterion::Fqe => {
            let mut config = SelectionConfig::default();
            config.updates = halving.updates.unwrap_or(config.updates);
            config.fqe.gamma = halving.gamma.map_or(config.fqe.gamma, |gamma| gamma as _);
            let selection = run::select_by(&runs, &halving.data, &config, threads, observer)?;
            selection.policies.into_iter().map(|p| (p.run, p.estimate)).collect()
        }
        Criterion::HeldOut => {
            let distances = run::distances(&runs, &halving.data, threads, observer)?;
            distances.into_iter().map(|d| (d.run, -d.distance)).collect()
        }
    };
    let mut values: BTreeMap<usize, Vec<f64>> = BTreeMap::new();
    // In the order of the entries, so that sums come to the same bits whatever the order of opinions.
    for (entry, run) in entries.iter().zip(&runs) {
        let mut own: Vec<f64> = opinions.iter().filter(|(of, _)| of == run).map(|(_, value)| *value).collect();
        own.sort_by(f64::total_cmp);
        values.entry(entry.point).or_default().extend(own);
    }
    let mean = |values: Vec<f64>| values.iter().sum::<f64>() / values.len() as f64;
    let verdict = |(point, values)| Verdict { point, value: Some(mean(values)).filter(|value| value.is_finite()) };
    Ok(values.into_iter().map(verdict).collect())
}

/// The `count` points that are thought best of, by their numbers; of equals, the first.
pub(crate) fn best(verdicts: &[Verdict], count: usize) -> Vec<usize> {
    let mut order: Vec<&Verdict> = verdicts.iter().collect();
    let value = |verdict: &Verdict| verdict.value.unwrap_or(f64::NEG_INFINITY);
    order.sort_by(|a, b| value(b).total_cmp(&value(a)).then(a.point.cmp(&b.point)));
    let mut best: Vec<usize> = order.into_iter().take(count).map(|verdict| verdict.point).collect();
    best.sort_unstable();
    best
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_best_go_on_and_what_is_no_number_does_not() {
        let verdicts = [(0, Some(1.0)), (1, None), (2, Some(3.0)), (3, Some(1.0)), (4, Some(-2.0))];
        let verdicts = verdicts.map(|(point, value)| Verdict { point, value });
        assert_eq!(best(&verdicts, 2), [0, 2]);
        assert_eq!(best(&verdicts, 3), [0, 2, 3]);
        assert_eq!(best(&verdicts, 4), [0, 2, 3, 4]);
        assert_eq!(best(&verdicts, 9).len(), 5);
    }
}
