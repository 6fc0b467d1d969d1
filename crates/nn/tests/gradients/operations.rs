//! The operations of the tape.

use crate::harness::{Case, Domain::*, Of2, case, one, shape, two};
use backcast_core::Key;
use backcast_nn::{Activation, Real, Shape};

/// A shape with wide rows, past every piece a kernel works in.
fn wide(_: Key) -> Vec<Shape> {
    vec![Shape::new(1, 1, 67)]
}

/// Functions of one tensor.
pub(crate) fn unary() -> Vec<Case> {
    vec![
        one("x + k", Normal, |x| x + 0.7),
        one("x − k", Normal, |x| x - 0.7),
        one("x·k", Normal, |x| x * -1.3),
        one("−x", Normal, |x| -x),
        one("relu", Spaced, |x| x.relu()),
        one("leaky relu", Spaced, |x| x.leaky_relu()),
        one("tanh", Normal, |x| x.tanh()),
        one("swish", Normal, |x| x.swish()),
        one("exp", Normal, |x| x.exp()),
        one("ln", Positive, |x| x.ln()),
        one("sqrt", Positive, |x| x.sqrt()),
        one("recip", Positive, |x| x.recip()),
        one("recip of negative numbers", Positive, |x| (-x).recip()),
        one("square", Normal, |x| x.square()),
        one("abs", Spaced, |x| x.abs()),
        one("sigmoid", Normal, |x| x.sigmoid()),
        one("softplus", Normal, |x| x.softplus()),
        one("clamp", Spaced, |x| x.clamp(-0.3, 0.5)),
        one("step", Spaced, |x| x.step() * x),
        one("sign", Spaced, |x| x.sign() * x),
        one("x used three times", Normal, |x| x * x * x + x),
        one("reshape", Normal, |x| x.reshape(Shape::new(1, 1, x.shape().len())).tanh()),
        one("a view of a view", Normal, |x| {
            let flat = x.reshape(Shape::new(x.shape().len(), 1, 1));
            flat.reshape(x.shape()) * x
        }),
        one("sum", Normal, |x| x.tanh().sum()),
        one("mean", Normal, |x| x.tanh().mean()),
        one("sum_cols", Normal, |x| x.tanh().sum_cols()),
        one("layer_norm_cols", Normal, |x| (x * 3.0).layer_norm_cols()),
        case("layer_norm_cols of wide rows", Normal, wide, |x| x[0].layer_norm_cols()),
        one("mean_cols", Normal, |x| x.tanh().mean_cols()),
        one("norm_cols", Normal, |x| x.norm_cols()),
        one("norm_cols of zeros", Normal, |x| (x * 0.0).norm_cols() + x),
        one("sum_members", Normal, |x| x.tanh().sum_members()),
        one("mean_members", Normal, |x| x.tanh().mean_members()),
        one("sum_to rows", Normal, |x| x.tanh().sum_to(Shape { rows: 1, ..x.shape() })),
        one("sum_to members and rows", Normal, |x| x.tanh().sum_to(Shape::new(1, 1, x.shape().cols))),
        one("sum_to rows and columns", Normal, |x| x.tanh().sum_to(Shape::new(x.shape().members, 1, 1))),
        one("min_members", Spaced, |x| x.min_members()),
        one("max_members", Spaced, |x| x.max_members()),
        one("arg_min_members", Spaced, |x| x.arg_min_members() * x),
        one("max_cols", Spaced, |x| x.max_cols()),
        one("arg_max_cols", Spaced, |x| x.arg_max_cols() * x),
        one("log_sum_exp_cols", Normal, |x| x.log_sum_exp_cols()),
        case("log_sum_exp_cols of wide rows", Normal, wide, |x| x[0].log_sum_exp_cols()),
        case("max_cols of wide rows", Spaced, wide, |x| x[0].max_cols()),
        one("cols at the left", Normal, |x| x.cols(0, x.shape().cols.div_ceil(2))),
        one("cols at the right", Normal, |x| x.cols(x.shape().cols / 2, x.shape().cols.div_ceil(2)).tanh()),
        one("cols that overlap", Normal, |x| {
            let n = x.shape().cols.div_ceil(2);
            x.cols(0, n) * x.cols(x.shape().cols - n, n)
        }),
        one("rows at the top", Normal, |x| x.rows(0, x.shape().rows.div_ceil(2))),
        one("rows at the bottom", Normal, |x| x.rows(x.shape().rows / 2, x.shape().rows.div_ceil(2)).tanh()),
        one("rows that overlap", Normal, |x| {
            let n = x.shape().rows.div_ceil(2);
            x.rows(0, n) * x.rows(x.shape().rows - n, n)
        }),
        one("repeat_rows", Normal, |x| x.repeat_rows(3).tanh()),
        one("sum_groups", Normal, |x| x.repeat_rows(2).tanh().sum_groups(2)),
        case("sum_groups across rows", Normal, |_| vec![Shape::new(2, 6, 3)], |x| x[0].sum_groups(3)),
        one("member", Normal, |x| x.member(x.shape().members - 1).tanh()),
        one("member times the rest", Normal, |x| x * x.member(0)),
        one("detached in part", Normal, |x| x.square() + x.detach() * 0.0),
    ]
}

