//! The D4RL layout: flat arrays of `N` rows.
//!
//! | array | shape | |
//! |---|---|---|
//! | `observations` | `[N, obs]` | *s* |
//! | `actions` | `[N, act]` | *a* |
//! | `rewards` | `[N]` or `[N, 1]` | *r* |
//! | `terminals` | `[N]` or `[N, 1]`, booleans or 0 and 1 | the environment ended after this row |
//! | `timeouts` | the same, optional | the recording was truncated after this row |
//! | `next_observations` | `[N, obs]`, optional | *s′* |
//! | `infos/<name>` | `[N, …]`, optional | what the recorder saw beside |
//! | `metadata/notes` | bytes of UTF-8, optional | ours: a JSON object of text by name ([`Dataset::notes`]) |
//!
//! Any other array with a row of numbers for each of the dataset's is an info too, by its own name. Everything else, the rest of
//! `metadata` included, is [noted](Dataset::unread) and not read. D4RL keeps these names in an HDF5 file ([`read`],
//! [`write()`]); the same names in an npz archive or in a column file are read and written by the same two functions,
//! [`read_from`] and [`write_to`].
//!
//! # The three ages of D4RL
//!
//! - **v0** has no `next_observations`, and its earliest files no `timeouts`: ask for
//!   [`Truncations::Horizon`](crate::Truncations::Horizon), or every run until the next terminal is one episode.
//! - **v1** brings `timeouts` and `infos`; **v2**, for the locomotion tasks, `next_observations`.
//! - **antmaze** (v0 above all) has truncations that do not stand where the ant was put back to its start, and terminals in the
//!   middle of runs. [`Truncations::Jumps`](crate::Truncations::Jumps) finds the truncations again, as ROMI does.
//! - **adroit** demonstrations hold actions beyond ±1, which D4RL's environments clip:
//!   [`ReadOptions::clip_actions`](crate::ReadOptions::clip_actions), or
//!   [`Options::clip_actions`](crate::Options::clip_actions) when transitions are made.

use crate::arrays::{ReadArrays, WriteArrays};
use crate::format::{Format, notes_from, notes_text};
use crate::{DataError, Dataset, h5, unread};
use std::path::Path;

/// Where the notes of a dataset are kept.
const NOTES: &str = "metadata/notes";

/// The arrays that are read one by one.
const KNOWN: [&str; 7] = ["observations", "actions", "rewards", "terminals", "timeouts", "next_observations", NOTES];

/// Reads an HDF5 file in the D4RL layout, every row as it stands.
///
/// Numbers of any width are rounded to [`Real`](backcast_core::Real). Values that are not finite are passed on:
/// [`Dataset::transitions`] refuses them and [`check`](crate::check::check) reports them.
///
/// # Errors
/// Typed, naming the file, the dataset and where possible the row. Never panics on a damaged file, and never asks for more
/// memory than about [`h5::MAX_RATIO`] times the file's length; far less for files that are as compressed as real ones.
pub fn read(path: &Path) -> Result<Dataset, DataError> {
    read_from(&*h5::open(path)?)
}

/// [`read`] from any container of arrays.
pub fn read_from(file: &dyn ReadArrays) -> Result<Dataset, DataError> {
    read_among(file, &[])
}

/// [`read_from`], where `others` are arrays that whoever calls reads by itself.
pub(crate) fn read_among(file: &dyn ReadArrays, others: &[&str]) -> Result<Dataset, DataError> {
    // All shapes are compared before any data are read: a file that cannot be right costs nothing.
    let [rows, obs] = file.matrix("observations", None)?;
    let [_, act] = file.matrix("actions", Some(rows))?;
    file.vector("rewards", rows)?;
    file.vector("terminals", rows)?;
    let timeouts = file.has("timeouts");
    if timeouts {
        file.vector("timeouts", rows)?;
    }
    let next = file.has("next_observations");
    if next {
        let [_, width] = file.matrix("next_observations", Some(rows))?;
        if width != obs {
            return Err(file.misshapen("next_observations", vec![rows, width], format!("[{rows}, {obs}]")));
        }
    }
    if rows == 0 {
        return Err(DataError::Empty { file: file.path().into(), why: "the datasets have no rows" });
    }

    let columns = [file.reals("observations")?, file.reals("actions")?, file.reals("rewards")?];
    let next_obs = if next { Some(file.reals("next_observations")?) } else { None };
    let terminals = file.flags("terminals")?;
    let truncated = if timeouts { file.flags("timeouts")? } else { vec![false; rows] };
    let mut dataset =
        Dataset::from_parts([obs, act], columns, next_obs, [terminals, truncated]).from_origin(file.path());
    unread::take_in(file, &mut dataset, &[&KNOWN[..], others].concat())?;
    if file.has(NOTES) {
        dataset.set_notes(notes_from(file.path(), NOTES, &file.text(NOTES)?)?);
    }
    Ok(dataset)
}

/// Writes `log` to an HDF5 file in the D4RL layout, shuffled and deflated, so that h5py and D4RL's own loader read it.
///
/// The file appears whole or not at all: it is written beside its destination, brought to disk, and renamed.
///
/// # Errors
/// If the dataset is empty or the system refuses; whatever stood at `path` is then still there.
pub fn write(path: &Path, dataset: &Dataset) -> Result<(), DataError> {
    crate::write(path, Format::D4rl, dataset, &crate::WriteOptions::default())
}

/// Writes the arrays of `dataset` into any container.
pub fn write_to(file: &mut dyn WriteArrays, dataset: &Dataset) -> Result<(), DataError> {
    let rows = dataset.len();
    for (name, width, values) in dataset.floats() {
        match name {
            "rewards" => file.reals(name, &[rows], values)?,
            "next_observations" if !dataset.has_next_obs() => {}
            _ => file.reals(name, &[rows, width], values)?,
        }
    }
    let [terminals, timeouts] = dataset.ends();
    file.flags("terminals", terminals)?;
    file.flags("timeouts", timeouts)?;
    write_infos(file, dataset)?;
    if !dataset.notes().is_empty() {
        file.text(NOTES, &notes_text(dataset.notes()))?;
    }
    Ok(())
}

pub(crate) fn write_infos(file: &mut dyn WriteArrays, dataset: &Dataset) -> Result<(), DataError> {
    for info in dataset.infos() {
        file.reals(&format!("infos/{}", info.name), &[dataset.len(), info.width], &info.values)?;
    }
    Ok(())
}
