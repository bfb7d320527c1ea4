//! Uploads: keys that are recorded before their objects exist, and how far each has come.

use oci::Name;

use crate::{Micros, Reader, RepositoryId, Result, Session, db::on, rows, sql};

/// An open upload.
#[derive(Debug, Clone)]
pub struct Upload {
    /// Its unguessable id.
    pub id: String,
    /// Where the blob goes.
    pub repository: RepositoryId,
    /// The key of its object, which is final.
    pub key: String,
    /// How many bytes are durable.
    pub received: u64,
    /// Who began it.
    pub created_by: String,
}

/// How far an upload has come, in the words of whoever hashes and stores it.
#[derive(Debug, Clone)]
pub struct Progress {
    /// How many bytes are durable.
    pub received: u64,
    /// The hash over these bytes, to be continued.
    pub hash_state: Vec<u8>,
    /// How a bucket holds them.
    pub parts: Option<Vec<u8>>,
}

/// What a new upload starts with.
#[derive(Debug)]
pub struct NewUpload<'a> {
    /// Its id.
    pub id: &'a str,
    /// Where the blob goes.
    pub repository: RepositoryId,
    /// The key of its object.
    pub key: &'a str,
    /// The hash over nothing.
    pub hash_state: &'a [u8],
    /// Who begins it.
    pub created_by: &'a str,
}

/// Records an upload.
///
/// # Errors
/// When the statement fails.
pub async fn insert(session: &mut Session, new: &NewUpload<'_>, now: Micros) -> Result<()> {
    on!(session, |c| {
        let query =
            sqlx::query(sql::UPLOAD_INSERT).bind(new.id).bind(new.repository.0).bind(new.key).bind(new.hash_state);
        query.bind(now.0).bind(new.created_by).execute(c).await.map(drop)
    })?;
    Ok(())
}

/// An open upload of the repository.
///
/// # Errors
/// When the statement fails.
pub async fn get(session: &mut Session, reader: Reader, repository: &Name, id: &str) -> Result<Option<Upload>> {
    type Row = (String, i64, String, i64, String);
    let row: Option<Row> = on!(session, |c| {
        sqlx::query_as(sql::UPLOAD_GET).bind(reader.0).bind(id).bind(&**repository).fetch_optional(c).await
    })?;
    Ok(row.map(|(id, repository, key, received, created_by)| Upload {
        id,
        repository: RepositoryId(repository),
        key,
        received: rows::unsigned(received),
        created_by,
    }))
}

/// Makes `writer` the only one who writes the upload until `until`, and says how far it is. `None` when another holds it, or
/// when it is gone.
///
/// # Errors
/// When the statement fails.
pub async fn claim(
    session: &mut Session,
    id: &str,
    writer: &str,
    until: Micros,
    now: Micros,
) -> Result<Option<Progress>> {
    let row: Option<(i64, Vec<u8>, Option<Vec<u8>>)> = on!(session, |c| {
        sqlx::query_as(sql::UPLOAD_CLAIM).bind(id).bind(writer).bind(until.0).bind(now.0).fetch_optional(c).await
    })?;
    Ok(row.map(|(received, hash_state, parts)| Progress { received: rows::unsigned(received), hash_state, parts }))
}

/// Keeps the upload for `writer` until `until`. Whether it still had it.
///
/// # Errors
/// When the statement fails.
pub async fn renew(session: &mut Session, id: &str, writer: &str, until: Micros, now: Micros) -> Result<bool> {
    let kept = on!(session, |c| {
        let query = sqlx::query(sql::UPLOAD_RENEW).bind(id).bind(writer).bind(until.0).bind(now.0);
        query.execute(c).await.map(|done| done.rows_affected())
    })?;
    Ok(kept > 0)
}

/// Says how far the upload is. The bytes must be durable by now. Whether `writer` still had it.
///
/// # Errors
/// When the statement fails.
pub async fn progress(session: &mut Session, id: &str, writer: &str, progress: &Progress, now: Micros) -> Result<bool> {
    let kept = on!(session, |c| {
        let query = sqlx::query(sql::UPLOAD_PROGRESS).bind(id).bind(writer).bind(rows::signed(progress.received));
        let query = query.bind(&progress.hash_state).bind(progress.parts.as_deref()).bind(now.0);
        query.execute(c).await.map(|done| done.rows_affected())
    })?;
    Ok(kept > 0)
}

/// Lets go of the upload. Whether `writer` still had it.
///
/// # Errors
/// When the statement fails.
pub async fn release(session: &mut Session, id: &str, writer: &str, now: Micros) -> Result<bool> {
    let kept = on!(session, |c| {
        let query = sqlx::query(sql::UPLOAD_RELEASE).bind(id).bind(writer).bind(now.0);
        query.execute(c).await.map(|done| done.rows_affected())
    })?;
    Ok(kept > 0)
}

/// Gives the upload up, unless another than `writer` is writing it: only its object is still to be deleted. Its key, if
/// it was open.
///
/// # Errors
/// When the statement fails.
pub async fn discard(session: &mut Session, id: &str, writer: &str, now: Micros) -> Result<Option<String>> {
    Ok(on!(session, |c| {
        sqlx::query_scalar(sql::UPLOAD_DISCARD).bind(id).bind(now.0).bind(writer).fetch_optional(c).await
    })?)
}

/// The key of an upload that is given up already, and how a bucket holds it.
///
/// # Errors
/// When the statement fails.
pub async fn discarded(session: &mut Session, id: &str) -> Result<Option<(String, Option<Vec<u8>>)>> {
    Ok(on!(session, |c| sqlx::query_as(sql::UPLOAD_DISCARDED).bind(id).fetch_optional(c).await)?)
}

/// Forgets the upload: its object became a blob or is deleted.
///
/// # Errors
/// When the statement fails.
pub async fn delete(session: &mut Session, id: &str) -> Result<()> {
    on!(session, |c| sqlx::query(sql::UPLOAD_DELETE).bind(id).execute(c).await.map(drop))?;
    Ok(())
}

/// Forgets the upload if `writer` still has it. Whether it had.
///
/// # Errors
/// When the statement fails.
pub async fn delete_held(session: &mut Session, id: &str, writer: &str) -> Result<bool> {
    let gone = on!(session, |c| {
        let query = sqlx::query(sql::UPLOAD_DELETE_HELD).bind(id).bind(writer);
        query.execute(c).await.map(|done| done.rows_affected())
    })?;
    Ok(gone > 0)
}

/// Lets go of every upload: only for a server that is alone on its database and has just started.
///
/// # Errors
/// When the statement fails.
pub async fn release_all(session: &mut Session) -> Result<()> {
    on!(session, |c| sqlx::query(sql::UPLOAD_RELEASE_ALL).execute(c).await.map(drop))?;
    Ok(())
}

/// Uploads that were not used since `since`, and discarded ones.
///
/// # Errors
/// When the statement fails.
pub async fn expired(session: &mut Session, since: Micros, limit: u32) -> Result<Vec<String>> {
    Ok(on!(session, |c| {
        sqlx::query_scalar(sql::UPLOAD_EXPIRED).bind(since.0).bind(i64::from(limit)).fetch_all(c).await
    })?)
}
