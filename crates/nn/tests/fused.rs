//! Every fused operation equals a composition of simpler ones: value, gradient, and gradient of a gradient.
#![cfg_attr(feature = "f64", allow(clippy::unnecessary_cast, reason = "`as f64` does something in single precision"))]

use approx::{abs_diff_eq, assert_abs_diff_eq};
use backcast_core::Key;
use backcast_nn::{Activation, Gaussian, Real, Shape, Store, TanhGaussian, Var, expectile_loss, soft_clamp};

type F = for<'t> fn(&[Var<'t>]) -> Var<'t>;

/// The shapes, how the numbers are drawn, the fused form and the composed one.
struct Pair {
    name: &'static str,
    shapes: Vec<Shape>,
    /// Numbers in 0.3 … 3 instead of normal ones.
    positive: bool,
    fused: F,
    composed: F,
}

fn normal(name: &'static str, shapes: &[[usize; 3]], fused: F, composed: F) -> Pair {
    let shapes = shapes.iter().map(|&[e, r, c]| Shape::new(e, r, c)).collect();
    Pair { name, shapes, positive: false, fused, composed }
}

fn positive(name: &'static str, shapes: &[[usize; 3]], fused: F, composed: F) -> Pair {
    Pair { positive: true, ..normal(name, shapes, fused, composed) }
}

/// A matrix of zeros and ones from outside: what moves columns or rows about can be written as a product with it.
fn selection<'t>(x: Var<'t>, rows: usize, cols: usize, one: impl Fn(usize, usize) -> bool) -> Var<'t> {
    x.tape().fill(Shape::new(1, rows, cols), |out| {
        out.iter_mut().enumerate().for_each(|(i, v)| *v = one(i / cols, i % cols) as u8 as Real);
    })
}

/// Row `i` of the 3 by 3 unit matrix.
fn unit_row(x: Var<'_>, i: usize) -> Var<'_> {
    selection(x, 1, 3, |_, j| i == j)
}

fn affine<'t>(x: &[Var<'t>]) -> Var<'t> {
    x[0].matmul(x[1], false, false) + x[2]
}

