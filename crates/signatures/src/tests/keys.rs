//! Signatures by configured keys.

use std::collections::BTreeMap;

use aws_lc_rs::{rand::SystemRandom, rsa, signature::RSA_PSS_SHA256};
use oci::{Algorithm, Hasher};
use rcgen::{
    KeyPair, PKCS_ECDSA_P256_SHA256, PKCS_ECDSA_P384_SHA384, PKCS_ECDSA_P521_SHA512, PKCS_ED25519, PKCS_RSA_SHA256,
    RsaKeySize, SigningKey as _,
};
use serde_json::{Value, json};

use super::material::{PAYLOAD, TYPE, bundle_json, envelope_json, key, sign};
use crate::{
    Artifact, KeyError, Looked, Malformed, Signed, Signer, Trust, TrustError, Unverified, bundle, envelope,
    json::encode, simple,
};

fn trust(key: &KeyPair) -> Trust {
    let mut trust = Trust::none();
    trust.add_key("release", key.public_key_pem().as_bytes()).unwrap();
    trust
}

fn look(trust: &Trust, envelope: &Value) -> Looked {
    crate::envelope(trust, envelope.to_string().as_bytes(), &BTreeMap::new()).unwrap()
}

fn signed(trust: &Trust) -> Result<Signed, Unverified> {
    let (name, fingerprint) = trust.keys().next().unwrap();
    Ok(Signed { signer: Signer::Key { name: name.to_owned(), fingerprint }, at: None })
}

#[test]
fn every_kind_of_key_verifies_what_it_signed() {
    let kinds = [&PKCS_ECDSA_P256_SHA256, &PKCS_ECDSA_P384_SHA384, &PKCS_ED25519].map(KeyPair::generate_for);
    let rsa = KeyPair::generate_rsa_for(&PKCS_RSA_SHA256, RsaKeySize::_2048);
    for key in kinds.into_iter().chain([rsa]).map(Result::unwrap) {
        let trust = trust(&key);
        let looked = look(&trust, &envelope_json(&[&sign(&key)]));
        assert_eq!(
            looked,
            Looked { payload_type: TYPE.to_owned(), payload: PAYLOAD.to_vec(), outcome: signed(&trust) }
        );
        let mut changed = envelope_json(&[&sign(&key)]);
        changed["payload"] = encode(b"other").into();
        assert_eq!(look(&trust, &changed).outcome, Err(Unverified::UnknownKey { hint: None }));
    }
}

#[test]
fn rsa_may_use_pss() {
    let key = KeyPair::generate_rsa_for(&PKCS_RSA_SHA256, RsaKeySize::_2048).unwrap();
    let pair = rsa::KeyPair::from_pkcs8(&key.serialize_der()).unwrap();
    let mut signature = vec![0; pair.public_modulus_len()];
    let message = crate::envelope::encoded(TYPE, PAYLOAD);
    pair.sign(&RSA_PSS_SHA256, &SystemRandom::new(), &message, &mut signature).unwrap();
    let trust = trust(&key);
    assert_eq!(look(&trust, &envelope_json(&[&signature])).outcome, signed(&trust));
}

#[test]
fn a_signature_is_of_exactly_these_bytes_and_this_type() {
    let (key, other) = (key(), key());
    let trust = trust(&key);
    let good = envelope_json(&[&sign(&key)]);
    let unknown = Err(Unverified::UnknownKey { hint: None });

    let mut flipped = PAYLOAD.to_vec();
    flipped[3] ^= 1;
    let mut changed = good.clone();
    changed["payload"] = encode(&flipped).into();
    assert_eq!(look(&trust, &changed).outcome, unknown);

    let mut changed = good.clone();
    changed["payloadType"] = "application/json".into();
    assert_eq!(look(&trust, &changed).outcome, unknown);

    assert_eq!(look(&trust, &envelope_json(&[&sign(&other)])).outcome, unknown);
    // Over the payload alone, not over what an envelope signs.
    assert_eq!(look(&trust, &envelope_json(&[&key.sign(PAYLOAD).unwrap()])).outcome, unknown);
    assert_eq!(look(&trust, &envelope_json(&[])).outcome, Err(Unverified::NoSignature));
    assert_eq!(look(&trust, &envelope_json(&[b""])).outcome, Err(Unverified::NoSignature));
    assert_eq!(look(&Trust::none(), &good).outcome, Err(Unverified::NothingTrusted));
}

