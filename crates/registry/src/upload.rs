//! Uploads: bytes stream to their final key while they are hashed; rows follow when they are durable.

use std::{pin::pin, time::Duration};

use bytes::Bytes;
use futures_util::{Stream, StreamExt as _};
use index::{Micros, audit, blob, upload};
use oci::{Algorithm, ContentRange, Digest, Hasher, Name};
use store::{Key, Received};
use tokio::time::{Instant, sleep, sleep_until, timeout};

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
            self.hash(&held.key, bytes, digest.algorithm()).await?
        };
        if actual != *digest {
            self.discard(id).await?;
            let why = format!("the upload was to be {digest}, but its {bytes} bytes have {actual}");
            return Err(Error::Invalid { what: Part::Digest, why });
        }
        self.commit_blob(ctx, &held, digest, bytes).await
    }

    /// Ends an upload that nobody wants any more.
    ///
    /// # Errors
    /// [`Error::Unknown`] when there is no such upload in the repository.
    pub async fn cancel_upload(&self, ctx: &Ctx, repository: &Name, id: &str) -> Result<(), Error> {
        self.upload_position(ctx, repository, id).await?;
        self.discard(id).await
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
                self.discard(&id).await?;
                reaped += 1;
            }
        }
    }

    /// Makes this request the only one that writes the upload.
    async fn hold(&self, ctx: &Ctx, repository: &Name, id: &str) -> Result<Held, Error> {
        let writer = self.chance.id();
        let since = self.now();
        let (mut upload, received, state) = loop {
            let now = self.now();
            let mut tx = self.db.begin().await?;
            let upload = upload::get(&mut tx, ctx.reader, repository, id).await?;
            let upload = upload.ok_or(Error::Unknown(Thing::Upload))?;
            let claimed = upload::claim(&mut tx, id, &writer, Micros(now.0 + HOLD), now).await?;
            tx.commit().await?;
            match claimed {
                Some((received, state)) => break (upload, received, state),
                // Whoever held it may be a server that died: its hold ends by itself, and the client need not know.
                None if now.0 < since.0 + HOLD + 1_000_000 => sleep(LOOK).await,
                None => return Err(Error::Busy),
            }
        };
        upload.received = received;
        let key =
            Key::parse(&upload.key).map_err(|key| Error::internal(format!("the index holds {key:?} as a key")))?;
        match Hasher::restore(&state) {
            Ok(hasher) => Ok(Held { upload, key, writer, hasher }),
            Err(_) => {
                // Another version of the registry began it: what is there is hashed again.
                let mut hasher = Hasher::new(Algorithm::Sha256);
                self.hash_into(&key, received, &mut hasher).await?;
                Ok(Held { upload, key, writer, hasher })
            }
        }
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
        let mut body = pin!(body.peekable());
        // The last request of most uploads has no bytes: the disk need not be touched for it.
        if received > 0 && matches!(timeout(IDLE, body.as_mut().peek()).await, Ok(None)) {
            return Ok((Received { bytes: received, hasher: held.hasher.clone() }, None));
        }
        let writer = self.store.write(&held.key, received, held.hasher.clone()).await?;
        let mut sign = tokio::time::interval(RENEW);
        sign.tick().await;
        let mut last = Instant::now();
        let broken = loop {
            tokio::select! {
                biased;
                frame = body.next() => match frame {
                    None => break None,
                    Some(Err(error)) => break Some(error.to_string()),
                    Some(Ok(frame)) if frame.is_empty() => {}
                    Some(Ok(frame)) => {
                        last = Instant::now();
                        // The thread failed; finishing says why.
                        if writer.write(frame).await.is_err() {
                            break None;
                        }
                    }
                },
                () = sleep_until(last + IDLE) => break Some(format!("no byte came for {} seconds", IDLE.as_secs())),
                _ = sign.tick() => self.renew(held).await?,
            }
        };
        Ok((writer.finish().await?, broken))
    }

    async fn renew(&self, held: &Held) -> Result<(), Error> {
        let now = self.now();
        let mut tx = self.db.begin().await?;
        let kept = upload::renew(&mut tx, &held.upload.id, &held.writer, Micros(now.0 + HOLD), now).await?;
        tx.commit().await?;
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
        let mut tx = self.db.begin().await?;
        let new = blob::insert(&mut tx, digest, bytes, held.key.as_str(), now).await?;
        let blob = match new {
            Some(blob) => {
                if !upload::delete_held(&mut tx, id, &held.writer).await? {
                    return Err(Error::Unknown(Thing::Upload));
                }
                blob
            }
            None => {
                if upload::discard(&mut tx, id, now).await?.is_none() {
                    return Err(Error::Unknown(Thing::Upload));
                }
                // It was there a statement ago, and its row is locked since.
                blob::find(&mut tx, digest).await?.ok_or(Error::Busy)?.id
            }
        };
        blob::link(&mut tx, repository, blob, now).await?;
        let record = record(ctx, "blob.push", repository, digest);
        audit::record(&mut tx, &record, now).await?;
        tx.commit().await?;
        if new.is_none() {
            self.discard(id).await?;
        }
        Ok(Finished { digest: *digest })
    }

    /// Deletes the object of an upload, then its row. May be repeated, by the reaper too.
    async fn discard(&self, id: &str) -> Result<(), Error> {
        let mut tx = self.db.begin().await?;
        upload::discard(&mut tx, id, self.now()).await?;
        let key = upload::discarded_key(&mut tx, id).await?;
        tx.commit().await?;
        let Some(key) = key else { return Ok(()) };
        let key = Key::parse(&key).map_err(|key| Error::internal(format!("the index holds {key:?} as a key")))?;
        self.store.delete(&key).await?;
        let mut tx = self.db.begin().await?;
        upload::delete(&mut tx, id).await?;
        tx.commit().await?;
        Ok(())
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
