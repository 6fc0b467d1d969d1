//! Any [`State`] to a safetensors file and back. Nothing is ever half written, and nothing damaged is ever restored.

use crate::disk::{Disk, Local, is_disk_full, replace};
use backcast_core::{Fingerprinter, Real, State, StateError, Stored, restore, snapshot};
use safetensors::{Dtype, SafeTensors, tensor::TensorView};
use std::{
    collections::BTreeMap,
    io,
    path::{Path, PathBuf},
};

/// Why a checkpoint could not be written or read.
#[derive(Debug, thiserror::Error)]
pub enum CheckpointError {
    /// The file system refused.
    #[error("{path}: {source}")]
    Io {
        /// The file.
        path: PathBuf,
        /// What it said.
        source: io::Error,
    },
    /// The bytes are not a checkpoint.
    #[error("{path}: {why}")]
    Format {
        /// The file.
        path: PathBuf,
        /// What is wrong, naming the tensor where there is one.
        why: String,
    },
    /// The checkpoint is of something else.
    #[error("{path}: {source}")]
    State {
        /// The file.
        path: PathBuf,
        /// What does not fit.
        source: StateError,
    },
}

impl CheckpointError {
    /// Whether it failed for want of room.
    pub fn is_disk_full(&self) -> bool {
        matches!(self, Self::Io { source, .. } if is_disk_full(source))
    }
}

const REAL: Dtype = if size_of::<Real>() == 4 { Dtype::F32 } else { Dtype::F64 };

/// The note that holds the checksum: safetensors itself would take a flipped bit in a tensor for a number.
const CHECKSUM: &str = "checksum";

/// Of everything a checkpoint says.
fn checksum(tensors: &BTreeMap<String, Stored>, notes: &BTreeMap<String, String>) -> String {
    let mut all = Fingerprinter::default();
    for (name, stored) in tensors {
        all.bytes(name.as_bytes());
        match stored {
            Stored::Tensor(shape, values) => {
                shape.iter().for_each(|&size| all.word(size as u64));
                all.numbers(values);
            }
            Stored::Count(count) => all.word(*count),
        }
    }
    for (name, text) in notes {
        all.bytes(name.as_bytes());
        all.bytes(text.as_bytes());
    }
    all.finish().to_string()
}

/// Writes `state` and `notes` (free text by name) to `path`, as a whole: see [`replace`].
///
/// The note `checksum` is added, over everything else.
///
/// # Panics
/// If `notes` has a `checksum` of its own.
pub fn save(state: &mut dyn State, notes: &BTreeMap<String, String>, path: &Path) -> Result<(), CheckpointError> {
    save_on(&Local, state, notes, path)
}

/// As [`save`], on a `disk` of one's own.
pub fn save_on(
    disk: &dyn Disk,
    state: &mut dyn State,
    notes: &BTreeMap<String, String>,
    path: &Path,
) -> Result<(), CheckpointError> {
    let all = snapshot(state);
    let bytes: BTreeMap<&str, (Dtype, Vec<usize>, Vec<u8>)> = all
        .iter()
        .map(|(name, stored)| {
            let entry = match stored {
                Stored::Tensor(shape, x) => {
                    (REAL, shape.clone(), x.iter().flat_map(|v| v.to_le_bytes()).collect::<Vec<u8>>())
                }
                Stored::Count(n) => (Dtype::U64, vec![], n.to_le_bytes().to_vec()),
            };
            (name.as_str(), entry)
        })
        .collect();
    let format = |why: String| CheckpointError::Format { path: path.into(), why };
    let views = bytes
        .iter()
        .map(|(name, (dtype, shape, data))| {
            TensorView::new(*dtype, shape.clone(), data)
                .map(|v| (*name, v))
                .map_err(|e| format(format!("`{name}`: {e}")))
        })
        .collect::<Result<Vec<_>, _>>()?;
    assert!(!notes.contains_key(CHECKSUM), "save: the note `{CHECKSUM}` is written by `save` itself");
    let sum = (CHECKSUM.to_owned(), checksum(&all, notes));
    let notes = notes.clone().into_iter().chain([sum]).collect();
    let file = safetensors::serialize(views, None).map_err(|e| format(e.to_string()))?;
    let file = annotate(&file, &notes);
    replace(disk, path, &file).map_err(|source| CheckpointError::Io { path: path.into(), source })
}

