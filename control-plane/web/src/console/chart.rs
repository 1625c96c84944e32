//! A line chart as SVG text: small, without scripts, readable in both colour schemes.

use model::{Timestamp, Value};
use promql::RangeSeries;

/// Lines in one chart; a table shows the rest.
pub(super) const MOST_LINES: usize = 12;

const WIDTH: f64 = 720.0;
const HEIGHT: f64 = 240.0;
const LEFT: f64 = 64.0;
/// Room for half of a label in the large letters of a phone.
const TOP: f64 = 16.0;
const BOTTOM: f64 = 24.0;
/// Room for the half of a time in the large letters of a phone.
const HALF_TIME: f64 = 72.0;

/// Values beyond it are drawn at it: their distance must still be a number.
const LARGEST: f64 = 1e300;

/// Draws floats of `series` between `start` and `end`. `None` when there is nothing to draw.
pub(super) fn lines(series: &[RangeSeries], start: Timestamp, end: Timestamp, step: i64) -> Option<String> {
    let drawn: Vec<Vec<(Timestamp, f64)>> = series
        .iter()
        .take(MOST_LINES)
        .map(|s| {
            s.points
                .iter()
                .filter_map(|(at, v)| match v {
                    Value::Float(v) if v.is_finite() => Some((*at, v.clamp(-LARGEST, LARGEST))),
                    _ => None,
                })
                .collect()
        })
        .collect();
    let values = || drawn.iter().flatten().map(|(_, v)| *v);
    let (low, high) = (values().fold(f64::INFINITY, f64::min), values().fold(f64::NEG_INFINITY, f64::max));
    if low > high {
        return None;
    }
    // A flat line still needs a height; zero belongs to a scale that is near it.
    let low = if low > 0.0 && low < high * 0.5 { 0.0 } else { low };
    let room = if low == high { (low.abs() * 0.1).max(1.0) } else { 0.0 };
    let (low, high) = (low - room, high + room);
    #[expect(clippy::cast_precision_loss, reason = "pixels")]
    let x = |at: Timestamp| LEFT + (at - start) as f64 / ((end - start).max(1)) as f64 * (WIDTH - LEFT - 8.0);
    let y = |v: f64| TOP + (high - v) / (high - low) * (HEIGHT - BOTTOM - TOP);
    let (from, to) = (kit::telemetry::rfc3339(start), kit::telemetry::rfc3339(end));
    let mut out = format!(
        "<svg viewBox=\"0 0 {WIDTH} {HEIGHT}\" role=\"img\" aria-label=\"The query from {from} to {to}; the table below has the last values\" class=\"chart\">"
    );
    for i in 0..=4 {
        let v = low + (high - low) * f64::from(i) / 4.0;
        let at = y(v);
        out.push_str(&format!(
            "<line class=\"grid\" x1=\"{LEFT}\" x2=\"{WIDTH}\" y1=\"{at:.1}\" y2=\"{at:.1}\"/><text x=\"{:.1}\" y=\"{:.1}\" class=\"axis\" text-anchor=\"end\">{}</text>",
            LEFT - 6.0,
            at + 4.0,
            short(v)
        ));
    }
    for (at, label) in times(start, end) {
        let at = x(at);
        let anchor = match at {
            at if at < LEFT + HALF_TIME => "start",
            at if at > WIDTH - HALF_TIME => "end",
            _ => "middle",
        };
        let (foot, under) = (HEIGHT - BOTTOM, HEIGHT - 6.0);
        out.push_str(&format!(
            "<line class=\"grid\" x1=\"{at:.1}\" x2=\"{at:.1}\" y1=\"{TOP}\" y2=\"{foot}\"/><text x=\"{at:.1}\" y=\"{under}\" class=\"axis\" text-anchor=\"{anchor}\">{label}</text>"
        ));
    }
    for (i, points) in drawn.iter().enumerate() {
        let (mut path, mut dots) = (String::new(), String::new());
        // A gap of more than one step is a gap in the line; what stands alone between two is a dot.
        for line in points.chunk_by(|(before, _), (at, _)| at - before <= step) {
            if let [(at, v)] = line {
                dots.push_str(&format!("M{:.1} {:.1}h0", x(*at), y(*v)));
                continue;
            }
            for (n, (at, v)) in line.iter().enumerate() {
                path.push_str(&format!("{}{:.1} {:.1}", if n == 0 { "M" } else { "L" }, x(*at), y(*v)));
            }
        }
        for (class, path) in [("line", path), ("line dot", dots)] {
            if !path.is_empty() {
                out.push_str(&format!("<path class=\"{class} c{}\" d=\"{path}\"/>", i % 6));
            }
        }
    }
    out.push_str("</svg>");
    Some(out)
}

