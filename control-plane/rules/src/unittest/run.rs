//! Running a test file.

use super::file::{AlertCase, ExpectedAlert, ExprCase, TestFile, TestGroup};
use crate::{
    alert::Alerts,
    config::{GroupConfig, RuleFile},
    group::{GroupState, World},
};
use kit::problem::{Problem, Problems};
use model::{Cancel, CounterReset, Labels, Value};
use promql::{Engine, EngineConfig, QueryValue, memory::MemoryStore, parse::series::SeriesValue};
use state::alerts::AlertPhase;
use std::{collections::BTreeMap, path::Path, sync::Arc, time::Duration};

/// The most evaluations that one test group may ask for.
const MOST_STEPS: u128 = 1_000_000;

/// A test that did not hold.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Failure {
    pub file: String,
    pub line: usize,
    pub group: String,
    /// What was asked: an alert's name or an expression, and when.
    pub case: String,
    pub expected: String,
    pub got: String,
}

impl std::fmt::Display for Failure {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let group = if self.group.is_empty() { String::new() } else { format!(" in {}", self.group) };
        write!(
            f,
            "{}:{}: {}{group}\n  expected: {}\n  got:      {}",
            self.file, self.line, self.case, self.expected, self.got
        )
    }
}

/// How a file went.
#[derive(Debug, Clone, Default, PartialEq, Eq, serde::Serialize)]
pub struct Report {
    pub passed: usize,
    pub failures: Vec<Failure>,
}

/// Runs the test file at `path`. Rule files are found relative to it; `*` stands for any text in a file's name.
///
/// # Errors
/// Every problem of the test file and of the rule files that it names.
pub fn run_file(path: &Path, ignore_unknown: bool) -> Result<Report, Problems> {
    let name = path.display().to_string();
    let unreadable =
        |e: std::io::Error| Problems(vec![Problem::unplaced(&name, format!("cannot be read: {e}"))]);
    let text = std::fs::read_to_string(path).map_err(unreadable)?;
    let file = TestFile::parse(&name, &text, ignore_unknown)?;
    let dir = path.parent().unwrap_or(Path::new("."));
    let groups = rule_groups(&name, &file, dir, ignore_unknown)?;
    let mut report = Report::default();
    for test in &file.groups {
        let mut runner = Runner::new(&name, &file, test, &groups)?;
        runner.run(&mut report);
    }
    Ok(report)
}

fn rule_groups(
    name: &str,
    file: &TestFile,
    dir: &Path,
    ignore_unknown: bool,
) -> Result<Vec<Arc<GroupConfig>>, Problems> {
    let mut problems = Problems::default();
    let mut groups: Vec<Arc<GroupConfig>> = Vec::new();
    for pattern in &file.rule_files {
        let paths = kit::files::matching(&dir.join(pattern));
        if paths.is_empty() {
            problems.push(Problem::unplaced(name, format!("no rule file matches {pattern}")));
        }
        for path in paths {
            let shown = path.display().to_string();
            let parsed = std::fs::read_to_string(&path)
                .map_err(|e| Problems(vec![Problem::unplaced(&shown, format!("cannot be read: {e}"))]))
                .and_then(|text| RuleFile::parse_with(&shown, &text, ignore_unknown));
            match parsed {
                Ok(parsed) => groups.extend(parsed.groups.into_iter().map(Arc::new)),
                Err(e) => problems.extend(e),
            }
        }
    }
    let place = |g: &GroupConfig| file.group_order.iter().position(|n| *n == g.name).unwrap_or(usize::MAX);
    groups.sort_by_key(|g| place(g));
    problems.into_result(groups)
}

struct Runner<'a> {
    file: &'a str,
    config: &'a TestFile,
    test: &'a TestGroup,
    store: MemoryStore,
    engine: Engine,
    groups: Vec<GroupState>,
}

fn ms(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}

impl<'a> Runner<'a> {
    fn new(
        file: &'a str,
        config: &'a TestFile,
        test: &'a TestGroup,
        groups: &[Arc<GroupConfig>],
    ) -> Result<Self, Problems> {
        let store = MemoryStore::new();
        for (series, line) in &test.series {
            if store.load(series, None, test.start, ms(test.interval)).is_err() {
                let mut problem = Problem::unplaced(file, "the series is given twice");
                (problem.line, problem.column) = (*line, 1);
                return Err(Problems(vec![problem]));
            }
        }
        let engine = Engine::new(EngineConfig { experimental: true, ..EngineConfig::default() });
        let mut ordinals = BTreeMap::new();
        let begin = |g: &Arc<_>| GroupState::new(Arc::clone(g), &mut ordinals, |_| Alerts::default());
        let groups = groups.iter().map(begin).collect();
        Ok(Runner { file, config, test, store, engine, groups })
    }

    fn world<'w>(&'w self, cancel: &'w Cancel) -> World<'w> {
        World {
            engine: &self.engine,
            select: &self.store,
            append: &self.store,
            cancel,
            external_url: &self.test.external_url,
            external_labels: &self.test.external_labels,
            may_end: true,
        }
    }

    fn run(&mut self, report: &mut Report) {
        let step = self.config.evaluation_interval;
        let alert_times = self.test.alerts.iter().map(|c| c.at);
        let last = alert_times.chain(self.test.exprs.iter().map(|c| c.at)).max().unwrap_or_default();
        if last.as_nanos() / step.as_nanos().max(1) > MOST_STEPS {
            let got = format!("more than {MOST_STEPS} evaluations");
            report.failures.push(self.failure(self.test.line, "eval_time", String::new(), got));
            return;
        }
        let mut at = Duration::ZERO;
        let mut failed_rules = false;
        while at <= last {
            failed_rules |= self.evaluate(at, report, failed_rules);
            let due = self.test.alerts.iter().filter(|c| c.at >= at && c.at < at + step);
            for case in due.cloned().collect::<Vec<_>>() {
                self.check_alerts(&case, report);
            }
            at += step;
        }
        for case in &self.test.exprs {
            self.check_expr(case, report);
        }
    }

