//! Bytes by key.
//!
//! This is the only crate that knows keys and where objects are. It does not know digests of blobs, names or SQL: what an
//! object means stands in the index. An upload streams straight to its final key, so nothing is ever copied or moved.

mod disk;
mod error;
mod key;
mod s3;

use std::{
    io,
    path::{Path, PathBuf},
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use bytes::Bytes;
use futures_util::{Stream, TryStreamExt as _, stream::BoxStream};
use oci::Hasher;

pub use error::Error;
pub use key::Key;
pub use s3::{Parts, S3Options};

/// The name of the store's mark.
const MARK: &str = "pedigree-store";

/// Where a store is.
#[derive(Debug, Clone)]
pub enum Location {
    /// In this folder.
    Disk(PathBuf),
    /// In a bucket of S3, or of what speaks like it.
    S3(Box<S3Options>),
}

impl Location {
    /// Whether there is a store that a registry has marked. Nothing is made.
    ///
    /// # Errors
    /// [`Error::Unavailable`] or [`Error::Io`] when that cannot be found out.
    pub async fn is_marked(&self) -> Result<bool, Error> {
        match self {
            Self::Disk(folder) => Ok(folder.join(MARK).exists()),
            Self::S3(options) => Ok(s3::Bucket::open(options)?.mark().await?.is_some()),
        }
    }
}

/// Where the bytes of blobs are.
#[derive(Debug, Clone)]
pub struct Store(Backend);

#[derive(Debug, Clone)]
enum Backend {
    Disk(disk::Folder),
    S3(s3::Bucket),
}

/// What an object under way has so far; all of it is durable. Whoever records it can continue the object anywhere.
#[derive(Debug, Clone)]
pub struct Received {
    /// How many bytes it has.
    pub bytes: u64,
    /// The hash over all of them.
    pub hasher: Hasher,
    /// How a bucket holds them; nothing on disk.
    pub parts: Option<Parts>,
}

impl Received {
    /// What an object has before its first byte.
    #[must_use]
    pub const fn nothing(hasher: Hasher) -> Self {
        Self { bytes: 0, hasher, parts: None }
    }
}

/// Whether an object will get more bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// It may be continued.
    Open,
    /// These were its last bytes.
    Last,
}

/// An object under way. Dropped without [`Writer::finish`], what was written since the last [`Writer::checkpoint`] is not
/// counted and will be written again.
#[derive(Debug)]
pub struct Writer(Writing);

#[derive(Debug)]
enum Writing {
    Disk(Box<disk::Writer>),
    S3(Box<s3::Writer>),
}

/// The bytes of an object, in order.
pub struct Chunks(Reading);

enum Reading {
    Disk(disk::Chunks),
    S3(BoxStream<'static, Result<Bytes, Error>>),
}

impl Store {
    /// Opens the store; on disk its folder is made when it does not exist.
    ///
    /// # Errors
    /// [`Error::Io`] when the folder cannot be made or the options do not name a bucket.
    pub fn open(location: &Location) -> Result<Self, Error> {
        Ok(Self(match location {
            Location::Disk(folder) => Backend::Disk(disk::Folder::open(folder)?),
            Location::S3(options) => Backend::S3(s3::Bucket::open(options)?),
        }))
    }

    /// The store in a folder.
    ///
    /// # Errors
    /// [`Error::Io`] when the folder cannot be made.
    pub fn disk(folder: &Path) -> Result<Self, Error> {
        Ok(Self(Backend::Disk(disk::Folder::open(folder)?)))
    }

    /// The mark by which a registry knows its store again, if it has been given one.
    ///
    /// # Errors
    /// [`Error::Unavailable`] or [`Error::Io`] when it cannot be read.
    pub async fn mark(&self) -> Result<Option<String>, Error> {
        match &self.0 {
            Backend::Disk(folder) => folder.mark().await,
            Backend::S3(bucket) => bucket.mark().await,
        }
    }

    /// Gives the store its mark, durably.
    ///
    /// # Errors
    /// [`Error::Unavailable`] or [`Error::Io`] when it cannot be written.
    pub async fn set_mark(&self, mark: &str) -> Result<(), Error> {
        match &self.0 {
            Backend::Disk(folder) => folder.set_mark(mark).await,
            Backend::S3(bucket) => bucket.set_mark(mark).await,
        }
    }

