//! Uploads: bytes stream to their final key while they are hashed; rows follow when they are durable.

use std::{
    pin::{Pin, pin},
    sync::atomic::{AtomicI64, Ordering},
    time::Duration,
};

use bytes::Bytes;
use futures_util::{Stream, StreamExt as _};
use index::{Micros, audit, blob, upload};
use oci::{Algorithm, ContentRange, Digest, Hasher, Name};
use store::{Key, Received};
use tokio::time::{Instant, Interval, MissedTickBehavior, interval_at, sleep};

use crate::{Access, Ctx, Error, Part, Registry, Thing, authz};

/// How long a request may hold an upload without a sign of life.
const HOLD: i64 = 10_000_000;
/// How often a request that holds an upload gives a sign of life.
const RENEW: Duration = Duration::from_secs(3);
/// How often a request looks whether an upload that another one held is free.
const LOOK: Duration = Duration::from_millis(100);
/// How long a body may bring nothing before it counts as broken off. There is no limit on how long a body takes.
const IDLE: Duration = Duration::from_secs(60);

/// Where an upload stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Position {
    /// The upload's id.
    pub id: String,
    /// How many bytes are durable.
    pub received: u64,
}

/// A blob that is in the repository now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Finished {
    /// Its digest.
    pub digest: Digest,
}

