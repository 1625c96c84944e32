//! Writing samples: [`Append`].
//!
//! A writer resolves each label set once and keeps the reference; after that a scrape is a column of
//! references and a column of numbers under one timestamp. What does not fit that shape (a histogram, a
//! timestamp or start time of its own) travels as an [`Entry`].

use crate::{
    labels::Labels,
    sample::{Timestamp, Value},
};

/// A series as the store knows it. Valid for the store that gave it, in this process; the store may retire it
/// (then the sample is rejected with [`Reject::UnknownSeries`] and the writer resolves again).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SeriesRef(pub u64);

/// A sample that cannot go into the columns.
#[derive(Debug, Clone, PartialEq)]
pub struct Entry {
    pub series: SeriesRef,
    /// Its own time; `None` means the batch's.
    pub at: Option<Timestamp>,
    /// When its counting began, where that is known.
    pub start: Option<Timestamp>,
    pub value: Value,
}

/// Samples to append together. `series[i]` gets `values[i]` at `at`; then come the `entries`.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Batch {
    pub at: Timestamp,
    pub series: Vec<SeriesRef>,
    pub values: Vec<f64>,
    pub entries: Vec<Entry>,
}

impl Batch {
    pub fn at(at: Timestamp) -> Self {
        Batch { at, ..Batch::default() }
    }

    pub fn push(&mut self, series: SeriesRef, value: f64) {
        self.series.push(series);
        self.values.push(value);
    }

    pub fn len(&self) -> usize {
        self.series.len() + self.entries.len()
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Empties the batch for another time, keeping its memory.
    pub fn reset(&mut self, at: Timestamp) {
        self.at = at;
        self.series.clear();
        self.values.clear();
        self.entries.clear();
    }
}

/// Why one sample of a batch was not taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, thiserror::Error)]
pub enum Reject {
    #[error("the series is not known any more: resolve it again")]
    UnknownSeries,
    #[error("the sample is older than the newest one of its series")]
    OutOfOrder,
    #[error("the sample is older than the store still accepts")]
    TooOld,
    #[error("another value for the same time is already there")]
    Duplicate,
    #[error("the sample is too far in the future")]
    TooFarAhead,
    #[error("the histogram is not consistent")]
    BadHistogram,
}

/// What became of a batch. The index of a rejected sample counts the columns first, then the entries.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Appended {
    pub accepted: usize,
    pub rejected: Vec<(usize, Reject)>,
}

/// The store took nothing of a batch, or cannot promise what it took.
#[derive(Debug, thiserror::Error)]
pub enum AppendError {
    /// A limit on active series or memory; the samples of known series are still taken.
    #[error("{0}")]
    Limit(String),
    #[error("the label set is not valid: {0}")]
    BadLabels(String),
    /// The log cannot be written; no sample is accepted until the store is opened again.
    #[error("the store takes no more samples until it is opened again")]
    Poisoned,
    #[error("writing the log failed")]
    Io(#[source] std::io::Error),
    #[error("the store is closed")]
    Closed,
}

/// Where samples go.
///
/// `append` returns when readers see the samples; they survive a crash once `sync` called after it returned.
/// The store also syncs by itself every second.
pub trait Append: Send + Sync + std::fmt::Debug {
    /// The reference of the series with exactly these labels, which is created when it is new.
    fn resolve(&self, labels: &Labels) -> Result<SeriesRef, AppendError>;

    /// Appends all that can be appended; one bad sample never rejects its neighbours.
    fn append(&self, batch: &Batch) -> Result<Appended, AppendError>;

    /// Returns when everything appended before the call is on disk.
    fn sync(&self) -> Result<(), AppendError>;
}
