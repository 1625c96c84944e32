//! How a job, a discovery or a sender speaks HTTP: TLS, credentials, headers of its own, redirects, proxies.

mod oauth2;
mod proxy;

use super::{
    config::auth::{self, Auth, Credential},
    fetch::chain,
};
use crate::tls::{self, TlsOptions};
use http::{HeaderName, HeaderValue, header};
use kit::{
    secret::Secret,
    yaml::{Kind, MapReader, Node},
};
use oauth2::OAuth2;
use proxy::Proxy;
use std::{
    path::Path,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};
use url::Url;

/// Where settings stand that name files and values.
#[derive(Clone, Copy)]
pub(crate) struct Place<'a> {
    /// What paths are relative to.
    pub(crate) dir: &'a Path,
    /// The values of `${NAME}`, and of `HTTP_PROXY` and its like.
    pub(crate) values: &'a dyn Fn(&str) -> Option<String>,
}

/// What the configuration says.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct HttpConfig {
    pub(crate) auth: Option<Auth>,
    pub(crate) tls: Option<Arc<TlsOptions>>,
    headers: Vec<(HeaderName, Credential)>,
    pub(crate) follow_redirects: bool,
    http2: bool,
    proxy: Option<Arc<Proxy>>,
    oauth2: Option<Arc<OAuth2>>,
    /// Whether only the full client can do what it says, whatever the address is.
    pub(crate) full: bool,
}

/// Headers that a request has anyway, or that would change what it is.
const RESERVED: [&str; 14] = [
    "authorization",
    "host",
    "content-encoding",
    "content-length",
    "content-type",
    "user-agent",
    "connection",
    "keep-alive",
    "proxy-authenticate",
    "proxy-authorization",
    "www-authenticate",
    "accept",
    "accept-encoding",
    "x-prometheus-scrape-timeout-seconds",
];

impl Default for HttpConfig {
    fn default() -> Self {
        HttpConfig {
            auth: None,
            tls: None,
            headers: Vec::new(),
            follow_redirects: true,
            http2: true,
            proxy: None,
            oauth2: None,
            full: false,
        }
    }
}

/// Reads the fields of a job, a discovery or a receiver.
pub(crate) fn read(r: &mut MapReader<'_>, place: Place<'_>) -> HttpConfig {
    let dir = place.dir;
    let proxy = proxy::read(r, place);
    let other = r.node("oauth2").filter(|n| !n.is_null()).map(|_| "oauth2");
    let oauth2 = other.and_then(|_| oauth2::read(r, place));
    HttpConfig {
        auth: auth::read(r, dir, other),
        tls: tls::read(r, dir).map(Arc::new),
        headers: read_headers(r, dir),
        follow_redirects: r.bool("follow_redirects").unwrap_or(true),
        http2: r.bool("enable_http2").unwrap_or(true),
        full: proxy.is_some() || oauth2.is_some(),
        proxy,
        oauth2,
    }
}

/// An address for people: without a password, which may stand in it.
pub(crate) fn shown(url: &Url) -> String {
    let mut shown = url.clone();
    let named = shown.set_username("").and_then(|()| shown.set_password(None));
    if named.is_ok() { shown.to_string() } else { "the server".to_owned() }
}

fn read_headers(r: &mut MapReader<'_>, dir: &Path) -> Vec<(HeaderName, Credential)> {
    let mut headers = Vec::new();
    let Some(node) = r.node("http_headers") else { return headers };
    let Kind::Map(entries) = &node.kind else {
        r.problem(node, "`http_headers` must map names to their values");
        return headers;
    };
    for (key, value) in entries {
        let text = key.text().unwrap_or("");
        let Ok(name) = text.parse::<HeaderName>() else {
            r.problem(key, format!("{text:?} is not a header's name"));
            continue;
        };
        if RESERVED.contains(&name.as_str()) {
            r.problem(key, format!("the header {text:?} cannot be set"));
        }
        let Some(mut of) = r.item(value) else { continue };
        let mut add = |of: &mut MapReader<'_>, field: &'static str, read: &dyn Fn(&str) -> Credential| {
            for (node, text) in of.texts(field) {
                let credential = read(text);
                if let Credential::Given(secret) = &credential
                    && HeaderValue::from_str(secret.expose()).is_err()
                {
                    bad_value(of, node);
                }
                headers.push((name.clone(), credential));
            }
        };
        add(&mut of, "values", &|text| Credential::Given(Secret::new(text)));
        add(&mut of, "secrets", &|text| Credential::Given(Secret::new(text)));
        add(&mut of, "files", &|text| Credential::File(dir.join(text)));
        of.finish();
    }
    headers
}

fn bad_value(r: &mut MapReader<'_>, node: &Node) {
    r.problem(node, "a header's value holds characters that no header may");
}

