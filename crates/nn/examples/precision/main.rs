//! What products on bf16 tiles gain in time and cost in accuracy, beside f32: the tables of the book's page on precision.
//!
//! ```sh
//! cargo run --release -p backcast-nn --example precision
//! ```
//! An argument, `times`, `errors` or `curves`, asks for one part alone.
//!
//! Times alternate between the precisions within one run; only their ratios mean anything on a shared machine. With
//! `--features f64` the errors are those of the reference itself.
#![allow(clippy::print_stdout, reason = "tables are what this is for")]
#![cfg_attr(feature = "f64", allow(clippy::unnecessary_cast, reason = "`as f64` does something in single precision"))]

mod reference;
mod work;

use backcast_core::Key;
use backcast_nn::{Arena, Precision, Real, Shape, Tape, amx_available};
use ndarray::Array2;
use std::{cell::RefCell, time::Instant};
use work::{ACT, OBS, Work, normal, rows};

const MODES: [Precision; 3] = [Precision::F32, Precision::Split, Precision::Bf16];

fn main() {
    println!("bf16 tiles: {}", if amx_available() { "yes" } else { "no, every row is f32" });
    let part = std::env::args().nth(1);
    let asked = |name| part.as_deref().is_none_or(|p| p == name);
    if asked("times") {
        products();
        updates();
    }
    if asked("errors") {
        product_errors();
        update_errors();
    }
    if asked("curves") {
        curves();
    }
}

