//! Prometheus rule files, read with places.

use kit::{
    problem::Problems,
    yaml::{Document, MapReader, Node},
};
use model::{Labels, labels};
use promql::ast::{DurationKind, Expr, ExprKind, ValueType};
use std::{collections::BTreeMap, sync::Arc, time::Duration};
use template::Template;

/// What a rule does with its result.
#[derive(Debug, Clone)]
pub enum RuleKind {
    Record,
    Alert { hold: Duration, keep_firing: Duration, annotations: Vec<(String, Arc<Template>)> },
}

/// One rule.
#[derive(Debug, Clone)]
pub struct RuleConfig {
    /// The metric that is recorded, or the alert's name.
    pub name: String,
    pub kind: RuleKind,
    /// As written, for people.
    pub query: String,
    pub expr: Arc<Expr>,
    /// How far back from its time the expression looks through ranges and subqueries, in milliseconds.
    pub looks_back_ms: i64,
    /// Names with templates (an alert's) or plain text (a recording's).
    pub labels: Vec<(String, Arc<Template>)>,
    /// The labels as written.
    pub label_texts: Labels,
    pub annotation_texts: Labels,
}

impl RuleConfig {
    pub fn is_alert(&self) -> bool {
        matches!(self.kind, RuleKind::Alert { .. })
    }
}

/// Rules that are evaluated one after the other, at the same time.
#[derive(Debug, Clone)]
pub struct GroupConfig {
    pub file: String,
    pub name: String,
    /// `None`: the global interval.
    pub interval: Option<Duration>,
    /// How far back in time the group is evaluated.
    pub query_offset: Duration,
    /// The most series or alerts that a rule may give; 0: no limit.
    pub limit: usize,
    pub rules: Vec<RuleConfig>,
}

/// A file, checked.
#[derive(Debug, Clone, Default)]
pub struct RuleFile {
    pub groups: Vec<GroupConfig>,
}

impl RuleFile {
    /// Reads a file's text; `file` is its name in messages. Documents after the first are ignored, as
    /// Prometheus ignores them.
    ///
    /// # Errors
    /// Every problem of the file.
    pub fn parse(file: &str, text: &str) -> Result<RuleFile, Problems> {
        Self::parse_with(file, text, false)
    }

    /// The same, optionally letting fields pass that nobody knows.
    ///
    /// # Errors
    /// Every problem of the file.
    pub fn parse_with(file: &str, text: &str, ignore_unknown: bool) -> Result<RuleFile, Problems> {
        let Some(doc) = Document::parse_documents(file, text)?.into_iter().next() else {
            return Ok(RuleFile::default());
        };
        let mut problems = Problems::default();
        let mut groups: Vec<GroupConfig> = Vec::new();
        if let Some(mut root) = doc.reader(&mut problems) {
            for item in root.list("groups") {
                let Some(group) = root.item(item).and_then(|r| read_group(r, file, ignore_unknown)) else {
                    continue;
                };
                if groups.iter().any(|g| g.name == group.name) {
                    root.problem(item, format!("this file already has a group named `{}`", group.name));
                }
                groups.push(group);
            }
            finish(root, ignore_unknown);
        }
        problems.into_result(RuleFile { groups })
    }
}

fn finish(r: MapReader<'_>, ignore_unknown: bool) {
    if !ignore_unknown {
        r.finish();
    }
}

fn read_group(mut r: MapReader<'_>, file: &str, ignore_unknown: bool) -> Option<GroupConfig> {
    let name = r.required_text("name").map(str::to_owned);
    let interval = r.duration("interval", model::duration::parse).filter(|d| !d.is_zero());
    let query_offset = r.duration("query_offset", model::duration::parse).unwrap_or_default();
    let limit = r.u64("limit").map_or(0, |n| usize::try_from(n).unwrap_or(usize::MAX));
    let group_labels = read_labels(&mut r, "labels");
    let mut rules = Vec::new();
    for item in r.list("rules") {
        let Some(rule) = r.item(item).and_then(|rule| read_rule(rule, &group_labels, ignore_unknown)) else {
            continue;
        };
        rules.push(rule);
    }
    finish(r, ignore_unknown);
    Some(GroupConfig { file: file.to_owned(), name: name?, interval, query_offset, limit, rules })
}

/// Labels or annotations: name and value as written, with their nodes.
fn read_labels<'a>(r: &mut MapReader<'a>, field: &'static str) -> Vec<(String, &'a Node)> {
    let mut all = Vec::new();
    for (key, value) in r.text_map(field) {
        let name = key.text().unwrap_or("").to_owned();
        let reserved = field == "labels" && name == labels::METRIC_NAME;
        if name.is_empty() || reserved {
            r.problem(key, format!("{name:?} cannot be the name of a label here"));
        }
        all.push((name, value));
    }
    all
}

