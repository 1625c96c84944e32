//! What functions compute from native histograms: quantiles, fractions, deviations, growth, cut-off parts.
//!
//! Formulas are Prometheus's. Within exponential buckets values are assumed to be spread exponentially, within
//! the zero bucket and custom buckets linearly.

use super::{
    range::{Notes, Slice},
    rate::restarted,
    sum::Sum,
};
use crate::{
    error::Span,
    histogram::{self, Bounds, Bucket, Incompatible, Parts, bounds, buckets, unpack, upper_bound},
    value::{Annotations, general},
};
use model::{CounterReset, Histogram, Value};
use std::sync::Arc;

/// Every count and the sum times `by`.
pub(crate) fn scaled(h: &Histogram, by: f64) -> Histogram {
    changed(h, |v| v * by, by < 0.0)
}

/// Every count and the sum divided by `by`; dividing by 0 leaves no buckets.
pub(crate) fn divided(h: &Histogram, by: f64) -> Histogram {
    let mut out = changed(h, |v| v / by, by < 0.0);
    if by == 0.0 {
        (out.positive_spans, out.positive) = (Vec::new(), Vec::new());
        (out.negative_spans, out.negative) = (Vec::new(), Vec::new());
    }
    out
}

fn changed(h: &Histogram, op: impl Fn(f64) -> f64, gauge: bool) -> Histogram {
    let mut parts = Parts::of(h);
    parts.head.zero_count = op(parts.head.zero_count);
    parts.head.count = op(parts.head.count);
    parts.head.sum = op(parts.head.sum);
    for (_, c) in parts.positive.iter_mut().chain(&mut parts.negative) {
        *c = op(*c);
    }
    if gauge {
        parts.head.reset = CounterReset::Gauge;
    }
    parts.build()
}

/// Whether both say the same, whatever empty buckets they store.
pub(crate) fn equal(a: &Histogram, b: &Histogram) -> bool {
    let full = |spans, counts: &[f64]| {
        let mut buckets = unpack(spans, counts);
        buckets.retain(|(_, c)| *c != 0.0);
        buckets
    };
    let same = |x: f64, y: f64| x.to_bits() == y.to_bits();
    a.schema == b.schema
        && same(a.count, b.count)
        && same(a.sum, b.sum)
        && (a.uses_custom_buckets()
            || a.zero_threshold == b.zero_threshold && same(a.zero_count, b.zero_count))
        && (!a.uses_custom_buckets() || bounds(a) == bounds(b))
        && full(&a.positive_spans, &a.positive) == full(&b.positive_spans, &b.positive)
        && full(&a.negative_spans, &a.negative) == full(&b.negative_spans, &b.negative)
}

/// Whether a counter histogram started anew between `before` and `now`.
pub(crate) fn is_reset(now: &Histogram, before: &Histogram) -> bool {
    match now.reset {
        CounterReset::Reset => return true,
        CounterReset::NotReset => return false,
        CounterReset::Unknown | CounterReset::Gauge => {}
    }
    if now.uses_custom_buckets() != before.uses_custom_buckets() || now.count < before.count {
        return true;
    }
    let (n, mut b) = (Parts::of(now), Parts::of(before));
    if now.uses_custom_buckets() {
        if bounds(now) == bounds(before) {
            return shrank(&n.positive, &b.positive);
        }
        let (common, _) = histogram::common_bounds(now, before);
        let moved = |h: &Histogram, p: &histogram::Buckets| histogram::remap(p, bounds(h), &common);
        return shrank(&moved(now, &n.positive), &moved(before, &b.positive));
    }
    // A finer schema or a narrower zero bucket means that the source began anew.
    if now.schema > before.schema || now.zero_threshold < before.zero_threshold {
        return true;
    }
    let (zero, threshold) = b.widened_zero(now.zero_threshold);
    if threshold != now.zero_threshold || now.zero_count < zero {
        return true;
    }
    b.set_zero(zero, threshold);
    b.reduce_to(now.schema);
    shrank(&n.positive, &b.positive) || shrank(&n.negative, &b.negative)
}

