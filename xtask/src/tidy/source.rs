//! Rules about files and their text.

use super::tree::Tree;

/// Names that say nothing about what is inside.
const EMPTY_NAMES: [&str; 6] = ["utils", "util", "misc", "common", "helpers", "stuff"];

const LARGEST_FILE: u64 = 1_000_000;
const LONGEST_FILE: usize = 600;

/// The only places where `unsafe` may stand: kernels, the simulator's library, and the file that maps a file.
const UNSAFE_PLACES: [&str; 3] =
    ["crates/nn/src/kernels/", "crates/envs/src/mujoco/library.rs", "crates/data/src/store/mmap.rs"];

/// American stems and ours. Anything beginning with the first is a complaint.
const SPELLING: [(&str, &str); 16] = [
    ("normaliz", "normalis"),     // tidy: allow
    ("behavior", "behaviour"),    // tidy: allow
    ("initializ", "initialis"),   // tidy: allow
    ("optimiz", "optimis"),       // tidy: allow
    ("regulariz", "regularis"),   // tidy: allow
    ("standardiz", "standardis"), // tidy: allow
    ("minimiz", "minimis"),       // tidy: allow
    ("maximiz", "maximis"),       // tidy: allow
    ("generaliz", "generalis"),   // tidy: allow
    ("summariz", "summaris"),     // tidy: allow
    ("penaliz", "penalis"),       // tidy: allow
    ("discretiz", "discretis"),   // tidy: allow
    ("neighbor", "neighbour"),    // tidy: allow
    ("favor", "favour"),          // tidy: allow
    ("modeled", "modelled"),      // tidy: allow
    ("modeling", "modelling"),    // tidy: allow
];

/// A line that cites a paper keeps the paper's spelling.
const CITATIONS: [&str; 7] = ["arXiv", "et al", "NeurIPS", "ICML", "ICLR", "PAPER", "tidy: allow"];

/// Folders of somebody's machine, and words about how the text came to be. Split so that this file passes.
const PRIVATE: [&str; 6] = [
    concat!("/ho", "me/"),
    concat!("/ro", "ot/"),
    concat!("/wo", "rk/"),
    concat!("/Us", "ers/"),
    concat!("sub", "agent"),
    concat!("lang", "uage model"),
];

/// What a library must be handed instead of taking: time, randomness, per-thread state.
const AMBIENT: [&str; 7] =
    ["Instant::now", "SystemTime", "thread_local!", "thread_rng", "rand::rng()", "OsRng", "std::env::var"];

/// What an algorithm, a model or a penalty has no business with.
const OUTSIDE: [&str; 4] = ["std::fs", "std::io", "std::net", "std::process"];

/// The crates that never see a file: everything between the nouns and the facade that learns or measures.
const SEALED: [&str; 6] =
    ["crates/core/", "crates/stats/", "crates/dynamics/", "crates/penalties/", "crates/imagination/", "crates/algos/"];

const STUBS: [&str; 4] =
    [concat!("to", "do!("), concat!("unimpl", "emented!("), concat!("#[ign", "ore"), concat!("FIX", "ME")];

/// No file or folder is named for nothing.
pub(super) fn file_names(tree: &Tree) -> Vec<String> {
    let empty = |part: &str| EMPTY_NAMES.contains(&part.split('.').next().unwrap_or_default());
    let bad = tree.files.keys().filter(|path| path.split('/').any(empty));
    bad.map(|path| format!("{path}: name it for what it holds")).collect()
}

/// No file is so large that a clone suffers.
pub(super) fn file_sizes(tree: &Tree) -> Vec<String> {
    let large = tree.files.iter().filter(|(_, file)| file.bytes > LARGEST_FILE);
    large.map(|(path, file)| format!("{path}: {} bytes, the most is {LARGEST_FILE}", file.bytes)).collect()
}

/// No source file or document is so long that nobody reads it through.
pub(super) fn file_lengths(tree: &Tree) -> Vec<String> {
    let lengths = tree.texts(&[".rs", ".md"]).map(|(path, text)| (path, text.lines().count()));
    let long = lengths.filter(|(_, lines)| *lines > LONGEST_FILE);
    long.map(|(path, lines)| format!("{path}: {lines} lines, the most is {LONGEST_FILE}")).collect()
}

/// One spelling of each word, so that a search finds every use.
pub(super) fn spelling(tree: &Tree) -> Vec<String> {
    lines_where(tree, &[".rs", ".md", ".toml"], |line| {
        if CITATIONS.iter().any(|mark| line.contains(mark)) {
            return None;
        }
        let lower = line.to_lowercase();
        let (american, british) = SPELLING.iter().find(|(american, _)| lower.contains(american))?;
        Some(format!("`{american}…` is spelt `{british}…` here"))
    })
}

