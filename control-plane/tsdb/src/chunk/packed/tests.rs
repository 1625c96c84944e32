use super::*;
use proptest::prelude::*;

fn value() -> impl Strategy<Value = f64> {
    prop_oneof![
        8 => (0u32..1000).prop_map(f64::from),
        4 => (-100_000i32..100_000).prop_map(|v| f64::from(v) / 1000.0),
        1 => any::<f64>(),
        1 => Just(ABSENT),
        1 => Just(model::stale_nan()),
        1 => Just(-0.0),
    ]
}

fn back(values: &[f64]) -> Vec<u64> {
    let mut bytes = Vec::new();
    put_values(&mut bytes, values);
    let mut r = Reader::new(&bytes, "test");
    let mut out = Vec::new();
    get_values(&mut r, values.len(), |v| out.push(v.to_bits())).expect("reads");
    assert!(r.is_empty());
    out
}

proptest! {
    #[test]
    fn columns_come_back(values in prop::collection::vec(value(), 1..300)) {
        prop_assert_eq!(back(&values), values.iter().map(|v| v.to_bits()).collect::<Vec<_>>());
    }

    #[test]
    fn columns_of_any_floats_come_back(values in prop::collection::vec(any::<u64>().prop_map(f64::from_bits), 1..300)) {
        prop_assert_eq!(back(&values), values.iter().map(|v| v.to_bits()).collect::<Vec<_>>());
    }

    #[test]
    fn times_come_back(first: i64, steps in prop::collection::vec(1i64..1_000_000_000, 0..300)) {
        let mut times = vec![first >> 1];
        for s in steps {
            times.push(times[times.len() - 1].saturating_add(s));
        }
        let mut bytes = Vec::new();
        put_times(&mut bytes, &times);
        let mut out = Vec::new();
        let mut r = Reader::new(&bytes, "test");
        get_times(&mut r, times[0], times.len(), &mut out).expect("reads");
        prop_assert!(r.is_empty());
        prop_assert_eq!(out, times);
    }

    #[test]
    fn any_bytes_are_an_error_or_numbers(bytes in prop::collection::vec(any::<u8>(), 0..300), count in 0usize..300) {
        let _either = get_values(&mut Reader::new(&bytes, "test"), count, |_| {});
        let _either = get_times(&mut Reader::new(&bytes, "test"), 0, count, &mut Vec::new());
    }
}

#[test]
fn sizes_are_as_promised() {
    let check = |values: &[f64], most: usize| {
        let mut bytes = Vec::new();
        put_values(&mut bytes, values);
        assert!(bytes.len() <= most, "{} bytes", bytes.len());
    };
    check(&[5.0; 240], 2 + 4 * 2);
    let counter: Vec<f64> = (0..240).map(|i| 1e6 + f64::from(i) * 1000.0).collect();
    check(&counter, 1 + 4 + 4 * 4 + 240 / 8);
    // A gauge that jumps about: by its levels, not by differences that are twice as wide.
    let gauge: Vec<f64> = (0..240u64).map(|i| (i.wrapping_mul(0x9e37_79b9) >> 7 & 31) as f64).collect();
    check(&gauge, 3 + 4 * 2 + 240 * 5 / 8 + 8);
}
