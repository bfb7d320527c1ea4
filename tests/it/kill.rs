//! kill -9 at random moments of pushes, of collections and of scans: what was acknowledged is there afterwards, what was
//! not succeeds when it is tried again, and nothing contradicts itself.
//!
//! `cargo test` does a few rounds. The long form: `PEDIGREE_TEST_ROUNDS=200 cargo test -p it -- kill --nocapture`. A run is
//! repeated with the seed that it printed, though where the kill strikes depends on the machine too.

use std::{
    collections::{BTreeMap, BTreeSet},
    io,
    process::Stdio,
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::{Duration, Instant},
};

use serde_json::json;

use crate::{
    abandoned::objects,
    left_out::environment,
    push::{MANIFEST, holders},
    s3::S3Kind,
    sample::{Dice, sha256, tar},
    server::{Engine, Place, Server, Storage},
    wire::{Reply, Wire},
};

const MIB: usize = 1 << 20;
/// How many rounds each setup has in `cargo test`.
const ROUNDS: usize = 10;
/// After how many rounds everything is read that was ever acknowledged, and not only what is new and a part of the rest.
const EVERYTHING: usize = 20;

#[test]
fn sqlite_disk() {
    rounds(Engine::Sqlite, Storage::Disk);
}

#[test]
fn postgres_versity() {
    rounds(Engine::Postgres, Storage::S3(S3Kind::Versity));
}

/// What the server does when it is killed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum During {
    Pushes,
    /// Pushes, beside a collector that is killed too.
    Collection,
    Scans,
}

fn rounds(engine: Engine, storage: Storage) {
    let Some(place) = Place::new(engine, storage) else { return };
    let mut dice = Dice::thrown_for("kill");
    let rounds = environment("PEDIGREE_TEST_ROUNDS").map_or(ROUNDS, |rounds| rounds.parse::<usize>().unwrap() / 2);
    let mut server = place.serve();
    let mut pushers: Vec<_> = (0..3).map(|number| Pusher::new(number, dice.split())).collect();
    let start = Instant::now();
    for round in 1..=rounds {
        let during = [During::Pushes, During::Collection, During::Pushes, During::Scans][round % 4];
        strike(&mut server, &mut pushers, during, &mut dice);
        // As if the time had passed after which a server that holds something counts as dead.
        server.execute("update upload set writer_until = 0");
        server.execute("update job set lease_until = 0, run_at = 0");
        server.restart(&[]);

        pushers.iter_mut().for_each(|pusher| pusher.try_again(&server.host));
        let everything = round == rounds || round % EVERYTHING == 0;
        pushers.iter_mut().for_each(|pusher| pusher.read_back(&server.host, everything));
        for pusher in &pushers {
            pusher.is_indexed(&server);
        }
        let checked = server.beside(&["check", "--deep"]).output().unwrap();
        let said = [checked.stdout, checked.stderr].concat();
        assert!(checked.status.success(), "round {round}, {during:?}: {}", String::from_utf8_lossy(&said));
        let [manifests, blobs, resumed] = [
            |pusher: &Pusher| pusher.manifests.len(),
            |pusher: &Pusher| pusher.manifests.values().map(|kept| kept.blobs.len()).sum(),
            |pusher: &Pusher| pusher.resumed,
        ]
        .map(|of| pushers.iter().map(of).sum::<usize>());
        println!(
            "{engine:?} round {round}, {during:?}: {manifests} manifests with {blobs} blobs are there, {resumed} uploads were \
             resumed ({:.0?})",
            start.elapsed()
        );
    }
    assert!(pushers.iter().all(|pusher| !pusher.manifests.is_empty()), "the kills leave no time to push anything");
    nothing_else_is_left(&mut server);
}

/// When the time of all uploads is up and nobody needs what is not needed, there is an object for each blob and no other.
fn nothing_else_is_left(server: &mut Server) {
    server.kill();
    server.execute("update upload set used_at = 0, writer_until = 0");
    server.restart(&[]);
    let start = Instant::now();
    while server.count("select count(*) from upload") > 0 {
        assert!(start.elapsed() < Duration::from_secs(60), "what has expired is not reaped");
        thread::sleep(Duration::from_millis(50));
    }
    assert!(server.beside(&["gc", "--grace", "0"]).output().unwrap().status.success());
    assert_eq!(objects(server).cast_signed() as i64, server.count("select count(*) from blob"));
    if server.storage() != Storage::Disk {
        // A server that dies before it has recorded the id of an upload in parts leaves it open, but with no part.
        let open = server.bucket().open_uploads("some/prefix");
        println!("{} uploads in parts are left that were begun and not recorded", open.len());
        assert!(open.iter().all(|upload| server.bucket().parts(upload) == 0));
    }
}

