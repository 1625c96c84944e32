//! `rules`, `alerts`, `alertmanagers`.

use super::{ApiFailure, success, time};
use crate::{
    Plane, Routes,
    access::Need,
    params::{Params, invalid},
};
use axum::response::Response;
use http::Method;
use kit::telemetry::rfc3339;
use model::{Labels, Matcher};
use rules::{GroupView, RuleView};
use serde_json::{Value, json};
use state::alerts::{AlertPhase, StoredAlert};

pub(super) fn add(routes: &mut Routes, plane: &Plane, need: Need) {
    let own = plane.clone();
    routes.add(Method::GET, "/api/v1/rules", need, move |params: Params| {
        let plane = own.clone();
        async move { rule_groups(&plane, &params) }
    });
    let own = plane.clone();
    routes.add(Method::GET, "/api/v1/alerts", need, move || {
        let plane = own.clone();
        async move { alerts(&plane) }
    });
    let own = plane.clone();
    routes.add(Method::GET, "/api/v1/alertmanagers", need, move || {
        let plane = own.clone();
        async move {
            // Vigie delivers alerts itself: those that a prometheus.yml names are known, and get nothing.
            let dropped: Vec<Value> =
                plane.about.alertmanagers().into_iter().map(|url| json!({"url": url})).collect();
            success(json!({"activeAlertmanagers": [], "droppedAlertmanagers": dropped}))
        }
    });
}

fn alert(a: &StoredAlert) -> Value {
    let mut alert = json!({
        "labels": a.labels,
        "annotations": a.annotations,
        "state": a.phase.as_str(),
        "activeAt": rfc3339(a.active_at),
        "value": exponent(a.value),
    });
    if let Some(since) = a.keep_firing_since {
        alert["keepFiringSince"] = rfc3339(since).into();
    }
    alert
}

/// The value of an alert as Go prints it with `%e`.
fn exponent(v: f64) -> String {
    if !v.is_finite() {
        return model::number::format(v);
    }
    let text = format!("{v:e}");
    let (mantissa, exponent) = text.split_once('e').unwrap_or((&text, "0"));
    let (sign, digits) = exponent.strip_prefix('-').map_or(('+', exponent), |d| ('-', d));
    format!("{mantissa}e{sign}{digits:0>2}")
}

fn active(rule: &RuleView) -> impl Iterator<Item = &StoredAlert> {
    rule.alerts.iter().filter(|a| a.phase != AlertPhase::Resolved)
}

fn alerts(plane: &Plane) -> Response {
    let groups = plane.rules.view();
    let all: Vec<Value> = groups.iter().flat_map(|g| &g.rules).flat_map(active).map(alert).collect();
    success(json!({ "alerts": all }))
}

fn rule(view: &RuleView, with_alerts: bool) -> Value {
    let health = if view.last_error.is_some() {
        "err"
    } else if view.last_evaluation.is_some() {
        "ok"
    } else {
        "unknown"
    };
    let mut value = json!({
        "name": view.name,
        "query": view.query,
        "health": health,
        "evaluationTime": view.evaluation_time.as_secs_f64(),
        "lastEvaluation": time(view.last_evaluation),
        "type": if view.is_alert { "alerting" } else { "recording" },
        "labels": view.labels,
    });
    if let Some(error) = &view.last_error {
        value["lastError"] = error.as_str().into();
    }
    if view.is_alert {
        value["duration"] = view.hold.as_secs_f64().into();
        value["keepFiringFor"] = view.keep_firing.as_secs_f64().into();
        value["annotations"] = json!(view.annotations);
        value["state"] = worst(view).into();
        let alerts: Vec<Value> = if with_alerts { active(view).map(alert).collect() } else { Vec::new() };
        value["alerts"] = alerts.into();
    }
    value
}

fn worst(view: &RuleView) -> &'static str {
    let has = |phase| view.alerts.iter().any(|a| a.phase == phase);
    if has(AlertPhase::Firing) {
        "firing"
    } else if has(AlertPhase::Pending) {
        "pending"
    } else {
        "inactive"
    }
}

/// Which rules are asked for.
struct Wanted<'a> {
    kind: Option<&'a str>,
    names: Vec<&'a str>,
    selectors: Vec<Vec<Matcher>>,
}

impl Wanted<'_> {
    fn takes(&self, rule: &RuleView) -> bool {
        self.kind.is_none_or(|kind| (kind == "alert") == rule.is_alert)
            && among(&self.names, &rule.name)
            && (self.selectors.is_empty()
                || self.selectors.iter().any(|set| set.iter().all(|m| m.matches_labels(&rule.labels))))
    }
}

/// Whether a list, if there is one, has this value. Empty values stand for an absent parameter.
fn among(list: &[&str], value: &str) -> bool {
    list.is_empty() || list.contains(&value)
}

/// Where the next page of rule groups begins. People have no use for it, so it shows nothing.
fn token(group: &GroupView) -> String {
    format!("{:016x}", Labels::from_pairs([("file", &*group.file), ("name", &*group.name)]).stable_hash())
}

fn rule_groups(plane: &Plane, params: &Params) -> Result<Response, ApiFailure> {
    let kind = params.get("type");
    if let Some(other) = kind.filter(|k| !matches!(*k, "alert" | "record")) {
        return Err(invalid("type", &format!("not supported value {other:?}")));
    }
    let list = |name| params.all(name).filter(|v| !v.is_empty()).collect::<Vec<&str>>();
    let wanted = Wanted { kind, names: list("rule_name[]"), selectors: params.selectors()? };
    let (groups, files) = (list("rule_group[]"), list("file[]"));
    let with_alerts = !params.flag("exclude_alerts")?;
    let limit = params.count("group_limit")?;
    let mut begin = params.get("group_next_token");
    if begin.is_some() && limit == 0 {
        return Err(invalid("group_limit", "group_limit needs to be set when group_next_token is"));
    }
    let (mut shown, mut next) = (Vec::new(), None);
    for group in plane.rules.view() {
        if begin.take_if(|token| *token == self::token(&group)).is_none() && begin.is_some() {
            continue;
        }
        if !among(&groups, &group.name) || !among(&files, &group.file) {
            continue;
        }
        let rules: Vec<Value> =
            group.rules.iter().filter(|r| wanted.takes(r)).map(|r| rule(r, with_alerts)).collect();
        if rules.is_empty() {
            continue;
        }
        if limit > 0 && shown.len() == limit {
            next = Some(token(&group));
            break;
        }
        shown.push(json!({
            "name": group.name,
            "file": group.file,
            "rules": rules,
            "interval": group.interval.as_secs_f64(),
            "limit": group.limit,
            "evaluationTime": group.evaluation_time.as_secs_f64(),
            "lastEvaluation": time(group.last_evaluation),
        }));
    }
    if let Some(token) = begin {
        return Err(invalid("group_next_token", &format!("no rule group begins at {token:?} any more")));
    }
    let mut data = json!({ "groups": shown });
    if let Some(next) = next {
        data["groupNextToken"] = next.into();
    }
    Ok(success(data))
}
