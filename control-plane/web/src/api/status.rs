//! `targets`, `rules`, `alerts`, `status/*`, and `/-/healthy`, `/-/ready`, `/-/reload`.

use super::{ApiFailure, success};
use crate::{Plane, Routes, TargetView, access::Need, access::Role, params::Params};
use axum::response::{IntoResponse, Response};
use http::{Method, StatusCode};
use kit::telemetry::rfc3339;
use model::Timestamp;
use rules::{GroupView, RuleView};
use serde_json::{Value, json};
use state::alerts::{AlertPhase, StoredAlert};
use std::sync::atomic::Ordering;

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
                "goVersion": "", "application": "vigie",
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

fn targets(plane: &Plane, params: &Params) -> Result<Response, ApiFailure> {
    let state = params.get("state").unwrap_or("any").to_lowercase();
    if !matches!(state.as_str(), "active" | "dropped" | "any") {
        return Err(ApiFailure::bad_data(format!(
            "invalid parameter \"state\": {state:?} is not active, dropped or any"
        )));
    }
    let pool = params.get("scrapePool");
    let active: Vec<Value> = if state == "dropped" {
        Vec::new()
    } else {
        plane.observed.targets().iter().filter(|t| pool.is_none_or(|p| p == t.pool)).map(target).collect()
    };
    let gone = plane.observed.dropped();
    let dropped: Vec<Value> = if state == "active" {
        Vec::new()
    } else {
        gone.iter().map(|l| json!({"discoveredLabels": l})).collect()
    };
    Ok(success(json!({
        "activeTargets": active,
        "droppedTargets": dropped,
        "droppedTargetCounts": {},
    })))
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

fn rule_groups(plane: &Plane, params: &Params) -> Result<Response, ApiFailure> {
    let kind = params.get("type");
    if let Some(other) = kind.filter(|k| !matches!(*k, "alert" | "record")) {
        return Err(ApiFailure::bad_data(format!(
            "invalid parameter \"type\": not supported value {other:?}"
        )));
    }
    let (names, groups, files): (Vec<&str>, Vec<&str>, Vec<&str>) = (
        params.all("rule_name[]").collect(),
        params.all("rule_group[]").collect(),
        params.all("file[]").collect(),
    );
    let with_alerts = !matches!(params.get("exclude_alerts"), Some("true" | "1"));
    let wanted = |list: &[&str], value: &str| list.is_empty() || list.contains(&value);
    let mut shown = Vec::new();
    for group in plane.rules.view() {
        let group: &GroupView = &group;
        if !wanted(&groups, &group.name) || !wanted(&files, &group.file) {
            continue;
        }
        let rules: Vec<Value> = group
            .rules
            .iter()
            .filter(|r| wanted(&names, &r.name))
            .filter(|r| kind.is_none_or(|k| (k == "alert") == r.is_alert))
            .map(|r| rule(r, with_alerts))
            .collect();
        if rules.is_empty() && (kind.is_some() || !names.is_empty()) {
            continue;
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
    Ok(success(json!({ "groups": shown })))
}
