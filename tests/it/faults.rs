//! A database and a bucket that go away, fall silent, break off or are slow, in every stage of a push: the client is told to
//! try again, or is cut off, and its next try succeeds. Nothing that was acknowledged is lost.

use std::{
    io, thread,
    time::{Duration, Instant},
};

use serde_json::json;

use crate::{
    buckets::objects,
    push::{MANIFEST, Repository},
    s3::S3Kind,
    sample::{Content, sha256},
    server::{Engine, Place, Server, Storage},
    toxiproxy::{Fault, Proxy},
    wire::{Reply, Wire},
};

const MIB: usize = 1 << 20;
/// How long the database and the bucket may be silent, in the servers of these tests.
const TIMEOUT: &str = "2";
/// How long a request may take in which something is silent: several things are tried before it is given up.
const LONGEST: Duration = Duration::from_secs(20);

/// What is beyond the proxy.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Beyond {
    Database,
    Bucket,
}

/// A server on PostgreSQL and a bucket, one of them behind a proxy.
fn start(beyond: Beyond) -> Option<(Server, Proxy)> {
    let place = Place::new(Engine::Postgres, Storage::S3(S3Kind::Versity))?;
    let name = match beyond {
        Beyond::Database => "PEDIGREE_DATABASE",
        Beyond::Bucket => "PEDIGREE_S3_ENDPOINT",
    };
    let url = place.get(name).unwrap().to_owned();
    let host = url.split_once("://").unwrap().1;
    let host = host.split_once('@').map_or(host, |(_, host)| host).split('/').next().unwrap();
    let proxy = Proxy::before(host)?;
    let place = place.set(name, &url.replacen(host, &proxy.address, 1));
    let place = place.set("PEDIGREE_S3_TIMEOUT", TIMEOUT).set("PEDIGREE_DATABASE_TIMEOUT", TIMEOUT);
    Some((place.serve(), proxy))
}

/// A request of a push.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    Post,
    Patch,
    /// The fault begins when half of the body is sent.
    MidPatch,
    Put,
    Manifest,
}

/// A push of one kit in stages, each of which can be tried as often as is needed.
struct Push<'a> {
    host: &'a str,
    name: String,
    content: Content,
    /// How much of it goes with the `PATCH`; the rest goes with the `PUT`.
    patched: usize,
    path: String,
    received: usize,
    manifest: Vec<u8>,
}

/// A part, and what is left over.
const PART_AND_TAIL: usize = 6 * MIB;
/// Exactly two parts: the next request has nothing to read back.
const TWO_PARTS: usize = 10 * MIB;

impl<'a> Push<'a> {
    fn new(host: &'a str, name: &str, seed: u64, patched: usize) -> Self {
        let content = Content::new(seed, patched + MIB);
        let mut repository = Repository::new(host, name);
        // A kit, whose config is read when the manifest comes.
        let kitfile = json!({"manifestVersion": "1.0.0", "model": {"name": "m", "path": "model.bin"}, "seed": seed});
        let config = repository.blob("application/vnd.kitops.modelkit.config.v1+json", kitfile.to_string().as_bytes());
        let layer = json!({
            "mediaType": "application/vnd.kitops.modelkit.model.v1.raw", "digest": content.digest(),
            "size": content.size(), "annotations": {"org.cncf.model.filepath": "model.bin"},
        });
        let manifest =
            json!({"schemaVersion": 2, "mediaType": MANIFEST, "config": config, "layers": [layer]}).to_string();
        Self { host, name: name.into(), content, patched, path: String::new(), received: 0, manifest: manifest.into() }
    }

    fn send(
        &self,
        method: &str,
        path: &str,
        headers: &str,
        length: usize,
        body: impl Iterator<Item = Vec<u8>>,
    ) -> io::Result<Reply> {
        let head = format!(
            "{method} /v2/{}{path} HTTP/1.1\r\nHost: {}\r\nContent-Length: {length}{headers}",
            self.name, self.host
        );
        Wire::new(self.host).try_send(&head, body)
    }

