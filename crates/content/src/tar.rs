//! tar in every dialect that is met: v7, ustar, pax, GNU, star.
//!
//! Written for this crate because paths must survive as bytes, nothing may be allocated on an entry's word, and small files
//! are hashed where they lie in the buffer, which is what makes a million of them fast.

mod header;
mod pax;
mod sparse;

use self::{
    header::{Header, Kind},
    pax::Pax,
    sparse::Sparse,
};
use crate::{
    Limits,
    budget::Budget,
    bytes::{Bytes, Halt, Hashed, is_zero},
};

/// Everything in a tar is in blocks of this size.
pub(crate) const BLOCK: usize = 512;

/// The largest archive of nothing that is recognised, as GNU tar pads it. Larger runs of zeros are a file of zeros.
const EMPTY_ARCHIVE: usize = 20 * BLOCK;

/// Whether bytes begin as a tar does: with a header.
pub(crate) fn is_tar(start: &[u8]) -> bool {
    start.first_chunk().is_some_and(header::is_first)
}

/// Whether bytes are a tar without entries: all of it is the end marker and its padding.
pub(crate) fn is_empty_tar(bytes: &mut dyn Bytes) -> Result<bool, Halt> {
    if !is_zero(bytes.peek(BLOCK)?) {
        return Ok(false);
    }
    let start = bytes.peek(EMPTY_ARCHIVE + 1)?;
    Ok((2 * BLOCK..=EMPTY_ARCHIVE).contains(&start.len()) && start.len() % BLOCK == 0 && is_zero(start))
}

/// What an archive gives, entry by entry.
pub(crate) enum Entry<'a> {
    /// A regular file. Its body must be read to its end.
    File { path: Vec<u8>, body: Body<'a> },
    /// A hard or symbolic link.
    Link,
    /// A device or fifo.
    Device,
    /// A directory.
    Directory,
    /// Something else.
    Other,
}

/// The content of a file.
pub(crate) struct Body<'a> {
    bytes: Part<'a>,
    sparse: Option<Sparse>,
}

/// The next bytes of an archive, so many of them.
struct Part<'a> {
    bytes: &'a mut (dyn Bytes + 'a),
    left: u64,
    /// Where the archive ends, should there be too few.
    end: u64,
}

/// Reads an archive's entries.
pub(crate) struct Tar<'a> {
    limits: &'a Limits,
    budget: &'a Budget,
    /// What is left of the last entry: its padding, and its body unless that is a file's.
    rest: u64,
}

impl<'a> Tar<'a> {
    pub(crate) fn new(limits: &'a Limits, budget: &'a Budget) -> Self {
        Self { limits, budget, rest: 0 }
    }

    /// The next entry; `None` at the end of the archive, when the bytes are at their end too.
    pub(crate) fn next<'b>(&mut self, bytes: &'b mut Hashed<'_>) -> Result<Option<Entry<'b>>, Halt> {
        let mut pax = Pax::default();
        let mut long_name = None;
        loop {
            if !bytes.skip(std::mem::take(&mut self.rest))? {
                return Err(cut(bytes));
            }
            let Some(header) = next_header(bytes)? else { return Ok(None) };
            match header.kind {
                // A second one replaces the first, so that no number of them grows what is held.
                Kind::Pax => pax = Pax::parse(&body(bytes, header.size, self.limits.header)?)?,
                // GNU's body ends with a zero byte.
                Kind::LongName => {
                    let mut name = body(bytes, header.size, self.limits.path.saturating_add(1))?;
                    name.truncate(name.iter().position(|&byte| byte == 0).unwrap_or(name.len()));
                    long_name = Some(name);
                }
                Kind::Ignored => self.rest = padded(header.size)?,
                _ => {
                    self.budget.entry()?;
                    return self.entry(bytes, header, pax, long_name).map(Some);
                }
            }
        }
    }

