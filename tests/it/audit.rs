//! Who did what: every change leaves a record, and records are found, paged and exported.

use std::{collections::BTreeSet, process::Stdio};

use serde_json::{Value, json};

use crate::{
    postgres::Postgres,
    push::Repository,
    readable::Both,
    sample::sha256,
    server::{Server, on_both_engines},
    wire::Wire,
};

/// All records that are asked for, from pages of two.
fn paged(host: &str, question: &str) -> Vec<Value> {
    let (mut records, mut cursor) = (Vec::new(), String::new());
    loop {
        let page = Both::ask(host, &format!("/audit?limit=2{question}{cursor}"), 200);
        let found = page["records"].as_array().unwrap();
        assert!(found.len() <= 2);
        records.extend(found.iter().cloned());
        let Some(next) = page["next"].as_str() else { return records };
        cursor = format!("&cursor={next}");
    }
}

/// All records that are asked for, as lines: without the last, which says how many there are.
fn exported(host: &str, question: &str) -> Vec<Value> {
    let path = format!("/api/v1/audit?{}", question.trim_start_matches('&'));
    let reply = Wire::new(host).get(&path, "application/x-ndjson").expect(200);
    assert_eq!(reply.header("content-type"), Some("application/x-ndjson"));
    let text = String::from_utf8(reply.body).unwrap();
    let mut lines: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let end = lines.pop().unwrap();
    assert_eq!(end, json!({"records": lines.len()}), "the last line says how many");
    lines
}

fn actions(records: &[Value]) -> Vec<&str> {
    records.iter().map(|record| record["action"].as_str().unwrap()).collect()
}

/// Pushes, deletes, mounts and collects. The kit's digest.
fn live_a_little(server: &Server) -> String {
    let mut kit = Repository::new(&server.host, "team/kit");
    let digest = kit.kit("1.0", b"weights", b"data");
    let manifest = kit.send("GET", "/manifests/1.0", &[], b"").expect(200).body;
    kit.bytes("latest", crate::push::MANIFEST, &manifest);
    let mount = format!("/blobs/uploads/?mount={}&from=team/kit", sha256(b"weights"));
    Repository::new(&server.host, "team/copy").send("POST", &mount, &[("X-Request-Id", "the-mount")], b"").expect(201);
    kit.blob("", b"needless");
    kit.send("DELETE", &format!("/blobs/{}", sha256(b"needless")), &[("X-Request-Id", "no-need")], b"").expect(202);
    kit.send("DELETE", "/manifests/1.0", &[("X-Request-Id", "untag")], b"").expect(202);
    kit.send("DELETE", &format!("/manifests/{digest}"), &[("X-Request-Id", "away")], b"").expect(202);
    let collected = server.beside(&["gc", "--grace", "0"]).stdout(Stdio::null()).status().unwrap();
    assert!(collected.success());
    digest
}

