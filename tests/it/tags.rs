//! Tags through time: history, as of any moment, promotion, rollback, stages; against a model that is a list in memory.

use std::{
    collections::{BTreeMap, BTreeSet},
    io::{BufRead as _, BufReader, Read as _, Write as _},
    net::TcpListener,
    sync::{Arc, atomic::AtomicI64, mpsc},
    thread,
    time::Duration,
};

use index::Db;
use oci::{Name, Reference, Tag};
use registry::{
    Access, Chance, Clock, Ctx, Error, HistoryWindow, Micros, Names, Options, Promote, PushManifest, Reader, Registry,
    Rollback, RollbackTarget, StagesQuestion, TagCondition,
};
use serde_json::{Value, json};
use store::Store;

use crate::{
    postgres::Postgres,
    push::{INDEX, MANIFEST, Repository, models},
    sample::{Dice, sha256},
    server::{Engine, Server, on_both_engines},
    wire::Wire,
};

const NAME: &str = "team/kit";

/// The answer to a request that moves the tag, which must be answered with `status`.
#[track_caller]
fn act(server: &Server, tag: &str, act: &str, body: &Value, status: u16) -> Value {
    let (host, body) = (&server.host, body.to_string());
    let path = format!("/api/v1/repositories/{NAME}/-/tags/{tag}/{act}");
    let head = format!("POST {path} HTTP/1.1\r\nHost: {host}\r\nContent-Length: {}", body.len());
    let reply = Wire::new(&server.origin()).send(&head, [body]).expect(status);
    if status >= 400 {
        assert_eq!(reply.header("content-type"), Some("application/problem+json"));
    }
    serde_json::from_slice(&reply.body).unwrap()
}

fn promote(server: &Server, tag: &str, from: &str, status: u16) -> Value {
    act(server, tag, "promote", &json!({"from": from, "reason": "a test"}), status)
}

fn last_good(server: &Server, tag: &str, status: u16) -> Value {
    act(server, tag, "rollback", &json!({"last_good": true, "reason": "it is bad"}), status)
}

/// What a tag names, at a moment if one is given.
fn named(server: &Server, tag: &str, as_of: Option<&str>) -> Option<String> {
    let as_of = as_of.map_or_else(String::new, |at| format!("?as_of={at}"));
    let path = format!("/api/v1/repositories/{NAME}/-/tags/{tag}{as_of}");
    let reply = Wire::new(&server.origin()).get(&path, "application/json");
    let answer: Value = serde_json::from_slice(&reply.body).unwrap();
    match reply.status {
        200 => Some(answer["digest"].as_str().unwrap().to_owned()),
        404 => None,
        other => panic!("{other}: {answer}"),
    }
}

/// Every event of a tag in order, read in pages of seven.
fn events(server: &Server, tag: &str) -> Vec<Value> {
    let (mut all, mut cursor) = (Vec::new(), String::new());
    loop {
        let page = server.api(&format!("/repositories/{NAME}/-/tags/{tag}/history?limit=7{cursor}"), 200);
        all.extend(page["events"].as_array().unwrap().iter().cloned());
        match page["next"].as_str() {
            Some(next) => cursor = format!("&cursor={next}"),
            None => break,
        }
    }
    all.reverse();
    all
}

fn kit(repository: &mut Repository, tag: &str, number: u8) -> String {
    repository.kit(tag, &[number; 8], format!("data {number}\n").as_bytes())
}

