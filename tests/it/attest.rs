//! What the real cosign signs with a key counts as attested, once that key is configured.

use std::{
    fs, thread,
    time::{Duration, Instant},
};

use serde_json::{Value, json};

use crate::{
    clients::{Bin, Client, Target},
    documents,
    push::{Repository, models},
    sample::sha256,
    server::{Server, on_both_engines},
};

/// (kind, target, grade, signer) of every edge up from the model.
fn edges(server: &Server) -> Vec<(String, String, String, Value)> {
    let answer = server.api("/lineage?ref=team/model:1&direction=ancestors", 200);
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    let edges = answer["edges"].as_array().unwrap().iter();
    let mut edges: Vec<_> = edges
        .map(|edge| (text(&edge["kind"]), text(&edge["to"]), text(&edge["grade"]), edge["claim"]["signed_by"].clone()))
        .collect();
    edges.sort_by(|a, b| (&a.0, &a.1).cmp(&(&b.0, &b.1)));
    edges
}

/// What became of the signature of every claim about an artifact: who signed, or why nobody is known to have.
fn signatures(server: &Server, artifact: &str) -> Vec<(String, String)> {
    let answer = server.api(&format!("/claims?ref={artifact}"), 200);
    let claims = answer["claims"].as_array().unwrap().iter().filter(|claim| claim["signature"].is_object());
    let mut found: Vec<_> = claims
        .map(|claim| {
            let signature = &claim["signature"];
            let outcome = &signature[if signature["verified"] == true { "signed_by" } else { "reason" }];
            (claim["format"].as_str().unwrap().to_owned(), outcome.as_str().unwrap().to_owned())
        })
        .collect();
    found.sort();
    found
}

/// Waits until the server has looked at the signatures again, and all of them became what is expected.
#[track_caller]
fn assert_signatures(server: &Server, expected: &str) {
    let start = Instant::now();
    // Two attestations and a signature, and a signature.
    for (artifact, formats) in
        [("team/model:1", &["cyclonedx", "in-toto", "in-toto"][..]), ("team/signed:1", &["in-toto"])]
    {
        loop {
            let found = signatures(server, artifact);
            assert_eq!(found.iter().map(|(format, _)| format).collect::<Vec<_>>(), formats, "{artifact}");
            if found.iter().all(|(_, outcome)| outcome.starts_with(expected)) {
                break;
            }
            assert!(start.elapsed().as_secs() < 30, "{artifact}: {found:?}");
            thread::sleep(Duration::from_millis(50));
        }
    }
}

/// Who signed the model of which nothing is said.
fn signers(server: &Server) -> Value {
    server.api("/lineage?ref=team/signed:1", 200)["nodes"][0]["signed_by"].clone()
}

on_both_engines! {
    fn what_a_configured_key_signed_is_attested(server: Server) {
        let Some(bin) = Bin::wanted("cosign") else { return };
        let mut server = server;
        let mut data = Repository::new(&server.host, "data/cards");
        let (trained, tested) = (data.artifact("1", &[b"leaked"]), data.artifact("2", &[b"tested"]));
        let base = Repository::new(&server.host, "team/base").kit("1", b"base weights", b"base data");
        let model = Repository::new(&server.host, "team/model").kit("1", b"weights", b"data");

        let target = Target { host: server.host.clone(), authority: None, referrers: true };
        let cosign = Client::new(&bin, &target);
        cosign.run("generate-key-pair --output-key-prefix ours");
        cosign.run("generate-key-pair --output-key-prefix other");
        // One dependency by its place and digest, the other by its digest alone.
        let dependencies = json!([
            {"name": "cards", "uri": format!("oci://localhost:5000/data/cards@{trained}"), "digest": {"sha256": &trained[7..]}},
            {"name": "base", "digest": {"sha256": &base[7..]}, "annotations": {"role": "base-model"}},
        ]);
        let predicate = documents::provenance_alone(&dependencies, "2026-11-20T09:14:03Z");
        cosign.file("provenance.json", predicate.to_string().as_bytes());
        cosign.file("bom.json", documents::cyclonedx(&trained, &tested).to_string().as_bytes());
        // Nothing that asks a service: no transparency log, and no configuration fetched that would name one.
        let flags = "--yes --key ours.key --use-signing-config=false --tlog-upload=false";
        let kit = format!("{}/team/model@{model}", server.host);
        cosign.run(&format!("attest {flags} --type slsaprovenance1 --predicate provenance.json {kit}"));
        cosign.run(&format!("attest {flags} --type cyclonedx --predicate bom.json {kit}"));
        cosign.run(&format!("sign {flags} {kit}"));
        // Another is signed, and nothing is said of it.
        let only = Repository::new(&server.host, "team/signed").kit("1", b"other weights", b"data");
        cosign.run(&format!("sign {flags} {}/team/signed@{only}", server.host));

        // Without the key it is a statement like any other, and the reason is told; another key changes nothing.
        let expected = |grade: &str, signer: &Value| {
            [("derived_from", &base), ("tested_on", &tested), ("trained_on", &trained), ("trained_on", &trained)]
                .map(|(kind, to)| (kind.to_owned(), to.clone(), grade.to_owned(), signer.clone()))
        };
        assert_signatures(&server, "it is signed, but no key and no identity is configured to verify it with");
        assert_eq!(edges(&server), expected("declared", &Value::Null));
        // Kept where the server lives, as long as that does.
        let keys = ["other.pub", "ours.pub"].map(|name| {
            let kept = server.data().join(name);
            fs::copy(cosign.path(name), &kept).unwrap();
            kept.to_str().unwrap().to_owned()
        });
        server.restart_with("PEDIGREE_TRUSTED_KEYS", &keys[0]);
        assert_signatures(&server, "it is signed by a key that is not configured");
        assert_eq!(edges(&server), expected("declared", &Value::Null));
        assert_eq!(signers(&server), Value::Null);

        server.restart_with("PEDIGREE_TRUSTED_KEYS", &keys[1]);
        assert_signatures(&server, "the key ours");
        assert_eq!(edges(&server), expected("attested", &json!("the key ours")));
        let answer = server.api(&format!("/impact?file={}&wait=30", sha256(b"leaked")), 200);
        assert_eq!(models(&answer), [("team/model".into(), "1".into(), 0, "attested".into())], "{answer:#}");
        assert_eq!(answer["models"][0]["signed_by"], json!(["the key ours"]));
        assert_eq!(signers(&server), json!(["the key ours"]));
    }
}
