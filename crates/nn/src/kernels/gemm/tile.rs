//! One tile of C in registers: `height` rows of A times one panel of B.

#![allow(unsafe_code)]

use super::Epilogue;
#[cfg(all(target_arch = "aarch64", not(feature = "f64")))]
use super::neon::neon;
use crate::{Real, kernels::Isa};

/// What a tile's sums start from.
#[derive(Clone, Copy)]
pub(super) enum From<'a> {
    Zero,
    /// One number for each column.
    Bias(&'a [Real]),
    /// One number for each column and every few rows.
    Groups(Groups<'a>),
    /// What stands in C: earlier blocks of the inner dimension.
    Sum,
}

/// A bias of one row for every `group` rows of C.
#[derive(Clone, Copy)]
pub(super) struct Groups<'a> {
    /// From the panel's first column on; rows are as far apart as those of C.
    pub(super) values: &'a [Real],
    pub(super) group: usize,
    /// The row of C that the tile begins with.
    pub(super) row: usize,
}

impl<'a> Groups<'a> {
    /// The bias of each row of a tile in turn.
    #[inline(always)]
    pub(super) fn rows(self, stride: usize, cols: usize) -> impl Iterator<Item = &'a [Real]> {
        let (mut at, mut left) = (self.row / self.group * stride, self.group - self.row % self.group);
        std::iter::repeat_with(move || {
            let row = &self.values[at..at + cols];
            left -= 1;
            if left == 0 {
                (at, left) = (at + stride, self.group);
            }
            row
        })
    }
}

/// The columns of a full panel, and of the narrower one for what is left over.
pub(super) fn widths(isa: Isa) -> [usize; 2] {
    match isa {
        Isa::Avx512 => [32, 16],
        Isa::Avx2 | Isa::Neon => [16, 8],
        Isa::Portable => [8, 8],
    }
}

/// Rows of a tile in plain Rust, of which a compiler makes what vectors it can count on.
const PORTABLE: usize = 4;

/// The most rows of a tile of that width: as many as sums fit in registers.
pub(super) fn tallest(isa: Isa, width: usize) -> usize {
    match (isa, width) {
        (Isa::Avx512, _) => 12,
        (Isa::Avx2 | Isa::Neon, 16) => 6,
        (Isa::Avx2 | Isa::Neon, _) => 12,
        (Isa::Portable, _) => PORTABLE,
    }
}

/// Where a tile's numbers are.
pub(super) struct Tile<'a> {
    pub(super) k: usize,
    /// From the tile's first row on; element `(i, p)` at `i·row + p·col`.
    pub(super) a: &'a [Real],
    pub(super) row: usize,
    pub(super) col: usize,
    /// From the panel's first column on; element `(p, j)` at `p·step + j`.
    pub(super) b: &'a [Real],
    pub(super) step: usize,
    pub(super) from: From<'a>,
    /// What sums meet is from the tile's first element on, rows as far apart as those of C. Not swish, which has tables of
    /// constants and is left to whoever runs many tiles.
    pub(super) epilogue: Epilogue<'a>,
    /// From one row of C to the next.
    pub(super) stride: usize,
    /// Columns of C, at most the width of the panel.
    pub(super) cols: usize,
}

