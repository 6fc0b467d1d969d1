//! Files and folders that appear whole or not at all.

use crate::DataError;
use std::ffi::OsString;
use std::fs::{self, File};
use std::path::{Path, PathBuf};

/// Has `make` write beside `path`, then renames; whatever stood at `path` stays if anything fails.
///
/// A file replaces a file. A folder replaces nothing: a dataset that is a folder is not deleted by a typing error.
pub(crate) fn replace(path: &Path, make: impl FnOnce(&Path) -> Result<(), DataError>) -> Result<(), DataError> {
    let Some(name) = path.file_name() else {
        return Err(DataError::io(path, std::io::ErrorKind::IsADirectory.into()));
    };
    let mut partial = OsString::from(".");
    partial.push(name);
    partial.push(format!(".{}.partial", std::process::id()));
    let partial = path.with_file_name(partial);
    let done = make(&partial).and_then(|()| settle(&partial, path));
    if done.is_err() {
        // The first error is the one worth reporting.
        let _ = if partial.is_dir() { fs::remove_dir_all(&partial) } else { fs::remove_file(&partial) };
        return done.map_err(|error| error.meant(&partial, path));
    }
    // On systems where a directory can be opened, the new name is brought to disk as well.
    let _ = sync_folder(path.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new(".")));
    Ok(())
}

fn settle(partial: &Path, path: &Path) -> Result<(), DataError> {
    if partial.is_dir() && path.exists() {
        let why = "is there already, and a folder is not written over; remove it first, or give another name";
        return Err(DataError::Unknown { file: path.into(), why: why.into() });
    }
    fs::rename(partial, path).map_err(|source| DataError::io(path, source))
}

/// Creates the folder `path` and returns it, for a `make` that writes several files.
pub(crate) fn folder(path: &Path) -> Result<PathBuf, DataError> {
    fs::create_dir_all(path).map_err(|source| DataError::io(path, source))?;
    Ok(path.into())
}

/// Writes a whole small file and waits until it is on disk.
pub(crate) fn write(path: &Path, bytes: &[u8]) -> Result<(), DataError> {
    use std::io::Write;
    let write = || {
        let mut file = File::create(path)?;
        file.write_all(bytes)?;
        file.sync_all()
    };
    write().map_err(|source| DataError::io(path, source))
}

fn sync_folder(path: &Path) -> std::io::Result<()> {
    File::open(path)?.sync_all()
}
