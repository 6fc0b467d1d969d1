//! What is replaced is a regular file, or what a link leads to; a pipe, a socket or a folder in its place stays what it is.
#![cfg(unix)]

use backcast_core::{Real, Slot, State};
use backcast_storage::{CheckpointError, Irregular, Local, replace, save};
use std::collections::BTreeMap;
use std::os::unix::fs::{FileTypeExt, symlink};
use std::os::unix::net::UnixListener;
use std::path::Path;

struct One(Real);

impl State for One {
    fn visit(&mut self, f: &mut dyn FnMut(&str, Slot<'_>)) {
        f("one", Slot::Tensor(&[1], std::slice::from_mut(&mut self.0)));
    }
}

#[test]
fn what_is_no_regular_file_is_never_replaced() {
    let folder = tempfile::tempdir().expect("a folder");
    let [socket, below, link] = ["socket", "below", "link"].map(|name| folder.path().join(name));
    let _listening = UnixListener::bind(&socket).expect("bound");
    std::fs::create_dir(&below).expect("made");
    symlink(&socket, &link).expect("linked");
    for (path, what) in
        [(&socket, "a socket"), (&below, "a folder"), (&link, "a socket"), (&"".into(), "an empty path")]
    {
        let error = replace(&Local, path, b"x").expect_err("refused");
        let typed = error.get_ref().and_then(|inner| inner.downcast_ref::<Irregular>());
        assert_eq!(typed.map(|irregular| irregular.what), Some(what), "{error}");
        match save(&mut One(1.0), &BTreeMap::new(), path) {
            Err(CheckpointError::Io { source, .. }) => assert!(source.to_string().contains(what), "{source}"),
            other => panic!("{other:?}"),
        }
    }
    assert!(std::fs::metadata(&socket).expect("there").file_type().is_socket() && below.is_dir());
    assert_eq!(std::fs::read_dir(folder.path()).expect("listed").count(), 3);
}

#[test]
fn a_link_stays_a_link_and_what_it_leads_to_is_replaced() {
    let folder = tempfile::tempdir().expect("a folder");
    std::fs::create_dir(folder.path().join("elsewhere")).expect("made");
    let link = folder.path().join("link");
    symlink("elsewhere/notes", &link).expect("linked");
    for content in [b"one", b"two"] {
        replace(&Local, &link, content).expect("written");
        assert!(link.is_symlink());
        assert_eq!(std::fs::read(folder.path().join("elsewhere/notes")).expect("read"), content);
    }
    assert_eq!(std::fs::read_dir(folder.path().join("elsewhere")).expect("listed").count(), 1);
    let ring = folder.path().join("ring");
    symlink("ring", &ring).expect("linked");
    assert!(replace(&Local, &ring, b"x").is_err() && ring.is_symlink());
    assert!(replace(&Local, Path::new("/"), b"x").is_err());
}
