//! Durations read and print as Prometheus's do.

use super::*;

#[test]
fn durations_read_and_print() {
    for (text, ms, printed) in [
        ("0", 0, "0s"),
        ("0s", 0, "0s"),
        ("5m", 300_000, "5m"),
        ("1h30m", 5_400_000, "1h30m"),
        ("90m", 5_400_000, "1h30m"),
        ("1d", 86_400_000, "1d"),
        ("1d1h", 90_000_000, "1d1h"),
        ("4d1h1m1s1ms", 349_261_001, "4d1h1m1s1ms"),
        ("3w2d1h", 1_990_800_000, "23d1h"),
        ("2w", 1_209_600_000, "2w"),
        ("1y", 31_536_000_000, "1y"),
        ("1500ms", 1_500, "1s500ms"),
    ] {
        let d = parse(text).expect(text);
        assert_eq!((d.as_millis(), format(d).as_str()), (ms, printed), "{text}");
    }
}

#[test]
fn what_is_no_duration_is_refused() {
    for bad in ["", "1", "-1m", "1.5h", "m", "1m1h", "1m1m", "1 m", "1min", "99999999999999y", "1é"] {
        assert!(parse(bad).is_err(), "{bad}");
    }
}
