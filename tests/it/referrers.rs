//! Lists of referrers that are longer than one answer.

use std::process::Command;

use serde_json::{Value, json};

use crate::{
    clients::Bin,
    push::{MANIFEST, Repository},
    sample::sha256,
    server::{Engine, Server, on_both_engines},
    wire::Reply,
};

const SCAN: &str = "application/vnd.test.scan+json";
const NOTE: &str = "application/vnd.test.note; x=\"a b\"";

/// Pushes a subject. What a manifest says of it.
fn subject(repository: &mut Repository) -> Value {
    let digest = repository.artifact("1", &[b"subject"]);
    let size = repository.send("GET", "/manifests/1", &[], b"").expect(200).body.len();
    json!({"mediaType": MANIFEST, "digest": digest, "size": size})
}

/// Pushes a referrer with an annotation. Its digest.
fn refer(repository: &mut Repository, subject: &Value, kind: &str, annotation: &str) -> String {
    let empty = json!({"mediaType": "application/vnd.oci.empty.v1+json", "digest": sha256(b"{}"), "size": 2});
    let manifest = json!({
        "schemaVersion": 2, "mediaType": MANIFEST, "artifactType": kind, "config": empty, "layers": [empty],
        "subject": subject, "annotations": {"note": annotation},
    });
    repository.manifest("", &manifest)
}

/// Every page, from the first query on, as clients follow them.
fn pages(repository: &mut Repository, subject: &Value, query: &str) -> Vec<Reply> {
    let path = format!("/referrers/{}", subject["digest"].as_str().unwrap());
    let (mut pages, mut target) = (Vec::new(), format!("{path}{query}"));
    loop {
        let page = repository.send("GET", &target, &[], b"").expect(200);
        assert!(page.body.len() < 4 << 20, "clients read no more than 4 MiB");
        let next = page.header("link").map(|link| {
            let link = link.strip_prefix('<').unwrap().strip_suffix(">; rel=\"next\"").unwrap();
            link[link.find("/referrers/").unwrap()..].to_owned()
        });
        pages.push(page);
        match next {
            Some(next) => target = next,
            None => return pages,
        }
    }
}

fn descriptors(page: &Reply) -> Vec<Value> {
    serde_json::from_slice::<Value>(&page.body).unwrap()["manifests"].as_array().unwrap().clone()
}

fn digests(pages: &[Reply]) -> Vec<String> {
    let all = pages.iter().flat_map(descriptors);
    all.map(|descriptor| descriptor["digest"].as_str().unwrap().to_owned()).collect()
}

