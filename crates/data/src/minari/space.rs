//! Spaces as Minari serialises gymnasium's, and how their values become columns.

use crate::DataError;
use crate::arrays::{Kind, ReadArrays};
use crate::h5::MAX_RATIO;
use backcast_core::Real;
use serde_json::Value;

/// More categories than this are not spread out into columns.
pub(super) const MOST_CATEGORIES: usize = 1024;

/// One array of a space, and what becomes of its elements.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Leaf {
    /// Where it lies below an episode: `observations/achieved_goal`.
    pub(super) path: String,
    how: How,
}

#[derive(Clone, Debug, PartialEq)]
enum How {
    /// The elements as they stand, row-major; as many as the space says, if it says.
    Flat(Option<usize>),
    /// For each element, as many columns as it has categories, one of them 1. Pairs of count and first category.
    OneHot(Vec<(usize, i64)>),
}

impl Leaf {
    /// The number of columns it becomes, once its array is known to have `elements` a row.
    fn width(&self, elements: usize) -> Option<usize> {
        match &self.how {
            How::Flat(declared) => Some(elements).filter(|n| *n > 0 && declared.is_none_or(|d| d == *n)),
            How::OneHot(categories) => {
                (elements == categories.len()).then(|| categories.iter().map(|(count, _)| count).sum())
            }
        }
    }
}

/// The leaves of a serialised space, depth first, keys sorted: the order of gymnasium's `flatten` for a space made of a
/// plain dictionary. The error is in words.
pub(super) fn leaves(space: &Value, path: &str) -> Result<Vec<Leaf>, String> {
    let one = |how| Ok(vec![Leaf { path: path.into(), how }]);
    let integers = |name: &str| -> Result<Vec<i64>, String> {
        fn all(value: &Value, into: &mut Vec<i64>) -> Option<()> {
            match value {
                Value::Array(values) => values.iter().try_for_each(|value| all(value, into)),
                value => value.as_i64().map(|number| into.push(number)),
            }
        }
        let mut found = Vec::new();
        let value = space.get(name).ok_or_else(|| format!("{path}: its space has no `{name}`"))?;
        all(value, &mut found).ok_or_else(|| format!("{path}: `{name}` of its space is not made of integers"))?;
        Ok(found)
    };
    let one_hot = |counts: Vec<i64>, starts: Vec<i64>| {
        if counts.iter().any(|n| !(1..=MOST_CATEGORIES as i64).contains(n)) || counts.len() > MOST_CATEGORIES {
            return Err(format!("{path}: between 1 and {MOST_CATEGORIES} categories become columns"));
        }
        let starts = starts.into_iter().chain(std::iter::repeat(0));
        one(How::OneHot(counts.iter().zip(starts).map(|(&n, start)| (n as usize, start)).collect()))
    };
    match space.get("type").and_then(Value::as_str) {
        Some("Box") => {
            let shape = integers("shape")?;
            let width = shape.iter().try_fold(1usize, |w, &n| w.checked_mul(usize::try_from(n).ok()?));
            one(How::Flat(Some(width.ok_or_else(|| format!("{path}: a box of shape {shape:?}"))?)))
        }
        Some("MultiBinary") => one(How::Flat(None)),
        Some("Discrete") => one_hot(integers("n")?, integers("start").unwrap_or_default()),
        Some("MultiDiscrete") => one_hot(integers("nvec")?, integers("start").unwrap_or_default()),
        Some("Dict") => {
            let parts = space.get("subspaces").and_then(Value::as_object);
            let mut parts: Vec<_> =
                parts.ok_or_else(|| format!("{path}: a dictionary without subspaces"))?.iter().collect();
            parts.sort_by_key(|(key, _)| *key);
            let parts = parts.into_iter().map(|(key, part)| leaves(part, &format!("{path}/{key}")));
            Ok(parts.collect::<Result<Vec<_>, _>>()?.concat())
        }
        Some("Tuple") => {
            let parts = space.get("subspaces").and_then(Value::as_array);
            let parts = parts.ok_or_else(|| format!("{path}: a tuple without subspaces"))?;
            let parts = parts.iter().enumerate().map(|(i, part)| leaves(part, &format!("{path}/_index_{i}")));
            Ok(parts.collect::<Result<Vec<_>, _>>()?.concat())
        }
        Some(other) => Err(format!("{path}: a space of type {other} holds no numbers")),
        None => Err(format!("{path}: its space has no type")),
    }
}

/// The leaves of an old dataset that has no spaces: every array below `episode/path`, keys sorted, elements as they stand.
pub(super) fn leaves_of_file(file: &dyn ReadArrays, episode: &str, path: &str) -> Vec<Leaf> {
    let (exact, below) = (format!("{episode}/{path}"), format!("{episode}/{path}/"));
    let inside = |name: &&String| **name == exact || name.starts_with(&below);
    let found = file.names().iter().filter(inside);
    found.map(|name| Leaf { path: name[episode.len() + 1..].into(), how: How::Flat(None) }).collect()
}

