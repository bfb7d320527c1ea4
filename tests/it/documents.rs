//! The documents that the tests attach to artifacts, each as its standard has it: `standards.rs` asks the validators.

use serde_json::{Value, json};

use crate::sample::sha256;

/// An in-toto statement with SLSA provenance: the subject was made from these dependencies.
pub(crate) fn provenance(subject: &str, dependencies: &Value, finished: &str) -> Value {
    json!({
        "_type": "https://in-toto.io/Statement/v1",
        "subject": [{"name": "it", "digest": {"sha256": subject.trim_start_matches("sha256:")}}],
        "predicateType": "https://slsa.dev/provenance/v1",
        "predicate": provenance_alone(dependencies, finished),
    })
}

/// SLSA provenance without the statement around it, which cosign makes.
pub(crate) fn provenance_alone(dependencies: &Value, finished: &str) -> Value {
    json!({
        "buildDefinition": {
            "buildType": "https://example.com/train/v1", "externalParameters": {}, "resolvedDependencies": dependencies,
        },
        "runDetails": {"builder": {"id": "https://ci.example.com/trainer"}, "metadata": {"finishedOn": finished}},
    })
}

/// A bill of materials of a model that was trained on the first of these versions of `data/cards`, and tested on the
/// second.
pub(crate) fn cyclonedx(trained: &str, tested: &str) -> Value {
    let purl = |digest: &str| format!("pkg:oci/cards@{digest}?repository_url=localhost:5000/data/cards");
    json!({
        "bomFormat": "CycloneDX", "specVersion": "1.6", "version": 1,
        "metadata": {"component": {"type": "machine-learning-model", "bom-ref": "m", "name": "m", "modelCard": {
            "modelParameters": {"datasets": [{"ref": "train"}, {"ref": "test"}]}}}},
        "components": [
            {"type": "data", "bom-ref": "train", "name": "train", "purl": purl(trained)},
            {"type": "data", "bom-ref": "test", "name": "test", "purl": purl(tested)},
        ],
    })
}

/// A document of a model that was trained on a dataset, which is known by nothing but the hash of a file.
pub(crate) fn spdx(file: &[u8]) -> Value {
    let element = |kind: &str, id: &str, more: Value| {
        let mut element = json!({"type": kind, "spdxId": format!("urn:it:{id}"), "creationInfo": "_:made"});
        element.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        element
    };
    let hash = json!([{"type": "Hash", "algorithm": "sha256", "hashValue": &sha256(file)[7..]}]);
    let trained = json!({"from": "urn:it:m", "relationshipType": "trainedOn", "to": ["urn:it:d"]});
    json!({"@context": "https://spdx.org/rdf/3.0.1/spdx-context.jsonld", "@graph": [
        {"type": "CreationInfo", "@id": "_:made", "specVersion": "3.0.1", "created": "2026-11-20T09:14:03Z",
         "createdBy": ["urn:it:team"]},
        element("Organization", "team", json!({"name": "team"})),
        element("ai_AIPackage", "m", json!({"name": "m"})),
        element("dataset_DatasetPackage", "d", json!({
            "name": "d", "dataset_datasetType": ["structured"], "verifiedUsing": hash,
        })),
        element("Relationship", "r", trained),
    ]})
}

/// An in-toto statement of OpenSSF Model Signing, which names the files of a model.
pub(crate) fn model_signing(files: &[&[u8]]) -> Value {
    let resource = |bytes: &&[u8]| json!({"algorithm": "sha256", "digest": &sha256(bytes)[7..], "name": "a file"});
    json!({
        "_type": "https://in-toto.io/Statement/v1", "subject": [{"name": "m", "digest": {"sha256": "0".repeat(64)}}],
        "predicateType": "https://model_signing/signature/v1.0",
        "predicate": {
            "serialization": {"method": "files", "hash_type": "sha256", "allow_symlinks": false, "ignore_paths": []},
            "resources": files.iter().map(resource).collect::<Vec<_>>(),
        },
    })
}
