//! The story of the fixtures, pushed verbatim, and what is true of them (DESIGN section 3; the fixtures' own README).

use std::{fs, path::Path};

use crate::{
    left_out::workspace,
    push::{holders, models, push_layout},
    sample::sha256,
    server::{Server, on_both_engines},
};

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
            ("fraud/detector", "1.1 champion latest", 0, "packaged"),
            ("fraud/detector", "1.0", 0, "packaged"),
            ("fraud/detector-kit04", "1.0", 0, "packaged"),
            ("fraud/detector-kit17", "1.0", 0, "packaged"),
            ("fraud/streaming", "2.0", 0, "declared"),
            ("risk/scoring", "3.0", 0, "packaged"),
            ("fraud/disputes", "1.0", 1, "packaged"),
            ("fraud/alias", "1.0", 2, "packaged"),
        ];
        let expected = expected.map(|(name, tags, distance, grade)| (name.into(), tags.into(), distance, grade.into()));
        assert_eq!(models(&answer), expected, "{answer:#}");
        assert_eq!(answer["completeness"]["exact"], true, "{answer:#}");
        assert_eq!(answer["completeness"]["outside"]["remote_datasets"], 1);
        let data = "data/customers";
        assert_eq!(holders(&answer), ["adhoc/customers", data, data, data]);
        let disputes = &answer["models"][6]["evidence"];
        assert_eq!(disputes[0]["edge"], "derived_from");
        assert_eq!(disputes[1]["path"], "data/train/customers.csv");
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
        let train = &answer["models"][0]["evidence"][0];
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
