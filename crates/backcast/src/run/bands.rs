//! Where an experiment's curves are when all is well, to compare others with.

use super::learn::{LearnResult, Point};
use super::trained::{experiment_of, learner_folder};
use crate::{Error, Experiment, Method, experiment::Seeds};
use backcast_stats::simultaneous_band;
use backcast_storage::{Disk, Local};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::path::Path;

/// The share of sound runs of an experiment, all its seeds and methods together, of which anything is outside.
const RATE: f64 = 0.02;

/// Bands around the curves of an experiment's algorithms, with the settings they are of. They hold for a whole run at once.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Bands {
    /// The share of sound runs of which anything is outside, where a run has as many seeds as the experiment.
    pub rate: f64,
    /// The seeds they were made of.
    pub seeds: Vec<u64>,
    /// One for each method and metric.
    #[serde(rename = "band")]
    pub bands: Vec<Band>,
    /// Everything that shapes a curve.
    pub settings: Experiment,
}

/// Where a metric of a method is expected at each evaluation.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Band {
    /// The method.
    pub method: String,
    /// A metric of its algorithm, or `score`.
    pub metric: String,
    /// The evaluations.
    pub updates: Vec<u64>,
    /// The lower end at each.
    pub low: Vec<f64>,
    /// The upper end at each.
    pub high: Vec<f64>,
}

impl Band {
    /// Both ends at `update`, if there was an evaluation.
    pub fn at(&self, update: u64) -> Option<[f64; 2]> {
        let i = self.updates.iter().position(|&u| u == update)?;
        Some([*self.low.get(i)?, *self.high.get(i)?])
    }
}

/// How many numbers of a run are where they were expected.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct BandCheck {
    /// Inside their bands.
    pub inside: usize,
    /// Of so many.
    pub of: usize,
}

/// The curves of finished runs of one experiment, which bands are made of and checked by.
#[derive(Clone, Debug, PartialEq)]
pub struct Kept {
    /// Everything that shapes a curve.
    pub settings: Experiment,
    /// Seed by seed, of every method: its name and its evaluations.
    pub seeds: BTreeMap<u64, Vec<(String, Vec<Point>)>>,
}

impl Kept {
    /// Those of the runs in these folders, which may have different seeds. A seed counts if all its methods are finished.
    ///
    /// # Errors
    /// If a run cannot be read, is of other settings than the first, or has a seed that another has too.
    pub fn of(runs: &[impl AsRef<Path>]) -> Result<Self, Error> {
        let mut kept: Option<Self> = None;
        for run in runs {
            let run = run.as_ref();
            let experiment = experiment_of(run)?;
            let settings = settings_of(&experiment);
            let kept = kept.get_or_insert_with(|| Self { settings: settings.clone(), seeds: BTreeMap::new() });
            if kept.settings != settings {
                return Err(Error::Mismatch(format!("{} is of other settings than the first run", run.display())));
            }
            for seed in experiment.seeds.0.clone() {
                let read = |method: &Method| {
                    let path = learner_folder(run, method, seed).join("result.json");
                    super::files::read::<LearnResult>(&Local, &path)
                };
                let results = experiment.methods.iter().map(read).collect::<Result<Option<Vec<_>>, Error>>()?;
                let Some(results) = results else { continue };
                let curves = results.into_iter().map(|result| (result.method, result.curve)).collect();
                if kept.seeds.insert(seed, curves).is_some() {
                    return Err(Error::Mismatch(format!("seed {seed} is in {} and in another run", run.display())));
                }
            }
        }
        kept.ok_or_else(|| Error::Mismatch("bands need a run".into()))
    }

    /// The curves as text, one line for an evaluation: `method,seed,update,score` and every metric, empty where a method has none.
    /// Numbers have six digits: more than a band is worth.
    pub fn to_csv(&self) -> String {
        let all = || {
            self.seeds
                .iter()
                .flat_map(|(seed, methods)| methods.iter().map(move |(method, curve)| (seed, method, curve)))
        };
        let mut metrics: Vec<&str> = Vec::new();
        for (name, _) in all().flat_map(|(_, _, curve)| curve.first()).flat_map(|point| &point.metrics) {
            if !metrics.contains(&name.as_str()) {
                metrics.push(name);
            }
        }
        let mut text = csv::Writer::from_writer(Vec::new());
        let head = ["method", "seed", "update", "score"].into_iter().chain(metrics.iter().copied());
        let mut lines = vec![head.map(str::to_owned).collect::<Vec<_>>()];
        for (seed, method, curve) in all() {
            lines.extend(curve.iter().map(|point| {
                let numbers = metrics.iter().map(|metric| value(point, metric).map_or(String::new(), digits));
                [method.clone(), seed.to_string(), point.update.to_string(), digits(point.score)]
                    .into_iter()
                    .chain(numbers)
                    .collect()
            }));
        }
        for line in lines {
            text.write_record(line).expect("memory takes every record of one length");
        }
        String::from_utf8(text.into_inner().expect("memory")).expect("text")
    }

