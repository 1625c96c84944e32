//! Samples: a point in time with a float or a native histogram.

use crate::histogram::Histogram;
use std::sync::Arc;

/// Milliseconds since 1970-01-01T00:00:00Z, negative before it.
pub type Timestamp = i64;

/// The bits of the NaN that ends a series, as Prometheus writes it. No other NaN means that.
pub const STALE_NAN_BITS: u64 = 0x7ff0_0000_0000_0002;

/// The NaN that ends a series.
pub fn stale_nan() -> f64 {
    f64::from_bits(STALE_NAN_BITS)
}

/// Whether `v` is the staleness marker; an ordinary NaN is not.
pub fn is_stale_nan(v: f64) -> bool {
    v.to_bits() == STALE_NAN_BITS
}

/// What a sample holds.
#[derive(Debug, Clone, PartialEq)]
pub enum Value {
    Float(f64),
    Histogram(Arc<Histogram>),
}

impl Value {
    /// Whether this ends the series: a stale NaN, or a histogram whose sum is one.
    pub fn is_stale(&self) -> bool {
        match self {
            Value::Float(v) => is_stale_nan(*v),
            Value::Histogram(h) => is_stale_nan(h.sum),
        }
    }
}

/// A value at a time, with the time at which its counting began where that is known.
#[derive(Debug, Clone, PartialEq)]
pub struct Sample {
    pub at: Timestamp,
    pub start: Option<Timestamp>,
    pub value: Value,
}
