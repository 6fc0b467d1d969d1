//! Distributions whose parameters a net gives.

use crate::{Real, Shape, Var};
use backcast_core::Key;

/// ½ ln 2π.
const HALF_LN_TAU: Real = 0.918_938_533_204_672_8_f64 as Real;
const LN_2: Real = std::f64::consts::LN_2 as Real;

/// A diagonal Gaussian; all tensors are `[members, rows, cols]` or broadcast to it.
#[derive(Clone, Copy)]
pub struct Gaussian<'t> {
    /// μ.
    pub mean: Var<'t>,
    /// ln σ.
    pub log_std: Var<'t>,
}

impl<'t> Gaussian<'t> {
    /// From the output of a net, `[members, rows, 2·cols]`: μ first, then ln σ, held in `[low, high]`.
    pub fn from_columns(output: Var<'t>, low: Real, high: Real) -> Self {
        let cols = output.shape().cols / 2;
        Self { mean: output.cols(0, cols), log_std: output.cols(cols, cols).clamp(low, high) }
    }

    /// ln N(x; μ, σ²) summed over columns, `[members, rows, 1]`.
    pub fn log_prob(&self, x: Var<'t>) -> Var<'t> {
        let z = (x - self.mean) * (-self.log_std).exp();
        let joint = (z.square() * 0.5 + self.log_std).sum_cols();
        -(joint + HALF_LN_TAU * z.shape().cols as Real)
    }

    /// The same distribution for `k` consecutive rows each: `k` samples of a state for one evaluation of the net.
    pub fn repeat_rows(&self, k: usize) -> Self {
        Self { mean: self.mean.repeat_rows(k), log_std: self.log_std.repeat_rows(k) }
    }

    /// The same distribution in the rows in `rows` alone.
    pub fn among(&self, rows: &std::ops::Range<usize>) -> Self {
        Self { mean: self.mean.among(rows), log_std: self.log_std.among(rows) }
    }

    /// μ + σ·ε with ε drawn by `key`.
    pub fn sample(&self, key: Key) -> Var<'t> {
        let noise = self.mean.tape().normal(self.mean.shape(), key);
        self.mean + self.log_std.exp() * noise
    }

    /// As [`sample`](Gaussian::sample) of a larger tensor of a single member, for its rows from row `first` on: to the same bits.
    ///
    /// # Panics
    /// If the rows before hold a number of numbers that is no multiple of four.
    pub fn sample_from(&self, key: Key, first: usize) -> Var<'t> {
        let shape = self.mean.shape();
        let noise = self.mean.tape().normal_from(shape, key, first * shape.cols);
        self.mean + self.log_std.exp() * noise
    }

    /// KL(N(μ, σ²) ∥ N(μ₂, σ₂²)) of every element, N(μ₂, σ₂²) being `other`: ln σ₂/σ + (σ² + (μ − μ₂)²)/2σ₂² − ½.
    pub fn kl_to(&self, other: &Self) -> Var<'t> {
        let ratio = ((self.log_std - other.log_std) * 2.0).exp();
        let apart = (self.mean - other.mean) * (-other.log_std).exp();
        (ratio + apart.square() - 1.0) * 0.5 + other.log_std - self.log_std
    }

    /// KL(N(μ, σ²) ∥ N(0, 1)) of every element.
    pub fn kl_to_standard(&self) -> Var<'t> {
        let variance = (self.log_std * 2.0).exp();
        (variance + self.mean.square() - self.log_std * 2.0 - 1.0) * 0.5
    }
}

/// a = tanh(u), u Gaussian (Haarnoja et al., arXiv:1801.01290, appendix C): actions in (−1, 1).
#[derive(Clone, Copy)]
pub struct TanhGaussian<'t> {
    /// The distribution of u.
    pub base: Gaussian<'t>,
}

impl<'t> TanhGaussian<'t> {
    /// The same distribution for `k` consecutive rows each: `k` samples of a state for one evaluation of the net.
    pub fn repeat_rows(&self, k: usize) -> Self {
        Self { base: self.base.repeat_rows(k) }
    }

    /// The same distribution in the rows in `rows` alone.
    pub fn among(&self, rows: &std::ops::Range<usize>) -> Self {
        Self { base: self.base.among(rows) }
    }

    /// A sample and its log-density, `[members, rows, 1]`.
    ///
    /// ln N(u) is −½ε² − ln σ − ½ ln 2π of the noise itself: dividing u − μ by σ again would lose the digits that μ + σ·ε
    /// had no room for.
    pub fn sample(&self, key: Key) -> (Var<'t>, Var<'t>) {
        let Gaussian { mean, log_std } = self.base;
        let noise = mean.tape().normal(mean.shape(), key);
        let u = mean + log_std.exp() * noise;
        let joint = (noise.square() * -0.5 - log_std - volume(u)).sum_cols();
        (u.tanh(), joint - HALF_LN_TAU * u.shape().cols as Real)
    }

