//! What is in a file and in no field of its dataset: noted by name, so that nothing is lost without a word.

use crate::arrays::ReadArrays;
use crate::{DataError, Dataset};
use serde::Serialize;
use std::fmt;

/// An array that a file holds and its dataset does not.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Unread {
    /// Its path in the file; of a dataset with a folder for each episode, its path in an episode.
    pub name: String,
    /// Its extents; none where it could not be described.
    pub shape: Vec<usize>,
    /// Why it was passed over.
    pub why: String,
}

impl fmt::Display for Unread {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "`{}` {:?}: {}", self.name, self.shape, self.why)
    }
}

/// What there is to say of what a container does not list among its arrays.
pub(crate) const NO_ARRAY: &str = "it is no array: a link to another place, or a file of another kind";

/// What [`WriteOptions::without`](crate::WriteOptions::without) calls everything that was passed over.
pub(crate) const ALL: &str = "unread";

impl Dataset {
    /// What its file holds beside it, by name: [`write()`](crate::write()) refuses until each is left out on purpose.
    pub fn unread(&self) -> &[Unread] {
        &self.unread
    }

    /// Notes an array that is passed over; the first of a name stands for all.
    pub(crate) fn note_unread(&mut self, name: impl Into<String>, shape: Vec<usize>, why: impl Into<String>) {
        let unread = Unread { name: name.into(), shape, why: why.into() };
        if !self.unread.iter().any(|other| other.name == unread.name) {
            self.unread.push(unread);
        }
    }

    /// Whether `fields` name the array `name`: by itself, by a folder it lies in, or with everything that was passed over.
    pub(crate) fn names_unread(fields: &[String], name: &str) -> bool {
        let within =
            |folder: &str| name.strip_prefix(folder).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'));
        fields.iter().any(|field| field == ALL || within(field.trim_end_matches('/')))
    }
}

/// Takes in what a layout does not know: arrays with a row of numbers for each of the dataset's become
/// [infos](Dataset::infos), by their names below `infos/` or by their own; the rest is noted.
///
/// What lies in `metadata` describes the file, whatever its shape, and is no row of anything.
pub(crate) fn take_in(file: &dyn ReadArrays, dataset: &mut Dataset, known: &[&str]) -> Result<(), DataError> {
    for name in file.names() {
        if known.contains(&name.as_str()) {
            continue;
        }
        let info = name.strip_prefix("infos/");
        let entry = match file.entry(name) {
            Ok(entry) => entry,
            Err(error) if info.is_some() => return Err(error),
            Err(error) => {
                dataset.note_unread(name, Vec::new(), format!("it cannot be read: {error}"));
                continue;
            }
        };
        let width = entry.shape.iter().skip(1).product();
        let short = info.unwrap_or(name);
        let why = match () {
            () if name.starts_with("metadata/") => "it describes the file and is no row of anything".into(),
            () if entry.kind.bytes() == 0 => format!("it holds {}, not numbers", entry.kind),
            () if entry.shape.first() != Some(&dataset.len()) || width == 0 => {
                format!("it has no row for each of the dataset's {}", dataset.len())
            }
            () if dataset.infos().iter().any(|other| other.name == short) => format!("`infos/{short}` has its name"),
            () => {
                dataset.push_info(short, width, file.reals(name)?);
                continue;
            }
        };
        dataset.note_unread(name, entry.shape, why);
    }
    for name in file.others() {
        dataset.note_unread(name, Vec::new(), NO_ARRAY);
    }
    Ok(())
}
