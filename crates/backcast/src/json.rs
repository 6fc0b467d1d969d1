//! JSON in which every number comes back as it went out.
//!
//! JSON has no word for a number that is infinite or none at all, and an algorithm that diverges has such losses. Here they are the
//! strings `"Infinity"`, `"-Infinity"` and `"NaN"`, which Python's `float` and JavaScript's `Number` read too. Files of earlier
//! builds have `null` in their place; where a number is expected, that is read as NaN.
//!
//! Every file of results goes through these functions, so that nobody has to think of it field by field. Of an enum that is told
//! apart by a field of its own (`#[serde(tag)]`) numbers are not read this way: those are settings, which are finite.

use serde::de::{DeserializeOwned, DeserializeSeed, EnumAccess, MapAccess, SeqAccess, VariantAccess, Visitor};
use serde::{Deserializer, Serialize, Serializer, ser};
use std::fmt;

/// The value on one line.
///
/// # Errors
/// If the value refuses to be serialised.
pub fn to_string<T: Serialize + ?Sized>(value: &T) -> serde_json::Result<String> {
    let mut bytes = Vec::new();
    value.serialize(Out(&mut serde_json::Serializer::new(&mut bytes)))?;
    Ok(text(bytes))
}

/// The value on indented lines.
///
/// # Errors
/// If the value refuses to be serialised.
pub fn to_string_pretty<T: Serialize + ?Sized>(value: &T) -> serde_json::Result<String> {
    let mut bytes = Vec::new();
    value.serialize(Out(&mut serde_json::Serializer::pretty(&mut bytes)))?;
    Ok(text(bytes))
}

fn text(bytes: Vec<u8>) -> String {
    String::from_utf8(bytes).expect("JSON is text")
}

/// A value from text.
///
/// # Errors
/// If it is no JSON, or another value.
pub fn from_str<T: DeserializeOwned>(text: &str) -> serde_json::Result<T> {
    from_slice(text.as_bytes())
}

/// A value from the bytes of a text.
///
/// # Errors
/// If it is no JSON, or another value.
pub fn from_slice<T: DeserializeOwned>(bytes: &[u8]) -> serde_json::Result<T> {
    let mut from = serde_json::Deserializer::from_slice(bytes);
    let value = T::deserialize(In(&mut from))?;
    from.end()?;
    Ok(value)
}

/// The name of a number that JSON has not.
fn name(x: f64) -> Option<&'static str> {
    match x {
        x if x.is_nan() => Some("NaN"),
        f64::INFINITY => Some("Infinity"),
        f64::NEG_INFINITY => Some("-Infinity"),
        _ => None,
    }
}

/// Whoever serialises, or a part of it, with names for such numbers.
struct Out<S>(S);

/// A value whose parts are to be serialised so too.
struct Part<'a, T: ?Sized>(&'a T);

impl<T: Serialize + ?Sized> Serialize for Part<'_, T> {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        self.0.serialize(Out(to))
    }
}

type Outcome<S> = Result<<S as Serializer>::Ok, <S as Serializer>::Error>;

macro_rules! plain_out {
    ($($method:ident($($arg:ident: $of:ty),*))*) => {$(
        fn $method(self, $($arg: $of),*) -> Outcome<S> {
            self.0.$method($($arg),*)
        }
    )*};
}

macro_rules! opened {
    ($($method:ident($($arg:ident: $of:ty),*) -> $part:ident)*) => {$(
        fn $method(self, $($arg: $of),*) -> Result<Self::$part, S::Error> {
            self.0.$method($($arg),*).map(Out)
        }
    )*};
}

impl<S: Serializer> Serializer for Out<S> {
    type Ok = S::Ok;
    type Error = S::Error;
    type SerializeSeq = Out<S::SerializeSeq>;
    type SerializeTuple = Out<S::SerializeTuple>;
    type SerializeTupleStruct = Out<S::SerializeTupleStruct>;
    type SerializeTupleVariant = Out<S::SerializeTupleVariant>;
    type SerializeMap = Out<S::SerializeMap>;
    type SerializeStruct = Out<S::SerializeStruct>;
    type SerializeStructVariant = Out<S::SerializeStructVariant>;

