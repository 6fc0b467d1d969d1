//! Who is at work in a run's folder: one process at a time.
//!
//! The lock is the file system's own, on the file `lock`: it goes with the process that holds it, however that ends, so that
//! none is ever left over. What stands in the file, the process and its host, is for people. Some file systems of
//! clusters cannot lock, or not between hosts; two processes that meet there do the same work twice and come to the same
//! bits, since every file is written beside and renamed.

use super::place::is_run;
use crate::Error;
use backcast_storage::is_unfinished;
use serde::{Deserialize, Serialize};
use std::{
    fmt,
    fs::{File, FileType, TryLockError},
    io::{self, Read, Seek, Write},
    path::{Path, PathBuf},
    time::Duration,
};

/// A process at work.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Holder {
    /// Its number on its host.
    pub pid: u32,
    /// The host.
    pub host: String,
}

impl Holder {
    /// This process.
    fn here() -> Self {
        Self { pid: std::process::id(), host: host() }
    }
}

impl fmt::Display for Holder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "process {} on {}", self.pid, self.host)
    }
}

/// The name of this machine, as far as it tells.
fn host() -> String {
    let told = std::fs::read_to_string("/proc/sys/kernel/hostname").ok();
    let name = told.or_else(|| std::env::var("HOSTNAME").ok()).unwrap_or_default();
    if name.trim().is_empty() { "this host".to_owned() } else { name.trim().to_owned() }
}

/// How often a lock that another has is asked for again.
const TRIES: usize = 20;
/// How long between.
const PAUSE: Duration = Duration::from_millis(10);

/// Asks again for a moment. A process that is killed just as it starts another leaves its locks with that one until the new program takes
/// over; who comes right after would be told that a dead process is at work.
fn patiently(mut ask: impl FnMut() -> Result<(), TryLockError>) -> Result<(), TryLockError> {
    for _ in 1..TRIES {
        match ask() {
            Err(TryLockError::WouldBlock) => std::thread::sleep(PAUSE),
            answer => return answer,
        }
    }
    ask()
}

/// The right to work in a run's folder, given back when it is dropped.
#[derive(Debug)]
pub struct Lock {
    folder: PathBuf,
    file: File,
    left_by: Option<Holder>,
}

impl Lock {
    /// The name of the file.
    pub const FILE: &'static str = "lock";

    /// Takes the lock of the folder `out`, which is made if it is not there.
    ///
    /// # Errors
    /// [`Error::Busy`] if another process has it.
    pub fn take(out: &Path) -> Result<Self, Error> {
        let path = out.join(Self::FILE);
        let io = |source: io::Error| Error::Io { path: path.clone(), source };
        std::fs::create_dir_all(out).map_err(io)?;
        let mut file = File::options().read(true).write(true).create(true).truncate(false).open(&path).map_err(io)?;
        let mut text = String::new();
        // Nobody has to be able to read it.
        let _ = file.read_to_string(&mut text);
        let named: Option<Holder> = crate::json::from_str(&text).ok();
        match patiently(|| file.try_lock()) {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                let nameless = Holder { pid: 0, host: "a host that has not said its name yet".into() };
                return Err(Error::Busy { path: out.into(), holder: named.unwrap_or(nameless) });
            }
            // Where there are no locks, a process that is alive on this host is the best that can be known.
            Err(TryLockError::Error(_)) => {
                if let Some(holder) = named.clone().filter(is_alive) {
                    return Err(Error::Busy { path: out.into(), holder });
                }
            }
        }
        let mine = crate::json::to_string(&Holder::here()).expect("plain values");
        let written = file.set_len(0).and_then(|()| file.rewind()).and_then(|()| file.write_all(mine.as_bytes()));
        written.map_err(io)?;
        Ok(Self { folder: out.into(), file, left_by: named })
    }

    /// Removes what a process that died in this folder, or in those that a run has within it, was writing: files of the names that
    /// [`replace`](backcast_storage::replace) makes, and no others. Nothing where no run has its settings yet: the folder may be anybody's.
    pub fn sweep_up(&self) -> Result<(), Error> {
        if !is_run(&self.folder) {
            return Ok(());
        }
        let mut folders = vec![self.folder.clone()];
        for (part, deep) in [("models", false), ("learners", true), ("tensorboard", true)] {
            let part = self.folder.join(part);
            let within = entries(&part)?.into_iter().filter(|(_, kind)| deep && kind.is_dir());
            folders.extend(within.map(|(path, _)| path));
            folders.push(part);
        }
        for folder in &folders {
            for (path, kind) in entries(folder)? {
                if kind.is_file() && path.file_name().is_some_and(|name| is_unfinished(&name.to_string_lossy())) {
                    std::fs::remove_file(&path).map_err(|source| Error::Io { path, source })?;
                }
            }
        }
        Ok(())
    }

    /// Whether somebody is at work in the folder `out` now.
    pub fn is_taken(out: &Path) -> bool {
        out.join(Self::FILE).exists() && matches!(Self::take(out), Err(Error::Busy { .. }))
    }

    /// The process that had the lock before and ended without giving it back.
    pub fn left_by(&self) -> Option<&Holder> {
        self.left_by.as_ref()
    }
}

