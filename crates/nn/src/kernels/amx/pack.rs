//! From f32 in rows or columns to tiles of bf16.
//!
//! A tile of A is sixteen rows of 32 neighbouring inner indices; a tile of B is sixteen pairs of inner indices, each with
//! sixteen columns. What is dense in memory decides how numbers are read, and where that is not how the tile wants them
//! the sixteen registers of pairs are transposed. Everything outside the matrix is zero.

use super::{DEPTH, Piece, SIDE, Tile};
use std::{arch::x86_64::*, mem::MaybeUninit, ops::Range};

/// A factor seen from its sums: lines are rows of A or columns of B; `depth` is the distance along the inner dimension.
#[derive(Clone, Copy)]
pub(super) struct View<'a> {
    pub(super) values: &'a [f32],
    pub(super) line: usize,
    pub(super) depth: usize,
}

/// Which factor a tile is for.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Side {
    Left,
    Right,
}

/// Packs up to 32 of `lines` over `piece` into `out`: for each step, the high tiles of its one or two tiles, then the low.
///
/// `k` is the inner size: what lies beyond it is zero.
#[target_feature(enable = "avx512f,avx512bw,avx512bf16")]
pub(super) fn pack(
    view: View<'_>,
    piece: Piece,
    lines: Range<usize>,
    k: usize,
    side: Side,
    out: &mut [MaybeUninit<Tile>],
) {
    if piece.steps == 0 {
        return;
    }
    let width = out.len() / (piece.steps * piece.parts);
    let lines = lines.start..lines.end.min(lines.start + width * SIDE);
    // What the readers below read and write without checks.
    assert!(view.line == 1 || view.depth == 1, "product: a factor is dense along neither dimension");
    assert!((lines.end - 1) * view.line + (k - 1) * view.depth < view.values.len());
    assert!(out.len() == width * piece.steps * piece.parts && lines.start + (width - 1) * SIDE < lines.end);
    assert!(piece.first < k && k - piece.first > (piece.steps - 1) * DEPTH);
    let source = Source {
        from: &raw const view.values[lines.start * view.line + piece.first * view.depth],
        stride: view.line.max(view.depth),
        count: lines.len(),
        depth: (k - piece.first).min(piece.steps * DEPTH),
    };
    let (to, by_lines) = (out.as_mut_ptr().cast::<__m512i>(), view.depth == 1);
    // SAFETY: the lines and inner indices of `source` lie within `values`, and `out` has room for them in whole tiles:
    // asserted above.
    unsafe {
        match (by_lines, piece.parts, width) {
            (true, 1, 1) => by_line::<1, 1>(source, piece.steps, to),
            (true, 1, _) => by_line::<1, 2>(source, piece.steps, to),
            (true, _, 1) => by_line::<2, 1>(source, piece.steps, to),
            (true, _, _) => by_line::<2, 2>(source, piece.steps, to),
            (false, 1, 1) => by_depth::<1, 1>(source, piece.steps, to),
            (false, 1, _) => by_depth::<1, 2>(source, piece.steps, to),
            (false, _, 1) => by_depth::<2, 1>(source, piece.steps, to),
            (false, _, _) => by_depth::<2, 2>(source, piece.steps, to),
        }
    }
    if by_lines == (side == Side::Right) {
        for tile in out {
            transpose(tile);
        }
    }
}

/// What is packed: `count` lines of `depth` numbers, the ones that are not dense `stride` apart.
#[derive(Clone, Copy)]
struct Source {
    from: *const f32,
    stride: usize,
    count: usize,
    depth: usize,
}

/// The first `n` of sixteen lanes.
fn lanes(n: usize) -> __mmask16 {
    (0xffffu32 >> (SIDE - n.min(SIDE))) as __mmask16
}

/// Fills `steps` × `PARTS` × `WIDTH` tiles from a matrix whose inner dimension is dense: line × 32 inner indices.
///
/// # Safety
/// The source can be read, and the tiles written, from `to` on.
#[target_feature(enable = "avx512f,avx512bw,avx512bf16")]
unsafe fn by_line<const PARTS: usize, const WIDTH: usize>(source: Source, steps: usize, to: *mut __m512i) {
    for step in 0..steps {
        let from = source.from.wrapping_add(step * DEPTH);
        let to = to.wrapping_add(step * PARTS * WIDTH * SIDE);
        let depth = source.depth - step * DEPTH;
        for line in 0..WIDTH * SIDE {
            let (from, to) = (from.wrapping_add(line * source.stride), to.wrapping_add(line));
            let rest = if line < source.count { depth } else { 0 };
            // SAFETY: masked lanes are not read; the rest is asked of the caller.
            unsafe {
                let (x, y) = if rest >= DEPTH {
                    (_mm512_loadu_ps(from), _mm512_loadu_ps(from.add(SIDE)))
                } else {
                    let x = _mm512_maskz_loadu_ps(lanes(rest), from);
                    (x, _mm512_maskz_loadu_ps(lanes(rest.saturating_sub(SIDE)), from.wrapping_add(SIDE)))
                };
                let high = halves(x, y);
                _mm512_store_si512(to, high);
                if PARTS == 2 {
                    let x_high = _mm512_slli_epi32::<16>(_mm512_cvtepu16_epi32(_mm512_castsi512_si256(high)));
                    let y_high = _mm512_slli_epi32::<16>(_mm512_cvtepu16_epi32(_mm512_extracti64x4_epi64::<1>(high)));
                    let x_low = _mm512_sub_ps(x, _mm512_castsi512_ps(x_high));
                    let y_low = _mm512_sub_ps(y, _mm512_castsi512_ps(y_high));
                    _mm512_store_si512(to.add(WIDTH * SIDE), halves(x_low, y_low));
                }
            }
        }
    }
}

