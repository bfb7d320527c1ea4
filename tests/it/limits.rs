//! What stands between the server and hostile or plentiful clients, on the real binary.

use std::{
    thread::sleep,
    time::{Duration, Instant},
};

use crate::{
    push::Repository,
    server::{Engine, Server},
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
    let with = |settings: &[(&str, &str)]| Server::start_logging(Engine::Sqlite, settings).unwrap();
    assert_eq!(client(&with(&[]), header), "127.0.0.1", "nobody configured a proxy");
    assert_eq!(client(&with(&[("PROXIES", "10.0.0.0/8")]), header), "127.0.0.1", "loopback is none of these");
    let server = with(&[("PROXIES", "10.0.0.0/8,127.0.0.1")]);
    assert_eq!(client(&server, header), "198.51.100.7");
    assert_eq!(client(&server, ("X-Forwarded-For", "198.51.100.7, 10.1.1.1")), "198.51.100.7");
    assert_eq!(client(&server, ("X-Forwarded-For", "nonsense")), "127.0.0.1");
    assert_eq!(client(&server, ("Forwarded", "for=198.51.100.7")), "127.0.0.1", "not the header of these proxies");
    let server = with(&[("PROXIES", "127.0.0.1"), ("PROXY_HEADER", "forwarded")]);
    assert_eq!(client(&server, ("Forwarded", "for=\"[2001:db8::7]:1234\";proto=https")), "2001:db8::7");
    assert_eq!(client(&server, header), "127.0.0.1");
}