on_both_engines! {
    fn every_change_leaves_a_record(server: Server) {
        let digest = live_a_little(&server);
        let mut records = paged(&server.host, "");
        records.reverse();
        let told: Vec<_> = actions(&records).into_iter().filter(|action| *action != "gc.blob").collect();
        assert_eq!(told, [
            "blob.push", "blob.push", "blob.push", "manifest.push", "manifest.push", "blob.mount", "blob.push",
            "blob.delete", "tag.delete", "manifest.delete", "gc.run",
        ]);
        let the = |action: &str| records.iter().rfind(|record| record["action"] == action).unwrap();
        for (action, key, expected) in [
            ("manifest.push", "digest", &*digest),
            ("manifest.push", "tag", "latest"),
            ("blob.mount", "repository", "team/copy"),
            ("blob.mount", "digest", &sha256(b"weights")),
            ("blob.mount", "request_id", "the-mount"),
            ("blob.delete", "request_id", "no-need"),
            ("tag.delete", "tag", "1.0"),
            ("tag.delete", "request_id", "untag"),
            ("manifest.delete", "tag", "latest"),
            ("manifest.delete", "request_id", "away"),
            ("manifest.delete", "actor", "anonymous"),
            ("gc.run", "actor", "gc"),
        ] {
            assert_eq!(the(action)[key], expected, "{:#}", the(action));
        }
        // The mounted weights, the kit's config and data, and what was needless. Nothing needs the link alone.
        let swept = records.iter().filter(|record| record["action"] == "gc.blob");
        let swept: BTreeSet<_> = swept.map(|record| record["digest"].as_str().unwrap()).collect();
        assert_eq!(the("gc.run")["detail"]["blobs"], swept.len(), "{swept:?}");
        assert!(swept.contains(&*sha256(b"needless")) && swept.contains(&*sha256(b"data")), "{swept:?}");
        assert_eq!(the("gc.blob")["request_id"], the("gc.run")["request_id"], "one run");
        let moments: Vec<_> = records.iter().map(|record| record["at"].as_str().unwrap()).collect();
        assert!(moments.is_sorted(), "{moments:?}");
        // A collection that finds nothing is no news.
        server.beside(&["gc", "--grace", "0"]).stdout(Stdio::null()).status().unwrap();
        assert_eq!(paged(&server.host, "").len(), records.len());
    }

    fn records_are_found_by_what_they_are_about(server: Server) {
        let digest = live_a_little(&server);
        let all = paged(&server.host, "");
        let (first, last) = (all.last().unwrap()["at"].as_str().unwrap(), all[0]["at"].as_str().unwrap());
        let middle = all[all.len() / 2]["at"].as_str().unwrap();
        let at = |record: &Value| record["at"].as_str().unwrap().to_owned();
        let (middle_too, tagged) = (middle.to_owned(), |tag: &'static str| {
            move |record: &Value| record["tag"].as_str().is_some_and(|tags| tags.split(',').any(|one| one == tag))
        });
        type Wanted<'a> = Box<dyn Fn(&Value) -> bool + 'a>;
        let is = |key: &'static str, value: &str| -> Wanted<'static> {
            let value = value.to_owned();
            Box::new(move |record| record[key] == *value)
        };
        let questions: Vec<(String, Wanted<'_>)> = vec![
            (String::new(), Box::new(|_| true)),
            ("&actor=anonymous".into(), is("actor", "anonymous")),
            ("&actor=gc".into(), is("actor", "gc")),
            ("&actor=nobody".into(), is("actor", "nobody")),
            ("&action=blob.push".into(), is("action", "blob.push")),
            ("&repository=team/copy".into(), is("repository", "team/copy")),
            (format!("&digest={digest}"), is("digest", &digest)),
            ("&tag=latest".into(), Box::new(tagged("latest"))),
            ("&tag=late".into(), Box::new(tagged("late"))),
            (format!("&since={middle}"), Box::new(|record| at(record) >= middle_too)),
            (format!("&until={middle}"), Box::new(|record| at(record) < middle_too)),
            (format!("&since={first}&until={last}"), Box::new(|record| at(record).as_str() < last)),
            (
                "&actor=anonymous&action=manifest.push&repository=team/kit&tag=1.0".into(),
                Box::new(|record| record["action"] == "manifest.push" && tagged("1.0")(record)),
            ),
        ];
        for (question, wanted) in questions {
            let expected: Vec<_> = all.iter().filter(|record| wanted(record)).cloned().collect();
            assert_eq!(paged(&server.host, &question), expected, "{question}");
            let mut lines = exported(&server.host, &question);
            lines.reverse();
            assert_eq!(lines, expected, "the lines of {question} are the pages, the oldest first");
        }
        let next = server.api("/audit?limit=2", 200)["next"].as_str().unwrap().to_owned();
        server.api(&format!("/audit?limit=2&actor=gc&cursor={next}"), 400);
        for (question, status) in [
            ("?repository=team/none", 404),
            ("?repository=Team", 400),
            ("?digest=abc", 400),
            ("?tag=a/b", 400),
            ("?since=now", 400),
            ("?cursor=1", 400),
            ("?limit=0", 400),
            ("?who=me", 400),
        ] {
            server.api(&format!("/audit{question}"), status);
        }
        Wire::new(&server.host).get("/api/v1/audit?limit=2", "application/x-ndjson").expect(400);
    }

    fn the_command_line_lists_records(server: Server) {
        live_a_little(&server);
        let (said, code) = server.asked(&["audit", "--action", "manifest.push"]);
        assert!(code == 0 && said.lines().count() == 3 && said.contains("latest"), "{said}");
        let (said, code) = server.asked(&["audit", "--repository", "team/kit", "--limit", "2"]);
        assert!(code == 0 && said.contains("manifest.delete") && said.contains("--limit shows it"), "{said}");
        let (said, code) = server.asked(&["audit", "--tag", "1.0", "--json"]);
        let said: Value = serde_json::from_str(&said).unwrap();
        assert_eq!((code, actions(said["records"].as_array().unwrap())), (0, vec!["tag.delete", "manifest.push"]));
        let (said, code) = server.asked(&["audit", "--actor", "nobody"]);
        assert_eq!((said.as_str(), code), ("nothing was found\n", 0));
        let (said, code) = server.asked(&["audit", "--repository", "team/none"]);
        assert!(code == 2 && said.contains("team/none"), "{said}");
    }

    fn an_export_of_many_is_whole(server: Server) {
        Repository::new(&server.host, "team/kit").kit("1.0", b"weights", b"data");
        // Many at the same moment, so that their numbers alone order them.
        server.execute(
            "insert into audit (at, actor, request_id, action, repository_id)
             select a.at, 'many', 'r', 'test', a.repository_id from audit a cross join audit b cross join audit c cross join audit d
             cross join audit e",
        );
        let lines = exported(&server.host, "&actor=many");
        assert_eq!(lines.len(), 1024);
        let ids: BTreeSet<_> = lines.iter().map(|record| record["id"].as_i64().unwrap()).collect();
        assert_eq!(ids.len(), 1024, "none is told twice");
        let page = server.api("/audit?actor=many&limit=1000", 200);
        let rest = server.api(&format!("/audit?actor=many&limit=1000&cursor={}", page["next"].as_str().unwrap()), 200);
        let mut pages = [page["records"].as_array().unwrap().clone(), rest["records"].as_array().unwrap().clone()].concat();
        pages.reverse();
        assert_eq!(pages, lines);
    }
}

