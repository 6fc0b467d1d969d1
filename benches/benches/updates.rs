//! Benches that compare with their own last run: the parts of one net's step, what is drawn for an update, and one update
//! of each algorithm.
//!
//! `cargo xtask bench` runs them, `cargo xtask bench regressions td3bc` those whose name contains a word.
#![allow(missing_docs, reason = "the functions that criterion generates have none")]

use backcast::core::{Key, Source, Transitions, first_non_finite};
use backcast::nn::{Activation, Adam, Init, Mlp, Store};
use backcast_benches::{BATCH, LEARNERS, SHAPE, draw, imagined, learner, rows};
use criterion::{Criterion, criterion_group, criterion_main};
use ndarray::Array2;
use std::hint::black_box;

/// A critic, 23 → 256 → 256 → 1, on a batch of 256.
fn net(criterion: &mut Criterion) {
    let inputs = SHAPE.obs + SHAPE.act;
    let mut store = Store::default();
    let net = Mlp::new(&mut store, "net", &[inputs, 256, 256, 1], 1, Activation::Relu, Init::FanIn, Key::new(1));
    let mut numbers = vec![0.0; BATCH * inputs];
    Key::new(2).normal(&mut numbers);
    let x = Array2::from_shape_vec((BATCH, inputs), numbers).expect("as many numbers");
    let y = x.column(0).to_owned().insert_axis(ndarray::Axis(1));
    let mut group = criterion.benchmark_group("net 23-256-256-1, batch 256");
    group.bench_function("forward", |bencher| {
        bencher.iter(|| {
            let tape = store.tape();
            tape.no_grad(|tape| net.forward(tape.input(x.view()))).mean().item()
        });
    });
    let mut adam = Adam::new(net.range(), 3e-4);
    group.bench_function("forward, backward, Adam", |bencher| {
        bencher.iter(|| {
            adam.minimise(&mut store, |tape| (net.forward(tape.input(x.view())) - tape.input(y.view())).square().mean())
        });
    });
    group.finish();
}

/// One update, drawing its batch included.
fn updates(criterion: &mut Criterion) {
    let data = rows(100_000);
    let mut group = criterion.benchmark_group("update");
    for &name in LEARNERS {
        let (mut learner, batch) = learner(name).expect("an algorithm of this name");
        let mut staging = Transitions::with_capacity(SHAPE, batch).with_next_actions(true);
        let mut update = 0;
        group.bench_function(name, |bencher| {
            bencher.iter(|| {
                let key = Key::new(3).fold(update);
                update += 1;
                black_box(learner.update(draw(&data, key, batch, imagined(name), &mut staging), key))
            });
        });
    }
    group.finish();
}

/// What every update begins with: drawing 256 rows of a million and copying them; the noise that SAC's update draws.
fn draws(criterion: &mut Criterion) {
    let data = rows(1_000_000);
    let mut staging = Transitions::with_capacity(SHAPE, BATCH).with_next_actions(true);
    let mut group = criterion.benchmark_group("draws, batch 256");
    let mut step = 0;
    group.bench_function("rows", |bencher| {
        bencher.iter(|| {
            step += 1;
            black_box(data.sample(Key::new(3).fold(step), BATCH, &mut staging).len())
        });
    });
    let mut noise = vec![0.0; 2 * BATCH * SHAPE.act];
    group.bench_function("noise", |bencher| {
        bencher.iter(|| {
            step += 1;
            Key::new(3).fold(step).normal(&mut noise);
            black_box(noise[0])
        });
    });
    group.finish();
}

/// What an evaluation looks for: a parameter that is no longer a number.
fn guard(criterion: &mut Criterion) {
    let (mut learner, _) = learner("td3bc").expect("an algorithm of this name");
    let mut group = criterion.benchmark_group("guard");
    group.bench_function("td3bc", |bencher| bencher.iter(|| black_box(first_non_finite(&mut *learner))));
    group.finish();
}

/// Few samples: an update of some algorithms takes tens of milliseconds.
fn brief() -> Criterion {
    let (warm, time) = (std::time::Duration::from_millis(500), std::time::Duration::from_secs(2));
    Criterion::default().sample_size(20).warm_up_time(warm).measurement_time(time)
}

criterion_group!(name = all; config = brief(); targets = net, draws, guard, updates);
criterion_main!(all);
