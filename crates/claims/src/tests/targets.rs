use super::*;
use crate::External;

#[test]
fn texts_by_the_rules_in_order() {
    for (text, target) in [
        ("sha256:A", Some("content sha256:A")),
        ("lfs:sha256:A", Some("content sha256:A")),
        ("oid sha256:A", Some("content sha256:A")),
        ("git-lfs:SHA256:A", Some("content sha256:A")),
        ("lfs:0123", Some("artifact lfs:0123")),
        ("oci://registry.example.com/ml/fraud:1", Some("artifact registry.example.com/ml/fraud:1")),
        ("oci://localhost:5000/ml/fraud@sha256:A", Some("artifact localhost:5000/ml/fraud@sha256:A")),
        ("oci://me:pw@registry.example.com/ml/fraud:1", Some("artifact registry.example.com/ml/fraud:1")),
        ("oci://fraud@sha256:A", Some("artifact fraud@sha256:A")),
        ("oci://Not a name", Some("external oci://not a name")),
        ("docker://alpine:3", Some("artifact docker.io/library/alpine:3")),
        ("docker://org/x", Some("artifact docker.io/org/x")),
        ("docker://ghcr.io/org/x", Some("artifact ghcr.io/org/x")),
        ("pkg:oci/fraud@sha256:A", Some("artifact fraud@sha256:A")),
        ("pkg:oci/fraud@sha256%3AA?tag=1&repository_url=h.example/ml/Fraud", None),
        (
            "pkg:oci/fraud@sha256%3AA?tag=1&repository_url=h.example/ml/fraud",
            Some("artifact h.example/ml/fraud:1@sha256:A"),
        ),
        ("pkg:oci/fraud?repository_url=https%3A%2F%2Fh.example%2Fml", Some("artifact h.example/ml/fraud")),
        ("pkg:docker/org/x@1?repository_url=ghcr.io", Some("artifact ghcr.io/org/x:1")),
        ("pkg:huggingface/org/x", Some("external hf://org/x")),
        ("https://h.example/v2/ml/tx/manifests/1.0", Some("artifact h.example/ml/tx:1.0")),
        ("https://h.example/v2/ml/tx/manifests/sha256:A", Some("artifact h.example/ml/tx@sha256:A")),
        ("https://h.example/v2/ml/tx/blobs/sha256:A", Some("content sha256:A")),
        ("https://h.example/v2/other", Some("external https://h.example/v2/other")),
        ("localhost:5000/a:1", Some("artifact localhost:5000/a:1")),
        ("a@sha256:A", Some("artifact a@sha256:A")),
        ("org/name:1", Some("artifact org/name:1")),
        ("org/name", Some("external org/name")),
        ("data/train.csv", Some("external data/train.csv")),
        ("mlflow-run:0123", Some("external mlflow-run:0123*")),
        ("git@github.com:org/x.git", Some("external git+https://github.com/org/x")),
        ("", None),
        ("a\u{7}b", None),
    ] {
        let target = target.map(|target| target.replace(":A", &format!(":{A}")));
        let text = text.replace(":A", &format!(":{A}")).replace("%3AA", &format!("%3A{A}"));
        let found = Target::parse(&text).map(|target| told(&target));
        if text.contains("Fraud") {
            // No repository has capital letters: it is kept by name.
            assert!(found.unwrap().starts_with("external pkg:oci/"));
        } else {
            assert_eq!(found, target, "{text}");
        }
    }
}

#[test]
fn objects_of_lfs_are_content() {
    let url = format!("https://git.example.com/a/b.git/info/lfs/objects/{}", A.to_uppercase());
    assert_eq!(Target::parse(&url).map(|target| told(&target)), Some(format!("content sha256:{A}")));
    let other = "https://git.example.com/a/b.git/info/lfs/objects/batch";
    assert!(matches!(Target::parse(other), Some(Target::External { .. })));
    for text in [&url, &format!("lfs:sha256:{A}"), &format!("oid sha256:{A}")] {
        assert_eq!(External::parse(text), None, "it is no name of something outside");
    }
}