/// An upload that this request alone may write.
struct Held {
    upload: upload::Upload,
    key: Key,
    writer: String,
    /// Until when, in microseconds since 1970.
    until: AtomicI64,
    hasher: Hasher,
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
        let mut tx = self.db.begin().await?;
        let repository = index::repository::ensure(&mut tx, repository, now).await?;
        let hash_state = Hasher::new(algorithm).save();
        let new = upload::NewUpload {
            id: &id,
            repository,
            key: key.as_str(),
            hash_state: &hash_state,
            created_by: &ctx.actor,
        };
        upload::insert(&mut tx, &new, now).await?;
        tx.commit().await?;
        Ok(Position { id, received: 0 })
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
        blob::link(&mut tx, repository, found.id, now).await?;
        // A collector may have held the row while the link waited for it; what it deletes must not be linked.
        if blob::find(&mut tx, digest).await?.is_none() {
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
    pub async fn upload_position(&self, ctx: &Ctx, repository: &Name, id: &str) -> Result<Position, Error> {
        authz::check(ctx, Access::Push)?;
        let mut session = self.db.read().await?;
        let upload = upload::get(&mut session, ctx.reader, repository, id).await?;
        let upload = upload.ok_or(Error::Unknown(Thing::Upload))?;
        Ok(Position { id: upload.id, received: upload.received })
    }

    /// Takes more bytes. When the body breaks off, what came until then is kept, and the upload can be continued there.
    ///
    /// # Errors
    /// [`Error::OutOfOrder`] when `range` does not begin where the upload stands, [`Error::Body`] when the body ends early.
    pub async fn write_upload<E: std::fmt::Display>(
        &self,
        ctx: &Ctx,
        repository: &Name,
        id: &str,
        range: Option<ContentRange>,
        body: impl Stream<Item = Result<Bytes, E>> + Send,
    ) -> Result<Position, Error> {
        authz::check(ctx, Access::Push)?;
        let held = self.hold(ctx, repository, id).await?;
        let (received, broken) = match self.receive(&held, range, body).await {
            Ok(received) => received,
            Err(error) => {
                self.release(&held).await?;
                return Err(error);
            }
        };
        let expected = range.map_or(received.bytes, |range| held.upload.received + range.bytes());
        if broken.is_none() && received.bytes != expected {
            self.release(&held).await?;
            let why =
                format!("it announces {} bytes, but the body has another length", expected - held.upload.received);
            return Err(Error::Invalid { what: Part::Range, why });
        }
        let mut tx = self.db.begin().await?;
        let (bytes, state) = (received.bytes, received.hasher.save());
        if !upload::progress(&mut tx, id, &held.writer, bytes, &state, self.now()).await? {
            return Err(Error::Unknown(Thing::Upload));
        }
        tx.commit().await?;
        match broken {
            Some(why) => Err(Error::Body(why)),
            None => Ok(Position { id: id.to_owned(), received: bytes }),
        }
    }

    /// Takes the last bytes and makes the upload a blob of the repository.
    ///
    /// # Errors
    /// [`Error::Invalid`] when the bytes do not have the digest; then the upload is gone.
    pub async fn finish_upload<E: std::fmt::Display>(
        &self,
        ctx: &Ctx,
        repository: &Name,
        id: &str,
        digest: &Digest,
        range: Option<ContentRange>,
        body: impl Stream<Item = Result<Bytes, E>> + Send,
    ) -> Result<Finished, Error> {
        authz::check(ctx, Access::Push)?;
        let held = self.hold(ctx, repository, id).await?;
        let (received, broken) = match self.receive(&held, range, body).await {
            Ok(received) => received,
            Err(error) => {
                self.release(&held).await?;
                return Err(error);
            }
        };
        if let Some(why) = broken {
            let mut tx = self.db.begin().await?;
            let state = received.hasher.save();
            upload::progress(&mut tx, id, &held.writer, received.bytes, &state, self.now()).await?;
            tx.commit().await?;
            return Err(Error::Body(why));
        }
        let bytes = received.bytes;
        let actual = if received.hasher.algorithm() == digest.algorithm() {
            received.hasher.finish()
        } else {
            // Nobody announced the algorithm, so the bytes are read once more. Hashing twice always would cost everybody.
            Keeper::new(self, &held).during(self.hash(&held.key, bytes, digest.algorithm())).await??
        };
        if actual != *digest {
            self.discard(id, &held.writer).await?;
            let why = format!("the upload was to be {digest}, but its {bytes} bytes have {actual}");
            return Err(Error::Invalid { what: Part::Digest, why });
        }
        self.commit_blob(ctx, &held, digest, bytes).await
    }

    /// Ends an upload that nobody wants any more.
    ///
    /// # Errors
    /// [`Error::Unknown`] when there is no such upload in the repository, [`Error::Busy`] while a request writes it.
    pub async fn cancel_upload(&self, ctx: &Ctx, repository: &Name, id: &str) -> Result<(), Error> {
        self.upload_position(ctx, repository, id).await?;
        if self.discard(id, "").await? { Ok(()) } else { Err(Error::Busy) }
    }

    /// Deletes what uploads left behind that were not used since `since`. How many it was.
    ///
    /// # Errors
    /// [`Error::Internal`] when database or store fail.
    pub async fn reap_uploads(&self, since: Micros) -> Result<u64, Error> {
        let mut reaped = 0;
        loop {
            let expired = {
                let mut session = self.db.read().await?;
                upload::expired(&mut session, since, 100).await?
            };
            if expired.is_empty() {
                return Ok(reaped);
            }
            for (id, _, _) in expired {
                if !self.discard(&id, "").await? {
                    // Somebody came back to it just now.
                    return Ok(reaped);
                }
                reaped += 1;
            }
        }
    }

    /// Makes this request the only one that writes the upload.
    async fn hold(&self, ctx: &Ctx, repository: &Name, id: &str) -> Result<Held, Error> {
        let writer = self.chance.id();
        let since = self.now();
        let (mut upload, received, state, until) = loop {
            let now = self.now();
            let until = Micros(now.0 + HOLD);
            let mut tx = self.db.begin().await?;
            let upload = upload::get(&mut tx, ctx.reader, repository, id).await?;
            let upload = upload.ok_or(Error::Unknown(Thing::Upload))?;
            let claimed = upload::claim(&mut tx, id, &writer, until, now).await?;
            tx.commit().await?;
            match claimed {
                Some((received, state)) => break (upload, received, state, until),
                // Whoever held it may be a server that died: its hold ends by itself, and the client need not know.
                None if now.0 < since.0 + HOLD + 1_000_000 => sleep(LOOK).await,
                None => return Err(Error::Busy),
            }
        };
        upload.received = received;
        let key =
            Key::parse(&upload.key).map_err(|key| Error::internal(format!("the index holds {key:?} as a key")))?;
        let until = AtomicI64::new(until.0);
        let mut held = Held { upload, key, writer, until, hasher: Hasher::new(Algorithm::Sha256) };
        match Hasher::restore(&state) {
            Ok(hasher) => held.hasher = hasher,
            Err(_) => {
                // Another version of the registry began it: what is there is hashed again.
                let mut hasher = Hasher::new(Algorithm::Sha256);
                Keeper::new(self, &held).during(self.hash_into(&held.key, received, &mut hasher)).await??;
                held.hasher = hasher;
            }
        }
        Ok(held)
    }

    /// Writes a body behind what the upload has, and why the body broke off, if it did.
    async fn receive<E: std::fmt::Display>(
        &self,
        held: &Held,
        range: Option<ContentRange>,
        body: impl Stream<Item = Result<Bytes, E>> + Send,
    ) -> Result<(Received, Option<String>), Error> {
        let received = held.upload.received;
        if range.is_some_and(|range| range.first != received) {
            return Err(Error::OutOfOrder { received });
        }
        let unchanged = || Received { bytes: received, hasher: held.hasher.clone() };
        let mut keeper = Keeper::new(self, held);
        let mut body = pin!(body);
        // The file is opened for bytes that are there: the last request of most uploads has none, and one that waited
        // in vain must not touch what another request may have continued.
        let mut frame = match keeper.next(body.as_mut()).await? {
            Next::Broken(why) => return Ok((unchanged(), Some(why))),
            Next::End if received > 0 => return Ok((unchanged(), None)),
            Next::End => Bytes::new(),
            Next::Frame(frame) => frame,
        };
        self.renew_if_near(held).await?;
        let mut writer = self.store.write(&held.key, received, held.hasher.clone()).await?;
        let broken = loop {
            // When the thread has failed, finishing says why.
            if !frame.is_empty() && keeper.during(writer.write(frame)).await?.is_err() {
                break None;
            }
            match keeper.next(body.as_mut()).await? {
                Next::Frame(next) => frame = next,
                Next::End => break None,
                Next::Broken(why) => break Some(why),
            }
        };
        Ok((keeper.during(writer.finish()).await??, broken))
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

    /// Lets go of the upload as it was before this request.
    async fn release(&self, held: &Held) -> Result<(), Error> {
        let mut tx = self.db.begin().await?;
        let (id, writer) = (&held.upload.id, &held.writer);
        upload::progress(&mut tx, id, writer, held.upload.received, &held.hasher.save(), self.now()).await?;
        tx.commit().await?;
        Ok(())
    }

    /// The bytes are durable; now the rows say so. When the digest has an object already, ours is garbage.
    async fn commit_blob(&self, ctx: &Ctx, held: &Held, digest: &Digest, bytes: u64) -> Result<Finished, Error> {
        let now = self.now();
        let (id, repository) = (&held.upload.id, held.upload.repository);
        loop {
            let mut tx = self.db.begin().await?;
            let (key, spare) = (held.key.as_str(), self.id());
            let Some(blob) = blob::insert(&mut tx, repository, digest, bytes, key, &spare, now).await? else {
                drop(tx);
                match self.commit_known(ctx, held, digest, bytes).await? {
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
    /// then replaces. `None` when there is no such blob any more.
    async fn commit_known(
        &self,
        ctx: &Ctx,
        held: &Held,
        digest: &Digest,
        bytes: u64,
    ) -> Result<Option<Finished>, Error> {
        let now = self.now();
        let (id, repository) = (&held.upload.id, held.upload.repository);
        let known = {
            let mut session = self.db.read().await?;
            blob::find(&mut session, digest).await?
        };
        let Some(known) = known else { return Ok(None) };
        let key = self.key(&known.key)?;
        let whole = match self.store.size(&key).await {
            Ok(size) => size == bytes,
            Err(store::Error::NotFound) => false,
            Err(error) => return Err(error.into()),
        };
        if !whole {
            tracing::error!(%digest, %key, "an object was lost or short; a push replaces it");
            self.store.delete(&key).await?;
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
        blob::link(&mut tx, repository, known.id, now).await?;
        // The link waited for whoever had the row; what was collected meanwhile is not to be linked.
        if blob::find(&mut tx, digest).await?.is_none_or(|found| found.id != known.id) {
            return Ok(None);
        }
        audit::record(&mut tx, &record(ctx, action, repository, digest), now).await?;
        tx.commit().await?;
        if whole {
            self.discard(id, "").await?;
        }
        Ok(Some(Finished { digest: *digest }))
    }

    /// Deletes the object of an upload, then its row; not while another than `writer` holds it. May be repeated, by the
    /// reaper too.
    async fn discard(&self, id: &str, writer: &str) -> Result<bool, Error> {
        let mut tx = self.db.begin().await?;
        upload::discard(&mut tx, id, writer, self.now()).await?;
        let key = upload::discarded_key(&mut tx, id).await?;
        tx.commit().await?;
        let Some(key) = key else { return Ok(false) };
        self.store.delete(&self.key(&key)?).await?;
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

    /// The next frame; a body that is silent for too long has broken off.
    async fn next<E: std::fmt::Display>(
        &mut self,
        mut body: Pin<&mut (impl Stream<Item = Result<Bytes, E>> + Send)>,
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
