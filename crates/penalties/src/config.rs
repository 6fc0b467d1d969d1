use crate::{
    DimensionWise, EnsembleStd, LeaveOneOutKl, LogLikelihoodVariance, MaxAleatoric, MaxDeviation, MaxPairwise, Mixture,
    NoPenalty, Penalty,
};
use backcast_core::choices;

choices! {
    /// A penalty by name, for files: `"max_aleatoric"`.
    ///
    /// ```
    /// use backcast_penalties::{Penalty, PenaltyConfig};
    ///
    /// let config: PenaltyConfig = serde_json::from_str("\"ensemble_std\"")?;
    /// assert_eq!((config, config.name()), (PenaltyConfig::EnsembleStd, "ensemble_std"));
    /// let penalty: Box<dyn Penalty> = config.build();
    /// assert!(!penalty.is_zero());
    /// # Ok::<(), serde_json::Error>(())
    /// ```
    pub enum PenaltyConfig {
        /// [`NoPenalty`].
        None,
        /// [`MaxAleatoric`].
        #[default]
        MaxAleatoric,
        /// [`MaxPairwise`] over all columns.
        MaxPairwise,
        /// [`MaxPairwise`] over states alone, as in MOReL.
        MaxPairwiseStates,
        /// [`MaxDeviation`].
        MaxDeviation,
        /// [`EnsembleStd`].
        EnsembleStd,
        /// [`Mixture::Std`].
        MixtureStd,
        /// [`Mixture::Variance`].
        MixtureVariance,
        /// [`DimensionWise`].
        DimensionWise,
        /// [`LogLikelihoodVariance`].
        LogLikelihoodVariance,
        /// [`LeaveOneOutKl`].
        LeaveOneOutKl,
    }
}

impl PenaltyConfig {
    /// Every measure there is, [`None`](PenaltyConfig::None) left out.
    pub const MEASURES: [Self; 10] = [
        Self::MaxAleatoric,
        Self::MaxPairwise,
        Self::MaxPairwiseStates,
        Self::MaxDeviation,
        Self::EnsembleStd,
        Self::MixtureStd,
        Self::MixtureVariance,
        Self::DimensionWise,
        Self::LogLikelihoodVariance,
        Self::LeaveOneOutKl,
    ];

