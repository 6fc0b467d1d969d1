//! B copied into panels: `[k, width]`, columns beyond the last padded with zeros.

#![allow(unsafe_code)]

use crate::{Real, kernels::Isa};
use multiversion::multiversion;

/// Copies `cols` columns of B, element `(p, j)` at `b[p·row + j·col]`, into `out`, `[k, width]`.
pub(super) fn panel(isa: Isa, b: &[Real], row: usize, col: usize, cols: usize, width: usize, out: &mut [Real]) {
    debug_assert!(cols <= width && out.len().is_multiple_of(width));
    // One instruction set has a way of its own, and not everywhere.
    let _ = isa;
    match (width, cols == width) {
        (32, true) if col == 1 => copy_rows::<32>(b, row, out),
        (16, true) if col == 1 => copy_rows::<16>(b, row, out),
        (8, true) if col == 1 => copy_rows::<8>(b, row, out),
        (32, false) if col == 1 => copy_some::<32>(b, row, cols, out),
        (16, false) if col == 1 => copy_some::<16>(b, row, cols, out),
        (8, false) if col == 1 => copy_some::<8>(b, row, cols, out),
        _ => {
            let mut done = 0;
            #[cfg(all(target_arch = "x86_64", not(feature = "f64")))]
            while isa == Isa::Avx512 && row == 1 && done + 16 <= cols {
                transpose_16(&b[done * col..], col, width, &mut out[done..]);
                done += 16;
            }
            while row == 1 && done + 8 <= cols {
                transpose_8(b, col, done, width, out);
                done += 8;
            }
            for (p, out) in out.chunks_exact_mut(width).enumerate() {
                for (j, x) in out[done..cols].iter_mut().enumerate() {
                    *x = b[p * row + (done + j) * col];
                }
                out[cols..].fill(0.0);
            }
        }
    }
}

/// Whole rows of a fixed length, which become a few vector moves each.
fn copy_rows<const WIDTH: usize>(b: &[Real], row: usize, out: &mut [Real]) {
    #[multiversion(targets("x86_64+avx512f", "x86_64+avx2+fma"))]
    fn copy<const WIDTH: usize>(b: &[Real], row: usize, out: &mut [Real]) {
        let (to, _) = out.as_chunks_mut::<WIDTH>();
        for (p, to) in to.iter_mut().enumerate() {
            let from: &[Real; WIDTH] = b[p * row..][..WIDTH].try_into().expect("a whole row");
            *to = *from;
        }
    }
    copy::<WIDTH>(b, row, out);
}

/// The first `cols` of each row, then zeros. Reads whole vectors wherever B goes on behind the row, because a call to copy a few
/// numbers takes longer than the copy.
fn copy_some<const WIDTH: usize>(b: &[Real], row: usize, cols: usize, out: &mut [Real]) {
    #[multiversion(targets("x86_64+avx512f", "x86_64+avx2+fma"))]
    fn copy<const WIDTH: usize>(b: &[Real], row: usize, cols: usize, out: &mut [Real]) {
        let (to, _) = out.as_chunks_mut::<WIDTH>();
        for (p, to) in to.iter_mut().enumerate() {
            let b = &b[p * row..];
            let Some(from) = b.first_chunk::<WIDTH>() else {
                to[..cols].copy_from_slice(&b[..cols]);
                to[cols..].fill(0.0);
                continue;
            };
            for (j, to) in to.iter_mut().enumerate() {
                *to = if j < cols { from[j] } else { 0.0 };
            }
        }
    }
    copy::<WIDTH>(b, row, cols, out);
}

