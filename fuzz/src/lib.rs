//! Coverage-guided fuzzing of everything that reads bytes from outside.
//!
//! The rule for every target: whatever the bytes, the reader comes back, with a value or a typed error. It does not panic,
//! hang, or ask for more memory than four times what the bytes can stand for and a constant. Bytes behind deflate can
//! honestly stand for 1032 times as many ([`backcast_data::h5::MAX_RATIO`]), so that targets of formats with compression
//! count from there; libFuzzer's own limit on the whole process stands behind it.
//!
//! `cargo xtask fuzz TARGET` makes seeds, builds with instrumentation and runs. A crash becomes an ordinary test beside the
//! fix, in `crates/data/tests/crashes.rs`.

use backcast_data::{Dataset, Options};
use std::path::PathBuf;

/// Calls `read` and holds its memory to `factor · bytes + constant`.
pub fn bounded(bytes: usize, factor: u64, constant: u64, read: impl FnOnce()) {
    let counted = allocation_counter::measure(read);
    let most = factor * bytes as u64 + constant;
    assert!(
        counted.bytes_max <= most,
        "{} bytes of memory for {bytes} of input, {most} are allowed",
        counted.bytes_max
    );
}

/// `bytes` as a file, for readers that must have one: always the same, in memory where the system has such a place.
pub fn on_disk(name: &str, bytes: &[u8]) -> PathBuf {
    let memory = PathBuf::from("/dev/shm");
    let folder = if memory.is_dir() { memory } else { std::env::temp_dir() };
    let path = folder.join(format!("backcast-fuzz-{}-{name}", std::process::id()));
    std::fs::write(&path, bytes).expect("the place for files is writable");
    path
}

/// What anyone does with a dataset that could be read: it must survive that too.
pub fn use_dataset(dataset: &Dataset) {
    let _ = dataset.transitions(&Options::default());
    let _ = dataset.fingerprint();
    let _ = dataset.split(backcast_data::Split::Random { share: 0.5, seed: 1 });
}

/// libfuzzer-sys aborts in a hook at every panic, also at those that are caught. The HDF5 reader is called under
/// `catch_unwind` on purpose: only panics that come through are faults, and those still end the program.
pub fn only_uncaught_panics() {
    std::panic::set_hook(Box::new(|_| {}));
}
