//! Arithmetic on native histograms.
//!
//! The rules are those of Prometheus's float histograms: two exponential histograms meet at the coarser of
//! their resolutions and the wider of their zero buckets; two with custom bounds meet at the bounds that they
//! share; the two kinds do not mix. Buckets are worked on as sorted `(index, count)` pairs, and stored as spans.

use model::{CounterReset, Histogram, Span};

/// The two histograms cannot be combined: one has custom bounds, the other exponential buckets.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("histograms with exponential and with custom buckets do not combine")]
pub struct Incompatible;

/// What happened on the way to a combined histogram.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Combined {
    /// One said that its counters were reset, the other that they were not.
    pub reset_collision: bool,
    /// The custom bounds differed, and only the common ones were kept.
    pub bounds_reconciled: bool,
}

/// Buckets by index, ascending.
pub(crate) type Buckets = Vec<(i32, f64)>;

pub(crate) fn unpack(spans: &[Span], counts: &[f64]) -> Buckets {
    let mut out = Vec::with_capacity(counts.len());
    let mut index = 0i32;
    let mut counts = counts.iter();
    for span in spans {
        index = index.saturating_add(span.offset);
        for _ in 0..span.length {
            let Some(count) = counts.next() else { return out };
            out.push((index, *count));
            index = index.saturating_add(1);
        }
    }
    out
}

pub(crate) fn pack(buckets: &[(i32, f64)]) -> (Vec<Span>, Vec<f64>) {
    let mut spans: Vec<Span> = Vec::new();
    let mut counts = Vec::with_capacity(buckets.len());
    let mut next = 0i32;
    for (index, count) in buckets {
        match spans.last_mut() {
            Some(span) if *index == next => span.length += 1,
            _ => spans.push(Span { offset: index.saturating_sub(next), length: 1 }),
        }
        next = index.saturating_add(1);
        counts.push(*count);
    }
    (spans, counts)
}

/// A histogram taken apart: buckets as pairs, the rest as it was.
#[derive(Debug, Clone)]
pub(crate) struct Parts {
    pub(crate) head: Histogram,
    pub(crate) positive: Buckets,
    pub(crate) negative: Buckets,
}

impl Parts {
    pub(crate) fn of(h: &Histogram) -> Self {
        Parts {
            positive: unpack(&h.positive_spans, &h.positive),
            negative: unpack(&h.negative_spans, &h.negative),
            head: Histogram {
                positive_spans: Vec::new(),
                positive: Vec::new(),
                negative_spans: Vec::new(),
                negative: Vec::new(),
                ..h.clone()
            },
        }
    }

    /// Puts the histogram together again, without empty buckets.
    pub(crate) fn build(mut self) -> Histogram {
        self.positive.retain(|(_, c)| *c != 0.0);
        self.negative.retain(|(_, c)| *c != 0.0);
        let (positive_spans, positive) = pack(&self.positive);
        let (negative_spans, negative) = pack(&self.negative);
        Histogram { positive_spans, positive, negative_spans, negative, ..self.head }
    }

    pub(crate) fn reduce_to(&mut self, schema: i32) {
        if schema < self.head.schema {
            let by = self.head.schema - schema;
            reduce(&mut self.positive, by);
            reduce(&mut self.negative, by);
            self.head.schema = schema;
        }
    }

    /// The zero count if the zero bucket reached to `threshold`, and the threshold at which that is exact: one
    /// that cuts no populated bucket.
    pub(crate) fn widened_zero(&self, threshold: f64) -> (f64, f64) {
        let mut threshold = threshold;
        'again: loop {
            let mut count = self.head.zero_count;
            for (index, c) in self.positive.iter().chain(&self.negative) {
                if *c == 0.0 || upper_bound(*index - 1, self.head.schema) >= threshold {
                    continue;
                }
                let upper = upper_bound(*index, self.head.schema);
                if upper > threshold {
                    threshold = upper;
                    continue 'again;
                }
                count += c;
            }
            return (count, threshold);
        }
    }

    pub(crate) fn set_zero(&mut self, count: f64, threshold: f64) {
        let schema = self.head.schema;
        self.head.zero_count = count;
        self.head.zero_threshold = threshold;
        let outside = |(index, _): &(i32, f64)| upper_bound(*index - 1, schema) >= threshold;
        self.positive.retain(outside);
        self.negative.retain(outside);
    }
}

/// Merges neighbouring buckets, halving the resolution `by` times.
fn reduce(buckets: &mut Buckets, by: i32) {
    let mut out: Buckets = Vec::with_capacity(buckets.len());
    for (index, count) in buckets.drain(..) {
        let index = (index.saturating_sub(1) >> by.min(31)).saturating_add(1);
        match out.last_mut() {
            Some((last, sum)) if *last == index => *sum += count,
            _ => out.push((index, count)),
        }
    }
    *buckets = out;
}

