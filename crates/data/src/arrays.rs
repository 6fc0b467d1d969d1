//! Named arrays in a container, whatever the container is: what HDF5 files, npz archives and column files have in common.
//!
//! A container answers three questions ([`ReadArrays`]): which arrays are there, what does one look like, and what are its
//! bytes. Turning bytes into numbers, and refusing to, is done here and is the same for every container; what the names mean
//! is the business of a layout ([`d4rl`](crate::d4rl), [`neorl`](crate::neorl), [`trajectories`](crate::trajectories),
//! [`minari`](crate::minari)).

use crate::DataError;
use backcast_core::Real;
use serde::Serialize;
use std::fmt;
use std::path::Path;

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

/// A container open for reading.
pub trait ReadArrays {
    /// The file's path, for messages.
    fn path(&self) -> &Path;

    /// The names of all arrays, sorted; in HDF5, paths from the root.
    fn names(&self) -> &[String];

    /// What the container says about `array`. Reads no data.
    fn entry(&self, array: &str) -> Result<Entry, DataError>;

    /// All elements of `array` in row-major order, little-endian, [`Kind::bytes`] each.
    ///
    /// # Errors
    /// If the data cannot be read, or the declared shape cannot fit the file ([`MAX_RATIO`](crate::h5::MAX_RATIO)).
    fn bytes(&self, array: &str) -> Result<Vec<u8>, DataError>;

    /// The most bytes that what is made of all its arrays together may take; without bound where that is nobody's to say.
    fn budget(&self) -> u64 {
        u64::MAX
    }

    /// The names of what is in the container and is no array.
    fn others(&self) -> Vec<String> {
        Vec::new()
    }

    /// Whether there is an array of that name.
    fn has(&self, array: &str) -> bool {
        self.names().binary_search_by(|name| name.as_str().cmp(array)).is_ok()
    }

    /// All elements of an array of numbers or booleans, rounded to [`Real`].
    fn reals(&self, array: &str) -> Result<Vec<Real>, DataError> {
        let kind = self.entry(array)?.kind;
        if let Kind::Other(found) = kind {
            return Err(self.unexpected(array, found, "numbers"));
        }
        Ok(decode(&kind, self.bytes(array)?))
    }

    /// All elements of an array of flags: booleans, or numbers that are all 0 or 1.
    fn flags(&self, array: &str) -> Result<Vec<bool>, DataError> {
        let values = self.reals(array)?;
        match values.iter().position(|&x| x != 0.0 && x != 1.0) {
            None => Ok(values.iter().map(|&x| x == 1.0).collect()),
            Some(row) => Err(DataError::Value {
                file: self.path().into(),
                dataset: array.into(),
                row,
                column: 0,
                value: values[row] as f64,
                expected: "a flag, 0 or 1",
            }),
        }
    }

    /// All elements of an array of integers.
    fn counts(&self, array: &str) -> Result<Vec<i64>, DataError> {
        let kind = self.entry(array)?.kind;
        let Kind::Int { bytes, signed } = kind else {
            return Err(self.unexpected(array, kind.to_string(), "integers"));
        };
        let widen = |raw: &[u8]| {
            let high = signed && raw[bytes - 1] >= 0x80;
            let mut wide = if high { [0xFF; 8] } else { [0; 8] };
            wide[..bytes].copy_from_slice(raw);
            i64::from_le_bytes(wide)
        };
        Ok(self.bytes(array)?.chunks_exact(bytes).map(widen).collect())
    }

    /// The bytes of an array of unsigned bytes, `[n]`, as UTF-8.
    fn text(&self, array: &str) -> Result<String, DataError> {
        let entry = self.entry(array)?;
        if entry.kind != (Kind::Int { bytes: 1, signed: false }) {
            return Err(self.unexpected(array, entry.kind.to_string(), "bytes of text (uint8)"));
        }
        String::from_utf8(self.bytes(array)?)
            .map_err(|error| DataError::damaged(self.path(), array, Some(error.utf8_error().valid_up_to()), error))
    }

