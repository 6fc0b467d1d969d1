//! The shape of the workspace: how long the file of an algorithm is, which folders lean on each other, which dependencies are used, and
//! the table of it in ARCHITECTURE.md.

use super::tree::Tree;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

/// The most lines of an algorithm's file before its tests, at the 100 columns of crates/algos/rustfmt.toml.
const LONGEST: usize = 200;

/// Files that may be longer, up to [`LONGEST_EXCEPTION`], and why.
const EXCEPTIONS: &[(&str, &str)] = &[
    ("cql.rs", "the base of four other methods: what they change is a trait in it"),
    ("bear.rs", "the authors have 23 hyperparameters, each with its doc, default and range"),
];

const LONGEST_EXCEPTION: usize = 250;

/// Lines before tests of every file of algorithms before they were redesigned, formatted at 100 columns.
const BEFORE: &[(&str, usize)] = &[
    ("awac.rs", 198),
    ("bc.rs", 110),
    ("bcq.rs", 304),
    ("bear.rs", 405),
    ("cql.rs", 625),
    ("edac.rs", 278),
    ("fqe.rs", 167),
    ("iql.rs", 321),
    ("mcq.rs", 341),
    ("model_based/combo.rs", 255),
    ("model_based/mobile.rs", 387),
    ("model_based/mopo.rs", 119),
    ("model_based/morel.rs", 242),
    ("model_based/npg/mod.rs", 643),
    ("model_based/osr.rs", 301),
    ("model_based/rambo.rs", 342),
    ("model_based/romi.rs", 239),
    ("model_based/scas.rs", 351),
    ("model_based/sdc.rs", 397),
    ("model_based/sdm_gan/config.rs", 253),
    ("model_based/sdm_gan/mod.rs", 476),
    ("online/mbpo.rs", 427),
    ("online/mod.rs", 215),
    ("online/td3.rs", 191),
    ("rebrac.rs", 247),
    ("sac.rs", 418),
    ("td3_bc.rs", 245),
];

/// Folders whose lines are counted, and how many there were.
const FOLDERS: &[(&str, usize)] =
    &[("crates/algos/src", 13_870), ("crates/nn/src", 8_291), ("crates/backcast/src", 6_860), ("xtask/src", 11_835)];

/// Packages with what each pulled in alone, itself included.
const PULLED: &[(&str, usize)] = &[
    ("backcast-core", 24),
    ("backcast-nn", 53),
    ("backcast-data", 41),
    ("backcast-envs", 27),
    ("backcast-stats", 27),
    ("backcast-dynamics", 54),
    ("backcast-penalties", 25),
    ("backcast-imagination", 59),
    ("backcast-factorization", 54),
    ("backcast-algos", 60),
    ("backcast", 84),
];

/// The algorithm whose name is looked for, and in how many files of source beside its own and tests it stood.
const NAMED: (&str, usize) = ("mobile", 14);

const ALGOS: &str = "crates/algos/src/";

/// The lines before the tests of a file.
fn before_tests(text: &str) -> usize {
    text.lines().position(|line| line == "#[cfg(test)]").unwrap_or_else(|| text.lines().count())
}

/// Files of algorithms: not the pieces they are made of, not their tests.
fn algorithms(tree: &Tree) -> impl Iterator<Item = (&str, usize)> {
    let files = tree.texts(&[".rs"]).filter_map(|(path, text)| Some((path.strip_prefix(ALGOS)?, text)));
    let own = |path: &str| {
        !(path.starts_with("blocks/") || path.ends_with("tests.rs") || path == "lib.rs" || path == "model_based/mod.rs")
    };
    files.filter(move |(path, _)| own(path)).map(|(path, text)| (path, before_tests(text)))
}

