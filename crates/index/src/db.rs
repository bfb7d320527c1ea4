//! The database: one of two engines behind one small enum, and the sessions that statements run in.
//!
//! This is the only file that knows how a connection to either engine is made.

use std::{path::Path, str::FromStr, sync::Arc, time::Duration};

use sqlx::{
    Connection as _, Pool, Postgres, Sqlite, Transaction,
    migrate::{Migration, MigrationType, Migrator},
    pool::{PoolConnection, PoolOptions},
    postgres::{PgConnectOptions, PgConnection, PgPoolOptions},
    sqlite::{SqliteConnectOptions, SqliteConnection, SqliteJournalMode, SqliteSynchronous},
};

use crate::{Error, direct::Direct};

/// The database of a registry.
#[derive(Debug, Clone)]
pub enum Db {
    /// PostgreSQL 15 or newer, shared by any number of servers.
    Postgres(Pool<Postgres>),
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
    PostgresTx(Transaction<'static, Postgres>),
    SqliteTx(Transaction<'static, Sqlite>),
    Postgres(PoolConnection<Postgres>),
    Sqlite(PoolConnection<Sqlite>),
}

/// The connection of a session, by engine.
pub(crate) enum Engine<'a> {
    Postgres(&'a mut PgConnection),
    Sqlite(&'a mut SqliteConnection),
}

/// Runs one body against whichever engine is behind a session.
macro_rules! on {
    ($session:expr, |$connection:ident| $body:expr) => {
        match $session.engine() {
            $crate::db::Engine::Postgres($connection) => $body,
            $crate::db::Engine::Sqlite($connection) => $body,
        }
    };
}
pub(crate) use on;

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
];

/// How long a statement on SQLite waits for another process's transaction (a maintenance command beside the server).
const BUSY_TIMEOUT: Duration = Duration::from_secs(30);

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
            .pragma("cache_size", "-16384")
            .pragma("temp_store", "memory")
            .statement_cache_capacity(200);
        let pool = || PoolOptions::<Sqlite>::new().test_before_acquire(false).acquire_timeout(Duration::from_secs(60));
        let write = pool().max_connections(1).connect_with(options.clone()).await.map_err(Error::Connect)?;
        let read = options.create_if_missing(false).pragma("query_only", "on");
        let read = pool().max_connections(4).min_connections(1).connect_with(read).await.map_err(Error::Connect)?;
        Ok(Self::Sqlite { write, read, direct: Arc::new(Direct::new(path)) })
    }

    /// Connects to the PostgreSQL server at `url`.
    ///
    /// # Errors
    /// [`Error::Connect`] when it cannot be reached, [`Error::Old`] when it is older than 15.
    pub async fn postgres(url: &str, connections: u32) -> Result<Self, Error> {
        let options = PgConnectOptions::from_str(url).map_err(Error::Connect)?;
        let options = options.application_name("pedigree").statement_cache_capacity(200);
        // The pool tries again until its time is up, and then knows no reason any more.
        let first = PgConnection::connect_with(&options).await.map_err(Error::Connect)?;
        first.close().await.map_err(Error::Connect)?;
        let pool = PgPoolOptions::new()
            .max_connections(connections)
            .test_before_acquire(false)
            .acquire_timeout(Duration::from_secs(10))
            .connect_with(options)
            .await
            .map_err(Error::Connect)?;
        let version = sqlx::query_scalar::<_, i32>("select current_setting('server_version_num')::int");
        let version = version.fetch_one(&pool).await.map_err(Error::Connect)?;
        if version < 150_000 { Err(Error::Old(version / 10_000)) } else { Ok(Self::Postgres(pool)) }
    }

    /// Brings the schema up to date. A database of a newer version is left untouched.
    ///
    /// # Errors
    /// [`Error::Newer`] when a newer version made it, [`Error::Migrate`] when a migration fails.
    pub async fn migrate(&self) -> Result<(), Error> {
        use sqlx::migrate::MigrateError;
        let migrations = MIGRATIONS.iter().map(|&(number, name, sqlite, postgres)| {
            let sql = if matches!(self, Self::Postgres(_)) { postgres } else { sqlite };
            let sql = sqlx::SqlStr::from_static(sql);
            Migration::new(number, name.into(), MigrationType::Simple, sql, false)
        });
        let migrator = Migrator::with_migrations(migrations.collect());
        let done = match self {
            Self::Postgres(pool) => migrator.run(pool).await,
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
            Self::Postgres(_) => "select to_regclass('_sqlx_migrations') is null",
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
        Ok(Session(match self {
            // The locks of a push are made for this level, whatever the server's default is.
            Self::Postgres(pool) => Inner::PostgresTx(pool.begin_with("begin isolation level read committed").await?),
            // An upgrade from reading to writing can fail half-way, so the write lock is taken at once.
            Self::Sqlite { write, .. } => Inner::SqliteTx(write.begin_with("begin immediate").await?),
        }))
    }

    /// Begins a transaction that reads one state of the database, whatever is written meanwhile.
    ///
    /// # Errors
    /// [`Error::Sql`] when no connection can be had.
    pub async fn snapshot(&self) -> Result<Session, Error> {
        Ok(Session(match self {
            Self::Postgres(pool) => {
                Inner::PostgresTx(pool.begin_with("begin isolation level repeatable read read only").await?)
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
            Self::Postgres(pool) => Inner::Postgres(pool.acquire().await?),
            Self::Sqlite { read, .. } => Inner::Sqlite(read.acquire().await?),
        }))
    }

    /// SQLite without another thread; on PostgreSQL there is no such thing.
    pub(crate) fn direct(&self) -> Option<&Direct> {
        match self {
            Self::Postgres(_) => None,
            Self::Sqlite { direct, .. } => Some(direct),
        }
    }

    /// Closes every connection; SQLite folds its log into the file.
    pub async fn close(&self) {
        match self {
            Self::Postgres(pool) => pool.close().await,
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
            Inner::PostgresTx(tx) => tx.commit().await?,
            Inner::SqliteTx(tx) => tx.commit().await?,
            Inner::Postgres(_) | Inner::Sqlite(_) => {}
        }
        Ok(())
    }

    pub(crate) fn engine(&mut self) -> Engine<'_> {
        match &mut self.0 {
            Inner::PostgresTx(tx) => Engine::Postgres(tx),
            Inner::SqliteTx(tx) => Engine::Sqlite(tx),
            Inner::Postgres(connection) => Engine::Postgres(connection),
            Inner::Sqlite(connection) => Engine::Sqlite(connection),
        }
    }
}
