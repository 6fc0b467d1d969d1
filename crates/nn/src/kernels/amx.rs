//! Products on the tile unit of recent x86 servers (AMX): sixteen by sixteen sums of bf16 products at a time, in f32.
//!
//! Operands are rounded to bf16 (8 bits of precision) as they are packed. In [`Precision::Bf16`] that is all; in
//! [`Precision::Split`] the remainder is kept as a second bf16 and a product is lo·hi + hi·hi + hi·lo, which leaves out
//! lo·lo alone: about 16 bits, at three times the tile work. Sums are f32 in both.
//!
//! B is packed once into pairs of tiles, A pair by pair on the stack of whoever needs it. The order of every sum is fixed
//! by `k` alone, so results depend neither on the tile an element falls in nor on the number of threads.

#![allow(unsafe_code)]

mod pack;
#[cfg(test)]
mod tests;

use super::{Bias, Epilogue, Precision, Product, Start};
use pack::{Side, View, pack};
use rayon::prelude::*;
use std::{arch::x86_64::*, mem::MaybeUninit, sync::LazyLock};

/// Rows and columns of a tile of C.
const SIDE: usize = 16;
/// Inner length of a tile of A or B.
const DEPTH: usize = 32;
/// The inner dimension is packed in pieces of this many steps of [`DEPTH`], so that the piece of B stays in the L2 cache.
/// Between pieces sums wait in C, which is f32 as well: the length of a piece changes no bit.
const STEPS: usize = 16;
/// Rows of C that one task computes.
const ROWS_PER_TASK: usize = 64;
/// Below this many multiply–adds a product is not worth waking another thread for.
const FORK_FROM: usize = 8 << 20;
/// Tiles in the widest block of A: two tiles wide, high and low parts.
const BLOCK: usize = 4 * STEPS;

/// Sixteen rows of 64 bytes. Of A: row × 32 bf16; of B: pair of inner indices × 16 columns × 2 bf16.
#[derive(Clone, Copy)]
#[repr(C, align(64))]
struct Tile([u32; 256]);

/// Whether this machine can run the products of this file, and Linux lets this process. Asked once.
pub(super) fn available() -> bool {
    static AVAILABLE: LazyLock<bool> = LazyLock::new(|| {
        let vectors = std::is_x86_feature_detected!("avx512f")
            && std::is_x86_feature_detected!("avx512bw")
            && std::is_x86_feature_detected!("avx512bf16");
        vectors && processor_has_tiles() && kernel_permits_tiles()
    });
    *AVAILABLE
}

/// CPUID leaf 7: EDX bit 22 is AMX-BF16, bit 24 AMX-TILE.
fn processor_has_tiles() -> bool {
    let tiles = 1 << 22 | 1 << 24;
    __cpuid(0).eax >= 7 && __cpuid_count(7, 0).edx & tiles == tiles
}

/// Asks Linux to save the tile registers of this process; it refuses where the kernel is too old or forbids them.
fn kernel_permits_tiles() -> bool {
    const ARCH_PRCTL: u64 = 158;
    const ARCH_REQ_XCOMP_PERM: u64 = 0x1023;
    const XFEATURE_XTILEDATA: u64 = 18;
    let result: i64;
    // SAFETY: a system call that reads no memory of ours; rcx and r11 are what the instruction itself overwrites.
    unsafe {
        std::arch::asm!(
            "syscall",
            inlateout("rax") ARCH_PRCTL => result,
            in("rdi") ARCH_REQ_XCOMP_PERM,
            in("rsi") XFEATURE_XTILEDATA,
            out("rcx") _,
            out("r11") _,
            options(nostack),
        );
    }
    result == 0
}

