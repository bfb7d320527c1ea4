//! Collecting what nobody needs any more: objects and links, never what is known about them.

use oci::{Digest, Name};
use sqlx::AssertSqlSafe;

use crate::{
    BlobId, Micros, OccurrenceId, Result, Session,
    db::{Engine, on},
    rows, sql,
};

/// A blob that is being deleted.
#[derive(Debug, Clone)]
pub struct Doomed {
    /// Its row.
    pub id: BlobId,
    /// Its digest.
    pub digest: Digest,
    /// Its size in bytes.
    pub size: u64,
    /// The key of its object.
    pub key: String,
}

type Row = (i64, Vec<u8>, i64, String);

fn doomed((id, digest, size, key): Row) -> Result<Doomed> {
    Ok(Doomed { id: BlobId(id), digest: rows::digest(&digest)?, size: rows::unsigned(size), key })
}

/// Marks blobs that nobody has needed since before `cutoff`, at most `limit` looked at: nobody sees them from the commit on.
/// `None` when there was none to look at.
///
/// # Errors
/// When a statement fails.
pub async fn mark(session: &mut Session, cutoff: Micros, limit: u32, now: Micros) -> Result<Option<Vec<Doomed>>> {
    let text = match session.engine() {
        Engine::Postgres(..) => sql::GC_DUE_POSTGRES,
        Engine::Sqlite(_) => sql::GC_DUE_SQLITE,
    };
    let due: Vec<i64> =
        on!(session, |c| sqlx::query_scalar(text).bind(cutoff.0).bind(i64::from(limit)).fetch_all(c).await)?;
    if due.is_empty() {
        return Ok(None);
    }
    let mut marked = Vec::new();
    for chunk in due.chunks(sql::LIST) {
        let width = sql::padded(chunk.len());
        let text = sql::list(sql::GC_MARK, 2, width);
        let found: Vec<Row> = on!(session, |c| {
            let query = sqlx::query_as(AssertSqlSafe(text)).bind(cutoff.0);
            sql::filled(chunk).fold(query, |query, id| query.bind(*id)).fetch_all(c).await
        })?;
        let text = sql::list(sql::GC_KEEP, 2, width);
        on!(session, |c| {
            let query = sqlx::query(AssertSqlSafe(text)).bind(now.0);
            sql::filled(chunk).fold(query, |query, id| query.bind(*id)).execute(c).await.map(drop)
        })?;
        let found = found.into_iter().map(doomed).collect::<Result<Vec<_>>>()?;
        if !found.is_empty() {
            let width = sql::padded(found.len());
            let text = sql::list(sql::GC_UNLINK, 1, width);
            on!(session, |c| {
                let query = sqlx::query(AssertSqlSafe(text));
                sql::filled(&found).fold(query, |query, blob| query.bind(blob.id.0)).execute(c).await.map(drop)
            })?;
        }
        marked.extend(found);
    }
    Ok(Some(marked))
}

/// Blobs that are marked already: by this run, or by one that was cut off.
///
/// # Errors
/// When the statement fails.
pub async fn marked(session: &mut Session, limit: u32) -> Result<Vec<Doomed>> {
    let found: Vec<Row> = on!(session, |c| sqlx::query_as(sql::GC_MARKED).bind(i64::from(limit)).fetch_all(c).await)?;
    found.into_iter().map(doomed).collect()
}

/// Records in the same transaction that blobs were marked, by whom, and in which request.
///
/// # Errors
/// When a statement fails.
pub async fn record(
    session: &mut Session,
    doomed: &[Doomed],
    actor: &str,
    request_id: &str,
    now: Micros,
) -> Result<()> {
    for chunk in doomed.chunks(sql::LIST) {
        let width = sql::padded(chunk.len());
        let text = sql::list(sql::GC_AUDIT, 4, width);
        on!(session, |c| {
            let query = sqlx::query(AssertSqlSafe(text)).bind(now.0).bind(actor).bind(request_id);
            sql::filled(chunk).fold(query, |query, blob| query.bind(blob.id.0)).execute(c).await.map(drop)
        })?;
    }
    Ok(())
}

/// Makes the marks durable that relaxed transactions made, once this one, which is none, is committed.
///
/// # Errors
/// When the statement fails.
pub async fn settle(session: &mut Session, doomed: &Doomed) -> Result<()> {
    on!(session, |c| sqlx::query(sql::GC_SETTLE).bind(doomed.id.0).execute(c).await.map(drop))?;
    Ok(())
}

/// Forgets blobs whose objects are gone, except those that have come back meanwhile with other ones.
///
/// # Errors
/// When a statement fails.
pub async fn forget(session: &mut Session, doomed: &[Doomed]) -> Result<()> {
    for chunk in doomed.chunks(sql::LIST) {
        let width = sql::padded(chunk.len());
        let text = sql::list(sql::GC_FORGET, 1, width);
        on!(session, |c| {
            let query = sqlx::query(AssertSqlSafe(text));
            sql::filled(chunk).fold(query, |query, blob| query.bind(&blob.key)).execute(c).await.map(drop)
        })?;
    }
    Ok(())
}

/// How many blobs nobody has needed since before `cutoff`, and how many bytes they have.
///
/// # Errors
/// When the statement fails.
pub async fn count(session: &mut Session, cutoff: Micros) -> Result<(u64, u64)> {
    let (blobs, bytes): (i64, i64) = on!(session, |c| sqlx::query_as(sql::GC_COUNT).bind(cutoff.0).fetch_one(c).await)?;
    Ok((rows::unsigned(blobs), rows::unsigned(bytes)))
}

/// Manifests that nothing has named since before `cutoff`: no tag, no index, no subject that is there. At most `limit`.
///
/// # Errors
/// When the statement fails.
pub async fn untagged(session: &mut Session, cutoff: Micros, limit: u32) -> Result<Vec<(Name, Digest)>> {
    let found: Vec<(String, Vec<u8>)> = on!(session, |c| {
        let query = sqlx::query_as(sql::GC_UNTAGGED).bind(cutoff.0).bind(OccurrenceId(0).0);
        query.bind(i64::from(limit)).fetch_all(c).await
    })?;
    found.into_iter().map(|(name, digest)| Ok((rows::name(&name)?, rows::digest(&digest)?))).collect()
}
