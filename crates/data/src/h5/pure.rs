//! The backend: `rust-hdf5`, which is Rust all the way down. It is **wrapped**, neither patched nor replaced.
//!
//! Four precautions stand between its answers and ours. The library reads what is not in the file as fill values, so the file
//! is looked through by ourselves first ([`frame`](super::frame)), and each dataset before its rows are read
//! ([`extents`](super::extents)): a file that ends before its superblock says so, an object that is linked and cannot be read, and
//! a chunk that is missing are errors. The declared size of a dataset and of its chunks is compared with the length of the file
//! before anything is allocated. Storage outside the file (external, virtual, linked) is refused. And every call is made under
//! `catch_unwind`: a panic on a damaged file becomes a typed error.

use super::MAX_RATIO;
use super::extents::{Extent, Hole, whole};
use super::frame::{Fault, Frame};
use crate::DataError;
use crate::arrays::{Entry, Kind, ReadArrays, WriteArrays};
use backcast_core::Real;
use rust_hdf5::{ByteOrder, DatatypeMessage, H5Dataset, H5File, HBool, Hdf5Error, LinkClass, StorageLayout};
use std::collections::{HashMap, HashSet};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

/// How many chunks are tried, one by one, to name the first row that cannot be read.
const MAX_PROBES: usize = 4096;

/// About this many bytes go into one chunk of a written file.
const CHUNK_BYTES: usize = 1 << 17;

pub(super) struct Reader {
    path: PathBuf,
    bytes: u64,
    names: Vec<String>,
    frame: Frame,
    file: H5File,
    /// Bytes of each dataset that was handed out.
    spent: Mutex<HashMap<String, u128>>,
}

/// Calls into the library; its panics come back as errors in words.
fn guarded<T>(call: impl FnOnce() -> Result<T, Hdf5Error>) -> Result<T, String> {
    caught(call)?.map_err(|error| error.to_string())
}

/// What `call` gives, or why it panicked.
fn caught<T>(call: impl FnOnce() -> T) -> Result<T, String> {
    catch_unwind(AssertUnwindSafe(call)).map_err(|panic| {
        let why = panic.downcast_ref::<&str>().map(|s| s.to_string());
        let why = why.or_else(|| panic.downcast_ref::<String>().cloned()).unwrap_or_default();
        format!("the HDF5 reader panicked: {why}")
    })
}

impl Reader {
    pub(super) fn open(path: &Path) -> Result<Self, DataError> {
        let metadata = std::fs::metadata(path).map_err(|source| DataError::io(path, source))?;
        if !metadata.is_file() {
            return Err(DataError::Format {
                file: path.into(),
                kind: "HDF5 file",
                bytes: 0,
                why: "not a regular file".into(),
            });
        }
        let bytes = metadata.len();
        let malformed = |why| DataError::Format { file: path.into(), kind: "HDF5 file", bytes, why };
        let file = std::fs::File::open(path).map_err(|source| DataError::io(path, source))?;
        let frame = caught(|| Frame::open(file, bytes)).map_err(malformed)?.map_err(|fault| match fault {
            Fault::Cut(bytes, declared) => DataError::Cut { file: path.into(), bytes, declared },
            Fault::Words(why) => malformed(why),
        })?;
        // A lock would be refused on read-only and network file systems, and this file is only read.
        let open = || {
            let file = H5File::options().no_locking().open(path)?;
            let mut names = file.dataset_names();
            names.iter_mut().for_each(|name| *name = name.trim_start_matches('/').to_owned());
            Ok((file, names))
        };
        let (file, mut names) = guarded(open).map_err(malformed)?;
        // What cannot be read is there all the same, and must not pass for absent.
        names.extend(frame.unreadable.keys().cloned());
        names.sort();
        names.dedup();
        Ok(Self { path: path.into(), bytes, names, frame, file, spent: Mutex::default() })
    }

    fn damaged(&self, dataset: &str, why: String) -> DataError {
        DataError::damaged(&self.path, dataset, None, why)
    }

    fn dataset(&self, name: &str) -> Result<H5Dataset, DataError> {
        if !self.has(name) {
            return Err(DataError::Missing { file: self.path.clone(), dataset: name.into() });
        }
        if let Some(why) = self.frame.unreadable.get(name) {
            return Err(self.damaged(name, why.clone()));
        }
        let link = guarded(|| self.file.root_group().link_class(name));
        if let Ok(LinkClass::External { file, path }) = link {
            return Err(self.damaged(name, format!("a link to `{path}` in another file, `{file}`, is not followed")));
        }
        guarded(|| self.file.dataset(name)).map_err(|why| self.damaged(name, why))
    }

