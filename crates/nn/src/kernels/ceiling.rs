//! The most multiply–adds one core can do: what a measured throughput is a fraction of.
//!
//! Independent chains of fused multiply–adds on registers, nothing read and nothing written, so that only the arithmetic
//! units limit it. A product can come near this figure and never exceed it on the same instruction set.

#![allow(unsafe_code)]

#[cfg(all(any(target_arch = "x86_64", target_arch = "aarch64"), not(feature = "f64")))]
use super::Isa;
use super::isa;
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
        #[cfg(all(target_arch = "aarch64", not(feature = "f64")))]
        // SAFETY: as above.
        Isa::Neon => unsafe { burst_neon(rounds, factor, term) },
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

// The inner loops are in assembly: a compiler that runs out of registers a little early puts loads and stores between the
// multiply–adds, and what is measured is memory. The chains are enough to hide the latency of a multiply–add, and few
// enough to stay in registers beside the two operands.

/// # Safety
/// The machine has the instruction set.
#[cfg(all(target_arch = "x86_64", not(feature = "f64")))]
#[target_feature(enable = "avx512f")]
unsafe fn burst_avx512(rounds: u64, factor: f32, term: f32) -> Burst {
    use std::arch::{asm, x86_64::*};
    let mut chains = [_mm512_setzero_ps(); 24];
    if rounds > 0 {
        // SAFETY: the instructions read and write the registers named here and the flags, nothing else; `rounds` is not
        // zero, so that the loop ends when it has counted down.
        unsafe {
            asm!(
                "2:",
                "vfmadd213ps zmm0, {factor}, {term}",
                "vfmadd213ps zmm1, {factor}, {term}",
                "vfmadd213ps zmm2, {factor}, {term}",
                "vfmadd213ps zmm3, {factor}, {term}",
                "vfmadd213ps zmm4, {factor}, {term}",
                "vfmadd213ps zmm5, {factor}, {term}",
                "vfmadd213ps zmm6, {factor}, {term}",
                "vfmadd213ps zmm7, {factor}, {term}",
                "vfmadd213ps zmm8, {factor}, {term}",
                "vfmadd213ps zmm9, {factor}, {term}",
                "vfmadd213ps zmm10, {factor}, {term}",
                "vfmadd213ps zmm11, {factor}, {term}",
                "vfmadd213ps zmm12, {factor}, {term}",
                "vfmadd213ps zmm13, {factor}, {term}",
                "vfmadd213ps zmm14, {factor}, {term}",
                "vfmadd213ps zmm15, {factor}, {term}",
                "vfmadd213ps zmm16, {factor}, {term}",
                "vfmadd213ps zmm17, {factor}, {term}",
                "vfmadd213ps zmm18, {factor}, {term}",
                "vfmadd213ps zmm19, {factor}, {term}",
                "vfmadd213ps zmm20, {factor}, {term}",
                "vfmadd213ps zmm21, {factor}, {term}",
                "vfmadd213ps zmm22, {factor}, {term}",
                "vfmadd213ps zmm23, {factor}, {term}",
                "dec {rounds}",
                "jnz 2b",
                rounds = inout(reg) rounds => _,
                factor = in(zmm_reg) _mm512_set1_ps(factor),
                term = in(zmm_reg) _mm512_set1_ps(term),
                inout("zmm0") chains[0],
                inout("zmm1") chains[1],
                inout("zmm2") chains[2],
                inout("zmm3") chains[3],
                inout("zmm4") chains[4],
                inout("zmm5") chains[5],
                inout("zmm6") chains[6],
                inout("zmm7") chains[7],
                inout("zmm8") chains[8],
                inout("zmm9") chains[9],
                inout("zmm10") chains[10],
                inout("zmm11") chains[11],
                inout("zmm12") chains[12],
                inout("zmm13") chains[13],
                inout("zmm14") chains[14],
                inout("zmm15") chains[15],
                inout("zmm16") chains[16],
                inout("zmm17") chains[17],
                inout("zmm18") chains[18],
                inout("zmm19") chains[19],
                inout("zmm20") chains[20],
                inout("zmm21") chains[21],
                inout("zmm22") chains[22],
                inout("zmm23") chains[23],
                options(nomem, nostack),
            );
        }
    }
    let mut checksum = 0.0;
    for x in chains {
        let mut lanes = [0.0f32; 16];
        // SAFETY: `lanes` holds exactly one vector, and the store needs no alignment.
        unsafe { _mm512_storeu_ps(lanes.as_mut_ptr(), x) };
        checksum += lanes.iter().sum::<f32>();
    }
    Burst { operations: rounds * 2 * 24 * 16, checksum }
}

