//! What the head holds of one series, as readers take it away and read it.

use super::{group::Shared, matrix::Matrix};
use crate::{
    bytes::Malformed,
    chunk::{Chunk, OpenChunk, Samples},
    record::Full,
    row::State,
};
use model::{Cancel, SampleColumns, SelectError, Timestamp, Value};
use std::sync::Arc;

/// Samples that a series has for itself: those that did not come in rows.
#[derive(Debug, Clone, Default)]
pub(crate) struct Own {
    /// Its columns of groups that it was in before.
    pub(crate) past: Vec<(Arc<Matrix>, u32)>,
    pub(crate) sealed: Vec<Arc<Chunk>>,
    pub(crate) open: Option<OpenChunk>,
    /// Samples that came late, by time.
    pub(crate) late: Vec<Full>,
}

impl Own {
    pub(crate) fn is_empty(&self) -> bool {
        self.past.is_empty() && self.sealed.is_empty() && self.open.is_none() && self.late.is_empty()
    }

    pub(super) fn seal(&mut self) {
        self.sealed.extend(self.open.take().map(|c| Arc::new(c.seal())));
    }

    fn ranges(&self) -> impl Iterator<Item = (Timestamp, Timestamp)> + '_ {
        let past = self.past.iter().map(|(m, _)| m.range());
        let sealed = self.sealed.iter().map(|c| (c.min, c.max));
        let open = self.open.iter().map(|c| (c.min(), c.max()));
        let late = self.late.first().zip(self.late.last()).map(|(a, b)| (a.at, b.at));
        past.chain(sealed).chain(open).chain(late)
    }

    pub(super) fn min(&self) -> Option<Timestamp> {
        self.ranges().map(|(min, _)| min).min()
    }

    /// Forgets what ends before `time`, but for late samples, which the next block takes.
    pub(super) fn drop_before(&mut self, time: Timestamp) {
        self.past.retain(|(m, _)| m.range().1 >= time);
        self.sealed.retain(|c| c.max >= time);
        if self.open.as_ref().is_some_and(|c| c.max() < time) {
            self.open = None;
        }
    }
}

/// A series' column of its group.
#[derive(Debug, Clone)]
pub(crate) struct InGroup {
    pub(crate) shared: Arc<Shared>,
    pub(crate) column: u32,
    /// Where it stands after the last row, if that is known: then recent samples are read from behind.
    pub(crate) now: Option<State>,
}

/// All that the head holds of a series.
#[derive(Debug, Clone, Default)]
pub(crate) struct Held {
    pub(crate) own: Option<Arc<Own>>,
    pub(crate) group: Option<InGroup>,
}

/// Collects samples that may come out of order.
#[derive(Debug)]
pub(crate) struct Collector<'a> {
    start: Timestamp,
    end: Timestamp,
    pub(crate) into: &'a mut SampleColumns,
    sorted: bool,
}

impl<'a> Collector<'a> {
    /// Takes samples of the range; both ends belong to it.
    pub(crate) fn new(start: Timestamp, end: Timestamp, into: &'a mut SampleColumns) -> Self {
        Collector { start, end, into, sorted: true }
    }

    #[inline]
    fn float(&mut self, at: Timestamp, v: f64) {
        if at < self.start || at > self.end {
            return;
        }
        self.sorted &= self.into.times.last().is_none_or(|last| *last < at);
        self.into.times.push(at);
        self.into.values.push(v);
        if !self.into.starts.is_empty() {
            self.into.starts.push(0);
        }
    }

    fn any(&mut self, at: Timestamp, start: Option<Timestamp>, value: Value) {
        if at < self.start || at > self.end {
            return;
        }
        self.sorted &= self.into.times.last().is_none_or(|last| *last < at);
        self.into.push(at, value, start);
    }

    pub(crate) fn chunk(&mut self, chunk: &Chunk) -> Result<(), Malformed> {
        if chunk.min > self.end || chunk.max < self.start {
            return Ok(());
        }
        let inside = chunk.min >= self.start && chunk.max <= self.end;
        if inside
            && self.into.starts.is_empty()
            && self.into.times.last().is_none_or(|last| *last < chunk.min)
        {
            let before = self.into.times.len();
            if chunk.unpack(&mut self.into.times, &mut self.into.values)? {
                return Ok(());
            }
            self.into.times.truncate(before);
            self.into.values.truncate(before);
        }
        self.samples(chunk.samples())
    }

