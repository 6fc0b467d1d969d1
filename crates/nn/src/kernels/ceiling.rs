//! The most multiply–adds one core can do: what a measured throughput is a fraction of.
//!
//! Independent chains of fused multiply–adds on registers, nothing read and nothing written, so that only the arithmetic
//! units limit it. A product can come near this figure and never exceed it on the same instruction set.

#![allow(unsafe_code)]

use super::{Isa, isa};
use crate::Real;

/// What [`multiply_adds`] has done.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Burst {
    /// Multiplications and additions, two for each fused one.
    pub operations: u64,
    /// The sum of all chains. It depends on every operation, so that none can be left out; it is finite.
    pub checksum: Real,
}

/// Runs `rounds` of independent multiply–adds on this thread, on the best instruction set of this machine: the arithmetic
/// ceiling. Whoever holds a clock divides [`Burst::operations`] by the time it took; a few million rounds take milliseconds.
pub fn multiply_adds(rounds: u64) -> Burst {
    // Hidden from the compiler, which could otherwise work the chains out beforehand.
    let (factor, term) = std::hint::black_box((0.5 as Real, 1e-3 as Real));
    match isa() {
        #[cfg(all(target_arch = "x86_64", not(feature = "f64")))]
        // SAFETY: `isa()` found the instruction set on this machine; the function touches no memory.
        Isa::Avx512 => unsafe { burst_avx512(rounds, factor, term) },
        #[cfg(all(target_arch = "x86_64", not(feature = "f64")))]
        // SAFETY: as above.
        Isa::Avx2 => unsafe { burst_avx2(rounds, factor, term) },
        _ => burst_portable(rounds, factor, term),
    }
}

/// Chains of `x ← x·factor + term`, which settle at `term / (1 − factor)`.
fn burst_portable(rounds: u64, factor: Real, term: Real) -> Burst {
    const CHAINS: usize = 48;
    let mut chains = [0.0; CHAINS];
    for _ in 0..rounds {
        for x in &mut chains {
            *x = *x * factor + term;
        }
    }
    Burst { operations: rounds * 2 * CHAINS as u64, checksum: chains.iter().sum() }
}

#[cfg(all(target_arch = "x86_64", not(feature = "f64")))]
macro_rules! x86_burst {
    ($name:ident, $features:literal, $chains:literal, $width:literal, $zero:ident, $set1:ident, $fma:ident, $store:ident) => {
        /// # Safety
        /// The machine has the instruction set.
        #[target_feature(enable = $features)]
        unsafe fn $name(rounds: u64, factor: f32, term: f32) -> Burst {
            use std::arch::x86_64::*;
            let (factor, term) = ($set1(factor), $set1(term));
            // Enough chains to hide the latency of an addition, few enough to stay in registers beside the two operands.
            let mut chains = [$zero(); $chains];
            for _ in 0..rounds {
                for x in &mut chains {
                    *x = $fma(*x, factor, term);
                }
            }
            let mut lanes = [0.0f32; $width];
            let mut checksum = 0.0;
            for x in chains {
                // SAFETY: `lanes` holds exactly one vector, and the store needs no alignment.
                unsafe { $store(lanes.as_mut_ptr(), x) };
                checksum += lanes.iter().sum::<f32>();
            }
            Burst { operations: rounds * 2 * $chains * $width, checksum }
        }
    };
}

#[cfg(all(target_arch = "x86_64", not(feature = "f64")))]
x86_burst!(burst_avx512, "avx512f", 24, 16, _mm512_setzero_ps, _mm512_set1_ps, _mm512_fmadd_ps, _mm512_storeu_ps);
#[cfg(all(target_arch = "x86_64", not(feature = "f64")))]
x86_burst!(burst_avx2, "avx2,fma", 12, 8, _mm256_setzero_ps, _mm256_set1_ps, _mm256_fmadd_ps, _mm256_storeu_ps);

#[cfg(test)]
mod tests {
    use super::*;

    /// Every chain settles at 1e-3 / (1 − ½), so the checksum counts the chains.
    fn settles(burst: Burst, rounds: u64) {
        let chains = burst.operations as f64 / (2 * rounds) as f64;
        assert!(chains >= 1.0 && chains.fract() == 0.0, "{burst:?}");
        let expected = chains * 2e-3;
        assert!((burst.checksum as f64 - expected).abs() < 1e-4 * expected, "{burst:?} is not {expected}");
    }

    #[test]
    fn every_chain_does_its_work() {
        settles(multiply_adds(1000), 1000);
        settles(burst_portable(1000, 0.5, 1e-3), 1000);
        #[cfg(all(target_arch = "x86_64", not(feature = "f64")))]
        if isa() == Isa::Avx512 {
            // SAFETY: a machine with AVX-512 has AVX2 and FMA.
            settles(unsafe { burst_avx2(1000, 0.5, 1e-3) }, 1000);
        }
    }

    #[test]
    fn no_rounds_are_no_work() {
        assert_eq!(multiply_adds(0), Burst { operations: 0, checksum: 0.0 });
    }
}
