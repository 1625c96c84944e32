//! `targets`, `rules`, `alerts`, `status/*`, and `/-/healthy`, `/-/ready`, `/-/reload`.

use super::{ApiFailure, success};
use crate::{
    Plane, Routes, TargetView,
    access::{Need, Role},
    params::{Params, invalid},
};
use axum::response::{IntoResponse, Response};
use http::{Method, StatusCode};
use kit::telemetry::rfc3339;
use model::{Labels, Matcher, Timestamp};
use rules::{GroupView, RuleView};
use serde_json::{Value, json};
use state::alerts::{AlertPhase, StoredAlert};
use std::{collections::BTreeMap, sync::atomic::Ordering};

/// Go's zero time, which stands for never.
const NEVER: &str = "0001-01-01T00:00:00Z";

pub(super) fn add(routes: &mut Routes, plane: &Plane, need: Need) {
    let open = Need::Role(Role::Open);
    let own = plane.clone();
    routes.add(Method::GET, "/api/v1/targets", need, move |params: Params| {
        let plane = own.clone();
        async move { targets(&plane, &params) }
    });
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
    routes.add(Method::GET, "/api/v1/status/buildinfo", need, move || {
        let version = own.version;
        async move {
            success(json!({
                "version": version, "revision": "", "branch": "", "buildUser": "", "buildDate": "",
                "goVersion": "",
            }))
        }
    });
    routes.add(Method::GET, "/-/healthy", open, || async { "Vigie is healthy.\n" });
    let own = plane.clone();
    routes.add(Method::GET, "/-/ready", open, move || {
        let ready = own.ready.load(Ordering::Relaxed);
        async move {
            if ready {
                (StatusCode::OK, "Vigie is ready.\n").into_response()
            } else {
                let message = "Vigie is starting: its store is being read.\n";
                (StatusCode::SERVICE_UNAVAILABLE, message).into_response()
            }
        }
    });
    for method in [Method::POST, Method::PUT] {
        let own = plane.clone();
        routes.add(method, "/-/reload", Need::Role(Role::Operator), move || {
            let plane = own.clone();
            async move {
                match (plane.reload.0)().await {
                    Ok(()) => (StatusCode::OK, "reloaded\n").into_response(),
                    Err(problems) => {
                        kit::http::ApiError::new(StatusCode::BAD_REQUEST, "bad_configuration", problems)
                            .into_response()
                    }
                }
            }
        });
    }
}

fn time(at: Option<Timestamp>) -> String {
    at.map_or_else(|| NEVER.to_owned(), rfc3339)
}

fn target(view: &TargetView) -> Value {
    json!({
        "discoveredLabels": view.discovered,
        "labels": view.labels,
        "scrapePool": view.pool,
        "scrapeUrl": view.url,
        "globalUrl": view.url,
        "lastError": view.error.clone().unwrap_or_default(),
        "lastScrape": time(view.last),
        "lastScrapeDuration": view.duration.as_secs_f64(),
        "health": match view.up { None => "unknown", Some(true) => "up", Some(false) => "down" },
        "scrapeInterval": model::duration::format(view.interval),
        "scrapeTimeout": model::duration::format(view.timeout),
    })
}

fn targets(plane: &Plane, params: &Params) -> Response {
    let pool = params.get("scrapePool");
    let wanted = |p: &str| pool.is_none_or(|asked| asked == p);
    let mut active: Vec<Value> =
        plane.observed.targets().iter().filter(|t| wanted(&t.pool)).map(target).collect();
    let mut dropped = Vec::new();
    let mut counts: BTreeMap<String, usize> = BTreeMap::new();
    for labels in plane.observed.dropped() {
        // A target begins with its pool as its job.
        let pool = labels.value("job").to_owned();
        *counts.entry(pool.clone()).or_default() += 1;
        if wanted(&pool) {
            dropped.push(json!({"discoveredLabels": labels, "scrapePool": pool}));
        }
    }
    // Other states are ignored.
    match params.get("state").unwrap_or("").to_lowercase().as_str() {
        "active" => dropped.clear(),
        "dropped" => active.clear(),
        _ => {}
    }
    success(json!({
        "activeTargets": active,
        "droppedTargets": dropped,
        "droppedTargetCounts": counts,
    }))
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
