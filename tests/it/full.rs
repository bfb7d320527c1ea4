//! A disk that is full: pushes are told so, what is there is served, nothing is left half written, and the same push succeeds
//! when there is room.

use std::{
    fs::{self, File},
    io::Write as _,
    path::{Path, PathBuf},
    process::Command,
};

use serde_json::{Value, json};

use crate::{
    crash::size_of,
    left_out::left_out,
    push::{MANIFEST, Repository},
    sample::{Content, sha256},
    server::{Engine, Place, Server, Storage},
    wire::Reply,
};

const MIB: usize = 1 << 20;

/// A small file system in memory, gone with this value.
struct Disk(PathBuf);

impl Disk {
    /// `None`, said once, where nothing may be mounted.
    fn of(mib: usize) -> Option<Self> {
        let folder = tempfile::Builder::new().prefix("pedigree-disk-").tempdir().unwrap().keep();
        let options = format!("size={mib}m");
        let mounted = Command::new("mount").args(["-t", "tmpfs", "-o", &options, "tmpfs"]).arg(&folder).output();
        if mounted.is_ok_and(|mounted| mounted.status.success()) {
            return Some(Self(folder));
        }
        fs::remove_dir(folder).unwrap();
        left_out("a tmpfs", "it takes root to mount one");
        None
    }

    /// Takes all the room that is left, to the last byte.
    fn fill(&self) {
        let mut file = File::create(self.filler()).unwrap();
        let mut size = MIB;
        while size > 0 {
            if file.write_all(&vec![0; size]).is_err() {
                size /= 2;
            }
        }
    }

    /// Gives that room back.
    fn make_room(&self) {
        fs::remove_file(self.filler()).unwrap();
    }

    fn filler(&self) -> PathBuf {
        self.0.join("filler")
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        let unmounted = Command::new("umount").arg("--lazy").arg(&self.0).status();
        if unmounted.is_ok_and(|status| status.success()) {
            let _ = fs::remove_dir(&self.0);
        }
    }
}

/// Says that there is no room, and when to come again.
#[track_caller]
fn expect_full(reply: &Reply) {
    let said = String::from_utf8_lossy(&reply.body);
    assert_eq!(reply.status, 507, "{said}");
    assert!(said.contains("full") && reply.header("retry-after") == Some("60"), "{reply:?}");
}

fn location(reply: &Reply, name: &str) -> String {
    reply.header("location").unwrap().strip_prefix(&format!("/v2/{name}")).unwrap().to_owned()
}

/// The bytes of all blobs that are there.
fn bytes(server: &Server) -> u64 {
    server.count("select cast(coalesce(sum(size), 0) as bigint) from blob").unsigned_abs()
}

fn objects(server: &Server) -> u64 {
    // The store's mark is no object.
    let objects = server.data().join("objects");
    size_of(&objects) - fs::metadata(objects.join("pedigree-store")).map_or(0, |mark| mark.len())
}

fn pushes_are_refused_until_there_is_room(engine: Engine) {
    let (Some(disk), Some(place)) = (Disk::of(64), Place::new(engine, Storage::Disk)) else { return };
    let server = place.within(&disk.0).serve();
    let mut repository = Repository::new(&server.host, "full");
    let kept = repository.artifact("1", &[b"from before"]);
    let mut pushed = Vec::new();
    let refused = loop {
        let content = Content::new(pushed.len() as u64, 7 * MIB).to_vec();
        let path = format!("/blobs/uploads/?digest={}", sha256(&content));
        let reply = repository.send("POST", &path, &[], &content);
        if reply.status != 201 {
            expect_full(&reply);
            break content;
        }
        pushed.push(sha256(&content));
    };
    assert!(pushed.len() > 3, "the disk holds more than {} blobs", pushed.len());
    assert_eq!(objects(&server), bytes(&server), "what was refused takes no room");

    // In chunks: what was acknowledged is kept, what was refused takes no room.
    let path = location(&repository.send("POST", "/blobs/uploads/", &[], b"").expect(202), "full");
    let patched = repository.send("PATCH", &path, &[], &refused[..1000]).expect(202);
    let path = location(&patched, "full");
    expect_full(&repository.send("PATCH", &path, &[], &refused[1000..]));
    let status = repository.send("GET", &path, &[], b"").expect(204);
    assert_eq!(status.header("range"), Some("0-999"));
    assert_eq!(objects(&server), bytes(&server) + 1000);
    let abandoned = location(&repository.send("POST", "/blobs/uploads/", &[], b"").expect(202), "full");
    expect_full(&repository.send("PATCH", &abandoned, &[], &refused));
    repository.send("DELETE", &abandoned, &[], b"").expect(204);
    assert_eq!(objects(&server), bytes(&server) + 1000);

    // What is small still fits, and everything is served.
    repository.artifact("2", &[b"small"]);
    repository.send("GET", &format!("/manifests/{kept}"), &[], b"").expect(200);
    for digest in &pushed {
        let back = repository.send("GET", &format!("/blobs/{digest}"), &[], b"").expect(200);
        assert_eq!(&sha256(&back.body), digest);
    }

    repository.send("DELETE", &format!("/blobs/{}", pushed[0]), &[], b"").expect(202);
    let collected = server.beside(&["gc", "--grace", "0", "--json"]).output().unwrap();
    let collected: Value = serde_json::from_slice(&collected.stdout).unwrap();
    assert!(collected["bytes"].as_u64().unwrap() >= 7 * MIB as u64, "{collected}");
    let patched = repository.send("PATCH", &path, &[], &refused[1000..]).expect(202);
    let path = location(&patched, "full");
    repository.send("PUT", &format!("{path}&digest={}", sha256(&refused)), &[], b"").expect(201);
    let back = repository.send("GET", &format!("/blobs/{}", sha256(&refused)), &[], b"").expect(200);
    assert!(back.body == refused);
}

