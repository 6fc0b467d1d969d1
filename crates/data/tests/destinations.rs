//! A writer replaces a file, or what a link leads to; a device, a pipe, a socket or a folder in its place stays what it is.
#![cfg(unix)]

mod shared;

use backcast_core::{Spec, Transitions};
use backcast_data::store::Stored;
use backcast_data::{DataError, Format, ReadOptions, WriteOptions, h5, npz, read, write};
use shared::{Next, counters};
use std::os::unix::fs::{FileTypeExt, symlink};
use std::os::unix::net::UnixListener;
use std::path::Path;

const FILES: [Format; 5] = [Format::D4rl, Format::Npz, Format::NeoRl, Format::Trajectories, Format::Columns];

fn transitions(path: &Path) -> Result<(), DataError> {
    let mut rows = Transitions::new(Spec::new(1, 1));
    rows.push(&[0.0], &[0.5], 1.0, &[1.0], true);
    Stored::write(path, &rows)
}

/// Every way in which this crate puts a file somewhere.
fn every_way(path: &Path) -> Vec<(String, Result<(), DataError>)> {
    let dataset = counters(&[3, 2], &[true, false], Next::True);
    let formats =
        FILES.into_iter().map(|format| (format.to_string(), write(path, format, &dataset, &WriteOptions::default())));
    let mut all: Vec<_> = formats.collect();
    all.push(("transitions".into(), transitions(path)));
    all.push(("h5::create".into(), h5::create(path).map(drop)));
    all.push(("npz::create".into(), npz::create(path).map(drop)));
    all
}

#[test]
fn what_is_no_regular_file_is_never_replaced() {
    let directory = tempfile::tempdir().unwrap();
    let [socket, pipe, folder] = ["socket", "pipe", "folder"].map(|name| directory.path().join(name));
    let _listening = UnixListener::bind(&socket).unwrap();
    assert!(std::process::Command::new("mkfifo").arg(&pipe).status().unwrap().success());
    std::fs::create_dir(&folder).unwrap();
    let to_socket = directory.path().join("to-socket");
    symlink(&socket, &to_socket).unwrap();
    let before = std::fs::read_dir(directory.path()).unwrap().count();
    for (path, what) in [(&socket, "a socket"), (&pipe, "a pipe"), (&folder, "a folder"), (&to_socket, "a socket")] {
        for (way, done) in every_way(path) {
            let error = done.expect_err(&way);
            assert!(
                matches!(&error, DataError::NotAFile { file, what: found } if file == path && *found == what),
                "{way}: {error}"
            );
            assert!(error.to_string().contains("name a file"), "{error}");
        }
        // Nor is one read, which would wait for ever.
        if path != &folder {
            let error = read(path, &ReadOptions::default()).unwrap_err();
            assert!(matches!(error, DataError::NotAFile { .. }), "{error}");
        }
    }
    assert!(std::fs::metadata(&socket).unwrap().file_type().is_socket());
    assert!(std::fs::metadata(&pipe).unwrap().file_type().is_fifo() && folder.is_dir());
    assert_eq!(std::fs::read_dir(directory.path()).unwrap().count(), before, "nothing is left beside");
    // Nor by a folder.
    let error = write(&pipe, Format::Minari, &counters(&[3], &[true], Next::True), &WriteOptions::default());
    assert!(error.is_err() && std::fs::metadata(&pipe).unwrap().file_type().is_fifo());
}

#[test]
fn a_link_stays_a_link_and_what_it_leads_to_is_replaced() {
    let directory = tempfile::tempdir().unwrap();
    let elsewhere = directory.path().join("elsewhere");
    std::fs::create_dir(&elsewhere).unwrap();
    let [link, second] = ["link", "second"].map(|name| directory.path().join(name));
    symlink("elsewhere/log.npz", &link).unwrap();
    symlink("link", &second).unwrap();
    let dataset = counters(&[3, 2], &[true, false], Next::True);
    // Once where nothing is yet, and once over what is there.
    for _ in 0..2 {
        write(&second, Format::Npz, &dataset, &WriteOptions::default()).unwrap();
        assert!(second.is_symlink() && link.is_symlink());
        let target = elsewhere.join("log.npz");
        assert!(target.is_file() && !target.is_symlink());
        assert_eq!(read(&target, &ReadOptions::default()).unwrap().fingerprint(), dataset.fingerprint());
    }
    transitions(&link).unwrap();
    assert!(link.is_symlink() && Stored::open(&elsewhere.join("log.npz")).is_ok());
    assert_eq!(std::fs::read_dir(&elsewhere).unwrap().count(), 1);
    // A link that leads to itself leads nowhere.
    let buffer = directory.path().join("ring");
    symlink("ring", &buffer).unwrap();
    assert!(write(&buffer, Format::Npz, &dataset, &WriteOptions::default()).is_err() && buffer.is_symlink());
}

#[test]
fn a_path_that_names_nothing_is_said_to_name_nothing() {
    for path in ["", "/", "..", "folder/.."] {
        for (way, done) in every_way(Path::new(path)) {
            let error = done.expect_err(&way);
            assert!(matches!(error, DataError::NotAFile { .. }), "{way}, `{path}`: {error}");
        }
    }
    let error = transitions(Path::new("")).unwrap_err().to_string();
    assert!(error.contains("an empty path") && !error.starts_with(':'), "{error}");
}
