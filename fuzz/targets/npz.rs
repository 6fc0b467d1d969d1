//! npz: the zip directory, the heads of its members, and the three layouts over them.
#![no_main]
use backcast_data::h5::MAX_RATIO;
use backcast_data::{d4rl, neorl, npz, trajectories};
use backcast_fuzz::{bounded, use_dataset};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let memory = std::io::Cursor::new(bytes.to_vec());
    bounded(bytes.len(), 4 * MAX_RATIO, 1 << 20, || {
        let Ok(file) = npz::open_bytes("npz".as_ref(), Box::new(memory), bytes.len() as u64) else { return };
        for read in [d4rl::read_from, neorl::read_from, trajectories::read_from] {
            if let Ok(dataset) = read(&*file) {
                use_dataset(&dataset);
            }
        }
    });
});