    fn samples(&mut self, mut samples: Samples<'_>) -> Result<(), Malformed> {
        while let Some((at, start, value)) = samples.next()? {
            if at > self.end {
                break;
            }
            match value {
                Value::Float(v) if start.is_none() => self.float(at, v),
                value => self.any(at, start, value),
            }
        }
        Ok(())
    }

    fn rows(&mut self, g: &InGroup) -> Result<(), Malformed> {
        let (rows, column) = (&g.shared.rows, g.column as usize);
        let Some((min, max)) = rows.range() else { return Ok(()) };
        if min > self.end || max < self.start {
            return Ok(());
        }
        if let Some(now) = g.now
            && min < self.start
            && self.into.starts.is_empty()
        {
            let before = self.into.times.len();
            let (start, end) = (self.start, self.end);
            let (times, values) = (&mut self.into.times, &mut self.into.values);
            let whole = rows.column_back(column, now, |at, v| {
                if at >= start && at <= end {
                    times.push(at);
                    values.push(v);
                }
                at > start
            })?;
            if whole {
                times[before..].reverse();
                values[before..].reverse();
                let follows = before == 0 || times.get(before).is_none_or(|first| times[before - 1] < *first);
                self.sorted &= follows;
                return Ok(());
            }
            times.truncate(before);
            values.truncate(before);
        }
        let end = self.end;
        rows.column(column, |at, v| {
            self.float(at, v);
            at < end
        })
    }

    /// Takes the newest sample of the range from a group's rows. `false` when they do not tell whether there is one.
    fn newest_row(&mut self, g: &InGroup) -> Result<bool, Malformed> {
        let (Some(now), rows) = (g.now, &g.shared.rows) else { return Ok(false) };
        let mut found = None;
        let (start, end) = (self.start, self.end);
        let whole = rows.column_back(g.column as usize, now, |at, v| {
            if at <= end && at >= start {
                found = Some((at, v));
            }
            at > end
        })?;
        if let Some((at, v)) = found {
            self.float(at, v);
            return Ok(true);
        }
        if !whole {
            self.rows(g)?;
        }
        Ok(!self.into.is_empty())
    }

    fn matrix(&mut self, matrix: &Matrix, column: u32) -> Result<(), Malformed> {
        let (min, max) = matrix.range();
        if min > self.end || max < self.start {
            return Ok(());
        }
        if !self.into.starts.is_empty() {
            return matrix.column(column as usize, |at, v| self.float(at, v));
        }
        let before = self.into.times.len();
        let range = (self.start, self.end);
        matrix.unpack(column as usize, range, &mut self.into.times, &mut self.into.values)?;
        if let (Some(last), Some(first)) =
            (before.checked_sub(1).map(|i| self.into.times[i]), self.into.times.get(before))
        {
            self.sorted &= last < *first;
        }
        Ok(())
    }

    /// Brings what was collected into order; of several samples of one time the first stays.
    pub(crate) fn finish(self) {
        if self.sorted {
            return;
        }
        let columns = std::mem::take(self.into);
        let mut all: Vec<_> = (0..columns.len())
            .map(|i| (columns.times[i], columns.value(i), columns.starts.get(i).copied().filter(|s| *s != 0)))
            .collect();
        all.sort_by_key(|(at, ..)| *at);
        all.dedup_by_key(|(at, ..)| *at);
        for (at, value, start) in all {
            self.into.push(at, value, start);
        }
    }
}

