//! The first page: what is wrong, the services, the targets, the money.

use super::{Frame, clock, lasted, page};
use crate::{
    Plane, Routes,
    access::{Identity, Need},
    api::{How, Query, When, run_query},
};
use askama::Template;
use axum::{
    Extension,
    response::{IntoResponse, Response},
};
use budget::BudgetStatus;
use http::Method;
use kit::http::ApiError;
use model::{Timestamp, Value};
use promql::{InstantSample, QueryValue};
use state::alerts::{AlertPhase, StoredAlert};
use std::{collections::BTreeMap, time::Duration};

/// The page does not wait longer for the uptimes; it shows the process's own instead.
const UPTIME_PATIENCE: Duration = Duration::from_secs(2);

pub(super) fn add(routes: &mut Routes, plane: &Plane, need: Need) {
    let own = plane.clone();
    routes.add(Method::GET, "/", need, move |Extension(who): Extension<Identity>| {
        let (plane, frame) = (own.clone(), Frame::new(&own, &who));
        async move {
            let uptimes = uptimes(&plane).await;
            // It reads the ledger, and may be long.
            let rendered = tokio::task::spawn_blocking(move || answer(&plane, frame, &uptimes)).await;
            rendered.unwrap_or_else(|e| ApiError::internal(&e.into()).into_response())
        }
    });
    let own = plane.clone();
    routes.add(Method::GET, "/status", Need::Role(crate::Role::Open), move || {
        let plane = own.clone();
        async move { page(&Status::of(&plane).await) }
    });
}

/// Rows of one kind that a page shows; the rest is only counted, so that no storm makes a page without end.
const MOST_ROWS: usize = 200;

struct Shown<T> {
    rows: Vec<T>,
    more: usize,
}

impl<T> From<Vec<T>> for Shown<T> {
    fn from(mut rows: Vec<T>) -> Self {
        let more = rows.len().saturating_sub(MOST_ROWS);
        rows.truncate(MOST_ROWS);
        Shown { rows, more }
    }
}

struct AlertRow {
    name: String,
    severity: String,
    summary: String,
    description: String,
    since: String,
    lasted: String,
    labels: String,
    runbook: String,
    graph: String,
}

struct ServiceRow {
    name: String,
    state: &'static str,
    class: &'static str,
    since: String,
    uptime: String,
    latency: String,
    error: String,
    kind: &'static str,
    target: String,
}

struct TargetRow {
    pool: String,
    url: String,
    state: &'static str,
    class: &'static str,
    last: String,
    duration: String,
    error: String,
}

struct BudgetRow {
    name: String,
    committed: String,
    limit: String,
    spent: String,
    reserved: String,
    unconfirmed: String,
    forecast: String,
    percent: i64,
    class: &'static str,
    resets: String,
    refusals: i64,
}

#[derive(Template)]
#[template(path = "home.html")]
struct Home {
    frame: Frame,
    now: String,
    headline: String,
    class: &'static str,
    firing: Shown<AlertRow>,
    pending: Shown<AlertRow>,
    services: Shown<ServiceRow>,
    targets: Shown<TargetRow>,
    budgets: Shown<BudgetRow>,
    troubles: Shown<String>,
    captured: usize,
}

#[derive(Template)]
#[template(path = "status.html")]
struct Status {
    headline: String,
    class: &'static str,
    services: Shown<ServiceRow>,
    now: String,
}

