//! OpenLineage events: runs that completed make edges, in whatever order and however often their events come.

use serde_json::{Value, json};

use crate::{
    push::{INDEX, MANIFEST, Repository, models},
    sample::{gzip, sha256},
    server::{Server, on_both_engines},
    wire::Wire,
};

const RUN: &str = "0193f0a8-7b1e-7c31-9d0a-3f6f4a1c2b11";

/// Sends what it is given, and gives back the answer.
pub(crate) fn post(server: &Server, path: &str, body: &Value, status: u16) -> Value {
    let body = body.to_string();
    let head = format!(
        "POST /api/v1{path} HTTP/1.1\r\nHost: {}\r\nContent-Type: application/json\r\nContent-Length: {}",
        server.host,
        body.len()
    );
    let reply = Wire::new(&server.host).send(&head, [body.as_bytes()]).expect(status);
    serde_json::from_slice(&reply.body).unwrap()
}

/// A dataset of this registry.
fn ours(name: &str, version: Option<&str>) -> Value {
    let mut dataset = json!({"namespace": "oci://localhost:5000", "name": name});
    if let Some(version) = version {
        let facet = json!({"_producer": "p", "_schemaURL": "s", "datasetVersion": version});
        dataset["facets"] = json!({"version": facet, "unknown_facet": {"_producer": "p", "_schemaURL": "s", "a": 1}});
    }
    dataset
}

fn outside(namespace: &str, name: &str) -> Value {
    json!({"namespace": namespace, "name": name})
}

fn event(run: &str, state: &str, inputs: &[&Value], outputs: &[&Value]) -> Value {
    json!({
        "eventTime": "2026-11-20T09:14:03.120Z", "producer": "https://example.com/trainer",
        "schemaURL": "https://openlineage.io/spec/2-0-2/OpenLineage.json#/$defs/RunEvent", "eventType": state,
        "run": {"runId": run, "facets": {}}, "job": {"namespace": "airflow", "name": "train"},
        "inputs": inputs, "outputs": outputs,
    })
}

/// Who is affected by a file, and how.
fn affected(server: &Server, file: &[u8]) -> Vec<(String, u64, String)> {
    let answer = server.api(&format!("/impact?file={}&wait=30", sha256(file)), 200);
    models(&answer).into_iter().map(|(name, _, distance, grade)| (name, distance, grade)).collect()
}

