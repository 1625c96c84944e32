//! What an export request says, whichever of its two encodings it came in.

/// A name and a value, the value as text.
pub(crate) type Attribute = (String, String);

#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct ResourceMetrics {
    pub(crate) attributes: Vec<Attribute>,
    pub(crate) scopes: Vec<ScopeMetrics>,
}

#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct ScopeMetrics {
    pub(crate) name: String,
    pub(crate) version: String,
    pub(crate) schema_url: String,
    pub(crate) attributes: Vec<Attribute>,
    pub(crate) metrics: Vec<Metric>,
}

#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Metric {
    pub(crate) name: String,
    pub(crate) description: String,
    pub(crate) unit: String,
    pub(crate) shape: Shape,
    pub(crate) temporality: Temporality,
    /// Of a sum: it only grows.
    pub(crate) monotonic: bool,
    pub(crate) points: Vec<Point>,
}

/// Which kind of points a metric has.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) enum Shape {
    #[default]
    None,
    Gauge,
    Sum,
    Histogram,
    Exponential,
    Summary,
}

/// What a name's suffix depends on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Gauge,
    Counter,
    Other,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) enum Temporality {
    #[default]
    Unspecified,
    Delta,
    Cumulative,
}

impl From<u64> for Temporality {
    fn from(number: u64) -> Self {
        match number {
            1 => Temporality::Delta,
            2 => Temporality::Cumulative,
            _ => Temporality::Unspecified,
        }
    }
}

/// A point of any shape; what its shape does not have is empty.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Point {
    pub(crate) attributes: Vec<Attribute>,
    /// Nanoseconds since 1970.
    pub(crate) start: u64,
    pub(crate) at: u64,
    pub(crate) flags: u64,
    pub(crate) value: f64,
    pub(crate) count: u64,
    pub(crate) sum: Option<f64>,
    pub(crate) bucket_counts: Vec<u64>,
    pub(crate) bounds: Vec<f64>,
    pub(crate) scale: i32,
    pub(crate) zero_count: u64,
    pub(crate) zero_threshold: f64,
    pub(crate) positive: Buckets,
    pub(crate) negative: Buckets,
    /// Quantiles and their values.
    pub(crate) quantiles: Vec<(f64, f64)>,
    pub(crate) exemplars: Vec<Exemplar>,
}

#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Buckets {
    pub(crate) offset: i32,
    pub(crate) counts: Vec<u64>,
}

#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Exemplar {
    pub(crate) attributes: Vec<Attribute>,
    pub(crate) at: u64,
    pub(crate) value: f64,
    /// In hexadecimal digits.
    pub(crate) trace_id: String,
    pub(crate) span_id: String,
}
