//! A disk in memory that keeps only what a real one must keep, and fails where it is told to.

use backcast_storage::{Disk, NewFile};
use std::{
    collections::BTreeMap,
    fmt,
    io::{self, ErrorKind},
    path::{Path, PathBuf},
    sync::{Mutex, MutexGuard},
};

/// What goes wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    /// One operation fails and does nothing.
    Error,
    /// From then on nothing more can be written; half of the first write fits.
    Full,
    /// The power goes before the operation.
    Crash,
    /// The power goes within the operation: half of a write is done. Other operations are whole or not done.
    Torn,
}

impl Fault {
    pub(crate) const ALL: [Self; 4] = [Self::Error, Self::Full, Self::Crash, Self::Torn];

    /// Whether the machine is down afterwards.
    pub(crate) fn is_crash(self) -> bool {
        matches!(self, Self::Crash | Self::Torn)
    }
}

/// What was written and not made durable, when the power goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Unsynced {
    /// All of it is lost.
    Lost,
    /// The first half of each file is there.
    Half,
    /// All of it happens to be there.
    Kept,
}

/// What is there when the power is back: of the names changed and not made durable, the first so many; of contents, as said.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Survival {
    pub(crate) names: usize,
    pub(crate) contents: Unsynced,
}

#[derive(Clone, Default)]
struct File {
    durable: usize,
    now: Vec<u8>,
}

#[derive(Clone)]
enum Change {
    Named(PathBuf, usize),
    Renamed(PathBuf, PathBuf),
    Removed(PathBuf),
}

impl Change {
    fn of(&self, folder: &Path) -> bool {
        let (Self::Named(path, _) | Self::Renamed(_, path) | Self::Removed(path)) = self;
        path.parent() == Some(folder)
    }

    fn make(&self, names: &mut BTreeMap<PathBuf, usize>) {
        match self {
            Self::Named(path, file) => drop(names.insert(path.clone(), *file)),
            Self::Removed(path) => drop(names.remove(path)),
            Self::Renamed(from, to) => {
                if let Some(file) = names.remove(from) {
                    names.insert(to.clone(), file);
                }
            }
        }
    }
}

#[derive(Clone, Default)]
struct Inner {
    files: Vec<File>,
    names: BTreeMap<PathBuf, usize>,
    durable_names: BTreeMap<PathBuf, usize>,
    /// Changes of names that are not durable yet, in order.
    pending: Vec<Change>,
    operations: Vec<String>,
    fault: Option<(usize, Fault)>,
    full: bool,
    down: bool,
}

/// The disk.
#[derive(Default)]
pub(crate) struct Memory(Mutex<Inner>);

impl Memory {
    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap_or_else(|e| e.into_inner())
    }

    /// The same content, all of it durable, that fails at the operation of this number from now on.
    pub(crate) fn failing(&self, at: usize, fault: Fault) -> Self {
        let mut inner = self.inner().clone();
        inner.fault = Some((at, fault));
        inner.operations.clear();
        Self(Mutex::new(inner))
    }

    /// What has been asked of it so far, other than reading.
    pub(crate) fn operations(&self) -> Vec<String> {
        self.inner().operations.clone()
    }

    /// Every way in which it can come back after a crash.
    pub(crate) fn survivals(&self) -> Vec<Survival> {
        let names = 0..=self.inner().pending.len();
        let contents = [Unsynced::Lost, Unsynced::Half, Unsynced::Kept];
        names.flat_map(|names| contents.map(|contents| Survival { names, contents })).collect()
    }

    /// The disk when the power is back.
    pub(crate) fn after_crash(&self, survival: Survival) -> Self {
        let inner = self.inner();
        let mut names = inner.durable_names.clone();
        inner.pending.iter().take(survival.names).for_each(|change| change.make(&mut names));
        let files = inner.files.iter().map(|file| {
            let length = match survival.contents {
                Unsynced::Lost => file.durable,
                Unsynced::Half => file.durable.midpoint(file.now.len()),
                Unsynced::Kept => file.now.len(),
            };
            File { durable: length, now: file.now[..length].to_vec() }
        });
        let files = files.collect();
        Self(Mutex::new(Inner { files, names: names.clone(), durable_names: names, ..Inner::default() }))
    }

    /// The same disk with everything that ailed it put right.
    pub(crate) fn mended(&self) -> Self {
        let inner = Inner { fault: None, full: false, down: false, operations: vec![], ..self.inner().clone() };
        Self(Mutex::new(inner))
    }

    /// Every file by name.
    pub(crate) fn contents(&self) -> BTreeMap<PathBuf, Vec<u8>> {
        let inner = self.inner();
        inner.names.iter().map(|(path, &file)| (path.clone(), inner.files[file].now.clone())).collect()
    }
}

