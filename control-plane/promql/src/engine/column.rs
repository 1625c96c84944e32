//! The evaluator's unit of work: one series over all steps of a query.

use model::{Histogram, Labels, STALE_NAN_BITS, Timestamp, Value};
use std::sync::Arc;

/// The evaluation times `start + i * step` for `i < len`, in milliseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Grid {
    pub(crate) start: Timestamp,
    pub(crate) step: i64,
    pub(crate) len: usize,
}

impl Grid {
    pub(crate) fn time(&self, i: usize) -> Timestamp {
        self.start.saturating_add(self.step.saturating_mul(i64::try_from(i).unwrap_or(i64::MAX)))
    }

    pub(crate) fn last(&self) -> Timestamp {
        self.time(self.len.saturating_sub(1))
    }
}

/// The value at a step where a series has none. Nobody can compute it: it is the bit pattern of the staleness
/// marker, which selectors never let through.
pub(crate) const ABSENT: f64 = f64::from_bits(STALE_NAN_BITS);

pub(crate) fn is_absent(v: f64) -> bool {
    v.to_bits() == STALE_NAN_BITS
}

/// One series over all steps of a grid.
#[derive(Debug, Clone)]
pub(crate) struct Column {
    pub(crate) labels: Labels,
    /// Whether name, type and unit go away at the end of the query.
    pub(crate) drop_name: bool,
    /// A float per step; [`ABSENT`] where there is none.
    pub(crate) values: Vec<f64>,
    /// A histogram per step where there is one; empty if the series has none at all.
    pub(crate) histograms: Vec<Option<Arc<Histogram>>>,
}

impl Column {
    pub(crate) fn empty(labels: Labels, drop_name: bool, len: usize) -> Self {
        Column { labels, drop_name, values: vec![ABSENT; len], histograms: Vec::new() }
    }

    /// Makes it an empty column again, of no series yet.
    pub(crate) fn reset(&mut self, len: usize) {
        self.values.clear();
        self.values.resize(len, ABSENT);
        self.histograms.clear();
        self.drop_name = false;
    }

    /// A scalar as a series without labels.
    pub(crate) fn scalar(values: Vec<f64>) -> Self {
        Column { labels: Labels::default(), drop_name: false, values, histograms: Vec::new() }
    }

    pub(crate) fn histogram(&self, i: usize) -> Option<&Arc<Histogram>> {
        self.histograms.get(i).and_then(Option::as_ref)
    }

    pub(crate) fn float(&self, i: usize) -> Option<f64> {
        let v = self.values[i];
        (!is_absent(v)).then_some(v)
    }

    pub(crate) fn get(&self, i: usize) -> Option<Value> {
        match self.float(i) {
            Some(v) => Some(Value::Float(v)),
            None => self.histogram(i).map(|h| Value::Histogram(Arc::clone(h))),
        }
    }

    pub(crate) fn present(&self, i: usize) -> bool {
        !is_absent(self.values[i]) || self.histogram(i).is_some()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.values.iter().all(|v| is_absent(*v)) && self.histograms.iter().all(Option::is_none)
    }

    pub(crate) fn set(&mut self, i: usize, value: Value) {
        match value {
            Value::Float(v) => {
                self.values[i] = v;
                if let Some(slot) = self.histograms.get_mut(i) {
                    *slot = None;
                }
            }
            Value::Histogram(h) => {
                self.values[i] = ABSENT;
                if self.histograms.is_empty() {
                    self.histograms.resize(self.values.len(), None);
                }
                self.histograms[i] = Some(h);
            }
        }
    }

    pub(crate) fn clear(&mut self, i: usize) {
        self.values[i] = ABSENT;
        if let Some(slot) = self.histograms.get_mut(i) {
            *slot = None;
        }
    }

    /// The same value at every one of `len` steps, from a column of one step.
    pub(crate) fn broadcast(self, len: usize) -> Self {
        let histograms = match self.histograms.first() {
            Some(h) => vec![h.clone(); len],
            None => Vec::new(),
        };
        Column { values: vec![self.values.first().copied().unwrap_or(ABSENT); len], histograms, ..self }
    }

    /// What it weighs against the limit on samples.
    pub(crate) fn weight(&self) -> usize {
        let histograms: usize =
            self.histograms.iter().flatten().map(|h| 2 + (h.positive.len() + h.negative.len()) / 2).sum();
        self.values.len() + histograms
    }
}