/// Whether any bucket counts less than before.
fn shrank(now: &[(i32, f64)], before: &[(i32, f64)]) -> bool {
    let count = |index| now.binary_search_by_key(&index, |(i, _)| *i).map_or(0.0, |k| now[k].1);
    before.iter().any(|(index, c)| count(*index) < *c)
}

pub(crate) fn warn_mixed_schemas(name: &str, span: Span, annotations: &mut Annotations) {
    annotations.warn(
        span,
        format!("vector contains a mix of histograms with exponential and custom buckets schemas for metric name {name:?}"),
    );
}

pub(crate) fn warn_not_counter(span: Span, notes: &mut Notes<'_>) {
    let message = format!("this native histogram metric is not a counter: {:?}", notes.name());
    notes.annotations.warn(span, message);
}

pub(crate) fn warn_not_gauge(span: Span, notes: &mut Notes<'_>) {
    let message = format!("this native histogram metric is not a gauge: {:?}", notes.name());
    notes.annotations.warn(span, message);
}

pub(crate) fn check_quantile(q: f64, span: Span, annotations: &mut Annotations) {
    if !(0.0..=1.0).contains(&q) {
        let q = general(q);
        annotations.warn(span, format!("quantile value should be between 0 and 1, got {q}"));
    }
}

/// `b - a`, with remarks at `span`; `None` if they do not combine.
pub(crate) fn difference(
    b: &Histogram,
    a: &Histogram,
    span: Span,
    notes: &mut Notes<'_>,
) -> Option<Histogram> {
    match histogram::sub(b, a) {
        Ok((d, how)) => {
            if how.bounds_reconciled {
                notes.annotations.info(span, "mismatched custom buckets were reconciled during subtraction");
            }
            Some(d)
        }
        Err(Incompatible) => {
            let name = notes.name().to_owned();
            warn_mixed_schemas(&name, span, notes.annotations);
            None
        }
    }
}

/// The histogram at `fraction` of the way from `a` to `b`; a counter that began anew between them starts from
/// zero. `None`, with a remark, if they do not combine.
pub(crate) fn between(
    a: &Histogram,
    b: &Histogram,
    fraction: f64,
    counter: bool,
    notes: &mut Notes<'_>,
) -> Option<Histogram> {
    if a.uses_custom_buckets() != b.uses_custom_buckets() {
        let name = notes.name().to_owned();
        warn_mixed_schemas(&name, notes.first, notes.annotations);
        return None;
    }
    if counter && is_reset(b, a) {
        return Some(scaled(b, fraction));
    }
    let (step, _) = histogram::sub(b, a).ok()?;
    let mut out = histogram::add(a, &scaled(&step, fraction)).ok()?.0;
    out.reset = b.reset;
    Some(out)
}

/// How much a window's histograms grew from first to last, resets made up for. With `from_zero` the first one
/// counts in full, because its counting began within the window.
pub(crate) fn growth(
    s: &Slice<'_, Arc<Histogram>>,
    counter: bool,
    from_zero: bool,
    notes: &mut Notes<'_>,
) -> Option<Histogram> {
    let (first, last) = (s.values.first()?, s.values.last()?);
    let gauges = |h: &Histogram| h.reset == CounterReset::Gauge;
    if counter && s.values.iter().any(|h| gauges(h)) {
        warn_not_counter(notes.first, notes);
    }
    let all_gauges = gauges(first) && gauges(last);
    if !counter && !all_gauges {
        warn_not_gauge(notes.first, notes);
    }
    let reset = |i: usize| restarted(s, i) || is_reset(&s.values[i + 1], &s.values[i]);
    // A first sample that is followed by a reset does not matter, whatever its buckets.
    let skip_first = counter && s.len() > 1 && !from_zero && reset(0);
    let relevant = if skip_first { &s.values[1..] } else { s.values };
    let considered = if counter { relevant } else { &[Arc::clone(first), Arc::clone(last)] };
    if considered.iter().any(|h| h.uses_custom_buckets() != last.uses_custom_buckets()) {
        let name = notes.name().to_owned();
        warn_mixed_schemas(&name, notes.first, notes.annotations);
        return None;
    }
    let mut reconciled = (false, false);
    let mut total = (**last).clone();
    let none = Histogram {
        schema: last.schema,
        custom_bounds: last.custom_bounds.clone(),
        zero_threshold: last.zero_threshold,
        ..Histogram::default()
    };
    // All are brought to the coarsest schema, even where nothing of them is added.
    for h in considered {
        let empty =
            Histogram { schema: h.schema, custom_bounds: h.custom_bounds.clone(), ..Histogram::default() };
        if !h.uses_custom_buckets() {
            total = histogram::add(&total, &empty).ok()?.0;
        }
    }
    let subtracted = if skip_first || from_zero { &none } else { &**first };
    let (next, how) = histogram::sub(&total, subtracted).ok()?;
    reconciled.0 |= how.bounds_reconciled;
    total = next;
    if counter {
        for i in 0..s.len() - 1 {
            if !reset(i) || (i == 0 && skip_first) {
                continue;
            }
            let (next, how) = histogram::add(&total, &s.values[i]).ok()?;
            reconciled.1 |= how.bounds_reconciled;
            total = next;
        }
    }
    if reconciled.0 {
        notes.annotations.info(notes.first, "mismatched custom buckets were reconciled during subtraction");
    }
    if reconciled.1 {
        notes.annotations.info(notes.first, "mismatched custom buckets were reconciled during addition");
    }
    total.reset = CounterReset::Gauge;
    Some(total)
}

