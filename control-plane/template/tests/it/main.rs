//! The conformance tables of Prometheus's and Alertmanager's templates, and templates that nobody would write.

mod anything;

use std::path::{Path, PathBuf};

use serde_json::Value as Json;
use template::{
    AlertText, CallError, FuncSet, Host, MissingKey, Mode, Sample, Template, Value,
    alertmanager::{Alert, Data},
};

/// Where a suite is, or `None` (said aloud) where it is missing and not required.
#[expect(
    clippy::disallowed_methods,
    clippy::print_stdout,
    reason = "a test reads where its tables are, and says so"
)]
fn suite_path(name: &str) -> Option<PathBuf> {
    let root = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../..");
    let folder = std::env::var("SUITES_DIR").unwrap_or_else(|_| "../shared/suites".to_owned());
    let path = root.join(folder).join(name);
    if !path.exists() {
        let required = std::env::var("SUITES_REQUIRED").is_ok_and(|v| v == "1");
        assert!(!required, "{} is required and missing", path.display());
        println!("skipped: {} is missing", path.display());
        return None;
    }
    Some(path)
}

fn suite(name: &str) -> Option<Json> {
    let text = std::fs::read_to_string(suite_path(name)?).expect("the suite can be read");
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

fn yaml_files(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(folder).expect("a folder") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            yaml_files(&path, found);
        } else if path.extension().is_some_and(|e| e == "yaml" || e == "yml") {
            found.push(path);
        }
    }
}

#[test]
fn every_text_of_real_alerts_parses_and_expands() {
    let Some(folder) = suite_path("rule-corpus") else { return };
    let mut files = Vec::new();
    yaml_files(&folder, &mut files);
    let labels = [("instance".to_owned(), "a:1".to_owned()), ("job".to_owned(), "b".to_owned())];
    let about = AlertText {
        labels: &labels,
        external_labels: &[],
        external_url: "http://x",
        value: &Value::Float(0.5),
    };
    let sample = Sample { labels: labels.to_vec(), value: Value::Float(1.0) };
    let host = TestHost { now_ms: 0, answer: vec![sample] };
    let (mut texts, mut failures) = (0, Vec::new());
    for file in &files {
        let text = std::fs::read_to_string(file).expect("a file");
        let Ok(yaml) = serde_saphyr::from_str::<Json>(&text) else { continue };
        let rules = yaml["groups"].as_array().into_iter().flatten();
        let rules = rules.flat_map(|g| g["rules"].as_array().into_iter().flatten());
        let fields = rules.flat_map(|r| [&r["annotations"], &r["labels"]]);
        for (name, text) in fields.flat_map(|f| f.as_object().into_iter().flatten()) {
            let Some(text) = text.as_str() else { continue };
            texts += 1;
            let result = template::parse_alert(name, text)
                .map_err(|e| e.to_string())
                .and_then(|t| template::expand_alert(&t, about, &host).map_err(|e| e.to_string()));
            if let Err(e) = result {
                failures.push(format!("{}: {e}\n  {text}", file.display()));
            }
        }
    }
    assert!(texts > 3000, "{texts} texts in {} files", files.len());
    // One alert of the corpus calls a function without its argument, which fails in Prometheus as well.
    failures.retain(|f| !f.contains("({{value}}/65280)"));
    assert!(failures.is_empty(), "{} of {texts} fail:\n{}", failures.len(), failures.join("\n"));
}
