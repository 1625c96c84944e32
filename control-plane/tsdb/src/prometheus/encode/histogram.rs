//! Histogram chunks, written.

use super::{Encoded, FLOAT_HISTOGRAM, HISTOGRAM, MOST_SAMPLES, Times, finish};
use crate::{
    bits::BitWriter,
    prometheus::{
        histogram_layout::{GAUGE, Layout, NOT_RESET, RESET, UNKNOWN, buckets},
        varbit::{Xor, put_int, put_uint},
    },
};
use model::{CounterReset, Histogram, Span, Timestamp, is_stale_nan};
use std::sync::Arc;

#[derive(Debug)]
enum Columns {
    Integers { count: Paced, zero_count: Paced, buckets: Vec<Paced> },
    Floats { count: Xor, zero_count: Xor, buckets: Vec<Xor> },
}

#[derive(Debug, Clone, Copy, Default)]
struct Paced {
    value: i64,
    delta: i64,
}

impl Paced {
    fn put(&mut self, out: &mut BitWriter, value: i64) {
        let delta = value.wrapping_sub(self.value);
        put_int(out, delta.wrapping_sub(self.delta));
        *self = Paced { value, delta };
    }
}

/// A chunk under way.
#[derive(Debug)]
pub(super) struct HistogramChunk {
    bits: BitWriter,
    times: Times,
    count: u16,
    layout: Layout,
    gauge: bool,
    columns: Columns,
    sum: Xor,
    /// The newest sample.
    last: Arc<Histogram>,
}

/// A sample's counts as integers.
struct Integers {
    count: u64,
    zero_count: u64,
    /// Each bucket's difference to the one before it; the negative ones begin anew.
    buckets: Vec<i64>,
}

/// The count as an integer, if it is one that comes back the same.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "what does not fit is compared away"
)]
#[expect(clippy::cast_precision_loss, reason = "what does not fit is compared away")]
fn integer(v: f64) -> Option<u64> {
    let n = v as u64;
    (n <= 1 << 53 && (n as f64).to_bits() == v.to_bits()).then_some(n)
}

fn integers(h: &Histogram) -> Option<Integers> {
    let mut buckets = Vec::with_capacity(h.positive.len() + h.negative.len());
    for side in [&h.positive, &h.negative] {
        let mut before = 0;
        for v in side {
            let n = integer(*v)?.cast_signed();
            buckets.push(n - before);
            before = n;
        }
    }
    Some(Integers { count: integer(h.count)?, zero_count: integer(h.zero_count)?, buckets })
}

/// How the first histogram chunk of a series begins: what came before is not known.
pub(super) fn first_header(h: &Histogram) -> u8 {
    match h.reset {
        CounterReset::Gauge => GAUGE,
        CounterReset::Reset => RESET,
        CounterReset::Unknown | CounterReset::NotReset => UNKNOWN,
    }
}

impl HistogramChunk {
    /// A chunk with one sample; `None` when its buckets do not match its spans.
    pub(super) fn begin(at: Timestamp, h: &Arc<Histogram>, header: u8) -> Option<HistogramChunk> {
        // Of a staleness marker nothing but the sum counts.
        let shown = if is_stale_nan(h.sum) {
            Arc::new(Histogram { sum: h.sum, ..Histogram::default() })
        } else {
            Arc::clone(h)
        };
        let layout = layout(&shown);
        if (shown.positive.len(), shown.negative.len()) != (layout.positive_buckets, layout.negative_buckets)
        {
            return None;
        }
        let mut bits = BitWriter::after(vec![0, 0, header]);
        layout.put(&mut bits);
        put_int(&mut bits, at);
        let columns = match integers(&shown) {
            Some(n) => {
                put_uint(&mut bits, n.count);
                put_uint(&mut bits, n.zero_count);
                bits.put(shown.sum.to_bits(), 64);
                n.buckets.iter().for_each(|b| put_int(&mut bits, *b));
                let first = |value| Paced { value, delta: 0 };
                Columns::Integers {
                    count: first(n.count.cast_signed()),
                    zero_count: first(n.zero_count.cast_signed()),
                    buckets: n.buckets.into_iter().map(first).collect(),
                }
            }
            None => {
                for v in [shown.count, shown.zero_count, shown.sum]
                    .iter()
                    .chain(&shown.positive)
                    .chain(&shown.negative)
                {
                    bits.put(v.to_bits(), 64);
                }
                Columns::Floats {
                    count: Xor::first(shown.count),
                    zero_count: Xor::first(shown.zero_count),
                    buckets: shown.positive.iter().chain(&shown.negative).map(|v| Xor::first(*v)).collect(),
                }
            }
        };
        Some(HistogramChunk {
            bits,
            times: Times::begin(at),
            count: 1,
            layout,
            gauge: h.reset == CounterReset::Gauge,
            columns,
            sum: Xor::first(shown.sum),
            last: shown,
        })
    }

