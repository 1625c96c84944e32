//! The Prometheus HTTP API, a family of endpoints a file, with Prometheus's own JSON and error shapes.

mod admin;
mod exemplars;
mod explain;
mod json;
mod metadata;
mod notifications;
mod otlp;
mod parse;
mod pieces;
mod query;
mod read;
mod rules;
mod series;
mod status;
mod targets;
mod write;

use crate::{Plane, Routes, access::Need, access::Role};
use axum::response::{IntoResponse, Response};
use http::{HeaderValue, StatusCode, header};

pub(crate) use explain::explain;
pub use json::write_value;
pub(crate) use pieces::in_pieces;
pub(crate) use query::{How, Query, When, bounded, run as run_query};

/// An error as Prometheus answers it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ApiFailure {
    pub status: StatusCode,
    pub kind: &'static str,
    pub message: String,
}

impl ApiFailure {
    fn new(status: StatusCode, kind: &'static str, message: impl Into<String>) -> Self {
        ApiFailure { status, kind, message: message.into() }
    }

    pub(crate) fn bad_data(message: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "bad_data", message)
    }
}

impl IntoResponse for ApiFailure {
    fn into_response(self) -> Response {
        let body = serde_json::json!({"status": "error", "errorType": self.kind, "error": self.message});
        let mut response = (self.status, axum::Json(body)).into_response();
        if self.kind == "unavailable" {
            response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from_static(RETRY_SECONDS));
        }
        response
    }
}

/// When whoever found no place may come again: most queries take less.
const RETRY_SECONDS: &str = "2";

/// Go's zero time, which stands for never.
const NEVER: &str = "0001-01-01T00:00:00Z";

fn time(at: Option<model::Timestamp>) -> String {
    at.map_or_else(|| NEVER.to_owned(), kit::telemetry::rfc3339)
}

/// What is said when `limit` cut a result.
const TRUNCATED: &str = "results truncated due to limit";

/// An answer as Prometheus gives it.
#[derive(serde::Serialize)]
struct Success<T> {
    status: &'static str,
    data: T,
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    warnings: &'static [&'static str],
}

/// An answer that has all there is.
fn success(data: impl serde::Serialize) -> Response {
    axum::Json(Success { status: "success", data, warnings: &[] }).into_response()
}

/// An answer that `limit` cut.
fn truncated(data: impl serde::Serialize) -> Response {
    axum::Json(Success { status: "success", data, warnings: &[TRUNCATED] }).into_response()
}

pub(crate) fn add(routes: &mut Routes, plane: &Plane) {
    let viewer = Need::Role(Role::Viewer);
    query::add(routes, plane, viewer);
    series::add(routes, plane, viewer);
    parse::add(routes, plane, viewer);
    exemplars::add(routes, plane, viewer);
    metadata::add(routes, plane, viewer);
    targets::add(routes, plane, viewer);
    rules::add(routes, plane, viewer);
    notifications::add(routes, plane, viewer);
    read::add(routes, plane, viewer);
    explain::add(routes, plane, viewer);
    status::add(routes, plane, viewer);
    otlp::add(routes, plane);
    write::add(routes, plane);
    admin::add(routes, plane, viewer);
}
