//! Parquet: columns of rows, and behind them a footer that says what they are.

use super::{
    Column, Fault, Metadata, broken,
    thrift::{Reader, Type},
};
use crate::bytes::{Bytes, Hashed};

/// What follows the footer: its length, and the magic number.
const END: usize = 8;

/// How deep a schema may be.
const DEPTH: usize = 64;

pub(super) fn read(content: &mut Hashed<'_>, limit: usize, metadata: &mut Metadata) -> Result<(), Fault> {
    let mut tail = Tail { bytes: Vec::new(), most: limit.saturating_add(END), next: 0 };
    content.take(u64::MAX, &mut |bytes| tail.push(bytes))?;
    let tail = tail.into_bytes();
    let (footer, length) = match tail.split_last_chunk::<END>() {
        Some((rest, &[a, b, c, d, b'P', b'A', b'R', b'1'])) => (rest, u32::from_le_bytes([a, b, c, d]) as usize),
        Some((_, [.., b'P', b'A', b'R', b'E'])) => return Err(broken("the footer is encrypted")),
        _ => return Err(broken("the file is cut short")),
    };
    if length > limit {
        return Err(Fault::Broken(format!("the footer of {length} bytes exceeds the limit of {limit}")));
    }
    let start = footer.len().checked_sub(length).ok_or_else(|| broken("the footer is longer than the file"))?;
    file(&mut Reader(&footer[start..]), limit, metadata).ok_or_else(|| broken("the footer is malformed"))
}

/// The last bytes of those that are pushed.
struct Tail {
    bytes: Vec<u8>,
    most: usize,
    /// Where the oldest byte is, once there are `most`.
    next: usize,
}

impl Tail {
    fn push(&mut self, bytes: &[u8]) {
        let bytes = &bytes[bytes.len().saturating_sub(self.most)..];
        let (grow, mut bytes) = bytes.split_at(bytes.len().min(self.most - self.bytes.len()));
        self.bytes.extend_from_slice(grow);
        while !bytes.is_empty() {
            let (now, rest) = bytes.split_at(bytes.len().min(self.most - self.next));
            self.bytes[self.next..self.next + now.len()].copy_from_slice(now);
            self.next = (self.next + now.len()) % self.most;
            bytes = rest;
        }
    }

    fn into_bytes(mut self) -> Vec<u8> {
        self.bytes.rotate_left(self.next);
        self.bytes
    }
}

/// `FileMetaData`: the schema, the number of rows, groups of rows, pairs of keys and values.
fn file(footer: &mut Reader<'_>, limit: usize, metadata: &mut Metadata) -> Option<()> {
    let mut columns = None;
    footer.fields(|footer, number, kind| {
        match (number, kind) {
            (2, Type::List) => columns = Some(schema(footer, limit)?),
            (3, Type::Integer) => metadata.rows = Some(u64::try_from(footer.integer()?).ok()?),
            (5, Type::List) => pairs(footer, metadata)?,
            _ => return Some(false),
        }
        Some(true)
    })?;
    metadata.columns = columns?;
    metadata.rows.map(drop)
}

fn pairs(footer: &mut Reader<'_>, metadata: &mut Metadata) -> Option<()> {
    let (Type::Struct, count) = footer.list()? else { return None };
    for _ in 0..count {
        let (mut name, mut value) = (&b""[..], &b""[..]);
        footer.fields(|footer, number, kind| {
            match (number, kind) {
                (1, Type::Binary) => name = footer.binary()?,
                (2, Type::Binary) => value = footer.binary()?,
                _ => return Some(false),
            }
            Some(true)
        })?;
        metadata.entry_count += 1;
        // Arrow's own form of the schema tells nothing new.
        if name != b"ARROW:schema" && name.len() <= super::NAME && value.len() <= super::VALUE {
            metadata.keep(text(name), text(value));
        }
    }
    Some(())
}

