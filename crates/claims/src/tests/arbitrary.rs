//! Whatever is sent, it is read or refused, and what is read is plausible.

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;
use serde_json::{Map, json};

use super::*;
use crate::{External, STATEMENT_LIMIT, adapter_config, model_card, openlineage};

/// Words that mean something somewhere, so that the readers are reached.
const NAMES: [&str; 60] = [
    "_type",
    "subject",
    "predicateType",
    "predicate",
    "Data",
    "digest",
    "sha256",
    "gitCommit",
    "uri",
    "name",
    "annotations",
    "role",
    "relation",
    "buildDefinition",
    "resolvedDependencies",
    "externalParameters",
    "source",
    "materials",
    "resources",
    "algorithm",
    "serialization",
    "method",
    "bomFormat",
    "metadata",
    "component",
    "components",
    "type",
    "bom-ref",
    "ref",
    "hashes",
    "alg",
    "content",
    "purl",
    "pedigree",
    "ancestors",
    "modelCard",
    "modelParameters",
    "datasets",
    "data",
    "contents",
    "url",
    "externalReferences",
    "dependencies",
    "dependsOn",
    "@context",
    "@graph",
    "spdxId",
    "from",
    "to",
    "relationshipType",
    "verifiedUsing",
    "hashValue",
    "run",
    "runId",
    "job",
    "namespace",
    "inputs",
    "facets",
    "eventTime",
    "version",
];

const TEXTS: [&str; 26] = [
    "https://in-toto.io/Statement/v1",
    "https://slsa.dev/provenance/v1",
    "https://cyclonedx.org/bom",
    "https://spdx.dev/Document/v3",
    "https://model_signing/signature/v1.0",
    "CycloneDX",
    "machine-learning-model",
    "file",
    "SHA-256",
    "sha256",
    A,
    COMMIT,
    "https://u:S3CR3T@h.example/a?token=S3CR3T",
    "oci://h.example/a:1",
    "ai_AIPackage",
    "Relationship",
    "trainedOn",
    "ancestorOf",
    "contains",
    "software_File",
    "https://spdx.org/",
    "train",
    "x",
    "2026-11-20T09:14:03Z",
    "0193f0a8-7b1e-7c31-9d0a-3f6f4a1c2b11",
    "oci://h.example",
];

fn documents() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        4 => select(&TEXTS[..]).prop_map(Value::from),
        1 => any::<String>().prop_map(Value::from),
        1 => any::<i64>().prop_map(Value::from),
        1 => Just(Value::Null),
    ];
    leaf.prop_recursive(6, 80, 8, |inner| {
        prop_oneof![
            1 => vec(inner.clone(), 0..4).prop_map(Value::from),
            3 => vec((select(&NAMES[..]), inner), 0..8).prop_map(|members| {
                Value::Object(members.into_iter().map(|(name, value)| (name.to_owned(), value)).collect::<Map<_, _>>())
            }),
        ]
    })
}

/// A document of a known kind with any members.
fn statements() -> impl Strategy<Value = Value> {
    let kinds = [
        json!({"_type": TEXTS[0], "predicateType": TEXTS[1]}),
        json!({"_type": TEXTS[0], "predicateType": TEXTS[4]}),
        json!({"bomFormat": "CycloneDX"}),
        json!({"@context": "https://spdx.org/"}),
        json!({"eventTime": "2026-11-20T09:14:03Z", "run": {"runId": TEXTS[24]}, "job": {"namespace": "a", "name": "b"}}),
        json!({}),
    ];
    (select(kinds.to_vec()), documents()).prop_map(|(mut kind, document)| {
        if let (Value::Object(kind), Value::Object(document)) = (&mut kind, document) {
            for (name, value) in document {
                kind.entry(name).or_insert(value);
            }
        }
        kind
    })
}

fn plausible(uses: &[Use]) {
    for used in uses {
        assert!(!used.declared.is_empty());
        if let Target::External { identity, .. } = &used.target {
            assert_eq!(External::parse(identity.as_str()).as_ref(), Some(identity));
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(500))]

    #[test]
    fn any_document_is_read(document in statements(), media_type in select(vec!["", "application/vnd.cyclonedx+json", "application/spdx+json"])) {
        let statement = read(media_type, &document);
        plausible(&statement.uses);
        prop_assert!(!statement.incomplete || !statement.problems.is_empty());
        // Paths are kept as they are, for they are what a file is known by.
        let shown = format!("{:?}", (&statement.uses, &statement.subjects, &statement.problems));
        prop_assert!(!shown.contains("S3CR3T"), "{}", shown);
        if let Ok(event) = openlineage::event(&document) {
            let shown = format!("{event:?}");
            prop_assert!(!shown.contains("S3CR3T"), "{}", shown);
        }
    }

    #[test]
    fn any_bytes_are_read_or_refused(bytes: Vec<u8>, text in "[\\[\\]{}\",:a-z0-9&*?|>'#\\n -]{0,200}") {
        let _ = statement("", &bytes);
        let _ = statement("", text.as_bytes());
        let _ = model_card(&bytes);
        let _ = adapter_config(&bytes);
        if let Ok(Some(card)) = model_card(format!("---\n{text}\n---\n").as_bytes()) {
            plausible(&card.uses);
        }
        if let Ok(Some(card)) = model_card(format!("---\ndatasets: {text}\nbase_model: {text}\n---\n").as_bytes()) {
            plausible(&card.uses);
        }
    }

    #[test]
    fn any_base_is_a_name_or_a_path(base in prop_oneof!["[a-zA-Z./@:\\\\ -]{0,20}", any::<String>()], revision: Option<String>) {
        let config = json!({"peft_type": "LORA", "base_model_name_or_path": base, "revision": revision}).to_string();
        if let Ok(Some(config)) = adapter_config(config.as_bytes()) {
            let statement = config.statement();
            plausible(&statement.uses);
            prop_assert_eq!(statement.uses.len(), usize::from(config.is_name()));
            prop_assert!(config.is_name() || config.organisation().is_none());
            prop_assert!(config.base.contains(config.short_name()));
        }
    }

    #[test]
    fn any_text_is_a_target_or_none(text: String) {
        if let Some(target) = Target::parse(&text) {
            plausible(&[Use { relation: crate::Relation::Source, word: None, name: None, declared: "x".into(), target }]);
        }
    }
}

/// Texts and documents at their limits, of the shapes that cost most. Each would take minutes if something were done anew
/// for each of its parts.
#[test]
fn time_grows_with_size() {
    let long = "a://b:x/".repeat(STATEMENT_LIMIT / 16);
    let nested = |name: &str| {
        let files: Vec<_> =
            (0..20_000).map(|i| json!({"type": "file", "name": format!("{i}"), "bom-ref": format!("f{i}")})).collect();
        let mut component = json!({"type": "data", "bom-ref": "0", "name": name, "components": files});
        for i in 1..50 {
            component = json!({"type": "data", "bom-ref": i.to_string(), "components": [component]});
        }
        component
    };
    let references: Vec<_> = (0..50).chain(0..9000).map(|i| json!({"ref": (i % 50).to_string()})).collect();
    for document in [
        json!({"predicateType": long, "subject": [{"name": long}]}),
        json!({"bomFormat": "CycloneDX", "components": [nested("x")], "metadata": {"component": {
            "name": "?".repeat(STATEMENT_LIMIT / 16), "modelCard": {"modelParameters": {"datasets": references}}}}}),
    ] {
        let start = std::time::Instant::now();
        let _ = statement("", document.to_string().as_bytes());
        assert!(start.elapsed().as_secs() < 20);
    }
}
