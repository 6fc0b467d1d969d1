//! Column files of transitions: the same bits as in memory, whole or not at all, and every changed byte is noticed.
#![allow(clippy::unnecessary_cast)] // `Real` is `f64` in some builds.

mod shared;

use backcast_core::{Column, Key, Real, Source, Spec, Transitions};
use backcast_data::store::{Stored, StoredWriter};
use backcast_data::{DataError, Format, Mixture, Normaliser, Options, ReadOptions, Scale, WriteOptions, read, write};
use shared::{Next, counters};
use std::path::Path;

const COLUMNS: [Column; 5] = [Column::Obs, Column::Act, Column::Reward, Column::NextObs, Column::Terminal];

/// Noise of odd widths, so that columns do not end where the next one may begin.
fn noise(rows: usize, next_actions: bool) -> Transitions {
    let spec = Spec::new(3, 2).with_act_limit(2.5);
    let mut columns = Transitions::new(spec).with_next_actions(next_actions);
    let mut values = vec![0.0; 11];
    for t in 0..rows {
        Key::new(5).fold(t as u64).normal(&mut values);
        let (obs, act, next, next_act, terminal) =
            (&values[..3], &values[3..5], &values[5..8], &values[8..10], t % 7 == 0);
        if next_actions {
            columns.push_followed(obs, act, values[10], next, terminal, next_act);
        } else {
            columns.push(obs, act, values[10], next, terminal);
        }
    }
    columns
}

fn same(a: &Transitions, b: &Transitions) -> bool {
    let bits = |values: &[Real]| values.iter().map(|x| x.to_bits()).collect::<Vec<_>>();
    COLUMNS.iter().all(|&c| bits(a.values(c)) == bits(b.values(c)))
        && a.next_actions().map(bits) == b.next_actions().map(bits)
}

#[test]
fn draws_from_a_file_are_the_bits_of_draws_from_memory() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("rows.columns");
    for next_actions in [false, true] {
        let rows = noise(1001, next_actions);
        Stored::write(&path, &rows).unwrap();
        let stored = Stored::open(&path).unwrap();
        stored.verify().unwrap();
        assert_eq!((Source::len(&stored), stored.spec()), (1001, rows.spec()));
        assert!(same(&stored.load(0..1001), &rows));
        assert!(stored.values(Column::NextObs) == rows.values(Column::NextObs));
        for keep in [false, next_actions] {
            let staging = || Transitions::new(rows.spec()).with_next_actions(keep);
            let (mut a, mut b) = (staging(), staging());
            for draw in 0..20 {
                stored.sample(Key::new(3).fold(draw), 64, &mut a);
                rows.sample(Key::new(3).fold(draw), 64, &mut b);
                assert!(same(&a, &b), "draw {draw}");
            }
        }
        // It stands wherever a source does.
        let mut staging = Transitions::new(rows.spec());
        assert_eq!(Mixture::new(&stored, &stored, 0.5).sample(Key::new(1), 10, &mut staging).len(), 10);
    }
    assert_eq!(std::fs::read_dir(directory.path()).unwrap().count(), 1, "nothing is left beside the file");
}

#[test]
fn drawing_from_a_file_allocates_nothing_once_it_is_warm() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("rows.columns");
    let rows = noise(500, false);
    Stored::write(&path, &rows).unwrap();
    let stored = Stored::open(&path).unwrap();
    let mut staging = Transitions::new(rows.spec());
    stored.sample(Key::new(0), 256, &mut staging);
    let counted = allocation_counter::measure(|| {
        let _ = stored.sample(Key::new(1), 256, &mut staging);
    });
    assert_eq!(counted.count_total, 0);
}

#[test]
fn blocks_make_the_file_that_one_piece_makes() {
    let directory = tempfile::tempdir().unwrap();
    let [whole, parts] = ["whole", "parts"].map(|name| directory.path().join(name));
    let rows = noise(100, true);
    Stored::write(&whole, &rows).unwrap();
    let push = |writer: &mut StoredWriter, count: usize| {
        for first in (0..count).step_by(33) {
            let mut block = Transitions::new(rows.spec()).with_next_actions(true);
            (first..(first + 33).min(count)).for_each(|row| block.push_row(&rows, row));
            writer.push(&block)?;
        }
        Ok(())
    };
    StoredWriter::write(&parts, rows.spec(), 100, true, |writer| push(writer, 100)).unwrap();
    assert!(std::fs::read(&whole).unwrap() == std::fs::read(&parts).unwrap());
    // Another number of rows than announced: the old file stays.
    for count in [66, 100] {
        let error = StoredWriter::write(&parts, rows.spec(), 80, true, |writer| push(writer, count)).unwrap_err();
        assert!(matches!(error, DataError::Shape { .. }), "{error}");
        assert!(same(&Stored::open(&parts).unwrap().load(0..100), &rows));
    }
    let error = StoredWriter::write(&parts, rows.spec(), 0, true, |_| Ok(())).unwrap_err();
    assert!(matches!(error, DataError::Empty { .. }), "{error}");
    assert_eq!(std::fs::read_dir(directory.path()).unwrap().count(), 2);
}

#[test]
fn statistics_can_be_fitted_where_the_rows_lie() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("rows.columns");
    let rows = noise(300, false);
    Stored::write(&path, &rows).unwrap();
    let stored = Stored::open(&path).unwrap();
    let view = ndarray::ArrayView2::from_shape((300, 3), stored.values(Column::Obs)).unwrap();
    assert_eq!(Normaliser::fit(view, Scale::AtLeast(1e-3)), Normaliser::fit(rows.batch().obs, Scale::AtLeast(1e-3)));
}