#[test]
fn one_good_signature_of_several_is_enough() {
    let (key, other) = (key(), key());
    let trust = trust(&key);
    let (good, bad) = (sign(&key), sign(&other));
    for signatures in [[&good, &bad], [&bad, &good], [&good, &good]] {
        let mut envelope = envelope_json(&signatures.map(Vec::as_slice));
        assert_eq!(look(&trust, &envelope).outcome, signed(&trust));
        // Nor does it matter that another is not even base64.
        envelope["signatures"].as_array_mut().unwrap().push(json!({"sig": "*"}));
        assert_eq!(look(&trust, &envelope).outcome, signed(&trust));
    }
}

#[test]
fn truncated_base64_is_broken() {
    let key = key();
    let trust = trust(&key);
    let mut envelope = envelope_json(&[&sign(&key)]);
    let whole = envelope["signatures"][0]["sig"].as_str().unwrap().trim_end_matches('=').to_owned();
    envelope["signatures"][0]["sig"] = whole[..whole.len() - 1 - usize::from(whole.len() % 4 == 1)].into();
    let outcome = look(&trust, &envelope).outcome;
    assert!(matches!(outcome, Err(Unverified::BrokenSignature | Unverified::UnknownKey { .. })), "{outcome:?}");

    envelope["payload"] = "eyJ".into();
    let broken = crate::envelope(&trust, envelope.to_string().as_bytes(), &BTreeMap::new());
    assert_eq!(broken, Err(Malformed::Payload));
}

#[test]
fn the_url_safe_alphabet_does_too() {
    let key = key();
    let trust = trust(&key);
    let mut envelope = envelope_json(&[&sign(&key)]);
    let sig = envelope["signatures"][0]["sig"].as_str().unwrap().replace('+', "-").replace('/', "_");
    envelope["signatures"][0]["sig"] = sig.into();
    assert_eq!(look(&trust, &envelope).outcome, signed(&trust));
}

#[test]
fn a_hint_tells_a_changed_payload_from_a_foreign_key() {
    let (key, other) = (key(), key());
    let trust = trust(&key);
    let fingerprint = trust.keys().next().unwrap().1;
    for hint in ["release", &fingerprint.hex(), &fingerprint.to_string(), &encode(fingerprint.hash())] {
        let bundle = bundle_json(envelope_json(&[&sign(&other)]), json!({"publicKey": {"hint": hint}}));
        let looked = crate::bundle(&trust, bundle.to_string().as_bytes(), Artifact::Unknown).unwrap();
        assert_eq!(looked.outcome, Err(Unverified::WrongSignature { signer: "the key release".to_owned() }), "{hint}");
    }
    let bundle = bundle_json(envelope_json(&[&sign(&other)]), json!({"publicKey": {"hint": "a\nb"}}));
    let looked = crate::bundle(&trust, bundle.to_string().as_bytes(), Artifact::Unknown).unwrap();
    assert_eq!(
        looked.outcome.unwrap_err().to_string(),
        "it is signed by a key that is not configured (hint a\\nb): configure the public key if its owner is to be trusted"
    );
    // A hint is no more than that.
    let bundle = bundle_json(envelope_json(&[&sign(&key)]), json!({"publicKey": {"hint": "somebody else"}}));
    let looked = crate::bundle(&trust, bundle.to_string().as_bytes(), Artifact::Unknown).unwrap();
    assert_eq!(looked.outcome, signed(&trust));
}

#[test]
fn simple_signing_has_its_signature_in_an_annotation() {
    let key = key();
    let trust = trust(&key);
    let annotated = |text: &str| BTreeMap::from([("dev.cosignproject.cosign/signature".to_owned(), text.to_owned())]);
    let signature = encode(&key.sign(PAYLOAD).unwrap());
    assert_eq!(simple(&trust, PAYLOAD, &annotated(&signature)).outcome, signed(&trust));
    assert_eq!(simple(&trust, b"{}", &annotated(&signature)).outcome, Err(Unverified::UnknownKey { hint: None }));
    assert_eq!(simple(&trust, PAYLOAD, &annotated("")).outcome, Err(Unverified::NoSignature));
    assert_eq!(simple(&trust, PAYLOAD, &annotated("*")).outcome, Err(Unverified::BrokenSignature));
    assert_eq!(simple(&trust, PAYLOAD, &BTreeMap::new()).outcome, Err(Unverified::NoSignature));
    let mut broken = annotated(&signature);
    broken.insert("dev.sigstore.cosign/bundle".to_owned(), "{".to_owned());
    let outcome = simple(&trust, PAYLOAD, &broken).outcome;
    assert_eq!(outcome, Err(Unverified::BrokenEvidence("the annotation dev.sigstore.cosign/bundle".to_owned())));
}

