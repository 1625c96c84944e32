//! Running the commands of a script against the engine and judging the results.

use crate::{
    nhcb,
    script::{self, Command, Eval, Pattern, Times},
};
use model::{Cancel, Histogram, Value, is_stale_nan};
use promql::{
    Engine, EngineConfig, Expr, MemoryStore, QueryResult, QueryValue,
    ast::{At, ExprKind},
    parse::series::{SeriesDescription, SeriesValue},
};

/// How a script went: evals that passed, and the lines of those that did not, with the reason.
#[derive(Debug, Default)]
pub(crate) struct Report {
    pub(crate) passed: usize,
    pub(crate) failed: Vec<(usize, String)>,
}

/// Prometheus's own test engine: everything on.
pub(crate) fn engine() -> Engine {
    Engine::new(EngineConfig {
        lookback: 300_000,
        max_samples: 1_000_000,
        experimental: true,
        delayed_name_removal: true,
        start_times: true,
        ..EngineConfig::default()
    })
}

pub(crate) fn run(text: &str) -> Report {
    let (lines, faults) = script::read(text);
    let engine = engine();
    let store = MemoryStore::new();
    let mut report = Report { failed: faults, ..Report::default() };
    for line in &lines {
        match &line.command {
            Command::Clear => store.clear(),
            Command::Load { interval, series, with_nhcb } => {
                let converted = if *with_nhcb { nhcb::convert(series) } else { Vec::new() };
                let loaded =
                    load(&store, *interval, series).and_then(|()| load(&store, *interval, &converted));
                report.failed.extend(loaded.err().map(|why| (line.number, why)));
            }
            Command::Eval(eval) => match check(&engine, &store, eval) {
                Ok(()) => report.passed += 1,
                Err(why) => report.failed.push((line.number, format!("{}: {why}", eval.text))),
            },
        }
    }
    report.failed.sort();
    report
}

fn load(store: &MemoryStore, interval: i64, series: &[SeriesDescription]) -> Result<(), String> {
    for s in series.iter().filter(|s| !s.is_start_times) {
        let starts = series.iter().find(|other| other.is_start_times && other.labels == s.labels);
        store.load(s, starts, 0, interval).map_err(|e| format!("{}: {e}", s.labels))?;
    }
    Ok(())
}

fn evaluate(engine: &Engine, store: &MemoryStore, expr: &Expr, times: Times) -> Result<QueryResult, String> {
    let cancel = Cancel::default();
    let result = match times {
        Times::Instant(at) => engine.instant(store, expr, at, &cancel),
        Times::Range { start, end, step } => engine.range(store, expr, start, end, step, &cancel),
    };
    result.map_err(|e| e.to_string())
}

fn check(engine: &Engine, store: &MemoryStore, eval: &Eval) -> Result<(), String> {
    let result = match &eval.expr {
        Ok(expr) => evaluate(engine, store, expr, eval.times),
        Err(e) => Err(e.clone()),
    };
    let result = match (result, eval.expect.fail.is_empty()) {
        (Ok(result), true) => result,
        (Ok(_), false) => return Err("must fail but did not".to_owned()),
        (Err(e), true) => return Err(format!("fails: {e}")),
        (Err(e), false) => {
            let unmet = eval.expect.fail.iter().find(|p| !p.matches(&e));
            return unmet.map_or(Ok(()), |p| Err(format!("expected error {p:?} but got: {e}")));
        }
    };
    annotations(eval, &result)?;
    compare(eval, &result, eval.expect.ordered)?;
    match (&eval.expr, eval.times) {
        (Ok(expr), Times::Instant(at)) => again(engine, store, eval, expr, at),
        (Ok(expr), Times::Range { start, end, step }) => {
            one_by_one(engine, store, expr, &result, (start, end, step))
        }
        _ => Ok(()),
    }
}

fn annotations(eval: &Eval, result: &QueryResult) -> Result<(), String> {
    let (warnings, infos) = result.annotations.texts(&eval.text, 0);
    let e = &eval.expect;
    for (name, found, wanted, none) in
        [("warning", warnings, &e.warn, e.no_warn), ("info", infos, &e.info, e.no_info)]
    {
        if none && !found.is_empty() {
            return Err(format!("unexpected {name} annotations: {found:?}"));
        }
        if let Some(p) = wanted.iter().find(|p| !found.iter().any(|f| p.matches(f))) {
            return Err(format!("expected {name} annotation matching {p:?} but found {found:?}"));
        }
        if !wanted.is_empty()
            && let Some(extra) = found.iter().find(|f| !wanted.iter().any(|p: &Pattern| p.matches(f)))
        {
            return Err(format!("unexpected {name} annotation: {extra}"));
        }
    }
    Ok(())
}

