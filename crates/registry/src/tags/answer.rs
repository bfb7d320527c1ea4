//! Answers about tags, as they are written.

use index::{Act, tag};
use serde::Serialize;
use utoipa::ToSchema;

use crate::kits::time;

/// What a tag names.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct Tagged {
    /// The repository.
    pub repository: String,
    /// The tag.
    pub tag: String,
    /// The moment that was asked about (RFC 3339); nothing for now.
    pub as_of: Option<String>,
    /// What it names, and how that came.
    #[serde(flatten)]
    pub stage: Stage,
}

/// What a tag names, and how that came.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct Stage {
    /// The manifest.
    pub digest: String,
    /// The name in its Kitfile.
    pub name: Option<String>,
    /// The version in its Kitfile.
    pub version: Option<String>,
    /// Since when (RFC 3339). Naming the same again changes nothing.
    pub since: String,
    /// Who had the tag name it.
    pub by: String,
    /// What kind of act that was: `push`, `promote` or `rollback`.
    pub act: &'static str,
    /// Why, if anybody said.
    pub reason: Option<String>,
}

/// The life of a tag.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct History {
    /// The repository.
    pub repository: String,
    /// The tag.
    pub tag: String,
    /// Its events, the newest first.
    pub events: Vec<TagEvent>,
    /// The cursor of the next page, if there is one.
    pub next: Option<String>,
}

/// An event in the life of a tag.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct TagEvent {
    /// `moved`, `deleted`, or `refused`: then the tag stayed as it was.
    pub event: &'static str,
    /// What kind of act it was: `push`, `promote`, `rollback` or `delete`.
    pub act: &'static str,
    /// When (RFC 3339), by the registry's clock; each time that a tag is moved or deleted is later than the one before it.
    pub at: String,
    /// What the tag named before, if it existed; not said of what was refused.
    pub from: Option<String>,
    /// What it named from then on, unless it was deleted, or was to name, had it not been refused.
    pub to: Option<String>,
    /// Who did it, or wanted to.
    pub actor: String,
    /// Why, if anybody said; of what was refused why that was, too.
    pub reason: Option<String>,
}

/// What a promotion or a rollback did.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct Moved {
    /// The repository.
    pub repository: String,
    /// The tag.
    pub tag: String,
    /// The event that it is now part of its history.
    #[serde(flatten)]
    pub event: TagEvent,
}

/// What stands at which stage.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct Stages {
    /// The moment that the answer is about (RFC 3339).
    pub as_of: String,
    /// The tags that are stages here.
    pub stages: Vec<String>,
    /// Those of them that name something, by repository and tag.
    pub tags: Vec<Staged>,
    /// The cursor of the next page, if there is one.
    pub next: Option<String>,
}

/// A tag that is a stage, and what stands there.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct Staged {
    /// The repository.
    pub repository: String,
    /// The tag.
    pub tag: String,
    /// What it names, and how that came.
    #[serde(flatten)]
    pub stage: Stage,
}

pub(super) fn event(event: tag::Event) -> TagEvent {
    TagEvent {
        event: if event.to.is_some() { "moved" } else { "deleted" },
        act: event.act.as_str(),
        at: time(event.at),
        from: event.from.map(|digest| digest.to_string()),
        to: event.to.map(|digest| digest.to_string()),
        actor: event.actor,
        reason: event.reason,
    }
}

pub(super) fn refusal(refusal: tag::Refusal) -> TagEvent {
    TagEvent {
        event: "refused",
        act: Act::Promote.as_str(),
        at: time(refusal.place.at),
        from: None,
        to: refusal.to.map(|digest| digest.to_string()),
        actor: refusal.actor,
        reason: refusal.reason,
    }
}

pub(super) fn stage(standing: tag::Standing) -> Staged {
    Staged {
        repository: standing.repository.to_string(),
        tag: standing.tag,
        stage: Stage {
            digest: standing.digest.to_string(),
            name: standing.name,
            version: standing.version,
            since: time(standing.since),
            by: standing.actor,
            act: standing.act.as_str(),
            reason: standing.reason,
        },
    }
}
