//! What can be done with a value: operators and methods, each one recorded operation unless said otherwise.

use crate::{Activation, Real, Shape, Var, op::Op};
use std::ops::{Add, Div, Mul, Neg, Sub};

macro_rules! methods {
    ($($(#[$doc:meta])* $name:ident => $op:expr;)*) => {
        impl<'t> Var<'t> {$(
            $(#[$doc])*
            pub fn $name(self) -> Self {
                self.unary($op, self.shape())
            }
        )*}
    };
}

methods! {
    /// max(x, 0).
    relu => Op::Relu;
    /// x where x > 0, x/100 elsewhere.
    leaky_relu => Op::LeakyRelu;
    /// tanh x.
    tanh => Op::Tanh;
    /// x·sigmoid(x).
    swish => Op::Swish;
    /// eˣ.
    exp => Op::Exp;
    /// ln x.
    ln => Op::Ln;
    /// √x.
    sqrt => Op::Sqrt;
    /// 1/x.
    recip => Op::Recip;
    /// x².
    square => Op::Square;
    /// |x|.
    abs => Op::Abs;
    /// 1/(1 + e⁻ˣ).
    sigmoid => Op::Sigmoid;
    /// ln(1 + eˣ).
    softplus => Op::Softplus;
    /// 1 where x > 0, else 0. Its derivative is zero.
    step => Op::Step;
    /// −1, 0 or 1. Its derivative is zero.
    sign => Op::Sign;
    /// 1 at the first smallest member of each element, `[members, rows, cols]`. Its derivative is zero.
    arg_min_members => Op::ArgMinMembers;
    /// 1 at the first largest column of each row, `[members, rows, cols]`. Its derivative is zero.
    arg_max_cols => Op::ArgMaxCols;
}

impl<'t> Var<'t> {
    fn unary(self, op: Op, shape: Shape) -> Self {
        self.tape.record(op, [Some(self), None, None], shape)
    }

    fn binary(self, op: Op, other: Self, name: &str) -> Self {
        let shape = self.shape().join(other.shape(), name);
        self.tape.record(op, [Some(self), Some(other), None], shape)
    }

    /// min(x, y) elementwise, with broadcasting.
    pub fn min(self, other: Self) -> Self {
        self.binary(Op::Min, other, "min")
    }

    /// max(x, y) elementwise, with broadcasting: −min(−x, −y).
    pub fn max(self, other: Self) -> Self {
        -(-self).min(-other)
    }

    /// 1 where `other` is smaller, else 0. Its derivative is zero.
    pub fn less(self, other: Self) -> Self {
        self.binary(Op::Less, other, "less")
    }

    /// x held in `[low, high]`; no gradient where it is held.
    pub fn clamp(self, low: Real, high: Real) -> Self {
        self.unary(Op::Clamp(low, high), self.shape())
    }

    pub(crate) fn inside(self, low: Real, high: Real) -> Self {
        self.unary(Op::Inside(low, high), self.shape())
    }

    pub(crate) fn relu_grad(self, y: Self) -> Self {
        self.binary(Op::ReluGrad, y, "relu_grad")
    }

    /// (self·`weight`ᵀ)·relu′, from the output `y` of the ReLU.
    pub(crate) fn matmul_masked(self, weight: Self, y: Self) -> Self {
        self.tape.record(Op::MatMulMasked, [Some(self), Some(weight), Some(y)], y.shape())
    }

    /// (self·`weight`ᵀ)·`slope`, the derivative of the activation that what `weight` was multiplied with came out of.
    pub(crate) fn matmul_times(self, weight: Self, slope: Self) -> Self {
        self.tape.record(Op::MatMulTimes, [Some(self), Some(weight), Some(slope)], slope.shape())
    }

    pub(crate) fn leaky_relu_grad(self, y: Self) -> Self {
        self.binary(Op::LeakyReluGrad, y, "leaky_relu_grad")
    }

    pub(crate) fn tanh_grad(self, y: Self) -> Self {
        self.binary(Op::TanhGrad, y, "tanh_grad")
    }

    pub(crate) fn swish_grad(self, x: Self) -> Self {
        self.binary(Op::SwishGrad, x, "swish_grad")
    }

    /// Products member by member, `[e, m, k]·[e, k, n]`, each operand first transposed if asked. A single member serves all.
    ///
    /// # Panics
    /// If inner sizes or members do not fit, naming both shapes.
    pub fn matmul(self, other: Self, transpose_self: bool, transpose_other: bool) -> Self {
        let (a, b) = (self.shape(), other.shape());
        let (m, k) = if transpose_self { (a.cols, a.rows) } else { (a.rows, a.cols) };
        let (inner, n) = if transpose_other { (b.cols, b.rows) } else { (b.rows, b.cols) };
        assert_eq!(k, inner, "matmul: inner sizes of {a:?} and {b:?} differ");
        let members = Shape::new(a.members, 1, 1).join(Shape::new(b.members, 1, 1), "matmul").members;
        let op = Op::MatMul(transpose_self, transpose_other);
        self.tape.record(op, [Some(self), Some(other), None], Shape::new(members, m, n))
    }

    /// act(x·W + b), one operation. Of swish the slope is kept as well where a derivative may be asked for.
    ///
    /// `self` is `[e, rows, in]`, `weight` `[e, in, out]`, `bias` `[e, 1, out]`; a single member serves all. A bias of more
    /// rows, `[e, rows/k, out]`, gives each of its rows to `k` consecutive rows: what those have in common.
    ///
    /// # Panics
    /// If the shapes do not fit, naming them.
    pub fn linear(self, weight: Self, bias: Self, act: Activation) -> Self {
        let (x, w, b) = (self.shape(), weight.shape(), bias.shape());
        assert_eq!(x.cols, w.rows, "linear: input {x:?} does not fit weight {w:?}");
        assert_eq!(b.cols, w.cols, "linear: bias {b:?} does not fit weight {w:?}");
        let groups = b.rows == 1 || b.rows > 0 && x.rows.is_multiple_of(b.rows);
        assert!(groups, "linear: bias {b:?} does not fit input {x:?}");
        let members = Shape::new(x.members, 1, 1).join(Shape::new(w.members, 1, 1), "linear");
        let members = members.join(Shape::new(b.members, 1, 1), "linear").members;
        self.tape.record_layer(act, [self, weight, bias], Shape::new(members, x.rows, w.cols))
    }

    /// Sums over every size that is 1 in `shape`.
    pub fn sum_to(self, shape: Shape) -> Self {
        if shape == self.shape() {
            return self;
        }
        assert_eq!(self.shape().join(shape, "sum_to"), self.shape(), "sum_to: {:?} to {shape:?}", self.shape());
        self.unary(Op::SumTo, shape)
    }

    /// Repeats along every size that is 1.
    pub fn spread(self, shape: Shape) -> Self {
        if shape == self.shape() {
            return self;
        }
        assert_eq!(self.shape().join(shape, "spread"), shape, "spread: {:?} to {shape:?}", self.shape());
        self.unary(Op::Spread, shape)
    }

    /// The sum of all values, `[1, 1, 1]`.
    pub fn sum(self) -> Self {
        self.sum_to(Shape::SCALAR)
    }

    /// The mean of all values, `[1, 1, 1]`. Two operations.
    pub fn mean(self) -> Self {
        self.sum() * (1.0 / self.shape().len() as Real)
    }

    /// The sum of each row, `[members, rows, 1]`.
    pub fn sum_cols(self) -> Self {
        self.sum_to(Shape { cols: 1, ..self.shape() })
    }

    /// The Euclidean norm of each row, `[members, rows, 1]`; its derivative at zero is zero.
    ///
    /// The square root of a sum of squares would give NaN there (0·∞), and a row of zeros is no rarity where the row is
    /// itself a gradient: a critic whose last units are dead has one.
    pub fn norm_cols(self) -> Self {
        let squares = self.square().sum_cols();
        let positive = squares.step();
        (squares + (-positive + 1.0)).sqrt() * positive
    }

    /// (x − mean)/√(variance + ε) over the columns of each row, ε = 1e-5 (Ba, Kiros & Hinton, arXiv:1607.06450).
    pub fn layer_norm_cols(self) -> Self {
        assert!(self.shape().cols > 0, "layer_norm_cols: no columns in {:?}", self.shape());
        self.unary(Op::LayerNorm, self.shape())
    }

    pub(crate) fn layer_norm_grad(self, x: Self) -> Self {
        self.binary(Op::LayerNormGrad, x, "layer_norm_grad")
    }

    /// The mean of each row, `[members, rows, 1]`. Two operations.
    pub fn mean_cols(self) -> Self {
        self.sum_cols() * (1.0 / self.shape().cols as Real)
    }

    /// The sum over members, `[1, rows, cols]`.
    pub fn sum_members(self) -> Self {
        self.sum_to(Shape { members: 1, ..self.shape() })
    }

    /// The mean over members, `[1, rows, cols]`. Two operations.
    pub fn mean_members(self) -> Self {
        self.sum_members() * (1.0 / self.shape().members as Real)
    }

    /// The smallest member of each element, `[1, rows, cols]`.
    pub fn min_members(self) -> Self {
        self.unary(Op::MinMembers, Shape { members: 1, ..self.shape() })
    }

    /// The largest member of each element, `[1, rows, cols]`: −min(−x).
    pub fn max_members(self) -> Self {
        -(-self).min_members()
    }

    /// The largest column of each row, `[members, rows, 1]`.
    pub fn max_cols(self) -> Self {
        self.unary(Op::MaxCols, Shape { cols: 1, ..self.shape() })
    }

    /// ln Σ exp over the columns of each row, `[members, rows, 1]`, never overflowing.
    pub fn log_sum_exp_cols(self) -> Self {
        self.unary(Op::LogSumExpCols, Shape { cols: 1, ..self.shape() })
    }

    /// The columns of both, side by side; members and rows broadcast.
    ///
    /// # Panics
    /// If members or rows do not fit.
    pub fn cat(self, other: Self) -> Self {
        let (a, b) = (self.shape(), other.shape());
        let joined = Shape { cols: 1, ..a }.join(Shape { cols: 1, ..b }, "cat");
        let shape = Shape { cols: a.cols + b.cols, ..joined };
        self.tape.record(Op::Cat, [Some(self), Some(other), None], shape)
    }

    /// Columns `first .. first + count`.
    ///
    /// # Panics
    /// If there are not so many.
    pub fn cols(self, first: usize, count: usize) -> Self {
        let shape = self.shape();
        assert!(first + count <= shape.cols, "cols: {first}..{} of {shape:?}", first + count);
        self.unary(Op::Cols(first), Shape { cols: count, ..shape })
    }

    /// The columns from `first` on.
    pub fn cols_from(self, first: usize) -> Self {
        self.cols(first, self.shape().cols - first)
    }

    pub(crate) fn pad_cols(self, first: usize, cols: usize) -> Self {
        self.unary(Op::PadCols(first), Shape { cols, ..self.shape() })
    }

    /// Rows `first .. first + count` of every member, such as one input's share of a weight.
    ///
    /// # Panics
    /// If there are not so many.
    pub fn rows(self, first: usize, count: usize) -> Self {
        let shape = self.shape();
        assert!(first + count <= shape.rows, "rows: {first}..{} of {shape:?}", first + count);
        self.unary(Op::Rows(first), Shape { rows: count, ..shape })
    }

    /// The rows in `rows`.
    ///
    /// # Panics
    /// If there are not so many.
    pub fn among(self, rows: &std::ops::Range<usize>) -> Self {
        self.rows(rows.start, rows.len())
    }

    pub(crate) fn pad_rows(self, first: usize, rows: usize) -> Self {
        self.unary(Op::PadRows(first), Shape { rows, ..self.shape() })
    }

    /// Each row `k` times in a row, `[members, rows·k, cols]`.
    pub fn repeat_rows(self, k: usize) -> Self {
        let shape = self.shape();
        self.unary(Op::RepeatRows(k), Shape { rows: shape.rows * k, ..shape })
    }

    /// Sums of `k` consecutive rows, `[members, rows/k, cols]`.
    ///
    /// # Panics
    /// If `k` does not divide the rows.
    pub fn sum_groups(self, k: usize) -> Self {
        let shape = self.shape();
        assert!(k > 0 && shape.rows.is_multiple_of(k), "sum_groups: groups of {k} in {shape:?}");
        self.unary(Op::SumGroups(k), Shape { rows: shape.rows / k, ..shape })
    }

    /// One member, `[1, rows, cols]`.
    ///
    /// # Panics
    /// If there is no such member.
    pub fn member(self, member: usize) -> Self {
        let shape = self.shape();
        assert!(member < shape.members, "member: {member} of {shape:?}");
        self.unary(Op::Member(member), Shape { members: 1, ..shape })
    }

    pub(crate) fn pad_member(self, member: usize, members: usize) -> Self {
        self.unary(Op::PadMember(member), Shape { members, ..self.shape() })
    }
}

macro_rules! operator {
    ($($trait:ident $method:ident $op:ident $name:literal;)*) => {$(
        impl<'t> $trait for Var<'t> {
            type Output = Self;
            fn $method(self, other: Self) -> Self {
                self.binary(Op::$op, other, $name)
            }
        }
    )*};
}
operator! { Add add Add "+"; Sub sub Sub "−"; Mul mul Mul "·"; }

#[expect(clippy::suspicious_arithmetic_impl, reason = "x/y is x·(1/y)")]
impl<'t> Div for Var<'t> {
    type Output = Self;
    fn div(self, other: Self) -> Self {
        self * other.recip()
    }
}

impl<'t> Add<Real> for Var<'t> {
    type Output = Self;
    fn add(self, k: Real) -> Self {
        self.unary(Op::Offset(k), self.shape())
    }
}

impl<'t> Sub<Real> for Var<'t> {
    type Output = Self;
    fn sub(self, k: Real) -> Self {
        self + -k
    }
}

impl<'t> Mul<Real> for Var<'t> {
    type Output = Self;
    fn mul(self, k: Real) -> Self {
        self.unary(Op::Scale(k), self.shape())
    }
}

impl<'t> Neg for Var<'t> {
    type Output = Self;
    fn neg(self) -> Self {
        self * -1.0
    }
}
