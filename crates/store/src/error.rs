//! What can go wrong with bytes.

use std::io;

use oci::{Algorithm, Hasher};

use crate::Received;

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
    /// The last bytes that an object under way had are gone; what is left can be continued.
    #[error("the last bytes of the upload are lost; it continues at byte {}", .0.bytes)]
    Lost(Box<Received>),
    /// The object would have more parts than a bucket allows; the number is how many bytes would fit.
    #[error("the object is larger than the {0} bytes that its parts allow")]
    TooLarge(u64),
    /// The store does not answer, or says that it cannot now: worth another try.
    #[error("the store does not answer: {0}")]
    Unavailable(#[source] io::Error),
    /// Anything else.
    #[error("the store failed: {0}")]
    Io(#[source] io::Error),
}

impl Error {
    /// The bucket does not know an upload in parts any more: it was completed, or aborted, by somebody else. What it had is
    /// gone, and it can only begin anew.
    pub(crate) fn without_parts(algorithm: Algorithm) -> Self {
        Self::Lost(Box::new(Received::nothing(Hasher::new(algorithm))))
    }

    pub(crate) fn from_object_store(error: object_store::Error) -> Self {
        use object_store::Error as E;
        let text = error.to_string();
        match error {
            // A bucket that is gone, or is another than was meant, says nothing about an object.
            E::NotFound { .. } if text.contains("NoSuchBucket") => Self::Io(io::Error::other(error)),
            E::NotFound { .. } => Self::NotFound,
            // MinIO's word and AWS's, in the body of the answer; the crate keeps the status to itself.
            E::Generic { .. } if text.contains("StorageFull") || text.contains("QuotaExceeded") => Self::Full,
            // Whatever the network does, and the server's 5xx after all retries.
            E::Generic { .. } => Self::Unavailable(io::Error::other(error)),
            _ => Self::Io(io::Error::other(error)),
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