    /// Tries a stage. `half` is called when half of a body is sent.
    fn stage(&mut self, stage: Stage, half: impl Fn()) -> io::Result<Reply> {
        let nothing = std::iter::empty;
        match stage {
            Stage::Post => {
                let reply = self.send("POST", "/blobs/uploads/", "", 0, nothing())?;
                if reply.status == 202 {
                    (self.path, self.received) = (self.location(&reply), 0);
                }
                Ok(reply)
            }
            Stage::Patch | Stage::MidPatch => {
                let (first, length) = (self.received, self.patched - self.received);
                let range = format!("\r\nContent-Range: {first}-{}", self.patched - 1);
                let pieces: Vec<_> = self.content.pieces(first..self.patched).collect();
                let middle = pieces.len() / 2;
                let pieces = pieces.into_iter().enumerate().map(|(number, piece)| {
                    if number == middle {
                        half();
                    }
                    piece
                });
                let reply = self.send("PATCH", &self.path, &range, length, pieces)?;
                if matches!(reply.status, 202 | 416) {
                    (self.path, self.received) = (self.location(&reply), received(&reply));
                }
                Ok(reply)
            }
            Stage::Put => {
                let path = format!("{}&digest={}", self.path, self.content.digest());
                let (first, end) = (self.received, self.content.size());
                let pieces: Vec<_> = if first < end { self.content.pieces(first..end).collect() } else { Vec::new() };
                self.send("PUT", &path, "", end - first, pieces.into_iter())
            }
            Stage::Manifest => {
                let (headers, body) = (format!("\r\nContent-Type: {MANIFEST}"), self.manifest.clone());
                self.send("PUT", "/manifests/1", &headers, body.len(), std::iter::once(body))
            }
        }
    }

    /// Asks where the upload stands, as a client does that was cut off. Whether it is still open.
    fn look(&mut self) -> bool {
        let reply = self.send("GET", &self.path, "", 0, std::iter::empty()).unwrap();
        if reply.status == 404 {
            return false;
        }
        let reply = reply.expect(204);
        (self.path, self.received) = (self.location(&reply), received(&reply));
        true
    }

    /// Whether the blob is there.
    fn is_pushed(&self) -> bool {
        let path = format!("/blobs/{}", self.content.digest());
        self.send("HEAD", &path, "", 0, std::iter::empty()).unwrap().status == 200
    }

    fn location(&self, reply: &Reply) -> String {
        reply.header("location").unwrap().strip_prefix(&format!("/v2/{}", self.name)).unwrap().to_owned()
    }

    fn read_back(&self) {
        let get = |path: &str| self.send("GET", path, "", 0, std::iter::empty()).unwrap().expect(200).body;
        assert!(get("/manifests/1") == self.manifest);
        assert!(self.content.matches(0..self.content.size(), &get(&format!("/blobs/{}", self.content.digest()))));
    }
}

fn received(reply: &Reply) -> usize {
    let last: usize = reply.header("range").unwrap().strip_prefix("0-").unwrap().parse().unwrap();
    if last == 0 { 0 } else { last + 1 }
}

/// Whether the stage is done; if not, the client was told to come again, or cut off.
fn is_done(stage: Stage, outcome: &io::Result<Reply>) -> bool {
    let Ok(reply) = outcome else { return false };
    match (stage, reply.status) {
        (Stage::Post | Stage::Patch | Stage::MidPatch, 202) | (Stage::Put | Stage::Manifest, 201) => true,
        (_, 503 | 507) => {
            assert!(reply.header("retry-after").is_some(), "{stage:?}: {reply:?}");
            false
        }
        _ => panic!("{stage:?}: {reply:?}"),
    }
}

/// Tries a stage after the fault until it is done.
fn again(push: &mut Push<'_>, stage: Stage) {
    let start = Instant::now();
    loop {
        let is_open = !matches!(stage, Stage::Patch | Stage::MidPatch | Stage::Put) || push.look();
        if !is_open {
            // It was done, and only the answer was lost.
            assert!(stage == Stage::Put && push.is_pushed(), "{stage:?}: the upload is lost");
            return;
        }
        if matches!(stage, Stage::Patch | Stage::MidPatch) && push.received == push.patched {
            return;
        }
        let outcome = push.stage(stage, || ());
        // The last bytes of a request that broke off may be lost.
        let is_behind = matches!(&outcome, Ok(reply) if reply.status == 416);
        if !is_behind && is_done(stage, &outcome) {
            return;
        }
        // A server that knows nothing of the end of the fault holds the upload for ten seconds at most.
        assert!(start.elapsed() < Duration::from_secs(15), "{stage:?} does not succeed after the fault: {outcome:?}");
        thread::sleep(Duration::from_millis(100));
    }
}

