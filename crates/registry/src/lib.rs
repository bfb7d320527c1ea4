//! The operations of the registry: push, pull, look inside, answer.
//!
//! Every operation takes its context first and authorises before it reads. This crate knows neither HTTP nor SQL text nor
//! where objects are; it decides, at each miss, what the miss means.

mod authz;
mod chance;
mod check;
mod clock;
mod context;
mod delete;
mod error;
mod gc;
mod impact;
mod kits;
mod list;
mod names;
mod paths;
mod plan;
mod pull;
mod push;
mod scan;
mod stats;
mod upload;
mod view;

use std::{
    fs::File,
    io,
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use index::Db;
use store::Store;
use tokio::sync::Notify;

pub use authz::Access;
pub use chance::Chance;
pub use check::Progress;
pub use clock::Clock;
pub use context::Ctx;
pub use error::{Error, Part, Thing};
pub use gc::{Collected, Policy};
pub use impact::{Content, Question};
pub use index::{Grade, Micros, Reader};
pub use list::{Referrer, TagPage};
pub use names::Names;
pub use pull::{Blob, Manifest};
pub use push::{PushManifest, Pushed};
pub use stats::Stats;
pub use upload::{Finished, Position};
pub use view::{
    Claim, Completeness, Component, ComponentName, Evidence, Holder, Impact, Kit, KitLayer, LayerCounts, Model,
    Outside, Repositories, Repository, Scope, Target, Version, Versions,
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
    spill: PathBuf,
    /// Rung when there is something to scan.
    work: Arc<Notify>,
    /// Rung when a scan ended, and when nobody is to wait for one any more.
    settled: Arc<Notify>,
    stopping: AtomicBool,
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
    /// A folder for lists that are too long for memory.
    pub spill: PathBuf,
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
            spill: options.spill,
            work: Arc::new(Notify::new()),
            settled: Arc::new(Notify::new()),
            stopping: AtomicBool::new(false),
        }
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
    /// [`Error::Internal`] when the database fails.
    pub async fn start(&self, alone: bool) -> Result<(), Error> {
        let mut tx = self.db.begin().await?;
        if alone {
            index::upload::release_all(&mut tx).await?;
            index::job::release_all(&mut tx).await?;
        }
        self.learn_names(&mut tx).await?;
        tx.commit().await?;
        Ok(())
    }

    /// Whether the database answers, for health checks.
    ///
    /// # Errors
    /// [`Error::Internal`] when it does not.
    pub async fn ready(&self) -> Result<(), Error> {
        let mut session = self.db.read().await?;
        index::repository::names(&mut session, Reader::ALL, "", 1).await?;
        Ok(())
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

    /// A new unguessable id.
    #[must_use]
    pub fn id(&self) -> String {
        self.chance.id()
    }

    /// A file for a list that is too long for memory. It has no name and vanishes when it is closed.
    fn spill_file(folder: &std::path::Path) -> io::Result<File> {
        std::fs::create_dir_all(folder)?;
        tempfile::tempfile_in(folder)
    }
}
