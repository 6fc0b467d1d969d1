//! The few operations by which anything is kept, and the one order of them that a crash cannot spoil.

use std::{
    fs::File,
    io::{self, ErrorKind, Write},
    path::{Path, PathBuf},
};

/// Where files are kept. [`Local`] is the file system; another implementation can count, refuse or lose what it is given.
///
/// Nothing is durable before it was asked to be: the content of a file not before [`NewFile::sync`], a name not before
/// [`sync_folder`](Disk::sync_folder).
pub trait Disk: Sync {
    /// The whole content of a file.
    fn read(&self, path: &Path) -> io::Result<Vec<u8>>;
    /// Opens a file that does not exist yet, for writing.
    ///
    /// # Errors
    /// [`ErrorKind::AlreadyExists`] if there is one of this name.
    fn create(&self, path: &Path) -> io::Result<Box<dyn NewFile + '_>>;
    /// Gives a file another name; whatever had that name is gone.
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;
    /// Removes a file.
    fn remove(&self, path: &Path) -> io::Result<()>;
    /// Makes what was created, renamed and removed in a folder durable.
    fn sync_folder(&self, folder: &Path) -> io::Result<()>;
    /// Makes a folder and those above it, durably, where they are missing.
    fn create_folder(&self, folder: &Path) -> io::Result<()>;
    /// The file that is replaced when `path` is: itself, or what it leads to on a disk that has links, so that a link stays one.
    ///
    /// # Errors
    /// [`Irregular`] if something stands there that is no regular file: a rename would put a file in the place of a device.
    fn destination(&self, path: &Path) -> io::Result<PathBuf> {
        Ok(path.into())
    }
}

/// What stands where a file was to be put, and is never replaced; inside an [`io::Error`] of
/// [`InvalidInput`](ErrorKind::InvalidInput).
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{what} is no place for a file: it is left as it is; name a file")]
pub struct Irregular {
    /// `a device`, `a pipe`, `a socket`, `a folder`; `an empty path`, or `a path without a name`.
    pub what: &'static str,
}

impl Irregular {
    /// The one inside `error`, if there is one.
    pub fn of(error: &io::Error) -> Option<Self> {
        error.get_ref().and_then(|inner| inner.downcast_ref()).copied()
    }
}

impl From<Irregular> for io::Error {
    fn from(irregular: Irregular) -> Self {
        Self::new(ErrorKind::InvalidInput, irregular)
    }
}

/// A file being written.
pub trait NewFile {
    /// Adds to its end.
    fn write(&mut self, bytes: &[u8]) -> io::Result<()>;
    /// Makes what was written durable.
    fn sync(&mut self) -> io::Result<()>;
}

/// The file system of this machine.
#[derive(Clone, Copy, Debug, Default)]
pub struct Local;

impl Disk for Local {
    fn read(&self, path: &Path) -> io::Result<Vec<u8>> {
        std::fs::read(path)
    }

    fn create(&self, path: &Path) -> io::Result<Box<dyn NewFile + '_>> {
        Ok(Box::new(File::create_new(path)?))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        std::fs::rename(from, to)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        std::fs::remove_file(path)
    }

    fn sync_folder(&self, folder: &Path) -> io::Result<()> {
        // Some systems cannot open a folder; there a rename is as durable as it gets.
        File::open(folder).map_or(Ok(()), |folder| folder.sync_all())
    }

    fn create_folder(&self, folder: &Path) -> io::Result<()> {
        if folder.is_dir() {
            return Ok(());
        }
        let above = parent(folder);
        self.create_folder(&above)?;
        match std::fs::create_dir(folder) {
            Err(e) if e.kind() == ErrorKind::AlreadyExists && folder.is_dir() => Ok(()),
            made => made.and_then(|()| self.sync_folder(&above)),
        }
    }

    fn destination(&self, path: &Path) -> io::Result<PathBuf> {
        let mut at = path.to_path_buf();
        for _ in 0..LINKS {
            match std::fs::symlink_metadata(&at) {
                _ if at.as_os_str().is_empty() => return Err(Irregular { what: "an empty path" }.into()),
                _ if at.file_name().is_none() => return Err(Irregular { what: "a folder" }.into()),
                Ok(found) if found.is_symlink() => at = parent(&at).join(std::fs::read_link(&at)?),
                Ok(found) if !found.is_file() => return Err(Irregular { what: kind(&found) }.into()),
                // What cannot be seen is not there, or the system will say why.
                _ => return Ok(at),
            }
        }
        Err(io::Error::other("a link that leads in a circle"))
    }
}

