//! Two servers on one database and one bucket, behind a proxy that knows nothing of either: clients notice none of it, an
//! upload outlives the server that it began on, and what was deleted on one server is gone on the other.

use std::{
    io::{self, Write as _},
    net::{Shutdown, TcpListener, TcpStream},
    sync::{Arc, Mutex},
    thread,
    time::{Duration, Instant},
};

use serde_json::{Value, json};

use crate::{
    buckets::objects,
    clients::{self, Bin, Target},
    kit_wire::{self, Replay},
    push::{MANIFEST, Repository},
    s3::S3Kind,
    sample::{Content, sha256},
    server::{Engine, Server, Storage},
    wire::Wire,
};

const MIB: usize = 1 << 20;

/// Two servers, and where clients reach them.
struct Replicas {
    proxy: String,
    servers: [Server; 2],
}

impl Replicas {
    fn start() -> Option<Self> {
        let first = Server::start_on(Engine::Postgres, Storage::S3(S3Kind::Versity))?;
        let second = first.replica();
        let proxy = round_robin([&first, &second].map(|server| server.host.clone()).to_vec());
        Some(Self { proxy, servers: [first, second] })
    }
}

/// Passes each new connection on to the next of the servers, or to the one after that where nobody listens. Its address.
fn round_robin(servers: Vec<String>) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let turn = Arc::new(Mutex::new(0));
    // It serves until the process ends.
    thread::spawn(move || {
        for client in listener.incoming().map_while(Result::ok) {
            let (servers, turn) = (servers.clone(), Arc::clone(&turn));
            thread::spawn(move || {
                let first = {
                    let mut turn = turn.lock().unwrap();
                    *turn += 1;
                    *turn
                };
                let mut tried = (0..servers.len()).map(|n| TcpStream::connect(&servers[(first + n) % servers.len()]));
                if let Some(server) = tried.find_map(Result::ok) {
                    pass(client, server);
                }
            });
        }
    });
    address
}

/// Passes bytes both ways until both sides have ended.
fn pass(client: TcpStream, server: TcpStream) {
    for stream in [&client, &server] {
        stream.set_nodelay(true).unwrap();
    }
    let copy = |mut from: TcpStream, mut to: TcpStream| {
        let _ = io::copy(&mut from, &mut to);
        let _ = to.shutdown(Shutdown::Write);
        let _ = from.shutdown(Shutdown::Read);
    };
    let (from, to) = (client.try_clone().unwrap(), server.try_clone().unwrap());
    let upwards = thread::spawn(move || copy(from, to));
    copy(server, client);
    upwards.join().unwrap();
}

macro_rules! through_the_proxy {
    ($($client:ident),+) => {$(
        #[test]
        fn $client() {
            let (Some(bin), Some(replicas)) = (Bin::wanted(stringify!($client)), Replicas::start()) else { return };
            clients::$client(&Target { host: replicas.proxy.clone(), referrers: true, authority: None }, &bin);
        }
    )+};
}

through_the_proxy!(crane, oras, regctl, skopeo);

#[test]
fn kit() {
    let Some(replicas) = Replicas::start() else { return };
    kit_wire::replay(&replicas.proxy, &Replay::scaled());
}

#[test]
fn an_upload_outlives_its_server() {
    let Some(Replicas { proxy, servers: [mut first, second] }) = Replicas::start() else { return };
    let content = Content::new(21, 16 * MIB + 77);
    // Each request on a connection of its own, so that the proxy sends each to the next server.
    let send = |host: &str, method: &str, path: &str, headers: &str, range: std::ops::Range<usize>| {
        let head =
            format!("{method} {path} HTTP/1.1\r\nHost: {host}\r\nContent-Length: {}{headers}", range.end - range.start);
        let body: Vec<_> = if range.is_empty() { Vec::new() } else { content.pieces(range).collect() };
        Wire::new(host).send(&head, body)
    };
    let location = |reply: &crate::wire::Reply| reply.header("location").unwrap().to_owned();
    let path = location(&send(&proxy, "POST", "/v2/team/two/blobs/uploads/", "", 0..0).expect(202));
    let patched = send(&proxy, "PATCH", &path, "", 0..3 * MIB).expect(202);
    let patched = send(&proxy, "PATCH", &location(&patched), "", 3 * MIB..7 * MIB).expect(202);
    assert_eq!(patched.header("range"), Some(format!("0-{}", 7 * MIB - 1).as_str()));
    let path = location(&patched);

    // The first server dies in the middle of the next request, and holds the upload for a while longer.
    let mut stream = TcpStream::connect(&first.host).unwrap();
    let head = format!("PATCH {path} HTTP/1.1\r\nHost: {}\r\nContent-Length: {}\r\n\r\n", first.host, 6 * MIB);
    stream.write_all(head.as_bytes()).unwrap();
    content.pieces(7 * MIB..12 * MIB).for_each(|piece| stream.write_all(&piece).unwrap());
    let start = Instant::now();
    let held = |server: &Server| server.count("select count(*) from upload where writer is not null");
    while held(&second) == 0 {
        assert!(start.elapsed() < Duration::from_secs(20), "the request is never begun");
        thread::sleep(Duration::from_millis(5));
    }
    first.kill();

    let status = send(&proxy, "GET", &path, "", 0..0).expect(204);
    let range = status.header("range").unwrap().to_owned();
    let received = range.split_once('-').unwrap().1.parse::<usize>().unwrap() + 1;
    assert!((7 * MIB..=12 * MIB).contains(&received), "{range}");
    let rest = format!("\r\nContent-Range: {received}-{}", content.size() - 1);
    let patched = send(&proxy, "PATCH", &path, &rest, received..content.size()).expect(202);
    let finish = format!("{}&digest={}", location(&patched), content.digest());
    send(&proxy, "PUT", &finish, "", 0..0).expect(201);
    first.restart(&[]);
    for server in [&first, &second] {
        let path = format!("/v2/team/two/blobs/{}", content.digest());
        let back = Wire::new(&server.host).get(&path, "*/*").expect(200);
        assert!(content.matches(0..content.size(), &back.body));
    }
    assert_eq!(objects(&second).len(), 1);
}

