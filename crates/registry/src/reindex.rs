//! Rebuilding all that is derived, with the code that a push and a worker run.
//!
//! A manifest is understood again and its rows are replaced in one transaction; a layer is scanned again, and its facts are
//! replaced when the scan is whole. Until then the old ones answer. What has lost its bytes keeps what is known of it.

use std::{
    collections::{BTreeSet, HashSet},
    slice,
};

use futures_util::future::try_join_all;
use index::{
    JobKind, LayerId, LayerState, Micros, NodeId, Priority, Reader, ReferenceState, Session, job, manifest, reference,
    reindex, repository,
};
use modelkit::{Config, Kit};
use oci::{Manifest, Name, Reference};

use crate::{
    Access, Ctx, Error, Registry, Thing, authz,
    declared::{Declared, Stay, To, Voice, targets},
    plan::{self, Plan},
    push::{TRIES, Unread, kit_claim, write_kit, write_parts},
};

/// What is to be rebuilt.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Rebuild {
    /// Only what is or was in this repository.
    pub repository: Option<Name>,
    /// Only failed and partial layers, and kits that are incomplete.
    pub failed: bool,
    /// From the start, also where an earlier one was cut off.
    pub anew: bool,
    /// How many layers are scanned at once.
    pub workers: usize,
}

/// How far a rebuild has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rebuilding {
    /// So many manifests of so many are understood again.
    Manifests(u64, u64),
    /// So many layers are to be scanned.
    Layers(u64),
    /// So many scans are left.
    Scans(u64),
}

/// What a rebuild did.
#[derive(Debug, Clone, Default, PartialEq, Eq, serde::Serialize)]
pub struct Rebuilt {
    /// Whether it went on where an earlier one was cut off; what that did is not counted here.
    pub continued: bool,
    /// Manifests that were understood again.
    pub manifests: u64,
    /// Those among them whose config has lost its bytes, so that what is known of their meaning was kept.
    pub kept: u64,
    /// Those that cannot be read, in words for the operator.
    pub unreadable: Vec<String>,
    /// References that were missing.
    pub references: u64,
    /// Layers for which a scan was asked for.
    pub layers: u64,
    /// Scans that failed; they are tried again.
    pub waiting: u64,
}

/// How far the search for outdated layers has come.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Sweep {
    after: (i32, LayerId),
    not_before: Micros,
}

impl Default for Sweep {
    fn default() -> Self {
        Self { after: (i32::MIN, LayerId(0)), not_before: Micros(i64::MIN) }
    }
}

/// How many layers or manifests are looked up at once.
const PAGE: u32 = 500;
/// How many outdated layers a worker that has nothing to do looks at: few, for nobody waits for them.
const OUTDATED: u32 = 100;
/// How long after its end the search for them begins again, in microseconds.
const SEARCH_AGAIN: i64 = 60_000_000;
/// What derives. A rebuild that another version began is begun anew.
const VERSION: &str = env!("CARGO_PKG_VERSION");

impl Registry {
    /// Rebuilds what is derived, or goes on with a rebuild that was cut off, and waits for its scans.
    ///
    /// # Errors
    /// [`Error::Denied`], [`Error::Unknown`] when there is no such repository, or when database or store fail; what was done
    /// until then is kept, and the next run goes on behind it.
    pub async fn reindex(
        &self,
        ctx: &Ctx,
        what: &Rebuild,
        mut progress: impl FnMut(Rebuilding) + Send,
    ) -> Result<Rebuilt, Error> {
        authz::check(ctx, Access::Push)?;
        let scope = reindex::Scope { repository: what.repository.clone(), failed: what.failed };
        let version = format!("{VERSION} {}", self.limits.scanner_version());
        let mut tx = self.db.begin().await?;
        if let Some(name) = &what.repository
            && repository::find(&mut tx, ctx.reader, name).await?.is_none()
        {
            return Err(Error::Unknown(Thing::Repository(name.to_string())));
        }
        let found = reindex::find(&mut tx, &scope, &version).await?.filter(|_| !what.anew);
        let mut run = match found {
            Some(run) => run,
            None => reindex::begin(&mut tx, &scope, &version, self.now()).await?,
        };
        tx.commit().await?;
        let mut rebuilt = Rebuilt { continued: found.is_some(), ..Rebuilt::default() };
        self.rebuild_manifests(&scope, &mut run, &mut rebuilt, &mut progress).await?;
        self.queue_layers(&scope, &mut run, &mut rebuilt, &mut progress).await?;
        // Not relaxed, as those before it were: what they wrote is durable with it.
        let mut tx = self.db.begin().await?;
        reindex::recount(&mut tx).await?;
        tx.commit().await?;
        self.work.notify_waiters();
        rebuilt.waiting = self.drain(what.workers, &mut progress).await?;
        let mut tx = self.db.begin().await?;
        reindex::end(&mut tx, &scope).await?;
        tx.commit().await?;
        Ok(rebuilt)
    }

