//! OpenLineage: events as Airflow, Spark and the clients send them.

use std::io::Read as _;

use axum::{
    Json,
    body::Bytes,
    extract::{State, rejection::BytesRejection},
    http::{HeaderMap, header::CONTENT_ENCODING},
};
use flate2::read::MultiGzDecoder;
use registry::Taken;
use serde::Serialize;
use serde_json::value::RawValue;

use super::{Problem, whole};
use crate::app::App;

/// The most bytes of a batch, and the most events in it.
pub(super) const BATCH_BYTES: usize = 32 << 20;
const BATCH: usize = 10_000;

/// What became of events.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub(crate) struct Events {
    /// `success`, or `partial_success` where some were refused.
    pub status: &'static str,
    /// How many.
    pub summary: Summary,
    /// Those that were refused.
    pub failed_events: Vec<Failed>,
}

/// How many events became what.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub(crate) struct Summary {
    /// How many there were.
    pub received: usize,
    /// How many are kept, now or before.
    pub successful: usize,
    /// How many were refused.
    pub failed: usize,
    /// How many of these may be sent again as they are.
    pub retriable: usize,
    /// How many of these may not.
    pub non_retriable: usize,
}

/// An event that was refused.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub(crate) struct Failed {
    /// Its place in the batch, from 0.
    pub index: usize,
    /// What was wrong and what to do.
    pub reason: String,
    /// Whether it may be sent again as it is.
    pub retriable: bool,
}

/// Takes an OpenLineage event: of a run, a job or a dataset. Of a run that completed, what it wrote was made from what it read.
///
/// Datasets with the namespace `oci://` and a name of this registry are its repositories; the `version` facet says which
/// artifact (a digest, or a tag). Sent twice, an event counts once.
#[utoipa::path(
    post, tag = "lineage", path = "/api/v1/lineage",
    request_body(content = Value, description = "A RunEvent, JobEvent or DatasetEvent of OpenLineage 2-0-2"),
    responses(
        (status = 200, description = "It is kept", body = Events),
        (status = 400, description = "It is no event", body = Problem, content_type = "application/problem+json"),
        (status = 413, description = "It is too long", body = Problem, content_type = "application/problem+json"),
        (status = 415, description = "It is compressed in another way than gzip", body = Problem, content_type = "application/problem+json"),
    ),
)]
pub(super) async fn event(
    State(app): State<App>,
    headers: HeaderMap,
    body: Result<Bytes, BytesRejection>,
) -> Result<Json<Events>, Problem> {
    let body = plain(&headers, whole(body)?, registry::EVENT_LIMIT)?;
    let event: &RawValue = read(&body)?;
    let events = take(&app, &headers, &[event]).await?;
    match events.failed_events.into_iter().next() {
        Some(failed) => Err(Problem::new(400, failed.reason)),
        None => Ok(Json(Events { failed_events: Vec::new(), ..events })),
    }
}

/// Takes many OpenLineage events at once. What is wrong with one of them keeps none of the others back.
#[utoipa::path(
    post, tag = "lineage", path = "/api/v1/lineage/batch",
    request_body(content = Vec<Value>, description = "Events, at most 10,000"),
    responses(
        (status = 200, description = "What became of them", body = Events),
        (status = 400, description = "It is no list", body = Problem, content_type = "application/problem+json"),
        (status = 413, description = "It is too long", body = Problem, content_type = "application/problem+json"),
        (status = 415, description = "It is compressed in another way than gzip", body = Problem, content_type = "application/problem+json"),
    ),
)]
pub(super) async fn batch(
    State(app): State<App>,
    headers: HeaderMap,
    body: Result<Bytes, BytesRejection>,
) -> Result<Json<Events>, Problem> {
    let body = plain(&headers, whole(body)?, BATCH_BYTES)?;
    let events: Vec<&RawValue> = read(&body)?;
    if events.len() > BATCH {
        return Err(Problem::new(413, format!("send at most {BATCH} events at once")));
    }
    Ok(Json(take(&app, &headers, &events).await?))
}

/// The body as it was before its sender compressed it, which may have at most `limit` bytes. Clients of OpenLineage send gzip.
fn plain(headers: &HeaderMap, body: Bytes, limit: usize) -> Result<Bytes, Problem> {
    match headers.get(CONTENT_ENCODING).map(|encoding| encoding.as_bytes().to_ascii_lowercase()).as_deref() {
        None | Some(b"identity" | b"") => Ok(body),
        Some(b"gzip" | b"x-gzip") => {
            let mut plain = Vec::new();
            // One byte more tells that there are more.
            let mut unpacked = MultiGzDecoder::new(&body[..]).take(limit as u64 + 1);
            unpacked.read_to_end(&mut plain).map_err(|e| Problem::new(400, format!("the body is no gzip: {e}")))?;
            match plain.len() > limit {
                true => Err(Problem::new(413, format!("the body has more than {limit} bytes when it is unpacked"))),
                false => Ok(plain.into()),
            }
        }
        Some(_) => Err(Problem::new(415, "the body is compressed in another way than gzip; send it so, or as it is")),
    }
}

/// Events are taken out of the body as they stand in it, for they are kept so.
fn read<'a, T: serde::Deserialize<'a>>(body: &'a [u8]) -> Result<T, Problem> {
    serde_json::from_slice(body).map_err(|e| Problem::new(400, format!("the body is no event in JSON: {e}")))
}

async fn take(app: &App, headers: &HeaderMap, events: &[&RawValue]) -> Result<Events, Problem> {
    let ctx = app.context(headers);
    let texts: Vec<_> = events.iter().map(|event| event.get()).collect();
    let taken = app.registry.take_events(&ctx, &texts).await.map_err(|e| Problem::from_error(e, &ctx.request_id))?;
    let failed: Vec<_> = taken
        .into_iter()
        .enumerate()
        .filter_map(|(index, taken)| match taken {
            Taken::Refused(reason) => Some(Failed { index, reason, retriable: false }),
            Taken::Recorded | Taken::Known => None,
        })
        .collect();
    let status = if failed.is_empty() { "success" } else { "partial_success" };
    let summary = Summary {
        received: events.len(),
        successful: events.len() - failed.len(),
        failed: failed.len(),
        retriable: 0,
        non_retriable: failed.len(),
    };
    Ok(Events { status, summary, failed_events: failed })
}
