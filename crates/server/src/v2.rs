//! `/v2`: the distribution specification. Requests become a [`Route`], outcomes become its headers and bodies.

mod error;
mod extensions;
mod leftover;
mod places;
mod pulls;
mod ranges;
mod unstoppable;

use axum::{
    body::{Body, BodyDataStream, HttpBody as _, to_bytes},
    extract::{Request, State},
    http::{HeaderMap, HeaderValue, StatusCode, header, request::Parts},
    response::{IntoResponse, Response},
};
use oci::{
    Algorithm, Code, ContentRange, Digest, Name, Page, ReferrersPage, Route, StartUpload, Tag, Upload, media_type,
};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use registry::{Ctx, Incoming, MANIFEST_LIMIT, Position, PushManifest, Pushed, TagPage};
use serde_json::json;

pub(crate) use self::places::{Counts, Places};
use self::{
    error::Failure,
    leftover::Leftover,
    places::Place,
    ranges::{Part, Wanted},
    unstoppable::Unstoppable,
};
use crate::app::{self, App};

/// How long a manifest may take to come.
const PATIENCE: std::time::Duration = std::time::Duration::from_secs(60);
const CONTENT_DIGEST: &str = "docker-content-digest";

/// Answers a `/v2` request.
pub(crate) async fn entry(State(app): State<App>, request: Request) -> Response {
    let (parts, body) = request.into_parts();
    let ctx = app.context(&parts.headers);
    let request_id = ctx.request_id.clone();
    let route = Route::parse(parts.method.as_str(), parts.uri.path(), parts.uri.query());
    let (safe, leftover) = (parts.method.is_safe(), Leftover::default());
    let body = if safe { body } else { leftover.lend(body) };
    let answered = match route {
        Ok(route) if safe => answer(&app, &ctx, route, parts, body).await,
        // A client that goes away drops its request, but what it began is to be ended: bytes that came are kept, and the
        // upload is let go of.
        Ok(route) => match place(&app, receives(&route) && !body.is_end_stream()).await {
            Ok(place) => {
                let work = async move {
                    let answered = answer(&app, &ctx, route, parts, body).await;
                    drop(place);
                    answered
                };
                Unstoppable::new(work).await
            }
            Err(failure) => {
                drop(body);
                Err(failure)
            }
        },
        Err(error) => {
            drop(body);
            let (status, code) = error.status();
            let status = StatusCode::from_u16(status).unwrap_or(StatusCode::BAD_REQUEST);
            Err(Failure::new(status, code, error.to_string()))
        }
    };
    let mut response = answered.unwrap_or_else(|failure| failure.respond(&request_id));
    if !safe && !leftover.drain().await {
        response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
    }
    let version = HeaderValue::from_static("registry/2.0");
    response.headers_mut().insert("docker-distribution-api-version", version);
    response
}

/// Whether the body of such a request is taken in.
const fn receives(route: &Route) -> bool {
    matches!(route, Route::PutManifest(..) | Route::StartUpload(..) | Route::PatchUpload(..) | Route::FinishUpload(..))
}

/// A place for a body that is to be received, if there is one.
async fn place(app: &App, receives: bool) -> Result<Option<Place>, Failure> {
    if !receives {
        return Ok(None);
    }
    let busy = || {
        let message = "as much is being received as this registry takes at once; try again soon".to_owned();
        let mut failure = Failure::new(StatusCode::TOO_MANY_REQUESTS, Code::TooManyRequests, message);
        failure.header("retry-after", places::PATIENCE.as_secs().to_string());
        failure
    };
    app.places.take().await.map(Some).ok_or_else(busy)
}

