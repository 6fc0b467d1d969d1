//! Files that were not copied whole, or that have holes: an error, or exactly what the whole file says. Never zeros.
//!
//! The files come from `fixtures/layouts.py`: one dataset in every way that HDF5 has of storing rows.
#![allow(clippy::unnecessary_cast)] // `Real` is `f64` in some builds.

mod shared;

use backcast_core::{Key, Real};
use backcast_data::{DataError, Dataset, check, d4rl};
use std::path::{Path, PathBuf};

/// What the blocks of an HDF5 file begin with.
const SIGNATURES: [&[u8; 4]; 17] = [
    b"TREE", b"SNOD", b"HEAP", b"OHDR", b"OCHK", b"FRHP", b"FHDB", b"FHIB", b"FAHD", b"FADB", b"EAHD", b"EAIB",
    b"EADB", b"EASB", b"BTHD", b"BTLF", b"BTIN",
];

fn fixtures(beginning: &str) -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures");
    let named = |path: &PathBuf| path.file_name().is_some_and(|name| name.to_string_lossy().starts_with(beginning));
    let mut paths: Vec<PathBuf> = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.retain(|path| named(path) && path.extension().is_some_and(|extension| extension == "h5"));
    paths.sort();
    paths
}

/// A seed of its own for each file, printed where a test fails.
fn key(path: &Path) -> (u64, Key) {
    let name = path.file_name().unwrap().to_string_lossy().into_owned();
    let seed = name.bytes().fold(20, |seed: u64, byte| seed.wrapping_mul(31).wrapping_add(byte as u64));
    (seed, Key::new(seed))
}

/// Where blocks begin, and the places just before and after.
fn boundaries(bytes: &[u8]) -> Vec<usize> {
    let begins = |at: &usize| SIGNATURES.iter().any(|signature| bytes[*at..].starts_with(&signature[..]));
    (0..bytes.len()).filter(begins).flat_map(|at| [at.saturating_sub(1), at, at + 1, at + 4, at + 8]).collect()
}

/// Whether `bytes` are refused. If they are not, they must be read as the whole file is.
fn refused(path: &Path, bytes: &[u8], whole: &Dataset, what: &str) -> Option<DataError> {
    std::fs::write(path, bytes).unwrap();
    match d4rl::read(path) {
        Err(error) => {
            assert!(!check::check(path).is_ok_and(|check| check.passed()), "{what}: passed");
            assert!(!error.to_string().contains("panicked"), "{what}: {error}");
            Some(error)
        }
        Ok(dataset) => {
            assert!(dataset.from_origin(whole.origin()) == *whole, "{what}: read as something else");
            None
        }
    }
}

#[test]
fn every_layout_is_read_to_the_last_row() {
    let files = fixtures("layout_");
    assert!(files.len() >= 12, "only {} layouts", files.len());
    for path in files {
        let dataset = d4rl::read(&path).unwrap_or_else(|error| panic!("{error}"));
        assert_eq!(dataset.widths(), [3, 2], "{}", path.display());
        for t in 0..dataset.len() {
            let (row, x) = (dataset.row(t), t as Real);
            assert_eq!(row.obs, [x, x + 0.125, x + 0.25], "{}, row {t}", path.display());
            assert_eq!(
                (row.act[1], row.reward),
                (((t % 5) as Real - 2.0) / 4.0, x / 2.0),
                "{}, row {t}",
                path.display()
            );
            assert_eq!((row.terminal, row.truncated), (t % 40 == 19, t % 40 == 39), "{}, row {t}", path.display());
        }
    }
}

#[test]
fn a_file_cut_anywhere_is_an_error_that_names_both_lengths() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("cut.hdf5");
    for source in fixtures("layout_") {
        let (bytes, whole) = (std::fs::read(&source).unwrap(), d4rl::read(&source).unwrap());
        let (seed, key) = key(&source);
        let random = (0..200).map(|i| key.below(bytes.len(), i));
        for length in boundaries(&bytes).into_iter().filter(|at| *at < bytes.len()).chain(random) {
            let what = format!("{}, seed {seed}, cut to {length} of {}", source.display(), bytes.len());
            let error = refused(&path, &bytes[..length], &whole, &what);
            // As long as the superblock is there, it says what is missing.
            if length >= 1024 {
                let error = error.unwrap_or_else(|| panic!("{what}: read"));
                let DataError::Cut { bytes: found, declared, .. } = error else { panic!("{what}: {error}") };
                assert_eq!((found, declared), (length as u64, bytes.len() as u64), "{what}");
                let said = format!("the file ends at byte {length}, and its superblock says {}", bytes.len());
                assert!(error.to_string().contains(&said), "{what}: {error}");
            }
        }
    }
}

