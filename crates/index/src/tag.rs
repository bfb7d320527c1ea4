//! Tags: what they name now, and every move they ever made.

use oci::{Digest, Name, Tag};
use sqlx::AssertSqlSafe;

use crate::{
    Act, Micros, NodeId, Reader, RepositoryId, Result, Session,
    audit::Place,
    db::{look_up, on},
    rows, sql,
};

/// A move of a tag, as it is recorded.
#[derive(Debug)]
pub struct Move<'a> {
    /// The repository.
    pub repository: RepositoryId,
    /// The tag.
    pub tag: &'a str,
    /// Without what it is not moved.
    pub expected: Expected,
    /// What it names from now on; `None` deletes it.
    pub to: Option<NodeId>,
    /// What kind of act it is.
    pub act: Act,
    /// The event that a rollback to the last good version goes back to.
    pub reverts: Option<i64>,
    /// Who moves it.
    pub actor: &'a str,
    /// Why, if anybody said.
    pub reason: Option<&'a str>,
}

/// What must be so before a tag is moved.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Expected {
    /// Nothing.
    Anything,
    /// It names this; `None`: it does not exist.
    Names(Option<NodeId>),
    /// Its last event was at this moment; 0: there was none.
    LastMoved(Micros),
}

/// What became of a move.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shifted {
    /// It was recorded as of this moment.
    Moved {
        /// What the tag named before.
        previous: Option<NodeId>,
        /// When it was moved.
        at: Micros,
    },
    /// What was expected is not so; nothing was changed.
    Refused {
        /// What the tag names.
        now: Option<NodeId>,
    },
}

/// An event in the life of a tag.
#[derive(Debug, Clone)]
pub struct Event {
    /// When, by the registry's clock: later than the one before it.
    pub at: Micros,
    /// What kind of act it was.
    pub act: Act,
    /// What the tag names since then; `None`: it was deleted.
    pub to: Option<Digest>,
    /// What it named before.
    pub from: Option<Digest>,
    /// Who did it.
    pub actor: String,
    /// Why, if anybody said.
    pub reason: Option<String>,
    /// The media type and the size of the manifest that it is about.
    pub manifest: (String, u64),
    /// The name and the version in the Kitfile of what the tag names since then, if that was asked for.
    pub kit: (Option<String>, Option<String>),
}

/// Which events are asked for, newest first.
#[derive(Debug, Clone, Copy)]
pub struct Window<'a> {
    /// None after this.
    pub until: Micros,
    /// None before this.
    pub since: Micros,
    /// Only those about this manifest.
    pub digest: Option<&'a Digest>,
    /// At most so many.
    pub limit: u32,
}

/// An event, as far as it matters for what to go back to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Past {
    /// Its number: events of a tag are numbered in their order.
    pub seq: i64,
    /// When.
    pub at: Micros,
    /// What the tag names since then.
    pub to: Option<NodeId>,
    /// What it named before.
    pub from: Option<NodeId>,
    /// What kind of act it was.
    pub act: Act,
    /// The event that it went back to.
    pub reverts: Option<i64>,
}

/// A tag and what it names.
#[derive(Debug, Clone)]
pub struct Standing {
    /// The repository.
    pub repository: Name,
    /// The tag.
    pub tag: String,
    /// The manifest.
    pub digest: Digest,
    /// The name in its Kitfile.
    pub name: Option<String>,
    /// The version in its Kitfile.
    pub version: Option<String>,
    /// Since when.
    pub since: Micros,
    /// Who moved it there.
    pub actor: String,
    /// What kind of act that was.
    pub act: Act,
    /// Why, if anybody said.
    pub reason: Option<String>,
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

/// Moves the tag, if it stands as expected, and records the move. Pushing what a tag names already is an event too; deleting
/// what does not exist is none. Events are written here and nowhere else.
///
/// # Errors
/// When a statement fails.
pub async fn shift(session: &mut Session, change: &Move<'_>, now: Micros) -> Result<Shifted> {
    let (repository, tag) = (change.repository.0, change.tag);
    let (previous, last): (Option<i64>, i64) =
        on!(session, |c| sqlx::query_as(sql::TAG_LOCK).bind(repository).bind(tag).fetch_one(c).await)?;
    let previous = previous.map(NodeId);
    let is_expected = match change.expected {
        Expected::Anything => true,
        Expected::Names(node) => node == previous,
        Expected::LastMoved(at) => at.0 == last,
    };
    if !is_expected || change.to.is_none() && previous.is_none() {
        return Ok(Shifted::Refused { now: previous });
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
        let query = query.bind(to).bind(previous.map(|id| id.0)).bind(change.actor).bind(reason);
        query.bind(change.act.code()).bind(change.reverts).execute(c).await.map(drop)
    })?;
    Ok(Shifted::Moved { previous, at: Micros(at) })
}

#[derive(sqlx::FromRow)]
struct EventRow {
    at: i64,
    act: i32,
    target: Option<Vec<u8>>,
    previous: Option<Vec<u8>>,
    actor: String,
    reason: Option<Vec<u8>>,
    size: Option<i64>,
    media_type: Option<Vec<u8>>,
    #[sqlx(default)]
    name: Option<Vec<u8>>,
    #[sqlx(default)]
    version: Option<Vec<u8>>,
}

fn event(row: EventRow) -> Result<Event> {
    Ok(Event {
        at: Micros(row.at),
        act: Act::from_code(row.act)?,
        to: row.target.map(|hash| rows::digest(&hash)).transpose()?,
        from: row.previous.map(|hash| rows::digest(&hash)).transpose()?,
        actor: row.actor,
        reason: row.reason.map(rows::text),
        manifest: (row.media_type.map(rows::text).unwrap_or_default(), rows::unsigned(row.size.unwrap_or_default())),
        kit: (row.name.map(rows::text), row.version.map(rows::text)),
    })
}

