//! Uploads: bytes stream to their final key while they are hashed; rows follow when they are durable.

use std::{
    pin::{Pin, pin},
    sync::atomic::{AtomicI64, Ordering},
    time::Duration,
};

use bytes::Bytes;
use futures_util::{Stream, StreamExt as _};
use index::{Micros, audit, blob, upload};
use oci::{Algorithm, ContentRange, Digest, Hasher, Name, Upload};
use store::{End, Key, Parts, Received};
use tokio::time::{Instant, Interval, MissedTickBehavior, interval_at, sleep};

use crate::{Access, Ctx, Error, Part, Registry, Thing, authz, capability::UPLOAD_LIFE};

/// How long a request may hold an upload without a sign of life.
const HOLD: i64 = 10_000_000;
/// How often a request that holds an upload gives a sign of life.
const RENEW: Duration = Duration::from_secs(3);
/// How often a request looks whether an upload that another one held is free.
const LOOK: Duration = Duration::from_millis(100);
/// How long a body may bring nothing before it counts as broken off. There is no limit on how long a body takes.
const IDLE: Duration = Duration::from_secs(60);
/// How often a request says how far it has come, so that no more than this is lost with its server.
const CHECKPOINT: Duration = Duration::from_secs(10);

/// Where an upload stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Position {
    /// The upload, with the state that its next address carries.
    pub upload: Upload,
    /// How many bytes are durable.
    pub received: u64,
}

/// A blob that is in the repository now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Finished {
    /// Its digest.
    pub digest: Digest,
}

/// The bytes that a request brings to an upload.
#[derive(Debug)]
pub struct Incoming<B> {
    /// Which bytes of the blob they are, if the request says so.
    pub range: Option<ContentRange>,
    /// How many bytes are announced.
    pub length: Option<u64>,
    /// The bytes.
    pub body: B,
}

/// An upload that this request alone may write.
struct Held {
    upload: upload::Upload,
    key: Key,
    writer: String,
    /// Until when, in microseconds since 1970.
    until: AtomicI64,
    received: Received,
}

impl Registry {
    /// Begins an upload. The key of its object is recorded before anything is created.
    ///
    /// # Errors
    /// [`Error::Denied`].
    pub async fn start_upload(&self, ctx: &Ctx, repository: &Name, algorithm: Algorithm) -> Result<Position, Error> {
        authz::check(ctx, Access::Push)?;
        let id = self.chance.id();
        let key = Key::new(self.chance.bits());
        let now = self.now();
        let state = self.capability(repository, &id).await?;
        let mut tx = self.db.begin().await?;
        let row = index::repository::ensure(&mut tx, repository, now).await?;
        let hash_state = Hasher::new(algorithm).save();
        let new = upload::NewUpload {
            id: &id,
            repository: row,
            key: key.as_str(),
            hash_state: &hash_state,
            created_by: &ctx.actor,
        };
        upload::insert(&mut tx, &new, now).await?;
        tx.commit().await?;
        Ok(Position { upload: Upload { name: repository.clone(), id, state: Some(state) }, received: 0 })
    }

    /// Shows a blob of one repository in another, without its bytes moving. `None` when the caller cannot see it there
    /// (or, without `from`, anywhere): then it is to be uploaded like any other.
    ///
    /// # Errors
    /// [`Error::Denied`].
    pub async fn mount(
        &self,
        ctx: &Ctx,
        repository: &Name,
        digest: &Digest,
        from: Option<&Name>,
    ) -> Result<Option<Finished>, Error> {
        authz::check(ctx, Access::Push)?;
        let now = self.now();
        let mut tx = self.db.begin().await?;
        let found = match from {
            Some(from) => blob::linked(&mut tx, ctx.reader, from, digest).await?,
            None => blob::readable(&mut tx, ctx.reader, digest).await?,
        };
        let Some(found) = found else { return Ok(None) };
        let repository = index::repository::ensure(&mut tx, repository, now).await?;
        // A collector may have had the row; what it deletes must not be linked.
        if !blob::link(&mut tx, repository, found.id, now).await? {
            return Ok(None);
        }
        let record = record(ctx, "blob.mount", repository, digest);
        audit::record(&mut tx, &record, now).await?;
        tx.commit().await?;
        Ok(Some(Finished { digest: *digest }))
    }

