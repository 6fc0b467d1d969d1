//! Rules that keep documents true to the code.

use super::tree::{Tree, resolve};

/// Every `{{#include path:anchor}}` in the book names a file that is there and an anchor that opens and closes in it.
pub(super) fn quotations(tree: &Tree) -> Vec<String> {
    let mut complaints = Vec::new();
    for (path, text) in tree.texts(&[".md"]).filter(|(path, _)| path.starts_with("docs/src/")) {
        for (line, quotation) in between(text, "{{#", "}}") {
            let Some((kind, target)) = quotation.split_once(' ') else { continue };
            // A backslash before the braces shows them instead.
            if !["include", "rustdoc_include"].contains(&kind) || text.contains(&format!("\\{{{{#{quotation}")) {
                continue;
            }
            let (file, part) = target.trim().split_once(':').unwrap_or((target.trim(), ""));
            let source = resolve(path, file).and_then(|file| tree.text(&file));
            let place = format!("docs/src/{}:{line}", path.trim_start_matches("docs/src/"));
            match source {
                None => complaints.push(format!("{place}: quotes {file}, which is not there")),
                Some(source) => complaints.extend(missing(source, part).map(|why| format!("{place}: {file} {why}"))),
            }
        }
    }
    complaints
}

/// Why `part` (an anchor, or a line or range of lines) is not in `source`.
fn missing(source: &str, part: &str) -> Option<String> {
    if part.is_empty() {
        return None;
    }
    if part.starts_with(|c: char| c.is_ascii_digit() || c == ':') {
        return Some(format!("is quoted by line number `{part}`, which will drift: use an anchor"));
    }
    let marked = |mark: &str| {
        source.lines().any(|l| l.split_once(mark).is_some_and(|(_, rest)| rest.split_whitespace().next() == Some(part)))
    };
    let whole = marked("ANCHOR:") && marked("ANCHOR_END:");
    (!whole).then(|| format!("has no whole anchor `{part}`"))
}

/// Every `cargo xtask x` in a document or in the gate is a real subcommand.
pub(super) fn subcommands(tree: &Tree) -> Vec<String> {
    let mut complaints = Vec::new();
    for (path, text) in tree.texts(&[".md", ".ci/run", ".toml", ".rs"]) {
        // The rule's own tests name commands that must not exist.
        if path.starts_with("xtask/src/tidy/") {
            continue;
        }
        for (i, line) in text.lines().enumerate() {
            for (at, mark) in line.match_indices("cargo xtask ") {
                let rest = &line[at + mark.len()..];
                let word: String = rest.chars().take_while(|c| c.is_ascii_alphanumeric() || *c == '_').collect();
                // A placeholder (`<…>`), a flag, or the end of the line.
                if !word.is_empty() && !tree.subcommands.contains(&word) {
                    complaints.push(format!("{path}:{}: `cargo xtask {word}` is not a command", i + 1));
                }
            }
        }
    }
    complaints
}

/// Every test that ARCHITECTURE.md names, as `path/to/file.rs::name`, exists.
pub(super) fn named_tests(tree: &Tree) -> Vec<String> {
    let text = tree.text("ARCHITECTURE.md").unwrap_or_default();
    let spans = between(text, "`", "`").into_iter().filter_map(|(line, span)| Some((line, span.split_once(".rs::")?)));
    let lost = spans.filter(|(_, (file, name))| {
        !tree.text(&format!("{file}.rs")).is_some_and(|source| source.contains(&format!("fn {name}(")))
    });
    lost.map(|(line, (file, name))| format!("ARCHITECTURE.md:{line}: there is no {name} in {file}.rs")).collect()
}

/// Every relative link of a document leads to a file of the repository.
pub(super) fn links(tree: &Tree) -> Vec<String> {
    let mut complaints = Vec::new();
    for (path, text) in tree.texts(&[".md"]) {
        for (line, link) in between(text, "](", ")") {
            let target = link.split(['#', ' ']).next().unwrap_or_default();
            let outside = target.is_empty() || target.contains("://") || target.starts_with("mailto:");
            if outside || resolve(path, target).is_some_and(|file| tree.has(&file)) {
                continue;
            }
            complaints.push(format!("{path}:{line}: the link to {target} leads nowhere"));
        }
    }
    complaints
}

/// Every chapter is in the table of contents: a page nobody can reach is not part of the book.
pub(super) fn contents(tree: &Tree) -> Vec<String> {
    let summary = tree.text("docs/src/SUMMARY.md").unwrap_or_default();
    let listed: Vec<&str> = between(summary, "](", ")").into_iter().map(|(_, link)| link).collect();
    let chapters = tree.texts(&[".md"]).filter_map(|(path, _)| path.strip_prefix("docs/src/"));
    let lost = chapters.filter(|chapter| *chapter != "SUMMARY.md" && !listed.contains(chapter));
    lost.map(|chapter| format!("docs/src/SUMMARY.md does not list {chapter}")).collect()
}

