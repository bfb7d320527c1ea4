//! Signatures by whom a certificate names.

use std::collections::BTreeMap;

use rcgen::{CertificateParams, CustomExtension, ExtendedKeyUsagePurpose, SanType, SigningKey as _};
use serde_json::{Value, json};

use super::material::{
    DAY, ISSUER, NOON, PAYLOAD, SUBJECT, Signer as Owner, World, bundle_json, envelope_json, key, material, params,
    sign, trust,
};
use crate::{Artifact, NoTime, Signed, Signer, Trust, Unverified, bundle, envelope, json::encode, simple};

/// What becomes of a bundle with a log entry at a time.
fn outcome(trust: &Trust, world: &World, signer: &Owner, at: i64) -> Result<Signed, Unverified> {
    let signature = sign(&signer.key);
    let mut material = material(signer);
    material["tlogEntries"] = json!([world.entry(signer, &signature, at)]);
    look(trust, &bundle_json(envelope_json(&[&signature]), material))
}

fn look(trust: &Trust, bundle: &Value) -> Result<Signed, Unverified> {
    crate::bundle(trust, bundle.to_string().as_bytes(), Artifact::Unknown).unwrap().outcome
}

fn good() -> Result<Signed, Unverified> {
    let signer = Signer::Certificate { issuer: ISSUER.to_owned(), subject: SUBJECT.to_owned() };
    Ok(Signed { signer, at: Some(NOON * 1_000_000) })
}

#[test]
fn a_certificate_for_a_configured_identity_verifies() {
    let world = World::new();
    let outcome = outcome(&world.trust(), &world, &world.signer(), NOON);
    assert_eq!(outcome, good());
    assert_eq!(outcome.unwrap().signer.to_string(), format!("{SUBJECT} ({ISSUER})"));
}

#[test]
fn the_older_issuer_extension_and_other_names_do_too() {
    let world = World::new();
    let mut params = params();
    params.custom_extensions =
        vec![CustomExtension::from_oid_content(&[1, 3, 6, 1, 4, 1, 57264, 1, 1], ISSUER.as_bytes().to_vec())];
    assert_eq!(outcome(&world.trust(), &world, &world.certified(params.clone()), NOON), good());
    for (name, text) in [
        (SanType::Rfc822Name("a@example.com".try_into().unwrap()), "a@example.com"),
        (SanType::DnsName("ci.example.com".try_into().unwrap()), "ci.example.com"),
    ] {
        params.subject_alt_names = vec![name];
        let mut trust = world.trust();
        trust.add_identity("https://*.example.com", text).unwrap();
        let subject = outcome(&trust, &world, &world.certified(params.clone()), NOON).unwrap().signer;
        assert_eq!(subject, Signer::Certificate { issuer: ISSUER.to_owned(), subject: text.to_owned() });
    }
}

#[test]
fn another_identity_does_not_count() {
    let world = World::new();
    let unknown = |outcome: Result<Signed, Unverified>| {
        assert!(matches!(outcome, Err(Unverified::UnknownIdentity { .. })), "{outcome:?}");
    };
    let signer = world.signer();
    let configured = |issuer: &str, subject: &str| {
        let mut trust = Trust::none();
        trust.set_root(world.root().to_string().as_bytes()).unwrap();
        trust.add_identity(issuer, subject).unwrap();
        outcome(&trust, &world, &signer, NOON)
    };
    assert_eq!(configured(ISSUER, SUBJECT), good());
    unknown(configured("https://other.example.com", SUBJECT));
    unknown(configured(ISSUER, "https://git.example.com/other/*"));
    unknown(configured(ISSUER, "https://git.example.com/ml/train"));
    unknown(configured("https://login", SUBJECT));
    // The issuer of one identity and the subject of another are nobody.
    let mut trust = Trust::none();
    trust.set_root(world.root().to_string().as_bytes()).unwrap();
    trust.add_identity(ISSUER, "a@example.com").unwrap();
    trust.add_identity("https://other.example.com", SUBJECT).unwrap();
    unknown(outcome(&trust, &world, &signer, NOON));
}

