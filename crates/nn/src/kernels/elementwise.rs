//! Elementwise functions over slices, by polynomials that a compiler can turn into vectors.
//!
//! Each loop is compiled for AVX-512, AVX2 with FMA, and the baseline, and chosen at run time. Where the instruction set has
//! fused multiply–adds, as the baseline of 64-bit ARM does, the polynomials use them, and all that have give the same bits; any
//! other baseline rounds twice where they round once. Quotients whose divisor lies in a known octave are products with a reciprocal by Newton's method: a divider
//! handles one number a cycle, a multiplier thirty-two. In double precision the standard library's functions are used.

use crate::Real;
use multiversion::{multiversion, target::match_target};

/// Scalar functions in single precision. `FMA` says whether a·b + c is one operation.
#[cfg(not(feature = "f64"))]
mod scalar {
    /// a·b + c, rounded once or twice.
    #[inline(always)]
    fn fma<const FMA: bool>(a: f32, b: f32, c: f32) -> f32 {
        if FMA { a.mul_add(b, c) } else { a * b + c }
    }

    /// x₀ + t·(x₁ + t·(x₂ + …)).
    #[inline(always)]
    fn polynomial<const FMA: bool, const N: usize>(t: f32, c: [f32; N]) -> f32 {
        let mut y = c[N - 1];
        for i in (0..N - 1).rev() {
            y = fma::<FMA>(y, t, c[i]);
        }
        y
    }

    /// One step of Newton's method towards 1/y.
    #[inline(always)]
    fn newton<const FMA: bool>(y: f32, guess: f32) -> f32 {
        fma::<FMA>(guess, fma::<FMA>(-y, guess, 1.0), guess)
    }

    /// 1/y for y in [1, 2], relative error below 1.2e-7: the quadratic whose y-fold is nearest to 1 there (within 1/99, a
    /// Chebyshev polynomial), and two steps of Newton's method.
    #[inline(always)]
    fn recip_of_one_to_two<const FMA: bool>(y: f32) -> f32 {
        let guess = polynomial::<FMA, 3>(y, [210.0 / 99.0, -144.0 / 99.0, 32.0 / 99.0]);
        newton::<FMA>(y, newton::<FMA>(y, guess))
    }

    /// 1/y for positive normal y below 2¹²⁵, relative error below 2e-7: a guess from the exponent and three steps of Newton's
    /// method.
    #[inline(always)]
    pub(super) fn recip_positive<const FMA: bool>(y: f32) -> f32 {
        let guess = f32::from_bits(0x7EF3_11C7_u32.wrapping_sub(y.to_bits()));
        newton::<FMA>(y, newton::<FMA>(y, newton::<FMA>(y, guess)))
    }

    /// √y for y ≥ 0, relative error below 3e-7 where y is normal: y/√y, the reciprocal root by Newton's method from the
    /// exponent. 0 for 0.
    #[inline(always)]
    pub(super) fn root<const FMA: bool>(y: f32) -> f32 {
        let mut z = f32::from_bits(0x5F37_59DF_u32.wrapping_sub(y.to_bits() >> 1));
        for _ in 0..3 {
            z *= fma::<FMA>(-0.5 * y * z, z, 1.5);
        }
        y * z
    }

    /// eˣ, relative error below 1.2e-7 where the result is normal. NaN stays NaN, 0 below −87, ∞ above 88.37
    /// (127½ ln 2, a little before `f32` itself overflows).
    #[inline(always)]
    pub(super) fn exp<const FMA: bool>(x: f32) -> f32 {
        // Adding 1.5·2²³ rounds to the nearest integer and leaves it in the low bits of the mantissa.
        const MAGIC: f32 = 12_582_912.0;
        let clamped = x.clamp(-87.0, 88.5);
        let shifted = fma::<FMA>(clamped, std::f32::consts::LOG2_E, MAGIC);
        let n = shifted - MAGIC;
        let r = fma::<FMA>(n, 2.121_944_4e-4, fma::<FMA>(n, -0.693_359_4, clamped));
        // Taylor to the seventh power: the remainder is below 2⁻²⁷ on |r| ≤ ½ ln 2.
        let series = [1.0, 1.0, 0.5, 1.0 / 6.0, 1.0 / 24.0, 1.0 / 120.0, 1.0 / 720.0, 1.0 / 5040.0];
        let p = polynomial::<FMA, 8>(r, series);
        let scale = f32::from_bits((shifted.to_bits() << 23).wrapping_add(127 << 23));
        let y = p * scale;
        let y = if x > 88.5 { f32::INFINITY } else { y };
        if x < -87.0 { 0.0 } else { y }
    }

