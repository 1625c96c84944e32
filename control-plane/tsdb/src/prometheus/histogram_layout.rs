//! What the histograms of a chunk have in common: schema, zero threshold, which buckets there are, custom bounds;
//! and the header that tells how the chunk began.

use super::{
    chunk::Fault,
    varbit::{get_int, get_uint, put_int, put_uint},
};
use crate::bits::{BitReader, BitWriter};
use model::{Span, histogram::CUSTOM_BUCKETS_SCHEMA};
use std::sync::Arc;

/// The two bits of the header.
pub(super) const RESET_MASK: u8 = 0b1100_0000;
pub(super) const UNKNOWN: u8 = 0;
pub(super) const NOT_RESET: u8 = 0b0100_0000;
pub(super) const RESET: u8 = 0b1000_0000;
pub(super) const GAUGE: u8 = 0b1100_0000;

/// Buckets that one histogram may have, and spans that may name them.
const MOST: usize = 65_536;

/// Thousandths that fit the short form of a custom bound.
const MOST_THOUSANDTHS: u64 = 33_554_430;

#[derive(Debug, Clone, PartialEq)]
pub(super) struct Layout {
    pub(super) schema: i32,
    pub(super) zero_threshold: f64,
    pub(super) positive: Vec<Span>,
    pub(super) negative: Vec<Span>,
    pub(super) bounds: Option<Arc<[f64]>>,
    pub(super) positive_buckets: usize,
    pub(super) negative_buckets: usize,
}

pub(super) fn buckets(spans: &[Span]) -> usize {
    spans.iter().map(|s| usize::try_from(s.length).unwrap_or(usize::MAX)).fold(0, usize::saturating_add)
}

impl Layout {
    pub(super) fn buckets(&self) -> usize {
        // Spans and bounds are kept with every sample too.
        let spans = self.positive.len() + self.negative.len();
        self.positive_buckets + self.negative_buckets + spans + self.bounds.as_ref().map_or(0, |b| b.len())
    }

    pub(super) fn read(bits: &mut BitReader<'_>) -> Result<Layout, Fault> {
        let zero_threshold = read_threshold(bits).ok_or_else(Fault::cut)?;
        let schema = get_int(bits).ok_or_else(Fault::cut)?;
        // Those beyond 8 and below -4 are reserved for finer and coarser ones, of the same kind.
        let known =
            i32::try_from(schema).ok().filter(|s| *s == CUSTOM_BUCKETS_SCHEMA || (-9..=52).contains(s));
        let schema = known.ok_or_else(|| {
            Fault::Unknown(format!(
                "histograms of schema {schema} are not known here: -9 to 52 and -53 (custom buckets) are"
            ))
        })?;
        let (positive, positive_buckets) = read_spans(bits)?;
        let (negative, negative_buckets) = read_spans(bits)?;
        let custom = schema == CUSTOM_BUCKETS_SCHEMA;
        let bounds = if custom { Some(read_bounds(bits)?) } else { None };
        Ok(Layout { schema, zero_threshold, positive, negative, bounds, positive_buckets, negative_buckets })
    }

    pub(super) fn put(&self, out: &mut BitWriter) {
        put_threshold(out, self.zero_threshold);
        put_int(out, i64::from(self.schema));
        for spans in [&self.positive, &self.negative] {
            put_uint(out, spans.len() as u64);
            for s in spans {
                put_uint(out, u64::from(s.length));
                put_int(out, i64::from(s.offset));
            }
        }
        if self.schema == CUSTOM_BUCKETS_SCHEMA {
            let bounds = self.bounds.as_deref().unwrap_or_default();
            put_uint(out, bounds.len() as u64);
            bounds.iter().for_each(|b| put_bound(out, *b));
        }
    }
}

fn read_spans(bits: &mut BitReader<'_>) -> Result<(Vec<Span>, usize), Fault> {
    let most = || Fault::Malformed("its histograms have too many buckets");
    let n = get_uint(bits).ok_or_else(Fault::cut)?;
    let n = usize::try_from(n).ok().filter(|n| *n <= MOST).ok_or_else(most)?;
    let mut spans = Vec::new();
    for _ in 0..n {
        let length = get_uint(bits).ok_or_else(Fault::cut)?;
        let offset = get_int(bits).ok_or_else(Fault::cut)?;
        let length = u32::try_from(length).map_err(|_| most())?;
        let offset = i32::try_from(offset).map_err(|_| Fault::Malformed("a bucket has no place"))?;
        spans.push(Span { offset, length });
    }
    let total = buckets(&spans);
    if total > MOST { Err(most()) } else { Ok((spans, total)) }
}

/// One byte for none and for powers of two from 2^-243 to 2^10; else a byte of ones and the number.
fn put_threshold(out: &mut BitWriter, threshold: f64) {
    let short = (1..=254u8).find(|b| power(*b).to_bits() == threshold.to_bits());
    match short {
        _ if threshold == 0.0 => out.put(0, 8),
        Some(b) => out.put(u64::from(b), 8),
        None => {
            out.put(255, 8);
            out.put(threshold.to_bits(), 64);
        }
    }
}

/// What a byte from 1 to 254 stands for: 2^(b - 244).
fn power(b: u8) -> f64 {
    f64::from_bits((u64::from(b) + 1023 - 244) << 52)
}

fn read_threshold(bits: &mut BitReader<'_>) -> Option<f64> {
    match u8::try_from(bits.get(8)?).ok()? {
        0 => Some(0.0),
        255 => Some(f64::from_bits(bits.get(64)?)),
        b => Some(power(b)),
    }
}

/// Bounds that people write have few decimals: thousandths plus one, as a number that is never 0. The short form
/// is only for bounds that come back the same.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "what does not fit is compared away"
)]
fn put_bound(out: &mut BitWriter, bound: f64) {
    let thousandths = (bound * 1000.0) as u64;
    if thousandths <= MOST_THOUSANDTHS && from_thousandths(thousandths).to_bits() == bound.to_bits() {
        put_uint(out, thousandths + 1);
    } else {
        out.bit(false);
        out.put(bound.to_bits(), 64);
    }
}

#[expect(clippy::cast_precision_loss, reason = "a damaged one may be imprecise")]
fn from_thousandths(n: u64) -> f64 {
    n as f64 / 1000.0
}

fn read_bounds(bits: &mut BitReader<'_>) -> Result<Arc<[f64]>, Fault> {
    let n = get_uint(bits).ok_or_else(Fault::cut)?;
    let n = usize::try_from(n).ok().filter(|n| *n <= MOST);
    let n = n.ok_or(Fault::Malformed("its histograms have too many bounds"))?;
    let mut bounds = Vec::new();
    for _ in 0..n {
        bounds.push(read_bound(bits).ok_or_else(Fault::cut)?);
    }
    Ok(bounds.into())
}

fn read_bound(bits: &mut BitReader<'_>) -> Option<f64> {
    match get_uint(bits)? {
        0 => Some(f64::from_bits(bits.get(64)?)),
        v => Some(from_thousandths(v - 1)),
    }
}
