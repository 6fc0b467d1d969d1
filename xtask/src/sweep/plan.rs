//! From a sweep's file to its runs.

use crate::manifest::Entry;
use anyhow::{Context, bail, ensure};
use backcast::{Experiment, Seeds, core::Key};
use serde::Deserialize;
use std::path::{Path, PathBuf};
use toml::{Table, Value};

/// A sweep: one experiment, and how it is varied. Its points are the products of the grid's values, the list's entries and the
/// random draws; each point is repeated with every seed, and each seed is a run of its own.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Sweep {
    /// A short name; the sweep's folder is called after it.
    pub(crate) name: String,
    /// What it is for.
    #[serde(default)]
    pub(crate) about: String,
    /// The experiment's file, beside this one unless it is absolute.
    experiment: PathBuf,
    /// What is changed for all points, as `--set` has it.
    #[serde(default)]
    set: Vec<String>,
    /// The seeds of each point.
    #[serde(default = "one_seed")]
    seeds: Seeds,
    /// Lists of values by key: every combination is tried.
    #[serde(default)]
    grid: Table,
    /// Values by key, each entry a combination to be tried.
    #[serde(default)]
    list: Vec<Table>,
    /// Values drawn at random.
    random: Option<Random>,
    /// Which points go on, and for how long.
    pub(crate) halving: Option<Halving>,
}

fn one_seed() -> Seeds {
    Seeds(0..1)
}

/// Random search.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Random {
    /// Points.
    draws: u64,
    /// The root of the draws.
    #[serde(default)]
    seed: u64,
    /// Where values come from, by key: `{ from, to }`, `{ from, to, log = true }`, `{ from, to, whole = true }` or
    /// `{ choices = […] }`.
    values: Table,
}

/// Where one value is drawn.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Range {
    from: Option<f64>,
    to: Option<f64>,
    /// Whether its logarithm is uniform.
    #[serde(default)]
    log: bool,
    /// Whether it is a whole number; `to` is then one of them.
    #[serde(default)]
    whole: bool,
    choices: Option<Vec<Value>>,
}

/// Successive halving (Jamieson & Talwalkar, *Non-stochastic best arm identification*, AISTATS 2016, arXiv:1502.07943): all points learn a little, those that a criterion puts first learn on.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Halving {
    /// What points are ordered by. None of them ever asks the environment.
    pub(crate) criterion: Criterion,
    /// The updates after which points are judged, rising; at the last, those that are left are finished.
    pub(crate) rungs: Vec<u64>,
    /// The share of points that goes on from each rung, rounded up.
    #[serde(default = "half")]
    keep: f64,
    /// Where the log that judges differs from the experiment's: keys of `data`.
    #[serde(default)]
    pub(crate) data: Table,
    /// Updates of each fit of the evaluator (`fqe`).
    pub(crate) updates: Option<u64>,
    /// Discount of the evaluator (`fqe`).
    pub(crate) gamma: Option<f64>,
}

fn half() -> f64 {
    0.5
}

/// What points are ordered by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Criterion {
    /// The value that fitted Q evaluation expects of the last policy, as `select` has it; more is better.
    Fqe,
    /// The mean squared distance of the last policy's actions from those of held-out rows, which `data` must name; less is
    /// better.
    HeldOut,
}

/// What one point sets, in the order of the keys.
pub(crate) type Point = Vec<(String, Value)>;

impl Sweep {
    /// Reads the sweep of a file.
    pub(crate) fn read(file: &Path) -> anyhow::Result<(Self, String)> {
        let text = std::fs::read_to_string(file).with_context(|| file.display().to_string())?;
        let mut sweep: Self = toml::from_str(&text).with_context(|| file.display().to_string())?;
        // What the file names beside it is beside it wherever the command is given from.
        if let Some(Value::String(log)) = sweep.halving.as_mut().and_then(|halving| halving.data.get_mut("file")) {
            *log = std::path::absolute(file.with_file_name("").join(&log))?.display().to_string();
        }
        sweep.check().with_context(|| file.display().to_string())?;
        Ok((sweep, text))
    }

    fn check(&self) -> anyhow::Result<()> {
        backcast::check_name("name", &self.name)?;
        if let Some(Halving { criterion, rungs, keep, data, .. }) = &self.halving {
            let rising = rungs.windows(2).all(|pair| pair[0] < pair[1]) && rungs.first().is_some_and(|&r| r > 0);
            ensure!(rising, "halving.`rungs` is {rungs:?}; give rising numbers of updates");
            ensure!(*keep > 0.0 && *keep < 1.0, "halving.`keep` is {keep}; a share lies in (0, 1)");
            let held_out = *criterion != Criterion::HeldOut || !data.is_empty();
            ensure!(held_out, "halving.`criterion` is `held_out`: name rows that nobody learns from in halving.`data`");
        }
        Ok(())
    }

