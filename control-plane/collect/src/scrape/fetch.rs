//! Getting a target's text by HTTP.

mod plain;

pub(crate) use plain::Connection;

use super::{
    client::{Fault, HttpConfig, Shelf},
    exposition::Format,
    target::Target,
};
use http::{HeaderMap, header};
use kit::clock::Clock;
use std::{
    error::Error,
    io::Read,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

/// How the sentence about a body that is too long begins.
pub(crate) const TOO_LONG: &str = "the body is longer than its limit";

/// A target's answer.
#[derive(Debug)]
pub(crate) struct Body {
    pub(crate) bytes: Vec<u8>,
    pub(crate) format: Format,
}

/// No body is larger, whatever the configuration says: the memory of the process is at stake.
const MAX_BODY: u64 = 64 << 20;

/// The clients of all scrapes.
#[derive(Debug, Clone)]
pub(crate) struct Clients {
    shelf: Arc<Shelf>,
    clock: Clock,
    /// For requests that are built and sent otherwise.
    plain: reqwest::Client,
    /// Buffers for bodies, which scrapes use in turn.
    buffers: Arc<Mutex<Vec<Vec<u8>>>>,
}

/// Buffers that are kept, and the size up to which one is.
const BUFFERS: usize = 4;
const BUFFER: usize = 1 << 20;

impl Clients {
    /// # Errors
    /// When no TLS provider can be set up.
    pub(crate) fn new(clock: Clock) -> Result<Clients, reqwest::Error> {
        let plain = kit::client::build(Duration::from_mins(10))?;
        Ok(Clients { shelf: Arc::default(), clock, plain, buffers: Arc::default() })
    }

    /// The full client that this configuration wants.
    ///
    /// # Errors
    /// When a file of TLS cannot be used; the message names it.
    pub(crate) fn client(&self, http: &HttpConfig) -> Result<reqwest::Client, String> {
        self.shelf.client(http)
    }

    /// Sends a request of that client, and a token with it where there is to be one.
    pub(crate) async fn send(
        &self,
        http: &HttpConfig,
        request: reqwest::RequestBuilder,
        patience: Duration,
    ) -> Result<reqwest::Response, Fault> {
        http.send(request, self.clock.now_ms(), patience).await
    }

    fn buffer(&self) -> Vec<u8> {
        self.buffers.lock().unwrap_or_else(PoisonError::into_inner).pop().unwrap_or_default()
    }

    /// Takes the buffer of a body back.
    pub(crate) fn give_back(&self, mut bytes: Vec<u8>) {
        let mut buffers = self.buffers.lock().unwrap_or_else(PoisonError::into_inner);
        if buffers.len() < BUFFERS && bytes.capacity() <= BUFFER {
            bytes.clear();
            buffers.push(bytes);
        }
    }
}

/// An error with everything that caused it.
pub(crate) fn chain(e: &dyn Error) -> String {
    let mut out = e.to_string();
    let mut source = e.source();
    while let Some(e) = source {
        let text = e.to_string();
        // Some errors repeat their source.
        if !out.contains(&text) {
            out.push_str(": ");
            out.push_str(&text);
        }
        source = e.source();
    }
    out
}

/// Whether the target is on this machine: what it sends is not worth compressing.
fn is_near(url: &url::Url) -> bool {
    match url.host() {
        Some(url::Host::Ipv4(ip)) => ip.is_loopback(),
        Some(url::Host::Ipv6(ip)) => ip.is_loopback(),
        Some(url::Host::Domain(name)) => name == "localhost",
        None => false,
    }
}

fn request(client: &reqwest::Client, target: &Target) -> Result<reqwest::RequestBuilder, String> {
    let job = &target.job;
    let mut request = client
        .get(target.url.clone())
        .timeout(target.timeout)
        .header(header::ACCEPT, &job.accept)
        .header("X-Prometheus-Scrape-Timeout-Seconds", target.timeout.as_secs_f64().to_string());
    if !job.compression || is_near(&target.url) {
        request = request.header(header::ACCEPT_ENCODING, "identity");
    }
    job.http.apply(request)
}

/// The bytes of a request; the full client would add the rest of the headers itself.
fn request_bytes(client: &reqwest::Client, target: &Target) -> Result<Vec<u8>, String> {
    let mut request = request(client, target)?.build().map_err(|e| chain(&e.without_url()))?;
    let url = &target.url;
    let host = match url.port() {
        Some(port) => format!("{}:{port}", url.host_str().unwrap_or_default()),
        None => url.host_str().unwrap_or_default().to_owned(),
    };
    let path = &url[url::Position::BeforePath..url::Position::AfterQuery];
    let mut out = format!("GET {path} HTTP/1.1\r\nhost: {host}\r\n").into_bytes();
    let headers = request.headers_mut();
    headers.entry(header::ACCEPT_ENCODING).or_insert(http::HeaderValue::from_static("gzip"));
    headers.entry(header::USER_AGENT).or_insert(http::HeaderValue::from_static(kit::client::USER_AGENT));
    for (name, value) in headers.iter() {
        for part in [name.as_str().as_bytes(), b": ", value.as_bytes(), b"\r\n"] {
            out.extend_from_slice(part);
        }
    }
    out.extend_from_slice(b"\r\n");
    Ok(out)
}

/// Asks the target over its own connection. An error is a sentence for its row in the table of targets.
pub(crate) async fn fetch(
    clients: &Clients,
    connection: &mut Connection,
    target: &Target,
) -> Result<Body, String> {
    let job = &target.job;
    let (Some(host), Some(port), "http", false) =
        (target.url.host(), target.url.port_or_known_default(), target.url.scheme(), job.http.full)
    else {
        return fetch_fully(clients, target).await;
    };
    let limit = job.limits.body_bytes.unwrap_or(MAX_BODY).min(MAX_BODY);
    let too_long = || format!("{TOO_LONG} of {limit} bytes");
    let request = match connection.request.take() {
        Some(request) => request,
        None => request_bytes(&clients.plain, target)?,
    };
    let mut body = clients.buffer();
    let answer = connection.ask((&host.to_owned(), port), &request, &mut body, limit).await;
    if job.http.auth.as_ref().is_none_or(|a| !a.changes()) {
        connection.request = Some(request);
    }
    let head =
        answer.map_err(|e| if matches!(e, plain::Fault::Long) { too_long() } else { e.to_string() })?;
    if matches!(head.status, 301 | 302 | 303 | 307 | 308) && job.http.follow_redirects {
        return fetch_fully(clients, target).await;
    }
    if head.status != 200 {
        let status =
            http::StatusCode::from_u16(head.status).map_or(head.status.to_string(), |s| s.to_string());
        return Err(format!("the server returned HTTP status {status}"));
    }
    let format = choose_by(&head.content_type, job.fallback)?;
    let bytes = match &*head.encoding {
        "" | "identity" => body,
        "gzip" | "x-gzip" => {
            let mut out = clients.buffer();
            let unpacked = flate2::read::MultiGzDecoder::new(&*body).take(limit + 1).read_to_end(&mut out);
            clients.give_back(body);
            unpacked.map_err(|e| format!("the body cannot be unpacked: {e}"))?;
            if out.len() as u64 > limit {
                return Err(too_long());
            }
            out
        }
        other => return Err(format!("the body is encoded as {other:?}, which was not asked for")),
    };
    Ok(Body { bytes, format })
}

/// Asks by the full client, which knows TLS, redirects, proxies and tokens.
async fn fetch_fully(clients: &Clients, target: &Target) -> Result<Body, String> {
    let job = &target.job;
    let describe = |e: reqwest::Error| {
        if e.is_timeout() {
            format!("no answer within {}", model::duration::format(target.timeout))
        } else {
            chain(&e.without_url())
        }
    };
    let request = request(&clients.client(&job.http)?, target)?;
    let sent = clients.send(&job.http, request, target.timeout).await;
    let mut response = sent.map_err(|fault| fault.told(describe))?;
    if response.status() != http::StatusCode::OK {
        return Err(format!("the server returned HTTP status {}", response.status()));
    }
    let format = choose(response.headers(), job.fallback)?;
    let limit = job.limits.body_bytes.unwrap_or(MAX_BODY).min(MAX_BODY);
    let mut bytes = Vec::new();
    while let Some(chunk) = response.chunk().await.map_err(describe)? {
        if (bytes.len() + chunk.len()) as u64 > limit {
            return Err(format!("{TOO_LONG} of {limit} bytes"));
        }
        bytes.extend_from_slice(&chunk);
    }
    Ok(Body { bytes, format })
}

/// The grammar of an answer by its media type.
fn choose(headers: &HeaderMap, fallback: Option<Format>) -> Result<Format, String> {
    choose_by(headers.get(header::CONTENT_TYPE).and_then(|v| v.to_str().ok()).unwrap_or(""), fallback)
}

fn choose_by(value: &str, fallback: Option<Format>) -> Result<Format, String> {
    let known = media_type(value).and_then(|media| match &*media {
        "application/openmetrics-text" => Some(Format::OpenMetrics),
        "text/plain" => Some(Format::Text),
        "application/vnd.google.protobuf" => Some(Format::Protobuf),
        _ => None,
    });
    known.or(fallback).ok_or_else(|| {
        let what =
            if value.is_empty() { "no Content-Type".to_owned() } else { format!("Content-Type {value:?}") };
        format!(
            "the target sent {what}, which is none of the known formats; fallback_scrape_protocol can name one"
        )
    })
}

/// Type and subtype in lower case, if the whole value is well formed: parameters are named once.
fn media_type(value: &str) -> Option<String> {
    let mut parts = value.split(';').map(str::trim);
    let media = parts.next()?.to_ascii_lowercase();
    let token =
        |t: &str| !t.is_empty() && t.bytes().all(|b| b.is_ascii_alphanumeric() || b"!#$&-^_.+*".contains(&b));
    let (kind, sub) = media.split_once('/')?;
    let mut names = Vec::new();
    for p in parts.filter(|p| !p.is_empty()) {
        let name = p.split_once('=')?.0.trim().to_ascii_lowercase();
        if names.contains(&name) {
            return None;
        }
        names.push(name);
    }
    (token(kind) && token(sub)).then_some(media)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scrape::exposition::tests::suite;

    #[test]
    fn the_grammar_is_chosen_as_prometheus_chooses_it() {
        for case in suite("prometheus-textparse/content_type.json").unwrap_or_default() {
            let mut headers = HeaderMap::new();
            if let Some(text) = case["contentType"].as_str() {
                headers.insert(header::CONTENT_TYPE, text.parse().unwrap());
            }
            let fallback = match case["fallbackScrapeProtocol"].as_str() {
                Some(t) if t.starts_with("OpenMetrics") => Some(Format::OpenMetrics),
                Some(t) if t.starts_with("PrometheusText") => Some(Format::Text),
                Some("PrometheusProto") => Some(Format::Protobuf),
                _ => None,
            };
            let want = match case["parser"].as_str() {
                Some("openmetrics") => Some(Format::OpenMetrics),
                Some("text") => Some(Format::Text),
                Some("protobuf") => Some(Format::Protobuf),
                _ => None,
            };
            assert_eq!(choose(&headers, fallback).ok(), want, "{case}");
        }
    }
}
