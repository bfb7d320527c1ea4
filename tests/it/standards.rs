//! The documents of the tests as the makers of their standards judge them: what the registry is shown to read is what
//! the standards say, and not our idea of it.

use std::{fs, process::Command};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde_json::{Value, json};

use crate::{
    clients::Bin,
    documents,
    left_out::workspace,
    sample::{blobs_of, layout, sha256},
};

/// What the validators say of each of these, in their order; a name ends in the kind. `None` where they are not installed.
fn verdicts(named: &[(String, Value)]) -> Option<Vec<String>> {
    let bin = Bin::wanted("validators-python")?;
    let folder = tempfile::tempdir().unwrap();
    for (name, document) in named {
        fs::write(folder.path().join(name), document.to_string()).unwrap();
    }
    let output = Command::new(bin.path())
        .arg(workspace().join("tests/clients/validate.py"))
        .args(named.iter().map(|(name, _)| name))
        .current_dir(&folder)
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    Some(String::from_utf8(output.stdout).unwrap().lines().map(str::to_owned).collect())
}

/// A document of `tests/fixtures/documents`.
fn fixture(name: &str) -> Value {
    serde_json::from_slice(&fs::read(workspace().join("tests/fixtures/documents").join(name)).unwrap()).unwrap()
}

/// A statement among the artifacts of the fixtures, out of its envelope or bundle if it is in one.
fn pushed(repository: &str, digest: &str) -> Value {
    let document: Value = serde_json::from_slice(&blobs_of(&layout(repository))[digest]).unwrap();
    let payload = document
        .get("dsseEnvelope")
        .unwrap_or(&document)
        .get("payload")
        .map(|payload| serde_json::from_slice(&STANDARD.decode(payload.as_str().unwrap()).unwrap()).unwrap());
    payload.unwrap_or(document)
}

const UNSIGNED: &str = "sha256:f3e54b1953d126e006c6f7f007afe26e1367a5f0662cfa6f64af28ee6b65c297";
const ATTESTED: &str = "sha256:d2226c811024800911a87d73b4a0bb3e53edfa5d0fffeec79908d83f1e870557";
const SIGNED: &str = "sha256:26b6ea70fbb886b103be5ada0e004adf7622c5643eec1a72e3a7159e04cdf1cd";

#[test]
fn documents_are_what_their_standards_say() {
    let digest = sha256(b"an artifact");
    let dependencies = json!([
        {"name": "data", "uri": format!("oci://localhost:5000/data/cards@{digest}"), "digest": {"sha256": &digest[7..]}},
        {"uri": "git+https://git.example.com/team/code", "digest": {"gitCommit": "a63be2a1b2c3d4e5f60718293a4b5c6d7e8f9012"}},
        {"uri": "s3://lake/raw/cards.csv"},
    ]);
    let provenance = documents::provenance(&digest, &dependencies, "2026-11-20T09:14:03Z");
    let cyclonedx = documents::cyclonedx(&digest, &sha256(b"another"));
    let mut around = provenance.clone();
    around["predicateType"] = json!("https://cyclonedx.org/bom");
    around["predicate"] = cyclonedx.clone();
    let mut older = fixture("model.cdx.json");
    older["specVersion"] = json!("1.5");
    older["metadata"]["component"]["licenses"].as_array_mut().unwrap().pop();
    let mut in_place = fixture("model.spdx.json");
    in_place["@graph"][3]["creationInfo"] = in_place["@graph"][0].clone();
    let named = [
        ("model.cdx.json", fixture("model.cdx.json")),
        ("older.cdx.json", older),
        ("model.spdx.json", fixture("model.spdx.json")),
        ("in_place.spdx.json", in_place),
        ("provenance.intoto.json", fixture("provenance.intoto.json")),
        ("pushed.intoto.json", pushed("fraud/detector", UNSIGNED)),
        ("made.cdx.json", cyclonedx),
        ("made.spdx.json", documents::spdx(b"leaked")),
        ("made.intoto.json", provenance),
        ("around.intoto.json", around),
        ("signing.intoto.json", documents::model_signing(&[b"weights", b"data"])),
    ]
    .map(|(name, document)| (name.to_owned(), document));
    let valid: Vec<_> = named.iter().map(|(name, _)| format!("{name}: valid")).collect();
    if let Some(verdicts) = verdicts(&named) {
        assert_eq!(verdicts, valid);
    }
}