/// Kills the server at a random moment.
fn strike(server: &mut Server, pushers: &mut [Pusher], during: During, dice: &mut Dice) {
    let host = server.host.clone();
    if during == During::Scans {
        let pushed: io::Result<()> = pushers.iter_mut().try_for_each(|pusher| pusher.push(&host, during));
        pushed.unwrap();
        thread::sleep(Duration::from_millis(dice.within(0..1000) as u64));
        server.kill();
        return;
    }
    let done = AtomicBool::new(false);
    thread::scope(|scope| {
        for pusher in pushers {
            let host = &host;
            scope.spawn(move || while pusher.push(host, during).is_ok() {});
        }
        if during == During::Collection {
            let (mut dice, done, server) = (dice.split(), &done, &*server);
            scope.spawn(move || {
                while !done.load(Ordering::SeqCst) {
                    let mut collector = server.beside(&["gc", "--grace", "0"]);
                    let mut collector = collector.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
                    thread::sleep(Duration::from_millis(dice.within(20..300) as u64));
                    // It may have ended already.
                    let _ = collector.kill();
                    collector.wait().unwrap();
                }
            });
        }
        let moment = if during == During::Collection { 300..1200 } else { 5..600 };
        thread::sleep(Duration::from_millis(dice.within(moment) as u64));
        server.kill_now();
        done.store(true, Ordering::SeqCst);
    });
    server.kill();
}

/// A client that pushes to a repository of its own, and what it was told.
struct Pusher {
    repository: String,
    dice: Dice,
    wire: Wire,
    number: usize,
    /// What was acknowledged and not deleted since, by digest.
    manifests: BTreeMap<String, Kept>,
    tags: BTreeMap<String, String>,
    /// Manifests that were deleted.
    gone: BTreeSet<String>,
    /// What was pushed since everything was read back.
    new: BTreeSet<String>,
    /// What no answer came to.
    unanswered: Option<Unanswered>,
    resumed: usize,
}

struct Kept {
    bytes: Vec<u8>,
    /// Their digests.
    blobs: Vec<String>,
    /// A file in one of them.
    file: Vec<u8>,
}

enum Unanswered {
    Artifact(Artifact),
    Deletion(String),
}

/// What is being pushed.
struct Artifact {
    tag: String,
    layers: Vec<Vec<u8>>,
    file: Vec<u8>,
    /// The upload that is under way.
    open: Option<Open>,
}

#[derive(Clone)]
struct Open {
    path: String,
    layer: usize,
    acknowledged: usize,
    /// Whether the last request was sent.
    finishing: bool,
}

impl Pusher {
    fn new(number: usize, dice: Dice) -> Self {
        Self {
            repository: format!("kill/r{number}"),
            dice,
            wire: Wire::new(""),
            number: 0,
            manifests: BTreeMap::new(),
            tags: BTreeMap::new(),
            gone: BTreeSet::new(),
            new: BTreeSet::new(),
            unanswered: None,
            resumed: 0,
        }
    }

    /// Pushes one artifact, and deletes one now and then.
    fn push(&mut self, host: &str, during: During) -> io::Result<()> {
        self.wire = Wire::new(host);
        let artifact = self.artifact(during);
        self.unanswered = Some(Unanswered::Artifact(artifact));
        self.go_on()?;
        if self.dice.once_in(3) {
            let chosen = self.dice.within(0..self.manifests.len());
            let digest = self.manifests.keys().nth(chosen).unwrap().clone();
            self.unanswered = Some(Unanswered::Deletion(digest));
            self.go_on()?;
        }
        Ok(())
    }

    fn artifact(&mut self, during: During) -> Artifact {
        self.number += 1;
        let name = format!("{} {}", self.repository, self.number);
        let files = if during == During::Scans { 7000 } else { 3 };
        let file = |n: usize| format!("file {n} of {name}").into_bytes();
        let mut layers = vec![tar((0..files).map(|n| (format!("{n}.txt"), file(n))))];
        for _ in 0..self.dice.within(0..4) {
            // Some are those of other pushers too.
            let mut dice =
                if self.dice.once_in(2) { Dice::of(self.dice.within(0..16) as u64) } else { self.dice.split() };
            let size = if dice.once_in(8) { dice.within(4 * MIB..12 * MIB) } else { dice.within(2..300_000) };
            layers.push(dice.bytes(size));
        }
        let tag = format!("t{}", self.dice.within(0..6));
        Artifact { tag, layers, file: file(files - 1), open: None }
    }

    /// Does, or does again, what is unanswered.
    fn go_on(&mut self) -> io::Result<()> {
        let Some(mut unanswered) = self.unanswered.take() else { return Ok(()) };
        let done = match &mut unanswered {
            Unanswered::Artifact(artifact) => self.push_artifact(artifact),
            Unanswered::Deletion(digest) => self.delete(digest),
        };
        if done.is_err() {
            self.unanswered = Some(unanswered);
        }
        done
    }

