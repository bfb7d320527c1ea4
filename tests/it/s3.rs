//! One private S3 server of each kind for the whole test process, and as many buckets in it as tests want.
//!
//! A server ends with the process, however that ends: a shell stands between the two, reads from a pipe that only the
//! process holds open, and stops the server and removes its files as soon as the pipe is closed. The server within the
//! process needs nothing installed, and a shell only for its files.

use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use futures_util::TryStreamExt as _;
use hyper_util::rt::{TokioExecutor, TokioIo};
use object_store::aws::{AmazonS3, AmazonS3Builder};
use object_store::multipart::MultipartStore as _;
use object_store::signer::{Method, SignedUrlOptions, Signer as _};
use object_store::{ClientOptions, Error, ObjectStore as _, ObjectStoreExt as _, PutPayload, RetryConfig};
use s3s::auth::SimpleAuth;
use s3s::service::{S3Service, S3ServiceBuilder};
use tempfile::TempDir;

use crate::clients::Bin;
use crate::left_out::left_out;
use crate::wire::{Reply, Wire};

/// Which S3 server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum S3Kind {
    /// Versity's gateway before a folder.
    Versity,
    /// MinIO with one drive.
    Minio,
    /// s3s-fs on loopback, served by this process. It does not list uploads, wants the numbers of parts to be
    /// consecutive, and does not mind an `Authorization` header beside a signed URL, which S3 refuses.
    InProcess,
}

/// A running server.
pub(crate) struct S3 {
    address: SocketAddr,
    buckets: AtomicU32,
    /// Holds the pipe open until the process ends; never read.
    _keeper: Child,
}

/// An empty bucket of its own for a test, and how to get there, with addresses in path style.
#[derive(Debug, Clone)]
pub(crate) struct Bucket {
    /// `http://127.0.0.1:PORT`
    pub(crate) endpoint: String,
    pub(crate) bucket: String,
    pub(crate) region: &'static str,
    pub(crate) access_key: &'static str,
    pub(crate) secret_key: &'static str,
}

/// The one account of each server.
const ACCESS_KEY: &str = "pedigree-tests";
const SECRET_KEY: &str = "a secret of no value";
/// All three take it for their own.
const REGION: &str = "us-east-1";

impl S3 {
    /// The server of this process, started by the first call; `None`, said once, where it is not installed.
    pub(crate) fn get(kind: S3Kind) -> Option<&'static Self> {
        static SERVERS: [OnceLock<Option<S3>>; 3] = [const { OnceLock::new() }; 3];
        let start = || match kind {
            S3Kind::Versity => Self::start("versitygw"),
            S3Kind::Minio => Self::start("minio"),
            S3Kind::InProcess => Some(Self::start_within()),
        };
        SERVERS[kind as usize].get_or_init(start).as_ref()
    }

    /// Creates an empty bucket.
    pub(crate) fn bucket(&self) -> Bucket {
        let number = self.buckets.fetch_add(1, Ordering::Relaxed);
        let bucket = Bucket::named(self.address, format!("bucket-{number}"));
        runtime().block_on(bucket.create()).expect(200);
        bucket
    }

    fn start(name: &str) -> Option<Self> {
        let Some(program) = Bin::find(name) else {
            left_out(name, &format!("tests/clients/install {name}"));
            return None;
        };
        // Another process may take the port between its choice and the server's start.
        let mut attempts = (0..3).map(|_| Self::start_once(name, &program));
        let started = attempts.find_map(|attempt| attempt.inspect_err(|log| eprintln!("{name}:\n{log}")).ok());
        Some(started.unwrap_or_else(|| panic!("{name} does not start")))
    }

    /// Starts a server on an empty folder, or returns its log.
    fn start_once(name: &str, program: &Path) -> Result<Self, String> {
        let folder = folder();
        std::fs::create_dir(folder.join("data")).unwrap();
        let address = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let arguments = match name {
            "minio" => format!("server --quiet --address {address} data"),
            _ => format!("--quiet --port {address} posix data"),
        };
        let mut keeper = keeper(&folder)
            .arg(program)
            .args(arguments.split(' '))
            .envs([("ROOT_ACCESS_KEY", ACCESS_KEY), ("ROOT_SECRET_KEY", SECRET_KEY)])
            .envs([("MINIO_ROOT_USER", ACCESS_KEY), ("MINIO_ROOT_PASSWORD", SECRET_KEY)])
            // Neither a second port nor a look for a newer version.
            .envs([("MINIO_BROWSER", "off"), ("MINIO_UPDATE", "off")])
            .spawn()
            .unwrap();
        let start = Instant::now();
        // It may listen before it knows its account.
        while TcpStream::connect(address).is_err() || !knows_its_account(address) {
            if folder.join("ended").exists() || start.elapsed() > Duration::from_secs(60) {
                let log = std::fs::read_to_string(folder.join("log")).unwrap_or_default();
                keeper.stdin.take();
                keeper.wait().unwrap();
                return Err(log);
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        Ok(Self { address, buckets: AtomicU32::new(0), _keeper: keeper })
    }

    fn start_within() -> Self {
        let folder = folder();
        let keeper = keeper(&folder).arg("true").spawn().unwrap();
        let files = s3s_fs::FileSystem::new(&folder).unwrap();
        let mut service = S3ServiceBuilder::new(files);
        service.set_auth(SimpleAuth::from_single(ACCESS_KEY, SECRET_KEY));
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        listener.set_nonblocking(true).unwrap();
        let service = service.build();
        std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
            runtime.block_on(async { serve(tokio::net::TcpListener::from_std(listener).unwrap(), service).await });
        });
        Self { address, buckets: AtomicU32::new(0), _keeper: keeper }
    }
}