/// Whether tiles are faster than the f32 kernel for this product, as measured: what is saved on products
/// must be more than rounding and padding the factors costs. The number of members makes no difference, so that one alone gets the same bits.
pub(super) fn pays(precision: Precision, p: &Product<'_>) -> bool {
    let unit = |x: usize, y: usize| x == 1 || y == 1;
    let lies_right = unit(p.a.row, p.a.col) && unit(p.b.row, p.b.col);
    let (narrow, work) = if precision == Precision::Split { (SIDE + 1, 1 << 19) } else { (SIDE / 2, 1 << 18) };
    let one_bias = !matches!(p.start, Start::Bias(Bias { group, .. }) if group < p.m);
    lies_right && one_bias && p.m >= SIDE && p.k > SIDE && p.n >= narrow && p.m * p.k * p.n >= work
}

/// Computes `p` into `c`, `[members, m, n]` dense. `scratch` grows once and is then reused.
///
/// # Panics
/// If tiles are not [`available`], or a factor has no dimension along which it is dense.
pub(super) fn product(precision: Precision, parallel: bool, p: Product<'_>, scratch: &mut Vec<f32>, c: &mut [f32]) {
    assert!(available(), "product: this machine has no bf16 tiles");
    assert_eq!(c.len(), p.members * p.m * p.n, "product: the output does not hold [{}, {}, {}]", p.members, p.m, p.n);
    if c.is_empty() {
        return;
    }
    p.check();
    let parts = parts(precision);
    let fork = parallel && p.members * p.m * p.n * p.k >= FORK_FROM && rayon::current_num_threads() > 1;
    let shared = p.b.stack == 0;
    // Alone, one member after the other uses the same scratch while it is in the cache.
    let together = if fork { p.members } else { 1 };
    let steps = p.k.div_ceil(DEPTH);
    let per_member = p.n.div_ceil(SIDE) * steps.min(STEPS) * parts;
    let room = if shared { 1 } else { together } * per_member;
    let tiles = tiles(scratch, room);

    let mut first = 0;
    loop {
        let piece = Piece { first: first * DEPTH, steps: (steps - first).min(STEPS), parts };
        let last = first + piece.steps == steps;
        let wide = 2 * piece.steps * parts;
        let per_member = p.n.div_ceil(SIDE) * piece.steps * parts;
        for group in 0..p.members / together {
            if !shared || group == 0 {
                let pack_one = |member: usize, panel: usize, out: &mut [MaybeUninit<Tile>]| {
                    let b = View {
                        values: &p.b.values[(group * together + member) * p.b.stack..],
                        line: p.b.col,
                        depth: p.b.row,
                    };
                    // SAFETY: `available` found the instruction sets: asserted above.
                    unsafe { pack(b, piece, panel * 2 * SIDE..p.n, p.k, Side::Right, out) };
                };
                let tiles = &mut tiles[..if shared { 1 } else { together } * per_member];
                if per_member == 0 {
                } else if fork {
                    tiles.par_chunks_mut(per_member).enumerate().for_each(|(member, tiles)| {
                        tiles.par_chunks_mut(wide).enumerate().for_each(|(panel, out)| pack_one(member, panel, out));
                    });
                } else {
                    for (panel, out) in tiles.chunks_mut(wide).enumerate() {
                        pack_one(0, panel, out);
                    }
                }
            }
            let c = &mut c[group * together * p.m * p.n..][..together * p.m * p.n];
            let tiles = &*tiles;
            let rows = |member: usize, task: usize, c: &mut [f32]| {
                let b = &tiles[if shared { 0 } else { member * per_member }..][..per_member];
                let from =
                    Block { member: group * together + member, row: task * ROWS_PER_TASK, begins: first == 0, last };
                // SAFETY: the machine has tiles and the instruction sets asked for with them: asserted above.
                unsafe { row_block(&p, piece, from, b, c) };
            };
            if fork {
                c.par_chunks_mut(p.m * p.n).enumerate().for_each(|(member, c)| {
                    c.par_chunks_mut(ROWS_PER_TASK * p.n).enumerate().for_each(|(task, c)| rows(member, task, c));
                });
            } else {
                c.chunks_mut(ROWS_PER_TASK * p.n).enumerate().for_each(|(task, c)| rows(0, task, c));
            }
        }
        first += piece.steps;
        if last {
            return;
        }
    }
}

