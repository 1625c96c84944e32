//! What one query holds and reads, against its limits. The only place that knows them.
//!
//! Figures are counted, not measured: the same query over the same data always ends the same way. Bytes are what the
//! evaluator's own columns, accumulators and made-up labels take; what a store needs to read is the store's.

use super::{EngineConfig, EvalError, LIGHT_LOOKS, pool::Lease};

/// Time and value of a sample while it is held.
const SAMPLE_BYTES: usize = 16;

/// A series besides its samples: the column, its place in an index, its labels' share.
const SERIES_BYTES: usize = 256;

/// A point of the answer and its text, as somebody will write it.
const POINT_BYTES: usize = 72;

/// The longest label value that a query may make. Prometheus bounds none; then a dozen nested `label_replace` that
/// write a value twice take the memory of the process.
pub(crate) const LABEL_BYTES: usize = 64 << 10;

#[derive(Debug)]
pub(crate) struct Quota<'a> {
    config: &'a EngineConfig,
    held: Held,
    series: usize,
    looked: usize,
    /// What it has of the memory of all queries.
    pub(crate) lease: Lease,
    pub(crate) peak_samples: usize,
    pub(crate) peak_bytes: usize,
}

/// What is held at one time.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Held {
    samples: usize,
    /// Besides the samples.
    bytes: usize,
    /// Stays until the query ends.
    kept: usize,
}

impl<'a> Quota<'a> {
    pub(crate) fn new(config: &'a EngineConfig) -> Self {
        let lease = Lease::of(config.pool.as_ref());
        Quota { config, held: Held::default(), series: 0, looked: 0, lease, peak_samples: 0, peak_bytes: 0 }
    }

    /// What is held now, to come [back to](Quota::back_to).
    pub(crate) fn mark(&self) -> Held {
        self.held
    }

    /// Lets go of what was held since the mark, but for what stays.
    pub(crate) fn back_to(&mut self, mark: Held) {
        self.held = Held { kept: self.held.kept, ..mark };
    }

    pub(crate) fn hold(&mut self, samples: usize) -> Result<(), EvalError> {
        self.held.samples = self.held.samples.saturating_add(samples);
        self.peak_samples = self.peak_samples.max(self.held.samples);
        if self.held.samples > self.config.max_samples {
            return Err(EvalError::TooManySamples(self.config.max_samples));
        }
        self.weigh()
    }

    pub(crate) fn release(&mut self, samples: usize) {
        self.held.samples = self.held.samples.saturating_sub(samples);
    }

    /// Holds `count` results in the making that take `size` bytes each, until the node is done.
    pub(crate) fn hold_each(&mut self, count: usize, size: usize) -> Result<(), EvalError> {
        self.held.bytes = self.held.bytes.saturating_add(count.saturating_mul(size));
        self.weigh()
    }

    /// Holds what `series` series take besides their samples.
    pub(crate) fn hold_series(&mut self, series: usize) -> Result<(), EvalError> {
        self.hold_each(series, SERIES_BYTES)
    }

    /// Holds the points of an answer.
    pub(crate) fn hold_answer(&mut self, points: usize) -> Result<(), EvalError> {
        self.hold_each(points, POINT_BYTES)
    }

    /// Holds a label value that the query made, which goes where its series goes.
    pub(crate) fn keep_label(&mut self, function: &str, text: &str) -> Result<(), EvalError> {
        if text.len() > LABEL_BYTES {
            return Err(EvalError::Execution(format!(
                "{function} would make a label value of {} bytes: at most {LABEL_BYTES} are allowed",
                text.len()
            )));
        }
        self.held.kept = self.held.kept.saturating_add(text.len());
        self.weigh()
    }

    /// Counts a series that was read.
    pub(crate) fn read_series(&mut self) -> Result<(), EvalError> {
        self.series += 1;
        if self.series > self.config.max_series { Err(self.too_many_series()) } else { Ok(()) }
    }

    /// Counts what windows look at: a light query must not look long.
    pub(crate) fn look(&mut self, samples: usize) -> Result<(), EvalError> {
        self.looked = self.looked.saturating_add(samples);
        if self.config.light && self.looked > LIGHT_LOOKS {
            return Err(EvalError::TooManySamples(self.config.max_samples));
        }
        Ok(())
    }

    /// How many series one selector may still read.
    pub(crate) fn series_left(&self) -> usize {
        self.config.max_series.saturating_sub(self.series)
    }

    /// What it means that a store would not give as many series as there are.
    pub(crate) fn too_many_series(&self) -> EvalError {
        EvalError::TooManySeries(self.config.max_series)
    }

    fn weigh(&mut self) -> Result<(), EvalError> {
        let Held { samples, bytes, kept } = self.held;
        let bytes = samples.saturating_mul(SAMPLE_BYTES).saturating_add(bytes).saturating_add(kept);
        self.peak_bytes = self.peak_bytes.max(bytes);
        if bytes > self.config.max_bytes {
            return Err(EvalError::TooMuchMemory(self.config.max_bytes));
        }
        self.lease.cover(bytes)
    }
}
