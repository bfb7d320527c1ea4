//! Sparse files. They are hashed with their holes, as extraction would write them, so that the same file packed by a tool that
//! does not know holes is the same file.

use std::io::Read;

use sha2::{Digest as _, Sha256};

use super::{
    BLOCK, cut,
    header::number,
    pax::{PaxSparse, decimal},
};
use crate::{source::Halt, stream::Stream};

/// The most pieces of one file that are held, 4 MiB of them.
const PIECES: usize = 1 << 18;

/// Where the pieces of a file belong that are stored one after the other.
pub(super) struct Sparse {
    /// Offsets and lengths, in order, without overlap, within the size.
    pieces: Vec<(u64, u64)>,
    size: u64,
    holes: u64,
}

/// The map of a sparse file and its name, where the sparse format has one. `old_sparse` is the header of GNU's older format, `stored` is the size of the body. What is left of
/// the body afterwards is the pieces.
pub(super) fn read<R: Read>(
    stream: &mut Stream<R>,
    old_sparse: Option<&[u8; BLOCK]>,
    pax: PaxSparse,
    stored: u64,
) -> Result<(Option<Vec<u8>>, Option<Sparse>), Halt> {
    if let Some(block) = old_sparse {
        return Ok((None, Some(old(stream, block, stored)?)));
    }
    let (numbers, data) = match (pax.major, pax.minor, pax.map) {
        (Some(1), Some(0), _) => in_body(stream, stored)?,
        (None | Some(0), _, Some(map)) => (map, stored),
        _ => return Ok((pax.name, None)),
    };
    let (pairs, []) = numbers.as_chunks() else { return Err(broken()) };
    let pieces = pairs.iter().map(|&[offset, length]| (offset, length)).collect();
    Ok((pax.name, Some(Sparse::new(pieces, pax.size.ok_or_else(broken)?, data)?)))
}

/// GNU's older format: four pieces in the header, the rest in blocks of 21 that follow it.
fn old<R: Read>(stream: &mut Stream<R>, header: &[u8; BLOCK], stored: u64) -> Result<Sparse, Halt> {
    let size = number(&header[483..495]).ok_or_else(broken)?;
    let mut pieces = Vec::new();
    let mut more = add_pieces(&mut pieces, &header[386..483])?;
    while more {
        let Some(block) = stream.peek(BLOCK)?.first_chunk::<BLOCK>() else { return Err(cut(stream)) };
        more = add_pieces(&mut pieces, &block[..505])?;
        stream.consume(BLOCK);
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
fn in_body<R: Read>(stream: &mut Stream<R>, stored: u64) -> Result<(Vec<u64>, u64), Halt> {
    let mut numbers = Vec::new();
    let mut digits = Vec::new();
    let mut left = stored;
    let mut expected = None;
    while expected.is_none_or(|expected| numbers.len() < expected) {
        left = left.checked_sub(BLOCK as u64).ok_or_else(broken)?;
        let Some(block) = stream.peek(BLOCK)?.first_chunk::<BLOCK>() else { return Err(cut(stream)) };
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
        stream.consume(BLOCK);
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
        Ok(Self { pieces, size, holes: size - data })
    }

    /// The size with holes.
    pub(super) fn size(&self) -> u64 {
        self.size
    }

    /// The size of the holes.
    pub(super) fn holes(&self) -> u64 {
        self.holes
    }

    /// The hash of the file with its holes. Reads the pieces.
    pub(super) fn hash<R: Read>(&self, stream: &mut Stream<R>) -> Result<[u8; 32], Halt> {
        let mut hash = Sha256::new();
        let mut at = 0;
        for &(offset, length) in &self.pieces {
            zeros(&mut hash, offset - at);
            if !stream.take(length, |bytes| hash.update(bytes))? {
                return Err(cut(stream));
            }
            at = offset + length;
        }
        zeros(&mut hash, self.size - at);
        Ok(hash.finalize().into())
    }
}

fn zeros(hash: &mut Sha256, mut count: u64) {
    static ZEROS: [u8; 16 << 10] = [0; 16 << 10];
    while count > 0 {
        let step = usize::try_from(count).unwrap_or(usize::MAX).min(ZEROS.len());
        hash.update(&ZEROS[..step]);
        count -= step as u64;
    }
}

fn broken() -> Halt {
    Halt::Archive("tar: the map of a sparse file is malformed".to_owned())
}

fn too_many() -> Halt {
    Halt::Archive(format!("tar: the limit of {PIECES} pieces of a sparse file is exceeded"))
}
