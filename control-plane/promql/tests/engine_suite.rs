//! Prometheus's engine tables: `@`, subqueries and extended selectors at the top of a query, remarks about rates.
//!
//! They live in `SUITES_DIR` (default `../shared/suites` beside the repository); without them the tests say so and
//! pass, unless `SUITES_REQUIRED=1`.

#![expect(clippy::print_stdout, reason = "a suite says what it counted or skipped")]

use model::{Cancel, Labels, Value as Sample};
use promql::{Engine, EngineConfig, MemoryStore, QueryValue, parse, parse::series};
use serde_json::Value;
use std::{fs, path::PathBuf};

#[expect(clippy::disallowed_methods, reason = "tests find the suites by environment variables")]
fn table(name: &str) -> Option<Value> {
    let dir = std::env::var("SUITES_DIR").map_or_else(
        |_| PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../../../shared/suites")),
        PathBuf::from,
    );
    let path = dir.join("prometheus-promql-engine").join(name);
    if !path.exists() {
        assert!(std::env::var("SUITES_REQUIRED").as_deref() != Ok("1"), "{} is missing", path.display());
        println!("skipped: {} does not exist", path.display());
        return None;
    }
    let text = fs::read_to_string(path).expect("the table is readable");
    Some(serde_json::from_str(&text).expect("the table is JSON"))
}

/// A store with the series of a `load` command.
fn load(script: &str, store: &MemoryStore) {
    let mut interval = 0;
    for line in script.lines().map(str::trim).filter(|l| !l.is_empty()) {
        if let Some(text) = line.strip_prefix("load ") {
            interval =
                i64::try_from(model::duration::parse(text).expect("an interval").as_millis()).expect("fits");
        } else {
            let series = series::parse_series(line).expect("a series");
            store.load(&series, None, 0, interval).expect("in order");
        }
    }
}

fn engine(type_labels: bool) -> Engine {
    Engine::new(EngineConfig { experimental: true, type_labels, ..EngineConfig::default() })
}

type Found = Vec<(Labels, Vec<(i64, f64)>)>;

fn float(v: &Sample) -> f64 {
    match v {
        Sample::Float(v) => *v,
        Sample::Histogram(_) => f64::NAN,
    }
}

fn found(value: QueryValue) -> Found {
    match value {
        QueryValue::Vector(samples) => {
            samples.into_iter().map(|s| (s.labels, vec![(s.at, float(&s.value))])).collect()
        }
        QueryValue::Matrix(series) => series
            .into_iter()
            .map(|s| (s.labels, s.points.iter().map(|(t, v)| (*t, float(v))).collect()))
            .collect(),
        other => panic!("unexpected {other:?}"),
    }
}

fn expected(value: &Value) -> Found {
    let point = |p: &Value| (p["T"].as_i64().unwrap_or(0), p["F"].as_f64().unwrap_or(0.0));
    let mut out: Found = value
        .as_array()
        .into_iter()
        .flatten()
        .map(|s| {
            let labels = s["Metric"].as_object().into_iter().flatten();
            let labels = labels.map(|(k, v)| (k.as_str(), v.as_str().unwrap_or(""))).collect();
            let points =
                s["Floats"].as_array().map_or_else(|| vec![point(s)], |f| f.iter().map(point).collect());
            (labels, points)
        })
        .collect();
    out.sort_by(|a, b| a.0.cmp(&b.0));
    out
}

fn check(store: &MemoryStore, query: &str, times: (i64, Option<(i64, i64)>), want: &Found) {
    let expr = parse(query).unwrap_or_else(|e| panic!("{query}: {e}"));
    let cancel = Cancel::default();
    let result = match times {
        (at, None) => engine(false).instant(store, &expr, at, &cancel),
        (start, Some((end, step))) => engine(false).range(store, &expr, start, end, step, &cancel),
    };
    let mut got = found(result.unwrap_or_else(|e| panic!("{query}: {e}")).value);
    got.sort_by(|a, b| a.0.cmp(&b.0));
    let close = |a: &(i64, f64), b: &(i64, f64)| a.0 == b.0 && (a.1 - b.1).abs() <= 1e-6 * a.1.abs().max(1.0);
    let same = got.len() == want.len()
        && got.iter().zip(want).all(|(g, w)| {
            g.0 == w.0 && g.1.len() == w.1.len() && g.1.iter().zip(&w.1).all(|(a, b)| close(a, b))
        });
    assert!(same, "{query} at {times:?}: expected {want:?} but got {got:?}");
}

