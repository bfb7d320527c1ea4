//! Objects in a bucket of S3, or of what speaks like it.
//!
//! An object that is larger than one part is uploaded in parts of equal size, straight to its final key. What is left over
//! when a request ends, the tail, cannot be read back from an open upload in parts; so it is kept as an ordinary object at
//! the same key, which the completed upload then replaces, and as a part, so that completing needs nothing but one call.

mod parts;
mod read;
mod write;

use std::{
    fmt, io,
    sync::{Arc, atomic::AtomicUsize},
    time::Duration,
};

use bytes::Bytes;
use futures_util::{StreamExt as _, TryStreamExt as _, stream::BoxStream};
use http::Method;
use object_store::{
    Certificate, ClientOptions, ObjectStore as _, ObjectStoreExt as _, PutPayload, RetryConfig,
    aws::{AmazonS3, AmazonS3Builder, AmazonS3ConfigKey},
    multipart::MultipartStore as _,
    path::Path,
    signer::Signer as _,
};
use tokio::sync::Semaphore;

pub use self::parts::Parts;
pub(crate) use self::write::Writer;
use crate::{Error, Key, MARK, Received};

/// The smallest part that S3 takes, unless it is the last.
const SMALLEST_PART: u64 = 5 << 20;
/// The most parts that S3 takes.
const MOST_PARTS: u64 = 10_000;

/// Which bucket, and how it is reached.
#[derive(Clone)]
pub struct S3Options {
    /// Its name.
    pub bucket: String,
    /// What the names of all objects begin with; may be empty.
    pub prefix: String,
    /// The server, as `https://HOST[:PORT]`; nothing for AWS.
    pub endpoint: Option<String>,
    /// The region, where it is not the one that the environment names.
    pub region: Option<String>,
    /// Whether the bucket stands in the path of an address and not in its host.
    pub path_style: bool,
    /// Access key and secret; without them, whatever the environment has.
    pub credentials: Option<(String, String)>,
    /// The environment's `AWS_…` variables.
    pub environment: Vec<(String, String)>,
    /// Another authority, as PEM, that the server's certificate may be signed by.
    pub authority: Option<Vec<u8>>,
    /// The server as clients reach it, where that is another name.
    pub public_endpoint: Option<String>,
    /// The size of a part in bytes.
    pub part_size: u64,
    /// How many bytes of parts may be in memory at once.
    pub budget: u64,
    /// How long the server may be silent.
    pub timeout: Duration,
}

impl fmt::Debug for S3Options {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "s3://{}/{}", self.bucket, self.prefix)
    }
}

/// A bucket with objects in it.
#[derive(Debug, Clone)]
pub(crate) struct Bucket(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    client: AmazonS3,
    /// Signs addresses as clients reach them.
    signer: AmazonS3,
    prefix: Path,
    part_size: u64,
    budget: Budget,
}

/// Memory for parts. A part asks for all that it may need before its first byte is kept, so that whoever has begun one can
/// end it.
#[derive(Debug)]
struct Budget {
    /// In KiB.
    free: Arc<Semaphore>,
    waiting: AtomicUsize,
}

impl Bucket {
    pub(crate) fn open(options: &S3Options) -> Result<Self, Error> {
        let wrong = |why: &str| Err(Error::Io(io::Error::new(io::ErrorKind::InvalidInput, why.to_owned())));
        if options.part_size < SMALLEST_PART {
            return wrong("a part has at least 5 MiB");
        }
        if options.budget < 2 * options.part_size {
            return wrong("the memory for parts must hold two of them at least");
        }
        let client = client(options, options.endpoint.as_deref())?;
        let signer = match &options.public_endpoint {
            Some(endpoint) => self::client(options, Some(endpoint))?,
            None => client.clone(),
        };
        let permits = usize::try_from(options.budget / 1024).unwrap_or(Semaphore::MAX_PERMITS);
        let free = Arc::new(Semaphore::new(permits.min(Semaphore::MAX_PERMITS)));
        Ok(Self(Arc::new(Inner {
            client,
            signer,
            prefix: Path::from(&*options.prefix),
            part_size: options.part_size,
            budget: Budget { free, waiting: AtomicUsize::new(0) },
        })))
    }

    pub(crate) async fn mark(&self) -> Result<Option<String>, Error> {
        let mark = async { self.0.client.get(&self.named(MARK)).await?.bytes().await };
        match mark.await.map_err(Error::from_object_store) {
            Ok(mark) => Ok(Some(String::from_utf8_lossy(&mark).trim().to_owned())),
            Err(Error::NotFound) => Ok(None),
            Err(error) => Err(error),
        }
    }

    pub(crate) async fn set_mark(&self, mark: &str) -> Result<(), Error> {
        let payload = PutPayload::from(format!("{mark}\n"));
        self.0.client.put(&self.named(MARK), payload).await.map(drop).map_err(Error::from_object_store)
    }

    pub(crate) async fn write(&self, key: &Key, received: Received, coming: Option<u64>) -> Result<Writer, Error> {
        Writer::open(self.clone(), self.path(key), received, coming).await
    }