    /// Where an upload stands.
    ///
    /// # Errors
    /// [`Error::Unknown`] when there is no such upload in the repository.
    pub async fn upload_position(&self, ctx: &Ctx, to: &Upload) -> Result<Position, Error> {
        let ctx = &self.continuing(ctx, to).await?;
        let upload = {
            let mut session = self.db.read().await?;
            upload::get(&mut session, ctx.reader, &to.name, &to.id).await?
        };
        let upload = upload.ok_or(Error::Unknown(Thing::Upload))?;
        self.position(to, upload.received).await
    }

    /// Takes more bytes. When the body breaks off, what came until then is kept, and the upload can be continued there.
    ///
    /// # Errors
    /// [`Error::OutOfOrder`] when the range does not begin where the upload stands, [`Error::Body`] when the body ends
    /// early.
    pub async fn write_upload<E: std::fmt::Display>(
        &self,
        ctx: &Ctx,
        to: &Upload,
        incoming: Incoming<impl Stream<Item = Result<Bytes, E>> + Send>,
    ) -> Result<Position, Error> {
        let ctx = &self.continuing(ctx, to).await?;
        let held = self.hold(ctx, to).await?;
        let received = self.receive_or_release(&held, incoming, End::Open).await?;
        self.checkpoint(&held, &received).await?;
        self.release(&held).await?;
        self.position(to, received.bytes).await
    }

    /// Takes the last bytes and makes the upload a blob of the repository.
    ///
    /// # Errors
    /// [`Error::Invalid`] when the bytes do not have the digest; then the upload is gone.
    pub async fn finish_upload<E: std::fmt::Display>(
        &self,
        ctx: &Ctx,
        to: &Upload,
        digest: &Digest,
        incoming: Incoming<impl Stream<Item = Result<Bytes, E>> + Send>,
    ) -> Result<Finished, Error> {
        let ctx = &self.continuing(ctx, to).await?;
        let held = match self.hold(ctx, to).await {
            // A client that never heard that it succeeded tries again: what it wants is done.
            Err(unknown @ Error::Unknown(Thing::Upload)) => {
                let done = blob::look(&self.db, ctx.reader, &to.name, digest).await?.is_some();
                return if done { Ok(Finished { digest: *digest }) } else { Err(unknown) };
            }
            held => held?,
        };
        let received = self.receive_or_release(&held, incoming, End::Last).await?;
        match self.seal(ctx, &held, &received, digest).await {
            // What was received is still there, and can be finished once more.
            Err(error @ (Error::Unavailable(_) | Error::StoreUnavailable(_) | Error::Full)) => {
                // Unless the rows were written all the same and only the answer was lost: then there is nothing to keep.
                if self.checkpoint(&held, &received).await.is_ok() {
                    self.release(&held).await?;
                }
                Err(error)
            }
            Err(Error::Lost(left)) => {
                self.checkpoint(&held, &left).await?;
                self.release(&held).await?;
                Err(Error::OutOfOrder { received: left.bytes })
            }
            sealed => sealed,
        }
    }

    /// Makes a blob of what was received, if it has the digest.
    async fn seal(&self, ctx: &Ctx, held: &Held, received: &Received, digest: &Digest) -> Result<Finished, Error> {
        let mut keeper = Keeper::new(self, held);
        let mut actual = received.hasher.clone().finish();
        if actual.algorithm() == digest.algorithm() {
            if actual == *digest
                && let Some(finished) = self.commit_known(ctx, &mut keeper, received, digest).await?
            {
                return Ok(finished);
            }
        } else {
            // Nobody announced the algorithm, so the bytes are read once more. Hashing twice always would cost everybody.
            keeper.during(self.store.complete(&held.key, received)).await??;
            actual = keeper.during(self.hash(&held.key, received.bytes, digest.algorithm())).await??;
        }
        if actual != *digest {
            self.discard(&held.upload.id, &held.writer).await?;
            let why = format!(
                "the upload was to be {digest}, but its {} bytes have {actual}; it is gone, begin another",
                received.bytes
            );
            return Err(Error::Invalid { what: Part::Digest, why });
        }
        keeper.during(self.store.complete(&held.key, received)).await??;
        self.commit_blob(ctx, &mut keeper, received, digest).await
    }

