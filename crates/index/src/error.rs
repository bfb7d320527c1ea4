//! What can go wrong with a database.

/// Why the index did not do what was asked. "Not found" is never an error here: lookups return `Option`.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The database cannot be reached or opened.
    #[error("the database cannot be opened: {0}")]
    Connect(#[source] sqlx::Error),
    /// The server is too old; the number is its major version.
    #[error("the database is PostgreSQL {0}; version 15 or newer is needed")]
    Old(i32),
    /// The schema is older than this version, or there is none.
    #[error(
        "the database has no registry of this version in it yet; start the server once, which brings it up to date"
    )]
    Older,
    /// A newer version of Pedigree made the schema; the number is the migration that is unknown here.
    #[error(
        "the database was made by a newer version of Pedigree (its schema has migration {0}, unknown to this version)"
    )]
    Newer(i64),
    /// A migration failed; it left no trace.
    #[error("the database schema cannot be brought up to date: {0}")]
    Migrate(#[source] Box<sqlx::migrate::MigrateError>),
    /// A statement failed.
    #[error("a database statement failed: {0}")]
    Sql(#[from] sqlx::Error),
    /// A statement failed that was run without another thread.
    #[error("a database statement failed: {0}")]
    Direct(#[from] rusqlite::Error),
    /// A stored value is not what this version wrote.
    #[error("the database holds an unreadable value: {0}")]
    Unreadable(&'static str),
}

impl Error {
    /// Whether the database could not be reached, or went away: it may be back soon (SQLSTATE classes 08 and 57P).
    #[must_use]
    pub fn is_outage(&self) -> bool {
        match self {
            Self::Connect(_) => true,
            Self::Sql(sqlx::Error::Database(error)) => {
                error.code().is_some_and(|code| code.starts_with("08") || code.starts_with("57P"))
            }
            Self::Sql(error) => matches!(
                error,
                sqlx::Error::Io(_) | sqlx::Error::PoolTimedOut | sqlx::Error::PoolClosed | sqlx::Error::WorkerCrashed
            ),
            _ => false,
        }
    }

    /// Whether the database gave the transaction up because another was in its way: the same may succeed when it is tried
    /// again (SQLSTATE 40001 and 40P01).
    #[must_use]
    pub fn is_conflict(&self) -> bool {
        let Self::Sql(sqlx::Error::Database(error)) = self else { return false };
        matches!(error.code().as_deref(), Some("40001" | "40P01"))
    }
}
