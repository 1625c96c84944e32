//! `POST /api/v1/otlp/v1/metrics`: what OpenTelemetry exports, in protobuf or JSON.

use crate::{Plane, Routes, access::Need};
use axum::{
    extract::Request,
    response::{IntoResponse, Response},
};
use collect::{
    otlp::{Encoding, Export, OtlpReceiver},
    remote_write::Refusal,
};
use http::{HeaderMap, HeaderName, Method, StatusCode, header};
use http_body_util::BodyExt;
use kit::http::ApiError;
use serde_json::json;
use std::time::Duration;

pub(super) fn add(routes: &mut Routes, plane: &Plane) {
    let receiver = plane.otlp.clone();
    routes.add(Method::POST, "/api/v1/otlp/v1/metrics", Need::Push, move |request: Request| {
        let receiver = receiver.clone();
        async move { export(&receiver, request).await }
    });
}

fn text(headers: &HeaderMap, name: HeaderName) -> &str {
    // A header that is not text is none that is known.
    headers.get(name).map_or("", |v| v.to_str().unwrap_or("?")).split(';').next().unwrap_or("").trim()
}

async fn export(receiver: &OtlpReceiver, request: Request) -> Response {
    let headers = request.headers();
    let kind = text(headers, header::CONTENT_TYPE).to_ascii_lowercase();
    let encoding = match kind.as_str() {
        "application/x-protobuf" => Encoding::Protobuf,
        "application/json" => Encoding::Json,
        _ => {
            return unsupported(format!(
                "Content-Type {kind:?} is not taken: send application/x-protobuf or application/json"
            ));
        }
    };
    let gzip = match text(headers, header::CONTENT_ENCODING).to_ascii_lowercase().as_str() {
        "gzip" => true,
        "" | "identity" => false,
        other => {
            return unsupported(format!("Content-Encoding {other:?} is not taken: send gzip, or as it is"));
        }
    };
    let mut inbox = receiver.inbox();
    let mut body = request.into_body();
    while let Some(frame) = body.frame().await {
        let added = match frame.map(|frame| frame.into_data()) {
            Ok(Ok(data)) => inbox.add(&data),
            // Trailers say nothing here.
            Ok(Err(_)) => Ok(()),
            Err(e) => Err(Refusal::Invalid(format!("the body could not be read: {e}"))),
        };
        if let Err(refusal) = added {
            return refused(encoding, &refusal);
        }
    }
    match receiver.export(encoding, gzip, inbox).await {
        Export::Taken { rejected, why } => taken(encoding, rejected, &why),
        Export::Refused(refusal) => refused(encoding, &refusal),
    }
}

fn unsupported(why: String) -> Response {
    ApiError::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "unsupported_media_type", why).into_response()
}

fn protobuf(status: StatusCode, body: Vec<u8>) -> Response {
    (status, [(header::CONTENT_TYPE, "application/x-protobuf")], body).into_response()
}

fn varint(out: &mut Vec<u8>, mut v: u64) {
    while v >= 0x80 {
        out.push(v.to_le_bytes()[0] | 0x80);
        v >>= 7;
    }
    out.push(v.to_le_bytes()[0]);
}

/// A message with a number in field 1 and a text in field 2: `ExportMetricsPartialSuccess`, `google.rpc.Status`.
fn message(number: u64, text: &str) -> Vec<u8> {
    let mut out = vec![1 << 3];
    varint(&mut out, number);
    out.push(2 << 3 | 2);
    varint(&mut out, text.len() as u64);
    out.extend_from_slice(text.as_bytes());
    out
}

/// `ExportMetricsServiceResponse`: empty where everything was taken.
fn taken(encoding: Encoding, rejected: u64, why: &str) -> Response {
    match encoding {
        Encoding::Json if rejected == 0 => axum::Json(json!({})).into_response(),
        Encoding::Json => {
            // Numbers of 64 bits are texts there.
            let partial = json!({"rejectedDataPoints": rejected.to_string(), "errorMessage": why});
            axum::Json(json!({"partialSuccess": partial})).into_response()
        }
        Encoding::Protobuf if rejected == 0 => protobuf(StatusCode::OK, Vec::new()),
        Encoding::Protobuf => {
            let partial = message(rejected, why);
            let mut body = vec![1 << 3 | 2];
            varint(&mut body, partial.len() as u64);
            body.extend(partial);
            protobuf(StatusCode::OK, body)
        }
    }
}

/// A `google.rpc.Status`, as exporters expect it, with the HTTP status that tells whether to try again.
fn refused(encoding: Encoding, refusal: &Refusal) -> Response {
    const INVALID_ARGUMENT: u64 = 3;
    const RESOURCE_EXHAUSTED: u64 = 8;
    const INTERNAL: u64 = 13;
    const UNAVAILABLE: u64 = 14;
    let (status, code, why, after): (StatusCode, u64, &str, Option<Duration>) = match refusal {
        Refusal::Invalid(why) => (StatusCode::BAD_REQUEST, INVALID_ARGUMENT, why, None),
        Refusal::TooLarge(why) => (StatusCode::PAYLOAD_TOO_LARGE, INVALID_ARGUMENT, why, None),
        Refusal::Limit { message, after } => {
            (StatusCode::TOO_MANY_REQUESTS, RESOURCE_EXHAUSTED, message, Some(*after))
        }
        Refusal::Busy { message, after } => {
            (StatusCode::SERVICE_UNAVAILABLE, UNAVAILABLE, message, Some(*after))
        }
        Refusal::Failed(why) => {
            tracing::error!(error = %why, "an export request could not be taken");
            (StatusCode::INTERNAL_SERVER_ERROR, INTERNAL, "it failed inside; the log has it", None)
        }
    };
    let mut response = match encoding {
        Encoding::Json => (status, axum::Json(json!({"code": code, "message": why}))).into_response(),
        Encoding::Protobuf => protobuf(status, message(code, why)),
    };
    if let Some(after) = after {
        response.headers_mut().insert(header::RETRY_AFTER, after.as_secs().into());
    }
    response
}
