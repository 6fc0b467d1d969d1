//! HDF5 behind two small traits of ours, so that the library underneath can be exchanged.
//!
//! A backend answers three questions ([`Hdf5Read`]): which datasets are there, what does one look like, and what are its
//! bytes. Turning bytes into numbers, and refusing to, is done here and is the same for every backend.

mod pure;

use crate::DataError;
use backcast_core::Real;
use serde::Serialize;
use std::fmt;
use std::path::Path;

/// The most bytes one byte of a deflate stream can become (a run of 258 bytes in two bits, four to a byte).
///
/// A dataset behind any filter that declares more than this times the length of its file is refused before a byte is
/// read; a dataset behind no filter may not declare more than the length of its file.
pub const MAX_RATIO: u64 = 1032;

/// The type of one element, as far as this crate cares.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// A boolean as h5py writes it: an enumeration of one byte, 0 and 1.
    Bool,
    /// An integer.
    Int {
        /// Width in bytes: 1, 2, 4 or 8.
        bytes: usize,
        /// Whether it has a sign.
        signed: bool,
    },
    /// An IEEE 754 number.
    Float {
        /// Width in bytes: 2, 4 or 8.
        bytes: usize,
    },
    /// Anything else, in words.
    Other(String),
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Bool => f.write_str("bool"),
            Self::Int { bytes, signed } => write!(f, "{}int{}", if *signed { "" } else { "u" }, bytes * 8),
            Self::Float { bytes } => write!(f, "float{}", bytes * 8),
            Self::Other(words) => f.write_str(words),
        }
    }
}

impl Kind {
    /// Width of one element in bytes; 0 for [`Kind::Other`].
    pub fn bytes(&self) -> usize {
        match self {
            Self::Bool => 1,
            Self::Int { bytes, .. } | Self::Float { bytes } => *bytes,
            Self::Other(_) => 0,
        }
    }
}

/// What a file says about one of its datasets.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Entry {
    /// The path from the root, without a leading slash: `observations`, `infos/qpos`.
    pub name: String,
    /// The extents.
    pub shape: Vec<usize>,
    /// The type of an element.
    pub kind: Kind,
    /// How it is stored, in words: `contiguous`, `chunked`, `chunked, shuffle, deflate` …
    pub storage: String,
}

/// An HDF5 file open for reading.
pub trait Hdf5Read {
    /// The file's path, for messages.
    fn path(&self) -> &Path;

    /// The paths of all datasets, sorted.
    fn names(&self) -> Vec<String>;

    /// What the file says about `dataset`. Reads no data.
    fn entry(&self, dataset: &str) -> Result<Entry, DataError>;

    /// All elements of `dataset` in row-major order, little-endian, [`Kind::bytes`] each.
    ///
    /// # Errors
    /// If the data cannot be read, or the declared shape cannot fit the file ([`MAX_RATIO`]).
    fn bytes(&self, dataset: &str) -> Result<Vec<u8>, DataError>;

    /// Whether there is a dataset of that path.
    fn has(&self, dataset: &str) -> bool {
        self.names().iter().any(|name| name == dataset)
    }

    /// All elements of a dataset of numbers or booleans, rounded to [`Real`].
    fn reals(&self, dataset: &str) -> Result<Vec<Real>, DataError> {
        let kind = self.entry(dataset)?.kind;
        if let Kind::Other(found) = kind {
            return Err(DataError::Kind {
                file: self.path().into(),
                dataset: dataset.into(),
                found,
                expected: "numbers",
            });
        }
        Ok(decode(&kind, &self.bytes(dataset)?))
    }

    /// All elements of a dataset of flags: booleans, or numbers that are all 0 or 1.
    fn flags(&self, dataset: &str) -> Result<Vec<bool>, DataError> {
        let values = self.reals(dataset)?;
        match values.iter().position(|&x| x != 0.0 && x != 1.0) {
            None => Ok(values.iter().map(|&x| x == 1.0).collect()),
            Some(row) => Err(DataError::Value {
                file: self.path().into(),
                dataset: dataset.into(),
                row,
                column: 0,
                value: values[row] as f64,
                expected: "a flag, 0 or 1",
            }),
        }
    }
}

