//! What an experiment's curves look like when all is well, to hold others against.

use super::learn::{LearnResult, Point};
use super::trained::{experiment_of, learner_folder};
use crate::{Arm, Error, Experiment, experiment::Seeds};
use backcast_nn::{Disk, Local};
use backcast_stats::prediction_interval;
use serde::{Deserialize, Serialize};
use std::path::Path;

/// With what probability a band holds the number of one more run, if that is like those it was made of.
const LEVEL: f64 = 0.99;

/// Bands around the curves of an experiment's learners, with the settings they are of.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Bands {
    /// With what probability a band holds the number of one more run.
    pub level: f64,
    /// The repetitions they were made of.
    pub seeds: Vec<u64>,
    /// One for each arm and metric.
    #[serde(rename = "band")]
    pub bands: Vec<Band>,
    /// Everything that shapes a curve.
    pub settings: Experiment,
}

/// Where a metric of an arm is expected at each evaluation.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Band {
    /// The arm.
    pub arm: String,
    /// A metric of its learner, or `score`.
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
pub struct Held {
    /// Inside their bands.
    pub inside: usize,
    /// Of so many.
    pub of: usize,
}

impl Bands {
    /// Of the finished learners in the folders of runs of one experiment, which may have other repetitions. Arms with fewer than
    /// three have no bands.
    ///
    /// # Errors
    /// If a run cannot be read, is of other settings than the first, has a repetition that another has too, or none has three.
    pub fn of(runs: &[impl AsRef<Path>]) -> Result<Self, Error> {
        let mut settings: Option<Experiment> = None;
        let mut learners: Vec<LearnResult> = Vec::new();
        for run in runs {
            let run = run.as_ref();
            let experiment = experiment_of(run)?;
            let own = settings_of(&experiment);
            if settings.get_or_insert_with(|| own.clone()) != &own {
                return Err(Error::Mismatch(format!("{} is of other settings than the first run", run.display())));
            }
            for arm in &experiment.arms {
                for seed in experiment.seeds.0.clone() {
                    let path = learner_folder(run, arm, seed).join("result.json");
                    let Some(result) = super::files::read::<LearnResult>(&Local, &path)? else { continue };
                    if learners.iter().any(|l| (&l.arm, l.seed) == (&result.arm, seed)) {
                        let who = format!("{}, seed {seed}", arm.name);
                        return Err(Error::Mismatch(format!("{who} is in {} and in another run", run.display())));
                    }
                    learners.push(result);
                }
            }
        }
        let settings = settings.ok_or_else(|| Error::Mismatch("bands need a run".into()))?;
        let mut bands = Vec::new();
        let mut seeds: Vec<u64> = Vec::new();
        for arm in &settings.arms {
            let of: Vec<&LearnResult> = learners.iter().filter(|l| l.arm == arm.name).collect();
            if of.len() >= 3 {
                seeds.extend(of.iter().map(|l| l.seed));
                bands.extend(metrics(of[0]).into_iter().filter_map(|metric| band(&of, &arm.name, metric)));
            }
        }
        if bands.is_empty() {
            return Err(Error::Mismatch("no arm has three finished learners; bands of fewer say nothing".into()));
        }
        seeds.sort_unstable();
        seeds.dedup();
        Ok(Self { level: LEVEL, seeds, bands, settings })
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
    /// folder of its log; arms may be fewer, and there may be others, which have no bands.
    pub fn fits(&self, experiment: &Experiment) -> bool {
        let mut other = settings_of(experiment);
        let arms = std::mem::replace(&mut other.arms, self.settings.arms.clone());
        let changed = |arm: &Arm| self.settings.arms.iter().any(|known| known.name == arm.name && known != arm);
        other == self.settings && !arms.iter().any(changed)
    }

    /// What is to be said of a curve as far as it has come, if the last two numbers of a metric are outside its band and the one
    /// before was not: one number strays now and then, and what is off is to be heard of once.
    pub fn complaints(&self, arm: &str, curve: &[Point]) -> Vec<String> {
        let strays = |band: &Band, back: usize| {
            let point = curve.len().checked_sub(back).map(|i| &curve[i])?;
            let ([low, high], value) = (band.at(point.update)?, value(point, &band.metric)?);
            (!(low..=high).contains(&value)).then_some((point.update, value, [low, high]))
        };
        let off = self.bands.iter().filter(|band| band.arm == arm).filter_map(|band| {
            let (Some(now), Some(before)) = (strays(band, 1), strays(band, 2)) else { return None };
            let (update, value, [low, high]) = now;
            (strays(band, 3).is_none()).then(|| {
                format!(
                    "its {} has left the band of this experiment since update {}: {value:.4} at update {update}, where {} of 100 runs \
                     are between {low:.4} and {high:.4}",
                    band.metric,
                    before.0,
                    (100.0 * self.level).round()
                )
            })
        });
        off.collect()
    }

    /// How much of a finished curve is where it was expected.
    pub fn held(&self, arm: &str, curve: &[Point]) -> Held {
        let mut held = Held::default();
        for band in self.bands.iter().filter(|band| band.arm == arm) {
            for point in curve {
                if let (Some([low, high]), Some(value)) = (band.at(point.update), value(point, &band.metric)) {
                    held.of += 1;
                    held.inside += usize::from((low..=high).contains(&value));
                }
            }
        }
        held
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
    // Where a log lies is not what it is.
    settings.data.file = settings.data.file.and_then(|file| file.file_name().map(Into::into));
    settings
}

fn metrics(learner: &LearnResult) -> Vec<&str> {
    let named = learner.curve.first().map(|point| point.metrics.iter().map(|(name, _)| name.as_str()));
    std::iter::once("score").chain(named.into_iter().flatten()).collect()
}

fn value(point: &Point, metric: &str) -> Option<f64> {
    if metric == "score" {
        return Some(point.score);
    }
    point.metrics.iter().find(|(name, _)| name == metric).map(|(_, value)| *value)
}

/// The band of one metric over the evaluations that all learners have.
fn band(of: &[&LearnResult], arm: &str, metric: &str) -> Option<Band> {
    let mut band = Band { arm: arm.into(), metric: metric.into(), updates: vec![], low: vec![], high: vec![] };
    for at in &of[0].curve {
        let values = of.iter().map(|l| l.curve.iter().find(|p| p.update == at.update).and_then(|p| value(p, metric)));
        let Some(values) = values.collect::<Option<Vec<f64>>>() else { continue };
        if let Some((low, high)) = prediction_interval(&values, LEVEL) {
            band.updates.push(at.update);
            band.low.push(rounded(low));
            band.high.push(rounded(high));
        }
    }
    (!band.updates.is_empty()).then_some(band)
}

/// To five digits, which is more than such a bound is worth.
fn rounded(x: f64) -> f64 {
    format!("{x:.4e}").parse().expect("a number just printed")
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = r#"
        name = "tiny"
        task = "maze2d-umaze-sparse-v1"
        [[arms]]
        name = "one"
        [[arms]]
        name = "two"
    "#;

    fn result(arm: &str, seed: u64, shift: f64) -> LearnResult {
        let point = |update: u64| Point {
            update,
            score: 10.0 + shift,
            metrics: vec![("loss".into(), 1.0 / update as f64 + 0.1 * shift)],
        };
        let curve = [100, 200, 300].map(point).into();
        LearnResult { arm: arm.into(), seed, score: 0.0, score_std: 0.0, curve, seconds: 0.0, warnings: vec![] }
    }

    /// A finished run with these repetitions of both arms.
    fn run(folder: &Path, seeds: std::ops::Range<u64>, text: &str) {
        let experiment = Experiment { seeds: Seeds(seeds.clone()), ..Experiment::parse(text).unwrap() };
        std::fs::create_dir_all(folder).unwrap();
        std::fs::write(folder.join("config.toml"), experiment.to_toml()).unwrap();
        for arm in &experiment.arms {
            for seed in seeds.clone() {
                let to = learner_folder(folder, arm, seed);
                std::fs::create_dir_all(&to).unwrap();
                let result = result(&arm.name, seed, [-1.0, 0.0, 1.0, 0.5][seed as usize % 4]);
                std::fs::write(to.join("result.json"), serde_json::to_string(&result).unwrap()).unwrap();
            }
        }
    }

    #[test]
    fn a_band_is_made_of_runs_and_kept_in_a_file() {
        let folder = tempfile::tempdir().unwrap();
        let [a, b] = ["a", "b"].map(|name| folder.path().join(name));
        run(&a, 0..2, TEXT);
        run(&b, 2..4, TEXT);
        assert!(Bands::of(&[&a]).unwrap_err().to_string().contains("three finished learners"));
        let bands = Bands::of(&[&a, &b]).unwrap();
        assert_eq!((bands.seeds.as_slice(), bands.bands.len()), (&[0, 1, 2, 3][..], 4));
        let score = bands.bands.iter().find(|b| b.arm == "two" && b.metric == "score").unwrap();
        let [low, high] = score.at(200).unwrap();
        // Mean 10.125, deviation 0.854, t of three degrees of freedom 5.841.
        assert!((low - 4.549).abs() < 5e-3 && (high - 15.701).abs() < 5e-3, "{low} {high}");
        assert_eq!(score.at(201), None);

        let path = folder.path().join("bands.toml");
        std::fs::write(&path, bands.to_toml()).unwrap();
        assert_eq!(Bands::read(&path).unwrap(), Some(bands));
        assert_eq!(Bands::read(&folder.path().join("none.toml")).unwrap(), None);
        std::fs::write(&path, "level = 3").unwrap();
        assert!(Bands::read(&path).unwrap_err().to_string().contains("bands.toml"));
    }

    #[test]
    fn runs_of_other_settings_or_of_the_same_repetitions_are_refused() {
        let folder = tempfile::tempdir().unwrap();
        let [a, b, c] = ["a", "b", "c"].map(|name| folder.path().join(name));
        run(&a, 0..3, TEXT);
        run(&b, 2..4, TEXT);
        run(&c, 3..6, &TEXT.replace("name = \"tiny\"", "name = \"tiny\"\nstandardise = true"));
        assert!(Bands::of(&[&a, &b]).unwrap_err().to_string().contains("seed 2"));
        assert!(Bands::of(&[&a, &c]).unwrap_err().to_string().contains("other settings"));

        let bands = Bands::of(&[&a]).unwrap();
        let with = |settings: &[&str]| {
            Experiment::parse_with(TEXT, &settings.iter().map(|&s| s.to_owned()).collect::<Vec<_>>()).unwrap()
        };
        assert!(bands.fits(&with(&["seeds='7..9'", "about='other words'"])));
        assert!(!bands.fits(&with(&["training.batch=7"])));
        let mut others = with(&[]);
        others.arms[0].name = "three".into();
        assert!(bands.fits(&others));
        others.arms[1].algorithm.insert("batch".into(), 7.into());
        assert!(!bands.fits(&others));
    }

    #[test]
    fn two_numbers_in_a_row_outside_are_complained_of_once() {
        let folder = tempfile::tempdir().unwrap();
        run(folder.path(), 0..4, TEXT);
        let bands = Bands::of(&[folder.path()]).unwrap();
        let mut curve = result("one", 9, 0.3).curve;
        assert_eq!(bands.held("one", &curve), Held { inside: 6, of: 6 });
        for last in 1..=3 {
            assert_eq!(bands.complaints("one", &curve[..last]), Vec::<String>::new());
        }
        curve[1].metrics[0].1 = f64::NAN;
        curve[2].metrics[0].1 = -9.0;
        assert_eq!(bands.complaints("one", &curve[..2]), Vec::<String>::new());
        let [complaint] = &bands.complaints("one", &curve)[..] else { panic!("one complaint") };
        assert!(complaint.contains("loss") && complaint.contains("since update 200"), "{complaint}");
        assert_eq!(bands.held("one", &curve), Held { inside: 4, of: 6 });
        curve.push(Point { update: 400, ..curve[2].clone() });
        assert_eq!(bands.complaints("one", &curve), Vec::<String>::new(), "no band at 400");
        assert_eq!(bands.complaints("unknown", &curve), Vec::<String>::new());
    }
}