    fn delete(&mut self, digest: &str) -> io::Result<()> {
        let status = self.send("DELETE", &format!("/manifests/{digest}"), "", &[b""])?.status;
        // The first time it may have been done without an answer.
        assert!(status == 202 || status == 404 && self.gone.contains(digest), "DELETE: {status}");
        self.manifests.remove(digest);
        self.tags.retain(|_, named| named != digest);
        self.gone.insert(digest.to_owned());
        Ok(())
    }

    fn push_artifact(&mut self, artifact: &mut Artifact) -> io::Result<()> {
        let config = b"{}".to_vec();
        let layers = artifact.layers.iter().map(|layer| {
            json!({"mediaType": "application/vnd.oci.image.layer.v1.tar", "digest": sha256(layer), "size": layer.len()})
        });
        let manifest = json!({
            "schemaVersion": 2, "mediaType": MANIFEST, "artifactType": "application/vnd.test",
            "config": {"mediaType": "application/vnd.oci.empty.v1+json", "digest": sha256(&config), "size": 2},
            "layers": layers.collect::<Vec<_>>(),
        });
        let manifest = manifest.to_string().into_bytes();
        if let Some(open) = artifact.open.clone() {
            self.resume(artifact, open)?;
        }
        for _ in 0..100 {
            self.blob(&config, 0, &mut None)?;
            let Artifact { layers, open, .. } = &mut *artifact;
            for (position, layer) in layers.iter().enumerate() {
                self.blob(layer, position, open)?;
            }
            let path = format!("/manifests/{}", artifact.tag);
            let reply = self.send("PUT", &path, &format!("\r\nContent-Type: {MANIFEST}"), &[&manifest])?;
            if reply.status == 404 {
                // With no grace at all, the collector may take a blob before its manifest comes.
                continue;
            }
            reply.expect(201);
            let digest = sha256(&manifest);
            let blobs = artifact.layers.iter().map(|layer| sha256(layer)).chain([sha256(&config)]).collect();
            self.gone.remove(&digest);
            self.new.insert(digest.clone());
            self.tags.insert(artifact.tag.clone(), digest.clone());
            self.manifests.insert(digest, Kept { bytes: manifest, blobs, file: artifact.file.clone() });
            return Ok(());
        }
        panic!("the collector never lets a push through");
    }

    /// Uploads a blob in one of the ways that clients have.
    fn blob(&mut self, bytes: &[u8], layer: usize, open: &mut Option<Open>) -> io::Result<()> {
        let digest = sha256(bytes);
        let way = self.dice.within(0..6);
        if way < 2 {
            let path = format!("/blobs/uploads/?digest={digest}");
            self.send("POST", &path, "", &[bytes])?.expect(201);
            return Ok(());
        }
        // Without `from`: some repository may have it, as does another pusher's.
        let mount = if way == 2 { format!("?mount={digest}") } else { String::new() };
        let started = self.send("POST", &format!("/blobs/uploads/{mount}"), "", &[b""])?;
        if started.status == 201 {
            return Ok(());
        }
        let started = started.expect(202);
        *open = Some(Open { path: self.location(&started), layer, acknowledged: 0, finishing: false });
        let chunk = match way {
            // One stream of unknown length, as docker does; then chunks of known length, as kit does.
            2 | 3 => {
                self.stream(open, bytes)?;
                0
            }
            4 => bytes.len(),
            _ => bytes.len() / 3 + 1,
        };
        self.chunks(bytes, chunk.max(1), open)
    }

    fn stream(&mut self, open: &mut Option<Open>, bytes: &[u8]) -> io::Result<()> {
        let Some(under_way) = open else { return Ok(()) };
        let pieces: Vec<_> = bytes
            .chunks(100_000)
            .map(|piece| [format!("{:x}\r\n", piece.len()).as_bytes(), piece, b"\r\n"].concat())
            .chain([b"0\r\n\r\n".to_vec()])
            .collect();
        let path = under_way.path.clone();
        let patched = self.send_with("PATCH", &path, "\r\nTransfer-Encoding: chunked", &pieces)?.expect(202);
        under_way.path = self.location(&patched);
        under_way.acknowledged = bytes.len();
        Ok(())
    }

