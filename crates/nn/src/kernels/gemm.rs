//! C = f(A·B + bias) for a stack of matrices, the form every layer, weight gradient and input gradient takes.
//!
//! B is copied once into panels as wide as a tile (zero-padded), because every row block of A reads it again; A is read
//! in place through its strides, so a transposed A costs nothing. One tile of C lives in registers for the whole inner
//! dimension, starting from the bias (or from C, when accumulating) and leaving through the activation.

#![allow(unsafe_code)]

use super::Isa;
use crate::Real;
use rayon::prelude::*;

/// A matrix, or a stack of them, inside a slice: element `(e, i, j)` is at `e·stack + i·row + j·col`.
#[derive(Clone, Copy)]
pub(crate) struct Matrix<'a> {
    pub(crate) values: &'a [Real],
    pub(crate) stack: usize,
    pub(crate) row: usize,
    pub(crate) col: usize,
}

/// What the sum over the inner dimension starts from.
#[derive(Clone, Copy)]
pub(crate) enum Start<'a> {
    Zero,
    /// `[members or 1, 1, n]` and the distance between members' rows.
    Bias(&'a [Real], usize),
}

/// What happens to a finished sum.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Epilogue {
    None,
    Relu,
}

/// One product over a stack: `members` times `[m, k]·[k, n]`.
#[derive(Clone, Copy)]
pub(crate) struct Product<'a> {
    pub(crate) members: usize,
    pub(crate) m: usize,
    pub(crate) k: usize,
    pub(crate) n: usize,
    pub(crate) a: Matrix<'a>,
    pub(crate) b: Matrix<'a>,
    pub(crate) start: Start<'a>,
    pub(crate) epilogue: Epilogue,
}

/// Rows of C that one task computes: a multiple of every tile height, fixed so that tasks never depend on the machine.
const ROWS_PER_TASK: usize = 96;
/// Below this many multiply–adds a product is not worth waking another thread for (measured: a fork costs about 5 µs).
const FORK_FROM: usize = 4 << 20;

/// Computes `p` into `c`, `[members, m, n]` dense. `panels` is scratch that grows once and is then reused.
pub(crate) fn product(isa: Isa, parallel: bool, p: Product<'_>, panels: &mut Vec<Real>, c: &mut [Real]) {
    assert_eq!(c.len(), p.members * p.m * p.n, "product: the output does not hold [{}, {}, {}]", p.members, p.m, p.n);
    if c.is_empty() {
        return;
    }
    p.check();
    let width = panel_width(isa, p.n);
    let panel = p.k * width;
    let per_member = p.n.div_ceil(width) * panel;
    // One packed copy serves all members when they share B.
    let packed_members = if p.b.stack == 0 { 1 } else { p.members };
    if panels.len() < packed_members * per_member {
        panels.resize(packed_members * per_member, 0.0);
    }
    let fork = parallel && p.members * p.m * p.n * p.k >= FORK_FROM && rayon::current_num_threads() > 1;
    let packed = &mut panels[..packed_members * per_member];
    if per_member > 0 {
        let pack_one =
            |(i, out): (usize, &mut [Real])| pack(p, width, i / (per_member / panel), i % (per_member / panel), out);
        if fork {
            packed.par_chunks_mut(panel).enumerate().for_each(pack_one);
        } else {
            packed.chunks_mut(panel).enumerate().for_each(pack_one);
        }
    }
    let packed = &*packed;
    let tasks = p.m.div_ceil(ROWS_PER_TASK);
    let rows = |member: usize, task: usize, c: &mut [Real]| {
        let b = if packed_members == 1 { packed } else { &packed[member * per_member..][..per_member] };
        row_block(isa, p, width, member, task * ROWS_PER_TASK, b, c);
    };
    if fork {
        c.par_chunks_mut(p.m * p.n).enumerate().for_each(|(member, c)| {
            c.par_chunks_mut(ROWS_PER_TASK * p.n).enumerate().for_each(|(task, c)| rows(member, task, c));
        });
    } else {
        for (member, c) in c.chunks_mut(p.m * p.n).enumerate() {
            for (task, c) in c.chunks_mut(ROWS_PER_TASK * p.n).enumerate().take(tasks) {
                rows(member, task, c);
            }
        }
    }
}