    /// Ends an upload that nobody wants any more.
    ///
    /// # Errors
    /// [`Error::Unknown`] when there is no such upload in the repository, [`Error::Busy`] while a request writes it.
    pub async fn cancel_upload(&self, ctx: &Ctx, to: &Upload) -> Result<(), Error> {
        self.upload_position(ctx, to).await?;
        if self.discard(&to.id, "").await? { Ok(()) } else { Err(Error::Busy) }
    }

    /// Deletes what uploads left behind that nobody continued for seven days. How many it was.
    ///
    /// # Errors
    /// [`Error::Internal`] when database or store fail.
    pub async fn reap_uploads(&self) -> Result<u64, Error> {
        let since = Micros(self.now().0 - UPLOAD_LIFE);
        let mut reaped = 0;
        loop {
            let expired = {
                let mut session = self.db.read().await?;
                upload::expired(&mut session, since, 100).await?
            };
            if expired.is_empty() {
                return Ok(reaped);
            }
            for id in expired {
                if !self.discard(&id, "").await? {
                    // Somebody came back to it just now.
                    return Ok(reaped);
                }
                reaped += 1;
            }
        }
    }

    async fn position(&self, to: &Upload, received: u64) -> Result<Position, Error> {
        let state = Some(self.capability(&to.name, &to.id).await?);
        Ok(Position { upload: Upload { state, ..to.clone() }, received })
    }

    /// Makes this request the only one that writes the upload.
    async fn hold(&self, ctx: &Ctx, to: &Upload) -> Result<Held, Error> {
        let writer = self.chance.id();
        let since = self.now();
        let (upload, progress, until) = loop {
            let now = self.now();
            let until = Micros(now.0 + HOLD);
            let mut tx = self.db.begin().await?;
            let upload = upload::get(&mut tx, ctx.reader, &to.name, &to.id).await?;
            let upload = upload.ok_or(Error::Unknown(Thing::Upload))?;
            let claimed = upload::claim(&mut tx, &to.id, &writer, until, now).await?;
            tx.commit().await?;
            match claimed {
                Some(progress) => break (upload, progress, until),
                // Whoever held it may be a server that died: its hold ends by itself, and the client need not know.
                None if now.0 < since.0 + HOLD + 1_000_000 => sleep(LOOK).await,
                None => return Err(Error::Busy),
            }
        };
        let key = self.key(&upload.key)?;
        let until = AtomicI64::new(until.0);
        let nothing = Received::nothing(Hasher::new(Algorithm::Sha256));
        let mut held = Held { upload, key, writer, until, received: nothing };
        held.received = self.restore(&held, progress).await?;
        Ok(held)
    }

    /// What was recorded of an upload, as it can be continued.
    async fn restore(&self, held: &Held, progress: upload::Progress) -> Result<Received, Error> {
        let upload::Progress { received: bytes, hash_state, parts } = progress;
        let in_bucket = parts.is_some();
        let parts = parts.and_then(|parts| Parts::restore(&parts));
        match Hasher::restore(&hash_state) {
            Ok(hasher) if in_bucket == parts.is_some() => Ok(Received { bytes, hasher, parts }),
            // Another version of the registry began it. What a bucket holds in parts cannot be read; it begins anew.
            _ if in_bucket => Ok(Received::nothing(Hasher::new(Algorithm::Sha256))),
            _ => {
                let mut hasher = Hasher::new(Algorithm::Sha256);
                Keeper::new(self, held).during(self.hash_into(&held.key, bytes, &mut hasher)).await??;
                Ok(Received { bytes, hasher, parts: None })
            }
        }
    }

