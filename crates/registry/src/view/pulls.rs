//! Pulls, as they are answered.

use serde::Serialize;
use utoipa::ToSchema;

/// What one client pulled of one thing without pausing for a minute, for an hour at most.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct Pull {
    /// Who: the account, or `anonymous`.
    pub by: String,
    /// What the client calls itself, cut after 256 bytes.
    pub client: String,
    /// The client's address.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub address: Option<String>,
    /// The tag by which the manifest was asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tag: Option<String>,
    /// When it began (RFC 3339).
    pub at: String,
    /// When the last request came.
    pub last_at: String,
    /// How many requests there were; the ranges of a blob are one each.
    pub count: u64,
}

/// A pull, and what was pulled.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct PullOf {
    /// From where.
    pub repository: String,
    /// What.
    pub digest: String,
    /// `manifest` or `blob`.
    pub kind: &'static str,
    /// Whether the client was sent to the store for the bytes; whether it went there is not known.
    pub redirected: bool,
    /// Who, and when.
    #[serde(flatten)]
    pub pull: Pull,
}

/// A page of pulls.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct Pulls {
    /// The newest first.
    pub pulls: Vec<PullOf>,
    /// The cursor of the next page, if there is one.
    pub next: Option<String>,
}
