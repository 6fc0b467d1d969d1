//! The D4RL layout: flat arrays of `N` rows in one HDF5 file.
//!
//! `observations [N, obs]`, `actions [N, act]`, `rewards [N]`, `terminals [N]`; optionally `timeouts [N]`,
//! `next_observations [N, obs]` and `infos/<name> [N, width]`. Anything else, `metadata` included, is passed over.

use crate::h5::{self, Hdf5Read};
use crate::{DataError, Log};
use std::path::Path;

/// Reads a file in the D4RL layout, every row as it stands.
///
/// Numbers of any width are rounded to [`Real`](backcast_core::Real); rewards and flags may be `[N]` or `[N, 1]`; flags may be booleans or
/// numbers 0 and 1. Values that are not finite are passed on: [`Log::transitions`] refuses them and
/// [`check`](crate::check::check) reports them.
///
/// # Errors
/// Typed, naming the file, the dataset and where possible the row. Never panics on a damaged file, and never asks for more
/// memory than about [`h5::MAX_RATIO`] times the file's length; far less for files that are as compressed as real ones.
pub fn read(path: &Path) -> Result<Log, DataError> {
    read_from(&*h5::open(path)?)
}

/// [`read`] from a file that is already open.
pub fn read_from(file: &dyn Hdf5Read) -> Result<Log, DataError> {
    // All shapes are compared before any data are read: a file that cannot be right costs nothing.
    let [rows, obs] = matrix(file, "observations", None)?;
    let [_, act] = matrix(file, "actions", Some(rows))?;
    vector(file, "rewards", rows)?;
    vector(file, "terminals", rows)?;
    let timeouts = file.has("timeouts");
    if timeouts {
        vector(file, "timeouts", rows)?;
    }
    let next = file.has("next_observations");
    if next {
        let [_, width] = matrix(file, "next_observations", Some(rows))?;
        if width != obs {
            return Err(shape(file, "next_observations", vec![rows, width], format!("[{rows}, {obs}]")));
        }
    }
    if rows == 0 {
        return Err(DataError::Empty { file: file.path().into(), why: "the datasets have no rows" });
    }

    let columns = [file.reals("observations")?, file.reals("actions")?, file.reals("rewards")?];
    let next_obs = if next { Some(file.reals("next_observations")?) } else { None };
    let terminals = file.flags("terminals")?;
    let cuts = if timeouts { file.flags("timeouts")? } else { vec![false; rows] };
    let mut log = Log::from_parts([obs, act], columns, next_obs, [terminals, cuts]).from_origin(file.path());
    for name in file.names() {
        let Some(info) = name.strip_prefix("infos/") else { continue };
        let entry = file.entry(&name)?;
        // Some recorders keep text, or one value for the whole file, among the infos: those are not per row.
        if entry.shape.first() == Some(&rows) && entry.kind.bytes() > 0 {
            let width = entry.shape[1..].iter().product();
            log.push_info(info, width, file.reals(&name)?);
        }
    }
    Ok(log)
}

/// Writes `log` in the D4RL layout, shuffled and deflated, so that h5py and D4RL's own loader read it.
///
/// The file appears whole or not at all: it is written beside its destination, brought to disk, and renamed.
///
/// # Errors
/// If the log is empty or the system refuses; whatever stood at `path` is then still there.
pub fn write(path: &Path, log: &Log) -> Result<(), DataError> {
    if log.is_empty() {
        return Err(DataError::Empty { file: path.into(), why: "an empty log is not written" });
    }
    let Some(name) = path.file_name() else {
        return Err(DataError::io(path, std::io::ErrorKind::IsADirectory.into()));
    };
    let mut partial = std::ffi::OsString::from(".");
    partial.push(name);
    partial.push(format!(".{}.partial", std::process::id()));
    let partial = path.with_file_name(partial);
    let done = write_in_place(&partial, log)
        .and_then(|()| std::fs::rename(&partial, path).map_err(|source| DataError::io(path, source)));
    if done.is_err() {
        // The first error is the one worth reporting.
        let _ = std::fs::remove_file(&partial);
        return done;
    }
    // On systems where a directory can be opened, the new name is brought to disk as well.
    let directory = path.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
    if let Ok(directory) = std::fs::File::open(directory) {
        let _ = directory.sync_all();
    }
    Ok(())
}

fn write_in_place(path: &Path, log: &Log) -> Result<(), DataError> {
    let rows = log.len();
    let mut file = h5::create(path)?;
    for (name, width, values) in log.floats() {
        match name {
            "rewards" => file.reals(name, &[rows], values)?,
            "next_observations" if !log.has_next_obs() => {}
            _ => file.reals(name, &[rows, width], values)?,
        }
    }
    let [terminals, timeouts] = log.ends();
    file.flags("terminals", terminals)?;
    file.flags("timeouts", timeouts)?;
    for info in log.infos() {
        file.reals(&format!("infos/{}", info.name), &[rows, info.width], &info.values)?;
    }
    file.finish()
}

/// Rows and width of a dataset that must be `[rows, width]`.
fn matrix(file: &dyn Hdf5Read, name: &str, rows: Option<usize>) -> Result<[usize; 2], DataError> {
    let entry = file.entry(name)?;
    match entry.shape[..] {
        [n, width] if width > 0 && rows.is_none_or(|rows| rows == n) => Ok([n, width]),
        _ => Err(shape(file, name, entry.shape, format!("[{}, width]", rows.map_or("rows".into(), |n| n.to_string())))),
    }
}

/// Checks a dataset that must be `[rows]` or `[rows, 1]`.
fn vector(file: &dyn Hdf5Read, name: &str, rows: usize) -> Result<(), DataError> {
    let entry = file.entry(name)?;
    match entry.shape[..] {
        [n] | [n, 1] if n == rows => Ok(()),
        _ => Err(shape(file, name, entry.shape, format!("[{rows}]"))),
    }
}

fn shape(file: &dyn Hdf5Read, dataset: &str, found: Vec<usize>, expected: String) -> DataError {
    DataError::Shape { file: file.path().into(), dataset: dataset.into(), found, expected }
}