/// Sum or mean of a window's histograms, with compensation for rounding.
pub(crate) fn fold(values: &[Arc<Histogram>], mean: bool, notes: &mut Notes<'_>) -> Option<Value> {
    let mut total = histogram::Total::default();
    let (mut reset, mut not_reset) = (false, false);
    for h in values {
        reset |= h.reset == CounterReset::Reset;
        not_reset |= h.reset == CounterReset::NotReset;
        if total.add(h).is_err() {
            let name = notes.name().to_owned();
            warn_mixed_schemas(&name, notes.first, notes.annotations);
            return None;
        }
    }
    if reset && not_reset {
        notes.annotations.warn(notes.first, "conflicting counter resets during histogram aggregation");
    }
    if total.reconciled() {
        notes.annotations.info(notes.first, "mismatched custom buckets were reconciled during aggregation");
    }
    let h = if mean { total.mean() } else { total.sum() };
    h.map(|h| Value::Histogram(Arc::new(h)))
}

/// The zero bucket of a histogram that has buckets on one side only reaches to 0 only.
fn narrow_zero(h: &Histogram, mut b: Bucket) -> Bucket {
    if b.lower < 0.0 && b.upper > 0.0 {
        if h.negative.is_empty() && !h.positive.is_empty() {
            b.lower = 0.0;
        } else if h.positive.is_empty() && !h.negative.is_empty() {
            b.upper = 0.0;
        }
    }
    b
}

/// A remark with the metric that it is about, if that is known.
pub(crate) fn for_metric(message: &str, name: &str) -> String {
    if name.is_empty() { message.to_owned() } else { format!("{message} for metric name {name:?}") }
}

/// The value below which the part `q` of observations lies.
pub(crate) fn quantile(q: f64, h: &Histogram, name: &str, span: Span, annotations: &mut Annotations) -> f64 {
    if q < 0.0 {
        return f64::NEG_INFINITY;
    }
    if q > 1.0 {
        return f64::INFINITY;
    }
    if h.count == 0.0 || q.is_nan() {
        return f64::NAN;
    }
    // Observations of NaN are in the count and in no bucket; they count as the largest ones.
    let has_nan = h.sum.is_nan();
    let forward = has_nan || q < 0.5;
    let mut all = buckets(h);
    if !forward {
        all.reverse();
    }
    let mut rank = if forward { q * h.count } else { (1.0 - q) * h.count };
    let mut count = 0.0;
    let mut found = Bucket { lower: 0.0, upper: 0.0, count: 0.0, bounds: Bounds::Closed };
    for b in all.into_iter().filter(|b| b.count != 0.0) {
        found = b;
        count += b.count;
        if count >= rank {
            break;
        }
    }
    let mut b = found;
    if h.uses_custom_buckets() {
        if b.lower == f64::NEG_INFINITY {
            if b.upper <= 0.0 {
                return b.upper;
            }
            b.lower = 0.0;
        } else if b.upper == f64::INFINITY {
            return b.lower;
        }
    } else {
        b = narrow_zero(h, b);
    }
    count = f64::min(count, h.count);
    if count < rank {
        if has_nan {
            let message = "input to histogram_quantile has NaN observations, result is NaN";
            annotations.info(span, for_metric(message, name));
            return f64::NAN;
        }
        return b.upper;
    }
    if has_nan {
        let message = "input to histogram_quantile has NaN observations, result is skewed higher";
        annotations.info(span, for_metric(message, name));
    }
    rank = if forward { rank - (count - b.count) } else { count - rank };
    let fraction = rank / b.count;
    if h.uses_custom_buckets() || (b.lower <= 0.0 && b.upper >= 0.0) {
        return b.lower + (b.upper - b.lower) * fraction;
    }
    let (low, high) = (b.lower.abs().log2(), b.upper.abs().log2());
    if b.lower > 0.0 {
        (low + (high - low) * fraction).exp2()
    } else {
        -(high + (low - high) * (1.0 - fraction)).exp2()
    }
}

