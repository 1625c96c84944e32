//! Prometheus's own parser tables, and every expression of the rule and dashboard corpora.
//!
//! The tables live in `SUITES_DIR` (default `../shared/suites` beside the repository); without them the tests
//! say so and pass, unless `SUITES_REQUIRED=1`.

#![expect(clippy::print_stdout, reason = "a suite says what it counted or skipped")]

use promql::{ast::Expr, parse, parse::series};
use serde_json::Value;
use std::{fs, path::PathBuf};

#[expect(clippy::disallowed_methods, reason = "tests find the suites by environment variables")]
fn suites(part: &str) -> Option<PathBuf> {
    let dir = std::env::var("SUITES_DIR").map_or_else(
        |_| PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../../../shared/suites")),
        PathBuf::from,
    );
    let path = dir.join(part);
    if path.exists() {
        return Some(path);
    }
    assert!(std::env::var("SUITES_REQUIRED").as_deref() != Ok("1"), "{} is missing", path.display());
    println!("skipped: {} does not exist", path.display());
    None
}

fn table(part: &str) -> Option<Value> {
    let text = fs::read_to_string(suites(part)?).expect("the table is readable");
    Some(serde_json::from_str(&text).expect("the table is JSON"))
}

fn cases(table: &Value) -> &[Value] {
    table["cases"].as_array().map_or(&[], Vec::as_slice)
}

/// Printing and parsing again must give the same tree.
fn round_trip(input: &str, tree: &Expr, failures: &mut Vec<String>) {
    let printed = tree.to_string();
    match parse(&printed) {
        Ok(again) if again == *tree => {}
        Ok(_) => failures.push(format!("{input:?} prints as {printed:?}, which parses differently")),
        Err(e) => failures.push(format!("{input:?} prints as {printed:?}: {e}")),
    }
}

fn finish(what: &str, total: usize, failures: &[String]) {
    println!("{what}: {} passed, {} failed", total - failures.len().min(total), failures.len());
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}

#[test]
fn prometheus_expressions_are_accepted_and_refused() {
    let Some(table) = table("prometheus-promql-parser/parse_expressions.json") else { return };
    let (mut failures, mut total, mut same_place, mut refused) = (Vec::new(), 0, 0, 0);
    for case in cases(&table) {
        // Inputs that are not UTF-8 cannot even be asked: the parser takes &str.
        let Some(input) = case["input"].as_str() else { continue };
        total += 1;
        match (parse(input), case["fail"] == true) {
            (Ok(tree), false) => {
                round_trip(input, &tree, &mut failures);
                // Positions of the whole, where the table states them.
                let start = case["ast"]["PosRange"][0].as_u64();
                if let (Some(start), Some(end)) = (start, case["ast"]["PosRange"][1].as_u64())
                    && (tree.span.start as u64, tree.span.end as u64) != (start, end)
                {
                    failures.push(format!("{input:?} stands at {:?}, expected {start}..{end}", tree.span));
                }
            }
            (Err(e), true) => {
                refused += 1;
                let first = e.iter().next().expect("at least one problem");
                same_place +=
                    usize::from(case["errors"][0]["pos"][0].as_u64() == Some(first.span.start as u64));
            }
            (Ok(_), true) => failures.push(format!("{input:?} must not parse: {}", case["errors"])),
            (Err(e), false) => failures.push(format!("{input:?}: {e}")),
        }
    }
    println!("{same_place} of {refused} problems start where Prometheus says");
    finish("parse_expressions", total, &failures);
}

#[test]
fn every_expression_of_real_rules_prints_and_parses_to_the_same_tree() {
    let Some(table) = table("rule-corpus/exprs.json") else { return };
    let mut found = Vec::new();
    collect_exprs(&table, &mut found);
    check_corpus("rule-corpus", found);
}

#[test]
fn every_expression_of_real_dashboards_prints_and_parses_to_the_same_tree() {
    let Some(dir) = suites("grafana/dashboards") else { return };
    let mut found = Vec::new();
    let mut dirs = vec![dir];
    while let Some(dir) = dirs.pop() {
        for entry in fs::read_dir(&dir).expect("the folder is readable") {
            let path = entry.expect("the entry is readable").path();
            if path.is_dir() {
                dirs.push(path);
            } else if path.extension().is_some_and(|e| e == "json") {
                let text = fs::read_to_string(&path).expect("the dashboard is readable");
                collect_exprs(&serde_json::from_str(&text).expect("the dashboard is JSON"), &mut found);
            }
        }
    }
    // Grafana's own functions fill its menus; they are no PromQL.
    found.retain(|e| !["label_values(", "query_result(", "metrics("].iter().any(|f| e.trim().starts_with(f)));
    check_corpus("grafana", found.iter().map(|e| substitute(e)).collect());
}

