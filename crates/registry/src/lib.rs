//! The operations of the registry: push, pull, look inside, answer.
//!
//! Every operation takes its context first and authorises before it reads. This crate knows neither HTTP nor SQL text nor
//! where objects are; it decides, at each miss, what the miss means.

mod adapters;
mod alike;
mod assertions;
mod audit;
mod authz;
mod capability;
mod cards;
mod chance;
mod check;
mod clock;
mod component_versions;
mod context;
mod copy;
mod coverage;
mod declared;
mod delete;
mod diff;
mod error;
mod events;
mod files;
mod gc;
mod impact;
mod kits;
mod lineage;
mod list;
mod matched;
mod names;
mod paths;
mod plan;
mod pull;
mod pulls;
mod push;
mod reindex;
mod scan;
mod search;
mod statements;
mod stats;
mod tags;
mod together;
mod upload;
mod view;

use std::{
    io,
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
};

use futures_util::StreamExt as _;
use index::Db;
use signatures::Trust;
use store::Store;
use tokio::sync::Notify;

pub use alike::Rung;
pub use assertions::Assertion;
pub use audit::{AuditLines, AuditQuestion};
pub use authz::Access;
pub use chance::Chance;
pub use check::Progress;
pub use clock::Clock;
pub use context::Ctx;
pub use copy::{Copied, Damage, Step};
pub use coverage::{CoverageQuestion, Gap};
pub use error::{Error, Part, Thing};
pub use events::{EVENT_LIMIT, Taken};
pub use files::Wanted;
pub use gc::{Collected, Policy};
pub use impact::{Content, Question};
pub use index::{Grade, Micros, Reader, tag::Event as TagHistoryEvent};
pub use lineage::{About, AsOfKind, Direction, LineageQuestion};
pub use list::{Referrer, Referrers, TagPage};
pub use names::Names;
pub use pull::{Blob, Manifest};
pub use pulls::{PullKind, Pulled, PullsQuestion};
pub use push::{PushManifest, Pushed};
pub use reindex::{Rebuild, Rebuilding, Rebuilt};
pub use search::Search;
pub use stats::Stats;
pub use tags::{
    HistoryWindow, StagesQuestion,
    answer::{History, Moved, Stage, Staged, Stages, TagEvent, Tagged},
    moving::{Promote, Proposed, Rollback, TagCondition, Target as RollbackTarget},
};
pub use upload::{Finished, Incoming, Position};
pub use view::{
    Adapter, Affected, Audit, Capped, Change, Changes, Claim, ClaimTold, Claims, Completeness, Component,
    ComponentDiff, ComponentName, Coverage, Diff, Evidence, File, FileChange, FileChanges, Files, Found, FoundKit,
    Holder, Impact, Kit, KitLayer, LayerCounts, Lineage, LineageEdge, LineageNode, LineagePlace, Matched, Model,
    Outside, Overlap, Place, Pull, PullOf, Pulls, Record, Repositories, Repository, Retraction, Scope, Signature,
    Statement, Target, Ubiquitous, Used, Version, Versions, WholeEdge, WholeLineage, WholeNode,
};

/// The largest manifest that is accepted: what clients are known to accept (oras caps at the same).
pub const MANIFEST_LIMIT: usize = 4 << 20;

/// The registry: an index, a store, and what time and chance it lives in.
#[derive(Debug)]
pub struct Registry {
    db: Db,
    store: Store,
    clock: Clock,
    chance: Chance,
    names: Names,
    limits: content::Limits,
    ubiquitous: u64,
    spill: PathBuf,
    trust: Trust,
    /// Rung when there is something to scan.
    work: Arc<Notify>,
    /// Rung when a scan ended, and when nobody is to wait for one any more.
    settled: Arc<Notify>,
    stopping: AtomicBool,
    /// How many bytes of layers this process has read to look into them.
    scanned: Arc<AtomicU64>,
    keys: capability::Keys,
    /// How far the search for outdated layers has come.
    outdated: std::sync::Mutex<reindex::Sweep>,
    pulls: pulls::Noted,
}

/// What a registry is made of.
#[derive(Debug)]
pub struct Options {
    /// The database, migrated.
    pub db: Db,
    /// The store.
    pub store: Store,
    /// The time.
    pub clock: Clock,
    /// Chance.
    pub chance: Chance,
    /// The names that references to this registry use.
    pub names: Names,
    /// Where a scan of a layer stops.
    pub limits: content::Limits,
    /// A file that is in more repositories makes no match by itself.
    pub ubiquitous: u64,
    /// A folder for lists that are too long for memory.
    pub spill: PathBuf,
    /// Whose signatures count.
    pub trust: Trust,
}

