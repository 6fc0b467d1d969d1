//! D4RL's HDF5: the layout, and under it the HDF5 reader behind its guards.
#![no_main]
use backcast_data::h5::MAX_RATIO;
use backcast_fuzz::{bounded, on_disk, only_uncaught_panics, use_dataset};
use libfuzzer_sys::fuzz_target;

fuzz_target!(init: only_uncaught_panics(), |bytes: &[u8]| {
    let path = on_disk("d4rl.hdf5", bytes);
    bounded(bytes.len(), 4 * MAX_RATIO, 4 << 20, || {
        if let Ok(dataset) = backcast_data::d4rl::read(&path) {
            use_dataset(&dataset);
        }
    });
});
