//! The field's words: what papers, PyTorch and Gymnasium have a word for is called by it.
//!
//! Comments, texts in quotes, documents and experiments are looked through; code in backticks and fences is not prose.

use super::tree::Tree;

/// A word of our own, and the field's. What is meant is the whole word, small or with a capital.
const WORDS: &[(&str, &str)] = &[
    ("log", "dataset"),
    ("logs", "datasets"),
    ("log's", "dataset's"),
    ("world", "environment (a learnt one is a world model)"),
    ("worlds", "environments"),
    ("world's", "environment's"),
    ("learner", "algorithm for the method, agent or policy for what was trained"),
    ("learners", "algorithms for the methods, agents or policies for what was trained"),
    ("learner's", "algorithm's, agent's or policy's"),
    ("doubt", "uncertainty"),
    ("doubts", "uncertainty"),
    ("diet", "method, variant or source of data"),
    ("diets", "methods, variants or sources of data"),
    ("repetition", "seed"),
    ("repetitions", "seeds"),
    ("knob", "hyperparameter"),
    ("knobs", "hyperparameters"),
    ("price", "penalty or its coefficient"),
    ("toll", "penalty"),
    ("roll-out", "rollout"),
    ("roll-outs", "rollouts"),
    ("ring", "replay buffer or model buffer"),
    ("rings", "replay buffers"),
    ("ruler", "normalised score"),
    ("lifted", "pushed up"),
    ("held against", "compared with"),
    ("look on", "monitor"),
    ("an arm", "a method"),
    ("every arm", "every method"),
    ("arms", "methods"),
];

/// Keys and flags that have another name, wherever they stand.
const KEYS: &[(&str, &str)] = &[
    ("--arms", "--methods"),
    ("--cuts", "--truncations"),
    ("learning_rate =", "lr ="),
    ("actor_rate =", "actor_lr ="),
    ("critic_rate =", "critic_lr ="),
    ("polyak =", "tau ="),
    ("doubt_budget =", "uncertainty_budget ="),
];

/// Beside these a word does not mean what it means alone: a logarithm, a file of messages, a model, the limbs of a robot.
const BESIDE: &[(&str, &[&str], &[&str])] = &[
    (
        "log",
        &["training"],
        &["file", "files", "of", "prob", "probability", "probabilities", "density", "scale", "ratio", "n"],
    ),
    ("world", &["real"], &["model", "models", "frame"]),
    ("arms", &["robot", "match", "of"], &["and", "of"]),
];

/// Where a word is meant as everybody means it, and why.
const EXCUSED: &[(&str, &str, &str)] = &[
    ("xtask/src/tidy/words.rs", "", "the list itself"),
    ("xtask/src/sweep/", "log", "what a run prints goes to a log file"),
    ("xtask/src/svg.rs", "log", "an axis in logarithms"),
    ("experiments/sweeps/", "log", "a range in logarithms"),
    ("crates/algos/src/model_based/generator.rs", "doubt", "the name of a key, which the draws hang on"),
    ("crates/envs/src/maze2d/physics.rs", "world", "the frame of coordinates"),
];

/// What is looked through. A change log says what was, in the words of then.
fn in_scope(path: &str) -> bool {
    let folder = ["crates/", "xtask/", "benches/", "fuzz/", "docs/src/", "experiments/"];
    let single = ["README.md", "ARCHITECTURE.md", "CONTRIBUTING.md"];
    single.contains(&path) || folder.iter().any(|folder| path.starts_with(folder))
}

/// No word of our own stands where the field has one.
pub(super) fn field_words(tree: &Tree) -> Vec<String> {
    let mut complaints = Vec::new();
    for (path, text) in tree.texts(&[".rs", ".md", ".toml"]).filter(|(path, _)| in_scope(path)) {
        let excused = |word: &str| {
            EXCUSED.iter().any(|(place, known, _)| path.starts_with(place) && (known.is_empty() || *known == word))
        };
        let mut fenced = false;
        for (i, line) in
            text.lines().enumerate().filter(|(_, line)| !line.contains("tidy: allow") && !line.contains("ANCHOR"))
        {
            let complaint = |word: &str, better: &str| format!("{path}:{}: `{word}` is {better} here", i + 1);
            let keys = KEYS.iter().filter(|(key, _)| line.contains(key) && !excused(key));
            complaints.extend(keys.map(|(key, better)| complaint(key, better)));
            let inner = line.trim_start().trim_start_matches(['/', '!']).trim_start();
            fenced ^= inner.starts_with("```") && (path.ends_with(".md") || inner.len() < line.trim_start().len());
            if fenced {
                continue;
            }
            let prose = prose(path, line).to_lowercase().replace('’', "'");
            let found = WORDS.iter().filter(|(word, _)| !excused(word) && stands(&prose, word));
            complaints.extend(found.map(|(word, better)| complaint(word, better)));
        }
    }
    complaints
}

