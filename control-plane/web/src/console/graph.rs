//! `/graph`: an expression over time, now, and step by step. Messages link here; everything shown is in the address.

use super::{Frame, chart, page};
use crate::{
    Plane, Routes,
    access::{Identity, Need},
    api::{ApiFailure, How, Query, When, explain, run_query},
    params::Params,
};
use askama::Template;
use axum::{Extension, response::Response};
use http::Method;
use model::{
    Labels, Timestamp, Value,
    labels::{METRIC_NAME, is_legacy_metric_name},
    number,
};
use promql::{
    QueryValue, RangeSeries,
    ast::ValueType,
    explain::{Outcome, Step},
};
use std::time::Duration;

pub(super) fn add(routes: &mut Routes, plane: &Plane, need: Need) {
    let own = plane.clone();
    routes.add(Method::GET, "/graph", need, move |Extension(who): Extension<Identity>, params: Params| {
        let plane = own.clone();
        async move { answer(&plane, &who, &params).await }
    });
}

struct Row {
    class: usize,
    labels: String,
    value: String,
}

/// What a reader chose, as the address has it.
#[derive(Debug, Clone)]
struct Asked {
    query: String,
    range: String,
    /// As it was written; empty: now.
    end: String,
    /// As it was written; empty: fit for the chart.
    step: String,
    tab: &'static str,
}

/// A link to the same query, seen otherwise.
struct Link {
    name: &'static str,
    href: String,
    here: bool,
}

/// A piece of the query's text, and whether it is wrong.
struct Piece {
    wrong: bool,
    text: String,
}

/// A node of the query as the page tells it.
struct Told {
    depth: usize,
    text: String,
    does: String,
    figures: String,
    failed: bool,
}

#[derive(Template)]
#[template(path = "graph.html")]
struct Graph {
    frame: Frame,
    asked: Asked,
    ranges: Vec<String>,
    tabs: Vec<Link>,
    shifts: Vec<Link>,
    error: String,
    /// The query with its wrong places, where there are some.
    pieces: Vec<Piece>,
    chart: String,
    /// What the chart leaves out.
    undrawn: String,
    rows: Vec<Row>,
    more: usize,
    steps: Vec<Told>,
    notes: Vec<String>,
}

/// Rows of the table.
const MOST_ROWS: usize = 200;

/// How long each of a page's two queries may take: together less than a request may.
const PATIENCE: Duration = Duration::from_secs(10);

/// Points of a line: about one for three pixels.
const POINTS: i64 = 240;

/// The tabs by their names in an address, those of Prometheus's own pages included.
const TABS: [(&str, &str); 3] = [("graph", "Graph"), ("table", "Table"), ("explain", "Explain")];

/// When the query is looked at.
#[derive(Debug, Clone, Copy)]
struct Times {
    start: Timestamp,
    end: Timestamp,
    step: i64,
}

impl Asked {
    fn read(params: &Params) -> Asked {
        let get =
            |name, short| params.get(name).or_else(|| params.get(short)).unwrap_or("").trim().to_owned();
        let range = get("g0.range_input", "range");
        let known = model::duration::parse(&range).is_ok_and(|d| !d.is_zero());
        let tab = match &*get("g0.tab", "tab") {
            "table" | "1" => "table",
            "explain" => "explain",
            _ => "graph",
        };
        Asked {
            query: params.get("g0.expr").or_else(|| params.get("expr")).unwrap_or("").to_owned(),
            range: if known { range } else { "1h".to_owned() },
            end: get("g0.end_input", "end"),
            step: get("g0.step_input", "step"),
            tab,
        }
    }

    /// The times that are meant, or what is wrong with them.
    fn times(&self, now: Timestamp) -> Result<Times, String> {
        let end = if self.end.is_empty() { now } else { moment(&self.end)? };
        let length = millis(&self.range).unwrap_or(3_600_000);
        let step = if self.step.is_empty() {
            (length / POINTS).max(1000)
        } else {
            millis(&self.step)
                .filter(|ms| *ms > 0)
                .ok_or_else(|| format!("step: {:?} is not a duration like 30s or 5m", self.step))?
        };
        Ok(Times { start: end.saturating_sub(length), end, step })
    }

    fn href(&self) -> String {
        let mut pairs = url::form_urlencoded::Serializer::new(String::new());
        pairs.append_pair("g0.expr", &self.query).append_pair("g0.range_input", &self.range);
        for (name, value) in [("g0.end_input", &self.end), ("g0.step_input", &self.step)] {
            if !value.is_empty() {
                pairs.append_pair(name, value);
            }
        }
        format!("/graph?{}", pairs.append_pair("g0.tab", self.tab).finish())
    }

    fn tabs(&self) -> Vec<Link> {
        let link = |(tab, name): (&'static str, &'static str)| {
            let href = Asked { tab, ..self.clone() }.href();
            Link { name, href, here: tab == self.tab }
        };
        TABS.map(link).into()
    }

