use crate::{Init, Real, Shape, Store, Tape, Var};
use backcast_core::{Domain, Key};
use serde::{Deserialize, Serialize};
use std::ops::Range;

/// The function after a layer's sum.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Activation {
    /// x.
    Identity,
    /// max(x, 0).
    Relu,
    /// x where x > 0, x/100 elsewhere.
    LeakyRelu,
    /// tanh x.
    Tanh,
    /// x·sigmoid(x).
    Swish,
}

/// One affine layer of a stack of nets: a handle into a [`Store`].
#[derive(Clone, Copy, Debug)]
pub struct Linear {
    weight: usize,
    bias: usize,
    members: usize,
    inputs: usize,
    outputs: usize,
}

impl Linear {
    /// `members` layers from `inputs` to `outputs`, named `{name}.weight` and `{name}.bias` in the store.
    pub fn new(
        store: &mut Store,
        name: &str,
        inputs: usize,
        outputs: usize,
        members: usize,
        init: Init,
        key: Key,
    ) -> Self {
        let (w, b) = (Shape::new(members, inputs, outputs), Shape::new(members, 1, outputs));
        let weight = store.tensor(&format!("{name}.weight"), w, |out| init.weight(key.name("weight"), w, out));
        let bias = store.tensor(&format!("{name}.bias"), b, |out| init.bias(key.name("bias"), inputs, b, out));
        Self { weight, bias, members, inputs, outputs }
    }

    /// act(x·W + b) of `x`, `[1 or members, rows, inputs]`.
    pub fn forward<'t>(&self, x: Var<'t>, act: Activation) -> Var<'t> {
        let weight = x.tape().param(self.weight, Shape::new(self.members, self.inputs, self.outputs));
        let bias = x.tape().param(self.bias, Shape::new(self.members, 1, self.outputs));
        x.linear(weight, bias, act)
    }

    /// As [`forward`](Linear::forward) through one member alone, `[1, rows, inputs]` to `[1, rows, outputs]`.
    ///
    /// # Panics
    /// If there is no such member.
    pub fn forward_member<'t>(&self, x: Var<'t>, member: usize, act: Activation) -> Var<'t> {
        assert!(member < self.members, "forward_member: {member} of {} members", self.members);
        let weight = self.weight + member * self.inputs * self.outputs;
        let weight = x.tape().param(weight, Shape::new(1, self.inputs, self.outputs));
        let bias = x.tape().param(self.bias + member * self.outputs, Shape::new(1, 1, self.outputs));
        x.linear(weight, bias, act)
    }

    /// As [`forward`](Linear::forward) of `s.repeat_rows(k).cat(a)`, where `a` has `k` rows for each row of `s`: see
    /// [`Mlp::forward_pairs`].
    fn forward_pairs<'t>(&self, s: Var<'t>, a: Var<'t>, act: Activation) -> Var<'t> {
        let weight = s.tape().param(self.weight, Shape::new(self.members, self.inputs, self.outputs));
        let bias = s.tape().param(self.bias, Shape::new(self.members, 1, self.outputs));
        let split = s.shape().cols;
        let share = s.linear(weight.rows(0, split), bias, Activation::Identity);
        a.linear(weight.rows(split, a.shape().cols), share, act)
    }

    /// Where its parameters are in the store.
    pub fn range(&self) -> Range<usize> {
        self.weight..self.bias + self.members * self.outputs
    }

    /// Where its weights are in the store (decay leaves biases alone).
    pub fn weight_range(&self) -> Range<usize> {
        self.weight..self.weight + self.members * self.inputs * self.outputs
    }
}

/// The most layers one [`Mlp`] can have: handles are `Copy`, so their size is fixed.
pub const MAX_LAYERS: usize = 8;

/// What the units of a net's hidden layers may be.
pub const HIDDEN: Domain = Domain::layers(MAX_LAYERS - 1);

/// `members` independent multi-layer perceptrons, evaluated as one stacked product per layer: a `Copy` handle into a [`Store`].
///
/// ```
/// use backcast_core::Key;
/// use backcast_nn::{Activation, Init, Mlp, Store};
/// use ndarray::Array2;
///
/// let mut store = Store::default();
/// // Two critics, [obs + act] → 64 → 64 → 1.
/// let critics = Mlp::new(&mut store, "critic", &[3, 64, 64, 1], 2, Activation::Relu, Init::FanIn, Key::new(0));
/// let x = Array2::zeros((5, 3));
/// let tape = store.tape();
/// let q = critics.forward(tape.input(x.view()));
/// assert_eq!(q.shape().dims(), [2, 5, 1]);
/// assert_eq!(q.min_members().shape().dims(), [1, 5, 1]);
/// ```
#[derive(Clone, Copy, Debug)]
pub struct Mlp {
    layers: [Option<Linear>; MAX_LAYERS],
    hidden: Activation,
    output: Activation,
    layer_norm: bool,
}