/// Grafana's variables, as a dashboard would fill them in: durations where only durations fit, words elsewhere.
fn substitute(expr: &str) -> String {
    let mut out = String::new();
    let mut rest = expr;
    while let Some(at) = rest.find('$') {
        out.push_str(rest.split_at(at).0);
        let tail = rest.split_at(at + 1).1;
        let (name, after) = match tail.strip_prefix('{').and_then(|t| t.split_once('}')) {
            Some((name, after)) => (name, after),
            None => tail
                .split_at(tail.find(|c: char| c != '_' && !c.is_ascii_alphanumeric()).unwrap_or(tail.len())),
        };
        let lower = name.to_lowercase();
        let duration = ["interval", "range", "rate", "resolution"].iter().any(|w| lower.contains(w))
            || out.ends_with('[');
        out.push_str(if lower.ends_with("_s") {
            "300"
        } else if duration {
            "5m"
        } else if lower == "topk" {
            "5"
        } else {
            "x"
        });
        rest = after;
    }
    out + rest
}

fn check_corpus(part: &str, mut found: Vec<String>) {
    found.sort();
    found.dedup();
    let mut failures = Vec::new();
    for input in &found {
        match parse(input) {
            Ok(tree) => round_trip(input, &tree, &mut failures),
            Err(e) => failures.push(format!("{input:?}: {e}")),
        }
    }
    assert!(found.len() > 500, "{part}: only {} expressions found", found.len());
    finish(part, found.len(), &failures);
}

/// Expressions by the key under which the corpora hold them.
fn collect_exprs(value: &Value, into: &mut Vec<String>) {
    match value {
        Value::Array(items) => items.iter().for_each(|v| collect_exprs(v, into)),
        Value::Object(map) => {
            if let Some(text) = map.get("expr").and_then(Value::as_str) {
                into.push(text.to_owned());
            }
            map.values().for_each(|v| collect_exprs(v, into));
        }
        _ => {}
    }
}

#[test]
fn series_descriptions_are_read_as_prometheus_reads_them() {
    let Some(table) = table("prometheus-promql-parser/parse_series.json") else { return };
    let mut failures = Vec::new();
    for case in cases(&table) {
        let input = case["input"].as_str().unwrap_or("");
        match (series::parse_series(input), case["fail"] == true) {
            (Err(_), true) => {}
            (Ok(_), true) => failures.push(format!("{input:?} must not parse")),
            (Err(e), false) => failures.push(format!("{input:?}: {e}")),
            (Ok(parsed), false) => {
                let values: Vec<Value> = parsed
                    .values
                    .iter()
                    .map(|v| match v {
                        series::SeriesValue::Float(v) => Value::from(*v),
                        _ => Value::from("_"),
                    })
                    .collect();
                let expected = case["expectedValues"].as_array().cloned().unwrap_or_default();
                let same = values.len() == expected.len()
                    && values
                        .iter()
                        .zip(&expected)
                        .all(|(a, b)| a.as_f64() == b.as_f64() && a.is_string() == b.is_string());
                let labels = case["expectedMetric"].as_object().map_or(0, serde_json::Map::len);
                if !same || labels != parsed.labels.len() {
                    failures
                        .push(format!("{input:?} gives {} {values:?}, expected {expected:?}", parsed.labels));
                }
            }
        }
    }
    finish("parse_series", cases(&table).len(), &failures);
}

#[test]
fn histogram_descriptions_are_read_as_prometheus_reads_them() {
    let Some(table) = table("prometheus-promql-parser/parse_histogram_series.json") else { return };
    let mut failures = Vec::new();
    for case in cases(&table) {
        let input = case["input"].as_str().unwrap_or("");
        match (series::parse_series(input), case["expectedError"].is_string()) {
            (Err(_), true) => {}
            (Ok(_), true) => failures.push(format!("{input:?} must not parse: {}", case["expectedError"])),
            (Err(e), false) => failures.push(format!("{input:?}: {e}")),
            (Ok(parsed), false) => {
                let expected = case["expected"].as_array().map_or(0, Vec::len);
                if parsed.values.len() != expected {
                    failures
                        .push(format!("{input:?} gives {} values, expected {expected}", parsed.values.len()));
                }
                for (value, want) in
                    parsed.values.iter().zip(case["expected"].as_array().into_iter().flatten())
                {
                    let series::SeriesValue::Histogram { histogram: h, .. } = value else {
                        failures.push(format!("{input:?} gives a float"));
                        continue;
                    };
                    let floats =
                        |v: &Value| v.as_array().map(|a| a.iter().filter_map(Value::as_f64).collect());
                    let positive: Vec<f64> = floats(&want["PositiveBuckets"]).unwrap_or_default();
                    let negative: Vec<f64> = floats(&want["NegativeBuckets"]).unwrap_or_default();
                    if h.positive != positive
                        || h.negative != negative
                        || h.sum != want["Sum"].as_f64().unwrap_or(0.0)
                    {
                        failures.push(format!("{input:?} gives {h:?}, expected {want}"));
                    }
                }
            }
        }
    }
    finish("parse_histogram_series", cases(&table).len(), &failures);
}
