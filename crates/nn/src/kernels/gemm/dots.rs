//! Products with few columns as dot products along the rows of A: a tile would spend most of its width on padding.
//!
//! Every sum is sixteen interleaved partial sums, folded in halves: the same on every instruction set and for any number
//! of rows, though not the single chain of the tiles.

#![allow(unsafe_code)]

use super::{Bias, Epilogue, Product, ROWS_PER_TASK, Start};
use crate::{Real, kernels::Isa};
use rayon::prelude::*;

/// The most columns for which dot products beat a padded tile.
const MOST_COLS: usize = 8;
/// Partial sums of one dot product.
const LANES: usize = 16;

/// Whether `p` is better off here.
pub(super) fn fits(isa: Isa, p: &Product<'_>) -> bool {
    let one_bias = !matches!(p.start, Start::Bias(Bias { group, .. }) if group < p.m);
    isa != Isa::Portable
        && one_bias
        && p.epilogue.beside().is_none()
        && p.a.col == 1
        && p.n <= MOST_COLS
        && p.k >= LANES
}

/// Length of B, stored by columns.
pub(super) fn panels(p: &Product<'_>) -> usize {
    members(p) * p.n * padded(p)
}

fn members(p: &Product<'_>) -> usize {
    if p.b.stack == 0 { 1 } else { p.members }
}

/// The inner size rounded up to whole vectors.
fn padded(p: &Product<'_>) -> usize {
    p.k.next_multiple_of(LANES)
}

/// Computes `p` into `c`; `panels` receives B by columns.
pub(super) fn product(isa: Isa, fork: bool, p: Product<'_>, panels: &mut [Real], c: &mut [Real]) {
    let k = padded(&p);
    for (i, column) in panels.chunks_exact_mut(k).enumerate() {
        let (member, j) = (i / p.n, i % p.n);
        let b = &p.b.values[member * p.b.stack + j * p.b.col..];
        column[..p.k].iter_mut().zip(b.iter().step_by(p.b.row)).for_each(|(x, &b)| *x = b);
        column[p.k..].fill(0.0);
    }
    let panels = &*panels;
    let rows = |member: usize, task: usize, c: &mut [Real]| {
        let b = if members(&p) == 1 { panels } else { &panels[member * p.n * k..][..p.n * k] };
        let bias = match p.start {
            Start::Zero => None,
            Start::Bias(Bias { values, stack, .. }) => Some(&values[member * stack..][..p.n]),
        };
        let a = &p.a.values[member * p.a.stack + task * ROWS_PER_TASK * p.a.row..];
        let job = Dots { a, row: p.a.row, k: p.k, b, bias, relu: p.epilogue == Epilogue::Relu };
        job.run(isa, p.n, c);
    };
    if fork {
        c.par_chunks_mut(p.m * p.n).enumerate().for_each(|(member, c)| {
            c.par_chunks_mut(ROWS_PER_TASK * p.n).enumerate().for_each(|(task, c)| rows(member, task, c));
        });
    } else {
        for (member, c) in c.chunks_mut(p.m * p.n).enumerate() {
            c.chunks_mut(ROWS_PER_TASK * p.n).enumerate().for_each(|(task, c)| rows(member, task, c));
        }
    }
}

/// Rows of A times columns of B, each padded to whole vectors.
struct Dots<'a> {
    a: &'a [Real],
    row: usize,
    k: usize,
    b: &'a [Real],
    bias: Option<&'a [Real]>,
    relu: bool,
}

impl Dots<'_> {
    fn run(&self, isa: Isa, cols: usize, c: &mut [Real]) {
        let rows = c.len() / cols;
        // What is read without checks below.
        assert!((rows - 1) * self.row + self.k <= self.a.len());
        assert!(cols * self.k.next_multiple_of(LANES) <= self.b.len());
        #[cfg(all(any(target_arch = "x86_64", target_arch = "aarch64"), not(feature = "f64")))]
        macro_rules! by_cols {
            ($dots:ident, $(($cols:literal, $rows:literal))*) => {
                match cols {
                    $($cols => {
                        let whole = rows / $rows * $rows;
                        let (tall, rest) = c.split_at_mut(whole * $cols);
                        for (i, c) in tall.chunks_exact_mut($rows * $cols).enumerate() {
                            // SAFETY: `isa()` found the instruction set, and the asserts above bound every access.
                            unsafe { $dots::<$rows, $cols>(self, i * $rows, c) };
                        }
                        for (i, c) in rest.chunks_exact_mut($cols).enumerate() {
                            // SAFETY: as above.
                            unsafe { $dots::<1, $cols>(self, whole + i, c) };
                        }
                    })*
                    _ => unreachable!("no more than MOST_COLS columns"),
                }
            };
        }
        match isa {
            #[cfg(all(target_arch = "x86_64", not(feature = "f64")))]
            Isa::Avx512 => by_cols!(avx512, (1, 8)(2, 8)(3, 6)(4, 6)(5, 4)(6, 4)(7, 3)(8, 3)),
            #[cfg(all(target_arch = "x86_64", not(feature = "f64")))]
            Isa::Avx2 => by_cols!(avx2, (1, 4)(2, 3)(3, 2)(4, 1)(5, 1)(6, 1)(7, 1)(8, 1)),
            #[cfg(all(target_arch = "aarch64", not(feature = "f64")))]
            Isa::Neon => by_cols!(neon, (1, 4)(2, 3)(3, 2)(4, 1)(5, 1)(6, 1)(7, 1)(8, 1)),
            // Not asked for: `fits` says that the portable twin uses tiles.
            _ => c.fill(Real::NAN),
        }
        for row in c.chunks_exact_mut(cols) {
            if let Some(bias) = self.bias {
                row.iter_mut().zip(bias).for_each(|(c, b)| *c += b);
            }
            if self.relu {
                // False for NaN, which is kept.
                row.iter_mut().filter(|c| **c <= 0.0).for_each(|c| *c = 0.0);
            }
        }
    }
}

