//! Random numbers as values: a [`Key`] names a stream, it is not a generator.
//!
//! The generator is Philox4x32-10 (Salmon, Moraes, Dror & Shaw, *Parallel random numbers: as easy as 1, 2, 3*, SC 2011):
//! block `i` of a stream is a pure function of `(seed, path, i)`. Nothing has to be saved in a checkpoint, and element `i`
//! of a draw is the same whoever computes it and in whatever order.

use crate::Real;
use ndarray::{Array, Dimension, ShapeBuilder};
use ndarray_rand::RandomExt;
use ndarray_rand::rand::{Rng, RngCore};
use ndarray_rand::rand_distr::Distribution;
use std::cell::Cell;

/// The *name* of a stream of random numbers: `Copy`, no state to save.
///
/// Derive one key per use with [`Key::fold`] and [`Key::name`]; drawing twice from the same key gives the same numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Key {
    seed: u64,
    path: u64,
}

impl Key {
    /// The root of all streams of one run.
    pub const fn new(seed: u64) -> Self {
        Self { seed, path: 0 }
    }

    /// The child stream number `label`: one per step, member, episode …
    pub const fn fold(self, label: u64) -> Self {
        // SplitMix64's finaliser over the parent's path and the label: distinct paths collide with probability 2⁻⁶⁴.
        let mut z = self.path.rotate_left(23) ^ label.wrapping_add(0x9E37_79B9_7F4A_7C15);
        z = z.wrapping_add(self.path.wrapping_mul(0xD6E8_FEB8_6659_FD93)).wrapping_add(0x9E37_79B9_7F4A_7C15);
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        Self { path: z ^ (z >> 31), ..self }
    }

    /// The child stream called `label`: one per purpose, so that adding a use never shifts another's draws.
    pub const fn name(self, label: &str) -> Self {
        // FNV-1a, 64 bits. Written out here and not shared: these bits define every random stream, and must not follow a library.
        let (bytes, mut hash, mut i) = (label.as_bytes(), 0xCBF2_9CE4_8422_2325_u64, 0);
        while i < bytes.len() {
            hash = (hash ^ bytes[i] as u64).wrapping_mul(0x0000_0100_0000_01B3);
            i += 1;
        }
        self.fold(hash)
    }

    /// Four random words: block `index` of this stream.
    #[inline]
    pub const fn block(self, index: u64) -> [u32; 4] {
        let mut counter = [index as u32, (index >> 32) as u32, self.path as u32, (self.path >> 32) as u32];
        let mut key = [self.seed as u32, (self.seed >> 32) as u32];
        let mut round = 0;
        while round < 10 {
            let (a, b) = (0xD251_1F53_u64 * counter[0] as u64, 0xCD9E_8D57_u64 * counter[2] as u64);
            counter =
                [(b >> 32) as u32 ^ counter[1] ^ key[0], b as u32, (a >> 32) as u32 ^ counter[3] ^ key[1], a as u32];
            key = [key[0].wrapping_add(0x9E37_79B9), key[1].wrapping_add(0xBB67_AE85)];
            round += 1;
        }
        counter
    }

    /// A cursor over this stream for code that wants a generator, such as the distributions of `ndarray-rand`.
    pub const fn draws(self) -> Draws {
        Draws { key: self, at: 0, block: [0; 4] }
    }

    /// An array of numbers drawn from `distribution`: [`Uniform`] and [`Normal`] give the numbers of [`uniform`](Key::uniform)
    /// and [`normal`](Key::normal), bit for bit; any other distribution of `rand_distr` reads the words of this stream in turn.
    ///
    /// ```
    /// use backcast_core::{Key, Normal, Uniform};
    ///
    /// let key = Key::new(7);
    /// let obs = key.name("obs").array((32, 3), Normal::default());
    /// let act = key.name("act").array((32, 1), Uniform::new(-1.0, 1.0));
    /// assert!(obs.dim() == (32, 3) && act.iter().all(|a| (-1.0..1.0).contains(a)));
    /// ```
    // `'static` refuses a borrowed `Normal`, which may hold the second half of a pair from another stream.
    pub fn array<D: Dimension>(
        self,
        shape: impl ShapeBuilder<Dim = D>,
        distribution: impl Distribution<Real> + 'static,
    ) -> Array<Real, D> {
        Array::random_using(shape, distribution, &mut self.draws())
    }

