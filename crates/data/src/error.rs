use std::path::{Path, PathBuf};

/// What can be wrong with a dataset on disk. Every variant names the file, and the dataset and row where there is one.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DataError {
    /// The operating system refused.
    #[error("{}: {source}", file.display())]
    Io {
        /// The file.
        file: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// The file as a whole is not readable as what it should be.
    #[error("{}: not a readable {kind} of {bytes} bytes: {why}", file.display())]
    Format {
        /// The file.
        file: PathBuf,
        /// What it should be.
        kind: &'static str,
        /// Its length, the first offset that does not exist.
        bytes: u64,
        /// What the reader said.
        why: String,
    },
    /// The file ends before its own superblock says it does.
    #[error(
        "{}: the file ends at byte {bytes}, and its superblock says {declared}: it was not copied or downloaded whole; \
         copy or download it again",
        file.display()
    )]
    Cut {
        /// The file.
        file: PathBuf,
        /// Its length.
        bytes: u64,
        /// The length it had when it was closed.
        declared: u64,
    },
    /// Parts of a dataset are not in the file, and would be read as fill values.
    #[error(
        "{}: `{dataset}`: {found} of {expected} {} there, and row {row} is the first that is missing: what was never \
         written, or is lost, is not read as zeros; get the file again, or write every row",
        file.display(),
        if *expected == 1 { "part is" } else { "parts are" }
    )]
    Incomplete {
        /// The file.
        file: PathBuf,
        /// The dataset.
        dataset: String,
        /// How many of its parts are there: chunks, or the one piece of a contiguous dataset.
        found: u64,
        /// How many its shape needs.
        expected: u64,
        /// The first row of the first part that is missing.
        row: u64,
    },
    /// A dataset that the layout requires is not there.
    #[error("{}: there is no dataset `{dataset}`", file.display())]
    Missing {
        /// The file.
        file: PathBuf,
        /// The dataset.
        dataset: String,
    },
    /// A dataset is there and cannot be read.
    #[error("{}: `{dataset}`: {}{why}", file.display(), from_row(*row))]
    Damaged {
        /// The file.
        file: PathBuf,
        /// The dataset.
        dataset: String,
        /// The first row of the part that cannot be read, where that is known.
        row: Option<usize>,
        /// What the reader said.
        why: String,
    },
    /// A dataset has an element type that means nothing here.
    #[error("{}: `{dataset}` holds {found}, not {expected}", file.display())]
    Kind {
        /// The file.
        file: PathBuf,
        /// The dataset.
        dataset: String,
        /// The type in the file.
        found: String,
        /// The types that would do.
        expected: &'static str,
    },
    /// A dataset has a shape that means nothing here.
    #[error("{}: `{dataset}` has shape {found:?}, not {expected}", file.display())]
    Shape {
        /// The file.
        file: PathBuf,
        /// The dataset.
        dataset: String,
        /// The shape in the file.
        found: Vec<usize>,
        /// The shape that would do.
        expected: String,
    },
    /// A dataset declares more data than a file of this length can hold, whatever its compression.
    #[error(
        "{}: `{dataset}` declares {declared} bytes, and a file of {bytes} bytes holds at most {limit}",
        file.display()
    )]
    TooLarge {
        /// The file.
        file: PathBuf,
        /// The dataset.
        dataset: String,
        /// The bytes its shape and type ask for.
        declared: u128,
        /// The length of the file.
        bytes: u64,
        /// The most that is believed.
        limit: u64,
    },
    /// A value that cannot stand where it stands.
    #[error("{}: `{dataset}`, row {row}, column {column}: {value} is not {expected}", file.display())]
    Value {
        /// The file, or where the dataset came from.
        file: PathBuf,
        /// The dataset.
        dataset: String,
        /// The row, from 0.
        row: usize,
        /// The column, from 0.
        column: usize,
        /// The value.
        value: f64,
        /// What it should be.
        expected: &'static str,
    },
    /// A layout has no place for something that the dataset holds.
    #[error("{}: the {format} layout cannot hold `{field}`: {why}", file.display())]
    Unheld {
        /// The file that was to be written.
        file: PathBuf,
        /// The layout.
        format: crate::Format,
        /// What it has no place for: `next_observations`, `infos/qpos` …
        field: String,
        /// Why, and what to do.
        why: String,
    },
    /// A dataset is not written, because its own file holds what it does not.
    #[error("{}: not written, for {} holds what was not read: {}", file.display(), origin.display(), listed(arrays))]
    LeftBehind {
        /// The file that was to be written.
        file: PathBuf,
        /// The file that holds more.
        origin: PathBuf,
        /// What it holds.
        arrays: Vec<crate::Unread>,
    },
    /// A place that is no place for a file.
    #[error("{}it is {what}, which is never replaced or read; name a file", named(file))]
    NotAFile {
        /// The path as it was given.
        file: PathBuf,
        /// What is there: `a device`, `a pipe`, `a socket`, `a folder`; or `an empty path`, which is nowhere.
        what: &'static str,
    },
    /// Nothing that is known here.
    #[error("{}: {why}", file.display())]
    Unknown {
        /// The file or folder.
        file: PathBuf,
        /// What was looked for, and what to do.
        why: String,
    },
    /// There is nothing to learn from.
    #[error("{}: {why}", file.display())]
    Empty {
        /// The file, or where the dataset came from.
        file: PathBuf,
        /// What is missing.
        why: &'static str,
    },
}

