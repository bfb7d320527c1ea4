//! The JSON of bundles and trusted roots: bounded lists, and protobuf's ways of writing numbers and bytes.

use std::{borrow::Cow, fmt, marker::PhantomData};

use base64::{
    Engine as _,
    alphabet::{STANDARD as ALPHABET, URL_SAFE as URL_ALPHABET},
    engine::general_purpose::{GeneralPurpose, PAD},
};
use serde::{
    Deserialize, Deserializer,
    de::{self, SeqAccess, Visitor},
};

const STANDARD: GeneralPurpose = GeneralPurpose::new(&ALPHABET, PAD);
const URL_SAFE: GeneralPurpose = GeneralPurpose::new(&URL_ALPHABET, PAD);

/// The bytes of a base64 text of either alphabet, padded (DSSE, "Envelope"; protobuf, "JSON Mapping").
pub(crate) fn decode(text: &str) -> Option<Vec<u8>> {
    let engine = if text.contains(['-', '_']) { &URL_SAFE } else { &STANDARD };
    engine.decode(text).ok()
}

/// The padded standard base64 text of bytes.
pub(crate) fn encode(bytes: &[u8]) -> String {
    STANDARD.encode(bytes)
}

/// Bytes that stand as base64.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Base64(pub(crate) Vec<u8>);

impl<'de> Deserialize<'de> for Base64 {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = text(deserializer)?;
        decode(&text).map(Self).ok_or_else(|| de::Error::custom("a value is not base64"))
    }
}

/// A text, borrowed where it has no escapes.
pub(crate) fn text<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Cow<'de, str>, D::Error> {
    struct Text;

    impl<'de> Visitor<'de> for Text {
        type Value = Cow<'de, str>;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("a text")
        }

        fn visit_borrowed_str<E>(self, text: &'de str) -> Result<Self::Value, E> {
            Ok(Cow::Borrowed(text))
        }

        fn visit_str<E>(self, text: &str) -> Result<Self::Value, E> {
            Ok(Cow::Owned(text.to_owned()))
        }
    }

    deserializer.deserialize_str(Text)
}

/// A number of up to 64 bits, which protobuf writes as a text and others as a number.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Number(pub(crate) i64);

impl<'de> Deserialize<'de> for Number {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Digits;

        impl Visitor<'_> for Digits {
            type Value = i64;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a whole number")
            }

            fn visit_i64<E>(self, number: i64) -> Result<i64, E> {
                Ok(number)
            }

            fn visit_u64<E: de::Error>(self, number: u64) -> Result<i64, E> {
                i64::try_from(number).map_err(|_| E::custom("a number is too large"))
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<i64, E> {
                text.parse().map_err(|_| E::custom("a text is not a whole number"))
            }
        }

        deserializer.deserialize_any(Digits).map(Self)
    }
}

/// A list of at most `LIMIT` items. Reading stops at one more, so that a document of small items costs no more memory
/// than its own size. Null is an empty list.
#[derive(Debug, Clone)]
pub(crate) struct List<T, const LIMIT: usize>(pub(crate) Vec<T>);

impl<T, const LIMIT: usize> Default for List<T, LIMIT> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

impl<'de, T: Deserialize<'de>, const LIMIT: usize> Deserialize<'de> for List<T, LIMIT> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Items<T, const LIMIT: usize>(PhantomData<T>);

        impl<'de, T: Deserialize<'de>, const LIMIT: usize> Visitor<'de> for Items<T, LIMIT> {
            type Value = Vec<T>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a list")
            }

            fn visit_unit<E>(self) -> Result<Vec<T>, E> {
                Ok(Vec::new())
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Vec<T>, A::Error> {
                let mut list = Vec::new();
                while let Some(item) = items.next_element()? {
                    if list.len() == LIMIT {
                        return Err(de::Error::custom(format_args!("a list has more than {LIMIT} items")));
                    }
                    list.push(item);
                }
                Ok(list)
            }
        }

        deserializer.deserialize_any(Items::<T, LIMIT>(PhantomData)).map(Self)
    }
}