#[test]
fn a_bare_signature_is_of_the_artifact() {
    let artifact = b"a manifest";
    let (sha256, sha512) = (Hasher::digest(Algorithm::Sha256, artifact), Hasher::digest(Algorithm::Sha512, artifact));
    let look = |key: &KeyPair, algorithm: &str, digest: &[u8], artifact: Artifact<'_>| {
        let bundle = json!({
            "mediaType": "application/vnd.dev.sigstore.bundle+json;version=0.2",
            "verificationMaterial": {"publicKey": {}},
            "messageSignature": {
                "messageDigest": {"algorithm": algorithm, "digest": encode(digest)},
                "signature": encode(&key.sign(b"a manifest").unwrap()),
            },
        });
        bundle_of(&trust(key), &bundle, artifact).outcome
    };
    let hash = sha256.hash();
    let key = key();
    let good = signed(&trust(&key));
    assert_eq!(look(&key, "SHA2_256", hash, Artifact::Bytes(artifact)), good);
    assert_eq!(look(&key, "SHA2_256", hash, Artifact::Digest(&sha256)), good);
    assert_eq!(look(&key, "SHA2_512", sha512.hash(), Artifact::Bytes(artifact)), good);
    assert_eq!(look(&key, "SHA2_256", hash, Artifact::Digest(&sha512)), Err(Unverified::NeedsBytes));
    assert_eq!(look(&key, "SHA2_256", hash, Artifact::Unknown), Err(Unverified::NoArtifact));
    for (algorithm, digest, bytes) in
        [("SHA2_256", hash, &b"other"[..]), ("SHA2_512", hash, artifact), ("MD5", hash, artifact)]
    {
        assert_eq!(look(&key, algorithm, digest, Artifact::Bytes(bytes)), Err(Unverified::OtherArtifact));
    }

    let ed25519 = KeyPair::generate_for(&PKCS_ED25519).unwrap();
    assert_eq!(look(&ed25519, "SHA2_256", hash, Artifact::Bytes(artifact)), signed(&trust(&ed25519)));
    assert_eq!(look(&ed25519, "SHA2_256", hash, Artifact::Digest(&sha256)), Err(Unverified::NeedsBytes));
    let p384 = KeyPair::generate_for(&PKCS_ECDSA_P384_SHA384).unwrap();
    assert_eq!(look(&p384, "SHA2_256", hash, Artifact::Digest(&sha256)), Err(Unverified::NeedsBytes));
}

#[test]
fn a_bundle_is_of_a_known_version_and_has_one_content() {
    let key = key();
    let good = bundle_json(envelope_json(&[&sign(&key)]), json!({"publicKey": {}}));
    for version in ["bundle+json;version=0.1", "bundle+json;version=0.2", "bundle+json;version=0.3", "bundle.v0.3+json"]
    {
        let mut bundle = good.clone();
        bundle["mediaType"] = format!("application/vnd.dev.sigstore.{version}").into();
        assert_eq!(bundle_of(&trust(&key), &bundle, Artifact::Unknown).outcome, signed(&trust(&key)));
    }
    let malformed = |change: &dyn Fn(&mut Value)| {
        let mut bundle = good.clone();
        change(&mut bundle);
        crate::bundle(&trust(&key), bundle.to_string().as_bytes(), Artifact::Unknown).unwrap_err()
    };
    let other = malformed(&|bundle| bundle["mediaType"] = "application/vnd.dev.sigstore.bundle.v0.4+json".into());
    assert!(matches!(other, Malformed::MediaType(_)), "{other}");
    let none = malformed(&|bundle| bundle["dsseEnvelope"] = Value::Null);
    assert!(none.to_string().contains("either dsseEnvelope or messageSignature"), "{none}");
    let both = malformed(&|bundle| bundle["messageSignature"] = json!({"signature": ""}));
    assert!(both.to_string().contains("either dsseEnvelope or messageSignature"), "{both}");
    // What is read is what is shown: no second payload.
    let text = good.to_string().replace("\"payloadType\"", "\"payload\":\"\",\"payloadType\"");
    let twice = bundle(&trust(&key), text.as_bytes(), Artifact::Unknown).unwrap_err();
    assert!(twice.to_string().contains("duplicate field"), "{twice}");
    assert!(envelope(&trust(&key), b"[]", &BTreeMap::new()).is_err());
}

