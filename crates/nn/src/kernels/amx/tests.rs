//! The tile unit against its scalar twin, to the bit, and both against double precision.

use super::*;
use crate::kernels::{Matrix, Product, gemm};
use approx::abs_diff_eq;
use backcast_core::Key;

/// The arithmetic of this file in plain Rust, one element at a time: what the tile unit is specified to compute.
mod twin {
    use super::*;

    /// Round to nearest, ties to even, on the upper sixteen bits; what is too small for a normal number is zero.
    pub(super) fn bf16(x: f32) -> f32 {
        if x.is_nan() {
            return f32::from_bits(x.to_bits() & 0xffff_0000 | 1 << 22);
        }
        let bits = flush(x).to_bits();
        f32::from_bits((bits + 0x7fff + (bits >> 16 & 1)) & 0xffff_0000)
    }

    pub(super) fn flush(x: f32) -> f32 {
        if x.is_subnormal() { 0.0f32.copysign(x) } else { x }
    }

    /// A step of 32: even and odd indices are two chains of fused multiply–adds, whose sum joins the running sum.
    fn step(sum: f32, a: &[f32; DEPTH], b: &[f32; DEPTH]) -> f32 {
        let mut chains = [0.0f32; 2];
        for (i, (a, b)) in a.iter().zip(b).enumerate() {
            chains[i % 2] = flush(a.mul_add(*b, chains[i % 2]));
        }
        flush(flush(chains[0] + chains[1]) + sum)
    }

    /// One element: `a` and `b` are its row and column, `start` its bias.
    pub(super) fn element(precision: Precision, start: f32, a: &[f32], b: &[f32], relu: bool) -> f32 {
        let mut sum = start;
        for (a, b) in a.chunks(DEPTH).zip(b.chunks(DEPTH)) {
            let [mut a_high, mut a_low, mut b_high, mut b_low] = [[0.0; DEPTH]; 4];
            for (x, high, low) in [(a, &mut a_high, &mut a_low), (b, &mut b_high, &mut b_low)] {
                for (i, &x) in x.iter().enumerate() {
                    high[i] = bf16(x);
                    low[i] = bf16(flush(x) - high[i]);
                }
            }
            if precision == Precision::Split {
                sum = step(sum, &a_low, &b_high);
            }
            sum = step(sum, &a_high, &b_high);
            if precision == Precision::Split {
                sum = step(sum, &a_high, &b_low);
            }
        }
        // False for NaN, which is kept.
        if relu && sum <= 0.0 { 0.0 } else { sum }
    }
}

fn random(key: Key, n: usize) -> Vec<f32> {
    let mut x = vec![0.0; n];
    key.normal(&mut x);
    x
}

#[expect(clippy::print_stderr, reason = "a skipped test says so")]
fn tiles_or_skip(test: &str) -> bool {
    if !available() {
        eprintln!("SKIPPED: {test}: this machine has no bf16 tiles (AMX)");
    }
    available()
}

/// Factors, their order in memory and what surrounds the product, all drawn by a key.
struct Trial {
    sizes: [usize; 4],
    transposed: [bool; 2],
    shared: [bool; 2],
    a: Vec<f32>,
    b: Vec<f32>,
    bias: Option<Vec<f32>>,
    mask: Vec<f32>,
    ending: usize,
}

impl Trial {
    fn new(key: Key, [m, k, n]: [usize; 3]) -> Self {
        let members = 1 + key.below(3, 3);
        let shared = [6, 7].map(|i| key.below(3, i) == 0);
        let [one_a, one_b] = shared.map(|s| if s { 1 } else { members });
        Self {
            sizes: [members, m, k, n],
            transposed: [4, 5].map(|i| key.below(2, i) == 1),
            shared,
            a: random(key.name("a"), one_a * m * k),
            b: random(key.name("b"), one_b * k * n),
            bias: (key.below(2, 9) == 0).then(|| random(key.name("bias"), members * n)),
            mask: random(key.name("mask"), members * m * n),
            ending: key.below(4, 8),
        }
    }