fn read_rule(
    mut r: MapReader<'_>,
    group_labels: &[(String, &Node)],
    ignore_unknown: bool,
) -> Option<RuleConfig> {
    let (record, alert) = (r.node("record"), r.node("alert"));
    let (record_name, alert_name) = (r.text("record"), r.text("alert"));
    let expr = read_expr(&mut r);
    let hold = r.duration("for", model::duration::parse);
    let keep_firing = r.duration("keep_firing_for", model::duration::parse);
    let annotations = read_labels(&mut r, "annotations");
    let mut own: BTreeMap<String, &Node> = group_labels.iter().map(|(n, v)| (n.clone(), *v)).collect();
    own.extend(read_labels(&mut r, "labels"));
    let node = r.node;
    match (record, alert) {
        (None, None) => r.problem(node, "a rule has either `record` or `alert`"),
        (Some(_), Some(second)) => r.problem(second, "a rule has either `record` or `alert`, not both"),
        _ => {}
    }
    if let Some(place) = record {
        let name = record_name.unwrap_or("");
        if name.is_empty() || name.chars().any(|c| "{}".contains(c)) || !is_metric_name(name) {
            r.problem(place, format!("{name:?} is no metric name"));
        }
        for field in ["for", "keep_firing_for", "annotations"] {
            if let Some(wrong) = r.node(field) {
                r.problem(wrong, format!("`{field}` belongs to alerts, not to recordings"));
            }
        }
    }
    let is_alert = alert.is_some();
    let text = |node: &Node| node.text().unwrap_or("").to_owned();
    let label_texts = Labels::from_pairs(own.iter().map(|(n, v)| (n.clone(), text(v))));
    let annotation_texts = Labels::from_pairs(annotations.iter().map(|(n, v)| (n.clone(), text(v))));
    let labels: Vec<_> =
        own.iter().filter_map(|(n, v)| Some((n.clone(), read_template(&mut r, n, v, is_alert)?))).collect();
    let annotations: Vec<_> = annotations
        .iter()
        .filter_map(|(n, v)| Some((n.clone(), read_template(&mut r, n, v, true)?)))
        .collect();
    finish(r, ignore_unknown);
    let (query, expr) = expr?;
    let name = record_name.or(alert_name)?.to_owned();
    let kind = if is_alert {
        RuleKind::Alert {
            hold: hold.unwrap_or_default(),
            keep_firing: keep_firing.unwrap_or_default(),
            annotations,
        }
    } else {
        RuleKind::Record
    };
    let looks_back_ms = looks_back_ms(&expr);
    Some(RuleConfig {
        name,
        kind,
        query,
        expr: Arc::new(expr),
        looks_back_ms,
        labels,
        label_texts,
        annotation_texts,
    })
}

/// The longest range of a selector and of a subquery, together: enough for any way in which they nest.
fn looks_back_ms(expr: &Expr) -> i64 {
    let (mut selector, mut subquery) = (0, 0);
    expr.walk(&mut |e| match &e.kind {
        ExprKind::Selector(s) => selector = selector.max(s.range.as_ref().map_or(0, length_ms)),
        ExprKind::Subquery(s) => subquery = subquery.max(length_ms(&s.range)),
        _ => {}
    });
    selector.saturating_add(subquery)
}

/// A range in milliseconds; five minutes for one that is computed from the query's own step.
fn length_ms(duration: &promql::ast::Duration) -> i64 {
    match &duration.kind {
        #[expect(clippy::cast_possible_truncation, reason = "saturates for absurd ranges")]
        DurationKind::Number(number) => (number.value * 1000.0) as i64,
        _ => 300_000,
    }
}

/// Any UTF-8 may name a metric (Prometheus 3).
fn is_metric_name(name: &str) -> bool {
    !name.is_empty() && !name.contains('\0')
}

fn read_expr(r: &mut MapReader<'_>) -> Option<(String, Expr)> {
    let node = r.required("expr")?;
    let text = r.text("expr")?;
    if text.trim().is_empty() {
        r.problem(node, "`expr` must not be empty");
        return None;
    }
    // Positions in the expression are positions in what is kept as its text.
    let query = text.trim();
    let lead = text.len() - text.trim_start().len();
    match promql::parse(query) {
        Ok(expr) => {
            if matches!(expr.value_type(), ValueType::Vector | ValueType::Scalar) {
                return Some((query.to_owned(), expr));
            }
            let kind = expr.value_type().as_str();
            r.problem(node, format!("a rule needs an instant vector or a scalar, this is a {kind}"));
            None
        }
        Err(errors) => {
            for e in errors.iter() {
                let offset = text.get(..lead + e.span.start).map_or(0, |before| before.chars().count());
                let problem = r.doc.problem_within(node, offset, format!("`expr`: {}", e.message));
                r.problems.push(problem);
            }
            None
        }
    }
}

/// A text with `{{ }}`; a recording's labels are plain text, which parses to itself.
fn read_template(r: &mut MapReader<'_>, name: &str, node: &Node, templated: bool) -> Option<Arc<Template>> {
    let text = node.text().unwrap_or("");
    let escaped;
    let source = if templated || !text.contains("{{") {
        text
    } else {
        escaped = text.replace("{{", "{{\"{{\"}}");
        &escaped
    };
    match template::parse_alert(name, source) {
        Ok(template) => Some(Arc::new(template)),
        Err(e) => {
            let before: usize =
                source.lines().take(e.line.saturating_sub(1)).map(|l| l.chars().count() + 1).sum();
            let offset = before + e.column.saturating_sub(1);
            let problem = r.doc.problem_within(node, offset, format!("`{name}`: {}", e.message));
            r.problems.push(problem);
            None
        }
    }
}

#[cfg(test)]
pub(crate) mod tests;