/// # Safety
/// The machine has the instruction set.
#[cfg(all(target_arch = "x86_64", not(feature = "f64")))]
#[target_feature(enable = "avx2,fma")]
unsafe fn burst_avx2(rounds: u64, factor: f32, term: f32) -> Burst {
    use std::arch::{asm, x86_64::*};
    let mut chains = [_mm256_setzero_ps(); 12];
    if rounds > 0 {
        // SAFETY: the instructions read and write the registers named here and the flags, nothing else; `rounds` is not
        // zero, so that the loop ends when it has counted down.
        unsafe {
            asm!(
                "2:",
                "vfmadd213ps ymm0, {factor}, {term}",
                "vfmadd213ps ymm1, {factor}, {term}",
                "vfmadd213ps ymm2, {factor}, {term}",
                "vfmadd213ps ymm3, {factor}, {term}",
                "vfmadd213ps ymm4, {factor}, {term}",
                "vfmadd213ps ymm5, {factor}, {term}",
                "vfmadd213ps ymm6, {factor}, {term}",
                "vfmadd213ps ymm7, {factor}, {term}",
                "vfmadd213ps ymm8, {factor}, {term}",
                "vfmadd213ps ymm9, {factor}, {term}",
                "vfmadd213ps ymm10, {factor}, {term}",
                "vfmadd213ps ymm11, {factor}, {term}",
                "dec {rounds}",
                "jnz 2b",
                rounds = inout(reg) rounds => _,
                factor = in(ymm_reg) _mm256_set1_ps(factor),
                term = in(ymm_reg) _mm256_set1_ps(term),
                inout("ymm0") chains[0],
                inout("ymm1") chains[1],
                inout("ymm2") chains[2],
                inout("ymm3") chains[3],
                inout("ymm4") chains[4],
                inout("ymm5") chains[5],
                inout("ymm6") chains[6],
                inout("ymm7") chains[7],
                inout("ymm8") chains[8],
                inout("ymm9") chains[9],
                inout("ymm10") chains[10],
                inout("ymm11") chains[11],
                options(nomem, nostack),
            );
        }
    }
    let mut checksum = 0.0;
    for x in chains {
        let mut lanes = [0.0f32; 8];
        // SAFETY: `lanes` holds exactly one vector, and the store needs no alignment.
        unsafe { _mm256_storeu_ps(lanes.as_mut_ptr(), x) };
        checksum += lanes.iter().sum::<f32>();
    }
    Burst { operations: rounds * 2 * 12 * 8, checksum }
}