    /// The experiment's file, for a sweep in the file `own`.
    pub(crate) fn experiment_file(&self, own: &Path) -> PathBuf {
        own.parent().unwrap_or(Path::new("")).join(&self.experiment)
    }

    /// Every point.
    pub(crate) fn points(&self) -> anyhow::Result<Vec<Point>> {
        let mut points: Vec<Point> = vec![vec![]];
        for (key, value) in flat(&self.grid, &|_| false) {
            let Value::Array(values) = value else { bail!("grid.{key} is {value}; give a list of values") };
            ensure!(!values.is_empty(), "grid.{key} is empty");
            let with = |point: &Point, value: &Value| [&point[..], &[(key.clone(), value.clone())]].concat();
            points = points.iter().flat_map(|point| values.iter().map(|value| with(point, value))).collect();
        }
        if !self.list.is_empty() {
            let entries: Vec<Point> = self.list.iter().map(|entry| flat(entry, &|_| false)).collect();
            points = points.iter().flat_map(|p| entries.iter().map(|e| [&p[..], &e[..]].concat())).collect();
        }
        if let Some(random) = &self.random {
            let drawn = (0..random.draws).map(|draw| random.point(draw)).collect::<anyhow::Result<Vec<_>>>()?;
            points = points.iter().flat_map(|p| drawn.iter().map(|d| [&p[..], &d[..]].concat())).collect();
        }
        for point in &mut points {
            point.sort_by(|a, b| a.0.cmp(&b.0));
            if let Some(pair) = point.windows(2).find(|pair| pair[0].0 == pair[1].0) {
                bail!("`{}` is varied twice", pair[0].0);
            }
        }
        ensure!(!points.is_empty(), "there is no point to try");
        Ok(points)
    }

    /// The rungs: how many updates points have at each; one of unchanged length without halving.
    pub(crate) fn rungs(&self) -> Vec<Option<u64>> {
        self.halving.as_ref().map_or(vec![None], |halving| halving.rungs.iter().copied().map(Some).collect())
    }

    /// How many of `points` go on from a rung.
    pub(crate) fn survivors(&self, points: usize) -> usize {
        let keep = self.halving.as_ref().map_or(1.0, |halving| halving.keep);
        ((points as f64 * keep).ceil() as usize).clamp(1, points)
    }

    /// The runs of a rung, for those points of it that are left, numbered from `first` on.
    pub(crate) fn entries(
        &self,
        points: &[Point],
        left: &[usize],
        rung: usize,
        first: usize,
        own_settings: &[String],
    ) -> Vec<Entry> {
        let rungs = self.rungs();
        let folder = |rung: usize, point: usize, seed: u64| {
            let run = format!("p{point:04}-seed-{seed}");
            if rungs.len() == 1 { PathBuf::from(run) } else { PathBuf::from(format!("rung-{rung}")).join(run) }
        };
        let runs = left.iter().flat_map(|&point| self.seeds.0.clone().map(move |seed| (point, seed)));
        runs.enumerate()
            .map(|(i, (point, seed))| {
                let varied = points[point].iter().map(|(key, value)| format!("{key}={value}"));
                let length = rungs[rung].map(|updates| format!("training.updates={updates}"));
                Entry {
                    index: first + i,
                    experiment: EXPERIMENT.into(),
                    set: own_settings
                        .iter()
                        .cloned()
                        .chain(self.set.iter().cloned())
                        .chain(varied)
                        .chain(length)
                        .collect(),
                    seed,
                    out: folder(rung, point, seed),
                    point,
                    rung,
                    from: rung.checked_sub(1).map(|below| folder(below, point, seed)),
                }
            })
            .collect()
    }

    /// Settings that stand for what the experiment's file names beside it, which its copy in the sweep's folder is not beside.
    pub(crate) fn own_settings(&self, experiment: &Path, text: &str) -> anyhow::Result<Vec<String>> {
        let table: Table = toml::from_str(text).with_context(|| experiment.display().to_string())?;
        let log = table.get("data").and_then(|data| data.get("file")).and_then(Value::as_str);
        let absolute = |log: &str| std::path::absolute(experiment.with_file_name("").join(log));
        let log = log.map(absolute).transpose()?;
        Ok(log.map(|log| format!("data.file={:?}", log.display().to_string())).into_iter().collect())
    }

