//! When it was signed, and who says so.

use rcgen::SigningKey as _;
use serde_json::{Value, json};

use super::material::{
    DAY, NOON, NOON_TEXT, PAYLOAD, Signer, TYPE, World, bundle_json, dsse_body, envelope_json, key, material, sha256,
    sign,
};
use crate::{
    Artifact, NoTime, Signed, Trust, Unverified, bundle,
    json::{decode, encode},
    log::root_of,
};

/// What the log keeps of a signature of bytes.
pub(super) fn record_body(signer: &Signer, bytes: &[u8], signature: &[u8]) -> Value {
    json!({"apiVersion": "0.0.1", "kind": "hashedrekord", "spec": {
        "data": {"hash": {"algorithm": "sha256", "value": hex::encode(sha256(bytes))}},
        "signature": {"content": encode(signature), "publicKey": {"content": encode(signer.pem.as_bytes())}},
    }})
}

struct Case {
    world: World,
    signer: Signer,
    signature: Vec<u8>,
}

impl Case {
    fn new() -> Self {
        let world = World::new();
        let signer = world.signer();
        let signature = sign(&signer.key);
        Self { world, signer, signature }
    }

    fn entry(&self) -> Value {
        self.world.entry(&self.signer, &self.signature, NOON)
    }

    fn with_entry(&self, entry: Value) -> Result<i64, NoTime> {
        self.with(&[entry], &[])
    }

    fn with_stamp(&self, stamp: &[u8]) -> Result<i64, NoTime> {
        self.with(&[], &[stamp])
    }

    /// The time in seconds.
    fn with(&self, entries: &[Value], stamps: &[&[u8]]) -> Result<i64, NoTime> {
        let stamps: Vec<_> = stamps.iter().map(|stamp| json!({"signedTimestamp": encode(stamp)})).collect();
        let mut material = material(&self.signer);
        material["tlogEntries"] = entries.into();
        material["timestampVerificationData"] = json!({"rfc3161Timestamps": stamps});
        let bundle = bundle_json(envelope_json(&[&self.signature]), material);
        match look(&self.world.trust(), &bundle) {
            Ok(Signed { at: Some(at), .. }) => Ok(at / 1_000_000),
            Err(Unverified::NoTime(why)) => Err(why),
            other => unreachable!("{other:?}"),
        }
    }
}

fn look(trust: &Trust, json: &Value) -> Result<Signed, Unverified> {
    bundle(trust, json.to_string().as_bytes(), Artifact::Unknown).unwrap().outcome
}

#[test]
fn without_a_time_nothing_is_verified() {
    let case = Case::new();
    assert_eq!(case.with(&[], &[]), Err(NoTime::NoEvidence));
    assert_eq!(case.with_entry(json!({})), Err(NoTime::NoPromise));
}

#[test]
fn a_promise_is_of_this_entry_by_this_log() {
    let case = Case::new();
    assert_eq!(case.with_entry(case.entry()), Ok(NOON));
    let wrong = |member: &str, value: Value| {
        let mut entry = case.entry();
        entry[member] = value;
        case.with_entry(entry)
    };
    assert_eq!(wrong("integratedTime", (NOON + 1).to_string().into()), Err(NoTime::WrongPromise));
    assert_eq!(wrong("logIndex", "8".into()), Err(NoTime::WrongPromise));
    assert_eq!(wrong("canonicalizedBody", encode(b"{}").into()), Err(NoTime::WrongPromise));
    assert_eq!(wrong("inclusionPromise", json!({"signedEntryTimestamp": "AAAA"})), Err(NoTime::WrongPromise));
    assert_eq!(wrong("inclusionPromise", Value::Null), Err(NoTime::NoPromise));
    assert_eq!(wrong("integratedTime", i64::MAX.to_string().into()), Err(NoTime::WrongPromise));
    // Another log, which says that it is this one.
    let other = World::new().entry(&case.signer, &case.signature, NOON);
    assert_eq!(case.with_entry(other.clone()), Err(NoTime::UnknownLog));
    assert_eq!(wrong("inclusionPromise", other["inclusionPromise"].clone()), Err(NoTime::WrongPromise));
}

#[test]
fn an_entry_is_about_this_signature() {
    let case = Case::new();
    let with_body = |body: &Value| case.with_entry(case.world.entry_of(body, NOON));
    let good = dsse_body(&case.signer.pem, &case.signature);
    assert_eq!(with_body(&good), Ok(NOON));
    let changed = |pointer: &str, value: Value| {
        let mut body = good.clone();
        *body.pointer_mut(pointer).unwrap() = value;
        with_body(&body)
    };
    let other = hex::encode(sha256(b"other"));
    assert_eq!(changed("/spec/payloadHash/value", other.into()), Err(NoTime::OtherEntry));
    assert_eq!(changed("/spec/payloadHash/algorithm", "sha512".into()), Err(NoTime::OtherEntry));
    assert_eq!(changed("/spec/payloadHash/algorithm", "md5".into()), Err(NoTime::OtherEntry));
    assert_eq!(changed("/spec/signatures/0/signature", "AAAA".into()), Err(NoTime::OtherEntry));
    let verifier = encode(case.world.signer().pem.as_bytes());
    assert_eq!(changed("/spec/signatures/0/verifier", verifier.into()), Err(NoTime::OtherEntry));
    assert_eq!(changed("/spec/signatures", json!([])), Err(NoTime::OtherEntry));
    assert_eq!(changed("/kind", "rfc3161".into()), Err(NoTime::UnknownEntry));
    // A signature of bytes is not one of an envelope, even where both hash the same.
    assert_eq!(with_body(&record_body(&case.signer, PAYLOAD, &case.signature)), Err(NoTime::OtherEntry));
}

