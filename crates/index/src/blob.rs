//! Blobs: where the bytes of a digest are, and in which repositories they can be seen.

use oci::{Digest, Name};

use crate::{
    BlobId, Db, Micros, NodeId, Reader, RepositoryId, Result, Session,
    db::{Engine, look_up, on},
    rows, sql,
};

/// A live blob.
#[derive(Debug, Clone)]
pub struct Blob {
    /// Its row.
    pub id: BlobId,
    /// Its size in bytes.
    pub size: u64,
    /// The key of its object in the store.
    pub key: String,
    /// Since when nobody may need it; `None` when somebody does.
    pub review_at: Option<Micros>,
}

type Row = (i64, i64, String, Option<i64>);

fn blob((id, size, key, review_at): Row) -> Blob {
    Blob { id: BlobId(id), size: rows::unsigned(size), key, review_at: review_at.map(Micros) }
}

/// The blob as the repository shows it: through its link.
///
/// # Errors
/// When the statement fails.
pub async fn linked(session: &mut Session, reader: Reader, repository: &Name, digest: &Digest) -> Result<Option<Blob>> {
    let row: Option<Row> = on!(session, |c| {
        let query = sqlx::query_as(sql::BLOB_LINKED).bind(reader.0).bind(&**repository).bind(digest.hash());
        query.fetch_optional(c).await
    })?;
    Ok(row.map(blob))
}

/// The same outside of any transaction: the hot read.
///
/// # Errors
/// When the statement fails.
pub async fn look(db: &Db, reader: Reader, repository: &Name, digest: &Digest) -> Result<Option<Blob>> {
    let Some(direct) = db.direct() else { return linked(&mut db.read().await?, reader, repository, digest).await };
    let row = |row: &rusqlite::Row<'_>| Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?));
    let found: Option<Row> = direct.row(sql::BLOB_LINKED, &[&reader.0, &&**repository, &digest.hash()], row)?;
    Ok(found.map(blob))
}

/// The blob, if some repository that `reader` may read shows it.
///
/// # Errors
/// When the statement fails.
pub async fn readable(session: &mut Session, reader: Reader, digest: &Digest) -> Result<Option<Blob>> {
    let row: Option<Row> = on!(session, |c| {
        sqlx::query_as(sql::BLOB_READABLE).bind(reader.0).bind(digest.hash()).fetch_optional(c).await
    })?;
    Ok(row.map(blob))
}

/// The blob, whoever may see it.
///
/// # Errors
/// When the statement fails.
pub async fn find(session: &mut Session, digest: &Digest) -> Result<Option<Blob>> {
    let row: Option<Row> =
        on!(session, |c| sqlx::query_as(sql::BLOB_FIND).bind(digest.hash()).fetch_optional(c).await)?;
    Ok(row.map(blob))
}

/// Says that the object at `key` is the blob. `None` when the digest already has a live object, or is just getting one; then
/// `key` may not be needed. An object that is being deleted is recorded as the discarded upload `spare` of the repository.
///
/// # Errors
/// When a statement fails.
pub async fn insert(
    session: &mut Session,
    repository: RepositoryId,
    digest: &Digest,
    size: u64,
    key: &str,
    spare: &str,
    now: Micros,
) -> Result<Option<BlobId>> {
    let old: Option<String> = on!(session, |c| {
        let query =
            sqlx::query_scalar(sql::BLOB_REVIVED).bind(spare).bind(repository.0).bind(now.0).bind(digest.hash());
        query.fetch_optional(c).await
    })?;
    // Only the object that was recorded just now may be replaced: what the collector marks between the two statements is not.
    let old = old.unwrap_or_default();
    let id = on!(session, |c| {
        let query = sqlx::query_scalar(sql::BLOB_INSERT).bind(digest.hash()).bind(rows::signed(size)).bind(key);
        query.bind(now.0).bind(&old).fetch_optional(c).await
    })?;
    Ok(id.map(BlobId))
}

/// Says that the blob's bytes are in the object `new`, if they were said to be in `old`. Whether they were.
///
/// # Errors
/// When the statement fails.
pub async fn replace(session: &mut Session, blob: BlobId, old: &str, new: &str) -> Result<bool> {
    let replaced = on!(session, |c| {
        let query = sqlx::query(sql::BLOB_REPLACE).bind(blob.0).bind(old).bind(new);
        query.execute(c).await.map(|done| done.rows_affected())
    })?;
    Ok(replaced > 0)
}

