//! Precisions of large products, seen from a net.
#![allow(clippy::print_stderr, reason = "a skipped test says so")]
#![cfg_attr(feature = "f64", allow(clippy::unnecessary_cast, reason = "`as f64` does something in single precision"))]

use backcast_core::{Key, Normal, Real};
use backcast_nn::{Activation, Init, Mlp, Precision, Store, amx_available};
use ndarray::Array2;

fn net(precision: Precision) -> (Store, Mlp, Array2<Real>) {
    let mut store = Store::default();
    store.arena_mut().set_precision(precision);
    let net = Mlp::new(&mut store, "net", &[30, 130, 130, 2], 3, Activation::Tanh, Init::FanIn, Key::new(2));
    (store, net, Key::new(1).array((200, 30), Normal::default()))
}

/// The outputs, the gradient of a loss and a second-order gradient, one after another.
fn run(precision: Precision) -> Vec<f64> {
    let (mut store, net, x) = net(precision);
    let tape = store.tape();
    let x = tape.input(x.view());
    let y = net.forward(x);
    let slope = tape.grad(y.square().mean(), x);
    let mut g = vec![0.0; net.range().len()];
    tape.grad_params(y.square().sum() + (slope * 1e3).square().sum(), net.range(), &mut g);
    y.read(|y| y.iter().chain(&g).map(|&v| v as f64).collect())
}

fn distance(a: &[f64], b: &[f64]) -> f64 {
    let norm = |x: &mut dyn Iterator<Item = f64>| x.map(|v| v * v).sum::<f64>().sqrt();
    norm(&mut a.iter().zip(b).map(|(a, b)| a - b)) / norm(&mut b.iter().copied())
}

/// Values and gradients, of gradients too, are as close to f32 as each precision promises, and no closer: it was used.
#[test]
fn gradients_are_as_close_as_promised() {
    let exact = run(Precision::F32);
    let [split, bf16] = [Precision::Split, Precision::Bf16].map(|p| distance(&run(p), &exact));
    if amx_available() {
        assert!(split > 1e-8 && split < 3e-5, "split: {split:e}");
        assert!(bf16 > 1e-4 && bf16 < 2e-2, "bf16: {bf16:e}");
    } else {
        eprintln!("SKIPPED: gradients_are_as_close_as_promised: this machine has no bf16 tiles (AMX); all is f32");
        assert_eq!((split, bf16), (0.0, 0.0));
    }
}

#[test]
fn f32_is_the_default_and_what_machines_without_tiles_fall_back_to() {
    let mut store = Store::default();
    assert_eq!(store.arena_mut().precision(), Precision::F32);
    store.arena_mut().set_precision(Precision::Split);
    let expected = if amx_available() { Precision::Split } else { Precision::F32 };
    assert_eq!(store.arena_mut().precision(), expected);
    assert_eq!(format!("{:?}", store.arena_mut()).contains("Split"), amx_available());
    store.arena_mut().set_precision(Precision::F32);
    assert_eq!(store.arena_mut().precision(), Precision::F32);
}

/// One member of a stack gets the same bits alone.
#[test]
fn a_member_alone_gives_the_same_bits() {
    for precision in [Precision::F32, Precision::Split, Precision::Bf16] {
        let (mut store, net, x) = net(precision);
        let all = store.tape();
        let all: Vec<Real> = net.forward(all.input(x.view())).read(|y| y.to_vec());
        for member in 0..3 {
            let tape = store.tape();
            net.forward_member(tape.input(x.view()), member)
                .read(|y| assert_eq!(y, &all[member * y.len()..][..y.len()], "{precision:?}, member {member}"));
        }
    }
}
