//! Blobs in a bucket: every size and way of pushing, continued by another server, found changed behind the registry's back,
//! pulled straight from the store.

use object_store::{ObjectStore as _, ObjectStoreExt as _, multipart::MultipartStore as _};

use crate::{
    push::Repository,
    s3::S3Kind,
    sample::{Content, sha256},
    server::{Server, on, on_every_bucket},
    wire::Wire,
};

const MIB: usize = 1 << 20;
/// The size of the parts of the servers under test.
const PART: usize = 5 * MIB;

/// The path of the address that an answer gives an upload, below the repository's name.
fn address(reply: &crate::wire::Reply, repository: &str) -> String {
    reply.header("location").unwrap().strip_prefix(&format!("/v2/{repository}")).unwrap().to_owned()
}

/// Pushes in requests of these sizes, the last of them with the PUT.
fn push(repository: &mut Repository, name: &str, bytes: &[u8], sizes: &[usize]) {
    let mut path = address(&repository.send("POST", "/blobs/uploads/", &[], b"").expect(202), name);
    let mut rest = bytes;
    for (position, size) in sizes.iter().enumerate() {
        let (now, later) = rest.split_at(*size);
        let first = bytes.len() - rest.len();
        rest = later;
        if position + 1 == sizes.len() {
            repository.send("PUT", &format!("{path}&digest={}", sha256(bytes)), &[], now).expect(201);
        } else {
            let range = format!("{first}-{}", first + size - 1);
            let reply = repository.send("PATCH", &path, &[("Content-Range", &range)], now).expect(202);
            assert_eq!(reply.header("range"), Some(format!("0-{}", first + size - 1).as_str()));
            path = address(&reply, name);
        }
    }
    assert!(rest.is_empty());
}

