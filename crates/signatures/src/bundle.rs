//! Sigstore bundles (protobuf-specs, `sigstore_bundle.proto`), in protobuf's JSON.

use aws_lc_rs::digest;
use oci::Digest;
use rustls_pki_types::CertificateDer;
use serde::Deserialize;

use crate::{
    CHAIN_LIMIT, LIST_LIMIT,
    envelope::{Envelope, parse},
    json::{Base64, List, Number},
    judge::{Evidence, Looked, Signature, Signed, Subject, judge},
    key::Message,
    log::{Entry, Proof},
    trust::Trust,
    unverified::{Malformed, Unverified, shown},
};

const WHAT: &str = "a sigstore bundle";

/// The media types of bundles, with the version for a parameter until v0.3.
const MEDIA_TYPES: [&str; 4] = [
    "application/vnd.dev.sigstore.bundle+json;version=0.1",
    "application/vnd.dev.sigstore.bundle+json;version=0.2",
    "application/vnd.dev.sigstore.bundle+json;version=0.3",
    "application/vnd.dev.sigstore.bundle.v0.3+json",
];

/// The artifact of a bundle that holds a bare signature.
#[derive(Debug, Clone, Copy)]
pub enum Artifact<'a> {
    /// It is not known.
    Unknown,
    /// Its digest. With an Ed25519 key that is not enough.
    Digest(&'a Digest),
    /// Its bytes.
    Bytes(&'a [u8]),
}

/// Looks at a bundle. The `artifact` is used only where the bundle is a bare signature of one (`messageSignature`) and
/// not an envelope.
///
/// # Errors
/// [`Malformed`] for what is no bundle, or larger than [`BYTES_LIMIT`](crate::BYTES_LIMIT).
pub fn bundle(trust: &Trust, bytes: &[u8], artifact: Artifact<'_>) -> Result<Looked, Malformed> {
    let bundle: Bundle<'_> = parse(bytes, WHAT)?;
    if !MEDIA_TYPES.contains(&bundle.media_type.as_str()) {
        return Err(Malformed::MediaType(shown(&bundle.media_type)));
    }
    let evidence = bundle.verification_material.into_evidence();
    match (bundle.dsse_envelope, bundle.message_signature) {
        (Some(envelope), None) => envelope.judged(trust, &evidence, None),
        (None, Some(signature)) => {
            let outcome = signature.judged(trust, &evidence, artifact);
            Ok(Looked { payload_type: String::new(), payload: Vec::new(), outcome })
        }
        _ => {
            Err(Malformed::Json { what: WHAT, why: "it must have either dsseEnvelope or messageSignature".to_owned() })
        }
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Bundle<'a> {
    media_type: String,
    verification_material: Material,
    #[serde(borrow)]
    dsse_envelope: Option<Envelope<'a>>,
    message_signature: Option<MessageSignature>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Material {
    public_key: Option<Hint>,
    certificate: Option<Certificate>,
    x509_certificate_chain: Option<Chain>,
    #[serde(default)]
    tlog_entries: List<LogEntry, LIST_LIMIT>,
    timestamp_verification_data: Option<Stamps>,
}

#[derive(Deserialize)]
struct Hint {
    #[serde(default)]
    hint: String,
}

#[derive(Deserialize)]
struct Chain {
    #[serde(default)]
    certificates: List<Certificate, CHAIN_LIMIT>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Certificate {
    raw_bytes: Base64,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct LogEntry {
    #[serde(default)]
    log_index: Number,
    log_id: Option<LogId>,
    #[serde(default)]
    integrated_time: Number,
    inclusion_promise: Option<Promise>,
    inclusion_proof: Option<Proof>,
    #[serde(default)]
    canonicalized_body: Base64,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase")]
struct LogId {
    key_id: Base64,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Promise {
    signed_entry_timestamp: Base64,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Stamps {
    #[serde(default)]
    rfc3161_timestamps: List<Stamp, LIST_LIMIT>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Stamp {
    signed_timestamp: Base64,
}

impl Material {
    fn into_evidence(self) -> Evidence {
        let listed = self.x509_certificate_chain.into_iter().flat_map(|chain| chain.certificates.0);
        let mut chain = self.certificate.into_iter().chain(listed).map(|one| CertificateDer::from(one.raw_bytes.0));
        let entry = |entry: LogEntry| Entry {
            log: entry.log_id.unwrap_or_default().key_id.0,
            index: entry.log_index.0,
            integrated: entry.integrated_time.0,
            body: entry.canonicalized_body.0,
            promise: entry.inclusion_promise.map(|promise| promise.signed_entry_timestamp.0),
            proof: entry.inclusion_proof,
        };
        let stamps = self.timestamp_verification_data.unwrap_or_default().rfc3161_timestamps.0;
        Evidence {
            hint: self.public_key.map(|key| key.hint),
            certificate: chain.next(),
            chain: chain.collect(),
            entries: self.tlog_entries.0.into_iter().map(entry).collect(),
            timestamps: stamps.into_iter().map(|stamp| stamp.signed_timestamp.0).collect(),
        }
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct MessageSignature {
    message_digest: Option<MessageDigest>,
    signature: Base64,
}

#[derive(Deserialize)]
struct MessageDigest {
    algorithm: String,
    digest: Base64,
}

impl MessageSignature {
    fn judged(self, trust: &Trust, evidence: &Evidence, artifact: Artifact<'_>) -> Result<Signed, Unverified> {
        let message = match artifact {
            Artifact::Unknown => return Err(Unverified::NoArtifact),
            Artifact::Bytes(bytes) => Message::new(bytes),
            Artifact::Digest(digest) => Message::of_hash(digest.hash()).ok_or(Unverified::NeedsBytes)?,
        };
        // Only a hint, but one that tells another artifact from a bad signature.
        if self.message_digest.is_some_and(|digest| !digest.may_be_of(&message)) {
            return Err(Unverified::OtherArtifact);
        }
        let subject = Subject { message: &message, logged: &message, envelope: false, document: None };
        judge(trust, &subject, &[Signature { hint: None, bytes: Some(self.signature.0) }], evidence)
    }
}

impl MessageDigest {
    fn may_be_of(&self, message: &Message<'_>) -> bool {
        let algorithm = match self.algorithm.as_str() {
            "SHA2_256" => &digest::SHA256,
            "SHA2_384" => &digest::SHA384,
            "SHA2_512" => &digest::SHA512,
            _ => return false,
        };
        message.has_hash(algorithm, &self.digest.0) != Some(false)
    }
}
