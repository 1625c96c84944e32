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

/// A column of one form: integers or floats.
pub(super) trait Column: Sized {
    /// Reads the first count; of buckets, the first number.
    fn first_count(bits: &mut BitReader<'_>) -> Option<Self>;
    fn first_bucket(bits: &mut BitReader<'_>) -> Option<Self>;
    fn read(&mut self, bits: &mut BitReader<'_>) -> Option<()>;
    fn count(&self) -> f64;
    fn buckets(columns: &[Self]) -> Vec<f64>;
}

/// The columns of a chunk at one sample.
struct Columns<C> {
    count: C,
    zero_count: C,
    sum: Xor,
    positive: Vec<C>,
    negative: Vec<C>,
}

impl<C: Column> Columns<C> {
    /// Reads the first sample after its time.
    fn first(bits: &mut BitReader<'_>, layout: &Layout) -> Option<Self> {
        let (count, zero_count) = (C::first_count(bits)?, C::first_count(bits)?);
        let sum = Xor::first(f64::from_bits(bits.get(64)?));
        let positive = (0..layout.positive_buckets).map(|_| C::first_bucket(bits)).collect::<Option<_>>()?;
        let negative = (0..layout.negative_buckets).map(|_| C::first_bucket(bits)).collect::<Option<_>>()?;
        Some(Columns { count, zero_count, sum, positive, negative })
    }

    /// Reads a later sample after its time.
    fn next(&mut self, bits: &mut BitReader<'_>) -> Option<()> {
        self.count.read(bits)?;
        self.zero_count.read(bits)?;
        self.sum.read(bits)?;
        if is_stale_nan(self.sum.get()) {
            return Some(());
        }
        self.positive.iter_mut().chain(&mut self.negative).try_for_each(|b| b.read(bits))
    }

    fn histogram(&self, layout: &Layout, reset: CounterReset) -> Histogram {
        let sum = self.sum.get();
        if is_stale_nan(sum) {
            return Histogram { sum, ..Histogram::default() };
        }
        Histogram {
            reset,
            schema: layout.schema,
            zero_threshold: layout.zero_threshold,
            zero_count: self.zero_count.count(),
            count: self.count.count(),
            sum,
            positive_spans: layout.positive.clone(),
            positive: C::buckets(&self.positive),
            negative_spans: layout.negative.clone(),
            negative: C::buckets(&self.negative),
            custom_bounds: layout.bounds.clone(),
        }
    }
}

pub(super) fn decode<C: Column>(data: &[u8], taker: &mut Taker<'_>) -> Result<(), Fault> {
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
    let mut columns: Option<Columns<C>> = None;
    for n in 0..count {
        let time = get_int(&mut bits).ok_or_else(Fault::cut)?;
        if n == 0 {
            at = time;
        } else {
            delta = delta.wrapping_add(time);
            at = at.wrapping_add(delta);
        }
        let now = match &mut columns {
            None => columns.insert(Columns::first(&mut bits, &layout).ok_or_else(Fault::cut)?),
            Some(columns) => {
                columns.next(&mut bits).ok_or_else(Fault::cut)?;
                columns
            }
        };
        taker.histogram(at, || now.histogram(&layout, hint(header, n)))?;
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

/// An integer whose change changes; of buckets, the difference to the one before it.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Integer {
    value: i64,
    delta: i64,
}

impl Column for Integer {
    fn first_count(bits: &mut BitReader<'_>) -> Option<Self> {
        Some(Integer { value: get_uint(bits)?.cast_signed(), delta: 0 })
    }

    fn first_bucket(bits: &mut BitReader<'_>) -> Option<Self> {
        Some(Integer { value: get_int(bits)?, delta: 0 })
    }

    fn read(&mut self, bits: &mut BitReader<'_>) -> Option<()> {
        self.delta = self.delta.wrapping_add(get_int(bits)?);
        self.value = self.value.wrapping_add(self.delta);
        Some(())
    }

    #[expect(clippy::cast_precision_loss, reason = "counts are floats here; those below 2^53 are exact")]
    fn count(&self) -> f64 {
        self.value.cast_unsigned() as f64
    }

    #[expect(clippy::cast_precision_loss, reason = "counts are floats here; those below 2^53 are exact")]
    fn buckets(columns: &[Self]) -> Vec<f64> {
        let mut sum = 0i64;
        let add = |b: &Integer| {
            sum = sum.wrapping_add(b.value);
            sum as f64
        };
        columns.iter().map(add).collect()
    }
}

impl Column for Xor {
    fn first_count(bits: &mut BitReader<'_>) -> Option<Self> {
        Some(Xor::first(f64::from_bits(bits.get(64)?)))
    }

    fn first_bucket(bits: &mut BitReader<'_>) -> Option<Self> {
        Self::first_count(bits)
    }

    fn read(&mut self, bits: &mut BitReader<'_>) -> Option<()> {
        Xor::read(self, bits)
    }

    fn count(&self) -> f64 {
        self.get()
    }

    fn buckets(columns: &[Self]) -> Vec<f64> {
        columns.iter().map(Xor::get).collect()
    }
}
