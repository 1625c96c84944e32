//! Periods begin where people in that zone say they begin.

use super::*;

fn check(period: Period, zone: &str, at: &str, start: &str, end: &str) {
    let zone = TimeZone::get(zone).expect("zone");
    let ms = |t: &str| t.parse::<jiff::Timestamp>().expect("time").as_millisecond();
    assert_eq!(period.around(ms(at), &zone), (ms(start), ms(end)), "{period:?} {at}");
}

#[test]
fn periods_begin_at_local_midnight() {
    check(Period::Day, "UTC", "2026-11-22T23:59:59.999Z", "2026-11-22T00:00:00Z", "2026-11-23T00:00:00Z");
    check(Period::Day, "UTC", "2026-11-22T00:00:00Z", "2026-11-22T00:00:00Z", "2026-11-23T00:00:00Z");
    // The day on which Paris puts its clocks back has 25 hours.
    check(
        Period::Day,
        "Europe/Paris",
        "2026-10-25T12:00:00Z",
        "2026-10-24T22:00:00Z",
        "2026-10-25T23:00:00Z",
    );
    check(Period::Week, "UTC", "2026-11-22T12:00:00Z", "2026-11-16T00:00:00Z", "2026-11-23T00:00:00Z");
    check(Period::Month, "UTC", "2026-12-31T12:00:00Z", "2026-12-01T00:00:00Z", "2027-01-01T00:00:00Z");
}
