//! Money is exact, round-trips, and never rounds down.

use super::*;
use proptest::prelude::*;

#[test]
fn amounts_read_and_print() {
    for (text, nanos, printed) in [
        ("25", 25_000_000_000, "25.00"),
        ("0.15", 150_000_000, "0.15"),
        ("0.000000001", 1, "0.000000001"),
        ("-1.5", -1_500_000_000, "-1.50"),
        (".5", 500_000_000, "0.50"),
        ("1.10000000000000", 1_100_000_000, "1.10"),
    ] {
        let amount: NanoUsd = text.parse().expect(text);
        assert_eq!((amount.0, amount.to_string().as_str()), (nanos, printed), "{text}");
    }
    for bad in ["", ".", "1e3", "1,000", "0.0000000001", "99999999999", "$5", "--1", "NaN"] {
        assert!(bad.parse::<NanoUsd>().is_err(), "{bad}");
    }
}

#[test]
fn a_fraction_of_a_nano_dollar_is_rounded_up() {
    let price: NanoUsd = "0.15".parse().expect("price");
    assert_eq!(price.per_million(1), Some(NanoUsd(150)));
    assert_eq!(NanoUsd(1).per_million(1), Some(NanoUsd(1)));
    assert_eq!(NanoUsd(1).per_million(0), Some(NanoUsd(0)));
    assert_eq!(NanoUsd(i64::MAX).per_million(u64::MAX), None);
}

proptest! {
    #[test]
    fn printing_and_reading_is_the_identity(nanos in any::<i64>()) {
        prop_assume!(nanos != i64::MIN);
        prop_assert_eq!(NanoUsd(nanos).to_string().parse(), Ok(NanoUsd(nanos)));
    }
}
