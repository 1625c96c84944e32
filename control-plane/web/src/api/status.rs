//! `status/*` but for the store's, `features`, and `/-/healthy`, `/-/ready`, `/-/reload`.

use super::success;
use crate::{
    Plane, Routes,
    access::{Need, Role},
};
use axum::response::{IntoResponse, Response};
use http::{Method, StatusCode};
use kit::telemetry::rfc3339;
use model::duration;
use serde_json::json;
use std::sync::atomic::Ordering;

pub(super) fn add(routes: &mut Routes, plane: &Plane, need: Need) {
    for (path, answer) in [
        ("/api/v1/status/buildinfo", build_info as fn(&Plane) -> Response),
        ("/api/v1/status/config", |plane| success(json!({"yaml": plane.about.config()}))),
        ("/api/v1/status/flags", |plane| success(plane.about.flags())),
        ("/api/v1/status/runtimeinfo", runtime_info),
        // The log is read before anything is served.
        ("/api/v1/status/walreplay", |_| success(json!({"min": 0, "max": 0, "current": 0}))),
        ("/api/v1/features", features),
    ] {
        let own = plane.clone();
        routes.add(Method::GET, path, need, move || {
            let plane = own.clone();
            async move { answer(&plane) }
        });
    }
    control(routes, plane);
}

/// The Prometheus whose API this is. Clients go by the version: Grafana asks one before 2.24 for whole series where it
/// wants the values of a label.
const PROMETHEUS: &str = "3.14.0";

fn build_info(plane: &Plane) -> Response {
    success(json!({
        "version": PROMETHEUS, "revision": plane.version, "branch": "Vigie", "buildUser": "", "buildDate": "",
        "goVersion": "",
    }))
}

fn runtime_info(plane: &Plane) -> Response {
    let about = plane.about.runtime();
    let mut retention = duration::format(about.retention);
    if let Some(bytes) = about.retention_bytes {
        retention = format!("{retention} or {bytes}B");
    }
    let damaged = plane.tsdb.as_ref().map_or(0, |store| store.stats().damaged_pieces);
    success(json!({
        "startTime": rfc3339(about.started),
        "CWD": about.directory,
        "hostname": about.hostname,
        "serverTime": rfc3339(plane.clock.now_ms()),
        "reloadConfigSuccess": about.reloaded,
        "lastConfigTime": rfc3339(about.configured),
        "corruptionCount": damaged,
        // What comes nearest here: the loops that run.
        "goroutineCount": plane.tasks.status().len(),
        "GOMAXPROCS": about.parallelism,
        // As Go has it: the largest number means no limit.
        "GOMEMLIMIT": about.memory_limit.and_then(|l| i64::try_from(l).ok()).unwrap_or(i64::MAX),
        "GOGC": "",
        "GODEBUG": "",
        "storageRetention": retention,
    }))
}

/// What is there of what clients ask for by name.
fn features(plane: &Plane) -> Response {
    let config = plane.engine.config();
    let experimental = config.experimental;
    success(json!({
        "api": {
            "admin": plane.tsdb.is_some(),
            "exemplars": true,
            "lifecycle": true,
            "otlp_write_receiver": true,
            "remote_read": true,
            "remote_write_receiver": true,
            "query_stats": true,
            "query_warnings": true,
        },
        "promql": {
            "anchored": experimental,
            "at_modifier": true,
            "delayed_name_removal": config.delayed_name_removal,
            "duration_expr": true,
            "experimental_functions": experimental,
            "fill": experimental,
            "negative_offset": true,
            "per_step_stats": true,
            "smoothed": experimental,
            "subqueries": true,
            "use_start_timestamps": config.start_times,
        },
        "tsdb": {"exemplar_storage": true, "native_histograms": true, "out_of_order_ingestion": true},
    }))
}

fn control(routes: &mut Routes, plane: &Plane) {
    let open = Need::Role(Role::Open);
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
