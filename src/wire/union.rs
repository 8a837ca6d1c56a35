//! Objects whose `type` says what else they hold.
//!
//! Derived readers of such unions keep the fields aside until they know the type, and have forgotten by then which one
//! they are reading: an error would point to the whole object. Read through here it begins with the field, as
//! `at <field>: `, which [`split_field`] takes off again.

use std::fmt;
use std::marker::PhantomData;

use serde::de::value::MapDeserializer;
use serde::de::{DeserializeOwned, Error, MapAccess, Visitor};
use serde::{Deserialize, Deserializer};
use serde_json::Value;

/// The field that says which one it is.
const TAG: &str = "type";

/// A union that was a JSON object, its errors with the field they are about.
struct Union<T>(T);

type Field = (String, Value);

impl<'de, T: DeserializeOwned> Deserialize<'de> for Union<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(Entries(PhantomData)).map(Self)
    }
}

struct Entries<T>(PhantomData<T>);

impl<'de, T: DeserializeOwned> Visitor<'de> for Entries<T> {
    type Value = T;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<T, A::Error> {
        let mut fields: Vec<Field> = Vec::new();
        while let Some(field) = map.next_entry()? {
            fields.push(field);
        }
        // Whatever the order, the type decides how the others are read.
        fields.sort_by_key(|(name, _)| name != TAG);
        read::<T>(&fields).map_err(|error| match culprit::<T>(&fields, &error) {
            Some(field) => A::Error::custom(format_args!("at {field}: {error}")),
            None => A::Error::custom(error),
        })
    }
}

/// Reads a union from its fields; the error is a text.
fn read<T: DeserializeOwned>(fields: &[Field]) -> Result<T, String> {
    let fields = fields.iter().map(|(name, value)| (name.as_str(), value));
    T::deserialize(MapDeserializer::new(fields)).map_err(|error: serde_json::Error| error.to_string())
}

/// The field that an error is about: the first with which it comes. Fields that are missing, not known or said twice are
/// named by the error already; so all before the one that is looked for are known ones, and few.
fn culprit<'a, T: DeserializeOwned>(fields: &'a [Field], error: &str) -> Option<&'a str> {
    if ["missing field", "unknown field", "duplicate field"].iter().any(|named| error.starts_with(named)) {
        return None;
    }
    let last = (0..fields.len()).find(|last| read::<T>(&fields[..=*last]).is_err_and(|it| it == error))?;
    Some(&fields[last].0)
}

/// The field that the error of a union begins with, and the rest of its text.
#[must_use]
pub fn split_field(message: &str) -> Option<(&str, &str)> {
    message.strip_prefix("at ")?.split_once(": ")
}

/// A field that is a union.
pub(super) fn one<'de, D: Deserializer<'de>, T: DeserializeOwned>(deserializer: D) -> Result<T, D::Error> {
    Union::deserialize(deserializer).map(|Union(value)| value)
}

/// A field that is a union, null or absent.
pub(super) fn optional<'de, D: Deserializer<'de>, T: DeserializeOwned>(deserializer: D) -> Result<Option<T>, D::Error> {
    Option::deserialize(deserializer).map(|found| found.map(|Union(value)| value))
}

/// A field that is a list of unions.
pub(super) fn list<'de, D: Deserializer<'de>, T: DeserializeOwned>(deserializer: D) -> Result<Vec<T>, D::Error> {
    let found = Vec::deserialize(deserializer)?;
    Ok(found.into_iter().map(|Union(value)| value).collect())
}