    /// Writes a body behind what the upload has. When it breaks off, what came is recorded; in any case of failure the
    /// upload is let go of.
    async fn receive_or_release<E: std::fmt::Display>(
        &self,
        held: &Held,
        incoming: Incoming<impl Stream<Item = Result<Bytes, E>> + Send>,
        end: End,
    ) -> Result<Received, Error> {
        let announced = incoming.range.map(|range| range.bytes());
        let received = match self.receive(held, incoming, end).await {
            Ok((received, None)) => match announced {
                Some(announced) if received.bytes != held.received.bytes + announced => {
                    let why = format!("it announces {announced} bytes, but the body has another length");
                    Err(Error::Invalid { what: Part::Range, why })
                }
                _ => Ok(received),
            },
            Ok((received, Some(why))) => {
                self.checkpoint(held, &received).await?;
                Err(Error::Body(why))
            }
            Err(Error::Lost(left)) => {
                self.checkpoint(held, &left).await?;
                Err(Error::OutOfOrder { received: left.bytes })
            }
            Err(error) => Err(error),
        };
        if received.is_err() {
            self.release(held).await?;
        }
        received
    }

    /// Writes a body behind what the upload has, and why the body broke off, if it did.
    async fn receive<E: std::fmt::Display>(
        &self,
        held: &Held,
        incoming: Incoming<impl Stream<Item = Result<Bytes, E>> + Send>,
        end: End,
    ) -> Result<(Received, Option<String>), Error> {
        let Incoming { range, length, body } = incoming;
        let received = held.received.bytes;
        if range.is_some_and(|range| range.first != received) {
            return Err(Error::OutOfOrder { received });
        }
        if let (Some(range), Some(length)) = (range, length)
            && range.bytes() != length
        {
            let why = format!("it announces {} bytes, but the body has {length}", range.bytes());
            return Err(Error::Invalid { what: Part::Range, why });
        }
        let mut keeper = Keeper::new(self, held);
        let mut body = pin!(body);
        // The object is opened for bytes that are there: the last request of most uploads has none, and one that waited
        // in vain must not touch what another request may have continued.
        let mut frame = match keeper.next(body.as_mut(), || false).await? {
            Next::Broken(why) => return Ok((held.received.clone(), Some(why))),
            Next::End if received > 0 => return Ok((held.received.clone(), None)),
            Next::End => Bytes::new(),
            Next::Frame(frame) => frame,
        };
        self.renew_if_near(held).await?;
        let length = length.filter(|_| !frame.is_empty());
        let opening = self.store.write(&held.key, held.received.clone(), length);
        let mut writer = keeper.during(opening).await??;
        let mut recorded = Instant::now();
        let broken = loop {
            if let Some(begun) = keeper.during(writer.write(frame)).await?? {
                self.checkpoint(held, &Received { parts: Some(begun), ..held.received.clone() }).await?;
            }
            if recorded.elapsed() > CHECKPOINT {
                recorded = Instant::now();
                if let Some(received) = keeper.during(writer.checkpoint()).await?? {
                    self.checkpoint(held, &received).await?;
                }
            }
            match keeper.next(body.as_mut(), || writer.lags()).await? {
                Next::Frame(next) => frame = next,
                Next::End => break None,
                Next::Broken(why) => break Some(why),
            }
        };
        let end = if broken.is_some() { End::Open } else { end };
        Ok((keeper.during(writer.finish(end)).await??, broken))
    }

    /// Keeps the upload if its time is near, so that what follows at once has it.
    async fn renew_if_near(&self, held: &Held) -> Result<(), Error> {
        if self.now().0 < held.until.load(Ordering::Relaxed) - HOLD / 2 { Ok(()) } else { self.renew(held).await }
    }

    async fn renew(&self, held: &Held) -> Result<(), Error> {
        let now = self.now();
        let mut tx = self.db.begin().await?;
        let kept = upload::renew(&mut tx, &held.upload.id, &held.writer, Micros(now.0 + HOLD), now).await?;
        tx.commit().await?;
        held.until.store(now.0 + HOLD, Ordering::Relaxed);
        if kept { Ok(()) } else { Err(Error::Busy) }
    }

