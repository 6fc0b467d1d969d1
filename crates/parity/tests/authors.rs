//! Updates recorded by running other people's code, unmodified, replayed: that of the authors of ROMI (with their copy of CQL)
//! and of OSR, of OfflineRL-Kit and of CORL. Ours is the same, or differs by choice, by a known amount.

use backcast_parity::algos::{Compared, Fixture, by_choice, replay};
use std::path::{Path, PathBuf};

fn fixtures(folder: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder).into_iter().flatten().map(|entry| entry.expect("an entry").path());
    let mut files: Vec<PathBuf> = entries.filter(|path| path.extension().is_some_and(|e| e == "safetensors")).collect();
    files.sort();
    files
}

/// What is wrong with our replay of a recording.
fn wrong(path: &Path) -> Vec<String> {
    let file = path.file_name().expect("a name").to_string_lossy().into_owned();
    let fixture = Fixture::parse(&file, &std::fs::read(path).expect("a readable file")).expect("a fixture");
    let compared = replay(&fixture).unwrap_or_else(|e| panic!("{e}"));
    assert!(!compared.is_empty(), "{file}: nothing is compared");
    let off = |c: &&Compared| !by_choice(&fixture).map_or(c.holds(), |known| known.explains(c));
    let mut wrong: Vec<String> = compared.iter().filter(off).map(|c| format!("{file}: {c:?}")).collect();
    // A reason for a difference that is not there any more would be a lie.
    if by_choice(&fixture).is_some() && compared.iter().all(Compared::holds) {
        wrong.push(format!("{file}: is the same by now, and is listed as different"));
    }
    wrong
}

#[test]
fn ours_is_what_the_authors_code_computed() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/authors");
    let files = fixtures(&folder);
    assert_eq!(files.len(), 15, "{files:?}");
    let wrong: Vec<String> = files.iter().flat_map(|path| wrong(path)).collect();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// The recordings of OSR's code, whose nets have the sizes that it fixes, are too large to be kept here.
#[test]
#[allow(clippy::print_stderr)]
fn ours_is_what_the_authors_code_of_osr_computed() {
    let workspace = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let candidates = ["../shared/data/reference-fixtures", "../../shared/data/reference-fixtures"];
    let found = candidates.iter().map(|up| workspace.join(up)).find(|folder| folder.is_dir());
    let Some(folder) = found else {
        return eprintln!("SKIPPED: OSR's recordings: {} is not here", workspace.join(candidates[0]).display());
    };
    let files: Vec<PathBuf> = fixtures(&folder).into_iter().filter(|f| f.to_string_lossy().contains("osr-")).collect();
    assert_eq!(files.len(), 2, "{files:?}");
    let wrong: Vec<String> = files.iter().flat_map(|path| wrong(path)).collect();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
