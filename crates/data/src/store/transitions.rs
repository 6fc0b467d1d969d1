//! Transitions in a column file: written a block at a time, drawn from a memory map.

use super::mmap::Map;
use super::{ALIGNMENT, Content, Directory, FIRST, KIND, REAL, changed};
use crate::arrays::holds;
use crate::{DataError, atomic};
use backcast_core::{Column, Key, Real, Source, Spec, Transitions};
use std::fs::File;
use std::io::{Seek, SeekFrom, Write};
use std::ops::Range;
use std::path::{Path, PathBuf};

/// The columns by their names in the file; the last is there or not.
const NAMES: [&str; 6] = ["observations", "actions", "rewards", "next_observations", "terminals", "next_actions"];
const COLUMNS: [Column; 5] = [Column::Obs, Column::Act, Column::Reward, Column::NextObs, Column::Terminal];

/// Transitions on disk, drawn from without being loaded.
///
/// ```
/// use backcast_core::{Transitions, Key, Source, Spec};
/// use backcast_data::store::{Stored, StoredWriter};
///
/// let mut rows = Transitions::new(Spec::new(2, 1));
/// (0..100).for_each(|t| rows.push(&[t as _, 0.0], &[0.5], t as _, &[t as f32 as _, 1.0], t == 99));
/// # let directory = tempfile::tempdir().unwrap();
/// # let path = directory.path().join("log.columns");
/// Stored::write(&path, &rows)?;
///
/// // The same key draws the same rows from the file as from memory.
/// let stored = Stored::open(&path)?;
/// let (mut a, mut b) = (Transitions::new(rows.spec()), Transitions::new(rows.spec()));
/// let key = Key::new(7).name("minibatch");
/// assert_eq!(stored.sample(key, 32, &mut a).obs, rows.sample(key, 32, &mut b).obs);
/// # Ok::<(), backcast_data::DataError>(())
/// ```
///
/// The operating system reads the pages that are touched and forgets them again when memory is short. The file must not be
/// changed in place or shortened while it is open; replacing it by another, as every writer of this crate does, is harmless.
pub struct Stored {
    path: PathBuf,
    map: Map,
    spec: Spec,
    rows: usize,
    places: [Range<usize>; 5],
    next_act: Option<Range<usize>>,
    directory: Directory,
}