    fn product(&self) -> Product<'_> {
        let [members, m, k, n] = self.sizes;
        let matrix = |values, shared, transposed, rows, cols| Matrix {
            values,
            stack: if shared { 0 } else { rows * cols },
            row: if transposed { 1 } else { cols },
            col: if transposed { rows } else { 1 },
        };
        Product {
            members,
            m,
            k,
            n,
            a: matrix(&self.a, self.shared[0], self.transposed[0], m, k),
            b: matrix(&self.b, self.shared[1], self.transposed[1], k, n),
            start: self
                .bias
                .as_ref()
                .map_or(Start::Zero, |values| Start::Bias(Bias { values, stack: n, group: usize::MAX })),
            epilogue: self.epilogue(),
        }
    }

    fn epilogue(&self) -> Epilogue<'_> {
        [Epilogue::None, Epilogue::Relu, Epilogue::Mask(&self.mask), Epilogue::Times(&self.mask)][self.ending]
    }

    /// The row and the column of one element, and what its sum starts from.
    fn element(&self, at: usize) -> (Vec<f32>, Vec<f32>, f32) {
        let ([_, m, k, n], p) = (self.sizes, self.product());
        let (e, i, j) = (at / (m * n), at / n % m, at % n);
        let a = (0..k).map(|q| self.a[e * p.a.stack + i * p.a.row + q * p.a.col]).collect();
        let b = (0..k).map(|q| self.b[e * p.b.stack + q * p.b.row + j * p.b.col]).collect();
        (a, b, self.bias.as_ref().map_or(0.0, |bias| bias[e * n + j]))
    }
}

const BOTH: [Precision; 2] = [Precision::Split, Precision::Bf16];

/// Error of an element relative to Σ|ab|, as [`Precision`] states it, plus that of f32 sums.
fn bound(precision: Precision, k: usize) -> f64 {
    let dropped = if precision == Precision::Bf16 { 2f64.powi(-7) + 2f64.powi(-16) } else { 3.1 * 2f64.powi(-16) };
    dropped + 3.0 * (k as f64 + 2.0) * f32::EPSILON as f64
}

/// Anywhere: the twin is within the stated bound of double precision.
#[test]
fn the_twin_is_as_close_as_stated() {
    for trial in 0..2000 {
        let key = Key::new(70).fold(trial);
        let k = key.below(300, 0);
        let (a, b) = (random(key.name("a"), k), random(key.name("b"), k));
        let (mut sum, mut size) = (0.25f64, 0.25f64);
        for (&x, &y) in a.iter().zip(&b) {
            sum += x as f64 * y as f64;
            size += (x as f64 * y as f64).abs();
        }
        for precision in BOTH {
            let got = twin::element(precision, 0.25, &a, &b, false) as f64;
            assert!(
                abs_diff_eq!(got, sum, epsilon = bound(precision, k) * size),
                "{precision:?} {key:?}: {got} is not {sum}"
            );
        }
    }
}

/// Anywhere: rounding to bf16 is to nearest, ties to even.
#[test]
fn the_twin_rounds_to_nearest_even() {
    let ulp = 2f32.powi(-7);
    for (x, rounded) in [
        (1.0, 1.0),
        (1.0 + 0.5 * ulp, 1.0),
        (1.0 + 0.75 * ulp, 1.0 + ulp),
        (1.0 + 1.5 * ulp, 1.0 + 2.0 * ulp),
        (-1.0 - 1.5 * ulp, -1.0 - 2.0 * ulp),
        (f32::INFINITY, f32::INFINITY),
        (f32::MAX, f32::INFINITY),
        (1e-40, 0.0),
    ] {
        assert_eq!(twin::bf16(x), rounded, "{x}");
    }
    assert!(twin::bf16(f32::NAN).is_nan());
}

fn check(key: Key, sizes: [usize; 3], scratch: &mut Vec<f32>) {
    let trial = Trial::new(key, sizes);
    let k = trial.sizes[2];
    for precision in BOTH {
        let mut c = vec![f32::NAN; trial.sizes[0] * trial.sizes[1] * trial.sizes[3]];
        product(precision, false, trial.product(), scratch, &mut c);
        for (at, &got) in c.iter().enumerate() {
            let (a, b, start) = trial.element(at);
            let relu = trial.epilogue() == Epilogue::Relu;
            let kept = !matches!(trial.epilogue(), Epilogue::Mask(mask) if mask[at] <= 0.0);
            let times = if let Epilogue::Times(times) = trial.epilogue() { times[at] } else { 1.0 };
            let twin = if kept { twin::element(precision, start, &a, &b, relu) } else { 0.0 };
            let twin = (twin + 0.0) * times;
            assert_eq!(
                got.to_bits(),
                twin.to_bits(),
                "{precision:?} {key:?} {:?} {:?} element {at}: {got} is not {twin}",
                trial.sizes,
                trial.transposed
            );
            let exact = start as f64 + a.iter().zip(&b).map(|(&x, &y)| x as f64 * y as f64).sum::<f64>();
            let exact = if relu { exact.max(0.0) } else { exact } * kept as u8 as f64 * times as f64;
            let size = start.abs() as f64 + a.iter().zip(&b).map(|(&x, &y)| (x as f64 * y as f64).abs()).sum::<f64>();
            let size = size * times.abs() as f64;
            assert!(
                abs_diff_eq!(got as f64, exact, epsilon = bound(precision, k) * size),
                "{precision:?} {key:?}: {got}, {exact}"
            );
        }
    }
}

