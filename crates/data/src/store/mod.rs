//! Column files: whole columns of little-endian numbers in one file of our own, for datasets and for transitions.
//!
//! ```text
//! 0    8 bytes   "BACKCOL1"
//! 8    u64       where the directory begins
//! 16   u64       its length
//! 24   u32       its checksum (CRC-32), then four zero bytes
//! 64   …         the columns, each at a multiple of 64 bytes, row-major, little-endian
//!      …         the directory: JSON, for each column its name, type, shape, place, length and checksum
//! ```
//!
//! Nothing is compressed, so that a row can be found by arithmetic. A file appears whole or not at all. There are two kinds:
//!
//! - A **dataset** ([`Format::Columns`](crate::Format::Columns)) holds the arrays of [`d4rl`](crate::d4rl), everything a
//!   [`Dataset`] has. Reading it compares each checksum and unpacks nothing.
//! - **Transitions** ([`Stored`], [`StoredWriter`]) are the rows that algorithms draw. They are written a row or a block at a
//!   time, never all in memory, and drawn from a memory map: a [`Source`](backcast_core::Source) for datasets larger than
//!   memory, that gives the same bits as the same rows in [`Transitions`](backcast_core::Transitions).

mod mmap;
mod transitions;

pub use transitions::{Stored, StoredWriter};

