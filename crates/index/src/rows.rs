//! Between SQL values and the types that the rest of the code speaks.

use oci::{Digest, Name};

use crate::{Error, Result};

/// The digest whose hash a column holds.
pub(crate) fn digest(hash: &[u8]) -> Result<Digest> {
    Digest::from_hash(hash).map_err(|_| Error::Unreadable("digest"))
}

/// A hash of SHA-256 that a column holds.
pub(crate) fn sha256(hash: &[u8]) -> Result<[u8; 32]> {
    hash.try_into().map_err(|_| Error::Unreadable("sha256"))
}

/// The repository name that a column holds.
pub(crate) fn name(text: &str) -> Result<Name> {
    text.parse().map_err(|_| Error::Unreadable("repository name"))
}

/// Client text, stored as bytes because Postgres's text refuses NUL.
pub(crate) fn text(bytes: Vec<u8>) -> String {
    String::from_utf8(bytes).unwrap_or_else(|e| String::from_utf8_lossy(e.as_bytes()).into_owned())
}

/// A count or size that a column holds.
pub(crate) fn unsigned(value: i64) -> u64 {
    u64::try_from(value).unwrap_or_default()
}

/// A size as a column holds it.
pub(crate) fn signed(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}

/// A position as a column holds it.
pub(crate) fn position(value: usize) -> i32 {
    i32::try_from(value).unwrap_or(i32::MAX)
}
