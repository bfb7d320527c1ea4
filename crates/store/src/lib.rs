//! Bytes by key.
//!
//! This is the only crate that knows keys and where objects are. It does not know digests of blobs, names or SQL: what an
//! object means stands in the index. An upload streams straight to its final key, so nothing is ever copied or moved.

mod error;
mod key;
mod read;
mod upload;

use std::{
    fs,
    path::{Path, PathBuf},
    sync::Arc,
};

use futures_util::{StreamExt as _, TryStreamExt as _, stream::BoxStream};
use object_store::{ObjectStore, ObjectStoreExt as _, local::LocalFileSystem};

pub use error::Error;
pub use key::Key;
pub use read::Chunks;
pub use upload::{Received, Writer};

/// Where the store's mark is.
const MARK: &str = "pedigree-store";

/// Where the bytes of blobs are. Today a folder on disk; `upload` and `read` are the only places that know so.
#[derive(Debug, Clone)]
pub struct Store {
    objects: Arc<LocalFileSystem>,
    root: PathBuf,
}

impl Store {
    /// The store in a folder, made when it does not exist.
    ///
    /// # Errors
    /// [`Error::Io`] when the folder cannot be made.
    pub fn disk(root: &Path) -> Result<Self, Error> {
        fs::create_dir_all(root)?;
        let root = root.canonicalize()?;
        // Empty folders stay: to remove one while an upload is about to use it would fail that upload.
        let objects = LocalFileSystem::new_with_prefix(&root).map_err(Error::from_object_store)?;
        Ok(Self { objects: Arc::new(objects), root })
    }

    /// Whether the folder has a store in it that a registry has marked. Nothing is made.
    #[must_use]
    pub fn is_marked(root: &Path) -> bool {
        root.join(MARK).exists()
    }

    /// The mark by which a registry knows its store again, if it has been given one.
    ///
    /// # Errors
    /// [`Error::Io`] when it cannot be read.
    pub async fn mark(&self) -> Result<Option<String>, Error> {
        match tokio::fs::read_to_string(self.root.join(MARK)).await {
            Ok(mark) => Ok(Some(mark.trim().to_owned())),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    /// Gives the store its mark, durably.
    ///
    /// # Errors
    /// [`Error::Io`] when it cannot be written.
    pub async fn set_mark(&self, mark: &str) -> Result<(), Error> {
        let (root, mark) = (self.root.clone(), format!("{mark}\n"));
        let written = tokio::task::spawn_blocking(move || {
            // Under another name until it is whole: a mark that was cut off would be another mark.
            let (whole, part) = (root.join(MARK), root.join(format!("{MARK}.part")));
            let mut file = fs::File::create(&part)?;
            std::io::Write::write_all(&mut file, mark.as_bytes())?;
            file.sync_all()?;
            fs::rename(part, whole)?;
            upload::sync(&root)
        });
        Ok(written.await.map_err(std::io::Error::other)??)
    }

    /// Continues the object at `key` after its first `offset` bytes, which `hasher` has seen; begins it at 0.
    ///
    /// # Errors
    /// [`Error::NotFound`] when bytes that should be there are not.
    pub async fn write(&self, key: &Key, offset: u64, hasher: oci::Hasher) -> Result<Writer, Error> {
        Writer::open(self.path(key), offset, hasher).await
    }

    /// Reads `length` bytes of the object, from `offset` on.
    ///
    /// # Errors
    /// [`Error::NotFound`] when there is no such object.
    pub async fn read(&self, key: &Key, offset: u64, length: u64) -> Result<Chunks, Error> {
        Chunks::open(self.path(key), offset, length).await
    }

    /// Reads the whole object, which the caller knows to be small.
    ///
    /// # Errors
    /// [`Error::NotFound`] when there is no such object, [`Error::Io`] when it is larger than `limit` bytes.
    pub async fn read_small(&self, key: &Key, limit: u64) -> Result<Vec<u8>, Error> {
        let size = self.size(key).await?;
        if size > limit {
            return Err(Error::Io(std::io::Error::other(format!("{size} bytes are more than {limit}"))));
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

    /// The object as a blocking reader, for the scanner.
    ///
    /// # Errors
    /// [`Error::NotFound`] when there is no such object.
    pub fn open(&self, key: &Key) -> Result<impl std::io::Read + Send + 'static, Error> {
        Ok(fs::File::open(self.path(key))?)
    }

    /// The size of the object in bytes.
    ///
    /// # Errors
    /// [`Error::NotFound`] when there is no such object.
    pub async fn size(&self, key: &Key) -> Result<u64, Error> {
        Ok(self.objects.head(&key.path()).await.map_err(Error::from_object_store)?.size)
    }

    /// Deletes the object, durably. That it is gone already is no error: a deletion may be repeated.
    ///
    /// # Errors
    /// [`Error::Io`] when it is still there.
    pub async fn delete(&self, key: &Key) -> Result<(), Error> {
        match self.objects.delete(&key.path()).await.map_err(Error::from_object_store) {
            Err(Error::NotFound) => return Ok(()),
            deleted => deleted?,
        }
        let path = self.path(key);
        let folder = path.parent().map(Path::to_path_buf).unwrap_or(path);
        Ok(tokio::task::spawn_blocking(move || upload::sync(&folder)).await.map_err(std::io::Error::other)??)
    }

    /// Every key in the store, in no order. What is no key of this registry is an error of its own.
    pub fn list(&self) -> BoxStream<'_, Result<Result<Key, String>, Error>> {
        let objects = self.objects.list(None).map_err(Error::from_object_store);
        let objects = objects.try_filter(|object| std::future::ready(object.location.as_ref() != MARK));
        objects.map_ok(|object| Key::parse(object.location.as_ref())).boxed()
    }

    fn path(&self, key: &Key) -> PathBuf {
        self.root.join(key.path().as_ref())
    }
}