use crate::arrays::{Eat, Entry, Kind, ReadArrays, WriteArrays, holds};
use crate::npz::in_blocks;
use crate::{DataError, Dataset};
use backcast_core::Real;
use serde::{Deserialize, Serialize};
use std::fs::File;
use std::io::{BufWriter, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::sync::Mutex;

/// The first bytes of every column file.
pub(crate) const MAGIC: [u8; 8] = *b"BACKCOL1";
const KIND: &str = "column file";
const FIRST: u64 = 64;
const ALIGNMENT: u64 = 64;

/// What is in a file: rows as recorded, or pairs of states.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Content {
    Dataset,
    Transitions,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Type {
    F32,
    F64,
    U8,
    Bool,
    I64,
}

const REAL: Type = if size_of::<Real>() == 4 { Type::F32 } else { Type::F64 };

impl Type {
    fn kind(self) -> Kind {
        match self {
            Self::F32 => Kind::Float { bytes: 4 },
            Self::F64 => Kind::Float { bytes: 8 },
            Self::U8 => Kind::Int { bytes: 1, signed: false },
            Self::Bool => Kind::Bool,
            Self::I64 => Kind::Int { bytes: 8, signed: true },
        }
    }
}

#[derive(Clone, Debug, Serialize, Deserialize)]
struct Column {
    name: String,
    r#type: Type,
    shape: Vec<usize>,
    at: u64,
    bytes: u64,
    checksum: u32,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
struct Directory {
    content: Content,
    /// Transitions only: the box of the actions.
    #[serde(default)]
    act_limit: Option<f64>,
    columns: Vec<Column>,
}

impl Directory {
    /// The directory of the file, which must be one, and whose columns must lie in it.
    fn read(path: &Path, file: &mut (impl Read + Seek), length: u64) -> Result<Self, DataError> {
        let malformed = |why: &str| DataError::Format { file: path.into(), kind: KIND, bytes: length, why: why.into() };
        let mut preamble = [0; 28];
        let read = file.seek(SeekFrom::Start(0)).and_then(|_| file.read_exact(&mut preamble));
        read.map_err(|_| malformed("cut short"))?;
        let word = |at: usize| u64::from_le_bytes(preamble[at..at + 8].try_into().expect("eight bytes"));
        let (at, size) = (word(8), word(16));
        if preamble[..8] != MAGIC {
            return Err(malformed("it does not begin like one"));
        }
        if at.checked_add(size).is_none_or(|end| end > length) {
            return Err(malformed("its directory is not there: cut short, or never finished"));
        }
        let mut text = vec![0; size as usize];
        let read = file.seek(SeekFrom::Start(at)).and_then(|_| file.read_exact(&mut text));
        read.map_err(|source| DataError::io(path, source))?;
        let expected = u32::from_le_bytes(preamble[24..28].try_into().expect("four bytes"));
        if !holds(crc32fast::hash(&text), expected) {
            return Err(malformed("the checksum of its directory does not hold"));
        }
        let mut directory: Self = serde_json::from_slice(&text).map_err(|error| malformed(&error.to_string()))?;
        for column in &directory.columns {
            let elements = column.shape.iter().try_fold(1u64, |n, &extent| n.checked_mul(extent as u64));
            let bytes = elements.and_then(|n| n.checked_mul(column.r#type.kind().bytes() as u64));
            let inside = column.at.checked_add(column.bytes).is_some_and(|end| end <= at);
            if bytes != Some(column.bytes) || !inside || column.at < FIRST || column.at % ALIGNMENT != 0 {
                let why = format!("shape {:?}, {} bytes at {}, which cannot be", column.shape, column.bytes, column.at);
                return Err(DataError::damaged(path, &column.name, None, why));
            }
        }
        directory.columns.sort_by(|a, b| a.name.cmp(&b.name));
        if let Some(twice) = directory.columns.windows(2).find(|pair| pair[0].name == pair[1].name) {
            return Err(DataError::damaged(path, &twice[0].name, None, "there are two columns of this name"));
        }
        Ok(directory)
    }

    fn column(&self, path: &Path, name: &str) -> Result<&Column, DataError> {
        let missing = || DataError::Missing { file: path.into(), dataset: name.into() };
        self.columns.iter().find(|column| column.name == name).ok_or_else(missing)
    }

    /// Puts the directory at the end of the file, where `at` is, and its place at the beginning.
    fn write(&self, path: &Path, mut file: File, at: u64) -> Result<(), DataError> {
        let text = serde_json::to_vec(self).expect("a directory is JSON");
        let mut preamble = MAGIC.to_vec();
        preamble.extend(at.to_le_bytes());
        preamble.extend((text.len() as u64).to_le_bytes());
        preamble.extend(crc32fast::hash(&text).to_le_bytes());
        preamble.resize(FIRST as usize, 0);
        let mut write = || {
            file.seek(SeekFrom::Start(at))?;
            file.write_all(&text)?;
            file.seek(SeekFrom::Start(0))?;
            file.write_all(&preamble)?;
            file.sync_all()
        };
        write().map_err(|source| DataError::io(path, source))
    }
}

/// The error for a column whose bytes have changed.
fn changed(path: &Path, name: &str) -> DataError {
    DataError::damaged(path, name, None, "its checksum does not hold: bytes have changed since it was written")
}

struct Reader {
    path: PathBuf,
    length: u64,
    names: Vec<String>,
    directory: Directory,
    file: Mutex<Box<dyn crate::npz::Bytes>>,
}

/// Opens a column file that holds a dataset.
///
/// # Errors
/// If it is damaged, or holds transitions.
pub fn open(path: &Path) -> Result<Box<dyn ReadArrays>, DataError> {
    let file = File::open(path).map_err(|source| DataError::io(path, source))?;
    let length = file.metadata().map_err(|source| DataError::io(path, source))?.len();
    open_bytes(path, Box::new(file), length)
}

/// [`open`] for `length` bytes that may lie in memory; `path` is for messages.
///
/// # Errors
/// As [`open`].
pub fn open_bytes(
    path: &Path,
    mut bytes: Box<dyn crate::npz::Bytes>,
    length: u64,
) -> Result<Box<dyn ReadArrays>, DataError> {
    let directory = Directory::read(path, &mut bytes, length)?;
    if directory.content == Content::Transitions {
        let why = "holds transitions, whose episodes are not known; draw from it (`Stored`), or convert the dataset it was made of";
        return Err(DataError::Unknown { file: path.into(), why: why.into() });
    }
    let names = directory.columns.iter().map(|column| column.name.clone()).collect();
    Ok(Box::new(Reader { path: path.into(), length, names, directory, file: Mutex::new(bytes) }))
}

impl ReadArrays for Reader {
    fn path(&self) -> &Path {
        &self.path
    }

    fn names(&self) -> &[String] {
        &self.names
    }

    fn budget(&self) -> u64 {
        self.length.saturating_mul(crate::h5::MAX_RATIO)
    }

    fn entry(&self, array: &str) -> Result<Entry, DataError> {
        let column = self.directory.column(&self.path, array)?;
        let (kind, shape) = (column.r#type.kind(), column.shape.clone());
        Ok(Entry { name: array.into(), shape, kind, storage: "column".into() })
    }

    fn bytes(&self, array: &str) -> Result<Vec<u8>, DataError> {
        let column = self.directory.column(&self.path, array)?;
        let mut file = self.file.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let mut bytes = vec![0; column.bytes as usize];
        let read = file.seek(SeekFrom::Start(column.at)).and_then(|_| file.read_exact(&mut bytes));
        read.map_err(|source| DataError::io(&self.path, source))?;
        if !holds(crc32fast::hash(&bytes), column.checksum) {
            return Err(changed(&self.path, array));
        }
        Ok(bytes)
    }
}

struct Writer {
    path: PathBuf,
    file: BufWriter<File>,
    at: u64,
    directory: Directory,
}

pub(crate) fn create(path: &Path, _dataset: &Dataset) -> Result<Box<dyn WriteArrays>, DataError> {
    let create = || {
        let mut file = BufWriter::new(File::create(path)?);
        file.write_all(&[0; FIRST as usize])?;
        Ok(file)
    };
    let file = create().map_err(|source| DataError::io(path, source))?;
    let directory = Directory { content: Content::Dataset, act_limit: None, columns: Vec::new() };
    Ok(Box::new(Writer { path: path.into(), file, at: FIRST, directory }))
}

impl Writer {
    fn add(
        &mut self,
        name: &str,
        r#type: Type,
        shape: &[usize],
        blocks: &mut dyn FnMut(&mut Eat<'_>),
    ) -> Result<(), DataError> {
        let (at, mut bytes, mut checksum, mut done) = (self.at, 0, crc32fast::Hasher::new(), Ok(()));
        blocks(&mut |block| {
            bytes += block.len() as u64;
            checksum.update(block);
            if done.is_ok() {
                done = self.file.write_all(block);
            }
        });
        let padding = bytes.next_multiple_of(ALIGNMENT) - bytes;
        done.and_then(|()| self.file.write_all(&[0; ALIGNMENT as usize][..padding as usize]))
            .map_err(|source| DataError::io(&self.path, source))?;
        self.at += bytes + padding;
        let (name, shape, checksum) = (name.into(), shape.into(), checksum.finalize());
        self.directory.columns.push(Column { name, r#type, shape, at, bytes, checksum });
        Ok(())
    }
}

impl WriteArrays for Writer {
    fn reals(&mut self, array: &str, shape: &[usize], values: &[Real]) -> Result<(), DataError> {
        assert_eq!(shape.iter().product::<usize>(), values.len(), "WriteArrays::reals: `{array}`, shape {shape:?}");
        self.add(array, REAL, shape, &mut |eat| in_blocks(values, Real::to_le_bytes, eat))
    }

    fn flags(&mut self, array: &str, values: &[bool]) -> Result<(), DataError> {
        self.add(array, Type::Bool, &[values.len()], &mut |eat| in_blocks(values, |flag| [flag as u8], eat))
    }

    fn counts(&mut self, array: &str, values: &[i64]) -> Result<(), DataError> {
        self.add(array, Type::I64, &[values.len()], &mut |eat| in_blocks(values, i64::to_le_bytes, eat))
    }

    fn text(&mut self, array: &str, text: &str) -> Result<(), DataError> {
        self.add(array, Type::U8, &[text.len()], &mut |eat| eat(text.as_bytes()))
    }

    fn finish(self: Box<Self>) -> Result<(), DataError> {
        let Self { path, file, at, directory } = *self;
        let file = file.into_inner().map_err(|error| DataError::io(&path, error.into_error()))?;
        directory.write(&path, file, at)
    }
}
