//! OpenTelemetry: a span for each request, sent to a collector by OTLP over HTTP. Without a collector there is nothing here.
//!
//! What else an exporter can be told, it reads from the variables that OpenTelemetry defines, such as
//! `OTEL_EXPORTER_OTLP_HEADERS` and `OTEL_TRACES_SAMPLER`.

use std::{net::IpAddr, time::Duration};

use async_trait::async_trait;
use axum::http::HeaderMap;
use opentelemetry::{
    KeyValue, TraceId,
    propagation::TextMapPropagator as _,
    trace::{Span as _, SpanKind, Status, Tracer as _, TracerProvider as _},
};
use opentelemetry_http::{Bytes, HeaderExtractor, HttpClient, HttpError, Request, Response};
use opentelemetry_otlp::{ExporterBuildError, SpanExporter, WithExportConfig as _, WithHttpConfig as _};
use opentelemetry_sdk::{
    Resource,
    propagation::TraceContextPropagator,
    trace::{SdkTracer, SdkTracerProvider, Span},
};
use ureq::tls::{RootCerts, TlsConfig};

use crate::tls;

/// How long the collector may take for a batch, and how long the end of the server waits for the last ones.
const PATIENCE: Duration = Duration::from_secs(5);
/// The most that is read of an answer.
const ANSWER_LIMIT: u64 = 1 << 20;
/// The most that is told of a path, in bytes.
const PATH_LIMIT: usize = 512;

/// Where spans go.
#[derive(Debug)]
pub(crate) struct Traces {
    provider: SdkTracerProvider,
    tracer: SdkTracer,
}

/// What is told of a request when it begins.
pub(crate) struct Begun<'a> {
    /// `GET`, or `other`.
    pub(crate) method: &'static str,
    /// What kind of request it is, as the metrics say.
    pub(crate) kind: &'static str,
    /// Its path, which names a repository: metrics never have it, spans do.
    pub(crate) path: &'a str,
    /// Its id.
    pub(crate) id: &'a str,
    /// Who sent it.
    pub(crate) client: Option<IpAddr>,
}

/// A request that is being answered.
pub(crate) struct RequestSpan(Span);

impl Traces {
    /// Spans for the collector at `endpoint`, to which `/v1/traces` is added unless it stands there.
    ///
    /// # Errors
    /// When `endpoint` is no URL.
    pub(crate) fn to(endpoint: &str) -> Result<Self, ExporterBuildError> {
        let endpoint = endpoint.trim_end_matches('/');
        let end = if endpoint.ends_with("/v1/traces") { "" } else { "/v1/traces" };
        let exporter = SpanExporter::builder()
            .with_http()
            .with_http_client(Sender::new())
            .with_endpoint(format!("{endpoint}{end}"))
            .with_timeout(PATIENCE)
            .build()?;
        let about = Resource::builder().with_service_name("pedigree");
        let version = KeyValue::new("service.version", env!("CARGO_PKG_VERSION"));
        let provider = SdkTracerProvider::builder()
            .with_batch_exporter(exporter)
            .with_resource(about.with_attribute(version).build())
            .build();
        let tracer = provider.tracer("pedigree");
        Ok(Self { provider, tracer })
    }

    /// A request has come. It belongs to the trace that its `traceparent` names (W3C Trace Context).
    pub(crate) fn begin(&self, headers: &HeaderMap, begun: &Begun<'_>) -> RequestSpan {
        let parent = TraceContextPropagator::new().extract(&HeaderExtractor(headers));
        let path = &begun.path[..begun.path.floor_char_boundary(PATH_LIMIT)];
        let mut about = vec![
            KeyValue::new("http.request.method", begun.method),
            KeyValue::new("http.route", begun.kind),
            KeyValue::new("url.path", path.to_owned()),
            KeyValue::new("pedigree.request_id", begun.id.to_owned()),
        ];
        about.extend(begun.client.map(|client| KeyValue::new("client.address", client.to_string())));
        let span = self.tracer.span_builder(format!("{} {}", begun.method, begun.kind));
        RequestSpan(span.with_kind(SpanKind::Server).with_attributes(about).start_with_context(&self.tracer, &parent))
    }

    /// Sends what has not been sent, and ends. It blocks for some seconds if the collector does not answer.
    pub(crate) fn flush(&self) {
        if let Err(error) = self.provider.shutdown_with_timeout(PATIENCE) {
            tracing::warn!(%error, "the last spans were not sent");
        }
    }
}

impl RequestSpan {
    /// The trace that it belongs to.
    pub(crate) fn trace(&self) -> TraceId {
        self.0.span_context().trace_id()
    }

    /// Its answer has gone out whole, or as far as the client took it.
    pub(crate) fn end(mut self, status: u16, sent: u64) {
        self.0.set_attribute(KeyValue::new("http.response.status_code", i64::from(status)));
        self.0.set_attribute(KeyValue::new("http.response.body.size", i64::try_from(sent).unwrap_or(i64::MAX)));
        if status >= 500 {
            self.0.set_status(Status::error(""));
        }
        self.0.end();
    }
}

/// Sends batches from the thread that makes them, which may block.
#[derive(Debug)]
struct Sender(ureq::Agent);

impl Sender {
    fn new() -> Self {
        let tls = TlsConfig::builder()
            .unversioned_rustls_crypto_provider(tls::provider())
            .root_certs(RootCerts::PlatformVerifier)
            .build();
        let config = ureq::Agent::config_builder().http_status_as_error(false).proxy(None).tls_config(tls);
        Self(config.timeout_global(Some(PATIENCE)).build().new_agent())
    }
}

#[async_trait]
impl HttpClient for Sender {
    async fn send_bytes(&self, request: Request<Bytes>) -> Result<Response<Bytes>, HttpError> {
        let (head, mut body) = self.0.run(request.map(Vec::from))?.into_parts();
        let bytes = body.with_config().limit(ANSWER_LIMIT).read_to_vec()?;
        Ok(Response::from_parts(head, bytes.into()))
    }
}
