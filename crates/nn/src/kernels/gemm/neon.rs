//! The tile of 64-bit ARM: 24 vectors of sums, a row of the panel, and what is left of thirty-two registers for numbers of A.
//!
//! Sums are the same chains of fused multiply–adds as on x86, so the bits are the same; which zero and which numbers a ReLU
//! keeps too.

#![allow(unsafe_code)]

use super::{
    Epilogue,
    tile::{From, Tile},
};
use std::arch::{aarch64::*, asm};

/// Numbers of a vector.
const WIDTH: usize = 4;

/// # Safety
/// `some` ≤ 4 numbers can be read at `from`.
#[target_feature(enable = "neon")]
unsafe fn load_some(from: *const f32, some: usize) -> float32x4_t {
    if some == WIDTH {
        // SAFETY: four numbers can be read.
        return unsafe { vld1q_f32(from) };
    }
    // There are no masked loads.
    let mut lanes = [0.0; WIDTH];
    // SAFETY: `some` numbers can be read, and there is room for them: `some` is below four.
    unsafe {
        std::ptr::copy_nonoverlapping(from, lanes.as_mut_ptr(), some);
        vld1q_f32(lanes.as_ptr())
    }
}

/// # Safety
/// `some` ≤ 4 numbers can be written at `to`.
#[target_feature(enable = "neon")]
unsafe fn store_some(to: *mut f32, x: float32x4_t, some: usize) {
    if some == WIDTH {
        // SAFETY: four numbers can be written.
        return unsafe { vst1q_f32(to, x) };
    }
    let mut lanes = [0.0; WIDTH];
    // SAFETY: `lanes` has room for a vector; `some` numbers of it, below four, can be written.
    unsafe {
        vst1q_f32(lanes.as_mut_ptr(), x);
        std::ptr::copy_nonoverlapping(lanes.as_ptr(), to, some);
    }
}

/// One number in the first lane of a vector, where a multiply–add by lane finds it. In assembly, because a compiler that sees
/// the lane copied makes a load into all lanes of it, which on many processors takes an arithmetic unit as well.
///
/// # Safety
/// The number `at` places after `a` can be read.
#[inline]
#[target_feature(enable = "neon")]
unsafe fn first_lane(a: *const f32, at: usize) -> float32x4_t {
    let x;
    // SAFETY: one number is read, as the caller promises, and one register is written.
    unsafe {
        asm!(
            "ldr {x:s}, [{a}, {at}, lsl #2]",
            x = lateout(vreg) x,
            a = in(reg) a,
            at = in(reg) at,
            options(pure, readonly, nostack, preserves_flags)
        );
    }
    x
}

/// The sums with `HEIGHT` rows of A times the panel added. They come and go by value: what the rest of a tile does with their
/// addresses would otherwise keep them in memory, and the loop full of stores.
///
/// # Safety
/// As [`neon`].
#[inline]
#[target_feature(enable = "neon")]
unsafe fn multiply<const HEIGHT: usize, const VECTORS: usize>(
    t: &Tile<'_>,
    mut sums: [[float32x4_t; VECTORS]; HEIGHT],
) -> [[float32x4_t; VECTORS]; HEIGHT] {
    let a: [*const f32; HEIGHT] = std::array::from_fn(|i| t.a.as_ptr().wrapping_add(i * t.row));
    for p in 0..t.k {
        let b = t.b.as_ptr().wrapping_add(p * t.step);
        // SAFETY: `run` has asserted that B holds `k` rows of the panel.
        let b: [float32x4_t; VECTORS] = std::array::from_fn(|v| unsafe { vld1q_f32(b.wrapping_add(v * WIDTH)) });
        for (row, a) in sums.iter_mut().zip(a) {
            // SAFETY: `run` has asserted that A holds `k` numbers in each of HEIGHT rows.
            let x = unsafe { first_lane(a, p * t.col) };
            for (s, b) in row.iter_mut().zip(b) {
                *s = vfmaq_laneq_f32::<0>(*s, b, x);
            }
        }
    }
    sums
}

/// `HEIGHT` rows of A times a panel of `VECTORS` vectors.
///
/// # Safety
/// The machine has NEON; the tile's slices cover `HEIGHT` rows and `VECTORS` vectors of columns, as [`Tile::run`] asserts.
#[target_feature(enable = "neon")]
pub(super) unsafe fn neon<const HEIGHT: usize, const VECTORS: usize>(t: &Tile<'_>, c: &mut [f32]) {
    // Columns of C in each vector.
    let some = |v: usize| t.cols.saturating_sub(v * WIDTH).min(WIDTH);
    let mut acc = [[vdupq_n_f32(0.0); VECTORS]; HEIGHT];
    match t.from {
        From::Zero => {}
        From::Bias(bias) => {
            for v in 0..VECTORS {
                // SAFETY: `run` has asserted that the bias has `cols` numbers.
                let x = unsafe { load_some(bias.as_ptr().wrapping_add(v * WIDTH), some(v)) };
                acc.iter_mut().for_each(|row| row[v] = x);
            }
        }
        From::Groups(groups) => {
            for (row, bias) in acc.iter_mut().zip(groups.rows(t.stride, t.cols)) {
                for (v, x) in row.iter_mut().enumerate() {
                    // SAFETY: `rows` gives slices of `cols` numbers.
                    *x = unsafe { load_some(bias.as_ptr().wrapping_add(v * WIDTH), some(v)) };
                }
            }
        }
        From::Sum => {
            for (i, row) in acc.iter_mut().enumerate() {
                for (v, x) in row.iter_mut().enumerate() {
                    let from = c.as_ptr().wrapping_add(i * t.stride + v * WIDTH);
                    // SAFETY: `run` has asserted that C holds `cols` columns in each of HEIGHT rows.
                    *x = unsafe { load_some(from, some(v)) };
                }
            }
        }
    }
    // SAFETY: as the caller promises.
    acc = unsafe { multiply(t, acc) };
    let zero = vdupq_n_f32(0.0);
    if t.epilogue == Epilogue::Relu {
        for x in acc.iter_mut().flatten() {
            // Neither NaN nor −0 is below zero: both stay, as on x86.
            let bits = vreinterpretq_u32_f32(*x);
            *x = vreinterpretq_f32_u32(vbicq_u32(bits, vcltq_f32(*x, zero)));
        }
    }
    if let Some(beside) = t.epilogue.beside() {
        let times = matches!(t.epilogue, Epilogue::Times(_));
        for (i, row) in acc.iter_mut().enumerate() {
            for (v, x) in row.iter_mut().enumerate() {
                let from = beside.as_ptr().wrapping_add(i * t.stride + v * WIDTH);
                // SAFETY: `run` has asserted that what sums meet holds `cols` columns in each of HEIGHT rows.
                let y = unsafe { load_some(from, some(v)) };
                let kept = vandq_u32(vreinterpretq_u32_f32(*x), vcgtq_f32(y, zero));
                *x = if times { vmulq_f32(*x, y) } else { vreinterpretq_f32_u32(kept) };
            }
        }
    }
    for (i, row) in acc.iter().enumerate() {
        for (v, x) in row.iter().enumerate() {
            let to = c.as_mut_ptr().wrapping_add(i * t.stride + v * WIDTH);
            // SAFETY: `run` has asserted that C holds `cols` columns in each of HEIGHT rows.
            unsafe { store_some(to, *x, some(v)) };
        }
    }
}