#[test]
fn what_follows_the_last_byte_of_hdf5_is_nobodys_business() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("longer.hdf5");
    for source in fixtures("layout_") {
        let (mut bytes, whole) = (std::fs::read(&source).unwrap(), d4rl::read(&source).unwrap());
        bytes.extend([7; 100]);
        let error = refused(&path, &bytes, &whole, "longer");
        assert!(error.is_none(), "{}: {error:?}", source.display());
    }
}

#[test]
fn a_file_put_behind_something_else_still_ends_where_it_ends() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("moved.hdf5");
    let source = fixtures("layout_btree1_gzip").remove(0);
    let whole = d4rl::read(&source).unwrap();
    let bytes = [vec![b'#'; 1024], std::fs::read(&source).unwrap()].concat();
    assert!(refused(&path, &bytes, &whole, "moved").is_none());
    let error = refused(&path, &bytes[..bytes.len() - 1], &whole, "moved and cut");
    let Some(DataError::Cut { bytes: found, declared, .. }) = error else { panic!("{error:?}") };
    assert_eq!((found + 1, declared), (bytes.len() as u64, bytes.len() as u64));
}

/// A download that reserved its room first, and stopped: the right length, and zeros from somewhere on, or in the middle.
#[test]
fn zeros_in_the_place_of_what_never_came_are_an_error_where_the_file_can_tell() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("hole.hdf5");
    // Rows behind a filter that notices, and blocks with sums or magic words in front of them.
    let sources: Vec<_> = ["gzip", "lzf"]
        .iter()
        .flat_map(|filter| fixtures("layout_").into_iter().filter(move |path| path.to_string_lossy().contains(filter)))
        .collect();
    assert!(sources.len() >= 6);
    for source in sources {
        let (bytes, whole) = (std::fs::read(&source).unwrap(), d4rl::read(&source).unwrap());
        let (seed, key) = key(&source);
        let mut noticed = 0;
        let tails = boundaries(&bytes)
            .into_iter()
            .chain((0..60).map(|i| key.below(bytes.len(), i)))
            .map(|from| (from, bytes.len()));
        let middles = (0..60).map(|i| {
            let from = key.below(bytes.len(), 1000 + i);
            (from, (from + 512).min(bytes.len()))
        });
        for (from, to) in tails.chain(middles) {
            let mut hollow = bytes.clone();
            hollow[from..to].fill(0);
            let what = format!("{}, seed {seed}, zeros from {from} to {to} of {}", source.display(), bytes.len());
            noticed += refused(&path, &hollow, &whole, &what).is_some() as usize;
        }
        assert!(noticed > 60, "{}: only {noticed} holes were noticed", source.display());
    }
}

#[test]
fn rows_that_were_never_written_are_missing_and_not_zero() {
    let files = fixtures("gap_");
    assert_eq!(files.len(), 6);
    for path in files {
        let name = path.file_stem().unwrap().to_string_lossy().into_owned();
        let error = d4rl::read(&path).map(|dataset| dataset.row(13).obs.to_vec()).expect_err(&name);
        let DataError::Incomplete { dataset, found, expected, row, .. } = &error else { panic!("{name}: {error}") };
        let parts = match &name[..] {
            "gap_single" | "gap_contiguous" => (0, 1, 0),
            _ => (18, 20, 12),
        };
        assert_eq!((&dataset[..], (*found, *expected, *row)), ("observations", parts), "{error}");
        assert!(!check::check(&path).unwrap().passed());
    }
}

/// The same cuts and holes with chunks found by other means: no two pieces of a dataset may share bytes.
#[test]
fn chunks_that_share_bytes_or_lie_beyond_the_end_are_refused() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("shared.hdf5");
    let source = fixtures("layout_btree1_userblock").remove(0);
    let (bytes, whole) = (std::fs::read(&source).unwrap(), d4rl::read(&source).unwrap());
    // The leaves of the tree of the observations: 48 bytes of key and address for chunks of two coordinates.
    let at = (0..bytes.len())
        .filter(|&at| bytes[at..].starts_with(b"TREE\x01\x00"))
        .max_by_key(|&at| bytes[at + 6])
        .unwrap();
    let address = |i: usize| at + 24 + i * 40 + 32;
    let word = |bytes: &[u8], at: usize| u64::from_le_bytes(bytes[at..at + 8].try_into().unwrap());
    assert!(word(&bytes, address(0)) < word(&bytes, address(1)) && word(&bytes, address(1)) < bytes.len() as u64);

    let mut twice = bytes.clone();
    twice.copy_within(address(0)..address(0) + 8, address(1));
    let error = refused(&path, &twice, &whole, "twice").unwrap();
    assert!(error.to_string().contains("`observations`") && error.to_string().contains("share"), "{error}");

    let mut beyond = bytes.clone();
    beyond[address(3)..address(3) + 8].copy_from_slice(&(bytes.len() as u64 - 500).to_le_bytes());
    let error = refused(&path, &beyond, &whole, "beyond").unwrap();
    assert!(error.to_string().contains("`observations`") && error.to_string().contains("ends at"), "{error}");
}

