//! Where a table is wrong, and what a name that nobody knows was probably meant to be.
//!
//! serde tells its error which names it expected; TOML's keeps the sentence alone. What could not be read is therefore read once
//! more, into an error that keeps the names.

use serde::de::value::{MapAccessDeserializer, MapDeserializer, SeqDeserializer};
use serde::de::{self, DeserializeOwned, Deserializer, IntoDeserializer, Visitor};
use std::fmt;
use strsim::levenshtein;
use toml::{Table, Value};

/// What is wrong with a table that is no `T`.
pub(crate) struct Hint {
    /// The keys that lead there; none where it is the table itself.
    pub(crate) path: Option<String>,
    /// The known name nearest to the one that is not known, if any is near.
    pub(crate) nearest: Option<&'static str>,
}

/// Why `table` is no `T`; none if it is one.
pub(crate) fn hint<T: DeserializeOwned>(table: &Table) -> Option<Hint> {
    let error = serde_path_to_error::deserialize::<_, T>(Plain(Value::Table(table.clone()))).err()?;
    let path = Some(error.path().to_string()).filter(|path| path != ".");
    let nearest = error.into_inner().0.and_then(|Unknown { found, expected }| {
        let near = |name: &&&str| levenshtein(&found, name) <= 1 + found.len() / 3;
        expected.iter().min_by_key(|name| levenshtein(&found, name)).filter(near).copied()
    });
    Some(Hint { path, nearest })
}

#[derive(Debug)]
struct Unknown {
    found: String,
    expected: &'static [&'static str],
}

/// Keeps which names were expected, and nothing of other complaints.
#[derive(Debug)]
struct Complaint(Option<Unknown>);

impl fmt::Display for Complaint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", self.0)
    }
}

impl std::error::Error for Complaint {}

impl de::Error for Complaint {
    fn custom<T: fmt::Display>(_: T) -> Self {
        Self(None)
    }

    fn unknown_field(found: &str, expected: &'static [&'static str]) -> Self {
        Self(Some(Unknown { found: found.to_owned(), expected }))
    }

    fn unknown_variant(found: &str, expected: &'static [&'static str]) -> Self {
        Self::unknown_field(found, expected)
    }
}

/// A value of TOML, read with that error.
struct Plain(Value);

impl<'de> IntoDeserializer<'de, Complaint> for Plain {
    type Deserializer = Self;

    fn into_deserializer(self) -> Self {
        self
    }
}

impl<'de> Deserializer<'de> for Plain {
    type Error = Complaint;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Complaint> {
        match self.0 {
            Value::String(text) => visitor.visit_string(text),
            Value::Integer(number) => visitor.visit_i64(number),
            Value::Float(number) => visitor.visit_f64(number),
            Value::Boolean(flag) => visitor.visit_bool(flag),
            Value::Datetime(time) => visitor.visit_string(time.to_string()),
            Value::Array(values) => visitor.visit_seq(SeqDeserializer::new(values.into_iter().map(Plain))),
            Value::Table(table) => visitor.visit_map(pairs(table)),
        }
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Complaint> {
        visitor.visit_some(self)
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(self, _: &'static str, visitor: V) -> Result<V::Value, Complaint> {
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _: &'static str,
        _: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Complaint> {
        match self.0 {
            Value::String(name) => visitor.visit_enum(name.into_deserializer()),
            Value::Table(table) => visitor.visit_enum(MapAccessDeserializer::new(pairs(table))),
            other => Self(other).deserialize_any(visitor),
        }
    }

    serde::forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf unit unit_struct seq tuple
        tuple_struct map struct identifier ignored_any
    }
}

fn pairs<'de>(table: Table) -> MapDeserializer<'de, impl Iterator<Item = (String, Plain)>, Complaint> {
    MapDeserializer::new(table.into_iter().map(|(key, value)| (key, Plain(value))))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde::Deserialize;

    #[expect(dead_code, reason = "only read")]
    #[derive(Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Outer {
        inner: Vec<Inner>,
        kind: Option<Kind>,
    }

    #[expect(dead_code, reason = "only read")]
    #[derive(Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Inner {
        width: f32,
    }

    #[expect(dead_code, reason = "only read")]
    #[derive(Deserialize)]
    #[serde(rename_all = "snake_case")]
    enum Kind {
        Plain,
        Deep { width: usize },
    }

    #[test]
    fn a_wrong_place_is_named_and_so_is_the_nearest_name() {
        for (text, path, nearest) in [
            ("inner=[{width=1}, {widht=2}]", Some("inner[1].widht"), Some("width")),
            ("inner=[{width='wide'}]", Some("inner[0].width"), None),
            ("inner=[]\nkind='plane'", Some("kind"), Some("plain")),
            ("inner=[]\nkind={deep={width=-1}}", Some("kind.deep.width"), None),
            ("inner=[]\nquite_different=3", Some("quite_different"), None),
            ("kind='plain'", None, None),
        ] {
            let hint = hint::<Outer>(&text.parse().unwrap()).expect("it is wrong");
            assert_eq!((hint.path.as_deref(), hint.nearest), (path, nearest), "{text}");
        }
        for text in ["inner=[{width=1}]", "inner=[]\nkind={deep={width=1}}"] {
            assert!(hint::<Outer>(&text.parse().unwrap()).is_none(), "{text}");
        }
    }
}
