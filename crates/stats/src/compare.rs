use crate::bootstrap::Words;
use crate::{Bootstrap, Interval, Scores, ScoresError};
use backcast_core::Key;

/// The chance that a run of `x` beats a run of `y`: *U / (n m)*, ties counting one half (Mann & Whitney 1947).
///
/// ```
/// use backcast_stats::win_rate;
/// assert_eq!(win_rate(&[1.0, 2.0, 3.0], &[0.0, 2.0, 2.0]), 6.0 / 9.0);
/// assert_eq!(win_rate(&[5.0, 5.0], &[5.0]), 0.5);
/// ```
///
/// # Panics
/// If either has no run.
pub fn win_rate(x: &[f64], y: &[f64]) -> f64 {
    assert!(!x.is_empty() && !y.is_empty(), "win_rate: {} and {} runs", x.len(), y.len());
    let won = |a: f64, b: f64| if a > b { 1.0 } else { f64::from(a == b) * 0.5 };
    x.iter().flat_map(|&a| y.iter().map(move |&b| won(a, b))).sum::<f64>() / (x.len() * y.len()) as f64
}

/// The average over tasks of [`win_rate`], with an interval from a stratified bootstrap of both methods' runs.
///
/// 0.5 means that the methods cannot be told apart; an interval that contains 0.5 means that this experiment cannot.
///
/// # Errors
/// If the methods were not run on the same number of tasks.
///
/// # Panics
/// If there is no replication, or the level is not strictly between 0 and 1.
pub fn probability_of_improvement(x: &Scores, y: &Scores, how: Bootstrap, key: Key) -> Result<Interval, ScoresError> {
    how.check();
    if x.tasks() != y.tasks() {
        return Err(ScoresError::TasksDiffer { left: x.tasks(), right: y.tasks() });
    }
    let tasks = x.tasks() as f64;
    let estimate = (0..x.tasks()).map(|t| win_rate(x.task(t), y.task(t))).sum::<f64>() / tasks;
    let mut ranked: Vec<Ranked> = (0..x.tasks()).map(|t| Ranked::new(x.task(t), y.task(t))).collect();
    let mut rates: Vec<f64> = (0..how.replications)
        .map(|r| {
            let mut words = Words::new(key.fold(r as u64));
            ranked.iter_mut().map(|task| task.resampled_win_rate(&mut words)).sum::<f64>() / tasks
        })
        .collect();
    Ok(how.span(estimate, &mut rates))
}

/// Two samples as ranks in their union, so that one replication costs a pass over the ranks and not over all pairs.
struct Ranked {
    x: Vec<usize>,
    y: Vec<usize>,
    /// How often each rank was drawn from `x`, and from `y`.
    counts: Vec<(u32, u32)>,
}

impl Ranked {
    fn new(x: &[f64], y: &[f64]) -> Self {
        let mut distinct: Vec<f64> = x.iter().chain(y).copied().collect();
        distinct.sort_unstable_by(f64::total_cmp);
        distinct.dedup();
        let rank = |v: &f64| distinct.partition_point(|d| d < v);
        let (x, y) = (x.iter().map(rank).collect(), y.iter().map(rank).collect());
        Self { x, y, counts: vec![(0, 0); distinct.len()] }
    }

    fn resampled_win_rate(&mut self, words: &mut Words) -> f64 {
        self.counts.fill((0, 0));
        for _ in 0..self.x.len() {
            self.counts[self.x[words.below(self.x.len())]].0 += 1;
        }
        for _ in 0..self.y.len() {
            self.counts[self.y[words.below(self.y.len())]].1 += 1;
        }
        // Twice U, in whole numbers: below counts two, level counts one.
        let (mut below, mut twice_u) = (0_u64, 0_u64);
        for &(a, b) in &self.counts {
            twice_u += u64::from(a) * (2 * below + u64::from(b));
            below += u64::from(b);
        }
        twice_u as f64 / (2 * self.x.len() * self.y.len()) as f64
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use approx::{abs_diff_eq, assert_abs_diff_eq};

    #[test]
    fn wins_ties_and_mirror_images() {
        assert_eq!(win_rate(&[1.0, 2.0, 3.0], &[0.0, 2.0, 2.0]), 6.0 / 9.0);
        let (x, y) = ([3.0, 1.0, 4.0, 1.0, 5.0], [2.0, 7.0, 1.0]);
        assert_abs_diff_eq!(win_rate(&x, &y) + win_rate(&y, &x), 1.0, epsilon = 1e-12);
        assert_eq!(win_rate(&x, &x), 0.5);
    }

    #[test]
    fn ranks_count_what_pairs_count() {
        // Replay the words of a replication on the raw scores and compare with the slow definition.
        let (x, y) = (vec![1.0, 2.0, 2.0, 9.0, -1.0, 4.0], vec![2.0, 0.0, 4.0, 4.0, 3.0]);
        let mut ranked = Ranked::new(&x, &y);
        for seed in 0..100 {
            let fast = ranked.resampled_win_rate(&mut Words::new(Key::new(seed)));
            let mut words = Words::new(Key::new(seed));
            let a: Vec<f64> = (0..x.len()).map(|_| x[words.below(x.len())]).collect();
            let b: Vec<f64> = (0..y.len()).map(|_| y[words.below(y.len())]).collect();
            assert!(abs_diff_eq!(fast, win_rate(&a, &b), epsilon = 1e-12), "seed {seed}: {a:?} {b:?}");
        }
    }

    #[test]
    fn intervals_tell_the_clear_from_the_unclear() {
        let how = Bootstrap { replications: 2000, level: 0.95 };
        let low = Scores::new(&[vec![1.0, 2.0, 3.0, 2.5, 1.5], vec![1.0, 1.2, 0.9, 1.1, 1.0]]).unwrap();
        let high = Scores::new(&[vec![7.0, 8.0, 9.0, 7.5, 6.0], vec![5.0, 5.2, 4.9, 5.1, 5.0]]).unwrap();
        let clear = probability_of_improvement(&high, &low, how, Key::new(0)).unwrap();
        assert_eq!((clear.low, clear.estimate, clear.high), (1.0, 1.0, 1.0));
        let same = probability_of_improvement(&low, &low, how, Key::new(0)).unwrap();
        assert!(same.low < 0.5 && same.estimate == 0.5 && same.high > 0.5, "{same:?}");
        let one = Scores::one_task(&[1.0]).unwrap();
        let error = probability_of_improvement(&low, &one, how, Key::new(0));
        assert_eq!(error, Err(ScoresError::TasksDiffer { left: 2, right: 1 }));
    }
}
