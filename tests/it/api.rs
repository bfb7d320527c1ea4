//! `/api/v1` beside the question itself: lists, pages, one kit, and what is refused.

use std::collections::BTreeSet;

use serde_json::Value;

use crate::{
    push::{INDEX, KIT, MANIFEST, Repository, holders, models},
    sample::{gzip, sha256, tar},
    server::{Server, on_both_engines},
    wire::Wire,
};

/// Every page of a list, put together.
fn all_pages(server: &Server, path: &str, list: &str) -> Vec<Value> {
    let (mut all, mut cursor) = (Vec::new(), String::new());
    loop {
        let page = server.api(&format!("{path}{cursor}"), 200);
        let found = page[list].as_array().unwrap();
        assert!(!found.is_empty() && found.len() <= 2, "a page has one or two: {page:#}");
        all.extend(found.iter().cloned());
        match page["next"].as_str() {
            Some(next) => cursor = format!("&cursor={next}"),
            None => return all,
        }
    }
}

on_both_engines! {
    fn what_a_kit_refers_to_is_told_without_secrets(server: Server) {
        let mut repository = Repository::new(&server.host, "team/kit");
        let kitfile = serde_json::json!({
            "manifestVersion": "1.0.0", "model": {"name": "m", "path": "https://me:hidden1@models.example/m?token=hidden2"},
            "datasets": [{"name": "far", "path": "d", "remotePath": "https://me:hidden3@s3.example/x?versionId=5&X-Amz-Signature=hidden4"}],
        });
        repository.kit_of("1", &kitfile, &[]);
        for path in ["/lineage?ref=team/kit:1", "/claims?ref=team/kit:1", "/repositories/team/kit/-/kits/1", "/repositories/team/kit/-/versions"] {
            let told = server.api(path, 200).to_string();
            assert!(told.contains("s3.example") && !told.contains("hidden"), "{path}: {told}");
        }
    }

    fn pages_miss_nothing_and_repeat_nothing(server: Server) {
        for number in 0..5 {
            let mut repository = Repository::new(&server.host, &format!("team/kit{number}"));
            repository.kit("1", format!("weights {number}").as_bytes(), b"shared data");
            Repository::new(&server.host, &format!("files/f{number}")).artifact("1", &[b"shared data"]);
        }
        let file = sha256(b"shared data");
        server.api(&format!("/impact?file={file}&wait=30"), 200);
        let names = |rows: Vec<Value>, key: &str| rows.iter().map(|r| r[key].as_str().unwrap().to_owned()).collect::<Vec<_>>();
        let kits: Vec<_> = (0..5).map(|n| format!("team/kit{n}")).collect();
        let files: Vec<_> = (0..5).map(|n| format!("files/f{n}")).collect();
        let paged = all_pages(&server, &format!("/impact?file={file}&limit=2"), "models");
        assert_eq!(names(paged, "repository"), kits);
        let paged = all_pages(&server, &format!("/holders?file={file}&limit=2"), "holders");
        let (paged, both): (BTreeSet<_>, BTreeSet<_>) =
            (names(paged, "repository").into_iter().collect(), kits.iter().chain(&files).cloned().collect());
        assert_eq!(paged, both, "kits are holders too");
        let paged = all_pages(&server, "/repositories?limit=2", "repositories");
        assert_eq!(names(paged, "name"), [files, kits].concat());

        let mut repository = Repository::new(&server.host, "team/kit0");
        for number in 1..5 {
            repository.kit(&format!("v{number}"), format!("more {number}").as_bytes(), b"shared data");
        }
        let versions = all_pages(&server, "/repositories/team/kit0/-/versions?limit=2", "versions");
        let tags: Vec<_> = versions.iter().map(|version| version["tags"][0].as_str().unwrap()).collect();
        assert_eq!(tags, ["v4", "v3", "v2", "v1", "1"], "the latest push first");

        // A cursor belongs to its question.
        let cursor = server.api(&format!("/impact?file={file}&limit=2"), 200)["next"].as_str().unwrap().to_owned();
        let other = sha256(b"weights 0");
        for question in [
            format!("/impact?file={other}"),
            format!("/impact?file={file}&grade=declared"),
            format!("/impact?file={file}&as_of=2026-01-01T00:00:00Z"),
            format!("/holders?file={file}"),
        ] {
            server.api(&format!("{question}&cursor={cursor}"), 400);
        }
        server.api(&format!("/impact?file={file}&as_of=2999-01-01T00:00:00Z"), 400);

        // A page continues what the page before began, whatever was pushed meanwhile.
        let page = server.api(&format!("/impact?file={file}&limit=2"), 200);
        Repository::new(&server.host, "team/kit9").kit("1", b"late", b"shared data");
        let next = page["next"].as_str().unwrap();
        let rest = server.api(&format!("/impact?file={file}&limit=100&cursor={next}&wait=30"), 200);
        assert!(models(&rest).iter().all(|(name, ..)| name != "team/kit9"), "the cursor pins the moment");
    }

    fn many_ways_are_counted_and_not_all_told(server: Server) {
        let mut repository = Repository::new(&server.host, "team/many");
        let blob = |repository: &mut Repository, kind: &str, bytes: &[u8]| {
            repository.blob(&format!("application/vnd.kitops.modelkit.{kind}.v1.raw"), bytes)
        };
        let (model, data) = (blob(&mut repository, "model", b"w"), blob(&mut repository, "dataset", b"many"));
        let entry = |n: usize| serde_json::json!({"name": format!("d{n}"), "path": "d.csv", "digest": data["digest"]});
        let kitfile = serde_json::json!({
            "manifestVersion": "1.0.0", "model": {"name": "m", "path": "m.bin", "digest": model["digest"]},
            "datasets": (0..250).map(entry).collect::<Vec<_>>(),
        });
        repository.kit_of("1", &kitfile, &[model, data.clone()]);
        Repository::new(&server.host, "team/one").child("1", "localhost:5000/team/many:1");
        let answer = server.api(&format!("/impact?file={}&wait=30", sha256(b"many")), 200);
        let ways = |row: usize| {
            let model = &answer["models"][row];
            (model["evidence"].as_array().unwrap().len(), model["more_evidence"].as_u64().unwrap_or_default())
        };
        assert_eq!(ways(0), (100, 150));
        assert_eq!(ways(1), (2, 0), "one step, and one way in which its end holds the file");
    }

    fn a_kit_is_shown_whole(server: Server) {
        let mut repository = Repository::new(&server.host, "team/kit");
        let digest = repository.kit("1.0", b"weights", b"data");
        server.api(&format!("/impact?file={}&wait=30", sha256(b"data")), 200);
        let kit = server.api("/repositories/team/kit/-/kits/1.0", 200);
        assert_eq!(kit["digest"], digest.as_str());
        assert_eq!((&kit["kind"], &kit["is_model"], &kit["state"]), (&"modelkit".into(), &true.into(), &"tagged".into()));
        assert_eq!(kit["package"]["version"], "1");
        assert_eq!(kit["components"][1]["role"], "dataset");
        assert_eq!((&kit["layers"][1]["state"], &kit["layers"][1]["form"]), (&"indexed".into(), &"raw".into()));
        assert_eq!(kit["layers"][1]["digest"], sha256(b"data"));
        server.api("/repositories/team/kit/-/kits/none", 404);
        server.api("/repositories/team/other/-/kits/1.0", 404);
        server.api("/repositories/Team/-/kits/1.0", 400);
        server.api("/repositories/team/kit/-/kits/a:b", 400);
        server.api("/repositories/team/kit", 404);
        server.api("/nothing", 404);
        assert_eq!(server.api("/openapi.json", 200)["openapi"], "3.1.0");
    }

    fn an_index_is_no_model_and_reaches_its_children(server: Server) {
        let mut parents = Repository::new(&server.host, "team/base");
        let digest = parents.kit("", b"w", b"indexed data");
        let size = parents.send("GET", &format!("/manifests/{digest}"), &[], b"").expect(200).body.len();
        let index = serde_json::json!({
            "schemaVersion": 2, "mediaType": INDEX,
            "manifests": [{"mediaType": MANIFEST, "digest": digest, "size": size, "artifactType": KIT}],
        });
        let index = parents.bytes("all", INDEX, index.to_string().as_bytes());
        Repository::new(&server.host, "team/child").child("1", "localhost:5000/team/base:all");
        let answer = server.api(&format!("/impact?file={}&wait=30", sha256(b"indexed data")), 200);
        let found: Vec<_> = models(&answer).into_iter().map(|(name, _, distance, _)| (name, distance)).collect();
        assert_eq!(found, [("team/base".into(), 0), ("team/child".into(), 1)]);
        assert_eq!(answer["models"][0]["indexes"][0], index.as_str());
        assert!(holders(&answer).is_empty(), "the index holds nothing itself");
        // Asked about, an index is all that it lists.
        let answer = server.api("/impact?ref=team/base:all", 200);
        let found: Vec<_> = models(&answer).into_iter().map(|(name, _, distance, _)| (name, distance)).collect();
        assert_eq!(found, [("team/base".into(), 0), ("team/child".into(), 1)]);
    }

    fn the_operator_can_watch(server: Server) {
        let mut repository = Repository::new(&server.host, "team/watched");
        repository.artifact("1", &[b"watched"]);
        let mut wire = Wire::new(&server.host);
        for probe in ["/healthz", "/readyz"] {
            wire.get(probe, "*/*").expect(200);
        }
        let metrics = String::from_utf8(wire.get("/metrics", "*/*").expect(200).body).unwrap();
        let line = "pedigree_http_requests_total{kind=\"manifests\",method=\"PUT\",status=\"201\"} 1";
        assert!(metrics.lines().any(|found| found == line), "{metrics}");
        assert!(metrics.contains("pedigree_uploads_open 0\n"), "{metrics}");
        // A request keeps the id that a proxy gave it, and gets one otherwise.
        let reply = repository.send("GET", "/tags/list", &[("X-Request-Id", "from-the-proxy.1")], b"").expect(200);
        assert_eq!(reply.header("x-request-id"), Some("from-the-proxy.1"));
        let reply = repository.send("GET", "/tags/list", &[("X-Request-Id", "not one")], b"").expect(200);
        assert_eq!(reply.header("x-request-id").map(str::len), Some(32));
    }

    fn a_kit_index_promises_its_children(server: Server) {
        let mut repository = Repository::new(&server.host, "team/sparse");
        let absent = sha256(b"absent");
        let index = |kind: &str| serde_json::json!({
            "schemaVersion": 2, "mediaType": INDEX, "artifactType": kind,
            "manifests": [{"mediaType": MANIFEST, "digest": absent, "size": 6}],
        }).to_string();
        repository.bytes("sparse", INDEX, index("application/vnd.other").as_bytes());
        let promised = index("application/vnd.kitops.modelkit.index.v1+json");
        let refused = repository.send("PUT", "/manifests/kit", &[("Content-Type", INDEX)], promised.as_bytes());
        let problem: Value = serde_json::from_slice(&refused.expect(404).body).unwrap();
        assert_eq!(problem["errors"][0]["code"], "MANIFEST_BLOB_UNKNOWN", "{problem}");
    }

    fn a_layer_is_scanned_once_whoever_has_it(server: Server) {
        let mut first = Repository::new(&server.host, "team/first");
        first.artifact("1", &[b"the same layer"]);
        server.api(&format!("/impact?file={}&wait=30", sha256(b"the same layer")), 200);
        let mut second = Repository::new(&server.host, "team/second");
        second.artifact("1", &[b"the same layer"]);
        second.artifact("2", &[b"the same layer", b"another"]);
        let layer = sha256(b"the same layer");
        let answer = server.api(&format!("/holders?layer={layer}&wait=30"), 200);
        assert_eq!(answer["completeness"]["layers"]["indexed"], 2, "{answer:#}");
        assert_eq!(holders(&answer), ["team/first", "team/second", "team/second"]);
        // Its bytes are read once, whatever they are: a tar to its padded end, compressed ones, and ones that break off.
        let tar = tar([("data/a.csv".to_owned(), b"a file".to_vec())]);
        let layers = [b"the same layer".to_vec(), b"another".to_vec(), tar.clone(), gzip(&tar), gzip(&tar)[..40].to_vec()];
        let mut kits = Repository::new(&server.host, "team/kits");
        for name in ["1", "2"] {
            kits.artifact(name, &layers.each_ref().map(Vec::as_slice));
        }
        server.api(&format!("/holders?layer={layer}&wait=30"), 200);
        let metrics = String::from_utf8(Wire::new(&server.host).get("/metrics", "*/*").expect(200).body).unwrap();
        let bytes: usize = layers.iter().map(Vec::len).sum();
        assert!(metrics.contains(&format!("pedigree_scan_read_bytes_total {bytes}\n")), "{bytes}: {metrics}");
    }
}
