//! Whatever the bytes are, there is an answer.

use std::collections::BTreeMap;

use proptest::prelude::*;
use serde_json::json;

use super::material::{World, bundle_json, envelope_json, material, sign, trust};
use crate::{Artifact, Trust, bundle, envelope, simple};

/// What an answer says, which must not depend on the weather, and must not panic.
fn all(trust: &Trust, bytes: &[u8], annotations: &BTreeMap<String, String>) -> [String; 3] {
    [
        format!("{:?}", envelope(trust, bytes, annotations)),
        format!("{:?}", bundle(trust, bytes, Artifact::Bytes(bytes))),
        format!("{:?}", simple(trust, bytes, annotations)),
    ]
}

proptest! {
    #[test]
    fn any_bytes_have_an_answer(bytes: Vec<u8>, text: String) {
        let names = ["dev.cosignproject.cosign/signature", "dev.sigstore.cosign/certificate", "dev.sigstore.cosign/chain",
            "dev.sigstore.cosign/bundle", "dev.sigstore.cosign/rfc3161timestamp"];
        for name in names {
            all(&Trust::none(), &bytes, &BTreeMap::from([(name.to_owned(), text.clone())]));
        }
        let mut trust = Trust::none();
        prop_assert!(trust.add_key("key", &bytes).is_err());
        prop_assert!(trust.set_root(&bytes).is_err());
        prop_assert!(trust.is_none());
    }
}

#[test]
fn any_damage_to_the_evidence_has_an_answer() {
    let world = World::new();
    let trust = trust(&world.root_with_certificate_log());
    let signer = world.logged_signer();
    let signature = sign(&signer.key);
    let stamp = world.stamp(&signature, super::material::NOON_TEXT);
    let with = |certificate: &[u8], stamp: &[u8]| {
        let mut material = material(&signer);
        material["certificate"]["rawBytes"] = crate::json::encode(certificate).into();
        material["timestampVerificationData"] =
            json!({"rfc3161Timestamps": [{"signedTimestamp": crate::json::encode(stamp)}]});
        let text = bundle_json(envelope_json(&[&signature]), material).to_string();
        bundle(&trust, text.as_bytes(), Artifact::Unknown).unwrap().outcome
    };
    assert!(with(&signer.der, &stamp).is_ok());
    for at in 0..signer.der.len() {
        let mut der = signer.der.clone();
        der[at] ^= 0x41;
        assert!(with(&der, &stamp).is_err(), "{at}");
        assert!(with(&signer.der[..at], &stamp).is_err(), "{at}");
    }
    for at in 0..stamp.len() {
        let mut changed = stamp.clone();
        changed[at] ^= 0x41;
        // Some of it is not signed: the status, and whose signature it is said to be.
        let _ = with(&signer.der, &changed);
        assert!(with(&signer.der, &stamp[..at]).is_err(), "{at}");
    }
}
