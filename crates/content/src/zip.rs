//! zip (PKWARE's APPNOTE 6.3.10), from its beginning to its end.
//!
//! The entries are read where they lie, each behind its own header, although that is not where a zip has its table of contents:
//! it is at the end, and nothing here can go back. The table is read when it comes. If it does not list exactly the entries
//! that were met, then the archive is two things at once, depending on who reads it, and is reported as broken.
//!
//! Written for this crate because no crate that reads a stream does so safely: `zip` gives up at every entry whose size is told
//! behind it, as all of Go's, Java's and PyTorch's are; `rc-zip` takes the first header that it cannot read for the end, in
//! silence; neither compares the table of contents, and both guess at the encoding of names.

mod header;

use memchr::memmem;
use sha2::{Digest as _, Sha256};

use self::header::{
    DESCRIPTOR, DESCRIPTOR_MOST, DIRECTORY, END, END_64, EXTRA, LOCAL, LOCATOR, Listed, Local, Method, SIGNATURE,
    TABLE_SIGNATURE, number, signature,
};
use crate::{
    Limits,
    budget::Budget,
    bytes::{Bytes, Halt, Hashed, Window},
    deflate::{Inflate, Step},
};

pub(crate) use self::header::is_zip;

/// The buffer of what is inflated.
const BUFFER: usize = 256 << 10;

/// What an archive gives, entry by entry.
#[expect(clippy::large_enum_variant, reason = "there is one at a time, on the stack")]
pub(crate) enum Entry<'a> {
    /// A regular file, or a link, which looks the same until the end. Its body must be read to its end.
    File { path: Vec<u8>, body: Body<'a> },
    /// What seemed to be a file of this path is a link.
    Link { path: Vec<u8> },
    /// A directory.
    Directory,
    /// A file whose content cannot be told: it is encrypted, or compressed in another way than deflate.
    Opaque,
}

/// Reads an archive's entries.
pub(crate) struct Zip<'a> {
    limits: &'a Limits,
    /// Of entries.
    budget: &'a Budget,
    /// Of what comes out of them.
    inflated: &'a Budget,
    state: State,
    listed: Tally,
    opaque: u64,
}

/// What entries need one after the other.
struct State {
    inflate: Inflate,
    window: Window,
    met: Tally,
}

/// A sum over entries, equal for equal sets of them in whichever order.
#[derive(Default, PartialEq)]
struct Tally {
    entries: u64,
    sum: [u64; 4],
}

impl Tally {
    fn add(&mut self, entry: Sha256) {
        let hash: [u8; 32] = entry.finalize().into();
        self.entries += 1;
        let (words, _) = hash.as_chunks();
        for (sum, word) in self.sum.iter_mut().zip(words) {
            *sum = sum.wrapping_add(u64::from_le_bytes(*word));
        }
    }
}

impl<'a> Zip<'a> {
    pub(crate) fn new(limits: &'a Limits, budget: &'a Budget, inflated: &'a Budget) -> Self {
        let state = State { inflate: Inflate::new(), window: Window::new(BUFFER), met: Tally::default() };
        Self { limits, budget, inflated, state, listed: Tally::default(), opaque: 0 }
    }

