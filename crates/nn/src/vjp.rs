//! All of reverse-mode differentiation as one table: operation → vector–Jacobian product.
//!
//! A rule emits ordinary operations on the same tape, so a gradient can be differentiated like any other value.

use crate::{
    Activation, Shape, Tape, Var,
    arena::{NONE, Node},
    kernels,
    op::Op,
};

/// What differentiation knows of a node.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Mark {
    /// It leads to a node that a derivative is asked for.
    pub(crate) live: bool,
    /// How often it is used.
    pub(crate) uses: u8,
    /// It is the output of a layer, and its derivative has been passed through the layer's activation already.
    pub(crate) masked: bool,
}

/// Given `g` = ∂L/∂(node), passes ∂L/∂(input) to `to` for every live input.
pub(crate) fn pull_back<'t>(
    tape: Tape<'t>,
    id: u32,
    node: Node,
    g: Var<'t>,
    marks: &mut [Mark],
    to: &mut dyn FnMut(u32, Var<'t>),
) {
    let [a, b, c] = node.inputs;
    let live = node.inputs.map(|i| i != NONE && marks[i as usize].live);
    let wants = |i: u32| (0..3).any(|n| node.inputs[n] == i && live[n]);
    let (y, x) = (tape.var(id), |i: u32| tape.var(i));
    // One line per rule. `when!` computes a product only if somebody asked for it.
    macro_rules! when {
        ($i:expr, $value:expr) => {
            if wants($i) {
                let v = $value;
                to($i, v)
            }
        };
    }
    match node.op {
        Op::Param
        | Op::Input
        | Op::Less
        | Op::Step
        | Op::Sign
        | Op::Inside(..)
        | Op::ArgMinMembers
        | Op::ArgMaxCols => {}
        Op::View => when!(a, g.reshape(x(a).shape())),

        Op::Add => {
            when!(a, g.sum_to(x(a).shape()));
            when!(b, g.sum_to(x(b).shape()));
        }
        Op::Sub => {
            when!(a, g.sum_to(x(a).shape()));
            when!(b, (-g).sum_to(x(b).shape()));
        }
        Op::Mul => {
            when!(a, (g * x(b)).sum_to(x(a).shape()));
            when!(b, (g * x(a)).sum_to(x(b).shape()));
        }
        Op::Min => {
            let second = x(a).less(x(b));
            when!(a, (g - g * second).sum_to(x(a).shape()));
            when!(b, (g * second).sum_to(x(b).shape()));
        }
        Op::Scale(k) => when!(a, g * k),
        Op::Offset(_) => when!(a, g),

        Op::Relu => when!(a, g.relu_grad(y)),
        Op::LeakyRelu => when!(a, g.leaky_relu_grad(y)),
        Op::Tanh => when!(a, g.tanh_grad(y)),
        Op::Swish => when!(a, g.swish_grad(x(a))),
        Op::Exp => when!(a, g * y),
        Op::Ln => when!(a, g * x(a).recip()),
        Op::Sqrt => when!(a, g * y.recip() * 0.5),
        Op::Recip => when!(a, -(g * y.square())),
        Op::Square => when!(a, g * x(a) * 2.0),
        Op::Abs => when!(a, g * x(a).sign()),
        Op::Sigmoid => when!(a, g * (y - y.square())),
        Op::Softplus => when!(a, g * x(a).sigmoid()),
        Op::Clamp(lo, hi) => when!(a, g * x(a).inside(lo, hi)),

        // The derivatives of derivatives, for gradients of gradients.
        Op::ReluGrad => when!(a, g.relu_grad(x(b))),
        Op::LeakyReluGrad => when!(a, g.leaky_relu_grad(x(b))),
        Op::TanhGrad => {
            when!(a, g.tanh_grad(x(b)));
            when!(b, g * x(a) * x(b) * -2.0);
        }
        Op::SwishGrad => {
            when!(a, g.swish_grad(x(b)));
            when!(b, g * x(a) * swish_second_derivative(x(b)));
        }

        Op::LayerNorm => when!(a, g.layer_norm_grad(x(a))),
        Op::LayerNormGrad => {
            // The Jacobian of a layer norm is symmetric.
            when!(a, g.layer_norm_grad(x(b)));
            when!(b, layer_norm_second_derivative(g, x(a), x(b)));
        }

        Op::MatMul(false, false) => {
            when!(a, g.matmul(x(b), false, true).sum_to(x(a).shape()));
            when!(b, x(a).matmul(g, true, false).sum_to(x(b).shape()));
        }
        Op::MatMul(false, true) => {
            when!(a, g.matmul(x(b), false, false).sum_to(x(a).shape()));
            when!(b, g.matmul(x(a), true, false).sum_to(x(b).shape()));
        }
        Op::MatMul(true, false) => {
            when!(a, x(b).matmul(g, false, true).sum_to(x(a).shape()));
            when!(b, x(a).matmul(g, false, false).sum_to(x(b).shape()));
        }
        Op::MatMul(true, true) => {
            when!(a, x(b).matmul(g, true, true).sum_to(x(a).shape()));
            when!(b, g.matmul(x(a), true, true).sum_to(x(b).shape()));
        }
        Op::MatMulMasked => {
            // The mask lets the same elements through in both directions.
            when!(a, g.relu_grad(x(c)).matmul(x(b), false, false).sum_to(x(a).shape()));
            when!(b, g.relu_grad(x(c)).matmul(x(a), true, false).sum_to(x(b).shape()));
        }
        Op::MatMulTimes => {
            when!(a, (g * x(c)).matmul(x(b), false, false).sum_to(x(a).shape()));
            when!(b, (g * x(c)).matmul(x(a), true, false).sum_to(x(b).shape()));
            when!(c, g * x(a).matmul(x(b), false, true));
        }
        Op::Linear(act) => {
            // ∂L/∂(xW + b), from the output where the activation allows it.
            let g = match act {
                _ if marks[id as usize].masked => g,
                Activation::Identity => g,
                Activation::Relu => g.relu_grad(y),
                Activation::LeakyRelu => g.leaky_relu_grad(y),
                Activation::Tanh => g.tanh_grad(y),
                Activation::Swish => g * tape.slope_of(id),
            };
            pull_back_sum(tape, node.inputs, g, marks, to);
        }
        Op::SwishSlope => {
            let inputs = tape.node(id + 1).inputs;
            let [input, weight, bias] = inputs.map(x);
            let sum = input.linear(weight, bias, Activation::Identity);
            pull_back_sum(tape, inputs, g * swish_second_derivative(sum), marks, to);
        }

        Op::SumTo => when!(a, g.spread(x(a).shape())),
        Op::Spread => when!(a, g.sum_to(x(a).shape())),
        Op::MinMembers => when!(a, g * x(a).arg_min_members()),
        Op::MaxCols => when!(a, g * x(a).arg_max_cols()),
        Op::LogSumExpCols => when!(a, g * (x(a) - y).exp()),

        Op::Cat => {
            let left = x(a).shape().cols;
            when!(a, g.cols(0, left).sum_to(x(a).shape()));
            when!(b, g.cols(left, x(b).shape().cols).sum_to(x(b).shape()));
        }
        Op::Cols(at) => when!(a, g.pad_cols(at, x(a).shape().cols)),
        Op::PadCols(at) => when!(a, g.cols(at, x(a).shape().cols)),
        Op::Rows(first) => when!(a, g.pad_rows(first, x(a).shape().rows)),
        Op::PadRows(first) => when!(a, g.rows(first, x(a).shape().rows)),
        Op::RepeatRows(k) => when!(a, g.sum_groups(k)),
        Op::SumGroups(k) => when!(a, g.repeat_rows(k)),
        Op::Member(e) => when!(a, g.pad_member(e, x(a).shape().members)),
        Op::PadMember(e) => when!(a, g.member(e)),
    }
    debug_assert_eq!(g.shape(), Shape { ..node.shape }, "the adjoint of {:?} has its value's shape", node.op);
}