fn withstands(beyond: Beyond, fault: Fault) {
    let Some((server, proxy)) = start(beyond) else { return };
    let mut pushed = Vec::new();
    let stages = [Stage::Post, Stage::Patch, Stage::MidPatch, Stage::Put, Stage::Manifest];
    for (seed, at) in stages.into_iter().enumerate() {
        let mut push = Push::new(&server.host, &format!("faults/{at:?}").to_lowercase(), seed as u64, PART_AND_TAIL);
        for stage in [Stage::Post, if at == Stage::MidPatch { at } else { Stage::Patch }, Stage::Put, Stage::Manifest] {
            if stage != at {
                assert!(is_done(stage, &push.stage(stage, || ())), "{stage:?} without a fault");
                continue;
            }
            let start = Instant::now();
            let outcome = if at == Stage::MidPatch {
                push.stage(stage, || proxy.suffer(fault))
            } else {
                proxy.suffer(fault);
                push.stage(stage, || ())
            };
            let took = start.elapsed();
            println!("{beyond:?} {fault:?} {stage:?}: {:?} in {took:.1?}", outcome.as_ref().map(|reply| reply.status));
            assert!(took < LONGEST, "{stage:?} hangs for {took:?}");
            let done = is_done(stage, &outcome);
            let untouched = beyond == Beyond::Bucket && stage == Stage::Post;
            assert_eq!(done, fault == Fault::Slow || untouched, "{stage:?}: {outcome:?}");
            proxy.heal();
            if !done {
                again(&mut push, stage);
            }
        }
        push.read_back();
        pushed.push(push);
    }
    pushed.iter().for_each(Push::read_back);
}

macro_rules! withstands {
    ($($name:ident: $beyond:ident, $fault:ident;)+) => {$(
        #[test]
        fn $name() {
            withstands(Beyond::$beyond, Fault::$fault);
        }
    )+};
}

withstands! {
    a_database_that_is_down: Database, Down;
    a_database_that_resets: Database, Reset;
    a_database_that_falls_silent: Database, Silent;
    a_slow_database: Database, Slow;
    a_bucket_that_is_down: Bucket, Down;
    a_bucket_that_resets: Bucket, Reset;
    a_bucket_that_falls_silent: Bucket, Silent;
    a_slow_bucket: Bucket, Slow;
}

/// Answers that are cut off somewhere: what they answer may have been done.
fn is_cut_off_anywhere(beyond: Beyond, stage: Stage, step: usize) {
    let Some((server, proxy)) = start(beyond) else { return };
    let mut bytes = 0;
    let mut cuts = 0;
    loop {
        let mut push = Push::new(&server.host, "faults/cut", bytes as u64, TWO_PARTS);
        for before in [Stage::Post, Stage::Patch, Stage::Put].into_iter().take_while(|before| *before != stage) {
            assert!(is_done(before, &push.stage(before, || ())));
        }
        proxy.suffer(Fault::After(bytes));
        let done = is_done(stage, &push.stage(stage, || ()));
        proxy.heal();
        if !done {
            again(&mut push, stage);
            cuts += 1;
        }
        if stage == Stage::Put {
            assert!(push.is_pushed());
            assert!(is_done(Stage::Manifest, &push.stage(Stage::Manifest, || ())));
        }
        push.read_back();
        if done {
            break;
        }
        bytes += step;
    }
    println!("{beyond:?} {stage:?}: cut off {cuts} times, whole after {bytes} bytes");
    assert!(cuts > 2);
}

#[test]
fn a_database_is_cut_off_anywhere_in_the_last_request_of_a_blob() {
    is_cut_off_anywhere(Beyond::Database, Stage::Put, 60);
}

#[test]
fn a_database_is_cut_off_anywhere_in_the_push_of_a_manifest() {
    is_cut_off_anywhere(Beyond::Database, Stage::Manifest, 60);
}

#[test]
fn a_bucket_is_cut_off_anywhere_in_the_last_request_of_a_blob() {
    is_cut_off_anywhere(Beyond::Bucket, Stage::Put, 150);
}

