//! The story of the fixtures, pushed verbatim, and what is true of them (DESIGN section 3; the fixtures' own README).

use std::{fs, path::Path};

use serde_json::Value;

use crate::{
    left_out::workspace,
    sample::{blobs_of, layout, sha256},
    server::{Engine, Server, on_both_engines},
    wire::Wire,
};

const REPOSITORIES: [&str; 13] = [
    "adhoc/customers",
    "ai/tiny",
    "apps/hello",
    "data/customers",
    "fraud/detector",
    "fraud/detector-kit04",
    "fraud/detector-kit17",
    "fraud/disputes",
    "fraud/alias",
    "fraud/streaming",
    "library/tiny",
    "risk/scoring",
    "risk/scoring-modctl",
];

/// Pushes an OCI layout as a client would: blobs, then manifests, children before the indexes that list them.
fn push(host: &str, repository: &str) {
    let layout = layout(repository);
    let blobs = blobs_of(&layout);
    let mut wire = Wire::new(host);
    for (digest, bytes) in &blobs {
        let head = format!(
            "POST /v2/{repository}/blobs/uploads/?digest={digest} HTTP/1.1\r\nHost: {host}\r\nContent-Length: {}",
            bytes.len()
        );
        wire.send(&head, [bytes]).expect(201);
    }
    let index: Value = serde_json::from_slice(&fs::read(layout.join("index.json")).unwrap()).unwrap();
    let mut entries = index["manifests"].as_array().unwrap().clone();
    let is_list =
        |entry: &Value| ["index", "list"].iter().any(|word| entry["mediaType"].as_str().unwrap().contains(word));
    entries.sort_by_key(is_list);
    for entry in &entries {
        let digest = entry["digest"].as_str().unwrap();
        let reference = entry["annotations"]["org.opencontainers.image.ref.name"].as_str().unwrap_or(digest);
        let (media_type, bytes) = (entry["mediaType"].as_str().unwrap(), &blobs[digest]);
        let head = format!(
            "PUT /v2/{repository}/manifests/{reference} HTTP/1.1\r\nHost: {host}\r\nContent-Type: {media_type}\r\n\
             Content-Length: {}",
            bytes.len()
        );
        let reply = wire.send(&head, [bytes]).expect(201);
        assert_eq!(reply.header("docker-content-digest"), Some(digest));
        let back = wire.get(&format!("/v2/{repository}/manifests/{reference}"), "*/*").expect(200);
        assert_eq!(back.body, *bytes, "{repository}:{reference} is served byte for byte");
    }
}

fn file(name: &str) -> String {
    sha256(&fs::read(workspace().join("tests/fixtures/files").join(Path::new(name))).unwrap())
}

/// (repository, tags, distance, grade) of every model, in the answer's order.
fn models(answer: &Value) -> Vec<(String, String, u64, String)> {
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    let models = answer["models"].as_array().unwrap().iter();
    let tags = |model: &Value| model["tags"].as_array().unwrap().iter().map(text).collect::<Vec<_>>().join(" ");
    models.map(|m| (text(&m["repository"]), tags(m), m["distance"].as_u64().unwrap(), text(&m["grade"]))).collect()
}

on_both_engines! {
    fn the_leaked_file_is_traced(server: &Server) {
        // Children before their parents: every reference is resolved when its target arrives.
        for repository in REPOSITORIES.iter().rev() {
            push(&server.host, repository);
        }
        let answer = server.api(&format!("/impact?file={}&wait=30", file("customers.csv")), 200);
        let expected = [
            ("fraud/detector", "1.1 champion latest", 0, "packaged"),
            ("fraud/detector", "1.0", 0, "packaged"),
            ("fraud/detector-kit04", "1.0", 0, "packaged"),
            ("fraud/detector-kit17", "1.0", 0, "packaged"),
            ("fraud/streaming", "2.0", 0, "declared"),
            ("risk/scoring", "3.0", 0, "packaged"),
            ("fraud/disputes", "1.0", 1, "packaged"),
            ("fraud/alias", "1.0", 2, "packaged"),
        ];
        let expected = expected.map(|(name, tags, distance, grade)| (name.into(), tags.into(), distance, grade.into()));
        assert_eq!(models(&answer), expected, "{answer:#}");
        assert_eq!(answer["completeness"]["exact"], true, "{answer:#}");
        assert_eq!(answer["completeness"]["outside"]["remote_datasets"], 1);
        let holders = answer["holders"].as_array().unwrap().iter();
        let holders: Vec<_> = holders.map(|holder| holder["repository"].as_str().unwrap()).collect();
        assert_eq!(holders, ["adhoc/customers", "data/customers", "data/customers", "data/customers"]);
        let disputes = &answer["models"][6]["evidence"];
        assert_eq!(disputes[0]["edge"], "derived_from");
        assert_eq!(disputes[1]["path"], "data/train/customers.csv");
    }

    fn only_one_model_has_the_new_transactions(server: &Server) {
        for repository in REPOSITORIES {
            push(&server.host, repository);
        }
        let answer = server.api(&format!("/impact?file={}&wait=30", file("transactions-2026.csv")), 200);
        assert_eq!(models(&answer), [("fraud/detector".into(), "1.2 challenger".into(), 0, "packaged".into())]);
        assert_eq!(answer["models"][0]["indexes"].as_array().unwrap().len(), 1, "the index is shown, not a model");
        assert!(answer["holders"].as_array().unwrap().is_empty());
        // The kit of the customers: who packs the same, and who refers to it.
        let answer = server.api("/impact?ref=data/customers:2025.10", 200);
        assert_eq!(models(&answer), [("fraud/streaming".into(), "2.0".into(), 0, "declared".into())]);
    }

    fn questions_that_are_none_are_refused(server: &Server) {
        for question in ["file=sha256:abc", "file=sha512:00", "", "file=a&layer=b", "ref=nothing", "nonsense=1"] {
            let problem = server.api(&format!("/impact?{question}"), 400);
            assert_eq!(problem["status"], 400, "{question}");
        }
        let unknown = server.api(&format!("/impact?file=sha256:{}", "0".repeat(64)), 200);
        assert!(models(&unknown).is_empty() && unknown["completeness"]["exact"] == true);
        server.api(&format!("/impact?file=sha256:{}&cursor=x", "0".repeat(64)), 400);
        server.api("/impact?ref=no/such:1", 404);
        server.api("/repositories/no/such/-/versions", 404);
    }
}
