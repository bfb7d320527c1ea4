//! Writing an object as it arrives: hashed and written on a thread of its own, never held whole.

use std::{
    fs::{self, File, OpenOptions, TryLockError},
    io::{self, IoSlice, Seek as _, SeekFrom, Write as _},
    path::{Path, PathBuf},
};

use bytes::Bytes;
use oci::Hasher;
use tokio::{sync::mpsc, task::JoinHandle};

use crate::Error;

/// How many bytes are gathered before the thread gets them, which hashes and writes them at once. Measured: larger writes
/// cost more CPU, and to wake the thread for each frame does too.
const GATHER: usize = 256 * 1024;

/// How many such batches wait for the thread. It is what makes a client wait for a slow disk.
const BATCHES_WAITING: usize = 1;

/// An object under way. Dropped without [`Writer::finish`], what was written is not counted and will be written again.
#[derive(Debug)]
pub struct Writer {
    batches: mpsc::Sender<Vec<Bytes>>,
    gathered: Vec<Bytes>,
    bytes: usize,
    thread: JoinHandle<Result<Received, Error>>,
}

/// What an object has so far; all of it is durable.
#[derive(Debug)]
pub struct Received {
    /// How many bytes it has.
    pub bytes: u64,
    /// The hash over all of them.
    pub hasher: Hasher,
}

impl Writer {
    pub(crate) async fn open(path: PathBuf, offset: u64, hasher: Hasher) -> Result<Self, Error> {
        let file = tokio::task::spawn_blocking(move || open(&path, offset)).await.map_err(io::Error::other)??;
        let (batches, receiver) = mpsc::channel(BATCHES_WAITING);
        let thread = tokio::task::spawn_blocking(move || Object { file, bytes: offset, hasher }.take(receiver));
        Ok(Self { batches, gathered: Vec::new(), bytes: 0, thread })
    }

    /// Takes more bytes. Waits while the disk is behind.
    ///
    /// # Errors
    /// None here: when the thread has failed, [`Writer::finish`] says why, and this says only that it has.
    pub async fn write(&mut self, bytes: Bytes) -> Result<(), ()> {
        self.bytes += bytes.len();
        self.gathered.push(bytes);
        if self.bytes < GATHER {
            return Ok(());
        }
        self.bytes = 0;
        self.batches.send(std::mem::take(&mut self.gathered)).await.map_err(drop)
    }

    /// Makes everything durable.
    ///
    /// # Errors
    /// [`Error::Full`] when there is no room, [`Error::Io`] when writing fails otherwise.
    pub async fn finish(self) -> Result<Received, Error> {
        // When the thread has failed, it says why itself.
        let _ = self.batches.send(self.gathered).await;
        drop(self.batches);
        self.thread.await.map_err(io::Error::other)?
    }
}

/// Opens the file for bytes after `offset`. What is behind the offset was never acknowledged and is cut off.
fn open(path: &Path, offset: u64) -> Result<File, Error> {
    let mut file = if offset == 0 {
        let folder = path.parent().unwrap_or(path);
        make(folder)?;
        let file = OpenOptions::new().write(true).create(true).truncate(false).open(path)?;
        // The name must survive a loss of power as the bytes do.
        sync(folder)?;
        file
    } else {
        OpenOptions::new().write(true).open(path)?
    };
    // Held until the thread ends. The index gives an upload to one request at a time; should a request outlive its turn
    // all the same, it must not cut off what the next one wrote.
    match file.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => return Err(Error::Busy),
        Err(TryLockError::Error(error)) => return Err(error.into()),
    }
    if file.metadata()?.len() < offset {
        return Err(Error::NotFound);
    }
    file.set_len(offset)?;
    file.seek(SeekFrom::Start(offset))?;
    Ok(file)
}

/// Makes the folder and what is above it, each durable in the one that it stands in.
fn make(folder: &Path) -> io::Result<()> {
    match fs::create_dir(folder) {
        Ok(()) => folder.parent().map_or(Ok(()), sync),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            make(folder.parent().ok_or(error)?)?;
            make(folder)
        }
        Err(error) => Err(error),
    }
}

/// Makes the names in a folder durable.
pub(crate) fn sync(folder: &Path) -> io::Result<()> {
    File::open(folder)?.sync_all()
}

struct Object {
    file: File,
    bytes: u64,
    hasher: Hasher,
}

impl Object {
    fn take(mut self, mut batches: mpsc::Receiver<Vec<Bytes>>) -> Result<Received, Error> {
        while let Some(batch) = batches.blocking_recv() {
            for frame in &batch {
                self.hasher.update(frame);
                self.bytes += frame.len() as u64;
            }
            self.write(&batch)?;
        }
        self.file.sync_data()?;
        Ok(Received { bytes: self.bytes, hasher: self.hasher })
    }

    fn write(&mut self, batch: &[Bytes]) -> io::Result<()> {
        let mut slices: Vec<_> = batch.iter().map(|frame| IoSlice::new(frame)).collect();
        let mut slices = &mut slices[..];
        // More than IOV_MAX slices are written in part, and the rest in the next round.
        while !slices.is_empty() {
            let written = match self.file.write_vectored(slices) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(written) => written,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(error),
            };
            IoSlice::advance_slices(&mut slices, written);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use oci::Algorithm;

    use crate::{Key, Store};

    use super::*;

    #[tokio::test]
    async fn an_object_is_continued_where_it_was_acknowledged() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::disk(folder.path()).unwrap();
        let key = Key::new(7);
        let mut writer = store.write(&key, 0, Hasher::new(Algorithm::Sha256)).await.unwrap();
        writer.write(Bytes::from_static(b"hello ")).await.unwrap();
        let first = writer.finish().await.unwrap();
        // Bytes that were never acknowledged are on disk, and must vanish.
        let mut lost = store.write(&key, first.bytes, first.hasher.clone()).await.unwrap();
        lost.write(Bytes::from_static(b"lost, and longer than what follows")).await.unwrap();
        lost.finish().await.unwrap();
        let mut writer = store.write(&key, first.bytes, first.hasher).await.unwrap();
        writer.write(Bytes::from_static(b"world")).await.unwrap();
        let whole = writer.finish().await.unwrap();
        assert_eq!(whole.hasher.finish(), Hasher::digest(Algorithm::Sha256, b"hello world"));
        assert_eq!(store.read_small(&key, 100).await.unwrap(), b"hello world");
        store.delete(&key).await.unwrap();
        store.delete(&key).await.unwrap();
        assert!(matches!(store.size(&key).await, Err(Error::NotFound)));
    }
}