/// The values of `leaves` in `episode`, side by side: the width, and `[rows, width]`.
///
/// # Errors
/// If an array is missing, has another shape than its space, or is cut short.
pub(super) fn read(
    file: &dyn ReadArrays,
    episode: &str,
    leaves: &[Leaf],
    rows: usize,
) -> Result<(usize, Vec<Real>), DataError> {
    let mut parts = Vec::new();
    for leaf in leaves {
        let name = format!("{episode}/{}", leaf.path);
        let entry = file.entry(&name)?;
        if let Kind::Other(found) = entry.kind {
            return Err(file.unexpected(&name, found, "numbers; images and text are not read"));
        }
        let elements: usize = entry.shape.iter().skip(1).product();
        let width = leaf.width(elements).filter(|_| entry.shape.first() == Some(&rows));
        let Some(width) = width else {
            let expected = format!("[{rows}, …] with the extents of its space");
            return Err(file.misshapen(&name, entry.shape, expected));
        };
        parts.push((leaf, name, elements, width));
    }
    let width: usize = parts.iter().map(|part| part.3).sum();
    if let [(Leaf { how: How::Flat(_), .. }, name, ..)] = &parts[..] {
        return Ok((width, file.reals(name)?));
    }
    let bytes = (rows as u128).saturating_mul(width as u128).saturating_mul(size_of::<Real>() as u128);
    if bytes > file.budget() as u128 {
        let (path, limit) = (file.path().to_path_buf(), file.budget());
        let dataset = parts.first().map(|part| part.1.clone()).unwrap_or_default();
        return Err(DataError::TooLarge { file: path, dataset, declared: bytes, bytes: limit / MAX_RATIO, limit });
    }
    let mut out = vec![0.0; rows * width];
    let mut first = 0;
    for (leaf, name, elements, columns) in parts {
        let values = file.reals(&name)?;
        for row in 0..rows {
            let (from, to) = (&values[row * elements..][..elements], &mut out[row * width + first..][..columns]);
            match &leaf.how {
                How::Flat(_) => to.copy_from_slice(from),
                How::OneHot(categories) => {
                    let mut at = 0;
                    for (column, (&value, &(count, start))) in from.iter().zip(categories).enumerate() {
                        let place = value as f64 - start as f64;
                        if !(place >= 0.0 && place < count as f64 && place.fract() == 0.0) {
                            return Err(DataError::Value {
                                file: file.path().into(),
                                dataset: name,
                                row,
                                column,
                                value: value as f64,
                                expected: "one of its categories",
                            });
                        }
                        to[at + place as usize] = 1.0;
                        at += count;
                    }
                }
            }
        }
        first += columns;
    }
    Ok((width, out))
}

/// JSON as Python writes it: `NaN` and `Infinity`, which JSON does not have, become `null`.
pub(super) fn lenient(text: &str) -> serde_json::Result<Value> {
    let (mut out, mut rest, mut inside) = (String::with_capacity(text.len()), text, false);
    while let Some(c) = rest.chars().next() {
        let word = ["-Infinity", "Infinity", "NaN"].into_iter().find(|word| !inside && rest.starts_with(word));
        let length = match (word, c) {
            (Some(word), _) => {
                out += "null";
                word.len()
            }
            (None, '\\') if inside => {
                let length = 1 + rest[1..].chars().next().map_or(0, char::len_utf8);
                out += &rest[..length];
                length
            }
            (None, c) => {
                inside ^= c == '"';
                out.push(c);
                c.len_utf8()
            }
        };
        rest = &rest[length..];
    }
    serde_json::from_str(&out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spaces_become_leaves_depth_first_with_keys_sorted() {
        let text = r#"{"type": "Dict", "subspaces": {"z": {"type": "Box", "shape": [2, 3], "low": [-Infinity]},
            "a": {"type": "Tuple", "subspaces": [{"type": "Discrete", "n": 3, "start": -1}, {"type": "MultiDiscrete", "nvec": [2, 4]}]}}}"#;
        let found = leaves(&lenient(text).unwrap(), "observations").unwrap();
        let paths: Vec<&str> = found.iter().map(|leaf| leaf.path.as_str()).collect();
        assert_eq!(paths, ["observations/a/_index_0", "observations/a/_index_1", "observations/z"]);
        let widths: Vec<_> = found.iter().zip([1, 2, 6]).map(|(leaf, elements)| leaf.width(elements)).collect();
        assert_eq!(widths, [Some(3), Some(6), Some(6)]);
        assert_eq!(found[2].width(5), None);
    }

    #[test]
    fn spaces_without_numbers_and_absurd_ones_are_errors() {
        for text in [
            r#"{"type": "Text", "max_length": 3}"#,
            r#"{"type": "Discrete", "n": 1099511627776}"#,
            r#"{"type": "Box", "shape": [4611686018427387904, 4611686018427387904]}"#,
            r#"{"type": "Box"}"#,
            r#"{"type": "Dict"}"#,
            "{}",
        ] {
            assert!(leaves(&lenient(text).unwrap(), "actions").is_err(), "{text}");
        }
    }

    #[test]
    fn words_that_json_lacks_are_replaced_outside_of_strings_only() {
        let value = lenient(r#"{"a": -Infinity, "b": "NaN \" Infinity", "c": [NaN, 1]}"#).unwrap();
        assert_eq!(value.to_string(), r#"{"a":null,"b":"NaN \" Infinity","c":[null,1]}"#);
        assert!(lenient("{").is_err());
    }
}
