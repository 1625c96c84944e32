//! Chunks of native histograms: a layout of buckets that all samples share, then the samples.
//!
//! Integers are differences of differences, floats are XORed; both forms come out as floats. A staleness marker
//! has a sum and nothing else.

use super::{Fault, MOST_BUCKETS, Taker, counted};
use crate::{
    bits::BitReader,
    prometheus::{
        histogram_layout::{GAUGE, Layout, RESET, RESET_MASK},
        varbit::{Xor, get_int, get_uint},
    },
};
use model::{CounterReset, Histogram, is_stale_nan};

/// The columns of one form.
pub(super) trait Columns: Sized {
    /// Reads the first sample after its time.
    fn first(bits: &mut BitReader<'_>, layout: &Layout) -> Option<Self>;
    /// Reads a later sample after its time.
    fn next(&mut self, bits: &mut BitReader<'_>) -> Option<()>;
    fn sum(&self) -> f64;
    /// Count, zero count, positive and negative buckets.
    fn numbers(&self) -> (f64, f64, Vec<f64>, Vec<f64>);
}

pub(super) fn decode<C: Columns>(data: &[u8], taker: &mut Taker<'_>) -> Result<(), Fault> {
    let (count, rest) = counted(data)?;
    let (flags, rest) = rest.split_first().ok_or_else(Fault::cut)?;
    if count == 0 {
        return Ok(());
    }
    let header = flags & RESET_MASK;
    let mut bits = BitReader::new(rest);
    let layout = Layout::read(&mut bits)?;
    // Every sample keeps its buckets in memory.
    if usize::from(count).saturating_mul(layout.buckets()) > MOST_BUCKETS {
        return Err(Fault::Malformed("its histograms have too many buckets"));
    }
    let (mut at, mut delta) = (0i64, 0i64);
    let mut columns: Option<C> = None;
    for n in 0..count {
        let time = get_int(&mut bits).ok_or_else(Fault::cut)?;
        if n == 0 {
            at = time;
        } else {
            delta = delta.wrapping_add(time);
            at = at.wrapping_add(delta);
        }
        let now = match &mut columns {
            None => columns.insert(C::first(&mut bits, &layout).ok_or_else(Fault::cut)?),
            Some(columns) => {
                columns.next(&mut bits).ok_or_else(Fault::cut)?;
                columns
            }
        };
        taker.histogram(at, || make(now, &layout, hint(header, n)))?;
    }
    Ok(())
}

/// Within a chunk of a counter nothing starts anew; how the chunk itself began is known only if it says "reset",
/// because the chunk before may be gone.
fn hint(header: u8, n: u16) -> CounterReset {
    match (header, n) {
        (GAUGE, _) => CounterReset::Gauge,
        (_, 1..) => CounterReset::NotReset,
        (RESET, 0) => CounterReset::Reset,
        _ => CounterReset::Unknown,
    }
}

fn make(columns: &impl Columns, layout: &Layout, reset: CounterReset) -> Histogram {
    let sum = columns.sum();
    if is_stale_nan(sum) {
        return Histogram { sum, ..Histogram::default() };
    }
    let (count, zero_count, positive, negative) = columns.numbers();
    Histogram {
        reset,
        schema: layout.schema,
        zero_threshold: layout.zero_threshold,
        zero_count,
        count,
        sum,
        positive_spans: layout.positive.clone(),
        positive,
        negative_spans: layout.negative.clone(),
        negative,
        custom_bounds: layout.bounds.clone(),
    }
}

/// An integer whose change changes.
#[derive(Debug, Clone, Copy, Default)]
struct Paced {
    value: i64,
    delta: i64,
}

impl Paced {
    fn read(&mut self, bits: &mut BitReader<'_>) -> Option<()> {
        self.delta = self.delta.wrapping_add(get_int(bits)?);
        self.value = self.value.wrapping_add(self.delta);
        Some(())
    }
}

#[derive(Debug)]
pub(super) struct Integers {
    count: Paced,
    zero_count: Paced,
    sum: Xor,
    /// Each bucket's difference to the one before it.
    positive: Vec<Paced>,
    negative: Vec<Paced>,
}

fn first_integers(bits: &mut BitReader<'_>, n: usize) -> Option<Vec<Paced>> {
    (0..n).map(|_| Some(Paced { value: get_int(bits)?, delta: 0 })).collect()
}

#[expect(clippy::cast_precision_loss, reason = "counts are floats here; those below 2^53 are exact")]
fn float(v: i64) -> f64 {
    v as f64
}

#[expect(clippy::cast_precision_loss, reason = "counts are floats here; those below 2^53 are exact")]
fn unsigned(v: i64) -> f64 {
    v.cast_unsigned() as f64
}

fn summed(buckets: &[Paced]) -> Vec<f64> {
    let mut sum = 0i64;
    let add = |b: &Paced| {
        sum = sum.wrapping_add(b.value);
        float(sum)
    };
    buckets.iter().map(add).collect()
}

impl Columns for Integers {
    fn first(bits: &mut BitReader<'_>, layout: &Layout) -> Option<Integers> {
        let count = Paced { value: get_uint(bits)?.cast_signed(), delta: 0 };
        let zero_count = Paced { value: get_uint(bits)?.cast_signed(), delta: 0 };
        let sum = Xor::first(f64::from_bits(bits.get(64)?));
        let positive = first_integers(bits, layout.positive_buckets)?;
        let negative = first_integers(bits, layout.negative_buckets)?;
        Some(Integers { count, zero_count, sum, positive, negative })
    }

    fn next(&mut self, bits: &mut BitReader<'_>) -> Option<()> {
        self.count.read(bits)?;
        self.zero_count.read(bits)?;
        self.sum.read(bits)?;
        if is_stale_nan(self.sum.get()) {
            return Some(());
        }
        self.positive.iter_mut().chain(&mut self.negative).try_for_each(|b| b.read(bits))
    }

    fn sum(&self) -> f64 {
        self.sum.get()
    }

    fn numbers(&self) -> (f64, f64, Vec<f64>, Vec<f64>) {
        let (count, zero_count) = (unsigned(self.count.value), unsigned(self.zero_count.value));
        (count, zero_count, summed(&self.positive), summed(&self.negative))
    }
}

#[derive(Debug)]
pub(super) struct Floats {
    count: Xor,
    zero_count: Xor,
    sum: Xor,
    positive: Vec<Xor>,
    negative: Vec<Xor>,
}

fn first_float(bits: &mut BitReader<'_>) -> Option<Xor> {
    Some(Xor::first(f64::from_bits(bits.get(64)?)))
}

impl Columns for Floats {
    fn first(bits: &mut BitReader<'_>, layout: &Layout) -> Option<Floats> {
        let (count, zero_count, sum) = (first_float(bits)?, first_float(bits)?, first_float(bits)?);
        let positive = (0..layout.positive_buckets).map(|_| first_float(bits)).collect::<Option<_>>()?;
        let negative = (0..layout.negative_buckets).map(|_| first_float(bits)).collect::<Option<_>>()?;
        Some(Floats { count, zero_count, sum, positive, negative })
    }

    fn next(&mut self, bits: &mut BitReader<'_>) -> Option<()> {
        self.count.read(bits)?;
        self.zero_count.read(bits)?;
        self.sum.read(bits)?;
        if is_stale_nan(self.sum.get()) {
            return Some(());
        }
        self.positive.iter_mut().chain(&mut self.negative).try_for_each(|b| b.read(bits))
    }

    fn sum(&self) -> f64 {
        self.sum.get()
    }

    fn numbers(&self) -> (f64, f64, Vec<f64>, Vec<f64>) {
        let floats = |buckets: &[Xor]| buckets.iter().map(Xor::get).collect();
        (self.count.get(), self.zero_count.get(), floats(&self.positive), floats(&self.negative))
    }
}
