//! `/graph`: an expression over time and now. Messages link here.

use super::{Frame, chart, page};
use crate::{
    Plane, Routes,
    access::{Identity, Need},
    api::{Query, When, run_query},
    params::Params,
};
use askama::Template;
use axum::{Extension, response::Response};
use http::Method;
use model::{Value, number};
use promql::{QueryValue, RangeSeries};
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

#[derive(Template)]
#[template(path = "graph.html")]
struct Graph {
    frame: Frame,
    query: String,
    range: String,
    ranges: Vec<String>,
    error: String,
    chart: String,
    rows: Vec<Row>,
    more: usize,
    notes: Vec<String>,
}

/// Rows of the table.
const MOST_ROWS: usize = 200;

/// How long each of a page's two queries may take: together less than a request may.
const PATIENCE: Duration = Duration::from_secs(10);

/// Points of a line: about one for three pixels.
const POINTS: i64 = 240;

async fn answer(plane: &Plane, who: &Identity, params: &Params) -> Response {
    let query = params.get("g0.expr").or_else(|| params.get("expr")).unwrap_or("").to_owned();
    let mut ranges = ["15m", "1h", "6h", "1d", "7d"].map(str::to_owned).to_vec();
    let asked = params.get("g0.range_input").or_else(|| params.get("range")).unwrap_or("1h").to_owned();
    let range =
        if model::duration::parse(&asked).is_ok_and(|d| !d.is_zero()) { asked } else { "1h".to_owned() };
    if !ranges.contains(&range) {
        ranges.push(range.clone());
    }
    let mut shown = Graph {
        frame: Frame::new(plane, who),
        query: query.clone(),
        range: range.clone(),
        ranges,
        error: String::new(),
        chart: String::new(),
        rows: Vec::new(),
        more: 0,
        notes: Vec::new(),
    };
    if !query.trim().is_empty() {
        fill(plane, &query, &range, &mut shown).await;
    }
    page(&shown)
}

async fn fill(plane: &Plane, query: &str, range: &str, shown: &mut Graph) {
    let now = plane.clock.now_ms();
    let ask = |when| {
        let timeout = plane.query_timeout.min(PATIENCE);
        run_query(plane, Query { text: query, when, timeout, lookback: None }, |result, _| result)
    };
    let result = match ask(When::At(now)).await {
        Ok(result) => result,
        Err(e) => {
            shown.error = e.message;
            return;
        }
    };
    let (warnings, infos) = result.annotations.texts(query, 5);
    shown.notes = warnings.into_iter().chain(infos).collect();
    let text = |v: &Value| match v {
        Value::Float(v) => number::format(*v),
        Value::Histogram(h) => {
            format!("histogram of {} observations, sum {}", number::format(h.count), number::format(h.sum))
        }
    };
    let (rows, found): (Vec<(String, String)>, usize) = match &result.value {
        QueryValue::Vector(samples) => {
            let rows = samples.iter().take(MOST_ROWS).map(|s| (s.labels.to_string(), text(&s.value)));
            (rows.collect(), samples.len())
        }
        QueryValue::Scalar { value, .. } => (vec![("scalar".to_owned(), number::format(*value))], 1),
        QueryValue::String { value, .. } => (vec![("string".to_owned(), value.clone())], 1),
        QueryValue::Matrix(series) => {
            let last = |s: &RangeSeries| s.points.last().map_or_else(String::new, |(_, v)| text(v));
            let rows = series.iter().take(MOST_ROWS).map(|s| (s.labels.to_string(), last(s)));
            (rows.collect(), series.len())
        }
    };
    shown.more = found - rows.len();
    let plottable = matches!(result.value, QueryValue::Vector(_) | QueryValue::Scalar { .. });
    let mut drawn: Vec<String> = Vec::new();
    if plottable {
        let length = model::duration::parse(range)
            .map_or(3_600_000, |d| i64::try_from(d.as_millis()).unwrap_or(i64::MAX));
        let step = (length / POINTS).max(1000);
        let (start, end) = (now.saturating_sub(length), now);
        match ask(When::Range { start, end, step }).await {
            Ok(result) => {
                if let QueryValue::Matrix(series) = &result.value {
                    shown.chart = chart::lines(series, start, end, step).unwrap_or_default();
                    drawn = series.iter().take(chart::MOST_LINES).map(|s| s.labels.to_string()).collect();
                }
            }
            Err(e) => shown.error = e.message,
        }
    }
    shown.rows = rows
        .into_iter()
        .map(|(labels, value)| {
            let class = drawn.iter().position(|d| *d == labels).map_or(99, |i| i % 6);
            Row { class, labels, value }
        })
        .collect();
}