/// Everything that does not depend on the evaluation time must come out the same with the time fixed by `@`,
/// and in the middle of a range query.
fn again(engine: &Engine, store: &MemoryStore, eval: &Eval, expr: &Expr, at: i64) -> Result<(), String> {
    const UNSAFE: [&str; 17] = [
        "day_of_month",
        "day_of_week",
        "day_of_year",
        "days_in_month",
        "hour",
        "minute",
        "month",
        "predict_linear",
        "time",
        "timestamp",
        "year",
        "start_timestamp",
        "start",
        "end",
        "step",
        "range",
        "info",
    ];
    let mut depends = expr.to_string().contains("step()") || expr.to_string().contains("range()");
    let mut sorts = eval.expect.ordered;
    expr.walk(&mut |e| {
        if let ExprKind::Call(c) = &e.kind {
            depends |= UNSAFE.contains(&c.function.name);
            sorts |= c.function.name.starts_with("sort");
        }
    });
    if !depends {
        let mut fixed = expr.clone();
        fix(&mut fixed, at);
        for t in [at * -10, 0, at / 5, at, at * 10] {
            let result = evaluate(engine, store, &fixed, Times::Instant(t))
                .map_err(|e| format!("@ {at} at {t}: {e}"))?;
            compare(eval, &result, eval.expect.ordered)
                .map_err(|e| format!("with @ {at}, evaluated at {t}: {e}"))?;
        }
    }
    let shown_in_range =
        matches!(expr.value_type(), promql::ast::ValueType::Scalar | promql::ast::ValueType::Vector);
    if !shown_in_range
        || sorts
        || expr.to_string().contains("step()")
        || expr.to_string().contains("range()")
        || expr.to_string().contains("start()")
        || expr.to_string().contains("end()")
    {
        return Ok(());
    }
    let times = Times::Range { start: at - 60_000, end: at + 60_000, step: 60_000 };
    let ranged = match evaluate(engine, store, expr, times) {
        Ok(ranged) => ranged,
        // Neighbouring steps may fail where this one does not.
        Err(e)
            if e.contains("same labelset")
                || e.contains("matching")
                || e.contains("matches")
                || e.contains("NaN") =>
        {
            return Ok(());
        }
        Err(e) => return Err(format!("as a range query: {e}")),
    };
    let QueryValue::Matrix(series) = ranged.value else {
        return Err("as a range query: no matrix".to_owned());
    };
    let samples = series
        .into_iter()
        .filter_map(|s| {
            let (_, value) = s.points.into_iter().find(|(t, _)| *t == at)?;
            Some(promql::InstantSample { labels: s.labels, at, value })
        })
        .collect::<Vec<_>>();
    let value = match (eval.scalar, &samples[..]) {
        (Some(_), [promql::InstantSample { value: Value::Float(v), .. }]) => {
            QueryValue::Scalar { at, value: *v }
        }
        _ => QueryValue::Vector(samples),
    };
    let QueryResult { annotations, stats, lease, .. } = ranged;
    let middle = QueryResult { value, annotations, stats, steps: None, lease };
    compare(eval, &middle, false).map_err(|e| format!("in the middle of a range query: {e}"))
}