async fn serve(listener: tokio::net::TcpListener, service: S3Service) {
    let http = hyper_util::server::conn::auto::Builder::new(TokioExecutor::new());
    while let Ok((stream, _)) = listener.accept().await {
        let connection = http.serve_connection(TokioIo::new(stream), service.clone()).into_owned();
        tokio::spawn(connection);
    }
}

fn knows_its_account(address: SocketAddr) -> bool {
    runtime().block_on(Bucket::named(address, "first".to_owned()).create()).status == 200
}

/// A new folder, which the keeper removes: the process may not live to do so.
pub(crate) fn folder() -> PathBuf {
    tempfile::Builder::new().prefix("pedigree-server-").tempdir().map(TempDir::keep).unwrap()
}

/// The shell that runs the command given to it, in this folder.
pub(crate) fn keeper(folder: &Path) -> Command {
    let mut keeper = Command::new("sh");
    keeper.args(["-c", KEEPER, "keeper"]).current_dir(folder);
    keeper.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null());
    // An interrupt from the terminal reaches the tests; the keeper then stops the server in its own way.
    keeper.process_group(0);
    keeper
}

/// Runs the server that its arguments name until the standard input is closed, and leaves nothing behind.
const KEEPER: &str = r#"
( sh -c 'echo $$ >pid; exec "$@" >log 2>&1' server "$@"; : >ended ) &
cat >/dev/null
# Nobody wants what is in the buckets any more.
[ -e ended ] || kill -KILL "$(cat pid)"
wait
rm -rf "$PWD"
"#;

impl Bucket {
    fn named(address: SocketAddr, bucket: String) -> Self {
        let endpoint = format!("http://{address}");
        Self { endpoint, bucket, region: REGION, access_key: ACCESS_KEY, secret_key: SECRET_KEY }
    }

    /// A client of the bucket, to look into it behind the back of whoever else uses it.
    pub(crate) fn client(&self) -> AmazonS3 {
        self.builder().build().unwrap()
    }

    fn builder(&self) -> AmazonS3Builder {
        AmazonS3Builder::new()
            .with_endpoint(&self.endpoint)
            .with_bucket_name(&self.bucket)
            .with_region(self.region)
            .with_access_key_id(self.access_key)
            .with_secret_access_key(self.secret_key)
            .with_client_options(ClientOptions::new().with_allow_http(true))
            // What fails is to be seen, not tried again.
            .with_retry(RetryConfig { max_retries: 0, ..RetryConfig::default() })
    }

    /// Asks for the bucket to be made. The client has no call for it, but signs any URL below a bucket's, and the empty
    /// path is the bucket itself.
    async fn create(&self) -> Reply {
        self.signed(Method::PUT, "", "Content-Length: 0").await
    }

    /// Sends a request without a body to a signed URL.
    async fn signed(&self, method: Method, key: &str, headers: &str) -> Reply {
        self.signed_with(method, key, &[], headers).await
    }

