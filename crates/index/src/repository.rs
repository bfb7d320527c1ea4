//! Repositories: names, and who may read them.

use oci::Name;

use crate::{Error, Micros, Reader, RepositoryId, Result, Session, db::on, rows, search, sql};

/// A repository in a list.
#[derive(Debug, Clone)]
pub struct Repository {
    /// Its row.
    pub id: RepositoryId,
    /// Its name.
    pub name: Name,
    /// When the first push made it.
    pub created_at: Micros,
    /// How many tags it has.
    pub tags: u64,
    /// How many manifests it has.
    pub manifests: u64,
}

/// The repository, if it exists and `reader` may read it.
///
/// # Errors
/// When the statement fails.
pub async fn find(session: &mut Session, reader: Reader, name: &Name) -> Result<Option<RepositoryId>> {
    let id = on!(session, |c| sqlx::query_scalar(sql::REPOSITORY_FIND)
        .bind(reader.0)
        .bind(&**name)
        .fetch_optional(c)
        .await)?;
    Ok(id.map(RepositoryId))
}

/// The repository, made when it does not exist.
///
/// # Errors
/// When a statement fails.
pub async fn ensure(session: &mut Session, name: &Name, now: Micros) -> Result<RepositoryId> {
    if let Some(id) = find(session, Reader::ALL, name).await? {
        return Ok(id);
    }
    let id =
        on!(session, |c| sqlx::query_scalar(sql::REPOSITORY_INSERT).bind(&**name).bind(now.0).fetch_optional(c).await)?;
    match id {
        Some(id) => {
            search::fill_repository(session, RepositoryId(id), name).await?;
            Ok(RepositoryId(id))
        }
        // Another push made it meanwhile.
        None => find(session, Reader::ALL, name).await?.ok_or(Error::Unreadable("repository")),
    }
}

/// The repositories that `reader` may read whose names sort after `after`.
///
/// # Errors
/// When the statement fails.
pub async fn list(session: &mut Session, reader: Reader, after: &str, limit: u32) -> Result<Vec<Repository>> {
    let found: Vec<(i64, String, i64, i64, i64)> = on!(session, |c| {
        sqlx::query_as(sql::REPOSITORY_LIST).bind(reader.0).bind(after).bind(i64::from(limit)).fetch_all(c).await
    })?;
    let repository = |(id, name, created_at, tags, manifests): (i64, String, i64, i64, i64)| {
        Ok(Repository {
            id: RepositoryId(id),
            name: rows::name(&name)?,
            created_at: Micros(created_at),
            tags: rows::unsigned(tags),
            manifests: rows::unsigned(manifests),
        })
    };
    found.into_iter().map(repository).collect()
}

/// Only the names, likewise.
///
/// # Errors
/// When the statement fails.
pub async fn names(session: &mut Session, reader: Reader, after: &str, limit: u32) -> Result<Vec<String>> {
    Ok(on!(session, |c| {
        let query = sqlx::query_scalar(sql::REPOSITORY_NAMES).bind(reader.0).bind(after).bind(i64::from(limit));
        query.fetch_all(c).await
    })?)
}

/// Lets `reader` read the repository.
///
/// # Errors
/// When the statement fails.
pub async fn grant(session: &mut Session, reader: Reader, repository: RepositoryId) -> Result<()> {
    on!(session, |c| sqlx::query(sql::READER_GRANT).bind(reader.0).bind(repository.0).execute(c).await.map(drop))?;
    Ok(())
}
