//! `/api/v1`: questions about what is in the registry. JSON, errors as problem+json (RFC 9457).

mod audit;
mod claims;
mod events;
mod lineage;
mod openapi;
mod problem;
mod pulls;
mod tags;

use std::{collections::BTreeSet, convert::Infallible, fmt::Write as _, time::Duration};

use axum::{
    Json, Router,
    body::{Body, Bytes},
    extract::{
        DefaultBodyLimit, Path, RawQuery, Request, State,
        rejection::{BytesRejection, PathRejection},
    },
    http::{
        HeaderMap, Method,
        header::{self, ACCEPT, CONTENT_TYPE},
    },
    middleware::{self, Next},
    response::{IntoResponse, Response},
    routing::{get, post},
};
use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use oci::{Digest, Name, Reference};
use registry::{
    Affected, AsOfKind, Content, CoverageQuestion, Ctx, Error, Grade, Holder, Impact, Micros, Model, Part, Question,
    Rung, Search, Thing, Wanted,
};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use self::problem::Problem;
use crate::app::App;

/// The most rows of one page, and how many there are when nobody says.
const PAGE: usize = 1000;
const USUAL_PAGE: usize = 100;
/// The longest that a question waits for scans, in seconds.
const LONGEST_WAIT: u64 = 300;

/// The routes below `/api/v1`.
pub(crate) fn router() -> Router<App> {
    Router::new()
        .route("/impact", get(impact).post(impact_of_files).layer(DefaultBodyLimit::max(FILES_BYTES)))
        .route("/holders", get(holders))
        .route("/claims", get(claims::claims).post(claims::assert))
        .route("/claims/{id}", get(claims::claim))
        .route("/claims/{id}/statement", get(claims::statement))
        .route("/claims/{id}/retract", post(claims::retract))
        .route(
            "/lineage",
            get(lineage::lineage).post(events::event).layer(DefaultBodyLimit::max(registry::EVENT_LIMIT)),
        )
        .route("/lineage/batch", post(events::batch).layer(DefaultBodyLimit::max(events::BATCH_BYTES)))
        .route("/files", get(files))
        .route("/diff", get(diff))
        .route("/coverage", get(coverage))
        .route("/search", get(search))
        .route("/pulls", get(pulls::pulls))
        .route("/audit", get(audit::audit))
        .route("/repositories", get(repositories))
        .route("/repositories/{*rest}", get(in_repository).post(tags::in_repository))
        .route("/stages", get(tags::stages))
        .route("/openapi.json", get(|| async { Json(openapi::description()) }))
        .layer(middleware::from_fn(own_site))
        .method_not_allowed_fallback(|| async { Problem::new(405, "these calls are only read: use GET") })
        .fallback(|| async { Problem::new(404, "there is no such call; /api/v1/openapi.json lists them all") })
}

/// Lets nothing be posted by the pages of other sites: whoever opens one may be allowed to change things here without an account.
async fn own_site(request: Request, next: Next) -> Response {
    let origin = request.headers().get(header::ORIGIN);
    let is_own = origin.is_none_or(|origin| {
        let host = request.headers().get(header::HOST).and_then(|host| host.to_str().ok());
        let host = host.or(request.uri().authority().map(|authority| authority.as_str()));
        let site = origin.to_str().ok().and_then(|origin| origin.split_once("://")).map(|(_, site)| site);
        site.is_some() && site == host
    });
    match request.method() == Method::POST && !is_own {
        true => Problem::new(403, "a page of another site may not post anything here").into_response(),
        false => next.run(request).await,
    }
}

