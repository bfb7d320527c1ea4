//! One line for each request, written when its answer has gone out whole or the client has gone away.

use std::{
    net::{IpAddr, SocketAddr},
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Instant,
};

use axum::{
    body::{Body, Bytes, HttpBody},
    extract::{ConnectInfo, Request},
    http::{HeaderMap, HeaderName, HeaderValue, Method, header},
    middleware::Next,
    response::Response,
};
use http_body::{Frame, SizeHint};

use crate::{
    app::App,
    metrics::Metrics,
    traces::{Begun, RequestSpan},
};

/// The header that carries a request's id, in both directions.
pub(crate) const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// The id of a request, once [`log`] has seen to it that there is one.
pub(crate) fn request_id(headers: &HeaderMap) -> Option<&str> {
    headers.get(REQUEST_ID)?.to_str().ok()
}

/// An id that a client or a proxy may give: it stands in the log and in the audit records as it is.
fn is_id(id: &HeaderValue) -> bool {
    let id = id.as_bytes();
    (1..=64).contains(&id.len()) && id.iter().all(|b| b.is_ascii_alphanumeric() || b"-_.".contains(b))
}

/// Gives the request an id unless it has one, and has the answer carry it; logs the request at its end.
pub(crate) async fn log(mut request: Request, next: Next, app: &App) -> Response {
    let began = Instant::now();
    if !request.headers().get(REQUEST_ID).is_some_and(is_id)
        && let Ok(id) = HeaderValue::from_str(&app.registry.id())
    {
        request.headers_mut().insert(REQUEST_ID, id);
    }
    let id = request.headers().get(REQUEST_ID).cloned();
    let agent = request.headers().get(header::USER_AGENT).cloned();
    let peer = request.extensions().get::<ConnectInfo<SocketAddr>>();
    let client = peer.map(|peer| app.proxies.client(peer.0, request.headers()));
    let (method, path) = (request.method().clone(), request.uri().path().to_owned());
    let metrics = Arc::clone(&app.metrics);
    let running = metrics.begin(method.as_str(), &path);
    let span = app.traces.as_ref().map(|traces| {
        let (method, kind, id) = (running.method, running.kind, request_id(request.headers()).unwrap_or_default());
        traces.begin(request.headers(), &Begun { method, kind, path: &path, id, client })
    });
    if !request.body().is_end_stream() {
        let metrics = Arc::clone(&metrics);
        request = request.map(|body| Body::new(Counted { body, metrics }));
    }
    let mut response = next.run(request).await;
    running.end(response.status().as_u16());
    if let Some(id) = id.clone() {
        response.headers_mut().insert(REQUEST_ID, id);
    }
    let status = response.status().as_u16();
    let line = Line { metrics, span, began, id, agent, client, method, path, status, sent: 0 };
    response.map(|body| Body::new(Logged { body, line }))
}

/// What is told of a request. Queries are not: they may carry what an upload's address entitles to.
struct Line {
    metrics: Arc<Metrics>,
    span: Option<RequestSpan>,
    began: Instant,
    id: Option<HeaderValue>,
    agent: Option<HeaderValue>,
    client: Option<IpAddr>,
    method: Method,
    path: String,
    status: u16,
    sent: u64,
}

impl Drop for Line {
    fn drop(&mut self) {
        self.metrics.sent(self.sent);
        let span = self.span.take();
        let trace = span.as_ref().map(RequestSpan::trace);
        if let Some(span) = span {
            span.end(self.status, self.sent);
        }
        if !tracing::enabled!(target: "access", tracing::Level::INFO) {
            return;
        }
        let text = |value: &Option<HeaderValue>| {
            value.as_ref().map(|value| String::from_utf8_lossy(value.as_bytes()).into_owned()).unwrap_or_default()
        };
        let milliseconds = u64::try_from(self.began.elapsed().as_millis()).unwrap_or(u64::MAX);
        tracing::info!(
            target: "access",
            client = self.client.map(tracing::field::display),
            method = %self.method,
            path = self.path,
            status = self.status,
            sent = self.sent,
            milliseconds,
            request_id = text(&self.id),
            agent = text(&self.agent),
            trace = trace.map(tracing::field::display),
        );
    }
}

/// A request's body, counted as it comes: not every one says how long it is.
struct Counted {
    body: Body,
    metrics: Arc<Metrics>,
}

impl HttpBody for Counted {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        let polled = Pin::new(&mut self.body).poll_frame(cx);
        if let Poll::Ready(Some(Ok(frame))) = &polled {
            self.metrics.received(frame.data_ref().map_or(0, |data| data.len() as u64));
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// A body whose end is the end of the request.
struct Logged {
    body: Body,
    line: Line,
}

impl HttpBody for Logged {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        let polled = Pin::new(&mut self.body).poll_frame(cx);
        if let Poll::Ready(Some(Ok(frame))) = &polled {
            self.line.sent += frame.data_ref().map_or(0, |data| data.len() as u64);
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_plain() {
        for good in ["a", "0b3c-4.d_E", &"x".repeat(64)] {
            assert!(is_id(&HeaderValue::from_str(good).unwrap()), "{good}");
        }
        for bad in ["", "a b", "a;b", "é", &"x".repeat(65)] {
            assert!(!is_id(&HeaderValue::from_str(bad).unwrap()), "{bad}");
        }
    }
}