    /// The byte order, and the entry, of an open dataset.
    fn describe(&self, name: &str, dataset: &H5Dataset) -> Result<(Entry, ByteOrder), DataError> {
        let describe = || {
            let (kind, order) = kind(&dataset.datatype()?);
            let mut storage = match dataset.storage_layout()? {
                StorageLayout::Compact => "compact".to_owned(),
                StorageLayout::Contiguous => "contiguous".to_owned(),
                StorageLayout::Chunked => "chunked".to_owned(),
                _ => return Err(Hdf5Error::Unsupported("a virtual dataset, whose data lie elsewhere".into())),
            };
            if !dataset.external_files()?.is_empty() {
                return Err(Hdf5Error::Unsupported("a dataset whose data lie in other files".into()));
            }
            for filter in dataset.filters()? {
                storage += match filter.id {
                    1 => ", deflate",
                    2 => ", shuffle",
                    3 => ", fletcher32",
                    32000 => ", lzf",
                    _ => ", another filter",
                };
            }
            Ok((Entry { name: name.into(), shape: dataset.shape(), kind, storage }, order))
        };
        guarded(describe).map_err(|why| self.damaged(name, why))
    }

    /// Refuses a dataset, or a chunk, that cannot have come out of a file of this length.
    fn believe(&self, entry: &Entry, dataset: &H5Dataset) -> Result<(), DataError> {
        let filters = guarded(|| dataset.filters()).map_err(|why| self.damaged(&entry.name, why))?;
        let limit = self.bytes.saturating_mul(if filters.is_empty() { 1 } else { MAX_RATIO });
        let chunk = guarded(|| Ok(dataset.chunk_dims())).map_err(|why| self.damaged(&entry.name, why))?;
        for shape in std::iter::once(&entry.shape).chain(chunk.iter()) {
            let width = guarded(|| Ok(dataset.element_size())).map_err(|why| self.damaged(&entry.name, why))?;
            let declared = shape.iter().fold(width as u128, |bytes, &extent| bytes.saturating_mul(extent as u128));
            if declared > limit as u128 {
                return Err(DataError::TooLarge {
                    file: self.path.clone(),
                    dataset: entry.name.clone(),
                    declared,
                    bytes: self.bytes,
                    limit,
                });
            }
        }
        Ok(())
    }

    /// Counts a dataset towards what all of the file may become: links give one piece of a file many names.
    fn spend(&self, entry: &Entry) -> Result<(), DataError> {
        let width = entry.kind.bytes() as u128;
        let declared = entry.shape.iter().fold(width, |bytes, &extent| bytes.saturating_mul(extent as u128));
        let mut spent = self.spent.lock().unwrap_or_else(PoisonError::into_inner);
        spent.insert(entry.name.clone(), declared);
        let declared = spent.values().fold(0u128, |all, one| all.saturating_add(*one));
        if declared <= self.budget() as u128 {
            return Ok(());
        }
        let (file, dataset, bytes, limit) = (self.path.clone(), entry.name.clone(), self.bytes, self.budget());
        Err(DataError::TooLarge { file, dataset, declared, bytes, limit })
    }

    /// Refuses a dataset of which not every row is in the file.
    fn complete(&self, entry: &Entry, dataset: &H5Dataset) -> Result<(), DataError> {
        let name = &entry.name;
        let extent = guarded(|| {
            let shape: Vec<u64> = entry.shape.iter().map(|&n| n as u64).collect();
            let most = dataset.max_shape()?.into_iter().map(|n| n.map_or(u64::MAX, |n| n as u64)).collect();
            Ok(Extent { shape, most, width: dataset.element_size() as u64 })
        });
        let extent = extent.map_err(|why| self.damaged(name, why))?;
        let lost = || self.damaged(name, "no link leads to it".into());
        let header = self.frame.find(name).ok_or_else(lost)?;
        let checked = caught(|| whole(&self.frame, header, &extent)).map_err(|why| self.damaged(name, why))?;
        checked.map_err(|hole| match hole {
            Hole::Missing { found, expected, row } => {
                DataError::Incomplete { file: self.path.clone(), dataset: name.clone(), found, expected, row }
            }
            Hole::Words(why) => self.damaged(name, why),
        })
    }

