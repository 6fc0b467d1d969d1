//! Where MuJoCo is on this machine: one folder with `libmujoco.so.*` and the models that Gymnasium ships as XML.
//!
//! The only file of this crate that looks at its surroundings: where a library lies says nothing about a result, and the
//! release that was found is written beside every score.

use super::Library;
use crate::EnvError;
use std::path::{Path, PathBuf};

/// Names the folder; without it, [`Install::default_folder`] is looked into.
pub const VARIABLE: &str = "BACKCAST_MUJOCO";

/// What every complaint ends with.
const ADVICE: &str =
    "`cargo xtask mujoco setup` fetches it, and the variable BACKCAST_MUJOCO names another folder that has it";

/// An installed MuJoCo.
#[derive(Clone)]
pub struct Install {
    library: Library,
    folder: PathBuf,
}

impl Install {
    /// The folder of [`VARIABLE`], or `backcast/mujoco` in the user's folder for data (`XDG_DATA_HOME`, `~/.local/share`).
    pub fn default_folder() -> PathBuf {
        if let Some(folder) = std::env::var_os(VARIABLE) {
            return folder.into();
        }
        let data = std::env::var_os("XDG_DATA_HOME").map(PathBuf::from);
        let data = data.or_else(|| std::env::home_dir().map(|home| home.join(".local/share")));
        data.unwrap_or_default().join("backcast/mujoco")
    }

    /// Opens the MuJoCo of the default folder.
    ///
    /// # Errors
    /// [`EnvError::Mujoco`] if there is none or it cannot be used; the complaint says what to do.
    pub fn find() -> Result<Self, EnvError> {
        Self::open(&Self::default_folder())
    }

    /// Opens the MuJoCo in `folder`.
    ///
    /// # Errors
    /// As [`find`](Self::find).
    pub fn open(folder: &Path) -> Result<Self, EnvError> {
        let missing = |why: String| EnvError::Mujoco { why: format!("{why}; {ADVICE}") };
        let entries = std::fs::read_dir(folder).map_err(|error| missing(format!("{}: {error}", folder.display())))?;
        let names = entries.flatten().map(|entry| entry.path());
        let is_library = |path: &PathBuf| {
            let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            name.starts_with("libmujoco.") || name == "mujoco.dll"
        };
        let mut libraries: Vec<PathBuf> = names.filter(is_library).collect();
        libraries.sort();
        // Where there are several, the last in the order of names: `libmujoco.so` links to a release.
        let Some(path) = libraries.pop() else {
            return Err(missing(format!("{}: there is no libmujoco in it", folder.display())));
        };
        Ok(Self { library: Library::open(&path)?, folder: folder.to_path_buf() })
    }

    /// The library.
    pub fn library(&self) -> &Library {
        &self.library
    }

    /// The text of one of Gymnasium's models, such as `hopper.xml`.
    ///
    /// # Errors
    /// [`EnvError::Mujoco`] if it is not there.
    pub fn model(&self, name: &str) -> Result<String, EnvError> {
        let path = self.folder.join("models").join(name);
        std::fs::read_to_string(&path)
            .map_err(|error| EnvError::Mujoco { why: format!("{}: {error}; {ADVICE}", path.display()) })
    }
}
