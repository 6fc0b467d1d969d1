use crate::Condition;
use backcast_core::{Batch, ConfigError, Key, Metrics, Policy, Real, Slot, Source, Spec, State, Transitions, under};
use backcast_nn::{Activation, Adam, Init, Mlp, Shape, Store, Tape, Var};
use ndarray::{ArrayView2, ArrayViewMut2, Axis, Slice};
use serde::{Deserialize, Serialize};

const TILE: usize = 1024;
/// The most bins of joint actions.
const MOST: usize = 4096;

/// What the factors of an action know of each other.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Factors {
    /// Nothing: Π_d π_d(a_d ∣ s). `columns·bins` outputs.
    #[default]
    Independent,
    /// Each those before it: Π_d π_d(a_d ∣ s, a_1 … a_{d−1}).
    Chained,
    /// Everything: one choice among all joint actions, `bins^columns` outputs.
    Joint,
}

/// A clone of actions cut into bins.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct BinnedConfig {
    /// Which state is the condition.
    pub condition: Condition,
    /// Bins of each column of an action, all of one width.
    pub bins: usize,
    /// What the factors know of each other.
    pub factors: Factors,
    /// Sizes of the hidden layers; none makes logits linear in the state.
    pub hidden: Vec<usize>,
    /// α of Adam.
    pub lr: Real,
    /// λ of decoupled weight decay.
    pub weight_decay: Real,
    /// Rows per step.
    pub batch: usize,
    /// Steps of [`BinnedClone::fit`].
    pub steps: usize,
}

impl Default for BinnedConfig {
    fn default() -> Self {
        Self {
            condition: Condition::NextState,
            bins: 5,
            factors: Factors::Independent,
            hidden: vec![256, 256],
            lr: 1e-3,
            weight_decay: 0.0,
            batch: 256,
            steps: 20_000,
        }
    }
}

impl BinnedConfig {
    /// Whether every field makes sense.
    ///
    /// # Errors
    /// The first field that does not, and what it must be instead.
    pub fn check(&self) -> Result<(), ConfigError> {
        let unless = |holds, field, why: &str| ConfigError::unless(holds, field, why);
        unless(self.bins >= 2, "bins", "must be at least 2")?;
        unless(self.hidden.len() <= 7, "hidden", "must name at most 7 layers")?;
        unless(self.hidden.iter().all(|&n| n > 0), "hidden", "must not have an empty layer")?;
        unless(self.lr > 0.0 && self.lr.is_finite(), "lr", "must be positive")?;
        unless(self.weight_decay >= 0.0 && self.weight_decay.is_finite(), "weight_decay", "must not be negative")?;
        unless(self.batch >= 1, "batch", "must be at least 1")
    }
}

/// π(a ∣ s′) or π(a ∣ s) of a dataset, factor by factor: each column of an action is cut into bins, chosen by likelihood and drawn from uniformly.
///
/// Imagined actions of an agent of many parts can be drawn part by part (the linear decomposition's idea, Tang et al., arXiv:2305.01738, for ROMI's
/// reverse policy): where parts are independent given the state, a combination need not have been recorded to be drawn as often as it should be.
/// Where they are not, [`Factors::Chained`] lets each know those before it. As a [`Policy`] it is asked with the state of its
/// [`Condition`]: a reverse rollout hands over *s′*. Without a key it takes the middle of the likeliest bins. States are not standardised.
#[derive(Debug)]
pub struct BinnedClone {
    config: BinnedConfig,
    spec: Spec,
    store: Store,
    /// One for each factor; one alone if the action is a whole.
    nets: Vec<Mlp>,
    adam: Adam,
    staging: Transitions,
    /// Numbers of bins of a tile, `[rows, factors]`.
    chosen: Vec<usize>,
}