    /// The first row of the first chunk that cannot be read.
    fn first_bad_row(&self, entry: &Entry, dataset: &H5Dataset) -> Option<usize> {
        let step = (*dataset.chunk_dims()?.first()?).max(1);
        let rows = *entry.shape.first()?;
        (0..rows).step_by(step).take(MAX_PROBES).find(|&first| {
            let (mut starts, mut counts) = (vec![0; entry.shape.len()], entry.shape.clone());
            (starts[0], counts[0]) = (first, step.min(rows - first));
            guarded(|| match entry.kind.bytes() {
                1 => dataset.read_slice::<u8>(&starts, &counts).map(drop),
                2 => dataset.read_slice::<u16>(&starts, &counts).map(drop),
                4 => dataset.read_slice::<u32>(&starts, &counts).map(drop),
                _ => dataset.read_slice::<u64>(&starts, &counts).map(drop),
            })
            .is_err()
        })
    }
}

impl ReadArrays for Reader {
    fn path(&self) -> &Path {
        &self.path
    }

    fn names(&self) -> &[String] {
        &self.names
    }

    fn others(&self) -> Vec<String> {
        let listed = |path: &&String| !self.has(path);
        self.frame.loose.iter().filter(listed).cloned().collect()
    }

    fn budget(&self) -> u64 {
        self.bytes.saturating_mul(MAX_RATIO)
    }

    fn entry(&self, dataset: &str) -> Result<Entry, DataError> {
        Ok(self.describe(dataset, &self.dataset(dataset)?)?.0)
    }

    fn bytes(&self, name: &str) -> Result<Vec<u8>, DataError> {
        let dataset = self.dataset(name)?;
        let (entry, order) = self.describe(name, &dataset)?;
        if let Kind::Other(found) = entry.kind {
            return Err(DataError::Kind {
                file: self.path.clone(),
                dataset: name.into(),
                found,
                expected: "numbers or booleans",
            });
        }
        self.believe(&entry, &dataset)?;
        self.spend(&entry)?;
        self.complete(&entry, &dataset)?;
        let mut bytes = guarded(|| dataset.read_raw_bytes())
            .map_err(|why| DataError::damaged(&self.path, name, self.first_bad_row(&entry, &dataset), why))?;
        let width = entry.kind.bytes();
        let declared = entry.shape.iter().product::<usize>() * width;
        if bytes.len() != declared {
            return Err(self.damaged(name, format!("{} bytes were read where {declared} are declared", bytes.len())));
        }
        if order == ByteOrder::BigEndian {
            bytes.chunks_exact_mut(width).for_each(<[u8]>::reverse);
        }
        Ok(bytes)
    }
}

/// What a datatype message means to us, and its byte order.
fn kind(datatype: &DatatypeMessage) -> (Kind, ByteOrder) {
    match datatype {
        DatatypeMessage::FixedPoint { size, byte_order, signed, bit_offset: 0, bit_precision }
            if matches!(size, 1 | 2 | 4 | 8) && *bit_precision as u32 == size * 8 =>
        {
            (Kind::Int { bytes: *size as usize, signed: *signed }, *byte_order)
        }
        DatatypeMessage::FloatingPoint { size, byte_order, .. }
            if matches!(size, 2 | 4 | 8) && datatype.ieee_format().is_some() =>
        {
            (Kind::Float { bytes: *size as usize }, *byte_order)
        }
        DatatypeMessage::Enum { base, members } => match kind(base) {
            (Kind::Int { bytes: 1, .. }, order)
                if members.len() == 2 && members.iter().all(|m| m.value == [0] || m.value == [1]) =>
            {
                (Kind::Bool, order)
            }
            _ => (Kind::Other("an enumeration".into()), ByteOrder::LittleEndian),
        },
        other => (Kind::Other(words(other)), ByteOrder::LittleEndian),
    }
}

