//! Calling others by HTTP: one way to build a client, and calls between services that carry the trace and the
//! services' token.

use crate::{secret::Secret, telemetry};
use reqwest::{Method, RequestBuilder};
use std::time::Duration;

/// Installs the process's TLS provider. Called by [`crate::boot`]; tests that open TLS call it themselves.
pub fn install_tls() {
    // A second installation is refused by the library, and means that it was done already.
    let _already = rustls::crypto::ring::default_provider().install_default().is_err();
}

/// The name under which we call.
pub const USER_AGENT: &str = concat!("vigie/", env!("CARGO_PKG_VERSION"));

/// A client with timeouts, no ambient proxy and a name. Redirects are not followed: between services there are
/// none, and following them elsewhere is how an address becomes another.
///
/// # Errors
/// When no TLS provider can be set up.
pub fn build(timeout: Duration) -> Result<reqwest::Client, reqwest::Error> {
    builder(timeout).build()
}

/// The same before `build`, for callers that need something more.
pub fn builder(timeout: Duration) -> reqwest::ClientBuilder {
    install_tls();
    reqwest::Client::builder()
        .timeout(timeout)
        .connect_timeout(timeout.min(Duration::from_secs(5)))
        .no_proxy()
        .redirect(reqwest::redirect::Policy::none())
        .user_agent(USER_AGENT)
}

/// A service of the platform, to be called by another one.
#[derive(Debug, Clone)]
pub struct ServiceClient {
    http: reqwest::Client,
    base: String,
    token: Option<Secret>,
    caller: String,
}

impl ServiceClient {
    /// `base` without `/api/v1`, as [`crate::settings::Settings::service_url`] gives it.
    pub fn new(http: reqwest::Client, base: String, token: Option<Secret>, caller: &str) -> Self {
        ServiceClient { http, base, token, caller: caller.to_owned() }
    }

    pub fn base(&self) -> &str {
        &self.base
    }

    /// A request to `path`, which begins with a slash, with the trace's context and the services' token.
    pub fn request(&self, method: Method, path: &str) -> RequestBuilder {
        let mut request =
            self.http.request(method, format!("{}{path}", self.base)).header("x-service-name", &self.caller);
        for (name, value) in telemetry::trace_headers() {
            request = request.header(name, value);
        }
        match &self.token {
            Some(token) => request.bearer_auth(token.expose()),
            None => request,
        }
    }

    /// Whether the service says that it works; the error is a sentence for a health report.
    ///
    /// # Errors
    /// When it cannot be reached or does not answer 200.
    pub async fn healthy(&self) -> Result<(), String> {
        let answer = self.request(Method::GET, "/api/v1/health").send().await.map_err(|e| sentence(&e))?;
        if answer.status().is_success() { Ok(()) } else { Err(format!("answered {}", answer.status())) }
    }
}

/// A client error as a short sentence without the address's query, which may hold secrets.
pub fn sentence(error: &reqwest::Error) -> String {
    if error.is_timeout() {
        return "no answer in time".to_owned();
    }
    let mut source: &dyn std::error::Error = error;
    while let Some(deeper) = source.source() {
        source = deeper;
    }
    let deepest = source.to_string();
    if error.is_connect() { format!("cannot connect: {deepest}") } else { deepest }
}