fn tanh(x: Var<'_>) -> Var<'_> {
    let e = (x * 2.0).exp();
    (e - 1.0) / (e + 1.0)
}

fn sigmoid(x: Var<'_>) -> Var<'_> {
    ((-x).exp() + 1.0).recip()
}

fn relu(x: Var<'_>) -> Var<'_> {
    x * x.step()
}

fn leaky(x: Var<'_>) -> Var<'_> {
    x * (x.step() * 0.99 + 0.01)
}

fn softplus(x: Var<'_>) -> Var<'_> {
    (x.exp() + 1.0).ln()
}

/// ln N(x; μ, σ²) with σ written out.
fn log_density<'t>(x: Var<'t>, mean: Var<'t>, log_std: Var<'t>) -> Var<'t> {
    let std = log_std.exp();
    let z = (x - mean) / std;
    let half_ln_tau = (2.0 * std::f64::consts::PI).ln() as Real / 2.0;
    (z * z * -0.5 - std.ln() - half_ln_tau).sum_cols()
}

fn layer_norm(x: Var<'_>) -> Var<'_> {
    let centred = x - x.mean_cols();
    centred / (centred.square().mean_cols() + 1e-5).sqrt()
}

fn pairs() -> Vec<Pair> {
    // Past the pieces of 64 and 256 numbers that kernels work in.
    let (small, wide) = ([2, 3, 5], [2, 3, 141]);
    let layer = [[1, 5, 3], [2, 3, 131], [2, 1, 131]];
    vec![
        normal("layer norm", &[small], |x| x[0].layer_norm_cols(), |x| layer_norm(x[0])),
        normal("layer norm of wide rows", &[wide], |x| x[0].layer_norm_cols(), |x| layer_norm(x[0])),
        normal("linear, identity", &layer, |x| x[0].linear(x[1], x[2], Activation::Identity), affine),
        normal("linear, relu", &layer, |x| x[0].linear(x[1], x[2], Activation::Relu), |x| relu(affine(x))),
        normal(
            "linear, relu, a row of bias for every three rows",
            &[[1, 6, 3], [2, 3, 131], [2, 2, 131]],
            |x| x[0].linear(x[1], x[2], Activation::Relu),
            |x| relu(x[0].matmul(x[1], false, false) + x[2].repeat_rows(3)),
        ),
        normal("linear, leaky relu", &layer, |x| x[0].linear(x[1], x[2], Activation::LeakyRelu), |x| leaky(affine(x))),
        normal("linear, tanh", &layer, |x| x[0].linear(x[1], x[2], Activation::Tanh), |x| tanh(affine(x))),
        normal(
            "linear, swish",
            &layer,
            |x| x[0].linear(x[1], x[2], Activation::Swish),
            |x| {
                let y = affine(x);
                y * sigmoid(y)
            },
        ),
        normal("relu", &[wide], |x| x[0].relu(), |x| relu(x[0])),
        normal("leaky relu", &[wide], |x| x[0].leaky_relu(), |x| leaky(x[0])),
        normal("tanh", &[wide], |x| x[0].tanh(), |x| tanh(x[0])),
        normal("swish", &[wide], |x| x[0].swish(), |x| x[0] * sigmoid(x[0])),
        normal("sigmoid", &[wide], |x| x[0].sigmoid(), |x| sigmoid(x[0])),
        normal("softplus", &[wide], |x| x[0].softplus(), |x| softplus(x[0])),
        normal("square", &[wide], |x| x[0].square(), |x| x[0] * x[0]),
        normal("abs", &[wide], |x| x[0].abs(), |x| x[0].max(-x[0])),
        normal(
            "clamp",
            &[wide],
            |x| x[0].clamp(-0.3, 0.7),
            |x| {
                let bound = |k| x[0].tape().scalar(k);
                x[0].max(bound(-0.3)).min(bound(0.7))
            },
        ),
        normal("max", &[wide, wide], |x| x[0].max(x[1]), |x| relu(x[0] - x[1]) + x[1]),
        normal("min", &[wide, wide], |x| x[0].min(x[1]), |x| x[0] - relu(x[0] - x[1])),
        positive("sqrt", &[wide], |x| x[0].sqrt(), |x| (x[0].ln() * 0.5).exp()),
        positive("recip", &[wide], |x| x[0].recip(), |x| (-x[0].ln()).exp()),
        positive("division", &[small, small], |x| x[0] / x[1], |x| (x[0].ln() - x[1].ln()).exp()),
        normal("log_sum_exp_cols", &[wide], |x| x[0].log_sum_exp_cols(), |x| x[0].exp().sum_cols().ln()),
        normal(
            "max_cols",
            &[small],
            |x| x[0].max_cols(),
            |x| (1..5).fold(x[0].cols(0, 1), |best, i| best.max(x[0].cols(i, 1))),
        ),
        normal(
            "min_members",
            &[[3, 2, 5]],
            |x| x[0].min_members(),
            |x| x[0].member(0).min(x[0].member(1)).min(x[0].member(2)),
        ),
        normal("norm_cols", &[small], |x| x[0].norm_cols(), |x| x[0].square().sum_cols().sqrt()),
        normal(
            "sum",
            &[wide],
            |x| x[0].sum(),
            |x| {
                let s = x[0].shape();
                let flat = x[0].reshape(Shape::new(1, 1, s.len()));
                flat.matmul(selection(flat, s.len(), 1, |_, _| true), false, false)
            },
        ),
        normal(
            "sum_cols",
            &[wide],
            |x| x[0].sum_cols(),
            |x| x[0].matmul(selection(x[0], 141, 1, |_, _| true), false, false),
        ),
        normal("sum_members", &[small], |x| x[0].sum_members(), |x| x[0].member(0) + x[0].member(1)),
        normal(
            "spread",
            &[[1, 3, 1]],
            |x| x[0].spread(Shape::new(2, 3, 70)),
            |x| x[0] * x[0].tape().fill(Shape::new(2, 3, 70), |out| out.fill(1.0)),
        ),
        normal(
            "cat",
            &[small, [1, 3, 2]],
            |x| x[0].cat(x[1]),
            |x| {
                let left = x[0].matmul(selection(x[0], 5, 7, |i, j| i == j), false, false);
                left + x[1].matmul(selection(x[0], 2, 7, |i, j| i + 5 == j), false, false)
            },
        ),
        normal(
            "cols",
            &[small],
            |x| x[0].cols(1, 3),
            |x| x[0].matmul(selection(x[0], 5, 3, |i, j| i == j + 1), false, false),
        ),
        normal(
            "repeat_rows",
            &[small],
            |x| x[0].repeat_rows(2),
            |x| selection(x[0], 6, 3, |i, j| i / 2 == j).matmul(x[0], false, false),
        ),
        normal(
            "sum_groups",
            &[[2, 6, 5]],
            |x| x[0].sum_groups(3),
            |x| selection(x[0], 2, 6, |i, j| i == j / 3).matmul(x[0], false, false),
        ),
        normal(
            "member",
            &[small],
            |x| x[0].member(1),
            |x| {
                let mask = x[0].tape().fill(Shape::new(2, 1, 1), |out| out.copy_from_slice(&[0.0, 1.0]));
                (x[0] * mask).sum_members()
            },
        ),
        normal(
            "matmul of a transposed left",
            &[[2, 3, 5], [2, 3, 4]],
            |x| x[0].matmul(x[1], true, false),
            |x| {
                // Σ over rows of outer products.
                let at = |i| {
                    let (a, b) =
                        (unit_row(x[0], i).matmul(x[0], false, false), unit_row(x[0], i).matmul(x[1], false, false));
                    a.reshape(Shape::new(2, 5, 1)) * b
                };
                at(0) + at(1) + at(2)
            },
        ),
        normal(
            "expectile_loss",
            &[small],
            |x| expectile_loss(x[0], 0.8),
            |x| relu(x[0]).square() * 0.8 + relu(-x[0]).square() * 0.2,
        ),
        normal(
            "soft_clamp",
            &[small, [1, 1, 5], [1, 1, 5]],
            |x| soft_clamp(x[0], x[1] - 2.0, x[2] + 2.0),
            |x| {
                let (low, high) = (x[1] - 2.0, x[2] + 2.0);
                let held = high - softplus(high - x[0]);
                low + softplus(held - low)
            },
        ),
        normal(
            "Gaussian::log_prob",
            &[small, [1, 1, 5], [1, 3, 5]],
            |x| Gaussian { mean: x[0], log_std: x[1] * 0.5 }.log_prob(x[2]),
            |x| log_density(x[2], x[0], x[1] * 0.5),
        ),
        normal(
            "Gaussian::kl_to_standard",
            &[small, small],
            |x| Gaussian { mean: x[0], log_std: x[1] * 0.5 }.kl_to_standard(),
            |x| {
                let std = (x[1] * 0.5).exp();
                (std * std + x[0] * x[0] - 1.0) * 0.5 - std.ln()
            },
        ),
        normal(
            "TanhGaussian::log_prob_of_pre_tanh",
            &[small, small, small],
            |x| {
                let base = Gaussian { mean: x[0], log_std: x[1] * 0.5 };
                TanhGaussian { base }.log_prob_of_pre_tanh(x[2])
            },
            |x| {
                let slope = -x[2].tanh().square() + 1.0;
                log_density(x[2], x[0], x[1] * 0.5) - slope.ln().sum_cols()
            },
        ),
    ]
}

/// The value, the gradient of Σ r⊙y + ½Σ s⊙y², and the gradient of ½‖that‖² + Σ q⊙that.
fn orders(f: F, pair: &Pair, key: Key) -> [Vec<Real>; 3] {
    let mut store = Store::default();
    let places: Vec<(usize, Shape)> = pair
        .shapes
        .iter()
        .enumerate()
        .map(|(i, &shape)| {
            let key = key.fold(i as u64);
            let draw = |out: &mut [Real]| if pair.positive { key.uniform(0.3, 3.0, out) } else { key.normal(out) };
            (store.tensor(&format!("x{i}"), shape, draw), shape)
        })
        .collect();
    let range = 0..store.len();
    let (mut first, mut second) = (vec![0.0; range.len()], vec![0.0; range.len()]);
    let tape = store.tape();
    let x: Vec<_> = places.iter().map(|&(at, shape)| tape.parameter(at, shape)).collect();
    let y = f(&x);
    let noise = |shape, name| tape.normal(shape, key.name(name));
    let loss = (noise(y.shape(), "r") * y).sum() + (noise(y.shape(), "s") * y.square()).sum() * 0.5;
    tape.grad_params(loss, range.clone(), &mut first);
    let slope = x.iter().map(|&x| {
        let g = tape.grad(loss, x);
        (noise(g.shape(), "q") * g).sum() + g.square().sum() * 0.5
    });
    let slope = slope.reduce(|a, b| a + b).expect("a pair has an input");
    tape.grad_params(slope, range, &mut second);
    [y.read(|y| y.to_vec()), first, second]
}

#[test]
fn fused_operations_equal_their_compositions() {
    for pair in pairs() {
        for seed in 0..4 {
            let key = Key::new(seed).name(pair.name);
            let (fused, composed) = (orders(pair.fused, &pair, key), orders(pair.composed, &pair, key));
            for (order, (fused, composed)) in fused.iter().zip(&composed).enumerate() {
                assert_eq!(fused.len(), composed.len(), "{}: order {order}", pair.name);
                // Errors are measured against the largest number: a composition cancels where the fused form does not.
                let scale = composed.iter().fold(1.0, |m: Real, x| m.max(x.abs()));
                let bound = [10.0, 100.0, 1000.0][order] * Real::EPSILON * scale;
                for (i, (a, b)) in fused.iter().zip(composed).enumerate() {
                    let name = pair.name;
                    assert!(
                        abs_diff_eq!(a, b, epsilon = bound),
                        "{name}, seed {seed}, order {order}, {i}: {a} is not {b} ± {bound:e}"
                    );
                }
            }
        }
    }
}

/// Where compositions overflow, cancel or lose their digits, the fused forms do not.
#[test]
fn fused_operations_hold_where_compositions_fail() {
    let mut store = Store::default();
    let tape = store.tape();
    let at = |values: &[Real]| tape.fill(Shape::new(1, 1, values.len()), |out| out.copy_from_slice(values));
    let far = at(&[-1000.0, -1001.0, -1002.0]);
    let log_sum = far.log_sum_exp_cols().item();
    assert!(abs_diff_eq!(log_sum as f64 + 1000.0, 0.407_605_964_444_38, epsilon = 1e-4), "{log_sum}");
    // The softmax exp(x − y) inherits the rounding of y, which is of size 1000.
    let total = tape.grad(far.log_sum_exp_cols(), far).sum().item();
    assert_abs_diff_eq!(total, 1.0, epsilon = 1000.0 * Real::EPSILON);
    let x = at(&[-800.0, 800.0]);
    x.softplus().read(|y| assert_eq!(y, [0.0, 800.0]));
    tape.grad(x.softplus().sum(), x).read(|g| assert_eq!(g, [0.0, 1.0]));
    tape.grad(x.swish().sum(), x).read(|g| assert_eq!(g, [0.0, 1.0]));
    // tanh u is 1 to the last digit; ln(1 − tanh²u) = 2(ln 2 − |u|) all the same.
    let zero = at(&[0.0, 0.0]);
    let u = at(&[-40.0, 40.0]);
    let log_prob = TanhGaussian { base: Gaussian { mean: u, log_std: zero } }.log_prob_of_pre_tanh(u).item();
    let want = -(2.0 * std::f64::consts::PI).ln() + 4.0 * (40.0 - 2f64.ln());
    assert_abs_diff_eq!(log_prob as f64, want, epsilon = 1e-4);
}