    /// Whether every run is one that can be carried out.
    pub(crate) fn check_runs(&self, text: &str, entries: &[Entry]) -> anyhow::Result<()> {
        for entry in entries {
            Experiment::parse_with(text, &entry.set)
                .with_context(|| format!("point {}: {}", entry.point, entry.set.join(", ")))?;
        }
        Ok(())
    }
}

/// The name of the experiment's copy in the sweep's folder.
pub(crate) const EXPERIMENT: &str = "experiment.toml";

impl Random {
    fn point(&self, draw: u64) -> anyhow::Result<Point> {
        let is_range = |table: &Table| table.contains_key("from") || table.contains_key("choices");
        flat(&self.values, &is_range)
            .into_iter()
            .map(|(key, range)| {
                let range: Range = range.try_into().with_context(|| format!("random.values.{key}"))?;
                // Each key has a stream of its own: another key beside it changes nothing.
                let unit = Key::new(self.seed).name("sweep").name(&key).fold(draw).unit() as f64;
                let value = range.at(unit).with_context(|| format!("random.values.{key}"))?;
                Ok((key, value))
            })
            .collect()
    }
}

impl Range {
    /// The value at a place in [0, 1).
    fn at(&self, unit: f64) -> anyhow::Result<Value> {
        if let Some(choices) = &self.choices {
            ensure!(!choices.is_empty(), "`choices` is empty");
            ensure!(self.from.is_none() && self.to.is_none() && !self.log && !self.whole, "has `choices` and a range");
            return Ok(choices[((unit * choices.len() as f64) as usize).min(choices.len() - 1)].clone());
        }
        let (Some(from), Some(to)) = (self.from, self.to) else { bail!("needs `from` and `to`, or `choices`") };
        ensure!(from < to && from.is_finite() && to.is_finite(), "goes from {from} to {to}");
        ensure!(!self.log || from > 0.0, "has no logarithm at {from}");
        let to = if self.whole { to + 1.0 } else { to };
        let x = match self.log {
            true => (from.ln() + unit * (to.ln() - from.ln())).exp(),
            false => from + unit * (to - from),
        };
        if self.whole {
            return Ok(Value::Integer((x.floor() as i64).min(to as i64 - 1)));
        }
        // What is written is what is used, and somebody has to be able to read it.
        Ok(Value::Float(format!("{x:.3e}").parse().expect("a number")))
    }
}

