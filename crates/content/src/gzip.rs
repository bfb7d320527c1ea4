//! gzip (RFC 1952), one or more members.

use crate::{
    bytes::{Bytes, Halt},
    deflate::{Inflate, Step},
};

/// Whether bytes begin as gzip does: magic number, deflate, no reserved flag.
pub(crate) fn is_gzip(bytes: &[u8]) -> bool {
    matches!(bytes, [0x1f, 0x8b, 8, flags, ..] if flags & 0xe0 == 0)
}

/// Decodes members one after the other. flate2's own readers are not used, since they allocate anew for each of the many
/// members that seekable layers have, and refuse the zero padding that block devices leave.
pub(crate) struct Gzip {
    inflate: Inflate,
    place: Place,
    name: Option<Vec<u8>>,
    failed: Option<String>,
}

enum Place {
    /// Between members.
    Header,
    Body,
    End,
}

impl Gzip {
    pub(crate) fn new() -> Self {
        Self { inflate: Inflate::new(), place: Place::Header, name: None, failed: None }
    }

    /// The name of the first member, without directories; none that is empty or too long. It is known once something was read.
    pub(crate) fn name(&self) -> Option<&[u8]> {
        let name = self.name.as_deref().filter(|name| name.len() <= NAME)?;
        name.rsplit(|&byte| byte == b'/').next().filter(|name| !name.is_empty())
    }

    /// Decodes some bytes; none at the end.
    pub(crate) fn read(&mut self, source: &mut dyn Bytes, out: &mut [u8]) -> Result<usize, Halt> {
        loop {
            if let Some(reason) = &self.failed {
                return Err(Halt::Stream(reason.clone()));
            }
            match self.place {
                Place::Header => self.header(source)?,
                Place::Body => {
                    let produced = self.body(source, out)?;
                    if produced > 0 {
                        return Ok(produced);
                    }
                }
                Place::End => return Ok(0),
            }
        }
    }

    fn header(&mut self, source: &mut dyn Bytes) -> Result<(), Halt> {
        let start = source.peek(10)?;
        if !is_gzip(start) {
            // Padding is none of the content; anything else would be content that no one reads.
            if !source.rest_is_zero()? {
                return Err(broken("other bytes follow the compressed ones"));
            }
            self.place = Place::End;
            return Ok(());
        }
        let flags = start[3];
        skip(source, 10)?;
        if flags & 4 != 0 {
            let Some(length) = source.peek(2)?.first_chunk().copied().map(u16::from_le_bytes) else {
                return Err(cut());
            };
            skip(source, 2 + u64::from(length))?;
        }
        let mut name = Vec::new();
        if flags & 8 != 0 {
            read_text(source, &mut |bytes| {
                // One byte more tells that it is too long.
                name.extend_from_slice(&bytes[..bytes.len().min(NAME + 1 - name.len())]);
            })?;
        }
        if flags & 16 != 0 {
            read_text(source, &mut |_| ())?;
        }
        self.name.get_or_insert(name);
        if flags & 2 != 0 {
            skip(source, 2)?;
        }
        self.inflate.reset();
        self.place = Place::Body;
        Ok(())
    }

    fn body(&mut self, source: &mut dyn Bytes, out: &mut [u8]) -> Result<usize, Halt> {
        let Step { consumed, produced, ended } = self.inflate.step(source.peek(1)?, out);
        source.consume(consumed);
        // What was decoded before a failure is handed out first, so that it stays findable.
        match ended {
            Ok(false) => {}
            Ok(true) => {
                if let Err(halt) = self.trailer(source) {
                    match halt {
                        Halt::Stream(reason) => self.failed = Some(reason),
                        other => return Err(other),
                    }
                }
                self.place = Place::Header;
            }
            Err(reason) => self.failed = Some(format!("gzip: {reason}")),
        }
        Ok(produced)
    }

    fn trailer(&mut self, source: &mut dyn Bytes) -> Result<(), Halt> {
        let Some([crc, length]) =
            source.peek(8)?.first_chunk::<8>().and_then(|bytes| bytes.as_chunks().0.first_chunk())
        else {
            return Err(cut());
        };
        if u32::from_le_bytes(*crc) != self.inflate.crc.sum()
            || u32::from_le_bytes(*length) != self.inflate.crc.amount()
        {
            return Err(broken("the checksum is wrong"));
        }
        skip(source, 8)
    }
}

fn skip(source: &mut dyn Bytes, count: u64) -> Result<(), Halt> {
    if source.skip(count)? { Ok(()) } else { Err(cut()) }
}

/// The longest name that is of interest: what file systems allow.
const NAME: usize = 255;

/// Hands the bytes up to a zero byte to `take` in pieces. A name may be as long as the blob.
fn read_text(source: &mut dyn Bytes, take: &mut dyn FnMut(&[u8])) -> Result<(), Halt> {
    loop {
        let bytes = source.peek(1)?;
        if bytes.is_empty() {
            return Err(cut());
        }
        let end = bytes.iter().position(|&byte| byte == 0);
        take(&bytes[..end.unwrap_or(bytes.len())]);
        let count = end.map_or(bytes.len(), |end| end + 1);
        source.consume(count);
        if end.is_some() {
            return Ok(());
        }
    }
}

fn broken(reason: &str) -> Halt {
    Halt::Stream(format!("gzip: {reason}"))
}

fn cut() -> Halt {
    broken("the stream is cut short")
}