on_both_engines! {
    fn pages_are_the_whole_list(server: Server) {
        let mut repository = Repository::new(&server.host, "team/subject");
        let subject = subject(&mut repository);
        let (mut all, mut notes) = (Vec::new(), Vec::new());
        for number in 0..510 {
            let kind = if number % 3 == 0 { NOTE } else { SCAN };
            let digest = refer(&mut repository, &subject, kind, &number.to_string());
            if kind == NOTE { notes.push(digest.clone()); }
            all.push(digest);
        }
        let found = pages(&mut repository, &subject, "");
        assert_eq!(found.iter().map(|page| descriptors(page).len()).collect::<Vec<_>>(), [500, 10]);
        assert_eq!(digests(&found), all, "in the order of their pushes");
        assert_eq!(descriptors(&found[1])[9]["annotations"]["note"], "509");

        // The filter goes with the Link, whatever is in it, and counts before the page is cut.
        let query = "?artifactType=application%2Fvnd.test.note%3B%20x%3D%22a%20b%22";
        let found = pages(&mut repository, &subject, &format!("{query}&n=100"));
        assert_eq!(found.iter().map(|page| descriptors(page).len()).collect::<Vec<_>>(), [100, 70]);
        assert_eq!(digests(&found), notes);
        for page in &found {
            assert_eq!(page.header("oci-filters-applied"), Some("artifactType"));
        }
        let none = pages(&mut repository, &subject, "?artifactType=application/vnd.none");
        assert!(none.len() == 1 && digests(&none).is_empty());

        // What is deleted between two pages is missing, and nothing else.
        let path = format!("/referrers/{}", subject["digest"].as_str().unwrap());
        let first = repository.send("GET", &format!("{path}?n=2"), &[], b"").expect(200);
        let link = first.header("link").unwrap().to_owned();
        repository.delete(&all[1]);
        repository.delete(&all[2]);
        let next = &link[link.find("/referrers/").unwrap()..link.find('>').unwrap()];
        let second = repository.send("GET", next, &[], b"").expect(200);
        assert_eq!(digests(&[second]), all[3..5]);

        for nonsense in ["?last=x", "?n=x", "?last=-1", "?n=99999999999999999999"] {
            repository.send("GET", &format!("{path}{nonsense}"), &[], b"").expect(400);
        }
        // Numbers that make no sense are no error: nothing comes after the end, and a page has something on it.
        let end = repository.send("GET", &format!("{path}?last=18446744073709551615"), &[], b"").expect(200);
        assert!(descriptors(&end).is_empty() && end.header("link").is_none());
        let one = repository.send("GET", &format!("{path}?n=0"), &[], b"").expect(200);
        assert_eq!(descriptors(&one).len(), 1);
    }

    fn large_annotations_make_small_pages(server: Server) {
        let mut repository = Repository::new(&server.host, "team/large");
        let large = subject(&mut repository);
        let all: Vec<_> = (0..30)
            .map(|number| refer(&mut repository, &large, SCAN, &format!("{number} {}", "ü".repeat(100_000))))
            .collect();
        let found = pages(&mut repository, &large, "");
        assert!(found.len() > 3, "six megabytes in {} pages", found.len());
        assert_eq!(digests(&found), all);
        // One that is larger than a page is a page.
        let mut repository = Repository::new(&server.host, "team/larger");
        let subject = subject(&mut repository);
        let all: Vec<_> = (0..2)
            .map(|number| refer(&mut repository, &subject, SCAN, &format!("{number} {}", "x".repeat(3 << 20))))
            .collect();
        let found = pages(&mut repository, &subject, "");
        assert!(found.len() == 2 && digests(&found) == all);
    }
}

#[test]
fn clients_follow_the_pages() {
    let Some(server) = Server::start(Engine::Sqlite) else { return };
    let mut repository = Repository::new(&server.host, "team/followed");
    let subject = subject(&mut repository);
    for number in 0..600 {
        refer(&mut repository, &subject, if number % 2 == 0 { SCAN } else { NOTE }, &number.to_string());
    }
    let home = tempfile::tempdir().unwrap();
    let run = |bin: &Bin, arguments: &str| {
        let mut command = Command::new(bin.path());
        command.args(arguments.split_whitespace()).env("HOME", home.path()).env("DOCKER_CONFIG", home.path());
        let output = command.output().unwrap();
        assert!(output.status.success(), "{arguments}\n{}", String::from_utf8_lossy(&output.stderr));
        output.stdout
    };
    let reference = format!("{}/team/followed:1", server.host);
    if let Some(oras) = Bin::wanted("oras") {
        let ask = |more: &str| {
            let found = run(&oras, &format!("discover --plain-http --format json {more} {reference}"));
            serde_json::from_slice::<Value>(&found).unwrap()["referrers"].as_array().unwrap().len()
        };
        assert_eq!(ask("--distribution-spec v1.1-referrers-api"), 600);
        assert_eq!(ask(&format!("--artifact-type {SCAN}")), 300);
    }
    if let Some(regctl) = Bin::wanted("regctl") {
        run(&regctl, &format!("registry set --tls disabled {}", server.host));
        let found = run(&regctl, &format!("artifact list {reference} --format raw-body"));
        let list = serde_json::from_slice::<Value>(&found).unwrap();
        assert_eq!(list["manifests"].as_array().unwrap().len(), 600);
    }
}