/// The finest schema that has bounds of its own.
const FINEST: usize = 8;

/// `2^(2^-schema)` as Go's `math.Exp2` rounds it, which is not always to the nearest.
#[expect(clippy::approx_constant, reason = "Go's value is the one before the nearest to the root of 2")]
const GROWTH: [f64; FINEST + 1] = [
    2.0,
    1.414213562373095,
    1.189207115002721,
    1.0905077326652577,
    1.0442737824274138,
    1.0218971486541166,
    1.0108892860517005,
    1.0054299011128027,
    1.0027112750502025,
];

/// Bounds within `[0.5, 1)` for each schema from 0 on, bit for bit those of Prometheus's table: every other one
/// is the coarser schema's, those between are the one before them times [`GROWTH`]. People see them in the API.
const FRACTIONS: &[[f64; 1 << FINEST]; FINEST + 1] = &fractions();

const fn fractions() -> [[f64; 1 << FINEST]; FINEST + 1] {
    let mut all = [[0.5; 1 << FINEST]; FINEST + 1];
    let mut schema = 1;
    while schema <= FINEST {
        let mut i = 1;
        while i < 1 << schema {
            all[schema][i] =
                if i % 2 == 0 { all[schema - 1][i / 2] } else { all[schema][i - 1] * GROWTH[schema] };
            i += 1;
        }
        schema += 1;
    }
    all
}

/// The upper bound of exponential bucket `index`: `2^(index * 2^-schema)`.
pub(crate) fn upper_bound(index: i32, schema: i32) -> f64 {
    if schema <= 0 {
        let exponent = i64::from(index) << (-schema).clamp(0, 31);
        let exponent = i32::try_from(exponent.clamp(-2000, 2000)).unwrap_or(2000);
        // The largest finite value ends the last regular bucket.
        return if exponent == 1024 { f64::MAX } else { f64::from(exponent).exp2() };
    }
    let per_octave = 1i32 << schema.min(30);
    let (octave, place) = (index.div_euclid(per_octave), index.rem_euclid(per_octave));
    if place == 0 && octave == 1024 {
        return f64::MAX;
    }
    let bounds = usize::try_from(schema).ok().and_then(|s| FRACTIONS.get(s));
    let fraction = match (bounds, usize::try_from(place)) {
        (Some(bounds), Ok(place)) => bounds[place] * 2.0,
        _ => (f64::from(place) / f64::from(per_octave)).exp2(),
    };
    // Two factors, so that the smallest bounds do not underflow on the way.
    let half = octave / 2;
    fraction * f64::from(half).exp2() * f64::from(octave - half).exp2()
}

/// Combines the pairs of both sides with `op`; an absent bucket counts 0.
fn merge(a: &mut Buckets, b: &[(i32, f64)], op: impl Fn(f64, f64) -> f64 + Copy) {
    if a.len() == b.len() && a.iter().zip(b).all(|(x, y)| x.0 == y.0) {
        for (x, y) in a.iter_mut().zip(b) {
            x.1 = op(x.1, y.1);
        }
        return;
    }
    let mut out = Vec::with_capacity(a.len() + b.len());
    let (mut i, mut j) = (0, 0);
    while i < a.len() || j < b.len() {
        let left = a.get(i).map_or(i64::MAX, |x| i64::from(x.0));
        let right = b.get(j).map_or(i64::MAX, |x| i64::from(x.0));
        if left < right {
            out.push((a[i].0, op(a[i].1, 0.0)));
            i += 1;
        } else if right < left {
            out.push((b[j].0, op(0.0, b[j].1)));
            j += 1;
        } else {
            out.push((a[i].0, op(a[i].1, b[j].1)));
            i += 1;
            j += 1;
        }
    }
    *a = out;
}

/// Moves buckets of custom bounds `from` into those of `to`, a subset of them.
pub(crate) fn remap(buckets: &Buckets, from: &[f64], to: &[f64]) -> Buckets {
    let mut out: Buckets = Vec::new();
    for (index, count) in buckets {
        let upper = usize::try_from(*index).ok().and_then(|i| from.get(i)).copied().unwrap_or(f64::INFINITY);
        let target = i32::try_from(to.partition_point(|b| *b < upper)).unwrap_or(i32::MAX);
        match out.last_mut() {
            Some((last, sum)) if *last == target => *sum += count,
            _ => out.push((target, *count)),
        }
    }
    out
}

/// Which ends a bucket includes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Bounds {
    /// `(lower, upper]`
    OpenLeft,
    /// `[lower, upper)`
    OpenRight,
    /// `[lower, upper]`
    Closed,
}