    /// Element `i` of this stream as an index in `0..n`, unbiased to 2⁻³² (multiply–shift on 64 bits).
    ///
    /// # Panics
    /// If `n` is zero.
    #[inline]
    pub fn below(self, n: usize, i: usize) -> usize {
        assert!(n > 0, "Key::below: there is no index below zero");
        let words = self.block(i as u64);
        let word = words[0] as u64 | (words[1] as u64) << 32;
        ((word as u128 * n as u128) >> 64) as usize
    }

    /// Fills `out` with numbers uniform in `[low, high)`.
    pub fn uniform(self, low: Real, high: Real, out: &mut [Real]) {
        for (i, four) in out.chunks_mut(4).enumerate() {
            for (x, word) in four.iter_mut().zip(self.block(i as u64)) {
                *x = low + (high - low) * unit(word);
            }
        }
    }

    /// Fills `out` with standard normal numbers (Box–Muller; no call to the platform's `libm`, so the same bits anywhere).
    pub fn normal(self, out: &mut [Real]) {
        self.normal_from(0, out);
    }

    /// As [`normal`](Key::normal), the numbers from number `first` on: a part of a long draw, to the same bits.
    ///
    /// # Panics
    /// If `first` is no multiple of four, which is how many a block makes.
    pub fn normal_from(self, first: usize, out: &mut [Real]) {
        assert!(first.is_multiple_of(4), "Key::normal_from: {first} lies inside a block of four");
        let mut block = first as u64 / 4;
        let (many, rest) = out.as_chunks_mut::<{ 4 * LANES }>();
        for out in many {
            let words = self.blocks(block);
            let mut normal = [[0.0; LANES]; 4];
            for lane in 0..LANES {
                (normal[0][lane], normal[1][lane]) = box_muller(words[0][lane], words[1][lane]);
            }
            for lane in 0..LANES {
                (normal[2][lane], normal[3][lane]) = box_muller(words[2][lane], words[3][lane]);
            }
            for (lane, four) in out.as_chunks_mut::<4>().0.iter_mut().enumerate() {
                *four = [0, 1, 2, 3].map(|i| normal[i][lane] as Real);
            }
            block += LANES as u64;
        }
        for (i, four) in rest.chunks_mut(4).enumerate() {
            let words = self.block(block + i as u64);
            let (a, b) = box_muller(words[0], words[1]);
            let (c, d) = box_muller(words[2], words[3]);
            for (x, z) in four.iter_mut().zip([a, b, c, d]) {
                *x = z as Real;
            }
        }
    }

    /// [`LANES`] consecutive blocks from `first` on, word by word: the same arithmetic side by side, which becomes vectors.
    #[inline]
    fn blocks(self, first: u64) -> [[u32; LANES]; 4] {
        let index = |lane: usize| first + lane as u64;
        let mut counter = [
            std::array::from_fn(|lane| index(lane) as u32),
            std::array::from_fn(|lane| (index(lane) >> 32) as u32),
            [self.path as u32; LANES],
            [(self.path >> 32) as u32; LANES],
        ];
        let mut key = [self.seed as u32, (self.seed >> 32) as u32];
        for _ in 0..10 {
            let mut next = [[0; LANES]; 4];
            for lane in 0..LANES {
                let a = 0xD251_1F53_u64 * counter[0][lane] as u64;
                let b = 0xCD9E_8D57_u64 * counter[2][lane] as u64;
                next[0][lane] = (b >> 32) as u32 ^ counter[1][lane] ^ key[0];
                next[1][lane] = b as u32;
                next[2][lane] = (a >> 32) as u32 ^ counter[3][lane] ^ key[1];
                next[3][lane] = a as u32;
            }
            counter = next;
            key = [key[0].wrapping_add(0x9E37_79B9), key[1].wrapping_add(0xBB67_AE85)];
        }
        counter
    }