    /// ln π(a) of an action from elsewhere, `[members, rows, 1]`. It is held 10⁻⁶ inside (−1, 1), where u = atanh a is finite.
    pub fn log_prob(&self, action: Var<'t>) -> Var<'t> {
        let a = action.clamp(-1.0 + 1e-6, 1.0 - 1e-6);
        self.log_prob_of_pre_tanh(((a + 1.0).ln() - (-a + 1.0).ln()) * 0.5)
    }

    /// ln π(tanh u) = ln N(u) − Σ ln(1 − tanh²u), the latter as 2(ln 2 − u − softplus(−2u)), which never cancels.
    pub fn log_prob_of_pre_tanh(&self, u: Var<'t>) -> Var<'t> {
        self.base.log_prob(u) - volume(u).sum_cols()
    }

    /// The deterministic action tanh μ.
    pub fn mode(&self) -> Var<'t> {
        self.base.mean.tanh()
    }
}

/// ln(1 − tanh²u) of every element.
fn volume(u: Var<'_>) -> Var<'_> {
    (-u - (u * -2.0).softplus() + LN_2) * 2.0
}

/// ℓ softly held in `(low, high)`: ℓ ← high − softplus(high − ℓ), then ℓ ← low + softplus(ℓ − low)
/// (Chua et al., arXiv:1805.12114, appendix A.1). The bounds are learnt, `[1, 1, cols]`.
pub fn soft_clamp<'t>(x: Var<'t>, low: Var<'t>, high: Var<'t>) -> Var<'t> {
    let x = high - (high - x).softplus();
    low + (x - low).softplus()
}

/// |τ − 1(u < 0)|·u², the loss whose minimum is the τ-expectile (Newey & Powell 1987; IQL, arXiv:2110.06169, eq. 5).
pub fn expectile_loss(u: Var<'_>, tau: Real) -> Var<'_> {
    let weight = u.step() * (2.0 * tau - 1.0) + (1.0 - tau);
    weight * u.square()
}

/// The standard normal noise of a `[members, rows, cols]` tensor, held in ±`bound`.
pub fn clipped_normal<'t>(tape: crate::Tape<'t>, shape: Shape, key: Key, bound: Real) -> Var<'t> {
    tape.normal(shape, key).clamp(-bound, bound)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Store;
    use approx::abs_diff_eq;

    fn gaussian<'t>(tape: crate::Tape<'t>, mean: &[Real], log_std: &[Real]) -> Gaussian<'t> {
        let row = |x: &[Real]| tape.fill(Shape::new(1, 1, x.len()), |out| out.copy_from_slice(x));
        Gaussian { mean: row(mean), log_std: row(log_std) }
    }

    /// E[ ln p(x) − ln q(x) ] over samples of p, by column; nothing between a Gaussian and itself; and N(0, 1) is a special case.
    #[test]
    fn the_divergence_is_what_samples_say() {
        let (n, mut store) = (200_000, Store::default());
        for trial in 0..4 {
            let seed = Key::new(7).fold(trial);
            let mut x = [0.0; 8];
            seed.name("parameters").uniform(-1.0, 1.0, &mut x);
            let tape = store.tape();
            let (p, q) = (gaussian(tape, &x[..2], &x[2..4]), gaussian(tape, &x[4..6], &x[6..]));
            let drawn = p.repeat_rows(n).sample(seed.name("samples"));
            for col in 0..2 {
                let of = |g: &Gaussian<'_>, drawn| {
                    let [mean, log_std] = [g.mean, g.log_std].map(|x| x.cols(col, 1).read(|x| x[0]));
                    gaussian(tape, &[mean], &[log_std]).log_prob(drawn)
                };
                let drawn = drawn.cols(col, 1);
                let ratio = of(&p, drawn) - of(&q, drawn);
                let (mean, square) = (ratio.mean().item(), ratio.square().mean().item());
                let bound = 6.0 * ((square - mean * mean) / n as Real).sqrt() + 1e-4;
                let got = p.kl_to(&q).read(|kl| kl[col]);
                assert!(
                    abs_diff_eq!(got, mean, epsilon = bound),
                    "trial {trial}, {x:?}: {got} where samples say {mean} ± {bound}"
                );
            }
            p.kl_to(&p).read(|kl| {
                assert!(kl.iter().all(|&kl| abs_diff_eq!(kl, 0.0, epsilon = 1e-6)), "trial {trial}: {kl:?}")
            });
            let standard = gaussian(tape, &[0.0; 2], &[0.0; 2]);
            let off = (p.kl_to(&standard) - p.kl_to_standard()).abs().sum().item();
            assert!(off < 1e-5, "trial {trial}: {off}");
        }
    }
}