impl Bounds {
    /// The number that Prometheus's HTTP API gives it.
    pub fn api_rule(self) -> u8 {
        match self {
            Bounds::OpenLeft => 0,
            Bounds::OpenRight => 1,
            Bounds::Closed => 3,
        }
    }
}

/// A bucket with its bounds.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Bucket {
    pub lower: f64,
    pub upper: f64,
    pub count: f64,
    pub bounds: Bounds,
}

/// All buckets from the lowest values to the highest, the zero bucket among them; empty ones too where stored.
pub fn buckets(h: &Histogram) -> Vec<Bucket> {
    let positive = unpack(&h.positive_spans, &h.positive);
    let mut out = Vec::with_capacity(positive.len() + h.negative.len() + 1);
    if h.uses_custom_buckets() {
        let at = |i: i32| usize::try_from(i).ok().and_then(|i| bounds(h).get(i)).copied();
        for (index, count) in positive {
            let (lower, upper) =
                (at(index - 1).unwrap_or(f64::NEG_INFINITY), at(index).unwrap_or(f64::INFINITY));
            out.push(Bucket { lower, upper, count, bounds: Bounds::OpenLeft });
        }
        return out;
    }
    let upper = |index| upper_bound(index, h.schema);
    for (index, count) in unpack(&h.negative_spans, &h.negative).into_iter().rev() {
        out.push(Bucket { lower: -upper(index), upper: -upper(index - 1), count, bounds: Bounds::OpenRight });
    }
    if h.zero_count != 0.0 {
        let z = h.zero_threshold;
        out.push(Bucket { lower: -z, upper: z, count: h.zero_count, bounds: Bounds::Closed });
    }
    for (index, count) in positive {
        out.push(Bucket { lower: upper(index - 1), upper: upper(index), count, bounds: Bounds::OpenLeft });
    }
    out
}

pub(crate) fn bounds(h: &Histogram) -> &[f64] {
    h.custom_bounds.as_deref().unwrap_or(&[])
}

/// The custom bounds that both have, and whether these are all that they have.
pub(crate) fn common_bounds(a: &Histogram, b: &Histogram) -> (Vec<f64>, bool) {
    let common: Vec<f64> = bounds(a).iter().filter(|x| bounds(b).contains(x)).copied().collect();
    let all = common.len() == bounds(a).len() && common.len() == bounds(b).len();
    (common, all)
}

fn combine(
    a: &Histogram,
    b: &Histogram,
    op: impl Fn(f64, f64) -> f64 + Copy,
) -> Result<(Histogram, Combined), Incompatible> {
    if a.uses_custom_buckets() != b.uses_custom_buckets() {
        return Err(Incompatible);
    }
    let (mut left, mut right) = (Parts::of(a), Parts::of(b));
    let mut how = Combined::default();
    left.head.reset = match (a.reset, b.reset) {
        (x, y) if x == y => x,
        (CounterReset::Gauge, _) | (_, CounterReset::Gauge) => CounterReset::Gauge,
        (CounterReset::Unknown, _) | (_, CounterReset::Unknown) => CounterReset::Unknown,
        _ => {
            how.reset_collision = true;
            CounterReset::Unknown
        }
    };
    if a.uses_custom_buckets() {
        if bounds(a) != bounds(b) {
            how.bounds_reconciled = true;
            let (common, _) = common_bounds(a, b);
            left.positive = remap(&left.positive, bounds(a), &common);
            right.positive = remap(&right.positive, bounds(b), &common);
            left.head.custom_bounds = Some(common.into());
        }
    } else {
        // The wider zero bucket may have to grow further so as to cut no bucket of the other.
        while left.head.zero_threshold != right.head.zero_threshold {
            let narrow =
                if left.head.zero_threshold < right.head.zero_threshold { &mut left } else { &mut right };
            let wide = f64::max(a.zero_threshold, b.zero_threshold).max(narrow.head.zero_threshold);
            let (count, threshold) = narrow.widened_zero(wide.max(f64::MIN_POSITIVE));
            narrow.set_zero(count, threshold);
            if left.head.zero_threshold == right.head.zero_threshold {
                break;
            }
            let target = left.head.zero_threshold.max(right.head.zero_threshold);
            let other =
                if left.head.zero_threshold < right.head.zero_threshold { &mut left } else { &mut right };
            let (count, threshold) = other.widened_zero(target);
            other.set_zero(count, threshold);
        }
        let schema = left.head.schema.min(right.head.schema);
        left.reduce_to(schema);
        right.reduce_to(schema);
    }
    left.head.zero_count = op(left.head.zero_count, right.head.zero_count);
    left.head.count = op(left.head.count, right.head.count);
    left.head.sum = op(left.head.sum, right.head.sum);
    merge(&mut left.positive, &right.positive, op);
    merge(&mut left.negative, &right.negative, op);
    Ok((left.build(), how))
}

