//! The records of a zip.

use sha2::{Digest as _, Sha256};

use super::{broken, cut};
use crate::bytes::{Bytes, Halt, Hashed};

/// The length of what every record begins with.
pub(super) const SIGNATURE: usize = 4;

pub(super) const LOCAL: [u8; SIGNATURE] = *b"PK\x03\x04";
pub(super) const DESCRIPTOR: [u8; SIGNATURE] = *b"PK\x07\x08";
pub(super) const DIRECTORY: [u8; SIGNATURE] = *b"PK\x01\x02";
pub(super) const TABLE_SIGNATURE: [u8; SIGNATURE] = *b"PK\x05\x05";
pub(super) const END: [u8; SIGNATURE] = *b"PK\x05\x06";
pub(super) const END_64: [u8; SIGNATURE] = *b"PK\x06\x06";
pub(super) const LOCATOR: [u8; SIGNATURE] = *b"PK\x06\x07";
pub(super) const EXTRA: [u8; SIGNATURE] = *b"PK\x06\x08";

/// The length of a local header, and of one in the central directory, without what varies.
const LOCAL_LENGTH: usize = 30;
const LISTED_LENGTH: usize = 46;

/// The most that a descriptor takes.
pub(super) const DESCRIPTOR_MOST: usize = 24;

/// What a field of 32 bits says when the number is in the extra field.
const ELSEWHERE: u64 = 0xffff_ffff;

/// Whether bytes begin as a zip with entries does.
pub(crate) fn is_zip(start: &[u8]) -> bool {
    start.starts_with(&LOCAL) && start.len() >= LOCAL_LENGTH && number(&start[26..28]) > 0
}

pub(super) fn signature(bytes: &[u8]) -> Option<[u8; SIGNATURE]> {
    bytes.first_chunk().copied()
}

/// A number, little-endian, of at most eight bytes.
pub(super) fn number(bytes: &[u8]) -> u64 {
    bytes.iter().rev().fold(0, |number, &byte| number << 8 | u64::from(byte))
}

/// How an entry is stored, as far as it is known here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Method {
    Stored,
    Deflated,
    /// Encrypted, or compressed otherwise.
    Opaque,
}

impl Method {
    fn of(flags: u64, method: u64) -> Self {
        // Encrypted; patched data; strongly encrypted; headers masked.
        const SEALED: u64 = 1 | 1 << 5 | 1 << 6 | 1 << 13;
        match method {
            _ if flags & SEALED != 0 => Self::Opaque,
            0 => Self::Stored,
            8 => Self::Deflated,
            _ => Self::Opaque,
        }
    }
}

/// The header in front of an entry.
pub(super) struct Local {
    pub(super) path: Vec<u8>,
    pub(super) method: Method,
    /// Whether a descriptor behind the entry repeats its checksum and sizes.
    pub(super) streamed: bool,
    pub(super) crc: u64,
    /// The size as it is stored, and of the content; `None` if only the descriptor has them.
    pub(super) sizes: Option<(u64, u64)>,
}

impl Local {
    /// Reads a header up to the entry's content. The path may be of `limit` bytes.
    pub(super) fn read(bytes: &mut Hashed<'_>, limit: usize) -> Result<Self, Halt> {
        let Some(fields) = bytes.peek(LOCAL_LENGTH)?.first_chunk::<LOCAL_LENGTH>().copied() else {
            return Err(cut(bytes));
        };
        let field = |at: usize, width: usize| number(&fields[at..at + width]);
        let (flags, crc) = (field(6, 2), field(14, 4));
        let (mut packed, mut size) = (field(18, 4), field(22, 4));
        bytes.consume(LOCAL_LENGTH);
        let path = text(bytes, field(26, 2))?;
        if path.len() > limit {
            return Err(broken(&format!("the limit of {limit} bytes a path is exceeded")));
        }
        let extra = text(bytes, field(28, 2))?;
        zip64(&extra, &mut [&mut size, &mut packed]);
        let streamed = flags & 8 != 0;
        let sizes = (!streamed || packed > 0).then_some((packed, size));
        Ok(Self { path, method: Method::of(flags, field(8, 2)), streamed, crc, sizes })
    }
}

