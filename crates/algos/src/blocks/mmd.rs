//! The maximum mean discrepancy (Gretton et al. 2012) between samples of two distributions in every state, as BEAR has it.

use backcast_core::{Real, choices};
use backcast_nn::{Shape, Var};

choices! {
    /// k of two samples that differ by d.
    pub enum Kernel {
        /// exp(−‖d‖₁/2σ).
        #[default]
        Laplacian,
        /// exp(−‖d‖₂²/2σ).
        Gaussian,
    }
}

// ANCHOR: mmd
/// y in the order 12…m 12…m …, beside x in the order 11…1 22…2 …: every pair of a state's `m` rows once
pub fn beside(y: Var<'_>, m: usize) -> Var<'_> {
    let Shape { rows, cols, .. } = y.shape();
    let together = y.reshape(Shape::new(1, rows / m, m * cols));
    together.repeat_rows(m).reshape(Shape::new(1, rows * m, cols))
}

/// k(x_i, y_j) of every state, `[1, rows, m·m]`, from `m` consecutive rows of each, `[1, rows·m, cols]`
pub fn kernels<'t>(x: Var<'t>, y: Var<'t>, m: usize, kernel: Kernel, sigma: Real) -> Var<'t> {
    let difference = x.repeat_rows(m) - beside(y, m);
    let distance = match kernel {
        Kernel::Laplacian => difference.abs().sum_cols(),
        Kernel::Gaussian => difference.square().sum_cols(),
    };
    (distance * (-0.5 / sigma)).exp().reshape(Shape::new(1, x.shape().rows / m, m * m))
}

/// MMD(s) = √( mean k(u,u′) − 2 mean k(u,v) + mean k(v,v′) + 10⁻⁶ ), means over pairs i, j: `[1, rows, 1]`
pub fn mmd<'t>(u: Var<'t>, v: Var<'t>, m: usize, kernel: Kernel, sigma: Real) -> Var<'t> {
    let k = |x, y| kernels(x, y, m, kernel, sigma).mean_cols();
    (k(u, u) - k(u, v) * 2.0 + k(v, v) + 1e-6).sqrt()
}
// ANCHOR_END: mmd