/// `a + b`
pub fn add(a: &Histogram, b: &Histogram) -> Result<(Histogram, Combined), Incompatible> {
    combine(a, b, |x, y| x + y)
}

/// `a - b`
pub fn sub(a: &Histogram, b: &Histogram) -> Result<(Histogram, Combined), Incompatible> {
    combine(a, b, |x, y| x - y)
}

/// A sum of many histograms. Like [`add`] one after the other, but what rounding loses is kept beside and added
/// at the end (Kahan's method with Neumaier's improvement, bucket by bucket).
#[derive(Debug, Clone, Default)]
pub(crate) struct Total {
    sum: Option<Histogram>,
    /// What the sum lacks, in the same buckets.
    lost: Option<Histogram>,
    count: f64,
    /// Once the sum would overflow, `sum` is the mean so far.
    is_mean: bool,
    reconciled: bool,
}

impl Total {
    pub(crate) fn add(&mut self, h: &Histogram) -> Result<(), Incompatible> {
        self.count += 1.0;
        let Some(sum) = &self.sum else {
            self.sum = Some(h.clone());
            return Ok(());
        };
        if !self.is_mean {
            let (next, lost, how) = add_keeping_loss(sum, self.lost.as_ref(), h)?;
            self.reconciled |= how.bounds_reconciled;
            if !overflows(&next) || overflows(h) || overflows(sum) {
                (self.sum, self.lost) = (Some(next), Some(lost));
                return Ok(());
            }
            self.is_mean = true;
            let n = self.count - 1.0;
            self.sum = self.sum.as_ref().map(|s| map(s, |v| v / n));
            self.lost = self.lost.as_ref().map(|s| map(s, |v| v / n));
        }
        let (n, q) = (self.count, (self.count - 1.0) / self.count);
        let mean = self.sum.as_ref().map(|s| map(s, |v| v * q)).unwrap_or_default();
        let lost = self.lost.as_ref().map(|s| map(s, |v| v * q));
        let (next, lost, how) = add_keeping_loss(&mean, lost.as_ref(), &map(h, |v| v / n))?;
        self.reconciled |= how.bounds_reconciled;
        (self.sum, self.lost) = (Some(next), Some(lost));
        Ok(())
    }

    /// Whether custom bounds differed on the way.
    pub(crate) fn reconciled(&self) -> bool {
        self.reconciled
    }

    fn settled(&self, divide_by: f64) -> Option<Histogram> {
        let sum = map(self.sum.as_ref()?, |v| v / divide_by);
        let Some(lost) = &self.lost else { return Some(Parts::of(&sum).build()) };
        let reset = sum.reset;
        let lost = map(lost, |v| v / divide_by);
        let (mut out, _) =
            combine(&sum, &lost, |x, y| if x.is_finite() && y.is_finite() { x + y } else { x }).ok()?;
        out.reset = reset;
        Some(out)
    }

    pub(crate) fn sum(&self) -> Option<Histogram> {
        if !self.is_mean {
            return self.settled(1.0);
        }
        self.settled(1.0 / self.count)
    }

    pub(crate) fn mean(&self) -> Option<Histogram> {
        self.settled(if self.is_mean { 1.0 } else { self.count })
    }
}

fn overflows(h: &Histogram) -> bool {
    let all = h.positive.iter().chain(&h.negative).chain([&h.zero_count, &h.count, &h.sum]);
    all.into_iter().any(|v| v.is_infinite())
}

fn map(h: &Histogram, op: impl Fn(f64) -> f64) -> Histogram {
    let all = |counts: &[f64]| counts.iter().map(|c| op(*c)).collect();
    Histogram {
        zero_count: op(h.zero_count),
        count: op(h.count),
        sum: op(h.sum),
        positive: all(&h.positive),
        negative: all(&h.negative),
        ..h.clone()
    }
}

/// `sum + h`, and what the addition lost together with what was lost before.
fn add_keeping_loss(
    sum: &Histogram,
    lost: Option<&Histogram>,
    h: &Histogram,
) -> Result<(Histogram, Histogram, Combined), Incompatible> {
    // Neumaier's step is symmetric: the loss is that of the smaller of the two.
    let loss = |x: f64, y: f64| {
        let t = x + y;
        if t.is_infinite() || t.is_nan() {
            0.0
        } else if x.abs() >= y.abs() {
            (x - t) + y
        } else {
            (y - t) + x
        }
    };
    let (next, how) = add(sum, h)?;
    let (now, _) = combine(sum, h, loss)?;
    let lost = match lost {
        Some(before) => add(before, &now)?.0,
        None => now,
    };
    Ok((next, lost, how))
}

#[cfg(test)]
mod tests;
