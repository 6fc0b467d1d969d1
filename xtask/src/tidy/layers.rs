//! Who may depend on whom, and what each package says of itself.

use super::tree::Tree;
use serde::Deserialize;

/// The layers from left to right. An edge may only point to a layer further left.
const LAYERS: [&[&str]; 10] = [
    &["backcast-core"],
    &["backcast-nn", "backcast-envs", "backcast-stats"],
    &["backcast-storage"],
    &["backcast-data", "backcast-dynamics", "backcast-penalties"],
    &["backcast-imagination", "backcast-factorization"],
    &["backcast-algos"],
    &["backcast"],
    &["backcast-parity"],
    &["backcast-benches"],
    &["xtask"],
];

fn layer(package: &str) -> Option<usize> {
    LAYERS.iter().position(|layer| layer.contains(&package))
}

/// Every edge between packages of the workspace, of any kind, points to a layer further left.
pub(super) fn layers(tree: &Tree) -> Vec<String> {
    let mut complaints = Vec::new();
    for package in &tree.packages {
        let Some(from) = layer(&package.name) else {
            complaints.push(format!("{} has no layer: give it one in xtask/src/tidy/layers.rs", package.name));
            continue;
        };
        for edge in package.dependencies.iter().filter(|d| d.path.is_some()) {
            match layer(&edge.name) {
                Some(to) if to < from => {}
                Some(to) => {
                    let (a, b) = (&package.name, &edge.name);
                    complaints.push(format!("{a} (layer {from}) may not depend on {b} (layer {to})"));
                }
                None => complaints.push(format!("{} depends on {}, which has no layer", package.name, edge.name)),
            }
        }
    }
    complaints
}

/// Every package describes itself in one line, and the line is the same in its manifest, at the head of its source and in
/// the code map; every crate has a README that opens with its name, says how to add it, and shows an example.
pub(super) fn front_pages(tree: &Tree) -> Vec<String> {
    let mut complaints = Vec::new();
    let map = tree.text("ARCHITECTURE.md").unwrap_or_default();
    for package in &tree.packages {
        let (name, folder) = (&package.name, &package.folder);
        let Some(line) = package.description.as_deref() else {
            complaints.push(format!("{name} has no description in its manifest"));
            continue;
        };
        let source = ["lib.rs", "main.rs"].into_iter().find_map(|f| tree.text(&format!("{folder}/src/{f}")));
        let first = source.and_then(|text| text.lines().next()).unwrap_or_default();
        if first != format!("//! {line}") {
            complaints
                .push(format!("{folder}: the source opens with `{first}`, the manifest describes it as `{line}`"));
        }
        let row = map.lines().find(|row| row.starts_with(&format!("| `{folder}` |"))).unwrap_or_default();
        if !row.contains(line) {
            complaints.push(format!("ARCHITECTURE.md: the code map has no row `| `{folder}` | {line} |`"));
        }
        let manifest = tree.text(&format!("{folder}/Cargo.toml")).unwrap_or_default();
        if !manifest.contains("[lints]\nworkspace = true") {
            complaints.push(format!("{folder}/Cargo.toml does not take the workspace's lints"));
        }
        // What is not published is not added either.
        if folder.starts_with("crates/") && !manifest.contains("publish = false") {
            let readme = tree.text(&format!("{folder}/README.md")).unwrap_or_default();
            let adds = readme.lines().any(|l| l.contains("cargo add") && l.split([' ', '`']).any(|word| word == name));
            if !readme.starts_with(&format!("# {name}\n")) || !adds || !readme.contains("```rust") {
                complaints.push(format!(
                    "{folder}/README.md must open with `# {name}`, say `cargo add {name}`, and show an example"
                ));
            }
        }
    }
    complaints
}

