//! The tables of Prometheus's own API tests, outside the repository.
//!
//! They live in `SUITES_DIR` (default `../shared/suites` beside the repository); without them a test says so and
//! passes, unless `SUITES_REQUIRED=1`.

use crate::plane::{NOW_S, Setup, encoded};
use model::{Histogram, Labels, Value as Sample, histogram::Span};
use promql::{InstantSample, QueryValue, RangeSeries};
use serde_json::Value;
use std::{path::PathBuf, sync::Arc};

/// The text of a file of the API's suite.
pub(crate) fn text(name: &str) -> Option<String> {
    text_of(&format!("prometheus-http-api/{name}"))
}

/// The text of a file of any suite.
#[expect(clippy::disallowed_methods, reason = "tests find the suites by environment variables")]
pub(crate) fn text_of(name: &str) -> Option<String> {
    let dir = std::env::var("SUITES_DIR").map_or_else(
        |_| PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../../../shared/suites")),
        PathBuf::from,
    );
    let path = dir.join(name);
    if !path.exists() {
        assert!(std::env::var("SUITES_REQUIRED").as_deref() != Ok("1"), "{} is missing", path.display());
        println!("skipped: {} does not exist", path.display());
        return None;
    }
    Some(std::fs::read_to_string(path).expect("readable"))
}

fn cases(name: &str) -> Vec<Value> {
    let Some(text) = text(name) else { return Vec::new() };
    let table: Value = serde_json::from_str(&text).expect("JSON");
    let cases = table["cases"].as_array().expect("cases").clone();
    assert_eq!(cases.len() as u64, table["_count"].as_u64().expect("count"));
    cases
}

fn float(v: &Value) -> f64 {
    match v {
        Value::String(text) => text.parse().expect("a number"),
        v => v.as_f64().unwrap_or(0.0),
    }
}

fn labels(v: &Value) -> Labels {
    serde_json::from_value(v.clone()).expect("labels")
}

fn items(v: &Value) -> impl Iterator<Item = &Value> {
    v.as_array().into_iter().flatten()
}

fn spans(v: &Value) -> Vec<Span> {
    let number = |v: &Value| i32::try_from(v.as_i64().unwrap_or(0)).expect("small");
    items(v)
        .map(|s| Span { offset: number(&s["Offset"]), length: number(&s["Length"]).unsigned_abs() })
        .collect()
}

fn histogram(h: &Value) -> Sample {
    Sample::Histogram(Arc::new(Histogram {
        schema: i32::try_from(h["Schema"].as_i64().expect("schema")).expect("small"),
        zero_threshold: float(&h["ZeroThreshold"]),
        zero_count: float(&h["ZeroCount"]),
        count: float(&h["Count"]),
        sum: float(&h["Sum"]),
        positive_spans: spans(&h["PositiveSpans"]),
        positive: items(&h["PositiveBuckets"]).map(float).collect(),
        negative_spans: spans(&h["NegativeSpans"]),
        negative: items(&h["NegativeBuckets"]).map(float).collect(),
        ..Histogram::default()
    }))
}

fn time(v: &Value) -> i64 {
    v["T"].as_i64().unwrap_or(0)
}

fn result(response: &Value) -> Option<QueryValue> {
    if response["$type"] == "promql.FPoint" {
        return Some(QueryValue::Scalar { at: time(response), value: float(&response["F"]) });
    }
    match response["ResultType"].as_str()? {
        "vector" => {
            let sample = |s: &Value| InstantSample {
                labels: labels(&s["Metric"]),
                at: time(s),
                value: if s["H"].is_null() { Sample::Float(float(&s["F"])) } else { histogram(&s["H"]) },
            };
            Some(QueryValue::Vector(items(&response["Result"]).map(sample).collect()))
        }
        "matrix" => {
            let series = |s: &Value| {
                let floats = items(&s["Floats"]).map(|p| (time(p), Sample::Float(float(&p["F"]))));
                let histograms = items(&s["Histograms"]).map(|p| (time(p), histogram(&p["H"])));
                RangeSeries { labels: labels(&s["Metric"]), points: floats.chain(histograms).collect() }
            };
            Some(QueryValue::Matrix(items(&response["Result"]).map(series).collect()))
        }
        _ => None,
    }
}

