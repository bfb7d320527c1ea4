//! `/metrics`: what an operator watches, in the text form of OpenMetrics that Prometheus reads.

use std::{
    fmt::Write as _,
    time::{Duration, Instant},
};

use prometheus_client::{
    encoding::{EncodeLabelSet, text::encode},
    metrics::{
        counter::Counter,
        family::Family,
        gauge::Gauge,
        histogram::{Histogram, exponential_buckets},
        info::Info,
    },
    registry::Registry,
};
use registry::{Collected, Stats};

use crate::v2::Counts;

/// Counted by this process since its start.
#[derive(Debug)]
pub(crate) struct Metrics {
    requests: Family<Request, Counter>,
    durations: Family<Asked, Histogram, fn() -> Histogram>,
    sent: Counter,
    received: Counter,
    running: Gauge,
    /// Bodies that are received, wait, or were refused.
    pub(crate) bodies: Counts,
    /// What the collector did.
    pub(crate) collector: Collector,
    registry: Registry,
}

/// What the collector did since the start of this process.
#[derive(Debug, Clone, Default)]
pub(crate) struct Collector {
    runs: Counter,
    failures: Counter,
    manifests: Counter,
    blobs: Counter,
    bytes: Counter,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Request {
    kind: &'static str,
    method: &'static str,
    status: u16,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Asked {
    kind: &'static str,
    method: &'static str,
}

/// A request that is being answered.
pub(crate) struct Running<'a> {
    metrics: &'a Metrics,
    /// What kind of request it is.
    pub(crate) kind: &'static str,
    /// Its method, or `other`.
    pub(crate) method: &'static str,
    began: Instant,
}

impl Default for Metrics {
    fn default() -> Self {
        // From a millisecond to half a minute; pushes and pulls of large blobs take longer and are in the last bucket.
        let durations: fn() -> Histogram = || Histogram::new(exponential_buckets(0.001, 2.0, 16));
        let mut metrics = Self {
            requests: Family::default(),
            durations: Family::new_with_constructor(durations),
            sent: Counter::default(),
            received: Counter::default(),
            running: Gauge::default(),
            bodies: Counts::default(),
            collector: Collector::default(),
            registry: Registry::with_prefix("pedigree"),
        };
        let registry = &mut metrics.registry;
        registry.register("http_requests", "Requests answered", metrics.requests.clone());
        let help = "Seconds from a request's head to its answer's head";
        registry.register("http_request_duration_seconds", help, metrics.durations.clone());
        registry.register("http_sent_bytes", "Bytes of answers, without their heads", metrics.sent.clone());
        registry.register("http_received_bytes", "Bytes of requests, without their heads", metrics.received.clone());
        registry.register("http_requests_running", "Requests that are being answered", metrics.running.clone());
        let bodies = &metrics.bodies;
        registry.register("uploads_receiving", "Bodies of pushes that are being received", bodies.receiving.clone());
        registry.register("uploads_waiting", "Bodies of pushes that wait for a place", bodies.waiting.clone());
        registry.register(
            "uploads_refused",
            "Bodies of pushes that waited for a place in vain",
            bodies.refused.clone(),
        );
        let collector = &metrics.collector;
        registry.register("gc_runs", "Garbage collections that came to their end", collector.runs.clone());
        registry.register("gc_failures", "Garbage collections that failed", collector.failures.clone());
        registry.register("gc_manifests", "Manifests that the collector deleted", collector.manifests.clone());
        registry.register("gc_blobs", "Blobs that the collector deleted", collector.blobs.clone());
        registry.register("gc_bytes", "Bytes of those blobs", collector.bytes.clone());
        registry.register("build", "The program", Info::new(vec![("version", env!("CARGO_PKG_VERSION"))]));
        metrics
    }
}

impl Collector {
    /// A run has ended.
    pub(crate) fn done(&self, collected: Option<&Collected>) {
        let Some(Collected { manifests, blobs, bytes }) = collected else {
            self.failures.inc();
            return;
        };
        self.runs.inc();
        self.manifests.inc_by(*manifests);
        self.blobs.inc_by(*blobs);
        self.bytes.inc_by(*bytes);
    }
}

impl Metrics {
    /// A request has come.
    pub(crate) fn begin(&self, method: &str, path: &str) -> Running<'_> {
        // Whatever a client makes up must not become a label.
        const METHODS: [&str; 6] = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE"];
        let method = METHODS.into_iter().find(|known| *known == method).unwrap_or("other");
        self.running.inc();
        Running { metrics: self, kind: kind(path), method, began: Instant::now() }
    }

    /// Bytes have gone out.
    pub(crate) fn sent(&self, bytes: u64) {
        self.sent.inc_by(bytes);
    }

    /// Bytes have come in.
    pub(crate) fn received(&self, bytes: u64) {
        self.received.inc_by(bytes);
    }

