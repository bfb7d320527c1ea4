//! Objects as files of a folder.

mod output;
mod read;
mod write;

use std::{
    fs, io,
    path::{Path, PathBuf},
    sync::Arc,
};

use futures_util::{StreamExt as _, TryStreamExt as _, stream::BoxStream};
use object_store::{ObjectStore as _, ObjectStoreExt as _, local::LocalFileSystem};
use tokio::sync::Semaphore;

pub(crate) use self::{read::Chunks, write::Writer};
use crate::{Error, Key, MARK, Received};

/// A folder with objects in it.
#[derive(Debug, Clone)]
pub(crate) struct Folder {
    objects: Arc<LocalFileSystem>,
    root: PathBuf,
    /// How many more files may be written in large blocks.
    few: Arc<Semaphore>,
}

impl Folder {
    pub(crate) fn open(root: &Path) -> Result<Self, Error> {
        fs::create_dir_all(root)?;
        let root = root.canonicalize()?;
        // Empty folders stay: to remove one while an upload is about to use it would fail that upload.
        let objects = LocalFileSystem::new_with_prefix(&root).map_err(Error::from_object_store)?;
        Ok(Self { objects: Arc::new(objects), root, few: Arc::new(Semaphore::new(write::FEW)) })
    }

    pub(crate) async fn mark(&self) -> Result<Option<String>, Error> {
        match tokio::fs::read_to_string(self.root.join(MARK)).await {
            Ok(mark) => Ok(Some(mark.trim().to_owned())),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    pub(crate) async fn set_mark(&self, mark: &str) -> Result<(), Error> {
        let (root, mark) = (self.root.clone(), format!("{mark}\n"));
        let written = tokio::task::spawn_blocking(move || {
            // Under another name until it is whole: a mark that was cut off would be another mark.
            let (whole, part) = (root.join(MARK), root.join(format!("{MARK}.part")));
            let mut file = fs::File::create(&part)?;
            io::Write::write_all(&mut file, mark.as_bytes())?;
            file.sync_all()?;
            fs::rename(part, whole)?;
            write::sync(&root)
        });
        Ok(written.await.map_err(io::Error::other)??)
    }

    pub(crate) async fn write(&self, key: &Key, received: Received, coming: Option<u64>) -> Result<Writer, Error> {
        Writer::open(self.path(key), received, coming, Arc::clone(&self.few)).await
    }

    pub(crate) async fn read(&self, key: &Key, offset: u64, length: u64) -> Result<Chunks, Error> {
        Chunks::open(self.path(key), offset, length).await
    }

    pub(crate) fn reader(&self, key: &Key) -> Result<fs::File, Error> {
        Ok(fs::File::open(self.path(key))?)
    }

    pub(crate) async fn size(&self, key: &Key) -> Result<u64, Error> {
        Ok(self.objects.head(&self.location(key)).await.map_err(Error::from_object_store)?.size)
    }

    pub(crate) async fn delete(&self, key: &Key) -> Result<(), Error> {
        match self.objects.delete(&self.location(key)).await.map_err(Error::from_object_store) {
            Err(Error::NotFound) => return Ok(()),
            deleted => deleted?,
        }
        let path = self.path(key);
        let folder = path.parent().map(Path::to_path_buf).unwrap_or(path);
        Ok(tokio::task::spawn_blocking(move || write::sync(&folder)).await.map_err(io::Error::other)??)
    }

    pub(crate) async fn delete_all(&self, keys: &[Key]) -> Result<(), Error> {
        let paths: Vec<_> = keys.iter().map(|key| self.path(key)).collect();
        let delete = move || {
            paths.iter().try_for_each(|path| match fs::remove_file(path) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
                _ => Ok(()),
            })
        };
        Ok(tokio::task::spawn_blocking(delete).await.map_err(io::Error::other)??)
    }

    pub(crate) async fn sync_deletions(&self) -> Result<(), Error> {
        let root = self.root.clone();
        // Once for all of their folders: one after the other they would hold up every push for its own sync.
        let sync = move || -> io::Result<()> { Ok(rustix::fs::syncfs(fs::File::open(root)?)?) };
        Ok(tokio::task::spawn_blocking(sync).await.map_err(io::Error::other)??)
    }

    pub(crate) fn list(&self) -> BoxStream<'_, Result<Result<Key, String>, Error>> {
        let objects = self.objects.list(None).map_err(Error::from_object_store);
        let objects = objects.try_filter(|object| std::future::ready(object.location.as_ref() != MARK));
        objects.map_ok(|object| Key::parse(object.location.as_ref())).boxed()
    }

    fn location(&self, key: &Key) -> object_store::path::Path {
        object_store::path::Path::from(key.as_str())
    }

    fn path(&self, key: &Key) -> PathBuf {
        self.root.join(key.as_str())
    }
}