/// Which models are affected by content, directly and through what they derive from, and who else holds it.
///
/// Ask about one of `file`, `layer`, `ref` and `external`. Content that nobody has is an empty answer, not an error.
///
/// To `Accept: application/x-ndjson` all models are answered at once, without pages: a line with the question and what the
/// answer could know, then a line `{"digest":"…","distance":0}` for each model, in no order, and a last line with their number,
/// without which the answer is not whole. With `full=true` each model's line tells all that a page does.
#[utoipa::path(
    get, tag = "questions", path = "/api/v1/impact",
    params(
        ("file" = Option<String>, Query, description = "A file, by its SHA-256: `sha256:` and 64 hexadecimal digits"),
        ("layer" = Option<String>, Query, description = "A layer, by its digest"),
        ("ref" = Option<String>, Query, description = "An artifact: `repository:tag` or `repository@digest`"),
        ("external" = Option<String>, Query, description = "Something in no registry, by its identity: `hf://…@commit`, `s3://…?versionId=…`, `git+https://…@commit`, …; also a file by the name that others have for it: `dvc:md5:…` (known of what was scanned with `scan_md5`), `lfs:sha256:…`"),
        ("dataset" = Option<String>, Query, description = "With `ref`: only the dataset of this name"),
        ("as_of" = Option<String>, Query, description = "As of this moment (RFC 3339)"),
        ("as_of_kind" = Option<String>, Query, description = "`recorded`, if it is not said: as the registry knew it at that moment; `occurred`: what had happened by then by the producers' word, as far as it is known now. Content is held from its push on, by either"),
        ("grade" = Option<String>, Query, description = "Only models with a path wholly at or above it: `attested`, `declared`, `packaged`, `matched`"),
        ("rung" = Option<String>, Query, description = "Only what is the same in this way: `layer`, `tar`, `tree`, `contents`, `file`, `overlap`"),
        ("min_overlap" = Option<f64>, Query, description = "The smallest share of the asked-for files that is an overlap, from 0 to 1; 0.5 if it is not said"),
        ("matched" = Option<bool>, Query, description = "Whether to tell of models that nobody says are affected and that have weights of one that is, are its adapters, or the base of one that is an adapter; if one page holds all models"),
        ("wait" = Option<u64>, Query, description = "Seconds to wait for layers that are still to be scanned, at most 300"),
        ("pulls" = Option<bool>, Query, description = "`true` tells of each model who pulled its manifest until then; a pull is known a second later"),
        ("full" = Option<bool>, Query, description = "`true`, to `application/x-ndjson`: each line tells of its model what a page does"),
        ("limit" = Option<u16>, Query, minimum = 1, maximum = 1000, description = "Models on a page; 100 if it is not said"),
        ("cursor" = Option<String>, Query, description = "The `next` of the page before; it pins `as_of`"),
    ),
    responses(
        (status = 200, description = "Who is affected", body = Impact),
        (status = 400, description = "The question is none", body = Problem, content_type = "application/problem+json"),
        (status = 404, description = "There is no such artifact, or no such dataset in it", body = Problem, content_type = "application/problem+json"),
    ),
)]
async fn impact(State(app): State<App>, headers: HeaderMap, RawQuery(query): RawQuery) -> Result<Response, Problem> {
    let ctx = app.context(&headers);
    let query = Query::read(query.as_deref())?;
    answer(&app, &ctx, &headers, &question(&query)?, flag(&query, "full")?).await
}

/// What a question about impact may say besides what it is about.
const OF_IMPACT: &[&str] =
    &["as_of", "as_of_kind", "grade", "rung", "min_overlap", "matched", "wait", "pulls", "full", "limit", "cursor"];

async fn answer(
    app: &App,
    ctx: &Ctx,
    headers: &HeaderMap,
    question: &Question,
    full: bool,
) -> Result<Response, Problem> {
    let failed = |e| Problem::from_error(e, &ctx.request_id);
    if wants_lines(headers) {
        if question.cursor.is_some() {
            return Err(Problem::new(400, "a cursor goes with pages; all models at once have none"));
        }
        if full {
            return full_lines(app, ctx, question).await.map_err(failed);
        }
        if question.pulls {
            let why = "who pulled the models is told of full rows; ask for full=true, or for JSON, or leave out pulls";
            return Err(Problem::new(400, why));
        }
        return Ok(lines(app.registry.impact_digests(ctx, question).await.map_err(failed)?));
    }
    Ok(Json(app.registry.impact(ctx, question).await.map_err(failed)?).into_response())
}

/// The media type of an answer that is lines of JSON.
const LINES: &str = "application/x-ndjson";
/// How many of them are sent at once.
const LINES_AT_ONCE: usize = 1000;

fn wants_lines(headers: &HeaderMap) -> bool {
    headers.get_all(ACCEPT).iter().any(|accept| accept.as_bytes().starts_with(LINES.as_bytes()))
}

