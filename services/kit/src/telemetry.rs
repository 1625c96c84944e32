//! Logs and traces.
//!
//! Logs are JSON lines on stdout with `timestamp level service message` and whatever fields the event and its
//! spans carry (`trace_id`, `request_id`, `userId`, `ip`, ...). Traces go by OTLP when
//! `OTEL_EXPORTER_OTLP_ENDPOINT` is set; W3C trace context is passed on in any case.

mod log;

use opentelemetry::{
    KeyValue,
    propagation::{Extractor, Injector, TextMapPropagator},
    trace::{TraceContextExt, TracerProvider as _},
};
use opentelemetry_otlp::{Protocol, WithExportConfig};
use opentelemetry_sdk::{
    Resource,
    propagation::TraceContextPropagator,
    trace::{SdkTracerProvider, Tracer},
};
use std::time::Duration;
use tracing_opentelemetry::OpenTelemetrySpanExt;
use tracing_subscriber::{EnvFilter, layer::SubscriberExt, util::SubscriberInitExt};

pub use log::Output;

/// What the process wants logged and traced.
#[derive(Debug, Clone)]
pub struct TelemetryConfig {
    /// The `service` of lines that no span names, and the traces' `service.name`.
    pub service: String,
    pub version: String,
    /// As `RUST_LOG`: `info`, or `info,collect=debug`.
    pub level: String,
    pub otlp_endpoint: Option<String>,
    /// `grpc` (the default) or `http/protobuf`.
    pub otlp_protocol: Option<String>,
    pub output: Output,
}

/// Keeps the exporter alive. [`Telemetry::shutdown`] sends what is still there.
#[derive(Debug)]
pub struct Telemetry {
    provider: SdkTracerProvider,
}

impl Telemetry {
    /// Installs logs and traces for the process. Needs a tokio runtime.
    ///
    /// # Errors
    /// When the level or the endpoint makes no sense, or when something is installed already.
    pub fn install(config: &TelemetryConfig) -> anyhow::Result<Self> {
        let filter =
            EnvFilter::try_new(format!("{},hyper=warn,h2=warn,tower=warn,reqwest=warn", config.level))
                .map_err(|e| anyhow::anyhow!("LOG_LEVEL: {e}"))?;
        let provider = provider(config)?;
        let tracer: Tracer = provider.tracer("vigie");
        tracing_subscriber::registry()
            .with(filter)
            .with(tracing_opentelemetry::layer().with_tracer(tracer).with_location(false).with_threads(false))
            .with(log::JsonLog::new(config.service.clone(), config.output.clone()))
            .try_init()?;
        Ok(Telemetry { provider })
    }

    /// Sends the spans that are still here. Blocking.
    pub fn shutdown(&self) {
        if let Err(e) = self.provider.shutdown_with_timeout(Duration::from_secs(3)) {
            tracing::debug!(error = %e, "the last spans could not be sent");
        }
    }
}

fn provider(config: &TelemetryConfig) -> anyhow::Result<SdkTracerProvider> {
    let resource = Resource::builder()
        .with_service_name(config.service.clone())
        .with_attribute(KeyValue::new("service.version", config.version.clone()))
        .build();
    let builder = SdkTracerProvider::builder().with_resource(resource);
    let Some(endpoint) = &config.otlp_endpoint else { return Ok(builder.build()) };
    crate::client::install_tls();
    let exporter = match config.otlp_protocol.as_deref() {
        None | Some("grpc") => {
            opentelemetry_otlp::SpanExporter::builder().with_tonic().with_endpoint(endpoint).build()
        }
        Some("http/protobuf") => opentelemetry_otlp::SpanExporter::builder()
            .with_http()
            .with_protocol(Protocol::HttpBinary)
            .with_endpoint(format!("{}/v1/traces", endpoint.trim_end_matches('/')))
            .build(),
        Some(other) => {
            anyhow::bail!("OTEL_EXPORTER_OTLP_PROTOCOL: {other:?} is neither grpc nor http/protobuf")
        }
    };
    let exporter = exporter.map_err(|e| anyhow::anyhow!("OTEL_EXPORTER_OTLP_ENDPOINT: {e}"))?;
    Ok(builder.with_batch_exporter(exporter).build())
}

struct Incoming<'a>(&'a http::HeaderMap);

impl Extractor for Incoming<'_> {
    fn get(&self, key: &str) -> Option<&str> {
        self.0.get(key).and_then(|v| v.to_str().ok())
    }
    fn keys(&self) -> Vec<&str> {
        self.0.keys().map(http::HeaderName::as_str).collect()
    }
}

#[derive(Default)]
struct Outgoing(Vec<(String, String)>);

impl Injector for Outgoing {
    fn set(&mut self, key: &str, value: String) {
        self.0.push((key.to_owned(), value));
    }
}

/// Makes `span` part of the caller's trace when the headers carry one. Returns the trace's id, the caller's or
/// a new one; `None` when nothing is installed.
pub fn continue_trace(span: &tracing::Span, headers: &http::HeaderMap) -> Option<String> {
    if headers.contains_key("traceparent") {
        let parent = TraceContextPropagator::new().extract(&Incoming(headers));
        if let Err(e) = span.set_parent(parent) {
            tracing::trace!(error = %e, "the caller's trace could not be continued");
        }
    }
    let context = span.context();
    let span = context.span();
    let id = span.span_context().trace_id();
    (id != opentelemetry::TraceId::INVALID).then(|| id.to_string())
}

/// The headers that carry the current span's context to another service.
pub fn trace_headers() -> Vec<(String, String)> {
    let mut out = Outgoing::default();
    TraceContextPropagator::new().inject_context(&tracing::Span::current().context(), &mut out);
    out.0.retain(|(_, value)| !value.is_empty());
    out.0
}

/// Milliseconds since 1970 as RFC 3339 in UTC with milliseconds.
pub fn rfc3339(ms: i64) -> String {
    jiff::Timestamp::from_millisecond(ms).map_or_else(|_| ms.to_string(), |t| format!("{t:.3}"))
}