/// Given `g` = ∂L/∂(x·W + b), passes on what belongs to each of the three.
fn pull_back_sum<'t>(
    tape: Tape<'t>,
    inputs: [u32; 3],
    g: Var<'t>,
    marks: &mut [Mark],
    to: &mut dyn FnMut(u32, Var<'t>),
) {
    let [a, b, c] = inputs;
    let [live_a, live_b, live_c] = inputs.map(|i| marks[i as usize].live);
    let [x, weight, bias] = inputs.map(|i| tape.var(i));
    if live_a {
        // The layer before leaves through an activation and nobody else uses it: its derivative joins on the way out.
        let alone = Shape { cols: x.shape().cols, ..g.shape() } == x.shape() && marks[a as usize].uses == 1;
        let through = match tape.node(a).op {
            Op::Linear(Activation::Relu) if alone => Some(g.matmul_masked(weight, x)),
            Op::Linear(Activation::Swish) if alone => Some(g.matmul_times(weight, tape.slope_of(a))),
            _ => None,
        };
        marks[a as usize].masked |= through.is_some();
        to(a, through.unwrap_or_else(|| g.matmul(weight, false, true).sum_to(x.shape())));
    }
    if live_b {
        to(b, x.matmul(g, true, false).sum_to(weight.shape()));
    }
    if live_c {
        let bias = bias.shape();
        let per_row = if bias.rows == 1 { g } else { g.sum_groups(g.shape().rows / bias.rows) };
        to(c, per_row.sum_to(bias));
    }
}

/// swish″(x) = σ(1 − σ)(2 + x(1 − 2σ)).
fn swish_second_derivative(x: Var<'_>) -> Var<'_> {
    let s = x.sigmoid();
    (s - s.square()) * (x * (s * -2.0 + 1.0) + 2.0)
}

/// ∂(u·h)/∂x for h = σ⁻¹(g − mean(g) − y·mean(g·y)), where y = (x − mean(x))·σ⁻¹ and σ² = variance(x) + ε.
///
/// Through σ⁻¹, whose derivative is −σ⁻²·y/n, and through y.
fn layer_norm_second_derivative<'t>(u: Var<'t>, g: Var<'t>, x: Var<'t>) -> Var<'t> {
    let y = x.layer_norm_cols();
    let along = (g * y).mean_cols();
    let centred = x - x.mean_cols();
    let scale = (centred.square().mean_cols() + kernels::LAYER_NORM_EPSILON).sqrt().recip();
    let through_scale = (u * (g - g.mean_cols() - y * along)).mean_cols() * -(scale.square()) * y;
    let through_y = -(u * along + g * (u * y).mean_cols()) * scale;
    through_scale + through_y.layer_norm_grad(x)
}
