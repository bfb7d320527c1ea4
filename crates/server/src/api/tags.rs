//! The calls about tags through time, and those that move one.

use axum::{
    Json,
    body::Bytes,
    extract::{
        Path, RawQuery, State,
        rejection::{BytesRejection, PathRejection},
    },
    http::HeaderMap,
    response::{IntoResponse, Response},
};
use oci::{Digest, Name, Reference, Tag};
use registry::{Ctx, History, Moved, Promote, Rollback, RollbackTarget, Stages, StagesQuestion, TagCondition, Tagged};
use serde::{Deserialize, Deserializer, de::DeserializeOwned};
use serde_json::{Map, Value};

use super::{Problem, Query, as_of_kind, moment, question, whole};
use crate::app::App;

/// What a tag names, since when and by whom.
///
/// Of a tag that was deleted, 404 says when and by whom.
#[utoipa::path(
    get, tag = "tags", path = "/api/v1/repositories/{name}/-/tags/{tag}",
    params(
        ("name" = String, Path, description = "The repository's name, slashes and all"),
        ("tag" = String, Path, description = "The tag"),
        ("as_of" = Option<String>, Query, description = "As the registry was at this moment (RFC 3339)"),
        ("as_of_kind" = Option<String>, Query, description = "`recorded` or `occurred`, which are the same here: tags are moved and manifests pushed in the registry itself, so that it knows of it when it happens"),
    ),
    responses(
        (status = 200, description = "What it names", body = Tagged),
        (status = 400, description = "A parameter is wrong", body = Problem, content_type = "application/problem+json"),
        (status = 404, description = "There is no such tag, or was none then", body = Problem, content_type = "application/problem+json"),
    ),
)]
pub(super) async fn tag(app: &App, ctx: &Ctx, name: &Name, tag: &Tag, query: &Query) -> Result<Json<Tagged>, Problem> {
    query.only(&["as_of", "as_of_kind"])?;
    as_of_kind(query)?;
    let found = app.registry.tag(ctx, name, tag, moment(query, "as_of")?).await;
    found.map(Json).map_err(|e| Problem::from_error(e, &ctx.request_id))
}

/// Every event of a tag, the newest first: who moved it, when, from what, to what, and why.
///
/// Also of a tag that was deleted; what it named may be deleted too.
#[utoipa::path(
    get, tag = "tags", path = "/api/v1/repositories/{name}/-/tags/{tag}/history",
    params(
        ("name" = String, Path, description = "The repository's name, slashes and all"),
        ("tag" = String, Path, description = "The tag"),
        ("as_of" = Option<String>, Query, description = "Only what had happened at this moment (RFC 3339)"),
        ("as_of_kind" = Option<String>, Query, description = "`recorded` or `occurred`, which are the same here: tags are moved and manifests pushed in the registry itself, so that it knows of it when it happens"),
        ("limit" = Option<u16>, Query, minimum = 1, maximum = 1000, description = "Events on a page; 100 if it is not said"),
        ("cursor" = Option<String>, Query, description = "The `next` of the page before"),
    ),
    responses(
        (status = 200, description = "A page of events", body = History),
        (status = 400, description = "A parameter is wrong", body = Problem, content_type = "application/problem+json"),
        (status = 404, description = "There never was such a tag", body = Problem, content_type = "application/problem+json"),
    ),
)]
pub(super) async fn history(
    app: &App,
    ctx: &Ctx,
    name: &Name,
    tag: &Tag,
    query: &Query,
) -> Result<Json<History>, Problem> {
    query.only(&["as_of", "as_of_kind", "limit", "cursor"])?;
    as_of_kind(query)?;
    let limit = u32::try_from(query.limit()?).unwrap_or(u32::MAX);
    let found = app.registry.tag_history(ctx, name, tag, moment(query, "as_of")?, query.get("cursor"), limit).await;
    found.map(Json).map_err(|e| Problem::from_error(e, &ctx.request_id))
}

