//! Datasets of several agents, from the arrays of an npz.
#![no_main]
use backcast_core::Key;
use backcast_data::h5::MAX_RATIO;
use backcast_data::{JointDataset, npz};
use backcast_fuzz::bounded;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let memory = std::io::Cursor::new(bytes.to_vec());
    bounded(bytes.len(), 4 * MAX_RATIO, 1 << 20, || {
        let Ok(file) = npz::open_bytes("npz".as_ref(), Box::new(memory), bytes.len() as u64) else { return };
        let Ok(dataset) = JointDataset::read_from(&*file, 3) else { return };
        let [some, rest] = dataset.split(0.5, Key::new(0));
        for episodes in [some, rest] {
            let _ = dataset.transitions(&episodes);
        }
    });
});