/// A piece's first time, so that pieces are read in order.
enum Piece<'a> {
    Matrix(&'a Matrix, u32),
    Chunk(&'a Chunk),
    Open(&'a OpenChunk),
    Rows(&'a InGroup),
    Late(&'a [Full]),
}

impl Piece<'_> {
    fn min(&self) -> Timestamp {
        match self {
            Piece::Matrix(m, _) => m.range().0,
            Piece::Chunk(c) => c.min,
            Piece::Open(c) => c.min(),
            Piece::Rows(g) => g.shared.rows.range().map_or(Timestamp::MAX, |r| r.0),
            Piece::Late(l) => l.first().map_or(Timestamp::MAX, |l| l.at),
        }
    }
}

impl Held {
    pub(crate) fn overlaps(&self, start: Timestamp, end: Timestamp) -> bool {
        let inside = |(min, max): (Timestamp, Timestamp)| min <= end && max >= start;
        self.own.as_ref().is_some_and(|o| o.ranges().any(inside))
            || self.group.as_ref().is_some_and(|g| g.shared.range().is_some_and(inside))
    }

    fn pieces(&self) -> Vec<Piece<'_>> {
        let mut out = Vec::new();
        if let Some(own) = &self.own {
            out.extend(own.past.iter().map(|(m, c)| Piece::Matrix(m, *c)));
            out.extend(own.sealed.iter().map(|c| Piece::Chunk(c)));
            out.extend(own.open.as_ref().map(Piece::Open));
            if !own.late.is_empty() {
                out.push(Piece::Late(&own.late));
            }
        }
        if let Some(g) = &self.group {
            out.extend(g.shared.sealed.iter().map(|m| Piece::Matrix(m, g.column)));
            out.push(Piece::Rows(g));
        }
        if self.own.is_some() {
            out.sort_by_key(Piece::min);
        }
        out
    }

    /// Hands all samples of the collector's range to it.
    pub(crate) fn collect(&self, into: &mut Collector<'_>) -> Result<(), Malformed> {
        for piece in self.pieces() {
            match piece {
                Piece::Matrix(m, c) => into.matrix(m, c)?,
                Piece::Chunk(c) => into.chunk(c)?,
                Piece::Open(c) => into.samples(c.samples())?,
                Piece::Rows(g) => into.rows(g)?,
                Piece::Late(late) => {
                    for l in late {
                        into.any(l.at, l.start, l.value.clone());
                    }
                }
            }
        }
        Ok(())
    }

    /// Hands at least the newest sample of the collector's range to it, if there is one.
    pub(crate) fn collect_newest(&self, into: &mut Collector<'_>) -> Result<(), Malformed> {
        let Some(g) = self.group.as_ref().filter(|_| self.own.is_none()) else { return self.collect(into) };
        if into.newest_row(g)? {
            return Ok(());
        }
        if g.now.is_none() {
            into.rows(g)?;
        }
        for matrix in g.shared.sealed.iter().rev() {
            if !into.into.is_empty() {
                break;
            }
            into.matrix(matrix, g.column)?;
        }
        Ok(())
    }

    /// The sample of one time.
    pub(super) fn at(&self, at: Timestamp) -> Result<Option<Value>, Malformed> {
        let mut columns = SampleColumns::default();
        self.collect(&mut Collector::new(at, at, &mut columns))?;
        Ok((!columns.is_empty()).then(|| columns.value(0)))
    }

    /// The last sample of all.
    pub(super) fn newest(&self) -> Result<Option<(Timestamp, Value)>, Malformed> {
        let mut columns = SampleColumns::default();
        let mut collector = Collector::new(Timestamp::MIN, Timestamp::MAX, &mut columns);
        self.collect(&mut collector)?;
        collector.finish();
        let last = columns.len().checked_sub(1);
        Ok(last.map(|i| (columns.times[i], columns.value(i))))
    }
}

pub(crate) fn corrupt(_: Malformed) -> SelectError {
    SelectError::Corrupt("a chunk does not decode".to_owned())
}

/// The samples of one range, whole.
pub(crate) fn read(
    held: &Held,
    (start, end): (Timestamp, Timestamp),
    cancel: &Cancel,
    into: &mut SampleColumns,
) -> Result<(), SelectError> {
    cancel.check()?;
    into.clear();
    let mut collector = Collector::new(start, end, into);
    held.collect(&mut collector).map_err(corrupt)?;
    collector.finish();
    Ok(())
}
