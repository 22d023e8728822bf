//! Parts of a form that are objects.

use std::fmt;
use std::marker::PhantomData;

use serde::de::value::MapAccessDeserializer;
use serde::de::{Deserialize, DeserializeOwned, Deserializer, MapAccess, Visitor};

/// A JSON object that is read into `T`, and nothing else: serde by itself reads structs from arrays, too.
pub(super) struct Object<T>(pub(super) T);

/// A part of a form.
pub(super) trait ObjectForm: DeserializeOwned {
    /// Tells people which object is expected.
    const IS: &'static str;
}

impl<'de, T: ObjectForm> Deserialize<'de> for Object<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Object<T>, D::Error> {
        deserializer.deserialize_map(ObjectVisitor(PhantomData))
    }
}

struct ObjectVisitor<T>(PhantomData<T>);

impl<'de, T: ObjectForm> Visitor<'de> for ObjectVisitor<T> {
    type Value = Object<T>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(T::IS)
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Object<T>, A::Error> {
        T::deserialize(MapAccessDeserializer::new(map)).map(Object)
    }
}

/// The error in the words of JSON, not in those of the code that reads it.
pub(super) fn explain(error: &serde_json::Error) -> String {
    let words = [
        ("invalid type: map", "invalid type: object"),
        ("invalid type: sequence", "invalid type: array"),
        ("expected a sequence", "expected an array"),
        ("expected i64", "expected a number"),
        ("expected usize", "expected a number from 0 on"),
    ];
    let text = error.to_string();
    words
        .iter()
        .fold(text, |text, (code, plain)| text.replacen(code, plain, 1))
}
