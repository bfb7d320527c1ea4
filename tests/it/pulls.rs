//! Who pulled what: what counts as a pull, what is told of it, and how little of it can be lost.

use std::{
    thread,
    time::{Duration, Instant},
};

use serde_json::Value;

use crate::{
    postgres::Postgres,
    push::Repository,
    readable::Both,
    s3::S3Kind,
    sample::sha256,
    server::{Engine, Server, Storage, on_both_engines},
    wire::Wire,
};

/// What is pulled is known no later than this after it.
const KNOWN_AFTER: Duration = Duration::from_secs(1);

/// The pulls of a question, once there are so many requests in them.
#[track_caller]
fn pulls(server: &Server, question: &str, requests: u64) -> Vec<Value> {
    let end = Instant::now() + Duration::from_secs(30);
    loop {
        let answer = server.api(&format!("/pulls{question}"), 200);
        let pulls = answer["pulls"].as_array().unwrap().clone();
        let counted: u64 = pulls.iter().map(|pull| pull["count"].as_u64().unwrap()).sum();
        if counted == requests {
            return pulls;
        }
        assert!(counted < requests && Instant::now() < end, "{counted} and not {requests}: {answer:#}");
        thread::sleep(Duration::from_millis(50));
    }
}

fn told<'a>(pulls: &'a [Value], key: &str) -> Vec<&'a str> {
    pulls.iter().map(|pull| pull[key].as_str().unwrap_or_default()).collect()
}

