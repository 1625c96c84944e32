//! Numbers print as Go prints them.

use super::*;

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