    /// The next entry; `None` at the end of the archive, when the bytes are at their end too.
    pub(crate) fn next<'b>(&'b mut self, bytes: &'b mut Hashed<'_>) -> Result<Option<Entry<'b>>, Halt> {
        let at = bytes.position();
        match signature(bytes.peek(SIGNATURE)?) {
            Some(LOCAL) => {}
            Some(DIRECTORY | END | END_64 | EXTRA) => return self.table(bytes),
            Some(_) => return Err(broken(&format!("other bytes follow an entry at byte {at}"))),
            None => return Err(cut(bytes)),
        }
        self.budget.entry()?;
        let local = Local::read(bytes, self.limits.path)?;
        let mut mark = header::mark(at, &local.path, local.method);
        if local.method == Method::Opaque {
            self.opaque += 1;
            Body::new(bytes, &mut self.state, self.inflated, &local, mark).skip(u64::MAX)?;
            return Ok(Some(Entry::Opaque));
        }
        if local.path.ends_with(b"/") && local.sizes == Some((0, 0)) && !local.streamed {
            header::finish(&mut mark, local.method, 0, 0, 0);
            self.state.met.add(mark);
            return Ok(Some(Entry::Directory));
        }
        let body = Body::new(bytes, &mut self.state, self.inflated, &local, mark);
        Ok(Some(Entry::File { path: local.path, body }))
    }

    /// Reads the table of contents up to the next link, or the end.
    fn table<'b>(&mut self, bytes: &mut Hashed<'_>) -> Result<Option<Entry<'b>>, Halt> {
        loop {
            let at = bytes.position();
            let whole = match signature(bytes.peek(SIGNATURE)?) {
                Some(DIRECTORY) => {
                    let Listed { path, mark, link } = Listed::read(bytes)?;
                    self.listed.add(mark);
                    if link {
                        return Ok(Some(Entry::Link { path }));
                    }
                    true
                }
                // Fields of the table as a whole, and its signature, say nothing of the entries.
                Some(END_64) => skip_record(bytes, 4, 8)?,
                Some(EXTRA) => skip_record(bytes, 4, 4)?,
                Some(TABLE_SIGNATURE) => skip_record(bytes, 4, 2)?,
                Some(LOCATOR) => bytes.skip(20)?,
                Some(END) if skip_record(bytes, 20, 2)? => break,
                Some(END) | None => false,
                Some(_) => return Err(broken(&format!("other bytes are in the central directory at byte {at}"))),
            };
            if !whole {
                return Err(cut(bytes));
            }
        }
        let at = bytes.position();
        if !bytes.rest_is_zero()? {
            return Err(broken(&format!("other bytes follow the end of the archive at byte {at}")));
        }
        if self.listed != self.state.met {
            return Err(broken("the central directory does not list what the archive holds"));
        }
        match self.opaque {
            0 => Ok(None),
            opaque => {
                Err(broken(&format!("{opaque} entries are encrypted or compressed in a way that is not known here")))
            }
        }
    }
}

/// Skips a record of which the length of the rest stands in `width` bytes at `at`; false when it is cut short.
fn skip_record(bytes: &mut Hashed<'_>, at: usize, width: usize) -> Result<bool, Halt> {
    let Some(length) = bytes.peek(at + width)?.get(at..at + width).map(number) else { return Ok(false) };
    bytes.skip(length.saturating_add((at + width) as u64))
}

/// The content of an entry.
pub(crate) struct Body<'a> {
    bytes: &'a mut (dyn Bytes + 'a),
    state: &'a mut State,
    inflated: &'a Budget,
    method: Method,
    streamed: bool,
    crc: u64,
    sizes: Option<(u64, u64)>,
    mark: Sha256,
    /// How many bytes of it were read, and how many they gave.
    packed: u64,
    size: u64,
    ended: bool,
    finished: bool,
    failed: Option<String>,
}

