//! The policy of NPG, and how it moves with its parameters.

use super::{Config, Npg};
use crate::blocks::transition::sizes;
use backcast_core::{Key, Policy, Real, Spec};
use backcast_nn::{Activation, Gaussian, Init, Mlp, Shape, Store, Var};
use ndarray::{ArrayView2, ArrayViewMut2};
use std::ops::Range;

/// (1)  π(u∣s) = N(μ(s), σ²), actions in units of their limit: a net for μ, and ln σ beside it.
pub(super) struct Actor {
    pub(super) net: Mlp,
    /// Widths of its layers, the observation's first.
    pub(super) dims: Vec<usize>,
    /// Where ln σ is in the store.
    pub(super) log_std: usize,
    pub(super) limit: Real,
}

impl Actor {
    pub(super) fn new(store: &mut Store, spec: Spec, config: &Config, key: Key) -> Self {
        let dims = sizes(spec.obs, &config.hidden, spec.act);
        let net = Mlp::new(store, "actor", &dims, 1, Activation::Tanh, Init::FanIn, key);
        let last = net.layers().last().expect("a net has a layer").range();
        store.params_mut()[last].iter_mut().for_each(|x| *x *= 0.01);
        let log_std =
            store.tensor("log_std", Shape::new(1, 1, spec.act), |x| x.fill(config.log_std));
        Self { net, dims, log_std, limit: spec.act_limit }
    }

    pub(super) fn acts(&self) -> usize {
        *self.dims.last().expect("a net has a size")
    }

    /// Where φ is in the store: the net's parameters, then ln σ.
    pub(super) fn range(&self) -> Range<usize> {
        self.net.range().start..self.log_std + self.acts()
    }

    pub(super) fn at<'t>(&self, s: Var<'t>) -> Gaussian<'t> {
        let log_std = s.tape().parameter(self.log_std, Shape::new(1, 1, self.acts()));
        Gaussian { mean: self.net.forward(s), log_std }
    }

    // ANCHOR: tangent
    /// μ(s), and J·v beside it. With x the input of a layer and ẋ how it moves with φ along v, x·W + b moves by
    /// x·Ẇ + ḃ + ẋ·W, and tanh by (1 − tanh²) times that.
    pub(super) fn tangent<'t>(&self, s: Var<'t>, v: &[Real]) -> [Var<'t>; 2] {
        let tape = s.tape();
        let first = self.net.range().start;
        let last = self.dims.len() - 2;
        let mut x = s;
        let mut dot = None::<Var<'t>>;
        for (i, (layer, d)) in self.net.layers().zip(self.dims.windows(2)).enumerate() {
            let weights = layer.weight_range();
            let biases = weights.end..layer.range().end;
            let weight = Shape::new(1, d[0], d[1]);
            let part = |at: &Range<usize>, shape| {
                let part = &v[at.start - first..at.end - first];
                tape.fill(shape, |out| out.copy_from_slice(part))
            };
            let dw = part(&weights, weight);
            let db = part(&biases, Shape::new(1, 1, d[1]));
            let along = x.matmul(dw, false, false) + db;
            let along = dot.map_or(along, |dot| {
                along + dot.matmul(tape.parameter(weights.start, weight), false, false)
            });
            x = layer.forward(x, if i == last { Activation::Identity } else { Activation::Tanh });
            dot = Some(if i == last { along } else { along * (-x.square() + 1.0) });
        }
        [x, dot.expect("a net has a layer")]
    }
    // ANCHOR_END: tangent
}

/// Acts with μ, or, given a key, with a sample; clipped to the box either way.
impl Policy for Npg {
    fn spec(&self) -> Spec {
        self.paths.rows.spec()
    }

    fn act(&mut self, obs: ArrayView2<'_, Real>, key: Option<Key>, act: ArrayViewMut2<'_, Real>) {
        let pi = self.actor.at(self.store.tape().input(obs));
        let u = key.map_or(pi.mean, |key| pi.sample(key));
        (u.clamp(-1.0, 1.0) * self.actor.limit).write_to(act);
    }
}
