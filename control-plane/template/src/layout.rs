//! Go's time layouts: the reference time `Mon Jan 2 15:04:05 MST 2006` as a pattern.

use jiff::{Zoned, civil, tz::TimeZone};

const MONTHS: [&str; 12] = [
    "January",
    "February",
    "March",
    "April",
    "May",
    "June",
    "July",
    "August",
    "September",
    "October",
    "November",
    "December",
];
const DAYS: [&str; 7] = ["Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday"];

#[derive(Clone, Copy, PartialEq)]
enum Part<'a> {
    Literal(&'a str),
    LongMonth,
    ShortMonth,
    Month {
        zero: bool,
    },
    LongDay,
    ShortDay,
    Day {
        zero: bool,
        space: bool,
    },
    YearDay {
        zero: bool,
    },
    Hour24,
    Hour12 {
        zero: bool,
    },
    Minute {
        zero: bool,
    },
    Second {
        zero: bool,
    },
    Year,
    ShortYear,
    HalfDay {
        upper: bool,
    },
    ZoneName,
    /// `-07:00` and its kin; `utc` writes `Z` for UTC.
    Offset {
        utc: bool,
        colon: bool,
        minutes: bool,
        seconds: bool,
    },
    /// `.000` or `,999`: the separator, the digits, and whether trailing zeros are dropped.
    Fraction {
        separator: char,
        digits: usize,
        trim: bool,
    },
}

/// The layout's first element at the beginning of `rest`, with its length; `None` for a plain character.
fn element(rest: &str) -> Option<(Part<'static>, usize)> {
    use Part::*;
    const TABLE: [(&str, Part<'static>); 33] = [
        ("January", LongMonth),
        ("Jan", ShortMonth),
        ("Monday", LongDay),
        ("Mon", ShortDay),
        ("MST", ZoneName),
        ("2006", Year),
        ("002", YearDay { zero: true }),
        ("01", Month { zero: true }),
        ("02", Day { zero: true, space: false }),
        ("03", Hour12 { zero: true }),
        ("04", Minute { zero: true }),
        ("05", Second { zero: true }),
        ("06", ShortYear),
        ("15", Hour24),
        ("1", Month { zero: false }),
        ("__2", YearDay { zero: false }),
        ("_2", Day { zero: false, space: true }),
        ("2", Day { zero: false, space: false }),
        ("3", Hour12 { zero: false }),
        ("4", Minute { zero: false }),
        ("5", Second { zero: false }),
        ("PM", HalfDay { upper: true }),
        ("pm", HalfDay { upper: false }),
        ("-07:00:00", Offset { utc: false, colon: true, minutes: true, seconds: true }),
        ("-070000", Offset { utc: false, colon: false, minutes: true, seconds: true }),
        ("-07:00", Offset { utc: false, colon: true, minutes: true, seconds: false }),
        ("-0700", Offset { utc: false, colon: false, minutes: true, seconds: false }),
        ("-07", Offset { utc: false, colon: false, minutes: false, seconds: false }),
        ("Z07:00:00", Offset { utc: true, colon: true, minutes: true, seconds: true }),
        ("Z070000", Offset { utc: true, colon: false, minutes: true, seconds: true }),
        ("Z07:00", Offset { utc: true, colon: true, minutes: true, seconds: false }),
        ("Z0700", Offset { utc: true, colon: false, minutes: true, seconds: false }),
        ("Z07", Offset { utc: true, colon: false, minutes: false, seconds: false }),
    ];
    // "_2006" is an underscore and a year.
    if rest.starts_with("_2006") {
        return None;
    }
    for (pattern, part) in TABLE {
        let Some(after) = rest.strip_prefix(pattern) else { continue };
        // "Jan" in "January" was matched before; in "Janet" it is just text.
        let word = pattern == "Jan" || pattern == "Mon";
        if word && after.starts_with(|c: char| c.is_ascii_lowercase()) {
            continue;
        }
        return Some((part, pattern.len()));
    }
    let separator = rest.chars().next().filter(|c| matches!(c, '.' | ','))?;
    let digits = rest.get(1..)?;
    for digit in ['0', '9'] {
        let count = digits.len() - digits.trim_start_matches(digit).len();
        let ends = !digits.get(count..).is_some_and(|t| t.starts_with(|c: char| c.is_ascii_digit()));
        if count > 0 && ends {
            return Some((Fraction { separator, digits: count.min(9), trim: digit == '9' }, 1 + count));
        }
    }
    None
}

fn parts(layout: &str) -> Vec<Part<'_>> {
    let mut parts = Vec::new();
    let (mut at, mut literal) = (0, 0);
    while at < layout.len() {
        let rest = layout.get(at..).unwrap_or_default();
        let Some((part, bytes)) = element(rest) else {
            at += rest.chars().next().map_or(1, char::len_utf8);
            continue;
        };
        if literal < at {
            parts.push(Part::Literal(layout.get(literal..at).unwrap_or_default()));
        }
        parts.push(part);
        at += bytes;
        literal = at;
    }
    if literal < layout.len() {
        parts.push(Part::Literal(layout.get(literal..).unwrap_or_default()));
    }
    parts
}

