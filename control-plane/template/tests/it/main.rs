//! The conformance tables of Prometheus's and Alertmanager's templates.

use std::path::PathBuf;

use serde_json::Value as Json;
use template::{
    CallError, FuncSet, Host, MissingKey, Mode, Sample, Template, Value,
    alertmanager::{Alert, Data},
};

/// The folder of the suites, or `None` (said aloud) where there is none and none is required.
#[expect(
    clippy::disallowed_methods,
    clippy::print_stdout,
    reason = "a test reads where its tables are, and says so"
)]
fn suite(name: &str) -> Option<Json> {
    let root = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../..");
    let folder = std::env::var("SUITES_DIR").unwrap_or_else(|_| "../shared/suites".to_owned());
    let path = root.join(folder).join(name);
    let Ok(text) = std::fs::read_to_string(&path) else {
        let required = std::env::var("SUITES_REQUIRED").is_ok_and(|v| v == "1");
        assert!(!required, "{} is required and missing", path.display());
        println!("skipped: {} is missing", path.display());
        return None;
    };
    Some(serde_json::from_str(&text).expect("the suite is JSON"))
}

struct TestHost {
    now_ms: i64,
    answer: Vec<Sample>,
}

impl Host for TestHost {
    fn now_ms(&self) -> i64 {
        self.now_ms
    }

    fn query(&self, _: &str) -> Result<Vec<Sample>, CallError> {
        Ok(self.answer.clone())
    }

    fn external_url(&self) -> &str {
        "http://testhost:9090/path/prefix"
    }
}

fn text<'a>(json: &'a Json, key: &str) -> Option<&'a str> {
    json.get(key).and_then(Json::as_str)
}

/// A sample's value: its float, or its histogram as Prometheus prints one without buckets.
fn sample_value(json: &Json) -> Value {
    let histogram = json.get("H").or_else(|| json.get("Value"));
    match histogram {
        Some(h) => {
            let part = |key: &str| h.get(key).cloned().unwrap_or_default();
            Value::str(format!("{{count:{}, sum:{}}}", part("Count"), part("Sum")))
        }
        None => Value::Float(json["F"].as_f64().expect("a float")),
    }
}

fn sample(json: &Json) -> Sample {
    let labels = json.get("Metric").and_then(Json::as_object);
    let labels = labels.into_iter().flatten();
    Sample {
        labels: labels.map(|(k, v)| (k.clone(), v.as_str().expect("text").to_owned())).collect(),
        value: sample_value(json),
    }
}

fn verdict(title: &str, result: Result<String, String>, expect: Option<&str>) -> Option<String> {
    match (result, expect) {
        (Ok(got), Some(want)) if got == want => None,
        (Err(_), None) => None,
        (got, want) => Some(format!("{title}\n  got  {got:?}\n  want {want:?}")),
    }
}

#[test]
fn prometheus_templates_expand_as_prometheus_expands_them() {
    let Some(suite) = suite("prometheus-template/template_expansion.json") else { return };
    let cases = suite["cases"].as_array().expect("cases");
    let failures: Vec<_> = cases
        .iter()
        .filter_map(|case| {
            let source = text(case, "text").expect("text");
            let answer = case.get("queryResult").and_then(Json::as_array);
            let answer: Vec<_> = answer.into_iter().flatten().map(sample).collect();
            // One case has a sample as its input; the answer of a query is how templates meet samples.
            let input = case.get("input").unwrap_or(&Json::Null);
            let is_sample = text(input, "$type") == Some("sample");
            let source =
                if is_sample { source.replace(". |", "query \"x\" | first |") } else { source.to_owned() };
            let answer =
                if is_sample { vec![Sample { labels: vec![], value: sample_value(input) }] } else { answer };
            let data = if is_sample { Value::Nil } else { Value::from_json(input) };
            let strict =
                case["options"].as_array().is_some_and(|o| o.contains(&Json::from("missingkey=error")));
            let html = case["html"] == Json::Bool(true);
            let result = Template::parse("test", &source, &FuncSet::prometheus())
                .map_err(|e| e.to_string())
                .and_then(|t| {
                    let host = TestHost { now_ms: 1_353_755_652_000, answer };
                    t.with_missing_key(if strict { MissingKey::Error } else { MissingKey::Zero })
                        .with_mode(if html { Mode::Html } else { Mode::Text })
                        .execute(&data, &host)
                        .map_err(|e| e.to_string())
                });
            let fails = case["shouldFail"] == Json::Bool(true);
            verdict(&source, result, if fails { None } else { text(case, "output") })
        })
        .collect();
    assert!(cases.len() >= 89, "the suite has {} cases", cases.len());
    assert!(failures.is_empty(), "{} of {} fail:\n{}", failures.len(), cases.len(), failures.join("\n"));
}