/// How many bf16 stand for one number.
fn parts(precision: Precision) -> usize {
    match precision {
        Precision::Bf16 => 1,
        Precision::Split => 2,
        Precision::F32 => panic!("product: f32 is not for tiles"),
    }
}

/// Room for `count` tiles at the first aligned place of `scratch`.
fn tiles(scratch: &mut Vec<f32>, count: usize) -> &mut [MaybeUninit<Tile>] {
    let floats = size_of::<Tile>() / size_of::<f32>();
    let needed = count * floats + align_of::<Tile>() / size_of::<f32>();
    if scratch.len() < needed {
        scratch.resize(needed, 0.0);
    }
    // SAFETY: any bits are an f32 as well as a tile, and nothing but bits is written to a tile.
    let (_, tiles, _) = unsafe { scratch.align_to_mut::<MaybeUninit<Tile>>() };
    &mut tiles[..count]
}

/// A piece of the inner dimension, from index `first` on.
#[derive(Clone, Copy)]
struct Piece {
    first: usize,
    steps: usize,
    /// 1 or 2.
    parts: usize,
}

/// Which rows a task computes, and whether sums begin or end with this piece.
#[derive(Clone, Copy)]
struct Block {
    member: usize,
    row: usize,
    begins: bool,
    last: bool,
}

/// Eight full tiles: the operand of `ldtilecfg`.
#[repr(C, align(64))]
struct Configuration {
    palette: u8,
    start_row: u8,
    reserved: [u8; 14],
    row_bytes: [u16; 16],
    rows: [u8; 16],
}

static FULL_TILES: Configuration = Configuration {
    palette: 1,
    start_row: 0,
    reserved: [0; 14],
    row_bytes: [64, 64, 64, 64, 64, 64, 64, 64, 0, 0, 0, 0, 0, 0, 0, 0],
    rows: [16, 16, 16, 16, 16, 16, 16, 16, 0, 0, 0, 0, 0, 0, 0, 0],
};

/// The tile registers of this thread, in use until dropped.
struct Registers;

impl Registers {
    /// # Safety
    /// Tiles are [`available`].
    unsafe fn configure() -> Self {
        // SAFETY: reads 64 bytes that are a valid configuration; compiled code uses no tile register.
        unsafe {
            std::arch::asm!("ldtilecfg [{}]", in(reg) &raw const FULL_TILES, options(nostack, readonly, preserves_flags))
        };
        Self
    }
}

impl Drop for Registers {
    fn drop(&mut self) {
        // SAFETY: a value exists only where `configure` ran. The kernel no longer has to save tiles after this.
        unsafe { std::arch::asm!("tilerelease", options(nostack, nomem, preserves_flags)) };
    }
}

/// Where the four tiles of a 2 × 2 block start from and go to: addresses and distances between rows, in bytes. The
/// assembly below reads it by offset.
#[repr(C)]
#[derive(Clone, Copy)]
struct Place {
    from: *const f32,
    from_stride: usize,
    to: *mut f32,
    to_stride: usize,
}

/// Numbers from the beginning of a cache line on: a tile of C beside C, or a padded bias.
#[derive(Clone, Copy)]
#[repr(C, align(64))]
struct Lines<const N: usize>([f32; N]);

/// The widest bias that is copied to where tile loads are fastest.
const BIAS: usize = 1024;