#[test]
fn a_contiguous_dataset_that_reaches_beyond_the_end_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("beyond.hdf5");
    let source = fixtures("layout_contiguous").remove(0);
    let (mut bytes, whole) = (std::fs::read(&source).unwrap(), d4rl::read(&source).unwrap());
    // The layout message of the observations: version 3, contiguous, an address, and 100 × 3 × 4 bytes.
    let size = 1200u64.to_le_bytes();
    let at = (10..bytes.len()).find(|&at| bytes[at..].starts_with(&size) && bytes[at - 10..at - 8] == [3, 1]).unwrap();
    let address = bytes.len() as u64 - 600;
    bytes[at - 8..at].copy_from_slice(&address.to_le_bytes());
    let error = refused(&path, &bytes, &whole, "beyond").unwrap();
    assert!(error.to_string().contains("`observations`") && error.to_string().contains("ends at"), "{error}");
}

/// An object that is linked and cannot be read is not one that is not there: cuts would be lost without a word.
#[test]
fn an_array_whose_description_is_gone_is_an_error_and_not_absent() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("headless.hdf5");
    for (source, header) in [("layout_single_gzip", &b"OHDR"[..]), ("layout_btree1_gzip", b"\x01\0")] {
        let source = fixtures(source).remove(0);
        let (bytes, whole) = (std::fs::read(&source).unwrap(), d4rl::read(&source).unwrap());
        let mut lost = 0;
        for at in
            (96..bytes.len() - 64).filter(|&at| bytes[at..].starts_with(header) && (header.len() == 4 || at % 8 == 0))
        {
            let mut headless = bytes.clone();
            headless[at..at + 16].fill(0);
            let what = format!("{}, without the header at {at}", source.display());
            lost += refused(&path, &headless, &whole, &what).is_some() as usize;
        }
        assert!(lost >= 5, "{}: only {lost} headers", source.display());
    }
}

#[test]
fn half_a_file_of_a_download_is_refused() {
    let test = "half_a_file_of_a_download_is_refused";
    let Some(path) = shared::recorded(test, "../cases/hostile/truncated_at_50pct_all_obs_zero.hdf5") else { return };
    let error = d4rl::read(&path).unwrap_err();
    assert!(matches!(error, DataError::Cut { bytes: 97_629, declared: 195_258, .. }), "{error}");
}

#[test]
fn flipped_bytes_in_any_layout_are_survived() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("flipped.hdf5");
    for source in fixtures("layout_") {
        let bytes = std::fs::read(&source).unwrap();
        let (seed, key) = key(&source);
        let structure = boundaries(&bytes);
        for round in 0..120 {
            let (key, mut damaged) = (key.name("flip").fold(round), bytes.clone());
            // Half of the damage goes to where blocks begin, and to the numbers that follow.
            for flip in 0..1 + key.below(3, 0) {
                let key = key.fold(1 + flip as u64);
                let at = match structure.is_empty() || flip % 2 == 1 {
                    true => key.below(bytes.len(), 0),
                    false => (structure[key.below(structure.len(), 0)] + key.below(64, 1)).min(bytes.len() - 1),
                };
                damaged[at] = [0xFF, 0, damaged[at] ^ 1 << key.below(8, 2), key.below(256, 3) as u8][key.below(4, 4)];
            }
            std::fs::write(&path, &damaged).unwrap();
            let what = format!("{}, seed {seed}, round {round}", source.display());
            let mut found = None;
            let counted = allocation_counter::measure(|| found = Some(std::panic::catch_unwind(|| d4rl::read(&path))));
            let result = found.unwrap().unwrap_or_else(|_| panic!("{what}: a panic"));
            assert!(counted.bytes_max < 64 * bytes.len() as u64 + (4 << 20), "{what}: {} bytes", counted.bytes_max);
            if let Err(error) = result {
                assert!(error.file() == path && !error.to_string().contains("panicked"), "{what}: {error}");
            }
        }
    }
}
