//! `POST /api/v1/write`: remote write, versions 1.0 and 2.0.

use crate::{Plane, Routes, access::Need};
use axum::{
    extract::Request,
    response::{IntoResponse, Response},
};
use collect::remote_write::{Outcome, Protocol, Receiver, Refusal, Written, negotiate};
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header};
use http_body_util::BodyExt;
use kit::http::ApiError;
use std::time::Duration;

const SAMPLES: HeaderName = HeaderName::from_static("x-prometheus-remote-write-samples-written");
const HISTOGRAMS: HeaderName = HeaderName::from_static("x-prometheus-remote-write-histograms-written");
const EXEMPLARS: HeaderName = HeaderName::from_static("x-prometheus-remote-write-exemplars-written");

pub(super) fn add(routes: &mut Routes, plane: &Plane) {
    let receiver = plane.write.clone();
    routes.add(Method::POST, "/api/v1/write", Need::Push, move |request: Request| {
        let receiver = receiver.clone();
        async move { write(&receiver, request).await }
    });
}

/// A header's text; one that is not text is none that is known.
fn text(headers: &HeaderMap, name: HeaderName) -> Option<&str> {
    headers.get(name).map(|v| v.to_str().unwrap_or("?"))
}

async fn write(receiver: &Receiver, request: Request) -> Response {
    let headers = request.headers();
    let negotiated = negotiate(text(headers, header::CONTENT_TYPE), text(headers, header::CONTENT_ENCODING));
    let protocol = match negotiated {
        Ok(protocol) => protocol,
        Err(why) => {
            let error = ApiError::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "unsupported_media_type", why);
            return error.into_response();
        }
    };
    let mut inbox = receiver.inbox();
    let mut body = request.into_body();
    while let Some(frame) = body.frame().await {
        let added = match frame.map(|frame| frame.into_data()) {
            Ok(Ok(data)) => inbox.add(&data),
            // Trailers say nothing here.
            Ok(Err(_)) => Ok(()),
            Err(e) => {
                return ApiError::bad_request(format!("the body could not be read: {e}")).into_response();
            }
        };
        if let Err(refusal) = added {
            return answer(protocol, &Outcome { written: Written::default(), refusal: Some(refusal) });
        }
    }
    answer(protocol, &receiver.write(protocol, inbox).await)
}

fn too_large(message: String) -> ApiError {
    ApiError::new(StatusCode::PAYLOAD_TOO_LARGE, "too_large", message)
}

fn answer(protocol: Protocol, outcome: &Outcome) -> Response {
    let mut response = match &outcome.refusal {
        None => StatusCode::NO_CONTENT.into_response(),
        Some(refusal) => refused(refusal).into_response(),
    };
    // Version 1 knows no such headers.
    if protocol == Protocol::V2 {
        let written = &outcome.written;
        let counts =
            [(SAMPLES, written.samples), (HISTOGRAMS, written.histograms), (EXEMPLARS, written.exemplars)];
        for (name, count) in counts {
            response.headers_mut().insert(name, HeaderValue::from(count));
        }
    }
    response
}

fn refused(refusal: &Refusal) -> ApiError {
    let wait = |error: ApiError, after: &Duration| {
        error.with_header(header::RETRY_AFTER, &after.as_secs().to_string())
    };
    match refusal {
        Refusal::Invalid(message) => ApiError::bad_request(message.clone()),
        Refusal::TooLarge(message) => too_large(message.clone()),
        Refusal::Limit { message, after } => {
            wait(ApiError::new(StatusCode::TOO_MANY_REQUESTS, "series_limit", message.clone()), after)
        }
        Refusal::Busy { message, after } => wait(ApiError::unavailable("busy", message.clone()), after),
        Refusal::Failed(message) => ApiError::internal(&anyhow::anyhow!("{message}")),
    }
}