fn lines(affected: Affected) -> Response {
    let Affected { query, scope, completeness, ubiquitous, models, .. } = affected;
    let first = json!({
        "query": query, "scope": scope, "completeness": completeness, "ubiquitous": ubiquitous,
    });
    let last = json!({"models": models.len()});
    let mut models = models.into_iter();
    let pieces = std::iter::from_fn(move || {
        let mut piece = String::new();
        for (digest, distance) in models.by_ref().take(LINES_AT_ONCE) {
            // A digest needs no escape in JSON.
            let _ = writeln!(piece, r#"{{"digest":"{digest}","distance":{distance}}}"#);
        }
        Some(piece).filter(|piece| !piece.is_empty())
    });
    line_by_line(&first, pieces, &last)
}

/// All models with all that there is to tell of them, a page after the other. What fails on the way ends the answer before its
/// last line.
async fn full_lines(app: &App, ctx: &Ctx, question: &Question) -> Result<Response, Error> {
    let question = Question { limit: PAGE, ..question.clone() };
    let mut pages = Box::pin(app.registry.impact_pages(ctx, &question));
    let Some(page) = pages.try_next().await? else { return Err(Error::Internal("an answer has no page".into())) };
    let first = json!({
        "query": page.query, "scope": page.scope, "completeness": page.completeness, "ubiquitous": page.ubiquitous,
        "holders": page.holders, "more_holders": page.more_holders, "matched": page.matched,
    });
    let request_id = ctx.request_id.clone();
    let pages = stream::iter([Ok(page)]).chain(pages).inspect_err(move |error| {
        tracing::error!(%request_id, %error, "an answer ends before it is whole");
    });
    let lines = stream::try_unfold((pages, Some(0)), |(mut pages, told)| async move {
        let Some(told) = told else { return Ok(None) };
        Ok::<_, Error>(Some(match pages.try_next().await? {
            Some(page) => (model_lines(&page.models)?, (pages, Some(told + page.models.len()))),
            None => (format!("{}\n", json!({"models": told})).into_bytes(), (pages, None)),
        }))
    });
    let begin = stream::iter([Ok(format!("{first}\n").into_bytes())]);
    Ok(([(CONTENT_TYPE, LINES)], Body::from_stream(begin.chain(lines))).into_response())
}

fn model_lines(models: &[Model]) -> Result<Vec<u8>, Error> {
    let mut lines = Vec::new();
    for model in models {
        serde_json::to_writer(&mut lines, model).map_err(|error| Error::Internal(error.into()))?;
        lines.push(b'\n');
    }
    Ok(lines)
}

/// An answer that is lines of JSON: the first, pieces of more, and the last, without which it is not whole.
fn line_by_line(first: &Value, pieces: impl Iterator<Item = String> + Send + 'static, last: &Value) -> Response {
    let all = std::iter::once(format!("{first}\n")).chain(pieces).chain(std::iter::once(format!("{last}\n")));
    ([(CONTENT_TYPE, LINES)], Body::from_stream(stream::iter(all.map(Ok::<_, Infallible>)))).into_response()
}

/// What is asked about together.
#[derive(Debug, Deserialize, utoipa::ToSchema)]
#[serde(
    deny_unknown_fields,
    expecting = "an object with files, with containers among them, and with tree and contents of a folder"
)]
pub(crate) struct AskedFiles {
    /// The SHA-256s of the files, each as `sha256:` and 64 hexadecimal digits; at most 100,000.
    files: Vec<String>,
    /// Those of the files that are archives or compressed and of which what is inside is among the files, too: each matches by
    /// itself, but only what is inside counts for an overlap.
    #[serde(default)]
    containers: Vec<String>,
    /// The tree identity of all of them, if they are a folder.
    tree: Option<String>,
    /// Their contents identity.
    contents: Option<String>,
}

/// The most files of one question, and the most bytes that say them.
const FILES: usize = 100_000;
const FILES_BYTES: usize = 8 << 20;

/// Which models are affected by any of many files: a leak is one question.
///
/// Takes the parameters of `GET`, but for those that say what is asked about, and answers in the same forms. The same body
/// belongs to each page.
#[utoipa::path(
    post, tag = "questions", path = "/api/v1/impact",
    params(
        ("as_of" = Option<String>, Query, description = "As of this moment (RFC 3339)"),
        ("as_of_kind" = Option<String>, Query, description = "`recorded`, if it is not said: as the registry knew it at that moment; `occurred`: what had happened by then by the producers' word, as far as it is known now. Content is held from its push on, by either"),
        ("grade" = Option<String>, Query, description = "Only models with a path wholly at or above it: `attested`, `declared`, `packaged`, `matched`"),
        ("rung" = Option<String>, Query, description = "Only what is the same in this way: `tree`, `contents`, `file`, `overlap`"),
        ("min_overlap" = Option<f64>, Query, description = "The smallest share of the asked-for files that is an overlap, from 0 to 1; 0.5 if it is not said"),
        ("wait" = Option<u64>, Query, description = "Seconds to wait for layers that are still to be scanned, at most 300"),
        ("pulls" = Option<bool>, Query, description = "`true` tells of each model who pulled its manifest until then; a pull is known a second later"),
        ("full" = Option<bool>, Query, description = "`true`, to `application/x-ndjson`: each line tells of its model what a page does"),
        ("limit" = Option<u16>, Query, minimum = 1, maximum = 1000, description = "Models on a page; 100 if it is not said"),
        ("cursor" = Option<String>, Query, description = "The `next` of the page before; it pins `as_of`"),
    ),
    request_body = AskedFiles,
    responses(
        (status = 200, description = "Who is affected", body = Impact),
        (status = 400, description = "The question is none", body = Problem, content_type = "application/problem+json"),
        (status = 413, description = "The question is too long", body = Problem, content_type = "application/problem+json"),
    ),
)]
async fn impact_of_files(
    State(app): State<App>,
    headers: HeaderMap,
    RawQuery(query): RawQuery,
    body: Result<Bytes, BytesRejection>,
) -> Result<Response, Problem> {
    let ctx = app.context(&headers);
    let query = Query::read(query.as_deref())?;
    query.only(OF_IMPACT)?;
    let body = whole(body)?;
    let asked: AskedFiles =
        serde_json::from_slice(&body).map_err(|e| Problem::new(400, format!("the body is no question: {e}")))?;
    if asked.files.len() > FILES {
        return Err(Problem::new(413, format!("ask about at most {FILES} files at once")));
    }
    let sha256 = |text: &String| {
        let digest = text.parse::<Digest>().map_err(|e| Problem::new(400, format!("{text:?}: {e}")))?;
        let sha256 = digest.as_sha256().copied();
        sha256.ok_or_else(|| Problem::new(400, format!("{text}: files are known by their sha256 alone")))
    };
    let files = asked.files.iter().map(sha256).collect::<Result<BTreeSet<_>, _>>()?;
    let containers = asked.containers.iter().map(sha256).collect::<Result<BTreeSet<_>, _>>()?;
    if let Some(other) = containers.difference(&files).next() {
        let other = Digest::sha256(*other);
        return Err(Problem::new(400, format!("{other}: a container is one of the files; name it there, too")));
    }
    let (tree, contents) = (asked.tree.as_ref().map(sha256), asked.contents.as_ref().map(sha256));
    let (tree, contents) = (tree.transpose()?, contents.transpose()?);
    let content = match (files.first(), files.len(), tree, contents) {
        // One file is asked for by its name, and counts wherever it is.
        (Some(file), 1, None, None) => Content::File(*file),
        _ => Content::Files { files, containers, tree, contents },
    };
    answer(&app, &ctx, &headers, &question_about(content, &query)?, flag(&query, "full")?).await
}

