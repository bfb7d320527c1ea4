//! tar in every dialect that is met: v7, ustar, pax, GNU, star.
//!
//! Written for this crate because paths must survive as bytes, nothing may be allocated on an entry's word, and small files
//! are hashed where they lie in the buffer, which is what makes a million of them fast.

mod header;
mod pax;
mod sparse;

use std::io::Read;

use sha2::{Digest as _, Sha256};

use self::{
    header::{Header, Kind},
    pax::Pax,
};
use crate::{
    Limits,
    source::{Halt, is_zero},
    stream::Stream,
};

/// Everything in a tar is in blocks of this size.
pub(crate) const BLOCK: usize = 512;

/// The largest archive of nothing that is recognised, as GNU tar pads it. Larger runs of zeros are a file of zeros.
const EMPTY_ARCHIVE: usize = 20 * BLOCK;

/// Whether a stream begins as a tar: with a block whose checksum is right, or all of it is the end marker and its padding.
pub(crate) fn is_tar<R: Read>(stream: &mut Stream<R>) -> Result<bool, Halt> {
    let start = stream.peek(BLOCK)?;
    let Some(block) = start.first_chunk() else { return Ok(false) };
    if !is_zero(block) {
        return Ok(header::is_header(block));
    }
    let start = stream.peek(EMPTY_ARCHIVE + 1)?;
    Ok((2 * BLOCK..=EMPTY_ARCHIVE).contains(&start.len()) && start.len() % BLOCK == 0 && is_zero(start))
}

/// What an archive gives, entry by entry.
pub(crate) enum Entry {
    /// A regular file and the hash of its content.
    File { path: Vec<u8>, size: u64, sha256: [u8; 32] },
    /// A hard or symbolic link.
    Link,
    /// A device or fifo.
    Device,
    /// A directory.
    Directory,
    /// Something else.
    Other,
}

/// Reads an archive's entries.
pub(crate) struct Tar<'a> {
    limits: &'a Limits,
    entries: u64,
    holes: u64,
    /// What is left of the last entry: its padding, and its body unless that was hashed.
    rest: u64,
}

impl<'a> Tar<'a> {
    pub(crate) fn new(limits: &'a Limits) -> Self {
        Self { limits, entries: 0, holes: 0, rest: 0 }
    }

    /// The next entry; `None` at the end of the archive, when the stream is at its end too.
    pub(crate) fn next<R: Read>(&mut self, stream: &mut Stream<R>) -> Result<Option<Entry>, Halt> {
        let mut pax = Pax::default();
        let mut long_name = None;
        loop {
            if !stream.take(std::mem::take(&mut self.rest), |_| ())? {
                return Err(cut(stream));
            }
            let Some(header) = next_header(stream)? else { return Ok(None) };
            match header.kind {
                // A second one replaces the first, so that no number of them grows what is held.
                Kind::Pax => pax = Pax::parse(&body(stream, header.size, self.limits.header)?)?,
                // GNU's body ends with a zero byte.
                Kind::LongName => {
                    let mut name = body(stream, header.size, self.limits.path.saturating_add(1))?;
                    name.truncate(name.iter().position(|&byte| byte == 0).unwrap_or(name.len()));
                    long_name = Some(name);
                }
                Kind::Ignored => self.rest = padded(header.size)?,
                _ => {
                    self.entries += 1;
                    if self.entries > self.limits.entries {
                        return Err(Halt::Archive(format!(
                            "tar: the limit of {} entries is exceeded",
                            self.limits.entries
                        )));
                    }
                    return self.entry(stream, header, pax, long_name).map(Some);
                }
            }
        }
    }

    fn entry<R: Read>(
        &mut self,
        stream: &mut Stream<R>,
        header: Header,
        pax: Pax,
        long_name: Option<Vec<u8>>,
    ) -> Result<Entry, Halt> {
        let kind = header.kind;
        let mut size = pax.size.unwrap_or(header.size);
        // Links, devices and directories have no body, yet some old archives give them a size, and pax allows a hard link
        // to repeat its target's content. What follows tells: a header or the end, or else a body.
        if kind.is_bodiless() && size > 0 && header::is_header_or_end(stream.peek(BLOCK)?) {
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
            return self.file(stream, header, pax, long_name, size);
        }
        self.rest = padded(size)?;
        Ok(match kind {
            Kind::HardLink | Kind::SymbolicLink => Entry::Link,
            Kind::Device => Entry::Device,
            Kind::Directory | Kind::OldFile => Entry::Directory,
            _ => Entry::Other,
        })
    }