impl HttpConfig {
    /// Adds credentials and headers to a request.
    ///
    /// # Errors
    /// When a file cannot be read; the message names it.
    pub(crate) fn apply(
        &self,
        mut request: reqwest::RequestBuilder,
    ) -> Result<reqwest::RequestBuilder, String> {
        if let Some(auth) = &self.auth {
            request = auth.apply(request)?;
        }
        for (name, value) in &self.headers {
            let mut value = HeaderValue::from_str(value.secret()?.expose())
                .map_err(|_| format!("the header {name} holds characters that no header may"))?;
            value.set_sensitive(true);
            request = request.header(name, value);
        }
        Ok(request)
    }

    /// Sends a request, with a token where there is to be one; once more with another where that is refused.
    pub(crate) async fn send(
        &self,
        request: reqwest::RequestBuilder,
        now_ms: i64,
        patience: Duration,
    ) -> Result<reqwest::Response, Fault> {
        let Some(oauth2) = &self.oauth2 else { return request.send().await.map_err(Fault::Http) };
        // What goes wrong with a token is told before the request as a whole is given up.
        let patience = patience.mul_f64(0.8);
        let token = oauth2.token(now_ms, patience, None).await.map_err(Fault::NoToken)?;
        let again = request.try_clone();
        let response = request.header(header::AUTHORIZATION, &token).send().await.map_err(Fault::Http)?;
        let (http::StatusCode::UNAUTHORIZED, Some(again)) = (response.status(), again) else {
            return Ok(response);
        };
        let other = oauth2.token(now_ms, patience, Some(&token)).await.map_err(Fault::NoToken)?;
        if other == token {
            return Ok(response);
        }
        again.header(header::AUTHORIZATION, other).send().await.map_err(Fault::Http)
    }
}

/// Why there is no response.
#[derive(Debug)]
pub(crate) enum Fault {
    /// A sentence.
    NoToken(String),
    Http(reqwest::Error),
}

impl Fault {
    /// A sentence; `describe` makes one of the client's error.
    pub(crate) fn told(self, describe: impl FnOnce(reqwest::Error) -> String) -> String {
        match self {
            Fault::NoToken(why) => why,
            Fault::Http(e) => describe(e),
        }
    }
}

/// A client and what it was built from.
#[derive(Debug)]
struct Built {
    tls: Option<Arc<TlsOptions>>,
    follow: bool,
    http2: bool,
    proxy: Option<Arc<Proxy>>,
    files: Vec<Vec<u8>>,
    client: reqwest::Client,
}

/// Clients that are kept. A configuration has few kinds; what is beyond is built anew.
const KEPT: usize = 64;

/// The clients of all jobs: those that want the same share one.
#[derive(Debug, Default)]
pub(crate) struct Shelf(Mutex<Vec<Built>>);

impl Shelf {
    /// The client that this configuration wants. Its files are read anew, as they may have changed.
    ///
    /// # Errors
    /// When a file cannot be used; the message names it.
    pub(crate) fn client(&self, http: &HttpConfig) -> Result<reqwest::Client, String> {
        let files = http.tls.as_ref().map_or_else(|| Ok(Vec::new()), |tls| tls.files())?;
        let mut shelf = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let is_it = |b: &Built| {
            b.tls == http.tls
                && b.proxy == http.proxy
                && (b.follow, b.http2) == (http.follow_redirects, http.http2)
        };
        if let Some(built) = shelf.iter().find(|b| is_it(b) && b.files == files) {
            return Ok(built.client.clone());
        }
        // Each request brings its own timeout; this one is only a last resort.
        let builder = kit::client::builder(Duration::from_mins(10))
            .pool_max_idle_per_host(1)
            .pool_idle_timeout(Duration::from_mins(5));
        let client = build(http, builder)?;
        shelf.retain(|b| !is_it(b));
        if shelf.len() >= KEPT {
            shelf.remove(0);
        }
        shelf.push(Built {
            tls: http.tls.clone(),
            follow: http.follow_redirects,
            http2: http.http2,
            proxy: http.proxy.clone(),
            files,
            client: client.clone(),
        });
        Ok(client)
    }
}

/// A client that does what the configuration says, from a builder with its times and its pool.
///
/// # Errors
/// When a file cannot be used; the message names it.
pub(crate) fn build(
    http: &HttpConfig,
    mut builder: reqwest::ClientBuilder,
) -> Result<reqwest::Client, String> {
    if http.follow_redirects {
        builder = builder.redirect(reqwest::redirect::Policy::limited(10));
    }
    if !http.http2 {
        builder = builder.http1_only();
    }
    if let Some(tls) = &http.tls {
        let mut config = tls.build()?;
        let protocols: &[&[u8]] = if http.http2 { &[b"h2", b"http/1.1"] } else { &[b"http/1.1"] };
        config.alpn_protocols = protocols.iter().map(|p| p.to_vec()).collect();
        builder = builder.tls_backend_preconfigured(config);
    }
    if let Some(proxy) = &http.proxy {
        builder = proxy.install(builder)?;
    }
    builder.build().map_err(|e| chain(&e))
}

#[cfg(test)]
pub(crate) mod tests;
