//! Inputs that once broke a reader, as small as they could be made; found by `cargo xtask fuzz` or by reading the code.
#![allow(clippy::unnecessary_cast)] // `Real` is `f64` in some builds.

use backcast_data::npz;
use std::io::Cursor;

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