impl Tile<'_> {
    /// `c` starts at the tile's first element.
    pub(super) fn run(&self, isa: Isa, width: usize, height: usize, c: &mut [Real]) {
        // What the tiles below read and write without checks.
        assert!(height > 0 && self.cols > 0 && self.cols <= width);
        assert!(self.k == 0 || (height - 1) * self.row + (self.k - 1) * self.col < self.a.len());
        assert!(self.k == 0 || (self.k - 1) * self.step + width <= self.b.len());
        assert!((height - 1) * self.stride + self.cols <= c.len());
        assert!(!matches!(self.from, From::Bias(b) if b.len() != self.cols));
        assert!(self.epilogue.beside().is_none_or(|beside| (height - 1) * self.stride + self.cols <= beside.len()));
        #[cfg(all(any(target_arch = "x86_64", target_arch = "aarch64"), not(feature = "f64")))]
        macro_rules! by_height {
            ($tile:ident, $vectors:literal, $($h:literal)*) => {
                match height {
                    // SAFETY: `isa()` found the instruction set on this machine, and the asserts above bound every access.
                    $($h => unsafe { $tile::<$h, $vectors>(self, c) },)*
                    _ => unreachable!("no tile is that tall"),
                }
            };
        }
        match (isa, width) {
            #[cfg(all(target_arch = "x86_64", not(feature = "f64")))]
            (Isa::Avx512, 32) => by_height!(avx512, 2, 1 2 3 4 5 6 7 8 9 10 11 12),
            #[cfg(all(target_arch = "x86_64", not(feature = "f64")))]
            (Isa::Avx512, _) => by_height!(avx512, 1, 1 2 3 4 5 6 7 8 9 10 11 12),
            #[cfg(all(target_arch = "x86_64", not(feature = "f64")))]
            (Isa::Avx2, 16) => by_height!(avx2, 2, 1 2 3 4 5 6),
            #[cfg(all(target_arch = "x86_64", not(feature = "f64")))]
            (Isa::Avx2, _) => by_height!(avx2, 1, 1 2 3 4 5 6 7 8 9 10 11 12),
            #[cfg(all(target_arch = "aarch64", not(feature = "f64")))]
            (Isa::Neon, 16) => by_height!(neon, 4, 1 2 3 4 5 6),
            #[cfg(all(target_arch = "aarch64", not(feature = "f64")))]
            (Isa::Neon, _) => by_height!(neon, 2, 1 2 3 4 5 6 7 8 9 10 11 12),
            _ => self.portable(height, c),
        }
    }

    /// The twin every other tile is tested against. A product and a sum are two roundings.
    fn portable(&self, height: usize, c: &mut [Real]) {
        let mut acc = [[0.0; 8]; PORTABLE];
        let start = |row: &mut [Real; 8], from: &[Real]| row[..self.cols].copy_from_slice(from);
        let rows = acc[..height].iter_mut();
        match self.from {
            From::Zero => {}
            From::Bias(bias) => rows.for_each(|row| start(row, bias)),
            From::Groups(groups) => {
                rows.zip(groups.rows(self.stride, self.cols)).for_each(|(row, bias)| start(row, bias));
            }
            From::Sum => rows.enumerate().for_each(|(i, row)| start(row, &c[i * self.stride..][..self.cols])),
        }
        if height == PORTABLE {
            for p in 0..self.k {
                let b: &[Real; 8] = self.b[p * self.step..][..8].try_into().expect("eight columns");
                for (i, row) in acc.iter_mut().enumerate() {
                    let x = self.a[i * self.row + p * self.col];
                    for (s, b) in row.iter_mut().zip(b) {
                        *s += x * b;
                    }
                }
            }
        } else {
            for p in 0..self.k {
                for (i, row) in acc[..height].iter_mut().enumerate() {
                    let x = self.a[i * self.row + p * self.col];
                    for (s, b) in row.iter_mut().zip(&self.b[p * self.step..][..8]) {
                        *s += x * b;
                    }
                }
            }
        }
        for (i, row) in acc[..height].iter().enumerate() {
            let out = &mut c[i * self.stride..][..self.cols];
            out.copy_from_slice(&row[..self.cols]);
            match self.epilogue {
                Epilogue::None | Epilogue::Swish => {}
                // False for NaN, which is kept.
                Epilogue::Relu => out.iter_mut().filter(|s| **s <= 0.0).for_each(|s| *s = 0.0),
                Epilogue::Mask(mask) => {
                    let row = out.iter_mut().zip(&mask[i * self.stride..]);
                    row.filter(|(_, mask)| **mask <= 0.0 || mask.is_nan()).for_each(|(s, _)| *s = 0.0);
                }
                Epilogue::Times(times) => {
                    out.iter_mut().zip(&times[i * self.stride..]).for_each(|(s, times)| *s *= times);
                }
            }
        }
    }
}

/// Adds one number of A, at `$at`, times a row of the panel to the sums of row `$i`. In assembly, which stays in its order: a
/// compiler that loads numbers of A early has no registers for them.
#[cfg(all(target_arch = "x86_64", not(feature = "f64")))]
macro_rules! row {
    ($register:ident, $acc:ident, $columns:ident, $i:literal, $at:literal, $($operands:tt)*) => {
        if $i < HEIGHT {
            let sums = &mut $acc[$i % HEIGHT];
            if VECTORS == 2 {
                asm!(
                    concat!("vbroadcastss {x}, dword ptr [", $at, "]"),
                    "vfmadd231ps {s}, {x}, {y}",
                    "vfmadd231ps {t}, {x}, {z}",
                    x = out($register) _,
                    s = inout($register) sums[0],
                    t = inout($register) sums[VECTORS - 1],
                    y = in($register) $columns[0],
                    z = in($register) $columns[VECTORS - 1],
                    $($operands)*
                    options(readonly, nostack, preserves_flags)
                );
            } else {
                asm!(
                    concat!("vbroadcastss {x}, dword ptr [", $at, "]"),
                    "vfmadd231ps {s}, {x}, {y}",
                    x = out($register) _,
                    s = inout($register) sums[0],
                    y = in($register) $columns[0],
                    $($operands)*
                    options(readonly, nostack, preserves_flags)
                );
            }
        }
    };
}

