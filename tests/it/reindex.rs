//! What is derived is rebuilt from manifests and blobs, and gives the same answers; what has lost its bytes is kept.

use std::{
    process::{Output, Stdio},
    thread,
    time::{Duration, Instant},
};

use serde_json::Value;

use crate::{
    fixtures::REPOSITORIES,
    left_out::workspace,
    push::{Repository, models, push_layout},
    sample::{Dice, sha256, tar},
    server::{Server, on_both_engines},
};

/// Deletes everything that is derived from what still has its bytes: `team/lost` has lost them.
const FORGET: [&str; 12] = [
    "create table lost as select o.manifest_id as id from occurrence o join repository r on r.id = o.repository_id
       where r.name = 'team/lost'",
    "delete from component_layer where manifest_id not in (select id from lost)",
    "delete from component where manifest_id not in (select id from lost)",
    "delete from kit where manifest_id not in (select id from lost)",
    "delete from manifest_child where parent_id not in (select id from lost)",
    "delete from manifest_blob where manifest_id not in (select id from lost)",
    "delete from layer_file where scan_id in (
       select s.id from scan s join layer y on y.id = s.layer_id join blob b on b.digest = y.digest)",
    "delete from layer_path where scan_id in (
       select s.id from scan s join layer y on y.id = s.layer_id join blob b on b.digest = y.digest)",
    "delete from file_metadata where scan_id in (
       select s.id from scan s join layer y on y.id = s.layer_id join blob b on b.digest = y.digest)",
    "delete from scan where layer_id in (select y.id from layer y join blob b on b.digest = y.digest)",
    "delete from layer where digest in (select digest from blob)",
    "drop table lost",
];

fn reindex(server: &Server, flags: &[&str]) -> Output {
    // The name that references use, which the server's own flags say too.
    server.beside(&[&["reindex", "--json", "--name", "localhost:5000"], flags].concat()).output().unwrap()
}

#[track_caller]
fn rebuilt(output: &Output) -> Value {
    assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap()
}

/// The answers to what can be asked, but for the moment of the question.
fn answers(server: &Server, repositories: &[&str]) -> Vec<Value> {
    let mut answers = Vec::new();
    let mut questions = vec![format!("/impact?file={}", sha256(b"lost data"))];
    for file in ["customers.csv", "transactions-2026.csv"] {
        let bytes = std::fs::read(workspace().join("tests/fixtures/files").join(file)).unwrap();
        questions.push(format!("/impact?file={}", sha256(&bytes)));
    }
    for repository in repositories {
        let versions = server.api(&format!("/repositories/{repository}/-/versions"), 200);
        for version in versions["versions"].as_array().unwrap() {
            let digest = version["digest"].as_str().unwrap();
            questions.push(format!("/impact?ref={repository}@{digest}"));
            answers.push(server.api(&format!("/repositories/{repository}/-/kits/{digest}"), 200));
        }
        answers.push(versions);
    }
    for question in questions {
        let mut answer = server.api(&question, 200);
        answer["query"]["as_of"] = Value::Null;
        answers.push(answer);
    }
    answers
}

/// Pushes the fixtures, and a kit that is deleted and whose blobs are collected. The digest of that.
fn push_everything(server: &Server) -> String {
    for repository in REPOSITORIES {
        push_layout(&server.host, repository);
    }
    let mut repository = Repository::new(&server.host, "team/lost");
    let lost = repository.kit("1", b"lost weights", b"lost data");
    server.api(&format!("/impact?file={}&wait=60", sha256(b"lost data")), 200);
    repository.delete(&lost);
    assert!(server.beside(&["gc", "--grace", "0"]).output().unwrap().status.success());
    repository.send("HEAD", &format!("/blobs/{}", sha256(b"lost data")), &[], b"").expect(404);
    lost
}

