//! A policy whose action is a squashed sample: SAC's, and that of everything built on it.

use crate::blocks::transition::sizes;
use backcast_core::{ConfigError, Key, Real, Spec};
use backcast_nn::{Activation, Gaussian, Init, Mlp, Shape, Store, TanhGaussian, Var};
use ndarray::{ArrayView2, ArrayViewMut2, Axis, Slice};
use std::ops::Range;

/// Bounds of ln σ in the code of SAC's authors, of MOPO, of OSR and of CORL's CQL: −20 is no bound in practice.
pub const LOG_STD_BOUNDS: [Real; 2] = [-20.0, 2.0];

/// Bounds of ln σ in the code of CQL (and so of ROMI), of EDAC and SAC-N, and in OfflineRL-Kit, for COMBO, MOBILE,
/// RAMBO and MCQ: no action is ever surer than σ = e⁻⁵.
pub const NARROW_LOG_STD_BOUNDS: [Real; 2] = [-5.0, 2.0];

/// Whether bounds of ln σ are in order.
///
/// # Errors
/// If the first is the larger.
pub fn check_log_std_bounds(bounds: Option<[Real; 2]>) -> Result<(), ConfigError> {
    let [low, high] = bounds.unwrap_or(LOG_STD_BOUNDS);
    let why = format!("are {low} and {high}; give two numbers, the lower first");
    ConfigError::unless(low <= high, "log_std_bounds", why)
}

// ANCHOR: actor
/// π(a∣s): a = limit·tanh(u),   u ~ N(μ(s), σ(s)²): one net for μ and ln σ
#[derive(Clone, Copy, Debug)]
pub struct Actor {
    /// The net, from observations to μ and ln σ.
    pub net: Mlp,
    /// Bound of actions.
    pub limit: Real,
    /// Bounds of ln σ, low and high.
    pub log_std_bounds: [Real; 2],
}

impl Actor {
    /// A net called `actor` in `store`.
    pub fn new(
        store: &mut Store,
        spec: Spec,
        hidden: &[usize],
        log_std_bounds: [Real; 2],
        key: Key,
    ) -> Self {
        let dims = sizes(spec.obs, hidden, 2 * spec.act);
        let net = Mlp::new(store, "actor", &dims, 1, Activation::Relu, Init::FanIn, key);
        Self { net, limit: spec.act_limit, log_std_bounds }
    }

    /// The distribution of a/limit in the states `s`, `[1, rows, obs]`.
    pub fn at<'t>(&self, s: Var<'t>) -> TanhGaussian<'t> {
        let [low, high] = self.log_std_bounds;
        TanhGaussian { base: Gaussian::from_columns(self.net.forward(s), low, high) }
    }

    /// tanh(μ(s) + σ(s)·ε)·limit, as many actions for each of the states `s`, `[1, rows, obs]`, one after the other, as
    /// `epsilon`, `[1, rows·n, act]`, has rows for it.
    pub fn by_noise<'t>(&self, s: Var<'t>, epsilon: Var<'t>) -> Var<'t> {
        let n = epsilon.shape().rows / s.shape().rows.max(1);
        let Gaussian { mean, log_std } = self.at(s).base.repeat_rows(n);
        (mean + log_std.exp() * epsilon).tanh() * self.limit
    }

    /// Writes limit·tanh μ for each of `obs`, or a sample if there is a key.
    pub fn act(
        &self,
        store: &mut Store,
        obs: ArrayView2<'_, Real>,
        key: Option<Key>,
        act: ArrayViewMut2<'_, Real>,
    ) {
        store.in_tiles(act, |tape, tile| {
            let rows = obs.slice_axis(Axis(0), Slice::from(tile.clone()));
            let pi = self.at(tape.input(rows));
            let sample = |key| pi.base.sample_from(key, tile.start).tanh();
            key.map_or_else(|| pi.mode(), sample) * self.limit
        });
    }
}
// ANCHOR_END: actor

/// π(a∣s) = N(limit·tanh(μ(s)), σ²), σ the same in every state.
#[derive(Clone, Copy, Debug)]
pub struct GaussianActor {
    mean: Mlp,
    log_std: usize,
    limit: Real,
}

impl GaussianActor {
    /// A net called `actor` in `store`, and ln σ = 0 beside it.
    pub fn new(store: &mut Store, spec: Spec, hidden: &[usize], init: Init, key: Key) -> Self {
        let dims = sizes(spec.obs, hidden, spec.act);
        let mean = Mlp::new(store, "actor", &dims, 1, Activation::Relu, init, key)
            .with_output(Activation::Tanh);
        let log_std = store.tensor("actor.log_std", Shape::new(1, 1, spec.act), |x| x.fill(0.0));
        Self { mean, log_std, limit: spec.act_limit }
    }

    /// Where its parameters are in the store.
    pub fn range(&self) -> Range<usize> {
        self.mean.range().start..self.log_std + self.mean.outputs()
    }

    /// The distribution of a in the states `s`, `[1, rows, obs]`.
    pub fn at<'t>(&self, s: Var<'t>) -> Gaussian<'t> {
        self.with_mean(self.mean.forward(s))
    }

    /// The same with a share of the hidden units dropped.
    pub fn dropping<'t>(&self, s: Var<'t>, share: Real, key: Key) -> Gaussian<'t> {
        self.with_mean(self.mean.forward_dropping(s, share, key))
    }

    fn with_mean<'t>(&self, mean: Var<'t>) -> Gaussian<'t> {
        let log_std = mean
            .tape()
            .parameter(self.log_std, Shape::new(1, 1, mean.shape().cols))
            .clamp(-5.0, 2.0);
        Gaussian { mean: mean * self.limit, log_std }
    }
}

/// H̄, the entropy that a temperature holds a policy to: −|A| where nothing else is asked for.
pub fn target_entropy(asked: Option<Real>, spec: Spec) -> Real {
    asked.unwrap_or(-(spec.act as Real))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn actions_by_noise_are_samples_in_the_box() {
        let mut store = Store::default();
        let spec = Spec::new(2, 1).with_act_limit(0.5);
        let actor = Actor::new(&mut store, spec, &[8], LOG_STD_BOUNDS, Key::new(1));
        let tape = store.tape();
        let s = tape.normal(Shape::new(1, 3, 2), Key::new(2));
        let mode = (actor.at(s).mode() * actor.limit).read(<[Real]>::to_vec);
        let a = actor.by_noise(s, tape.fill(Shape::new(1, 6, 1), |x| x.fill(0.0)));
        // Two for each state, one after the other.
        a.read(|a| a.iter().enumerate().for_each(|(i, a)| assert!((a - mode[i / 2]).abs() < 1e-6)));
        let a = actor.by_noise(s, tape.normal(Shape::new(1, 60, 1), Key::new(3)));
        a.read(|a| assert!(a.iter().all(|a| a.abs() <= 0.5) && a[0] != a[1]));
    }

    #[test]
    fn bounds_have_an_order() {
        assert!(check_log_std_bounds(None).is_ok());
        assert!(check_log_std_bounds(Some([1.0, 0.0])).is_err());
    }
}
