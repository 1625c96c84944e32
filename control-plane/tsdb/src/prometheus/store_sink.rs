//! Our own store as the target of an import: each window becomes a block, beside what the store has already.

use super::import::{BulkError, BulkSink};
use crate::{Importer, Tsdb, check_histogram};
use model::{Labels, SampleColumns, Timestamp, Value};

/// Takes windows into a store that is open. Its retention should reach back to the oldest window.
#[derive(Debug)]
pub struct StoreSink {
    store: Tsdb,
    window: Option<Importer>,
    left_out: u64,
}

impl StoreSink {
    pub fn new(store: Tsdb) -> StoreSink {
        StoreSink { store, window: None, left_out: 0 }
    }

    /// Histograms that were left out, because the store takes none whose numbers contradict each other.
    pub fn left_out(&self) -> u64 {
        self.left_out
    }
}

/// The samples without histograms that are not consistent, and how many those are.
fn consistent(samples: &SampleColumns) -> (SampleColumns, u64) {
    let (mut out, mut left_out) = (SampleColumns::default(), 0);
    for (i, at) in samples.times.iter().enumerate() {
        match samples.value(i) {
            Value::Histogram(h) if !check_histogram(&h) => left_out += 1,
            value => out.push(*at, value, samples.starts.get(i).copied().filter(|s| *s != 0)),
        }
    }
    (out, left_out)
}

impl BulkSink for StoreSink {
    fn begin(&mut self, min: Timestamp, max: Timestamp) -> Result<(), BulkError> {
        // One that was not finished leaves nothing.
        self.window = None;
        let window = self.store.import(min, max);
        self.window = Some(window.map_err(|e| BulkError::with_source("a block cannot be begun", e))?);
        Ok(())
    }

    fn series(&mut self, labels: &Labels, samples: &SampleColumns) -> Result<(), BulkError> {
        let Some(window) = &mut self.window else { return Err(BulkError::new("no window was begun")) };
        let sound = samples.histograms.iter().all(|(_, h)| check_histogram(h));
        let outcome = if sound {
            window.series(labels, samples)
        } else {
            let (samples, left_out) = consistent(samples);
            self.left_out += left_out;
            window.series(labels, &samples)
        };
        outcome.map_err(|e| BulkError::with_source(format!("samples of {labels} were not taken"), e))
    }

    fn finish(&mut self) -> Result<(), BulkError> {
        let Some(window) = self.window.take() else { return Ok(()) };
        window.finish().map_err(|e| BulkError::with_source("a block cannot be ended", e))?;
        // Windows that were done twice, or that others reach into, become one.
        self.store.compact().map_err(|e| BulkError::with_source("blocks cannot be joined", e))
    }
}
