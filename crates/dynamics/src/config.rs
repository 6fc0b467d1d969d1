use backcast_core::{COUNT, ConfigError, NON_NEGATIVE, POSITIVE, Real, SHARE, choices, hyperparameters};
use backcast_nn::{HIDDEN, Precision};

choices! {
    /// By what a member's epochs, and then the members, are compared on the held-out rows.
    pub enum Criterion {
        /// The mean squared error of the means; better means smaller by the fraction [`improvement`](EnsembleConfig::improvement).
        /// As MOPO does. It is blind to variances: a member may be put back to an epoch in which its variance was far off.
        #[default]
        MeanSquaredError,
        /// mean((μ − y)²/σ² + ln σ²), the loss without its factor ½; better means smaller by
        /// [`improvement`](EnsembleConfig::improvement) itself, since it can be negative.
        Likelihood,
    }
}

hyperparameters! {
    /// The probabilistic ensemble of PETS (Chua et al., arXiv:1805.12114) with the numbers of MBPO and MOPO (arXiv:2005.13239).
    ///
    /// Every default is that of MOPO's released code unless its line says otherwise.
    pub struct EnsembleConfig {
        /// Nets that are trained.
        members: usize = 7, COUNT;
        /// Nets that imagination draws from: those with the smallest held-out error.
        elites: usize = 5, COUNT;
        /// Sizes of the hidden layers, each followed by swish.
        hidden: Vec<usize> = vec![200; 4], HIDDEN;
        /// How large products are computed. Everything is `F32` unless asked; see [`Precision`].
        precision: Precision = Precision::F32;
        /// α of Adam.
        lr: Real = 1e-3, POSITIVE;
        /// Rows per member and step.
        batch: usize = 256, COUNT;
        /// λ of ½λ‖W‖² for each layer, one more than there are hidden layers. Biases are left alone.
        weight_decay: Vec<Real> = vec![2.5e-5, 5e-5, 7.5e-5, 7.5e-5, 1e-4], NON_NEGATIVE;
        /// Fraction of the rows held out …
        holdout_fraction: Real = 0.2, SHARE;
        /// … and their greatest number.
        holdout_rows: usize = 1000, COUNT;
        /// The upper bound of the log-variance before learning.
        max_log_var: Real = 0.5;
        /// The lower bound of the log-variance before learning.
        min_log_var: Real = -10.0;
        /// Coefficient of Σ max − Σ min of the bounds in the loss. RAMBO uses 0.001.
        bound_coefficient: Real = 0.01, NON_NEGATIVE;
        /// β of Seitzer et al. (arXiv:2203.09168): every term of the likelihood is weighed by σ^(2β), held fixed. 0 is the likelihood
        /// itself, under which a column that seldom differs from its mean, such as a sparse reward, may be left to its variance; 1
        /// lets means follow squared errors. Ours; MOPO has 0.
        beta_nll: Real = 0.0, SHARE;
        /// Fitting stops after more than this many epochs in a row in which no member improved.
        patience: usize = 5;
        /// By what epochs and members are compared.
        criterion: Criterion = Criterion::MeanSquaredError;
        /// A member has improved when its held-out error fell by more than this fraction of its best.
        improvement: Real = 0.01, SHARE;
        /// The greatest number of epochs; MOPO has no such cap.
        max_epochs: Option<usize> = None, COUNT;
        /// The greatest number of rows each member sees in one epoch. This is ours, not MOPO's: with a million rows an epoch is
        /// 4000 steps, and the stopping rule, which counts epochs, would need hours to say that fitting is done.
        epoch_rows: Option<usize> = None, COUNT;
    }
    together(config) {
        let members = (1..=config.members).contains(&config.elites);
        ConfigError::unless(members, "elites", "must be between 1 and `members`")?;
        let layers = config.hidden.len() + 1;
        let why = format!("must have one number per layer, {layers}");
        ConfigError::unless(config.weight_decay.len() == layers, "weight_decay", why)?;
        let inside = config.holdout_fraction > 0.0 && config.holdout_fraction < 1.0;
        ConfigError::unless(inside, "holdout_fraction", "must lie between 0 and 1")?;
        let ordered = config.min_log_var < config.max_log_var;
        ConfigError::unless(ordered, "min_log_var", "must be below `max_log_var`")?;
        ConfigError::unless(config.improvement < 1.0, "improvement", "must lie in [0, 1)")
    }
}