/// The part of observations between `lower` and `upper`.
pub(crate) fn fraction(
    lower: f64,
    upper: f64,
    h: &Histogram,
    name: &str,
    span: Span,
    annotations: &mut Annotations,
) -> f64 {
    if h.count == 0.0 || lower.is_nan() || upper.is_nan() {
        return f64::NAN;
    }
    if h.sum.is_nan() {
        let message =
            "input to histogram_fraction has NaN observations, which are excluded from all fractions";
        annotations.info(span, for_metric(message, name));
    }
    if lower >= upper {
        return 0.0;
    }
    let all = buckets(h);
    let total: f64 = all.iter().map(|b| b.count).sum();
    (rank_of(upper, h, &all).unwrap_or(total) - rank_of(lower, h, &all).unwrap_or(total)).max(0.0) / h.count
}

/// How many observations lie below `v`, or `None` if all buckets do.
fn rank_of(v: f64, h: &Histogram, all: &[Bucket]) -> Option<f64> {
    let mut rank = 0.0;
    for b in all {
        let zero = b.lower < 0.0 && b.upper > 0.0;
        let mut b = if h.uses_custom_buckets() { *b } else { narrow_zero(h, *b) };
        if h.uses_custom_buckets() && b.lower == f64::NEG_INFINITY && b.upper > 0.0 && v > f64::NEG_INFINITY {
            b.lower = 0.0;
        }
        if b.lower >= v {
            return Some(rank);
        }
        if b.upper > v {
            return Some(rank + b.count * share_below(v, b, h.uses_custom_buckets() || zero));
        }
        rank += b.count;
    }
    None
}

/// The part of a bucket that lies below `v`, which is inside it.
fn share_below(v: f64, b: Bucket, linear: bool) -> f64 {
    if b.upper.is_infinite() || b.lower.is_infinite() {
        // Nothing is known about how values spread there: none lies below.
        return 0.0;
    }
    if linear {
        return (v - b.lower) / (b.upper - b.lower);
    }
    let (low, high, at) = (b.lower.abs().log2(), b.upper.abs().log2(), v.abs().log2());
    if v > 0.0 { (at - low) / (high - low) } else { 1.0 - (at - high) / (low - high) }
}

/// The variance of the observations, each taken to lie at the middle of its bucket.
pub(crate) fn variance(h: &Histogram) -> f64 {
    let mean = h.sum / h.count;
    let mut sum = Sum::default();
    for b in buckets(h).into_iter().filter(|b| b.count != 0.0) {
        let middle = if h.uses_custom_buckets() {
            f64::midpoint(b.lower, b.upper)
        } else if b.lower <= 0.0 && b.upper >= 0.0 {
            0.0
        } else {
            (b.lower * b.upper).sqrt().copysign(b.upper)
        };
        let delta = middle - mean;
        sum.add(b.count * delta * delta);
    }
    (sum.sum + sum.compensation) / h.count
}

