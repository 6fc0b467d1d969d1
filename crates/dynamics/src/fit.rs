use crate::{Criterion, Ensemble, EnsembleConfig, Trainer};
use backcast_core::{Column, Dynamics, Key, Real, Slot, State, Transitions, under};

/// A dataset that an ensemble cannot be fitted to.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FitError {
    /// There must be a row to train on and a row to hold out.
    #[error("an ensemble needs at least 2 rows, the dataset has {rows}")]
    TooFewRows {
        /// Rows of the dataset.
        rows: usize,
    },
    /// NaN or an infinity.
    #[error("column {column:?} of row {row} is not finite")]
    NotFinite {
        /// The column.
        column: Column,
        /// The row.
        row: usize,
    },
}

/// What one epoch gave.
#[derive(Clone, Debug, PartialEq)]
pub struct FitProgress {
    /// Epochs done, this one included.
    pub epoch: usize,
    /// Steps of the optimiser, those of earlier epochs included.
    pub steps: usize,
    /// The loss, averaged over the steps of the epoch. It sums over members.
    pub loss: Real,
    /// Each member's mean squared error on the held-out rows.
    pub holdout_mse: Vec<Real>,
    /// Each member's mean((μ − y)²/σ² + ln σ²) on the held-out rows.
    pub holdout_nll: Vec<Real>,
    /// How many members improved.
    pub improved: usize,
    /// Epochs in a row without any improvement.
    pub stale: usize,
}

/// Why fitting stopped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StoppedBy {
    /// No member improved for more than [`patience`](EnsembleConfig::patience) epochs.
    Patience,
    /// [`max_epochs`](EnsembleConfig::max_epochs) are done.
    MaxEpochs,
    /// The watcher said so, or the caller stopped calling [`Fit::epoch`].
    Watcher,
}

/// The fitted ensemble in figures.
#[derive(Clone, Debug, PartialEq)]
pub struct FitReport {
    /// Epochs done.
    pub epochs: usize,
    /// Steps of the optimiser.
    pub steps: usize,
    /// Each member's mean squared error on the held-out rows, at its best epoch.
    pub holdout_mse: Vec<Real>,
    /// Each member's mean((μ − y)²/σ² + ln σ²) on the held-out rows, at its best epoch.
    pub holdout_nll: Vec<Real>,
    /// The members imagination draws from, best first.
    pub elites: Vec<usize>,
    /// For each output column, the fractions of held-out residuals of the elites within one and two predicted deviations.
    /// A calibrated Gaussian has 0.683 and 0.954.
    pub calibration: Vec<[Real; 2]>,
    /// Why it stopped.
    pub stopped_by: StoppedBy,
}

/// An ensemble being fitted, epoch by epoch. As a [`State`] it names everything, the ensemble included, that the next epoch
/// depends on: saved between two epochs and restored into a new `Fit` of the same dataset and key, it goes on to the same bits.
#[derive(Debug)]
pub struct Fit<'a> {
    model: &'a mut Ensemble,
    data: &'a Transitions,
    key: Key,
    holdout: Transitions,
    /// The rows each member trains on, `[members, train]`: drawn once, with replacement. Redrawing them each epoch would
    /// show every member all rows in the end, and the members would become alike.
    bootstrap: Vec<usize>,
    /// The same rows in the order of this epoch.
    order: Vec<usize>,
    trainer: Trainer,
    /// Mean squared error and likelihood of each member's best epoch.
    best_mse: Vec<Real>,
    best_nll: Vec<Real>,
    snapshots: Vec<Vec<Real>>,
    epochs: u64,
    steps: u64,
    stale: u64,
}

/// The rows that a fit to `data` by `key` holds out, and the numbers of those it trains on.
fn split(config: &EnsembleConfig, data: &Transitions, key: Key) -> (Transitions, Vec<usize>) {
    let n = data.len();
    let held = ((config.holdout_fraction as f64 * n as f64) as usize).min(config.holdout_rows).max(1);
    let mut rows: Vec<usize> = (0..n).collect();
    key.name("holdout").shuffle(&mut rows);
    let train = rows.split_off(held.min(n));
    let mut holdout = Transitions::with_capacity(data.spec(), held);
    rows.iter().for_each(|&row| holdout.push_row(data, row));
    (holdout, train)
}

impl Ensemble {
    /// The rows that its [`Fit`] to `data` by `key` held out, or will: those on which a model that comes from a file can be
    /// judged as it was then.
    pub fn holdout(&self, data: &Transitions, key: Key) -> Transitions {
        split(&self.config, data, key).0
    }
}