    async fn rebuild_manifests(
        &self,
        scope: &reindex::Scope,
        run: &mut reindex::Run,
        rebuilt: &mut Rebuilt,
        progress: &mut (impl FnMut(Rebuilding) + Send),
    ) -> Result<(), Error> {
        let of = reindex::count(&mut self.db.read().await?, scope, run.after_manifest).await?;
        let mut done = 0;
        loop {
            let page = reindex::manifests(&mut self.db.read().await?, scope, run.after_manifest, PAGE).await?;
            if page.is_empty() {
                return Ok(());
            }
            for id in page {
                run.after_manifest = id;
                self.rebuild(id, scope, run, rebuilt).await?;
                done += 1;
                progress(Rebuilding::Manifests(done, of));
            }
        }
    }

    /// Understands one manifest again, and records in the same transaction that this is done.
    async fn rebuild(
        &self,
        id: NodeId,
        scope: &reindex::Scope,
        run: &reindex::Run,
        rebuilt: &mut Rebuilt,
    ) -> Result<(), Error> {
        let (stored, stays) = {
            let mut session = self.db.read().await?;
            let Some(stored) = reindex::stored(&mut session, id).await? else { return Ok(()) };
            (stored, manifest::occurrences(&mut session, Reader::ALL, Micros::MAX, &[id]).await?)
        };
        let content_type = Some(&*stored.media_type).filter(|media_type| !media_type.is_empty());
        let manifest = match Manifest::parse(stored.payload, content_type, stored.digest.algorithm()) {
            Ok(manifest) if manifest.digest == stored.digest => manifest,
            Ok(other) => {
                rebuilt.unreadable.push(format!("manifest {} has the bytes of {}", stored.digest, other.digest));
                return Ok(());
            }
            Err(error) => {
                rebuilt.unreadable.push(format!("manifest {}: {error}", stored.digest));
                return Ok(());
            }
        };
        let kit = self.understand_again(&manifest, stored.has_kit).await?;
        rebuilt.kept += u64::from(kit.is_none());
        let mut plan = match &kit {
            Some(kit) => plan::push(&manifest, kit, &self.names),
            // Of the plan only what the manifest itself says is used.
            None => plan::push(&manifest, &modelkit::understand(&manifest, Config::None), &self.names),
        };
        self.note_lost_layers(&mut plan).await?;
        let mut tries = 0;
        let references = loop {
            tries += 1;
            let mut tx = self.db.begin_relaxed().await?;
            match self.write_again(&mut tx, id, &manifest, kit.as_ref(), &plan, &stays).await {
                Ok(references) => {
                    reindex::advance(&mut tx, scope, run).await?;
                    tx.commit().await?;
                    break references;
                }
                Err(error) if error.is_conflict() && tries < TRIES => {}
                Err(error) => return Err(error),
            }
        };
        rebuilt.manifests += 1;
        rebuilt.references += references;
        Ok(())
    }

    /// What the manifest means; `None` where its config has lost its bytes and what is known of it is to be kept.
    async fn understand_again(&self, manifest: &Manifest, has_kit: bool) -> Result<Option<Kit>, Error> {
        let Some(config) = modelkit::config_needed(manifest) else {
            return Ok(Some(modelkit::understand(manifest, Config::None)));
        };
        let blob = index::blob::find(&mut self.db.read().await?, &config.digest).await?;
        let read = match blob {
            Some(blob) => self.read_config(&config.digest, &blob).await?,
            None => Err(Unread::Lost("the config")),
        };
        match read {
            Ok(bytes) => Ok(Some(plan::without_secrets(modelkit::understand(manifest, Config::Bytes(&bytes))))),
            Err(Unread::Lost(_)) if has_kit => Ok(None),
            Err(unread) => Ok(Some(modelkit::understand(manifest, Config::Unavailable(&unread.to_string())))),
        }
    }