fn pairs(json: &Json) -> Option<Vec<(String, String)>> {
    let map = json.as_object()?;
    Some(map.iter().map(|(k, v)| (k.clone(), v.as_str().expect("text").to_owned())).collect())
}

fn data(json: &Json, now_ms: i64) -> Value {
    if let Some(shift) = json.get("now_plus_s").and_then(Json::as_f64) {
        let seconds: i64 = format!("{shift}").parse().expect("whole seconds");
        return time((now_ms + seconds * 1000).to_string().as_str());
    }
    if text(json, "$type") != Some("Data") {
        return match json.as_str() {
            Some(t) if t.contains('T') => time(t),
            _ => Value::from_json(json),
        };
    }
    let alerts = json["Alerts"]["$args"].as_array();
    let alert = |a: &Json| Alert {
        resolved: text(a, "Status") == Some("resolved"),
        labels: pairs(&a["Labels"]),
        ..Alert::default()
    };
    Data {
        alerts: alerts.into_iter().flatten().map(alert).collect(),
        group_labels: pairs(&json["GroupLabels"]),
        common_labels: pairs(&json["CommonLabels"]),
        route_labels: pairs(&json["RouteLabels"]),
        ..Data::default()
    }
    .to_value()
}

/// A time, from milliseconds since 1970 or from its civil form in UTC.
fn time(text: &str) -> Value {
    let stamp = match text.parse::<i64>() {
        Ok(ms) => jiff::Timestamp::from_millisecond(ms).expect("in range"),
        Err(_) => format!("{text}Z").parse().expect("a time"),
    };
    Value::Time(std::sync::Arc::new(stamp.to_zoned(jiff::tz::TimeZone::UTC)))
}

#[test]
fn alertmanager_templates_expand_as_alertmanager_expands_them() {
    let now_ms = 1_700_000_000_000;
    for (file, least) in
        [("alertmanager/template_expansion.json", 43), ("alertmanager/template_funcs.json", 25)]
    {
        let Some(suite) = suite(file) else { return };
        let cases = suite["cases"].as_array().expect("cases");
        let failures: Vec<_> = cases
            .iter()
            .filter_map(|case| {
                let title = text(case, "title").expect("title");
                let html = case["html"] == Json::Bool(true);
                let data = data(case.get("data").unwrap_or(&Json::Null), now_ms);
                let result = Template::parse("", text(case, "in").expect("in"), &FuncSet::alertmanager())
                    .map_err(|e| e.to_string())
                    .and_then(|t| {
                        t.with_mode(if html { Mode::Html } else { Mode::Text })
                            .execute(&data, &TestHost { now_ms, answer: Vec::new() })
                            .map_err(|e| e.to_string())
                    });
                verdict(title, result, text(case, "exp"))
            })
            .collect();
        assert!(cases.len() >= least, "{file} has {} cases", cases.len());
        assert!(failures.is_empty(), "{file}: {} fail:\n{}", failures.len(), failures.join("\n"));
    }
}