/// Links that are followed before it is said that they lead nowhere.
const LINKS: usize = 40;

/// What something is that is neither a file nor a link, in words.
pub fn kind(found: &std::fs::Metadata) -> &'static str {
    if found.is_dir() {
        return "a folder";
    }
    #[cfg(unix)]
    {
        use std::os::unix::fs::FileTypeExt;
        let kind = found.file_type();
        if kind.is_fifo() {
            return "a pipe";
        }
        if kind.is_socket() {
            return "a socket";
        }
    }
    "a device"
}

impl NewFile for File {
    fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.write_all(bytes)
    }

    fn sync(&mut self) -> io::Result<()> {
        self.sync_all()
    }
}

/// Whether an error says that there is no room: the disk is full, or what one may use of it is.
pub fn is_disk_full(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::StorageFull | ErrorKind::QuotaExceeded | ErrorKind::FileTooLarge)
}

/// The folder that `path` is in.
fn parent(path: &Path) -> PathBuf {
    path.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new(".")).to_path_buf()
}

/// Bytes handed to the disk at a time.
const CHUNK: usize = 1 << 20;

/// What the names of files that are still being written end in; one that is found later was left by a crash.
pub const UNFINISHED: &str = ".unfinished";

/// Whether `name` is one that [`replace`] gives a file while it is being written, `.NAME.0.unfinished` and so on.
pub fn is_unfinished(name: &str) -> bool {
    let own =
        name.strip_prefix('.').and_then(|rest| rest.strip_suffix(UNFINISHED)).and_then(|rest| rest.rsplit_once('.'));
    own.is_some_and(|(name, number)| {
        !name.is_empty() && !number.is_empty() && number.bytes().all(|b| b.is_ascii_digit())
    })
}

// ANCHOR: replace
/// Replaces the content of `path` as a whole: after a crash at any moment there is the old file or the new one, and after a
/// success the new one.
///
/// The order is what counts: write beside, sync, rename, sync the folder. No two calls write to the same file beside, in
/// this process or in another.
///
/// # Errors
/// If the disk refuses any of it. The old file is then still there, unless it is the last step that failed.
pub fn replace(disk: &dyn Disk, path: &Path, bytes: &[u8]) -> io::Result<()> {
    let path = &disk.destination(path)?;
    let folder = parent(path);
    let name = path.file_name().ok_or(Irregular { what: "a path without a name" })?;
    let name = name.to_string_lossy();
    // Left by crashes, or just being written by somebody else: each of them in another place.
    let (beside, mut file) = (0..)
        .map(|i| folder.join(format!(".{name}.{i}{UNFINISHED}")))
        .find_map(|beside| match disk.create(&beside) {
            Err(e) if e.kind() == ErrorKind::AlreadyExists => None,
            made => Some(made.map(|file| (beside, file))),
        })
        .expect("there is always a next number")?;
    let written = bytes.chunks(CHUNK).try_for_each(|chunk| file.write(chunk)).and_then(|()| file.sync());
    drop(file);
    if let Err(error) = written.and_then(|()| disk.rename(&beside, path)) {
        // A full disk has more use for the room than for half a file. If it cannot be removed, it is in nobody's way.
        let _ = disk.remove(&beside);
        return Err(error);
    }
    disk.sync_folder(&folder)
}
// ANCHOR_END: replace