/// Functions of two tensors of one shape, or of chosen shapes.
pub(crate) fn several() -> Vec<Case> {
    vec![
        two("x + y", Normal, |x, y| x + y),
        two("x − y", Normal, |x, y| x - y),
        two("x·y", Normal, |x, y| x * y),
        two("x/y", Positive, |x, y| x / y),
        two("min", Spaced, |x, y| x.min(y)),
        two("max", Spaced, |x, y| x.max(y)),
        two("less", Spaced, |x, y| x.less(y) * x * y),
        two("cat", Normal, |x, y| x.cat(y)),
        two("cat of a tensor with itself", Normal, |x, y| x.cat(x).tanh() * y.cat(x)),
        case("cat of different widths", Normal, |_| vec![Shape::new(2, 3, 2), Shape::new(1, 3, 4)], |x| x[0].cat(x[1])),
        case(
            "x·y with wide rows and a column",
            Normal,
            |_| vec![Shape::new(1, 1, 67), Shape::new(1, 2, 1)],
            |x| x[0] * x[1],
        ),
    ]
}

/// Two inputs whose sizes are 1 or not in all 64 ways, for everything that broadcasts.
pub(crate) fn broadcasts() -> Vec<Case> {
    let binary: [(&str, Of2); 8] = [
        ("+", |x, y| x + y),
        ("−", |x, y| x - y),
        ("·", |x, y| x * y),
        ("/", |x, y| x / (y.square() + 0.5)),
        ("min", |x, y| x.min(y)),
        ("max", |x, y| x.max(y)),
        ("less", |x, y| x.less(y) * (x + y * 2.0)),
        ("cat", |x, y| x.cat(y)),
    ];
    let mut cases = vec![];
    let pick = |bits: usize| {
        let size = |bit: usize, n| if bits >> bit & 1 == 1 { n } else { 1 };
        Shape::new(size(0, 2), size(1, 3), size(2, 2))
    };
    for pattern in 0..64 {
        let (a, b) = (pick(pattern & 7), pick(pattern >> 3));
        for (name, f) in binary {
            cases.push(case(format!("{name} of {a:?} and {b:?}"), Spaced, move |_| vec![a, b], move |x| f(x[0], x[1])));
        }
    }
    for from in 0..8 {
        for to in (0..8).filter(|to| from & to == from) {
            let (small, large) = (pick(from), pick(to));
            let name = format!("{small:?} to {large:?}");
            cases.push(case(
                format!("spread {name}"),
                Normal,
                move |_| vec![small],
                move |x| x[0].tanh().spread(large),
            ));
            cases.push(case(
                format!("sum_to {name}"),
                Normal,
                move |_| vec![large],
                move |x| x[0].tanh().sum_to(small),
            ));
        }
    }
    cases
}

/// Products in four forms and layers with every activation, members shared or not.
pub(crate) fn products() -> Vec<Case> {
    let mut cases = vec![];
    for form in 0..16 {
        let [ta, tb, share_a, share_b] = [0, 1, 2, 3].map(|bit| form >> bit & 1 == 1);
        let shapes = move |key: Key| {
            let s = shape(key);
            let (m, k, n) = (s.rows, s.cols, 1 + key.below(4, 9));
            let (a, b) = (if ta { (k, m) } else { (m, k) }, if tb { (n, k) } else { (k, n) });
            let stack = |share| if share { 1 } else { s.members };
            vec![Shape::new(stack(share_a), a.0, a.1), Shape::new(stack(share_b), b.0, b.1)]
        };
        let name = format!("matmul, transposed {ta} {tb}, shared {share_a} {share_b}");
        cases.push(case(name, Normal, shapes, move |x| x[0].matmul(x[1], ta, tb)));
    }
    for act in [Activation::Identity, Activation::Relu, Activation::LeakyRelu, Activation::Tanh, Activation::Swish] {
        for sharing in 0..8 {
            let shapes = move |key: Key| {
                let s = shape(key);
                let n = 1 + key.below(4, 9);
                let stack = |bit: usize| if sharing >> bit & 1 == 1 { 1 } else { s.members };
                vec![Shape::new(stack(0), s.rows, s.cols), Shape::new(stack(1), s.cols, n), Shape::new(stack(2), 1, n)]
            };
            cases.push(case(format!("linear, {act:?}, sharing {sharing:03b}"), Normal, shapes, move |x| {
                x[0].linear(x[1], x[2], act)
            }));
        }
    }
    for (groups, act) in [
        (1, Activation::Relu),
        (2, Activation::Identity),
        (2, Activation::Relu),
        (2, Activation::Tanh),
        (2, Activation::Swish),
        (6, Activation::Tanh),
    ] {
        for sharing in 0..8 {
            let stack = move |bit: usize| if sharing >> bit & 1 == 1 { 1 } else { 2 };
            let shapes =
                move |_| vec![Shape::new(stack(0), 6, 3), Shape::new(stack(1), 3, 4), Shape::new(stack(2), groups, 4)];
            let name = format!("linear, {act:?}, {groups} rows of bias for 6, sharing {sharing:03b}");
            cases.push(case(name, Normal, shapes, move |x| x[0].linear(x[1], x[2], act)));
        }
    }
    cases.push(case(
        "a product with itself",
        Normal,
        |_| vec![Shape::new(2, 3, 3)],
        |x| x[0].matmul(x[0], true, false),
    ));
    cases.push(case(
        "a chain of products",
        Normal,
        |_| vec![Shape::new(1, 2, 3), Shape::new(2, 3, 2)],
        |x| x[0].matmul(x[1], false, false).tanh().matmul(x[1], false, true) * (0.5 as Real),
    ));
    cases
}
