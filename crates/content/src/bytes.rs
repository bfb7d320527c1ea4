//! Bytes that are read once, in the order in which they lie: a blob's, what they unpack to, a file's in an archive.

use std::io;

use md5::Md5;
use sha2::{Digest as _, Sha256};

use crate::{Known, budget::Budget};

/// How far ahead [`Bytes::peek`] can be asked to look.
pub(crate) const AHEAD: usize = 64 << 10;

/// Why a pass ends before the end.
#[derive(Debug)]
pub(crate) enum Halt {
    /// The reader failed. The bytes are not to blame.
    Read(io::Error),
    /// The bytes can be followed no further: a broken compression, or a limit.
    Stream(String),
    /// The archive cannot be understood from here, although the bytes go on.
    Archive(String),
}

/// What fails on the way to the bytes is always the reader's.
impl From<io::Error> for Halt {
    fn from(error: io::Error) -> Self {
        Self::Read(error)
    }
}

/// A source of bytes. After a halt that is not the reader's it halts again for the same reason, whoever asks: so what reads a
/// file inside a file may fail on either, and reading on in the outer one tells which.
pub(crate) trait Bytes {
    /// At least `count` bytes, at most [`AHEAD`]; fewer only at the end.
    fn peek(&mut self, count: usize) -> Result<&[u8], Halt>;

    /// What can be seen without reading: all that the last peek showed and nobody consumed, perhaps more.
    fn buffered(&self) -> &[u8];

    /// Goes beyond bytes that were seen.
    fn consume(&mut self, count: usize);

    /// Hands the next bytes to `take` in pieces; false when there are fewer.
    fn take(&mut self, mut count: u64, take: &mut dyn FnMut(&[u8])) -> Result<bool, Halt> {
        while count > 0 {
            let bytes = self.peek(1)?;
            if bytes.is_empty() {
                return Ok(false);
            }
            let step = usize::try_from(count).unwrap_or(usize::MAX).min(bytes.len());
            take(&bytes[..step]);
            self.consume(step);
            count -= step as u64;
        }
        Ok(true)
    }

    /// Skips bytes; false when there are fewer.
    fn skip(&mut self, count: u64) -> Result<bool, Halt> {
        self.take(count, &mut |_| ())
    }

    /// Reads to the end; whether only zero bytes were left.
    fn rest_is_zero(&mut self) -> Result<bool, Halt> {
        let mut zero = true;
        self.take(u64::MAX, &mut |bytes| zero &= is_zero(bytes))?;
        Ok(zero)
    }
}

/// A hash that is being computed, unless it was known before.
pub(crate) enum Hashing {
    Known([u8; 32]),
    Running(Sha256),
}

impl Hashing {
    /// Starts unless the blob's digest is a SHA-256 that was verified.
    pub(crate) fn new(known: Option<Known>) -> Self {
        known.and_then(|known| known.digest.as_sha256().copied()).map_or_else(Self::running, Self::Known)
    }

    pub(crate) fn running() -> Self {
        Self::Running(Sha256::new())
    }
}

/// What all bytes of something are.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Whole {
    pub(crate) sha256: [u8; 32],
    pub(crate) size: u64,
    /// Where it is wanted.
    pub(crate) md5: Option<[u8; 16]>,
}

/// Bytes that are hashed as they are consumed.
pub(crate) struct Hashed<'a> {
    bytes: &'a mut (dyn Bytes + 'a),
    hash: Hashing,
    md5: Option<Md5>,
    read: u64,
    feeds: Option<&'a Budget>,
}

impl<'a> Hashed<'a> {
    pub(crate) fn new(bytes: &'a mut (dyn Bytes + 'a), hash: Hashing) -> Self {
        Self { bytes, hash, md5: None, read: 0, feeds: None }
    }

    /// Computes the MD5 as well, if that is `wanted`. Nothing may have been consumed yet.
    pub(crate) fn with_md5(mut self, wanted: bool) -> Self {
        self.md5 = wanted.then(Md5::default);
        self
    }

    /// Computes no MD5: nobody will ask for it.
    pub(crate) fn without_md5(&mut self) {
        self.md5 = None;
    }

    /// From here on, as much as is consumed may unpack to more.
    pub(crate) fn feed(&mut self, budget: &'a Budget) {
        self.feeds = Some(budget);
    }

    /// How many bytes were consumed.
    pub(crate) fn position(&self) -> u64 {
        self.read
    }

    /// The hash of all bytes, if it is known without reading them and nothing else is wanted.
    pub(crate) fn known(&self) -> Option<[u8; 32]> {
        match self.hash {
            Hashing::Known(hash) if self.md5.is_none() => Some(hash),
            Hashing::Known(_) | Hashing::Running(_) => None,
        }
    }

    /// Reads to the end; what all bytes are.
    pub(crate) fn finish(&mut self) -> Result<Whole, Halt> {
        self.skip(u64::MAX)?;
        let sha256 = match &self.hash {
            Hashing::Known(hash) => *hash,
            Hashing::Running(hash) => hash.clone().finalize().into(),
        };
        let md5 = self.md5.as_ref().map(|hash| hash.clone().finalize().into());
        Ok(Whole { sha256, size: self.read, md5 })
    }
}

impl Bytes for Hashed<'_> {
    fn peek(&mut self, count: usize) -> Result<&[u8], Halt> {
        self.bytes.peek(count)
    }

    fn buffered(&self) -> &[u8] {
        self.bytes.buffered()
    }

    fn consume(&mut self, count: usize) {
        let consumed = &self.bytes.buffered()[..count];
        if let Hashing::Running(hash) = &mut self.hash {
            hash.update(consumed);
        }
        if let Some(hash) = &mut self.md5 {
            hash.update(consumed);
        }
        self.bytes.consume(count);
        self.read += count as u64;
        if let Some(budget) = self.feeds {
            budget.fed(count);
        }
    }
}

/// A buffer that is filled at one end and emptied at the other.
#[derive(Default)]
pub(crate) struct Window {
    buffer: Box<[u8]>,
    start: usize,
    end: usize,
}

impl Window {
    pub(crate) fn new(capacity: usize) -> Self {
        Self { buffer: vec![0; capacity].into_boxed_slice(), start: 0, end: 0 }
    }

    /// The buffer with nothing in it, or a new one if it has another capacity.
    pub(crate) fn empty(self, capacity: usize) -> Self {
        if self.buffer.len() == capacity { Self { start: 0, end: 0, ..self } } else { Self::new(capacity) }
    }

    pub(crate) fn bytes(&self) -> &[u8] {
        &self.buffer[self.start..self.end]
    }

    pub(crate) fn consume(&mut self, count: usize) {
        debug_assert!(count <= self.bytes().len());
        self.start = self.end.min(self.start + count);
    }

    /// The free space, all of it: what is left is moved to the front. It is little wherever this is called.
    pub(crate) fn space(&mut self) -> &mut [u8] {
        self.buffer.copy_within(self.start..self.end, 0);
        self.end -= self.start;
        self.start = 0;
        &mut self.buffer[self.end..]
    }

    /// Takes the first bytes of the space as filled.
    pub(crate) fn fill(&mut self, count: usize) {
        self.end = self.buffer.len().min(self.end + count);
    }
}

/// Whether all bytes are zero.
pub(crate) fn is_zero(bytes: &[u8]) -> bool {
    // The first byte mostly decides. Folding a piece without looking is much faster than looking at each byte.
    bytes.first().is_none_or(|&first| first == 0)
        && bytes.chunks(512).all(|piece| piece.iter().fold(0, |all, byte| all | byte) == 0)
}
