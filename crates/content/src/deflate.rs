//! deflate (RFC 1951), with the checksum that gzip and zip have of what it gives.

use flate2::{Crc, Decompress, FlushDecompress, Status};

/// A decoder, which can be used again.
pub(crate) struct Inflate {
    decoder: Decompress,
    /// The checksum and number of the bytes given.
    pub(crate) crc: Crc,
}

/// What one step did.
pub(crate) struct Step {
    /// How many bytes it read.
    pub(crate) consumed: usize,
    /// How many bytes it gave.
    pub(crate) produced: usize,
    /// Whether the stream ended, or how it is broken.
    pub(crate) ended: Result<bool, String>,
}

impl Inflate {
    pub(crate) fn new() -> Self {
        Self { decoder: Decompress::new(false), crc: Crc::new() }
    }

    /// Begins another stream.
    pub(crate) fn reset(&mut self) {
        self.decoder.reset(false);
        self.crc.reset();
    }

    /// Decodes some bytes; without input there are no more of them.
    pub(crate) fn step(&mut self, input: &[u8], out: &mut [u8]) -> Step {
        let (before_in, before_out) = (self.decoder.total_in(), self.decoder.total_out());
        let status = self.decoder.decompress(input, out, FlushDecompress::None);
        let consumed = usize::try_from(self.decoder.total_in() - before_in).unwrap_or(usize::MAX);
        let produced = usize::try_from(self.decoder.total_out() - before_out).unwrap_or(usize::MAX).min(out.len());
        self.crc.update(&out[..produced]);
        let ended = match status {
            Ok(Status::StreamEnd) => Ok(true),
            Ok(Status::Ok | Status::BufError) if produced == 0 && input.is_empty() => {
                Err("the stream is cut short".to_owned())
            }
            Ok(Status::Ok | Status::BufError) if produced == 0 && consumed == 0 => {
                Err("the decoder makes no progress".to_owned())
            }
            Ok(Status::Ok | Status::BufError) => Ok(false),
            Err(error) => Err(error.to_string()),
        };
        Step { consumed, produced, ended }
    }
}