/// Opens and reads whatever is at `path`, in both ways there are.
fn attempt(path: &Path) -> Result<(), DataError> {
    match Stored::open(path) {
        Ok(stored) => stored.verify(),
        Err(DataError::Unknown { .. }) => {
            read(path, &ReadOptions { format: Some(Format::Columns), ..Default::default() }).map(drop)
        }
        Err(error) => Err(error),
    }
}

#[test]
fn a_file_cut_short_or_with_a_byte_changed_is_refused_by_name() {
    let directory = tempfile::tempdir().unwrap();
    let [rows, dataset, broken] =
        ["rows.columns", "log.columns", "broken.columns"].map(|name| directory.path().join(name));
    Stored::write(&rows, &noise(20, true)).unwrap();
    write(&dataset, Format::Columns, &counters(&[8, 9], &[true, false], Next::True), &WriteOptions::default()).unwrap();
    // The bytes of each column: 20 rows of 3, 2, 1, 3, 1 and 2 numbers; 17 rows of 1, 1, 1 and 1 numbers and two flags.
    let real = size_of::<Real>();
    let columns = [
        vec![60 * real, 40 * real, 20 * real, 60 * real, 20 * real, 40 * real],
        [vec![17 * real; 4], vec![17; 2]].concat(),
    ];
    for (source, columns) in [&rows, &dataset].into_iter().zip(columns) {
        attempt(source).unwrap();
        let bytes = std::fs::read(source).unwrap();
        for length in (0..bytes.len()).step_by(13).chain([bytes.len() - 1]) {
            std::fs::write(&broken, &bytes[..length]).unwrap();
            let error = attempt(&broken).expect_err("a file cut short");
            assert!(error.file() == broken, "{error}");
        }
        let mut unnoticed = 0;
        for at in 0..bytes.len() {
            let mut changed = bytes.clone();
            changed[at] ^= 0x10;
            std::fs::write(&broken, &changed).unwrap();
            unnoticed += attempt(&broken).is_ok() as usize;
        }
        // Only what stands between columns, and behind the words of the preamble, means nothing.
        let padding: usize = columns.iter().map(|bytes| bytes.next_multiple_of(64) - bytes).sum();
        assert_eq!(unnoticed, padding + 64 - 28);
    }
}

#[test]
fn what_cannot_be_drawn_from_or_read_as_rows_says_what_to_do() {
    let directory = tempfile::tempdir().unwrap();
    let [rows, dataset] = ["rows.columns", "log.columns"].map(|name| directory.path().join(name));
    let recorded = counters(&[8, 9], &[true, false], Next::True);
    Stored::write(&rows, recorded.transitions(&Options::default()).unwrap().0.transitions()).unwrap();
    write(&dataset, Format::Columns, &recorded, &WriteOptions::default()).unwrap();
    let error = read(&rows, &ReadOptions::default()).unwrap_err().to_string();
    assert!(error.contains("holds transitions"), "{error}");
    let Err(error) = Stored::open(&dataset) else { panic!("a dataset was opened for drawing") };
    assert!(error.to_string().contains("make transitions of it first"), "{error}");
}

/// A column file of transitions made by hand: one observation, one action, `rows` rows, all of them `value`.
fn by_hand(path: &Path, rows: usize, value: Real) {
    let (mut body, mut columns) = (Vec::new(), Vec::new());
    for name in ["observations", "actions", "rewards", "next_observations", "terminals"] {
        let value = if name == "terminals" { 0.0 } else { value };
        let bytes: Vec<u8> = (0..rows).flat_map(|_| value.to_le_bytes()).collect();
        let kind = if size_of::<Real>() == 4 { "f32" } else { "f64" };
        columns.push(format!(
            r#"{{"name":"{name}","type":"{kind}","shape":[{rows},1],"at":{},"bytes":{},"checksum":{}}}"#,
            64 + body.len(),
            bytes.len(),
            crc32fast::hash(&bytes)
        ));
        body.extend(&bytes);
        body.resize(body.len().next_multiple_of(64), 0);
    }
    let directory = format!(r#"{{"content":"transitions","act_limit":1.0,"columns":[{}]}}"#, columns.join(","));
    let mut file = b"BACKCOL1".to_vec();
    file.extend((64 + body.len() as u64).to_le_bytes());
    file.extend((directory.len() as u64).to_le_bytes());
    file.extend(crc32fast::hash(directory.as_bytes()).to_le_bytes());
    file.resize(64, 0);
    file.extend(body);
    file.extend(directory.as_bytes());
    std::fs::write(path, file).unwrap();
}

#[test]
fn transitions_without_rows_or_with_nan_are_errors_though_every_checksum_holds() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("by-hand.columns");
    by_hand(&path, 3, 0.5);
    Stored::open(&path).unwrap().verify().unwrap();
    for value in [Real::NAN, Real::NEG_INFINITY] {
        by_hand(&path, 3, value);
        match Stored::open(&path).unwrap().verify().unwrap_err() {
            DataError::Value { dataset, row: 0, column: 0, .. } => assert_eq!(dataset, "actions"),
            other => panic!("{other}"),
        }
    }
    by_hand(&path, 0, 0.5);
    assert!(matches!(Stored::open(&path), Err(DataError::Empty { .. })));
}

#[test]
fn the_hostile_transitions_that_were_reported_are_refused() {
    let test = "the_hostile_transitions_that_were_reported_are_refused";
    let Some(empty) = shared::recorded(test, "../cases/hostile/tr_rows0.columns") else { return };
    let Some(nan) = shared::recorded(test, "../cases/hostile/tr_nan.columns") else { return };
    assert!(Stored::open(&empty).and_then(|stored| stored.verify()).is_err());
    assert!(Stored::open(&nan).and_then(|stored| stored.verify()).is_err());
}
