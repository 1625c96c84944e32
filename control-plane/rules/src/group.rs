//! Evaluating one group at one time: rule after rule, each seeing what those before it recorded.

use crate::{
    alert::{Alerts, Changes, Found, Timing},
    config::{GroupConfig, RuleConfig, RuleKind},
};
use model::{
    Append, AppendError, Batch, Cancel, Labels, Select, SeriesRef, Timestamp, Value, labels::METRIC_NAME,
    stale_nan,
};
use promql::{Engine, EvalError, QueryValue, Repeats, Shared};
use state::alerts::AlertPhase;
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};
use template::{AlertText, CallError, Host};

/// What an evaluation reads, writes and knows.
#[derive(Debug, Clone, Copy)]
pub struct World<'a> {
    pub engine: &'a Engine,
    pub select: &'a dyn Select,
    pub append: &'a dyn Append,
    pub cancel: &'a Cancel,
    pub external_url: &'a str,
    pub external_labels: &'a [(String, String)],
    /// Since when the targets have been seen again after a start. Before that no alert ends; after it, an alert
    /// ends only once its expression looks back on nothing but what has been seen since.
    pub settled_at: Timestamp,
}

/// Why a rule gave nothing.
#[derive(Debug, thiserror::Error)]
pub enum RuleError {
    #[error("{0}")]
    Eval(#[from] EvalError),
    #[error("two results have the same labels {0} once the rule's labels are applied")]
    Duplicate(Labels),
    #[error("the rule gives {found} results, its group allows {limit}")]
    Limit { found: usize, limit: usize },
    #[error("the results could not be written")]
    Append(#[from] AppendError),
}

/// One rule while it runs.
#[derive(Debug)]
pub struct RuleState {
    pub config: RuleConfig,
    pub alerts: Alerts,
    /// Series that the last evaluation wrote: those that vanish get a staleness marker.
    written: BTreeSet<Labels>,
    pub last_error: Option<String>,
    pub last_evaluation: Option<Timestamp>,
    pub evaluation_time: Duration,
    pub evaluations: u64,
    pub failures: u64,
}

/// A group while it runs.
#[derive(Debug)]
pub struct GroupState {
    pub config: Arc<GroupConfig>,
    pub rules: Vec<RuleState>,
    refs: BTreeMap<Labels, SeriesRef>,
    repeats: Arc<Repeats>,
    /// Set while the disk has not taken a change: then everything is saved anew with the next one.
    pub unsaved: Option<Vec<(String, Labels)>>,
}

impl GroupState {
    /// A group whose alerts begin with `stored`, by the rule they belong to. `ordinals` counts rules that look
    /// the same, over all groups of all files: two files may have a group of one name.
    pub fn new(
        config: Arc<GroupConfig>,
        ordinals: &mut BTreeMap<String, usize>,
        mut stored: impl FnMut(&str) -> Alerts,
    ) -> Self {
        let rules = config
            .rules
            .iter()
            .map(|rule| {
                let base = rule_key(&config, rule);
                let ordinal = ordinals.entry(base.clone()).or_default();
                let key = if *ordinal == 0 { base.clone() } else { format!("{base}#{ordinal}") };
                *ordinal += 1;
                let mut alerts = stored(&key);
                alerts.rule = key;
                RuleState {
                    config: rule.clone(),
                    alerts,
                    written: BTreeSet::new(),
                    last_error: None,
                    last_evaluation: None,
                    evaluation_time: Duration::ZERO,
                    evaluations: 0,
                    failures: 0,
                }
            })
            .collect();
        let expressions: Vec<_> = config.rules.iter().map(|r| (&*r.query, &*r.expr)).collect();
        let repeats = Arc::new(Repeats::of(&expressions));
        GroupState { config, rules, refs: BTreeMap::new(), repeats, unsaved: None }
    }

    /// Evaluates every rule at `at`. What must be saved comes back; errors stay with their rules.
    /// `elapsed` is monotonic time, for the rules' durations.
    pub fn evaluate(&mut self, at: Timestamp, world: World<'_>, elapsed: &dyn Fn() -> Duration) -> Changes {
        let mut changes = Changes::default();
        let offset = millis(self.config.query_offset);
        let mut shared = self.repeats.begin();
        for i in 0..self.rules.len() {
            let begun = elapsed();
            let outcome = self.evaluate_rule(i, at, at - offset, world, &mut shared);
            // Rules see what those before them wrote.
            match self.rules[i].config.kind {
                RuleKind::Record => shared.written(&self.rules[i].config.name),
                RuleKind::Alert { .. } => ALERT_SERIES.iter().for_each(|name| shared.written(name)),
            }
            let rule = &mut self.rules[i];
            rule.evaluation_time = elapsed().saturating_sub(begun);
            rule.last_evaluation = Some(at);
            rule.evaluations += 1;
            match outcome {
                Ok(own) => {
                    rule.last_error = None;
                    changes.put.extend(own.put);
                    changes.forget.extend(own.forget);
                }
                Err(e) => {
                    rule.failures += 1;
                    rule.last_error = Some(e.to_string());
                }
            }
        }
        changes
    }

    /// What must be saved after changes that the disk did not take: every alert as it stands, and what is to be
    /// forgotten of those that have not come back.
    pub fn with_unsaved(&self, mut changes: Changes) -> Changes {
        let Some(forget) = &self.unsaved else { return changes };
        changes.put = self.rules.iter().flat_map(|r| r.alerts.all.values().cloned()).collect();
        changes.forget.extend(forget.iter().cloned());
        let back: BTreeSet<(&str, &Labels)> = changes.put.iter().map(|a| (&*a.rule, &a.labels)).collect();
        changes.forget.retain(|(rule, labels)| !back.contains(&(&**rule, labels)));
        changes
    }

    fn evaluate_rule(
        &mut self,
        i: usize,
        at: Timestamp,
        query_at: Timestamp,
        world: World<'_>,
        shared: &mut Shared,
    ) -> Result<Changes, RuleError> {
        let rule = &self.rules[i];
        let results = query(world, &rule.config.expr, query_at, Some((shared, i)))?;
        let limit = self.config.limit;
        if limit > 0 && results.len() > limit {
            return Err(RuleError::Limit { found: results.len(), limit });
        }
        match &rule.config.kind {
            RuleKind::Record => {
                let samples = record(&rule.config, results)?;
                self.write(i, query_at, samples, world.append)?;
                Ok(Changes::default())
            }
            RuleKind::Alert { hold, keep_firing, annotations } => {
                let may_end = at.saturating_sub(world.settled_at) >= rule.config.looks_back_ms;
                let timing = Timing { hold: millis(*hold), keep_firing: millis(*keep_firing), may_end };
                let found = expand(&rule.config, annotations, results, query_at, world)?;
                let changes = self.rules[i].alerts.follow(at, found, timing);
                let samples = alert_series(&self.rules[i]);
                self.write(i, query_at, samples, world.append)?;
                Ok(changes)
            }
        }
    }

    /// Writes a rule's series, and a staleness marker for each that it wrote before and no more.
    fn write(
        &mut self,
        i: usize,
        at: Timestamp,
        samples: Vec<(Labels, Value)>,
        append: &dyn Append,
    ) -> Result<(), AppendError> {
        let now: BTreeSet<Labels> = samples.iter().map(|(l, _)| l.clone()).collect();
        let vanished: Vec<Labels> = self.rules[i].written.difference(&now).cloned().collect();
        let ends = vanished.into_iter().map(|l| (l, Value::Float(stale_nan())));
        let all: Vec<(Labels, Value)> = samples.into_iter().chain(ends).collect();
        for fresh in [false, true] {
            let mut batch = Batch::at(at);
            for (labels, value) in &all {
                let known = if fresh { None } else { self.refs.get(labels).copied() };
                let series = match known {
                    Some(series) => series,
                    None => {
                        let series = append.resolve(labels)?;
                        self.refs.insert(labels.clone(), series);
                        series
                    }
                };
                match value {
                    Value::Float(v) => batch.push(series, *v),
                    Value::Histogram(_) => {
                        batch.entries.push(model::Entry {
                            series,
                            at: None,
                            start: None,
                            value: value.clone(),
                        });
                    }
                }
            }
            let outcome = append.append(&batch)?;
            // The store may have retired a series that was silent for long: then ask for it anew, once.
            let retired = outcome.rejected.iter().any(|(_, why)| *why == model::Reject::UnknownSeries);
            if !retired {
                break;
            }
        }
        self.refs.retain(|labels, _| now.contains(labels) || !self.rules[i].written.contains(labels));
        self.rules[i].written = now;
        Ok(())
    }

    /// Marks every series of the group as ended: the group is no more.
    pub fn end_series(&mut self, at: Timestamp, append: &dyn Append) -> Result<(), AppendError> {
        for i in 0..self.rules.len() {
            self.write(i, at, Vec::new(), append)?;
        }
        Ok(())
    }
}

/// Stable across restarts and edits of the expression, so that an alert keeps its state through both.
pub fn rule_key(group: &GroupConfig, rule: &RuleConfig) -> String {
    format!("{}/{}/{:016x}", group.name, rule.name, rule.label_texts.stable_hash())
}

fn millis(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}

/// An expression's result as labelled values. A scalar is one value without labels.
fn query(
    world: World<'_>,
    expr: &promql::ast::Expr,
    at: Timestamp,
    beside: Option<(&mut Shared, usize)>,
) -> Result<Vec<(Labels, Value)>, EvalError> {
    let result = world.engine.instant_beside(world.select, expr, at, world.cancel, beside)?;
    Ok(match result.value {
        QueryValue::Vector(samples) => samples.into_iter().map(|s| (s.labels, s.value)).collect(),
        QueryValue::Scalar { value, .. } => vec![(Labels::default(), Value::Float(value))],
        QueryValue::String { .. } | QueryValue::Matrix(_) => Vec::new(),
    })
}

fn record(rule: &RuleConfig, results: Vec<(Labels, Value)>) -> Result<Vec<(Labels, Value)>, RuleError> {
    let mut seen = BTreeSet::new();
    let mut samples = Vec::with_capacity(results.len());
    for (labels, value) in results {
        let mut builder = labels.edit();
        builder.set(METRIC_NAME, rule.name.as_str());
        for label in &rule.label_texts {
            builder.set(Arc::clone(&label.name), Arc::clone(&label.value));
        }
        let labels = builder.build();
        if !seen.insert(labels.clone()) {
            return Err(RuleError::Duplicate(labels));
        }
        samples.push((labels, value));
    }
    Ok(samples)
}

/// Labels and annotations of each result. A template that fails says so in its text: the alert is more
/// important than its prose.
fn expand(
    rule: &RuleConfig,
    annotations: &[(String, Arc<template::Template>)],
    results: Vec<(Labels, Value)>,
    at: Timestamp,
    world: World<'_>,
) -> Result<Vec<Found>, RuleError> {
    let host = QueryHost { world, at };
    let mut found = Vec::with_capacity(results.len());
    let mut seen = BTreeSet::new();
    for (labels, value) in results {
        let pairs: Vec<(String, String)> =
            labels.iter().map(|l| (l.name.to_string(), l.value.to_string())).collect();
        let number = match &value {
            Value::Float(v) => *v,
            Value::Histogram(h) => h.sum,
        };
        let shown = match &value {
            Value::Float(v) => template::Value::Float(*v),
            Value::Histogram(h) => template::Value::str(format!("{h:?}")),
        };
        let about = AlertText {
            labels: &pairs,
            external_labels: world.external_labels,
            external_url: world.external_url,
            value: &shown,
        };
        let text = |t: &template::Template| {
            template::expand_alert(t, about, &host)
                .unwrap_or_else(|e| format!("<error expanding template: {e}>"))
        };
        let mut builder = labels.edit();
        builder.remove(METRIC_NAME);
        for (name, template) in &rule.labels {
            builder.set(name.as_str(), text(template));
        }
        builder.set("alertname", rule.name.as_str());
        let labels = builder.build();
        if !seen.insert(labels.clone()) {
            return Err(RuleError::Duplicate(labels));
        }
        let annotations = Labels::from_pairs(annotations.iter().map(|(n, t)| (n.clone(), text(t))));
        found.push(Found { labels, annotations, value: number });
    }
    Ok(found)
}

/// What alerting rules write.
const ALERT_SERIES: [&str; 2] = ["ALERTS", "ALERTS_FOR_STATE"];

/// [`ALERT_SERIES`], as Prometheus writes them.
fn alert_series(rule: &RuleState) -> Vec<(Labels, Value)> {
    let mut samples = Vec::new();
    for alert in rule.alerts.all.values().filter(|a| a.phase != AlertPhase::Resolved) {
        let [alerts, since_when] = ALERT_SERIES;
        let named = alert.labels.with(METRIC_NAME, alerts).with("alertstate", alert.phase.as_str());
        samples.push((named, Value::Float(1.0)));
        #[expect(clippy::cast_precision_loss, reason = "seconds since 1970 are far below 2^53")]
        let since = (alert.active_at / 1000) as f64;
        samples.push((alert.labels.with(METRIC_NAME, since_when), Value::Float(since)));
    }
    samples
}

/// What templates may ask while an alert's texts are expanded.
#[derive(Debug)]
struct QueryHost<'a> {
    world: World<'a>,
    at: Timestamp,
}

impl Host for QueryHost<'_> {
    fn now_ms(&self) -> i64 {
        self.at
    }

    fn query(&self, text: &str) -> Result<Vec<template::Sample>, CallError> {
        let expr = promql::parse(text).map_err(|e| CallError::new(e.to_string()))?;
        let results = query(self.world, &expr, self.at, None).map_err(|e| CallError::new(e.to_string()))?;
        Ok(results
            .into_iter()
            .map(|(labels, value)| template::Sample {
                labels: labels.iter().map(|l| (l.name.to_string(), l.value.to_string())).collect(),
                value: match value {
                    Value::Float(v) => template::Value::Float(v),
                    Value::Histogram(h) => template::Value::str(format!("{h:?}")),
                },
            })
            .collect())
    }

    fn external_url(&self) -> &str {
        self.world.external_url
    }
}

#[cfg(test)]
mod tests;
