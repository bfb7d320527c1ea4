//! What the `kit` client (1.11, January 2026) sends, request by request and header by header: push in chunks, pull with
//! resume, promotion, list, removal. kit itself cannot be installed from a package registry; this is its wire.
//!
//! The order and the spelling of the headers are those of Go's HTTP client, which kit uses.

use std::collections::{BTreeMap, VecDeque};
use std::fmt::Write as _;
use std::sync::Mutex;

use serde_json::Value;

use crate::sample::{Content, blobs_of, layout, sha256};
use crate::wire::{Reply, Wire};

/// The parts of a run that are a choice.
pub(crate) struct Replay {
    /// Blobs from this size on go up in chunks of this size.
    pub(crate) chunk: usize,
    /// The size of the one blob that is larger than a chunk.
    pub(crate) large: usize,
    /// The `Authorization` of every request. kit asks for it once, at the POST that opens an upload, and repeats it on
    /// every PATCH and PUT of that upload, however long that takes.
    pub(crate) authorization: Option<String>,
}

impl Replay {
    /// What kit does with a blob of 230 MB.
    pub(crate) fn full() -> Self {
        Self { chunk: 100 << 20, large: 230_001_664, authorization: None }
    }

    /// The same three chunks, the last one short, at a twelfth of the size.
    pub(crate) fn scaled() -> Self {
        Self { chunk: 8 << 20, large: 20_000_000, authorization: None }
    }
}

/// kit asks for any kind of manifest, in this order.
const ANY_MANIFEST: &str = "application/vnd.docker.distribution.manifest.v2+json, \
     application/vnd.docker.distribution.manifest.list.v2+json, application/vnd.oci.image.manifest.v1+json, \
     application/vnd.oci.image.index.v1+json, application/vnd.oci.artifact.manifest.v1+json";
const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
const OCTETS: &str = "application/octet-stream";

/// `fraud/detector` 1.1, as kit 1.11 packed it, and its configuration.
const DETECTOR: &str = "sha256:6abba1b81c15b62af1aef97a5298d1865049897fa57849cd32a7038e0652c433";
const DETECTOR_CONFIG: &str = "sha256:b76e9a4e3d72a9e0cfa192b39425e085a7d4a941ad662c4e303c92ea45fcdc10";

/// Plays everything that kit does with a registry, against `host` (`address:port`) and its repositories `kit/…`.
pub(crate) fn replay(host: &str, replay: &Replay) {
    let kit = Kit { origin: host, repository: "kit/detector", replay };
    let fixture = blobs_of(&layout("fraud/detector"));
    let manifest = &fixture[DETECTOR];
    let small = small_blobs(manifest, &fixture);

    assert_eq!(kit.push(manifest, "1.1", &small), small.len(), "a new repository has none of the blobs");
    assert_eq!(kit.push(manifest, "1.1", &small), 0, "a push of what is there asks for the manifest and tags it");
    assert_eq!(kit.push(manifest, "champion", &small), 0, "a promotion too");
    kit.pull("champion", manifest, &small);

    // kit never mounts: into another repository it uploads whatever that repository does not answer for.
    let copy = Kit { repository: "kit/other/copy", ..kit };
    copy.push(manifest, "1.1", &small);
    copy.pull("1.1", manifest, &small);

    let large = Content::new(3, replay.large);
    let config = &fixture[DETECTOR_CONFIG];
    let manifest_of_large = format!(
        r#"{{"schemaVersion":2,"artifactType":"application/vnd.kitops.modelkit.manifest.v1+json","config":{{"mediaType":"application/vnd.kitops.modelkit.config.v1+json","digest":"{DETECTOR_CONFIG}","size":{}}},"layers":[{{"mediaType":"application/vnd.kitops.modelkit.model.v1.tar","digest":"{}","size":{}}}]}}"#,
        config.len(),
        large.digest(),
        large.size()
    )
    .into_bytes();
    let blobs = [Blob::Small(config.clone()), Blob::Large(large)];
    kit.push(&manifest_of_large, "2.0", &blobs);
    kit.pull("2.0", &manifest_of_large, &blobs);

    kit.list(&[("1.1", manifest), ("2.0", &manifest_of_large), ("champion", manifest)], config);
    kit.remove(manifest);
}

/// Pushes `fraud/detector` 1.1 into a repository, for tests that need something there.
pub(crate) fn push_detector(origin: &str, repository: &str) {
    let fixture = blobs_of(&layout("fraud/detector"));
    let manifest = &fixture[DETECTOR];
    Kit { origin, repository, replay: &Replay::scaled() }.push(manifest, "1.1", &small_blobs(manifest, &fixture));
}

