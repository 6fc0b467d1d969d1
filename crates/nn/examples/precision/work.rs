//! The updates that are measured: a stack of critics and an ensemble of dynamics models, on synthetic rows.

use crate::reference::{self, Hidden};
use backcast_core::{Key, Normal};
use backcast_nn::{Activation, Adam, Init, Mlp, Precision, Real, Shape, Store, Tape, Var, polyak, soft_clamp};
use ndarray::Array2;

/// Columns of an observation and an action, those of half-cheetah.
pub(crate) const OBS: usize = 17;
pub(crate) const ACT: usize = 6;
/// Log-variances of the ensemble are held in these.
const LOG_VAR: [f64; 2] = [-10.0, 0.5];

pub(crate) fn normal(rows: usize, cols: usize, key: Key) -> Array2<Real> {
    key.array((rows, cols), Normal::default())
}

/// Rows of inputs [s, a] and of what follows, [s′ − s, r]: smooth, nonlinear, with a little noise.
pub(crate) fn rows(n: usize, key: Key) -> (Array2<Real>, Array2<Real>) {
    let x = normal(n, OBS + ACT, key.name("x"));
    // The same environment whatever the key of the rows.
    let mix = normal(OBS + ACT, OBS + 1, Key::new(17).name("mix")) * 0.3;
    let noise = normal(n, OBS + 1, key.name("noise")) * 0.05;
    let y = x.dot(&mix).mapv(Real::sin) + noise;
    (x, y)
}

/// A net, its optimiser and its store.
pub(crate) struct Work {
    pub(crate) store: Store,
    pub(crate) net: Mlp,
    pub(crate) targets: Option<Mlp>,
    pub(crate) adam: Adam,
    hidden: Hidden,
}

impl Work {
    /// `members` critics of `layers` layers of 256, with targets if `bootstraps`.
    pub(crate) fn critics(members: usize, layers: usize, bootstraps: bool, precision: Precision, key: Key) -> Self {
        let mut store = Store::default();
        store.arena_mut().set_precision(precision);
        let dims: Vec<usize> = [OBS + ACT].into_iter().chain(vec![256; layers]).chain([1]).collect();
        let net = Mlp::new(&mut store, "critics", &dims, members, Activation::Relu, Init::FanIn, key);
        let targets = bootstraps.then(|| net.duplicate(&mut store, "targets"));
        Self { store, net, targets, adam: Adam::new(net.range(), 3e-4), hidden: Hidden::Relu }
    }

    /// Seven members of four layers of 200, as MOPO's.
    pub(crate) fn ensemble(precision: Precision, key: Key) -> Self {
        let mut store = Store::default();
        store.arena_mut().set_precision(precision);
        let dims = [OBS + ACT, 200, 200, 200, 200, 2 * (OBS + 1)];
        let net = Mlp::new(&mut store, "ensemble", &dims, 7, Activation::Swish, Init::TruncatedNormal, key);
        Self { store, net, targets: None, adam: Adam::new(net.range(), 1e-3), hidden: Hidden::Swish }
    }

    fn is_ensemble(&self) -> bool {
        matches!(self.hidden, Hidden::Swish)
    }

    /// The loss of the net on a tape: squared error of every critic, or the likelihood of every member.
    pub(crate) fn loss<'t>(net: Mlp, ensemble: bool, tape: Tape<'t>, x: &Array2<Real>, y: &Array2<Real>) -> Var<'t> {
        let (output, y) = (net.forward(tape.input(x.view())), tape.input(y.view()));
        let cells = 1.0 / (y.shape().rows * y.shape().cols) as Real;
        if !ensemble {
            return (output - y).square().sum() * cells;
        }
        let [low, high] = LOG_VAR.map(|b| tape.fill(Shape::new(1, 1, OBS + 1), |out| out.fill(b as Real)));
        let log_var = soft_clamp(output.cols(OBS + 1, OBS + 1), low, high);
        let error = (output.cols(0, OBS + 1) - y).square();
        (error * (-log_var).exp() + log_var).sum() * cells
    }

    /// One step on the loss.
    pub(crate) fn step(&mut self, x: &Array2<Real>, y: &Array2<Real>) -> Real {
        let (net, ensemble) = (self.net, self.is_ensemble());
        self.adam.minimise(&mut self.store, |tape| Self::loss(net, ensemble, tape, x, y))
    }

    /// One step of critics towards r + 0.9·min Q̄(s′, a′), and of their targets towards them.
    pub(crate) fn bootstrap(&mut self, x: &Array2<Real>, reward: &Array2<Real>, next: &Array2<Real>) {
        let (net, targets) = (self.net, self.targets.expect("critics with targets"));
        self.adam.minimise(&mut self.store, |tape| {
            let target = tape.no_grad(|tape| {
                let value = targets.forward(tape.input(next.view())).min_members();
                tape.input(reward.view()) + value * 0.9
            });
            (net.forward(tape.input(x.view())) - target).square().mean()
        });
        polyak(&mut self.store, &targets, &net, 0.005);
    }

    /// The loss and its gradient, not stepping.
    pub(crate) fn gradient(&mut self, x: &Array2<Real>, y: &Array2<Real>) -> (f64, Vec<f64>) {
        let (net, ensemble) = (self.net, self.is_ensemble());
        let mut g = vec![0.0; net.range().len()];
        let tape = self.store.tape();
        let loss = Self::loss(net, ensemble, tape, x, y);
        tape.grad_params(loss, net.range(), &mut g);
        (loss.item() as f64, g.into_iter().map(|v| v as f64).collect())
    }

    /// The same in double precision by hand.
    pub(crate) fn reference(&self, x: &Array2<Real>, y: &Array2<Real>) -> (f64, Vec<f64>) {
        let mut g = vec![0.0; self.net.range().len()];
        let [x, y] = [x, y].map(|v| v.mapv(|v| v as f64));
        let loss = |output: &Array2<f64>| match self.hidden {
            Hidden::Relu => reference::squares(output, &y),
            Hidden::Swish => reference::likelihood(output, &y, LOG_VAR),
        };
        let one = |e| reference::member(&self.net, self.store.params(), (e, self.hidden), &x, loss, &mut g);
        ((0..self.net.members()).map(one).sum(), g)
    }

    /// The loss on other rows, per member.
    pub(crate) fn held_out(&mut self, x: &Array2<Real>, y: &Array2<Real>) -> f64 {
        let (net, ensemble) = (self.net, self.is_ensemble());
        Self::loss(net, ensemble, self.store.tape(), x, y).item() as f64 / net.members() as f64
    }

    /// The outputs for `x`, alone: what a rollout asks of the model.
    pub(crate) fn predict(&mut self, x: &Array2<Real>) -> Real {
        let net = self.net;
        let tape = self.store.tape();
        tape.no_grad(|tape| net.forward(tape.input(x.view()))).read(|y| y[0])
    }
}