/// Row `$p` of the panel from `$b` on, rows `$step` apart.
#[cfg(all(target_arch = "x86_64", not(feature = "f64")))]
macro_rules! columns {
    ($register:ident, $zero:ident, $b:ident, $step:expr, $p:literal) => {{
        let mut columns = [$zero(); VECTORS];
        for (v, x) in columns.iter_mut().enumerate() {
            asm!(
                "vmovups {x}, [{b}]",
                x = out($register) *x,
                b = in(reg) $b.wrapping_add($p * $step + v * WIDTH),
                options(readonly, nostack, preserves_flags)
            );
        }
        columns
    }};
}

/// All rows of element `$p` of the inner dimension, A by rows: `$a` has the pointers of every third, `$stride` bytes apart.
#[cfg(all(target_arch = "x86_64", not(feature = "f64")))]
macro_rules! by_rows {
    ($register:ident, $zero:ident, $acc:ident, $b:ident, $a:ident, $stride:ident, $p:literal) => {{
        let columns = columns!($register, $zero, $b, VECTORS * WIDTH, $p);
        by_rows!(@ $register, $acc, columns, $a, $stride, $p, 0 1 2 0, 3 4 5 1, 6 7 8 2, 9 10 11 3);
    }};
    (@ $register:ident, $acc:ident, $columns:ident, $a:ident, $stride:ident, $p:literal,
     $($i:literal $j:literal $k:literal $third:literal),*) => {$(
        row!($register, $acc, $columns, $i, "{a} + {o}", a = in(reg) $a[$third], o = const 4 * $p,);
        row!($register, $acc, $columns, $j, "{a} + {r} + {o}", a = in(reg) $a[$third], r = in(reg) $stride, o = const 4 * $p,);
        row!($register, $acc, $columns, $k, "{a} + 2*{r} + {o}", a = in(reg) $a[$third], r = in(reg) $stride, o = const 4 * $p,);
    )*};
}

/// All rows of element `$p` of the inner dimension, A by columns: the `$p`-th from `$a` on is a pointer there.
#[cfg(all(target_arch = "x86_64", not(feature = "f64")))]
macro_rules! by_columns {
    ($register:ident, $zero:ident, $acc:ident, $b:ident, $step:expr, $a:ident, $p:literal) => {{
        let columns = columns!($register, $zero, $b, $step, $p);
        by_columns!(@ $register, $acc, columns, $a, $p, 0 1 2 3 4 5 6 7 8 9 10 11);
    }};
    (@ $register:ident, $acc:ident, $columns:ident, $a:ident, $p:literal, $($i:literal)*) => {
        $(row!($register, $acc, $columns, $i, "{a} + {o}", a = in(reg) $a[$p], o = const 4 * $i,);)*
    };
}