on_both_engines! {
    fn a_tag_has_a_history_that_outlives_it(server: Server) {
        let mut repository = Repository::new(&server.host, NAME);
        let (one, two) = (kit(&mut repository, "1.0", 1), kit(&mut repository, "1.1", 2));
        let moved = act(&server, "champion", "promote", &json!({"from": "1.0", "reason": "the first", "if_digest": null}), 200);
        assert_eq!((&moved["event"], &moved["act"], &moved["from"], &moved["to"]), (&"moved".into(), &"promote".into(), &Value::Null, &json!(one)));
        let moved = act(&server, "champion", "promote", &json!({"from": two, "reason": "better", "if_digest": one}), 200);
        assert_eq!((&moved["from"], &moved["to"], &moved["reason"]), (&json!(one), &json!(two), &"better".into()));
        let tag = server.api(&format!("/repositories/{NAME}/-/tags/champion"), 200);
        assert_eq!((&tag["digest"], &tag["since"], &tag["by"], &tag["act"], &tag["version"]),
            (&json!(two), &moved["at"], &"anonymous".into(), &"promote".into(), &"1".into()), "{tag:#}");
        // To name the same again is an event, and no change.
        promote(&server, "champion", "1.1", 200);
        assert_eq!(server.api(&format!("/repositories/{NAME}/-/tags/champion"), 200)["since"], moved["at"]);
        repository.delete(&two);
        let problem = server.api(&format!("/repositories/{NAME}/-/tags/champion"), 404);
        assert!(problem["detail"].as_str().unwrap().contains("anonymous deleted it at"), "{problem}");
        let events = events(&server, "champion");
        let told: Vec<_> = events.iter().map(|event| format!("{} {}", event["event"].as_str().unwrap(), event["act"].as_str().unwrap())).collect();
        assert_eq!(told, ["moved promote", "moved promote", "moved promote", "deleted delete"]);
        assert_eq!((&events[3]["from"], &events[3]["to"]), (&json!(two), &Value::Null));
        assert_eq!(named(&server, "champion", moved["at"].as_str()), Some(two.clone()), "as it was known then");
        assert_eq!(server.api(&format!("/repositories/{NAME}/-/kits/{two}"), 200)["state"], "deleted");
        // What is gone is refused, what never was is not found.
        let gone = promote(&server, "champion", &two, 409);
        assert!(gone["detail"].as_str().unwrap().contains("was deleted"), "{gone}");
        promote(&server, "champion", "1.1", 404);
        promote(&server, "champion", &sha256(b"nothing"), 404);
        server.api(&format!("/repositories/{NAME}/-/tags/nothing/history"), 404);
        server.api("/repositories/team/nothing/-/tags/champion", 404);
        server.api("/repositories/team/kit/-/tags/champion?as_of=2999-01-01T00:00:00Z", 400);
        for body in [json!({"from": "1.0"}), json!({"from": "1.0", "reason": " "}), json!({"from": "a b", "reason": "x"}),
            json!({"from": "1.0", "reason": "x", "if_digest": "sha256:1"}), json!({"from": "1.0", "reason": "x", "other": 1})] {
            act(&server, "champion", "promote", &body, 400);
        }
        assert_eq!(named(&server, "champion", None), None);
        // Nor does a page of another site move a tag.
        for (origin, status) in [("http://evil.example", 403), ("null", 403), (&*format!("http://{}", server.host), 200)] {
            let (host, body) = (&server.host, r#"{"from": "1.0", "reason": "a page"}"#);
            let head = format!("POST /api/v1/repositories/{NAME}/-/tags/other/promote HTTP/1.1\r\nHost: {host}\r\nOrigin: {origin}\r\nContent-Length: {}", body.len());
            Wire::new(host).send(&head, [body]).expect(status);
        }
        assert_eq!(server.count("select count(*) from audit where action = 'tag.promote'"), 4);
    }

    fn a_tag_that_moved_is_not_moved_again(server: Server) {
        let mut repository = Repository::new(&server.host, NAME);
        let kits: Vec<_> = (0..8).map(|number| kit(&mut repository, &format!("v{number}"), number)).collect();
        promote(&server, "champion", "v0", 200);
        // All have seen the first one; one of them wins.
        let answers: Vec<_> = thread::scope(|scope| {
            let promotion = |number: usize| {
                let (server, body) = (&server, json!({"from": format!("v{number}"), "reason": "mine", "if_digest": kits[0]}));
                scope.spawn(move || {
                    let (host, body) = (&server.host, body.to_string());
                    let head = format!("POST /api/v1/repositories/{NAME}/-/tags/champion/promote HTTP/1.1\r\nHost: {host}\r\nContent-Length: {}", body.len());
                    let reply = Wire::new(host).send(&head, [body]);
                    (reply.status, String::from_utf8(reply.body).unwrap())
                })
            };
            let running: Vec<_> = (1..8).map(promotion).collect();
            running.into_iter().map(|one| one.join().unwrap()).collect()
        });
        let won: Vec<_> = answers.iter().filter(|(status, _)| *status == 200).collect();
        assert_eq!(won.len(), 1, "{answers:#?}");
        let now = named(&server, "champion", None).unwrap();
        for (status, problem) in &answers {
            assert!(*status == 200 || *status == 409 && problem.contains(&now), "{now}: {status} {problem}");
        }
        assert_eq!(events(&server, "champion").len(), 2);
        let absent = json!({"from": "v1", "reason": "x", "if_digest": ""});
        act(&server, "champion", "promote", &absent, 409);
        act(&server, "challenger", "promote", &absent, 200);
        let other = json!({"last_good": true, "reason": "x", "if_digest": kits[0]});
        assert!(act(&server, "champion", "rollback", &other, 409)["detail"].as_str().unwrap().contains(&now));
    }

    fn rollbacks_in_a_row_never_return_to_what_was_bad(server: Server) {
        let mut repository = Repository::new(&server.host, NAME);
        let kits: Vec<_> = (1..=4).map(|number| kit(&mut repository, "stable", number)).collect();
        repository.delete(&kits[2]);
        assert_eq!(named(&server, "stable", None), Some(kits[3].clone()));
        assert_eq!(last_good(&server, "stable", 200)["to"], json!(kits[1]), "the third is gone");
        assert_eq!(last_good(&server, "stable", 200)["to"], json!(kits[0]));
        let none = last_good(&server, "stable", 409);
        assert!(none["detail"].as_str().unwrap().contains("no earlier version"), "{none}");
        // Not even what is pushed again.
        kit(&mut repository, "stable", 4);
        assert_eq!(last_good(&server, "stable", 200)["to"], json!(kits[0]));
        // A tag that was deleted comes back.
        repository.delete("stable");
        assert_eq!(last_good(&server, "stable", 200)["to"], json!(kits[0]));
        let back = |to: &str| json!({"to": to, "reason": "as I say"});
        act(&server, "stable", "rollback", &back(&kits[0]), 409);
        act(&server, "stable", "rollback", &back(&kits[2]), 409);
        assert_eq!(act(&server, "stable", "rollback", &back(&kits[1]), 200)["act"], "rollback");
        kit(&mut repository, "other", 9);
        let never = act(&server, "stable", "rollback", &back("other"), 409);
        assert!(never["detail"].as_str().unwrap().contains("never named"), "{never}");
        act(&server, "nothing", "rollback", &json!({"last_good": true, "reason": "x"}), 404);
        for body in [json!({"reason": "x"}), json!({"reason": "x", "last_good": true, "to": "other"})] {
            act(&server, "stable", "rollback", &body, 400);
        }
        let reasons = server.texts("select cast(count(*) as text) from audit where action = 'tag.rollback' and detail is not null");
        assert_eq!(reasons, ["5"]);
    }

    fn a_rollback_passes_over_what_is_affected(server: Server) {
        let mut repository = Repository::new(&server.host, NAME);
        let leak = b"the leaked file\n";
        let clean = repository.kit("champion", b"w1", b"clean\n");
        let affected = repository.kit("champion", b"w2", leak);
        let payload = repository.send("GET", "/manifests/champion", &[], b"").expect(200).body;
        let index = json!({"schemaVersion": 2, "mediaType": INDEX,
            "manifests": [{"mediaType": MANIFEST, "digest": affected, "size": payload.len()}]});
        repository.bytes("champion", INDEX, index.to_string().as_bytes());
        repository.artifact("champion", &[leak]);
        let derived = repository.child("champion", &format!("localhost:5000/{NAME}@{affected}"));
        let newest = repository.kit("champion", b"w3", b"another clean one\n");
        let leaked = |more: Value| {
            let mut body = json!({"last_good": true, "reason": "leak", "unaffected_by": {"file": sha256(leak), "wait": 60}});
            body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
            body
        };
        act(&server, "champion", "rollback", &json!({"to": derived, "reason": "x", "unaffected_by": {"file": sha256(leak), "wait": 60}}), 409);
        // It is not known what is in there.
        let mut other = Repository::new(&server.host, "team/broken");
        other.artifact("1", &[&[0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 3, 1, 2, 3]]);
        let inexact = act(&server, "champion", "rollback", &leaked(json!({})), 409);
        assert!(inexact["detail"].as_str().unwrap().contains("not known exactly"), "{inexact}");
        assert_eq!(named(&server, "champion", None), Some(newest));
        let moved = act(&server, "champion", "rollback", &leaked(json!({"force": true})), 200);
        assert_eq!(moved["to"], json!(clean), "derived, artifact, index and kit are affected");
        last_good(&server, "champion", 409);
        for bad in [json!({"file": "x"}), json!({"as_of": "2026-11-20T09:14:03Z"}), json!({}), json!({"file": [1]})] {
            act(&server, "champion", "rollback", &json!({"last_good": true, "reason": "x", "unaffected_by": bad}), 400);
        }
    }

    fn a_promotion_is_an_arrival(server: Server) {
        let mut repository = Repository::new(&server.host, NAME);
        kit(&mut repository, "1.0", 1);
        Repository::new(&server.host, "team/child").child("1", &format!("localhost:5000/{NAME}:champion"));
        assert_eq!(server.api(&format!("/impact?ref={NAME}:1.0&wait=30"), 200)["completeness"]["unresolved_references"], 1);
        promote(&server, "champion", "1.0", 200);
        let answer = server.api(&format!("/impact?ref={NAME}:champion&wait=30"), 200);
        let names: Vec<_> = models(&answer).into_iter().map(|(name, ..)| name).collect();
        assert_eq!(names, [NAME, "team/child"], "{answer:#}");
    }

    fn stages_say_what_is_where(server: Server) {
        let mut repository = Repository::new(&server.host, NAME);
        let (one, two) = (kit(&mut repository, "1.0", 1), kit(&mut repository, "stable", 2));
        let mut other = Repository::new(&server.host, "team/other");
        kit(&mut other, "champion", 3);
        kit(&mut other, "production", 3);
        kit(&mut other, "no-stage", 3);
        let before = promote(&server, "champion", "1.0", 200)["at"].as_str().unwrap().to_owned();
        promote(&server, "champion", "stable", 200);
        repository.delete("stable");
        let listed = |query: &str| {
            let answer = server.api(&format!("/stages{query}"), 200);
            let row = |tag: &Value| format!("{}:{}", tag["repository"].as_str().unwrap(), tag["tag"].as_str().unwrap());
            (answer["tags"].as_array().unwrap().iter().map(row).collect::<Vec<_>>(), answer)
        };
        let (rows, answer) = listed("");
        assert_eq!(rows, ["team/kit:champion", "team/other:champion", "team/other:production"]);
        assert_eq!(answer["stages"], json!(["champion", "challenger", "stable", "production"]));
        let champion = &answer["tags"][0];
        assert_eq!((&champion["digest"], &champion["reason"], &champion["name"], &champion["by"]), (&json!(two), &"a test".into(), &NAME.into(), &"anonymous".into()));
        let (rows, answer) = listed(&format!("?as_of={before}&repository={NAME}"));
        assert_eq!(rows, ["team/kit:champion", "team/kit:stable"]);
        assert_eq!(answer["tags"][0]["digest"], json!(one));
        let (rows, first) = listed("?limit=2");
        assert_eq!(rows, ["team/kit:champion", "team/other:champion"]);
        promote(&server, "production", "1.0", 200);
        let next = first["next"].as_str().unwrap();
        assert_eq!(listed(&format!("?limit=2&cursor={next}")).0, ["team/other:production"], "as of the first page");
        server.api(&format!("/stages?repository={NAME}&cursor={next}"), 400);
        server.api("/stages?repository=team/nothing", 404);
        let (said, code) = server.asked(&["stages", NAME]);
        assert!(code == 0 && said.contains("champion") && said.contains("a test") && !said.contains("team/other"), "{said}");
    }

    fn the_draft_history_is_an_index(server: Server) {
        let mut repository = Repository::new(&server.host, NAME);
        let (one, two) = (kit(&mut repository, "x", 1), kit(&mut repository, "x", 2));
        repository.delete("x");
        let mut link = Some("/_oci/tag-history/x?n=2".to_owned());
        let mut told = Vec::new();
        while let Some(path) = link {
            let page = repository.send("GET", &path, &[], b"").expect(200);
            assert_eq!(page.header("content-type"), Some(INDEX));
            link = page.header("link").map(|link| link.strip_suffix(">; rel=\"next\"").unwrap()[link.find("/_oci").unwrap()..].to_owned());
            let index: Value = serde_json::from_slice(&page.body).unwrap();
            for entry in index["manifests"].as_array().unwrap() {
                assert!(entry["mediaType"] == MANIFEST && entry["size"].as_u64() > Some(2), "{entry}");
                let annotation = |name: &str| entry["annotations"][format!("org.opencontainers.distribution.tag.{name}")].as_str().unwrap().to_owned();
                told.push((annotation("event"), entry["digest"].as_str().unwrap().to_owned(), annotation("timestamp")));
            }
        }
        let events: Vec<_> = told.iter().map(|(event, digest, _)| (&**event, &**digest)).collect();
        assert_eq!(events, [("deleted", &*two), ("created", &*two), ("created", &*one)]);
        let count = |repository: &mut Repository, query: &str| {
            let page = repository.send("GET", &format!("/_oci/tag-history/{query}"), &[], b"").expect(200);
            serde_json::from_slice::<Value>(&page.body).unwrap()["manifests"].as_array().unwrap().len()
        };
        assert_eq!(count(&mut repository, &format!("x?digest={two}")), 2);
        assert_eq!(count(&mut repository, &format!("x?since={}", told[1].2)), 2);
        assert_eq!(count(&mut repository, &format!("x?before={}", told[1].2)), 1);
        assert_eq!(count(&mut repository, "never"), 0, "not found would say that there are no histories");
        repository.send("GET", "/_oci/tag-history/x?before=noon", &[], b"").expect(400);
        let discovered = repository.send("GET", "/_oci/ext/discover", &[], b"").expect(200);
        assert!(String::from_utf8(discovered.body).unwrap().contains("_oci/tag-history"));
        Wire::new(&server.host).get("/v2/_oci/ext/discover", "*/*").expect(200);
        Wire::new(&server.host).get("/v2/team/nothing/_oci/ext/discover", "*/*").expect(404);
    }

    fn tags_from_the_command_line(server: Server) {
        let mut repository = Repository::new(&server.host, NAME);
        let (one, two) = (kit(&mut repository, "1.0", 1), kit(&mut repository, "1.1", 2));
        let tag = format!("{NAME}:champion");
        let (said, code) = server.asked(&["promote", &tag, "--from", "1.0", "--reason", "the first", "--if-digest", "none"]);
        assert!(code == 0 && said.contains(&one[..19]), "{said}");
        let (said, code) = server.asked(&["promote", &tag, "--from", &two, "--reason", "better", "--json"]);
        assert!(code == 0 && serde_json::from_str::<Value>(&said).unwrap()["to"] == json!(two), "{said}");
        let (said, code) = server.asked(&["promote", &tag, "--from", "1.0", "--reason", "x", "--if-digest", &one]);
        assert!(code == 1 && said.contains(&two), "{said}");
        let (said, code) = server.asked(&["rollback", &tag, "--last-good", "--unaffected-by-file", &sha256(b"data 1\n"), "--reason", "leak"]);
        assert!(code == 1 && said.contains("stays"), "{said}");
        let (said, code) = server.asked(&["rollback", &tag, "--to", "1.0", "--reason", "slow"]);
        assert!(code == 0 && said.contains(&one[..19]), "{said}");
        let (said, code) = server.asked(&["history", &tag]);
        assert!(code == 0 && ["the first", "better", "slow", "rollback", "promote"].iter().all(|word| said.contains(word)), "{said}");
        let (said, _) = server.asked(&["history", &tag, "--json", "--limit", "2"]);
        let history: Value = serde_json::from_str(&said).unwrap();
        assert_eq!((history["events"].as_array().unwrap().len(), &history["more"]), (2, &true.into()));
        for (arguments, expected) in [
            (&["history", "team/kit:nothing"][..], 2), (&["promote", &tag, "--from", "nothing", "--reason", "x"], 2),
            (&["rollback", &tag, "--reason", "x"], 2), (&["rollback", &tag, "--last-good", "--force", "--reason", "x"], 2),
            (&["history", &format!("{NAME}@{one}")], 2),
        ] {
            let (said, code) = server.asked(arguments);
            assert_eq!(code, expected, "{arguments:?}: {said}");
        }
    }

    fn a_random_life_is_what_a_list_says(server: Server) {
        let mut dice = Dice::thrown_for("a_random_life_is_what_a_list_says");
        let mut repository = Repository::new(&server.host, NAME);
        let kits: Vec<_> = (0..5).map(|number| kit(&mut repository, &format!("v{number}"), number)).collect();
        let mut there: BTreeSet<_> = kits.iter().cloned().collect();
        let tags = ["champion", "stable"];
        let mut lives: BTreeMap<&str, Life> = tags.iter().map(|tag| (*tag, Life::default())).collect();
        for _ in 0..60 {
            let (number, tag) = (dice.within(0..kits.len()), tags[dice.within(0..tags.len())]);
            let (digest, life) = (kits[number].clone(), lives.get_mut(tag).unwrap());
            match dice.within(0..10) {
                0..=2 => {
                    kit(&mut repository, tag, u8::try_from(number).unwrap());
                    there.insert(digest.clone());
                    life.go("push", Some(digest), false);
                }
                3 | 4 if there.contains(&digest) => {
                    promote(&server, tag, &digest, 200);
                    life.go("promote", Some(digest), false);
                }
                3 | 4 => drop(promote(&server, tag, &digest, 409)),
                5..=7 => match life.last_good(&there) {
                    Some(good) => {
                        assert_eq!(last_good(&server, tag, 200)["to"], json!(good), "{life:?}");
                        life.go("rollback", Some(good), true);
                    }
                    None if life.0.is_empty() => drop(last_good(&server, tag, 404)),
                    None => drop(last_good(&server, tag, 409)),
                },
                8 if life.now().is_some() => {
                    repository.delete(tag);
                    life.go("delete", None, false);
                }
                9 if there.remove(&digest) => {
                    repository.delete(&digest);
                    for life in lives.values_mut().filter(|life| life.now() == Some(&digest)) {
                        life.go("delete", None, false);
                    }
                }
                _ => {}
            }
        }
        for (tag, life) in &lives {
            let told = events(&server, tag);
            let short: Vec<_> = told.iter().map(|event| (event["act"].as_str().unwrap(), event["from"].as_str(), event["to"].as_str())).collect();
            let expected: Vec<_> = life.0.iter().map(|event| (event.act, event.from.as_deref(), event.to.as_deref())).collect();
            assert_eq!(short, expected);
            let moments: Vec<Micros> = told.iter().map(|event| moment(event["at"].as_str().unwrap())).collect();
            assert!(moments.is_sorted_by(|a, b| a < b), "{moments:?}");
            // For every moment at which something changed, and those just before and after it.
            for (position, at) in moments.iter().enumerate() {
                for (at, until) in [(at.0 - 1, position), (at.0, position + 1), (at.0 + 1, position + 1)] {
                    // The next event may be as near as that.
                    let until = until.max(moments.partition_point(|moment| moment.0 <= at));
                    let replayed = life.0[..until].last().and_then(|event| event.to.clone());
                    assert_eq!(named(&server, tag, Some(&text(at))), replayed, "{tag} at {at}");
                    let staged = server.api(&format!("/stages?repository={NAME}&as_of={}", text(at)), 200);
                    let staged = staged["tags"].as_array().unwrap().iter().find(|row| row["tag"] == *tag).map(|row| row["digest"].as_str().unwrap().to_owned());
                    assert_eq!(staged, replayed, "{tag} at {at}");
                }
            }
        }
    }
}

fn moment(text: &str) -> Micros {
    Micros(text.parse::<jiff::Timestamp>().unwrap().as_microsecond())
}

fn text(at: i64) -> String {
    jiff::Timestamp::from_microsecond(at).unwrap().to_string()
}

/// A tag's life as a list: the model that the registry is compared with.
#[derive(Debug, Default)]
struct Life(Vec<Lived>);

#[derive(Debug)]
struct Lived {
    act: &'static str,
    from: Option<String>,
    to: Option<String>,
    /// Whether it was looked for.
    is_last_good: bool,
}

impl Life {
    fn now(&self) -> Option<&String> {
        self.0.last().and_then(|event| event.to.as_ref())
    }

    fn go(&mut self, act: &'static str, to: Option<String>, is_last_good: bool) {
        let from = self.now().cloned();
        self.0.push(Lived { act, from, to, is_last_good });
    }

    /// As the words say: the newest earlier target that is whole, differs from now, and was never left by a rollback.
    fn last_good(&self, there: &BTreeSet<String>) -> Option<String> {
        let mut left = BTreeSet::new();
        for (position, event) in self.0.iter().enumerate().filter(|(_, event)| event.act == "rollback") {
            left.extend(event.from.clone());
            if event.is_last_good {
                let passed = self.0[..position].iter().rev().take_while(|earlier| earlier.to != event.to);
                left.extend(passed.filter_map(|earlier| earlier.to.clone()));
            }
        }
        let mut targets = self.0.iter().rev().filter_map(|event| event.to.as_ref());
        targets.find(|to| there.contains(*to) && Some(*to) != self.now() && !left.contains(*to)).cloned()
    }
}

/// Somebody who is asked before promotions: answers each request with the next of these statuses, and gives the bodies.
fn asked_before(statuses: Vec<u16>) -> (String, mpsc::Receiver<Value>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://user:s3cret@{}/hook?token=s3cret", listener.local_addr().unwrap());
    let (send, receive) = mpsc::channel();
    thread::spawn(move || {
        for status in statuses {
            let (mut stream, _) = listener.accept().unwrap();
            let mut reader = BufReader::new(stream.try_clone().unwrap());
            let (mut line, mut length) = (String::new(), 0);
            while reader.read_line(&mut line).unwrap() > 2 {
                let header = line.to_lowercase();
                length = header.strip_prefix("content-length:").map_or(length, |value| value.trim().parse().unwrap());
                line.clear();
            }
            let mut body = vec![0; length];
            reader.read_exact(&mut body).unwrap();
            send.send(serde_json::from_slice(&body).unwrap()).unwrap();
            let answer =
                format!("HTTP/1.1 {status} So\r\nContent-Length: 0\r\nLocation: /\r\nConnection: close\r\n\r\n");
            stream.write_all(answer.as_bytes()).unwrap();
        }
    });
    (url, receive)
}

#[test]
fn a_check_is_asked_before_a_promotion() {
    for engine in [Engine::Sqlite, Engine::Postgres] {
        let (url, asked) = asked_before(vec![204, 403, 302]);
        let Some(server) = Server::start_with(engine, &[("PEDIGREE_PROMOTION_CHECK", &url)]) else { return };
        let mut repository = Repository::new(&server.host, NAME);
        let (one, two) = (kit(&mut repository, "1.0", 1), kit(&mut repository, "1.1", 2));
        promote(&server, "champion", "1.0", 200);
        let first = json!({"repository": NAME, "tag": "champion", "from": null, "to": one, "actor": "anonymous", "reason": "a test"});
        assert_eq!(asked.recv().unwrap(), first);
        for status in ["403", "302"] {
            let problem = promote(&server, "champion", "1.1", 409);
            assert!(problem["detail"].as_str().unwrap().contains(status) && !problem.to_string().contains("s3cret"));
            assert_eq!(asked.recv().unwrap()["to"], json!(two));
        }
        // Nobody listens any more.
        let problem = promote(&server, "champion", "1.1", 409);
        assert!(problem["detail"].as_str().unwrap().contains("cannot be reached"), "{problem}");
        assert_eq!(named(&server, "champion", None), Some(one.clone()));
        // Its history says so, on pages of any length, and nothing but that.
        let history = |query: &str| server.api(&format!("/repositories/{NAME}/-/tags/champion/history?{query}"), 200);
        let all = history("limit=100")["events"].as_array().unwrap().clone();
        let told = |event: &Value| ["event", "act", "from", "to"].map(|member| event[member].clone());
        assert_eq!(told(&all[3]), [json!("moved"), json!("promote"), Value::Null, json!(one)]);
        for refused in &all[..3] {
            assert_eq!(told(refused), [json!("refused"), json!("promote"), Value::Null, json!(two)]);
            assert!(
                refused["reason"].as_str().unwrap().ends_with("because: a test") && refused["actor"] == "anonymous"
            );
            assert_eq!(named(&server, "champion", refused["at"].as_str()), Some(one.clone()));
        }
        assert!(all[1]["reason"].as_str().unwrap().contains("302"), "{all:#?}");
        // Refusals of one moment are told one by one.
        server.execute("update audit set at = (select max(at) from audit where action = 'tag.promote') where action = 'tag.promote.refused'");
        for limit in [1, 2, 3] {
            let (mut paged, mut cursor) = (Vec::new(), String::new());
            loop {
                let page = history(&format!("limit={limit}{cursor}"));
                paged.extend(page["events"].as_array().unwrap().iter().map(|event| event["reason"].clone()));
                let Some(next) = page["next"].as_str() else { break };
                cursor = format!("&cursor={next}");
            }
            let expected: std::collections::BTreeSet<_> = all.iter().map(|event| event["reason"].to_string()).collect();
            let found: std::collections::BTreeSet<_> = paged.iter().map(Value::to_string).collect();
            assert_eq!((paged.len(), found), (4, expected));
        }
        let (said, _) = server.asked(&["history", &format!("{}/{NAME}:champion", server.host)]);
        assert_eq!(said.matches("promote (refused)").count(), 3, "{said}");
        let (said, _) = {
            let output = server.beside(&["config"]).output().unwrap();
            (String::from_utf8(output.stdout).unwrap(), output.status)
        };
        assert!(said.contains("promotion_check") && !said.contains("s3cret"), "{said}");
    }
}

#[test]
fn evidence_is_required_before_a_promotion() {
    for engine in [Engine::Sqlite, Engine::Postgres] {
        let settings = [("PEDIGREE_PROMOTION_REQUIRED_GRADE", "declared"), ("PEDIGREE_STAGES", "live,champion")];
        let Some(server) = Server::start_with(engine, &settings) else { return };
        let mut repository = Repository::new(&server.host, NAME);
        kit(&mut repository, "1.0", 1);
        let derived = repository.child("1.1", &format!("localhost:5000/{NAME}:1.0"));
        let problem = promote(&server, "live", "1.0", 409);
        assert!(problem["detail"].as_str().unwrap().contains("declared"), "{problem}");
        assert_eq!(named(&server, "live", None), None);
        let history = server.api(&format!("/repositories/{NAME}/-/tags/live/history"), 200);
        assert_eq!(history["events"].as_array().unwrap().len(), 1, "of a tag that was never there: {history:#}");
        let problem = last_good(&server, "live", 404);
        assert!(problem["detail"].as_str().unwrap().contains("live"), "it is nothing to go back to: {problem}");
        promote(&server, "live", "1.1", 200);
        let stages = server.api("/stages", 200);
        assert_eq!((&stages["stages"], &stages["tags"][0]["digest"]), (&json!(["live", "champion"]), &json!(derived)));
    }
}

/// Two replicas on one database, whose clocks are an hour apart.
struct Replicas {
    fast: Registry,
    slow: Registry,
    db: Db,
    clocks: [Arc<AtomicI64>; 2],
    _folder: tempfile::TempDir,
}

const HOUR: i64 = 3_600_000_000;
const START: i64 = 1_800_000_000_000_000;

impl Replicas {
    async fn new(postgres: Option<&Postgres>) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let db = match postgres {
            None => Db::sqlite(&folder.path().join("pedigree.db")).await.unwrap(),
            Some(postgres) => {
                Db::postgres(&postgres.url(&postgres.create()), 8, Duration::from_secs(15)).await.unwrap()
            }
        };
        db.migrate().await.unwrap();
        let clocks = [START + HOUR, START].map(|at| Arc::new(AtomicI64::new(at)));
        let replica = |clock: &Arc<AtomicI64>| {
            Registry::new(Options {
                db: db.clone(),
                store: Store::disk(&folder.path().join("objects")).unwrap(),
                clock: Clock::Set(Arc::clone(clock)),
                chance: Chance::System,
                names: Names::new("localhost", 5000, &[]),
                limits: content::Limits::default(),
                ubiquitous: 20,
                spill: folder.path().join("spill"),
                trust: signatures::Trust::none(),
            })
        };
        let (fast, slow) = (replica(&clocks[0]), replica(&clocks[1]));
        fast.start(true).await.unwrap();
        Self { fast, slow, db, clocks, _folder: folder }
    }

    fn pass(&self, micros: i64) {
        for clock in &self.clocks {
            clock.fetch_add(micros, std::sync::atomic::Ordering::SeqCst);
        }
    }
}

