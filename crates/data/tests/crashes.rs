//! Inputs that once broke a reader, as small as they could be made; found by `cargo xtask fuzz` or by reading the code.
#![allow(clippy::unnecessary_cast)] // `Real` is `f64` in some builds.

mod shared;

use backcast_core::Key;
use backcast_data::{DataError, Format, ReadOptions, WriteOptions, check, h5, npz, read, write};
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

#[test]
fn members_of_an_archive_that_share_bytes_are_refused() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("shared.npz");
    let mut file = npz::create(&path).unwrap();
    for name in ["first", "second"] {
        file.reals(name, &[100], &[0.5; 100]).unwrap();
    }
    file.finish().unwrap();
    let mut bytes = std::fs::read(&path).unwrap();
    let opens =
        |bytes: &[u8]| npz::open_bytes(&path, Box::new(Cursor::new(bytes.to_vec())), bytes.len() as u64).map(drop);
    opens(&bytes).unwrap();
    // The second record of the directory is made to lie where the first does, whose bytes and checksum are the same.
    let at = bytes.windows(4).rposition(|word| word == b"PK\x01\x02").unwrap();
    bytes[at + 42..at + 46].fill(0);
    let error = opens(&bytes).unwrap_err().to_string();
    assert!(error.contains("`second`") && error.contains("share"), "{error}");
}

#[test]
fn one_dataset_under_many_names_is_counted_as_often_as_it_is_read() {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/links_many.h5");
    let length = std::fs::metadata(&path).unwrap().len();
    match read(&path, &ReadOptions::default()).map(|dataset| dataset.infos().len()) {
        Err(DataError::TooLarge { declared, limit, .. }) => {
            assert!(declared > limit as u128 && limit == length * h5::MAX_RATIO)
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn categories_are_not_spread_over_more_memory_than_the_file_can_stand_for() {
    let directory = tempfile::tempdir().unwrap();
    let folder = directory.path().join("set/data");
    std::fs::create_dir_all(&folder).unwrap();
    let mut file = h5::create(&folder.join("main_data.hdf5")).unwrap();
    file.reals("episode_0/observations", &[201, 64], &vec![0.0; 201 * 64]).unwrap();
    file.reals("episode_0/actions", &[200, 1], &[0.0; 200]).unwrap();
    file.reals("episode_0/rewards", &[200], &[0.0; 200]).unwrap();
    ["terminations", "truncations"]
        .iter()
        .for_each(|flag| file.flags(&format!("episode_0/{flag}"), &[false; 200]).unwrap());
    file.finish().unwrap();
    let space = |categories: usize| format!("{{\"type\": \"MultiDiscrete\", \"nvec\": {:?}}}", vec![categories; 64]);
    let load = |categories: usize| {
        let metadata = serde_json::json!({ "total_episodes": 1, "observation_space": space(categories) });
        std::fs::write(folder.join("metadata.json"), metadata.to_string()).unwrap();
        read(&directory.path().join("set"), &ReadOptions::default())
    };
    assert_eq!(load(4).unwrap().widths(), [256, 1]);
    match load(1024).map(|dataset| dataset.widths()) {
        Err(DataError::TooLarge { dataset, .. }) => assert_eq!(dataset, "episode_0/observations"),
        other => panic!("{other:?}"),
    }
}

#[test]
fn the_bombs_that_were_reported_are_refused() {
    let test = "the_bombs_that_were_reported_are_refused";
    for name in ["amplify_hardlinks.hdf5", "bomb_overlap_2000x1M.npz", "onehot_minari"] {
        let Some(path) = shared::recorded(test, &format!("../cases/hostile/{name}")) else { return };
        let mut found = None;
        let counted = allocation_counter::measure(|| {
            found = Some(read(&path, &ReadOptions::default()).map(|dataset| dataset.len()))
        });
        assert!(matches!(found, Some(Err(_))), "{name}: {found:?}");
        assert!(counted.bytes_max < 700 << 20, "{name}: {} bytes", counted.bytes_max);
    }
}