#[test]
fn the_certificate_must_have_been_valid_then() {
    let world = World::new();
    let signer = world.signer();
    for at in [NOON - DAY, NOON + DAY] {
        let outcome = outcome(&world.trust(), &world, &signer, at);
        assert_eq!(outcome, Err(Unverified::Expired { at: at * 1_000_000 }));
    }
    let before_the_log = outcome(&world.trust(), &world, &signer, NOON - 10 * 365 * DAY);
    assert_eq!(before_the_log, Err(Unverified::NoTime(NoTime::UnknownLog)));
}

#[test]
fn the_chain_must_end_at_the_root_and_allow_code_signing() {
    let (world, other) = (World::new(), World::new());
    let chain = |outcome: Result<Signed, Unverified>| {
        assert!(matches!(outcome, Err(Unverified::Chain(_))), "{outcome:?}");
    };
    chain(outcome(&world.trust(), &world, &other.signer(), NOON));
    let mut params = params();
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    chain(outcome(&world.trust(), &world, &world.certified(params.clone()), NOON));
    params.extended_key_usages = vec![];
    chain(outcome(&world.trust(), &world, &world.certified(params), NOON));

    let mut root = world.root();
    root["certificateAuthorities"][0]["validFor"] =
        json!({"start": "2020-01-01T00:00:00Z", "end": "2021-01-01T00:00:00Z"});
    chain(outcome(&trust(&root), &world, &world.signer(), NOON));

    let mut trust = Trust::none();
    trust.add_identity("*", "*").unwrap();
    let no_root = Unverified::NoRoot { issuer: ISSUER.to_owned(), subject: SUBJECT.to_owned() };
    assert_eq!(outcome(&trust, &world, &world.signer(), NOON), Err(no_root));
}

#[test]
fn a_certificate_says_who_is_meant_once() {
    let world = World::new();
    let refused = |change: &dyn Fn(&mut CertificateParams)| {
        let mut params = params();
        change(&mut params);
        match outcome(&world.trust(), &world, &world.certified(params), NOON) {
            Err(Unverified::Certificate(why)) => why,
            other => unreachable!("{other:?}"),
        }
    };
    assert_eq!(refused(&|params| params.custom_extensions.clear()), "it names no OIDC issuer");
    let nameless = refused(&|params| params.subject_alt_names.clear());
    assert_eq!(nameless, "it names no e-mail address, URI or DNS name");
    let twice = refused(&|params| params.custom_extensions.push(params.custom_extensions[0].clone()));
    assert_eq!(twice, "it has an extension twice");
    let bare = refused(&|params| {
        params.custom_extensions =
            vec![CustomExtension::from_oid_content(&[1, 3, 6, 1, 4, 1, 57264, 1, 8], ISSUER.as_bytes().to_vec())];
    });
    assert_eq!(bare, "its issuer is not text");
}

#[test]
fn the_certificates_key_must_have_signed() {
    let world = World::new();
    let (signer, other) = (world.signer(), key());
    let signature = sign(&other);
    let mut material = material(&signer);
    material["tlogEntries"] = json!([world.entry(&signer, &signature, NOON)]);
    let outcome = look(&world.trust(), &bundle_json(envelope_json(&[&signature]), material));
    assert_eq!(outcome, Err(Unverified::WrongSignature { signer: format!("{SUBJECT} ({ISSUER})") }));
}

#[test]
fn a_configured_key_counts_beside_its_own_certificate_only() {
    let world = World::new();
    let (signer, other) = (world.signer(), key());
    let mut trust = Trust::none();
    trust.add_key("release", signer.key.public_key_pem().as_bytes()).unwrap();
    let bundle = bundle_json(envelope_json(&[&sign(&signer.key)]), material(&signer));
    assert!(matches!(look(&trust, &bundle).unwrap().signer, Signer::Key { .. }));
    let mut trust = Trust::none();
    trust.add_key("other", other.public_key_pem().as_bytes()).unwrap();
    let bundle = bundle_json(envelope_json(&[&sign(&other)]), material(&signer));
    assert!(look(&trust, &bundle).is_err());
}

