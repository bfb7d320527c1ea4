//! What is wrong with a document or a signature, in words for the operator.

use jiff::Timestamp;

/// How many characters of a foreign text are shown.
const SHOWN: usize = 200;

/// Why bytes are not a signed document at all. Texts from it are cut and escaped.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Malformed {
    /// There are more bytes than are read.
    #[error("it has {size} bytes, and at most {limit} are read")]
    TooLarge {
        /// How many there are.
        size: usize,
        /// How many are read.
        limit: usize,
    },
    /// It is not JSON, not of the expected form, or a list in it is too long.
    #[error("it is not the JSON of {what}: {why}")]
    Json {
        /// What was expected.
        what: &'static str,
        /// What the parser says.
        why: String,
    },
    /// The payload is not base64.
    #[error("its payload is not base64")]
    Payload,
    /// It is a bundle of another version.
    #[error("its media type is {0}: sigstore bundles v0.1 to v0.3 are supported")]
    MediaType(String),
}

/// Why no configured signer is known to stand behind the bytes. Texts of the signer are cut and escaped.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Unverified {
    /// There is no signature.
    #[error("it has no signature")]
    NoSignature,
    /// Neither keys nor identities are configured.
    #[error("it is signed, but no key and no identity is configured to verify it with")]
    NothingTrusted,
    /// No configured key made the signature, and there is no certificate.
    #[error("it is signed by a key that is not configured{}: configure the public key if its owner is to be trusted", hinted(.hint))]
    UnknownKey {
        /// What the signature says of its key.
        hint: Option<String>,
    },
    /// The signature names a configured key or has a certificate, but it is not one of these bytes.
    #[error("its signature does not fit: the bytes were changed after {signer} signed them, or somebody else signed")]
    WrongSignature {
        /// Who is said to have signed.
        signer: String,
    },
    /// The signature cannot be read.
    #[error("its signature is broken: it is not base64")]
    BrokenSignature,
    /// A certificate or other evidence in annotations cannot be read.
    #[error("the evidence of its signature is broken: {0}")]
    BrokenEvidence(String),
    /// It is signed with a certificate, and no trusted root is configured.
    #[error("it is signed with a certificate, for {subject} by {issuer}, and no trusted root is configured")]
    NoRoot {
        /// The issuer that the certificate names.
        issuer: String,
        /// The subject that the certificate names.
        subject: String,
    },
    /// The certificate cannot be read, or does not say who is meant.
    #[error("its certificate is not usable: {0}")]
    Certificate(&'static str),
    /// The certificate names nobody who is configured.
    #[error("its certificate is for {subject} by {issuer}, an identity that is not configured")]
    UnknownIdentity {
        /// The issuer that the certificate names.
        issuer: String,
        /// The subject that the certificate names.
        subject: String,
    },
    /// Nothing says when it was signed.
    #[error("nothing trusted says when it was signed, and thus whether its certificate was valid then: {0}")]
    NoTime(NoTime),
    /// The certificate was not valid when it was signed.
    #[error("its certificate was not valid when it was signed, at {}", time(*.at))]
    Expired {
        /// When it was signed, in microseconds since 1970.
        at: i64,
    },
    /// The certificate does not chain to an authority of the trusted root.
    #[error("its certificate does not chain to an authority of the trusted root that was valid then: {0}")]
    Chain(String),
    /// No log of certificates has promised to log the certificate.
    #[error("no certificate log of the trusted root vouches for its certificate")]
    NoCertificateLog,
    /// A bare signature of an artifact whose bytes or digest were not given.
    #[error("it is a bare signature, and the artifact that it signs is not known")]
    NoArtifact,
    /// A bare signature of another artifact.
    #[error("it signs another artifact")]
    OtherArtifact,
    /// The artifact's digest does not do.
    #[error("its kind of signature can be verified with the artifact's bytes only, not with its SHA-256 digest")]
    NeedsBytes,
    /// The simple-signing payload is too large.
    #[error("it is not read: {0}")]
    Unread(Malformed),
}

/// Why there is no trusted time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NoTime {
    /// There is neither a log entry nor a timestamp.
    #[error("it has neither a transparency log entry nor a timestamp")]
    NoEvidence,
    /// The log is not in the trusted root, or was not in use at that time.
    #[error("its transparency log is not in the trusted root, or not for that time")]
    UnknownLog,
    /// The log entry has no promise, so that its time is not signed.
    #[error("its transparency log entry has no signed time (SET)")]
    NoPromise,
    /// The log did not sign the promise.
    #[error("its transparency log entry is not signed by the log")]
    WrongPromise,
    /// The inclusion proof or its checkpoint does not hold.
    #[error("the inclusion proof of its transparency log entry does not hold")]
    WrongProof,
    /// The log entry is about something else.
    #[error("its transparency log entry is about another signature")]
    OtherEntry,
    /// The log entry is of a kind that is not supported, or broken.
    #[error("its transparency log entry is of a kind that is not supported")]
    UnknownEntry,
    /// The timestamp is broken.
    #[error("its timestamp is not RFC 3161, or of a kind that is not supported")]
    BrokenTimestamp,
    /// The timestamp is about something else.
    #[error("its timestamp is of another signature")]
    OtherTimestamp,
    /// No timestamping authority of the trusted root signed the timestamp.
    #[error("its timestamp is not signed by a timestamping authority of the trusted root")]
    UnknownTimestamper,
}

/// A foreign text, as much as fits into a sentence and without what would break it.
pub(crate) fn shown(text: &str) -> String {
    let mut shown: String = text.chars().take(SHOWN).flat_map(char::escape_debug).collect();
    if text.chars().nth(SHOWN).is_some() {
        shown.push('…');
    }
    shown
}

fn hinted(hint: &Option<String>) -> String {
    hint.as_deref().map_or_else(String::new, |hint| format!(" (hint {hint})"))
}

fn time(at: i64) -> String {
    Timestamp::from_microsecond(at).map_or_else(|_| at.to_string(), |time| time.to_string())
}
