//! A signed document of any bytes and its annotations: a byte that says how to read it, then `document NUL signature NUL
//! certificate NUL chain NUL log entry NUL timestamp`. Only what the owner of the configured key signed is ever verified.

#![no_main]

use std::collections::BTreeMap;
use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;
use signatures::{Artifact, Looked, Malformed, Trust, bundle, envelope, simple};

const KEY: &str = include_str!("../../tests/fixtures/cosign.pub");
/// A bundle, an envelope and a payload that were signed with the key, and another bundle.
macro_rules! blob {
    ($repository:literal, $digest:literal) => {
        include_bytes!(concat!("../../tests/fixtures/oci/", $repository, "/blobs/sha256/", $digest))
    };
}
const DISPUTES: &[u8] = blob!("fraud/disputes", "26b6ea70fbb886b103be5ada0e004adf7622c5643eec1a72e3a7159e04cdf1cd");
const SCORING: &[u8] = blob!("risk/scoring", "e8bbb1314a978deb22ed3b30e8e40823f50654f02589c61cc2fd4f3f2d6c57ff");
const ENVELOPE: &[u8] = blob!("fraud/detector", "d2226c811024800911a87d73b4a0bb3e53edfa5d0fffeec79908d83f1e870557");
const SIMPLE: &[u8] = blob!("fraud/detector", "1b13daaf7b04fdf213cf6f77b59d1d4e4a16ba4dc14d3dc2d1a486f5163ddf17");

const ANNOTATIONS: [&str; 5] = [
    "dev.cosignproject.cosign/signature",
    "dev.sigstore.cosign/certificate",
    "dev.sigstore.cosign/chain",
    "dev.sigstore.cosign/bundle",
    "dev.sigstore.cosign/rfc3161timestamp",
];

/// The key, and a root whose log has the same, so that log entries and timestamps of good signatures are read too.
static TRUST: LazyLock<Trust> = LazyLock::new(|| {
    let base64: String = KEY.lines().filter(|line| !line.starts_with('-')).collect();
    let log = format!(r#"{{"publicKey":{{"rawBytes":"{base64}"}}}}"#);
    let media_type = "application/vnd.dev.sigstore.trustedroot+json;version=0.1";
    let root = format!(r#"{{"mediaType":"{media_type}","tlogs":[{log}],"ctlogs":[{log}]}}"#);
    let mut trust = Trust::none();
    trust.add_key("cosign", KEY.as_bytes()).unwrap();
    trust.add_identity("*", "*").unwrap();
    trust.set_root(root.as_bytes()).unwrap();
    trust
});

/// All that the key ever signed.
static SIGNED: LazyLock<Vec<Vec<u8>>> = LazyLock::new(|| {
    let bundles = [DISPUTES, SCORING].map(|bytes| bundle(&TRUST, bytes, Artifact::Unknown));
    let envelope = envelope(&TRUST, ENVELOPE, &BTreeMap::new());
    let payload =
        |looked: Result<Looked, Malformed>| looked.ok().filter(|looked| looked.outcome.is_ok()).unwrap().payload;
    bundles.into_iter().chain([envelope]).map(payload).chain([SIMPLE.to_vec()]).collect()
});

fuzz_target!(|bytes: &[u8]| {
    let Some((&how, bytes)) = bytes.split_first() else { return };
    let mut parts = bytes.splitn(1 + ANNOTATIONS.len(), |&byte| byte == 0);
    let document = parts.next().unwrap_or_default();
    let texts = parts.map(|text| String::from_utf8_lossy(text).into_owned());
    let annotations: BTreeMap<_, _> = ANNOTATIONS.into_iter().map(str::to_owned).zip(texts).collect();
    let look = |trust: &Trust| match how % 3 {
        0 => bundle(trust, document, Artifact::Bytes(SIMPLE)),
        1 => envelope(trust, document, &annotations),
        _ => Ok(simple(trust, document, &annotations)),
    };
    let looked = look(&TRUST);
    assert_eq!(look(&TRUST), looked);
    let looked = match looked {
        Ok(looked) => looked,
        Err(malformed) => return assert!(malformed.to_string().len() < 2000),
    };
    match &looked.outcome {
        // A bare signature of an artifact has no payload.
        Ok(signed) => assert!(SIGNED.contains(&looked.payload) || looked.payload.is_empty(), "{signed:?}"),
        Err(unverified) => assert!(unverified.to_string().len() < 2000, "{unverified}"),
    }
    assert!(look(&Trust::none()).is_ok_and(|looked| looked.outcome.is_err()));

    let mut trust = Trust::none();
    let _ = trust.add_key("key", document);
    let _ = trust.set_root(document);
});
