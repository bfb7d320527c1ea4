//! A trusted root: whose certificates, logs and times count (sigstore protobuf-specs, `sigstore_trustroot.proto`).

use jiff::Timestamp;
use oci::{Algorithm, Digest, Hasher};
use rustls_pki_types::{CertificateDer, TrustAnchor};
use serde::Deserialize;

use crate::{
    json::{Base64, List},
    key::PublicKey,
    unverified::shown,
};

/// How many bytes a trusted root may have. The public one of sigstore has 7 KiB.
pub const ROOT_LIMIT: usize = 1 << 20;

/// How many authorities or logs of a kind, and how many certificates in a chain, a trusted root may name.
const MEMBERS: usize = 64;

/// Both ways in which the media type is written, without the version.
const MEDIA_TYPES: [&str; 2] =
    ["application/vnd.dev.sigstore.trustedroot+json;version=0.1", "application/vnd.dev.sigstore.trustedroot.v0."];

/// Why a document is no trusted root.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RootError {
    /// It is too long.
    #[error("it has more than {ROOT_LIMIT} bytes")]
    TooLarge,
    /// It is not JSON of that form.
    #[error("it is not the JSON of a sigstore TrustedRoot: {0}")]
    Json(String),
    /// It is of another version.
    #[error("its media type is {0}: version 0.1 is supported")]
    MediaType(String),
    /// An authority is not usable.
    #[error("{0} number {1} has no usable certificates")]
    Certificates(&'static str, usize),
    /// A time is not one.
    #[error("a validity has {0} for a time, which is not RFC 3339")]
    Time(String),
}

#[derive(Clone)]
pub(crate) struct Root {
    /// The digest of the document.
    pub(crate) digest: Digest,
    /// Who issues certificates for signers.
    pub(crate) authorities: Vec<Authority>,
    /// Who issues timestamps.
    pub(crate) timestampers: Vec<Authority>,
    /// The transparency logs of signatures.
    pub(crate) logs: Vec<Log>,
    /// The transparency logs of certificates.
    pub(crate) certificate_logs: Vec<Log>,
}

/// Who issues certificates: an anchor, and what stands between it and them.
#[derive(Clone)]
pub(crate) struct Authority {
    pub(crate) anchor: TrustAnchor<'static>,
    /// The chain without the anchor. That of a timestamping authority begins with the certificate that it signs with.
    pub(crate) chain: Vec<CertificateDer<'static>>,
    pub(crate) valid: Validity,
}

/// A transparency log.
#[derive(Clone)]
pub(crate) struct Log {
    pub(crate) id: Vec<u8>,
    pub(crate) key: PublicKey,
    pub(crate) valid: Validity,
}

/// From when until when, in microseconds since 1970, both inclusive.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Validity {
    start: i64,
    end: i64,
}

impl Validity {
    pub(crate) fn contains(self, at: i64) -> bool {
        (self.start..=self.end).contains(&at)
    }
}

impl Root {
    pub(crate) fn parse(json: &[u8]) -> Result<Self, RootError> {
        if json.len() > ROOT_LIMIT {
            return Err(RootError::TooLarge);
        }
        let document: Document =
            serde_json::from_slice(json).map_err(|error| RootError::Json(shown(&error.to_string())))?;
        if !MEDIA_TYPES.iter().any(|prefix| document.media_type.starts_with(prefix)) {
            return Err(RootError::MediaType(shown(&document.media_type)));
        }
        Ok(Self {
            digest: Hasher::digest(Algorithm::Sha256, json),
            authorities: authorities(document.certificate_authorities.0, "the certificate authority")?,
            timestampers: authorities(document.timestamp_authorities.0, "the timestamp authority")?,
            logs: logs(document.tlogs.0)?,
            certificate_logs: logs(document.ctlogs.0)?,
        })
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Document {
    media_type: String,
    #[serde(default)]
    tlogs: List<JsonLog, MEMBERS>,
    #[serde(default)]
    certificate_authorities: List<JsonAuthority, MEMBERS>,
    #[serde(default)]
    ctlogs: List<JsonLog, MEMBERS>,
    #[serde(default)]
    timestamp_authorities: List<JsonAuthority, MEMBERS>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct JsonLog {
    public_key: JsonKey,
    log_id: Option<JsonLogId>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct JsonLogId {
    key_id: Base64,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct JsonKey {
    raw_bytes: Base64,
    valid_for: Option<JsonValidity>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct JsonAuthority {
    cert_chain: JsonChain,
    valid_for: Option<JsonValidity>,
}

#[derive(Deserialize)]
struct JsonChain {
    certificates: List<JsonCertificate, MEMBERS>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct JsonCertificate {
    raw_bytes: Base64,
}

#[derive(Deserialize)]
struct JsonValidity {
    start: Option<String>,
    end: Option<String>,
}

fn authorities(list: Vec<JsonAuthority>, what: &'static str) -> Result<Vec<Authority>, RootError> {
    let numbered = (1..).zip(list);
    let authority = |(number, authority): (usize, JsonAuthority)| {
        let certificates = authority.cert_chain.certificates.0.into_iter();
        let mut chain: Vec<_> = certificates.map(|certificate| CertificateDer::from(certificate.raw_bytes.0)).collect();
        let last = chain.pop().ok_or(RootError::Certificates(what, number))?;
        let anchor =
            webpki::anchor_from_trusted_cert(&last).map_err(|_| RootError::Certificates(what, number))?.to_owned();
        Ok(Authority { anchor, chain, valid: validity(authority.valid_for)? })
    };
    numbered.map(authority).collect()
}

/// The logs with keys of the kinds that we verify with. Others vouch for nothing, and are no reason to distrust the rest.
fn logs(list: Vec<JsonLog>) -> Result<Vec<Log>, RootError> {
    let mut logs = Vec::new();
    for log in list {
        let valid = validity(log.public_key.valid_for)?;
        let spki = log.public_key.raw_bytes.0;
        let Ok(key) = PublicKey::from_spki(&spki) else { continue };
        let id = log.log_id.map_or_else(|| Hasher::digest(Algorithm::Sha256, &spki).hash().to_vec(), |id| id.key_id.0);
        logs.push(Log { id, key, valid });
    }
    Ok(logs)
}

fn validity(valid: Option<JsonValidity>) -> Result<Validity, RootError> {
    let time = |text: String| match text.parse::<Timestamp>() {
        Ok(time) => Ok(time.as_microsecond()),
        Err(_) => Err(RootError::Time(shown(&text))),
    };
    let (start, end) = valid.map_or((None, None), |valid| (valid.start, valid.end));
    Ok(Validity {
        start: start.map(time).transpose()?.unwrap_or(i64::MIN),
        end: end.map(time).transpose()?.unwrap_or(i64::MAX),
    })
}