on_both_engines! {
    fn a_run_that_completed_says_what_was_made_from_what(server: Server) {
        let mut data = Repository::new(&server.host, "data/cards");
        let leaked = data.artifact("1", &[b"leaked"]);
        let mut kit = Repository::new(&server.host, "team/model");
        let model = kit.kit("1", b"weights", b"other data");
        let (input, output) = (ours("data/cards", Some(&leaked)), ours("team/model", Some(&model)));

        // Begun is not done, and failed neither.
        let start = event(RUN, "START", &[&input], &[]);
        post(&server, "/lineage", &start, 200);
        let kept = Wire::new(&server.host).get("/api/v1/claims/1/statement", "*/*").expect(200);
        assert_eq!(kept.body, start.to_string().as_bytes(), "it is kept as it was sent");
        let failed = "0193f0a8-7b1e-7c31-9d0a-3f6f4a1c2b12";
        post(&server, "/lineage", &event(failed, "FAIL", &[&input], &[&output]), 200);
        assert!(affected(&server, b"leaked").is_empty());
        // What was read stood in another event than what was written.
        let end = event(RUN, "COMPLETE", &[], &[&output]);
        for _ in 0..3 {
            post(&server, "/lineage", &end, 200);
        }
        assert_eq!(affected(&server, b"leaked"), [("team/model".into(), 0, "declared".into())]);
        let answer = server.api(&format!("/impact?file={}", sha256(b"leaked")), 200);
        let evidence = answer["models"][0]["evidence"].as_array().unwrap();
        assert_eq!(evidence.len(), 1, "sent three times, it counts once: {answer:#}");
        assert_eq!((&evidence[0]["edge"], &evidence[0]["target"]["digest"]), (&"trained_on".into(), &leaked.as_str().into()));
        assert_eq!(evidence[0]["claim"]["kind"], "event");
        assert_eq!(evidence[0]["occurred_at"], "2026-11-20T09:14:03.12Z");
        assert_eq!(answer["completeness"]["exact"], true);

        // An input that is told of after the end.
        let other = data.artifact("2", &[b"told late"]);
        post(&server, "/lineage", &event(RUN, "RUNNING", &[&ours("data/cards", Some(&other))], &[]), 200);
        assert_eq!(affected(&server, b"told late"), [("team/model".into(), 0, "declared".into())]);
    }

    fn datasets_lead_on_through_buckets(server: Server) {
        let mut kit = Repository::new(&server.host, "team/model");
        let model = kit.kit("1", b"weights", b"data");
        let runs = ["01", "02", "03"].map(|n| format!("0193f0a8-7b1e-7c31-9d0a-3f6f4a1c2b{n}"));
        let raw = outside("s3://lake", "raw/cards.csv");
        let clean = outside("s3://lake", "clean/cards.parquet");
        let batch = json!([
            event(&runs[2], "COMPLETE", &[&clean], &[&ours("team/model", Some(&model))]),
            {"eventTime": "2026-11-20T09:14:03Z"},
            event(&runs[0], "COMPLETE", &[&raw], &[&outside("postgres://db:5432", "shop.public.cards")]),
            event(&runs[1], "COMPLETE", &[&outside("postgres://db:5432", "shop.public.cards")], &[&clean]),
        ]);
        let answer = post(&server, "/lineage/batch", &batch, 200);
        assert_eq!((&answer["status"], &answer["summary"]["failed"]), (&"partial_success".into(), &1.into()));
        assert_eq!(answer["failed_events"][0]["index"], 1);
        let answer = server.api("/impact?external=s3://lake/raw/cards.csv", 200);
        assert_eq!(models(&answer), [("team/model".into(), "1".into(), 2, "declared".into())], "{answer:#}");
        let answer = server.api("/impact?external=s3://lake/other.csv", 200);
        assert!(models(&answer).is_empty());
    }

    fn a_use_without_a_version_is_counted(server: Server) {
        let mut data = Repository::new(&server.host, "data/cards");
        data.artifact("1", &[b"leaked"]);
        let mut kit = Repository::new(&server.host, "team/model");
        let model = kit.kit("1", b"weights", b"other data");
        let complete = event(RUN, "COMPLETE", &[&ours("data/cards", None)], &[&ours("team/model", Some(&model))]);
        post(&server, "/lineage", &complete, 200);
        let answer = server.api(&format!("/impact?file={}&wait=30", sha256(b"leaked")), 200);
        assert!(models(&answer).is_empty(), "which version was used nobody said");
        assert_eq!(answer["completeness"]["unknown_versions"], 1, "{answer:#}");
        assert_eq!(answer["completeness"]["exact"], false);
    }

    fn what_a_tag_names_later_is_what_was_meant(server: Server) {
        let mut data = Repository::new(&server.host, "data/cards");
        let leaked = data.artifact("1", &[b"leaked"]);
        let (later, next) = (ours("data/cards", Some("later")), ours("team/model", Some("next")));
        let complete = event(RUN, "COMPLETE", &[&ours("data/cards", Some(&leaked)), &later], &[&next, &ours("team/model", Some("last"))]);
        for _ in 0..2 {
            post(&server, "/lineage", &complete, 200);
        }
        assert!(affected(&server, b"leaked").is_empty());
        let ask = |query: &str| server.api(&format!("/impact?file={}{query}", sha256(b"leaked")), 200);
        let before = ask("");
        let missing = |answer: &Value| {
            let known = &answer["completeness"];
            (known["unresolved_references"].as_u64().unwrap(), known["unknown_versions"].as_u64().unwrap())
        };
        assert_eq!(missing(&before), (2, 4), "two outputs of which no version is known, each made from two things: {before:#}");
        let edge = |name: &str| (name.to_owned(), 0, "declared".to_owned());
        let mut kit = Repository::new(&server.host, "team/model");
        let model = kit.kit("next", b"weights", b"other data");
        assert_eq!(affected(&server, b"leaked"), [edge("team/model")]);
        assert_eq!(missing(&ask("")), (2, 2), "the other output is not there, and neither is an input of both");
        let evidence = ask("")["models"][0]["evidence"][0].clone();
        assert_eq!((&evidence["edge"], &evidence["occurred_at"]), (&"trained_on".into(), &"2026-11-20T09:14:03.12Z".into()));
        // Another of that name is another; events that come again and input that comes late change nothing.
        kit.kit("next", b"other weights", b"other data");
        kit.kit("last", b"last weights", b"other data");
        data.artifact("later", &[b"told late"]);
        data.artifact("later", &[b"another"]);
        assert_eq!(affected(&server, b"leaked"), [edge("team/model"), edge("team/model")]);
        assert_eq!(affected(&server, b"told late"), [edge("team/model"), edge("team/model")]);
        let answer = server.api(&format!("/impact?file={}", sha256(b"told late")), 200);
        let evidence = &answer["models"][0]["evidence"][0];
        assert_eq!((&evidence["late"], &evidence["occurred_at"]), (&true.into(), &"2026-11-20T09:14:03.12Z".into()), "{answer:#}");
        assert_eq!((missing(&answer), &answer["completeness"]["exact"]), ((0, 0), &true.into()), "{answer:#}");
        assert!(affected(&server, b"another").is_empty());
        // As of then no version was known.
        let then = ask(&format!("&as_of={}", before["query"]["as_of"].as_str().unwrap()));
        assert!(models(&then).is_empty(), "{then:#}");
        let lineage = server.api(&format!("/lineage?ref=team/model@{model}&direction=ancestors"), 200);
        assert_eq!(lineage["edges"].as_array().unwrap().len(), 2, "{lineage:#}");
    }

    fn what_is_pushed_after_its_event_is_affected(server: Server) {
        let mut data = Repository::new(&server.host, "data/cards");
        let leaked = data.artifact("1", &[b"leaked"]);
        // Known by its digest, and in another repository.
        let model = Repository::new(&server.host, "scratch/model").kit("1", b"weights", b"other data");
        let complete = event(RUN, "COMPLETE", &[&ours("data/cards", Some(&leaked))], &[&ours("team/model", Some(&model))]);
        post(&server, "/lineage", &complete, 200);
        let answer = server.api(&format!("/impact?file={}&wait=30", sha256(b"leaked")), 200);
        assert_eq!((models(&answer).len(), &answer["completeness"]["exact"]), (0, &false.into()), "{answer:#}");
        let mut kit = Repository::new(&server.host, "team/model");
        assert_eq!(kit.kit_like("1", "scratch/model", b"weights", b"other data"), model);
        let answer = server.api(&format!("/impact?file={}&wait=30", sha256(b"leaked")), 200);
        assert_eq!(affected(&server, b"leaked"), [("team/model".to_owned(), 0, "declared".to_owned())]);
        assert_eq!(answer["completeness"]["exact"], true, "{answer:#}");
        kit.delete(&model);
        assert_eq!(affected(&server, b"leaked").len(), 1);
    }

    fn who_makes_an_index_makes_what_it_lists(server: Server) {
        let leaked = Repository::new(&server.host, "data/cards").artifact("1", &[b"leaked"]);
        let mut kit = Repository::new(&server.host, "team/model");
        let variants = [b"small", b"large"].map(|weights| {
            let digest = kit.kit(std::str::from_utf8(weights).unwrap(), weights, b"other data");
            json!({"mediaType": MANIFEST, "digest": digest, "size": kit.send("GET", &format!("/manifests/{digest}"), &[], b"").expect(200).body.len()})
        });
        let index = json!({"schemaVersion": 2, "mediaType": INDEX, "manifests": variants});
        kit.bytes("all", INDEX, index.to_string().as_bytes());
        post(&server, "/lineage", &event(RUN, "COMPLETE", &[&ours("data/cards", Some(&leaked))], &[&ours("team/model", Some("all"))]), 200);
        let edge = ("team/model".to_owned(), 0, "declared".to_owned());
        assert_eq!(affected(&server, b"leaked"), [edge.clone(), edge]);
    }

    fn an_event_that_comes_again_says_nothing_new(server: Server) {
        let mut data = Repository::new(&server.host, "data/cards");
        let mut kit = Repository::new(&server.host, "team/model");
        data.artifact("now", &[b"leaked"]);
        kit.kit("now", b"weights", b"other data");
        let complete = event(RUN, "COMPLETE", &[&ours("data/cards", Some("now"))], &[&ours("team/model", Some("now"))]);
        post(&server, "/lineage", &complete, 200);
        assert_eq!(affected(&server, b"leaked").len(), 1);
        // Its tags name something else by now.
        data.artifact("now", &[b"another"]);
        let newer = kit.kit("now", b"newer weights", b"other data");
        post(&server, "/lineage", &complete, 200);
        assert_eq!(affected(&server, b"leaked").len(), 1);
        assert!(affected(&server, b"another").is_empty());
        assert_eq!(server.api(&format!("/lineage?ref=team/model@{newer}"), 200)["edges"], json!([]));
        // What was retracted stays so.
        let answer = server.api(&format!("/impact?file={}", sha256(b"leaked")), 200);
        let id = &answer["models"][0]["evidence"][0]["claim"]["id"];
        post(&server, &format!("/claims/{id}/retract"), &json!({"reason": "it failed"}), 200);
        post(&server, "/lineage", &complete, 200);
        assert!(affected(&server, b"leaked").is_empty());
    }

    fn what_is_no_event_is_refused(server: Server) {
        let problem = post(&server, "/lineage", &json!({"eventType": "COMPLETE", "run": {"runId": "x"}}), 400);
        assert!(problem["detail"].as_str().unwrap().contains("run.runId"), "{problem}");
        post(&server, "/lineage", &json!([]), 400);
        post(&server, "/lineage/batch", &json!({}), 400);
        let answer = post(&server, "/lineage/batch", &json!([]), 200);
        assert_eq!(answer["summary"]["received"], 0);
    }

    fn clients_may_compress_what_they_send(server: Server) {
        let base = Repository::new(&server.host, "team/base").kit("1", b"base", b"data");
        let model = Repository::new(&server.host, "team/model").kit("1", b"model", b"more data");
        let (input, output) = (ours("team/base", Some(&base)), ours("team/model", Some(&model)));
        let run = "00000000-0000-7000-8000-000000000009";
        let sent = gzip(event(run, "COMPLETE", &[&input], &[&output]).to_string().as_bytes());
        let send = |path: &str, encoding: &str, body: &[u8], status: u16| {
            let head = format!(
                "POST /api/v1{path} HTTP/1.1\r\nHost: {}\r\nContent-Encoding: {encoding}\r\nContent-Length: {}",
                server.host, body.len()
            );
            Wire::new(&server.host).send(&head, [body]).expect(status);
        };
        send("/lineage", "gzip", &sent, 200);
        let answer = server.api("/impact?ref=team/base:1", 200);
        let names: Vec<_> = models(&answer).into_iter().map(|(name, ..)| name).collect();
        assert_eq!(names, ["team/base", "team/model"]);
        send("/lineage/batch", "GZip", &gzip(b"[]"), 200);
        send("/lineage", "gzip", &sent[..sent.len() / 2], 400);
        send("/lineage", "br", &sent, 415);
        // What is small and unpacks to more than may be sent.
        send("/lineage/batch", "gzip", &gzip(&vec![b' '; 33 << 20]), 413);
    }
}
