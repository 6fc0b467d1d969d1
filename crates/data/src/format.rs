//! One door for every format: what a path holds, reading it, writing it.

use crate::arrays::ReadArrays;
use crate::truncations::JUMP;
use crate::{DataError, Dataset, Truncations, atomic, d4rl, h5, minari, neorl, npz, store, trajectories};
use backcast_core::Real;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fmt;
use std::path::Path;
use std::str::FromStr;

/// A way of keeping a dataset on disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Format {
    /// D4RL's names in an HDF5 file; see [`d4rl`].
    D4rl,
    /// D4RL's names in an npz; see [`npz`].
    Npz,
    /// NeoRL's names in an npz; see [`neorl`].
    NeoRl,
    /// A list of trajectories in an npz; see [`trajectories`].
    Trajectories,
    /// A Minari dataset, a folder with an HDF5 file; see [`minari`].
    Minari,
    /// A Minari dataset, a folder with an arrow file for each episode; needs the feature `arrow`; see [`minari`].
    MinariArrow,
    /// A column file of this crate, with D4RL's names; see [`store`].
    Columns,
}

impl Format {
    /// Every format.
    pub const ALL: [Self; 7] =
        [Self::D4rl, Self::Npz, Self::NeoRl, Self::Trajectories, Self::Minari, Self::MinariArrow, Self::Columns];

    /// Its name on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Self::D4rl => "d4rl",
            Self::Npz => "npz",
            Self::NeoRl => "neorl",
            Self::Trajectories => "trajectories",
            Self::Minari => "minari",
            Self::MinariArrow => "minari-arrow",
            Self::Columns => "columns",
        }
    }

    /// What `path` holds, by its content: magic words, and the names of its arrays.
    ///
    /// # Errors
    /// If there is nothing, or nothing that is known here.
    pub fn detect(path: &Path) -> Result<Self, DataError> {
        let metadata = std::fs::metadata(path).map_err(|source| DataError::io(path, source))?;
        if metadata.is_dir() {
            return minari::detect(path);
        }
        if !metadata.is_file() {
            // A pipe would be waited for, and a device has no end.
            return Err(DataError::NotAFile { file: path.into(), what: backcast_storage::kind(&metadata) });
        }
        let mut start = [0; 8];
        let count = std::fs::File::open(path)
            .and_then(|file| std::io::Read::read(&mut std::io::Read::take(file, 8), &mut start))
            .map_err(|source| DataError::io(path, source))?;
        match &start[..count] {
            b"\x89HDF\r\n\x1a\n" => {
                // The main file of a Minari dataset stands beside its metadata.
                let whole = path.parent().filter(|_| path.file_name().is_some_and(|name| name == minari::MAIN));
                Ok(whole.and_then(|folder| minari::detect(folder).ok()).unwrap_or(Self::D4rl))
            }
            [b'P', b'K', 3..=6, _, ..] => {
                let file = npz::open(path)?;
                Ok(match () {
                    () if file.has("offsets") || file.has("0/observations") => Self::Trajectories,
                    () if file.has("obs") && file.has("next_obs") => Self::NeoRl,
                    () => Self::Npz,
                })
            }
            start if *start == store::MAGIC => Ok(Self::Columns),
            // HDF5 allows something else to stand before it, and its reader knows best what a damaged file is.
            _ if matches!(path.extension().and_then(|e| e.to_str()), Some("hdf5" | "h5")) => Ok(Self::D4rl),
            _ => Err(DataError::Unknown { file: path.into(), why: format!("no known format by its content. {KNOWN}") }),
        }
    }

    /// The format that a path to be written asks for by its name: `.hdf5` and `.h5` are D4RL's, `.npz` is npz, `.columns` is a
    /// column file.
    pub fn from_name_of(path: &Path) -> Option<Self> {
        match path.extension()?.to_str()? {
            "hdf5" | "h5" => Some(Self::D4rl),
            "npz" => Some(Self::Npz),
            "columns" => Some(Self::Columns),
            _ => None,
        }
    }
}