/// Computes some rows of one member over one piece of the inner dimension; `c` holds just those rows.
///
/// # Safety
/// Tiles are [`available`].
#[target_feature(enable = "avx512f,avx512bw,avx512bf16")]
unsafe fn row_block(p: &Product<'_>, piece: Piece, block: Block, b: &[MaybeUninit<Tile>], c: &mut [f32]) {
    let rows = c.len() / p.n;
    let a = View {
        values: if p.k == 0 { &[] } else { &p.a.values[block.member * p.a.stack..] },
        line: p.a.row,
        depth: p.a.col,
    };
    // Of a row of these columns, where all but the last block ends without one.
    let epilogue = |at: usize| {
        let beside = (block.member * p.m + block.row) * p.n + at;
        match p.epilogue {
            _ if !block.last => Epilogue::None,
            Epilogue::Mask(mask) => Epilogue::Mask(&mask[beside..]),
            Epilogue::Times(times) => Epilogue::Times(&times[beside..]),
            same => same,
        }
    };
    let mut space = [const { MaybeUninit::<Tile>::uninit() }; BLOCK];
    // Two sets by turns: a block is finished one block late, because a vector load waits for the tile store that it meets.
    let mut corners = [[Lines([0.0; SIDE * SIDE]); 4]; 2];
    let (mut set, mut unfinished) = (0, None);
    let mut places = [Place { from: std::ptr::null(), from_stride: 0, to: std::ptr::null_mut(), to_stride: 0 }; 4];
    // What sums start from, written long before it is read: a tile load waits for all stores before the one it meets.
    // The last columns of a bias that is too wide for this, which need zeros behind them, stand at its end.
    let mut starts = Lines([0.0; BIAS + SIDE]);
    let bias = match p.start {
        Start::Bias(Bias { values, stack, .. }) if block.begins => Some(&values[block.member * stack..][..p.n]),
        _ => None,
    };
    let ragged = p.n % SIDE;
    if let Some(bias) = bias {
        let fits = p.n.min(BIAS);
        starts.0[..fits].copy_from_slice(&bias[..fits]);
        starts.0[BIAS..][..ragged].copy_from_slice(&bias[p.n - ragged..]);
    }
    // SAFETY: asked of the caller.
    let _registers = unsafe { Registers::configure() };
    for i in (0..rows).step_by(2 * SIDE) {
        let height = (rows - i).min(2 * SIDE);
        let tall = height.div_ceil(SIDE);
        let packed = &mut space[..tall * piece.steps * piece.parts];
        pack(a, piece, block.row + i..block.row + i + height, p.k, Side::Left, packed);
        for j in (0..p.n).step_by(2 * SIDE) {
            let width = (p.n - j).min(2 * SIDE);
            let wide = width.div_ceil(SIDE);
            let panel = &b[j / SIDE * piece.steps * piece.parts..][..wide * piece.steps * piece.parts];
            let block_c = &mut c[i * p.n + j..][..(height - 1) * p.n + width];
            let used = |at: usize| at / 2 < tall && at % 2 < wide;
            let full = |at: usize| at / 2 * SIDE + SIDE <= height && at % 2 * SIDE + SIDE <= width;
            let corner_of = |at: usize| at / 2 * SIDE * p.n + at % 2 * SIDE;
            for at in (0..4).filter(|&at| used(at) && !full(at) && !block.begins) {
                let cols = (width - at % 2 * SIDE).min(SIDE);
                for (to, from) in corners[set][at].0.chunks_exact_mut(SIDE).zip(block_c[corner_of(at)..].chunks(p.n)) {
                    to[..cols].copy_from_slice(&from[..cols]);
                }
            }
            let (in_c, in_corners) = (block_c.as_mut_ptr(), corners[set].as_mut_ptr());
            for (at, place) in places.iter_mut().enumerate() {
                let direct = (in_c.wrapping_add(corner_of(at)), p.n * size_of::<f32>());
                let through = (in_corners.wrapping_add(at).cast::<f32>(), SIDE * size_of::<f32>());
                let there = if full(at) { direct } else { through };
                (place.to, place.to_stride) = there;
                let first = j + at % 2 * SIDE;
                (place.from, place.from_stride) = match bias {
                    _ if !block.begins => (there.0.cast_const(), there.1),
                    // The same sixteen numbers in each row: a distance of zero.
                    None => (starts.0.as_ptr(), 0),
                    Some(_) if first + SIDE <= BIAS => (starts.0.as_ptr().wrapping_add(first), 0),
                    Some(_) if first + SIDE > p.n => (starts.0.as_ptr().wrapping_add(BIAS), 0),
                    Some(bias) => (bias.as_ptr().wrapping_add(first), 0),
                };
            }
            // C is written in bursts far apart: ask for its lines while the sums are made.
            for row in 0..height {
                for at in [0, SIDE] {
                    _mm_prefetch::<_MM_HINT_ET0>(in_c.wrapping_add(row * p.n + at).cast());
                }
            }
            // SAFETY: tiles are configured; `packed` and `panel` hold `steps` steps of `tall` and `wide` tiles in `parts`
            // parts; every place in use has sixteen rows of sixteen numbers, in C where it is full, else in its corner.
            unsafe {
                let kernel = match (piece.parts, tall, wide) {
                    (1, 2, 2) => kernel_2x2,
                    (1, 2, 1) => kernel_2x1,
                    (1, 1, 2) => kernel_1x2,
                    (1, ..) => kernel_1x1,
                    (_, 2, 2) => split_2x2,
                    (_, 2, 1) => split_2x1,
                    (_, 1, 2) => split_1x2,
                    _ => split_1x1,
                };
                kernel(piece.steps, packed.as_ptr().cast(), panel.as_ptr().cast(), &places);
            }
            if let Some((at, size)) = unfinished.replace((i * p.n + j, [height, width])) {
                finish(&mut c[at..], p.n, size, &corners[1 - set], epilogue(at));
            }
            set = 1 - set;
        }
    }
    if let Some((at, size)) = unfinished {
        finish(&mut c[at..], p.n, size, &corners[1 - set], epilogue(at));
    }
}

