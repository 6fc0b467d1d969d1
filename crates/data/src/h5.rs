//! HDF5 as a container of named arrays, behind a trait of ours so that the library underneath can be exchanged.

mod extents;
mod frame;
mod pure;

use crate::arrays::{ReadArrays, WriteArrays};
use crate::{DataError, atomic};
use std::path::Path;

/// The most bytes one byte of a deflate stream can become (a run of 258 bytes in two bits, four to a byte).
///
/// A dataset behind any filter that declares more than this times the length of its file is refused before a byte is
/// read; a dataset behind no filter may not declare more than the length of its file. All datasets that are read of one file may
/// not declare more together, whatever links give one of them many names.
pub const MAX_RATIO: u64 = 1032;

/// Opens `path` with the default backend.
pub fn open(path: &Path) -> Result<Box<dyn ReadArrays>, DataError> {
    Ok(Box::new(pure::Reader::open(path)?))
}

/// Creates `path`, or empties it, with the default backend. See [`write`](crate::write) for a write that is never seen half
/// done.
pub fn create(path: &Path) -> Result<Box<dyn WriteArrays>, DataError> {
    Ok(Box::new(pure::Writer::create(&atomic::destination(path)?)?))
}
