//! The errors of the distribution specification ("Error Codes").

use serde::Serialize;

/// An error code of the specification.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Code {
    /// The blob is not known to the repository.
    BlobUnknown,
    /// The upload cannot go on as asked.
    BlobUploadInvalid,
    /// There is no such upload.
    BlobUploadUnknown,
    /// The digest is not one, or not that of the content.
    DigestInvalid,
    /// The manifest refers to a blob or manifest that the repository does not have.
    ManifestBlobUnknown,
    /// The manifest is not one.
    ManifestInvalid,
    /// There is no such manifest.
    ManifestUnknown,
    /// The repository name is not one.
    NameInvalid,
    /// There is no such repository.
    NameUnknown,
    /// The content is larger than allowed.
    SizeInvalid,
    /// Authentication is needed.
    Unauthorized,
    /// The caller may not do that.
    Denied,
    /// The registry does not do that.
    Unsupported,
    /// The registry is overloaded; ask again later.
    TooManyRequests,
    /// The registry failed, not the caller; no code of the specification fits.
    Unknown,
}

impl Code {
    /// The code as it is written in an error body.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::BlobUnknown => "BLOB_UNKNOWN",
            Self::BlobUploadInvalid => "BLOB_UPLOAD_INVALID",
            Self::BlobUploadUnknown => "BLOB_UPLOAD_UNKNOWN",
            Self::DigestInvalid => "DIGEST_INVALID",
            Self::ManifestBlobUnknown => "MANIFEST_BLOB_UNKNOWN",
            Self::ManifestInvalid => "MANIFEST_INVALID",
            Self::ManifestUnknown => "MANIFEST_UNKNOWN",
            Self::NameInvalid => "NAME_INVALID",
            Self::NameUnknown => "NAME_UNKNOWN",
            Self::SizeInvalid => "SIZE_INVALID",
            Self::Unauthorized => "UNAUTHORIZED",
            Self::Denied => "DENIED",
            Self::Unsupported => "UNSUPPORTED",
            Self::TooManyRequests => "TOOMANYREQUESTS",
            Self::Unknown => "UNKNOWN",
        }
    }
}

/// The body of an error answer.
#[derive(Debug, Clone, Serialize)]
pub struct ErrorBody {
    /// The errors; this registry says one at a time.
    pub errors: [ErrorDetail; 1],
}

/// One error.
#[derive(Debug, Clone, Serialize)]
pub struct ErrorDetail {
    /// The code, for programs.
    pub code: &'static str,
    /// What was wrong and what to do, for people.
    pub message: String,
}

impl ErrorBody {
    /// The body that says `code` with `message`.
    #[must_use]
    pub fn new(code: Code, message: impl Into<String>) -> Self {
        Self { errors: [ErrorDetail { code: code.as_str(), message: message.into() }] }
    }
}
