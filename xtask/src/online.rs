//! `cargo xtask data generate hopper-medium-replay` and its like: datasets of an algorithm that learns online.

use crate::progress::Bars;
use anyhow::Context;
use backcast::{
    Error,
    data::Dataset,
    online::{self, Quality, Recipe},
};
use std::path::{Path, PathBuf};

/// Generates the dataset; none if the person interrupted it.
pub(crate) fn generate(recipe: &Recipe, quality: Quality, rows: usize, out: &Path) -> anyhow::Result<Option<Dataset>> {
    let work = work_folder(out);
    std::fs::create_dir_all(&work).with_context(|| work.display().to_string())?;
    // A folder of another recipe holds other runs.
    let (path, text) = (work.join("recipe.toml"), toml::to_string(recipe)?);
    match std::fs::read_to_string(&path) {
        Ok(there) => anyhow::ensure!(
            there == text,
            "{}: its runs follow another recipe; delete the folder, or write to another file",
            work.display()
        ),
        Err(_) => std::fs::write(&path, text).with_context(|| path.display().to_string())?,
    }
    let bars = Bars::new()?;
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    let made = online::generate(recipe, quality, rows, &work, threads, &bars);
    bars.clear();
    match made {
        Ok(dataset) => {
            println!("runs and policies: {}", work.display());
            Ok(Some(dataset))
        }
        Err(Error::Interrupted) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

/// Where runs are kept: beside the dataset.
fn work_folder(out: &Path) -> PathBuf {
    out.with_extension("runs")
}
