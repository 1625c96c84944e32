//! Durations as Prometheus writes them: `5m`, `1h30m`, `500ms`.
//!
//! Units in descending order `y w d h m s ms`, each at most once; a bare `0` is zero. A year is 365 days.

use std::time::Duration;

/// The text is no duration.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not a duration: write it like 30s, 5m or 1h30m")]
pub struct DurationError(pub String);

const UNITS: [(&str, u64); 7] = [
    ("y", 365 * 86_400_000),
    ("w", 7 * 86_400_000),
    ("d", 86_400_000),
    ("h", 3_600_000),
    ("m", 60_000),
    ("s", 1_000),
    ("ms", 1),
];

/// Reads a duration of whole milliseconds.
pub fn parse(text: &str) -> Result<Duration, DurationError> {
    let bad = || DurationError(text.to_owned());
    if text == "0" {
        return Ok(Duration::ZERO);
    }
    let (mut rest, mut total, mut next_unit) = (text, 0u64, 0);
    if rest.is_empty() {
        return Err(bad());
    }
    while !rest.is_empty() {
        let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
        let (number, tail) = rest.split_at(digits);
        let letters = tail.bytes().take_while(u8::is_ascii_alphabetic).count();
        let (unit, tail) = tail.split_at(letters);
        let index = UNITS.iter().position(|(name, _)| *name == unit).ok_or_else(bad)?;
        if index < next_unit {
            return Err(bad());
        }
        next_unit = index + 1;
        let n: u64 = number.parse().map_err(|_| bad())?;
        total = n.checked_mul(UNITS[index].1).and_then(|ms| total.checked_add(ms)).ok_or_else(bad)?;
        rest = tail;
    }
    // Beyond 292 years milliseconds no longer fit the nanoseconds that others count in.
    if total > u64::try_from(i64::MAX / 1_000_000).unwrap_or(u64::MAX) {
        return Err(bad());
    }
    Ok(Duration::from_millis(total))
}

/// Writes a duration in the same notation: the largest units first, years and weeks only when they
/// divide it evenly, as Prometheus prints them: 90d, not 12w6d.
pub fn format(duration: Duration) -> String {
    let mut ms = u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
    if ms == 0 {
        return "0s".to_owned();
    }
    let mut out = String::new();
    for (i, (unit, size)) in UNITS.iter().enumerate() {
        let exact_only = i < 2;
        if exact_only && ms % size != 0 {
            continue;
        }
        let n = ms / size;
        if n > 0 {
            out.push_str(&format!("{n}{unit}"));
            ms -= n * size;
        }
    }
    out
}

#[cfg(test)]
mod tests;
