//! The NeoRL layout: an npz of flat arrays with names of its own (Qin et al., arXiv:2102.00714), and NeoRL-2's (Gao et al.,
//! arXiv:2503.19267), which has `truncated` and no `index`.
//!
//! | array | shape | |
//! |---|---|---|
//! | `obs` | `[N, obs]` | *s* |
//! | `action` | `[N, act]` | *a* |
//! | `reward` | `[N, 1]` or `[N]` | *r* |
//! | `done` | `[N, 1]` or `[N]` | the episode ended after this row |
//! | `truncated` | `[N, 1]` or `[N]`, optional | the recording was truncated after this row |
//! | `next_obs` | `[N, obs]` | *s′* |
//! | `index` | `[episodes]`, integers, optional | the row after each episode; a first 0, as the loader puts it, is passed over |
//!
//! Both are read, and what is written has all of them, so that either loader reads it. An episode that `index` closes without a
//! `done` was truncated. Rows after the last of `index` belong to an episode that the file stops in. An array beside these with a row of
//! numbers for each of the dataset's is an info; everything else is [noted](Dataset::unread) and not read.
//!
//! **Trap.** Where there is no `truncated`, `done` does not say why an episode ended. NeoRL's loader counts episodes by it, so
//! files exist where a horizon sets it. It is taken here for what it says, an end of the environment, unless
//! [`Truncations::Horizon`](crate::Truncations::Horizon) is asked for: a `done` at that very age is then a truncation. A file with both flags is
//! believed.
//!
//! **What it cannot hold:** a dataset without next observations, infos, notes. Writing such a dataset is an error that names the field;
//! [`WriteOptions::without`](crate::WriteOptions::without) leaves infos and notes out.

use crate::arrays::{ReadArrays, WriteArrays};
use crate::{DataError, Dataset, Format, npz, unread};
use backcast_core::Real;
use std::path::Path;

/// The arrays that are read one by one.
const KNOWN: [&str; 7] = ["obs", "action", "reward", "done", "truncated", "next_obs", "index"];

/// Whether the file says of a truncation that it is one.
pub(crate) fn marks_truncations(file: &dyn ReadArrays) -> bool {
    file.has("truncated")
}

/// Reads an npz with NeoRL's names.
///
/// # Errors
/// As [`d4rl::read`](crate::d4rl::read).
pub fn read(path: &Path) -> Result<Dataset, DataError> {
    read_from(&*npz::open(path)?)
}

/// [`read`] from any container of arrays.
pub fn read_from(file: &dyn ReadArrays) -> Result<Dataset, DataError> {
    let [rows, obs] = file.matrix("obs", None)?;
    let [_, act] = file.matrix("action", Some(rows))?;
    file.vector("reward", rows)?;
    file.vector("done", rows)?;
    if file.has("truncated") {
        file.vector("truncated", rows)?;
    }
    let [_, width] = file.matrix("next_obs", Some(rows))?;
    if width != obs {
        return Err(file.misshapen("next_obs", vec![rows, width], format!("[{rows}, {obs}]")));
    }
    if rows == 0 {
        return Err(DataError::Empty { file: file.path().into(), why: "the arrays have no rows" });
    }
    let columns = [file.reals("obs")?, file.reals("action")?, file.reals("reward")?];
    let next_obs = Some(file.reals("next_obs")?);
    let done = file.flags("done")?;
    let mut truncated = if file.has("truncated") { file.flags("truncated")? } else { vec![false; rows] };
    if file.has("index") {
        for after in boundaries(file, "index", rows)? {
            if after > 0 {
                truncated[after - 1] |= !done[after - 1];
            }
        }
    }
    let mut dataset = Dataset::from_parts([obs, act], columns, next_obs, [done, truncated]).from_origin(file.path());
    unread::take_in(file, &mut dataset, &KNOWN)?;
    Ok(dataset)
}

/// The integers of `array`, which must rise and lie in `0..=rows`.
pub(crate) fn boundaries(file: &dyn ReadArrays, array: &str, rows: usize) -> Result<Vec<usize>, DataError> {
    let values = file.counts(array)?;
    let (mut before, mut found) = (-1, Vec::with_capacity(values.len()));
    for (row, value) in values.into_iter().enumerate() {
        if value <= before || value > rows as i64 {
            return Err(DataError::Value {
                file: file.path().into(),
                dataset: array.into(),
                row,
                column: 0,
                value: value as f64,
                expected: "a row of the file, after the one before it",
            });
        }
        found.push(value as usize);
        before = value;
    }
    Ok(found)
}

/// Writes `log` as an npz with NeoRL's names.
///
/// # Errors
/// If the layout cannot hold the dataset, the dataset is empty, or the system refuses.
pub fn write(path: &Path, dataset: &Dataset) -> Result<(), DataError> {
    crate::write(path, Format::NeoRl, dataset, &crate::WriteOptions::default())
}

/// Writes the arrays of a dataset that fits ([`unheld`]) into a container.
pub(crate) fn write_to(file: &mut dyn WriteArrays, dataset: &Dataset) -> Result<(), DataError> {
    let [(_, obs, states), (_, act, actions), (_, _, rewards), (_, _, next)] = dataset.floats();
    let rows = dataset.len();
    file.reals("obs", &[rows, obs], states)?;
    file.reals("action", &[rows, act], actions)?;
    file.reals("reward", &[rows, 1], rewards)?;
    for (name, flags) in ["done", "truncated"].into_iter().zip(dataset.ends()) {
        let numbers: Vec<Real> = flags.iter().map(|&flag| flag as u8 as Real).collect();
        file.reals(name, &[rows, 1], &numbers)?;
    }
    file.reals("next_obs", &[rows, obs], next)?;
    let whole = dataset.episodes().into_iter().filter(|e| e.end != crate::End::Unfinished);
    file.counts("index", &whole.map(|e| e.after() as i64).collect::<Vec<_>>())
}

/// What of `dataset` has no place here, and why.
pub(crate) fn unheld(dataset: &Dataset) -> Option<(String, String)> {
    if !dataset.has_next_obs() {
        let why = "every row of this layout has one, and the dataset stores none";
        return Some(("next_observations".into(), why.into()));
    }
    if let Some(info) = dataset.infos().first() {
        return Some((format!("infos/{}", info.name), "there is no place for infos; leave `infos` out".into()));
    }
    let note = dataset.notes().keys().next()?;
    Some((format!("notes/{note}"), "there is no place for notes; leave `notes` out".into()))
}