/// The path and a colon, if there is a path.
fn named(file: &Path) -> String {
    if file.as_os_str().is_empty() { String::new() } else { format!("{}: ", file.display()) }
}

fn from_row(row: Option<usize>) -> String {
    row.map(|row| format!("from row {row}: ")).unwrap_or_default()
}

/// The first few of them in full, then how to leave them out.
fn listed(arrays: &[crate::Unread]) -> String {
    let mut words: Vec<String> = arrays.iter().take(8).map(ToString::to_string).collect();
    words.extend((arrays.len() > 8).then(|| format!("and {} more", arrays.len() - 8)));
    let name = arrays.first().map_or("NAME", |unread| &unread.name);
    format!("{}. Leave them out on purpose by name (`--without {name}`), or all (`--without unread`)", words.join("; "))
}

impl DataError {
    pub(crate) fn io(file: &Path, source: std::io::Error) -> Self {
        Self::Io { file: file.into(), source }
    }

    pub(crate) fn damaged(file: &Path, dataset: &str, row: Option<usize>, why: impl ToString) -> Self {
        Self::Damaged { file: file.into(), dataset: dataset.into(), row, why: why.to_string() }
    }

    /// The same error about the file that was meant, where it is about the one that was written in its stead.
    pub(crate) fn meant(mut self, written: &Path, meant: &Path) -> Self {
        let (Self::Io { file, .. }
        | Self::Format { file, .. }
        | Self::Cut { file, .. }
        | Self::Incomplete { file, .. }
        | Self::Missing { file, .. }
        | Self::Damaged { file, .. }
        | Self::Kind { file, .. }
        | Self::Shape { file, .. }
        | Self::TooLarge { file, .. }
        | Self::Value { file, .. }
        | Self::Unheld { file, .. }
        | Self::LeftBehind { file, .. }
        | Self::NotAFile { file, .. }
        | Self::Unknown { file, .. }
        | Self::Empty { file, .. }) = &mut self;
        if let Ok(rest) = file.strip_prefix(written) {
            // `join` with nothing would add a slash.
            *file = if rest.as_os_str().is_empty() { meant.into() } else { meant.join(rest) };
        }
        self
    }

    /// The file the error is about; empty for a dataset that was never in a file.
    pub fn file(&self) -> &Path {
        match self {
            Self::Io { file, .. }
            | Self::Format { file, .. }
            | Self::Cut { file, .. }
            | Self::Incomplete { file, .. }
            | Self::Missing { file, .. }
            | Self::Damaged { file, .. }
            | Self::Kind { file, .. }
            | Self::Shape { file, .. }
            | Self::TooLarge { file, .. }
            | Self::Value { file, .. }
            | Self::Unheld { file, .. }
            | Self::LeftBehind { file, .. }
            | Self::NotAFile { file, .. }
            | Self::Unknown { file, .. }
            | Self::Empty { file, .. } => file,
        }
    }
}