/// What stands at which stage, such as `champion`: the operator says which tags are stages.
#[utoipa::path(
    get, tag = "tags", path = "/api/v1/stages",
    params(
        ("as_of" = Option<String>, Query, description = "As the registry was at this moment (RFC 3339)"),
        ("as_of_kind" = Option<String>, Query, description = "`recorded` or `occurred`, which are the same here: tags are moved and manifests pushed in the registry itself, so that it knows of it when it happens"),
        ("repository" = Option<String>, Query, description = "Only in this repository"),
        ("limit" = Option<u16>, Query, minimum = 1, maximum = 1000, description = "Tags on a page; 100 if it is not said"),
        ("cursor" = Option<String>, Query, description = "The `next` of the page before; it pins `as_of`"),
    ),
    responses(
        (status = 200, description = "A page of tags", body = Stages),
        (status = 400, description = "A parameter is wrong", body = Problem, content_type = "application/problem+json"),
        (status = 404, description = "There is no such repository", body = Problem, content_type = "application/problem+json"),
    ),
)]
pub(super) async fn stages(
    State(app): State<App>,
    headers: HeaderMap,
    RawQuery(query): RawQuery,
) -> Result<Json<Stages>, Problem> {
    let ctx = app.context(&headers);
    let query = Query::read(query.as_deref())?;
    query.only(&["as_of", "as_of_kind", "repository", "limit", "cursor"])?;
    as_of_kind(&query)?;
    let repository = query.get("repository").map(str::parse::<Name>).transpose();
    let question = StagesQuestion {
        stages: app.promotions.stages.clone(),
        as_of: moment(&query, "as_of")?,
        repository: repository.map_err(|e| Problem::new(400, format!("parameter repository: {e}")))?,
        limit: u32::try_from(query.limit()?).unwrap_or(u32::MAX),
        cursor: query.get("cursor").map(str::to_owned),
    };
    app.registry.stages(&ctx, &question).await.map(Json).map_err(|e| Problem::from_error(e, &ctx.request_id))
}

/// A promotion.
#[derive(Debug, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct PromoteRequest {
    /// What the tag is to name: another tag of the repository, or the digest of a manifest in it.
    from: String,
    /// Why; it is kept.
    reason: String,
    /// Only if the tag names this digest now; `null`: only if it does not exist. Left out, whatever it names.
    #[serde(default, deserialize_with = "given")]
    if_digest: Option<Option<String>>,
}

/// A rollback. It says `to` or `last_good`.
#[derive(Debug, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct RollbackRequest {
    /// Back to this, which the tag named before: another tag of the repository, or a digest.
    to: Option<String>,
    /// Back to the newest earlier version that is whole, differs from now, was never left by a rollback and is not affected by
    /// `unaffected_by`.
    #[serde(default)]
    last_good: bool,
    /// Why; it is kept.
    reason: String,
    /// Only if the tag names this digest now; `null`: only if it does not exist. Left out, whatever it names.
    #[serde(default, deserialize_with = "given")]
    if_digest: Option<Option<String>>,
    /// Not to what this affects: the members are the parameters of `GET /api/v1/impact` (`file`, `layer`, `external` or `ref` with `dataset`;
    /// `grade`, `rung`, `min_overlap`, `wait`).
    #[schema(value_type = Option<Object>)]
    unaffected_by: Option<Map<String, Value>>,
    /// Even if the answer to that is not exact.
    #[serde(default)]
    force: bool,
}

/// Has a tag name what another one names, or a manifest, for a reason.
///
/// The tag is moved only if it still names what it did when the request came. What was deleted is refused.
#[utoipa::path(
    post, tag = "tags", path = "/api/v1/repositories/{name}/-/tags/{tag}/promote",
    params(
        ("name" = String, Path, description = "The repository's name, slashes and all"),
        ("tag" = String, Path, description = "The tag"),
    ),
    request_body = PromoteRequest,
    responses(
        (status = 200, description = "The tag was moved", body = Moved),
        (status = 400, description = "The request is none", body = Problem, content_type = "application/problem+json"),
        (status = 403, description = "The caller may not do that", body = Problem, content_type = "application/problem+json"),
        (status = 404, description = "There is no such repository, tag or manifest", body = Problem, content_type = "application/problem+json"),
        (status = 409, description = "The tag stays: it names something else by now, its target is gone, or a check failed", body = Problem, content_type = "application/problem+json"),
    ),
)]
async fn promote(app: &App, ctx: &Ctx, repository: Name, tag: Tag, body: &[u8]) -> Result<Json<Moved>, Problem> {
    let asked: PromoteRequest = read(body)?;
    let failed = |e| Problem::from_error(e, &ctx.request_id);
    let promote = Promote {
        repository,
        tag,
        from: target("from", &asked.from)?,
        reason: asked.reason,
        if_digest: condition(asked.if_digest)?,
        required: app.promotions.grade,
    };
    let proposed = app.registry.propose(ctx, &promote).await.map_err(failed)?;
    if let Some(check) = &app.promotions.check
        && let Err(why) = check.ask(&proposed, &ctx.actor).await
    {
        app.registry.refuse(ctx, &proposed, &why).await.map_err(failed)?;
        return Err(Problem::new(409, format!("{} stays: {why}", proposed.tag)));
    }
    app.registry.promote(ctx, &proposed).await.map(Json).map_err(failed)
}

