//! `/api/v1/audit`: who did what.

use std::{fmt::Display, str::FromStr, sync::Arc};

use axum::{
    Json,
    body::Body,
    extract::{RawQuery, State},
    http::{HeaderMap, header::CONTENT_TYPE},
    response::{IntoResponse, Response},
};
use futures_util::stream;
use registry::{Audit, AuditLines, AuditQuestion, Error, Registry};
use serde_json::json;

use super::{LINES, Problem, Query, moment, wants_lines};
use crate::app::App;

/// What was done, by whom, when and in which request, the newest first: pushes, deletions, mounts, what the collector deleted,
/// and every other change.
///
/// To `Accept: application/x-ndjson` all that is asked for is answered at once, the oldest first, without pages: a line for
/// each record, and a last line `{"records":0}` with their number, without which the answer is not whole.
#[utoipa::path(
    get, tag = "questions", path = "/api/v1/audit",
    params(
        ("actor" = Option<String>, Query, description = "Records of this account, or of an operator's command such as `gc`"),
        ("action" = Option<String>, Query, description = "Records of this action, such as `manifest.push`, `manifest.delete`, `tag.delete`, `blob.push`, `blob.mount`, `blob.delete`, `gc.blob`, `gc.run`"),
        ("repository" = Option<String>, Query, description = "Records of this repository"),
        ("digest" = Option<String>, Query, description = "Records of this manifest or blob"),
        ("tag" = Option<String>, Query, description = "Records of this tag"),
        ("since" = Option<String>, Query, description = "From this moment on (RFC 3339)"),
        ("until" = Option<String>, Query, description = "Before this moment (RFC 3339)"),
        ("limit" = Option<u16>, Query, minimum = 1, maximum = 1000, description = "Records on a page; 100 if it is not said"),
        ("cursor" = Option<String>, Query, description = "The `next` of the page before"),
    ),
    responses(
        (status = 200, description = "A page of records", body = Audit),
        (status = 400, description = "A parameter is wrong", body = Problem, content_type = "application/problem+json"),
        (status = 404, description = "There is no such repository", body = Problem, content_type = "application/problem+json"),
    ),
)]
pub(super) async fn audit(
    State(app): State<App>,
    headers: HeaderMap,
    RawQuery(query): RawQuery,
) -> Result<Response, Problem> {
    let ctx = app.context(&headers);
    let query = Query::read(query.as_deref())?;
    query.only(&["actor", "action", "repository", "digest", "tag", "since", "until", "limit", "cursor"])?;
    let question = AuditQuestion {
        actor: query.get("actor").map(str::to_owned),
        action: query.get("action").map(str::to_owned),
        repository: parsed(&query, "repository")?,
        digest: parsed(&query, "digest")?,
        tag: parsed(&query, "tag")?,
        since: moment(&query, "since")?,
        until: moment(&query, "until")?,
        limit: query.limit()?,
        cursor: query.get("cursor").map(str::to_owned),
    };
    let failed = |e| Problem::from_error(e, &ctx.request_id);
    if wants_lines(&headers) {
        if query.get("cursor").is_some() || query.get("limit").is_some() {
            return Err(Problem::new(400, "a cursor and a limit go with pages; all records at once have none"));
        }
        let lines = app.registry.audit_lines(&ctx, &question).await.map_err(failed)?;
        return Ok(all(Arc::clone(&app.registry), lines, ctx.request_id));
    }
    Ok(Json(app.registry.audit(&ctx, &question).await.map_err(failed)?).into_response())
}

/// Sends the records as they are read. Where that fails, the answer is cut off: it has no last line.
fn all(registry: Arc<Registry>, lines: AuditLines, request_id: String) -> Response {
    let begin = Some((registry, lines, request_id, 0));
    let pieces = stream::try_unfold(begin, |going_on| async {
        let Some((registry, mut lines, request_id, before)) = going_on else { return Ok::<_, Error>(None) };
        let records = registry.more_audit(&mut lines).await.inspect_err(|error| {
            tracing::error!(request_id, %error, "an answer of audit records is cut off");
        })?;
        if records.is_empty() {
            return Ok(Some((format!("{}\n", json!({"records": before})), None)));
        }
        let piece: String = records.iter().map(|record| format!("{}\n", json!(record))).collect();
        let all = before + records.len();
        Ok(Some((piece, Some((registry, lines, request_id, all)))))
    });
    ([(CONTENT_TYPE, LINES)], Body::from_stream(pieces)).into_response()
}

/// A parameter that has a grammar.
pub(super) fn parsed<T: FromStr<Err: Display>>(query: &Query, name: &str) -> Result<Option<T>, Problem> {
    let read =
        |text: &str| text.parse().map_err(|error| Problem::new(400, format!("parameter {name}={text}: {error}")));
    query.get(name).map(read).transpose()
}
