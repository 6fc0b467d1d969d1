use crate::{Activation, Gaussian, Init, Mlp, Real, Shape, Store, Var, clipped_normal};
use backcast_core::Key;
use std::ops::Range;

/// The bound that BCQ and ROMI hold z in when sampling: only the likely middle of the latent space is decoded.
pub const LATENT_BOUND: Real = 0.5;

/// A conditional variational auto-encoder p(x ∣ c) with a Gaussian latent (Kingma & Welling, arXiv:1312.6114; Sohn et al. 2015):
/// the behaviour model of BCQ and the reverse policy of ROMI.
///
/// Encoder (c, x) → (μ, ln σ) of z; decoder (c, z) → limit·tanh(·). A `Copy` handle into a [`Store`].
#[derive(Clone, Copy, Debug)]
pub struct Vae {
    encoder: Mlp,
    decoder: Mlp,
    latent: usize,
    limit: Real,
}

/// What one pass through a [`Vae`] gives.
#[derive(Clone, Copy)]
pub struct VaeOutput<'t> {
    /// x̂, `[1, rows, target]`.
    pub reconstruction: Var<'t>,
    /// q(z ∣ c, x).
    pub posterior: Gaussian<'t>,
}

impl Vae {
    /// A VAE of `target` columns in ±`limit` given `condition` columns, with the sizes of the hidden layers.
    #[expect(clippy::too_many_arguments, reason = "a constructor names every size")]
    pub fn new(
        store: &mut Store,
        name: &str,
        condition: usize,
        target: usize,
        latent: usize,
        hidden: &[usize],
        limit: Real,
        key: Key,
    ) -> Self {
        let sizes = |first: usize, last: usize| [&[first], hidden, &[last]].concat();
        let mut net = |part: &str, dims: Vec<usize>| {
            Mlp::new(store, &format!("{name}.{part}"), &dims, 1, Activation::Relu, Init::FanIn, key)
        };
        let encoder = net("encoder", sizes(condition + target, 2 * latent));
        let decoder = net("decoder", sizes(condition + latent, target)).with_output(Activation::Tanh);
        Self { encoder, decoder, latent, limit }
    }

    /// Encodes `x`, draws z by `key`, decodes.
    pub fn forward<'t>(&self, condition: Var<'t>, x: Var<'t>, key: Key) -> VaeOutput<'t> {
        // ln σ held in [−4, 15], as in BCQ's code.
        let posterior = Gaussian::from_columns(self.encoder.forward(condition.cat(x)), -4.0, 15.0);
        VaeOutput { reconstruction: self.decode(condition, posterior.sample(key)), posterior }
    }

    /// limit·tanh(decoder(c, z)), `[1, rows, target]`.
    pub fn decode<'t>(&self, condition: Var<'t>, z: Var<'t>) -> Var<'t> {
        let y = self.decoder.forward(condition.cat(z));
        if self.limit == 1.0 { y } else { y * self.limit }
    }

    /// decoder(c, z) before its tanh, `[1, rows, target]`.
    pub fn decode_pre_tanh<'t>(&self, condition: Var<'t>, z: Var<'t>) -> Var<'t> {
        self.decoder.with_output(Activation::Identity).forward(condition.cat(z))
    }

    /// A sample of p(x ∣ c): z drawn by `key` and held in ±0.5, as BCQ and ROMI do.
    pub fn sample<'t>(&self, condition: Var<'t>, key: Key) -> Var<'t> {
        let shape = Shape::new(1, condition.shape().rows, self.latent);
        self.decode(condition, clipped_normal(condition.tape(), shape, key, LATENT_BOUND))
    }

    /// MSE(x̂, x) + `kl_weight`·KL, the first averaged over rows and columns, the second over rows **and latent
    /// dimensions**, as in the code of BCQ and ROMI: far weaker than the textbook's sum.
    pub fn loss<'t>(&self, condition: Var<'t>, x: Var<'t>, kl_weight: Real, key: Key) -> Var<'t> {
        let out = self.forward(condition, x, key);
        (out.reconstruction - x).square().mean() + out.posterior.kl_to_standard().mean() * kl_weight
    }

    /// Where its parameters are in the store.
    pub fn range(&self) -> Range<usize> {
        self.encoder.range().start..self.decoder.range().end
    }

    /// Columns of z.
    pub fn latent(&self) -> usize {
        self.latent
    }
}
