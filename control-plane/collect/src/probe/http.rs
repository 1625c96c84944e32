//! An HTTP probe: one request on a connection of its own, so that each step can be timed.
//!
//! What can be known when the file is read is made then: address, headers, request target. A run only connects,
//! asks and looks.

mod exchange;

use super::{
    Found, Prober,
    condition::Answer,
    net::{Endpoint, Host},
    tls::Tls,
};
use crate::scrape::config::auth::Auth;
use ::http::{HeaderMap, HeaderValue, Method, StatusCode, Uri, header, uri::PathAndQuery};
use bytes::Bytes;
use exchange::{Asked, Reply};
use url::Url;

/// Redirects that are followed where the file does not say.
pub(super) const REDIRECTS: u32 = 10;

pub(super) const PHASES: &str = "probe_http_duration_seconds";

/// What is asked.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct HttpProbe {
    pub(super) method: Method,
    /// The headers of the file, and those that every request has.
    pub(super) headers: HeaderMap,
    pub(super) body: Bytes,
    pub(super) follow_redirects: bool,
    pub(super) max_redirects: u32,
    pub(super) auth: Option<Auth>,
    pub(super) tls: Tls,
    pub(super) place: Place,
    /// Conditions look at the body, so it is kept.
    pub(super) keep_body: bool,
}

/// An address, taken apart as a request needs it.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Place {
    pub(super) url: Url,
    pub(super) endpoint: Endpoint,
    pub(super) secure: bool,
    pub(super) authority: HeaderValue,
    target: Uri,
}

impl Place {
    /// `None` for what is no address to ask by HTTP or WebSocket.
    pub(super) fn new(url: Url) -> Option<Place> {
        let (secure, usual) = match url.scheme() {
            "http" | "ws" => (false, 80),
            "https" | "wss" => (true, 443),
            _ => return None,
        };
        let host = url.host_str()?;
        let endpoint = Endpoint { host: Host::parse(host)?, port: url.port().unwrap_or(usual) };
        let authority = match url.port() {
            Some(port) => format!("{host}:{port}"),
            None => host.to_owned(),
        };
        let target = match url.query() {
            Some(query) => format!("{}?{query}", url.path()),
            None => url.path().to_owned(),
        };
        Some(Place {
            endpoint,
            secure,
            authority: HeaderValue::from_str(&authority).ok()?,
            target: Uri::from(PathAndQuery::try_from(target).ok()?),
            url,
        })
    }

    /// Whether what is secret may go there too.
    fn is_same_origin(&self, other: &Place) -> bool {
        self.endpoint == other.endpoint && self.secure == other.secure
    }
}

/// Shows all series, whatever is reached: those of a failed run are the same as those of a good one.
fn begin(found: &mut Found) {
    for name in [
        "probe_dns_lookup_time_seconds",
        "probe_ip_protocol",
        "probe_failed_due_to_regex",
        "probe_http_redirects",
        "probe_http_ssl",
        "probe_http_status_code",
        "probe_http_version",
        "probe_http_content_length",
        "probe_http_uncompressed_body_length",
    ] {
        found.set(name, 0.0);
    }
    found.phases(PHASES, &["resolve", "connect", "tls", "processing", "transfer"]);
}

pub(super) async fn run(prober: &Prober, probe: &HttpProbe, found: &mut Found) -> Result<Answer, String> {
    begin(found);
    let mut redirected: Option<(Place, Method)> = None;
    let mut redirects = 0;
    // A redirect looks hosts up again: one series has their sum.
    let mut looked_up = 0.0;
    loop {
        let (place, method) = redirected.as_ref().map_or((&probe.place, &probe.method), |(p, m)| (p, m));
        found.set("probe_http_ssl", f64::from(u8::from(place.secure)));
        let asked = Asked { probe, place, method, secret: place.is_same_origin(&probe.place) };
        let (reply, resolve, certificate_left) = ask(prober, &asked, found).await?;
        looked_up += resolve.as_secs_f64();
        found.set("probe_dns_lookup_time_seconds", looked_up);
        let Some(next) = reply.redirect else {
            found.set("probe_http_status_code", f64::from(reply.status.as_u16()));
            found.set("probe_http_version", reply.version);
            found.set("probe_http_content_length", reply.length.unwrap_or(-1.0));
            found.set("probe_http_uncompressed_body_length", reply.body_bytes as f64);
            return Ok(Answer {
                status: reply.status.as_u16(),
                headers: reply.headers,
                body: String::from_utf8(reply.body)
                    .unwrap_or_else(|e| String::from_utf8_lossy(e.as_bytes()).into_owned()),
                certificate_left,
                url: place.url.to_string(),
                redirects,
                ..Answer::default()
            });
        };
        if redirects == probe.max_redirects {
            return Err(format!("more than {} redirects", probe.max_redirects));
        }
        redirects += 1;
        found.set("probe_http_redirects", f64::from(redirects));
        let keeps = matches!(reply.status, StatusCode::TEMPORARY_REDIRECT | StatusCode::PERMANENT_REDIRECT)
            || matches!(*method, Method::GET | Method::HEAD);
        let method = if keeps { method.clone() } else { Method::GET };
        redirected = Some((next, method));
    }
}

/// Connects and asks once.
async fn ask(
    prober: &Prober,
    asked: &Asked<'_>,
    found: &mut Found,
) -> Result<(Reply, std::time::Duration, Option<std::time::Duration>), String> {
    let place = asked.place;
    let connected = prober.connect(&place.endpoint, found).await?;
    found.took(PHASES, "resolve", connected.resolve);
    found.took(PHASES, "connect", connected.connect);
    if !place.secure {
        let reply = exchange::exchange(&prober.clock, asked, connected.stream, found).await?;
        return Ok((reply, connected.resolve, None));
    }
    let secured = prober.secure(&asked.probe.tls, &place.endpoint.host, connected.stream, found).await?;
    found.took(PHASES, "tls", secured.took);
    let reply = exchange::exchange(&prober.clock, asked, secured.stream, found).await?;
    Ok((reply, connected.resolve, secured.certificate_left))
}

/// The headers that every request has, where the file does not name them.
pub(super) fn usual_headers(headers: &mut HeaderMap, authority: &HeaderValue) {
    headers.entry(header::HOST).or_insert_with(|| authority.clone());
    let agent = HeaderValue::from_static(concat!("vigie/", env!("CARGO_PKG_VERSION")));
    headers.entry(header::USER_AGENT).or_insert(agent);
}