/// Has a tag name again what it named before, for a reason.
///
/// The tag is moved only if nobody moved it since the request came.
#[utoipa::path(
    post, tag = "tags", path = "/api/v1/repositories/{name}/-/tags/{tag}/rollback",
    params(
        ("name" = String, Path, description = "The repository's name, slashes and all"),
        ("tag" = String, Path, description = "The tag"),
    ),
    request_body = RollbackRequest,
    responses(
        (status = 200, description = "The tag was moved", body = Moved),
        (status = 400, description = "The request is none", body = Problem, content_type = "application/problem+json"),
        (status = 403, description = "The caller may not do that", body = Problem, content_type = "application/problem+json"),
        (status = 404, description = "There is no such repository, tag or manifest", body = Problem, content_type = "application/problem+json"),
        (status = 409, description = "The tag stays: there is nothing good to go back to, it is not known exactly what is affected, or the tag was moved meanwhile", body = Problem, content_type = "application/problem+json"),
    ),
)]
async fn rollback(app: &App, ctx: &Ctx, repository: Name, tag: Tag, body: &[u8]) -> Result<Json<Moved>, Problem> {
    let asked: RollbackRequest = read(body)?;
    let back = match (&asked.to, asked.last_good) {
        (Some(to), false) => RollbackTarget::To(target("to", to)?),
        (None, true) => RollbackTarget::LastGood,
        _ => return Err(Problem::new(400, "say what to go back to: either `to` or `last_good: true`")),
    };
    let rollback = Rollback {
        repository,
        tag,
        target: back,
        reason: asked.reason,
        if_digest: condition(asked.if_digest)?,
        unaffected_by: asked.unaffected_by.map(unaffected_by).transpose()?,
        force: asked.force,
    };
    let moved = app.registry.rollback(ctx, &rollback).await;
    moved.map(Json).map_err(|e| Problem::from_error(e, &ctx.request_id))
}

/// The calls inside one repository that change something.
pub(super) async fn in_repository(
    State(app): State<App>,
    headers: HeaderMap,
    path: Result<Path<String>, PathRejection>,
    RawQuery(query): RawQuery,
    body: Result<Bytes, BytesRejection>,
) -> Result<Response, Problem> {
    let Path(rest) = path.map_err(|e| Problem::new(400, format!("the path: {}", e.body_text())))?;
    let ctx = app.context(&headers);
    Query::read(query.as_deref())?.only(&[])?;
    let body = whole(body)?;
    let (name, call) = super::repository_call(&rest)?;
    let unknown = || {
        Problem::new(
            405,
            "what is posted here is …/{name}/-/tags/{tag}/promote or …/rollback; other calls are only read: use GET",
        )
    };
    let (tag, act) = call.strip_prefix("tags/").and_then(|call| call.split_once('/')).ok_or_else(unknown)?;
    match act {
        "promote" => promote(&app, &ctx, name, read_tag(tag)?, &body).await.map(IntoResponse::into_response),
        "rollback" => rollback(&app, &ctx, name, read_tag(tag)?, &body).await.map(IntoResponse::into_response),
        _ => Err(unknown()),
    }
}

pub(super) fn read_tag(text: &str) -> Result<Tag, Problem> {
    text.parse().map_err(|e| Problem::new(400, format!("tag {text:?}: {e}")))
}

fn read<T: DeserializeOwned>(body: &[u8]) -> Result<T, Problem> {
    serde_json::from_slice(body).map_err(|e| Problem::new(400, format!("the body is no such request: {e}")))
}

fn target(member: &str, text: &str) -> Result<Reference, Problem> {
    // What holds a colon can only be meant as a digest, so the error speaks of digests.
    let parsed = match text.contains(':') {
        true => text.parse().map(Reference::Digest).map_err(|e| e.to_string()),
        false => text.parse().map(Reference::Tag).map_err(|e: oci::NameError| e.to_string()),
    };
    parsed.map_err(|why| Problem::new(400, format!("{member}: {text:?}: {why}")))
}

/// A member that is there, whatever its value: `null` says something too.
fn given<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Option<String>>, D::Error> {
    Option::deserialize(deserializer).map(Some)
}

fn condition(if_digest: Option<Option<String>>) -> Result<TagCondition, Problem> {
    match if_digest {
        None => Ok(TagCondition::Any),
        Some(None) => Ok(TagCondition::Absent),
        Some(Some(text)) if text.is_empty() => Ok(TagCondition::Absent),
        Some(Some(text)) => {
            let digest = text.parse::<Digest>();
            digest.map(TagCondition::Names).map_err(|e| Problem::new(400, format!("if_digest: {text:?}: {e}")))
        }
    }
}

fn unaffected_by(members: Map<String, Value>) -> Result<registry::Question, Problem> {
    let pair = |(name, value): (String, Value)| match value {
        Value::String(text) => Ok((name, text)),
        Value::Number(number) => Ok((name, number.to_string())),
        _ => Err(Problem::new(400, format!("unaffected_by.{name}: write a text or a number"))),
    };
    let query = Query(members.into_iter().map(pair).collect::<Result<_, _>>()?);
    let inside = |problem: Problem| Problem::new(problem.status, format!("unaffected_by: {}", problem.detail));
    // A question of now, answered whole.
    query
        .only(&["file", "layer", "ref", "external", "dataset", "grade", "rung", "min_overlap", "wait"])
        .map_err(inside)?;
    question(&query).map_err(inside)
}
