//! Writing a file as it arrives: hashed and written on a thread of its own, never held whole.

use std::{
    fs::{self, File, OpenOptions, TryLockError},
    io::{self, IoSlice, Seek as _, SeekFrom, Write as _},
    path::{Path, PathBuf},
};

use bytes::Bytes;
use oci::Hasher;
use tokio::{
    sync::{mpsc, oneshot},
    task::JoinHandle,
};

use crate::{Error, Received};

/// How many bytes are gathered before the thread gets them, which hashes and writes them at once. Measured: larger writes
/// cost more CPU, and to wake the thread for each frame does too.
const GATHER: usize = 256 * 1024;

/// How many such batches wait for the thread. It is what makes a client wait for a slow disk.
const BATCHES_WAITING: usize = 1;

/// How much room is asked for at once, in bytes.
const RESERVE: u64 = 256 << 20;

/// A file under way.
#[derive(Debug)]
pub(crate) struct Writer {
    work: mpsc::Sender<Work>,
    gathered: Vec<Bytes>,
    bytes: usize,
    durable: u64,
    taken: u64,
    thread: JoinHandle<Result<Received, Error>>,
}

/// What the thread is to do.
enum Work {
    Write(Vec<Bytes>),
    /// Make durable what was written, and tell how much that is.
    Sync(oneshot::Sender<Received>),
}

impl Writer {
    pub(super) async fn open(path: PathBuf, received: Received, coming: Option<u64>) -> Result<Self, Error> {
        let Received { bytes: offset, hasher, .. } = received;
        let file = tokio::task::spawn_blocking(move || open(&path, offset)).await.map_err(io::Error::other)??;
        let (work, receiver) = mpsc::channel(BATCHES_WAITING);
        let end = coming.map(|coming| offset + coming);
        let object = Object { file, bytes: offset, durable: offset, reserved: offset, end, hasher };
        let thread = tokio::task::spawn_blocking(move || object.take(receiver));
        Ok(Self { work, gathered: Vec::new(), bytes: 0, durable: offset, taken: offset, thread })
    }

    pub(crate) async fn write(&mut self, bytes: Bytes) -> Result<(), Error> {
        self.bytes += bytes.len();
        self.taken += bytes.len() as u64;
        self.gathered.push(bytes);
        if self.bytes < GATHER { Ok(()) } else { self.pass().await }
    }

    pub(crate) async fn checkpoint(&mut self) -> Result<Option<Received>, Error> {
        if self.taken == self.durable {
            return Ok(None);
        }
        self.pass().await?;
        let (told, tell) = oneshot::channel();
        if self.work.send(Work::Sync(told)).await.is_err() {
            return Err(self.failure().await);
        }
        match tell.await {
            Ok(received) => {
                self.durable = received.bytes;
                Ok(Some(received))
            }
            Err(_) => Err(self.failure().await),
        }
    }

    pub(crate) async fn finish(mut self) -> Result<Received, Error> {
        self.pass().await?;
        drop(self.work);
        self.thread.await.map_err(io::Error::other)?
    }

    async fn pass(&mut self) -> Result<(), Error> {
        self.bytes = 0;
        match self.work.send(Work::Write(std::mem::take(&mut self.gathered))).await {
            Ok(()) => Ok(()),
            Err(_) => Err(self.failure().await),
        }
    }

    /// Why the thread has ended.
    async fn failure(&mut self) -> Error {
        match (&mut self.thread).await {
            Ok(Err(error)) => error,
            Ok(Ok(_)) => Error::Io(io::Error::other("the writing thread ended early")),
            Err(error) => Error::Io(io::Error::other(error)),
        }
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
    /// How many bytes somebody may have recorded.
    durable: u64,
    /// Up to where the file system has been asked for room.
    reserved: u64,
    /// Where the object is to end, when that is known.
    end: Option<u64>,
    hasher: Hasher,
}

impl Object {
    fn take(mut self, work: mpsc::Receiver<Work>) -> Result<Received, Error> {
        if let Err(error) = self.work(work) {
            // What nobody counts on must not fill a disk that is full.
            let _ = self.file.set_len(self.durable);
            return Err(error);
        }
        Ok(Received { bytes: self.bytes, hasher: self.hasher, parts: None })
    }

    fn work(&mut self, mut work: mpsc::Receiver<Work>) -> Result<(), Error> {
        while let Some(work) = work.blocking_recv() {
            match work {
                Work::Write(batch) => {
                    for frame in &batch {
                        self.hasher.update(frame);
                        self.bytes += frame.len() as u64;
                    }
                    self.reserve();
                    self.write(&batch)?;
                }
                Work::Sync(told) => {
                    self.file.sync_data()?;
                    self.durable = self.bytes;
                    let received = Received { bytes: self.bytes, hasher: self.hasher.clone(), parts: None };
                    // Whoever asked may have gone away.
                    let _ = told.send(received);
                }
            }
        }
        if self.reserved > self.bytes {
            // Room that was not needed is given back.
            self.file.set_len(self.bytes)?;
        }
        self.file.sync_data()?;
        Ok(())
    }

    /// Asks the file system for room in one piece, which costs less than to find it for each write. Only for what is
    /// announced, and only a little ahead: a client may announce anything.
    fn reserve(&mut self) {
        let Some(end) = self.end.filter(|end| self.bytes > self.reserved && *end > self.bytes) else { return };
        let length = (end - self.reserved).min(RESERVE).max(self.bytes - self.reserved);
        let keep = rustix::fs::FallocateFlags::KEEP_SIZE;
        // Not every file system can; then the writes find room themselves, or say that there is none.
        let _ = rustix::fs::fallocate(&self.file, keep, self.reserved, length);
        self.reserved += length;
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

    use crate::{End, Key, Store};

    use super::*;

    #[tokio::test]
    async fn an_object_is_continued_where_it_was_acknowledged() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::disk(folder.path()).unwrap();
        let key = Key::new(7);
        let nothing = Received::nothing(Hasher::new(Algorithm::Sha256));
        let mut writer = store.write(&key, nothing, Some(1 << 20)).await.unwrap();
        writer.write(Bytes::from_static(b"hello ")).await.unwrap();
        let first = writer.checkpoint().await.unwrap().unwrap();
        assert_eq!(first.bytes, 6);
        assert!(writer.checkpoint().await.unwrap().is_none(), "nothing came since");
        // Bytes that were never acknowledged are on disk, and must vanish.
        writer.write(Bytes::from_static(b"lost, and longer than what follows")).await.unwrap();
        writer.finish(End::Open).await.unwrap();
        let mut writer = store.write(&key, first, None).await.unwrap();
        writer.write(Bytes::from_static(b"world")).await.unwrap();
        let whole = writer.finish(End::Last).await.unwrap();
        assert_eq!(whole.hasher.finish(), Hasher::digest(Algorithm::Sha256, b"hello world"));
        assert_eq!(store.read_small(&key, 100).await.unwrap(), b"hello world");
        store.delete(&key).await.unwrap();
        store.delete(&key).await.unwrap();
        assert!(matches!(store.size(&key).await, Err(Error::NotFound)));
    }
}
