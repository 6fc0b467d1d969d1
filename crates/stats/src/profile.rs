use crate::bootstrap::resample;
use crate::{Bootstrap, Interval, Scores};
use backcast_core::Key;
use serde::{Deserialize, Serialize};

/// One point of a performance profile.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct ProfilePoint {
    /// The threshold τ.
    pub threshold: f64,
    /// The fraction of runs with a score above τ, with a pointwise interval.
    pub fraction: Interval,
}

/// The performance profile (Dolan & Moré 2002; Agarwal et al. 2021): for each threshold, the fraction of runs above it,
/// averaged over tasks. Two thousand replications are plenty for a curve.
///
/// A profile hides nothing: its height at τ says how many runs got that far, its area is the mean, and the place where it
/// crosses ½ is the median run.
///
/// ```
/// use backcast_core::Key;
/// use backcast_stats::{Bootstrap, Scores, profile};
/// let scores = Scores::one_task(&[10.0, 20.0, 30.0, 40.0])?;
/// let how = Bootstrap { replications: 2000, ..Bootstrap::default() };
/// let points = profile(&scores, &[0.0, 20.0, 40.0], how, Key::new(0));
/// let heights: Vec<f64> = points.iter().map(|p| p.fraction.estimate).collect();
/// assert_eq!(heights, [1.0, 0.5, 0.0]);
/// # Ok::<(), backcast_stats::ScoresError>(())
/// ```
///
/// # Panics
/// If there is no replication, or the level is not strictly between 0 and 1.
pub fn profile(scores: &Scores, thresholds: &[f64], how: Bootstrap, key: Key) -> Vec<ProfilePoint> {
    how.check();
    let mut again = scores.clone();
    // [thresholds, replications]: one resampled experiment serves every threshold, as a whole curve would be resampled.
    let mut heights = vec![vec![0.0; how.replications]; thresholds.len()];
    for r in 0..how.replications {
        resample(scores, key.fold(r as u64), &mut again);
        for (row, &threshold) in heights.iter_mut().zip(thresholds) {
            row[r] = above(&again, threshold);
        }
    }
    let points = thresholds.iter().zip(&mut heights);
    points
        .map(|(&threshold, row)| ProfilePoint { threshold, fraction: how.span(above(scores, threshold), row) })
        .collect()
}

fn above(scores: &Scores, threshold: f64) -> f64 {
    let fraction = |runs: &[f64]| runs.iter().filter(|&&x| x > threshold).count() as f64 / runs.len() as f64;
    (0..scores.tasks()).map(|t| fraction(scores.task(t))).sum::<f64>() / scores.tasks() as f64
}

#[cfg(test)]
mod tests {
    use super::*;
    use approx::assert_abs_diff_eq;

    #[test]
    fn a_profile_falls_from_one_to_zero_and_its_area_is_the_mean() {
        let scores = Scores::new(&[vec![0.2, 0.4, 0.9], vec![0.1, 0.6, 0.6]]).unwrap();
        let steps = 1000;
        let grid: Vec<f64> = (0..steps).map(|i| (i as f64 + 0.5) / steps as f64).collect();
        let how = Bootstrap { replications: 50, level: 0.95 };
        let points = profile(&scores, &grid, how, Key::new(8));
        assert!(points.windows(2).all(|w| w[0].fraction.estimate >= w[1].fraction.estimate));
        assert!(points.iter().all(|p| p.fraction.low <= p.fraction.high));
        let area = points.iter().map(|p| p.fraction.estimate).sum::<f64>() / steps as f64;
        assert_abs_diff_eq!(area, 2.8 / 6.0, epsilon = 2.0 / steps as f64);
        assert_eq!((points[0].fraction.estimate, points[steps - 1].fraction.estimate), (1.0, 0.0));
    }
}
