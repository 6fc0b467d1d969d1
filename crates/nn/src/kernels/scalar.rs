//! The functions of [`elementwise`](super::elementwise), one number at a time: polynomials without branches, which loops over slices turn
//! into vectors.

#[cfg(feature = "f64")]
pub(super) use double::*;
#[cfg(not(feature = "f64"))]
pub(super) use single::*;

/// Scalar functions in single precision. `FMA` says whether a·b + c is one operation.
#[cfg(not(feature = "f64"))]
mod single {
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
    pub(in crate::kernels) fn recip_positive<const FMA: bool>(y: f32) -> f32 {
        let guess = f32::from_bits(0x7EF3_11C7_u32.wrapping_sub(y.to_bits()));
        newton::<FMA>(y, newton::<FMA>(y, newton::<FMA>(y, guess)))
    }

    /// √y for y ≥ 0, relative error below 3e-7 where y is normal: y/√y, the reciprocal root by Newton's method from the
    /// exponent. 0 for 0.
    #[inline(always)]
    pub(in crate::kernels) fn root<const FMA: bool>(y: f32) -> f32 {
        let mut z = f32::from_bits(0x5F37_59DF_u32.wrapping_sub(y.to_bits() >> 1));
        for _ in 0..3 {
            z *= fma::<FMA>(-0.5 * y * z, z, 1.5);
        }
        y * z
    }

    /// eˣ, relative error below 1.2e-7 where the result is normal. NaN stays NaN, 0 below −87, ∞ above 88.37
    /// (127½ ln 2, a little before `f32` itself overflows).
    #[inline(always)]
    pub(in crate::kernels) fn exp<const FMA: bool>(x: f32) -> f32 {
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

    /// e⁻ᵃ for a ≥ −88.4, relative error below 3e-7 for |a| ≤ 20 and 4e-7 where the result is normal. NaN stays NaN, 0 beyond 87.7, ∞
    /// below −88.03 (127 ln 2).
    ///
    /// A third fewer operations than [`exp`]: there is one bound, a bias on the magic number saves the one of the exponent, whose
    /// smallest value, all zeros, is 0 as a number and whose largest ∞, and a minimax polynomial (relative error 1.05e-7) two powers.
    #[inline(always)]
    pub(in crate::kernels) fn exp_of_minus<const FMA: bool>(a: f32) -> f32 {
        const MAGIC: f32 = 12_582_912.0 + 127.0;
        let x = if -88.0 > -a { -88.0 } else { -a };
        let shifted = fma::<FMA>(x, std::f32::consts::LOG2_E, MAGIC);
        let n = shifted - MAGIC;
        // Rounded once, ln 2 need not be split.
        let r = if FMA { n.mul_add(-std::f32::consts::LN_2, x) } else { n * 2.121_944_4e-4 + (n * -0.693_359_4 + x) };
        let p = polynomial::<FMA, 6>(r, [1.0, 1.0, 0.499_992_3, 0.166_671_16, 0.041_890_33, 0.008_312_501]);
        p * f32::from_bits(shifted.to_bits() << 23)
    }

    /// ln x, absolute error below 1e-7·max(1, |ln x|). Zero gives −∞, a negative number NaN; subnormals count as zero.
    #[inline(always)]
    pub(in crate::kernels) fn ln<const FMA: bool>(x: f32) -> f32 {
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
    pub(in crate::kernels) fn tanh<const FMA: bool>(x: f32) -> f32 {
        let t = exp_of_minus::<FMA>(2.0 * x.abs());
        let far = ((1.0 - t) * recip_of_one_to_two::<FMA>(1.0 + t)).copysign(x);
        let q = x * x;
        let series = [-3.333_328e-1, 1.333_144_2e-1, -5.373_971_6e-2, 2.063_909e-2, -5.704_988_7e-3];
        let near = fma::<FMA>(x * q, polynomial::<FMA, 5>(q, series), x);
        if x.abs() < 0.625 { near } else { far }
    }

    /// 1/(1 + e⁻ˣ), relative error below 4e-7. A division where others multiply by a reciprocal: with it goes the choice between the
    /// two signs, and what counts here is how long the chain of operations is. 0 below −88.4.
    #[inline(always)]
    pub(in crate::kernels) fn sigmoid<const FMA: bool>(x: f32) -> f32 {
        let a = if x < -88.4 { -88.4 } else { x };
        1.0 / (1.0 + exp_of_minus::<FMA>(a))
    }

    /// x·sigmoid(x) and its derivative σ + xσ(1 − σ).
    #[inline(always)]
    pub(in crate::kernels) fn swish<const FMA: bool>(x: f32) -> (f32, f32) {
        let s = sigmoid::<FMA>(x);
        let y = x * s;
        (y, fma::<FMA>(y, 1.0 - s, s))
    }

    /// ln(1 + eˣ) without overflow.
    #[inline(always)]
    pub(in crate::kernels) fn softplus<const FMA: bool>(x: f32) -> f32 {
        let y = (if x > 0.0 { x } else { 0.0 }) + ln_1p::<FMA>(exp_of_minus::<FMA>(x.abs()));
        if x.is_nan() { x } else { y }
    }
}

/// Scalar functions in double precision.
#[cfg(feature = "f64")]
mod double {
    pub(in crate::kernels) fn recip_positive<const FMA: bool>(x: f64) -> f64 {
        1.0 / x
    }
    pub(in crate::kernels) fn root<const FMA: bool>(x: f64) -> f64 {
        x.sqrt()
    }
    pub(in crate::kernels) fn exp<const FMA: bool>(x: f64) -> f64 {
        x.exp()
    }
    pub(in crate::kernels) fn ln<const FMA: bool>(x: f64) -> f64 {
        x.ln()
    }
    pub(in crate::kernels) fn tanh<const FMA: bool>(x: f64) -> f64 {
        x.tanh()
    }
    pub(in crate::kernels) fn sigmoid<const FMA: bool>(x: f64) -> f64 {
        1.0 / (1.0 + (-x).exp())
    }
    pub(in crate::kernels) fn swish<const FMA: bool>(x: f64) -> (f64, f64) {
        let s = sigmoid::<FMA>(x);
        (x * s, s + x * s * (1.0 - s))
    }
    pub(in crate::kernels) fn softplus<const FMA: bool>(x: f64) -> f64 {
        x.max(0.0) + (-x.abs()).exp().ln_1p()
    }
}
