//! What is not wholly known is listed with its reason, by the command and by the API alike.

use std::{
    fs, thread,
    time::{Duration, Instant},
};

use serde_json::{Value, json};

use crate::{
    crash::files,
    push::{KIT, MANIFEST, Repository},
    reindex::coverage,
    sample::{sha256, tar},
    server::{Server, on_both_engines},
};

/// (state, reason or reference, first place) of what is listed.
fn listed(answer: &Value) -> Vec<(String, String, String)> {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let row = |gap: &Value| {
        let why = if gap["reference"].is_string() { text(&gap["reference"]) } else { text(&gap["reason"]) };
        let place = &gap["places"][0];
        (text(&gap["state"]), why, format!("{}:{}", text(&place["repository"]), text(&place["tag"])))
    };
    answer["gaps"].as_array().unwrap().iter().map(row).collect()
}

on_both_engines! {
    fn all_that_is_known_is_no_news(server: Server) {
        Repository::new(&server.host, "team/kit").kit("1", b"weights", b"data");
        server.api(&format!("/impact?file={}&wait=30", sha256(b"data")), 200);
        let (said, code) = coverage(&server, &[]);
        assert_eq!((code, &said["gaps"], &said["completeness"]["exact"]), (0, &json!([]), &true.into()), "{said:#}");
        assert_eq!(said["completeness"]["layers"]["indexed"], 2);
        let output = server.beside(&["coverage"]).output().unwrap();
        assert_eq!(output.status.code(), Some(0));
        assert!(String::from_utf8(output.stdout).unwrap().starts_with("layers: 2 indexed, 0 pending"));
        assert_eq!(server.beside(&["coverage", "--state", "nonsense"]).output().unwrap().status.code(), Some(2));
        assert_eq!(server.beside(&["coverage", "--repository", "no/such"]).output().unwrap().status.code(), Some(2));
    }

    fn each_state_is_listed_with_its_reason(server: Server) {
        let mut repository = Repository::new(&server.host, "team/odd");
        let whole = tar([("a.txt".into(), vec![b'a'; 5000]), ("b.txt".into(), vec![b'b'; 5000])]);
        repository.artifact("partial", &[&whole[..8000]]);
        let encrypted = repository.blob("application/vnd.oci.image.layer.v1.tar+encrypted", b"secret");
        let config = repository.blob("application/vnd.oci.empty.v1+json", b"{}");
        let manifest = json!({"schemaVersion": 2, "mediaType": MANIFEST, "artifactType": "application/vnd.test",
            "config": config, "layers": [encrypted]});
        repository.manifest("opaque", &manifest);
        let broken = repository.blob("application/vnd.kitops.modelkit.config.v1+json", b"no JSON");
        repository.manifest("incomplete", &json!({"schemaVersion": 2, "mediaType": MANIFEST, "artifactType": KIT,
            "config": broken, "layers": []}));
        Repository::new(&server.host, "team/child").child("1", "localhost:5000/no/such:1");
        repository.artifact("failed", &[b"its object is lost"]);
        repository.artifact("outdated", &[b"seen long ago"]);
        let purged = repository.artifact("purged", &[b"never seen"]);
        server.api(&format!("/impact?file={}&wait=30", sha256(b"never seen")), 200);

        // A layer whose bytes went before anybody looked: its manifest is read again, and nothing else is left.
        repository.delete(&purged);
        assert!(server.beside(&["gc", "--grace", "0"]).output().unwrap().status.success());
        let object = files(&server.data().join("objects")).into_iter()
            .find(|file| fs::read(file).unwrap() == b"its object is lost").unwrap();
        fs::rename(&object, server.data().join("aside")).unwrap();
        let mut server = server;
        server.kill();
        for statement in [
            "create table gone as select y.id from layer y
               where y.size = 10 and not exists (select 1 from blob b where b.digest = y.digest)",
            "delete from manifest_blob where layer_id in (select id from gone)",
            "delete from layer_file where scan_id in (select s.id from scan s join gone g on g.id = s.layer_id)",
            "delete from layer_path where scan_id in (select s.id from scan s join gone g on g.id = s.layer_id)",
            "delete from scan where layer_id in (select id from gone)",
            "delete from layer where id in (select id from gone)",
            "drop table gone",
            "update layer set scanner = 0 where size = 13",
            // As if it had never been scanned.
            "update layer set state = 0, scan_id = null, scanner = null where size = 18",
            "update layer_tally set layers = layers - 1",
        ] {
            server.execute(statement);
        }
        // Beside no server: the one layer's scan fails, and is left for another try.
        let output = server.beside(&["reindex", "--json"]).output().unwrap();
        assert_eq!(output.status.code(), Some(1), "{}", String::from_utf8_lossy(&output.stderr));
        let done: Value = serde_json::from_slice(&output.stdout).unwrap();
        assert_eq!(done["waiting"], 1, "{done}");
        server.execute("update layer set scanner = 0 where size = 13");
        server.execute("update job set run_at = run_at + 3600000000");

        let (said, code) = coverage(&server, &[]);
        assert_eq!(code, 1);
        let rows = listed(&said);
        let states: Vec<_> = rows.iter().map(|(state, ..)| state.as_str()).collect();
        assert_eq!(states, ["partial", "opaque", "failed", "purged", "indexed", "incomplete", "unresolved"], "{said:#}");
        let places: Vec<_> = rows.iter().map(|(.., place)| place.as_str()).collect();
        let of = |tag: &str| format!("team/odd:{tag}");
        let expected = [of("partial"), of("opaque"), of("failed"), of(""), of("outdated"), of("incomplete"), "team/child:1".into()];
        assert_eq!(places, expected, "{said:#}");
        assert_eq!(rows[1].1, "it is encrypted");
        assert_eq!(rows[3].1, "its bytes were deleted before it was scanned");
        assert_eq!(rows[6].1, "localhost:5000/no/such:1");
        assert!([0, 2, 5].iter().all(|row| !rows[*row].1.is_empty()), "{said:#}");
        let gap = |row: usize| &said["gaps"][row];
        assert_eq!((&gap(4)["outdated"], &gap(4)["scanner"]), (&true.into(), &0.into()));
        assert!(gap(2)["attempts"].as_u64() >= Some(1) && gap(2)["next_try"].is_string(), "{said:#}");
        assert_eq!((&gap(3)["places"][0]["deleted"], &gap(0)["size"]), (&true.into(), &8000.into()));
        assert_eq!(said["completeness"]["layers"]["failed"], 1);

        // Only some, only there, in pages, and over HTTP.
        assert_eq!(listed(&coverage(&server, &["--state", "failed,partial"]).0).len(), 2);
        assert_eq!(listed(&coverage(&server, &["--state", "failed", "--repository", "team/child"]).0), []);
        let (child, code) = coverage(&server, &["--repository", "team/child"]);
        assert_eq!((code, listed(&child), child["completeness"]["unresolved_references"].as_u64()), (1, rows[6..].to_vec(), Some(1)));
        // What is wrong with each is in the text, too.
        let output = server.beside(&["coverage"]).output().unwrap();
        let text = String::from_utf8(output.stdout).unwrap();
        assert!(text.contains("it is encrypted") && text.contains("team/odd:opaque"), "{text}");

        server.restart(&[]);
        fs::rename(server.data().join("aside"), &object).unwrap();
        let found = server.api("/coverage?state=opaque,partial,failed&limit=1", 200);
        let mut all = found["gaps"].as_array().unwrap().clone();
        let mut next = found["next"].clone();
        while let Some(cursor) = next.as_str() {
            let page = server.api(&format!("/coverage?state=opaque,partial,failed&limit=1&cursor={cursor}"), 200);
            all.extend(page["gaps"].as_array().unwrap().clone());
            next = page["next"].clone();
        }
        assert_eq!(all, said["gaps"].as_array().unwrap()[..3]);
        server.api("/coverage?state=nonsense", 400);
        server.api("/coverage?cursor=x", 400);
        server.api("/coverage?repository=no/such", 404);

        // What failed is tried again at once, and there are bytes again.
        let output = server.beside(&["reindex", "--failed", "--json"]).output().unwrap();
        assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stdout));
        assert_eq!(coverage(&server, &["--state", "failed"]).1, 0);
        let start = Instant::now();
        while coverage(&server, &["--state", "outdated"]).1 != 0 {
            assert!(start.elapsed() < Duration::from_secs(30), "nobody scans what is outdated");
            thread::sleep(Duration::from_millis(100));
        }
    }
}