impl Drop for Lock {
    fn drop(&mut self) {
        // An empty file was given back; one that cannot be emptied will be thought left over, and no harm done.
        let _ = self.file.set_len(0);
    }
}

/// Whether `holder` is another process of this host that is still there.
fn is_alive(holder: &Holder) -> bool {
    let proc = Path::new("/proc");
    holder.host == host() && holder.pid != std::process::id() && proc.join(holder.pid.to_string()).exists()
}

/// What is in a folder, if there is one; a link is a link, whatever it leads to.
fn entries(folder: &Path) -> Result<Vec<(PathBuf, FileType)>, Error> {
    let read = || -> io::Result<_> {
        std::fs::read_dir(folder)?.map(|entry| entry.and_then(|entry| Ok((entry.path(), entry.file_type()?)))).collect()
    };
    match read() {
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(vec![]),
        read => read.map_err(|source| Error::Io { path: folder.into(), source }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_at_a_time_and_what_was_left_is_swept_up() {
        let folder = tempfile::tempdir().unwrap();
        let out = folder.path().join("a/run");
        let lock = Lock::take(&out).unwrap();
        assert_eq!(lock.left_by(), None);
        let error = Lock::take(&out).unwrap_err();
        let Error::Busy { holder, .. } = &error else { panic!("{error}") };
        assert_eq!(*holder, Holder::here());
        assert!(error.to_string().contains(&std::process::id().to_string()), "{error}");
        drop(lock);

        // A process that died: its name stands in the file, and half a file stands beside a checkpoint.
        let dead = Holder { pid: u32::MAX, host: "elsewhere".into() };
        std::fs::write(out.join(Lock::FILE), crate::json::to_string(&dead).unwrap()).unwrap();
        std::fs::create_dir_all(out.join("learners/a/deeper")).unwrap();
        let half = out.join("learners/a/.x.0.unfinished");
        let others = ["learners/a/x", ".x.unfinished", "learners/a/deeper/.x.0.unfinished"].map(|name| out.join(name));
        std::fs::write(&half, "ha").unwrap();
        others.iter().for_each(|path| std::fs::write(path, "whole").unwrap());
        let lock = Lock::take(&out).unwrap();
        assert_eq!(lock.left_by(), Some(&dead));
        assert!(Lock::is_taken(&out) && !Lock::is_taken(&out.join("learners")));
        lock.sweep_up().unwrap();
        assert!(half.exists(), "nobody's settings are here");
        std::fs::write(out.join("config.toml"), "").unwrap();
        lock.sweep_up().unwrap();
        assert!(!half.exists() && others.iter().all(|path| path.exists()));
        drop(lock);
        assert_eq!(Lock::take(&out).unwrap().left_by(), None);
        std::fs::write(out.join(Lock::FILE), "{\"pid\": 3").unwrap();
        assert_eq!(Lock::take(&out).unwrap().left_by(), None);
    }
}
