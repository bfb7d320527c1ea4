//! Tags through time: what one names, what it named at any moment, and what is where.

pub(crate) mod answer;
pub(crate) mod last_good;
pub(crate) mod moving;
pub(crate) mod whole;

use std::{cmp::Reverse, collections::BTreeSet};

use index::{Micros, RepositoryId, Session, audit::Place, repository, tag};
use oci::{Digest, Name, Tag};

use self::answer::{History, Stage, Stages, Tagged};
use crate::{
    Access, Ctx, Error, Registry, Thing, authz,
    impact::refuse_future,
    kits::{bad_cursor, mark, other_cursor, time},
};

/// Which part of a tag's history a client of the distribution specification asks for.
#[derive(Debug, Clone, Copy, Default)]
pub struct HistoryWindow<'a> {
    /// At most so many events.
    pub n: Option<u64>,
    /// Only those earlier than this.
    pub before: Option<Micros>,
    /// None earlier than this.
    pub since: Option<Micros>,
    /// Only those about this manifest.
    pub digest: Option<&'a Digest>,
}

/// The most events of one page for such a client, also when more are asked for.
const EVENTS: u32 = 1000;

/// What stands at which stage, and when.
#[derive(Debug, Clone, Default)]
pub struct StagesQuestion {
    /// The tags that are stages.
    pub stages: Vec<Tag>,
    /// As of when; now if it is not said.
    pub as_of: Option<Micros>,
    /// Only in this repository.
    pub repository: Option<Name>,
    /// The most rows of a page.
    pub limit: u32,
    /// Where the page before ended.
    pub cursor: Option<String>,
}

impl Registry {
    /// What a tag names, or named at `as_of`.
    ///
    /// # Errors
    /// [`Error::Unknown`] when it does not exist, or did not then; it says when it was deleted.
    pub async fn tag(&self, ctx: &Ctx, name: &Name, tag: &Tag, as_of: Option<Micros>) -> Result<Tagged, Error> {
        authz::check(ctx, Access::Pull)?;
        refuse_future(as_of, self.now())?;
        // Without a moment it is now, whatever a replica's clock says: all that was recorded counts.
        let until = as_of.unwrap_or(Micros::MAX);
        // One statement says it all; only what it does not find is looked into.
        let mut session = self.db.read().await?;
        let found = tag::change(&mut session, ctx.reader, name, tag, until).await?;
        let (event, digest) = match found.map(|event| (event.to, event)) {
            Some((Some(digest), event)) => (event, digest),
            other => {
                self.require_repository(ctx, &mut session, name).await?;
                let deleted = other.map(|(_, event)| (time(event.at), event.actor));
                return Err(Error::Unknown(Thing::Tag { repository: name.to_string(), tag: tag.to_string(), deleted }));
            }
        };
        let (kit_name, version) = event.kit;
        Ok(Tagged {
            repository: name.to_string(),
            tag: tag.to_string(),
            as_of: as_of.map(time),
            stage: Stage {
                digest: digest.to_string(),
                name: kit_name,
                version,
                since: time(event.at),
                by: event.actor,
                act: event.act.as_str(),
                reason: event.reason,
            },
        })
    }

    /// The events of a tag, newest first; also of one that was deleted, with all that it named. Promotions that were refused stand
    /// among them.
    ///
    /// # Errors
    /// [`Error::Unknown`] when it never existed and nobody tried, or not yet at `as_of`.
    pub async fn tag_history(
        &self,
        ctx: &Ctx,
        name: &Name,
        tag: &Tag,
        as_of: Option<Micros>,
        cursor: Option<&str>,
        limit: u32,
    ) -> Result<History, Error> {
        authz::check(ctx, Access::Pull)?;
        refuse_future(as_of, self.now())?;
        let behind = cursor.map_or(Ok(NEWEST), place)?;
        let as_of = as_of.unwrap_or(Micros::MAX);
        let mut session = self.db.snapshot().await?;
        let limit = limit.clamp(1, 1000);
        // At the moment of the place, what is no refusal was shown before it.
        let until = as_of.min(Micros(behind.at.0.saturating_sub(1)));
        let window = tag::Window { until, since: Micros(0), digest: None, limit: limit + 1 };
        let moves = tag::history(&mut session, ctx.reader, name, tag, window).await?;
        let refused = tag::refusals(&mut session, ctx.reader, name, tag, as_of, behind, limit + 1).await?;
        let moves = moves.into_iter().map(|event| (Place { at: event.at, ..NEWEST }, answer::event(event)));
        let refused = refused.into_iter().map(|refusal| (refusal.place, answer::refusal(refusal)));
        let mut found: Vec<_> = moves.chain(refused).collect();
        found.sort_by_key(|(place, _)| Reverse(*place));
        if found.is_empty() {
            self.require_repository(ctx, &mut session, name).await?;
        }
        if found.is_empty() && cursor.is_none() {
            let (repository, tag) = (name.to_string(), tag.to_string());
            return Err(Error::Unknown(Thing::Tag { repository, tag, deleted: None }));
        }
        let has_more = found.len() > limit as usize;
        found.truncate(limit as usize);
        let next = found.last().filter(|_| has_more).map(|(place, _)| format!("{}~{}", place.at.0, place.id));
        let events = found.into_iter().map(|(_, event)| event).collect();
        Ok(History { repository: name.to_string(), tag: tag.to_string(), events, next })
    }

