//! What a file holds beside a dataset: rows of numbers are kept, and the rest is named and never lost without a word.
#![allow(clippy::unnecessary_cast)] // `Real` is `f64` in some builds.

mod shared;

use backcast_core::Real;
use backcast_data::arrays::WriteArrays;
use backcast_data::{DataError, Dataset, End, Format, ReadOptions, WriteOptions, check, h5, npz, read, write};
use std::path::Path;

/// The four arrays of D4RL's names that must be there, twelve rows, in a container below `prefix`.
fn rows(file: &mut dyn WriteArrays, prefix: &str, names: [&str; 4], rows: usize) {
    let name = |i: usize| format!("{prefix}{}", names[i]);
    let count = |width: usize| (0..rows * width).map(|i| i as Real / 8.0).collect::<Vec<_>>();
    file.reals(&name(0), &[rows, 2], &count(2)).unwrap();
    file.reals(&name(1), &[rows, 1], &count(1)).unwrap();
    file.reals(&name(2), &[rows], &count(1)).unwrap();
    file.flags(&name(3), &vec![false; rows]).unwrap();
}

const D4RL: [&str; 4] = ["observations", "actions", "rewards", "terminals"];

fn plain(path: &Path) -> Result<Dataset, DataError> {
    read(path, &ReadOptions::default())
}

fn without(fields: &[&str]) -> WriteOptions {
    WriteOptions { without: fields.iter().map(|f| f.to_string()).collect(), ..WriteOptions::default() }
}

#[test]
fn rows_of_numbers_that_no_layout_knows_are_kept_as_infos_by_every_format() {
    let directory = tempfile::tempdir().unwrap();
    let path = |name: &str| directory.path().join(name);
    let doses: Vec<Real> = (0..12).map(|t| t as Real).collect();
    let more = |file: &mut dyn WriteArrays| {
        file.reals("propensities", &[12], &[0.25; 12]).unwrap();
        file.reals("dose/mg", &[12, 1], &doses).unwrap();
        file.counts("step", &(0..12).collect::<Vec<i64>>()).unwrap();
    };
    for (name, mut file) in
        [("log.npz", npz::create(&path("log.npz")).unwrap()), ("log.h5", h5::create(&path("log.h5")).unwrap())]
    {
        rows(&mut *file, "", D4RL, 12);
        more(&mut *file);
        file.finish().unwrap();
        let dataset = plain(&path(name)).unwrap();
        assert!(dataset.unread().is_empty(), "{name}: {:?}", dataset.unread());
        let infos: Vec<_> = dataset.infos().iter().map(|i| (&i.name[..], i.width, i.values[3])).collect();
        assert_eq!(infos, [("dose/mg", 1, 3.0), ("propensities", 1, 0.25), ("step", 1, 3.0)], "{name}");
        for format in [Format::D4rl, Format::Npz, Format::Trajectories, Format::Columns] {
            let there = path(&format!("{name}-{format}"));
            write(&there, format, &dataset, &WriteOptions::default()).unwrap();
            assert_eq!(plain(&there).unwrap().fingerprint(), dataset.fingerprint(), "{format}");
        }
    }
    // NeoRL's names, beside which the same are kept.
    let mut file = npz::create(&path("neorl.npz")).unwrap();
    rows(&mut *file, "", ["obs", "action", "reward", "done"], 12);
    file.reals("next_obs", &[12, 2], &[0.5; 24]).unwrap();
    more(&mut *file);
    file.finish().unwrap();
    let dataset = plain(&path("neorl.npz")).unwrap();
    assert_eq!((dataset.infos().len(), dataset.unread().len()), (3, 0));
    match write(&path("again.npz"), Format::NeoRl, &dataset, &WriteOptions::default()) {
        Err(DataError::Unheld { field, .. }) => assert_eq!(field, "infos/dose/mg"),
        other => panic!("{other:?}"),
    }
    // Left out by their own names as by those of infos.
    write(&path("again.npz"), Format::NeoRl, &dataset, &without(&["propensities", "infos/dose/mg", "step"])).unwrap();
    assert!(plain(&path("again.npz")).unwrap().infos().is_empty());
}

