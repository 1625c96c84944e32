//! Rule unit tests pass and fail as promtool's do.

use super::*;
use crate::config::tests::suites;
use std::path::Path;

fn run(rules: &str, test: &str) -> Report {
    let dir = tempfile::tempdir().expect("dir");
    std::fs::write(dir.path().join("rules.yaml"), rules).expect("write");
    std::fs::write(dir.path().join("test.yaml"), test).expect("write");
    run_file(&dir.path().join("test.yaml"), false).unwrap_or_else(|e| panic!("{e}"))
}

const RULES: &str =
    "groups: [{name: g, rules: [{record: double, expr: x * 2}, {alert: Big, expr: double > 5, for: 1m}]}]";

fn test(expected_alerts: &str, value: &str) -> String {
    format!(
        "rule_files: ['rules.y*l']\nevaluation_interval: 1m\ntests:\n  - interval: 1m\n    input_series:\n      - {{series: 'x{{a=\"b\"}}', values: '1+1x10'}}\n    \
         alert_rule_test:\n      - {{eval_time: 5m, alertname: Big, exp_alerts: {expected_alerts}}}\n    \
         promql_expr_test:\n      - {{expr: double, eval_time: 2m, exp_samples: [{{labels: 'double{{a=\"b\"}}', value: {value}}}]}}\n"
    )
}

#[test]
fn a_test_that_holds_passes() {
    let report = run(RULES, &test("[{exp_labels: {a: b}}]", "6"));
    assert_eq!((report.passed, report.failures), (2, vec![]));
}

#[test]
fn a_test_that_does_not_hold_shows_what_was_expected_and_what_came() {
    let report = run(RULES, &test("[]", "7"));
    let text: Vec<String> = report.failures.iter().map(ToString::to_string).collect();
    assert_eq!(report.passed, 0);
    assert!(
        text[0].contains("alert Big at 5m\n  expected: no alert\n  got:      {a=\"b\", alertname=\"Big\"}"),
        "{}",
        text[0]
    );
    assert!(
        text[1].contains(
            "expected: {__name__=\"double\", a=\"b\"} 7\n  got:      {__name__=\"double\", a=\"b\"} 6"
        ),
        "{}",
        text[1]
    );
}

#[test]
fn the_platforms_own_tests_pass() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let report = run_file(&root.join("alerts/tests/platform.yaml"), false).unwrap_or_else(|e| panic!("{e}"));
    let failures: Vec<String> = report.failures.iter().map(ToString::to_string).collect();
    assert!(failures.is_empty() && report.passed >= 12, "{} passed\n{}", report.passed, failures.join("\n"));
}

#[test]
fn promtools_own_test_files_pass_and_fail_as_there() {
    let Some(dir) = suites() else { return };
    let dir = dir.join("prometheus-rules");
    let text = std::fs::read_to_string(dir.join("promtool_test_rules_expected.json")).expect("suite");
    let suite: serde_json::Value = serde_json::from_str(&text).expect("json");
    let mut checked = 0;
    for case in suite["cases"].as_array().expect("cases") {
        let name = case["name"].as_str().expect("name");
        // Switches that no command line has, and filters that belong to the command.
        let files =
            case["files"].as_array().expect("files").iter().map(|f| dir.join(f.as_str().expect("file")));
        let missing = files.into_iter().any(|f| !f.exists());
        if name.starts_with("Disabled feature") || !case["run"].is_null() || missing {
            continue;
        }
        let ignore = case["ignore_unknown_fields"].as_bool().unwrap_or(false);
        let mut said: Vec<String> = Vec::new();
        let passes = case["files"].as_array().expect("files").iter().all(|file| {
            let path = dir.join(file.as_str().expect("file"));
            match run_file(&path, ignore) {
                Ok(report) => {
                    said.extend(report.failures.iter().map(ToString::to_string));
                    report.failures.is_empty()
                }
                Err(problems) => {
                    said.push(problems.to_string());
                    false
                }
            }
        });
        assert_eq!(passes, case["pass"].as_bool().expect("pass"), "{name}\n{}", said.join("\n"));
        checked += 1;
    }
    assert!(checked >= 10, "{checked}");
}