fn answer(plane: &Plane, frame: Frame, uptimes: &BTreeMap<String, f64>) -> Response {
    let now = plane.clock.now_ms();
    let groups = plane.rules.view();
    let mut firing = Vec::new();
    let mut pending = Vec::new();
    for rule in groups.iter().flat_map(|g| &g.rules) {
        for alert in &rule.alerts {
            let row = || alert_row(alert, &rule.query, now);
            match alert.phase {
                AlertPhase::Firing => firing.push(row()),
                AlertPhase::Pending => pending.push(row()),
                AlertPhase::Resolved => {}
            }
        }
    }
    let services = services(plane, now, uptimes);
    let (headline, class) = headline(firing.len(), pending.len(), &services);
    let mut troubles = troubles(plane);
    let budgets = plane.budget.status().unwrap_or_else(|e| {
        tracing::error!(error = %e, "the ledger cannot be read");
        troubles.push("the ledger cannot be read; the log has why".to_owned());
        Vec::new()
    });
    page(&Home {
        frame,
        now: clock(now),
        headline,
        class,
        firing: firing.into(),
        pending: pending.into(),
        services: services.into(),
        targets: targets(plane, now).into(),
        budgets: budgets.into_iter().map(budget_row).collect::<Vec<_>>().into(),
        troubles: troubles.into(),
        captured: plane.alerting.captured().len(),
    })
}

fn headline(firing: usize, pending: usize, services: &[ServiceRow]) -> (String, &'static str) {
    let down = services.iter().filter(|s| s.class == "bad").count();
    let unknown = services.iter().filter(|s| s.class == "unknown").count();
    let plural =
        |n: usize, one: &str, many: &str| if n == 1 { format!("1 {one}") } else { format!("{n} {many}") };
    if firing > 0 {
        (format!("{} now", plural(firing, "alert fires", "alerts fire")), "bad")
    } else if down > 0 {
        let what = plural(down, "service does not answer", "services do not answer");
        (format!("{what}; no alert fires yet"), "bad")
    } else if pending > 0 {
        (
            format!("Nothing fires; {} being watched", plural(pending, "condition is", "conditions are")),
            "warn",
        )
    } else if unknown > 0 || services.is_empty() {
        ("Nothing is known to be wrong; not everything has been seen yet".to_owned(), "warn")
    } else {
        (format!("All is well: {} answer", plural(services.len(), "service", "services")), "good")
    }
}

fn alert_row(a: &StoredAlert, query: &str, now: Timestamp) -> AlertRow {
    let since = a.fired_at.unwrap_or(a.active_at);
    let annotation = |name: &str| a.annotations.value(name).to_owned();
    let runbook = match annotation("runbook_url") {
        url if url.starts_with("http://") || url.starts_with("https://") || url.starts_with('/') => url,
        _ => String::new(),
    };
    let name = a.labels.value("alertname").to_owned();
    let summary = annotation("summary");
    AlertRow {
        summary: if summary.is_empty() { name.clone() } else { summary },
        name,
        severity: a.labels.value("severity").to_owned(),
        description: annotation("description"),
        since: clock(since),
        lasted: lasted(now - since),
        labels: a.labels.drop(&["alertname", "severity"]).to_string(),
        runbook,
        graph: rules::manager::graph_url("", query),
    }
}

fn state(up: Option<bool>) -> (&'static str, &'static str) {
    match up {
        None => ("not seen yet", "unknown"),
        Some(true) => ("up", "good"),
        Some(false) => ("DOWN", "bad"),
    }
}

/// The share of good results of the last day by probe, from the store: it outlives the process, which the
/// collector's own count does not.
async fn uptimes(plane: &Plane) -> BTreeMap<String, f64> {
    let query = Query {
        text: "avg_over_time(probe_success[1d])",
        when: When::At(plane.clock.now_ms()),
        timeout: UPTIME_PATIENCE,
        how: How::default(),
    };
    let Ok(result) = run_query(plane, query, |result, _| result).await else { return BTreeMap::new() };
    let QueryValue::Vector(samples) = result.value else { return BTreeMap::new() };
    let share = |s: InstantSample| match s.value {
        Value::Float(v) => Some((s.labels.value("probe").to_owned(), v)),
        Value::Histogram(_) => None,
    };
    samples.into_iter().filter_map(share).collect()
}