/// Eight columns, from `first` on, of a B that is stored by columns, `col` apart, into the same columns of the panel: read
/// front to back, square blocks turned in registers.
#[multiversion(targets("x86_64+avx512f", "x86_64+avx2+fma"))]
fn transpose_8(b: &[Real], col: usize, first: usize, width: usize, out: &mut [Real]) {
    let k = out.len() / width;
    let columns: [&[Real]; 8] = std::array::from_fn(|j| &b[(first + j) * col..][..k]);
    let mut p = 0;
    while p + 8 <= k {
        let mut square = [[0.0; 8]; 8];
        for (square, column) in square.iter_mut().zip(columns) {
            square.copy_from_slice(&column[p..p + 8]);
        }
        for i in 0..8 {
            let to: &mut [Real; 8] = (&mut out[(p + i) * width + first..][..8]).try_into().expect("a whole row");
            for (to, square) in to.iter_mut().zip(&square) {
                *to = square[i];
            }
        }
        p += 8;
    }
    for p in p..k {
        for (to, column) in out[p * width + first..][..8].iter_mut().zip(columns) {
            *to = column[p];
        }
    }
}

/// Sixteen columns of a B that is stored by columns, `col` apart; `out` begins at the first of them in the panel.
#[cfg(all(target_arch = "x86_64", not(feature = "f64")))]
fn transpose_16(b: &[f32], col: usize, width: usize, out: &mut [f32]) {
    let k = out.len().div_ceil(width);
    assert!(k > 0 && width >= 16 && 15 * col + k <= b.len() && (k - 1) * width + 16 <= out.len());
    let whole = k / 16 * 16;
    for p in (0..whole).step_by(16) {
        // SAFETY: only asked for on a machine with AVX-512F; sixteen numbers from p on of sixteen columns are inside `b`, and
        // sixteen rows of sixteen from row p on inside `out`, as just asserted.
        unsafe { square(b.as_ptr().add(p), col, out.as_mut_ptr().add(p * width), width) };
    }
    for p in whole..k {
        for (j, to) in out[p * width..][..16].iter_mut().enumerate() {
            *to = b[j * col + p];
        }
    }
}

/// Turns a square of 16 × 16 in registers.
///
/// # Safety
/// The machine has AVX-512F; sixteen numbers can be read at `from + j·col` and written at `to + i·width`, i and j below 16.
#[cfg(all(target_arch = "x86_64", not(feature = "f64")))]
#[target_feature(enable = "avx512f,avx")]
unsafe fn square(from: *const f32, col: usize, to: *mut f32, width: usize) {
    use std::arch::x86_64::*;
    let low = _mm512_setr_epi64(0, 1, 8, 9, 4, 5, 12, 13);
    let high = _mm512_setr_epi64(2, 3, 10, 11, 6, 7, 14, 15);
    for half in 0..2 {
        // Columns i and i + 8 side by side, eight numbers of each.
        let r: [__m512; 8] = std::array::from_fn(|i| {
            // SAFETY: as the caller promises.
            let at = |j: usize| unsafe { _mm256_loadu_ps(from.add(j * col + 8 * half)) };
            let (a, b) = (_mm512_castps256_ps512(at(i)), _mm256_castps_pd(at(i + 8)));
            _mm512_castpd_ps(_mm512_insertf64x4::<1>(_mm512_castps_pd(a), b))
        });
        // Within each 128-bit lane, squares of 4 × 4.
        let pair = |i: usize| {
            let (a, b) = (_mm512_unpacklo_ps(r[i], r[i + 1]), _mm512_unpackhi_ps(r[i], r[i + 1]));
            (_mm512_castps_pd(a), _mm512_castps_pd(b))
        };
        let four = |i: usize| {
            let ((a, b), (c, d)) = (pair(i), pair(i + 2));
            [_mm512_unpacklo_pd(a, c), _mm512_unpackhi_pd(a, c), _mm512_unpacklo_pd(b, d), _mm512_unpackhi_pd(b, d)]
        };
        let (x, y) = (four(0), four(4));
        for (i, (x, y)) in x.into_iter().zip(y).enumerate() {
            for (row, index) in [(i, low), (i + 4, high)] {
                let turned = _mm512_castpd_ps(_mm512_permutex2var_pd(x, index, y));
                // SAFETY: as the caller promises.
                unsafe { _mm512_storeu_ps(to.add((8 * half + row) * width), turned) };
            }
        }
    }
}
