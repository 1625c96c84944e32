use super::*;
use crate::{
    engine::{
        over_time,
        range::{Notes, Slice, Window},
        rate,
    },
    error::Span,
    value::Annotations,
};
use model::{Labels, Value};
use proptest::prelude::*;

fn by_window(name: &str, samples: &Points<f64>, range: i64, end: i64) -> Option<f64> {
    let from = samples.times.partition_point(|t| *t <= end - range);
    let to = samples.times.partition_point(|t| *t <= end);
    let none = Slice { times: &[], values: &[], starts: &[] };
    let floats = Slice { times: &samples.times[from..to], values: &samples.values[from..to], starts: &[] };
    let window = Window { floats, histograms: none, start: end - range, end, at: end, extent: None };
    if floats.is_empty() {
        return None;
    }
    let (mut annotations, labels) = (Annotations::default(), Labels::default());
    let span = Span::default();
    let mut notes = Notes { annotations: &mut annotations, labels: &labels, first: span, all: span };
    let function = match name {
        "rate" => rate::rate,
        "increase" => rate::increase,
        "delta" => rate::delta,
        "stddev_over_time" => over_time::stddev,
        "stdvar_over_time" => over_time::stdvar,
        _ => over_time::deriv,
    };
    match function(&window, &[], &mut notes).expect("no error") {
        Some(Value::Float(v)) => Some(v),
        _ => None,
    }
}

fn value() -> impl Strategy<Value = f64> {
    prop_oneof![
        8 => (0..1000i32).prop_map(f64::from),
        4 => -1e3..1e3f64,
        1 => Just(0.0),
        1 => Just(f64::INFINITY),
        1 => Just(f64::NAN),
    ]
}

proptest! {
    #[test]
    fn all_windows_at_once_give_what_each_alone_gives(
        steps in prop::collection::vec((prop_oneof![6 => Just(15_000i64), 1 => 1..60_000i64], value()), 1..120),
        regular in any::<bool>(),
        range in prop_oneof![Just(60_000i64), 1..400_000i64],
        step in prop_oneof![Just(15_000i64), 1..90_000i64],
    ) {
        let mut samples = Points::<f64>::default();
        let mut at = 0;
        for (by, v) in steps {
            at += if regular { 15_000 } else { by };
            samples.times.push(at);
            samples.values.push(v);
        }
        let len = usize::try_from((at + range) / step + 2).expect("small").min(500);
        let end = |i: usize| 7 + i64::try_from(i).expect("small") * step;
        for name in ["rate", "increase", "delta", "stddev_over_time", "stdvar_over_time", "deriv"] {
            let mut out = vec![f64::from_bits(model::STALE_NAN_BITS); len];
            let mut sliding = Sliding::of(name, range).expect("is known");
            // What is kept from another series must not matter.
            let mut other = vec![0.0; 40];
            let regular = Points { times: (1..40).map(|i| i * 10_000).collect(), values: vec![1.5; 39], starts: Vec::new() };
            sliding.slide(&regular, end, &mut other);
            let Some(any) = sliding.slide(&samples, end, &mut out) else { continue };
            let mut seen = false;
            for (i, got) in out.iter().enumerate() {
                let want = by_window(name, &samples, range, end(i));
                seen |= want.is_some();
                let absent = got.to_bits() == model::STALE_NAN_BITS;
                match want {
                    None => prop_assert!(absent, "{} at {}: {}", name, i, got),
                    Some(want) => {
                        let near = (got - want).abs() <= 1e-12 * want.abs() || *got == want || got.is_nan() && want.is_nan();
                        prop_assert!(!absent && near, "{} at {}: {} is not {}", name, i, got, want);
                    }
                }
            }
            prop_assert_eq!(any, seen, "{}", name);
        }
    }
}
