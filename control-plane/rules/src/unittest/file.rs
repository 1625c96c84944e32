//! The test file's format.

use kit::{
    problem::Problems,
    yaml::{Document, MapReader},
};
use model::Labels;
use promql::{
    ast::Expr,
    parse::series::{SeriesDescription, SeriesValue, parse_series},
};
use std::time::Duration;

/// An alert that a test expects, with `alertname` among its labels.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct ExpectedAlert {
    pub labels: Labels,
    pub annotations: Labels,
}

#[derive(Debug, Clone)]
pub struct AlertCase {
    pub line: usize,
    pub at: Duration,
    pub alertname: String,
    pub expected: Vec<ExpectedAlert>,
}

#[derive(Debug, Clone)]
pub struct ExprCase {
    pub line: usize,
    pub at: Duration,
    pub query: String,
    pub expr: Expr,
    pub expected: Vec<(Labels, SeriesValue)>,
}

#[derive(Debug, Clone)]
pub struct TestGroup {
    pub line: usize,
    pub name: String,
    pub interval: Duration,
    /// Milliseconds since 1970 of time zero.
    pub start: i64,
    pub series: Vec<(SeriesDescription, usize)>,
    pub alerts: Vec<AlertCase>,
    pub exprs: Vec<ExprCase>,
    pub external_labels: Vec<(String, String)>,
    pub external_url: String,
}

#[derive(Debug, Clone)]
pub struct TestFile {
    pub rule_files: Vec<String>,
    pub evaluation_interval: Duration,
    pub fuzzy: bool,
    pub group_order: Vec<String>,
    pub groups: Vec<TestGroup>,
}

impl TestFile {
    /// Reads a file's text.
    ///
    /// # Errors
    /// Every problem of the file.
    pub fn parse(file: &str, text: &str, ignore_unknown: bool) -> Result<TestFile, Problems> {
        let doc = Document::parse(file, text)?;
        let mut problems = Problems::default();
        let mut read = None;
        if let Some(mut r) = doc.reader(&mut problems) {
            let evaluation_interval =
                interval(&mut r, "evaluation_interval").unwrap_or(Duration::from_secs(60));
            let mut file = TestFile {
                rule_files: r.texts("rule_files").into_iter().map(|(_, t)| t.to_owned()).collect(),
                evaluation_interval,
                fuzzy: r.bool("fuzzy_compare").unwrap_or(false),
                group_order: r.texts("group_eval_order").into_iter().map(|(_, t)| t.to_owned()).collect(),
                groups: Vec::new(),
            };
            for item in r.list("tests") {
                if let Some(group) = r.item(item) {
                    file.groups.push(read_group(group, evaluation_interval, ignore_unknown));
                }
            }
            if !ignore_unknown {
                r.finish();
            }
            read = Some(file);
        }
        match read {
            Some(file) => problems.into_result(file),
            None => Err(problems),
        }
    }
}

fn interval(r: &mut MapReader<'_>, name: &'static str) -> Option<Duration> {
    r.duration(name, model::duration::parse).filter(|d| !d.is_zero())
}

fn labels_of(r: &mut MapReader<'_>, name: &'static str) -> Labels {
    Labels::from_pairs(
        r.text_map(name)
            .into_iter()
            .map(|(k, v)| (k.text().unwrap_or("").to_owned(), v.text().unwrap_or("").to_owned())),
    )
}

fn finish(r: MapReader<'_>, ignore_unknown: bool) {
    if !ignore_unknown {
        r.finish();
    }
}

