//! Spans of sessions and streams for an OpenTelemetry collector (OTLP over HTTP, protobuf). Behind the feature `otlp`.
//!
//! ```text
//! tracing spans -> layer -> queue of OpenTelemetry's SDK (bounded) -> its thread -> HTTP/1.1 -> collector
//! ```
//! A stream's span is a child of the span its request named (`traceparent`) or the first of its trace, with the ids
//! that handlers, the access log and the admin paths show; it links to the span of its session. Spans a handler
//! makes are its children. Exports no events of the log. A collector that is slow or away costs spans, never time of
//! a request: a queue that is full drops.

mod layer;
mod post;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use opentelemetry::KeyValue;
use opentelemetry_otlp::{SpanExporter, WithExportConfig as _, WithHttpConfig as _};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::trace::{BatchSpanProcessor, SpanProcessor as _};
use tracing::Subscriber;
use tracing::level_filters::LevelFilter;
use tracing_subscriber::Layer;
use tracing_subscriber::filter::filter_fn;
use tracing_subscriber::registry::LookupSpan;

pub use layer::Spans;

/// What the specification calls the place of a collector, and of its traces alone.
const ENDPOINT: &str = "OTEL_EXPORTER_OTLP_ENDPOINT";
const TRACES_ENDPOINT: &str = "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT";
const TRACES: &str = "/v1/traces";

/// A collector that cannot be one, or no thread for it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("no spans can be sent to {to}: {reason}")]
pub struct ExportError {
    /// The collector, as it was named.
    pub to: String,
    /// Why not.
    pub reason: String,
}

/// Spans on their way to a collector; a clone is the same way.
#[derive(Clone)]
pub struct Exporter(Arc<BatchSpanProcessor>);

impl Exporter {
    /// Starts the export to the collector at `url`, or to the one `OTEL_EXPORTER_OTLP_ENDPOINT` names; `None` where
    /// neither does. Headers, batches and the resource are those of the environment (`OTEL_EXPORTER_OTLP_HEADERS`,
    /// `OTEL_BSP_*`, `OTEL_RESOURCE_ATTRIBUTES`); the service is called `stagedoor` unless `OTEL_SERVICE_NAME` says
    /// otherwise.
    /// # Errors
    /// A URL that is none or that of another scheme than `http`.
    pub fn start(url: Option<&str>) -> Result<Option<Self>, ExportError> {
        let Some(endpoint) = url.map(traces_of).or_else(named_by_environment) else { return Ok(None) };
        let bad = |reason: String| ExportError { to: endpoint.clone(), reason };
        let to: http::Uri =
            endpoint.parse().map_err(|error: http::uri::InvalidUri| bad(error.to_string()))?;
        match (to.scheme_str(), to.host()) {
            (Some("http"), Some(_)) => {}
            (Some(scheme), Some(_)) => {
                return Err(bad(format!("only http is spoken to collectors, not {scheme}")));
            }
            _ => return Err(bad("the URL names no scheme and host".into())),
        }
        let client = post::Post::new().map_err(|error| bad(error.to_string()))?;
        let exporter = SpanExporter::builder()
            .with_http()
            .with_http_client(client)
            .with_endpoint(&endpoint)
            .build()
            .map_err(|error| bad(error.to_string()))?;
        let mut processor = BatchSpanProcessor::builder(exporter).build();
        processor.set_resource(&resource());
        stagedoor_actors::trace::record_begun(true);
        Ok(Some(Self(Arc::new(processor))))
    }

    /// The layer that hears spans: those of sessions and streams, and what handlers make from `info` upwards.
    pub fn layer<S>(&self) -> impl Layer<S> + use<S>
    where
        S: Subscriber + for<'a> LookupSpan<'a>,
    {
        let heard = filter_fn(|metadata| {
            let level = if metadata.target().starts_with("stagedoor_actors") {
                LevelFilter::DEBUG
            } else {
                LevelFilter::INFO
            };
            metadata.is_span() && *metadata.level() <= level
        });
        Spans::new(Arc::clone(&self.0)).with_filter(heard.with_max_level_hint(LevelFilter::DEBUG))
    }

    /// Sends what is left and ends the export. Blocks for `limit` at most.
    /// # Errors
    /// What was not sent in time.
    pub fn finish(&self, limit: Duration) -> Result<(), ExportError> {
        let failed =
            |error: &dyn fmt::Display| ExportError { to: "the collector".into(), reason: error.to_string() };
        self.0.shutdown_with_timeout(limit).map_err(|error| failed(&error))
    }
}

impl fmt::Debug for Exporter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Exporter").finish_non_exhaustive()
    }
}

/// Where a collector takes traces; `url` may say so itself.
fn traces_of(url: &str) -> String {
    let base = url.trim_end_matches('/');
    if base.ends_with(TRACES) { base.to_owned() } else { format!("{base}{TRACES}") }
}

fn named_by_environment() -> Option<String> {
    let named = |name| std::env::var(name).ok().filter(|url| !url.is_empty());
    named(TRACES_ENDPOINT).or_else(|| named(ENDPOINT).map(|url| traces_of(&url)))
}

fn resource() -> Resource {
    let resource =
        Resource::builder().with_attribute(KeyValue::new("service.version", env!("CARGO_PKG_VERSION")));
    match std::env::var_os("OTEL_SERVICE_NAME") {
        Some(name) if !name.is_empty() => resource.build(),
        _ => resource.with_service_name("stagedoor").build(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_collector_is_named_with_or_without_the_path_of_traces() {
        for url in ["http://a:4318", "http://a:4318/", "http://a:4318/v1/traces"] {
            assert_eq!(traces_of(url), "http://a:4318/v1/traces");
        }
        assert_eq!(traces_of("http://a/base"), "http://a/base/v1/traces");
    }

    #[test]
    fn a_collector_that_cannot_be_one_is_refused() {
        for (url, reason) in [("https://a:4318", "only http"), ("/a", "no scheme"), ("a:4318", "invalid")] {
            let error = Exporter::start(Some(url)).unwrap_err().to_string();
            assert!(error.contains(reason), "{error}");
        }
    }
}