async fn answer(app: &App, ctx: &Ctx, route: Route, parts: Parts, body: Body) -> Result<Response, Failure> {
    let registry = &app.registry;
    match route {
        Route::Base => Ok(axum::Json(json!({})).into_response()),
        Route::Catalog(page) => {
            let found = registry.catalog(ctx, page.n, page.last.as_deref().unwrap_or_default()).await?;
            Ok(listed("/v2/_catalog", &page, &found, json!({"repositories": found.names})))
        }
        Route::Tags(name, page) => {
            let found = registry.tags(ctx, &name, page.n, page.last.as_deref().unwrap_or_default()).await?;
            let body = json!({"name": name, "tags": found.names});
            Ok(listed(&format!("/v2/{name}/tags/list"), &page, &found, body))
        }
        Route::GetManifest(name, reference) | Route::HeadManifest(name, reference) => {
            // hyper leaves the body out of the answer to a HEAD, and keeps its length.
            let found = registry.manifest(ctx, &name, &reference).await?;
            let etag = format!("\"{}\"", found.digest);
            if ranges::matches_etag(&parts.headers, &etag) {
                return Ok((StatusCode::NOT_MODIFIED, [(header::ETAG, etag)]).into_response());
            }
            pulls::manifest(app, ctx, &parts, &name, &reference, &found.digest);
            let media_type = HeaderValue::from_str(&found.media_type);
            let media_type = media_type.unwrap_or(HeaderValue::from_static(media_type::OCTET_STREAM));
            let headers = [(CONTENT_DIGEST, found.digest.to_string()), ("etag", etag)];
            Ok((headers, [(header::CONTENT_TYPE, media_type)], found.bytes).into_response())
        }
        Route::PutManifest(name, reference, tags) => {
            let content_type = parts.headers.get(header::CONTENT_TYPE).and_then(|v| v.to_str().ok()).map(str::to_owned);
            let body = limited(body).await?;
            let push = PushManifest { repository: name.clone(), reference, tags, content_type, body };
            Ok(pushed(&name, &registry.push_manifest(ctx, push).await?))
        }
        Route::DeleteManifest(name, reference) => {
            registry.delete_manifest(ctx, &name, &reference).await?;
            Ok(StatusCode::ACCEPTED.into_response())
        }
        Route::GetBlob(name, digest) => {
            let response = get_blob(app, ctx, &name, &digest, &parts.headers).await?;
            pulls::blob(app, ctx, &parts, &name, &digest, response.status());
            Ok(response)
        }
        Route::HeadBlob(name, digest) => {
            let blob = registry.blob_wanted(ctx, &name, &digest).await?;
            let mut response = Response::new(Body::empty());
            blob_headers(response.headers_mut(), &digest, blob.size);
            if ranges::matches_etag(&parts.headers, &format!("\"{digest}\"")) {
                *response.status_mut() = StatusCode::NOT_MODIFIED;
                response.headers_mut().remove(header::CONTENT_LENGTH);
            }
            Ok(response)
        }
        Route::DeleteBlob(name, digest) => {
            registry.delete_blob(ctx, &name, &digest).await?;
            Ok(StatusCode::ACCEPTED.into_response())
        }
        Route::StartUpload(name, start) => start_upload(app, ctx, &name, start, &parts, body).await,
        Route::UploadStatus(upload) => Ok(at(StatusCode::NO_CONTENT, &registry.upload_position(ctx, &upload).await?)),
        Route::PatchUpload(upload) => {
            let written = registry.write_upload(ctx, &upload, incoming(&parts.headers, body)?).await;
            Ok(at(StatusCode::ACCEPTED, &written.map_err(|error| Failure::upload(error, &upload))?))
        }
        Route::FinishUpload(upload, digest) => {
            let finished = registry.finish_upload(ctx, &upload, &digest, incoming(&parts.headers, body)?).await;
            finished.map_err(|error| Failure::upload(error, &upload))?;
            Ok(created(&format!("/v2/{}/blobs/{digest}", upload.name), &digest))
        }
        Route::CancelUpload(upload) => {
            registry.cancel_upload(ctx, &upload).await?;
            Ok(StatusCode::NO_CONTENT.into_response())
        }
        Route::Referrers(name, digest, page) => referrers(app, ctx, &name, &digest, &page).await,
        Route::TagHistory(name, tag, page) => extensions::tag_history(app, ctx, &name, &tag, &page).await,
        Route::Extensions(name) => extensions::discover(app, ctx, name.as_ref()).await,
    }
}

async fn start_upload(
    app: &App,
    ctx: &Ctx,
    name: &Name,
    start: StartUpload,
    parts: &Parts,
    body: Body,
) -> Result<Response, Failure> {
    if let Some(digest) = &start.mount
        && app.registry.mount(ctx, name, digest, start.from.as_ref()).await?.is_some()
    {
        return Ok(created(&format!("/v2/{name}/blobs/{digest}"), digest));
    }
    let announced = start.digest.as_ref().map(Digest::algorithm).or(start.algorithm);
    let position = app.registry.start_upload(ctx, name, announced.unwrap_or(Algorithm::Sha256)).await?;
    let Some(digest) = start.digest else { return Ok(at(StatusCode::ACCEPTED, &position)) };
    let upload = position.upload;
    let finished = app.registry.finish_upload(ctx, &upload, &digest, incoming(&parts.headers, body)?).await;
    finished.map_err(|error| Failure::upload(error, &upload))?;
    Ok(created(&format!("/v2/{name}/blobs/{digest}"), &digest))
}

