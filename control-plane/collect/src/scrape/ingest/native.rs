//! Bounds on native histograms: buckets that a histogram may have, and how fine they may be.

use model::{Histogram, Span, histogram::CUSTOM_BUCKETS_SCHEMA};

/// The coarsest schema.
const MIN_SCHEMA: i32 = -4;

/// What a job allows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct NativeLimits {
    /// Buckets of one histogram, at most.
    pub(crate) buckets: Option<u64>,
    /// The finest schema.
    pub(crate) max_schema: i32,
}

/// The finest schema, as there is.
pub(crate) const MAX_SCHEMA: i32 = 8;

/// The finest schema whose buckets grow at least by `factor`.
#[expect(clippy::cast_possible_truncation, reason = "kept within the range")]
pub(crate) fn max_schema(factor: f64) -> i32 {
    if factor <= 1.0 || factor.is_nan() {
        return MAX_SCHEMA;
    }
    (-factor.log2().log2()).floor().clamp(f64::from(MIN_SCHEMA), f64::from(MAX_SCHEMA)) as i32
}

/// The histogram within its bounds, `None` when it is within them as it is.
///
/// # Errors
/// When no schema is coarse enough.
pub(super) fn fit(h: &Histogram, buckets: Option<u64>, max_schema: i32) -> Result<Option<Histogram>, String> {
    let count = |h: &Histogram| (h.positive.len() + h.negative.len()) as u64;
    let over = |h: &Histogram| buckets.is_some_and(|limit| count(h) > limit);
    let refused = || {
        let limit = buckets.unwrap_or(0);
        Err(format!("a histogram has more buckets than the native_histogram_bucket_limit of {limit}"))
    };
    if h.schema == CUSTOM_BUCKETS_SCHEMA {
        return if over(h) { refused() } else { Ok(None) };
    }
    let mut out: Option<Histogram> = None;
    loop {
        let now = out.as_ref().unwrap_or(h);
        if !over(now) && now.schema <= max_schema {
            return Ok(out);
        }
        if now.schema <= MIN_SCHEMA {
            return refused();
        }
        out = Some(coarser(now));
    }
}

/// Every two neighbouring buckets as one.
fn coarser(h: &Histogram) -> Histogram {
    let (positive_spans, positive) = halve(&h.positive_spans, &h.positive);
    let (negative_spans, negative) = halve(&h.negative_spans, &h.negative);
    Histogram {
        schema: h.schema - 1,
        positive_spans,
        positive,
        negative_spans,
        negative,
        custom_bounds: None,
        ..*h
    }
}

fn halve(spans: &[Span], counts: &[f64]) -> (Vec<Span>, Vec<f64>) {
    let (mut out_spans, mut out): (Vec<Span>, Vec<f64>) = (Vec::new(), Vec::new());
    // The index of the bucket that comes next, and of the last one that was written.
    let (mut index, mut last) = (0i64, None::<i64>);
    let mut counts = counts.iter();
    for span in spans {
        index += i64::from(span.offset);
        for count in counts.by_ref().take(span.length as usize) {
            // Bucket i reaches up to base^i, so i and i - 1 become one where i is even.
            let target = (index + 1).div_euclid(2);
            index += 1;
            if last == Some(target)
                && let Some(sum) = out.last_mut()
            {
                *sum += count;
                continue;
            }
            let gap = last.map_or(target, |last| target - last - 1);
            match out_spans.last_mut() {
                Some(span) if gap == 0 => span.length += 1,
                _ => out_spans.push(Span { offset: i32::try_from(gap).unwrap_or(i32::MAX), length: 1 }),
            }
            out.push(*count);
            last = Some(target);
        }
    }
    (out_spans, out)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn histogram(schema: i32, spans: &[(i32, u32)], counts: &[f64]) -> Histogram {
        Histogram {
            schema,
            positive_spans: spans
                .iter()
                .map(|(offset, length)| Span { offset: *offset, length: *length })
                .collect(),
            positive: counts.to_vec(),
            ..Histogram::default()
        }
    }

    #[test]
    fn coarser_buckets_hold_what_the_finer_ones_held() {
        // Buckets -1, 0, 1, 2, 5 and 6 become 0, 1 and 3.
        let h = histogram(1, &[(-1, 4), (2, 2)], &[1.0, 2.0, 4.0, 8.0, 16.0, 32.0]);
        let got = fit(&h, Some(3), MAX_SCHEMA).expect("fits").expect("changes");
        assert_eq!(got, histogram(0, &[(0, 2), (1, 1)], &[3.0, 12.0, 48.0]));
        assert_eq!(fit(&h, Some(6), MAX_SCHEMA), Ok(None));
        assert_eq!(fit(&h, None, 0).expect("fits").expect("changes").schema, 0);
        let far = histogram(1, &[(0, 1), (1000, 1), (1000, 1)], &[1.0, 1.0, 1.0]);
        assert!(fit(&far, Some(1), MAX_SCHEMA).is_err_and(|e| e.ends_with("limit of 1")));
    }

    #[test]
    fn a_factor_chooses_the_finest_schema_that_grows_as_fast() {
        for (factor, want) in
            [(0.0, 8), (1.0, 8), (1.002, 8), (1.003, 7), (1.1, 2), (2.0, 0), (4.0, -1), (1e9, -4)]
        {
            assert_eq!(max_schema(factor), want, "{factor}");
        }
    }
}
