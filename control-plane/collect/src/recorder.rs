//! Writing samples that are made here rather than read: the host, Vigie itself, and in [`figures`] the results of
//! probes.
//!
//! Keeps the reference of each series, resolves it again when the store retired it, and ends series that are
//! not written any more with a staleness marker.

pub(crate) mod figures;

use model::{Append, AppendError, Batch, Labels, Reject, SeriesRef, Timestamp, stale_nan};
use std::{collections::HashMap, sync::Arc};

/// One series and its value.
pub(crate) type Reading = (Labels, f64);

#[derive(Debug)]
struct Known {
    series: SeriesRef,
    round: u64,
}

#[derive(Debug)]
pub(crate) struct Recorder {
    append: Arc<dyn Append>,
    known: HashMap<Labels, Known>,
    round: u64,
}

impl Recorder {
    pub(crate) fn new(append: Arc<dyn Append>) -> Self {
        Recorder { append, known: HashMap::new(), round: 0 }
    }

    /// Writes one round of readings at one time; what the last round had and this one has not ends. Of two
    /// readings of one series the first counts. Returns how many samples were taken.
    pub(crate) fn record(&mut self, at: Timestamp, readings: &[Reading]) -> Result<usize, AppendError> {
        self.round += 1;
        let mut batch = Batch::at(at);
        let mut of = Vec::with_capacity(readings.len());
        for (labels, value) in readings {
            let series = match self.known.get_mut(labels) {
                Some(known) if known.round == self.round => continue,
                Some(known) => {
                    known.round = self.round;
                    known.series
                }
                None => {
                    let series = self.append.resolve(labels)?;
                    self.known.insert(labels.clone(), Known { series, round: self.round });
                    series
                }
            };
            batch.push(series, *value);
            of.push(labels);
        }
        let round = self.round;
        let append = Arc::clone(&self.append);
        self.known.retain(|_, known| {
            let stays = known.round == round;
            if !stays {
                batch.push(known.series, stale_nan());
            }
            stays
        });
        let done = append.append(&batch)?;
        let mut again = Batch::at(at);
        for (i, why) in done.rejected {
            if why == Reject::UnknownSeries
                && let Some(labels) = of.get(i)
            {
                let series = append.resolve(labels)?;
                again.push(series, batch.values[i]);
                self.known.insert((*labels).clone(), Known { series, round });
            }
        }
        let more = if again.is_empty() { 0 } else { append.append(&again)?.accepted };
        Ok(done.accepted + more)
    }
}

/// A reading by name and labels.
pub(crate) fn reading(name: &str, labels: &Labels, value: f64) -> Reading {
    (labels.with(model::labels::METRIC_NAME, name), value)
}

#[cfg(test)]
mod tests;
