//! Any [`State`] to a safetensors file and back. Nothing is ever half written.

use crate::Real;
use backcast_core::{State, StateError, Stored, restore, snapshot};
use safetensors::{Dtype, SafeTensors, tensor::TensorView};
use std::{
    collections::{BTreeMap, HashMap},
    fs::File,
    io::{self, Write},
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

const REAL: Dtype = if size_of::<Real>() == 4 { Dtype::F32 } else { Dtype::F64 };

/// Writes `state` and `notes` (free text by name) to `path`: to a file beside it first, flushed to the disk, then renamed.
pub fn save(state: &mut dyn State, notes: &BTreeMap<String, String>, path: &Path) -> Result<(), CheckpointError> {
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
    let notes: HashMap<String, String> = notes.clone().into_iter().collect();
    let file = safetensors::serialize(views, Some(notes)).map_err(|e| format(e.to_string()))?;
    replace(path, &file).map_err(|source| CheckpointError::Io { path: path.into(), source })
}

/// Replaces the content of `path` as a whole: after a crash there is the old file or the new one.
pub fn replace(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let folder = path.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let name =
        path.file_name().ok_or_else(|| io::Error::new(io::ErrorKind::InvalidInput, "a path without a file name"))?;
    let beside = folder.join(format!(".{}.tmp", name.to_string_lossy()));
    let mut file = File::create(&beside)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    std::fs::rename(&beside, path)?;
    // The rename itself must reach the disk. Some systems cannot open a folder; there the rename is as durable as it gets.
    if let Ok(folder) = File::open(folder) {
        folder.sync_all()?;
    }
    Ok(())
}

/// Restores `state` from `path` and returns the notes. On an error nothing has changed.
pub fn load(state: &mut dyn State, path: &Path) -> Result<BTreeMap<String, String>, CheckpointError> {
    let bytes = std::fs::read(path).map_err(|source| CheckpointError::Io { path: path.into(), source })?;
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
    restore(state, &all).map_err(|source| CheckpointError::State { path: path.into(), source })?;
    let (_, header) = SafeTensors::read_metadata(&bytes).map_err(|e| format(e.to_string()))?;
    Ok(header.metadata().clone().unwrap_or_default().into_iter().collect())
}
