//! The database: one of two engines behind one small enum, and the sessions that statements run in.
//!
//! This is the only file that knows how a connection to either engine is made.

use std::{
    io, mem,
    path::Path,
    str::FromStr,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use sqlx::{
    Connection as _, Executor as _, Pool, Postgres, Sqlite, Transaction,
    migrate::{Migration, MigrationType, Migrator},
    pool::{PoolConnection, PoolOptions},
    postgres::{PgConnectOptions, PgConnection, PgPoolOptions},
    sqlite::{SqliteConnectOptions, SqliteConnection, SqliteJournalMode, SqliteSynchronous},
};
use tokio::time::{Instant, timeout};

use crate::{Error, direct::Direct};

/// The database of a registry.
#[derive(Debug, Clone)]
pub enum Db {
    /// PostgreSQL 15 or newer, shared by any number of servers.
    Postgres {
        /// Its connections.
        pool: Pool<Postgres>,
        /// How long it may be silent.
        patience: Duration,
        /// When a connection was found to be cut.
        cut: Arc<Cut>,
    },
    /// One SQLite file: one writer at a time, any number of readers.
    Sqlite {
        /// The single connection that writes.
        write: Pool<Sqlite>,
        /// The connections that read.
        read: Pool<Sqlite>,
        /// Those that read without another thread.
        direct: Arc<Direct>,
    },
}

/// A connection that statements run on: a write transaction, a snapshot, or neither.
#[derive(Debug)]
pub struct Session(Inner);

#[derive(Debug)]
enum Inner {
    Postgres(Remote),
    SqliteTx(Transaction<'static, Sqlite>),
    Sqlite(PoolConnection<Sqlite>),
}

/// A connection to PostgreSQL, which may be cut at any moment and without a word: whatever is awaited from it has a limit.
#[derive(Debug)]
struct Remote {
    /// There until this is dropped.
    connection: Option<PoolConnection<Postgres>>,
    /// Whether a transaction is open.
    in_transaction: bool,
    /// Whether it did not answer in time.
    is_silent: bool,
    patience: Duration,
    cut: Arc<Cut>,
}

/// When a connection was last found to be cut. What has been idle since before then is probably cut too.
#[derive(Debug)]
pub struct Cut {
    start: Instant,
    /// In milliseconds since the start; 0 for never.
    last: AtomicU64,
}

/// The connection of a session, by engine.
pub(crate) enum Engine<'a> {
    Postgres(&'a mut PgConnection, Patience<'a>),
    Sqlite(&'a mut SqliteConnection),
}

/// How long an answer from PostgreSQL is waited for.
pub(crate) struct Patience<'a> {
    limit: Duration,
    is_silent: &'a mut bool,
    cut: &'a Cut,
}

/// Runs one body against whichever engine is behind a session.
macro_rules! on {
    ($session:expr, |$connection:ident| $body:expr) => {
        match $session.engine() {
            $crate::db::Engine::Postgres($connection, patience) => patience.wait(async { $body }).await,
            $crate::db::Engine::Sqlite($connection) => $body,
        }
    };
}
pub(crate) use on;

/// The rows that a statement finds for values, of which it takes as many at once as a list has. What it takes besides comes before
/// them.
macro_rules! look_up {
    ($session:expr, $query:ident($text:expr $(, $before:expr)*), $values:expr, |$one:pat_param| $bound:expr) => {{
        let first = <[&str]>::len(&[$(stringify!($before)),*]) + 1;
        let mut rows = Vec::new();
        for chunk in $values.chunks($crate::sql::LIST) {
            let text = $crate::sql::list($text, first, $crate::sql::padded(chunk.len()));
            let mut found = $crate::db::on!($session, |c| {
                let query = sqlx::$query(sqlx::AssertSqlSafe(text))$(.bind($before))*;
                $crate::sql::filled(chunk).fold(query, |query, $one| query.bind($bound)).fetch_all(c).await
            })?;
            rows.append(&mut found);
        }
        rows
    }};
}
pub(crate) use look_up;

/// Every migration, in order, as (number, name, SQLite text, Postgres text).
const MIGRATIONS: &[(i64, &str, &str, &str)] = &[
    (
        1,
        "registry",
        include_str!("../../../migrations/sqlite/0001_registry.sql"),
        include_str!("../../../migrations/postgres/0001_registry.sql"),
    ),
    (
        2,
        "stores",
        include_str!("../../../migrations/sqlite/0002_stores.sql"),
        include_str!("../../../migrations/postgres/0002_stores.sql"),
    ),
    (
        3,
        "copies",
        include_str!("../../../migrations/sqlite/0003_copies.sql"),
        include_str!("../../../migrations/postgres/0003_copies.sql"),
    ),
    (
        4,
        "content",
        include_str!("../../../migrations/sqlite/0004_content.sql"),
        include_str!("../../../migrations/postgres/0004_content.sql"),
    ),
    (
        5,
        "search",
        include_str!("../../../migrations/sqlite/0005_search.sql"),
        include_str!("../../../migrations/postgres/0005_search.sql"),
    ),
    (
        6,
        "reindex",
        include_str!("../../../migrations/sqlite/0006_reindex.sql"),
        include_str!("../../../migrations/postgres/0006_reindex.sql"),
    ),
    (
        7,
        "wide answers",
        include_str!("../../../migrations/sqlite/0007_wide_answers.sql"),
        include_str!("../../../migrations/postgres/0007_wide_answers.sql"),
    ),
    (
        8,
        "tags",
        include_str!("../../../migrations/sqlite/0008_tags.sql"),
        include_str!("../../../migrations/postgres/0008_tags.sql"),
    ),
    (
        9,
        "claims",
        include_str!("../../../migrations/sqlite/0009_claims.sql"),
        include_str!("../../../migrations/postgres/0009_claims.sql"),
    ),
    (
        10,
        "pulls",
        include_str!("../../../migrations/sqlite/0010_pulls.sql"),
        include_str!("../../../migrations/postgres/0010_pulls.sql"),
    ),
    (
        11,
        "facts",
        include_str!("../../../migrations/sqlite/0011_facts.sql"),
        include_str!("../../../migrations/postgres/0011_facts.sql"),
    ),
    (
        12,
        "scans",
        include_str!("../../../migrations/sqlite/0012_scans.sql"),
        include_str!("../../../migrations/postgres/0012_scans.sql"),
    ),
    (
        13,
        "named",
        include_str!("../../../migrations/sqlite/0013_named.sql"),
        include_str!("../../../migrations/postgres/0013_named.sql"),
    ),
    (
        14,
        "containers",
        include_str!("../../../migrations/sqlite/0014_containers.sql"),
        include_str!("../../../migrations/postgres/0014_containers.sql"),
    ),
    (
        15,
        "named files",
        include_str!("../../../migrations/sqlite/0015_named_files.sql"),
        include_str!("../../../migrations/postgres/0015_named_files.sql"),
    ),
];

/// How long a statement on SQLite waits for another process's transaction (a maintenance command beside the server).
const BUSY_TIMEOUT: Duration = Duration::from_secs(30);
/// How long a connection may have been idle and still count as there. A test costs a round trip; under load there is none.
const FRESH: Duration = Duration::from_secs(1);
/// How long the test of a connection may take.
const TEST: Duration = Duration::from_secs(2);
/// How long a connection is waited for, at most.
const CONNECT: Duration = Duration::from_secs(10);
/// How many times as long a question may take that reads much in one state of the database.
const SNAPSHOT: u32 = 10;
/// Between the statements of a transaction nothing is waited for. A server that was cut off in between must not keep its
/// locks until the kernel notices.
const ABANDONED: &str = "set idle_in_transaction_session_timeout = '30s'";

impl Db {
    /// Opens the SQLite file at `path`, made when it does not exist.
    ///
    /// # Errors
    /// [`Error::Connect`] when it cannot be opened.
    pub async fn sqlite(path: &Path) -> Result<Self, Error> {
        let options = SqliteConnectOptions::new()
            .filename(path)
            .create_if_missing(true)
            .journal_mode(SqliteJournalMode::Wal)
            // A commit must survive the loss of power, for the client is told that it is done.
            .synchronous(SqliteSynchronous::Full)
            .foreign_keys(true)
            .busy_timeout(BUSY_TIMEOUT)
            // Pages, 32 MiB: who fills the log pays for all of it, and a longer one has each page fewer times.
            .pragma("wal_autocheckpoint", "8000")
            .pragma("cache_size", "-16384")
            .pragma("temp_store", "memory")
            .statement_cache_capacity(200);
        let pool = || PoolOptions::<Sqlite>::new().test_before_acquire(false).acquire_timeout(Duration::from_secs(60));
        // On a full disk SQLite ends the transaction by itself, and the library's rollback then fails: it counts on it for
        // ever. Another connection takes its place.
        let write = pool().after_release(|connection, _| {
            Box::pin(async move {
                connection.ping().await?;
                Ok(!connection.is_in_transaction())
            })
        });
        // A connection that keeps the indexes of files in memory stores them twice as fast; one that never does, needs none.
        let write = write
            .max_connections(1)
            .connect_with(options.clone().pragma("cache_size", "-65536"))
            .await
            .map_err(Error::Connect)?;
        let read = options.create_if_missing(false).pragma("query_only", "on");
        let read = pool().max_connections(4).min_connections(1).connect_with(read).await.map_err(Error::Connect)?;
        Ok(Self::Sqlite { write, read, direct: Arc::new(Direct::new(path)) })
    }

    /// Connects to the PostgreSQL server at `url`, which may be silent for `patience` before it counts as gone.
    ///
    /// # Errors
    /// [`Error::Connect`] when it cannot be reached, [`Error::Old`] when it is older than 15.
    pub async fn postgres(url: &str, connections: u32, patience: Duration) -> Result<Self, Error> {
        let options = PgConnectOptions::from_str(url).map_err(Error::Connect)?;
        let options = options.application_name("pedigree").statement_cache_capacity(200);
        // The pool tries again until its time is up, and then knows no reason any more.
        let first = timeout(CONNECT, PgConnection::connect_with(&options)).await;
        let first = first.unwrap_or_else(|_| Err(silent())).map_err(Error::Connect)?;
        first.close().await.map_err(Error::Connect)?;
        let cut = Arc::new(Cut { start: Instant::now(), last: AtomicU64::new(0) });
        let known = Arc::clone(&cut);
        let pool = PgPoolOptions::new()
            .max_connections(connections)
            .test_before_acquire(false)
            .before_acquire(move |connection, of| {
                let is_doubtful = of.idle_for > FRESH || known.is_within(of.idle_for);
                Box::pin(async move {
                    if is_doubtful {
                        timeout(TEST, connection.ping()).await.unwrap_or_else(|_| Err(silent()))?;
                    }
                    Ok(true)
                })
            })
            .after_connect(|connection, _| Box::pin(async move { connection.execute(ABANDONED).await.map(drop) }))
            .acquire_timeout(patience.min(CONNECT))
            .connect_with(options)
            .await
            .map_err(Error::Connect)?;
        let version = sqlx::query_scalar::<_, i32>("select current_setting('server_version_num')::int");
        let version = version.fetch_one(&pool).await.map_err(Error::Connect)?;
        if version < 150_000 { Err(Error::Old(version / 10_000)) } else { Ok(Self::Postgres { pool, patience, cut }) }
    }

    /// Brings the schema up to date. A database of a newer version is left untouched.
    ///
    /// # Errors
    /// [`Error::Newer`] when a newer version made it, [`Error::Migrate`] when a migration fails.
    pub async fn migrate(&self) -> Result<(), Error> {
        use sqlx::migrate::MigrateError;
        let migrations = MIGRATIONS.iter().map(|&(number, name, sqlite, postgres)| {
            let sql = if matches!(self, Self::Postgres { .. }) { postgres } else { sqlite };
            let sql = sqlx::SqlStr::from_static(sql);
            Migration::new(number, name.into(), MigrationType::Simple, sql, false)
        });
        let migrator = Migrator::with_migrations(migrations.collect());
        let done = match self {
            Self::Postgres { pool, .. } => migrator.run(pool).await,
            Self::Sqlite { write, .. } => migrator.run(write).await,
        };
        done.map_err(|error| match error {
            MigrateError::VersionMissing(number) => Error::Newer(number),
            other => Error::Migrate(Box::new(other)),
        })
    }

    /// Whether no version ever made a schema here.
    ///
    /// # Errors
    /// [`Error::Sql`] when that cannot be found out.
    pub async fn is_new(&self) -> Result<bool, Error> {
        let text = match self {
            Self::Postgres { .. } => "select to_regclass('_sqlx_migrations') is null",
            Self::Sqlite { .. } => "select not exists (select 1 from sqlite_master where name = '_sqlx_migrations')",
        };
        let mut session = self.read().await?;
        Ok(on!(session, |c| sqlx::query_scalar(text).fetch_one(c).await)?)
    }

    /// Says whether the schema is this version's, and changes nothing.
    ///
    /// # Errors
    /// [`Error::Newer`] or [`Error::Older`] when it is not.
    pub async fn require_current(&self) -> Result<(), Error> {
        const APPLIED: &str = "select max(version) from _sqlx_migrations where success";
        let mut session = self.read().await?;
        let applied: Result<Option<i64>, sqlx::Error> =
            on!(session, |c| sqlx::query_scalar(APPLIED).fetch_one(c).await);
        let current = MIGRATIONS.last().map(|migration| migration.0);
        match applied {
            Ok(applied) if applied == current => Ok(()),
            Ok(Some(applied)) if Some(applied) > current => Err(Error::Newer(applied)),
            // No such table: nothing was ever made here.
            Ok(_) | Err(sqlx::Error::Database(_)) => Err(Error::Older),
            Err(error) => Err(error.into()),
        }
    }

    /// Begins a transaction that writes. Dropped without [`Session::commit`] it leaves no trace.
    ///
    /// # Errors
    /// [`Error::Sql`] when no connection can be had.
    pub async fn begin(&self) -> Result<Session, Error> {
        // The locks of a push are made for this level, whatever the server's default is. In SQLite an upgrade from reading to
        // writing can fail half-way, so the write lock is taken at once.
        let postgres = "begin isolation level read committed";
        let sqlite = "pragma busy_timeout = 30000; pragma synchronous = full; begin immediate";
        self.begin_with(postgres, sqlite).await
    }

    /// Begins a transaction that writes and whose commit the loss of power may undo, until an ordinary one that writes has
    /// been committed after it. It costs others much less.
    ///
    /// # Errors
    /// [`Error::Sql`] when no connection can be had.
    pub async fn begin_relaxed(&self) -> Result<Session, Error> {
        let postgres = "begin isolation level read committed; set local synchronous_commit = off";
        let sqlite = "pragma busy_timeout = 0; pragma synchronous = normal; begin immediate";
        // SQLite itself would look for another process's transaction to end less and less often.
        let until = Instant::now() + BUSY_TIMEOUT;
        loop {
            match self.begin_with(postgres, sqlite).await {
                Err(Error::Sql(error)) if Error::is_busy(&error) && Instant::now() < until => {
                    tokio::time::sleep(Duration::from_millis(1)).await;
                }
                begun => return begun,
            }
        }
    }

    /// Begins a transaction that writes very much. What SQLite sorts for it, and from now on, goes to files.
    ///
    /// # Errors
    /// [`Error::Sql`] when no connection can be had.
    pub async fn begin_bulk(&self) -> Result<Session, Error> {
        let postgres = "begin isolation level read committed";
        let sqlite =
            "pragma temp_store = file; pragma busy_timeout = 30000; pragma synchronous = full; begin immediate";
        self.begin_with(postgres, sqlite).await
    }

    async fn begin_with(&self, postgres: &'static str, sqlite: &'static str) -> Result<Session, Error> {
        Ok(Session(match self {
            Self::Postgres { pool, patience, cut } => {
                Inner::Postgres(Remote::begin(pool, postgres, *patience, cut).await?)
            }
            Self::Sqlite { write, .. } => Inner::SqliteTx(write.begin_with(sqlite).await?),
        }))
    }

    /// Begins a transaction that reads one state of the database, whatever is written meanwhile.
    ///
    /// # Errors
    /// [`Error::Sql`] when no connection can be had.
    pub async fn snapshot(&self) -> Result<Session, Error> {
        Ok(Session(match self {
            Self::Postgres { pool, patience, cut } => {
                // What is asked here may be about millions of rows: they are sorted and hashed in memory, and each question is
                // planned for what it asks about, which three may have or three hundred thousand. Most takes milliseconds, as long
                // as it would take to get other processes to help.
                let statement = "begin isolation level repeatable read read only; set local work_mem = '64MB';
                    set local jit = off; set local max_parallel_workers_per_gather = 0;
                    set local plan_cache_mode = force_custom_plan";
                let mut remote = Remote::begin(pool, statement, *patience, cut).await?;
                remote.patience *= SNAPSHOT;
                Inner::Postgres(remote)
            }
            Self::Sqlite { read, .. } => Inner::SqliteTx(read.begin().await?),
        }))
    }

    /// A connection for single statements that only read.
    ///
    /// # Errors
    /// [`Error::Sql`] when no connection can be had.
    pub async fn read(&self) -> Result<Session, Error> {
        Ok(Session(match self {
            Self::Postgres { pool, patience, cut } => Inner::Postgres(Remote::acquire(pool, *patience, cut).await?),
            Self::Sqlite { read, .. } => Inner::Sqlite(read.acquire().await?),
        }))
    }

    /// SQLite without another thread; on PostgreSQL there is no such thing.
    pub(crate) fn direct(&self) -> Option<&Direct> {
        match self {
            Self::Postgres { .. } => None,
            Self::Sqlite { direct, .. } => Some(direct),
        }
    }

    /// Closes every connection; SQLite folds its log into the file.
    pub async fn close(&self) {
        match self {
            Self::Postgres { pool, .. } => pool.close().await,
            Self::Sqlite { write, read, direct } => {
                direct.close();
                read.close().await;
                write.close().await;
            }
        }
    }
}

impl Session {
    /// Makes what the transaction wrote durable and visible.
    ///
    /// # Errors
    /// [`Error::Sql`]; then nothing was written.
    pub async fn commit(self) -> Result<(), Error> {
        match self.0 {
            Inner::Postgres(remote) => remote.commit().await?,
            Inner::SqliteTx(tx) => tx.commit().await?,
            Inner::Sqlite(_) => {}
        }
        Ok(())
    }

    pub(crate) fn engine(&mut self) -> Engine<'_> {
        match &mut self.0 {
            Inner::Postgres(remote) => {
                let (connection, patience) = remote.parts();
                Engine::Postgres(connection, patience)
            }
            Inner::SqliteTx(tx) => Engine::Sqlite(tx),
            Inner::Sqlite(connection) => Engine::Sqlite(connection),
        }
    }
}