/// Seconds per call in the fastest of `rounds`: what else the machine does only ever adds. Each round times every mode once,
/// for about a millisecond of f32 work.
fn race(rounds: usize, mut one: [Box<dyn FnMut() + '_>; 3]) -> [f64; 3] {
    one.iter_mut().for_each(|f| (0..3).for_each(|_| f()));
    let begin = Instant::now();
    one[0]();
    let calls = ((1e-3 / begin.elapsed().as_secs_f64()) as usize).clamp(1, 200);
    let mut best = [f64::INFINITY; 3];
    for _ in 0..rounds {
        for (f, best) in one.iter_mut().zip(&mut best) {
            let begin = Instant::now();
            (0..calls).for_each(|_| f());
            *best = best.min(begin.elapsed().as_secs_f64() / calls as f64);
        }
    }
    best
}

/// Members, sizes and which factors are stored transposed.
type Form = (usize, [usize; 3], [bool; 2]);

const NN: [bool; 2] = [false, false];
const NT: [bool; 2] = [false, true];
const TN: [bool; 2] = [true, false];

/// The shapes of large updates: forwards, gradients of inputs, gradients of weights.
const FORMS: [Form; 21] = [
    (1, [256, 256, 256], NN),
    (1, [256, 256, 256], NT),
    (1, [256, 256, 256], TN),
    (1, [7936, 256, 256], NN),
    (1, [7936, 256, 256], NT),
    (1, [256, 7936, 256], TN),
    (7, [256, 200, 200], NN),
    (7, [256, 200, 200], NT),
    (7, [200, 256, 200], TN),
    (1, [512, 200, 200], NN),
    (1, [256, 23, 256], NN),
    (1, [23, 256, 256], TN),
    (7, [256, 200, 36], NN),
    (7, [256, 36, 200], NT),
    (7, [200, 256, 36], TN),
    (1, [256, 256, 12], NN),
    (1, [256, 12, 256], NT),
    (1, [256, 256, 12], TN),
    (1, [16, 256, 256], NN),
    (1, [64, 64, 64], NN),
    (1, [64, 64, 64], TN),
];

fn shapes((members, [m, k, n], [ta, tb]): Form) -> [Shape; 2] {
    let shape = |transposed, rows, cols| {
        if transposed { Shape::new(members, cols, rows) } else { Shape::new(members, rows, cols) }
    };
    [shape(ta, m, k), shape(tb, k, n)]
}

fn arena(precision: Precision) -> RefCell<Arena> {
    let mut arena = Arena::default();
    arena.set_precision(precision);
    RefCell::new(arena)
}

fn name((members, [m, k, n], [ta, tb]): Form) -> String {
    let letter = |t| if t { 'T' } else { 'N' };
    let stack = if members > 1 { format!("{members} × ") } else { String::new() };
    format!("{stack}{m}·{k}·{n} {}{}", letter(ta), letter(tb))
}

fn products() {
    println!(
        "\n| m·k·n | f32, µs | f32, GFLOP/s | split, times as fast | bf16, times as fast |\n|---|---|---|---|---|"
    );
    for form @ (members, [m, k, n], [ta, tb]) in FORMS {
        let shapes = shapes(form);
        let mut params = vec![0.0; shapes[0].len() + shapes[1].len()];
        Key::new(1).normal(&mut params);
        let arenas = MODES.map(arena);
        let [f32, split, bf16] = race(
            25,
            [0, 1, 2].map(|i| {
                let (arena, params) = (&arenas[i], &params);
                Box::new(move || {
                    let tape = Tape::over(params, arena);
                    let (a, b) = (tape.parameter(0, shapes[0]), tape.parameter(shapes[0].len(), shapes[1]));
                    a.matmul(b, ta, tb);
                }) as Box<dyn FnMut()>
            }),
        );
        let rate = 2.0 * (members * m * k * n) as f64 / f32 / 1e9;
        println!("| {} | {:.1} | {rate:.0} | {:.2} | {:.2} |", name(form), f32 * 1e6, f32 / split, f32 / bf16);
    }
}

fn updates() {
    println!("\n| update | f32, ms | split, times as fast | bf16, times as fast |\n|---|---|---|---|");
    let critics = |members, layers| move |p| Work::critics(members, layers, true, p, Key::new(2));
    let report = |name: &str, [f32, split, bf16]: [f64; 3]| {
        println!("| {name} | {:.2} | {:.2} | {:.2} |", f32 * 1e3, f32 / split, f32 / bf16);
    };
    let bootstrap = |work: &dyn Fn(Precision) -> Work, n: usize| {
        let (x, y) = rows(n, Key::new(3));
        let (next, reward) = (normal(n, OBS + ACT, Key::new(4)), reward(&y));
        let mut works = MODES.map(work);
        let [a, b, c] = &mut works;
        race(31, [a, b, c].map(|w| Box::new(|| w.bootstrap(&x, &reward, &next)) as Box<dyn FnMut() + '_>))
    };
    report("2 critics 23-256-256-1, 256 rows, with targets", bootstrap(&critics(2, 2), 256));
    report("2 critics 23-256-256-256-1, 256 rows, with targets", bootstrap(&critics(2, 3), 256));
    report("2 critics 23-256-256-256-1, 7,936 rows, with targets", bootstrap(&critics(2, 3), 7936));
    let (x, y) = rows(256, Key::new(5));
    let mut works = MODES.map(|p| Work::ensemble(p, Key::new(6)));
    let [a, b, c] = &mut works;
    let times = race(31, [a, b, c].map(|w| Box::new(|| _ = w.step(&x, &y)) as Box<dyn FnMut() + '_>));
    report("7 models 23-200-200-200-200-36, 256 rows", times);
    let x = normal(5000, OBS + ACT, Key::new(7));
    let [a, b, c] = &mut works;
    let times = race(15, [a, b, c].map(|w| Box::new(|| _ = w.predict(&x)) as Box<dyn FnMut() + '_>));
    report("the same, forwards only, 5,000 rows", times);
}

/// Root mean square and largest of `got − exact`, both relative to the root mean square of `exact`.
fn errors(got: &[f64], exact: &[f64]) -> (f64, f64) {
    let squares = |x: &mut dyn Iterator<Item = f64>| x.map(|v| v * v).sum::<f64>().sqrt();
    let norm = squares(&mut exact.iter().copied());
    let differences = || got.iter().zip(exact).map(|(a, b)| a - b);
    let worst = differences().fold(0.0f64, |w, d| w.max(d.abs()));
    (squares(&mut differences()) / norm, worst / norm * (exact.len() as f64).sqrt())
}

fn product_errors() {
    println!("\n| product of normal factors | f32 rms | f32 max | split rms | split max | bf16 rms | bf16 max |");
    println!("|---|---|---|---|---|---|---|");
    for form in [FORMS[0], FORMS[1], FORMS[2], (1, [512, 256, 256], NN), (1, [256, 7936, 256], TN), FORMS[10]] {
        let [a, b] = shapes(form);
        let (_, _, [ta, tb]) = form;
        let mut params = vec![0.0; a.len() + b.len()];
        Key::new(8).normal(&mut params);
        let wide = |x: &[Real], s: Shape, transposed: bool| {
            let x = x.iter().map(|&v| v as f64).collect();
            let x = Array2::from_shape_vec((s.rows, s.cols), x).expect("a matrix");
            if transposed { x.reversed_axes() } else { x }
        };
        let (left, right) = params.split_at(a.len());
        let exact: Vec<f64> = wide(left, a, ta).dot(&wide(right, b, tb)).iter().copied().collect();
        let cells: Vec<String> = MODES
            .map(|precision| {
                let arena = arena(precision);
                let tape = Tape::over(&params, &arena);
                let c = tape.parameter(0, a).matmul(tape.parameter(a.len(), b), ta, tb);
                let (rms, max) = errors(&c.read(|c| c.iter().map(|&v| v as f64).collect::<Vec<_>>()), &exact);
                format!("{rms:.1e} | {max:.1e}")
            })
            .into();
        println!("| {} | {} |", name(form), cells.join(" | "));
    }
}

/// Loss and gradient of a new net and of a trained one, against the reference.
fn update_errors() {
    println!("\n| update | precision | loss | gradient rms | gradient max | cosine − 1 |\n|---|---|---|---|---|---|");
    let (x, y) = rows(256, Key::new(9));
    let report = |name: &str, work: &dyn Fn(Precision) -> Work, of: &dyn Fn(&Array2<Real>) -> Array2<Real>| {
        let y = &of(&y);
        for steps in [0, 200] {
            // Trained once, in f32, so that all are asked about the same parameters.
            let mut trained = work(Precision::F32);
            for step in 0..steps {
                let (x, y) = rows(256, Key::new(14).fold(step));
                trained.step(&x, &of(&y));
            }
            let (loss, exact) = trained.reference(&x, y);
            for precision in MODES {
                trained.store.arena_mut().set_precision(precision);
                let (got, g) = trained.gradient(&x, y);
                let (rms, max) = errors(&g, &exact);
                let dot = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f64>();
                let cosine = dot(&g, &exact) / (dot(&g, &g) * dot(&exact, &exact)).sqrt();
                let off = (got - loss).abs() / loss.abs();
                let state = if steps == 0 { "new" } else { "trained" };
                println!(
                    "| {name}, {state} | {precision:?} | {off:.1e} | {rms:.1e} | {max:.1e} | {:.0e} |",
                    cosine - 1.0
                );
            }
        }
    };
    report("critic 23-256-256-1", &|p| Work::critics(1, 2, false, p, Key::new(10)), &reward);
    report("7 models 23-200-200-200-200-36", &|p| Work::ensemble(p, Key::new(11)), &Array2::clone);
}

/// The last column: rewards.
fn reward(y: &Array2<Real>) -> Array2<Real> {
    y.slice(ndarray::s![.., OBS..]).to_owned()
}

const SEEDS: u64 = 5;

fn curves() {
    println!(
        "\n| held-out loss, mean ± sd over {SEEDS} seeds | steps | f32 | split | bf16 | split − f32, paired | bf16 − f32, paired |"
    );
    println!("|---|---|---|---|---|---|---|");
    let (x, y) = rows(2048, Key::new(12));
    let (test_x, test_y) = rows(1024, Key::new(13));
    let draw = |key: Key, n: usize| -> Vec<usize> { (0..n).map(|i| key.below(2048, i)).collect() };
    let rows_of = |x: &Array2<Real>, at: &[usize]| x.select(ndarray::Axis(0), at);
    table("7 models, negative log-likelihood", &[50, 100, 200], |precision, key, steps| {
        let mut work = Work::ensemble(precision, key);
        let mut curve = vec![];
        for step in 1..=*steps.last().expect("steps") {
            let at = draw(key.fold(step as u64), 256);
            work.step(&rows_of(&x, &at), &rows_of(&y, &at));
            if steps.contains(&step) {
                curve.push(work.held_out(&test_x, &test_y));
            }
        }
        curve
    });
    // What follows a row is the row after it: a fixed policy in an environment without memory, whose value is E r / (1 − 0.9)
    // plus what the row itself tells.
    table("2 critics, bootstrapped, squared error to r + 0.9·E Q", &[100, 300, 1000], |precision, key, steps| {
        let mut work = Work::critics(2, 2, true, precision, key);
        let mut curve = vec![];
        let mean = reward(&y).mean().expect("rows");
        for step in 1..=*steps.last().expect("steps") {
            let at = draw(key.fold(step as u64), 256);
            let next: Vec<usize> = at.iter().map(|i| (i + 1) % 2048).collect();
            work.bootstrap(&rows_of(&x, &at), &reward(&rows_of(&y, &at)), &rows_of(&x, &next));
            if steps.contains(&step) {
                let q = reward(&test_y) + 0.9 * mean / 0.1;
                curve.push(work.held_out(&test_x, &q));
            }
        }
        curve
    });
}

fn table(name: &str, steps: &[usize], run: impl Fn(Precision, Key, &[usize]) -> Vec<f64>) {
    let runs = MODES.map(|p| (0..SEEDS).map(|seed| run(p, Key::new(100 + seed), steps)).collect::<Vec<_>>());
    let summary = |x: Vec<f64>| {
        let mean = x.iter().sum::<f64>() / x.len() as f64;
        let sd = (x.iter().map(|v| (v - mean).powi(2)).sum::<f64>() / (x.len() - 1) as f64).sqrt();
        format!("{mean:.4} ± {sd:.4}")
    };
    for (i, step) in steps.iter().enumerate() {
        let at = |mode: usize| runs[mode].iter().map(|r| r[i]).collect::<Vec<_>>();
        let paired = |mode: usize| at(mode).iter().zip(at(0)).map(|(a, b)| a - b).collect();
        println!(
            "| {name} | {step} | {} | {} | {} | {} | {} |",
            summary(at(0)),
            summary(at(1)),
            summary(at(2)),
            summary(paired(1)),
            summary(paired(2))
        );
    }
}
