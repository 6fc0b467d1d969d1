use serde::de::DeserializeOwned;
use serde_json::{Error, Value};

/// Reads a configuration from a note of a recorded file.
///
/// A note is written in the words of the code that recorded it. `renamed` says which keys have another name since: the path of the
/// old key, with dots, and the new key in its place. What has the new key already stays as it is.
///
/// # Errors
/// Whatever the configuration does not understand. A note that has an old key beside its new one is refused by the old one.
pub fn read_note<C: DeserializeOwned, S: AsRef<str>>(note: &str, renamed: &[(S, &str)]) -> Result<C, Error> {
    let mut value: Value = serde_json::from_str(note)?;
    for (path, new) in renamed {
        let (path, new) = (path.as_ref(), *new);
        let (parents, old) = path.rsplit_once('.').unwrap_or(("", path));
        let parent =
            parents.split('.').filter(|key| !key.is_empty()).try_fold(&mut value, |table, key| table.get_mut(key));
        let Some(table) = parent.and_then(Value::as_object_mut) else { continue };
        if table.contains_key(new) {
            continue;
        }
        if let Some(moved) = table.remove(old) {
            table.insert(new.to_owned(), moved);
        }
    }
    serde_json::from_value(value)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde::Deserialize;

    #[derive(Debug, PartialEq, Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Config {
        tau: f32,
        inner: Option<Inner>,
    }

    #[derive(Debug, PartialEq, Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Inner {
        lr: f32,
    }

    #[test]
    fn old_keys_are_read_under_their_new_names_and_none_twice() {
        let read = |note: &str| read_note::<Config, &str>(note, &[("polyak", "tau"), ("inner.rate", "lr")]);
        let whole = Config { tau: 0.05, inner: Some(Inner { lr: 1e-3 }) };
        assert_eq!(read(r#"{"polyak": 0.05, "inner": {"rate": 1e-3}}"#).unwrap(), whole);
        assert_eq!(read(r#"{"tau": 0.05, "inner": {"lr": 1e-3}}"#).unwrap(), whole);
        assert_eq!(read(r#"{"polyak": 0.05}"#).unwrap(), Config { tau: 0.05, inner: None });
        assert!(read(r#"{"polyak": 0.05, "tau": 0.05}"#).unwrap_err().to_string().contains("`polyak`"));
        assert!(read(r#"{"polyak": 0.05, "rate": 1e-3}"#).unwrap_err().to_string().contains("`rate`"));
    }
}