/// A range query must give at each step what an instant query gives there.
fn one_by_one(
    engine: &Engine,
    store: &MemoryStore,
    expr: &Expr,
    result: &QueryResult,
    (start, end, step): (i64, i64, i64),
) -> Result<(), String> {
    let QueryValue::Matrix(series) = &result.value else { return Err("no matrix".to_owned()) };
    let text = expr.to_string();
    if ["step()", "range()", "start()", "end()"].iter().any(|f| text.contains(f)) {
        return Ok(());
    }
    let mut at = start;
    while at <= end {
        let instant = evaluate(engine, store, expr, Times::Instant(at))?;
        let found = match instant.value {
            QueryValue::Vector(found) => found,
            QueryValue::Scalar { at, value } => {
                vec![promql::InstantSample {
                    labels: model::Labels::default(),
                    at,
                    value: Value::Float(value),
                }]
            }
            _ => return Err("neither vector nor scalar".to_owned()),
        };
        let here = |s: &promql::RangeSeries| s.points.iter().find(|(t, _)| *t == at).map(|(_, v)| v.clone());
        let count = series.iter().filter(|s| here(s).is_some()).count();
        if count != found.len() {
            return Err(format!(
                "an instant query at {at} gives {} series, the range query {count}",
                found.len()
            ));
        }
        for sample in found {
            let ranged = series.iter().find(|s| s.labels == sample.labels).and_then(here);
            let wanted = match &sample.value {
                Value::Float(v) => SeriesValue::Float(*v),
                Value::Histogram(h) => {
                    SeriesValue::Histogram { histogram: std::sync::Arc::clone(h), reset_given: false }
                }
            };
            let Some(ranged) = ranged else {
                return Err(format!(
                    "an instant query at {at} gives {}, the range query does not",
                    sample.labels
                ));
            };
            same(&wanted, &ranged)
                .map_err(|e| format!("{} at {at} as an instant query: {e}", sample.labels))?;
        }
        at += step;
    }
    Ok(())
}

/// Fixes all outermost selectors and subqueries that are not fixed yet.
fn fix(expr: &mut Expr, at: i64) {
    match &mut expr.kind {
        ExprKind::Selector(s) => {
            s.at.get_or_insert(At::Time(at));
        }
        ExprKind::Subquery(s) => {
            s.at.get_or_insert(At::Time(at));
        }
        ExprKind::Number(_) | ExprKind::String(_) => {}
        ExprKind::Call(c) => c.args.iter_mut().for_each(|a| fix(a, at)),
        ExprKind::Aggregate(a) => {
            if let Some(param) = &mut a.param {
                fix(param, at);
            }
            fix(&mut a.expr, at);
        }
        ExprKind::Binary(b) => {
            fix(&mut b.lhs, at);
            fix(&mut b.rhs, at);
        }
        ExprKind::Unary { expr, .. } | ExprKind::Paren(expr) => fix(expr, at),
    }
}

fn compare(eval: &Eval, result: &QueryResult, ordered: bool) -> Result<(), String> {
    match (&result.value, eval.times) {
        (QueryValue::String { value, .. }, _) => match &eval.expect.string {
            Some(wanted) if wanted == value => Ok(()),
            wanted => Err(format!("expected string {wanted:?} but got {value:?}")),
        },
        (QueryValue::Scalar { value, .. }, _) => match eval.scalar {
            Some(wanted) if almost_equal(wanted, *value) => Ok(()),
            wanted => Err(format!("expected scalar {wanted:?} but got {value}")),
        },
        (QueryValue::Vector(found), _) => {
            if eval.scalar.is_some() {
                return Err(format!("expected scalar result, but got a vector of {}", found.len()));
            }
            if eval.expect.string.is_some() {
                return Err("expected a string, but got a vector".to_owned());
            }
            let wanted = &eval.samples;
            for (i, sample) in found.iter().enumerate() {
                let place = wanted.iter().position(|w| w.labels == sample.labels);
                let Some(place) = place else {
                    return Err(format!(
                        "unexpected metric {} in result: {}",
                        sample.labels,
                        show(&sample.value)
                    ));
                };
                if ordered && place != i {
                    return Err(format!(
                        "expected metric {} at position {place} but it is at {i}",
                        sample.labels
                    ));
                }
                let Some(value) = wanted[place].values.first() else {
                    return Err(format!("no value expected for {}", sample.labels));
                };
                same(value, &sample.value).map_err(|e| format!("{}: {e}", sample.labels))?;
            }
            match wanted.iter().find(|w| !found.iter().any(|f| f.labels == w.labels)) {
                Some(missing) => Err(format!("expected metric {} not found", missing.labels)),
                None => Ok(()),
            }
        }
        (QueryValue::Matrix(found), times) => {
            let (start, step) = match (times, eval.expect.range_vector) {
                (Times::Range { start, step, .. }, _) => (start, step),
                (Times::Instant(_), Some(times)) => times,
                (Times::Instant(_), None) => return Err("unexpected range vector".to_owned()),
            };
            for series in found {
                let Some(wanted) = eval.samples.iter().find(|w| w.labels == series.labels) else {
                    return Err(format!("unexpected metric {} in result", series.labels));
                };
                let mut at = start;
                let mut points = Vec::new();
                for value in &wanted.values {
                    if *value != SeriesValue::Omitted {
                        points.push((at, value));
                    }
                    at += step;
                }
                let shown = || {
                    let all: Vec<String> =
                        series.points.iter().map(|(t, v)| format!("{} @{t}", show(v))).collect();
                    all.join(", ")
                };
                if points.len() != series.points.len() {
                    return Err(format!(
                        "{}: expected {} points but got {}: {}",
                        series.labels,
                        points.len(),
                        series.points.len(),
                        shown()
                    ));
                }
                for ((at, wanted), (time, value)) in points.iter().zip(&series.points) {
                    if at != time {
                        return Err(format!(
                            "{}: expected a point at {at}, got one at {time}: {}",
                            series.labels,
                            shown()
                        ));
                    }
                    same(wanted, value)
                        .map_err(|e| format!("{} at {time}: {e}; all: {}", series.labels, shown()))?;
                }
            }
            let empty = |w: &SeriesDescription| w.values.iter().all(|v| *v == SeriesValue::Omitted);
            match eval.samples.iter().find(|w| !empty(w) && !found.iter().any(|f| f.labels == w.labels)) {
                Some(missing) => Err(format!("expected metric {} not found", missing.labels)),
                None => Ok(()),
            }
        }
    }
}