    /// Appends a sample, or says with which header another chunk must begin for it.
    pub(super) fn push(&mut self, at: Timestamp, h: &Arc<Histogram>) -> Result<(), u8> {
        if is_stale_nan(h.sum) {
            if self.count >= MOST_SAMPLES {
                return Err(if self.gauge { GAUGE } else { UNKNOWN });
            }
            self.push_stale(at, h.sum);
            return Ok(());
        }
        if is_stale_nan(self.last.sum) {
            // Where the counts went on to is not known any more.
            return Err(first_header(h));
        }
        let header = self.header_for(h);
        let goes_on = header == if self.gauge { GAUGE } else { NOT_RESET };
        if !goes_on || self.count >= MOST_SAMPLES || !self.same_layout(h) {
            return Err(header);
        }
        match (&mut self.columns, integers(h)) {
            (Columns::Integers { count, zero_count, buckets }, Some(n)) => {
                put_int(&mut self.bits, self.times.step(at).1);
                count.put(&mut self.bits, n.count.cast_signed());
                zero_count.put(&mut self.bits, n.zero_count.cast_signed());
                self.sum.put(&mut self.bits, h.sum);
                buckets.iter_mut().zip(n.buckets).for_each(|(b, v)| b.put(&mut self.bits, v));
            }
            (Columns::Floats { count, zero_count, buckets }, None) => {
                put_int(&mut self.bits, self.times.step(at).1);
                count.put(&mut self.bits, h.count);
                zero_count.put(&mut self.bits, h.zero_count);
                self.sum.put(&mut self.bits, h.sum);
                let values = h.positive.iter().chain(&h.negative);
                buckets.iter_mut().zip(values).for_each(|(b, v)| b.put(&mut self.bits, *v));
            }
            // The other form begins a chunk of its own.
            _ => return Err(if self.gauge { GAUGE } else { UNKNOWN }),
        }
        self.last = Arc::clone(h);
        self.count += 1;
        Ok(())
    }

    /// Times and sum go on; the counts stay as they are going, and there are no buckets.
    fn push_stale(&mut self, at: Timestamp, sum: f64) {
        put_int(&mut self.bits, self.times.step(at).1);
        match &mut self.columns {
            Columns::Integers { .. } => {
                put_int(&mut self.bits, 0);
                put_int(&mut self.bits, 0);
            }
            Columns::Floats { count, zero_count, .. } => {
                count.put(&mut self.bits, 0.0);
                zero_count.put(&mut self.bits, 0.0);
            }
        }
        self.sum.put(&mut self.bits, sum);
        self.last = Arc::new(Histogram { sum, ..Histogram::default() });
        self.count += 1;
    }

    fn same_layout(&self, h: &Histogram) -> bool {
        let l = &self.layout;
        l.schema == h.schema
            && l.zero_threshold.to_bits() == h.zero_threshold.to_bits()
            && l.positive == h.positive_spans
            && l.negative == h.negative_spans
            && l.positive_buckets == h.positive.len()
            && l.negative_buckets == h.negative.len()
            && same_bounds(l.bounds.as_deref(), h.custom_bounds.as_deref())
    }

    /// What is known of a reset between the newest sample and `h`.
    fn header_for(&self, h: &Histogram) -> u8 {
        let last = &*self.last;
        if h.reset == CounterReset::Gauge {
            return GAUGE;
        }
        if h.reset == CounterReset::Reset {
            return RESET;
        }
        if self.gauge {
            return UNKNOWN;
        }
        if h.count < last.count {
            return RESET;
        }
        if h.schema != last.schema || h.zero_threshold.to_bits() != last.zero_threshold.to_bits() {
            return UNKNOWN;
        }
        let falls = !same_bounds(last.custom_bounds.as_deref(), h.custom_bounds.as_deref())
            || h.zero_count < last.zero_count
            || a_bucket_falls((&last.positive_spans, &last.positive), (&h.positive_spans, &h.positive))
            || a_bucket_falls((&last.negative_spans, &last.negative), (&h.negative_spans, &h.negative));
        if falls { RESET } else { NOT_RESET }
    }

    pub(super) fn finish(self) -> Encoded {
        let encoding = match self.columns {
            Columns::Integers { .. } => HISTOGRAM,
            Columns::Floats { .. } => FLOAT_HISTOGRAM,
        };
        finish(encoding, self.times, self.count, &self.bits)
    }
}

fn same_bounds(a: Option<&[f64]>, b: Option<&[f64]>) -> bool {
    let bits =
        |bounds: Option<&[f64]>| bounds.unwrap_or_default().iter().map(|v| v.to_bits()).collect::<Vec<_>>();
    bits(a) == bits(b)
}

fn layout(h: &Histogram) -> Layout {
    Layout {
        schema: h.schema,
        zero_threshold: h.zero_threshold,
        positive: h.positive_spans.clone(),
        negative: h.negative_spans.clone(),
        bounds: h.custom_bounds.clone(),
        positive_buckets: buckets(&h.positive_spans),
        negative_buckets: buckets(&h.negative_spans),
    }
}

/// Places and counts of the buckets of one side.
fn placed<'a>((spans, counts): (&'a [Span], &'a [f64])) -> impl Iterator<Item = (i64, f64)> + 'a {
    let mut place = 0i64;
    let places = spans.iter().flat_map(move |s| {
        let first = place + i64::from(s.offset);
        place = first + i64::from(s.length);
        first..place
    });
    places.zip(counts.iter().copied())
}

/// Whether a bucket that counted before counts less now, or is gone.
fn a_bucket_falls(before: (&[Span], &[f64]), now: (&[Span], &[f64])) -> bool {
    let mut now = placed(now).peekable();
    placed(before).filter(|(_, count)| *count > 0.0).any(|(place, count)| {
        while now.next_if(|(p, _)| *p < place).is_some() {}
        now.peek().is_none_or(|(p, n)| *p != place || *n < count)
    })
}
