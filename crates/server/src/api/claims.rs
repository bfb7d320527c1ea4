//! Claims: what was said about artifacts, what people assert, and what is retracted.

use axum::{
    Json,
    body::Bytes,
    extract::{Path, RawQuery, State, rejection::BytesRejection},
    http::{HeaderMap, StatusCode, header::CONTENT_TYPE},
    response::{IntoResponse, Response},
};
use registry::{Assertion, ClaimTold, Claims, Ctx};
use serde::{Deserialize, de::DeserializeOwned};

use super::{Problem, Query, artifact, micros, no_moment, whole};
use crate::app::App;

/// That an artifact was made from something else.
#[derive(Debug, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Asserted {
    /// What was made: `repository:tag` or `repository@digest`.
    subject: String,
    /// How: `trained_on`, `tested_on`, `derived_from`, `built_from`, `depends_on`.
    relation: String,
    /// From what: `repository:tag` or `repository@digest`, a digest, or an identity such as `hf://org/name@commit`.
    target: String,
    /// When that was (RFC 3339).
    occurred_at: Option<String>,
}

/// Why a claim is retracted.
#[derive(Debug, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Why {
    /// In words, for whoever asks later.
    reason: String,
}

/// The longest reason in bytes.
const REASON: usize = 4096;

/// The claims about an artifact, or by which it was made from something, the latest first.
#[utoipa::path(
    get, tag = "lineage", path = "/api/v1/claims",
    params(
        ("ref" = String, Query, description = "An artifact: `repository:tag` or `repository@digest`"),
        ("limit" = Option<u16>, Query, minimum = 1, maximum = 1000, description = "Claims on a page; 100 if it is not said"),
        ("cursor" = Option<String>, Query, description = "The `next` of the page before"),
    ),
    responses(
        (status = 200, description = "A page of claims", body = Claims),
        (status = 400, description = "The question is none", body = Problem, content_type = "application/problem+json"),
        (status = 404, description = "There is no such artifact", body = Problem, content_type = "application/problem+json"),
    ),
)]
pub(super) async fn claims(
    State(app): State<App>,
    headers: HeaderMap,
    RawQuery(query): RawQuery,
) -> Result<Json<Claims>, Problem> {
    let ctx = app.context(&headers);
    let query = Query::read(query.as_deref())?;
    query.only(&["ref", "limit", "cursor"])?;
    let of = subject("ref", query.get("ref").unwrap_or_default())?;
    let found = app.registry.claims(&ctx, &of, query.get("cursor"), query.limit()?).await;
    found.map(Json).map_err(|e| Problem::from_error(e, &ctx.request_id))
}

/// Asserts that an artifact was made from something else.
#[utoipa::path(
    post, tag = "lineage", path = "/api/v1/claims",
    request_body = Asserted,
    responses(
        (status = 201, description = "It is recorded", body = ClaimTold),
        (status = 400, description = "It is no assertion", body = Problem, content_type = "application/problem+json"),
        (status = 404, description = "There is no such artifact", body = Problem, content_type = "application/problem+json"),
    ),
)]
pub(super) async fn assert(
    State(app): State<App>,
    headers: HeaderMap,
    body: Result<Bytes, BytesRejection>,
) -> Result<(StatusCode, Json<ClaimTold>), Problem> {
    let ctx = app.context(&headers);
    let asserted: Asserted = read(body)?;
    let (repository, reference) = subject("subject", &asserted.subject)?;
    let occurred_at =
        asserted.occurred_at.map(|text| micros(&text).ok_or_else(|| no_moment(&format!("occurred_at {text:?}"))));
    let (relation, target, occurred_at) = (asserted.relation, asserted.target, occurred_at.transpose()?);
    let assertion = Assertion { repository, reference, relation, target, occurred_at };
    let told = app.registry.assert(&ctx, &assertion).await;
    told.map(|told| (StatusCode::CREATED, Json(told))).map_err(|e| Problem::from_error(e, &ctx.request_id))
}

/// One claim.
#[utoipa::path(
    get, tag = "lineage", path = "/api/v1/claims/{id}",
    params(("id" = i64, Path, description = "Its number")),
    responses(
        (status = 200, description = "What there is to tell", body = ClaimTold),
        (status = 404, description = "There is no such claim", body = Problem, content_type = "application/problem+json"),
    ),
)]
pub(super) async fn claim(
    State(app): State<App>,
    headers: HeaderMap,
    Path(id): Path<String>,
) -> Result<Json<ClaimTold>, Problem> {
    let ctx = app.context(&headers);
    let told = app.registry.claim(&ctx, number(&id)?).await;
    told.map(Json).map_err(|e| Problem::from_error(e, &ctx.request_id))
}

/// The statement of a claim, byte for byte as it was sent.
#[utoipa::path(
    get, tag = "lineage", path = "/api/v1/claims/{id}/statement",
    params(("id" = i64, Path, description = "The number of the claim")),
    responses(
        (status = 200, description = "Its bytes, in its media type", content_type = "application/octet-stream"),
        (status = 404, description = "There is no such claim, or it has no statement", body = Problem, content_type = "application/problem+json"),
    ),
)]
pub(super) async fn statement(
    State(app): State<App>,
    headers: HeaderMap,
    Path(id): Path<String>,
) -> Result<Response, Problem> {
    let ctx: Ctx = app.context(&headers);
    let found = app.registry.statement(&ctx, number(&id)?).await;
    let (media_type, bytes) = found.map_err(|e| Problem::from_error(e, &ctx.request_id))?;
    // Whoever pushed it chose the type: as text it can do nothing in a browser.
    let is_json = media_type.ends_with("+json") || media_type == "application/json";
    let media_type = if is_json { "application/json" } else { "application/octet-stream" };
    Ok(([(CONTENT_TYPE, media_type)], bytes).into_response())
}

/// Retracts a claim: from now on, nothing that it said counts. What is asked as of a moment before stays as it was.
#[utoipa::path(
    post, tag = "lineage", path = "/api/v1/claims/{id}/retract",
    params(("id" = i64, Path, description = "The number of the claim")),
    request_body = Why,
    responses(
        (status = 200, description = "It is retracted", body = ClaimTold),
        (status = 404, description = "There is no such claim", body = Problem, content_type = "application/problem+json"),
        (status = 409, description = "It was retracted before", body = Problem, content_type = "application/problem+json"),
    ),
)]
pub(super) async fn retract(
    State(app): State<App>,
    headers: HeaderMap,
    Path(id): Path<String>,
    body: Result<Bytes, BytesRejection>,
) -> Result<Json<ClaimTold>, Problem> {
    let ctx = app.context(&headers);
    let why: Why = read(body)?;
    if why.reason.trim().is_empty() || why.reason.len() > REASON {
        return Err(Problem::new(400, format!("reason: say why, in at most {REASON} bytes")));
    }
    let told = app.registry.retract(&ctx, number(&id)?, &why.reason).await;
    told.map(Json).map_err(|e| Problem::from_error(e, &ctx.request_id))
}

fn number(id: &str) -> Result<i64, Problem> {
    id.parse().map_err(|_| Problem::new(404, format!("there is no claim {id:?}: claims have numbers")))
}

fn subject(name: &str, text: &str) -> Result<(oci::Name, oci::Reference), Problem> {
    artifact(text)
        .ok_or_else(|| Problem::new(400, format!("{name} {text:?}: write repository:tag or repository@digest")))
}

fn read<T: DeserializeOwned>(body: Result<Bytes, BytesRejection>) -> Result<T, Problem> {
    serde_json::from_slice(&whole(body)?).map_err(|e| Problem::new(400, format!("the body: {e}")))
}
