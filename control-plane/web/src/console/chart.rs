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
    let mut out = format!(
        "<svg viewBox=\"0 0 {WIDTH} {HEIGHT}\" role=\"img\" aria-label=\"The query over time; the table below has the last values\" class=\"chart\">"
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
    for (at, anchor) in [(start, "start"), (end, "end")] {
        let label = kit::telemetry::rfc3339(at);
        let label = label.get(11..16).unwrap_or("");
        out.push_str(&format!(
            "<text x=\"{:.1}\" y=\"{:.1}\" class=\"axis\" text-anchor=\"{anchor}\">{label}</text>",
            x(at),
            HEIGHT - 6.0
        ));
    }
    for (i, points) in drawn.iter().enumerate() {
        let (mut path, mut last) = (String::new(), None);
        for (at, v) in points {
            // A gap of more than one step is a gap in the line.
            let gap = last.is_none_or(|before: Timestamp| at - before > step);
            path.push_str(&format!("{}{:.1} {:.1}", if gap { "M" } else { "L" }, x(*at), y(*v)));
            last = Some(*at);
        }
        out.push_str(&format!("<path class=\"line c{}\" d=\"{path}\"/>", i % 6));
    }
    out.push_str("</svg>");
    Some(out)
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
    } else {
        3
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
            (1e300, "1.0e300"),
            (123.456, "123"),
            (0.0001, "1.0e-4"),
        ] {
            assert_eq!(short(v), text);
        }
    }
}
