//! Quantiles and fractions of classic histograms: series with a label `le`, whose buckets are cumulative.

use super::sum::Sum;

/// A cumulative bucket: how many observations are at most `upper`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Bucket {
    pub(crate) upper: f64,
    pub(crate) count: f64,
}

/// A quantile and how far the buckets were from being cumulative.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Quantile {
    pub(crate) value: f64,
    /// Lowest and highest bucket that had to be corrected, and the largest correction.
    pub(crate) corrected: Option<(f64, f64, f64)>,
}

/// Differences between buckets below this part are rounding errors.
const TOLERANCE: f64 = 1e-12;

/// Sorts, merges buckets of the same bound, irons out rounding errors and decreases.
fn prepare(buckets: &mut Vec<Bucket>) -> Option<(f64, f64, f64)> {
    buckets.sort_by(|a, b| a.upper.total_cmp(&b.upper));
    let mut merged: Vec<Bucket> = Vec::with_capacity(buckets.len());
    for b in buckets.drain(..) {
        match merged.last_mut() {
            Some(last) if last.upper == b.upper => {
                let mut sum = Sum::of(last.count);
                sum.add(b.count);
                last.count = sum.total();
            }
            _ => merged.push(b),
        }
    }
    *buckets = merged;
    let mut corrected: Option<(f64, f64, f64)> = None;
    let mut previous = buckets.first().map_or(0.0, |b| b.count);
    for b in buckets.iter_mut().skip(1) {
        if b.count == previous {
            continue;
        }
        if almost_equal(previous, b.count) {
            b.count = previous;
        } else if b.count < previous {
            let by = previous - b.count;
            corrected = Some(match corrected {
                None => (b.upper, b.upper, by),
                Some((low, _, most)) => (low, b.upper, f64::max(most, by)),
            });
            b.count = previous;
        } else {
            previous = b.count;
        }
    }
    corrected
}

fn almost_equal(a: f64, b: f64) -> bool {
    if a == b {
        return true;
    }
    let (sum, difference) = (a.abs() + b.abs(), (a - b).abs());
    if a == 0.0 || b == 0.0 || sum < f64::MIN_POSITIVE {
        return difference < TOLERANCE * f64::MIN_POSITIVE;
    }
    difference / sum.min(f64::MAX) < TOLERANCE
}

/// The value below which the part `q` of observations lies; values spread evenly within a bucket, and the lowest
/// one begins at 0 if it ends above.
pub(crate) fn quantile(q: f64, mut buckets: Vec<Bucket>) -> Quantile {
    let plain = |value| Quantile { value, corrected: None };
    if q.is_nan() {
        return plain(f64::NAN);
    }
    if q < 0.0 {
        return plain(f64::NEG_INFINITY);
    }
    if q > 1.0 {
        return plain(f64::INFINITY);
    }
    let corrected = prepare(&mut buckets);
    let Some(last) = buckets.last().filter(|b| b.upper == f64::INFINITY) else { return plain(f64::NAN) };
    let observations = last.count;
    if buckets.len() < 2 || observations == 0.0 || observations.is_nan() {
        return plain(f64::NAN);
    }
    let mut rank = q * observations;
    let top = buckets.len() - 1;
    let found = buckets[..top].partition_point(|b| b.count < rank);
    let value = if found == top {
        buckets[top - 1].upper
    } else if found == 0 && buckets[0].upper <= 0.0 {
        buckets[0].upper
    } else {
        let (mut start, mut count) = (0.0, buckets[found].count);
        if found > 0 {
            let before = buckets[found - 1];
            start = before.upper;
            count -= before.count;
            rank -= before.count;
        }
        start + (buckets[found].upper - start) * (rank / count)
    };
    Quantile { value, corrected }
}

/// The part of observations between `lower` and `upper`.
pub(crate) fn fraction(lower: f64, upper: f64, mut buckets: Vec<Bucket>) -> f64 {
    prepare(&mut buckets);
    let Some(last) = buckets.last().filter(|b| b.upper == f64::INFINITY) else { return f64::NAN };
    let total = last.count;
    if total == 0.0 || total.is_nan() || lower.is_nan() || upper.is_nan() {
        return f64::NAN;
    }
    if lower >= upper {
        return 0.0;
    }
    let rank = |v: f64| {
        let mut before = Bucket { upper: f64::NEG_INFINITY, count: 0.0 };
        for (i, b) in buckets.iter().enumerate() {
            // The lowest bucket begins at 0 if it ends above.
            let start = if i == 0 && b.upper > 0.0 { 0.0 } else { before.upper };
            if start >= v {
                return before.count;
            }
            if b.upper > v {
                if b.upper.is_infinite() || start.is_infinite() {
                    return before.count;
                }
                return before.count + (b.count - before.count) * (v - start) / (b.upper - start);
            }
            before = *b;
        }
        total
    };
    (rank(upper) - rank(lower)) / total
}
