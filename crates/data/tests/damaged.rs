//! Files that are cut short, flipped, of the wrong shape or of the wrong type: an error that names them, never a panic, a
//! hang or a request for absurd amounts of memory. Also files of other writers, which must simply be read.
#![allow(clippy::unnecessary_cast)] // `Real` is `f64` in some builds.

mod shared;

use backcast_core::{Key, Normal, Real};
use backcast_data::{DataError, Dataset, End, check, d4rl, h5};
use rust_hdf5::H5File;
use shared::{Next, counters};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};

fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures").join(name)
}

/// A valid file of ours, with everything in it.
fn ours(directory: &Path) -> PathBuf {
    let path = directory.join("ours.hdf5");
    let mut dataset = counters(&[40, 30, 50], &[true, false, false], Next::True);
    let rows = dataset.len();
    dataset.push_info("qpos", 2, (0..2 * rows).map(|i| (i as Real).sin()).collect());
    d4rl::write(&path, &dataset).unwrap();
    path
}

/// Reads `path` in every way there is. What matters is that it comes back.
fn try_everything(path: &Path, what: &str) -> Result<Dataset, DataError> {
    let length = std::fs::metadata(path).unwrap().len();
    let mut result = None;
    let counted = allocation_counter::measure(|| {
        let read = || {
            // A finding or an error, either is an answer.
            let _ = check::show(path);
            let _ = check::check(path);
            d4rl::read(path)
        };
        result = Some(catch_unwind(AssertUnwindSafe(read)).unwrap_or_else(|_| panic!("{what}: a panic")));
    });
    assert!(counted.bytes_max < 64 * length + (4 << 20), "{what}: {} bytes for a file of {length}", counted.bytes_max);
    let result = result.unwrap();
    if let Err(error) = &result {
        assert_eq!(error.file(), path, "{what}");
        assert!(!error.to_string().contains("panicked"), "{what}: {error}");
        assert!(error.to_string().contains(&path.display().to_string()), "{what}: {error}");
    }
    result
}

#[test]
fn files_written_by_h5py_are_read_whatever_their_element_types() {
    for name in ["h5py_plain.h5", "h5py_odd.h5"] {
        let dataset = try_everything(&fixture(name), name).unwrap();
        assert_eq!((dataset.len(), dataset.widths(), dataset.has_next_obs()), (60, [3, 2], name == "h5py_plain.h5"));
        let reward = |t: usize| if name == "h5py_plain.h5" { t as Real / 2.0 } else { 2.0 * t as Real };
        for t in 0..60 {
            let (row, x) = (dataset.row(t), t as Real);
            assert_eq!(row.obs, [x, x + 0.125, x + 0.25], "{name}, row {t}");
            assert_eq!(row.act, [((t % 5) as Real - 2.0) / 4.0; 2], "{name}, row {t}");
            assert_eq!(row.reward, reward(t), "{name}, row {t}");
            assert!(row.next_obs.is_none_or(|next| next == [x + 1.0, x + 1.125, x + 1.25]), "{name}, row {t}");
        }
        let ends: Vec<_> = dataset.episodes().iter().map(|e| (e.rows, e.end)).collect();
        assert_eq!(ends, [(20, End::Terminal), (20, End::Truncated), (20, End::Truncated)], "{name}");
        let infos: Vec<_> = dataset.infos().iter().map(|info| (info.name.as_str(), info.width)).collect();
        assert_eq!(infos, if name == "h5py_plain.h5" { vec![("qpos", 2)] } else { vec![] });
    }
}

#[test]
fn a_file_cut_short_anywhere_is_an_error() {
    let directory = tempfile::tempdir().unwrap();
    for source in [ours(directory.path()), fixture("h5py_plain.h5"), fixture("h5py_odd.h5")] {
        let (bytes, path) = (std::fs::read(&source).unwrap(), directory.path().join("cut.hdf5"));
        let whole = d4rl::read(&source).unwrap();
        for length in (0..40).map(|i| bytes.len() * i / 40).chain([1, 7, 8, 9, bytes.len() - 1]) {
            std::fs::write(&path, &bytes[..length]).unwrap();
            let what = format!("{} cut to {length} of {}", source.display(), bytes.len());
            // A writer may leave padding at the end: then nothing is missing, and nothing may differ.
            if let Ok(dataset) = try_everything(&path, &what) {
                assert!(dataset.from_origin(&source) == whole, "{what}: read as something else");
            }
        }
    }
}