impl BinnedClone {
    /// A clone that knows nothing yet, its parameters drawn by `key`.
    ///
    /// # Errors
    /// If the configuration makes no sense, or joint actions are too many.
    pub fn new(config: BinnedConfig, spec: Spec, key: Key) -> Result<Self, ConfigError> {
        config.check()?;
        let mut store = Store::default();
        let mut net = |name: String, inputs: usize, outputs: usize| {
            let dims = [&[inputs], config.hidden.as_slice(), &[outputs]].concat();
            Mlp::new(&mut store, &name, &dims, 1, Activation::Relu, Init::FanIn, key.name(&name))
        };
        let bins = config.bins;
        let nets: Vec<Mlp> = match config.factors {
            Factors::Joint => {
                let all = bins.checked_pow(spec.act as u32).filter(|&n| n <= MOST);
                let why = || format!("are {bins} for each of {} columns; together at most {MOST}", spec.act);
                vec![net("net.0".into(), spec.obs, all.ok_or_else(|| ConfigError { field: "bins", why: why() })?)]
            }
            Factors::Independent => (0..spec.act).map(|d| net(format!("net.{d}"), spec.obs, bins)).collect(),
            Factors::Chained => (0..spec.act).map(|d| net(format!("net.{d}"), spec.obs + d * bins, bins)).collect(),
        };
        let adam = Adam::new(0..store.len(), config.lr).with_decoupled_decay(config.weight_decay);
        Ok(Self { config, spec, store, nets, adam, staging: Transitions::new(spec), chosen: Vec::new() })
    }

    /// The configuration it was made with.
    pub fn config(&self) -> &BinnedConfig {
        &self.config
    }

    /// Steps taken so far.
    pub fn steps(&self) -> usize {
        self.adam.steps() as usize
    }

    /// The bins of recorded actions, `[rows, factors]`, into `chosen`.
    fn sort(config: &BinnedConfig, spec: Spec, act: ArrayView2<'_, Real>, chosen: &mut Vec<usize>) {
        let bins = config.bins;
        let bin = |a: Real| (((a / spec.act_limit + 1.0) * 0.5 * bins as Real).max(0.0) as usize).min(bins - 1);
        chosen.clear();
        match config.factors {
            Factors::Joint => {
                chosen.extend(act.rows().into_iter().map(|a| a.iter().fold(0, |number, &a| number * bins + bin(a))));
            }
            _ => chosen.extend(act.iter().map(|&a| bin(a))),
        }
    }

    /// ln π of the bins `chosen`, `[1, rows, 1]`.
    fn log_prob<'t>(config: &BinnedConfig, nets: &[Mlp], states: Var<'t>, chosen: &[usize]) -> Var<'t> {
        let factor = |d: usize| {
            let logits = nets[d].forward(Self::given(config, states, chosen, nets.len(), d));
            let taken = one_hot(states.tape(), chosen, nets.len(), d, logits.shape().cols);
            ((logits - logits.log_sum_exp_cols()) * taken).sum_cols()
        };
        (1..nets.len()).fold(factor(0), |sum, d| sum + factor(d))
    }

    /// What the net of factor `d` is given.
    fn given<'t>(config: &BinnedConfig, states: Var<'t>, chosen: &[usize], factors: usize, d: usize) -> Var<'t> {
        match config.factors {
            Factors::Chained => (0..d)
                .fold(states, |left, before| left.cat(one_hot(states.tape(), chosen, factors, before, config.bins))),
            _ => states,
        }
    }

    /// One step on one batch. Metrics: `nll`, in nats of the density of a/limit.
    pub fn update(&mut self, batch: Batch<'_>) -> Metrics {
        let Self { config, spec, store, nets, adam, chosen, .. } = self;
        Self::sort(config, *spec, batch.act, chosen);
        let states = batch.column(config.condition.column());
        let flat = Self::flat(config, *spec);
        let nll =
            adam.minimise(store, |tape| -(Self::log_prob(config, nets, tape.input(states), chosen).mean() + flat));
        Metrics::from([("nll", nll)])
    }

    /// ln of how dense an action is in its bin.
    fn flat(config: &BinnedConfig, spec: Spec) -> Real {
        spec.act as Real * (config.bins as Real * 0.5).ln()
    }

    /// Steps on uniform minibatches of `data` until there have been [`steps`](BinnedConfig::steps) in all. `watch` sees each step's
    /// number and metrics and returns whether to go on.
    ///
    /// # Panics
    /// If `data` is empty or of other widths.
    pub fn fit(&mut self, data: &Transitions, key: Key, watch: &mut dyn FnMut(usize, &Metrics) -> bool) {
        let mut staging = std::mem::replace(&mut self.staging, Transitions::new(self.spec));
        while self.steps() < self.config.steps {
            let batch = data.sample(key.fold(self.adam.steps()), self.config.batch, &mut staging);
            let metrics = self.update(batch);
            if !watch(self.steps(), &metrics) {
                break;
            }
        }
        self.staging = staging;
    }

    /// ln π(a ∣ s), `[rows]`, a density of a/limit, of actions `act`, `[rows, act]`, at the states of the condition, `[rows, obs]`.
    pub fn log_density(&mut self, states: ArrayView2<'_, Real>, act: ArrayView2<'_, Real>) -> Vec<Real> {
        let Self { config, spec, store, nets, chosen, .. } = self;
        Self::sort(config, *spec, act, chosen);
        let tape = store.tape_without_history();
        let log_prob = Self::log_prob(config, nets, tape.input(states), chosen) + Self::flat(config, *spec);
        log_prob.read(<[Real]>::to_vec)
    }
}

