use backcast_core::{
    Batch, COUNT, ConfigError, Key, Metrics, NON_NEGATIVE, POSITIVE, Real, Slot, Spec, State, hyperparameters, under,
};
use backcast_nn::{Activation, Adam, Gaussian, HIDDEN, Init, LATENT_BOUND, Mlp, Shape, Store, Tape, Var};
use ndarray::ArrayView2;

/// ln σ of actions is held in this range.
const LOG_STD: (Real, Real) = (-5.0, 2.0);
/// ln σ of the latent, as in BCQ's code.
const LATENT_LOG_STD: (Real, Real) = (-4.0, 15.0);

hyperparameters! {
    /// The conditional VAE of actions between two states, with the sizes of the code released for OSR (Jiang, Yao & Tan, NeurIPS 2023).
    pub struct InverseVaeConfig {
        /// Sizes of the hidden layers of the encoder.
        encoder_hidden: Vec<usize> = vec![256; 3], HIDDEN;
        /// Sizes of the hidden layers of the decoder.
        decoder_hidden: Vec<usize> = vec![256; 2], HIDDEN;
        /// Columns of the latent.
        latent: usize = 32, COUNT;
        /// Coefficient of the KL divergence, which is averaged over latent dimensions, not summed.
        kl_weight: Real = 0.5, NON_NEGATIVE;
        /// α of Adam.
        lr: Real = 1e-4, POSITIVE;
        /// Whether the encoder sees the action, q(z ∣ s, s′, a), as a VAE's does. Then z ~ N(0, 1), held in ±0.5, when it is asked. The
        /// released code's does not: its encoder is asked for z too, and so is a part of the model, pulled towards N(0, 1).
        encode_action: bool = true;
        /// Whether ln σ = m − 1 of the action's own mean m: a slip of the released code, which takes the wrong half of the decoder's output
        /// and its offset of −1. To compare with it, and for nothing else.
        log_std_of_mean: bool = false;
    }
}

/// I(a ∣ s, s′): what was done to come from *s* to *s′*, as a Gaussian of *u*, a = limit·tanh(u), whose mean and deviation a latent *z* and
/// the two states give.
///
/// The loss is MSE(tanh(m + σ·ε), a/limit) + kl_weight·KL(q(z) ∥ N(0, 1)). A squared error has no use for noise, so σ falls to its bound
/// wherever the states tell the action; a likelihood would learn it. States are taken as they are.
///
/// ```
/// use approx::assert_abs_diff_eq;
/// use backcast_core::{Transitions, Key, Source, Spec};
/// use backcast_dynamics::{InverseVae, InverseVaeConfig};
///
/// // On a line an action is a step.
/// let mut dataset = Transitions::new(Spec::new(1, 1));
/// let mut x = vec![0.0; 2 * 1000];
/// Key::new(1).uniform(-0.9, 0.9, &mut x);
/// x.chunks_exact(2).for_each(|x| dataset.push(&x[..1], &x[1..], 0.0, &[x[0] + x[1]], false));
///
/// let config = InverseVaeConfig {
///     encoder_hidden: vec![32], decoder_hidden: vec![32], latent: 2, lr: 3e-3, ..Default::default()
/// };
/// let mut inverse = InverseVae::new(config, dataset.spec(), Key::new(2))?;
/// let mut staging = Transitions::new(dataset.spec());
/// for step in 0..600 {
///     let key = Key::new(3).fold(step);
///     inverse.update(dataset.sample(key.name("batch"), 64, &mut staging), key);
/// }
/// // What led from 0.1 to 0.6?
/// let (s, s2) = (ndarray::array![[0.1]], ndarray::array![[0.6]]);
/// let (mut mean, mut log_std) = (vec![], vec![]);
/// inverse.predict(s.view(), s2.view(), Key::new(4), &mut mean, &mut log_std);
/// assert_abs_diff_eq!(mean[0].tanh(), 0.5, epsilon = 0.1);
/// # Ok::<(), backcast_core::ConfigError>(())
/// ```
#[derive(Debug)]
pub struct InverseVae {
    config: InverseVaeConfig,
    spec: Spec,
    store: Store,
    encoder: Mlp,
    decoder: Mlp,
    adam: Adam,
    /// Normal numbers of the latent and of the action.
    noise: [Vec<Real>; 2],
}

impl InverseVae {
    /// A VAE that knows nothing yet, its parameters drawn by `key`.
    ///
    /// # Errors
    /// If the configuration makes no sense.
    pub fn new(config: InverseVaeConfig, spec: Spec, key: Key) -> Result<Self, ConfigError> {
        config.check()?;
        let mut store = Store::default();
        let mut net = |name: &str, first: usize, hidden: &[usize], last: usize| {
            let dims = [&[first], hidden, &[last]].concat();
            Mlp::new(&mut store, name, &dims, 1, Activation::Relu, Init::FanIn, key)
        };
        let seen = 2 * spec.obs + if config.encode_action { spec.act } else { 0 };
        let encoder = net("encoder", seen, &config.encoder_hidden, 2 * config.latent);
        let decoder = net("decoder", 2 * spec.obs + config.latent, &config.decoder_hidden, 2 * spec.act);
        let adam = Adam::new(encoder.range().start..decoder.range().end, config.lr);
        Ok(Self { config, spec, store, encoder, decoder, adam, noise: Default::default() })
    }