async fn get_blob(
    app: &App,
    ctx: &Ctx,
    name: &Name,
    digest: &Digest,
    headers: &HeaderMap,
) -> Result<Response, Failure> {
    let blob = app.registry.blob(ctx, name, digest).await?;
    let mut response = Response::new(Body::empty());
    blob_headers(response.headers_mut(), digest, blob.size);
    let part = match ranges::wanted(headers, &format!("\"{digest}\""), blob.size) {
        Wanted::NotModified => {
            *response.status_mut() = StatusCode::NOT_MODIFIED;
            response.headers_mut().remove(header::CONTENT_LENGTH);
            return Ok(response);
        }
        Wanted::Unsatisfiable => {
            let message = format!("the blob has {} bytes, the range lies outside", blob.size);
            let mut failure = Failure::new(StatusCode::RANGE_NOT_SATISFIABLE, Code::SizeInvalid, message);
            failure.header("content-range", format!("bytes */{}", blob.size));
            return Err(failure);
        }
        Wanted::Parts(parts) => {
            let multipart = ranges::multipart(app, blob, parts).await?;
            *response.status_mut() = StatusCode::PARTIAL_CONTENT;
            set(response.headers_mut(), "content-type", &multipart.content_type);
            set(response.headers_mut(), "content-length", &multipart.length.to_string());
            *response.body_mut() = multipart.body;
            return Ok(response);
        }
        Wanted::Part(part) => {
            *response.status_mut() = StatusCode::PARTIAL_CONTENT;
            set(response.headers_mut(), "content-range", &part.content_range(blob.size));
            set(response.headers_mut(), "content-length", &part.length.to_string());
            part
        }
        Wanted::Whole => Part { first: 0, length: blob.size },
    };
    if let Some(address) = redirect(app, headers, &blob).await? {
        let mut response = StatusCode::TEMPORARY_REDIRECT.into_response();
        set(response.headers_mut(), "location", &address);
        set(response.headers_mut(), CONTENT_DIGEST, &digest.to_string());
        return Ok(response);
    }
    *response.body_mut() = Body::from_stream(app.registry.read_blob(&blob, part.first, part.length).await?);
    Ok(response)
}

/// Where else the blob is to be read, if it is large and the client can follow. The address serves ranges too.
async fn redirect(app: &App, headers: &HeaderMap, blob: &registry::Blob) -> Result<Option<String>, Failure> {
    let app::Redirect { from, except } = &*app.redirect;
    let agent = headers.get(header::USER_AGENT).map_or(&b""[..], HeaderValue::as_bytes);
    if *from == 0 || blob.size < *from || except.iter().any(|start| agent.starts_with(start.as_bytes())) {
        return Ok(None);
    }
    Ok(app.registry.blob_address(blob).await?)
}

async fn referrers(
    app: &App,
    ctx: &Ctx,
    name: &Name,
    digest: &Digest,
    page: &ReferrersPage,
) -> Result<Response, Failure> {
    let found = app.registry.referrers(ctx, name, digest, page).await?;
    let descriptor = |referrer: registry::Referrer| {
        let mut descriptor = json!({
            "mediaType": referrer.media_type, "digest": referrer.digest, "size": referrer.size,
        });
        if let (Some(artifact_type), Some(members)) = (referrer.artifact_type, descriptor.as_object_mut()) {
            members.insert("artifactType".into(), json!(artifact_type));
        }
        if let (false, Some(members)) = (referrer.annotations.is_empty(), descriptor.as_object_mut()) {
            members.insert("annotations".into(), json!(referrer.annotations));
        }
        descriptor
    };
    let manifests: Vec<_> = found.referrers.into_iter().map(descriptor).collect();
    let index = json!({"schemaVersion": 2, "mediaType": media_type::OCI_INDEX, "manifests": manifests});
    let mut response = (StatusCode::OK, index.to_string()).into_response();
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(media_type::OCI_INDEX));
    let mut query = page.n.map_or_else(String::new, |n| format!("&n={n}"));
    if let Some(artifact_type) = &page.artifact_type {
        response.headers_mut().insert("oci-filters-applied", HeaderValue::from_static("artifactType"));
        query += &format!("&artifactType={}", utf8_percent_encode(artifact_type, NON_ALPHANUMERIC));
    }
    if let Some(last) = found.next {
        let link = format!("</v2/{name}/referrers/{digest}?last={last}{query}>; rel=\"next\"");
        set(response.headers_mut(), "link", &link);
    }
    Ok(response)
}

