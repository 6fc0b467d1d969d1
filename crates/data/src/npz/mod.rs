//! npz as a container of named arrays: a zip archive of `.npy` members, as `numpy.savez` makes them.
//!
//! What the arrays mean is the business of a layout; D4RL's names in an npz are read by [`read`] and written by [`write()`].
//!
//! - **Reading:** members stored or deflated, archives with 64-bit sizes, `.npy` of versions 1 to 3, numbers and booleans of
//!   any width and either byte order, in C or Fortran order. A member of pickled objects (`dtype=object`) is an error that
//!   names it: no pickle is ever executed here.
//! - **Writing:** members stored, as `numpy.savez` does it; 64-bit sizes where they are needed; no date, so that the same dataset
//!   makes the same bytes.
//! - **Belief:** a member may not declare more than its archive can hold ([`h5::MAX_RATIO`](crate::h5::MAX_RATIO) times its
//!   packed length if deflated), no two members may share bytes, a member's
//!   `.npy` head must agree with its length, and its checksum must hold.

mod npy;
mod zip;

use crate::arrays::{Eat, Entry, Kind, ReadArrays, WriteArrays};
use crate::{DataError, Dataset, Format, atomic, d4rl};
use backcast_core::Real;
use std::io::{Read, Seek};
use std::path::{Path, PathBuf};
use std::sync::Mutex;

/// Bytes that can be read from anywhere: a file, or memory.
pub trait Bytes: Read + Seek + Send {}
impl<T: Read + Seek + Send> Bytes for T {}

/// One `.npy` member.
struct Member {
    packed: zip::Member,
    head: npy::Head,
}

/// An npz archive open for reading.
struct Reader {
    path: PathBuf,
    length: u64,
    names: Vec<String>,
    others: Vec<String>,
    members: Vec<Member>,
    archive: Mutex<zip::Reader>,
}

/// Reads an npz with D4RL's names; see [`d4rl`] for what they are.
///
/// # Errors
/// As [`d4rl::read`].
pub fn read(path: &Path) -> Result<Dataset, DataError> {
    d4rl::read_from(&*open(path)?)
}

/// Writes `log` as an npz with D4RL's names: `numpy.load(path)["observations"]`.
///
/// # Errors
/// As [`d4rl::write`].
pub fn write(path: &Path, dataset: &Dataset) -> Result<(), DataError> {
    crate::write(path, Format::Npz, dataset, &crate::WriteOptions::default())
}

/// Opens an archive.
///
/// # Errors
/// If it is no zip archive, or a member is not as it declares.
pub fn open(path: &Path) -> Result<Box<dyn ReadArrays>, DataError> {
    let metadata = std::fs::metadata(path).map_err(|source| DataError::io(path, source))?;
    if !metadata.is_file() {
        return Err(DataError::Format {
            file: path.into(),
            kind: zip::KIND,
            bytes: 0,
            why: "not a regular file".into(),
        });
    }
    let file = std::fs::File::open(path).map_err(|source| DataError::io(path, source))?;
    open_bytes(path, Box::new(file), metadata.len())
}

/// Creates `path`, or empties it. See [`write`](crate::write) for a write that is never seen half done.
///
/// # Errors
/// If it cannot be written.
pub fn create(path: &Path) -> Result<Box<dyn WriteArrays>, DataError> {
    Ok(Box::new(Writer(zip::Writer::create(&atomic::destination(path)?)?)))
}

/// Opens an archive of `length` bytes that may lie in memory; `path` is for messages.
///
/// # Errors
/// As [`open`].
pub fn open_bytes(path: &Path, bytes: Box<dyn Bytes>, length: u64) -> Result<Box<dyn ReadArrays>, DataError> {
    let mut archive = zip::Reader::open(path, bytes, length)?;
    let directory = archive.members()?;
    zip::apart(path, &directory)?;
    let (mut members, mut others) = (Vec::new(), Vec::new());
    for (name, packed) in directory {
        let Some(name) = name.strip_suffix(".npy") else {
            others.push(name);
            continue;
        };
        let damaged = |why: String| DataError::damaged(path, name, None, why);
        let head = npy::Head::read(&mut archive.start(name, &packed)?, packed.unpacked).map_err(damaged)?;
        members.push((name.to_owned(), Member { packed, head }));
    }
    members.sort_by(|a, b| a.0.cmp(&b.0));
    if let Some(twice) = members.windows(2).find(|pair| pair[0].0 == pair[1].0) {
        return Err(DataError::damaged(path, &twice[0].0, None, "the archive has two members of this name"));
    }
    let (names, members) = members.into_iter().unzip();
    Ok(Box::new(Reader { path: path.into(), length, names, others, members, archive: Mutex::new(archive) }))
}