/// A package outside the workspace, such as the fuzzers, is built with the lock file that was committed: it must know what this
/// workspace's packages depend on by now.
pub(super) fn lock_files(tree: &Tree) -> Vec<String> {
    let mut complaints = Vec::new();
    for (path, text) in tree.texts(&["/Cargo.lock"]) {
        let lock = match toml::from_str::<Lock>(text) {
            Ok(lock) => lock,
            Err(error) => {
                complaints.push(format!("{path}: {}", error.message()));
                continue;
            }
        };
        for package in &tree.packages {
            let Some(locked) = lock.package.iter().find(|locked| locked.name == package.name) else { continue };
            // A version stands behind a name that there is twice.
            let knows = |name: &str| locked.dependencies.iter().any(|line| line.split(' ').next() == Some(name));
            for lost in package.dependencies.iter().filter(|d| d.kind.is_none() && !d.optional && !knows(&d.name)) {
                complaints.push(format!(
                    "{path} does not know that {} depends on {}: `cargo metadata --manifest-path {}` renews it",
                    package.name,
                    lost.name,
                    path.replace(".lock", ".toml")
                ));
            }
        }
    }
    complaints
}

#[derive(Deserialize)]
struct Lock {
    #[serde(default)]
    package: Vec<Locked>,
}

#[derive(Deserialize)]
struct Locked {
    name: String,
    #[serde(default)]
    dependencies: Vec<String>,
}

#[cfg(test)]
mod tests {
    use super::super::tree::{Dependency, Package};
    use super::*;

    fn package(name: &str, folder: &str, description: &str, edges: &[&str]) -> Package {
        let edge = |name: &&str| Dependency {
            name: name.to_string(),
            path: Some("somewhere".into()),
            kind: None,
            optional: false,
        };
        Package {
            name: name.into(),
            description: Some(description.into()),
            folder: folder.into(),
            dependencies: edges.iter().map(edge).collect(),
        }
    }

    #[test]
    fn an_edge_to_the_right_or_sideways_is_found() {
        let with =
            |name, edges: &[&str]| layers(&Tree { packages: vec![package(name, "x", "", edges)], ..Tree::default() });
        assert!(with("backcast-algos", &["backcast-core", "backcast-imagination"]).is_empty());
        assert_eq!(with("backcast-core", &["backcast-nn"]).len(), 1);
        assert_eq!(with("backcast-nn", &["backcast-envs"]).len(), 1);
        assert_eq!(with("backcast-mystery", &[]).len(), 1);
        assert_eq!(with("xtask", &["backcast-mystery"]).len(), 1);
        // A package from a registry is nobody's layer.
        let mut outside = package("backcast-core", "x", "", &["serde"]);
        outside.dependencies[0].path = None;
        assert!(layers(&Tree { packages: vec![outside], ..Tree::default() }).is_empty());
    }

    #[test]
    fn a_front_page_that_differs_is_found() {
        let good = [
            ("ARCHITECTURE.md", "| `crates/x` | What it does. |"),
            ("crates/x/Cargo.toml", "[lints]\nworkspace = true\n"),
            ("crates/x/README.md", "# backcast-x\n\n`cargo add backcast-x`\n\n```rust\n```\n"),
            ("crates/x/src/lib.rs", "//! What it does.\n"),
        ];
        let complaints = |files: &[(&str, &str)]| {
            let packages = vec![package("backcast-x", "crates/x", "What it does.", &[])];
            front_pages(&Tree { packages, ..Tree::of(files) })
        };
        assert!(complaints(&good).is_empty());
        for spoiled in 0..good.len() {
            let mut bad = good;
            bad[spoiled].1 = "//! Something else.\n";
            assert_eq!(complaints(&bad).len(), 1, "{}", bad[spoiled].0);
        }
        let nameless = Package { description: None, ..package("backcast-x", "crates/x", "", &[]) };
        assert_eq!(front_pages(&Tree { packages: vec![nameless], ..Tree::of(&good) }).len(), 1);
    }

    #[test]
    fn a_lock_file_that_is_behind_is_found() {
        let mut of = package("backcast-x", "crates/x", "", &["serde", "rand", "later"]);
        of.dependencies[2].optional = true;
        let complaints = |lines: &str| {
            let text = format!("[[package]]\nname = \"backcast-x\"\ndependencies = [{lines}]\n");
            let packages = vec![of.clone()];
            lock_files(&Tree { packages, ..Tree::of(&[("fuzz/Cargo.lock", &text)]) }).len()
        };
        assert_eq!(complaints(r#""serde", "rand 0.9.1""#), 0);
        assert_eq!(complaints(r#""serde""#), 1);
        assert_eq!(complaints("nonsense"), 1);
    }
}