/// Every artifact that holds the content.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub(crate) struct Holders {
    /// The question as it was understood.
    pub query: Value,
    /// What the answer could know.
    pub completeness: registry::Completeness,
    /// The artifacts.
    pub holders: Vec<Holder>,
    /// The cursor of the next page, if there is one.
    pub next: Option<String>,
}

/// Every artifact that holds content: kits, dataset kits, images and plain artifacts.
///
/// Takes the parameters of `/impact`.
#[utoipa::path(
    get, tag = "questions", path = "/api/v1/holders",
    params(
        ("file" = Option<String>, Query, description = "A file, by its SHA-256: `sha256:` and 64 hexadecimal digits"),
        ("layer" = Option<String>, Query, description = "A layer, by its digest"),
        ("ref" = Option<String>, Query, description = "An artifact: `repository:tag` or `repository@digest`"),
        ("dataset" = Option<String>, Query, description = "With `ref`: only the dataset of this name"),
        ("as_of" = Option<String>, Query, description = "As of this moment (RFC 3339)"),
        ("as_of_kind" = Option<String>, Query, description = "`recorded`, if it is not said: as the registry knew it at that moment; `occurred`: what had happened by then by the producers' word, as far as it is known now. Content is held from its push on, by either"),
        ("rung" = Option<String>, Query, description = "Only what is the same in this way: `layer`, `tar`, `tree`, `contents`, `file`, `overlap`"),
        ("min_overlap" = Option<f64>, Query, description = "The smallest share of the asked-for files that is an overlap, from 0 to 1; 0.5 if it is not said"),
        ("wait" = Option<u64>, Query, description = "Seconds to wait for layers that are still to be scanned, at most 300"),
        ("limit" = Option<u16>, Query, minimum = 1, maximum = 1000, description = "Artifacts on a page; 100 if it is not said"),
        ("cursor" = Option<String>, Query, description = "The `next` of the page before; it pins `as_of`"),
    ),
    responses(
        (status = 200, description = "Who holds it", body = Holders),
        (status = 400, description = "The question is none", body = Problem, content_type = "application/problem+json"),
        (status = 404, description = "There is no such artifact, or no such dataset in it", body = Problem, content_type = "application/problem+json"),
    ),
)]
async fn holders(
    State(app): State<App>,
    headers: HeaderMap,
    RawQuery(query): RawQuery,
) -> Result<Json<Holders>, Problem> {
    let ctx = app.context(&headers);
    let question = question(&Query::read(query.as_deref())?)?;
    let (impact, next) =
        app.registry.holders(&ctx, &question).await.map_err(|e| Problem::from_error(e, &ctx.request_id))?;
    let (query, completeness, holders) = (impact.query, impact.completeness, impact.holders);
    Ok(Json(Holders { query, completeness, holders, next }))
}

/// Files in layers, by what they hold (their SHA-256, or their MD5) or by what they are called.
///
/// Names are compared without folders and whatever their case. Files inside of files are found too.
#[utoipa::path(
    get, tag = "questions", path = "/api/v1/files",
    params(
        ("sha256" = Option<String>, Query, description = "The file's SHA-256: 64 hexadecimal digits, with or without `sha256:`"),
        ("md5" = Option<String>, Query, description = "The file's MD5: 32 hexadecimal digits; known of what was scanned with `scan_md5`"),
        ("name" = Option<String>, Query, description = "The file's name, without folders"),
        ("limit" = Option<u16>, Query, minimum = 1, maximum = 1000, description = "Files on a page, or a few more; 100 if it is not said"),
        ("cursor" = Option<String>, Query, description = "The `next` of the page before"),
    ),
    responses(
        (status = 200, description = "A page of files", body = registry::Files),
        (status = 400, description = "The question is none", body = Problem, content_type = "application/problem+json"),
    ),
)]
async fn files(
    State(app): State<App>,
    headers: HeaderMap,
    RawQuery(query): RawQuery,
) -> Result<Json<registry::Files>, Problem> {
    let ctx = app.context(&headers);
    let query = Query::read(query.as_deref())?;
    query.only(&["sha256", "md5", "name", "limit", "cursor"])?;
    let wanted = match ["sha256", "md5", "name"].map(|name| query.get(name)) {
        [Some(text), None, None] => {
            let digest = format!("sha256:{}", text.trim_start_matches("sha256:")).parse::<Digest>();
            let digest = digest.map_err(|e| Problem::new(400, format!("parameter sha256={text}: {e}")))?;
            Wanted::Sha256(digest.as_sha256().copied().unwrap_or_default())
        }
        [None, Some(text), None] => {
            let md5 = ::claims::External::parse(&format!("dvc:md5:{text}")).and_then(|identity| identity.md5());
            let why = || Problem::new(400, format!("parameter md5={text}: write 32 hexadecimal digits"));
            Wanted::Md5(md5.ok_or_else(why)?)
        }
        [None, None, Some(name)] => Wanted::Name(name.to_owned()),
        _ => return Err(Problem::new(400, "ask for one thing: sha256=…, md5=… or name=…")),
    };
    let limit = u32::try_from(query.limit()?).unwrap_or(u32::MAX);
    let found = app.registry.files(&ctx, &wanted, query.get("cursor"), limit).await;
    found.map(Json).map_err(|e| Problem::from_error(e, &ctx.request_id))
}