/// The text speaks of the project alone.
pub(super) fn private_words(tree: &Tree) -> Vec<String> {
    lines_where(tree, &["", ".rs", ".md", ".toml", ".svg"], |line| {
        let word = PRIVATE.iter().find(|word| {
            // `../work/` or `my/home/` are parts of other paths; only an absolute path is somebody's machine.
            line.match_indices(*word).any(|(at, _)| {
                let before = line[..at].chars().next_back();
                !word.starts_with('/') || before.is_none_or(|c| !c.is_alphanumeric() && !"._-}".contains(c))
            })
        })?;
        Some(format!("`{word}` does not belong here"))
    })
}

/// `unsafe` stands only where it is expected.
pub(super) fn unsafe_code(tree: &Tree) -> Vec<String> {
    let mut complaints = lines_where(tree, &[".rs"], |line| {
        let code = line.split("//").next().unwrap_or_default();
        let opens = ["{", " {", " fn", " impl", " trait", " extern"];
        let found = code.match_indices(concat!("uns", "afe")).any(|(at, word)| {
            let before = code[..at].chars().next_back().is_none_or(|c| !c.is_alphanumeric() && c != '_' && c != '"');
            before && opens.iter().any(|o| code[at + word.len()..].starts_with(o))
        });
        found.then(|| "this is not a place for unchecked code".into())
    });
    complaints.retain(|c| {
        let path = c.split(':').next().unwrap_or_default();
        !UNSAFE_PLACES.iter().any(|place| path.contains(place))
    });
    complaints
}

/// Libraries take no time and no randomness from their surroundings, and algorithms do no input or output.
pub(super) fn ambient(tree: &Tree) -> Vec<String> {
    // The facade carries whole experiments out, and says how long each stage took; a library that was installed has to be found.
    let excused = ["crates/backcast/src/run/", "crates/envs/src/mujoco/install.rs"];
    let sources = |path: &str| {
        path.starts_with("crates/") && path.contains("/src/") && !excused.iter().any(|place| path.starts_with(place))
    };
    let mut complaints = lines_where(tree, &[".rs"], |line| {
        let code = line.split("//").next().unwrap_or_default();
        let taken = AMBIENT.iter().find(|word| code.contains(*word))?;
        Some(format!("`{taken}` takes what must be an argument"))
    });
    complaints.extend(lines_where(tree, &[".rs"], |line| {
        let code = line.split("//").next().unwrap_or_default();
        let outside = OUTSIDE.iter().find(|word| code.contains(*word))?;
        Some(format!("`{outside}` in a crate that does no input or output"))
    }));
    complaints.retain(|c| {
        let sealed = SEALED.iter().any(|folder| c.starts_with(folder));
        sources(c.split(':').next().unwrap_or_default()) && (sealed || !c.contains("input or output"))
    });
    complaints
}

/// Files of results are written by `backcast::json`, from which every number comes back.
pub(super) fn numbers(tree: &Tree) -> Vec<String> {
    let mut complaints = lines_where(tree, &[".rs"], |line| {
        let code = line.split("//").next().unwrap_or_default();
        code.contains(concat!("serde_json", "::to_"))
            .then(|| "`backcast::json` writes numbers that are not finite too".into())
    });
    let places = |path: &str| ["crates/backcast/src/", "xtask/src/"].iter().any(|place| path.starts_with(place));
    // The module itself; a test; and what is printed for other programs, such as the schema.
    let excused = [
        "crates/backcast/src/json.rs",
        "crates/backcast/src/run/bands.rs",
        "crates/backcast/src/schema.rs",
        "xtask/src/explain.rs",
        "xtask/src/data/",
    ];
    complaints.retain(|c| places(c) && !excused.iter().any(|place| c.starts_with(place)));
    complaints
}

/// Nothing is left for later.
pub(super) fn stubs(tree: &Tree) -> Vec<String> {
    lines_where(tree, &[".rs"], |line| {
        let stub = STUBS.iter().find(|stub| line.contains(*stub))?;
        Some(format!("`{stub}` is work left undone"))
    })
}

/// The complaint of `judge` for each line of each text file, with its place.
fn lines_where(tree: &Tree, endings: &[&str], judge: impl Fn(&str) -> Option<String>) -> Vec<String> {
    let mut complaints = Vec::new();
    for (path, text) in tree.texts(endings).filter(|(path, _)| !path.ends_with("Cargo.lock")) {
        for (i, line) in text.lines().enumerate() {
            complaints.extend(judge(line).map(|why| format!("{path}:{}: {why}", i + 1)));
        }
    }
    complaints
}

#[cfg(test)]
mod tests {
    use super::*;

    /// How many complaints a rule has about one file.
    fn count(rule: fn(&Tree) -> Vec<String>, path: &str, text: &str) -> usize {
        rule(&Tree::of(&[(path, text)])).len()
    }