/// No table has an interval beside fewer than five scores: `| 30.6 … 97.2 | 97.2, 31.8, 30.6 |`.
pub(super) fn intervals(tree: &Tree) -> Vec<String> {
    let number = |word: &str| word.trim().replace('−', "-").parse::<f64>().is_ok();
    let interval = |cell: &str| cell.split_once(" … ").is_some_and(|(low, high)| number(low) && number(high));
    let scores = |cell: &str| {
        let words: Vec<&str> = cell.split(", ").collect();
        if words.iter().all(|word| number(word)) { words.len() } else { 0 }
    };
    let mut complaints = Vec::new();
    for (path, text) in tree.texts(&[".md"]) {
        for (i, line) in text.lines().enumerate().filter(|(_, line)| line.starts_with('|')) {
            let cells: Vec<&str> = line.split('|').map(str::trim).collect();
            let few = cells.iter().map(|cell| scores(cell)).find(|n| (2..5).contains(n));
            if let (Some(_), Some(n)) = (cells.iter().copied().find(|cell| interval(cell)), few) {
                complaints.push(format!("{path}:{}: an interval of {n} scores; give their range in words", i + 1));
            }
        }
    }
    complaints
}

/// Every stretch between `open` and `close` on one line, with its line number. Code in fences is not text, except for
/// quotations, which live in fences.
fn between<'a>(text: &'a str, open: &str, close: &str) -> Vec<(usize, &'a str)> {
    let (mut found, mut fenced) = (Vec::new(), false);
    for (i, line) in text.lines().enumerate() {
        if line.trim_start().starts_with("```") {
            fenced = !fenced;
        }
        if fenced && open == "](" {
            continue;
        }
        let mut rest = line;
        while let Some((_, after)) = rest.split_once(open) {
            let Some((inside, tail)) = after.split_once(close) else { break };
            found.push((i + 1, inside));
            rest = tail;
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_quotation_of_nothing_is_found() {
        let source = "// ANCHOR: whole\nfn f() {}\n// ANCHOR_END: whole\n// ANCHOR: half\n";
        let complaints =
            |line: &str| quotations(&Tree::of(&[("docs/src/a.md", line), ("crates/x/src/lib.rs", source)]));
        assert!(complaints("```rust,ignore\n{{#include ../../crates/x/src/lib.rs:whole}}\n```").is_empty());
        assert!(complaints("{{#include ../../crates/x/src/lib.rs}}").is_empty());
        assert!(complaints("shown as \\{{#include nothing.rs}}").is_empty());
        assert_eq!(complaints("{{#include ../../crates/x/src/gone.rs:whole}}").len(), 1);
        assert_eq!(complaints("{{#include ../../crates/x/src/lib.rs:half}}").len(), 1);
        assert_eq!(complaints("{{#include ../../crates/x/src/lib.rs:who}}").len(), 1);
        assert_eq!(complaints("{{#rustdoc_include ../../crates/x/src/lib.rs:3:9}}").len(), 1);
    }

    #[test]
    fn an_interval_of_three_scores_is_found() {
        let complaints = |line: &str| intervals(&Tree::of(&[("docs/src/a.md", line)]));
        assert_eq!(complaints("| COMBO | 53.2 | 30.6 … 97.2 | 97.2, −31.8, 30.6 | 89.5 |").len(), 1);
        assert!(complaints("| COMBO | 53.2 | 30.6 … 97.2 | 97.2, 31.8, 30.6, 1.0, 2.0 |").is_empty());
        assert!(complaints("| COMBO | 53.2 | 97.2, 31.8, 30.6 |").is_empty());
        assert!(complaints("| states | 0.2 … 0.4 | (0.4, 0.8) |").is_empty());
    }

    #[test]
    fn a_command_that_does_not_exist_is_found() {
        let complaints = |line: &str| {
            let tree = Tree { subcommands: vec!["run".into()], ..Tree::of(&[("README.md", line)]) };
            subcommands(&tree)
        };
        assert!(complaints("`cargo xtask run --quick`, or `cargo xtask <command>`").is_empty());
        assert_eq!(complaints("`cargo xtask fly`").len(), 1);
        assert_eq!(complaints("`cargo xtask runs`").len(), 1);
    }

    #[test]
    fn a_test_that_is_gone_is_found() {
        let complaints = |line: &str| {
            named_tests(&Tree::of(&[("ARCHITECTURE.md", line), ("crates/x/tests/a.rs", "fn it_holds() {}")]))
        };
        assert!(complaints("held by `crates/x/tests/a.rs::it_holds`").is_empty());
        assert_eq!(complaints("held by `crates/x/tests/a.rs::it_held`").len(), 1);
        assert_eq!(complaints("held by `crates/x/tests/b.rs::it_holds`").len(), 1);
    }

    #[test]
    fn a_link_to_nowhere_and_a_lost_chapter_are_found() {
        let files =
            [("docs/src/SUMMARY.md", "- [A](a.md)"), ("docs/src/a.md", "[up](../../README.md#x)"), ("README.md", "")];
        assert!(links(&Tree::of(&files)).is_empty() && contents(&Tree::of(&files)).is_empty());
        assert_eq!(links(&Tree::of(&files[..2])).len(), 1);
        assert_eq!(links(&Tree::of(&files[..1])).len(), 1);
        assert_eq!(contents(&Tree::of(&[("docs/src/b.md", "")])).len(), 1);
        assert!(links(&Tree::of(&[("a.md", "```\n[x](y)\n```\n[web](https://example.org)")])).is_empty());
    }
}
