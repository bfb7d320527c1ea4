//! A layer's uncompressed bytes.

use std::io::{self, Read};

use crate::{
    Compression, Known, Limits,
    gzip::{Gzip, is_gzip},
    source::{Halt, Hashing, Source, Window, is_zero},
    zstandard::{Zstd, is_zstd},
};

/// How far sniffing looks. Only skippable zstd frames need more than a few bytes.
const SNIFFED: usize = 64 << 10;

/// The buffer of uncompressed bytes. Small files are hashed where they lie in it.
const BUFFER: usize = 256 << 10;

/// The uncompressed bytes, buffered, counted and, unless their digest is known, hashed.
pub(crate) struct Stream<R> {
    source: Source<R>,
    decoder: Decoder,
    window: Window,
    hash: Hashing,
    read: u64,
    limit: u64,
}

enum Decoder {
    None,
    Gzip(Box<Gzip>),
    Zstd(Zstd),
}

impl<R: Read> Stream<R> {
    /// Looks at the first bytes to see how to read the rest.
    pub(crate) fn open(reader: R, known: Option<Known>, limits: &Limits) -> io::Result<Self> {
        let mut source = Source::new(reader, known);
        let start = source.peek(SNIFFED)?;
        let decoder = if is_gzip(start) {
            Decoder::Gzip(Box::new(Gzip::new()))
        } else if is_zstd(start) {
            Decoder::Zstd(Zstd::new(limits.window_log)?)
        } else {
            Decoder::None
        };
        let hash = if matches!(decoder, Decoder::None) {
            // Stored and uncompressed bytes are the same; one hash is enough.
            source.forget_hash();
            Hashing::new(known)
        } else {
            Hashing::new(None)
        };
        Ok(Self { source, decoder, window: Window::new(BUFFER), hash, read: 0, limit: limits.bytes })
    }

    pub(crate) fn compression(&self) -> Compression {
        match self.decoder {
            Decoder::None => Compression::None,
            Decoder::Gzip(_) => Compression::Gzip,
            Decoder::Zstd(_) => Compression::Zstd,
        }
    }

    /// The bytes as they are stored.
    pub(crate) fn source(&mut self) -> &mut Source<R> {
        &mut self.source
    }

    /// How many uncompressed bytes were read.
    pub(crate) fn read(&self) -> u64 {
        self.read
    }

    /// How many uncompressed bytes were consumed.
    pub(crate) fn position(&self) -> u64 {
        self.read - self.window.bytes().len() as u64
    }

    /// Some bytes; none at the end.
    pub(crate) fn some(&mut self) -> Result<&[u8], Halt> {
        self.peek(1)
    }

    /// At least `count` bytes, which must not exceed the buffer; fewer only at the end.
    pub(crate) fn peek(&mut self, count: usize) -> Result<&[u8], Halt> {
        while self.window.bytes().len() < count {
            let room = usize::try_from(self.limit - self.read).unwrap_or(usize::MAX);
            let out = self.window.space();
            let length = out.len().min(room);
            // At the limit one more byte tells whether there is more.
            let mut probe = [0];
            let out = if room == 0 { &mut probe } else { &mut out[..length] };
            let read = match &mut self.decoder {
                Decoder::None => self.source.read(out)?,
                Decoder::Gzip(gzip) => gzip.read(&mut self.source, out)?,
                Decoder::Zstd(zstd) => zstd.read(&mut self.source, out)?,
            };
            if read == 0 {
                break;
            }
            if room == 0 {
                return Err(Halt::Stream(format!("the limit of {} uncompressed bytes is exceeded", self.limit)));
            }
            self.hash.update(&out[..read]);
            self.read += read as u64;
            self.window.fill(read);
        }
        Ok(self.window.bytes())
    }

    pub(crate) fn consume(&mut self, count: usize) {
        self.window.consume(count);
    }

    /// Hands the next bytes to `take` in pieces; false when there are fewer.
    pub(crate) fn take(&mut self, mut count: u64, mut take: impl FnMut(&[u8])) -> Result<bool, Halt> {
        while count > 0 {
            let bytes = self.some()?;
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

    /// Reads to the end; whether only zero bytes were left.
    pub(crate) fn rest_is_zero(&mut self) -> Result<bool, Halt> {
        let mut zero = true;
        self.take(u64::MAX, |bytes| zero &= is_zero(bytes))?;
        Ok(zero)
    }

    /// Reads to the end; the hash of all uncompressed bytes.
    pub(crate) fn finish(&mut self) -> Result<[u8; 32], Halt> {
        self.take(u64::MAX, |_| ())?;
        Ok(self.hash.get())
    }
}