/// Round times between two with their labels, in UTC: a few, whatever the range.
fn times(start: Timestamp, end: Timestamp) -> Vec<(Timestamp, String)> {
    const SECOND: i64 = 1000;
    const MINUTE: i64 = 60 * SECOND;
    const HOUR: i64 = 60 * MINUTE;
    const DAY: i64 = 24 * HOUR;
    // Labels need this much room: no more of them than one and two halves fit between.
    const MOST: i64 = 3;
    let span = end.saturating_sub(start);
    let units = [
        (SECOND, &[1, 2, 5, 10, 20, 30][..]),
        (MINUTE, &[1, 2, 5, 10, 20, 30]),
        (HOUR, &[1, 2, 4, 8, 12]),
        (DAY, &[1, 2, 3, 5, 10, 20, 30, 60, 120, 200, 365, 730, 1825, 3650]),
    ];
    let mut steps = units.iter().flat_map(|(unit, many)| many.iter().map(move |n| n * unit));
    let step = steps.find(|step| span / step <= MOST).unwrap_or(span / MOST);
    // Where in the text of a time, and how much of it tells one from the others.
    let part = match (step, span) {
        (step, _) if step >= 60 * DAY => 0..10,
        (DAY.., _) => 5..10,
        (_, DAY..) => 5..16,
        (MINUTE.., _) => 11..16,
        _ => 11..19,
    };
    let first = start.div_euclid(step).saturating_add(1).saturating_mul(step);
    let first = if start.rem_euclid(step) == 0 { start } else { first };
    let ticks = std::iter::successors(Some(first), |at| at.checked_add(step)).take_while(|at| *at <= end);
    ticks
        .map(|at| {
            let text = kit::telemetry::rfc3339(at);
            (at, text.get(part.clone()).unwrap_or("").replace('T', " "))
        })
        .collect()
}

/// A number for an axis: three digits and a unit prefix.
pub(super) fn short(v: f64) -> String {
    let magnitude = v.abs();
    if magnitude >= 1e15 {
        return format!("{v:.1e}");
    }
    for (size, unit) in [(1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k")] {
        if magnitude >= size {
            return format!("{}{unit}", trimmed(v / size));
        }
    }
    if magnitude > 0.0 && magnitude < 1e-3 { format!("{v:.1e}") } else { trimmed(v) }
}

fn trimmed(v: f64) -> String {
    let digits = if v.abs() >= 100.0 {
        0
    } else if v.abs() >= 10.0 {
        1
    } else if v.abs() >= 1.0 || v == 0.0 {
        3
    } else if v.abs() >= 0.1 {
        4
    } else {
        5
    };
    let text = format!("{v:.digits$}");
    if text.contains('.') { text.trim_end_matches('0').trim_end_matches('.').to_owned() } else { text }
}

#[cfg(test)]
mod tests {
    use super::*;
    use model::Labels;

    #[test]
    fn a_gap_in_the_data_is_a_gap_in_the_line() {
        let points = vec![(0, Value::Float(1.0)), (10, Value::Float(2.0)), (50, Value::Float(3.0))];
        let series = [RangeSeries { labels: Labels::default(), points }];
        let svg = lines(&series, 0, 60, 10).expect("drawn");
        assert_eq!(svg.matches('M').count(), 2, "{svg}");
        assert!(lines(&[], 0, 60, 10).is_none());
    }

    #[test]
    fn what_stands_alone_is_a_dot() {
        let points = [(0, Value::Float(1.0)), (10, Value::Float(2.0)), (50, Value::Float(3.0))];
        let alone = [RangeSeries { labels: Labels::default(), points: points[2..].to_vec() }];
        let svg = lines(&alone, 0, 60, 10).expect("drawn");
        assert!(svg.contains("<path class=\"line dot c0\" d=\"M") && svg.contains("h0\"/>"), "{svg}");
        let together = [RangeSeries { labels: Labels::default(), points: points[..2].to_vec() }];
        assert!(!lines(&together, 0, 60, 10).expect("drawn").contains("dot"));
    }

    #[test]
    fn the_time_axis_has_a_few_round_times_that_can_be_told_apart() {
        let end = 1_700_000_000_000; // 2023-11-14 22:13:20
        let (minute, hour, day) = (60_000, 3_600_000, 86_400_000);
        for (range, expect) in [
            (minute, &["22:12:20", "22:12:40", "22:13:00", "22:13:20"][..]),
            (15 * minute, &["22:00", "22:05", "22:10"]),
            (hour, &["21:20", "21:40", "22:00"]),
            (6 * hour, &["18:00", "20:00", "22:00"]),
            (day, &["11-14 00:00", "11-14 08:00", "11-14 16:00"]),
            (7 * day, &["11-09", "11-11", "11-13"]),
            (365 * day, &["2022-11-24", "2023-03-24", "2023-07-22"]),
            (10, &["22:13:20"]),
            (0, &["22:13:20"]),
        ] {
            let found: Vec<String> = times(end - range, end).into_iter().map(|(_, label)| label).collect();
            assert_eq!(found, expect, "{range}");
        }
        for (start, end) in [(i64::MIN, i64::MAX), (-1, 1), (i64::MAX - 1, i64::MAX)] {
            assert!(times(start, end).len() < 8, "{start} to {end}");
        }
    }

    #[test]
    fn every_finite_value_has_its_place() {
        for values in [[1e300, 1e300], [f64::MAX, f64::MIN], [0.0, 0.0], [1e17, 1e17], [5e-324, 0.0]] {
            let points = values.iter().enumerate().map(|(i, v)| (i as i64, Value::Float(*v))).collect();
            let svg = lines(&[RangeSeries { labels: Labels::default(), points }], 0, 1, 1).expect("drawn");
            assert!(!svg.contains("NaN") && !svg.contains("inf"), "{svg}");
            assert!(svg.len() < 5000, "{svg}");
        }
    }

    #[test]
    fn axis_numbers_are_short() {
        for (v, text) in [
            (0.0, "0"),
            (1500.0, "1.5k"),
            (2e9, "2G"),
            (0.25, "0.25"),
            (0.00235, "0.00235"),
            (0.1225, "0.1225"),
            (1e300, "1.0e300"),
            (123.456, "123"),
            (0.0001, "1.0e-4"),
        ] {
            assert_eq!(short(v), text);
        }
    }
}