#[test]
fn a_key_file_that_does_not_do_says_why() {
    let why = |pem: &str| match Trust::none().add_key("release", pem.as_bytes()) {
        Err(TrustError::Key { name, why }) if name == "release" => why,
        other => unreachable!("{other:?}"),
    };
    let key = key();
    let pem = key.public_key_pem();
    assert_eq!(why(""), KeyError::NoKey);
    assert_eq!(why("ssh-ed25519 AAAA"), KeyError::NoKey);
    assert_eq!(why(&pem.replace("PUBLIC KEY", "CERTIFICATE")), KeyError::NoKey);
    assert_eq!(why(&key.serialize_pem()), KeyError::Private);
    assert_eq!(why(&pem.replace("PUBLIC KEY", "ENCRYPTED SIGSTORE PRIVATE KEY")), KeyError::Private);
    assert_eq!(why(&format!("{pem}{pem}")), KeyError::Several);
    let p521 = KeyPair::generate_for(&PKCS_ECDSA_P521_SHA512).unwrap();
    assert_eq!(why(&p521.public_key_pem()), KeyError::Kind("ECDSA, curve 1.3.132.0.35".to_owned()));
    let text = |der: &[u8]| format!("-----BEGIN PUBLIC KEY-----\n{}\n-----END PUBLIC KEY-----\n", encode(der));
    assert_eq!(why(&text(b"no DER")), KeyError::Broken);
    let mut off_curve = super::material::spki(&key);
    *off_curve.last_mut().unwrap() ^= 1;
    assert_eq!(why(&text(&off_curve)), KeyError::Broken);
    // 1024 bits: too short to generate, so made by hand.
    let number = |bytes: &[u8]| crate::asn1::item(crate::asn1::INTEGER, bytes).unwrap();
    let modulus = [&[0], &[0xff; 128][..]].concat();
    let rsa = crate::asn1::item(0x30, &[number(&modulus), number(&[1, 0, 1])].concat()).unwrap();
    let algorithm = hex::decode("300d06092a864886f70d0101010500").unwrap();
    let bits = crate::asn1::item(0x03, &[&[0], &rsa[..]].concat()).unwrap();
    assert_eq!(why(&text(&crate::asn1::item(0x30, &[algorithm, bits].concat()).unwrap())), KeyError::Length(1024));
}

#[test]
fn names_and_keys_are_unique_and_the_fingerprint_is_of_all_that_counts() {
    let (one, two) = (key(), key());
    let mut trust = trust(&one);
    let before = trust.fingerprint();
    assert_ne!(before, Trust::none().fingerprint());
    for (name, key) in [("release", &two), ("again", &one)] {
        let twice = TrustError::Twice { name: "release".to_owned(), other: name.to_owned() };
        assert_eq!(trust.add_key(name, key.public_key_pem().as_bytes()), Err(twice));
    }
    assert_eq!(trust.fingerprint(), before);
    trust.add_key("two", two.public_key_pem().as_bytes()).unwrap();
    let mut turned = Trust::none();
    turned.add_key("two", two.public_key_pem().as_bytes()).unwrap();
    turned.add_key("release", one.public_key_pem().as_bytes()).unwrap();
    assert_eq!(trust.fingerprint(), turned.fingerprint());
    turned.add_identity("a", "b*").unwrap();
    assert_ne!(trust.fingerprint(), turned.fingerprint());
    assert!(trust.add_identity("", "*").is_err());
}

#[track_caller]
fn bundle_of(trust: &Trust, bundle: &Value, artifact: Artifact<'_>) -> Looked {
    crate::bundle(trust, bundle.to_string().as_bytes(), artifact).unwrap()
}
