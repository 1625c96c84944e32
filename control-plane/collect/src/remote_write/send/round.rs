//! From the log to rounds: samples that are sent together, split so that each series keeps its order.
//!
//! A round is read, sent whole, and only then remembered as done; the next one begins where it ends. Within a
//! round series are spread over shards, which are sent side by side; how many there are depends on how much
//! there is, and may differ from round to round, as no round begins before the last one is through.

use super::{
    config::Endpoint,
    encode::Point,
    figures::{Figures, add},
    series::{Known, Out},
};
use crate::{remote_write::Protocol, scrape::ingest::Families};
use model::{Batch, Position, SeriesRef, Tail, TailError, Timestamp, Value};
use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
    time::Duration,
};

/// Bytes of the log that are read in one go.
const READ: u64 = 256 << 10;
/// Samples of one round, whatever the file says: they are in memory.
const MOST: usize = 200_000;

/// A series of a round with its samples.
type Filled = (Arc<Out>, Vec<Point>);

/// A round that is being filled.
#[derive(Debug, Default)]
pub(crate) struct Filling {
    of: HashMap<SeriesRef, usize>,
    series: Vec<Filled>,
    pub(crate) samples: usize,
    /// Up to where the log is in it.
    pub(crate) next: Position,
    /// When its first sample came, by the monotonic clock.
    pub(crate) begun: Option<Duration>,
    newest: Timestamp,
}

/// What reads, with what it knows of the series.
#[derive(Debug)]
pub(crate) struct Reader {
    pub(crate) tail: Arc<dyn Tail>,
    pub(crate) endpoint: Arc<Endpoint>,
    pub(crate) known: Known,
    pub(crate) figures: Arc<Figures>,
}

impl Reader {
    /// Reads on, up to the end of the log or until the round is full; or exactly up to `until`, which an earlier
    /// round reached. Returns whether it was the end. Blocks.
    pub(crate) fn fill(
        &mut self,
        filling: &mut Filling,
        until: Option<Position>,
        families: &Families,
        now: Duration,
    ) -> Result<bool, TailError> {
        self.known.tidy(now);
        let queue = &self.endpoint.queue;
        let full = queue.capacity.saturating_mul(queue.max_shards).min(MOST);
        loop {
            let stretch = self.tail.read(filling.next, until, READ)?;
            if stretch.gap {
                add(&self.figures.gaps, 1);
                tracing::error!(
                    remote = %self.endpoint.name,
                    "the log does not go back to what was sent last: samples are missing at the receiver"
                );
            }
            if stretch.next == filling.next {
                return Ok(true);
            }
            for (series, labels) in &stretch.series {
                self.known.put(*series, labels, families);
            }
            let unnamed = self.name(filling.next, &stretch.batches, families)?;
            for batch in stretch.batches {
                self.put(filling, batch, &unnamed);
            }
            if stretch.damaged_bytes > 0 {
                tracing::error!(remote = %self.endpoint.name, bytes = stretch.damaged_bytes, "a piece of the log could not be read");
            }
            filling.next = stretch.next;
            if filling.samples > 0 && filling.begun.is_none() {
                filling.begun = Some(now);
            }
            if filling.samples >= full && until.is_none() {
                return Ok(false);
            }
        }
    }

    /// Finds the labels of series that are not known here any more. Returns those that nobody knows.
    fn name(
        &mut self,
        at: Position,
        batches: &[Batch],
        families: &Families,
    ) -> Result<HashSet<SeriesRef>, TailError> {
        let mut missing = HashSet::new();
        for batch in batches {
            for series in batch.series.iter().copied().chain(batch.entries.iter().map(|e| e.series)) {
                if self.known.get(series).is_some() || missing.contains(&series) {
                    continue;
                }
                match self.tail.labels(series) {
                    Some(labels) => self.known.put(series, &labels, families),
                    None => {
                        missing.insert(series);
                    }
                }
            }
        }
        if !missing.is_empty() {
            let (tail, known) = (Arc::clone(&self.tail), &mut self.known);
            tail.named_before(at, &mut |series, labels| {
                // Others that the store has given up will be asked for soon: one look through the log is enough.
                let mut gone = || known.get(series).is_none() && tail.labels(series).is_none();
                if missing.remove(&series) || gone() {
                    known.put(series, &labels, families);
                }
            })?;
        }
        Ok(missing)
    }

