//! What was true at a moment: as the registry knew it then, and as producers say.

use serde_json::{Value, json};

use crate::{
    events::post,
    push::{Repository, holders, models},
    sample::sha256,
    server::{Server, on_both_engines},
    wire::Wire,
};

/// (repository, distance, grade) of every model, in the answer's order.
fn affected(answer: &Value) -> Vec<(String, u64, String)> {
    models(answer).into_iter().map(|(name, _, distance, grade)| (name, distance, grade)).collect()
}

fn declared(name: &str, distance: u64) -> (String, u64, String) {
    (name.into(), distance, "declared".into())
}

/// Claims that something was made from something else, at a moment if one is said. The claim's id.
fn claim(server: &Server, subject: &str, relation: &str, target: &str, at: Option<&str>) -> Value {
    let mut claim = json!({"subject": subject, "relation": relation, "target": target});
    if let Some(at) = at {
        claim["occurred_at"] = at.into();
    }
    post(server, "/claims", &claim, 201)["id"].clone()
}

on_both_engines! {
    fn impact_is_as_producers_say(server: Server) {
        let model = |name: &str| Repository::new(&server.host, name).kit("1", name.as_bytes(), format!("of {name}").as_bytes());
        Repository::new(&server.host, "data/cards").artifact("1", &[b"leaked"]);
        for name in ["t/a", "t/b", "t/c"] {
            model(name);
        }
        claim(&server, "t/a:1", "trained_on", "data/cards:1", Some("2026-01-10T00:00:00Z"));
        claim(&server, "t/b:1", "derived_from", "t/a:1", Some("2026-02-10T00:00:00Z"));
        claim(&server, "t/c:1", "trained_on", "data/cards:1", None);
        // One that holds it since now, and was made from one that had been trained on it long before.
        Repository::new(&server.host, "t/both").kit("1", b"both", b"leaked");
        claim(&server, "t/both:1", "derived_from", "t/a:1", Some("2026-01-20T00:00:00Z"));

        let file = format!("/impact?file={}&wait=30", sha256(b"leaked"));
        let now = server.api(&file, 200);
        let packaged = ("t/both".to_owned(), 0, "packaged".to_owned());
        let all = [declared("t/a", 0), packaged, declared("t/c", 0), declared("t/b", 1)];
        assert_eq!(affected(&now), all, "{now:#}");
        assert_eq!(now["query"]["as_of_kind"], "recorded");
        let moment = now["query"]["as_of"].as_str().unwrap();
        let questions = [file.clone(), "/impact?ref=data/cards:1".to_owned()];
        for (at, expected) in [
            ("2026-01-09T23:59:59Z", &[][..]),
            ("2026-01-10T00:00:00Z", &[declared("t/a", 0)]),
            ("2026-02-01T00:00:00Z", &[declared("t/a", 0), declared("t/both", 1)]),
            ("2026-03-01T00:00:00Z", &[declared("t/a", 0), declared("t/b", 1), declared("t/both", 1)]),
            (moment, &all[..]),
        ] {
            for question in &questions {
                let answer = server.api(&format!("{question}&as_of={at}&as_of_kind=occurred"), 200);
                assert_eq!(affected(&answer), expected, "{question} {at}: {answer:#}");
                assert_eq!((&answer["query"]["as_of"], &answer["query"]["as_of_kind"]), (&at.into(), &"occurred".into()));
                let path = format!("/api/v1{question}&as_of={at}&as_of_kind=occurred");
                let lines = Wire::new(&server.host).get(&path, "application/x-ndjson").expect(200);
                let last = String::from_utf8(lines.body).unwrap().lines().last().unwrap().to_owned();
                assert_eq!(last, format!(r#"{{"models":{}}}"#, expected.len()), "{question} {at}");
            }
            let holding = server.api(&format!("{}&as_of={at}&as_of_kind=occurred", file.replace("impact", "holders")), 200);
            let is_now = at == moment;
            assert_eq!(holders(&holding).contains(&"data/cards"), is_now, "it was pushed now: {holding:#}");
        }
        // As the registry knew it then, it knew of nothing.
        let then = server.api(&format!("{file}&as_of=2026-03-01T00:00:00Z"), 200);
        assert!(affected(&then).is_empty(), "{then:#}");

        // Pages hold together whatever is said meanwhile, and belong to their question.
        let question = format!("{file}&as_of=2026-03-01T00:00:00Z&as_of_kind=occurred");
        let page = server.api(&format!("{question}&limit=2"), 200);
        let next = page["next"].as_str().unwrap();
        let late = claim(&server, "t/c:1", "derived_from", "t/a:1", Some("2026-01-12T00:00:00Z"));
        let rest = server.api(&format!("{question}&limit=2&cursor={next}"), 200);
        assert_eq!((affected(&rest), &rest["next"]), (vec![declared("t/both", 1)], &Value::Null), "{rest:#}");
        server.api(&format!("{file}&as_of=2026-03-01T00:00:00Z&limit=2&cursor={next}"), 400);
        assert_eq!(affected(&server.api(&question, 200)).len(), 4, "what is said later counts");
        post(&server, &format!("/claims/{late}/retract"), &json!({"reason": "it was another one"}), 200);
        assert_eq!(affected(&server.api(&question, 200)).len(), 3, "and what is retracted does not");
        let (text, code) = server.asked(&[
            "impact", "--file", &sha256(b"leaked"), "--as-of", "2026-01-15T00:00:00Z", "--as-of-kind", "occurred",
        ]);
        assert!(text.contains("Affected: 1 model\n") && text.contains("t/a:1") && code == 1, "{text}");
        server.api(&format!("{file}&as_of_kind=perhaps"), 400);
    }

    fn versions_and_tags_are_as_they_were(server: Server) {
        let mut repository = Repository::new(&server.host, "t/kit");
        let old = repository.kit("1", b"weights", b"data");
        let versions = "/repositories/t/kit/-/versions";
        let before = server.api(&format!("{versions}?limit=10"), 200);
        assert!(before.get("as_of").is_none());
        let at = server.api(&format!("/impact?file={}&wait=30", sha256(b"data")), 200)["query"]["as_of"].as_str().unwrap().to_owned();
        let new = repository.kit("1", b"weights", b"other data");
        repository.delete(&old);
        let now = server.api(versions, 200);
        let digests = |answer: &Value| -> Vec<String> {
            answer["versions"].as_array().unwrap().iter().map(|kit| kit["digest"].as_str().unwrap().to_owned()).collect()
        };
        assert_eq!(digests(&now), std::slice::from_ref(&new));
        for kind in ["", "&as_of_kind=recorded", "&as_of_kind=occurred"] {
            let then = server.api(&format!("{versions}?as_of={at}{kind}"), 200);
            assert_eq!(digests(&then), std::slice::from_ref(&old), "{then:#}");
            assert_eq!((&then["as_of"], &then["versions"][0]["tags"]), (&at.as_str().into(), &json!(["1"])));
            assert_eq!(then["versions"][0]["component_versions"][0]["version"], "v1");
            let tag = server.api(&format!("/repositories/t/kit/-/tags/1?as_of={at}{kind}"), 200);
            assert_eq!(tag["digest"], old);
            let history = server.api(&format!("/repositories/t/kit/-/tags/1/history?as_of={at}{kind}"), 200);
            assert_eq!(history["events"].as_array().unwrap().len(), 1);
            server.api(&format!("/stages?as_of={at}{kind}"), 200);
            let never = server.api(&format!("{versions}?as_of=2026-01-01T00:00:00Z{kind}"), 200);
            assert!(digests(&never).is_empty());
        }
        for call in [versions, "/repositories/t/kit/-/tags/1", "/repositories/t/kit/-/tags/1/history", "/stages"] {
            server.api(&format!("{call}?as_of={at}&as_of_kind=perhaps"), 400);
            server.api(&format!("{call}?as_of=2999-01-01T00:00:00Z"), 400);
        }
        let (text, code) = server.asked(&["kits", "t/kit", "--as-of", &at, "--as-of-kind", "occurred"]);
        assert!(text.contains(&old[..19]) && !text.contains(&new[..19]) && code == 0, "{text}");
        for command in [&["history", "t/kit:1"][..], &["stages"]] {
            let (text, code) = server.asked(&[command, &["--as-of", &at, "--as-of-kind", "occurred"]].concat());
            assert_eq!(code, 0, "{text}");
        }
    }
}