    fn serialize_f32(self, x: f32) -> Outcome<S> {
        match name(x.into()) {
            Some(name) => self.0.serialize_str(name),
            None => self.0.serialize_f32(x),
        }
    }

    fn serialize_f64(self, x: f64) -> Outcome<S> {
        match name(x) {
            Some(name) => self.0.serialize_str(name),
            None => self.0.serialize_f64(x),
        }
    }

    plain_out! {
        serialize_bool(x: bool) serialize_i8(x: i8) serialize_i16(x: i16) serialize_i32(x: i32) serialize_i64(x: i64)
        serialize_u8(x: u8) serialize_u16(x: u16) serialize_u32(x: u32) serialize_u64(x: u64)
        serialize_char(x: char) serialize_str(x: &str) serialize_bytes(x: &[u8]) serialize_none() serialize_unit()
        serialize_unit_struct(name: &'static str)
        serialize_unit_variant(name: &'static str, index: u32, variant: &'static str)
    }

    fn serialize_some<T: Serialize + ?Sized>(self, value: &T) -> Outcome<S> {
        self.0.serialize_some(&Part(value))
    }

    fn serialize_newtype_struct<T: Serialize + ?Sized>(self, name: &'static str, value: &T) -> Outcome<S> {
        self.0.serialize_newtype_struct(name, &Part(value))
    }

    fn serialize_newtype_variant<T: Serialize + ?Sized>(
        self,
        name: &'static str,
        index: u32,
        variant: &'static str,
        value: &T,
    ) -> Outcome<S> {
        self.0.serialize_newtype_variant(name, index, variant, &Part(value))
    }

    opened! {
        serialize_seq(len: Option<usize>) -> SerializeSeq
        serialize_tuple(len: usize) -> SerializeTuple
        serialize_tuple_struct(name: &'static str, len: usize) -> SerializeTupleStruct
        serialize_tuple_variant(name: &'static str, index: u32, variant: &'static str, len: usize) -> SerializeTupleVariant
        serialize_map(len: Option<usize>) -> SerializeMap
        serialize_struct(name: &'static str, len: usize) -> SerializeStruct
        serialize_struct_variant(name: &'static str, index: u32, variant: &'static str, len: usize) -> SerializeStructVariant
    }
}

macro_rules! parts_out {
    ($($part:ident $method:ident($($arg:ident: $of:ty),*))*) => {$(
        impl<S: ser::$part> ser::$part for Out<S> {
            type Ok = S::Ok;
            type Error = S::Error;

            fn $method<T: Serialize + ?Sized>(&mut self, $($arg: $of,)* value: &T) -> Result<(), S::Error> {
                self.0.$method($($arg,)* &Part(value))
            }

            fn end(self) -> Result<S::Ok, S::Error> {
                self.0.end()
            }
        }
    )*};
}

parts_out! {
    SerializeSeq serialize_element()
    SerializeTuple serialize_element()
    SerializeTupleStruct serialize_field()
    SerializeTupleVariant serialize_field()
    SerializeStruct serialize_field(key: &'static str)
    SerializeStructVariant serialize_field(key: &'static str)
}

impl<S: ser::SerializeMap> ser::SerializeMap for Out<S> {
    type Ok = S::Ok;
    type Error = S::Error;

    fn serialize_key<T: Serialize + ?Sized>(&mut self, key: &T) -> Result<(), S::Error> {
        self.0.serialize_key(key)
    }

    fn serialize_value<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), S::Error> {
        self.0.serialize_value(&Part(value))
    }

    fn end(self) -> Result<S::Ok, S::Error> {
        self.0.end()
    }
}

/// Whoever deserialises, or a part of it, that knows the names.
struct In<D>(D);

macro_rules! plain_in {
    ($($method:ident($($arg:ident: $of:ty),*))*) => {$(
        fn $method<V: Visitor<'de>>(self, $($arg: $of,)* visitor: V) -> Result<V::Value, D::Error> {
            self.0.$method($($arg,)* In(visitor))
        }
    )*};
}

impl<'de, D: Deserializer<'de>> Deserializer<'de> for In<D> {
    type Error = D::Error;

    fn deserialize_f32<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, D::Error> {
        self.0.deserialize_any(Number(visitor))
    }

    fn deserialize_f64<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, D::Error> {
        self.0.deserialize_any(Number(visitor))
    }

    plain_in! {
        deserialize_any() deserialize_bool() deserialize_i8() deserialize_i16() deserialize_i32() deserialize_i64()
        deserialize_u8() deserialize_u16() deserialize_u32() deserialize_u64() deserialize_char() deserialize_str()
        deserialize_string() deserialize_bytes() deserialize_byte_buf() deserialize_option() deserialize_unit()
        deserialize_seq() deserialize_map() deserialize_identifier() deserialize_ignored_any()
        deserialize_unit_struct(name: &'static str) deserialize_newtype_struct(name: &'static str)
        deserialize_tuple(len: usize) deserialize_tuple_struct(name: &'static str, len: usize)
        deserialize_struct(name: &'static str, fields: &'static [&'static str])
        deserialize_enum(name: &'static str, variants: &'static [&'static str])
    }
}

/// A visitor that expects a number.
struct Number<V>(V);

macro_rules! visits {
    ($($method:ident($of:ty))*) => {$(
        fn $method<E: serde::de::Error>(self, x: $of) -> Result<V::Value, E> {
            self.0.$method(x)
        }
    )*};
}

impl<'de, V: Visitor<'de>> Visitor<'de> for Number<V> {
    type Value = V::Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.expecting(f)
    }

    visits! { visit_bool(bool) visit_i64(i64) visit_u64(u64) visit_f64(f64) }

    fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<V::Value, E> {
        match text {
            "NaN" => self.0.visit_f64(f64::NAN),
            "Infinity" => self.0.visit_f64(f64::INFINITY),
            "-Infinity" => self.0.visit_f64(f64::NEG_INFINITY),
            _ => self.0.visit_str(text),
        }
    }

    fn visit_unit<E: serde::de::Error>(self) -> Result<V::Value, E> {
        self.0.visit_f64(f64::NAN)
    }
}

impl<'de, V: Visitor<'de>> Visitor<'de> for In<V> {
    type Value = V::Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.expecting(f)
    }

    visits! {
        visit_bool(bool) visit_i64(i64) visit_u64(u64) visit_f64(f64) visit_str(&str) visit_string(String)
        visit_borrowed_str(&'de str) visit_bytes(&[u8]) visit_borrowed_bytes(&'de [u8])
    }

    fn visit_none<E: serde::de::Error>(self) -> Result<V::Value, E> {
        self.0.visit_none()
    }

    fn visit_unit<E: serde::de::Error>(self) -> Result<V::Value, E> {
        self.0.visit_unit()
    }

    fn visit_some<D: Deserializer<'de>>(self, from: D) -> Result<V::Value, D::Error> {
        self.0.visit_some(In(from))
    }

    fn visit_newtype_struct<D: Deserializer<'de>>(self, from: D) -> Result<V::Value, D::Error> {
        self.0.visit_newtype_struct(In(from))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, from: A) -> Result<V::Value, A::Error> {
        self.0.visit_seq(In(from))
    }

    fn visit_map<A: MapAccess<'de>>(self, from: A) -> Result<V::Value, A::Error> {
        self.0.visit_map(In(from))
    }

