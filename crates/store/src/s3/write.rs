//! Writing to a bucket: parts of equal size, a few of them under way at once, within a budget of memory for all uploads.

use std::{
    collections::VecDeque,
    io, mem,
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use bytes::Bytes;
use object_store::{
    GetOptions, ObjectStore as _, ObjectStoreExt as _, PutPayload, PutPayloadMut, multipart::MultipartStore as _,
    path::Path,
};
use oci::{Algorithm, Hasher};
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore},
    task::JoinHandle,
    time::Instant,
};

use super::{Bucket, Budget, MOST_PARTS, Parts, parts::Tail};
use crate::{End, Error, Received};

/// How many parts of one object are under way at once.
const PARTS_AT_ONCE: usize = 4;
/// How memory for a part grows, in bytes.
const BLOCK: usize = 1 << 20;
/// How long a part may keep memory that others wait for before it is filled.
const PATIENCE: Duration = Duration::from_secs(120);

/// An object under way.
#[derive(Debug)]
pub(crate) struct Writer {
    bucket: Bucket,
    path: Path,
    /// Over all bytes that were taken.
    hasher: Hasher,
    taken: u64,
    /// How many bytes the request is still to bring, when that is known.
    coming: Option<u64>,
    /// What is in the bucket, up to the last part of which all before are there too.
    parts: Parts,
    recorded: u64,
    /// Came when the upload in parts had to be begun and recorded first.
    rest: Bytes,
    part: Part,
    sending: VecDeque<Sending>,
}

/// Bytes that are not under way yet.
#[derive(Default)]
struct Part {
    payload: PutPayloadMut,
    memory: Option<(OwnedSemaphorePermit, Instant)>,
}

/// A part under way.
#[derive(Debug)]
struct Sending {
    task: JoinHandle<object_store::Result<String>>,
    /// The state of the hash at its end.
    hash_state: Vec<u8>,
}

impl Writer {
    pub(super) async fn open(
        bucket: Bucket,
        path: Path,
        received: Received,
        coming: Option<u64>,
    ) -> Result<Self, Error> {
        let Received { bytes, hasher, parts } = received;
        let parts = parts.unwrap_or_else(|| {
            // Known to be large, it gets parts that are enough for it.
            let enough = coming.unwrap_or_default().div_ceil(MOST_PARTS);
            Parts::new(bucket.0.part_size.max(enough.next_multiple_of(bucket.0.part_size)), &hasher)
        });
        if bytes + coming.unwrap_or_default() > parts.size * MOST_PARTS {
            return Err(Error::TooLarge(parts.size * MOST_PARTS));
        }
        let mut writer = Self {
            bucket,
            path,
            hasher,
            taken: bytes,
            coming,
            recorded: bytes,
            rest: Bytes::new(),
            part: Part::default(),
            sending: VecDeque::new(),
            parts,
        };
        let tail = bytes - writer.parts.bytes();
        if tail > 0 {
            writer.part.memory = Some(writer.memory(tail).await?);
            let found = writer.read_tail(tail).await?;
            writer.part.payload = payload();
            writer.part.payload.extend_from_slice(&found);
        }
        Ok(writer)
    }

    /// The tail, from the ordinary object at the key; when that is not what was recorded, the parts are what is left.
    async fn read_tail(&self, length: u64) -> Result<Bytes, Error> {
        let lost = || Error::Lost(Box::new(self.parts.without_tail(self.hasher.algorithm())));
        let expected = self.parts.tail.as_ref().and_then(|tail| tail.object.as_ref()).ok_or_else(lost)?;
        let client = &self.bucket.0.client;
        let found = match client.get_opts(&self.path, GetOptions::default()).await.map_err(Error::from_object_store) {
            Err(Error::NotFound) => return Err(lost()),
            found => found?,
        };
        if found.meta.e_tag.as_ref() != Some(expected) || found.meta.size != length {
            return Err(lost());
        }
        found.bytes().await.map_err(Error::from_object_store)
    }

    pub(crate) async fn write(&mut self, bytes: Bytes) -> Result<Option<Parts>, Error> {
        let size = self.parts.size;
        let rest = mem::take(&mut self.rest);
        for mut bytes in [rest, bytes] {
            while !bytes.is_empty() {
                let full = self.part.payload.content_length() as u64 >= size;
                if full && self.parts.id.is_none() {
                    self.begin().await?;
                    self.rest = if self.rest.is_empty() { bytes } else { [&*self.rest, &bytes].concat().into() };
                    return Ok(Some(self.parts.clone()));
                }
                if full {
                    self.send().await?;
                }
                if self.part.memory.is_none() {
                    self.part = Part { payload: payload(), memory: Some(self.memory(0).await?) };
                }
                let room = size - self.part.payload.content_length() as u64;
                let some = bytes.split_to(bytes.len().min(usize::try_from(room).unwrap_or(usize::MAX)));
                self.hasher.update(&some);
                self.part.payload.extend_from_slice(&some);
                self.taken += some.len() as u64;
                self.coming = self.coming.map(|coming| coming.saturating_sub(some.len() as u64));
            }
        }
        Ok(None)
    }

    pub(crate) async fn checkpoint(&mut self) -> Result<Option<Received>, Error> {
        while self.sending.front().is_some_and(|sending| sending.task.is_finished()) {
            self.settle().await?;
        }
        if self.parts.bytes() <= self.recorded {
            return Ok(None);
        }
        self.recorded = self.parts.bytes();
        Ok(Some(self.parts.without_tail(self.hasher.algorithm())))
    }