impl Product<'_> {
    /// The bounds that the unchecked reads of the tiles rely on.
    pub(super) fn check(&self) {
        let last =
            |x: &Matrix<'_>, r: usize, c: usize| (self.members - 1) * x.stack + (r - 1) * x.row + (c - 1) * x.col;
        assert!(self.k == 0 || last(&self.a, self.m, self.k) < self.a.values.len(), "product: A is too short");
        assert!(self.k == 0 || last(&self.b, self.k, self.n) < self.b.values.len(), "product: B is too short");
        if let Start::Bias(bias, stack) = self.start {
            assert!((self.members - 1) * stack + self.n <= bias.len(), "product: the bias is too short");
        }
    }
}

/// The columns of one panel: the widest tile of the instruction set, or half of it for narrow outputs such as heads.
fn panel_width(isa: Isa, n: usize) -> usize {
    match isa {
        Isa::Avx512 if n > 16 => 32,
        Isa::Avx512 => 16,
        Isa::Avx2 if n > 8 => 16,
        Isa::Avx2 | Isa::Portable => 8,
    }
}

/// Copies columns `panel·width ..` of B into `[k, width]`, padding with zeros.
fn pack(p: Product<'_>, width: usize, member: usize, panel: usize, out: &mut [Real]) {
    let (first, base) = (panel * width, member * p.b.stack);
    let cols = width.min(p.n - first);
    let b = &p.b.values[base..];
    if cols < width {
        out.fill(0.0);
    }
    if p.b.col == 1 {
        for (row, out) in out.chunks_exact_mut(width).enumerate() {
            out[..cols].copy_from_slice(&b[row * p.b.row + first..][..cols]);
        }
    } else {
        // B is transposed: read each of its columns once, front to back, eight at a time so that stores share cache lines.
        for group in (0..cols).step_by(8) {
            let count = 8.min(cols - group);
            if p.b.row == 1 && count == 8 {
                let column = |j: usize| &b[(first + group + j) * p.b.col..][..p.k];
                let columns: [&[Real]; 8] = std::array::from_fn(column);
                for (row, out) in out.chunks_exact_mut(width).enumerate() {
                    for (x, column) in out[group..group + 8].iter_mut().zip(columns) {
                        *x = column[row];
                    }
                }
            } else {
                for (row, out) in out.chunks_exact_mut(width).enumerate() {
                    for j in group..group + count {
                        out[j] = b[row * p.b.row + (first + j) * p.b.col];
                    }
                }
            }
        }
    }
}

/// Computes rows `first ..` of one member; `c` holds just those rows.
fn row_block(isa: Isa, p: Product<'_>, width: usize, member: usize, first: usize, panels: &[Real], c: &mut [Real]) {
    let rows = c.len() / p.n;
    // With an empty inner size A has no element at all, not even at the offset of a row.
    let a = |row: usize| if p.k == 0 { &[] } else { &p.a.values[member * p.a.stack + row * p.a.row..] };
    for panel in 0..p.n.div_ceil(width) {
        let cols = width.min(p.n - panel * width);
        let bias = match p.start {
            Start::Zero => None,
            Start::Bias(bias, stack) => Some(&bias[member * stack + panel * width..][..cols]),
        };
        let b = &panels[panel * p.k * width..][..p.k * width];
        let tall = tile_height(isa);
        let mut i = 0;
        while i < rows {
            let height = tall.min(rows - i);
            let job = Tile {
                k: p.k,
                a: a(first + i),
                row: p.a.row,
                col: p.a.col,
                b,
                bias,
                relu: p.epilogue == Epilogue::Relu,
                stride: p.n,
                cols,
            };
            job.run(isa, width, height, &mut c[i * p.n + panel * width..]);
            i += height;
        }
    }
}

fn tile_height(isa: Isa) -> usize {
    match isa {
        Isa::Avx512 => 12,
        Isa::Avx2 => 6,
        Isa::Portable => 4,
    }
}

/// One tile: `height` rows of A times one panel of B.
struct Tile<'a> {
    k: usize,
    a: &'a [Real],
    row: usize,
    col: usize,
    b: &'a [Real],
    bias: Option<&'a [Real]>,
    relu: bool,
    stride: usize,
    cols: usize,
}

