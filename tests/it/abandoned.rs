//! Uploads that nobody continues: nothing of them is left when their time is up, no row, no object and no upload in parts;
//! and until then they can be continued.

use std::{
    io::Write as _,
    net::TcpStream,
    thread,
    time::{Duration, Instant},
};

use crate::{
    buckets,
    crash::files,
    push::Repository,
    s3::S3Kind,
    sample::{Content, sha256},
    server::{Server, Storage, on},
};

const MIB: usize = 1 << 20;
/// A part of the servers under test, and something behind it.
const LARGE: usize = 6 * MIB;

on! {
    [sqlite: Sqlite, Disk] [postgres: Postgres, Disk] [sqlite_s3: Sqlite, S3(S3Kind::InProcess)]
    [postgres_versity: Postgres, S3(S3Kind::Versity)] [postgres_minio: Postgres, S3(S3Kind::Minio)]

    fn nothing_is_left_of_what_nobody_continues(server: Server) {
        let mut server = server;
        let mut repository = Repository::new(&server.host, "left");
        repository.artifact("1", &[b"stays"]);
        let content = Content::new(31, LARGE).to_vec();
        // In every state in which a client can leave an upload.
        let empty = start(&mut repository);
        let small = patched(&mut repository, &content[..100]);
        let large = patched(&mut repository, &content);
        let broken = start(&mut repository);
        break_off(&server, &broken, &content);
        // The same blob was there already: its second object goes at once.
        repository.blob("", &content);
        repository.send("PUT", &format!("{large}&digest={}", sha256(&content)), &[], b"").expect(201);
        let large = patched(&mut repository, &content);
        let killed = start(&mut repository);
        break_off(&server, &killed, &content);
        server.kill();
        let keys = keys_of_uploads(&server);
        assert_eq!(keys.len(), 5);
        let kept = objects(&server) - stored_for(&server, &keys);
        if lists_uploads(&server) {
            assert!(open_uploads(&server, &keys) >= 2);
        }

        // Almost seven days later they are all there; the first of them is used again.
        server.execute("update upload set used_at = used_at - 604000000000, writer_until = 0");
        server.restart(&[]);
        let mut repository = Repository::new(&server.host, "left");
        for path in [&empty, &small, &large, &broken, &killed] {
            repository.send("GET", path, &[], b"").expect(204);
        }
        let used = patched_to(&mut repository, &empty, &content[..MIB]);
        thread::sleep(Duration::from_millis(500));
        assert_eq!(keys_of_uploads(&server), keys, "nothing is reaped yet");

        // A while after the seven days they are not, but for the one that was used.
        server.execute("update upload set used_at = used_at - 1000000000");
        server.terminate();
        server.wait();
        server.restart(&[]);
        let start = Instant::now();
        while keys_of_uploads(&server).len() > 1 {
            assert!(start.elapsed() < Duration::from_secs(30), "what has expired is not reaped");
            thread::sleep(Duration::from_millis(50));
        }
        let mut repository = Repository::new(&server.host, "left");
        for path in [&small, &large, &broken, &killed] {
            repository.send("GET", path, &[], b"").expect(404);
            repository.send("PATCH", path, &[], b"more").expect(404);
        }
        let left = keys_of_uploads(&server);
        assert_eq!(open_uploads(&server, &keys), open_uploads(&server, &left));
        assert_eq!(objects(&server), kept + 1, "what stays, and the object of the upload that was used");
        let used = patched_to(&mut repository, &used, &content[MIB..]);
        repository.send("PUT", &format!("{used}&digest={}", sha256(&content)), &[], b"").expect(201);
        assert_eq!((keys_of_uploads(&server).len(), open_uploads(&server, &keys)), (0, 0));
        assert_eq!(objects(&server), kept);
    }
}

fn start(repository: &mut Repository) -> String {
    address(&repository.send("POST", "/blobs/uploads/", &[], b"").expect(202))
}

fn patched(repository: &mut Repository, bytes: &[u8]) -> String {
    let path = start(repository);
    patched_to(repository, &path, bytes)
}

fn patched_to(repository: &mut Repository, path: &str, bytes: &[u8]) -> String {
    address(&repository.send("PATCH", path, &[], bytes).expect(202))
}

fn address(reply: &crate::wire::Reply) -> String {
    reply.header("location").unwrap().strip_prefix("/v2/left").unwrap().to_owned()
}

/// The keys that uploads have in the store.
fn keys_of_uploads(server: &Server) -> Vec<String> {
    server.texts("select object_key from upload order by object_key")
}

/// Sends a body and goes away before its end, when it is on its way into the store.
fn break_off(server: &Server, path: &str, content: &[u8]) {
    // An upload in parts whose server dies before it has recorded its id is not known to anybody; it has no part yet.
    let writing = || {
        server.count(if is_in_bucket(server) {
            "select count(*) from upload where writer is not null and parts is not null"
        } else {
            "select count(*) from upload where writer is not null"
        })
    };
    let before = writing();
    let mut stream = TcpStream::connect(&server.host).unwrap();
    let head = format!(
        "PATCH /v2/left{path} HTTP/1.1\r\nHost: {}\r\nContent-Length: {}\r\n\r\n",
        server.host,
        content.len() + 1
    );
    stream.write_all(head.as_bytes()).unwrap();
    stream.write_all(content).unwrap();
    let start = Instant::now();
    while writing() == before {
        assert!(start.elapsed() < Duration::from_secs(20), "the request is never begun");
        thread::sleep(Duration::from_millis(5));
    }
}

fn is_in_bucket(server: &Server) -> bool {
    server.storage() != Storage::Disk
}

/// How many objects there are.
pub(crate) fn objects(server: &Server) -> usize {
    // The store's mark is none.
    if is_in_bucket(server) { buckets::objects(server).len() } else { files(&server.data().join("objects")).len() - 1 }
}

/// How many of these keys have an object.
fn stored_for(server: &Server, keys: &[String]) -> usize {
    let has = |key: &&String| {
        if is_in_bucket(server) {
            buckets::objects(server).iter().any(|path| path.as_ref().ends_with(key.as_str()))
        } else {
            server.data().join("objects").join(key).exists()
        }
    };
    keys.iter().filter(has).count()
}

/// Whether the store says which uploads in parts are open.
fn lists_uploads(server: &Server) -> bool {
    is_in_bucket(server) && server.storage() != Storage::S3(S3Kind::InProcess)
}

/// How many uploads in parts are open at these keys; none where the store does not say.
fn open_uploads(server: &Server, keys: &[String]) -> usize {
    let open = |key: &String| server.bucket().open_uploads(&format!("some/prefix/{key}")).len();
    if lists_uploads(server) { keys.iter().map(open).sum() } else { 0 }
}
