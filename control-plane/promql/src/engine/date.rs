//! Calendar arithmetic in UTC, on seconds since the epoch.

/// A day in the Gregorian calendar.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Day {
    pub(crate) year: i64,
    /// 1 to 12
    pub(crate) month: i64,
    /// 1 to 31
    pub(crate) day: i64,
}

/// The day that is `days` after 1970-01-01. By Howard Hinnant's method: years of 400-year eras that begin in March.
pub(crate) fn day(days: i64) -> Day {
    let z = days + 719_468;
    let era = z.div_euclid(146_097);
    let of_era = z.rem_euclid(146_097);
    let year_of_era = (of_era - of_era / 1_460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted = (5 * of_year + 2) / 153;
    let month = if shifted < 10 { shifted + 3 } else { shifted - 9 };
    let year = year_of_era + era * 400 + i64::from(month <= 2);
    Day { year, month, day: of_year - (153 * shifted + 2) / 5 + 1 }
}

fn is_leap(year: i64) -> bool {
    year % 4 == 0 && (year % 100 != 0 || year % 400 == 0)
}

pub(crate) fn days_in_month(d: Day) -> i64 {
    match d.month {
        2 => 28 + i64::from(is_leap(d.year)),
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

pub(crate) fn day_of_year(d: Day) -> i64 {
    let before: i64 = (1..d.month).map(|month| days_in_month(Day { month, ..d })).sum();
    before + d.day
}

/// 0 is Sunday.
pub(crate) fn day_of_week(days: i64) -> i64 {
    (days + 4).rem_euclid(7)
}
