use serde_json::json;

use super::*;

fn cyclonedx() -> Value {
    json!({
        "bomFormat": "CycloneDX", "specVersion": "1.6", "version": 1,
        "metadata": {
            "timestamp": "2026-11-20T09:14:03Z",
            "component": {
                "type": "machine-learning-model", "bom-ref": "model", "name": "fraud", "version": "1.3",
                "hashes": [{"alg": "SHA-256", "content": A}, {"alg": "MD5", "content": "00"}],
                "licenses": [{"license": {"id": "Apache-2.0"}}, {"expression": "MIT OR 0BSD"}],
                "components": [{"type": "file", "name": "model.onnx", "hashes": [{"alg": "SHA-256", "content": B}]}],
                "externalReferences": [{"type": "vcs", "url": "https://github.com/org/fraud"}, {"type": "website", "url": "https://x.example"}],
                "pedigree": {"ancestors": [
                    {"type": "machine-learning-model", "name": "fraud-base", "version": "0.9",
                     "purl": format!("pkg:oci/fraud-base@sha256%3A{C}?repository_url=registry.example.com/ml/fraud-base&tag=0.9")},
                    {"type": "machine-learning-model", "name": "weights", "hashes": [{"alg": "SHA-256", "content": C}]},
                    {"type": "machine-learning-model", "name": "bert", "purl": format!("pkg:huggingface/google/bert@{COMMIT}"),
                     "hashes": [{"alg": "SHA-256", "content": A}]},
                    {"type": "machine-learning-model", "name": "unknowable", "version": "3"},
                ]},
                "modelCard": {"modelParameters": {"datasets": [
                    {"ref": "data:train"},
                    {"ref": "data:train"},
                    {"ref": "inner-test"},
                    {"ref": "data:both"},
                    {"ref": "missing"},
                    {"ref": "urn:cdx:3e671687-395b-41f5-a30f-a58921a69b79/1#x"},
                    {"type": "dataset", "name": "holdout-2026", "contents": {"url": "s3://bucket/holdout.csv"}},
                    {"type": "dataset", "name": "extra", "contents": {"url": "hf://datasets/org/extra",
                        "properties": [{"name": "pedigree:role", "value": "evaluation"}]}},
                ]}},
            },
        },
        "components": [
            {"type": "data", "bom-ref": "data:train", "name": "transactions",
             "hashes": [{"alg": "SHA-256", "content": B}],
             "data": [{"type": "dataset", "name": "train",
                       "contents": {"url": format!("https://registry.example.com/v2/ml/tx/blobs/sha256:{C}")}}],
             "components": [{"type": "file", "name": "train/leaked.csv", "hashes": [{"alg": "SHA-256", "content": A}]}]},
            {"type": "data", "bom-ref": "data:test", "name": "tx", "data": [{"bom-ref": "inner-test", "type": "dataset", "name": "test-data",
                "contents": {"url": "https://data.example.com/test.csv"}}]},
            {"type": "data", "bom-ref": "data:both", "name": "both", "externalReferences": [{"type": "distribution", "url": "gs://b/both"}],
             "data": [{"type": "dataset", "name": "test"}, {"type": "dataset", "name": "train"}]},
            {"type": "data", "bom-ref": "data:vocabulary", "name": "vocabulary", "externalReferences": [{"type": "distribution", "url": "gs://b/v"}]},
            {"type": "library", "bom-ref": "torch", "name": "torch", "purl": "pkg:pypi/torch@2.5.0"},
        ],
        "dependencies": [{"ref": "model", "dependsOn": ["data:train", "data:vocabulary", "torch"]}],
    })
}

const USES: [&str; 19] = [
    r#"derived_from "fraud-base" artifact registry.example.com/ml/fraud-base:0.9@sha256:C"#,
    r#"derived_from "weights" content sha256:C"#,
    r#"derived_from "bert" external hf://google/bert@COMMIT* sha256:A"#,
    r#"trained_on (train) "transactions" content sha256:C"#,
    r#"trained_on (train) "transactions" content sha256:B"#,
    r#"trained_on (train) "train/leaked.csv" content sha256:A"#,
    r#"tested_on (test) "tx" external https://data.example.com/test.csv"#,
    r#"trained_on (train) "both" external gs://b/both"#,
    r#"trained_on "urn:cdx:3e671687-395b-41f5-a30f-a58921a69b79/1#x" external urn:cdx:3e671687-395b-41f5-a30f-a58921a69b79/1#x"#,
    r#"tested_on (holdout) "holdout-2026" external s3://bucket/holdout.csv"#,
    r#"tested_on (evaluation) "extra" external hf://datasets/org/extra"#,
    "source (vcs) external git+https://github.com/org/fraud",
    r#"unstated "vocabulary" external gs://b/v"#,
    "file model.onnx sha256:B",
    "licence Apache-2.0",
    "licence MIT OR 0BSD",
    "problem: derived_from: unknowable has neither a place nor a hash to know it by",
    "problem: trained_on: missing has neither a place nor a hash to know it by",
    "",
];

#[test]
fn a_bill_of_materials_by_itself() {
    let mut lines = vec!["cyclonedx 2026-11-20T09:14:03Z incomplete", "of fraud sha256:A"];
    lines.extend(USES.iter().filter(|line| !line.is_empty()));
    assert_says(&read("application/vnd.cyclonedx+json; version=1.6", &cyclonedx()), &lines);
}