#[cfg(all(target_arch = "x86_64", not(feature = "f64")))]
use super::tile::{load_some_256, load_some_512};
#[cfg(all(target_arch = "x86_64", not(feature = "f64")))]
use std::arch::x86_64::*;

/// Eight numbers to one: halves, quarters, eighths.
#[cfg(all(target_arch = "x86_64", not(feature = "f64")))]
#[target_feature(enable = "avx2,fma")]
fn fold(x: __m256) -> f32 {
    let x = _mm_add_ps(_mm256_castps256_ps128(x), _mm256_extractf128_ps::<1>(x));
    let x = _mm_add_ps(x, _mm_movehl_ps(x, x));
    _mm_cvtss_f32(_mm_add_ss(x, _mm_movehdup_ps(x)))
}

/// # Safety
/// The machine has AVX-512F; A holds rows `first .. first + ROWS` and B `COLS` padded columns, as [`Dots::run`] asserts.
#[cfg(all(target_arch = "x86_64", not(feature = "f64")))]
#[target_feature(enable = "avx512f,avx2,fma")]
unsafe fn avx512<const ROWS: usize, const COLS: usize>(t: &Dots<'_>, first: usize, c: &mut [f32]) {
    let padded = t.k.next_multiple_of(LANES);
    let mut acc = [[_mm512_setzero_ps(); COLS]; ROWS];
    for p in (0..t.k).step_by(LANES) {
        let b: [__m512; COLS] =
            // SAFETY: B holds COLS columns of whole vectors.
            std::array::from_fn(|j| unsafe { _mm512_loadu_ps(t.b.as_ptr().add(j * padded + p)) });
        for (i, acc) in acc.iter_mut().enumerate() {
            let a = t.a.as_ptr().wrapping_add((first + i) * t.row + p);
            // SAFETY: A holds k numbers in each of these rows; the last vector reads only what is left of them.
            let a = unsafe { if p + LANES <= t.k { _mm512_loadu_ps(a) } else { load_some_512(a, t.k - p) } };
            for (s, b) in acc.iter_mut().zip(b) {
                *s = _mm512_fmadd_ps(a, b, *s);
            }
        }
    }
    for (acc, c) in acc.iter().flatten().zip(c) {
        let high = _mm256_castpd_ps(_mm512_extractf64x4_pd::<1>(_mm512_castps_pd(*acc)));
        *c = fold(_mm256_add_ps(_mm512_castps512_ps256(*acc), high));
    }
}

/// # Safety
/// As [`avx512`], for AVX2 with FMA.
#[cfg(all(target_arch = "x86_64", not(feature = "f64")))]
#[target_feature(enable = "avx2,fma")]
unsafe fn avx2<const ROWS: usize, const COLS: usize>(t: &Dots<'_>, first: usize, c: &mut [f32]) {
    let padded = t.k.next_multiple_of(LANES);
    let mut acc = [[[_mm256_setzero_ps(); 2]; COLS]; ROWS];
    for p in (0..t.k).step_by(LANES) {
        for half in 0..2 {
            let at = p + 8 * half;
            let b: [__m256; COLS] =
                // SAFETY: B holds COLS columns of whole vectors.
                std::array::from_fn(|j| unsafe { _mm256_loadu_ps(t.b.as_ptr().add(j * padded + at)) });
            for (i, acc) in acc.iter_mut().enumerate() {
                let a = t.a.as_ptr().wrapping_add((first + i) * t.row + at);
                // SAFETY: A holds k numbers in each of these rows; the last vectors read only what is left of them.
                let a = unsafe {
                    if at + 8 <= t.k { _mm256_loadu_ps(a) } else { load_some_256(a, t.k.saturating_sub(at)) }
                };
                for (s, b) in acc.iter_mut().zip(b) {
                    s[half] = _mm256_fmadd_ps(a, b, s[half]);
                }
            }
        }
    }
    for (acc, c) in acc.iter().flatten().zip(c) {
        *c = fold(_mm256_add_ps(acc[0], acc[1]));
    }
}