#[test]
fn the_at_modifier_fixes_the_time() {
    let Some(table) = table("at_modifier_cases.json") else { return };
    let store = MemoryStore::new();
    load(
        "load 10s\n metric{job=\"1\"} 0+1x1000\n metric{job=\"2\"} 0+2x1000\n metric_topk{instance=\"1\"} 0+1x1000\n metric_topk{instance=\"2\"} 0+2x1000\n metric_topk{instance=\"3\"} 1000-1x1000\nload 1ms\n metric_ms 0+1x10000",
        &store,
    );
    let negative = Labels::from_pairs([("__name__", "metric_neg")]);
    for second in -1000..=0i32 {
        let value = Sample::Float(f64::from(1 - second));
        store.push(&negative, i64::from(second) * 1000, value, None).expect("in order");
    }
    let stamped = Labels::from_pairs([("__name__", "metric_timestamp")]);
    store.push(&stamped, 3_600_000, Sample::Float(1000.0), None).expect("in order");
    for case in table["cases"].as_array().expect("cases") {
        let ms = |key: &str| case[key].as_i64().map(|s| s * 1000);
        let range = ms("end").zip(ms("interval"));
        let query = case["query"].as_str().expect("a query");
        check(&store, query, (ms("start").unwrap_or(0), range), &expected(&case["result"]));
    }
}

#[test]
fn a_subquery_gives_points_at_multiples_of_its_step() {
    let Some(table) = table("subquery_selector_cases.json") else { return };
    for group in table["cases"].as_array().expect("groups") {
        let store = MemoryStore::new();
        load(group["loadString"].as_str().expect("a script"), &store);
        for case in group["cases"].as_array().expect("cases") {
            let query = case["Query"].as_str().expect("a query");
            check(
                &store,
                query,
                (case["Start"].as_i64().unwrap_or(0), None),
                &expected(&case["Result"]["$args"][1]),
            );
        }
    }
}

#[test]
fn an_extended_range_has_points_at_its_edges() {
    let Some(table) = table("extended_range_selector_cases.json") else { return };
    let store = MemoryStore::new();
    load("load 10s\n metric 1+1x10\n withreset 1+1x4 1+1x5\n notregular 0 5 100 2 8", &store);
    for case in table["cases"].as_array().expect("cases") {
        let query = case["query"].as_str().expect("a query");
        check(&store, query, (case["t"].as_i64().unwrap_or(0), None), &expected(&case["expected"]));
    }
}

#[test]
fn a_rate_of_what_is_no_counter_is_remarked() {
    let Some(table) = table("rate_annotations.json") else { return };
    for case in table["cases"].as_array().expect("cases") {
        let store = MemoryStore::new();
        load(&format!("load 1m\n{}", case["data"].as_str().unwrap_or("")), &store);
        let query = case["expr"].as_str().expect("a query");
        let engine = engine(case["typeAndUnitLabelsEnabled"] == true);
        let expr = parse(query).expect("parses");
        let result = engine.instant(&store, &expr, 60_000, &Cancel::default()).expect("evaluates");
        let texts = |key: &str| -> Vec<String> {
            let all = case[key].as_array().into_iter().flatten();
            all.filter_map(|t| t.as_str().map(ToOwned::to_owned)).collect()
        };
        let (warnings, infos) = result.annotations.texts(query, 0);
        assert_eq!(warnings, texts("expectedWarningAnnotations"), "{}", case["name"]);
        assert_eq!(infos, texts("expectedInfoAnnotations"), "{}", case["name"]);
    }
}
