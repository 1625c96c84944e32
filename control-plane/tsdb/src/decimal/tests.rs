use super::*;
use proptest::prelude::*;

#[test]
fn decimals_have_the_smallest_exponent() {
    let check = |v: f64, want: Option<(i64, u8)>| assert_eq!(find(v, 0), want, "{v}");
    check(0.0, Some((0, 0)));
    check(-7.0, Some((-7, 0)));
    check(0.1, Some((1, 1)));
    check(-3.05, Some((-305, 2)));
    check(1e15, Some((1_000_000_000_000_000, 0)));
    check(9_007_199_254_740_992.0, None);
    check(-0.0, None);
    check(f64::NAN, None);
    check(f64::INFINITY, None);
    check(f64::NEG_INFINITY, None);
    check(1.0 / 3.0, None);
    check(5e-324, None);
}

proptest! {
    #[test]
    fn what_comes_back_is_what_went_in(bits: u64, e in 0..=MAX_EXPONENT) {
        let v = f64::from_bits(bits);
        if let Some(m) = scaled(v, e) {
            prop_assert_eq!(number(m, e).to_bits(), bits);
        }
    }

    #[test]
    fn printed_decimals_are_found(m in -1_000_000_000_000i64..1_000_000_000_000, e in 0u8..=9) {
        let v: f64 = format!("{m}e-{e}").parse().unwrap();
        let (found, at) = find(v, 0).expect("it has few digits");
        prop_assert!(at <= e);
        prop_assert_eq!(number(found, at).to_bits(), v.to_bits());
    }
}
