//! Every format reads back what it wrote, to the bit, whatever it was converted from; and says what it cannot hold.
#![allow(clippy::unnecessary_cast)] // `Real` is `f64` in some builds.

mod shared;

use backcast_core::{Key, Real};
use backcast_data::{DataError, Dataset, Format, ReadOptions, Row, Truncations, WriteOptions, npz, read, write};
use proptest::prelude::*;
use shared::{Next, counters};
use std::path::{Path, PathBuf};

/// The formats of this build.
fn formats() -> Vec<Format> {
    let arrow = cfg!(feature = "arrow");
    Format::ALL.into_iter().filter(|format| arrow || *format != Format::MinariArrow).collect()
}

/// What a generated dataset may have.
#[derive(Clone, Debug)]
struct Shape {
    widths: [usize; 2],
    lengths: Vec<usize>,
    /// For each episode: terminal, cut, or both; the last may also be neither.
    ends: Vec<u8>,
    next: bool,
    /// Whether the last episode has no end.
    open: bool,
    infos: Vec<(&'static str, usize)>,
    notes: Vec<(String, String)>,
    seed: u64,
}

/// Values that a careless path would change: NaNs of either sign, infinities, negative zero, subnormals.
const ODD: [Real; 8] =
    [Real::NAN, -Real::NAN, Real::INFINITY, Real::NEG_INFINITY, -0.0, Real::MIN_POSITIVE / 4.0, Real::MAX, 1.0 / 3.0];

fn value(key: Key, i: usize) -> Real {
    if key.below(9, 2 * i) == 0 {
        ODD[key.below(ODD.len(), 2 * i + 1)]
    } else {
        key.below(20_000, 2 * i) as Real / 7.0 - 999.0
    }
}

fn dataset(shape: &Shape) -> Dataset {
    let (key, [obs, act]) = (Key::new(shape.seed), shape.widths);
    let mut dataset = Dataset::new(obs, act, shape.next);
    let mut count = 0;
    let mut draw = |width: usize| -> Vec<Real> {
        count += width;
        (count - width..count).map(|i| value(key, i)).collect()
    };
    for (e, (&rows, &end)) in shape.lengths.iter().zip(&shape.ends).enumerate() {
        let mut state = draw(obs);
        for t in 0..rows {
            let (last, next) = (t + 1 == rows, draw(obs));
            let closed = last && !(shape.open && e + 1 == shape.lengths.len());
            dataset.push(Row {
                obs: &state,
                act: &draw(act),
                reward: draw(1)[0],
                terminal: closed && end != 1,
                truncated: closed && end != 0,
                next_obs: shape.next.then_some(&next),
            });
            state = next;
        }
    }
    for &(name, width) in &shape.infos {
        let values = draw(width * dataset.len());
        dataset.push_info(name, width, values);
    }
    shape.notes.iter().for_each(|(name, text)| dataset.set_note(name, text));
    dataset
}

fn shapes() -> impl Strategy<Value = Shape> {
    let infos = prop::sample::subsequence(vec![("qpos", 2), ("deep/er", 1), ("goal", 3), ("ö", 1)], 0..=4);
    let notes = prop::collection::vec(("[a-z_é/]{1,12}", "\\PC{0,20}|\\[1,2\\]|-?[0-9]{1,3}|true|\"x\""), 0..4);
    let episodes = prop::collection::vec((1usize..6, 0u8..3), 1..5);
    (1usize..4, 1usize..3, episodes, any::<[bool; 2]>(), infos, notes, any::<u64>()).prop_map(
        |(obs, act, episodes, [next, open], infos, notes, seed)| {
            let (lengths, ends) = episodes.into_iter().unzip();
            Shape { widths: [obs, act], lengths, ends, next, open, infos, notes, seed }
        },
    )
}

/// Equality of bits, which `==` is not where a NaN is.
fn same(a: &Dataset, b: &Dataset) -> bool {
    let bits = |values: &[Real]| values.iter().map(|x| x.to_bits()).collect::<Vec<_>>();
    let rows = |dataset: &Dataset| {
        let row = |t| {
            let row: Row<'_> = dataset.row(t);
            (bits(row.obs), bits(row.act), row.reward.to_bits(), row.terminal, row.truncated, row.next_obs.map(bits))
        };
        (0..dataset.len()).map(row).collect::<Vec<_>>()
    };
    let infos = |dataset: &Dataset| {
        dataset.infos().iter().map(|i| (i.name.clone(), i.width, bits(&i.values))).collect::<Vec<_>>()
    };
    let equal = a.widths() == b.widths() && rows(a) == rows(b) && infos(a) == infos(b) && a.notes() == b.notes();
    assert_eq!(equal, a.fingerprint() == b.fingerprint(), "a fingerprint that does not tell the same");
    equal
}

/// Whether `format` has a place for everything in a dataset of this shape; otherwise the field that it will name.
fn unheld(format: Format, shape: &Shape) -> Option<&'static str> {
    match format {
        Format::NeoRl if !shape.next => Some("next_observations"),
        Format::NeoRl if !shape.infos.is_empty() => Some("infos/"),
        Format::NeoRl if !shape.notes.is_empty() => Some("notes/"),
        Format::Minari | Format::MinariArrow if !shape.next => Some("next_observations"),
        _ => None,
    }
}

