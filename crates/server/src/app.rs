//! What every request can touch, and the whole HTTP surface on one screen.

use std::{sync::Arc, time::Duration};

use axum::{
    Router,
    extract::{Request, State},
    http::{HeaderMap, StatusCode, header},
    middleware::{self, Next},
    response::IntoResponse,
    routing::get,
};
use registry::{Access, Ctx, Reader, Registry};
use tokio::time::timeout;

use crate::{
    access_log, api, home, metrics::Metrics, promotions::Promotions, proxies::Proxies, traces::Traces, v2, v2::Places,
};

/// How long database and store may take to show that they are there.
const READY: Duration = Duration::from_secs(5);

/// What every request can touch.
#[derive(Debug, Clone)]
pub struct App {
    /// The registry.
    pub registry: Arc<Registry>,
    /// What a caller without an account may do.
    pub anonymous: Access,
    /// Whose eyes a caller without an account reads with.
    pub reader: Reader,
    /// Whether it is spoken to over TLS.
    pub tls: bool,
    /// The proxies before it.
    pub proxies: Proxies,
    /// Which tags are stages, and what is checked before one is promoted.
    pub promotions: Arc<Promotions>,
    pub(crate) places: Places,
    pub(crate) traces: Option<Arc<Traces>>,
    /// Which pulls go straight to the store.
    pub(crate) redirect: Arc<Redirect>,
    pub(crate) metrics: Arc<Metrics>,
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
        let (proxies, places, metrics) = (Proxies::default(), Places::default(), Arc::default());
        let (redirect, promotions) = (Arc::default(), Arc::default());
        Self { registry, anonymous, reader, tls: false, proxies, promotions, places, traces: None, redirect, metrics }
    }

    /// Has at most so many bodies received at once; 0 sets no limit.
    pub fn limit_uploads(&mut self, number: usize) {
        self.places = Places::new(number, self.metrics.bodies.clone());
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
                    access_log::log(request, next, &app).await
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

async fn page(State(app): State<App>, request: Request) -> String {
    // HTTP/2 names the host in the address.
    let host = request.headers().get("host").and_then(|host| host.to_str().ok());
    let host = host.or(request.uri().authority().map(|authority| authority.as_str()));
    home::page(host.unwrap_or_default(), app.tls)
}

async fn metrics(State(app): State<App>) -> impl IntoResponse {
    const TEXT: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";
    match app.registry.stats().await {
        Ok(stats) => ([(header::CONTENT_TYPE, TEXT)], app.metrics.text(&stats, app.registry.scanned())).into_response(),
        Err(_) => (StatusCode::SERVICE_UNAVAILABLE, "the database does not answer\n").into_response(),
    }
}

async fn ready(State(app): State<App>) -> (StatusCode, &'static str) {
    match timeout(READY, app.registry.ready()).await {
        Ok(Ok(())) => (StatusCode::OK, "ready\n"),
        Ok(Err(error)) => {
            tracing::warn!(%error, "not ready");
            (StatusCode::SERVICE_UNAVAILABLE, "the database or the store does not answer; the log says more\n")
        }
        Err(_) => (StatusCode::SERVICE_UNAVAILABLE, "the database or the store does not answer in time\n"),
    }
}