/// Brings what is not a full tile from its corner to C, whose rows are `stride` apart, and all of the block through the
/// activation.
#[target_feature(enable = "avx512f")]
fn finish(
    c: &mut [f32],
    stride: usize,
    [height, width]: [usize; 2],
    corners: &[Lines<{ SIDE * SIDE }>; 4],
    epilogue: Epilogue<'_>,
) {
    assert!(epilogue.beside().is_none_or(|beside| (height - 1) * stride + width <= beside.len()));
    assert!((height - 1) * stride + width <= c.len() && height <= 2 * SIDE && width <= 2 * SIDE);
    for (at, corner) in corners.iter().enumerate() {
        let (row, col) = (at / 2 * SIDE, at % 2 * SIDE);
        if row >= height || col >= width {
            continue;
        }
        let (rows, cols) = ((height - row).min(SIDE), (width - col).min(SIDE));
        let full = rows == SIDE && cols == SIDE;
        if full && epilogue == Epilogue::None {
            continue;
        }
        let mask = (0xffffu32 >> (SIDE - cols)) as __mmask16;
        for r in 0..rows {
            let to = c.as_mut_ptr().wrapping_add((row + r) * stride + col);
            let from = if full { to.cast_const() } else { corner.0.as_ptr().wrapping_add(r * SIDE) };
            // SAFETY: masked lanes are neither read nor written; the rest is in C and in what sums meet, as asserted, or in the
            // corner.
            unsafe {
                let x = _mm512_maskz_loadu_ps(mask, from);
                let met = |y: &[f32]| _mm512_maskz_loadu_ps(mask, y.as_ptr().wrapping_add((row + r) * stride + col));
                let zero = _mm512_setzero_ps();
                let x = match epilogue {
                    Epilogue::None | Epilogue::Swish => x,
                    // max returns its second operand when either is NaN, so a NaN is kept.
                    Epilogue::Relu => _mm512_max_ps(zero, x),
                    Epilogue::Mask(y) => _mm512_maskz_mov_ps(_mm512_cmp_ps_mask::<_CMP_GT_OQ>(met(y), zero), x),
                    Epilogue::Times(y) => _mm512_mul_ps(x, met(y)),
                };
                _mm512_mask_storeu_ps(to, mask, x);
            }
        }
    }
}