    /// Continues the object at `key` after what it has received; begins it when that is nothing. `coming` is how many
    /// bytes are announced.
    ///
    /// # Errors
    /// [`Error::NotFound`] when bytes that should be there are not, [`Error::Lost`] when only the last of them are not,
    /// [`Error::TooLarge`] when what is coming would not fit.
    pub async fn write(&self, key: &Key, received: Received, coming: Option<u64>) -> Result<Writer, Error> {
        Ok(Writer(match &self.0 {
            Backend::Disk(folder) => Writing::Disk(Box::new(folder.write(key, received, coming).await?)),
            Backend::S3(bucket) => Writing::S3(Box::new(bucket.write(key, received, coming).await?)),
        }))
    }

    /// Makes an object of what was received with [`End::Last`]. In a bucket that costs at most one call, whatever the size,
    /// and a look at the object where an earlier request left bytes over. It may be repeated.
    ///
    /// # Errors
    /// [`Error::Unavailable`] or [`Error::Io`] when that fails; [`Error::Lost`] when the bytes are gone.
    pub async fn complete(&self, key: &Key, received: &Received) -> Result<(), Error> {
        match &self.0 {
            Backend::Disk(_) => Ok(()),
            Backend::S3(bucket) => bucket.complete(key, received).await,
        }
    }

    /// Deletes an object under way, with what a bucket holds of it in parts. That it is gone already is no error.
    ///
    /// # Errors
    /// [`Error::Unavailable`] or [`Error::Io`] when something of it is still there.
    pub async fn discard(&self, key: &Key, parts: Option<&Parts>) -> Result<(), Error> {
        if let (Backend::S3(bucket), Some(parts)) = (&self.0, parts) {
            bucket.abort(key, parts).await?;
        }
        self.delete(key).await
    }

    /// Ends every upload in parts at the key that the bucket knows of. One whose server died before it recorded the id is
    /// known to the bucket alone.
    ///
    /// # Errors
    /// [`Error::Unavailable`] or [`Error::Io`] when one may still be open.
    pub async fn abort_all(&self, key: &Key) -> Result<(), Error> {
        match &self.0 {
            Backend::Disk(_) => Ok(()),
            Backend::S3(bucket) => bucket.abort_all(key).await,
        }
    }

    /// Reads `length` bytes of the object, from `offset` on.
    ///
    /// # Errors
    /// [`Error::NotFound`] when there is no such object.
    pub async fn read(&self, key: &Key, offset: u64, length: u64) -> Result<Chunks, Error> {
        Ok(Chunks(match &self.0 {
            Backend::Disk(folder) => Reading::Disk(folder.read(key, offset, length).await?),
            Backend::S3(bucket) => Reading::S3(bucket.read(key, offset, length).await?),
        }))
    }

    /// Reads the whole object, which the caller knows to be small.
    ///
    /// # Errors
    /// [`Error::NotFound`] when there is no such object, [`Error::Io`] when it is larger than `limit` bytes.
    pub async fn read_small(&self, key: &Key, limit: u64) -> Result<Vec<u8>, Error> {
        let size = self.size(key).await?;
        if size > limit {
            return Err(Error::Io(io::Error::other(format!("{size} bytes are more than {limit}"))));
        }
        let chunks = self.read(key, 0, size).await?;
        let whole = Vec::with_capacity(usize::try_from(size).unwrap_or_default());
        chunks
            .try_fold(whole, |mut whole, chunk| async move {
                whole.extend_from_slice(&chunk);
                Ok(whole)
            })
            .await
    }

    /// The object as a blocking reader, for the scanner. Must be called within the runtime, and be read outside of it.
    ///
    /// # Errors
    /// [`Error::NotFound`] when there is no such object.
    pub async fn reader(&self, key: &Key) -> Result<Box<dyn io::Read + Send>, Error> {
        Ok(match &self.0 {
            Backend::Disk(folder) => Box::new(folder.reader(key)?),
            Backend::S3(bucket) => Box::new(bucket.reader(key).await?),
        })
    }

