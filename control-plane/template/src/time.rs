//! Go's `time.Time` and `time.Duration` as templates see them.

use std::sync::Arc;

use jiff::{SignedDuration, Timestamp, Zoned, tz::TimeZone};

use crate::{context::CallError, convert, layout, value::Value};

/// Go's zero time: the first second of year 1, UTC.
pub(crate) fn zero() -> Zoned {
    let first = jiff::civil::date(1, 1, 1).at(0, 0, 0, 0).to_zoned(TimeZone::UTC);
    first.unwrap_or_else(|_| Timestamp::UNIX_EPOCH.to_zoned(TimeZone::UTC))
}

/// A moment in UTC; `None` when it lies outside the years -9999 to 9999.
pub(crate) fn from_millis(ms: i64) -> Option<Zoned> {
    Timestamp::from_millisecond(ms).ok().map(|t| t.to_zoned(TimeZone::UTC))
}

/// `time.Time`'s own way to print.
pub(crate) fn print_time(at: &Zoned) -> String {
    layout::format(at, "2006-01-02 15:04:05.999999999 -0700 MST")
}

pub(crate) fn rfc3339(at: &Zoned) -> String {
    layout::format(at, "2006-01-02T15:04:05.999999999Z07:00")
}

/// `1h2m3.5s`, as `time.Duration` prints.
pub(crate) fn print_duration(d: SignedDuration) -> String {
    let nanos = d.as_nanos().unsigned_abs();
    let sign = if d.is_negative() { "-" } else { "" };
    if nanos == 0 {
        return "0s".to_owned();
    }
    let fraction = |value: u128, unit: u128| {
        let width = unit.ilog10() as usize;
        let digits = format!("{:0width$}", value % unit);
        let digits = digits.trim_end_matches('0');
        if width == 0 || digits.is_empty() { String::new() } else { format!(".{digits}") }
    };
    for (unit, name) in [(1u128, "ns"), (1_000, "\u{b5}s"), (1_000_000, "ms")] {
        if nanos < unit * 1_000 {
            return format!("{sign}{}{}{name}", nanos / unit, fraction(nanos, unit));
        }
    }
    let seconds = nanos / 1_000_000_000;
    let tail = format!("{}{}s", seconds % 60, fraction(nanos, 1_000_000_000));
    let minutes = seconds / 60;
    match (minutes / 60, minutes % 60) {
        (0, 0) => format!("{sign}{tail}"),
        (0, m) => format!("{sign}{m}m{tail}"),
        (h, m) => format!("{sign}{h}h{m}m{tail}"),
    }
}

fn one(args: &[Value]) -> Result<&Value, CallError> {
    match args {
        [arg] => Ok(arg),
        _ => Err(CallError(format!("wrong number of args: want 1 got {}", args.len()))),
    }
}

fn time_arg(args: &[Value]) -> Result<&Zoned, CallError> {
    match one(args)?.base() {
        Value::Time(at) => Ok(at),
        other => Err(CallError(format!("expected time.Time, got {}", other.type_name()))),
    }
}

fn duration_arg(args: &[Value]) -> Result<SignedDuration, CallError> {
    match one(args)?.base() {
        Value::Duration(d) => Ok(*d),
        Value::Int(n) => Ok(SignedDuration::from_nanos(*n)),
        other => Err(CallError(format!("expected time.Duration, got {}", other.type_name()))),
    }
}

fn moved(at: &Zoned, by: SignedDuration) -> Result<Value, CallError> {
    let moved = at.checked_add(by).map_err(|_| CallError("the time is out of range".into()))?;
    Ok(Value::Time(Arc::new(moved)))
}

/// The methods of a time; `None` when there is none of that name.
pub(crate) fn time_method(at: &Zoned, name: &str, args: &[Value]) -> Option<Result<Value, CallError>> {
    let stamp = at.timestamp();
    let result = match name {
        "Format" => one(args).and_then(|a| {
            let layout = convert::text(a)?;
            Ok(Value::str(layout::format(at, layout)))
        }),
        "Add" => duration_arg(args).and_then(|d| moved(at, d)),
        "Sub" => time_arg(args).map(|other| Value::Duration(stamp.duration_since(other.timestamp()))),
        "Before" => time_arg(args).map(|other| Value::Bool(stamp < other.timestamp())),
        "After" => time_arg(args).map(|other| Value::Bool(stamp > other.timestamp())),
        "Equal" => time_arg(args).map(|other| Value::Bool(stamp == other.timestamp())),
        _ => {
            let value = match name {
                "Unix" => Value::Int(stamp.as_second()),
                "UnixMilli" => Value::Int(stamp.as_millisecond()),
                "UnixMicro" => Value::Int(stamp.as_microsecond()),
                "UnixNano" => Value::Int(i64::try_from(stamp.as_nanosecond()).unwrap_or(i64::MAX)),
                "Year" => Value::Int(at.year().into()),
                "Day" => Value::Int(at.day().into()),
                "Hour" => Value::Int(at.hour().into()),
                "Minute" => Value::Int(at.minute().into()),
                "Second" => Value::Int(at.second().into()),
                "YearDay" => Value::Int(at.day_of_year().into()),
                "Month" => Value::str(layout::format(at, "January")),
                "Weekday" => Value::str(layout::format(at, "Monday")),
                "String" => Value::str(print_time(at)),
                "IsZero" => Value::Bool(stamp == zero().timestamp()),
                "UTC" | "Local" => Value::Time(Arc::new(stamp.to_zoned(TimeZone::UTC))),
                _ => return None,
            };
            none(args, value)
        }
    };
    Some(result)
}

fn none(args: &[Value], value: Value) -> Result<Value, CallError> {
    if args.is_empty() {
        return Ok(value);
    }
    Err(CallError(format!("wrong number of args: want 0 got {}", args.len())))
}

/// The methods of a duration.
pub(crate) fn duration_method(
    d: SignedDuration,
    name: &str,
    args: &[Value],
) -> Option<Result<Value, CallError>> {
    let seconds = d.as_secs_f64();
    let step = |args: &[Value], round: bool| {
        duration_arg(args).map(|unit| {
            let (n, unit) = (d.as_nanos(), unit.as_nanos());
            if unit <= 0 {
                return Value::Duration(d);
            }
            let mut whole = n - n % unit;
            if round && (n % unit).abs() * 2 >= unit {
                whole += unit * n.signum();
            }
            Value::Duration(SignedDuration::from_nanos(i64::try_from(whole).unwrap_or(i64::MAX)))
        })
    };
    let value = match name {
        "Round" => return Some(step(args, true)),
        "Truncate" => return Some(step(args, false)),
        "String" => Value::str(print_duration(d)),
        "Seconds" => Value::Float(seconds),
        "Minutes" => Value::Float(seconds / 60.0),
        "Hours" => Value::Float(seconds / 3600.0),
        "Milliseconds" => Value::Int(i64::try_from(d.as_millis()).unwrap_or(i64::MAX)),
        "Microseconds" => Value::Int(i64::try_from(d.as_micros()).unwrap_or(i64::MAX)),
        "Nanoseconds" => Value::Int(i64::try_from(d.as_nanos()).unwrap_or(i64::MAX)),
        "Abs" => Value::Duration(d.abs()),
        _ => return None,
    };
    Some(none(args, value))
}