impl Remote {
    async fn acquire(pool: &Pool<Postgres>, patience: Duration, cut: &Arc<Cut>) -> Result<Self, sqlx::Error> {
        let connection = Some(pool.acquire().await?);
        Ok(Self { connection, in_transaction: false, is_silent: false, patience, cut: Arc::clone(cut) })
    }

    /// Begins a transaction. A connection that was cut before it was asked for anything is replaced by another.
    async fn begin(
        pool: &Pool<Postgres>,
        statement: &'static str,
        patience: Duration,
        cut: &Arc<Cut>,
    ) -> Result<Self, sqlx::Error> {
        let mut spare = pool.options().get_max_connections();
        loop {
            let mut remote = Self::acquire(pool, patience, cut).await?;
            // From here on, for who asks may stop waiting at any moment.
            remote.in_transaction = true;
            let (connection, patience) = remote.parts();
            let begun = patience.wait(connection.execute(statement)).await;
            match begun {
                Ok(_) => return Ok(remote),
                Err(error) if spare == 0 || remote.is_silent || !Error::is_cut(&error) => return Err(error),
                Err(_) => spare -= 1,
            }
        }
    }

    async fn commit(mut self) -> Result<(), sqlx::Error> {
        // What is not known to be committed must not be tried again on this connection, nor be given up on it.
        if mem::take(&mut self.in_transaction) {
            let (connection, patience) = self.parts();
            patience.wait(connection.execute("commit")).await?;
        }
        Ok(())
    }