#[test]
fn older_entries_of_envelopes_count() {
    let case = Case::new();
    let hash = json!({"algorithm": "sha256", "value": hex::encode(sha256(PAYLOAD))});
    let key = encode(case.signer.pem.as_bytes());
    let first = json!({"apiVersion": "0.0.1", "kind": "intoto", "spec": {
        "content": {"hash": hash, "payloadHash": hash}, "publicKey": key,
    }});
    assert_eq!(case.with_entry(case.world.entry_of(&first, NOON)), Ok(NOON));
    let second = |sig: &str| {
        json!({"apiVersion": "0.0.2", "kind": "intoto", "spec": {"content": {
            "envelope": {"payloadType": TYPE, "signatures": [{"sig": encode(sig.as_bytes()), "publicKey": key}]},
            "payloadHash": hash,
        }}})
    };
    assert_eq!(case.with_entry(case.world.entry_of(&second(&encode(&case.signature)), NOON)), Ok(NOON));
    assert_eq!(case.with_entry(case.world.entry_of(&second("AAAA"), NOON)), Err(NoTime::OtherEntry));
    let nobody = json!({"kind": "intoto", "spec": {"content": {"payloadHash": hash}}});
    assert_eq!(case.with_entry(case.world.entry_of(&nobody, NOON)), Err(NoTime::OtherEntry));
}

#[test]
fn an_inclusion_proof_must_hold() {
    let case = Case::new();
    let mut entry = case.entry();
    let body = decode(entry["canonicalizedBody"].as_str().unwrap()).unwrap();
    entry["inclusionProof"] = case.world.proof(&body);
    assert_eq!(case.with_entry(entry.clone()), Ok(NOON));
    let wrong = |pointer: &str, value: Value| {
        let mut entry = entry.clone();
        *entry["inclusionProof"].pointer_mut(pointer).unwrap() = value;
        assert_eq!(case.with_entry(entry), Err(NoTime::WrongProof), "{pointer}");
    };
    wrong("/logIndex", "0".into());
    wrong("/treeSize", "4".into());
    wrong("/treeSize", "-3".into());
    wrong("/rootHash", encode(&sha256(b"other")).into());
    wrong("/hashes", json!([]));
    wrong("/hashes/0", encode(b"").into());
    wrong("/checkpoint", Value::Null);
    let note = entry["inclusionProof"]["checkpoint"]["envelope"].as_str().unwrap().to_owned();
    wrong("/checkpoint/envelope", note.replace("example.com - 1", "example.com - 2").into());
    wrong("/checkpoint/envelope", note.split_once("\n\n").unwrap().0.into());
    wrong("/checkpoint/envelope", World::new().proof(&body)["checkpoint"]["envelope"].clone());
    // Without the promise, nobody has signed the time.
    entry["inclusionPromise"] = Value::Null;
    assert_eq!(case.with_entry(entry), Err(NoTime::NoPromise));
}

#[test]
fn a_timestamp_is_of_this_signature_by_an_authority_of_the_root() {
    let case = Case::new();
    let stamp = case.world.stamp(&case.signature, NOON_TEXT);
    assert_eq!(case.with_stamp(&stamp), Ok(NOON));
    assert_eq!(case.with_stamp(&case.world.stamp(b"other", NOON_TEXT)), Err(NoTime::OtherTimestamp));
    assert_eq!(case.with_stamp(&World::new().stamp(&case.signature, NOON_TEXT)), Err(NoTime::UnknownTimestamper));
    let forged = case.world.stamp_by(&key(), &case.signature, NOON_TEXT);
    assert_eq!(case.with_stamp(&forged), Err(NoTime::UnknownTimestamper));
    assert_eq!(case.with_stamp(&case.world.stamp(&case.signature, "noon")), Err(NoTime::BrokenTimestamp));
    assert_eq!(case.with_stamp(b""), Err(NoTime::BrokenTimestamp));
    let expired = case.world.stamp(&case.signature, "20500101120000Z");
    assert_eq!(case.with_stamp(&expired), Err(NoTime::UnknownTimestamper));
}