    /// Sends what an upload lacks, and ends it.
    fn chunks(&mut self, bytes: &[u8], chunk: usize, open: &mut Option<Open>) -> io::Result<()> {
        let Some(under_way) = open else { return Ok(()) };
        while under_way.acknowledged < bytes.len() {
            let (first, end) = (under_way.acknowledged, bytes.len().min(under_way.acknowledged + chunk));
            let range = format!("\r\nContent-Range: {first}-{}", end - 1);
            let patched = self.send("PATCH", &under_way.path.clone(), &range, &[&bytes[first..end]])?;
            // What was left over of a part may have been overwritten by the request that was cut off.
            let end = if patched.status == 416 { received(&patched) } else { end };
            assert!(patched.status == 202 || patched.status == 416 && end != first, "{patched:?}");
            under_way.path = self.location(&patched);
            under_way.acknowledged = end;
        }
        under_way.finishing = true;
        let path = format!("{}&digest={}", under_way.path, sha256(bytes));
        self.send("PUT", &path, "", &[b""])?.expect(201);
        *open = None;
        Ok(())
    }

    /// Continues an upload where the server says that it stands.
    fn resume(&mut self, artifact: &mut Artifact, mut under_way: Open) -> io::Result<()> {
        let status = self.send("GET", &under_way.path.clone(), "", &[b""])?;
        artifact.open = None;
        if status.status == 404 {
            // It may have been ended without an answer; else what was acknowledged is lost.
            assert!(under_way.finishing, "an upload is lost after {} bytes", under_way.acknowledged);
            return Ok(());
        }
        let known = received(&status.expect(204));
        assert!(known >= under_way.acknowledged, "{known} of {} bytes are left", under_way.acknowledged);
        under_way.acknowledged = known;
        self.resumed += 1;
        let layer = artifact.layers[under_way.layer].clone();
        artifact.open = Some(under_way);
        self.chunks(&layer, layer.len(), &mut artifact.open)
    }

    fn try_again(&mut self, host: &str) {
        self.wire = Wire::new(host);
        if let Some(Unanswered::Deletion(digest)) = &self.unanswered {
            self.gone.insert(digest.clone());
        }
        self.go_on().unwrap();
    }

    /// Reads what was acknowledged since the last time and some of what was before, or all of it.
    fn read_back(&mut self, host: &str, everything: bool) {
        self.wire = Wire::new(host);
        let mut read = std::mem::take(&mut self.new);
        for digest in self.manifests.keys() {
            if everything || self.dice.once_in(self.manifests.len() / 10 + 1) {
                read.insert(digest.clone());
            }
        }
        for digest in read {
            let Some(kept) = self.manifests.get(&digest) else { continue };
            let (bytes, blobs) = (kept.bytes.clone(), kept.blobs.clone());
            assert!(self.get(&format!("/manifests/{digest}")).expect(200).body == bytes);
            for blob in blobs {
                assert_eq!(sha256(&self.get(&format!("/blobs/{blob}")).expect(200).body), blob);
            }
        }
        for (tag, digest) in self.tags.clone() {
            let found = self.get(&format!("/manifests/{tag}")).expect(200);
            assert_eq!(found.header("docker-content-digest"), Some(digest.as_str()), "{tag}");
        }
        for digest in self.gone.clone().iter().filter(|_| everything) {
            self.get(&format!("/manifests/{digest}")).expect(404);
        }
    }

    /// Whether what was pushed last is found by a file in it.
    fn is_indexed(&self, server: &Server) {
        let Some(kept) = self.tags.values().next_back().map(|digest| &self.manifests[digest]) else { return };
        let answer = server.api(&format!("/impact?file={}&wait=60", sha256(&kept.file)), 200);
        assert!(holders(&answer).contains(&self.repository.as_str()), "{answer:#}");
    }

    fn get(&mut self, path: &str) -> Reply {
        self.send("GET", path, "", &[b""]).unwrap()
    }

    fn send(&mut self, method: &str, path: &str, headers: &str, body: &[&[u8]]) -> io::Result<Reply> {
        let length = body.iter().map(|piece| piece.len()).sum::<usize>();
        self.send_with(method, path, &format!("\r\nContent-Length: {length}{headers}"), body)
    }

    fn send_with(&mut self, method: &str, path: &str, headers: &str, body: &[impl AsRef<[u8]>]) -> io::Result<Reply> {
        let head = format!("{method} /v2/{}{path} HTTP/1.1\r\nHost: localhost{headers}", self.repository);
        let reply = self.wire.try_send(&head, body)?;
        assert!(reply.status < 500, "{head}\n{reply:?}");
        Ok(reply)
    }

    /// The path below the repository.
    fn location(&self, reply: &Reply) -> String {
        let location = reply.header("location").unwrap();
        location.strip_prefix(&format!("/v2/{}", self.repository)).unwrap().to_owned()
    }
}

/// How many bytes an answer says that an upload has. `0-0` says that it has none, for no upload of these tests has one byte.
fn received(reply: &Reply) -> usize {
    let last: usize = reply.header("range").unwrap().strip_prefix("0-").unwrap().parse().unwrap();
    if last == 0 { 0 } else { last + 1 }
}