    async fn signed_with(&self, method: Method, key: &str, query: &[(&str, &str)], headers: &str) -> Reply {
        let (expiry, options) = (Duration::from_secs(600), SignedUrlOptions::new().with_query(query.iter().copied()));
        let url = self.client().signed_url_opts(method.clone(), &key.into(), expiry, &options).await.unwrap();
        let host = self.endpoint.strip_prefix("http://").unwrap();
        let target = url.as_str().strip_prefix(&self.endpoint).unwrap();
        Wire::new(host).send(&format!("{method} {target} HTTP/1.1\r\nHost: {host}\r\n{headers}"), [b""; 0])
    }

    /// The uploads in parts that are open below a prefix: key and id. Some servers list those of one object only.
    pub(crate) fn open_uploads(&self, prefix: &str) -> Vec<(String, String)> {
        let answer = self.ask("", &[("uploads", ""), ("prefix", prefix)]);
        let uploads = answer.split("<Upload>").skip(1);
        uploads
            .map(|upload| (between(upload, "<Key>", "</Key>"), between(upload, "<UploadId>", "</UploadId>")))
            .collect()
    }

    /// How many parts such an upload has.
    pub(crate) fn parts(&self, (key, id): &(String, String)) -> usize {
        self.ask(key, &[("uploadId", id)]).matches("<PartNumber>").count()
    }

    fn ask(&self, key: &str, query: &[(&str, &str)]) -> String {
        let reply = runtime().block_on(self.signed_with(Method::GET, key, query, "Accept: */*")).expect(200);
        String::from_utf8(reply.body).unwrap()
    }
}

fn between(text: &str, before: &str, after: &str) -> String {
    text.split(before).nth(1).unwrap().split(after).next().unwrap().to_owned()
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap()
}