/// A collector that is cut off somewhere leaves the rest to the next one.
fn a_collection_is_cut_off_anywhere(beyond: Beyond, step: usize) {
    let Some((server, proxy)) = start(beyond) else { return };
    let mut repository = Repository::new(&server.host, "faults/garbage");
    let kept = repository.artifact("kept", &[b"kept"]);
    let collect = || server.beside(&["gc", "--grace", "0"]).output().unwrap().status.success();
    let (mut bytes, mut cuts) = (0, 0);
    loop {
        let gone = repository.artifact("gone", &[format!("gone {bytes}").as_bytes(), b"gone too"]);
        server.api(&format!("/impact?file={}&wait=30", sha256(b"gone too")), 200);
        repository.delete(&gone);
        proxy.suffer(Fault::After(bytes));
        let done = collect();
        proxy.heal();
        repository.send("GET", &format!("/manifests/{kept}"), &[], b"").expect(200);
        repository.send("GET", &format!("/blobs/{}", sha256(b"kept")), &[], b"").expect(200);
        if done {
            break;
        }
        cuts += 1;
        bytes += step;
    }
    println!("{beyond:?} collection: cut off {cuts} times, whole after {bytes} bytes");
    assert!(cuts > 2 && collect());
    assert_eq!(server.count("select count(*) from blob"), 2, "what is kept, and its config");
    // A blob that came back while it was marked has another object; what it had is left to the reaper.
    let discarded = server.count("select count(*) from upload where state = 1");
    let objects = i64::try_from(objects(&server).len()).unwrap();
    assert!((2..=2 + discarded).contains(&objects), "{objects} objects, {discarded} discarded");
}

#[test]
fn a_database_is_cut_off_anywhere_in_a_collection() {
    a_collection_is_cut_off_anywhere(Beyond::Database, 500);
}

#[test]
fn a_bucket_is_cut_off_anywhere_in_a_collection() {
    a_collection_is_cut_off_anywhere(Beyond::Bucket, 150);
}

#[test]
fn a_restart_of_the_database_costs_nobody_a_request() {
    let Some((server, proxy)) = start(Beyond::Database) else { return };
    Repository::new(&server.host, "faults/warm").artifact("1", &[b"warm"]);
    let all = |count: usize| {
        thread::scope(|scope| {
            for number in 0..count {
                let host = &server.host;
                scope.spawn(move || {
                    let mut repository = Repository::new(host, "faults/warm");
                    repository.send("GET", "/manifests/1", &[], b"").expect(200);
                    repository.blob("", format!("{number}").as_bytes());
                });
            }
        });
    };
    // As many connections as there may be.
    all(16);
    proxy.suffer(Fault::Down);
    proxy.heal();
    // What writes begins with a statement that is as good as a test.
    let mut repository = Repository::new(&server.host, "faults/warm");
    for number in 0..12 {
        repository.blob("", format!("after {number}").as_bytes());
    }
    all(16);
    proxy.suffer(Fault::Down);
    // What reads is tested when it was idle for a second.
    thread::sleep(Duration::from_millis(1500));
    proxy.heal();
    all(16);
}

#[test]
fn a_silent_database_holds_nobody_up_for_long() {
    let Some((server, proxy)) = start(Beyond::Database) else { return };
    let mut repository = Repository::new(&server.host, "faults/silent");
    repository.artifact("1", &[b"silent"]);
    let ask = |path: &str| {
        let start = Instant::now();
        let head = format!("GET {path} HTTP/1.1\r\nHost: {}", server.host);
        let status = Wire::new(&server.host).try_send(&head, [b""; 0]).unwrap().status;
        (status, start.elapsed())
    };
    for round in 0..2 {
        proxy.suffer(Fault::Silent);
        // Many more than there are connections.
        thread::scope(|scope| {
            let ask = &ask;
            let asked: Vec<_> = (0..40).map(|_| scope.spawn(move || ask("/v2/faults/silent/manifests/1"))).collect();
            for asked in asked {
                let (status, took) = asked.join().unwrap();
                assert!(status == 503 && took < Duration::from_secs(10), "{status} after {took:?}");
            }
        });
        assert_eq!(ask("/readyz").0, 503);
        assert_eq!(ask("/healthz").0, 200);
        proxy.heal();
        let (status, took) = ask("/v2/faults/silent/manifests/1");
        assert!(status == 200 && took < Duration::from_secs(5), "{status} after {took:?}");
        repository.blob("", format!("after round {round}").as_bytes());
    }
    assert_eq!(sha256(b"silent"), Repository::new(&server.host, "faults/silent").blob("", b"silent")["digest"]);
}