/// `time.Format`.
pub(crate) fn format(at: &Zoned, layout: &str) -> String {
    let mut out = String::new();
    for part in parts(layout) {
        let hour12 = match at.hour() % 12 {
            0 => 12,
            h => h,
        };
        let two = |n: i8, zero: bool| if zero { format!("{n:02}") } else { n.to_string() };
        let text = match part {
            Part::Literal(text) => text.to_owned(),
            Part::LongMonth => month(at).to_owned(),
            Part::ShortMonth => month(at).chars().take(3).collect(),
            Part::Month { zero } => two(at.month(), zero),
            Part::LongDay => weekday(at).to_owned(),
            Part::ShortDay => weekday(at).chars().take(3).collect(),
            Part::Day { space: true, .. } => format!("{:2}", at.day()),
            Part::Day { zero, .. } => two(at.day(), zero),
            Part::YearDay { zero: true } => format!("{:03}", at.day_of_year()),
            Part::YearDay { zero: false } => format!("{:3}", at.day_of_year()),
            Part::Hour24 => two(at.hour(), true),
            Part::Hour12 { zero } => two(hour12, zero),
            Part::Minute { zero } => two(at.minute(), zero),
            Part::Second { zero } => two(at.second(), zero),
            Part::Year => format!("{:04}", at.year()),
            Part::ShortYear => format!("{:02}", at.year().rem_euclid(100)),
            Part::HalfDay { upper } => match (at.hour() >= 12, upper) {
                (true, true) => "PM".to_owned(),
                (false, true) => "AM".to_owned(),
                (true, false) => "pm".to_owned(),
                (false, false) => "am".to_owned(),
            },
            Part::ZoneName => zone_name(at),
            Part::Offset { utc, colon, minutes, seconds } => offset(at, utc, colon, minutes, seconds),
            Part::Fraction { separator, digits, trim } => {
                let nanos = format!("{:09}", at.subsec_nanosecond());
                let shown = nanos.get(..digits).unwrap_or(&nanos);
                let shown = if trim { shown.trim_end_matches('0') } else { shown };
                if shown.is_empty() { String::new() } else { format!("{separator}{shown}") }
            }
        };
        out.push_str(&text);
    }
    out
}

fn month(at: &Zoned) -> &'static str {
    usize::try_from(at.month() - 1).ok().and_then(|i| MONTHS.get(i)).copied().unwrap_or_default()
}

fn weekday(at: &Zoned) -> &'static str {
    let index = at.weekday().to_monday_zero_offset();
    usize::try_from(index).ok().and_then(|i| DAYS.get(i)).copied().unwrap_or_default()
}

