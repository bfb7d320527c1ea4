//! Durable work: written in the transaction that needs it, done later by whoever claims it.

use crate::{
    JobId, JobKind, Micros, Priority, Result, Session,
    db::{Engine, on},
    sql,
};

/// A job that the caller holds until its lease runs out.
#[derive(Debug, Clone)]
pub struct Job {
    /// Its row.
    pub id: JobId,
    /// What it is about.
    pub subject: String,
    /// How often it was begun, this time included.
    pub attempts: u32,
}

/// Asks for work. Asking twice is asking once, by whoever is in the greater hurry.
///
/// # Errors
/// When the statement fails.
pub async fn enqueue(
    session: &mut Session,
    kind: JobKind,
    subject: &str,
    priority: Priority,
    now: Micros,
) -> Result<()> {
    on!(session, |c| {
        let query = sqlx::query(sql::JOB_INSERT).bind(kind.code()).bind(subject).bind(now.0).bind(priority.code());
        query.execute(c).await.map(drop)
    })?;
    Ok(())
}

/// Takes a job of this priority that is due and that nobody holds.
///
/// # Errors
/// When the statement fails.
pub async fn claim(
    session: &mut Session,
    kind: JobKind,
    priority: Priority,
    owner: &str,
    lease_until: Micros,
    now: Micros,
) -> Result<Option<Job>> {
    let text = match session.engine() {
        Engine::Postgres(..) => sql::JOB_CLAIM_POSTGRES,
        Engine::Sqlite(_) => sql::JOB_CLAIM_SQLITE,
    };
    let row: Option<(i64, String, i32)> = on!(session, |c| {
        let query = sqlx::query_as(text).bind(kind.code()).bind(owner).bind(lease_until.0).bind(now.0);
        query.bind(priority.code()).fetch_optional(c).await
    })?;
    Ok(row.map(|(id, subject, attempts)| Job {
        id: JobId(id),
        subject,
        attempts: u32::try_from(attempts).unwrap_or(u32::MAX),
    }))
}

/// Keeps the job for `owner` until `lease_until`. Whether it still had it.
///
/// # Errors
/// When the statement fails.
pub async fn renew(session: &mut Session, job: JobId, owner: &str, lease_until: Micros) -> Result<bool> {
    let kept = on!(session, |c| {
        let query = sqlx::query(sql::JOB_RENEW).bind(job.0).bind(owner).bind(lease_until.0);
        query.execute(c).await.map(|done| done.rows_affected())
    })?;
    Ok(kept > 0)
}

/// Ends the job, in the transaction that holds its result. Whether `owner` still had it; if not, the result must not be
/// committed, for another is making it.
///
/// # Errors
/// When the statement fails.
pub async fn done(session: &mut Session, job: JobId, owner: &str) -> Result<bool> {
    let ended = on!(session, |c| {
        let query = sqlx::query(sql::JOB_DONE).bind(job.0).bind(owner);
        query.execute(c).await.map(|done| done.rows_affected())
    })?;
    Ok(ended > 0)
}

/// Gives the job back, to be tried again at `run_at`. Whether `owner` still had it.
///
/// # Errors
/// When the statement fails.
pub async fn retry(session: &mut Session, job: JobId, owner: &str, run_at: Micros, reason: &str) -> Result<bool> {
    let given = on!(session, |c| {
        let query = sqlx::query(sql::JOB_RETRY).bind(job.0).bind(owner).bind(run_at.0).bind(reason.as_bytes());
        query.execute(c).await.map(|done| done.rows_affected())
    })?;
    Ok(given > 0)
}

/// Ends every lease: only for a server that is alone on its database and has just started.
///
/// # Errors
/// When the statement fails.
pub async fn release_all(session: &mut Session) -> Result<()> {
    on!(session, |c| sqlx::query(sql::JOB_RELEASE_ALL).execute(c).await.map(drop))?;
    Ok(())
}