on_every_bucket! {
    fn every_size_comes_back(server: Server) {
        let mut repository = Repository::new(&server.host, "sizes");
        let ways: [&[usize]; 14] = [
            &[0], &[1], &[PART - 1], &[PART], &[PART + 1], &[2 * PART], &[2 * PART + 3 * MIB],
            // One PATCH and an empty PUT, as docker does.
            &[3, 0], &[PART, 0], &[2 * PART + 7, 0],
            // Chunks that end everywhere but at the edge of a part, and exactly there.
            &[3 * MIB, 3 * MIB, 3 * MIB, 3 * MIB, 1], &[PART, PART, PART, 0], &[2 * PART, 1, 2 * PART, 0],
            &[1, PART - 1, PART, 17],
        ];
        for (number, sizes) in ways.into_iter().enumerate() {
            let content = match sizes.iter().sum() {
                0 => Vec::new(),
                size => Content::new(number as u64, size).to_vec(),
            };
            push(&mut repository, "sizes", &content, sizes);
            let path = format!("/blobs/{}", sha256(&content));
            let back = repository.send("GET", &path, &[], b"").expect(200);
            assert!(back.body == content, "{sizes:?} came back changed");
            if content.len() > 10 {
                let back = repository.send("GET", &path, &[("Range", "bytes=3-9")], b"").expect(206);
                assert_eq!(back.body, content[3..10]);
                let back = repository.send("GET", &path, &[("Range", "bytes=-4")], b"").expect(206);
                assert_eq!(back.body, content[content.len() - 4..]);
            }
        }
    }

    fn a_body_of_unknown_length_is_taken_in_parts(server: Server) {
        let content = Content::new(3, 3 * PART + 11);
        let mut wire = Wire::new(&server.host);
        let started = Repository::new(&server.host, "stream").send("POST", "/blobs/uploads/", &[], b"").expect(202);
        let head = format!(
            "PATCH {} HTTP/1.1\r\nHost: {}\r\nTransfer-Encoding: chunked",
            started.header("location").unwrap(),
            server.host
        );
        let pieces = content.pieces(0..content.size()).map(|piece| {
            [format!("{:x}\r\n", piece.len()).as_bytes(), &piece, b"\r\n"].concat()
        });
        let reply = wire.send(&head, pieces.chain([b"0\r\n\r\n".to_vec()])).expect(202);
        let mut repository = Repository::new(&server.host, "stream");
        let path = address(&reply, "stream");
        repository.send("PUT", &format!("{path}&digest={}", content.digest()), &[], b"").expect(201);
        let back = repository.send("GET", &format!("/blobs/{}", content.digest()), &[], b"").expect(200);
        assert!(content.matches(0..content.size(), &back.body));
    }

    fn an_algorithm_that_nobody_announced_is_read_once_more(server: Server) {
        let content = Content::new(5, PART + 1000).to_vec();
        let mut repository = Repository::new(&server.host, "late");
        let digest = format!("sha512:{}", hex::encode(<sha2::Sha512 as sha2::Digest>::digest(&content)));
        let path = address(&repository.send("POST", "/blobs/uploads/", &[], b"").expect(202), "late");
        let path = address(&repository.send("PATCH", &path, &[], &content).expect(202), "late");
        repository.send("PUT", &format!("{path}&digest={digest}"), &[], b"").expect(201);
        assert!(repository.send("GET", &format!("/blobs/{digest}"), &[], b"").expect(200).body == content);
        // A digest that the bytes do not have ends the upload, and leaves nothing behind.
        let path = address(&repository.send("POST", "/blobs/uploads/", &[], b"").expect(202), "late");
        let path = address(&repository.send("PATCH", &path, &[], &content).expect(202), "late");
        let wrong = sha256(b"something else");
        repository.send("PUT", &format!("{path}&digest={wrong}"), &[], b"").expect(400);
        repository.send("GET", &path, &[], b"").expect(404);
    }

    fn the_same_blob_again_costs_one_copy(server: Server) {
        let content = Content::new(6, 2 * PART + 5).to_vec();
        for name in ["one", "two"] {
            let mut repository = Repository::new(&server.host, name);
            push(&mut repository, name, &content, &[PART + 1, PART + 4]);
            assert!(repository.send("GET", &format!("/blobs/{}", sha256(&content)), &[], b"").expect(200).body == content);
        }
        assert_eq!(objects(&server).len(), 1);
    }

    fn a_cancelled_upload_leaves_nothing(server: Server) {
        let mut repository = Repository::new(&server.host, "gone");
        for size in [100, PART + 100] {
            let path = address(&repository.send("POST", "/blobs/uploads/", &[], b"").expect(202), "gone");
            let content = Content::new(8, size).to_vec();
            let path = address(&repository.send("PATCH", &path, &[], &content).expect(202), "gone");
            assert_eq!(objects(&server).len(), 1, "what is left over can be read");
            repository.send("DELETE", &path, &[], b"").expect(204);
            repository.send("GET", &path, &[], b"").expect(404);
            assert!(objects(&server).is_empty());
        }
    }

    fn what_changed_behind_the_registrys_back_is_not_continued(server: Server) {
        let mut repository = Repository::new(&server.host, "changed");
        let content = Content::new(9, 2 * PART + 300).to_vec();
        let path = address(&repository.send("POST", "/blobs/uploads/", &[], b"").expect(202), "changed");
        let path = address(&repository.send("PATCH", &path, &[], &content[..PART + 100]).expect(202), "changed");
        let [object] = &objects(&server)[..] else { panic!("one object holds what is left over") };
        block_on(server.bucket().client().put(object, vec![7; 100].into())).unwrap();
        // The last bytes are lost, the part before them is not.
        let range = format!("{}-{}", PART + 100, content.len() - 1);
        let refused = repository.send("PATCH", &path, &[("Content-Range", &range)], &content[PART + 100..]).expect(416);
        assert_eq!(refused.header("range"), Some(format!("0-{}", PART - 1).as_str()));
        let path = address(&refused, "changed");
        let reply = repository.send("PATCH", &path, &[], &content[PART..]).expect(202);
        let path = address(&reply, "changed");
        repository.send("PUT", &format!("{path}&digest={}", sha256(&content)), &[], b"").expect(201);
        assert!(repository.send("GET", &format!("/blobs/{}", sha256(&content)), &[], b"").expect(200).body == content);
    }

    fn a_killed_server_continues_what_it_acknowledged(server: Server) {
        let mut server = server;
        let mut repository = Repository::new(&server.host, "killed");
        let content = Content::new(10, 3 * PART + 77).to_vec();
        let path = address(&repository.send("POST", "/blobs/uploads/", &[], b"").expect(202), "killed");
        let path = address(&repository.send("PATCH", &path, &[], &content[..PART + 999]).expect(202), "killed");
        server.kill();
        server.restart(&[]);
        let mut repository = Repository::new(&server.host, "killed");
        let status = repository.send("GET", &path, &[], b"").expect(204);
        assert_eq!(status.header("range"), Some(format!("0-{}", PART + 998).as_str()));
        let reply = repository.send("PATCH", &path, &[], &content[PART + 999..]).expect(202);
        let path = address(&reply, "killed");
        repository.send("PUT", &format!("{path}&digest={}", sha256(&content)), &[], b"").expect(201);
        assert!(repository.send("GET", &format!("/blobs/{}", sha256(&content)), &[], b"").expect(200).body == content);
    }

    fn large_blobs_are_pulled_from_the_store_itself(server: Server) {
        let mut server = server;
        let config = server.data().join("redirect.toml");
        std::fs::write(&config, "redirect_from = 1000\nredirect_except = [\"stubborn/\"]\n").unwrap();
        server.terminate();
        server.wait();
        server.restart(&["--config", config.to_str().unwrap()]);
        let mut repository = Repository::new(&server.host, "direct");
        let (small, large) = (Content::new(1, 999).to_vec(), Content::new(2, PART + 1).to_vec());
        for content in [&small, &large] {
            repository.blob("", content);
        }
        let path = |content: &[u8]| format!("/blobs/{}", sha256(content));
        assert_eq!(repository.send("GET", &path(&small), &[], b"").expect(200).body, small);
        repository.send("HEAD", &path(&large), &[], b"").expect(200);
        let stubborn = [("User-Agent", "stubborn/1.0")];
        assert!(repository.send("GET", &path(&large), &stubborn, b"").expect(200).body == large);

        let reply = repository.send("GET", &path(&large), &[], b"").expect(307);
        let location = reply.header("location").unwrap();
        assert_eq!(reply.header("docker-content-digest"), Some(sha256(&large).as_str()));
        let (host, rest) = location.strip_prefix("http://").unwrap().split_once('/').unwrap();
        let mut store = Wire::new(host);
        let head = format!("GET /{rest} HTTP/1.1\r\nHost: {host}");
        assert!(store.send(&head, [b""; 0]).expect(200).body == large);
        let part = store.send(&format!("{head}\r\nRange: bytes=5-9"), [b""; 0]).expect(206);
        assert_eq!(part.body, large[5..10]);
    }
}

