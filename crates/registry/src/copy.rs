//! A registry copied whole to another database and another store.
//!
//! First come all rows, in one transaction from one snapshot; they say which objects there are. Then come the objects, under
//! the keys that they had, each hashed on its way. The marks are set last, and nothing is served before. Whatever cuts a copy
//! off, the next run continues it: the rows are there or they are not, and an object that is there with its size is whole.

use std::{
    collections::BTreeMap,
    pin::pin,
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

use futures_util::{Stream, StreamExt as _, TryStreamExt as _, stream};
use index::{
    BlobId, audit,
    blob::{self, Blob},
    store::Copy,
};
use oci::{Digest, Hasher};
use store::{End, Key, Parts, Received};

use crate::{Error, Registry};

/// How many objects are copied at once: most are small, and each waits for its store more than it works.
const AT_ONCE: usize = 16;
/// How often it is told how far the objects are.
const TELL: Duration = Duration::from_millis(250);

/// How far a copy is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// So many rows of this table are copied.
    Rows(&'static str, u64),
    /// So many objects are there, and so many bytes were copied for it, of so many.
    Objects {
        /// Objects that are there.
        done: u64,
        /// All objects.
        of: u64,
        /// Bytes that were copied until now.
        bytes: u64,
        /// The bytes of all objects.
        of_bytes: u64,
    },
}

/// What was copied, and what was not.
#[derive(Debug, Default, serde::Serialize)]
pub struct Copied {
    /// How many rows of each table; none when an interrupted copy had them already.
    pub rows: BTreeMap<&'static str, u64>,
    /// Whether an interrupted copy was continued.
    pub continued: bool,
    /// How many objects were copied.
    pub objects: u64,
    /// Their bytes.
    pub bytes: u64,
    /// How many objects an interrupted copy had already.
    pub kept: u64,
    /// How many uploads were open, which are not copied.
    pub uploads: u64,
    /// How many changes the source has recorded since its rows were read; they are not in the copy.
    pub later: u64,
    /// Blobs that were collected in the source since its rows were read; the copy does not have them either.
    pub collected: Vec<String>,
    /// Blobs whose bytes the source does not have any more. The copy has none for them.
    pub damaged: Vec<Damage>,
}

/// A blob whose bytes are not to be had.
#[derive(Debug, serde::Serialize)]
pub struct Damage {
    /// Its digest.
    pub digest: String,
    /// What is wrong.
    pub why: String,
}

/// What became of one object.
enum Fate {
    Copied(u64),
    Kept,
    Collected(Digest),
    Damaged(Digest, String),
}

impl Registry {
    /// Copies everything that is in this registry to `target`, which must be new, or continues a copy that was interrupted.
    /// The source may be served meanwhile: it is copied as it was when its rows were read.
    ///
    /// # Errors
    /// [`Error::NoCopy`] when there is nothing to copy or the target is somebody's; any other leaves a copy that the next
    /// run continues.
    pub async fn copy_to(&self, target: &Self, mut progress: impl FnMut(Step) + Send) -> Result<Copied, Error> {
        let known = self.knows_store().await?;
        let of = index::store::mark(&mut self.db.read().await?).await?;
        let (true, Some(of)) = (known, of) else {
            return Err(Error::NoCopy("there is nothing to copy: no server was ever started on the source"));
        };
        let (copy, continued) = target.begin_copy(of).await?;
        let mut copied = Copied { continued, uploads: self.stats().await?.uploads, ..Copied::default() };
        if index::copy::is_empty(&mut target.db.read().await?).await? {
            copied.rows = self.copy_rows(target, &mut progress).await?;
        }
        let last = audit::last(&mut target.db.read().await?).await?;
        self.copy_objects(target, &mut copied, &mut progress).await?;
        target.end_copy(&copy).await?;
        copied.later = audit::after(&mut self.db.read().await?, last).await?;
        Ok(copied)
    }

    /// Makes sure that this registry is new, or the copy that was being made of the same store; then what is left of the
    /// objects that were under way is deleted. Whether it is the latter.
    async fn begin_copy(&self, of: String) -> Result<(Copy, bool), Error> {
        let taken = |why| Err(Error::NoCopy(why));
        let (begun, new) = {
            let mut session = self.db.read().await?;
            let begun = index::store::copy(&mut session).await?;
            let known = index::store::mark(&mut session).await?;
            (begun, known.is_none() && index::copy::is_empty(&mut session).await?)
        };
        let mark = self.store.mark().await?;
        match begun {
            Some(begun) if begun.of != of => taken("the target is an unfinished copy of another registry"),
            Some(begun) if mark.as_ref().is_some_and(|mark| *mark != begun.mark) => {
                taken("the target's store is that of another registry than its database")
            }
            Some(begun) => {
                self.discard_begun().await?;
                Ok((begun, true))
            }
            None if !new => taken("the target's database has a registry in it; choose an empty one"),
            None if mark.is_some() => {
                taken("the target's store has a registry in it; choose an empty folder or bucket")
            }
            None if !self.is_empty().await? => {
                taken("the target's store has objects in it; choose an empty folder, or another prefix of the bucket")
            }
            None => {
                let copy = Copy { of, mark: self.chance.id() };
                let mut tx = self.db.begin().await?;
                index::store::begin_copy(&mut tx, &copy).await?;
                tx.commit().await?;
                Ok((copy, false))
            }
        }
    }

    /// Deletes what a copy that was cut off left of objects in parts; those that it had completed stay.
    async fn discard_begun(&self) -> Result<(), Error> {
        let begun = index::copy::begun_objects(&mut self.db.read().await?).await?;
        for (name, size, parts) in begun {
            let key = self.key(&name)?;
            if !self.has(&key, size).await? {
                self.store.discard(&key, Parts::restore(&parts).as_ref()).await?;
            }
            self.forget_parts(&key).await?;
        }
        Ok(())
    }

    async fn copy_rows(
        &self,
        target: &Self,
        progress: &mut (impl FnMut(Step) + Send),
    ) -> Result<BTreeMap<&'static str, u64>, Error> {
        let mut from = self.db.snapshot().await?;
        let mut tx = target.db.begin_bulk().await?;
        let rows = index::copy::rows(&mut from, &mut tx, |table, rows| progress(Step::Rows(table, rows))).await?;
        tx.commit().await?;
        Ok(rows.into_iter().collect())
    }

    async fn copy_objects(
        &self,
        target: &Self,
        copied: &mut Copied,
        progress: &mut (impl FnMut(Step) + Send),
    ) -> Result<(), Error> {
        let (of, of_bytes) = index::copy::objects(&mut target.db.read().await?).await?;
        let bytes = AtomicU64::new(0);
        let counted = &bytes;
        let continued = copied.continued;
        let fates = target.blobs().map(move |found| async move {
            let (digest, blob) = found?;
            self.copy_object(target, digest, &blob, continued, counted).await
        });
        let mut fates = pin!(fates.buffer_unordered(AT_ONCE));
        let mut tell = tokio::time::interval(TELL);
        let mut done = 0;
        loop {
            let fate = tokio::select! {
                fate = fates.next() => fate,
                _ = tell.tick() => {
                    progress(Step::Objects { done, of, bytes: bytes.load(Ordering::Relaxed), of_bytes });
                    continue;
                }
            };
            done += 1;
            match fate {
                None => return Ok(()),
                Some(Err(error)) => return Err(error),
                Some(Ok(Fate::Copied(bytes))) => {
                    copied.objects += 1;
                    copied.bytes += bytes;
                }
                Some(Ok(Fate::Kept)) => copied.kept += 1,
                Some(Ok(Fate::Collected(digest))) => copied.collected.push(digest.to_string()),
                Some(Ok(Fate::Damaged(digest, why))) => copied.damaged.push(Damage { digest: digest.to_string(), why }),
            }
        }
    }

    /// Every blob, by id.
    fn blobs(&self) -> impl Stream<Item = Result<(Digest, Blob), Error>> + Send {
        let pages = stream::try_unfold(BlobId(0), async |after| {
            let page = blob::page(&mut self.db.read().await?, after, 500).await?;
            Ok::<_, Error>(page.last().map(|(_, last)| last.id).map(|last| (page, last)))
        });
        pages.map_ok(|page| stream::iter(page).map(Ok)).try_flatten()
    }

    /// Copies one object; `continued` says that it may be there already.
    async fn copy_object(
        &self,
        target: &Self,
        digest: Digest,
        row: &Blob,
        continued: bool,
        bytes: &AtomicU64,
    ) -> Result<Fate, Error> {
        let to = self.key(&row.key)?;
        if continued && target.has(&to, row.size).await? {
            return Ok(Fate::Kept);
        }
        let mut from = to.clone();
        loop {
            let Err(why) = self.transfer(target, &digest, &from, &to, row.size, bytes).await? else {
                return Ok(Fate::Copied(row.size));
            };
            // Since its row was read, it may have been collected, or replaced by a push that found it lost.
            let now = blob::find(&mut self.db.read().await?, &digest).await?;
            match now {
                Some(now) if now.key != from.as_str() => from = self.key(&now.key)?,
                Some(_) => return Ok(Fate::Damaged(digest, why)),
                None => {
                    let mut tx = target.db.begin().await?;
                    index::copy::forget(&mut tx, row.id).await?;
                    tx.commit().await?;
                    return Ok(Fate::Collected(digest));
                }
            }
        }
    }

    /// Whether there is such an object of this size.
    async fn has(&self, key: &Key, size: u64) -> Result<bool, Error> {
        match self.store.size(key).await {
            Ok(found) => Ok(found == size),
            Err(store::Error::NotFound) => Ok(false),
            Err(error) => Err(error.into()),
        }
    }

    /// Streams the object `from` to the object `to` of the target, which is there afterwards if it has the digest; if not, the
    /// inner error says why, and there is none.
    async fn transfer(
        &self,
        target: &Self,
        digest: &Digest,
        from: &Key,
        to: &Key,
        size: u64,
        bytes: &AtomicU64,
    ) -> Result<Result<(), String>, Error> {
        let mut chunks = match self.store.read(from, 0, size).await {
            Ok(chunks) => chunks,
            Err(error) => return Ok(Err(self.fault(from, size, error).await?)),
        };
        let nothing = Received::nothing(Hasher::new(digest.algorithm()));
        let mut writer = target.store.write(to, nothing, Some(size)).await?;
        let (mut begun, mut fault) = (false, None);
        while let Some(chunk) = chunks.next().await {
            let chunk = match chunk {
                Ok(chunk) => chunk,
                Err(error) => {
                    fault = Some(self.fault(from, size, error).await?);
                    break;
                }
            };
            bytes.fetch_add(chunk.len() as u64, Ordering::Relaxed);
            if let Some(parts) = writer.write(chunk).await? {
                target.record_parts(to, &parts).await?;
                begun = true;
            }
        }
        let received = writer.finish(if fault.is_none() { End::Last } else { End::Open }).await?;
        let actual = received.hasher.clone().finish();
        if fault.is_none() && actual != *digest {
            fault = Some(format!("its object has the bytes of {actual}"));
        }
        match &fault {
            None => target.store.complete(to, &received).await?,
            Some(_) => target.store.discard(to, received.parts.as_ref()).await?,
        }
        if begun {
            target.forget_parts(to).await?;
        }
        Ok(fault.map_or(Ok(()), Err))
    }

    /// What is wrong with an object that cannot be read, if it is the object and not the store.
    async fn fault(&self, key: &Key, size: u64, error: store::Error) -> Result<String, Error> {
        match self.store.size(key).await {
            Err(store::Error::NotFound) => Ok("its object is lost".into()),
            Ok(actual) if actual != size => Ok(format!("its object has {actual} bytes and not {size}")),
            _ => Err(error.into()),
        }
    }

    /// Records how a bucket holds an object that has just been begun: the next run deletes what is left of it.
    async fn record_parts(&self, key: &Key, parts: &Parts) -> Result<(), Error> {
        let mut tx = self.db.begin().await?;
        index::copy::begin_object(&mut tx, key.as_str(), &parts.save(), self.now()).await?;
        tx.commit().await?;
        Ok(())
    }

    async fn forget_parts(&self, key: &Key) -> Result<(), Error> {
        let mut tx = self.db.begin().await?;
        index::upload::delete(&mut tx, key.as_str()).await?;
        tx.commit().await?;
        Ok(())
    }

    /// Marks store and database as belonging together, and whole.
    async fn end_copy(&self, copy: &Copy) -> Result<(), Error> {
        self.store.set_mark(&copy.mark).await?;
        let mut tx = self.db.begin().await?;
        if !index::store::end_copy(&mut tx, copy).await? {
            return Err(Error::internal("another process has ended the copy"));
        }
        tx.commit().await?;
        Ok(())
    }
}
