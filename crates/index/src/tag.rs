//! Tags: what they name now, and every move they ever made.

use oci::Name;
use sqlx::AssertSqlSafe;

use crate::{Micros, NodeId, Reader, RepositoryId, Result, Session, db::on, sql};

/// A move of a tag, as it is recorded.
#[derive(Debug)]
pub struct Move<'a> {
    /// The repository.
    pub repository: RepositoryId,
    /// The tag.
    pub tag: &'a str,
    /// What it must name before; anything, if it is not said.
    pub from: Option<NodeId>,
    /// What it names from now on; `None` deletes it.
    pub to: Option<NodeId>,
    /// Who moves it.
    pub actor: &'a str,
    /// Why, if anybody said.
    pub reason: Option<&'a str>,
}

/// A tag that named a manifest.
#[derive(Debug, Clone)]
pub struct Named {
    /// The manifest.
    pub manifest: NodeId,
    /// The repository.
    pub repository: RepositoryId,
    /// The tag.
    pub tag: String,
    /// Whether it still did at the moment asked for.
    pub still: bool,
}

/// Moves the tag and records the move: what it named before, `None` if it did not exist. Pushing what a tag names already
/// is an event too.
///
/// # Errors
/// When a statement fails.
pub async fn shift(session: &mut Session, change: &Move<'_>, now: Micros) -> Result<Option<NodeId>> {
    let (repository, tag) = (change.repository.0, change.tag);
    let (previous, last): (Option<i64>, i64) =
        on!(session, |c| sqlx::query_as(sql::TAG_LOCK).bind(repository).bind(tag).fetch_one(c).await)?;
    if change.to.is_none() && previous.is_none() || change.from.is_some_and(|from| previous != Some(from.0)) {
        return Ok(None);
    }
    // Clocks of replicas differ; under the row's lock a tag's events are still strictly ordered.
    let at = now.0.max(last + 1);
    let to = change.to.map(|id| id.0);
    on!(session, |c| sqlx::query(sql::TAG_SET)
        .bind(repository)
        .bind(tag)
        .bind(to)
        .bind(at)
        .execute(c)
        .await
        .map(drop))?;
    let kind = i32::from(to.is_none());
    let reason = change.reason.map(str::as_bytes);
    on!(session, |c| {
        let query = sqlx::query(sql::TAG_EVENT_INSERT).bind(repository).bind(tag).bind(at).bind(kind);
        query.bind(to).bind(previous).bind(change.actor).bind(reason).execute(c).await.map(drop)
    })?;
    Ok(previous.map(NodeId))
}

/// The tags of the repository that sort after `after`.
///
/// # Errors
/// When the statement fails.
pub async fn list(
    session: &mut Session,
    reader: Reader,
    repository: &Name,
    after: &str,
    limit: i64,
) -> Result<Vec<String>> {
    let names: Option<String> = on!(session, |c| {
        let query = sqlx::query_scalar(sql::TAG_LIST).bind(reader.0).bind(&**repository).bind(after).bind(limit);
        query.fetch_one(c).await
    })?;
    Ok(names.iter().flat_map(|names| names.split(' ')).map(str::to_owned).collect())
}

/// The tags that name the manifest in the repository now.
///
/// # Errors
/// When the statement fails.
pub async fn of_manifest(session: &mut Session, repository: RepositoryId, manifest: NodeId) -> Result<Vec<String>> {
    Ok(on!(session, |c| {
        sqlx::query_scalar(sql::TAGS_OF_MANIFEST).bind(repository.0).bind(manifest.0).fetch_all(c).await
    })?)
}

/// Every tag that named one of the manifests at `as_of` or before.
///
/// # Errors
/// When a statement fails.
pub async fn ever_of(session: &mut Session, reader: Reader, as_of: Micros, manifests: &[NodeId]) -> Result<Vec<Named>> {
    let mut named = Vec::new();
    for chunk in manifests.chunks(sql::LIST) {
        let width = sql::padded(chunk.len());
        let text = sql::list(sql::TAG_EVENTS_OF, 3, width);
        let found: Vec<(i64, i64, String, i32)> = on!(session, |c| {
            let mut query = sqlx::query_as(AssertSqlSafe(text)).bind(reader.0).bind(as_of.0);
            for one in sql::filled(chunk) {
                query = query.bind(one.0);
            }
            query.fetch_all(c).await
        })?;
        named.extend(found.into_iter().map(|(manifest, repository, tag, still)| Named {
            manifest: NodeId(manifest),
            repository: RepositoryId(repository),
            tag,
            still: still == 1,
        }));
    }
    Ok(named)
}