impl Stored {
    /// Opens a column file of transitions. Its directory is checked, its columns are not read: see [`Stored::verify`].
    ///
    /// # Errors
    /// If it is damaged, holds a dataset, or was written by a build with another [`Real`].
    pub fn open(path: &Path) -> Result<Self, DataError> {
        let mut file = File::open(path).map_err(|source| DataError::io(path, source))?;
        let length = file.metadata().map_err(|source| DataError::io(path, source))?.len();
        let directory = Directory::read(path, &mut file, length)?;
        let malformed = |why: &str| DataError::Format { file: path.into(), kind: KIND, bytes: length, why: why.into() };
        let (Content::Transitions, Some(act_limit)) = (directory.content, directory.act_limit) else {
            let why =
                "holds a dataset, and only transitions can be drawn from; read it and make transitions of it first";
            return Err(DataError::Unknown { file: path.into(), why: why.into() });
        };
        let map = Map::new(&file).map_err(|source| DataError::io(path, source))?;
        let rows = directory.column(path, "rewards")?.shape.first().copied().unwrap_or(0);
        let place = |name: &str| {
            let column = directory.column(path, name)?;
            let found = column.r#type.kind().to_string();
            if column.r#type != REAL {
                let (file, dataset) = (path.into(), name.into());
                return Err(DataError::Kind { file, dataset, found, expected: "the numbers of this build" });
            }
            let [n, width] = column.shape[..] else { return Err(malformed("a column is no matrix")) };
            let range = column.at as usize..(column.at + column.bytes) as usize;
            if n != rows || map.reals(range.clone()).is_none() {
                return Err(malformed("its columns are not of one length"));
            }
            Ok((range, width))
        };
        let [(obs, o), (act, a), (reward, 1), (next_obs, n), (terminal, 1)] = [
            place("observations")?,
            place("actions")?,
            place("rewards")?,
            place("next_observations")?,
            place("terminals")?,
        ] else {
            return Err(malformed("rewards and terminals have one column"));
        };
        let next_act = if directory.column(path, "next_actions").is_ok() { Some(place("next_actions")?) } else { None };
        if n != o || next_act.as_ref().is_some_and(|(_, width)| *width != a) {
            return Err(malformed("its columns do not fit each other"));
        }
        if rows == 0 {
            return Err(DataError::Empty { file: path.into(), why: "a column file of transitions without a row" });
        }
        let spec = Spec::new(o, a).with_act_limit(act_limit as Real);
        let places = [obs, act, reward, next_obs, terminal];
        let next_act = next_act.map(|(range, _)| range);
        Ok(Self { path: path.into(), map, spec, rows, places, next_act, directory })
    }

    /// Writes transitions that are in memory. See [`StoredWriter`] for those that are not.
    ///
    /// # Errors
    /// If there is no row, or the system refuses; whatever stood at `path` is then still there.
    pub fn write(path: &Path, columns: &Transitions) -> Result<(), DataError> {
        let followed = columns.next_actions().is_some();
        StoredWriter::write(path, columns.spec(), columns.len(), followed, |writer| writer.push(columns))
    }

    /// Compares the checksum of every column with its bytes, and looks for values that nothing can be learnt from: reads the whole
    /// file.
    ///
    /// # Errors
    /// Names the first column that has changed, or the first value that is NaN or infinite, or a terminal that is neither 0 nor 1.
    pub fn verify(&self) -> Result<(), DataError> {
        for column in &self.directory.columns {
            let bytes = self.map.bytes(column.at as usize..(column.at + column.bytes) as usize);
            if !holds(crc32fast::hash(bytes), column.checksum) {
                return Err(changed(&self.path, &column.name));
            }
            let flag = column.name == "terminals";
            let sound = |x: &Real| x.is_finite() && (!flag || *x == 0.0 || *x == 1.0);
            let values = self.map.reals(column.at as usize..(column.at + column.bytes) as usize);
            let values = values.filter(|_| column.r#type == REAL).unwrap_or_default();
            if let Some(at) = values.iter().position(|x| !sound(x)) {
                let width = column.shape.get(1).copied().unwrap_or(1).max(1);
                return Err(DataError::Value {
                    file: self.path.clone(),
                    dataset: column.name.clone(),
                    row: at / width,
                    column: at % width,
                    value: values[at] as f64,
                    expected: if flag { "a flag, 0 or 1" } else { "finite" },
                });
            }
        }
        Ok(())
    }

    /// All values of one column, row after row.
    pub fn values(&self, column: Column) -> &[Real] {
        let at = COLUMNS.iter().position(|c| *c == column).expect("there are five columns");
        self.reals(&self.places[at])
    }

    /// *a′* of every row, row after row, if it is kept.
    pub fn next_actions(&self) -> Option<&[Real]> {
        self.next_act.as_ref().map(|range| self.reals(range))
    }

    fn reals(&self, range: &Range<usize>) -> &[Real] {
        self.map.reals(range.clone()).expect("alignment and length were checked when it was opened")
    }

    fn row(&self, column: Column, row: usize) -> &[Real] {
        let width = self.spec.width(column);
        &self.values(column)[row * width..][..width]
    }

    /// The rows of `range`, loaded.
    ///
    /// # Panics
    /// If it reaches beyond the last row.
    pub fn load(&self, range: Range<usize>) -> Transitions {
        let mut out = Transitions::new(self.spec).with_next_actions(self.next_act.is_some());
        out.reserve(range.len());
        range.for_each(|row| self.push_row(row, &mut out));
        out
    }

    fn push_row(&self, row: usize, out: &mut Transitions) {
        let [obs, act, reward, next_obs, terminal] = COLUMNS.map(|column| self.row(column, row));
        let ended = terminal[0] == 1.0;
        if out.next_actions().is_none() {
            return out.push(obs, act, reward[0], next_obs, ended);
        }
        let next = self.next_actions().expect("Stored: rows with next actions cannot be drawn from a file without");
        let width = self.spec.act;
        out.push_followed(obs, act, reward[0], next_obs, ended, &next[row * width..][..width]);
    }
}

/// Uniform draws with replacement.
impl Source for Stored {
    fn spec(&self) -> Spec {
        self.spec
    }

    fn len(&self) -> usize {
        self.rows
    }

    fn sample_into(&self, key: Key, rows: usize, out: &mut Transitions) {
        for i in 0..rows {
            self.push_row(key.below(self.rows, i), out);
        }
    }
}