    fn entry<'b>(
        &mut self,
        bytes: &'b mut Hashed<'_>,
        header: Header,
        pax: Pax,
        long_name: Option<Vec<u8>>,
    ) -> Result<Entry<'b>, Halt> {
        let kind = header.kind;
        let mut size = pax.size.unwrap_or(header.size);
        // Links, devices and directories have no body, yet some old archives give them a size, and pax allows a hard link
        // to repeat its target's content. What follows tells: a header or the end, or else a body.
        if kind.is_bodiless() && size > 0 && header::is_header_or_end(bytes.peek(BLOCK)?) {
            size = 0;
        }
        let file = match kind {
            Kind::File => true,
            Kind::HardLink => size > 0,
            // v7 marks a directory by a slash only; one with content is a file all the same.
            Kind::OldFile => size > 0 || !header.name.ends_with(b"/"),
            _ => false,
        };
        if file {
            return self.file(bytes, header, pax, long_name, size);
        }
        self.rest = padded(size)?;
        Ok(match kind {
            Kind::HardLink | Kind::SymbolicLink => Entry::Link,
            Kind::Device => Entry::Device,
            Kind::Directory | Kind::OldFile => Entry::Directory,
            _ => Entry::Other,
        })
    }

    fn file<'b>(
        &mut self,
        bytes: &'b mut Hashed<'_>,
        header: Header,
        pax: Pax,
        long_name: Option<Vec<u8>>,
        size: u64,
    ) -> Result<Entry<'b>, Halt> {
        self.rest = padded(size)? - size;
        let (sparse_name, sparse) = sparse::read(bytes, header.old_sparse.as_deref(), pax.sparse, size)?;
        // As Go's reader, which docker and kit use, ranks them.
        let path = sparse_name.or(long_name).or(pax.path).unwrap_or(header.name);
        if path.len() > self.limits.path {
            return Err(Halt::Archive(format!("tar: the limit of {} bytes a path is exceeded", self.limits.path)));
        }
        let left = sparse.as_ref().map_or(size, Sparse::data);
        if let Some(sparse) = &sparse {
            self.budget.holes(sparse.holes())?;
        }
        let end = bytes.position();
        Ok(Entry::File { path, body: Body { bytes: Part { bytes, left, end }, sparse } })
    }
}

impl Bytes for Body<'_> {
    fn peek(&mut self, count: usize) -> Result<&[u8], Halt> {
        match &mut self.sparse {
            None => self.bytes.peek(count),
            Some(sparse) => sparse.peek(&mut self.bytes, count),
        }
    }

    fn buffered(&self) -> &[u8] {
        self.sparse.as_ref().map_or_else(|| self.bytes.buffered(), Sparse::buffered)
    }

    fn consume(&mut self, count: usize) {
        match &mut self.sparse {
            None => self.bytes.consume(count),
            Some(sparse) => sparse.consume(count),
        }
    }
}

impl Bytes for Part<'_> {
    fn peek(&mut self, count: usize) -> Result<&[u8], Halt> {
        let wanted = usize::try_from(self.left).unwrap_or(usize::MAX).min(count);
        if self.bytes.peek(wanted)?.len() < wanted {
            let end = self.end + self.bytes.buffered().len() as u64;
            return Err(Halt::Archive(format!("tar: the archive is cut short at byte {end}")));
        }
        Ok(self.buffered())
    }

    fn buffered(&self) -> &[u8] {
        let bytes = self.bytes.buffered();
        &bytes[..usize::try_from(self.left).unwrap_or(usize::MAX).min(bytes.len())]
    }

    fn consume(&mut self, count: usize) {
        self.bytes.consume(count);
        self.left -= count as u64;
        self.end += count as u64;
    }
}

/// The next header, `None` at the end of the archive. Many archives lack the end marker, so their bytes' end will do.
fn next_header(bytes: &mut Hashed<'_>) -> Result<Option<Header>, Halt> {
    let at = bytes.position();
    let start = bytes.peek(BLOCK)?;
    if start.is_empty() {
        return Ok(None);
    }
    let Some(block) = start.first_chunk::<BLOCK>() else { return Err(cut(bytes)) };
    if is_zero(block) {
        // Extraction ends here. Whatever follows would be content that no one reads, and is not passed over in silence.
        if bytes.rest_is_zero()? {
            return Ok(None);
        }
        return Err(Halt::Archive(format!("tar: other bytes follow the end of the archive at byte {at}")));
    }
    let header = Header::parse(block).map_err(|reason| Halt::Archive(format!("tar: {reason} at byte {at}")))?;
    bytes.consume(BLOCK);
    Ok(Some(header))
}

/// The body of an entry that is about another entry, padding included in what is read.
fn body(bytes: &mut Hashed<'_>, size: u64, limit: usize) -> Result<Vec<u8>, Halt> {
    let Some(length) = usize::try_from(size).ok().filter(|&size| size <= limit) else {
        let at = bytes.position();
        return Err(Halt::Archive(format!("tar: the limit of {limit} bytes is exceeded by the header at byte {at}")));
    };
    // The limit may be set high; what is allocated follows what is there.
    let mut body = Vec::with_capacity(length.min(64 << 10));
    if !bytes.take(size, &mut |bytes| body.extend_from_slice(bytes))? || !bytes.skip(padded(size)? - size)? {
        return Err(cut(bytes));
    }
    Ok(body)
}

/// A size rounded up to whole blocks.
fn padded(size: u64) -> Result<u64, Halt> {
    size.checked_next_multiple_of(BLOCK as u64).ok_or_else(|| Halt::Archive("tar: a size is too large".to_owned()))
}

/// The end of the bytes where there should be more of them. What is left of them is looked at, but not consumed.
fn cut(bytes: &Hashed<'_>) -> Halt {
    Halt::Archive(format!("tar: the archive is cut short at byte {}", bytes.position()))
}
