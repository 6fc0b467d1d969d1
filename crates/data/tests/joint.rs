//! Datasets of several agents: the recorded games of two cooks, and files that are wrong.
#![allow(clippy::unnecessary_cast)] // `Real` is `f64` in some builds.

mod shared;

use backcast_core::{Key, Real};
use backcast_data::{
    DataError, JointDataset,
    arrays::{Entry, Kind, ReadArrays, WriteArrays},
    h5, npz,
};
use shared::recorded;
use std::path::{Path, PathBuf};

/// Two agents, two numbers each, three actions; two episodes of three rows, the first ended and the second cut.
fn write(path: &Path, change: impl Fn(&str, &mut Vec<usize>, &mut Vec<Real>) -> bool) {
    write_to(h5::create(path).unwrap(), change);
}

fn write_to(mut file: Box<dyn WriteArrays>, change: impl Fn(&str, &mut Vec<usize>, &mut Vec<Real>) -> bool) {
    let numbers = |n: usize| (0..n).map(|i| i as Real).collect::<Vec<_>>();
    let actions = (0..12).map(|i| (i % 3) as Real).collect::<Vec<_>>();
    for (name, shape, values) in [
        ("observations", vec![6, 2, 2], numbers(24)),
        ("actions", vec![6, 2], actions),
        ("rewards", vec![6], numbers(6)),
        ("terminals", vec![6], vec![0.0, 0.0, 1.0, 0.0, 0.0, 0.0]),
        ("timeouts", vec![6], vec![0.0, 0.0, 0.0, 0.0, 0.0, 1.0]),
        ("next_observations", vec![6, 2, 2], numbers(24).iter().map(|x| x + 100.0).collect()),
        ("state", vec![6, 3], numbers(18)),
        ("next_state", vec![6, 3], numbers(18)),
    ] {
        let (mut shape, mut values) = (shape, values);
        if change(name, &mut shape, &mut values) {
            file.reals(name, &shape, &values).unwrap();
        }
    }
    file.finish().unwrap();
}

fn written(
    change: impl Fn(&str, &mut Vec<usize>, &mut Vec<Real>) -> bool,
) -> (Result<JointDataset, DataError>, PathBuf) {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("joint.hdf5");
    write(&path, change);
    (JointDataset::read(&path, 3), path)
}

#[test]
fn a_dataset_is_the_same_from_an_npz() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("joint.npz");
    write_to(npz::create(&path).unwrap(), |_, _, _| true);
    let dataset = written(|_, _, _| true).0.unwrap();
    assert_eq!(JointDataset { origin: dataset.origin.clone(), ..JointDataset::read(&path, 3).unwrap() }, dataset);
}

#[test]
fn a_dataset_is_read_and_split_into_transitions() {
    let dataset = written(|_, _, _| true).0.unwrap();
    assert_eq!((dataset.len(), dataset.agents(), dataset.episodes()), (6, 2, vec![0..3, 3..6]));
    let all = dataset.transitions(&[0, 1]);
    assert_eq!(all.rows, [0, 1, 2, 3, 4, 5]);
    assert_eq!(all.first, [true, false, false, true, false, false]);
    assert_eq!(all.terminal.to_vec(), [0.0, 0.0, 1.0, 0.0, 0.0, 0.0], "a truncation is no terminal");
    assert_eq!(all.next_obs[[5, 1, 1]], 123.0);
    assert_eq!(all.next_act.row(3), dataset.act.row(4));
    assert_eq!(dataset.transitions(&[1]).rows, [3, 4, 5]);

    // Without what comes next it is the row after; a truncation has none, an end needs none.
    let dataset = written(|name, _, _| name != "next_observations" && !name.ends_with("state")).0.unwrap();
    let all = dataset.transitions(&[0, 1]);
    assert_eq!((all.rows, dataset.states), (vec![0, 1, 2, 3, 4], None));
    assert_eq!(all.next_obs.index_axis(ndarray::Axis(0), 3), dataset.obs.index_axis(ndarray::Axis(0), 4));
}

#[test]
fn episodes_are_split_whole() {
    let dataset = written(|_, _, _| true).0.unwrap();
    for seed in 0..4 {
        for share in [0.0, 0.5, 1.0] {
            let [mut one, other] = dataset.split(share, Key::new(seed));
            assert!(!one.is_empty() && !other.is_empty());
            one.extend(other);
            one.sort_unstable();
            assert_eq!(one, [0, 1]);
        }
    }
}

