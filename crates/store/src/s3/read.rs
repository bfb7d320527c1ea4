//! Reading from a bucket: as a stream for a client, and in ranges with read-ahead for the scanner.

use std::{collections::VecDeque, io};

use bytes::Bytes;
use futures_util::{StreamExt as _, TryStreamExt as _, stream::BoxStream};
use object_store::{GetOptions, GetRange, ObjectStore as _, ObjectStoreExt as _, aws::AmazonS3, path::Path};
use tokio::{runtime::Handle, task::JoinHandle};

use crate::Error;

/// How much the scanner asks for at once, in bytes.
const RANGE: u64 = 8 << 20;
/// How many ranges are under way while one is being read.
const AHEAD: usize = 2;

/// The bytes of an object, from `offset` on.
pub(super) async fn stream(
    client: &AmazonS3,
    path: Path,
    offset: u64,
    length: u64,
) -> Result<BoxStream<'static, Result<Bytes, Error>>, Error> {
    if length == 0 {
        // No range names nothing.
        return Ok(futures_util::stream::empty().boxed());
    }
    let range = Some(GetRange::Bounded(offset..offset + length));
    let options = GetOptions { range, ..GetOptions::default() };
    let found = client.get_opts(&path, options).await.map_err(Error::from_object_store)?;
    if found.range != (offset..offset + length) {
        let why = format!("the object {path} is shorter than {} bytes", offset + length);
        return Err(Error::Io(io::Error::new(io::ErrorKind::UnexpectedEof, why)));
    }
    Ok(found.into_stream().map_err(Error::from_object_store).boxed())
}

/// An object as a blocking reader: must not be read on a thread of the runtime.
pub(crate) struct Reader {
    client: AmazonS3,
    path: Path,
    runtime: Handle,
    size: u64,
    /// Up to where ranges have been asked for.
    asked: u64,
    coming: VecDeque<JoinHandle<object_store::Result<Bytes>>>,
    current: Bytes,
}

impl Reader {
    pub(super) fn new(client: AmazonS3, path: Path, size: u64) -> Self {
        let (coming, current) = (VecDeque::new(), Bytes::new());
        Self { client, path, runtime: Handle::current(), size, asked: 0, coming, current }
    }

    fn ask(&mut self) {
        while self.coming.len() <= AHEAD && self.asked < self.size {
            let range = self.asked..self.size.min(self.asked + RANGE);
            self.asked = range.end;
            let (client, path) = (self.client.clone(), self.path.clone());
            self.coming.push_back(self.runtime.spawn(async move { client.get_range(&path, range).await }));
        }
    }
}

impl io::Read for Reader {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.current.is_empty() {
            self.ask();
            let Some(next) = self.coming.pop_front() else { return Ok(0) };
            let next = self.runtime.block_on(next).map_err(io::Error::other)?;
            self.current = next.map_err(io::Error::other)?;
            self.ask();
        }
        let length = buffer.len().min(self.current.len());
        buffer[..length].copy_from_slice(&self.current.split_to(length));
        Ok(length)
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        self.coming.iter().for_each(JoinHandle::abort);
    }
}
