//! Elementwise functions over slices, by polynomials that a compiler can turn into vectors.
//!
//! Each loop is compiled for AVX-512, AVX2 with FMA, and the baseline, and chosen at run time. Where the instruction set has
//! fused multiply–adds, as the baseline of 64-bit ARM does, the polynomials use them, and all that have give the same bits; any
//! other baseline rounds twice where they round once. Quotients whose divisor lies in a known octave are products with a reciprocal by Newton's method: a divider
//! handles one number a cycle, a multiplier thirty-two. In double precision the standard library's functions are used.

use super::scalar;
use crate::Real;
use multiversion::{multiversion, target::match_target};

#[cfg(test)]
type Unary = fn(&[Real], &mut [Real]);
#[cfg(test)]
type Binary = fn(&[Real], &[Real], &mut [Real]);

/// Whether the version of a loop that is being compiled has fused multiply–adds.
macro_rules! fused {
    () => {
        match_target! {
            "x86_64+avx512f+avx512bw+avx512dq+avx512vl" => true,
            "x86_64+avx512f" => true,
            "x86_64+avx2+fma" => true,
            _ => cfg!(target_arch = "aarch64"),
        }
    };
}

macro_rules! unary {
    ($($(#[$doc:meta])* $name:ident($x:ident) = $value:expr;)*) => {$(
        $(#[$doc])*
        #[multiversion(targets("x86_64+avx512f+avx512bw+avx512dq+avx512vl", "x86_64+avx2+fma"))]
        pub(crate) fn $name(x: &[Real], out: &mut [Real]) {
            #[allow(dead_code, reason = "not every function multiplies and adds")]
            const FMA: bool = fused!();
            for (out, &$x) in out.iter_mut().zip(x) {
                *out = $value;
            }
        }
    )*
        /// Each function as dispatched, and the same loop compiled for the baseline alone: the twin it is tested against.
        #[cfg(test)]
        const TWINS_UNARY: &[(&str, [Unary; 2])] = &[$((stringify!($name), [$name, {
            fn baseline(x: &[Real], out: &mut [Real]) {
                #[allow(dead_code, reason = "not every function multiplies and adds")]
                const FMA: bool = true;
                for (out, &$x) in out.iter_mut().zip(x) {
                    *out = $value;
                }
            }
            baseline
        }]),)*];
    };
}

macro_rules! binary {
    ($($(#[$doc:meta])* $name:ident($x:ident, $y:ident) = $value:expr;)*) => {$(
        $(#[$doc])*
        #[multiversion(targets("x86_64+avx512f+avx512bw+avx512dq+avx512vl", "x86_64+avx2+fma"))]
        pub(crate) fn $name(x: &[Real], y: &[Real], out: &mut [Real]) {
            #[allow(dead_code, reason = "not every function multiplies and adds")]
            const FMA: bool = fused!();
            for ((out, &$x), &$y) in out.iter_mut().zip(x).zip(y) {
                *out = $value;
            }
        }
    )*
        /// Each function as dispatched, and the same loop compiled for the baseline alone: the twin it is tested against.
        #[cfg(test)]
        const TWINS_BINARY: &[(&str, [Binary; 2])] = &[$((stringify!($name), [$name, {
            fn baseline(x: &[Real], y: &[Real], out: &mut [Real]) {
                #[allow(dead_code, reason = "not every function multiplies and adds")]
                const FMA: bool = true;
                for ((out, &$x), &$y) in out.iter_mut().zip(x).zip(y) {
                    *out = $value;
                }
            }
            baseline
        }]),)*];
    };
}

/// The slope of a leaky ReLU below zero.
const LEAK: Real = 0.01;

unary! {
    /// eˣ.
    exp(x) = scalar::exp::<FMA>(x);
    /// ln x.
    ln(x) = scalar::ln::<FMA>(x);
    /// tanh x.
    tanh(x) = scalar::tanh::<FMA>(x);
    /// 1/(1 + e⁻ˣ).
    sigmoid(x) = scalar::sigmoid::<FMA>(x);
    /// ln(1 + eˣ).
    softplus(x) = scalar::softplus::<FMA>(x);
    /// x·sigmoid(x) (swish, SiLU).
    swish(x) = scalar::swish::<FMA>(x).0;
    /// max(x, 0), keeping NaN.
    relu(x) = if x <= 0.0 { 0.0 } else { x };
    /// x where x > 0, x/100 elsewhere, keeping NaN.
    leaky_relu(x) = if x <= 0.0 { LEAK * x } else { x };
    /// 1 where x > 0.
    step(x) = if x > 0.0 { 1.0 } else { 0.0 };
    /// −1, 0 or 1.
    sign(x) = if x > 0.0 { 1.0 } else if x < 0.0 { -1.0 } else { 0.0 };
    /// |x|.
    abs(x) = x.abs();
    /// √x.
    sqrt(x) = x.sqrt();
    /// 1/x.
    recip(x) = 1.0 / x;
    /// x².
    square(x) = x * x;
}

binary! {
    /// x + y.
    add(x, y) = x + y;
    /// x − y.
    sub(x, y) = x - y;
    /// x·y.
    mul(x, y) = x * y;
    /// min(x, y), x where they are equal.
    min(x, y) = if y < x { y } else { x };
    /// 1 where y < x, the places where `min` chose its second argument.
    less(x, y) = if y < x { 1.0 } else { 0.0 };
    /// g·relu′, from the output y.
    relu_grad(g, y) = if y > 0.0 { g } else { 0.0 };
    /// g·leaky_relu′, from the output y.
    leaky_relu_grad(g, y) = if y > 0.0 { g } else { LEAK * g };
    /// g·tanh′, from the output y.
    tanh_grad(g, y) = g * (1.0 - y * y);
    /// g·swish′(x) = g·σ(1 + x(1 − σ)), from the input x.
    swish_grad(g, x) = g * scalar::swish::<FMA>(x).1;
}

/// x·sigmoid(x) in place of the first `cols` numbers x of each `step`.
#[multiversion(targets("x86_64+avx512f+avx512bw+avx512dq+avx512vl", "x86_64+avx2+fma"))]
pub(crate) fn swish_cols(x: &mut [Real], cols: usize, step: usize) {
    #[allow(dead_code, reason = "double precision has no use for it")]
    const FMA: bool = fused!();
    for row in x.chunks_mut(step) {
        let (vectors, rest) = row[..cols].as_chunks_mut::<16>();
        for x in vectors {
            x.iter_mut().for_each(|x| *x = scalar::swish::<FMA>(*x).0);
        }
        rest.iter_mut().for_each(|x| *x = scalar::swish::<FMA>(*x).0);
    }
}

/// x·sigmoid(x) in place of x, and its derivative: one exponential for both.
#[multiversion(targets("x86_64+avx512f+avx512bw+avx512dq+avx512vl", "x86_64+avx2+fma"))]
pub(crate) fn swish_and_slope(x: &mut [Real], slope: &mut [Real]) {
    #[allow(dead_code, reason = "double precision has no use for it")]
    const FMA: bool = fused!();
    for (x, slope) in x.iter_mut().zip(slope) {
        (*x, *slope) = scalar::swish::<FMA>(*x);
    }
}

/// `k·x`.
#[multiversion(targets("x86_64+avx512f", "x86_64+avx2+fma"))]
pub(crate) fn scale(k: Real, x: &[Real], out: &mut [Real]) {
    for (out, &x) in out.iter_mut().zip(x) {
        *out = k * x;
    }
}

/// `k + x`.
#[multiversion(targets("x86_64+avx512f", "x86_64+avx2+fma"))]
pub(crate) fn offset(k: Real, x: &[Real], out: &mut [Real]) {
    for (out, &x) in out.iter_mut().zip(x) {
        *out = k + x;
    }
}

/// The sum of `x` in sixteen interleaved partial sums, then those in order: one fixed order for every machine.
#[multiversion(targets("x86_64+avx512f", "x86_64+avx2+fma"))]
pub(crate) fn sum(x: &[Real]) -> Real {
    let mut lanes = [0.0; 16];
    let chunks = x.chunks_exact(16);
    let rest = chunks.remainder();
    for chunk in chunks {
        for (s, &x) in lanes.iter_mut().zip(chunk) {
            *s += x;
        }
    }
    for (s, &x) in lanes.iter_mut().zip(rest) {
        *s += x;
    }
    let mut total = 0.0;
    for s in lanes {
        total += s;
    }
    total
}

/// Added to a variance before its root.
pub(crate) const LAYER_NORM_EPSILON: Real = 1e-5;

/// Σ f(x) in sixteen interleaved parts.
#[inline(always)]
fn sum_of(x: &[Real], f: impl Fn(Real) -> Real) -> Real {
    let mut lanes = [0.0; 16];
    let (chunks, rest) = x.as_chunks::<16>();
    for chunk in chunks {
        for (s, &x) in lanes.iter_mut().zip(chunk) {
            *s += f(x);
        }
    }
    for (s, &x) in lanes.iter_mut().zip(rest) {
        *s += f(x);
    }
    lanes.iter().fold(0.0, |total, s| total + s)
}

/// Mean of a row and 1/√(variance + ε).
#[inline(always)]
fn moments(x: &[Real]) -> (Real, Real) {
    let per_col = 1.0 / x.len() as Real;
    let mean = sum_of(x, |x| x) * per_col;
    let variance = sum_of(x, |x| (x - mean) * (x - mean)) * per_col;
    (mean, 1.0 / (variance + LAYER_NORM_EPSILON).sqrt())
}

/// (x − mean)/√(variance + ε) of each row of `cols` columns.
#[multiversion(targets("x86_64+avx512f", "x86_64+avx2+fma"))]
pub(crate) fn layer_norm(x: &[Real], cols: usize, out: &mut [Real]) {
    for (x, out) in x.chunks_exact(cols).zip(out.chunks_exact_mut(cols)) {
        let (mean, scale) = moments(x);
        for (out, &x) in out.iter_mut().zip(x) {
            *out = (x - mean) * scale;
        }
    }
}

/// g·∂y/∂x for y = [`layer_norm`] of x: (g − mean(g) − y·mean(g·y))/√(variance + ε).
#[multiversion(targets("x86_64+avx512f", "x86_64+avx2+fma"))]
pub(crate) fn layer_norm_grad(g: &[Real], x: &[Real], cols: usize, out: &mut [Real]) {
    let per_col = 1.0 / cols as Real;
    for ((g, x), out) in g.chunks_exact(cols).zip(x.chunks_exact(cols)).zip(out.chunks_exact_mut(cols)) {
        let (mean, scale) = moments(x);
        let (mut sum, mut along) = ([0.0; 16], [0.0; 16]);
        for (g, x) in g.chunks(16).zip(x.chunks(16)) {
            for (((s, a), &g), &x) in sum.iter_mut().zip(&mut along).zip(g).zip(x) {
                *s += g;
                *a += g * ((x - mean) * scale);
            }
        }
        let total = |lanes: [Real; 16]| lanes.iter().fold(0.0, |total, s| total + s) * per_col;
        let (sum, along) = (total(sum), total(along));
        for ((out, &g), &x) in out.iter_mut().zip(g).zip(x) {
            *out = (g - sum - (x - mean) * scale * along) * scale;
        }
    }
}

/// The `cols` numbers from each `from_step` of one slice on, to each `to_step` of another, as often as both have them: a part of
/// the columns of a matrix. Rows are short and many, so that a call to copy each would take longer than the copy.
///
/// # Panics
/// If a step is smaller than `cols`.
#[multiversion(targets("x86_64+avx512f", "x86_64+avx2+fma"))]
pub(crate) fn copy_cols(cols: usize, from: &[Real], from_step: usize, to: &mut [Real], to_step: usize) {
    assert!(0 < cols && cols <= from_step && cols <= to_step, "copy_cols: {cols} of {from_step} to {to_step}");
    for (from, to) in from.chunks(from_step).zip(to.chunks_mut(to_step)) {
        let (from, to) = (&from[..cols], &mut to[..cols]);
        let mut at = 0;
        // Lengths that a compiler knows, so that it does not call for them.
        macro_rules! copy {
            ($n:literal) => {
                let x: [Real; $n] = from[at..at + $n].try_into().expect("as many");
                to[at..at + $n].copy_from_slice(&x);
            };
        }
        while at + 16 <= cols {
            copy!(16);
            at += 16;
        }
        if cols & 8 != 0 {
            copy!(8);
            at += 8;
        }
        if cols & 4 != 0 {
            copy!(4);
            at += 4;
        }
        if cols & 2 != 0 {
            copy!(2);
            at += 2;
        }
        if cols & 1 != 0 {
            copy!(1);
        }
    }
}

/// `out += x`.
#[multiversion(targets("x86_64+avx512f", "x86_64+avx2+fma"))]
pub(crate) fn accumulate(x: &[Real], out: &mut [Real]) {
    for (out, &x) in out.iter_mut().zip(x) {
        *out += x;
    }
}

/// `to += k·(from − to)`, the step of a Polyak average.
#[multiversion(targets("x86_64+avx512f", "x86_64+avx2+fma"))]
pub(crate) fn lerp(k: Real, from: &[Real], to: &mut [Real]) {
    for (to, &from) in to.iter_mut().zip(from) {
        *to += k * (from - *to);
    }
}

/// The constants of one Adam step on one range (Kingma & Ba, arXiv:1412.6980, Algorithm 1).
#[derive(Clone, Copy)]
pub(crate) struct AdamStep {
    pub(crate) beta1: Real,
    pub(crate) beta2: Real,
    pub(crate) epsilon: Real,
    /// α/(1 − β₁ᵗ).
    pub(crate) rate: Real,
    /// 1/√(1 − β₂ᵗ).
    pub(crate) root: Real,
    /// α·λ of decoupled decay (Loshchilov & Hutter, arXiv:1711.05101).
    pub(crate) decay: Real,
    /// λ of ½λ‖θ‖² in the loss.
    pub(crate) l2: Real,
}

/// One pass over parameters, gradients and both moments.
#[multiversion(targets("x86_64+avx512f", "x86_64+avx2+fma"))]
pub(crate) fn adam(c: AdamStep, p: &mut [Real], g: &[Real], m: &mut [Real], v: &mut [Real]) {
    const FMA: bool = fused!();
    for (((p, &g), m), v) in p.iter_mut().zip(g).zip(m).zip(v) {
        let g = g + c.l2 * *p;
        *m = c.beta1 * *m + (1.0 - c.beta1) * g;
        *v = c.beta2 * *v + (1.0 - c.beta2) * g * g;
        let step = c.rate * *m * scalar::recip_positive::<FMA>(scalar::root::<FMA>(*v) * c.root + c.epsilon);
        *p -= c.decay * *p + step;
    }
}

#[cfg(all(test, not(feature = "f64")))]
mod tests {
    use super::*;

    fn worst(f: fn(&[Real], &mut [Real]), exact: fn(f64) -> f64, from: f64, to: f64, relative: bool) -> f64 {
        let x: Vec<Real> = (0..=200_000).map(|i| (from + (to - from) * i as f64 / 200_000.0) as Real).collect();
        let mut y = vec![0.0; x.len()];
        f(&x, &mut y);
        x.iter().zip(&y).fold(0.0, |worst: f64, (&x, &y)| {
            let e = exact(x as f64);
            worst.max((y as f64 - e).abs() / if relative { e.abs() } else { 1.0 })
        })
    }

    #[test]
    fn errors_are_as_stated() {
        let loops: [Unary; 3] = [
            |x, y| y.iter_mut().zip(x).for_each(|(y, &x)| *y = scalar::root::<true>(x)),
            |x, y| y.iter_mut().zip(x).for_each(|(y, &x)| *y = scalar::recip_positive::<true>(x)),
            |x, y| y.iter_mut().zip(x).for_each(|(y, &x)| *y = scalar::exp_of_minus::<true>(x)),
        ];
        let checks: [(&str, f64, f64); 16] = [
            ("root", worst(loops[0], f64::sqrt, 1e-12, 4.0, true), 3e-7),
            ("root of small numbers", worst(loops[0], f64::sqrt, 1e-30, 1e-26, true), 3e-7),
            ("reciprocal", worst(loops[1], f64::recip, 1e-8, 40.0, true), 2e-7),
            ("exp", worst(exp, f64::exp, -87.0, 88.0, true), 2e-7),
            ("exp of minus", worst(loops[2], |a| (-a).exp(), 0.0, 20.0, true), 3e-7),
            ("exp of plus", worst(loops[2], |a| (-a).exp(), -20.0, 0.0, true), 3e-7),
            ("exp of plus much", worst(loops[2], |a| (-a).exp(), -87.0, -20.0, true), 4e-7),
            ("exp of minus much", worst(loops[2], |a| (-a).exp(), 20.0, 87.0, true), 4e-7),
            ("ln near 1", worst(ln, f64::ln, 0.5, 2.0, false), 1.2e-7),
            ("ln", worst(ln, f64::ln, 1e-3, 1e6, true), 3e-7),
            ("tanh", worst(tanh, f64::tanh, -12.0, 12.0, false), 2e-7),
            ("tanh near 0", worst(tanh, f64::tanh, 1e-4, 0.7, true), 3e-7),
            ("sigmoid", worst(sigmoid, |x| 1.0 / (1.0 + (-x).exp()), -80.0, 80.0, true), 4e-7),
            ("softplus", worst(softplus, |x| x.max(0.0) + (-x.abs()).exp().ln_1p(), -80.0, 80.0, true), 4e-7),
            ("swish", worst(swish, |x| x / (1.0 + (-x).exp()), 1e-3, 80.0, true), 3e-7),
            ("swish of negatives", worst(swish, |x| x / (1.0 + (-x).exp()), -80.0, -1e-3, true), 4.5e-7),
        ];
        for (name, error, bound) in checks {
            assert!(error <= bound, "{name}: {error:e} is beyond {bound:e}");
        }
    }

    #[test]
    fn limits_and_nan() {
        let x = [Real::NAN, Real::INFINITY, Real::NEG_INFINITY, 0.0];
        let mut y = [0.0; 4];
        let mut at = |f: fn(&[Real], &mut [Real])| {
            f(&x, &mut y);
            y
        };
        for f in [exp, ln, tanh, sigmoid, softplus, relu] {
            assert!(at(f)[0].is_nan());
        }
        assert_eq!(at(exp)[1..], [Real::INFINITY, 0.0, 1.0]);
        assert_eq!(at(ln)[1], Real::INFINITY);
        assert_eq!(at(ln)[3], Real::NEG_INFINITY);
        assert_eq!(at(tanh)[1..], [1.0, -1.0, 0.0]);
        assert_eq!(at(sigmoid)[1..], [1.0, 0.0, 0.5]);
        assert_eq!(at(relu)[1..], [Real::INFINITY, 0.0, 0.0]);
    }
}

#[cfg(test)]
mod twins {
    use super::*;
    use backcast_core::Key;

    /// Normal numbers at several scales and every special one, of a length that leaves a ragged tail.
    fn numbers(key: Key) -> Vec<Real> {
        let mut x = vec![0.0; 4099];
        key.normal(&mut x);
        for (i, x) in x.iter_mut().enumerate() {
            *x *= [1.0, 0.01, 30.0, 100.0][i % 4];
        }
        let special = [Real::NAN, Real::INFINITY, Real::NEG_INFINITY, 0.0, -0.0, Real::MIN_POSITIVE, Real::MAX, 88.6];
        for (x, special) in x.iter_mut().step_by(7).zip(special) {
            *x = special;
        }
        x
    }

    /// Any NaN is as good as any other: which payload survives a product is the processor's choice.
    fn bits(x: &[Real]) -> Vec<u64> {
        x.iter().map(|&x| if x.is_nan() { u64::MAX } else { (x as f64).to_bits() }).collect()
    }

    #[test]
    fn every_instruction_set_gives_the_same_bits() {
        let (x, y) = (numbers(Key::new(1)), numbers(Key::new(2)));
        let twice = |f: &dyn Fn(usize, &mut [Real])| {
            [0, 1].map(|i| {
                let mut out = vec![0.5; x.len()];
                f(i, &mut out);
                bits(&out)
            })
        };
        for (name, twins) in TWINS_UNARY {
            let [dispatched, baseline] = twice(&|i, out| twins[i](&x, out));
            assert!(dispatched == baseline, "{name}");
        }
        for (name, twins) in TWINS_BINARY {
            let [dispatched, baseline] = twice(&|i, out| twins[i](&x, &y, out));
            assert!(dispatched == baseline, "{name}");
        }
    }

    /// Every number of columns, from a matrix to a wider one and back.
    #[test]
    fn columns_are_copied() {
        let x: Vec<Real> = (0..7 * 41).map(|i| i as Real).collect();
        for cols in 1..=37 {
            let mut wide = vec![-1.0; 7 * 45 - 4];
            copy_cols(cols, &x[3..], 41, &mut wide[2..], 45);
            for (i, &got) in wide.iter().enumerate() {
                let (row, col) = (i / 45, i % 45);
                let inside = (2..2 + cols).contains(&col);
                assert_eq!(
                    got,
                    if inside { (row * 41 + col + 1) as Real } else { -1.0 },
                    "{cols} columns, row {row}, column {col}"
                );
            }
        }
    }

    /// The forms that write over their argument are those that do not; what the slope is times one.
    #[test]
    fn swish_in_place_is_swish() {
        let (x, ones) = (numbers(Key::new(4)), vec![1.0; 4099]);
        let (mut value, mut slope) = (vec![0.0; x.len()], vec![0.0; x.len()]);
        swish(&x, &mut value);
        swish_grad(&ones, &x, &mut slope);
        let mut alone = x.clone();
        swish_cols(&mut alone, 4099, 4099);
        assert!(bits(&alone) == bits(&value));
        let (mut both, mut beside) = (x.clone(), vec![0.0; x.len()]);
        swish_and_slope(&mut both, &mut beside);
        assert!(bits(&both) == bits(&value) && bits(&beside) == bits(&slope));
    }

    /// The loops with constants, written out here once more without any target feature.
    #[test]
    fn sums_and_steps_give_the_same_bits() {
        let n = 1003;
        let mut x = vec![0.0; 4 * n];
        Key::new(3).normal(&mut x);
        let (x, g) = (&x[..n], &x[n..2 * n]);
        let mut lanes = [0.0; 16];
        x.iter().enumerate().for_each(|(i, x)| lanes[i % 16] += x);
        assert_eq!(sum(x).to_bits(), lanes.iter().fold(0.0, |total, s| total + s).to_bits());
        let check = |name, kernel: &dyn Fn(&mut [Real]), one: &dyn Fn(usize, Real) -> Real| {
            let mut out = g.to_vec();
            kernel(&mut out);
            let want: Vec<Real> = g.iter().enumerate().map(|(i, &g)| one(i, g)).collect();
            assert!(bits(&out) == bits(&want), "{name}");
        };
        check("scale", &|out| scale(0.3, x, out), &|i, _| 0.3 * x[i]);
        check("offset", &|out| offset(0.3, x, out), &|i, _| 0.3 + x[i]);
        check("accumulate", &|out| accumulate(x, out), &|i, o| o + x[i]);
        check("lerp", &|out| lerp(0.005, x, out), &|i, o| o + 0.005 * (x[i] - o));
        // A large rate, so that the step shows in every bit of the parameter.
        let c = AdamStep { beta1: 0.9, beta2: 0.999, epsilon: 1e-8, rate: 3.0, root: 1.1, decay: 1e-5, l2: 0.5 };
        let (m, v) = (vec![0.1; n], vec![0.2; n]);
        check("adam", &|out| adam(c, out, x, &mut m.clone(), &mut v.clone()), &|i, p| {
            let g = x[i] + c.l2 * p;
            let m = c.beta1 * m[i] + (1.0 - c.beta1) * g;
            let v = c.beta2 * v[i] + (1.0 - c.beta2) * g * g;
            let divisor = scalar::root::<true>(v) * c.root + c.epsilon;
            p - (c.decay * p + c.rate * m * scalar::recip_positive::<true>(divisor))
        });
    }
}
