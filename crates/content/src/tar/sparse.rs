//! Sparse files. They are hashed with their holes, as extraction would write them, so that the same file packed by a tool that
//! does not know holes is the same file.

use super::{
    BLOCK, cut,
    header::number,
    pax::{PaxSparse, decimal},
};
use crate::bytes::{Bytes, Halt, Hashed, Window};

/// The most pieces of one file that are held, 4 MiB of them.
const PIECES: usize = 1 << 18;

/// Where the pieces of a file belong that are stored one after the other.
pub(super) struct Sparse {
    /// Offsets and lengths, in order, without overlap, within the size.
    pieces: Vec<(u64, u64)>,
    size: u64,
    holes: u64,
    /// How far the file was laid out, and which piece is next.
    at: u64,
    next: usize,
    window: Window,
}

/// The buffer in which a file is laid out.
const BUFFER: usize = 64 << 10;

/// The map of a sparse file and its name, where the sparse format has one. `old_sparse` is the header of GNU's older format, `stored` is the size of the body. What is left of
/// the body afterwards is the pieces.
pub(super) fn read(
    bytes: &mut Hashed<'_>,
    old_sparse: Option<&[u8; BLOCK]>,
    pax: PaxSparse,
    stored: u64,
) -> Result<(Option<Vec<u8>>, Option<Sparse>), Halt> {
    if let Some(block) = old_sparse {
        return Ok((None, Some(old(bytes, block, stored)?)));
    }
    let (numbers, data) = match (pax.major, pax.minor, pax.map) {
        (Some(1), Some(0), _) => in_body(bytes, stored)?,
        (None | Some(0), _, Some(map)) => (map, stored),
        _ => return Ok((pax.name, None)),
    };
    let (pairs, []) = numbers.as_chunks() else { return Err(broken()) };
    let pieces = pairs.iter().map(|&[offset, length]| (offset, length)).collect();
    Ok((pax.name, Some(Sparse::new(pieces, pax.size.ok_or_else(broken)?, data)?)))
}

/// GNU's older format: four pieces in the header, the rest in blocks of 21 that follow it.
fn old(bytes: &mut Hashed<'_>, header: &[u8; BLOCK], stored: u64) -> Result<Sparse, Halt> {
    let size = number(&header[483..495]).ok_or_else(broken)?;
    let mut pieces = Vec::new();
    let mut more = add_pieces(&mut pieces, &header[386..483])?;
    while more {
        let Some(block) = bytes.peek(BLOCK)?.first_chunk::<BLOCK>() else { return Err(cut(bytes)) };
        more = add_pieces(&mut pieces, &block[..505])?;
        bytes.consume(BLOCK);
    }
    Sparse::new(pieces, size, stored)
}

/// Adds pieces of 24 bytes each up to an empty one. The byte after them says whether more blocks follow.
fn add_pieces(pieces: &mut Vec<(u64, u64)>, list: &[u8]) -> Result<bool, Halt> {
    let (list, more) = list.as_chunks::<24>();
    for piece in list {
        if piece[0] == 0 {
            break;
        }
        let offset = number(&piece[..12]).ok_or_else(broken)?;
        let length = number(&piece[12..]).ok_or_else(broken)?;
        pieces.push((offset, length));
    }
    if pieces.len() > PIECES {
        return Err(too_many());
    }
    Ok(more.first().is_some_and(|&more| more != 0))
}

/// pax format 1.0: the body begins with decimal numbers, a line each: how many pieces, then their offsets and lengths. They are
/// padded to whole blocks. Gives them and the size of what follows.
fn in_body(bytes: &mut Hashed<'_>, stored: u64) -> Result<(Vec<u64>, u64), Halt> {
    let mut numbers = Vec::new();
    let mut digits = Vec::new();
    let mut left = stored;
    let mut expected = None;
    while expected.is_none_or(|expected| numbers.len() < expected) {
        left = left.checked_sub(BLOCK as u64).ok_or_else(broken)?;
        let Some(block) = bytes.peek(BLOCK)?.first_chunk::<BLOCK>() else { return Err(cut(bytes)) };
        for &byte in block {
            if byte != b'\n' {
                digits.push(byte);
                // No number has so many; without this check they could fill the memory.
                if digits.len() > 20 {
                    return Err(broken());
                }
                continue;
            }
            let number = decimal(&digits).ok_or_else(broken)?;
            digits.clear();
            match expected {
                None => {
                    let count = usize::try_from(number).ok().filter(|&count| count <= PIECES).ok_or_else(too_many)?;
                    expected = Some(2 * count);
                }
                Some(_) => numbers.push(number),
            }
            if expected == Some(numbers.len()) {
                break;
            }
        }
        bytes.consume(BLOCK);
    }
    Ok((numbers, left))
}

impl Sparse {
    fn new(pieces: Vec<(u64, u64)>, size: u64, stored: u64) -> Result<Self, Halt> {
        let mut end = 0;
        let mut data = 0_u64;
        for &(offset, length) in &pieces {
            if offset < end {
                return Err(broken());
            }
            end = offset.checked_add(length).ok_or_else(broken)?;
            data = data.checked_add(length).ok_or_else(broken)?;
        }
        if end > size || data != stored {
            return Err(broken());
        }
        Ok(Self { pieces, size, holes: size - data, at: 0, next: 0, window: Window::new(BUFFER) })
    }

    /// The size of the holes.
    pub(super) fn holes(&self) -> u64 {
        self.holes
    }

    /// The size of the pieces.
    pub(super) fn data(&self) -> u64 {
        self.size - self.holes
    }

    /// Looks ahead in the file with its holes, of which `pieces` are what is stored.
    pub(super) fn peek(&mut self, pieces: &mut dyn Bytes, count: usize) -> Result<&[u8], Halt> {
        while self.window.bytes().len() < count && self.at < self.size {
            let piece = self.pieces.get(self.next).copied();
            let (start, end) = piece.map_or((self.size, self.size), |(offset, length)| (offset, offset + length));
            if self.at == end && piece.is_some() {
                self.next += 1;
                continue;
            }
            let out = self.window.space();
            let step = if self.at < start {
                let step = usize::try_from(start - self.at).unwrap_or(usize::MAX).min(out.len());
                out[..step].fill(0);
                step
            } else {
                let stored = pieces.peek(1)?;
                let step = usize::try_from(end - self.at).unwrap_or(usize::MAX).min(out.len()).min(stored.len());
                out[..step].copy_from_slice(&stored[..step]);
                pieces.consume(step);
                step
            };
            self.window.fill(step);
            self.at += step as u64;
        }
        Ok(self.window.bytes())
    }

    pub(super) fn buffered(&self) -> &[u8] {
        self.window.bytes()
    }

    pub(super) fn consume(&mut self, count: usize) {
        self.window.consume(count);
    }
}

fn broken() -> Halt {
    Halt::Archive("tar: the map of a sparse file is malformed".to_owned())
}

fn too_many() -> Halt {
    Halt::Archive(format!("tar: the limit of {PIECES} pieces of a sparse file is exceeded"))
}