fn listed(path: &str, page: &Page, found: &TagPage, body: serde_json::Value) -> Response {
    let mut response = axum::Json(body).into_response();
    if let (true, Some(last)) = (found.more, found.names.last()) {
        let n = page.n.map_or_else(String::new, |n| format!("&n={n}"));
        set(response.headers_mut(), "link", &format!("<{path}?last={last}{n}>; rel=\"next\""));
    }
    response
}

fn pushed(name: &Name, pushed: &Pushed) -> Response {
    let mut response = created(&format!("/v2/{name}/manifests/{}", pushed.digest), &pushed.digest);
    if let Some(subject) = &pushed.subject {
        set(response.headers_mut(), "oci-subject", &subject.to_string());
    }
    for tag in pushed.tags.iter().map(Tag::to_string) {
        if let Ok(tag) = HeaderValue::from_str(&tag) {
            response.headers_mut().append("oci-tag", tag);
        }
    }
    response
}

fn created(location: &str, digest: &Digest) -> Response {
    let mut response = StatusCode::CREATED.into_response();
    set(response.headers_mut(), "location", location);
    set(response.headers_mut(), CONTENT_DIGEST, &digest.to_string());
    response
}

/// Where an upload stands and goes on. An empty upload has no range; clients expect `0-0` then.
fn at(status: StatusCode, position: &Position) -> Response {
    let mut response = status.into_response();
    set(response.headers_mut(), "location", &upload_path(&position.upload));
    set(response.headers_mut(), "range", &format!("0-{}", position.received.saturating_sub(1)));
    set(response.headers_mut(), "docker-upload-uuid", &position.upload.id);
    response
}

/// The address of an upload; its state is made of characters that need no escape.
fn upload_path(upload: &Upload) -> String {
    let state = upload.state.as_ref().map_or_else(String::new, |state| format!("?_state={state}"));
    format!("/v2/{}/blobs/uploads/{}{state}", upload.name, upload.id)
}

fn incoming(headers: &HeaderMap, body: Body) -> Result<Incoming<BodyDataStream>, Failure> {
    let length = body.size_hint().exact();
    Ok(Incoming { range: content_range(headers)?, length, body: body.into_data_stream() })
}

fn blob_headers(headers: &mut HeaderMap, digest: &Digest, size: u64) {
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(media_type::OCTET_STREAM));
    headers.insert(header::ACCEPT_RANGES, HeaderValue::from_static("bytes"));
    set(headers, "content-length", &size.to_string());
    set(headers, CONTENT_DIGEST, &digest.to_string());
    set(headers, "etag", &format!("\"{digest}\""));
}

fn set(headers: &mut HeaderMap, name: &'static str, value: &str) {
    if let Ok(value) = HeaderValue::from_str(value) {
        headers.insert(name, value);
    }
}

fn content_range(headers: &HeaderMap) -> Result<Option<ContentRange>, Failure> {
    let Some(range) = headers.get(header::CONTENT_RANGE) else { return Ok(None) };
    let parsed = range.to_str().ok().and_then(|range| range.parse().ok());
    let wrong = || {
        let message = format!("Content-Range {range:?}: a chunk's range is written <first>-<last>, both inclusive");
        Failure::new(StatusCode::BAD_REQUEST, Code::BlobUploadInvalid, message)
    };
    parsed.map(Some).ok_or_else(wrong)
}

async fn limited(body: Body) -> Result<Vec<u8>, Failure> {
    // A manifest is small: whoever cannot send it in this time does not send it.
    let Ok(read) = tokio::time::timeout(PATIENCE, to_bytes(body, MANIFEST_LIMIT)).await else {
        let why = format!("it did not come within {} seconds", PATIENCE.as_secs());
        return Err(registry::Error::Body(why).into());
    };
    match read {
        Ok(bytes) => Ok(bytes.into()),
        Err(error) if is_limit(&error) => {
            let message = format!("a manifest has at most {MANIFEST_LIMIT} bytes");
            Err(Failure::new(StatusCode::PAYLOAD_TOO_LARGE, Code::SizeInvalid, message))
        }
        Err(error) => Err(registry::Error::Body(error.to_string()).into()),
    }
}

fn is_limit(error: &axum::Error) -> bool {
    let mut source = std::error::Error::source(error);
    while let Some(error) = source {
        if error.is::<http_body_util::LengthLimitError>() {
            return true;
        }
        source = error.source();
    }
    false
}