#[test]
fn a_bill_of_materials_as_a_predicate() {
    let uses: Vec<_> = USES.iter().copied().filter(|line| !line.is_empty()).collect();
    for (predicate_type, predicate) in [
        ("https://cyclonedx.org/bom", cyclonedx()),
        ("https://cyclonedx.org/bom/v1.6", json!({"Data": cyclonedx(), "Timestamp": "2026-11-20T09:15:00Z"})),
    ] {
        let document = json!({"_type": "https://in-toto.io/Statement/v1", "predicateType": predicate_type,
            "subject": [{"digest": {"sha256": C}}], "predicate": predicate});
        let statement = read("application/vnd.in-toto+json", &document);
        let first = format!("cyclonedx {predicate_type} 2026-11-20T09:14:03Z incomplete");
        let lines: Vec<_> = [&*first, "of - sha256:C"].into_iter().chain(uses.iter().copied()).collect();
        assert_says(&statement, &lines);
    }
}

#[test]
fn the_only_model_is_the_subject() {
    let model = |name: &str| {
        json!({"type": "machine-learning-model", "name": name, "modelCard": {"modelParameters": {"datasets": [
            {"type": "dataset", "contents": {"url": "hf://datasets/org/d"}}]}}})
    };
    let document = json!({"bomFormat": "CycloneDX", "components": [{"type": "library", "name": "x"}, model("m")]});
    assert_says(&read("", &document), &["cyclonedx", "of m -", "trained_on external hf://datasets/org/d"]);
    let document = json!({"bomFormat": "CycloneDX", "components": [model("m"), model("n")]});
    assert_says(&read("", &document), &["cyclonedx", "problem: it does not say which component it describes"]);
}

fn spdx() -> Value {
    let hash = |digits: &str| json!([{"type": "Hash", "algorithm": "sha256", "hashValue": digits}]);
    let package = |kind: &str, id: &str, location: &str| json!({"type": kind, "spdxId": format!("https://r/{id}"), "name": id, "software_downloadLocation": location});
    let relationship = |from: &str, kind: &str, to: &[&str]| {
        let to: Vec<_> = to.iter().map(|to| format!("https://r/{to}")).collect();
        json!({"type": "Relationship", "from": format!("https://r/{from}"), "relationshipType": kind, "to": to})
    };
    let mut model = package("ai_AIPackage", "model", "NOASSERTION");
    model["verifiedUsing"] = hash(A);
    let mut data = package("dataset_DatasetPackage", "data", "s3://bucket/data");
    data["verifiedUsing"] = hash(B);
    let mut file = package("software_File", "leaked.csv", "");
    file["verifiedUsing"] = hash(C);
    json!({"@context": "https://spdx.org/rdf/3.0.1/spdx-context.jsonld", "@graph": [
        {"type": "CreationInfo", "@id": "_:ci", "created": "2026-11-20T09:14:03Z"},
        {"type": "SpdxDocument", "spdxId": "https://r/doc", "rootElement": ["https://r/model"]},
        model, data, file,
        package("dataset_DatasetPackage", "test", "https://data.example.com/test"),
        package("ai_AIPackage", "base", &format!("oci://registry.example.com/ml/base@sha256:{B}")),
        package("ai_AIPackage", "child", "hf://org/child"),
        package("ai_AIPackage", "grandparent", "hf://org/grandparent"),
        relationship("model", "trainedOn", &["data", "data"]),
        relationship("model", "testedOn", &["test"]),
        relationship("model", "descendantOf", &["base"]),
        relationship("grandparent", "ancestorOf", &["model"]),
        relationship("model", "ancestorOf", &["child"]),
        relationship("child", "descendantOf", &["model"]),
        relationship("child", "trainedOn", &["test"]),
        relationship("data", "contains", &["leaked.csv"]),
        relationship("model", "trainedOn", &["elsewhere"]),
    ]})
}

#[test]
fn spdx_relationships_have_a_direction() {
    let uses = [
        r#"trained_on (trainedOn) "data" external s3://bucket/data sha256:B"#,
        r#"trained_on (trainedOn) "leaked.csv" content sha256:C"#,
        r#"tested_on (testedOn) "test" external https://data.example.com/test"#,
        r#"derived_from (descendantOf) "base" artifact registry.example.com/ml/base@sha256:B"#,
        r#"derived_from (ancestorOf) "grandparent" external hf://org/grandparent"#,
        r#"trained_on (trainedOn) "https://r/elsewhere" external https://r/elsewhere"#,
    ];
    let lines: Vec<_> = ["spdx 2026-11-20T09:14:03Z", "of model sha256:A"].into_iter().chain(uses).collect();
    assert_says(&read("application/spdx+json", &spdx()), &lines);
    let document = json!({"_type": "https://in-toto.io/Statement/v1", "predicateType": "https://spdx.dev/Document/v3",
        "subject": [], "predicate": spdx()});
    let first = "spdx https://spdx.dev/Document/v3 2026-11-20T09:14:03Z";
    assert_says(&read("", &document), &[first].into_iter().chain(uses).collect::<Vec<_>>());
}

#[test]
fn spdx_of_several_models_must_say_which() {
    let mut document = spdx();
    document["@graph"][1]["rootElement"] = json!(["https://r/model", "https://r/base"]);
    assert_says(
        &read("", &document),
        &[
            "spdx 2026-11-20T09:14:03Z incomplete",
            "problem: it has several AI packages, and does not say which one it describes",
        ],
    );
}