/// What is not wholly known, one by one: layers that are pending, partial, opaque, failed, purged or outdated, kits that are
/// incomplete, and references that name nothing here; and why.
#[utoipa::path(
    get, tag = "questions", path = "/api/v1/coverage",
    params(
        ("state" = Option<String>, Query, description = "Only these, with commas: `pending`, `partial`, `opaque`, `failed`, `purged`, `outdated`, `incomplete`, `unresolved`, `unread`"),
        ("repository" = Option<String>, Query, description = "Only what is or was in this repository"),
        ("limit" = Option<u16>, Query, minimum = 1, maximum = 1000, description = "Rows on a page; 100 if it is not said"),
        ("cursor" = Option<String>, Query, description = "The `next` of the page before"),
    ),
    responses(
        (status = 200, description = "A page of them, and all of them counted", body = registry::Coverage),
        (status = 400, description = "A parameter is wrong", body = Problem, content_type = "application/problem+json"),
        (status = 404, description = "There is no such repository", body = Problem, content_type = "application/problem+json"),
    ),
)]
async fn coverage(
    State(app): State<App>,
    headers: HeaderMap,
    RawQuery(query): RawQuery,
) -> Result<Json<registry::Coverage>, Problem> {
    let ctx = app.context(&headers);
    let query = Query::read(query.as_deref())?;
    query.only(&["state", "repository", "limit", "cursor"])?;
    let wrong = |name: &str, why: String| Problem::new(400, format!("parameter {name}: {why}"));
    let states = query.get("state").into_iter().flat_map(|states| states.split(',')).map(str::parse);
    let repository = query.get("repository").map(str::parse::<Name>).transpose();
    let question = CoverageQuestion {
        states: states.collect::<Result<_, _>>().map_err(|why| wrong("state", why))?,
        repository: repository.map_err(|why| wrong("repository", why.to_string()))?,
        limit: u32::try_from(query.limit()?).unwrap_or(u32::MAX),
        cursor: query.get("cursor").map(str::to_owned),
    };
    app.registry.coverage(&ctx, &question).await.map(Json).map_err(|e| Problem::from_error(e, &ctx.request_id))
}

/// Kits by name, author, licence, framework, parameter, file name or the beginning of a digest.
///
/// The words of `q` are separated by spaces and must all be found. A word may have a field before it: `name:`, `author:`,
/// `licence:`, `framework:`, `family:`, `format:`, `version:`, `component:`, `description:`, `repository:`, `file:` (a name
/// without folders), `digest:` (six hexadecimal digits or more; also `sha256:…`), or be a parameter, `params.training.epochs=5`
/// or `params.training`. What stands in double quotes is one word. Upper and lower case are the same. A word without a field is
/// looked for everywhere, as a file's name and, if it is six hexadecimal digits or more, as the beginning of a digest too;
/// the last one may be only the beginning of a word.
#[utoipa::path(
    get, tag = "questions", path = "/api/v1/search",
    params(
        ("q" = String, Query, description = "What is to be found, for example `fraud licence:Apache-2.0 params.training.epochs=5`"),
        ("limit" = Option<u16>, Query, minimum = 1, maximum = 1000, description = "Kits on a page; 100 if it is not said"),
        ("cursor" = Option<String>, Query, description = "The `next` of the page before"),
    ),
    responses(
        (status = 200, description = "What was found; it may be nothing", body = registry::Found),
        (status = 400, description = "The question is none", body = Problem, content_type = "application/problem+json"),
    ),
)]
async fn search(
    State(app): State<App>,
    headers: HeaderMap,
    RawQuery(query): RawQuery,
) -> Result<Json<registry::Found>, Problem> {
    let ctx = app.context(&headers);
    let query = Query::read(query.as_deref())?;
    query.only(&["q", "limit", "cursor"])?;
    let search = Search {
        query: query.get("q").unwrap_or_default().to_owned(),
        limit: query.limit()?,
        cursor: query.get("cursor").map(str::to_owned),
    };
    app.registry.search(&ctx, &search).await.map(Json).map_err(|e| Problem::from_error(e, &ctx.request_id))
}

