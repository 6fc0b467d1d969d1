//! What the rules look at: every file that is or may be committed, and the packages of the workspace.

use anyhow::{Context, bail};
use serde::Deserialize;
use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;

/// One file, by its path from the root with forward slashes.
#[derive(Default)]
pub(super) struct File {
    pub(super) bytes: u64,
    /// The text, unless the file is not UTF-8.
    pub(super) text: Option<String>,
}

/// The repository as the rules see it.
#[derive(Default)]
pub(super) struct Tree {
    pub(super) files: BTreeMap<String, File>,
    pub(super) packages: Vec<Package>,
    /// The runner's subcommands.
    pub(super) subcommands: Vec<String>,
}

/// A package as `cargo metadata` describes it.
#[derive(Clone, Debug, Deserialize)]
pub(super) struct Package {
    pub(super) name: String,
    #[serde(default)]
    pub(super) description: Option<String>,
    /// Empty in tests; otherwise absolute, and made relative to the root by [`Tree::read`].
    #[serde(default, rename = "manifest_path")]
    pub(super) folder: String,
    #[serde(default)]
    pub(super) dependencies: Vec<Dependency>,
}

/// One edge, of any kind: normal, for tests, or for a build script.
#[derive(Clone, Debug, Deserialize)]
pub(super) struct Dependency {
    pub(super) name: String,
    /// Present for packages of this workspace.
    #[serde(default)]
    pub(super) path: Option<String>,
    /// `dev` or `build`, or nothing.
    #[serde(default)]
    pub(super) kind: Option<String>,
    #[serde(default)]
    pub(super) optional: bool,
}

#[derive(Deserialize)]
struct Metadata {
    packages: Vec<Package>,
}

impl Tree {
    pub(super) fn read(root: &Path) -> anyhow::Result<Self> {
        let cargo = std::env::var("CARGO").unwrap_or_else(|_| "cargo".into());
        let json = output(root, &cargo, &["metadata", "--format-version", "1", "--no-deps"])?;
        let mut packages = serde_json::from_slice::<Metadata>(&json).context("cargo metadata")?.packages;
        for package in &mut packages {
            let folder = Path::new(&package.folder).parent().context("a manifest lies in a folder")?;
            package.folder = folder.strip_prefix(root)?.to_string_lossy().replace('\\', "/");
        }
        let mut files = BTreeMap::new();
        for path in listing(root)? {
            let full = root.join(&path);
            // A file that was deleted but not yet committed is still listed.
            let Ok(bytes) = std::fs::read(&full) else { continue };
            files.insert(path, File { bytes: bytes.len() as u64, text: String::from_utf8(bytes).ok() });
        }
        Ok(Self { files, packages, subcommands: crate::subcommands() })
    }

    /// The text files whose path ends in one of `endings`.
    pub(super) fn texts<'a>(&'a self, endings: &'a [&str]) -> impl Iterator<Item = (&'a str, &'a str)> {
        let wanted = |path: &str| endings.iter().any(|e| path.ends_with(e));
        self.files.iter().filter(move |(p, _)| wanted(p)).filter_map(|(p, f)| Some((p.as_str(), f.text.as_deref()?)))
    }

    pub(super) fn text(&self, path: &str) -> Option<&str> {
        self.files.get(path)?.text.as_deref()
    }

    /// Whether `path` is a file, or a folder with files.
    pub(super) fn has(&self, path: &str) -> bool {
        let folder = format!("{}/", path.trim_end_matches('/'));
        self.files.contains_key(path) || self.files.keys().any(|p| p.starts_with(&folder))
    }
}

/// Tracked files and untracked ones that are not ignored; without git (an unpacked archive), everything but build output.
fn listing(root: &Path) -> anyhow::Result<Vec<String>> {
    let git = output(root, "git", &["ls-files", "-z", "--cached", "--others", "--exclude-standard"]);
    if let Ok(bytes) = git {
        let all = String::from_utf8(bytes).context("file names must be UTF-8")?;
        return Ok(all.split('\0').filter(|p| !p.is_empty()).map(String::from).collect());
    }
    let (mut found, mut folders) = (Vec::new(), vec![root.to_path_buf()]);
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(&folder).with_context(|| folder.display().to_string())? {
            let path = entry?.path();
            let name = path.strip_prefix(root)?.to_string_lossy().replace('\\', "/");
            if path.is_dir() {
                let output = ["target", "runs", "docs/book", ".git"].contains(&name.as_str());
                folders.extend((!output).then_some(path));
            } else {
                found.push(name);
            }
        }
    }
    Ok(found)
}

fn output(root: &Path, program: &str, args: &[&str]) -> anyhow::Result<Vec<u8>> {
    let done = Command::new(program).args(args).current_dir(root).output().with_context(|| program.to_owned())?;
    if !done.status.success() {
        bail!("{program} {} failed: {}", args.join(" "), String::from_utf8_lossy(&done.stderr));
    }
    Ok(done.stdout)
}

/// `folder/of/file` and `../x` make `folder/x`; a path that climbs out of the repository is `None`.
pub(super) fn resolve(file: &str, link: &str) -> Option<String> {
    let mut parts: Vec<&str> = file.split('/').collect();
    parts.pop();
    for part in link.split('/') {
        match part {
            "" | "." => {}
            ".." => {
                parts.pop()?;
            }
            name => parts.push(name),
        }
    }
    Some(parts.join("/"))
}

#[cfg(test)]
impl Tree {
    /// A made-up repository.
    pub(super) fn of(files: &[(&str, &str)]) -> Self {
        let file = |text: &str| File { bytes: text.len() as u64, text: Some(text.into()) };
        Self { files: files.iter().map(|(p, t)| (p.to_string(), file(t))).collect(), ..Self::default() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links_resolve_from_the_folder_of_their_file() {
        assert_eq!(resolve("docs/src/a.md", "../../crates/x.rs").as_deref(), Some("crates/x.rs"));
        assert_eq!(resolve("README.md", "./docs").as_deref(), Some("docs"));
        assert_eq!(resolve("README.md", "../outside"), None);
    }

    #[test]
    fn the_real_tree_can_be_read() {
        let tree = Tree::read(&crate::root()).unwrap();
        assert!(tree.text("Cargo.toml").unwrap().contains("[workspace]"));
        assert!(tree.packages.iter().any(|p| p.name == "backcast-core" && p.folder == "crates/core"));
        assert!(tree.has("crates/core") && tree.has("crates/core/src/lib.rs") && !tree.has("crates/cor"));
    }
}
