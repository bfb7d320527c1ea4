//! Reading an object in large pieces, one ahead of the client.

use std::{
    fs::File,
    io::{self, IoSliceMut},
    os::unix::fs::FileExt as _,
    path::PathBuf,
    pin::Pin,
    sync::{Arc, Mutex},
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use futures_util::{FutureExt as _, Stream};
use tokio::task::JoinHandle;

use crate::Error;

/// The size of a piece. Measured: smaller ones cost CPU, larger ones memory.
const PIECE: u64 = 256 * 1024;

/// What is read at once when the object is opened, which for small objects is all of it.
const FIRST: u64 = 64 * 1024;

/// How many pieces are read by another thread once one was not in memory.
const COLD: u32 = 16;

/// The bytes of a file, in order.
#[derive(Debug)]
pub(crate) struct Chunks {
    file: Arc<File>,
    offset: u64,
    left: u64,
    first: Option<Bytes>,
    ahead: Option<JoinHandle<io::Result<Bytes>>>,
    /// How many more pieces are read ahead by another thread before it is tried whether they are in memory.
    cold: u32,
    spare: Spare,
}

/// Buffers that were sent and are to be filled again: fresh memory costs more than the bytes that are read into it.
type Spare = Arc<Mutex<Vec<Vec<u8>>>>;

/// A buffer on its way to the client, which comes back when it has been sent.
struct Piece {
    buffer: Vec<u8>,
    length: usize,
    spare: Spare,
}

impl Chunks {
    pub(crate) async fn open(path: PathBuf, offset: u64, length: u64) -> Result<Self, Error> {
        // A small object that is in memory is read here and now: another thread would cost more than the bytes.
        let file = File::open(&path)?;
        let length_of_first = usize::try_from(length.min(FIRST)).map_err(io::Error::other)?;
        let mut first = vec![0; length_of_first];
        let (file, first) = if read_now(&file, &mut first, offset) {
            (file, first)
        } else {
            let read = move || file.read_exact_at(&mut first, offset).map(|()| (file, first));
            tokio::task::spawn_blocking(read).await.map_err(io::Error::other)??
        };
        if length > FIRST {
            // Only advice: whoever cannot take it reads on as it is.
            let _ = rustix::fs::fadvise(&file, offset, None, rustix::fs::Advice::Sequential);
        }
        let first = Bytes::from(first);
        let mut chunks = Self {
            file: Arc::new(file),
            offset: offset + first.len() as u64,
            left: length - first.len() as u64,
            first: Some(first).filter(|first| !first.is_empty()),
            ahead: None,
            cold: 0,
            spare: Spare::default(),
        };
        // A client is about to wait for the first piece anyway; the second is read meanwhile.
        chunks.read_ahead();
        Ok(chunks)
    }

    /// The next piece, if all of it is in memory: no other thread is needed for that, and none is waited for.
    fn read_cached(&mut self) -> Option<Bytes> {
        let length = usize::try_from(self.left.min(PIECE)).ok().filter(|length| *length > 0)?;
        let mut buffer = buffer(&self.spare, length);
        if !read_now(&self.file, &mut buffer[..length], self.offset) {
            give_back(&self.spare, buffer);
            return None;
        }
        Some(Bytes::from_owner(Piece { buffer, length, spare: Arc::clone(&self.spare) }))
    }

    fn took(&mut self, piece: &Bytes) {
        self.offset += piece.len() as u64;
        self.left -= piece.len() as u64;
    }

    fn read_ahead(&mut self) {
        if self.left > 0 {
            let (file, spare) = (Arc::clone(&self.file), Arc::clone(&self.spare));
            let (offset, length) = (self.offset, self.left.min(PIECE));
            self.ahead = Some(tokio::task::spawn_blocking(move || read(&file, offset, length, spare)));
        }
    }
}

impl Stream for Chunks {
    type Item = Result<Bytes, Error>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        if let Some(first) = self.first.take() {
            return Poll::Ready(Some(Ok(first)));
        }
        if self.ahead.is_none() {
            if self.left == 0 {
                return Poll::Ready(None);
            }
            if let Some(piece) = self.read_cached() {
                self.took(&piece);
                return Poll::Ready(Some(Ok(piece)));
            }
            self.cold = COLD;
            self.read_ahead();
        }
        let Some(ahead) = self.ahead.as_mut() else { return Poll::Ready(None) };
        let piece = ready!(ahead.poll_unpin(context));
        self.ahead = None;
        let piece = piece.map_err(io::Error::other).flatten();
        match piece {
            Ok(piece) => {
                self.took(&piece);
                self.cold = self.cold.saturating_sub(1);
                if self.cold > 0 {
                    self.read_ahead();
                }
                Poll::Ready(Some(Ok(piece)))
            }
            Err(error) => {
                self.left = 0;
                Poll::Ready(Some(Err(error.into())))
            }
        }
    }
}

/// A buffer of at least this length.
fn buffer(spare: &Spare, length: usize) -> Vec<u8> {
    let buffer = spare.lock().ok().and_then(|mut spare| spare.pop());
    buffer.filter(|buffer| buffer.len() >= length).unwrap_or_else(|| vec![0; length])
}

fn give_back(spare: &Spare, buffer: Vec<u8>) {
    if let Ok(mut spare) = spare.lock() {
        spare.push(buffer);
    }
}

/// Reads exactly `length` bytes: an object that is shorter than its row says is an error, never a short answer.
fn read(file: &File, offset: u64, length: u64, spare: Spare) -> io::Result<Bytes> {
    let length = usize::try_from(length).map_err(io::Error::other)?;
    let mut buffer = buffer(&spare, length);
    file.read_exact_at(&mut buffer[..length], offset)?;
    Ok(Bytes::from_owner(Piece { buffer, length, spare }))
}

impl AsRef<[u8]> for Piece {
    fn as_ref(&self) -> &[u8] {
        &self.buffer[..self.length]
    }
}

impl Drop for Piece {
    fn drop(&mut self) {
        give_back(&self.spare, std::mem::take(&mut self.buffer));
    }
}

/// Fills the buffer if all of that is in memory; another thread is to read what is not, or to tell the error.
fn read_now(file: &File, buffer: &mut [u8], offset: u64) -> bool {
    let mut filled = 0;
    while filled < buffer.len() {
        let rest = &mut [IoSliceMut::new(&mut buffer[filled..])];
        match rustix::io::preadv2(file, rest, offset + filled as u64, rustix::io::ReadWriteFlags::NOWAIT) {
            Ok(read) if read > 0 => filled += read,
            _ => return false,
        }
    }
    true
}