impl Tile<'_> {
    /// `c` starts at the tile's first element.
    fn run(&self, isa: Isa, width: usize, height: usize, c: &mut [Real]) {
        // What the tiles below read and write without checks.
        assert!(height > 0 && self.cols > 0 && self.cols <= width);
        assert!(self.k == 0 || (height - 1) * self.row + (self.k - 1) * self.col < self.a.len());
        assert!(self.k * width <= self.b.len() && (height - 1) * self.stride + self.cols <= c.len());
        assert!(self.bias.is_none_or(|b| b.len() == self.cols));
        #[cfg(all(target_arch = "x86_64", not(feature = "f64")))]
        macro_rules! by_height {
            ($tile:ident, $vectors:literal, $($h:literal)*) => {
                match height {
                    // SAFETY: `isa()` found the instruction set on this machine, and the asserts above bound every access.
                    $($h => unsafe { $tile::<$h, $vectors>(self, c) },)*
                    _ => unreachable!("no tile is that tall"),
                }
            };
        }
        match isa {
            #[cfg(all(target_arch = "x86_64", not(feature = "f64")))]
            Isa::Avx512 if width == 32 => by_height!(tile_avx512, 2, 1 2 3 4 5 6 7 8 9 10 11 12),
            #[cfg(all(target_arch = "x86_64", not(feature = "f64")))]
            Isa::Avx512 => by_height!(tile_avx512, 1, 1 2 3 4 5 6 7 8 9 10 11 12),
            #[cfg(all(target_arch = "x86_64", not(feature = "f64")))]
            Isa::Avx2 if width == 16 => by_height!(tile_avx2, 2, 1 2 3 4 5 6),
            #[cfg(all(target_arch = "x86_64", not(feature = "f64")))]
            Isa::Avx2 => by_height!(tile_avx2, 1, 1 2 3 4 5 6),
            _ => self.portable(height, c),
        }
    }

    /// The twin every other tile is tested against. Without hardware FMA a product and a sum are two roundings.
    fn portable(&self, height: usize, c: &mut [Real]) {
        let mut acc = [[0.0; 8]; 4];
        for row in &mut acc[..height] {
            if let Some(bias) = self.bias {
                row[..self.cols].copy_from_slice(bias);
            }
        }
        if height == 4 {
            for p in 0..self.k {
                let b: &[Real; 8] = self.b[p * 8..][..8].try_into().expect("eight columns");
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
                    for (s, b) in row.iter_mut().zip(&self.b[p * 8..][..8]) {
                        *s += x * b;
                    }
                }
            }
        }
        for (i, row) in acc[..height].iter().enumerate() {
            for (out, &s) in c[i * self.stride..][..self.cols].iter_mut().zip(row) {
                // False for NaN, which is kept.
                *out = if self.relu && s <= 0.0 { 0.0 } else { s };
            }
        }
    }
}