/// An HDF5 file being written. Nothing is promised to be on disk before [`finish`](Hdf5Write::finish).
pub trait Hdf5Write {
    /// Adds a dataset of numbers with extents `shape`; a name with a slash makes the group.
    fn reals(&mut self, dataset: &str, shape: &[usize], values: &[Real]) -> Result<(), DataError>;

    /// Adds a dataset of booleans, `[rows]`, as h5py writes them.
    fn flags(&mut self, dataset: &str, values: &[bool]) -> Result<(), DataError>;

    /// Completes the file and waits until it is on disk.
    fn finish(self: Box<Self>) -> Result<(), DataError>;
}

/// Opens `path` with the default backend.
pub fn open(path: &Path) -> Result<Box<dyn Hdf5Read>, DataError> {
    Ok(Box::new(pure::Reader::open(path)?))
}

/// Creates `path`, or empties it, with the default backend. See [`d4rl::write`](crate::d4rl::write) for a write that is
/// never seen half done.
pub fn create(path: &Path) -> Result<Box<dyn Hdf5Write>, DataError> {
    Ok(Box::new(pure::Writer::create(path)?))
}

/// Little-endian elements of `kind` as numbers.
fn decode(kind: &Kind, bytes: &[u8]) -> Vec<Real> {
    macro_rules! as_reals {
        ($type:ty) => {
            bytes.as_chunks().0.iter().map(|b| <$type>::from_le_bytes(*b) as Real).collect()
        };
    }
    match kind {
        Kind::Float { bytes: 4 } => as_reals!(f32),
        Kind::Float { bytes: 8 } => as_reals!(f64),
        Kind::Float { .. } => bytes.as_chunks().0.iter().map(|b| half(u16::from_le_bytes(*b))).collect(),
        Kind::Bool | Kind::Int { bytes: 1, signed: false } => bytes.iter().map(|&b| b as Real).collect(),
        Kind::Int { bytes: 1, signed: true } => bytes.iter().map(|&b| b as i8 as Real).collect(),
        Kind::Int { bytes: 2, signed: true } => as_reals!(i16),
        Kind::Int { bytes: 2, signed: false } => as_reals!(u16),
        Kind::Int { bytes: 4, signed: true } => as_reals!(i32),
        Kind::Int { bytes: 4, signed: false } => as_reals!(u32),
        Kind::Int { signed: true, .. } => as_reals!(i64),
        Kind::Int { signed: false, .. } => as_reals!(u64),
        Kind::Other(_) => Vec::new(),
    }
}

/// The value of an IEEE 754 half.
fn half(bits: u16) -> Real {
    let sign = if bits >> 15 == 1 { -1.0 } else { 1.0 };
    let (exponent, mantissa) = ((bits >> 10) & 31, (bits & 1023) as Real);
    match exponent {
        0 => sign * mantissa * (0.5 as Real).powi(24),
        31 if mantissa == 0.0 => sign * Real::INFINITY,
        31 => Real::NAN,
        _ => sign * (1024.0 + mantissa) * (2.0 as Real).powi(exponent as i32 - 25),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn halves_have_their_textbook_values() {
        for (bits, value) in
            [(0x3C00, 1.0), (0xC000, -2.0), (0x7BFF, 65504.0), (0x0001, 1.0 / 16_777_216.0), (0x8000, 0.0)]
        {
            assert_eq!(half(bits), value, "{bits:#06x}");
        }
        assert!(half(0x7C00).is_infinite() && half(0x7E00).is_nan());
    }

    #[test]
    fn integers_of_every_width_keep_their_sign() {
        let decode = |bytes, signed, raw: &[u8]| decode(&Kind::Int { bytes, signed }, raw);
        assert_eq!(decode(1, true, &[0xFF, 1]), [-1.0, 1.0]);
        assert_eq!(decode(1, false, &[0xFF]), [255.0]);
        assert_eq!(decode(2, true, &[0xFE, 0xFF]), [-2.0]);
        assert_eq!(decode(4, false, &[0, 0, 1, 0]), [65536.0]);
        assert_eq!(decode(8, true, &[0xFD, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF]), [-3.0]);
    }
}