#[test]
fn results_are_written_byte_for_byte_as_prometheus_writes_them() {
    let cases = cases("json_encoding.json");
    let (mut written, mut exemplars) = (0, 0);
    for case in &cases {
        let expected = case["expected"].as_str().expect("text");
        let Some(value) = result(&case["response"]) else {
            assert!(expected.contains("exemplars"), "{case}");
            exemplars += 1;
            continue;
        };
        let mut data = String::new();
        web::api::write_value(&mut data, &value, 0);
        // The suite writes bare points; here they stand in a scalar.
        let data = match &value {
            QueryValue::Scalar { .. } => data
                .strip_prefix("{\"resultType\":\"scalar\",\"result\":")
                .and_then(|d| d.strip_suffix('}'))
                .expect("a scalar")
                .to_owned(),
            _ => data,
        };
        assert_eq!(format!("{{\"status\":\"success\",\"data\":{data}}}"), expected);
        written += 1;
    }
    if !cases.is_empty() {
        println!("{written} encodings are right, {exemplars} are of exemplars, which Vigie has none of");
        assert_eq!((written, exemplars), (19, 2));
    }
}

#[tokio::test]
async fn times_are_read_as_prometheus_reads_them() {
    let cases = cases("parse_time.json");
    let vigie = Setup::default().start().await;
    for case in &cases {
        let (input, expected) = match &case["input"] {
            Value::String(text) => (text.as_str(), case["result"].as_i64()),
            // Go's smallest and largest time: they stand for everything there is.
            _ if case["result"] == "MinTime" => ("-292273086-05-16T16:47:06Z", Some(i64::MIN)),
            _ => ("292277025-08-18T07:12:54.999999999Z", Some(i64::MAX)),
        };
        // An empty time is an absent one for `query`, and wrong where it must be there.
        let params = [("query", "1"), ("start", input), ("end", input), ("step", "1")];
        let answer = vigie.ask("/api/v1/query_range", &params).await;
        let Some(expected) = expected else {
            assert_eq!(answer.status, 400, "{input:?}: {}", answer.text);
            continue;
        };
        let mut text = String::new();
        web::api::write_value(&mut text, &QueryValue::Scalar { at: expected, value: 1.0 }, 0);
        let point = text.split("\"result\":").nth(1).expect("a point").trim_end_matches('}');
        assert!(answer.text.contains(&format!("\"values\":[{point}]")), "{input:?}: {}", answer.text);
    }
    if !cases.is_empty() {
        println!("{} times", cases.len());
    }
}

#[tokio::test]
async fn a_time_that_is_absent_has_a_default_and_a_wrong_one_is_told() {
    let vigie = Setup::default().start().await;
    for case in &cases("parse_time_param.json") {
        let text = |key: &str| case[key].as_str().expect("text").to_owned();
        // The suite's third name stands for any.
        let name = if case["paramName"] == "foo" { "end".to_owned() } else { text("paramName") };
        let value = text("paramValue");
        let params = [("match[]", "up"), (&*name, &*value), ("end", "1582468023986")];
        let answer = vigie.ask("/api/v1/series", &params).await;
        let wrong = !case["result"]["asError"].is_null();
        assert_eq!(answer.status, if wrong { 400 } else { 200 }, "{case}: {}", answer.text);
        if wrong {
            assert!(answer.text.contains("\\\"end\\\"") && answer.text.contains(&value), "{}", answer.text);
        }
    }
}

#[tokio::test]
async fn durations_are_read_as_prometheus_reads_them() {
    let cases = cases("parse_duration.json");
    let vigie = Setup::default().start().await;
    for case in &cases {
        let input = case["input"].as_str().expect("text");
        let ask = |end: i64| {
            let end = format!("{}.{:03}", end / 1000, end % 1000);
            let path = format!(
                "/api/v1/query_range?{}",
                encoded(&[("query", "1"), ("start", NOW_S), ("end", &end), ("step", input)])
            );
            let vigie = &vigie;
            async move { vigie.get(&path).await }
        };
        let Some(ns) = case["result"].as_i64() else {
            let answer = ask(crate::plane::NOW).await;
            assert_eq!(answer.status, 400, "{input:?}: {}", answer.text);
            assert_eq!(answer.json()["errorType"], "bad_data");
            continue;
        };
        // A step is as long as asked: one point just before it is over, two when it is.
        let step = ns / 1_000_000;
        for (end, points) in [(step - 1, 1), (step, 2)] {
            let answer = ask(crate::plane::NOW + end).await;
            let values = &answer.json()["data"]["result"][0]["values"];
            assert_eq!(values.as_array().map(Vec::len), Some(points), "{input:?}: {}", answer.text);
        }
    }
}
