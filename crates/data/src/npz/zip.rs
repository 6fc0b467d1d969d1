//! As much of the zip format as numpy uses: a directory at the end, members stored or deflated, 64-bit sizes.

use super::Bytes;
use crate::DataError;
use crate::arrays::{Eat, holds};
use crate::h5::MAX_RATIO;
use flate2::read::DeflateDecoder;
use std::fs::File;
use std::io::{BufWriter, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

pub(super) const KIND: &str = "zip archive";

const LOCAL: [u8; 4] = *b"PK\x03\x04";
const CENTRAL: [u8; 4] = *b"PK\x01\x02";
const END: [u8; 4] = *b"PK\x05\x06";
const LOCATOR_64: [u8; 4] = *b"PK\x06\x07";
const END_64: [u8; 4] = *b"PK\x06\x06";

/// Where the directory says that a member lies.
pub(super) struct Member {
    pub(super) deflated: bool,
    pub(super) unpacked: u64,
    packed: u64,
    checksum: u32,
    offset: u64,
}

pub(super) struct Reader {
    path: PathBuf,
    bytes: Box<dyn Bytes>,
    length: u64,
}

/// Fields of a record, one after another; `None` past its end.
struct Fields<'a>(&'a [u8]);

impl<'a> Fields<'a> {
    fn take(&mut self, count: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(count)?;
        self.0 = rest;
        Some(taken)
    }

    fn u16(&mut self) -> Option<u16> {
        self.take(2).map(|b| u16::from_le_bytes([b[0], b[1]]))
    }

    fn u32(&mut self) -> Option<u32> {
        self.take(4).map(|b| u32::from_le_bytes([b[0], b[1], b[2], b[3]]))
    }

    fn u64(&mut self) -> Option<u64> {
        let low = self.u32()? as u64;
        Some(low | (self.u32()? as u64) << 32)
    }
}

impl Reader {
    pub(super) fn open(path: &Path, bytes: Box<dyn Bytes>, length: u64) -> Result<Self, DataError> {
        Ok(Self { path: path.into(), bytes, length })
    }

    fn malformed(&self, why: impl Into<String>) -> DataError {
        DataError::Format { file: self.path.clone(), kind: KIND, bytes: self.length, why: why.into() }
    }

    /// `count` bytes from `offset` on, if the archive is that long.
    fn at(&mut self, offset: u64, count: u64) -> Result<Vec<u8>, DataError> {
        if offset.checked_add(count).is_none_or(|end| end > self.length) {
            return Err(self.malformed(format!("{count} bytes at {offset} are not there")));
        }
        let mut found = vec![0; count as usize];
        self.bytes
            .seek(SeekFrom::Start(offset))
            .and_then(|_| self.bytes.read_exact(&mut found))
            .map_err(|source| DataError::io(&self.path, source))?;
        Ok(found)
    }

    /// All members by name, as the directory has them.
    pub(super) fn members(&mut self) -> Result<Vec<(String, Member)>, DataError> {
        let tail = self.length.min(22 + u16::MAX as u64);
        let end = self.at(self.length - tail, tail)?;
        let at = end.windows(4).rposition(|word| word == END);
        let at = at.ok_or_else(|| self.malformed("there is no directory at its end: cut short, or something else"))?;
        let ends = |mut f: Fields<'_>| {
            f.take(8)?;
            Some((f.u32()? as u64, f.u32()? as u64))
        };
        let cut = "its directory is cut short";
        let (mut size, mut offset) = ends(Fields(&end[at + 4..])).ok_or_else(|| self.malformed(cut))?;
        if offset == u32::MAX as u64 || size == u32::MAX as u64 {
            let locator = at.checked_sub(20).map(|from| &end[from..at]).filter(|l| l[..4] == LOCATOR_64);
            let record = locator.and_then(|l| Fields(&l[8..]).u64());
            let record = record.ok_or_else(|| self.malformed("its 64-bit directory is not there"))?;
            let record = self.at(record, 56)?;
            if record[..4] != END_64 {
                return Err(self.malformed("its 64-bit directory is not there"));
            }
            let mut fields = Fields(&record[40..]);
            (size, offset) = fields.u64().zip(fields.u64()).ok_or_else(|| self.malformed(cut))?;
        }
        let directory = self.at(offset, size)?;
        let (mut rest, mut members) = (Fields(&directory), Vec::new());
        while !rest.0.is_empty() {
            let member = member(&mut rest).ok_or_else(|| self.malformed(cut))?;
            members.push(member.map_err(|why| self.malformed(why))?);
        }
        Ok(members)
    }

    /// The member's bytes, unpacked, from the start.
    pub(super) fn start<'a>(&'a mut self, name: &str, member: &Member) -> Result<Box<dyn Read + 'a>, DataError> {
        let local = self.at(member.offset, 30)?;
        if local[..4] != LOCAL {
            return Err(DataError::damaged(&self.path, name, None, "the directory points where no member is"));
        }
        let widths = [26, 28].map(|at| u16::from_le_bytes([local[at], local[at + 1]]) as u64);
        let begin = member.offset + 30 + widths[0] + widths[1];
        let limit = if member.deflated { member.packed.saturating_mul(MAX_RATIO) } else { member.packed };
        if begin.checked_add(member.packed).is_none_or(|end| end > self.length) || member.unpacked > limit {
            return Err(DataError::TooLarge {
                file: self.path.clone(),
                dataset: name.into(),
                declared: member.unpacked as u128,
                bytes: self.length,
                limit: limit.min(self.length.saturating_mul(MAX_RATIO)),
            });
        }
        self.bytes.seek(SeekFrom::Start(begin)).map_err(|source| DataError::io(&self.path, source))?;
        let packed = Read::take(&mut self.bytes, member.packed);
        Ok(if member.deflated { Box::new(DeflateDecoder::new(packed)) } else { Box::new(packed) })
    }

    /// The member's bytes after its head of `head` bytes, with its checksum held over all of it.
    pub(super) fn read(&mut self, name: &str, member: &Member, head: usize) -> Result<Vec<u8>, DataError> {
        let path = self.path.clone();
        let damaged = |why: String| DataError::damaged(&path, name, None, why);
        let mut from = self.start(name, member)?;
        let mut checksum = crc32fast::Hasher::new();
        let mut start = vec![0; head];
        from.read_exact(&mut start).map_err(|error| damaged(error.to_string()))?;
        checksum.update(&start);
        let count = member.unpacked.saturating_sub(head as u64);
        let mut bytes = Vec::with_capacity(count as usize);
        from.take(count).read_to_end(&mut bytes).map_err(|error| damaged(error.to_string()))?;
        checksum.update(&bytes);
        if bytes.len() as u64 != count {
            return Err(damaged(format!("{} bytes were read where {count} are declared", bytes.len())));
        }
        if !holds(checksum.finalize(), member.checksum) {
            return Err(damaged("its checksum does not hold: bytes have changed since it was written".into()));
        }
        Ok(bytes)
    }
}