// The server within the process answers as if the account might not do that.
on! {
    [versity: Postgres, S3(S3Kind::Versity)] [minio: Postgres, S3(S3Kind::Minio)]
    fn an_upload_whose_parts_are_gone_begins_anew(server: Server) {
        let mut repository = Repository::new(&server.host, "gone");
        let content = Content::new(11, 2 * PART + 300).to_vec();
        // As a rule of the bucket does that ends uploads which take long, and a server that dies when it has completed one.
        let forget = || {
            let upload = server.texts("select object_key || ' ' || cast(parts as text) from upload");
            let (key, parts) = upload[0].split_once(' ').unwrap();
            let parts: serde_json::Value = serde_json::from_str(&readable(parts)).unwrap();
            let (key, id) = (format!("some/prefix/{key}").into(), parts["id"].as_str().unwrap().to_owned());
            block_on(server.bucket().client().abort_multipart(&key, &id)).unwrap();
        };
        let path = address(&repository.send("POST", "/blobs/uploads/", &[], b"").expect(202), "gone");
        let path = address(&repository.send("PATCH", &path, &[], &content[..PART + 9]).expect(202), "gone");
        forget();
        let range = format!("{}-{}", PART + 9, content.len() - 1);
        let refused = repository.send("PATCH", &path, &[("Content-Range", &range)], &content[PART + 9..]).expect(416);
        assert_eq!(refused.header("range"), Some("0-0"));
        let path = address(&refused, "gone");
        let path = address(&repository.send("PATCH", &path, &[], &content).expect(202), "gone");
        forget();
        // In the last request too, with bytes and without.
        let put = format!("{path}&digest={}", sha256(&content));
        repository.send("PUT", &put, &[], b"").expect(416);
        let path = address(&repository.send("PATCH", &path, &[], &content[..2 * PART]).expect(202), "gone");
        forget();
        repository.send("PUT", &put, &[], &content[2 * PART..]).expect(416);
        assert_eq!(repository.send("GET", &path, &[], b"").expect(204).header("range"), Some("0-0"));
        repository.send("PUT", &put, &[], &content).expect(201);
        assert!(repository.send("GET", &format!("/blobs/{}", sha256(&content)), &[], b"").expect(200).body == content);
    }
}

/// The text of a column of bytes, which PostgreSQL writes as hexadecimal.
fn readable(bytes: &str) -> String {
    bytes
        .strip_prefix("\\x")
        .map_or_else(|| bytes.to_owned(), |hex| String::from_utf8(hex::decode(hex).unwrap()).unwrap())
}

/// What is in the bucket, the store's mark apart.
pub(crate) fn objects(server: &Server) -> Vec<object_store::path::Path> {
    use futures_util::TryStreamExt as _;
    let listed = async {
        let client = server.bucket().client();
        client.list(None).map_ok(|object| object.location).try_collect::<Vec<_>>().await
    };
    let mut objects = block_on(listed).unwrap();
    objects.retain(|path| !path.as_ref().ends_with("pedigree-store"));
    objects
}

fn block_on<T>(work: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(work)
}
