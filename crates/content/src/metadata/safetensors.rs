//! safetensors: the length of a JSON object, the object, and the bytes of the tensors.

use std::fmt;

use serde::{
    Deserialize, Deserializer,
    de::{IgnoredAny, MapAccess, SeqAccess, Visitor},
};

use super::{ENTRIES, Fault, Metadata, Tensor, broken, cut};
use crate::bytes::{Bytes, Hashed};

/// The longest header that the format allows.
const LONGEST: u64 = 100_000_000;

/// The most dimensions of a tensor.
const DIMENSIONS: usize = 32;

/// Whether bytes begin as the format does, which has no magic number.
pub(super) fn is_safetensors(start: &[u8]) -> bool {
    length(start).is_some_and(|length| (2..=LONGEST).contains(&length)) && start.get(8) == Some(&b'{')
}

fn length(start: &[u8]) -> Option<u64> {
    start.first_chunk().copied().map(u64::from_le_bytes)
}

pub(super) fn read(content: &mut Hashed<'_>, limit: usize, metadata: &mut Metadata) -> Result<(), Fault> {
    let length = length(content.peek(8)?).ok_or_else(cut)?;
    content.consume(8);
    if length > limit as u64 {
        return Err(Fault::Broken(format!("the header of {length} bytes exceeds the limit of {limit}")));
    }
    let mut header = Vec::new();
    if !content.take(length, &mut |bytes| header.extend_from_slice(bytes))? {
        return Err(cut());
    }
    let Header { entries, tensors } =
        serde_json::from_slice(&header).map_err(|error| Fault::Broken(format!("the header is malformed: {error}")))?;
    drop(header);
    metadata.entry_count = entries.count;
    for (name, value) in entries.some {
        metadata.keep(name, value);
    }
    let start = content.position();
    let tensors = tensors.into_iter().map(|(name, listed)| listed.tensor(name, start));
    metadata.tensors = tensors.collect::<Result<_, _>>()?;
    metadata.tensors.sort_by(|a, b| (a.offset, &a.name).cmp(&(b.offset, &b.name)));
    metadata.hash_tensors(content)
}

/// The JSON object: tensors by name, and one member that is none.
struct Header {
    entries: Entries,
    tensors: Vec<(String, Listed)>,
}

/// How many entries there are, and the texts among the first few.
#[derive(Default)]
struct Entries {
    count: u64,
    some: Vec<(String, String)>,
}

/// A tensor as the header has it.
#[derive(Deserialize)]
struct Listed {
    dtype: String,
    shape: Shape,
    data_offsets: (u64, u64),
}

struct Shape(Vec<u64>);

/// A text, or anything else.
struct Text(Option<String>);

impl Listed {
    fn tensor(self, name: String, start: u64) -> Result<Tensor, Fault> {
        let (Self { dtype, shape: Shape(shape), data_offsets: (begin, end) }, wrong) = (self, || wrong(&name));
        let size = end.checked_sub(begin).ok_or_else(wrong)?;
        let offset = start.checked_add(begin).ok_or_else(wrong)?;
        if let Some(bits) = bits(&dtype) {
            let needed = shape.iter().try_fold(bits, |bits, &extent| bits.checked_mul(extent)).ok_or_else(wrong)?;
            if size.checked_mul(8) != Some(needed) {
                return Err(wrong());
            }
        }
        Ok(Tensor { name, dtype, shape, offset, size, sha256: None, constant: false })
    }
}

fn wrong(name: &str) -> Fault {
    let shown: String = name.chars().take(100).collect();
    broken(&format!("the size of a tensor is wrong: {shown:?}"))
}

/// The bits of a number of a type, if it is known here.
fn bits(dtype: &str) -> Option<u64> {
    Some(match dtype {
        "F4" => 4,
        "F6_E2M3" | "F6_E3M2" => 6,
        "BOOL" | "U8" | "I8" | "F8_E4M3" | "F8_E5M2" | "F8_E8M0" => 8,
        "U16" | "I16" | "F16" | "BF16" => 16,
        "U32" | "I32" | "F32" => 32,
        "U64" | "I64" | "F64" | "C64" => 64,
        _ => return None,
    })
}

impl<'de> Deserialize<'de> for Header {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Members;
        impl<'de> Visitor<'de> for Members {
            type Value = Header;

            fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str("tensors by name")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Header, A::Error> {
                let mut header = Header { entries: Entries::default(), tensors: Vec::new() };
                while let Some(name) = map.next_key::<String>()? {
                    if name == "__metadata__" {
                        header.entries = map.next_value()?;
                    } else {
                        header.tensors.push((name, map.next_value()?));
                    }
                }
                Ok(header)
            }
        }
        deserializer.deserialize_map(Members)
    }
}

impl<'de> Deserialize<'de> for Entries {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Members;
        impl<'de> Visitor<'de> for Members {
            type Value = Entries;

            fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str("texts by name")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Entries, A::Error> {
                let mut entries = Entries::default();
                while let Some((name, Text(value))) = map.next_entry::<String, Text>()? {
                    entries.count += 1;
                    if let Some(value) = value.filter(|_| entries.some.len() < ENTRIES) {
                        entries.some.push((name, value));
                    }
                }
                Ok(entries)
            }
        }
        deserializer.deserialize_map(Members)
    }
}

impl<'de> Deserialize<'de> for Shape {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Extents;
        impl<'de> Visitor<'de> for Extents {
            type Value = Shape;

            fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(formatter, "at most {DIMENSIONS} numbers")
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Shape, A::Error> {
                let mut shape = Vec::new();
                while let Some(extent) = seq.next_element()? {
                    if shape.len() == DIMENSIONS {
                        return Err(serde::de::Error::invalid_length(DIMENSIONS + 1, &self));
                    }
                    shape.push(extent);
                }
                Ok(Shape(shape))
            }
        }
        deserializer.deserialize_seq(Extents)
    }
}

impl<'de> Deserialize<'de> for Text {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Any;
        impl<'de> Visitor<'de> for Any {
            type Value = Text;

            fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str("a text")
            }

            fn visit_str<E>(self, text: &str) -> Result<Text, E> {
                Ok(Text(Some(text.to_owned())))
            }

            fn visit_bool<E>(self, _: bool) -> Result<Text, E> {
                Ok(Text(None))
            }

            fn visit_u64<E>(self, _: u64) -> Result<Text, E> {
                Ok(Text(None))
            }

            fn visit_i64<E>(self, _: i64) -> Result<Text, E> {
                Ok(Text(None))
            }

            fn visit_f64<E>(self, _: f64) -> Result<Text, E> {
                Ok(Text(None))
            }

            fn visit_unit<E>(self) -> Result<Text, E> {
                Ok(Text(None))
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Text, A::Error> {
                while seq.next_element::<IgnoredAny>()?.is_some() {}
                Ok(Text(None))
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Text, A::Error> {
                while map.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
                Ok(Text(None))
            }
        }
        deserializer.deserialize_any(Any)
    }
}