    /// The curves that [`to_csv`](Kept::to_csv) wrote, of these `settings`.
    ///
    /// # Errors
    /// If the text is something else; `path` is where it is from.
    pub fn from_csv(text: &str, settings: Experiment, path: &Path) -> Result<Self, Error> {
        let bad = |why: String| Error::Format { path: path.into(), why };
        let mut reader = csv::Reader::from_reader(text.as_bytes());
        let head = reader.headers().map_err(|e| bad(e.to_string()))?.clone();
        if head.iter().take(4).ne(["method", "seed", "update", "score"]) {
            return Err(bad("its first line is not `method,seed,update,score` and metrics".into()));
        }
        let mut kept = Self { settings, seeds: BTreeMap::new() };
        for record in reader.records() {
            let record = record.map_err(|e| bad(e.to_string()))?;
            let number = |i: usize| record[i].parse().map_err(|_| bad(format!("`{}` is not a number", &record[i])));
            let whole = |i: usize| record[i].parse().map_err(|_| bad(format!("`{}` is not a number", &record[i])));
            let mut point = Point { update: whole(2)?, score: number(3)?, metrics: vec![] };
            for i in (4..record.len()).filter(|&i| !record[i].is_empty()) {
                point.metrics.push((head[i].to_owned(), number(i)?));
            }
            let methods = kept.seeds.entry(whole(1)?).or_default();
            match methods.iter_mut().find(|(method, _)| *method == record[0]) {
                Some((_, curve)) => curve.push(point),
                None => methods.push((record[0].to_owned(), vec![point])),
            }
        }
        Ok(kept)
    }

    /// The same without one seed.
    pub fn without(&self, seed: u64) -> Self {
        let mut others = self.clone();
        others.seeds.remove(&seed);
        others
    }
}

/// A number of every seed: whose, of what, and when.
type Place = (String, String, u64);

impl Bands {
    /// Of the curves of at least five seeds, for runs of `seeds` seeds. What not every seed has, has no band.
    ///
    /// # Errors
    /// If there are fewer.
    pub fn of(kept: &Kept, seeds: usize) -> Result<Self, Error> {
        let numbers = |methods: &[(String, Vec<Point>)]| -> Vec<(Place, f64)> {
            let of_point = |method: &str, point: &Point| -> Vec<(Place, f64)> {
                let score = std::iter::once(("score", point.score));
                let all = score.chain(point.metrics.iter().map(|(name, x)| (name.as_str(), *x)));
                all.map(|(metric, x)| ((method.to_owned(), metric.to_owned(), point.update), x)).collect()
            };
            methods
                .iter()
                .flat_map(|(method, curve)| curve.iter().flat_map(|p| of_point(method, p)).collect::<Vec<_>>())
                .collect()
        };
        let runs: Vec<Vec<(Place, f64)>> = kept.seeds.values().map(|methods| numbers(methods)).collect();
        let by_place: Vec<BTreeMap<&Place, f64>> =
            runs.iter().map(|run| run.iter().map(|(place, x)| (place, *x)).collect()).collect();
        let few = || Error::Mismatch(format!("{} seeds have finished every method; bands need five", runs.len()));
        let first = runs.first().ok_or_else(few)?;
        let shared: Vec<&Place> = first.iter().map(|(place, _)| place).collect();
        let shared: Vec<&Place> = shared
            .into_iter()
            .filter(|place| by_place.iter().all(|run| run.get(place).is_some_and(|x| x.is_finite())))
            .collect();
        let table: Vec<Vec<f64>> =
            by_place.iter().map(|run| shared.iter().map(|place| run[*place]).collect()).collect();
        // Seeds are independent of each other: of none of them may anything be outside.
        let of_a_seed = 1.0 - (1.0 - RATE).powf(1.0 / seeds.max(1) as f64);
        let ends = simultaneous_band(&table, of_a_seed).ok_or_else(few)?;
        let mut bands: Vec<Band> = Vec::new();
        for ((method, metric, update), (low, high)) in shared.into_iter().zip(ends) {
            let place =
                bands.iter().position(|band| (&band.method, &band.metric) == (method, metric)).unwrap_or_else(|| {
                    let (method, metric) = (method.clone(), metric.clone());
                    bands.push(Band { method, metric, updates: vec![], low: vec![], high: vec![] });
                    bands.len() - 1
                });
            bands[place].updates.push(*update);
            bands[place].low.push(rounded(low));
            bands[place].high.push(rounded(high));
        }
        Ok(Self { rate: RATE, seeds: kept.seeds.keys().copied().collect(), bands, settings: kept.settings.clone() })
    }