    /// Half of the range earlier and later, and back to now.
    fn shifts(&self, times: Times, now: Timestamp) -> Vec<Link> {
        let half = (times.end - times.start) / 2;
        let at = |name, end: Timestamp| {
            let end = if end >= now { String::new() } else { kit::telemetry::rfc3339(end) };
            Link { name, href: Asked { end, ..self.clone() }.href(), here: false }
        };
        let mut links = vec![at("Earlier", times.end.saturating_sub(half))];
        if !self.end.is_empty() {
            links.extend([at("Later", times.end.saturating_add(half)), at("Now", now)]);
        }
        links
    }
}

fn millis(text: &str) -> Option<i64> {
    let duration = match text.parse::<f64>() {
        Ok(seconds) => Duration::try_from_secs_f64(seconds).ok()?,
        Err(_) => model::duration::parse(text).ok()?,
    };
    i64::try_from(duration.as_millis()).ok()
}

/// A time as forms and people write it: RFC 3339, seconds, or date and time in UTC.
fn moment(text: &str) -> Result<Timestamp, String> {
    let params = Params::of("end", text);
    if let Ok(Some(at)) = params.time("end") {
        return Ok(at);
    }
    let spelt = text.replace(' ', "T");
    let civil: Result<jiff::civil::DateTime, _> = spelt.parse();
    civil
        .and_then(|t| t.to_zoned(jiff::tz::TimeZone::UTC))
        .map(|t| t.timestamp().as_millisecond())
        .map_err(|_| format!("end: {text:?} is not a time like 2026-01-31 12:00 (UTC)"))
}

async fn answer(plane: &Plane, who: &Identity, params: &Params) -> Response {
    let asked = Asked::read(params);
    let now = plane.clock.now_ms();
    let mut ranges = ["15m", "1h", "6h", "1d", "7d"].map(str::to_owned).to_vec();
    if !ranges.contains(&asked.range) {
        ranges.push(asked.range.clone());
    }
    let times = asked.times(now);
    let asks = !asked.query.trim().is_empty();
    let mut shown = Graph {
        frame: Frame::new(plane, who),
        ranges,
        tabs: if asks { asked.tabs() } else { Vec::new() },
        shifts: times
            .as_ref()
            .map_or_else(|_| Vec::new(), |t| if asks { asked.shifts(*t, now) } else { Vec::new() }),
        asked,
        error: String::new(),
        pieces: Vec::new(),
        chart: String::new(),
        undrawn: String::new(),
        rows: Vec::new(),
        more: 0,
        steps: Vec::new(),
        notes: Vec::new(),
    };
    match times {
        Ok(times) if asks => {
            if let Err(e) = fill(plane, times, &mut shown).await {
                shown.error = e.message;
                shown.pieces = marked(&shown.asked.query);
            }
        }
        Ok(_) => {}
        Err(e) => shown.error = e,
    }
    page(&shown)
}

async fn fill(plane: &Plane, times: Times, shown: &mut Graph) -> Result<(), ApiFailure> {
    let query = shown.asked.query.clone();
    let timeout = plane.query_timeout.min(PATIENCE);
    let ask = |when| {
        let query = Query { text: &query, when, timeout, how: How::default() };
        run_query(plane, query, |result, _| result)
    };
    let Times { start, end, step } = times;
    let over_time = When::Range { start, end, step };
    if shown.asked.tab == "explain" {
        // What can only be had at one time is explained at the end.
        let plottable = promql::parse(&query)
            .is_ok_and(|e| matches!(e.value_type(), ValueType::Scalar | ValueType::Vector));
        let when = if plottable { over_time } else { When::At(end) };
        let step = explain(plane, Query { text: &query, when, timeout, how: How::default() }).await?;
        tell(&step, 0, &mut shown.steps);
        return Ok(());
    }
    let result = ask(When::At(end)).await?;
    let (warnings, infos) = result.annotations.texts(&query, 5);
    shown.notes = warnings.into_iter().chain(infos).collect();
    let (rows, found) = rows(&result.value);
    shown.more = found - rows.len();
    let plottable = matches!(result.value, QueryValue::Vector(_) | QueryValue::Scalar { .. });
    let mut drawn: Vec<String> = Vec::new();
    let mut failed = None;
    if plottable && shown.asked.tab == "graph" {
        match ask(over_time).await {
            Ok(result) => {
                if let QueryValue::Matrix(series) = &result.value {
                    shown.chart = chart::lines(series, start, end, step).unwrap_or_default();
                    drawn = series.iter().take(chart::MOST_LINES).map(|s| told_as(&s.labels)).collect();
                    if series.len() > drawn.len() {
                        let (drawn, all) = (drawn.len(), series.len());
                        shown.undrawn = format!("The chart has the first {drawn} of {all} series.");
                    }
                }
            }
            Err(e) => failed = Some(e),
        }
    }
    let row = |(labels, value): (String, String)| {
        let class = drawn.iter().position(|d| *d == labels).map_or(99, |i| i % 6);
        Row { class, labels, value }
    };
    shown.rows = rows.into_iter().map(row).collect();
    failed.map_or(Ok(()), Err)
}

