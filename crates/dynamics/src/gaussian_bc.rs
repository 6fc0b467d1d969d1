use crate::Condition;
use backcast_core::{
    Batch, COUNT, ConfigError, Key, Metrics, NON_NEGATIVE, POSITIVE, Policy, Real, Slot, Source, Spec, State,
    Transitions, hyperparameters, under,
};
use backcast_nn::{Activation, Adam, Gaussian, HIDDEN, Init, Mlp, Store, TanhGaussian, Var};
use ndarray::{ArrayView2, ArrayViewMut2, Axis, Slice};

const TILE: usize = 1024;
/// ln σ is held in this range, as SAC's code does.
const LOG_STD: (Real, Real) = (-5.0, 2.0);
/// Recorded actions are held this far inside the box, where atanh is finite.
const EDGE: Real = 1e-4;

hyperparameters! {
    /// A tanh-Gaussian clone of the recorded actions, the alternative in ROMI's code to its CVAE.
    ///
    /// Sizes and entropy weight are those of that code; learning rate, batch and steps are ours. That code makes the covariance of what
    /// is the deviation here, so that its σ is the root of ours, and takes the entropy of the Gaussian before the tanh; its published
    /// scripts use the CVAE.
    pub struct GaussianBcConfig {
        /// Which state is the condition.
        condition: Condition = Condition::NextState;
        /// Sizes of the hidden layers, each followed by ReLU.
        hidden: Vec<usize> = vec![256, 256], HIDDEN;
        /// Coefficient of the negative entropy E[ln π] beside the negative log-likelihood.
        entropy_weight: Real = 0.5, NON_NEGATIVE;
        /// α of Adam.
        lr: Real = 1e-3, POSITIVE;
        /// Rows per step.
        batch: usize = 256, COUNT;
        /// Steps of [`GaussianBc::fit`].
        steps: usize = 100_000;
    }
}

/// π(a ∣ s′) or π(a ∣ s) of a dataset as limit·tanh of a diagonal Gaussian, states standardised.
///
/// The loss is −ln π(a) + entropy_weight·E[ln π], the second estimated by one reparameterised sample per row. Densities are
/// those of a/limit in (−1, 1), recorded actions being held 1e-4 inside the box.
#[derive(Debug)]
pub struct GaussianBc {
    config: GaussianBcConfig,
    spec: Spec,
    store: Store,
    net: Mlp,
    adam: Adam,
    mean: Vec<Real>,
    std: Vec<Real>,
    staging: Transitions,
    pre_tanh: Vec<Real>,
}

impl GaussianBc {
    /// A clone that knows nothing yet, its parameters drawn by `key`.
    ///
    /// # Errors
    /// If the configuration makes no sense.
    pub fn new(config: GaussianBcConfig, spec: Spec, key: Key) -> Result<Self, ConfigError> {
        config.check()?;
        let mut store = Store::default();
        let dims = [&[spec.obs], config.hidden.as_slice(), &[2 * spec.act]].concat();
        let net = Mlp::new(&mut store, "net", &dims, 1, Activation::Relu, Init::FanIn, key);
        let adam = Adam::new(net.range(), config.lr);
        let (mean, std) = (vec![0.0; spec.obs], vec![1.0; spec.obs]);
        Ok(Self { config, spec, store, net, adam, mean, std, staging: Transitions::new(spec), pre_tanh: Vec::new() })
    }

    /// The configuration it was made with.
    pub fn config(&self) -> &GaussianBcConfig {
        &self.config
    }

    /// Steps taken so far.
    pub fn steps(&self) -> usize {
        self.adam.steps() as usize
    }

    /// Sets the scale of the states to their mean and deviation in `data`; a deviation below 1e-6 counts as 1.
    pub fn set_scale(&mut self, data: &Transitions) {
        let values = data.values(self.config.condition.column());
        let (width, n) = (self.spec.obs, data.len().max(1) as f64);
        for i in 0..width {
            let column = || values.iter().skip(i).step_by(width).map(|&x| x as f64);
            let mean = column().sum::<f64>() / n;
            let std = (column().map(|x| (x - mean).powi(2)).sum::<f64>() / n).sqrt();
            self.mean[i] = mean as Real;
            self.std[i] = if std < 1e-6 { 1.0 } else { std as Real };
        }
    }

