//! Builds the commit of the source into the runner. Asked for when it runs, git would name the commit of whatever is checked out
//! then, or of somebody else's repository.
#![allow(clippy::print_stdout, reason = "this is how a build script speaks to Cargo")]

use std::{
    path::{Path, PathBuf},
    process::Command,
};

/// What the program is made of.
const SOURCES: [&str; 5] = ["Cargo.toml", "Cargo.lock", "xtask/Cargo.toml", "xtask/build.rs", "benches/Cargo.toml"];

fn main() {
    let root = PathBuf::from(std::env::var_os("CARGO_MANIFEST_DIR").expect("Cargo sets it")).join("..");
    let mut sources: Vec<String> = SOURCES.map(String::from).into();
    sources.extend(["xtask/src", "benches/src"].map(String::from));
    for entry in std::fs::read_dir(root.join("crates")).into_iter().flatten().flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        sources.extend(["src", "Cargo.toml"].map(|part| format!("crates/{name}/{part}")));
    }
    sources.retain(|source| root.join(source).exists());
    sources.sort();
    let commit = commit(&root, &sources).unwrap_or_else(|| "unknown".into());
    println!("cargo::rustc-env=BACKCAST_COMMIT={commit}");
    // Whether files differ from the commit changes with them; a path that is not there would mean a build every time.
    for source in sources {
        println!("cargo::rerun-if-changed=../{source}");
    }
}

/// The commit, marked if a file that the program is made of differs from it. None in a copy that has no history of its own, such as
/// a package, and without git.
fn commit(root: &Path, sources: &[String]) -> Option<String> {
    // Without this, git would look further up, and name the commit of a repository that this one only lies in.
    root.join(".git").exists().then_some(())?;
    let git = |words: &[&str]| {
        let mut command = Command::new("git");
        command.args(words).current_dir(root).env_remove("GIT_DIR").env_remove("GIT_WORK_TREE");
        let output = command.output().ok().filter(|output| output.status.success())?;
        Some(String::from_utf8_lossy(&output.stdout).trim().to_owned())
    };
    watch(&root.join(git(&["rev-parse", "--git-dir"])?), &root.join(git(&["rev-parse", "--git-common-dir"])?));
    let commit = git(&["rev-parse", "--short=12", "HEAD"])?;
    let of: Vec<&str> = sources.iter().map(String::as_str).collect();
    let changes = git(&[&["status", "--porcelain", "--untracked-files=no", "--"], &of[..]].concat())?;
    Some(if changes.is_empty() { commit } else { format!("{commit} with changes") })
}

/// Has Cargo run this again when HEAD moves. Of a worktree, HEAD is its own and what it points to is everybody's.
fn watch(own: &Path, common: &Path) {
    let head = own.join("HEAD");
    let text = std::fs::read_to_string(&head).unwrap_or_default();
    let branch = text.strip_prefix("ref: ").map(|name| common.join(name.trim()));
    // A branch that stands among the packed ones alone gets a file of its own with its next commit.
    let branch = branch.map(|file| if file.exists() { file } else { common.join("refs/heads") });
    for file in
        [Some(head), branch, Some(common.join("packed-refs"))].into_iter().flatten().filter(|file| file.exists())
    {
        println!("cargo::rerun-if-changed={}", file.display());
    }
}
