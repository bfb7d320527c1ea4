//! What bytes are, told by how they begin.

use crate::{Archive, Compression, FileFormat, tar, zip};

/// How many bytes [`Format::of`] looks at.
pub(crate) const SNIFFED: usize = tar::BLOCK;

/// What can be looked into.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Format {
    /// One of the compressions.
    Compressed,
    /// One of the archives.
    Archive(Archive),
    /// One of the formats that say something of themselves.
    Metadata(FileFormat),
}

impl Format {
    /// What bytes begin as, of which the first [`SNIFFED`] or all are given.
    pub(crate) fn of(start: &[u8]) -> Option<Self> {
        if Compression::of(start) != Compression::None {
            return Some(Self::Compressed);
        }
        if tar::is_tar(start) {
            return Some(Self::Archive(Archive::Tar));
        }
        if zip::is_zip(start) {
            return Some(Self::Archive(Archive::Zip));
        }
        FileFormat::of(start).map(Self::Metadata)
    }
}