#[test]
fn a_log_of_certificates_must_vouch_where_the_root_has_one() {
    let world = World::new();
    let trust = trust(&world.root_with_certificate_log());
    assert_eq!(outcome(&trust, &world, &world.logged_signer(), NOON), good());
    assert_eq!(outcome(&trust, &world, &world.signer(), NOON), Err(Unverified::NoCertificateLog));
    let mut root = world.root_with_certificate_log();
    root["ctlogs"] = World::new().root_with_certificate_log()["ctlogs"].take();
    let outcome = outcome(&super::material::trust(&root), &world, &world.logged_signer(), NOON);
    assert_eq!(outcome, Err(Unverified::NoCertificateLog));
}

#[test]
fn cosign_2_keeps_the_same_in_annotations() {
    let world = World::new();
    let signer = world.signer();
    let annotations = |entry: &Value, signature: &str| {
        let payload = json!({
            "body": entry["canonicalizedBody"],
            "integratedTime": NOON,
            "logIndex": 7,
            "logID": hex::encode(crate::json::decode(entry["logId"]["keyId"].as_str().unwrap()).unwrap()),
        });
        let set = &entry["inclusionPromise"]["signedEntryTimestamp"];
        BTreeMap::from(
            [
                ("dev.cosignproject.cosign/signature", signature.to_owned()),
                ("dev.sigstore.cosign/certificate", signer.pem.clone()),
                ("dev.sigstore.cosign/chain", String::new()),
                ("dev.sigstore.cosign/bundle", json!({"SignedEntryTimestamp": set, "Payload": payload}).to_string()),
            ]
            .map(|(name, text)| (name.to_owned(), text)),
        )
    };
    let signature = sign(&signer.key);
    let text = envelope_json(&[&signature]).to_string();
    let attached = annotations(&world.entry(&signer, &signature, NOON), "");
    assert_eq!(envelope(&world.trust(), text.as_bytes(), &attached).unwrap().outcome, good());

    let signature = signer.key.sign(PAYLOAD).unwrap();
    let body = super::times::record_body(&signer, PAYLOAD, &signature);
    let attached = annotations(&world.entry_of(&body, NOON), &encode(&signature));
    assert_eq!(simple(&world.trust(), PAYLOAD, &attached).outcome, good());
    assert!(simple(&world.trust(), b"{}", &attached).outcome.is_err());

    // An envelope whose annotations are broken is still an envelope.
    let broken = BTreeMap::from([("dev.sigstore.cosign/certificate".to_owned(), "none".to_owned())]);
    let looked = envelope(&world.trust(), text.as_bytes(), &broken).unwrap();
    assert_eq!((looked.payload.as_slice(), looked.outcome.is_err()), (PAYLOAD, true));
}

#[test]
fn older_bundles_have_a_chain() {
    let world = World::new();
    let signer = world.signer();
    let signature = sign(&signer.key);
    let mut bundle = bundle_json(
        envelope_json(&[&signature]),
        json!({
            "x509CertificateChain": {"certificates": [{"rawBytes": encode(&signer.der)}]},
            "tlogEntries": [world.entry(&signer, &signature, NOON)],
        }),
    );
    bundle["mediaType"] = "application/vnd.dev.sigstore.bundle+json;version=0.1".into();
    let looked = bundle_bytes(&world.trust(), &bundle);
    assert_eq!(looked, good());
}

fn bundle_bytes(trust: &Trust, json: &Value) -> Result<Signed, Unverified> {
    bundle(trust, &serde_json::to_vec_pretty(json).unwrap(), Artifact::Unknown).unwrap().outcome
}