#[test]
fn what_one_server_deletes_is_gone_on_the_other() {
    let Some(replicas) = Replicas::start() else { return };
    for round in 0..6_u8 {
        let [here, there] = [usize::from(round % 2), usize::from(1 - round % 2)].map(|n| &replicas.servers[n].host);
        let [mut here, mut there] = [here, there].map(|host| Repository::new(host, "team/deleted"));
        let layer = [round; 100];
        let digest = here.artifact("1", &[&layer]);
        here.bytes("2", MANIFEST, &there.send("GET", "/manifests/1", &[], b"").expect(200).body);
        let referrer = json!({
            "schemaVersion": 2, "mediaType": MANIFEST, "artifactType": "application/vnd.test.note",
            "config": here.blob("application/vnd.oci.empty.v1+json", b"{}"), "layers": [],
            "subject": {"mediaType": MANIFEST, "digest": digest, "size": 1}, "annotations": {"round": round.to_string()},
        });
        let referrer = there.manifest("", &referrer);
        let list = |repository: &mut Repository, path: &str, field: &str| {
            let reply = repository.send("GET", path, &[], b"").expect(200);
            let answer: Value = serde_json::from_slice(&reply.body).unwrap();
            answer[field].as_array().unwrap().len()
        };
        let referrers = format!("/referrers/{digest}");
        assert_eq!(list(&mut here, &referrers, "manifests"), 1);

        here.delete("1");
        there.send("GET", "/manifests/1", &[], b"").expect(404);
        assert_eq!(list(&mut there, "/tags/list", "tags"), 1);
        there.delete(&referrer);
        assert_eq!(list(&mut here, &referrers, "manifests"), 0);
        there.delete(&digest);
        for path in ["/manifests/2", &format!("/manifests/{digest}")] {
            here.send("HEAD", path, &[], b"").expect(404);
        }
        assert_eq!(list(&mut here, "/tags/list", "tags"), 0);
        let blob = format!("/blobs/{}", sha256(&layer));
        there.send("HEAD", &blob, &[], b"").expect(200);
        here.send("DELETE", &blob, &[], b"").expect(202);
        for method in ["HEAD", "GET"] {
            there.send(method, &blob, &[], b"").expect(404);
        }
        let mount = format!("/blobs/uploads/?mount={}&from=team/deleted", sha256(&layer));
        Repository::new(&replicas.servers[0].host, "team/other").send("POST", &mount, &[], b"").expect(202);
    }
}

#[test]
fn the_same_blob_pushed_to_both_at_once_costs_one_copy() {
    let Some(replicas) = Replicas::start() else { return };
    for round in 0..4 {
        // Half of them in parts.
        let content = Content::new(round, if round % 2 == 0 { 1000 } else { 11 * MIB }).to_vec();
        thread::scope(|scope| {
            for pusher in 0..4 {
                let (content, host) = (&content, &replicas.servers[pusher % 2].host);
                scope.spawn(move || Repository::new(host, &format!("team/r{pusher}")).blob("", content));
            }
        });
        let path = format!("/blobs/{}", sha256(&content));
        for pusher in 0..4 {
            let mut repository = Repository::new(&replicas.proxy, &format!("team/r{pusher}"));
            assert!(repository.send("GET", &path, &[], b"").expect(200).body == content);
        }
    }
    assert_eq!(objects(&replicas.servers[0]).len(), 4);
}