    /// The configuration it was made with.
    pub fn config(&self) -> &InverseVaeConfig {
        &self.config
    }

    /// Steps taken so far.
    pub fn steps(&self) -> u64 {
        self.adam.steps()
    }

    /// One step on one batch, of observations and actions as they are. Metrics: `loss`.
    pub fn update(&mut self, batch: Batch<'_>, key: Key) -> Metrics {
        let [mut latent, mut action] = std::mem::take(&mut self.noise);
        latent.resize(batch.len() * self.config.latent, 0.0);
        action.resize(batch.len() * self.spec.act, 0.0);
        key.name("latent").normal(&mut latent);
        key.name("action").normal(&mut action);
        let loss = self.update_with(batch, &latent, &action);
        self.noise = [latent, action];
        Metrics::from([("loss", loss)])
    }

    // ANCHOR: update
    /// As [`update`](InverseVae::update) with normal numbers from outside, `[rows, latent]` for z and `[rows, act]` for the action.
    /// Returns the loss.
    ///
    /// # Panics
    /// If there are more or fewer.
    pub fn update_with(&mut self, batch: Batch<'_>, latent: &[Real], action: &[Real]) -> Real {
        let (encoder, decoder, config, Spec { act, act_limit: limit, .. }) =
            (self.encoder, self.decoder, &self.config, self.spec);
        self.adam.minimise(&mut self.store, |tape| {
            let states = tape.input(batch.obs).cat(tape.input(batch.next_obs));
            let a = tape.input(batch.act) * limit.recip();
            let q = latent_of(encoder, if config.encode_action { states.cat(a) } else { states });
            let z = q.mean + q.log_std.exp() * given(tape, batch.len(), config.latent, latent);
            let u = action_of(decoder, states, z, config);
            let drawn = (u.mean + u.log_std.exp() * given(tape, batch.len(), act, action)).tanh();
            (drawn - a).square().mean() + q.kl_to_standard().mean() * config.kl_weight
        })
    }
    // ANCHOR_END: update

    /// Mean and ln σ of *u*, `[rows, act]` each, for every pair of rows of `s` and `s2`, `[rows, obs]`; z is drawn by `key`.
    ///
    /// # Panics
    /// If the shapes do not fit.
    pub fn predict(
        &mut self,
        s: ArrayView2<'_, Real>,
        s2: ArrayView2<'_, Real>,
        key: Key,
        mean: &mut Vec<Real>,
        log_std: &mut Vec<Real>,
    ) {
        let mut latent = std::mem::take(&mut self.noise[0]);
        latent.resize(s.nrows() * self.config.latent, 0.0);
        key.normal(&mut latent);
        self.predict_with(s, s2, &latent, mean, log_std);
        self.noise[0] = latent;
    }

    // ANCHOR: predict
    /// As [`predict`](InverseVae::predict) with normal numbers from outside, `[rows, latent]`.
    ///
    /// # Panics
    /// As `predict`, or if there are more or fewer.
    pub fn predict_with(
        &mut self,
        s: ArrayView2<'_, Real>,
        s2: ArrayView2<'_, Real>,
        latent: &[Real],
        mean: &mut Vec<Real>,
        log_std: &mut Vec<Real>,
    ) {
        let tape = self.store.tape_without_history();
        let states = tape.input(s).cat(tape.input(s2));
        let noise = given(tape, s.nrows(), self.config.latent, latent);
        let z = match self.config.encode_action {
            true => noise.clamp(-LATENT_BOUND, LATENT_BOUND),
            false => {
                let q = latent_of(self.encoder, states);
                q.mean + q.log_std.exp() * noise
            }
        };
        let u = action_of(self.decoder, states, z, &self.config);
        for (x, out) in [(u.mean, mean), (u.log_std, log_std)] {
            out.clear();
            x.read(|x| out.extend_from_slice(x));
        }
    }
    // ANCHOR_END: predict
}

fn given<'t>(tape: Tape<'t>, rows: usize, cols: usize, values: &[Real]) -> Var<'t> {
    assert_eq!(values.len(), rows * cols, "InverseVae: normal numbers for {rows} rows of {cols}");
    tape.fill(Shape::new(1, rows, cols), |out| out.copy_from_slice(values))
}

fn latent_of<'t>(encoder: Mlp, seen: Var<'t>) -> Gaussian<'t> {
    Gaussian::from_columns(encoder.forward(seen), LATENT_LOG_STD.0, LATENT_LOG_STD.1)
}

fn action_of<'t>(decoder: Mlp, states: Var<'t>, z: Var<'t>, config: &InverseVaeConfig) -> Gaussian<'t> {
    let output = decoder.forward(states.cat(z));
    let u = Gaussian::from_columns(output, LOG_STD.0, LOG_STD.1);
    match config.log_std_of_mean {
        true => Gaussian { log_std: (u.mean - 1.0).clamp(LOG_STD.0, LOG_STD.1), ..u },
        false => u,
    }
}

