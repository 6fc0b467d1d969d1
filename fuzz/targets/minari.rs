//! Minari: two bytes say how many of the others are `metadata.json`, the rest is the main file.
#![no_main]
use backcast_data::h5::{self, MAX_RATIO};
use backcast_data::minari;
use backcast_fuzz::{bounded, on_disk, only_uncaught_panics, use_dataset};
use libfuzzer_sys::fuzz_target;

fuzz_target!(init: only_uncaught_panics(), |bytes: &[u8]| {
    let Some((length, rest)) = bytes.split_first_chunk() else { return };
    let Some((metadata, main)) = rest.split_at_checked(u16::from_le_bytes(*length) as usize) else { return };
    let path = on_disk("minari.hdf5", main);
    bounded(bytes.len(), 4 * MAX_RATIO, 4 << 20, || {
        let Ok(file) = h5::open(&path) else { return };
        if let Ok(dataset) = minari::read_parts(&*file, metadata) {
            use_dataset(&dataset);
        }
    });
});