/// Every value of a table by its path, `a.b`; tables for which `leaf` holds are values.
fn flat(table: &Table, leaf: &dyn Fn(&Table) -> bool) -> Point {
    let mut all = Vec::new();
    for (key, value) in table {
        match value {
            Value::Table(inner) if !leaf(inner) => {
                all.extend(flat(inner, leaf).into_iter().map(|(path, value)| (format!("{key}.{path}"), value)));
            }
            _ => all.push((key.clone(), value.clone())),
        }
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sweep(text: &str) -> anyhow::Result<Sweep> {
        let sweep: Sweep = toml::from_str(&format!("name = 'x'\nexperiment = 'x.toml'\n{text}"))?;
        sweep.check()?;
        Ok(sweep)
    }

    fn points(text: &str) -> Vec<String> {
        let points = sweep(text).unwrap().points().unwrap();
        let one = |point: &Point| point.iter().map(|(k, v)| format!("{k}={v}")).collect::<Vec<_>>().join(" ");
        points.iter().map(one).collect()
    }

    #[test]
    fn points_are_products_of_grid_list_and_draws() {
        assert_eq!(points(""), [""]);
        let two = "[grid]\nalgorithm.alpha = [1.0, 2.5]\n'training.batch' = [8, 16]";
        let expected = [
            "algorithm.alpha=1.0 training.batch=8",
            "algorithm.alpha=1.0 training.batch=16",
            "algorithm.alpha=2.5 training.batch=8",
            "algorithm.alpha=2.5 training.batch=16",
        ];
        assert_eq!(points(two), expected);
        let list = "[[list]]\nalgorithm.hidden = [8, 8]\ndata.quality = 'expert'\n[[list]]\nstandardise = true";
        assert_eq!(points(list), ["algorithm.hidden=[8, 8] data.quality=\"expert\"", "standardise=true"]);
        let random = "[random]\ndraws = 3\nvalues.a.rate = { from = 1e-5, to = 1e-2, log = true }";
        assert_eq!(points(&format!("{random}\n[grid]\nb = [1, 2]")).len(), 6);
        assert!(sweep("[grid]\nb = 3").unwrap().points().is_err());
        let twice = "[grid]\na.b = [1]\n[[list]]\na.b = 2";
        assert!(sweep(twice).unwrap().points().unwrap_err().to_string().contains("`a.b` is varied twice"));
    }

    #[test]
    fn draws_are_where_they_should_be_and_do_not_depend_on_each_other() {
        let one = "[random]\ndraws = 200\nseed = 3\n[random.values]\nrate = { from = 1e-5, to = 1e-1, log = true }\n";
        let more = "size = { from = 2, to = 4, whole = true }\nact = { choices = ['relu', 'tanh'] }\nx = { from = -1.0, to = 1.0 }\n";
        let of = |text: &str, key: &str| -> Vec<Value> {
            let all = sweep(text).unwrap().points().unwrap();
            all.into_iter().map(|p| p.into_iter().find(|(k, _)| k == key).unwrap().1).collect()
        };
        let rates = of(one, "rate");
        assert_eq!(rates, of(&format!("{one}{more}"), "rate"));
        assert_ne!(rates, of(&one.replace("seed = 3", "seed = 4"), "rate"));
        let rates: Vec<f64> = rates.iter().map(|r| r.as_float().unwrap()).collect();
        assert!(rates.iter().all(|r| (1e-5..=1e-1).contains(r)));
        // Half of them below the middle of the logarithms, 1e-3.
        let low = rates.iter().filter(|r| **r < 1e-3).count();
        assert!((70..130).contains(&low), "{low} of 200");
        let text = format!("{one}{more}");
        let sizes = of(&text, "size");
        for size in 2..=4 {
            let count = sizes.iter().filter(|s| s.as_integer() == Some(size)).count();
            assert!((40..95).contains(&count), "{size}: {count} of 200");
        }
        assert!(of(&text, "act").contains(&Value::from("relu")) && of(&text, "act").contains(&Value::from("tanh")));
        assert!(of(&text, "x").iter().any(|x| x.as_float() < Some(0.0)));
        for bad in
            ["{ from = 1.0 }", "{ from = 2.0, to = 1.0 }", "{ from = 0.0, to = 1.0, log = true }", "{ choices = [] }"]
        {
            let text = format!("[random]\ndraws = 1\nvalues.rate = {bad}");
            assert!(sweep(&text).unwrap().points().is_err(), "{bad}");
        }
    }

    #[test]
    fn runs_of_a_rung_go_on_from_the_one_below() {
        let text = "seeds = '3..5'\nset = ['task=pendulum-v1']\n[grid]\nb = [1, 2, 3]\n\
                    [halving]\ncriterion = 'fqe'\nrungs = [10, 20]";
        let sweep = sweep(text).unwrap();
        let points = sweep.points().unwrap();
        let first = sweep.entries(&points, &[0, 1, 2], 0, 0, &[]);
        assert_eq!(first.len(), 6);
        assert_eq!(first[3].set, ["task=pendulum-v1", "b=2", "training.updates=10"]);
        assert_eq!((first[3].out.to_str(), &first[3].from), (Some("rung-0/p0001-seed-4"), &None));
        assert_eq!(sweep.survivors(3), 2);
        let second = sweep.entries(&points, &[1, 2], 1, 6, &["data.file=\"x\"".into()]);
        assert_eq!((second[0].index, second[0].from.as_deref()), (6, Some(Path::new("rung-0/p0001-seed-3"))));
        assert_eq!(second[3].set, ["data.file=\"x\"", "task=pendulum-v1", "b=3", "training.updates=20"]);
    }

    #[test]
    fn what_makes_no_sense_is_refused() {
        for (text, want) in [
            ("[halving]\ncriterion = 'fqe'\nrungs = [20, 10]", "rungs"),
            ("[halving]\ncriterion = 'fqe'\nrungs = [10]\nkeep = 1.5", "keep"),
            ("[halving]\ncriterion = 'held_out'\nrungs = [10]", "nobody learns from"),
            ("[halving]\ncriterion = 'score'\nrungs = [10]", "unknown variant"),
            ("gird = 3", "unknown field"),
        ] {
            let error = sweep(text).unwrap_err().to_string();
            assert!(error.contains(want), "{text}: {error}");
        }
    }
}
