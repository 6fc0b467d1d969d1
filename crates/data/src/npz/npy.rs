//! The head of a `.npy` member: a magic word, a version, and a Python dictionary in ASCII that names type, order and shape.

use crate::arrays::Kind;
use std::io::Read;

const MAGIC: &[u8] = b"\x93NUMPY";

/// No head is longer: numpy's own are 128 bytes but for structured types.
const LONGEST: usize = 1 << 16;

pub(super) struct Head {
    pub(super) kind: Kind,
    pub(super) shape: Vec<usize>,
    /// Length of the head itself; the elements follow.
    pub(super) bytes: usize,
    big_endian: bool,
    fortran: bool,
}

impl Head {
    /// Reads the head of a member of `length` bytes, and checks that what it declares is what there is.
    pub(super) fn read(from: &mut dyn Read, length: u64) -> Result<Self, String> {
        let mut start = [0; 10];
        let cut = |error: std::io::Error| format!("its head cannot be read: {error}");
        from.read_exact(&mut start).map_err(cut)?;
        if &start[..6] != MAGIC {
            return Err("not in the .npy format".into());
        }
        let (mut bytes, mut words) = (10, u16::from_le_bytes([start[8], start[9]]) as usize);
        if start[6] != 1 {
            let mut high = [0; 2];
            from.read_exact(&mut high).map_err(cut)?;
            (bytes, words) = (12, words | (u16::from_le_bytes(high) as usize) << 16);
        }
        if !(1..=3).contains(&start[6]) || words > LONGEST {
            return Err(format!("a head of {words} bytes in version {}", start[6]));
        }
        let mut text = vec![0; words];
        from.read_exact(&mut text).map_err(cut)?;
        let text = String::from_utf8(text).map_err(|_| "its head is not text".to_string())?;
        let mut head =
            Self::parse(&text).ok_or_else(|| "its head is not a dictionary of descr, order and shape".to_string())?;
        head.bytes = bytes + words;
        let elements = head.shape.iter().try_fold(1u64, |n, &extent| n.checked_mul(extent as u64));
        let declared = elements.and_then(|n| n.checked_mul(head.kind.bytes() as u64));
        match declared {
            _ if head.kind.bytes() == 0 => Ok(head),
            Some(declared) if head.bytes as u64 + declared == length => Ok(head),
            _ => Err(format!("its head declares shape {:?}, and {length} bytes are there", head.shape)),
        }
    }

    fn parse(text: &str) -> Option<Self> {
        let mut rest = text.trim().strip_prefix('{')?;
        let (mut descr, mut fortran, mut shape) = (None, None, None);
        loop {
            rest = rest.trim_start();
            if rest.starts_with('}') {
                break;
            }
            let (key, after) = quoted(rest)?;
            let after = after.trim_start().strip_prefix(':')?.trim_start();
            rest = match key {
                "descr" if after.starts_with('[') => {
                    let mut depth = 0;
                    let end = after.find(|c| {
                        depth += (c == '[') as i32 - (c == ']') as i32;
                        depth == 0
                    })?;
                    descr = Some("a record");
                    &after[end + 1..]
                }
                "descr" => {
                    let (word, after) = quoted(after)?;
                    descr = Some(word);
                    after
                }
                "fortran_order" => {
                    fortran = Some(after.starts_with("True"));
                    after.strip_prefix("True").or_else(|| after.strip_prefix("False"))?
                }
                "shape" => {
                    let (inside, after) = after.strip_prefix('(')?.split_once(')')?;
                    let extents = inside.split(',').map(str::trim).filter(|extent| !extent.is_empty());
                    shape =
                        Some(extents.map(|e| e.trim_end_matches('L').parse().ok()).collect::<Option<Vec<usize>>>()?);
                    after
                }
                _ => return None,
            };
            rest = rest.trim_start();
            rest = rest.strip_prefix(',').unwrap_or(rest);
        }
        let descr = descr?;
        Some(Self { kind: kind(descr), shape: shape?, bytes: 0, big_endian: descr.starts_with('>'), fortran: fortran? })
    }

    /// The elements in row-major order and little-endian.
    pub(super) fn in_order(&self, mut bytes: Vec<u8>) -> Vec<u8> {
        let width = self.kind.bytes();
        if self.big_endian && width > 1 {
            bytes.chunks_exact_mut(width).for_each(<[u8]>::reverse);
        }
        if !self.fortran || self.shape.len() < 2 || bytes.is_empty() {
            return bytes;
        }
        let mut out = Vec::with_capacity(bytes.len());
        // Element (i, j, …) lies at i + j·n₀ + … in Fortran order; a counter runs through them in C order.
        let mut at = vec![0; self.shape.len()];
        for _ in 0..bytes.len() / width {
            let place = at.iter().zip(&self.shape).rev().fold(0, |place, (i, n)| place * n + i);
            out.extend_from_slice(&bytes[place * width..][..width]);
            for (i, n) in at.iter_mut().zip(&self.shape).rev() {
                *i += 1;
                if *i < *n {
                    break;
                }
                *i = 0;
            }
        }
        out
    }
}

