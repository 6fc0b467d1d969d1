use backcast_core::{
    Batch, Column, ConfigError, Domain, Key, Kind, Metrics, Real, Slot, Spec, State, Transitions, Value, under,
};
use backcast_nn::{Activation, Adam, Gaussian, Init, LATENT_BOUND, Mlp, Shape, Store, Tape, Var};
use ndarray::ArrayView2;
use serde::{Deserialize, Serialize};

/// ln σ of the latent, as in BCQ's code.
const LATENT_LOG_STD: (Real, Real) = (-4.0, 15.0);

/// The conditional VAE of next states. No code of SDC, which has one, is public: every number is ours, in the manner of BCQ's.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct TransitionVaeConfig {
    /// Sizes of the hidden layers of encoder and decoder.
    pub hidden: Vec<usize>,
    /// Columns of the latent; without a number, as many as those of a state.
    pub latent: Option<usize>,
    /// Coefficient of the KL divergence, which is averaged over latent dimensions, not summed.
    pub kl_weight: Real,
    /// α of Adam.
    pub lr: Real,
}

impl Default for TransitionVaeConfig {
    fn default() -> Self {
        Self { hidden: vec![256; 2], latent: None, kl_weight: 0.5, lr: 1e-3 }
    }
}

impl TransitionVaeConfig {
    /// Whether every field makes sense.
    ///
    /// # Errors
    /// The first field that does not, and what it must be instead.
    pub fn check(&self) -> Result<(), ConfigError> {
        let unless = |holds, field, why: &str| ConfigError::unless(holds, field, why);
        unless((1..=7).contains(&self.hidden.len()), "hidden", "must name 1 to 7 layers")?;
        unless(self.hidden.iter().all(|&n| n > 0), "hidden", "must not have an empty layer")?;
        unless(self.latent != Some(0), "latent", "must be at least 1 where given")?;
        unless(self.kl_weight >= 0.0 && self.kl_weight.is_finite(), "kl_weight", "must not be negative")?;
        unless(self.lr > 0.0 && self.lr.is_finite(), "lr", "must be positive")
    }
}

/// U(s′ ∣ s): where a dataset goes on from *s*, whatever was done there (SDC: Zhang et al., AAAI 2022).
///
/// Encoder (s, Δ) → z, decoder (s, z) → Δ, s′ = s + scale·Δ. The loss is MSE(Δ̂, Δ) + kl_weight·KL: Δ in units of its own
/// [scale](TransitionVae::set_scale), or a dataset of small steps would be all KL. States are taken as they are.
///
/// ```
/// use backcast_core::{Transitions, Key, Source, Spec};
/// use backcast_dynamics::{TransitionVae, TransitionVaeConfig};
///
/// // From anywhere the log takes a small step, left or right.
/// let mut dataset = Transitions::new(Spec::new(1, 1));
/// let mut x = vec![0.0; 1000];
/// Key::new(1).uniform(-1.0, 1.0, &mut x);
/// for (i, x) in x.iter().enumerate() {
///     let step = if i % 2 == 0 { 0.1 } else { -0.1 };
///     dataset.push(&[*x], &[0.0], 0.0, &[x + step], false);
/// }
/// let config = TransitionVaeConfig { hidden: vec![32], lr: 3e-3, kl_weight: 0.1, ..Default::default() };
/// let mut vae = TransitionVae::new(config, dataset.spec(), Key::new(2))?;
/// vae.set_scale(&dataset);
/// let mut staging = Transitions::new(dataset.spec());
/// for step in 0..800 {
///     let key = Key::new(3).fold(step);
///     vae.update(dataset.sample(key.name("batch"), 64, &mut staging), key);
/// }
/// // Two hundred next states of 0.3.
/// let mut next = vec![];
/// vae.sample(ndarray::array![[0.3]].view(), 200, Key::new(4), &mut next);
/// assert!(next.iter().all(|s2| (0.15..0.45).contains(s2)), "{next:?}");
/// assert!(next.iter().any(|s2| *s2 < 0.28) && next.iter().any(|s2| *s2 > 0.32), "{next:?}");
/// # Ok::<(), backcast_core::ConfigError>(())
/// ```
#[derive(Debug)]
pub struct TransitionVae {
    config: TransitionVaeConfig,
    spec: Spec,
    store: Store,
    encoder: Mlp,
    decoder: Mlp,
    adam: Adam,
    /// Root mean squares of s′ − s, `[obs]`.
    scale: Vec<Real>,
    noise: Vec<Real>,
}