    /// The first number of this stream, uniform in `[0, 1)`.
    pub fn unit(self) -> Real {
        unit(self.block(0)[0])
    }

    /// A uniformly random order of `items` (Fisher–Yates).
    pub fn shuffle<T>(self, items: &mut [T]) {
        for i in (1..items.len()).rev() {
            items.swap(i, self.below(i + 1, i));
        }
    }
}

/// Blocks that are made side by side.
const LANES: usize = 16;

/// 24 random bits as a number in `[0, 1)`, exactly representable in `f32`.
#[inline]
fn unit(word: u32) -> Real {
    (word >> 8) as Real * (1.0 / 16_777_216.0)
}

/// Two independent standard normal numbers from two random words (Box & Muller 1958).
#[inline]
fn box_muller(a: u32, b: u32) -> (f32, f32) {
    // (0, 1]: the logarithm of zero never happens; the largest value drawn is √(2 ln 2²⁴·2) ≈ 5.9.
    let u = ((a >> 8) as i32 as f32 + 0.5) * (1.0 / 16_777_216.0);
    let radius = (-2.0 * ln(u)).sqrt();
    let (sin, cos) = sin_cos_turns(b);
    (radius * cos, radius * sin)
}

/// ln(x) for positive normal x, relative error below 2e-7 away from 1: exponent plus an odd series in (m−1)/(m+1).
#[inline]
fn ln(x: f32) -> f32 {
    let bits = x.to_bits();
    // Shift so that the mantissa lies in [√½, √2).
    let shifted = bits.wrapping_sub(0x3F35_04F3);
    let exponent = (shifted as i32) >> 23;
    let mantissa = f32::from_bits((shifted & 0x007F_FFFF).wrapping_add(0x3F35_04F3));
    let t = (mantissa - 1.0) / (mantissa + 1.0);
    let t2 = t * t;
    let series = 2.0 * t * (1.0 + t2 * (1.0 / 3.0 + t2 * (0.2 + t2 * (1.0 / 7.0 + t2 * (1.0 / 9.0)))));
    exponent as f32 * std::f32::consts::LN_2 + series
}

/// sin and cos of 2π·word/2³²: two bits choose the quadrant, the rest an angle in (−π/4, π/4] for short Taylor series. Which of the two
/// goes where, and with which sign, is chosen by masks: without a branch sixteen of them go side by side.
#[inline]
fn sin_cos_turns(word: u32) -> (f32, f32) {
    let quadrant = word >> 30;
    // 24 bits fit a signed integer, which has a conversion in every instruction set.
    let angle = (((word << 2) >> 8) as i32 as f32 * (1.0 / 16_777_216.0) - 0.5) * std::f32::consts::FRAC_PI_2;
    let x2 = angle * angle;
    let s = angle * (1.0 - x2 * (1.0 / 6.0 - x2 * (1.0 / 120.0 - x2 * (1.0 / 5040.0 - x2 / 362_880.0))));
    let c = 1.0 - x2 * (0.5 - x2 * (1.0 / 24.0 - x2 * (1.0 / 720.0 - x2 * (1.0 / 40_320.0))));
    // (s, c), (c, −s), (−s, −c), (−c, s).
    let swap = (quadrant & 1).wrapping_neg();
    let (s, c) = (s.to_bits(), c.to_bits());
    let (sin, cos) = (s & !swap | c & swap, c & !swap | s & swap);
    let (sin_sign, cos_sign) = ((quadrant & 2) << 30, ((quadrant + 1) & 2) << 30);
    (f32::from_bits(sin ^ sin_sign), f32::from_bits(cos ^ cos_sign))
}

/// Uniform in `[low, high)`: drawn by [`Key::array`], the numbers of [`Key::uniform`].
#[derive(Clone, Copy, Debug)]
pub struct Uniform {
    low: Real,
    high: Real,
}

impl Uniform {
    /// Uniform in `[low, high)`.
    pub const fn new(low: Real, high: Real) -> Self {
        Self { low, high }
    }
}

impl Distribution<Real> for Uniform {
    fn sample<R: Rng + ?Sized>(&self, draws: &mut R) -> Real {
        self.low + (self.high - self.low) * unit(draws.next_u32())
    }
}