/// kit, at work on one repository.
#[derive(Clone, Copy)]
struct Kit<'a> {
    /// `address:port`, or `https://address:port`.
    origin: &'a str,
    repository: &'a str,
    replay: &'a Replay,
}

enum Blob {
    Small(Vec<u8>),
    Large(Content),
}

impl Blob {
    fn digest(&self) -> String {
        match self {
            Self::Small(bytes) => sha256(bytes),
            Self::Large(content) => content.digest(),
        }
    }

    fn size(&self) -> usize {
        match self {
            Self::Small(bytes) => bytes.len(),
            Self::Large(content) => content.size(),
        }
    }

    fn matches(&self, from: usize, bytes: &[u8]) -> bool {
        match self {
            Self::Small(all) => &all[from..] == bytes,
            Self::Large(content) => content.matches(from..content.size(), bytes),
        }
    }
}

impl Kit<'_> {
    /// Pushes a manifest under a tag. The number of blobs that had to be uploaded.
    fn push(&self, manifest: &[u8], tag: &str, blobs: &[Blob]) -> usize {
        let digest = sha256(manifest);
        let mut wire = Wire::new(self.origin);
        let there = self.ask(&mut wire, "HEAD", &format!("manifests/{digest}"), &[("Accept", ANY_MANIFEST)]);
        let mut uploaded = 0;
        if there.status == 404 {
            // Five at a time, each on its own connection.
            let waiting = Mutex::new(blobs.iter().collect::<VecDeque<_>>());
            let next = || waiting.lock().unwrap().pop_front();
            uploaded = std::thread::scope(|scope| {
                let workers: Vec<_> = (0..5)
                    .map(|_| {
                        scope.spawn(|| {
                            let mut wire = Wire::new(self.origin);
                            std::iter::from_fn(next).filter(|blob| self.push_blob(&mut wire, blob)).count()
                        })
                    })
                    .collect();
                workers.into_iter().map(|worker| worker.join().unwrap()).sum()
            });
        } else {
            check_manifest_headers(&there.expect(200), manifest);
        }
        let path = self.path(&format!("manifests/{tag}"));
        let put = self.send(&mut wire, "PUT", &path, Some(manifest.len()), &[("Content-Type", MANIFEST)], [manifest]);
        let put = put.expect(201);
        assert_eq!(put.header("docker-content-digest"), Some(digest.as_str()));
        uploaded
    }

    /// Uploads one blob unless the repository has it. Whether it had to.
    fn push_blob(&self, wire: &mut Wire, blob: &Blob) -> bool {
        let digest = blob.digest();
        let head = self.ask(wire, "HEAD", &format!("blobs/{digest}"), &[]);
        if head.status == 200 {
            assert_eq!(head.header("content-length"), Some(blob.size().to_string().as_str()));
            return false;
        }
        head.expect(404);
        let opened = self.send(wire, "POST", &self.path("blobs/uploads/"), Some(0), &[], [b""; 0]).expect(202);
        let mut location = self.location(&opened);
        let done = match blob {
            Blob::Small(bytes) if bytes.len() < self.replay.chunk => {
                let url = with_digest(&location, &digest);
                self.send(wire, "PUT", &url, Some(bytes.len()), &[("Content-Type", OCTETS)], [bytes])
            }
            Blob::Small(_) => panic!("a fixture is larger than a chunk"),
            Blob::Large(content) => {
                for start in (0..content.size()).step_by(self.replay.chunk) {
                    let end = content.size().min(start + self.replay.chunk);
                    // Without the unit: `bytes` would be wrong here.
                    let range = format!("{start}-{}", end - 1);
                    let headers = [("Content-Range", range.as_str()), ("Content-Type", OCTETS)];
                    let pieces = content.pieces(start..end);
                    let patched = self.send(wire, "PATCH", &location, Some(end - start), &headers, pieces).expect(202);
                    // kit fails unless the end is the one that it sent.
                    assert_eq!(patched.header("range"), Some(format!("0-{}", end - 1).as_str()));
                    location = self.location(&patched);
                }
                self.send(wire, "PUT", &with_digest(&location, &digest), Some(0), &[], [b""; 0])
            }
        };
        // kit reads the Location of the finished blob, and crashes where there is none.
        let done = done.expect(201);
        assert!(self.location(&done).ends_with(&format!("/v2/{}/blobs/{digest}", self.repository)));
        true
    }

    /// Pulls a tag and everything in it, each blob also as the continuation of a pull that broke off.
    fn pull(&self, tag: &str, manifest: &[u8], blobs: &[Blob]) {
        let mut wire = Wire::new(self.origin);
        let digest = sha256(manifest);
        let by_tag = format!("manifests/{tag}");
        let by_digest = format!("manifests/{digest}");
        for (method, path, accept) in
            [("GET", &by_tag, ANY_MANIFEST), ("HEAD", &by_tag, ANY_MANIFEST), ("GET", &by_digest, MANIFEST)]
        {
            let reply = self.ask(&mut wire, method, path, &[("Accept", accept)]).expect(200);
            check_manifest_headers(&reply, manifest);
            assert!(method == "HEAD" || reply.body == manifest, "{method} {path}: the manifest came back changed");
        }
        for blob in blobs {
            let path = format!("blobs/{}", blob.digest());
            let whole = self.ask(&mut wire, "GET", &path, &[]).expect(200);
            assert_eq!(whole.header("accept-ranges"), Some("bytes"), "kit resumes only where this is said");
            assert_eq!(whole.header("content-length"), Some(blob.size().to_string().as_str()));
            assert_eq!(whole.header("content-encoding"), None);
            assert!(blob.matches(0, &whole.body), "{path} came back changed");

            let (from, last) = (blob.size() * 2 / 3, blob.size() - 1);
            let range = format!("bytes={from}-{last}");
            let rest = self.ask(&mut wire, "GET", &path, &[("Range", range.as_str())]).expect(206);
            let expected = format!("bytes {from}-{last}/{}", blob.size());
            assert_eq!(rest.header("content-range"), Some(expected.as_str()));
            assert!(blob.matches(from, &rest.body), "{path} from {from} came back changed");
        }
    }

    /// `kit list`: all tags, then three requests for each.
    fn list(&self, tags: &[(&str, &[u8])], config: &[u8]) {
        let mut wire = Wire::new(self.origin);
        let reply = self.ask(&mut wire, "GET", "tags/list", &[]).expect(200);
        assert_eq!(reply.header("link"), None, "all tags fit on the page that is meant without `n`");
        let answer: Value = serde_json::from_slice(&reply.body).unwrap();
        let names: Vec<_> = tags.iter().map(|(tag, _)| *tag).collect();
        assert_eq!(answer, serde_json::json!({ "name": self.repository, "tags": names }));
        for (tag, manifest) in tags {
            let accept = [("Accept", ANY_MANIFEST)];
            let head = self.ask(&mut wire, "HEAD", &format!("manifests/{tag}"), &accept).expect(200);
            check_manifest_headers(&head, manifest);
            let by_digest = format!("manifests/{}", head.header("docker-content-digest").unwrap());
            let get = self.ask(&mut wire, "GET", &by_digest, &[("Accept", MANIFEST)]).expect(200);
            assert_eq!(&get.body, manifest);
            let get = self.ask(&mut wire, "GET", &format!("blobs/{DETECTOR_CONFIG}"), &[]).expect(200);
            assert_eq!(get.body, config);
        }
    }

    /// `kit remove --remote`, of a tag and then, by force, of what all remaining tags point to.
    fn remove(&self, manifest: &[u8]) {
        let mut wire = Wire::new(self.origin);
        let by_digest = format!("manifests/{}", sha256(manifest));
        let accept = [("Accept", ANY_MANIFEST)];
        let mut status = |method: &str, path: &str| self.ask(&mut wire, method, path, &accept).status;
        assert_eq!(status("HEAD", "manifests/champion"), 200);
        assert_eq!(status("DELETE", "manifests/champion"), 202);
        assert_eq!(status("HEAD", "manifests/champion"), 404);
        assert_eq!(status("HEAD", "manifests/1.1"), 200, "another tag of the same manifest stays");
        assert_eq!(status("GET", &by_digest), 200, "and so does the manifest");
        assert_eq!(status("DELETE", &by_digest), 202);
        assert_eq!(status("HEAD", &by_digest), 404);
        assert_eq!(status("HEAD", "manifests/1.1"), 404);
        assert_eq!(status("HEAD", "manifests/2.0"), 200);
    }

    /// A request without a body.
    fn ask(&self, wire: &mut Wire, method: &str, path: &str, headers: &[(&str, &str)]) -> Reply {
        self.send(wire, method, &self.path(path), None, headers, [b""; 0])
    }

    fn send(
        &self,
        wire: &mut Wire,
        method: &str,
        url: &str,
        length: Option<usize>,
        headers: &[(&str, &str)],
        body: impl IntoIterator<Item = impl AsRef<[u8]>>,
    ) -> Reply {
        let mut head = format!("{method} {url} HTTP/1.1\r\nHost: {}\r\nUser-Agent: kitops-cli/1.11.0", self.host());
        if let Some(length) = length {
            write!(head, "\r\nContent-Length: {length}").unwrap();
        }
        let authorization = self.replay.authorization.as_deref().map(|value| ("Authorization", value));
        let mut headers: Vec<_> = headers.iter().copied().chain(authorization).collect();
        headers.sort_unstable();
        for (name, value) in &headers {
            write!(head, "\r\n{name}: {value}").unwrap();
        }
        // Go asks for gzip on its own, but not where the length of the answer matters to the caller.
        if method != "HEAD" && headers.iter().all(|(name, _)| *name != "Range") {
            head.push_str("\r\nAccept-Encoding: gzip");
        }
        wire.send(&head, body)
    }

    fn host(&self) -> &str {
        self.origin.trim_start_matches("https://")
    }

    fn path(&self, rest: &str) -> String {
        format!("/v2/{}/{rest}", self.repository)
    }

    /// The path and query of an answer's Location, which may be absolute.
    fn location(&self, reply: &Reply) -> String {
        let location = reply.header("location").expect("an answer without Location ends kit's push");
        let path = location.strip_prefix(&format!("http://{}", self.host())).unwrap_or(location);
        assert!(path.starts_with('/'), "{location} leads elsewhere");
        path.to_owned()
    }
}