fn ctx(reader: Reader) -> Ctx {
    Ctx { actor: "someone".into(), request_id: "test".into(), reader, access: Access::Push }
}

fn name(text: &str) -> Name {
    text.parse().unwrap()
}

fn tag(text: &str) -> Tag {
    text.parse().unwrap()
}

/// Pushes an empty index, which needs no blobs.
async fn push_index(registry: &Registry, repository: &str, tag: &str, number: usize) -> String {
    let body =
        json!({"schemaVersion": 2, "mediaType": INDEX, "manifests": [], "annotations": {"n": number.to_string()}});
    let push = PushManifest {
        repository: name(repository),
        reference: Reference::Tag(tag.parse().unwrap()),
        tags: Vec::new(),
        content_type: Some(INDEX.into()),
        body: body.to_string().into_bytes(),
    };
    registry.push_manifest(&ctx(Reader::ALL), push).await.unwrap().digest.to_string()
}

async fn skewed_clocks_never_reorder(postgres: Option<&Postgres>) {
    let replicas = Replicas::new(postgres).await;
    let mut dice = Dice::of(7);
    let mut replayed = Vec::new();
    let (name, tag, ctx) = (name(NAME), tag("champion"), ctx(Reader::ALL));
    let mut asked: Vec<(Micros, Option<String>)> = Vec::new();
    for number in 0..40 {
        replicas.pass(i64::try_from(dice.within(0..3)).unwrap() * HOUR / 8);
        let replica = if dice.once_in(2) { &replicas.fast } else { &replicas.slow };
        replayed.push(push_index(replica, NAME, "champion", number).await);
        let now = replica.tag(&ctx, &name, &tag, None).await.unwrap();
        assert_eq!(
            Some(&now.stage.digest),
            replayed.last(),
            "each sees at once what was done, whatever its clock says"
        );
        asked.push((moment(&now.stage.since), Some(now.stage.digest)));
    }
    let history = replicas.slow.tag_history(&ctx, &name, &tag, None, None, 1000).await.unwrap();
    let told: Vec<_> = history.events.iter().rev().map(|event| event.to.clone().unwrap()).collect();
    assert_eq!(told, replayed);
    let moments: Vec<_> = history.events.iter().rev().map(|event| moment(&event.at)).collect();
    assert!(moments.is_sorted_by(|a, b| a < b), "{moments:?}");
    // What was answered once is answered again.
    for (as_of, answer) in asked {
        replicas.pass(HOUR);
        let again = replicas.slow.tag(&ctx, &name, &tag, Some(as_of)).await.ok().map(|tag| tag.stage.digest);
        assert_eq!(again, answer);
    }
}