/// A block of C: loads its tiles, runs over the packed steps of A and B, stores its tiles. In `tdpbf16ps` a tile of C is
/// tmm0–tmm3, of A tmm4 or tmm5, of B tmm6 or tmm7; four independent sums hide most of the latency of one.
macro_rules! kernel {
    ($name:ident, [$($c:literal at $place:literal),*], [$a_step:literal, $b_step:literal], [$($body:literal),*]) => {
        /// # Safety
        /// Tiles are configured; `a` and `b` hold `steps` steps; the places of this block's tiles can be read and written.
        unsafe fn $name(steps: usize, a: *const Tile, b: *const Tile, places: &[Place; 4]) {
            // SAFETY: asked of the caller. Compiled code uses no tile register, so none is declared.
            unsafe {
                std::arch::asm!(
                    $(
                        concat!("mov {x}, [{places} + 32 * ", $place, "]"),
                        concat!("mov {y}, [{places} + 32 * ", $place, " + 8]"),
                        concat!("tileloadd ", $c, ", [{x} + {y}*1]"),
                    )*
                    "test {steps}, {steps}",
                    "jz 3f",
                    "2:",
                    $($body,)*
                    concat!("add {a}, 1024 * ", $a_step),
                    concat!("add {b}, 1024 * ", $b_step),
                    "dec {steps}",
                    "jnz 2b",
                    "3:",
                    $(
                        concat!("mov {x}, [{places} + 32 * ", $place, " + 16]"),
                        concat!("mov {y}, [{places} + 32 * ", $place, " + 24]"),
                        concat!("tilestored [{x} + {y}*1], ", $c),
                    )*
                    steps = inout(reg) steps => _,
                    a = inout(reg) a => _,
                    b = inout(reg) b => _,
                    places = in(reg) places.as_ptr(),
                    s = in(reg) 64usize,
                    x = out(reg) _,
                    y = out(reg) _,
                    options(nostack),
                );
            }
        }
    };
}

