//! Commands as a shell takes them.

/// A line of these words: whatever a word has in it, a shell hands it on as it is.
pub(crate) fn line(words: &[String]) -> String {
    let quoted = |word: &String| shlex::try_quote(word).map_or_else(|_| word.clone(), |quoted| quoted.into_owned());
    words.iter().map(quoted).collect::<Vec<_>>().join(" ")
}