    /// The same for a client of the distribution specification, and whether there are more. None of a tag that never was is an
    /// empty list: "not found" would say that this registry keeps no history.
    ///
    /// # Errors
    /// [`Error::Internal`] when the database fails.
    pub async fn tag_events(
        &self,
        ctx: &Ctx,
        name: &Name,
        tag: &Tag,
        window: HistoryWindow<'_>,
    ) -> Result<(Vec<tag::Event>, bool), Error> {
        authz::check(ctx, Access::Pull)?;
        let limit = window.n.and_then(|n| u32::try_from(n).ok()).unwrap_or(EVENTS).min(EVENTS);
        let until = window.before.map_or(Micros::MAX, |before| Micros(before.0.saturating_sub(1)));
        let since = window.since.unwrap_or(Micros(0));
        let window = tag::Window { until, since, digest: window.digest, limit: limit + 1 };
        let mut found = tag::history(&mut self.db.read().await?, ctx.reader, name, tag, window).await?;
        let has_more = found.len() > limit as usize;
        found.truncate(limit as usize);
        Ok((found, has_more))
    }

    /// Whether there is such a repository that the caller may read.
    ///
    /// # Errors
    /// [`Error::Unknown`] when there is none.
    pub async fn know_repository(&self, ctx: &Ctx, name: &Name) -> Result<(), Error> {
        authz::check(ctx, Access::Pull)?;
        self.require_repository(ctx, &mut self.db.read().await?, name).await.map(drop)
    }

    /// What stands at which stage, by repository and tag.
    ///
    /// # Errors
    /// [`Error::Unknown`] when a repository is asked for that is not there, [`Error::Invalid`] when the question is not one.
    pub async fn stages(&self, ctx: &Ctx, question: &StagesQuestion) -> Result<Stages, Error> {
        authz::check(ctx, Access::Pull)?;
        let StagesQuestion { stages, as_of, repository, .. } = question;
        refuse_future(*as_of, self.now())?;
        let asked = mark(&format!("stages {stages:?} {repository:?}"));
        let cursor = question.cursor.as_deref().map(Cursor::parse).transpose()?;
        if cursor.as_ref().is_some_and(|cursor| cursor.asked != asked || as_of.is_some_and(|at| at != cursor.as_of)) {
            return Err(other_cursor());
        }
        let mut session = self.db.snapshot().await?;
        if let Some(name) = repository {
            self.require_repository(ctx, &mut session, name).await?;
        }
        let as_of = cursor.as_ref().map(|cursor| cursor.as_of).or(*as_of);
        let until = as_of.unwrap_or(Micros::MAX);
        let after = cursor.as_ref().map_or(("", ""), |cursor| (&*cursor.repository, &*cursor.tag));
        let limit = question.limit.clamp(1, 1000);
        let names: Vec<_> = stages.iter().collect::<BTreeSet<_>>().into_iter().cloned().collect();
        let found = tag::standing(&mut session, ctx.reader, until, &names, repository.as_ref(), after, limit + 1);
        let mut found = found.await?;
        let as_of = match as_of {
            Some(as_of) => as_of,
            None => found.iter().map(|tag| tag.since).fold(self.latest(&mut session).await?, Micros::max),
        };
        let has_more = found.len() > limit as usize;
        found.truncate(limit as usize);
        let next = found.last().filter(|_| has_more).map(|last| {
            let (repository, tag) = (last.repository.to_string(), last.tag.clone());
            Cursor { as_of, asked, repository, tag }.to_string()
        });
        Ok(Stages {
            as_of: time(as_of),
            stages: stages.iter().map(Tag::to_string).collect(),
            tags: found.into_iter().map(answer::stage).collect(),
            next,
        })
    }

    /// Ends the answer unless there is such a repository that the caller may read.
    async fn require_repository(&self, ctx: &Ctx, session: &mut Session, name: &Name) -> Result<RepositoryId, Error> {
        let found = repository::find(session, ctx.reader, name).await?;
        found.ok_or_else(|| Error::Unknown(Thing::Repository(name.to_string())))
    }
}

/// Before everything that happened to a tag. An event is the last of its moment, behind which no record of that moment is.
const NEWEST: Place = Place { at: Micros::MAX, id: i64::MAX };

/// Where a page of a tag's history ended.
fn place(cursor: &str) -> Result<Place, Error> {
    let (at, id) = cursor.split_once('~').ok_or_else(bad_cursor)?;
    let number = |text: &str| text.parse().map_err(|_| bad_cursor());
    Ok(Place { at: Micros(number(at)?), id: number(id)? })
}

/// Where a page of stages ended, of which question and as of when.
struct Cursor {
    as_of: Micros,
    asked: String,
    repository: String,
    tag: String,
}

impl Cursor {
    fn parse(text: &str) -> Result<Self, Error> {
        let parts: Vec<_> = text.split('~').collect();
        let [as_of, asked, repository, tag] = parts[..] else { return Err(bad_cursor()) };
        let names = repository.parse::<Name>().is_ok() && tag.parse::<Tag>().is_ok();
        let as_of = as_of.parse().ok().filter(|_| names).ok_or_else(bad_cursor)?;
        Ok(Self { as_of: Micros(as_of), asked: asked.into(), repository: repository.into(), tag: tag.into() })
    }
}

impl std::fmt::Display for Cursor {
    /// `~` stands in no name and in no tag, and needs no escape in a URL.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}~{}~{}~{}", self.as_of.0, self.asked, self.repository, self.tag)
    }
}