/// Fills `steps` × `PARTS` × `WIDTH` tiles from a matrix whose lines lie side by side: pair of inner indices × 16 lines × 2.
///
/// # Safety
/// The source can be read, and the tiles written, from `to` on.
#[target_feature(enable = "avx512f,avx512bw,avx512bf16")]
unsafe fn by_depth<const PARTS: usize, const WIDTH: usize>(source: Source, steps: usize, to: *mut __m512i) {
    // Word 2j of the result is word j, word 2j + 1 is word 16 + j.
    let even = _mm512_set_epi32(15, 14, 13, 12, 11, 10, 9, 8, 7, 6, 5, 4, 3, 2, 1, 0);
    let interleave = _mm512_or_si512(even, _mm512_slli_epi32::<16>(_mm512_add_epi32(even, _mm512_set1_epi32(16))));
    let upper = _mm512_set1_epi32(0xffff_0000u32 as i32);
    let masks: [__mmask16; WIDTH] = std::array::from_fn(|t| lanes(source.count - t * SIDE));
    for pair in 0..steps * SIDE {
        let from = source.from.wrapping_add(2 * pair * source.stride);
        let to = to.wrapping_add(pair / SIDE * PARTS * WIDTH * SIDE + pair % SIDE);
        for (t, mask) in masks.into_iter().enumerate() {
            let (from, to) = (from.wrapping_add(t * SIDE), to.wrapping_add(t * SIDE));
            // SAFETY: masked lanes are not read; the rest is asked of the caller.
            unsafe {
                let (x, y) = if 2 * pair + 1 < source.depth {
                    (_mm512_maskz_loadu_ps(mask, from), _mm512_maskz_loadu_ps(mask, from.add(source.stride)))
                } else if 2 * pair < source.depth {
                    (_mm512_maskz_loadu_ps(mask, from), _mm512_setzero_ps())
                } else {
                    (_mm512_setzero_ps(), _mm512_setzero_ps())
                };
                let high = _mm512_permutexvar_epi16(interleave, halves(x, y));
                _mm512_store_si512(to, high);
                if PARTS == 2 {
                    let x_low = _mm512_sub_ps(x, _mm512_castsi512_ps(_mm512_slli_epi32::<16>(high)));
                    let y_low = _mm512_sub_ps(y, _mm512_castsi512_ps(_mm512_and_si512(high, upper)));
                    let low = _mm512_permutexvar_epi16(interleave, halves(x_low, y_low));
                    _mm512_store_si512(to.add(WIDTH * SIDE), low);
                }
            }
        }
    }
}

/// `x` rounded to bf16 in the lower sixteen words, `y` in the upper.
#[target_feature(enable = "avx512f,avx512bf16")]
fn halves(x: __m512, y: __m512) -> __m512i {
    // SAFETY: both are 512 bits, and any bits are integers.
    unsafe { std::mem::transmute::<__m512bh, __m512i>(_mm512_cvtne2ps_pbh(y, x)) }
}

/// Sixteen by sixteen words: words of two rows, words of four rows, then groups of four words across all sixteen.
#[target_feature(enable = "avx512f")]
fn transpose(tile: &mut MaybeUninit<Tile>) {
    let rows = tile.as_mut_ptr().cast::<__m512i>();
    // SAFETY: a tile is sixteen aligned rows of sixteen words, all of them packed.
    let mut r: [__m512i; SIDE] = std::array::from_fn(|i| unsafe { rows.add(i).read() });
    let mut s = r;
    for i in (0..SIDE).step_by(2) {
        s[i] = _mm512_unpacklo_epi32(r[i], r[i + 1]);
        s[i + 1] = _mm512_unpackhi_epi32(r[i], r[i + 1]);
    }
    let mut t = s;
    for i in (0..SIDE).step_by(4) {
        t[i] = _mm512_unpacklo_epi64(s[i], s[i + 2]);
        t[i + 1] = _mm512_unpackhi_epi64(s[i], s[i + 2]);
        t[i + 2] = _mm512_unpacklo_epi64(s[i + 1], s[i + 3]);
        t[i + 3] = _mm512_unpackhi_epi64(s[i + 1], s[i + 3]);
    }
    // t[4g + c] holds, in lane l, column 4l + c of rows 4g .. 4g + 4.
    for c in 0..4 {
        let a = _mm512_shuffle_i32x4::<0x88>(t[c], t[4 + c]);
        let b = _mm512_shuffle_i32x4::<0xdd>(t[c], t[4 + c]);
        let d = _mm512_shuffle_i32x4::<0x88>(t[8 + c], t[12 + c]);
        let e = _mm512_shuffle_i32x4::<0xdd>(t[8 + c], t[12 + c]);
        r[c] = _mm512_shuffle_i32x4::<0x88>(a, d);
        r[4 + c] = _mm512_shuffle_i32x4::<0x88>(b, e);
        r[8 + c] = _mm512_shuffle_i32x4::<0xdd>(a, d);
        r[12 + c] = _mm512_shuffle_i32x4::<0xdd>(b, e);
    }
    for (i, x) in r.into_iter().enumerate() {
        // SAFETY: as above.
        unsafe { rows.add(i).write(x) };
    }
}
