//! The files that are shipped: they are good, every alert is tested and has a runbook, and what documents their
//! formats agrees with the code.

use crate::platform::{binary, root};
use kit::settings::Settings;
use rules::{RuleConfig, unittest::TestFile};
use serde_json::Value;
use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
    process::Command,
};
use vigie::{Loaded, Options};

fn loaded() -> Loaded {
    let mut options = Options::from_settings(&Settings::default()).expect("defaults");
    options.config_dir = Some(root());
    // As `serve` fills it in.
    options.settings = options.settings.with_default("MONITORING_SERVICE_URL", "http://127.0.0.1:3005");
    Loaded::read(&options).unwrap_or_else(|problems| panic!("{problems}"))
}

fn alerts(loaded: &Loaded) -> Vec<&RuleConfig> {
    let rules = loaded.rules.iter().flat_map(|f| &f.groups).flat_map(|g| &g.rules);
    let alerts: Vec<&RuleConfig> = rules.filter(|r| r.is_alert()).collect();
    assert!(alerts.len() >= 6, "only {} alerts", alerts.len());
    alerts
}

fn files(folder: &str, extension: &str) -> Vec<PathBuf> {
    let entries = fs::read_dir(root().join(folder)).expect("a folder");
    let mut paths: Vec<PathBuf> = entries.map(|e| e.expect("an entry").path()).collect();
    paths.retain(|p| p.extension().is_some_and(|e| e == extension));
    paths.sort();
    paths
}

fn runbook(alert: &RuleConfig) -> Option<String> {
    let (_, name) = alert.annotation_texts.get("runbook_url")?.rsplit_once("/runbooks/")?;
    Some(name.to_owned())
}

#[test]
fn every_file_is_good_and_every_query_parses() {
    let loaded = loaded();
    assert!(loaded.dashboards.iter().all(|d| !web::grafana::queries(&d.model).is_empty()));
    assert!(!loaded.dashboards.is_empty() && loaded.collect.probe_count() == 7);
    assert!(loaded.collect.target_count() >= 6 && !loaded.budgets.budgets.is_empty());
}

#[test]
fn every_alert_says_what_it_is_and_has_a_runbook() {
    let loaded = loaded();
    let mut named = BTreeSet::new();
    for alert in alerts(&loaded) {
        let has = |name: &str| alert.annotation_texts.get(name).is_some_and(|t| !t.is_empty());
        assert!(has("summary") && has("description"), "{} has no summary or no description", alert.name);
        assert!(alert.label_texts.get("severity").is_some(), "{} has no severity", alert.name);
        let runbook = runbook(alert).unwrap_or_else(|| panic!("{} has no runbook_url", alert.name));
        let path = root().join("ops/runbooks").join(format!("{runbook}.md"));
        let text = fs::read_to_string(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
        assert!(text.contains(&alert.name), "{} does not name {}", path.display(), alert.name);
        named.insert(runbook);
    }
    for path in files("ops/runbooks", "md") {
        let name = path.file_stem().and_then(|n| n.to_str()).unwrap_or_default();
        assert!(named.contains(name), "no alert leads to {}", path.display());
    }
}

#[test]
fn every_runbook_answers_the_same_questions_and_its_queries_parse() {
    for path in files("ops/runbooks", "md") {
        let text = fs::read_to_string(&path).expect("a runbook");
        let headings: Vec<&str> = text.lines().filter_map(|l| l.strip_prefix("## ")).collect();
        let wanted = [
            "What it means",
            "Is it real?",
            "Likely causes, the likeliest first",
            "What to do",
            "How to know that it is over",
            "Whom to call",
        ];
        assert_eq!(headings, wanted, "{}", path.display());
        let mut queries = 0;
        for piece in text.split("vigie query '").skip(1) {
            let query = piece.split('\'').next().unwrap_or_default();
            promql::parse(query).unwrap_or_else(|e| panic!("{}: {query}: {e}", path.display()));
            queries += 1;
        }
        assert!(queries > 0, "{} asks nothing", path.display());
    }
}

#[test]
fn every_alert_has_a_unit_test_that_fires_it_and_one_that_does_not() {
    let loaded = loaded();
    let mut cases = Vec::new();
    for path in files("alerts/tests", "yaml") {
        let text = fs::read_to_string(&path).expect("a test file");
        let file =
            TestFile::parse(&path.display().to_string(), &text, false).unwrap_or_else(|e| panic!("{e}"));
        cases.extend(file.groups.into_iter().flat_map(|g| g.alerts));
    }
    for alert in alerts(&loaded) {
        let fires =
            |wanted: bool| cases.iter().any(|c| c.alertname == alert.name && c.expected.is_empty() != wanted);
        assert!(fires(true), "no test makes {} fire", alert.name);
        assert!(fires(false), "no test shows when {} does not fire", alert.name);
    }
}

#[test]
fn the_commands_that_people_run_find_no_fault() {
    let run = |args: &[&str]| {
        let output = Command::new(binary("vigie")).args(args).current_dir(root()).output().expect("vigie");
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(output.status.success(), "{args:?}\n{text}{}", String::from_utf8_lossy(&output.stderr));
        text
    };
    assert!(run(&["check"]).contains("files are good"));
    let json: Value = serde_json::from_str(&run(&["check", "--output", "json"])).expect("JSON");
    assert_eq!(json["good"], true);
    assert!(run(&["test", "alerts/tests/platform.yaml"]).contains("0 failed"));
}

/// All property names of a schema, at any depth.
fn properties(schema: &Value, names: &mut BTreeSet<String>) {
    match schema {
        Value::Object(fields) => {
            if let Some(Value::Object(own)) = fields.get("properties") {
                names.extend(own.keys().cloned());
            }
            fields.values().for_each(|v| properties(v, names));
        }
        Value::Array(items) => items.iter().for_each(|v| properties(v, names)),
        _ => {}
    }
}

fn example(name: &str) -> (String, String) {
    let schema = fs::read_to_string(root().join(format!("ops/schemas/{name}.json"))).expect("a schema");
    let schema: Value = serde_json::from_str(&schema).expect("JSON");
    let path = Path::new("ops/schemas/examples").join(format!("{name}.yaml"));
    let text = fs::read_to_string(root().join(&path)).expect("an example");
    let mut names = BTreeSet::new();
    properties(&schema, &mut names);
    assert!(names.len() > 8, "only {names:?}");
    for property in names {
        assert!(text.contains(&format!("{property}:")), "{} does not show {property}", path.display());
    }
    // What the file names lies beside it.
    (root().join(path).display().to_string(), text)
}

/// Each example shows every property of its schema (ops/test holds it to the schema); the code takes it whole.
#[test]
fn the_schemas_know_no_field_that_the_code_does_not() {
    let (name, text) = example("budgets");
    let budgets = budget::BudgetConfig::parse(&name, &text).unwrap_or_else(|e| panic!("{e}"));
    assert_eq!((budgets.budgets.len(), budgets.prices.overrides.len()), (3, 2));
    let (name, text) = example("probes");
    let probes = collect::CollectConfig::parse(&collect::CollectFiles {
        scrape: None,
        target_series: None,
        whole_prometheus: false,
        probes: Some(collect::File { name: &name, text: &text }),
        values: &|_| None,
        probe_defaults: collect::ProbeDefaults::default(),
        host_interval: None,
    })
    .unwrap_or_else(|e| panic!("{e}"));
    assert_eq!(probes.probe_count(), 18);
}