    /// The word used in files and tables.
    pub const fn name(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::MaxAleatoric => "max_aleatoric",
            Self::MaxPairwise => "max_pairwise",
            Self::MaxPairwiseStates => "max_pairwise_states",
            Self::MaxDeviation => "max_deviation",
            Self::EnsembleStd => "ensemble_std",
            Self::MixtureStd => "mixture_std",
            Self::MixtureVariance => "mixture_variance",
            Self::DimensionWise => "dimension_wise",
            Self::LogLikelihoodVariance => "log_likelihood_variance",
            Self::LeaveOneOutKl => "leave_one_out_kl",
        }
    }

    /// The penalty of this name.
    pub fn build(self) -> Box<dyn Penalty> {
        match self {
            Self::None => Box::new(NoPenalty),
            Self::MaxAleatoric => Box::new(MaxAleatoric),
            Self::MaxPairwise => Box::new(MaxPairwise { states_only: false }),
            Self::MaxPairwiseStates => Box::new(MaxPairwise { states_only: true }),
            Self::MaxDeviation => Box::new(MaxDeviation),
            Self::EnsembleStd => Box::new(EnsembleStd),
            Self::MixtureStd => Box::new(Mixture::Std),
            Self::MixtureVariance => Box::new(Mixture::Variance),
            Self::DimensionWise => Box::new(DimensionWise),
            Self::LogLikelihoodVariance => Box::new(LogLikelihoodVariance),
            Self::LeaveOneOutKl => Box::new(LeaveOneOutKl),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::penalty::tests::ask;
    use backcast_core::{Key, Normal, Real};
    use ndarray::{Array3, Axis};

    const MEMBERS: usize = 4;
    const ROWS: usize = 6;
    const COLS: usize = 3;

    fn drawn(label: &str, change: impl Fn(Real) -> Real) -> Array3<Real> {
        Key::new(1).name(label).array((MEMBERS, ROWS, COLS), Normal::default()).mapv_into(change)
    }

    #[test]
    fn every_name_is_that_of_its_serialised_form() {
        for config in PenaltyConfig::MEASURES.into_iter().chain([PenaltyConfig::None]) {
            let text = serde_json::to_string(&config).unwrap();
            assert_eq!(text, format!("\"{}\"", config.name()));
            assert_eq!(serde_json::from_str::<PenaltyConfig>(&text).unwrap(), config);
            assert_eq!(config.build().is_zero(), config == PenaltyConfig::None);
        }
        assert!(serde_json::from_str::<PenaltyConfig>("\"max_epistemic\"").is_err());
    }

    /// The reward stands first: which measures look at it, and that none takes another column for it.
    #[test]
    fn each_measure_sees_the_columns_it_says() {
        use PenaltyConfig::{EnsembleStd, MaxDeviation, MaxPairwiseStates};
        let (mean, std) = (drawn("mean", |x| x), drawn("std", |x| 0.1 + x.abs()));
        for config in PenaltyConfig::MEASURES {
            let mut penalty = config.build();
            let before = ask(&mut *penalty, &mean, &std);
            for column in 0..COLS {
                let (mut other_mean, mut other_std) = (mean.clone(), std.clone());
                // Member 1 changes its mind about one column: further off and surer or less sure.
                for row in 0..ROWS {
                    other_mean[[1, row, column]] += 30.0;
                    other_std[[1, row, column]] += 40.0;
                }
                let changed = ask(&mut *penalty, &other_mean, &other_std) != before;
                let blind = column == 0 && matches!(config, MaxPairwiseStates | MaxDeviation | EnsembleStd);
                assert_eq!(changed, !blind, "{}: column {column}", config.name());
            }
        }
    }

    /// A prediction whose columns were stored reward last gives another number, whatever the measure does with the reward.
    #[test]
    fn a_swap_of_the_layout_would_be_noticed() {
        use PenaltyConfig::{EnsembleStd, MaxDeviation, MaxPairwiseStates};
        // Members agree on the reward; all of them are uncertain of the states.
        let (mut mean, std) = (drawn("mean", |x| x), Array3::ones((MEMBERS, ROWS, COLS)));
        mean.index_axis_mut(Axis(2), 0).fill(0.0);
        let reward_last = Array3::from_shape_fn(mean.dim(), |(i, row, c)| mean[[i, row, (c + 1) % COLS]]);
        for config in [MaxPairwiseStates, MaxDeviation, EnsembleStd] {
            let [right, wrong] = [&mean, &reward_last].map(|mean| ask(&mut *config.build(), mean, &std));
            let [r, w] = [&right, &wrong].map(|u| u.iter().sum::<Real>());
            assert!(r > 1.1 * w, "{}: {right:?} {wrong:?}", config.name());
        }
    }

    #[test]
    fn no_measure_hides_nan() {
        for config in PenaltyConfig::MEASURES {
            for member in 0..MEMBERS {
                for column in 1..COLS {
                    let (mut mean, mut std) = (drawn("mean", |x| x), drawn("std", |x| 0.1 + x.abs()));
                    mean[[member, 2, column]] = Real::NAN;
                    std[[member, 2, column]] = Real::NAN;
                    let u = ask(&mut *config.build(), &mean, &std);
                    let nan: Vec<usize> = (0..ROWS).filter(|&row| u[row].is_nan()).collect();
                    assert_eq!(nan, [2], "{}: member {member}, column {column}: {u:?}", config.name());
                }
            }
        }
    }

    /// A row's penalty is the same alone and among others.
    #[test]
    fn rows_do_not_mix() {
        let (mean, std) = (drawn("mean", |x| x), drawn("std", |x| 0.1 + x.abs()));
        for config in PenaltyConfig::MEASURES {
            let all = ask(&mut *config.build(), &mean, &std);
            for (row, u) in all.iter().enumerate() {
                let alone = |x: &Array3<Real>| x.select(Axis(1), &[row]);
                assert_eq!(ask(&mut *config.build(), &alone(&mean), &alone(&std)), [*u], "{}", config.name());
            }
            assert!(all.iter().all(|u| *u >= 0.0), "{}: {all:?}", config.name());
        }
    }
}