fn a_reader_sees_the_records_of_what_they_may_read(both: &Both) {
    for name in ["open/kit", "secret/kit"] {
        Repository::new(&both.all, name).kit("1", name.as_bytes(), b"data");
    }
    both.open("open/kit");
    both.execute("insert into audit (at, actor, request_id, action) values (1, 'gc', 'r', 'gc.run')");
    let seen = paged(&both.stranger, "");
    assert_eq!(seen.len(), 4, "three blobs and a manifest");
    assert!(seen.iter().all(|record| record["repository"] == "open/kit"), "{seen:#?}");
    assert_eq!(exported(&both.stranger, "").len(), 4);
    let all = paged(&both.all, "");
    assert_eq!((all.len(), &all.last().unwrap()["action"]), (9, &"gc.run".into()), "what is of no repository, too");
    for question in ["&actor=anonymous", "&action=manifest.push", &format!("&digest={}", sha256(b"data"))] {
        let seen = paged(&both.stranger, question);
        assert!(!seen.is_empty() && seen.iter().all(|record| record["repository"] == "open/kit"), "{question}");
    }
    assert!(paged(&both.stranger, "&actor=gc").is_empty());
    Both::ask(&both.stranger, "/audit?repository=secret/kit", 404);
    Wire::new(&both.stranger).get("/api/v1/audit?repository=secret/kit", "application/x-ndjson").expect(404);
}

#[test]
fn readers_on_sqlite() {
    a_reader_sees_the_records_of_what_they_may_read(&Both::start(None));
}

#[test]
fn readers_on_postgres() {
    if let Some(postgres) = Postgres::get() {
        a_reader_sees_the_records_of_what_they_may_read(&Both::start(Some(postgres)));
    }
}
