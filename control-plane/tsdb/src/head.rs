//! The head: recent samples, in memory, open for writing.
//!
//! A table from numbers to series, an index over their labels, and for each series its sealed chunks and one
//! open chunk. Not thread-safe by itself: `store` keeps it behind a lock, readers carry shared chunks away.
//! Invariants: a series' samples ascend strictly; no chunk crosses a border of the block range; a number is
//! never given twice.

mod table;

use crate::{
    chunk::{Chunk, OpenChunk, check_histogram},
    postings::{Index, Postings, Visit},
    record::Full,
};
use model::{Batch, Labels, Reject, SelectError, Timestamp, Value};
use std::{
    borrow::Cow,
    collections::{HashMap, HashSet},
    sync::Arc,
};
use table::Table;

/// Part of a series' samples that a reader holds.
#[derive(Debug, Clone)]
pub(crate) enum Piece {
    Sealed(Arc<Chunk>),
    Open(Arc<OpenChunk>),
}

impl Piece {
    pub(crate) fn put(&self, out: &mut Vec<u8>) {
        match self {
            Piece::Sealed(c) => c.put(out),
            Piece::Open(c) => c.put_to(out),
        }
    }

    pub(crate) fn range(&self) -> (Timestamp, Timestamp) {
        match self {
            Piece::Sealed(c) => (c.min, c.max),
            Piece::Open(c) => (c.min(), c.max()),
        }
    }
}

/// A series as a reader takes it away.
#[derive(Debug, Clone)]
pub(crate) struct Taken {
    pub(crate) id: u64,
    pub(crate) labels: Labels,
    pub(crate) pieces: Vec<Piece>,
}

#[derive(Debug)]
struct Series {
    labels: Labels,
    sealed: Vec<Arc<Chunk>>,
    open: Option<Arc<OpenChunk>>,
    /// Time of the newest sample, also after it moved to a block.
    last: Timestamp,
}

impl Series {
    fn pieces(&self, start: Timestamp, end: Timestamp) -> Vec<Piece> {
        let sealed = self.sealed.iter().filter(|c| c.overlaps(start, end));
        let open = self.open.iter().filter(|c| c.min() <= end && c.max() >= start);
        let sealed = sealed.map(|c| Piece::Sealed(Arc::clone(c)));
        sealed.chain(open.map(|c| Piece::Open(Arc::clone(c)))).collect()
    }

    fn overlaps(&self, start: Timestamp, end: Timestamp) -> bool {
        self.sealed.iter().any(|c| c.overlaps(start, end))
            || self.open.as_ref().is_some_and(|c| c.min() <= end && c.max() >= start)
    }

    /// Its oldest sample here.
    fn min(&self) -> Option<Timestamp> {
        self.sealed.first().map(|c| c.min).or(self.open.as_ref().map(|c| c.min()))
    }

    fn seal(&mut self) {
        self.sealed.extend(self.open.take().map(|c| Arc::new(c.seal())));
    }

    /// Whether the newest sample has this value.
    fn ends_with(&self, value: &Value) -> bool {
        match (&self.open, self.sealed.last()) {
            (Some(open), _) => open.ends_with(value),
            (None, Some(chunk)) => {
                let mut samples = chunk.samples();
                let mut last = None;
                while let Ok(Some((_, _, v))) = samples.next() {
                    last = Some(v);
                }
                last.is_some_and(|v| OpenChunk::new(0, None, &v).ends_with(value))
            }
            (None, None) => false,
        }
    }
}

/// What the head took of a batch, for the log.
#[derive(Debug, Default)]
pub(crate) struct Taking {
    pub(crate) series: Vec<u64>,
    pub(crate) values: Vec<f64>,
    pub(crate) entries: Vec<Full>,
    pub(crate) rejected: Vec<(usize, Reject)>,
}

#[derive(Debug)]
pub(crate) struct Head {
    table: Table<Series>,
    ids: HashMap<Labels, u64>,
    postings: Postings,
    /// Label names and values, each text kept once.
    texts: HashSet<Arc<str>>,
    next_id: u64,
    block_range: i64,
    /// Everything before is in blocks.
    pub(crate) min_valid: Timestamp,
    /// Samples later than this are refused.
    pub(crate) max_valid: Timestamp,
    /// The newest sample of all.
    pub(crate) max_time: Timestamp,
    /// The oldest one that is still here; the maximum when there is none.
    pub(crate) min_time: Timestamp,
}

