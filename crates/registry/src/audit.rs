//! Who did what: the records that every change leaves in its own transaction.

use index::{
    Micros, Reader, Session,
    audit::{self, Filter, Order, Place, Recorded},
    repository,
};
use oci::{Digest, Name, Tag};
use serde_json::Value;

use crate::{
    Access, Ctx, Error, Registry, Thing, authz,
    kits::{bad_cursor, mark, other_cursor, time},
    view,
};

/// Which records are asked for.
#[derive(Debug, Clone, Default)]
pub struct AuditQuestion {
    /// Those of this actor.
    pub actor: Option<String>,
    /// Those of this action.
    pub action: Option<String>,
    /// Those of this repository.
    pub repository: Option<Name>,
    /// Those of this digest.
    pub digest: Option<Digest>,
    /// Those of this tag.
    pub tag: Option<Tag>,
    /// Those from this moment on.
    pub since: Option<Micros>,
    /// Those before this moment.
    pub until: Option<Micros>,
    /// The most of a page.
    pub limit: usize,
    /// Where the page before ended.
    pub cursor: Option<String>,
}

/// All records that are asked for, the oldest first, a few at a time. Between those nothing is held of the database.
#[derive(Debug)]
pub struct AuditLines {
    reader: Reader,
    filter: Filter,
    behind: Option<Place>,
    is_done: bool,
}

/// How many records are read at once where all are.
const AT_ONCE: u32 = 500;

impl Registry {
    /// A page of the records that are asked for, the newest first. Records of what is in no repository, such as what the
    /// collector deleted, are only for who reads everything.
    ///
    /// # Errors
    /// [`Error::Unknown`] when there is no such repository that the caller may read, [`Error::Invalid`] when the cursor is
    /// not one of the question.
    pub async fn audit(&self, ctx: &Ctx, question: &AuditQuestion) -> Result<view::Audit, Error> {
        authz::check(ctx, Access::Pull)?;
        let mut session = self.db.snapshot().await?;
        let filter = filter(ctx, &mut session, question).await?;
        let asked = mark(&format!("audit {filter:?}"));
        let behind = question.cursor.as_deref().map(|text| continued(text, &asked)).transpose()?;
        let limit = question.limit;
        // One more than is shown tells whether there are more.
        let more = u32::try_from(limit).unwrap_or(u32::MAX).saturating_add(1);
        let mut found = audit::page(&mut session, ctx.reader, &filter, Order::Newest, behind, more).await?;
        let is_more = found.len() > limit;
        found.truncate(limit);
        let next = found.last().filter(|_| is_more).map(Recorded::place);
        let next = next.map(|place| format!("{asked}~{}~{}", place.at.0, place.id));
        Ok(view::Audit { records: found.iter().map(record).collect::<Result<_, _>>()?, next })
    }

    /// All records that are asked for as they are now.
    ///
    /// # Errors
    /// As [`Registry::audit`].
    pub async fn audit_lines(&self, ctx: &Ctx, question: &AuditQuestion) -> Result<AuditLines, Error> {
        authz::check(ctx, Access::Pull)?;
        let mut session = self.db.snapshot().await?;
        let mut filter = filter(ctx, &mut session, question).await?;
        // What comes meanwhile is not part of the answer, which else might never end.
        let newest = audit::page(&mut session, ctx.reader, &filter, Order::Newest, None, 1).await?;
        if let Some(newest) = newest.first() {
            filter.until = filter.until.min(Micros(newest.at.saturating_add(1)));
        }
        Ok(AuditLines { reader: ctx.reader, filter, behind: None, is_done: newest.is_empty() })
    }

    /// The next of all records; none when that was the end.
    ///
    /// # Errors
    /// [`Error::Internal`] when the database fails.
    pub async fn more_audit(&self, lines: &mut AuditLines) -> Result<Vec<view::Record>, Error> {
        if lines.is_done {
            return Ok(Vec::new());
        }
        let mut session = self.db.snapshot().await?;
        let AuditLines { reader, filter, behind, .. } = &*lines;
        let found = audit::page(&mut session, *reader, filter, Order::Oldest, *behind, AT_ONCE).await?;
        lines.is_done = found.len() < AT_ONCE as usize;
        lines.behind = found.last().map(Recorded::place).or(lines.behind);
        found.iter().map(record).collect()
    }
}

async fn filter(ctx: &Ctx, session: &mut Session, question: &AuditQuestion) -> Result<Filter, Error> {
    let repository = match &question.repository {
        Some(name) => {
            let found = repository::find(session, ctx.reader, name).await?;
            Some(found.ok_or_else(|| Error::Unknown(Thing::Repository(name.to_string())))?)
        }
        None => None,
    };
    Ok(Filter {
        actor: question.actor.clone(),
        action: question.action.clone(),
        repository,
        digest: question.digest,
        tag: question.tag.as_ref().map(ToString::to_string),
        since: question.since.unwrap_or(Micros(i64::MIN)),
        until: question.until.unwrap_or(Micros::MAX),
    })
}

fn continued(cursor: &str, asked: &str) -> Result<Place, Error> {
    let [mark, at, id] = cursor.split('~').collect::<Vec<_>>()[..] else { return Err(bad_cursor()) };
    let (Ok(at), Ok(id)) = (at.parse(), id.parse()) else { return Err(bad_cursor()) };
    if mark == asked { Ok(Place { at: Micros(at), id }) } else { Err(other_cursor()) }
}

fn record(recorded: &Recorded) -> Result<view::Record, Error> {
    // Some details are written as JSON objects; any other is a text, even if it looks like a number.
    let detail = recorded.detail().map(|text| match serde_json::from_str(&text) {
        Ok(object @ Value::Object(_)) => object,
        _ => Value::String(text),
    });
    Ok(view::Record {
        id: recorded.id,
        at: time(Micros(recorded.at)),
        actor: recorded.actor.clone(),
        request_id: recorded.request_id.clone(),
        action: recorded.action.clone(),
        repository: recorded.repository.clone(),
        digest: recorded.digest()?.map(|digest| digest.to_string()),
        tag: recorded.tag.clone(),
        detail,
    })
}