/// 1 where the bin of factor `d` is chosen, `[1, rows, bins]`, of `chosen`, `[rows, factors]`.
fn one_hot<'t>(tape: Tape<'t>, chosen: &[usize], factors: usize, d: usize, bins: usize) -> Var<'t> {
    tape.fill(Shape::new(1, chosen.len() / factors, bins), |out| {
        out.fill(0.0);
        let own = chosen.iter().skip(d).step_by(factors);
        out.chunks_exact_mut(bins).zip(own).for_each(|(out, &bin)| out[bin] = 1.0);
    })
}

/// The bin that `unit` falls into, of bins with these logits; without it the likeliest.
fn pick(logits: &[Real], unit: Option<Real>) -> usize {
    let most = (1..logits.len()).fold(0, |best, bin| if logits[bin] > logits[best] { bin } else { best });
    let Some(unit) = unit else { return most };
    let weight = |logit: &Real| (logit - logits[most]).exp();
    let mut left = unit * logits.iter().map(weight).sum::<Real>();
    let over = logits.iter().position(|logit| {
        left -= weight(logit);
        left < 0.0
    });
    over.unwrap_or(most)
}

impl Policy for BinnedClone {
    fn spec(&self) -> Spec {
        self.spec
    }

    fn act(&mut self, states: ArrayView2<'_, Real>, key: Option<Key>, mut act: ArrayViewMut2<'_, Real>) {
        let (rows, Spec { obs, act: width, act_limit }) = (states.nrows(), self.spec);
        assert!(
            states.ncols() == obs && act.dim() == (rows, width),
            "BinnedClone: states {:?} and actions {:?} for {:?}",
            states.dim(),
            act.dim(),
            self.spec
        );
        let Self { config, store, nets, chosen, .. } = self;
        let (bins, factors) = (config.bins, nets.len());
        for first in (0..rows).step_by(TILE) {
            let last = rows.min(first + TILE);
            let tape = store.tape_without_history();
            let x = tape.input(states.slice_axis(Axis(0), Slice::from(first..last)));
            chosen.clear();
            chosen.resize((last - first) * factors, 0);
            for d in 0..factors {
                let logits = nets[d].forward(Self::given(config, x, chosen, factors, d));
                let outputs = logits.shape().cols;
                logits.read(|logits| {
                    for (row, logits) in logits.chunks_exact(outputs).enumerate() {
                        let unit = key.map(|key| key.fold(((first + row) * factors + d) as u64).unit());
                        chosen[row * factors + d] = pick(logits, unit);
                    }
                });
            }
            for row in 0..last - first {
                for col in 0..width {
                    let bin = match factors == width {
                        true => chosen[row * factors + col],
                        false => chosen[row] / bins.pow((width - 1 - col) as u32) % bins,
                    };
                    let within =
                        key.map_or(0.5, |key| key.name("within").fold(((first + row) * width + col) as u64).unit());
                    act[[first + row, col]] = act_limit * ((bin as Real + within) / bins as Real * 2.0 - 1.0);
                }
            }
        }
    }
}

/// Names the parameters and the optimiser.
impl State for BinnedClone {
    fn visit(&mut self, f: &mut dyn FnMut(&str, Slot<'_>)) {
        under("store", &mut self.store, f);
        under("adam", &mut self.adam, f);
    }
}
