use backcast_core::quantile;
use serde::{Deserialize, Serialize};

/// One finished number per run, grouped by task. Tasks may have different numbers of runs.
#[derive(Clone, Debug, PartialEq)]
pub struct Scores {
    /// Every score, task after task.
    pub(crate) values: Vec<f64>,
    /// Where each task ends in `values`.
    pub(crate) ends: Vec<usize>,
}

/// Scores that cannot be summarised.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum ScoresError {
    /// There is no task at all.
    #[error("there is no task")]
    NoTask,
    /// A task without runs.
    #[error("task {task} has no run")]
    NoRun {
        /// The task's position.
        task: usize,
    },
    /// NaN or an infinity. A diverged run is a result: give it the score of its policy, do not leave it out.
    #[error("run {run} of task {task} has the score {value}, which is not a number one can average")]
    NotFinite {
        /// The task's position.
        task: usize,
        /// The run's position within the task.
        run: usize,
        /// The score.
        value: f64,
    },
    /// Two methods were not run on the same tasks.
    #[error("one method has scores on {left} tasks and the other on {right}")]
    TasksDiffer {
        /// Tasks of the first.
        left: usize,
        /// Tasks of the second.
        right: usize,
    },
}

impl Scores {
    /// Scores of several tasks, one inner vector of runs for each task.
    ///
    /// # Errors
    /// If there is no task, a task has no run, or a score is not finite.
    pub fn new(tasks: &[Vec<f64>]) -> Result<Self, ScoresError> {
        if tasks.is_empty() {
            return Err(ScoresError::NoTask);
        }
        let (mut values, mut ends) = (Vec::new(), Vec::new());
        for (task, runs) in tasks.iter().enumerate() {
            if runs.is_empty() {
                return Err(ScoresError::NoRun { task });
            }
            if let Some(run) = runs.iter().position(|x| !x.is_finite()) {
                return Err(ScoresError::NotFinite { task, run, value: runs[run] });
            }
            values.extend_from_slice(runs);
            ends.push(values.len());
        }
        Ok(Self { values, ends })
    }

    /// Scores of one task, one for each run.
    ///
    /// # Errors
    /// If there is no run or a score is not finite.
    pub fn one_task(runs: &[f64]) -> Result<Self, ScoresError> {
        Self::new(&[runs.to_vec()])
    }

    /// The number of tasks.
    pub fn tasks(&self) -> usize {
        self.ends.len()
    }

    /// The number of runs over all tasks.
    pub fn runs(&self) -> usize {
        self.values.len()
    }

    /// The scores of one task.
    pub fn task(&self, task: usize) -> &[f64] {
        &self.values[self.start(task)..self.ends[task]]
    }

    pub(crate) fn start(&self, task: usize) -> usize {
        if task == 0 { 0 } else { self.ends[task - 1] }
    }

    /// The mean of each task.
    fn task_means(&self) -> impl Iterator<Item = f64> + '_ {
        (0..self.tasks()).map(|t| mean(self.task(t)))
    }
}

/// A summary of [`Scores`] in one number.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Metric {
    /// The interquartile mean over all runs of all tasks: see [`interquartile_mean`].
    Iqm,
    /// The mean over tasks of the mean over runs.
    Mean,
    /// The median over tasks of the mean over runs.
    Median,
    /// *γ − mean(min(x, γ))*: how far runs stay below the target `γ`, with no credit for going past it. On the scale of
    /// [`ReferenceScores`](crate::ReferenceScores) the usual target is 100.
    OptimalityGap {
        /// The target.
        target: f64,
    },
}

impl Metric {
    /// The summary of `scores`.
    pub fn of(self, scores: &Scores) -> f64 {
        let mut scratch = Vec::new();
        self.of_with(scores, &mut scratch)
    }

    /// [`of`](Metric::of) with memory to sort in: fifty thousand replications should not allocate fifty thousand times.
    pub(crate) fn of_with(self, scores: &Scores, scratch: &mut Vec<f64>) -> f64 {
        scratch.clear();
        match self {
            Self::Iqm => {
                scratch.extend_from_slice(&scores.values);
                iqm_in_place(scratch)
            }
            Self::Mean => scores.task_means().sum::<f64>() / scores.tasks() as f64,
            Self::Median => {
                scratch.extend(scores.task_means());
                scratch.sort_unstable_by(f64::total_cmp);
                quantile(scratch, 0.5)
            }
            Self::OptimalityGap { target } => {
                target - scores.values.iter().map(|x| x.min(target)).sum::<f64>() / scores.runs() as f64
            }
        }
    }
}