impl Mlp {
    /// Layers of sizes `dims[0] → dims[1] → …`, `hidden` after each but the last; layer `i` is named `{name}.{i}`.
    ///
    /// # Panics
    /// If there are fewer than two sizes or more than [`MAX_LAYERS`] layers.
    pub fn new(
        store: &mut Store,
        name: &str,
        dims: &[usize],
        members: usize,
        hidden: Activation,
        init: Init,
        key: Key,
    ) -> Self {
        assert!((2..=MAX_LAYERS + 1).contains(&dims.len()), "Mlp::new: `{name}` has {} sizes", dims.len());
        let mut layers = [None; MAX_LAYERS];
        for (i, (layer, d)) in layers.iter_mut().zip(dims.windows(2)).enumerate() {
            let key = key.name(name).fold(i as u64);
            *layer = Some(Linear::new(store, &format!("{name}.{i}"), d[0], d[1], members, init, key));
        }
        Self { layers, hidden, output: Activation::Identity, layer_norm: false }
    }

    /// The same net with `act` after the last layer.
    pub fn with_output(self, act: Activation) -> Self {
        Self { output: act, ..self }
    }

    /// The same net with [`Var::layer_norm_cols`] between each hidden sum and its activation: it keeps a critic from
    /// extrapolating without bound (Ball et al., arXiv:2302.02948; ReBRAC, arXiv:2305.09836). No learnt scale or shift.
    pub fn with_layer_norm(self, layer_norm: bool) -> Self {
        Self { layer_norm, ..self }
    }

    /// A second net of the same shape with the same parameters, such as a target.
    pub fn duplicate(&self, store: &mut Store, name: &str) -> Self {
        let mut copy = *self;
        for (i, layer) in copy.layers.iter_mut().flatten().enumerate() {
            let (Linear { members, inputs, outputs, .. }, from) = (*layer, layer.range());
            let blank = |_: &mut [Real]| ();
            layer.weight = store.tensor(&format!("{name}.{i}.weight"), Shape::new(members, inputs, outputs), blank);
            layer.bias = store.tensor(&format!("{name}.{i}.bias"), Shape::new(members, 1, outputs), blank);
            store.polyak(layer.range(), from, 1.0);
        }
        copy
    }

    /// The layers in order.
    pub fn layers(&self) -> impl Iterator<Item = &Linear> {
        self.layers.iter().flatten()
    }