    /// The error for an array of a type that means nothing where it stands.
    fn unexpected(&self, array: &str, found: String, expected: &'static str) -> DataError {
        DataError::Kind { file: self.path().into(), dataset: array.into(), found, expected }
    }

    /// The error for an array of a shape that means nothing where it stands.
    fn misshapen(&self, array: &str, found: Vec<usize>, expected: String) -> DataError {
        DataError::Shape { file: self.path().into(), dataset: array.into(), found, expected }
    }

    /// Rows and width of an array that must be `[rows, width]`, with the given number of rows if there is one.
    fn matrix(&self, array: &str, rows: Option<usize>) -> Result<[usize; 2], DataError> {
        let entry = self.entry(array)?;
        match entry.shape[..] {
            [n, width] if width > 0 && rows.is_none_or(|rows| rows == n) => Ok([n, width]),
            _ => {
                let rows = rows.map_or("rows".into(), |n| n.to_string());
                Err(self.misshapen(array, entry.shape, format!("[{rows}, width]")))
            }
        }
    }

    /// Checks an array that must be `[rows]` or `[rows, 1]`.
    fn vector(&self, array: &str, rows: usize) -> Result<(), DataError> {
        let entry = self.entry(array)?;
        match entry.shape[..] {
            [n] | [n, 1] if n == rows => Ok(()),
            _ => Err(self.misshapen(array, entry.shape, format!("[{rows}]"))),
        }
    }
}

/// A container being written. Nothing is promised to be on disk before [`finish`](WriteArrays::finish).
pub trait WriteArrays {
    /// Adds an array of numbers with extents `shape`; in HDF5 a name with a slash makes the group.
    fn reals(&mut self, array: &str, shape: &[usize], values: &[Real]) -> Result<(), DataError>;

    /// Adds an array of booleans, `[rows]`.
    fn flags(&mut self, array: &str, values: &[bool]) -> Result<(), DataError>;

    /// Adds an array of integers of 64 bits, `[n]`.
    fn counts(&mut self, array: &str, values: &[i64]) -> Result<(), DataError>;

    /// Adds the UTF-8 bytes of `text`, unsigned bytes `[n]`.
    fn text(&mut self, array: &str, text: &str) -> Result<(), DataError>;

    /// Gives a group an integer attribute, where the container has such things.
    fn mark(&mut self, _group: &str, _name: &str, _value: i64) -> Result<(), DataError> {
        Ok(())
    }

    /// Completes the file and waits until it is on disk.
    fn finish(self: Box<Self>) -> Result<(), DataError>;
}

/// What takes bytes, a block at a time.
pub(crate) type Eat<'a> = dyn FnMut(&[u8]) + 'a;

/// Whether a checksum holds. Under a fuzzer every one does: it would have to guess them before it could try what is behind.
#[allow(unexpected_cfgs, reason = "set by `cargo xtask fuzz` alone")]
pub(crate) fn holds(found: u32, expected: u32) -> bool {
    found == expected || cfg!(fuzzing)
}

/// Little-endian elements of `kind` as numbers.
///
/// The bytes are given up, so that they and the numbers are never held longer than it takes.
pub(crate) fn decode(kind: &Kind, bytes: Vec<u8>) -> Vec<Real> {
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
        let decode = |bytes, signed, raw: &[u8]| decode(&Kind::Int { bytes, signed }, raw.to_vec());
        assert_eq!(decode(1, true, &[0xFF, 1]), [-1.0, 1.0]);
        assert_eq!(decode(1, false, &[0xFF]), [255.0]);
        assert_eq!(decode(2, true, &[0xFE, 0xFF]), [-2.0]);
        assert_eq!(decode(4, false, &[0, 0, 1, 0]), [65536.0]);
        assert_eq!(decode(8, true, &[0xFD, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF]), [-3.0]);
    }
}