/// A tile on one x86 instruction set; the two differ only in the names of the intrinsics and the width of a vector.
#[cfg(all(target_arch = "x86_64", not(feature = "f64")))]
macro_rules! x86_tile {
    ($name:ident, $features:literal, $register:ident, $width:literal, $zero:ident, $load:ident, $load_some:ident, $store:ident, $store_some:ident, $max:ident, $mul:ident, $keep:ident) => {
        /// # Safety
        /// The machine has the instruction set; the tile's slices cover `HEIGHT` rows and `VECTORS` vectors of columns,
        /// as [`Tile::run`] asserts.
        #[target_feature(enable = $features)]
        unsafe fn $name<const HEIGHT: usize, const VECTORS: usize>(t: &Tile<'_>, c: &mut [f32]) {
            const WIDTH: usize = $width;
            let full = t.cols == VECTORS * WIDTH;
            // Columns of C in each vector.
            let some = |v: usize| t.cols.saturating_sub(v * WIDTH).min(WIDTH);
            let mut acc = [[$zero(); VECTORS]; HEIGHT];
            match t.from {
                From::Zero => {}
                From::Bias(bias) => {
                    for v in 0..VECTORS {
                        // SAFETY: `run` has asserted that the bias has `cols` numbers.
                        let x = unsafe { $load_some(bias.as_ptr().wrapping_add(v * WIDTH), some(v)) };
                        acc.iter_mut().for_each(|row| row[v] = x);
                    }
                }
                From::Groups(groups) => {
                    for (row, bias) in acc.iter_mut().zip(groups.rows(t.stride, t.cols)) {
                        for (v, x) in row.iter_mut().enumerate() {
                            let from = bias.as_ptr().wrapping_add(v * WIDTH);
                            // SAFETY: `rows` gives slices of `cols` numbers.
                            *x = unsafe { if full { $load(from) } else { $load_some(from, some(v)) } };
                        }
                    }
                }
                From::Sum => {
                    for (i, row) in acc.iter_mut().enumerate() {
                        for (v, x) in row.iter_mut().enumerate() {
                            let from = c.as_ptr().wrapping_add(i * t.stride + v * WIDTH);
                            // SAFETY: `run` has asserted that C holds `cols` columns in each of HEIGHT rows.
                            *x = unsafe { if full { $load(from) } else { $load_some(from, some(v)) } };
                        }
                    }
                }
            }
            // Every third row has its own pointer, the two between are reached by the stride: a third of the registers.
            // Rows beyond HEIGHT are never read; wrapping keeps their pointers harmless.
            let mut a: [*const f32; 4] = std::array::from_fn(|g| t.a.as_ptr().wrapping_add(3 * g * t.row));
            let mut b = t.b.as_ptr();
            let mut left = t.k;
            let stride = size_of::<f32>() * t.row;
            // Four elements at a time where they lie at constant distances from few pointers: those that move take a fifth of
            // the instructions otherwise, and what a processor can look ahead is counted in instructions.
            if t.step == VECTORS * WIDTH && t.col == 1 {
                while left >= 4 {
                    // SAFETY: `run` has asserted that A holds HEIGHT rows and B `k` rows of the panel; `row!` reads one number
                    // of A, `columns!` a row of the panel, and neither writes anything but registers.
                    unsafe {
                        by_rows!($register, $zero, acc, b, a, stride, 0);
                        by_rows!($register, $zero, acc, b, a, stride, 1);
                        by_rows!($register, $zero, acc, b, a, stride, 2);
                        by_rows!($register, $zero, acc, b, a, stride, 3);
                    }
                    b = b.wrapping_add(4 * VECTORS * WIDTH);
                    for p in &mut a[..HEIGHT.div_ceil(3)] {
                        *p = p.wrapping_add(4);
                    }
                    left -= 4;
                }
            } else if t.row == 1 {
                let mut columns_of_a: [*const f32; 4] = std::array::from_fn(|p| a[0].wrapping_add(p * t.col));
                while left >= 4 {
                    // SAFETY: as above.
                    unsafe {
                        by_columns!($register, $zero, acc, b, t.step, columns_of_a, 0);
                        by_columns!($register, $zero, acc, b, t.step, columns_of_a, 1);
                        by_columns!($register, $zero, acc, b, t.step, columns_of_a, 2);
                        by_columns!($register, $zero, acc, b, t.step, columns_of_a, 3);
                    }
                    b = b.wrapping_add(4 * t.step);
                    for p in &mut columns_of_a {
                        *p = p.wrapping_add(4 * t.col);
                    }
                    left -= 4;
                }
                a = std::array::from_fn(|g| columns_of_a[0].wrapping_add(3 * g));
            }
            for _ in 0..left {
                // SAFETY: as above.
                unsafe {
                    by_rows!($register, $zero, acc, b, a, stride, 0);
                }
                b = b.wrapping_add(t.step);
                for p in &mut a[..HEIGHT.div_ceil(3)] {
                    *p = p.wrapping_add(t.col);
                }
            }
            if t.epilogue == Epilogue::Relu {
                for row in &mut acc {
                    for x in row {
                        // max returns its second operand when either is NaN, so a NaN is kept.
                        *x = $max($zero(), *x);
                    }
                }
            }
            if let Some(beside) = t.epilogue.beside() {
                let times = matches!(t.epilogue, Epilogue::Times(_));
                for (i, row) in acc.iter_mut().enumerate() {
                    for (v, x) in row.iter_mut().enumerate() {
                        let from = beside.as_ptr().wrapping_add(i * t.stride + v * WIDTH);
                        // SAFETY: `run` has asserted that what sums meet holds `cols` columns in each of HEIGHT rows.
                        let y = unsafe { if full { $load(from) } else { $load_some(from, some(v)) } };
                        *x = if times { $mul(*x, y) } else { $keep(*x, y) };
                    }
                }
            }
            for (i, row) in acc.iter().enumerate() {
                for (v, x) in row.iter().enumerate() {
                    let to = c.as_mut_ptr().wrapping_add(i * t.stride + v * WIDTH);
                    // SAFETY: `run` has asserted that C holds `cols` columns in each of HEIGHT rows.
                    unsafe { if full { $store(to, *x) } else { $store_some(to, *x, some(v)) } }
                }
            }
        }
    };
}