kernel!(kernel_2x2, ["tmm0" at 0, "tmm1" at 1, "tmm2" at 2, "tmm3" at 3], [2, 2], [
    "tileloadd tmm6, [{b} + {s}*1]",
    "tileloadd tmm4, [{a} + {s}*1]",
    "tdpbf16ps tmm0, tmm4, tmm6",
    "tileloadd tmm7, [{b} + {s}*1 + 1024]",
    "tdpbf16ps tmm1, tmm4, tmm7",
    "tileloadd tmm5, [{a} + {s}*1 + 1024]",
    "tdpbf16ps tmm2, tmm5, tmm6",
    "tdpbf16ps tmm3, tmm5, tmm7"
]);
kernel!(kernel_2x1, ["tmm0" at 0, "tmm2" at 2], [2, 1], [
    "tileloadd tmm6, [{b} + {s}*1]",
    "tileloadd tmm4, [{a} + {s}*1]",
    "tdpbf16ps tmm0, tmm4, tmm6",
    "tileloadd tmm5, [{a} + {s}*1 + 1024]",
    "tdpbf16ps tmm2, tmm5, tmm6"
]);
kernel!(kernel_1x2, ["tmm0" at 0, "tmm1" at 1], [1, 2], [
    "tileloadd tmm6, [{b} + {s}*1]",
    "tileloadd tmm4, [{a} + {s}*1]",
    "tdpbf16ps tmm0, tmm4, tmm6",
    "tileloadd tmm7, [{b} + {s}*1 + 1024]",
    "tdpbf16ps tmm1, tmm4, tmm7"
]);
kernel!(kernel_1x1, ["tmm0" at 0], [1, 1], [
    "tileloadd tmm6, [{b} + {s}*1]",
    "tileloadd tmm4, [{a} + {s}*1]",
    "tdpbf16ps tmm0, tmm4, tmm6"
]);
// Per step: lo·hi, hi·hi, hi·lo, in this order for every shape of block.
kernel!(split_2x2, ["tmm0" at 0, "tmm1" at 1, "tmm2" at 2, "tmm3" at 3], [4, 4], [
    "tileloadd tmm6, [{b} + {s}*1]",
    "tileloadd tmm4, [{a} + {s}*1 + 2048]",
    "tdpbf16ps tmm0, tmm4, tmm6",
    "tileloadd tmm7, [{b} + {s}*1 + 1024]",
    "tdpbf16ps tmm1, tmm4, tmm7",
    "tileloadd tmm5, [{a} + {s}*1 + 3072]",
    "tdpbf16ps tmm2, tmm5, tmm6",
    "tdpbf16ps tmm3, tmm5, tmm7",
    "tileloadd tmm4, [{a} + {s}*1]",
    "tdpbf16ps tmm0, tmm4, tmm6",
    "tdpbf16ps tmm1, tmm4, tmm7",
    "tileloadd tmm5, [{a} + {s}*1 + 1024]",
    "tdpbf16ps tmm2, tmm5, tmm6",
    "tdpbf16ps tmm3, tmm5, tmm7",
    "tileloadd tmm6, [{b} + {s}*1 + 2048]",
    "tdpbf16ps tmm0, tmm4, tmm6",
    "tileloadd tmm7, [{b} + {s}*1 + 3072]",
    "tdpbf16ps tmm1, tmm4, tmm7",
    "tdpbf16ps tmm2, tmm5, tmm6",
    "tdpbf16ps tmm3, tmm5, tmm7"
]);
kernel!(split_2x1, ["tmm0" at 0, "tmm2" at 2], [4, 2], [
    "tileloadd tmm6, [{b} + {s}*1]",
    "tileloadd tmm4, [{a} + {s}*1 + 2048]",
    "tdpbf16ps tmm0, tmm4, tmm6",
    "tileloadd tmm5, [{a} + {s}*1 + 3072]",
    "tdpbf16ps tmm2, tmm5, tmm6",
    "tileloadd tmm4, [{a} + {s}*1]",
    "tdpbf16ps tmm0, tmm4, tmm6",
    "tileloadd tmm5, [{a} + {s}*1 + 1024]",
    "tdpbf16ps tmm2, tmm5, tmm6",
    "tileloadd tmm6, [{b} + {s}*1 + 1024]",
    "tdpbf16ps tmm0, tmm4, tmm6",
    "tdpbf16ps tmm2, tmm5, tmm6"
]);
kernel!(split_1x2, ["tmm0" at 0, "tmm1" at 1], [2, 4], [
    "tileloadd tmm6, [{b} + {s}*1]",
    "tileloadd tmm4, [{a} + {s}*1 + 1024]",
    "tdpbf16ps tmm0, tmm4, tmm6",
    "tileloadd tmm7, [{b} + {s}*1 + 1024]",
    "tdpbf16ps tmm1, tmm4, tmm7",
    "tileloadd tmm4, [{a} + {s}*1]",
    "tdpbf16ps tmm0, tmm4, tmm6",
    "tdpbf16ps tmm1, tmm4, tmm7",
    "tileloadd tmm6, [{b} + {s}*1 + 2048]",
    "tdpbf16ps tmm0, tmm4, tmm6",
    "tileloadd tmm7, [{b} + {s}*1 + 3072]",
    "tdpbf16ps tmm1, tmm4, tmm7"
]);
kernel!(split_1x1, ["tmm0" at 0], [2, 2], [
    "tileloadd tmm6, [{b} + {s}*1]",
    "tileloadd tmm4, [{a} + {s}*1 + 1024]",
    "tdpbf16ps tmm0, tmm4, tmm6",
    "tileloadd tmm4, [{a} + {s}*1]",
    "tdpbf16ps tmm0, tmm4, tmm6",
    "tileloadd tmm6, [{b} + {s}*1 + 1024]",
    "tdpbf16ps tmm0, tmm4, tmm6"
]);