    /// Says how far the upload is.
    async fn checkpoint(&self, held: &Held, received: &Received) -> Result<(), Error> {
        let progress = upload::Progress {
            received: received.bytes,
            hash_state: received.hasher.save(),
            parts: received.parts.as_ref().map(Parts::save),
        };
        let mut tx = self.db.begin().await?;
        if !upload::progress(&mut tx, &held.upload.id, &held.writer, &progress, self.now()).await? {
            return Err(Error::Unknown(Thing::Upload));
        }
        tx.commit().await?;
        Ok(())
    }

    /// Lets go of the upload, which stays as it was recorded last.
    async fn release(&self, held: &Held) -> Result<(), Error> {
        let mut tx = self.db.begin().await?;
        upload::release(&mut tx, &held.upload.id, &held.writer, self.now()).await?;
        tx.commit().await?;
        Ok(())
    }

    /// The object is whole; now the rows say so. When the digest has an object already, ours is garbage.
    async fn commit_blob(
        &self,
        ctx: &Ctx,
        keeper: &mut Keeper<'_>,
        received: &Received,
        digest: &Digest,
    ) -> Result<Finished, Error> {
        let (now, held) = (self.now(), keeper.held);
        let (id, repository) = (&held.upload.id, held.upload.repository);
        loop {
            let mut tx = self.db.begin().await?;
            let (key, spare) = (held.key.as_str(), self.id());
            let inserted = blob::insert(&mut tx, repository, digest, received.bytes, key, &spare, now).await?;
            let Some(blob) = inserted else {
                drop(tx);
                match self.commit_known(ctx, keeper, received, digest).await? {
                    Some(finished) => return Ok(finished),
                    // It went while we looked: ours is needed after all.
                    None => continue,
                }
            };
            if !upload::delete_held(&mut tx, id, &held.writer).await? {
                return Err(Error::Unknown(Thing::Upload));
            }
            blob::link(&mut tx, repository, blob, now).await?;
            audit::record(&mut tx, &record(ctx, "blob.push", repository, digest), now).await?;
            tx.commit().await?;
            return Ok(Finished { digest: *digest });
        }
    }

    /// Links the blob that is there already, and gives up our copy of it; unless its object is lost or short, which ours
    /// then replaces. `None` when there is no such blob (any more).
    async fn commit_known(
        &self,
        ctx: &Ctx,
        keeper: &mut Keeper<'_>,
        received: &Received,
        digest: &Digest,
    ) -> Result<Option<Finished>, Error> {
        let (now, held) = (self.now(), keeper.held);
        let (id, repository) = (&held.upload.id, held.upload.repository);
        let known = {
            let mut session = self.db.read().await?;
            blob::find(&mut session, digest).await?
        };
        let Some(known) = known else { return Ok(None) };
        let key = self.key(&known.key)?;
        let whole = match keeper.during(self.store.size(&key)).await? {
            Ok(size) => size == received.bytes,
            Err(store::Error::NotFound) => false,
            Err(error) => return Err(error.into()),
        };
        if !whole {
            // A collector may have deleted it between the two looks.
            let same = blob::find(&mut self.db.read().await?, digest).await?.is_some_and(|now| now.key == known.key);
            if !same {
                return Ok(None);
            }
            tracing::error!(%digest, %key, "an object was lost or short; a push replaces it");
            keeper.during(self.store.complete(&held.key, received)).await??;
            keeper.during(self.store.delete(&key)).await??;
        }
        let mut tx = self.db.begin().await?;
        let (ours, action) = if whole {
            (upload::discard(&mut tx, id, &held.writer, now).await?.is_some(), "blob.push")
        } else {
            if !blob::replace(&mut tx, known.id, &known.key, held.key.as_str()).await? {
                return Ok(None);
            }
            (upload::delete_held(&mut tx, id, &held.writer).await?, "blob.heal")
        };
        if !ours {
            return Err(Error::Unknown(Thing::Upload));
        }
        // The link waits for whoever has the row; what was collected meanwhile is not to be linked.
        if !blob::link(&mut tx, repository, known.id, now).await? {
            return Ok(None);
        }
        audit::record(&mut tx, &record(ctx, action, repository, digest), now).await?;
        tx.commit().await?;
        if whole && let Err(error) = self.discard(id, "").await {
            // The blob is there; what is left of our copy is deleted by the reaper.
            tracing::warn!(%error, upload = id, "a needless copy could not be deleted; it is tried again");
        }
        Ok(Some(Finished { digest: *digest }))
    }