impl fmt::Debug for Memory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.inner().operations.iter()).finish()
    }
}

impl Inner {
    /// Counts an operation; says whether a torn write is asked for.
    fn begin(&mut self, what: String) -> io::Result<bool> {
        let number = self.operations.len();
        self.operations.push(what);
        let down = || Err(io::Error::other("the machine is down"));
        if self.down {
            return down();
        }
        match self.fault.filter(|(at, _)| *at == number) {
            None => Ok(false),
            Some((_, Fault::Error)) => Err(io::Error::other("injected")),
            Some((_, Fault::Full)) => {
                self.full = true;
                Ok(true)
            }
            Some((_, Fault::Crash)) => {
                self.down = true;
                down()
            }
            Some((_, Fault::Torn)) => {
                self.down = true;
                Ok(true)
            }
        }
    }

    /// For operations that are whole or not done.
    fn whole(&mut self, what: String) -> io::Result<()> {
        match self.begin(what)? {
            true if self.down => Err(io::Error::other("the machine is down")),
            _ => Ok(()),
        }
    }

    fn find(&self, path: &Path) -> io::Result<usize> {
        self.names.get(path).copied().ok_or_else(|| ErrorKind::NotFound.into())
    }

    fn change(&mut self, change: Change) {
        change.make(&mut self.names);
        self.pending.push(change);
    }
}

impl Disk for Memory {
    fn read(&self, path: &Path) -> io::Result<Vec<u8>> {
        let inner = self.inner();
        if inner.down {
            return Err(io::Error::other("the machine is down"));
        }
        Ok(inner.files[inner.find(path)?].now.clone())
    }

    fn create(&self, path: &Path) -> io::Result<Box<dyn NewFile + '_>> {
        let mut inner = self.inner();
        inner.whole(format!("create {}", path.display()))?;
        if inner.names.contains_key(path) {
            return Err(ErrorKind::AlreadyExists.into());
        }
        inner.files.push(File::default());
        let file = inner.files.len() - 1;
        inner.change(Change::Named(path.into(), file));
        Ok(Box::new(Open { disk: self, file, path: path.into() }))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        let mut inner = self.inner();
        inner.whole(format!("rename {} to {}", from.display(), to.display()))?;
        inner.find(from)?;
        inner.change(Change::Renamed(from.into(), to.into()));
        Ok(())
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        let mut inner = self.inner();
        inner.whole(format!("remove {}", path.display()))?;
        inner.find(path)?;
        inner.change(Change::Removed(path.into()));
        Ok(())
    }

    fn sync_folder(&self, folder: &Path) -> io::Result<()> {
        let mut inner = self.inner();
        inner.whole(format!("sync folder {}", folder.display()))?;
        let (own, others): (Vec<Change>, Vec<Change>) =
            std::mem::take(&mut inner.pending).into_iter().partition(|change| change.of(folder));
        inner.pending = others;
        own.iter().for_each(|change| change.make(&mut inner.durable_names));
        Ok(())
    }

    fn create_folder(&self, folder: &Path) -> io::Result<()> {
        // Folders are wherever a name needs one; only whether the call fails matters.
        self.inner().whole(format!("create folder {}", folder.display()))
    }
}

struct Open<'a> {
    disk: &'a Memory,
    file: usize,
    path: PathBuf,
}

impl NewFile for Open<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        let mut inner = self.disk.inner();
        let was_full = inner.full;
        let torn = inner.begin(format!("write {} bytes to {}", bytes.len(), self.path.display()))?;
        if was_full {
            return Err(ErrorKind::StorageFull.into());
        }
        let length = if torn { bytes.len() / 2 } else { bytes.len() };
        let full = inner.full;
        inner.files[self.file].now.extend_from_slice(&bytes[..length]);
        match torn {
            true if full => Err(ErrorKind::StorageFull.into()),
            true => Err(io::Error::other("the machine is down")),
            false => Ok(()),
        }
    }

    fn sync(&mut self) -> io::Result<()> {
        let mut inner = self.disk.inner();
        inner.whole(format!("sync {}", self.path.display()))?;
        let file = &mut inner.files[self.file];
        file.durable = file.now.len();
        Ok(())
    }
}