/// A column file of transitions being written, a block at a time: no more of it is in memory than the block.
pub struct StoredWriter {
    path: PathBuf,
    file: File,
    spec: Spec,
    rows: usize,
    written: usize,
    directory: Directory,
    checksums: Vec<crc32fast::Hasher>,
    end: u64,
    block: Vec<u8>,
}

impl StoredWriter {
    /// Writes a file of exactly `rows` transitions, which `fill` pushes; with `next_actions`, every block must have them.
    ///
    /// The file appears whole or not at all.
    ///
    /// # Errors
    /// If `rows` is zero or another number was pushed, `fill` fails, or the system refuses.
    pub fn write(
        path: &Path,
        spec: Spec,
        rows: usize,
        next_actions: bool,
        fill: impl FnOnce(&mut Self) -> Result<(), DataError>,
    ) -> Result<(), DataError> {
        if rows == 0 {
            return Err(DataError::Empty { file: path.into(), why: "no transitions are not written" });
        }
        atomic::replace(path, |path| {
            let mut writer = Self::create(path, spec, rows, next_actions)?;
            fill(&mut writer)?;
            writer.finish()
        })
    }

    fn create(path: &Path, spec: Spec, rows: usize, next_actions: bool) -> Result<Self, DataError> {
        let widths = [spec.obs, spec.act, 1, spec.obs, 1, spec.act];
        let (mut end, mut columns) = (FIRST, Vec::new());
        for (name, width) in NAMES.into_iter().zip(widths).take(5 + next_actions as usize) {
            let bytes = (rows * width * size_of::<Real>()) as u64;
            let (at, shape) = (end, vec![rows, width]);
            columns.push(super::Column { name: name.into(), r#type: REAL, shape, at, bytes, checksum: 0 });
            end += bytes.next_multiple_of(ALIGNMENT);
        }
        let file = File::create(path).map_err(|source| DataError::io(path, source))?;
        // Room is asked for now, so that a full disk is known of before hours of writing rather than after.
        file.set_len(end).map_err(|source| DataError::io(path, source))?;
        let checksums = vec![crc32fast::Hasher::new(); columns.len()];
        let directory = Directory { content: Content::Transitions, act_limit: Some(spec.act_limit as f64), columns };
        Ok(Self { path: path.into(), file, spec, rows, written: 0, directory, checksums, end, block: Vec::new() })
    }

    /// Appends the rows of `block`.
    ///
    /// # Errors
    /// If there are more rows than were announced, or the system refuses.
    ///
    /// # Panics
    /// If the widths differ, or next actions are missing.
    pub fn push(&mut self, block: &Transitions) -> Result<(), DataError> {
        let spec = block.spec();
        let same = (spec.obs, spec.act) == (self.spec.obs, self.spec.act);
        assert!(same, "StoredWriter::push: {spec:?} does not fit {:?}", self.spec);
        let all = COLUMNS.map(|column| Some(block.values(column))).into_iter().chain([block.next_actions()]);
        if self.written + block.len() > self.rows {
            return Err(self.miscounted(self.written + block.len()));
        }
        for (i, values) in all.take(self.directory.columns.len()).enumerate() {
            let values = values.expect("StoredWriter::push: a block without next actions, where every row has one");
            let column = &self.directory.columns[i];
            let at = column.at + (self.written * column.shape[1] * size_of::<Real>()) as u64;
            self.block.clear();
            values.iter().for_each(|x| self.block.extend(x.to_le_bytes()));
            self.checksums[i].update(&self.block);
            self.file
                .seek(SeekFrom::Start(at))
                .and_then(|_| self.file.write_all(&self.block))
                .map_err(|source| DataError::io(&self.path, source))?;
        }
        self.written += block.len();
        Ok(())
    }

    fn miscounted(&self, rows: usize) -> DataError {
        let expected = format!("[{}, …], as announced", self.rows);
        DataError::Shape {
            file: self.path.clone(),
            dataset: NAMES[0].into(),
            found: vec![rows, self.spec.obs],
            expected,
        }
    }

    fn finish(mut self) -> Result<(), DataError> {
        if self.written != self.rows {
            return Err(self.miscounted(self.written));
        }
        for (column, checksum) in self.directory.columns.iter_mut().zip(self.checksums) {
            column.checksum = checksum.finalize();
        }
        self.directory.write(&self.path, self.file, self.end)
    }
}
