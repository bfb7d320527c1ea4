//! Who did what: one record in the transaction of each change.

use oci::Digest;

use crate::{Micros, RepositoryId, Result, Session, db::on, rows, sql};

/// A record.
#[derive(Debug)]
pub struct Record<'a> {
    /// Who.
    pub actor: &'a str,
    /// In which request.
    pub request_id: &'a str,
    /// What, for example `manifest.push`.
    pub action: &'a str,
    /// Where.
    pub repository: Option<RepositoryId>,
    /// To what.
    pub digest: Option<&'a Digest>,
    /// Under which tag.
    pub tag: Option<&'a str>,
    /// What else there is to say.
    pub detail: Option<&'a str>,
}

/// The latest moment that anything was recorded at: the clock of another server may be ahead of this one's.
///
/// # Errors
/// When the statement fails.
pub async fn latest(session: &mut Session) -> Result<Micros> {
    let latest: Option<i64> = on!(session, |c| sqlx::query_scalar(sql::LATEST).fetch_one(c).await)?;
    Ok(Micros(latest.unwrap_or_default()))
}

/// The number of the last record.
///
/// # Errors
/// When the statement fails.
pub async fn last(session: &mut Session) -> Result<i64> {
    Ok(on!(session, |c| sqlx::query_scalar(sql::AUDIT_LAST).fetch_one(c).await)?)
}

/// How many records came after the one with this number.
///
/// # Errors
/// When the statement fails.
pub async fn after(session: &mut Session, number: i64) -> Result<u64> {
    let count: i64 = on!(session, |c| sqlx::query_scalar(sql::AUDIT_AFTER).bind(number).fetch_one(c).await)?;
    Ok(rows::unsigned(count))
}

/// Writes the record.
///
/// # Errors
/// When the statement fails.
pub async fn record(session: &mut Session, record: &Record<'_>, now: Micros) -> Result<()> {
    on!(session, |c| {
        let query = sqlx::query(sql::AUDIT_INSERT).bind(now.0).bind(record.actor).bind(record.request_id);
        let query = query.bind(record.action).bind(record.repository.map(|id| id.0));
        let query = query.bind(record.digest.map(|digest| digest.hash().to_vec())).bind(record.tag);
        query.bind(record.detail.map(str::as_bytes)).execute(c).await.map(drop)
    })?;
    Ok(())
}
