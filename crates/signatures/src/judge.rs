//! Whether somebody who is trusted made one of the signatures.

use std::fmt;

use oci::Digest;
use rustls_pki_types::CertificateDer;

use crate::{
    certificate::Leaf,
    key::{Message, PublicKey, Verdict},
    log::Entry,
    timestamp,
    trust::{Key, Trust},
    unverified::{NoTime, Unverified, shown},
};

/// A signed document, and what came of its signatures.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Looked {
    /// What the payload is: the payload type of a DSSE envelope, which is signed with it; the media type of simple
    /// signing; empty where an artifact itself is signed and there is no payload.
    pub payload_type: String,
    /// The payload. It is to be believed only as far as `outcome` goes.
    pub payload: Vec<u8>,
    /// Who signed, or why that is not known.
    pub outcome: Result<Signed, Unverified>,
}

/// That a trusted signer stands behind the bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Signed {
    /// Who signed.
    pub signer: Signer,
    /// Not after when, in microseconds since 1970, where something trusted says so.
    pub at: Option<i64>,
}

/// Who signed.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Signer {
    /// The owner of a configured key.
    Key {
        /// The name under which it is configured.
        name: String,
        /// The SHA-256 digest of its SubjectPublicKeyInfo.
        fingerprint: Digest,
    },
    /// Who a certificate names.
    Certificate {
        /// Who attested the identity: the OIDC issuer.
        issuer: String,
        /// The identity: an e-mail address, URI or DNS name.
        subject: String,
    },
}

impl fmt::Display for Signer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Key { name, .. } => write!(f, "the key {name}"),
            Self::Certificate { issuer, subject } => write!(f, "{subject} ({issuer})"),
        }
    }
}

/// What a document says of its signatures besides their bytes.
#[derive(Debug, Default)]
pub(crate) struct Evidence {
    /// What names the key.
    pub(crate) hint: Option<String>,
    pub(crate) certificate: Option<CertificateDer<'static>>,
    /// Certificates between that and an authority.
    pub(crate) chain: Vec<CertificateDer<'static>>,
    pub(crate) entries: Vec<Entry>,
    /// RFC 3161 timestamps, in DER.
    pub(crate) timestamps: Vec<Vec<u8>>,
}

/// One signature.
#[derive(Debug, Default)]
pub(crate) struct Signature {
    pub(crate) hint: Option<String>,
    /// `None` for what is not base64.
    pub(crate) bytes: Option<Vec<u8>>,
}

/// What is signed.
#[derive(Clone, Copy)]
pub(crate) struct Subject<'a> {
    /// What the signatures are of.
    pub(crate) message: &'a Message<'a>,
    /// What transparency logs have a hash of: the message, or the payload of an envelope.
    pub(crate) logged: &'a Message<'a>,
    /// Whether it is an envelope. Logs have other entries for those.
    pub(crate) envelope: bool,
    /// What a timestamp may be of besides a signature: cosign 2 has envelopes stamped whole.
    pub(crate) document: Option<&'a [u8]>,
}

/// One good signature of several is enough.
pub(crate) fn judge(
    trust: &Trust,
    subject: &Subject<'_>,
    signatures: &[Signature],
    evidence: &Evidence,
) -> Result<Signed, Unverified> {
    if signatures.iter().all(|signature| signature.bytes.as_ref().is_some_and(Vec::is_empty)) {
        return Err(Unverified::NoSignature);
    }
    let readable: Vec<_> = signatures.iter().filter_map(|signature| signature.bytes.as_deref()).collect();
    if readable.is_empty() {
        return Err(Unverified::BrokenSignature);
    }
    if trust.keys.is_empty() && trust.identities.is_empty() {
        return Err(Unverified::NothingTrusted);
    }
    let leaf = evidence.certificate.as_ref().map(|der| Leaf::parse(der));
    let mut needs_bytes = false;
    for key in &trust.keys {
        // Beside a certificate, another key than its own did not sign.
        if let Some(Ok(leaf)) = &leaf
            && leaf.key.spki() != key.key.spki()
        {
            continue;
        }
        match first_good(&key.key, subject.message, &readable) {
            Ok(Some(signature)) => {
                let signer = Signer::Key { name: key.name.clone(), fingerprint: key.fingerprint };
                let at = times(trust, subject, signature, key.key.spki(), evidence).into_iter().find_map(Result::ok);
                return Ok(Signed { signer, at });
            }
            Ok(None) => {}
            Err(Unmade) => needs_bytes = true,
        }
    }
    match leaf {
        Some(leaf) => by_certificate(trust, &leaf.map_err(Unverified::Certificate)?, subject, &readable, evidence),
        None if needs_bytes => Err(Unverified::NeedsBytes),
        None => Err(unknown_key(trust, signatures, evidence)),
    }
}

