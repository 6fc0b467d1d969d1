//! What there is: tasks with a generator, and datasets in a folder.

use anyhow::Context;
use backcast::data::Format;
use backcast::envs::registry;
use std::path::{Path, PathBuf};

/// Folders deeper than this are not looked into.
const DEPTH: usize = 4;

/// A dataset, or why a file that looks like one is none.
struct Found {
    path: PathBuf,
    bytes: u64,
    format: Result<Format, String>,
}

pub(super) fn main(folder: &Path) -> anyhow::Result<()> {
    println!("tasks that can be generated (`cargo xtask data generate TASK --out FILE`)");
    for name in registry::NAMES.iter().filter(|name| generated(name)) {
        println!("  {name}");
    }
    let mut found = Vec::new();
    search(folder, DEPTH, &mut found)?;
    println!("\ndatasets in {} ({})", folder.display(), found.len());
    for Found { path, bytes, format } in found {
        let path = path.strip_prefix(folder).unwrap_or(&path).display().to_string();
        match format {
            Ok(format) => println!("  {path:<52} {:<13} {}", format.name(), size(bytes)),
            Err(why) => println!("  {path:<52} {:<13} {why}", "unreadable"),
        }
    }
    Ok(())
}

/// Whether a task has a generator of datasets; see `backcast::run::generate`.
fn generated(name: &str) -> bool {
    name.starts_with("maze2d") || registry::canonical(name) == Some("pendulum-v1")
}

fn search(folder: &Path, depth: usize, found: &mut Vec<Found>) -> anyhow::Result<()> {
    let entries = std::fs::read_dir(folder).with_context(|| folder.display().to_string())?;
    let mut paths: Vec<PathBuf> = entries.map(|entry| Ok(entry?.path())).collect::<std::io::Result<_>>()?;
    paths.sort();
    for path in paths {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        if name.starts_with('.') || name == "target" {
            continue;
        }
        if path.is_dir() {
            // A Minari dataset is one thing, whatever lies in it.
            if let Ok(format) = Format::detect(&path) {
                found.push(Found { bytes: bytes(&path), path, format: Ok(format) });
            } else if depth > 0 {
                // A folder that may not be read is no reason to list nothing.
                let _ = search(&path, depth - 1, found);
            }
        } else if matches!(path.extension().and_then(|e| e.to_str()), Some("hdf5" | "h5" | "npz" | "columns")) {
            let format = Format::detect(&path).map_err(|error| error.to_string());
            found.push(Found { bytes: bytes(&path), path, format });
        }
    }
    Ok(())
}

fn bytes(path: &Path) -> u64 {
    let inside = |folder| std::fs::read_dir(folder).into_iter().flatten().flatten().map(|e| bytes(&e.path())).sum();
    std::fs::metadata(path).map_or(0, |m| if m.is_dir() { inside(path) } else { m.len() })
}

fn size(bytes: u64) -> String {
    match bytes {
        0..10_000 => format!("{bytes} bytes"),
        10_000..10_000_000 => format!("{:.1} kB", bytes as f64 / 1e3),
        _ => format!("{:.1} MB", bytes as f64 / 1e6),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use backcast::data::{Dataset, Row, WriteOptions, write};

    #[test]
    fn every_dataset_of_a_folder_is_found_once_with_its_format() {
        let folder = std::env::temp_dir().join(format!("backcast-list-{}", std::process::id()));
        std::fs::create_dir_all(folder.join("deeper")).unwrap();
        let mut dataset = Dataset::new(1, 1, true);
        dataset.push(Row {
            obs: &[0.0],
            act: &[0.0],
            reward: 0.0,
            terminal: true,
            truncated: false,
            next_obs: Some(&[1.0]),
        });
        for (name, format) in [("a.hdf5", Format::D4rl), ("deeper/b.npz", Format::NeoRl), ("c", Format::Minari)] {
            write(&folder.join(name), format, &dataset, &WriteOptions::default()).unwrap();
        }
        std::fs::write(folder.join("broken.npz"), "nothing").unwrap();
        std::fs::write(folder.join("notes.txt"), "nothing").unwrap();
        let mut found = Vec::new();
        search(&folder, DEPTH, &mut found).unwrap();
        let formats: Vec<_> = found.iter().map(|f| f.format.as_ref().ok().copied()).collect();
        assert_eq!(formats, [Some(Format::D4rl), None, Some(Format::Minari), Some(Format::NeoRl)]);
        std::fs::remove_dir_all(&folder).unwrap();
    }

    #[test]
    fn every_task_that_is_listed_has_a_generator_and_no_other() {
        use backcast::{DataConfig, run};
        let config = DataConfig { rows: 20, ..DataConfig::default() };
        for name in registry::NAMES {
            assert_eq!(run::generate(name, &config).is_ok(), generated(name), "{name}");
        }
    }
}