on_both_engines! {
    fn what_is_derived_is_rebuilt(server: Server) {
        let lost = push_everything(&server);
        let before = answers(&server, &REPOSITORIES);
        let kept = server.api(&format!("/repositories/team/lost/-/kits/{lost}"), 200);
        let edges = server.texts("select cast(id as text) || ' ' || cast(recorded_at as text) from edge order by id");
        let references = server.texts("select cast(id as text) || ' ' || cast(resolved_at as text) from reference
            where resolved_at is not null order by id");
        let scanned = "select cast(count(*) as bigint) from scan";
        let (scans, indexed) = (server.count(scanned), server.count("select layers from layer_tally where state = 1"));
        let mut server = server;
        server.kill();
        FORGET.iter().for_each(|statement| server.execute(statement));
        server.execute("update layer_tally set layers = 4711");
        assert_eq!(server.count("select count(*) from kit"), 1);
        assert_eq!(server.count(scanned), 2, "of the layers that have lost their bytes");

        // Nobody serves: the command does all the scans itself.
        let done = rebuilt(&reindex(&server, &[]));
        assert_eq!((&done["continued"], &done["kept"], &done["references"]), (&false.into(), &1.into(), &0.into()));
        assert_eq!(server.count("select layers from layer_tally where state = 1"), indexed);
        assert_eq!(server.count(scanned), scans);
        server.restart(&[]);
        let after = answers(&server, &REPOSITORIES);
        assert_eq!(before.len(), after.len());
        for (before, after) in before.iter().zip(&after) {
            assert_eq!(before, after);
        }
        assert_eq!(server.api(&format!("/repositories/team/lost/-/kits/{lost}"), 200), kept);
        // What was declared is as it was, with its times.
        assert_eq!(server.texts("select cast(id as text) || ' ' || cast(recorded_at as text) from edge order by id"), edges);
        assert_eq!(references, server.texts("select cast(id as text) || ' ' || cast(resolved_at as text) from reference
            where resolved_at is not null order by id"));

        // Beside a server, with all there: the same answers all the time.
        thread::scope(|scope| {
            let again = scope.spawn(|| rebuilt(&reindex(&server, &[])));
            while !again.is_finished() {
                let now = answers(&server, &["fraud/detector"]);
                let last = now.last().unwrap();
                assert_eq!(last, before.iter().find(|answer| answer["query"] == last["query"]).unwrap());
            }
            assert_eq!(again.join().unwrap()["references"], 0);
        });
        assert_eq!(answers(&server, &REPOSITORIES), after);
        assert_eq!(server.count(scanned), scans, "what is superseded is forgotten");
        let one = rebuilt(&reindex(&server, &["--repository", "fraud/detector"]));
        assert!(one["manifests"].as_u64().unwrap() < done["manifests"].as_u64().unwrap(), "{one}");
        assert_eq!(reindex(&server, &["--repository", "no/such"]).status.code(), Some(2));
        let failed = rebuilt(&reindex(&server, &["--failed"]));
        assert_eq!(failed["layers"], 0, "{failed}");
    }

    /// Lost references and edges are declared anew, and known since now.
    fn references_that_are_missing_are_added(server: Server) {
        Repository::new(&server.host, "team/base").kit("1", b"weights", b"data");
        let mut children = Repository::new(&server.host, "team/child");
        children.child("1", "localhost:5000/team/base:1");
        let question = format!("/impact?file={}&wait=30", sha256(b"data"));
        assert_eq!(models(&server.api(&question, 200)).len(), 2);
        server.execute("delete from edge");
        server.execute("delete from reference");
        assert_eq!(models(&server.api(&question, 200)).len(), 1);
        assert_eq!(rebuilt(&reindex(&server, &[]))["references"], 1);
        assert_eq!(models(&server.api(&question, 200)).len(), 2);
        assert_eq!(rebuilt(&reindex(&server, &[]))["references"], 0);
        // An edge alone.
        server.execute("delete from edge");
        rebuilt(&reindex(&server, &[]));
        assert_eq!(models(&server.api(&question, 200)).len(), 2);
        assert_eq!(server.count("select count(*) from edge"), 1);
    }

    fn a_rebuild_that_is_killed_goes_on(server: Server) {
        for number in 0..40 {
            let files = (0..50).map(|n| (format!("{n}.txt"), format!("{n} of {number}").into_bytes()));
            Repository::new(&server.host, &format!("team/r{}", number % 4)).artifact(&format!("{number}"), &[&tar(files)]);
        }
        let question = format!("/impact?file={}&wait=60", sha256(b"49 of 39"));
        let strip = |mut answer: Value| { answer["query"]["as_of"] = Value::Null; answer };
        let before = strip(server.api(&question, 200));
        let mut server = server;
        server.kill();
        let mut dice = Dice::thrown_for("reindex");
        let mut killed = 0;
        let mut is_continued = false;
        for round in 0..12 {
            let mut command = server.beside(&["reindex", "--json"]);
            let mut running = command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
            if round < 10 {
                thread::sleep(Duration::from_millis(dice.within(30..600) as u64));
                let _ = running.kill();
            }
            let output = running.wait_with_output().unwrap();
            // As if the time had passed after which whoever holds something counts as dead.
            server.execute("update job set lease_until = 0, run_at = 0");
            let is_found = server.count("select count(*) from reindex") == 1;
            if !output.status.success() {
                killed += 1;
                continue;
            }
            assert!(!is_found, "what is done is not gone on with");
            is_continued |= rebuilt(&output)["continued"] == true;
        }
        println!("{killed} were killed; one was continued: {is_continued}");
        assert!(killed > 0);
        assert_eq!(server.count("select count(*) from job"), 0);
        assert_eq!(server.count("select cast(count(*) as bigint) from scan"), server.count("select count(*) from layer"));
        server.restart(&[]);
        assert_eq!(strip(server.api(&question, 200)), before);
    }

    /// The facts of an older scanner serve until the newer one's are there.
    fn what_is_outdated_is_scanned_again(server: Server) {
        let mut repository = Repository::new(&server.host, "team/old");
        repository.artifact("1", &[b"one", b"two"]);
        let gone = repository.artifact("2", &[b"three"]);
        let question = format!("/impact?file={}&wait=30", sha256(b"one"));
        server.api(&question, 200);
        server.api(&format!("/impact?file={}&wait=30", sha256(b"three")), 200);
        repository.delete(&gone);
        // The first search is over: there was nothing.
        thread::sleep(Duration::from_secs(2));
        server.execute("update layer set scanner = 0");
        server.execute("update scan set scanner = 0");
        let answer = server.api(&question, 200);
        assert_eq!(answer["completeness"]["layers"]["outdated"], 3, "{answer:#}");
        assert_eq!((&answer["completeness"]["exact"], answer["holders"].as_array().unwrap().len()), (&false.into(), 1));
        // That they are outdated keeps no bytes alive.
        assert!(server.beside(&["gc", "--grace", "0"]).output().unwrap().status.success());
        repository.send("HEAD", &format!("/blobs/{}", sha256(b"three")), &[], b"").expect(404);
        let (said, code) = coverage(&server, &["--state", "outdated"]);
        assert_eq!((code, said["gaps"].as_array().unwrap().len()), (1, 3), "{said:#}");
        let mut server = server;
        server.kill();
        server.restart(&[]);
        let start = Instant::now();
        while server.api(&question, 200)["completeness"]["layers"]["outdated"] != 1 {
            assert!(start.elapsed() < Duration::from_secs(30), "nobody scans what is outdated");
            thread::sleep(Duration::from_millis(50));
        }
        // What has lost its bytes keeps what is known of it.
        let answer = server.api(&format!("/holders?file={}", sha256(b"three")), 200);
        assert_eq!(answer["holders"][0]["state"], "deleted", "{answer:#}");
        let (said, _) = coverage(&server, &["--state", "outdated"]);
        assert_eq!(said["gaps"][0]["digest"], sha256(b"three").as_str());
        while server.count("select count(*) from job") > 0 {
            assert!(start.elapsed() < Duration::from_secs(30), "what is superseded is not forgotten");
            thread::sleep(Duration::from_millis(50));
        }
        assert_eq!(server.count("select cast(count(*) as bigint) from scan"), 3);
        assert_eq!(server.count("select count(*) from layer_file"), 3);
    }
}

/// What `pedigree coverage` lists, and its exit code.
pub(crate) fn coverage(server: &Server, flags: &[&str]) -> (Value, i32) {
    let output = server.beside(&[&["coverage", "--json"], flags].concat()).output().unwrap();
    let said = serde_json::from_slice(&output.stdout);
    (said.unwrap_or_else(|_| panic!("{output:?}")), output.status.code().unwrap())
}
