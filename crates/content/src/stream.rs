//! Uncompressed bytes, up to a limit.

use std::io;

use crate::{
    Compression,
    budget::Budget,
    bytes::{Bytes, Halt, Window},
    gzip::{Gzip, is_gzip},
    zstandard::{Zstd, is_zstd},
};

/// The buffer of uncompressed bytes. Small files are hashed where they lie in it.
const BUFFER: usize = 256 << 10;

impl Compression {
    /// What bytes begin as.
    pub(crate) fn of(start: &[u8]) -> Self {
        if is_gzip(start) {
            Self::Gzip
        } else if is_zstd(start) {
            Self::Zstd
        } else {
            Self::None
        }
    }
}

/// Bytes that need no unpacking.
pub(crate) struct Plain<'a> {
    bytes: &'a mut (dyn Bytes + 'a),
    budget: &'a Budget,
    /// How many of the bytes that can be seen are taken from the budget.
    seen: usize,
}

impl<'a> Plain<'a> {
    pub(crate) fn new(bytes: &'a mut (dyn Bytes + 'a), budget: &'a Budget) -> Self {
        Self { bytes, budget, seen: 0 }
    }
}

impl Bytes for Plain<'_> {
    fn peek(&mut self, count: usize) -> Result<&[u8], Halt> {
        if self.seen < count {
            let bytes = self.bytes.peek(count)?;
            let new = bytes.len() - self.seen;
            let room = usize::try_from(self.budget.room()).unwrap_or(usize::MAX).min(new);
            self.budget.unpacked(room);
            self.seen += room;
            if room < new && self.seen < count {
                return Err(Halt::Stream(self.budget.exceeded()));
            }
        }
        Ok(self.buffered())
    }

    fn buffered(&self) -> &[u8] {
        &self.bytes.buffered()[..self.seen]
    }

    fn consume(&mut self, count: usize) {
        self.bytes.consume(count);
        self.seen -= count;
    }
}

/// What compressed bytes unpack to.
pub(crate) struct Unpacked<'a> {
    bytes: &'a mut (dyn Bytes + 'a),
    decoder: Decoder,
    window: Window,
    budget: &'a Budget,
    failed: Option<String>,
}

enum Decoder {
    Gzip(Box<Gzip>),
    Zstd(Zstd),
}

impl<'a> Unpacked<'a> {
    /// Unpacks bytes, whose beginning must have been seen and be compressed. A zstd frame may demand a window of `window_log`.
    /// The buffer may have been used before.
    pub(crate) fn new(
        bytes: &'a mut (dyn Bytes + 'a),
        window_log: u32,
        budget: &'a Budget,
        window: Window,
    ) -> io::Result<Self> {
        let decoder = if is_gzip(bytes.buffered()) {
            Decoder::Gzip(Box::new(Gzip::new()))
        } else {
            Decoder::Zstd(Zstd::new(window_log)?)
        };
        Ok(Self { bytes, decoder, window: window.empty(BUFFER), budget, failed: None })
    }

    /// The name that the content has in there, once some of it was read.
    pub(crate) fn name(&self) -> Option<&[u8]> {
        match &self.decoder {
            Decoder::Gzip(gzip) => gzip.name(),
            Decoder::Zstd(_) => None,
        }
    }

    /// The buffer, to be used again.
    pub(crate) fn into_window(self) -> Window {
        self.window
    }

    fn decode(&mut self) -> Result<usize, Halt> {
        let room = usize::try_from(self.budget.room()).unwrap_or(usize::MAX);
        let out = self.window.space();
        let length = out.len().min(room);
        // At the limit one more byte tells whether there is more.
        let mut probe = [0];
        let out = if room == 0 { &mut probe } else { &mut out[..length] };
        let read = match &mut self.decoder {
            Decoder::Gzip(gzip) => gzip.read(self.bytes, out)?,
            Decoder::Zstd(zstd) => zstd.read(self.bytes, out)?,
        };
        if read > 0 && room == 0 {
            return Err(Halt::Stream(self.budget.exceeded()));
        }
        self.budget.unpacked(read);
        self.window.fill(read);
        Ok(read)
    }
}

impl Bytes for Unpacked<'_> {
    fn peek(&mut self, count: usize) -> Result<&[u8], Halt> {
        while self.window.bytes().len() < count {
            if let Some(reason) = &self.failed {
                return Err(Halt::Stream(reason.clone()));
            }
            match self.decode() {
                Ok(0) => break,
                Ok(_) => {}
                Err(halt) => {
                    if let Halt::Stream(reason) = &halt {
                        self.failed = Some(reason.clone());
                    }
                    return Err(halt);
                }
            }
        }
        Ok(self.window.bytes())
    }

    fn buffered(&self) -> &[u8] {
        self.window.bytes()
    }

    fn consume(&mut self, count: usize) {
        self.window.consume(count);
    }
}