/// A tile on one x86 instruction set; the two differ only in the names of the intrinsics and the width of a vector.
#[cfg(all(target_arch = "x86_64", not(feature = "f64")))]
macro_rules! x86_tile {
    ($name:ident, $features:literal, $width:literal, $vector:ident, $zero:ident, $load:ident, $store:ident, $set1:ident, $fma:ident, $max:ident) => {
        /// # Safety
        /// The machine has the instruction set; the tile's slices cover `HEIGHT` rows and `VECTORS` vectors of columns,
        /// as [`Tile::run`] asserts.
        #[target_feature(enable = $features)]
        unsafe fn $name<const HEIGHT: usize, const VECTORS: usize>(t: &Tile<'_>, c: &mut [f32]) {
            use std::arch::x86_64::*;
            const WIDTH: usize = $width;
            let full = t.cols == VECTORS * WIDTH;
            let mut edge = [0.0f32; 2 * $width];
            let mut acc = [[$zero(); VECTORS]; HEIGHT];
            if let Some(bias) = t.bias {
                edge[..t.cols].copy_from_slice(bias);
                for row in &mut acc {
                    for (v, x) in row.iter_mut().enumerate() {
                        // SAFETY: `edge` holds two vectors.
                        *x = unsafe { $load(edge.as_ptr().add(v * WIDTH)) };
                    }
                }
            }
            // Every third row has its own pointer, the two between are reached by the stride: four registers, not twelve.
            let mut a: [*const f32; 4] =
                // SAFETY: rows beyond HEIGHT are never read; wrapping keeps their pointers harmless.
                std::array::from_fn(|g| t.a.as_ptr().wrapping_add(3 * g * t.row));
            let mut b = t.b.as_ptr();
            for _ in 0..t.k {
                // SAFETY: `run` has asserted that A holds HEIGHT rows and B holds k panels' rows.
                unsafe {
                    let mut columns = [$zero(); VECTORS];
                    for (v, x) in columns.iter_mut().enumerate() {
                        *x = $load(b.add(v * WIDTH));
                    }
                    for (i, row) in acc.iter_mut().enumerate() {
                        let x = $set1(*a[i / 3].add((i % 3) * t.row));
                        for (s, y) in row.iter_mut().zip(columns) {
                            *s = $fma(x, y, *s);
                        }
                    }
                    b = b.add(VECTORS * WIDTH);
                }
                for p in &mut a {
                    *p = p.wrapping_add(t.col);
                }
            }
            if t.relu {
                for row in &mut acc {
                    for x in row {
                        // max returns its second operand when either is NaN, so a NaN is kept.
                        *x = $max($zero(), *x);
                    }
                }
            }
            for (i, row) in acc.iter().enumerate() {
                let out = c[i * t.stride..].as_mut_ptr();
                // SAFETY: `run` has asserted that C holds `cols` columns in each of HEIGHT rows; a ragged tile goes through
                // `edge`, which holds two vectors.
                unsafe {
                    let to = if full { out } else { edge.as_mut_ptr() };
                    for (v, x) in row.iter().enumerate() {
                        $store(to.add(v * WIDTH), *x);
                    }
                    if !full {
                        std::ptr::copy_nonoverlapping(edge.as_ptr(), out, t.cols);
                    }
                }
            }
        }
    };
}

#[cfg(all(target_arch = "x86_64", not(feature = "f64")))]
x86_tile!(
    tile_avx512,
    "avx512f",
    16,
    __m512,
    _mm512_setzero_ps,
    _mm512_loadu_ps,
    _mm512_storeu_ps,
    _mm512_set1_ps,
    _mm512_fmadd_ps,
    _mm512_max_ps
);
#[cfg(all(target_arch = "x86_64", not(feature = "f64")))]
x86_tile!(
    tile_avx2,
    "avx2,fma",
    8,
    __m256,
    _mm256_setzero_ps,
    _mm256_loadu_ps,
    _mm256_storeu_ps,
    _mm256_set1_ps,
    _mm256_fmadd_ps,
    _mm256_max_ps
);

#[cfg(test)]
mod tests {
    use super::*;
    use backcast_core::Key;

    fn random(key: Key, n: usize) -> Vec<Real> {
        let mut x = vec![0.0; n];
        key.normal(&mut x);
        x
    }

    /// What a trial multiplies; transposes, sharing, bias and activation are drawn by the key.
    fn check(key: Key, [m, k, n]: [usize; 3], panels: &mut Vec<Real>) {
        let (members, ta, tb) = (1 + key.below(3, 3), key.below(2, 4) == 1, key.below(2, 5) == 1);
        let (share_a, share_b) = (key.below(3, 6) == 0, key.below(3, 7) == 0);
        let a = random(key.name("a"), if share_a { 1 } else { members } * m * k);
        let b = random(key.name("b"), if share_b { 1 } else { members } * k * n);
        let bias = random(key.name("bias"), members * n);
        let epilogue = if key.below(2, 8) == 0 { Epilogue::None } else { Epilogue::Relu };
        let p = Product {
            members,
            m,
            k,
            n,
            a: Matrix {
                values: &a,
                stack: if share_a { 0 } else { m * k },
                row: if ta { 1 } else { k },
                col: if ta { m } else { 1 },
            },
            b: Matrix {
                values: &b,
                stack: if share_b { 0 } else { k * n },
                row: if tb { 1 } else { n },
                col: if tb { k } else { 1 },
            },
            start: if key.below(2, 9) == 0 { Start::Zero } else { Start::Bias(&bias, n) },
            epilogue,
        };
        for isa in [super::super::isa(), Isa::Avx2, Isa::Portable] {
            if isa == Isa::Avx2 && super::super::isa() == Isa::Portable {
                continue;
            }
            let mut c = vec![Real::NAN; members * m * n];
            product(isa, false, p, panels, &mut c);
            for (at, &got) in c.iter().enumerate() {
                let (e, i, j) = (at / (m * n), at / n % m, at % n);
                let (mut sum, mut size) = (0.0f64, 1.0f64);
                if let Start::Bias(bias, s) = p.start {
                    sum = bias[e * s + j] as f64;
                }
                for q in 0..k {
                    let x = a[e * p.a.stack + i * p.a.row + q * p.a.col] as f64;
                    let y = b[e * p.b.stack + q * p.b.row + j * p.b.col] as f64;
                    sum += x * y;
                    size += (x * y).abs();
                }
                if epilogue == Epilogue::Relu {
                    sum = sum.max(0.0);
                }
                let bound = size * k as f64 * Real::EPSILON as f64 + 1e-12;
                let got = got as f64;
                assert!(
                    (got - sum).abs() <= bound,
                    "{isa:?} {key:?} [{members}, {m}, {k}, {n}] ta {ta} tb {tb} ({e}, {i}, {j}): {got} is not {sum}"
                );
            }
        }
    }