#[test]
fn flipped_bytes_never_bring_the_reader_down() {
    let directory = tempfile::tempdir().unwrap();
    for source in [ours(directory.path()), fixture("h5py_plain.h5"), fixture("h5py_odd.h5")] {
        let (bytes, path) = (std::fs::read(&source).unwrap(), directory.path().join("flipped.hdf5"));
        let mut errors = 0;
        // The last four make element sizes near 2³², which the library's own description of a type cannot multiply by 8.
        for seed in (0..200).chain([3585, 5277, 6506, 6680]) {
            let key = Key::new(seed).name("flip");
            let mut damaged = bytes.clone();
            for flip in 0..1 + key.below(4, 0) {
                // Half of the damage goes to the first kilobytes, where the structure of the file is.
                let reach = if flip % 2 == 0 { bytes.len().min(2048) } else { bytes.len() };
                let at = key.fold(flip as u64).below(reach, 0);
                damaged[at] = match key.fold(flip as u64).below(3, 1) {
                    0 => 0xFF,
                    1 => damaged[at] ^ 1 << key.fold(flip as u64).below(8, 2),
                    _ => key.fold(flip as u64).below(256, 3) as u8,
                };
            }
            std::fs::write(&path, &damaged).unwrap();
            errors += try_everything(&path, &format!("{}, seed {seed}", source.display())).is_err() as usize;
        }
        assert!(errors > 20, "{}: only {errors} of 204 damaged files were refused", source.display());
    }
}

/// A file whose datasets `change` may replace before they are written: `(name, shape, values)`.
fn with(path: &Path, change: &str, shape: &[usize]) {
    let file = H5File::create(path).unwrap();
    for (name, usual) in [
        ("observations", vec![6, 3]),
        ("actions", vec![6, 2]),
        ("rewards", vec![6]),
        ("terminals", vec![6]),
        ("timeouts", vec![6]),
        ("next_observations", vec![6, 3]),
    ] {
        let shape = if name == change { shape.to_vec() } else { usual };
        let dataset = file.new_dataset::<f32>().shape(&shape).create(name).unwrap();
        dataset.write_raw(&vec![0.0f32; shape.iter().product()]).unwrap();
    }
    file.close().unwrap();
}

#[test]
fn a_wrong_shape_names_the_dataset_and_both_shapes() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("shape.hdf5");
    with(&path, "", &[]);
    assert_eq!(try_everything(&path, "the usual shapes").unwrap().len(), 6);
    for (dataset, shape) in [
        ("observations", &[6][..]),
        ("observations", &[6, 3, 2]),
        ("observations", &[7, 3]),
        ("actions", &[5, 2]),
        ("actions", &[6]),
        ("rewards", &[7]),
        ("rewards", &[6, 2]),
        ("terminals", &[5]),
        ("timeouts", &[6, 6]),
        ("next_observations", &[6, 4]),
        ("next_observations", &[5, 3]),
    ] {
        with(&path, dataset, shape);
        match try_everything(&path, dataset).unwrap_err() {
            // Rows are counted against the observations: when those are wrong, the next dataset is the one that differs.
            DataError::Shape { dataset: named, .. } if shape == [7, 3] => assert_eq!(named, "actions"),
            DataError::Shape { dataset: named, found, .. } => assert_eq!((&named[..], &found[..]), (dataset, shape)),
            other => panic!("{dataset} {shape:?}: {other}"),
        }
    }
}

