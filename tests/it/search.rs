//! The search: what is found, in which order, page by page, and what is refused.

use std::fmt::Write as _;

use serde_json::{Value, json};

use crate::{
    fixtures::REPOSITORIES,
    push::{Repository, push_layout},
    sample::{Dice, sha256},
    server::{Server, on_both_engines},
};

/// The path of a question, with every byte of it escaped.
pub(crate) fn asking(query: &str) -> String {
    query.bytes().fold("/search?q=".to_owned(), |mut path, byte| {
        let _ = write!(path, "%{byte:02X}");
        path
    })
}

/// (repository, tags, what it was found by) of every kit, in the answer's order.
pub(crate) fn found(answer: &Value) -> Vec<(String, String, String)> {
    let joined =
        |list: &Value| list.as_array().unwrap().iter().map(|x| x.as_str().unwrap()).collect::<Vec<_>>().join(" ");
    let kits = answer["kits"].as_array().unwrap().iter();
    kits.map(|kit| (kit["repository"].as_str().unwrap().into(), joined(&kit["tags"]), joined(&kit["matched"])))
        .collect()
}

fn ask(server: &Server, query: &str) -> Value {
    server.api(&asking(query), 200)
}

fn places(server: &Server, query: &str) -> Vec<String> {
    found(&ask(server, query)).into_iter().map(|(name, tags, _)| format!("{name}:{tags}")).collect()
}

/// Waits until every layer is scanned.
fn settle(server: &Server) {
    server.api(&format!("/impact?file={}&wait=30", sha256(b"whatever")), 200);
}

fn push_story(server: &Server) {
    for repository in REPOSITORIES {
        push_layout(&server.host, repository);
    }
    settle(server);
}

/// A kit that says much about itself.
fn described(repository: &mut Repository, tag: &str, package: &Value, parameters: &Value) -> String {
    let model = repository.blob("application/vnd.kitops.modelkit.model.v1.raw", tag.as_bytes());
    let kitfile = json!({
        "manifestVersion": "1.0.0", "package": package,
        "model": {"name": "m", "path": "model.bin", "digest": model["digest"], "parameters": parameters},
    });
    repository.kit_of(tag, &kitfile, &[model])
}