    fn visit_enum<A: EnumAccess<'de>>(self, from: A) -> Result<V::Value, A::Error> {
        self.0.visit_enum(In(from))
    }
}

impl<'de, T: DeserializeSeed<'de>> DeserializeSeed<'de> for In<T> {
    type Value = T::Value;

    fn deserialize<D: Deserializer<'de>>(self, from: D) -> Result<T::Value, D::Error> {
        self.0.deserialize(In(from))
    }
}

impl<'de, A: SeqAccess<'de>> SeqAccess<'de> for In<A> {
    type Error = A::Error;

    fn next_element_seed<T: DeserializeSeed<'de>>(&mut self, of: T) -> Result<Option<T::Value>, A::Error> {
        self.0.next_element_seed(In(of))
    }

    fn size_hint(&self) -> Option<usize> {
        self.0.size_hint()
    }
}

impl<'de, A: MapAccess<'de>> MapAccess<'de> for In<A> {
    type Error = A::Error;

    fn next_key_seed<T: DeserializeSeed<'de>>(&mut self, of: T) -> Result<Option<T::Value>, A::Error> {
        self.0.next_key_seed(of)
    }

    fn next_value_seed<T: DeserializeSeed<'de>>(&mut self, of: T) -> Result<T::Value, A::Error> {
        self.0.next_value_seed(In(of))
    }

    fn size_hint(&self) -> Option<usize> {
        self.0.size_hint()
    }
}

