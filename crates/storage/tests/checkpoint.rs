//! A checkpoint restores the same bits, or says why not and changes nothing.

use backcast_core::{Key, Normal, Real, Slot, State, StateError, fingerprint, under};
use backcast_nn::{Activation, Adam, Init, Mlp, Store};
use backcast_storage::{CheckpointError, Disk, Local, UNFINISHED, load, replace, save};
use std::{collections::BTreeMap, path::Path};

/// A net and its optimiser.
struct Learner {
    store: Store,
    net: Mlp,
    adam: Adam,
}

impl Learner {
    fn new(hidden: usize, seed: u64) -> Self {
        let mut store = Store::default();
        let net = Mlp::new(&mut store, "net", &[3, hidden, 1], 2, Activation::Relu, Init::FanIn, Key::new(seed));
        let adam = Adam::new(net.range(), 1e-2);
        Self { store, net, adam }
    }

    fn step(&mut self, key: Key) {
        let x = key.array((8, 3), Normal::default());
        self.adam.minimise(&mut self.store, |tape| {
            let x = tape.input(x.view());
            (self.net.forward(x) - x.sum_cols()).square().mean()
        });
    }

    fn trained() -> Self {
        let mut learner = Self::new(5, 1);
        (0..3).for_each(|i| learner.step(Key::new(2).fold(i)));
        learner
    }
}

