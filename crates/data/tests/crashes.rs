//! Inputs that once broke a reader, as small as they could be made; found by `cargo xtask fuzz` or by reading the code.
#![allow(clippy::unnecessary_cast)] // `Real` is `f64` in some builds.

mod shared;

use backcast_core::Key;
use backcast_data::{Format, ReadOptions, WriteOptions, check, npz, read, write};
use shared::{Next, counters};
use std::io::Cursor;
use std::panic::catch_unwind;
use std::path::PathBuf;

/// Opens `bytes` as an npz; what matters is that it comes back, and with an error.
fn refused(bytes: &[u8]) -> String {
    let opened = npz::open_bytes("crash".as_ref(), Box::new(Cursor::new(bytes.to_vec())), bytes.len() as u64);
    opened.err().expect("a damaged archive").to_string()
}

#[test]
fn a_directory_that_lies_outside_of_the_archive_is_refused() {
    // An end of directory that places it at the last byte there could be.
    let mut end = b"PK\x05\x06\0\0\0\0\x01\0\x01\0".to_vec();
    end.extend([0x10, 0, 0, 0, 0xFE, 0xFF, 0xFF, 0xFF, 0, 0]);
    assert!(refused(&end).contains("are not there"));
    // The same with 64 bits, where sums would overflow.
    let mut wide = b"PK\x06\x06".to_vec();
    wide.resize(40, 0);
    wide.extend([0xFF; 16]);
    wide.extend(b"PK\x06\x07\0\0\0\0\0\0\0\0\0\0\0\0\x01\0\0\0");
    wide.extend(b"PK\x05\x06\0\0\0\0\xFF\xFF\xFF\xFF\xFF\xFF\xFF\xFF\xFF\xFF\xFF\xFF\0\0");
    assert!(refused(&wide).contains("are not there"));
    for length in 0..wide.len() {
        refused(&wide[..length]);
    }
}

/// Every file below `path`.
fn files(path: &PathBuf) -> Vec<PathBuf> {
    match path.is_dir() {
        true => std::fs::read_dir(path).unwrap().flat_map(|entry| files(&entry.unwrap().path())).collect(),
        false => vec![path.clone()],
    }
}

#[test]
fn flipped_and_missing_bytes_bring_no_format_down() {
    let directory = tempfile::tempdir().unwrap();
    let seed = 11;
    for format in Format::ALL {
        if format == Format::D4rl || format == Format::MinariArrow && !cfg!(feature = "arrow") {
            continue; // HDF5 has a test of its own.
        }
        let path = directory.path().join(format.name());
        write(&path, format, &counters(&[5, 4, 6], &[true, false, false], Next::True), &WriteOptions::default())
            .unwrap();
        let (mut refused, options) = (0, ReadOptions { format: Some(format), ..ReadOptions::default() });
        for file in files(&path) {
            let bytes = std::fs::read(&file).unwrap();
            for round in 0..60 {
                let (key, mut damaged) = (Key::new(seed).fold(round), bytes.clone());
                for flip in 0..1 + round as usize % 3 {
                    damaged[key.below(bytes.len(), 2 * flip)] ^= 1 << key.below(8, 2 * flip + 1);
                }
                if round % 5 == 0 {
                    damaged.truncate(key.below(bytes.len(), 9));
                }
                std::fs::write(&file, &damaged).unwrap();
                let tried = catch_unwind(|| (read(&path, &options).is_err(), check(&path).is_err()));
                refused += tried.unwrap_or_else(|_| panic!("{format}, seed {seed}, round {round}: a panic")).0 as usize;
            }
            std::fs::write(&file, &bytes).unwrap();
        }
        assert!(refused > 20, "{format}: only {refused} damaged files were refused");
    }
}
