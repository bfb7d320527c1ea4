//! What bytes are, told by how they begin.

use crate::{Archive, Compression, FileFormat, sealed::Sealed, tar, zip};

/// How many bytes [`Format::of`] looks at.
pub(crate) const SNIFFED: usize = tar::BLOCK;

/// What can be looked into, or is known to hold more than can be told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Format {
    /// One of the compressions.
    Compressed,
    /// One of the archives.
    Archive(Archive),
    /// What cannot be looked into.
    Sealed(Sealed),
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
        Sealed::of(start).map(Self::Sealed).or_else(|| FileFormat::of(start).map(Self::Metadata))
    }
}