/// Writes `notes` into the header of a safetensors `file` that has none: `n: u64`, a JSON object of `n` bytes, the tensors.
///
/// The library could do it, but in the order of a randomly seeded hash map: no two files of one state would be the same.
fn annotate(file: &[u8], notes: &BTreeMap<String, String>) -> Vec<u8> {
    let (size, rest) = file.split_first_chunk().expect("a safetensors file starts with eight bytes");
    let (header, tensors) = rest.split_at(u64::from_le_bytes(*size) as usize);
    let notes = serde_json::to_string(notes).expect("text by name is JSON");
    let rest = header.strip_prefix(b"{").expect("a header is a JSON object").trim_ascii_end();
    let comma = if rest == b"}" { "" } else { "," };
    let mut header = [format!("{{\"__metadata__\":{notes}{comma}").as_bytes(), rest].concat();
    // Tensors start at a multiple of eight bytes.
    header.resize(header.len().next_multiple_of(8), b' ');
    [&(header.len() as u64).to_le_bytes(), &header[..], tensors].concat()
}

/// Restores `state` from `path` and returns the notes. On an error nothing has changed.
///
/// # Errors
/// If the file cannot be read, is not a whole checkpoint (cut off, damaged, without its checksum), or is one of another state.
pub fn load(state: &mut dyn State, path: &Path) -> Result<BTreeMap<String, String>, CheckpointError> {
    load_from(&Local, state, path)
}

/// As [`load`], from a `disk` of one's own.
pub fn load_from(
    disk: &dyn Disk,
    state: &mut dyn State,
    path: &Path,
) -> Result<BTreeMap<String, String>, CheckpointError> {
    let bytes = disk.read(path).map_err(|source| CheckpointError::Io { path: path.into(), source })?;
    let format = |why: String| CheckpointError::Format { path: path.into(), why };
    let file = SafeTensors::deserialize(&bytes).map_err(|e| format(e.to_string()))?;
    let mut all = BTreeMap::new();
    for (name, view) in file.iter() {
        let stored = match view.dtype() {
            Dtype::U64 if view.shape().is_empty() => Stored::Count(u64::from_le_bytes(
                view.data().try_into().map_err(|_| format(format!("`{name}` is cut off")))?,
            )),
            dtype if dtype == REAL => {
                let word = |b: &[u8]| Real::from_le_bytes(b.try_into().expect("chunks are of the word's size"));
                Stored::Tensor(view.shape().to_vec(), view.data().chunks_exact(size_of::<Real>()).map(word).collect())
            }
            other => return Err(format(format!("`{name}` is of type {other:?}, not {REAL:?}"))),
        };
        all.insert(name.to_owned(), stored);
    }
    let (_, header) = SafeTensors::read_metadata(&bytes).map_err(|e| format(e.to_string()))?;
    let mut notes: BTreeMap<String, String> = header.metadata().clone().unwrap_or_default().into_iter().collect();
    let (found, actual) = (notes.remove(CHECKSUM), checksum(&all, &notes));
    match found {
        None => return Err(format(format!("there is no `{CHECKSUM}` among its notes"))),
        Some(found) if found != actual => {
            return Err(format(format!("it is damaged: its `{CHECKSUM}` is {found}, its content has {actual}")));
        }
        Some(_) => {}
    }
    restore(state, &all).map_err(|source| CheckpointError::State { path: path.into(), source })?;
    Ok(notes)
}