impl<'a> Body<'a> {
    fn new(
        bytes: &'a mut (dyn Bytes + 'a),
        state: &'a mut State,
        inflated: &'a Budget,
        local: &Local,
        mark: Sha256,
    ) -> Self {
        state.inflate.reset();
        state.window = std::mem::take(&mut state.window).empty(BUFFER);
        let &Local { method, streamed, crc, sizes, .. } = local;
        let (packed, size, ended, finished, failed) = (0, 0, false, false, None);
        Self { bytes, state, inflated, method, streamed, crc, sizes, mark, packed, size, ended, finished, failed }
    }

    /// Reads on into the buffer; false at the end.
    fn more(&mut self) -> Result<bool, Halt> {
        match self.method {
            _ if self.finished => return Ok(false),
            _ if self.ended => {}
            Method::Deflated => return self.inflate(),
            Method::Stored | Method::Opaque => match self.sizes {
                Some((packed, _)) if packed == self.packed => {}
                Some((packed, _)) => return self.copy(packed - self.packed),
                None => {
                    if self.descriptor()?.is_none() {
                        return self.copy_on();
                    }
                }
            },
        }
        self.finish()
    }

    fn inflate(&mut self) -> Result<bool, Halt> {
        let input = self.bytes.peek(1)?;
        let left = self.sizes.filter(|_| !self.streamed).map_or(u64::MAX, |(packed, _)| packed - self.packed);
        let input = &input[..input.len().min(usize::try_from(left).unwrap_or(usize::MAX))];
        let room = usize::try_from(self.inflated.room()).unwrap_or(usize::MAX);
        let out = self.state.window.space();
        let length = out.len().min(room);
        // At the limit one more byte tells whether there is more.
        let mut probe = [0];
        let out = if room == 0 { &mut probe } else { &mut out[..length] };
        let Step { consumed, produced, ended } = self.state.inflate.step(input, out);
        if produced > 0 && room == 0 {
            return Err(Halt::Archive(self.inflated.exceeded()));
        }
        self.bytes.consume(consumed);
        self.packed += consumed as u64;
        self.size += produced as u64;
        self.inflated.unpacked(produced);
        self.state.window.fill(produced);
        match ended {
            Ok(ended) => self.ended = ended,
            // What was decoded before a failure is handed out first.
            Err(reason) => self.failed = Some(format!("zip: {reason}")),
        }
        Ok(true)
    }

    /// Copies what is stored, at most so much.
    fn copy(&mut self, most: u64) -> Result<bool, Halt> {
        let stored = self.bytes.peek(1)?;
        if stored.is_empty() {
            return Err(broken("the archive is cut short"));
        }
        let out = self.state.window.space();
        let length = stored.len().min(out.len()).min(usize::try_from(most).unwrap_or(usize::MAX));
        out[..length].copy_from_slice(&stored[..length]);
        self.state.inflate.crc.update(&stored[..length]);
        self.bytes.consume(length);
        self.state.window.fill(length);
        self.packed += length as u64;
        self.size += length as u64;
        Ok(true)
    }

    /// Copies what is stored without a size, up to where the descriptor might be.
    fn copy_on(&mut self) -> Result<bool, Halt> {
        let stored = self.bytes.buffered();
        if stored.len() < DESCRIPTOR_MOST + SIGNATURE {
            return Err(broken("the end of a stored entry without a size cannot be found"));
        }
        let next = memmem::find(&stored[1..], &DESCRIPTOR).map(|at| at + 1);
        // The last bytes may be the beginning of one.
        self.copy(next.unwrap_or(stored.len() - (SIGNATURE - 1)) as u64)
    }

    /// The length of the descriptor, if it is here. One without a signature could be anywhere, unless the end is known.
    fn descriptor(&mut self) -> Result<Option<usize>, Halt> {
        let bytes = self.bytes.peek(DESCRIPTOR_MOST + SIGNATURE)?;
        if !self.ended && self.sizes.is_none() && !bytes.starts_with(&DESCRIPTOR) {
            return Ok(None);
        }
        let crc = u64::from(self.state.inflate.crc.sum());
        Ok(header::descriptor(bytes, self.method, crc, self.packed, self.size))
    }

    /// Compares what was read with what was told of it.
    fn finish(&mut self) -> Result<bool, Halt> {
        let crc = u64::from(self.state.inflate.crc.sum());
        if self.streamed {
            let Some(length) = self.descriptor()? else {
                return Err(broken("what is told behind an entry is not what it holds"));
            };
            self.bytes.consume(length);
        } else if self.method != Method::Opaque {
            let told = self.sizes.map(|(packed, size)| (packed, size & 0xffff_ffff, self.crc));
            if told != Some((self.packed, self.size & 0xffff_ffff, crc)) {
                return Err(broken("the checksum or size of an entry is wrong"));
            }
        }
        header::finish(&mut self.mark, self.method, crc, self.packed, self.size);
        self.state.met.add(std::mem::take(&mut self.mark));
        self.finished = true;
        Ok(false)
    }
}

impl Bytes for Body<'_> {
    fn peek(&mut self, count: usize) -> Result<&[u8], Halt> {
        while self.state.window.bytes().len() < count {
            if let Some(reason) = &self.failed {
                return Err(Halt::Archive(reason.clone()));
            }
            match self.more() {
                Ok(true) => {}
                Ok(false) => break,
                Err(halt) => {
                    if let Halt::Archive(reason) = &halt {
                        self.failed = Some(reason.clone());
                    }
                    return Err(halt);
                }
            }
        }
        Ok(self.state.window.bytes())
    }

    fn buffered(&self) -> &[u8] {
        self.state.window.bytes()
    }

    fn consume(&mut self, count: usize) {
        self.state.window.consume(count);
    }
}

fn broken(reason: &str) -> Halt {
    Halt::Archive(format!("zip: {reason}"))
}

fn cut(bytes: &Hashed<'_>) -> Halt {
    broken(&format!("the archive is cut short at byte {}", bytes.position()))
}
