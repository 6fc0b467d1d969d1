//! Column files: a dataset from memory, and transitions from a map. Nothing is compressed, so four times the bytes is the limit.
#![no_main]
use backcast_core::{Transitions, Key, Source};
use backcast_data::d4rl;
use backcast_data::store::{self, Stored};
use backcast_fuzz::{bounded, on_disk, use_dataset};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let memory = std::io::Cursor::new(bytes.to_vec());
    bounded(bytes.len(), 4, 1 << 20, || {
        if let Ok(file) = store::open_bytes("columns".as_ref(), Box::new(memory), bytes.len() as u64)
            && let Ok(dataset) = d4rl::read_from(&*file)
        {
            use_dataset(&dataset);
        }
    });
    let path = on_disk("columns", bytes);
    bounded(bytes.len(), 4, 1 << 20, || {
        let Ok(stored) = Stored::open(&path) else { return };
        let _ = stored.verify();
        if !stored.is_empty() && stored.spec().obs + stored.spec().act < 1 << 10 {
            let mut staging = Transitions::new(stored.spec()).with_next_actions(stored.next_actions().is_some());
            let _ = stored.sample(Key::new(0), 2, &mut staging);
        }
    });
});