    /// Evaluates every group; a rule that fails is a failure of the test, told once.
    fn evaluate(&mut self, at: Duration, report: &mut Report, told: bool) -> bool {
        let time = self.test.start + ms(at);
        let mut groups = std::mem::take(&mut self.groups);
        let cancel = Cancel::default();
        let mut failed = false;
        for group in &mut groups {
            group.evaluate(time, self.world(&cancel), &|| Duration::ZERO);
            for rule in &group.rules {
                if let (Some(error), false) = (&rule.last_error, told || failed) {
                    failed = true;
                    let case = format!("rule {} at {}", rule.config.name, model::duration::format(at));
                    report.failures.push(self.failure(
                        self.test.line,
                        &case,
                        "a result".to_owned(),
                        error.clone(),
                    ));
                }
            }
        }
        self.groups = groups;
        failed
    }

    fn failure(&self, line: usize, case: &str, expected: String, got: String) -> Failure {
        Failure {
            file: self.file.to_owned(),
            line,
            group: self.test.name.clone(),
            case: case.to_owned(),
            expected,
            got,
        }
    }

    fn check_alerts(&self, case: &AlertCase, report: &mut Report) {
        let mut got: Vec<ExpectedAlert> = self
            .groups
            .iter()
            .flat_map(|g| &g.rules)
            .filter(|r| r.config.is_alert() && r.config.name == case.alertname)
            .flat_map(|r| r.alerts.all.values())
            .filter(|a| a.phase == AlertPhase::Firing)
            .map(|a| ExpectedAlert { labels: a.labels.clone(), annotations: a.annotations.clone() })
            .collect();
        let mut expected = case.expected.clone();
        got.sort();
        expected.sort();
        if got == expected {
            report.passed += 1;
            return;
        }
        let shown = |alerts: &[ExpectedAlert]| {
            let lines: Vec<String> =
                alerts.iter().map(|a| format!("{} with annotations {}", a.labels, a.annotations)).collect();
            if lines.is_empty() { "no alert".to_owned() } else { lines.join("; ") }
        };
        let name = format!("alert {} at {}", case.alertname, model::duration::format(case.at));
        report.failures.push(self.failure(case.line, &name, shown(&expected), shown(&got)));
    }

    fn check_expr(&self, case: &ExprCase, report: &mut Report) {
        let name = format!("expression {} at {}", case.query, model::duration::format(case.at));
        let time = self.test.start + ms(case.at);
        let cancel = Cancel::default();
        let result = match self.engine.instant(&self.store, &case.expr, time, &cancel) {
            Ok(result) => result.value,
            Err(e) => {
                report.failures.push(self.failure(case.line, &name, "a result".to_owned(), e.to_string()));
                return;
            }
        };
        let mut got: Vec<(Labels, Value)> = match result {
            QueryValue::Vector(samples) => samples.into_iter().map(|s| (s.labels, s.value)).collect(),
            QueryValue::Scalar { value, .. } => vec![(Labels::default(), Value::Float(value))],
            QueryValue::String { .. } | QueryValue::Matrix(_) => Vec::new(),
        };
        let mut expected: Vec<(Labels, Option<Value>)> =
            case.expected.iter().map(|(l, v)| (l.clone(), value_of(v))).collect();
        got.sort_by(|a, b| a.0.cmp(&b.0));
        expected.sort_by(|a, b| a.0.cmp(&b.0));
        let same = got.len() == expected.len()
            && got
                .iter()
                .zip(&expected)
                .all(|(g, e)| g.0 == e.0 && e.1.as_ref().is_some_and(|e| equal(&g.1, e, self.config.fuzzy)));
        if same {
            report.passed += 1;
            return;
        }
        let got_text: Vec<String> = got.iter().map(|(l, v)| format!("{l} {}", shown(v))).collect();
        let expected_text: Vec<String> = expected
            .iter()
            .map(|(l, v)| format!("{l} {}", v.as_ref().map_or_else(|| "nothing".to_owned(), shown)))
            .collect();
        report.failures.push(self.failure(case.line, &name, expected_text.join("; "), got_text.join("; ")));
    }
}

fn value_of(value: &SeriesValue) -> Option<Value> {
    match value {
        SeriesValue::Float(v) => Some(Value::Float(*v)),
        SeriesValue::Histogram { histogram, .. } => Some(Value::Histogram(Arc::clone(histogram))),
        SeriesValue::Omitted => None,
    }
}

fn shown(value: &Value) -> String {
    match value {
        Value::Float(v) => model::number::format(*v),
        Value::Histogram(h) => format!("{h:?}"),
    }
}

fn equal(a: &Value, b: &Value, fuzzy: bool) -> bool {
    match (a, b) {
        (Value::Float(a), Value::Float(b)) => {
            let (low, high) = (a.min(*b), a.max(*b));
            a.to_bits() == b.to_bits()
                || (a.is_nan() && b.is_nan())
                || a == b
                || fuzzy && (low.next_up() == high || low == high)
        }
        // Whether counting began anew is not what a test of a value asks.
        (Value::Histogram(a), Value::Histogram(b)) => {
            let plain = |h: &model::Histogram| model::Histogram { reset: CounterReset::Unknown, ..h.clone() };
            plain(a) == plain(b)
        }
        _ => false,
    }
}
