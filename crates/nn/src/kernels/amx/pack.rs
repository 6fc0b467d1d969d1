//! From f32 in rows or columns to tiles of bf16.
//!
//! A tile of A is sixteen rows of 32 neighbouring inner indices; a tile of B is sixteen pairs of inner indices, each with
//! sixteen columns. What is dense in memory decides how numbers are read, and where that is not how the tile wants them
//! the sixteen registers of pairs are transposed. Everything outside the matrix is zero.

use super::{DEPTH, Piece, SIDE, Tile};
use std::{arch::x86_64::*, ops::Range};

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
pub(super) fn pack(view: View<'_>, piece: Piece, lines: Range<usize>, k: usize, side: Side, out: &mut [Tile]) {
    if piece.steps == 0 {
        return;
    }
    let width = out.len() / (piece.steps * piece.parts);
    let lines = lines.start..lines.end.min(lines.start + width * SIDE);
    // What the readers below read without checks.
    assert!(view.line == 1 || view.depth == 1, "product: a factor is dense along neither dimension");
    assert!((lines.end - 1) * view.line + (k - 1) * view.depth < view.values.len());
    assert!(out.len() == width * piece.steps * piece.parts && lines.start + (width - 1) * SIDE < lines.end);
    for (step, out) in out.chunks_exact_mut(width * piece.parts).enumerate() {
        let first = piece.first + step * DEPTH;
        let depth = (k - first).min(DEPTH);
        let (high, low) = out.split_at_mut(width);
        for (t, high) in high.iter_mut().enumerate() {
            let line = lines.start + t * SIDE;
            let count = (lines.end - line).min(SIDE);
            // SAFETY: `count` lines of `depth` inner indices from here on lie within `values`: asserted above.
            unsafe {
                let from = view.values.as_ptr().add(line * view.line + first * view.depth);
                let low = low.get_mut(t);
                match (view.depth == 1, low) {
                    (true, None) => by_line::<false>(from, view.line, count, depth, side, high, None),
                    (true, low) => by_line::<true>(from, view.line, count, depth, side, high, low),
                    (false, None) => by_depth::<false>(from, view.depth, count, depth, side, high, None),
                    (false, low) => by_depth::<true>(from, view.depth, count, depth, side, high, low),
                }
            }
        }
    }
}

/// The first `n` of sixteen lanes.
fn lanes(n: usize) -> __mmask16 {
    (0xffffu32 >> (SIDE - n.min(SIDE))) as __mmask16
}

/// Reads a matrix whose inner dimension is dense.
///
/// # Safety
/// `count` lines, `stride` apart, of `depth` numbers can be read at `from`.
#[target_feature(enable = "avx512f,avx512bw,avx512bf16")]
unsafe fn by_line<const SPLIT: bool>(
    from: *const f32,
    stride: usize,
    count: usize,
    depth: usize,
    side: Side,
    high: &mut Tile,
    low: Option<&mut Tile>,
) {
    let (left, right) = (lanes(depth), lanes(depth.saturating_sub(SIDE)));
    let mut h = [_mm512_setzero_si512(); SIDE];
    let mut l = [_mm512_setzero_si512(); SIDE];
    for i in 0..SIDE {
        if i < count {
            // SAFETY: masked lanes are not read, and the rest is asked of the caller.
            let (x, y) = unsafe {
                let from = from.add(i * stride);
                (_mm512_maskz_loadu_ps(left, from), _mm512_maskz_loadu_ps(right, from.wrapping_add(SIDE)))
            };
            h[i] = halves(x, y);
            if SPLIT {
                let x_high = _mm512_slli_epi32::<16>(_mm512_cvtepu16_epi32(_mm512_castsi512_si256(h[i])));
                let y_high = _mm512_slli_epi32::<16>(_mm512_cvtepu16_epi32(_mm512_extracti64x4_epi64::<1>(h[i])));
                l[i] = halves(
                    _mm512_sub_ps(x, _mm512_castsi512_ps(x_high)),
                    _mm512_sub_ps(y, _mm512_castsi512_ps(y_high)),
                );
            }
        }
    }
    store(h, side == Side::Right, high);
    if let Some(low) = low
        && SPLIT
    {
        store(l, side == Side::Right, low);
    }
}

