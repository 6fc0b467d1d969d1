//! The same seed gives the same bits for any number of threads.
#![allow(clippy::print_stderr, reason = "a skipped test says so")]

use backcast_core::{Fingerprint, Key, Normal, State, fingerprint, under};
use backcast_nn::{Activation, Adam, Init, Mlp, Precision, Store, amx_available, polyak};

/// A few steps of nets large enough that products fork: 2·384·128·128 multiply–adds a layer.
fn train(precision: Precision, threads: usize, parallel: bool) -> Fingerprint {
    struct Run(Store, Adam);
    impl State for Run {
        fn visit(&mut self, f: &mut dyn FnMut(&str, backcast_core::Slot<'_>)) {
            under("store", &mut self.0, f);
            under("adam", &mut self.1, f);
        }
    }
    let (rows, hidden) = (384, 128);
    let x = Key::new(5).array((rows, 20), Normal::default());
    let mut store = Store::default();
    store.arena_mut().set_parallel(parallel);
    store.arena_mut().set_precision(precision);
    let net =
        Mlp::new(&mut store, "net", &[20, hidden, hidden, hidden, 1], 2, Activation::Relu, Init::FanIn, Key::new(6));
    let target = net.duplicate(&mut store, "target");
    let adam = Adam::new(net.range(), 1e-3);
    let mut run = Run(store, adam);
    let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().expect("a pool");
    pool.install(|| {
        for _ in 0..4 {
            run.1.minimise(&mut run.0, |tape| {
                let value = tape.no_grad(|tape| target.forward(tape.input(x.view())).min_members());
                let x = tape.input(x.view());
                let q = net.forward(x);
                let slope = tape.grad(q.sum(), x);
                (q - value * 0.99 - x.sum_cols()).square().mean() + (slope.norm_cols() - 1.0).square().mean()
            });
            polyak(&mut run.0, &target, &net, 0.01);
        }
    });
    fingerprint(&mut run)
}

#[test]
fn training_gives_the_same_bits_on_any_number_of_threads() {
    let exact = train(Precision::F32, 1, false);
    let tiles: &[Precision] = if amx_available() { &[Precision::Split, Precision::Bf16] } else { &[] };
    for &precision in [Precision::F32].iter().chain(tiles) {
        let alone = if precision == Precision::F32 { exact } else { train(precision, 1, false) };
        // Or the tiles were not used at all.
        assert_eq!(alone == exact, precision == Precision::F32, "{precision:?}");
        for threads in [1, 2, 4] {
            assert_eq!(train(precision, threads, true), alone, "{precision:?}, {threads} threads");
        }
    }
    if !amx_available() {
        eprintln!("SKIPPED: training_gives_the_same_bits_on_any_number_of_threads: in bf16, which this machine lacks");
    }
}
