use super::*;
use model::{Span, is_stale_nan, stale_nan};
use proptest::prelude::*;

pub(crate) type Row = (Timestamp, Option<Timestamp>, Value);

/// Equality bit by bit, so that NaNs count.
pub(crate) fn same(a: &Value, b: &Value) -> bool {
    match (a, b) {
        (Value::Float(a), Value::Float(b)) => a.to_bits() == b.to_bits(),
        (Value::Histogram(a), Value::Histogram(b)) => {
            same_layout(a, b) && numbers(a).map(f64::to_bits).eq(numbers(b).map(f64::to_bits))
        }
        _ => false,
    }
}

fn rows(chunk: &Chunk) -> Vec<Row> {
    let mut samples = chunk.samples();
    let mut out = Vec::new();
    while let Some(row) = samples.next().expect("a chunk of our own decodes") {
        out.push(row);
    }
    out
}

/// Encodes rows into as many chunks as it takes, by way of bytes.
fn round_trip(input: &[Row]) -> Vec<Row> {
    let mut sealed = Vec::new();
    let mut open: Option<OpenChunk> = None;
    for (at, start, value) in input {
        match &mut open {
            Some(o) if o.fits(*start, value) => o.push(*at, *start, value),
            _ => {
                sealed.extend(open.replace(OpenChunk::new(*at, *start, value)).map(|o| o.seal()));
            }
        }
        assert!(open.as_ref().is_some_and(|o| o.ends_with(value)));
    }
    sealed.extend(open.map(|o| o.seal()));
    let mut bytes = Vec::new();
    for c in &sealed {
        c.put(&mut bytes, 1000);
    }
    let mut r = Reader::new(&bytes, "chunk");
    let mut out = Vec::new();
    while !r.is_empty() {
        let chunk = Chunk::get(&mut r, 1000).expect("reads back");
        assert_eq!((chunk.min, chunk.max), (rows(&chunk)[0].0, rows(&chunk).last().unwrap().0));
        out.extend(rows(&chunk));
    }
    out
}

fn check(input: &[Row]) {
    let output = round_trip(input);
    assert_eq!(output.len(), input.len());
    for (a, b) in input.iter().zip(&output) {
        assert!(a.0 == b.0 && a.1 == b.1 && same(&a.2, &b.2), "{a:?} came back as {b:?}");
    }
}

fn number() -> impl Strategy<Value = f64> {
    prop_oneof![
        4 => (0u32..2000).prop_map(f64::from),
        2 => any::<i32>().prop_map(f64::from),
        1 => (-1000i32..1000).prop_map(|v| f64::from(v) / 8.0),
        1 => any::<u64>().prop_map(f64::from_bits),
        1 => Just(stale_nan()),
        1 => Just(-0.0),
        1 => Just(9_007_199_254_740_993.0),
    ]
}

pub(crate) fn histogram() -> impl Strategy<Value = Histogram> {
    let count = || prop_oneof![3 => (0u32..100).prop_map(f64::from), 1 => (0u32..100).prop_map(|v| f64::from(v) / 4.0)];
    (0u32..4, prop::collection::vec(count(), 8), number(), 0i32..2).prop_map(move |(n, c, sum, schema)| {
        Histogram {
            schema,
            zero_threshold: 0.001,
            zero_count: c[0],
            count: c[1],
            sum,
            positive_spans: if n == 0 { vec![] } else { vec![Span { offset: -1, length: n }] },
            positive: c[2..2 + n as usize].to_vec(),
            negative_spans: vec![Span { offset: 2, length: 1 }],
            negative: vec![c[7]],
            ..Histogram::default()
        }
    })
}

fn value() -> impl Strategy<Value = Value> {
    prop_oneof![
        8 => number().prop_map(Value::Float),
        1 => histogram().prop_map(|h| Value::Histogram(Arc::new(h))),
    ]
}

fn series() -> impl Strategy<Value = Vec<Row>> {
    let gap = prop_oneof![6 => Just(15_000i64), 2 => 14_990i64..15_010, 1 => 1i64..1 << 40];
    let start = prop_oneof![5 => Just(None), 2 => Just(Some(77)), 1 => (1i64..1 << 50).prop_map(Some)];
    prop::collection::vec((gap, start, value()), 1..600).prop_map(|steps| {
        let mut at = -1000;
        steps
            .into_iter()
            .map(|(gap, start, value)| {
                at += gap;
                (at, start, value)
            })
            .collect()
    })
}

proptest! {
    #[test]
    fn what_goes_in_comes_out(rows in series()) {
        check(&rows);
    }

    #[test]
    fn histograms_of_changing_layout_come_back(hs in prop::collection::vec(histogram(), 1..80)) {
        let rows: Vec<Row> =
            hs.into_iter().enumerate().map(|(i, h)| (i as i64, None, Value::Histogram(Arc::new(h)))).collect();
        check(&rows);
    }

    #[test]
    fn any_bytes_decode_or_fail(bytes: Vec<u8>, flags in 0u8..4, count in 1u16..500) {
        let chunk = Chunk { flags, count, min: 0, max: 1 << 40, data: bytes.clone().into() };
        let mut samples = chunk.samples();
        while let Ok(Some(_)) = samples.next() {}
        let mut r = Reader::new(&bytes, "chunk");
        while !r.is_empty() && Chunk::get(&mut r, 0).is_ok() {}
        prop_assert!(r.remaining() <= bytes.len());
    }
}

#[test]
fn the_staleness_marker_keeps_its_bits_among_integers_and_fractions() {
    for around in [1.0, 1.5] {
        let rows: Vec<Row> = [around, stale_nan(), around, f64::NAN, stale_nan()]
            .into_iter()
            .enumerate()
            .map(|(i, v)| (i as i64 * 10, None, Value::Float(v)))
            .collect();
        let back = round_trip(&rows);
        let stale: Vec<bool> =
            back.iter().map(|(_, _, v)| matches!(v, Value::Float(v) if is_stale_nan(*v))).collect();
        assert_eq!(stale, [false, true, false, false, true]);
    }
}

#[test]
fn a_steady_counter_takes_less_than_a_byte_a_sample() {
    let rows: Vec<Row> = (0..240).map(|i| (i * 15_000, None, Value::Float((i * 7) as f64))).collect();
    let mut open = OpenChunk::new(rows[0].0, None, &rows[0].2);
    for (at, start, v) in &rows[1..] {
        open.push(*at, *start, v);
    }
    let bytes = open.seal().data.len();
    assert!(bytes < 240, "{bytes} bytes");
}

#[test]
fn a_full_chunk_takes_no_more() {
    let mut open = OpenChunk::new(0, None, &Value::Float(1.0));
    for i in 1..MAX_SAMPLES {
        assert!(open.fits(None, &Value::Float(1.0)));
        open.push(i64::from(i), None, &Value::Float(1.0));
    }
    assert!(!open.fits(None, &Value::Float(1.0)));
}
