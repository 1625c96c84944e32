//! Series by chance, the same for the same seed: floats with all kinds of NaN, histograms of every kind.

use super::Series;
use model::{
    CounterReset, Histogram, Labels, SampleColumns, Span, Timestamp, Value, histogram::CUSTOM_BUCKETS_SCHEMA,
    is_stale_nan, stale_nan,
};

pub(in crate::prometheus) const HOUR: i64 = 3_600_000;

/// SplitMix64.
#[derive(Debug)]
pub(in crate::prometheus) struct Random(pub(in crate::prometheus) u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    pub(in crate::prometheus) fn below(&mut self, n: u64) -> u64 {
        self.next() % n
    }

    pub(in crate::prometheus) fn index(&mut self, n: usize) -> usize {
        usize::try_from(self.below(n as u64)).unwrap()
    }

    pub(in crate::prometheus) fn byte(&mut self) -> u8 {
        self.next().to_le_bytes()[0]
    }

    fn int(&mut self, n: u32) -> u32 {
        u32::try_from(self.below(u64::from(n))).unwrap()
    }
}

fn float(random: &mut Random, last: f64) -> f64 {
    match random.below(12) {
        0 => stale_nan(),
        1 => f64::NAN,
        2 => f64::from_bits(0x7ff8_0000_0000_dead),
        3 => f64::NEG_INFINITY,
        4 => -0.0,
        5 => f64::from_bits(random.next()),
        6 | 7 => last,
        _ => f64::from(random.int(100_000)) / 8.0,
    }
}

fn spans(random: &mut Random) -> (Vec<Span>, usize) {
    let (mut spans, mut total) = (Vec::new(), 0);
    for i in 0..random.below(4) {
        let offset = if i == 0 {
            i32::try_from(random.int(200)).unwrap() - 100
        } else {
            i32::try_from(random.int(9)).unwrap()
        };
        let length = random.int(5);
        total += usize::try_from(length).unwrap();
        spans.push(Span { offset, length });
    }
    (spans, total)
}

fn histogram(random: &mut Random) -> Histogram {
    let custom = random.below(5) == 0;
    let (positive_spans, p) = spans(random);
    let (negative_spans, n) = if custom { (Vec::new(), 0) } else { spans(random) };
    let bounds = [0.005, 1.0, 2.5, 1e12, f64::MAX];
    Histogram {
        reset: CounterReset::Unknown,
        schema: if custom { CUSTOM_BUCKETS_SCHEMA } else { i32::try_from(random.int(13)).unwrap() - 4 },
        zero_threshold: [0.0, 0.001, 2f64.powi(-128), 2f64.powi(10), 2f64.powi(-243), 2f64.powi(11)]
            [random.index(6)],
        zero_count: f64::from(random.int(50)),
        count: f64::from(random.int(5000)),
        sum: float(random, 1.0),
        positive_spans,
        positive: vec![0.0; p],
        negative_spans,
        negative: vec![0.0; n],
        custom_bounds: custom.then(|| bounds[..random.index(6)].into()),
    }
}

/// The same buckets with other counts.
fn grown(random: &mut Random, h: &Histogram) -> Histogram {
    let mut h = h.clone();
    let whole = random.below(5) > 0;
    let mut by = |v: &mut f64| {
        *v += f64::from(random.int(40)) * if whole { 1.0 } else { 0.375 };
        if random.below(60) == 0 {
            *v = 0.0;
        }
    };
    h.positive.iter_mut().chain(&mut h.negative).for_each(&mut by);
    by(&mut h.count);
    by(&mut h.zero_count);
    h.sum = float(random, h.sum);
    h.reset = match random.below(20) {
        0 => CounterReset::Reset,
        1 => CounterReset::NotReset,
        _ => h.reset,
    };
    h
}

