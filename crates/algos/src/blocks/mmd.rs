//! The maximum mean discrepancy (Gretton et al. 2012) between samples of two distributions in every state, as BEAR has
//! it.

use backcast_core::{Column, Real, Transitions, choices};
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

/// Rows at most that the median is taken of.
const PAIRED: usize = 2000;

// ANCHOR: width
/// The median of ‖s′_i − s′_j‖², or of ‖s′_i − s′_j‖₁, over pairs of `rows` half of them apart: the width
/// of a kernel that is e^(−½) for a median pair. Of standardised states, where there are no rows.
pub fn median_width(rows: &Transitions, kernel: Kernel) -> Real {
    let n = rows.len().min(PAIRED);
    let dims = rows.spec().obs as Real;
    let apart = |i: usize| {
        let x = rows.row(Column::NextObs, i);
        let y = rows.row(Column::NextObs, (i + n / 2) % n);
        let difference = x.iter().zip(y).map(|(x, y)| x - y);
        match kernel {
            Kernel::Laplacian => difference.map(Real::abs).sum::<Real>(),
            Kernel::Gaussian => difference.map(|d| d * d).sum(),
        }
    };
    let mut all: Vec<Real> = (0..n).map(apart).filter(|&d| d > 0.0 && d.is_finite()).collect();
    all.sort_unstable_by(Real::total_cmp);
    all.get(all.len() / 2).copied().unwrap_or(match kernel {
        Kernel::Laplacian => dims * std::f64::consts::FRAC_2_SQRT_PI as Real,
        Kernel::Gaussian => dims * 2.0,
    })
}
// ANCHOR_END: width

#[cfg(test)]
mod tests {
    use super::*;
    use backcast_core::{Key, Spec};
    use backcast_nn::Store;

    #[test]
    fn the_distance_of_equal_samples_is_nothing_and_grows_as_they_part() {
        let mut store = Store::default();
        for kernel in [Kernel::Gaussian, Kernel::Laplacian] {
            for trial in 0..3 {
                let (tape, key) = (store.tape(), Key::new(6).fold(trial));
                let x = tape.normal(Shape::new(1, 7 * 5, 3), key);
                let of = |apart: Real| mmd(x, x + apart, 5, kernel, 2.0).read(<[Real]>::to_vec);
                // The root of 10⁻⁶.
                assert!(
                    of(0.0).iter().all(|d| (d - 1e-3).abs() < 2e-4),
                    "{kernel:?}, trial {trial}: {:?}",
                    of(0.0)
                );
                let all = [0.1, 0.5, 2.0, 8.0].map(of);
                for (near, far) in all.iter().zip(&all[1..]) {
                    let grows = near.iter().zip(far).all(|(near, far)| *near > 2e-3 && far > near);
                    assert!(grows, "{kernel:?}, trial {trial}: {near:?} then {far:?}");
                }
                // Nothing in common: each is like itself alone.
                let alone = mmd(x, x + 1e3, 5, kernel, 2.0).square().read(<[Real]>::to_vec);
                let itself = mmd(x, x + 1e3, 5, kernel, 2.0).shape().rows;
                assert!(
                    itself == 7 && alone.iter().all(|d| *d > 0.3 && *d <= 2.0 + 1e-5),
                    "{alone:?}"
                );
            }
        }
    }

    #[test]
    fn the_width_is_the_median_of_pairs() {
        let mut rows = Transitions::new(Spec::new(2, 1));
        assert_eq!(median_width(&rows, Kernel::Gaussian), 4.0);
        for x in [[0.0, 0.0], [1.0, 0.0], [0.0, 3.0], [4.0, 4.0]] {
            rows.push(&[9.0; 2], &[0.0], 0.0, &x, false);
        }
        // Pairs (0, 2) and (1, 3), each twice: 3 and 7, 9 and 25.
        assert_eq!(median_width(&rows, Kernel::Laplacian), 7.0);
        assert_eq!(median_width(&rows, Kernel::Gaussian), 25.0);
        // Standardised states, which nobody has to show: the median of squares is a little below their mean.
        let mut normal = Transitions::new(Spec::new(8, 1));
        for i in 0..2000 {
            let mut x = [0.0; 8];
            Key::new(9).fold(i).normal(&mut x);
            normal.push(&x, &[0.0], 0.0, &x, false);
        }
        for kernel in [Kernel::Gaussian, Kernel::Laplacian] {
            let ratio = median_width(&normal, kernel)
                / median_width(&Transitions::new(normal.spec()), kernel);
            assert!((0.85..1.02).contains(&ratio), "{kernel:?}: {ratio}");
        }
    }
}
