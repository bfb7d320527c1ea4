//! What the registry does not wholly know, one by one, and why. Each answer counts it all, in the same snapshot.

use std::{collections::BTreeSet, fmt, str::FromStr};

use index::{ClaimId, LayerId, LayerState, NodeId, ReferenceId, Session, completeness, coverage, repository};
use oci::Name;

use crate::{
    Access, Ctx, Error, Registry, Thing, authz,
    kits::{bad_cursor, time},
    view,
};

/// Why something is not wholly known.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Gap {
    /// A layer whose scan is still to come.
    Pending,
    /// A layer of which a scan found only a part.
    Partial,
    /// A layer that cannot be looked into.
    Opaque,
    /// A layer whose scan failed for now.
    Failed,
    /// A layer whose bytes were gone before it was scanned.
    Purged,
    /// A layer that an older scanner saw.
    Outdated,
    /// A kit of which something could not be understood.
    Incomplete,
    /// A reference that names nothing here.
    Unresolved,
    /// A claim whose statement says more than could be read of it.
    Unread,
}

/// What to list.
#[derive(Debug, Clone, Default)]
pub struct CoverageQuestion {
    /// Only these; none for all.
    pub states: BTreeSet<Gap>,
    /// Only what is or was in this repository.
    pub repository: Option<Name>,
    /// The most rows of a page.
    pub limit: u32,
    /// Where the page before ended.
    pub cursor: Option<String>,
}

/// Where a list stands: behind this row of this kind. Layers that are outdated are ordered by their scanner first.
#[derive(Debug, Clone, Copy)]
struct Position {
    gap: Gap,
    scanner: i32,
    id: i64,
}

impl Gap {
    /// All of them, in the order of the list.
    pub const ALL: [Self; 9] = [
        Self::Pending,
        Self::Partial,
        Self::Opaque,
        Self::Failed,
        Self::Purged,
        Self::Outdated,
        Self::Incomplete,
        Self::Unresolved,
        Self::Unread,
    ];

    /// The word for it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self.layer_state() {
            Some(state) => state.as_str(),
            None => match self {
                Self::Incomplete => "incomplete",
                Self::Unresolved => "unresolved",
                Self::Unread => "unread",
                _ => "outdated",
            },
        }
    }

    const fn layer_state(self) -> Option<LayerState> {
        match self {
            Self::Pending => Some(LayerState::Pending),
            Self::Partial => Some(LayerState::Partial),
            Self::Opaque => Some(LayerState::Opaque),
            Self::Failed => Some(LayerState::Failed),
            Self::Purged => Some(LayerState::Purged),
            Self::Outdated | Self::Incomplete | Self::Unresolved | Self::Unread => None,
        }
    }
}

impl FromStr for Gap {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let words = || Self::ALL.map(Self::as_str).join(", ");
        let found = Self::ALL.into_iter().find(|gap| gap.as_str() == text);
        found.ok_or_else(|| format!("{text:?} is none of {}", words()))
    }
}

impl Registry {
    /// A page of what is not wholly known.
    ///
    /// # Errors
    /// [`Error::Unknown`] when there is no such repository that the caller may read, [`Error::Invalid`] when the cursor is
    /// not one.
    pub async fn coverage(&self, ctx: &Ctx, question: &CoverageQuestion) -> Result<view::Coverage, Error> {
        authz::check(ctx, Access::Pull)?;
        let start = Position { gap: Gap::Pending, scanner: i32::MIN, id: 0 };
        let start = question.cursor.as_deref().map_or(Ok(start), str::parse)?;
        let limit = question.limit.clamp(1, 1000) as usize;
        let mut session = self.db.snapshot().await?;
        let repository = match &question.repository {
            Some(name) => {
                let found = repository::find(&mut session, ctx.reader, name).await?;
                Some(found.ok_or_else(|| Error::Unknown(Thing::Repository(name.to_string())))?)
            }
            None => None,
        };
        let scanner = self.limits.scanner_version();
        let counts = match repository {
            Some(repository) => completeness::count_in(&mut session, ctx.reader, repository, scanner).await?,
            None => completeness::count(&mut session, ctx.reader, scanner).await?,
        };
        let view = coverage::View { reader: ctx.reader, repository };
        let chosen = |gap: &Gap| question.states.is_empty() || question.states.contains(gap);
        let mut found: Vec<(Position, view::Gap)> = Vec::new();
        for gap in Gap::ALL.into_iter().filter(|gap| chosen(gap) && *gap >= start.gap) {
            let mut after = if gap == start.gap { start } else { Position { gap, scanner: i32::MIN, id: 0 } };
            // One more than is shown tells whether there are more.
            while found.len() <= limit {
                let page = gaps(&mut session, view, scanner, after, limit + 1 - found.len()).await?;
                let Some(&(last, _)) = page.last() else { break };
                after = last;
                // What is listed already by its state is not listed again for being outdated.
                found.extend(page.into_iter().filter(|(position, row)| {
                    position.gap != Gap::Outdated || row.state.parse().map_or(true, |state| !chosen(&state))
                }));
            }
        }
        let more = found.len() > limit;
        found.truncate(limit);
        let next = found.last().filter(|_| more).map(|(last, _)| last.to_string());
        Ok(view::Coverage {
            scope: view::Scope::of(ctx.reader),
            completeness: counts.into(),
            gaps: found.into_iter().map(|(_, row)| row).collect(),
            next,
        })
    }
}

