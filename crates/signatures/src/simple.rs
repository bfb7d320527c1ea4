//! Simple signing, as cosign 2 attaches it: a payload, and all else in the annotations of its layer (cosign
//! `specs/SIGNATURE_SPEC.md`).

use std::collections::BTreeMap;

use rustls_pki_types::{CertificateDer, pem::PemObject as _};
use serde::Deserialize;

use crate::{
    ANNOTATION_LIMIT, BYTES_LIMIT, CHAIN_LIMIT,
    json::{Base64, decode},
    judge::{Evidence, Looked, Signature, Subject, judge},
    key::Message,
    log::Entry,
    trust::Trust,
    unverified::{Malformed, Unverified},
};

const MEDIA_TYPE: &str = "application/vnd.dev.cosign.simplesigning.v1+json";

const SIGNATURE: &str = "dev.cosignproject.cosign/signature";
const CERTIFICATE: &str = "dev.sigstore.cosign/certificate";
const CHAIN: &str = "dev.sigstore.cosign/chain";
const ENTRY: &str = "dev.sigstore.cosign/bundle";
const STAMP: &str = "dev.sigstore.cosign/rfc3161timestamp";

/// Looks at a layer of type `application/vnd.dev.cosign.simplesigning.v1+json`, whose annotations have the signature. A
/// payload larger than [`BYTES_LIMIT`] is unverified.
#[must_use]
pub fn simple(trust: &Trust, payload: &[u8], annotations: &BTreeMap<String, String>) -> Looked {
    let outcome = if payload.len() > BYTES_LIMIT {
        Err(Unverified::Unread(Malformed::TooLarge { size: payload.len(), limit: BYTES_LIMIT }))
    } else {
        evidence(annotations).and_then(|evidence| {
            let signature = annotations.get(SIGNATURE).ok_or(Unverified::NoSignature)?;
            let signature = Signature { hint: None, bytes: decode(signature) };
            let message = Message::new(payload);
            let subject = Subject { message: &message, logged: &message, envelope: false, document: None };
            judge(trust, &subject, &[signature], &evidence)
        })
    };
    Looked { payload_type: MEDIA_TYPE.to_owned(), payload: payload.to_vec(), outcome }
}

/// What annotations have besides the signature.
pub(crate) fn evidence(annotations: &BTreeMap<String, String>) -> Result<Evidence, Unverified> {
    let broken = |name: &str| Unverified::BrokenEvidence(format!("the annotation {name}"));
    // Empty ones say nothing: cosign writes them where it has nothing.
    let text = |name: &str| match annotations.get(name).filter(|text| !text.is_empty()) {
        Some(text) if text.len() > ANNOTATION_LIMIT => Err(broken(name)),
        text => Ok(text.map(String::as_str)),
    };
    let mut evidence = Evidence::default();
    if let Some(pem) = text(CERTIFICATE)? {
        evidence.certificate = Some(CertificateDer::from_pem_slice(pem.as_bytes()).map_err(|_| broken(CERTIFICATE))?);
    }
    if let Some(pem) = text(CHAIN)? {
        let chain = CertificateDer::pem_slice_iter(pem.as_bytes()).take(CHAIN_LIMIT).collect::<Result<_, _>>();
        evidence.chain = chain.map_err(|_| broken(CHAIN))?;
    }
    if let Some(json) = text(ENTRY)? {
        let entry: AnnotatedEntry = serde_json::from_str(json).map_err(|_| broken(ENTRY))?;
        evidence.entries.push(Entry {
            log: hex::decode(entry.payload.log).map_err(|_| broken(ENTRY))?,
            index: entry.payload.index,
            integrated: entry.payload.integrated,
            body: entry.payload.body.0,
            promise: Some(entry.promise.0),
            proof: None,
        });
    }
    if let Some(json) = text(STAMP)? {
        let stamp: AnnotatedStamp = serde_json::from_str(json).map_err(|_| broken(STAMP))?;
        evidence.timestamps.push(stamp.stamp.0);
    }
    Ok(evidence)
}

#[derive(Deserialize)]
struct AnnotatedEntry {
    #[serde(rename = "SignedEntryTimestamp")]
    promise: Base64,
    #[serde(rename = "Payload")]
    payload: AnnotatedBody,
}

#[derive(Deserialize)]
struct AnnotatedBody {
    body: Base64,
    #[serde(rename = "integratedTime")]
    integrated: i64,
    #[serde(rename = "logIndex")]
    index: i64,
    #[serde(rename = "logID")]
    log: String,
}

#[derive(Deserialize)]
struct AnnotatedStamp {
    #[serde(rename = "SignedRFC3161Timestamp")]
    stamp: Base64,
}