    /// The value for `x`, `[1 or members, rows, inputs]`: `[members, rows, outputs]`.
    pub fn forward<'t>(&self, x: Var<'t>) -> Var<'t> {
        self.through(x, |_, layer, x, act| layer.forward(x, act))
    }

    /// As [`forward`](Mlp::forward) with dropout at `rate` after each hidden activation (Srivastava et al. 2014): what is
    /// kept is multiplied by 1/(1 − rate), so that nothing changes on average. A rate of 0 draws nothing.
    pub fn forward_dropping<'t>(&self, x: Var<'t>, rate: Real, key: Key) -> Var<'t> {
        if rate == 0.0 {
            return self.forward(x);
        }
        self.through(x, |i, layer, x, act| {
            let kept = |x: Var<'t>| x * x.tape().mask(x.shape(), 1.0 - rate, key.fold(i as u64)) * (1.0 - rate).recip();
            layer.forward(if i == 0 { x } else { kept(x) }, act)
        })
    }

    /// The value of `k` pairs for each row of `s`, `[1 or members, rows, n]`, with `k` consecutive rows of `a`,
    /// `[1 or members, rows·k, inputs − n]`: `[members, rows·k, outputs]`, equal but for rounding to
    /// `forward(s.repeat_rows(k).cat(a))`.
    ///
    /// The first layer's sum over `s` is taken once per row of `s`, not once per pair, and neither `s` nor the pairs are
    /// written out: what a critic of many sampled actions for each state wants.
    ///
    /// # Panics
    /// If the rows of `a` are not a multiple of the rows of `s`, or their columns together are not the inputs.
    pub fn forward_pairs<'t>(&self, s: Var<'t>, a: Var<'t>) -> Var<'t> {
        let (x, y) = (s.shape(), a.shape());
        let fit = x.cols + y.cols == self.inputs() && x.rows > 0 && y.rows.is_multiple_of(x.rows);
        assert!(fit, "forward_pairs: {x:?} and {y:?} do not fit {} inputs", self.inputs());
        self.through(a, |i, layer, a, act| match i {
            0 => layer.forward_pairs(s, a, act),
            _ => layer.forward(a, act),
        })
    }

    /// The value of one member alone for `x`, `[1, rows, inputs]`: `[1, rows, outputs]`, the same bits as
    /// [`forward`](Mlp::forward) gives for that member.
    ///
    /// # Panics
    /// If there is no such member.
    pub fn forward_member<'t>(&self, x: Var<'t>, member: usize) -> Var<'t> {
        self.through(x, |_, layer, x, act| layer.forward_member(x, member, act))
    }

    /// `forward` is given each layer with its number, what goes into it, and the activation after it. What stands between
    /// two layers is nobody else's.
    fn through<'t>(&self, x: Var<'t>, forward: impl Fn(usize, &Linear, Var<'t>, Activation) -> Var<'t>) -> Var<'t> {
        let (tape, last) = (x.tape(), self.layers().count() - 1);
        self.layers().enumerate().fold(x, |x, (i, layer)| {
            let y = match (i == last, self.layer_norm) {
                (true, _) => forward(i, layer, x, self.output),
                (false, false) => forward(i, layer, x, self.hidden),
                (false, true) => {
                    let sum = forward(i, layer, x, Activation::Identity);
                    let y = sum.layer_norm_cols();
                    tape.pass_on(sum, y);
                    let z = match self.hidden {
                        Activation::Identity => return y,
                        Activation::Relu => y.relu(),
                        Activation::LeakyRelu => y.leaky_relu(),
                        Activation::Tanh => y.tanh(),
                        Activation::Swish => y.swish(),
                    };
                    tape.pass_on(y, z);
                    z
                }
            };
            if i > 0 {
                tape.pass_on(x, y);
            }
            y
        })
    }

    /// Where its parameters are in the store: one range, because layers are made one after another.
    pub fn range(&self) -> Range<usize> {
        let first = self.layers().next().expect("an Mlp has a layer").range().start;
        first..self.layers().last().expect("an Mlp has a layer").range().end
    }

    /// The number of nets side by side.
    pub fn members(&self) -> usize {
        self.layers().next().map_or(0, |l| l.members)
    }

    /// Columns of the input.
    pub fn inputs(&self) -> usize {
        self.layers().next().map_or(0, |l| l.inputs)
    }

    /// Columns of the output.
    pub fn outputs(&self) -> usize {
        self.layers().last().map_or(0, |l| l.outputs)
    }

    /// A copy of one member's parameters.
    pub fn save_member(&self, store: &mut Store, member: usize, saved: &mut Vec<Real>) {
        saved.clear();
        store.member_values(self.range(), member, |values| saved.extend_from_slice(values));
    }

    /// Writes back what [`save_member`](Mlp::save_member) copied.
    ///
    /// # Panics
    /// If `saved` is not one member's parameters.
    pub fn load_member(&self, store: &mut Store, member: usize, saved: &[Real]) {
        assert_eq!(saved.len() * self.members(), self.range().len(), "load_member: not the parameters of one member");
        let mut rest = saved;
        store.member_values(self.range(), member, |values| {
            let (now, later) = rest.split_at(values.len());
            values.copy_from_slice(now);
            rest = later;
        });
    }
}

/// θ̄ ← (1 − τ)·θ̄ + τ·θ for two nets of the same shape.
pub fn polyak(store: &mut Store, target: &Mlp, online: &Mlp, tau: Real) {
    store.polyak(target.range(), online.range(), tau);
}

impl<'t> Tape<'t> {
    /// A vector of the store that is not part of a layer, such as a state-independent log-σ.
    pub fn parameter(self, at: usize, shape: Shape) -> Var<'t> {
        self.param(at, shape)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use approx::abs_diff_eq;
    use ndarray::Array2;