/// The mean of the middle half of `values`: ⌊n/4⌋ are dropped from each end.
///
/// The same number as SciPy's `trim_mean(values, 0.25)` and as rliable's interquartile mean.
///
/// ```
/// use backcast_stats::interquartile_mean;
/// assert_eq!(interquartile_mean(&[0.0, 1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0]), 3.5);
/// // A run that diverged moves the mean by a thousand, and this not at all.
/// assert_eq!(interquartile_mean(&[-8000.0, 1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0]), 3.5);
/// ```
///
/// # Panics
/// If there is no value.
pub fn interquartile_mean(values: &[f64]) -> f64 {
    assert!(!values.is_empty(), "interquartile_mean: there is no value");
    iqm_in_place(&mut values.to_vec())
}

fn iqm_in_place(values: &mut [f64]) -> f64 {
    let (n, cut) = (values.len(), values.len() / 4);
    if n > 32 {
        // Two selections instead of a sort, then a sort of nothing: the sum runs over a partition, whose order is fixed
        // by the algorithm and the input, so the bits are reproducible.
        values.select_nth_unstable_by(cut, f64::total_cmp);
        values[cut..].select_nth_unstable_by(n - 1 - 2 * cut, f64::total_cmp);
    } else {
        values.sort_unstable_by(f64::total_cmp);
    }
    mean(&values[cut..n - cut])
}

fn mean(values: &[f64]) -> f64 {
    values.iter().sum::<f64>() / values.len() as f64
}

#[cfg(test)]
mod tests {
    use super::*;
    use approx::{abs_diff_eq, assert_abs_diff_eq};
    use backcast_core::Key;

    #[test]
    fn the_interquartile_mean_pools_all_tasks_and_cuts_a_quarter_from_each_end() {
        let eight = Scores::new(&[vec![7.0, 1.0, 2.0, 3.0], vec![4.0, 5.0, 6.0, 0.0]]).unwrap();
        assert_eq!(Metric::Iqm.of(&eight), 3.5);
        // 3 runs × 2 tasks: one is cut from each end, whatever task it belongs to.
        let six = Scores::new(&[vec![1.0, 2.0, 3.0], vec![100.0, 101.0, 102.0]]).unwrap();
        assert_eq!(Metric::Iqm.of(&six), (2.0 + 3.0 + 100.0 + 101.0) / 4.0);
        assert_eq!(interquartile_mean(&[5.0]), 5.0);
        assert_eq!(interquartile_mean(&[5.0, 1.0, 3.0]), 3.0);
    }

    #[test]
    fn selection_and_sorting_agree() {
        for n in 1..200 {
            let seed = 900 + n as u64;
            let mut x: Vec<f64> = (0..n).map(|i| Key::new(seed).below(1000, i) as f64).collect();
            let fast = interquartile_mean(&x);
            x.sort_unstable_by(f64::total_cmp);
            let slow = mean(&x[n / 4..n - n / 4]);
            assert!(abs_diff_eq!(fast, slow, epsilon = 1e-9), "seed {seed}: {fast} and {slow} for {n} values");
        }
    }

    #[test]
    fn mean_and_median_are_over_tasks() {
        let ragged = Scores::new(&[vec![0.0, 0.0, 0.0, 0.0], vec![10.0], vec![20.0, 40.0]]).unwrap();
        assert_abs_diff_eq!(Metric::Mean.of(&ragged), 40.0 / 3.0, epsilon = 1e-12);
        assert_eq!(Metric::Median.of(&ragged), 10.0);
        let two = Scores::new(&[vec![1.0], vec![2.0]]).unwrap();
        assert_eq!(Metric::Median.of(&two), 1.5);
    }

    #[test]
    fn the_optimality_gap_gives_no_credit_beyond_the_target() {
        let x = Scores::one_task(&[0.5, 1.5, 1.0]).unwrap();
        assert_abs_diff_eq!(Metric::OptimalityGap { target: 1.0 }.of(&x), 1.0 - 2.5 / 3.0, epsilon = 1e-12);
    }

    #[test]
    fn scores_that_cannot_be_averaged_are_named() {
        assert_eq!(Scores::new(&[]), Err(ScoresError::NoTask));
        assert_eq!(Scores::new(&[vec![1.0], vec![]]), Err(ScoresError::NoRun { task: 1 }));
        let error = Scores::new(&[vec![1.0], vec![2.0, f64::INFINITY]]).unwrap_err();
        assert_eq!(error, ScoresError::NotFinite { task: 1, run: 1, value: f64::INFINITY });
        assert!(error.to_string().contains("run 1 of task 1"));
    }
}
