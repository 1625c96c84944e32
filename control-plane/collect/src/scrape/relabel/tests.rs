use super::*;
use crate::scrape::exposition::tests::suite;
use kit::{problem::Problems, yaml::Document};
use model::Labels;
use serde_json::Value;

/// Reads one rule from YAML (or JSON, which is YAML).
fn read(text: &str) -> Result<Relabel, Problems> {
    let doc = Document::parse("r.yaml", text)?;
    let mut problems = Problems::default();
    let rule = doc.reader(&mut problems).and_then(Relabel::read);
    match rule {
        Some(rule) if problems.is_empty() => Ok(rule),
        _ => Err(problems),
    }
}

#[test]
fn prometheus_own_cases_give_its_own_labels() {
    for case in suite("prometheus-relabel/relabel.json").unwrap_or_default() {
        let rules: Vec<Relabel> = case["relabel_configs"]
            .as_array()
            .unwrap()
            .iter()
            .map(|c| read(&c.to_string()).unwrap_or_else(|p| panic!("{c}: {p}")))
            .collect();
        let labels = |v: &Value| {
            Labels::from_pairs(v.as_object().unwrap().iter().map(|(k, v)| (&**k, v.as_str().unwrap())))
        };
        let mut builder = labels(&case["input"]).edit();
        let kept = relabel(&rules, &mut builder);
        assert_eq!(kept, !case["drop"].as_bool().unwrap(), "{case}");
        if kept {
            assert_eq!(builder.build(), labels(&case["output"]), "{case}");
        }
    }
}

fn check(rule: &str, expect: &str) {
    let problems = read(rule).expect_err("it is wrong");
    assert!(problems.to_string().contains(expect), "{problems}");
}

#[test]
fn rules_that_make_no_sense_are_refused() {
    check("action: replace", "replace needs `target_label`");
    check("action: lowercase", "lowercase needs `target_label`");
    check("{action: uppercase, target_label: a, replacement: b}", "`replacement` cannot be set");
    check("{action: hashmod, target_label: a, source_labels: [b]}", "needs a `modulus`");
    check("{action: labeldrop, regex: a, source_labels: [b]}", "takes only `regex`");
    check("{action: labelkeep, regex: a, separator: b}", "takes only `regex`");
    check(
        "{action: keepequal, source_labels: [a], target_label: b, regex: x}",
        "takes only `source_labels` and",
    );
    check("{action: dropequal, source_labels: [a]}", "dropequal needs `target_label`");
    check("{action: repalce, target_label: a}", "did you mean `replace`?");
    check("{target_label: a, regex: '('}", "regular expression");
    check("{target_label: a, regexp: b}", "unknown field `regexp`");
}

#[test]
fn prometheus_own_verdicts_on_rules_are_ours() {
    for case in suite("prometheus-relabel/relabel_validate.json").unwrap_or_default() {
        let mut config = case["config"].clone();
        let scheme = config.as_object_mut().unwrap().remove("name_validation_scheme");
        let accepted = case["error"] == "";
        // Which names are allowed is judged when they are made: then it is known what they are.
        if scheme.is_some_and(|s| s == "legacy") && !accepted {
            continue;
        }
        assert_eq!(read(&config.to_string()).is_ok(), accepted, "{case}");
    }
}