impl Reader {
    fn member(&self, array: &str) -> Result<&Member, DataError> {
        let at = self.names.binary_search_by(|name| name.as_str().cmp(array));
        at.map(|at| &self.members[at])
            .map_err(|_| DataError::Missing { file: self.path.clone(), dataset: array.into() })
    }
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

    fn others(&self) -> Vec<String> {
        self.others.clone()
    }

    fn entry(&self, array: &str) -> Result<Entry, DataError> {
        let Member { packed, head } = self.member(array)?;
        let storage = if packed.deflated { "deflate" } else { "stored" }.into();
        Ok(Entry { name: array.into(), shape: head.shape.clone(), kind: head.kind.clone(), storage })
    }

    fn bytes(&self, array: &str) -> Result<Vec<u8>, DataError> {
        let Member { packed, head } = self.member(array)?;
        if let Kind::Other(found) = &head.kind {
            return Err(self.unexpected(array, found.clone(), "numbers or booleans"));
        }
        let mut archive = self.archive.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let bytes = archive.read(array, packed, head.bytes)?;
        Ok(head.in_order(bytes))
    }
}

/// An npz archive being written.
struct Writer(zip::Writer);

impl Writer {
    /// Adds a member of `count` elements of `width` bytes; `chunks` calls its argument with all of them, in order.
    fn add(
        &mut self,
        array: &str,
        descr: &str,
        shape: &[usize],
        width: usize,
        chunks: &dyn Fn(&mut Eat<'_>),
    ) -> Result<(), DataError> {
        let head = npy::write_head(descr, shape);
        let size = (head.len() + shape.iter().product::<usize>() * width) as u64;
        self.0.add(&format!("{array}.npy"), size, &|eat| {
            eat(&head);
            chunks(eat);
        })
    }
}

/// Hands `values` over as little-endian bytes, a block at a time.
pub(crate) fn in_blocks<T: Copy, const N: usize>(values: &[T], bytes: fn(T) -> [u8; N], eat: &mut Eat<'_>) {
    let mut block = Vec::with_capacity(N * values.len().min(8192));
    for values in values.chunks(8192) {
        block.clear();
        values.iter().for_each(|&x| block.extend_from_slice(&bytes(x)));
        eat(&block);
    }
}

impl WriteArrays for Writer {
    fn reals(&mut self, array: &str, shape: &[usize], values: &[Real]) -> Result<(), DataError> {
        assert_eq!(shape.iter().product::<usize>(), values.len(), "WriteArrays::reals: `{array}`, shape {shape:?}");
        let descr = if size_of::<Real>() == 4 { "<f4" } else { "<f8" };
        self.add(array, descr, shape, size_of::<Real>(), &|eat| in_blocks(values, Real::to_le_bytes, eat))
    }

    fn flags(&mut self, array: &str, values: &[bool]) -> Result<(), DataError> {
        self.add(array, "|b1", &[values.len()], 1, &|eat| in_blocks(values, |flag| [flag as u8], eat))
    }

    fn counts(&mut self, array: &str, values: &[i64]) -> Result<(), DataError> {
        self.add(array, "<i8", &[values.len()], 8, &|eat| in_blocks(values, i64::to_le_bytes, eat))
    }

    fn text(&mut self, array: &str, text: &str) -> Result<(), DataError> {
        self.add(array, "|u1", &[text.len()], 1, &|eat| eat(text.as_bytes()))
    }

    fn finish(self: Box<Self>) -> Result<(), DataError> {
        self.0.finish()
    }
}
