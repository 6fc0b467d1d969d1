//! The operations a tape can record, and how each computes its value.

use crate::{Activation, Real, Shape, kernels};
use kernels::{Bias, Epilogue, Isa, Matrix, Precision, Product, Start};

/// Declares the operations together with their names, so that no list of them can fall behind.
macro_rules! operations {
    ($($(#[$doc:meta])* $name:ident $(($($field:ty),*))?,)*) => {
        /// One recorded operation. Inputs and shapes stand in the node beside it.
        #[derive(Clone, Copy, Debug, PartialEq)]
        pub(crate) enum Op {
            $($(#[$doc])* $name $(($($field),*))?,)*
        }

        impl Op {
            /// The name of every operation.
            pub(crate) const NAMES: &[&str] = &[$(stringify!($name)),*];

            /// The name of this operation.
            pub(crate) fn name(self) -> &'static str {
                match self {
                    $(Self::$name { .. } => stringify!($name),)*
                }
            }
        }
    };
}

operations! {
    /// A tensor of the store.
    Param,
    /// Numbers from outside: no history.
    Input,
    /// The same numbers in another shape; no copy.
    View,

    Add,
    Sub,
    Mul,
    Min,
    /// 1 where the second argument is smaller. No derivative.
    Less,
    Scale(Real),
    Offset(Real),

    Relu,
    /// x where x > 0, x/100 elsewhere.
    LeakyRelu,
    Tanh,
    Swish,
    Exp,
    Ln,
    Sqrt,
    Recip,
    Square,
    Abs,
    Sigmoid,
    Softplus,
    Clamp(Real, Real),
    /// 1 where x > 0. No derivative.
    Step,
    /// −1, 0, 1. No derivative.
    Sign,
    /// 1 strictly inside the bounds. No derivative.
    Inside(Real, Real),
    /// g·relu′ from the output.
    ReluGrad,
    /// g·leaky_relu′ from the output.
    LeakyReluGrad,
    /// g·tanh′ from the output.
    TanhGrad,
    /// g·swish′ from the input.
    SwishGrad,

    /// Each row shifted and scaled to mean 0 and deviation 1.
    LayerNorm,
    /// g·(layer norm)′ from the input.
    LayerNormGrad,

    /// Product of stacks, each operand transposed or not.
    MatMul(bool, bool),
    /// g·Wᵀ where y, the third input, is positive, zero elsewhere: what a layer passes to one that left y through ReLU.
    MatMulMasked,
    /// g·Wᵀ times d, the third input: what a layer passes to one that left through an activation of that slope.
    MatMulTimes,
    /// x·W + b through an activation; one row of b for all rows, or for every few.
    Linear(Activation),
    /// swish′ of the sum in the layer that is the next node and was computed with it: its output does not tell.
    SwishSlope,

    /// Sums over every size that is 1 in the output.
    SumTo,
    /// Repeats along every size that is 1 in the input.
    Spread,
    MinMembers,
    /// 1 at the first smallest member. No derivative.
    ArgMinMembers,
    MaxCols,
    /// 1 at the first largest column. No derivative.
    ArgMaxCols,
    LogSumExpCols,

    /// Columns of two inputs side by side.
    Cat,
    /// Columns from an offset on.
    Cols(usize),
    /// Zeros around, the input from an offset on.
    PadCols(usize),
    /// Rows of every member from an offset on.
    Rows(usize),
    /// Zeros above and below, the input from a row on.
    PadRows(usize),
    /// Each row `k` times in a row.
    RepeatRows(usize),
    /// Sums of `k` consecutive rows.
    SumGroups(usize),
    /// One member.
    Member(usize),
    /// Zeros for all members but one.
    PadMember(usize),
}

/// The values of one input and its shape.
pub(crate) type Operand<'a> = (&'a [Real], Shape);

/// How products are computed.
#[derive(Clone, Copy)]
pub(crate) struct Machine {
    pub(crate) isa: Isa,
    pub(crate) precision: Precision,
    pub(crate) parallel: bool,
}

/// What an operation reads, and the shape of what it writes.
#[derive(Clone, Copy)]
pub(crate) struct Call<'a> {
    pub(crate) inputs: [Option<Operand<'a>>; 3],
    pub(crate) shape: Shape,
    pub(crate) machine: Machine,
}

/// Writes the value of `op` into `out` (dense, every element written). `panels` is scratch for products.
pub(crate) fn evaluate(op: Op, call: Call<'_>, out: &mut [Real], panels: &mut Vec<Real>) {
    let Call { inputs: [x, y, _], shape, .. } = call;
    let x = x.expect("an operation has an input");
    let (xs, x_shape) = x;
    let second = || y.expect("a binary operation has two inputs");
    match op {
        Op::Param | Op::Input | Op::View => unreachable!("leaves and views compute nothing"),
        Op::SwishSlope => unreachable!("a slope is computed with its layer"),
        Op::Add => broadcast(kernels::add, x, second(), out, shape),
        Op::Sub => broadcast(kernels::sub, x, second(), out, shape),
        Op::Mul => broadcast(kernels::mul, x, second(), out, shape),
        Op::Min => broadcast(kernels::min, x, second(), out, shape),
        Op::Less => broadcast(kernels::less, x, second(), out, shape),
        Op::ReluGrad => kernels::relu_grad(xs, second().0, out),
        Op::LeakyReluGrad => kernels::leaky_relu_grad(xs, second().0, out),
        Op::TanhGrad => kernels::tanh_grad(xs, second().0, out),
        Op::SwishGrad => kernels::swish_grad(xs, second().0, out),
        Op::LayerNorm => kernels::layer_norm(xs, shape.cols, out),
        Op::LayerNormGrad => kernels::layer_norm_grad(xs, second().0, shape.cols, out),
        Op::Scale(k) => kernels::scale(k, xs, out),
        Op::Offset(k) => kernels::offset(k, xs, out),
        Op::Relu => kernels::relu(xs, out),
        Op::LeakyRelu => kernels::leaky_relu(xs, out),
        Op::Tanh => kernels::tanh(xs, out),
        Op::Swish => kernels::swish(xs, out),
        Op::Exp => kernels::exp(xs, out),
        Op::Ln => kernels::ln(xs, out),
        Op::Sqrt => kernels::sqrt(xs, out),
        Op::Recip => kernels::recip(xs, out),
        Op::Square => kernels::square(xs, out),
        Op::Abs => kernels::abs(xs, out),
        Op::Sigmoid => kernels::sigmoid(xs, out),
        Op::Softplus => kernels::softplus(xs, out),
        Op::Step => kernels::step(xs, out),
        Op::Sign => kernels::sign(xs, out),
        // Comparisons rather than `clamp`, so that NaN passes through.
        Op::Clamp(lo, hi) => map(xs, out, |v| {
            if v < lo {
                lo
            } else if v > hi {
                hi
            } else {
                v
            }
        }),
        Op::Inside(lo, hi) => map(xs, out, |v| (v > lo && v < hi) as u8 as Real),
        Op::MatMul(ta, tb) => matmul(call, [ta, tb], Epilogue::None, out, panels),
        Op::MatMulMasked => {
            let [g, w, mask] = call.inputs;
            let (mask, _) = mask.expect("a masked product has a mask");
            matmul(Call { inputs: [g, w, None], ..call }, [false, true], Epilogue::Mask(mask), out, panels);
        }
        Op::MatMulTimes => {
            let [g, w, slope] = call.inputs;
            let (slope, _) = slope.expect("a product times a slope has a slope");
            matmul(Call { inputs: [g, w, None], ..call }, [false, true], Epilogue::Times(slope), out, panels);
        }
        Op::Linear(act) => {
            let epilogue = match act {
                Activation::Relu => Epilogue::Relu,
                Activation::Swish => Epilogue::Swish,
                Activation::Identity | Activation::Tanh | Activation::LeakyRelu => Epilogue::None,
            };
            matmul(call, [false, false], epilogue, out, panels);
            match act {
                Activation::Tanh => in_place(kernels::tanh, out),
                Activation::LeakyRelu => in_place(kernels::leaky_relu, out),
                Activation::Identity | Activation::Relu | Activation::Swish => {}
            }
        }
        Op::SumTo => sum_to(x, out, shape),
        Op::Spread => {
            for (row, at) in rows(shape).zip((0..).step_by(shape.cols.max(1))) {
                let from = &xs[index(x_shape, row) * x_shape.cols..][..x_shape.cols];
                let to = &mut out[at..at + shape.cols];
                if x_shape.cols == shape.cols { to.copy_from_slice(from) } else { to.fill(from[0]) }
            }
        }
        Op::MinMembers => {
            let n = shape.len();
            out.copy_from_slice(&xs[..n]);
            for member in xs[n..].chunks_exact(n.max(1)) {
                for (o, &v) in out.iter_mut().zip(member) {
                    // NaN in any member wins.
                    if v < *o || v.is_nan() {
                        *o = v;
                    }
                }
            }
        }
        Op::ArgMinMembers => {
            let n = shape.rows * shape.cols;
            out.fill(0.0);
            for i in 0..n {
                let best = (1..shape.members).fold(0, |b, e| if xs[e * n + i] < xs[b * n + i] { e } else { b });
                out[best * n + i] = 1.0;
            }
        }
        Op::MaxCols => {
            for (o, row) in out.iter_mut().zip(xs.chunks_exact(x_shape.cols)) {
                *o = row.iter().fold(row[0], |best, &v| if v > best || v.is_nan() { v } else { best });
            }
        }
        Op::ArgMaxCols => {
            out.fill(0.0);
            for (o, row) in out.chunks_exact_mut(shape.cols).zip(xs.chunks_exact(shape.cols)) {
                let best = (1..row.len()).fold(0, |b, i| if row[i] > row[b] { i } else { b });
                o[best] = 1.0;
            }
        }
        Op::LogSumExpCols => log_sum_exp(x, out),
        Op::Cat => {
            let (ys, y_shape) = second();
            for (row, at) in rows(shape).zip((0..).step_by(shape.cols)) {
                let (left, right) = out[at..at + shape.cols].split_at_mut(x_shape.cols);
                left.copy_from_slice(&xs[index(x_shape, row) * x_shape.cols..][..x_shape.cols]);
                right.copy_from_slice(&ys[index(y_shape, row) * y_shape.cols..][..y_shape.cols]);
            }
        }
        Op::Cols(at) => {
            if !out.is_empty() {
                kernels::copy_cols(shape.cols, &xs[at..], x_shape.cols, out, shape.cols);
            }
        }
        Op::PadCols(at) => {
            out.fill(0.0);
            if !xs.is_empty() {
                kernels::copy_cols(x_shape.cols, xs, x_shape.cols, &mut out[at..], shape.cols);
            }
        }
        Op::Rows(first) => {
            let (len, member) = (shape.rows * shape.cols, x_shape.rows * x_shape.cols);
            for (o, x) in out.chunks_exact_mut(len.max(1)).zip(xs.chunks_exact(member.max(1))) {
                o.copy_from_slice(&x[first * shape.cols..][..len]);
            }
        }
        Op::PadRows(first) => {
            out.fill(0.0);
            let (len, member) = (x_shape.rows * x_shape.cols, shape.rows * shape.cols);
            for (o, x) in out.chunks_exact_mut(member.max(1)).zip(xs.chunks_exact(len.max(1))) {
                o[first * shape.cols..][..len].copy_from_slice(x);
            }
        }
        Op::RepeatRows(k) => {
            for (group, row) in out.chunks_exact_mut(k * shape.cols).zip(xs.chunks_exact(shape.cols)) {
                group.chunks_exact_mut(shape.cols).for_each(|o| o.copy_from_slice(row));
            }
        }
        Op::SumGroups(k) => {
            for (o, group) in out.chunks_exact_mut(shape.cols).zip(xs.chunks_exact(k * shape.cols)) {
                o.fill(0.0);
                group.chunks_exact(shape.cols).for_each(|row| kernels::accumulate(row, o));
            }
        }
        Op::Member(e) => out.copy_from_slice(&xs[e * out.len()..][..out.len()]),
        Op::PadMember(e) => {
            out.fill(0.0);
            out[e * xs.len()..][..xs.len()].copy_from_slice(xs);
        }
    }
}

fn map(x: &[Real], out: &mut [Real], f: impl Fn(Real) -> Real) {
    for (out, &x) in out.iter_mut().zip(x) {
        *out = f(x);
    }
}

/// Applies a two-slice kernel to a tensor in place, through a small buffer.
fn in_place(kernel: fn(&[Real], &mut [Real]), values: &mut [Real]) {
    let mut copy = [0.0; 256];
    for chunk in values.chunks_mut(256) {
        let copy = &mut copy[..chunk.len()];
        copy.copy_from_slice(chunk);
        kernel(copy, chunk);
    }
}

/// Every (member, row) of a shape, in memory order.
fn rows(shape: Shape) -> impl Iterator<Item = (usize, usize)> {
    (0..shape.members).flat_map(move |e| (0..shape.rows).map(move |r| (e, r)))
}

/// The row of `shape` that (member, row) of a larger shape reads.
fn index(shape: Shape, (member, row): (usize, usize)) -> usize {
    let member = if shape.members == 1 { 0 } else { member };
    let row = if shape.rows == 1 { 0 } else { row };
    member * shape.rows + row
}

fn broadcast(
    kernel: fn(&[Real], &[Real], &mut [Real]),
    (xs, x_shape): Operand<'_>,
    (ys, y_shape): Operand<'_>,
    out: &mut [Real],
    shape: Shape,
) {
    if x_shape == y_shape {
        return kernel(xs, ys, out);
    }
    let cols = shape.cols;
    let (mut x_wide, mut y_wide) = ([0.0; 64], [0.0; 64]);
    for (row, at) in rows(shape).zip((0..).step_by(cols.max(1))) {
        let x = &xs[index(x_shape, row) * x_shape.cols..][..x_shape.cols];
        let y = &ys[index(y_shape, row) * y_shape.cols..][..y_shape.cols];
        // A single column meets a wide row: widen it piece by piece.
        let mut done = 0;
        while done < cols {
            let n = (cols - done).min(if x.len() == y.len() { cols } else { 64 });
            let x = if x.len() == cols { &x[done..done + n] } else { fill(&mut x_wide, x[0], n) };
            let y = if y.len() == cols { &y[done..done + n] } else { fill(&mut y_wide, y[0], n) };
            kernel(x, y, &mut out[at + done..at + done + n]);
            done += n;
        }
    }
}

fn fill(wide: &mut [Real; 64], value: Real, n: usize) -> &[Real] {
    wide[..n].fill(value);
    &wide[..n]
}

fn sum_to((xs, x_shape): Operand<'_>, out: &mut [Real], shape: Shape) {
    if shape.len() == 1 {
        out[0] = kernels::sum(xs);
    } else if shape.cols == x_shape.cols {
        out.fill(0.0);
        for (row, x) in rows(x_shape).zip(xs.chunks_exact(x_shape.cols)) {
            kernels::accumulate(x, &mut out[index(shape, row) * shape.cols..][..shape.cols]);
        }
    } else {
        out.fill(0.0);
        for (row, x) in rows(x_shape).zip(xs.chunks_exact(x_shape.cols)) {
            out[index(shape, row)] += kernels::sum(x);
        }
    }
}

/// m + ln Σ exp(x − m), m the row's maximum: neither overflows nor underflows.
fn log_sum_exp((xs, x_shape): Operand<'_>, out: &mut [Real]) {
    let (mut shifted, mut powers) = ([0.0; 64], [0.0; 64]);
    for (o, row) in out.iter_mut().zip(xs.chunks_exact(x_shape.cols)) {
        let max = row.iter().fold(row[0], |best, &v| if v > best || v.is_nan() { v } else { best });
        let mut total = 0.0;
        for part in row.chunks(64) {
            let n = part.len();
            kernels::offset(-max, part, &mut shifted[..n]);
            kernels::exp(&shifted[..n], &mut powers[..n]);
            total += kernels::sum(&powers[..n]);
        }
        let mut log = [0.0];
        kernels::ln(&[total], &mut log);
        *o = max + log[0];
    }
}

/// The product of the first two inputs, each transposed or not, plus the third if there is one.
fn matmul(call: Call<'_>, transposed: [bool; 2], epilogue: Epilogue<'_>, out: &mut [Real], panels: &mut Vec<Real>) {
    let Call { inputs: [x, y, bias], shape, machine } = call;
    let ((xs, x_shape), (ys, y_shape)) = x.zip(y).expect("a product has two factors");
    let stack = |s: Shape| if s.members == 1 { 0 } else { s.rows * s.cols };
    let matrix = |values, s: Shape, transposed: bool| Matrix {
        values,
        stack: stack(s),
        row: if transposed { 1 } else { s.cols },
        col: if transposed { s.cols } else { 1 },
    };
    let p = Product {
        members: shape.members,
        m: shape.rows,
        k: if transposed[0] { x_shape.rows } else { x_shape.cols },
        n: shape.cols,
        a: matrix(xs, x_shape, transposed[0]),
        b: matrix(ys, y_shape, transposed[1]),
        start: bias.map_or(Start::Zero, |(values, s)| {
            let group = if s.rows == 1 { usize::MAX } else { shape.rows / s.rows };
            Start::Bias(Bias { values, stack: stack(s), group })
        }),
        epilogue,
    };
    kernels::product(machine.isa, machine.precision, machine.parallel, p, panels, out);
}
