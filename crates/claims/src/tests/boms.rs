use serde_json::json;

use super::*;

fn cyclonedx() -> Value {
    document("model.cdx.json")
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
    document("model.spdx.json")
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
    document["@graph"][2]["rootElement"] = json!(["https://r/model", "https://r/base"]);
    assert_says(
        &read("", &document),
        &[
            "spdx 2026-11-20T09:14:03Z incomplete",
            "problem: it has several AI packages, and does not say which one it describes",
        ],
    );
}

/// As some write it who put in place what others refer to, and who have nothing to say.
#[test]
fn spdx_in_place() {
    let mut document = spdx();
    let elements = document["@graph"].as_array_mut().unwrap();
    let made = elements.remove(0);
    for element in elements {
        element["creationInfo"] = made.clone();
    }
    document["@graph"][2]["software_downloadLocation"] = json!("NOASSERTION");
    assert_eq!(read("", &document), read("", &spdx()));
}
