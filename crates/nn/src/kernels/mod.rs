//! The arithmetic under the tape: matrix products and elementwise functions, the only place with `unsafe`.
//!
//! Every kernel has a portable twin it is tested against. The instruction set is chosen once at run time; no
//! `target-cpu` flag is needed. Each element of a product is one chain of fused multiply–adds in a fixed order, whatever
//! the tile it falls in and whoever computes that tile, so results do not depend on the number of threads.

mod ceiling;
mod elementwise;
mod gemm;

pub use ceiling::{Burst, multiply_adds};
pub(crate) use elementwise::*;
pub(crate) use gemm::{Epilogue, Matrix, Product, Start, product};

/// The instruction sets a product can run on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Isa {
    /// AVX-512F: tiles of 12 rows × 32 columns.
    Avx512,
    /// AVX2 with FMA: tiles of 6 rows × 16 columns.
    Avx2,
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
    Isa::Portable
}