impl<'a> Fit<'a> {
    /// Splits `data` into training and held-out rows, sets the scale of the inputs and draws each member's rows.
    ///
    /// # Errors
    /// If there are fewer than two rows or one is not finite.
    ///
    /// # Panics
    /// If the widths of `data` are not those of the ensemble.
    pub fn new(model: &'a mut Ensemble, data: &'a Transitions, key: Key) -> Result<Self, FitError> {
        let (spec, n) = (model.spec(), data.len());
        assert!(
            (data.spec().obs, data.spec().act) == (spec.obs, spec.act),
            "Fit::new: data of {:?} for an ensemble of {spec:?}",
            data.spec()
        );
        if n < 2 {
            return Err(FitError::TooFewRows { rows: n });
        }
        for column in [Column::Obs, Column::Act, Column::Reward, Column::NextObs] {
            if let Some(i) = data.values(column).iter().position(|x| !x.is_finite()) {
                return Err(FitError::NotFinite { column, row: i / spec.width(column) });
            }
        }
        let config = &model.config;
        let (holdout, train) = split(config, data, key);
        model.head.set_scale(data, &train);
        let draw = |member: usize| {
            let key = key.name("bootstrap").fold(member as u64);
            let train = &train;
            (0..train.len()).map(move |i| train[key.below(train.len(), i)])
        };
        let bootstrap: Vec<usize> = (0..config.members).flat_map(draw).collect();
        let members = config.members;
        let trainer = Trainer::new(model, config.lr);
        let net = |params: &[Real]| params[model.head.net.range()].to_vec();
        let snapshots = model.store.params().chunks_exact(model.head.len).map(net).collect();
        Ok(Self {
            model,
            data,
            key,
            holdout,
            order: bootstrap.clone(),
            bootstrap,
            trainer,
            // Not infinity: a scan for numbers that are not finite must find nothing here.
            best_mse: vec![Real::MAX; members],
            best_nll: vec![Real::MAX; members],
            snapshots,
            epochs: 0,
            steps: 0,
            stale: 0,
        })
    }

    /// The rows no member trains on.
    pub fn holdout(&self) -> &Transitions {
        &self.holdout
    }

    /// The rows each member trains on, drawn once with replacement.
    pub fn bootstrap(&self, member: usize) -> &[usize] {
        let n = self.bootstrap.len() / self.model.members();
        &self.bootstrap[member * n..][..n]
    }

    /// Whether fitting should stop, and why.
    pub fn done(&self) -> Option<StoppedBy> {
        let EnsembleConfig { patience, max_epochs, .. } = self.model.config;
        if self.stale as usize > patience {
            Some(StoppedBy::Patience)
        } else if max_epochs.is_some_and(|max| self.epochs as usize >= max) {
            Some(StoppedBy::MaxEpochs)
        } else {
            None
        }
    }

    /// One pass of every member over its rows (or [`epoch_rows`](EnsembleConfig::epoch_rows) of them), then the held-out errors.
    pub fn epoch(&mut self) -> FitProgress {
        let members = self.model.members();
        let train = self.bootstrap.len() / members;
        let seen = self.model.config.epoch_rows.map_or(train, |cap| cap.min(train));
        let key = self.key.name("epoch").fold(self.epochs);
        self.order.copy_from_slice(&self.bootstrap);
        for (member, order) in self.order.chunks_exact_mut(train).enumerate() {
            shuffle_front(key.fold(member as u64), order, seen);
        }
        let (mut loss, mut steps, mut first) = (0.0, 0, 0);
        while first < seen {
            let rows = self.model.config.batch.min(seen - first);
            let order = &self.order;
            let rows_of = |member: usize| &order[member * train + first..][..rows];
            loss += self.trainer.step(self.model, self.data, rows_of) as f64;
            first += rows;
            steps += 1;
        }
        self.steps += steps;
        self.epochs += 1;

        let (holdout_mse, holdout_nll) = self.evaluate();
        let EnsembleConfig { criterion, improvement, .. } = self.model.config;
        let mut improved = 0;
        for (member, (&mse, &nll)) in holdout_mse.iter().zip(&holdout_nll).enumerate() {
            let better = match criterion {
                Criterion::MeanSquaredError => mse < self.best_mse[member] * (1.0 - improvement),
                Criterion::Likelihood => nll < self.best_nll[member] - improvement,
            };
            if better {
                (self.best_mse[member], self.best_nll[member]) = (mse, nll);
                let params = &self.model.store.params()[member * self.model.head.len..];
                self.snapshots[member].copy_from_slice(&params[self.model.head.net.range()]);
                improved += 1;
            }
        }
        self.stale = if improved > 0 { 0 } else { self.stale + 1 };
        FitProgress {
            epoch: self.epochs as usize,
            steps: self.steps as usize,
            loss: (loss / steps as f64) as Real,
            holdout_mse,
            holdout_nll,
            improved,
            stale: self.stale as usize,
        }
    }

