use std::fs;
use std::path::Path;

use serde_json::json;

use super::*;
use crate::{ENTRIES, Unread};

fn provenance(version: &str, predicate: &Value) -> Statement {
    let document = json!({
        "_type": "https://in-toto.io/Statement/v1",
        "subject": [{"name": "fraud/detector", "digest": {"sha256": A}}],
        "predicateType": format!("https://slsa.dev/provenance/{version}"),
        "predicate": predicate,
    });
    read("application/vnd.in-toto+json", &document)
}

fn dependencies(dependencies: &Value) -> Statement {
    provenance("v1", &json!({"buildDefinition": {"resolvedDependencies": dependencies}}))
}

/// The lines about uses and problems.
#[track_caller]
fn assert_uses(statement: &Statement, lines: &[&str]) {
    let text = render(statement);
    let about: Vec<_> = text.lines().skip(1).filter(|line| !line.starts_with("of ")).collect();
    assert_eq!(about, lines);
}

/// The payloads of the fixtures: an unsigned statement as it is, a signed one out of its envelope.
#[test]
fn fixtures() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/fixtures/oci");
    let blob =
        |repository: &str, digest: &str| fs::read(root.join(repository).join("blobs/sha256").join(digest)).unwrap();
    let unsigned = blob("fraud/detector", "f3e54b1953d126e006c6f7f007afe26e1367a5f0662cfa6f64af28ee6b65c297");
    let customers = "ccd5648a3e270d778bfc7cd20f0d78c61f6e95a56ee57ff8e3aedc73e8a56bbb";
    let used = format!("trained_on (dataset) artifact localhost:5000/data/customers@sha256:{customers}");
    let source = "source external git+https://git.example.com/fraud/detector@COMMIT*";
    assert_says(
        &statement("application/vnd.in-toto+json", &unsigned).unwrap(),
        &[
            "in-toto https://slsa.dev/provenance/v1 2026-03-01T12:30:00Z",
            "of fraud/detector:1.0 sha256:c72650a3e0b1408599f4d3f0d28acc5848d955a62031c774dfb12ef8689f493e",
            &used,
            source,
        ],
    );
    let signed = blob("fraud/detector", "d2226c811024800911a87d73b4a0bb3e53edfa5d0fffeec79908d83f1e870557");
    let envelope: Value = serde_json::from_slice(&signed).unwrap();
    assert_says(
        &statement("", &base64(envelope["payload"].as_str().unwrap())).unwrap(),
        &[
            "in-toto https://slsa.dev/provenance/v1 2026-03-01T12:30:00Z",
            "of localhost:5000/fraud/detector sha256:0fa3a0ca570ab8a819a343b51ddc1dfaf9b852320af1d4cb6447188569d009ba",
            &used,
            source,
        ],
    );
    let bundle = blob("fraud/disputes", "26b6ea70fbb886b103be5ada0e004adf7622c5643eec1a72e3a7159e04cdf1cd");
    let bundle: Value = serde_json::from_slice(&bundle).unwrap();
    assert_says(
        &statement("", &base64(bundle["dsseEnvelope"]["payload"].as_str().unwrap())).unwrap(),
        &[
            "in-toto https://sigstore.dev/cosign/sign/v1",
            "of - sha256:c6acfaabc2ab696161b17aef2c193589b091c24a6fd699e983b4ad9d15ff99e9",
        ],
    );
    assert_says(
        &statement("", &signed).unwrap(),
        &["other incomplete", "problem: it is a signed envelope, whose payload is expected here"],
    );
}

fn base64(text: &str) -> Vec<u8> {
    let mut bytes = Vec::new();
    for group in text.trim_end_matches('=').as_bytes().chunks(4) {
        let mut bits = 0_u32;
        for byte in group {
            let alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
            let digit = alphabet.find(char::from(*byte)).unwrap();
            bits = bits << 6 | u32::try_from(digit).unwrap();
        }
        bits <<= 6 * (4 - group.len());
        bytes.extend(bits.to_be_bytes()[1..group.len()].iter());
    }
    bytes
}