#[test]
fn sqlite_with_its_blobs() {
    pushes_are_refused_until_there_is_room(Engine::Sqlite);
}

#[test]
fn postgres_elsewhere() {
    pushes_are_refused_until_there_is_room(Engine::Postgres);
}

#[test]
fn not_a_byte_is_left() {
    let (Some(disk), Some(place)) = (Disk::of(48), Place::new(Engine::Sqlite, Storage::Disk)) else { return };
    let mut server = place.within(&disk.0).serve();
    let mut repository = Repository::new(&server.host, "full");
    let kept = repository.artifact("1", &[b"from before"]);
    let open = location(&repository.send("POST", "/blobs/uploads/", &[], b"").expect(202), "full");
    let content = Content::new(1, MIB).to_vec();
    let open = location(&repository.send("PATCH", &open, &[], &content[..MIB / 2]).expect(202), "full");
    disk.fill();
    // Of every kind, often enough that what SQLite had in reserve is used up.
    let mut refusals = 0;
    for round in 0..60 {
        let blob = format!("blob {round}").repeat(1000);
        let manifest = json!({
            "schemaVersion": 2, "mediaType": MANIFEST, "layers": [], "annotations": {"round": "x".repeat(5000 + round)},
            "config": {"mediaType": "application/vnd.oci.empty.v1+json", "digest": sha256(b"{}"), "size": 2},
        });
        let requests = [
            ("POST", "/blobs/uploads/".to_owned(), Vec::new()),
            ("POST", format!("/blobs/uploads/?digest={}", sha256(blob.as_bytes())), blob.into_bytes()),
            ("PATCH", open.clone(), content[MIB / 2..].to_vec()),
            ("PUT", format!("/manifests/r{round}"), manifest.to_string().into_bytes()),
            ("DELETE", format!("/manifests/r{}", round / 2), Vec::new()),
            ("HEAD", format!("/blobs/{}", sha256(b"from before")), Vec::new()),
        ];
        for (method, path, body) in requests {
            let reply = repository.send(method, &path, &[("Content-Type", MANIFEST)], &body);
            match reply.status {
                507 if method == "HEAD" => refusals += 1,
                507 => {
                    expect_full(&reply);
                    refusals += 1;
                }
                // Another may be refused before it can let go of the upload.
                503 => {
                    assert!(method == "PATCH" && reply.header("retry-after").is_some(), "{method} {path}: {reply:?}")
                }
                200..300 | 404 | 416 => {}
                _ => panic!("{method} {path}: {reply:?}"),
            }
        }
        repository.send("GET", &format!("/manifests/{kept}"), &[], b"").expect(200);
        repository.send("GET", &format!("/blobs/{}", sha256(b"from before")), &[], b"").expect(200);
    }
    assert!(refusals > 60, "{refusals} requests were refused");

    // Killed while there is no room, it starts when there is some.
    server.kill();
    disk.make_room();
    server.restart(&[]);
    let mut repository = Repository::new(&server.host, "full");
    let status = repository.send("GET", &open, &[], b"").expect(204);
    assert_eq!(status.header("range"), Some(format!("0-{}", MIB / 2 - 1).as_str()));
    let open = location(&repository.send("PATCH", &open, &[], &content[MIB / 2..]).expect(202), "full");
    repository.send("PUT", &format!("{open}&digest={}", sha256(&content)), &[], b"").expect(201);
    repository.artifact("2", &[b"after"]);
    sqlite_is_sound(&server.data().join("pedigree.db"));
}

fn sqlite_is_sound(file: &Path) {
    let url = format!("sqlite://{}", file.display());
    assert_eq!(
        crate::database::number(&url, "select count(*) from pragma_integrity_check where integrity_check <> 'ok'"),
        0
    );
}
