//! Products of every form against sums in double precision.

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
    let groups = (1..=m).filter(|g| m % g == 0).collect::<Vec<_>>();
    let group = if key.below(2, 10) == 0 { usize::MAX } else { groups[key.below(groups.len(), 11)] };
    let bias_rows = m.div_ceil(group);
    let bias = random(key.name("bias"), members * bias_rows * n);
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
        start: if key.below(2, 9) == 0 {
            Start::Zero
        } else {
            Start::Bias(Bias { values: &bias, stack: bias_rows * n, group })
        },
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
            if let Start::Bias(Bias { values, stack, group }) = p.start {
                sum = values[e * stack + i / group * n + j] as f64;
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

/// Sums deep enough to be taken in parts.
#[test]
fn deep_products_match_double_precision() {
    for trial in 0..40 {
        let key = Key::new(94).fold(trial);
        check(key, [1 + key.below(30, 0), 900 + key.below(2000, 1), 1 + key.below(50, 2)], &mut vec![]);
    }
}

/// Parts are summed in the order of the whole: the bits of one chain of fused multiply–adds, started from the bias.
#[test]
fn parts_continue_the_same_chain() {
    let (m, k, n) = (5, 3 * DEPTH + 7, 37);
    let (a, b, bias) = (random(Key::new(1), m * k), random(Key::new(2), k * n), random(Key::new(3), n));
    let p = Product {
        members: 1,
        m,
        k,
        n,
        a: Matrix { values: &a, stack: 0, row: 1, col: m },
        b: Matrix { values: &b, stack: 0, row: n, col: 1 },
        start: Start::Bias(Bias { values: &bias, stack: 0, group: usize::MAX }),
        epilogue: Epilogue::Relu,
    };
    for isa in [super::super::isa(), Isa::Portable] {
        let (mut parts, mut whole) = (vec![0.0; m * n], vec![0.0; m * n]);
        product(isa, false, p, &mut vec![], &mut parts);
        slab(isa, false, p, &mut vec![], &mut whole);
        assert_eq!(parts, whole, "{isa:?}");
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
    let p =
        Product { members: 1, m: 1, k: 1, n: 1, a: one(&a), b: one(&b), start: Start::Zero, epilogue: Epilogue::Relu };
    for isa in [super::super::isa(), Isa::Portable] {
        let mut c = [0.0];
        product(isa, false, p, &mut vec![], &mut c);
        assert!(c[0].is_nan(), "{isa:?}");
    }
}
