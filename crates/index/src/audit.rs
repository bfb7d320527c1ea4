//! Who did what: one record in the transaction of each change.

use oci::Digest;

use crate::{Micros, Reader, RepositoryId, Result, Session, db::on, rows, sql};

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

/// A record as it was written.
#[derive(Debug, Clone, sqlx::FromRow)]
pub struct Recorded {
    /// Its number.
    pub id: i64,
    /// When.
    pub at: i64,
    /// Who.
    pub actor: String,
    /// In which request.
    pub request_id: String,
    /// What.
    pub action: String,
    /// Where.
    #[sqlx(rename = "name")]
    pub repository: Option<String>,
    digest: Option<Vec<u8>>,
    /// Under which tag, or tags with commas between them.
    pub tag: Option<String>,
    detail: Option<Vec<u8>>,
}

/// Which records are asked for.
#[derive(Debug, Clone)]
pub struct Filter {
    /// Those of this actor.
    pub actor: Option<String>,
    /// Those of this action.
    pub action: Option<String>,
    /// Those of this repository.
    pub repository: Option<RepositoryId>,
    /// Those of this digest.
    pub digest: Option<Digest>,
    /// Those of this tag.
    pub tag: Option<String>,
    /// Those from this moment on.
    pub since: Micros,
    /// Those before this moment.
    pub until: Micros,
}

/// Which way records are read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Order {
    /// The newest first.
    Newest,
    /// The oldest first.
    Oldest,
}

/// A place between records: behind the one of this moment and number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    /// The moment.
    pub at: Micros,
    /// The number.
    pub id: i64,
}

impl Recorded {
    /// Its place.
    #[must_use]
    pub const fn place(&self) -> Place {
        Place { at: Micros(self.at), id: self.id }
    }

    /// To what.
    ///
    /// # Errors
    /// [`crate::Error::Unreadable`] when the row is damaged.
    pub fn digest(&self) -> Result<Option<Digest>> {
        self.digest.as_deref().map(rows::digest).transpose()
    }

    /// What else there is to say.
    #[must_use]
    pub fn detail(&self) -> Option<String> {
        self.detail.clone().map(rows::text)
    }
}

/// At most `limit` of the records that are asked for, behind a place, or from the beginning of the order.
///
/// # Errors
/// When the statement fails.
pub async fn page(
    session: &mut Session,
    reader: Reader,
    filter: &Filter,
    order: Order,
    behind: Option<Place>,
    limit: u32,
) -> Result<Vec<Recorded>> {
    let is_newest = order == Order::Newest;
    let text = match (filter, is_newest) {
        (Filter { digest: Some(_), .. }, true) => sql::AUDIT_NEWEST_OF_DIGEST,
        (Filter { digest: Some(_), .. }, false) => sql::AUDIT_OLDEST_OF_DIGEST,
        (Filter { repository: Some(_), .. }, true) => sql::AUDIT_NEWEST_OF_REPOSITORY,
        (Filter { repository: Some(_), .. }, false) => sql::AUDIT_OLDEST_OF_REPOSITORY,
        (Filter { actor: Some(_), .. }, true) => sql::AUDIT_NEWEST_OF_ACTOR,
        (Filter { actor: Some(_), .. }, false) => sql::AUDIT_OLDEST_OF_ACTOR,
        (Filter { action: Some(_), .. }, true) => sql::AUDIT_NEWEST_OF_ACTION,
        (Filter { action: Some(_), .. }, false) => sql::AUDIT_OLDEST_OF_ACTION,
        (_, true) => sql::AUDIT_NEWEST,
        (_, false) => sql::AUDIT_OLDEST,
    };
    let end = if is_newest { i64::MAX } else { i64::MIN };
    let behind = behind.unwrap_or(Place { at: Micros(end), id: end });
    // SQLite finds its way by the bounds of the moment, and not by the place: what lies before it is not to be walked again.
    let (since, until) = match order {
        Order::Newest => (filter.since, filter.until.min(Micros(behind.at.0.saturating_add(1)))),
        Order::Oldest => (filter.since.max(behind.at), filter.until),
    };
    Ok(on!(session, |c| {
        let query = sqlx::query_as(text).bind(reader.0).bind(filter.repository.map_or(0, |id| id.0));
        let query = query.bind(filter.digest.map(|digest| digest.hash().to_vec()));
        let query = query.bind(filter.actor.as_deref().unwrap_or_default());
        let query = query.bind(filter.action.as_deref().unwrap_or_default());
        let query = query.bind(filter.tag.as_deref().unwrap_or_default());
        let query = query.bind(since.0).bind(until.0).bind(behind.at.0).bind(behind.id);
        query.bind(i64::from(limit)).fetch_all(c).await
    })?)
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