/// What is known, for whoever brought something else.
const KNOWN: &str = "Known are D4RL's HDF5, npz (D4RL's names, NeoRL's, or a list of trajectories), a Minari dataset's folder, \
                     and column files; a pickle must be saved as an npz first";

impl fmt::Display for Format {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Format {
    type Err = String;

    fn from_str(name: &str) -> Result<Self, String> {
        let names = || Self::ALL.map(Self::name).join(", ");
        Self::ALL
            .into_iter()
            .find(|f| f.name() == name)
            .ok_or_else(|| format!("no format `{name}`; there are {}", names()))
    }
}

/// How a dataset is read.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct ReadOptions {
    /// What the path holds; found out from its content by default.
    pub format: Option<Format>,
    /// Where the dataset was truncated; where the file says by default.
    pub truncations: Truncations,
    /// Pulls action values back into `[−limit, limit]`, as D4RL does with the Adroit demonstrations; no by default.
    pub clip_actions: Option<Real>,
}

/// How a dataset is written.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct WriteOptions {
    /// Fields to leave out: `infos`, `infos/<name>`, `notes`, `next_observations`, or something that was not read
    /// ([`Dataset::unread`]), by its name, by a folder it lies in, or `unread` for all.
    pub without: Vec<String>,
    /// Minari only: where a dataset stores no next observations, let the last observation of each episode stand in for the one
    /// after it, instead of refusing. The dataset says so of itself, and is read back here without next observations.
    pub repeat_final: bool,
}

/// Reads a dataset, whatever it is kept in.
///
/// ```no_run
/// use backcast_data::{Truncations, ReadOptions, read};
/// // An antmaze file, with its cuts found again.
/// let dataset = read("antmaze-umaze-v0.hdf5".as_ref(), &ReadOptions { truncations: Truncations::Jumps, ..ReadOptions::default() })?;
/// # Ok::<(), backcast_data::DataError>(())
/// ```
///
/// # Errors
/// If the format is not known or the data are damaged; every error names the file, most the array and the row.
///
/// # Panics
/// If a horizon of zero or a limit that is not positive is asked for.
pub fn read(path: &Path, options: &ReadOptions) -> Result<Dataset, DataError> {
    let format = options.format.map_or_else(|| Format::detect(path), Ok)?;
    let mut one_flag = false;
    let mut dataset = match format {
        Format::Minari | Format::MinariArrow => minari::read(path)?,
        _ => {
            let file = open(path, format)?;
            one_flag = format == Format::NeoRl && !neorl::marks_truncations(&*file);
            read_arrays(&*file, format)?
        }
    };
    match options.truncations {
        Truncations::Recorded => {}
        Truncations::Horizon(horizon) => {
            if one_flag {
                dataset.ends_at_horizon_are_truncations(horizon);
            }
            dataset.truncate_at_horizon(horizon);
        }
        Truncations::Jumps if dataset.widths()[0] < 2 => {
            let (rows, [width, _]) = (dataset.len(), dataset.widths());
            let expected = "[rows, 2 or more]: a position stands in the first two columns".into();
            return Err(DataError::Shape {
                file: path.into(),
                dataset: "observations".into(),
                found: vec![rows, width],
                expected,
            });
        }
        Truncations::Jumps => {
            dataset.truncate_at_jumps(JUMP);
        }
    }
    if let Some(limit) = options.clip_actions {
        dataset.clip_actions(limit);
    }
    Ok(dataset)
}

/// The container of a format that is one file.
pub(crate) fn open(path: &Path, format: Format) -> Result<Box<dyn ReadArrays>, DataError> {
    match format {
        Format::D4rl => h5::open(path),
        Format::Columns => store::open(path),
        Format::Minari | Format::MinariArrow => h5::open(&minari::main_file(path)),
        Format::Npz | Format::NeoRl | Format::Trajectories => npz::open(path),
    }
}