#[cfg(all(target_arch = "x86_64", not(feature = "f64")))]
pub(super) use x86::*;

/// Loads and stores of the first few numbers of a vector.
#[cfg(all(target_arch = "x86_64", not(feature = "f64")))]
mod x86 {
    use std::arch::x86_64::*;

    /// x where y is positive.
    #[target_feature(enable = "avx512f")]
    pub(in super::super) fn keep_512(x: __m512, y: __m512) -> __m512 {
        _mm512_maskz_mov_ps(_mm512_cmp_ps_mask::<_CMP_GT_OQ>(y, _mm512_setzero_ps()), x)
    }

    /// x where y is positive.
    #[target_feature(enable = "avx2,fma")]
    pub(in super::super) fn keep_256(x: __m256, y: __m256) -> __m256 {
        _mm256_and_ps(x, _mm256_cmp_ps::<_CMP_GT_OQ>(y, _mm256_setzero_ps()))
    }

    #[target_feature(enable = "avx512f")]
    fn mask_512(some: usize) -> __mmask16 {
        ((1u32 << some) - 1) as u16
    }

    /// # Safety
    /// `some` ≤ 16 numbers can be read at `from`.
    #[target_feature(enable = "avx512f")]
    pub(in super::super) unsafe fn load_some_512(from: *const f32, some: usize) -> __m512 {
        // SAFETY: masked lanes are not read.
        unsafe { _mm512_maskz_loadu_ps(mask_512(some), from) }
    }

    /// # Safety
    /// `some` ≤ 16 numbers can be written at `to`.
    #[target_feature(enable = "avx512f")]
    pub(in super::super) unsafe fn store_some_512(to: *mut f32, x: __m512, some: usize) {
        // SAFETY: masked lanes are not written.
        unsafe { _mm512_mask_storeu_ps(to, mask_512(some), x) }
    }

    #[target_feature(enable = "avx2,fma")]
    fn mask_256(some: usize) -> __m256i {
        _mm256_cmpgt_epi32(_mm256_set1_epi32(some as i32), _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7))
    }

    /// # Safety
    /// `some` ≤ 8 numbers can be read at `from`.
    #[target_feature(enable = "avx2,fma")]
    pub(in super::super) unsafe fn load_some_256(from: *const f32, some: usize) -> __m256 {
        // SAFETY: masked lanes are not read.
        unsafe { _mm256_maskload_ps(from, mask_256(some)) }
    }

    /// # Safety
    /// `some` ≤ 8 numbers can be written at `to`.
    #[target_feature(enable = "avx2,fma")]
    pub(in super::super) unsafe fn store_some_256(to: *mut f32, x: __m256, some: usize) {
        // SAFETY: masked lanes are not written.
        unsafe { _mm256_maskstore_ps(to, mask_256(some), x) }
    }
}

#[cfg(all(target_arch = "x86_64", not(feature = "f64")))]
use std::arch::{asm, x86_64::*};

#[cfg(all(target_arch = "x86_64", not(feature = "f64")))]
x86_tile!(
    avx512,
    "avx512f",
    zmm_reg,
    16,
    _mm512_setzero_ps,
    _mm512_loadu_ps,
    load_some_512,
    _mm512_storeu_ps,
    store_some_512,
    _mm512_max_ps,
    _mm512_mul_ps,
    keep_512
);
#[cfg(all(target_arch = "x86_64", not(feature = "f64")))]
x86_tile!(
    avx2,
    "avx2,fma",
    ymm_reg,
    8,
    _mm256_setzero_ps,
    _mm256_loadu_ps,
    load_some_256,
    _mm256_storeu_ps,
    store_some_256,
    _mm256_max_ps,
    _mm256_mul_ps,
    keep_256
);