#[test]
fn a_certificate_for_signing_does_not_make_timestamps() {
    let case = Case::new();
    let mut root = case.world.root();
    root["timestampAuthorities"] = root["certificateAuthorities"].clone();
    let certificates = json!([{"rawBytes": encode(&case.signer.der)}, root["certificateAuthorities"][0]["certChain"]["certificates"][0]]);
    root["timestampAuthorities"][0]["certChain"]["certificates"] = certificates;
    let stamp = case.world.stamp_by(&case.signer.key, &case.signature, NOON_TEXT);
    let mut material = material(&case.signer);
    material["timestampVerificationData"] = json!({"rfc3161Timestamps": [{"signedTimestamp": encode(&stamp)}]});
    let bundle = bundle_json(envelope_json(&[&case.signature]), material);
    let outcome = look(&super::material::trust(&root), &bundle);
    assert_eq!(outcome, Err(Unverified::NoTime(NoTime::UnknownTimestamper)));
}

#[test]
fn one_good_time_of_several_is_enough() {
    let case = Case::new();
    let stamp = case.world.stamp(&case.signature, NOON_TEXT);
    assert_eq!(case.with(&[json!({})], &[b"", &stamp]), Ok(NOON));
    let late = case.world.entry(&case.signer, &case.signature, NOON + 5 * DAY);
    assert_eq!(case.with(&[late], &[&stamp]), Ok(NOON));
}

#[test]
fn a_keys_signature_keeps_a_trusted_time() {
    let case = Case::new();
    let key = key();
    let mut trust = case.world.trust();
    trust.add_key("release", key.public_key_pem().as_bytes()).unwrap();
    let signature = sign(&key);
    let entry = case.world.entry_of(&dsse_body(&key.public_key_pem(), &signature), NOON);
    let bundle =
        |entries: Value| bundle_json(envelope_json(&[&signature]), json!({"publicKey": {}, "tlogEntries": entries}));
    assert_eq!(look(&trust, &bundle(json!([entry]))).unwrap().at, Some(NOON * 1_000_000));
    assert_eq!(look(&trust, &bundle(json!([case.entry()]))).unwrap().at, None);
    assert_eq!(look(&trust, &bundle(json!([]))).unwrap().at, None);
}

#[test]
fn a_bare_signature_has_an_entry_of_its_own_kind() {
    let case = Case::new();
    let signature = case.signer.key.sign(b"artifact").unwrap();
    let mut material = material(&case.signer);
    material["tlogEntries"] = json!([case.world.entry_of(&record_body(&case.signer, b"artifact", &signature), NOON)]);
    let json = json!({
        "mediaType": "application/vnd.dev.sigstore.bundle.v0.3+json",
        "verificationMaterial": material,
        "messageSignature": {"signature": encode(&signature)},
    });
    let digest = oci::Digest::from_hash(&sha256(b"artifact")).unwrap();
    for artifact in [Artifact::Bytes(b"artifact"), Artifact::Digest(&digest)] {
        let looked = bundle(&case.world.trust(), json.to_string().as_bytes(), artifact).unwrap();
        assert_eq!(looked.outcome.unwrap().at, Some(NOON * 1_000_000));
    }
}

#[test]
fn every_leaf_of_every_small_tree_has_one_proof() {
    let leaf = |number: u64| -> [u8; 32] { sha256(&[&[0], &number.to_be_bytes()[..]].concat()).try_into().unwrap() };
    for size in 1..20 {
        let leaves: Vec<_> = (0..size).map(leaf).collect();
        let root = tree(&leaves);
        for index in 0..size {
            let path = path(usize::try_from(index).unwrap(), &leaves);
            let compute =
                |leaf, index, path: &[[u8; 32]]| root_of(leaf, index, size, path.iter().map(|hash| &hash[..]));
            assert_eq!(compute(leaf(index), index, &path), Some(root), "{index} of {size}");
            assert_ne!(compute(leaf(size), index, &path), Some(root));
            assert_ne!(compute(leaf(index), index + 1, &path), Some(root));
            assert_eq!(compute(leaf(index), index, &[&path[..], &[root]].concat()), None);
            if let Some((_, shorter)) = path.split_last() {
                assert_eq!(compute(leaf(index), index, shorter), None);
            }
        }
    }
    assert_eq!(root_of(leaf(0), 0, 0, std::iter::empty()), None);
    assert_eq!(root_of(leaf(0), u64::MAX, u64::MAX, std::iter::empty()), None);
}

/// The hash of a tree as RFC 6962, 2.1 defines it.
fn tree(leaves: &[[u8; 32]]) -> [u8; 32] {
    match leaves {
        [leaf] => *leaf,
        _ => {
            let (left, right) = leaves.split_at(half(leaves.len()));
            sha256(&[&[1], &tree(left)[..], &tree(right)].concat()).try_into().unwrap()
        }
    }
}

/// The audit path as RFC 6962, 2.1.1 defines it.
fn path(index: usize, leaves: &[[u8; 32]]) -> Vec<[u8; 32]> {
    if leaves.len() == 1 {
        return Vec::new();
    }
    let (left, right) = leaves.split_at(half(leaves.len()));
    let (mut path, sibling) = if index < left.len() {
        (self::path(index, left), right)
    } else {
        (self::path(index - left.len(), right), left)
    };
    path.push(tree(sibling));
    path
}

/// The largest power of two below.
fn half(size: usize) -> usize {
    size.next_power_of_two() / 2
}