    fn file<R: Read>(
        &mut self,
        stream: &mut Stream<R>,
        header: Header,
        pax: Pax,
        long_name: Option<Vec<u8>>,
        size: u64,
    ) -> Result<Entry, Halt> {
        let padding = padded(size)? - size;
        let (sparse_name, sparse) = sparse::read(stream, header.old_sparse.as_deref(), pax.sparse, size)?;
        // As Go's reader, which docker and kit use, ranks them.
        let path = sparse_name.or(long_name).or(pax.path).unwrap_or(header.name);
        if path.len() > self.limits.path {
            return Err(Halt::Archive(format!("tar: the limit of {} bytes a path is exceeded", self.limits.path)));
        }
        let (size, sha256) = match sparse {
            None => (size, hash(stream, size)?),
            Some(sparse) => {
                self.holes = self.holes.saturating_add(sparse.holes());
                if self.holes > self.limits.holes {
                    let limit = self.limits.holes;
                    return Err(Halt::Archive(format!("tar: the limit of {limit} bytes of holes is exceeded")));
                }
                (sparse.size(), sparse.hash(stream)?)
            }
        };
        self.rest = padding;
        Ok(Entry::File { path, size, sha256 })
    }
}

/// The next header, `None` at the end of the archive. Many archives lack the end marker, so their bytes' end will do.
fn next_header<R: Read>(stream: &mut Stream<R>) -> Result<Option<Header>, Halt> {
    let at = stream.position();
    let bytes = stream.peek(BLOCK)?;
    if bytes.is_empty() {
        return Ok(None);
    }
    let Some(block) = bytes.first_chunk::<BLOCK>() else { return Err(cut(stream)) };
    if is_zero(block) {
        // Extraction ends here. Whatever follows would be content that no one reads, and is not passed over in silence.
        if stream.rest_is_zero()? {
            return Ok(None);
        }
        return Err(Halt::Archive(format!("tar: other bytes follow the end of the archive at byte {at}")));
    }
    let header = Header::parse(block).map_err(|reason| Halt::Archive(format!("tar: {reason} at byte {at}")))?;
    stream.consume(BLOCK);
    Ok(Some(header))
}

/// The body of an entry that is about another entry, padding included in what is read.
fn body<R: Read>(stream: &mut Stream<R>, size: u64, limit: usize) -> Result<Vec<u8>, Halt> {
    let Some(length) = usize::try_from(size).ok().filter(|&size| size <= limit) else {
        let at = stream.position();
        return Err(Halt::Archive(format!("tar: the limit of {limit} bytes is exceeded by the header at byte {at}")));
    };
    // The limit may be set high; what is allocated follows what is there.
    let mut body = Vec::with_capacity(length.min(64 << 10));
    if !stream.take(size, |bytes| body.extend_from_slice(bytes))? || !stream.take(padded(size)? - size, |_| ())? {
        return Err(cut(stream));
    }
    Ok(body)
}

/// The hash of the next bytes.
fn hash<R: Read>(stream: &mut Stream<R>, size: u64) -> Result<[u8; 32], Halt> {
    let mut hash = Sha256::new();
    if !stream.take(size, |bytes| hash.update(bytes))? {
        return Err(cut(stream));
    }
    Ok(hash.finalize().into())
}

/// A size rounded up to whole blocks.
fn padded(size: u64) -> Result<u64, Halt> {
    size.checked_next_multiple_of(BLOCK as u64).ok_or_else(|| Halt::Archive("tar: a size is too large".to_owned()))
}

fn cut<R: Read>(stream: &Stream<R>) -> Halt {
    Halt::Archive(format!("tar: the archive is cut short at byte {}", stream.position()))
}