    /// What a push would have scanned, and what has no bytes any more, is not waited for.
    async fn note_lost_layers(&self, plan: &mut Plan) -> Result<(), Error> {
        let digests: Vec<_> = plan.layers.iter().map(|layer| layer.digest).collect();
        let present: HashSet<_> =
            reindex::with_bytes(&mut self.db.read().await?, &digests).await?.into_iter().collect();
        let pending = plan.layers.iter_mut().filter(|layer| layer.state == LayerState::Pending);
        for layer in pending.filter(|layer| !present.contains(&layer.digest)) {
            layer.state = LayerState::Purged;
            layer.reason = Some("its bytes were deleted before it was scanned");
        }
        Ok(())
    }

    /// Replaces what is derived from a manifest and its config. How many references were missing.
    async fn write_again(
        &self,
        tx: &mut Session,
        id: NodeId,
        manifest: &Manifest,
        kit: Option<&Kit>,
        plan: &Plan,
        stays: &[manifest::Occurrence],
    ) -> Result<u64, Error> {
        let meeting = plan.references.iter().filter_map(|declared| declared.to.here());
        let names: BTreeSet<_> = meeting.map(|name| &**name).collect();
        reference::lock_arrivals(tx, &names).await?;
        reindex::reset_manifest(tx, id, manifest).await?;
        let (layers, _) = self.know_layers(tx, plan, Priority::Reindex).await?;
        write_parts(tx, id, manifest, layers).await?;
        let Some(kit) = kit else { return Ok(0) };
        reindex::reset_kit(tx, id).await?;
        write_kit(tx, id, kit, plan).await?;
        let mut missing = 0;
        for stay in stays {
            missing += self.declare_again(tx, id, stay, plan).await?;
        }
        Ok(missing)
    }

    /// Adds what a stay's kit declares and nobody has recorded. What was recorded stays as it was: it is evidence, and so is
    /// when that was. How many references were missing.
    async fn declare_again(
        &self,
        tx: &mut Session,
        manifest: NodeId,
        occurrence: &manifest::Occurrence,
        plan: &Plan,
    ) -> Result<u64, Error> {
        if plan.references.is_empty() {
            return Ok(0);
        }
        let now = self.now();
        let is_over = occurrence.closed_at.is_some();
        let stay = Stay { repository: occurrence.repository, occurrence: occurrence.id, manifest, is_over };
        let mut recorded = reindex::references(tx, occurrence.id).await?;
        let mut claim = recorded.first().map(|reference| reference.claim);
        let mut missing = 0;
        for declared in &plan.references {
            let same =
                |known: &reindex::Recorded| known.kind == declared.kind && known.declared == declared.text.as_bytes();
            let exact = recorded.iter().position(|known| same(known) && known.component == declared.component);
            if let Some(known) = exact.or_else(|| recorded.iter().position(same)) {
                let known = recorded.swap_remove(known);
                if let Some(component) = declared.component.filter(|_| known.component != declared.component) {
                    reindex::move_reference(tx, known.id, component).await?;
                }
                self.resolve_again(tx, &stay, declared, &known).await?;
                continue;
            }
            let claim = match claim {
                Some(claim) => claim,
                None => *claim.insert(kit_claim(tx, &stay, &occurrence.opened_by, now).await?),
            };
            Voice::kit(claim, &stay).declare(tx, slice::from_ref(declared), now).await?;
            missing += 1;
        }
        Ok(missing)
    }

