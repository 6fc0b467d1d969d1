//! C = f(A·B + bias) for a stack of matrices, the form every layer, weight gradient and input gradient takes.
//!
//! B is copied once into panels as wide as a tile (zero-padded), because every row block of A reads it again; A is read
//! in place through its strides, so a transposed A costs nothing. One tile of C lives in registers for a whole block of the
//! inner dimension, starting from the bias (or from C, from the second block on) and leaving through the activation.
//!
//! Some shapes have ways of their own:
//!
//! | shape | where | way |
//! |---|---|---|
//! | few rows | one observation | B is read where it is: packing would cost more than it saves |
//! | A transposed | the weight gradient of a layer | the same: where a tile's numbers of A lie side by side, rows of B may lie anywhere |
//! | few columns, A transposed | the weight gradient of a head | as Cᵀ = Bᵀ·A, which has few rows |
//! | few columns | a head | dot products along the rows of A, in `dots` |

mod dots;
#[cfg(all(target_arch = "aarch64", not(feature = "f64")))]
mod neon;
mod pack;
mod tile;

use super::Isa;
use crate::{Real, kernels};
use rayon::prelude::*;
use tile::{From, Groups, Tile};

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
    Bias(Bias<'a>),
}

/// `[members or 1, m/group, n]`: a row for every `group` rows of C; with a `group` of `m` or more, one row for all.
#[derive(Clone, Copy)]
pub(crate) struct Bias<'a> {
    pub(crate) values: &'a [Real],
    /// From one member to the next; 0 where one serves all.
    pub(crate) stack: usize,
    pub(crate) group: usize,
}

/// What happens to a finished sum.
#[derive(Clone, Copy, PartialEq)]
pub(crate) enum Epilogue<'a> {
    None,
    Relu,
    /// x·sigmoid(x).
    Swish,
    /// Kept where this, of the shape of C, is positive, and zero elsewhere: relu′.
    Mask(&'a [Real]),
    /// Multiplied by this, of the shape of C: any other derivative.
    Times(&'a [Real]),
}

impl<'a> Epilogue<'a> {
    /// What finished sums meet, of the shape of C.
    pub(super) fn beside(self) -> Option<&'a [Real]> {
        match self {
            Self::None | Self::Relu | Self::Swish => None,
            Self::Mask(beside) | Self::Times(beside) => Some(beside),
        }
    }
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
    pub(crate) epilogue: Epilogue<'a>,
}

/// Rows of C that one task computes: a multiple of every tile height, fixed so that tasks never depend on the machine.
const ROWS_PER_TASK: usize = 96;
/// Below this many multiply–adds a product is not worth waking another thread for (measured: a fork costs about 5 µs).
const FORK_FROM: usize = 4 << 20;
/// Up to this many rows a product goes panel by panel.
const MANY_ROWS: usize = 384;
/// Length of a block of the inner dimension: a panel of it and a tile's rows of A stay in the inner caches.
const INNER: usize = 256;
/// With at most this many rows of C, B is read where it is.
const FEW_ROWS: usize = 24;

/// Computes `p` into `c`, `[members, m, n]` dense. `scratch` grows once and is then reused.
pub(crate) fn product(isa: Isa, parallel: bool, p: Product<'_>, scratch: &mut Vec<Real>, c: &mut [Real]) {
    assert_eq!(c.len(), p.members * p.m * p.n, "product: the output does not hold [{}, {}, {}]", p.members, p.m, p.n);
    if c.is_empty() {
        return;
    }
    p.check();
    let fork = parallel && p.members * p.m * p.n * p.k >= FORK_FROM && rayon::current_num_threads() > 1;
    if let Some(q) = p.turned(isa) {
        // A single column is the same numbers either way round.
        let len = if p.n == 1 { 0 } else { c.len() };
        let (result, panels) = room(scratch, len + q.panels(isa)).split_at_mut(len);
        if p.n == 1 {
            return blocks(isa, fork, q, panels, c);
        }
        blocks(isa, fork, q, panels, result);
        for (c, result) in c.chunks_exact_mut(p.m * p.n).zip(result.chunks_exact(p.m * p.n)) {
            for (i, row) in c.chunks_exact_mut(p.n).enumerate() {
                row.iter_mut().zip(result[i..].iter().step_by(p.m)).for_each(|(c, &x)| *c = x);
            }
        }
    } else if dots::fits(isa, &p) {
        dots::product(isa, fork, p, room(scratch, dots::panels(&p)), c);
        if p.epilogue == Epilogue::Swish {
            kernels::swish_cols(c, p.n, p.n);
        }
    } else {
        blocks(isa, fork, p, room(scratch, p.panels(isa)), c);
    }
}