#[test]
fn a_wrong_type_a_wrong_flag_and_a_missing_dataset_are_named() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("type.hdf5");
    let build = |skip: &str, extra: &dyn Fn(&H5File)| {
        let file = H5File::create(&path).unwrap();
        for (name, shape) in
            [("observations", &[2, 1][..]), ("actions", &[2, 1]), ("rewards", &[2]), ("terminals", &[2])]
        {
            if name != skip {
                let dataset = file.new_dataset::<f32>().shape(shape).create(name).unwrap();
                dataset.write_raw(&[0.0f32, 1.0]).unwrap();
            }
        }
        extra(&file);
        file.close().unwrap();
        try_everything(&path, skip)
    };
    assert_eq!(build("", &|_| ()).unwrap().len(), 2);
    for name in ["observations", "actions", "rewards", "terminals"] {
        match build(name, &|_| ()).unwrap_err() {
            DataError::Missing { dataset, .. } => assert_eq!(dataset, name),
            other => panic!("{name}: {other}"),
        }
    }
    let words = |file: &H5File| drop(file.write_vlen_strings("rewards", &["one", "two"]).unwrap());
    match build("rewards", &words).unwrap_err() {
        DataError::Kind { dataset, .. } => assert_eq!(dataset, "rewards"),
        other => panic!("{other}"),
    }
    let half = |file: &H5File| {
        let dataset = file.new_dataset::<f32>().shape([2]).create("terminals").unwrap();
        dataset.write_raw(&[1.0f32, 0.5]).unwrap();
    };
    match build("terminals", &half).unwrap_err() {
        DataError::Value { dataset, row: 1, value, .. } => assert_eq!((&dataset[..], value), ("terminals", 0.5)),
        other => panic!("{other}"),
    }
}

#[test]
fn a_dataset_that_cannot_fit_its_file_is_refused_before_memory_is_asked_for() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("bomb.hdf5");
    let file = H5File::create(&path).unwrap();
    for (name, shape) in [("observations", &[1 << 33, 64][..]), ("actions", &[1 << 33, 2])] {
        file.new_dataset::<f32>().shape(shape).resizable().chunk(&[1024, shape[1]]).deflate(6).create(name).unwrap();
    }
    for name in ["rewards", "terminals"] {
        file.new_dataset::<f32>().shape([1 << 33]).resizable().chunk(&[1024]).deflate(6).create(name).unwrap();
    }
    file.close().unwrap();
    match try_everything(&path, "a file that declares two terabytes").unwrap_err() {
        DataError::TooLarge { dataset, declared, limit, .. } => {
            assert_eq!((&dataset[..], declared), ("observations", 1 << 41));
            assert!(limit < 1 << 30);
        }
        other => panic!("{other}"),
    }
}

#[test]
fn damage_inside_the_data_names_the_first_row_that_cannot_be_read() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("chunk.hdf5");
    let file = H5File::create(&path).unwrap();
    // Noise does not compress: the second half of the file is the second half of the rows.
    let noise = Key::new(1).array((1000, 8), Normal::default()).mapv(f64::from);
    let dataset =
        file.new_dataset::<f64>().shape([1000, 8]).chunk(&[100, 8]).deflate(6).create("observations").unwrap();
    dataset.write_raw(noise.as_slice().expect("rows side by side")).unwrap();
    file.close().unwrap();
    let mut bytes = std::fs::read(&path).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle..middle + 64].fill(0xA5);
    std::fs::write(&path, &bytes).unwrap();
    match h5::open(&path).unwrap().reals("observations").unwrap_err() {
        DataError::Damaged { dataset, row: Some(row), .. } => {
            assert_eq!(dataset, "observations");
            assert!(row % 100 == 0 && (300..700).contains(&row), "{row}");
        }
        other => panic!("{other}"),
    }
}

#[test]
fn what_is_not_a_file_and_what_is_not_there_are_errors() {
    let directory = tempfile::tempdir().unwrap();
    assert!(matches!(d4rl::read(directory.path()), Err(DataError::Format { .. })));
    assert!(matches!(d4rl::read(&directory.path().join("absent.hdf5")), Err(DataError::Io { .. })));
    let text = directory.path().join("text.hdf5");
    std::fs::write(&text, "version https://git-lfs.github.com/spec/v1").unwrap();
    assert!(matches!(try_everything(&text, "a pointer file"), Err(DataError::Format { .. })));
}