fn zone_name(at: &Zoned) -> String {
    at.time_zone().to_offset_info(at.timestamp()).abbreviation().to_owned()
}

fn offset(at: &Zoned, utc: bool, colon: bool, minutes: bool, seconds: bool) -> String {
    let total = at.offset().seconds();
    if utc && total == 0 {
        return "Z".to_owned();
    }
    let sign = if total < 0 { '-' } else { '+' };
    let total = total.unsigned_abs();
    let separator = if colon { ":" } else { "" };
    let mut text = format!("{sign}{:02}", total / 3600);
    if minutes {
        text.push_str(&format!("{separator}{:02}", total / 60 % 60));
    }
    if seconds {
        text.push_str(&format!("{separator}{:02}", total % 60));
    }
    text
}

/// `time.Parse`: UTC unless the text gives an offset. The error is a sentence.
pub(crate) fn parse(layout: &str, text: &str) -> Result<Zoned, String> {
    let mut rest = text;
    let (mut year, mut month, mut day) = (0i64, 1i64, 1i64);
    let (mut hour, mut minute, mut second, mut nanos) = (0i64, 0i64, 0i64, 0i64);
    let (mut pm, mut offset_seconds) = (None, 0i32);
    let fail = |rest: &str, what: &str| {
        format!("parsing time {text:?} as {layout:?}: cannot parse {rest:?} as {what}")
    };
    for part in parts(layout) {
        let before = rest;
        let name = |names: &[&str], short: bool| {
            names.iter().enumerate().find_map(|(i, name)| {
                let name = if short { name.get(..3)? } else { name };
                let head = before.get(..name.len())?;
                let rest = before.get(name.len()..)?;
                head.eq_ignore_ascii_case(name).then_some((i64::try_from(i).ok()? + 1, rest))
            })
        };
        let read = match part {
            Part::Literal(text) => before.strip_prefix(text).map(|r| (0, r)),
            Part::LongMonth => name(&MONTHS, false),
            Part::ShortMonth => name(&MONTHS, true),
            Part::LongDay => name(&DAYS, false),
            Part::ShortDay => name(&DAYS, true),
            Part::Year => digits(before, 4, 4),
            Part::ShortYear => digits(before, 2, 2),
            Part::Day { space: true, .. } => digits(before.trim_start_matches(' '), 1, 2),
            Part::Month { zero } | Part::Day { zero, .. } | Part::Hour12 { zero } => {
                digits(before, if zero { 2 } else { 1 }, 2)
            }
            Part::Minute { zero } | Part::Second { zero } => digits(before, if zero { 2 } else { 1 }, 2),
            Part::Hour24 => digits(before, 2, 2),
            Part::YearDay { .. } => digits(before.trim_start_matches(' '), 1, 3),
            Part::HalfDay { .. } => match before.get(..2).map(str::to_ascii_uppercase).as_deref() {
                Some("PM") => before.get(2..).map(|r| (1, r)),
                Some("AM") => before.get(2..).map(|r| (0, r)),
                _ => None,
            },
            Part::ZoneName => {
                let letters =
                    before.len() - before.trim_start_matches(|c: char| c.is_ascii_uppercase()).len();
                before.get(letters..).filter(|_| letters >= 3).map(|r| (0, r))
            }
            Part::Offset { utc, colon, minutes, .. } => read_offset(before, utc, colon, minutes),
            Part::Fraction { .. } => read_fraction(before),
        };
        let Some((n, after)) = read else {
            return Err(fail(before, &describe(part)));
        };
        rest = after;
        match part {
            Part::LongMonth | Part::ShortMonth | Part::Month { .. } => month = n,
            Part::Day { .. } => day = n,
            Part::Hour24 | Part::Hour12 { .. } => hour = n,
            Part::Minute { .. } => minute = n,
            Part::Second { .. } => {
                second = n;
                // A fraction may follow the seconds even where the layout has none.
                if let Some((n, after)) = read_fraction(rest).filter(|_| !layout.contains(".0")) {
                    nanos = n;
                    rest = after;
                }
            }
            Part::Year => year = n,
            Part::ShortYear => year = if n >= 69 { 1900 + n } else { 2000 + n },
            Part::HalfDay { .. } => pm = Some(n == 1),
            Part::Offset { .. } => offset_seconds = i32::try_from(n).unwrap_or(0),
            Part::Fraction { .. } => nanos = n,
            _ => {}
        }
    }
    if !rest.is_empty() {
        return Err(format!("parsing time {text:?}: extra text: {rest:?}"));
    }
    match pm {
        Some(true) if hour < 12 => hour += 12,
        Some(false) if hour == 12 => hour = 0,
        _ => {}
    }
    let range = || format!("parsing time {text:?}: a part is out of range");
    let small = |n: i64| i8::try_from(n).map_err(|_| range());
    let year = i16::try_from(year).map_err(|_| range())?;
    let subsecond = i32::try_from(nanos).map_err(|_| range())?;
    let date = civil::Date::new(year, small(month)?, small(day)?).map_err(|_| range())?;
    let time =
        civil::Time::new(small(hour)?, small(minute)?, small(second)?, subsecond).map_err(|_| range())?;
    let zone = match offset_seconds {
        0 => TimeZone::UTC,
        s => jiff::tz::Offset::from_seconds(s).map_err(|_| range())?.to_time_zone(),
    };
    date.to_datetime(time).to_zoned(zone).map_err(|_| range())
}