    #[test]
    fn names_that_say_nothing_are_found() {
        assert_eq!(count(file_names, "crates/x/src/utils.rs", ""), 1);
        assert_eq!(count(file_names, "crates/helpers/src/lib.rs", ""), 1);
        assert_eq!(count(file_names, "crates/x/src/commonality.rs", ""), 0);
    }

    #[test]
    fn large_and_long_files_are_found() {
        assert_eq!(count(file_sizes, "a.bin", &"x".repeat(1_000_001)), 1);
        assert_eq!(count(file_sizes, "a.bin", &"x".repeat(1_000_000)), 0);
        assert_eq!(count(file_lengths, "a.rs", &"x\n".repeat(601)), 1);
        assert_eq!(count(file_lengths, "a.rs", &"x\n".repeat(600)), 0);
        assert_eq!(count(file_lengths, "Cargo.lock", &"x\n".repeat(601)), 0);
    }

    #[test]
    fn american_spelling_is_found_but_not_in_citations() {
        let words = ["struct Normalizer;", "// the Behavior of", "fn initialize_all()"]; // tidy: allow
        for word in words {
            assert_eq!(count(spelling, "a.rs", word), 1, "{word}");
        }
        assert_eq!(count(spelling, "a.rs", "//! *Policy Optimization*, arXiv:1234.5678"), 0);
        assert_eq!(count(spelling, "a.rs", "fn normalise() {}"), 0);
    }

    #[test]
    fn other_peoples_folders_are_found() {
        let home = concat!("/ho", "me/");
        assert_eq!(count(private_words, "a.md", &format!("see {home}someone/x")), 1);
        assert_eq!(count(private_words, "a.md", &format!("{home}someone/x")), 1);
        assert_eq!(count(private_words, "a.md", "a route such as ../home/x or my/work/x"), 0);
        assert_eq!(count(private_words, "a.md", concat!("written by a sub", "agent")), 1);
    }

    #[test]
    fn unchecked_code_is_found_outside_the_kernels() {
        let block = concat!("let x = uns", "afe { y() };");
        assert_eq!(count(unsafe_code, "crates/data/src/x.rs", block), 1);
        assert_eq!(count(unsafe_code, "crates/data/src/x.rs", concat!("pub uns", "afe fn x() {}")), 1);
        assert_eq!(count(unsafe_code, "crates/nn/src/kernels/avx.rs", block), 0);
        assert_eq!(count(unsafe_code, "crates/data/src/store/mmap.rs", block), 0);
        assert_eq!(count(unsafe_code, "crates/data/src/store/mod.rs", block), 1);
        assert_eq!(count(unsafe_code, "crates/data/src/x.rs", "#![forbid(unsafe_code)]"), 0);
        assert_eq!(count(unsafe_code, "crates/data/src/x.rs", &format!("// {block}")), 0);
    }

    #[test]
    fn clocks_randomness_and_files_in_libraries_are_found() {
        let clock = "let t = std::time::Instant::now();";
        assert_eq!(count(ambient, "crates/nn/src/x.rs", clock), 1);
        assert_eq!(count(ambient, "xtask/src/x.rs", clock), 0);
        assert_eq!(count(ambient, "crates/backcast/src/agent.rs", clock), 1);
        assert_eq!(count(ambient, "crates/backcast/src/run/mod.rs", clock), 0);
        assert_eq!(count(ambient, "crates/nn/src/x.rs", &format!("/// {clock}")), 0);
        assert_eq!(count(ambient, "crates/algos/src/x.rs", "std::fs::read(path)?"), 1);
        assert_eq!(count(ambient, "crates/data/src/x.rs", "std::fs::read(path)?"), 0);
        assert_eq!(count(ambient, "crates/algos/tests/x.rs", "std::fs::read(path)?"), 0);
    }

    #[test]
    fn numbers_that_would_not_come_back_are_found() {
        let line = concat!("write(&serde_json", "::to_string(&made)?)");
        assert_eq!(count(numbers, "xtask/src/x.rs", line), 1);
        assert_eq!(count(numbers, "crates/backcast/src/run/x.rs", line), 1);
        assert_eq!(count(numbers, "crates/backcast/src/json.rs", line), 0);
        assert_eq!(count(numbers, "crates/nn/src/x.rs", line), 0);
        assert_eq!(count(numbers, "xtask/src/x.rs", "backcast::json::to_string(&made)?"), 0);
    }

    #[test]
    fn work_left_undone_is_found() {
        for stub in STUBS {
            assert_eq!(count(stubs, "a.rs", &format!("    {stub} ...")), 1, "{stub}");
        }
        assert_eq!(count(stubs, "a.rs", "let to_do = 1;"), 0);
    }
}