/// What is different between two artifacts: components, their files, parameters and tensors.
#[utoipa::path(
    get, tag = "questions", path = "/api/v1/diff",
    params(
        ("from" = String, Query, description = "An artifact: `repository:tag` or `repository@digest`"),
        ("to" = String, Query, description = "Another one, of the same repository or another"),
    ),
    responses(
        (status = 200, description = "What is different", body = registry::Diff),
        (status = 400, description = "A parameter is wrong", body = Problem, content_type = "application/problem+json"),
        (status = 404, description = "There is no such artifact", body = Problem, content_type = "application/problem+json"),
    ),
)]
async fn diff(
    State(app): State<App>,
    headers: HeaderMap,
    RawQuery(query): RawQuery,
) -> Result<Json<registry::Diff>, Problem> {
    let ctx = app.context(&headers);
    let query = Query::read(query.as_deref())?;
    query.only(&["from", "to"])?;
    let read = |name: &str| {
        let text = query.get(name).unwrap_or_default();
        let why = || Problem::new(400, format!("parameter {name}={text}: write repository:tag or repository@digest"));
        artifact(text).ok_or_else(why)
    };
    let (from, to) = (read("from")?, read("to")?);
    app.registry.diff(&ctx, &from, &to).await.map(Json).map_err(|e| Problem::from_error(e, &ctx.request_id))
}

/// The repositories, by name.
#[utoipa::path(
    get, tag = "questions", path = "/api/v1/repositories",
    params(
        ("limit" = Option<u16>, Query, minimum = 1, maximum = 1000, description = "Repositories on a page; 100 if it is not said"),
        ("cursor" = Option<String>, Query, description = "The `next` of the page before"),
    ),
    responses(
        (status = 200, description = "A page of repositories", body = registry::Repositories),
        (status = 400, description = "A parameter is wrong", body = Problem, content_type = "application/problem+json"),
    ),
)]
async fn repositories(
    State(app): State<App>,
    headers: HeaderMap,
    RawQuery(query): RawQuery,
) -> Result<Json<registry::Repositories>, Problem> {
    let ctx = app.context(&headers);
    let query = Query::read(query.as_deref())?;
    query.only(&["cursor", "limit"])?;
    let limit = u32::try_from(query.limit()?).unwrap_or(u32::MAX);
    let found = app.registry.repositories(&ctx, query.get("cursor"), limit).await;
    found.map(Json).map_err(|e| Problem::from_error(e, &ctx.request_id))
}

/// The calls inside one repository. Names hold slashes, so a name ends at `/-/`.
async fn in_repository(
    State(app): State<App>,
    headers: HeaderMap,
    path: Result<Path<String>, PathRejection>,
    RawQuery(query): RawQuery,
) -> Result<Response, Problem> {
    let Path(rest) = path.map_err(|e| Problem::new(400, format!("the path: {}", e.body_text())))?;
    let (ctx, query) = (app.context(&headers), Query::read(query.as_deref())?);
    let (name, call) = repository_call(&rest)?;
    if let Some(call) = call.strip_prefix("tags/") {
        return match call.split_once('/') {
            None => tags::tag(&app, &ctx, &name, &tags::read_tag(call)?, &query).await.map(IntoResponse::into_response),
            Some((tag, "history")) => {
                let found = tags::history(&app, &ctx, &name, &tags::read_tag(tag)?, &query).await;
                found.map(IntoResponse::into_response)
            }
            Some((_, "promote" | "rollback")) => Err(Problem::new(405, "a tag is moved by POST")),
            Some(_) => Err(unknown_call()),
        };
    }
    match call.split_once('/') {
        None if call == "versions" => versions(&app, &ctx, &name, &query).await.map(IntoResponse::into_response),
        Some(("kits", reference)) => kit(&app, &ctx, &name, reference, &query).await.map(IntoResponse::into_response),
        _ => Err(unknown_call()),
    }
}

/// The repository of a call inside one, and what follows.
fn repository_call(rest: &str) -> Result<(Name, &str), Problem> {
    let (name, call) = rest.split_once("/-/").ok_or_else(unknown_call)?;
    let name = name.parse().map_err(|e| Problem::new(400, format!("repository name {name:?}: {e}")))?;
    Ok((name, call))
}

fn unknown_call() -> Problem {
    Problem::new(
        404,
        "a repository's calls are …/{name}/-/versions, …/{name}/-/kits/{reference}, …/{name}/-/tags/{tag} and …/{tag}/history",
    )
}

