//! Files by the names that others have for them: DVC by their MD5, Git LFS by their SHA-256.

use std::{thread, time::Duration};

use serde_json::{Value, json};

use crate::{
    events::post,
    push::{Repository, holders, models},
    sample::{sha256, tar},
    server::{Server, on_both_engines},
    wire::Wire,
};

/// The MD5 of `leaked`, as `md5sum` has it.
const MD5: &str = "0bd1fc5603c66274f08b1e487812a0be";

/// Asks until nothing is outdated any more.
fn settled(server: &Server, question: &str) -> Value {
    for _ in 0..300 {
        let answer = server.api(question, 200);
        if answer["completeness"]["layers"]["outdated"] == 0 && answer["completeness"]["layers"]["pending"] == 0 {
            return answer;
        }
        thread::sleep(Duration::from_millis(100));
    }
    panic!("the layers are not scanned again");
}

/// (repository, distance, grade) of whoever is affected.
fn affected(answer: &Value) -> Vec<(String, u64, String)> {
    models(answer).into_iter().map(|(name, _, distance, grade)| (name, distance, grade)).collect()
}

fn row(name: &str, distance: u64, grade: &str) -> (String, u64, String) {
    (name.into(), distance, grade.into())
}

/// Pushes a model that shares nothing with any other.
fn model(server: &Server, name: &str) {
    Repository::new(&server.host, name).kit("1", name.as_bytes(), format!("data of {name}").as_bytes());
}

on_both_engines! {
    fn a_file_is_what_dvc_calls_by_its_md5(server: Server) {
        let mut server = server;
        let [by_md5, by_file] = [format!("/impact?external=dvc:md5:{MD5}"), format!("/impact?file={}", sha256(b"leaked"))];
        Repository::new(&server.host, "t/holder").kit("1", b"weights", b"leaked");
        let files = [("a/train.csv".to_owned(), b"leaked".to_vec()), ("b.csv".to_owned(), b"other".to_vec())];
        Repository::new(&server.host, "t/plain").artifact("1", &[&tar(files)]);
        // One that only says so, and one that is made from it.
        model(&server, "t/says");
        let says = json!({"subject": "t/says:1", "relation": "trained_on", "target": format!("DVC:md5:{}", MD5.to_uppercase())});
        post(&server, "/claims", &says, 201);
        Repository::new(&server.host, "t/child").child("1", "localhost:5000/t/says:1");

        // Nobody has computed an MD5: only what is said is known.
        let answer = settled(&server, &format!("{by_md5}&wait=30"));
        let said = [row("t/says", 0, "declared"), row("t/child", 1, "declared")];
        assert_eq!(affected(&answer), said, "{answer:#}");
        assert_eq!(affected(&server.api(&by_file, 200)), [row("t/holder", 0, "packaged")]);
        let files = |server: &Server| server.api(&format!("/files?md5={MD5}"), 200)["files"].as_array().unwrap().len();
        assert_eq!(files(&server), 0);
        assert_eq!(server.count("select count(*) from file_md5"), 0, "it takes no room unless it is wanted");

        // Wanted later, what was scanned before is scanned again.
        server.restart_with("PEDIGREE_SCAN_MD5", "true");
        let answer = settled(&server, &by_md5);
        let all = [row("t/holder", 0, "packaged"), row("t/says", 0, "declared"), row("t/child", 1, "declared")];
        assert_eq!(affected(&answer), all, "{answer:#}");
        assert_eq!(holders(&answer), ["t/plain"]);
        assert_eq!(answer["query"]["external"], format!("dvc:md5:{MD5}"));
        let evidence = &answer["models"][0]["evidence"][0];
        assert_eq!((&evidence["md5"], &evidence["file"]), (&MD5.into(), &sha256(b"leaked").into()));
        assert_eq!((&evidence["path"], &evidence["component"]["name"]), (&"train.csv".into(), &"train".into()));
        assert_eq!(answer["holders"][0]["evidence"][0]["path"], "a/train.csv");
        let says = &answer["models"][1]["evidence"][0];
        assert_eq!((&says["edge"], &says["external"]), (&"trained_on".into(), &format!("dvc:md5:{MD5}").into()));
        assert!(says.get("md5").is_none(), "that is said, and needs no join");
        // Asked about as the file, it is used by that name, too.
        let answer = server.api(&by_file, 200);
        assert_eq!(affected(&answer), all, "{answer:#}");
        assert!(answer["models"][0]["evidence"][0].get("md5").is_none());
        for question in [&by_md5, &by_file] {
            let page = server.api(&format!("{question}&limit=1"), 200);
            let next = page["next"].as_str().unwrap();
            let second = server.api(&format!("{question}&limit=1&cursor={next}"), 200);
            let last = server.api(&format!("{question}&limit=1&cursor={}", second["next"].as_str().unwrap()), 200);
            let pages: Vec<_> = [&page, &second, &last].into_iter().flat_map(affected).collect();
            assert_eq!((pages, &last["next"]), (all.to_vec(), &Value::Null));
            let lines = Wire::new(&server.host).get(&format!("/api/v1{question}"), "application/x-ndjson").expect(200);
            let lines = String::from_utf8(lines.body).unwrap();
            assert_eq!(lines.lines().last(), Some(r#"{"models":3}"#), "{lines}");
            assert!(affected(&server.api(&format!("{question}&rung=layer"), 200)).len() < 3);
        }
        assert_eq!(files(&server), 2);
        let (text, code) = server.asked(&["impact", "--external", &format!("dvc:md5:{MD5}")]);
        assert!(text.contains("the same file by its MD5") && code == 1, "{text}");
        // Not a file, and no MD5.
        let folder = server.api(&format!("{by_md5}.dir"), 200);
        assert!(affected(&folder).is_empty(), "{folder:#}");
        for wrong in ["md5=0bd1", "md5=x", &format!("md5={MD5}.dir"), &format!("md5={MD5}&name=a")] {
            server.api(&format!("/files?{wrong}"), 400);
        }
        // Not wanted any more, what is known stays, and is not outdated.
        server.restart_with("PEDIGREE_SCAN_MD5", "false");
        assert_eq!(affected(&settled(&server, &by_md5)), all);
    }

    fn a_file_is_what_lfs_calls_by_its_sha256(server: Server) {
        let hash = sha256(b"leaked");
        let id = format!("lfs:{hash}");
        let url = format!("https://git.example.com/a/b.git/info/lfs/objects/{}", &hash[7..]);
        Repository::new(&server.host, "t/holder").kit("1", b"weights", b"leaked");
        for (name, target) in [("t/by-id", &id), ("t/by-url", &url)] {
            model(&server, name);
            post(&server, "/claims", &json!({"subject": format!("{name}:1"), "relation": "trained_on", "target": target}), 201);
        }
        let all = [row("t/by-id", 0, "declared"), row("t/by-url", 0, "declared"), row("t/holder", 0, "packaged")];
        let by_file = server.api(&format!("/impact?file={hash}&wait=30"), 200);
        assert_eq!(affected(&by_file), all, "{by_file:#}");
        for name in [&id, &url, &hash, &format!("oid%20{hash}")] {
            let answer = server.api(&format!("/impact?external={name}"), 200);
            assert_eq!(answer["models"], by_file["models"], "{name}");
            let lineage = server.api(&format!("/lineage?external={name}&direction=descendants"), 200);
            assert_eq!(lineage["all_edges"], 2, "{lineage:#}");
        }
        server.api(&format!("/impact?external=sha512:{}", "0".repeat(128)), 400);
    }
}
