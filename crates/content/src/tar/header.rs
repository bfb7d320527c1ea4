//! The block in front of every entry.

use std::ops::Range;

use super::BLOCK;
use crate::bytes::is_zero;

const NAME: Range<usize> = 0..100;
const SIZE: Range<usize> = 124..136;
/// Mode, owner, group, size and time.
const NUMBERS: [Range<usize>; 5] = [100..108, 108..116, 116..124, SIZE, 136..148];
const CHECKSUM: Range<usize> = 148..156;
const TYPE: usize = 156;
const MAGIC: Range<usize> = 257..263;
const PREFIX: Range<usize> = 345..500;
/// star keeps times in the last bytes of the prefix, and says so in the trailer.
const STAR_PREFIX: Range<usize> = 345..476;
const STAR_TRAILER: Range<usize> = 508..512;

/// A header whose checksum is right.
pub(super) struct Header {
    pub(super) kind: Kind,
    /// The size of the body, as this header has it.
    pub(super) size: u64,
    /// The path, which is too short for some; see [`Kind::Pax`] and [`Kind::LongName`].
    pub(super) name: Vec<u8>,
    /// The whole block, when it is the header of a sparse file in GNU's older format.
    pub(super) old_sparse: Option<Box<[u8; BLOCK]>>,
}

/// What an entry is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    File,
    /// A file, or a directory when the name ends with a slash.
    OldFile,
    HardLink,
    SymbolicLink,
    Device,
    Directory,
    /// A vendor's own.
    Other,
    /// The pax header of the next entry.
    Pax,
    /// The path of the next entry.
    LongName,
    /// About other entries, and of no interest: link targets, and global pax headers, which Go ignores likewise.
    Ignored,
}

impl Kind {
    /// Whether an entry of this kind usually has no body, whatever its size says.
    pub(super) fn is_bodiless(self) -> bool {
        matches!(self, Self::HardLink | Self::SymbolicLink | Self::Device | Self::Directory)
    }
}

impl Header {
    /// Reads a block.
    pub(super) fn parse(block: &[u8; BLOCK]) -> Result<Self, &'static str> {
        if !is_header(block) {
            return Err("a header has a wrong checksum");
        }
        let size = number(&block[SIZE]).ok_or("a header has no valid size")?;
        let old_sparse = (block[TYPE] == b'S').then(|| Box::new(*block));
        Ok(Self { kind: Kind::of(block[TYPE]), size, name: name(block), old_sparse })
    }
}

impl Kind {
    fn of(type_flag: u8) -> Self {
        match type_flag {
            0 => Self::OldFile,
            b'1' => Self::HardLink,
            b'2' => Self::SymbolicLink,
            b'3' | b'4' | b'6' => Self::Device,
            // `D` is GNU's directory with a list of its names as a body.
            b'5' | b'D' => Self::Directory,
            b'x' | b'X' => Self::Pax,
            b'L' => Self::LongName,
            b'g' | b'K' => Self::Ignored,
            b'S' => Self::File,
            b'A'..=b'Z' => Self::Other,
            // `0`, `7` for contiguous files, and by POSIX's word everything that is not defined.
            _ => Self::File,
        }
    }
}

fn name(block: &[u8; BLOCK]) -> Vec<u8> {
    let name = text(&block[NAME]);
    let prefix = match (&block[MAGIC], &block[STAR_TRAILER]) {
        (b"ustar\0", b"tar\0") => text(&block[STAR_PREFIX]),
        (b"ustar\0", _) => text(&block[PREFIX]),
        // GNU keeps other things there.
        _ => b"",
    };
    if prefix.is_empty() { name.to_vec() } else { [prefix, b"/", name].concat() }
}

/// Whether the checksum of a block is right. It is the sum of all bytes, its own counting as spaces. Some old writers
/// summed signed bytes.
pub(super) fn is_header(block: &[u8; BLOCK]) -> bool {
    // An empty field sums to nothing, as no block does.
    let Some(expected @ 1..) = octal(&block[CHECKSUM]) else { return false };
    // What each of the checksum's own bytes must count for instead of what it is.
    let own: u64 = block[CHECKSUM].iter().map(|&byte| u64::from(byte)).sum();
    let unsigned = sum(block) + 8 * u64::from(b' ') - own;
    expected == unsigned || {
        let high = |bytes: &[u8]| bytes.iter().filter(|&&byte| byte >= 128).count() as u64;
        expected + 256 * (high(block) - high(&block[CHECKSUM])) == unsigned
    }
}

