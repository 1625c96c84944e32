//! Rule files read as Prometheus reads them, and bad ones say everything that is wrong.

use super::*;
use std::path::{Path, PathBuf};

#[test]
fn everything_wrong_is_said_at_once() {
    let text = r#"
groups:
  - name: a
    interval: soon
    rules:
      - alert: X
        expr: rte(x[5m])
        annotations: {summary: "{{ $labels.x"}
      - record: y
        expr: |
          sum by (a) (
            up{a=~"("}
          )
        for: 5m
      - record: z
        alert: z
        expr: up[5m]
      - expr: up
        lables: {a: b}
  - name: a
    rules: []
"#;
    let problems = RuleFile::parse("r.yaml", text).expect_err("bad").to_string();
    for part in [
        "r.yaml:4:15: `interval`: \"soon\" is not a duration",
        "r.yaml:7:15: `expr`: unknown function",
        "`summary`: ",
        "r.yaml:12:",
        "r.yaml:14:14: `for` belongs to alerts",
        "r.yaml:16:16: a rule has either `record` or `alert`, not both",
        "r.yaml:17:15: a rule needs an instant vector or a scalar",
        "r.yaml:18:9: a rule has either `record` or `alert`",
        "r.yaml:19:9: unknown field `lables`",
        "did you mean `labels`?",
        "r.yaml:20:5: this file already has a group named `a`",
    ] {
        assert!(problems.contains(part), "{part}\n\n{problems}");
    }
}

#[test]
fn a_group_gives_its_labels_to_its_rules() {
    let text = "groups: [{name: g, labels: {team: x, sev: low}, rules: [{alert: A, expr: up, labels: {sev: high}}]}]";
    let file = RuleFile::parse("r", text).expect("reads");
    assert_eq!(file.groups[0].rules[0].label_texts.to_string(), r#"{sev="high", team="x"}"#);
}

/// The folder of the conformance suites, or `None` (said aloud) where it is not there and not required.
pub(crate) fn suites() -> Option<PathBuf> {
    #[expect(clippy::disallowed_methods, reason = "a test finds its data")]
    let (given, required) = (std::env::var_os("SUITES_DIR"), std::env::var_os("SUITES_REQUIRED"));
    let default = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/suites");
    let dir = given.map_or(default, PathBuf::from);
    if dir.exists() {
        return Some(dir);
    }
    assert!(required.is_none_or(|v| v != "1"), "SUITES_REQUIRED=1, and {} is not there", dir.display());
    println!("skipped: the conformance suites are not at {}", dir.display());
    None
}

#[test]
fn every_rule_file_of_the_field_reads() {
    let Some(dir) = suites() else { return };
    let mut folders = vec![dir.join("rule-corpus")];
    let (mut files, mut rules) = (0, 0);
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).expect("folder") {
            let path = entry.expect("entry").path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|e| e == "yml" || e == "yaml") {
                let text = std::fs::read_to_string(&path).expect("text");
                let file =
                    RuleFile::parse(&path.display().to_string(), &text).unwrap_or_else(|e| panic!("{e}"));
                files += 1;
                rules += file.groups.iter().map(|g| g.rules.len()).sum::<usize>();
            }
        }
    }
    assert!(files >= 190 && rules >= 1900, "{files} files, {rules} rules");
}

#[test]
fn the_fields_own_good_and_bad_files_are_told_apart() {
    let Some(dir) = suites() else { return };
    let dir = dir.join("prometheus-rules/rulefmt");
    for entry in std::fs::read_dir(&dir).expect("folder") {
        let path = entry.expect("entry").path();
        let name = path.file_name().and_then(|n| n.to_str()).expect("name").to_owned();
        // That file is bad only under the validation of names before UTF-8, which is not ours.
        if name.starts_with("legacy_validation") {
            continue;
        }
        let text = std::fs::read_to_string(&path).expect("text");
        let outcome = RuleFile::parse(&name, &text);
        assert_eq!(outcome.is_err(), name.contains(".bad."), "{name}: {outcome:?}");
    }
}
