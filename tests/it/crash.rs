//! Power cuts, races and bodies that break off: what was acknowledged is there, and nothing dangles.

use std::{
    io::{Read as _, Write as _},
    net::TcpStream,
    path::{Path, PathBuf},
    thread,
    time::{Duration, Instant},
};

use crate::{
    push::{MANIFEST, Repository},
    sample::{Content, sha256},
    server::{Server, on_both_engines},
};

const MIB: usize = 1 << 20;

on_both_engines! {
    fn a_killed_server_has_everything_it_acknowledged(server: Server) {
        let mut repository = Repository::new(&server.host, "team/large");
        let small: Vec<_> = (0..20_u8).map(|n| repository.blob("", &[n; 1000])["digest"].clone()).collect();
        let kit = repository.kit("1.0", b"weights", b"data");
        let started = repository.send("POST", "/blobs/uploads/", &[], b"").expect(202);
        let location = started.header("location").unwrap().to_owned();
        // One chunk that is acknowledged, then one that the kill interrupts.
        let content = Content::new(7, 200 * MIB);
        let path = location.strip_prefix("/v2/team/large").unwrap().to_owned();
        let first: Vec<u8> = content.pieces(0..40 * MIB).flatten().collect();
        repository.send("PATCH", &path, &[], &first).expect(202);
        let host = server.host.clone();
        let pushing = thread::spawn(move || {
            let mut stream = TcpStream::connect(&host).unwrap();
            let head = format!("PATCH {location} HTTP/1.1\r\nHost: {host}\r\nContent-Length: {}\r\n\r\n", 160 * MIB);
            stream.write_all(head.as_bytes()).unwrap();
            let content = Content::new(7, 200 * MIB);
            content.pieces(40 * MIB..200 * MIB).map(|piece| stream.write_all(&piece)).take_while(Result::is_ok).count()
        });
        // Kill it in the middle: when half of the rest is on disk.
        let objects = server.data().join("objects");
        let start = Instant::now();
        while size_of(&objects) < 100 * MIB as u64 {
            assert!(start.elapsed() < Duration::from_secs(60), "the push makes no progress");
            thread::sleep(Duration::from_millis(2));
        }
        let mut server = server;
        server.kill();
        server.restart(&[]);
        assert!(pushing.join().unwrap() < 160, "the kill came in the middle of the push");

        let mut repository = Repository::new(&server.host, "team/large");
        for digest in &small {
            let digest = digest.as_str().unwrap();
            let bytes = repository.send("GET", &format!("/blobs/{digest}"), &[], b"").expect(200).body;
            assert_eq!(sha256(&bytes), digest);
        }
        repository.send("GET", &format!("/manifests/{kit}"), &[], b"").expect(200);
        // The upload goes on behind what was acknowledged.
        let status = repository.send("GET", &path, &[], b"").expect(204);
        assert_eq!(status.header("range"), Some(format!("0-{}", 40 * MIB - 1).as_str()));
        let rest: Vec<u8> = content.pieces(40 * MIB..200 * MIB).flatten().collect();
        let range = format!("{}-{}", 40 * MIB, 200 * MIB - 1);
        repository.send("PATCH", &path, &[("Content-Range", &range)], &rest).expect(202);
        let digest = content.digest();
        repository.send("PUT", &format!("{path}&digest={digest}"), &[], b"").expect(201);
        let back = repository.send("GET", &format!("/blobs/{digest}"), &[], b"").expect(200);
        assert!(content.matches(0..content.size(), &back.body));
        // The check at the end of the test finds nothing that dangles and nothing untracked.
    }

    fn a_body_that_breaks_off_can_be_continued_at_once(server: Server) {
        let mut repository = Repository::new(&server.host, "team/broken");
        let started = repository.send("POST", "/blobs/uploads/", &[], b"").expect(202);
        let location = started.header("location").unwrap().to_owned();
        let content = Content::new(9, 4 * MIB);
        let bytes = content.to_vec();
        let mut stream = TcpStream::connect(&server.host).unwrap();
        let head =
            format!("PATCH {location} HTTP/1.1\r\nHost: {}\r\nContent-Length: {}\r\n\r\n", server.host, bytes.len());
        stream.write_all(head.as_bytes()).unwrap();
        stream.write_all(&bytes[..3 * MIB]).unwrap();
        stream.shutdown(std::net::Shutdown::Write).unwrap();
        let _ = stream.read_to_end(&mut Vec::new());
        let path = location.strip_prefix("/v2/team/broken").unwrap();
        let start = Instant::now();
        let received = loop {
            let status = repository.send("GET", path, &[], b"").expect(204);
            let last: usize = status.header("range").unwrap().split_once('-').unwrap().1.parse().unwrap();
            if last > 0 {
                break last + 1;
            }
            assert!(start.elapsed() < Duration::from_secs(20), "what came before the break is not kept");
            thread::sleep(Duration::from_millis(20));
        };
        let range = format!("{received}-{}", bytes.len() - 1);
        let rest = repository.send("PATCH", path, &[("Content-Range", &range)], &bytes[received..]);
        rest.expect(202);
        repository.send("PUT", &format!("{path}&digest={}", sha256(&bytes)), &[], b"").expect(201);
        assert_eq!(repository.send("GET", &format!("/blobs/{}", sha256(&bytes)), &[], b"").expect(200).body, bytes);
    }

    fn a_blob_that_is_needed_cannot_be_deleted(server: Server) {
        let mut repository = Repository::new(&server.host, "team/needed");
        let digest = repository.artifact("1", &[b"needed"]);
        let blob = format!("/blobs/{}", sha256(b"needed"));
        let refused = repository.send("DELETE", &blob, &[], b"").expect(405);
        assert!(String::from_utf8(refused.body).unwrap().contains(&digest), "it says which manifest needs it");
        repository.delete(&digest);
        repository.send("DELETE", &blob, &[], b"").expect(202);
        repository.send("GET", &blob, &[], b"").expect(404);
        let manifest = serde_json::json!({"schemaVersion": 2, "mediaType": MANIFEST, "layers": [
            {"mediaType": "", "digest": sha256(b"needed"), "size": 6}], "config": repository.blob("", b"{}")});
        let body = manifest.to_string();
        repository.send("PUT", "/manifests/2", &[("Content-Type", MANIFEST)], body.as_bytes()).expect(404);
    }

    fn a_lost_object_is_healed_by_a_push(server: Server) {
        let mut repository = Repository::new(&server.host, "team/lost");
        repository.artifact("1", &[b"once lost, now found"]);
        let blob = format!("/blobs/{}", sha256(b"once lost, now found"));
        for object in files(&server.data().join("objects")) {
            if std::fs::read(&object).unwrap() == b"once lost, now found" {
                std::fs::remove_file(object).unwrap();
            }
        }
        repository.send("GET", &blob, &[], b"").expect(500);
        let found = server.beside(&["check"]).output().unwrap();
        assert_eq!(found.status.code(), Some(1));
        assert!(String::from_utf8(found.stdout).unwrap().contains("has lost its object"));
        repository.blob("", b"once lost, now found");
        assert_eq!(repository.send("GET", &blob, &[], b"").expect(200).body, b"once lost, now found");
    }

    fn two_pushes_of_the_same_blobs_lose_nothing(server: Server) {
        // Many rounds, each with an interleaving of its own: both pushers start together and differ in what they do next.
        let rounds = 24_u8;
        let push = |pusher: usize| {
            let host = server.host.clone();
            move || {
                for round in 0..rounds {
                    let mut repository = Repository::new(&host, &format!("race/r{}", usize::from(round) % 2 * pusher));
                    let blobs: Vec<Vec<u8>> = (0..6_u8).map(|n| vec![n ^ round; 3000 + usize::from(n)]).collect();
                    let mut order: Vec<usize> = (0..6).collect();
                    order.rotate_left((usize::from(round) + pusher * 3) % 6);
                    for &n in &order {
                        if (n + usize::from(round) + pusher).is_multiple_of(3) {
                            chunked(&mut repository, &blobs[n]);
                        } else {
                            repository.blob("", &blobs[n]);
                        }
                    }
                    let layers: Vec<&[u8]> = blobs.iter().map(Vec::as_slice).collect();
                    let digest = repository.artifact(&format!("round{round}"), &layers);
                    if (usize::from(round) + pusher).is_multiple_of(4) {
                        // The other pusher may have deleted it already.
                        let gone = repository.send("DELETE", &format!("/manifests/{digest}"), &[], b"");
                        assert!(matches!(gone.status, 202 | 404), "{gone:?}");
                        repository.artifact(&format!("round{round}"), &layers);
                    }
                }
            }
        };
        thread::scope(|scope| {
            let pushers: Vec<_> = (0..3).map(|pusher| scope.spawn(push(pusher))).collect();
            pushers.into_iter().for_each(|pusher| pusher.join().unwrap());
        });
        for repository in ["race/r0", "race/r1", "race/r2"] {
            let mut repository = Repository::new(&server.host, repository);
            let tags = repository.send("GET", "/tags/list", &[], b"").expect(200);
            let tags: serde_json::Value = serde_json::from_slice(&tags.body).unwrap();
            for tag in tags["tags"].as_array().unwrap() {
                let path = format!("/manifests/{}", tag.as_str().unwrap());
                let manifest = repository.send("GET", &path, &[("Accept", MANIFEST)], b"").expect(200);
                let manifest: serde_json::Value = serde_json::from_slice(&manifest.body).unwrap();
                for layer in manifest["layers"].as_array().unwrap() {
                    let digest = layer["digest"].as_str().unwrap();
                    let bytes = repository.send("GET", &format!("/blobs/{digest}"), &[], b"").expect(200).body;
                    assert_eq!(sha256(&bytes), digest);
                }
            }
        }
    }
}

/// Uploads a blob as POST, two PATCHes and a PUT.
fn chunked(repository: &mut Repository, bytes: &[u8]) {
    let started = repository.send("POST", "/blobs/uploads/", &[], b"").expect(202);
    let location = started.header("location").unwrap().to_owned();
    let path = &location[location.find("/blobs/").unwrap()..];
    let half = bytes.len() / 2;
    repository.send("PATCH", path, &[("Content-Range", &format!("0-{}", half - 1))], &bytes[..half]).expect(202);
    repository.send("PATCH", path, &[], &bytes[half..]).expect(202);
    repository.send("PUT", &format!("{path}&digest={}", sha256(bytes)), &[], b"").expect(201);
}

/// The files below a folder.
pub(crate) fn files(folder: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    entries.flat_map(|entry| if entry.path().is_dir() { files(&entry.path()) } else { vec![entry.path()] }).collect()
}

/// The bytes of all files below a folder.
pub(crate) fn size_of(folder: &Path) -> u64 {
    files(folder).iter().filter_map(|file| file.metadata().ok()).map(|metadata| metadata.len()).sum()
}