on_both_engines! {
    fn what_is_answered_with_bytes_is_a_pull(server: Server) {
        let mut repository = Repository::new(&server.host, "team/kit");
        let digest = repository.kit("1.0", b"some weights", b"data");
        let blob = sha256(b"some weights");
        let (manifest, weights) = ("/manifests/1.0", format!("/blobs/{blob}"));
        let mut get = |path: &str, headers: &[(&str, &str)], status: u16| {
            repository.send("GET", path, &[&[("User-Agent", "kit/1.0")], headers].concat(), b"").expect(status);
        };
        get(manifest, &[("If-None-Match", &format!("\"{digest}\""))], 304);
        get(&weights, &[("If-None-Match", &format!("\"{blob}\""))], 304);
        get(&weights, &[("Range", "bytes=99-")], 416);
        get("/manifests/2.0", &[], 404);
        get(&format!("/blobs/{}", sha256(b"other")), &[], 404);
        get("/tags/list", &[], 200);
        get(&format!("/referrers/{digest}"), &[], 200);
        let mut head = Repository::new(&server.host, "team/kit");
        head.send("HEAD", manifest, &[], b"").expect(200);
        head.send("HEAD", &weights, &[], b"").expect(200);
        // What came before would be known by the time that these are.
        get(manifest, &[], 200);
        get(&format!("/manifests/{digest}"), &[], 200);
        get(&weights, &[], 200);
        for range in ["bytes=0-3", "bytes=4-7", "bytes=0-1,4-5"] {
            get(&weights, &[("Range", range)], 206);
        }
        let found = pulls(&server, "", 6);
        assert_eq!(told(&found, "kind"), ["blob", "manifest", "manifest"], "the newest first: {found:#?}");
        assert_eq!(told(&found, "tag"), ["", "", "1.0"]);
        assert_eq!(told(&found, "digest"), [&*blob, &*digest, &*digest]);
        assert_eq!(found[0]["count"], 4, "the ranges of a blob are one");
        for pull in &found {
            let [repository, by, client, address] = ["repository", "by", "client", "address"].map(|key| &pull[key]);
            assert_eq!((repository, by), (&"team/kit".into(), &"anonymous".into()));
            assert_eq!((client, address), (&"kit/1.0".into(), &"127.0.0.1".into()));
            assert_eq!(pull["redirected"], false);
            assert!(pull["at"].as_str().unwrap() <= pull["last_at"].as_str().unwrap());
        }
    }

    fn a_client_that_goes_on_is_told_once(server: Server) {
        let mut repository = Repository::new(&server.host, "team/kit");
        repository.kit("1.0", b"weights", b"data");
        let mut get = |agent: &str| {
            repository.send("GET", "/manifests/1.0", &[("User-Agent", agent)], b"").expect(200);
        };
        get("one");
        let first = pulls(&server, "", 1);
        get("one");
        get(&"two".repeat(200));
        let found = pulls(&server, "", 3);
        assert_eq!(found.len(), 2, "{found:#?}");
        assert_eq!((&found[1]["at"], &found[1]["count"]), (&first[0]["at"], &2.into()));
        assert!(found[1]["last_at"].as_str() > first[0]["last_at"].as_str());
        assert_eq!(found[0]["client"].as_str().unwrap().len(), 256, "what a client calls itself has a bound");
        assert_eq!(server.count("select count(*) from pull"), 2);
    }

    fn pulls_are_found_by_what_they_are(server: Server) {
        let mut kit = Repository::new(&server.host, "team/kit");
        let digest = kit.kit("1.0", b"weights", b"data");
        let mut copy = Repository::new(&server.host, "team/copy");
        copy.kit("1.0", b"weights", b"data");
        let blob = sha256(b"weights");
        for repository in [&mut kit, &mut copy] {
            for path in [format!("/blobs/{blob}"), "/manifests/1.0".into()] {
                repository.send("GET", &path, &[], b"").expect(200);
            }
        }
        let all = pulls(&server, "", 4);
        assert_eq!(told(&all, "repository"), ["team/copy", "team/copy", "team/kit", "team/kit"]);
        // The same manifest is another kit in the other repository: its name is in it.
        for (question, expected) in [
            ("?repository=team/kit".to_owned(), 2),
            (format!("?digest={blob}"), 2),
            (format!("?digest={blob}&repository=team/kit"), 1),
            (format!("?digest={digest}"), 1),
            ("?ref=team/kit:1.0".to_owned(), 1),
            (format!("?ref=team/kit@{digest}"), 1),
            ("?actor=anonymous".to_owned(), 4),
            ("?actor=alice".to_owned(), 0),
            ("?actor=anonymous&repository=team/copy".to_owned(), 2),
            (format!("?since={}", all[1]["at"].as_str().unwrap()), 2),
            (format!("?until={}", all[1]["at"].as_str().unwrap()), 2),
            ("?since=2999-01-01T00:00:00Z".to_owned(), 0),
            ("?until=2001-01-01T00:00:00Z".to_owned(), 0),
        ] {
            let found = server.api(&format!("/pulls{question}"), 200);
            assert_eq!(found["pulls"].as_array().unwrap().len(), expected, "{question}: {found:#}");
        }
        let (mut paged, mut cursor) = (Vec::new(), String::new());
        loop {
            let page = server.api(&format!("/pulls?limit=1{cursor}"), 200);
            paged.extend(page["pulls"].as_array().unwrap().iter().cloned());
            let Some(next) = page["next"].as_str() else { break };
            server.api(&format!("/pulls?limit=1&actor=anonymous&cursor={next}"), 400);
            cursor = format!("&cursor={next}");
        }
        assert_eq!(paged, all);
        for (question, status) in [
            ("?repository=team/none", 404),
            ("?ref=team/kit:2.0", 404),
            ("?ref=team/kit", 400),
            ("?ref=team/kit:1.0&repository=team/kit", 400),
            ("?digest=sha256:12", 400),
            ("?since=yesterday", 400),
            ("?cursor=x", 400),
            ("?tag=1.0", 400),
        ] {
            server.api(&format!("/pulls{question}"), status);
        }
    }

    fn an_answer_tells_who_pulled_the_affected(server: Server) {
        let mut kit = Repository::new(&server.host, "team/kit");
        let digest = kit.kit("1.0", b"weights", b"leaked");
        Repository::new(&server.host, "team/other").kit("1.0", b"other weights", b"leaked");
        for client in 0..12 {
            let agent = format!("client/{client}");
            kit.send("GET", "/manifests/1.0", &[("User-Agent", &agent)], b"").expect(200);
        }
        let other = format!("/blobs/{}", sha256(b"other weights"));
        Repository::new(&server.host, "team/other").send("GET", &other, &[], b"").expect(200);
        pulls(&server, "", 13);
        let leak = sha256(b"leaked");
        let answer = server.api(&format!("/impact?file={leak}&wait=30&pulls=true"), 200);
        let [kit, other] = [&answer["models"][0], &answer["models"][1]];
        assert_eq!((&kit["repository"], &kit["digest"]), (&"team/kit".into(), &digest.into()));
        let told = told(kit["pulls"].as_array().unwrap(), "client");
        assert_eq!(told, (2..12).rev().map(|client| format!("client/{client}")).collect::<Vec<_>>());
        assert_eq!((&kit["pulls"][0]["by"], &kit["pulls"][0]["count"]), (&"anonymous".into(), &1.into()));
        assert_eq!(kit["more_pulls"], 2);
        assert_eq!((&other["pulls"], &other["more_pulls"]), (&Value::Array(Vec::new()), &0.into()), "only a blob was");
        // The other form of the question, and those that do not ask.
        let body = format!(r#"{{"files":["{leak}"]}}"#);
        let head = "POST /api/v1/impact?pulls=true HTTP/1.1\r\nHost: x\r\nContent-Type: application/json";
        let head = format!("{head}\r\nContent-Length: {}", body.len());
        let reply = Wire::new(&server.host).send(&head, [&body]).expect(200);
        let by_files: Value = serde_json::from_slice(&reply.body).unwrap();
        assert_eq!(by_files["models"][0]["pulls"], kit["pulls"]);
        let unasked = server.api(&format!("/impact?file={leak}"), 200);
        assert!(unasked["models"][0].get("pulls").is_none() && unasked["models"][0].get("more_pulls").is_none());
        let before = server.api(&format!("/impact?file={leak}&pulls=true&as_of={}", kit["pushed_at"].as_str().unwrap()), 200);
        assert_eq!(before["models"][0]["pulls"], Value::Array(Vec::new()), "nobody had by then");
        server.api(&format!("/impact?file={leak}&pulls=yes"), 400);
        let lines = format!("/api/v1/impact?file={leak}&pulls=true");
        Wire::new(&server.host).get(&lines, "application/x-ndjson").expect(400);
        let (said, code) = server.asked(&["impact", "--file", &leak, "--pulls"]);
        assert!(code == 1 && said.contains("client/11") && said.contains("pulled 2 times before"), "{said}");
        assert!(said.contains("Not pulled, as far as that is kept: 1 model."), "{said}");
    }

    fn what_is_killed_loses_a_second_at_most_and_what_ends_nothing(server: Server) {
        let mut server = server;
        let mut repository = Repository::new(&server.host, "team/kit");
        repository.kit("1.0", b"weights", b"data");
        let get = |host: &str, agent: &str| {
            let mut repository = Repository::new(host, "team/kit");
            repository.send("GET", "/manifests/1.0", &[("User-Agent", agent)], b"").expect(200);
        };
        for number in 0..20 {
            get(&server.host, &format!("early/{number}"));
        }
        thread::sleep(KNOWN_AFTER);
        get(&server.host, "late");
        server.kill();
        server.restart(&[]);
        let found = server.api("/pulls", 200)["pulls"].as_array().unwrap().clone();
        let early = told(&found, "client").into_iter().filter(|client| client.starts_with("early/")).count();
        assert_eq!(early, 20);
        get(&server.host, "last");
        server.terminate();
        server.wait();
        server.restart(&[]);
        let found = server.api("/pulls", 200)["pulls"].as_array().unwrap().clone();
        assert_eq!(told(&found, "client")[0], "last", "who stops it waits for the last one");
    }

    fn pulls_are_forgotten_in_their_time(server: Server) {
        let mut server = server;
        let mut repository = Repository::new(&server.host, "team/kit");
        repository.kit("1.0", b"weights", b"data");
        let get = |host: &str, agent: &str| {
            let mut repository = Repository::new(host, "team/kit");
            repository.send("GET", "/manifests/1.0", &[("User-Agent", agent)], b"").expect(200);
        };
        get(&server.host, "old");
        pulls(&server, "", 1);
        // 400 days earlier, in the numbers of rows: microseconds times 1024.
        server.execute("update pull set id = id - 35389440000000000, last_at = last_at - 34560000000000");
        server.restart_with("PEDIGREE_PULLS_DAYS", "0");
        get(&server.host, "new");
        assert_eq!(told(&pulls(&server, "", 2), "client"), ["new", "old"], "0 keeps them for ever");
        server.restart_with("PEDIGREE_PULLS_DAYS", "500");
        assert_eq!(pulls(&server, "", 2).len(), 2);
        server.restart_with("PEDIGREE_PULLS_DAYS", "365");
        let end = Instant::now() + Duration::from_secs(30);
        while server.count("select count(*) from pull") > 1 {
            assert!(Instant::now() < end, "the old one is still there");
            thread::sleep(Duration::from_millis(50));
        }
        assert_eq!(told(&pulls(&server, "", 1), "client"), ["new"]);
    }
}

#[test]
fn a_redirect_counts_as_a_pull() {
    let Some(mut server) = Server::start_on(Engine::Sqlite, Storage::S3(S3Kind::InProcess)) else { return };
    server.restart_with("PEDIGREE_REDIRECT_FROM", "10");
    let mut repository = Repository::new(&server.host, "direct");
    repository.blob("", b"more than ten bytes");
    let path = format!("/blobs/{}", sha256(b"more than ten bytes"));
    repository.send("HEAD", &path, &[], b"").expect(200);
    for _ in 0..2 {
        repository.send("GET", &path, &[("User-Agent", "follows/1")], b"").expect(307);
    }
    let found = pulls(&server, "", 2);
    assert_eq!((found.len(), &found[0]["redirected"]), (1, &true.into()));
}

#[test]
fn the_address_is_the_clients_and_not_the_proxys() {
    let Some(server) = Server::start_with(Engine::Sqlite, &[("PEDIGREE_PROXIES", "127.0.0.1")]) else { return };
    let mut repository = Repository::new(&server.host, "team/kit");
    repository.kit("1.0", b"weights", b"data");
    repository.send("GET", "/manifests/1.0", &[("X-Forwarded-For", "203.0.113.9, 198.51.100.7")], b"").expect(200);
    assert_eq!(pulls(&server, "", 1)[0]["address"], "198.51.100.7");
}

#[test]
fn a_database_that_is_busy_delays_pulls_and_loses_none() {
    let Some(server) = Server::start(Engine::Sqlite) else { return };
    let mut repository = Repository::new(&server.host, "team/kit");
    repository.kit("1.0", b"weights", b"data");
    let file = server.location();
    crate::database::held(&file, || {
        for number in 0..50 {
            let agent = format!("client/{number}");
            repository.send("GET", "/manifests/1.0", &[("User-Agent", &agent)], b"").expect(200);
            thread::sleep(Duration::from_millis(20));
        }
        assert_eq!(server.api("/pulls", 200)["pulls"], Value::Array(Vec::new()), "nobody can write");
    });
    assert_eq!(pulls(&server, "", 50).len(), 50);
    let metrics = Wire::new(&server.host).get("/metrics", "text/plain").expect(200);
    assert!(String::from_utf8(metrics.body).unwrap().contains("\npedigree_pulls_lost_total 0\n"));
}

fn a_reader_sees_the_pulls_of_what_they_may_read(both: &Both) {
    for name in ["open/kit", "secret/kit"] {
        Repository::new(&both.all, name).kit("1", name.as_bytes(), b"leaked");
        Repository::new(&both.all, name).send("GET", "/manifests/1", &[], b"").expect(200);
    }
    both.open("open/kit");
    let end = Instant::now() + Duration::from_secs(30);
    while Both::ask(&both.all, "/pulls", 200)["pulls"].as_array().unwrap().len() < 2 {
        assert!(Instant::now() < end);
        thread::sleep(Duration::from_millis(50));
    }
    let seen = Both::ask(&both.stranger, "/pulls", 200);
    assert_eq!(told(seen["pulls"].as_array().unwrap(), "repository"), ["open/kit"]);
    for (question, status) in [
        ("/pulls?repository=secret/kit", 404),
        ("/pulls?ref=secret/kit:1", 404),
        ("/pulls?repository=open/kit", 200),
        ("/pulls?ref=open/kit:1", 200),
    ] {
        Both::ask(&both.stranger, question, status);
    }
    let question = format!("/impact?file={}&wait=30&pulls=true", sha256(b"leaked"));
    let seen = Both::ask(&both.stranger, &question, 200);
    let models = seen["models"].as_array().unwrap();
    assert_eq!((models.len(), models[0]["pulls"].as_array().unwrap().len()), (1, 1), "{seen:#}");
}

#[test]
fn readers_on_sqlite() {
    a_reader_sees_the_pulls_of_what_they_may_read(&Both::start(None));
}

#[test]
fn readers_on_postgres() {
    if let Some(postgres) = Postgres::get() {
        a_reader_sees_the_pulls_of_what_they_may_read(&Both::start(Some(postgres)));
    }
}
