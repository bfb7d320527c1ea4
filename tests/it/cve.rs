//! Classes of mistakes for which other registries have been given a CVE, as far as this one has what they were made in.

use std::{
    net::TcpListener,
    thread::sleep,
    time::{Duration, Instant},
};

use serde_json::{Value, json};

use crate::{
    push::{INDEX, KIT, MANIFEST, Repository},
    sample::sha256,
    server::{Server, on_both_engines},
    wire::Wire,
};

/// A token that names its own key, and one without a signature (CVE-2025-24976): `{"alg":"ES256","jwk":{…}}` and
/// `{"alg":"none"}`, each granting everything.
const TOKENS: [&str; 2] = [
    "Bearer eyJhbGciOiJFUzI1NiIsImp3ayI6eyJrdHkiOiJFQyIsImtpZCI6IngifX0.eyJhY2Nlc3MiOlt7InR5cGUiOiJyZXBvc2l0b3J5IiwibmFtZSI6Ii\
     oiLCJhY3Rpb25zIjpbIioiXX1dfQ.AAAA",
    "Bearer eyJhbGciOiJub25lIn0.eyJhY2Nlc3MiOlt7InR5cGUiOiJyZXBvc2l0b3J5IiwibmFtZSI6IioiLCJhY3Rpb25zIjpbIioiXX1dfQ.",
];