/// The next rows of one kind. `scanner` is the version of now.
async fn gaps(
    session: &mut Session,
    view: coverage::View,
    scanner: i32,
    after: Position,
    limit: usize,
) -> Result<Vec<(Position, view::Gap)>, Error> {
    let (limit, gap) = (u32::try_from(limit).unwrap_or(u32::MAX), after.gap);
    match gap {
        Gap::Incomplete => {
            let kits = coverage::kits(session, view, NodeId(after.id), limit).await?;
            let ids: Vec<_> = kits.iter().map(|kit| kit.id).collect();
            let mut places = coverage::places_of_kits(session, view, &ids).await?;
            let row = |kit: coverage::Kit| {
                let (first, more_places) = shown(places.remove(&kit.id).unwrap_or_default());
                let since = Some(time(kit.since));
                let row =
                    view::Gap { digest: kit.digest.to_string(), reason: kit.problem, since, ..empty(gap.as_str()) };
                (Position { id: kit.id.0, ..after }, view::Gap { places: first, more_places, ..row })
            };
            Ok(kits.into_iter().map(row).collect())
        }
        Gap::Unresolved => {
            let references = coverage::references(session, view, ReferenceId(after.id), limit).await?;
            let row = |reference: coverage::Reference| {
                let row = view::Gap {
                    digest: reference.place.digest.to_string(),
                    reference: Some(reference.declared),
                    since: Some(time(reference.since)),
                    places: vec![place(reference.place)],
                    ..empty(gap.as_str())
                };
                (Position { id: reference.id.0, ..after }, row)
            };
            Ok(references.into_iter().map(row).collect())
        }
        Gap::Unread => {
            let claims = coverage::claims(session, view, ClaimId(after.id), limit).await?;
            let row = |claim: coverage::Claim| {
                let digest = claim.statement.or(claim.place.as_ref().map(|place| place.digest));
                let row = view::Gap {
                    digest: digest.map(|digest| digest.to_string()).unwrap_or_default(),
                    claim: Some(claim.id.0),
                    reason: claim.problem,
                    since: Some(time(claim.since)),
                    places: claim.place.into_iter().map(place).collect(),
                    ..empty(gap.as_str())
                };
                (Position { id: claim.id.0, ..after }, row)
            };
            Ok(claims.into_iter().map(row).collect())
        }
        Gap::Pending | Gap::Partial | Gap::Opaque | Gap::Failed | Gap::Purged | Gap::Outdated => {
            let layers = match gap.layer_state() {
                Some(state) => coverage::layers(session, view, state, LayerId(after.id), limit).await?,
                None => {
                    let after = (after.scanner, LayerId(after.id));
                    coverage::outdated(session, view, scanner, after, limit).await?
                }
            };
            let ids: Vec<_> = layers.iter().map(|layer| layer.id).collect();
            let mut places = coverage::places_of_layers(session, view, &ids).await?;
            let row = |layer: coverage::Layer| {
                let (first, more_places) = shown(places.remove(&layer.id).unwrap_or_default());
                let position = Position { gap, scanner: layer.scanner.unwrap_or(i32::MIN), id: layer.id.0 };
                (position, view::Gap { places: first, more_places, ..layer_row(layer, scanner) })
            };
            Ok(layers.into_iter().map(row).collect())
        }
    }
}

fn layer_row(layer: coverage::Layer, scanner: i32) -> view::Gap {
    let is_outdated = layer.scanner.is_some_and(|by| by < scanner);
    let (job, scanned_at) = (layer.job, layer.scanned_at);
    let last_try = job.as_ref().and_then(|job| job.reason.clone());
    view::Gap {
        state: layer.state.as_str(),
        digest: layer.digest.to_string(),
        size: Some(layer.size),
        outdated: is_outdated,
        scanner: layer.scanner,
        // Of what an older scanner saw wholly, why a newer one has not seen it yet.
        reason: layer.reason.or(last_try),
        since: scanned_at.or(job.as_ref().map(|job| job.since)).map(time),
        attempts: job.as_ref().map(|job| job.attempts),
        next_try: job.and_then(|job| job.run_at).map(time),
        ..empty("")
    }
}

const fn empty(state: &'static str) -> view::Gap {
    view::Gap {
        state,
        digest: String::new(),
        size: None,
        reference: None,
        claim: None,
        outdated: false,
        scanner: None,
        reason: None,
        since: None,
        attempts: None,
        next_try: None,
        places: Vec::new(),
        more_places: 0,
    }
}

fn shown(places: coverage::Places) -> (Vec<view::Place>, u64) {
    let more = places.all.saturating_sub(places.first.len() as u64);
    (places.first.into_iter().map(place).collect(), more)
}

fn place(place: coverage::Place) -> view::Place {
    let coverage::Place { repository, digest, tag, is_deleted } = place;
    view::Place { repository: repository.to_string(), digest: digest.to_string(), tag, deleted: is_deleted }
}

impl fmt::Display for Position {
    /// As cursors are written.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}~{}~{}", self.gap.as_str(), self.scanner, self.id)
    }
}

impl FromStr for Position {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        let parts: Vec<_> = text.split('~').collect();
        let [gap, scanner, id] = parts[..] else { return Err(bad_cursor()) };
        let gap = gap.parse().map_err(|_| bad_cursor())?;
        let (scanner, id) = (scanner.parse().map_err(|_| bad_cursor())?, id.parse().map_err(|_| bad_cursor())?);
        Ok(Self { gap, scanner, id })
    }
}
