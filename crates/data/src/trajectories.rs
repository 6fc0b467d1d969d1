//! Lists of trajectories, as decision-transformer code exchanges them, without the pickle.
//!
//! The published files are pickled lists of dictionaries, one for each trajectory, with `observations`,
//! `next_observations`, `actions`, `rewards` and `terminals`. Opening a pickle executes it, so none is opened here; an npz
//! holds the same, in one of two ways:
//!
//! | | arrays |
//! |---|---|
//! | **flat**, what [`write()`] makes | D4RL's names (see [`d4rl`]), and `offsets [episodes + 1]`: where each trajectory begins, and the end |
//! | **one by one** | `0/observations`, `0/actions` … `1/observations` …: D4RL's names below the trajectory's number |
//!
//! Either way `timeouts`, `next_observations` and infos are optional; what not every trajectory has is [noted](Dataset::unread) and
//! not read. A trajectory whose last row is neither terminal
//! nor cut was truncated, unless it is the last: the list says where trajectories end, and only the last one may have been
//! unfinished. To make one from a published pickle, in Python:
//!
//! ```python
//! numpy.savez("hopper.npz", **{f"{i}/{k}": v for i, path in enumerate(pickle.load(f)) for k, v in path.items()})
//! ```

use crate::arrays::{ReadArrays, WriteArrays};
use crate::neorl::boundaries;
use crate::{DataError, Dataset, Format, Info, Row, d4rl, npz, unread};
use std::path::Path;

/// Reads an npz of trajectories.
///
/// # Errors
/// As [`d4rl::read`].
pub fn read(path: &Path) -> Result<Dataset, DataError> {
    read_from(&*npz::open(path)?)
}

/// [`read`] from any container of arrays.
pub fn read_from(file: &dyn ReadArrays) -> Result<Dataset, DataError> {
    if !file.has("offsets") {
        return one_by_one(file);
    }
    let mut dataset = d4rl::read_among(file, &["offsets"])?;
    let offsets = boundaries(file, "offsets", dataset.len())?;
    let ends = (offsets.first().copied(), offsets.last().copied());
    if ends != (Some(0), Some(dataset.len())) {
        let expected = format!("[episodes + 1] from 0 to {}", dataset.len());
        return Err(file.misshapen("offsets", vec![offsets.len()], expected));
    }
    for &after in &offsets[1..offsets.len() - 1] {
        dataset.truncated[after - 1] |= !dataset.terminal[after - 1];
    }
    Ok(dataset)
}

fn one_by_one(file: &dyn ReadArrays) -> Result<Dataset, DataError> {
    let mut dataset: Option<Dataset> = None;
    let mut infos: Vec<Info> = Vec::new();
    let mut count = 0;
    for episode in 0.. {
        let name = |array: &str| format!("{episode}/{array}");
        if !file.has(&name("observations")) {
            break;
        }
        let one = d4rl::read_from(&Below { file, prefix: format!("{episode}/"), names: below(file, episode) })?;
        let all = dataset.get_or_insert_with(|| Dataset::new(one.widths[0], one.widths[1], one.has_next_obs()));
        if one.widths() != all.widths() || one.has_next_obs() != all.has_next_obs() {
            let expected = format!("the widths {:?} and fields of trajectory 0", all.widths());
            return Err(file.misshapen(&name("observations"), one.widths().into(), expected));
        }
        if let Some(t) = all.len().checked_sub(1) {
            all.truncated[t] |= !all.terminal[t];
        }
        (0..one.len()).for_each(|t| all.push(Row { ..one.row(t) }));
        one.unread().iter().for_each(|u| all.note_unread(name(&u.name), u.shape.clone(), u.why.clone()));
        if episode == 0 {
            infos = one.infos.iter().map(|info| Info { values: Vec::new(), ..info.clone() }).collect();
        }
        // An info is one of the dataset's if every trajectory has it.
        for info in
            infos.extract_if(.., |info| !one.infos.iter().any(|i| (&i.name, i.width) == (&info.name, info.width)))
        {
            all.note_unread(format!("0/{}", info.name), vec![info.width], "trajectories after it have none like it");
        }
        for other in &one.infos {
            match infos.iter_mut().find(|info| info.name == other.name) {
                Some(info) => info.values.extend_from_slice(&other.values),
                None => {
                    let why = "trajectories before it have none like it";
                    all.note_unread(name(&other.name), vec![one.len(), other.width], why);
                }
            }
        }
        count += 1;
    }
    let missing = || DataError::Missing { file: file.path().into(), dataset: "offsets".into() };
    let mut dataset = dataset.ok_or_else(missing)?;
    infos.into_iter().for_each(|info| dataset.push_info(info.name, info.width, info.values));
    for name in file.names() {
        let number = name.split_once('/').and_then(|(number, _)| number.parse::<usize>().ok());
        if number.is_none_or(|number| number >= count) {
            let shape = file.entry(name).map(|entry| entry.shape).unwrap_or_default();
            dataset.note_unread(name, shape, format!("it lies in none of the trajectories 0 to {}", count - 1));
        }
    }
    file.others().into_iter().for_each(|name| dataset.note_unread(name, Vec::new(), unread::NO_ARRAY));
    Ok(dataset.from_origin(file.path()))
}

/// The names below one trajectory's number.
fn below(file: &dyn ReadArrays, episode: usize) -> Vec<String> {
    let prefix = format!("{episode}/");
    file.names().iter().filter_map(|name| name.strip_prefix(&prefix)).map(Into::into).collect()
}

/// The arrays of one trajectory, by their names without its number.
struct Below<'a> {
    file: &'a dyn ReadArrays,
    prefix: String,
    names: Vec<String>,
}

impl ReadArrays for Below<'_> {
    fn path(&self) -> &Path {
        self.file.path()
    }

    fn names(&self) -> &[String] {
        &self.names
    }

    fn budget(&self) -> u64 {
        self.file.budget()
    }

    fn entry(&self, array: &str) -> Result<crate::arrays::Entry, DataError> {
        self.file.entry(&format!("{}{array}", self.prefix))
    }

    fn bytes(&self, array: &str) -> Result<Vec<u8>, DataError> {
        self.file.bytes(&format!("{}{array}", self.prefix))
    }
}

/// Writes `log` as an npz of flat arrays and offsets.
///
/// # Errors
/// As [`d4rl::write`].
pub fn write(path: &Path, dataset: &Dataset) -> Result<(), DataError> {
    crate::write(path, Format::Trajectories, dataset, &crate::WriteOptions::default())
}

/// Writes the arrays of `dataset` and the offsets of its episodes into a container.
pub(crate) fn write_to(file: &mut dyn WriteArrays, dataset: &Dataset) -> Result<(), DataError> {
    d4rl::write_to(file, dataset)?;
    let offsets: Vec<i64> = std::iter::once(0).chain(dataset.episodes().iter().map(|e| e.after() as i64)).collect();
    file.counts("offsets", &offsets)
}
