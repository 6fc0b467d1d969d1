//! The arithmetic under the tape: matrix products and elementwise functions, the only place with `unsafe`.
//!
//! Every kernel has a portable twin it is tested against. The instruction set is chosen once at run time; no
//! `target-cpu` flag is needed. Each element of a product is one chain of fused multiply–adds in a fixed order, whatever
//! the tile it falls in and whoever computes that tile, so results do not depend on the number of threads.

#[cfg(all(target_arch = "x86_64", target_os = "linux", not(feature = "f64")))]
mod amx;
mod ceiling;
mod elementwise;
mod gemm;
mod scalar;

use crate::Real;
use backcast_core::{Kind, Value};
pub use ceiling::{Burst, multiply_adds};
pub(crate) use elementwise::*;
pub(crate) use gemm::{Bias, Epilogue, Matrix, Product, Start};
use serde::{Deserialize, Serialize};

/// The instruction sets a product can run on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Isa {
    /// AVX-512F: tiles of 12 rows × 32 columns.
    Avx512,
    /// AVX2 with FMA: tiles of 6 rows × 16 columns.
    Avx2,
    /// NEON, which every 64-bit ARM processor has: tiles of 6 rows × 16 columns. Tested under emulation, and never timed.
    Neon,
    /// Plain Rust: tiles of 4 rows × 8 columns.
    Portable,
}

/// The best instruction set of this machine.
pub fn isa() -> Isa {
    #[cfg(all(target_arch = "x86_64", not(feature = "f64")))]
    {
        if std::is_x86_feature_detected!("avx512f") {
            return Isa::Avx512;
        }
        if std::is_x86_feature_detected!("avx2") && std::is_x86_feature_detected!("fma") {
            return Isa::Avx2;
        }
    }
    if cfg!(all(target_arch = "aarch64", not(feature = "f64"))) { Isa::Neon } else { Isa::Portable }
}

/// How large products are computed. Everything else, and products too small to gain, is always [`F32`](Precision::F32).
///
/// Errors are relative to Σ|aᵢbᵢ|, the size of what is summed; sums are f32 in all three. For a given precision bits depend
/// neither on threads nor on the other members of a stack. But what counts as large depends on every size, the number of
/// rows too: outside `F32` the bits of a row may depend on how many rows are computed with it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Precision {
    /// Fused multiply–adds of [`Real`](crate::Real): 24 bits.
    #[default]
    F32,
    /// Three bf16 products for one: about 16 bits. Each aᵢbᵢ is off by 3·2⁻¹⁶ = 4.6e-5 at most, and over a sum most of
    /// that cancels. Numbers above 3.39e38 overflow; infinities become NaN.
    Split,
    /// One bf16 product: 8 bits. Each aᵢbᵢ is off by 2⁻⁷ = 7.8e-3 at most.
    Bf16,
}

impl Value for Precision {
    fn kind() -> Kind {
        let words = [("f32", "24 bits"), ("split", "about 16 bits"), ("bf16", "8 bits")];
        Kind::Choice(words.map(|(word, about)| (word.to_owned(), about)).into())
    }
}

/// Whether this machine has bf16 tile products (Intel AMX, on Linux) and this process may use them: without, and in double
/// precision, every [`Precision`] computes as [`Precision::F32`] does.
pub fn amx_available() -> bool {
    #[cfg(all(target_arch = "x86_64", target_os = "linux", not(feature = "f64")))]
    return amx::available();
    #[cfg(not(all(target_arch = "x86_64", target_os = "linux", not(feature = "f64"))))]
    false
}

/// Computes `p` into `c`, `[members, m, n]` dense, on tiles where that is asked for, possible and faster.
///
/// Neither the kernel chosen nor the bits depend on `parallel`. `panels` is scratch that grows once and is then reused.
pub(crate) fn product(
    isa: Isa,
    precision: Precision,
    parallel: bool,
    p: Product<'_>,
    panels: &mut Vec<Real>,
    c: &mut [Real],
) {
    #[cfg(all(target_arch = "x86_64", target_os = "linux", not(feature = "f64")))]
    if precision != Precision::F32 && amx_available() && amx::pays(precision, &p) {
        let swish = p.epilogue == Epilogue::Swish;
        let epilogue = if swish { Epilogue::None } else { p.epilogue };
        amx::product(precision, parallel, Product { epilogue, ..p }, panels, c);
        if swish {
            swish_cols(c, p.n, p.n);
        }
        return;
    }
    let _ = precision;
    gemm::product(isa, parallel, p, panels, c);
}
