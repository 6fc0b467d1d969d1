//! What came of a sweep: the same bytes wherever and in whatever order its runs were carried out.

use super::halving::Verdict;
use super::plan::{Point, Sweep};
use crate::manifest::Entry;
use anyhow::Context;
use backcast::core::Key;
use backcast::run;
use backcast::stats::{Metric, Scores, Spread, interquartile_mean};
use comfy_table::presets::UTF8_FULL_CONDENSED;
use comfy_table::{CellAlignment, Table};
use serde::{Deserialize, Serialize};
use std::{collections::BTreeMap, path::Path};

/// `summary.json` of a sweep. It has no times, no names of machines and no commits: two sweeps can be compared with `cmp`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Summary {
    /// The sweep's name.
    pub(crate) sweep: String,
    /// What it is for.
    pub(crate) about: String,
    /// The task.
    pub(crate) task: String,
    /// What the criterion said at each rung but the last.
    pub(crate) rungs: Vec<Vec<Verdict>>,
    /// Every point.
    pub(crate) points: Vec<PointSummary>,
}

/// One point.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct PointSummary {
    /// Its number.
    pub(crate) point: usize,
    /// What it sets, by key.
    pub(crate) settings: BTreeMap<String, toml::Value>,
    /// The last rung it came to.
    pub(crate) rung: usize,
    /// The seeds.
    pub(crate) seeds: Vec<u64>,
    /// The scores there.
    pub(crate) methods: Vec<MethodScores>,
}

/// The scores of one method at one point.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct MethodScores {
    /// The method.
    pub(crate) name: String,
    /// The final score of each seed.
    pub(crate) scores: Vec<f64>,
    /// Their interquartile mean.
    pub(crate) iqm: f64,
    /// Its 95 % bootstrap interval, or the range of fewer than five.
    pub(crate) spread: Spread,
}

impl Summary {
    /// The summary of a sweep all of whose runs are finished.
    pub(crate) fn of(
        sweep: &Sweep,
        points: &[Point],
        folder: &Path,
        entries: &[Entry],
        judged: &[Vec<Verdict>],
    ) -> anyhow::Result<Self> {
        let mut task = String::new();
        let summaries = points.iter().enumerate().map(|(number, point)| {
            let own = || entries.iter().filter(|entry| entry.point == number);
            let rung = own().map(|entry| entry.rung).max().unwrap_or(0);
            let (mut seeds, mut methods): (Vec<u64>, Vec<(String, Vec<f64>)>) = Default::default();
            for entry in own().filter(|entry| entry.rung == rung) {
                let path = folder.join(&entry.out).join("summary.json");
                let text = std::fs::read_to_string(&path).with_context(|| path.display().to_string())?;
                let run: run::Summary = backcast::json::from_str(&text).with_context(|| path.display().to_string())?;
                seeds.push(entry.seed);
                for method in run.methods {
                    task.clone_from(&method.task);
                    match methods.iter_mut().find(|(name, _)| *name == method.name) {
                        Some((_, scores)) => scores.extend(method.scores),
                        None => methods.push((method.name, method.scores)),
                    }
                }
            }
            let methods = methods.into_iter().map(|(name, scores)| MethodScores::of(name, scores));
            let settings = point.iter().cloned().collect();
            Ok(PointSummary { point: number, settings, rung, seeds, methods: methods.collect::<anyhow::Result<_>>()? })
        });
        let points = summaries.collect::<anyhow::Result<Vec<_>>>()?;
        let (sweep, about) = (sweep.name.clone(), sweep.about.clone());
        Ok(Self { sweep, about, task, rungs: judged.to_vec(), points })
    }

    /// Those of all points and methods.
    pub(crate) fn spreads(&self) -> Vec<Spread> {
        self.points.iter().flat_map(|point| &point.methods).map(|method| method.spread).collect()
    }

    /// One row for each point and method: those that came furthest first, among them the highest score first.
    pub(crate) fn table(&self) -> String {
        let spreads = self.spreads();
        let mut table = Table::new();
        table.load_style(UTF8_FULL_CONDENSED);
        let halved = !self.rungs.is_empty();
        let mut head = vec!["point", "settings", "method"];
        head.extend(halved.then_some(["rung", "criterion"]).into_iter().flatten());
        head.extend(["IQM", Spread::heading(&spreads), "each seed"]);
        table.set_header(&head);
        let mut rows: Vec<(&PointSummary, &MethodScores)> =
            self.points.iter().flat_map(|point| point.methods.iter().map(move |method| (point, method))).collect();
        rows.sort_by(|(p, a), (q, b)| q.rung.cmp(&p.rung).then(b.iqm.total_cmp(&a.iqm)).then(p.point.cmp(&q.point)));
        for (point, method) in rows {
            let settings: Vec<String> = point.settings.iter().map(|(key, value)| format!("{key}={value}")).collect();
            let mut cells = vec![point.point.to_string(), settings.join("\n"), method.name.clone()];
            if halved {
                let last = self.rungs.iter().rev().flatten().find(|verdict| verdict.point == point.point);
                let value = last.and_then(|verdict| verdict.value).map_or("–".into(), |value| format!("{value:.3}"));
                cells.extend([point.rung.to_string(), value]);
            }
            let seeds: Vec<String> = method.scores.iter().map(|s| format!("{s:.1}")).collect();
            cells.extend([format!("{:.1}", method.iqm), method.spread.among(&spreads), seeds.join("  ")]);
            table.add_row(cells);
        }
        for (column, name) in head.iter().enumerate() {
            if let (true, Some(column)) =
                (["point", "rung", "criterion", "IQM"].contains(name), table.column_mut(column))
            {
                column.set_cell_alignment(CellAlignment::Right);
            }
        }
        format!("{}: {}\n{table}\n", self.sweep, self.task)
    }
}

impl MethodScores {
    fn of(name: String, scores: Vec<f64>) -> anyhow::Result<Self> {
        let table = Scores::one_task(&scores).with_context(|| format!("the scores of {name}"))?;
        let spread = Spread::of(&table, Metric::Iqm, Key::new(0).name("summary"));
        Ok(Self { name, iqm: interquartile_mean(&scores), spread, scores })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn points_that_came_further_stand_first_and_then_the_higher_scores() {
        let point = |point, rung, score| PointSummary {
            point,
            settings: [("a.b".to_owned(), toml::Value::from(point as i64))].into(),
            rung,
            seeds: vec![0, 1],
            methods: vec![MethodScores::of("method".into(), vec![score, score + 1.0]).unwrap()],
        };
        let verdict = |point, value| Verdict { point, value };
        let summary = Summary {
            sweep: "x".into(),
            about: String::new(),
            task: "dmsd".into(),
            rungs: vec![vec![verdict(0, Some(1.25)), verdict(1, None), verdict(2, Some(0.5))]],
            points: vec![point(0, 1, 5.0), point(1, 0, 90.0), point(2, 1, 7.0)],
        };
        let table = summary.table();
        let place = |text: &str| table.find(text).unwrap_or_else(|| panic!("{text} is missing:\n{table}"));
        assert!(place("a.b=2") < place("a.b=0") && place("a.b=0") < place("a.b=1"));
        assert!(place("1.250") > 0 && place("–") > 0 && place("5.0  6.0") > 0);
        // What is written reads back.
        let text = backcast::json::to_string_pretty(&summary).unwrap();
        assert_eq!(backcast::json::from_str::<Summary>(&text).unwrap(), summary);
    }
}