    /// Values and the gradients of everything, for shared and for separate inputs, with and without layer normalisation.
    #[test]
    fn pairs_are_what_repeated_rows_are() {
        for (case, (act, layer_norm)) in [Activation::Relu, Activation::Tanh, Activation::Swish, Activation::Identity]
            .into_iter()
            .flat_map(|a| [(a, false), (a, true)])
            .enumerate()
        {
            for (depth, k) in [(0, 3), (1, 1), (2, 31)] {
                let mut store = Store::default();
                let dims = [&[7][..], &[33, 17][..depth], &[2]].concat();
                let net = Mlp::new(&mut store, "net", &dims, 3, act, Init::FanIn, Key::new(case as u64));
                let net = net.with_layer_norm(layer_norm);
                let (s, a) = (Shape::new(1, 9, 5), Shape::new(3, 9 * k, 2));
                let s_at = store.tensor("s", s, |x| Key::new(1).normal(x));
                let a_at = store.tensor("a", a, |x| Key::new(2).normal(x));
                let mut gradient = vec![0.0; store.len()];
                let [got, want] = [true, false].map(|pairs| {
                    let tape = store.tape();
                    let (s, a) = (tape.parameter(s_at, s), tape.parameter(a_at, a));
                    let y = if pairs { net.forward_pairs(s, a) } else { net.forward(s.repeat_rows(k).cat(a)) };
                    assert_eq!(y.shape().dims(), [3, 9 * k, 2]);
                    let loss = (y * tape.normal(y.shape(), Key::new(3))).sum();
                    tape.grad_params(loss, 0..gradient.len(), &mut gradient);
                    y.read(|y| [y, &gradient].concat())
                });
                for (i, (got, want)) in got.iter().zip(&want).enumerate() {
                    let bound = 400.0 * Real::EPSILON * want.abs().max(1.0);
                    assert!(
                        abs_diff_eq!(got, want, epsilon = bound),
                        "{act:?} {layer_norm} {k}, {i}: {got} is not {want}"
                    );
                }
            }
        }
    }

    #[test]
    #[should_panic(expected = "forward_pairs: [1, 4, 3] and [1, 6, 2] do not fit 5 inputs")]
    fn pairs_that_do_not_fit_are_refused() {
        let mut store = Store::default();
        let net = Mlp::new(&mut store, "net", &[5, 1], 1, Activation::Relu, Init::FanIn, Key::new(1));
        let tape = store.tape();
        net.forward_pairs(tape.normal(Shape::new(1, 4, 3), Key::new(2)), tape.normal(Shape::new(1, 6, 2), Key::new(3)));
    }

    #[test]
    fn dropout_keeps_the_mean_and_masks_every_hidden_layer() {
        let mut store = Store::default();
        let net = Mlp::new(&mut store, "net", &[3, 40, 30, 2], 1, Activation::Identity, Init::FanIn, Key::new(1));
        let tape = store.tape();
        let x = tape.normal(Shape::new(1, 1, 3), Key::new(2));
        let whole = net.forward(x).read(|y| y.to_vec());
        net.forward_dropping(x, 0.0, Key::new(3)).read(|y| assert_eq!(y, whole));
        // Linear throughout, so that the mean over masks is the value without; six standard errors.
        let rows = 20_000;
        let y = net.forward_dropping(x.repeat_rows(rows), 0.25, Key::new(3));
        for (col, whole) in whole.iter().enumerate() {
            let y = y.cols(col, 1).read(|y| y.to_vec());
            let mean = y.iter().sum::<Real>() / rows as Real;
            let std = (y.iter().map(|y| (y - mean).powi(2)).sum::<Real>() / rows as Real).sqrt();
            assert!(
                std > 0.05 && abs_diff_eq!(mean, whole, epsilon = 6.0 * std / (rows as Real).sqrt()),
                "{mean} ± {std}, {whole}"
            );
        }
        // With everything dropped before the last layer its bias is left.
        let mask = |units, kept: Real| crate::Draw { shape: vec![1, 1, units], values: vec![kept; units] };
        let x = crate::Draw { shape: vec![1, 1, 3], values: vec![1.0, -2.0, 0.5] };
        store.arena_mut().set_replay(Some(crate::RecordedDraws::new(vec![x, mask(40, 1.0), mask(30, 0.0)])));
        let tape = store.tape();
        let y =
            net.forward_dropping(tape.normal(Shape::new(1, 1, 3), Key::new(2)), 0.25, Key::new(3)).read(|y| y.to_vec());
        assert_eq!(store.arena_mut().take_replay().expect("a replay").finish(), Ok(()));
        assert_eq!(store.params()[store.len() - 2..], y);
    }

    #[test]
    fn a_member_alone_gives_the_bits_it_gives_in_the_stack() {
        let mut store = Store::default();
        let net = Mlp::new(&mut store, "net", &[5, 33, 17, 3], 4, Activation::Swish, Init::FanIn, Key::new(1));
        let mut x = Array2::zeros((29, 5));
        Key::new(2).normal(x.as_slice_mut().expect("dense"));
        let tape = store.tape();
        let x = tape.input(x.view());
        let together = net.forward(x);
        for member in 0..4 {
            let alone = net.forward_member(x, member);
            assert_eq!(alone.shape().dims(), [1, 29, 3]);
            together.member(member).read(|want| alone.read(|got| assert_eq!(got, want, "member {member}")));
        }
    }
}