impl<'de, A: EnumAccess<'de>> EnumAccess<'de> for In<A> {
    type Error = A::Error;
    type Variant = In<A::Variant>;

    fn variant_seed<T: DeserializeSeed<'de>>(self, of: T) -> Result<(T::Value, Self::Variant), A::Error> {
        self.0.variant_seed(of).map(|(value, variant)| (value, In(variant)))
    }
}

impl<'de, A: VariantAccess<'de>> VariantAccess<'de> for In<A> {
    type Error = A::Error;

    fn unit_variant(self) -> Result<(), A::Error> {
        self.0.unit_variant()
    }

    fn newtype_variant_seed<T: DeserializeSeed<'de>>(self, of: T) -> Result<T::Value, A::Error> {
        self.0.newtype_variant_seed(In(of))
    }

    fn tuple_variant<V: Visitor<'de>>(self, len: usize, visitor: V) -> Result<V::Value, A::Error> {
        self.0.tuple_variant(len, In(visitor))
    }

    fn struct_variant<V: Visitor<'de>>(
        self,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, A::Error> {
        self.0.struct_variant(fields, In(visitor))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde::Deserialize;
    use std::collections::BTreeMap;

    #[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
    enum Shape {
        Point,
        Width(f64),
        Box(f32, f64),
        Ring { inner: f64 },
    }

    #[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
    struct Unit(f64);

    #[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
    struct Everything {
        wide: f64,
        narrow: f32,
        none: Option<f64>,
        some: Option<f64>,
        pair: [f64; 2],
        points: Vec<(String, f64)>,
        sums: BTreeMap<String, (f64, u64)>,
        shapes: Vec<Shape>,
        unit: Unit,
        words: String,
    }

    fn with(x: f64) -> Everything {
        Everything {
            wide: x,
            narrow: x as f32,
            none: None,
            some: Some(x),
            pair: [x, 1.5],
            points: vec![("q".into(), x)],
            sums: [("loss".to_owned(), (x, u64::MAX))].into(),
            shapes: vec![Shape::Point, Shape::Width(x), Shape::Box(x as f32, x), Shape::Ring { inner: x }],
            unit: Unit(x),
            words: "NaN".into(),
        }
    }

    #[test]
    fn a_number_comes_back_as_it_went_out_wherever_it_stands() {
        for x in [f64::INFINITY, f64::NEG_INFINITY, f64::NAN, 0.1, -0.0, 1e300, f64::MIN_POSITIVE] {
            let value = with(x);
            for text in [to_string(&value).unwrap(), to_string_pretty(&value).unwrap()] {
                let back: Everything = from_str(&text).unwrap_or_else(|e| panic!("{x}: {e}: {text}"));
                assert_eq!(format!("{back:?}"), format!("{value:?}"));
            }
        }
        assert_eq!(to_string(&with(0.5)).unwrap(), serde_json::to_string(&with(0.5)).unwrap());
    }

    #[test]
    fn what_earlier_builds_wrote_is_read_and_other_words_are_not() {
        assert!(from_str::<f64>("null").unwrap().is_nan());
        assert_eq!(from_str::<Option<f64>>("null").unwrap(), None);
        assert_eq!(from_str::<Vec<f64>>("[1, -2, 0.5]").unwrap(), [1.0, -2.0, 0.5]);
        let error = from_str::<Vec<f64>>("[1, \"much\"]").unwrap_err().to_string();
        assert!(error.contains("much") && error.contains("line 1"), "{error}");
        assert!(from_str::<u64>("\"NaN\"").is_err() && from_str::<f64>("1 2").is_err());
    }
}
