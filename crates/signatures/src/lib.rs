//! Does a configured signer stand behind these bytes?
//!
//! Reads what signs artifacts in a registry: DSSE envelopes (cosign 2's `.att`), sigstore bundles v0.1 to v0.3 (cosign 3,
//! OpenSSF model signing), and cosign 2's simple signing (`.sig`). [`Trust`] is the policy: public keys, identities that
//! certificates may name, and the trusted root that vouches for certificates and times. A signature is verified over the
//! payload as bytes, before anybody parses them.
//!
//! Pure: it does no IO and has no clock. It does not know what a payload says, which artifact it is about (but for bare
//! signatures of one, to which the caller gives the artifact), or which signer is enough for what.
//!
//! # When a certificate counts
//! It names a configured identity, its key made the signature, and at a *trusted time* it was valid, for code signing,
//! and chained to an authority of the trusted root. A trusted time comes from an entry in a transparency log of the root
//! whose promise (SET) the log signed, or from an RFC 3161 timestamp by one of the root's timestamping authorities. The
//! time of an entry that has only an inclusion proof is nobody's word: a checkpoint does not sign it. A proof that is
//! there must hold all the same.
//! Where the root names logs of certificates (CT), one of them must have promised to log the certificate.
//!
//! A configured key needs neither certificate nor time; a time that its signature has is kept.
//!
//! # With what
//! aws-lc-rs for signatures and webpki for chains, both of which rustls brings along, and `der` to take ASN.1 apart.
//! `sigstore-verify` judges bundles only, not what cosign 2 attaches, wants the artifact at hand, and brings eight crates
//! of its own with other versions of `der` and `jiff`; `cms` has no stable release for today's `der`.

mod asn1;
mod bundle;
mod certificate;
mod certificate_log;
mod envelope;
mod json;
mod judge;
mod key;
mod log;
mod pattern;
mod root;
mod simple;
mod timestamp;
mod trust;
mod unverified;

pub use bundle::{Artifact, bundle};
pub use envelope::envelope;
pub use judge::{Looked, Signed, Signer};
pub use key::KeyError;
pub use pattern::PATTERN_LIMIT;
pub use root::{ROOT_LIMIT, RootError};
pub use simple::simple;
pub use trust::{SIGNERS, Trust, TrustError};
pub use unverified::{Malformed, NoTime, Unverified};

/// How many bytes a bundle, an envelope or a simple-signing payload may have. Some hold an SBOM.
pub const BYTES_LIMIT: usize = 16 << 20;

/// How many bytes an annotation with evidence may have: a certificate, a chain, a log entry, a timestamp.
pub const ANNOTATION_LIMIT: usize = 1 << 20;

/// How many signatures, log entries or timestamps a document may have. Each costs some signature checks; most have one.
pub const LIST_LIMIT: usize = 8;

/// How many certificates a chain may have, the signer's among them. All paths through them are searched.
pub const CHAIN_LIMIT: usize = 5;

/// How many hashes an inclusion proof may have: a log has fewer than 2^64 entries.
const PROOF_LIMIT: usize = 64;

#[cfg(test)]
#[cfg(test)]
mod tests;
