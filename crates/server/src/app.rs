//! What every request can touch, and the whole HTTP surface on one screen.

use std::sync::Arc;

use axum::{
    Router,
    extract::{Request, State},
    http::{HeaderMap, StatusCode, header},
    middleware::{self, Next},
    response::IntoResponse,
    routing::get,
};
use registry::{Access, Ctx, Reader, Registry};

use crate::{access_log, api, home, metrics::Metrics, v2};

/// What every request can touch.
#[derive(Debug, Clone)]
pub struct App {
    /// The registry.
    pub registry: Arc<Registry>,
    /// What a caller without an account may do.
    pub anonymous: Access,
    /// Whose eyes a caller without an account reads with.
    pub reader: Reader,
    /// Which pulls go straight to the store.
    pub(crate) redirect: Arc<Redirect>,
    metrics: Arc<Metrics>,
}

/// Which pulls go straight to the store, if it can be reached by clients.
#[derive(Debug, Clone, Default)]
pub struct Redirect {
    /// Blobs of at least so many bytes; 0 for none.
    pub from: u64,
    /// Not those of clients whose User-Agent begins with one of these.
    pub except: Vec<String>,
}

impl App {
    /// What every request is answered with.
    #[must_use]
    pub fn new(registry: Arc<Registry>, anonymous: Access, reader: Reader) -> Self {
        Self { registry, anonymous, reader, redirect: Arc::default(), metrics: Arc::default() }
    }

    /// The same, with some pulls going straight to the store.
    #[must_use]
    pub fn redirecting(self, redirect: Redirect) -> Self {
        Self { redirect: Arc::new(redirect), ..self }
    }

    /// Everything that the server answers.
    pub fn router(self) -> Router {
        Router::new()
            .route("/", get(page))
            .route("/healthz", get(|| async { "ok\n" }))
            .route("/readyz", get(ready))
            .route("/metrics", get(metrics))
            .route("/v2", axum::routing::any(v2::entry))
            .route("/v2/", axum::routing::any(v2::entry))
            .route("/v2/{*rest}", axum::routing::any(v2::entry))
            .nest("/api/v1", api::router())
            .layer(middleware::from_fn_with_state(
                self.clone(),
                async |State(app): State<Self>, request: Request, next: Next| {
                    access_log::log(request, next, app.metrics, || app.registry.id()).await
                },
            ))
            .with_state(self)
    }

    /// The context of a request with these headers.
    pub(crate) fn context(&self, headers: &HeaderMap) -> Ctx {
        let request_id = access_log::request_id(headers).unwrap_or_default().to_owned();
        Ctx { actor: "anonymous".into(), request_id, reader: self.reader, access: self.anonymous }
    }
}

async fn page(headers: HeaderMap) -> String {
    home::page(headers.get("host").and_then(|host| host.to_str().ok()).unwrap_or_default())
}

async fn metrics(State(app): State<App>) -> impl IntoResponse {
    const TEXT: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";
    match app.registry.stats().await {
        Ok(stats) => ([(header::CONTENT_TYPE, TEXT)], app.metrics.text(&stats)).into_response(),
        Err(_) => (StatusCode::SERVICE_UNAVAILABLE, "the database does not answer\n").into_response(),
    }
}

async fn ready(State(app): State<App>) -> impl IntoResponse {
    match app.registry.ready().await {
        Ok(()) => (StatusCode::OK, "ready\n"),
        Err(_) => (StatusCode::SERVICE_UNAVAILABLE, "the database does not answer\n"),
    }
}