fn there(folder: &Path, format: Format, round: &str) -> PathBuf {
    folder.join(format!("{round}-{format}"))
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 16, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn every_pair_of_formats_converts_to_the_same_bits(shape in shapes()) {
        let directory = tempfile::tempdir().unwrap();
        let (original, options) = (dataset(&shape), WriteOptions::default());
        for from in formats() {
            let first = there(directory.path(), from, "first");
            match (write(&first, from, &original, &options), unheld(from, &shape)) {
                (Ok(()), None) => {}
                (Err(DataError::Unheld { field, format, .. }), Some(expected)) if format == from => {
                    prop_assert!(field.starts_with(expected), "{}: {} is named, not {}", from, field, expected);
                    prop_assert!(!first.exists());
                    continue;
                }
                (done, expected) => prop_assert!(false, "{from}: {done:?}, where {expected:?} was expected"),
            }
            prop_assert_eq!(Format::detect(&first).unwrap(), from);
            let read_once = read(&first, &ReadOptions::default()).unwrap();
            prop_assert!(same(&original, &read_once), "{} gives back {:?} for {:?}", from, read_once, original);
            prop_assert_eq!(read_once.origin(), first.as_path());
            for to in formats().into_iter().filter(|to| unheld(*to, &shape).is_none()) {
                let second = there(directory.path(), to, from.name());
                write(&second, to, &read_once, &options).unwrap();
                let read_twice = read(&second, &ReadOptions::default()).unwrap();
                prop_assert!(same(&original, &read_twice), "{} by way of {}", to, from);
            }
        }
        // Nothing is left beside what was written.
        let hidden = |entry: &std::fs::DirEntry| entry.file_name().to_string_lossy().starts_with('.');
        prop_assert_eq!(std::fs::read_dir(directory.path()).unwrap().flatten().filter(hidden).count(), 0);
    }
}

fn simple(next: Next) -> Dataset {
    let mut dataset = counters(&[4, 3], &[true, false], next);
    dataset.push_info("qpos", 1, (0..7).map(|t| t as Real).collect());
    dataset.set_note("author", "[\"A\"]");
    dataset
}

#[test]
fn what_a_format_cannot_hold_can_be_left_out() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("light.npz");
    let dataset = simple(Next::True);
    for (fields, refused) in [
        (&["infos"][..], Some("notes/author")),
        (&["notes"], Some("infos/qpos")),
        (&["infos/qpos", "notes"], None),
        (&["infos", "notes", "next_observations"], Some("next_observations")),
    ] {
        let without = fields.iter().map(|f| f.to_string()).collect();
        let done = write(&path, Format::NeoRl, &dataset, &WriteOptions { without, ..WriteOptions::default() });
        match (done, refused) {
            (Ok(()), None) => {
                let read = read(&path, &ReadOptions::default()).unwrap();
                assert!(read.infos().is_empty() && read.notes().is_empty() && read.episodes() == dataset.episodes());
            }
            (Err(DataError::Unheld { field, .. }), Some(expected)) => assert_eq!(field, expected),
            (done, expected) => panic!("{fields:?}: {done:?}, not {expected:?}"),
        }
    }
}

