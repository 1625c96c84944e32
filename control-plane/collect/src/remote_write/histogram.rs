//! Native histograms as remote write carries them: the same fields in both versions of the protocol.

use super::wire::{Kind, Malformed, Wire};
use model::{CounterReset, Histogram, Span, Timestamp, histogram::CUSTOM_BUCKETS_SCHEMA, is_stale_nan};
use std::sync::Arc;

/// A histogram with its times.
#[derive(Debug)]
pub(super) struct Read {
    pub(super) at: Timestamp,
    /// Zero where it is not said.
    pub(super) start: Timestamp,
    /// `None` where the parts contradict each other.
    pub(super) histogram: Option<Histogram>,
}

/// One side's buckets, integers as differences or floats as they are.
#[derive(Debug, Default)]
pub(crate) struct Side {
    pub(crate) spans: Vec<Span>,
    pub(crate) deltas: Vec<i64>,
    pub(crate) counts: Vec<f64>,
}

impl Side {
    /// Absolute counts; integers come with their exact sum. `None` where they do not fit the spans.
    #[expect(
        clippy::cast_precision_loss,
        reason = "counts below 2^53 are exact, as in every float histogram"
    )]
    fn resolve(&self, integers: bool) -> Option<(Vec<f64>, u64)> {
        let buckets: u64 = self.spans.iter().map(|s| u64::from(s.length)).sum();
        let given = if integers { self.deltas.len() } else { self.counts.len() };
        if buckets != given as u64 || self.spans.iter().skip(1).any(|s| s.offset < 0) {
            return None;
        }
        if !integers {
            return self.counts.iter().all(|c| is_count(*c)).then(|| (self.counts.clone(), 0));
        }
        let (mut counts, mut now, mut sum) = (Vec::with_capacity(given), 0i64, 0u64);
        for delta in &self.deltas {
            now = now.checked_add(*delta)?;
            sum = sum.checked_add(u64::try_from(now).ok()?)?;
            counts.push(now as f64);
        }
        Some((counts, sum))
    }
}

/// A count that is an integer in one form and a float in the other.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Count {
    Integer(u64),
    Float(f64),
}

impl Count {
    #[expect(
        clippy::cast_precision_loss,
        reason = "counts below 2^53 are exact, as in every float histogram"
    )]
    pub(crate) fn float(self) -> f64 {
        match self {
            Count::Integer(v) => v as f64,
            Count::Float(v) => v,
        }
    }
}

pub(super) fn read(mut w: Wire<'_>) -> Result<Read, Malformed> {
    let mut h = Histogram::default();
    let (mut count, mut zero) = (Count::Integer(0), Count::Integer(0));
    let (mut positive, mut negative) = (Side::default(), Side::default());
    let (mut at, mut start) = (0, 0);
    let mut bounds: Vec<f64> = Vec::new();
    while let Some(tag) = w.tag()? {
        match (tag.field, tag.kind) {
            (1, Kind::Varint) => count = Count::Integer(w.varint()?),
            (2, Kind::Fixed64) => count = Count::Float(w.double()?),
            (3, Kind::Fixed64) => h.sum = w.double()?,
            (4, Kind::Varint) => h.schema = w.sint32()?,
            (5, Kind::Fixed64) => h.zero_threshold = w.double()?,
            (6, Kind::Varint) => zero = Count::Integer(w.varint()?),
            (7, Kind::Fixed64) => zero = Count::Float(w.double()?),
            (8, Kind::Bytes) => negative.spans.push(span(w.nested()?)?),
            (9, kind) => w.repeated(kind, Kind::Varint, Wire::sint64, &mut negative.deltas)?,
            (10, kind) => w.repeated(kind, Kind::Fixed64, Wire::double, &mut negative.counts)?,
            (11, Kind::Bytes) => positive.spans.push(span(w.nested()?)?),
            (12, kind) => w.repeated(kind, Kind::Varint, Wire::sint64, &mut positive.deltas)?,
            (13, kind) => w.repeated(kind, Kind::Fixed64, Wire::double, &mut positive.counts)?,
            (14, Kind::Varint) => {
                h.reset = match w.varint()? {
                    1 => CounterReset::Reset,
                    2 => CounterReset::NotReset,
                    3 => CounterReset::Gauge,
                    _ => CounterReset::Unknown,
                }
            }
            (15, Kind::Varint) => at = w.int64()?,
            (16, kind) => w.repeated(kind, Kind::Fixed64, Wire::double, &mut bounds)?,
            (17, Kind::Varint) => start = w.int64()?,
            (1..=8 | 11 | 14 | 15 | 17, _) => return Err(w.wrong_kind()),
            (_, kind) => w.skip(kind)?,
        }
    }
    let whole = assemble(h, count, zero, positive, negative, bounds);
    Ok(Read { at, start, histogram: whole })
}

/// Puts the parts together, or finds that they do not fit.
pub(crate) fn assemble(
    mut h: Histogram,
    count: Count,
    zero: Count,
    positive: Side,
    negative: Side,
    bounds: Vec<f64>,
) -> Option<Histogram> {
    if is_stale_nan(h.sum) {
        // It ends the series; whatever else it says means nothing.
        return Some(Histogram { sum: h.sum, ..Histogram::default() });
    }
    let integers = matches!(count, Count::Integer(_));
    let (above, above_sum) = positive.resolve(integers)?;
    let (below, below_sum) = negative.resolve(integers)?;
    if let (Count::Integer(count), Count::Integer(zero)) = (count, zero) {
        let inside = above_sum.checked_add(below_sum)?.checked_add(zero)?;
        // Observations of NaN are in no bucket, and make the sum one.
        let fits = if h.sum.is_nan() { inside <= count } else { inside == count };
        if !fits {
            return None;
        }
    } else if integers {
        return None;
    }
    (h.count, h.zero_count) = (count.float(), zero.float());
    if !is_count(h.count) || !is_count(h.zero_count) {
        return None;
    }
    if h.schema == CUSTOM_BUCKETS_SCHEMA {
        let ascending = bounds.windows(2).all(|w| w[0] < w[1]) && bounds.iter().all(|b| b.is_finite());
        let reach: u64 =
            positive.spans.iter().map(|s| u64::from(s.offset.unsigned_abs()) + u64::from(s.length)).sum();
        let starts = positive.spans.first().is_none_or(|s| s.offset >= 0);
        if !ascending
            || !starts
            || reach > bounds.len() as u64 + 1
            || !below.is_empty()
            || h.zero_count != 0.0
        {
            return None;
        }
        h.custom_bounds = Some(Arc::from(bounds));
    } else if !(-4..=8).contains(&h.schema) || !bounds.is_empty() {
        return None;
    }
    (h.positive_spans, h.positive) = (positive.spans, above);
    (h.negative_spans, h.negative) = (negative.spans, below);
    Some(h)
}

fn is_count(v: f64) -> bool {
    v >= 0.0 || v.is_nan()
}

pub(crate) fn span(mut w: Wire<'_>) -> Result<Span, Malformed> {
    let mut out = Span { offset: 0, length: 0 };
    while let Some(tag) = w.tag()? {
        match (tag.field, tag.kind) {
            (1, Kind::Varint) => out.offset = w.sint32()?,
            (2, Kind::Varint) => out.length = w.uint32()?,
            (1 | 2, _) => return Err(w.wrong_kind()),
            (_, kind) => w.skip(kind)?,
        }
    }
    Ok(out)
}
