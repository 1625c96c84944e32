//! A store in memory, for tests of rules, queries and whoever needs a [`Select`] without a disk.
//!
//! It keeps everything, accepts samples in any order of series but ascending time within one, and answers from
//! what is there when a select begins. It is not a database: no limits, no retention, every select scans.

use crate::{
    engine::is_reset,
    parse::series::{SeriesDescription, SeriesValue},
};
use model::{
    Append, AppendError, Appended, Batch, CounterReset, Labels, Matcher, Reject, SampleColumns, Select,
    SelectError, SelectRequest, SeriesRef, SeriesStream, Timestamp, Value,
};
use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

#[derive(Debug, Default)]
struct State {
    index: BTreeMap<Labels, usize>,
    series: Vec<(Labels, Arc<SampleColumns>)>,
}

/// Series in memory. Clones share nothing; share it behind an `Arc`.
#[derive(Debug, Default)]
pub struct MemoryStore {
    state: Mutex<State>,
}

impl MemoryStore {
    pub fn new() -> Self {
        Self::default()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // Every change is complete before the lock goes; a panic elsewhere damages nothing.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Appends one sample. Times within a series must not go back; a sample at the last one's time replaces it.
    pub fn push(
        &self,
        labels: &Labels,
        at: Timestamp,
        value: Value,
        start: Option<Timestamp>,
    ) -> Result<(), Reject> {
        let mut state = self.state();
        let index = state.resolve(labels);
        state.push(index, at, value, start)
    }

    /// Appends the values of a series description at `start`, `start + interval`, and so on (milliseconds).
    /// Start times, if given, must come from a description of as many values.
    pub fn load(
        &self,
        series: &SeriesDescription,
        starts: Option<&SeriesDescription>,
        start: Timestamp,
        interval: i64,
    ) -> Result<(), Reject> {
        let mut state = self.state();
        let index = state.resolve(&series.labels);
        let mut at = start;
        for (i, value) in series.values.iter().enumerate() {
            let offset = match starts.and_then(|s| s.values.get(i)) {
                Some(SeriesValue::Float(seconds)) => {
                    #[expect(clippy::cast_possible_truncation, reason = "saturates for absurd start times")]
                    let ms = (seconds * 1000.0).round() as i64;
                    Some(at.saturating_add(ms))
                }
                _ => None,
            };
            match value {
                SeriesValue::Omitted => {}
                SeriesValue::Float(v) => state.push(index, at, Value::Float(*v), offset)?,
                SeriesValue::Histogram { histogram, .. } => {
                    state.push(index, at, Value::Histogram(Arc::clone(histogram)), offset)?;
                }
            }
            at = at.saturating_add(interval);
        }
        Ok(())
    }

    /// Forgets everything.
    pub fn clear(&self) {
        *self.state() = State::default();
    }

    /// The number of series.
    pub fn len(&self) -> usize {
        self.state().series.len()
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Series that match and have samples in the range, by labels.
    fn matching(&self, request: &SelectRequest<'_>) -> Vec<(SeriesRef, Labels, Arc<SampleColumns>)> {
        let state = self.state();
        let wanted = |labels: &Labels| request.matchers.iter().all(|m: &Matcher| m.matches_labels(labels));
        state
            .index
            .iter()
            .filter(|(labels, _)| wanted(labels))
            .map(|(labels, i)| (SeriesRef(*i as u64), labels.clone(), Arc::clone(&state.series[*i].1)))
            .filter(|(_, _, columns)| !within(columns, request).is_empty())
            .collect()
    }
}

/// The indexes of samples within the request's range.
fn within(columns: &SampleColumns, request: &SelectRequest<'_>) -> std::ops::Range<usize> {
    let from = columns.times.partition_point(|t| *t < request.start);
    let to = columns.times.partition_point(|t| *t <= request.end);
    from..to.max(from)
}

impl State {
    fn resolve(&mut self, labels: &Labels) -> usize {
        if let Some(i) = self.index.get(labels) {
            return *i;
        }
        let i = self.series.len();
        self.index.insert(labels.clone(), i);
        self.series.push((labels.clone(), Arc::default()));
        i
    }

    fn push(
        &mut self,
        index: usize,
        at: Timestamp,
        value: Value,
        start: Option<Timestamp>,
    ) -> Result<(), Reject> {
        let (_, columns) = self.series.get_mut(index).ok_or(Reject::UnknownSeries)?;
        let columns = Arc::make_mut(columns);
        match columns.times.last() {
            Some(last) if *last > at => return Err(Reject::OutOfOrder),
            Some(last) if *last == at => {
                columns.times.pop();
                columns.values.pop();
                columns.starts.pop();
                columns.histograms.retain(|(i, _)| *i < columns.times.len());
            }
            _ => {}
        }
        columns.push(at, noted(value, columns), start);
        Ok(())
    }
}

/// A histogram that says nothing of resets is marked where it plainly goes on from the sample before it, as a
/// store that encodes histograms marks it.
fn noted(value: Value, before: &SampleColumns) -> Value {
    let Value::Histogram(mut h) = value else { return value };
    let last = before.histograms.last().filter(|(i, _)| i + 1 == before.len());
    if let Some((_, last)) = last
        && h.reset == CounterReset::Unknown
        && last.reset != CounterReset::Gauge
        && !is_reset(&h, last)
    {
        Arc::make_mut(&mut h).reset = CounterReset::NotReset;
    }
    Value::Histogram(h)
}

impl Append for MemoryStore {
    fn resolve(&self, labels: &Labels) -> Result<SeriesRef, AppendError> {
        Ok(SeriesRef(self.state().resolve(labels) as u64))
    }

    fn append(&self, batch: &Batch) -> Result<Appended, AppendError> {
        let mut state = self.state();
        let mut out = Appended::default();
        let columns =
            batch.series.iter().zip(&batch.values).map(|(s, v)| (*s, batch.at, None, Value::Float(*v)));
        let entries =
            batch.entries.iter().map(|e| (e.series, e.at.unwrap_or(batch.at), e.start, e.value.clone()));
        for (i, (series, at, start, value)) in columns.chain(entries).enumerate() {
            let index = usize::try_from(series.0).unwrap_or(usize::MAX);
            match state.push(index, at, value, start) {
                Ok(()) => out.accepted += 1,
                Err(why) => out.rejected.push((i, why)),
            }
        }
        Ok(out)
    }

    fn sync(&self) -> Result<(), AppendError> {
        Ok(())
    }
}

struct Stream {
    series: std::vec::IntoIter<(SeriesRef, Labels, Arc<SampleColumns>)>,
    start: Timestamp,
    end: Timestamp,
    cancel: model::Cancel,
}

impl SeriesStream for Stream {
    fn next(&mut self, into: &mut SampleColumns) -> Result<Option<(SeriesRef, Labels)>, SelectError> {
        into.clear();
        self.cancel.check()?;
        let Some((series, labels, columns)) = self.series.next() else { return Ok(None) };
        let from = columns.times.partition_point(|t| *t < self.start);
        let to = columns.times.partition_point(|t| *t <= self.end);
        into.times.extend_from_slice(&columns.times[from..to]);
        into.values.extend_from_slice(&columns.values[from..to]);
        if !columns.starts.is_empty() {
            into.starts.extend_from_slice(&columns.starts[from..to]);
        }
        let histograms = columns.histograms.iter().filter(|(i, _)| (from..to).contains(i));
        into.histograms.extend(histograms.map(|(i, h)| (i - from, Arc::clone(h))));
        Ok(Some((series, labels)))
    }
}

impl Select for MemoryStore {
    fn select<'a>(&'a self, request: &SelectRequest<'_>) -> Result<Box<dyn SeriesStream + 'a>, SelectError> {
        let found = self.matching(request);
        if let Some(limit) = request.limits.series.filter(|most| found.len() > *most) {
            return Err(SelectError::Limit { what: "series", limit });
        }
        Ok(Box::new(Stream {
            series: found.into_iter(),
            start: request.start,
            end: request.end,
            cancel: request.cancel.clone(),
        }))
    }

    fn series(&self, request: &SelectRequest<'_>) -> Result<Vec<Labels>, SelectError> {
        Ok(self.matching(request).into_iter().map(|(_, labels, _)| labels).collect())
    }

    fn label_names(&self, request: &SelectRequest<'_>) -> Result<Vec<String>, SelectError> {
        let found = self.matching(request);
        let mut names: Vec<String> =
            found.iter().flat_map(|(_, l, _)| l.iter()).map(|l| l.name.to_string()).collect();
        names.sort();
        names.dedup();
        Ok(names)
    }

    fn label_values(&self, name: &str, request: &SelectRequest<'_>) -> Result<Vec<String>, SelectError> {
        let found = self.matching(request);
        let mut values: Vec<String> =
            found.iter().filter_map(|(_, l, _)| l.get(name)).map(ToOwned::to_owned).collect();
        values.sort();
        values.dedup();
        Ok(values)
    }
}