    #[expect(clippy::expect_used, reason = "the connection is taken when this is dropped, and only then")]
    fn parts(&mut self) -> (&mut PgConnection, Patience<'_>) {
        let connection = self.connection.as_mut().expect("the connection is there until this is dropped");
        (connection, Patience { limit: self.patience, is_silent: &mut self.is_silent, cut: &self.cut })
    }
}

impl Drop for Remote {
    fn drop(&mut self) {
        let Some(mut connection) = self.connection.take() else { return };
        if self.is_silent {
            drop(connection.detach());
            return;
        }
        let in_transaction = self.in_transaction;
        // Without a runtime everything is ending.
        let Ok(runtime) = tokio::runtime::Handle::try_current() else { return drop(connection.detach()) };
        // The pool tests what comes back to it, and has no limit of its own for that: a connection that was cut would never
        // make room for another.
        runtime.spawn(async move {
            let rolled_back =
                !in_transaction || matches!(timeout(TEST, connection.execute("rollback")).await, Ok(Ok(_)));
            if rolled_back {
                let _ = timeout(TEST, connection.return_to_pool()).await;
            } else {
                drop(connection.detach());
            }
        });
    }
}

impl Patience<'_> {
    pub(crate) async fn wait<T>(self, work: impl Future<Output = Result<T, sqlx::Error>>) -> Result<T, sqlx::Error> {
        let done = timeout(self.limit, work).await.unwrap_or_else(|_| {
            *self.is_silent = true;
            Err(silent())
        });
        if let Err(error) = &done
            && Error::is_cut(error)
        {
            self.cut.happened();
        }
        done
    }
}

impl Cut {
    fn happened(&self) {
        self.last.store(self.now().max(1), Ordering::Relaxed);
    }

    /// Whether it happened in this time until now.
    fn is_within(&self, time: Duration) -> bool {
        let last = self.last.load(Ordering::Relaxed);
        last > 0 && u128::from(self.now() - last.min(self.now())) <= time.as_millis()
    }

    fn now(&self) -> u64 {
        u64::try_from(self.start.elapsed().as_millis()).unwrap_or(u64::MAX)
    }
}

fn silent() -> sqlx::Error {
    sqlx::Error::Io(io::Error::new(io::ErrorKind::TimedOut, "the database does not answer"))
}