    /// One step on one batch. Metrics: `nll`, `entropy`.
    pub fn update(&mut self, batch: Batch<'_>, key: Key) -> Metrics {
        let (limit, weight) = (self.spec.act_limit, self.config.entropy_weight);
        self.pre_tanh.clear();
        self.pre_tanh.extend(batch.act.iter().map(|a| (a / limit).clamp(EDGE - 1.0, 1.0 - EDGE).atanh()));
        let u = ArrayView2::from_shape(batch.act.dim(), &self.pre_tanh).expect("dense");
        let (net, scale) = (self.net, (&self.mean, &self.std));
        let states = batch.column(self.config.condition.column());
        let (_, (nll, entropy)) = self.adam.minimise_with(&mut self.store, |tape| {
            let pi = distribution(net, standardised(tape.input(states), scale));
            let nll = -pi.log_prob_of_pre_tanh(tape.input(u)).mean();
            let negative_entropy = pi.sample(key).1.mean();
            (nll + negative_entropy * weight, (nll.item(), -negative_entropy.item()))
        });
        Metrics::from([("nll", nll), ("entropy", entropy)])
    }

    /// Sets the scale if nothing is learnt yet, then steps on uniform minibatches of `data` until there have been
    /// [`steps`](GaussianBcConfig::steps) in all. `watch` sees each step's number and metrics and returns whether to go on.
    ///
    /// # Panics
    /// If `data` is empty or of other widths.
    pub fn fit(&mut self, data: &Transitions, key: Key, watch: &mut dyn FnMut(usize, &Metrics) -> bool) {
        if self.steps() == 0 {
            self.set_scale(data);
        }
        let mut staging = std::mem::replace(&mut self.staging, Transitions::new(self.spec));
        while self.steps() < self.config.steps {
            let key = key.fold(self.adam.steps());
            let batch = data.sample(key.name("batch"), self.config.batch, &mut staging);
            let metrics = self.update(batch, key.name("noise"));
            if !watch(self.steps(), &metrics) {
                break;
            }
        }
        self.staging = staging;
    }
}

fn distribution(net: Mlp, x: Var<'_>) -> TanhGaussian<'_> {
    TanhGaussian { base: Gaussian::from_columns(net.forward(x), LOG_STD.0, LOG_STD.1) }
}

fn standardised<'t>(x: Var<'t>, (mean, std): (&Vec<Real>, &Vec<Real>)) -> Var<'t> {
    let row = |v: &[Real]| x.tape().input(ArrayView2::from_shape((1, v.len()), v).expect("dense"));
    (x - row(mean)) / row(std)
}

impl Policy for GaussianBc {
    fn spec(&self) -> Spec {
        self.spec
    }

    fn act(&mut self, states: ArrayView2<'_, Real>, key: Option<Key>, mut act: ArrayViewMut2<'_, Real>) {
        let rows = states.nrows();
        assert!(
            states.ncols() == self.spec.obs && act.dim() == (rows, self.spec.act),
            "GaussianBc: states {:?} and actions {:?} for {:?}",
            states.dim(),
            act.dim(),
            self.spec
        );
        for (tile, first) in (0..rows).step_by(TILE).enumerate() {
            let last = rows.min(first + TILE);
            let x = self.store.tape().input(states.slice_axis(Axis(0), Slice::from(first..last)));
            let pi = distribution(self.net, standardised(x, (&self.mean, &self.std)));
            let a = match key {
                Some(key) => pi.sample(key.fold(tile as u64)).0,
                None => pi.mode(),
            };
            let limit = self.spec.act_limit;
            a.read(|a| {
                act.slice_axis_mut(Axis(0), Slice::from(first..last))
                    .iter_mut()
                    .zip(a)
                    .for_each(|(to, &a)| *to = a * limit)
            });
        }
    }
}

/// Names the parameters, the scale of the states and the optimiser.
impl State for GaussianBc {
    fn visit(&mut self, f: &mut dyn FnMut(&str, Slot<'_>)) {
        under("store", &mut self.store, f);
        f("mean", Slot::Tensor(&[self.spec.obs], &mut self.mean));
        f("std", Slot::Tensor(&[self.spec.obs], &mut self.std));
        under("adam", &mut self.adam, f);
    }
}