    /// Each member's mean squared error of the means on the held-out rows, and its mean((μ − y)²/σ² + ln σ²).
    fn evaluate(&mut self) -> (Vec<Real>, Vec<Real>) {
        let split = self.model.direction().split();
        let batch = self.holdout.batch();
        let head = self.model.head.clone();
        let p = self.model.predict(split.given.map(|c| batch.column(c)));
        let mut truth = Vec::with_capacity(head.cols);
        let members = p.mean.dim().0;
        let (mut error, mut nll) = (vec![0.0f64; members], vec![0.0f64; members]);
        for row in 0..batch.len() {
            head.truth_row(&self.holdout, row, &mut truth);
            for (member, (error, nll)) in error.iter_mut().zip(&mut nll).enumerate() {
                for (c, y) in truth.iter().enumerate() {
                    let (residual, std) = (p.mean[[member, row, c]] - y, p.std[[member, row, c]] as f64);
                    *error += (residual as f64).powi(2);
                    *nll += (residual as f64 / std).powi(2) + 2.0 * std.ln();
                }
            }
        }
        let mean = |sums: &[f64]| sums.iter().map(|e| (e / (batch.len() * head.cols) as f64) as Real).collect();
        (mean(&error), mean(&nll))
    }

    /// Every member back at its best epoch, elites chosen, calibration measured.
    pub fn finish(mut self) -> FitReport {
        let stopped_by = self.done().unwrap_or(StoppedBy::Watcher);
        let (net, len) = (self.model.head.net.range(), self.model.head.len);
        for (params, saved) in self.model.store.params_mut().chunks_exact_mut(len).zip(&self.snapshots) {
            params[net.clone()].copy_from_slice(saved);
        }
        let mut order: Vec<usize> = (0..self.model.members()).collect();
        let score = match self.model.config.criterion {
            Criterion::MeanSquaredError => &self.best_mse,
            Criterion::Likelihood => &self.best_nll,
        };
        order.sort_by(|&a, &b| score[a].total_cmp(&score[b]));
        order.truncate(self.model.config.elites);
        self.model.elites = order;
        self.model.holdout_mse.copy_from_slice(&self.best_mse);
        FitReport {
            epochs: self.epochs as usize,
            steps: self.steps as usize,
            calibration: self.calibrate(),
            holdout_mse: self.best_mse,
            holdout_nll: self.best_nll,
            elites: self.model.elites.clone(),
            stopped_by,
        }
    }

    fn calibrate(&mut self) -> Vec<[Real; 2]> {
        let split = self.model.direction().split();
        let batch = self.holdout.batch();
        let (head, elites) = (self.model.head.clone(), self.model.elites.clone());
        let p = self.model.predict(split.given.map(|c| batch.column(c)));
        let mut truth = Vec::with_capacity(head.cols);
        let mut within = vec![[0usize; 2]; head.cols];
        for row in 0..batch.len() {
            head.truth_row(&self.holdout, row, &mut truth);
            for &member in &elites {
                for (c, (within, y)) in within.iter_mut().zip(&truth).enumerate() {
                    let z = ((p.mean[[member, row, c]] - y) / p.std[[member, row, c]]).abs();
                    within[0] += (z <= 1.0) as usize;
                    within[1] += (z <= 2.0) as usize;
                }
            }
        }
        let n = (batch.len() * elites.len()) as Real;
        within.iter().map(|w| w.map(|count| count as Real / n)).collect()
    }
}

/// Moves a uniformly random, randomly ordered choice of `count` items to the front (Fisher–Yates, stopped early).
fn shuffle_front(key: Key, items: &mut [usize], count: usize) {
    for i in 0..count.min(items.len()) {
        items.swap(i, i + key.below(items.len() - i, i));
    }
}

/// Names the ensemble, the optimiser, each member's best error and parameters, and the counters.
impl State for Fit<'_> {
    fn visit(&mut self, f: &mut dyn FnMut(&str, Slot<'_>)) {
        under("model", self.model, f);
        self.trainer.visit(f);
        f("best_mse", Slot::Tensor(&[self.best_mse.len()], &mut self.best_mse));
        f("best_nll", Slot::Tensor(&[self.best_nll.len()], &mut self.best_nll));
        for (member, saved) in self.snapshots.iter_mut().enumerate() {
            f(&format!("snapshot.{member}"), Slot::Tensor(&[saved.len()], saved));
        }
        f("epochs", Slot::Count(&mut self.epochs));
        f("steps", Slot::Count(&mut self.steps));
        f("stale", Slot::Count(&mut self.stale));
    }
}

