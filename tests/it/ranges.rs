//! Parts of blobs, on the real server.

use std::fs;

use crate::{
    push::Repository,
    sample::{Content, sha256},
    server::{Server, on_both_engines},
    wire::Reply,
};

/// The parts of an answer: `Content-Range` and bytes of each. Everything of its framing is checked on the way.
fn parts(reply: &Reply) -> Vec<(String, Vec<u8>)> {
    let kind = reply.header("content-type").unwrap();
    let boundary = kind.strip_prefix("multipart/byteranges; boundary=").unwrap();
    let mut rest = reply.body.as_slice();
    let mut parts = Vec::new();
    loop {
        rest = rest.strip_prefix(format!("\r\n--{boundary}").as_bytes()).expect("a boundary");
        if rest == b"--\r\n" {
            return parts;
        }
        let end = rest.windows(4).position(|window| window == b"\r\n\r\n").unwrap();
        let head = std::str::from_utf8(&rest[2..end]).unwrap();
        let range = head.lines().find_map(|line| line.strip_prefix("Content-Range: ")).unwrap();
        assert!(head.contains("Content-Type: application/octet-stream"), "{head}");
        let (first, last) = range.strip_prefix("bytes ").unwrap().split_once('/').unwrap().0.split_once('-').unwrap();
        let length = last.parse::<usize>().unwrap() - first.parse::<usize>().unwrap() + 1;
        let (bytes, after) = rest[end + 4..].split_at(length);
        parts.push((range.to_owned(), bytes.to_vec()));
        rest = after;
    }
}

/// A range, and a condition for it.
fn both<'a>(name: &'a str, value: &'a str) -> [(&'a str, &'a str); 2] {
    [("Range", "bytes=0-9"), (name, value)]
}

on_both_engines! {
    fn parts_of_a_blob(server: Server) {
        let mut repository = Repository::new(&server.host, "team/parts");
        let content = Content::new(4, 3 << 20).to_vec();
        let size = content.len();
        let digest = sha256(&content);
        repository.blob("", &content);
        let path = format!("/blobs/{digest}");
        let mut get = |headers: &[(&str, &str)]| repository.send("GET", &path, headers, b"");

        for (range, first, last) in [
            ("bytes=0-0", 0, 0), ("bytes=100-", 100, size - 1), ("bytes=-7", size - 7, size - 1),
            ("bytes=1000000-2500000", 1_000_000, 2_500_000), ("bytes=5-99999999999", 5, size - 1),
            // Of two, one that lies outside is left out, and one is no multipart.
            ("bytes=9999999-, 3-5", 3, 5),
        ] {
            let reply = get(&[("Range", range)]).expect(206);
            assert_eq!(reply.header("content-range"), Some(format!("bytes {first}-{last}/{size}").as_str()));
            assert!(reply.body == content[first..=last], "{range}");
        }

        // A part that is larger than what is read at once, one of one byte, one from the end, in the order asked for.
        let reply = get(&[("Range", "bytes=1000000-2500000, 0-0, -5")]).expect(206);
        assert_eq!(reply.header("content-range"), None);
        assert_eq!(reply.header("docker-content-digest"), Some(digest.as_str()));
        let found = parts(&reply);
        let expected = [(1_000_000, 2_500_000), (0, 0), (size - 5, size - 1)];
        assert_eq!(found.len(), expected.len());
        for ((range, bytes), (first, last)) in found.iter().zip(expected) {
            assert_eq!(range, &format!("bytes {first}-{last}/{size}"));
            assert!(bytes == &content[first..=last], "{range}");
        }

        // What would be more than the blob, or far too many, is the blob.
        let many = format!("bytes={}", (0..17).map(|n| format!("{n}-{n}")).collect::<Vec<_>>().join(","));
        for range in ["bytes=0-,0-", "bytes=0-2000000,5-2000005", &many, "bytes=1-2,x", "lines=1-2", "bytes=,"] {
            let reply = get(&[("Range", range)]).expect(200);
            assert!(reply.body == content, "{range}");
        }

        let outside = get(&[("Range", "bytes=9999999-,-0")]).expect(416);
        assert_eq!(outside.header("content-range"), Some(format!("bytes */{size}").as_str()));

        // Conditions.
        let etag = get(&[("Range", "bytes=0-0")]).header("etag").unwrap().to_owned();
        get(&both("If-Range", &etag)).expect(206);
        get(&both("If-Range", "\"other\"")).expect(200);
        get(&both("If-Range", "Wed, 25 Nov 2026 00:00:00 GMT")).expect(200);
        get(&both("If-None-Match", "\"other\"")).expect(206);
        for has in [etag.clone(), format!("\"x\", W/{etag}"), "*".into()] {
            let reply = get(&both("If-None-Match", &has)).expect(304);
            assert_eq!((reply.header("etag"), reply.body.len()), (Some(etag.as_str()), 0));
        }
    }

    fn head_never_reads_a_blob(server: Server) {
        let mut repository = Repository::new(&server.host, "team/head");
        let content = Content::new(5, 100_000).to_vec();
        repository.blob("", &content);
        let path = format!("/blobs/{}", sha256(&content));
        // Without the objects nothing can be read.
        let (objects, away) = (server.data().join("objects"), server.data().join("away"));
        fs::rename(&objects, &away).unwrap();
        for headers in [&[][..], &[("Range", "bytes=0-9,20-29")]] {
            let reply = repository.send("HEAD", &path, headers, b"").expect(200);
            assert_eq!(reply.header("content-length"), Some("100000"));
            assert_eq!(reply.header("accept-ranges"), Some("bytes"));
        }
        // What cannot be read is an error from the beginning, never an answer that breaks off.
        for headers in [&[][..], &[("Range", "bytes=0-9")], &[("Range", "bytes=0-9,20-29")]] {
            repository.send("GET", &path, headers, b"").expect(500);
        }
        fs::rename(&away, &objects).unwrap();
        repository.send("GET", &path, &[], b"").expect(200);
    }

    fn empty_blobs_have_no_parts(server: Server) {
        let mut repository = Repository::new(&server.host, "team/empty");
        repository.blob("", b"");
        let path = format!("/blobs/{}", sha256(b""));
        let whole = repository.send("GET", &path, &[], b"").expect(200);
        assert_eq!((whole.header("content-length"), whole.body.len()), (Some("0"), 0));
        for range in ["bytes=0-", "bytes=-1", "bytes=0-0,1-1"] {
            repository.send("GET", &path, &[("Range", range)], b"").expect(416);
        }
    }
}