#[test]
fn minari_refuses_what_it_cannot_know_and_repeats_an_observation_when_asked() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("set");
    let dataset = simple(Next::None);
    let error = write(&path, Format::Minari, &dataset, &WriteOptions::default()).unwrap_err();
    assert!(error.to_string().contains("--repeat-final") && !path.exists(), "{error}");
    let options = WriteOptions { repeat_final: true, ..WriteOptions::default() };
    write(&path, Format::Minari, &dataset, &options).unwrap();
    // All three names of a dataset lead to it.
    for name in ["", "data", "data/main_data.hdf5"] {
        assert!(same(&dataset, &read(&path.join(name), &ReadOptions::default()).unwrap()), "{name}");
    }
    let again = write(&path, Format::Minari, &dataset, &options).unwrap_err();
    assert!(again.to_string().contains("remove it first"), "{again}");
    // A stored next observation that is not the next row's observation.
    let mut torn = counters(&[2], &[true], Next::True);
    torn.push(Row {
        obs: &[9.0],
        act: &[0.0],
        reward: 0.0,
        terminal: false,
        truncated: false,
        next_obs: Some(&[10.0]),
    });
    torn.push(Row {
        obs: &[11.0],
        act: &[0.0],
        reward: 0.0,
        terminal: true,
        truncated: false,
        next_obs: Some(&[12.0]),
    });
    match write(&directory.path().join("torn"), Format::Minari, &torn, &WriteOptions::default()).unwrap_err() {
        DataError::Unheld { field, why, .. } => assert!(field == "next_observations" && why.contains("row 2"), "{why}"),
        other => panic!("{other}"),
    }
}

#[test]
fn names_that_are_no_paths_and_columns_that_are_not_there_are_refused_everywhere() {
    let directory = tempfile::tempdir().unwrap();
    let with = |infos: &[(&str, usize)]| {
        let mut dataset = counters(&[2], &[true], Next::True);
        infos.iter().for_each(|&(name, width)| dataset.push_info(name, width, vec![0.0; 2 * width]));
        dataset
    };
    let mut narrow = Dataset::new(1, 0, false);
    narrow.push(Row { obs: &[0.0], act: &[], reward: 0.0, terminal: true, truncated: false, next_obs: None });
    let cases = [
        (with(&[("", 1)]), "infos/"),
        (with(&[("a/../b", 1)]), "infos/a/../b"),
        (with(&[("a", 0)]), "infos/a"),
        (with(&[("a", 1), ("a", 2)]), "infos/a"),
        (with(&[("a", 1), ("a/b", 2)]), "infos/a"),
        (narrow, "actions"),
    ];
    for (dataset, expected) in &cases {
        for format in [Format::D4rl, Format::Npz, Format::Trajectories, Format::Columns] {
            match write(&there(directory.path(), format, "x"), format, dataset, &WriteOptions::default()) {
                Err(DataError::Unheld { field, .. }) => assert_eq!(field, *expected, "{format}"),
                other => panic!("{format}, {expected}: {other:?}"),
            }
        }
    }
}

#[test]
fn a_write_that_fails_is_about_the_file_that_was_meant() {
    let directory = tempfile::tempdir().unwrap();
    let blocked = directory.path().join("blocked");
    std::fs::write(&blocked, "a file, where a folder should be").unwrap();
    for format in formats() {
        let path = blocked.join("log");
        let options = WriteOptions { without: vec!["infos".into(), "notes".into()], ..WriteOptions::default() };
        let error = write(&path, format, &simple(Next::True), &options).unwrap_err();
        assert!(error.file().starts_with(&path) && !error.to_string().contains("partial"), "{format}: {error}");
    }
}

#[test]
fn truncations_are_found_again_where_the_position_jumps() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("antmaze.hdf5");
    let mut dataset = Dataset::new(3, 1, false);
    // Three runs of an ant that walks 0.1 a step from near the origin, with a truncation recorded in the middle of each.
    for run in 0..3 {
        for t in 0..40 {
            let x = run as Real * 0.01 + t as Real * 0.1;
            let obs = [x, -x, 9.0 * (t % 2) as Real];
            dataset.push(Row {
                obs: &obs,
                act: &[2.0],
                reward: 0.0,
                terminal: false,
                truncated: t == 20,
                next_obs: None,
            });
        }
    }
    write(&path, Format::D4rl, &dataset, &WriteOptions::default()).unwrap();
    let lengths = |options: &ReadOptions| -> Vec<usize> {
        read(&path, options).unwrap().episodes().iter().map(|e| e.rows).collect()
    };
    assert_eq!(lengths(&ReadOptions::default()), [21, 40, 40, 19]);
    assert_eq!(lengths(&ReadOptions { truncations: Truncations::Jumps, ..ReadOptions::default() }), [40, 40, 40]);
    assert_eq!(
        lengths(&ReadOptions { truncations: Truncations::Horizon(30), ..ReadOptions::default() }),
        [21, 30, 10, 30, 10, 19]
    );
    let clipped = read(&path, &ReadOptions { clip_actions: Some(1.5), ..ReadOptions::default() }).unwrap();
    assert!((0..120).all(|t| clipped.row(t).act == [1.5]));
    let narrow = directory.path().join("narrow.hdf5");
    write(&narrow, Format::D4rl, &counters(&[2], &[true], Next::None), &WriteOptions::default()).unwrap();
    let error = read(&narrow, &ReadOptions { truncations: Truncations::Jumps, ..ReadOptions::default() }).unwrap_err();
    assert!(matches!(error, DataError::Shape { .. }), "{error}");
}