#[test]
fn dependencies_say_what_they_were_for() {
    assert_uses(
        &read("application/vnd.in-toto+json", &document("provenance.intoto.json")),
        &[
            r#"trained_on (train) "dataset:train" artifact registry.example.com/ml/tx@sha256:B"#,
            r#"derived_from (finetune) "base-model" artifact registry.example.com/ml/base:1.0@sha256:C"#,
            "tested_on (Validation-Set) artifact ml/val@sha256:A",
            "unstated (sidecar) artifact registry.example.com/ml/other:2",
            r#"source "source" external git+https://git.example.com/ml/fraud@COMMIT*"#,
            "trained_on (train) external git+https://git.example.com/ml/data@main",
            "trained_on (data) external s3://bucket/key?versionId=7* sha256:C",
            "tested_on (eval) content sha256:A",
            "unstated external data/train.csv sha256:B",
        ],
    );
}

#[test]
fn what_contradicts_itself_is_not_believed() {
    let other = "0".repeat(40);
    assert_uses(
        &dependencies(&json!([
            {"uri": format!("oci://h.example/a@sha256:{A}"), "digest": {"sha256": B}},
            {"uri": format!("sha256:{A}"), "digest": {"sha256": B}},
            {"uri": format!("git+https://u:pw@h.example/a@{COMMIT}"), "digest": {"gitCommit": other}},
            {"uri": format!("oci://h.example/b@sha256:{A}"), "digest": {"sha512": "0".repeat(128), "sha256": "short"}},
            {"name": "nothing"},
            {"uri": format!("oci://h.example/c@sha256:{A}"), "digest": {"sha256": A.to_uppercase()}},
        ])),
        &[
            "unstated artifact h.example/b@sha256:A",
            "unstated artifact h.example/c@sha256:A",
            "problem: buildDefinition.resolvedDependencies[0]: the digest contradicts oci://h.example/a@sha256:A, and neither is believed",
            "problem: buildDefinition.resolvedDependencies[1]: the digest contradicts sha256:A, and neither is believed",
            "problem: buildDefinition.resolvedDependencies[2]: the digest contradicts git+https://h.example/a@COMMIT, and neither is believed",
            "problem: buildDefinition.resolvedDependencies[3]: the sha256 is no hash of that kind",
            "problem: buildDefinition.resolvedDependencies[4] has neither a uri nor a digest that the registry knows",
        ],
    );
}

#[test]
fn the_older_layout() {
    let predicate = json!({
        "builder": {"id": "https://ci.example.com"},
        "invocation": {"configSource": {"uri": "git+https://github.com/org/repo@refs/heads/main", "digest": {"sha1": COMMIT}}},
        "metadata": {"buildStartedOn": "2026-03-01T10:00:00Z", "buildFinishedOn": "2026-03-01T12:30:00+02:00"},
        "materials": [
            {"uri": "git+https://github.com/org/repo@refs/heads/main", "digest": {"sha1": COMMIT}},
            {"uri": format!("pkg:docker/python@3.12?platform=linux%2Famd64"), "digest": {"sha256": B}},
        ],
    });
    for version in ["v0.2", "v0.1", "v1", "v1.0", "v1?draft", "v0.2/"] {
        let statement = provenance(version, &predicate);
        assert_eq!(statement.occurred_at.map(moment).unwrap(), "2026-03-01T10:30:00Z");
        assert_uses(
            &statement,
            &[
                "source external git+https://github.com/org/repo@COMMIT*",
                "unstated artifact docker.io/library/python:3.12@sha256:B",
            ],
        );
    }
}

