//! `/api/v1/lineage`: what something was made from, and what was made from it.

use std::fmt::Write as _;

use axum::{
    Json,
    extract::{RawQuery, State},
    http::HeaderMap,
    response::{IntoResponse, Response},
};
use oci::Digest;
use registry::{About, Direction, Lineage, LineageQuestion, WholeLineage};
use serde_json::{Value, json};

use super::{LINES_AT_ONCE, Query, artifact, as_of_kind, grade, line_by_line, moment, problem::Problem, wants_lines};
use crate::app::App;

/// What something was made from, and what was made from it, through any number of steps: nodes and edges.
///
/// Edges are what somebody says. What a kit packages is content: `packaged_with` of a node names it, and `/impact` finds who else has
/// it.
///
/// Ask about one of `ref`, `digest` and `external`. Of an artifact that is asked about by `ref`, only the claims of that repository
/// count; of everything further away, those of all that the caller may read. What nobody ever named is an answer without edges,
/// not an error.
///
/// To `Accept: application/x-ndjson` all is answered at once, without pages and without what explains it: a line with the question
/// and what the answer could know, a line `{"node":"…","is_model":true,"up":1}` for each node, a line
/// `{"from":"…","to":"…","kind":"…","grade":"…"}` for each edge, and a last line with their numbers, without which the answer is not
/// whole.
#[utoipa::path(
    get, tag = "questions", path = "/api/v1/lineage",
    params(
        ("ref" = Option<String>, Query, description = "An artifact: `repository:tag` or `repository@digest`"),
        ("digest" = Option<String>, Query, description = "A manifest, or other content that statements name, by its digest, wherever it is"),
        ("external" = Option<String>, Query, description = "Something in no registry, by its identity: `hf://…@commit`, `s3://…?versionId=…`, `git+https://…@commit`, …"),
        ("direction" = Option<String>, Query, description = "`ancestors`: what it was made from; `descendants`: what was made from it; `both`, if it is not said"),
        ("depth" = Option<u32>, Query, minimum = 1, description = "How many steps away, at most; without it there is no limit"),
        ("grade" = Option<String>, Query, description = "Only along claims of this grade or better: `attested`, `declared`, `packaged`, `matched`"),
        ("as_of" = Option<String>, Query, description = "As of this moment (RFC 3339)"),
        ("as_of_kind" = Option<String>, Query, description = "`recorded`, if it is not said: as the registry knew it at that moment; `occurred`: what had happened by then by the producers' word, as far as it is known now"),
        ("limit" = Option<u16>, Query, minimum = 1, maximum = 1000, description = "Edges on a page; 100 if it is not said"),
        ("cursor" = Option<String>, Query, description = "The `next` of the page before; it pins `as_of`"),
    ),
    responses(
        (status = 200, description = "The lineage", body = Lineage),
        (status = 400, description = "The question is none", body = Problem, content_type = "application/problem+json"),
        (status = 404, description = "There is no such artifact", body = Problem, content_type = "application/problem+json"),
    ),
)]
pub(super) async fn lineage(
    State(app): State<App>,
    headers: HeaderMap,
    RawQuery(query): RawQuery,
) -> Result<Response, Problem> {
    let ctx = app.context(&headers);
    let question = question(&Query::read(query.as_deref())?)?;
    let failed = |e| Problem::from_error(e, &ctx.request_id);
    if wants_lines(&headers) {
        if question.cursor.is_some() {
            return Err(Problem::new(400, "a cursor goes with pages; the whole lineage at once has none"));
        }
        return Ok(lines(app.registry.lineage_whole(&ctx, &question).await.map_err(failed)?));
    }
    Ok(Json(app.registry.lineage(&ctx, &question).await.map_err(failed)?).into_response())
}

fn question(query: &Query) -> Result<LineageQuestion, Problem> {
    query.only(&[
        "ref",
        "digest",
        "external",
        "direction",
        "depth",
        "grade",
        "as_of",
        "as_of_kind",
        "limit",
        "cursor",
    ])?;
    let wrong = |name: &str, text: &str, why: &str| Problem::new(400, format!("parameter {name}={text}: {why}"));
    let about = match ["ref", "digest", "external"].map(|name| query.get(name)) {
        [Some(text), None, None] => {
            let (repository, reference) =
                artifact(text).ok_or_else(|| wrong("ref", text, "write repository:tag or repository@digest"))?;
            About::Artifact(repository, reference)
        }
        [None, Some(text), None] => {
            About::Digest(text.parse::<Digest>().map_err(|e| wrong("digest", text, &e.to_string()))?)
        }
        [None, None, Some(text)] => {
            let about = match claims::Target::parse(text) {
                Some(claims::Target::Content(digest)) => Some(About::Digest(digest)),
                _ => claims::External::parse(text).map(About::External),
            };
            about.ok_or_else(|| wrong("external", text, "it is no identity, such as s3://bucket/key"))?
        }
        _ => {
            let why = "ask about one thing: ref=repository:tag, digest=sha256:… or external=hf://…";
            return Err(Problem::new(400, why));
        }
    };
    let direction = query.get("direction").map_or(Ok(Direction::Both), |text| {
        Direction::from_text(text).ok_or_else(|| wrong("direction", text, "it is ancestors, descendants or both"))
    });
    let depth = query.get("depth").map(|text| {
        let depth = text.parse().ok().filter(|depth: &u32| *depth > 0);
        depth.ok_or_else(|| wrong("depth", text, "write a number of steps from 1 on"))
    });
    Ok(LineageQuestion {
        about,
        direction: direction?,
        depth: depth.transpose()?,
        grade: grade(query)?,
        as_of: moment(query, "as_of")?,
        as_of_kind: as_of_kind(query)?,
        limit: query.limit()?,
        cursor: query.get("cursor").map(str::to_owned),
    })
}

fn lines(whole: WholeLineage) -> Response {
    let WholeLineage { query, id, scope, completeness, nodes, edges } = whole;
    let first = json!({"query": query, "id": id, "scope": scope, "completeness": completeness});
    let last = json!({"nodes": nodes.len(), "edges": edges.len()});
    let (mut node, mut edge) = (0, 0);
    let pieces = std::iter::from_fn(move || {
        let mut piece = String::new();
        let until = nodes.len().min(node + LINES_AT_ONCE);
        for one in nodes.get(node..until).unwrap_or_default() {
            let _ = writeln!(piece, "{}", json!(one));
        }
        let room = LINES_AT_ONCE - (until - node);
        node = until;
        let until = edges.len().min(edge + room);
        let id = |number: usize| nodes.get(number).map_or(Value::Null, |node| Value::from(&*node.id));
        for one in edges.get(edge..until).unwrap_or_default() {
            // A digest or a word needs no escape in JSON, an identity may.
            let _ = write!(piece, r#"{{"from":{},"to":{},"kind":"{}""#, id(one.from), id(one.to), one.kind);
            if let Some(grade) = one.grade {
                let _ = write!(piece, r#","grade":"{grade}""#);
            }
            piece.push_str("}\n");
        }
        edge = until;
        Some(piece).filter(|piece| !piece.is_empty())
    });
    line_by_line(&first, pieces, &last)
}
