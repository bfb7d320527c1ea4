//! Writing a file as it arrives: hashed where it arrives, written in blocks by a thread of its own, never held whole.

use std::{
    fs::{self, File, OpenOptions, TryLockError},
    io::{self, Seek as _, SeekFrom},
    path::{Path, PathBuf},
    sync::Arc,
};

use bytes::Bytes;
use oci::Hasher;
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore, mpsc, oneshot},
    task::JoinHandle,
};

use super::output::{Block, Kind, Output, is_large};
use crate::{Error, Received};

/// How many blocks an object has: one is filled while the other is written.
const BLOCKS: usize = 2;

/// How many files at once may have large blocks.
pub(super) const FEW: usize = 4;

/// How much room is asked for at once, in bytes.
const RESERVE: u64 = 256 << 20;

/// A file under way.
#[derive(Debug)]
pub(crate) struct Writer {
    hasher: Hasher,
    /// How many bytes were taken, and how many of them are durable.
    taken: u64,
    durable: u64,
    /// The size that the file is known to get.
    end: u64,
    block: Option<Block>,
    blocks: usize,
    few: Arc<Semaphore>,
    /// One of the few that may have large blocks.
    permit: Option<OwnedSemaphorePermit>,
    work: mpsc::Sender<Work>,
    written: mpsc::Receiver<Block>,
    thread: JoinHandle<Result<(), Error>>,
}

/// What the thread is to do.
#[derive(Debug)]
enum Work {
    Write(Block),
    /// Make durable what was written, and say so.
    Sync(oneshot::Sender<()>),
}

impl Writer {
    pub(super) async fn open(
        path: PathBuf,
        received: Received,
        coming: Option<u64>,
        few: Arc<Semaphore>,
    ) -> Result<Self, Error> {
        let Received { bytes: offset, hasher, .. } = received;
        let file = tokio::task::spawn_blocking(move || open(&path, offset)).await.map_err(io::Error::other)??;
        let end = offset + coming.unwrap_or_default();
        let (work, todo) = mpsc::channel(1);
        let (done, written) = mpsc::channel(BLOCKS);
        let object = Object { output: Output::new(file, offset), durable: offset, reserved: offset, end };
        let thread = tokio::task::spawn_blocking(move || object.take(todo, done));
        let (taken, durable) = (offset, offset);
        Ok(Self { hasher, taken, durable, end, block: None, blocks: 0, few, permit: None, work, written, thread })
    }

    pub(crate) async fn write(&mut self, bytes: Bytes) -> Result<(), Error> {
        // Here and not on the thread: to wake it for each frame costs more than to hash one.
        self.hasher.update(&bytes);
        let mut rest = &bytes[..];
        while !rest.is_empty() {
            let mut block = match self.block.take() {
                Some(block) => block,
                None => self.empty_block().await?,
            };
            let (before, is_full) = (rest.len(), block.fill(&mut rest));
            self.taken += (before - rest.len()) as u64;
            self.block = Some(block);
            if is_full {
                self.pass().await?;
            }
        }
        Ok(())
    }

    pub(crate) async fn checkpoint(&mut self) -> Result<Option<Received>, Error> {
        if self.taken == self.durable {
            return Ok(None);
        }
        self.pass().await?;
        let (told, tell) = oneshot::channel();
        if self.work.send(Work::Sync(told)).await.is_err() || tell.await.is_err() {
            return Err(self.failure().await);
        }
        self.durable = self.taken;
        Ok(Some(Received { bytes: self.taken, hasher: self.hasher.clone(), parts: None }))
    }

    pub(crate) async fn finish(mut self) -> Result<Received, Error> {
        self.pass().await?;
        drop(self.work);
        self.thread.await.map_err(io::Error::other)??;
        Ok(Received { bytes: self.taken, hasher: self.hasher, parts: None })
    }

    /// A block for the bytes that come next. Waits while the disk is behind.
    async fn empty_block(&mut self) -> Result<Block, Error> {
        let large = is_large(self.taken, self.end);
        if large && self.permit.is_none() {
            self.permit = Arc::clone(&self.few).try_acquire_owned().ok();
        }
        let kind = match &self.permit {
            _ if !large => Kind::Small,
            Some(_) => Kind::Large,
            None => Kind::LargeOfMany,
        };
        let block = if self.blocks < BLOCKS {
            self.blocks += 1;
            Some(Block::default())
        } else {
            self.written.recv().await
        };
        match block {
            Some(mut block) => {
                block.empty(self.taken, kind);
                Ok(block)
            }
            None => Err(self.failure().await),
        }
    }