fn check_manifest_headers(reply: &Reply, manifest: &[u8]) {
    assert_eq!(reply.header("docker-content-digest"), Some(sha256(manifest).as_str()));
    assert_eq!(reply.header("content-length"), Some(manifest.len().to_string().as_str()));
    assert_eq!(reply.header("content-type"), Some(MANIFEST));
}

/// The configuration and the layers that a manifest of the fixture names.
fn small_blobs(manifest: &[u8], fixture: &BTreeMap<String, Vec<u8>>) -> Vec<Blob> {
    let manifest: Value = serde_json::from_slice(manifest).unwrap();
    let layers = manifest["layers"].as_array().unwrap();
    let descriptors = std::iter::once(&manifest["config"]).chain(layers);
    descriptors.map(|descriptor| Blob::Small(fixture[descriptor["digest"].as_str().unwrap()].clone())).collect()
}

/// Adds `digest` to an upload's location the way kit does: it takes the query apart, sorts it by key and encodes it
/// anew, so that whatever the server put there must survive that.
fn with_digest(location: &str, digest: &str) -> String {
    let (path, query) = location.split_once('?').unwrap_or((location, ""));
    let mut pairs: Vec<(Vec<u8>, Vec<u8>)> = query
        .split('&')
        .filter(|pair| !pair.is_empty())
        .map(|pair| pair.split_once('=').unwrap_or((pair, "")))
        .map(|(key, value)| (decoded(key), decoded(value)))
        .collect();
    pairs.retain(|(key, _)| key != b"digest");
    pairs.push((b"digest".to_vec(), digest.as_bytes().to_vec()));
    pairs.sort_by(|(left, _), (right, _)| left.cmp(right));
    let pairs: Vec<_> = pairs.iter().map(|(key, value)| format!("{}={}", encoded(key), encoded(value))).collect();
    format!("{path}?{}", pairs.join("&"))
}

fn decoded(text: &str) -> Vec<u8> {
    let mut bytes = text.bytes();
    let hex = |bytes: &mut std::str::Bytes<'_>| char::from(bytes.next().unwrap()).to_digit(16).unwrap();
    let mut plain = Vec::new();
    while let Some(byte) = bytes.next() {
        plain.push(match byte {
            b'%' => u8::try_from(hex(&mut bytes) * 16 + hex(&mut bytes)).unwrap(),
            b'+' => b' ',
            other => other,
        });
    }
    plain
}

fn encoded(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, &byte| {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' => text.push(char::from(byte)),
            b' ' => text.push('+'),
            other => write!(text, "%{other:02X}").unwrap(),
        }
        text
    })
}

#[test]
fn the_query_of_a_location_is_kept() {
    assert_eq!(with_digest("/v2/a/blobs/uploads/1", "sha256:00"), "/v2/a/blobs/uploads/1?digest=sha256%3A00");
    assert_eq!(with_digest("/u?state=a%2Bb%3D&_s=/x+y", "sha256:00"), "/u?_s=%2Fx+y&digest=sha256%3A00&state=a%2Bb%3D");
}