impl Head {
    pub(crate) fn new(block_range: i64) -> Head {
        Head {
            table: Table::default(),
            ids: HashMap::new(),
            postings: Postings::default(),
            texts: HashSet::new(),
            next_id: 1,
            block_range,
            min_valid: Timestamp::MIN,
            max_valid: Timestamp::MAX,
            max_time: Timestamp::MIN,
            min_time: Timestamp::MAX,
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.ids.len()
    }

    pub(crate) fn next_id(&self) -> u64 {
        self.next_id
    }

    /// Never to give a number below `next`.
    pub(crate) fn reserve_ids(&mut self, next: u64) {
        self.next_id = self.next_id.max(next);
    }

    pub(crate) fn id(&self, labels: &Labels) -> Option<u64> {
        self.ids.get(labels).copied()
    }

    pub(crate) fn create(&mut self, labels: &Labels) -> (u64, Labels) {
        let id = self.next_id;
        let labels = self.insert(id, labels);
        (id, labels)
    }

    /// Puts a series in under a number that it had before. A number or label set that is there stays.
    pub(crate) fn insert(&mut self, id: u64, labels: &Labels) -> Labels {
        self.reserve_ids(id.saturating_add(1));
        if self.table.get(id).is_some() || self.ids.contains_key(labels) {
            return labels.clone();
        }
        let labels = self.intern(labels);
        self.postings.add(id, &labels);
        self.ids.insert(labels.clone(), id);
        let series = Series { labels: labels.clone(), sealed: Vec::new(), open: None, last: Timestamp::MIN };
        self.table.insert(id, series);
        labels
    }

    fn intern(&mut self, labels: &Labels) -> Labels {
        let mut text = |s: &Arc<str>| match self.texts.get(s) {
            Some(have) => Arc::clone(have),
            None => {
                self.texts.insert(Arc::clone(s));
                Arc::clone(s)
            }
        };
        let kept =
            labels.iter().map(|l| model::Label { name: text(&l.name), value: text(&l.value) }).collect();
        Labels::from_sorted(kept).unwrap_or_else(|| labels.clone())
    }

    /// Takes what can be taken.
    pub(crate) fn append(&mut self, batch: &Batch, out: &mut Taking) {
        for (i, (series, value)) in batch.series.iter().zip(&batch.values).enumerate() {
            match self.push(series.0, batch.at, None, &Value::Float(*value)) {
                Ok(true) => {
                    out.series.push(series.0);
                    out.values.push(*value);
                }
                Ok(false) => {}
                Err(why) => out.rejected.push((i, why)),
            }
        }
        for (i, e) in batch.entries.iter().enumerate() {
            let at = e.at.unwrap_or(batch.at);
            // Zero is how columns say that there is none.
            let start = e.start.filter(|s| *s != 0);
            match self.push(e.series.0, at, start, &e.value) {
                Ok(true) => {
                    out.entries.push(Full { series: e.series.0, at, start, value: e.value.clone() });
                }
                Ok(false) => {}
                Err(why) => out.rejected.push((batch.series.len() + i, why)),
            }
        }
    }

    /// Takes one sample. `Ok(false)`: exactly this one is there already.
    pub(crate) fn push(
        &mut self,
        id: u64,
        at: Timestamp,
        start: Option<Timestamp>,
        value: &Value,
    ) -> Result<bool, Reject> {
        let series = self.table.get_mut(id).ok_or(Reject::UnknownSeries)?;
        if at <= series.last {
            if at < series.last {
                return Err(if at < self.min_valid { Reject::TooOld } else { Reject::OutOfOrder });
            }
            if series.ends_with(value) {
                return Ok(false);
            }
            return Err(if at < self.min_valid { Reject::TooOld } else { Reject::Duplicate });
        }
        if at < self.min_valid {
            return Err(Reject::TooOld);
        }
        if at > self.max_valid {
            return Err(Reject::TooFarAhead);
        }
        if let Value::Histogram(h) = value
            && !check_histogram(h)
        {
            return Err(Reject::BadHistogram);
        }
        let window = |t: Timestamp| t.div_euclid(self.block_range);
        match &mut series.open {
            Some(open) if window(open.min()) == window(at) && open.fits(start, value) => {
                Arc::make_mut(open).push(at, start, value);
            }
            _ => {
                series.seal();
                series.open = Some(Arc::new(OpenChunk::new(at, start, value)));
            }
        }
        series.last = at;
        self.min_time = self.min_time.min(at);
        self.max_time = self.max_time.max(at);
        Ok(true)
    }

    /// Puts a chunk back that a checkpoint kept. Refused, with `false`, when it does not follow what is there.
    pub(crate) fn restore(&mut self, id: u64, chunk: Chunk) -> bool {
        let min_valid = self.min_valid;
        let Some(series) = self.table.get_mut(id) else { return false };
        if chunk.max < min_valid {
            return true;
        }
        if series.last != Timestamp::MIN && chunk.min <= series.last {
            return false;
        }
        series.last = chunk.max;
        self.min_time = self.min_time.min(chunk.min);
        self.max_time = self.max_time.max(chunk.max);
        series.sealed.push(Arc::new(chunk));
        true
    }

    /// All series with samples in the range, by number.
    pub(crate) fn take_all(&self, start: Timestamp, end: Timestamp) -> Vec<Taken> {
        self.table.iter().filter_map(|(id, s)| take(id, s, start, end)).collect()
    }

    /// Every series, with all it has.
    pub(crate) fn everything(&self) -> Vec<Taken> {
        let all = |(id, s): (u64, &Series)| Taken {
            id,
            labels: s.labels.clone(),
            pieces: s.pieces(Timestamp::MIN, Timestamp::MAX),
        };
        self.table.iter().map(all).collect()
    }

    pub(crate) fn take(&self, id: u64, start: Timestamp, end: Timestamp) -> Option<Taken> {
        take(id, self.table.get(id)?, start, end)
    }

    /// The labels of a series that has samples in the range.
    pub(crate) fn labels_within(&self, id: u64, start: Timestamp, end: Timestamp) -> Option<&Labels> {
        self.table.get(id).filter(|s| s.overlaps(start, end)).map(|s| &s.labels)
    }

    pub(crate) fn values(&self, name: &str) -> impl Iterator<Item = &Arc<str>> {
        self.postings.values(name).map(|(v, _)| v)
    }

    /// Forgets samples before `min_valid`, which are in a block, and series that have none left. Returns how
    /// many series went.
    pub(crate) fn drop_before(&mut self, min_valid: Timestamp) -> usize {
        self.min_valid = self.min_valid.max(min_valid);
        self.min_time = Timestamp::MAX;
        let mut gone = Vec::new();
        for (id, series) in self.table.iter_mut() {
            series.sealed.retain(|c| c.max >= min_valid);
            if series.open.as_ref().is_some_and(|c| c.max() < min_valid) {
                series.open = None;
            }
            match series.min() {
                Some(min) => self.min_time = self.min_time.min(min),
                None => gone.push((id, series.labels.clone())),
            }
        }
        for (id, labels) in &gone {
            self.table.remove(*id);
            self.ids.remove(labels);
        }
        self.postings.remove(&gone);
        let count = gone.len();
        drop(gone);
        self.texts.retain(|t| Arc::strong_count(t) > 1);
        count
    }
}

fn take(id: u64, series: &Series, start: Timestamp, end: Timestamp) -> Option<Taken> {
    let pieces = series.pieces(start, end);
    (!pieces.is_empty()).then(|| Taken { id, labels: series.labels.clone(), pieces })
}

impl Index for Head {
    fn all(&self) -> Result<Vec<u64>, SelectError> {
        Ok(self.table.iter().map(|(id, _)| id).collect())
    }

    fn postings(&self, name: &str, value: &str) -> Result<Cow<'_, [u64]>, SelectError> {
        Ok(Cow::Borrowed(self.postings.get(name, value)))
    }

    fn each_value(&self, name: &str, visit: &mut Visit<'_>) -> Result<(), SelectError> {
        for (value, list) in self.postings.values(name) {
            visit(value, &|| Ok(list.clone()))?;
        }
        Ok(())
    }

    fn labels(&self, id: u64) -> Result<Labels, SelectError> {
        Ok(self.table.get(id).map(|s| s.labels.clone()).unwrap_or_default())
    }
}

#[cfg(test)]
mod tests;
