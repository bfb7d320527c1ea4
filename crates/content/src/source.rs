//! The blob's bytes as they are stored.

use std::{
    cell::Cell,
    io::{self, Read},
    rc::Rc,
};

use crate::bytes::{Bytes, Halt, Window};

/// The buffer over the reader. Large reads are what makes object stores and disks fast.
const BUFFER: usize = 256 << 10;

/// The reader handed in, buffered. It tells its own failures from whatever is wrong with the bytes.
pub(crate) struct Source<'a> {
    reader: &'a mut (dyn Read + 'a),
    read: u64,
    size: Option<u64>,
    /// How many bytes there are, as far as that is known.
    known: Rc<Cell<u64>>,
    ended: bool,
    window: Window,
}

impl<'a> Source<'a> {
    /// Bytes of which there must be as many as `size` says, if it is known.
    pub(crate) fn new(reader: &'a mut (dyn Read + 'a), size: Option<u64>) -> Self {
        let known = Rc::new(Cell::new(size.unwrap_or_default()));
        Self { reader, read: 0, size, known, ended: false, window: Window::new(BUFFER) }
    }

    /// How many bytes there are, as far as that is known: it grows as they are read, unless their size was.
    pub(crate) fn known(&self) -> Rc<Cell<u64>> {
        Rc::clone(&self.known)
    }

    fn read(&mut self) -> io::Result<usize> {
        if self.ended {
            return Ok(0);
        }
        let out = self.window.space();
        let count = loop {
            match self.reader.read(out) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                other => break other?,
            }
        };
        // A reader may be wrong about what it read; then there is no telling what the bytes are.
        if count > out.len() {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "the reader counts wrongly"));
        }
        self.ended = count == 0 && !out.is_empty();
        self.window.fill(count);
        self.read += count as u64;
        self.known.set(self.known.get().max(self.read));
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

impl Bytes for Source<'_> {
    fn peek(&mut self, count: usize) -> Result<&[u8], Halt> {
        while self.window.bytes().len() < count {
            if self.read()? == 0 {
                break;
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
