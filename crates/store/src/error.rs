//! What can go wrong with bytes.

use std::io;

/// Why the store did not do what was asked. A failure to read is never mistaken for absence.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// There is no such object.
    #[error("the object is not in the store")]
    NotFound,
    /// There is no room left.
    #[error("the store is full")]
    Full,
    /// Another request is still writing the object.
    #[error("the object is being written by another request")]
    Busy,
    /// Anything else: worth another try.
    #[error("the store failed: {0}")]
    Io(#[source] io::Error),
}

impl Error {
    pub(crate) fn from_object_store(error: object_store::Error) -> Self {
        match error {
            object_store::Error::NotFound { .. } => Self::NotFound,
            other => Self::Io(io::Error::other(other)),
        }
    }
}

impl From<io::Error> for Error {
    fn from(error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::NotFound => Self::NotFound,
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => Self::Full,
            _ => Self::Io(error),
        }
    }
}
