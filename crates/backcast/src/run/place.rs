//! Where a run may be: in a folder of its own, neither inside another run's nor around some.

use super::Lock;
use crate::Error;
use std::path::{Path, PathBuf};

/// Whether a folder is that of a run.
pub(crate) fn is_run(folder: &Path) -> bool {
    folder.join("config.toml").is_file() && folder.join(Lock::FILE).is_file()
}

/// Refuses a folder that lies inside that of a run. What is there afterwards would belong to two.
///
/// # Errors
/// [`Error::Place`], which names the run.
pub fn not_inside_a_run(out: &Path) -> Result<(), Error> {
    let whole = real(out).map_err(|source| Error::Io { path: out.into(), source })?;
    match whole.ancestors().skip(1).find(|folder| is_run(folder)) {
        Some(run) => Err(Error::Place { path: out.into(), why: "lies inside", run: run.into() }),
        None => Ok(()),
    }
}

/// Refuses a folder that lies inside that of a run, or that runs lie in.
///
/// # Errors
/// [`Error::Place`], which names the run.
pub fn apart(out: &Path) -> Result<(), Error> {
    not_inside_a_run(out)?;
    let around = |run: PathBuf| Error::Place { path: out.into(), why: "lies around", run };
    let within = std::fs::read_dir(out).into_iter().flatten().flatten().map(|entry| entry.path());
    match within.filter(|_| !is_run(out)).find(|folder| is_run(folder)) {
        Some(run) => Err(around(run)),
        None => Ok(()),
    }
}

/// The path without links and `..`, as far as it is there.
fn real(path: &Path) -> std::io::Result<PathBuf> {
    let whole = std::path::absolute(path)?;
    let there = whole.ancestors().find(|folder| folder.exists()).unwrap_or(&whole);
    let rest = whole.strip_prefix(there).unwrap_or(Path::new(""));
    Ok(there.canonicalize()?.join(rest))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_of_its_own_is_told_from_others() {
        let folder = tempfile::tempdir().unwrap();
        let run = folder.path().join("all/a");
        std::fs::create_dir_all(run.join("learners")).unwrap();
        let place = |name: &str| apart(&folder.path().join(name)).map_err(|e| e.to_string());
        // Somebody's settings alone are no run.
        std::fs::write(run.join("config.toml"), "").unwrap();
        assert!(place("all/a/b").is_ok() && place("all").is_ok());
        std::fs::write(run.join(Lock::FILE), "").unwrap();
        for other in ["all/b", "all/a", "other/b", "all/a/../b", "all/a/learners/../../c"] {
            assert_eq!(place(other), Ok(()), "{other}");
        }
        for (inside, why) in [("all/a/b", "inside"), ("all/a/learners/c/d", "inside"), ("all", "around")] {
            let error = place(inside).unwrap_err();
            assert!(error.contains(why) && error.contains("all/a"), "{inside}: {error}");
        }
        assert!(not_inside_a_run(&folder.path().join("all")).is_ok());
    }
}