/// A promotion of a tag that was refused.
#[derive(Debug, Clone)]
pub struct Refusal {
    /// Its record.
    pub place: Place,
    /// What the tag was to name; `None` where the record does not say.
    pub to: Option<Digest>,
    /// Who wanted it.
    pub actor: String,
    /// Why it was wanted, and why it was refused.
    pub reason: Option<String>,
}

/// The promotions of a tag that were refused until then and behind a place, the newest first.
///
/// # Errors
/// When the statement fails.
pub async fn refusals(
    session: &mut Session,
    reader: Reader,
    repository: &Name,
    tag: &Tag,
    until: Micros,
    behind: Place,
    limit: u32,
) -> Result<Vec<Refusal>> {
    type Row = (i64, i64, Option<Vec<u8>>, String, Option<Vec<u8>>);
    let found: Vec<Row> = on!(session, |c| {
        let query = sqlx::query_as(sql::TAG_REFUSALS).bind(reader.0).bind(&**repository).bind(&**tag);
        let query = query.bind(until.0).bind(behind.at.0).bind(behind.id);
        query.bind(i64::from(limit)).fetch_all(c).await
    })?;
    let refusal = |(id, at, digest, actor, detail): Row| {
        Ok(Refusal {
            place: Place { at: Micros(at), id },
            to: digest.map(|hash| rows::digest(&hash)).transpose()?,
            actor,
            reason: detail.map(rows::text),
        })
    };
    found.into_iter().map(refusal).collect()
}

/// The events of a tag, newest first. None for one that never was.
///
/// # Errors
/// When the statement fails.
pub async fn history(
    session: &mut Session,
    reader: Reader,
    repository: &Name,
    tag: &Tag,
    window: Window<'_>,
) -> Result<Vec<Event>> {
    let found: Vec<EventRow> = on!(session, |c| {
        let query = sqlx::query_as(sql::TAG_HISTORY).bind(reader.0).bind(&**repository).bind(&**tag);
        let query = query.bind(window.until.0).bind(window.since.0).bind(window.digest.map(Digest::hash));
        query.bind(i64::from(window.limit)).fetch_all(c).await
    })?;
    found.into_iter().map(event).collect()
}

/// The event by which a tag named what it named at `as_of`, with what that is called, or by which it was deleted before that. `None` before its first.
///
/// # Errors
/// When the statement fails.
pub async fn change(
    session: &mut Session,
    reader: Reader,
    repository: &Name,
    tag: &Tag,
    as_of: Micros,
) -> Result<Option<Event>> {
    let found: Option<EventRow> = on!(session, |c| {
        let query = sqlx::query_as(sql::TAG_CHANGE).bind(reader.0).bind(&**repository).bind(&**tag);
        query.bind(as_of.0).fetch_optional(c).await
    })?;
    found.map(event).transpose()
}

/// Every event of a tag in order.
///
/// # Errors
/// When the statement fails.
pub async fn past(session: &mut Session, reader: Reader, repository: &Name, tag: &Tag) -> Result<Vec<Past>> {
    type Row = (i64, i64, Option<i64>, Option<i64>, i32, Option<i64>);
    let found: Vec<Row> = on!(session, |c| {
        sqlx::query_as(sql::TAG_PAST).bind(reader.0).bind(&**repository).bind(&**tag).fetch_all(c).await
    })?;
    let past = |(seq, at, to, from, act, reverts): Row| {
        let (to, from) = (to.map(NodeId), from.map(NodeId));
        Ok(Past { seq, at: Micros(at), to, from, act: Act::from_code(act)?, reverts })
    };
    found.into_iter().map(past).collect()
}

/// What the tags of these names named at `as_of`: those after a repository and tag, in one repository if it is given.
///
/// # Errors
/// When the statement fails.
pub async fn standing(
    session: &mut Session,
    reader: Reader,
    as_of: Micros,
    tags: &[Tag],
    repository: Option<&Name>,
    (after, after_tag): (&str, &str),
    limit: u32,
) -> Result<Vec<Standing>> {
    type Row = (String, String, Vec<u8>, Option<Vec<u8>>, Option<Vec<u8>>, i64, String, i32, Option<Vec<u8>>);
    if tags.is_empty() {
        return Ok(Vec::new());
    }
    let text = sql::list(sql::TAGS_AT, 7, sql::padded(tags.len()));
    let found: Vec<Row> = on!(session, |c| {
        let query = sqlx::query_as(AssertSqlSafe(text)).bind(reader.0).bind(as_of.0).bind(after).bind(after_tag);
        let query = query.bind(repository.map_or("", |name| &**name)).bind(i64::from(limit));
        sql::filled(tags).fold(query, |query, tag| query.bind(&**tag)).fetch_all(c).await
    })?;
    let standing = |(repository, tag, digest, name, version, since, actor, act, reason): Row| {
        Ok(Standing {
            repository: rows::name(&repository)?,
            tag,
            digest: rows::digest(&digest)?,
            name: name.map(rows::text),
            version: version.map(rows::text),
            since: Micros(since),
            actor,
            act: Act::from_code(act)?,
            reason: reason.map(rows::text),
        })
    };
    found.into_iter().map(standing).collect()
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
    let found: Vec<(i64, i64, String, i32)> =
        look_up!(session, query_as(sql::TAG_EVENTS_OF, reader.0, as_of.0), manifests, |one| one.0);
    Ok(found
        .into_iter()
        .map(|(manifest, repository, tag, still)| Named {
            manifest: NodeId(manifest),
            repository: RepositoryId(repository),
            tag,
            still: still == 1,
        })
        .collect())
}
