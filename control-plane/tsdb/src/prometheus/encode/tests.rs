use super::*;
use model::{Histogram, Span, Value, stale_nan};

fn chunks(samples: &SampleColumns) -> Vec<Encoded> {
    let mut out = Vec::new();
    encode(
        samples,
        |_| true,
        |c| {
            out.push(c);
            Ok(())
        },
    )
    .unwrap();
    out
}

#[test]
fn a_series_of_floats_takes_chunks_of_120_samples() {
    let mut samples = SampleColumns::default();
    (0..300).for_each(|i| samples.push(i * 15_000, Value::Float(1.0), None));
    let got = chunks(&samples);
    let ranges: Vec<_> = got.iter().map(|c| (c.encoding, c.min, c.max)).collect();
    let at = |i: i64| i * 15_000;
    assert_eq!(ranges, [(XOR, 0, at(119)), (XOR, at(120), at(239)), (XOR, at(240), at(299))]);
    // Two bytes of count, the first sample, the second's distance and value, then a bit each for time and value.
    assert_eq!(got[0].data.len(), 2 + 1 + 8 + (16 + 1 + 2 * 118usize).div_ceil(8));
}

#[test]
fn each_kind_of_sample_has_a_chunk_of_its_own() {
    let h = |count: f64, buckets: Vec<f64>| {
        let length = u32::try_from(buckets.len()).unwrap();
        let spans = if length == 0 { Vec::new() } else { vec![Span { offset: 0, length }] };
        let made = Histogram { count, positive_spans: spans, positive: buckets, ..Histogram::default() };
        Value::Histogram(made.into())
    };
    let stale = Value::Histogram(Histogram { sum: stale_nan(), ..Histogram::default() }.into());
    let mut samples = SampleColumns::default();
    let given = [
        Value::Float(1.0),
        h(1.0, vec![1.0]),
        h(2.0, vec![2.0]),
        // Half a count is no integer.
        h(2.5, vec![2.5]),
        // Another bucket.
        h(3.5, vec![2.5, 1.0]),
        stale,
        // Nothing goes on after a marker.
        h(4.5, vec![3.5, 1.0]),
        Value::Float(1.0),
    ];
    (0..).zip(given).for_each(|(at, v)| samples.push(at, v, None));
    let got: Vec<_> = chunks(&samples).iter().map(|c| (c.encoding, c.min, c.max)).collect();
    let want = [
        (XOR, 0, 0),
        (HISTOGRAM, 1, 2),
        (FLOAT_HISTOGRAM, 3, 3),
        (FLOAT_HISTOGRAM, 4, 5),
        (FLOAT_HISTOGRAM, 6, 6),
        (XOR, 7, 7),
    ];
    assert_eq!(got, want);
}
