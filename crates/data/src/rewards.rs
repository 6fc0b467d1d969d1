use crate::EpisodicTransitions;
use backcast_core::{Column, ConfigError, Kind, Real, Transitions, Value};
use serde::{Deserialize, Serialize};

/// What a dataset's rewards are turned into before anything learns from them: always r ↦ scale·r + shift.
///
/// A positive scale changes no preference between policies, and neither does a shift where episodes end only by a limit of
/// time. Both change how far a critic has to travel: values of several hundred take a small net a hundred thousand small
/// steps. Returns reported of a dataset or of an evaluation are always of the rewards as they were recorded.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Rewards {
    /// As recorded.
    #[default]
    Recorded,
    /// (r − mean)/deviation over the transitions.
    Standardise,
    /// 1000·r/(highest − lowest return of an episode): IQL's on locomotion tasks (arXiv:2110.06169, the authors' code).
    ReturnRange,
    /// A scale and a shift by hand, such as r − 1 in AntMaze.
    Affine {
        /// What a reward is multiplied by.
        scale: Real,
        /// What is added after that.
        shift: Real,
    },
}

impl Value for Rewards {
    fn kind() -> Kind {
        Kind::Other
    }
}

impl Rewards {
    /// Whether it makes sense.
    ///
    /// # Errors
    /// If the scale by hand is not positive, or a number is not finite.
    pub fn check(&self) -> Result<(), ConfigError> {
        let Self::Affine { scale, shift } = *self else { return Ok(()) };
        let why = format!("scale {scale} and shift {shift}: a scale is positive and both are finite");
        ConfigError::unless(scale > 0.0 && scale.is_finite() && shift.is_finite(), "rewards", why)
    }

    /// The scale and the shift for this dataset.
    ///
    /// # Errors
    /// If the dataset leaves the scale open: all its rewards, or the returns of all its episodes, are the same.
    pub fn scale_and_shift(&self, dataset: &EpisodicTransitions) -> Result<[Real; 2], ConfigError> {
        self.check()?;
        let known = |width: f64, what: &str| {
            let why = format!("cannot be scaled: all {what} of the dataset are the same");
            ConfigError::unless(width > 0.0 && width.is_finite(), "rewards", why)
        };
        match *self {
            Self::Recorded => Ok([1.0, 0.0]),
            Self::Affine { scale, shift } => Ok([scale, shift]),
            Self::Standardise => {
                let rewards = dataset.transitions().values(Column::Reward);
                let n = rewards.len().max(1) as f64;
                let mean = rewards.iter().map(|&r| r as f64).sum::<f64>() / n;
                let std = (rewards.iter().map(|&r| (r as f64 - mean).powi(2)).sum::<f64>() / n).sqrt();
                known(std, "rewards")?;
                Ok([(1.0 / std) as Real, (-mean / std) as Real])
            }
            Self::ReturnRange => {
                let totals = dataset.episodes().iter().map(|e| e.total);
                let range = totals.clone().fold(f64::MIN, f64::max) - totals.fold(f64::MAX, f64::min);
                known(range, "returns")?;
                Ok([(1000.0 / range) as Real, 0.0])
            }
        }
    }
}

/// r ↦ scale·r + shift in every row.
pub fn scale_rewards([scale, shift]: [Real; 2], columns: &mut Transitions) {
    columns.values_mut(Column::Reward).iter_mut().for_each(|r| *r = scale * *r + shift);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Dataset, Options, Row};
    use approx::abs_diff_eq;

    fn dataset(rewards: &[Real]) -> EpisodicTransitions {
        let mut dataset = Dataset::new(1, 1, true);
        for (t, &reward) in rewards.iter().enumerate() {
            let s = t as Real;
            dataset.push(Row {
                obs: &[s],
                act: &[0.1],
                reward,
                terminal: false,
                truncated: t % 3 == 2,
                next_obs: Some(&[s + 1.0]),
            });
        }
        dataset.transitions(&Options::default()).expect("a sound dataset").0
    }

    #[test]
    fn each_does_what_it_says() {
        let dataset = dataset(&[1.0, 2.0, 3.0, 5.0, 5.0, 8.0]);
        let after = |rewards: Rewards| {
            let mut columns = dataset.transitions().clone();
            scale_rewards(rewards.scale_and_shift(&dataset).expect("sound"), &mut columns);
            columns.values(Column::Reward).to_vec()
        };
        assert_eq!(after(Rewards::Recorded), dataset.transitions().values(Column::Reward));
        // Rows at a truncation make no transition.
        assert_eq!(after(Rewards::Affine { scale: 2.0, shift: -1.0 }), [1.0, 3.0, 9.0, 9.0]);
        let standard = after(Rewards::Standardise);
        let n = standard.len() as Real;
        let mean = standard.iter().sum::<Real>() / n;
        let variance = standard.iter().map(|r| r * r).sum::<Real>() / n - mean * mean;
        assert!(
            abs_diff_eq!(mean, 0.0, epsilon = 1e-6) && abs_diff_eq!(variance, 1.0, epsilon = 1e-5),
            "{mean} {variance}"
        );
        // Returns 6 and 18.
        let scale = 1000.0 / 12.0;
        for (got, r) in after(Rewards::ReturnRange).iter().zip(dataset.transitions().values(Column::Reward)) {
            assert!(abs_diff_eq!(*got, scale * r, epsilon = 1e-3), "{got} for {r}");
        }
    }

    #[test]
    fn what_cannot_be_scaled_is_refused_by_field() {
        let same = dataset(&[1.0; 6]);
        for rewards in [Rewards::Standardise, Rewards::ReturnRange, Rewards::Affine { scale: 0.0, shift: 0.0 }] {
            assert_eq!(rewards.scale_and_shift(&same).unwrap_err().field, "rewards", "{rewards:?}");
        }
        assert!(Rewards::Affine { scale: 1.0, shift: Real::NAN }.check().is_err());
    }
}