/// An algorithm's file is read from top to bottom, so it is short.
pub(super) fn algorithm_lengths(tree: &Tree) -> Vec<String> {
    let most = |path: &str| match EXCEPTIONS.iter().any(|(exception, _)| *exception == path) {
        true => LONGEST_EXCEPTION,
        false => LONGEST,
    };
    let long = algorithms(tree).filter(|&(path, lines)| lines > most(path));
    let long = long
        .map(|(path, lines)| format!("{ALGOS}{path} has {lines} lines before its tests, the most are {}", most(path)));
    long.collect()
}

/// What a package depends on stands in its own source.
pub(super) fn unused_dependencies(tree: &Tree) -> Vec<String> {
    let mut complaints = Vec::new();
    for package in tree.packages.iter().filter(|package| package.folder.starts_with("crates/")) {
        let source: Vec<&str> = texts_under(tree, &format!("{}/src/", package.folder)).collect();
        for dependency in package.dependencies.iter().filter(|d| d.kind.is_none()) {
            let name = dependency.name.replace('-', "_");
            if !source.iter().any(|text| mentions(text, &name)) {
                complaints.push(format!("{} depends on {} and does not use it", package.name, dependency.name));
            }
        }
    }
    complaints
}

fn texts_under<'a>(tree: &'a Tree, folder: &str) -> impl Iterator<Item = &'a str> {
    let folder = folder.to_owned();
    tree.texts(&[".rs"]).filter(move |(path, _)| path.starts_with(&folder)).map(|(_, text)| text)
}

/// Whether code of `text` has `word` on its own.
fn mentions(text: &str, word: &str) -> bool {
    let part = |c: char| c.is_alphanumeric() || c == '_';
    text.lines().filter(|line| !line.trim_start().starts_with("//")).any(|line| {
        line.match_indices(word).any(|(at, _)| {
            let (before, after) = (&line[..at], &line[at + word.len()..]);
            !before.ends_with(part) && !after.starts_with(part)
        })
    })
}

/// Folders of a crate do not lean on each other in a circle: what is derived imports its base, never the other way round. The files at a
/// crate's root are one module with its folders, but in `algos`, where they are the bases.
pub(super) fn circles(tree: &Tree) -> Vec<String> {
    let mut complaints = Vec::new();
    for package in tree.packages.iter().filter(|package| package.folder.starts_with("crates/")) {
        let root = format!("{}/src/", package.folder);
        let mut edges: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
        let folders: BTreeSet<String> =
            tree.texts(&[".rs"]).filter_map(|(path, _)| folder_of(path.strip_prefix(&root)?)).collect();
        for (path, text) in tree.texts(&[".rs"]) {
            let Some(file) = path.strip_prefix(&root) else { continue };
            // A module's own file says what is in it; that is no use of it.
            if file.ends_with("tests.rs") || ["lib.rs", "mod.rs", "main.rs"].iter().any(|f| file.ends_with(f)) {
                continue;
            }
            let from = folder_of(file).unwrap_or_default();
            let code: String = text.lines().take(before_tests(text)).collect::<Vec<_>>().join("\n");
            for (at, _) in code.match_indices("crate::") {
                if code[..at].ends_with('$') {
                    continue;
                }
                let rest = &code[at + "crate::".len()..];
                for first in first_segments(rest) {
                    let to = if folders.contains(&first) { first } else { String::new() };
                    let roots = package.name != "backcast-algos" && (to.is_empty() || from.is_empty());
                    if to != from && !roots {
                        edges.entry(from.clone()).or_default().insert(to);
                    }
                }
            }
        }
        for (a, tos) in &edges {
            for b in tos.iter().filter(|b| *b > a) {
                if edges.get(b).is_some_and(|back| back.contains(a)) {
                    let name = |folder: &str| format!("{root}{folder}");
                    complaints.push(format!("{} and {} use each other", name(a), name(b)));
                }
            }
        }
    }
    complaints
}

/// The first folder of a path; nothing for a file at the root.
fn folder_of(file: &str) -> Option<String> {
    file.split_once('/').map(|(folder, _)| folder.to_owned())
}

