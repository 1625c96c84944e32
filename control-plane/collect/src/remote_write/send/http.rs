//! One write request on the wire, and what its answer means.

use super::config::Endpoint;
use crate::{
    remote_write::{Protocol, V2_MESSAGE},
    scrape::{client::build, fetch::chain},
};
use bytes::Bytes;
use http::{HeaderMap, StatusCode, header};
use std::time::Duration;

/// What became of a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Answer {
    Taken,
    /// It never will be.
    Refused(String),
    /// The receiver does not know version 2.0.
    Unknown,
    /// It may be later: after this long, where the receiver says so.
    Again(String, Option<Duration>),
}

/// No receiver makes us wait longer.
const MOST_PATIENCE: Duration = Duration::from_mins(5);
/// Bytes of an answer that are shown.
const SHOWN: usize = 300;

/// # Errors
/// When no client can be made of what the file says.
pub(crate) fn client(endpoint: &Endpoint) -> anyhow::Result<reqwest::Client> {
    let builder = kit::client::builder(endpoint.timeout).pool_max_idle_per_host(endpoint.queue.max_shards);
    build(&endpoint.http, builder).map_err(anyhow::Error::msg)
}

/// Sends one body, which is of `protocol`.
pub(crate) async fn send(
    client: &reqwest::Client,
    endpoint: &Endpoint,
    protocol: Protocol,
    body: Bytes,
    now_ms: i64,
) -> Answer {
    let (kind, version) = match protocol {
        Protocol::V1 => ("application/x-protobuf".to_owned(), "0.1.0"),
        Protocol::V2 => (format!("application/x-protobuf;proto={V2_MESSAGE}"), "2.0.0"),
    };
    let mut request = client
        .post(endpoint.url.clone())
        .header(header::CONTENT_TYPE, kind)
        .header(header::CONTENT_ENCODING, "snappy")
        .header("X-Prometheus-Remote-Write-Version", version);
    for (name, value) in &endpoint.headers {
        request = request.header(name, value);
    }
    // A file of credentials that is missing now may come back.
    let request = match endpoint.http.apply(request) {
        Ok(request) => request.body(body),
        Err(why) => return Answer::Again(why, None),
    };
    let response = match endpoint.http.send(request, now_ms, endpoint.timeout).await {
        Ok(response) => response,
        Err(fault) => {
            let why = fault.told(|e| match e.is_timeout() {
                true => format!("no answer within {}", model::duration::format(endpoint.timeout)),
                false => chain(&e.without_url()),
            });
            return Answer::Again(why, None);
        }
    };
    let status = response.status();
    if status.is_success() {
        return match protocol {
            Protocol::V2 if !says_what_it_wrote(response.headers()) => Answer::Refused(
                "the receiver took version 2.0 for something else: it does not say what it wrote".to_owned(),
            ),
            _ => Answer::Taken,
        };
    }
    if protocol == Protocol::V2 && status == StatusCode::UNSUPPORTED_MEDIA_TYPE {
        return Answer::Unknown;
    }
    let after = retry_after(response.headers(), now_ms);
    let why = format!("the receiver answered {status}{}", shown(response).await);
    let again =
        status.is_server_error() || (status == StatusCode::TOO_MANY_REQUESTS && endpoint.queue.retry_on_429);
    if again { Answer::Again(why, after) } else { Answer::Refused(why) }
}

fn says_what_it_wrote(headers: &HeaderMap) -> bool {
    ["samples", "histograms", "exemplars"]
        .iter()
        .any(|what| headers.contains_key(format!("x-prometheus-remote-write-{what}-written")))
}

fn retry_after(headers: &HeaderMap, now_ms: i64) -> Option<Duration> {
    let text = headers.get(header::RETRY_AFTER)?.to_str().ok()?.trim();
    let wait = match text.parse::<u64>() {
        Ok(seconds) => Duration::from_secs(seconds),
        Err(_) => {
            let at = jiff::fmt::rfc2822::parse(text).ok()?.timestamp().as_millisecond();
            Duration::from_millis(u64::try_from(at.saturating_sub(now_ms)).unwrap_or(0))
        }
    };
    Some(wait.min(MOST_PATIENCE))
}

/// The beginning of an answer's text.
async fn shown(mut response: reqwest::Response) -> String {
    let mut bytes = Vec::new();
    while bytes.len() < SHOWN
        && let Ok(Some(piece)) = response.chunk().await
    {
        bytes.extend_from_slice(&piece);
    }
    bytes.truncate(SHOWN);
    let text = String::from_utf8_lossy(&bytes);
    let line = text.split_whitespace().collect::<Vec<_>>().join(" ");
    if line.is_empty() { line } else { format!(": {line}") }
}

#[cfg(test)]
mod tests;