/// A check that cannot fail is none: one thing is broken at a time.
#[test]
fn what_is_broken_is_refused() {
    let remove = Value::Null;
    let broken = [
        ("model.cdx.json", "/metadata/component/hashes/0/content", json!("00"), "does not match"),
        ("model.cdx.json", "/metadata/component/modelCard/trainedOn", json!([]), "trainedOn"),
        (
            "model.cdx.json",
            "/metadata/component/modelCard/modelParameters/datasets/6/type",
            remove.clone(),
            "datasets[6]",
        ),
        ("model.cdx.json", "/metadata/timestamp", json!("yesterday"), "is not a 'date-time'"),
        // Licences of both kinds are new in 1.7.
        ("model.cdx.json", "/specVersion", json!("1.6"), "$.metadata.component.licenses"),
        ("model.cdx.json", "/specVersion", json!("9.9"), "(9, 9)"),
        (
            "model.spdx.json",
            "/@context",
            json!("https://spdx.org/rdf/3.0.0/spdx-context.jsonld"),
            "is not that of SPDX 3.0.1",
        ),
        ("model.spdx.json", "/@graph/3/creationInfo", remove.clone(), "creationInfo"),
        ("model.spdx.json", "/@graph/3/trainedOn", json!(["https://r/data"]), "Unknown property 'trainedOn'"),
        ("model.spdx.json", "/@graph/3/spdxId", json!("model"), "can only have an IRI value"),
        ("model.spdx.json", "/@graph/4/dataset_datasetType", remove.clone(), "dataset_datasetType"),
        ("model.spdx.json", "/@graph/10/relationshipType", json!("trained_on"), "trained_on"),
        (
            "model.spdx.json",
            "/@graph/10/to/0",
            json!("https://r/nowhere"),
            "neither here nor imported: https://r/nowhere",
        ),
        ("model.spdx.json", "/@graph/10/type", json!("Use"), "Extensible object"),
        ("provenance.intoto.json", "/_type", json!("https://in-toto.io/Statement/v0.1"), "Wrong statement type"),
        ("provenance.intoto.json", "/subject", json!([]), "At least one subject required"),
        ("provenance.intoto.json", "/subject/0/digest", json!({}), "At least one digest required"),
        ("provenance.intoto.json", "/predicateType", remove.clone(), "Predicate type required"),
        ("provenance.intoto.json", "/predicate/materials", json!([]), "materials"),
        (
            "provenance.intoto.json",
            "/predicate/runDetails/builder",
            remove.clone(),
            "runDetails.builder.id is required",
        ),
        (
            "provenance.intoto.json",
            "/predicate/buildDefinition/externalParameters",
            remove,
            "externalParameters is required",
        ),
        ("provenance.intoto.json", "/predicate/buildDefinition/resolvedDependencies/0/digest", json!([]), "digest"),
        ("provenance.intoto.json", "/predicateType", json!("https://cyclonedx.org/bom"), "specVersion"),
    ];
    let named: Vec<_> = broken
        .iter()
        .enumerate()
        .map(|(i, (name, place, value, _))| {
            let mut document = fixture(name);
            let (parent, member) = place.rsplit_once('/').unwrap();
            match document.pointer_mut(parent).unwrap() {
                Value::Array(list) => list[member.parse::<usize>().unwrap()] = value.clone(),
                parent if value.is_null() => {
                    parent.as_object_mut().unwrap().remove(member).unwrap();
                }
                parent => parent[member] = value.clone(),
            }
            (format!("{i}.{name}"), document)
        })
        .collect();
    let Some(verdicts) = verdicts(&named) else { return };
    assert_eq!(verdicts.len(), broken.len());
    for ((verdict, (name, place, _, why)), (file, _)) in verdicts.iter().zip(&broken).zip(&named) {
        let said = verdict.strip_prefix(&format!("{file}: ")).unwrap();
        assert!(said != "valid" && said.contains(why), "{name} {place}: {said}");
    }
}

/// What cosign makes (version 3 too) is in three places not quite what the standards say, and is read all the same.
#[test]
fn cosign_departs_from_the_standards() {
    let attested = pushed("fraud/detector", ATTESTED);
    let mut newer = attested.clone();
    newer["_type"] = json!("https://in-toto.io/Statement/v1");
    let named = [
        ("attested.intoto.json", attested),
        ("newer.intoto.json", newer),
        ("signed.intoto.json", pushed("fraud/disputes", SIGNED)),
    ]
    .map(|(name, document)| (name.to_owned(), document));
    let Some(verdicts) = verdicts(&named) else { return };
    for (verdict, why) in verdicts.iter().zip(["Wrong statement type", "\"invocationID\"", "Predicate object required"])
    {
        assert!(verdict.contains(why), "{verdict}");
    }
    assert_eq!(verdicts.len(), 3);
}