impl Ensemble {
    /// Fits to `data`. `watch` sees every epoch and returns whether to go on.
    ///
    /// # Errors
    /// If there are fewer than two rows or one is not finite.
    ///
    /// # Panics
    /// If the widths of `data` are not those of the ensemble.
    pub fn fit(
        &mut self,
        data: &Transitions,
        key: Key,
        watch: &mut dyn FnMut(&FitProgress) -> bool,
    ) -> Result<FitReport, FitError> {
        let mut fit = Fit::new(self, data, key)?;
        while fit.done().is_none() {
            if !watch(&fit.epoch()) {
                break;
            }
        }
        Ok(fit.finish())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use approx::abs_diff_eq;
    use backcast_core::{Direction, Spec};

    fn config() -> EnsembleConfig {
        EnsembleConfig {
            members: 3,
            elites: 2,
            hidden: vec![8],
            weight_decay: vec![0.0; 2],
            batch: 32,
            ..Default::default()
        }
    }

    fn noise(rows: usize) -> Transitions {
        let mut x = vec![0.0; rows * 4];
        Key::new(1).normal(&mut x);
        let mut dataset = Transitions::new(Spec::new(1, 1));
        x.chunks_exact(4).for_each(|x| dataset.push(&x[..1], &x[1..2], x[2], &x[3..], false));
        dataset
    }

    /// What the report says of each member is what it says of the held-out rows after the fit: the snapshots are back.
    #[test]
    fn every_member_goes_back_to_its_best_epoch() {
        for criterion in [Criterion::MeanSquaredError, Criterion::Likelihood] {
            let config = EnsembleConfig { criterion, max_epochs: Some(30), lr: 0.03, ..config() };
            let (dataset, key) = (noise(200), Key::new(3));
            let mut model = Ensemble::new(config, dataset.spec(), Direction::Forward, Key::new(2)).unwrap();
            let (mut best, mut last) = ([Real::MAX; 3], vec![]);
            let report = model
                .fit(&dataset, key, &mut |p| {
                    last = match criterion {
                        Criterion::MeanSquaredError => p.holdout_mse.clone(),
                        Criterion::Likelihood => p.holdout_nll.clone(),
                    };
                    best.iter_mut().zip(&last).for_each(|(b, l)| *b = b.min(*l));
                    true
                })
                .unwrap();
            let (mse, nll) = Fit::new(&mut model, &dataset, key).unwrap().evaluate();
            assert_eq!(report.holdout_mse, mse, "{criterion:?}");
            let score = if criterion == Criterion::Likelihood {
                // The bounds of the variance are shared by all members and stay where training left them, as in MOPO's code:
                // a member's likelihood is not quite that of its best epoch.
                assert!(abs_diff_eq!(report.holdout_nll[..], nll[..], epsilon = 0.2), "{report:?} {nll:?}");
                &report.holdout_nll
            } else {
                &report.holdout_mse
            };
            assert!(abs_diff_eq!(score[..], best[..], epsilon = 0.02), "{criterion:?}: {score:?} {best:?}");
            assert_ne!(score, &last, "a test of going back needs a last epoch that is not the best");
            assert!(score[report.elites[0]] <= score[report.elites[1]]);
        }
    }

    /// A net that says zero has deviation 0.789 (see `predictions_are_in_the_units_of_the_data`).
    #[test]
    fn calibration_counts_residuals() {
        let mut dataset = Transitions::new(Spec::new(2, 1));
        (0..20).for_each(|i| dataset.push(&[i as Real, 0.0], &[0.0], 0.5, &[i as Real + 1.0, 3.0], false));
        let mut model = Ensemble::new(config(), dataset.spec(), Direction::Forward, Key::new(2)).unwrap();
        let (net, len) = (model.head.net.range(), model.head.len);
        model.store.params_mut().chunks_exact_mut(len).for_each(|member| member[net.clone()].fill(0.0));
        let report = Fit::new(&mut model, &dataset, Key::new(3)).unwrap().finish();
        assert_eq!(report.calibration, [[1.0, 1.0], [0.0, 1.0], [0.0, 0.0]]);
    }

    #[test]
    fn a_partial_shuffle_is_a_uniform_choice() {
        let mut counts = [[0; 5]; 2];
        for trial in 0..5000 {
            let mut items = [0, 1, 2, 3, 4];
            shuffle_front(Key::new(4).fold(trial), &mut items, 2);
            (0..2).for_each(|i| counts[i][items[i]] += 1);
            items.sort_unstable();
            assert_eq!(items, [0, 1, 2, 3, 4]);
        }
        // Six standard deviations of a binomial count.
        assert!(
            counts.iter().flatten().all(|&c| abs_diff_eq!(c as f64, 1000.0, epsilon = 6.0 * 800f64.sqrt())),
            "{counts:?}"
        );
    }
}