/// Standard normal: drawn by [`Key::array`], the numbers of [`Key::normal`].
///
/// Box and Muller make two numbers of two words. The second waits here for the next call, so this is one array's distribution:
/// make another for another array.
#[derive(Debug, Default)]
pub struct Normal {
    second: Cell<Option<f32>>,
}

impl Distribution<Real> for Normal {
    fn sample<R: Rng + ?Sized>(&self, draws: &mut R) -> Real {
        let number = self.second.take().unwrap_or_else(|| {
            let (first, second) = box_muller(draws.next_u32(), draws.next_u32());
            self.second.set(Some(second));
            first
        });
        number as Real
    }
}

/// A cursor over the words of one [`Key`], for code that wants a generator.
#[derive(Clone, Debug)]
pub struct Draws {
    key: Key,
    at: u64,
    /// The block that word `at − 1` belongs to.
    block: [u32; 4],
}

impl RngCore for Draws {
    fn next_u32(&mut self) -> u32 {
        if self.at.is_multiple_of(4) {
            self.block = self.key.block(self.at / 4);
        }
        let word = self.block[(self.at % 4) as usize];
        self.at += 1;
        word
    }

    fn next_u64(&mut self) -> u64 {
        self.next_u32() as u64 | (self.next_u32() as u64) << 32
    }