/// A series as people write it, with its name before the braces.
fn told_as(labels: &Labels) -> String {
    let name = labels.metric_name();
    if !is_legacy_metric_name(name) {
        return labels.to_string();
    }
    let others = labels.drop(&[METRIC_NAME]);
    if others.is_empty() { name.to_owned() } else { format!("{name}{others}") }
}

/// A result as rows of labels and values, and how many there would be.
fn rows(value: &QueryValue) -> (Vec<(String, String)>, usize) {
    let text = |v: &Value| match v {
        Value::Float(v) => number::format(*v),
        Value::Histogram(h) => {
            format!("histogram of {} observations, sum {}", number::format(h.count), number::format(h.sum))
        }
    };
    match value {
        QueryValue::Vector(samples) => {
            let rows = samples.iter().take(MOST_ROWS).map(|s| (told_as(&s.labels), text(&s.value)));
            (rows.collect(), samples.len())
        }
        QueryValue::Scalar { value, .. } => (vec![("scalar".to_owned(), number::format(*value))], 1),
        QueryValue::String { value, .. } => (vec![("string".to_owned(), value.clone())], 1),
        QueryValue::Matrix(series) => {
            let last = |s: &RangeSeries| s.points.last().map_or_else(String::new, |(_, v)| text(v));
            let rows = series.iter().take(MOST_ROWS).map(|s| (told_as(&s.labels), last(s)));
            (rows.collect(), series.len())
        }
    }
}

/// The query's text in pieces, those at which the parser stumbles marked. Empty where it does not.
fn marked(query: &str) -> Vec<Piece> {
    /// Longer texts are no help beside a message that has their line and column.
    const MOST_BYTES: usize = 10_000;
    let Err(problems) = promql::parse(query) else { return Vec::new() };
    if query.len() > MOST_BYTES {
        return Vec::new();
    }
    let mut spans: Vec<(usize, usize)> = problems.iter().map(|p| (p.span.start, p.span.end)).collect();
    spans.sort_unstable();
    let (mut out, mut at) = (Vec::new(), 0);
    let mut piece = |wrong, from: usize, to: usize| {
        if let Some(text) = query.get(from..to) {
            out.push(Piece { wrong, text: text.to_owned() });
        }
    };
    for (start, end) in spans {
        let (start, end) = (start.max(at).min(query.len()), end.min(query.len()));
        if start < at || end < start {
            continue;
        }
        piece(false, at, start);
        piece(true, start, end);
        at = end;
    }
    piece(false, at, query.len());
    // Something is missing at the end: there is nothing to mark but the place.
    for p in out.iter_mut().filter(|p| p.wrong && p.text.is_empty()) {
        " ".clone_into(&mut p.text);
    }
    out.retain(|p| p.wrong || !p.text.is_empty());
    out
}

fn tell(step: &Step, depth: usize, out: &mut Vec<Told>) {
    let plural =
        |n: usize, what: &str| format!("{n} {what}{}", if n == 1 || what == "series" { "" } else { "s" });
    let (figures, failed) = match &step.outcome {
        Outcome::Evaluated(f) => {
            let took = f.took.as_secs_f64() * 1000.0;
            let (series, samples) = (plural(f.series, "series"), plural(f.samples, "sample"));
            let read = plural(f.samples_read, "sample");
            (format!("{series}, {samples}; {read} read, {took:.1} ms"), false)
        }
        Outcome::Failed(e) => (e.clone(), true),
        Outcome::Skipped(why) => (format!("not evaluated: {why}"), false),
    };
    let (text, does) = (step.text.clone(), step.does.clone());
    out.push(Told { depth: depth.min(8), text, does, figures, failed });
    step.inside.iter().for_each(|s| tell(s, depth + 1, out));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wrong_place_is_marked_in_the_text() {
        for (query, expect) in [
            ("up", ""),
            ("rte(up[5m]) + 1", "[rte](up[5m]) + 1"),
            ("sum(rate(up))", "sum(rate([up]))"),
            ("(up", "(up[ ]"),
            ("rte(up[5m]) / rate(up)", "[rte](up[5m]) / rate(up)"),
            ("abs(1) + floor(2)", "abs([1]) + floor([2])"),
            ("\u{fc}", "[\u{fc}]"),
        ] {
            let show = |p: &Piece| if p.wrong { format!("[{}]", p.text) } else { p.text.clone() };
            assert_eq!(marked(query).iter().map(show).collect::<String>(), expect);
        }
    }

    #[test]
    fn a_time_may_be_written_in_several_ways() {
        for text in ["2023-11-14 22:13:20", "2023-11-14T22:13:20Z", "1700000000", "2023-11-14T22:13:20"] {
            assert_eq!(moment(text), Ok(1_700_000_000_000), "{text}");
        }
        assert_eq!(moment("2023-11-14T22:13"), Ok(1_699_999_980_000));
        assert!(moment("yesterday").is_err());
    }
}