/// What is in a repository, or was, the latest push first.
#[utoipa::path(
    get, tag = "questions", path = "/api/v1/repositories/{name}/-/versions",
    params(
        ("name" = String, Path, description = "The repository's name, slashes and all"),
        ("as_of" = Option<String>, Query, description = "As the registry was at this moment (RFC 3339); the same with each page"),
        ("as_of_kind" = Option<String>, Query, description = "`recorded` or `occurred`, which are the same here: tags are moved and manifests pushed in the registry itself, so that it knows of it when it happens"),
        ("limit" = Option<u16>, Query, minimum = 1, maximum = 1000, description = "Versions on a page; 100 if it is not said"),
        ("cursor" = Option<String>, Query, description = "The `next` of the page before"),
    ),
    responses(
        (status = 200, description = "A page of versions", body = registry::Versions),
        (status = 400, description = "A parameter is wrong", body = Problem, content_type = "application/problem+json"),
        (status = 404, description = "There is no such repository", body = Problem, content_type = "application/problem+json"),
    ),
)]
async fn versions(app: &App, ctx: &Ctx, name: &Name, query: &Query) -> Result<Json<registry::Versions>, Problem> {
    query.only(&["as_of", "as_of_kind", "cursor", "limit"])?;
    as_of_kind(query)?;
    let limit = u32::try_from(query.limit()?).unwrap_or(u32::MAX);
    let found = app.registry.versions(ctx, name, moment(query, "as_of")?, query.get("cursor"), limit).await;
    found.map(Json).map_err(|e| Problem::from_error(e, &ctx.request_id))
}

/// One kit, whole: what it says of itself, its components, and what is known of its layers.
///
/// By digest it also answers for a manifest that was deleted.
#[utoipa::path(
    get, tag = "questions", path = "/api/v1/repositories/{name}/-/kits/{reference}",
    params(
        ("name" = String, Path, description = "The repository's name, slashes and all"),
        ("reference" = String, Path, description = "A tag or a digest"),
    ),
    responses(
        (status = 200, description = "The kit", body = registry::Kit),
        (status = 400, description = "The name or the reference is not well formed", body = Problem, content_type = "application/problem+json"),
        (status = 404, description = "There is no such manifest", body = Problem, content_type = "application/problem+json"),
    ),
)]
async fn kit(
    app: &App,
    ctx: &Ctx,
    name: &Name,
    reference: &str,
    query: &Query,
) -> Result<Json<registry::Kit>, Problem> {
    query.only(&[])?;
    let reference: Reference =
        reference.parse().map_err(|e| Problem::new(400, format!("reference {reference:?}: {e}")))?;
    let found = app.registry.kit(ctx, name, &reference).await;
    found.map(Json).map_err(|e| Problem::from_error(e, &ctx.request_id))
}

fn question(query: &Query) -> Result<Question, Problem> {
    query.only(&[&["file", "layer", "ref", "external", "dataset"], OF_IMPACT].concat())?;
    let asked: Vec<_> =
        ["file", "layer", "ref", "external"].into_iter().filter(|name| query.get(name).is_some()).collect();
    let [asked] = asked[..] else {
        return Err(Problem::new(
            400,
            "ask about one thing: file=sha256:…, layer=sha256:…, ref=repository:tag or external=hf://…",
        ));
    };
    let text = query.get(asked).unwrap_or_default();
    let wrong = |why: String| Problem::new(400, format!("parameter {asked}={text}: {why}"));
    let digest = || text.parse::<Digest>().map_err(|e| wrong(e.to_string()));
    let content = match asked {
        "file" => {
            let digest = digest()?;
            let sha256 = digest.as_sha256().copied();
            Content::File(sha256.ok_or_else(|| wrong("files are known by their sha256 alone".into()))?)
        }
        "layer" => Content::Layer(digest()?),
        "external" => external(text).ok_or_else(|| wrong("it is no identity, such as s3://bucket/key".into()))?,
        _ => {
            let (repository, reference) =
                artifact(text).ok_or_else(|| wrong("write repository:tag or repository@digest".into()))?;
            Content::Artifact { repository, reference, dataset: query.get("dataset").map(str::to_owned) }
        }
    };
    if query.get("dataset").is_some() && asked != "ref" {
        return Err(Problem::new(400, "parameter dataset goes with ref"));
    }
    question_about(content, query)
}

/// Something that is in no registry, or a file by the name of its content that others have for it, as Git LFS does.
fn external(text: &str) -> Option<Content> {
    match ::claims::Target::parse(text) {
        Some(::claims::Target::Content(digest)) => digest.as_sha256().copied().map(Content::File),
        _ => ::claims::External::parse(text).map(Content::External),
    }
}

/// A question about content, with what any question may say beside that.
fn question_about(content: Content, query: &Query) -> Result<Question, Problem> {
    let rung = query.get("rung").map(|text| {
        Rung::from_text(text).ok_or_else(|| {
            let names = Rung::ALL.map(Rung::as_str).join(", ");
            Problem::new(400, format!("parameter rung={text}: it is one of {names}"))
        })
    });
    let min_overlap = query.get("min_overlap").map(|text| {
        let share = text.parse().ok().filter(|share| (0.0..=1.0).contains(share));
        share.ok_or_else(|| Problem::new(400, format!("parameter min_overlap={text}: write a share from 0 to 1")))
    });
    let matched = query.get("matched").map_or(Ok(false), str::parse);
    let matched = matched.map_err(|_| Problem::new(400, "parameter matched: write true or false"))?;
    let wait = query.get("wait").map_or(Ok(0), str::parse::<u64>);
    let wait = wait.map_err(|_| Problem::new(400, "parameter wait: write a number of seconds"))?;
    Ok(Question {
        content,
        as_of: moment(query, "as_of")?,
        as_of_kind: as_of_kind(query)?,
        grade: grade(query)?,
        rung: rung.transpose()?,
        min_overlap: min_overlap.transpose()?,
        matched,
        wait: Duration::from_secs(wait.min(LONGEST_WAIT)),
        pulls: flag(query, "pulls")?,
        limit: query.limit()?,
        cursor: query.get("cursor").map(str::to_owned),
    })
}