/// Runs a test on each kind of server.
macro_rules! on_each_s3 {
    ($($(#[$attribute:meta])* async fn $name:ident($bucket:ident: Bucket) $body:block)+) => {$(
        mod $name {
            use super::*;

            async fn run($bucket: Bucket) $body

            fn on(kind: S3Kind) {
                if let Some(s3) = S3::get(kind) {
                    let bucket = s3.bucket();
                    runtime().block_on(run(bucket));
                }
            }

            #[test]
            $(#[$attribute])*
            fn versity() { on(S3Kind::Versity); }

            #[test]
            $(#[$attribute])*
            fn minio() { on(S3Kind::Minio); }

            #[test]
            $(#[$attribute])*
            fn in_process() { on(S3Kind::InProcess); }
        }
    )+};
}

const PART: usize = 5 << 20;

fn part(byte: u8, size: usize) -> PutPayload {
    vec![byte; size].into()
}

async fn content(s3: &AmazonS3, key: &str) -> Bytes {
    s3.get(&key.into()).await.unwrap().bytes().await.unwrap()
}

/// The keys below a prefix.
async fn list(s3: &AmazonS3, prefix: &str) -> Vec<String> {
    let mut keys: Vec<_> =
        s3.list(Some(&prefix.into())).map_ok(|object| object.location.to_string()).try_collect().await.unwrap();
    keys.sort_unstable();
    keys
}

on_each_s3! {
    async fn objects(bucket: Bucket) {
        let s3 = bucket.client();
        for key in ["blobs/a/1", "blobs/a/2", "blobs/b/1", "blobsandmore"] {
            s3.put(&key.into(), Bytes::from_static(b"0123456789").into()).await.unwrap();
        }
        s3.put(&"empty".into(), PutPayload::default()).await.unwrap();
        assert_eq!(content(&s3, "blobs/a/1").await, "0123456789");
        assert_eq!(content(&s3, "empty").await, "");
        assert_eq!(s3.get_range(&"blobs/a/1".into(), 2..5).await.unwrap(), "234");
        assert_eq!(s3.get_range(&"blobs/a/1".into(), 8..50).await.unwrap(), "89");
        assert!(s3.get_range(&"blobs/a/1".into(), 10..20).await.is_err());
        assert_eq!(s3.head(&"blobs/a/1".into()).await.unwrap().size, 10);
        assert_eq!(list(&s3, "blobs/a").await, ["blobs/a/1", "blobs/a/2"]);
        assert_eq!(list(&s3, "blobs").await.len(), 3);
        s3.delete(&"blobs/a/1".into()).await.unwrap();
        // What is not there can be deleted.
        s3.delete(&"blobs/a/1".into()).await.unwrap();
        assert_eq!(list(&s3, "blobs/a").await, ["blobs/a/2"]);
        let gone = s3.head(&"blobs/a/1".into()).await;
        assert!(matches!(gone, Err(Error::NotFound { .. })), "{gone:?}");
    }

    async fn parts_become_one_object(bucket: Bucket) {
        let (s3, key) = (bucket.client(), "blobs/1".into());
        let upload = s3.create_multipart(&key).await.unwrap();
        // In any order, and the last one twice: first what had come until a pause, then all of it.
        let paused = s3.put_part(&key, &upload, 2, part(b'c', 1000)).await.unwrap();
        let second = s3.put_part(&key, &upload, 1, part(b'b', PART)).await.unwrap();
        let first = s3.put_part(&key, &upload, 0, part(b'a', PART)).await.unwrap();
        let last = s3.put_part(&key, &upload, 2, part(b'd', 3000)).await.unwrap();
        assert_ne!(paused.content_id, last.content_id);
        assert!(list(&s3, "blobs").await.is_empty(), "an open upload is no object");
        s3.complete_multipart(&key, &upload, vec![first, second, last]).await.unwrap();
        let expected = [vec![b'a'; PART], vec![b'b'; PART], vec![b'd'; 3000]].concat();
        assert!(content(&s3, "blobs/1").await == expected);
        // The upload is over, and its end takes nothing away.
        assert!(s3.put_part(&key, &upload, 3, part(b'e', 1)).await.is_err());
        // Some say that it is, others that all is well.
        let _ = s3.abort_multipart(&key, &upload).await;
        assert!(content(&s3, "blobs/1").await == expected);
    }

    async fn an_aborted_upload_leaves_nothing(bucket: Bucket) {
        let (s3, key) = (bucket.client(), "blobs/1".into());
        let upload = s3.create_multipart(&key).await.unwrap();
        let only = s3.put_part(&key, &upload, 0, part(b'a', 10)).await.unwrap();
        s3.abort_multipart(&key, &upload).await.unwrap();
        assert!(s3.put_part(&key, &upload, 1, part(b'b', 10)).await.is_err());
        assert!(s3.complete_multipart(&key, &upload, vec![only]).await.is_err());
        assert!(list(&s3, "").await.is_empty());
    }

    async fn a_completed_upload_replaces_what_was_put_meanwhile(bucket: Bucket) {
        let (s3, key) = (bucket.client(), "blobs/1".into());
        let upload = s3.create_multipart(&key).await.unwrap();
        let first = s3.put_part(&key, &upload, 0, part(b'a', PART)).await.unwrap();
        s3.put(&key, Bytes::from_static(b"meanwhile").into()).await.unwrap();
        assert_eq!(content(&s3, "blobs/1").await, "meanwhile");
        let last = s3.put_part(&key, &upload, 1, part(b'b', 10)).await.unwrap();
        s3.complete_multipart(&key, &upload, vec![first, last]).await.unwrap();
        assert!(content(&s3, "blobs/1").await == [vec![b'a'; PART], vec![b'b'; 10]].concat());
        // Nor does a deletion of the object end an upload.
        let upload = s3.create_multipart(&key).await.unwrap();
        let only = s3.put_part(&key, &upload, 0, part(b'c', 10)).await.unwrap();
        s3.delete(&key).await.unwrap();
        s3.complete_multipart(&key, &upload, vec![only]).await.unwrap();
        assert_eq!(content(&s3, "blobs/1").await, "cccccccccc");
    }

    async fn signed_urls(bucket: Bucket) {
        let s3 = bucket.client();
        s3.put(&"blobs/1".into(), Bytes::from_static(b"0123456789").into()).await.unwrap();
        let whole = bucket.signed(Method::GET, "blobs/1", "Accept: */*").await.expect(200);
        assert_eq!(whole.body, b"0123456789");
        let part = bucket.signed(Method::GET, "blobs/1", "Range: bytes=2-4").await.expect(206);
        assert_eq!((part.header("content-range"), &part.body[..]), (Some("bytes 2-4/10"), &b"234"[..]));
        bucket.signed(Method::GET, "blobs/1", "Range: bytes=10-").await.expect(416);
        bucket.signed(Method::GET, "blobs/2", "Accept: */*").await.expect(404);
    }

    async fn only_the_account_may(bucket: Bucket) {
        bucket.client().put(&"blobs/1".into(), PutPayload::default()).await.unwrap();
        let other = bucket.builder().with_secret_access_key("another").build().unwrap();
        let refused = other.head(&"blobs/1".into()).await;
        assert!(matches!(refused, Err(Error::PermissionDenied { .. })), "{refused:?}");
    }
}