on_both_engines! {
    fn kits_of_the_story_are_found(server: Server) {
        push_story(&server);
        let detector = ["fraud/detector:1.2 challenger", "fraud/detector:1.1 champion latest", "fraud/detector:1.0"];
        let five = &detector[..2];
        assert_eq!(places(&server, "params.training.epochs=5"), five);
        assert_eq!(places(&server, "params.training.epochs=5.0 params.training.learning_rate=1e-3"), five[1..]);
        assert_eq!(places(&server, "params.mlflow.run_id=0000000000000000000000000000000B"), five[1..]);
        assert!(places(&server, "params.training.epochs").len() >= 3);
        assert_eq!(places(&server, "params.training.epochs"), places(&server, "PARAMS.training"));
        assert!(places(&server, "params.training.epochs=55").is_empty());
        assert!(places(&server, "params.training.epoch").is_empty());

        let by_author = places(&server, r#"author:"Fraud team""#);
        assert!(by_author.len() >= 5 && by_author.iter().all(|place| place.starts_with("fraud/detector")), "{by_author:?}");
        assert!(places(&server, r#"author:"team Fraud""#).is_empty(), "words of a phrase follow each other");
        assert_eq!(places(&server, "author:team author:fraud"), by_author);
        assert_eq!(places(&server, "author:risk licence:mit framework:pytorch"), Vec::<String>::new());
        assert!(places(&server, "author:risk license:MIT").contains(&"risk/scoring:3.0".to_owned()));
        assert!(places(&server, "licence:Apache-2.0").contains(&"fraud/streaming:2.0".to_owned()));
        assert!(places(&server, "licence:Apache-2.1").is_empty());
        assert!(places(&server, "framework:pytorch").contains(&"fraud/detector:1.0".to_owned()));
        assert!(places(&server, "framework:PyTorch format:safetensors version:1.1").contains(&detector[1].to_owned()));

        // The very name comes first, then names that have the word, then whatever else has it.
        let named = places(&server, "fraud-detector");
        assert_eq!(named.iter().filter(|place| place.starts_with("fraud/detector")).count(), named.len());
        assert_eq!(places(&server, "fraud/disputes"), ["fraud/disputes:1.0"]);
        let answer = ask(&server, "disputes");
        assert_eq!(found(&answer)[0], ("fraud/disputes".into(), "1.0".into(), "component description name repository".into()));
        assert_eq!(answer["kits"][0]["score"], 100, "{answer:#}");
        assert_eq!(places(&server, "name:streaming version:2.0"), ["fraud/streaming:2.0"]);
        assert!(places(&server, "version:2").contains(&"fraud/streaming:2.0".to_owned()));
        assert_eq!(found(&ask(&server, "strea")), [("fraud/streaming".into(), "2.0".into(), "name repository".into())]);
        assert!(places(&server, "strea fraud").is_empty(), "only the last word may be a beginning");
        assert!(places(&server, "\"strea\"").is_empty());
        assert!(places(&server, "component:train framework:pytorch").len() >= 3);
        assert!(places(&server, "description:disputes").contains(&"fraud/disputes:1.0".to_owned()));

        let answer = ask(&server, "file:CUSTOMERS.csv");
        assert_eq!((&answer["layers_pending"], &answer["scope"]), (&0.into(), &"all".into()));
        let holders: Vec<_> = found(&answer).into_iter().map(|(name, ..)| name).collect();
        for name in ["fraud/detector", "data/customers", "adhoc/customers"] {
            assert!(holders.iter().any(|holder| holder == name), "{name}: {holders:?}");
        }
        assert!(places(&server, "customers.csv").len() >= holders.len(), "a bare word is the name of a file too");
        assert!(places(&server, "file:customers").iter().all(|place| !place.starts_with("risk/")), "names are whole");
        assert!(ask(&server, "author:x")["layers_pending"].is_null(), "no file is asked for");
    }

    fn digests_are_found_by_their_beginning(server: Server) {
        let mut repository = Repository::new(&server.host, "team/kit");
        let kit = repository.kit("1.0", b"the weights", b"the data");
        Repository::new(&server.host, "files/f").artifact("1", &[b"the data"]);
        settle(&server);
        let digits = kit.trim_start_matches("sha256:");
        for query in [kit.clone(), kit[..14].into(), digits[..7].into(), digits[..8].to_uppercase(), format!("digest:{}", &digits[..9])] {
            let answer = ask(&server, &query);
            assert_eq!(answer["kits"][0]["digest"], kit.as_str(), "{query}");
            assert_eq!(answer["kits"][0]["matched"], json!(["digest"]), "{query}");
        }
        let data = sha256(b"the data");
        let both = ["files/f:1", "team/kit:1.0"];
        assert_eq!(places(&server, &data[..15]), both);
        assert_eq!(ask(&server, &data)["kits"][0]["matched"], json!(["digest", "file_digest"]));
        assert_eq!(places(&server, &format!("{} name:kit", &data[..15])), both[1..]);
        let other = if digits.ends_with('0') { "1" } else { "0" };
        assert!(places(&server, &format!("sha256:{}{other}", &digits[..63])).is_empty());
        assert!(places(&server, &format!("sha512:{}", &digits[..20])).is_empty());
    }

    fn pages_are_the_whole_in_pieces(server: Server) {
        let mut dice = Dice::of(5);
        for number in 0..23 {
            let mut repository = Repository::new(&server.host, &format!("team/kit{}", number % 7));
            let name = ["page", "page turner", "other"][dice.within(0..3)];
            let package = json!({"name": name, "version": format!("{number}"), "description": "every page has this"});
            let digest = described(&mut repository, &format!("v{number}"), &package, &json!({"seed": number}));
            if dice.once_in(4) {
                repository.delete(&digest);
            }
        }
        let whole = ask(&server, "page");
        let kits = whole["kits"].as_array().unwrap();
        assert_eq!(kits.len(), 23);
        let order: Vec<_> =
            kits.iter().map(|kit| (kit["state"] == "deleted", -kit["score"].as_i64().unwrap())).collect();
        assert!(order.is_sorted(), "{order:?}");
        assert!(order[0] == (false, -100) && order[22].0, "{order:?}");
        for limit in [1, 2, 7, 22, 23] {
            let (mut all, mut cursor) = (Vec::new(), String::new());
            loop {
                let page = server.api(&format!("{}&limit={limit}{cursor}", asking("page")), 200);
                let kits = page["kits"].as_array().unwrap();
                assert!(!kits.is_empty() && kits.len() <= limit);
                all.extend(kits.iter().cloned());
                let Some(next) = page["next"].as_str() else { break };
                cursor = format!("&cursor={next}");
            }
            assert_eq!(&all, kits, "pages of {limit}");
        }
        // What comes or goes meanwhile does not move what was there.
        let first = server.api(&format!("{}&limit=10", asking("page")), 200);
        let mut repository = Repository::new(&server.host, "team/late");
        described(&mut repository, "late", &json!({"name": "page"}), &json!({}));
        let gone = kits[12]["digest"].as_str().unwrap();
        Repository::new(&server.host, kits[12]["repository"].as_str().unwrap()).delete(gone);
        let cursor = first["next"].as_str().unwrap();
        let rest = server.api(&format!("{}&cursor={cursor}", asking("page")), 200);
        let digests = |kits: &[Value]| kits.iter().map(|kit| kit["digest"].clone()).collect::<Vec<_>>();
        assert_eq!(digests(rest["kits"].as_array().unwrap()), digests(&kits[10..]));
        server.api(&format!("{}&cursor={cursor}", asking("pages")), 400);
        for bad in ["x", "1~2~3~4~5", "", "~~~~", &cursor.replace('~', "")] {
            server.api(&format!("{}&cursor={bad}", asking("page")), 400);
        }
        for bad in ["limit=0", "limit=1001", "nothing=1", "q=x"] {
            server.api(&format!("{}&{bad}", asking("page")), 400);
        }
    }

    fn nothing_that_is_asked_breaks_it(server: Server) {
        let mut repository = Repository::new(&server.host, "team/odd");
        let odd = json!({"name": "a\u{0}b % _ ' OR 1=1", "authors": ["NEAR(x, y)", "Ünïcode Straße"],
            "description": "x".repeat(5000)});
        let parameters = json!({"weird": {"a b": "nul \u{0} here", "empty": "", "list": [1, {"deep": [true, null]}], "big": 1e300}});
        described(&mut repository, "1", &odd, &parameters);
        settle(&server);
        let ten_kilobytes = "a".repeat(10_000);
        let many = "fraud ".repeat(160);
        for query in [
            "", " ", "\"", "\"\"", "'", "';drop table kit;--", "*", "a*", "a* b*", "(", ")", "^a", "-a", "+", "{a b}", "a:",
            ":a", ":", "a:b", "name:*", "name:\"", "\0", "a\0b", "name:\0", "file:\0", "file:a\0b", "params.\0=\0", "\u{feff}",
            "NEAR(a b)", "NEAR/2", "a AND b", "a OR b", "NOT a", "AND", "name:a OR name:b", "a & b", "a | b", "!a", "a <-> b",
            "a:*", "%", "_", "a%", "\\", "\\\"", "params.=", "params.a=", "params.a..b", "params.a=\"", "digest:", "digest:zz",
            "sha256:", "sha256:g", "sha512:123456", "file:", "file:/", "file:%", "🦀", "🦀a", "\u{202e}abc", "ﬁ", "İ", "\r\n",
            "-1", "1e999", "params.a=1e999", "params.a=NaN", "params.a=18446744073709551616", "deadbeef", &ten_kilobytes, &many,
            "\u{10ffff}", "a\u{10ffff}", "é", "e\u{301}", "params.weird.\u{10ffff}",
        ] {
            let path = asking(query);
            let reply = crate::wire::Wire::new(&server.host).get(&format!("/api/v1{path}"), "application/json");
            assert!([200, 400].contains(&reply.status), "{query:?}: {}", reply.status);
            let body: Value = serde_json::from_slice(&reply.body).unwrap();
            if reply.status == 400 {
                let detail = body["detail"].as_str().unwrap();
                assert!(detail.starts_with("parameter q: ") && detail.len() < 500, "{query:?}: {detail}");
                assert_eq!(reply.header("content-type"), Some("application/problem+json"));
            }
        }
        // Bytes that are no UTF-8, and no question at all.
        for path in ["/search?q=%ff%fe", "/search?q=%00", "/search?q=%", "/search", "/search?q"] {
            let reply = crate::wire::Wire::new(&server.host).get(&format!("/api/v1{path}"), "application/json");
            assert!([200, 400].contains(&reply.status), "{path}");
        }
        for query in [
            "a\0b", "name:\"a b\"", "1=1", "author:straße", "author:STRASSE\u{df}", "ünïc", "author:near",
            "params.weird.list=1", "params.weird.list.deep=true", "params.weird.list.deep=null", "params.weird.empty=",
            "params.weird.big=1e300", "params.weird.\"a b\"=\"nul \0 here\"", "file:MODEL.bin",
        ] {
            let is_there = query != "author:STRASSE\u{df}";
            assert_eq!(!places(&server, query).is_empty(), is_there, "{query}");
        }
    }

    fn what_was_pushed_before_there_was_a_search_is_found(server: Server) {
        let mut server = server;
        push_story(&server);
        let questions = ["fraud", "name:detector", "params.training.epochs=5", "licence:MIT", "author:team det"];
        let before = questions.map(|query| places(&server, query));
        assert!(before.iter().all(|places| !places.is_empty()), "{before:?}");
        let words = "select count(*) from kit_word";
        let count = server.count(words);
        for statement in ["delete from kit_word", "delete from kit_parameter", "delete from repository_word",
            "update repository set searchable = 0", "update kit set searchable = 0"]
        {
            server.execute(statement);
        }
        let answer = ask(&server, "fraud");
        assert!(answer["kits"].as_array().unwrap().is_empty() && answer["kits_pending"].as_u64().unwrap() > 10, "{answer}");
        server.terminate();
        server.wait();
        server.restart(&[]);
        for _ in 0..200 {
            if ask(&server, "x")["kits_pending"] == 0 && server.count("select count(*) from repository where searchable = 0") == 0 {
                break;
            }
            std::thread::sleep(std::time::Duration::from_millis(50));
        }
        assert_eq!(questions.map(|query| places(&server, query)), before);
        assert_eq!(server.count(words), count);
    }

    fn the_command_line_searches(server: Server) {
        let mut repository = Repository::new(&server.host, "team/kit");
        for number in 0..3 {
            let package = json!({"name": "tabular", "version": format!("{number}"), "authors": ["Jane Doe"]});
            described(&mut repository, &format!("v{number}"), &package, &json!({}));
        }
        settle(&server);
        let (said, code) = server.asked(&["search", "tabular", "author:\"Jane Doe\""]);
        assert_eq!(code, 0, "{said}");
        assert!(said.contains("team/kit") && said.contains("author,name") && said.lines().count() == 4, "{said}");
        let (said, code) = server.asked(&["search", "tabular", "--limit", "2"]);
        assert!(code == 0 && said.contains("there is more") && said.contains("v2") && !said.contains("v0"), "{said}");
        let (said, _) = server.asked(&["search", "tabular", "--json", "--limit", "1"]);
        let said: Value = serde_json::from_str(&said).unwrap();
        assert_eq!((said["kits"].as_array().unwrap().len(), &said["more"]), (1, &true.into()));
        let (said, code) = server.asked(&["search", "nobody"]);
        assert!(code == 0 && said.contains("nothing was found"), "{said}");
        let (said, code) = server.asked(&["search", "nofield:x"]);
        assert!(code == 2 && said.contains("no field"), "{said}");
    }
}
