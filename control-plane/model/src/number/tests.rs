//! Numbers print as Go prints them.

use super::*;
use proptest::prelude::*;

#[test]
#[expect(clippy::approx_constant, reason = "the digits are the point")]
fn numbers_print_as_prometheus_prints_them() {
    for (v, text) in [
        (0.0, "0"),
        (-0.0, "-0"),
        (1.0, "1"),
        (3.14, "3.14"),
        (1e20, "100000000000000000000"),
        (1e21, "1e+21"),
        (1.5e-7, "1.5e-07"),
        (0.000001, "0.000001"),
        (f64::NAN, "NaN"),
        (f64::INFINITY, "+Inf"),
        (f64::NEG_INFINITY, "-Inf"),
        (1.7976931348623157e308, "1.7976931348623157e+308"),
    ] {
        assert_eq!(format(v), text);
    }
}

#[test]
fn numbers_read() {
    assert_eq!(parse("+Inf"), Some(f64::INFINITY));
    assert_eq!(parse("1e3"), Some(1000.0));
    assert!(parse("nan").is_some_and(f64::is_nan));
    assert_eq!(parse(""), None);
    assert_eq!(parse("x"), None);
    assert_eq!(parse("0x10"), None);
}

proptest! {
    #[test]
    fn the_shortest_digits_are_those_of_the_standard_library(v in prop_oneof![any::<f64>(), -1e6..1e6f64, (-1_000_000_000i64..1_000_000_000).prop_map(|n| n as f64 / 1000.0)]) {
        let plain = v == 0.0 || (1e-6..1e21).contains(&v.abs());
        if plain {
            prop_assert_eq!(format(v), v.to_string());
        }
        prop_assert!(v.is_nan() || parse(&format(v)) == Some(v));
    }
}