/// Reads a matrix whose lines lie side by side.
///
/// # Safety
/// `depth` groups, `stride` apart, of `count` numbers can be read at `from`.
#[target_feature(enable = "avx512f,avx512bw,avx512bf16")]
unsafe fn by_depth<const SPLIT: bool>(
    from: *const f32,
    stride: usize,
    count: usize,
    depth: usize,
    side: Side,
    high: &mut Tile,
    low: Option<&mut Tile>,
) {
    let mask = lanes(count);
    // Word 2j of the result is word j, word 2j + 1 is word 16 + j.
    let interleave = _mm512_add_epi32(
        _mm512_set1_epi32(16 << 16),
        _mm512_mullo_epi32(
            _mm512_set1_epi32(1 << 16 | 1),
            _mm512_set_epi32(15, 14, 13, 12, 11, 10, 9, 8, 7, 6, 5, 4, 3, 2, 1, 0),
        ),
    );
    let upper = _mm512_set1_epi32(0xffff_0000u32 as i32);
    let mut h = [_mm512_setzero_si512(); SIDE];
    let mut l = [_mm512_setzero_si512(); SIDE];
    for q in 0..SIDE {
        if 2 * q < depth {
            let second = if 2 * q + 1 < depth { mask } else { 0 };
            // SAFETY: masked lanes are not read, and the rest is asked of the caller.
            let (x, y) = unsafe {
                let from = from.add(2 * q * stride);
                (_mm512_maskz_loadu_ps(mask, from), _mm512_maskz_loadu_ps(second, from.wrapping_add(stride)))
            };
            h[q] = _mm512_permutexvar_epi16(interleave, halves(x, y));
            if SPLIT {
                let (x_high, y_high) = (_mm512_slli_epi32::<16>(h[q]), _mm512_and_si512(h[q], upper));
                let rest = halves(
                    _mm512_sub_ps(x, _mm512_castsi512_ps(x_high)),
                    _mm512_sub_ps(y, _mm512_castsi512_ps(y_high)),
                );
                l[q] = _mm512_permutexvar_epi16(interleave, rest);
            }
        }
    }
    store(h, side == Side::Left, high);
    if let Some(low) = low
        && SPLIT
    {
        store(l, side == Side::Left, low);
    }
}

/// `x` rounded to bf16 in the lower sixteen words, `y` in the upper.
#[target_feature(enable = "avx512f,avx512bf16")]
fn halves(x: __m512, y: __m512) -> __m512i {
    // SAFETY: both are 512 bits, and any bits are integers.
    unsafe { std::mem::transmute::<__m512bh, __m512i>(_mm512_cvtne2ps_pbh(y, x)) }
}

#[target_feature(enable = "avx512f")]
fn store(rows: [__m512i; SIDE], transposed: bool, tile: &mut Tile) {
    let rows = if transposed { transpose(rows) } else { rows };
    for (row, to) in rows.into_iter().zip(tile.0.chunks_exact_mut(SIDE)) {
        // SAFETY: sixteen words, in a tile aligned to 64 bytes.
        unsafe { _mm512_store_si512(to.as_mut_ptr().cast(), row) };
    }
}

/// Sixteen by sixteen words: pairs of words within lanes, pairs of pairs, then lanes.
#[target_feature(enable = "avx512f")]
fn transpose(r: [__m512i; SIDE]) -> [__m512i; SIDE] {
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
    let mut out = r;
    for c in 0..4 {
        let a = _mm512_shuffle_i32x4::<0x88>(t[c], t[4 + c]);
        let b = _mm512_shuffle_i32x4::<0xdd>(t[c], t[4 + c]);
        let d = _mm512_shuffle_i32x4::<0x88>(t[8 + c], t[12 + c]);
        let e = _mm512_shuffle_i32x4::<0xdd>(t[8 + c], t[12 + c]);
        out[c] = _mm512_shuffle_i32x4::<0x88>(a, d);
        out[4 + c] = _mm512_shuffle_i32x4::<0x88>(b, e);
        out[8 + c] = _mm512_shuffle_i32x4::<0xdd>(a, d);
        out[12 + c] = _mm512_shuffle_i32x4::<0xdd>(b, e);
    }
    out
}
