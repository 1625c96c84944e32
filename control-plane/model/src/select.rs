//! Reading samples: [`Select`].
//!
//! A reader asks with matchers and a time range and is given one series after the other, decoded into columns
//! that it owns and reuses. Work is bounded by [`Limits`] and stops when [`Cancel`] says so: a caller with a
//! deadline arms a timer that cancels, so the store itself needs no clock.

use crate::{
    append::SeriesRef,
    histogram::Histogram,
    labels::Labels,
    matcher::Matcher,
    sample::{Timestamp, Value},
};
use std::sync::{
    Arc,
    atomic::{AtomicU8, Ordering},
};

/// Why a query was stopped from outside.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum CancelReason {
    Deadline = 1,
    ClientGone = 2,
    Shutdown = 3,
}

/// A flag that stops a query. Clones share it; the first reason stays.
#[derive(Debug, Clone, Default)]
pub struct Cancel(Arc<AtomicU8>);

impl Cancel {
    pub fn cancel(&self, reason: CancelReason) {
        // A later reason must not hide the first: losing the race is fine.
        let _lost = self.0.compare_exchange(0, reason as u8, Ordering::Relaxed, Ordering::Relaxed);
    }

    pub fn reason(&self) -> Option<CancelReason> {
        match self.0.load(Ordering::Relaxed) {
            1 => Some(CancelReason::Deadline),
            2 => Some(CancelReason::ClientGone),
            3 => Some(CancelReason::Shutdown),
            _ => None,
        }
    }

    /// `Err` once the flag is set. Cheap: call it for every series and every few thousand samples.
    pub fn check(&self) -> Result<(), SelectError> {
        self.reason().map_or(Ok(()), |reason| Err(SelectError::Cancelled(reason)))
    }
}

/// What one query may touch. `None` means without limit.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Limits {
    pub series: Option<usize>,
    pub samples: Option<usize>,
    /// Whether the caller must not wait: only memory may be looked at, and what would wait for a disk or a network
    /// is refused.
    pub memory_only: bool,
}

/// What the evaluator is going to do with the samples. A store may use it to read less, and may ignore it.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Hints {
    /// Milliseconds between evaluations; 0 for an instant query.
    pub step: i64,
    /// Milliseconds of a range selector; 0 without one.
    pub range: i64,
    /// The function or aggregation around the selector, empty when there is none.
    pub func: String,
    /// Labels that the surrounding aggregation keeps (`by`) or drops (not `by`).
    pub grouping: Vec<String>,
    pub by: bool,
    /// Of each series only the newest sample within the range is looked at.
    pub newest: bool,
    /// Only these labels are looked at, ascending by name: a store may leave all others out, so that several series
    /// show the same labels, and may give series in any order.
    pub labels: Option<Vec<String>>,
}

/// Which samples are wanted. Both ends are inclusive.
#[derive(Debug, Clone)]
pub struct SelectRequest<'a> {
    pub matchers: &'a [Matcher],
    pub start: Timestamp,
    pub end: Timestamp,
    pub hints: Hints,
    pub limits: Limits,
    pub cancel: Cancel,
}

impl<'a> SelectRequest<'a> {
    /// A request without hints or limits.
    pub fn new(matchers: &'a [Matcher], start: Timestamp, end: Timestamp) -> Self {
        SelectRequest {
            matchers,
            start,
            end,
            hints: Hints::default(),
            limits: Limits::default(),
            cancel: Cancel::default(),
        }
    }
}

/// The samples of one series in columns, oldest first, times strictly ascending.
///
/// A sample is a float unless its index stands in `histograms`, which ascends by index; its float is then
/// meaningless. `starts` is empty when no sample has a start time, else as long as `times`, 0 for none.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct SampleColumns {
    pub times: Vec<Timestamp>,
    pub values: Vec<f64>,
    pub histograms: Vec<(usize, Arc<Histogram>)>,
    pub starts: Vec<Timestamp>,
}

impl SampleColumns {
    pub fn clear(&mut self) {
        self.times.clear();
        self.values.clear();
        self.histograms.clear();
        self.starts.clear();
    }

    pub fn len(&self) -> usize {
        self.times.len()
    }

    pub fn is_empty(&self) -> bool {
        self.times.is_empty()
    }

    pub fn push(&mut self, at: Timestamp, value: Value, start: Option<Timestamp>) {
        if start.is_some() && self.starts.is_empty() {
            self.starts.resize(self.times.len(), 0);
        }
        match value {
            Value::Float(v) => self.values.push(v),
            Value::Histogram(h) => {
                self.histograms.push((self.times.len(), h));
                self.values.push(f64::NAN);
            }
        }
        self.times.push(at);
        if !self.starts.is_empty() || start.is_some() {
            self.starts.push(start.unwrap_or(0));
        }
    }

    /// The value at index `i`. Slow on columns with many histograms: walk them in step instead.
    pub fn value(&self, i: usize) -> Value {
        match self.histograms.binary_search_by_key(&i, |(at, _)| *at) {
            Ok(h) => Value::Histogram(Arc::clone(&self.histograms[h].1)),
            Err(_) => Value::Float(self.values[i]),
        }
    }
}

/// Why a select gave no answer.
#[derive(Debug, thiserror::Error)]
pub enum SelectError {
    #[error("the query would touch more than {limit} {what}")]
    Limit { what: &'static str, limit: usize },
    #[error("the query was stopped: {}", match .0 { CancelReason::Deadline => "it took too long", CancelReason::ClientGone => "its client went away", CancelReason::Shutdown => "the server is stopping" })]
    Cancelled(CancelReason),
    #[error("reading the store failed")]
    Io(#[source] std::io::Error),
    #[error("the store holds damaged data: {0}")]
    Corrupt(String),
    #[error("the store could not be asked: {0}")]
    Remote(String),
}

/// Series one after the other, in ascending order of their labels.
pub trait SeriesStream {
    /// Decodes the next series into `into` (which is cleared first) and returns its labels and reference, or
    /// `None` at the end. Series without a sample in the range are left out.
    fn next(&mut self, into: &mut SampleColumns) -> Result<Option<(SeriesRef, Labels)>, SelectError>;
}

/// Where samples come from. An implementation answers from one consistent snapshot per call.
pub trait Select: Send + Sync + std::fmt::Debug {
    fn select<'a>(&'a self, request: &SelectRequest<'_>) -> Result<Box<dyn SeriesStream + 'a>, SelectError>;

    /// Label sets of series that match all of `matchers` and may have samples in the range, sorted.
    fn series(&self, request: &SelectRequest<'_>) -> Result<Vec<Labels>, SelectError>;

    /// Names of labels that such series carry, sorted.
    fn label_names(&self, request: &SelectRequest<'_>) -> Result<Vec<String>, SelectError>;

    /// Values of label `name` among such series, sorted.
    fn label_values(&self, name: &str, request: &SelectRequest<'_>) -> Result<Vec<String>, SelectError>;
}