/// A quoted word at the start of `text`, and what follows it.
fn quoted(text: &str) -> Option<(&str, &str)> {
    let quote = text.chars().next().filter(|c| *c == '\'' || *c == '"')?;
    text[1..].split_once(quote)
}

fn kind(descr: &str) -> Kind {
    let letters = descr.trim_start_matches(['<', '>', '|', '=']);
    match letters {
        "b1" => Kind::Bool,
        "i1" | "i2" | "i4" | "i8" | "u1" | "u2" | "u4" | "u8" => {
            Kind::Int { bytes: (letters.as_bytes()[1] - b'0') as usize, signed: letters.starts_with('i') }
        }
        "f2" | "f4" | "f8" => Kind::Float { bytes: (letters.as_bytes()[1] - b'0') as usize },
        "O" => Kind::Other("pickled Python objects, which are not opened here; save plain arrays instead".into()),
        _ if letters.starts_with('U') || letters.starts_with('S') => Kind::Other("strings".into()),
        other => Kind::Other(format!("elements of type {}", other.chars().take(40).collect::<String>())),
    }
}

/// The head of an array in C order, padded so that the elements begin at a multiple of 64.
pub(super) fn write_head(descr: &str, shape: &[usize]) -> Vec<u8> {
    let extents: String = shape.iter().map(|n| format!("{n}, ")).collect();
    let extents = if shape.len() == 1 { extents.trim_end() } else { extents.trim_end_matches(", ") };
    let mut words = format!("{{'descr': '{descr}', 'fortran_order': False, 'shape': ({extents}), }}");
    let padding = 63 - (10 + words.len()) % 64;
    words.extend(std::iter::repeat_n(' ', padding));
    words.push('\n');
    let mut head = MAGIC.to_vec();
    head.extend([1, 0]);
    head.extend((words.len() as u16).to_le_bytes());
    head.extend(words.as_bytes());
    head
}

#[cfg(test)]
mod tests {
    use super::*;

    fn head(words: &str, elements: usize) -> Result<Head, String> {
        let mut bytes = MAGIC.to_vec();
        bytes.extend([1, 0]);
        bytes.extend((words.len() as u16).to_le_bytes());
        bytes.extend(words.as_bytes());
        Head::read(&mut &bytes[..], (bytes.len() + elements) as u64)
    }

    #[test]
    fn heads_are_read_as_numpy_writes_them_and_as_we_do() {
        for (descr, shape, kind) in [
            ("<f4", vec![3, 2], Kind::Float { bytes: 4 }),
            ("|b1", vec![5], Kind::Bool),
            ("<i8", vec![], Kind::Int { bytes: 8, signed: true }),
            (">u2", vec![0, 4], Kind::Int { bytes: 2, signed: false }),
        ] {
            let ours = write_head(descr, &shape);
            assert_eq!(ours.len() % 64, 0);
            let length = ours.len() + shape.iter().product::<usize>() * kind.bytes();
            let read = Head::read(&mut &ours[..], length as u64).unwrap();
            assert_eq!((read.shape, read.kind, read.bytes), (shape, kind, ours.len()), "{descr}");
        }
        let old = head("{'shape': (2L, 3L), 'fortran_order': True, 'descr': '>f8'}   \n", 48).unwrap();
        assert!(old.shape == [2, 3] && old.fortran && old.big_endian);
        let record =
            head("{'descr': [('a', '<f4', (2,)), ('b', '|O')], 'fortran_order': False, 'shape': (2,), }", 9).unwrap();
        assert_eq!(record.kind.bytes(), 0);
    }

    #[test]
    fn a_head_that_lies_or_makes_no_sense_is_an_error() {
        let shape = |shape: &str| format!("{{'descr': '<f4', 'fortran_order': False, 'shape': {shape}, }}");
        assert!(head(&shape("(2, 3)"), 24).is_ok());
        for (words, elements) in [
            (shape("(2, 3)"), 20),
            (shape("(99999999999999, 99999999999999)"), 24),
            (shape("(99999999999999999999999,)"), 24),
            (shape("(-1,)"), 24),
            (shape("(2, 3"), 24),
            (shape("6"), 24),
            ("{'descr': '<f4', 'shape': (6,)}".into(), 24),
            ("{'descr': [[[, 'fortran_order': False, 'shape': (6,)}".into(), 24),
            ("".into(), 24),
        ] {
            assert!(head(&words, elements).is_err(), "{words}");
        }
    }

    #[test]
    fn fortran_order_is_turned_round() {
        let head = head("{'descr': '|u1', 'fortran_order': True, 'shape': (2, 3)}", 6).unwrap();
        // [[1, 2, 3], [4, 5, 6]], column after column.
        assert_eq!(head.in_order(vec![1, 4, 2, 5, 3, 6]), [1, 2, 3, 4, 5, 6]);
    }
}
