use serde::{Deserialize, Serialize};

/// The reference of one task: the return worth 0 and the return worth 100.
///
/// Normalised scores are affine in the return, *100 (R − min) / (max − min)*, so a **mean** of returns is shifted and
/// scaled while a **deviation** is only scaled. Pushing a standard deviation through the whole affine map adds the constant
/// *−100 min / (max − min)* to it, an error found in published tables; here the two have different names.
///
/// ```
/// use backcast_core::ReferenceScores;
/// let reference = ReferenceScores::new(-280.0, 12_135.0);
/// assert_eq!(reference.mean(-280.0), 0.0);
/// assert_eq!(reference.mean(12_135.0), 100.0);
/// // No spread is no spread, wherever zero is.
/// assert_eq!(reference.deviation(0.0), 0.0);
/// assert_eq!(reference.deviation(124.15), 1.0);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct ReferenceScores {
    /// The return worth 0, in units of reward.
    pub min: f64,
    /// The return worth 100, in units of reward.
    pub max: f64,
}

impl ReferenceScores {
    /// The scale on which the return `min` is 0 and the return `max` is 100.
    ///
    /// # Panics
    /// Unless both are finite and `min < max`.
    pub fn new(min: f64, max: f64) -> Self {
        assert!(
            min.is_finite() && max.is_finite() && min < max,
            "ReferenceScores::new: {min} must be below {max}, both finite"
        );
        Self { min, max }
    }

    // ANCHOR: ruler
    /// The score of a return, or of a mean, median or quantile of returns.
    pub fn mean(self, undiscounted_return: f64) -> f64 {
        100.0 * (undiscounted_return - self.min) / (self.max - self.min)
    }

    /// The score units of a standard deviation, a standard error, or a difference of returns.
    pub fn deviation(self, deviation: f64) -> f64 {
        100.0 * deviation / (self.max - self.min)
    }
    // ANCHOR_END: ruler

    /// The return of a score: the inverse of [`mean`](ReferenceScores::mean).
    pub fn undiscounted_return(self, score: f64) -> f64 {
        self.min + score * (self.max - self.min) / 100.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use approx::assert_abs_diff_eq;

    #[test]
    fn the_mean_of_scores_is_the_score_of_the_mean_and_deviations_only_scale() {
        let reference = ReferenceScores::new(-20.3, 3234.3);
        let returns = [100.0, 900.0, 2500.0, -50.0];
        let mean = |x: &[f64]| x.iter().sum::<f64>() / x.len() as f64;
        let std = |x: &[f64]| (x.iter().map(|v| (v - mean(x)).powi(2)).sum::<f64>() / x.len() as f64).sqrt();
        let scores = returns.map(|r| reference.mean(r));
        assert_abs_diff_eq!(reference.mean(mean(&returns)), mean(&scores), epsilon = 1e-12);
        assert_abs_diff_eq!(reference.deviation(std(&returns)), std(&scores), epsilon = 1e-12);
        // What the mistake would have given.
        assert!((reference.mean(std(&returns)) - std(&scores)).abs() > 0.6);
        assert_abs_diff_eq!(reference.undiscounted_return(reference.mean(77.0)), 77.0, epsilon = 1e-12);
    }

    #[test]
    #[should_panic(expected = "must be below")]
    fn an_empty_reference_is_refused() {
        ReferenceScores::new(1.0, 1.0);
    }
}
