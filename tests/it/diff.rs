//! What is different between two versions, and how they were packed matters not.

use serde_json::{Value, json};

use crate::{
    push::{MANIFEST, Repository, push_layout},
    sample::{gzip, tar},
    server::{Server, on_both_engines},
};

/// Each component's role, name, change and rung.
fn changes(diff: &Value) -> Vec<String> {
    let text = |component: &Value, name: &str| component[name].as_str().unwrap_or("-").to_owned();
    let line = |component: &Value| ["role", "name", "change", "rung"].map(|name| text(component, name)).join(" ");
    diff["components"].as_array().unwrap().iter().map(line).collect()
}

fn paths(component: &Value, kind: &str) -> Vec<String> {
    let shown = component["files"][kind]["shown"].as_array().unwrap();
    shown.iter().map(|file| file["path"].as_str().unwrap().to_owned()).collect()
}

on_both_engines! {
    fn every_dialect_is_compared(server: Server) {
        for repository in ["fraud/detector", "fraud/detector-kit17", "fraud/detector-kit04", "data/customers", "risk/scoring"] {
            push_layout(&server.host, repository);
        }
        // Until everything is scanned.
        server.api(&format!("/impact?file=sha256:{}&wait=30", "1".repeat(64)), 200);
        let diff = |from: &str, to: &str| server.api(&format!("/diff?from={from}&to={to}"), 200);
        for kind in ["gz", "mode"] {
            let told = diff("data/customers:2025.10", &format!("data/customers:2025.10-{kind}"));
            assert_eq!(told["components"][0]["says"], "same contents, repacked", "{told:#}");
            assert_eq!(told["components"][0]["rung"], if kind == "gz" { "tar" } else { "tree" });
        }
        let newer = diff("fraud/detector:1.0", "fraud/detector:1.2");
        let train = newer["components"].as_array().unwrap().iter().find(|c| c["name"] == "train").unwrap();
        assert_eq!(train["change"], "changed", "{newer:#}");
        assert!(paths(train, "added").iter().any(|path| path.ends_with("transactions-2026.csv")), "{train:#}");
        assert!(newer["components"].as_array().unwrap().iter().any(|c| c["role"] == "prompt" && c["change"] == "added"));
        assert!(newer["package"]["changed"]["shown"].as_array().unwrap().iter().any(|c| c["at"] == "/version"), "{newer:#}");
        for other in ["fraud/detector-kit17:1.0", "fraud/detector-kit04:1.0"] {
            let told = diff("fraud/detector:1.0", other);
            for component in told["components"].as_array().unwrap() {
                let change = component["change"].as_str().unwrap();
                assert!(["same", "renamed", "repacked"].contains(&change), "{other}: {told:#}");
            }
        }
        assert_eq!(diff("fraud/detector:1.0", "fraud/detector:1.0")["package"], Value::Null);
        for (query, status) in [("from=fraud/detector:1.0", 400), ("from=a&to=b", 400), ("from=no/such:1&to=no/such:2", 404)] {
            server.api(&format!("/diff?{query}"), status);
        }
        let (said, code) = server.asked(&["diff", "data/customers:2025.10", "data/customers:2025.10-gz"]);
        assert!(code == 1 && said.contains("same contents, repacked"), "{code}: {said}");
        let (said, code) = server.asked(&["diff", "data/customers:2025.10", "data/customers:2025.10"]);
        assert_eq!(code, 0, "{said}");
        let (said, code) = server.asked(&["diff", "data/customers:2025.10", "data/customers:none"]);
        assert_eq!(code, 2, "{said}");
    }

    fn files_that_went_into_archives_are_repacked(server: Server) {
        let mut repository = Repository::new(&server.host, "team/kit");
        let mut push = |tag: &str, files: Vec<(String, Vec<u8>)>| {
            let data = repository.blob("application/vnd.kitops.modelkit.dataset.v1.tar", &tar(files));
            let kitfile = json!({"manifestVersion": "1.0.0", "datasets": [{"name": "train", "path": "d", "digest": data["digest"]}]});
            repository.kit_of(tag, &kitfile, &[data]);
        };
        let file = |name: &str| (format!("d/{name}"), name.as_bytes().to_vec());
        let packed = |name: &str| (format!("d/{name}.gz"), gzip(name.as_bytes()));
        push("plain", vec![file("a"), file("b")]);
        push("packed", vec![packed("a"), packed("b")]);
        push("half", vec![file("a"), packed("b")]);
        push("more", vec![packed("a"), packed("b"), packed("c")]);
        server.api(&format!("/impact?file=sha256:{}&wait=30", "1".repeat(64)), 200);
        let diff = |from: &str, to: &str| server.api(&format!("/diff?from=team/kit:{from}&to=team/kit:{to}"), 200);
        for (from, to, renamed) in [("plain", "packed", vec!["d/a.gz!a", "d/b.gz!b"]), ("packed", "plain", vec!["d/a", "d/b"]), ("packed", "half", vec!["d/a"])] {
            let told = diff(from, to);
            assert_eq!(changes(&told), ["dataset train repacked -"], "{told:#}");
            let train = &told["components"][0];
            assert_eq!((&train["says"], paths(train, "renamed")), (&json!("same contents, repacked"), renamed.into_iter().map(str::to_owned).collect()));
            assert!(paths(train, "added").is_empty() && paths(train, "removed").is_empty(), "{told:#}");
        }
        assert_eq!(changes(&diff("plain", "more")), ["dataset train changed -"]);
    }

    fn an_artifact_is_one_thing_however_its_files_are_spread_over_layers(server: Server) {
        let mut repository = Repository::new(&server.host, "data/set");
        let file = |name: &str| (format!("d/{name}"), name.as_bytes().to_vec());
        let config = repository.blob("application/vnd.oci.empty.v1+json", b"{}");
        let titled = ["a", "b"].map(|name| {
            let mut layer = repository.blob("text/plain", name.as_bytes());
            layer["annotations"] = json!({"org.opencontainers.image.title": format!("d/{name}")});
            layer
        });
        let manifest = json!({"schemaVersion": 2, "mediaType": MANIFEST, "artifactType": "application/vnd.test", "config": config, "layers": titled});
        repository.manifest("files", &manifest);
        repository.artifact("one", &[&tar([file("b"), file("a")])]);
        repository.artifact("two", &[&tar([file("a")]), &tar([file("b")])]);
        repository.artifact("more", &[&tar([file("a")]), &tar([file("b")]), &tar([file("c")])]);
        server.api(&format!("/impact?file=sha256:{}&wait=30", "1".repeat(64)), 200);
        let diff = |from: &str, to: &str| server.api(&format!("/diff?from=data/set:{from}&to=data/set:{to}"), 200);
        for (from, to) in [("files", "one"), ("one", "files"), ("files", "two"), ("two", "one")] {
            let told = diff(from, to);
            let [component] = &told["components"].as_array().unwrap()[..] else { panic!("{told:#}") };
            assert_eq!((&component["change"], &component["rung"]), (&json!("repacked"), &json!("tree")), "{told:#}");
        }
        let told = diff("two", "more");
        assert_eq!((told["components"].as_array().unwrap().len(), paths(&told["components"][0], "added")), (1, vec!["d/c".to_owned()]), "{told:#}");
    }

    fn files_parameters_and_components_are_compared(server: Server) {
        let mut repository = Repository::new(&server.host, "team/kit");
        let mut push = |tag: &str, files: &[(&str, &str)], epochs: u32, datasets: &[&str]| {
            let model = repository.blob("application/vnd.kitops.modelkit.model.v1.raw", b"weights");
            let archive = tar(files.iter().map(|(path, content)| ((*path).to_owned(), content.as_bytes().to_vec())));
            let data = repository.blob("application/vnd.kitops.modelkit.dataset.v1.tar", &archive);
            let dataset = |name: &&str| json!({"name": name, "path": format!("data/{name}"), "digest": data["digest"]});
            let kitfile = json!({
                "manifestVersion": "1.0.0", "package": {"name": "kit", "version": tag},
                "model": {"name": "m", "path": "m.bin", "digest": model["digest"], "parameters": {"training": {"epochs": epochs}}},
                "datasets": datasets.iter().map(dataset).collect::<Vec<_>>(),
            });
            repository.kit_of(tag, &kitfile, &[model, data.clone()]);
        };
        push("1", &[("d/a", "1"), ("d/b", "2"), ("d/c", "3")], 5, &["train", "old"]);
        push("2", &[("d/a", "1"), ("d/b", "two"), ("d/x", "3"), ("d/new", "4")], 6, &["train"]);
        server.api(&format!("/impact?file=sha256:{}&wait=30", "1".repeat(64)), 200);
        let diff = server.api("/diff?from=team/kit:1&to=team/kit:2", 200);
        assert_eq!(changes(&diff), ["model m same layer", "dataset train changed -", "dataset old removed -"]);
        let (model, train) = (&diff["components"][0], &diff["components"][1]);
        let epochs = json!([{"at": "/training/epochs", "from": 5, "to": 6}]);
        assert_eq!(model["parameters"]["changed"]["shown"], epochs);
        assert_eq!(paths(train, "added"), ["d/new"]);
        assert_eq!(paths(train, "changed"), ["d/b"]);
        assert_eq!(paths(train, "renamed"), ["d/x"]);
        assert_eq!((paths(train, "removed").len(), &train["files"]["unchanged"]), (0, &json!(1)));
        let (said, code) = server.asked(&["diff", "team/kit:1", "team/kit:2"]);
        assert!(code == 1 && said.contains("/training/epochs 5 -> 6") && said.contains("+ d/new"), "{code}: {said}");
    }
}