    pub(crate) async fn complete(&self, key: &Key, received: &Received) -> Result<(), Error> {
        let Some(held) = &received.parts else { return Ok(()) };
        let Some((id, parts)) = held.to_complete() else { return Ok(()) };
        let (path, expected) = (self.path(key), format!("-{}", parts.len()));
        let completed = self.0.client.complete_multipart(&path, id, parts).await;
        // What was uploaded in parts is named after their number. But with the tail as an object at the key, a server may say
        // that all is well although it does not know the upload any more: Versity's takes the object for the whole.
        let is_whole = |e_tag: &String| e_tag.trim_matches('"').ends_with(&expected);
        if !held.is_readable() && completed.as_ref().is_ok_and(|done| done.e_tag.as_ref().is_some_and(is_whole)) {
            return Ok(());
        }
        // It may also have been completed without anybody hearing of it; servers differ in how they answer when that is
        // repeated. Then the object is there, and whole: a tail is smaller.
        match (self.size(key).await, completed.map_err(Error::from_object_store)) {
            (Ok(size), _) if size == received.bytes => Ok(()),
            (Ok(_) | Err(Error::NotFound), Ok(_) | Err(Error::NotFound)) => {
                Err(Error::without_parts(received.hasher.algorithm()))
            }
            (Err(error), Ok(_)) | (_, Err(error)) => Err(error),
        }
    }

    pub(crate) async fn abort(&self, key: &Key, parts: &Parts) -> Result<(), Error> {
        let Some(id) = parts.id() else { return Ok(()) };
        let aborted = self.0.client.abort_multipart(&self.path(key), id).await;
        match aborted.map_err(Error::from_object_store) {
            Err(Error::NotFound) => Ok(()),
            aborted => aborted,
        }
    }

    pub(crate) async fn read(
        &self,
        key: &Key,
        offset: u64,
        length: u64,
    ) -> Result<BoxStream<'static, Result<Bytes, Error>>, Error> {
        read::stream(&self.0.client, self.path(key), offset, length).await
    }

    pub(crate) async fn reader(&self, key: &Key) -> Result<read::Reader, Error> {
        let size = self.size(key).await?;
        Ok(read::Reader::new(self.0.client.clone(), self.path(key), size))
    }

    pub(crate) async fn address(&self, key: &Key, lifetime: Duration) -> Result<String, Error> {
        let address = self.0.signer.signed_url(Method::GET, &self.path(key), lifetime).await;
        address.map(String::from).map_err(Error::from_object_store)
    }

    pub(crate) async fn size(&self, key: &Key) -> Result<u64, Error> {
        Ok(self.0.client.head(&self.path(key)).await.map_err(Error::from_object_store)?.size)
    }

    pub(crate) async fn delete(&self, key: &Key) -> Result<(), Error> {
        match self.0.client.delete(&self.path(key)).await.map_err(Error::from_object_store) {
            Err(Error::NotFound) => Ok(()),
            deleted => deleted,
        }
    }

    pub(crate) async fn delete_all(&self, keys: &[Key]) -> Result<(), Error> {
        let paths: Vec<_> = keys.iter().map(|key| Ok(self.path(key))).collect();
        let mut deleted = self.0.client.delete_stream(futures_util::stream::iter(paths).boxed());
        while let Some(deleted) = deleted.next().await {
            match deleted.map_err(Error::from_object_store) {
                Ok(_) | Err(Error::NotFound) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    pub(crate) fn list(&self) -> BoxStream<'_, Result<Result<Key, String>, Error>> {
        let prefix = Some(&self.0.prefix).filter(|prefix| !prefix.as_ref().is_empty());
        let objects = self.0.client.list(prefix).map_err(Error::from_object_store);
        let names = objects.map_ok(|object| {
            let name = object.location.as_ref();
            let named = name.strip_prefix(self.0.prefix.as_ref()).unwrap_or(name);
            named.trim_start_matches('/').to_owned()
        });
        let names = names.try_filter(|name| std::future::ready(name != MARK));
        names.map_ok(|name| Key::parse(&name)).boxed()
    }

    fn path(&self, key: &Key) -> Path {
        self.named(key.as_str())
    }

    fn named(&self, name: &str) -> Path {
        name.split('/').fold(self.0.prefix.clone(), |path, part| path.join(part))
    }
}

fn client(options: &S3Options, endpoint: Option<&str>) -> Result<AmazonS3, Error> {
    let mut builder = AmazonS3Builder::new();
    if let Some((key, secret)) = &options.credentials {
        builder = builder.with_access_key_id(key).with_secret_access_key(secret);
    }
    for (name, value) in &options.environment {
        let Ok(key) = name.to_ascii_lowercase().parse::<AmazonS3ConfigKey>() else { continue };
        // Keys that are configured are not mixed with those of the environment.
        let is_credential = matches!(
            key,
            AmazonS3ConfigKey::AccessKeyId | AmazonS3ConfigKey::SecretAccessKey | AmazonS3ConfigKey::Token
        );
        if options.credentials.is_none() || !is_credential {
            builder = builder.with_config(key, value);
        }
    }
    if let Some(region) = &options.region {
        builder = builder.with_region(region);
    }
    // From here to the endpoint by plain HTTP is the operator's choice.
    let plain = endpoint.is_some_and(|endpoint| endpoint.starts_with("http://"));
    if let Some(endpoint) = endpoint {
        builder = builder.with_endpoint(endpoint.trim_end_matches('/'));
    }
    let mut connections = ClientOptions::new()
        .with_allow_http(plain)
        // No limit on how long a request takes, only on silence.
        .with_timeout_disabled()
        .with_connect_timeout(Duration::from_secs(5))
        .with_read_timeout(options.timeout);
    if let Some(authority) = &options.authority {
        for certificate in Certificate::from_pem_bundle(authority).map_err(Error::from_object_store)? {
            connections = connections.with_root_certificate(certificate);
        }
    }
    let retry = RetryConfig { max_retries: 6, retry_timeout: options.timeout, ..RetryConfig::default() };
    builder
        .with_bucket_name(&options.bucket)
        .with_virtual_hosted_style_request(!options.path_style)
        // The registry hashes every byte itself; to hash it once more for the signature would double the cost.
        .with_unsigned_payload(true)
        .with_client_options(connections)
        .with_retry(retry)
        .build()
        .map_err(Error::from_object_store)
}
