//! Spans for an OpenTelemetry collector, which the test plays.

use std::{
    io::{BufRead as _, BufReader, Read as _, Write as _},
    net::TcpListener,
    sync::mpsc::{Receiver, channel},
    thread,
    time::{Duration, Instant},
};

use crate::{
    limits::soon,
    push::Repository,
    server::{Engine, Server},
};

/// Takes every batch that is sent, and passes on its path and bytes.
fn collector() -> (String, Receiver<(String, Vec<u8>)>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let (sender, receiver) = channel();
    thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = BufReader::new(stream.unwrap());
            let (mut head, mut line) = (Vec::new(), String::new());
            while stream.read_line(&mut line).unwrap() > 2 {
                head.push(std::mem::take(&mut line));
            }
            let length =
                head.iter().find_map(|line| line.to_lowercase().strip_prefix("content-length: ")?.trim().parse().ok());
            let mut body = vec![0; length.unwrap()];
            stream.read_exact(&mut body).unwrap();
            stream.get_mut().write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n").unwrap();
            if sender.send((head[0].trim().to_owned(), body)).is_err() {
                return;
            }
        }
    });
    (address, receiver)
}

fn has(body: &[u8], part: &[u8]) -> bool {
    body.windows(part.len()).any(|window| window == part)
}

#[test]
fn every_request_is_a_span() {
    let (address, batches) = collector();
    let endpoint = format!("http://{address}");
    let server = Server::start_logging(Engine::Sqlite, &[("PEDIGREE_OTLP_ENDPOINT", &endpoint)]).unwrap();
    let mut repository = Repository::new(&server.host, "team/traced");
    let traced = [
        ("traceparent", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"),
        ("X-Request-Id", "the-id-of-the-request"),
    ];
    repository.send("GET", "/manifests/none", &traced, b"").expect(404);
    repository.send("GET", "/tags/list", &[("traceparent", "nonsense")], b"").expect(404);
    // A caller that records nothing asks that nothing be recorded.
    let unsampled = [("traceparent", "00-1af7651916cd43dd8448eb211c80319c-c7ad6b7169203331-00")];
    repository.send("DELETE", "/manifests/unrecorded", &unsampled, b"");
    let lines = soon(|| Some(server.logged("access")).filter(|lines| lines.len() == 3));
    assert_eq!(lines[0]["trace"], "0af7651916cd43dd8448eb211c80319c", "the log names the trace");
    assert_ne!(lines[1]["trace"], lines[0]["trace"]);
    // What has not been sent yet is sent at the end.
    drop(server);
    let batches: Vec<_> = batches.try_iter().collect();
    assert!(!batches.is_empty() && batches.iter().all(|(head, _)| head == "POST /v1/traces HTTP/1.1"), "{batches:?}");
    let all = batches.into_iter().flat_map(|(_, body)| body).collect::<Vec<_>>();
    for part in [
        "pedigree",
        "GET manifests",
        "GET tags",
        "/v2/team/traced/manifests/none",
        "the-id-of-the-request",
        "http.response.status_code",
        "http.request.method",
        "127.0.0.1",
    ] {
        assert!(has(&all, part.as_bytes()), "{part} is told");
    }
    assert!(has(&all, &hex::decode("0af7651916cd43dd8448eb211c80319c").unwrap()), "the trace of the caller");
    assert!(has(&all, &hex::decode("b7ad6b7169203331").unwrap()), "the caller's span is the parent");
    assert!(!has(&all, b"unrecorded"), "what was not to be sampled");
}

#[test]
fn a_collector_that_is_gone_holds_up_nothing() {
    // Taken and let go: nobody listens there now.
    let gone = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let endpoint = format!("http://{gone}");
    let server = Server::start_with(Engine::Sqlite, &[("PEDIGREE_OTLP_ENDPOINT", &endpoint)]).unwrap();
    Repository::new(&server.host, "team/kit").artifact("1", &[b"layer"]);
    let start = Instant::now();
    drop(server);
    assert!(start.elapsed() < Duration::from_secs(15), "it took {:?}", start.elapsed());
}