#[test]
fn kit_import_says_where_a_kit_came_from() {
    let import = |source: Value| {
        provenance(
            "v1",
            &json!({"buildDefinition": {
                "buildType": "https://kitops.org/import/v1",
                "externalParameters": {"source": source, "kitfile": {"digest": {"sha256": B}}},
                "resolvedDependencies": [],
            }}),
        )
    };
    let commit = json!({"gitCommit": COMMIT});
    for (source, line) in [
        (json!({"uri": "hf://org/model", "digest": commit}), "derived_from external hf://org/model@COMMIT*"),
        (json!({"uri": "hf://datasets/org/d", "digest": commit}), "derived_from external hf://datasets/org/d@COMMIT*"),
        (
            json!({"uri": "git+https://h.example/a.git", "digest": commit}),
            "source external git+https://h.example/a@COMMIT*",
        ),
        (json!("git+https://h.example/a.git"), "source external git+https://h.example/a"),
    ] {
        assert_uses(&import(source), &[line]);
    }
    assert_uses(&import(json!({"repository": "x"})), &[]);
}

#[test]
fn signatures_of_models_name_their_files() {
    let signature = |method: &str| {
        json!({
            "_type": "https://in-toto.io/Statement/v1",
            "subject": [{"name": "fraud", "digest": {"sha256": A}}],
            "predicateType": "https://model_signing/signature/v1.0",
            "predicate": {
                "serialization": {"method": method, "hash_type": "sha256", "allow_symlinks": false, "ignore_paths": []},
                "resources": [
                    {"name": "config.json", "algorithm": "sha256", "digest": B},
                    {"name": "weights/a b.safetensors", "algorithm": "sha256", "digest": C},
                    {"name": "x", "algorithm": "blake2b", "digest": C},
                ],
            },
        })
    };
    assert_says(
        &read("", &signature("files")),
        &[
            "model-signing https://model_signing/signature/v1.0 incomplete",
            "of fraud sha256:A",
            "file config.json sha256:B",
            "file weights/a b.safetensors sha256:C",
            "problem: resources[2] has no name or no sha256",
        ],
    );
    assert_says(
        &read("", &signature("shards")),
        &[
            "model-signing https://model_signing/signature/v1.0 incomplete",
            "of fraud sha256:A",
            "problem: it was signed in pieces, not by file: the hashes are of no files",
        ],
    );
}

#[test]
fn what_is_unknown_says_nothing() {
    let unknown = json!({
        "_type": "https://in-toto.io/Statement/v0.1",
        "subject": [{"name": "a", "digest": {"sha1": COMMIT}}],
        "predicateType": "https://example.com/vetted/v1",
        "predicate": {"materials": [{"uri": "hf://a/b"}]},
    });
    assert_says(&read("", &unknown), &["in-toto https://example.com/vetted/v1", "of a -"]);
    assert_says(&read("application/json", &json!({"a": 1})), &["other"]);
    assert_says(&read("", &json!([1])), &["other incomplete", "problem: it is not a JSON object"]);
    assert!(matches!(statement("", b"<bom/>"), Err(Unread::Json(_))));
    let spdx2 = json!({"spdxVersion": "SPDX-2.3", "packages": [{"name": "x"}]});
    assert_says(&read("text/spdx+json", &spdx2), &["spdx"]);
}

#[test]
fn long_lists_are_cut_and_said_to_be() {
    let many: Vec<_> = (0..ENTRIES + 5).map(|i| json!({"uri": format!("s3://bucket/{i}")})).collect();
    let statement = dependencies(&json!(many));
    assert_eq!(statement.uses.len(), ENTRIES);
    assert!(statement.incomplete);
    assert_eq!(statement.problems, ["buildDefinition.resolvedDependencies has 10005 entries, 10000 are read"]);
}

#[test]
fn credentials_are_not_shown() {
    let statement = dependencies(&json!([
        {"name": "https://u:S3CR3T@h.example", "uri": "https://u:S3CR3T@h.example/x?token=S3CR3T",
         "annotations": {"role": "https://u:S3CR3T@h.example"}},
    ]));
    assert!(!format!("{statement:?}").contains("S3CR3T"), "{statement:?}");
}