fn samples(random: &mut Random) -> SampleColumns {
    let mut out = SampleColumns::default();
    let (mut at, pace) = (i64::try_from(random.below(60_000)).unwrap(), [1, 15_000, 60_000][random.index(3)]);
    let (mut value, mut shape) = (0.0, histogram(random));
    let only = random.below(4);
    for _ in 0..=random.below(300) {
        if at >= 2 * HOUR {
            break;
        }
        let floats = match only {
            0 | 1 => true,
            2 => false,
            _ => random.below(10) > 0,
        };
        if floats {
            value = float(random, value);
            out.push(at, Value::Float(value), None);
        } else {
            if random.below(25) == 0 {
                shape = histogram(random);
                if random.below(3) == 0 {
                    shape.reset = CounterReset::Gauge;
                }
            }
            let gauge = shape.reset == CounterReset::Gauge;
            shape = grown(random, &shape);
            if gauge {
                shape.reset = CounterReset::Gauge;
            }
            out.push(at, Value::Histogram(shape.clone().into()), None);
        }
        at += match random.below(20) {
            0 => 1 + i64::try_from(random.below(600_000)).unwrap(),
            1 => pace + 1,
            _ => pace,
        };
    }
    out
}

/// Up to `most` series within the two hours from time 0, in the order of labels.
pub(in crate::prometheus) fn random_series(random: &mut Random, most: u64) -> Series {
    let mut labels: Vec<Labels> = (0..=random.below(most))
        .map(|i| {
            let mut pairs = vec![("__name__".to_owned(), format!("metric_{}", random.below(4)))];
            pairs.push(("i".to_owned(), i.to_string()));
            if random.below(2) == 0 {
                pairs.push((format!("l{}", random.below(3)), "ünï\n\"code\"".repeat(random.index(3))));
            }
            Labels::from_pairs(pairs)
        })
        .collect();
    labels.sort();
    labels.into_iter().map(|l| (l, samples(random))).collect()
}

pub(in crate::prometheus) fn within(series: &Series, from: Timestamp, to: Timestamp) -> Series {
    let cut = |s: &SampleColumns| {
        let mut out = SampleColumns::default();
        for (i, at) in s.times.iter().enumerate().filter(|(_, at)| (from..=to).contains(*at)) {
            out.push(*at, s.value(i), None);
        }
        out
    };
    series.iter().map(|(l, s)| (l.clone(), cut(s))).filter(|(_, s)| !s.is_empty()).collect()
}

fn bits(values: &[f64]) -> Vec<u64> {
    values.iter().map(|v| v.to_bits()).collect()
}

/// Everything of a histogram but the hint, of a staleness marker the sum.
fn shown(h: &Histogram) -> (i32, Vec<u64>, Vec<Span>, Vec<Span>, Vec<u64>) {
    if is_stale_nan(h.sum) {
        return (0, vec![h.sum.to_bits()], Vec::new(), Vec::new(), Vec::new());
    }
    let mut numbers = bits(&[h.zero_threshold, h.zero_count, h.count, h.sum]);
    numbers.extend(bits(&h.positive).into_iter().chain(bits(&h.negative)));
    let bounds = bits(h.custom_bounds.as_deref().unwrap_or_default());
    (h.schema, numbers, h.positive_spans.clone(), h.negative_spans.clone(), bounds)
}

/// # Panics
/// When they differ, with the first difference.
pub(in crate::prometheus) fn assert_same(got: &Series, want: &Series) {
    let names = |s: &Series| s.iter().map(|(l, _)| l.to_string()).collect::<Vec<_>>();
    assert_eq!(names(got), names(want));
    for ((labels, got), (_, want)) in got.iter().zip(want) {
        assert_eq!(got.times, want.times, "{labels}");
        for (i, at) in got.times.iter().enumerate() {
            match (got.value(i), want.value(i)) {
                (Value::Float(a), Value::Float(b)) => {
                    assert_eq!(a.to_bits(), b.to_bits(), "{labels} at {at}")
                }
                (Value::Histogram(a), Value::Histogram(b)) => {
                    assert_eq!(shown(&a), shown(&b), "{labels} at {at}");
                    if b.reset != CounterReset::NotReset
                        && b.reset != CounterReset::Unknown
                        && !is_stale_nan(b.sum)
                    {
                        assert_eq!(a.reset, b.reset, "{labels} at {at}");
                    }
                }
                (a, b) => panic!("{labels} at {at}: {a:?} instead of {b:?}"),
            }
        }
    }
}
