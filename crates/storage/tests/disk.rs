//! Whatever fails while a checkpoint is replaced, at whatever moment, there is afterwards the old one or the new one.

mod faulty;

use backcast_core::{Real, Slot, State, fingerprint};
use backcast_storage::{Disk, UNFINISHED, load_from, replace, save_on};
use faulty::{Fault, Memory};
use std::{collections::BTreeMap, io, path::Path};

/// A state large enough to be written in several parts.
struct Weights(Vec<Real>);

impl Weights {
    fn of(value: Real) -> Self {
        Self((0..600_000).map(|i| value + i as Real).collect())
    }
}

impl State for Weights {
    fn visit(&mut self, f: &mut dyn FnMut(&str, Slot<'_>)) {
        f("weights", Slot::Tensor(&[self.0.len()], &mut self.0));
    }
}

/// A way to replace the content of a file.
type Replacement<'a> = &'a dyn Fn(&dyn Disk, &Path, &[u8]) -> io::Result<()>;

/// Ways in which a replacement went wrong: what failed, and what was then there.
type Losses = Vec<String>;

/// Replaces an old file by a new one by means of `how`, with every fault at every operation and every way of coming back; returns
/// the cases that were tried, and those after which there was neither of the two, or not the new one after a success.
fn try_everything(how: Replacement<'_>) -> (usize, Losses) {
    let path = Path::new("run/checkpoint");
    let [old, new] = [1_u8, 2].map(|byte| vec![byte; 2_500_000]);
    let start = Memory::default();
    replace(&start, path, &old).expect("a sound disk");
    let start = start.after_crash(faulty::Survival { names: 0, contents: faulty::Unsynced::Lost });
    assert_eq!(start.contents()[path], old, "the old file is durable");

    let count = {
        let whole = start.failing(usize::MAX, Fault::Error);
        how(&whole, path, &new).expect("nothing fails");
        whole.operations().len()
    };
    let (mut cases, mut losses) = (0, Losses::new());
    // One more than there are operations: the power goes after the last.
    for (at, fault) in (0..=count).flat_map(|at| Fault::ALL.map(|fault| (at, fault))) {
        let disk = start.failing(at, fault);
        let result = how(&disk, path, &new);
        // Nothing failed: the power goes right after success.
        let crashed = fault.is_crash() || at == count;
        let after = match crashed {
            true => disk.survivals().into_iter().map(|s| (format!("{s:?}"), disk.after_crash(s))).collect(),
            false => vec![("mended".to_owned(), disk.mended())],
        };
        for (way, after) in after {
            cases += 1;
            let there = after.contents().get(path).cloned();
            let sound = there == Some(new.clone()) || there == Some(old.clone()) && result.is_err();
            // And the next replacement succeeds.
            let next = replace(&after, path, &new).is_ok() && after.contents()[path] == new;
            if !sound || !next {
                let is = there.map_or("nothing".to_owned(), |t| format!("{} bytes", t.len()));
                losses.push(format!("{fault:?} at operation {at} of {:?}, {way}: {is}, {result:?}", disk.operations()));
            }
        }
    }
    (cases, losses)
}

#[test]
fn a_replaced_file_is_the_old_or_the_new_whatever_fails() {
    let (cases, losses) = try_everything(&|disk, path, bytes| replace(disk, path, bytes));
    assert!(losses.is_empty(), "{} of {cases}:\n{}", losses.len(), losses.join("\n"));
    assert!(cases > 60, "{cases} cases");
}

/// What it would be to leave out a step: each is noticed.
#[test]
fn a_step_left_out_is_noticed() {
    let beside = Path::new("run/beside");
    let in_place = |disk: &dyn Disk, path: &Path, bytes: &[u8]| {
        disk.remove(path)?;
        let mut file = disk.create(path)?;
        file.write(bytes)?;
        file.sync()?;
        disk.sync_folder(Path::new("run"))
    };
    let unsynced = |disk: &dyn Disk, path: &Path, bytes: &[u8]| {
        let _ = disk.remove(beside);
        disk.create(beside)?.write(bytes)?;
        disk.rename(beside, path)?;
        disk.sync_folder(Path::new("run"))
    };
    let folder_forgotten = |disk: &dyn Disk, path: &Path, bytes: &[u8]| {
        let _ = disk.remove(beside);
        let mut file = disk.create(beside)?;
        file.write(bytes)?;
        file.sync()?;
        drop(file);
        disk.rename(beside, path)
    };
    for (name, how) in [
        ("in place", &in_place as Replacement<'_>),
        ("not synced", &unsynced),
        ("folder not synced", &folder_forgotten),
    ] {
        let (cases, losses) = try_everything(how);
        assert!(!losses.is_empty(), "{name}: all of {cases} went well");
    }
}

#[test]
fn a_checkpoint_is_the_old_or_the_new_whatever_fails() {
    let path = Path::new("run/checkpoint.safetensors");
    let notes = |update: u64| BTreeMap::from([("update".to_owned(), update.to_string())]);
    let [old, new] = [1.0, 2.0].map(|value| fingerprint(&mut Weights::of(value)));
    let start = Memory::default();
    save_on(&start, &mut Weights::of(1.0), &notes(1), path).expect("a sound disk");
    let count = {
        let whole = start.failing(usize::MAX, Fault::Error);
        save_on(&whole, &mut Weights::of(2.0), &notes(2), path).expect("nothing fails");
        whole.operations().len()
    };
    assert!(count >= 7, "create, three writes, sync, rename, sync: {count}");
    for (at, fault) in (0..count).flat_map(|at| Fault::ALL.map(|fault| (at, fault))) {
        let disk = start.failing(at, fault);
        let result = save_on(&disk, &mut Weights::of(2.0), &notes(2), path);
        let full = matches!(&result, Err(e) if e.is_disk_full());
        assert!(fault != Fault::Full || result.is_ok() || full, "{result:?} does not say that the disk is full");
        let after = match fault.is_crash() {
            true => disk.survivals().into_iter().map(|s| disk.after_crash(s)).collect(),
            false => vec![disk.mended()],
        };
        for after in after {
            let mut found = Weights::of(0.0);
            let read = load_from(&after, &mut found, path).unwrap_or_else(|e| panic!("{fault:?} at {at}: {e}"));
            let whole = if read["update"] == "1" { old } else { new };
            assert_eq!(fingerprint(&mut found), whole, "{fault:?} at {at}");
            // Only a machine that went down leaves half a file behind.
            let left = after.contents().keys().filter(|p| p.to_string_lossy().ends_with(UNFINISHED)).count();
            assert!(left == 0 || fault.is_crash(), "{fault:?} at {at} leaves {left} files");
        }
    }
}
