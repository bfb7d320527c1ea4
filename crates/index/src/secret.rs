//! Keys that sign what the registry hands out.

use crate::{Micros, Result, Session, db::on, sql};

/// A key; it never changes.
#[derive(Clone)]
pub struct Secret {
    /// Its row.
    pub id: i64,
    /// The key.
    pub key: Vec<u8>,
    /// When it was made.
    pub created_at: Micros,
}

impl std::fmt::Debug for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "secret {}", self.id)
    }
}

/// Every key, the newest last.
///
/// # Errors
/// When the statement fails.
pub async fn all(session: &mut Session) -> Result<Vec<Secret>> {
    let found: Vec<(i64, Vec<u8>, i64)> = on!(session, |c| sqlx::query_as(sql::SECRETS).fetch_all(c).await)?;
    Ok(found.into_iter().map(|(id, key, at)| Secret { id, key, created_at: Micros(at) }).collect())
}

/// Adds a key.
///
/// # Errors
/// When the statement fails.
pub async fn insert(session: &mut Session, key: &[u8], now: Micros) -> Result<()> {
    on!(session, |c| sqlx::query(sql::SECRET_INSERT).bind(key).bind(now.0).execute(c).await.map(drop))?;
    Ok(())
}

/// Forgets the keys that were made before `before`.
///
/// # Errors
/// When the statement fails.
pub async fn forget(session: &mut Session, before: Micros) -> Result<()> {
    on!(session, |c| sqlx::query(sql::SECRET_FORGET).bind(before.0).execute(c).await.map(drop))?;
    Ok(())
}
