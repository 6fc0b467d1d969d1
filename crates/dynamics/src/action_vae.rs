use backcast_core::{
    Batch, COUNT, Column, ConfigError, Key, Metrics, NON_NEGATIVE, POSITIVE, Policy, Real, Slot, Source, Spec, State,
    Transitions, choices, hyperparameters, under,
};
use backcast_nn::{Adam, HIDDEN, Shape, Store, Vae};
use ndarray::{ArrayView2, ArrayViewMut2, Axis, Slice};

/// Rows per forward pass of sampling. Fixed, so that memory does not grow with a call and each tile's noise has its own key.
const TILE: usize = 1024;

choices! {
    /// Which state actions are conditioned on.
    pub enum Condition {
        /// *s′*: what may have led here, π(a ∣ s′), for reverse imagination.
        #[default]
        NextState,
        /// *s*: what is done here, π(a ∣ s), for forward imagination.
        State,
    }
}

impl Condition {
    /// The column it stands for.
    pub const fn column(self) -> Column {
        match self {
            Self::NextState => Column::NextObs,
            Self::State => Column::Obs,
        }
    }
}

hyperparameters! {
    /// The CVAE of actions given a state, with the numbers of ROMI's code (arXiv:2110.00188, §3.2; the same class as BCQ's).
    pub struct ActionVaeConfig {
        /// Which state is the condition.
        condition: Condition = Condition::NextState;
        /// Sizes of the hidden layers of encoder and decoder.
        hidden: Vec<usize> = vec![750, 750], HIDDEN;
        /// Columns of the latent; without a number, twice those of an action.
        latent: Option<usize> = None, COUNT;
        /// Coefficient of the KL divergence, which is averaged over latent dimensions, not summed.
        kl_weight: Real = 0.5, NON_NEGATIVE;
        /// α of Adam.
        lr: Real = 1e-3, POSITIVE;
        /// Rows per step.
        batch: usize = 100, COUNT;
        /// Steps of [`ActionVae::fit`].
        steps: usize = 500_000;
    }
}

/// π(a ∣ s′) or π(a ∣ s) of a dataset as a conditional VAE: actions like those recorded, and as diverse.
///
/// As a [`Policy`] it is asked with the state of its [`Condition`]: a reverse rollout hands over *s′*. Without a key the
/// latent is zero. States are not standardised, as in ROMI's code.
#[derive(Debug)]
pub struct ActionVae {
    config: ActionVaeConfig,
    spec: Spec,
    store: Store,
    vae: Vae,
    adam: Adam,
    staging: Transitions,
}

impl ActionVae {
    /// A VAE that knows nothing yet, its parameters drawn by `key`.
    ///
    /// # Errors
    /// If the configuration makes no sense.
    pub fn new(config: ActionVaeConfig, spec: Spec, key: Key) -> Result<Self, ConfigError> {
        config.check()?;
        let mut store = Store::default();
        let latent = config.latent.unwrap_or(2 * spec.act);
        let vae = Vae::new(&mut store, "vae", spec.obs, spec.act, latent, &config.hidden, spec.act_limit, key);
        let adam = Adam::new(vae.range(), config.lr);
        Ok(Self { config, spec, store, vae, adam, staging: Transitions::new(spec) })
    }

    /// The configuration it was made with.
    pub fn config(&self) -> &ActionVaeConfig {
        &self.config
    }

    /// Steps taken so far.
    pub fn steps(&self) -> usize {
        self.adam.steps() as usize
    }

    /// One step on one batch: MSE(â, a) + kl_weight·KL. Metrics: `loss`.
    pub fn update(&mut self, batch: Batch<'_>, key: Key) -> Metrics {
        let (vae, kl) = (self.vae, self.config.kl_weight);
        let condition = batch.column(self.config.condition.column());
        let loss =
            self.adam.minimise(&mut self.store, |tape| vae.loss(tape.input(condition), tape.input(batch.act), kl, key));
        Metrics::from([("loss", loss)])
    }

    /// Steps on minibatches of `data` until there have been [`steps`](ActionVaeConfig::steps) in all, so that a restored VAE
    /// goes on where it was, to the same bits. `watch` sees each step's number and metrics and returns whether to go on.
    ///
    /// # Panics
    /// If `data` is empty or of other widths.
    pub fn fit(&mut self, data: &dyn Source, key: Key, watch: &mut dyn FnMut(usize, &Metrics) -> bool) {
        let mut staging = std::mem::replace(&mut self.staging, Transitions::new(self.spec));
        while self.steps() < self.config.steps {
            let key = key.fold(self.adam.steps());
            let metrics =
                self.update(data.sample(key.name("batch"), self.config.batch, &mut staging), key.name("latent"));
            if !watch(self.steps(), &metrics) {
                break;
            }
        }
        self.staging = staging;
    }

    /// Writes an action, `[rows, act]`, drawn by `key` for each of `states`, `[rows, obs]`.
    ///
    /// # Panics
    /// If the shapes do not fit.
    pub fn sample(&mut self, states: ArrayView2<'_, Real>, key: Key, act: ArrayViewMut2<'_, Real>) {
        self.act(states, Some(key), act);
    }
}

impl Policy for ActionVae {
    fn spec(&self) -> Spec {
        self.spec
    }

    fn act(&mut self, states: ArrayView2<'_, Real>, key: Option<Key>, mut act: ArrayViewMut2<'_, Real>) {
        let (rows, vae) = (states.nrows(), self.vae);
        assert!(
            states.ncols() == self.spec.obs && act.dim() == (rows, self.spec.act),
            "ActionVae: states {:?} and actions {:?} for {:?}",
            states.dim(),
            act.dim(),
            self.spec
        );
        for (tile, first) in (0..rows).step_by(TILE).enumerate() {
            let last = rows.min(first + TILE);
            let tape = self.store.tape();
            let condition = tape.input(states.slice_axis(Axis(0), Slice::from(first..last)));
            let a = match key {
                Some(key) => vae.sample(condition, key.fold(tile as u64)),
                None => vae.decode(condition, tape.fill(Shape::new(1, last - first, vae.latent()), |z| z.fill(0.0))),
            };
            a.read(|a| {
                act.slice_axis_mut(Axis(0), Slice::from(first..last)).iter_mut().zip(a).for_each(|(to, &a)| *to = a)
            });
        }
    }
}

/// Names the parameters and the optimiser.
impl State for ActionVae {
    fn visit(&mut self, f: &mut dyn FnMut(&str, Slot<'_>)) {
        under("store", &mut self.store, f);
        under("adam", &mut self.adam, f);
    }
}