/// The histogram without its observations above (`upper`) or below the value `at`. If any go, the sum is
/// estimated anew, each observation taken to lie at the middle of what is left of its bucket.
pub(crate) fn trim(h: &Histogram, at: f64, upper: bool) -> Histogram {
    let custom = h.uses_custom_buckets();
    let mut parts = Parts::of(h);
    let (mut count, mut sum, mut cut_any) = (0.0, 0.0, false);
    let mut cut = |b: Bucket, linear: bool| {
        let (kept, middle) = kept_part(b, at, upper, linear);
        cut_any |= kept != b.count;
        count += kept;
        if kept != 0.0 {
            sum += kept * middle;
        }
        kept
    };
    for (index, c) in parts.positive.iter_mut().filter(|(_, c)| *c != 0.0) {
        let (lower, upper) = if custom {
            let get = |i: i32| usize::try_from(i).ok().and_then(|i| bounds(h).get(i)).copied();
            (get(*index - 1).unwrap_or(f64::NEG_INFINITY), get(*index).unwrap_or(f64::INFINITY))
        } else {
            (upper_bound(*index - 1, h.schema), upper_bound(*index, h.schema))
        };
        *c = cut(Bucket { lower, upper, count: *c, bounds: Bounds::OpenLeft }, custom);
    }
    for (index, c) in parts.negative.iter_mut().filter(|(_, c)| *c != 0.0) {
        let (lower, upper) = (-upper_bound(*index, h.schema), -upper_bound(*index - 1, h.schema));
        *c = cut(Bucket { lower, upper, count: *c, bounds: Bounds::OpenRight }, false);
    }
    if h.zero_count != 0.0 {
        let z = h.zero_threshold;
        let zero = Bucket { lower: -z, upper: z, count: h.zero_count, bounds: Bounds::Closed };
        parts.head.zero_count = cut(narrow_zero(h, zero), true);
    }
    if cut_any {
        parts.head.count = count;
        parts.head.sum = sum;
    }
    parts.build()
}

/// How much of a bucket is kept, and the middle of the part that is.
fn kept_part(mut b: Bucket, at: f64, upper: bool, linear: bool) -> (f64, f64) {
    const NOTHING: (f64, f64) = (0.0, 0.0);
    // Values of a lowest bucket that ends above 0 are taken to be positive.
    if b.lower == f64::NEG_INFINITY && b.upper > 0.0 && b.upper.is_finite() {
        b.lower = 0.0;
    }
    match (b.lower.is_infinite(), b.upper.is_infinite()) {
        (false, false) => {}
        (true, true) => {
            let all = if upper { at == f64::INFINITY } else { at == f64::NEG_INFINITY };
            return if all { (b.count, 0.0) } else { NOTHING };
        }
        // Open buckets are kept or dropped as a whole.
        (true, false) if upper && at > f64::NEG_INFINITY => return (b.count, at.min(b.upper)),
        (true, false) => return if !upper && at == f64::NEG_INFINITY { (b.count, b.upper) } else { NOTHING },
        (false, true) if !upper && at < f64::INFINITY => return (b.count, at.max(b.lower)),
        (false, true) => return if upper && at == f64::INFINITY { (b.count, b.lower) } else { NOTHING },
    }
    let (from, to) = if upper { (b.lower, at.min(b.upper)) } else { (at.max(b.lower), b.upper) };
    if from >= to {
        return NOTHING;
    }
    let part = |v: f64| {
        if v <= b.lower {
            0.0
        } else if v >= b.upper {
            1.0
        } else {
            share_below(v, b, linear)
        }
    };
    let middle =
        if linear { f64::midpoint(from, to) } else { (from * to).sqrt().copysign(b.lower + b.upper) };
    (b.count * (part(to) - part(from)), middle)
}

/// The histogram as a label value: sums and buckets with their bounds.
pub(crate) fn text(h: &Histogram) -> String {
    let n = |v: f64| if v.is_infinite() { model::number::format(v) } else { format!("{v}") };
    let mut out = format!("{{count:{}, sum:{}", n(h.count), n(h.sum));
    for b in buckets(h).into_iter().filter(|b| b.count != 0.0) {
        let (open, close) = match b.bounds {
            Bounds::OpenLeft => ('(', ']'),
            Bounds::OpenRight => ('[', ')'),
            Bounds::Closed => ('[', ']'),
        };
        out.push_str(&format!(", {open}{},{}{close}:{}", n(b.lower), n(b.upper), n(b.count)));
    }
    out.push('}');
    out
}
