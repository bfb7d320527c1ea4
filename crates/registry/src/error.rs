//! Why the registry did not do what was asked.

use std::fmt;

use oci::Digest;

/// Each variant is one thing that a caller can act on. The faces (OCI codes, problem+json) are the server's.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// There is no such thing, or the caller may not know that there is.
    #[error("{0}")]
    Unknown(Thing),
    /// What was sent is not what it should be.
    #[error("{what}: {why}")]
    Invalid {
        /// What part of the request.
        what: Part,
        /// What is wrong with it.
        why: String,
    },
    /// A manifest refers to a blob that the repository does not have.
    #[error("the manifest refers to {0}, which the repository does not have; push that first")]
    MissingBlob(Digest),
    /// What was sent is larger than is accepted.
    #[error("{what} is larger than the {limit} bytes that are accepted")]
    TooLarge {
        /// What part of the request.
        what: Part,
        /// The limit in bytes.
        limit: u64,
    },
    /// Bytes do not continue an upload where it stands.
    #[error("the upload continues at byte {received}")]
    OutOfOrder {
        /// How many bytes it has.
        received: u64,
    },
    /// Another request is writing the upload.
    #[error("another request is writing this upload")]
    Busy,
    /// A claim was retracted before.
    #[error("claim {0} was retracted before")]
    Retracted(i64),
    /// A blob cannot be deleted: a manifest of the repository needs it.
    #[error("manifest {manifest} of the repository needs the blob; delete that first")]
    Needed {
        /// One that does.
        manifest: Digest,
    },
    /// The database and the store do not belong together.
    #[error(
        "the database and the store of the blobs do not belong together: {0}; start with the --data, --database and --storage \
         that were used together before"
    )]
    WrongStore(&'static str),
    /// The registry is a copy of another one, and not whole yet.
    #[error(
        "this registry is a copy that was not finished; run the `pedigree copy` that began it again, which continues where \
         it stopped"
    )]
    HalfCopy,
    /// A registry cannot be copied like that. Nothing was changed.
    #[error("{0}")]
    NoCopy(&'static str),
    /// The database does not answer.
    #[error("the registry's database does not answer; try again later")]
    Unavailable(#[source] index::Error),
    /// The store does not answer.
    #[error("the registry's storage does not answer; try again later")]
    StoreUnavailable(#[source] store::Error),
    /// The last bytes that an upload had are gone; it can be continued from what is left.
    #[error("the last bytes of the upload are lost")]
    Lost(Box<store::Received>),
    /// The caller may not do that.
    #[error("this registry accepts no pushes or deletions from you")]
    Denied,
    /// What is, forbids what was asked; the words say what it is and what to do.
    #[error("{0}")]
    Refused(String),
    /// The client stopped sending.
    #[error("the request's body ended early: {0}")]
    Body(String),
    /// There is no room left.
    #[error("the registry's storage is full; try again when its operator has made room")]
    Full,
    /// The registry failed. The source is for the log alone.
    #[error("the registry failed; its log says why")]
    Internal(#[source] Box<dyn std::error::Error + Send + Sync>),
}

/// What is unknown.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Thing {
    /// A repository, by name.
    Repository(String),
    /// A manifest, by repository and reference.
    Manifest(String, String),
    /// A blob.
    Blob(Digest),
    /// An upload.
    Upload,
    /// A component, by name.
    Component(String),
    /// A tag, now or at a moment.
    Tag {
        /// Its repository.
        repository: String,
        /// The tag.
        tag: String,
        /// When it was deleted and by whom, if it had been there.
        deleted: Option<(String, String)>,
    },
    /// A claim, by its number.
    Claim(i64),
}

/// Part of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part {
    /// A manifest.
    Manifest,
    /// A digest.
    Digest,
    /// A blob.
    Blob,
    /// The range of an upload's chunk.
    Range,
    /// A parameter of a question.
    Parameter(&'static str),
}

impl fmt::Display for Thing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Repository(name) => write!(f, "there is no repository {name}"),
            Self::Manifest(name, reference) => write!(f, "repository {name} has no manifest {reference}"),
            Self::Blob(digest) => write!(f, "the repository has no blob {digest}"),
            Self::Upload => f.write_str("there is no such upload in this repository (it may have ended or expired)"),
            Self::Tag { repository, tag, deleted: None } => write!(f, "repository {repository} has no tag {tag}"),
            Self::Tag { repository, tag, deleted: Some((at, actor)) } => {
                write!(f, "repository {repository} has no tag {tag}: {actor} deleted it at {at}")
            }
            Self::Claim(id) => write!(f, "there is no claim {id}"),
            Self::Component(name) => write!(f, "the artifact has no dataset named {name}"),
        }
    }
}

impl fmt::Display for Part {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Manifest => f.write_str("the manifest"),
            Self::Digest => f.write_str("the digest"),
            Self::Blob => f.write_str("the blob"),
            Self::Range => f.write_str("the Content-Range"),
            Self::Parameter(name) => write!(f, "parameter {name}"),
        }
    }
}

impl Error {
    pub(crate) fn internal(error: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Self {
        Self::Internal(error.into())
    }
}

/// A statement that fails is never the caller's fault, nor absence: lookups return `Option`.
impl From<index::Error> for Error {
    fn from(error: index::Error) -> Self {
        match error {
            error if error.is_full() => Self::Full,
            error if error.is_outage() => Self::Unavailable(error),
            error => Self::internal(error),
        }
    }
}

impl Error {
    /// Whether the database gave up because of another transaction.
    pub(crate) fn is_conflict(&self) -> bool {
        let Self::Internal(source) = self else { return false };
        source.downcast_ref::<index::Error>().is_some_and(index::Error::is_conflict)
    }
}

/// An object that its row promises is not missing, it is lost: no variant of the store means absence to a caller.
impl From<store::Error> for Error {
    fn from(error: store::Error) -> Self {
        match error {
            store::Error::Full => Self::Full,
            store::Error::Busy => Self::Busy,
            store::Error::Lost(left) => Self::Lost(left),
            store::Error::TooLarge(limit) => Self::TooLarge { what: Part::Blob, limit },
            error @ store::Error::Unavailable(_) => Self::StoreUnavailable(error),
            other => Self::internal(other),
        }
    }
}