#[test]
fn what_is_no_row_is_named_and_must_be_left_out_on_purpose() {
    let directory = tempfile::tempdir().unwrap();
    let path = |name: &str| directory.path().join(name);
    for (name, mut file) in
        [("log.npz", npz::create(&path("log.npz")).unwrap()), ("log.h5", h5::create(&path("log.h5")).unwrap())]
    {
        rows(&mut *file, "", D4RL, 12);
        file.reals("metadata/policy/bias", &[12], &[0.0; 12]).unwrap();
        file.reals("metadata/policy/weight", &[3, 2], &[0.0; 6]).unwrap();
        file.reals("infos/whole", &[3], &[0.0; 3]).unwrap();
        file.reals("bounds", &[2, 2], &[0.0; 4]).unwrap();
        file.finish().unwrap();
        let dataset = plain(&path(name)).unwrap();
        let names: Vec<_> = dataset.unread().iter().map(|unread| &unread.name[..]).collect();
        assert_eq!(names, ["bounds", "infos/whole", "metadata/policy/bias", "metadata/policy/weight"], "{name}");
        assert_eq!((dataset.unread()[3].shape.as_slice(), dataset.infos().len()), (&[3, 2][..], 0));

        // Whoever looks sees them, and whoever converts must say that they may go.
        let shown = check::show(&path(name)).unwrap();
        assert_eq!(shown.unread, dataset.unread());
        assert!(shown.to_string().contains("not read  `bounds` [2, 2]"), "{shown}");
        let checked = check::check(&path(name)).unwrap();
        let found: Vec<_> = checked.findings.iter().filter(|finding| finding.name == "unread").collect();
        assert_eq!(found.iter().map(|f| f.dataset.as_deref().unwrap()).collect::<Vec<_>>(), names);
        assert!(checked.passed() && checked.to_string().contains("metadata/policy/bias"), "{checked}");

        let to = path(&format!("to-{name}.npz"));
        for some in [&[][..], &["bounds"], &["bounds", "infos/whole", "metadata/policy/bias"], &["meta"]] {
            let error = write(&to, Format::Npz, &dataset, &without(some)).unwrap_err();
            let DataError::LeftBehind { arrays, .. } = &error else { panic!("{error}") };
            let left = |name: &str| arrays.iter().any(|unread| unread.name == name);
            assert!(left("metadata/policy/weight") && left("bounds") != some.contains(&"bounds"), "{error}");
            assert!(error.to_string().contains("--without") && !to.exists(), "{error}");
        }
        for all in [&["unread"][..], &["bounds", "infos", "infos/whole", "metadata"]] {
            write(&to, Format::Npz, &dataset, &without(all)).unwrap();
            assert_eq!(plain(&to).unwrap().fingerprint(), dataset.fingerprint());
        }
        // Parts of a dataset are of the same file.
        assert_eq!(dataset.rows(&[0..3, 3..6]).unread(), dataset.unread());
    }
}

#[test]
fn what_some_trajectories_have_and_others_not_is_named() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("list.npz");
    let mut file = npz::create(&path).unwrap();
    for (episode, length) in [(0, 3), (1, 4), (3, 2)] {
        let prefix = format!("{episode}/");
        rows(&mut *file, &prefix, D4RL, length);
        file.reals(&format!("{prefix}infos/qpos"), &[length, 2], &vec![episode as Real; 2 * length]).unwrap();
        file.reals(&format!("{prefix}dose"), &[length], &vec![episode as Real; length]).unwrap();
        if episode == 0 {
            file.reals("0/first", &[length], &vec![0.0; length]).unwrap();
        }
        file.reals(&format!("{prefix}seed"), &[1], &[7.0]).unwrap();
    }
    file.reals("returns", &[3], &[1.0; 3]).unwrap();
    file.finish().unwrap();
    let dataset = plain(&path).unwrap();
    let infos: Vec<_> = dataset.infos().iter().map(|i| (&i.name[..], i.width, &i.values[..])).collect();
    let qpos = [0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0];
    assert_eq!(infos, [("dose", 1, &[0.0, 0.0, 0.0, 1.0, 1.0, 1.0, 1.0][..]), ("qpos", 2, &qpos)]);
    let names: Vec<_> = dataset.unread().iter().map(|unread| &unread.name[..]).collect();
    // The fourth is not the third: the list has a gap, and what lies behind it is not passed over in silence.
    let beyond =
        ["3/actions", "3/dose", "3/infos/qpos", "3/observations", "3/rewards", "3/seed", "3/terminals", "returns"];
    assert_eq!(names, [&["0/seed", "1/seed", "0/first"][..], &beyond].concat());
}

#[test]
fn what_no_space_of_a_minari_dataset_has_a_place_for_is_named() {
    let directory = tempfile::tempdir().unwrap();
    let folder = directory.path().join("set/data");
    std::fs::create_dir_all(&folder).unwrap();
    let mut file = h5::create(&folder.join("main_data.hdf5")).unwrap();
    for (episode, length) in [(0, 3), (1, 4)] {
        let name = |array: &str| format!("episode_{episode}/{array}");
        file.reals(&name("observations"), &[length + 1, 2], &vec![0.5; 2 * length + 2]).unwrap();
        file.reals(&name("actions"), &[length, 1], &vec![0.5; length]).unwrap();
        file.reals(&name("rewards"), &[length], &vec![0.5; length]).unwrap();
        file.flags(&name("terminations"), &vec![false; length]).unwrap();
        file.flags(&name("truncations"), &vec![false; length]).unwrap();
        file.reals(&name("infos/qpos"), &[length], &vec![1.0; length]).unwrap();
        file.reals(&name("infos/some"), &[5], &[1.0; 5]).unwrap();
        file.reals(&name("costs"), &[length], &vec![1.0; length]).unwrap();
    }
    file.reals("everything", &[1], &[1.0]).unwrap();
    file.finish().unwrap();
    let dataset = plain(&directory.path().join("set")).unwrap();
    assert_eq!(dataset.infos().iter().map(|info| &info.name[..]).collect::<Vec<_>>(), ["qpos"]);
    let names: Vec<_> = dataset.unread().iter().map(|unread| (&unread.name[..], &unread.shape[..])).collect();
    assert_eq!(names, [("costs", &[3][..]), ("infos/some", &[5]), ("everything", &[1])]);
    let again = directory.path().join("again");
    assert!(matches!(write(&again, Format::Minari, &dataset, &without(&[])), Err(DataError::LeftBehind { .. })));
    write(&again, Format::Minari, &dataset, &without(&["costs", "infos/some", "everything"])).unwrap();
}

