//! Inputs that are too large.

use std::collections::BTreeMap;

use super::material::{PAYLOAD, World, envelope_json, key, sign};
use crate::{
    ANNOTATION_LIMIT, Artifact, BYTES_LIMIT, LIST_LIMIT, Malformed, ROOT_LIMIT, RootError, SIGNERS, Trust, TrustError,
    Unverified, bundle, envelope, simple,
};

#[test]
fn documents_are_bounded() {
    let bytes = vec![b' '; BYTES_LIMIT + 1];
    let trust = Trust::none();
    let too_large = Malformed::TooLarge { size: bytes.len(), limit: BYTES_LIMIT };
    assert_eq!(envelope(&trust, &bytes, &BTreeMap::new()), Err(too_large.clone()));
    assert_eq!(bundle(&trust, &bytes, Artifact::Unknown), Err(too_large.clone()));
    assert_eq!(simple(&trust, &bytes, &BTreeMap::new()).outcome, Err(Unverified::Unread(too_large)));
    assert_eq!(Trust::none().set_root(&bytes[..=ROOT_LIMIT]), Err(TrustError::Root(RootError::TooLarge)));
}

#[test]
fn lists_are_bounded() {
    let mut trust = Trust::none();
    let key = key();
    trust.add_key("key", key.public_key_pem().as_bytes()).unwrap();
    let good = sign(&key);
    let look = |count: usize| {
        let envelope = envelope_json(&vec![&good[..]; count]).to_string();
        crate::envelope(&trust, envelope.as_bytes(), &BTreeMap::new())
    };
    assert!(look(LIST_LIMIT).unwrap().outcome.is_ok());
    assert!(look(LIST_LIMIT + 1).unwrap_err().to_string().contains("more than 8 items"));
    let nested = "[".repeat(1 << 20);
    assert!(envelope(&trust, nested.as_bytes(), &BTreeMap::new()).is_err());
}

#[test]
fn annotations_are_bounded() {
    let annotations = BTreeMap::from([
        ("dev.cosignproject.cosign/signature".to_owned(), "AA==".to_owned()),
        ("dev.sigstore.cosign/chain".to_owned(), "-".repeat(ANNOTATION_LIMIT + 1)),
    ]);
    let outcome = simple(&World::new().trust(), PAYLOAD, &annotations).outcome;
    assert!(matches!(outcome, Err(Unverified::BrokenEvidence(_))), "{outcome:?}");
}

#[test]
fn signers_are_bounded() {
    let mut trust = Trust::none();
    for number in 0..SIGNERS {
        trust.add_identity("issuer", &format!("subject {number}")).unwrap();
    }
    assert_eq!(trust.add_identity("issuer", "one more"), Err(TrustError::TooMany("identities")));
}