async fn nothing_is_told_of_what_may_not_be_read(postgres: Option<&Postgres>) {
    let replicas = Replicas::new(postgres).await;
    let registry = &replicas.fast;
    for (repository, number) in [("open/kit", 1), ("open/kit", 2), ("secret/kit", 3), ("secret/kit", 4)] {
        push_index(registry, repository, "champion", number).await;
    }
    let mut tx = replicas.db.begin().await.unwrap();
    let id = index::repository::find(&mut tx, Reader::ALL, &name("open/kit")).await.unwrap().unwrap();
    index::repository::grant(&mut tx, Reader(7), id).await.unwrap();
    tx.commit().await.unwrap();
    let (stranger, champion) = (ctx(Reader(7)), tag("champion"));
    let secret = name("secret/kit");
    let is_unknown = |error: Error| matches!(error, Error::Unknown(_));
    assert!(is_unknown(registry.tag(&stranger, &secret, &champion, None).await.unwrap_err()));
    assert!(is_unknown(registry.tag_history(&stranger, &secret, &champion, None, None, 10).await.unwrap_err()));
    let (events, _) = registry.tag_events(&stranger, &secret, &champion, HistoryWindow::default()).await.unwrap();
    assert!(events.is_empty());
    let question = StagesQuestion { stages: vec![champion.clone()], limit: 10, ..StagesQuestion::default() };
    let stages = registry.stages(&stranger, &question).await.unwrap();
    assert_eq!(stages.tags.iter().map(|row| &*row.repository).collect::<Vec<_>>(), ["open/kit"]);
    let promote = Promote {
        repository: secret.clone(),
        tag: champion.clone(),
        from: Reference::Tag(champion.clone()),
        reason: "x".into(),
        if_digest: TagCondition::Any,
        required: None,
    };
    assert!(is_unknown(registry.propose(&stranger, &promote).await.unwrap_err()));
    let rollback = Rollback {
        repository: secret,
        tag: champion,
        target: RollbackTarget::LastGood,
        reason: "x".into(),
        if_digest: TagCondition::Any,
        unaffected_by: None,
        force: false,
    };
    assert!(is_unknown(registry.rollback(&stranger, &rollback).await.unwrap_err()));
    let reads = Ctx { access: Access::Pull, ..ctx(Reader::ALL) };
    assert!(matches!(registry.rollback(&reads, &rollback).await.unwrap_err(), Error::Denied));
    assert!(matches!(registry.propose(&reads, &promote).await.unwrap_err(), Error::Denied));
}

#[tokio::test]
async fn replicas_on_sqlite() {
    skewed_clocks_never_reorder(None).await;
    nothing_is_told_of_what_may_not_be_read(None).await;
}

#[tokio::test]
async fn replicas_on_postgres() {
    if let Some(postgres) = Postgres::get() {
        skewed_clocks_never_reorder(Some(postgres)).await;
        nothing_is_told_of_what_may_not_be_read(Some(postgres)).await;
    }
}