/// The first parts of the paths in what follows `crate::`: one, or those in braces.
fn first_segments(rest: &str) -> Vec<String> {
    let word = |s: &str| s.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect::<String>();
    let Some(inside) = rest.strip_prefix('{') else { return vec![word(rest)] };
    let (mut depth, mut all, mut start) = (0, Vec::new(), 0);
    for (i, c) in inside.char_indices() {
        match c {
            '{' => depth += 1,
            '}' if depth == 0 => {
                all.push(word(inside[start..i].trim_start()));
                break;
            }
            '}' => depth -= 1,
            ',' if depth == 0 => {
                all.push(word(inside[start..i].trim_start()));
                start = i + 1;
            }
            _ => {}
        }
    }
    all.retain(|segment| !segment.is_empty());
    all
}

/// Files of source, tests aside, that name [`NAMED`] beside its own file.
fn places(tree: &Tree) -> Vec<&str> {
    let own = format!("{ALGOS}model_based/{}.rs", NAMED.0);
    let source = tree.texts(&[".rs"]).filter(|(path, _)| {
        let test = path.contains("/tests/") || path.ends_with("tests.rs") || path.starts_with("xtask/src/tidy/");
        !test && *path != own
    });
    source
        .filter(|(_, text)| {
            let code = text.lines().take(before_tests(text)).collect::<Vec<_>>().join("\n");
            mentions(&code, NAMED.0)
        })
        .map(|(path, _)| path)
        .collect()
}

const BEGIN: &str = "<!-- made by `cargo xtask tidy --table` -->\n";
const END: &str = "<!-- end -->";

/// The table of ARCHITECTURE.md, without what needs Cargo.
fn table(tree: &Tree) -> String {
    let mut text = String::from("| lines before tests, at 100 columns | before | now |\n|---|---|---|\n");
    let now: BTreeMap<&str, usize> = algorithms(tree).collect();
    for &(file, before) in BEFORE {
        let now = now.get(file).map_or("–".to_owned(), usize::to_string);
        _ = writeln!(text, "| `{file}` | {before} | {now} |");
    }
    for (file, lines) in now.iter().filter(|(file, _)| BEFORE.iter().all(|(known, _)| known != *file)) {
        _ = writeln!(text, "| `{file}` | – | {lines} |");
    }
    text.push_str("\n| lines in all | before | now |\n|---|---|---|\n");
    for &(folder, before) in FOLDERS {
        let lines: usize = texts_under(tree, &format!("{folder}/")).map(|text| text.lines().count()).sum();
        _ = writeln!(text, "| `{folder}` | {before} | {lines} |");
    }
    _ = writeln!(
        text,
        "| files that name `{}`, its own and tests aside | {} | {} |",
        NAMED.0,
        NAMED.1,
        places(tree).len()
    );
    text
}

/// Crates that a package pulls in alone, itself included.
fn pulled(package: &str) -> anyhow::Result<usize> {
    let cargo = std::env::var("CARGO").unwrap_or_else(|_| "cargo".into());
    let mut command = std::process::Command::new(cargo);
    let args = ["tree", "--package", package, "--edges", "normal", "--prefix", "none", "--format", "{p}"];
    let out = command.current_dir(crate::root()).args(args).output()?;
    anyhow::ensure!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
    let text = String::from_utf8_lossy(&out.stdout).into_owned();
    let crates: BTreeSet<&str> =
        text.lines().filter(|line| !line.is_empty()).map(|line| line.trim_end_matches(" (*)")).collect();
    Ok(crates.len())
}