fn digits(text: &str, least: usize, most: usize) -> Option<(i64, &str)> {
    let count = text.bytes().take(most).take_while(u8::is_ascii_digit).count();
    if count < least {
        return None;
    }
    let (number, rest) = text.split_at(count);
    Some((number.parse().ok()?, rest))
}

fn read_offset(text: &str, utc: bool, colon: bool, minutes: bool) -> Option<(i64, &str)> {
    if let Some(rest) = text.strip_prefix('Z').filter(|_| utc) {
        return Some((0, rest));
    }
    let (sign, rest) = match text.strip_prefix('-') {
        Some(rest) => (-1, rest),
        None => (1, text.strip_prefix('+')?),
    };
    let (hours, mut rest) = digits(rest, 2, 2)?;
    let mut total = hours * 3600;
    if minutes {
        rest = if colon { rest.strip_prefix(':')? } else { rest };
        let (m, after) = digits(rest, 2, 2)?;
        total += m * 60;
        rest = after;
    }
    Some((sign * total, rest))
}

fn read_fraction(text: &str) -> Option<(i64, &str)> {
    let rest = text.strip_prefix(['.', ','])?;
    let count = rest.bytes().take_while(u8::is_ascii_digit).count();
    let (number, after) = rest.split_at(count);
    let padded = format!("{number:0<9}");
    let nanos = padded.get(..9)?.parse().ok()?;
    (count > 0).then_some((nanos, after))
}

/// The piece of the layout, as Go's message names it.
fn describe(part: Part<'_>) -> String {
    let name = match part {
        Part::Literal(text) => text,
        Part::LongMonth => "January",
        Part::ShortMonth => "Jan",
        Part::Month { .. } => "01",
        Part::LongDay => "Monday",
        Part::ShortDay => "Mon",
        Part::Day { .. } => "02",
        Part::YearDay { .. } => "002",
        Part::Hour24 => "15",
        Part::Hour12 { .. } => "03",
        Part::Minute { .. } => "04",
        Part::Second { .. } => "05",
        Part::Year => "2006",
        Part::ShortYear => "06",
        Part::HalfDay { .. } => "PM",
        Part::ZoneName => "MST",
        Part::Offset { .. } => "-07:00",
        Part::Fraction { .. } => ".000",
    };
    format!("{name:?}")
}