#[test]
fn a_done_of_neorl_at_the_horizon_is_a_truncation_when_asked() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("neorl.npz");
    // As the first NeoRL has it, with one flag: what is written here has two, and is believed.
    let one_flag = |dataset: &Dataset| {
        let mut file = npz::create(&path).unwrap();
        let rows = |values: &dyn Fn(usize) -> Real| (0..dataset.len()).map(values).collect::<Vec<Real>>();
        for (array, values) in [
            ("obs", rows(&|t| dataset.row(t).obs[0])),
            ("next_obs", rows(&|t| dataset.row(t).next_obs.unwrap()[0])),
            ("action", rows(&|t| dataset.row(t).act[0])),
            ("reward", rows(&|t| dataset.row(t).reward)),
            ("done", rows(&|t| dataset.row(t).terminal as u8 as Real)),
        ] {
            file.reals(array, &[dataset.len(), 1], &values).unwrap();
        }
        file.finish().unwrap();
    };
    let dataset = counters(&[5, 3, 5], &[true; 3], Next::True);
    one_flag(&dataset);
    let ends = |options: &ReadOptions| {
        let dataset = read(&path, options).unwrap();
        (0..dataset.len()).filter(|&t| dataset.row(t).terminal).collect::<Vec<_>>()
    };
    assert_eq!(ends(&ReadOptions::default()), [4, 7, 12]);
    assert_eq!(ends(&ReadOptions { truncations: Truncations::Horizon(5), ..ReadOptions::default() }), [7]);
    write(&path, Format::NeoRl, &dataset, &WriteOptions::default()).unwrap();
    assert_eq!(ends(&ReadOptions { truncations: Truncations::Horizon(5), ..ReadOptions::default() }), [4, 7, 12]);
}

#[test]
fn what_is_no_dataset_says_what_would_be_one() {
    let directory = tempfile::tempdir().unwrap();
    let text = directory.path().join("list.pkl");
    std::fs::write(&text, b"\x80\x04\x95 a pickle").unwrap();
    for path in [text.as_path(), directory.path()] {
        let error = read(path, &ReadOptions::default()).unwrap_err();
        assert!(matches!(error, DataError::Unknown { .. }) && error.file() == path, "{error}");
    }
    assert!(matches!(read(&directory.path().join("none"), &ReadOptions::default()), Err(DataError::Io { .. })));
    assert!("pickle".parse::<Format>().unwrap_err().contains("trajectories"));
    assert!(Format::ALL.iter().all(|format| format.name().parse() == Ok(*format)));
}

#[test]
fn recorded_files_go_round_by_every_format_and_come_back_the_same() {
    let test = "recorded_files_go_round_by_every_format_and_come_back_the_same";
    // With stored next observations, with leaking ones, and without any.
    for name in ["neorl2/DMSD-val.hdf5", "pendulum/pendulum-medium.hdf5", "door/door-human-dapg.hdf5"] {
        let Some(path) = shared::recorded(test, name) else { return };
        let directory = tempfile::tempdir().unwrap();
        let original = read(&path, &ReadOptions::default()).unwrap();
        let mut dataset = original.clone();
        for format in formats() {
            let options = WriteOptions { repeat_final: true, ..WriteOptions::default() };
            let path = directory.path().join(format.name());
            match write(&path, format, &dataset, &options) {
                Err(DataError::Unheld { field, .. }) => assert_eq!(field, "next_observations", "{name}, {format}"),
                done => {
                    done.unwrap();
                    dataset = read(&path, &ReadOptions::default()).unwrap();
                }
            }
        }
        assert_eq!(dataset.fingerprint(), original.fingerprint(), "{name}");
    }
}