/// The first `len` numbers of the scratch, which grows to hold them.
fn room(scratch: &mut Vec<Real>, len: usize) -> &mut [Real] {
    if scratch.len() < len {
        scratch.resize(len, 0.0);
    }
    &mut scratch[..len]
}

impl Product<'_> {
    /// The bounds that the unchecked reads of the tiles rely on.
    pub(super) fn check(&self) {
        let last =
            |x: &Matrix<'_>, r: usize, c: usize| (self.members - 1) * x.stack + (r - 1) * x.row + (c - 1) * x.col;
        assert!(self.k == 0 || last(&self.a, self.m, self.k) < self.a.values.len(), "product: A is too short");
        assert!(self.k == 0 || last(&self.b, self.k, self.n) < self.b.values.len(), "product: B is too short");
        if let Some(beside) = self.epilogue.beside() {
            assert_eq!(beside.len(), self.members * self.m * self.n, "product: what sums meet is of another shape");
        }
        if let Start::Bias(Bias { values, stack, group }) = self.start {
            let last = (self.members - 1) * stack + (self.m - 1) / group * self.n;
            assert!(last + self.n <= values.len(), "product: the bias is too short");
        }
    }

    /// The same sums as Cᵀ = Bᵀ·Aᵀ, where that gives full tiles and C = A·B would not.
    fn turned(&self, isa: Isa) -> Option<Self> {
        let plain = matches!(self.start, Start::Zero) && self.epilogue == Epilogue::None;
        let narrow = self.n <= tile::tallest(isa, tile::widths(isa)[0]) && self.n < self.m;
        let turn = |values, x: Matrix<'_>| Matrix { values, stack: x.stack, row: x.col, col: x.row };
        let (a, b) = (turn(self.b.values, self.b), turn(self.a.values, self.a));
        (isa != Isa::Portable && plain && narrow && self.a.row == 1).then_some(Self {
            m: self.n,
            n: self.m,
            a,
            b,
            ..*self
        })
    }

    /// Whether full panels of B are read where they are.
    fn reads_in_place(&self, isa: Isa) -> bool {
        isa != Isa::Portable && self.b.col == 1 && (self.m <= FEW_ROWS || self.a.row == 1)
    }

    /// One packed copy serves all members when they share B.
    fn packed_members(&self) -> usize {
        if self.b.stack == 0 { 1 } else { self.members }
    }

    /// The first column of a panel, its columns, and its width with padding: what is left over stands in a narrower one.
    fn columns(&self, isa: Isa, panel: usize) -> (usize, usize, usize) {
        let [width, half] = tile::widths(isa);
        let at = panel * width;
        let cols = width.min(self.n - at);
        (at, cols, if cols <= half { half } else { width })
    }

    /// Panels of B that are packed, for each member: (the first, how many). They are the last ones.
    fn packed(&self, isa: Isa) -> (usize, usize) {
        let width = tile::widths(isa)[0];
        let first = if self.reads_in_place(isa) { self.n / width } else { 0 };
        (first, self.n.div_ceil(width) - first)
    }

    /// Length of the packed panels of one block.
    fn panels(&self, isa: Isa) -> usize {
        self.packed_members() * self.packed(isa).1 * tile::widths(isa)[0] * self.k.min(INNER)
    }

    /// Copies one panel of B, one block of it, to the front of `out`.
    fn pack(&self, isa: Isa, block: &Block, member: usize, panel: usize, out: &mut [Real]) {
        let (at, cols, width) = self.columns(isa, panel);
        if block.len > 0 {
            let b = &self.b.values[member * self.b.stack + block.from * self.b.row + at * self.b.col..];
            pack::panel(isa, b, self.b.row, self.b.col, cols, width, &mut out[..width * block.len]);
        }
    }
}