on_both_engines! {
    /// CVE-2026-35172: a cache of descriptors gave back what had been deleted, as soon as it was pushed elsewhere.
    fn what_was_deleted_stays_deleted(server: Server) {
        let mut here = Repository::new(&server.host, "team/here");
        let manifest = here.artifact("1", &[b"secret"]);
        let blob = format!("/blobs/{}", sha256(b"secret"));
        let loose = here.blob("", b"in no manifest");
        let loose_blob = format!("/blobs/{}", loose["digest"].as_str().unwrap());
        for path in [&blob, &loose_blob, "/manifests/1"] {
            here.send("GET", path, &[], b"").expect(200);
        }
        here.delete(&manifest);
        here.send("DELETE", &blob, &[], b"").expect(202);
        here.send("DELETE", &loose_blob, &[], b"").expect(202);

        let gone = |repository: &mut Repository| {
            for path in [&blob, &loose_blob, &format!("/manifests/{manifest}"), "/manifests/1"] {
                for method in ["GET", "HEAD"] {
                    repository.send(method, path, &[], b"").expect(404);
                }
                repository.send("GET", path, &[("Range", "bytes=0-0")], b"").expect(404);
            }
            let tags = repository.send("GET", "/tags/list", &[], b"").expect(200);
            assert_eq!(serde_json::from_slice::<Value>(&tags.body).unwrap()["tags"], json!([]));
        };
        gone(&mut here);
        // The same bytes and the same manifest in another repository, read there, and mounted into a third.
        let mut there = Repository::new(&server.host, "team/there");
        there.artifact("1", &[b"secret", b"in no manifest"]);
        assert_eq!(there.artifact("2", &[b"secret"]), manifest);
        there.send("GET", &blob, &[], b"").expect(200);
        there.send("GET", &format!("/manifests/{manifest}"), &[], b"").expect(200);
        let mount = format!("/blobs/uploads/?mount={}&from=team/there", sha256(b"secret"));
        Repository::new(&server.host, "team/third").send("POST", &mount, &[], b"").expect(201);
        gone(&mut here);
        let mut server = server;
        server.kill();
        server.restart(&[]);
        gone(&mut Repository::new(&server.host, "team/here"));
    }

    /// CVE-2026-41888: deletion was off, and tags could be deleted all the same. Whoever may only read writes nothing, by no
    /// route and with no token of their own making.
    fn who_may_only_read_changes_nothing(server: Server) {
        let mut server = server;
        let mut repository = Repository::new(&server.host, "team/kept");
        let manifest = repository.artifact("1", &[b"kept"]);
        let payload = repository.send("GET", "/manifests/1", &[], b"").expect(200).body;
        let started = repository.send("POST", "/blobs/uploads/", &[], b"").expect(202);
        let location = started.header("location").unwrap();
        // The address of an upload entitles to go on with that one. Without what it says so with, or with that changed, it
        // is an upload like any other.
        let (upload, state) = location[location.find("/blobs").unwrap()..].split_once('?').unwrap();
        let (upload, state) = (upload.to_owned(), state.to_owned());
        server.terminate();
        server.wait();
        server.restart(&["--anonymous", "pull"]);
        let mut repository = Repository::new(&server.host, "team/kept");
        let digest = sha256(b"kept");
        let (finish, finish_at_once) = (format!("{upload}?digest={digest}"), format!("/blobs/uploads/?digest={digest}"));
        let (by_digest, blob) = (format!("/manifests/{manifest}"), format!("/blobs/{digest}"));
        let mount = format!("/blobs/uploads/?mount={digest}&from=team/kept");
        let writes = [
            ("DELETE", "/manifests/1"), ("DELETE", &by_digest), ("DELETE", &blob), ("DELETE", &upload),
            ("PUT", "/manifests/1"), ("PUT", "/manifests/2?tag=3"), ("PUT", &by_digest), ("POST", "/blobs/uploads/"),
            ("POST", &finish_at_once), ("POST", &mount), ("PATCH", &upload), ("PUT", &finish),
        ];
        let tokens = TOKENS.map(|token| ("Authorization", token));
        for (method, path) in writes {
            for more in [&[][..], &tokens[..1], &tokens[1..], &[("Authorization", "Basic YWRtaW46YWRtaW4=")]] {
                let headers = [more, &[("Content-Type", MANIFEST), ("X-HTTP-Method-Override", "GET")]].concat();
                let refused = repository.send(method, path, &headers, &payload).expect(403);
                let problem: Value = serde_json::from_slice(&refused.body).unwrap();
                assert_eq!(problem["errors"][0]["code"], "DENIED", "{method} {path}");
            }
        }
        let (head, tag) = state.rsplit_once('.').unwrap();
        let (key, until) = head.rsplit_once('.').unwrap();
        let (other_tag, later) = (tag.chars().rev().collect::<String>(), until.parse::<u64>().unwrap() + 1);
        let forged = [
            String::new(), "_state=".into(), "_state=x".into(), format!("{head}.{other_tag}"), format!("{head}."),
            format!("{key}.{later}.{tag}"), format!("_state=99999.{until}.{tag}"),
        ];
        for forged in &forged {
            assert_ne!(forged, &state);
            repository.send("PATCH", &format!("{upload}?{forged}"), &[], b"kept").expect(403);
        }
        let mut other = Repository::new(&server.host, "team/other");
        other.send("PATCH", &format!("{upload}?{state}"), &[], b"kept").expect(403);
        repository.send("DELETE", &format!("{upload}?{state}"), &[], b"").expect(204);
        repository.send("GET", "/manifests/1", &[("X-HTTP-Method-Override", "DELETE")], b"").expect(200);
        for path in [&by_digest, &blob, "/manifests/1", "/tags/list"] {
            repository.send("GET", path, &[], b"").expect(200);
        }
        repository.send("GET", "/manifests/2", &[], b"").expect(404);
        server.terminate();
        server.wait();
        server.restart(&[]);
    }

    /// CVE-2026-33540, and requests forged by servers at large: nothing that is pushed makes this one call anybody.
    fn nothing_that_is_pushed_is_called(server: Server) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        listener.set_nonblocking(true).unwrap();
        let trap = listener.local_addr().unwrap();
        let mut repository = Repository::new(&server.host, "team/trap");
        let config = json!({
            "manifestVersion": "1.0.0", "package": {"name": "trap", "license": format!("http://{trap}/licence")},
            "model": {"name": "m", "path": format!("{trap}/team/base:1")},
            "datasets": [{"name": "d", "path": "d", "remotePath": format!("http://{trap}/data")}],
        });
        let mut foreign = repository.blob("application/vnd.docker.image.rootfs.foreign.diff.tar.gzip", b"foreign");
        foreign["urls"] = json!([format!("http://{trap}/layer")]);
        // One that is not here at all, only at its address.
        let absent = json!({
            "mediaType": "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip", "digest": sha256(b"absent"), "size": 6,
            "urls": [format!("http://{trap}/absent")],
        });
        let config = repository.blob("application/vnd.kitops.modelkit.config.v1+json", config.to_string().as_bytes());
        let manifest = json!({
            "schemaVersion": 2, "mediaType": MANIFEST, "artifactType": KIT, "config": config,
            "layers": [foreign, absent], "annotations": {"org.opencontainers.image.source": format!("http://{trap}/source")},
        });
        repository.manifest("1", &manifest);
        server.api(&format!("/impact?file={}&wait=30", sha256(b"foreign")), 200);
        let start = Instant::now();
        while start.elapsed() < Duration::from_millis(500) {
            assert!(listener.accept().is_err(), "the server called somebody");
            sleep(Duration::from_millis(20));
        }
        let lines = repository.send("GET", &format!("/blobs/{}", sha256(b"absent")), &[], b"").expect(404);
        assert_eq!(lines.header("location"), None, "nor is anybody sent there");
    }

    /// CVE-2021-41190: the same bytes as a manifest to one client and an index to another.
    fn bytes_mean_one_thing(server: Server) {
        let mut repository = Repository::new(&server.host, "team/both");
        let config = repository.blob("application/vnd.oci.empty.v1+json", b"{}");
        let both = json!({"schemaVersion": 2, "config": config, "layers": [config], "manifests": []});
        let typed = |kind: &str| {
            let mut typed = both.clone();
            typed["mediaType"] = kind.into();
            typed
        };
        for (header, body) in [
            (MANIFEST, &both), (INDEX, &both), (MANIFEST, &typed(MANIFEST)), (INDEX, &typed(INDEX)),
            (INDEX, &typed(MANIFEST)), (MANIFEST, &typed(INDEX)), ("text/html", &both),
        ] {
            let headers = [("Content-Type", header)];
            let refused = repository.send("PUT", "/manifests/1", &headers, body.to_string().as_bytes()).expect(400);
            let problem: Value = serde_json::from_slice(&refused.body).unwrap();
            assert_eq!(problem["errors"][0]["code"], "MANIFEST_INVALID", "{header} {body}");
        }
    }

    /// CVE-2023-2253: a page as large as the client likes. And names and ids that lead out of the store or into a header.
    fn no_name_leads_anywhere(server: Server) {
        let mut repository = Repository::new(&server.host, "team/names");
        repository.artifact("1", &[b"layer"]);
        let mut wire = Wire::new(&server.host);
        for path in ["/v2/_catalog?n=9223372036854775807", "/v2/team/names/tags/list?n=18446744073709551615"] {
            wire.get(path, "*/*").expect(200);
        }
        for path in [
            "/v2/../../etc/passwd/manifests/1", "/v2/%2e%2e%2f%2e%2e/manifests/1", "/v2/team/../names/manifests/1",
            "/v2/team//names/manifests/1", "/v2/team%2f..%2fnames/blobs/uploads/0a", "/v2/team/names/manifests/..%2f1",
            "/v2/team/names/manifests/%2e%2e", "/v2/team/names/blobs/uploads/..%2f..%2fpedigree.db",
            "/v2/team/names/blobs/uploads/%2e%2e", "/v2/team/names/blobs/sha256:..%2f..%2fpedigree.db",
            "/v2/team/names/blobs/sha256%3a../../pedigree-store", "/v2/team/names%00/manifests/1", "//v2/", "/v2/\\..\\x/tags/list",
        ] {
            for method in ["GET", "HEAD", "DELETE", "PATCH"] {
                let head = format!("{method} {path} HTTP/1.1\r\nHost: x\r\nContent-Length: 0");
                let reply = wire.send(&head, [b""; 0]);
                assert!((400..500).contains(&reply.status), "{method} {path}: {}", reply.status);
            }
        }
        // What is told back in a header holds no line of its own.
        let payload = repository.send("GET", "/manifests/1", &[], b"").expect(200).body;
        let headers = [("Content-Type", MANIFEST)];
        for path in ["/manifests/1?tag=a%0d%0aSet-Cookie:%20x=1", "/manifests/x%0d%0aSet-Cookie:%20x=1"] {
            let reply = repository.send("PUT", path, &headers, &payload).expect(400);
            assert_eq!(reply.header("set-cookie"), None);
        }
        let kind = "?n=1&artifactType=a%0d%0aSet-Cookie:%20x=1";
        let path = format!("/referrers/{}{kind}", sha256(&payload));
        assert_eq!(repository.send("GET", &path, &[], b"").expect(200).header("set-cookie"), None);
        let files: Vec<_> = std::fs::read_dir(server.data()).unwrap().map(|file| file.unwrap().file_name()).collect();
        assert!(files.iter().all(|name| name != "1" && name != "etc"), "{files:?}");
    }

    /// An upload belongs to its repository: its id is no key to it anywhere else. Nor is a digest to a blob.
    fn ids_open_nothing_elsewhere(server: Server) {
        let mut ours = Repository::new(&server.host, "team/ours");
        let started = ours.send("POST", "/blobs/uploads/", &[], b"").expect(202);
        let location = started.header("location").unwrap();
        let upload = location[location.find("/blobs").unwrap()..].to_owned();
        ours.send("PATCH", &upload, &[], b"ours").expect(202);
        let mut theirs = Repository::new(&server.host, "team/theirs");
        theirs.blob("", b"theirs");
        let finish = format!("{upload}&digest={}", sha256(b"ours"));
        for (method, path) in [("GET", &upload), ("PATCH", &upload), ("DELETE", &upload), ("PUT", &finish)] {
            let refused = theirs.send(method, path, &[], b"").expect(404);
            let problem: Value = serde_json::from_slice(&refused.body).unwrap();
            assert_eq!(problem["errors"][0]["code"], "BLOB_UPLOAD_UNKNOWN", "{method}");
        }
        ours.send("GET", &format!("/blobs/{}", sha256(b"theirs")), &[], b"").expect(404);
        // What names a blob of another repository does not make it readable either.
        let config = ours.blob("application/vnd.oci.empty.v1+json", b"{}");
        let layer = json!({"mediaType": "application/octet-stream", "digest": sha256(b"theirs"), "size": 6});
        let manifest = json!({"schemaVersion": 2, "mediaType": MANIFEST, "config": config, "layers": [layer]});
        let headers = [("Content-Type", MANIFEST)];
        ours.send("PUT", "/manifests/1", &headers, manifest.to_string().as_bytes()).expect(404);
        ours.send("PUT", &format!("{upload}&digest={}", sha256(b"ours")), &[], b"").expect(201);
    }
}