pub(crate) fn read_arrays(file: &dyn ReadArrays, format: Format) -> Result<Dataset, DataError> {
    match format {
        Format::NeoRl => neorl::read_from(file),
        Format::Trajectories => trajectories::read_from(file),
        _ => d4rl::read_from(file),
    }
}

/// Writes a dataset: the file or folder appears whole or not at all, and reads back to the same bits.
///
/// # Errors
/// [`DataError::Unheld`] if the format has no place for something in the dataset, naming it; [`DataError::Empty`] for a dataset
/// without rows; [`DataError::LeftBehind`] if its file holds what was not read, until it is left out; and whatever the system
/// refuses. What stood at `path` is then still there.
pub fn write(path: &Path, format: Format, dataset: &Dataset, options: &WriteOptions) -> Result<(), DataError> {
    if dataset.is_empty() {
        return Err(DataError::Empty { file: path.into(), why: "an empty dataset is not written" });
    }
    let lighter = (!options.without.is_empty()).then(|| dataset.without(&options.without));
    let dataset = lighter.as_ref().unwrap_or(dataset);
    if !dataset.unread().is_empty() {
        let (origin, arrays) = (dataset.origin().into(), dataset.unread().to_vec());
        return Err(DataError::LeftBehind { file: path.into(), origin, arrays });
    }
    let unheld = |(field, why)| DataError::Unheld { file: path.into(), format, field, why };
    let special = match format {
        Format::NeoRl => neorl::unheld(dataset),
        Format::Minari | Format::MinariArrow => minari::unheld(dataset, options),
        _ => None,
    };
    if let Some(found) = special.or_else(|| nameless(dataset)) {
        return Err(unheld(found));
    }
    if matches!(format, Format::Minari | Format::MinariArrow) {
        return atomic::make_folder(path, |path| minari::write_in_place(path, format, dataset, options));
    }
    atomic::replace(path, |path| {
        let mut file = match format {
            Format::Columns => store::create(path, dataset)?,
            Format::Npz | Format::NeoRl | Format::Trajectories => npz::create(path)?,
            _ => h5::create(path)?,
        };
        match format {
            Format::NeoRl => neorl::write_to(&mut *file, dataset)?,
            Format::Trajectories => trajectories::write_to(&mut *file, dataset)?,
            _ => d4rl::write_to(&mut *file, dataset)?,
        }
        file.finish()
    })
}

/// What no format can hold: columns that are not there, and infos whose names are no paths.
fn nameless(dataset: &Dataset) -> Option<(String, String)> {
    for (field, width) in ["observations", "actions"].into_iter().zip(dataset.widths()) {
        if width == 0 {
            return Some((field.into(), "it has no columns".into()));
        }
    }
    let mut names: Vec<&str> = dataset.infos().iter().map(|info| info.name.as_str()).collect();
    names.sort_unstable();
    for info in dataset.infos() {
        let (name, field) = (&info.name, format!("infos/{}", info.name));
        let sound = name.split('/').all(|part| !["", ".", ".."].contains(&part) && !part.contains(['\0', '\\']));
        let inside = format!("{name}/");
        if info.width == 0 {
            return Some((field, "it has no columns; leave it out".into()));
        }
        if !sound || name.len() > 255 {
            return Some((field, "its name is no path of at most 255 bytes".into()));
        }
        if names.iter().filter(|other| **other == name).count() > 1 || names.iter().any(|n| n.starts_with(&inside)) {
            return Some((field, "another info has its name, or lies below it".into()));
        }
    }
    None
}

/// Notes as they are kept in a container: a JSON object.
pub(crate) fn notes_text(notes: &BTreeMap<String, String>) -> String {
    serde_json::to_string(notes).expect("text by name is JSON")
}

/// The reverse of [`notes_text`].
pub(crate) fn notes_from(path: &Path, array: &str, text: &str) -> Result<BTreeMap<String, String>, DataError> {
    serde_json::from_str(text).map_err(|error| DataError::damaged(path, array, None, error))
}