    /// Every instruction set this machine has, every form, ragged and 1-sized shapes, against a sum in double precision.
    #[test]
    fn products_match_double_precision() {
        let sizes = [1, 2, 3, 5, 6, 7, 8, 9, 12, 13, 16, 17, 24, 31, 32, 33, 100];
        for trial in 0..400 {
            let key = Key::new(90).fold(trial);
            check(key, [0, 1, 2].map(|i| sizes[key.below(sizes.len(), i)]), &mut vec![]);
        }
    }

    /// Every width up to more than one panel; a single row; tall stacks of several tasks; scratch left from larger products.
    #[test]
    fn products_of_any_shape_match_double_precision() {
        let panels = &mut vec![Real::NAN; 100];
        for trial in 0..160 {
            let key = Key::new(91).fold(trial);
            let n = 1 + trial as usize % 40;
            check(key, [1 + key.below(300, 0), 1 + key.below(60, 1), n], panels);
            check(key, [1, key.below(300, 1), n], panels);
        }
        for trial in 0..12 {
            let key = Key::new(92).fold(trial);
            check(key, [0, 1, 2].map(|i| 1 + key.below(300, i)), panels);
        }
    }

    /// A sum over nothing is the bias, or zero, whatever the form: the weight gradient of an empty batch.
    #[test]
    fn an_empty_inner_size_leaves_the_bias() {
        for trial in 0..200 {
            let key = Key::new(93).fold(trial);
            check(key, [1 + key.below(300, 0), 0, 1 + key.below(40, 2)], &mut vec![]);
        }
    }

    /// The wide instruction sets run the same chain of fused multiply–adds, so they agree to the bit; threads change nothing.
    #[test]
    fn bits_do_not_depend_on_tiles_or_threads() {
        let (m, k, n) = (300, 150, 217);
        let (a, b) = (random(Key::new(1), m * k), random(Key::new(2), k * n));
        let p = Product {
            members: 1,
            m,
            k,
            n,
            a: Matrix { values: &a, stack: 0, row: k, col: 1 },
            b: Matrix { values: &b, stack: 0, row: n, col: 1 },
            start: Start::Zero,
            epilogue: Epilogue::None,
        };
        let run = |isa, threads| {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
            let mut c = vec![0.0; m * n];
            pool.install(|| product(isa, true, p, &mut vec![], &mut c));
            c
        };
        let one = run(super::super::isa(), 1);
        assert_eq!(one, run(super::super::isa(), 2));
        assert_eq!(one, run(super::super::isa(), 4));
        if super::super::isa() == Isa::Avx512 {
            assert_eq!(one, run(Isa::Avx2, 3));
        }
    }

    #[test]
    fn relu_keeps_nan() {
        let (a, b) = ([Real::NAN], [1.0]);
        let one = |values| Matrix { values, stack: 0, row: 1, col: 1 };
        let p = Product {
            members: 1,
            m: 1,
            k: 1,
            n: 1,
            a: one(&a),
            b: one(&b),
            start: Start::Zero,
            epilogue: Epilogue::Relu,
        };
        for isa in [super::super::isa(), Isa::Portable] {
            let mut c = [0.0];
            product(isa, false, p, &mut vec![], &mut c);
            assert!(c[0].is_nan(), "{isa:?}");
        }
    }
}
