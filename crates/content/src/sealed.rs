//! What holds more than can be told: compressions and archives that are not read here, and what is encrypted.

use crate::zstandard::skippable;

/// What a file is that cannot be looked into.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Sealed {
    /// Packed in a way that is not read here.
    Packed(&'static str),
    /// Encrypted.
    Encrypted(&'static str),
}

impl Sealed {
    /// What bytes begin as. Beginnings that are short are looked at as far as the format goes, for any file may begin as they do.
    pub(crate) fn of(start: &[u8]) -> Option<Self> {
        packed(start).map(Self::Packed).or_else(|| encrypted(start).map(Self::Encrypted))
    }

    /// Why it is not looked into.
    pub(crate) fn reason(self) -> String {
        match self {
            Self::Packed(format) => format!("it is {format}, which is not looked into"),
            Self::Encrypted(format) => format!("it is encrypted, by {format}"),
        }
    }
}

fn packed(mut start: &[u8]) -> Option<&'static str> {
    // lz4 may have zstd's skippable frames in front.
    while let Some(length) = skippable(start) {
        let rest = usize::try_from(length).ok().and_then(|length| start.get(length..));
        let Some(rest) = rest else { return Some("lz4 or zstd behind a long frame of something else") };
        start = rest;
    }
    match start {
        [0xfd, b'7', b'z', b'X', b'Z', 0, ..] => Some("xz"),
        // A block's mark, or that of the end where there is none.
        [b'B', b'Z', b'h', b'1'..=b'9', 0x31, 0x41, 0x59, 0x26, 0x53, 0x59, ..]
        | [b'B', b'Z', b'h', b'1'..=b'9', 0x17, 0x72, 0x45, 0x38, 0x50, 0x90, ..] => Some("bzip2"),
        // The version, and bits that are reserved.
        [0x04, 0x22, 0x4d, 0x18, flags, size, ..] if flags & 0xc2 == 0x40 && size & 0x8f == 0 => Some("lz4"),
        // The older format, of blocks that are at most so long; of a first block the high byte is 0.
        [0x02, 0x21, 0x4c, 0x18, _, _, _, 0, ..] => Some("lz4"),
        [b'7', b'z', 0xbc, 0xaf, 0x27, 0x1c, ..] => Some("7z"),
        [b'R', b'a', b'r', b'!', 0x1a, 0x07, 0, ..] | [b'R', b'a', b'r', b'!', 0x1a, 0x07, 1, 0, ..] => Some("rar"),
        _ => None,
    }
}

fn encrypted(start: &[u8]) -> Option<&'static str> {
    let formats: [(&[u8], &str); 7] = [
        (b"age-encryption.org/v1\n", "age"),
        (b"-----BEGIN AGE ENCRYPTED FILE-----", "age"),
        (b"Salted__", "OpenSSL"),
        // The same in base64.
        (b"U2FsdGVkX1", "OpenSSL"),
        (b"-----BEGIN PGP MESSAGE-----", "OpenPGP"),
        (b"$ANSIBLE_VAULT;", "Ansible"),
        (b"LUKS\xba\xbe", "LUKS"),
    ];
    formats.iter().find(|(magic, _)| start.starts_with(magic)).map(|&(_, name)| name)
}
