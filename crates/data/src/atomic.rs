//! Files and folders that appear whole or not at all.

use crate::DataError;
use backcast_storage::{Disk, Irregular, Local};
use std::ffi::OsString;
use std::fs::{self, File};
use std::path::{Path, PathBuf};

/// The regular file that a writer given `path` replaces or makes: `path`, or what it leads to where it is a link, so that the link
/// stays one.
///
/// # Errors
/// If something stands there that is no regular file. A rename would put a file in the place of a device.
pub(crate) fn destination(path: &Path) -> Result<PathBuf, DataError> {
    if let Some(what) = nameless(path) {
        return Err(DataError::NotAFile { file: path.into(), what });
    }
    Local.destination(path).map_err(|error| match Irregular::of(&error) {
        Some(Irregular { what }) => DataError::NotAFile { file: path.into(), what },
        None => DataError::io(path, error),
    })
}

/// What there is to say of a path that ends in no name.
fn nameless(path: &Path) -> Option<&'static str> {
    match path.file_name() {
        Some(_) => None,
        None if path.as_os_str().is_empty() => Some("an empty path"),
        None => Some("a folder"),
    }
}

/// Has `make` write a file beside `path`, then renames; whatever stood at `path` stays if anything fails.
pub(crate) fn replace(path: &Path, make: impl FnOnce(&Path) -> Result<(), DataError>) -> Result<(), DataError> {
    let target = destination(path)?;
    beside(&target, make).map_err(|error| error.meant(&target, path))
}

/// The same with a folder, which replaces nothing: a dataset that is a folder is not deleted by a typing error.
pub(crate) fn make_folder(path: &Path, make: impl FnOnce(&Path) -> Result<(), DataError>) -> Result<(), DataError> {
    if let Some(what) = nameless(path) {
        return Err(DataError::NotAFile { file: path.into(), what });
    }
    if fs::symlink_metadata(path).is_ok() {
        let why = "is there already, and a folder is not written over; remove it first, or give another name";
        return Err(DataError::Unknown { file: path.into(), why: why.into() });
    }
    beside(path, make)
}

fn beside(path: &Path, make: impl FnOnce(&Path) -> Result<(), DataError>) -> Result<(), DataError> {
    let name = path.file_name().unwrap_or_default();
    let mut partial = OsString::from(".");
    partial.push(name);
    partial.push(format!(".{}.partial", std::process::id()));
    let partial = path.with_file_name(partial);
    let rename = || fs::rename(&partial, path).map_err(|source| DataError::io(path, source));
    let done = make(&partial).and_then(|()| rename());
    if done.is_err() {
        // The first error is the one worth reporting.
        let _ = if partial.is_dir() { fs::remove_dir_all(&partial) } else { fs::remove_file(&partial) };
        return done.map_err(|error| error.meant(&partial, path));
    }
    // On systems where a directory can be opened, the new name is brought to disk as well.
    let _ = Local.sync_folder(path.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new(".")));
    Ok(())
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