/// Block after block of the inner dimension, each packed and multiplied.
fn blocks(isa: Isa, fork: bool, p: Product<'_>, panels: &mut [Real], c: &mut [Real]) {
    for from in (0..p.k.max(1)).step_by(INNER) {
        let block = Block { from, len: INNER.min(p.k - from), first: from == 0, last: from + INNER >= p.k };
        if p.m <= MANY_ROWS && !fork {
            panel_by_panel(isa, &p, &block, panels, c);
        } else {
            task_by_task(isa, fork, &p, &block, panels, c);
        }
    }
}

/// A block of the inner dimension: where it begins, its length, and whether it is the first and the last.
struct Block {
    from: usize,
    len: usize,
    first: bool,
    last: bool,
}

/// With few rows every panel goes through the same small memory: packed, used by all rows, and forgotten before it leaves
/// the innermost cache.
fn panel_by_panel(isa: Isa, p: &Product<'_>, block: &Block, panels: &mut [Real], c: &mut [Real]) {
    let (first, count) = p.packed(isa);
    for (member, c) in c.chunks_exact_mut(p.m * p.n).enumerate() {
        for panel in 0..first + count {
            if panel >= first {
                p.pack(isa, block, member, panel, panels);
            }
            rows(isa, p, block, member, 0, panel, panels, c);
        }
    }
}

/// Every panel packed first, then the rows in tasks that any thread may take.
fn task_by_task(isa: Isa, fork: bool, p: &Product<'_>, block: &Block, panels: &mut [Real], c: &mut [Real]) {
    let (first, count) = p.packed(isa);
    let panel = tile::widths(isa)[0] * block.len;
    let packed = &mut panels[..p.packed_members() * count * panel];
    if !packed.is_empty() {
        let pack = |(i, out): (usize, &mut [Real])| p.pack(isa, block, i / count, first + i % count, out);
        if fork {
            packed.par_chunks_mut(panel).enumerate().for_each(pack);
        } else {
            packed.chunks_mut(panel).enumerate().for_each(pack);
        }
    }
    let packed = &*packed;
    let task = |member: usize, task: usize, c: &mut [Real]| {
        let packed = if p.packed_members() == 1 { packed } else { &packed[member * count * panel..][..count * panel] };
        for i in 0..first + count {
            let packed = &packed[i.saturating_sub(first) * panel..];
            rows(isa, p, block, member, task * ROWS_PER_TASK, i, packed, c);
        }
    };
    if fork {
        c.par_chunks_mut(p.m * p.n).enumerate().for_each(|(member, c)| {
            c.par_chunks_mut(ROWS_PER_TASK * p.n).enumerate().for_each(|(i, c)| task(member, i, c));
        });
    } else {
        for (member, c) in c.chunks_mut(p.m * p.n).enumerate() {
            c.chunks_mut(ROWS_PER_TASK * p.n).enumerate().for_each(|(i, c)| task(member, i, c));
        }
    }
}

