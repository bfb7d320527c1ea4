//! What an operator's monitoring sees: figures and readiness.

use std::fs;

use crate::{
    limits::soon,
    push::Repository,
    sample::sha256,
    server::{Engine, Server, on_both_engines},
    wire::Wire,
};

/// The value of a metric, by its name and labels.
pub(crate) fn metric(server: &Server, name: &str) -> Option<u64> {
    let text = String::from_utf8(Wire::new(&server.host).get("/metrics", "*/*").expect(200).body).unwrap();
    text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' ')?.parse().ok())
}

on_both_engines! {
    fn ready_means_database_and_store(server: Server) {
        let mut wire = Wire::new(&server.host);
        wire.get("/readyz", "*/*").expect(200);
        // As when the disk of the blobs is not mounted.
        let (objects, away) = (server.data().join("objects"), server.data().join("away"));
        fs::rename(&objects, &away).unwrap();
        let reply = wire.get("/readyz", "*/*").expect(503);
        assert!(String::from_utf8(reply.body).unwrap().contains("store"));
        wire.get("/healthz", "*/*").expect(200);
        fs::rename(&away, &objects).unwrap();
        wire.get("/readyz", "*/*").expect(200);
    }
}

#[test]
fn bytes_are_counted_as_they_come_and_go() {
    let Some(server) = Server::start(Engine::Sqlite) else { return };
    let count = |way: &str| metric(&server, &format!("pedigree_http_{way}_bytes_total")).unwrap();
    let before = count("received");
    // Nobody says how long this body is.
    let (digest, host) = (sha256(&[b'x'; 6000]), &server.host);
    let head = format!(
        "POST /v2/team/counted/blobs/uploads/?digest={digest} HTTP/1.1\r\nHost: {host}\r\nTransfer-Encoding: chunked"
    );
    let piece = [b"bb8\r\n".as_slice(), &[b'x'; 3000], b"\r\n"].concat();
    Wire::new(host).send(&head, [&piece[..], &piece, b"0\r\n\r\n"]).expect(201);
    assert_eq!(count("received") - before, 6000);
    let before = count("sent");
    Wire::new(host).get(&format!("/v2/team/counted/blobs/{digest}"), "*/*").expect(200);
    soon(|| (count("sent") >= before + 6000).then_some(()));
}

#[test]
fn the_collector_says_what_it_did() {
    let settings = [("PEDIGREE_GC_INTERVAL", "1"), ("PEDIGREE_GC_GRACE", "0")];
    let Some(server) = Server::start_with(Engine::Sqlite, &settings) else { return };
    Repository::new(&server.host, "team/garbage").blob("", b"nobody needs these bytes");
    soon(|| metric(&server, "pedigree_gc_blobs_total").filter(|blobs| *blobs == 1));
    assert_eq!(metric(&server, "pedigree_gc_bytes_total"), Some(24));
    assert!(metric(&server, "pedigree_gc_runs_total") > Some(0));
    assert_eq!(metric(&server, "pedigree_gc_failures_total"), Some(0));
}
