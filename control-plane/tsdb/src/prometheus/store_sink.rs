//! Our own store as the target of an import, through [`Append`]: samples go the way that scrapes go.
//!
//! So a window is taken only where the store has nothing newer of its series: an empty store takes everything. What
//! the store refuses but has already, because a window is done again after a crash, is as good as taken.

use super::import::{BulkError, BulkSink};
use crate::Tsdb;
use model::{
    Append, Batch, Entry, Labels, Matcher, Reject, SampleColumns, Select, SelectRequest, SeriesRef,
    Timestamp, Value,
};
use std::sync::Arc;

/// Samples that are appended together.
const BATCH: usize = 4096;

/// Takes windows into a store that is open. Its retention should reach back to the oldest window.
#[derive(Debug)]
pub struct StoreSink {
    store: Tsdb,
    batch: Batch,
    left_out: u64,
}

impl StoreSink {
    pub fn new(store: Tsdb) -> StoreSink {
        StoreSink { store, batch: Batch::default(), left_out: 0 }
    }

    /// Histograms that were left out, because the store takes none whose numbers contradict each other.
    pub fn left_out(&self) -> u64 {
        self.left_out
    }

    fn append(&mut self, labels: &Labels) -> Result<(), BulkError> {
        let taken = self
            .store
            .append(&self.batch)
            .map_err(|e| BulkError::with_source(format!("samples of {labels} were not taken"), e))?;
        for (i, why) in taken.rejected {
            if why == Reject::BadHistogram {
                self.left_out += 1;
                continue;
            }
            self.excuse(labels, &self.batch.entries[i], why)?;
        }
        self.batch.entries.clear();
        Ok(())
    }

    /// Nothing is lost when exactly this sample is there.
    fn excuse(&self, labels: &Labels, entry: &Entry, why: Reject) -> Result<(), BulkError> {
        let at = entry.at.unwrap_or_default();
        let lost = || {
            let newer = matches!(why, Reject::OutOfOrder | Reject::TooOld);
            let hint = if newer {
                "; a store takes what is newer than all it has: import into an empty one"
            } else {
                ""
            };
            BulkError::new(format!("the sample of {labels} at {at} is not taken: {why}{hint}"))
        };
        let matchers: Vec<Matcher> =
            labels.iter().map(|l| Matcher::eq(Arc::clone(&l.name), Arc::clone(&l.value))).collect();
        let read = |e| BulkError::with_source("the store cannot be read", e);
        let mut stream = self.store.select(&SelectRequest::new(&matchers, at, at)).map_err(read)?;
        let mut samples = SampleColumns::default();
        while let Some((_, found)) = stream.next(&mut samples).map_err(read)? {
            if found == *labels && !samples.is_empty() && same(&samples.value(0), &entry.value) {
                return Ok(());
            }
        }
        Err(lost())
    }
}

fn same(a: &Value, b: &Value) -> bool {
    match (a, b) {
        (Value::Float(a), Value::Float(b)) => a.to_bits() == b.to_bits(),
        (a, b) => a == b || (a.is_stale() && b.is_stale()),
    }
}

impl BulkSink for StoreSink {
    fn begin(&mut self, _min: Timestamp, max: Timestamp) -> Result<(), BulkError> {
        // Moves what is full to blocks, and lets samples up to the window's end in.
        self.store.maintain(max).map_err(|e| BulkError::with_source("the store cannot make room", e))?;
        Ok(())
    }

    fn series(&mut self, labels: &Labels, samples: &SampleColumns) -> Result<(), BulkError> {
        let id: SeriesRef = self
            .store
            .resolve(labels)
            .map_err(|e| BulkError::with_source(format!("the series {labels} is not taken"), e))?;
        let mut histograms = samples.histograms.iter().peekable();
        for (i, at) in samples.times.iter().enumerate() {
            let value = match histograms.next_if(|(n, _)| *n == i) {
                Some((_, h)) => Value::Histogram(Arc::clone(h)),
                None => Value::Float(samples.values[i]),
            };
            let start = samples.starts.get(i).copied().filter(|s| *s != 0);
            self.batch.entries.push(Entry { series: id, at: Some(*at), start, value });
            if self.batch.entries.len() >= BATCH {
                self.append(labels)?;
            }
        }
        self.append(labels)
    }

    fn finish(&mut self) -> Result<(), BulkError> {
        self.store.sync().map_err(|e| BulkError::with_source("the samples cannot be synced", e))
    }
}
