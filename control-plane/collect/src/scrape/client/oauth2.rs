//! `oauth2`: tokens for client credentials (RFC 6749, section 4.4).
//!
//! A token is asked for when a request first needs one, kept by the settings it was got with, and asked for anew
//! shortly before it ends or when it is refused. One request for a token is on its way at a time, and neither a
//! token endpoint that fails nor a target that refuses every token makes it more than one in a while.

use super::{HttpConfig, Place, proxy, shown};
use crate::{
    scrape::{
        config::auth::{self, Credential},
        fetch::chain,
    },
    tls,
};
use http::{HeaderValue, StatusCode, header};
use kit::{secret::Secret, yaml::MapReader};
use serde_json::Value;
use std::{fmt, sync::Arc, time::Duration};
use tokio::sync::Mutex;
use url::{Url, form_urlencoded};

/// Bytes of an answer, at most.
const MAX_BODY: usize = 1 << 20;
/// Characters of a reason, at most.
const SHOWN: usize = 300;
/// A token that ends within this time is not used any more.
const MARGIN_MS: i64 = 10_000;
/// A token that was got this lately is not replaced: another would be refused as well.
const YOUNG_MS: i64 = 5_000;
/// A failure is told again for this time, before the endpoint is asked again.
const FAILED_MS: i64 = 1_000;

/// Known to Prometheus, not built here: the JWT bearer grant.
const REFUSED: [&str; 8] = [
    "client_secret_ref",
    "client_certificate_key_id",
    "client_certificate_key",
    "client_certificate_key_file",
    "signature_algorithm",
    "iss",
    "audience",
    "claims",
];

/// Where tokens come from, and the one in use.
pub(crate) struct OAuth2 {
    client_id: String,
    client_secret: Option<Credential>,
    token_url: Url,
    scopes: Vec<String>,
    /// They may hold secrets: some servers want a password here.
    params: Vec<(String, Secret)>,
    /// How the endpoint is asked.
    http: HttpConfig,
    clients: super::Shelf,
    held: Mutex<Held>,
}

#[derive(Default)]
struct Held {
    last: Option<Last>,
    /// The endpoint wants the credentials in the body; some take no others.
    in_body: bool,
}

/// What the endpoint answered last.
enum Last {
    Token { value: HeaderValue, got_at: i64, ends_at: Option<i64> },
    Failed { why: String, at: i64 },
}

impl fmt::Debug for OAuth2 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OAuth2")
            .field("client_id", &self.client_id)
            .field("client_secret", &self.client_secret)
            .field("token_url", &self.shown())
            .field("scopes", &self.scopes)
            .field("params", &self.params)
            .field("http", &self.http)
            .finish_non_exhaustive()
    }
}

impl PartialEq for OAuth2 {
    fn eq(&self, other: &Self) -> bool {
        let params = |a: &(String, Secret), b: &(String, Secret)| a.0 == b.0 && a.1.matches(b.1.expose());
        self.client_id == other.client_id
            && self.client_secret == other.client_secret
            && self.token_url == other.token_url
            && self.scopes == other.scopes
            && self.params.len() == other.params.len()
            && self.params.iter().zip(&other.params).all(|(a, b)| params(a, b))
            && self.http == other.http
    }
}

/// Reads `oauth2`. Whether it is alone is judged where the other credentials are read.
pub(super) fn read(r: &mut MapReader<'_>, place: Place<'_>) -> Option<Arc<OAuth2>> {
    let mut o = r.child("oauth2")?;
    let client_id = o.required_text("client_id").map(str::to_owned);
    let client_secret = auth::credential(&mut o, "client_secret", "client_secret_file", place.dir);
    o.required("token_url");
    let token_url = o.parsed("token_url", |text| match Url::parse(text) {
        Ok(url) if matches!(url.scheme(), "http" | "https") && url.has_host() => Ok(url),
        _ => Err("this is no address: write it like https://example.com/oauth2/token"),
    });
    let scopes = o.texts("scopes").into_iter().map(|(_, text)| text.to_owned()).collect();
    let params = o.text_map("endpoint_params").into_iter();
    let text = |node: &kit::yaml::Node| node.text().unwrap_or("").to_owned();
    let params = params.map(|(key, value)| (text(key), Secret::new(text(value)))).collect();
    if let Some(node) = o.node("grant_type")
        && !matches!(node.text(), Some("" | "client_credentials"))
    {
        o.problem(node, "`grant_type` other than client_credentials is not supported");
    }
    for name in REFUSED {
        if let Some(node) = o.node(name) {
            o.problem(node, format!("`{name}` is not supported"));
        }
    }
    let tls = tls::read(&mut o, place.dir).map(Arc::new);
    let http = HttpConfig { proxy: proxy::read(&mut o, place), tls, ..HttpConfig::default() };
    o.finish();
    Some(Arc::new(OAuth2 {
        client_id: client_id?,
        client_secret,
        token_url: token_url?,
        scopes,
        params,
        http,
        clients: super::Shelf::default(),
        held: Mutex::default(),
    }))
}

/// What came of asking.
enum Asked {
    Token {
        value: HeaderValue,
        lasts: Option<Duration>,
    },
    /// The endpoint does not take the credentials as they were sent.
    Refused(String),
}

impl OAuth2 {
    fn shown(&self) -> String {
        let mut url = self.token_url.clone();
        url.set_query(None);
        shown(&url)
    }