/// Every form, ragged and 1-sized shapes, stacks, bias and activation: the same bits as the twin.
#[test]
fn tiles_give_the_bits_of_the_twin() {
    if !tiles_or_skip("tiles_give_the_bits_of_the_twin") {
        return;
    }
    let sizes = [1, 2, 3, 15, 16, 17, 31, 32, 33, 47, 48, 49, 64, 65, 100];
    let scratch = &mut vec![f32::NAN; 100];
    for trial in 0..150 {
        let key = Key::new(71).fold(trial);
        check(key, [0, 1, 2].map(|i| sizes[key.below(sizes.len(), i)]), scratch);
    }
}

/// Inner sizes of several pieces, and rows of several tasks.
#[test]
fn long_sums_and_tall_stacks_give_the_bits_of_the_twin() {
    if !tiles_or_skip("long_sums_and_tall_stacks_give_the_bits_of_the_twin") {
        return;
    }
    let scratch = &mut vec![];
    for trial in 0..12 {
        let key = Key::new(72).fold(trial);
        check(key, [1 + key.below(40, 0), STEPS * DEPTH - 3 + key.below(900, 1), 1 + key.below(40, 2)], scratch);
        check(key, [1 + key.below(300, 3), 1 + key.below(40, 4), 1 + key.below(40, 5)], scratch);
        check(key, [1 + key.below(20, 6), 1 + key.below(40, 7), BIAS - 20 + key.below(60, 8)], scratch);
    }
}

/// A sum over nothing is the bias, or zero.
#[test]
fn an_empty_inner_size_leaves_the_bias() {
    if !tiles_or_skip("an_empty_inner_size_leaves_the_bias") {
        return;
    }
    for trial in 0..50 {
        let key = Key::new(73).fold(trial);
        check(key, [1 + key.below(100, 0), 0, 1 + key.below(40, 2)], &mut vec![]);
    }
}

#[test]
fn threads_change_no_bit() {
    if !tiles_or_skip("threads_change_no_bit") {
        return;
    }
    for (seed, sizes) in [(0, [300, 520, 217]), (1, [256, 1200, 100]), (2, [700, 200, 200])] {
        let trial = Trial::new(Key::new(74).fold(seed), sizes);
        assert!(trial.sizes.iter().product::<usize>() >= FORK_FROM, "large enough to fork");
        for precision in BOTH {
            let run = |threads, parallel| {
                let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().expect("a pool");
                let mut c = vec![f32::NAN; trial.sizes[0] * trial.sizes[1] * trial.sizes[3]];
                pool.install(|| product(precision, parallel, trial.product(), &mut vec![], &mut c));
                c.iter().map(|x| x.to_bits()).collect::<Vec<_>>()
            };
            let alone = run(1, false);
            for threads in [1, 2, 4] {
                assert_eq!(alone, run(threads, true), "{precision:?}, {threads} threads");
            }
        }
    }
}

/// NaN in either factor reaches the output, through the activation too; numbers that bf16 holds are multiplied exactly.
#[test]
fn nan_is_kept_and_short_numbers_are_exact() {
    if !tiles_or_skip("nan_is_kept_and_short_numbers_are_exact") {
        return;
    }
    let n = 32;
    fn matrix(values: &[f32], n: usize) -> Matrix<'_> {
        Matrix { values, stack: 0, row: n, col: 1 }
    }
    let short = |i: usize| (i * 7 % 13) as f32 - 6.0;
    let (mut a, b): (Vec<f32>, Vec<f32>) = (0..n * n).map(|i| (short(i), short(i * 5 + 1))).unzip();
    for precision in BOTH {
        let run = |a: &[f32]| {
            let p = Product {
                members: 1,
                m: n,
                k: n,
                n,
                a: matrix(a, n),
                b: matrix(&b, n),
                start: Start::Zero,
                epilogue: Epilogue::Relu,
            };
            let (mut tiles, mut exact) = (vec![0.0; n * n], vec![0.0; n * n]);
            product(precision, false, p, &mut vec![], &mut tiles);
            gemm::product(crate::isa(), false, p, &mut vec![], &mut exact);
            (tiles, exact)
        };
        a[5 * n + 3] = 1.0;
        let (tiles, exact) = run(&a);
        assert_eq!(tiles, exact);
        a[5 * n + 3] = f32::NAN;
        let (tiles, _) = run(&a);
        for (at, x) in tiles.iter().enumerate() {
            assert_eq!(x.is_nan(), at / n == 5, "{precision:?} {at}: {x}");
        }
    }
}
