//! Who pulled what. A row is what one client pulled of one digest in a repository without a longer pause.

use std::collections::HashMap;

use oci::{Digest, Name};
use sqlx::AssertSqlSafe;

use crate::{
    Error, Micros, Reader, RepositoryId, Result, Session,
    db::{look_up, on},
    rows, sql,
};

/// A row's number, which says when it began and orders it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PullId(pub i64);

/// What was pulled.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum PullKind {
    /// A manifest.
    Manifest = 0,
    /// A blob.
    Blob = 1,
}

/// A row.
#[derive(Debug, Clone)]
pub struct Pull {
    /// Its number.
    pub id: PullId,
    /// Where.
    pub repository: Name,
    /// What kind of thing was pulled.
    pub kind: PullKind,
    /// What.
    pub digest: Digest,
    /// The tag by which it was asked for.
    pub tag: Option<String>,
    /// Whether the client was sent to the store.
    pub redirected: bool,
    /// Who.
    pub actor: String,
    /// From which address.
    pub address: Option<String>,
    /// With which program, by its own word.
    pub agent: String,
    /// When last.
    pub last_at: Micros,
    /// How often: each request counts.
    pub pulls: u64,
}

/// Which rows are asked for.
#[derive(Debug, Clone, Copy)]
pub struct Filter<'a> {
    /// Those of this repository.
    pub repository: Option<RepositoryId>,
    /// Those of this digest.
    pub digest: Option<&'a Digest>,
    /// Those of such things.
    pub kind: Option<PullKind>,
    /// Those of this actor.
    pub actor: Option<&'a str>,
    /// Those that did not end before.
    pub since: Micros,
    /// Those that began before.
    pub until: Micros,
}

/// The newest pulls of a manifest in a repository.
#[derive(Debug, Clone, Default)]
pub struct Newest {
    /// Some of them, the newest first.
    pub pulls: Vec<Pull>,
    /// How many rows there are.
    pub all: u64,
}

/// The longest that a row lasts, in microseconds: whoever goes on begins another.
pub const LONGEST: i64 = 3_600_000_000;

/// How many rows can begin in the same microsecond.
const AT_ONCE: i64 = 1024;

/// How many rows one statement writes: few different numbers, so that prepared statements are used again.
const ROWS_A_STATEMENT: [usize; 4] = [64, 16, 4, 1];
const COLUMNS: usize = 11;

/// The columns of a row, in their order.
#[derive(sqlx::FromRow)]
struct Row {
    id: i64,
    name: String,
    kind: i32,
    digest: Vec<u8>,
    tag: Option<String>,
    redirected: bool,
    actor: String,
    address: Option<String>,
    agent: Vec<u8>,
    last_at: i64,
    pulls: i64,
    /// How many there are of the same manifest, where that is asked.
    #[sqlx(default)]
    all_pulls: i64,
}

impl PullId {
    /// Before every row.
    pub const FIRST: Self = Self(i64::MIN);
    /// Behind every row.
    pub const LAST: Self = Self(i64::MAX);

    /// The number of a row that begins now. Of `salt` only the last bits count, which are to tell it from those that other
    /// servers begin in the same microsecond.
    #[must_use]
    pub fn new(now: Micros, salt: u64) -> Self {
        let salt = i64::try_from(salt % AT_ONCE.unsigned_abs()).unwrap_or_default();
        Self(Self::from(now).0.saturating_add(salt))
    }

    /// The first number of a moment.
    #[must_use]
    pub fn from(at: Micros) -> Self {
        Self(at.0.saturating_mul(AT_ONCE))
    }

    /// When the row began.
    #[must_use]
    pub const fn began(self) -> Micros {
        Micros(self.0.div_euclid(AT_ONCE))
    }
}

/// Writes the rows as they are now, those that are there already too. To write one twice changes nothing: after a commit
/// whose outcome is not known everything is written again.
///
/// # Errors
/// When a statement fails.
pub async fn write(session: &mut Session, pulls: &[Pull]) -> Result<()> {
    let repositories = repositories(session, pulls).await?;
    // Whoever could pull from a repository knows its row, and such rows are never deleted.
    let known = pulls.iter().filter_map(|pull| Some((*repositories.get(&*pull.repository)?, pull)));
    let known: Vec<_> = known.collect();
    let mut left = &known[..];
    while !left.is_empty() {
        let size = ROWS_A_STATEMENT.into_iter().find(|size| *size <= left.len()).unwrap_or(1);
        let (chunk, others) = left.split_at(size);
        left = others;
        let text = sql::rows(&session.engine(), sql::PULLS_WRITE, COLUMNS, size);
        on!(session, |c| {
            let mut query = sqlx::query(AssertSqlSafe(text));
            for &(repository, pull) in chunk {
                query = query.bind(pull.id.0).bind(repository).bind(pull.kind as i32).bind(pull.digest.hash());
                query = query.bind(pull.tag.as_deref()).bind(pull.redirected).bind(&*pull.actor);
                query = query.bind(pull.address.as_deref()).bind(pull.agent.as_bytes());
                query = query.bind(pull.last_at.0).bind(rows::signed(pull.pulls));
            }
            query.execute(c).await.map(drop)
        })?;
    }
    Ok(())
}

