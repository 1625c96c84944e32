//! `http_sd_configs`.

use super::{Found, groups, refresh};
use crate::scrape::{
    client::{self, HttpConfig, Place, shown},
    config::Group,
    fetch::{Clients, chain},
};
use kit::yaml::MapReader;
use std::time::Duration;
use url::Url;

/// Bytes of an answer, at most.
const MAX_BODY: usize = 16 << 20;
/// How long an answer may take, at most.
const PATIENCE: Duration = Duration::from_secs(30);

/// A server that says what to scrape.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct HttpSource {
    pub(crate) url: Url,
    pub(crate) refresh: Duration,
    http: HttpConfig,
}

pub(super) fn read(mut r: MapReader<'_>, place: Place<'_>) -> Option<HttpSource> {
    let url = r.required("url");
    let parsed = url.and_then(|node| {
        let text = node.text().unwrap_or("");
        match Url::parse(text) {
            Ok(url) if matches!(url.scheme(), "http" | "https") && url.has_host() => Some(url),
            _ => {
                r.problem(
                    node,
                    format!("{text:?} is not an address: write it like http://example.com/targets"),
                );
                None
            }
        }
    });
    let refresh = refresh(&mut r).unwrap_or(Duration::from_mins(1));
    let http = client::read(&mut r, place);
    r.finish();
    Some(HttpSource { url: parsed?, refresh, http })
}

/// Asks what to scrape.
///
/// # Errors
/// A sentence: there is no answer, or it lists no targets.
pub(crate) async fn ask(clients: &Clients, source: &HttpSource) -> Result<Found, String> {
    let shown = &shown(&source.url);
    let describe = |e: reqwest::Error| format!("{shown}: {}", chain(&e.without_url()));
    let patience = source.refresh.min(PATIENCE);
    let request = clients
        .client(&source.http)?
        .get(source.url.clone())
        .timeout(patience)
        .header(http::header::ACCEPT, "application/json")
        .header("X-Prometheus-Refresh-Interval-Seconds", source.refresh.as_secs_f64().to_string());
    let sent = clients.send(&source.http, source.http.apply(request)?, patience).await;
    let mut response = sent.map_err(|fault| fault.told(describe))?;
    if response.status() != http::StatusCode::OK {
        return Err(format!("{shown} answered HTTP status {}", response.status()));
    }
    let kind = response.headers().get(http::header::CONTENT_TYPE).and_then(|v| v.to_str().ok()).unwrap_or("");
    if !kind.split(';').next().is_some_and(|k| k.trim().eq_ignore_ascii_case("application/json")) {
        return Err(format!("{shown} sent Content-Type {kind:?}, and application/json was asked for"));
    }
    let mut body = Vec::new();
    while let Some(chunk) = response.chunk().await.map_err(describe)? {
        if body.len() + chunk.len() > MAX_BODY {
            return Err(format!("{shown} sent more than {MAX_BODY} bytes"));
        }
        body.extend_from_slice(&chunk);
    }
    let text = String::from_utf8(body).map_err(|_| format!("{shown} sent what is not UTF-8"))?;
    let groups: Vec<Group> =
        groups(shown, &text, ("__meta_url", source.url.as_str())).map_err(|p| p.to_string())?;
    Ok(Found { hash: 0, groups })
}
