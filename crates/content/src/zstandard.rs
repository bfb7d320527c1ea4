//! Zstandard (RFC 8878), one or more frames.

use std::io;

use zstd::stream::raw::{DParameter, Decoder, InBuffer, Operation, OutBuffer};

use crate::bytes::{Bytes, Halt};

const FRAME: [u8; 4] = [0x28, 0xb5, 0x2f, 0xfd];

/// The length of the skippable frame that bytes begin with, its header included.
pub(crate) fn skippable(bytes: &[u8]) -> Option<u64> {
    match bytes {
        [0x50..=0x5f, 0x2a, 0x4d, 0x18, a, b, c, d, ..] => Some(8 + u64::from(u32::from_le_bytes([*a, *b, *c, *d]))),
        _ => None,
    }
}

/// Whether bytes begin as zstd does. Skippable frames alone say little, since lz4 has the same: a frame must follow within the
/// bytes given.
pub(crate) fn is_zstd(mut bytes: &[u8]) -> bool {
    while let Some(length) = skippable(bytes) {
        let Some(rest) = usize::try_from(length).ok().and_then(|length| bytes.get(length..)) else { return false };
        bytes = rest;
    }
    bytes.starts_with(&FRAME)
}

/// Decodes frames one after the other.
pub(crate) struct Zstd {
    decoder: Decoder<'static>,
    place: Place,
}

enum Place {
    /// Between frames.
    Header,
    Body,
    End,
}

impl Zstd {
    /// A decoder that refuses frames which demand a larger window than 2 to the power of `window_log`.
    pub(crate) fn new(window_log: u32) -> io::Result<Self> {
        let mut decoder = Decoder::new()?;
        decoder.set_parameter(DParameter::WindowLogMax(window_log.clamp(10, 31)))?;
        Ok(Self { decoder, place: Place::Header })
    }

    /// Decodes some bytes; none at the end.
    pub(crate) fn read(&mut self, source: &mut dyn Bytes, out: &mut [u8]) -> Result<usize, Halt> {
        loop {
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
        let bytes = source.peek(8)?;
        if bytes.starts_with(&FRAME) {
            self.place = Place::Body;
        } else if let Some(length) = skippable(bytes) {
            if !source.skip(length)? {
                return Err(cut());
            }
        } else if source.rest_is_zero()? {
            self.place = Place::End;
        } else {
            return Err(Halt::Stream("zstd: other bytes follow the compressed ones".to_owned()));
        }
        Ok(())
    }

    fn body(&mut self, source: &mut dyn Bytes, out: &mut [u8]) -> Result<usize, Halt> {
        let bytes = source.peek(1)?;
        let ended = bytes.is_empty();
        let mut input = InBuffer::around(bytes);
        let mut output = OutBuffer::around(out);
        let left = self
            .decoder
            .run(&mut input, &mut output)
            .map_err(|error| Halt::Stream(format!("zstd: {}", error.to_string().to_lowercase())))?;
        let (consumed, produced) = (input.pos(), output.pos());
        source.consume(consumed);
        if left == 0 {
            self.place = Place::Header;
        } else if produced == 0 && ended {
            return Err(cut());
        } else if produced == 0 && consumed == 0 {
            return Err(Halt::Stream("zstd: the decoder makes no progress".to_owned()));
        }
        Ok(produced)
    }
}

fn cut() -> Halt {
    Halt::Stream("zstd: the stream is cut short".to_owned())
}