    /// Gives the thread what is in the block.
    async fn pass(&mut self) -> Result<(), Error> {
        let Some(block) = self.block.take() else { return Ok(()) };
        match self.work.send(Work::Write(block)).await {
            Ok(()) => Ok(()),
            Err(_) => Err(self.failure().await),
        }
    }

    /// Why the thread has ended.
    async fn failure(&mut self) -> Error {
        match (&mut self.thread).await {
            Ok(Err(error)) => error,
            Ok(Ok(())) => Error::Io(io::Error::other("the writing thread ended early")),
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
    output: Output,
    /// How many bytes somebody may have recorded.
    durable: u64,
    /// Up to where the file system has been asked for room.
    reserved: u64,
    /// The size that the file is known to get.
    end: u64,
}

impl Object {
    fn take(mut self, work: mpsc::Receiver<Work>, done: mpsc::Sender<Block>) -> Result<(), Error> {
        let worked = self.work(work, &done);
        if worked.is_err() {
            // What nobody counts on must not fill a disk that is full.
            let _ = self.output.file().set_len(self.durable);
        }
        worked
    }

    fn work(&mut self, mut work: mpsc::Receiver<Work>, done: &mpsc::Sender<Block>) -> Result<(), Error> {
        while let Some(work) = work.blocking_recv() {
            match work {
                Work::Write(block) => {
                    self.reserve(block.bytes().len() as u64);
                    self.output.write(block.bytes(), self.end)?;
                    // There is room for every block that there is; nobody wants it when the request has gone.
                    let _ = done.try_send(block);
                }
                Work::Sync(told) => {
                    self.output.file().sync_data()?;
                    self.durable = self.output.position();
                    // Whoever asked may have gone away.
                    let _ = told.send(());
                }
            }
        }
        if self.reserved > self.output.position() {
            // Room that was not needed is given back.
            self.output.file().set_len(self.output.position())?;
        }
        self.output.file().sync_data()?;
        Ok(())
    }

    /// Asks the file system for room in one piece, which costs less than to find it for each write. Only for what is
    /// announced, and only a little ahead: a client may announce anything.
    fn reserve(&mut self, coming: u64) {
        let needed = self.output.position() + coming;
        if needed <= self.reserved || self.end <= needed {
            return;
        }
        let length = (self.end - self.reserved).min(RESERVE).max(needed - self.reserved);
        let keep = rustix::fs::FallocateFlags::KEEP_SIZE;
        // Not every file system can; then the writes find room themselves, or say that there is none.
        let _ = rustix::fs::fallocate(self.output.file(), keep, self.reserved, length);
        self.reserved += length;
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

    #[tokio::test]
    async fn a_large_object_is_what_was_written_wherever_it_was_made_durable() {
        // On a real file system: one in memory does not write past the cache.
        let folder = tempfile::tempdir_in(env!("CARGO_MANIFEST_DIR")).unwrap();
        let store = Store::disk(folder.path()).unwrap();
        let key = Key::new(8);
        let bytes: Vec<u8> = (0..7_000_000_u32).map(|n| n.wrapping_mul(2_654_435_761).to_le_bytes()[3]).collect();
        let mut received = Received::nothing(Hasher::new(Algorithm::Sha256));
        let (mut at, mut size) = (0, 1);
        while at < bytes.len() {
            let mut writer = store.write(&key, received, Some(1 << 30)).await.unwrap();
            for _ in 0..3 {
                let end = bytes.len().min(at + size);
                writer.write(Bytes::copy_from_slice(&bytes[at..end])).await.unwrap();
                if size.is_multiple_of(2) {
                    writer.checkpoint().await.unwrap();
                }
                at = end;
                size = (size * 7 + 1) % 900_001;
            }
            received = writer.finish(End::Open).await.unwrap();
            assert_eq!(received.bytes, at as u64);
            assert!(store.read_small(&key, u64::MAX).await.unwrap() == bytes[..at], "after {at} bytes");
        }
        assert_eq!(received.hasher.finish(), Hasher::digest(Algorithm::Sha256, &bytes));
    }
}