fn show(value: &Value) -> String {
    match value {
        Value::Float(v) => v.to_string(),
        Value::Histogram(h) => format!("{h:?}"),
    }
}

fn same(wanted: &SeriesValue, found: &Value) -> Result<(), String> {
    let fine = match (wanted, found) {
        (SeriesValue::Float(w), Value::Float(f)) => almost_equal(*w, *f),
        (SeriesValue::Histogram { histogram, reset_given }, Value::Histogram(f)) => {
            same_histogram(histogram, f) && (!reset_given || histogram.reset == f.reset)
        }
        _ => false,
    };
    if fine {
        return Ok(());
    }
    let wanted = match wanted {
        SeriesValue::Omitted => "nothing".to_owned(),
        SeriesValue::Float(v) => v.to_string(),
        SeriesValue::Histogram { histogram, .. } => format!("{histogram:?}"),
    };
    Err(format!("expected {wanted} but got {}", show(found)))
}

fn same_histogram(a: &Histogram, b: &Histogram) -> bool {
    let buckets = |spans: &[model::Span], counts: &[f64]| {
        let mut out = Vec::new();
        let (mut index, mut k) = (0i32, 0);
        for span in spans {
            index += span.offset;
            for _ in 0..span.length {
                if counts[k] != 0.0 {
                    out.push((index, counts[k]));
                }
                index += 1;
                k += 1;
            }
        }
        out
    };
    let all = |x: Vec<(i32, f64)>, y: Vec<(i32, f64)>| {
        x.len() == y.len() && x.iter().zip(&y).all(|(p, q)| p.0 == q.0 && almost_equal(p.1, q.1))
    };
    a.schema == b.schema
        && almost_equal(a.count, b.count)
        && almost_equal(a.sum, b.sum)
        && (a.uses_custom_buckets()
            || a.zero_threshold == b.zero_threshold && almost_equal(a.zero_count, b.zero_count))
        && a.custom_bounds.as_deref().unwrap_or(&[]) == b.custom_bounds.as_deref().unwrap_or(&[])
        && all(buckets(&a.positive_spans, &a.positive), buckets(&b.positive_spans, &b.positive))
        && all(buckets(&a.negative_spans, &a.negative), buckets(&b.negative_spans, &b.negative))
}

/// Prometheus's rule: relative error below 1e-6.
fn almost_equal(a: f64, b: f64) -> bool {
    const EPSILON: f64 = 0.000_001;
    if is_stale_nan(a) || is_stale_nan(b) {
        return is_stale_nan(a) && is_stale_nan(b);
    }
    if a.is_nan() && b.is_nan() || a == b {
        return true;
    }
    let (sum, difference) = (a.abs() + b.abs(), (a - b).abs());
    if a == 0.0 || b == 0.0 || sum < f64::MIN_POSITIVE {
        return difference < EPSILON * f64::MIN_POSITIVE;
    }
    difference / sum.min(f64::MAX) < EPSILON
}