async fn repositories(session: &mut Session, pulls: &[Pull]) -> Result<HashMap<String, i64>> {
    let mut names: Vec<&str> = pulls.iter().map(|pull| &*pull.repository).collect();
    names.sort_unstable();
    names.dedup();
    let found: Vec<(String, i64)> = look_up!(session, query_as(sql::PULL_REPOSITORIES), names, |name| *name);
    Ok(found.into_iter().collect())
}

/// The rows that are asked for whose numbers are less than `before`, the newest first.
///
/// # Errors
/// When the statement fails.
pub async fn page(
    session: &mut Session,
    reader: Reader,
    filter: &Filter<'_>,
    before: PullId,
    limit: u32,
) -> Result<Vec<Pull>> {
    let text = match filter {
        Filter { digest: Some(_), .. } => sql::PULLS_OF_DIGEST,
        Filter { repository: Some(_), .. } => sql::PULLS_OF_REPOSITORY,
        Filter { actor: Some(_), .. } => sql::PULLS_OF_ACTOR,
        _ => sql::PULLS_ALL,
    };
    let before = before.min(PullId::from(filter.until));
    let begun = PullId::from(Micros(filter.since.0.saturating_sub(LONGEST)));
    let found: Vec<Row> = on!(session, |c| {
        let query = sqlx::query_as(text).bind(reader.0).bind(filter.repository.map_or(0, |id| id.0));
        let query = query.bind(filter.digest.map(|digest| digest.hash().to_vec()));
        let query = query.bind(filter.actor.unwrap_or_default()).bind(filter.kind.map_or(-1, |kind| kind as i32));
        query.bind(before.0).bind(begun.0).bind(filter.since.0).bind(i64::from(limit)).fetch_all(c).await
    })?;
    found.into_iter().map(pull).collect()
}

/// The newest pulls of each of the manifests until `as_of`, by repository and digest, `each` of them at most.
///
/// # Errors
/// When the statement fails.
pub async fn newest(
    session: &mut Session,
    reader: Reader,
    as_of: Micros,
    each: u32,
    manifests: &[Digest],
) -> Result<HashMap<(Name, Digest), Newest>> {
    let mut newest: HashMap<_, Newest> = HashMap::new();
    let end = PullId::from(Micros(as_of.0.saturating_add(1)));
    let found: Vec<Row> =
        look_up!(session, query_as(sql::PULLS_NEWEST, reader.0, end.0, i64::from(each)), manifests, |one| one.hash());
    for row in found {
        let all = rows::unsigned(row.all_pulls);
        let pull = pull(row)?;
        let known = newest.entry((pull.repository.clone(), pull.digest)).or_default();
        known.pulls.push(pull);
        known.all = all;
    }
    Ok(newest)
}

/// Forgets at most `limit` rows that began before `before`, and says how many.
///
/// # Errors
/// When the statement fails.
pub async fn forget(session: &mut Session, before: Micros, limit: u32) -> Result<u64> {
    let before = PullId::from(before);
    Ok(on!(session, |c| {
        let query = sqlx::query(sql::PULLS_FORGET).bind(before.0).bind(i64::from(limit));
        query.execute(c).await.map(|done| done.rows_affected())
    })?)
}

fn pull(row: Row) -> Result<Pull> {
    Ok(Pull {
        id: PullId(row.id),
        repository: rows::name(&row.name)?,
        kind: match row.kind {
            0 => PullKind::Manifest,
            1 => PullKind::Blob,
            _ => return Err(Error::Unreadable("kind of a pull")),
        },
        digest: rows::digest(&row.digest)?,
        tag: row.tag,
        redirected: row.redirected,
        actor: row.actor,
        address: row.address,
        agent: rows::text(row.agent),
        last_at: Micros(row.last_at),
        pulls: rows::unsigned(row.pulls),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_moments_in_order() {
        let now = Micros(1_790_000_000_000_000);
        assert_eq!(PullId::new(now, u64::MAX).began(), now);
        assert!(PullId::new(now, 1023) < PullId::new(Micros(now.0 + 1), 0));
        assert_eq!(PullId::from(Micros::MAX), PullId::LAST, "no moment is too late");
        assert_eq!(PullId::new(Micros(-1), 0).began(), Micros(-1));
    }
}
