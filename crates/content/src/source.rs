//! The blob's bytes as they are stored, and where a pass over them ends.

use std::io::{self, Read};

use sha2::{Digest as _, Sha256};

use crate::Known;

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

/// A hash that is being computed, unless it was known before.
pub(crate) enum Hashing {
    Known([u8; 32]),
    Running(Sha256),
}

impl Hashing {
    /// Starts unless the blob's digest is a SHA-256 that was verified.
    pub(crate) fn new(known: Option<Known>) -> Self {
        match known.and_then(|known| known.digest.as_sha256().copied()) {
            Some(hash) => Self::Known(hash),
            None => Self::Running(Sha256::new()),
        }
    }

    pub(crate) fn update(&mut self, bytes: &[u8]) {
        if let Self::Running(hash) = self {
            hash.update(bytes);
        }
    }

    pub(crate) fn get(&self) -> [u8; 32] {
        match self {
            Self::Known(hash) => *hash,
            Self::Running(hash) => hash.clone().finalize().into(),
        }
    }
}

/// A buffer that is filled at one end and emptied at the other.
pub(crate) struct Window {
    buffer: Box<[u8]>,
    start: usize,
    end: usize,
}

impl Window {
    pub(crate) fn new(capacity: usize) -> Self {
        Self { buffer: vec![0; capacity].into_boxed_slice(), start: 0, end: 0 }
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

/// The reader handed in. It tells its own failures from whatever is wrong with the bytes.
struct Input<R> {
    reader: R,
    read: u64,
    size: Option<u64>,
    ended: bool,
    hash: Option<Hashing>,
}

impl<R: Read> Input<R> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        if self.ended {
            return Ok(0);
        }
        let count = loop {
            match self.reader.read(out) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                other => break other?,
            }
        };
        // A reader may be wrong about what it read; then there is no telling what the bytes are.
        let Some(bytes) = out.get(..count) else {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "the reader counts wrongly"));
        };
        self.read += count as u64;
        self.ended = count == 0 && !out.is_empty();
        if let Some(hash) = &mut self.hash {
            hash.update(bytes);
        }
        match self.size {
            Some(size) if self.ended && self.read < size => {
                Err(io::Error::new(io::ErrorKind::UnexpectedEof, "the blob ends before its size"))
            }
            Some(size) if self.read > size => {
                Err(io::Error::new(io::ErrorKind::InvalidData, "the blob is longer than its size"))
            }
            _ => Ok(count),
        }
    }
}

/// The stored bytes, buffered.
pub(crate) struct Source<R> {
    input: Input<R>,
    window: Window,
}

/// The buffer over the reader. Large reads are what makes object stores and disks fast.
const BUFFER: usize = 256 << 10;

impl<R: Read> Source<R> {
    pub(crate) fn new(reader: R, known: Option<Known>) -> Self {
        let hash = Some(Hashing::new(known));
        let size = known.map(|known| known.size);
        Self { input: Input { reader, read: 0, size, ended: false, hash }, window: Window::new(BUFFER) }
    }

    /// Some bytes; none at the end.
    pub(crate) fn some(&mut self) -> io::Result<&[u8]> {
        self.peek(1)
    }

    /// At least `count` bytes, which must not exceed the buffer; fewer only at the end.
    pub(crate) fn peek(&mut self, count: usize) -> io::Result<&[u8]> {
        while self.window.bytes().len() < count {
            let read = self.input.read(self.window.space())?;
            if read == 0 {
                break;
            }
            self.window.fill(read);
        }
        Ok(self.window.bytes())
    }

    pub(crate) fn consume(&mut self, count: usize) {
        self.window.consume(count);
    }

    /// Reads without the buffer, once that is empty.
    pub(crate) fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        let buffered = self.window.bytes();
        if buffered.is_empty() {
            return self.input.read(out);
        }
        let count = buffered.len().min(out.len());
        out[..count].copy_from_slice(&buffered[..count]);
        self.window.consume(count);
        Ok(count)
    }

    /// Skips bytes; false when there are fewer.
    pub(crate) fn skip(&mut self, mut count: u64) -> io::Result<bool> {
        while count > 0 {
            let available = self.some()?.len();
            if available == 0 {
                return Ok(false);
            }
            let step = usize::try_from(count).unwrap_or(usize::MAX).min(available);
            self.consume(step);
            count -= step as u64;
        }
        Ok(true)
    }

    /// Reads to the end; whether only zero bytes were left.
    pub(crate) fn rest_is_zero(&mut self) -> io::Result<bool> {
        let mut zero = true;
        loop {
            let bytes = self.some()?;
            if bytes.is_empty() {
                return Ok(zero);
            }
            zero &= is_zero(bytes);
            let count = bytes.len();
            self.consume(count);
        }
    }

    /// Gives up the hash of the stored bytes, when it turns out that nobody needs it.
    pub(crate) fn forget_hash(&mut self) {
        self.input.hash = None;
    }

    /// Reads to the end; the hash of all stored bytes, unless forgotten, and their number.
    pub(crate) fn finish(&mut self) -> io::Result<(Option<[u8; 32]>, u64)> {
        self.rest_is_zero()?;
        Ok((self.input.hash.as_ref().map(Hashing::get), self.input.read))
    }
}

/// Whether all bytes are zero.
pub(crate) fn is_zero(bytes: &[u8]) -> bool {
    // The first byte mostly decides. Folding a piece without looking is much faster than looking at each byte.
    bytes.first().is_none_or(|&first| first == 0)
        && bytes.chunks(512).all(|piece| piece.iter().fold(0, |all, byte| all | byte) == 0)
}