/// An entry of the table of contents, which zip calls the central directory.
pub(super) struct Listed {
    pub(super) path: Vec<u8>,
    /// What identifies it, as [`mark`] and [`finish`] make it.
    pub(super) mark: Sha256,
    /// Whether it is a symbolic link, whose content is its target.
    pub(super) link: bool,
}

impl Listed {
    pub(super) fn read(bytes: &mut Hashed<'_>) -> Result<Self, Halt> {
        let Some(fields) = bytes.peek(LISTED_LENGTH)?.first_chunk::<LISTED_LENGTH>().copied() else {
            return Err(cut(bytes));
        };
        let field = |at: usize, width: usize| number(&fields[at..at + width]);
        bytes.consume(LISTED_LENGTH);
        let path = text(bytes, field(28, 2))?;
        let extra = text(bytes, field(30, 2))?;
        if !bytes.skip(field(32, 2))? {
            return Err(cut(bytes));
        }
        let (mut packed, mut size, mut offset) = (field(20, 4), field(24, 4), field(42, 4));
        zip64(&extra, &mut [&mut size, &mut packed, &mut offset]);
        let method = Method::of(field(8, 2), field(10, 2));
        let mut mark = mark(offset, &path, method);
        finish(&mut mark, method, field(16, 4), packed, size);
        // Unix, and macOS, have the mode in the upper half of the attributes.
        let link = matches!(field(5, 1), 3 | 19) && field(40, 2) & 0o170_000 == 0o120_000;
        Ok(Self { path, mark, link })
    }
}

/// What identifies an entry, as far as it is known before its content is read.
pub(super) fn mark(offset: u64, path: &[u8], method: Method) -> Sha256 {
    let mut mark = Sha256::new();
    mark.update([method as u8]);
    mark.update(offset.to_le_bytes());
    mark.update(path);
    mark
}

/// Adds what its content tells. Of one that is opaque only the place counts, as some writers hide the rest. Some others get
/// sizes beyond 32 bits wrong in the higher bits.
pub(super) fn finish(mark: &mut Sha256, method: Method, crc: u64, packed: u64, size: u64) {
    if method != Method::Opaque {
        for number in [crc, packed, size] {
            mark.update(&number.to_le_bytes()[..4]);
        }
    }
}

/// The length of the descriptor that bytes begin with, if it tells these sizes and checksum, and if another record follows. Whether
/// it has a signature and how wide its sizes are is nowhere told.
pub(super) fn descriptor(bytes: &[u8], method: Method, crc: u64, packed: u64, size: u64) -> Option<usize> {
    let forms = [(SIGNATURE, 4), (SIGNATURE, 8), (0, 4), (0, 8)];
    let mut fitting = forms.into_iter().filter_map(|(start, width)| {
        let length = start + 4 + 2 * width;
        let fields = bytes.get(start..length)?;
        let same = |at: usize, width: usize, number: u64| fields[at..at + width] == number.to_le_bytes()[..width];
        let content = method == Method::Opaque || same(0, 4, crc) && same(4 + width, width, size);
        let follows = matches!(signature(&bytes[length..])?, LOCAL | DIRECTORY | EXTRA);
        (bytes[..start] == DESCRIPTOR[..start] && same(4, width, packed) && content && follows).then_some(length)
    });
    fitting.next()
}

/// The next bytes.
fn text(bytes: &mut Hashed<'_>, length: u64) -> Result<Vec<u8>, Halt> {
    let mut text = Vec::new();
    if !bytes.take(length, &mut |bytes| text.extend_from_slice(bytes))? {
        return Err(cut(bytes));
    }
    Ok(text)
}

/// Takes the numbers that are too large for their fields from where they are.
fn zip64(mut extra: &[u8], numbers: &mut [&mut u64]) {
    // What is no list of fields is padding, which some writers align entries with.
    while let Some((head, rest)) = extra.split_first_chunk::<4>() {
        let (id, length) = (number(&head[..2]), number(&head[2..]));
        let Some((field, rest)) = usize::try_from(length).ok().and_then(|length| rest.split_at_checked(length)) else {
            return;
        };
        if id == 1 {
            let mut values = field.chunks_exact(8).map(number);
            for wide in numbers.iter_mut().filter(|wide| ***wide == ELSEWHERE) {
                if let Some(value) = values.next() {
                    **wide = value;
                }
            }
            return;
        }
        extra = rest;
    }
}