/// Chains of `x ← x + factor · term`: the one multiply–add of NEON adds to its first operand, and two would be needed for
/// chains that settle.
///
/// # Safety
/// The machine has the instruction set.
#[cfg(all(target_arch = "aarch64", not(feature = "f64")))]
#[target_feature(enable = "neon")]
unsafe fn burst_neon(rounds: u64, factor: f32, term: f32) -> Burst {
    use std::arch::{aarch64::*, asm};
    let mut chains = [vdupq_n_f32(0.0); 24];
    if rounds > 0 {
        // SAFETY: the instructions read and write the registers named here and the flags, nothing else; `rounds` is not
        // zero, so that the loop ends when it has counted down.
        unsafe {
            asm!(
                "2:",
                "fmla v0.4s, {factor:v}.4s, {term:v}.4s",
                "fmla v1.4s, {factor:v}.4s, {term:v}.4s",
                "fmla v2.4s, {factor:v}.4s, {term:v}.4s",
                "fmla v3.4s, {factor:v}.4s, {term:v}.4s",
                "fmla v4.4s, {factor:v}.4s, {term:v}.4s",
                "fmla v5.4s, {factor:v}.4s, {term:v}.4s",
                "fmla v6.4s, {factor:v}.4s, {term:v}.4s",
                "fmla v7.4s, {factor:v}.4s, {term:v}.4s",
                "fmla v8.4s, {factor:v}.4s, {term:v}.4s",
                "fmla v9.4s, {factor:v}.4s, {term:v}.4s",
                "fmla v10.4s, {factor:v}.4s, {term:v}.4s",
                "fmla v11.4s, {factor:v}.4s, {term:v}.4s",
                "fmla v12.4s, {factor:v}.4s, {term:v}.4s",
                "fmla v13.4s, {factor:v}.4s, {term:v}.4s",
                "fmla v14.4s, {factor:v}.4s, {term:v}.4s",
                "fmla v15.4s, {factor:v}.4s, {term:v}.4s",
                "fmla v16.4s, {factor:v}.4s, {term:v}.4s",
                "fmla v17.4s, {factor:v}.4s, {term:v}.4s",
                "fmla v18.4s, {factor:v}.4s, {term:v}.4s",
                "fmla v19.4s, {factor:v}.4s, {term:v}.4s",
                "fmla v20.4s, {factor:v}.4s, {term:v}.4s",
                "fmla v21.4s, {factor:v}.4s, {term:v}.4s",
                "fmla v22.4s, {factor:v}.4s, {term:v}.4s",
                "fmla v23.4s, {factor:v}.4s, {term:v}.4s",
                "subs {rounds}, {rounds}, #1",
                "b.ne 2b",
                rounds = inout(reg) rounds => _,
                factor = in(vreg) vdupq_n_f32(factor),
                term = in(vreg) vdupq_n_f32(term),
                inout("v0") chains[0],
                inout("v1") chains[1],
                inout("v2") chains[2],
                inout("v3") chains[3],
                inout("v4") chains[4],
                inout("v5") chains[5],
                inout("v6") chains[6],
                inout("v7") chains[7],
                inout("v8") chains[8],
                inout("v9") chains[9],
                inout("v10") chains[10],
                inout("v11") chains[11],
                inout("v12") chains[12],
                inout("v13") chains[13],
                inout("v14") chains[14],
                inout("v15") chains[15],
                inout("v16") chains[16],
                inout("v17") chains[17],
                inout("v18") chains[18],
                inout("v19") chains[19],
                inout("v20") chains[20],
                inout("v21") chains[21],
                inout("v22") chains[22],
                inout("v23") chains[23],
                options(nomem, nostack),
            );
        }
    }
    let mut checksum = 0.0;
    for x in chains {
        checksum += vaddvq_f32(x);
    }
    Burst { operations: rounds * 2 * 24 * 4, checksum }
}

#[cfg(test)]
mod tests {
    use super::*;
    use approx::abs_diff_eq;

    /// Every chain comes to `each`, so the checksum counts the chains.
    fn counts(burst: Burst, rounds: u64, each: f64) {
        let chains = burst.operations as f64 / (2 * rounds) as f64;
        assert!(chains >= 1.0 && chains.fract() == 0.0, "{burst:?}");
        let expected = chains * each;
        assert!(
            abs_diff_eq!(burst.checksum as f64, expected, epsilon = 1e-4 * expected),
            "{burst:?} is not {expected}"
        );
    }

    #[test]
    fn every_chain_does_its_work() {
        // Where chains settle, at 1e-3 / (1 − ½); where they grow, a thousand times ½ · 1e-3.
        let settled = 2e-3;
        #[cfg(all(target_arch = "aarch64", not(feature = "f64")))]
        counts(multiply_adds(1000), 1000, 0.5);
        #[cfg(not(all(target_arch = "aarch64", not(feature = "f64"))))]
        counts(multiply_adds(1000), 1000, settled);
        counts(burst_portable(1000, 0.5, 1e-3), 1000, settled);
        #[cfg(all(target_arch = "x86_64", not(feature = "f64")))]
        if isa() == Isa::Avx512 {
            // SAFETY: a machine with AVX-512 has AVX2 and FMA.
            counts(unsafe { burst_avx2(1000, 0.5, 1e-3) }, 1000, settled);
        }
    }

    #[test]
    fn no_rounds_are_no_work() {
        assert_eq!(multiply_adds(0), Burst { operations: 0, checksum: 0.0 });
    }
}
