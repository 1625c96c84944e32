//! Query results as JSON. Written by hand: results are large, and numbers are texts in Prometheus's format.

use model::{Histogram, Labels, Timestamp, Value, number};
use promql::{InstantSample, QueryValue, RangeSeries, histogram::buckets};
use std::fmt::Write;

/// Appends a result's `data` object without annotations and statistics.
pub fn write_value(out: &mut String, value: &QueryValue, limit: usize) {
    let kind = value.type_name();
    // Writing into a String cannot fail.
    let _infallible = write!(out, "{{\"resultType\":\"{kind}\",\"result\":");
    match value {
        QueryValue::Scalar { at, value } => point(out, *at, *value),
        QueryValue::String { at, value } => {
            out.push('[');
            time(out, *at);
            out.push(',');
            text(out, value);
            out.push(']');
        }
        QueryValue::Vector(samples) => list(out, limited(samples, limit), instant),
        QueryValue::Matrix(series) => list(out, limited(series, limit), range),
    }
    out.push('}');
}

fn limited<T>(items: &[T], limit: usize) -> &[T] {
    if limit > 0 { items.get(..limit).unwrap_or(items) } else { items }
}

fn list<T>(out: &mut String, items: &[T], each: fn(&mut String, &T)) {
    out.push('[');
    for (i, item) in items.iter().enumerate() {
        if i > 0 {
            out.push(',');
        }
        each(out, item);
    }
    out.push(']');
}

fn instant(out: &mut String, sample: &InstantSample) {
    out.push_str("{\"metric\":");
    labels(out, &sample.labels);
    match &sample.value {
        Value::Float(v) => {
            out.push_str(",\"value\":");
            point(out, sample.at, *v);
        }
        Value::Histogram(h) => {
            out.push_str(",\"histogram\":");
            histogram_point(out, sample.at, h);
        }
    }
    out.push('}');
}

fn range(out: &mut String, series: &RangeSeries) {
    out.push_str("{\"metric\":");
    labels(out, &series.labels);
    let floats = series.points.iter().filter(|(_, v)| matches!(v, Value::Float(_)));
    if floats.clone().next().is_some() {
        out.push_str(",\"values\":[");
        for (i, (at, value)) in floats.enumerate() {
            if i > 0 {
                out.push(',');
            }
            if let Value::Float(v) = value {
                point(out, *at, *v);
            }
        }
        out.push(']');
    }
    let histograms = series.points.iter().filter(|(_, v)| matches!(v, Value::Histogram(_)));
    if histograms.clone().next().is_some() {
        out.push_str(",\"histograms\":[");
        for (i, (at, value)) in histograms.enumerate() {
            if i > 0 {
                out.push(',');
            }
            if let Value::Histogram(h) = value {
                histogram_point(out, *at, h);
            }
        }
        out.push(']');
    }
    out.push('}');
}

fn labels(out: &mut String, labels: &Labels) {
    out.push('{');
    for (i, label) in labels.iter().enumerate() {
        if i > 0 {
            out.push(',');
        }
        text(out, &label.name);
        out.push(':');
        text(out, &label.value);
    }
    out.push('}');
}

fn text(out: &mut String, text: &str) {
    match serde_json::to_string(text) {
        Ok(quoted) => out.push_str(&quoted),
        Err(_) => out.push_str("\"\""),
    }
}

/// Seconds with up to three decimals, as Prometheus prints times.
fn time(out: &mut String, at: Timestamp) {
    let (seconds, ms) = (at.unsigned_abs() / 1000, at.unsigned_abs() % 1000);
    if at < 0 {
        out.push('-');
    }
    out.push_str(itoa::Buffer::new().format(seconds));
    if ms != 0 {
        let _infallible = write!(out, ".{ms:03}");
    }
}

fn point(out: &mut String, at: Timestamp, v: f64) {
    out.push('[');
    time(out, at);
    out.push_str(",\"");
    number::format_into(out, v);
    out.push_str("\"]");
}

fn histogram_point(out: &mut String, at: Timestamp, h: &Histogram) {
    out.push('[');
    time(out, at);
    let _infallible =
        write!(out, ",{{\"count\":\"{}\",\"sum\":\"{}\"", number::format(h.count), number::format(h.sum));
    let populated: Vec<_> = buckets(h).into_iter().filter(|b| b.count != 0.0).collect();
    if !populated.is_empty() {
        out.push_str(",\"buckets\":");
        list(out, &populated, |out, b| {
            let n = number::format;
            let (rule, low, high) = (b.bounds.api_rule(), n(b.lower), n(b.upper));
            let _infallible = write!(out, "[{rule},\"{low}\",\"{high}\",\"{}\"]", n(b.count));
        });
    }
    out.push_str("}]");
}
