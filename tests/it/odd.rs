//! Bytes that no schema expects: NUL, invalid UTF-8, manifests that are half wrong. They survive, on both engines.

use serde_json::{Value, json};

use crate::{
    push::{KIT, MANIFEST, Repository, holders, models},
    sample::sha256,
    server::{Server, on_both_engines},
};

/// A tar of one file whose path is these bytes.
fn tar_of(path: &[u8], content: &[u8]) -> Vec<u8> {
    let mut header = [0_u8; 512];
    header[..path.len()].copy_from_slice(path);
    header[100..107].copy_from_slice(b"0000644");
    header[124..136].copy_from_slice(format!("{:011o}\0", content.len()).as_bytes());
    header[136..147].copy_from_slice(b"00000000000");
    header[148..156].copy_from_slice(b"        ");
    header[156] = b'0';
    header[257..265].copy_from_slice(b"ustar\x0000");
    let sum: u32 = header.iter().map(|&byte| u32::from(byte)).sum();
    header[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
    let mut tar = header.to_vec();
    tar.extend(content);
    tar.resize(tar.len().next_multiple_of(512) + 1024, 0);
    tar
}

on_both_engines! {
    fn paths_are_bytes(server: Server) {
        let mut repository = Repository::new(&server.host, "odd/paths");
        repository.artifact("1", &[&tar_of(b"caf\xe9/\xff\xfe.csv", b"odd path\n")]);
        let answer = server.api(&format!("/impact?file={}&wait=30", sha256(b"odd path\n")), 200);
        assert_eq!(holders(&answer), ["odd/paths"]);
        assert_eq!(answer["holders"][0]["evidence"][0]["path"], "caf\u{fffd}/\u{fffd}\u{fffd}.csv");
        assert_eq!(answer["completeness"]["exact"], true);
    }

    fn nul_in_kitfiles_and_annotations_survives(server: Server) {
        let mut repository = Repository::new(&server.host, "odd/nul");
        let layer = |repository: &mut Repository, kind: &str, bytes: &[u8]| {
            repository.blob(&format!("application/vnd.kitops.modelkit.{kind}.v1.raw"), bytes)
        };
        let (model, data) = (layer(&mut repository, "model", b"w"), layer(&mut repository, "dataset", b"nul data"));
        let kitfile = json!({
            "manifestVersion": "1.0.0", "package": {"name": "nul\0name", "version": "1\0", "authors": ["a\0b"]},
            "model": {"name": "m\0", "path": "m\0.bin", "parameters": {"k\0": "v\0"}},
            "datasets": [{"name": "d\0", "path": "d\0.csv"}, {"name": "far", "remotePath": "s3://b\0/k"}],
        });
        let config = repository.blob("application/vnd.kitops.modelkit.config.v1+json", kitfile.to_string().as_bytes());
        let manifest = json!({
            "schemaVersion": 2, "mediaType": MANIFEST, "artifactType": KIT, "config": config, "layers": [model, data],
            "annotations": {"nul\0key": "nul\0value"},
        });
        let digest = repository.manifest("1", &manifest);
        let back = repository.send("GET", &format!("/manifests/{digest}"), &[], b"").expect(200);
        assert_eq!(back.body, manifest.to_string().as_bytes());
        let answer = server.api(&format!("/impact?file={}&wait=30", sha256(b"nul data")), 200);
        assert_eq!(models(&answer), [("odd/nul".into(), "1".into(), 0, "packaged".into())]);
        assert_eq!(answer["models"][0]["name"], "nul\0name");
        let kit = server.api("/repositories/odd/nul/-/kits/1", 200);
        assert_eq!(kit["components"][0]["parameters"]["k\0"], "v\0");
        let referrer = json!({
            "schemaVersion": 2, "mediaType": MANIFEST, "artifactType": "application/vnd.x\0",
            "config": repository.blob("application/vnd.oci.empty.v1+json", b"{}"), "layers": [],
            "subject": {"mediaType": MANIFEST, "digest": digest, "size": back.body.len()},
            "annotations": {"a\0": "b\0"},
        });
        repository.manifest("", &referrer);
        // Not even UTF-8, and half a surrogate pair: Go's decoder takes both, and so do we.
        let text = serde_json::json!({"schemaVersion": 2, "config": config, "layers": [], "annotations": {"k": "X", "s": "Y"}});
        let text = text.to_string().replace('Y', "\\udce9");
        let at = text.find('X').unwrap();
        let bytes = [&text.as_bytes()[..at], b"\xff\xfe", &text.as_bytes()[at + 1..]].concat();
        let digest_of_bytes = repository.bytes("bytes", MANIFEST, &bytes);
        let same = repository.send("GET", &format!("/manifests/{digest_of_bytes}"), &[], b"").expect(200);
        assert_eq!(same.body, bytes);
        let referrers = repository.send("GET", &format!("/referrers/{digest}"), &[], b"").expect(200);
        let referrers: Value = serde_json::from_slice(&referrers.body).unwrap();
        assert_eq!(referrers["manifests"][0]["annotations"]["a\0"], "b\0");
    }

    fn what_is_not_understood_is_stored_with_its_reason(server: Server) {
        let mut repository = Repository::new(&server.host, "odd/kits");
        let configs: [&[u8]; 5] =
            [b"not json", b"\xff\xfe\x00", b"[1,2]", br#"{"model":17,"datasets":{"a":1}}"#, br#"{"manifestVersion":"9"}"#];
        for (number, bytes) in configs.into_iter().enumerate() {
            let config = repository.blob("application/vnd.kitops.modelkit.config.v1+json", bytes);
            let layer = repository.blob("application/vnd.kitops.modelkit.model.v1.tar", format!("w{number}").as_bytes());
            let manifest = json!({
                "schemaVersion": 2, "mediaType": MANIFEST, "artifactType": KIT, "config": config, "layers": [layer],
            });
            repository.manifest(&format!("v{number}"), &manifest);
            let kit = server.api(&format!("/repositories/odd/kits/-/kits/v{number}"), 200);
            assert_eq!(kit["kind"], "modelkit", "{kit:#}");
            if number < 4 {
                assert!(kit["problem"].as_str().is_some_and(|why| !why.is_empty()), "{kit:#}");
            }
        }
        // What they were made from may be anything.
        let answer = server.api(&format!("/impact?file={}&wait=30", sha256(b"nobody has this")), 200);
        assert_eq!(answer["completeness"]["incomplete_kits"], 4, "{answer:#}");
        assert_eq!(answer["completeness"]["exact"], false);
        // No layers, or none that anybody names.
        let config = repository.blob("application/vnd.kitops.modelkit.config.v1+json", br#"{"manifestVersion":"1.0.0"}"#);
        repository.manifest("null", &json!({"schemaVersion": 2, "artifactType": KIT, "config": config, "layers": null}));
    }

    fn a_broken_layer_is_known_in_part(server: Server) {
        let mut repository = Repository::new(&server.host, "odd/layers");
        let mut tar = tar_of(b"first.csv", b"before the break\n");
        tar.truncate(1024);
        tar.extend(&tar_of(b"second.csv", &[b'x'; 4000])[..1500]);
        repository.artifact("1", &[&tar]);
        let answer = server.api(&format!("/impact?file={}&wait=30", sha256(b"before the break\n")), 200);
        assert_eq!(holders(&answer), ["odd/layers"], "what came before the break is found");
        assert_eq!(answer["completeness"]["layers"]["partial"], 1);
        assert_eq!(answer["completeness"]["exact"], false);
        let kit = server.api("/repositories/odd/layers/-/kits/1", 200);
        assert_eq!(kit["layers"][0]["state"], "partial");
        assert!(kit["layers"][0]["reason"].as_str().is_some());
    }

    fn schema_1_is_refused_in_words(server: Server) {
        let mut repository = Repository::new(&server.host, "odd/old");
        let old = json!({
            "schemaVersion": 1, "name": "odd/old", "tag": "1", "architecture": "amd64",
            "fsLayers": [{"blobSum": sha256(b"x")}], "history": [{"v1Compatibility": "{}"}],
            "signatures": [{"header": {"alg": "ES256"}, "signature": "x", "protected": "x"}],
        });
        for kind in [
            "application/vnd.docker.distribution.manifest.v1+prettyjws",
            "application/vnd.docker.distribution.manifest.v1+json", "application/json", MANIFEST,
        ] {
            let headers = [("Content-Type", kind)];
            let refused = repository.send("PUT", "/manifests/1", &headers, old.to_string().as_bytes()).expect(400);
            let problem: Value = serde_json::from_slice(&refused.body).unwrap();
            let message = problem["errors"][0]["message"].as_str().unwrap();
            assert!(message.contains("schema 1") && message.contains("schema 2"), "{kind}: {message}");
            assert_eq!(problem["errors"][0]["code"], "MANIFEST_INVALID");
        }
        repository.send("GET", "/manifests/1", &[], b"").expect(404);
    }

    fn docker_lists_are_served_as_they_came(server: Server) {
        const DOCKER: &str = "application/vnd.docker.distribution.manifest.v2+json";
        const LIST: &str = "application/vnd.docker.distribution.manifest.list.v2+json";
        let mut repository = Repository::new(&server.host, "odd/docker");
        let mut child = |platform: &str| {
            let config = repository.blob("application/vnd.docker.container.image.v1+json", platform.as_bytes());
            let layer = repository.blob("application/vnd.docker.image.rootfs.diff.tar.gzip", b"layer");
            let text = json!({"schemaVersion": 2, "mediaType": DOCKER, "config": config, "layers": [layer]}).to_string();
            let digest = repository.bytes("", DOCKER, text.as_bytes());
            json!({
                "mediaType": DOCKER, "digest": digest, "size": text.len(),
                "platform": {"os": "linux", "architecture": platform},
            })
        };
        let children = [child("amd64"), child("arm64")];
        let list = json!({"schemaVersion": 2, "mediaType": LIST, "manifests": children}).to_string();
        let digest = repository.bytes("1.0", LIST, list.as_bytes());
        for (reference, kind, bytes) in [("1.0", LIST, Some(&list)), (children[0]["digest"].as_str().unwrap(), DOCKER, None)] {
            // Whatever a client says that it accepts: another form would have another digest.
            let accept = [("Accept", "application/vnd.docker.distribution.manifest.v1+prettyjws")];
            let back = repository.send("GET", &format!("/manifests/{reference}"), &accept, b"").expect(200);
            assert_eq!(back.header("content-type"), Some(kind));
            assert_eq!(back.header("docker-content-digest"), Some(sha256(&back.body).as_str()));
            assert!(bytes.is_none_or(|bytes| back.body == bytes.as_bytes()));
        }
        repository.delete(&digest);
        repository.send("GET", "/manifests/1.0", &[], b"").expect(404);
        repository.send("GET", &format!("/manifests/{}", children[1]["digest"].as_str().unwrap()), &[], b"").expect(200);
    }

    fn manifests_have_at_most_4_mib(server: Server) {
        let mut repository = Repository::new(&server.host, "odd/large");
        let config = repository.blob("application/vnd.oci.empty.v1+json", b"{}");
        let manifest = |size: usize| {
            let mut bytes = json!({"schemaVersion": 2, "mediaType": MANIFEST, "config": config, "layers": []}).to_string();
            bytes.push_str(&" ".repeat(size - bytes.len()));
            bytes.into_bytes()
        };
        let headers = [("Content-Type", MANIFEST)];
        repository.send("PUT", "/manifests/fits", &headers, &manifest(4 << 20)).expect(201);
        let refused = repository.send("PUT", "/manifests/large", &headers, &manifest((4 << 20) + 1)).expect(413);
        let problem: Value = serde_json::from_slice(&refused.body).unwrap();
        assert_eq!(problem["errors"][0]["code"], "SIZE_INVALID");
        repository.send("GET", "/manifests/fits", &[], b"").expect(200);
        repository.send("GET", "/manifests/large", &[], b"").expect(404);
    }

    fn bad_requests_are_never_the_servers_fault(server: Server) {
        let mut repository = Repository::new(&server.host, "odd/requests");
        let digest = sha256(b"{}");
        let sent = [
            ("GET", "/manifests/%00", ""), ("GET", "/manifests/..", ""), ("GET", "/blobs/sha256:x", ""),
            ("GET", "/blobs/md5:00", ""), ("PUT", "/manifests/1", "{"), ("PUT", "/manifests/1", "null"),
            ("PUT", "/manifests/1", r#"{"schemaVersion":1}"#), ("PUT", "/manifests/1", "\u{0}"),
            ("PUT", "/manifests/1", r#"{"schemaVersion":2,"layers":[{"digest":7}]}"#),
            ("POST", "/blobs/uploads/?digest=x", ""), ("POST", "/blobs/uploads/?mount=x&from=%2F", ""),
            ("PATCH", "/blobs/uploads/none", "x"), ("PUT", "/blobs/uploads/none?digest=x", ""),
            ("GET", "/tags/list?n=-1", ""), ("GET", "/tags/list?n=99999999999999999999", ""),
            ("GET", "/referrers/x", ""), ("DELETE", "/manifests/none", ""), ("BREW", "/manifests/1", ""),
        ];
        for (method, path, body) in sent {
            let reply = repository.send(method, path, &[("Content-Type", MANIFEST)], body.as_bytes());
            assert!((400..500).contains(&reply.status), "{method} {path} {body}: {}", reply.status);
            let problem: Value = serde_json::from_slice(&reply.body).unwrap();
            assert!(problem["errors"][0]["code"].as_str().is_some(), "{method} {path}: {problem}");
        }
        for range in ["bytes=5-", "bytes=-0", "bytes=9-1", "bytes=0-0,1-1", "lines=1-2", "bytes=99999999999999999999-"] {
            repository.blob("", b"{}");
            let reply = repository.send("GET", &format!("/blobs/{digest}"), &[("Range", range)], b"");
            assert!(matches!(reply.status, 200 | 206 | 416), "{range}: {}", reply.status);
        }
        let large = vec![b' '; (4 << 20) + 1];
        repository.send("PUT", "/manifests/1", &[("Content-Type", MANIFEST)], &large).expect(413);
        let deep = format!("{}{}", "[".repeat(100_000), "]".repeat(100_000));
        repository.send("PUT", "/manifests/1", &[("Content-Type", MANIFEST)], deep.as_bytes()).expect(400);
    }
}
