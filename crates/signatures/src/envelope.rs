//! DSSE envelopes (secure-systems-lab `dsse`, `envelope.md` and `protocol.md`), alone as cosign 2 attaches them.

use std::{borrow::Cow, collections::BTreeMap};

use serde::Deserialize;

use crate::{
    BYTES_LIMIT, LIST_LIMIT,
    json::{self, List, decode},
    judge::{Evidence, Looked, Signature, Subject, judge},
    key::Message,
    simple,
    trust::Trust,
    unverified::{Malformed, shown},
};

/// Looks at a layer of type `application/vnd.dsse.envelope.v1+json`. `annotations` are those of the layer; cosign 2 keeps
/// certificates and log entries there.
///
/// # Errors
/// [`Malformed`] for what is no envelope, or larger than [`BYTES_LIMIT`].
pub fn envelope(trust: &Trust, bytes: &[u8], annotations: &BTreeMap<String, String>) -> Result<Looked, Malformed> {
    let envelope: Envelope<'_> = parse(bytes, "a DSSE envelope")?;
    match simple::evidence(annotations) {
        Ok(evidence) => envelope.judged(trust, &evidence, Some(bytes)),
        Err(why) => Ok(Looked { outcome: Err(why), ..envelope.judged(trust, &Evidence::default(), None)? }),
    }
}

/// A document of bounded size.
pub(crate) fn parse<'a, T: Deserialize<'a>>(bytes: &'a [u8], what: &'static str) -> Result<T, Malformed> {
    if bytes.len() > BYTES_LIMIT {
        return Err(Malformed::TooLarge { size: bytes.len(), limit: BYTES_LIMIT });
    }
    serde_json::from_slice(bytes).map_err(|error| Malformed::Json { what, why: shown(&error.to_string()) })
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Envelope<'a> {
    #[serde(borrow, deserialize_with = "json::text")]
    payload: Cow<'a, str>,
    payload_type: String,
    #[serde(default)]
    signatures: List<Signed<'a>, LIST_LIMIT>,
}

#[derive(Deserialize)]
struct Signed<'a> {
    keyid: Option<String>,
    #[serde(borrow, deserialize_with = "json::text")]
    sig: Cow<'a, str>,
}

impl Envelope<'_> {
    /// `document` is the envelope's own bytes, where timestamps may be of them.
    pub(crate) fn judged(
        self,
        trust: &Trust,
        evidence: &Evidence,
        document: Option<&[u8]>,
    ) -> Result<Looked, Malformed> {
        let payload = decode(&self.payload).ok_or(Malformed::Payload)?;
        let signature = |signed: Signed<'_>| Signature { hint: signed.keyid, bytes: decode(&signed.sig) };
        let signatures: Vec<_> = self.signatures.0.into_iter().map(signature).collect();
        let encoded = encoded(&self.payload_type, &payload);
        let (message, logged) = (Message::new(&encoded), Message::new(&payload));
        let subject = Subject { message: &message, logged: &logged, envelope: true, document };
        let outcome = judge(trust, &subject, &signatures, evidence);
        Ok(Looked { payload_type: self.payload_type, payload, outcome })
    }
}

/// What is signed: the pre-authentication encoding.
pub(crate) fn encoded(payload_type: &str, payload: &[u8]) -> Vec<u8> {
    let mut encoded = format!("DSSEv1 {} {payload_type} {} ", payload_type.len(), payload.len()).into_bytes();
    encoded.extend_from_slice(payload);
    encoded
}