    pub(crate) fn lags(&self) -> bool {
        let since = self.part.memory.as_ref().map(|(_, since)| *since);
        since.is_some_and(|since| since.elapsed() > PATIENCE)
            && self.bucket.0.budget.waiting.load(Ordering::Relaxed) > 0
    }

    pub(crate) async fn finish(mut self, end: End) -> Result<Received, Error> {
        let rest = mem::take(&mut self.rest);
        self.write(rest).await?;
        if self.part.payload.content_length() as u64 == self.parts.size && self.parts.id.is_some() {
            self.send().await?;
        }
        while !self.sending.is_empty() {
            self.settle().await?;
        }
        let tail = mem::take(&mut self.part.payload).freeze();
        self.parts.tail = self.keep(tail, end).await?;
        Ok(Received { bytes: self.taken, hasher: self.hasher, parts: Some(self.parts) })
    }

    /// Puts what is left over where it can be read, if it may be continued, and where it can be completed.
    async fn keep(&self, tail: PutPayload, end: End) -> Result<Option<Tail>, Error> {
        let client = &self.bucket.0.client;
        let number = self.parts.etags.len();
        let as_object = async |tail: PutPayload| {
            let put = client.put(&self.path, tail).await.map_err(Error::from_object_store)?;
            // Without a name for its content it could not be told from another.
            put.e_tag.ok_or_else(|| Error::Io(io::Error::other("the bucket gives objects no ETag"))).map(Some)
        };
        let as_part = async |id, tail| {
            let part = client.put_part(&self.path, id, number, tail).await;
            let part = part.map_err(|error| refused(error, self.hasher.algorithm()))?;
            Ok(Some(part.content_id))
        };
        let (object, part) = match (&self.parts.id, end) {
            (None, End::Open) if tail.content_length() == 0 => return Ok(None),
            // An object that fits one part is whole as it is, also an empty one.
            (None, _) => (as_object(tail).await?, None),
            (Some(_), _) if tail.content_length() == 0 => return Ok(None),
            (Some(id), End::Last) => (None, as_part(id, tail).await?),
            (Some(id), End::Open) => futures_util::try_join!(as_object(tail.clone()), as_part(id, tail))?,
        };
        Ok(Some(Tail { object, part }))
    }

    async fn begin(&mut self) -> Result<(), Error> {
        let begun = self.bucket.0.client.create_multipart(&self.path).await;
        self.parts.id = Some(begun.map_err(Error::from_object_store)?);
        Ok(())
    }

    /// Sends the part that is full.
    async fn send(&mut self) -> Result<(), Error> {
        while self.sending.len() >= PARTS_AT_ONCE {
            self.settle().await?;
        }
        let number = self.parts.etags.len() + self.sending.len();
        if number as u64 >= MOST_PARTS {
            return Err(Error::TooLarge(self.parts.size * MOST_PARTS));
        }
        let Some(id) = self.parts.id.clone() else {
            return Err(Error::Io(io::Error::other("an upload in parts was not begun")));
        };
        let Part { payload, memory } = mem::take(&mut self.part);
        let (bucket, path) = (self.bucket.clone(), self.path.clone());
        let task = tokio::spawn(async move {
            let sent = bucket.0.client.put_part(&path, &id, number, payload.freeze()).await;
            drop(memory);
            sent.map(|part| part.content_id)
        });
        self.sending.push_back(Sending { task, hash_state: self.hasher.save() });
        Ok(())
    }

    /// Waits for the oldest part that is under way.
    async fn settle(&mut self) -> Result<(), Error> {
        let Some(sending) = self.sending.front_mut() else { return Ok(()) };
        let etag = (&mut sending.task).await.map_err(|error| Error::Io(io::Error::other(error)))?;
        self.parts.etags.push(etag.map_err(|error| refused(error, self.hasher.algorithm()))?);
        self.parts.hash_state = mem::take(&mut sending.hash_state);
        self.parts.tail = None;
        self.sending.pop_front();
        Ok(())
    }

    /// Memory for a part that has `begun` bytes: for a whole one, unless less is known to be coming.
    async fn memory(&self, begun: u64) -> Result<(OwnedSemaphorePermit, Instant), Error> {
        let most = self.coming.map_or(self.parts.size, |coming| coming.saturating_add(begun).min(self.parts.size));
        Ok((self.bucket.0.budget.take(most.max(begun)).await?, Instant::now()))
    }
}

/// Why a part was not taken.
fn refused(error: object_store::Error, algorithm: Algorithm) -> Error {
    match Error::from_object_store(error) {
        Error::NotFound => Error::without_parts(algorithm),
        error => error,
    }
}

impl Drop for Sending {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl std::fmt::Debug for Part {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} bytes", self.payload.content_length())
    }
}

impl Budget {
    async fn take(&self, bytes: u64) -> Result<OwnedSemaphorePermit, Error> {
        let permits = u32::try_from(bytes.div_ceil(1024)).unwrap_or(u32::MAX);
        if let Ok(permit) = Arc::clone(&self.free).try_acquire_many_owned(permits) {
            return Ok(permit);
        }
        let _waiting = Waiting::one(self);
        let permit = Semaphore::acquire_many_owned(Arc::clone(&self.free), permits).await;
        permit.map_err(|error| Error::Io(io::Error::other(error)))
    }
}

/// Counts who waits, also when they stop waiting.
struct Waiting<'a>(&'a Budget);

impl<'a> Waiting<'a> {
    fn one(budget: &'a Budget) -> Self {
        budget.waiting.fetch_add(1, Ordering::Relaxed);
        Self(budget)
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.waiting.fetch_sub(1, Ordering::Relaxed);
    }
}

fn payload() -> PutPayloadMut {
    PutPayloadMut::new().with_block_size(BLOCK)
}
