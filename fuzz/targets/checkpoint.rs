//! Checkpoints: safetensors into a store of parameters.
#![no_main]
use backcast_core::Key;
use backcast_fuzz::{bounded, on_disk};
use backcast_nn::{Activation, Init, Mlp, Store};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let path = on_disk("checkpoint.safetensors", bytes);
    let mut store = Store::default();
    let _net = Mlp::new(&mut store, "net", &[3, 2, 1], 1, Activation::Relu, Init::FanIn, Key::new(0));
    bounded(bytes.len(), 4, 1 << 20, || drop(backcast_storage::load(&mut store, &path)));
});
