//! The middleware around all routes: request id, trace, panics, timeout, error bodies, headers, metrics.

use super::{ApiError, ServiceAuth, service::Limits};
use crate::{clock::Clock, metrics::HttpMetrics, telemetry};
use axum::{
    body::Body,
    extract::{MatchedPath, Request},
    http::{HeaderName, HeaderValue, StatusCode, header},
    middleware::Next,
    response::{IntoResponse, Response},
};
use futures_util::FutureExt;
use std::{panic::AssertUnwindSafe, sync::Arc, time::Duration};
use tracing::Instrument;

/// The id under which one request is logged. The caller's `x-request-id` when it is sane, else a new one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RequestId(pub String);

/// Marks an answer that comes all the time: unless it failed or took long, its line is for debugging only.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Routine;

/// How long an answer may take and still be a matter of routine.
const ROUTINE: Duration = Duration::from_secs(1);

/// What the middleware needs to know of its service.
#[derive(Debug)]
pub(super) struct Around {
    pub(super) service: String,
    pub(super) clock: Clock,
    pub(super) metrics: HttpMetrics,
    pub(super) auth: ServiceAuth,
    pub(super) limits: Limits,
}

const X_REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// Headers that every answer carries unless its route set them itself.
const SECURITY_HEADERS: [(HeaderName, HeaderValue); 6] = [
    (header::STRICT_TRANSPORT_SECURITY, HeaderValue::from_static("max-age=31536000; includeSubDomains")),
    (
        header::CONTENT_SECURITY_POLICY,
        HeaderValue::from_static(
            "default-src 'self'; script-src 'self'; style-src 'self'; img-src 'self' data:; \
             frame-ancestors 'none'; base-uri 'none'; form-action 'self'; object-src 'none'",
        ),
    ),
    (header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff")),
    (header::X_FRAME_OPTIONS, HeaderValue::from_static("DENY")),
    (header::REFERRER_POLICY, HeaderValue::from_static("same-origin")),
    (HeaderName::from_static("cross-origin-opener-policy"), HeaderValue::from_static("same-origin")),
];

pub(super) async fn around(ctx: Arc<Around>, mut request: Request, next: Next) -> Response {
    let begun = ctx.clock.elapsed();
    let method = request.method().clone();
    let route = request.extensions().get::<MatchedPath>().map(|p| p.as_str().to_owned());
    let shown_route = route.clone().unwrap_or_else(|| "unmatched".to_owned());
    let id = request
        .headers()
        .get(X_REQUEST_ID)
        .and_then(|v| v.to_str().ok())
        .filter(|v| (1..=64).contains(&v.len()) && v.bytes().all(|b| b.is_ascii_graphic()))
        .map_or_else(|| uuid::Uuid::now_v7().to_string(), str::to_owned);
    // A root of its own: the connection's task runs in its service's span, which would make one trace of all.
    let span = tracing::info_span!(
        parent: None,
        "request",
        otel.name = format!("{method} {shown_route}"),
        otel.kind = "server",
        service = %ctx.service,
        http.request.method = %method,
        http.route = %shown_route,
        http.response.status_code = tracing::field::Empty,
        request_id = %id,
        trace_id = tracing::field::Empty,
    );
    if let Some(trace_id) = telemetry::continue_trace(&span, request.headers()) {
        span.record("trace_id", trace_id);
    }
    request.extensions_mut().insert(RequestId(id.clone()));
    request.extensions_mut().insert(ctx.auth.clone());
    let limit = ctx.limits.for_route(route.as_deref().unwrap_or(""));

    let work = async {
        let run = AssertUnwindSafe(next.run(request)).catch_unwind();
        match tokio::time::timeout(limit, run).await {
            Ok(Ok(response)) => response,
            Ok(Err(panic)) => {
                let text = crate::tasks::panic_text(panic.as_ref());
                ApiError::internal(&anyhow::anyhow!("a handler panicked: {text}")).into_response()
            }
            Err(_) => ApiError::new(
                StatusCode::GATEWAY_TIMEOUT,
                "timeout",
                format!("no answer within {} s", limit.as_secs()),
            )
            .into_response(),
        }
    };
    let response = work.instrument(span.clone()).await;
    let mut response = with_error_body(response, &id).await;
    let headers = response.headers_mut();
    for (name, value) in SECURITY_HEADERS {
        if !headers.contains_key(&name) {
            headers.insert(name, value);
        }
    }
    if let Ok(value) = HeaderValue::from_str(&id) {
        headers.insert(X_REQUEST_ID, value);
    }
    let took = ctx.clock.elapsed() - begun;
    let status = response.status().as_u16();
    span.record("http.response.status_code", status);
    ctx.metrics.observe(method.as_str(), &shown_route, status, took);
    span.in_scope(|| {
        // Health checks and scrapes come every few seconds: they are worth a line only when they fail.
        let routine = matches!(shown_route.as_str(), "/api/v1/health" | "/metrics" | "/api/v1/metrics")
            || (status < 400 && took < ROUTINE && response.extensions().get::<Routine>().is_some());
        let duration_ms = took.as_secs_f64() * 1000.0;
        if status >= 500 {
            tracing::warn!(status, duration_ms, method = %method, route = %shown_route, "request failed");
        } else if routine {
            tracing::debug!(status, duration_ms, method = %method, route = %shown_route, "request");
        } else {
            tracing::info!(status, duration_ms, method = %method, route = %shown_route, "request");
        }
    });
    response
}

/// Writes the error body where an error has none, or a plain-text one that a library wrote.
async fn with_error_body(mut response: Response, request_id: &str) -> Response {
    let status = response.status();
    if !status.is_client_error() && !status.is_server_error() {
        return response;
    }
    let error = match response.extensions_mut().remove::<ApiError>() {
        Some(error) => error,
        None => {
            let kind = response.headers().get(header::CONTENT_TYPE).and_then(|v| v.to_str().ok());
            if kind.is_some_and(|k| !k.starts_with("text/plain")) {
                return response;
            }
            let body = std::mem::take(response.body_mut());
            let text = axum::body::to_bytes(body, 4096).await.unwrap_or_default();
            let text = String::from_utf8_lossy(&text).trim().to_owned();
            let message = if text.is_empty() { plain_message(status).to_owned() } else { text };
            ApiError::new(status, plain_code(status), message)
        }
    };
    let (mut parts, _) = response.into_parts();
    for (name, value) in &error.headers {
        parts.headers.insert(name.clone(), value.clone());
    }
    parts.headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    parts.headers.remove(header::CONTENT_LENGTH);
    Response::from_parts(parts, Body::from(error.body(request_id).to_string()))
}

fn plain_code(status: StatusCode) -> &'static str {
    match status {
        StatusCode::BAD_REQUEST => "bad_request",
        StatusCode::UNAUTHORIZED => "unauthorized",
        StatusCode::FORBIDDEN => "forbidden",
        StatusCode::NOT_FOUND => "not_found",
        StatusCode::METHOD_NOT_ALLOWED => "method_not_allowed",
        StatusCode::PAYLOAD_TOO_LARGE => "body_too_large",
        StatusCode::UNSUPPORTED_MEDIA_TYPE => "unsupported_media_type",
        s if s.is_client_error() => "bad_request",
        _ => "internal",
    }
}

fn plain_message(status: StatusCode) -> &'static str {
    match status {
        StatusCode::NOT_FOUND => "there is nothing at this address",
        StatusCode::METHOD_NOT_ALLOWED => "this address does not answer that method",
        StatusCode::PAYLOAD_TOO_LARGE => "the body is too large",
        _ => status.canonical_reason().unwrap_or("the request failed"),
    }
}
