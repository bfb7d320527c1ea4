//! The story of the fixtures, pushed verbatim, and what is true of them (DESIGN section 3; the fixtures' own README).

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::Path,
    thread,
    time::{Duration, Instant},
};

use serde_json::{Value, json};

use crate::{
    left_out::workspace,
    push::{holders, models, push_layout},
    sample::sha256,
    server::{Server, on_both_engines},
};

/// `data/customers:2025.10`.
const CUSTOMERS: &str = "sha256:ccd5648a3e270d778bfc7cd20f0d78c61f6e95a56ee57ff8e3aedc73e8a56bbb";

pub(crate) const REPOSITORIES: [&str; 13] = [
    "adhoc/customers",
    "ai/tiny",
    "apps/hello",
    "data/customers",
    "fraud/detector",
    "fraud/detector-kit04",
    "fraud/detector-kit17",
    "fraud/disputes",
    "fraud/alias",
    "fraud/streaming",
    "library/tiny",
    "risk/scoring",
    "risk/scoring-modctl",
];

fn file(name: &str) -> String {
    sha256(&fs::read(workspace().join("tests/fixtures/files").join(Path::new(name))).unwrap())
}

on_both_engines! {
    fn the_leaked_file_is_traced(server: Server) {
        // Children before their parents: every reference is resolved when its target arrives.
        for repository in REPOSITORIES.iter().rev() {
            push_layout(&server.host, repository);
        }
        let answer = server.api(&format!("/impact?file={}&wait=30", file("customers.csv")), 200);
        let expected = [
            ("fraud/detector", "1.2 challenger", 0, "declared"),
            ("fraud/detector", "1.1 champion latest", 0, "packaged"),
            ("fraud/detector", "1.0", 0, "declared"),
            ("fraud/detector-kit04", "1.0", 0, "packaged"),
            ("fraud/detector-kit17", "1.0", 0, "packaged"),
            ("fraud/streaming", "2.0", 0, "declared"),
            ("risk/scoring", "3.0", 0, "declared"),
            ("fraud/disputes", "1.0", 1, "packaged"),
            ("fraud/alias", "1.0", 2, "packaged"),
        ];
        let expected = expected.map(|(name, tags, distance, grade)| (name.into(), tags.into(), distance, grade.into()));
        assert_eq!(models(&answer), expected, "{answer:#}");
        assert_eq!(answer["completeness"]["exact"], true, "{answer:#}");
        assert_eq!(answer["completeness"]["outside"]["remote_datasets"], 1);
        let data = "data/customers";
        assert_eq!(holders(&answer), ["adhoc/customers", data, data, data]);
        let disputes = &answer["models"][7]["evidence"];
        assert_eq!(disputes[0]["edge"], "derived_from");
        assert_eq!(disputes[1]["path"], "data/train/customers.csv");
        // What nobody vouches for is declared, and says why it is no more than that.
        assert!(answer["models"].as_array().unwrap().iter().all(|model| model["signed_by"] == json!([])), "{answer:#}");
        let unsigned = &answer["models"][0]["evidence"][0];
        assert_eq!((&unsigned["edge"], &unsigned["claim"]["kind"]), (&"trained_on".into(), &"statement".into()));
        assert_eq!(unsigned["target"]["digest"], CUSTOMERS);
    }

    fn signatures_count_once_their_key_is_trusted(server: Server) {
        let mut server = server;
        for repository in REPOSITORIES {
            push_layout(&server.host, repository);
        }
        let question = format!("/impact?file={}&wait=30", file("customers.csv"));
        let grades = |answer: &Value| {
            let models = models(answer).into_iter();
            models.map(|(name, tags, _, grade)| (format!("{name}:{tags}"), grade)).collect::<BTreeMap<_, _>>()
        };
        let before = server.api(&question, 200);
        assert_eq!(grades(&before)["fraud/detector:1.2 challenger"], "declared");
        let as_of = before["query"]["as_of"].as_str().unwrap().to_owned();

        let key = workspace().join("tests/fixtures/cosign.pub");
        server.restart_with("PEDIGREE_TRUSTED_KEYS", key.to_str().unwrap());
        let start = Instant::now();
        let after = loop {
            let answer = server.api(&question, 200);
            if grades(&answer)["risk/scoring:3.0"] == "attested" || start.elapsed().as_secs() > 30 {
                break answer;
            }
            thread::sleep(Duration::from_millis(50));
        };
        let found = grades(&after);
        for (model, grade) in [
            ("fraud/detector:1.2 challenger", "attested"),
            ("fraud/detector:1.1 champion latest", "packaged"),
            ("fraud/detector:1.0", "declared"),
            ("risk/scoring:3.0", "attested"),
            ("fraud/streaming:2.0", "declared"),
            ("fraud/disputes:1.0", "packaged"),
        ] {
            assert_eq!(found[model], grade, "{model}: {after:#}");
        }
        let model = |name: &str, tag: &str| {
            let models = after["models"].as_array().unwrap().iter();
            models.clone().find(|m| m["repository"] == name && m["tags"].as_array().unwrap().contains(&tag.into())).unwrap()
        };
        assert_eq!(model("fraud/detector", "1.1")["signed_by"], json!(["the key cosign"]));
        assert_eq!(model("fraud/detector", "1.2")["evidence"][0]["claim"]["signed_by"], "the key cosign");
        assert_eq!(model("fraud/disputes", "1.0")["signed_by"], json!(["the key cosign"]), "a bundle is no grade");
        // Only what is wholly signed.
        let answer = server.api(&format!("{question}&grade=attested"), 200);
        let attested: BTreeSet<_> = models(&answer).into_iter().map(|(name, ..)| name).collect();
        assert_eq!(attested, BTreeSet::from(["fraud/detector".into(), "risk/scoring".into()]));
        // As it was known then.
        let then = server.api(&format!("/impact?file={}&as_of={as_of}", file("customers.csv")), 200);
        assert_eq!(grades(&then), grades(&before));
        assert_eq!(then["models"], before["models"], "asked again, the answer is the same");
    }

    fn only_one_model_has_the_new_transactions(server: Server) {
        for repository in REPOSITORIES {
            push_layout(&server.host, repository);
        }
        let answer = server.api(&format!("/impact?file={}&wait=30", file("transactions-2026.csv")), 200);
        assert_eq!(models(&answer), [("fraud/detector".into(), "1.2 challenger".into(), 0, "packaged".into())]);
        assert_eq!(answer["models"][0]["indexes"].as_array().unwrap().len(), 1, "the index is shown, not a model");
        assert!(answer["holders"].as_array().unwrap().is_empty());
        // The kit of the customers: who packs one of its two files, and who refers to it.
        let answer = server.api("/impact?ref=data/customers:2025.10", 200);
        let leaked = server.api(&format!("/impact?file={}", file("customers.csv")), 200);
        assert_eq!(models(&answer), models(&leaked));
        let train = &answer["models"][1]["evidence"][0];
        assert_eq!((&train["component"]["name"], &train["rungs"]), (&"train".into(), &serde_json::json!(["overlap"])));
        assert_eq!((&train["overlap"]["of_asked"], &train["overlap"]["of_candidate"]), (&0.5.into(), &0.5.into()));
    }

    fn components_have_versions(server: Server) {
        for repository in ["fraud/detector", "data/customers"] {
            push_layout(&server.host, repository);
        }
        server.api(&format!("/impact?file=sha256:{}&wait=30", "1".repeat(64)), 200);
        let answer = server.api("/repositories/fraud/detector/-/versions", 200);
        let kits = answer["versions"].as_array().unwrap();
        let column = |tag: &str| kits.iter().position(|kit| kit["tags"].as_array().unwrap().contains(&tag.into())).unwrap();
        let columns = ["1.0", "1.1", "1.2"].map(column);
        let row = |role: &str, name: Option<&str>| {
            let rows = answer["matrix"].as_array().unwrap();
            let is_asked = |row: &&serde_json::Value| row["role"] == role && name.is_none_or(|name| row["name"] == name);
            let row = rows.iter().find(is_asked).unwrap();
            columns.map(|column| row["versions"][column].as_str().unwrap().to_owned())
        };
        // Whoever is pushed first has v1: the layout's order is not the tags'.
        let distinct = |versions: [String; 3]| versions.iter().collect::<std::collections::BTreeSet<_>>().len();
        assert_eq!(distinct(row("model", None)), 3, "{answer:#}");
        let train = row("dataset", Some("train"));
        assert!(train[0] == train[1] && train[1] != train[2], "{train:?}");
        assert_eq!(row("dataset", Some("val")), ["v1"; 3]);
        // However it was packed.
        let answer = server.api("/repositories/data/customers/-/versions", 200);
        assert_eq!(answer["matrix"].as_array().unwrap().len(), 1, "{answer:#}");
        assert_eq!(answer["matrix"][0]["versions"], serde_json::json!(["v1", "v1", "v1"]));
        let (said, code) = server.asked(&["kits", "data/customers"]);
        assert!(code == 0 && said.contains(" v1"), "{said}");
    }

    fn questions_that_are_none_are_refused(server: Server) {
        for question in ["file=sha256:abc", "file=sha512:00", "", "file=a&layer=b", "ref=nothing", "nonsense=1"] {
            let problem = server.api(&format!("/impact?{question}"), 400);
            assert_eq!(problem["status"], 400, "{question}");
        }
        let unknown = server.api(&format!("/impact?file=sha256:{}", "0".repeat(64)), 200);
        assert!(models(&unknown).is_empty() && unknown["completeness"]["exact"] == true);
        server.api(&format!("/impact?file=sha256:{}&cursor=x", "0".repeat(64)), 400);
        server.api("/impact?ref=no/such:1", 404);
        server.api("/repositories/no/such/-/versions", 404);
    }
}