/// Writes the table into ARCHITECTURE.md.
pub(super) fn write_table(tree: &Tree) -> anyhow::Result<()> {
    let mut text = table(tree);
    text.push_str("\n| crates that each pulls in alone | before | now |\n|---|---|---|\n");
    for (package, before) in PULLED {
        _ = writeln!(text, "| `{package}` | {before} | {} |", pulled(package)?);
    }
    let path = crate::root().join("ARCHITECTURE.md");
    let whole = std::fs::read_to_string(&path)?;
    let place = whole.find(BEGIN).zip(whole.find(END));
    let (begin, end) = place.ok_or_else(|| anyhow::anyhow!("ARCHITECTURE.md has no place for the table"))?;
    Ok(std::fs::write(&path, format!("{}{text}{}", &whole[..begin + BEGIN.len()], &whole[end..]))?)
}

/// The table in ARCHITECTURE.md is of this source.
pub(super) fn shape_table(tree: &Tree) -> Vec<String> {
    let shown = tree.text("ARCHITECTURE.md").unwrap_or_default();
    match shown.contains(&table(tree)) {
        true => vec![],
        false => vec![
            "ARCHITECTURE.md: the table of lines is of another source; `cargo xtask tidy --table` makes it anew".into(),
        ],
    }
}

#[cfg(test)]
mod tests {
    use super::super::tree::{Dependency, Package};
    use super::*;

    fn package(dependencies: &[&str]) -> Package {
        let of = |name: &&str| Dependency { name: (*name).into(), path: None, kind: None, optional: false };
        Package {
            name: "backcast-x".into(),
            description: None,
            folder: "crates/x".into(),
            dependencies: dependencies.iter().map(of).collect(),
        }
    }

    #[test]
    fn a_long_algorithm_is_found() {
        let (short, long) = ("\n".repeat(LONGEST), "\n".repeat(LONGEST + 1));
        let found = |path: &str, text: &str| algorithm_lengths(&Tree::of(&[(path, text)])).len();
        assert_eq!([found("crates/algos/src/x.rs", &short), found("crates/algos/src/x.rs", &long)], [0, 1]);
        assert_eq!(found("crates/algos/src/x.rs", &format!("{short}#[cfg(test)]\n{long}")), 0);
        assert_eq!(found("crates/algos/src/cql.rs", &long), 0);
        assert_eq!(found("crates/algos/src/cql.rs", &"\n".repeat(LONGEST_EXCEPTION + 1)), 1);
        assert!(EXCEPTIONS.len() <= 3);
    }

    #[test]
    fn a_dependency_that_nothing_uses_is_found() {
        let found = |text: &str| {
            let tree = Tree { packages: vec![package(&["rand-core"])], ..Tree::of(&[("crates/x/src/lib.rs", text)]) };
            unused_dependencies(&tree).len()
        };
        assert_eq!(found("use rand_core::RngCore;\n"), 0);
        assert_eq!(found("// rand_core is not used\nuse my_rand_core::X;\n"), 1);
    }

    #[test]
    fn folders_that_use_each_other_are_found() {
        let found = |base: &str| {
            let files = [("crates/x/src/a/one.rs", "use crate::{b::Two, c};\n"), ("crates/x/src/b/two.rs", base)];
            circles(&Tree { packages: vec![package(&[])], ..Tree::of(&files) }).len()
        };
        assert_eq!(found("use std::fmt;\n"), 0);
        assert_eq!(found("use crate::a::One;\n"), 1);
        assert_eq!(found("#[cfg(test)]\nuse crate::a::One;\n"), 0);
    }

    #[test]
    fn a_table_of_another_source_is_found() {
        let tree = Tree::of(&[("crates/algos/src/iql.rs", "one\ntwo\n")]);
        let shown = table(&tree);
        assert!(shown.contains("| `iql.rs` | 321 | 2 |"), "{shown}");
        assert_eq!(shape_table(&tree).len(), 1);
        let tree = Tree::of(&[("crates/algos/src/iql.rs", "one\ntwo\n"), ("ARCHITECTURE.md", &shown)]);
        assert_eq!(shape_table(&tree), Vec::<String>::new());
    }
}
