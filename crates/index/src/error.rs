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
    /// Whether the database could not be reached, went away, or has too much to do: it may be back soon.
    #[must_use]
    pub fn is_outage(&self) -> bool {
        match self {
            Self::Connect(_) => true,
            Self::Sql(error) => {
                Self::is_busy(error)
                    || Self::is_cut(error)
                    || matches!(error, sqlx::Error::PoolTimedOut | sqlx::Error::PoolClosed)
            }
            _ => false,
        }
    }

    /// Whether PostgreSQL has no connection to spare, or SQLite was busy with another process for too long.
    pub(crate) fn is_busy(error: &sqlx::Error) -> bool {
        matches!(code(error).as_deref(), Some("53300" | "5"))
    }

    /// Whether the connection is gone (SQLSTATE classes 08 and 57P; 25P03, when this process stood still for long).
    pub(crate) fn is_cut(error: &sqlx::Error) -> bool {
        let gone = code(error).is_some_and(|code| ["08", "57P", "25P03"].iter().any(|start| code.starts_with(start)));
        gone || matches!(error, sqlx::Error::Io(_) | sqlx::Error::WorkerCrashed)
    }

    /// Whether there is no room left for the database (SQLSTATE 53100, SQLite's result code 13).
    #[must_use]
    pub fn is_full(&self) -> bool {
        matches!(self, Self::Sql(error) if matches!(code(error).as_deref(), Some("53100" | "13")))
    }

    /// Whether the database gave the transaction up because another was in its way: the same may succeed when it is tried
    /// again (SQLSTATE 40001 and 40P01).
    #[must_use]
    pub fn is_conflict(&self) -> bool {
        matches!(self, Self::Sql(error) if matches!(code(error).as_deref(), Some("40001" | "40P01")))
    }
}

/// PostgreSQL's SQLSTATE, or SQLite's result code.
fn code(error: &sqlx::Error) -> Option<std::borrow::Cow<'_, str>> {
    error.as_database_error().and_then(|error| error.code())
}
