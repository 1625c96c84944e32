//! Native histograms, in their float form.
//!
//! The same shape as Prometheus's `FloatHistogram`: buckets of exponential width (schemas -4 to 8) or with
//! custom upper bounds (schema -53), stored sparsely as spans. Integer histograms are held as floats: counts
//! below 2^53 are exact. Arithmetic on histograms belongs to `promql`, encoding to `tsdb`.

use std::sync::Arc;

/// The schema number that means custom bounds.
pub const CUSTOM_BUCKETS_SCHEMA: i32 = -53;

/// What is known about whether this sample starts counting anew.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum CounterReset {
    #[default]
    Unknown,
    Reset,
    NotReset,
    /// A gauge histogram, to which resets do not apply.
    Gauge,
}

/// A run of `length` consecutive buckets that begins `offset` buckets after the end of the run before it (the
/// first one: after bucket 0).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Span {
    pub offset: i32,
    pub length: u32,
}

/// A native histogram. Bucket counts are absolute (not deltas, not cumulative), one for each bucket of the
/// spans, in their order.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Histogram {
    pub reset: CounterReset,
    pub schema: i32,
    pub zero_threshold: f64,
    pub zero_count: f64,
    pub count: f64,
    pub sum: f64,
    pub positive_spans: Vec<Span>,
    pub positive: Vec<f64>,
    pub negative_spans: Vec<Span>,
    pub negative: Vec<f64>,
    /// Upper bounds in ascending order, without +Inf; only with [`CUSTOM_BUCKETS_SCHEMA`].
    pub custom_bounds: Option<Arc<[f64]>>,
}

impl Histogram {
    pub fn uses_custom_buckets(&self) -> bool {
        self.schema == CUSTOM_BUCKETS_SCHEMA
    }
}
