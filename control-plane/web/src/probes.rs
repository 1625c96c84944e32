//! Probes as programs see them, and the door for heartbeats.
//!
//! A heartbeat's call is let in by its own token, whatever else the caller may: whoever runs a nightly job needs no
//! role here, and a role does not make somebody the job.

use crate::{
    Beat, BeatRefusal, Plane, ProbeView, Routes,
    access::{Need, Role},
};
use axum::{
    body::Bytes,
    extract::{Path, RawQuery, rejection::BytesRejection},
};
use http::{HeaderMap, Method, StatusCode, header};
use kit::{
    http::{ApiError, Json, ServiceAuth},
    secret::Secret,
    telemetry::rfc3339,
};
use serde::Deserialize;
use serde_json::{Value, json};

/// A longer body is no message.
const MOST_BYTES: usize = 64 << 10;

pub(crate) fn add(routes: &mut Routes, plane: &Plane) {
    let own = plane.clone();
    routes.add(Method::GET, "/api/vigie/v1/probes", Need::Role(Role::Viewer), move || {
        let plane = own.clone();
        async move {
            let probes: Vec<Value> = plane.observed.probes().into_iter().map(shown).collect();
            Json(json!({ "probes": probes }))
        }
    });
    let own = plane.clone();
    routes.add_get_post(
        "/api/vigie/v1/heartbeats/{name}",
        Need::OwnToken,
        move |Path(name): Path<String>,
              RawQuery(query): RawQuery,
              headers: HeaderMap,
              body: Result<Bytes, BytesRejection>| {
            let plane = own.clone();
            async move {
                let token = Secret::new(ServiceAuth::bearer(&headers).unwrap_or_default());
                let body = body.map_err(|e| {
                    ApiError::new(e.status(), "bad_body", format!("the body: {}", e.body_text()))
                })?;
                let failed = said(query.as_deref().unwrap_or(""), &headers, &body)?;
                let outcome = plane.observed.beat(Beat { name, token, failed }).await;
                outcome.map(|()| StatusCode::NO_CONTENT).map_err(|e| match e {
                    BeatRefusal::Refused => ApiError::unauthorized(
                        "present the token of this heartbeat in probes.yaml as a bearer token",
                    ),
                    BeatRefusal::NotRecorded(why) => {
                        tracing::error!(error = %why, "a beat could not be recorded");
                        ApiError::unavailable(
                            "beat_not_recorded",
                            "the beat could not be recorded; try again",
                        )
                    }
                })
            }
        },
    );
}

fn shown(p: ProbeView) -> Value {
    json!({
        "name": p.name,
        "service": p.service,
        "kind": p.kind,
        "target": p.target,
        "interval_seconds": p.interval.as_secs_f64(),
        "up": p.up,
        "since": p.since.map(rfc3339),
        "uptime": p.uptime,
        "latency_seconds": p.latency.map(|l| l.as_secs_f64()),
        "last_run": p.last.map(rfc3339),
        "error": p.error,
        "depends_on": p.depends_on,
        "conditions": p.conditions,
    })
}

/// What a body in JSON says.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct Said {
    status: Option<String>,
    message: Option<String>,
}

/// What the caller says is wrong with it: by `?status=fail&message=`, by the same names in JSON, or with a text as
/// the message. The query goes before the body.
fn said(query: &str, headers: &HeaderMap, body: &[u8]) -> Result<Option<String>, ApiError> {
    if body.len() > MOST_BYTES {
        let what = format!("the body is longer than {MOST_BYTES} bytes");
        return Err(ApiError::new(StatusCode::PAYLOAD_TOO_LARGE, "body_too_large", what));
    }
    let kind = headers.get(header::CONTENT_TYPE).and_then(|v| v.to_str().ok()).unwrap_or("");
    let in_body = if body.is_empty() {
        Said::default()
    } else if kind.starts_with("application/json") {
        serde_json::from_slice(body).map_err(|e| ApiError::bad_request(format!("the body: {e}")))?
    } else {
        Said { status: None, message: Some(String::from_utf8_lossy(body).into_owned()) }
    };
    let in_query = |name: &str| {
        let mut pairs = url::form_urlencoded::parse(query.as_bytes());
        pairs.find(|(key, _)| key == name).map(|(_, value)| value.into_owned())
    };
    let message = in_query("message").or(in_body.message).unwrap_or_default();
    match in_query("status").or(in_body.status).as_deref() {
        None | Some("" | "ok") => Ok(None),
        Some("fail") => Ok(Some(message)),
        Some(other) => Err(ApiError::bad_request(format!("status {other:?} is neither ok nor fail"))),
    }
}
