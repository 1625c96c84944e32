//! The part of a histogram that seldom changes from sample to sample: schema, spans, bounds.

use crate::bytes::{Malformed, Reader, put_ivarint, put_u64, put_uvarint};
use model::{CounterReset, Histogram, Span, histogram::CUSTOM_BUCKETS_SCHEMA};
use std::sync::Arc;

/// More buckets than any client library makes; a bound on what bytes can claim.
const MAX_BUCKETS: usize = 65_536;

fn buckets(spans: &[Span]) -> Option<usize> {
    let total: u64 = spans.iter().map(|s| u64::from(s.length)).sum();
    usize::try_from(total).ok().filter(|n| *n <= MAX_BUCKETS)
}

/// Whether the parts of a histogram fit each other, so that it can be stored.
pub(crate) fn check_histogram(h: &Histogram) -> bool {
    let spans_fit = |spans: &[Span], counts: &[f64]| {
        buckets(spans) == Some(counts.len())
            && spans.iter().skip(1).all(|s| s.offset >= 0)
            && counts.iter().all(|c| !c.is_sign_negative() || c.is_nan() || *c == 0.0)
    };
    let schema_fits = match &h.custom_bounds {
        Some(bounds) => {
            h.schema == CUSTOM_BUCKETS_SCHEMA
                && bounds.windows(2).all(|w| w[0] < w[1])
                && bounds.len() <= MAX_BUCKETS
                && h.positive.len() <= bounds.len() + 1
                && h.negative.is_empty()
        }
        None => (-9..=52).contains(&h.schema) || (h.schema == CUSTOM_BUCKETS_SCHEMA && h.positive.is_empty()),
    };
    schema_fits
        && spans_fit(&h.positive_spans, &h.positive)
        && spans_fit(&h.negative_spans, &h.negative)
        && (h.zero_count >= 0.0 || h.zero_count.is_nan())
        && (h.count >= 0.0 || h.count.is_nan())
}

pub(super) fn same_layout(a: &Histogram, b: &Histogram) -> bool {
    a.reset == b.reset
        && a.schema == b.schema
        && a.zero_threshold.to_bits() == b.zero_threshold.to_bits()
        && a.positive_spans == b.positive_spans
        && a.negative_spans == b.negative_spans
        && match (&a.custom_bounds, &b.custom_bounds) {
            (None, None) => true,
            (Some(a), Some(b)) => {
                Arc::ptr_eq(a, b)
                    || (a.len() == b.len() && a.iter().zip(b.iter()).all(|(a, b)| a.to_bits() == b.to_bits()))
            }
            _ => false,
        }
}

fn put_spans(out: &mut Vec<u8>, spans: &[Span]) {
    put_uvarint(out, spans.len() as u64);
    for s in spans {
        put_ivarint(out, i64::from(s.offset));
        put_uvarint(out, u64::from(s.length));
    }
}

fn get_spans(r: &mut Reader<'_>) -> Result<Vec<Span>, Malformed> {
    let n = r.count()?;
    let mut spans = Vec::new();
    for _ in 0..n {
        let offset = i32::try_from(r.ivarint()?).map_err(|_| r.bad())?;
        spans.push(Span { offset, length: r.u32_varint()? });
    }
    Ok(spans)
}

pub(super) fn put_layout(out: &mut Vec<u8>, h: &Histogram) {
    out.push(match h.reset {
        CounterReset::Unknown => 0,
        CounterReset::Reset => 1,
        CounterReset::NotReset => 2,
        CounterReset::Gauge => 3,
    });
    put_ivarint(out, i64::from(h.schema));
    put_u64(out, h.zero_threshold.to_bits());
    put_spans(out, &h.positive_spans);
    put_spans(out, &h.negative_spans);
    match &h.custom_bounds {
        None => out.push(0),
        Some(bounds) => {
            put_uvarint(out, bounds.len() as u64 + 1);
            for b in bounds.iter() {
                put_u64(out, b.to_bits());
            }
        }
    }
}

/// A histogram of this layout with all counts zero.
pub(super) fn get_layout(r: &mut Reader<'_>) -> Result<Histogram, Malformed> {
    let bad = r.bad();
    let reset = match r.u8()? {
        0 => CounterReset::Unknown,
        1 => CounterReset::Reset,
        2 => CounterReset::NotReset,
        3 => CounterReset::Gauge,
        _ => return Err(bad),
    };
    let schema = i32::try_from(r.ivarint()?).map_err(|_| bad)?;
    let zero_threshold = r.f64()?;
    let positive_spans = get_spans(r)?;
    let negative_spans = get_spans(r)?;
    let custom_bounds = match r.uvarint()? {
        0 => None,
        n => {
            let n = usize::try_from(n - 1).map_err(|_| bad)?;
            if n > r.remaining() / 8 {
                return Err(bad);
            }
            Some((0..n).map(|_| r.f64()).collect::<Result<Arc<[f64]>, _>>()?)
        }
    };
    let positive = vec![0.0; buckets(&positive_spans).ok_or(bad)?];
    let negative = vec![0.0; buckets(&negative_spans).ok_or(bad)?];
    Ok(Histogram {
        reset,
        schema,
        zero_threshold,
        positive_spans,
        positive,
        negative_spans,
        negative,
        custom_bounds,
        ..Histogram::default()
    })
}

/// A whole histogram by itself, as the log has it.
pub(crate) fn put_histogram(out: &mut Vec<u8>, h: &Histogram) {
    put_layout(out, h);
    for v in super::numbers(h) {
        put_u64(out, v.to_bits());
    }
}

pub(crate) fn get_histogram(r: &mut Reader<'_>) -> Result<Histogram, Malformed> {
    let mut h = get_layout(r)?;
    let Histogram { count, zero_count, sum, positive, negative, .. } = &mut h;
    for field in [count, zero_count, sum].into_iter().chain(positive).chain(negative) {
        *field = r.f64()?;
    }
    Ok(h)
}