    /// ln x, absolute error below 1e-7·max(1, |ln x|). Zero gives −∞, a negative number NaN; subnormals count as zero.
    #[inline(always)]
    pub(super) fn ln<const FMA: bool>(x: f32) -> f32 {
        let shifted = x.to_bits().wrapping_sub(0x3F35_04F3);
        let exponent = ((shifted as i32) >> 23) as f32;
        let mantissa = f32::from_bits((shifted & 0x007F_FFFF).wrapping_add(0x3F35_04F3));
        // (m − 1)/(m + 1), both times 0.6: the divisor is between 1.02 and 1.45.
        let t = 0.6 * (mantissa - 1.0) * recip_of_one_to_two::<FMA>(0.6 * (mantissa + 1.0));
        let series = 2.0 * t * polynomial::<FMA, 5>(t * t, [1.0, 1.0 / 3.0, 0.2, 1.0 / 7.0, 1.0 / 9.0]);
        let y = fma::<FMA>(exponent, 0.693_359_4, fma::<FMA>(exponent, -2.121_944_4e-4, series));
        let y = if x < f32::MIN_POSITIVE { f32::NEG_INFINITY } else { y };
        let y = if x < 0.0 || x.is_nan() { f32::NAN } else { y };
        if x == f32::INFINITY { x } else { y }
    }

    /// ln(1 + t) for t in [0, 1], relative error below 3e-7: an odd series in t/(2 + t).
    #[inline(always)]
    fn ln_1p<const FMA: bool>(t: f32) -> f32 {
        let half = 0.5 * t;
        let s = half * recip_of_one_to_two::<FMA>(1.0 + half);
        let series = [1.0, 1.0 / 3.0, 0.2, 1.0 / 7.0, 1.0 / 9.0, 1.0 / 11.0, 1.0 / 13.0];
        2.0 * s * polynomial::<FMA, 7>(s * s, series)
    }

    /// tanh x, absolute error below 2e-7; a minimax polynomial near zero, where the quotient would cancel.
    #[inline(always)]
    pub(super) fn tanh<const FMA: bool>(x: f32) -> f32 {
        let t = exp::<FMA>(-2.0 * x.abs());
        let far = ((1.0 - t) * recip_of_one_to_two::<FMA>(1.0 + t)).copysign(x);
        let q = x * x;
        let series = [-3.333_328e-1, 1.333_144_2e-1, -5.373_971_6e-2, 2.063_909e-2, -5.704_988_7e-3];
        let near = fma::<FMA>(x * q, polynomial::<FMA, 5>(q, series), x);
        if x.abs() < 0.625 { near } else { far }
    }

    /// 1/(1 + e⁻ˣ), relative error below 4e-7.
    #[inline(always)]
    pub(super) fn sigmoid<const FMA: bool>(x: f32) -> f32 {
        let t = exp::<FMA>(-x.abs());
        let large = recip_of_one_to_two::<FMA>(1.0 + t);
        if x < 0.0 { t * large } else { large }
    }

    /// ln(1 + eˣ) without overflow.
    #[inline(always)]
    pub(super) fn softplus<const FMA: bool>(x: f32) -> f32 {
        let y = (if x > 0.0 { x } else { 0.0 }) + ln_1p::<FMA>(exp::<FMA>(-x.abs()));
        if x.is_nan() { x } else { y }
    }
}