fn flag(query: &Query, name: &str) -> Result<bool, Problem> {
    match query.get(name) {
        None | Some("false") => Ok(false),
        Some("true") => Ok(true),
        Some(text) => Err(Problem::new(400, format!("parameter {name}={text}: it is true or false"))),
    }
}

/// A parameter that is a moment.
fn moment(query: &Query, name: &str) -> Result<Option<Micros>, Problem> {
    let read = |text: &str| micros(text).ok_or_else(|| no_moment(&format!("parameter {name}={text}")));
    query.get(name).map(read).transpose()
}

/// By which time an answer is as of a moment.
fn as_of_kind(query: &Query) -> Result<AsOfKind, Problem> {
    query.get("as_of_kind").map_or(Ok(AsOfKind::Recorded), |text| {
        let why = || Problem::new(400, format!("parameter as_of_kind={text}: it is recorded or occurred"));
        AsOfKind::from_text(text).ok_or_else(why)
    })
}

fn micros(text: &str) -> Option<Micros> {
    text.parse::<jiff::Timestamp>().ok().map(|at| Micros(at.as_microsecond()))
}

fn no_moment(what: &str) -> Problem {
    Problem::new(400, format!("{what}: write a moment as 2026-11-20T09:14:03Z"))
}

/// A body that has come whole.
fn whole(body: Result<Bytes, BytesRejection>) -> Result<Bytes, Problem> {
    body.map_err(|e| Problem::new(e.status().as_u16(), format!("the body: {}", e.body_text())))
}

/// The worst grade that counts, if a question says one.
fn grade(query: &Query) -> Result<Option<Grade>, Problem> {
    let Some(text) = query.get("grade") else { return Ok(None) };
    let why = || Problem::new(400, format!("parameter grade={text}: it is attested, declared, packaged or matched"));
    Grade::from_text(text).map(Some).ok_or_else(why)
}

/// `repository:tag` or `repository@digest`, without a host.
fn artifact(text: &str) -> Option<(Name, Reference)> {
    let (name, reference) = text.split_once('@').or_else(|| text.rsplit_once(':'))?;
    Some((name.parse().ok()?, reference.parse().ok()?))
}

/// The parameters of a question, decoded.
struct Query(Vec<(String, String)>);

impl Query {
    fn read(query: Option<&str>) -> Result<Self, Problem> {
        let pairs: Vec<(String, String)> = form(query.unwrap_or_default());
        for (i, (name, _)) in pairs.iter().enumerate() {
            if pairs[..i].iter().any(|(earlier, _)| earlier == name) {
                return Err(Problem::new(400, format!("parameter {name} is given twice")));
            }
        }
        Ok(Self(pairs))
    }

    fn get(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(key, _)| key == name).map(|(_, value)| &**value)
    }

    fn only(&self, known: &[&str]) -> Result<(), Problem> {
        match self.0.iter().find(|(name, _)| !known.contains(&&**name)) {
            Some((name, _)) => {
                let known = if known.is_empty() { "none here".to_owned() } else { known.join(", ") };
                Err(Problem::new(400, format!("there is no parameter {name}; there are {known}")))
            }
            None => Ok(()),
        }
    }

    fn limit(&self) -> Result<usize, Problem> {
        let limit = self.get("limit").map_or(Ok(USUAL_PAGE), str::parse);
        let limit = limit.ok().filter(|&limit| (1..=PAGE).contains(&limit));
        limit.ok_or_else(|| Problem::new(400, format!("parameter limit: write a number from 1 to {PAGE}")))
    }
}

fn form(query: &str) -> Vec<(String, String)> {
    let decode = |text: &str| {
        let text = text.replace('+', " ");
        percent_encoding::percent_decode_str(&text).decode_utf8_lossy().into_owned()
    };
    let pairs = query.split('&').filter(|pair| !pair.is_empty());
    pairs.map(|pair| pair.split_once('=').unwrap_or((pair, ""))).map(|(k, v)| (decode(k), decode(v))).collect()
}

/// What a registry's error is to a caller of the API.
fn status(error: &Error) -> u16 {
    match error {
        Error::Unknown(
            Thing::Upload
            | Thing::Blob(_)
            | Thing::Manifest(..)
            | Thing::Repository(_)
            | Thing::Component(_)
            | Thing::Tag { .. }
            | Thing::Claim(_),
        ) => 404,
        Error::Refused(_) => 409,
        Error::Invalid { what: Part::Manifest | Part::Digest | Part::Range | Part::Parameter(_), .. } => 400,
        Error::Denied => 403,
        Error::Retracted(_) => 409,
        Error::Full => 507,
        Error::Busy | Error::Unavailable(_) | Error::StoreUnavailable(_) => 503,
        Error::Internal(_) => 500,
        _ => 400,
    }
}