    fn fill_bytes(&mut self, out: &mut [u8]) {
        for chunk in out.chunks_mut(4) {
            chunk.copy_from_slice(&self.next_u32().to_le_bytes()[..chunk.len()]);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use approx::{abs_diff_eq, assert_abs_diff_eq};
    use ndarray_rand::rand_distr::{Exp1, StandardNormal};

    /// The known-answer vectors of the Random123 distribution (`kat_vectors`, philox4x32 10 rounds).
    #[test]
    fn philox_gives_the_published_words() {
        let zeros = Key { seed: 0, path: 0 }.block(0);
        assert_eq!(zeros, [0x6627_e8d5, 0xe169_c58d, 0xbc57_ac4c, 0x9b00_dbd8]);
        let ones = Key { seed: u64::MAX, path: u64::MAX }.block(u64::MAX);
        assert_eq!(ones, [0x408f_276d, 0x41c8_3b0e, 0xa20b_c7c6, 0x6d54_51fd]);
        let key = Key { seed: 0x299f_31d0_a409_3822, path: 0x0370_7344_1319_8a2e };
        assert_eq!(key.block(0x85a3_08d3_243f_6a88), [0xd16c_fe09, 0x94fd_cceb, 0x5001_e420, 0x2412_6ea1]);
    }

    /// Side by side or one by one, from the beginning or from the middle.
    #[test]
    fn a_part_of_a_draw_has_the_bits_of_the_whole() {
        let key = Key::new(5).name("parts");
        let mut whole = vec![0.0; 1003];
        key.normal(&mut whole);
        for (i, &x) in whole.iter().enumerate() {
            let words = key.block(i as u64 / 4);
            let (a, b) = if i % 4 < 2 { (words[0], words[1]) } else { (words[2], words[3]) };
            let pair = box_muller(a, b);
            assert_eq!(x.to_bits(), (if i % 2 == 0 { pair.0 } else { pair.1 } as Real).to_bits(), "{i}");
        }
        for first in [0, 4, 60, 64, 900] {
            let mut part = vec![0.0; 1003 - first];
            key.normal_from(first, &mut part);
            assert_eq!(part, whole[first..], "{first}");
        }
        assert!(std::panic::catch_unwind(|| key.normal_from(2, &mut [0.0])).is_err());
    }

    /// Arrays of any shape, whose sizes end inside a block and inside a pair.
    #[test]
    fn an_array_has_the_bits_of_a_slice() {
        for (seed, shape) in [(1, [1, 1, 1]), (2, [2, 3, 1]), (3, [5, 7, 3]), (4, [2, 0, 3]), (5, [16, 16, 5])] {
            let key = Key::new(seed).name("array");
            let mut slice = vec![0.0; shape.iter().product()];
            key.normal(&mut slice);
            let array = key.array(shape, Normal::default());
            assert_eq!((array.shape(), array.as_slice().unwrap()), (&shape[..], &slice[..]));
            key.uniform(-0.7, 3.1, &mut slice);
            assert_eq!(key.array(shape, Uniform::new(-0.7, 3.1)).as_slice().unwrap(), slice);
        }
    }

    /// A key is a good enough generator for distributions that are not ours: exponential numbers by rejection.
    #[test]
    fn other_distributions_draw_from_a_key() {
        let key = Key::new(9).name("exponential");
        let x = key.array((512, 512), Exp1).mapv(f64::from);
        let e = 5.0 / (x.len() as f64).sqrt();
        assert!(x.iter().all(|&x| x > 0.0));
        assert_abs_diff_eq!(x.mean().unwrap(), 1.0, epsilon = e);
        assert_abs_diff_eq!(x.std(0.0), 1.0, epsilon = e * 2.0);
        assert_eq!(key.array(100, StandardNormal), key.array(100, StandardNormal));
        assert_ne!(key.array(100, StandardNormal), key.name("other").array(100, StandardNormal));
    }

    #[test]
    fn normals_have_the_moments_and_tails_of_a_normal() {
        let mut x = vec![0.0; 1 << 20];
        Key::new(3).name("normal").normal(&mut x);
        let n = x.len() as f64;
        let moment = |p: i32| x.iter().map(|&v| (v as f64).powi(p)).sum::<f64>() / n;
        // Standard errors: 1/√n, √2/√n, √15/√n, √96/√n.
        let e = 5.0 / n.sqrt();
        assert_abs_diff_eq!(moment(1), 0.0, epsilon = e);
        assert_abs_diff_eq!(moment(2), 1.0, epsilon = e * 2f64.sqrt());
        assert_abs_diff_eq!(moment(3), 0.0, epsilon = e * 15f64.sqrt());
        assert_abs_diff_eq!(moment(4), 3.0, epsilon = e * 96f64.sqrt());
        let beyond = x.iter().filter(|v| v.abs() > 3.0).count() as f64 / n;
        assert_abs_diff_eq!(beyond, 0.002_699_8, epsilon = 5.0 * (0.0027 / n).sqrt());
    }

    #[test]
    fn elementary_functions_are_accurate() {
        for i in 1..10_000 {
            let x = i as f32 / 10_000.0;
            let want = (x as f64).ln();
            assert_abs_diff_eq!(ln(x) as f64, want, epsilon = 3e-7 * (1.0 + want.abs()));
            let word = (i as u32).wrapping_mul(429_496);
            let (s, c) = sin_cos_turns(word);
            // The angle is centred in its 24-bit cell, half a quadrant away from the plain reading of the word.
            let turns = (word >> 30) as f64 / 4.0 + (((word << 2) >> 8) as f64 / 16_777_216.0 - 0.5) / 4.0;
            let (ws, wc) = (turns * std::f64::consts::TAU).sin_cos();
            assert_abs_diff_eq!(s as f64, ws, epsilon = 4e-7);
            assert_abs_diff_eq!(c as f64, wc, epsilon = 4e-7);
        }
    }

    #[test]
    fn a_draw_does_not_depend_on_its_length_or_on_other_streams() {
        let key = Key::new(11).name("x");
        let (mut long, mut short) = (vec![0.0; 1000], vec![0.0; 10]);
        key.normal(&mut long);
        key.normal(&mut short);
        assert_eq!(long[..10], short[..]);
        key.name("other").normal(&mut short);
        assert_ne!(long[..10], short[..]);
        assert_ne!(Key::new(1).fold(2).fold(3), Key::new(1).fold(3).fold(2));
    }

    #[test]
    fn below_is_uniform() {
        let mut counts = [0usize; 7];
        (0..70_000).for_each(|i| counts[Key::new(5).below(7, i)] += 1);
        // Six standard deviations of a binomial count.
        let bound = 6.0 * (10_000.0f64 * 6.0 / 7.0).sqrt();
        assert!(counts.iter().all(|&c| abs_diff_eq!(c as f64, 10_000.0, epsilon = bound)));
    }
}
