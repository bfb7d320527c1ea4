//! What things were made from, and what was made from them: both directions, over HTTP and as a tree in the terminal.

use std::collections::{BTreeSet, HashMap};

use serde_json::{Value, json};

use crate::{
    documents,
    fixtures::{CUSTOMERS, REPOSITORIES},
    left_out::workspace,
    push::{INDEX, KIT, MANIFEST, Repository, push_layout},
    server::{Server, on_both_engines},
    wire::Wire,
};

/// What a node is called: its first place, else its id.
fn names(answer: &Value) -> HashMap<String, String> {
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    let nodes = answer["nodes"].as_array().unwrap().iter();
    let name = |node: &Value| match node["places"].as_array().unwrap().first() {
        Some(place) => format!("{}:{}", text(&place["repository"]), place["tags"][0].as_str().unwrap_or("-")),
        None => text(&node["id"]),
    };
    nodes.map(|node| (text(&node["id"]), name(node))).collect()
}

/// "from kind to" of every edge, in the answer's order.
fn edges(answer: &Value) -> Vec<String> {
    let names = names(answer);
    let name = |id: &Value| names.get(id.as_str().unwrap()).expect("the page has the nodes of its edges").clone();
    let edges = answer["edges"].as_array().unwrap().iter();
    edges
        .map(|edge| format!("{} {} {}", name(&edge["from"]), edge["kind"].as_str().unwrap(), name(&edge["to"])))
        .collect()
}

/// "name up down" of every node.
fn away(answer: &Value) -> BTreeSet<String> {
    let names = names(answer);
    let steps = |steps: &Value| steps.as_u64().map_or("-".to_owned(), |steps| steps.to_string());
    let nodes = answer["nodes"].as_array().unwrap().iter();
    nodes
        .map(|node| format!("{} {} {}", names[node["id"].as_str().unwrap()], steps(&node["up"]), steps(&node["down"])))
        .collect()
}

/// Pushes a model that is derived from another, and like no other.
fn child(server: &Server, name: &str, parent: &str) {
    let kitfile =
        json!({"manifestVersion": "1.0.0", "package": {"name": name}, "model": {"name": "m", "path": parent}});
    Repository::new(&server.host, name).kit_of("1", &kitfile, &[]);
}

/// Attaches an unsigned statement that something was built from these, at a moment.
fn attach(repository: &mut Repository, subject: &str, uris: &[&str], at: &str) {
    let dependencies: Vec<_> = uris.iter().map(|uri| json!({"uri": uri})).collect();
    let statement = documents::provenance(subject, &json!(dependencies), at);
    let size = repository.send("GET", &format!("/manifests/{subject}"), &[], b"").expect(200).body.len();
    let layer = repository.blob("application/vnd.in-toto+json", statement.to_string().as_bytes());
    let config = repository.blob("application/vnd.oci.empty.v1+json", b"{}");
    repository.manifest(
        "",
        &json!({
            "schemaVersion": 2, "mediaType": MANIFEST, "artifactType": "application/vnd.in-toto+json",
            "config": config, "layers": [layer], "subject": {"mediaType": MANIFEST, "digest": subject, "size": size},
        }),
    );
}

const COMMIT: &str = "git+https://git.example.com/team/code@0123456789abcdef0123456789abcdef01234567";