    /// Finds the target of a reference that has come without anybody noticing, and makes the edge that is missing.
    async fn resolve_again(
        &self,
        tx: &mut Session,
        stay: &Stay,
        declared: &Declared,
        known: &reindex::Recorded,
    ) -> Result<(), Error> {
        let now = self.now();
        let target = match (known.state, &declared.to) {
            (ReferenceState::Resolved, _) => known.resolved,
            (ReferenceState::Unresolved, To::Artifact { repository: name, what, .. }) => {
                let found = match what {
                    Reference::Tag(_) => manifest::get(tx, Reader::ALL, name, what).await?,
                    Reference::Digest(digest) => manifest::get_ever(tx, Reader::ALL, name, digest).await?,
                };
                match (found, what) {
                    (Some(found), _) => {
                        reference::resolve(tx, known.id, found.id, true, now).await?;
                        Some(found.id)
                    }
                    (None, Reference::Digest(digest)) => Some(manifest::node(tx, digest).await?),
                    (None, Reference::Tag(_)) => None,
                }
            }
            (ReferenceState::Outside, _) if declared.to.is_outside() && !known.has_edge => {
                targets::resolve(tx, &[(&declared.to, &declared.text)]).await?.first().and_then(|(_, node)| *node)
            }
            _ => None,
        };
        match target {
            Some(target) if !known.has_edge => {
                let edge = Voice::kit(known.claim, stay).edge(declared.kind, known.id, target);
                Ok(reference::insert_edges(tx, &[edge], now).await?)
            }
            _ => Ok(()),
        }
    }

    /// Asks for a scan of every layer that still has its bytes; records with each page that this is done.
    async fn queue_layers(
        &self,
        scope: &reindex::Scope,
        run: &mut reindex::Run,
        rebuilt: &mut Rebuilt,
        progress: &mut (impl FnMut(Rebuilding) + Send),
    ) -> Result<(), Error> {
        loop {
            let page = reindex::layers(&mut self.db.read().await?, scope, run.after_layer, PAGE).await?;
            let Some(&last) = page.last() else { return Ok(()) };
            run.after_layer = last;
            let mut tx = self.db.begin_relaxed().await?;
            reindex::queue(&mut tx, &page, Priority::Reindex, self.now()).await?;
            reindex::advance(&mut tx, scope, run).await?;
            tx.commit().await?;
            rebuilt.layers += page.len() as u64;
            progress(Rebuilding::Layers(rebuilt.layers));
        }
    }

    /// Scans, as workers of servers do beside it, until nothing is left of what the operator asked for but what has failed
    /// and waits for another try. How many these are.
    async fn drain(&self, workers: usize, progress: &mut (impl FnMut(Rebuilding) + Send)) -> Result<u64, Error> {
        loop {
            let left = reindex::left(&mut self.db.read().await?, self.now()).await?;
            progress(Rebuilding::Scans(left.due));
            if left.due == 0 {
                return Ok(left.waiting);
            }
            let round = (0..workers.max(1)).map(|_| self.scan_some());
            let idle = !try_join_all(round).await?.contains(&true);
            if idle {
                // Others are at it, or a job's holder has died and its lease must run out.
                tokio::time::sleep(std::time::Duration::from_millis(200)).await;
            }
        }
    }

    /// Scans for about a second, so that progress can be shown. Whether there was anything to do.
    async fn scan_some(&self) -> Result<bool, Error> {
        let began = tokio::time::Instant::now();
        let mut did = false;
        while began.elapsed() < std::time::Duration::from_secs(1) && self.scan_next().await? {
            did = true;
        }
        Ok(did)
    }

    /// Asks for scans of a few layers whose facts are those of an older scanner, if there are any. Whether it did.
    pub(crate) async fn queue_outdated(&self) -> Result<bool, Error> {
        let now = self.now();
        let sweep = self.outdated.lock().map(|sweep| *sweep).unwrap_or_default();
        if now < sweep.not_before {
            return Ok(false);
        }
        let scanner = self.limits.scanner_version();
        let found = reindex::outdated(&mut self.db.read().await?, scanner, sweep.after, OUTDATED).await?;
        let next = match found.last() {
            Some(&(scanner, last, _)) => Sweep { after: (scanner, last), ..sweep },
            None => Sweep { not_before: Micros(now.0 + SEARCH_AGAIN), ..Sweep::default() },
        };
        let layers: Vec<_> = found.iter().filter(|(.., has_bytes)| *has_bytes).map(|&(_, id, _)| id).collect();
        if !layers.is_empty() {
            let mut tx = self.db.begin().await?;
            for layer in &layers {
                job::enqueue(&mut tx, JobKind::Scan, &layer.0.to_string(), Priority::Outdated, now).await?;
            }
            tx.commit().await?;
        }
        if let Ok(mut sweep) = self.outdated.lock() {
            *sweep = next;
        }
        Ok(!layers.is_empty())
    }
}