    /// Deletes the object of an upload, then its row; not while another than `writer` holds it. May be repeated, by the
    /// reaper too.
    async fn discard(&self, id: &str, writer: &str) -> Result<bool, Error> {
        let mut tx = self.db.begin().await?;
        upload::discard(&mut tx, id, writer, self.now()).await?;
        let discarded = upload::discarded(&mut tx, id).await?;
        tx.commit().await?;
        let Some((key, parts)) = discarded else { return Ok(false) };
        let parts = parts.and_then(|parts| Parts::restore(&parts));
        self.store.discard(&self.key(&key)?, parts.as_ref()).await?;
        let mut tx = self.db.begin().await?;
        upload::delete(&mut tx, id).await?;
        tx.commit().await?;
        Ok(true)
    }

    async fn hash(&self, key: &Key, bytes: u64, algorithm: Algorithm) -> Result<Digest, Error> {
        let mut hasher = Hasher::new(algorithm);
        self.hash_into(key, bytes, &mut hasher).await?;
        Ok(hasher.finish())
    }

    pub(crate) async fn hash_into(&self, key: &Key, bytes: u64, hasher: &mut Hasher) -> Result<(), Error> {
        let mut chunks = self.store.read(key, 0, bytes).await?;
        while let Some(chunk) = chunks.next().await {
            hasher.update(&chunk?);
        }
        Ok(())
    }
}

/// Keeps an upload while something is awaited that may take long. One timer for all of it: a frame costs none.
struct Keeper<'a> {
    registry: &'a Registry,
    held: &'a Held,
    sign: Interval,
}

/// What a body brings.
enum Next {
    Frame(Bytes),
    End,
    Broken(String),
}

impl<'a> Keeper<'a> {
    fn new(registry: &'a Registry, held: &'a Held) -> Self {
        let mut sign = interval_at(Instant::now() + RENEW, RENEW);
        sign.set_missed_tick_behavior(MissedTickBehavior::Delay);
        Self { registry, held, sign }
    }

    /// Must not be work on the database: it may have the connection that a sign of life needs.
    async fn during<T>(&mut self, work: impl Future<Output = T>) -> Result<T, Error> {
        let mut work = pin!(work);
        loop {
            tokio::select! {
                biased;
                done = &mut work => return Ok(done),
                _ = self.sign.tick() => self.registry.renew_if_near(self.held).await?,
            }
        }
    }

    /// The next frame. A body that is silent for too long has broken off, and so has one that `lags` says to keep others
    /// waiting.
    async fn next<E: std::fmt::Display>(
        &mut self,
        mut body: Pin<&mut (impl Stream<Item = Result<Bytes, E>> + Send)>,
        lags: impl Fn() -> bool,
    ) -> Result<Next, Error> {
        let mut signs = 0;
        loop {
            tokio::select! {
                biased;
                frame = body.next() => return Ok(match frame {
                    None => Next::End,
                    Some(Ok(frame)) => Next::Frame(frame),
                    Some(Err(error)) => Next::Broken(error.to_string()),
                }),
                _ = self.sign.tick() => self.registry.renew_if_near(self.held).await?,
            }
            signs += 1;
            if lags() {
                return Ok(Next::Broken("it comes too slowly while others wait; continue it later".into()));
            }
            if RENEW * signs > IDLE {
                return Ok(Next::Broken(format!("no byte came for {} seconds", IDLE.as_secs())));
            }
        }
    }
}

fn record<'a>(ctx: &'a Ctx, action: &'a str, repository: index::RepositoryId, digest: &'a Digest) -> audit::Record<'a> {
    audit::Record {
        actor: &ctx.actor,
        request_id: &ctx.request_id,
        action,
        repository: Some(repository),
        digest: Some(digest),
        tag: None,
        detail: None,
    }
}
