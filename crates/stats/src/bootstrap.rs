use crate::{Metric, Scores};
use backcast_core::{Key, quantile};
use serde::{Deserialize, Serialize};

/// How an interval is made.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Bootstrap {
    /// Resampled experiments.
    pub replications: usize,
    /// The fraction of resampled summaries inside the interval.
    pub level: f64,
}

impl Default for Bootstrap {
    /// 50 000 replications, 95 %.
    fn default() -> Self {
        Self { replications: 50_000, level: 0.95 }
    }
}

/// A summary and the interval around it.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Interval {
    /// The summary of the runs as they are.
    pub estimate: f64,
    /// The lower end.
    pub low: f64,
    /// The upper end.
    pub high: f64,
}

/// `metric` of `scores` with a stratified percentile bootstrap interval.
///
/// In every replication each task's runs are drawn again with replacement, *independently for each task* and as many as
/// there were; the interval spans the central [`level`](Bootstrap::level) of the resampled summaries. With a single run
/// per task there is nothing to resample and the interval is a point: that is a statement about the experiment, not a bug.
///
/// ```
/// use backcast_core::Key;
/// use backcast_stats::{Bootstrap, Metric, Scores, interval};
/// let scores = Scores::one_task(&[61.0, 64.0, 58.0, 70.0, 66.0])?;
/// let a = interval(&scores, Metric::Iqm, Bootstrap::default(), Key::new(3));
/// let b = interval(&scores, Metric::Iqm, Bootstrap::default(), Key::new(3));
/// assert_eq!(a, b);
/// # Ok::<(), backcast_stats::ScoresError>(())
/// ```
///
/// # Panics
/// If there is no replication, or the level is not strictly between 0 and 1.
pub fn interval(scores: &Scores, metric: Metric, how: Bootstrap, key: Key) -> Interval {
    how.check();
    let (mut again, mut scratch) = (scores.clone(), Vec::with_capacity(scores.runs()));
    let mut summaries: Vec<f64> = (0..how.replications)
        .map(|r| {
            resample(scores, key.fold(r as u64), &mut again);
            metric.of_with(&again, &mut scratch)
        })
        .collect();
    how.span(metric.of(scores), &mut summaries)
}

impl Bootstrap {
    pub(crate) fn check(self) {
        assert!(self.replications > 0, "Bootstrap: there must be a replication");
        assert!(self.level > 0.0 && self.level < 1.0, "Bootstrap: level {} is not between 0 and 1", self.level);
    }

    /// The interval spanned by the central part of resampled summaries.
    pub(crate) fn span(self, estimate: f64, summaries: &mut [f64]) -> Interval {
        summaries.sort_unstable_by(f64::total_cmp);
        let tail = (1.0 - self.level) / 2.0;
        Interval { estimate, low: quantile(summaries, tail), high: quantile(summaries, 1.0 - tail) }
    }
}

// ANCHOR: resample
/// Draws every task's runs again, with replacement, into `out` (which has the shape of `scores`).
pub(crate) fn resample(scores: &Scores, key: Key, out: &mut Scores) {
    let mut words = Words::new(key);
    for task in 0..scores.tasks() {
        let runs = scores.task(task);
        let start = scores.start(task);
        out.values[start..start + runs.len()].iter_mut().for_each(|x| *x = runs[words.below(runs.len())]);
    }
}
// ANCHOR_END: resample

/// The words of one stream, four to a block: a bootstrap draws millions, and one index needs only one.
pub(crate) struct Words {
    key: Key,
    block: [u32; 4],
    at: u64,
}

impl Words {
    pub(crate) fn new(key: Key) -> Self {
        Self { key, block: [0; 4], at: 0 }
    }

