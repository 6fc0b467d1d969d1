use backcast_core::{ConfigError, Domain, Kind, Real, Value};
use backcast_nn::{MAX_LAYERS, Precision};
use serde::{Deserialize, Serialize};

/// By what a member's epochs, and then the members, are compared on the held-out rows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Criterion {
    /// The mean squared error of the means; better means smaller by the fraction [`improvement`](EnsembleConfig::improvement).
    /// As MOPO does. It is blind to variances: a member may be put back to an epoch in which its variance was far off.
    #[default]
    MeanSquaredError,
    /// mean((μ − y)²/σ² + ln σ²), the loss without its factor ½; better means smaller by
    /// [`improvement`](EnsembleConfig::improvement) itself, since it can be negative.
    Likelihood,
}

/// The probabilistic ensemble of PETS (Chua et al., arXiv:1805.12114) with the numbers of MBPO and MOPO (arXiv:2005.13239).
///
/// Every default is that of MOPO's released code unless its line says otherwise.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct EnsembleConfig {
    /// Nets that are trained.
    pub members: usize,
    /// Nets that imagination draws from: those with the smallest held-out error.
    pub elites: usize,
    /// Sizes of the hidden layers, each followed by swish.
    pub hidden: Vec<usize>,
    /// How large products are computed. Everything is `F32` unless asked; see [`Precision`].
    pub precision: Precision,
    /// α of Adam.
    pub lr: Real,
    /// Rows per member and step.
    pub batch: usize,
    /// λ of ½λ‖W‖² for each layer, one more than there are hidden layers. Biases are left alone.
    pub weight_decay: Vec<Real>,
    /// Fraction of the rows held out …
    pub holdout_fraction: Real,
    /// … and their greatest number.
    pub holdout_rows: usize,
    /// The upper bound of the log-variance before learning.
    pub max_log_var: Real,
    /// The lower bound of the log-variance before learning.
    pub min_log_var: Real,
    /// Coefficient of Σ max − Σ min of the bounds in the loss. RAMBO uses 0.001.
    pub bound_coefficient: Real,
    /// β of Seitzer et al. (arXiv:2203.09168): every term of the likelihood is weighed by σ^(2β), held fixed. 0 is the likelihood
    /// itself, under which a column that seldom differs from its mean, such as a sparse reward, may be left to its variance; 1
    /// lets means follow squared errors. Ours; MOPO has 0.
    pub beta_nll: Real,
    /// Fitting stops after more than this many epochs in a row in which no member improved.
    pub patience: usize,
    /// By what epochs and members are compared.
    pub criterion: Criterion,
    /// A member has improved when its held-out error fell by more than this fraction of its best.
    pub improvement: Real,
    /// The greatest number of epochs; MOPO has no such cap.
    pub max_epochs: Option<usize>,
    /// The greatest number of rows each member sees in one epoch. This is ours, not MOPO's: with a million rows an epoch is
    /// 4000 steps, and the stopping rule, which counts epochs, would need hours to say that fitting is done.
    pub epoch_rows: Option<usize>,
}

impl Default for EnsembleConfig {
    fn default() -> Self {
        Self {
            members: 7,
            elites: 5,
            hidden: vec![200; 4],
            precision: Precision::F32,
            lr: 1e-3,
            batch: 256,
            weight_decay: vec![2.5e-5, 5e-5, 7.5e-5, 7.5e-5, 1e-4],
            holdout_fraction: 0.2,
            holdout_rows: 1000,
            max_log_var: 0.5,
            min_log_var: -10.0,
            bound_coefficient: 0.01,
            beta_nll: 0.0,
            patience: 5,
            criterion: Criterion::MeanSquaredError,
            improvement: 0.01,
            max_epochs: None,
            epoch_rows: None,
        }
    }
}

impl EnsembleConfig {
    /// Whether every field makes sense.
    ///
    /// # Errors
    /// The first field that does not, and what it must be instead.
    pub fn check(&self) -> Result<(), ConfigError> {
        fn unless(holds: bool, field: &'static str, why: &str) -> Result<(), ConfigError> {
            ConfigError::unless(holds, field, why)
        }
        unless(self.members >= 1, "members", "must be at least 1")?;
        unless((1..=self.members).contains(&self.elites), "elites", "must be between 1 and `members`")?;
        unless(
            !self.hidden.is_empty() && self.hidden.len() < MAX_LAYERS,
            "hidden",
            &format!("must name 1 to {} layers", MAX_LAYERS - 1),
        )?;
        unless(self.hidden.iter().all(|&n| n > 0), "hidden", "must not have an empty layer")?;
        unless(self.lr > 0.0 && self.lr.is_finite(), "lr", "must be positive")?;
        unless(self.batch >= 1, "batch", "must be at least 1")?;
        unless(
            self.weight_decay.len() == self.hidden.len() + 1,
            "weight_decay",
            &format!("must have one number per layer, {}", self.hidden.len() + 1),
        )?;
        unless(self.weight_decay.iter().all(|&d| d >= 0.0 && d.is_finite()), "weight_decay", "must not be negative")?;
        unless(
            self.holdout_fraction > 0.0 && self.holdout_fraction < 1.0,
            "holdout_fraction",
            "must lie between 0 and 1",
        )?;
        unless(self.holdout_rows >= 1, "holdout_rows", "must be at least 1")?;
        unless(
            self.min_log_var.is_finite() && self.max_log_var.is_finite() && self.min_log_var < self.max_log_var,
            "min_log_var",
            "must be below `max_log_var`",
        )?;
        unless(self.bound_coefficient >= 0.0, "bound_coefficient", "must not be negative")?;
        unless((0.0..=1.0).contains(&self.beta_nll), "beta_nll", "must lie between 0 and 1")?;
        unless((0.0..1.0).contains(&self.improvement), "improvement", "must lie in [0, 1)")?;
        unless(self.max_epochs != Some(0), "max_epochs", "must be at least 1 where given")?;
        unless(self.epoch_rows != Some(0), "epoch_rows", "must be at least 1 where given")
    }
}

impl Value for EnsembleConfig {
    fn kind() -> Kind {
        Kind::Other
    }

    fn check_in(&self, _: Domain, _: &'static str) -> Result<(), ConfigError> {
        self.check()
    }
}