impl State for Learner {
    fn visit(&mut self, f: &mut dyn FnMut(&str, Slot<'_>)) {
        under("store", &mut self.store, f);
        under("adam", &mut self.adam, f);
    }
}

fn notes() -> BTreeMap<String, String> {
    [("algorithm", "iql"), ("step", "3"), ("odd \"quotes\"", "ŝ → a\n")].map(|(k, v)| (k.into(), v.into())).into()
}

/// A checkpoint in a folder of its own, and its bytes.
fn saved() -> (tempfile::TempDir, std::path::PathBuf, Vec<u8>) {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("last.safetensors");
    save(&mut Learner::trained(), &notes(), &path).expect("saved");
    let bytes = std::fs::read(&path).expect("read");
    (folder, path, bytes)
}

/// Loading fails and leaves the state as it was.
fn refused(state: &mut Learner, path: &Path) -> CheckpointError {
    let before = fingerprint(state);
    let error = load(state, path).expect_err("a bad checkpoint is refused");
    assert_eq!(fingerprint(state), before, "{error}: but the state has changed");
    assert!(error.to_string().contains(&*path.to_string_lossy()), "{error} does not name the file");
    error
}

#[test]
fn a_checkpoint_restores_the_same_bits_and_the_same_future() {
    let (_folder, path, bytes) = saved();
    let (mut original, mut restored) = (Learner::trained(), Learner::new(5, 99));
    assert_ne!(fingerprint(&mut original), fingerprint(&mut restored));
    assert_eq!(load(&mut restored, &path).expect("loaded"), notes());
    assert_eq!(fingerprint(&mut original), fingerprint(&mut restored));
    assert_eq!(restored.adam.steps(), 3);
    (0..5).for_each(|i| [&mut original, &mut restored].map(|l| l.step(Key::new(4).fold(i))).into_iter().collect());
    assert_eq!(fingerprint(&mut original), fingerprint(&mut restored), "the moments were not restored");

    // Odd numbers survive too, and the same state gives the same file.
    let odd = [Real::MIN_POSITIVE, -0.0, Real::MAX, Real::INFINITY, Real::NAN];
    original.store.params_mut()[..5].copy_from_slice(&odd);
    save(&mut original, &notes(), &path).expect("saved");
    load(&mut restored, &path).expect("loaded");
    assert_eq!(fingerprint(&mut original), fingerprint(&mut restored));
    save(&mut Learner::trained(), &notes(), &path).expect("saved");
    assert!(std::fs::read(&path).expect("read") == bytes, "two checkpoints of one state differ");
}

#[test]
fn a_checkpoint_of_something_else_is_named() {
    let (folder, path, _) = saved();
    let CheckpointError::State { source: StateError::Shape { name, found, expected }, .. } =
        refused(&mut Learner::new(6, 1), &path)
    else {
        panic!("a shape does not fit")
    };
    assert_eq!((name.as_str(), found, expected), ("store.net.0.weight", vec![2, 3, 5], vec![2, 3, 6]));

    struct Part(Learner, bool);
    impl State for Part {
        fn visit(&mut self, f: &mut dyn FnMut(&str, Slot<'_>)) {
            under("store", &mut self.0.store, f);
            if self.1 {
                under("adam", &mut self.0.adam, f);
                under("target", &mut self.0.adam, f);
            }
        }
    }
    let error = load(&mut Part(Learner::new(5, 1), false), &path).expect_err("too much");
    assert!(
        matches!(&error, CheckpointError::State { source: StateError::Unknown(n), .. } if n == "adam.m"),
        "{error}"
    );
    let error = load(&mut Part(Learner::new(5, 1), true), &path).expect_err("too little");
    assert!(
        matches!(&error, CheckpointError::State { source: StateError::Missing(n), .. } if n == "target.m"),
        "{error}"
    );

    let error = refused(&mut Learner::new(5, 1), &folder.path().join("absent.safetensors"));
    assert!(matches!(error, CheckpointError::Io { .. }), "{error}");
    let error = refused(&mut Learner::new(5, 1), folder.path());
    assert!(matches!(error, CheckpointError::Io { .. }), "{error}");
}

#[test]
fn a_cut_off_file_is_refused() {
    let (_folder, path, bytes) = saved();
    let mut learner = Learner::new(5, 7);
    for length in (0..bytes.len()).step_by(97).chain([1, 7, 8, 9, bytes.len() - 1]) {
        std::fs::write(&path, &bytes[..length]).expect("written");
        let error = refused(&mut learner, &path);
        assert!(matches!(error, CheckpointError::Format { .. }), "{length} bytes: {error}");
    }
    std::fs::write(&path, [&bytes[..], b"more"].concat()).expect("written");
    assert!(matches!(refused(&mut learner, &path), CheckpointError::Format { .. }));
}

/// Every single byte. What is still accepted must say the same thing (white space of the header).
#[test]
fn a_flipped_byte_is_noticed() {
    let (_folder, path, bytes) = saved();
    let (mut learner, mut original) = (Learner::new(5, 7), Learner::trained());
    let mut accepted = 0;
    for at in 0..bytes.len() {
        let flip = [0x01, 0x80, 0xFF][at % 3];
        let mut bad = bytes.clone();
        bad[at] ^= flip;
        std::fs::write(&path, bad).expect("written");
        let before = fingerprint(&mut learner);
        match load(&mut learner, &path) {
            Err(_) => assert_eq!(fingerprint(&mut learner), before, "byte {at} ^ {flip}"),
            Ok(found) => {
                accepted += 1;
                assert_eq!(found, notes(), "byte {at} ^ {flip}");
                assert_eq!(fingerprint(&mut learner), fingerprint(&mut original), "byte {at} ^ {flip}");
                learner = Learner::new(5, 7);
            }
        }
    }
    assert!(accepted < 10, "{accepted} damaged files were accepted");
}

/// Tensors without a checksum, a type that is not ours, and files of other kinds.
#[test]
fn foreign_files_are_refused() {
    let (_folder, path, bytes) = saved();
    let mut learner = Learner::new(5, 7);
    for content in [&b""[..], b"not a checkpoint", &[0xFF; 64], &[0; 64], b"\x02\0\0\0\0\0\0\0{}"] {
        std::fs::write(&path, content).expect("written");
        let error = refused(&mut learner, &path);
        assert!(matches!(error, CheckpointError::Format { .. }), "{error}");
    }
    let text = String::from_utf8_lossy(&bytes).into_owned();
    let (own, other) = if size_of::<Real>() == 4 { ("\"F32\"", "\"I32\"") } else { ("\"F64\"", "\"I64\"") };
    assert!(text.contains(own));
    let at = bytes.windows(5).position(|w| w == own.as_bytes()).expect("the type is named");
    let mut bad = bytes.clone();
    bad[at..at + 5].copy_from_slice(other.as_bytes());
    std::fs::write(&path, bad).expect("written");
    let error = refused(&mut learner, &path).to_string();
    assert!(error.contains("is of type I"), "{error}");
}

/// A write that stopped half way left a file beside the checkpoint; the checkpoint is as it was, and the next write succeeds.
#[test]
fn an_interrupted_write_leaves_the_old_file() {
    let (folder, path, bytes) = saved();
    let beside = folder.path().join(format!(".last.safetensors.0{UNFINISHED}"));
    std::fs::write(&beside, &bytes[..bytes.len() / 2]).expect("written");
    let mut learner = Learner::new(5, 7);
    load(&mut learner, &path).expect("the old file is whole");
    learner.step(Key::new(9));
    save(&mut learner, &notes(), &path).expect("saved beside what was left behind");
    let mut again = Learner::new(5, 8);
    load(&mut again, &path).expect("loaded");
    assert_eq!(fingerprint(&mut again), fingerprint(&mut learner));
    // It may as well be somebody else's who is writing this moment.
    assert_eq!(std::fs::read(&beside).expect("still there"), bytes[..bytes.len() / 2]);

    // A write that cannot come to its end says so and leaves nothing behind.
    let blocked = folder.path().join("blocked.safetensors");
    std::fs::create_dir(&blocked).expect("a folder in the way");
    let before = std::fs::read_dir(folder.path()).expect("listed").count();
    let error = save(&mut learner, &notes(), &blocked).expect_err("the way is blocked");
    assert!(matches!(error, CheckpointError::Io { .. }), "{error}");
    assert_eq!(std::fs::read_dir(folder.path()).expect("listed").count(), before);
    let absent = folder.path().join("absent").join("last.safetensors");
    assert!(matches!(save(&mut learner, &notes(), &absent), Err(CheckpointError::Io { .. })));
}

#[test]
fn replacing_a_file_is_all_or_nothing() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("notes.txt");
    replace(&Local, &path, b"one").expect("written");
    replace(&Local, &path, b"two").expect("written");
    assert_eq!(std::fs::read(&path).expect("read"), b"two");
    assert_eq!(std::fs::read_dir(folder.path()).expect("listed").count(), 1);
    assert!(replace(&Local, Path::new("/"), b"x").is_err());

    let deep = folder.path().join("a/b/c");
    Local.create_folder(&deep).expect("made");
    Local.create_folder(&deep).expect("there already");
    assert!(deep.is_dir());
    assert!(Local.create_folder(&path.join("below a file")).is_err());
}