    fn put(&mut self, filling: &mut Filling, batch: Batch, unnamed: &HashSet<SeriesRef>) {
        let at = batch.at;
        let columns = batch.series.into_iter().zip(batch.values);
        let floats = columns.map(|(s, v)| (s, Point { at, start: None, value: Value::Float(v) }));
        let entries = batch
            .entries
            .into_iter()
            .map(|e| (e.series, Point { at: e.at.unwrap_or(at), start: e.start, value: e.value }));
        let histograms = self.endpoint.protocol == Protocol::V2 || self.endpoint.native_histograms;
        for (series, point) in floats.chain(entries) {
            if !histograms && matches!(point.value, Value::Histogram(_)) {
                add(&self.figures.histograms, 1);
                continue;
            }
            let i = match filling.of.get(&series) {
                Some(i) => *i,
                None => match self.known.get(series) {
                    Some(Some(out)) => {
                        filling.series.push((out, Vec::new()));
                        filling.of.insert(series, filling.series.len() - 1);
                        filling.series.len() - 1
                    }
                    // Relabelling dropped it.
                    Some(None) => continue,
                    None => {
                        add(&self.figures.unnamed, u64::from(unnamed.contains(&series)));
                        continue;
                    }
                },
            };
            filling.newest = filling.newest.max(point.at);
            filling.series[i].1.push(point);
            filling.samples += 1;
        }
    }
}

/// A round on its way.
#[derive(Debug)]
pub(crate) struct Round {
    pub(crate) shards: Vec<Shard>,
    pub(crate) next: Position,
    pub(crate) samples: usize,
    /// The time of its newest sample.
    pub(crate) newest: Timestamp,
}

/// The part of a round whose requests follow each other.
#[derive(Debug, Default)]
pub(crate) struct Shard {
    series: Vec<Filled>,
    /// The first series and the first sample of it that are not through.
    at: (usize, usize),
    /// How long to wait after the next failure; zero when the last attempt was good.
    pub(crate) backoff: Duration,
    /// When to try again, by the monotonic clock.
    pub(crate) not_before: Duration,
}

/// Samples for one request.
#[derive(Debug)]
pub(crate) struct Chunk<'a> {
    pub(crate) series: Vec<(&'a Out, &'a [Point])>,
    pub(crate) samples: usize,
    /// Samples before it that were too old.
    pub(crate) too_old: usize,
    after: (usize, usize),
}

impl Round {
    /// Splits what was read; the next filling goes on behind it.
    pub(crate) fn of(filling: &mut Filling, endpoint: &Endpoint) -> Round {
        let whole = std::mem::take(filling);
        filling.next = whole.next;
        let queue = &endpoint.queue;
        let wanted = whole.samples.div_ceil(queue.max_samples_per_send);
        let count = wanted.clamp(queue.min_shards, queue.max_shards).max(1);
        let mut shards: Vec<Shard> = (0..count).map(|_| Shard::default()).collect();
        for (out, points) in whole.series {
            let shard = usize::try_from(out.hash % count as u64).unwrap_or(0);
            shards[shard].series.push((out, points));
        }
        shards.retain(|s| !s.series.is_empty());
        Round { shards, next: whole.next, samples: whole.samples, newest: whole.newest }
    }
}

impl Shard {
    /// The next samples to send, `None` when all are through. What is older than `oldest` is passed over.
    pub(crate) fn chunk(&self, most: usize, oldest: Timestamp) -> Option<Chunk<'_>> {
        let (mut i, mut j) = self.at;
        let mut chunk = Chunk { series: Vec::new(), samples: 0, too_old: 0, after: self.at };
        while let Some((out, points)) = self.series.get(i) {
            let old = points[j..].iter().take_while(|p| p.at < oldest).count();
            chunk.too_old += old;
            j += old;
            let n = (points.len() - j).min(most - chunk.samples);
            if n > 0 {
                chunk.series.push((&**out, &points[j..j + n]));
                chunk.samples += n;
                j += n;
            }
            if j == points.len() {
                (i, j) = (i + 1, 0);
            }
            if chunk.samples >= most {
                break;
            }
        }
        chunk.after = (i, j);
        (chunk.samples > 0 || chunk.too_old > 0).then_some(chunk)
    }

    pub(crate) fn is_done(&self) -> bool {
        self.at.0 >= self.series.len()
    }

    /// Goes on behind a chunk.
    pub(crate) fn pass(&mut self, after: (usize, usize)) {
        self.at = after;
    }
}

impl Chunk<'_> {
    pub(crate) fn after(&self) -> (usize, usize) {
        self.after
    }
}
