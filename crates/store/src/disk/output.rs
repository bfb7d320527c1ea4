//! Blocks on their way into a file: through the page cache while the file is small, past it once it is large.
//!
//! To copy a large blob into pages of the cache costs more CPU than to hash it, and drives everything else out of memory.
//! Written past the cache in aligned blocks it costs nearly nothing. Small blobs stay in memory, where they are wanted soon.

use std::{
    fs::File,
    io::{self, Write as _},
};

use rustix::fs::{OFlags, fcntl_getfl, fcntl_setfl};

/// From which size on a file is written past the cache, in bytes.
const LARGE: u64 = 64 << 20;
/// The size of a block that is written through the cache, in bytes. Measured: larger ones cost CPU.
const CACHED: usize = 256 << 10;
/// The size of a block that is written past it. Measured: with 1 MiB, to wake the thread costs a fifth of all CPU.
const DIRECT: usize = 4 << 20;
/// Its size when many files are written at once, for the sake of memory.
const DIRECT_OF_MANY: usize = 1 << 20;
/// What positions, lengths and addresses of writes past the cache are multiples of, in bytes.
const ALIGNMENT: usize = 4096;

/// Whether the file is large, of which `position` bytes are there and `end` are announced.
pub(super) fn is_large(position: u64, end: u64) -> bool {
    position.max(end) >= LARGE
}

/// A file that is written from `position` on.
pub(super) struct Output {
    file: File,
    position: u64,
    /// Whether the file is written past the cache now.
    direct: bool,
    /// Whether the file system does not do that.
    refused: bool,
}

/// What a block is for.
#[derive(Debug, Clone, Copy)]
pub(super) enum Kind {
    Small,
    Large,
    LargeOfMany,
}

/// Memory for the bytes up to the next edge of a block, aligned as writes past the cache need it.
#[derive(Debug, Default)]
pub(super) struct Block {
    memory: Vec<u8>,
    start: usize,
    filled: usize,
    capacity: usize,
}

impl Output {
    pub(super) const fn new(file: File, position: u64) -> Self {
        Self { file, position, direct: false, refused: false }
    }

    pub(super) const fn file(&self) -> &File {
        &self.file
    }

    pub(super) const fn position(&self) -> u64 {
        self.position
    }

    pub(super) fn write(&mut self, bytes: &[u8], end: u64) -> io::Result<()> {
        let is_aligned = self.position.is_multiple_of(ALIGNMENT as u64) && bytes.len().is_multiple_of(ALIGNMENT);
        let direct = is_large(self.position, end) && is_aligned && !self.refused;
        if self.turn(direct).is_err() {
            self.refused = true;
            self.turn(false)?;
        }
        match self.file.write_all(bytes) {
            // Some file systems say so only now.
            Err(error) if error.kind() == io::ErrorKind::InvalidInput && self.direct => {
                self.refused = true;
                self.turn(false)?;
                self.file.write_all(bytes)?;
            }
            written => written?,
        }
        self.position += bytes.len() as u64;
        Ok(())
    }

    fn turn(&mut self, direct: bool) -> io::Result<()> {
        if direct != self.direct {
            let mut flags = fcntl_getfl(&self.file)?;
            flags.set(OFlags::DIRECT, direct);
            fcntl_setfl(&self.file, flags)?;
            self.direct = direct;
        }
        Ok(())
    }
}

impl Block {
    /// Makes it one that ends where such blocks end, for what comes at `position` of a small file, a large one, or one of
    /// many large ones.
    pub(super) fn empty(&mut self, position: u64, kind: Kind) {
        let size = match kind {
            Kind::Small => CACHED,
            Kind::Large => DIRECT,
            Kind::LargeOfMany => DIRECT_OF_MANY,
        };
        if self.memory.len() < size + ALIGNMENT {
            self.memory = vec![0; size + ALIGNMENT];
            self.start = self.memory.as_ptr().align_offset(ALIGNMENT);
        }
        self.filled = 0;
        self.capacity = size - usize::try_from(position % size as u64).unwrap_or_default();
    }

    /// Takes what fits off the bytes. Whether it is full now.
    pub(super) fn fill(&mut self, bytes: &mut &[u8]) -> bool {
        let (now, later) = bytes.split_at(bytes.len().min(self.capacity - self.filled));
        let at = self.start + self.filled;
        self.memory[at..at + now.len()].copy_from_slice(now);
        self.filled += now.len();
        *bytes = later;
        self.filled == self.capacity
    }

    pub(super) fn bytes(&self) -> &[u8] {
        &self.memory[self.start..self.start + self.filled]
    }
}