/// The schema is a tree, listed with every node before its children.
fn schema(footer: &mut Reader<'_>, limit: usize) -> Option<Vec<Column>> {
    let (Type::Struct, count) = footer.list()? else { return None };
    let mut columns = Vec::new();
    let mut held = 0_usize;
    // Of each node from the root to where the list is: how many children are to come, and how long the path is up to it.
    let mut open: Vec<(u64, usize)> = Vec::new();
    let mut path = String::new();
    for at in 0..count {
        let node = Node::read(footer)?;
        if at == 0 {
            // The root has a name that is none of the columns'.
            open.push((node.children, 0));
            continue;
        }
        while open.last()?.0 == 0 {
            open.pop();
        }
        let (left, length) = open.last_mut()?;
        *left -= 1;
        path.truncate(*length);
        if !path.is_empty() {
            path.push('.');
        }
        path.push_str(&text(node.name));
        if node.children > 0 {
            open.push((node.children, path.len()));
        } else {
            held += path.len() + size_of::<Column>();
            columns.push(Column {
                path: path.clone(),
                kind: node.kind?,
                logical: node.logical,
                repetition: node.repetition,
            });
        }
        if open.len() > DEPTH || held > limit {
            return None;
        }
    }
    open.iter().all(|(left, _)| *left == 0).then_some(columns)
}

/// `SchemaElement`
struct Node<'a> {
    name: &'a [u8],
    kind: Option<&'static str>,
    logical: Option<&'static str>,
    repetition: &'static str,
    children: u64,
}

impl<'a> Node<'a> {
    fn read(footer: &mut Reader<'a>) -> Option<Self> {
        let mut node = Self { name: b"", kind: None, logical: None, repetition: "required", children: 0 };
        let mut converted = None;
        footer.fields(|footer, number, kind| {
            match (number, kind) {
                (1, Type::Integer) => node.kind = Some(stored(footer.integer()?)?),
                (3, Type::Integer) => {
                    node.repetition = match footer.integer()? {
                        0 => "required",
                        1 => "optional",
                        2 => "repeated",
                        _ => return None,
                    }
                }
                (4, Type::Binary) => node.name = footer.binary()?,
                (5, Type::Integer) => node.children = u64::try_from(footer.integer()?).ok()?,
                (6, Type::Integer) => converted = converted_type(footer.integer()?),
                (10, Type::Struct) => footer.fields(|_, number, _| {
                    node.logical = logical_type(number);
                    Some(false)
                })?,
                _ => return Some(false),
            }
            Some(true)
        })?;
        node.logical = node.logical.or(converted);
        Some(node)
    }
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

fn stored(kind: i64) -> Option<&'static str> {
    const TYPES: [&str; 8] =
        ["BOOLEAN", "INT32", "INT64", "INT96", "FLOAT", "DOUBLE", "BYTE_ARRAY", "FIXED_LEN_BYTE_ARRAY"];
    TYPES.get(usize::try_from(kind).ok()?).copied()
}

/// The member of the union `LogicalType` of this number.
fn logical_type(number: i64) -> Option<&'static str> {
    Some(match number {
        1 => "STRING",
        2 => "MAP",
        3 => "LIST",
        4 => "ENUM",
        5 => "DECIMAL",
        6 => "DATE",
        7 => "TIME",
        8 => "TIMESTAMP",
        10 => "INTEGER",
        11 => "UNKNOWN",
        12 => "JSON",
        13 => "BSON",
        14 => "UUID",
        15 => "FLOAT16",
        16 => "VARIANT",
        17 => "GEOMETRY",
        18 => "GEOGRAPHY",
        _ => return None,
    })
}

/// The same of the older `ConvertedType`.
fn converted_type(kind: i64) -> Option<&'static str> {
    Some(match kind {
        0 => "STRING",
        1 | 2 => "MAP",
        3 => "LIST",
        4 => "ENUM",
        5 => "DECIMAL",
        6 => "DATE",
        7 | 8 => "TIME",
        9 | 10 => "TIMESTAMP",
        11..=18 => "INTEGER",
        19 => "JSON",
        20 => "BSON",
        21 => "INTERVAL",
        _ => return None,
    })
}