/// What of a line is read as prose: of a document or an experiment all, of source its comment and its texts of several words.
fn prose(path: &str, line: &str) -> String {
    let text = if path.ends_with(".rs") { comment_and_texts(line) } else { line.to_owned() };
    let plain: String = text.split('`').step_by(2).collect::<Vec<_>>().join(" ` ");
    // The target of a link, and what a document includes.
    let mut out = String::new();
    for (i, part) in plain.split("](").enumerate() {
        out += if i == 0 { part } else { part.split_once(')').map_or("", |(_, rest)| rest) };
        out.push(' ');
    }
    out.split("{{#").next().unwrap_or_default().to_owned()
}

fn comment_and_texts(line: &str) -> String {
    let (mut out, mut text, mut inside, mut escaped) = (String::new(), String::new(), false, false);
    for (at, c) in line.char_indices() {
        match (inside, c) {
            (true, _) if escaped => escaped = false,
            (true, '\\') => escaped = true,
            (_, '"') => {
                if text.contains(' ') {
                    out = out + &text + " | ";
                }
                text.clear();
                inside = !inside;
            }
            (true, _) => text.push(c),
            (false, '/') if line[at..].starts_with("//") => return out + &line[at..],
            _ => {}
        }
    }
    out
}

/// Whether `word` stands in `prose` as a whole word, in the sense that is meant.
fn stands(prose: &str, word: &str) -> bool {
    let part = |c: char| c.is_alphanumeric() || "_-/.'".contains(c);
    let ends = |c: char| c.is_alphanumeric() || "_-/(".contains(c);
    let beside = BESIDE.iter().find(|(known, ..)| *known == word);
    prose.match_indices(word).any(|(at, _)| {
        let (before, after) = (&prose[..at], &prose[at + word.len()..]);
        if before.chars().next_back().is_some_and(part) || after.chars().next().is_some_and(ends) {
            return false;
        }
        // A file's ending, a possessive of the word, which is a word of its own.
        let mut next = after.chars();
        if let (Some('.' | '\''), Some(c)) = (next.next(), next.next())
            && c.is_alphanumeric()
        {
            return false;
        }
        let letters = |text: &str| text.trim_matches(|c: char| !c.is_alphanumeric()).to_owned();
        let left = letters(before.split_whitespace().next_back().unwrap_or_default());
        let right = letters(after.split_whitespace().next().unwrap_or_default());
        beside.is_none_or(|(_, lefts, rights)| !lefts.contains(&left.as_str()) && !rights.contains(&right.as_str()))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn complaints(path: &str, text: &str) -> usize {
        field_words(&Tree::of(&[(path, text)])).len()
    }

    #[test]
    fn our_own_words_are_found_in_comments_texts_and_documents() {
        for text in [
            "// What the log says.",
            "    /// A Learner of this kind.",
            "//! Rows of a roll-out, drawn.",
            "x(\"the world ended\");",
        ] {
            assert_eq!(complaints("crates/x/src/a.rs", text), 1, "{text}");
        }
        assert_eq!(complaints("docs/src/a.md", "The log’s rows, every knob\nand the doubt."), 3);
        assert_eq!(complaints("docs/src/a.md", "The log's rows."), 1);
        assert_eq!(complaints("experiments/a.toml", "[[arms]]\nabout = \"two repetitions\""), 2);
        assert_eq!(complaints("README.md", "cargo xtask run --arms a"), 1);
    }

    #[test]
    fn code_logarithms_and_files_are_left_alone() {
        for text in [
            "let log = log(x); // the logarithm, log(x)",
            "key.name(\"log\")",
            "// a log-likelihood, the log of x, a log file, `log`, log_std, run.log",
            "//! ```\n//! let world = 1; // the world\n//! ```",
            "// A world model.",
        ] {
            assert_eq!(complaints("crates/x/src/a.rs", text), 0, "{text}");
        }
        assert_eq!(complaints("CHANGELOG.md", "The log is a dataset."), 0);
        assert_eq!(
            complaints("docs/src/a.md", "See [this](log.md), {{#include ../world}}, a robot's arms and legs."),
            0
        );
    }

    #[test]
    fn exceptions_are_of_files_that_are_there_and_have_a_reason() {
        for (place, _, why) in EXCUSED {
            assert!(crate::root().join(place).exists() && why.len() > 10, "{place}");
        }
    }
}