#[cfg(all(target_arch = "aarch64", not(feature = "f64")))]
use std::arch::aarch64::*;

/// # Safety
/// As [`some_columns`], for all columns of B.
#[cfg(all(target_arch = "aarch64", not(feature = "f64")))]
#[target_feature(enable = "neon")]
unsafe fn neon<const ROWS: usize, const COLS: usize>(t: &Dots<'_>, first: usize, c: &mut [f32]) {
    // Four vectors of sums each: more than six columns would not stay in registers.
    match COLS {
        // SAFETY: as the caller promises.
        0..=6 => unsafe { some_columns::<ROWS, COLS>(t, first, 0, c) },
        // SAFETY: as the caller promises; such rows come one at a time, and 4 + 4 columns cover them all.
        8 => unsafe {
            some_columns::<1, 4>(t, first, 0, &mut c[..4]);
            some_columns::<1, 4>(t, first, 4, &mut c[4..]);
        },
        // SAFETY: as above, 4 + 3.
        _ => unsafe {
            some_columns::<1, 4>(t, first, 0, &mut c[..4]);
            some_columns::<1, 3>(t, first, 4, &mut c[4..]);
        },
    }
}

/// Sixteen numbers more of each row times each column. Sums come and go by value, which keeps them in registers.
///
/// # Safety
/// The machine has NEON; sixteen numbers can be read at every pointer of `a`, and at COLS places from `b` on, `padded` apart.
#[cfg(all(target_arch = "aarch64", not(feature = "f64")))]
#[inline]
#[target_feature(enable = "neon")]
unsafe fn sixteen<const ROWS: usize, const COLS: usize>(
    mut sums: [[[float32x4_t; 4]; COLS]; ROWS],
    a: [*const f32; ROWS],
    b: *const f32,
    padded: usize,
) -> [[[float32x4_t; 4]; COLS]; ROWS] {
    for quarter in 0..4 {
        // SAFETY: as the caller promises.
        let a: [float32x4_t; ROWS] = a.map(|a| unsafe { vld1q_f32(a.wrapping_add(4 * quarter)) });
        for j in 0..COLS {
            // SAFETY: as the caller promises.
            let b = unsafe { vld1q_f32(b.wrapping_add(j * padded + 4 * quarter)) };
            for (sums, a) in sums.iter_mut().zip(a) {
                sums[j][quarter] = vfmaq_f32(sums[j][quarter], a, b);
            }
        }
    }
    sums
}

/// # Safety
/// The machine has NEON; A holds rows `first .. first + ROWS` and B padded columns `left .. left + COLS`, as [`Dots::run`]
/// asserts.
#[cfg(all(target_arch = "aarch64", not(feature = "f64")))]
#[inline]
#[target_feature(enable = "neon")]
unsafe fn some_columns<const ROWS: usize, const COLS: usize>(t: &Dots<'_>, first: usize, left: usize, c: &mut [f32]) {
    let padded = t.k.next_multiple_of(LANES);
    let b = t.b.as_ptr().wrapping_add(left * padded);
    let row = |i: usize| t.a.as_ptr().wrapping_add((first + i) * t.row);
    let mut acc = [[[vdupq_n_f32(0.0); 4]; COLS]; ROWS];
    let whole = t.k / LANES * LANES;
    for p in (0..whole).step_by(LANES) {
        // SAFETY: A holds `whole` numbers in each of these rows, B as many in each of these columns.
        acc = unsafe { sixteen(acc, std::array::from_fn(|i| row(i).wrapping_add(p)), b.wrapping_add(p), padded) };
    }
    if whole < t.k {
        let mut rest = [[0.0; LANES]; ROWS];
        for (i, rest) in rest.iter_mut().enumerate() {
            rest[..t.k - whole].copy_from_slice(&t.a[(first + i) * t.row..][whole..t.k]);
        }
        // SAFETY: B's columns are padded to whole vectors, and so are these rows.
        acc = unsafe { sixteen(acc, rest.each_ref().map(|rest| rest.as_ptr()), b.wrapping_add(whole), padded) };
    }
    for (acc, c) in acc.iter().flatten().zip(c) {
        // Sixteen numbers to one as on x86: halves, quarters, eighths.
        let x = vaddq_f32(vaddq_f32(acc[0], acc[2]), vaddq_f32(acc[1], acc[3]));
        let x = vadd_f32(vget_low_f32(x), vget_high_f32(x));
        *c = vget_lane_f32::<0>(x) + vget_lane_f32::<1>(x);
    }
}