    /// Everything, with what the database knows.
    pub(crate) fn text(&self, stats: &Stats, scanned: u64) -> String {
        let mut text = String::new();
        // Writing to a string does not fail.
        let _ = encode(&mut text, &self.registry);
        let end = text.strip_suffix("# EOF\n").map_or(text.len(), str::len);
        text.truncate(end);
        let mut gauge = |name: &str, help: &str, values: &[(&str, u64)]| {
            let _ = writeln!(text, "# HELP pedigree_{name} {help}.\n# TYPE pedigree_{name} gauge");
            for (labels, value) in values {
                let _ = writeln!(text, "pedigree_{name}{labels} {value}");
            }
        };
        gauge("uploads_open", "Uploads that are neither finished nor expired", &[("", stats.uploads)]);
        let jobs = [("{state=\"due\"}", stats.jobs_due), ("{state=\"waiting\"}", stats.jobs_waiting)];
        gauge("jobs", "Scans to be done: due now, or waiting for another try", &jobs);
        let layers = &stats.layers;
        let layers = [
            ("{state=\"indexed\"}", layers.indexed),
            ("{state=\"pending\"}", layers.pending),
            ("{state=\"partial\"}", layers.partial),
            ("{state=\"opaque\"}", layers.opaque),
            ("{state=\"failed\"}", layers.failed),
            ("{state=\"purged\"}", layers.purged),
        ];
        gauge("layers", "Layers by how far the registry has come with them", &layers);
        gauge("unresolved_references", "References to what should be here and is not", &[("", stats.unresolved)]);
        gauge("blobs_deleting", "Blobs that the collector is deleting", &[("", stats.deleting)]);
        let _ = writeln!(text, "# HELP pedigree_scan_read_bytes Bytes of layers that were read to look into them.");
        let _ = writeln!(text, "# TYPE pedigree_scan_read_bytes counter\npedigree_scan_read_bytes_total {scanned}");
        let _ = writeln!(text, "# HELP pedigree_pulls_lost Pulls that could not be recorded.");
        let _ = writeln!(text, "# TYPE pedigree_pulls_lost counter\npedigree_pulls_lost_total {}", stats.pulls_lost);
        text.push_str("# EOF\n");
        text
    }
}

impl Running<'_> {
    /// It has been answered.
    pub(crate) fn end(self, status: u16) {
        let Self { metrics, kind, method, began } = &self;
        metrics.requests.get_or_create(&Request { kind, method, status }).inc();
        let took: Duration = began.elapsed();
        metrics.durations.get_or_create(&Asked { kind, method }).observe(took.as_secs_f64());
    }
}

impl Drop for Running<'_> {
    fn drop(&mut self) {
        self.metrics.running.dec();
    }
}

/// What kind of request it is, by its path: never a name, of which there may be any number.
fn kind(path: &str) -> &'static str {
    let Some(rest) = path.strip_prefix("/v2/") else {
        return if path.starts_with("/api/") { "api" } else { "other" };
    };
    let mut words = rest.rsplit('/');
    let last = words.next().unwrap_or_default();
    match (last, words.next()) {
        ("_catalog", None) => "catalog",
        ("list", Some("tags")) => "tags",
        (_, Some("manifests")) => "manifests",
        (_, Some("uploads")) => "uploads",
        (_, Some("blobs")) => "blobs",
        (_, Some("referrers")) => "referrers",
        (_, Some("tag-history")) => "tag_history",
        _ => "other",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_no_labels() {
        for (path, expected) in [
            ("/v2/", "other"),
            ("/v2/a/b/manifests/1.0", "manifests"),
            ("/v2/a/blobs/uploads/", "uploads"),
            ("/v2/a/blobs/uploads/0a", "uploads"),
            ("/v2/a/blobs/sha256:00", "blobs"),
            ("/v2/a/tags/list", "tags"),
            ("/api/v1/impact", "api"),
            ("/anything", "other"),
        ] {
            assert_eq!(kind(path), expected, "{path}");
        }
    }

    #[test]
    fn what_was_counted_is_told() {
        let metrics = Metrics::default();
        metrics.begin("GET", "/v2/a/manifests/1").end(200);
        metrics.begin("BREW", "/v2/a/manifests/1").end(405);
        metrics.sent(5);
        metrics.received(7);
        metrics.collector.done(Some(&Collected { manifests: 1, blobs: 2, bytes: 30 }));
        metrics.collector.done(None);
        let text = metrics.text(&Stats { uploads: 3, ..Stats::default() }, 11);
        for line in [
            "pedigree_http_requests_total{kind=\"manifests\",method=\"GET\",status=\"200\"} 1",
            "pedigree_http_requests_total{kind=\"manifests\",method=\"other\",status=\"405\"} 1",
            "pedigree_http_sent_bytes_total 5",
            "pedigree_http_received_bytes_total 7",
            "pedigree_http_requests_running 0",
            "pedigree_http_request_duration_seconds_count{kind=\"manifests\",method=\"GET\"} 1",
            "pedigree_uploads_open 3",
            "pedigree_uploads_waiting 0",
            "pedigree_uploads_refused_total 0",
            "pedigree_gc_runs_total 1",
            "pedigree_gc_failures_total 1",
            "pedigree_gc_manifests_total 1",
            "pedigree_gc_blobs_total 2",
            "pedigree_gc_bytes_total 30",
            "pedigree_scan_read_bytes_total 11",
            "pedigree_pulls_lost_total 0",
        ] {
            assert!(text.lines().any(|found| found == line), "{line} in\n{text}");
        }
        assert!(text.ends_with("# EOF\n"));
    }
}