    /// An index below `n`, biased by less than n · 2⁻³²: a millionth of a percent for a hundred runs.
    #[inline]
    pub(crate) fn below(&mut self, n: usize) -> usize {
        if self.at.is_multiple_of(4) {
            self.block = self.key.block(self.at / 4);
        }
        let word = self.block[(self.at % 4) as usize];
        self.at += 1;
        ((word as u64 * n as u64) >> 32) as usize
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use approx::{abs_diff_eq, assert_abs_diff_eq};
    use backcast_core::Normal;

    /// `runs` normal scores a task; task t is centred at t·`apart`, and the summary's true value is the centre of all.
    fn made_up(tasks: usize, runs: usize, apart: f64, key: Key) -> Scores {
        let z = key.array((tasks, runs), Normal::default());
        let rows: Vec<Vec<f64>> =
            (0..tasks).map(|t| z.row(t).iter().map(|&x| 10.0 * f64::from(x) + apart * t as f64).collect()).collect();
        Scores::new(&rows).unwrap()
    }

    /// How often a 95 % interval contains the truth, over `trials` made-up experiments.
    fn coverage(metric: Metric, tasks: usize, runs: usize, trials: u64, key: Key) -> f64 {
        let apart = 3.0;
        let truth = apart * (tasks - 1) as f64 / 2.0;
        let how = Bootstrap { replications: 800, level: 0.95 };
        let covered = (0..trials).filter(|&t| {
            let scores = made_up(tasks, runs, apart, key.name("truth").fold(t));
            let i = interval(&scores, metric, how, key.name("bootstrap").fold(t));
            (i.low..=i.high).contains(&truth)
        });
        covered.count() as f64 / trials as f64
    }

    #[test]
    fn with_fifty_runs_a_task_intervals_cover_as_often_as_they_say() {
        let seed = 20_211_101;
        for (metric, tasks) in [(Metric::Iqm, 1), (Metric::Iqm, 3), (Metric::Mean, 3)] {
            let rate = coverage(metric, tasks, 50, 2000, Key::new(seed));
            assert!((0.93..=0.97).contains(&rate), "seed {seed}: {metric:?} on {tasks} tasks covers {rate}");
        }
    }

    /// The README's table. With 2000 trials a rate is known to ± 0.014 (two standard errors).
    #[test]
    fn coverage_falls_with_few_runs() {
        let seed = 5;
        let of = |metric, runs| coverage(metric, 1, runs, 2000, Key::new(seed));
        for (metric, runs, expected) in [
            (Metric::Mean, 3, 0.742),
            (Metric::Mean, 5, 0.834),
            (Metric::Mean, 10, 0.904),
            (Metric::Iqm, 5, 0.897),
            (Metric::Iqm, 10, 0.938),
        ] {
            let rate = of(metric, runs);
            assert!(
                abs_diff_eq!(rate, expected, epsilon = 0.025),
                "seed {seed}: {metric:?} of {runs} runs covers {rate}"
            );
        }
    }

    #[test]
    fn the_interval_of_a_mean_is_the_one_of_theory() {
        // σ/√n with the n, not n − 1, of a resampled sample; the bootstrap knows nothing else about a mean.
        let scores = made_up(1, 100, 0.0, Key::new(1));
        let n = scores.runs() as f64;
        let mean = scores.values.iter().sum::<f64>() / n;
        let sd = (scores.values.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / n).sqrt();
        let i = interval(&scores, Metric::Mean, Bootstrap::default(), Key::new(2));
        assert_abs_diff_eq!(i.estimate, mean, epsilon = 1e-12);
        for (end, z) in [(i.low, -1.96), (i.high, 1.96)] {
            assert!(
                abs_diff_eq!(end, mean + z * sd / n.sqrt(), epsilon = 0.06 * sd / n.sqrt() * 2.0),
                "{i:?}, sd {sd}"
            );
        }
    }

    #[test]
    fn tasks_are_resampled_independently_and_only_from_themselves() {
        let scores = Scores::new(&[vec![1.0, 2.0, 3.0, 4.0], vec![10.0, 20.0, 30.0, 40.0]]).unwrap();
        let mut again = scores.clone();
        let mut shared = 0;
        for r in 0..200 {
            resample(&scores, Key::new(9).fold(r), &mut again);
            assert!(again.task(0).iter().all(|x| scores.task(0).contains(x)));
            assert!(again.task(1).iter().all(|x| scores.task(1).contains(x)));
            shared += again.task(0).iter().zip(again.task(1)).all(|(a, b)| 10.0 * a == *b) as u32;
        }
        // One index shared by both tasks would make this 200; independence makes it about 200/256.
        assert!(shared < 12, "{shared}");
    }

    #[test]
    fn one_run_gives_a_point_and_another_key_another_interval() {
        let one = Scores::one_task(&[42.0]).unwrap();
        let i = interval(&one, Metric::Iqm, Bootstrap::default(), Key::new(0));
        assert_eq!((i.low, i.estimate, i.high), (42.0, 42.0, 42.0));
        let scores = made_up(2, 30, 0.0, Key::new(4));
        let how = Bootstrap { replications: 200, level: 0.9 };
        let a = interval(&scores, Metric::Iqm, how, Key::new(1));
        assert_ne!(a, interval(&scores, Metric::Iqm, how, Key::new(2)));
    }
}