/// A manifest that is in the repository and needs the blob, if there is one.
///
/// # Errors
/// When the statement fails.
pub async fn needed(session: &mut Session, repository: RepositoryId, digest: &Digest) -> Result<Option<Digest>> {
    let manifest: Option<Vec<u8>> = on!(session, |c| {
        sqlx::query_scalar(sql::BLOB_NEEDED).bind(repository.0).bind(digest.hash()).fetch_optional(c).await
    })?;
    manifest.map(|hash| rows::digest(&hash)).transpose()
}

/// Shows the blob in the repository, and keeps the collector away from it for a while. Whether the blob is still there; if it
/// is, it stays until the transaction ends.
///
/// # Errors
/// When a statement fails.
pub async fn link(session: &mut Session, repository: RepositoryId, blob: BlobId, now: Micros) -> Result<bool> {
    if !touch(session, blob, now).await? {
        return Ok(false);
    }
    on!(session, |c| {
        sqlx::query(sql::BLOB_LINK).bind(repository.0).bind(blob.0).bind(now.0).execute(c).await.map(drop)
    })?;
    Ok(true)
}

/// Keeps the collector away from the blob for a while. Whether the blob is still there.
///
/// # Errors
/// When the statement fails.
pub async fn touch(session: &mut Session, blob: BlobId, now: Micros) -> Result<bool> {
    let touched = on!(session, |c| {
        sqlx::query(sql::BLOB_TOUCH).bind(blob.0).bind(now.0).execute(c).await.map(|done| done.rows_affected())
    })?;
    Ok(touched > 0)
}

/// Has the collector look, some time from now, at what a manifest needed that is gone from a repository.
///
/// # Errors
/// When the statement fails.
pub async fn review(session: &mut Session, manifest: NodeId, now: Micros) -> Result<()> {
    on!(session, |c| {
        sqlx::query(sql::BLOBS_OF_MANIFEST_REVIEW).bind(manifest.0).bind(now.0).execute(c).await.map(drop)
    })?;
    Ok(())
}

/// Hides the blob from the repository. Whether it was there.
///
/// # Errors
/// When the statement fails.
pub async fn unlink(session: &mut Session, repository: RepositoryId, digest: &Digest) -> Result<bool> {
    let hidden = on!(session, |c| {
        let query = sqlx::query(sql::BLOB_UNLINK).bind(repository.0).bind(digest.hash());
        query.execute(c).await.map(|done| done.rows_affected())
    })?;
    Ok(hidden > 0)
}

/// Those of `digests` that the repository shows, with their sizes, locked against collection until the transaction ends.
/// Sorted by digest.
///
/// # Errors
/// When a statement fails.
pub async fn lock(session: &mut Session, repository: RepositoryId, digests: &[Digest]) -> Result<Vec<(Digest, u64)>> {
    let mut sorted = digests.to_vec();
    sorted.sort_unstable_by(|a, b| a.hash().cmp(b.hash()));
    sorted.dedup();
    let text = match session.engine() {
        Engine::Postgres(..) => sql::BLOB_LOCK_POSTGRES,
        Engine::Sqlite(_) => sql::BLOB_LOCK_SQLITE,
    };
    let mut locked = Vec::with_capacity(sorted.len());
    let found: Vec<(Vec<u8>, i64)> = look_up!(session, query_as(text, repository.0), sorted, |one| one.hash());
    for (hash, size) in found {
        locked.push((rows::digest(&hash)?, rows::unsigned(size)));
    }
    Ok(locked)
}

/// Live blobs by id, for checks: (id, digest, blob), at most `limit` after `after`.
///
/// # Errors
/// When the statement fails.
pub async fn page(session: &mut Session, after: BlobId, limit: u32) -> Result<Vec<(Digest, Blob)>> {
    let found: Vec<(i64, Vec<u8>, i64, String)> =
        on!(session, |c| sqlx::query_as(sql::BLOB_PAGE).bind(after.0).bind(i64::from(limit)).fetch_all(c).await)?;
    found.into_iter().map(|(id, hash, size, key)| Ok((rows::digest(&hash)?, blob((id, size, key, None))))).collect()
}