/// Refuses members that share bytes: what is packed once would be unpacked as often as it has names.
pub(super) fn apart(path: &Path, members: &[(String, Member)]) -> Result<(), DataError> {
    let mut places: Vec<(u64, u64, &str)> = members
        .iter()
        .map(|(name, member)| {
            let head = 30 + name.len() as u64;
            (member.offset, member.offset.saturating_add(head).saturating_add(member.packed), name.as_str())
        })
        .collect();
    places.sort_unstable();
    match places.windows(2).find(|pair| pair[0].1 > pair[1].0) {
        None => Ok(()),
        Some(pair) => {
            let name = |place: &(u64, u64, &str)| place.2.trim_end_matches(".npy").to_owned();
            let why = format!("it shares bytes of the archive with `{}`", name(&pair[0]));
            Err(DataError::damaged(path, &name(&pair[1]), None, why))
        }
    }
}

/// One record of the directory; `None` if it is cut short.
fn member(fields: &mut Fields<'_>) -> Option<Result<(String, Member), String>> {
    if fields.take(4)? != CENTRAL {
        return Some(Err("its directory is damaged".into()));
    }
    fields.take(4)?;
    let (flags, method) = (fields.u16()?, fields.u16()?);
    fields.take(4)?;
    let checksum = fields.u32()?;
    let (mut packed, mut unpacked) = (fields.u32()? as u64, fields.u32()? as u64);
    let widths = [fields.u16()?, fields.u16()?, fields.u16()?];
    fields.take(8)?;
    let mut offset = fields.u32()? as u64;
    let [name, extra, comment] = widths.map(usize::from);
    let name = String::from_utf8_lossy(fields.take(name)?).into_owned();
    let mut extra = Fields(fields.take(extra)?);
    fields.take(comment)?;
    while !extra.0.is_empty() {
        let (id, size) = (extra.u16()?, extra.u16()?);
        let mut body = Fields(extra.take(size as usize)?);
        if id == 1 {
            for value in [&mut unpacked, &mut packed, &mut offset] {
                if *value == u32::MAX as u64 {
                    *value = body.u64()?;
                }
            }
        }
    }
    if flags & 1 != 0 {
        return Some(Err(format!("`{name}` is encrypted")));
    }
    let deflated = match method {
        0 => false,
        8 => true,
        _ => return Some(Err(format!("`{name}` is packed by method {method}; only deflate is known here"))),
    };
    Some(Ok((name, Member { deflated, unpacked, packed, checksum, offset })))
}

pub(super) struct Writer {
    path: PathBuf,
    file: BufWriter<File>,
    written: u64,
    directory: Vec<u8>,
    members: u64,
    /// The first size or offset that needs 64 bits.
    large: u64,
}

impl Writer {
    pub(super) fn create(path: &Path) -> Result<Self, DataError> {
        let file = File::create(path).map_err(|source| DataError::io(path, source))?;
        let (file, directory) = (BufWriter::new(file), Vec::new());
        Ok(Self { path: path.into(), file, written: 0, directory, members: 0, large: u32::MAX as u64 })
    }

