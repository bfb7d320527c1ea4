//! `/api/v1/pulls`: who pulled what.

use axum::{
    Json,
    extract::{RawQuery, State},
    http::HeaderMap,
};
use registry::{Pulls, PullsQuestion};

use super::{Problem, Query, artifact, audit::parsed, moment};
use crate::app::App;

/// Who pulled what, the newest first: manifests and blobs that were asked for with GET and answered, from here or with an
/// address in the store.
///
/// What one client pulls of one digest in a repository without pausing for a minute is told as one, the ranges of a blob too.
/// A pull is known a second later, and as long as the operator wants (`pulls_days`).
#[utoipa::path(
    get, tag = "questions", path = "/api/v1/pulls",
    params(
        ("ref" = Option<String>, Query, description = "Those of a manifest in its repository: `repository:tag`, which is what the tag names now, or `repository@digest`"),
        ("digest" = Option<String>, Query, description = "Those of a manifest or a blob, wherever it is"),
        ("repository" = Option<String>, Query, description = "Those from this repository"),
        ("actor" = Option<String>, Query, description = "Those by this account"),
        ("since" = Option<String>, Query, description = "Those that went on at this moment or later (RFC 3339)"),
        ("until" = Option<String>, Query, description = "Those that began before this moment (RFC 3339)"),
        ("limit" = Option<u16>, Query, minimum = 1, maximum = 1000, description = "Pulls on a page; 100 if it is not said"),
        ("cursor" = Option<String>, Query, description = "The `next` of the page before"),
    ),
    responses(
        (status = 200, description = "A page of pulls", body = Pulls),
        (status = 400, description = "A parameter is wrong", body = Problem, content_type = "application/problem+json"),
        (status = 404, description = "There is no such artifact or repository", body = Problem, content_type = "application/problem+json"),
    ),
)]
pub(super) async fn pulls(
    State(app): State<App>,
    headers: HeaderMap,
    RawQuery(query): RawQuery,
) -> Result<Json<Pulls>, Problem> {
    let ctx = app.context(&headers);
    let query = Query::read(query.as_deref())?;
    query.only(&["ref", "digest", "repository", "actor", "since", "until", "limit", "cursor"])?;
    let named = query.get("ref").map(|text| {
        let why = || Problem::new(400, format!("parameter ref={text}: write repository:tag or repository@digest"));
        artifact(text).ok_or_else(why)
    });
    if named.is_some() && (query.get("digest").is_some() || query.get("repository").is_some()) {
        return Err(Problem::new(400, "parameter ref names a digest and a repository; leave out the others"));
    }
    let question = PullsQuestion {
        artifact: named.transpose()?,
        digest: parsed(&query, "digest")?,
        repository: parsed(&query, "repository")?,
        actor: query.get("actor").map(str::to_owned),
        since: moment(&query, "since")?,
        until: moment(&query, "until")?,
        limit: query.limit()?,
        cursor: query.get("cursor").map(str::to_owned),
    };
    app.registry.pulls(&ctx, &question).await.map(Json).map_err(|e| Problem::from_error(e, &ctx.request_id))
}
