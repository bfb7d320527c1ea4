//! What stands between the server and hostile or plentiful clients, on the real binary.

use std::{
    io::{Read as _, Write as _},
    net::TcpStream,
    thread::{self, sleep},
    time::{Duration, Instant},
};

use serde_json::Value;

use crate::{
    push::Repository,
    sample::{Content, sha256},
    server::{Engine, Server},
    watch::metric,
};

/// What `look` finds, within some seconds.
#[track_caller]
pub(crate) fn soon<T>(look: impl Fn() -> Option<T>) -> T {
    let start = Instant::now();
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(start.elapsed() < Duration::from_secs(20), "it does not come");
        sleep(Duration::from_millis(20));
    }
}

/// The client that the access log names for a request with this header.
#[track_caller]
fn client(server: &Server, header: (&str, &str)) -> String {
    let seen = server.logged("access").len();
    Repository::new(&server.host, "team/who").send("GET", "/tags/list", &[header], b"");
    // The line is written after the answer.
    let line = soon(|| server.logged("access").get(seen).cloned());
    line["client"].as_str().unwrap().to_owned()
}

#[test]
fn forwarded_addresses_are_believed_from_proxies_only() {
    let header = ("X-Forwarded-For", "203.0.113.9, 198.51.100.7");
    let with = |settings: &[(&'static str, &str)]| Server::start_logging(Engine::Sqlite, settings).unwrap();
    assert_eq!(client(&with(&[]), header), "127.0.0.1", "nobody configured a proxy");
    assert_eq!(client(&with(&[("PEDIGREE_PROXIES", "10.0.0.0/8")]), header), "127.0.0.1", "loopback is none of these");
    let server = with(&[("PEDIGREE_PROXIES", "10.0.0.0/8,127.0.0.1")]);
    assert_eq!(client(&server, header), "198.51.100.7");
    assert_eq!(client(&server, ("X-Forwarded-For", "198.51.100.7, 10.1.1.1")), "198.51.100.7");
    assert_eq!(client(&server, ("X-Forwarded-For", "nonsense")), "127.0.0.1");
    assert_eq!(client(&server, ("Forwarded", "for=198.51.100.7")), "127.0.0.1", "not the header of these proxies");
    let server = with(&[("PEDIGREE_PROXIES", "127.0.0.1"), ("PEDIGREE_PROXY_HEADER", "forwarded")]);
    assert_eq!(client(&server, ("Forwarded", "for=\"[2001:db8::7]:1234\";proto=https")), "2001:db8::7");
    assert_eq!(client(&server, header), "127.0.0.1");
}

#[test]
fn who_finds_no_place_is_asked_to_come_again() {
    let server = Server::start_with(Engine::Sqlite, &[("PEDIGREE_UPLOADS_AT_ONCE", "1")]).unwrap();
    let content = Content::new(3, 1 << 20).to_vec();
    let mut slow = TcpStream::connect(&server.host).unwrap();
    let target = format!("/v2/team/slow/blobs/uploads/?digest={}", sha256(&content));
    write!(slow, "POST {target} HTTP/1.1\r\nHost: x\r\nContent-Length: {}\r\n\r\n", content.len()).unwrap();
    slow.write_all(&content[..1000]).unwrap();
    soon(|| (metric(&server, "pedigree_uploads_receiving") == Some(1)).then_some(()));

    let mut second = Repository::new(&server.host, "team/second");
    let push = |repository: &mut Repository, bytes: &[u8]| {
        repository.send("POST", &format!("/blobs/uploads/?digest={}", sha256(bytes)), &[], bytes)
    };
    let start = Instant::now();
    let refused = push(&mut second, b"in vain").expect(429);
    assert!(start.elapsed() > Duration::from_secs(5), "it waits a little");
    assert_eq!(refused.header("retry-after"), Some("10"));
    assert_eq!(refused.header("connection"), None, "what was little has been read, and the connection goes on");
    let problem: Value = serde_json::from_slice(&refused.body).unwrap();
    assert_eq!(problem["errors"][0]["code"], "TOOMANYREQUESTS");
    assert_eq!(metric(&server, "pedigree_uploads_refused_total"), Some(1));
    // What needs no place has none to wait for.
    second.send("POST", "/blobs/uploads/", &[], b"").expect(202);
    second.send("HEAD", "/manifests/1", &[], b"").expect(404);

    // Whoever waits is served as soon as there is a place.
    thread::scope(|scope| {
        let waits = scope.spawn(|| push(&mut second, b"in time").status);
        soon(|| (metric(&server, "pedigree_uploads_waiting") == Some(1)).then_some(()));
        slow.write_all(&content[1000..]).unwrap();
        let mut reply = [0; 12];
        slow.read_exact(&mut reply).unwrap();
        assert_eq!(&reply, b"HTTP/1.1 201");
        assert_eq!(waits.join().unwrap(), 201);
    });
    soon(|| (metric(&server, "pedigree_uploads_receiving") == Some(0)).then_some(()));
}