impl TransitionVae {
    /// A VAE that knows nothing yet, its parameters drawn by `key`.
    ///
    /// # Errors
    /// If the configuration makes no sense.
    pub fn new(config: TransitionVaeConfig, spec: Spec, key: Key) -> Result<Self, ConfigError> {
        config.check()?;
        let (mut store, latent) = (Store::default(), config.latent.unwrap_or(spec.obs));
        let mut net = |name: &str, first: usize, last: usize| {
            let dims = [&[first], config.hidden.as_slice(), &[last]].concat();
            Mlp::new(&mut store, name, &dims, 1, Activation::Relu, Init::FanIn, key)
        };
        let encoder = net("encoder", 2 * spec.obs, 2 * latent);
        let decoder = net("decoder", spec.obs + latent, spec.obs);
        let adam = Adam::new(encoder.range().start..decoder.range().end, config.lr);
        Ok(Self { config, spec, store, encoder, decoder, adam, scale: vec![1.0; spec.obs], noise: Vec::new() })
    }

    /// The configuration it was made with.
    pub fn config(&self) -> &TransitionVaeConfig {
        &self.config
    }

    /// Columns of z.
    pub fn latent(&self) -> usize {
        self.encoder.outputs() / 2
    }

    /// Steps taken so far.
    pub fn steps(&self) -> u64 {
        self.adam.steps()
    }

    /// Sets the scale of changes to their root mean squares in `data`; one below 1e-6 counts as 1, and so does one of no rows.
    pub fn set_scale(&mut self, data: &Transitions) {
        let n = data.len().max(1) as f64;
        for (i, scale) in self.scale.iter_mut().enumerate() {
            let change = |row| (data.row(Column::NextObs, row)[i] - data.row(Column::Obs, row)[i]) as f64;
            let size = ((0..data.len()).map(|row| change(row).powi(2)).sum::<f64>() / n).sqrt();
            *scale = if size < 1e-6 { 1.0 } else { size as Real };
        }
    }

    /// One step on one batch, of observations as they are. Metrics: `loss`.
    pub fn update(&mut self, batch: Batch<'_>, key: Key) -> Metrics {
        let mut noise = std::mem::take(&mut self.noise);
        noise.resize(batch.len() * self.latent(), 0.0);
        key.name("latent").normal(&mut noise);
        let loss = self.update_with(batch, &noise);
        self.noise = noise;
        Metrics::from([("loss", loss)])
    }

    // ANCHOR: update
    /// As [`update`](TransitionVae::update) with normal numbers from outside, `[rows, latent]`. Returns the loss.
    ///
    /// # Panics
    /// If there are more or fewer.
    pub fn update_with(&mut self, batch: Batch<'_>, noise: &[Real]) -> Real {
        let (encoder, decoder, latent, scale) = (self.encoder, self.decoder, self.latent(), &self.scale);
        let kl_weight = self.config.kl_weight;
        self.adam.minimise(&mut self.store, |tape| {
            let (s, s2) = (tape.input(batch.obs), tape.input(batch.next_obs));
            let change = (s2 - s) / row(tape, scale);
            let q = Gaussian::from_columns(encoder.forward(s.cat(change)), LATENT_LOG_STD.0, LATENT_LOG_STD.1);
            let z = q.mean + q.log_std.exp() * given(tape, batch.len(), latent, noise);
            let rebuilt = decoder.forward(s.cat(z));
            (rebuilt - change).square().mean() + q.kl_to_standard().mean() * kl_weight
        })
    }
    // ANCHOR_END: update

    /// Writes `k` next states of each of `states`, `[rows, obs]`, one after the other: `[rows·k, obs]`, drawn by `key`.
    ///
    /// # Panics
    /// If the states are of another width.
    pub fn sample(&mut self, states: ArrayView2<'_, Real>, k: usize, key: Key, out: &mut Vec<Real>) {
        let mut noise = std::mem::take(&mut self.noise);
        noise.resize(states.nrows() * k * self.latent(), 0.0);
        key.normal(&mut noise);
        self.sample_with(states, k, &noise, out);
        self.noise = noise;
    }

    // ANCHOR: sample
    /// As [`sample`](TransitionVae::sample) with normal numbers from outside, `[rows·k, latent]`, which are held in ±0.5 as BCQ does:
    /// only the likely middle of the latent space is decoded.
    ///
    /// # Panics
    /// As `sample`, or if there are more or fewer.
    pub fn sample_with(&mut self, states: ArrayView2<'_, Real>, k: usize, noise: &[Real], out: &mut Vec<Real>) {
        let (rows, latent) = (states.nrows(), self.latent());
        assert_eq!(states.ncols(), self.spec.obs, "TransitionVae::sample: columns of the states");
        let tape = self.store.tape_without_history();
        let s = tape.input(states).repeat_rows(k);
        let z = given(tape, rows * k, latent, noise).clamp(-LATENT_BOUND, LATENT_BOUND);
        out.clear();
        let next = s + self.decoder.forward(s.cat(z)) * row(tape, &self.scale);
        next.read(|next| out.extend_from_slice(next));
    }
    // ANCHOR_END: sample
}

fn given<'t>(tape: Tape<'t>, rows: usize, cols: usize, values: &[Real]) -> Var<'t> {
    assert_eq!(values.len(), rows * cols, "TransitionVae: normal numbers for {rows} rows of {cols}");
    tape.fill(Shape::new(1, rows, cols), |out| out.copy_from_slice(values))
}