impl Registry {
    /// A registry of these parts. Nothing is read or written yet.
    #[must_use]
    pub fn new(options: Options) -> Self {
        Self {
            db: options.db,
            store: options.store,
            clock: options.clock,
            chance: options.chance,
            names: options.names,
            limits: options.limits,
            ubiquitous: options.ubiquitous,
            spill: options.spill,
            trust: options.trust,
            work: Arc::new(Notify::new()),
            settled: Arc::new(Notify::new()),
            stopping: AtomicBool::new(false),
            scanned: Arc::default(),
            keys: capability::Keys::default(),
            outdated: std::sync::Mutex::default(),
            pulls: pulls::Noted::default(),
        }
    }

    /// How many bytes of layers this process has read since it started, to look into them.
    #[must_use]
    pub fn scanned(&self) -> u64 {
        self.scanned.load(Ordering::Relaxed)
    }

    /// Lets go of every question that waits for scans: the server is about to end.
    pub fn stop_waiting(&self) {
        self.stopping.store(true, Ordering::SeqCst);
        self.settled.notify_waiters();
    }

    /// Makes ready to serve. `alone` says that no other server uses the database, so that whatever is held is held by a
    /// process that is dead. References to names that are new are resolved again.
    ///
    /// # Errors
    /// [`Error::WrongStore`] when the database is about another store, [`Error::HalfCopy`] when it is a copy that is not
    /// whole, [`Error::Internal`] when either fails.
    pub async fn start(&self, alone: bool) -> Result<(), Error> {
        self.meet_store().await?;
        let mut tx = self.db.begin().await?;
        if alone {
            index::upload::release_all(&mut tx).await?;
            index::job::release_all(&mut tx).await?;
        }
        self.learn_names(&mut tx).await?;
        tx.commit().await?;
        Ok(())
    }

    /// Marks a new store and its new database as belonging together.
    async fn meet_store(&self) -> Result<(), Error> {
        if self.knows_store().await? {
            return Ok(());
        }
        // The store first: a database without a mark is new, whatever its store says.
        let mark = self.chance.id();
        self.store.set_mark(&mark).await?;
        let mut tx = self.db.begin().await?;
        index::store::set_mark(&mut tx, &mark).await?;
        tx.commit().await?;
        Ok(())
    }

    /// Whether the database is about this store, which it must be; false when both are new.
    ///
    /// # Errors
    /// [`Error::WrongStore`] when the database is about another store, [`Error::HalfCopy`] when it is a copy that is not
    /// whole, [`Error::Internal`] when either fails.
    pub async fn knows_store(&self) -> Result<bool, Error> {
        let mut session = self.db.read().await?;
        if index::store::copy(&mut session).await?.is_some() {
            return Err(Error::HalfCopy);
        }
        let known = index::store::mark(&mut session).await?;
        drop(session);
        match (known, self.store.mark().await?) {
            (Some(known), Some(mark)) if known == mark => Ok(true),
            (Some(_), Some(_)) => Err(Error::WrongStore("the blobs are those of another database")),
            (Some(_), None) => Err(Error::WrongStore("the database knows of blobs, and the store is not theirs")),
            (None, Some(_)) if !self.is_empty().await? => {
                Err(Error::WrongStore("the store has blobs that the database does not know"))
            }
            (None, _) => Ok(false),
        }
    }

    /// Whether the store has no object.
    async fn is_empty(&self) -> Result<bool, Error> {
        Ok(self.store.list().next().await.transpose()?.is_none())
    }

    /// Whether database and store answer, for health checks.
    ///
    /// # Errors
    /// When one does not; [`Error::WrongStore`] when the store is empty, as a folder is whose disk is not mounted.
    pub async fn ready(&self) -> Result<(), Error> {
        index::repository::names(&mut self.db.read().await?, Reader::ALL, "", 1).await?;
        match self.store.mark().await? {
            Some(_) => Ok(()),
            None => Err(Error::WrongStore("the store has lost its mark; is it mounted?")),
        }
    }

    /// Closes the database. Running operations must have ended.
    pub async fn close(&self) {
        self.db.close().await;
    }

    /// What time it is.
    #[must_use]
    pub fn now(&self) -> Micros {
        self.clock.now()
    }

    /// The moment of an answer as of now: not before what a replica has recorded whose clock is ahead.
    async fn latest(&self, session: &mut index::Session) -> Result<Micros, Error> {
        Ok(self.now().max(index::audit::latest(session).await?))
    }

    /// A new unguessable id.
    #[must_use]
    pub fn id(&self) -> String {
        self.chance.id()
    }

    /// A file for a list that is too long for memory. It has no name and vanishes when it is closed.
    fn spill_file(folder: &std::path::Path) -> io::Result<std::fs::File> {
        std::fs::create_dir_all(folder)?;
        tempfile::tempfile_in(folder)
    }
}