/// Scalar functions in double precision.
#[cfg(feature = "f64")]
mod scalar {
    pub(super) fn recip_positive<const FMA: bool>(x: f64) -> f64 {
        1.0 / x
    }
    pub(super) fn root<const FMA: bool>(x: f64) -> f64 {
        x.sqrt()
    }
    pub(super) fn exp<const FMA: bool>(x: f64) -> f64 {
        x.exp()
    }
    pub(super) fn ln<const FMA: bool>(x: f64) -> f64 {
        x.ln()
    }
    pub(super) fn tanh<const FMA: bool>(x: f64) -> f64 {
        x.tanh()
    }
    pub(super) fn sigmoid<const FMA: bool>(x: f64) -> f64 {
        1.0 / (1.0 + (-x).exp())
    }
    pub(super) fn softplus<const FMA: bool>(x: f64) -> f64 {
        x.max(0.0) + (-x.abs()).exp().ln_1p()
    }
}

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
    swish(x) = x * scalar::sigmoid::<FMA>(x);
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
    swish_grad(g, x) = { let s = scalar::sigmoid::<FMA>(x); g * s * (1.0 + x * (1.0 - s)) };
}

/// x·sigmoid(x) in place of x.
#[multiversion(targets("x86_64+avx512f+avx512bw+avx512dq+avx512vl", "x86_64+avx2+fma"))]
pub(crate) fn swish_in_place(x: &mut [Real]) {
    #[allow(dead_code, reason = "double precision has no use for it")]
    const FMA: bool = fused!();
    for x in x {
        *x *= scalar::sigmoid::<FMA>(*x);
    }
}

/// As [`swish_in_place`], and swish′(x) = σ(1 + x(1 − σ)): one exponential for both.
#[multiversion(targets("x86_64+avx512f+avx512bw+avx512dq+avx512vl", "x86_64+avx2+fma"))]
pub(crate) fn swish_and_slope(x: &mut [Real], slope: &mut [Real]) {
    #[allow(dead_code, reason = "double precision has no use for it")]
    const FMA: bool = fused!();
    for (x, slope) in x.iter_mut().zip(slope) {
        let s = scalar::sigmoid::<FMA>(*x);
        *slope = s * (1.0 + *x * (1.0 - s));
        *x *= s;
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
        let loops: [Unary; 2] = [
            |x, y| y.iter_mut().zip(x).for_each(|(y, &x)| *y = scalar::root::<true>(x)),
            |x, y| y.iter_mut().zip(x).for_each(|(y, &x)| *y = scalar::recip_positive::<true>(x)),
        ];
        let checks: [(&str, f64, f64); 11] = [
            ("root", worst(loops[0], f64::sqrt, 1e-12, 4.0, true), 3e-7),
            ("root of small numbers", worst(loops[0], f64::sqrt, 1e-30, 1e-26, true), 3e-7),
            ("reciprocal", worst(loops[1], f64::recip, 1e-8, 40.0, true), 2e-7),
            ("exp", worst(exp, f64::exp, -87.0, 88.0, true), 2e-7),
            ("ln near 1", worst(ln, f64::ln, 0.5, 2.0, false), 1.2e-7),
            ("ln", worst(ln, f64::ln, 1e-3, 1e6, true), 3e-7),
            ("tanh", worst(tanh, f64::tanh, -12.0, 12.0, false), 2e-7),
            ("tanh near 0", worst(tanh, f64::tanh, 1e-4, 0.7, true), 3e-7),
            ("sigmoid", worst(sigmoid, |x| 1.0 / (1.0 + (-x).exp()), -80.0, 80.0, true), 4e-7),
            ("softplus", worst(softplus, |x| x.max(0.0) + (-x.abs()).exp().ln_1p(), -80.0, 80.0, true), 4e-7),
            ("swish", worst(swish, |x| x / (1.0 + (-x).exp()), 1e-3, 80.0, true), 3e-7),
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

    /// The forms that write over their argument are those that do not; what the slope is times one.
    #[test]
    fn swish_in_place_is_swish() {
        let (x, ones) = (numbers(Key::new(4)), vec![1.0; 4099]);
        let (mut value, mut slope) = (vec![0.0; x.len()], vec![0.0; x.len()]);
        swish(&x, &mut value);
        swish_grad(&ones, &x, &mut slope);
        let mut alone = x.clone();
        swish_in_place(&mut alone);
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