/// Whether an archive may begin with this block. Other files are looked at too, and of many some have what looks like a
/// checksum by chance: then there must be the magic, or numbers wherever the oldest dialect has them.
pub(super) fn is_first(block: &[u8; BLOCK]) -> bool {
    is_header(block)
        && (block[MAGIC].starts_with(b"ustar") || NUMBERS.into_iter().all(|at| number(&block[at]).is_some()))
}

/// The sum of all bytes, eight at a time, since it is a good part of the work on small files: each of a word's four lanes
/// takes two bytes 64 times, which 16 bits hold.
fn sum(block: &[u8; BLOCK]) -> u64 {
    const LANES: u64 = 0x00ff_00ff_00ff_00ff;
    let (words, _) = block.as_chunks::<8>();
    let lanes = words
        .iter()
        .map(|word| u64::from_le_bytes(*word))
        .fold(0, |lanes, word| lanes + (word & LANES) + ((word >> 8) & LANES));
    (0..4).map(|lane| (lanes >> (16 * lane)) & 0xffff).sum()
}

/// Whether bytes begin with a header or the end marker, or there are none.
pub(super) fn is_header_or_end(bytes: &[u8]) -> bool {
    bytes.is_empty() || bytes.first_chunk().is_some_and(|block| is_zero(block) || is_header(block))
}

/// A text field: up to the first zero byte.
fn text(field: &[u8]) -> &[u8] {
    &field[..field.iter().position(|&byte| byte == 0).unwrap_or(field.len())]
}

/// A number field: octal digits, or with the highest bit set binary, big-endian. `None` for negative numbers and those
/// beyond 63 bits, which no file can have.
pub(super) fn number(field: &[u8]) -> Option<u64> {
    let (&first, rest) = field.split_first()?;
    if first & 0x80 == 0 {
        return octal(field);
    }
    if first & 0x40 != 0 {
        return None;
    }
    rest.iter()
        .try_fold(u64::from(first & 0x3f), |number, &byte| number.checked_mul(256)?.checked_add(u64::from(byte)))
        .filter(|&number| i64::try_from(number).is_ok())
}

/// Octal digits among leading and trailing spaces and zero bytes. An empty field is zero.
fn octal(field: &[u8]) -> Option<u64> {
    let blank = |byte: &u8| *byte == b' ' || *byte == 0;
    let start = field.iter().position(|byte| !blank(byte)).unwrap_or(field.len());
    let digits = &field[start..];
    let digits = &digits[..digits.iter().position(blank).unwrap_or(digits.len())];
    digits.iter().try_fold(0_u64, |number, &byte| match byte {
        b'0'..=b'7' => number.checked_mul(8)?.checked_add(u64::from(byte - b'0')),
        _ => None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_of_all_spellings() {
        for (field, expected) in [
            (&b"00000000144\0"[..], Some(100)),
            (b"        144 ", Some(100)),
            (b"144\0garbage9", Some(100)),
            (b"\0\0\0\0\0\0\0\0\0\0\0\0", Some(0)),
            (b"000000000188", None),
            (b"-00000000144", None),
            (b"777777777777", Some((1 << 36) - 1)),
            (b"\x80\0\0\0\0\0\0\0\0\0\x01\0", Some(256)),
            (b"\x80\0\0\0\x7f\xff\xff\xff\xff\xff\xff\xff", Some(i64::MAX as u64)),
            (b"\x80\0\0\0\x80\0\0\0\0\0\0\0", None),
            (b"\x80\0\0\x01\0\0\0\0\0\0\0\0", None),
            (b"\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff", None),
            (b"", None),
        ] {
            assert_eq!(number(field), expected, "{field:?}");
        }
    }
}
