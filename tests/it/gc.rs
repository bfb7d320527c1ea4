//! Garbage collection beside a running server: what nobody needs goes, what somebody needs stays, and what is known is kept.

use std::{
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::Duration,
};

use serde_json::{Value, json};

use crate::{
    push::{MANIFEST, Repository, models},
    sample::sha256,
    server::{Server, on_every_store},
};

/// Collects what nobody needs at this very moment.
fn collect(server: &Server, flags: &[&str]) -> Value {
    let output = server.beside(&[&["gc", "--grace", "0", "--json"], flags].concat()).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap()
}

on_every_store! {
    fn evidence_outlives_data(server: Server) {
        let mut repository = Repository::new(&server.host, "team/kit");
        let old = repository.kit("1", b"old weights", b"leaked data");
        repository.kit("2", b"new weights", b"other data");
        Repository::new(&server.host, "team/copy").artifact("1", &[b"other data"]);
        let question = format!("/impact?file={}&wait=30", sha256(b"leaked data"));
        server.api(&question, 200);
        repository.delete(&old);

        let counted = collect(&server, &["--dry-run"]);
        assert_eq!(counted["blobs"], 3, "config, model and dataset of the old kit: {counted}");
        let blob = |bytes: &[u8]| format!("/blobs/{}", sha256(bytes));
        repository.send("GET", &blob(b"old weights"), &[], b"").expect(200);
        let collected = collect(&server, &[]);
        assert_eq!(collected, json!({"manifests": 0, "blobs": 3, "bytes": counted["bytes"]}));
        for gone in [b"old weights".as_slice(), b"leaked data"] {
            repository.send("HEAD", &blob(gone), &[], b"").expect(404);
        }
        for stays in [b"new weights".as_slice(), b"other data"] {
            assert_eq!(repository.send("GET", &blob(stays), &[], b"").expect(200).body, stays);
        }
        assert_eq!(collect(&server, &[])["blobs"], 0);

        let answer = server.api(&question, 200);
        assert_eq!(models(&answer).len(), 1, "what is known is kept");
        assert_eq!(answer["models"][0]["state"], "deleted");
        assert_eq!(answer["models"][0]["evidence"][0]["path"], "train.csv");
        assert_eq!(answer["completeness"]["exact"], true);
        // It comes back as if it were new, and is known at once.
        repository.kit("3", b"old weights", b"leaked data");
        let answer = server.api(&question, 200);
        assert_eq!(models(&answer)[0].1, "3");
    }

    fn pushes_lose_nothing_to_a_collector(server: Server) {
        let done = AtomicBool::new(false);
        thread::scope(|scope| {
            let collector = scope.spawn(|| {
                let mut runs = 0;
                while !done.load(Ordering::SeqCst) {
                    collect(&server, &[]);
                    runs += 1;
                    thread::sleep(Duration::from_millis(100));
                }
                runs
            });
            let pushers: Vec<_> = (0..2_u8).map(|pusher| {
                let host = &server.host;
                scope.spawn(move || {
                    let mut repository = Repository::new(host, &format!("soak/r{pusher}"));
                    for round in 0..30_u8 {
                        let blobs: Vec<Vec<u8>> = (0..4_u8).map(|n| vec![n ^ (round % 8); 2000]).collect();
                        let digest = push(&mut repository, &format!("t{}", round % 5), &blobs);
                        if round % 3 == 0 {
                            repository.delete(&digest);
                        }
                    }
                })
            }).collect();
            let pushed: Vec<_> = pushers.into_iter().map(|pusher| pusher.join()).collect();
            // The collector ends also when a push has failed.
            done.store(true, Ordering::SeqCst);
            pushed.into_iter().for_each(|pushed| pushed.unwrap());
            assert!(collector.join().unwrap() > 3);
        });
        let pulled: usize = (0..2).map(|pusher| pull_everything(&server, &format!("soak/r{pusher}"))).sum();
        assert!(pulled > 0);
        collect(&server, &[]);
        assert_eq!((0..2).map(|pusher| pull_everything(&server, &format!("soak/r{pusher}"))).sum::<usize>(), pulled);
    }
}

/// Pushes as a client would that tries again: with no grace at all, a blob may go before its manifest comes.
fn push(repository: &mut Repository, tag: &str, blobs: &[Vec<u8>]) -> String {
    for _ in 0..200 {
        let config = repository.blob("application/vnd.oci.empty.v1+json", b"{}");
        let layers: Vec<_> = blobs.iter().map(|bytes| repository.blob("application/vnd.test", bytes)).collect();
        let manifest =
            json!({"schemaVersion": 2, "mediaType": MANIFEST, "config": config, "layers": layers}).to_string();
        let path = format!("/manifests/{tag}");
        let reply = repository.send("PUT", &path, &[("Content-Type", MANIFEST)], manifest.as_bytes());
        match reply.status {
            201 => return sha256(manifest.as_bytes()),
            404 => {}
            _ => panic!("{reply:?}"),
        }
    }
    panic!("the collector never lets a push through");
}

/// Pulls every tag with all its blobs. How many blobs that were.
fn pull_everything(server: &Server, name: &str) -> usize {
    let mut repository = Repository::new(&server.host, name);
    let tags: Value = serde_json::from_slice(&repository.send("GET", "/tags/list", &[], b"").expect(200).body).unwrap();
    let mut blobs = 0;
    for tag in tags["tags"].as_array().unwrap() {
        let manifest = repository.send("GET", &format!("/manifests/{}", tag.as_str().unwrap()), &[], b"").expect(200);
        let manifest: Value = serde_json::from_slice(&manifest.body).unwrap();
        for layer in manifest["layers"].as_array().unwrap() {
            let digest = layer["digest"].as_str().unwrap();
            let bytes = repository.send("GET", &format!("/blobs/{digest}"), &[], b"").expect(200).body;
            assert_eq!(sha256(&bytes), digest);
            blobs += 1;
        }
    }
    blobs
}