/// A datatype in words. The library's own words multiply widths that a damaged file may have made enormous.
fn words(datatype: &DatatypeMessage) -> String {
    match datatype {
        DatatypeMessage::FixedPoint { size, .. } => format!("integers of {size} bytes in an unusual layout"),
        DatatypeMessage::FloatingPoint { size, .. } => format!("floats of {size} bytes in an unusual layout"),
        DatatypeMessage::FixedString { size, .. } => format!("strings of {size} bytes"),
        DatatypeMessage::VarLenString { .. } => "strings".into(),
        DatatypeMessage::Compound { .. } => "compounds".into(),
        DatatypeMessage::Opaque { size, .. } => format!("opaque elements of {size} bytes"),
        DatatypeMessage::BitField { size, .. } => format!("bit fields of {size} bytes"),
        _ => "elements of another type".into(),
    }
}

pub(super) struct Writer {
    path: PathBuf,
    groups: HashSet<String>,
    file: H5File,
}

impl Writer {
    pub(super) fn create(path: &Path) -> Result<Self, DataError> {
        let file = guarded(|| H5File::options().no_locking().create(path))
            .map_err(|why| DataError::io(path, std::io::Error::other(why)))?;
        Ok(Self { path: path.into(), groups: HashSet::new(), file })
    }

    /// Calls `write` on a new dataset of `datatype`, chunked and compressed.
    fn add<T: rust_hdf5::H5Type>(
        &mut self,
        name: &str,
        shape: &[usize],
        datatype: DatatypeMessage,
        values: &[T],
    ) -> Result<(), DataError> {
        let write = || {
            let (group, leaf) = name.rsplit_once('/').unwrap_or(("", name));
            let mut group_of_leaf = self.file.root_group();
            let levels = group.match_indices('/').map(|(end, _)| end).chain([group.len()]);
            for level in levels.map(|end| &group[..end]).filter(|level| !level.is_empty()) {
                let part = level.rsplit('/').next().unwrap_or(level);
                group_of_leaf = if self.groups.contains(level) {
                    group_of_leaf.group(part)?
                } else {
                    self.groups.insert(level.into());
                    group_of_leaf.create_group(part)?
                };
            }
            let mut dataset = group_of_leaf.new_dataset::<T>().shape(shape).datatype(datatype);
            // An empty dataset has no chunk to compress.
            if !values.is_empty() {
                let row = T::element_size() * shape[1..].iter().product::<usize>().max(1);
                let mut chunk = shape.to_vec();
                chunk[0] = (CHUNK_BYTES / row).clamp(1, shape[0]);
                dataset = dataset.chunk(&chunk).shuffle_deflate(6);
            }
            let dataset = dataset.create(leaf)?;
            if values.is_empty() { Ok(()) } else { dataset.write_raw(values) }
        };
        guarded(write).map_err(|why| DataError::damaged(&self.path, name, None, why))
    }
}

impl WriteArrays for Writer {
    fn reals(&mut self, dataset: &str, shape: &[usize], values: &[Real]) -> Result<(), DataError> {
        assert_eq!(shape.iter().product::<usize>(), values.len(), "WriteArrays::reals: `{dataset}`, shape {shape:?}");
        self.add(dataset, shape, <Real as rust_hdf5::H5Type>::hdf5_type(), values)
    }

    fn flags(&mut self, dataset: &str, values: &[bool]) -> Result<(), DataError> {
        let mut datatype = DatatypeMessage::bool_type();
        if let DatatypeMessage::Enum { base, .. } = &mut datatype {
            // h5py's booleans are enumerations of signed bytes.
            **base = DatatypeMessage::i8_type();
        }
        let values: Vec<HBool> = values.iter().map(|&flag| flag.into()).collect();
        self.add(dataset, &[values.len()], datatype, &values)
    }

    fn counts(&mut self, dataset: &str, values: &[i64]) -> Result<(), DataError> {
        self.add(dataset, &[values.len()], <i64 as rust_hdf5::H5Type>::hdf5_type(), values)
    }

    fn text(&mut self, dataset: &str, text: &str) -> Result<(), DataError> {
        self.add(dataset, &[text.len()], <u8 as rust_hdf5::H5Type>::hdf5_type(), text.as_bytes())
    }

    fn mark(&mut self, group: &str, name: &str, value: i64) -> Result<(), DataError> {
        let write = || self.file.root_group().group(group)?.set_attr_numeric(name, &value);
        guarded(write).map_err(|why| DataError::damaged(&self.path, group, None, why))
    }

    fn finish(self: Box<Self>) -> Result<(), DataError> {
        let Self { path, file, .. } = *self;
        guarded(|| file.close()).map_err(|why| DataError::io(&path, std::io::Error::other(why)))
    }
}