fn services(plane: &Plane, now: Timestamp, uptimes: &BTreeMap<String, f64>) -> Vec<ServiceRow> {
    let mut rows: Vec<ServiceRow> = plane
        .observed
        .probes()
        .into_iter()
        .map(|p| {
            let (state, class) = state(p.up);
            let uptime = uptimes.get(&p.name).copied().or(p.uptime);
            ServiceRow {
                name: p.name,
                state,
                class,
                since: p.since.map_or_else(String::new, |at| format!("for {}", lasted(now - at))),
                uptime: uptime.map_or_else(String::new, |u| format!("{:.2} %", u * 100.0)),
                latency: p
                    .latency
                    .map_or_else(String::new, |l| format!("{:.0} ms", l.as_secs_f64() * 1000.0)),
                error: p.error.unwrap_or_default(),
                kind: p.kind,
                target: p.target,
            }
        })
        .collect();
    // What is wrong comes first.
    rows.sort_by_key(|r| match r.class {
        "bad" => 0,
        "unknown" => 1,
        _ => 2,
    });
    rows
}

fn targets(plane: &Plane, now: Timestamp) -> Vec<TargetRow> {
    let mut rows: Vec<TargetRow> = plane
        .observed
        .targets()
        .into_iter()
        .map(|t| {
            let (state, class) = state(t.up);
            TargetRow {
                pool: t.pool,
                url: t.url,
                state,
                class,
                last: t.last.map_or_else(String::new, |at| format!("{} ago", lasted(now - at))),
                duration: format!("{:.0} ms", t.duration.as_secs_f64() * 1000.0),
                error: t.error.unwrap_or_default(),
            }
        })
        .collect();
    rows.sort_by_key(|r| usize::from(r.class != "bad"));
    rows
}

fn budget_row(b: BudgetStatus) -> BudgetRow {
    let percent = if b.limit_usd.0 > 0 { b.committed_usd.0.saturating_mul(100) / b.limit_usd.0 } else { 100 };
    BudgetRow {
        name: if b.scope.is_empty() { b.budget } else { format!("{} {}", b.budget, b.scope) },
        committed: b.committed_usd.to_string(),
        limit: b.limit_usd.to_string(),
        spent: b.spent_usd.to_string(),
        reserved: b.reserved_usd.to_string(),
        unconfirmed: b.unconfirmed_usd.to_string(),
        forecast: b.forecast_usd.to_string(),
        percent,
        class: match percent {
            ..80 => "good",
            80..100 => "warn",
            _ => "bad",
        },
        resets: clock(b.resets_at),
        refusals: b.refusals,
    }
}

/// What of Vigie's own work fails: loops and deliveries. Rules' errors stand with their loops.
fn troubles(plane: &Plane) -> Vec<String> {
    let mut all = Vec::new();
    for status in plane.tasks.status() {
        if let Some(error) = status.last_error {
            all.push(format!("{}: {error}", status.name));
        }
    }
    for group in plane.alerting.groups() {
        for (integration, error) in group.failing {
            all.push(format!("{integration} cannot be told: {error}"));
        }
    }
    all
}

impl Status {
    async fn of(plane: &Plane) -> Status {
        let now = plane.clock.now_ms();
        let mut services = services(plane, now, &uptimes(plane).await);
        // What goes to everybody tells states and nothing of the inside.
        for row in &mut services {
            row.error.clear();
            row.target.clear();
        }
        let count = |class| services.iter().filter(|s| s.class == class).count();
        let (headline, class) = match (count("bad"), count("unknown")) {
            (0, 0) if !services.is_empty() => ("All services work".to_owned(), "good"),
            (0, _) => ("Not everything has been seen yet".to_owned(), "warn"),
            (1, _) => ("1 service does not answer".to_owned(), "bad"),
            (n, _) => (format!("{n} services do not answer"), "bad"),
        };
        Status { headline, class, services: services.into(), now: clock(now) }
    }
}