    /// An address at which the holder can read the object for this long, without an account. `None` when the store is
    /// reached through its server alone.
    ///
    /// # Errors
    /// [`Error::Unavailable`] or [`Error::Io`] when there are no credentials to sign it with.
    pub async fn address(&self, key: &Key, lifetime: Duration) -> Result<Option<String>, Error> {
        match &self.0 {
            Backend::Disk(_) => Ok(None),
            Backend::S3(bucket) => bucket.address(key, lifetime).await.map(Some),
        }
    }

    /// The size of the object in bytes.
    ///
    /// # Errors
    /// [`Error::NotFound`] when there is no such object.
    pub async fn size(&self, key: &Key) -> Result<u64, Error> {
        match &self.0 {
            Backend::Disk(folder) => folder.size(key).await,
            Backend::S3(bucket) => bucket.size(key).await,
        }
    }

    /// Deletes the object, durably. That it is gone already is no error: a deletion may be repeated.
    ///
    /// # Errors
    /// [`Error::Unavailable`] or [`Error::Io`] when it is still there.
    pub async fn delete(&self, key: &Key) -> Result<(), Error> {
        match &self.0 {
            Backend::Disk(folder) => folder.delete(key).await,
            Backend::S3(bucket) => bucket.delete(key).await,
        }
    }

    /// Deletes all of these objects, as [`Store::delete`] does one, but durably only after [`Store::sync_deletions`]; a
    /// bucket takes a thousand at once.
    ///
    /// # Errors
    /// [`Error::Unavailable`] or [`Error::Io`] when one of them is still there.
    pub async fn delete_all(&self, keys: &[Key]) -> Result<(), Error> {
        match &self.0 {
            Backend::Disk(folder) => folder.delete_all(keys).await,
            Backend::S3(bucket) => bucket.delete_all(keys).await,
        }
    }

    /// Makes durable what [`Store::delete_all`] did.
    ///
    /// # Errors
    /// [`Error::Io`] when a deletion may come undone.
    pub async fn sync_deletions(&self) -> Result<(), Error> {
        match &self.0 {
            Backend::Disk(folder) => folder.sync_deletions().await,
            // A bucket forgets at once.
            Backend::S3(_) => Ok(()),
        }
    }

    /// Every key in the store, in no order. What is no key of this registry is an error of its own.
    pub fn list(&self) -> BoxStream<'_, Result<Result<Key, String>, Error>> {
        match &self.0 {
            Backend::Disk(folder) => folder.list(),
            Backend::S3(bucket) => bucket.list(),
        }
    }
}

impl Writer {
    /// Takes more bytes. Waits while the store is behind. `Some` when an upload in parts has begun: it must be recorded
    /// before anything else is done, so that no part is ever untracked.
    ///
    /// # Errors
    /// When the store has failed.
    pub async fn write(&mut self, bytes: Bytes) -> Result<Option<Parts>, Error> {
        match &mut self.0 {
            Writing::Disk(writer) => writer.write(bytes).await.map(|()| None),
            Writing::S3(writer) => writer.write(bytes).await,
        }
    }

    /// What is durable by now, if that is more than at the last call.
    ///
    /// # Errors
    /// When the store has failed.
    pub async fn checkpoint(&mut self) -> Result<Option<Received>, Error> {
        match &mut self.0 {
            Writing::Disk(writer) => writer.checkpoint().await,
            Writing::S3(writer) => writer.checkpoint().await,
        }
    }

    /// Whether this object has kept memory for long that others wait for.
    #[must_use]
    pub fn lags(&self) -> bool {
        match &self.0 {
            Writing::Disk(_) => false,
            Writing::S3(writer) => writer.lags(),
        }
    }

    /// Makes everything durable.
    ///
    /// # Errors
    /// [`Error::Full`] when there is no room, [`Error::Unavailable`] or [`Error::Io`] when writing fails otherwise.
    pub async fn finish(self, end: End) -> Result<Received, Error> {
        match self.0 {
            Writing::Disk(writer) => writer.finish().await,
            Writing::S3(writer) => writer.finish(end).await,
        }
    }
}

impl Stream for Chunks {
    type Item = Result<Bytes, Error>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        match &mut self.0 {
            Reading::Disk(chunks) => Pin::new(chunks).poll_next(context),
            Reading::S3(stream) => stream.as_mut().poll_next(context),
        }
    }
}

impl std::fmt::Debug for Chunks {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Chunks")
    }
}