    fn put(&mut self, bytes: &[u8]) -> Result<(), DataError> {
        self.written += bytes.len() as u64;
        self.file.write_all(bytes).map_err(|source| DataError::io(&self.path, source))
    }

    /// Adds a stored member of `size` bytes, which `bytes` hands over when it is called; it is called twice.
    pub(super) fn add(&mut self, name: &str, size: u64, bytes: &dyn Fn(&mut Eat<'_>)) -> Result<(), DataError> {
        let (mut checksum, mut counted) = (crc32fast::Hasher::new(), 0);
        bytes(&mut |block| {
            checksum.update(block);
            counted += block.len() as u64;
        });
        assert_eq!(counted, size, "zip::Writer::add: `{name}` has another size than it said");
        let (checksum, offset) = (checksum.finalize(), self.written);
        let (wide_size, wide_offset) = (size >= self.large, offset >= self.large);
        let short = |value: u64, wide: bool| if wide { u32::MAX } else { value as u32 };
        let extra = |values: &[u64]| {
            let mut extra = Vec::new();
            if !values.is_empty() {
                extra.extend(1u16.to_le_bytes());
                extra.extend((8 * values.len() as u16).to_le_bytes());
                values.iter().for_each(|value| extra.extend(value.to_le_bytes()));
            }
            extra
        };
        // What the local head and the directory have in common: versions, flags (names are UTF-8), method, 1 January 1980.
        let version: u16 = if wide_size || wide_offset { 45 } else { 20 };
        let mut fields = Vec::new();
        [version, 1 << 11, 0, 0, 0x21].iter().for_each(|value| fields.extend(value.to_le_bytes()));
        [checksum, short(size, wide_size), short(size, wide_size)].iter().for_each(|v| fields.extend(v.to_le_bytes()));
        fields.extend((name.len() as u16).to_le_bytes());

        let sizes = if wide_size { vec![size, size] } else { vec![] };
        let local = extra(&sizes);
        let head = [&LOCAL[..], &fields, &(local.len() as u16).to_le_bytes(), name.as_bytes(), &local].concat();
        self.put(&head)?;
        let mut done = Ok(());
        bytes(&mut |block| {
            if done.is_ok() {
                done = self.put(block);
            }
        });
        done?;

        let central = extra(&[sizes, if wide_offset { vec![offset] } else { vec![] }].concat());
        self.directory.extend(CENTRAL);
        self.directory.extend(version.to_le_bytes());
        self.directory.extend(fields);
        self.directory.extend((central.len() as u16).to_le_bytes());
        // No comment, the first disk, no attributes.
        self.directory.extend([0; 10]);
        self.directory.extend(short(offset, wide_offset).to_le_bytes());
        self.directory.extend(name.as_bytes());
        self.directory.extend(central);
        self.members += 1;
        Ok(())
    }

    pub(super) fn finish(mut self) -> Result<(), DataError> {
        let directory = std::mem::take(&mut self.directory);
        let (offset, size, members) = (self.written, directory.len() as u64, self.members);
        self.put(&directory)?;
        let large = offset >= self.large || size >= self.large || members >= u16::MAX as u64;
        if large {
            let record = self.written;
            let versions = [45u16, 45].map(u16::to_le_bytes).concat();
            let totals = [members, members, size, offset].map(u64::to_le_bytes).concat();
            self.put(&[&END_64[..], &44u64.to_le_bytes(), &versions, &[0; 8], &totals].concat())?;
            self.put(&[&LOCATOR_64[..], &[0; 4], &record.to_le_bytes(), &1u32.to_le_bytes()].concat())?;
        }
        let count = if large { u16::MAX } else { members as u16 };
        let places = [size, offset].map(|value| if large { u32::MAX } else { value as u32 });
        let counts = [count, count].map(u16::to_le_bytes).concat();
        let places = places.map(u32::to_le_bytes).concat();
        self.put(&[&END[..], &[0; 4], &counts, &places, &[0; 2]].concat())?;
        let file = self.file.into_inner().map_err(|error| DataError::io(&self.path, error.into_error()))?;
        file.sync_all().map_err(|source| DataError::io(&self.path, source))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_of_64_bits_are_written_and_read() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("wide.zip");
        for large in [0, 40, u32::MAX as u64] {
            let mut writer = Writer { large, ..Writer::create(&path).unwrap() };
            for name in ["one", "two"] {
                writer.add(name, 50, &|eat| eat(&[name.as_bytes()[0]; 50])).unwrap();
            }
            writer.finish().unwrap();
            let length = std::fs::metadata(&path).unwrap().len();
            let mut reader = Reader::open(&path, Box::new(File::open(&path).unwrap()), length).unwrap();
            let members = reader.members().unwrap();
            assert_eq!(members.len(), 2);
            for (name, member) in members {
                assert_eq!(reader.read(&name, &member, 10).unwrap(), [name.as_bytes()[0]; 40], "from {large} on");
            }
        }
    }
}
