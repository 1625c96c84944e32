//! What every service counts about itself: requests, and its process. One registry a service.

use prometheus::{
    Encoder, HistogramOpts, HistogramVec, IntCounterVec, Opts, Registry, TextEncoder,
    process_collector::ProcessCollector,
};
use std::time::Duration;

/// Upper bounds of request durations in seconds: dense around the objective of 200 ms, up to the longest wait
/// for an AI answer.
const DURATION_BUCKETS: &[f64] =
    &[0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.2, 0.3, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0];

/// The request metrics of one service.
#[derive(Debug, Clone)]
pub struct HttpMetrics {
    service: String,
    requests: IntCounterVec,
    durations: HistogramVec,
}

impl HttpMetrics {
    /// Registers them, and the process's own, in `registry`.
    ///
    /// # Errors
    /// When the registry already has metrics of these names.
    pub fn register(registry: &Registry, service: &str) -> Result<Self, prometheus::Error> {
        let labels = ["service", "method", "route", "status"];
        let requests = IntCounterVec::new(Opts::new("http_requests_total", "Requests answered."), &labels)?;
        let durations = HistogramVec::new(
            HistogramOpts::new("http_request_duration_seconds", "Time from request to answer.")
                .buckets(DURATION_BUCKETS.to_vec()),
            &labels,
        )?;
        registry.register(Box::new(requests.clone()))?;
        registry.register(Box::new(durations.clone()))?;
        registry.register(Box::new(ProcessCollector::for_self()))?;
        Ok(HttpMetrics { service: service.to_owned(), requests, durations })
    }

    /// Counts one answer. `route` is the template, never the path, so that its values are few.
    pub fn observe(&self, method: &str, route: &str, status: u16, took: Duration) {
        let status = status.to_string();
        let labels = [self.service.as_str(), method, route, status.as_str()];
        self.requests.with_label_values(&labels).inc();
        self.durations.with_label_values(&labels).observe(took.as_secs_f64());
    }
}

/// The registry in the text format 0.0.4.
///
/// # Errors
/// When a metric cannot be written, which means that its collector is broken.
pub fn render(registry: &Registry) -> Result<String, prometheus::Error> {
    let mut out = Vec::new();
    TextEncoder::new().encode(&registry.gather(), &mut out)?;
    String::from_utf8(out).map_err(|e| prometheus::Error::Msg(e.to_string()))
}

/// The media type of [`render`]'s text.
pub const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";