/// Adds one block to the columns of one panel in rows `first ..` of one member; `c` holds just those rows.
#[expect(clippy::too_many_arguments, reason = "the innermost loop, called from two places")]
fn rows(
    isa: Isa,
    p: &Product<'_>,
    block: &Block,
    member: usize,
    first: usize,
    panel: usize,
    packed: &[Real],
    c: &mut [Real],
) {
    let (at, cols, width) = p.columns(isa, panel);
    let (b, step) = if panel < p.packed(isa).0 && block.len > 0 {
        (&p.b.values[member * p.b.stack + block.from * p.b.row + at..], p.b.row)
    } else {
        (packed, width)
    };
    let from = |row: usize| match p.start {
        _ if !block.first => From::Sum,
        Start::Zero => From::Zero,
        Start::Bias(Bias { values, stack, group }) if group >= p.m => {
            From::Bias(&values[member * stack + at..][..cols])
        }
        Start::Bias(Bias { values, stack, group }) => {
            From::Groups(Groups { values: &values[member * stack + at..], group, row })
        }
    };
    // Of a row of these columns, where all but the last block ends without one.
    let epilogue = |row: usize| {
        let beside = (member * p.m + row) * p.n + at;
        match p.epilogue {
            _ if !block.last => Epilogue::None,
            Epilogue::None | Epilogue::Swish => Epilogue::None,
            Epilogue::Relu => Epilogue::Relu,
            Epilogue::Mask(mask) => Epilogue::Mask(&mask[beside..]),
            Epilogue::Times(times) => Epilogue::Times(&times[beside..]),
        }
    };
    let (count, tall) = (c.len() / p.n, tile::tallest(isa, width));
    let mut i = 0;
    while i < count {
        // Two tiles of even height rather than a full one and a sliver.
        let left = count - i;
        let height = if left > tall && left < 2 * tall { left.div_ceil(2) } else { tall.min(left) };
        // With an empty inner size A has no element, not even at the offset of a row.
        let a_at = member * p.a.stack + (first + i) * p.a.row + block.from * p.a.col;
        let a = if block.len == 0 { &[] } else { &p.a.values[a_at..] };
        let from = from(first + i);
        let tile = Tile {
            k: block.len,
            a,
            row: p.a.row,
            col: p.a.col,
            b,
            step,
            from,
            epilogue: epilogue(first + i),
            stride: p.n,
            cols,
        };
        tile.run(isa, width, height, &mut c[i * p.n + at..]);
        i += height;
    }
    // While they are in the innermost cache.
    if block.last && p.epilogue == Epilogue::Swish {
        kernels::swish_cols(&mut c[at..], cols, p.n);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use approx::abs_diff_eq;
    use backcast_core::Key;
    use std::hash::Hasher;

    fn random(key: Key, n: usize) -> Vec<Real> {
        let mut x = vec![0.0; n];
        key.normal(&mut x);
        x
    }

    /// Every instruction set this machine has, the best first.
    fn all() -> &'static [Isa] {
        match super::super::isa() {
            Isa::Avx512 => &[Isa::Avx512, Isa::Avx2, Isa::Portable],
            Isa::Avx2 => &[Isa::Avx2, Isa::Portable],
            Isa::Neon => &[Isa::Neon, Isa::Portable],
            Isa::Portable => &[Isa::Portable],
        }
    }

    /// What a trial multiplies; transposes, sharing, bias and activation are drawn by the key.
    fn check(key: Key, [m, k, n]: [usize; 3], panels: &mut Vec<Real>) {
        let (members, ta, tb) = (1 + key.below(3, 3), key.below(2, 4) == 1, key.below(2, 5) == 1);
        let (share_a, share_b) = (key.below(3, 6) == 0, key.below(3, 7) == 0);
        let a = random(key.name("a"), if share_a { 1 } else { members } * m * k);
        let b = random(key.name("b"), if share_b { 1 } else { members } * k * n);
        let groups: Vec<_> = (1..=m).filter(|g| m % g == 0).collect();
        let group = if key.below(2, 10) == 0 { usize::MAX } else { groups[key.below(groups.len(), 11)] };
        let stack = m.div_ceil(group) * n;
        let bias = random(key.name("bias"), members * stack);
        let mask = random(key.name("mask"), members * m * n);
        let endings = [Epilogue::None, Epilogue::Relu, Epilogue::Swish, Epilogue::Mask(&mask), Epilogue::Times(&mask)];
        let epilogue = endings[key.below(5, 8)];
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
            start: if key.below(2, 9) == 0 { Start::Zero } else { Start::Bias(Bias { values: &bias, stack, group }) },
            epilogue,
        };
        for &isa in all() {
            let mut c = vec![Real::NAN; members * m * n];
            product(isa, false, p, panels, &mut c);
            for (at, &got) in c.iter().enumerate() {
                let (e, i, j) = (at / (m * n), at / n % m, at % n);
                let (mut sum, mut size, mut roundings) = (0.0f64, 0.0f64, k);
                if let Start::Bias(Bias { values, stack, group }) = p.start {
                    sum = values[e * stack + i / group * n + j] as f64;
                    size = sum.abs();
                }
                for q in 0..k {
                    let x = a[e * p.a.stack + i * p.a.row + q * p.a.col] as f64;
                    let y = b[e * p.b.stack + q * p.b.row + j * p.b.col] as f64;
                    sum += x * y;
                    size += (x * y).abs();
                }
                match epilogue {
                    Epilogue::None => {}
                    Epilogue::Relu => sum = sum.max(0.0),
                    Epilogue::Swish => {
                        sum /= 1.0 + (-sum).exp();
                        // Its slope is 1.1 at most; its own error is a few roundings more.
                        size *= 1.1;
                        roundings += 6;
                    }
                    Epilogue::Mask(mask) => sum *= (mask[at] > 0.0) as u8 as f64,
                    Epilogue::Times(times) => {
                        sum *= times[at] as f64;
                        size *= (times[at] as f64).abs();
                        roundings += 1;
                    }
                }
                let bound = size * roundings as f64 * Real::EPSILON as f64 + 1e-12;
                let got = got as f64;
                assert!(
                    abs_diff_eq!(got, sum, epsilon = bound),
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

    /// Sums of several blocks, started from every kind of bias.
    #[test]
    fn deep_products_match_double_precision() {
        for trial in 0..40 {
            let key = Key::new(94).fold(trial);
            check(key, [1 + key.below(30, 0), 2 * INNER + key.below(900, 1), 1 + key.below(50, 2)], &mut vec![]);
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

    /// Hashes of products by every way of computing them, the same on every instruction set with fused multiply–adds: tiles
    /// full and ragged, of several blocks, a head, the gradients of both.
    #[cfg(not(feature = "f64"))]
    #[test]
    fn bits_do_not_depend_on_the_machine() {
        let hash = |isa, [m, k, n]: [usize; 3], ta: bool, end: usize| {
            let (a, b) = (random(Key::new(95), m * k), random(Key::new(96), k * n));
            let (bias, beside) = (random(Key::new(97), n), random(Key::new(98), m * n));
            let start = Start::Bias(Bias { values: &bias, stack: 0, group: usize::MAX });
            let p = Product {
                members: 1,
                m,
                k,
                n,
                a: Matrix { values: &a, stack: 0, row: if ta { 1 } else { k }, col: if ta { m } else { 1 } },
                b: Matrix { values: &b, stack: 0, row: n, col: 1 },
                start: if end == 0 { Start::Zero } else { start },
                epilogue: [Epilogue::None, Epilogue::Relu, Epilogue::Mask(&beside), Epilogue::Times(&beside)][end],
            };
            let mut c = vec![0.0; m * n];
            product(isa, false, p, &mut vec![], &mut c);
            let mut hash = fnv::FnvHasher::default();
            c.iter().for_each(|x| hash.write(&x.to_bits().to_le_bytes()));
            hash.finish()
        };
        for &isa in all().iter().filter(|&&isa| isa != Isa::Portable) {
            let got = [
                hash(isa, [100, 64, 64], false, 1),
                hash(isa, [61, 300, 37], false, 1),
                hash(isa, [256, 17, 300], false, 2),
                hash(isa, [32, 600, 23], false, 3),
                hash(isa, [1, 256, 256], false, 1),
                hash(isa, [64, 256, 72], true, 0),
                hash(isa, [256, 256, 1], false, 1),
                hash(isa, [50, 77, 8], false, 0),
                hash(isa, [61, 40, 7], false, 1),
                hash(isa, [99, 100, 3], true, 0),
            ];
            let expected = [
                0x5C22_C08E_D0F0_040E,
                0xE605_2280_C620_6F69,
                0xCBE8_02F0_96BC_093E,
                0xE6C4_14FA_7550_093F,
                0x7C6D_8C2C_5138_FD5E,
                0x06A7_C8A4_655B_336A,
                0xF2F7_BFB8_41B9_B867,
                0x1C44_91B4_583D_3AA7,
                0x86B3_D471_A877_BC90,
                0x26F8_2767_8815_0528,
            ];
            assert!(got == expected, "{isa:?}: {got:#018X?}");
        }
    }

    #[test]
    fn relu_keeps_nan() {
        let (a, b, zero) = ([Real::NAN], [1.0], [-0.0]);
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
        for &isa in all() {
            let mut c = [0.0];
            product(isa, false, p, &mut vec![], &mut c);
            assert!(c[0].is_nan(), "{isa:?}");
            // Which zero a sum is belongs to its bits: those with fused multiply–adds agree on it.
            let start = Start::Bias(Bias { values: &zero, stack: 0, group: 1 });
            product(isa, false, Product { a: one(&zero), start, ..p }, &mut vec![], &mut c);
            assert!(c[0] == 0.0 && (isa == Isa::Portable || c[0].is_sign_negative()), "{isa:?}");
        }
    }
}