fn read_group(mut r: MapReader<'_>, default_interval: Duration, ignore_unknown: bool) -> TestGroup {
    let line = r.node.line;
    let own_interval = interval(&mut r, "interval").unwrap_or(default_interval);
    let name = r.text("name").unwrap_or("").to_owned();
    let start = r
        .parsed("start_timestamp", |text| {
            if let Ok(seconds) = text.parse::<f64>() {
                #[expect(clippy::cast_possible_truncation, reason = "saturates for absurd times")]
                return Ok((seconds * 1000.0) as i64);
            }
            let time = text.parse::<jiff::Timestamp>().map(|t| t.as_millisecond());
            time.map_err(|_| {
                format!("{text:?} is neither seconds since 1970 nor a time like 2026-01-01T00:00:00Z")
            })
        })
        .unwrap_or(0);
    let mut series = Vec::new();
    for item in r.list("input_series") {
        let Some(mut own) = r.item(item) else { continue };
        let (place, text) = (own.required("series"), own.text("series").unwrap_or(""));
        own.required("values");
        let values = own.text("values").unwrap_or("");
        match parse_series(&format!("{text} {values}")) {
            Ok(description) => series.push((description, item.line)),
            Err(e) => {
                let node = place.unwrap_or(item);
                own.problem(node, format!("the series does not parse: {e}"));
            }
        }
        finish(own, ignore_unknown);
    }
    let mut alerts = Vec::new();
    for item in r.list("alert_rule_test") {
        if let Some(case) = r.item(item).map(|own| read_alert(own, ignore_unknown)) {
            alerts.extend(case);
        }
    }
    let mut exprs = Vec::new();
    for item in r.list("promql_expr_test") {
        if let Some(case) = r.item(item).map(|own| read_expr(own, ignore_unknown)) {
            exprs.extend(case);
        }
    }
    let external: Vec<(String, String)> = labels_of(&mut r, "external_labels")
        .iter()
        .map(|l| (l.name.to_string(), l.value.to_string()))
        .collect();
    let external_url = r.text("external_url").unwrap_or("").to_owned();
    finish(r, ignore_unknown);
    TestGroup {
        line,
        name,
        interval: own_interval,
        start,
        series,
        alerts,
        exprs,
        external_labels: external,
        external_url,
    }
}

fn read_alert(mut r: MapReader<'_>, ignore_unknown: bool) -> Option<AlertCase> {
    let line = r.node.line;
    let at = r.duration("eval_time", model::duration::parse).unwrap_or_default();
    let alertname = r.required_text("alertname").map(str::to_owned);
    let mut expected = Vec::new();
    for item in r.list("exp_alerts") {
        let Some(mut own) = r.item(item) else { continue };
        let labels =
            labels_of(&mut own, "exp_labels").with("alertname", alertname.clone().unwrap_or_default());
        let annotations = labels_of(&mut own, "exp_annotations");
        finish(own, ignore_unknown);
        expected.push(ExpectedAlert { labels, annotations });
    }
    finish(r, ignore_unknown);
    Some(AlertCase { line, at, alertname: alertname?, expected })
}

fn read_expr(mut r: MapReader<'_>, ignore_unknown: bool) -> Option<ExprCase> {
    let line = r.node.line;
    let at = r.duration("eval_time", model::duration::parse).unwrap_or_default();
    let node = r.required("expr");
    let query = r.text("expr").unwrap_or("").to_owned();
    let expr = match (node, promql::parse(&query)) {
        (_, Ok(expr)) => Some(expr),
        (Some(node), Err(e)) => {
            r.problem(node, format!("`expr`: {e}"));
            None
        }
        (None, Err(_)) => None,
    };
    let mut expected = Vec::new();
    for item in r.list("exp_samples") {
        let Some(mut own) = r.item(item) else { continue };
        let labels = own.text("labels").filter(|t| !t.is_empty()).unwrap_or("{}").to_owned();
        let value = own.text("value").map(str::to_owned);
        let histogram = own.text("histogram").map(str::to_owned);
        let written = histogram.or(value).unwrap_or_else(|| "0".to_owned());
        match parse_series(&format!("{labels} {written}")) {
            Ok(SeriesDescription { labels, values, .. }) => {
                expected.extend(values.into_iter().next().map(|v| (labels, v)));
            }
            Err(e) => own.problem(item, format!("the expected sample does not parse: {e}")),
        }
        finish(own, ignore_unknown);
    }
    finish(r, ignore_unknown);
    Some(ExprCase { line, at, query, expr: expr?, expected })
}