    /// The value of `Authorization`: the token that is held, if it is good for a while and not the one that was
    /// `refused`, else another one, asked for within `patience`.
    ///
    /// # Errors
    /// A sentence that names the token endpoint.
    pub(super) async fn token(
        &self,
        now_ms: i64,
        patience: Duration,
        refused: Option<&HeaderValue>,
    ) -> Result<HeaderValue, String> {
        let mut held = self.held.lock().await;
        match &held.last {
            Some(Last::Token { value, got_at, ends_at }) => {
                let good = ends_at.is_none_or(|end| now_ms < end.saturating_sub(MARGIN_MS));
                let young = now_ms.saturating_sub(*got_at) < YOUNG_MS;
                if good && (young || refused != Some(value)) {
                    return Ok(value.clone());
                }
            }
            Some(Last::Failed { why, at }) if now_ms.saturating_sub(*at) < FAILED_MS => {
                return Err(why.clone());
            }
            _ => {}
        }
        let got = self.ask(&mut held.in_body, patience).await;
        let got = got.map_err(|why| format!("no token from {}: {why}", self.shown()));
        let (last, answer) = match got {
            Ok((value, lasts)) => {
                let lasts = lasts.map(|l| i64::try_from(l.as_millis()).unwrap_or(i64::MAX));
                let ends_at = lasts.map(|l| now_ms.saturating_add(l));
                (Last::Token { value: value.clone(), got_at: now_ms, ends_at }, Ok(value))
            }
            Err(why) => (Last::Failed { why: why.clone(), at: now_ms }, Err(why)),
        };
        held.last = Some(last);
        answer
    }

    /// Asks as the endpoint is known to like it. At first, where it refuses, the other way is tried too.
    async fn ask(
        &self,
        in_body: &mut bool,
        patience: Duration,
    ) -> Result<(HeaderValue, Option<Duration>), String> {
        let first = match self.ask_once(*in_body, patience).await? {
            Asked::Token { value, lasts } => return Ok((value, lasts)),
            Asked::Refused(why) => why,
        };
        match self.ask_once(!*in_body, patience).await? {
            Asked::Token { value, lasts } => {
                *in_body = !*in_body;
                Ok((value, lasts))
            }
            Asked::Refused(_) => Err(first),
        }
    }

    /// The body of a request.
    fn form(&self, secret: Option<&str>) -> String {
        let mut form = form_urlencoded::Serializer::new(String::new());
        form.append_pair("grant_type", "client_credentials");
        if !self.scopes.is_empty() {
            form.append_pair("scope", &self.scopes.join(" "));
        }
        for (name, value) in &self.params {
            form.append_pair(name, value.expose());
        }
        if let Some(secret) = secret {
            form.append_pair("client_id", &self.client_id);
            if !secret.is_empty() {
                form.append_pair("client_secret", secret);
            }
        }
        form.finish()
    }

    async fn ask_once(&self, in_body: bool, patience: Duration) -> Result<Asked, String> {
        let secret = self.client_secret.as_ref().map(Credential::secret).transpose()?;
        let secret = secret.as_ref().map_or("", Secret::expose);
        let mut request = self
            .clients
            .client(&self.http)?
            .post(self.token_url.clone())
            .timeout(patience)
            .header(header::ACCEPT, "application/json")
            .header(header::CONTENT_TYPE, "application/x-www-form-urlencoded");
        if !in_body {
            // Both are encoded as in a form before they are joined.
            let encoded = |text: &str| form_urlencoded::byte_serialize(text.as_bytes()).collect::<String>();
            request = request.basic_auth(encoded(&self.client_id), Some(encoded(secret)));
        }
        let describe = |e: reqwest::Error| {
            if e.is_timeout() {
                format!("no answer within {}", model::duration::format(patience))
            } else {
                chain(&e.without_url())
            }
        };
        let mut response =
            request.body(self.form(in_body.then_some(secret))).send().await.map_err(describe)?;
        let status = response.status();
        let mut body = Vec::new();
        while let Some(chunk) = response.chunk().await.map_err(describe)? {
            if body.len() + chunk.len() > MAX_BODY {
                return Err(format!("it sent more than {MAX_BODY} bytes"));
            }
            body.extend_from_slice(&chunk);
        }
        let answer: Value = serde_json::from_slice(&body).unwrap_or_default();
        if status.is_success() && answer["error"].is_null() {
            return read_token(&answer);
        }
        let why = reason(status, &answer);
        let about_credentials = status.is_client_error() && status != StatusCode::TOO_MANY_REQUESTS;
        if about_credentials { Ok(Asked::Refused(why)) } else { Err(why) }
    }
}

/// The status, and what the endpoint says is wrong. Its text is not shown otherwise: it may repeat secrets.
fn reason(status: StatusCode, answer: &Value) -> String {
    let said = ["error", "error_description"].into_iter().filter_map(|name| answer[name].as_str());
    let said = said.collect::<Vec<_>>().join(": ");
    let said: String = said.chars().filter(|c| !c.is_control()).take(SHOWN).collect();
    if said.is_empty() { format!("HTTP status {status}") } else { format!("HTTP status {status}: {said}") }
}

fn read_token(answer: &Value) -> Result<Asked, String> {
    let token = answer["access_token"].as_str().filter(|t| !t.is_empty());
    let token = token.ok_or("its answer is not JSON with an `access_token`")?;
    let scheme = match answer["token_type"].as_str() {
        None | Some("") => "Bearer",
        Some(kind) if kind.eq_ignore_ascii_case("bearer") => "Bearer",
        Some(kind) => kind,
    };
    let mut value = HeaderValue::from_str(&format!("{scheme} {token}"))
        .map_err(|_| "its token holds characters that no header may")?;
    value.set_sensitive(true);
    // Some write the number as a text.
    let seconds = &answer["expires_in"];
    let seconds = seconds.as_f64().or_else(|| seconds.as_str()?.parse().ok());
    let lasts = seconds.filter(|s| *s > 0.0).and_then(|s| Duration::try_from_secs_f64(s).ok());
    Ok(Asked::Token { value, lasts })
}