    /// Whether anything of these curves is outside.
    pub fn stray(&self, methods: &[(String, Vec<Point>)]) -> bool {
        methods.iter().any(|(method, curve)| {
            let check = self.check(method, curve);
            check.inside < check.of
        })
    }

    /// Reads a file of bands; none if there is none.
    ///
    /// # Errors
    /// If it cannot be read, or is something else.
    pub fn read(path: &Path) -> Result<Option<Self>, Error> {
        let text = match Local.read(path) {
            Ok(bytes) => String::from_utf8_lossy(&bytes).into_owned(),
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            Err(source) => return Err(Error::Io { path: path.into(), source }),
        };
        toml::from_str(&text).map(Some).map_err(|e| Error::Format { path: path.into(), why: e.to_string() })
    }

    /// The text of the file that [`read`](Bands::read) reads.
    pub fn to_toml(&self) -> String {
        toml::to_string(self).expect("bands are plain values")
    }

    /// Whether they are of the settings of `experiment`: seeds, words about it, published scores and figures may differ, and so may the
    /// folder of its dataset; methods may be fewer, and there may be others, which have no bands.
    pub fn fits(&self, experiment: &Experiment) -> bool {
        let mut other = settings_of(experiment);
        let methods = std::mem::replace(&mut other.methods, self.settings.methods.clone());
        let changed =
            |method: &Method| self.settings.methods.iter().any(|known| known.name == method.name && known != method);
        other == self.settings && !methods.iter().any(changed)
    }

    /// What is to be said of a curve as far as it has come: a metric that is outside its band and was not before is heard of
    /// once.
    pub fn complaints(&self, method: &str, curve: &[Point]) -> Vec<String> {
        let Some((now, before)) = curve.split_last() else { return vec![] };
        let outside = |band: &Band, point: &Point| {
            let ([low, high], value) = (band.at(point.update)?, value(point, &band.metric)?);
            (!(low..=high).contains(&value)).then_some((value, low, high))
        };
        let off = self.bands.iter().filter(|band| band.method == method).filter_map(|band| {
            let (value, low, high) = outside(band, now)?;
            before.iter().all(|point| outside(band, point).is_none()).then(|| {
                format!(
                    "its {} has left the band of this experiment: {value:.4} at update {}, where it is between {low:.4} and \
                     {high:.4}; of sound runs {:.0} in 100 have any number outside",
                    band.metric,
                    now.update,
                    (100.0 * self.rate).ceil()
                )
            })
        });
        off.collect()
    }

    /// How much of a finished curve is where it was expected.
    pub fn check(&self, method: &str, curve: &[Point]) -> BandCheck {
        let mut check = BandCheck::default();
        for band in self.bands.iter().filter(|band| band.method == method) {
            for point in curve {
                if let (Some([low, high]), Some(value)) = (band.at(point.update), value(point, &band.metric)) {
                    check.of += 1;
                    check.inside += usize::from((low..=high).contains(&value));
                }
            }
        }
        check
    }
}

/// The experiment without what does not shape a curve.
fn settings_of(experiment: &Experiment) -> Experiment {
    let mut settings = Experiment {
        about: String::new(),
        seeds: Seeds(0..1),
        published: vec![],
        sensitivity: vec![],
        robustness: None,
        ..experiment.clone()
    };
    // Where a dataset lies is not what it is.
    settings.data.file = settings.data.file.and_then(|file| file.file_name().map(Into::into));
    settings
}

fn value(point: &Point, metric: &str) -> Option<f64> {
    if metric == "score" {
        return Some(point.score);
    }
    point.metrics.iter().find(|(name, _)| name == metric).map(|(_, value)| *value)
}

/// To five digits, which is more than such a bound is worth.
fn rounded(x: f64) -> f64 {
    format!("{x:.4e}").parse().expect("a number just printed")
}

/// A number in six digits.
fn digits(x: f64) -> String {
    format!("{x:.5e}").parse::<f64>().expect("a number just printed").to_string()
}

#[cfg(test)]
#[path = "bands_tests.rs"]
mod tests;
