//! Extensions of the distribution specification: which there are, and the draft of a tag's history (its pull request 606).
//! The draft may still change, so that nothing else here knows its words.

use axum::{
    http::{HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use oci::{Code, HistoryPage, Name, Tag, media_type};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use registry::{Ctx, HistoryWindow, Micros};
use serde_json::json;

use super::{error::Failure, set};
use crate::app::App;

const TIMESTAMP: &str = "org.opencontainers.distribution.tag.timestamp";
const EVENT: &str = "org.opencontainers.distribution.tag.event";

/// Which extensions there are.
pub(super) async fn discover(app: &App, ctx: &Ctx, name: Option<&Name>) -> Result<Response, Failure> {
    if let Some(name) = name {
        app.registry.know_repository(ctx, name).await?;
    }
    let body = json!({"extensions": [{
        "name": "_oci",
        "url": "https://github.com/opencontainers/distribution-spec/pull/606",
        "description": "extensions of the distribution specification; the history of tags is a draft",
        "endpoints": ["_oci/ext/discover", "_oci/tag-history"],
    }]});
    Ok(axum::Json(body).into_response())
}

/// The history of a tag as an index, the newest event first.
pub(super) async fn tag_history(
    app: &App,
    ctx: &Ctx,
    name: &Name,
    tag: &Tag,
    page: &HistoryPage,
) -> Result<Response, Failure> {
    let before = moment("before", page.before.as_deref())?;
    let since = moment("since", page.since.as_deref())?;
    let window = HistoryWindow { n: page.n, before, since, digest: page.digest.as_ref() };
    let (events, has_more) = app.registry.tag_events(ctx, name, tag, window).await?;
    let next = events.last().filter(|_| has_more).map(|last| time(last.at));
    let descriptor = |event: registry::TagHistoryEvent| {
        let (media_type, size) = event.manifest;
        let what = if event.to.is_some() { "created" } else { "deleted" };
        json!({
            "mediaType": media_type, "digest": event.to.or(event.from), "size": size,
            "annotations": {TIMESTAMP: time(event.at), EVENT: what},
        })
    };
    let manifests: Vec<_> = events.into_iter().map(descriptor).collect();
    let index = json!({"schemaVersion": 2, "mediaType": media_type::OCI_INDEX, "manifests": manifests});
    let mut response = (StatusCode::OK, index.to_string()).into_response();
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(media_type::OCI_INDEX));
    if let Some(before) = next {
        // Events of a tag are never at the same moment.
        let mut link = format!("</v2/{name}/_oci/tag-history/{tag}?before={}", escaped(&before));
        for (parameter, value) in [
            ("n", page.n.map(|n| n.to_string())),
            ("since", page.since.clone()),
            ("digest", page.digest.map(|digest| digest.to_string())),
        ] {
            link += &value.map_or_else(String::new, |value| format!("&{parameter}={}", escaped(&value)));
        }
        set(response.headers_mut(), "link", &format!("{link}>; rel=\"next\""));
    }
    Ok(response)
}

fn moment(name: &str, text: Option<&str>) -> Result<Option<Micros>, Failure> {
    let Some(text) = text else { return Ok(None) };
    let wrong = || {
        let message = format!("query parameter {name}: write a moment as 2026-11-20T09:14:03Z");
        Failure::new(StatusCode::BAD_REQUEST, Code::Unsupported, message)
    };
    let at = text.parse::<jiff::Timestamp>().map_err(|_| wrong())?;
    Ok(Some(Micros(at.as_microsecond())))
}

fn time(at: Micros) -> String {
    jiff::Timestamp::from_microsecond(at.0).map(|at| at.to_string()).unwrap_or_default()
}

fn escaped(text: &str) -> String {
    utf8_percent_encode(text, NON_ALPHANUMERIC).to_string()
}
