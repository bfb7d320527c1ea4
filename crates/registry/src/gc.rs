//! Garbage collection, beside pushes and pulls: what nobody has needed for a while goes, and what is known of it stays.
//!
//! A push holds the blobs of its manifest; the collector marks only what it could lock and what then, seen anew, is not
//! needed. A marked blob is invisible. Its object goes before its row, so that nothing is ever untracked, and a push of the
//! same bytes meanwhile gets an object of its own.

use std::time::Duration;

use index::{
    Micros, audit,
    gc::{self, Doomed},
};
use tokio::time::{Instant, sleep};

use crate::{Access, Ctx, Error, Registry, authz};

/// What may go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Policy {
    /// How long nobody must have needed a blob, in microseconds. Clients look whether a blob is there before they push the
    /// manifest that needs it; that takes no longer than this.
    pub grace: i64,
    /// How long nothing must have named a manifest, in microseconds; `None` keeps them all.
    pub untagged: Option<i64>,
}

/// What went, or would go.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, serde::Serialize)]
pub struct Collected {
    /// Manifests that nothing named.
    pub manifests: u64,
    /// Blobs that nobody needed.
    pub blobs: u64,
    /// Their bytes.
    pub bytes: u64,
}

/// How many rows one transaction looks at: few enough that SQLite's only writer is soon free again.
const BATCH: u32 = 32;
/// How many marks, and how many deletions, are made durable at once.
const DELETED_AT_ONCE: u32 = 1000;
/// How many times as long as a batch took the collector then rests, so that pushes hardly notice it; and how long at most.
const REST: u32 = 4;
const LONGEST_REST: Duration = Duration::from_millis(50);

impl Registry {
    /// Deletes what nobody needs, and reports after each batch what went until then.
    ///
    /// # Errors
    /// [`Error::Denied`], or [`Error::Internal`] when database or store fail; what was not deleted is tried again by the
    /// next run.
    pub async fn collect(
        &self,
        ctx: &Ctx,
        policy: &Policy,
        mut progress: impl FnMut(&Collected) + Send,
    ) -> Result<Collected, Error> {
        authz::check(ctx, Access::Push)?;
        let mut collected = Collected::default();
        // In a store that is not this database's, everything would look as if it were gone already.
        if !self.knows_store().await? {
            return Ok(collected);
        }
        self.sweep(&mut collected).await?;
        if let Some(untagged) = policy.untagged {
            loop {
                let cutoff = Micros(self.now().0 - untagged);
                let found = gc::untagged(&mut self.db.read().await?, cutoff, BATCH).await?;
                if found.is_empty() {
                    break;
                }
                for (name, digest) in found {
                    match self.delete_manifest(ctx, &name, &oci::Reference::Digest(digest)).await {
                        Ok(()) => collected.manifests += 1,
                        // Somebody else deleted it just now.
                        Err(Error::Unknown(_)) => {}
                        Err(error) => return Err(error),
                    }
                }
                progress(&collected);
            }
        }
        // One moment for the whole run: what it leaves for later, it does not look at again.
        let cutoff = Micros(self.now().0 - policy.grace);
        let mut marked = Vec::new();
        loop {
            // Nothing is deleted before `delete` has made this durable.
            let mut tx = self.db.begin_relaxed().await?;
            let (now, began) = (self.now(), Instant::now());
            let Some(doomed) = gc::mark(&mut tx, cutoff, BATCH, now).await? else { break };
            gc::record(&mut tx, &doomed, &ctx.actor, &ctx.request_id, now).await?;
            tx.commit().await?;
            marked.extend(doomed);
            if marked.len() >= DELETED_AT_ONCE as usize {
                self.delete(&mut marked, &mut collected).await?;
                progress(&collected);
            }
            rest(began).await;
        }
        self.delete(&mut marked, &mut collected).await?;
        progress(&collected);
        self.record_run(ctx, &collected).await?;
        Ok(collected)
    }

    /// What [`Registry::collect`] would delete now. Blobs that only untagged manifests need are not counted.
    ///
    /// # Errors
    /// [`Error::Denied`], or [`Error::Internal`] when the database fails.
    pub async fn collectable(&self, ctx: &Ctx, policy: &Policy) -> Result<Collected, Error> {
        authz::check(ctx, Access::Push)?;
        let now = self.now();
        let mut session = self.db.read().await?;
        let (blobs, bytes) = gc::count(&mut session, Micros(now.0 - policy.grace)).await?;
        let manifests = match policy.untagged {
            Some(untagged) => gc::untagged(&mut session, Micros(now.0 - untagged), u32::MAX).await?.len() as u64,
            None => 0,
        };
        Ok(Collected { manifests, blobs, bytes })
    }

    /// Records that a run has ended, if anything went: most find nothing.
    async fn record_run(&self, ctx: &Ctx, collected: &Collected) -> Result<(), Error> {
        if *collected == Collected::default() {
            return Ok(());
        }
        let detail = serde_json::to_string(collected).map_err(Error::internal)?;
        let record = audit::Record {
            actor: &ctx.actor,
            request_id: &ctx.request_id,
            action: "gc.run",
            repository: None,
            digest: None,
            tag: None,
            detail: Some(&detail),
        };
        let mut tx = self.db.begin().await?;
        audit::record(&mut tx, &record, self.now()).await?;
        tx.commit().await?;
        Ok(())
    }

    /// Deletes what a collector marked that was cut off.
    async fn sweep(&self, collected: &mut Collected) -> Result<(), Error> {
        loop {
            let mut marked = gc::marked(&mut self.db.read().await?, DELETED_AT_ONCE).await?;
            if marked.is_empty() {
                return Ok(());
            }
            self.delete(&mut marked, collected).await?;
        }
    }

    /// Deletes the objects of marked blobs, and then forgets the blobs. Each step is durable before the next: many at once, for
    /// that costs pushes more than all else.
    async fn delete(&self, marked: &mut Vec<Doomed>, collected: &mut Collected) -> Result<(), Error> {
        let Some(first) = marked.first() else { return Ok(()) };
        let mut tx = self.db.begin().await?;
        gc::settle(&mut tx, first).await?;
        tx.commit().await?;
        for some in marked.chunks(BATCH as usize) {
            let began = Instant::now();
            let keys = some.iter().map(|blob| self.key(&blob.key)).collect::<Result<Vec<_>, _>>()?;
            self.store.delete_all(&keys).await?;
            rest(began).await;
        }
        self.store.sync_deletions().await?;
        for some in marked.chunks(BATCH as usize) {
            // What is remembered all the same is swept again.
            let mut tx = self.db.begin_relaxed().await?;
            let began = Instant::now();
            gc::forget(&mut tx, some).await?;
            tx.commit().await?;
            collected.blobs += some.len() as u64;
            collected.bytes += some.iter().map(|blob| blob.size).sum::<u64>();
            rest(began).await;
        }
        marked.clear();
        Ok(())
    }
}

/// Leaves the database and the disk to others for a while.
async fn rest(began: Instant) {
    sleep((began.elapsed() * REST).min(LONGEST_REST)).await;
}