/// Only the artifact's bytes would tell.
struct Unmade;

fn first_good<'a>(key: &PublicKey, message: &Message<'_>, signatures: &[&'a [u8]]) -> Result<Option<&'a [u8]>, Unmade> {
    let mut needs_bytes = false;
    for signature in signatures {
        match key.verify(message, signature) {
            Verdict::Good => return Ok(Some(signature)),
            Verdict::Bad => {}
            Verdict::NeedsBytes => needs_bytes = true,
        }
    }
    if needs_bytes { Err(Unmade) } else { Ok(None) }
}

fn unknown_key(trust: &Trust, signatures: &[Signature], evidence: &Evidence) -> Unverified {
    let own = signatures.iter().filter_map(|signature| signature.hint.as_deref());
    let hints: Vec<_> = evidence.hint.as_deref().into_iter().chain(own).filter(|hint| !hint.is_empty()).collect();
    let named = |key: &&Key| hints.iter().any(|hint| key.is_named(hint));
    match trust.keys.iter().find(named) {
        Some(key) => Unverified::WrongSignature { signer: format!("the key {}", key.name) },
        None => Unverified::UnknownKey { hint: hints.first().map(|hint| shown(hint)) },
    }
}

fn by_certificate(
    trust: &Trust,
    leaf: &Leaf,
    subject: &Subject<'_>,
    signatures: &[&[u8]],
    evidence: &Evidence,
) -> Result<Signed, Unverified> {
    let (issuer, named) = (shown(&leaf.issuer), leaf.subjects.first().map_or_else(String::new, |name| shown(name)));
    let Some(root) = &trust.root else { return Err(Unverified::NoRoot { issuer, subject: named }) };
    let Some(signature) =
        first_good(&leaf.key, subject.message, signatures).map_err(|Unmade| Unverified::NeedsBytes)?
    else {
        return Err(Unverified::WrongSignature { signer: format!("{named} ({issuer})") });
    };
    let identities = trust.identities.iter().filter(|identity| identity.issuer.matches(&leaf.issuer));
    let mut subjects =
        identities.filter_map(|identity| leaf.subjects.iter().find(|name| identity.subject.matches(name)));
    let Some(name) = subjects.next() else { return Err(Unverified::UnknownIdentity { issuer, subject: named }) };

    let mut why = Unverified::NoTime(NoTime::NoEvidence);
    for time in times(trust, subject, signature, &leaf.der, evidence) {
        let at = match time {
            Ok(at) => at,
            // What is wrong with a time is of no interest once another was good enough to judge the chain by.
            Err(no_time) => {
                if let Unverified::NoTime(_) = why {
                    why = Unverified::NoTime(no_time);
                }
                continue;
            }
        };
        match leaf.chains(root, &evidence.chain, at) {
            Ok(()) => {
                let signer = Signer::Certificate { issuer: leaf.issuer.clone(), subject: name.clone() };
                return Ok(Signed { signer, at: Some(at) });
            }
            Err(unverified) => why = unverified,
        }
    }
    Err(why)
}

/// The times that somebody trusted says of a signature, or why what is said is not trusted. `verifier` is the certificate
/// or SubjectPublicKeyInfo that the signature is by.
fn times(
    trust: &Trust,
    subject: &Subject<'_>,
    signature: &[u8],
    verifier: &[u8],
    evidence: &Evidence,
) -> Vec<Result<i64, NoTime>> {
    let Some(root) = &trust.root else { return Vec::new() };
    let stamped = [Some(signature), subject.document];
    let entries = evidence.entries.iter().map(|entry| entry.time(root, subject, signature, verifier));
    let stamps =
        evidence.timestamps.iter().map(|stamp| timestamp::time(root, stamp, stamped.iter().flatten().copied()));
    entries.chain(stamps).collect()
}
