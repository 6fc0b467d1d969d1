use serde::{Deserialize, Serialize};

/// Two reference returns that turn a raw return into a *normalised score*: 0 at `min`, 100 at `max`.
///
/// Means shift and scale; standard deviations only scale. The two have different functions here, because pushing a
/// deviation through the affine map adds the constant −100·min/(max − min), a mistake found in well-known code.
///
/// ```
/// use backcast_envs::Score;
///
/// let score = Score { min: -280.0, max: 12_135.0 };
/// assert_eq!(score.normalise(12_135.0), 100.0);
/// assert_eq!(score.normalise(-280.0), 0.0);
/// assert_eq!(score.scale_deviation(0.0), 0.0); // returns that never vary have scores that never vary
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Score {
    /// The undiscounted episode return that scores 0, in units of reward.
    pub min: f64,
    /// The undiscounted episode return that scores 100, in units of reward.
    pub max: f64,
}

impl Score {
    /// 100·(`episode_return` − min)/(max − min): for single returns, means, medians and quantiles.
    pub fn normalise(&self, episode_return: f64) -> f64 {
        100.0 * (episode_return - self.min) / (self.max - self.min)
    }

    /// 100·`deviation`/(max − min): for standard deviations, standard errors and widths of intervals.
    pub fn scale_deviation(&self, deviation: f64) -> f64 {
        100.0 * deviation / (self.max - self.min)
    }

    /// The return that scores `score`: the inverse of [`normalise`](Score::normalise).
    pub fn denormalise(&self, score: f64) -> f64 {
        self.min + score / 100.0 * (self.max - self.min)
    }
}

#[cfg(test)]
mod tests {
    use super::Score;

    #[test]
    fn deviations_scale_as_differences_of_scores_do() {
        let score = Score { min: 23.85, max: 161.86 };
        let difference = score.normalise(120.0) - score.normalise(100.0);
        assert!((score.scale_deviation(20.0) - difference).abs() < 1e-12);
        assert!((score.denormalise(score.normalise(77.0)) - 77.0).abs() < 1e-12);
    }
}