fn row<'t>(tape: Tape<'t>, values: &[Real]) -> Var<'t> {
    given(tape, 1, values.len(), values)
}

/// Names the parameters, the optimiser and the scale of changes.
impl State for TransitionVae {
    fn visit(&mut self, f: &mut dyn FnMut(&str, Slot<'_>)) {
        under("net", &mut self.store, f);
        under("net_adam", &mut self.adam, f);
        f("scale", Slot::Tensor(&[1, 1, self.spec.obs], &mut self.scale));
    }
}

impl Value for TransitionVaeConfig {
    fn kind() -> Kind {
        Kind::Other
    }

    fn check_in(&self, _: Domain, _: &'static str) -> Result<(), ConfigError> {
        self.check()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use backcast_core::{Source, fingerprint, restore, snapshot};

    /// From (x, y) to (x ± 0.05, 0): small steps of one coordinate, and one that forgets.
    fn dataset() -> Transitions {
        let mut dataset = Transitions::new(Spec::new(2, 1));
        for i in 0..800 {
            let mut x = [0.0; 2];
            Key::new(1).fold(i).uniform(-1.0, 1.0, &mut x);
            let step = if i % 2 == 0 { 0.05 } else { -0.05 };
            dataset.push(&x, &[step], 0.0, &[x[0] + step, 0.0], false);
        }
        dataset
    }

    fn small() -> TransitionVaeConfig {
        TransitionVaeConfig { hidden: vec![32], lr: 3e-3, kl_weight: 0.1, ..TransitionVaeConfig::default() }
    }

    fn train(vae: &mut TransitionVae, steps: std::ops::Range<u64>) {
        let (dataset, mut staging) = (dataset(), Transitions::new(vae.spec));
        for step in steps {
            let key = Key::new(3).fold(step);
            vae.update(dataset.sample(key.name("batch"), 64, &mut staging), key);
        }
    }

    #[test]
    fn it_draws_both_next_states_of_the_dataset() {
        let mut vae = TransitionVae::new(small(), dataset().spec(), Key::new(2)).expect("sound");
        vae.set_scale(&dataset());
        train(&mut vae, 0..1500);
        let (states, mut next) = (ndarray::array![[0.5, -0.8], [-0.4, 0.6]], vec![]);
        vae.sample(states.view(), 300, Key::new(4), &mut next);
        assert_eq!(next.len(), 2 * 300 * 2);
        for (state, next) in states.rows().into_iter().zip(next.chunks(300 * 2)) {
            let steps: Vec<Real> = next.chunks(2).map(|s2| s2[0] - state[0]).collect();
            let forgot = next.chunks(2).all(|s2| s2[1].abs() < 0.15);
            let inside = steps.iter().all(|step| step.abs() < 0.1);
            let [left, right] = [-1.0, 1.0].map(|way| steps.iter().filter(|&&step| step * way > 0.02).count());
            assert!(forgot && inside, "of {state}: {next:?}");
            assert!(left > 60 && right > 60, "of {state}: {left} to the left, {right} to the right");
        }
    }

    #[test]
    fn the_scale_is_that_of_changes_and_a_constant_is_left_alone() {
        let mut vae = TransitionVae::new(small(), Spec::new(2, 1), Key::new(2)).expect("sound");
        assert_eq!(vae.scale, [1.0, 1.0]);
        let mut rows = Transitions::new(Spec::new(2, 1));
        rows.push(&[1.0, 5.0], &[0.0], 0.0, &[4.0, 5.0], false);
        rows.push(&[1.0, 7.0], &[0.0], 0.0, &[5.0, 7.0], false);
        vae.set_scale(&rows);
        assert_eq!(vae.scale, [(12.5 as Real).sqrt(), 1.0]);
    }

    #[test]
    fn cut_in_two_it_gives_the_same_bits() {
        let mut whole = TransitionVae::new(small(), dataset().spec(), Key::new(2)).expect("sound");
        whole.set_scale(&dataset());
        train(&mut whole, 0..5);
        let mut resumed = TransitionVae::new(small(), dataset().spec(), Key::new(9)).expect("sound");
        restore(&mut resumed, &snapshot(&mut whole)).expect("the same shape");
        let ends = [&mut whole, &mut resumed].map(|vae| {
            train(vae, 5..9);
            assert_eq!(vae.steps(), 9);
            fingerprint(vae)
        });
        assert_eq!(ends[0], ends[1]);
    }

    #[test]
    fn every_bad_value_is_named() {
        let bad = |change: fn(&mut TransitionVaeConfig)| {
            let mut config = TransitionVaeConfig::default();
            change(&mut config);
            config.check().expect_err("a bad value").field
        };
        assert_eq!(bad(|c| c.hidden = vec![]), "hidden");
        assert_eq!(bad(|c| c.latent = Some(0)), "latent");
        assert_eq!(bad(|c| c.kl_weight = -1.0), "kl_weight");
        assert_eq!(bad(|c| c.lr = Real::INFINITY), "lr");
    }
}
