//! JSON within bounds, and lenient reading of it. An absent member, null and an empty text are the same.

use std::cell::Cell;
use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, Error, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Value};

use crate::problems::Problems;
use crate::{STATEMENT_LIMIT, Unread, VALUES_LIMIT};

/// Reads a document. Characters that no text can hold are replaced, as [`oci::json_text`] does it.
pub(crate) fn parse(bytes: &[u8]) -> Result<Value, Unread> {
    if bytes.len() > STATEMENT_LIMIT {
        return Err(Unread::Bytes(STATEMENT_LIMIT));
    }
    let text = oci::json_text(bytes);
    // Windows editors begin a file with it.
    let mut reader = serde_json::Deserializer::from_str(text.trim_start_matches('\u{feff}'));
    let left = Cell::new(VALUES_LIMIT);
    let document = Counted(&left).deserialize(&mut reader).and_then(|document| reader.end().map(|()| document));
    document.map_err(|error| match left.get() {
        0 => Unread::Values(VALUES_LIMIT),
        _ => Unread::Json(error.to_string()),
    })
}

/// The text of a member, without white space around it.
pub(crate) fn text(value: &Value) -> Option<&str> {
    value.as_str().map(str::trim).filter(|text| !text.is_empty())
}

/// The entries of a list, at most `limit` of them.
pub(crate) fn list<'a>(value: &'a Value, place: &str, limit: usize, problems: &mut Problems) -> &'a [Value] {
    match value {
        Value::Null => &[],
        Value::Array(entries) if entries.len() > limit => {
            problems.lost(format!("{place} has {} entries, {limit} are read", entries.len()));
            &entries[..limit]
        }
        Value::Array(entries) => entries,
        _ => {
            problems.lost(format!("{place} is not a list"));
            &[]
        }
    }
}

/// Reads any value as long as some are left.
#[derive(Clone, Copy)]
struct Counted<'a>(&'a Cell<usize>);

impl Counted<'_> {
    fn take<E: Error>(self) -> Result<(), E> {
        self.0.set(self.0.get().saturating_sub(1));
        if self.0.get() == 0 { Err(E::custom("too many values")) } else { Ok(()) }
    }
}

impl<'de> DeserializeSeed<'de> for Counted<'_> {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        self.take()?;
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Counted<'_> {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_unit<E: Error>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E: Error>(self, value: bool) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_i64<E: Error>(self, value: i64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_u64<E: Error>(self, value: u64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_f64<E: Error>(self, value: f64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_str<E: Error>(self, value: &str) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_string<E: Error>(self, value: String) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut entries: A) -> Result<Value, A::Error> {
        let mut values = Vec::new();
        while let Some(value) = entries.next_element_seed(self)? {
            values.push(value);
        }
        Ok(values.into())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Value, A::Error> {
        let mut members = Map::new();
        while let Some(name) = entries.next_key::<String>()? {
            self.take()?;
            members.insert(name, entries.next_value_seed(self)?);
        }
        Ok(members.into())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn limits() {
        let zeros = |count: usize| format!("[0{}]", ",0".repeat(count - 1)).into_bytes();
        assert!(parse(&zeros(VALUES_LIMIT - 2)).is_ok());
        assert_eq!(parse(&zeros(VALUES_LIMIT)), Err(Unread::Values(VALUES_LIMIT)));
        assert_eq!(parse(&vec![b' '; STATEMENT_LIMIT + 1]), Err(Unread::Bytes(STATEMENT_LIMIT)));
        for text in ["", "{", "{} x", "nothing", &"[".repeat(100_000)] {
            assert!(matches!(parse(text.as_bytes()), Err(Unread::Json(_))), "{text:.20}");
        }
    }

    proptest! {
        #[test]
        fn it_reads_what_serde_reads(text in "[\\[\\]{}\",:0-9a.e\\-]{0,40}") {
            prop_assert_eq!(parse(text.as_bytes()).ok(), serde_json::from_str::<Value>(&text).ok());
        }
    }
}