#[test]
fn what_is_wrong_is_named() {
    for (dataset, what) in [
        ("observations", "missing"),
        ("actions", "missing"),
        ("next_state", "missing"),
        ("observations", "flat"),
        ("actions", "turned"),
        ("next_observations", "turned"),
        ("rewards", "turned"),
        ("next_state", "turned"),
    ] {
        let (result, _) = written(|name, shape, _| match (name == dataset, what) {
            (true, "missing") => false,
            (true, "flat") => {
                *shape = vec![6, 4];
                true
            }
            (true, _) => {
                shape.reverse();
                shape.push(1);
                if name == "rewards" {
                    *shape = vec![2, 3];
                }
                true
            }
            _ => true,
        });
        let error = result.expect_err(what).to_string();
        assert!(error.contains(&format!("`{dataset}`")) && error.contains("joint.hdf5"), "{dataset} {what}: {error}");
    }
    for (dataset, at, wrong) in [
        ("actions", 7, 3.0),
        ("actions", 7, -1.0),
        ("actions", 7, 0.5),
        ("observations", 13, Real::NAN),
        ("rewards", 3, Real::INFINITY),
    ] {
        let (result, path) = written(|name, _, values| {
            if name == dataset {
                values[at] = wrong;
            }
            true
        });
        let width = match dataset {
            "actions" => 2,
            "observations" => 4,
            _ => 1,
        };
        match result.expect_err(dataset) {
            DataError::Value { file, dataset: found, row, column, .. } => {
                assert_eq!((file, found.as_str(), row, column), (path, dataset, at / width, at % width));
            }
            other => panic!("{other}"),
        }
    }
}

/// Two cooks in five kitchens.
/// A container that declares more than there can be, and has nothing.
struct Boastful(Vec<String>);

impl ReadArrays for Boastful {
    fn path(&self) -> &Path {
        Path::new("boastful")
    }

    fn names(&self) -> &[String] {
        &self.0
    }

    fn entry(&self, array: &str) -> Result<Entry, DataError> {
        let shape = match array {
            "observations" => vec![1, usize::MAX / 2, 3],
            "actions" => vec![1, usize::MAX / 2],
            _ => vec![1],
        };
        Ok(Entry { name: array.into(), shape, kind: Kind::Float { bytes: 4 }, storage: "nowhere".into() })
    }

    fn bytes(&self, array: &str) -> Result<Vec<u8>, DataError> {
        Err(self.unexpected(array, "nothing".into(), "numbers"))
    }
}

#[test]
fn sizes_whose_product_is_no_number_are_refused() {
    let names = ["actions", "observations", "rewards", "terminals", "timeouts"].map(String::from);
    let error = JointDataset::read_from(&Boastful(names.to_vec()), 3).unwrap_err().to_string();
    assert!(error.contains("boastful") && error.contains("observations"), "{error}");
}

#[test]
fn flipped_bytes_never_bring_the_reader_down() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("joint.hdf5");
    write(&path, |_, _, _| true);
    let whole = std::fs::read(&path).unwrap();
    let mut refused = 0;
    for seed in 0..400 {
        let key = Key::new(seed).name("flip");
        let mut damaged = whole.clone();
        for flip in 0..1 + key.below(4, 0) {
            let at = key.fold(flip as u64).below(whole.len(), 0);
            damaged[at] = [0xFF, damaged[at] ^ 1 << key.below(8, 1)][key.below(2, 2)];
        }
        std::fs::write(&path, &damaged).unwrap();
        let read = std::panic::catch_unwind(|| JointDataset::read(&path, 3));
        refused += read.unwrap_or_else(|_| panic!("seed {seed}: the reader panicked")).is_err() as usize;
    }
    assert!(refused > 20, "only {refused} of 400 damaged files were refused");
}

#[test]
fn the_recorded_games_are_whole() {
    let mut games = 0;
    for (layout, rows, episodes, best) in [
        ("asymmetric_advantages", 20_385, 17, 205.0),
        ("coordination_ring", 19_181, 16, 105.0),
        ("cramped_room", 19_190, 16, 120.0),
        ("random0", 14_375, 12, 120.0),
        ("random3", 17_971, 15, 85.0),
    ] {
        let Some(path) = recorded("the_recorded_games_are_whole", &format!("overcooked/{layout}.hdf5")) else { return };
        let dataset = JointDataset::read(&path, 6).unwrap_or_else(|error| panic!("{error}"));
        let all = dataset.episodes();
        assert_eq!((dataset.len(), all.len(), dataset.agents()), (rows, episodes, 2), "{layout}");
        let returns = all.iter().map(|e| dataset.reward.slice(ndarray::s![e.clone()]).sum());
        assert_eq!(returns.fold(0.0, Real::max), best, "{layout}");
        assert!(dataset.terminal.iter().all(|end| !end), "{layout}: games are truncated, none ends");
        let next = dataset.next_obs.as_ref().expect("recorded");
        for game in &all {
            assert!(game.len() > 1000, "{layout}: {game:?}");
            for row in game.start..game.end - 1 {
                let (after, own) =
                    (dataset.obs.index_axis(ndarray::Axis(0), row + 1), next.index_axis(ndarray::Axis(0), row));
                assert_eq!(after, own, "{layout}: row {row}");
            }
            // The last row's successor is its own game's: games begin where the cooks stand, and none ends there.
            if game.end < dataset.len() {
                let (leak, own) = (
                    dataset.obs.index_axis(ndarray::Axis(0), game.end),
                    next.index_axis(ndarray::Axis(0), game.end - 1),
                );
                assert_ne!(leak, own, "{layout}: row {} leaks into the next game", game.end - 1);
            }
        }
        games += all.len();
        assert!(
            matches!(JointDataset::read(&path, 5), Err(DataError::Value { .. })),
            "{layout}: six actions, not five"
        );
    }
    assert_eq!(games, 76);
}