on_both_engines! {
    fn both_directions_through_any_steps(server: Server) {
        let push = |name: &str| Repository::new(&server.host, name);
        push("t/base").kit("1", b"weights", b"data");
        child(&server, "t/mid", "localhost:5000/t/base:1");
        child(&server, "t/leaf", "localhost:5000/t/mid:1");
        child(&server, "t/other", "localhost:5000/t/mid:1");
        let up = server.api("/lineage?ref=t/leaf:1&direction=ancestors", 200);
        assert_eq!(edges(&up), ["t/leaf:1 derived_from t/mid:1", "t/mid:1 derived_from t/base:1"], "{up:#}");
        assert_eq!(away(&up), BTreeSet::from(["t/leaf:1 0 -", "t/mid:1 1 -", "t/base:1 2 -"].map(String::from)));
        assert_eq!((&up["scope"], &up["all_edges"], &up["next"]), (&"all".into(), &2.into(), &Value::Null));
        let base = &up["nodes"][2];
        assert_eq!((&base["kind"], &base["is_model"], &base["name"]), (&"modelkit".into(), &true.into(), &"t/base".into()));
        assert_eq!(base["packaged_with"], json!([{"role": "dataset", "name": "train"}]));
        assert_eq!((&base["edges_from"], &base["edges_to"]), (&0.into(), &1.into()));
        let edge = &up["edges"][0];
        assert_eq!((&edge["grade"], &edge["declared"]), (&"declared".into(), &"localhost:5000/t/mid:1".into()));
        assert_eq!((&edge["claim"]["kind"], &edge["component"]["role"]), (&"kitfile".into(), &"model".into()));

        let down = server.api("/lineage?ref=t/base:1&direction=descendants", 200);
        let around = ["t/mid:1 derived_from t/base:1", "t/leaf:1 derived_from t/mid:1", "t/other:1 derived_from t/mid:1"];
        assert_eq!(edges(&down), around);
        let both = server.api("/lineage?ref=t/mid:1", 200);
        assert_eq!(edges(&both), around);
        let steps = ["t/mid:1 0 0", "t/base:1 1 -", "t/leaf:1 - 1", "t/other:1 - 1"];
        assert_eq!(away(&both), BTreeSet::from(steps.map(String::from)));
        // By its digest, wherever it is.
        let id = both["id"].as_str().unwrap();
        assert_eq!(edges(&server.api(&format!("/lineage?digest={id}"), 200)), edges(&both));

        for (depth, expected) in [(1, 1), (2, 3), (17, 3)] {
            let near = server.api(&format!("/lineage?ref=t/base:1&depth={depth}"), 200);
            assert_eq!(edges(&near).len(), expected, "{near:#}");
        }
        let signed = server.api("/lineage?ref=t/mid:1&grade=attested", 200);
        assert!(edges(&signed).is_empty() && signed["nodes"].as_array().unwrap().len() == 1, "{signed:#}");

        // As it was known before a later push, and again after its deletion.
        let as_of = down["query"]["as_of"].as_str().unwrap().to_owned();
        child(&server, "t/late", "localhost:5000/t/leaf:1");
        let other = server.api("/lineage?ref=t/other:1", 200)["id"].as_str().unwrap().to_owned();
        push("t/other").delete(&other);
        let now = server.api("/lineage?ref=t/base:1&direction=descendants", 200);
        assert_eq!(edges(&now).len(), 4);
        let mut nodes = now["nodes"].as_array().unwrap().iter();
        let other = &nodes.find(|node| node["id"] == other.as_str()).unwrap()["places"];
        let deleted = json!([{"repository": "t/other", "tags": [], "state": "deleted"}]);
        assert_eq!(*other, deleted, "evidence outlives data");
        let then = server.api(&format!("/lineage?ref=t/base:1&direction=descendants&as_of={as_of}"), 200);
        let both = [&then, &down].map(|answer| (&answer["edges"], &answer["nodes"]));
        assert_eq!(both[0], both[1], "asked again, the answer is the same");
        server.api(&format!("/lineage?ref=t/late:1&as_of={as_of}"), 404);

        let digest = format!("sha256:{}", "0".repeat(64));
        let unheard = server.api(&format!("/lineage?digest={digest}"), 200);
        assert_eq!((&unheard["id"], &unheard["nodes"][0]["kind"]), (&digest.as_str().into(), &"unknown".into()));
        for wrong in [
            "direction=up", "depth=0", "grade=good", "as_of_kind=now", "as_of=2999-01-01T00:00:00Z", "more=1", "digest=x", "external=x",
        ] {
            server.api(&format!("/lineage?ref=t/base:1&{wrong}"), 400);
        }
        for wrong in ["", "ref=base", "digest=x", "external="] {
            server.api(&format!("/lineage?{wrong}"), 400);
        }
        server.api("/lineage?ref=t/nothing:1", 404);
    }

    fn cycles_do_no_harm(server: Server) {
        child(&server, "loop/a", "localhost:5000/loop/b:1");
        child(&server, "loop/b", "localhost:5000/loop/a:1");
        child(&server, "loop/c", "localhost:5000/loop/a:1");
        let answer = server.api("/lineage?ref=loop/a:1", 200);
        assert_eq!(
            edges(&answer),
            ["loop/a:1 derived_from loop/b:1", "loop/b:1 derived_from loop/a:1", "loop/c:1 derived_from loop/a:1"],
            "each once: {answer:#}"
        );
        assert_eq!(answer["edges"][0]["late"], true);
        let steps = ["loop/a:1 0 0", "loop/b:1 1 1", "loop/c:1 - 1"];
        assert_eq!(away(&answer), BTreeSet::from(steps.map(String::from)));
        let (tree, code) = server.asked(&["lineage", "loop/a:1", "--ancestors"]);
        let expected = "
└─ derived from loop/b:1 (declared, said by anonymous, known only later)
   └─ derived from loop/a:1 (declared, said by anonymous), see above
";
        assert!(code == 0 && tree.contains(expected), "{tree}");
    }

    fn an_index_reaches_what_it_lists(server: Server) {
        let mut repository = Repository::new(&server.host, "t/many");
        let base = repository.child("", "hf://org/base@0123456789abcdef0123456789abcdef01234567");
        let size = repository.send("GET", &format!("/manifests/{base}"), &[], b"").expect(200).body.len();
        let index = json!({
            "schemaVersion": 2, "mediaType": INDEX,
            "manifests": [{"mediaType": MANIFEST, "digest": base, "size": size, "artifactType": KIT}],
        });
        repository.bytes("all", INDEX, index.to_string().as_bytes());
        child(&server, "t/user", "localhost:5000/t/many:all");
        let hub = "hf://org/base@0123456789abcdef0123456789abcdef01234567";
        let derived = format!("t/many:- derived_from {hub}");
        let up = server.api("/lineage?ref=t/user:1&direction=ancestors", 200);
        assert_eq!(edges(&up), ["t/user:1 derived_from t/many:all", "t/many:all lists t/many:-", &derived], "{up:#}");
        assert!(away(&up).contains("t/many:- 1 -") && away(&up).contains(&format!("{hub} 2 -")), "listing is no step");
        let near = server.api("/lineage?ref=t/user:1&direction=ancestors&depth=1", 200);
        assert_eq!(edges(&near), ["t/user:1 derived_from t/many:all", "t/many:all lists t/many:-"]);
        // Asked about, it is all that it lists; and from outside the way leads back.
        assert!(edges(&server.api("/lineage?ref=t/many:all", 200)).contains(&derived));
        let down = server.api(&format!("/lineage?external={hub}"), 200);
        assert_eq!(edges(&down), [&derived, "t/many:all lists t/many:-", "t/user:1 derived_from t/many:all"]);
        assert_eq!(down["nodes"][0]["kind"], "external");
    }

    fn pages_make_the_whole(server: Server) {
        let push = |name: &str| Repository::new(&server.host, name);
        let base = push("fan/base").kit("1", b"weights", b"data");
        for n in 0..15 {
            child(&server, &format!("fan/child{n:02}"), "localhost:5000/fan/base:1");
        }
        child(&server, "fan/leaf", "localhost:5000/fan/child07:1");
        let question = "/lineage?ref=fan/base:1";
        let whole = server.api(&format!("{question}&limit=1000"), 200);
        assert_eq!(whole["all_edges"], 16);
        let (mut paged, mut nodes, mut cursor) = (Vec::new(), BTreeSet::new(), String::new());
        loop {
            let page = server.api(&format!("{question}&limit=3{cursor}"), 200);
            paged.extend(edges(&page));
            nodes.extend(away(&page));
            assert_eq!(page["all_edges"], 16, "whatever is pushed meanwhile");
            child(&server, &format!("fan/more{}", paged.len()), "localhost:5000/fan/base:1");
            let Some(next) = page["next"].as_str() else { break };
            cursor = format!("&cursor={next}");
            for other in ["/lineage?ref=fan/leaf:1", "/lineage?ref=fan/base:1&depth=1", "/impact?ref=fan/base:1"] {
                server.api(&format!("{other}{cursor}"), 400);
            }
        }
        assert_eq!((paged, nodes), (edges(&whole), away(&whole)));

        let as_of = whole["query"]["as_of"].as_str().unwrap();
        let asked = format!("/api/v1{question}&as_of={as_of}");
        let reply = Wire::new(&server.host).get(&asked, "application/x-ndjson").expect(200);
        let lines = reply.body.split(|b| *b == b'\n').filter(|line| !line.is_empty());
        let lines: Vec<Value> = lines.map(|line| serde_json::from_slice(line).unwrap()).collect();
        assert_eq!((&lines[0]["id"], &lines[0]["query"]["as_of"]), (&base.as_str().into(), &as_of.into()));
        assert_eq!(lines.last(), Some(&json!({"nodes": 17, "edges": 16})));
        assert_eq!(lines[1], json!({"node": base, "is_model": true, "up": 0, "down": 0}));
        let told = whole["edges"].as_array().unwrap().iter();
        let told = told.map(|e| json!({"from": e["from"], "to": e["to"], "kind": e["kind"], "grade": e["grade"]}));
        assert_eq!(lines[18..34], told.collect::<Vec<_>>());

        // In the terminal, the first ten, and how many there are.
        let (tree, code) = server.asked(&["lineage", "fan/base:1"]);
        assert_eq!(code, 0);
        assert!(tree.contains("└─ … and 11 more: --json shows all"), "{tree}");
        let (json, code) = server.asked(&["lineage", "fan/base:1", "--json", "--descendants", "--as-of", as_of]);
        let json: Value = serde_json::from_str(&json).unwrap();
        assert_eq!((code, &json["edges"]), (0, &whole["edges"]));
        let (said, code) = server.asked(&["lineage", "fan/none:1"]);
        assert!(code == 2 && said.contains("404"), "{said}");
    }

    fn as_it_happened_and_as_it_was_known(server: Server) {
        let mut repository = Repository::new(&server.host, "t/model");
        let model = repository.kit("1", b"weights", b"data");
        let before = server.api("/lineage?ref=t/model:1", 200)["query"]["as_of"].as_str().unwrap().to_owned();
        attach(&mut repository, &model, &[COMMIT], "2025-05-01T12:00:00Z");
        let ask = |more: &str| edges(&server.api(&format!("/lineage?ref=t/model:1{more}"), 200));
        let built = [format!("t/model:1 built_from {COMMIT}")];
        assert_eq!(ask(""), built);
        assert!(ask(&format!("&as_of={before}")).is_empty(), "nobody had said so yet");
        assert_eq!(ask(&format!("&as_of={before}&as_of_kind=occurred")), built, "it had happened");
        assert_eq!(ask("&as_of=2025-05-01T12:00:00Z&as_of_kind=occurred"), built);
        assert!(ask("&as_of=2025-05-01T11:59:59Z&as_of_kind=occurred").is_empty());
        let now = server.api("/lineage?ref=t/model:1&as_of_kind=occurred", 200);
        assert_eq!((edges(&now), &now["edges"][0]["occurred_at"]), (built.to_vec(), &"2025-05-01T12:00:00Z".into()));
        // The same bytes elsewhere: of one repository only its own claims, of the digest all.
        let payload = repository.send("GET", "/manifests/1", &[], b"").expect(200).body;
        let mut copy = Repository::new(&server.host, "t/copy");
        let manifest: Value = serde_json::from_slice(&payload).unwrap();
        for blob in manifest["layers"].as_array().unwrap().iter().chain([&manifest["config"]]) {
            let mount = format!("/blobs/uploads/?mount={}&from=t/model", blob["digest"].as_str().unwrap());
            copy.send("POST", &mount, &[], b"").expect(201);
        }
        copy.bytes("1", MANIFEST, &payload);
        assert!(edges(&server.api("/lineage?ref=t/copy:1", 200)).is_empty());
        let anywhere = server.api(&format!("/lineage?digest={model}"), 200);
        assert_eq!(anywhere["edges"].as_array().unwrap().len(), 1);
        let places = anywhere["nodes"][0]["places"].as_array().unwrap();
        let places: Vec<_> = places.iter().map(|place| place["repository"].as_str().unwrap()).collect();
        assert_eq!(places, ["t/copy", "t/model"]);
        assert_eq!(server.api("/lineage?ref=t/model:1", 200)["nodes"][0]["places"][0]["repository"], "t/model");
    }

    fn the_story_of_the_fixtures(server: Server) {
        let mut server = server;
        let key = workspace().join("tests/fixtures/cosign.pub");
        server.restart_with("PEDIGREE_TRUSTED_KEYS", key.to_str().unwrap());
        for repository in REPOSITORIES {
            push_layout(&server.host, repository);
        }
        let commit = "git+https://git.example.com/fraud/detector@4a1b0c6a7f0d1e2c3b4a5968778695a4b3c2d1e0";
        let up = server.api("/lineage?ref=fraud/detector:1.2&direction=ancestors", 200);
        let trained = "fraud/detector:1.2 trained_on data/customers:2025.10".to_owned();
        let told: BTreeSet<_> = edges(&up).into_iter().collect();
        assert_eq!(told, BTreeSet::from([trained.clone(), format!("fraud/detector:1.2 built_from {commit}")]), "{up:#}");
        for edge in up["edges"].as_array().unwrap() {
            assert_eq!((&edge["grade"], &edge["claim"]["signed_by"]), (&"attested".into(), &"the key cosign".into()));
            assert_eq!(edge["occurred_at"], "2026-03-01T12:30:00Z");
        }
        assert_eq!(up["nodes"][0]["signed_by"], json!(["the key cosign"]));
        let up = server.api("/lineage?ref=fraud/alias:1.0&direction=ancestors", 200);
        let disputes = "fraud/disputes:1.0";
        let derived =
            [format!("fraud/alias:1.0 derived_from {disputes}"), format!("{disputes} derived_from fraud/detector:1.1")];
        assert_eq!(edges(&up), derived);
        let down = server.api(&format!("/lineage?digest={CUSTOMERS}&direction=descendants"), 200);
        let told: BTreeSet<_> = edges(&down).into_iter().collect();
        let lists = "fraud/detector:variants lists fraud/detector:1.2".to_owned();
        let by = ["fraud/detector:1.0", "fraud/detector:1.2", "fraud/streaming:2.0", "risk/scoring:3.0"];
        let by = by.map(|model| format!("{model} trained_on data/customers:2025.10"));
        assert_eq!(told, by.into_iter().chain([lists.clone()]).collect(), "{down:#}");
        let signed = server.api(&format!("/lineage?digest={CUSTOMERS}&grade=attested"), 200);
        let told: BTreeSet<_> = edges(&signed).into_iter().collect();
        assert_eq!(told, BTreeSet::from([trained, lists, "risk/scoring:3.0 trained_on data/customers:2025.10".into()]));
        let from = edges(&server.api(&format!("/lineage?external={}", commit.replace('+', "%2B")), 200));
        assert!(from.contains(&format!("fraud/detector:1.2 built_from {commit}")), "{from:?}");

        let (tree, code) = server.asked(&["lineage", "fraud/alias:1.0"]);
        assert_eq!(code, 0, "{tree}");
        let expected = "Made from:
└─ derived from fraud/disputes:1.0 (declared, said by anonymous)
   ├─ packaged with dataset disputes
   └─ derived from fraud/detector:1.1,champion,latest (declared, said by anonymous)
      └─ packaged with dataset train, dataset val

Made from it:
  nothing that anybody says
";
        assert!(tree.starts_with("fraud/alias:1.0  sha256:") && tree.contains(expected), "{tree}");
        let (tree, _) = server.asked(&["lineage", "fraud/detector:1.2", "--ancestors"]);
        assert!(tree.contains(&format!("built from {commit} [external] (attested, signed by the key cosign)\n")), "{tree}");
        assert!(!tree.contains("Made from it"), "{tree}");
        let (tree, _) = server.asked(&["lineage", "data/customers:2025.10", "--descendants", "--grade", "attested"]);
        let expected = "├─ fraud/detector:1.2,challenger trained on it (attested, signed by the key cosign)
│  └─ fraud/detector:variants lists it
";
        assert!(tree.contains(expected), "{tree}");
        let (said, code) = server.asked(&["lineage", "fraud/detector:1.2", "--grade", "good"]);
        assert!(code == 2 && said.contains("attested, declared"), "{said}");
    }
}