#[test]
fn neorl_2s_truncated_rows_are_truncations_and_its_done_is_believed() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("neorl2.npz");
    let new = |cut: &[usize], done: &[usize], index: &[i64], flat: bool| {
        let mut file = npz::create(&path).unwrap();
        let flags = |set: &[usize]| (0..12).map(|t| set.contains(&t) as u8 as Real).collect::<Vec<Real>>();
        let shape: &[usize] = if flat { &[12] } else { &[12, 1] };
        file.reals("obs", &[12, 2], &[0.5; 24]).unwrap();
        file.reals("next_obs", &[12, 2], &[0.5; 24]).unwrap();
        file.reals("action", &[12, 1], &[0.5; 12]).unwrap();
        file.reals("reward", shape, &[0.5; 12]).unwrap();
        file.reals("done", shape, &flags(done)).unwrap();
        if !cut.is_empty() {
            file.reals("truncated", shape, &flags(cut)).unwrap();
        }
        if !index.is_empty() {
            file.counts("index", index).unwrap();
        }
        file.finish().unwrap();
    };
    let ends = |options: &ReadOptions| -> Vec<_> {
        read(&path, options).unwrap().episodes().iter().map(|e| (e.rows, e.end)).collect()
    };
    use End::{Terminal, Truncated, Unfinished};
    for flat in [true, false] {
        new(&[3, 11], &[7], &[], flat);
        assert_eq!(ends(&ReadOptions::default()), [(4, Truncated), (4, Terminal), (4, Truncated)]);
        let checked = check::check(&path).unwrap();
        assert!(
            !checked.findings.iter().any(|f| ["no_timeouts", "one_episode", "unread"].contains(&f.name)),
            "{checked}"
        );
        // A horizon adds truncations to such a file, and takes no end away.
        let horizon = ReadOptions { truncations: backcast_data::Truncations::Horizon(4), ..ReadOptions::default() };
        assert_eq!(ends(&horizon), [(4, Truncated), (4, Terminal), (4, Truncated)]);
    }
    // The first NeoRL's: one flag, and an index.
    new(&[], &[7], &[4, 8], false);
    assert_eq!(ends(&ReadOptions::default()), [(4, Truncated), (4, Terminal), (4, Unfinished)]);
    let horizon = ReadOptions { truncations: backcast_data::Truncations::Horizon(4), ..ReadOptions::default() };
    assert_eq!(ends(&horizon), [(4, Truncated), (4, Truncated), (4, Truncated)]);

    // A row that is both, written and read.
    new(&[3, 7], &[7], &[], true);
    let dataset = plain(&path).unwrap();
    assert!(dataset.row(7).terminal && dataset.row(7).truncated);
    let again = directory.path().join("again.npz");
    write(&again, Format::NeoRl, &dataset, &WriteOptions::default()).unwrap();
    assert_eq!(plain(&again).unwrap().fingerprint(), dataset.fingerprint());
}

#[test]
fn the_published_files_of_neorl_2_have_the_episodes_that_both_flags_give() {
    let test = "the_published_files_of_neorl_2_have_the_episodes_that_both_flags_give";
    for (name, rows, ended, cut) in [
        ("own/Simglucose-high-20000-val.npz", 20_018, 30, 32),
        ("own/Simglucose-high-100000-train.npz", 100_257, 111, 169),
    ] {
        let Some(path) = shared::recorded(test, name) else { return };
        let checked = check::check(&path).unwrap();
        assert!(checked.passed(), "{checked}");
        let summary = checked.summary.unwrap();
        assert_eq!((summary.rows, summary.terminals, summary.truncated), (rows, ended, cut), "{name}");
        assert_eq!((summary.episodes, summary.disagreements, summary.unfinished), (ended + cut, 0, false), "{name}");
    }
}

#[test]
fn the_cases_that_were_reported_are_read() {
    let test = "the_cases_that_were_reported_are_read";
    for (name, episodes) in [("02-neorl2-truncated.npz", 12), ("02b-neorl2-dmsd-widths.npz", 40)] {
        let Some(path) = shared::recorded(test, &format!("../cases/{name}")) else { return };
        let checked = check::check(&path).unwrap();
        assert!(checked.passed(), "{checked}");
        assert_eq!(checked.summary.unwrap().episodes, episodes, "{name}");
    }
    let Some(path) = shared::recorded(test, "../cases/03-extra-arrays.npz") else { return };
    let infos: Vec<_> = plain(&path).unwrap().infos().iter().map(|info| info.name.clone()).collect();
    assert_eq!(infos, ["dose_mg", "masks", "propensities"]);
}