/// Names the parameters and the optimiser.
impl State for InverseVae {
    fn visit(&mut self, f: &mut dyn FnMut(&str, Slot<'_>)) {
        self.store.visit(f);
        under("adam", &mut self.adam, f);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use approx::abs_diff_eq;
    use backcast_core::{Source, Transitions, fingerprint, restore, snapshot};

    const SPEC: Spec = Spec::new(2, 1).with_act_limit(2.0);

    /// A step of the first coordinate; the second is noise.
    fn dataset() -> Transitions {
        let mut dataset = Transitions::new(SPEC);
        let mut x = vec![0.0; 4 * 800];
        Key::new(1).uniform(-1.0, 1.0, &mut x);
        x.chunks_exact(4).for_each(|x| dataset.push(&x[..2], &[1.8 * x[2]], 0.0, &[x[0] + x[2], x[3]], false));
        dataset
    }

    fn small() -> InverseVaeConfig {
        InverseVaeConfig {
            encoder_hidden: vec![32],
            decoder_hidden: vec![32],
            latent: 2,
            lr: 3e-3,
            ..InverseVaeConfig::default()
        }
    }

    fn trained(config: InverseVaeConfig, from: &mut InverseVae, steps: std::ops::Range<u64>) -> Real {
        let (dataset, mut staging) = (dataset(), Transitions::new(SPEC));
        assert_eq!(from.config(), &config);
        let steps = steps.map(|step| {
            let key = Key::new(3).fold(step);
            from.update(dataset.sample(key.name("batch"), 64, &mut staging), key).get("loss").expect("a loss")
        });
        steps.last().expect("a step")
    }

    /// The root mean square distance of limit·tanh(m) from what was done.
    fn error(inverse: &mut InverseVae) -> Real {
        let (dataset, mut mean, mut log_std) = (dataset(), vec![], vec![]);
        let batch = dataset.batch();
        inverse.predict(batch.obs, batch.next_obs, Key::new(5), &mut mean, &mut log_std);
        assert!(log_std.iter().all(|l| (LOG_STD.0..=LOG_STD.1).contains(l)));
        let square = |(m, a): (&Real, &Real)| (2.0 * m.tanh() - a).powi(2);
        (mean.iter().zip(batch.act).map(square).sum::<Real>() / dataset.len() as Real).sqrt()
    }

    #[test]
    fn both_encoders_learn_what_was_done() {
        for encode_action in [true, false] {
            let config = InverseVaeConfig { encode_action, ..small() };
            let mut inverse = InverseVae::new(config.clone(), SPEC, Key::new(2)).expect("sound");
            let before = error(&mut inverse);
            trained(config, &mut inverse, 0..800);
            let after = error(&mut inverse);
            assert!(before > 0.8 && after < 0.25, "{encode_action}: {before} before, {after} after");
        }
    }

    #[test]
    fn the_slip_makes_the_deviation_a_function_of_the_mean() {
        let (dataset, mut mean, mut log_std) = (dataset(), vec![], vec![]);
        for log_std_of_mean in [true, false] {
            let config = InverseVaeConfig { log_std_of_mean, ..small() };
            let mut inverse = InverseVae::new(config, SPEC, Key::new(2)).expect("sound");
            let batch = dataset.batch();
            inverse.predict(batch.obs, batch.next_obs, Key::new(5), &mut mean, &mut log_std);
            let same = mean.iter().zip(&log_std).all(|(m, l)| abs_diff_eq!(*m, 1.0 + l, epsilon = 1e-6));
            assert_eq!(same, log_std_of_mean);
        }
    }

    #[test]
    fn cut_in_two_it_gives_the_same_bits() {
        let mut whole = InverseVae::new(small(), SPEC, Key::new(2)).expect("sound");
        trained(small(), &mut whole, 0..5);
        let mut resumed = InverseVae::new(small(), SPEC, Key::new(9)).expect("sound");
        restore(&mut resumed, &snapshot(&mut whole)).expect("the same shape");
        let ends = [&mut whole, &mut resumed].map(|vae| {
            trained(small(), vae, 5..9);
            assert_eq!(vae.steps(), 9);
            fingerprint(vae)
        });
        assert_eq!(ends[0], ends[1]);
    }

    #[test]
    fn every_bad_value_is_named() {
        let bad = |change: fn(&mut InverseVaeConfig)| {
            let mut config = InverseVaeConfig::default();
            change(&mut config);
            config.check().expect_err("a bad value").field
        };
        assert_eq!(bad(|c| c.encoder_hidden = vec![]), "encoder_hidden");
        assert_eq!(bad(|c| c.decoder_hidden = vec![8, 0]), "decoder_hidden");
        assert_eq!(bad(|c| c.latent = 0), "latent");
        assert_eq!(bad(|c| c.kl_weight = Real::NAN), "kl_weight");
        assert_eq!(bad(|c| c.lr = 0.0), "lr");
    }
}
