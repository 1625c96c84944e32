//! Routes, inhibition and matchers as the field's own tables have them. The tables stay outside the repository:
//! `SUITES_DIR` says where; without them the tests say that they skip, unless `SUITES_REQUIRED=1`.

use alerting::{
    Overrides, RoutingConfig,
    config::{parse_matcher, parse_matchers},
    core::Core,
};
use model::{Alert, Labels};
use serde_json::Value;
use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

#[expect(clippy::print_stdout, reason = "a test that skips says so")]
fn suite(file: &str) -> Option<Vec<Value>> {
    #[expect(clippy::disallowed_methods, reason = "a test finds its data")]
    let (given, required) = (std::env::var_os("SUITES_DIR"), std::env::var_os("SUITES_REQUIRED"));
    let default = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/suites");
    let path = given.map_or(default, PathBuf::from).join("alertmanager").join(file);
    if !path.exists() {
        assert!(required.is_none_or(|v| v != "1"), "SUITES_REQUIRED=1, and {} is not there", path.display());
        println!("skipped: {} is not there", path.display());
        return None;
    }
    let text = std::fs::read_to_string(path).expect("suite");
    let suite: Value = serde_json::from_str(&text).expect("json");
    Some(suite["cases"].as_array().expect("cases").clone())
}

fn labels(value: &Value) -> Labels {
    serde_json::from_value(value.clone()).expect("labels")
}

fn config(route: &str, inhibit: &str) -> RoutingConfig {
    let indented: String = route.trim_start_matches('\n').lines().map(|l| format!("  {l}\n")).collect();
    let mut receivers: Vec<&str> = Vec::new();
    for line in route.lines() {
        if let Some((_, name)) = line.split_once("receiver:") {
            receivers.push(name.trim().trim_matches(['\'', '"']));
        }
    }
    receivers.sort_unstable();
    receivers.dedup();
    let mut root = format!("route:\n{indented}");
    if !route.lines().any(|l| l.starts_with("receiver:")) {
        root.push_str("  receiver: first\n");
        receivers.push("first");
    }
    let named: String = receivers.iter().map(|r| format!("  - name: {r}\n")).collect();
    let text = format!("{root}receivers:\n{named}{inhibit}");
    RoutingConfig::parse("routing.yaml", &text, Path::new("."), &Overrides::default())
        .unwrap_or_else(|e| panic!("{text}\n{e}"))
}

#[test]
fn alerts_take_the_routes_that_alertmanager_takes() {
    let Some(trees) = suite("routing.json") else { return };
    let mut checked = 0;
    for tree in &trees {
        let config = config(tree["route_yaml"].as_str().expect("route"), "");
        for case in tree["cases"].as_array().into_iter().flatten() {
            let routes = config.route.matching(&labels(&case["labels"]));
            let wanted = case["matches"].as_array().expect("matches");
            assert_eq!(routes.len(), wanted.len(), "{case}");
            for (route, wanted) in routes.iter().zip(wanted) {
                let o = &route.options;
                if wanted["receiver"].as_str().is_some_and(|r| !r.is_empty()) {
                    assert_eq!(o.receiver, wanted["receiver"], "{case}");
                }
                assert_eq!(o.group_by.is_none(), wanted["group_by_all"].as_bool().expect("all"), "{case}");
                let names: std::collections::BTreeSet<String> =
                    o.group_by.clone().unwrap_or_default().into_iter().collect();
                let wanted_names: std::collections::BTreeSet<String> = wanted["group_by"]
                    .as_array()
                    .into_iter()
                    .flatten()
                    .map(|v| v.as_str().expect("name").to_owned())
                    .collect();
                if !wanted["group_by_all"].as_bool().expect("all") {
                    assert_eq!(names, wanted_names, "{case}");
                }
                for (got, field) in [
                    (o.group_wait, "group_wait_s"),
                    (o.group_interval, "group_interval_s"),
                    (o.repeat_interval, "repeat_interval_s"),
                ] {
                    assert_eq!(Some(got.as_secs_f64()), wanted[field].as_f64(), "{field} {case}");
                }
            }
            let keys: Vec<&str> = routes.iter().map(|r| r.key.as_str()).collect();
            let wanted_keys: Vec<&str> =
                case["keys"].as_array().expect("keys").iter().map(|k| k.as_str().expect("key")).collect();
            assert_eq!(keys, wanted_keys, "{case}");
            checked += 1;
        }
    }
    assert!(checked >= 24, "{checked}");
}

#[test]
fn alerts_are_inhibited_as_alertmanager_inhibits_them() {
    let Some(tests) = suite("inhibit_rules.json") else { return };
    let mut checked = 0;
    for test in &tests {
        let map = |v: &Value| serde_json::to_string(v).expect("json");
        let rules: String = test["inhibit_rules"]
            .as_array()
            .expect("rules")
            .iter()
            .map(|r| {
                let equal = if r["Equal"].is_null() { "[]".to_owned() } else { map(&r["Equal"]) };
                let side = |old: &str, new: &str, name: &str| match (&r[old], &r[new]) {
                    (Value::Null, list) => format!("{name}_matchers: {}", map(list)),
                    (map_form, _) => format!("{name}_match: {}", map(map_form)),
                };
                let source = side("SourceMatch", "SourceMatchers", "source");
                let target = side("TargetMatch", "TargetMatchers", "target");
                format!("  - {{{source}, {target}, equal: {equal}}}\n")
            })
            .collect();
        let config = Arc::new(config(
            "receiver: r\ngroup_by: ['...']\ngroup_wait: 0s",
            &format!("inhibit_rules:\n{rules}"),
        ));
        let alert = |labels: Labels| Alert {
            labels,
            annotations: Labels::default(),
            starts_at: 0,
            ends_at: None,
            generator_url: String::new(),
        };
        for case in test["cases"].as_array().expect("cases") {
            let mut alerts: Vec<Alert> = test["source_alerts_in_rule_cache"]
                .as_array()
                .expect("sources")
                .iter()
                .map(|s| alert(labels(&s["labels"])))
                .collect();
            let target = labels(&case["target"]);
            alerts.push(alert(target.clone()));
            let mut core = Core::restore(Arc::clone(&config), vec![], vec![]);
            let changes = core.changes(0, &alerts);
            core.take(&changes, true);
            assert_eq!(
                core.is_inhibited(&target, 0),
                case["muted"].as_bool().expect("muted"),
                "{case} in {rules}"
            );
            checked += 1;
        }
    }
    assert!(checked >= 10, "{checked}");
}

#[test]
fn matchers_read_as_alertmanagers_do() {
    let Some(cases) = suite("matchers_compliance.json") else { return };
    let mut checked = 0;
    for case in cases.iter().filter(|c| c["skip"] != true) {
        let input = case["input"].as_str().expect("input");
        let one = parse_matcher(input).map(|m| vec![m]);
        let got = if input.trim_start().starts_with('{') {
            parse_matchers(input)
        } else {
            parse_matchers(input).or(one)
        };
        let bad = case["error"].is_string() || case["err"].is_string() || case["want"].is_null();
        assert_eq!(got.is_err(), bad, "{case} -> {got:?}");
        checked += 1;
    }
    assert!(checked >= 35, "{checked}");
}
